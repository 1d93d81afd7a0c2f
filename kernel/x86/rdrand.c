// Random numbers from the processor. RDSEED is the entropy source itself and may run dry for a while; RDRAND is a generator
// seeded from it. Intel's guide to the digital random number generator: ten tries for RDRAND, then it is broken.
#include "kernel/x86/rdrand.h"

#include <cpuid.h>

static bool rdseed(uint64_t *v) {
    bool ok;
    __asm__ volatile("rdseed %0" : "=r"(*v), "=@ccc"(ok) : : "memory");
    return ok;
}

static bool rdrand(uint64_t *v) {
    bool ok;
    __asm__ volatile("rdrand %0" : "=r"(*v), "=@ccc"(ok) : : "memory");
    return ok;
}

unsigned cpu_random(uint64_t *out, unsigned n) {
    // CPUID leaves the guest under every hypervisor, so its answer is kept. 1: known, 2: RDRAND, 4: RDSEED.
    static uint8_t have;
    if (!READ_ONCE(have)) {
        uint32_t a, b, c, d, found = 1;
        if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_RDRND))
            found |= 2;
        if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_RDSEED))
            found |= 4;
        WRITE_ONCE(have, (uint8_t)found);
    }
    for (unsigned i = 0; i < n; i++) {
        bool ok = false;
        for (int try = 0; try < 10 && !ok && (have & 4); try++)
            ok = rdseed(&out[i]);
        for (int try = 0; try < 10 && !ok && (have & 2); try++)
            ok = rdrand(&out[i]);
        if (!ok)
            return i;
    }
    return n;
}
