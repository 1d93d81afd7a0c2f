// sync(2), fsync(2) and their family, and the advice about files that needs no action.
#include "fs/file.h"
#include "fs/vfs.h"
#include "syscall/syscall.h"

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

long sys_sync_file_range(uint64_t fd, uint64_t offset, uint64_t len, uint64_t flags) {
    if ((flags & ~7UL) || (int64_t)offset < 0 || (int64_t)(offset + len) < 0)
        return -EINVAL;
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = f->stream ? -ESPIPE : 0;
    file_unref(f);
    return err;
}

// Advice may be ignored; what is wrong with it is still said.
long sys_fadvise64(uint64_t fd, uint64_t offset, uint64_t len, uint64_t advice) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = S_ISFIFO(f->inode->mode) ? -ESPIPE : (int64_t)len < 0 || (unsigned)advice > 5 ? -EINVAL : 0;
    file_unref(f);
    return err;
}

long sys_readahead(uint64_t fd, uint64_t offset, uint64_t count) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err = !f->readable ? -EBADF : !S_ISREG(f->inode->mode) ? -EINVAL : 0;
    file_unref(f);
    return err;
}
