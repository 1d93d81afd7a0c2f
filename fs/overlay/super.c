// The overlay's superblock, and its inodes that have something below: how they are made, and how long they stay.
#include "fs/cache/inode_table.h"
#include "fs/overlay/overlay.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include <linux/magic.h>

// New files get numbers that no lower file system has: EROFS counts pieces of 32 bytes of an image, others inodes of a disk.
#define FIRST_NEW_INO (1ul << 40)

static const struct fs_type overlay_type = {.name = "overlay", .nodev = true};

static int copy_attributes(struct tmpfs_inode *t, struct inode *below) {
    struct inode *inode = &t->inode;
    if (below->ops->update)
        below->ops->update(below);
    inode->ino = below->ino;
    inode->mode = below->mode;
    inode->uid = below->uid;
    inode->gid = below->gid;
    inode->nlink = below->nlink;
    inode->rdev = below->rdev;
    inode->size = below->size;
    inode->blocks = below->blocks;
    inode->atime = below->atime;
    inode->mtime = below->mtime;
    inode->ctime = below->ctime;
    inode->btime = below->btime;
    if (!below->ops->xattr_list && !below->xattrs)
        return 0;
    lock_nested(); // a directory above it may be locked
    mutex_lock(&below->lock);
    int err = xattrs_copy(inode, below);
    mutex_unlock(&below->lock);
    return err;
}

static struct inode *make_above(struct superblock *sb, struct inode *below) {
    bool directory = S_ISDIR(below->mode);
    struct tmpfs_inode *t = tmpfs_inode_alloc(sb, directory ? &overlay_directory_ops : &overlay_inode_ops, below->mode);
    if (!t) {
        inode_unref(below);
        return ERR_PTR(-ENOMEM);
    }
    t->lower = below;
    t->lower_backing = NULL;
    t->lower_end = t->covered = t->holes = 0;
    int err = copy_attributes(t, below);
    if (err < 0) {
        inode_unref(&t->inode);
        return ERR_PTR(err);
    }
    if (S_ISREG(below->mode) && below->file_ops) {
        t->inode.file_ops = &overlay_file_ops;
        t->backing.ops = &overlay_backing_ops;
        t->lower_end = DIV_ROUND_UP(t->inode.size, PAGE_SIZE);
    } else if (directory) {
        t->inode.file_ops = &overlay_directory_file_ops;
    }
    return &t->inode;
}

struct inode *overlay_inode(struct superblock *sb, struct inode *below) {
    struct inode *inode = inode_table_find(sb, below->ino);
    if (inode) {
        inode_unref(below);
        return inode;
    }
    inode = make_above(sb, below);
    if (IS_ERR(inode))
        return inode;
    struct inode *there = inode_table_add(inode);
    if (there != inode)
        inode_unref(inode);
    return there;
}

void overlay_keep(struct inode *inode) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    uint8_t was = KEPT_NO;
    if (t->lower && READ_ONCE(t->kept) == KEPT_NO &&
        __atomic_compare_exchange_n(&t->kept, &was, KEPT_YES, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        inode_ref(inode);
}

void overlay_forget(struct inode *inode) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    if (__atomic_exchange_n(&t->kept, KEPT_GONE, __ATOMIC_SEQ_CST) == KEPT_YES)
        inode_unref(inode);
}

int overlay_set_attributes(struct inode *inode, const struct attributes *a) {
    if (a->valid != ATTR_ATIME) // that it was read is no reason to keep it: utimensat(2) changes ctime, too
        overlay_keep(inode);
    return 0;
}

static long overlay_readlink(struct inode *inode, char *buf, size_t size) {
    struct inode *below = tmpfs_of(inode)->lower;
    return below->ops->readlink ? below->ops->readlink(below, buf, size) : -EIO;
}

void overlay_release(struct inode *inode) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    struct inode *below = t->lower;
    struct backing *b = S_ISREG(inode->mode) && below ? t->lower_backing : NULL;
    if (b) {
        spin_lock(&b->lock);
        b->above = NULL;
        spin_unlock(&b->lock);
        b->ops->unref(b);
    }
    tmpfs_inode_free(inode);
    if (below)
        inode_unref(below);
}

const struct inode_ops overlay_inode_ops = {
    .readlink = overlay_readlink,
    .truncate = overlay_truncate,
    .set_attributes = overlay_set_attributes,
    .release = overlay_release,
};

// --- The superblock ---

static void overlay_statistics(struct superblock *sb, struct fs_statistics *st) {
    tmpfs_statistics(sb, st);
    st->magic = OVERLAYFS_SUPER_MAGIC;
}

static bool let_go(struct inode *inode, void *unused) {
    overlay_forget(inode);
    return true;
}

static void overlay_release_sb(struct superblock *sb) {
    struct overlay *o = sb->data;
    inode_table_each(sb, let_go, NULL);
    inode_table_destroy(sb);
    superblock_unref(o->lower);
    kfree(o);
}

static const struct superblock_ops overlay_sb_ops = {.statistics = overlay_statistics, .release = overlay_release_sb};

static int make_root(struct superblock *sb, struct superblock *lower) {
    struct inode *inode = overlay_inode(sb, inode_ref(lower->root->inode));
    if (IS_ERR(inode))
        return PTR_ERR(inode);
    sb->root = dentry_alloc_root(sb, inode);
    if (!sb->root)
        inode_unref(inode);
    return sb->root ? 0 : -ENOMEM;
}

struct superblock *overlay_superblock(struct superblock *lower) {
    struct superblock *sb = superblock_alloc(&overlay_sb_ops, &overlay_type, SB_XATTRS | SB_TMPFS);
    struct overlay *o = kzalloc(sizeof(*o));
    if (!sb || !o || inode_table_create(sb) < 0) {
        kfree(o);
        kfree(sb);
        return ERR_PTR(-ENOMEM);
    }
    *o = (struct overlay){{&overlay_directory_ops, &overlay_directory_file_ops}, lower};
    atomic_add(&lower->refs, 1);
    lower->flags |= SB_BELOW;
    sb->data = o;
    sb->next_ino = FIRST_NEW_INO;
    int err = make_root(sb, lower);
    if (err < 0) {
        superblock_unref(sb);
        return ERR_PTR(err);
    }
    return sb;
}
