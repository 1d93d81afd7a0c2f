// /dev: a tmpfs that is filled with the device nodes on its first use, and the memory devices themselves.
#include "fs/blockdev.h"
#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "fs/tty.h"
#include "kernel/log.h"
#include "kernel/partition.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include <linux/fs.h>

static int64_t null_read(struct file *f, struct uio *u, uint64_t *pos) { return 0; }

static int64_t null_write(struct file *f, struct uio *u, uint64_t *pos) {
    size_t n = u->left;
    u->left = 0;
    return n;
}

static int64_t zero_read(struct file *f, struct uio *u, uint64_t *pos) {
    size_t total = 0;
    while (u->left) {
        size_t n = MIN(u->left, 16 * PAGE_SIZE), done = uio_put_zero(u, n);
        total += done;
        if (done < n)
            return total ? (int64_t)total : -EFAULT;
        if (thread_signal_pending())
            break;
        sched_point();
    }
    return total;
}

static int64_t full_write(struct file *f, struct uio *u, uint64_t *pos) { return -ENOSPC; }

static int64_t random_read(struct file *f, struct uio *u, uint64_t *pos) {
    uint8_t buf[256];
    size_t total = 0;
    while (u->left) {
        size_t n = MIN(u->left, sizeof(buf));
        random_bytes(buf, n);
        size_t done = uio_put(u, buf, n);
        total += done;
        if (done < n) {
            if (!total)
                return -EFAULT;
            break;
        }
        if ((total & (PAGE_SIZE - 1)) == 0 && thread_signal_pending())
            break;
        sched_point();
    }
    return total;
}

static int64_t random_blocking_read(struct file *f, struct uio *u, uint64_t *pos) {
    if (!random_ready()) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = random_wait_ready();
        if (err < 0)
            return err;
    }
    return random_read(f, u, pos);
}

static int64_t random_write(struct file *f, struct uio *u, uint64_t *pos) {
    uint8_t buf[256];
    size_t total = 0;
    while (u->left) {
        size_t n = MIN(u->left, sizeof(buf)), done = uio_get(u, buf, n);
        random_add(buf, done, 0);
        total += done;
        if (done < n)
            return total ? (int64_t)total : -EFAULT;
        sched_point();
    }
    return total;
}

// Lines written to /dev/kmsg go to the log.
static int64_t kmsg_write(struct file *f, struct uio *u, uint64_t *pos) {
    char line[512];
    size_t all = u->left, n = uio_get(u, line, MIN(u->left, sizeof(line) - 1));
    if (n == 0 && all)
        return -EFAULT;
    u->left = 0; // a line's end that did not fit is lost
    while (n > 0 && line[n - 1] == '\n')
        n--;
    line[n] = 0;
    char *text = line;
    if (*text == '<') { // <priority>
        char *end = strchr(text, '>');
        if (end)
            text = end + 1;
    }
    log_print(LOG_INFO, "%s", text);
    return all;
}

static int64_t null_seek(struct file *f, int64_t offset, int whence) { return f->position = 0; }

static int device_fsync(struct file *f, bool data_only) { return -EINVAL; }

// mmap of /dev/zero is anonymous memory: syscall/memory.c sees to it through this function's absence (-ENODEV) and its rdev.
static const struct file_ops null_ops = {
    .read = null_read, .write = null_write, .seek = null_seek, .fsync = device_fsync, .never_spliced = true};
static const struct file_ops zero_ops = {
    .read = zero_read, .write = null_write, .seek = null_seek, .fsync = device_fsync};
static const struct file_ops full_ops = {
    .read = zero_read, .write = full_write, .seek = null_seek, .fsync = device_fsync};
static const struct file_ops random_ops = {
    .read = random_blocking_read, .write = random_write, .seek = null_seek, .fsync = device_fsync};
static const struct file_ops urandom_ops = {
    .read = random_read, .write = random_write, .seek = null_seek, .fsync = device_fsync};
static const struct file_ops kmsg_ops = {
    .read = null_read, .write = kmsg_write, .seek = null_seek, .fsync = device_fsync};

static const struct device devices[] = {
    {MAKE_DEV(1, 3), "null", 0666, &null_ops, NULL},       {MAKE_DEV(1, 5), "zero", 0666, &zero_ops, NULL},
    {MAKE_DEV(1, 7), "full", 0666, &full_ops, NULL},       {MAKE_DEV(1, 8), "random", 0666, &random_ops, NULL},
    {MAKE_DEV(1, 9), "urandom", 0666, &urandom_ops, NULL}, {MAKE_DEV(1, 11), "kmsg", 0644, &kmsg_ops, NULL},
    {MAKE_DEV(5, 0), "tty", 0666, NULL, tty_open_current}, {MAKE_DEV(5, 1), "console", 0600, NULL, tty_open_console},
    {MAKE_DEV(5, 2), "ptmx", 0666, NULL, pty_open_master},
};

const struct device *device_find(uint64_t rdev) {
    for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
        if (devices[i].rdev == rdev)
            return &devices[i];
    return NULL;
}

static int make_node(struct dentry *dir, const char *name, uint32_t mode, uint64_t rdev, const char *target) {
    size_t len = strlen(name);
    struct dentry *d = dentry_find(dir, name, len, name_hash(name, len)); // the initrd may have brought it
    if (!d)
        d = tmpfs_make(dir, name, len, mode, rdev, target);
    if (IS_ERR(d))
        return PTR_ERR(d);
    dentry_unref(d);
    return 0;
}

// For partition tables: through the page cache, which a file system on the device shares.
static int read_cached(struct block_device *dev, uint64_t offset, void *buf, size_t len) {
    struct inode *inode = blockdev_inode(dev);
    if (IS_ERR(inode))
        return (int)PTR_ERR(inode);
    int err = 0;
    for (size_t n; len && !err; offset += n, len -= n, buf = (char *)buf + n) {
        n = MIN(PAGE_SIZE - (offset & ~PAGE_MASK), len);
        struct page *p = page_cache_get(inode->cache, offset >> PAGE_SHIFT);
        if (IS_ERR(p)) {
            err = (int)PTR_ERR(p);
            continue;
        }
        memcpy(buf, (char *)page_to_virt(p) + (offset & ~PAGE_MASK), n);
        page_unref(p);
    }
    inode_unref(inode);
    return err;
}

static int make_disks(struct dentry *dir) {
    int err = 0;
    for (struct block_device *dev = NULL; !err && (dev = blockdev_next(dev));) {
        partition_scan(dev, read_cached); // its partitions come behind it in the list
        err = make_node(dir, dev->name, S_IFBLK | 0600, dev->rdev, NULL);
    }
    return err;
}

static int devfs_populate(struct dentry *dir) {
    static const struct {
        const char *name, *target;
    } links[] = {
        {"stdin", "/proc/self/fd/0"},
        {"stdout", "/proc/self/fd/1"},
        {"stderr", "/proc/self/fd/2"},
        {"fd", "/proc/self/fd"},
    };
    int err = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(devices) && !err; i++)
        err = make_node(dir, devices[i].name, S_IFCHR | devices[i].mode, devices[i].rdev, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(links) && !err; i++)
        err = make_node(dir, links[i].name, S_IFLNK | 0777, 0, links[i].target);
    if (!err)
        err = make_disks(dir);
    if (!err)
        err = make_node(dir, "mqueue", S_IFDIR | 01777, 0, NULL); // fs/mqueue.c mounts there
    return err ? err : make_node(dir, "shm", S_IFDIR | 01777, 0, NULL);
}

static const struct superblock_ops devfs_sb_ops = {.statistics = tmpfs_statistics, .populate = devfs_populate};

static struct superblock *devfs_mount(const struct fs_type *type, const char *source, unsigned long flags, const char *options) {
    struct superblock *sb = tmpfs_superblock(type, 0755);
    if (!IS_ERR(sb)) {
        sb->ops = &devfs_sb_ops;
        sb->root->flags |= DENTRY_LAZY;
    }
    return sb;
}

const struct fs_type devfs_type = {.name = "devtmpfs", .nodev = true, .mount = devfs_mount};
