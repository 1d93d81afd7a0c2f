// Interval timers (setitimer) and timers of timer_create(2). Real-time ones are timers of the kernel whose function sends the
// signal; those on CPU time are cpu_timer.c's.
// Locks: process.timer_calls (mutex): one call at a time, also of setitimer, looks at a process's timers or changes them, since a
// timer must not be added twice at once > process.signal_lock, which protects the list.
#include "kernel/process/posix_timer.h"
#include "kernel/process/cpu_timer.h"
#include "kernel/process/process.h"
#include "kernel/process/signal.h"
#include "kernel/memory/slab.h"
#include <linux/time.h>

// --- setitimer(2) ---

// No two expiries of a timer come closer than this: an interval of a nanosecond would leave time for nothing but its interrupts.
// Those in between are overruns.
#define MIN_GAP (50 * NSEC_PER_USEC)

nsec_t timer_next_expiry(nsec_t deadline, nsec_t interval, nsec_t now, int *missed)
{
    nsec_t next = saturating_add(deadline, interval), soonest = now + (interval < MIN_GAP ? MIN_GAP : 1);
    *missed = 0;
    if (next < soonest) { // late by an interval, or a short one: rare, so a division is fine
        nsec_t n = (soonest - next - 1) / interval + 1;
        *missed = n > INT32_MAX ? INT32_MAX : (int)n;
        next = saturating_add(next, n * interval);
    }
    return next;
}

static void real_expired(struct timer *timer)
{
    struct process *p = container_of(timer, struct process, itimer_real);
    int missed;
    signal_send_process(p, SIGALRM, NULL);
    nsec_t interval = READ_ONCE(p->itimer_real_interval); // once: setitimer may make it 0 at this moment
    if (interval)
        timer_add(timer, timer_next_expiry(timer->deadline, interval, time_monotonic(), &missed));
}

static void itimer_set_real(struct process *p, const struct itimer_value *new_value, struct itimer_value *old)
{
    nsec_t now = time_monotonic();
    if (old) {
        bool armed = READ_ONCE(p->itimer_real.cpu) >= 0;
        *old = (struct itimer_value){armed ? MAX(p->itimer_real.deadline - now, 1) : 0, p->itimer_real_interval};
    }
    if (!new_value)
        return;
    WRITE_ONCE(p->itimer_real_interval, 0); // one that runs at this moment does not start again
    timer_cancel_sync(&p->itimer_real);
    p->itimer_real.fn = real_expired;
    p->itimer_real_interval = new_value->interval;
    if (new_value->value)
        timer_add(&p->itimer_real, saturating_add(now, new_value->value));
}

void itimer_set(int which, const struct itimer_value *new_value, struct itimer_value *old)
{
    struct process *p = process_current();
    mutex_lock(&p->timer_calls);
    if (which == ITIMER_REAL)
        itimer_set_real(p, new_value, old);
    else
        cpu_itimer_set(p, which == ITIMER_PROF, new_value, old);
    mutex_unlock(&p->timer_calls);
}

// --- timer_create(2) ---

struct posix_timer {
    struct list link;
    struct timer timer;         // by a clock that always runs
    struct cpu_timer cpu_timer; // by a CPU clock, with references
    bool on_cpu;                // which of the two
    struct process *process;
    struct thread *thread; // SIGEV_THREAD_ID: referenced
    struct posix_timer_spec spec;
    int id;
    bool pending; // its signal is queued: expiries until it is delivered are overruns
    int overrun, overrun_last;
    nsec_t interval;
};

static struct posix_timer *find_timer(struct process *p, int id)
{
    struct posix_timer *t;
    list_for_each(t, &p->posix_timers, link)
        if (t->id == id)
            return t;
    return NULL;
}

static void count_overruns(struct posix_timer *t, int n)
{
    if (__builtin_add_overflow(t->overrun, n, &t->overrun))
        t->overrun = INT32_MAX;
}

static bool armed(const struct posix_timer *t)
{
    return t->on_cpu ? READ_ONCE(t->cpu_timer.armed) : READ_ONCE(t->timer.cpu) >= 0;
}

static nsec_t deadline_of(const struct posix_timer *t)
{
    return t->on_cpu ? t->cpu_timer.deadline : t->timer.deadline;
}

static void arm(struct posix_timer *t, nsec_t deadline)
{
    if (t->on_cpu)
        cpu_timer_add(&t->cpu_timer, deadline);
    else
        timer_add(&t->timer, deadline);
}

static void disarm(struct posix_timer *t)
{
    WRITE_ONCE(t->interval, 0); // one that expires at this moment does not start again
    if (t->on_cpu)
        cpu_timer_cancel(&t->cpu_timer);
    else
        timer_cancel_sync(&t->timer);
}

// Is its signal still to be delivered? One that was ignored, or came while another of its number was pending, never will be.
static bool still_pending(const struct posix_timer *t)
{
    const struct signal_queue *q = t->thread ? &t->thread->pending : &t->process->pending;
    return READ_ONCE(t->pending) && (READ_ONCE(q->set) & SIGMASK(t->spec.sig));
}

static void posix_timer_expired(struct posix_timer *t, nsec_t now)
{
    int missed = 0;
    nsec_t interval = READ_ONCE(t->interval); // once: who disarms it makes it 0 at any moment
    if (interval)
        arm(t, timer_next_expiry(deadline_of(t), interval, now, &missed));
    if (t->spec.notify == SIGEV_NONE)
        return;
    if (still_pending(t)) {
        count_overruns(t, missed + 1);
        return;
    }
    count_overruns(t, missed);
    siginfo_t info = {.si_signo = t->spec.sig, .si_code = SI_TIMER};
    info.si_tid = t->id;
    info.si_ptr = (void *)t->spec.value;
    WRITE_ONCE(t->pending, true);
    int err = t->thread ? signal_send_thread(t->thread, t->spec.sig, &info) : signal_send_process(t->process, t->spec.sig, &info);
    if (err)
        WRITE_ONCE(t->pending, false);
}

static void timer_expired(struct timer *timer)
{
    posix_timer_expired(container_of(timer, struct posix_timer, timer), time_monotonic());
}

static void cpu_timer_expired(struct cpu_timer *timer, nsec_t now)
{
    posix_timer_expired(container_of(timer, struct posix_timer, cpu_timer), now);
}

void posix_timer_delivered(struct process *p, siginfo_t *info)
{
    struct posix_timer *t = find_timer(p, info->si_tid);
    if (!t)
        return;
    info->si_overrun = t->overrun_last = t->overrun;
    t->overrun = 0;
    t->pending = false;
}

static void free_memory(struct posix_timer *t)
{
    if (t->thread)
        thread_unref(t->thread);
    if (t->on_cpu)
        cpu_clock_put(&t->cpu_timer.clock);
    kfree(t);
}

static bool on_cpu_clock(int clock)
{
    return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

// Clock and receiver. 0, -EINVAL.
static int set_up(struct posix_timer *t, const struct posix_timer_spec *spec)
{
    struct cpu_clock clock;
    t->spec = *spec;
    t->process = process_current();
    timer_init(&t->timer, timer_expired);
    if (on_cpu_clock(spec->clock)) {
        int err = cpu_clock_get(spec->clock, &clock);
        if (err)
            return err;
        cpu_timer_init(&t->cpu_timer, &clock, cpu_timer_expired);
        t->on_cpu = true;
    }
    if (!(spec->notify & SIGEV_THREAD_ID))
        return 0;
    t->thread = thread_find(spec->tid);
    return t->thread && t->thread->process == t->process ? 0 : -EINVAL;
}

long posix_timer_create(const struct posix_timer_spec *spec)
{
    struct process *p = process_current();
    struct posix_timer *t = kzalloc(sizeof *t);
    if (!t)
        return -EAGAIN;
    int err = set_up(t, spec);
    if (err) {
        free_memory(t);
        return err;
    }
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (p->posix_timer_count >= p->limits[RLIMIT_SIGPENDING].rlim_cur) {
        spin_unlock_irqrestore(&p->signal_lock, flags);
        free_memory(t);
        return -EAGAIN;
    }
    p->posix_timer_count++;
    t->id = p->next_timer_id++;
    p->next_timer_id &= INT32_MAX;
    if (spec->value_is_id)
        t->spec.value = (uint64_t)t->id;
    list_push_back(&p->posix_timers, &t->link);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return t->id;
}

// Taken out of the list by those that set or delete one, because the timer's function, for whose end they wait, takes
// signal_lock; what is delivered meanwhile does not matter to them.
static struct posix_timer *look_up(int id, bool take)
{
    struct process *p = process_current();
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct posix_timer *t = find_timer(p, id);
    if (t && take)
        list_remove(&t->link);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return t;
}

static void put_timer(struct posix_timer *t)
{
    uint64_t flags = spin_lock_irqsave(&t->process->signal_lock);
    list_push_back(&t->process->posix_timers, &t->link);
    spin_unlock_irqrestore(&t->process->signal_lock, flags);
}

static nsec_t now_of(const struct posix_timer *t)
{
    return t->on_cpu ? cpu_clock_now(&t->cpu_timer.clock) : time_monotonic();
}

static void read_timer(struct posix_timer *t, struct itimer_value *v)
{
    *v = (struct itimer_value){armed(t) ? MAX(deadline_of(t) - now_of(t), 1) : 0, t->interval};
}

static void set_timer(struct posix_timer *t, bool absolute, const struct itimer_value *new_value)
{
    disarm(t);
    t->interval = new_value->interval;
    t->overrun = 0;
    t->pending = false;
    if (!new_value->value)
        return;
    nsec_t deadline = new_value->value;
    if (!absolute)
        deadline = saturating_add(deadline, now_of(t));
    else if (t->spec.clock == CLOCK_REALTIME && deadline != NSEC_MAX)
        deadline -= time_realtime() - time_monotonic();
    arm(t, deadline);
}

long posix_timer_set(int id, bool absolute, const struct itimer_value *new_value, struct itimer_value *old)
{
    struct process *p = process_current();
    mutex_lock(&p->timer_calls);
    struct posix_timer *t = look_up(id, true);
    if (t) {
        read_timer(t, old);
        set_timer(t, absolute, new_value);
        put_timer(t);
    }
    mutex_unlock(&p->timer_calls);
    return t ? 0 : -EINVAL;
}

long posix_timer_get(int id, struct itimer_value *v)
{
    struct process *p = process_current();
    mutex_lock(&p->timer_calls);
    struct posix_timer *t = look_up(id, false);
    if (t)
        read_timer(t, v);
    mutex_unlock(&p->timer_calls);
    return t ? 0 : -EINVAL;
}

long posix_timer_overrun(int id)
{
    struct process *p = process_current();
    mutex_lock(&p->timer_calls);
    struct posix_timer *t = look_up(id, false);
    long n = t ? READ_ONCE(t->overrun_last) : -EINVAL;
    mutex_unlock(&p->timer_calls);
    return n;
}

static void free_timer(struct posix_timer *t)
{
    disarm(t);
    uint64_t flags = spin_lock_irqsave(&t->process->signal_lock);
    t->process->posix_timer_count--;
    spin_unlock_irqrestore(&t->process->signal_lock, flags);
    free_memory(t);
}

long posix_timer_delete(int id)
{
    struct process *p = process_current();
    mutex_lock(&p->timer_calls);
    struct posix_timer *t = look_up(id, true);
    mutex_unlock(&p->timer_calls);
    if (!t)
        return -EINVAL;
    free_timer(t);
    return 0;
}

void process_timers_end(struct process *p)
{
    timer_cancel_sync(&p->itimer_real);
    posix_timers_release(p);
}

void posix_timers_release(struct process *p)
{
    while (!list_empty(&p->posix_timers)) {
        struct posix_timer *t = list_first(&p->posix_timers, struct posix_timer, link);
        uint64_t flags = spin_lock_irqsave(&p->signal_lock);
        list_remove(&t->link);
        spin_unlock_irqrestore(&p->signal_lock, flags);
        free_timer(t);
    }
}
