// Processes and threads as seen from inside: numbers, groups, ends, waiting, limits, personal settings.
#include "fs/poll.h"
#include "kernel/process/process.h"
#include "kernel/process/posix_timer.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <asm/prctl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/securebits.h>
#include <linux/wait.h>

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
    struct process *p = process_find(pid);
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
    if (p != self && p->did_exec)
        return -EACCES;
    if (p->sid == p->pid || p->sid != self->sid)
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
    struct process *p = process_find(pid);
    if (!p)
        return -ESRCH;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    long result = set_group(p, pgid);
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
        if (p->pgid == self->pid && !p->zombie)
            result = -EPERM;
    if (result > 0) {
        self->sid = self->pgid = self->pid;
        self->tty = NULL;
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    return result;
}

// --- The end, and waiting for it ---

long sys_exit(uint64_t code)
{
    thread_exit((int)code);
}

long sys_exit_group(uint64_t code)
{
    process_exit((uint32_t)(code & 0xff) << 8);
}

static int usage_out(uaddr_t to, const struct wait_result *r)
{
    struct rusage u = {0};
    struct timeval64 user = nsec_to_timeval(r->user_ns), system = nsec_to_timeval(r->system_ns);
    u.ru_utime.tv_sec = user.tv_sec, u.ru_utime.tv_usec = user.tv_usec;
    u.ru_stime.tv_sec = system.tv_sec, u.ru_stime.tv_usec = system.tv_usec;
    u.ru_maxrss = (long)(r->peak_resident * (PAGE_SIZE / 1024));
    return copy_out_obj(to, &u);
}

long sys_wait4(uint64_t upid, uint64_t ustatus, uint64_t options, uint64_t uusage)
{
    int pid = (int)upid;
    if ((uint32_t)options & ~(uint32_t)(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    struct wait_query q = {.options = (int)options | WEXITED};
    q.kind = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
    q.id = pid > 0 ? pid : pid == 0 ? process_current()->pgid : -pid;
    struct wait_result r = {0};
    long result = process_wait(&q, &r);
    if (result <= 0)
        return result;
    int status = (int)r.status;
    if (ustatus && copy_out_obj(ustatus, &status) < 0)
        return -EFAULT;
    if (uusage && usage_out(uusage, &r) < 0)
        return -EFAULT;
    return result;
}

long sys_waitid(uint64_t kind, uint64_t id, uint64_t uinfo, uint64_t options, uint64_t uusage)
{
    uint32_t o = (uint32_t)options;
    if (o & ~(uint32_t)(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
        return -EINVAL;
    if (!(o & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    struct wait_query q = {.kind = (int)kind, .id = (int)id, .options = (int)o};
    struct file *pidfd = NULL;
    bool busy = false; // a pidfd with O_NONBLOCK
    switch ((int)kind) {
    case P_ALL:
        break;
    case P_PID:
        if (q.id <= 0)
            return -EINVAL;
        break;
    case P_PGID:
        if (q.id < 0)
            return -EINVAL;
        if (q.id == 0)
            q.id = process_current()->pgid;
        break;
    case P_PIDFD:
        pidfd = q.id < 0 ? NULL : fd_get(q.id);
        struct process *p = pidfd ? pidfd_process(pidfd) : NULL;
        if (!p) {
            if (pidfd)
                file_unref(pidfd);
            return q.id < 0 ? -EINVAL : -EBADF;
        }
        q.kind = P_PID;
        q.id = p->pid; // nobody else's while the file is there
        busy = (pidfd->flags & O_NONBLOCK) && !(o & WNOHANG);
        if (busy)
            q.options |= WNOHANG;
        break;
    default:
        return -EINVAL;
    }
    struct wait_result r = {0};
    long result = process_wait(&q, &r);
    if (pidfd)
        file_unref(pidfd);
    if (result == 0 && busy)
        return -EAGAIN;
    if (result < 0)
        return result;
    if (result > 0 && uusage && usage_out(uusage, &r) < 0)
        return -EFAULT;
    if (!uinfo)
        return 0;
    siginfo_t info = {0};
    if (result > 0) {
        info.si_signo = SIGCHLD;
        info.si_code = r.code;
        info.si_pid = r.pid;
        info.si_uid = r.uid;
        info.si_status = r.code == CLD_EXITED ? (int)(r.status >> 8) : r.code == CLD_STOPPED ? (int)(r.status >> 8)
                         : r.code == CLD_CONTINUED ? SIGCONT : (int)(r.status & 0x7f);
    }
    return copy_out_obj(uinfo, &info);
}

// --- Limits ---

static long set_limit(struct process *p, unsigned resource, const struct rlimit *new)
{
    struct rlimit *old = &p->limits[resource];
    if (new->rlim_cur > new->rlim_max)
        return -EINVAL;
    if (new->rlim_max > old->rlim_max && !(process_current()->cred.cap_effective & (1UL << CAP_SYS_RESOURCE)))
        return -EPERM;
    if (resource == RLIMIT_NOFILE && new->rlim_max > 1 << 20)
        return -EPERM;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // a process that ends lets go of its address space under it
    *old = *new;
    if (p->aspace) {
        if (resource == RLIMIT_AS)
            p->aspace->limit_as = new->rlim_cur;
        else if (resource == RLIMIT_DATA)
            p->aspace->limit_data = new->rlim_cur;
        else if (resource == RLIMIT_STACK)
            p->aspace->limit_stack = new->rlim_cur;
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (resource == RLIMIT_CPU)
        process_cpu_limit_changed(p);
    return 0;
}

long sys_prlimit64(uint64_t pid, uint64_t resource, uint64_t unew, uint64_t uold)
{
    struct rlimit in, old;
    long err = 0;
    if ((uint32_t)resource >= RLIM_NLIMITS)
        return -EINVAL;
    if (unew && copy_in_obj(&in, unew) < 0)
        return -EFAULT;
    struct process *p = process_find((int)pid ? (int)pid : process_current()->pid);
    if (!p)
        return -ESRCH;
    old = p->limits[(uint32_t)resource];
    const struct credentials *c = &process_current()->cred;
    if (p != process_current() && c->uid != p->cred.uid && !(c->cap_effective & (1UL << CAP_SYS_RESOURCE)))
        err = -EPERM;
    else if (unew)
        err = set_limit(p, (uint32_t)resource, &in);
    process_unref(p);
    return err || !uold ? err : copy_out_obj(uold, &old);
}

long sys_getrlimit(uint64_t resource, uint64_t out)
{
    return sys_prlimit64(0, resource, 0, out ? out : 1);
}

long sys_setrlimit(uint64_t resource, uint64_t in)
{
    return sys_prlimit64(0, resource, in ? in : 1, 0);
}

// --- prctl(2), arch_prctl(2), personality(2) ---

static long set_name(uint64_t name)
{
    char buf[16] = {0};
    size_t n = copy_in_partial(buf, name, sizeof buf - 1); // what comes behind is not looked at
    if (n < sizeof buf - 1 && strnlen(buf, n) == n)
        return -EFAULT;
    size_t len = strnlen(buf, n);
    memset(buf + len, 0, sizeof buf - len);
    memcpy(thread_current()->name, buf, sizeof buf);
    return 0;
}

static long read_capability_set(uint64_t set, uint64_t capability)
{
    return capability > CAP_LAST_CAP ? -EINVAL : (long)(set >> capability & 1);
}

static long ambient(struct credentials *c, uint64_t op, uint64_t capability)
{
    if (op == PR_CAP_AMBIENT_CLEAR_ALL) {
        c->cap_ambient = 0;
        return 0;
    }
    if (capability > CAP_LAST_CAP)
        return -EINVAL;
    uint64_t bit = 1UL << capability;
    switch (op) {
    case PR_CAP_AMBIENT_IS_SET:
        return (c->cap_ambient & bit) != 0;
    case PR_CAP_AMBIENT_LOWER:
        c->cap_ambient &= ~bit;
        return 0;
    case PR_CAP_AMBIENT_RAISE:
        if (!(c->cap_permitted & c->cap_inheritable & bit) || (c->securebits & SECBIT_NO_CAP_AMBIENT_RAISE))
            return -EPERM;
        c->cap_ambient |= bit;
        return 0;
    default:
        return -EINVAL;
    }
}

long sys_prctl(uint64_t option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    int value;
    switch ((int)option) {
    case PR_SET_NAME:
        return set_name(a);
    case PR_GET_NAME:
        return copy_out(a, t->name, sizeof t->name);
    case PR_SET_PDEATHSIG:
        if (a > SIGNAL_COUNT)
            return -EINVAL;
        t->parent_death_signal = (int)a;
        return 0;
    case PR_GET_PDEATHSIG:
        return copy_out_obj(a, &t->parent_death_signal);
    case PR_SET_DUMPABLE:
        if (a > 1)
            return -EINVAL;
        p->dumpable = a;
        return 0;
    case PR_GET_DUMPABLE:
        return p->dumpable;
    case PR_SET_NO_NEW_PRIVS:
        if (a != 1 || b || c || d)
            return -EINVAL;
        p->cred.no_new_privs = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS:
        return a || b || c || d ? -EINVAL : p->cred.no_new_privs;
    case PR_SET_KEEPCAPS:
        if (a > 1)
            return -EINVAL;
        p->cred.securebits = (p->cred.securebits & ~(uint32_t)SECBIT_KEEP_CAPS) | (a ? SECBIT_KEEP_CAPS : 0);
        return 0;
    case PR_GET_KEEPCAPS:
        return (p->cred.securebits & SECBIT_KEEP_CAPS) != 0;
    case PR_SET_SECUREBITS:
        if (!(p->cred.cap_effective & (1UL << CAP_SETPCAP)))
            return -EPERM;
        p->cred.securebits = (uint32_t)a;
        return 0;
    case PR_GET_SECUREBITS:
        return p->cred.securebits;
    case PR_CAPBSET_READ:
        return read_capability_set(p->cred.cap_bounding, a);
    case PR_CAPBSET_DROP:
        if (a > CAP_LAST_CAP)
            return -EINVAL;
        if (!(p->cred.cap_effective & (1UL << CAP_SETPCAP)))
            return -EPERM;
        p->cred.cap_bounding &= ~(1UL << a);
        return 0;
    case PR_CAP_AMBIENT:
        return d ? -EINVAL : ambient(&p->cred, a, b);
    case PR_GET_TIMING:
        return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
        return a == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
    case PR_GET_SECCOMP:
        return 0; // off
    case PR_GET_TSC:
        value = PR_TSC_ENABLE;
        return copy_out_obj(a, &value);
    case PR_GET_CHILD_SUBREAPER:
        value = 0;
        return copy_out_obj(a, &value);
    case PR_GET_TID_ADDRESS:
        return copy_out_obj(a, &t->clear_tid);
    default:
        return -EINVAL;
    }
}

long sys_arch_prctl(uint64_t option, uint64_t addr)
{
    uint64_t base;
    switch ((int)option) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
        if (addr >= USER_END)
            return -EPERM;
        if ((int)option == ARCH_SET_FS)
            arch_set_fs_base(addr);
        else
            arch_set_gs_base(addr);
        return 0;
    case ARCH_GET_FS:
        base = arch_get_fs_base();
        return copy_out_obj(addr, &base);
    case ARCH_GET_GS:
        base = arch_get_gs_base();
        return copy_out_obj(addr, &base);
    default:
        return -EINVAL;
    }
}

long sys_personality(uint64_t persona)
{
    if ((uint32_t)persona != 0xffffffff && persona != 0)
        return -EINVAL; // only Linux' own
    return 0;
}
