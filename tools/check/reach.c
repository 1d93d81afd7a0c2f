/*
 * The graph of functions; see the header. What is sure is followed to its end first, so that every function is looked at once, with
 * what is known best about it.
 */
#include "tools/check/reach.h"

#include <stdlib.h>
#include <string.h>

enum { RESOLVE_MOST = 8 };

/* --- Functions --- */

static size_t bucket_of(const struct reach *reach, const struct object *object, uint64_t address) {
    return (size_t)((address ^ (uintptr_t)object >> 4) * 0x9e3779b97f4a7c15 >> 20) % reach->bucket_count;
}

static void grow(struct reach *reach) {
    struct function **old = reach->buckets;
    size_t count = reach->bucket_count;

    reach->bucket_count = count ? 2 * count + 1 : 4093;
    reach->buckets = xmalloc(reach->bucket_count * sizeof(struct function *));
    memset(reach->buckets, 0, reach->bucket_count * sizeof(struct function *));
    for (size_t i = 0; i < count; i++)
        for (struct function *f = old[i], *next; f; f = next) {
            next = f->same_bucket;
            size_t bucket = bucket_of(reach, f->object, f->start);
            f->same_bucket = reach->buckets[bucket];
            reach->buckets[bucket] = f;
        }
    free(old);
}

/* A few instructions that jump through a slot which the dynamic linker fills: where they end, or 0. */
static uint64_t thunk_end(const struct object *object, uint64_t address) {
    size_t length;
    const uint8_t *bytes = object_at(object, address, &length);
    struct insn insn;

    for (unsigned i = 0, at = 0; bytes && i < 3 && at < length; i++, at += insn.size) {
        if (!disassemble(bytes + at, length - at, address + at, &insn))
            return 0;
        if (insn.op == OP_JUMP)
            return insn.to.relative && object_relocation(object, (uint64_t)insn.to.value) ? address + at + insn.size
                                                                                          : 0;
        if (insn.op != OP_NOTHING)
            return 0;
    }
    return 0;
}

struct function *reach_function(struct reach *reach, struct object *object, uint64_t address) {
    if (!object_is_code(object, address))
        return NULL;
    if (reach->function_count >= reach->bucket_count)
        grow(reach);
    size_t bucket = bucket_of(reach, object, address);
    for (struct function *f = reach->buckets[bucket]; f; f = f->same_bucket)
        if (f->start == address && f->object == object)
            return f;

    const struct segment *segment = object_segment(object, address);
    const struct extent *extent = object_extent(object, address);
    struct function *f = xmalloc(sizeof(*f));
    *f = (struct function){.object = object, .start = address, .limit = segment->address + segment->size};
    if (extent && (extent->start == address || extent->end > address)) {
        f->name = extent->name;
        f->end = extent->end;
        f->inside = extent->start != address;
    }
    const struct extent *next = extent ? extent + 1 : object->extents;
    if (next && next < object->extents + object->extent_count && next->start < f->limit)
        f->limit = next->start;
    uint64_t end = !extent || extent->start != address || !extent->name ? thunk_end(object, address) : 0;
    if (end) {
        f->end = end;
        f->name = NULL;
        f->inside = false;
        f->is_thunk = true;
    }
    f->same_bucket = reach->buckets[bucket];
    reach->buckets[bucket] = f;
    reach->function_count++;
    return f;
}

char *function_name(const struct function *f) {
    const struct extent *extent = object_extent(f->object, f->start);

    if (f->name && (!extent || extent->start == f->start))
        return xstrdup(f->name);
    if (f->name)
        return xasprintf("%s+%#llx", f->name, (unsigned long long)(f->start - extent->start));
    return xasprintf("%#llx", (unsigned long long)f->start);
}

size_t reach_resolve(struct reach *reach, const char *name, struct function **found, size_t most) {
    size_t count = 0;

    for (size_t i = 0; i < reach->object_count && count == 0 && *name; i++) {
        struct object *object = reach->objects[i];
        for (const struct symbol *s = object_symbol(object, name, NULL); s && count < most;
             s = object_symbol(object, name, s)) {
            struct function *f = reach_function(reach, object, s->value);
            if (!f)
                continue;
            f->returns_functions |= s->indirect;
            found[count++] = f;
        }
    }
    return count;
}

void reach_add(struct reach *reach, struct object *object) {
    reach->objects = xrealloc(reach->objects, (reach->object_count + 1) * sizeof(struct object *));
    reach->objects[reach->object_count++] = object;
    for (size_t i = 0; i < object->segment_count; i++)
        if (object->segments[i].executable)
            reach->budget += 16 * object->segments[i].size;
}

/* --- Reaching --- */

static void enqueue(struct function ***list, size_t *count, struct function *f) {
    if ((*count & (*count + 1)) == 0)
        *list = xrealloc(*list, (2 * *count + 1) * sizeof(struct function *));
    (*list)[(*count)++] = f;
}

static void reached(struct reach *reach, struct function *f, enum level level, struct function *from, uint64_t site) {
    if (f->level >= level)
        return;
    if (f->level == LEVEL_NONE || from) {
        f->parent = from;
        f->site = site;
    }
    f->level = level;
    if (level == LEVEL_SURE)
        enqueue(&reach->sure, &reach->sure_count, f);
    else
        enqueue(&reach->may, &reach->may_count, f);
}

static void called(struct reach *reach, struct function *f, struct function *from, uint64_t site) {
    struct call *call = xmalloc(sizeof(*call));

    *call = (struct call){f->calls, from, site};
    f->calls = call;
    reached(reach, f, from->level, from, site);
}

static void taken(struct reach *reach, struct function *f, struct function *from, uint64_t site) {
    f->taken = true;
    reached(reach, f, LEVEL_MAY, from, site);
}

/* The program's entry, or a small function that it hands over to, as musl's does. */
static bool is_beginning(const struct reach *reach, const struct function *f) {
    enum { SMALL = 128 };

    if (f->object != reach->objects[0])
        return false;
    return f->start == f->object->entry || (f->parent && f->parent->start == f->object->entry &&
                                            f->parent->object == f->object && f->end - f->start < SMALL);
}

/* What the address of is taken is called for sure where it is the way to main(), or what a resolver chooses from. */
static void takes(struct reach *reach, struct function *f, struct function *from, uint64_t site) {
    if (from->returns_functions || is_beginning(reach, from))
        called(reach, f, from, site);
    else
        taken(reach, f, from, site);
}

/* A slot that the dynamic linker fills: what it calls or takes. */
static void uses_slot(struct reach *reach, uint64_t slot, bool is_call, struct function *from, uint64_t site) {
    const struct relocation *relocation = object_relocation(from->object, slot);
    struct function *found[RESOLVE_MOST];
    size_t count = 0;

    if (!relocation)
        return;
    if (relocation->kind == RELOCATION_LOCAL || relocation->kind == RELOCATION_INDIRECT) {
        found[0] = reach_function(reach, from->object, relocation->value);
        count = found[0] != NULL;
        if (count && relocation->kind == RELOCATION_INDIRECT)
            found[0]->returns_functions = true;
    } else if (relocation->value < from->object->symbol_count) {
        count = reach_resolve(reach, from->object->symbols[relocation->value].name, found, RESOLVE_MOST);
    }
    for (size_t i = 0; i < count; i++)
        is_call || relocation->kind == RELOCATION_INDIRECT ? called(reach, found[i], from, site)
                                                           : takes(reach, found[i], from, site);
}

static void goes_to(struct reach *reach, struct function *from, const struct insn *insn, uint64_t target) {
    struct function *f = reach_function(reach, from->object, target);

    if (!f)
        return;
    if (insn->op != OP_CALL && f->inside) { /* back from a part that the compiler put elsewhere */
        const struct extent *extent = object_extent(from->object, target);
        struct function *whole = reach_function(reach, from->object, extent->start);
        if (whole && whole->end > target) {
            bool known = false;
            for (size_t i = 0; i < whole->entry_count; i++)
                known |= whole->entries[i] == target;
            if (!known && whole->entry_count < 256) {
                whole->entries = xrealloc(whole->entries, (whole->entry_count + 1) * sizeof(uint64_t));
                whole->entries[whole->entry_count++] = target;
            }
            reached(reach, whole, from->level, from, insn->address);
            return;
        }
    }
    called(reach, f, from, insn->address);
}

/* A function may begin there: nothing says that it lies within another, but for the jumps to imported functions. */
static bool is_start(const struct object *object, uint64_t address) {
    const struct extent *extent = object_extent(object, address);

    return !extent || extent->start == address || address >= extent->end || thunk_end(object, address);
}

static void look_at_operand(struct reach *reach, struct function *f, const struct insn *insn,
                            const struct operand *operand) {
    struct object *object = f->object;

    if (operand->kind == OPERAND_MEMORY && operand->relative) {
        uint64_t address = (uint64_t)operand->value;
        if (insn->op == OP_ADDRESS && object_is_code(object, address) && !(address > f->start && address < f->end)) {
            struct function *target = reach_function(reach, object, address);
            if (target)
                takes(reach, target, f, insn->address);
        } else if (insn->op != OP_ADDRESS) {
            uses_slot(reach, address, insn->op == OP_CALL || insn->op == OP_JUMP, f, insn->address);
        }
    } else if (!object->position_independent &&
               (operand->kind == OPERAND_IMMEDIATE || operand->kind == OPERAND_MEMORY)) {
        uint64_t address = (uint64_t)operand->value;
        if (operand->kind == OPERAND_MEMORY && operand->base == REG_NONE && operand->index == REG_NONE)
            uses_slot(reach, address, insn->op == OP_CALL || insn->op == OP_JUMP, f, insn->address);
        else if (operand->kind == OPERAND_IMMEDIATE && insn->op < OP_CALL && address != f->start &&
                 object_is_code(object, address) && is_start(object, address)) {
            struct function *target = reach_function(reach, object, address);
            if (target)
                takes(reach, target, f, insn->address);
        }
    }
}

static void add_trap(struct function *f, const struct insn *insn) {
    struct trap *trap = xmalloc(sizeof(*trap));

    *trap = (struct trap){f->traps, insn->address, insn->op};
    f->traps = trap;
}

static void look_at(struct reach *reach, struct function *f) {
    struct code code;

    code_read(&code, f->object, f->start, f->end, f->limit);
    f->end = code.end;
    uint64_t size = code.end - f->start;
    reach->gave_up |= size > reach->budget;
    reach->budget -= size < reach->budget ? size : reach->budget;
    for (size_t i = 0; i < code.count; i++) {
        const struct insn *insn = &code.insns[i];
        if (insn->op >= OP_SYSCALL)
            add_trap(f, insn);
        f->returns |= insn->op == OP_RETURN || (insn->op == OP_JUMP && insn->to.kind != OPERAND_IMMEDIATE);
        if (insn->op == OP_CALL || insn->op == OP_JUMP || insn->op == OP_BRANCH) {
            uint64_t target = (uint64_t)insn->to.value;
            if (insn->to.kind == OPERAND_IMMEDIATE && (target < f->start || target >= code.end ||
                                                       (insn->op == OP_CALL && target != insn->address + insn->size))) {
                goes_to(reach, f, insn, target);
                f->returns |= insn->op != OP_CALL;
            }
        }
        look_at_operand(reach, f, insn, &insn->to);
        look_at_operand(reach, f, insn, &insn->from);
    }
    f->returns |= code.falls_through;
    if (code.falls_through && code.count)
        goes_to(reach, f, &code.insns[code.count - 1], code.end);
    code_free(&code);
}

void reach_run(struct reach *reach) {
    for (size_t s = 0, m = 0; !reach->gave_up && (s < reach->sure_count || m < reach->may_count);) {
        struct function *f = s < reach->sure_count ? reach->sure[s++] : reach->may[m++];
        if (f->next_reached || reach->last == f)
            continue; /* looked at already */
        if (reach->last)
            reach->last->next_reached = f;
        else
            reach->first = f;
        reach->last = f;
        look_at(reach, f);
    }
}

/* --- Where it begins --- */

static void enter(struct reach *reach, struct object *object, uint64_t address, enum level level, bool pointer) {
    struct function *f = reach_function(reach, object, address);

    if (f)
        f->taken |= pointer;
    if (f)
        reached(reach, f, level, NULL, 0);
}

/* Without relocations each word that is the address of a function's beginning counts as a pointer to it. */
static void enter_data(struct reach *reach, struct object *object) {
    for (size_t i = 0; i < object->segment_count; i++) {
        const struct segment *segment = &object->segments[i];
        const uint8_t *bytes = object->bytes + segment->offset;
        for (uint64_t at = -segment->address & 7; at + 8 <= segment->size; at += 8) {
            uint64_t word;
            memcpy(&word, bytes + at, sizeof(word));
            if (word && object_is_code(object, word) && is_start(object, word))
                enter(reach, object, word, LEVEL_MAY, true);
        }
    }
}

void reach_enter(struct reach *reach, struct object *object, bool program, bool all) {
    struct function *found[RESOLVE_MOST];

    if (program)
        enter(reach, object, object->entry, LEVEL_SURE, false);
    for (size_t i = 0; i < object->root_count; i++)
        enter(reach, object, object->roots[i], LEVEL_SURE, false);
    for (size_t i = 0; i < object->relocation_count; i++) {
        const struct relocation *relocation = &object->relocations[i];
        if (relocation->kind == RELOCATION_LOCAL && object_is_code(object, relocation->value))
            enter(reach, object, relocation->value, LEVEL_MAY, true);
        if (relocation->kind != RELOCATION_DATA)
            continue;
        size_t count = reach_resolve(reach, object->symbols[relocation->value].name, found, RESOLVE_MOST);
        for (size_t k = 0; k < count; k++)
            enter(reach, found[k]->object, found[k]->start, LEVEL_MAY, true);
    }
    if (!object->position_independent)
        enter_data(reach, object);
    for (size_t i = 0; i < object->symbol_count && all; i++)
        if (object->symbols[i].defined)
            enter(reach, object, object->symbols[i].value, LEVEL_MAY, true);
    /* Go's linker has left out what nothing can reach; its method tables need not be understood for that. */
    for (size_t i = 0; i < object->extent_count && object->is_go; i++)
        enter(reach, object, object->extents[i].start, LEVEL_MAY, false);
}

void reach_free(struct reach *reach) {
    for (size_t i = 0; i < reach->bucket_count; i++)
        for (struct function *f = reach->buckets[i], *next; f; f = next) {
            next = f->same_bucket;
            for (struct call *c = f->calls, *later; c; c = later) {
                later = c->next;
                free(c);
            }
            for (struct trap *t = f->traps, *later; t; t = later) {
                later = t->next;
                free(t);
            }
            free(f->entries);
            free(f);
        }
    free(reach->buckets);
    free(reach->objects);
    free(reach->sure);
    free(reach->may);
    *reach = (struct reach){0};
}
