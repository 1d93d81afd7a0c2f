// Reading directories, the working directory and the root.
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/x86/useraccess.h"
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
};

// The first `n` bytes of a name, at most 7, as a little-endian word.
static inline uint64_t short_name(const char *name, size_t n) {
    uint32_t low, high;
    if (n >= 4) { // two halves that overlap
        __builtin_memcpy(&low, name, 4);
        __builtin_memcpy(&high, name + n - 4, 4);
        return low | (uint64_t)high << (8 * (n - 4));
    }
    // Of three or fewer: the first, the middle one, the last.
    return n == 0 ? 0
                  : (uint8_t)name[0] | (uint32_t)(uint8_t)name[n / 2] << (n / 2 * 8) |
                        (uint32_t)(uint8_t)name[n - 1] << ((n - 1) * 8);
}

static inline uint64_t eight_bytes(const char *at) {
    uint64_t w;
    __builtin_memcpy(&w, at, sizeof(w));
    return w;
}

// An entry of getdents64, put together word by word where the application wants it: listings are long. The name begins in the last five
// bytes of the third word; zeroes follow it.
static bool emit(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct dirents *d = container_of(ctx, struct dirents, ctx);
    size_t length = ALIGN_UP(sizeof(struct dirent_head) + 1 + len + 1, 8);
    if (unlikely(length > d->left)) {
        d->error = -EINVAL;
        return false;
    }
    if (unlikely(!user_range_ok(d->out, length)))
        goto fault;
    uint64_t *to = (uint64_t *)d->out, head = length | (uint64_t)type << 16;
    user_access_begin();
    user_put(to, ino, fault_inside);
    user_put(to + 1, (uint64_t)off, fault_inside);
    if (len < 8) {
        uint64_t w = short_name(name, len);
        user_put(to + 2, head | w << 24, fault_inside);
        if (length > 24)
            user_put(to + 3, w >> 40, fault_inside);
    } else {
        user_put(to + 2, head | eight_bytes(name) << 24, fault_inside);
        to += 3;
        size_t at = 5;
        for (; at + 8 <= len; at += 8)
            user_put(to++, eight_bytes(name + at), fault_inside);
        // The rest, of 0 to 7 bytes, are the last ones of the last eight.
        uint64_t rest = eight_bytes(name + len - 8) >> 8 >> (8 * (7 - (len - at)));
        user_put(to, rest, fault_inside);
    }
    user_access_end();
    d->out += length;
    d->left -= length;
    return true;
fault_inside:
    user_access_end();
fault:
    d->error = -EFAULT;
    return false;
}

// The old form: head, name, NUL, padding, the type in the last byte.
static bool emit_old(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct dirents *d = container_of(ctx, struct dirents, ctx);
    char buf[sizeof(struct dirent_head) + 1 + 256 + 8];
    size_t at = sizeof(struct dirent_head), length = ALIGN_UP(at + 1 + len + 1, 8);
    if (length > d->left) {
        d->error = -EINVAL;
        return false;
    }
    memset(buf + length - 8, 0, 8);
    *(struct dirent_head *)buf = (struct dirent_head){ino, off, length};
    memcpy(buf + at, name, len);
    buf[at + len] = 0;
    buf[length - 1] = (char)type;
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
    struct dirents d = {.ctx = {.emit = old_form ? emit_old : emit}, .out = out, .left = size};
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
