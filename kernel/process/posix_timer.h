// Timers of the application: timer_create(2), and the interval timers setitimer(2).
// Locks: process.signal_lock protects the list; a timer's function runs in interrupt context.
#ifndef KERNEL_POSIX_TIMER_H
#define KERNEL_POSIX_TIMER_H

#include "kernel/process/process.h"

struct itimer_value {
    nsec_t value, interval; // 0: disarmed
};
// The expiry after one at `deadline`, in the future of `now`; *missed counts those in between.
nsec_t timer_next_expiry(nsec_t deadline, nsec_t interval, nsec_t now, int *missed);

static inline nsec_t saturating_add(nsec_t a, nsec_t b)
{
    nsec_t sum;
    return __builtin_add_overflow(a, b, &sum) ? NSEC_MAX : sum;
}

// setitimer(2): which is ITIMER_REAL, ITIMER_VIRTUAL or ITIMER_PROF; new or old may be NULL.
void itimer_set(int which, const struct itimer_value *new_value, struct itimer_value *old);

struct posix_timer_spec { // of struct sigevent
    int clock;
    int notify, sig, tid;
    uint64_t value;
    bool value_is_id; // no value was given
};
long posix_timer_create(const struct posix_timer_spec *spec); // the number, -EAGAIN, -EINVAL
// times: absolute or relative in the timer's clock, in ns. 0 or -EINVAL.
long posix_timer_set(int id, bool absolute, const struct itimer_value *new_value, struct itimer_value *old);
long posix_timer_get(int id, struct itimer_value *v);
long posix_timer_overrun(int id);
long posix_timer_delete(int id);
void posix_timers_release(struct process *p); // exec
void process_timers_end(struct process *p);   // exit: those, and what setitimer(2) has set
// A signal of a timer is being delivered: its count of overruns goes to si_overrun and starts anew. signal_lock held.
void posix_timer_delivered(struct process *p, siginfo_t *info);

#endif
