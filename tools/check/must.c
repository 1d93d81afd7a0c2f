/*
 * Looking for a way around a call; see the header.
 */
#include "tools/check/must.h"

#include <stdlib.h>
#include <string.h>

/* A call that does not come back is a way around what follows. */
static bool leaves(struct reach *reach, const struct code *code, const struct insn *insn) {
    static const char *const names[] = {"exit",          "_exit",     "_Exit", "quick_exit",       "abort",
                                        "__assert_fail", "err",       "errx",  "__stack_chk_fail", "__fortify_fail",
                                        "longjmp",       "siglongjmp"};
    uint64_t target = (uint64_t)insn->to.value;

    if (insn->to.kind != OPERAND_IMMEDIATE && !insn->to.relative)
        return false;
    if (insn->to.kind == OPERAND_IMMEDIATE) { /* through the table of imported functions */
        struct function *f = reach_function(reach, (struct object *)code->object, target);
        if (f && f->name)
            for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (strcmp(f->name, names[i]) == 0)
                    return true;
        size_t length;
        const uint8_t *bytes = object_at(code->object, target, &length);
        struct insn jump = {0};
        for (unsigned i = 0, at = 0; bytes && i < 3 && at < length && jump.op != OP_JUMP; i++, at += jump.size)
            disassemble(bytes + at, length - at, target + at, &jump);
        if (jump.op != OP_JUMP || !jump.to.relative)
            return false;
        target = (uint64_t)jump.to.value;
    }
    const struct relocation *slot = object_relocation(code->object, target);
    if (!slot || slot->kind != RELOCATION_SYMBOL)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(code->object->symbols[slot->value].name, names[i]) == 0)
            return true;
    return false;
}

static bool passes(struct reach *reach, struct function *f, uint64_t site) {
    struct code code;
    bool around = f->entry_count != 0;

    code_read(&code, f->object, f->start, f->end, f->limit);
    uint8_t *seen = xmalloc(code.count + 1);
    size_t *waiting = xmalloc((code.count + 1) * sizeof(*waiting)), count = 0;
    memset(seen, 0, code.count + 1);
    if (code.count)
        waiting[count++] = 0;
    while (count && !around) {
        size_t i = waiting[--count];
        const struct insn *insn = &code.insns[i];
        if (seen[i] || insn->address == site)
            continue;
        seen[i] = 1;
        bool jumps = insn->op == OP_JUMP || insn->op == OP_BRANCH;
        const struct insn *target =
            jumps && insn->to.kind == OPERAND_IMMEDIATE ? code_at(&code, (uint64_t)insn->to.value) : NULL;
        around = insn->op == OP_RETURN || (jumps && !target) || (insn->op == OP_CALL && leaves(reach, &code, insn));
        if (target && !seen[target - code.insns])
            waiting[count++] = (size_t)(target - code.insns);
        if (insn->op == OP_JUMP || insn->op == OP_STOP || i + 1 == code.count || seen[i + 1])
            continue;
        if (count < code.count)
            waiting[count++] = i + 1;
    }
    free(seen);
    free(waiting);
    code_free(&code);
    return !around;
}

bool is_unavoidable(struct reach *reach, const struct use *use) {
    uint64_t site = use->site;
    unsigned steps = 0;

    if (use->level != LEVEL_SURE)
        return false;
    for (struct function *f = use->function; f; site = f->site, f = f->parent) {
        if (++steps > 100 || !passes(reach, f, site))
            return false;
        if (!f->parent)
            return f->object == reach->objects[0] && f->start == f->object->entry;
    }
    return false;
}
