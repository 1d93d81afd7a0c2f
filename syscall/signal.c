// Signals: handlers, masks, sending, waiting.
#include "fs/poll.h"
#include "kernel/process/signal_mask.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/useraccess.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/capability.h>
#include <linux/signal.h>

struct sigaction64 { // of rt_sigaction(2)
    uint64_t handler, flags, restorer, mask;
};

long sys_rt_sigaction(uint64_t sig, uint64_t new_action, uint64_t old_action, uint64_t size)
{
    struct sigaction64 in, out;
    struct signal_action new, old;
    if (size != sizeof(uint64_t))
        return -EINVAL;
    if (new_action) {
        if (copy_in_obj(&in, new_action) < 0)
            return -EFAULT;
        new = (struct signal_action){in.handler, in.flags, in.restorer, in.mask};
    }
    long err = signal_set_action((int)sig, new_action ? &new : NULL, &old);
    if (err || !old_action)
        return err;
    out = (struct sigaction64){old.handler, old.flags, old.restorer, old.mask};
    return copy_out_obj(old_action, &out);
}

long sys_rt_sigprocmask(uint64_t how, uint64_t new_set, uint64_t old_set, uint64_t size)
{
    uint64_t old = thread_current()->signal_mask, set;
    if (size != sizeof set)
        return -EINVAL;
    if (new_set) {
        if (!user_range_ok(new_set, sizeof set))
            return -EFAULT;
        user_access_begin();
        user_get(set, new_set, fault);
        user_access_end();
        if ((int)how == SIG_BLOCK)
            set |= old;
        else if ((int)how == SIG_UNBLOCK)
            set = old & ~set;
        else if ((int)how != SIG_SETMASK)
            return -EINVAL;
        signal_set_mask(set);
    }
    if (!old_set)
        return 0;
    if (!user_range_ok(old_set, sizeof old))
        return -EFAULT;
    user_access_begin();
    user_put(old_set, old, fault);
    user_access_end();
    return 0;
fault:
    user_access_end();
    return -EFAULT;
}

long sys_rt_sigreturn(void)
{
    struct thread *t = thread_current();
    if (sigframe_pop() < 0) {
        signal_fault(SIGSEGV, SI_KERNEL, t->frame->rsp, (int)t->fault_trap, t->fault_error);
        return 0;
    }
    return (long)t->frame->rax;
}

long sys_rt_sigpending(uint64_t out, uint64_t size)
{
    uint64_t set = signal_pending_set();
    return size > sizeof set ? -EINVAL : copy_out(out, &set, size);
}

long sys_sigaltstack(uint64_t new_stack, uint64_t old_stack)
{
    stack_t ss, old;
    uaddr_t sp = thread_current()->frame->rsp;
    if (new_stack && copy_in_obj(&ss, new_stack) < 0)
        return -EFAULT;
    signal_get_alt_stack(&old, sp);
    if (new_stack) {
        int err = signal_set_alt_stack(&ss, sp);
        if (err)
            return err;
    }
    return old_stack ? copy_out_obj(old_stack, &old) : 0;
}

long sys_restart_syscall(void)
{
    struct thread *t = thread_current();
    struct restart r = t->restart;
    t->restart.fn = NULL;
    long result = r.fn ? r.fn(&r) : -EINTR;
    if (result == -ERESTART_BLOCK && !t->restart.fn) // interrupted again
        t->restart = r;
    return result;
}

// --- Waiting for signals ---

static void wait_for_signal(void)
{
    do {
        thread_prepare_sleep(true);
    } while (thread_sleep_until(NSEC_MAX) == 0);
}

long sys_pause(void)
{
    wait_for_signal();
    return -ERESTARTNOHAND;
}

long sys_rt_sigsuspend(uint64_t uset, uint64_t size)
{
    struct thread *t = thread_current();
    uint64_t set;
    if (size != sizeof set)
        return -EINVAL;
    if (copy_in_obj(&set, uset) < 0)
        return -EFAULT;
    t->signal_saved_mask = t->signal_mask;
    signal_set_mask(set);
    wait_for_signal();
    atomic_or(&t->work, WORK_RESTORE_MASK);
    return -ERESTARTNOHAND;
}

long sys_rt_sigtimedwait(uint64_t uset, uint64_t uinfo, uint64_t utimeout, uint64_t size)
{
    struct process *p = process_current();
    nsec_t deadline = NSEC_MAX;
    siginfo_t info;
    uint64_t set;
    int sig = 0;
    if (size != sizeof set)
        return -EINVAL;
    if (copy_in_obj(&set, uset) < 0)
        return -EFAULT;
    if (utimeout) {
        int err = timespec_in(utimeout, &deadline);
        if (err)
            return err;
        deadline = nsec_add(time_monotonic(), deadline);
    }
    int err = wait_event_until(&p->signal_wait, (sig = signal_take(set, &info)) != 0, deadline, true);
    if (err)
        return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
    return uinfo && copy_out_obj(uinfo, &info) < 0 ? -EFAULT : sig;
}

// --- Sending ---

// Only the head, which is all that is sent.
static inline void info_of_sender(siginfo_t *info, int sig, int code)
{
    const struct process *p = process_current();
    signal_info_init(info, sig, code);
    info->si_pid = p->pid;
    info->si_uid = p->cred.uid;
}

// Process 1 gets from the others only what it handles, or blocks to wait for it: pid_namespaces(7). What it sends to itself by its
// number it means, though in a container that, too, would be forgotten: raise(3) and abort(3) end a program that runs alone.
static bool init_is_spared(const struct process *p, int sig, bool direct)
{
    if (likely(p != init_process) || (direct && p == process_current()))
        return false;
    if (SIGMASK(sig) & SIGMASK_UNBLOCKABLE)
        return true;
    const struct thread *t = p->leader;
    return p->handlers->action[sig - 1].handler == (uaddr_t)SIG_DFL && t && !(READ_ONCE(t->signal_mask) & SIGMASK(sig));
}

static bool may_signal(const struct process *p, int sig)
{
    const struct credentials *c = &process_current()->cred;
    if (p == process_current() || (c->cap_effective & (1UL << CAP_KILL)))
        return true;
    if (c->euid == p->cred.suid || c->euid == p->cred.uid || c->uid == p->cred.suid || c->uid == p->cred.uid)
        return true;
    return sig == SIGCONT && p->sid == process_current()->sid;
}

// To the thread, or (NULL) to the process. `direct`: it was named by its own number, not as one of many.
static long send(struct process *p, struct thread *t, int sig, const siginfo_t *info, bool direct)
{
    if (!may_signal(p, sig))
        return -EPERM;
    if (!sig || init_is_spared(p, sig, direct))
        return 0;
    return t ? signal_send_thread(t, sig, info) : signal_send_process(p, sig, info);
}

static bool valid_signal(uint64_t sig)
{
    return (uint32_t)sig <= SIGNAL_COUNT;
}

static long kill_one(int pid, int sig, const siginfo_t *info)
{
    struct process *p = process_current();
    if (pid == p->pid)
        return send(p, NULL, sig, info, true);
    p = process_find_task(pid);
    if (!p)
        return -ESRCH;
    long result = send(p, NULL, sig, info, true);
    process_unref(p);
    return result;
}

// All of a group: 0 when at least one was reached. Or (group 0) all but process 1 and this one: then who may not be signalled
// does not count.
static long kill_many(int group, int sig, const siginfo_t *info)
{
    bool found = false, reached = false;
    long failed = 0;
    struct process *p;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(p, &process_list, all_link) {
        if (group ? p->pgid != group : p->pid == 1 || p == process_current())
            continue;
        long r = send(p, NULL, sig, info, false);
        found = true;
        reached |= r == 0;
        if (r && (group || r != -EPERM))
            failed = r;
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    return !found ? -ESRCH : reached ? 0 : failed;
}

NO_CANARY long sys_kill(uint64_t upid, uint64_t sig)
{
    int pid = (int)upid;
    if (!valid_signal(sig))
        return -EINVAL;
    siginfo_t info;
    info_of_sender(&info, (int)sig, SI_USER);
    if (pid > 0)
        return kill_one(pid, (int)sig, &info);
    if (pid == INT32_MIN)
        return -ESRCH;
    return kill_many(pid == -1 ? 0 : pid == 0 ? process_current()->pgid : -pid, (int)sig, &info);
}

static __attribute__((noinline)) long kill_other_thread(int tgid, int tid, int sig, const siginfo_t *info)
{
    struct thread *t = thread_find(tid);
    if (!t)
        return -ESRCH;
    long result = -ESRCH;
    if (!tgid || t->process->pid == tgid)
        result = send(t->process, t, sig, info, true);
    thread_unref(t);
    return result;
}

// tgid 0: any process (tkill).
static inline long kill_thread(int tgid, int tid, int sig, const siginfo_t *info)
{
    struct thread *t = thread_current();
    if (tid != t->tid)
        return kill_other_thread(tgid, tid, sig, info);
    if (tgid && t->process->pid != tgid)
        return -ESRCH;
    return sig ? signal_send_thread(t, sig, info) : 0; // raise(3): everybody may do that
}

NO_CANARY long sys_tgkill(uint64_t tgid, uint64_t tid, uint64_t sig)
{
    if ((int)tgid <= 0 || (int)tid <= 0 || !valid_signal(sig))
        return -EINVAL;
    siginfo_t info;
    info_of_sender(&info, (int)sig, SI_TKILL);
    return kill_thread((int)tgid, (int)tid, (int)sig, &info);
}

NO_CANARY long sys_tkill(uint64_t tid, uint64_t sig)
{
    if ((int)tid <= 0 || !valid_signal(sig))
        return -EINVAL;
    siginfo_t info;
    info_of_sender(&info, (int)sig, SI_TKILL);
    return kill_thread(0, (int)tid, (int)sig, &info);
}

// The sender's own siginfo: it must not look as if the kernel had sent it, except to oneself.
static long get_info(uint64_t uinfo, uint64_t sig, int target, siginfo_t *info)
{
    if (!valid_signal(sig))
        return -EINVAL;
    if (copy_in_obj(info, uinfo) < 0)
        return -EFAULT;
    info->si_signo = (int)sig;
    if ((info->si_code >= 0 || info->si_code == SI_TKILL) && target != process_current()->pid)
        return -EPERM;
    return 0;
}

long sys_rt_sigqueueinfo(uint64_t pid, uint64_t sig, uint64_t uinfo)
{
    siginfo_t info;
    long err = get_info(uinfo, sig, (int)pid, &info);
    return err ? err : kill_one((int)pid, (int)sig, &info);
}

long sys_rt_tgsigqueueinfo(uint64_t tgid, uint64_t tid, uint64_t sig, uint64_t uinfo)
{
    siginfo_t info;
    if ((int)tgid <= 0 || (int)tid <= 0)
        return -EINVAL;
    long err = get_info(uinfo, sig, (int)tgid, &info);
    return err ? err : kill_thread((int)tgid, (int)tid, (int)sig, &info);
}

long sys_pidfd_send_signal(uint64_t fd, uint64_t sig, uint64_t uinfo, uint64_t flags)
{
    if ((uint32_t)flags)
        return -EINVAL;
    struct file *f = fd_get((int)fd);
    struct process *p = f ? pidfd_process(f) : NULL;
    if (p)
        process_ref(p);
    else if (f) // a directory /proc/PID does as well
        p = procfs_process(f);
    siginfo_t info;
    info_of_sender(&info, (int)sig, SI_USER);
    long err = !p ? -EBADF : IS_ERR(p) ? PTR_ERR(p) : 0;
    if (!err && uinfo) {
        int named; // must be the same: si_signo
        err = copy_in_obj(&named, uinfo) < 0 ? -EFAULT : named != (int)sig ? -EINVAL : get_info(uinfo, sig, p->pid, &info);
    }
    if (!err && !valid_signal(sig))
        err = -EINVAL;
    if (!err)
        err = pidfd_reaped(p) ? -ESRCH : send(p, NULL, (int)sig, &info, true);
    if (p && !IS_ERR(p))
        process_unref(p);
    if (f)
        file_unref(f);
    return err;
}
