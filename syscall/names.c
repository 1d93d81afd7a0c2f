// Names: mkdir, rmdir, unlink, rename, link, symlink, readlink, mknod, each with its *at form.
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/capability.h>

long sys_mkdirat(uint64_t at, uint64_t name, uint64_t mode) {
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err == 0) {
        err = vfs_mkdir(at, p.name, mode);
        user_path_put(&p);
    }
    return err;
}

long sys_mkdir(uint64_t name, uint64_t mode) { return sys_mkdirat(AT_FDCWD, name, mode); }

long sys_mknodat(uint64_t at, uint64_t name, uint64_t mode, uint64_t dev) {
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err == 0) {
        err = vfs_mknod(at, p.name, mode & 0xffff, (uint32_t)dev);
        user_path_put(&p);
    }
    return err;
}

long sys_mknod(uint64_t name, uint64_t mode, uint64_t dev) { return sys_mknodat(AT_FDCWD, name, mode, dev); }

static long unlink_user(int at, uaddr_t name, bool directory) {
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err == 0) {
        err = vfs_unlink(at, p.name, directory);
        user_path_put(&p);
    }
    return err;
}

long sys_unlinkat(uint64_t at, uint64_t name, uint64_t flags) {
    return flags & ~(uint64_t)AT_REMOVEDIR ? -EINVAL : unlink_user(at, name, flags & AT_REMOVEDIR);
}

long sys_unlink(uint64_t name) { return unlink_user(AT_FDCWD, name, false); }

long sys_rmdir(uint64_t name) { return unlink_user(AT_FDCWD, name, true); }

// Calls with two names.
static long two_names(struct user_path *a, uaddr_t a_addr, struct user_path *b, uaddr_t b_addr) {
    long err = user_path_get(a, a_addr);
    if (err < 0)
        return err;
    err = user_path_get(b, b_addr);
    if (err < 0)
        user_path_put(a);
    return err;
}

long sys_renameat2(uint64_t from_at, uint64_t from, uint64_t to_at, uint64_t to, uint64_t flags) {
    struct user_path a, b;
    long err = two_names(&a, from, &b, to);
    if (err == 0) {
        err = vfs_rename(from_at, a.name, to_at, b.name, flags);
        user_path_put(&a);
        user_path_put(&b);
    }
    return err;
}

long sys_renameat(uint64_t from_at, uint64_t from, uint64_t to_at, uint64_t to) {
    return sys_renameat2(from_at, from, to_at, to, 0);
}

long sys_rename(uint64_t from, uint64_t to) { return sys_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

long sys_linkat(uint64_t from_at, uint64_t from, uint64_t to_at, uint64_t to, uint64_t flags) {
    struct user_path a, b;
    if (flags & ~(uint64_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if ((flags & AT_EMPTY_PATH) && !capable(CAP_DAC_READ_SEARCH))
        return -ENOENT;
    long err = two_names(&a, from, &b, to);
    if (err == 0) {
        unsigned lookup = (flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
        err = vfs_link(from_at, a.name, to_at, b.name, lookup);
        user_path_put(&a);
        user_path_put(&b);
    }
    return err;
}

long sys_link(uint64_t from, uint64_t to) { return sys_linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

long sys_symlinkat(uint64_t target, uint64_t at, uint64_t name) {
    struct user_path a, b;
    long err = two_names(&a, target, &b, name);
    if (err == 0) {
        err = vfs_symlink(a.name, at, b.name);
        user_path_put(&a);
        user_path_put(&b);
    }
    return err;
}

long sys_symlink(uint64_t target, uint64_t name) { return sys_symlinkat(target, AT_FDCWD, name); }

long sys_readlinkat(uint64_t at, uint64_t name, uint64_t out, uint64_t size) {
    if ((int)size <= 0)
        return -EINVAL;
    struct user_path p;
    long n = user_path_get(&p, name);
    if (n < 0)
        return n;
    char *buf = name_buffer_get();
    if (!buf) {
        n = -ENOMEM;
    } else {
        n = vfs_readlink(at, p.name, buf, MIN((unsigned)size, NAME_BUFFER_SIZE));
        if (n > 0 && copy_out(out, buf, n) < 0)
            n = -EFAULT;
        name_buffer_put(buf);
    }
    user_path_put(&p);
    return n;
}

long sys_readlink(uint64_t name, uint64_t out, uint64_t size) { return sys_readlinkat(AT_FDCWD, name, out, size); }
