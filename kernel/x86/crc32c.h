// CRC-32C by the processor: the instruction crc32 of SSE4.2, which works on general registers.
#ifndef KERNEL_X86_CRC32C_H
#define KERNEL_X86_CRC32C_H

#include "kernel/x86/cpu.h"

#define CPUID_SSE42 (1u << 20) // leaf 1, ECX

static inline bool crc32c_by_processor(void) {
#ifdef KNARR_UNIT_TEST
    return false;
#else
    return cpu_features.leaf1_ecx & CPUID_SSE42;
#endif
}

static inline uint32_t crc32c_processor(uint32_t crc, const void *data, size_t n) {
    const uint8_t *p = data;
    uint64_t wide = crc;
    for (; n >= 32; n -= 32, p += 32)
        __asm__("crc32q %1, %0; crc32q %2, %0; crc32q %3, %0; crc32q %4, %0"
                : "+r"(wide)
                : "m"(*(const uint64_t *)p), "m"(*(const uint64_t *)(p + 8)), "m"(*(const uint64_t *)(p + 16)),
                  "m"(*(const uint64_t *)(p + 24)));
    for (; n >= 8; n -= 8, p += 8)
        __asm__("crc32q %1, %0" : "+r"(wide) : "m"(*(const uint64_t *)p));
    crc = (uint32_t)wide;
    for (; n; n--, p++)
        __asm__("crc32b %1, %0" : "+r"(crc) : "m"(*p));
    return crc;
}

#endif
