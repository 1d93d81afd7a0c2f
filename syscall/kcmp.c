// kcmp(2): do two processes share something?
#include "fs/procfs.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"
#include <linux/kcmp.h>

static struct file *file_of(struct process *p, int fd) {
    struct file_table *t = process_files_get(p);
    struct file *f = NULL;
    if (t && fd >= 0 && fd_next(t, fd, &f) != fd && f) {
        file_unref(f);
        f = NULL;
    }
    if (t)
        file_table_unref(t);
    return f;
}

// Only equality means anything; the order is that of the addresses, which stays the same while both live.
static long order(const void *a, const void *b) { return a == b ? 0 : a < b ? 1 : 2; }

static long compare_files(struct process *a, struct process *b, int fd_a, int fd_b) {
    struct file *x = file_of(a, fd_a), *y = file_of(b, fd_b);
    long result = x && y ? order(x, y) : -EBADF;
    if (x)
        file_unref(x);
    if (y)
        file_unref(y);
    return result;
}

static long compare(struct process *a, struct process *b, int type, uint64_t i, uint64_t j) {
    switch (type) {
    case KCMP_FILE: return compare_files(a, b, (int)i, (int)j);
    case KCMP_VM: return order(a->aspace, b->aspace);
    case KCMP_FILES: return order(a->files, b->files);
    case KCMP_FS: return order(a->fs, b->fs);
    case KCMP_SIGHAND: return order(a->handlers, b->handlers);
    case KCMP_IO: return 0; // nobody has a context of its own
    case KCMP_SYSVSEM: return order(a->sem_undo, b->sem_undo);
    case KCMP_EPOLL_TFD: return -EOPNOTSUPP;
    default: return -EINVAL;
    }
}

long sys_kcmp(uint64_t pid1, uint64_t pid2, uint64_t type, uint64_t i, uint64_t j) {
    struct thread *a = thread_find((int)pid1), *b = thread_find((int)pid2);
    long result = -ESRCH;
    if (a && b) {
        result = -EPERM;
        if (process_may_trace(a->process, true) && process_may_trace(b->process, true))
            result = compare(a->process, b->process, (int)type, i, j);
    }
    if (a)
        thread_unref(a);
    if (b)
        thread_unref(b);
    return result;
}
