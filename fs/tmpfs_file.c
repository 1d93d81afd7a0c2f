// Contents of tmpfs files: a tree of pages that read, write and mmap share.
// Locks: inode.lock is held by writers, truncate and fallocate, never by page faults (a write may fault on a mapping of the
// same file); inode.spin protects the tree of pages. So a fault may add a page while a write goes on, and whoever wants to add
// one must be ready to find it there.
#include "fs/limit.h"
#include "fs/tmpfs.h"
#include "kernel/log.h"
#include "kernel/memory/reclaim.h"
#include "kernel/string.h"
#include <linux/falloc.h>
#include <linux/fs.h>

// --- Memory ---

// Files may not take the last of the memory: a full tmpfs is ENOSPC, an empty page allocator the end of the program. How much is
// left is asked once for many pages.
static int32_t budget;

static bool budget_take(void) {
    if (likely(atomic_sub(&budget, 1) > 0))
        return true;
    struct page_stats ps;
    page_stats(&ps);
    uint64_t keep = MAX(ps.total / 32, 48ul);
    if (ps.free <= keep && reclaim_until(keep + 256)) // what other files have in the page cache goes first
        page_stats(&ps);
    if (ps.free <= keep) {
        WRITE_ONCE(budget, 0);
        return false;
    }
    WRITE_ONCE(budget, MIN((ps.free - keep) / 4, 256ul));
    return true;
}

struct page *tmpfs_new_page(bool zero) {
    return budget_take() ? page_alloc(0, zero ? PA_ZERO : 0) : NULL;
}

// --- The tree of pages ---

// Adds a page, taking over its reference; when there is one already, -EEXIST and the reference stays the caller's.
int tmpfs_add_page(struct inode *inode, uint64_t index, struct page *page) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    struct tmpfs_limits *l = inode->sb->limits;
    if (unlikely(l != NULL) && !tmpfs_take_page(l))
        return -ENOSPC;
    page->flags |= PAGE_CACHE;
    page->owner = t;
    page->index = index;
    spin_lock(&inode->spin);
    int err = pagetree_insert(&t->pages, index, page);
    if (err == 0)
        inode->blocks += PAGE_SIZE / 512;
    spin_unlock(&inode->spin);
    if (err == 0)
        page_count(PAGE_CACHE, 1);
    else if (l)
        atomic_sub(&l->pages_used, 1);
    return err;
}

// The page with a reference, made of zeroes when it is not there. NULL: no memory.
static struct page *get_page(struct tmpfs_inode *t, uint64_t index) {
    for (;;) {
        struct page *p = tmpfs_find_page(t, index);
        if (p)
            return p;
        p = tmpfs_new_page(true);
        if (!p)
            return NULL;
        page_ref(p);
        int err = tmpfs_add_page(&t->inode, index, p);
        if (err == 0)
            return p;
        page_unref(p);
        page_unref(p);
        if (err != -EEXIST)
            return NULL;
    }
}

void tmpfs_drop_pages(struct tmpfs_inode *t, uint64_t first, uint64_t end) {
    uint64_t index = first;
    long dropped = 0;
    for (;;) {
        spin_lock(&t->inode.spin);
        struct page *p = pagetree_next(&t->pages, &index);
        if (p && index < end) {
            pagetree_remove(&t->pages, index);
            t->inode.blocks -= PAGE_SIZE / 512;
        } else {
            p = NULL;
        }
        spin_unlock(&t->inode.spin);
        if (!p)
            break;
        page_unref(p);
        dropped++;
        sched_point();
    }
    if (dropped)
        page_count(PAGE_CACHE, -dropped);
    if (unlikely(t->inode.sb->limits != NULL))
        atomic_sub(&t->inode.sb->limits->pages_used, (uint64_t)dropped);
}

static void zero_in_page(struct tmpfs_inode *t, uint64_t from, uint64_t to) {
    if (from >= to)
        return;
    struct page *p = tmpfs_find_page(t, from >> PAGE_SHIFT);
    if (p) {
        memset((char *)page_to_virt(p) + (from & ~PAGE_MASK), 0, to - from);
        page_unref(p);
    }
}

// --- read, write ---

// The piece of one page. Returns the bytes copied.
static inline size_t read_page(struct tmpfs_inode *t, struct uio *u, uint64_t at, size_t n) {
    struct page *p = tmpfs_find_page(t, at >> PAGE_SHIFT);
    if (unlikely(!p))
        return uio_put_zero(u, n);
    size_t done = uio_put(u, (char *)page_to_virt(p) + (at & ~PAGE_MASK), n);
    tmpfs_drop_page(p);
    return done;
}

static int64_t tmpfs_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct inode *inode = f->inode;
    struct tmpfs_inode *t = tmpfs_of(inode);
    uint64_t start = *pos, size = READ_ONCE(inode->size);
    if (start >= size || !u->left) {
        tmpfs_accessed(f, inode);
        return 0;
    }
    size_t total = MIN(u->left, size - start), left = total;
    do {
        size_t n = MIN(PAGE_SIZE - (*pos & ~PAGE_MASK), left), done = read_page(t, u, *pos, n);
        *pos += done;
        left -= done;
        if (unlikely(done < n)) {
            if (left == total)
                return -EFAULT;
            break;
        }
        sched_point();
    } while (unlikely(left));
    tmpfs_accessed(f, inode);
    return total - left;
}

static int64_t tmpfs_share(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max) {
    struct inode *inode = f->inode;
    uint64_t size = READ_ONCE(inode->size);
    size_t left = pos < size ? MIN(n, size - pos) : 0, done = 0;
    for (unsigned count = 0; done < left && count < max; count++) {
        struct page *p = tmpfs_find_page(tmpfs_of(inode), (pos + done) >> PAGE_SHIFT);
        if (unlikely(!p) && !(p = file_share_hole()))
            return done ? (int64_t)done : -ENOMEM;
        done += file_share_page(&vec[count], p, pos + done, left - done);
    }
    tmpfs_accessed(f, inode);
    return (int64_t)done;
}

// Copies into one page. Returns the bytes copied; fewer than n after a fault, or -ENOSPC.
static int64_t write_page(struct tmpfs_inode *t, struct uio *u, uint64_t at, size_t n) {
    size_t offset = at & ~PAGE_MASK, done;
    struct page *p = tmpfs_find_page(t, at >> PAGE_SHIFT);
    if (p) {
        done = uio_get(u, (char *)page_to_virt(p) + offset, n);
        tmpfs_drop_page(p);
        return done;
    }
    // A new page is filled before anybody can see it, so what is overwritten need not be zeroed.
    p = tmpfs_new_page(n < PAGE_SIZE);
    if (!p)
        return -ENOSPC;
    char *data = page_to_virt(p);
    done = uio_get(u, data + offset, n);
    if (unlikely(done < n))
        memset(data + offset + done, 0, n - done);
    int err = tmpfs_add_page(&t->inode, at >> PAGE_SHIFT, p);
    if (unlikely(err < 0)) {
        struct page *there = err == -EEXIST ? get_page(t, at >> PAGE_SHIFT) : NULL;
        if (there) {
            memcpy((char *)page_to_virt(there) + offset, data + offset, done);
            page_unref(there);
        }
        page_unref(p);
        return there ? (int64_t)done : -ENOSPC;
    }
    return done;
}

static int64_t check_write(struct tmpfs_inode *t, uint64_t at, size_t n) {
    if (unlikely(t->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
        return -EPERM;
    if (unlikely((t->seals & F_SEAL_GROW) && at + n > t->inode.size))
        return -EPERM;
    return file_write_limit(at, n);
}

static inline __attribute__((always_inline)) int64_t write_locked(struct file *f, struct uio *u, uint64_t *pos,
                                                                  tmpfs_write_fn *write) {
    struct inode *inode = f->inode;
    struct tmpfs_inode *t = tmpfs_of(inode);
    uint64_t at = (f->flags & O_APPEND) || u->append ? inode->size : *pos, start = at;
    int64_t allowed = check_write(t, at, u->left), err = -EFAULT;
    if (allowed < 0)
        return allowed;
    uint64_t end = at + allowed;
    while (at < end) {
        size_t n = MIN(PAGE_SIZE - (at & ~PAGE_MASK), end - at);
        int64_t done = write(t, u, at, n);
        if (unlikely(done < 0)) {
            err = done;
            break;
        }
        at += done;
        if (at > inode->size)
            WRITE_ONCE(inode->size, at);
        if (unlikely((size_t)done < n))
            break;
        sched_point();
    }
    if (at == start)
        return err;
    inode_touch_change(inode);
    inode_drop_privileges(inode);
    *pos = at;
    return at - start;
}

static int64_t tmpfs_write(struct file *f, struct uio *u, uint64_t *pos) {
    if (u->left == 0)
        return 0;
    mutex_lock(&f->inode->lock);
    int64_t n = write_locked(f, u, pos, write_page);
    mutex_unlock(&f->inode->lock);
    return n;
}

int64_t tmpfs_write_by(struct file *f, struct uio *u, uint64_t *pos, tmpfs_write_fn *write) {
    if (u->left == 0)
        return 0;
    mutex_lock(&f->inode->lock);
    int64_t n = write_locked(f, u, pos, write);
    mutex_unlock(&f->inode->lock);
    return n;
}

// --- truncate, fallocate, seek ---

int tmpfs_truncate(struct inode *inode, uint64_t size) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    uint64_t old = inode->size;
    if ((size < old && (t->seals & F_SEAL_SHRINK)) || (size > old && (t->seals & F_SEAL_GROW)))
        return -EPERM;
    WRITE_ONCE(inode->size, size);
    if (size < old) {
        uint64_t first = DIV_ROUND_UP(size, PAGE_SIZE), end = DIV_ROUND_UP(old, PAGE_SIZE);
        tmpfs_drop_pages(t, first, ~0UL);
        if (end > first)
            backing_unmap(&t->backing, first, end - first);
        zero_in_page(t, size, MIN(ALIGN_UP(size, PAGE_SIZE), old));
    }
    return 0;
}

static int punch_hole(struct tmpfs_inode *t, uint64_t offset, uint64_t end) {
    if (t->seals & F_SEAL_WRITE)
        return -EPERM;
    uint64_t first = DIV_ROUND_UP(offset, PAGE_SIZE), last = end >> PAGE_SHIFT;
    if (first > last) { // inside one page
        zero_in_page(t, offset, end);
        return 0;
    }
    zero_in_page(t, offset, first << PAGE_SHIFT);
    zero_in_page(t, last << PAGE_SHIFT, end);
    if (last > first) {
        tmpfs_drop_pages(t, first, last);
        backing_unmap(&t->backing, first, last - first);
    }
    return 0;
}

static int make_page(struct tmpfs_inode *t, uint64_t index) {
    struct page *p = tmpfs_find_page(t, index);
    int new = !p;
    if (!p)
        p = get_page(t, index);
    if (p)
        page_unref(p);
    return p ? new : -ENOSPC;
}

static void drop_page(struct tmpfs_inode *t, uint64_t index) { tmpfs_drop_pages(t, index, index + 1); }

// Of an allocation that failed; what somebody uses through a mapping by now stays.
static void unmake_page(struct tmpfs_inode *t, uint64_t index, const struct tmpfs_page_ops *ops) {
    spin_lock(&t->inode.spin);
    struct page *p = pagetree_get(&t->pages, index);
    bool unused = p && load_acquire(&p->refs) == 1;
    spin_unlock(&t->inode.spin);
    if (unused)
        ops->drop(t, index);
}

// Pages [first, last), all or none.
static int make_pages(struct tmpfs_inode *t, uint64_t first, uint64_t last, const struct tmpfs_page_ops *ops) {
    struct page_stats ps;
    page_stats(&ps);
    if (last - first > ps.total)
        return -ENOSPC;
    uint8_t *made = kzalloc((last - first) / 8 + 1);
    if (!made)
        return -ENOSPC;
    uint64_t i = first;
    int new = 0;
    for (; i < last && (new = ops->make(t, i)) >= 0; i++) {
        if (new)
            made[(i - first) / 8] |= (uint8_t)(1u << (i - first) % 8);
        sched_point();
    }
    while (new < 0 && i-- > first) {
        if (made[(i - first) / 8] >> (i - first) % 8 & 1)
            unmake_page(t, i, ops);
        sched_point();
    }
    kfree(made);
    return MIN(new, 0);
}

static int allocate_locked(struct tmpfs_inode *t, int mode, uint64_t offset, uint64_t end,
                           const struct tmpfs_page_ops *ops) {
    struct inode *inode = &t->inode;
    bool grows = end > inode->size && !(mode & FALLOC_FL_KEEP_SIZE);
    if (mode & FALLOC_FL_PUNCH_HOLE)
        return ops->punch(t, offset, end);
    int err = file_size_limit(inode, end);
    if (err == 0 && grows && (t->seals & F_SEAL_GROW))
        err = -EPERM;
    if (err == 0)
        err = make_pages(t, offset >> PAGE_SHIFT, DIV_ROUND_UP(end, PAGE_SIZE), ops);
    if (err == 0 && grows)
        WRITE_ONCE(inode->size, end);
    return err;
}

int tmpfs_allocate_by(struct file *f, int mode, uint64_t offset, uint64_t len, const struct tmpfs_page_ops *ops) {
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
        return -EOPNOTSUPP;
    mutex_lock(&f->inode->lock);
    int err = allocate_locked(tmpfs_of(f->inode), mode, offset, offset + len, ops);
    if (err == 0)
        inode_touch_change(f->inode);
    mutex_unlock(&f->inode->lock);
    return err;
}

static int tmpfs_allocate(struct file *f, int mode, uint64_t offset, uint64_t len) {
    static const struct tmpfs_page_ops ops = {.make = make_page, .drop = drop_page, .punch = punch_hole};
    return tmpfs_allocate_by(f, mode, offset, len, &ops);
}

// The first offset at or behind `offset` that lies in a page (data) or in none; the end of the file is a hole.
static int64_t find_boundary(struct tmpfs_inode *t, uint64_t offset, bool data) {
    uint64_t size = t->inode.size, index = offset >> PAGE_SHIFT;
    if (offset >= size)
        return -ENXIO;
    spin_lock(&t->inode.spin);
    if (data) {
        bool found = pagetree_next(&t->pages, &index);
        spin_unlock(&t->inode.spin);
        uint64_t at = MAX(offset, index << PAGE_SHIFT);
        return found && at < size ? (int64_t)at : -ENXIO;
    }
    while (pagetree_get(&t->pages, index)) {
        if (++index % 64)
            continue;
        // Pages go under inode.lock only, which is held: what was seen stays true.
        spin_unlock(&t->inode.spin);
        sched_point();
        spin_lock(&t->inode.spin);
    }
    spin_unlock(&t->inode.spin);
    return MIN(MAX(offset, index << PAGE_SHIFT), size);
}

static int64_t tmpfs_seek(struct file *f, int64_t offset, int whence) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return file_seek_sized(f, offset, whence, f->inode->size);
    if (offset < 0)
        return -ENXIO;
    mutex_lock(&f->inode->lock);
    int64_t pos = find_boundary(tmpfs_of(f->inode), offset, whence == SEEK_DATA);
    mutex_unlock(&f->inode->lock);
    if (pos >= 0)
        f->position = pos;
    return pos;
}

// --- mmap ---

// Whoever sets the seal may take it back.
static bool sealed(struct tmpfs_inode *t) {
    mutex_lock(&t->inode.lock);
    bool yes = t->seals & F_SEAL_WRITE;
    mutex_unlock(&t->inode.lock);
    return yes;
}

static struct page *backing_get_page(struct backing *b, uint64_t index, bool write) {
    struct tmpfs_inode *t = tmpfs_of_backing(b);
    if (index >= DIV_ROUND_UP(READ_ONCE(t->inode.size), PAGE_SIZE))
        return ERR_PTR(-EFAULT);
    if (unlikely(write && (READ_ONCE(t->seals) & F_SEAL_WRITE)) && sealed(t))
        return ERR_PTR(-EFAULT);
    struct page *p = get_page(t, index);
    if (likely(p))
        return p;
    const struct tmpfs_limits *l = t->inode.sb->limits;
    return ERR_PTR(l && tmpfs_full(l) ? -EFAULT : -ENOMEM); // a full file system is the program's business: SIGBUS
}

void tmpfs_backing_ref(struct backing *b) { inode_pin(&tmpfs_of_backing(b)->inode); }

void tmpfs_backing_unref(struct backing *b) { inode_unpin(&tmpfs_of_backing(b)->inode); }

void tmpfs_backing_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    inode_describe(&tmpfs_of_backing(b)->inode, name, size, dev, ino);
}

const struct backing_ops tmpfs_backing_ops = {
    .get_page = backing_get_page,
    .ref = tmpfs_backing_ref,
    .unref = tmpfs_backing_unref,
    .describe = tmpfs_backing_describe,
};

static struct backing *tmpfs_map(struct file *f, unsigned prot, unsigned flags) {
    struct tmpfs_inode *t = tmpfs_of(f->inode);
    if ((t->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) && (flags & MAP_SHARED) && (prot & PROT_WRITE))
        return ERR_PTR(-EPERM);
    tmpfs_mapped(f);
    inode_pin(f->inode);
    return &t->backing;
}

int tmpfs_fsync(struct file *f, bool data_only) {
    return 0; // memory is all there is
}

const struct file_ops tmpfs_file_ops = {
    .direct = true,
    .read = tmpfs_read,
    .write = tmpfs_write,
    .share = tmpfs_share,
    .seek = tmpfs_seek,
    .map = tmpfs_map,
    .fsync = tmpfs_fsync,
    .allocate = tmpfs_allocate,
};

// --- Seals: fcntl(2) F_ADD_SEALS, F_GET_SEALS ---

long file_get_seals(struct file *f) {
    return tmpfs_owns(f->inode) && S_ISREG(f->inode->mode) ? (long)tmpfs_of(f->inode)->seals : -EINVAL;
}

long file_add_seals(struct file *f, unsigned seals) {
    if (!tmpfs_owns(f->inode) || !S_ISREG(f->inode->mode) || (seals & ~0x1fu))
        return -EINVAL;
    if (!f->writable)
        return -EPERM;
    struct tmpfs_inode *t = tmpfs_of(f->inode);
    mutex_lock(&f->inode->lock);
    long err = t->seals & F_SEAL_SEAL ? -EPERM : 0;
    unsigned old = t->seals;
    if (err == 0)
        WRITE_ONCE(t->seals, old | seals);
    // First the seal, then the look: a mapping that comes now finds it at its first write.
    if (err == 0 && (seals & ~old & F_SEAL_WRITE)) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (backing_mapped_writable(&t->backing)) {
            WRITE_ONCE(t->seals, old);
            err = -EBUSY;
        }
    }
    mutex_unlock(&f->inode->lock);
    return err;
}
