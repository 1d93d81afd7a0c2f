// pipe(2), and copying between files inside the kernel: sendfile, copy_file_range, splice, tee (vmsplice: file.c).
#include "fs/limit.h"
#include "fs/poll.h"
#include "fs/splice.h"
#include "fs/vfs.h"
#include "kernel/process/signal.h"
#include "kernel/memory/slab.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"

#define COPY_MAX 0x7ffff000UL
#define COPY_BUFFER 65536 // what a network card can cut into frames in one go
#define COPY_LEAST 4096
#define SHARE_PAGES 16ul

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

// One side of a copy. The position is the call's own until it ends: the same file may be on both sides.
struct side {
    struct file *file;
    uint64_t pos; // not of streams
};

static inline uint64_t *side_pos(struct side *s) { return s->file->stream ? NULL : &s->pos; }

static long copy_step(struct side *in, struct side *out, char *buf, size_t n) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uint64_t)(uintptr_t)buf, n, false);
    uint64_t before = in->pos;
    long got = file_read(in->file, &u, side_pos(in));
    if (got <= 0)
        return got;
    u = uio_one(&vec, (uint64_t)(uintptr_t)buf, got, false);
    long put = splice_takes(out->file) ? file_write(out->file, &u, side_pos(out)) : -EINVAL;
    if (put < got) // what could not be written has not been read
        in->pos = before + MAX(put, 0l);
    return put;
}

// A socket keeps the pages of the file instead of copies. *whole: what was there has gone. -EOPNOTSUPP: these bytes have to be copied.
static long share_step(struct side *in, struct side *out, uint64_t left, bool *whole) {
    struct uio_vec vec[SHARE_PAGES];
    long got = file_share(in->file, in->pos, MIN(left, SHARE_PAGES * PAGE_SIZE), vec, SHARE_PAGES);
    if (got <= 0)
        return got;
    struct uio u = {.vec = vec, .left = (size_t)got, .pages = true};
    u.more = (uint64_t)got < left && in->pos + (uint64_t)got < READ_ONCE(in->file->inode->size);
    long put = file_write(out->file, &u, NULL);
    file_share_end(vec, got);
    in->pos += (uint64_t)MAX(put, 0l);
    *whole = put == got;
    return put;
}

static char *copy_buffer(uint64_t count, size_t *size) {
    *size = MAX(MIN(count, (uint64_t)COPY_BUFFER), 1ul);
    char *buf = kmalloc(*size);
    return buf || *size <= COPY_LEAST ? buf : kmalloc(*size = COPY_LEAST);
}

static long copy(struct side *in, struct side *out, uint64_t count) {
    bool shares = out->file->stream && splice_takes(out->file), whole;
    size_t size = 0;
    char *buf = NULL;
    uint64_t done = 0;
    long n = 0;
    while (done < count) {
        whole = false;
        n = shares ? share_step(in, out, count - done, &whole) : -EOPNOTSUPP;
        if (n == -EOPNOTSUPP) {
            if (!buf && !(buf = copy_buffer(count - done, &size))) {
                n = -ENOMEM;
                break;
            }
            size_t want = MIN(count - done, size);
            n = copy_step(in, out, buf, want);
            whole = n == (long)want;
        }
        if (n <= 0)
            break;
        done += n;
        if (!whole || thread_signal_pending())
            break;
        sched_point();
    }
    kfree(buf);
    return done ? (long)done : n;
}

static long check_sendfile(const struct side *in, const struct side *out, uint64_t *count) {
    long err = in->file->stream ? 0 : file_check_range(in->pos, *count);
    if (err < 0 || (int64_t)*count < 0)
        return -EINVAL;
    *count = MIN(*count, COPY_MAX);
    if (!out->file || !out->file->writable)
        return -EBADF;
    if (!splice_is_pipe(out->file) && !out->file->stream)
        err = file_check_range(out->pos, *count);
    uint64_t most = MIN(superblock_size_max(in->file->inode->sb), superblock_size_max(out->file->inode->sb));
    if (err == 0 && in->pos + *count > most) {
        if (in->pos >= most)
            return -EOVERFLOW;
        *count = most - in->pos;
    }
    return err;
}

static long send(struct side *in, struct side *out, uint64_t count) {
    long err = check_sendfile(in, out, &count);
    if (err < 0)
        return err;
    if (splice_is_pipe(out->file)) // as much as it has room for
        return count ? splice_files(in->file, side_pos(in), out->file, NULL, count, 0) : 0;
    if ((out->file->flags & O_APPEND) || in->file->stream || !splice_gives(in->file))
        return -EINVAL;
    long n = copy(in, out, count);
    if (n > 0)
        out->file->position = out->pos;
    return n;
}

long sys_sendfile(uint64_t out_fd, uint64_t in_fd, uint64_t addr, uint64_t count) {
    struct side in = {.pos = 0}, out = {.file = NULL};
    if (addr && copy_in_obj(&in.pos, addr) < 0)
        return -EFAULT;
    in.file = fd_get(in_fd);
    if (!in.file)
        return -EBADF;
    long n = !in.file->readable ? -EBADF : addr && in.file->stream ? -ESPIPE : 0;
    if (n == 0) {
        if (!addr && !in.file->stream)
            in.pos = in.file->position;
        out.file = fd_get(out_fd);
        out.pos = out.file && !out.file->stream ? out.file->position : 0;
        n = send(&in, &out, count);
    }
    if (n > 0 && !addr)
        in.file->position = in.pos;
    if (out.file)
        file_unref(out.file);
    file_unref(in.file);
    return addr && copy_out_obj(addr, &in.pos) < 0 ? -EFAULT : n;
}

// 0, and *count is what there is to copy. In Linux' order.
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
    if (__builtin_add_overflow(in->pos, *count, &in_end) || __builtin_add_overflow(out->pos, *count, &out_end))
        return -EOVERFLOW;
    *count = in->pos < from->size ? MIN(*count, from->size - in->pos) : 0;
    if ((int64_t)out->pos >= 0) {
        uint64_t most = superblock_size_max(to->sb);
        int64_t room = out->pos >= most ? -EFBIG : file_write_limit(out->pos, *count);
        if (room < 0)
            return room;
        *count = MIN((uint64_t)room, most - out->pos);
    }
    if (from == to && out->pos + *count > in->pos && out->pos < in->pos + *count)
        return -EINVAL;
    return (int64_t)in->pos < 0 || (int64_t)out->pos < 0 ? -EINVAL : 0;
}

static long copy_range(struct side *in, uaddr_t in_addr, struct side *out, uaddr_t out_addr, uint64_t count,
                       unsigned flags) {
    in->pos = in->file->position;
    out->pos = out->file->position;
    if ((in_addr && copy_in_obj(&in->pos, in_addr) < 0) || (out_addr && copy_in_obj(&out->pos, out_addr) < 0))
        return -EFAULT;
    long n = flags ? -EINVAL : check_copy_range(in, out, &count);
    if (n == 0 && count)
        n = copy(in, out, MIN(count, COPY_MAX));
    if (n <= 0)
        return n;
    if (!in_addr)
        in->file->position = in->pos;
    if (!out_addr)
        out->file->position = out->pos;
    bool told =
        (!in_addr || copy_out_obj(in_addr, &in->pos) == 0) && (!out_addr || copy_out_obj(out_addr, &out->pos) == 0);
    return told ? n : -EFAULT;
}

long sys_copy_file_range(uint64_t in_fd, uint64_t in_addr, uint64_t out_fd, uint64_t out_addr, uint64_t count,
                         uint64_t flags) {
    struct side in = {.file = fd_get(in_fd)}, out = {.file = in.file ? fd_get(out_fd) : NULL};
    long n = out.file ? copy_range(&in, in_addr, &out, out_addr, count, (unsigned)flags) : -EBADF;
    if (out.file)
        file_unref(out.file);
    if (in.file)
        file_unref(in.file);
    return n;
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
    long n = splice_files(in, in_addr ? &in_pos : NULL, out, out_addr ? &out_pos : NULL, len, flags);
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
