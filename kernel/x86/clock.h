// The clocks of the PC among themselves; kernel/clock_event.h is what the rest of the kernel sees of them.
#ifndef KERNEL_X86_CLOCK_H
#define KERNEL_X86_CLOCK_H

#include "kernel/clock_event.h"

// The rate of the time stamp counter as CPUID tells it. False: it does not.
bool tsc_rate(struct clock_cycles_info *info);
// The rate of the local APIC's timer (divided by 1) as CPUID tells it; 0: it does not.
uint64_t tsc_apic_hz(void);

bool kvmclock_init(struct clock_cycles_info *info); // boot CPU; false: there is none that can be used
const struct clock_reference *pit_init(void);       // starts the counter; it is taken to be there
const struct clock_reference *hpet_init(void);      // NULL: ACPI names none

#endif
