// Descriptors: dup, fcntl, flock, ioctl.
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include <asm/ioctls.h>
#include <linux/fs.h>

#define LOCK_SH 1
#define LOCK_EX 2
#define LOCK_NB 4
#define LOCK_UN 8
_Static_assert(sizeof(struct flock) == 32, "ABI");

// --- dup ---

long sys_dup(uint64_t fd) {
    struct file *f = fd_get_path(fd);
    return f ? fd_install(f, 0) : -EBADF;
}

long sys_dup3(uint64_t fd, uint64_t new_fd, uint64_t flags) {
    if ((flags & ~(uint64_t)O_CLOEXEC) || (int)fd == (int)new_fd)
        return -EINVAL;
    struct file *f = fd_get_path(fd);
    return f ? fd_install_at(f, new_fd, flags) : -EBADF;
}

long sys_dup2(uint64_t fd, uint64_t new_fd) {
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    if ((int)fd == (int)new_fd) {
        file_unref(f);
        return (int)fd;
    }
    return fd_install_at(f, new_fd, 0);
}

// --- Record locks ---

static int64_t lock_base(struct file *f, int whence) {
    switch (whence) {
    case SEEK_SET: return 0;
    case SEEK_CUR: return f->position;
    case SEEK_END: return f->inode->size;
    }
    return -EINVAL;
}

// The range as first and last byte.
static long lock_range(struct file *f, const struct flock *l, uint64_t *start, uint64_t *end) {
    int64_t base = lock_base(f, l->l_whence), from;
    if (base < 0)
        return base;
    if (__builtin_add_overflow(base, l->l_start, &from))
        return -EOVERFLOW;
    int64_t len = l->l_len;
    if (len < 0) {
        if (__builtin_add_overflow(from, len, &from))
            return -EINVAL;
        len = -len;
    }
    if (from < 0)
        return -EINVAL;
    *start = from;
    if (len == 0)
        *end = INT64_MAX;
    else if (__builtin_add_overflow(from, len - 1, (int64_t *)end))
        return -EOVERFLOW;
    return 0;
}

// Somebody may have closed the descriptor meanwhile, which took the process's locks: then the new one must not stay behind.
static long set_process_lock(struct file *f, int fd, const struct flock *l, uint64_t start, uint64_t end, bool wait) {
    struct file_table *files = process_current()->files;
    long err = lock_set(f, files, false, l->l_type, start, end, wait);
    if (err < 0 || l->l_type == F_UNLCK)
        return err;
    struct file *now = fd_get_path(fd);
    if (now != f) {
        lock_release_owner(f->inode, files, false);
        err = -EBADF;
    }
    if (now)
        file_unref(now);
    return err;
}

static long record_lock(struct file *f, int fd, unsigned cmd, uaddr_t addr) {
    bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
    bool get = cmd == F_GETLK || cmd == F_OFD_GETLK, wait = cmd == F_SETLKW || cmd == F_OFD_SETLKW;
    void *owner = ofd ? (void *)f : process_current()->files;
    struct flock l;
    uint64_t start, end;
    long err = copy_in_obj(&l, addr);
    if (err < 0)
        return err;
    if ((l.l_type != F_RDLCK && l.l_type != F_WRLCK && (get || l.l_type != F_UNLCK)) || (ofd && l.l_pid))
        return -EINVAL;
    err = lock_range(f, &l, &start, &end);
    if (err < 0)
        return err;
    if (!get) {
        if ((l.l_type == F_RDLCK && !f->readable) || (l.l_type == F_WRLCK && !f->writable))
            return -EBADF;
        if (!ofd)
            return set_process_lock(f, fd, &l, start, end, wait);
        f->has_lock = true;
        return lock_set(f, owner, false, l.l_type, start, end, wait);
    }
    struct file_lock found;
    if (lock_test(f, owner, l.l_type, start, end, &found)) {
        l.l_type = found.exclusive ? F_WRLCK : F_RDLCK;
        l.l_whence = SEEK_SET;
        l.l_start = found.start;
        l.l_len = found.end == INT64_MAX ? 0 : found.end - found.start + 1;
        l.l_pid = found.pid;
    } else {
        l.l_type = F_UNLCK;
    }
    return copy_out_obj(addr, &l);
}

long sys_flock(uint64_t fd, uint64_t op) {
    int kind = (int)op & ~LOCK_NB;
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    f->has_lock = true;
    int type = kind == LOCK_SH ? F_RDLCK : kind == LOCK_EX ? F_WRLCK : F_UNLCK;
    long err = lock_set(f, f, true, type, 0, INT64_MAX, !(op & LOCK_NB));
    file_unref(f);
    return err;
}

// --- fcntl ---

#define SETTABLE_FLAGS (O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME)

static long set_flags(struct file *f, unsigned flags) {
    if ((flags & O_NOATIME) && !(f->flags & O_NOATIME) && !vfs_owns(f->inode))
        return -EPERM;
    if ((flags & O_DIRECT) && !f->ops->direct && !S_ISFIFO(f->inode->mode)) // of pipes: packets
        return -EINVAL;
    uint32_t old = READ_ONCE(f->flags);
    while (!__atomic_compare_exchange_n(&f->flags, &old, (old & ~SETTABLE_FLAGS) | (flags & SETTABLE_FLAGS), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    return 0;
}

// --- Whom to signal (O_ASYNC) ---

static long set_owner_ex(struct file *f, uaddr_t addr) {
    struct f_owner_ex o;
    if (copy_in_obj(&o, addr) < 0)
        return -EFAULT;
    return o.type < F_OWNER_TID || o.type > F_OWNER_PGRP || o.pid < 0 ? -EINVAL : file_set_owner(f, o.type, o.pid);
}

static long get_owner_ex(struct file *f, uaddr_t addr) {
    struct f_owner_ex o = {.type = f->owner_is_thread      ? F_OWNER_TID
                                   : f->signal_owner < 0 ? F_OWNER_PGRP
                                                         : F_OWNER_PID,
                           .pid = f->signal_owner < 0 ? -f->signal_owner : f->signal_owner};
    return copy_out_obj(addr, &o);
}

static long control(struct file *f, int fd, unsigned cmd, uint64_t arg) {
    switch (cmd) {
    case F_DUPFD: return fd_dup(f, (int)arg, 0);
    case F_DUPFD_CLOEXEC: return fd_dup(f, (int)arg, O_CLOEXEC);
    case F_GETFD: return fd_get_flags(fd);
    case F_SETFD: return fd_set_flags(fd, arg);
    case F_GETFL: return f->flags;
    }
    if (f->path_only)
        return -EBADF;
    switch (cmd) {
    case F_SETFL: return set_flags(f, arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return record_lock(f, fd, cmd, arg);
    case F_SETOWN: return file_set_owner_number(f, arg);
    case F_SETOWN_EX: return set_owner_ex(f, arg);
    case F_GETOWN_EX: return get_owner_ex(f, arg);
    case F_GETOWN: return f->signal_owner;
    case F_SETPIPE_SZ: return pipe_set_size(f, arg);
    case F_GETPIPE_SZ: return pipe_get_size(f);
    case F_ADD_SEALS: return file_add_seals(f, arg);
    case F_GET_SEALS: return file_get_seals(f);
    }
    return -EINVAL;
}

long sys_fcntl(uint64_t fd, uint64_t cmd, uint64_t arg) {
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    long result = control(f, fd, cmd, arg);
    file_unref(f);
    return result;
}

// --- ioctl ---

static long set_flag(struct file *f, uaddr_t arg, unsigned flag) {
    int on;
    long err = copy_in_obj(&on, arg);
    if (err == 0) {
        if (on)
            atomic_or(&f->flags, flag);
        else
            atomic_and(&f->flags, ~flag);
    }
    return err;
}

static long io_control(struct file *f, int fd, unsigned cmd, uint64_t arg) {
    switch (cmd) {
    case FIOCLEX: return fd_set_flags(fd, FD_CLOEXEC);
    case FIONCLEX: return fd_set_flags(fd, 0);
    case FIONBIO: return set_flag(f, arg, O_NONBLOCK);
    case FIOASYNC: return set_flag(f, arg, FASYNC);
    case FIONREAD:
        if (S_ISREG(f->inode->mode)) {
            int left = (int)MIN(MAX((int64_t)(f->inode->size - f->position), 0l), (int64_t)INT32_MAX);
            return copy_out_obj(arg, &left);
        }
        break;
    }
    return f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOTTY;
}

long sys_ioctl(uint64_t fd, uint64_t cmd, uint64_t arg) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long result = io_control(f, fd, cmd, arg);
    file_unref(f);
    return result;
}
