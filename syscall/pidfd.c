// pidfd_open(2), pidfd_getfd(2). pidfd_send_signal(2) is in signal.c, CLONE_PIDFD in clone.c, waitid(P_PIDFD) in process.c.
#include "fs/poll.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"

long sys_pidfd_open(uint64_t upid, uint64_t flags) {
    int pid = (int)upid;
    if (((uint32_t)flags & ~(uint32_t)O_NONBLOCK) || pid <= 0)
        return -EINVAL;
    struct process *p = process_find(pid);
    if (!p) {
        struct thread *t = thread_find(pid);
        if (!t)
            return -ESRCH;
        thread_unref(t);
        return -EINVAL; // a thread that is not its process's first
    }
    struct file *f = pidfd_create(p, (unsigned)flags);
    process_unref(p);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, O_CLOEXEC);
}

long sys_pidfd_getfd(uint64_t pidfd, uint64_t fd, uint64_t flags) {
    if ((uint32_t)flags)
        return -EINVAL;
    struct file *f = fd_get((int)pidfd);
    struct process *p = f ? pidfd_process(f) : NULL;
    struct file *got = p ? pidfd_get_file(p, (int)fd) : ERR_PTR(-EBADF);
    if (f)
        file_unref(f);
    return IS_ERR(got) ? PTR_ERR(got) : fd_install(got, O_CLOEXEC);
}
