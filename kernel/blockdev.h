// Block devices: what a driver (virtio-blk) offers to the file systems above. The user declares, the driver fills in.
// A request is the caller's memory until its `done` was called. Several may be on their way; they end in any order.
#ifndef KERNEL_BLOCKDEV_H
#define KERNEL_BLOCKDEV_H

#include "kernel/list.h"
#include "kernel/types.h"

#define SECTOR_SHIFT 9
#define SECTOR_SIZE 512u

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_segment {
    void *data; // in the direct map, physically contiguous
    uint32_t len; // a multiple of the device's block size
};

struct block_request {
    enum block_op op;
    int error;                       // when done: 0, -EIO, -EOPNOTSUPP, -EROFS, -EINVAL
    uint64_t sector;                 // of 512 bytes, whatever the device's block size
    uint64_t sectors;                // BLOCK_DISCARD, BLOCK_WRITE_ZEROES; otherwise the segments tell
    bool unmap;                      // BLOCK_WRITE_ZEROES: the device may give the room back
    const struct block_segment *segments;
    unsigned count;                  // at most block_device.segments_max
    void (*done)(struct block_request *r); // any context, also interrupts; may submit more; may not sleep
    void *owner;                     // the caller's
    // From block_submit on:
    uint64_t start;                  // the sector of the whole device
    struct list link;                // the driver's, like the rest
    uint32_t at, offset, parts;
};

struct block_device;
struct block_ops {
    // Starts a request that block_submit has checked; `done` is called exactly once, perhaps before this returns. Any context.
    // What finds the queue full waits in the driver.
    void (*submit)(struct block_device *dev, struct block_request *r);
};

struct block_device {
    const struct block_ops *ops;
    char name[16];          // "vda": the node in /dev
    char label[37];         // of a partition: its name in the table, "" without one; what is not ASCII is '?'
    char serial[24];        // what the device says of itself, "" when nothing; comes soon after the device
    uint64_t rdev;          // major 254 as Linux' virtio disks, minor 16 * index
    uint64_t sectors;       // of 512 bytes
    uint32_t block_size;    // logical, 512 to 4096: requests are multiples of it
    uint32_t physical_size, minimum_size; // bytes: of the medium's blocks, of the smallest good request
    uint32_t optimal_size;  // bytes: the device likes multiples of it; 0: says nothing
    uint32_t segments_max;  // in one request, at least 16
    uint32_t bytes_max;     // of one request; 0: no limit
    uint32_t discard_max, zeroes_max; // sectors of one such request; 0: it cannot (-EOPNOTSUPP)
    bool read_only, flushes; // flushes: there is a volatile cache, BLOCK_FLUSH does something
    const void *memory;     // the contents, when they lie in the direct map for good (an image in the initrd); page-aligned. Else NULL
    void *driver;
    struct block_device *parent; // a partition: of this device,
    uint64_t offset;             // from this sector on
    bool scanned;                // its partitions have been looked for
    struct list link;            // of all devices
    // Counters for /proc/diskstats; relaxed.
    uint64_t reads, writes, sectors_read, sectors_written;
    struct inode *inode;    // fs/blockdev.c: the device's page cache, shared by all nodes. NULL until opened first
    const void *holder;     // fs/blockdev.c: who has it for himself,
    uint32_t exclusive;     // how often,
    uint32_t parts_held;    // and how many of its partitions are held
};

// In thread context. Without a name it gets the next of "vda", "vdb", ... with rdev, in order. 0, -ENOSPC: no name is left, -EEXIST.
int blockdev_register(struct block_device *dev);
// Sectors [offset, offset + sectors) of the device as one of its own, "vda" and its number (1 to 15). 0, -ENOMEM, -EEXIST, -EINVAL.
int blockdev_register_partition(struct block_device *parent, unsigned number, uint64_t offset, uint64_t sectors,
                                const char *label);
// Bytes in the direct map for good, as a read-only device with blocks of 512 bytes (1:250, as Linux' /dev/initrd). base is
// page-aligned; of an odd size the last sector is left out. NULL: no memory, or the name is taken.
struct block_device *blockdev_register_memory(const char *name, const void *base, uint64_t size);
// For a partition, its disk's table is read when nobody did before: may sleep. NULL: none.
struct block_device *blockdev_find(uint64_t rdev);
struct block_device *blockdev_find_name(const char *name); // "vda" or "/dev/vda", or "PARTLABEL=NAME": the first of that name
struct block_device *blockdev_next(struct block_device *dev); // NULL starts; NULL: no more. Devices stay for ever
// What block_ops.submit needs not check: range, alignment, read-only, counts. A bad request is done at once with its error.
void block_submit(struct block_device *dev, struct block_request *r);
int block_submit_wait(struct block_device *dev, struct block_request *r); // and waits (not interruptible): the error. Uses done, owner
// Of a driver: the request has ended.
static inline void block_done(struct block_request *r, int error) {
    r->error = error;
    r->done(r);
}
// Submits as many requests as it takes and waits (not interruptible). The first error. `buf` of kernel memory in the direct map,
// contiguous. BLOCK_READ or BLOCK_WRITE.
int block_io(struct block_device *dev, enum block_op op, uint64_t sector, void *buf, size_t len);
// The same for BLOCK_DISCARD and BLOCK_WRITE_ZEROES. unmap: see block_request.
int block_range(struct block_device *dev, enum block_op op, uint64_t sector, uint64_t sectors, bool unmap);
int block_flush(struct block_device *dev); // what was written before is on the medium: 0 or -EIO. Nothing to do without a cache

#endif
