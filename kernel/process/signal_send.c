// Generation of signals: to a process, to a thread, by a fault. Says who is to take it and makes him notice.
// Lock: process.signal_lock > the run queues'. process_table_lock may be held.
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "kernel/process/signal.h"

static bool is_ignored(const struct process *p, int sig, uint64_t blocked)
{
    if (blocked & SIGMASK(sig)) // it may have another handler by the time that it is unblocked
        return false;
    uaddr_t handler = p->handlers->action[sig - 1].handler;
    if (handler == (uaddr_t)SIG_DFL)
        return signal_default_action(sig) == SIGNAL_IGNORE || signal_default_action(sig) == SIGNAL_CONTINUE;
    return handler == (uaddr_t)SIG_IGN;
}

bool signal_ignored(const struct process *p, int sig)
{
    return is_ignored(p, sig, p->leader ? p->leader->signal_mask : 0);
}

static bool wants(const struct thread *t, int sig)
{
    return !(READ_ONCE(t->signal_mask) & SIGMASK(sig)) && !(t->work & WORK_EXIT);
}

// The thread that takes a signal of the process: its first one if it can, else any; rather one that has no other to handle first.
// NULL: all block it.
static struct thread *choose_thread(struct process *p, int sig)
{
    struct thread *t, *busy = NULL;
    if (p->leader && wants(p->leader, sig)) {
        if (likely(p->thread_count == 1 || !(p->leader->work & WORK_SIGNAL)))
            return p->leader;
        busy = p->leader;
    }
    list_for_each(t, &p->threads, process_link) {
        if (!wants(t, sig))
            continue;
        if (!(t->work & WORK_SIGNAL))
            return t;
        busy = busy ? busy : t;
    }
    return busy;
}

void signal_wake_any(struct process *p)
{
    for (uint64_t set = p->pending.set; set; set &= set - 1) {
        struct thread *t = choose_thread(p, __builtin_ctzl(set) + 1);
        if (t)
            thread_add_work(t, WORK_SIGNAL);
    }
}

static void discard_everywhere(struct process *p, uint64_t set)
{
    struct thread *t;
    signal_queue_discard(p, &p->pending, set);
    list_for_each(t, &p->threads, process_link)
        signal_queue_discard(p, &t->pending, set);
}

// Ends a stop. The parent is told by one of the threads (signal_deliver): here the sender may be an interrupt.
static void resume(struct process *p)
{
    struct thread *t;
    if (!p->stopped)
        return;
    p->stopped = p->stop_complete = p->stop_unreported = false;
    p->continue_unreported = p->continue_untold = true;
    list_for_each(t, &p->threads, process_link) {
        atomic_and(&t->work, ~WORK_STOP);
        thread_add_work(t, WORK_SIGNAL);
        thread_wake(t);
    }
}

// `t` NULL: to the process. signal_lock held.
static int send_locked(struct process *p, struct thread *t, int sig, const siginfo_t *info)
{
    if (unlikely(p->exiting) && sig == SIGKILL && p->core_dumper)
        WRITE_ONCE(p->core_interrupted, true);
    if (!p->handlers || (!p->thread_count && !p->unborn) || p->exiting)
        return 0; // nobody is left to take it
    if (t && list_empty(&t->process_link))
        return 0; // it has just ended: what is queued for it now would never be freed
    if (sig == SIGKILL) {
        process_begin_exit(p, SIGKILL);
        return 0;
    }
    if (sig == SIGCONT) {
        discard_everywhere(p, SIGMASK_STOP);
        resume(p);
    } else if (SIGMASK(sig) & SIGMASK_STOP) {
        discard_everywhere(p, SIGMASK(SIGCONT));
    }
    struct thread *target = t ? t : p->leader;
    if (is_ignored(p, sig, target ? target->signal_mask : 0))
        return 0;
    struct signal_queue *q = t ? &t->pending : &p->pending;
    int err = signal_queue_add(p, q, sig, info, info && info->si_code != SI_USER && info->si_code < 0);
    if (err)
        return err;
    if (waitq_active(&p->signal_wait))
        waitq_wake_all(&p->signal_wait);
    if (!t)
        t = choose_thread(p, sig);
    if (t && wants(t, sig))
        thread_add_work(t, WORK_SIGNAL);
    return 0;
}

static int send(struct process *p, struct thread *t, int sig, const siginfo_t *info)
{
    if (sig < 1 || sig > SIGNAL_COUNT)
        return -EINVAL;
    if (p == &kernel_process)
        return -EPERM;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    int result = send_locked(p, t, sig, info);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return result;
}

int signal_send_process(struct process *p, int sig, const siginfo_t *info)
{
    return send(p, NULL, sig, info);
}

int signal_send_thread(struct thread *t, int sig, const siginfo_t *info)
{
    return send(t->process, t, sig, info);
}

void signal_send_self(int sig)
{
    struct thread *t = thread_current();
    siginfo_t info = {.si_signo = sig, .si_code = SI_USER};
    info.si_pid = t->process->pid;
    info.si_uid = t->process->cred.uid;
    signal_send_thread(t, sig, &info);
}

void signal_kill_process(struct process *p, int sig)
{
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (p->thread_count || p->unborn)
        process_begin_exit(p, (uint32_t)sig);
    if (p->core_dumper)
        WRITE_ONCE(p->core_interrupted, true);
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

// A fault cannot be put off: one that is blocked or ignored gets the default action, which ends the program.
void signal_fault(int sig, int code, uaddr_t addr, int trapno, uint64_t error_code)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    siginfo_t info = {.si_signo = sig, .si_code = code};
    if (code != SI_KERNEL)
        info.si_addr = (void *)addr;
    t->fault_trap = (uint64_t)trapno;
    t->fault_error = error_code;
    t->fault_address = addr;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct signal_action *a = &p->handlers->action[sig - 1];
    if ((t->signal_mask & SIGMASK(sig)) || a->handler == (uaddr_t)SIG_IGN) {
        a->handler = (uaddr_t)SIG_DFL;
        t->signal_mask &= ~SIGMASK(sig);
    }
    signal_queue_add(p, &t->pending, sig, &info, false);
    atomic_or(&t->work, WORK_SIGNAL);
    spin_unlock_irqrestore(&p->signal_lock, flags);
}
