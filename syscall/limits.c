// Resource limits: getrlimit(2), setrlimit(2), prlimit(2).
#include "fs/vfs.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/cpu_timer.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/resource.h>

static long set_limit(struct process *p, unsigned resource, const struct rlimit *new)
{
    struct rlimit *old = &p->limits[resource];
    bool may_raise = capable(CAP_SYS_RESOURCE);
    if (new->rlim_cur > new->rlim_max)
        return -EINVAL;
    if (resource == RLIMIT_NOFILE && new->rlim_max > 1 << 20)
        return -EPERM;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // a process that ends lets go of its address space under it
    if (new->rlim_max > old->rlim_max && !may_raise) {
        spin_unlock_irqrestore(&p->signal_lock, flags);
        return -EPERM;
    }
    *old = *new;
    if (p->aspace) {
        if (resource == RLIMIT_AS)
            p->aspace->limit_as = new->rlim_cur;
        else if (resource == RLIMIT_DATA)
            p->aspace->limit_data = new->rlim_cur;
        else if (resource == RLIMIT_STACK)
            p->aspace->limit_stack = new->rlim_cur;
        else if (resource == RLIMIT_MEMLOCK)
            p->aspace->limit_memlock = new->rlim_cur;
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (resource == RLIMIT_CPU)
        process_cpu_limit_changed(p);
    return 0;
}

// Those of a process with other IDs than the caller's real ones are not for everybody: prlimit(2).
static bool may_look_at_limits(const struct process *p)
{
    const struct credentials *c = &process_current()->cred, *o = &p->cred;
    if (p == process_current() || capable(CAP_SYS_RESOURCE))
        return true;
    return c->uid == o->euid && c->uid == o->suid && c->uid == o->uid && c->gid == o->egid && c->gid == o->sgid && c->gid == o->gid;
}

long sys_prlimit64(uint64_t pid, uint64_t resource, uint64_t unew, uint64_t uold)
{
    struct rlimit in, old;
    long err = 0;
    if ((uint32_t)resource >= RLIM_NLIMITS)
        return -EINVAL;
    if (unew && copy_in_obj(&in, unew) < 0)
        return -EFAULT;
    struct process *p = process_find_task((int)pid ? (int)pid : process_current()->pid);
    if (!p)
        return -ESRCH;
    old = p->limits[(uint32_t)resource];
    if (!may_look_at_limits(p))
        err = -EPERM;
    else if (unew)
        err = set_limit(p, (uint32_t)resource, &in);
    process_unref(p);
    return err || !uold ? err : copy_out_obj(uold, &old);
}

long sys_getrlimit(uint64_t resource, uint64_t out)
{
    return sys_prlimit64(0, resource, 0, out ? out : 1);
}

long sys_setrlimit(uint64_t resource, uint64_t in)
{
    return sys_prlimit64(0, resource, in ? in : 1, 0);
}
