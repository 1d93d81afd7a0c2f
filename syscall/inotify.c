// inotify_init(2), inotify_init1(2), inotify_add_watch(2), inotify_rm_watch(2).
#include "fs/inotify.h"
#include "syscall/path.h"
#include "syscall/syscall.h"

_Static_assert(IN_CLOEXEC == O_CLOEXEC && IN_NONBLOCK == O_NONBLOCK, "open flags");

#define ALL_BITS                                                                                                       \
    (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK |          \
     IN_MASK_ADD | IN_MASK_CREATE | IN_ISDIR | IN_ONESHOT)

long sys_inotify_init1(uint64_t flags) {
    if ((unsigned)flags & ~(unsigned)(IN_CLOEXEC | IN_NONBLOCK))
        return -EINVAL;
    struct file *f = inotify_create((unsigned)flags);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, (unsigned)flags & O_CLOEXEC);
}

long sys_inotify_init(void) { return sys_inotify_init1(0); }

static long add_watch(struct file *f, uaddr_t name, uint32_t mask) {
    unsigned lookup = (mask & IN_DONT_FOLLOW ? 0 : LOOKUP_FOLLOW) | (mask & IN_ONLYDIR ? LOOKUP_DIRECTORY : 0);
    struct path p;
    long result = user_path_lookup(AT_FDCWD, name, lookup, &p);
    if (result < 0)
        return result;
    result = vfs_permission(path_inode(&p), 4);
    if (result == 0)
        result = inotify_watch(f, p.dentry, mask);
    path_unref(&p);
    return result;
}

long sys_inotify_add_watch(uint64_t fd, uint64_t name, uint64_t mask64) {
    uint32_t mask = (uint32_t)mask64;
    if ((mask & ~ALL_BITS) || !(mask & ALL_BITS))
        return -EINVAL;
    struct file *f = fd_get((int)fd);
    if (!f)
        return -EBADF;
    long result = -EINVAL;
    if ((mask & (IN_MASK_ADD | IN_MASK_CREATE)) != (IN_MASK_ADD | IN_MASK_CREATE) && inotify_is(f))
        result = add_watch(f, name, mask);
    file_unref(f);
    return result;
}

long sys_inotify_rm_watch(uint64_t fd, uint64_t wd) {
    struct file *f = fd_get((int)fd);
    if (!f)
        return -EBADF;
    long result = inotify_is(f) ? inotify_unwatch(f, (int)wd) : -EINVAL;
    file_unref(f);
    return result;
}
