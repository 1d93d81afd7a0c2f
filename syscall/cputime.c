// CPU time: clocks of processes and threads, sleeping on them, times(2), getrusage(2).
#include "syscall/cputime.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/cpu_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/threads/wait.h"
#include "kernel/time.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/resource.h>
#include <linux/time.h>
#include <linux/times.h>

#define TICKS_PER_SEC 100 // of times(2)

int cpu_clock_read(int clock, nsec_t *ns)
{
    struct cpu_clock c;
    int err = cpu_clock_get(clock, &c);
    if (err)
        return err;
    *ns = cpu_clock_now(&c);
    cpu_clock_put(&c);
    return 0;
}

// --- Sleeping ---

struct cpu_sleep {
    struct cpu_timer timer;
    struct thread *thread;
    bool over;
};

static void sleep_over(struct cpu_timer *timer, nsec_t now)
{
    struct cpu_sleep *s = container_of(timer, struct cpu_sleep, timer);
    WRITE_ONCE(s->over, true);
    thread_wake(s->thread); // which waits in cpu_timer_cancel until we are done with its stack
}

// Until the clock shows `deadline`: 0 or -ERESTARTSYS.
static int sleep_until(const struct cpu_clock *c, nsec_t deadline)
{
    struct cpu_sleep s = {.thread = thread_current()};
    int err = 0;
    if (cpu_clock_now(c) >= deadline)
        return 0;
    cpu_timer_init(&s.timer, c, sleep_over);
    cpu_timer_add(&s.timer, deadline);
    while (!err) {
        thread_prepare_sleep(true);
        if (READ_ONCE(s.over))
            break;
        err = thread_sleep_until(NSEC_MAX);
    }
    thread_cancel_sleep();
    cpu_timer_cancel(&s.timer);
    return s.over ? 0 : err;
}

// What is left of a relative sleep goes to *rem, and restart_syscall(2) goes on with it.
static long sleep_relative(int clock, nsec_t deadline, uaddr_t rem);

static long restart_sleep(struct restart *r)
{
    return sleep_relative((int)r->args[0], (nsec_t)r->args[1], r->args[2]);
}

static long sleep_relative(int clock, nsec_t deadline, uaddr_t rem)
{
    struct cpu_clock c;
    int err = cpu_clock_get(clock, &c);
    if (err)
        return err;
    err = sleep_until(&c, deadline);
    nsec_t left = deadline - cpu_clock_now(&c);
    cpu_clock_put(&c);
    if (!err)
        return 0;
    if (rem && timespec_out(rem, MAX(left, 0)) < 0)
        return -EFAULT;
    thread_current()->restart = (struct restart){restart_sleep, {(uint64_t)(uint32_t)clock, (uint64_t)deadline, rem}};
    return -ERESTART_BLOCK;
}

long cpu_clock_sleep(int clock, bool absolute, uaddr_t request, uaddr_t rem)
{
    struct cpu_clock c;
    nsec_t ns;
    int err = timespec_in(request, &ns);
    if (!err)
        err = cpu_clock_get(clock, &c);
    if (err)
        return err;
    nsec_t now = cpu_clock_now(&c);
    if (c.thread == thread_current()) // who sleeps uses none
        err = -EINVAL;
    else if (absolute)
        err = sleep_until(&c, ns);
    cpu_clock_put(&c);
    if (err || absolute)
        return err == -ERESTARTSYS ? -ERESTARTNOHAND : err;
    return sleep_relative(clock, nsec_add(now, ns), rem);
}

// --- times(2), getrusage(2) ---

static int64_t ticks(nsec_t ns)
{
    return ns / (NSEC_PER_SEC / TICKS_PER_SEC);
}

long sys_times(uint64_t out)
{
    struct process *p = process_current();
    if (out) {
        nsec_t user, system;
        process_times(p, &user, &system);
        struct tms t = {ticks(user), ticks(system), ticks(p->children_user_ns), ticks(p->children_system_ns)};
        if (copy_out_obj(out, &t) < 0)
            return -EFAULT;
    }
    return ticks(time_monotonic());
}

static void add_thread_usage(struct rusage *r, const struct thread *t)
{
    r->ru_minflt += (long)t->minor_faults;
    r->ru_majflt += (long)t->major_faults;
    r->ru_nvcsw += (long)t->voluntary_switches;
    r->ru_nivcsw += (long)t->involuntary_switches;
}

static long kilobytes(uint64_t pages)
{
    return (long)(pages * (PAGE_SIZE / 1024));
}

static long peak_of(const struct process *p)
{
    return kilobytes(MAX(p->peak_resident, p->aspace ? aspace_peak_resident(p->aspace) : 0));
}

static void process_usage(struct process *p, struct rusage *r)
{
    struct thread *t;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    r->ru_minflt = (long)p->dead_minor_faults;
    r->ru_majflt = (long)p->dead_major_faults;
    r->ru_nvcsw = (long)p->dead_voluntary_switches;
    r->ru_nivcsw = (long)p->dead_involuntary_switches;
    list_for_each(t, &p->threads, process_link)
        add_thread_usage(r, t);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    r->ru_maxrss = peak_of(p);
}

static void children_usage(const struct process *p, struct rusage *r)
{
    r->ru_minflt = (long)p->children_minor_faults;
    r->ru_majflt = (long)p->children_major_faults;
    r->ru_nvcsw = (long)p->children_voluntary_switches;
    r->ru_nivcsw = (long)p->children_involuntary_switches;
    r->ru_maxrss = kilobytes(p->children_peak_resident);
}

long sys_getrusage(uint64_t who, uint64_t out)
{
    struct process *p = process_current();
    struct rusage r = {0}; // blocks read and written are not counted: there is no disk below tmpfs
    nsec_t user, system;
    switch ((int)who) {
    case RUSAGE_SELF:
        process_times(p, &user, &system);
        process_usage(p, &r);
        break;
    case RUSAGE_THREAD:
        thread_times(thread_current(), &user, &system);
        add_thread_usage(&r, thread_current());
        r.ru_maxrss = peak_of(p);
        break;
    case RUSAGE_CHILDREN:
        user = p->children_user_ns;
        system = p->children_system_ns;
        children_usage(p, &r);
        break;
    default:
        return -EINVAL;
    }
    struct timeval64 u = nsec_to_timeval(user), s = nsec_to_timeval(system);
    r.ru_utime.tv_sec = u.tv_sec, r.ru_utime.tv_usec = u.tv_usec;
    r.ru_stime.tv_sec = s.tv_sec, r.ru_stime.tv_usec = s.tv_usec;
    return copy_out_obj(out, &r);
}
