// futex(2) and its successor for several words, futex_waitv(2); the robust list.
#include "kernel/threads/futex.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "kernel/time.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/futex.h>
#include <linux/time.h>

// A wait with a relative timeout goes on until the deadline that it had at first.
static long restart_wait(struct restart *r)
{
    long result = futex_wait(r->args[0], (uint32_t)r->args[1], (nsec_t)r->args[2], (uint32_t)r->args[3], (unsigned)r->args[4]);
    return result == -ERESTARTSYS ? -ERESTART_BLOCK : result;
}

static __attribute__((noinline)) long wait_call(uint64_t addr, uint64_t value, nsec_t deadline, uint32_t bitset, unsigned flags)
{
    long result = futex_wait(addr, (uint32_t)value, deadline, bitset, flags);
    if (result != -ERESTARTSYS || deadline == NSEC_MAX)
        return result;
    thread_current()->restart = (struct restart){restart_wait, {addr, (uint32_t)value, (uint64_t)deadline, bitset, flags}};
    return -ERESTART_BLOCK;
}

static bool has_timeout(unsigned command)
{
    return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2 ||
           command == FUTEX_WAIT_REQUEUE_PI;
}

static bool may_use_realtime(unsigned command)
{
    return command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI2 || command == FUTEX_WAIT_REQUEUE_PI;
}

static __attribute__((noinline)) long other_call(uint64_t addr, uint64_t op, uint64_t value, uint64_t utimeout, uint64_t addr2,
                                                uint64_t value3)
{
    unsigned command = op & FUTEX_CMD_MASK, flags = op & FUTEX_PRIVATE_FLAG ? 0 : FUTEX_SHARED;
    int count2 = (int)utimeout; // in the place of the timeout
    nsec_t deadline = NSEC_MAX;
    if (utimeout && has_timeout(command)) {
        int err = timespec_in(utimeout, &deadline);
        if (err)
            return err;
        if (command == FUTEX_WAIT)
            deadline = nsec_add(time_monotonic(), deadline);
    }
    if (op & FUTEX_CLOCK_REALTIME) {
        if (!may_use_realtime(command))
            return -ENOSYS;
        flags |= FUTEX_REALTIME;
    }
    switch (command) {
    case FUTEX_WAIT:
        return wait_call(addr, value, deadline, FUTEX_BITSET_MATCH_ANY, flags);
    case FUTEX_WAIT_BITSET:
        return wait_call(addr, value, deadline, (uint32_t)value3, flags);
    case FUTEX_WAKE:
        return futex_wake(addr, (int)value, FUTEX_BITSET_MATCH_ANY, flags);
    case FUTEX_WAKE_BITSET:
        return futex_wake(addr, (int)value, (uint32_t)value3, flags);
    case FUTEX_REQUEUE:
        return futex_requeue(addr, addr2, (int)value, count2, false, 0, flags);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(addr, addr2, (int)value, count2, true, (uint32_t)value3, flags);
    case FUTEX_WAKE_OP:
        return futex_wake_op(addr, addr2, (int)value, count2, (uint32_t)value3, flags);
    case FUTEX_LOCK_PI:
        return futex_lock_pi(addr, deadline, flags | FUTEX_REALTIME, false);
    case FUTEX_LOCK_PI2:
        return futex_lock_pi(addr, deadline, flags, false);
    case FUTEX_TRYLOCK_PI:
        return futex_lock_pi(addr, NSEC_MAX, flags, true);
    case FUTEX_UNLOCK_PI:
        return futex_unlock_pi(addr, flags);
    case FUTEX_WAIT_REQUEUE_PI:
        return futex_wait_requeue_pi(addr, (uint32_t)value, deadline, addr2, flags);
    case FUTEX_CMP_REQUEUE_PI:
        return futex_requeue_pi(addr, addr2, (int)value, count2, (uint32_t)value3, flags);
    default: // FUTEX_FD is gone from Linux too
        return -ENOSYS;
    }
}

// What mutexes and condition variables do all the time comes first.
long sys_futex(uint64_t addr, uint64_t op, uint64_t value, uint64_t utimeout, uint64_t addr2, uint64_t value3)
{
    if (op == FUTEX_WAKE_PRIVATE)
        return futex_wake(addr, (int)value, FUTEX_BITSET_MATCH_ANY, 0);
    if (op == FUTEX_WAIT_PRIVATE && !utimeout)
        return futex_wait(addr, (uint32_t)value, NSEC_MAX, FUTEX_BITSET_MATCH_ANY, 0);
    return other_call(addr, op, value, utimeout, addr2, value3);
}

_Static_assert(sizeof(struct futex_waitv) == 24, "ABI");

static long read_specs(struct futex_wait_spec *specs, uaddr_t from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct futex_waitv in;
        if (copy_in_obj(&in, from + i * sizeof(in)) < 0)
            return -EFAULT;
        if ((in.flags & ~(uint32_t)(FUTEX_32 | FUTEX_PRIVATE_FLAG)) || in.__reserved || !(in.flags & FUTEX_32))
            return -EINVAL;
        specs[i] = (struct futex_wait_spec){in.uaddr, (uint32_t)in.val, in.flags & FUTEX_PRIVATE_FLAG ? 0 : FUTEX_SHARED};
    }
    return 0;
}

long sys_futex_waitv(uint64_t waiters, uint64_t ucount, uint64_t flags, uint64_t utimeout, uint64_t clock)
{
    unsigned count = (unsigned)ucount;
    nsec_t deadline = NSEC_MAX;
    if ((unsigned)flags || !count || count > FUTEX_WAITV_MAX || !waiters)
        return -EINVAL;
    if (utimeout) {
        if ((int)clock != CLOCK_REALTIME && (int)clock != CLOCK_MONOTONIC)
            return -EINVAL;
        int err = timespec_in(utimeout, &deadline);
        if (err)
            return err;
    }
    struct futex_wait_spec *specs = kmalloc(count * sizeof(*specs));
    if (!specs)
        return -ENOMEM;
    long result = read_specs(specs, waiters, count);
    if (!result)
        result = futex_wait_any(specs, count, deadline, (int)clock == CLOCK_REALTIME ? FUTEX_REALTIME : 0);
    kfree(specs);
    return result;
}

long sys_set_robust_list(uint64_t head, uint64_t len)
{
    if (len != sizeof(struct robust_list_head))
        return -EINVAL;
    thread_current()->robust_list = head;
    thread_current()->robust_len = len;
    return 0;
}

long sys_get_robust_list(uint64_t pid, uint64_t uhead, uint64_t ulen)
{
    struct thread *t = thread_current();
    if ((int)pid) {
        t = thread_find((int)pid);
        if (!t)
            return -ESRCH;
    }
    uint64_t head = t->robust_list, len = sizeof(struct robust_list_head);
    bool may = process_may_trace(t->process, true);
    if ((int)pid)
        thread_unref(t);
    if (!may)
        return -EPERM;
    if (copy_out_obj(ulen, &len) < 0)
        return -EFAULT;
    return copy_out_obj(uhead, &head);
}
