// Scheduling: yielding, affinity, policies. Nice values are priority.c's. SCHED_DEADLINE is refused as to a program without
// CAP_SYS_NICE: there is no such policy here.
#include "kernel/irq.h"
#include "kernel/memory/usercopy.h"
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/sched.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"
#include "syscall/priority.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/capability.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/types.h>

#define SLICE_REPORTED (4 * NSEC_PER_MSEC) // a tick
#define RR_INTERVAL (100 * NSEC_PER_MSEC)
#define RT_PRIORITY_MAX 99
#define SETPARAM_POLICY (-1) // the policy that the thread has
#define ATTR_SIZE_1 56       // of struct sched_attr with its second version's fields

long sys_sched_yield(void)
{
    thread_yield();
    return 0;
}

// The thread with a number, 0 for the current one; referenced. NULL: none.
struct thread *thread_get(int tid)
{
    if (tid)
        return thread_find(tid);
    thread_ref(thread_current());
    return thread_current();
}

bool same_owner(const struct thread *t)
{
    const struct credentials *me = current_cred(), *other = &t->process->cred;
    return me->euid == other->euid || me->euid == other->uid;
}

// --- Affinity ---

long sys_sched_setaffinity(uint64_t tid, uint64_t size, uint64_t umask)
{
    uint64_t mask = 0;
    if (copy_in(&mask, umask, MIN((uint32_t)size, sizeof mask)) < 0)
        return -EFAULT;
    struct thread *t = thread_get((int)tid);
    if (!t)
        return -ESRCH;
    cpu_wait_started();
    long err = same_owner(t) || capable(CAP_SYS_NICE) ? thread_set_affinity(t, mask) : -EPERM;
    thread_unref(t);
    return err;
}

// The result is how many bytes were written, which the C library hides.
long sys_sched_getaffinity(uint64_t tid, uint64_t size, uint64_t umask)
{
    if ((uint32_t)size < sizeof(uint64_t) || size % sizeof(uint64_t))
        return -EINVAL;
    struct thread *t = thread_get((int)tid);
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

// --- Policies ---

static bool is_rt(int policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool is_fair(int policy)
{
    return policy == SCHED_NORMAL || policy == SCHED_BATCH;
}

// Of SCHED_DEADLINE, by sched(7).
static bool deadline_ok(const struct sched_attr *a)
{
    uint64_t period = a->sched_period ? a->sched_period : a->sched_deadline;
    return a->sched_deadline && a->sched_runtime >= 1024 && !((a->sched_deadline | period) >> 63) && period >= a->sched_deadline &&
           a->sched_deadline >= a->sched_runtime;
}

// Does it take CAP_SYS_NICE to give `t`, which has `old`, these attributes?
static bool needs_privilege(const struct thread *t, const struct sched_policy *old, const struct sched_attr *a, bool reset_on_fork)
{
    int policy = (int)a->sched_policy, priority = (int)a->sched_priority;
    uint64_t most = t->process->limits[RLIMIT_RTPRIO].rlim_cur;
    if (is_fair(policy) && a->sched_nice < old->nice && !nice_allowed(t, a->sched_nice))
        return true;
    if (is_rt(policy) && ((policy != old->policy && !most) || (priority > old->rt_priority && (uint64_t)priority > most)))
        return true;
    if (policy == SCHED_DEADLINE)
        return true;
    if (old->policy == SCHED_IDLE && policy != SCHED_IDLE && !nice_allowed(t, old->nice))
        return true;
    return !same_owner(t) || (old->reset_on_fork && !reset_on_fork);
}

// As Linux asks: what is no policy or does not fit it, then who may.
static long set_policy(struct thread *t, struct sched_attr *a)
{
    struct sched_policy old, new;
    bool reset_on_fork = a->sched_flags & SCHED_FLAG_RESET_ON_FORK;
    thread_get_policy(t, &old);
    if ((int)a->sched_policy == SETPARAM_POLICY) {
        a->sched_policy = (uint32_t)old.policy;
        reset_on_fork = old.reset_on_fork;
    }
    int policy = (int)a->sched_policy;
    if (!is_fair(policy) && !is_rt(policy) && policy != SCHED_IDLE && policy != SCHED_DEADLINE)
        return -EINVAL;
    if (a->sched_flags & ~(uint64_t)SCHED_FLAG_ALL)
        return -EINVAL;
    if (a->sched_priority > RT_PRIORITY_MAX || is_rt(policy) != (a->sched_priority != 0))
        return -EINVAL;
    if (policy == SCHED_DEADLINE && !deadline_ok(a))
        return -EINVAL;
    if (policy == SCHED_DEADLINE || (needs_privilege(t, &old, a, reset_on_fork) && !capable(CAP_SYS_NICE)))
        return -EPERM;
    if (a->sched_flags & SCHED_FLAG_UTIL_CLAMP)
        return -EOPNOTSUPP;
    new = (struct sched_policy){policy, old.nice, (int)a->sched_priority, reset_on_fork};
    if (is_fair(policy))
        new.nice = a->sched_nice;
    thread_set_policy(t, &new);
    return 0;
}

// Both older calls: the nice value stays.
static long set_scheduler(uint64_t tid, int policy, uint64_t uparam)
{
    int32_t priority;
    if (!uparam || (int)tid < 0)
        return -EINVAL;
    if (copy_in_obj(&priority, uparam) < 0)
        return -EFAULT;
    struct thread *t = thread_get((int)tid);
    if (!t)
        return -ESRCH;
    struct sched_attr a = {.sched_policy = (uint32_t)policy, .sched_nice = t->nice, .sched_priority = (uint32_t)priority};
    if (policy != SETPARAM_POLICY && (policy & SCHED_RESET_ON_FORK)) {
        a.sched_policy &= ~(uint32_t)SCHED_RESET_ON_FORK;
        a.sched_flags = SCHED_FLAG_RESET_ON_FORK;
    }
    long err = set_policy(t, &a);
    thread_unref(t);
    return err;
}

long sys_sched_setscheduler(uint64_t tid, uint64_t policy, uint64_t uparam)
{
    return (int)policy < 0 ? -EINVAL : set_scheduler(tid, (int)policy, uparam);
}

long sys_sched_setparam(uint64_t tid, uint64_t uparam)
{
    return set_scheduler(tid, SETPARAM_POLICY, uparam);
}

// The policy of a thread. 0, -EINVAL, -ESRCH.
static long policy_of(uint64_t tid, struct sched_policy *p)
{
    if ((int)tid < 0)
        return -EINVAL;
    struct thread *t = thread_get((int)tid);
    if (!t)
        return -ESRCH;
    thread_get_policy(t, p);
    thread_unref(t);
    return 0;
}

long sys_sched_getscheduler(uint64_t tid)
{
    struct sched_policy p;
    long err = policy_of(tid, &p);
    return err ? err : p.policy | (p.reset_on_fork ? SCHED_RESET_ON_FORK : 0);
}

long sys_sched_getparam(uint64_t tid, uint64_t uparam)
{
    struct sched_policy p;
    if (!uparam)
        return -EINVAL;
    long err = policy_of(tid, &p);
    return err ? err : copy_out_obj(uparam, &p.rt_priority);
}

long sys_sched_rr_get_interval(uint64_t tid, uint64_t out)
{
    struct sched_policy p;
    long err = policy_of(tid, &p);
    return err ? err : timespec_out(out, p.policy == SCHED_FIFO ? 0 : p.policy == SCHED_RR ? RR_INTERVAL : SLICE_REPORTED);
}

// The attributes that a program gives: struct sched_attr grows with Linux, what is unknown must be 0.
static long attr_in(uint64_t uattr, struct sched_attr *a)
{
    uint32_t size, known = sizeof *a;
    uint8_t rest;
    memset(a, 0, sizeof *a);
    if (copy_in_obj(&size, uattr) < 0)
        return -EFAULT;
    size = size ? size : SCHED_ATTR_SIZE_VER0;
    bool ok = size >= SCHED_ATTR_SIZE_VER0 && size <= PAGE_SIZE;
    for (uint32_t at = ATTR_SIZE_1; ok && at < size; at++) {
        if (copy_in(&rest, uattr + at, 1) < 0)
            return -EFAULT;
        ok = !rest;
    }
    if (!ok)
        return copy_out_obj(uattr, &known) < 0 ? -EFAULT : -E2BIG;
    if (copy_in(a, uattr, MIN(size, ATTR_SIZE_1)) < 0)
        return -EFAULT;
    if ((a->sched_flags & SCHED_FLAG_UTIL_CLAMP) && size < ATTR_SIZE_1)
        return -EINVAL;
    a->sched_nice = MIN(MAX(a->sched_nice, NICE_MIN), NICE_MAX);
    return 0;
}

long sys_sched_setattr(uint64_t tid, uint64_t uattr, uint64_t flags)
{
    struct sched_attr a;
    struct sched_policy old;
    if (!uattr || (int)tid < 0 || (uint32_t)flags)
        return -EINVAL;
    long err = attr_in(uattr, &a);
    if (err)
        return err;
    if ((int)a.sched_policy < 0)
        return -EINVAL;
    if (a.sched_flags & SCHED_FLAG_KEEP_POLICY)
        a.sched_policy = (uint32_t)SETPARAM_POLICY;
    struct thread *t = thread_get((int)tid);
    if (!t)
        return -ESRCH;
    if (a.sched_flags & SCHED_FLAG_KEEP_PARAMS) {
        thread_get_policy(t, &old);
        a.sched_priority = (uint32_t)old.rt_priority;
        a.sched_nice = old.nice;
    }
    err = set_policy(t, &a);
    thread_unref(t);
    return err;
}

long sys_sched_getattr(uint64_t tid, uint64_t uattr, uint64_t size, uint64_t flags)
{
    struct sched_policy p;
    uint32_t n = (uint32_t)size;
    if (!uattr || (int)tid < 0 || n > PAGE_SIZE || n < SCHED_ATTR_SIZE_VER0 || (uint32_t)flags)
        return -EINVAL;
    long err = policy_of(tid, &p);
    if (err)
        return err;
    struct sched_attr a = {.size = MIN(n, ATTR_SIZE_1), .sched_policy = (uint32_t)p.policy};
    a.sched_flags = p.reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0;
    if (is_rt(p.policy))
        a.sched_priority = (uint32_t)p.rt_priority;
    else
        a.sched_nice = p.nice;
    return copy_out(uattr, &a, a.size);
}

static bool known_policy(int policy)
{
    return is_fair(policy) || policy == SCHED_IDLE || policy == SCHED_DEADLINE;
}

long sys_sched_get_priority_max(uint64_t policy)
{
    return is_rt((int)policy) ? RT_PRIORITY_MAX : known_policy((int)policy) ? 0 : -EINVAL;
}

long sys_sched_get_priority_min(uint64_t policy)
{
    return is_rt((int)policy) ? 1 : known_policy((int)policy) ? 0 : -EINVAL;
}
