// Clocks and timers. One heap of deadlines a CPU; the CPU's timer interrupt is set for the earliest, and for nothing else.
#ifndef KERNEL_TIME_H
#define KERNEL_TIME_H

#include "kernel/heap.h"
#include "kernel/list.h"
#include "kernel/types.h"

nsec_t time_monotonic(void); // ns since the boot (CLOCK_MONOTONIC and CLOCK_BOOTTIME)
nsec_t time_realtime(void);  // ns since the epoch (CLOCK_REALTIME)
// clock_settime(2), settimeofday(2): -EINVAL for a time before the boot was at 0, or less than 30 years before the last there is.
int time_set_realtime(nsec_t ns);
int time_shift_realtime(nsec_t change); // by so much; -EINVAL as above
// Precise raw cycles for measuring (TSC), and their conversion.
uint64_t time_cycles(void);
nsec_t time_cycles_to_ns(uint64_t cycles);
uint64_t time_ns_to_cycles(nsec_t ns);
uint64_t time_tsc_khz(void); // as far as it is known by now
int64_t rtc_read(void); // drivers/rtc.c: seconds since the epoch, 0 when there is no clock. Declared here by its user

struct timer;
typedef void (*timer_fn)(struct timer *t); // in interrupt context, interrupts off, no lock held; may re-add the timer
struct timer {
    nsec_t deadline; // absolute, monotonic
    timer_fn fn;
    int cpu;         // where it is queued, -1: it is not
    struct heap_node node; // by deadline: timer.c
};
void timer_init(struct timer *t, timer_fn fn);
void timer_add(struct timer *t, nsec_t deadline); // (re)arms it on this CPU
// Disarms it. False when it was not armed (it may be running at this moment on another CPU; timer_cancel_sync waits for that).
bool timer_cancel(struct timer *t);
bool timer_cancel_sync(struct timer *t);

void time_init(void);     // boot CPU, early
void time_init_cpu(void); // every CPU: its timer
void timer_interrupt(void); // from kernel/x86's timer vector

// What the vDSO reads: one page, written by time.c under a sequence count, mapped read-only into every program.
struct vdso_data {
    uint32_t seq;       // odd while being written
    uint32_t mode;      // 0: make the system call; 1: the TSC is good
    uint64_t tsc_base;
    uint64_t mult;      // ns = ((tsc - tsc_base) * mult) >> shift, the product in 128 bits
    uint32_t shift;     // 1 to 63
    uint32_t cpu_in_tsc_aux; // the kernel keeps every CPU's number in its TSC_AUX: RDTSCP tells it
    nsec_t mono_base;   // monotonic time at tsc_base
    nsec_t real_offset; // realtime - monotonic
    int64_t tai;        // seconds from realtime to CLOCK_TAI: adjtimex(2)
};
extern struct vdso_data *vdso_data; // kernel address of the page (page-aligned, refcounted page of its own)

#endif
