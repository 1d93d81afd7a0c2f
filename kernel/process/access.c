// May one process look into another? The rules of ptrace(2), "Ptrace access mode checking", which /proc and process_vm_readv use.
#include "kernel/process/process.h"
#include <linux/capability.h>

static bool same_ids(const struct credentials *o, uint32_t uid, uint32_t gid)
{
    return o->euid == uid && o->suid == uid && o->uid == uid && o->egid == gid && o->sgid == gid && o->gid == gid;
}

bool process_may_trace(struct process *p, bool real)
{
    const struct credentials *c = current_cred(), *o = &p->cred;
    if (p == process_current() || process_current() == &kernel_process)
        return true;
    if (c->cap_effective & (1UL << CAP_SYS_PTRACE))
        return true;
    if (!same_ids(o, real ? c->uid : c->fsuid, real ? c->gid : c->fsgid))
        return false;
    return p->dumpable == 1 && !(o->cap_permitted & ~(real ? c->cap_permitted : c->cap_effective));
}

struct aspace *process_aspace_ref(struct process *p)
{
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct aspace *as = p->aspace;
    if (as)
        aspace_ref(as);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return as;
}
