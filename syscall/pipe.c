// pipe(2), and copying between files inside the kernel: sendfile, copy_file_range, splice, tee (vmsplice: file.c).
#include "fs/poll.h"
#include "fs/splice.h"
#include "fs/vfs.h"
#include "kernel/process/signal.h"
#include "kernel/memory/slab.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"

#define COPY_MAX 0x7ffff000UL
#define COPY_BUFFER 16384

static long install_pair(struct file *ends[2], unsigned flags, uaddr_t out) {
    int fds[2];
    long fd = fd_install(ends[0], flags);
    if (fd < 0) {
        file_unref(ends[1]);
        return fd;
    }
    fds[0] = fd;
    fd = fd_install(ends[1], flags);
    if (fd < 0) {
        fd_close(fds[0]);
        return fd;
    }
    fds[1] = fd;
    if (copy_out_obj(out, &fds) < 0) {
        fd_close(fds[0]);
        fd_close(fds[1]);
        return -EFAULT;
    }
    return 0;
}

long sys_pipe2(uint64_t out, uint64_t flags) {
    struct file *ends[2];
    if ((unsigned)flags & ~(unsigned)(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) // O_DIRECT: packets
        return (unsigned)flags & ~(unsigned)(O_CLOEXEC | O_NONBLOCK | O_DIRECT | O_EXCL) ? -EINVAL : -ENOPKG;
    int err = pipe_create(flags, ends);
    return err < 0 ? err : install_pair(ends, flags, out);
}

long sys_pipe(uint64_t out) { return sys_pipe2(out, 0); }

// --- Copying ---

// Where one side of a copy is: a given offset, or the file's own position.
struct side {
    struct file *file;
    uaddr_t offset_addr; // 0: the file's own
    uint64_t offset;
};

static long side_get(struct side *s, int fd, uaddr_t offset_addr, bool write) {
    s->file = fd_get(fd);
    s->offset_addr = offset_addr;
    if (!s->file)
        return -EBADF;
    long err = 0;
    if (write ? !s->file->writable : !s->file->readable)
        err = -EBADF;
    else if (offset_addr && copy_in_obj(&s->offset, offset_addr) < 0)
        err = -EFAULT;
    else if (offset_addr && (int64_t)s->offset < 0)
        err = -EINVAL;
    else if (offset_addr && s->file->stream)
        err = -ESPIPE;
    if (err < 0) {
        file_unref(s->file);
        s->file = NULL;
    }
    return err;
}

static long side_put(struct side *s, long result) {
    if (result > 0 && s->offset_addr && copy_out_obj(s->offset_addr, &s->offset) < 0)
        result = -EFAULT;
    file_unref(s->file);
    return result;
}

static long copy_step(struct side *in, struct side *out, char *buf, size_t n) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uint64_t)(uintptr_t)buf, n, false);
    uint64_t before = in->offset_addr ? in->offset : in->file->position;
    long got = file_read(in->file, &u, in->offset_addr ? &in->offset : NULL);
    if (got <= 0)
        return got;
    u = uio_one(&vec, (uint64_t)(uintptr_t)buf, got, false);
    long put = file_write(out->file, &u, out->offset_addr ? &out->offset : NULL);
    // What could not be written has not been read, where that can be taken back.
    if (put < got && !in->file->stream) {
        uint64_t at = before + MAX(put, 0l);
        if (in->offset_addr)
            in->offset = at;
        else
            in->file->position = at;
    }
    return put;
}

static long copy(struct side *in, struct side *out, uint64_t count) {
    size_t size = MIN(count, (uint64_t)COPY_BUFFER);
    char *buf = kmalloc(MAX(size, 1ul));
    uint64_t done = 0;
    long n = 0;
    if (!buf)
        return -ENOMEM;
    count = MIN(count, COPY_MAX);
    while (done < count) {
        size_t want = MIN(count - done, size);
        n = copy_step(in, out, buf, want);
        if (n <= 0)
            break;
        done += n;
        if ((size_t)n < want || thread_signal_pending())
            break;
        sched_point();
    }
    kfree(buf);
    return done ? (long)done : n;
}

static long copy_between(int in_fd, uaddr_t in_off, int out_fd, uaddr_t out_off, uint64_t count,
                         long (*check)(struct side *in, struct side *out, uint64_t count)) {
    struct side in, out;
    long n = side_get(&in, in_fd, in_off, false);
    if (n < 0)
        return n;
    n = side_get(&out, out_fd, out_off, true);
    if (n == 0) {
        n = check(&in, &out, count);
        if (n == 0)
            n = copy(&in, &out, count);
        n = side_put(&out, n);
    }
    return side_put(&in, n);
}

static long check_sendfile(struct side *in, struct side *out, uint64_t count) {
    if (in->offset_addr && (int64_t)(in->offset + MIN(count, COPY_MAX)) < 0)
        return -EINVAL;
    if (!S_ISREG(in->file->inode->mode) && !S_ISCHR(in->file->inode->mode) && !S_ISBLK(in->file->inode->mode))
        return -EINVAL; // only what can be mapped
    return out->file->flags & O_APPEND ? -EINVAL : 0;
}

long sys_sendfile(uint64_t out_fd, uint64_t in_fd, uint64_t offset, uint64_t count) {
    return copy_between(in_fd, offset, out_fd, 0, count, check_sendfile);
}

static long copy_place(struct side *s, int fd, uaddr_t offset_addr) {
    *s = (struct side){.file = fd_get(fd), .offset_addr = offset_addr};
    return s->file ? 0 : -EBADF;
}

static long copy_offset(struct side *s) {
    s->offset = s->file->position;
    return s->offset_addr ? copy_in_obj(&s->offset, s->offset_addr) : 0;
}

// 0: there is nothing to copy; else *count, shortened to the source's end. In Linux' order.
static long check_copy_range(const struct side *in, const struct side *out, uint64_t *count) {
    const struct inode *from = in->file->inode, *to = out->file->inode;
    uint64_t in_end, out_end;
    if (S_ISDIR(from->mode) || S_ISDIR(to->mode))
        return -EISDIR;
    if (!S_ISREG(from->mode) || !S_ISREG(to->mode))
        return -EINVAL;
    if (!in->file->readable || !out->file->writable || (out->file->flags & O_APPEND))
        return -EBADF;
    if (from->sb != to->sb)
        return -EXDEV;
    if (__builtin_add_overflow(in->offset, *count, &in_end) || __builtin_add_overflow(out->offset, *count, &out_end))
        return -EOVERFLOW;
    if ((int64_t)in->offset < 0 || (int64_t)out->offset < 0)
        return -EINVAL;
    *count = in->offset < from->size ? MIN(*count, from->size - in->offset) : 0;
    if (*count && out->offset == INT64_MAX)
        return -EFBIG;
    if (from == to && out->offset + *count > in->offset && out->offset < in->offset + *count)
        return -EINVAL;
    return 0;
}

long sys_copy_file_range(uint64_t in_fd, uint64_t in_off, uint64_t out_fd, uint64_t out_off, uint64_t count,
                         uint64_t flags) {
    struct side in, out;
    long n = copy_place(&in, in_fd, in_off);
    if (n < 0)
        return n;
    n = copy_place(&out, out_fd, out_off);
    if (n == 0) {
        n = copy_offset(&in);
        if (n == 0)
            n = copy_offset(&out);
        if (n == 0)
            n = (unsigned)flags ? -EINVAL : check_copy_range(&in, &out, &count);
        if (n == 0 && count)
            n = copy(&in, &out, count);
        n = side_put(&out, n);
    }
    return side_put(&in, n);
}

// --- splice, tee ---

// 0, or -ESPIPE (a pipe has no offset), -EFAULT.
static long offset_get(const struct file *f, uaddr_t addr, uint64_t *offset) {
    if (!addr)
        return 0;
    if (splice_is_pipe(f))
        return -ESPIPE;
    return copy_in_obj(offset, addr);
}

static long splice_open(struct file *in, uaddr_t in_addr, struct file *out, uaddr_t out_addr, uint64_t len,
                        unsigned flags) {
    uint64_t in_pos, out_pos;
    if (in_addr && splice_is_pipe(in))
        return -ESPIPE;
    long err = offset_get(out, out_addr, &out_pos);
    if (!err)
        err = offset_get(in, in_addr, &in_pos);
    if (err)
        return err;
    long n = splice_files(in, in_addr ? &in_pos : NULL, out, out_addr ? &out_pos : NULL, MIN(len, COPY_MAX), flags);
    if (n >= 0 &&
        ((out_addr && copy_out_obj(out_addr, &out_pos) < 0) || (in_addr && copy_out_obj(in_addr, &in_pos) < 0)))
        return -EFAULT;
    return n;
}

long sys_splice(uint64_t in_fd, uint64_t in_off, uint64_t out_fd, uint64_t out_off, uint64_t len, uint64_t flags) {
    if (!len)
        return 0;
    if ((unsigned)flags & ~SPLICE_F_ALL)
        return -EINVAL;
    struct file *in = fd_get(in_fd), *out = in ? fd_get(out_fd) : NULL;
    long n = out ? splice_open(in, in_off, out, out_off, len, flags) : -EBADF;
    if (out)
        file_unref(out);
    if (in)
        file_unref(in);
    return n;
}

long sys_tee(uint64_t in_fd, uint64_t out_fd, uint64_t len, uint64_t flags) {
    if ((unsigned)flags & ~SPLICE_F_ALL)
        return -EINVAL;
    if (!len)
        return 0;
    struct file *in = fd_get(in_fd), *out = in ? fd_get(out_fd) : NULL;
    long n = out ? splice_tee(in, out, MIN(len, COPY_MAX), flags) : -EBADF;
    if (out)
        file_unref(out);
    if (in)
        file_unref(in);
    return n;
}
