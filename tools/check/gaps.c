/*
 * Code that neither symbols nor unwinding tables describe, as in stripped programs of musl and busybox: it is decoded from end to end
 * once, and what it calls is where functions begin. A false beginning does no harm: what lies before it continues into it.
 */
#include "tools/check/disasm.h"
#include "tools/check/object.h"

enum { GAP_LEAST = 64 };

static void look_at_gap(struct object *object, uint64_t from, uint64_t to) {
    size_t length;
    const uint8_t *bytes = object_at(object, from, &length);

    for (uint64_t at = from; bytes && at < to;) {
        struct insn insn;
        disassemble(bytes + (at - from), to - at, at, &insn);
        if (insn.op == OP_CALL && insn.to.kind == OPERAND_IMMEDIATE && (uint64_t)insn.to.value != at + insn.size)
            object_add_extent(object, (uint64_t)insn.to.value, 0, NULL);
        at += insn.size;
    }
}

void object_find_starts(struct object *object) {
    size_t described = object->extent_count;

    for (size_t i = 0; i < object->segment_count; i++) {
        const struct segment *segment = &object->segments[i];
        uint64_t at = segment->address, end = segment->address + segment->size;
        if (!segment->executable)
            continue;
        for (size_t k = 0; k <= described; k++) {
            uint64_t next = k < described ? object->extents[k].start : end;
            if (next < at || next > end)
                continue;
            if (next - at >= GAP_LEAST)
                look_at_gap(object, at, next);
            uint64_t behind = k < described ? object->extents[k].end : end;
            at = behind > at ? behind : next > at ? next : at;
        }
    }
    if (object->extent_count > described)
        object_sort_extents(object);
}
