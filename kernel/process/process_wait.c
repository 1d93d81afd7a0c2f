// Waiting for children, wait4(2) and waitid(2).
// Locks: process_table_lock > signal_lock.
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include <linux/wait.h>

static bool eligible(const struct process *c, const struct wait_query *q)
{
    if (q->kind == P_PID && c->pid != q->id)
        return false;
    if (((unsigned)q->options & __WNOTHREAD) && c->parent_tid != thread_current()->tid)
        return false;
    if (q->kind == P_PGID && c->pgid != q->id)
        return false;
    return (q->options & __WALL) || (c->exit_signal != SIGCHLD) == !!((unsigned)q->options & __WCLONE);
}

// What the child has used, as getrusage(2) shows it afterwards. process_table_lock held.
static void usage_of(struct process *c, struct wait_result *r)
{
    const struct thread *t;
    process_times(c, &r->user_ns, &r->system_ns);
    r->user_ns += c->children_user_ns;
    r->system_ns += c->children_system_ns;
    spin_lock(&c->signal_lock);
    r->minor_faults = c->dead_minor_faults + c->children_minor_faults;
    r->major_faults = c->dead_major_faults + c->children_major_faults;
    r->voluntary_switches = c->dead_voluntary_switches + c->children_voluntary_switches;
    r->involuntary_switches = c->dead_involuntary_switches + c->children_involuntary_switches;
    list_for_each(t, &c->threads, process_link) { // it has some when it is only stopped
        r->minor_faults += t->minor_faults;
        r->major_faults += t->major_faults;
        r->voluntary_switches += t->voluntary_switches;
        r->involuntary_switches += t->involuntary_switches;
    }
    r->peak_resident = MAX(c->peak_resident, c->aspace ? aspace_peak_resident(c->aspace) : 0);
    spin_unlock(&c->signal_lock);
    r->peak_resident = MAX(r->peak_resident, c->children_peak_resident);
}

static void take_zombie(struct process *c, const struct wait_query *q, struct wait_result *r)
{
    struct process *p = process_current();
    r->status = c->exit_status;
    r->code = c->exit_status & 0x80 ? CLD_DUMPED : c->exit_status & 0x7f ? CLD_KILLED : CLD_EXITED;
    if (q->options & WNOWAIT)
        return;
    p->children_user_ns += r->user_ns;
    p->children_system_ns += r->system_ns;
    p->children_minor_faults += r->minor_faults;
    p->children_major_faults += r->major_faults;
    p->children_voluntary_switches += r->voluntary_switches;
    p->children_involuntary_switches += r->involuntary_switches;
    p->children_peak_resident = MAX(p->children_peak_resident, r->peak_resident);
    process_reap(c);
}

// Has this child something to tell? process_table_lock held.
static bool look_at(struct process *c, const struct wait_query *q, struct wait_result *r)
{
    bool found = false;
    if (c->zombie) {
        if (!(q->options & WEXITED))
            return false;
        usage_of(c, r);
        take_zombie(c, q, r);
        return true;
    }
    spin_lock(&c->signal_lock);
    if (c->stop_unreported && (q->options & WSTOPPED)) {
        found = true;
        r->status = (uint32_t)c->stop_signal << 8 | 0x7f;
        r->code = CLD_STOPPED;
        c->stop_unreported = q->options & WNOWAIT;
    } else if (c->continue_unreported && (q->options & WCONTINUED)) {
        found = true;
        r->status = 0xffff;
        r->code = CLD_CONTINUED;
        c->continue_unreported = q->options & WNOWAIT;
    }
    spin_unlock(&c->signal_lock);
    if (found)
        usage_of(c, r);
    return found;
}

// One look at all children: the pid of one that has something to tell, 0, or -ECHILD.
static long wait_once(const struct wait_query *q, struct wait_result *r)
{
    struct process *p = process_current(), *c, *tmp;
    long result = -ECHILD;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each_safe(c, tmp, &p->children, sibling) {
        if (!eligible(c, q))
            continue;
        result = 0;
        if (look_at(c, q, r)) {
            result = r->pid = c->pid;
            r->uid = c->cred.uid;
            break;
        }
    }
    bool reaped = result > 0 && c->zombie && !(q->options & WNOWAIT);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (reaped)
        process_unref(c);
    return result;
}

long process_wait(const struct wait_query *q, struct wait_result *r)
{
    long result;
    if (q->options & WNOHANG)
        return wait_once(q, r);
    int err = wait_event_interruptible(&process_current()->child_wait, (result = wait_once(q, r)) != 0);
    return err < 0 ? err : result;
}
