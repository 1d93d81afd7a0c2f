// Block devices as files: the nodes in /dev, and the inode of a device, whose page cache they share with the file systems on it.
// Locks: that inode's lock serialises writes through the cache and all that changes ranges; see fs/cache/pagecache.h.
#ifndef FS_BLOCKDEV_H
#define FS_BLOCKDEV_H

#include "fs/vfs.h"
#include "kernel/blockdev.h"

// The device's inode, with a reference and a page cache; one for all its nodes. ERR_PTR(-ENOMEM).
struct inode *blockdev_inode(struct block_device *dev);
// What mount(2) means by its source: a block device's node, or "vda" and "/dev/vda" before there are nodes. ERR_PTR(-ENOENT, ...;
// -ENOTBLK: another kind of file; -EACCES: on a mount with nodev; -ENXIO: there is no such device).
struct block_device *blockdev_source(const char *source);
// A device, and with it its partitions or the disk that it is part of, belongs to one holder at a time: a superblock, a file opened
// with O_EXCL. 0, or -EBUSY when another one has it. The same holder may claim again, and releases as often.
int blockdev_claim(struct block_device *dev, const void *holder);
void blockdev_release(struct block_device *dev, const void *holder);

// --- What the files fs/blockdev*.c share ---
struct blockdev_file { // of an opened node: file.data
    struct block_device *dev;
    struct inode *inode; // the device's
    bool claimed;        // O_EXCL
    uint32_t errors_seen; // page_cache_check_error
};
static inline struct blockdev_file *blockdev_file(const struct file *f) { return f->data; }
struct file *blockdev_open(struct inode *node, unsigned flags); // for fs/open.c: ERR_PTR(-ENXIO, -EBUSY, -ENOMEM)
long blockdev_ioctl(struct file *f, unsigned cmd, uint64_t arg);
int blockdev_allocate(struct file *f, int mode, uint64_t offset, uint64_t len); // fallocate(2)
// With O_DIRECT: past the cache, which is made to agree. Bytes, or -errno.
int64_t blockdev_direct(struct file *f, enum block_op op, struct uio *u, uint64_t *pos);
// Zeroes or discards bytes of an opened device. fallback: by writing zeroes when the device cannot do it. 0, -EPERM: read-only, -EOPNOTSUPP,
// -EIO, -EINTR.
int blockdev_range(struct file *f, enum block_op op, bool unmap, bool fallback, uint64_t from, uint64_t len);
int64_t blockdev_size(const struct block_device *dev); // bytes

#endif
