/*
 * Solving for values; see the header.
 */
#include "tools/check/flow.h"

#include <stdlib.h>
#include <string.h>

/* A state is so large that to merge two costs as much as so many instructions. */
enum { BLOCK_COST = 32 };
enum { BLOCKS_MOST = 8000, ROUNDS_MOST = 40 };

/* --- The stack --- */

static bool has_escaped(const struct flow *flow, int64_t offset) {
    for (size_t i = 0; i < flow->escaped_count; i++)
        if (flow->escaped[i] == offset)
            return true;
    return false;
}

/* What was never written: below the entry's stack pointer anything, above the return address a parameter. */
static struct value untouched(int64_t offset) {
    if (offset >= 8 && offset % 8 == 0 && offset / 8 - 1 < PARAMETER_COUNT - PARAMETER_STACK)
        return value_parameter(PARAMETER_STACK + (unsigned)(offset / 8 - 1));
    return value_any();
}

static struct value load(const struct state *state, int64_t offset) {
    for (unsigned i = 0; i < state->slot_count; i++)
        if (state->slots[i].offset == offset)
            return state->slots[i].value;
    return untouched(offset);
}

static void forget(struct state *state, int64_t offset, unsigned size) {
    for (unsigned i = 0; i < state->slot_count; i++) {
        int64_t at = state->slots[i].offset;
        if (at > offset - 8 && at < offset + (int64_t)size)
            state->slots[i].value = value_any();
    }
}

static void store(struct state *state, int64_t offset, unsigned size, const struct value *value) {
    unsigned free_slot = state->slot_count;

    forget(state, offset, size);
    for (unsigned i = 0; i < state->slot_count; i++)
        if (state->slots[i].offset == offset || (state->slots[i].value.kind == VALUE_ANY && state->slots[i].offset < 0))
            free_slot = i;
    for (unsigned i = 0; i < state->slot_count; i++)
        if (state->slots[i].offset == offset)
            free_slot = i;
    if (free_slot == SLOTS)
        free_slot = (unsigned)((uint64_t)offset / 8 % SLOTS); /* forgotten, unless it is a parameter */
    if (free_slot < state->slot_count && state->slots[free_slot].offset >= 8 &&
        state->slots[free_slot].offset != offset)
        return;
    state->slots[free_slot].offset = offset;
    state->slots[free_slot].value = *value;
    state->slot_count += free_slot == state->slot_count;
}

/* The distance of a memory operand from the entry's stack pointer. */
static bool on_stack(const struct state *state, const struct operand *operand, int64_t *offset) {
    if (operand->kind != OPERAND_MEMORY || operand->relative || operand->index != REG_NONE ||
        operand->base >= REG_COUNT || state->registers[operand->base].kind != VALUE_STACK)
        return false;
    *offset = (int64_t)((uint64_t)state->registers[operand->base].constants[0] + (uint64_t)operand->value);
    return *offset > -(1 << 24) && *offset < 1 << 24;
}

/* --- One instruction --- */

static struct value read_operand(const struct flow *flow, const struct state *state, const struct operand *operand) {
    int64_t offset;

    if (operand->kind == OPERAND_IMMEDIATE)
        return value_constant(operand->value);
    if (operand->kind == OPERAND_REGISTER)
        return value_extend(&state->registers[operand->base], operand->size, false);
    if (on_stack(state, operand, &offset) && operand->size >= 4 && !has_escaped(flow, offset)) {
        struct value value = load(state, offset);
        return value_extend(&value, operand->size, false);
    }
    if (operand->kind != OPERAND_MEMORY || operand->size < 4 || on_stack(state, operand, &offset))
        return value_any();
    struct value value = value_memory();
    if (operand->relative || (operand->base == REG_NONE && operand->index == REG_NONE)) {
        size_t length;
        uint32_t initial;
        const uint8_t *at = object_at(flow->code->object, (uint64_t)operand->value, &length);
        if (at && length >= sizeof(initial)) {
            memcpy(&initial, at, sizeof(initial));
            value.constants[0] = initial;
            value.count = 1;
        }
    }
    return value;
}

static void write_operand(struct state *state, const struct operand *operand, struct value value) {
    int64_t offset;

    if (operand->kind == OPERAND_REGISTER)
        state->registers[operand->base] = operand->size >= 4 ? value_extend(&value, operand->size, false) : value_any();
    else if (on_stack(state, operand, &offset))
        operand->size >= 4 ? store(state, offset, operand->size, &value) : forget(state, offset, operand->size);
}

static struct value address_of(const struct state *state, const struct operand *operand) {
    struct value sum = value_constant(operand->value);
    int64_t offset;

    if (operand->relative || operand->kind != OPERAND_MEMORY)
        return operand->relative ? sum : value_any();
    if (on_stack(state, operand, &offset))
        return value_stack(offset);
    if (operand->index < REG_COUNT) {
        struct value scaled = value_constant(__builtin_ctz(operand->scale ? operand->scale : 1));
        scaled = value_compute(OP_SHIFT_LEFT, &state->registers[operand->index], &scaled, 8);
        sum = value_compute(OP_ADD, &scaled, &sum, 8);
    }
    return operand->base < REG_COUNT ? value_compute(OP_ADD, &state->registers[operand->base], &sum, 8) : sum;
}

static void clobber(struct state *state, unsigned mask) {
    for (unsigned i = 0; i < REG_COUNT; i++)
        if (mask & 1u << i)
            state->registers[i] = value_any();
}

static void move_stack(struct state *state, int64_t by) {
    struct value distance = value_constant(by);
    state->registers[REG_SP] = value_compute(OP_ADD, &state->registers[REG_SP], &distance, 8);
}

static void push(struct state *state, const struct value *value) {
    move_stack(state, -8);
    if (state->registers[REG_SP].kind == VALUE_STACK)
        store(state, state->registers[REG_SP].constants[0], 8, value);
}

static struct value pop(const struct flow *flow, struct state *state) {
    const struct operand top = {.kind = OPERAND_MEMORY, .size = 8, .base = REG_SP, .index = REG_NONE};
    struct value value = read_operand(flow, state, &top);
    move_stack(state, 8);
    return value;
}

static bool same_register(const struct insn *insn) {
    return insn->to.kind == OPERAND_REGISTER && insn->from.kind == OPERAND_REGISTER && insn->to.base == insn->from.base;
}

static void step(const struct flow *flow, struct state *state, const struct insn *insn) {
    enum { KEPT = 1 << REG_SP | 1 << REG_BP | 1 << REG_BX | 0xf << 12 };
    struct value a = read_operand(flow, state, &insn->to), b = read_operand(flow, state, &insn->from);

    switch (insn->op) {
    case OP_MOVE:
    case OP_MOVE_ZERO: write_operand(state, &insn->to, b); break;
    case OP_MOVE_SIGN: write_operand(state, &insn->to, value_extend(&b, insn->from.size, true)); break;
    case OP_ADDRESS: write_operand(state, &insn->to, address_of(state, &insn->from)); break;
    case OP_EXCHANGE:
        write_operand(state, &insn->to, b);
        write_operand(state, &insn->from, a);
        break;
    case OP_CONDITIONAL_MOVE: write_operand(state, &insn->to, value_merge(&a, &b)); break;
    case OP_SET: /* the rest of the register was cleared before or is cut off after */
        a = value_constant(0);
        b = value_constant(1);
        if (insn->to.kind == OPERAND_REGISTER)
            state->registers[insn->to.base] = value_merge(&a, &b);
        else
            write_operand(state, &insn->to, value_any());
        break;
    case OP_XOR:
    case OP_SUBTRACT:
    case OP_SUBTRACT_BORROW:
        if (same_register(insn)) {
            struct value minus = value_constant(-1);
            a = value_constant(0);
            write_operand(state, &insn->to, insn->op == OP_SUBTRACT_BORROW ? value_merge(&a, &minus) : a);
            break;
        }
        write_operand(state, &insn->to,
                      insn->op == OP_SUBTRACT_BORROW ? value_any() : value_compute(insn->op, &a, &b, insn->to.size));
        break;
    case OP_ADD:
    case OP_AND:
    case OP_OR:
    case OP_SHIFT_LEFT:
    case OP_SHIFT_RIGHT:
    case OP_NEGATE:
    case OP_INCREMENT:
    case OP_DECREMENT: write_operand(state, &insn->to, value_compute(insn->op, &a, &b, insn->to.size)); break;
    case OP_PUSH: push(state, &a); break;
    case OP_POP: write_operand(state, &insn->to, pop(flow, state)); break;
    case OP_LEAVE:
        state->registers[REG_SP] = state->registers[REG_BP];
        state->registers[REG_BP] = pop(flow, state);
        break;
    case OP_CALL: clobber(state, 0xffffu & ~(unsigned)(flow->is_go ? 1 << REG_SP | 1 << REG_BP : KEPT)); break;
    case OP_SYSCALL:
    case OP_INT80:
    case OP_SYSENTER: clobber(state, 1 << REG_AX | 1 << REG_CX | 1 << 11); break;
    case OP_OTHER:
        clobber(state, insn->written);
        write_operand(state, &insn->to, value_any());
        break;
    default: break;
    }
}

/* --- The whole function --- */

static bool merge_state(struct state *into, const struct state *from) {
    bool changed = false;

    if (!into->reached) {
        *into = *from;
        return true;
    }
    for (unsigned i = 0; i < REG_COUNT; i++) {
        struct value merged = value_merge(&into->registers[i], &from->registers[i]);
        changed |= !value_equal(&merged, &into->registers[i]);
        into->registers[i] = merged;
    }
    for (unsigned i = 0; i < into->slot_count; i++) {
        struct value other = load(from, into->slots[i].offset);
        struct value merged = value_merge(&into->slots[i].value, &other);
        changed |= !value_equal(&merged, &into->slots[i].value);
        into->slots[i].value = merged;
    }
    for (unsigned i = 0; i < from->slot_count; i++) { /* what only the other has written */
        int64_t offset = from->slots[i].offset;
        struct value here = load(into, offset), merged = value_merge(&here, &from->slots[i].value);
        if (offset >= 8 && !value_equal(&here, &merged)) {
            store(into, offset, 8, &merged);
            changed = true;
        }
    }
    return changed;
}

static void anything(struct state *state) {
    *state = (struct state){.reached = true};
    for (unsigned i = 0; i < REG_COUNT; i++)
        state->registers[i] = value_any();
}

static void at_entry(struct state *state) {
    *state = (struct state){.reached = true};
    for (unsigned i = 0; i < REG_COUNT; i++)
        state->registers[i] = value_parameter(i);
    state->registers[REG_SP] = value_stack(0);
}

static size_t index_of(const struct code *code, uint64_t address) {
    const struct insn *insn = code_at(code, address);
    return insn ? (size_t)(insn - code->insns) : code->count;
}

static bool ends_block(const struct insn *insn) {
    return insn->op == OP_JUMP || insn->op == OP_BRANCH || insn->op == OP_RETURN || insn->op == OP_STOP || insn->ends;
}

static void find_blocks(struct flow *flow, const uint64_t *entries, size_t entry_count) {
    const struct code *code = flow->code;

    flow->block_of = xmalloc((code->count + 1) * sizeof(*flow->block_of));
    memset(flow->block_of, 0, (code->count + 1) * sizeof(*flow->block_of));
    for (size_t i = 0; i < code->count; i++) {
        const struct insn *insn = &code->insns[i];
        if (!ends_block(insn))
            continue;
        flow->block_of[i + 1] = 1;
        if (insn->to.kind == OPERAND_IMMEDIATE)
            flow->block_of[index_of(code, (uint64_t)insn->to.value)] = 1;
    }
    for (size_t i = 0; i < code->target_count; i++)
        flow->block_of[index_of(code, code->targets[i])] = 1;
    for (size_t i = 0; i < entry_count; i++)
        flow->block_of[index_of(code, entries[i])] = 1;
    flow->first = xmalloc((code->count + 2) * sizeof(*flow->first));
    for (size_t i = 0; i < code->count; i++) {
        if (i == 0 || flow->block_of[i])
            flow->first[flow->block_count++] = (uint32_t)i;
        flow->block_of[i] = (uint32_t)flow->block_count - 1;
    }
    flow->first[flow->block_count] = (uint32_t)code->count;
}

static void find_escapes(struct flow *flow, const struct state *state, const struct insn *insn) {
    int64_t offset;

    if (insn->op != OP_ADDRESS || (insn->to.kind == OPERAND_REGISTER && insn->to.base == REG_SP) ||
        !on_stack(state, &insn->from, &offset) || has_escaped(flow, offset) || flow->escaped_count >= 256)
        return;
    if ((flow->escaped_count & (flow->escaped_count + 1)) == 0)
        flow->escaped = xrealloc(flow->escaped, (2 * flow->escaped_count + 1) * sizeof(*flow->escaped));
    flow->escaped[flow->escaped_count++] = offset;
}

static bool pass_to(struct flow *flow, size_t insn, const struct state *state, uint8_t *waiting) {
    if (insn >= flow->code->count)
        return false;
    size_t block = flow->block_of[insn];
    if (flow->first[block] != insn || !merge_state(&flow->in[block], state))
        return false;
    waiting[block] = 1;
    return true;
}

static bool run_block(struct flow *flow, size_t block, uint8_t *waiting) {
    const struct code *code = flow->code;
    struct state state = flow->in[block];
    bool changed = false;
    size_t i;

    waiting[block] = 0;
    flow->work += flow->first[block + 1] - flow->first[block] + BLOCK_COST;
    for (i = flow->first[block]; i < flow->first[block + 1]; i++) {
        find_escapes(flow, &state, &code->insns[i]);
        step(flow, &state, &code->insns[i]);
    }
    const struct insn *last = &code->insns[i - 1];
    if (last->op == OP_JUMP || last->op == OP_BRANCH) {
        if (last->to.kind == OPERAND_IMMEDIATE)
            changed |= pass_to(flow, index_of(code, (uint64_t)last->to.value), &state, waiting);
        else
            flow->work += code->target_count * BLOCK_COST;
        if (last->to.kind != OPERAND_IMMEDIATE)
            for (size_t k = 0; k < code->target_count; k++)
                changed |= pass_to(flow, index_of(code, code->targets[k]), &state, waiting);
    }
    if (last->op != OP_JUMP && last->op != OP_RETURN && last->op != OP_STOP && !last->ends)
        changed |= pass_to(flow, i, &state, waiting);
    return changed;
}

/* False: it did not come to rest. */
static bool run(struct flow *flow, uint8_t *waiting) {
    for (unsigned round = 0; round < ROUNDS_MOST; round++) {
        bool any = false;
        for (size_t block = 0; block < flow->block_count; block++)
            if (waiting[block]) {
                run_block(flow, block, waiting);
                any = true;
            }
        if (!any)
            return true;
    }
    return false;
}

/* What fills the space before the next branch target, and is never run. */
static bool is_padding(const struct flow *flow, size_t block) {
    for (size_t i = flow->first[block]; i < flow->first[block + 1]; i++)
        if (flow->code->insns[i].op != OP_NOTHING)
            return false;
    return true;
}

static bool solve(struct flow *flow, const uint64_t *entries, size_t entry_count, uint8_t *waiting) {
    for (size_t i = 0; i < flow->block_count; i++)
        flow->in[i].reached = false;
    memset(waiting, 0, flow->block_count);
    at_entry(&flow->in[0]);
    waiting[0] = 1;
    for (size_t i = 0; i < entry_count; i++) {
        size_t insn = index_of(flow->code, entries[i]);
        if (insn < flow->code->count) { /* in the middle of a block it is as good as at its beginning */
            anything(&flow->in[flow->block_of[insn]]);
            waiting[flow->block_of[insn]] = 1;
        }
    }
    if (!run(flow, waiting))
        return false;
    for (size_t i = 0; i < flow->block_count; i++)
        if (!flow->in[i].reached && !is_padding(flow, i)) { /* nobody is seen to come here, and still it is code */
            anything(&flow->in[i]);
            waiting[i] = 1;
        }
    return run(flow, waiting);
}

void flow_solve(struct flow *flow, const struct code *code, const uint64_t *entries, size_t entry_count) {
    *flow = (struct flow){.code = code, .is_go = code->object && code->object->is_go};
    if (code->count == 0)
        return;
    find_blocks(flow, entries, entry_count);
    if (flow->block_count > BLOCKS_MOST)
        return;
    flow->in = xmalloc(flow->block_count * sizeof(*flow->in));
    uint8_t *waiting = xmalloc(flow->block_count);
    bool settled = solve(flow, entries, entry_count, waiting);
    if (settled && flow->escaped_count) /* what was read before an address was seen to be taken */
        settled = solve(flow, entries, entry_count, waiting);
    if (!settled) {
        free(flow->in);
        flow->in = NULL;
    }
    free(waiting);
}

void flow_free(struct flow *flow) {
    free(flow->block_of);
    free(flow->first);
    free(flow->in);
    free(flow->escaped);
    *flow = (struct flow){0};
}

void flow_before(const struct flow *flow, const struct insn *insn, struct state *state) {
    size_t index = (size_t)(insn - flow->code->insns), block = flow->block_of[index];

    if (flow->in)
        *state = flow->in[block];
    else /* too large: each block by itself */
        anything(state);
    for (size_t i = flow->first[block]; i < index; i++)
        step(flow, state, &flow->code->insns[i]);
}

void flow_after(const struct flow *flow, const struct insn *insn, struct state *state) {
    flow_before(flow, insn, state);
    step(flow, state, insn);
}

struct value flow_argument(const struct state *state, const struct insn *call, unsigned parameter) {
    if (parameter < PARAMETER_STACK)
        return state->registers[parameter];
    if (state->registers[REG_SP].kind != VALUE_STACK)
        return value_any();
    /* A call puts the return address below what it finds, a jump finds it there. */
    int64_t above = 8 * (int64_t)(parameter - PARAMETER_STACK) + (call->op == OP_CALL ? 0 : 8);
    return load(state, state->registers[REG_SP].constants[0] + above);
}
