// Timers on CPU time, of a process or of a thread: timer_create(2) and clock_nanosleep(2) on such clocks, setitimer(2)'s virtual
// and profiling timers, RLIMIT_CPU and RLIMIT_RTTIME. The tick looks at those of the process that it finds running, so they are
// late by up to 4 ms of that process's CPU time, as in Linux; who has none pays one look at process.cpu_timing a tick.
// Locks: the signal_lock of the process whose clock it is protects its list.
#ifndef KERNEL_CPU_TIMER_H
#define KERNEL_CPU_TIMER_H

#include "kernel/process/process.h"

// A clock: process and thread are referenced by whoever keeps one.
struct cpu_clock {
    struct process *process;
    struct thread *thread; // one of the process's, or NULL: all of them
    bool user;             // only what was spent in the application
};

// The clock with a number: CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, or one that clock_getcpuclockid(3) or
// pthread_getcpuclockid(3) made. With references. 0, -EINVAL.
int cpu_clock_get(int number, struct cpu_clock *c);
void cpu_clock_put(const struct cpu_clock *c);
nsec_t cpu_clock_now(const struct cpu_clock *c);

struct cpu_timer;
typedef void (*cpu_timer_fn)(struct cpu_timer *t, nsec_t now); // interrupt context, no lock held; may add the timer again
struct cpu_timer {
    struct list link;
    struct cpu_clock clock;
    nsec_t deadline;
    cpu_timer_fn fn;
    bool armed, firing;
};
void cpu_timer_init(struct cpu_timer *t, const struct cpu_clock *clock, cpu_timer_fn fn);
void cpu_timer_add(struct cpu_timer *t, nsec_t deadline); // one that is not armed
void cpu_timer_cancel(struct cpu_timer *t);               // and waits until its function is done

void cpu_timers_tick(struct thread *t); // the current thread, from its tick. No lock held
void process_cpu_limit_changed(struct process *p); // RLIMIT_CPU was set
// ITIMER_VIRTUAL (0) and ITIMER_PROF (1) of a process: absolute on its clock, 0: off.
struct itimer_value;
void cpu_itimer_set(struct process *p, int i, const struct itimer_value *new_value, struct itimer_value *old);

#endif
