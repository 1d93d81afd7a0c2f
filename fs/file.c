// Open files: their life, and the checks that every read, write and seek shares.
// A file's position is under position_lock, which is taken only for files where Linux promises atomic positions (regular files
// and directories) and only when somebody else can hold the same file.
#include "fs/cache/pagecache.h"
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/process/signal.h"
#include "kernel/string.h"
#include <linux/fs.h> // SEEK_*
#include <linux/mount.h>

static struct slab_cache file_cache = SLAB_CACHE("file", sizeof(struct file), 64);
uint64_t file_count; // for /proc/sys/fs/file-nr

struct file *file_alloc(const struct file_ops *ops, struct inode *inode, unsigned flags) {
    struct file *f = slab_alloc(&file_cache);
    if (unlikely(!f))
        return ERR_PTR(-ENOMEM);
    atomic_add(&file_count, 1);
    f->ops = ops;
    f->refs = 1;
    f->flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
    unsigned rights = (flags + 1) & O_ACCMODE; // bit 0: to read, bit 1: to write; O_ACCMODE itself: neither
    f->access = (rights & 1) * FILE_READABLE | (rights >> 1) * FILE_WRITABLE;
    f->path_only = f->counts_write = f->has_lock = false;
    f->advice = 0;
    f->write_errors = unlikely(inode->cache != NULL) ? page_cache_sample_error(inode->cache) : 0;
    f->position = 0;
    mutex_init(&f->position_lock);
    f->path = (struct path){NULL, NULL};
    f->inode = inode_ref(inode);
    f->data = NULL;
    f->signal_owner = 0;
    f->owner_is_thread = false;
    f->epoll = NULL;
    return f;
}

void file_release(struct file *f) {
    inotify_used(f, f->writable ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
    if (unlikely(f->epoll != NULL))
        epoll_file_released(f);
    if (unlikely(f->has_lock)) {
        lock_release_owner(f->inode, f, true);
        lock_release_owner(f->inode, f, false);
    }
    if (f->ops->release)
        f->ops->release(f);
    if (f->counts_write) {
        atomic_sub(&f->path.mount->writers, 1);
        inode_put_write(f->inode);
    }
    inode_unref(f->inode); // first: with the path the file system may go
    path_unref(&f->path);
    slab_free(&file_cache, f);
    atomic_sub(&file_count, 1);
}

// One reference is the descriptor's, one that of the call in progress.
static inline bool position_shared(struct file *f) {
    return READ_ONCE(f->refs) > 2 || process_current()->thread_count > 1;
}

static int64_t read_locked(struct file *f, struct uio *u) {
    mutex_lock(&f->position_lock);
    int64_t n = f->ops->read(f, u, &f->position);
    mutex_unlock(&f->position_lock);
    return n;
}

static int64_t write_locked(struct file *f, struct uio *u) {
    mutex_lock(&f->position_lock);
    int64_t n = f->ops->write(f, u, &f->position);
    mutex_unlock(&f->position_lock);
    return n;
}

// What is no file with a position, or is watched, or has an access time that counts each read.
static int64_t read_otherwise(struct file *f, struct uio *u, uint64_t *pos) {
    int64_t n;
    if (unlikely(!f->readable))
        return -EBADF;
    if (unlikely(!f->ops->read))
        return -EINVAL;
    if (f->stream)
        n = pos ? -ESPIPE : f->ops->read(f, u, NULL);
    else if (pos)
        n = (int64_t)*pos < 0 ? -EINVAL : f->ops->read(f, u, pos);
    else
        n = read_locked(f, u);
    if (n > 0)
        inotify_used(f, IN_ACCESS);
    if (n >= 0 && path_accessed_always(&f->path) && S_ISREG(f->inode->mode))
        file_accessed(f);
    return n;
}

int64_t file_read(struct file *f, struct uio *u, uint64_t *pos) {
    const uint32_t bits = FILE_READABLE | FILE_STREAM | FILE_WATCHED;
    if (likely((f->access & bits) == FILE_READABLE && f->ops->read)) {
        if (pos)
            return (int64_t)*pos < 0 ? -EINVAL : f->ops->read(f, u, pos);
        if (!(f->access & FILE_LOCK) || !position_shared(f))
            return f->ops->read(f, u, &f->position);
        return read_locked(f, u);
    }
    if (likely((f->access & bits) == (FILE_READABLE | FILE_STREAM) && f->ops->read))
        return pos ? -ESPIPE : f->ops->read(f, u, NULL);
    return read_otherwise(f, u, pos);
}

int64_t file_share(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max) {
    if (unlikely(!f->ops->share || (f->flags & O_DIRECT)))
        return -EOPNOTSUPP;
    if (unlikely(!f->readable))
        return -EBADF;
    int64_t done = (int64_t)pos < 0 ? -EINVAL : f->ops->share(f, pos, n, vec, max);
    if (done > 0)
        inotify_used(f, IN_ACCESS);
    if (unlikely(done >= 0 && path_accessed_always(&f->path)))
        file_accessed(f);
    return done;
}

struct page *file_share_hole(void) {
    static struct page *zeroes;
    struct page *p = READ_ONCE(zeroes), *none = NULL;
    if (unlikely(!p)) {
        p = page_alloc(0, PA_ZERO);
        if (p && !__atomic_compare_exchange_n(&zeroes, &none, p, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            page_unref(p);
            p = none;
        }
    }
    if (p)
        page_ref(p);
    return p;
}

void file_share_end(const struct uio_vec *vec, int64_t n) {
    for (; n > 0; n -= (int64_t)vec->len, vec++)
        page_unref(virt_to_page((void *)(uintptr_t)vec->base));
}

int64_t file_write_sync(struct file *f, int64_t n, bool data_only) {
    int err = n > 0 && f->ops->fsync ? f->ops->fsync(f, data_only) : 0;
    return err < 0 ? err : n;
}

static int64_t write_otherwise(struct file *f, struct uio *u, uint64_t *pos) {
    int64_t n;
    if (unlikely(!f->writable))
        return -EBADF;
    if (unlikely(!f->ops->write))
        return -EINVAL;
    if (f->stream)
        n = pos ? -ESPIPE : f->ops->write(f, u, NULL);
    else if (pos)
        n = (int64_t)*pos < 0 ? -EINVAL : f->ops->write(f, u, pos);
    else
        n = write_locked(f, u);
    if (n > 0)
        inotify_used(f, IN_MODIFY);
    return n;
}

// O_APPEND is the write function's business: only it knows the size under its lock.
int64_t file_write(struct file *f, struct uio *u, uint64_t *pos) {
    const uint32_t bits = FILE_WRITABLE | FILE_STREAM | FILE_WATCHED;
    if (likely((f->access & bits) == FILE_WRITABLE && f->ops->write)) {
        if (pos)
            return (int64_t)*pos < 0 ? -EINVAL : f->ops->write(f, u, pos);
        if (!(f->access & FILE_LOCK) || !position_shared(f))
            return f->ops->write(f, u, &f->position);
        return write_locked(f, u);
    }
    if (likely((f->access & bits) == (FILE_WRITABLE | FILE_STREAM) && f->ops->write))
        return pos ? -ESPIPE : f->ops->write(f, u, NULL);
    return write_otherwise(f, u, pos);
}

int64_t file_read_kernel(struct file *f, void *buf, size_t n, uint64_t pos) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uint64_t)(uintptr_t)buf, n, false);
    return f->ops->read ? f->ops->read(f, &u, f->stream ? NULL : &pos) : -EINVAL;
}

int64_t file_write_kernel(struct file *f, const void *buf, size_t n, uint64_t *pos) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uint64_t)(uintptr_t)buf, n, false);
    return file_write(f, &u, f->stream ? NULL : pos);
}

int64_t file_seek_limited(struct file *f, int64_t offset, int whence, uint64_t size, uint64_t most) {
    int64_t base = 0;
    switch (whence) {
    case SEEK_SET: break;
    case SEEK_CUR: base = f->position; break;
    case SEEK_END: base = size; break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (offset < 0 || (uint64_t)offset >= size)
            return -ENXIO;
        if (whence == SEEK_HOLE)
            offset = size;
        break;
    default: return -EINVAL;
    }
    int64_t pos;
    if (__builtin_add_overflow(base, offset, &pos) || pos < 0 || (uint64_t)pos > most)
        return -EINVAL;
    f->position = pos;
    return pos;
}

int64_t file_seek_sized(struct file *f, int64_t offset, int whence, uint64_t size) {
    return file_seek_limited(f, offset, whence, size, INT64_MAX);
}

int64_t file_seek_nowhere(struct file *f, int64_t offset, int whence) { return 0; }

int64_t file_seek(struct file *f, int64_t offset, int whence) {
    if (f->stream && !f->ops->seek)
        return -ESPIPE;
    mutex_lock(&f->position_lock);
    int64_t pos = f->ops->seek ? f->ops->seek(f, offset, whence) : file_seek_sized(f, offset, whence, f->inode->size);
    mutex_unlock(&f->position_lock);
    return pos;
}

uint32_t file_poll(struct file *f, struct poll_table *pt) {
    return f->ops->poll ? f->ops->poll(f, pt) : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

void inode_accessed(struct inode *inode, uint32_t mount_flags) {
    if (mount_flags & (MS_RDONLY | MS_NOATIME | (S_ISDIR(inode->mode) ? MS_NODIRATIME : 0)))
        return;
    nsec_t now = inode_now();
    if ((mount_flags & MS_RELATIME) && inode->atime > inode->mtime && inode->atime > inode->ctime &&
        now - inode->atime < 86400 * NSEC_PER_SEC)
        return;
    struct attributes a = {.valid = ATTR_ATIME, .atime = now};
    if (inode->ops->set_attributes && !(inode->sb->flags & SB_REVALIDATE)) // a server has seen it itself
        inode_set_attributes(inode, &a);
    else
        inode->atime = now;
}

void file_accessed(struct file *f) {
    if (!(f->flags & O_NOATIME))
        inode_accessed(f->inode, path_mount_flags(&f->path));
}

int file_iterate(struct file *f, struct dir_context *ctx) {
    if (!f->ops->iterate)
        return -ENOTDIR;
    mutex_lock(&f->position_lock);
    mutex_lock(&f->inode->lock);
    int err = -ENOENT;
    if (f->inode->nlink > 0) {
        ctx->pos = f->position;
        err = f->ops->iterate(f, ctx);
        f->position = ctx->pos;
        file_accessed(f);
    }
    mutex_unlock(&f->inode->lock);
    mutex_unlock(&f->position_lock);
    if (err != -ENOENT)
        inotify_used(f, IN_ACCESS);
    return err;
}
