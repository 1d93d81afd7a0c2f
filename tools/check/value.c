/*
 * Arithmetic on small sets of constants; see the header. What grows beyond a set's room is anything.
 */
#include "tools/check/value.h"

#include <string.h>

struct value value_constant(int64_t constant) {
    return (struct value){.kind = VALUE_SET, .count = 1, .constants = {constant}};
}

struct value value_parameter(unsigned parameter) {
    return (struct value){.kind = VALUE_SET, .parameters = 1u << parameter};
}

struct value value_stack(int64_t offset) {
    return (struct value){.kind = VALUE_STACK, .count = 1, .constants = {offset}};
}

struct value value_any(void) {
    return (struct value){.kind = VALUE_ANY};
}

struct value value_memory(void) {
    return (struct value){.kind = VALUE_SET, .parameters = VALUE_MEMORY};
}

static bool add(struct value *v, int64_t constant) {
    for (unsigned i = 0; i < v->count; i++)
        if (v->constants[i] == constant)
            return true;
    if (v->count == VALUE_CONSTANTS)
        return false;
    v->constants[v->count++] = constant;
    return true;
}

struct value value_merge(const struct value *a, const struct value *b) {
    if (a->kind == VALUE_NONE)
        return *b;
    if (b->kind == VALUE_NONE)
        return *a;
    if (a->kind == VALUE_STACK && b->kind == VALUE_STACK && a->constants[0] == b->constants[0])
        return *a;
    if (a->kind != VALUE_SET || b->kind != VALUE_SET)
        return value_any();
    struct value merged = *a;
    merged.parameters |= b->parameters;
    for (unsigned i = 0; i < b->count; i++)
        if (!add(&merged, b->constants[i]))
            return value_any();
    return merged;
}

bool value_equal(const struct value *a, const struct value *b) {
    if (a->kind != b->kind || a->count != b->count || a->parameters != b->parameters)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (a->constants[i] != b->constants[i])
            return false;
    return true;
}

static int64_t extend(int64_t n, unsigned size, bool is_signed) {
    if (size >= 8)
        return n;
    unsigned shift = 64 - 8 * size;
    uint64_t high = (uint64_t)n << shift;
    return is_signed ? (int64_t)high >> shift : (int64_t)(high >> shift);
}

struct value value_extend(const struct value *v, unsigned size, bool is_signed) {
    struct value out = *v;

    if (v->kind == VALUE_STACK)
        return size == 8 ? *v : value_any();
    if (v->kind != VALUE_SET)
        return *v;
    if (v->parameters && size < 4) /* what is left of it is another number */
        return value_any();
    out.count = 0;
    for (unsigned i = 0; i < v->count; i++)
        add(&out, extend(v->constants[i], size, is_signed));
    return out;
}

static int64_t compute(enum operation operation, int64_t a, int64_t b) {
    switch (operation) {
    case OP_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case OP_SUBTRACT: return (int64_t)((uint64_t)a - (uint64_t)b);
    case OP_AND: return a & b;
    case OP_OR: return a | b;
    case OP_XOR: return a ^ b;
    case OP_SHIFT_LEFT: return (int64_t)((uint64_t)a << (b & 63));
    case OP_SHIFT_RIGHT: return (int64_t)((uint64_t)a >> (b & 63));
    case OP_NEGATE: return (int64_t) - (uint64_t)a;
    case OP_INCREMENT: return (int64_t)((uint64_t)a + 1);
    case OP_DECREMENT: return (int64_t)((uint64_t)a - 1);
    default: return 0;
    }
}

/* Anything, masked: each subset of a mask with few bits. */
static struct value masked(int64_t mask) {
    struct value out = {.kind = VALUE_SET};
    int64_t part = mask;

    do {
        if (!add(&out, part))
            return value_any();
        part = (part - 1) & mask;
    } while (part != mask);
    return out;
}

struct value value_compute(enum operation operation, const struct value *a, const struct value *b, unsigned size) {
    static const struct value zero = {.kind = VALUE_SET, .count = 1};
    bool one = operation == OP_NEGATE || operation == OP_INCREMENT || operation == OP_DECREMENT;
    struct value out = {.kind = VALUE_SET};

    b = one ? &zero : b;
    if (a->kind == VALUE_NONE || b->kind == VALUE_NONE)
        return (struct value){0};
    if (a->kind == VALUE_STACK && b->kind == VALUE_SET && b->count == 1 && !b->parameters && size == 8 &&
        (operation == OP_ADD || operation == OP_SUBTRACT))
        return value_stack(compute(operation, a->constants[0], b->constants[0]));
    if (a->kind == VALUE_STACK && operation == OP_AND) /* aligned: where to nobody needs to know */
        return value_any();
    bool known_a = a->kind == VALUE_SET && !a->parameters, known_b = b->kind == VALUE_SET && !b->parameters;
    if (operation == OP_AND && known_b && b->count == 1 && !known_a && b->constants[0] >= 0)
        return masked(b->constants[0]);
    if (!known_a || !known_b)
        return value_any();
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (!add(&out, extend(compute(operation, a->constants[i], b->constants[k]), size, false)))
                return value_any();
    return out;
}
