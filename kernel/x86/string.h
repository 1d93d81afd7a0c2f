// Word accesses at any alignment and the processor's string instructions, for string.c.
#ifndef KERNEL_X86_STRING_H
#define KERNEL_X86_STRING_H

#include "kernel/types.h"

typedef uint64_t __attribute__((aligned(1), may_alias)) unaligned64;
typedef uint32_t __attribute__((aligned(1), may_alias)) unaligned32;
static inline uint64_t load64(const void *p) { return *(const unaligned64 *)p; }
static inline uint32_t load32(const void *p) { return *(const unaligned32 *)p; }
static inline void store64(void *p, uint64_t v) { *(unaligned64 *)p = v; }
static inline void store32(void *p, uint32_t v) { *(unaligned32 *)p = v; }

static inline void rep_movsq(void *dst, const void *src, size_t words) {
    __asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(words)::"memory");
}
static inline void rep_stosq(void *dst, uint64_t value, size_t words) {
    __asm__ volatile("rep stosq" : "+D"(dst), "+c"(words) : "a"(value) : "memory");
}

#endif
