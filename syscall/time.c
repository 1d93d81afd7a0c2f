// Clocks, sleeping, interval timers. CPU time is cputime.c's.
#include "kernel/time.h"
#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "syscall/cputime.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/capability.h>
#include <linux/resource.h>
#include <linux/time.h>

#define COARSE_RESOLUTION (4 * NSEC_PER_MSEC) // what Linux says with 250 ticks a second

static nsec_t tai_offset(void)
{
    return READ_ONCE(vdso_data->tai) * NSEC_PER_SEC;
}

static int read_clock(int clock, nsec_t *ns)
{
    switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        *ns = time_monotonic();
        return 0;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
        *ns = time_realtime();
        return 0;
    case CLOCK_TAI:
        *ns = time_realtime() + tai_offset();
        return 0;
    default:
        return cpu_clock_read(clock, ns);
    }
}

long sys_clock_gettime(uint64_t clock, uint64_t ts)
{
    nsec_t ns;
    int err = read_clock((int)clock, &ns);
    return err ? err : timespec_out(ts, ns);
}

long sys_clock_getres(uint64_t clock, uint64_t ts)
{
    nsec_t ns;
    int id = (int)clock, err = read_clock(id, &ns);
    if (err || !ts)
        return err;
    return timespec_out(ts, id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE ? COARSE_RESOLUTION : 1);
}

static long set_realtime(nsec_t ns)
{
    if (!(process_current()->cred.cap_effective & (1UL << CAP_SYS_TIME)))
        return -EPERM;
    int err = time_set_realtime(ns);
    if (!err)
        waitq_wake_all(&clock_set_wait);
    return err;
}

long sys_clock_settime(uint64_t clock, uint64_t ts)
{
    nsec_t ns;
    if ((int)clock != CLOCK_REALTIME)
        return -EINVAL;
    int err = timespec_in(ts, &ns);
    return err ? err : set_realtime(ns);
}

long sys_gettimeofday(uint64_t utv, uint64_t utz)
{
    if (utv) {
        struct timeval64 tv = nsec_to_timeval(time_realtime());
        if (copy_out_obj(utv, &tv) < 0)
            return -EFAULT;
    }
    return utz ? clear_out(utz, sizeof(struct timezone)) : 0;
}

long sys_settimeofday(uint64_t utv, uint64_t utz)
{
    struct timeval64 tv;
    struct timezone tz;
    nsec_t ns;
    if (utz && copy_in_obj(&tz, utz) < 0)
        return -EFAULT;
    if (!utv) // a time zone alone: nobody looks at it
        return process_current()->cred.cap_effective & (1UL << CAP_SYS_TIME) ? 0 : -EPERM;
    if (copy_in_obj(&tv, utv) < 0)
        return -EFAULT;
    int err = timeval_to_nsec(&tv, &ns);
    return err ? err : set_realtime(ns);
}

long sys_time(uint64_t out)
{
    int64_t seconds = time_realtime() / NSEC_PER_SEC;
    if (out && copy_out_obj(out, &seconds) < 0)
        return -EFAULT;
    return seconds;
}

// --- Sleeping ---

static int sleep_until(nsec_t deadline)
{
    for (;;) {
        thread_prepare_sleep(true);
        int err = thread_sleep_until(deadline);
        if (err)
            return err == -ETIMEDOUT ? 0 : err;
        if (time_monotonic() >= deadline)
            return 0;
    }
}

// The same by the time of day, which may be set meanwhile.
static int sleep_until_realtime(nsec_t deadline)
{
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        waitq_prepare(&clock_set_wait, &w, true); // before the clock is read: no change is missed
        nsec_t now = time_realtime();
        if (now >= deadline || err == -ERESTARTSYS)
            break;
        err = thread_sleep_until(deadline == NSEC_MAX ? NSEC_MAX : nsec_add(time_monotonic(), deadline - now));
    }
    waitq_finish(&w);
    return err == -ERESTARTSYS ? err : 0;
}

// What is left of a relative sleep goes to *rem, and restart_syscall(2) goes on with it.
static long sleep_relative(nsec_t deadline, uaddr_t rem);

static long restart_sleep(struct restart *r)
{
    return sleep_relative((nsec_t)r->args[0], r->args[1]);
}

static long sleep_relative(nsec_t deadline, uaddr_t rem)
{
    if (sleep_until(deadline) == 0)
        return 0;
    if (rem && timespec_out(rem, MAX(deadline - time_monotonic(), 0)) < 0)
        return -EFAULT;
    thread_current()->restart = (struct restart){restart_sleep, {(uint64_t)deadline, rem}};
    return -ERESTART_BLOCK;
}

long sys_nanosleep(uint64_t request, uint64_t rem)
{
    nsec_t ns;
    int err = timespec_in(request, &ns);
    return err ? err : sleep_relative(nsec_add(time_monotonic(), ns), rem);
}

long sys_clock_nanosleep(uint64_t clock, uint64_t flags, uint64_t request, uint64_t rem)
{
    nsec_t ns, now;
    int id = (int)clock;
    if (id == CLOCK_PROCESS_CPUTIME_ID || id < 0)
        return cpu_clock_sleep(id, flags & TIMER_ABSTIME, request, rem);
    if (id == CLOCK_THREAD_CPUTIME_ID || id == CLOCK_MONOTONIC_RAW || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_REALTIME_COARSE)
        return -EOPNOTSUPP;
    int err = read_clock(id, &now);
    if (!err)
        err = timespec_in(request, &ns);
    if (err)
        return err;
    if (!(flags & TIMER_ABSTIME))
        return sleep_relative(nsec_add(time_monotonic(), ns), rem);
    if (id == CLOCK_TAI)
        ns = ns == NSEC_MAX ? ns : MAX(ns - tai_offset(), 0);
    bool by_day = id == CLOCK_REALTIME || id == CLOCK_REALTIME_ALARM || id == CLOCK_TAI;
    err = by_day ? sleep_until_realtime(ns) : sleep_until(ns);
    return err == -ERESTARTSYS ? -ERESTARTNOHAND : err;
}

// --- Interval timers ---

struct itimerval64 {
    struct timeval64 interval, value;
};

static long timer_out(uaddr_t to, const struct itimer_value *v)
{
    // Rounded up: a timer that runs must not look as if it did not.
    struct itimerval64 out = {nsec_to_timeval(v->interval), nsec_to_timeval(v->value + NSEC_PER_USEC - 1)};
    return copy_out_obj(to, &out);
}

long sys_getitimer(uint64_t which, uint64_t old)
{
    struct itimer_value v;
    if (which > ITIMER_PROF)
        return -EINVAL;
    itimer_set((int)which, NULL, &v);
    return timer_out(old, &v);
}

long sys_setitimer(uint64_t which, uint64_t new_value, uint64_t old)
{
    struct itimerval64 in = {0};
    struct itimer_value v, before;
    if (which > ITIMER_PROF)
        return -EINVAL;
    if (new_value && copy_in_obj(&in, new_value) < 0)
        return -EFAULT;
    if (timeval_to_nsec(&in.interval, &v.interval) || timeval_to_nsec(&in.value, &v.value))
        return -EINVAL;
    itimer_set((int)which, &v, &before);
    return old ? timer_out(old, &before) : 0;
}

long sys_alarm(uint64_t seconds)
{
    struct itimer_value v = {(nsec_t)(uint32_t)seconds * NSEC_PER_SEC, 0}, before;
    itimer_set(ITIMER_REAL, &v, &before);
    nsec_t left = before.value;
    return left && left < NSEC_PER_SEC ? 1 : (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
}
