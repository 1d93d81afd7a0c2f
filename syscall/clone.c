// clone(2), clone3(2), fork(2), vfork(2): new threads and new processes.
#include "fs/file.h"
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/ipc/sem.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/reclaim.h"
#include "kernel/process/pid.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/sched.h> // CLONE_*, struct clone_args

struct clone_request {
    uint64_t flags; // CLONE_* without the signal
    int exit_signal;
    uaddr_t stack; // 0: as the parent's
    uaddr_t parent_tid, child_tid, tls, pidfd;
    int tid; // the number that it is to have; 0: any
};

#define NAMESPACES                                                                                                      \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME)

static int check(const struct clone_request *c)
{
    uint64_t f = c->flags;
    if ((f & CLONE_FS) && (f & (CLONE_NEWNS | CLONE_NEWUSER)))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && (!(f & CLONE_VM) || (f & CLONE_CLEAR_SIGHAND)))
        return -EINVAL;
    if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
        return -EINVAL;
    // Not offered: cgroups, and threads with files of their own.
    if (f & CLONE_INTO_CGROUP)
        return -EINVAL;
    if ((f & CLONE_PIDFD) && ((f & (CLONE_THREAD | CLONE_DETACHED)) ||
                              ((f & CLONE_PARENT_SETTID) && c->pidfd == c->parent_tid)))
        return -EINVAL;
    if ((f & CLONE_PARENT) && process_current() == init_process) // it has no parent
        return -EINVAL;
    if ((f & CLONE_THREAD) && (f & (CLONE_FILES | CLONE_FS)) != (CLONE_FILES | CLONE_FS))
        return -EINVAL;
    if (process_limit_reached(process_current(), 1))
        return -EAGAIN;
    if (f & NAMESPACES) // as for who must not make any, which root in a container mostly is, too
        return -EPERM;
    if ((f & CLONE_SETTLS) && c->tls >= USER_END) // it must be canonical
        return -EPERM;
    return 0;
}

// What a new thread has from the current one: the registers with another result, the FPU, the mask.
static void copy_thread(struct thread *t, const struct clone_request *c)
{
    struct thread *self = thread_current();
    *t->frame = *self->frame;
    t->frame->rax = 0;
    if (c->stack)
        t->frame->rsp = c->stack;
    t->context.fs_base = c->flags & CLONE_SETTLS ? c->tls : arch_get_fs_base();
    t->context.gs_base = arch_get_gs_base();
    context_copy_fpu(t, self);
    if (!(c->flags & CLONE_VM)) { // otherwise the area is the parent's
        t->rseq = self->rseq;
        t->rseq_signature = self->rseq_signature;
        t->rseq_cpu = self->rseq_cpu;
    }
    t->signal_mask = self->signal_mask;
    t->timer_slack = t->timer_slack_default = self->timer_slack;
    thread_inherit_policy(t, self);
    t->memory_policy = self->memory_policy;
    memcpy(t->name, self->name, sizeof t->name);
    if ((c->flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM) {
        t->alt_stack = self->alt_stack;
        t->alt_stack_size = self->alt_stack_size;
        t->alt_stack_flags = self->alt_stack_flags;
    }
    if (c->flags & CLONE_CHILD_CLEARTID)
        t->clear_tid = c->child_tid;
}

// The numbers that clone writes into memory. Linux, too, does not undo the clone when that fails.
static void store_tids(struct thread *t, const struct clone_request *c)
{
    int tid = t->tid;
    if ((c->flags & CLONE_PARENT_SETTID) && copy_out_obj(c->parent_tid, &tid) < 0)
        return;
    if (!(c->flags & CLONE_CHILD_SETTID))
        return;
    if (c->flags & CLONE_VM) {
        if (copy_out_obj(c->child_tid, &tid) < 0)
            return;
    } else {
        aspace_access(t->process->aspace, c->child_tid, &tid, sizeof tid, true, false);
    }
}

static long clone_thread(const struct clone_request *c)
{
    struct thread *t = thread_create_user(process_current());
    if (!t)
        return -EAGAIN;
    if (c->tid) {
        int tid = pid_take(c->tid);
        if (tid < 0) {
            thread_unref(t);
            return tid;
        }
        pid_free(t->tid);
        t->tid = tid;
    }
    long tid = t->tid;
    copy_thread(t, c);
    store_tids(t, c);
    thread_start(t);
    return tid;
}

// Shared or copied.
static void inherit_handlers(struct process *child, const struct clone_request *c)
{
    struct process *p = process_current();
    if (c->flags & CLONE_SIGHAND) {
        signal_handlers_unref(child->handlers);
        atomic_add(&p->handlers->refs, 1);
        child->handlers = p->handlers;
        return;
    }
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    memcpy(child->handlers->action, p->handlers->action, sizeof p->handlers->action);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (c->flags & CLONE_CLEAR_SIGHAND)
        signal_reset_handlers_of(child->handlers);
}

// Address space, files, working directory: shared or copied. The child is discarded by the caller on failure.
static int fill_process(struct process *child, const struct clone_request *c)
{
    struct process *p = process_current();
    if (c->flags & CLONE_VM) {
        aspace_ref(p->aspace);
        child->aspace = p->aspace;
    } else {
        struct aspace *as = aspace_fork(p->aspace);
        if (IS_ERR(as))
            return (int)PTR_ERR(as);
        as->no_huge = p->aspace->no_huge;
        child->aspace = as;
    }
    if (c->flags & CLONE_FILES)
        atomic_add(&p->files->refs, 1);
    child->files = c->flags & CLONE_FILES ? p->files : file_table_copy(p->files);
    if (c->flags & CLONE_FS)
        atomic_add(&p->fs->refs, 1);
    child->fs = c->flags & CLONE_FS ? p->fs : fs_context_copy(p->fs);
    if (!child->files || !child->fs)
        return -ENOMEM;
    if ((c->flags & CLONE_SYSVSEM) && sem_undo_share(child) < 0)
        return -ENOMEM;
    return 0;
}

// CLONE_PIDFD: a descriptor of the child, for the parent alone. It, or -errno.
static long install_pidfd(struct process *child, const struct clone_request *c)
{
    struct file *f = pidfd_create(child, 0);
    if (IS_ERR(f))
        return PTR_ERR(f);
    long fd = fd_install(f, O_CLOEXEC);
    int out = (int)fd;
    if (fd >= 0 && copy_out_obj(c->pidfd, &out) < 0) {
        fd_close((int)fd);
        return -EFAULT;
    }
    return fd;
}

static long clone_process(const struct clone_request *c)
{
    struct process *parent = process_current(), *child = process_create_as(c->tid);
    if (IS_ERR(child))
        return PTR_ERR(child);
    inherit_handlers(child, c);
    int err = process_inherit(child, parent), pidfd = -1;
    if (!err)
        err = fill_process(child, c);
    if (!err && (c->flags & CLONE_PIDFD)) {
        long fd = install_pidfd(child, c);
        err = fd < 0 ? (int)fd : 0;
        pidfd = (int)fd;
    }
    struct thread *t = err ? NULL : thread_create_user(child);
    if (!t) {
        if (!err && (c->flags & CLONE_PIDFD))
            fd_close(pidfd);
        if (child->sem_undo)
            sem_undo_end(child);
        process_discard(child);
        return err ? err : -EAGAIN;
    }
    copy_thread(t, c);
    child->exit_signal = c->exit_signal;
    child->vfork_parent = c->flags & CLONE_VFORK ? parent : NULL;
    process_adopt(child, parent, c->flags & CLONE_PARENT);
    store_tids(t, c);
    long pid = child->pid;
    process_ref(child); // it may have ended, and been waited for, before this is over
    thread_start(t);
    if (c->flags & CLONE_VFORK)
        process_vfork_wait(child);
    process_unref(child);
    return pid;
}

static long do_clone(const struct clone_request *c)
{
    int err = check(c);
    if (err)
        return err;
    for (unsigned tries = 0;;) { // what failed is undone: with more memory it may work
        long r = c->flags & CLONE_THREAD ? clone_thread(c) : clone_process(c);
        if (likely(r != -ENOMEM && r != -EAGAIN) || (r == -EAGAIN && !reclaim_is_short()) || !reclaim_again(&tries))
            return r;
    }
}

long sys_clone(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid, uint64_t tls)
{
    struct clone_request c = {.flags = (uint32_t)flags & ~CSIGNAL, .exit_signal = flags & CSIGNAL, .stack = stack,
                              .parent_tid = parent_tid, .child_tid = child_tid, .tls = tls, .pidfd = parent_tid};
    return do_clone(&c); // any number may be the signal: of those that are none nothing comes
}

long sys_fork(void)
{
    return do_clone(&(struct clone_request){.exit_signal = SIGCHLD});
}

long sys_vfork(void)
{
    return do_clone(&(struct clone_request){.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD});
}

long sys_clone3(uint64_t uargs, uint64_t size)
{
    struct clone_args a = {0};
    uint8_t rest[64];
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (copy_in(&a, uargs, MIN(size, sizeof a)) < 0)
        return -EFAULT;
    for (size_t done = sizeof a; done < size;) { // what we do not know must not be asked for
        size_t n = MIN(size - done, sizeof rest);
        if (copy_in(rest, uargs + done, n) < 0)
            return -EFAULT;
        for (size_t i = 0; i < n; i++)
            if (rest[i])
                return -E2BIG;
        done += n;
    }
    if ((a.flags & ~(CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP | 0xffffffffUL)) || (a.flags & (CLONE_DETACHED | (CSIGNAL & ~CLONE_NEWTIME))))
        return -EINVAL;
    if (a.exit_signal > SIGNAL_COUNT || ((a.flags & (CLONE_THREAD | CLONE_PARENT)) && a.exit_signal))
        return -EINVAL;
    if (!a.stack != !a.stack_size || a.stack > USER_END || a.stack_size > USER_END - a.stack)
        return -EINVAL;
    int tid = 0;
    if (!a.set_tid != !a.set_tid_size || a.set_tid_size > 32)
        return -EINVAL;
    if (a.set_tid && copy_in_obj(&tid, a.set_tid) < 0)
        return -EFAULT;
    if (a.set_tid && (a.set_tid_size > 1 || tid < 1 || tid >= PID_MAX)) // one number for each level of PID namespaces
        return -EINVAL;
    if (a.set_tid && !capable(CAP_SYS_ADMIN) && !capable(CAP_CHECKPOINT_RESTORE))
        return -EPERM;
    struct clone_request c = {.flags = a.flags, .exit_signal = (int)a.exit_signal, .stack = a.stack ? a.stack + a.stack_size : 0,
                              .parent_tid = a.parent_tid, .child_tid = a.child_tid, .tls = a.tls, .pidfd = a.pidfd, .tid = tid};
    return do_clone(&c);
}

// What other processes share with this one becomes its own. What threads share stays shared: all have one table of files, one
// working directory, one address space.
long sys_unshare(uint64_t flags)
{
    struct process *p = process_current();
    const uint64_t known = NAMESPACES | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    bool threads = READ_ONCE(p->thread_count) > 1;
    if (flags & ~known)
        return -EINVAL;
    if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_NEWUSER | CLONE_NEWPID)) && threads)
        return -EINVAL;
    if ((flags & (CLONE_SIGHAND | CLONE_VM)) && READ_ONCE(p->handlers->refs) > 1)
        return -EINVAL;
    if ((flags & CLONE_VM) && READ_ONCE(p->aspace->refs) > 1)
        return -EINVAL;
    if (flags & NAMESPACES)
        return -EPERM;
    long err = 0;
    if (flags & CLONE_FS)
        err = fs_context_unshare();
    if (!err && (flags & CLONE_FILES))
        err = fd_unshare();
    if (!err && (flags & CLONE_SYSVSEM) && p->sem_undo && !threads)
        sem_undo_end(p);
    return err;
}
