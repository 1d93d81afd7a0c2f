// read(2), write(2), mmap(2) and fsync(2) of files with a page cache.
// User memory is copied with a reference of the page alone: a fault on a mapping of the same page, in the midst of a copy, finds nothing
// locked that it wants. A page that is about to be overwritten as a whole is filled before anybody can see it.
// Locks: inode.lock in write.
#include "fs/cache/internal.h"
#include "fs/limit.h"
#include "kernel/string.h"
#include <linux/fadvise.h>
#include <linux/fs.h>
#include <linux/mount.h>

#define DAY (86400 * NSEC_PER_SEC)
#define READ_BATCH 16 // pages

// --- read ---

static void accessed_slow(struct file *f, struct inode *inode) {
    const struct mount *m = f->path.mount;
    if ((f->flags & O_NOATIME) || (inode->sb->flags & SB_RDONLY) || (m && (m->flags & (MS_RDONLY | MS_NOATIME))))
        return;
    inode->atime = inode_now();
    if (inode->cache->ops->changed)
        inode->cache->ops->changed(inode->cache, true);
}

// As relatime: once after each change, and once a day.
static inline void accessed(struct file *f, struct inode *inode) {
    if (unlikely(inode->atime <= inode->mtime || inode->atime <= inode->ctime))
        accessed_slow(f, inode);
}

// References of the pages from `index` on that are there and that nothing has to be done for, at most `max`. How many.
static unsigned get_ready(struct page_cache *c, uint64_t index, uint64_t max, struct page **pages) {
    unsigned n = 0, count;
    spin_lock(&c->host->spin);
    struct page *const *run = pagetree_run(&c->pages, index, &count);
    if (likely(run)) {
        for (unsigned most = (unsigned)MIN(max, count); n < most; n++) {
            struct page *p = run[n];
            uint64_t bits = p ? page_bits(p) : 0;
            if ((bits & (CACHE_VALID | CACHE_READAHEAD)) != CACHE_VALID)
                break;
            page_ref(p);
            cache_used(p, bits);
            pages[n] = p;
        }
    }
    spin_unlock(&c->host->spin);
    return n;
}

// Several pages at a time, those that lie side by side in memory in one go; `left` bytes from *pos on at most. The bytes copied. *ready: how
// many there were to be had.
static size_t read_ready(struct page_cache *c, struct uio *u, uint64_t pos, size_t left, size_t *ready) {
    struct page *pages[READ_BATCH];
    size_t offset = pos & ~PAGE_MASK, done = 0;
    unsigned n = get_ready(c, pos >> PAGE_SHIFT, MIN((offset + left + PAGE_SIZE - 1) >> PAGE_SHIFT, READ_BATCH), pages);
    *ready = MIN(n * PAGE_SIZE - (n ? offset : 0), left);
    for (unsigned i = 0, k; i < n && done < *ready; i = k) {
        for (k = i + 1; k < n && pages[k] == pages[k - 1] + 1; k++)
            ;
        size_t want = MIN((k - i) * PAGE_SIZE - offset, left - done);
        size_t got = uio_put(u, (char *)page_to_virt(pages[i]) + offset, want);
        done += got;
        offset = 0;
        if (unlikely(got < want))
            break;
    }
    for (unsigned i = 0; i < n; i++)
        page_unref(pages[i]);
    return done;
}

int64_t page_cache_read(struct page_cache *c, struct uio *u, uint64_t *pos, unsigned advice) {
    unsigned how = READ_KILLABLE;
    how |= advice == POSIX_FADV_RANDOM ? READ_RANDOM : advice == POSIX_FADV_SEQUENTIAL ? READ_SEQUENTIAL : 0;
    uint64_t start = *pos, size = READ_ONCE(c->host->size);
    if (start >= size || !u->left)
        return 0;
    size_t total = MIN(u->left, size - start), left = total;
    int64_t err = 0;
    bool slept;
    do {
        if (left > PAGE_SIZE && !c->ops->provide) {
            size_t ready, done = read_ready(c, u, *pos, left, &ready);
            *pos += done;
            left -= done;
            if (unlikely(done < ready)) {
                err = -EFAULT;
                break;
            }
            sched_point();
            if (done)
                continue;
        }
        size_t offset = *pos & ~PAGE_MASK, n = MIN(PAGE_SIZE - offset, left);
        uint64_t pages = (offset + left + PAGE_SIZE - 1) >> PAGE_SHIFT;
        struct page *p = cache_get(c, *pos >> PAGE_SHIFT, pages, how, &slept);
        if (IS_ERR(p)) {
            err = PTR_ERR(p) == -EFAULT ? 0 : PTR_ERR(p); // -EFAULT: the file was cut meanwhile
            break;
        }
        size_t done = uio_put(u, (char *)page_to_virt(p) + offset, n);
        page_unref(p);
        *pos += done;
        left -= done;
        if (unlikely(done < n)) {
            err = -EFAULT;
            break;
        }
        sched_point();
    } while (unlikely(left) && !thread_is_killed());
    return left < total ? (int64_t)(total - left) : err;
}

int64_t page_cache_read_file(struct file *f, struct uio *u, uint64_t *pos) {
    size_t wanted = u->left;
    int64_t n = page_cache_read(f->inode->cache, u, pos, f->advice);
    if (n > 0 || (n == 0 && wanted))
        accessed(f, f->inode);
    return n;
}

int64_t page_cache_share(struct page_cache *c, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max, unsigned advice) {
    unsigned how = READ_KILLABLE;
    how |= advice == POSIX_FADV_RANDOM ? READ_RANDOM : advice == POSIX_FADV_SEQUENTIAL ? READ_SEQUENTIAL : 0;
    uint64_t size = READ_ONCE(c->host->size);
    size_t left = pos < size ? MIN(n, size - pos) : 0, done = 0;
    unsigned count = 0;
    while (done < left && count < max) {
        struct page *pages[READ_BATCH];
        uint64_t index = (pos + done) >> PAGE_SHIFT, wanted = ((pos + left - 1) >> PAGE_SHIFT) - index + 1;
        unsigned ready = get_ready(c, index, MIN(wanted, (uint64_t)MIN(max - count, (unsigned)READ_BATCH)), pages);
        if (!ready) {
            bool slept = false;
            pages[0] = cache_get(c, index, wanted, how, &slept);
            if (IS_ERR(pages[0]))
                return done || PTR_ERR(pages[0]) == -EFAULT ? (int64_t)done : PTR_ERR(pages[0]);
            ready = 1;
        }
        for (unsigned i = 0; i < ready; i++)
            done += file_share_page(&vec[count++], pages[i], pos + done, left - done);
    }
    return (int64_t)done;
}

int64_t page_cache_share_file(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max) {
    int64_t done = page_cache_share(f->inode->cache, pos, n, vec, max, f->advice);
    if (done >= 0)
        accessed(f, f->inode);
    return done;
}

// --- write ---

static void grow_to(struct inode *inode, uint64_t end) {
    if (end > inode->size)
        WRITE_ONCE(inode->size, end);
}

// Copies what is there already into the page, after all.
static int64_t write_copied(struct page_cache *c, uint64_t at, const char *data, size_t n) {
    size_t offset = at & ~PAGE_MASK;
    struct page *p = page_cache_get_write(c, at >> PAGE_SHIFT, offset, offset + n);
    if (IS_ERR(p))
        return PTR_ERR(p);
    memcpy((char *)page_to_virt(p) + offset, data, n);
    grow_to(c->host, at + n);
    page_cache_dirty(c, p);
    page_unref(p);
    return n;
}

// A page that is not cached, and whose contents are all known once `n` bytes from its start are written.
static int64_t write_fresh(struct page_cache *c, struct uio *u, uint64_t at, size_t n) {
    struct page *p = cache_page_alloc();
    if (!p)
        return -ENOMEM;
    char *data = page_to_virt(p);
    uint64_t index = at >> PAGE_SHIFT;
    size_t done = uio_get(u, data, n);
    int64_t r = 0;
    memset(data + n, 0, PAGE_SIZE - n);
    if (likely(done == n) && cache_insert(c, index, p, CACHE_LOCKED, false) == 0) {
        bool whole;
        r = c->ops->prepare ? c->ops->prepare(c, index, 0, n, false, &whole) : 0;
        if (likely(r == 0)) {
            atomic_or(&p->private, CACHE_VALID);
            // The size first: what is written back is what lies before the end.
            grow_to(c->host, at + n);
            page_cache_dirty(c, p);
            r = n;
        }
        cache_unlock(p); // not valid: whoever wants it reads it
    } else if (done) {
        r = write_copied(c, at, data, done);
    }
    page_unref(p);
    return r;
}

// Copies into one page. The bytes copied, fewer than n after a fault; or -errno.
static int64_t write_page(struct page_cache *c, struct uio *u, uint64_t at, size_t n) {
    size_t offset = at & ~PAGE_MASK;
    uint64_t index = at >> PAGE_SHIFT;
    if (offset == 0 && (n == PAGE_SIZE || at + n >= c->host->size)) {
        struct page *there = cache_find(c, index);
        if (!there)
            return write_fresh(c, u, at, n);
        page_unref(there);
    }
    struct page *p = page_cache_get_write(c, index, offset, offset + n);
    if (IS_ERR(p))
        return PTR_ERR(p);
    size_t done = uio_get(u, (char *)page_to_virt(p) + offset, n);
    if (done) {
        grow_to(c->host, at + done);
        page_cache_dirty(c, p);
    }
    page_unref(p);
    return done;
}

int64_t page_cache_write(struct page_cache *c, struct uio *u, uint64_t *pos, uint64_t end) {
    uint64_t start = *pos;
    int64_t err = 0;
    while (err == 0 && *pos < end) {
        size_t n = MIN(PAGE_SIZE - (*pos & ~PAGE_MASK), end - *pos);
        int64_t done = write_page(c, u, *pos, n);
        if (unlikely(done < (int64_t)n))
            err = done < 0 ? done : -EFAULT;
        if (done > 0)
            *pos += done;
        page_cache_balance(c);
        sched_point();
        if (unlikely(thread_is_killed()))
            break;
    }
    return *pos > start ? (int64_t)(*pos - start) : err;
}

static int64_t write_locked(struct file *f, struct uio *u, uint64_t *pos) {
    struct inode *inode = f->inode;
    struct page_cache *c = inode->cache;
    uint64_t at = (f->flags & O_APPEND) || u->append ? inode->size : *pos;
    int64_t allowed = file_write_limit(at, u->left), err;
    if (allowed < 0)
        return allowed;
    err = inode_drop_privileges(inode);
    if (unlikely(err == 0 && at > inode->size))
        err = page_cache_zero_tail(c, inode->size, at);
    if (err < 0)
        return err;
    int64_t n = page_cache_write(c, u, &at, at + allowed);
    if (n <= 0)
        return n;
    inode_touch_change(inode);
    if (c->ops->changed)
        c->ops->changed(c, false);
    *pos = at;
    return n;
}

int64_t page_cache_write_file(struct file *f, struct uio *u, uint64_t *pos) {
    if (u->left == 0)
        return 0;
    if (unlikely(!f->inode->cache->ops->write))
        return -EROFS;
    mutex_lock(&f->inode->lock);
    int64_t n = write_locked(f, u, pos);
    mutex_unlock(&f->inode->lock);
    if (unlikely(n > 0 && (f->flags & O_DSYNC)) && f->ops->fsync) {
        int err = f->ops->fsync(f, (f->flags & O_SYNC) != O_SYNC);
        if (err < 0)
            return err;
    }
    return n;
}

// --- mmap, fsync ---

struct backing *page_cache_map(struct file *f, unsigned prot, unsigned flags) {
    if (unlikely(path_accessed_always(&f->path)))
        file_accessed(f);
    else
        accessed(f, f->inode);
    inode_pin(f->inode);
    return &f->inode->cache->backing;
}

int page_cache_fsync(struct file *f, bool data_only) {
    struct page_cache *c = f->inode->cache;
    int err = page_cache_sync(c, 0, ~0ul), earlier = page_cache_check_error(c, &f->write_errors);
    return earlier ? earlier : err == -ENOMEM ? err : 0; // the others are told once to each file
}
