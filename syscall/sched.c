// Scheduling: yielding, affinity, policies, priorities. There is one policy, SCHED_OTHER.
#include "kernel/irq.h"
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <linux/resource.h>
#include <linux/sched.h>

#define SLICE_REPORTED (4 * NSEC_PER_MSEC)
#define NICE_MIN (-20)
#define NICE_MAX 19

struct sched_param32 {
    int32_t priority;
};

long sys_sched_yield(void)
{
    thread_yield();
    return 0;
}

// The thread with a number, 0 for the current one; referenced. NULL: none.
static struct thread *get_thread(int tid)
{
    if (tid)
        return thread_find(tid);
    thread_ref(thread_current());
    return thread_current();
}

long sys_sched_setaffinity(uint64_t tid, uint64_t size, uint64_t umask)
{
    uint64_t mask = 0;
    if (copy_in(&mask, umask, MIN((uint32_t)size, sizeof mask)) < 0)
        return -EFAULT;
    struct thread *t = get_thread((int)tid);
    if (!t)
        return -ESRCH;
    cpu_wait_started();
    long err = thread_set_affinity(t, mask);
    thread_unref(t);
    return err;
}

// The result is how many bytes were written, which the C library hides.
long sys_sched_getaffinity(uint64_t tid, uint64_t size, uint64_t umask)
{
    if ((uint32_t)size < sizeof(uint64_t) || size % sizeof(uint64_t))
        return -EINVAL;
    struct thread *t = get_thread((int)tid);
    if (!t)
        return -ESRCH;
    cpu_wait_started();
    uint64_t mask = t->affinity & sched_online_cpus();
    thread_unref(t);
    return copy_out_obj(umask, &mask) < 0 ? -EFAULT : (long)sizeof mask;
}

long sys_getcpu(uint64_t ucpu, uint64_t unode, uint64_t cache)
{
    uint32_t cpu = (uint32_t)cpu_this()->id, node = 0;
    if (ucpu && copy_out_obj(ucpu, &cpu) < 0)
        return -EFAULT;
    return unode ? copy_out_obj(unode, &node) : 0;
}

static long check_thread(uint64_t tid)
{
    if ((int)tid < 0)
        return -EINVAL;
    struct thread *t = get_thread((int)tid);
    if (!t)
        return -ESRCH;
    thread_unref(t);
    return 0;
}

long sys_sched_getscheduler(uint64_t tid)
{
    long err = check_thread(tid);
    return err ? err : SCHED_NORMAL;
}

long sys_sched_setscheduler(uint64_t tid, uint64_t policy, uint64_t uparam)
{
    struct sched_param32 param;
    int p = (int)policy & ~SCHED_RESET_ON_FORK;
    if (!uparam)
        return -EINVAL;
    if (copy_in_obj(&param, uparam) < 0)
        return -EFAULT;
    long err = check_thread(tid);
    if (err)
        return err;
    if (p == SCHED_FIFO || p == SCHED_RR)
        return param.priority < 1 || param.priority > 99 ? -EINVAL : -EPERM; // as without CAP_SYS_NICE: real-time is not offered
    if (p != SCHED_NORMAL && p != SCHED_BATCH && p != SCHED_IDLE)
        return -EINVAL;
    return param.priority ? -EINVAL : 0;
}

long sys_sched_getparam(uint64_t tid, uint64_t uparam)
{
    struct sched_param32 param = {0};
    if (!uparam)
        return -EINVAL;
    long err = check_thread(tid);
    return err ? err : copy_out_obj(uparam, &param);
}

long sys_sched_setparam(uint64_t tid, uint64_t uparam)
{
    return sys_sched_setscheduler(tid, SCHED_NORMAL, uparam);
}

static bool known_policy(uint64_t policy)
{
    return policy <= SCHED_IDLE && policy != 4; // 4 is not used
}

long sys_sched_get_priority_max(uint64_t policy)
{
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 99;
    return known_policy(policy) || policy == SCHED_DEADLINE ? 0 : -EINVAL;
}

long sys_sched_get_priority_min(uint64_t policy)
{
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 1;
    return known_policy(policy) || policy == SCHED_DEADLINE ? 0 : -EINVAL;
}

long sys_sched_rr_get_interval(uint64_t tid, uint64_t out)
{
    long err = check_thread(tid);
    return err ? err : timespec_out(out, SLICE_REPORTED);
}

// --- membarrier(2) ---

static void no_op(void *arg) // the interrupt itself orders everything
{
}

#define MEMBARRIER_OFFERED                                                                                              \
    (MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |              \
     MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |                                    \
     MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)

long sys_membarrier(uint64_t command, uint64_t flags, uint64_t cpu)
{
    if (flags)
        return -EINVAL;
    switch ((int)command) {
    case MEMBARRIER_CMD_QUERY:
        return MEMBARRIER_OFFERED;
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: // nothing to prepare
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        return 0;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        cpu_call(sched_online_cpus(), no_op, NULL);
        return 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        cpu_call(READ_ONCE(process_current()->aspace->cpus), no_op, NULL);
        return 0;
    default:
        return -EINVAL;
    }
}

// --- getpriority(2), setpriority(2): kept and shown; the slices are the same for all ---

struct nice_walk {
    int which, who;
    bool set, denied;
    int nice, best; // best: the highest priority of all, as getpriority returns it (20 - nice)
};

static bool nice_applies(const struct nice_walk *w, const struct process *p)
{
    if (w->which == PRIO_PGRP)
        return p->pgid == w->who;
    return p->cred.uid == (uint32_t)w->who;
}

static void nice_thread(struct nice_walk *w, struct thread *t)
{
    bool may = w->nice >= t->nice || (process_current()->cred.cap_effective & (1UL << CAP_SYS_NICE));
    if (w->set && may)
        t->nice = (int8_t)w->nice;
    w->denied |= w->set && !may;
    w->best = MAX(w->best, 20 - t->nice);
}

static void nice_process(struct nice_walk *w, struct process *p)
{
    struct thread *t;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    list_for_each(t, &p->threads, process_link)
        nice_thread(w, t);
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

static long nice_walk(struct nice_walk *w)
{
    struct process *self = process_current(), *p;
    if (w->which == PRIO_PROCESS) { // of one thread, in Linux
        struct thread *t = get_thread(w->who);
        if (!t)
            return -ESRCH;
        nice_thread(w, t);
        thread_unref(t);
        return w->best;
    }
    if (w->which != PRIO_PGRP && w->which != PRIO_USER)
        return -EINVAL;
    if (!w->who)
        w->who = w->which == PRIO_PGRP ? self->pgid : (int)self->cred.uid;
    for (int pid = 1; (p = process_next(pid)); pid++) {
        pid = p->pid;
        if (nice_applies(w, p))
            nice_process(w, p);
        process_unref(p);
    }
    return w->best ? w->best : -ESRCH;
}

long sys_getpriority(uint64_t which, uint64_t who)
{
    return nice_walk(&(struct nice_walk){.which = (int)which, .who = (int)who});
}

long sys_setpriority(uint64_t which, uint64_t who, uint64_t nice)
{
    struct nice_walk w = {.which = (int)which, .who = (int)who, .set = true};
    w.nice = MIN(MAX((int)nice, NICE_MIN), NICE_MAX);
    long result = nice_walk(&w);
    return result < 0 ? result : w.denied ? -EACCES : 0;
}
