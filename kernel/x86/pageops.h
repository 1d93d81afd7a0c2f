// Zeroing and copying whole pages: by string instructions, eight bytes a step; zeroing by vector stores where the
// processor does not claim that its string instructions are fast.
#ifndef KERNEL_X86_PAGEOPS_H
#define KERNEL_X86_PAGEOPS_H

#include "kernel/types.h"

#ifdef KNARR_UNIT_TEST
#include "kernel/string.h"

static inline void pages_zero(void *dst, size_t size) { memset(dst, 0, size); }

static inline void pages_copy(void *dst, const void *src, size_t size) { memcpy(dst, src, size); }
#else
#include "kernel/x86/cpu.h"

void pages_zero_sse(void *start, void *end); // pageops.S

static inline void pages_zero(void *dst, size_t size) {
    if (!cpu_features.erms) {
        pages_zero_sse(dst, (char *)dst + size);
        return;
    }
    size_t n = size / 8;
    __asm__ volatile("rep stosq" : "+D"(dst), "+c"(n) : "a"(0UL) : "memory");
}

static inline void pages_copy(void *dst, const void *src, size_t size) {
    size_t n = size / 8;
    __asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n)::"memory");
}
#endif

#endif
