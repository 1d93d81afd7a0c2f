// Interval timers (setitimer) and timers of timer_create(2). Real-time ones are timers of the kernel whose function sends the
// signal. Those on CPU time are looked after by one kernel timer a process: nobody runs faster than the clock, so it is set
// for the time that is left divided by the number of threads, and looks again.
// Locks: timer_calls (mutex): one call at a time, also of setitimer, looks at timers or changes them, since a timer must not be
// added twice at once > process.signal_lock, which protects the list.
#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/process/signal.h"
#include "kernel/memory/slab.h"
#include <linux/time.h>

static struct mutex timer_calls = MUTEX_INIT(timer_calls);

// --- setitimer(2) ---

// No two expiries of a timer come closer than this: an interval of a nanosecond would leave time for nothing but its interrupts.
// Those in between are overruns.
#define MIN_GAP (50 * NSEC_PER_USEC)

static nsec_t saturating_add(nsec_t a, nsec_t b)
{
    nsec_t sum;
    return __builtin_add_overflow(a, b, &sum) ? NSEC_MAX : sum;
}

// RLIMIT_CPU as nanoseconds.
static nsec_t seconds_to_nsec(uint64_t seconds)
{
    return seconds >= (uint64_t)(NSEC_MAX / NSEC_PER_SEC) ? NSEC_MAX : (nsec_t)seconds * NSEC_PER_SEC;
}

static nsec_t next_expiry(nsec_t deadline, nsec_t interval, nsec_t now, int *missed)
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
    if (p->itimer_real_interval)
        timer_add(timer, next_expiry(timer->deadline, p->itimer_real_interval, time_monotonic(), &missed));
}

static const int cpu_signals[2] = {SIGVTALRM, SIGPROF};

// What ITIMER_VIRTUAL (0) and ITIMER_PROF (1) count.
static void cpu_times(struct process *p, nsec_t now[2])
{
    nsec_t user, system;
    process_times(p, &user, &system);
    now[0] = user;
    now[1] = user + system;
}

// Sets the timer for the earliest moment at which a deadline can be reached.
static void cpu_timer_arm(struct process *p, const nsec_t now[2])
{
    nsec_t left = NSEC_MAX;
    for (int i = 0; i < 2; i++)
        if (p->itimer_cpu_deadline[i])
            left = MIN(left, p->itimer_cpu_deadline[i] - now[i]);
    nsec_t limit = seconds_to_nsec(p->limits[RLIMIT_CPU].rlim_cur);
    if (limit != NSEC_MAX)
        left = MIN(left, limit - now[1]);
    if (left == NSEC_MAX)
        return;
    unsigned threads = MAX(READ_ONCE(p->thread_count), 1u);
    if (threads > 1)
        left /= threads;
    timer_add(&p->cpu_timer, saturating_add(time_monotonic(), MAX(left, NSEC_PER_MSEC)));
}

static void cpu_limit(struct process *p, nsec_t used)
{
    struct rlimit *l = &p->limits[RLIMIT_CPU];
    if (used >= seconds_to_nsec(l->rlim_max)) {
        signal_send_process(p, SIGKILL, NULL);
    } else if (used >= seconds_to_nsec(l->rlim_cur)) {
        signal_send_process(p, SIGXCPU, NULL);
        l->rlim_cur++; // and again every second
    }
}

static void cpu_expired(struct timer *timer)
{
    struct process *p = container_of(timer, struct process, cpu_timer);
    nsec_t now[2];
    int missed;
    cpu_times(p, now);
    for (int i = 0; i < 2; i++) {
        nsec_t deadline = p->itimer_cpu_deadline[i], interval = p->itimer_cpu_interval[i];
        if (!deadline || now[i] < deadline)
            continue;
        signal_send_process(p, cpu_signals[i], NULL);
        p->itimer_cpu_deadline[i] = interval ? next_expiry(deadline, interval, now[i], &missed) : 0;
    }
    cpu_limit(p, now[1]);
    cpu_timer_arm(p, now);
}

void process_cpu_limit_changed(struct process *p)
{
    nsec_t now[2];
    mutex_lock(&timer_calls);
    if (!p->timers_over) {
        timer_cancel_sync(&p->cpu_timer);
        p->cpu_timer.fn = cpu_expired;
        cpu_times(p, now);
        cpu_timer_arm(p, now);
    }
    mutex_unlock(&timer_calls);
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
    p->itimer_real_interval = 0; // one that runs at this moment does not start again
    timer_cancel_sync(&p->itimer_real);
    p->itimer_real.fn = real_expired;
    p->itimer_real_interval = new_value->interval;
    if (new_value->value)
        timer_add(&p->itimer_real, saturating_add(now, new_value->value));
}

static void itimer_set_cpu(struct process *p, int i, const struct itimer_value *new_value, struct itimer_value *old)
{
    nsec_t now[2];
    cpu_times(p, now);
    if (old) {
        nsec_t deadline = p->itimer_cpu_deadline[i];
        *old = (struct itimer_value){deadline ? MAX(deadline - now[i], 1) : 0, p->itimer_cpu_interval[i]};
    }
    if (!new_value)
        return;
    timer_cancel_sync(&p->cpu_timer);
    p->cpu_timer.fn = cpu_expired;
    p->itimer_cpu_deadline[i] = new_value->value ? saturating_add(now[i], new_value->value) : 0;
    p->itimer_cpu_interval[i] = new_value->interval;
    cpu_timer_arm(p, now);
}

void itimer_set(int which, const struct itimer_value *new_value, struct itimer_value *old)
{
    struct process *p = process_current();
    mutex_lock(&timer_calls);
    if (which == ITIMER_REAL)
        itimer_set_real(p, new_value, old);
    else
        itimer_set_cpu(p, which == ITIMER_PROF, new_value, old);
    mutex_unlock(&timer_calls);
}

// --- timer_create(2) ---

struct posix_timer {
    struct list link;
    struct timer timer;
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

static void posix_timer_expired(struct timer *timer)
{
    struct posix_timer *t = container_of(timer, struct posix_timer, timer);
    int missed = 0;
    if (t->interval)
        timer_add(timer, next_expiry(timer->deadline, t->interval, time_monotonic(), &missed));
    if (t->spec.notify == SIGEV_NONE)
        return;
    if (READ_ONCE(t->pending)) {
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

void posix_timer_delivered(struct process *p, siginfo_t *info)
{
    struct posix_timer *t = find_timer(p, info->si_tid);
    if (!t)
        return;
    info->si_overrun = t->overrun_last = t->overrun;
    t->overrun = 0;
    t->pending = false;
}

long posix_timer_create(const struct posix_timer_spec *spec)
{
    struct process *p = process_current();
    struct posix_timer *t = kzalloc(sizeof *t);
    if (!t)
        return -EAGAIN;
    t->spec = *spec;
    t->process = p;
    timer_init(&t->timer, posix_timer_expired);
    if (spec->notify & SIGEV_THREAD_ID) {
        t->thread = thread_find(spec->tid);
        if (!t->thread || t->thread->process != p) {
            if (t->thread)
                thread_unref(t->thread);
            kfree(t);
            return -EINVAL;
        }
    }
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (p->posix_timer_count >= p->limits[RLIMIT_SIGPENDING].rlim_cur) {
        spin_unlock_irqrestore(&p->signal_lock, flags);
        if (t->thread)
            thread_unref(t->thread);
        kfree(t);
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

static void read_timer(struct posix_timer *t, struct itimer_value *v)
{
    bool armed = READ_ONCE(t->timer.cpu) >= 0;
    *v = (struct itimer_value){armed ? MAX(t->timer.deadline - time_monotonic(), 1) : 0, t->interval};
}

static void set_timer(struct posix_timer *t, bool absolute, const struct itimer_value *new_value)
{
    t->interval = 0;
    timer_cancel_sync(&t->timer);
    t->interval = new_value->interval;
    t->overrun = 0;
    t->pending = false;
    if (!new_value->value)
        return;
    nsec_t deadline = new_value->value;
    if (!absolute)
        deadline = saturating_add(deadline, time_monotonic());
    else if (t->spec.clock == CLOCK_REALTIME && deadline != NSEC_MAX)
        deadline -= time_realtime() - time_monotonic();
    timer_add(&t->timer, deadline);
}

long posix_timer_set(int id, bool absolute, const struct itimer_value *new_value, struct itimer_value *old)
{
    mutex_lock(&timer_calls);
    struct posix_timer *t = look_up(id, true);
    if (t) {
        read_timer(t, old);
        set_timer(t, absolute, new_value);
        put_timer(t);
    }
    mutex_unlock(&timer_calls);
    return t ? 0 : -EINVAL;
}

long posix_timer_get(int id, struct itimer_value *v)
{
    mutex_lock(&timer_calls);
    struct posix_timer *t = look_up(id, false);
    if (t)
        read_timer(t, v);
    mutex_unlock(&timer_calls);
    return t ? 0 : -EINVAL;
}

long posix_timer_overrun(int id)
{
    mutex_lock(&timer_calls);
    struct posix_timer *t = look_up(id, false);
    long n = t ? READ_ONCE(t->overrun_last) : -EINVAL;
    mutex_unlock(&timer_calls);
    return n;
}

static void free_timer(struct posix_timer *t)
{
    t->interval = 0;
    timer_cancel_sync(&t->timer);
    uint64_t flags = spin_lock_irqsave(&t->process->signal_lock);
    t->process->posix_timer_count--;
    spin_unlock_irqrestore(&t->process->signal_lock, flags);
    if (t->thread)
        thread_unref(t->thread);
    kfree(t);
}

long posix_timer_delete(int id)
{
    mutex_lock(&timer_calls);
    struct posix_timer *t = look_up(id, true);
    mutex_unlock(&timer_calls);
    if (!t)
        return -EINVAL;
    free_timer(t);
    return 0;
}

void process_timers_end(struct process *p)
{
    mutex_lock(&timer_calls); // another process may be changing the limit of this one's CPU time
    p->timers_over = true;
    mutex_unlock(&timer_calls);
    timer_cancel_sync(&p->itimer_real);
    timer_cancel_sync(&p->cpu_timer);
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
