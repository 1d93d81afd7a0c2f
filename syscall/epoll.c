// epoll(7), eventfd(2), timerfd(2), signalfd(2).
#include "fs/poll.h"
#include "kernel/time.h"
#include "kernel/memory/usercopy.h"
#include "syscall/borrow.h"
#include "syscall/sigmask.h"
#include "syscall/syscall.h"
#include "syscall/timeout.h"
#include <linux/eventpoll.h>
#include <linux/time_types.h>

#define EFD_SEMAPHORE 1
_Static_assert(sizeof(struct epoll_event) == 12, "ABI");

long sys_epoll_create1(uint64_t flags) {
    if (flags & ~(uint64_t)EPOLL_CLOEXEC)
        return -EINVAL;
    struct file *f = epoll_create(flags);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
}

long sys_epoll_create(uint64_t size) { return (int)size <= 0 ? -EINVAL : sys_epoll_create1(0); }

long sys_epoll_ctl(uint64_t epfd, uint64_t op, uint64_t fd, uint64_t event) {
    struct epoll_event ev = {0};
    if ((int)op != EPOLL_CTL_DEL && copy_in_obj(&ev, event) < 0)
        return -EFAULT;
    struct file *epoll = fd_get(epfd);
    struct file *target = epoll ? fd_get(fd) : NULL;
    long err = -EBADF;
    if (target) {
        struct epoll_request request = {ev.events, ev.data};
        err = epoll_control(epoll, (int)op, (int)fd, target, &request);
        file_unref(target);
    }
    if (epoll)
        file_unref(epoll);
    return err;
}

_Static_assert(offsetof(struct epoll_event, data) == 4, "ABI");

NO_CANARY static bool emit(void *arg, int i, const struct epoll_request *request) {
    const struct epoll_event ev = {request->events, request->data};
    return copy_out_obj(*(uaddr_t *)arg + i * sizeof(ev), &ev) == 0;
}

NO_CANARY static inline long wait_file(struct file *f, uaddr_t events, int max, nsec_t deadline) {
    long n = epoll_wait(f, max, deadline, emit, &events);
    return unlikely(n == -ERESTARTNOHAND) ? -EINTR : n; // never restarted: signal(7)
}

NO_CANARY static long wait_user(int epfd, uaddr_t events, int max, nsec_t deadline) {
    if (unlikely(max <= 0 || (unsigned)max > INT32_MAX / sizeof(struct epoll_event)))
        return -EINVAL;
    if (unlikely(!user_range_ok(events, max * sizeof(struct epoll_event))))
        return -EFAULT;
    struct file *f = fd_borrow(epfd);
    if (likely(f != NULL))
        return unlikely(f->path_only) ? -EBADF : wait_file(f, events, max, deadline);
    f = fd_get(epfd);
    if (!f)
        return -EBADF;
    long n = wait_file(f, events, max, deadline);
    file_unref(f);
    return n;
}

long sys_epoll_wait(uint64_t epfd, uint64_t events, uint64_t max, uint64_t timeout) {
    return wait_user(epfd, events, max, deadline_from_ms((int)timeout));
}

static __attribute__((noinline)) long wait_masked(uint64_t epfd, uint64_t events, uint64_t max, nsec_t deadline, uint64_t mask, uint64_t size) {
    long err = sigmask_begin(mask, size);
    return err < 0 ? err : sigmask_end(mask, wait_user(epfd, events, max, deadline));
}

long sys_epoll_pwait(uint64_t epfd, uint64_t events, uint64_t max, uint64_t timeout, uint64_t mask, uint64_t size) {
    if (likely(!mask)) // as the C libraries' epoll_wait calls it
        return sys_epoll_wait(epfd, events, max, timeout);
    return wait_masked(epfd, events, max, deadline_from_ms((int)timeout), mask, size);
}

long sys_epoll_pwait2(uint64_t epfd, uint64_t events, uint64_t max, uint64_t timeout, uint64_t mask, uint64_t size) {
    nsec_t deadline;
    long err = deadline_from_user(timeout, &deadline);
    return err < 0 ? err : wait_masked(epfd, events, max, deadline, mask, size);
}

// --- eventfd ---

long sys_eventfd2(uint64_t count, uint64_t flags) {
    if (flags & ~(uint64_t)(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct file *f = eventfd_create(count, flags);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
}

long sys_eventfd(uint64_t count) { return sys_eventfd2(count, 0); }

// --- timerfd ---

long sys_signalfd4(uint64_t fd, uint64_t uset, uint64_t size, uint64_t flags) {
    uint64_t mask;
    if (flags & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if (size != sizeof(mask))
        return -EINVAL;
    if (copy_in_obj(&mask, uset) < 0)
        return -EFAULT;
    if ((int)fd == -1) {
        struct file *f = signalfd_create(mask, flags);
        return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
    }
    struct file *f = fd_get((int)fd);
    if (!f)
        return -EBADF;
    int err = signalfd_set(f, mask);
    file_unref(f);
    return err < 0 ? err : (int)fd;
}

long sys_signalfd(uint64_t fd, uint64_t uset, uint64_t size) { return sys_signalfd4(fd, uset, size, 0); }

long sys_timerfd_create(uint64_t clock, uint64_t flags) {
    if (flags & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct file *f = timerfd_create((int)clock, flags);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
}

static bool to_ns(const struct __kernel_timespec *ts, nsec_t *ns) {
    if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC)
        return false;
    *ns = ts->tv_sec >= NSEC_MAX / NSEC_PER_SEC ? NSEC_MAX : ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
    return true;
}

static long setting_out(uaddr_t addr, const struct timer_setting *s) {
    struct __kernel_itimerspec out = {{s->interval / NSEC_PER_SEC, s->interval % NSEC_PER_SEC},
                                      {s->value / NSEC_PER_SEC, s->value % NSEC_PER_SEC}};
    return copy_out_obj(addr, &out);
}

long sys_timerfd_settime(uint64_t fd, uint64_t flags, uint64_t new_addr, uint64_t old_addr) {
    struct __kernel_itimerspec in;
    struct timer_setting new, old;
    if (copy_in_obj(&in, new_addr) < 0)
        return -EFAULT;
    if (((unsigned)flags & ~(unsigned)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !to_ns(&in.it_value, &new.value) ||
        !to_ns(&in.it_interval, &new.interval))
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = timerfd_set(f, &new, (unsigned)flags, &old);
    file_unref(f);
    return err == 0 && old_addr ? setting_out(old_addr, &old) : err;
}

long sys_timerfd_gettime(uint64_t fd, uint64_t addr) {
    struct timer_setting s;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = timerfd_get(f, &s);
    file_unref(f);
    return err == 0 ? setting_out(addr, &s) : err;
}
