// What goes past a device's page cache: O_DIRECT, and ranges that are discarded
// or zeroed. The cache is made to agree: what is changed in it is written
// before, and what the device has anew is dropped from it, before and after,
// since a reader may have come between. Data passes through a buffer of the
// kernel's; the limits of alignment are Linux'.
#include "fs/blockdev.h"

#include "fs/cache/pagecache.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include <linux/falloc.h>
#include <linux/fs.h>

#define MEMORY_ALIGNMENT 512u // of O_DIRECT buffers
#define BUFFER_ORDER 5        // 128 KiB at a time, or what can be had

static bool aligned(const struct block_device *dev, const struct uio *u, uint64_t pos, uint64_t len) {
    uint32_t mask = dev->block_size - 1;
    if ((pos | len) & mask)
        return false;
    size_t left = u->left, offset = u->vec_offset;
    for (const struct uio_vec *v = u->vec; left; v++, offset = 0) {
        size_t n = MIN(v->len - offset, left);
        if (n && (((v->base + offset) & (MEMORY_ALIGNMENT - 1)) || (n & mask)))
            return false;
        left -= n;
    }
    return true;
}

static struct page *buffer_alloc(size_t len) {
    unsigned order = 0;
    while (order < BUFFER_ORDER && (PAGE_SIZE << order) < len)
        order++;
    struct page *p;
    while (!(p = page_alloc(order, 0)) && order)
        order--;
    return p;
}

// Pages that the bytes [from, from + len) lie in.
static uint64_t first_page(uint64_t from) { return from >> PAGE_SHIFT; }
static uint64_t page_span(uint64_t from, uint64_t len) {
    return len ? ((from + len - 1) >> PAGE_SHIFT) - (from >> PAGE_SHIFT) + 1 : 0;
}

// Before a change of the range: what the cache has of the rest of its pages is
// written, and then nothing of it stays.
static int range_begin(struct blockdev_file *b, uint64_t from, uint64_t len) {
    int err = page_cache_sync(b->inode->cache, first_page(from), page_span(from, len));
    if (err == 0)
        page_cache_invalidate(b->inode->cache, first_page(from), page_span(from, len));
    return err;
}

static void range_end(struct blockdev_file *b, uint64_t from, uint64_t len) {
    page_cache_invalidate(b->inode->cache, first_page(from), page_span(from, len));
}

// One buffer full. Bytes, or -errno.
static int64_t transfer(struct block_device *dev, enum block_op op, struct uio *u, uint64_t pos, void *buf, size_t n) {
    if (op == BLOCK_WRITE && uio_get(u, buf, n) < n)
        return -EFAULT;
    int err = block_io(dev, op, pos / SECTOR_SIZE, buf, n);
    if (err < 0)
        return err;
    if (op == BLOCK_READ) {
        size_t done = uio_put(u, buf, n);
        return done < n ? -EFAULT : (int64_t)n;
    }
    return (int64_t)n;
}

int64_t blockdev_direct(struct file *f, enum block_op op, struct uio *u, uint64_t *pos) {
    struct blockdev_file *b = blockdev_file(f);
    uint64_t start = *pos, left = MIN(u->left, (uint64_t)blockdev_size(b->dev) - start), len = left;
    if (!aligned(b->dev, u, start, left))
        return -EINVAL;
    struct page *buffer = buffer_alloc(left);
    if (!buffer)
        return -ENOMEM;
    size_t room = PAGE_SIZE << buffer->order;
    int64_t n = op == BLOCK_READ ? page_cache_sync(b->inode->cache, first_page(start), page_span(start, len))
                                 : range_begin(b, start, len);
    while (left && n >= 0) {
        n = transfer(b->dev, op, u, *pos, page_to_virt(buffer), MIN(left, room));
        if (n > 0) {
            *pos += (uint64_t)n;
            left -= (uint64_t)n;
        }
        sched_point();
    }
    if (op == BLOCK_WRITE)
        range_end(b, start, len);
    page_unref(buffer);
    return *pos > start ? (int64_t)(*pos - start) : n;
}

// --- Ranges ---

// Zeroes, written: for devices that have no command for it.
static int write_zeroes(struct block_device *dev, uint64_t from, uint64_t len) {
    struct page *p = page_alloc(0, PA_ZERO);
    int err = p ? 0 : -ENOMEM;
    while (len && !err) {
        size_t n = MIN(len, PAGE_SIZE);
        err = block_io(dev, BLOCK_WRITE, from / SECTOR_SIZE, page_to_virt(p), n);
        from += n;
        len -= n;
        if (!err && thread_signal_pending())
            err = len ? -EINTR : 0;
        sched_point();
    }
    if (p)
        page_unref(p);
    return err;
}

int blockdev_range(struct file *f, enum block_op op, bool unmap, bool fallback, uint64_t from, uint64_t len) {
    struct blockdev_file *b = blockdev_file(f);
    if (b->dev->read_only)
        return -EPERM;
    mutex_lock(&b->inode->lock);
    int err = range_begin(b, from, len);
    if (err == 0 && op == BLOCK_WRITE_ZEROES && b->dev->zeroes_max == 0)
        err = fallback ? write_zeroes(b->dev, from, len) : -EOPNOTSUPP;
    else if (err == 0)
        err = block_range(b->dev, op, from / SECTOR_SIZE, len / SECTOR_SIZE, unmap);
    if (err == -EOPNOTSUPP && fallback)
        err = write_zeroes(b->dev, from, len);
    range_end(b, from, len);
    mutex_unlock(&b->inode->lock);
    return err;
}

int blockdev_allocate(struct file *f, int mode, uint64_t offset, uint64_t len) {
    const struct block_device *dev = blockdev_file(f)->dev;
    uint64_t size = (uint64_t)blockdev_size(dev);
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_NO_HIDE_STALE))
        return -EOPNOTSUPP;
    if (offset >= size)
        return -EINVAL;
    if (offset + len > size) {
        if (!(mode & FALLOC_FL_KEEP_SIZE))
            return -EINVAL;
        len = size - offset;
    }
    if ((offset | len) & (dev->block_size - 1))
        return -EINVAL;
    switch (mode) {
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        return blockdev_range(f, BLOCK_WRITE_ZEROES, false, true, offset, len);
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
        return blockdev_range(f, BLOCK_WRITE_ZEROES, true, false, offset, len);
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE | FALLOC_FL_NO_HIDE_STALE:
        return blockdev_range(f, BLOCK_DISCARD, false, false, offset, len);
    default: return -EOPNOTSUPP;
    }
}
