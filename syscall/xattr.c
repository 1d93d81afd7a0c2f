// Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their variants. What is kept is fs/xattr.c's.
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/limits.h>
#include <linux/mount.h>
#include <linux/xattr.h>

// The file that a call is about: by name, or by an open descriptor.
struct target {
    struct inode *inode; // pinned
    uint32_t mount;      // MS_*
};

static long target_by_name(struct target *t, uaddr_t path, bool follow) {
    return user_inode_lookup(AT_FDCWD, path, follow ? LOOKUP_FOLLOW : 0, &t->inode, &t->mount);
}

static long target_by_fd(struct target *t, int fd) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    t->inode = inode_pin(f->inode);
    t->mount = path_mount_flags(&f->path);
    file_unref(f);
    return 0;
}

static long copy_name(char name[XATTR_NAME_MAX + 1], uaddr_t addr) {
    long n = copy_in_str(name, addr, XATTR_NAME_MAX + 1);
    return n == 0 || n == -ENAMETOOLONG ? -ERANGE : MIN(n, 0l);
}

static long set_value(struct inode *inode, const char *name, uaddr_t addr, size_t size, int flags) {
    void *value = size ? kmalloc(size) : NULL;
    if (size && !value)
        return -ENOMEM;
    long err = copy_in(value, addr, size);
    if (err == 0)
        err = xattr_set(inode, name, value, size, flags);
    kfree(value);
    return err;
}

static long set(long found, struct target *t, uaddr_t name_addr, uaddr_t value, uint64_t size, uint64_t flags) {
    char name[XATTR_NAME_MAX + 1];
    if (found < 0)
        return found;
    long err = t->mount & MS_RDONLY ? -EROFS : flags & ~(uint64_t)(XATTR_CREATE | XATTR_REPLACE) ? -EINVAL : 0;
    if (err == 0)
        err = copy_name(name, name_addr);
    if (err == 0)
        err = size > XATTR_SIZE_MAX ? -E2BIG : set_value(t->inode, name, value, size, (int)flags);
    inode_unpin(t->inode);
    return err;
}

static long read_attribute(struct inode *inode, const char *name, void *buf, size_t size) {
    return name ? xattr_get(inode, name, buf, size) : xattr_list(inode, buf, size);
}

// Fills the application's buffer from what `name` (NULL: the list of names) gives; of no size, it asks for the length. Programs offer
// large buffers for little: what is there is asked first, as 64 KiB in a row are not always to be had.
static long fill(struct inode *inode, const char *name, uaddr_t out, size_t size) {
    for (;;) {
        long n = size > PAGE_SIZE ? read_attribute(inode, name, NULL, 0) : 0;
        if (n < 0)
            return n;
        size_t room = size > PAGE_SIZE ? MIN(size, (size_t)n) : size;
        void *buf = room ? kmalloc(room) : NULL;
        if (room && !buf)
            return -ENOMEM;
        if (buf || !size)
            n = read_attribute(inode, name, buf, room);
        if (n > 0 && buf && copy_out(out, buf, (size_t)n) < 0)
            n = -EFAULT;
        kfree(buf);
        if (n != -ERANGE || room == size) // else it has grown meanwhile
            return n;
    }
}

static long get(long found, struct target *t, uaddr_t name_addr, uaddr_t out, uint64_t size) {
    char name[XATTR_NAME_MAX + 1];
    if (found < 0)
        return found;
    long n = copy_name(name, name_addr);
    if (n == 0)
        n = fill(t->inode, name, out, MIN(size, (uint64_t)XATTR_SIZE_MAX));
    inode_unpin(t->inode);
    return n;
}

static long list(long found, struct target *t, uaddr_t out, uint64_t size) {
    if (found < 0)
        return found;
    long n = fill(t->inode, NULL, out, MIN(size, (uint64_t)XATTR_LIST_MAX));
    inode_unpin(t->inode);
    return n == -ERANGE && size >= XATTR_LIST_MAX ? -E2BIG : n;
}

static long forget(long found, struct target *t, uaddr_t name_addr) {
    char name[XATTR_NAME_MAX + 1];
    if (found < 0)
        return found;
    long err = t->mount & MS_RDONLY ? -EROFS : copy_name(name, name_addr);
    if (err == 0)
        err = xattr_remove(t->inode, name);
    inode_unpin(t->inode);
    return err;
}

long sys_setxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size, uint64_t flags) {
    struct target t;
    return set(target_by_name(&t, path, true), &t, name, value, size, flags);
}

long sys_lsetxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size, uint64_t flags) {
    struct target t;
    return set(target_by_name(&t, path, false), &t, name, value, size, flags);
}

long sys_fsetxattr(uint64_t fd, uint64_t name, uint64_t value, uint64_t size, uint64_t flags) {
    struct target t;
    return set(target_by_fd(&t, (int)fd), &t, name, value, size, flags);
}

long sys_getxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size) {
    struct target t;
    return get(target_by_name(&t, path, true), &t, name, value, size);
}

long sys_lgetxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size) {
    struct target t;
    return get(target_by_name(&t, path, false), &t, name, value, size);
}

long sys_fgetxattr(uint64_t fd, uint64_t name, uint64_t value, uint64_t size) {
    struct target t;
    return get(target_by_fd(&t, (int)fd), &t, name, value, size);
}

long sys_listxattr(uint64_t path, uint64_t out, uint64_t size) {
    struct target t;
    return list(target_by_name(&t, path, true), &t, out, size);
}

long sys_llistxattr(uint64_t path, uint64_t out, uint64_t size) {
    struct target t;
    return list(target_by_name(&t, path, false), &t, out, size);
}

long sys_flistxattr(uint64_t fd, uint64_t out, uint64_t size) {
    struct target t;
    return list(target_by_fd(&t, (int)fd), &t, out, size);
}

long sys_removexattr(uint64_t path, uint64_t name) {
    struct target t;
    return forget(target_by_name(&t, path, true), &t, name);
}

long sys_lremovexattr(uint64_t path, uint64_t name) {
    struct target t;
    return forget(target_by_name(&t, path, false), &t, name);
}

long sys_fremovexattr(uint64_t fd, uint64_t name) {
    struct target t;
    return forget(target_by_fd(&t, (int)fd), &t, name);
}
