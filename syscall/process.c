// Processes and threads as seen from inside: numbers, groups, sessions, the end. Waiting is in wait.c, limits in limits.c, personal
// settings in prctl.c.
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "syscall/syscall.h"

// --- Numbers ---

long sys_getpid(void)
{
    return process_current()->pid;
}

long sys_gettid(void)
{
    return thread_current()->tid;
}

long sys_getppid(void)
{
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    struct process *parent = process_current()->parent;
    long pid = parent ? parent->pid : 0;
    spin_unlock_irqrestore(&process_table_lock, flags);
    return pid;
}

long sys_set_tid_address(uint64_t addr)
{
    thread_current()->clear_tid = addr;
    return thread_current()->tid;
}

// --- Groups and sessions ---

long sys_getpgrp(void)
{
    return process_current()->pgid;
}

static long of_process(int pid, int (*get)(const struct process *))
{
    if (!pid)
        return get(process_current());
    struct process *p = process_find_task(pid);
    if (!p)
        return -ESRCH;
    long v = get(p);
    process_unref(p);
    return v;
}

static int get_pgid(const struct process *p)
{
    return p->pgid;
}

static int get_sid(const struct process *p)
{
    return p->sid;
}

long sys_getpgid(uint64_t pid)
{
    return of_process((int)pid, get_pgid);
}

long sys_getsid(uint64_t pid)
{
    return of_process((int)pid, get_sid);
}

// process_table_lock held.
static bool group_in_session(int pgid, int sid)
{
    struct process *p;
    list_for_each(p, &process_list, all_link)
        if (p->pgid == pgid && p->sid == sid)
            return true;
    return false;
}

static long set_group(struct process *p, int pgid)
{
    struct process *self = process_current();
    if (p != self && p->parent != self)
        return -ESRCH;
    if (p->sid != self->sid)
        return -EPERM;
    if (p != self && p->did_exec)
        return -EACCES;
    if (p->sid == p->pid)
        return -EPERM;
    if (pgid != p->pid && !group_in_session(pgid, self->sid))
        return -EPERM;
    p->pgid = pgid;
    return 0;
}

long sys_setpgid(uint64_t upid, uint64_t upgid)
{
    int pid = (int)upid ? (int)upid : process_current()->pid, pgid = (int)upgid ? (int)upgid : pid;
    if (pgid < 0)
        return -EINVAL;
    struct process *p = process_find_task(pid);
    if (!p)
        return -ESRCH;
    long result = -EINVAL; // a thread's number
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    if (p->pid == pid)
        result = set_group(p, pgid);
    spin_unlock_irqrestore(&process_table_lock, flags);
    process_unref(p);
    return result;
}

long sys_setsid(void)
{
    struct process *self = process_current(), *p;
    long result = self->pid;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(p, &process_list, all_link)
        if (p->pgid == self->pid)
            result = -EPERM;
    if (result > 0) {
        self->sid = self->pgid = self->pid;
        self->tty = NULL;
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    return result;
}

// --- The end ---

long sys_exit(uint64_t code)
{
    thread_exit((int)code);
}

long sys_exit_group(uint64_t code)
{
    process_exit((uint32_t)(code & 0xff) << 8);
}
