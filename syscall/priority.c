// getpriority(2), setpriority(2), ioprio_get(2), ioprio_set(2): of a thread, a process group or all of a user. I/O priorities are
// kept and told; no device orders its requests by them.
#include "syscall/priority.h"
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/resource.h>

bool nice_allowed(const struct thread *t, int nice)
{
    return (uint64_t)(20 - nice) <= t->process->limits[RLIMIT_NICE].rlim_cur;
}

// What is to be done to each thread that a call names.
struct walk {
    int which, who;                               // PRIO_*
    void (*visit)(struct walk *w, struct thread *t); // spinlocks are held
    int value;
    long result;
};

static bool applies(const struct walk *w, const struct process *p)
{
    return w->which == PRIO_PGRP ? p->pgid == w->who : p->cred.uid == (uint32_t)w->who;
}

// -EINVAL, or the walk's result, which starts as -ESRCH.
static long walk(struct walk *w)
{
    struct process *self = process_current(), *p;
    struct thread *t;
    w->result = -ESRCH;
    if (w->which == PRIO_PROCESS) { // of one thread, in Linux
        t = thread_get(w->who);
        if (t) {
            w->visit(w, t);
            thread_unref(t);
        }
        return w->result;
    }
    if (w->which != PRIO_PGRP && w->which != PRIO_USER)
        return -EINVAL;
    if (!w->who)
        w->who = w->which == PRIO_PGRP ? self->pgid : (int)current_cred()->uid;
    for (int pid = 1; (p = process_next(pid)); pid++) {
        pid = p->pid;
        if (applies(w, p)) {
            uint64_t flags = spin_lock_irqsave(&p->signal_lock);
            list_for_each(t, &p->threads, process_link)
                w->visit(w, t);
            spin_unlock_irqrestore(&p->signal_lock, flags);
        }
        process_unref(p);
    }
    return w->result;
}

// May the current thread change the other one's priorities?
static bool may_change(const struct thread *t)
{
    const struct credentials *me = current_cred(), *other = &t->process->cred;
    return me->euid == other->uid || me->euid == other->euid || capable(CAP_SYS_NICE);
}

// --- CPU ---

static void show_nice(struct walk *w, struct thread *t)
{
    w->result = MAX(w->result, 20 - t->nice); // the best of all, as a number above 0
}

static void set_nice(struct walk *w, struct thread *t)
{
    struct sched_policy p;
    if (!may_change(t)) {
        w->result = -EPERM;
        return;
    }
    thread_get_policy(t, &p);
    if (w->value < p.nice && !nice_allowed(t, w->value) && !capable(CAP_SYS_NICE)) {
        w->result = -EACCES;
        return;
    }
    p.nice = w->value;
    thread_set_policy(t, &p);
    if (w->result == -ESRCH)
        w->result = 0;
}

long sys_getpriority(uint64_t which, uint64_t who)
{
    return walk(&(struct walk){.which = (int)which, .who = (int)who, .visit = show_nice});
}

long sys_setpriority(uint64_t which, uint64_t who, uint64_t nice)
{
    struct walk w = {.which = (int)which, .who = (int)who, .visit = set_nice};
    w.value = MIN(MAX((int)nice, NICE_MIN), NICE_MAX);
    return walk(&w);
}

// --- I/O ---

// PRIO_* for IOPRIO_WHO_*, or a number that is none of them.
static int which_of(uint64_t which)
{
    return (int)which == IOPRIO_WHO_PROCESS ? PRIO_PROCESS : (int)which == IOPRIO_WHO_PGRP ? PRIO_PGRP
                                                         : (int)which == IOPRIO_WHO_USER   ? PRIO_USER
                                                                                           : -1;
}

static void set_io(struct walk *w, struct thread *t)
{
    const struct credentials *me = current_cred();
    if (t->process->cred.uid != me->euid && t->process->cred.uid != me->uid && !capable(CAP_SYS_NICE)) {
        w->result = -EPERM;
        return;
    }
    WRITE_ONCE(t->io_priority, (uint16_t)w->value);
    if (w->result == -ESRCH)
        w->result = 0;
}

long sys_ioprio_set(uint64_t which, uint64_t who, uint64_t ioprio)
{
    int value = (int)ioprio;
    switch (value >> IOPRIO_CLASS_SHIFT) {
    case IOPRIO_CLASS_RT:
        if (!capable(CAP_SYS_ADMIN) && !capable(CAP_SYS_NICE))
            return -EPERM;
        break;
    case IOPRIO_CLASS_BE:
    case IOPRIO_CLASS_IDLE:
        break;
    case IOPRIO_CLASS_NONE:
        if (value & 7)
            return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    return walk(&(struct walk){.which = which_of(which), .who = (int)who, .visit = set_io, .value = value});
}

static void show_io(struct walk *w, struct thread *t)
{
    int value = READ_ONCE(t->io_priority);
    // One thread's own, 0 when none was set; among several those count by their nice value.
    if (w->which != PRIO_PROCESS && value >> IOPRIO_CLASS_SHIFT == IOPRIO_CLASS_NONE)
        value = IOPRIO_CLASS_BE << IOPRIO_CLASS_SHIFT | (t->nice + 20) / 5;
    if (w->result < 0 || value < w->result)
        w->result = value;
}

long sys_ioprio_get(uint64_t which, uint64_t who)
{
    return walk(&(struct walk){.which = which_of(which), .who = (int)who, .visit = show_io});
}
