// The load averages of the machine, as Linux computes them: every 5 seconds the number of threads that run or are ready enters
// averages that decay over 1, 5 and 15 minutes. No timer does this: whoever switches threads, or asks, does it when it is due,
// and makes up for what was left out, during which the number of threads did not change.
#ifndef KERNEL_LOADAVG_H
#define KERNEL_LOADAVG_H

#include "kernel/types.h"

#define LOAD_SHIFT 11 // fixed point
#define LOAD_ONE (1UL << LOAD_SHIFT)
#define LOAD_PERIOD (5 * NSEC_PER_SEC)

extern nsec_t load_due; // monotonic: when the next period ends

// `n` periods with `active` threads. Pure.
uint64_t load_decay(uint64_t load, uint64_t decay, uint64_t active, uint64_t n);
void load_update(uint64_t active, nsec_t now); // any context; what ran up to now
void load_averages(uint64_t out[3]);           // up to now

#endif
