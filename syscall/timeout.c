// See syscall/timeout.h.
#include "syscall/timeout.h"
#include "kernel/time.h"
#include "kernel/memory/usercopy.h"
#include <linux/time_types.h>

static nsec_t deadline_after(nsec_t timeout) {
    nsec_t deadline;
    if (timeout <= 0)
        return 0;
    return __builtin_add_overflow(time_monotonic(), timeout, &deadline) ? NSEC_MAX : deadline;
}

nsec_t deadline_from_ms(int ms) { return ms < 0 ? NSEC_MAX : deadline_after(ms * NSEC_PER_MSEC); }

static long from_parts(int64_t sec, int64_t nsec, nsec_t *deadline) {
    if (sec < 0 || nsec < 0 || nsec >= NSEC_PER_SEC)
        return -EINVAL;
    *deadline = sec >= NSEC_MAX / NSEC_PER_SEC ? NSEC_MAX : deadline_after(sec * NSEC_PER_SEC + nsec);
    return 0;
}

long deadline_from_user(uaddr_t addr, nsec_t *deadline) {
    struct __kernel_timespec ts;
    *deadline = NSEC_MAX;
    if (!addr)
        return 0;
    return copy_in_obj(&ts, addr) < 0 ? -EFAULT : from_parts(ts.tv_sec, ts.tv_nsec, deadline);
}

long deadline_from_user_timeval(uaddr_t addr, nsec_t *deadline) {
    struct __kernel_old_timeval tv;
    *deadline = NSEC_MAX;
    if (!addr)
        return 0;
    if (copy_in_obj(&tv, addr) < 0)
        return -EFAULT;
    // select(2) takes more than a second of microseconds.
    if (tv.tv_sec < 0 || tv.tv_usec < 0)
        return -EINVAL;
    if (tv.tv_sec > INT64_MAX / NSEC_PER_SEC)
        return 0;
    return from_parts(tv.tv_sec + tv.tv_usec / 1000000, tv.tv_usec % 1000000 * 1000, deadline);
}

static nsec_t left(nsec_t deadline) {
    nsec_t now = time_monotonic();
    return deadline > now ? deadline - now : 0;
}

// Also when a signal ends the call: select(2) is asked how much was left. A fault is ignored, as on Linux, but such a call cannot be
// made again with what is left, so it is not.
static long after_update(int fault, long result) { return fault < 0 && result == -ERESTARTNOHAND ? -EINTR : result; }

static bool has_end(uaddr_t addr, nsec_t deadline) { return addr && deadline != NSEC_MAX && deadline != 0; }

long deadline_left_to_user(uaddr_t addr, nsec_t deadline, long result) {
    if (!has_end(addr, deadline))
        return result;
    nsec_t ns = left(deadline);
    struct __kernel_timespec ts = {ns / NSEC_PER_SEC, ns % NSEC_PER_SEC};
    return after_update(copy_out_obj(addr, &ts), result);
}

long deadline_left_to_user_timeval(uaddr_t addr, nsec_t deadline, long result) {
    if (!has_end(addr, deadline))
        return result;
    nsec_t ns = left(deadline);
    struct __kernel_old_timeval tv = {ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000};
    return after_update(copy_out_obj(addr, &tv), result);
}
