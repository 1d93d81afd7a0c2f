/*
 * A function's instructions, and the tables of its switches; see flow.h.
 */
#include "tools/check/flow.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE_MOST = 4096, TARGETS_MOST = 1 << 16, INSNS_MOST = 4 << 20 };

static void add_insn(struct code *code, const struct insn *insn) {
    if ((code->count & (code->count + 1)) == 0)
        code->insns = xrealloc(code->insns, (2 * code->count + 1) * sizeof(*code->insns));
    code->insns[code->count++] = *insn;
}

static void add_target(struct code *code, uint64_t target) {
    if ((code->target_count & (code->target_count + 1)) == 0)
        code->targets = xrealloc(code->targets, (2 * code->target_count + 1) * sizeof(*code->targets));
    code->targets[code->target_count++] = target;
}

/* A table of distances from itself, or of addresses: as long as what it says lies in the function. */
static void read_table(struct code *code, uint64_t table, unsigned width, uint64_t end) {
    size_t length;
    const uint8_t *at = object_at(code->object, table, &length);

    for (unsigned i = 0; at && i < TABLE_MOST && code->target_count < TARGETS_MOST && (i + 1) * (size_t)width <= length;
         i++) {
        uint64_t target = 0;
        memcpy(&target, at + (size_t)i * width, width);
        if (width == 4)
            target = table + (uint64_t)(int64_t)(int32_t)target;
        if (target < code->start || target >= end)
            return;
        add_target(code, target);
    }
}

/* A jump through a register: the tables whose addresses the last instructions took. */
static void read_tables(struct code *code, uint64_t end) {
    const struct insn *jump = &code->insns[code->count - 1];

    if (jump->to.kind == OPERAND_MEMORY) {
        if (!jump->to.relative && jump->to.scale == 8 && jump->to.base == REG_NONE)
            read_table(code, (uint64_t)jump->to.value, 8, end);
        return;
    }
    for (size_t i = code->count - 1, back = 0; i-- > 0 && back < 400; back++) {
        const struct insn *insn = &code->insns[i];
        if (insn->op == OP_ADDRESS && insn->from.relative &&
            !object_is_code(code->object, (uint64_t)insn->from.value)) {
            size_t before = code->target_count;
            read_table(code, (uint64_t)insn->from.value, 4, end);
            if (code->target_count - before >= 2)
                return;
        }
        if (insn->op == OP_MOVE && insn->from.kind == OPERAND_MEMORY && insn->from.scale == 8 &&
            insn->from.base == REG_NONE && !insn->from.relative) {
            read_table(code, (uint64_t)insn->from.value, 8, end);
            return;
        }
    }
}

static int by_address(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void code_read(struct code *code, const struct object *object, uint64_t start, uint64_t end, uint64_t limit) {
    uint64_t last = end ? end : limit, at = start, farthest = start;
    size_t length;
    const uint8_t *bytes = object_at(object, start, &length);
    bool falls = true;

    *code = (struct code){.object = object, .start = start};
    if (bytes && last - start > length)
        last = start + length;
    while (bytes && at < last && code->count < INSNS_MOST) {
        struct insn insn;
        disassemble(bytes + (at - start), last - at, at, &insn);
        add_insn(code, &insn);
        at += insn.size;
        falls = true;
        if ((insn.op == OP_JUMP || insn.op == OP_BRANCH) && insn.to.kind == OPERAND_IMMEDIATE) {
            uint64_t target = (uint64_t)insn.to.value;
            if (target > farthest && target < last)
                farthest = target;
        } else if (insn.op == OP_JUMP) {
            size_t before = code->target_count;
            read_tables(code, last);
            for (; before < code->target_count; before++)
                farthest = code->targets[before] > farthest ? code->targets[before] : farthest;
        }
        if (insn.op == OP_JUMP || insn.op == OP_RETURN || insn.op == OP_STOP) {
            falls = false;
            if (!end && at > farthest)
                break;
        }
    }
    code->end = at;
    code->falls_through = falls && at == last && code->count && code->insns[code->count - 1].op != OP_CALL;
    if (code->target_count)
        qsort(code->targets, code->target_count, sizeof(*code->targets), by_address);
}

void code_free(struct code *code) {
    free(code->insns);
    free(code->targets);
    *code = (struct code){0};
}

const struct insn *code_at(const struct code *code, uint64_t address) {
    size_t low = 0, high = code->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (code->insns[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < code->count && code->insns[low].address == address ? &code->insns[low] : NULL;
}
