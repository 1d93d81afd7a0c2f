// Reading directories, the working directory and the root.
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "syscall/path.h"
#include "syscall/syscall.h"

struct dirent_head { // struct linux_dirent64 and, with the type at the end instead, struct linux_dirent
    uint64_t ino;
    int64_t off;
    uint16_t length;
} PACKED;
_Static_assert(sizeof(struct dirent_head) == 18, "ABI");

struct dirents {
    struct dir_context ctx;
    uaddr_t out;
    size_t left;
    long error; // why it stopped, when nothing was stored
    bool old_form;
};

static bool emit(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct dirents *d = container_of(ctx, struct dirents, ctx);
    char buf[sizeof(struct dirent_head) + 1 + 256 + 8];
    size_t at = sizeof(struct dirent_head);
    // 64: head, type, name, NUL. Old: head, name, NUL, padding, type in the last byte.
    size_t length = ALIGN_UP(at + 1 + len + 1, 8);
    if (length > d->left) {
        d->error = -EINVAL;
        return false;
    }
    memset(buf + length - 8, 0, 8);
    *(struct dirent_head *)buf = (struct dirent_head){ino, off, length};
    if (!d->old_form)
        buf[at++] = type;
    memcpy(buf + at, name, len);
    buf[at + len] = 0;
    if (d->old_form)
        buf[length - 1] = type;
    if (copy_out(d->out, buf, length) < 0) {
        d->error = -EFAULT;
        return false;
    }
    d->out += length;
    d->left -= length;
    return true;
}

static long get_dirents(int fd, uaddr_t out, size_t size, bool old_form) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    size = (unsigned)size;
    struct dirents d = {.ctx = {.emit = emit}, .out = out, .left = size, .old_form = old_form};
    long err = file_iterate(f, &d.ctx);
    file_unref(f);
    if (d.left < size)
        return size - d.left;
    return err < 0 ? err : d.error;
}

long sys_getdents64(uint64_t fd, uint64_t out, uint64_t size) { return get_dirents(fd, out, size, false); }

long sys_getdents(uint64_t fd, uint64_t out, uint64_t size) { return get_dirents(fd, out, size, true); }

long sys_chdir(uint64_t name) {
    struct path p;
    long err = user_path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);
    if (err == 0) {
        err = fs_set_cwd(&p);
        path_unref(&p);
    }
    return err;
}

long sys_fchdir(uint64_t fd) {
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    long err = f->path.dentry ? fs_set_cwd(&f->path) : -ENOTDIR;
    file_unref(f);
    return err;
}

long sys_chroot(uint64_t name) {
    struct path p;
    long err = user_path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);
    if (err == 0) {
        err = fs_set_root(&p);
        path_unref(&p);
    }
    return err;
}

long sys_getcwd(uint64_t out, uint64_t size) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    struct fs_context *fs = process_current()->fs;
    spin_lock(&fs->lock);
    struct path cwd = fs->cwd;
    path_ref(&cwd);
    spin_unlock(&fs->lock);
    long n = path_deleted(&cwd) ? -ENOENT : path_name(&cwd, buf, NAME_BUFFER_SIZE);
    path_unref(&cwd);
    if (n >= 0) {
        n++; // with the NUL
        if ((uint64_t)n > size)
            n = -ERANGE;
        else if (copy_out(out, buf, n) < 0)
            n = -EFAULT;
    }
    name_buffer_put(buf);
    return n;
}

long sys_umask(uint64_t mask) { return atomic_xchg(&process_current()->fs->umask, (uint32_t)mask & 0777); }
