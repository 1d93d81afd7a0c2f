// futex(2) and the robust list.
#include "kernel/threads/futex.h"
#include "kernel/process/process.h"
#include "kernel/time.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/futex.h>

// A wait with a relative timeout goes on until the deadline that it had at first.
static long restart_wait(struct restart *r)
{
    long result = futex_wait(r->args[0], (uint32_t)r->args[1], (nsec_t)r->args[2], (uint32_t)r->args[3], r->args[4]);
    return result == -ERESTARTSYS ? -ERESTART_BLOCK : result;
}

// The deadline, monotonic: relative for FUTEX_WAIT, absolute for FUTEX_WAIT_BITSET.
static int get_deadline(uint64_t utimeout, bool relative, bool realtime, nsec_t *deadline)
{
    *deadline = NSEC_MAX;
    if (!utimeout)
        return 0;
    int err = timespec_in(utimeout, deadline);
    if (err)
        return err;
    if (relative)
        *deadline = nsec_add(time_monotonic(), *deadline);
    else if (realtime && *deadline != NSEC_MAX)
        *deadline -= time_realtime() - time_monotonic();
    return 0;
}

static __attribute__((noinline)) long wait_call(uint64_t addr, uint64_t value, uint64_t utimeout, uint32_t bitset, unsigned op, bool shared)
{
    bool relative = (op & FUTEX_CMD_MASK) == FUTEX_WAIT;
    nsec_t deadline;
    int err = get_deadline(utimeout, relative, op & FUTEX_CLOCK_REALTIME, &deadline);
    if (err)
        return err;
    long result = futex_wait(addr, (uint32_t)value, deadline, bitset, shared);
    if (result != -ERESTARTSYS || !utimeout)
        return result;
    thread_current()->restart = (struct restart){restart_wait, {addr, (uint32_t)value, (uint64_t)deadline, bitset, shared}};
    return -ERESTART_BLOCK;
}

static __attribute__((noinline)) long other_call(uint64_t addr, uint64_t op, uint64_t value, uint64_t utimeout, uint64_t addr2,
                                                uint64_t value3)
{
    unsigned command = op & FUTEX_CMD_MASK;
    bool shared = !(op & FUTEX_PRIVATE_FLAG);
    int count2 = (int)utimeout; // in the place of the timeout
    if ((op & FUTEX_CLOCK_REALTIME) && command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET)
        return -ENOSYS;
    switch (command) {
    case FUTEX_WAIT:
        return wait_call(addr, value, utimeout, FUTEX_BITSET_MATCH_ANY, (unsigned)op, shared);
    case FUTEX_WAIT_BITSET:
        return wait_call(addr, value, utimeout, (uint32_t)value3, (unsigned)op, shared);
    case FUTEX_WAKE:
        return futex_wake(addr, (int)value, FUTEX_BITSET_MATCH_ANY, shared);
    case FUTEX_WAKE_BITSET:
        return futex_wake(addr, (int)value, (uint32_t)value3, shared);
    case FUTEX_REQUEUE:
        return futex_requeue(addr, addr2, (int)value, count2, false, 0, shared);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(addr, addr2, (int)value, count2, true, (uint32_t)value3, shared);
    case FUTEX_WAKE_OP:
        return futex_wake_op(addr, addr2, (int)value, count2, (uint32_t)value3, shared);
    default:
        return -ENOSYS; // priority inheritance
    }
}

// What mutexes and condition variables do all the time comes first.
long sys_futex(uint64_t addr, uint64_t op, uint64_t value, uint64_t utimeout, uint64_t addr2, uint64_t value3)
{
    if (op == FUTEX_WAKE_PRIVATE)
        return futex_wake(addr, (int)value, FUTEX_BITSET_MATCH_ANY, false);
    if (op == FUTEX_WAIT_PRIVATE && !utimeout)
        return futex_wait(addr, (uint32_t)value, NSEC_MAX, FUTEX_BITSET_MATCH_ANY, false);
    return other_call(addr, op, value, utimeout, addr2, value3);
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
    if ((int)pid)
        thread_unref(t);
    if (copy_out_obj(ulen, &len) < 0)
        return -EFAULT;
    return copy_out_obj(uhead, &head);
}
