// Attributes of files: access, chmod, chown, times, size, fallocate.
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "fs/inotify.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/falloc.h>
#include <linux/mount.h>
#include <linux/time_types.h>
#include <linux/utime.h>

#define UTIME_NOW_ ((1L << 30) - 1)
#define UTIME_OMIT_ ((1L << 30) - 2)

static unsigned lookup_flags(uint64_t flags) {
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
}

// The inode that a descriptor stands for (not O_PATH), pinned.
static long inode_of_fd(int fd, struct inode **out, uint32_t *mount) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    *out = inode_pin(f->inode);
    *mount = path_mount_flags(&f->path);
    file_unref(f);
    return 0;
}

// --- access ---

long sys_faccessat2(uint64_t at, uint64_t name, uint64_t mode, uint64_t flags) {
    struct inode *inode;
    uint32_t mount;
    if ((mode & ~7UL) || (flags & ~(uint64_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
        return -EINVAL;
    struct credentials real;
    bool borrowed = !(flags & AT_EACCESS) && credentials_use_real(&real);
    long err = user_inode_lookup(at, name, lookup_flags(flags), &inode, &mount);
    if (err == 0) {
        if ((mode & 1) && S_ISREG(inode->mode) && (mount & MS_NOEXEC))
            err = -EACCES;
        else if (mode)
            err = vfs_permission(inode, mode);
        if (err == 0 && (mode & 2) && (mount & MS_RDONLY) && !S_ISCHR(inode->mode) && !S_ISBLK(inode->mode) &&
            !S_ISFIFO(inode->mode) && !S_ISSOCK(inode->mode))
            err = -EROFS;
        inode_unpin(inode);
    }
    if (borrowed)
        credentials_use_own();
    return err;
}

long sys_faccessat(uint64_t at, uint64_t name, uint64_t mode) { return sys_faccessat2(at, name, mode, 0); }

long sys_access(uint64_t name, uint64_t mode) { return sys_faccessat2(AT_FDCWD, name, mode, 0); }

// --- chmod, chown ---

static long change(struct inode *inode, uint32_t mount, long (*fn)(struct inode *, uint64_t, uint64_t), uint64_t a,
                   uint64_t b) {
    long err = mount & MS_RDONLY ? -EROFS : fn(inode, a, b);
    inode_unpin(inode);
    return err;
}

static long do_chmod(struct inode *inode, uint64_t mode, uint64_t unused) { return vfs_chmod(inode, mode); }

static long do_chown(struct inode *inode, uint64_t uid, uint64_t gid) { return vfs_chown(inode, uid, gid); }

static long change_named(int at, uaddr_t name, uint64_t flags, long (*fn)(struct inode *, uint64_t, uint64_t),
                         uint64_t a, uint64_t b) {
    struct inode *inode;
    uint32_t mount;
    if (flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    long err = user_inode_lookup(at, name, lookup_flags(flags), &inode, &mount);
    return err < 0 ? err : change(inode, mount, fn, a, b);
}

static long change_open(int fd, long (*fn)(struct inode *, uint64_t, uint64_t), uint64_t a, uint64_t b) {
    struct inode *inode;
    uint32_t mount;
    long err = inode_of_fd(fd, &inode, &mount);
    return err < 0 ? err : change(inode, mount, fn, a, b);
}

long sys_chmod(uint64_t name, uint64_t mode) { return change_named(AT_FDCWD, name, 0, do_chmod, mode, 0); }

long sys_fchmodat(uint64_t at, uint64_t name, uint64_t mode) { return change_named(at, name, 0, do_chmod, mode, 0); }

long sys_fchmodat2(uint64_t at, uint64_t name, uint64_t mode, uint64_t flags) {
    return change_named(at, name, flags, do_chmod, mode, 0);
}

long sys_fchmod(uint64_t fd, uint64_t mode) { return change_open(fd, do_chmod, mode, 0); }

long sys_chown(uint64_t name, uint64_t uid, uint64_t gid) {
    return change_named(AT_FDCWD, name, 0, do_chown, uid, gid);
}

long sys_lchown(uint64_t name, uint64_t uid, uint64_t gid) {
    return change_named(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, do_chown, uid, gid);
}

long sys_fchownat(uint64_t at, uint64_t name, uint64_t uid, uint64_t gid, uint64_t flags) {
    return change_named(at, name, flags, do_chown, uid, gid);
}

long sys_fchown(uint64_t fd, uint64_t uid, uint64_t gid) { return change_open(fd, do_chown, uid, gid); }

// --- Times ---

struct times {
    nsec_t atime, mtime; // NSEC_MAX: unchanged
    bool now;            // both are now
};

static long convert(const struct __kernel_timespec *ts, nsec_t now, nsec_t *out) {
    if (ts->tv_nsec == UTIME_NOW_)
        *out = now;
    else if (ts->tv_nsec == UTIME_OMIT_)
        *out = NSEC_MAX;
    else if (ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC)
        return -EINVAL;
    else if (ts->tv_sec > INT64_MAX / NSEC_PER_SEC - 1 || ts->tv_sec < -INT64_MAX / NSEC_PER_SEC)
        *out = ts->tv_sec > 0 ? NSEC_MAX - 1 : -NSEC_MAX; // the end of what a file system keeps
    else
        *out = ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
    return 0;
}

static long set_times(struct inode *inode, uint32_t mount, const struct times *t) {
    long err;
    if (t->atime == NSEC_MAX && t->mtime == NSEC_MAX)
        err = 0;
    else if (mount & MS_RDONLY)
        err = -EROFS;
    else
        err = t->now ? vfs_touch(inode) : vfs_set_times(inode, t->atime, t->mtime);
    inode_unpin(inode);
    return err;
}

static long set_times_named(int at, uaddr_t name, uint64_t flags, const struct times *t) {
    struct inode *inode;
    uint32_t mount;
    // Without a name the descriptor itself is meant, as futimens(3) does it.
    long err = name || at == AT_FDCWD ? user_inode_lookup(at, name, lookup_flags(flags), &inode, &mount)
                                      : inode_of_fd(at, &inode, &mount);
    return err < 0 ? err : set_times(inode, mount, t);
}

long sys_utimensat(uint64_t at, uint64_t name, uint64_t times_addr, uint64_t flags) {
    struct times t = {.now = true};
    if (flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (!name && ((int)at == AT_FDCWD || flags))
        return (int)at == AT_FDCWD ? -EFAULT : -EINVAL;
    if (times_addr) {
        struct __kernel_timespec ts[2];
        nsec_t now = time_realtime();
        long err = copy_in(ts, times_addr, sizeof(ts));
        if (err < 0 || (err = convert(&ts[0], now, &t.atime)) < 0 || (err = convert(&ts[1], now, &t.mtime)) < 0)
            return err;
        t.now = ts[0].tv_nsec == UTIME_NOW_ && ts[1].tv_nsec == UTIME_NOW_;
        if (t.atime == NSEC_MAX && t.mtime == NSEC_MAX)
            return 0; // nothing is to be done, be there such a file or not
    }
    return set_times_named(at, name, flags, &t);
}

static long utimes_at(int at, uaddr_t name, uaddr_t times_addr) {
    struct times t = {.now = !times_addr};
    if (times_addr) {
        struct __kernel_old_timeval tv[2];
        long err = copy_in(tv, times_addr, sizeof(tv));
        if (err < 0)
            return err;
        nsec_t *out[2] = {&t.atime, &t.mtime};
        for (int i = 0; i < 2; i++) {
            if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
                return -EINVAL;
            struct __kernel_timespec ts = {tv[i].tv_sec, tv[i].tv_usec * 1000};
            convert(&ts, 0, out[i]);
        }
    }
    return set_times_named(at, name, 0, &t);
}

long sys_utimes(uint64_t name, uint64_t times_addr) { return utimes_at(AT_FDCWD, name, times_addr); }

long sys_futimesat(uint64_t at, uint64_t name, uint64_t times_addr) { return utimes_at(at, name, times_addr); }

long sys_utime(uint64_t name, uint64_t times_addr) {
    struct times t = {.now = !times_addr};
    if (times_addr) {
        struct utimbuf tb;
        long err = copy_in_obj(&tb, times_addr);
        if (err < 0)
            return err;
        struct __kernel_timespec a = {tb.actime, 0}, m = {tb.modtime, 0};
        convert(&a, 0, &t.atime);
        convert(&m, 0, &t.mtime);
    }
    return set_times_named(AT_FDCWD, name, 0, &t);
}

// --- Size ---

long sys_truncate(uint64_t name, uint64_t size) {
    if ((int64_t)size < 0)
        return -EINVAL;
    struct path p;
    long err = user_path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p);
    if (err < 0)
        return err;
    struct inode *inode = path_inode(&p);
    if (S_ISDIR(inode->mode))
        err = -EISDIR;
    else if (!S_ISREG(inode->mode))
        err = -EINVAL;
    else if (path_read_only(&p))
        err = -EROFS;
    else if ((err = vfs_permission(inode, 2)) == 0 && (err = inode_get_write(inode)) == 0) {
        err = vfs_truncate(inode, size);
        inode_put_write(inode);
    }
    path_unref(&p);
    return err;
}

long sys_ftruncate(uint64_t fd, uint64_t size) {
    if ((int64_t)size < 0)
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err;
    if (!f->writable || (!S_ISREG(f->inode->mode) && !f->ops->truncate))
        err = -EINVAL;
    else
        err = f->ops->truncate ? f->ops->truncate(f, size) : vfs_truncate(f->inode, size);
    file_unref(f);
    return err;
}

// At most one of the modes, and not with every one the size may be kept.
static bool known_mode(unsigned mode) {
    unsigned what = mode & ~(unsigned)FALLOC_FL_KEEP_SIZE, keep = mode & FALLOC_FL_KEEP_SIZE;
    if (what == FALLOC_FL_PUNCH_HOLE)
        return keep;
    if (what == FALLOC_FL_COLLAPSE_RANGE || what == FALLOC_FL_INSERT_RANGE)
        return !keep;
    return what == 0 || what == FALLOC_FL_ZERO_RANGE || what == FALLOC_FL_UNSHARE_RANGE;
}

long sys_fallocate(uint64_t fd, uint64_t mode, uint64_t offset, uint64_t len) {
    uint64_t end;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err;
    if ((int64_t)offset < 0 || (int64_t)len <= 0)
        err = -EINVAL;
    else if (!known_mode((unsigned)mode))
        err = -EOPNOTSUPP;
    else if (!f->writable)
        err = -EBADF;
    else if (S_ISFIFO(f->inode->mode))
        err = -ESPIPE;
    else if (!S_ISREG(f->inode->mode) && !S_ISBLK(f->inode->mode))
        err = S_ISDIR(f->inode->mode) ? -EISDIR : -ENODEV;
    else if (__builtin_add_overflow(offset, len, &end) || end > INT64_MAX)
        err = -EFBIG;
    else
        err = f->ops->allocate ? f->ops->allocate(f, (int)mode, offset, len) : -EOPNOTSUPP;
    if (err == 0)
        inotify_used(f, IN_MODIFY);
    file_unref(f);
    return err;
}
