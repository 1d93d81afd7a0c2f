// Waiting for children: wait4(2), waitid(2).
#include "fs/poll.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/wait.h>

static int usage_out(uaddr_t to, const struct wait_result *r)
{
    struct rusage u = {0};
    struct timeval64 user = nsec_to_timeval(r->user_ns), system = nsec_to_timeval(r->system_ns);
    u.ru_utime.tv_sec = user.tv_sec, u.ru_utime.tv_usec = user.tv_usec;
    u.ru_stime.tv_sec = system.tv_sec, u.ru_stime.tv_usec = system.tv_usec;
    u.ru_maxrss = (long)(r->peak_resident * (PAGE_SIZE / 1024));
    u.ru_minflt = (long)r->minor_faults, u.ru_majflt = (long)r->major_faults;
    u.ru_nvcsw = (long)r->voluntary_switches, u.ru_nivcsw = (long)r->involuntary_switches;
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

// The query for waitid's first arguments; *pidfd is the file then, to be released. 0 or -errno.
static int waitid_query(int kind, int id, struct wait_query *q, struct file **pidfd)
{
    *q = (struct wait_query){.kind = kind, .id = id};
    switch (kind) {
    case P_ALL:
        return 0;
    case P_PID:
        return id <= 0 ? -EINVAL : 0;
    case P_PGID:
        if (id == 0)
            q->id = process_current()->pgid;
        return id < 0 ? -EINVAL : 0;
    case P_PIDFD:
        *pidfd = id < 0 ? NULL : fd_get(id);
        struct process *p = *pidfd ? pidfd_process(*pidfd) : NULL;
        if (!p)
            return id < 0 ? -EINVAL : -EBADF;
        q->kind = P_PID;
        q->id = p->pid; // nobody else's while the file is there
        return 0;
    default:
        return -EINVAL;
    }
}

static long waitid(int kind, int id, uint32_t options, struct wait_result *r)
{
    struct wait_query q;
    struct file *pidfd = NULL;
    if (options & ~(uint32_t)(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
        return -EINVAL;
    if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    long result = waitid_query(kind, id, &q, &pidfd);
    bool busy = pidfd && (pidfd->flags & O_NONBLOCK) && !(options & WNOHANG);
    q.options = (int)(busy ? options | WNOHANG : options);
    if (!result)
        result = process_wait(&q, r);
    if (!result && busy)
        result = -EAGAIN;
    if (pidfd)
        file_unref(pidfd);
    return result;
}

long sys_waitid(uint64_t kind, uint64_t id, uint64_t uinfo, uint64_t options, uint64_t uusage)
{
    struct wait_result r = {0};
    long result = waitid((int)kind, (int)id, (uint32_t)options, &r);
    if (result > 0 && uusage && usage_out(uusage, &r) < 0)
        return -EFAULT;
    if (!uinfo)
        return MIN(result, 0);
    // Also after an error these members are written, and no others.
    siginfo_t info = {0};
    if (result > 0) {
        info.si_signo = SIGCHLD;
        info.si_code = r.code;
        info.si_pid = r.pid;
        info.si_uid = r.uid;
        info.si_status = r.code == CLD_EXITED || r.code == CLD_STOPPED ? (int)(r.status >> 8)
                         : r.code == CLD_CONTINUED                     ? SIGCONT
                                                                       : (int)(r.status & 0x7f);
    }
    const size_t head = offsetof(siginfo_t, si_code) + sizeof info.si_code, body = offsetof(siginfo_t, si_pid);
    if (copy_out(uinfo, &info, head) < 0 ||
        copy_out(uinfo + body, &info.si_pid, offsetof(siginfo_t, si_status) + sizeof info.si_status - body) < 0)
        return -EFAULT;
    return MIN(result, 0);
}
