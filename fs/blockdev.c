// Block devices as files: opening a node, reading, writing and mapping it
// through the device's page cache, and the requests that fill and empty this
// cache. Sectors and pages: the last page of a device may be a part of one.
// Locks: inodes_lock, for making a device's inode; holders_lock (spinlock, a
// leaf), for claims.
#include "fs/blockdev.h"

#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/mount.h>

int64_t blockdev_size(const struct block_device *dev) { return (int64_t)(dev->sectors * SECTOR_SIZE); }

// --- Between page cache and device ---

struct bdev {
    struct page_cache cache;
    struct block_device *dev;
};
static struct bdev *bdev_of(struct page_cache *c) { return container_of(c, struct bdev, cache); }

// Pages on their way in one request. When it fails, each page is tried by
// itself, so that only those that cannot be read are missing.
struct transfer {
    struct block_request request;
    struct bdev *bdev;
    uint64_t index;
    unsigned count,
        next;      // next: while pages go one by one; count + 1: all together
    uint32_t turn; // who goes on: see one_by_one
    struct page **pages;
    struct block_segment segments[];
};

static void page_done(struct bdev *b, enum block_op op, struct page *p, int error) {
    if (op == BLOCK_READ)
        page_cache_read_done(&b->cache, p, error);
    else
        page_cache_write_done(&b->cache, p, error);
}

// The bytes of a page that are on the device; the rest of it is zeroes.
static uint32_t page_bytes(const struct block_device *dev, uint64_t index) {
    return (uint32_t)MIN((uint64_t)blockdev_size(dev) - index * PAGE_SIZE, PAGE_SIZE);
}

static unsigned build(struct transfer *t, unsigned first, unsigned count) {
    unsigned n = 0;
    for (unsigned i = first; i < first + count; i++) {
        char *data = page_to_virt(t->pages[i]);
        uint32_t len = page_bytes(t->bdev->dev, t->index + i);
        if (n && (char *)t->segments[n - 1].data + t->segments[n - 1].len == data)
            t->segments[n - 1].len += len;
        else
            t->segments[n++] = (struct block_segment){data, len};
    }
    t->request.sector = (t->index + first) * (PAGE_SIZE / SECTOR_SIZE);
    t->request.segments = t->segments;
    t->request.count = n;
    return n;
}

static void one_by_one(struct transfer *t) {
    // A request may end before block_submit returns: whoever comes second, it or
    // the end, goes on. So nothing recurses.
    do {
        if (t->next > 0)
            page_done(t->bdev, t->request.op, t->pages[t->next - 1], t->request.error);
        if (t->next == t->count) {
            kfree(t);
            return;
        }
        build(t, t->next++, 1);
        t->turn = 0;
        block_submit(t->bdev->dev, &t->request);
    } while (atomic_xchg(&t->turn, 1));
}

static void transfer_done(struct block_request *r) {
    struct transfer *t = container_of(r, struct transfer, request);
    if (t->next > t->count) {
        if (likely(!r->error) || t->count == 1) {
            for (unsigned i = 0; i < t->count; i++)
                page_done(t->bdev, r->op, t->pages[i], r->error);
            kfree(t);
            return;
        }
        t->next = 0;
        one_by_one(t);
    } else if (atomic_xchg(&t->turn, 1)) {
        one_by_one(t);
    }
}

static void transfer(struct page_cache *c, enum block_op op, uint64_t index, struct page **pages, unsigned count) {
    struct bdev *b = bdev_of(c);
    while (count) {
        unsigned n = MIN(count, b->dev->segments_max);
        if (b->dev->bytes_max)
            n = MIN(n, MAX(b->dev->bytes_max / PAGE_SIZE, 1u));
        struct transfer *t = kmalloc(sizeof(*t) + n * (sizeof(t->segments[0]) + sizeof(t->pages[0])));
        if (t) {
            *t = (struct transfer){
                .request = {.op = op, .done = transfer_done}, .bdev = b, .index = index, .count = n, .next = n + 1};
            t->pages = (struct page **)&t->segments[n];
            memcpy(t->pages, pages, n * sizeof(pages[0]));
            if (op == BLOCK_READ && page_bytes(b->dev, index + n - 1) < PAGE_SIZE)
                memset(page_to_virt(pages[n - 1]), 0, PAGE_SIZE);
            build(t, 0, n);
            block_submit(b->dev, &t->request);
        } else { // what is written may be what memory is short of
            n = 1;
            uint32_t len = page_bytes(b->dev, index);
            memset((char *)page_to_virt(pages[0]) + len, 0, op == BLOCK_READ ? PAGE_SIZE - len : 0);
            page_done(b, op, pages[0],
                      block_io(b->dev, op, index * (PAGE_SIZE / SECTOR_SIZE), page_to_virt(pages[0]), len));
        }
        index += n;
        pages += n;
        count -= n;
    }
}

static void cache_read(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    transfer(c, BLOCK_READ, index, pages, count);
}

static void cache_write(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    transfer(c, BLOCK_WRITE, index, pages, count);
}

// The contents are in memory: they are the cache. Not so the rest of a last
// page.
static struct page *cache_provide(struct page_cache *c, uint64_t index) {
    const struct block_device *dev = bdev_of(c)->dev;
    if (!dev->memory || index >= (uint64_t)blockdev_size(dev) >> PAGE_SHIFT)
        return NULL;
    struct page *p = virt_to_page((const char *)dev->memory + index * PAGE_SIZE);
    page_ref(p);
    return p;
}

static const struct page_cache_ops cache_ops = {.read = cache_read, .write = cache_write, .provide = cache_provide};

// --- The device's inode ---

static struct mutex inodes_lock = MUTEX_INIT(inodes_lock);

static struct inode *make_inode(struct block_device *dev) {
    struct bdev *b = kzalloc(sizeof(*b));
    struct inode *inode = b ? inode_anonymous(S_IFBLK | 0600, dev->rdev) : NULL;
    if (!inode) {
        kfree(b);
        return ERR_PTR(-ENOMEM);
    }
    b->dev = dev;
    inode->size = (uint64_t)blockdev_size(dev);
    page_cache_init(&b->cache, inode, &cache_ops);
    inode->cache = &b->cache;
    return inode;
}

struct inode *blockdev_inode(struct block_device *dev) {
    struct inode *inode = load_acquire(&dev->inode);
    if (!inode) {
        mutex_lock(&inodes_lock);
        inode = dev->inode ? dev->inode : make_inode(dev);
        if (!IS_ERR(inode))
            store_release(&dev->inode, inode); // for good, like the device
        mutex_unlock(&inodes_lock);
    }
    return IS_ERR(inode) ? inode : inode_ref(inode);
}

struct block_device *blockdev_source(const char *source) {
    struct path p;
    int err = !source || !*source ? -EINVAL
              : !mount_root()     ? -ENOENT // the root's own device
                                  : path_lookup(AT_FDCWD, source, LOOKUP_FOLLOW, &p);
    struct block_device *dev = NULL;
    if (err == 0) {
        struct inode *inode = path_inode(&p);
        if (!S_ISBLK(inode->mode))
            err = -ENOTBLK;
        else if (p.mount->flags & MS_NODEV)
            err = -EACCES;
        else if (!(dev = blockdev_find(inode->rdev)))
            err = -ENXIO;
        path_unref(&p);
    } else if (err == -ENOENT && (dev = blockdev_find_name(source))) {
        err = 0;
    }
    return err < 0 ? ERR_PTR(err) : dev;
}

// --- Claims ---

static struct spinlock holders_lock = SPINLOCK_INIT;

int blockdev_claim(struct block_device *dev, const void *holder) {
    int err = 0;
    spin_lock(&holders_lock);
    if (dev->exclusive ? dev->holder != holder : dev->parts_held || (dev->parent && dev->parent->exclusive)) {
        err = -EBUSY;
    } else {
        dev->holder = holder;
        if (dev->exclusive++ == 0 && dev->parent)
            dev->parent->parts_held++;
    }
    spin_unlock(&holders_lock);
    return err;
}

void blockdev_release(struct block_device *dev, const void *holder) {
    spin_lock(&holders_lock);
    ASSERT(dev->exclusive && dev->holder == holder);
    if (--dev->exclusive == 0) {
        dev->holder = NULL;
        if (dev->parent)
            dev->parent->parts_held--;
    }
    spin_unlock(&holders_lock);
}

// --- Files ---

static int64_t cached_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct blockdev_file *b = blockdev_file(f);
    if (*pos >= (uint64_t)blockdev_size(b->dev) || !u->left)
        return 0;
    if (f->flags & O_DIRECT)
        return blockdev_direct(f, BLOCK_READ, u, pos);
    return page_cache_read(b->inode->cache, u, pos, f->advice);
}

static int64_t cached_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct blockdev_file *b = blockdev_file(f);
    uint64_t start = *pos, size = (uint64_t)blockdev_size(b->dev);
    if (b->dev->read_only)
        return -EPERM;
    if (!u->left)
        return 0;
    if (start >= size)
        return -ENOSPC;
    if (f->flags & O_DIRECT)
        return blockdev_direct(f, BLOCK_WRITE, u, pos);
    mutex_lock(&b->inode->lock);
    int64_t n = page_cache_write(b->inode->cache, u, pos, start + MIN(u->left, size - start));
    mutex_unlock(&b->inode->lock);
    return n;
}

static int device_sync(struct file *f, bool data_only) {
    struct blockdev_file *b = blockdev_file(f);
    int err = page_cache_sync(b->inode->cache, 0, ~0UL);
    int before = page_cache_check_error(b->inode->cache, &b->errors_seen);
    int flushed = block_flush(b->dev);
    return before ? before : err ? err : flushed;
}

static int64_t device_write(struct file *f, struct uio *u, uint64_t *pos) {
    int64_t n = cached_write(f, u, pos);
    if (n > 0 && (f->flags & O_DSYNC)) {
        int err = device_sync(f, true);
        if (err < 0)
            n = err;
    }
    return n;
}

// Not beyond the end, and holes are not asked for.
static int64_t device_seek(struct file *f, int64_t offset, int whence) {
    int64_t size = blockdev_size(blockdev_file(f)->dev);
    int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (int64_t)f->position : size, to;
    if (whence < SEEK_SET || whence > SEEK_END || __builtin_add_overflow(from, offset, &to) || to < 0 || to > size)
        return -EINVAL;
    return (int64_t)(f->position = (uint64_t)to);
}

static struct backing *device_map(struct file *f, unsigned prot, unsigned flags) {
    struct blockdev_file *b = blockdev_file(f);
    if (b->dev->read_only && f->writable && (flags & MAP_TYPE) != MAP_PRIVATE)
        return ERR_PTR(-EINVAL);
    struct backing *backing = &b->inode->cache->backing;
    backing->ops->ref(backing);
    return backing;
}

static void device_release(struct file *f) {
    struct blockdev_file *b = blockdev_file(f);
    if (b->claimed)
        blockdev_release(b->dev, f);
    if (f->writable)
        page_cache_start_sync(b->inode->cache, 0, ~0UL);
    inode_unref(b->inode);
    kfree(b);
}

static const struct file_ops device_ops = {
    .direct = true,
    .read = cached_read,
    .write = device_write,
    .seek = device_seek,
    .ioctl = blockdev_ioctl,
    .map = device_map,
    .fsync = device_sync,
    .allocate = blockdev_allocate,
    .release = device_release,
};

struct file *blockdev_open(struct inode *node, unsigned flags) {
    struct block_device *dev = blockdev_find(node->rdev);
    if (!dev)
        return ERR_PTR(-ENXIO);
    struct inode *inode = blockdev_inode(dev);
    if (IS_ERR(inode))
        return (struct file *)inode;
    struct blockdev_file *b = kzalloc(sizeof(*b));
    struct file *f = b ? file_alloc(&device_ops, node, flags) : ERR_PTR(-ENOMEM);
    if (IS_ERR(f)) {
        kfree(b);
        inode_unref(inode);
        return f;
    }
    b->dev = dev;
    b->inode = inode;
    f->data = b;
    f->lock_position = true;
    b->errors_seen = page_cache_sample_error(inode->cache);
    if (flags & O_EXCL) { // whether it is made or not: open(2)
        int err = blockdev_claim(dev, f);
        if (err < 0) {
            file_unref(f);
            return ERR_PTR(err);
        }
        b->claimed = true;
    }
    return f;
}
