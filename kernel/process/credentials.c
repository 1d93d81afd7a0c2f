// Credentials: changes, inheritance, groups. See credentials.h.
#include "kernel/process/credentials.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include <linux/securebits.h>

uint8_t suid_dumpable;

void credentials_commit(const struct credentials *new) {
    struct process *p = process_current();
    struct credentials *c = &p->cred;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    bool other = c->euid != new->euid || c->egid != new->egid || c->fsuid != new->fsuid || c->fsgid != new->fsgid ||
                 (new->cap_permitted & ~c->cap_permitted);
    struct group_list *groups = c->groups;
    bool other_user = c->uid != new->uid;
    *c = *new;
    c->groups = groups;
    if (other) {
        p->dumpable = suid_dumpable;
        thread_current()->parent_death_signal = 0;
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (unlikely(other_user))
        p->limit_exceeded = process_limit_reached(p, -1); // those that he had already, as on Linux
}

void credentials_inherit(struct process *child, struct process *parent) {
    uint64_t flags = spin_lock_irqsave(&parent->signal_lock);
    child->cred = parent->cred;
    if (child->cred.groups)
        atomic_add(&child->cred.groups->refs, 1);
    spin_unlock_irqrestore(&parent->signal_lock, flags);
}

void credentials_release(struct process *p) { group_list_unref(p->cred.groups); }

// --- Groups ---

struct group_list *group_list_alloc(unsigned count) {
    struct group_list *g = kmalloc(sizeof(*g) + count * sizeof(g->gid[0]));
    if (g) {
        g->refs = 1;
        g->count = count;
    }
    return g;
}

void group_list_unref(struct group_list *g) {
    if (g && atomic_sub(&g->refs, 1) == 1)
        kfree(g);
}

struct group_list *process_groups(struct process *p) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct group_list *g = p->cred.groups;
    if (g)
        atomic_add(&g->refs, 1);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return g;
}

void process_set_groups(struct group_list *g) {
    struct process *p = process_current();
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct group_list *old = p->cred.groups;
    WRITE_ONCE(p->cred.groups, g);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    group_list_unref(old);
}

static bool in_list(const struct group_list *g, uint32_t gid) {
    unsigned low = 0, high = g->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (g->gid[middle] == gid)
            return true;
        if (g->gid[middle] < gid)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool credentials_in_group(uint32_t gid) {
    struct process *p = process_current();
    if (current_cred()->fsgid == gid)
        return true;
    if (!READ_ONCE(p->cred.groups))
        return false;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // another thread may be in setgroups(2)
    bool found = p->cred.groups && in_list(p->cred.groups, gid);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return found;
}

// --- access(2) ---

bool credentials_use_real(struct credentials *space) {
    const struct credentials *c = &process_current()->cred;
    uint64_t effective = c->cap_effective;
    if (!(c->securebits & SECBIT_NO_SETUID_FIXUP))
        effective = c->uid == 0 ? c->cap_permitted : 0;
    if (likely(c->fsuid == c->uid && c->fsgid == c->gid && c->cap_effective == effective))
        return false;
    *space = *c;
    space->fsuid = c->uid;
    space->fsgid = c->gid;
    space->cap_effective = effective;
    thread_current()->borrowed_cred = space;
    return true;
}

void credentials_use_own(void) { thread_current()->borrowed_cred = NULL; }
