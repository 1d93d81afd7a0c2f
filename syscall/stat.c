// stat(2) and its family, statx(2), statfs(2).
#include "kernel/blockdev.h"
#include "kernel/string.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/mount.h>

#define ST_VALID 0x20
#define ST_RELATIME 0x1000
#define ST_NOSYMFOLLOW 0x2000

_Static_assert(sizeof(struct stat) == 144, "ABI");
_Static_assert(sizeof(struct statx) == 256, "ABI");
_Static_assert(sizeof(struct statfs) == 120, "ABI");

// Seconds and nanoseconds of a time that may lie before 1970: the nanoseconds count upwards all the same.
struct split_time {
    int64_t sec, nsec;
};
static inline struct split_time split(nsec_t t) {
    struct split_time s = {t / NSEC_PER_SEC, t % NSEC_PER_SEC};
    if (unlikely(s.nsec < 0)) {
        s.nsec += NSEC_PER_SEC;
        s.sec--;
    }
    return s;
}

static long stat_out(uaddr_t addr, const struct vfs_stat *s) {
    struct split_time a = split(s->atime), m = split(s->mtime), c = split(s->ctime);
    struct stat st;
    st.st_dev = s->dev;
    st.st_ino = s->ino;
    st.st_nlink = s->nlink;
    st.st_mode = s->mode;
    st.st_uid = s->uid;
    st.st_gid = s->gid;
    st.st_rdev = s->rdev;
    st.st_size = s->size;
    st.st_blksize = s->block_size;
    st.st_blocks = s->blocks;
    st.st_atime = a.sec;
    st.st_atime_nsec = a.nsec;
    st.st_mtime = m.sec;
    st.st_mtime_nsec = m.nsec;
    st.st_ctime = c.sec;
    st.st_ctime_nsec = c.nsec;
    st.__pad0 = 0;
    st.__unused[0] = st.__unused[1] = st.__unused[2] = 0;
    return copy_out_obj(addr, &st);
}

static long stat_fd(int fd, struct vfs_stat *s) {
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    vfs_stat_file(f, s);
    file_unref(f);
    return 0;
}

static long stat_name(int at, uaddr_t name, unsigned flags, struct vfs_stat *s) {
    struct user_path p;
    struct path place;
    long err = user_path_get(&p, name);
    if (unlikely(err < 0))
        return err;
    if ((flags & AT_EMPTY_PATH) && !*p.name && at != AT_FDCWD) {
        err = stat_fd(at, s);
    } else {
        unsigned lookup =
            (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
        err = path_lookup(at, p.name, lookup, &place);
        if (err == 0) {
            vfs_stat_path(&place, s);
            path_unref(&place);
        }
    }
    user_path_put(&p);
    return err;
}

long sys_stat(uint64_t name, uint64_t out) {
    struct vfs_stat s;
    long err = stat_name(AT_FDCWD, name, 0, &s);
    return err < 0 ? err : stat_out(out, &s);
}

long sys_lstat(uint64_t name, uint64_t out) {
    struct vfs_stat s;
    long err = stat_name(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, &s);
    return err < 0 ? err : stat_out(out, &s);
}

long sys_fstat(uint64_t fd, uint64_t out) {
    struct vfs_stat s;
    long err = stat_fd(fd, &s);
    return err < 0 ? err : stat_out(out, &s);
}

long sys_newfstatat(uint64_t at, uint64_t name, uint64_t out, uint64_t flags) {
    struct vfs_stat s;
    if (flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
        return -EINVAL;
    long err = stat_name(at, name, flags, &s);
    return err < 0 ? err : stat_out(out, &s);
}

static struct statx_timestamp statx_time(nsec_t t) {
    struct split_time s = split(t);
    return (struct statx_timestamp){.tv_sec = s.sec, .tv_nsec = s.nsec};
}

// Who asks for it is told of regular files on disks, and of disks.
static void direct_alignment(int at, uaddr_t name, unsigned lookup, struct statx *st) {
    struct inode *inode;
    uint32_t mount;
    if (user_inode_lookup(at, name, lookup, &inode, &mount) < 0)
        return;
    const struct block_device *dev = S_ISBLK(inode->mode) ? blockdev_find(inode->rdev) : NULL;
    uint32_t align = dev ? dev->block_size : S_ISREG(inode->mode) ? inode->sb->direct_align : 0;
    inode_unpin(inode);
    if (!align)
        return;
    st->stx_mask |= STATX_DIOALIGN;
    st->stx_dio_mem_align = 512;
    st->stx_dio_offset_align = align;
}

static unsigned lookup_flags(uint64_t flags) {
    return (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
}

long sys_statx(uint64_t at, uint64_t name, uint64_t flags, uint64_t mask, uint64_t out) {
    struct vfs_stat s;
    if ((flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)) ||
        (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || (mask & STATX__RESERVED))
        return -EINVAL;
    long err = stat_name(at, name, flags, &s);
    if (err < 0)
        return err;
    struct statx st = {
        .stx_mask = STATX_BASIC_STATS | (s.btime ? STATX_BTIME : 0) | STATX_MNT_ID,
        .stx_blksize = s.block_size,
        .stx_attributes = s.mount_root ? STATX_ATTR_MOUNT_ROOT : 0,
        .stx_attributes_mask = STATX_ATTR_MOUNT_ROOT,
        .stx_nlink = s.nlink,
        .stx_uid = s.uid,
        .stx_gid = s.gid,
        .stx_mode = s.mode,
        .stx_ino = s.ino,
        .stx_size = s.size,
        .stx_blocks = s.blocks,
        .stx_atime = statx_time(s.atime),
        .stx_btime = statx_time(s.btime),
        .stx_ctime = statx_time(s.ctime),
        .stx_mtime = statx_time(s.mtime),
        .stx_rdev_major = DEV_MAJOR(s.rdev),
        .stx_rdev_minor = DEV_MINOR(s.rdev),
        .stx_dev_major = DEV_MAJOR(s.dev),
        .stx_dev_minor = DEV_MINOR(s.dev),
        .stx_mnt_id = s.mount_id,
    };
    if (mask & STATX_DIOALIGN)
        direct_alignment((int)at, name, lookup_flags(flags), &st);
    return copy_out_obj(out, &st);
}

static long statfs_out(struct superblock *sb, unsigned mount_flags, uaddr_t out) {
    struct fs_statistics s;
    sb->ops->statistics(sb, &s);
    struct statfs st = {
        .f_type = s.magic,
        .f_bsize = s.block_size,
        .f_blocks = s.blocks,
        .f_bfree = s.blocks_free,
        .f_bavail = s.blocks_free - s.blocks_kept,
        .f_files = s.files,
        .f_ffree = s.files_free,
        .f_fsid = {{(int)sb->dev, 0}},
        .f_namelen = s.name_max,
        .f_frsize = s.block_size,
        .f_flags = (mount_flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)) |
                   (mount_flags & MS_RELATIME ? ST_RELATIME : 0) | (mount_flags & MS_NOSYMFOLLOW ? ST_NOSYMFOLLOW : 0) |
                   ST_VALID,
    };
    return copy_out_obj(out, &st);
}

long sys_statfs(uint64_t name, uint64_t out) {
    struct path p;
    long err = user_path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p);
    if (err < 0)
        return err;
    err = statfs_out(path_inode(&p)->sb, path_mount_flags(&p), out);
    path_unref(&p);
    return err;
}

long sys_fstatfs(uint64_t fd, uint64_t out) {
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    long err = statfs_out(f->inode->sb, path_mount_flags(&f->path), out);
    file_unref(f);
    return err;
}
