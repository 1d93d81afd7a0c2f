// Block devices: the list of them, their names, the checks before a driver sees a request, and requests that are waited for.
// Partitions and devices in memory are made here, too; they need no driver.
// Lock: devices_lock, a leaf, for the list alone; devices stay for ever.
#include "kernel/blockdev.h"

#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/partition.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"

#define MAJOR_RAM 1      // Linux' RAM disks
#define MINOR_INITRD 250 // Linux' /dev/initrd
#define MAJOR_VIRTIO 254 // dynamic on Linux, most often this
#define MINORS 16        // of a disk: itself and 15 partitions
#define DEVICE_NUMBER(major, minor) ((uint64_t)(major) << 8 | ((minor)&0xff) | ((uint64_t)(minor)&0xfff00) << 12)

static struct spinlock devices_lock = SPINLOCK_INIT;
static struct list devices = LIST_INIT(devices);
static unsigned disks; // "vda" and so on

static struct block_device *find_name_locked(const char *name) {
    struct block_device *dev;
    list_for_each (dev, &devices, link)
        if (strcmp(dev->name, name) == 0)
            return dev;
    return NULL;
}

int blockdev_register(struct block_device *dev) {
    int err = 0;
    spin_lock(&devices_lock);
    if (!dev->name[0]) {
        if (disks == 26) {
            err = -ENOSPC;
        } else {
            snprintf(dev->name, sizeof(dev->name), "vd%c", 'a' + (int)disks);
            dev->rdev = DEVICE_NUMBER(MAJOR_VIRTIO, MINORS * disks);
            disks++;
        }
    } else if (find_name_locked(dev->name)) {
        err = -EEXIST;
    }
    if (!err)
        list_push_back(&devices, &dev->link);
    spin_unlock(&devices_lock);
    return err;
}

struct block_device *blockdev_next(struct block_device *dev) {
    spin_lock(&devices_lock);
    struct list *next = dev ? dev->link.next : devices.next;
    dev = next == &devices ? NULL : list_entry(next, struct block_device, link);
    spin_unlock(&devices_lock);
    return dev;
}

// The disk that a partition's name or number belongs to; a table may have it that nobody has read yet. True: look again.
static bool scan_for(const char *name, uint64_t rdev) {
    struct block_device *dev = NULL;
    while ((dev = blockdev_next(dev)))
        if (!dev->scanned &&
            (name ? strncmp(name, dev->name, strlen(dev->name)) == 0 : rdev > dev->rdev && rdev < dev->rdev + MINORS)) {
            partition_scan(dev, partition_read_direct);
            return dev->scanned; // not without memory
        }
    return false;
}

struct block_device *blockdev_find(uint64_t rdev) {
    struct block_device *dev = NULL;
    while ((dev = blockdev_next(dev)) && dev->rdev != rdev)
        ;
    return !dev && scan_for(NULL, rdev) ? blockdev_find(rdev) : dev;
}

// The first partition of that name, in the order of the disks, and on each of its table.
static struct block_device *find_label(const char *label) {
    struct block_device *disk = NULL, *dev = NULL;
    while (*label && (disk = blockdev_next(disk))) {
        if (disk->parent)
            continue;
        partition_scan(disk, partition_read_direct);
        while ((dev = blockdev_next(dev)))
            if (dev->parent == disk && strcmp(dev->label, label) == 0)
                return dev;
    }
    return NULL;
}

struct block_device *blockdev_find_name(const char *name) {
    if (strncmp(name, "PARTLABEL=", 10) == 0)
        return find_label(name + 10);
    if (strncmp(name, "/dev/", 5) == 0)
        name += 5;
    spin_lock(&devices_lock);
    struct block_device *dev = find_name_locked(name);
    spin_unlock(&devices_lock);
    return !dev && scan_for(name, 0) ? blockdev_find_name(name) : dev;
}

int blockdev_register_partition(struct block_device *parent, unsigned number, uint64_t offset, uint64_t sectors,
                                const char *label) {
    if (number < 1 || number >= MINORS || sectors == 0 || offset >= parent->sectors ||
        sectors > parent->sectors - offset || (offset | sectors) % (parent->block_size / SECTOR_SIZE))
        return -EINVAL;
    struct block_device *dev = kmalloc(sizeof(*dev));
    if (!dev)
        return -ENOMEM;
    *dev = *parent;
    // Linux puts a "p" between a name that ends with a digit and the number.
    size_t len = strlen(parent->name);
    bool digit = parent->name[len - 1] >= '0' && parent->name[len - 1] <= '9';
    if (snprintf(dev->name, sizeof(dev->name), "%s%s%u", parent->name, digit ? "p" : "", number) >=
        (int)sizeof(dev->name)) {
        kfree(dev);
        return -EINVAL;
    }
    dev->rdev = parent->rdev + number;
    dev->parent = parent;
    dev->offset = offset;
    snprintf(dev->label, sizeof(dev->label), "%s", label);
    dev->sectors = sectors;
    dev->scanned = true;
    if (parent->memory)
        dev->memory =
            IS_ALIGNED(offset * SECTOR_SIZE, PAGE_SIZE) ? (const char *)parent->memory + offset * SECTOR_SIZE : NULL;
    dev->inode = NULL;
    dev->holder = NULL;
    dev->exclusive = dev->parts_held = 0;
    dev->reads = dev->writes = dev->sectors_read = dev->sectors_written = 0;
    int err = blockdev_register(dev);
    if (err < 0)
        kfree(dev);
    return err;
}

// --- Requests ---

static int check_segments(struct block_device *dev, const struct block_request *r, uint64_t *sectors) {
    uint64_t bytes = 0;
    if (r->count == 0 || r->count > dev->segments_max)
        return -EINVAL;
    for (unsigned i = 0; i < r->count; i++) {
        if (r->segments[i].len == 0 || !IS_ALIGNED(r->segments[i].len, dev->block_size))
            return -EINVAL;
        bytes += r->segments[i].len;
    }
    if (dev->bytes_max && bytes > dev->bytes_max)
        return -EINVAL;
    *sectors = bytes / SECTOR_SIZE;
    return 0;
}

// What is transferred goes to *sectors.
static int check(struct block_device *dev, const struct block_request *r, uint64_t *sectors) {
    int err = 0;
    switch (r->op) {
    case BLOCK_WRITE:
    case BLOCK_READ: err = check_segments(dev, r, sectors); break;
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES: {
        uint32_t max = r->op == BLOCK_DISCARD ? dev->discard_max : dev->zeroes_max;
        *sectors = r->sectors;
        err = dev->read_only ? -EROFS : max == 0 ? -EOPNOTSUPP : r->sectors == 0 || r->sectors > max ? -EINVAL : 0;
        break;
    }
    default: return r->op == BLOCK_FLUSH ? 0 : -EINVAL;
    }
    if (err < 0)
        return err;
    if (r->op != BLOCK_READ && dev->read_only)
        return -EROFS;
    if ((r->sector | *sectors) % (dev->block_size / SECTOR_SIZE) || r->sector > dev->sectors ||
        *sectors > dev->sectors - r->sector)
        return -EINVAL;
    return 0;
}

static void count(struct block_device *dev, enum block_op op, uint64_t sectors) {
    if (op == BLOCK_READ) {
        __atomic_fetch_add(&dev->reads, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&dev->sectors_read, sectors, __ATOMIC_RELAXED);
    } else if (op == BLOCK_WRITE) {
        __atomic_fetch_add(&dev->writes, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&dev->sectors_written, sectors, __ATOMIC_RELAXED);
    }
}

void block_submit(struct block_device *dev, struct block_request *r) {
    uint64_t sectors = 0;
    int err = check(dev, r, &sectors);
    if (err < 0 || (r->op == BLOCK_FLUSH && !dev->flushes)) {
        block_done(r, err);
        return;
    }
    r->start = r->sector;
    count(dev, r->op, sectors);
    if (dev->parent) {
        r->start += dev->offset;
        dev = dev->parent;
        count(dev, r->op, sectors);
    }
    r->at = r->offset = r->parts = 0;
    dev->ops->submit(dev, r);
}

// The waiter may be gone as soon as its word is NULL.
static void wake_owner(struct block_request *r) {
    struct thread **waiting = r->owner;
    thread_wake_clear(*waiting, (void **)waiting);
}

int block_submit_wait(struct block_device *dev, struct block_request *r) {
    struct thread *waiting = thread_current();
    r->done = wake_owner;
    r->owner = &waiting; // cppcheck-suppress autoVariables -- it is waited for
    block_submit(dev, r);
    while (load_acquire(&waiting)) {
        thread_prepare_sleep(false);
        if (load_acquire(&waiting))
            thread_sleep_until(NSEC_MAX);
    }
    thread_cancel_sleep();
    return r->error;
}

int block_io(struct block_device *dev, enum block_op op, uint64_t sector, void *buf, size_t len) {
    size_t max = ALIGN_DOWN(dev->bytes_max ? dev->bytes_max : 1u << 30, dev->block_size);
    int err = len % dev->block_size ? -EINVAL : 0;
    while (len && !err) {
        size_t n = MIN(len, max);
        struct block_segment segment = {buf, (uint32_t)n};
        struct block_request r = {.op = op, .sector = sector, .segments = &segment, .count = 1};
        err = block_submit_wait(dev, &r);
        sector += n / SECTOR_SIZE;
        len -= n;
        buf = (char *)buf + n;
    }
    return err;
}

int block_range(struct block_device *dev, enum block_op op, uint64_t sector, uint64_t sectors, bool unmap) {
    uint64_t max = op == BLOCK_DISCARD ? dev->discard_max : dev->zeroes_max;
    int err = 0;
    while (sectors && !err) {
        struct block_request r = {
            .op = op, .sector = sector, .sectors = max ? MIN(sectors, max) : sectors, .unmap = unmap};
        err = block_submit_wait(dev, &r);
        sector += r.sectors;
        sectors -= r.sectors;
    }
    return err;
}

int block_flush(struct block_device *dev) {
    if (!dev->flushes)
        return 0;
    struct block_request r = {.op = BLOCK_FLUSH};
    return block_submit_wait(dev, &r);
}

// --- Devices in memory ---

static void memory_submit(struct block_device *dev, struct block_request *r) {
    const char *from = (const char *)dev->memory + r->start * SECTOR_SIZE;
    for (unsigned i = 0; i < r->count; i++) { // reads: all else was refused
        memcpy(r->segments[i].data, from, r->segments[i].len);
        from += r->segments[i].len;
    }
    block_done(r, 0);
}

static const struct block_ops memory_ops = {.submit = memory_submit};

struct block_device *blockdev_register_memory(const char *name, const void *base, uint64_t size) {
    struct block_device *dev = kzalloc(sizeof(*dev));
    if (!dev)
        return NULL;
    dev->ops = &memory_ops;
    str_copy(dev->name, name, sizeof(dev->name));
    dev->rdev = DEVICE_NUMBER(MAJOR_RAM, MINOR_INITRD);
    dev->sectors = size / SECTOR_SIZE;
    dev->block_size = dev->physical_size = dev->minimum_size = SECTOR_SIZE;
    dev->segments_max = 1024;
    dev->read_only = true;
    dev->memory = base;
    if (blockdev_register(dev) < 0) {
        kfree(dev);
        return NULL;
    }
    return dev;
}
