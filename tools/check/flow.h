/*
 * The walk through one function: its code as instructions, and the values that registers and stack words can have at each of them. All
 * paths are followed until nothing changes. What comes from unread memory, from calls and from places that are reached nobody sees
 * how (landing pads, jumps through registers without a table) is anything.
 */
#pragma once

#include "tools/check/object.h"
#include "tools/check/value.h"

struct code {
    const struct object *object;
    uint64_t start, end;
    struct insn *insns; /* by address, without gaps */
    size_t count;
    uint64_t *targets; /* where jumps through tables lead, sorted */
    size_t target_count;
    bool falls_through; /* into what lies behind it */
};

/*
 * Decodes a function. end: where it ends, 0 when that is not known; it is not longer than `limit`, an address, then. What it was given
 * must be code in the object.
 */
void code_read(struct code *code, const struct object *object, uint64_t start, uint64_t end, uint64_t limit);
void code_free(struct code *code);

/* The instruction at that address or NULL. */
const struct insn *code_at(const struct code *code, uint64_t address);

enum { SLOTS = 24 };

struct state {
    bool reached;
    struct value registers[REG_COUNT];
    struct {
        int64_t offset; /* from the stack pointer at the entry */
        struct value value;
    } slots[SLOTS];
    unsigned slot_count;
};

struct flow {
    const struct code *code;
    bool is_go;                 /* calls keep no registers */
    uint32_t *block_of, *first; /* of each instruction; the first instruction of each block, and one more */
    size_t block_count;
    uint64_t work;    /* what solving has cost, in instructions */
    struct state *in; /* at each block's beginning; NULL: not known, it was too much */
    int64_t *escaped; /* stack words whose addresses are taken */
    size_t escaped_count;
};

/* entries: addresses besides the beginning where others jump into the function. */
void flow_solve(struct flow *flow, const struct code *code, const uint64_t *entries, size_t entry_count);
void flow_free(struct flow *flow);

/* The state before the instruction. */
void flow_before(const struct flow *flow, const struct insn *insn, struct state *state);

/* The state behind it. */
void flow_after(const struct flow *flow, const struct insn *insn, struct state *state);

/* The value of a parameter of the function that the instruction (a call, or a jump) leads to. */
struct value flow_argument(const struct state *state, const struct insn *call, unsigned parameter);
