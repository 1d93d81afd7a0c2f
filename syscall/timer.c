// timer_create(2) and its family.
#include "kernel/process/posix_timer.h"
#include "kernel/process/signal.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/time.h>

long sys_timer_create(uint64_t clock, uint64_t usevent, uint64_t uid)
{
    struct posix_timer_spec spec = {.clock = (int)clock, .notify = SIGEV_SIGNAL, .sig = SIGALRM, .value_is_id = !usevent};
    sigevent_t ev;
    if (spec.clock >= 0 && spec.clock != CLOCK_REALTIME && spec.clock != CLOCK_MONOTONIC && spec.clock != CLOCK_BOOTTIME &&
        spec.clock != CLOCK_PROCESS_CPUTIME_ID && spec.clock != CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    if (usevent) {
        if (copy_in_obj(&ev, usevent) < 0)
            return -EFAULT;
        spec.notify = ev.sigev_notify;
        spec.sig = ev.sigev_signo;
        spec.value = (uint64_t)ev.sigev_value.sival_ptr;
        spec.tid = ev._sigev_un._tid;
        if (spec.notify != SIGEV_NONE && spec.notify != SIGEV_SIGNAL && spec.notify != SIGEV_THREAD &&
            spec.notify != (SIGEV_SIGNAL | SIGEV_THREAD_ID))
            return -EINVAL;
        if (spec.notify != SIGEV_NONE && (spec.sig < 1 || spec.sig > SIGNAL_COUNT))
            return -EINVAL;
    }
    long id = posix_timer_create(&spec);
    if (id < 0)
        return id;
    int out = (int)id;
    if (copy_out_obj(uid, &out) < 0) {
        posix_timer_delete(out);
        return -EFAULT;
    }
    return 0;
}

static int itimerspec_out(uaddr_t to, const struct itimer_value *v)
{
    struct __kernel_itimerspec out = {nsec_to_timespec(v->interval), nsec_to_timespec(v->value)};
    return copy_out_obj(to, &out);
}

long sys_timer_settime(uint64_t id, uint64_t flags, uint64_t new_value, uint64_t old)
{
    struct __kernel_itimerspec in;
    struct itimer_value v, before;
    if (copy_in_obj(&in, new_value) < 0)
        return -EFAULT;
    if (timespec_to_nsec(&in.it_interval, &v.interval) || timespec_to_nsec(&in.it_value, &v.value))
        return -EINVAL;
    long err = posix_timer_set((int)id, flags & TIMER_ABSTIME, &v, &before);
    return err || !old ? err : itimerspec_out(old, &before);
}

long sys_timer_gettime(uint64_t id, uint64_t out)
{
    struct itimer_value v;
    long err = posix_timer_get((int)id, &v);
    return err ? err : itimerspec_out(out, &v);
}

long sys_timer_getoverrun(uint64_t id)
{
    return posix_timer_overrun((int)id);
}

long sys_timer_delete(uint64_t id)
{
    return posix_timer_delete((int)id);
}
