// Timers and limits on CPU time, driven by the tick. See cpu_timer.h.
#include "kernel/process/cpu_timer.h"
#include "kernel/process/posix_timer.h"
#include "kernel/threads/runqueue.h"
#include "kernel/x86/cpu.h"
#include <linux/time.h>

#define TICK_USEC 4000

// --- Clocks ---

// The lowest bits of a made number, as in Linux: two say what is counted, one that it is a thread's.
#define COUNTS 3
#define COUNTS_USER 1
#define COUNTS_NOTHING 3 // a file descriptor's clock
#define OF_THREAD 4

static int thread_clock(int tid, struct cpu_clock *c)
{
    if (tid) {
        c->thread = thread_find(tid);
        if (!c->thread || c->thread->process != process_current()) {
            if (c->thread)
                thread_unref(c->thread);
            return -EINVAL;
        }
    } else {
        c->thread = thread_current();
        thread_ref(c->thread);
    }
    c->process = c->thread->process;
    process_ref(c->process);
    return 0;
}

int cpu_clock_get(int number, struct cpu_clock *c)
{
    *c = (struct cpu_clock){0};
    if (number == CLOCK_THREAD_CPUTIME_ID)
        return thread_clock(0, c);
    int id = 0;
    if (number != CLOCK_PROCESS_CPUTIME_ID) {
        if (number >= 0 || (number & COUNTS) == COUNTS_NOTHING)
            return -EINVAL;
        id = ~(number >> 3); // cppcheck-suppress shiftNegativeLHS; gcc defines it
        c->user = (number & COUNTS) == COUNTS_USER;
        if (number & OF_THREAD)
            return thread_clock(id, c);
    }
    c->process = id ? process_find(id) : process_current();
    if (!c->process)
        return -EINVAL;
    if (!id)
        process_ref(c->process);
    return 0;
}

void cpu_clock_put(const struct cpu_clock *c)
{
    if (c->thread)
        thread_unref(c->thread);
    process_unref(c->process);
}

nsec_t cpu_clock_now(const struct cpu_clock *c)
{
    nsec_t user, system;
    if (!c->user)
        return c->thread ? thread_cpu_time(c->thread) : process_cpu_time(c->process);
    if (c->thread)
        thread_times(c->thread, &user, &system);
    else
        process_times(c->process, &user, &system);
    return user;
}

// --- Timers ---

void cpu_timer_init(struct cpu_timer *t, const struct cpu_clock *clock, cpu_timer_fn fn)
{
    *t = (struct cpu_timer){.clock = *clock, .fn = fn};
    list_init(&t->link);
}

void cpu_timer_add(struct cpu_timer *t, nsec_t deadline)
{
    struct process *p = t->clock.process;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    t->deadline = deadline;
    t->armed = true;
    list_push_back(&p->cpu_timers, &t->link);
    p->cpu_timing = true;
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

void cpu_timer_cancel(struct cpu_timer *t)
{
    struct process *p = t->clock.process;
    for (;;) {
        uint64_t flags = spin_lock_irqsave(&p->signal_lock);
        if (t->armed) {
            list_remove(&t->link);
            t->armed = false;
        }
        bool firing = load_acquire(&t->firing); // on another CPU, for a moment
        spin_unlock_irqrestore(&p->signal_lock, flags);
        if (!firing)
            return;
        cpu_pause();
    }
}

// --- Interval timers and limits ---

static const int itimer_signals[2] = {SIGVTALRM, SIGPROF};

void cpu_itimer_set(struct process *p, int i, const struct itimer_value *new_value, struct itimer_value *old)
{
    nsec_t now[2]; // ITIMER_VIRTUAL counts the application's time, ITIMER_PROF all
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    process_cpu_times(p, &now[1], &now[0]);
    if (old) {
        nsec_t deadline = p->itimer_cpu_deadline[i];
        *old = (struct itimer_value){deadline ? MAX(deadline - now[i], 1) : 0, p->itimer_cpu_interval[i]};
    }
    if (new_value) {
        p->itimer_cpu_deadline[i] = new_value->value ? saturating_add(now[i], new_value->value) : 0;
        p->itimer_cpu_interval[i] = new_value->interval;
        p->cpu_timing |= new_value->value != 0;
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

void process_cpu_limit_changed(struct process *p)
{
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    p->cpu_timing |= p->limits[RLIMIT_CPU].rlim_cur != RLIM_INFINITY;
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

// The signals that interval timers and RLIMIT_CPU are due for, as a set. signal_lock held.
static uint64_t look_at_process(struct process *p, const nsec_t now[2])
{
    uint64_t due = 0;
    int missed;
    for (int i = 0; i < 2; i++) {
        nsec_t deadline = p->itimer_cpu_deadline[i], interval = p->itimer_cpu_interval[i];
        if (!deadline || now[i] < deadline)
            continue;
        due |= SIGMASK(itimer_signals[i]);
        p->itimer_cpu_deadline[i] = interval ? timer_next_expiry(deadline, interval, now[i], &missed) : 0;
    }
    struct rlimit *l = &p->limits[RLIMIT_CPU]; // in seconds
    uint64_t seconds = (uint64_t)(now[1] / NSEC_PER_SEC);
    if (seconds >= l->rlim_max) {
        due |= SIGMASK(SIGKILL);
    } else if (seconds >= l->rlim_cur) {
        due |= SIGMASK(SIGXCPU);
        l->rlim_cur = seconds + 1; // and again every second
    }
    return due;
}

// RLIMIT_RTTIME: microseconds that a real-time thread may run without a sleep.
static uint64_t look_at_realtime(struct thread *t)
{
    struct rlimit *l = &t->process->limits[RLIMIT_RTTIME];
    uint64_t used = (uint64_t)t->realtime_ticks * TICK_USEC;
    if (used >= l->rlim_max)
        return SIGMASK(SIGKILL);
    if (used < l->rlim_cur)
        return 0;
    l->rlim_cur += 1000000;
    return SIGMASK(SIGXCPU);
}

void cpu_timers_tick(struct thread *t)
{
    struct process *p = t->process;
    struct list fired = LIST_INIT(fired);
    struct cpu_timer *c, *tmp;
    nsec_t now[2];
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    process_cpu_times(p, &now[1], &now[0]);
    uint64_t due = look_at_process(p, now);
    if (is_realtime(t))
        due |= look_at_realtime(t);
    list_for_each_safe(c, tmp, &p->cpu_timers, link) {
        if (c->clock.thread && c->clock.thread != t)
            continue; // that one's own tick looks at it
        nsec_t of_thread = 0, rest;
        if (c->clock.thread && c->clock.user)
            thread_times(t, &of_thread, &rest);
        else if (c->clock.thread)
            of_thread = thread_cpu_time(t);
        if ((c->clock.thread ? of_thread : now[!c->clock.user]) < c->deadline)
            continue;
        list_remove(&c->link);
        list_push_back(&fired, &c->link);
        c->armed = false;
        c->firing = true;
    }
    p->cpu_timing = !list_empty(&p->cpu_timers) || p->itimer_cpu_deadline[0] || p->itimer_cpu_deadline[1] ||
                    p->limits[RLIMIT_CPU].rlim_cur != RLIM_INFINITY;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    for (; due; due &= due - 1)
        signal_send_process(p, __builtin_ctzl(due) + 1, NULL);
    while (!list_empty(&fired)) {
        c = list_first(&fired, struct cpu_timer, link);
        list_remove(&c->link);
        c->fn(c, c->clock.thread ? thread_cpu_time(t) : now[!c->clock.user]);
        store_release(&c->firing, false); // its memory is the canceller's from now on
    }
}
