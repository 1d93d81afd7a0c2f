// Zeroing and copying whole pages, eight bytes a step.
#ifndef KERNEL_X86_PAGEOPS_H
#define KERNEL_X86_PAGEOPS_H

#include "kernel/types.h"

#ifdef KNARR_UNIT_TEST
#include "kernel/string.h"

static inline void pages_zero(void *dst, size_t size)
{
    memset(dst, 0, size);
}

static inline void pages_copy(void *dst, const void *src, size_t size)
{
    memcpy(dst, src, size);
}
#else
static inline void pages_zero(void *dst, size_t size)
{
    size_t n = size / 8;
    __asm__ volatile("rep stosq" : "+D"(dst), "+c"(n) : "a"(0UL) : "memory");
}

static inline void pages_copy(void *dst, const void *src, size_t size)
{
    size_t n = size / 8;
    __asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n)::"memory");
}
#endif

#endif
