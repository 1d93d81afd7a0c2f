/*
 * What a register or a word on the stack can hold: one of a few constants, what was in certain places when the function was entered
 * (its parameters), an address within its stack frame, or anything.
 */
#pragma once

#include "tools/check/disasm.h"

enum { VALUE_CONSTANTS = 12, PARAMETER_STACK = REG_COUNT, PARAMETER_COUNT = 31 };
#define VALUE_MEMORY (1u << 31) /* among the parameters: or what somebody stored in memory */

enum value_kind { VALUE_NONE, VALUE_SET, VALUE_STACK, VALUE_ANY };

struct value {
    uint8_t kind, count;
    uint32_t
        parameters; /* of a set: bit r, register r; bit PARAMETER_STACK + k, the k-th word above the return address; VALUE_MEMORY */
    int64_t
        constants[VALUE_CONSTANTS]; /* of a stack address: [0] is its distance from the stack pointer at the entry */
};

struct value value_constant(int64_t constant);
struct value value_parameter(unsigned parameter);
struct value value_stack(int64_t offset);
struct value value_any(void);
struct value value_memory(void);

/* What either can be. */
struct value value_merge(const struct value *a, const struct value *b);
bool value_equal(const struct value *a, const struct value *b);

/* The result of an operation on values of `size` bytes (1, 2, 4, 8). */
struct value value_compute(enum operation operation, const struct value *a, const struct value *b, unsigned size);

/* The value cut to, and zero- or sign-extended from, so many bytes. */
struct value value_extend(const struct value *v, unsigned size, bool is_signed);
