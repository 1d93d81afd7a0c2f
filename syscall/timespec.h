// The application's times: struct timespec and struct timeval, in and out, as nanoseconds.
#ifndef SYSCALL_TIMESPEC_H
#define SYSCALL_TIMESPEC_H

#include "kernel/types.h"
#include "kernel/memory/usercopy.h"
#include <linux/time_types.h>

struct timeval64 {
    int64_t tv_sec, tv_usec;
};
_Static_assert(sizeof(struct timeval64) == 16 && sizeof(struct __kernel_timespec) == 16, "the ABI's");

#define NSEC_SECONDS_MAX (NSEC_MAX / NSEC_PER_SEC)

// Both at least 0; saturates, so that times too far away mean "never".
static inline nsec_t nsec_add(nsec_t a, nsec_t b)
{
    nsec_t sum;
    return __builtin_add_overflow(a, b, &sum) ? NSEC_MAX : sum;
}

// -EINVAL when it is no valid, non-negative time.
static inline int timespec_to_nsec(const struct __kernel_timespec *ts, nsec_t *ns)
{
    if (ts->tv_sec < 0 || (uint64_t)ts->tv_nsec >= (uint64_t)NSEC_PER_SEC)
        return -EINVAL;
    *ns = ts->tv_sec >= NSEC_SECONDS_MAX ? NSEC_MAX : ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
    return 0;
}

static inline struct __kernel_timespec nsec_to_timespec(nsec_t ns)
{
    return (struct __kernel_timespec){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

// 0, -EFAULT, -EINVAL.
static inline int timespec_in(uaddr_t from, nsec_t *ns)
{
    struct __kernel_timespec ts;
    return copy_in_obj(&ts, from) < 0 ? -EFAULT : timespec_to_nsec(&ts, ns);
}

static inline int timespec_out(uaddr_t to, nsec_t ns)
{
    struct __kernel_timespec ts = nsec_to_timespec(ns);
    return copy_out_obj(to, &ts);
}

static inline int timeval_to_nsec(const struct timeval64 *tv, nsec_t *ns)
{
    if (tv->tv_sec < 0 || (uint64_t)tv->tv_usec >= 1000000)
        return -EINVAL;
    *ns = tv->tv_sec >= NSEC_SECONDS_MAX ? NSEC_MAX : tv->tv_sec * NSEC_PER_SEC + tv->tv_usec * NSEC_PER_USEC;
    return 0;
}

static inline struct timeval64 nsec_to_timeval(nsec_t ns)
{
    return (struct timeval64){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / NSEC_PER_USEC};
}

#endif
