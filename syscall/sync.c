// sync(2), fsync(2) and their family, and advice about files.
#include "fs/blockdev.h"
#include "fs/cache/pagecache.h"
#include "fs/file.h"
#include "fs/vfs.h"
#include "syscall/syscall.h"
#include <linux/fadvise.h>
#include <linux/fs.h>

#define READ_AHEAD_MAX 2048UL // pages that are read for advice

static long sync_fd(int fd, bool data_only) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = f->ops->fsync ? f->ops->fsync(f, data_only) : -EINVAL;
    file_unref(f);
    return err;
}

long sys_fsync(uint64_t fd) { return sync_fd(fd, false); }

long sys_fdatasync(uint64_t fd) { return sync_fd(fd, true); }

long sys_sync(void) {
    vfs_sync();
    return 0;
}

long sys_syncfs(uint64_t fd) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = superblock_sync(f->inode->sb);
    file_unref(f);
    return err;
}

// What a file's pages are cached in: NULL for memory and for what has no pages.
static struct page_cache *cache_of(struct file *f) {
    return page_cache_of(S_ISBLK(f->inode->mode) && !f->path_only ? blockdev_file(f)->inode : f->inode);
}

// Data alone, nothing that describes it: sync_file_range(2). What lies in memory has nothing to be written.
static long sync_range(struct page_cache *c, uint64_t offset, uint64_t len, unsigned flags) {
    uint64_t first = offset >> PAGE_SHIFT, count = len ? ((offset + len - 1) >> PAGE_SHIFT) - first + 1 : ~0UL;
    if (!c || !flags)
        return 0;
    if (flags & (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER))
        return page_cache_sync(c, first, count);
    return page_cache_start_sync(c, first, count);
}

long sys_sync_file_range(uint64_t fd, uint64_t offset, uint64_t len, uint64_t flags) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    const struct inode *inode = f->inode;
    uint64_t end = offset + len;
    bool has_range = S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISBLK(inode->mode) || S_ISLNK(inode->mode);
    long err = has_range ? 0 : -ESPIPE;
    if (((unsigned)flags & ~7u) || (int64_t)offset < 0 || (int64_t)end < 0 || end < offset)
        err = -EINVAL;
    if (err == 0)
        err = sync_range(cache_of(f), offset, len, (unsigned)flags);
    file_unref(f);
    return err;
}

// What is worth reading beforehand, or not worth keeping.
static void advise(struct page_cache *c, uint64_t offset, uint64_t len, unsigned advice) {
    uint64_t first = offset >> PAGE_SHIFT, end = len && len < ~0UL - offset ? offset + len : ~0UL;
    if (advice == POSIX_FADV_WILLNEED) {
        page_cache_prefetch(c, first, MIN((end >> PAGE_SHIFT) + 1 - first, READ_AHEAD_MAX));
    } else if (advice == POSIX_FADV_DONTNEED) { // whole pages
        page_cache_start_sync(c, first, ~0UL);
        first = DIV_ROUND_UP(offset, PAGE_SIZE);
        if (end >= c->host->size)
            end = ~0UL;
        if (end >> PAGE_SHIFT > first)
            page_cache_invalidate(c, first, end == ~0UL ? ~0UL : (end >> PAGE_SHIFT) - first);
    }
}

// POSIX_FADV_NOREUSE is ignored, as on Linux for long; what is wrong with advice is said in any case.
long sys_fadvise64(uint64_t fd, uint64_t offset, uint64_t len, uint64_t advice) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = S_ISFIFO(f->inode->mode) ? -ESPIPE : (int64_t)len < 0 || (unsigned)advice > 5 ? -EINVAL : 0;
    if (err == 0 && cache_of(f))
        advise(cache_of(f), offset, len, (unsigned)advice);
    if (err == 0 && advice <= POSIX_FADV_SEQUENTIAL)
        f->advice = (uint8_t)advice;
    file_unref(f);
    return err;
}

long sys_readahead(uint64_t fd, uint64_t offset, uint64_t count) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = !f->readable ? -EBADF : !S_ISREG(f->inode->mode) || (int64_t)count < 0 ? -EINVAL : 0;
    if (err == 0 && page_cache_of(f->inode))
        advise(page_cache_of(f->inode), offset, count, POSIX_FADV_WILLNEED);
    file_unref(f);
    return err;
}
