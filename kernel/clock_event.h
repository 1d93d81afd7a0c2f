// What time.c and timer.c want from the machine: cycles, a slower clock of known rate to measure them by, and one interrupt
// a CPU at a given time. kernel/x86/clock.c has it; unit tests have their own.
#ifndef KERNEL_CLOCK_EVENT_H
#define KERNEL_CLOCK_EVENT_H

#include "kernel/types.h"

#ifdef KNARR_UNIT_TEST // unit tests on the host provide it
uint64_t clock_cycles(void);
void time_init_for_test(void);
#else
#include "kernel/x86/cpu.h"
static inline uint64_t clock_cycles(void) { return rdtsc(); }
#endif

// How cycles become time, as far as the machine says so itself.
struct clock_cycles_info {
    uint64_t hz;       // cycles a second; 0: unknown
    bool exact;        // needs no measuring
    const char *name;  // of the source
    nsec_t realtime;   // since the epoch, now; 0: not told, ask the RTC
};
void clock_init(struct clock_cycles_info *info); // boot CPU
void clock_init_cpu(void);                       // every CPU: its event timer, its part of kvm-clock

// A counter of known rate that counts up and wraps. Chosen by clock_init when the cycles are not exact.
struct clock_reference {
    const char *name;
    uint64_t (*read)(void);
    uint64_t mask;     // wraps after this value
    uint64_t ns_mult;  // nanoseconds a tick, 32 binary places
};
extern const struct clock_reference *clock_reference; // NULL: none

// The event timer of this CPU: an interrupt (timer_interrupt) after `delta` ns, or earlier; never much later. Interrupts off.
void clock_event_set(nsec_t delta);

#endif
