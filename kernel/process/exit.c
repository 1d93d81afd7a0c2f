// The end of threads and processes. The last thread of a process takes it apart; what is left is a zombie, which the parent's
// wait(2) removes. The end of process 1 is the end of the machine.
// Locks: process_table_lock > signal_lock.
#include "kernel/memory/aspace.h"
#include "kernel/process/core.h"
#include "kernel/boot.h"
#include "kernel/ipc/sem.h"
#include "kernel/threads/futex.h"
#include "kernel/log.h"
#include "kernel/process/pid.h"
#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/poweroff.h"
#include <linux/wait.h>

static const struct process_hooks *hooks = &(const struct process_hooks){0};

void process_set_hooks(const struct process_hooks *h)
{
    hooks = h;
}

const struct process_hooks *process_hooks_get(void)
{
    return hooks;
}

void process_vfork_done(struct process *p)
{
    if (!READ_ONCE(p->vfork_parent))
        return;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    struct process *waiting = p->vfork_parent; // NULL: it was killed meanwhile
    WRITE_ONCE(p->vfork_parent, NULL);
    if (waiting)
        waitq_wake_all(&waiting->signal_wait); // it looks at our field under no lock, but goes only after this one
    spin_unlock_irqrestore(&process_table_lock, flags);
}

void process_vfork_wait(struct process *child)
{
    struct process *p = process_current();
    // Whoever ends this thread wakes signal_wait, too: process_begin_exit, process_kill_others.
    wait_event(&p->signal_wait, !READ_ONCE(child->vfork_parent) || (READ_ONCE(thread_current()->work) & WORK_EXIT));
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    WRITE_ONCE(child->vfork_parent, NULL);
    spin_unlock_irqrestore(&process_table_lock, flags);
}

static void release_address_space(struct process *p)
{
    struct aspace *as = p->aspace;
    if (!as)
        return;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // procfs takes a reference under it
    WRITE_ONCE(p->aspace, NULL);
    aspace_activate(NULL);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    aspace_unref(as);
}

void process_discard(struct process *p)
{
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_remove(&p->all_link);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (hooks->release_files)
        hooks->release_files(p);
    if (p->aspace)
        aspace_unref(p->aspace);
    p->aspace = NULL;
    process_unref(p);
}

// --- Telling the parent ---

static int64_t ticks(nsec_t ns)
{
    return (int64_t)(ns / (NSEC_PER_SEC / 100)); // USER_HZ
}

static siginfo_t child_info(struct process *p, int code, int status)
{
    siginfo_t info = {.si_signo = SIGCHLD, .si_code = code};
    nsec_t user, system;
    process_times(p, &user, &system);
    info.si_pid = p->pid;
    info.si_uid = p->cred.uid;
    info.si_status = status;
    info.si_utime = ticks(user);
    info.si_stime = ticks(system);
    return info;
}

void process_notify_parent(struct process *p, int code, int status)
{
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    struct process *parent = p->parent;
    if (parent) {
        siginfo_t info = child_info(p, code, status);
        if (!(parent->handlers->action[SIGCHLD - 1].flags & SA_NOCLDSTOP))
            signal_send_process(parent, SIGCHLD, &info);
        waitq_wake_all(&parent->child_wait);
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
}

// Out of the tree and the table; process_table_lock held. The caller drops the table's reference afterwards.
void process_reap(struct process *p)
{
    list_remove(&p->sibling);
    list_remove(&p->all_link);
    p->parent = NULL;
    pid_set_process(p->pid, NULL);
}

// The parent learns of the end. True: it does not want to, and the zombie is to go at once. process_table_lock held.
static bool notify_of_end(struct process *p)
{
    struct process *parent = p->parent;
    if (!parent)
        return true;
    const struct signal_action *a = &parent->handlers->action[SIGCHLD - 1];
    bool ignored = p->exit_signal == SIGCHLD && (a->handler == (uaddr_t)SIG_IGN || (a->flags & SA_NOCLDWAIT));
    if (p->exit_signal && p->exit_signal <= SIGNAL_COUNT && !signal_ignored(parent, p->exit_signal)) {
        uint32_t sig = p->exit_status & 0x7f;
        siginfo_t info = sig ? child_info(p, p->exit_status & 0x80 ? CLD_DUMPED : CLD_KILLED, (int)sig)
                             : child_info(p, CLD_EXITED, (int)(p->exit_status >> 8 & 0xff));
        info.si_signo = p->exit_signal;
        signal_send_process(parent, p->exit_signal, &info);
    }
    waitq_wake_all(&parent->child_wait);
    return ignored;
}

// The thread or process that made it is gone: PR_SET_PDEATHSIG, of each of its threads. process_table_lock held.
static void send_death_signals(struct process *c)
{
    struct thread *t;
    uint64_t wanted = 0;
    spin_lock(&c->signal_lock);
    list_for_each(t, &c->threads, process_link)
        if (t->parent_death_signal)
            wanted |= SIGMASK(t->parent_death_signal);
    spin_unlock(&c->signal_lock);
    siginfo_t info = {.si_code = SI_USER};
    info.si_pid = process_current()->pid;
    info.si_uid = process_current()->cred.uid;
    for (; wanted; wanted &= wanted - 1)
        signal_send_process(c, __builtin_ctzl(wanted) + 1, &info);
}

// Will nobody be left, without `leaving`, who is of the group's session but not of the group, and a member's parent? And has
// it a stopped member? process_table_lock held.
static bool becomes_orphaned_and_stopped(int pgid, const struct process *leaving)
{
    const struct process *m;
    bool stopped = false;
    list_for_each(m, &process_list, all_link) {
        if (m->pgid != pgid || m == leaving || m->zombie)
            continue;
        if (m->parent && m->parent->pgid != pgid && m->parent->sid == m->sid)
            return false;
        stopped |= READ_ONCE(m->stopped);
    }
    return stopped;
}

// `p` loses its parent, or (leaving) ends: nobody will continue the stopped jobs of a group that is orphaned by that. See setpgid(2),
// _exit(2). process_table_lock held.
static void release_stopped_group(const struct process *p, const struct process *parent, bool leaving)
{
    struct process *m;
    int pgid = p->pgid;
    if (likely(!parent || parent->pgid == pgid || parent->sid != p->sid) ||
        !becomes_orphaned_and_stopped(pgid, leaving ? p : NULL))
        return;
    list_for_each(m, &process_list, all_link) {
        if (m->pgid != pgid)
            continue;
        signal_send_process(m, SIGHUP, NULL);
        signal_send_process(m, SIGCONT, NULL);
    }
}

// Who takes the children of `p`: the nearest ancestor that wants them, else process 1. process_table_lock held.
static struct process *reaper_of(const struct process *p)
{
    struct process *a = p->parent;
    while (a && a != init_process && !(a->subreaper && READ_ONCE(a->thread_count)))
        a = a->parent;
    return a ? a : init_process;
}

// Those that have ended already, and whose new parent does not want to know, go to `gone`. process_table_lock held.
static void reparent_children(struct process *p, struct list *gone)
{
    struct process *c, *tmp, *reaper;
    if (list_empty(&p->children))
        return;
    reaper = reaper_of(p);
    list_for_each_safe(c, tmp, &p->children, sibling) {
        list_remove(&c->sibling);
        c->parent = reaper;
        c->parent_tid = reaper->pid;
        list_push_back(&reaper->children, &c->sibling);
        c->exit_signal = SIGCHLD;
        if (!c->zombie) {
            send_death_signals(c);
        } else if (notify_of_end(c)) {
            process_reap(c);
            list_push_back(gone, &c->all_link);
        }
        release_stopped_group(c, p, false);
    }
}

// A thread ends, but not its process: its children have another of its threads from now on.
static void leave_children(const struct thread *t)
{
    struct process *p = t->process, *c;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(c, &p->children, sibling) {
        if (c->parent_tid != t->tid)
            continue;
        c->parent_tid = p->pid;
        send_death_signals(c);
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
}

// The end of a session's leader whose terminal has hung up before: the foreground group is told. process_table_lock held.
static void signal_hangup_group(const struct process *leader)
{
    struct process *p;
    list_for_each(p, &process_list, all_link) {
        if (p->pgid != leader->hangup_group || p->sid != leader->sid)
            continue;
        signal_send_process(p, SIGHUP, NULL);
        signal_send_process(p, SIGCONT, NULL);
    }
}

static void machine_end(struct process *p)
{
    if (hooks->end)
        hooks->end();
    poweroff_prepare();
    if (p->exit_status & 0x7f)
        machine_exit(EXIT_SIGNAL, (int)(p->exit_status & 0x7f));
    machine_exit(EXIT_CODE, (int)(p->exit_status >> 8 & 0xff));
}

// What the last thread does.
static void process_end(struct process *p)
{
    process_timers_end(p);
    if (p->sem_undo)
        sem_undo_end(p);
    if (p->sid == p->pid && hooks->stop_tty)
        hooks->stop_tty(p);
    if (hooks->release_files)
        hooks->release_files(p);
    if (p == init_process)
        machine_end(p);
    if (p->aspace)
        p->peak_resident = MAX(p->peak_resident, aspace_peak_resident(p->aspace));
    process_vfork_done(p);
    release_address_space(p);

    struct list gone_children = LIST_INIT(gone_children);
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    if (p->hangup_group)
        signal_hangup_group(p);
    reparent_children(p, &gone_children);
    release_stopped_group(p, p->parent, true);
    p->zombie = true;
    if (waitq_active(&p->end_wait))
        waitq_wake_all(&p->end_wait);
    bool gone = notify_of_end(p);
    if (gone)
        process_reap(p);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (gone)
        process_unref(p);
    while (unlikely(!list_empty(&gone_children))) {
        struct process *c = list_first(&gone_children, struct process, all_link);
        list_remove(&c->all_link);
        process_unref(c);
    }
}

// --- Ending ---

// The thread's last acts in the application's memory.
static void release_user_state(struct thread *t)
{
    if (t->clear_tid) {
        uint32_t zero = 0;
        uaddr_t addr = t->clear_tid;
        t->clear_tid = 0;
        if (copy_out_obj(addr, &zero) == 0)
            futex_wake(addr, 1, ~0u, true);
    }
}

void process_exit_current(void)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    if (unlikely(READ_ONCE(p->core_dumper) != NULL))
        core_park();
    futex_exit(t, true);
    if (p->thread_count > 1 || (p->aspace && READ_ONCE(p->aspace->refs) > 1)) // somebody is left to see it
        release_user_state(t);
    if (unlikely(!list_empty(&p->children)) && READ_ONCE(p->thread_count) > 1)
        leave_children(t);
    if (process_remove_thread(t))
        process_end(p);
    else if (unlikely(READ_ONCE(p->stopped)))
        signal_stop_progress(p);
    thread_exit_current();
}

void process_begin_exit(struct process *p, uint32_t wait_status)
{
    struct thread *t;
    if (p->exiting)
        return;
    p->exiting = true;
    p->exit_status = wait_status;
    bool stopped = p->stopped;
    p->stopped = false;
    list_for_each(t, &p->threads, process_link) {
        thread_add_work(t, WORK_EXIT);
        if (stopped)
            thread_wake(t);
    }
    waitq_wake_all(&p->signal_wait); // one may be in process_kill_others
}

void thread_exit(int code)
{
    struct process *p = process_current();
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (!p->exiting && (p->thread_count == 1 || thread_current()->tid == p->pid))
        p->exit_status = (uint32_t)(code & 0xff) << 8;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    process_exit_current();
}

void process_exit(uint32_t wait_status)
{
    struct process *p = process_current();
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    process_begin_exit(p, wait_status);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    process_exit_current();
}

bool process_kill_others(void)
{
    struct thread *self = thread_current(), *t;
    struct process *p = self->process;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (!(self->work & WORK_EXIT)) // two at once: the first one ends the second
        list_for_each(t, &p->threads, process_link)
            if (t != self) {
                thread_add_work(t, WORK_EXIT);
                if (p->stopped)
                    thread_wake(t);
            }
    waitq_wake_all(&p->signal_wait); // the second one, or a parent in vfork
    spin_unlock_irqrestore(&p->signal_lock, flags);
    wait_event(&p->signal_wait, READ_ONCE(p->thread_count) == 1 || (READ_ONCE(self->work) & WORK_EXIT));
    if (self->work & WORK_EXIT)
        return false;
    if (self->tid == p->pid)
        return true;
    // The process goes on under its own number.
    int old = self->tid;
    pid_set_thread(old, NULL);
    self->tid = p->pid;
    pid_set_thread(p->pid, self);
    pid_free(old);
    struct process *c;
    flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(c, &p->children, sibling)
        c->parent_tid = p->pid;
    spin_unlock_irqrestore(&process_table_lock, flags);
    return true;
}
