// pipe(2), and copying between files inside the kernel: sendfile, copy_file_range, splice, tee is not there.
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/process/signal.h"
#include "kernel/memory/slab.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"

#define COPY_MAX 0x7ffff000UL
#define COPY_BUFFER 16384
#define SPLICE_F_MOVE 1
#define SPLICE_F_NONBLOCK 2
#define SPLICE_F_MORE 4

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
    if (flags & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL; // O_DIRECT, packets, is not supported
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
                         long (*check)(struct side *in, struct side *out)) {
    struct side in, out;
    long n = side_get(&in, in_fd, in_off, false);
    if (n < 0)
        return n;
    n = side_get(&out, out_fd, out_off, true);
    if (n == 0) {
        n = check(&in, &out);
        if (n == 0)
            n = copy(&in, &out, count);
        n = side_put(&out, n);
    }
    return side_put(&in, n);
}

static long check_sendfile(struct side *in, struct side *out) {
    if (!S_ISREG(in->file->inode->mode) && !S_ISCHR(in->file->inode->mode))
        return -EINVAL; // only what can be mapped
    return out->file->flags & O_APPEND ? -EINVAL : 0;
}

long sys_sendfile(uint64_t out_fd, uint64_t in_fd, uint64_t offset, uint64_t count) {
    return copy_between(in_fd, offset, out_fd, 0, count, check_sendfile);
}

static long check_copy_range(struct side *in, struct side *out) {
    if (S_ISDIR(in->file->inode->mode) || S_ISDIR(out->file->inode->mode))
        return -EISDIR;
    if (!S_ISREG(in->file->inode->mode) || !S_ISREG(out->file->inode->mode))
        return -EINVAL;
    if (out->file->flags & O_APPEND)
        return -EBADF;
    return 0;
}

long sys_copy_file_range(uint64_t in_fd, uint64_t in_off, uint64_t out_fd, uint64_t out_off, uint64_t count,
                         uint64_t flags) {
    if (flags)
        return -EINVAL;
    return copy_between(in_fd, in_off, out_fd, out_off, count, check_copy_range);
}

static long check_splice(struct side *in, struct side *out) {
    bool in_pipe = S_ISFIFO(in->file->inode->mode), out_pipe = S_ISFIFO(out->file->inode->mode);
    if (!in_pipe && !out_pipe)
        return -EINVAL;
    if (in->file->inode == out->file->inode || (out->file->flags & O_APPEND))
        return -EINVAL;
    return 0;
}

long sys_splice(uint64_t in_fd, uint64_t in_off, uint64_t out_fd, uint64_t out_off, uint64_t count, uint64_t flags) {
    if (flags & ~(uint64_t)(SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE))
        return -EINVAL;
    if (!count)
        return 0;
    return copy_between(in_fd, in_off, out_fd, out_off, count, check_splice);
}
