// Words of the application's memory one at a time, inline, between user_access_begin and user_access_end: for structures that are
// put together in place. All in between may fault and sleep; the caller has checked the range against the user half, calls nothing
// else in between, and goes to user_access_end on the way of a fault as well. For all else there is kernel/memory/usercopy.h.
#ifndef KERNEL_X86_USERACCESS_H
#define KERNEL_X86_USERACCESS_H

#include "kernel/types.h"

// STAC and CLAC, patched in where the processor has SMAP: cpu.c, usercopy.S.
// clang-format off
#define USER_ACCESS_PATCH(low_bit)                                                                                     \
    __asm__ volatile(".p2align 1\n"                                                                                    \
                     "99: .byte 0x0f, 0x1f, 0x00\n"                                                                    \
                     ".pushsection .smap_patch, \"a\", @progbits\n"                                                    \
                     ".quad 99b + " #low_bit "\n"                                                                      \
                     ".popsection" : : : "memory", "cc")
// clang-format on

static inline __attribute__((always_inline)) void user_access_begin(void) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    USER_ACCESS_PATCH(1);
}

static inline __attribute__((always_inline)) void user_access_end(void) { USER_ACCESS_PATCH(0); }

#ifndef __cppcheck__ // does not know labels of assembly

// An instruction that goes to the label `fault` when the memory cannot be had.
#define USER_INSN(insn) "98: " insn "\n.pushsection .ex_table, \"a\", @progbits\n.quad 98b, %l[fault_]\n.popsection"

// The word at the application's address `to` becomes `value`, by the width of the latter's type (4 or 8 bytes).
#define user_put(to, value, fault)                                                                                     \
    do {                                                                                                               \
        __label__ fault_, done_;                                                                                       \
        __typeof__(value) *to_ = (__typeof__(value) *)(to);                                                            \
        __asm__ goto(USER_INSN("mov%z0 %1, %0") : : "m"(*to_), "er"(value) : "memory" : fault_);                       \
        goto done_;                                                                                                    \
    fault_:                                                                                                            \
        goto fault;                                                                                                    \
    done_:;                                                                                                            \
    } while (0)

// `var`, of 4 or 8 bytes, becomes what is at the application's address `from`. (volatile: GCC's bug 113921.)
#define user_get(var, from, fault)                                                                                     \
    do {                                                                                                               \
        __label__ fault_, done_;                                                                                       \
        const __typeof__(var) *from_ = (const __typeof__(var) *)(from);                                                \
        __asm__ volatile goto(USER_INSN("mov%z1 %1, %0") : "=r"(var) : "m"(*from_) : "memory" : fault_);               \
        goto done_;                                                                                                    \
    fault_:                                                                                                            \
        goto fault;                                                                                                    \
    done_:;                                                                                                            \
    } while (0)

// An instruction that touches the application's memory in its own way, with input operands only.
#define user_insn(fault, insn, ...)                                                                                    \
    do {                                                                                                               \
        __label__ fault_, done_;                                                                                       \
        __asm__ goto(USER_INSN(insn) : : __VA_ARGS__ : "memory", "cc" : fault_);                                       \
        goto done_;                                                                                                    \
    fault_:                                                                                                            \
        goto fault;                                                                                                    \
    done_:;                                                                                                            \
    } while (0)

#else
bool user_faults(const void *what, ...);
#define user_put(to, value, fault)                                                                                     \
    do {                                                                                                               \
        if (user_faults((void *)(to), value))                                                                          \
            goto fault;                                                                                                \
    } while (0)
#define user_get(var, from, fault)                                                                                     \
    do {                                                                                                               \
        (var) = *(const __typeof__(var) *)(from);                                                                      \
        if (user_faults((void *)(from)))                                                                               \
            goto fault;                                                                                                \
    } while (0)
#define user_insn(fault, insn, ...)                                                                                    \
    do {                                                                                                               \
        if (user_faults(insn))                                                                                         \
            goto fault;                                                                                                \
    } while (0)
#endif

// `count` words of 8 bytes become zero.
#define user_put_zeroes(to, count, fault)                                                                              \
    do {                                                                                                               \
        _Pragma("GCC unroll 10") for (unsigned i_ = 0; i_ < (count); i_++)                                             \
            user_put((uint64_t *)(to) + i_, 0UL, fault);                                                               \
    } while (0)

#endif
