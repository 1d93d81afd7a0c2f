// Wide arithmetic for clocks: products of 128 bits and one division of them.
#ifndef KERNEL_MULDIV_H
#define KERNEL_MULDIV_H

#include "kernel/types.h"

// a * b / c, the product in 128 bits; saturates at UINT64_MAX (c 0 included). Not for hot paths.
static inline uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 n = (unsigned __int128)a * b;
    uint64_t high = (uint64_t)(n >> 64), low = (uint64_t)n, q = 0;
    if (high >= c)
        return UINT64_MAX;
    for (int i = 0; i < 64; i++) { // long division by bits: libgcc's __udivti3 is not in the kernel
        bool carry = high >> 63;
        high = high << 1 | low >> 63;
        low <<= 1;
        q <<= 1;
        if (carry || high >= c) {
            high -= c;
            q |= 1;
        }
    }
    return q;
}

// a * mult, with 32 binary places in mult.
static inline uint64_t mul_shift32(uint64_t a, uint64_t mult)
{
    return (uint64_t)(((unsigned __int128)a * mult) >> 32);
}

#endif
