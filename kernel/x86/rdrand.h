// Random numbers from the processor: RDSEED, else RDRAND.
#ifndef KERNEL_X86_RDRAND_H
#define KERNEL_X86_RDRAND_H

#include "kernel/types.h"

// Fills in up to n words; returns how many: 0 when the processor has neither instruction, or they fail.
unsigned cpu_random(uint64_t *out, unsigned n);

#endif
