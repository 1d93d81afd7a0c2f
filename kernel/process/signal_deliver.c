// Delivery of signals, on the way back to the application: calls handlers, takes default actions, and says what becomes of a
// system call that was interrupted. Interrupts are on; the thread's frame is complete.
// Lock: process.signal_lock, never while user memory is touched.
#include "kernel/log.h"
#include "kernel/process/core.h"
#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/rseq.h"
#include "kernel/threads/sched.h"
#include "kernel/process/signal_mask.h"
#include "kernel/boot.h"
#include <asm/unistd.h>
#include <linux/wait.h>

uaddr_t (*signal_restorer_hook)(struct process *p);

#define FROM_SYSCALL (~0UL)

// The interrupted system call: made again, or ended with EINTR. `a`: the handler that runs, NULL: none does. See signal(7).
static void settle_call(struct trapframe *f, const struct signal_action *a)
{
    if (f->vector != FROM_SYSCALL)
        return;
    switch ((long)f->rax) {
    case -ERESTARTSYS:
        if (a && !(a->flags & SA_RESTART)) {
            f->rax = (uint64_t)-EINTR;
            return;
        }
        break;
    case -ERESTARTNOINTR:
        break;
    case -ERESTARTNOHAND:
        if (a) {
            f->rax = (uint64_t)-EINTR;
            return;
        }
        break;
    case -ERESTART_BLOCK:
        if (a) {
            f->rax = (uint64_t)-EINTR;
            return;
        }
        f->rax = __NR_restart_syscall;
        f->rip -= 2;
        return;
    default:
        return;
    }
    f->rax = f->error_code; // the number
    f->rip -= 2;            // the SYSCALL instruction
}

// Stops the process, signal_lock held: between the taking of the signal and this no SIGCONT may come.
static void stop_process(struct process *p, int sig)
{
    struct thread *t;
    if (p->exiting || p->stopped)
        return;
    p->stopped = true;
    p->stop_complete = p->stop_unreported = p->continue_unreported = p->continue_untold = false;
    p->stop_signal = sig;
    list_for_each(t, &p->threads, process_link)
        thread_add_work(t, WORK_STOP);
}

#define SIGMASK_TERMINAL_STOP (SIGMASK_STOP & ~SIGMASK(SIGSTOP))

// Is there nobody who could continue it? Then the terminal's stop signals do nothing, as POSIX wants; and process 1, which
// nobody watches, does not stop at all.
static bool may_not_stop(struct process *p, uint64_t pending)
{
    if (likely(!(pending & SIGMASK_STOP)))
        return false;
    return p == init_process || ((pending & SIGMASK_TERMINAL_STOP) && process_group_orphaned(p));
}

// Takes the next signal and what is to be done with it. 0: none is left. WORK_SIGNAL is cleared with the last one.
static int next_signal(struct thread *t, siginfo_t *info, struct signal_action *action)
{
    struct process *p = t->process;
    bool no_stop = may_not_stop(p, READ_ONCE(t->pending.set) | READ_ONCE(p->pending.set));
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    int sig = signal_queue_take(p, &t->pending, ~t->signal_mask, info);
    if (!sig)
        sig = signal_queue_take(p, &p->pending, ~t->signal_mask, info);
    if (sig) {
        struct signal_action *a = &p->handlers->action[sig - 1];
        *action = *a;
        if ((a->flags & SA_RESETHAND) && a->handler > (uaddr_t)SIG_IGN)
            a->handler = (uaddr_t)SIG_DFL;
        if (info->si_code == SI_TIMER)
            posix_timer_delivered(p, info);
        if (action->handler == (uaddr_t)SIG_DFL && signal_default_action(sig) == SIGNAL_STOP) {
            if (no_stop && (p == init_process || sig != SIGSTOP))
                action->handler = (uaddr_t)SIG_IGN;
            else
                stop_process(p, sig);
        }
    }
    if (!((t->pending.set | p->pending.set) & ~t->signal_mask))
        atomic_and(&t->work, ~WORK_SIGNAL);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return sig;
}

void signal_stop_progress(struct process *p)
{
    struct thread *t;
    int sig = 0;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (p->stopped && !p->stop_complete && !p->exiting && p->thread_count) {
        p->stop_complete = true;
        list_for_each(t, &p->threads, process_link)
            if (t->work & WORK_STOP)
                p->stop_complete = false;
        p->stop_unreported = p->stop_complete;
        sig = p->stop_complete ? p->stop_signal : 0;
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (sig)
        process_notify_parent(p, CLD_STOPPED, sig);
}

static void tell_continued(struct process *p)
{
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    bool mine = p->continue_untold;
    p->continue_untold = false;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (mine)
        process_notify_parent(p, CLD_CONTINUED, SIGCONT);
}

// Sleeps as long as the process is stopped.
static void stay_stopped(struct thread *t)
{
    struct process *p = t->process;
    atomic_and(&t->work, ~WORK_STOP); // before the look: a stop that comes after it sets the bit again
    signal_stop_progress(p);
    for (;;) {
        thread_prepare_sleep(false);
        if (!READ_ONCE(p->stopped) || (READ_ONCE(t->work) & WORK_EXIT))
            break;
        thread_sleep_until(NSEC_MAX);
    }
    thread_cancel_sleep();
}

static void terminate(struct process *p, int sig, siginfo_t *info) NORETURN;
static void terminate(struct process *p, int sig, siginfo_t *info)
{
    signal_info_complete(info);
    if (info->si_code > 0 && (SIGMASK(sig) & SIGMASK_SYNCHRONOUS))
        signal_report_crash(sig, info);
    else
        log_info("process %d (%s) ends by signal %d", p->pid, thread_current()->name, sig);
    core_exit(sig, info);
}

static void default_action(struct process *p, int sig, siginfo_t *info)
{
    switch (signal_default_action(sig)) {
    case SIGNAL_IGNORE:
    case SIGNAL_CONTINUE:
        return;
    case SIGNAL_STOP: // WORK_STOP is set
        return;
    default:
        terminate(p, sig, info);
    }
}

static void call_handler(struct thread *t, int sig, const siginfo_t *info, const struct signal_action *a)
{
    if (unlikely(t->rseq) && !rseq_return_to_user()) // the handler returns to where a critical section is aborted
        return;
    uint64_t old_mask = t->signal_mask;
    if (t->work & WORK_RESTORE_MASK) {
        atomic_and(&t->work, ~WORK_RESTORE_MASK);
        old_mask = t->signal_saved_mask;
    }
    if (sigframe_push(sig, a, info, old_mask) < 0) {
        // As if the handler had crashed. When it is SIGSEGV's own, its default action it is.
        if (sig == SIGSEGV) {
            uint64_t flags = spin_lock_irqsave(&t->process->signal_lock);
            t->process->handlers->action[SIGSEGV - 1].handler = (uaddr_t)SIG_DFL;
            spin_unlock_irqrestore(&t->process->signal_lock, flags);
        }
        signal_fault(SIGSEGV, SI_KERNEL, t->frame->rsp, (int)t->fault_trap, t->fault_error);
        return;
    }
    signal_set_mask(t->signal_mask | a->mask | (a->flags & SA_NODEFER ? 0 : SIGMASK(sig)));
}

NO_CANARY void signal_deliver(void)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    struct signal_action action;
    siginfo_t info;
    bool handled = false;
    int sig;
    for (;;) {
        uint32_t work = READ_ONCE(t->work);
        if (work & WORK_EXIT)
            process_exit_current();
        if (work & WORK_STOP) {
            stay_stopped(t);
            continue;
        }
        if (unlikely(READ_ONCE(p->continue_untold)))
            tell_continued(p);
        if (handled && !(work & WORK_SIGNAL))
            return;
        sig = next_signal(t, &info, &action);
        if (!sig)
            break;
        if (action.handler == (uaddr_t)SIG_IGN)
            continue;
        if (action.handler == (uaddr_t)SIG_DFL) {
            default_action(p, sig, &info);
            continue;
        }
        settle_call(t->frame, &action);
        call_handler(t, sig, &info, &action);
        handled = true;
    }
    if (handled)
        return;
    settle_call(t->frame, NULL);
    if (t->work & WORK_RESTORE_MASK) {
        atomic_and(&t->work, ~WORK_RESTORE_MASK);
        signal_set_mask(t->signal_saved_mask);
    }
}
