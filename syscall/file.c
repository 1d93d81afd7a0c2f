// read(2), write(2) and their family, lseek(2).
#include "fs/cache/pagecache.h"
#include "fs/file.h"
#include "fs/splice.h"
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "syscall/borrow.h"
#include "syscall/syscall.h"
#include "syscall/vectors.h"
#include <linux/fs.h>

// No arrays in these: the canary would be a tenth of their cost.
#define FAST_CALL __attribute__((no_stack_protector))

static inline bool simple_range(uaddr_t buf, uint64_t count) { return count <= RW_MAX && buf <= USER_END - count; }

// What Linux looks at before it calls a file's own function, and in its order. pos NULL: the file's own.
static long check_io(const struct file *f, bool allowed, bool able, uaddr_t buf, uint64_t count, const uint64_t *pos) {
    if (pos && f->stream)
        return -ESPIPE;
    if (!allowed || !able)
        return allowed ? -EINVAL : -EBADF;
    if (!user_range_ok(buf, count))
        return -EFAULT;
    return f->stream ? 0 : file_check_range(pos ? *pos : f->position, count);
}

static long read_slow(int fd, uaddr_t buf, uint64_t count, uint64_t *pos) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long n = check_io(f, f->readable, f->ops->read, buf, count, pos);
    if (n == 0) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, MIN(count, RW_MAX), true);
        n = file_read(f, &u, pos);
    }
    file_unref(f);
    return n;
}

static long write_slow(int fd, uaddr_t buf, uint64_t count, uint64_t *pos) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long n = check_io(f, f->writable, f->ops->write, buf, count, pos);
    if (n == 0) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, MIN(count, RW_MAX), true);
        n = file_write(f, &u, pos);
    }
    file_unref(f);
    return n;
}

// The fast paths do what the slow ones would for a file with a position that nobody else can hold.
FAST_CALL long sys_read(uint64_t fd, uint64_t buf, uint64_t count) {
    struct file *f = fd_borrow(fd);
    if (likely(f && (f->access & (FILE_READABLE | FILE_STREAM | FILE_WATCHED)) == FILE_READABLE && f->refs == 1 &&
               simple_range(buf, count) && (int64_t)(f->position + count) >= 0 && f->ops->read)) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, count, true);
        return f->ops->read(f, &u, &f->position);
    }
    if (likely(f && (f->access & (FILE_READABLE | FILE_STREAM | FILE_WATCHED)) == (FILE_READABLE | FILE_STREAM) &&
               simple_range(buf, count) && f->ops->read)) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, count, true);
        return f->ops->read(f, &u, NULL);
    }
    return read_slow(fd, buf, count, NULL);
}

FAST_CALL long sys_write(uint64_t fd, uint64_t buf, uint64_t count) {
    struct file *f = fd_borrow(fd);
    if (likely(f && (f->access & (FILE_WRITABLE | FILE_STREAM | FILE_WATCHED)) == FILE_WRITABLE && f->refs == 1 &&
               simple_range(buf, count) && (int64_t)(f->position + count) >= 0 && f->ops->write)) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, count, true);
        return f->ops->write(f, &u, &f->position);
    }
    if (likely(f && (f->access & (FILE_WRITABLE | FILE_STREAM | FILE_WATCHED)) == (FILE_WRITABLE | FILE_STREAM) &&
               simple_range(buf, count) && f->ops->write)) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, count, true);
        return f->ops->write(f, &u, NULL);
    }
    return write_slow(fd, buf, count, NULL);
}

FAST_CALL long sys_pread64(uint64_t fd, uint64_t buf, uint64_t count, uint64_t offset) {
    struct file *f = fd_borrow(fd);
    if (likely(f && (f->access & (FILE_READABLE | FILE_STREAM | FILE_WATCHED)) == FILE_READABLE &&
               simple_range(buf, count) && (int64_t)(offset | (offset + count)) >= 0 && f->ops->read)) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, count, true);
        return f->ops->read(f, &u, &offset);
    }
    return (int64_t)offset < 0 ? -EINVAL : read_slow(fd, buf, count, &offset);
}

FAST_CALL long sys_pwrite64(uint64_t fd, uint64_t buf, uint64_t count, uint64_t offset) {
    struct file *f = fd_borrow(fd);
    if (likely(f && (f->access & (FILE_WRITABLE | FILE_STREAM | FILE_WATCHED)) == FILE_WRITABLE &&
               simple_range(buf, count) && (int64_t)(offset | (offset + count)) >= 0 && f->ops->write)) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, count, true);
        return f->ops->write(f, &u, &offset);
    }
    return (int64_t)offset < 0 ? -EINVAL : write_slow(fd, buf, count, &offset);
}

// --- Vectors ---

long vectors_get(struct vectors *v, uaddr_t addr, uint64_t count) {
    if (count > IOV_MAX)
        return -EINVAL;
    v->vec = v->small;
    if (count > IOV_SMALL && !(v->vec = kmalloc(count * sizeof(*v->vec))))
        return -ENOMEM;
    long err = copy_in(v->vec, addr, count * sizeof(*v->vec));
    uint64_t total = 0;
    if (count == 1 && !err && (int64_t)v->vec->len >= 0) // a single one is cut before it is looked at
        v->vec->len = MIN(v->vec->len, RW_MAX);
    for (uint64_t i = 0; i < count && !err; i++) {
        if ((int64_t)v->vec[i].len < 0)
            err = -EINVAL;
        else if (!user_range_ok(v->vec[i].base, v->vec[i].len))
            err = -EFAULT;
        else
            total += v->vec[i].len = MIN(v->vec[i].len, RW_MAX - total);
    }
    if (err && v->vec != v->small)
        kfree(v->vec);
    v->uio = (struct uio){.vec = v->vec, .left = total, .user = true};
    return err;
}

void vectors_put(struct vectors *v) {
    if (v->vec != v->small)
        kfree(v->vec);
}

// RWF_NOWAIT: no more is asked for than is in memory from the position on. -EAGAIN: nothing is.
static long cut_to_cached(struct file *f, struct uio *u, const uint64_t *pos) {
    struct page_cache *c = page_cache_of(f->inode);
    if (!c)
        return -EOPNOTSUPP;
    uint64_t at = pos ? *pos : f->position, end = at;
    struct page *p;
    while (end - at < u->left && end < f->inode->size && (p = page_cache_peek(c, end >> PAGE_SHIFT)) != NULL) {
        page_unref(p);
        end = (end | ~PAGE_MASK) + 1;
        sched_point();
    }
    if (end == at && u->left && at < f->inode->size)
        return -EAGAIN;
    u->left = MIN(u->left, MAX(end - at, 1ul)); // 1: behind the end, where reading says so
    return 0;
}

// 0, -EOPNOTSUPP, -EAGAIN.
static long vector_flags(struct file *f, struct uio *u, const uint64_t *pos, unsigned flags, bool write) {
    if (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_NOWAIT))
        return -EOPNOTSUPP;
    u->append = flags & RWF_APPEND;
    if (!(flags & RWF_NOWAIT))
        return 0;
    return write || !S_ISREG(f->inode->mode) ? -EOPNOTSUPP : cut_to_cached(f, u, pos);
}

static long vector_io(uint64_t fd, uint64_t addr, uint64_t count, uint64_t *pos, unsigned flags, bool write) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    struct vectors v;
    long n = !(write ? f->writable : f->readable) ? -EBADF : vectors_get(&v, addr, count);
    if (n == 0 && v.uio.left == 0) {
        n = !(write ? (void *)f->ops->write : (void *)f->ops->read) ? -EINVAL : pos && f->stream ? -ESPIPE : 0;
        vectors_put(&v);
    } else if (n == 0) {
        n = f->stream ? 0 : file_check_range(pos ? *pos : f->position, v.uio.left);
        n = n == 0 && flags ? vector_flags(f, &v.uio, pos, flags, write) : n;
        if (n == 0) {
            n = write ? file_write(f, &v.uio, pos) : file_read(f, &v.uio, pos);
            if (write && (flags & (RWF_DSYNC | RWF_SYNC)))
                n = file_write_sync(f, n, !(flags & RWF_SYNC));
        }
        vectors_put(&v);
    }
    file_unref(f);
    return n;
}

long sys_vmsplice(uint64_t fd, uint64_t addr, uint64_t count, uint64_t flags) {
    if ((unsigned)flags & ~SPLICE_F_ALL)
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    struct vectors v;
    long n = f->readable || f->writable ? vectors_get(&v, addr, count) : -EBADF;
    if (n == 0) {
        n = v.uio.left ? splice_user(f, &v.uio, flags) : 0;
        vectors_put(&v);
    }
    file_unref(f);
    return n;
}

long sys_readv(uint64_t fd, uint64_t vec, uint64_t count) { return vector_io(fd, vec, count, NULL, 0, false); }

long sys_writev(uint64_t fd, uint64_t vec, uint64_t count) { return vector_io(fd, vec, count, NULL, 0, true); }

long sys_preadv(uint64_t fd, uint64_t vec, uint64_t count, uint64_t offset, uint64_t high) {
    return (int64_t)offset < 0 ? -EINVAL : vector_io(fd, vec, count, &offset, 0, false);
}

long sys_pwritev(uint64_t fd, uint64_t vec, uint64_t count, uint64_t offset, uint64_t high) {
    return (int64_t)offset < 0 ? -EINVAL : vector_io(fd, vec, count, &offset, 0, true);
}

// An offset of -1 means the file's own position.
long sys_preadv2(uint64_t fd, uint64_t vec, uint64_t count, uint64_t offset, uint64_t high, uint64_t flags) {
    if ((int64_t)offset < -1)
        return -EINVAL;
    return vector_io(fd, vec, count, offset == ~0UL ? NULL : &offset, flags, false);
}

long sys_pwritev2(uint64_t fd, uint64_t vec, uint64_t count, uint64_t offset, uint64_t high, uint64_t flags) {
    if ((int64_t)offset < -1)
        return -EINVAL;
    return vector_io(fd, vec, count, offset == ~0UL ? NULL : &offset, flags, true);
}

long sys_lseek(uint64_t fd, uint64_t offset, uint64_t whence) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long pos = (unsigned)whence > SEEK_HOLE ? -EINVAL : file_seek(f, offset, whence);
    file_unref(f);
    return pos;
}
