// ioctl_iflags(2): the flags of files and directories (chattr, lsattr), and the version of an inode.
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/memory/usercopy.h"
#include <linux/fs.h>

static long set_flags(struct file *f, uint32_t wanted) {
    struct ext4_inode *i = ext4_i(f->inode);
    struct ext4_fs *fs = EXT4_FS(f->inode->sb);
    if (fs->read_only || (f->path.mount && path_read_only(&f->path)))
        return -EROFS;
    if (!vfs_owns(f->inode))
        return -EACCES;
    if (wanted & ~(uint32_t)(EXT4_USER_FLAGS | EXT4_EXTENTS_FL | EXT4_INDEX_FL | EXT4_HUGE_FILE_FL))
        return -EOPNOTSUPP;
    mutex_lock(&f->inode->lock);
    uint32_t old = i->flags, new = (old & ~(uint32_t)EXT4_USER_FLAGS) | (wanted & EXT4_USER_FLAGS);
    long err = 0;
    if (((old ^ new) & (EXT4_IMMUTABLE_FL | EXT4_APPEND_FL)) && !capable(CAP_LINUX_IMMUTABLE))
        err = -EPERM;
    struct ext4_handle h;
    if (err == 0 && (err = ext4_begin(&h, fs, 2)) == 0) {
        i->flags = new;
        f->inode->ctime = inode_now();
        err = ext4_inode_write(&h, i);
        if (err < 0)
            i->flags = old;
        ext4_end(&h);
    }
    mutex_unlock(&f->inode->lock);
    return err;
}

long ext4_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    struct ext4_inode *i = ext4_i(f->inode);
    uint32_t value;
    switch (cmd) {
    case FS_IOC_GETFLAGS:
        value = i->flags & (EXT4_USER_FLAGS | EXT4_EXTENTS_FL | EXT4_INDEX_FL);
        return copy_out(arg, &value, sizeof(value));
    case FS_IOC_SETFLAGS: return copy_in(&value, arg, sizeof(value)) < 0 ? -EFAULT : set_flags(f, value);
    case FS_IOC_GETVERSION: return copy_out(arg, &i->generation, sizeof(i->generation));
    default: return -ENOTTY;
    }
}
