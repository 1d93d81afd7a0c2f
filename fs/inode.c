// Inodes: life, attributes and the permission checks of Linux (mode bits, owner, groups, capabilities).
// Attributes are plain words: a reader may see one before and one after a change, as on Linux; changes hold inode.lock.
#include "fs/cache/inode_table.h"
#include "fs/cache/pagecache.h"
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/limit.h"
#include "kernel/string.h"
#include "kernel/time.h"

static struct slab_cache anonymous_cache = SLAB_CACHE("inode_anonymous", sizeof(struct inode), 8);

nsec_t inode_now(void) { return time_realtime(); }

uint32_t current_umask(void) {
    struct fs_context *fs = process_current()->fs;
    return fs ? fs->umask : 0;
}

bool capable(unsigned cap) {
    return process_current() == &kernel_process || (current_cred()->cap_effective >> cap & 1);
}

void inode_init(struct inode *inode, struct superblock *sb, const struct inode_ops *ops, uint32_t mode) {
    const struct credentials *c = current_cred();
    memset(inode, 0, sizeof(*inode));
    inode->ops = ops;
    inode->sb = sb;
    inode->refs = 1;
    inode->mode = mode;
    inode->uid = c->fsuid;
    inode->gid = c->fsgid;
    inode->nlink = 1;
    inode->maybe_capable = ops->xattr_get;
    inode->ino = atomic_add(&sb->next_ino, 1);
    inode->atime = inode->mtime = inode->ctime = inode->btime = inode_now();
    mutex_init(&inode->lock);
    lock_subclass(&inode->lock,
                  mode & S_IFMT); // opening a FIFO takes the pipe's lock, splice to a file the file's after a pipe's
    list_init(&inode->aliases);
}

void inode_unref(struct inode *inode) {
    // Deleted, and held by the caller and by write-back only: what is dirty is nobody's any more.
    if (unlikely(inode->cache != NULL) && inode->nlink == 0 && READ_ONCE(inode->refs) == 2)
        page_cache_abandon(inode);
    if (atomic_sub(&inode->refs, 1) != 1)
        return;
    if (unlikely(inode->in_table))
        inode_table_remove(inode);
    if (unlikely(inode->xattrs != NULL))
        xattrs_free(inode);
    inode->ops->release(inode);
}

struct inode *inode_pin(struct inode *inode) {
    atomic_add(&inode->sb->refs, 1);
    return inode_ref(inode);
}

void inode_unpin(struct inode *inode) {
    struct superblock *sb = inode->sb;
    inode_unref(inode);
    superblock_unref(sb);
}

// --- Files that are written to, and programs that run ---

static int count_user(struct inode *inode, int32_t step) {
    int32_t n = READ_ONCE(inode->write_count);
    do {
        if (step > 0 ? n < 0 : n > 0)
            return -ETXTBSY;
    } while (
        !__atomic_compare_exchange_n(&inode->write_count, &n, n + step, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return 0;
}

int inode_get_write(struct inode *inode) { return count_user(inode, 1); }

void inode_put_write(struct inode *inode) { atomic_sub(&inode->write_count, 1); }

int inode_deny_write(struct inode *inode) { return count_user(inode, -1); }

void inode_allow_write(struct inode *inode) { atomic_add(&inode->write_count, 1); }

// --- Inodes without a tree ---

static void anonymous_release(struct inode *inode) { slab_free(&anonymous_cache, inode); }
static const struct inode_ops anonymous_inode_ops = {.release = anonymous_release};
static void anonymous_statistics(struct superblock *sb, struct fs_statistics *st) {
    *st = (struct fs_statistics){.magic = 0x09041934, .block_size = PAGE_SIZE, .name_max = NAME_MAX};
}
static const struct superblock_ops anonymous_sb_ops = {.statistics = anonymous_statistics};
static const struct fs_type anonymous_type = {.name = "anon_inodefs", .nodev = true};
static struct superblock anonymous_sb = {
    .ops = &anonymous_sb_ops, .type = &anonymous_type, .refs = 1, .flags = SB_COMPLETE, .dev = 1, .next_ino = 1};
static struct mount anonymous_mount = {.refs = 1, .flags = MS_RELATIME, .sb = &anonymous_sb, .source = "none"};

struct inode *inode_anonymous(uint32_t mode, uint64_t rdev) {
    struct inode *inode = slab_alloc(&anonymous_cache);
    if (inode) {
        inode_init(inode, &anonymous_sb, &anonymous_inode_ops, mode);
        inode->rdev = rdev;
    }
    return inode;
}

struct mount *mount_anonymous(void) {
    mount_ref(&anonymous_mount);
    return &anonymous_mount;
}

// --- Permissions ---

int vfs_permission(struct inode *inode, unsigned mask) {
    // The fast way out: everybody may.
    if ((mask & ~inode->mode & 7) == 0 && (inode->mode >> 6 & mask) == mask && (inode->mode >> 3 & mask) == mask)
        return 0;
    unsigned granted = inode->mode;
    if (inode->uid == current_cred()->fsuid)
        granted >>= 6;
    else if (((granted >> 3) ^ granted) & mask && credentials_in_group(inode->gid)) // asked only when it matters
        granted >>= 3;
    if ((mask & ~granted & 7) == 0)
        return 0;
    bool directory = S_ISDIR(inode->mode);
    // Root may do everything, but execute only what somebody may execute.
    if ((directory || !(mask & 1) || (inode->mode & 0111)) && capable(CAP_DAC_OVERRIDE))
        return 0;
    if (!(mask & 2) && (directory || mask == 4) && capable(CAP_DAC_READ_SEARCH))
        return 0;
    return -EACCES;
}

bool vfs_owns(const struct inode *inode) { return current_cred()->fsuid == inode->uid || capable(CAP_FOWNER); }

int permission_sticky(struct inode *dir, struct inode *victim) {
    if (likely(!(dir->mode & S_ISVTX)))
        return 0;
    uint32_t uid = current_cred()->fsuid;
    return uid == victim->uid || uid == dir->uid || capable(CAP_FOWNER) ? 0 : -EPERM;
}

// --- Attributes ---

// All but what is known of the mount.
static inline void stat_inode(struct inode *inode, struct vfs_stat *out) {
    if (unlikely(inode->ops->update != NULL))
        inode->ops->update(inode);
    out->dev = inode->sb->dev;
    out->ino = inode->ino;
    out->rdev = inode->rdev;
    out->size = inode->size;
    out->blocks = inode->blocks;
    out->mode = inode->mode;
    out->nlink = inode->nlink;
    out->uid = inode->uid;
    out->gid = inode->gid;
    out->block_size = PAGE_SIZE;
    out->atime = inode->atime;
    out->mtime = inode->mtime;
    out->ctime = inode->ctime;
    out->btime = inode->btime;
}

void vfs_stat_inode(struct inode *inode, struct vfs_stat *out) {
    stat_inode(inode, out);
    out->mount_id = 0;
    out->mount_root = false;
}

void vfs_stat_path(const struct path *p, struct vfs_stat *out) {
    stat_inode(p->dentry->inode, out);
    const struct mount *m = p->mount;
    out->mount_root = p->dentry == m->root;
    out->mount_id = (uint32_t)m->id;
}

void vfs_stat_file(struct file *f, struct vfs_stat *out) {
    vfs_stat_inode(f->inode, out);
    if (f->path.mount) {
        out->mount_id = (uint32_t)f->path.mount->id;
        out->mount_root = f->path.dentry == f->path.mount->root;
    }
}

void inode_touch_change(struct inode *inode) { inode->mtime = inode->ctime = inode_now(); }

int inode_set_attributes(struct inode *inode, const struct attributes *a) {
    int err = inode->ops->set_attributes ? inode->ops->set_attributes(inode, a) : 0;
    if (err == 0)
        attributes_apply(inode, a);
    return err;
}

void attributes_apply(struct inode *inode, const struct attributes *a) {
    if (a->valid & ATTR_MODE)
        inode->mode = (inode->mode & S_IFMT) | (a->mode & 07777);
    if (a->valid & ATTR_UID)
        inode->uid = a->uid;
    if (a->valid & ATTR_GID)
        inode->gid = a->gid;
    if (a->valid & ATTR_ATIME)
        inode->atime = a->atime;
    if (a->valid & ATTR_MTIME)
        inode->mtime = a->mtime;
    if (a->valid & ATTR_CTIME)
        inode->ctime = a->ctime;
}

int vfs_chmod(struct inode *inode, uint32_t mode) {
    if (!vfs_owns(inode))
        return -EPERM;
    if (S_ISLNK(inode->mode))
        return -EOPNOTSUPP;
    mutex_lock(&inode->lock);
    if (!credentials_in_group(inode->gid) && !capable(CAP_FSETID))
        mode &= ~S_ISGID;
    struct attributes a = {.valid = ATTR_MODE | ATTR_CTIME, .mode = mode & 07777, .ctime = inode_now()};
    int err = inode_set_attributes(inode, &a);
    mutex_unlock(&inode->lock);
    if (err == 0)
        inotify_changed(inode, IN_ATTRIB);
    return err;
}

// Somebody changes the file: what it lets others become is no longer what was meant. Adds to `a` what is to change of the mode.
// `always`: even when root does it.
static void drop_set_id(const struct inode *inode, bool always, struct attributes *a) {
    uint32_t mode = inode->mode;
    if (!(mode & (S_ISUID | S_ISGID)) || (!always && capable(CAP_FSETID)))
        return;
    a->mode = mode & 07777 & ~S_ISUID;
    if ((mode & S_IXGRP) || (!credentials_in_group(inode->gid) && !capable(CAP_FSETID)))
        a->mode &= ~S_ISGID;
    if (a->mode != (mode & 07777))
        a->valid |= ATTR_MODE;
}

int inode_drop_privileges_slow(struct inode *inode) {
    struct attributes a = {.valid = 0};
    int err = 0;
    drop_set_id(inode, false, &a);
    if (a.valid)
        err = inode_set_attributes(inode, &a);
    if (err == 0 && inode->maybe_capable)
        err = xattr_drop_capabilities(inode);
    return err;
}

int vfs_chown(struct inode *inode, uint32_t uid, uint32_t gid) {
    bool owner = current_cred()->fsuid == inode->uid;
    if (uid != ~0u && !(owner && uid == inode->uid) && !capable(CAP_CHOWN))
        return -EPERM;
    if (gid != ~0u && !(owner && (credentials_in_group(gid) || gid == inode->gid)) && !capable(CAP_CHOWN))
        return -EPERM;
    struct attributes a = {.valid = ATTR_CTIME, .uid = uid, .gid = gid, .ctime = inode_now()};
    a.valid |= (uid != ~0u ? ATTR_UID : 0) | (gid != ~0u ? ATTR_GID : 0);
    mutex_lock(&inode->lock);
    int err = 0;
    if (!S_ISDIR(inode->mode)) {
        drop_set_id(inode, true, &a);
        if (inode->maybe_capable)
            err = xattr_drop_capabilities(inode);
    }
    if (err == 0)
        err = inode_set_attributes(inode, &a);
    mutex_unlock(&inode->lock);
    if (err == 0 && (uid != ~0u || gid != ~0u))
        inotify_changed(inode, IN_ATTRIB);
    return err;
}

static int set_times(struct inode *inode, const struct attributes *a) {
    mutex_lock(&inode->lock);
    int err = inode_set_attributes(inode, a);
    mutex_unlock(&inode->lock);
    return err;
}

int vfs_set_times(struct inode *inode, nsec_t atime, nsec_t mtime) {
    if (!vfs_owns(inode))
        return -EPERM;
    struct attributes a = {.valid = ATTR_CTIME, .atime = atime, .mtime = mtime, .ctime = inode_now()};
    a.valid |= (atime != NSEC_MAX ? ATTR_ATIME : 0) | (mtime != NSEC_MAX ? ATTR_MTIME : 0);
    int err = set_times(inode, &a);
    if (err == 0)
        inotify_changed(inode, mtime == NSEC_MAX ? IN_ACCESS : atime == NSEC_MAX ? IN_MODIFY : IN_ATTRIB);
    return err;
}

int vfs_touch(struct inode *inode) {
    if (!vfs_owns(inode)) {
        int err = vfs_permission(inode, 2);
        if (err < 0)
            return err;
    }
    nsec_t now = inode_now();
    struct attributes a = {.valid = ATTR_ATIME | ATTR_MTIME | ATTR_CTIME, .atime = now, .mtime = now, .ctime = now};
    int err = set_times(inode, &a);
    if (err == 0)
        inotify_changed(inode, IN_ATTRIB);
    return err;
}

int file_limit_reached(uint64_t limit) {
    if (limit < INT64_MAX)
        signal_send_self(SIGXFSZ);
    return -EFBIG;
}

int vfs_truncate(struct inode *inode, uint64_t size) {
    if (S_ISDIR(inode->mode))
        return -EISDIR;
    if (!S_ISREG(inode->mode) || !inode->ops->truncate)
        return -EINVAL;
    if (size > INT64_MAX)
        return -EINVAL;
    int err = file_size_limit(inode, size);
    if (err < 0)
        return err;
    mutex_lock(&inode->lock);
    err = inode_drop_privileges(inode);
    if (err == 0)
        err = inode->ops->truncate(inode, size);
    if (err == 0) {
        nsec_t now = inode_now();
        struct attributes a = {.valid = ATTR_MTIME | ATTR_CTIME, .mtime = now, .ctime = now};
        err = inode_set_attributes(inode, &a);
    }
    mutex_unlock(&inode->lock);
    if (err == 0)
        inotify_changed(inode, IN_MODIFY);
    return err;
}
