// ioctl(2) on block devices, as far as programs ask: sizes, hints, discarding,
// zeroing, dropping the cache. <linux/fs.h>
#include "fs/blockdev.h"

#include "fs/cache/pagecache.h"
#include "kernel/memory/usercopy.h"
#include <linux/capability.h>
#include <linux/fs.h>

#define READ_AHEAD_SECTORS 256UL // as Linux tells by default
#define SECTORS_MAX 2560         // of one request, the same

static long put_int(uint64_t arg, uint32_t value) { return copy_out_obj(arg, &value); }
static long put_short(uint64_t arg, uint16_t value) { return copy_out_obj(arg, &value); }
static long put_long(uint64_t arg, uint64_t value) { return copy_out_obj(arg, &value); }

// The block size of file systems that do not choose one: the largest that the
// device is a multiple of.
static uint32_t soft_block_size(const struct block_device *dev) {
    uint32_t size = dev->block_size;
    while (size < PAGE_SIZE && !((uint64_t)blockdev_size(dev) & size))
        size *= 2;
    return size;
}

// The range [arg[0], arg[0] + arg[1]) in bytes.
static long get_range(const struct block_device *dev, uint64_t arg, uint64_t range[2]) {
    uint64_t end;
    if (copy_in(range, arg, 16) < 0)
        return -EFAULT;
    if ((range[0] | range[1]) & (SECTOR_SIZE - 1) || __builtin_add_overflow(range[0], range[1], &end) ||
        end > (uint64_t)blockdev_size(dev))
        return -EINVAL;
    return 0;
}

static long change_range(struct file *f, unsigned cmd, uint64_t arg) {
    struct block_device *dev = blockdev_file(f)->dev;
    uint64_t range[2];
    if (!f->writable)
        return -EBADF;
    if (cmd == BLKSECDISCARD || (cmd == BLKDISCARD && !dev->discard_max))
        return -EOPNOTSUPP;
    long err = get_range(dev, arg, range);
    if (err == 0 && cmd == BLKZEROOUT && !range[1])
        return -EINVAL;
    if (err < 0)
        return err;
    if (dev->read_only)
        return -EPERM;
    if ((range[0] | range[1]) & (dev->block_size - 1))
        return -EINVAL;
    return range[1] == 0       ? 0
           : cmd == BLKZEROOUT ? blockdev_range(f, BLOCK_WRITE_ZEROES, false, true, range[0], range[1])
                               : blockdev_range(f, BLOCK_DISCARD, false, false, range[0], range[1]);
}

static long flush_cache(struct file *f) {
    if (!capable(CAP_SYS_ADMIN))
        return -EACCES;
    struct page_cache *c = blockdev_file(f)->inode->cache;
    page_cache_sync(c, 0, ~0UL);
    page_cache_invalidate(c, 0, ~0UL);
    return 0;
}

long blockdev_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    const struct block_device *dev = blockdev_file(f)->dev;
    switch (cmd) {
    case BLKROGET: return put_int(arg, dev->read_only);
    case BLKGETSIZE: return put_long(arg, dev->sectors);
    case BLKGETSIZE64: return put_long(arg, (uint64_t)blockdev_size(dev));
    case BLKSSZGET: return put_int(arg, dev->block_size);
    case BLKPBSZGET: return put_int(arg, dev->physical_size);
    case BLKBSZGET: return put_int(arg, soft_block_size(dev));
    case BLKIOMIN: return put_int(arg, dev->minimum_size);
    case BLKIOOPT: return put_int(arg, dev->optimal_size);
    case BLKALIGNOFF: return put_int(arg, 0);
    case BLKDISCARDZEROES: return put_int(arg, 0);
    case BLKROTATIONAL: return put_short(arg, 1);
    case BLKSECTGET: return put_short(arg, SECTORS_MAX);
    case BLKRAGET:
    case BLKFRAGET: return put_long(arg, READ_AHEAD_SECTORS);
    case BLKFLSBUF: return flush_cache(f);
    case BLKDISCARD:
    case BLKSECDISCARD:
    case BLKZEROOUT: return change_range(f, cmd, arg);
    case BLKRRPART: return capable(CAP_SYS_ADMIN) ? -EINVAL : -EACCES; // tables are read once
    default: return -ENOTTY;
    }
}
