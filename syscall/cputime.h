// CPU clocks among the other clocks: what time.c asks cputime.c.
#ifndef SYSCALL_CPUTIME_H
#define SYSCALL_CPUTIME_H

#include "kernel/types.h"

int cpu_clock_read(int clock, nsec_t *ns); // 0, -EINVAL
// clock_nanosleep(2) on such a clock.
long cpu_clock_sleep(int clock, bool absolute, uaddr_t request, uaddr_t rem);

#endif
