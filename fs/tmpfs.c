// tmpfs: files in memory. The directory entries in memory are the directories (SB_COMPLETE); this file makes inodes and keeps link
// counts. Contents are in tmpfs_file.c. Each entry in a table holds the inode, so an inode goes when its last name and its
// last user have gone.
#include "fs/tmpfs.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include <linux/fs.h>
#include <linux/magic.h>

#define ENTRY_SIZE 20 // what an entry adds to the size of its directory, as on Linux

static struct slab_cache inode_cache = SLAB_CACHE("tmpfs_inode", sizeof(struct tmpfs_inode), 8);
static const struct inode_ops tmpfs_inode_ops, tmpfs_directory_ops;
static const struct tmpfs_kind plain = {&tmpfs_directory_ops, &directory_ops};

bool tmpfs_owns(const struct inode *inode) { return inode->sb->flags & SB_TMPFS; }

struct tmpfs_inode *tmpfs_inode_alloc(struct superblock *sb, const struct inode_ops *ops, uint32_t mode) {
    struct tmpfs_limits *l = sb->limits;
    if (unlikely(l != NULL) && !tmpfs_take_inode(l))
        return NULL;
    struct tmpfs_inode *t = slab_alloc(&inode_cache);
    if (!t) {
        if (l)
            atomic_sub(&l->inodes_used, 1);
        return NULL;
    }
    inode_init(&t->inode, sb, ops, mode);
    backing_init(&t->backing, &tmpfs_backing_ops);
    t->pages = (struct pagetree){0};
    t->seals = F_SEAL_SEAL;
    t->kept = 0;
    t->lower = NULL;
    t->target = NULL;
    return t;
}

static struct inode *tmpfs_inode_new(struct superblock *sb, uint32_t mode, uint64_t rdev) {
    const struct tmpfs_kind *kind = sb->data ? sb->data : &plain;
    struct tmpfs_inode *t = tmpfs_inode_alloc(sb, S_ISDIR(mode) ? kind->directory_ops : &tmpfs_inode_ops, mode);
    if (!t)
        return NULL;
    t->inode.rdev = rdev;
    if (S_ISREG(mode)) {
        t->inode.file_ops = &tmpfs_file_ops;
    } else if (S_ISDIR(mode)) {
        t->inode.file_ops = kind->directory_file_ops;
        t->inode.nlink = 2;
    }
    return &t->inode;
}

void tmpfs_inode_free(struct inode *inode) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    if (t->pages.count)
        tmpfs_drop_pages(t, 0, ~0UL);
    if (t->target != t->short_target)
        kfree(t->target);
    if (unlikely(inode->sb->limits != NULL))
        atomic_sub(&inode->sb->limits->inodes_used, 1);
    slab_free(&inode_cache, t);
}

static bool set_target(struct tmpfs_inode *t, const char *target) {
    size_t len = strlen(target);
    t->target = len < sizeof(t->short_target) ? t->short_target : kmalloc(len + 1);
    if (!t->target)
        return false;
    memcpy(t->target, target, len + 1);
    t->inode.size = len;
    return true;
}

void tmpfs_entry_added(struct inode *dir, bool directory) {
    dir->size += ENTRY_SIZE;
    if (directory)
        dir->nlink++;
}

void tmpfs_entry_removed(struct inode *dir, bool directory) {
    dir->size -= MIN(dir->size, (uint64_t)ENTRY_SIZE); // below an overlay entries may be smaller
    if (directory && dir->nlink > 2)
        dir->nlink--;
}

int tmpfs_make_inode(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev, const char *target) {
    struct inode *inode = tmpfs_inode_new(dir->sb, mode, rdev);
    if (!inode)
        return -ENOSPC;
    if (target && !set_target(tmpfs_of(inode), target)) {
        inode_unref(inode);
        return -ENOSPC;
    }
    if (dir->mode & S_ISGID) {
        inode->gid = dir->gid;
        if (!S_ISDIR(mode) && (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !credentials_in_group(dir->gid) &&
            !capable(CAP_FSETID))
            inode->mode &= ~S_ISGID;
    }
    tmpfs_entry_added(dir, S_ISDIR(mode));
    dentry_attach(d, inode);
    return 0;
}

static int tmpfs_create(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev) {
    return tmpfs_make_inode(dir, d, mode, rdev, NULL);
}

static int tmpfs_mkdir(struct inode *dir, struct dentry *d, uint32_t mode) {
    return tmpfs_make_inode(dir, d, mode, 0, NULL);
}

int tmpfs_tmpfile(struct inode *dir, struct dentry *d, uint32_t mode) {
    int err = tmpfs_make_inode(dir, d, mode, 0, NULL);
    if (err == 0) {
        tmpfs_entry_removed(dir, false);
        d->inode->nlink = 0;
    }
    return err;
}

static int tmpfs_symlink(struct inode *dir, struct dentry *d, const char *target) {
    return tmpfs_make_inode(dir, d, S_IFLNK | 0777, 0, target);
}

int tmpfs_link(struct inode *dir, struct dentry *d, struct inode *target) {
    uint32_t n = READ_ONCE(target->nlink);
    do // a file whose last name has gone gets no new one
        if (n == 0 && !target->linkable)
            return -ENOENT;
    while (!__atomic_compare_exchange_n(&target->nlink, &n, n + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    target->linkable = false;
    target->ctime = inode_now();
    tmpfs_entry_added(dir, false);
    dentry_attach(d, inode_ref(target));
    return 0;
}

static int tmpfs_unlink(struct inode *dir, struct dentry *d) {
    atomic_sub(&d->inode->nlink, 1);
    d->inode->ctime = inode_now();
    tmpfs_entry_removed(dir, false);
    return 0;
}

// Under the directory's own lock, so that nobody makes a name in it after the look.
static int end_directory(struct dentry *d) {
    if (dentry_has_children(d))
        return -ENOTEMPTY;
    d->inode->nlink = 0;
    d->inode->ctime = inode_now();
    return 0;
}

static int tmpfs_rmdir(struct inode *dir, struct dentry *d) {
    int err = end_directory(d);
    if (err == 0)
        tmpfs_entry_removed(dir, true);
    return err;
}

int tmpfs_whiteout(struct inode *dir, const struct dentry *from, struct dentry **white) {
    struct dentry *d = dentry_alloc(from->parent, from->name, from->name_len, from->hash);
    int err = d ? tmpfs_make_inode(dir, d, S_IFCHR, 0, NULL) : -ENOMEM;
    if (err < 0 && d)
        dentry_unref(d);
    *white = err < 0 ? NULL : d;
    return err;
}

void tmpfs_whiteout_end(struct inode *dir, struct dentry *white, bool place) {
    if (place)
        dentry_insert_behind(white);
    else
        tmpfs_entry_removed(dir, false);
    dentry_unref(white);
}

static int tmpfs_rename(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to,
                        unsigned flags) {
    bool from_is_dir = S_ISDIR(from->inode->mode);
    if (flags & RENAME_EXCHANGE) {
        bool to_is_dir = S_ISDIR(to->inode->mode);
        from_dir->nlink += to_is_dir - from_is_dir;
        to_dir->nlink += from_is_dir - to_is_dir;
        to->inode->ctime = inode_now();
        return 0;
    }
    struct dentry *white = NULL;
    int err = flags & RENAME_WHITEOUT ? tmpfs_whiteout(from_dir, from, &white) : 0;
    if (err < 0)
        return err;
    if (to->inode) {
        if (from_is_dir) {
            lock_nested(); // after its parent's
            mutex_lock(&to->inode->lock);
            err = end_directory(to);
            mutex_unlock(&to->inode->lock);
            if (err < 0) {
                if (white)
                    tmpfs_whiteout_end(from_dir, white, false);
                return err;
            }
        } else {
            atomic_sub(&to->inode->nlink, 1);
            to->inode->ctime = inode_now();
        }
        tmpfs_entry_removed(to_dir, from_is_dir);
    }
    if (white)
        tmpfs_whiteout_end(from_dir, white, true);
    tmpfs_entry_removed(from_dir, from_is_dir);
    tmpfs_entry_added(to_dir, from_is_dir);
    return 0;
}

static long tmpfs_readlink(struct inode *inode, char *buf, size_t size) {
    size_t n = MIN(size, inode->size);
    memcpy(buf, tmpfs_of(inode)->target, n);
    return n;
}

static const struct inode_ops tmpfs_inode_ops = {
    .readlink = tmpfs_readlink,
    .truncate = tmpfs_truncate,
    .release = tmpfs_inode_free,
};
static const struct inode_ops tmpfs_directory_ops = {
    .create = tmpfs_create,
    .tmpfile = tmpfs_tmpfile,
    .mkdir = tmpfs_mkdir,
    .symlink = tmpfs_symlink,
    .link = tmpfs_link,
    .unlink = tmpfs_unlink,
    .rmdir = tmpfs_rmdir,
    .rename = tmpfs_rename,
    .release = tmpfs_inode_free,
};

// --- For the boot ---

// An entry for a new name: one that says that there is none, or another.
static struct dentry *entry_for(struct dentry *dir, const char *name, size_t len) {
    uint32_t hash = name_hash(name, len);
    struct dentry *d = dir->sb->flags & SB_COMPLETE ? NULL : dentry_find(dir, name, len, hash);
    return d ? d : dentry_alloc(dir, name, len, hash);
}

static struct dentry *made(struct dentry *d, int err) {
    if (err < 0) {
        dentry_unref(d);
        return ERR_PTR(err);
    }
    if (!(d->flags & DENTRY_HASHED))
        dentry_insert(d);
    return d;
}

struct dentry *tmpfs_make(struct dentry *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
                          const char *target) {
    struct inode *inode = dir->inode;
    struct dentry *d = entry_for(dir, name, len);
    if (!d)
        return ERR_PTR(-ENOMEM);
    if (dir->sb->flags & SB_COMPLETE) // programs may not be allowed to make names here (devpts)
        return made(d, tmpfs_make_inode(inode, d, mode, rdev, target));
    return made(d, S_ISDIR(mode)   ? inode->ops->mkdir(inode, d, mode)
                   : S_ISLNK(mode) ? inode->ops->symlink(inode, d, target)
                                   : inode->ops->create(inode, d, mode, rdev));
}

int tmpfs_remove(struct dentry *d) {
    struct inode *dir = d->parent->inode;
    const struct inode_ops *ops = d->sb->flags & SB_COMPLETE ? &tmpfs_directory_ops : dir->ops;
    int err = S_ISDIR(d->inode->mode) ? ops->rmdir(dir, d) : ops->unlink(dir, d);
    if (err == 0) {
        dentry_remove(d);
        dentry_drop_children(d, false);
    }
    return err;
}

struct dentry *tmpfs_make_link(struct dentry *dir, const char *name, size_t len, struct inode *target) {
    struct dentry *d = entry_for(dir, name, len);
    return d ? made(d, dir->inode->ops->link(dir->inode, d, target)) : ERR_PTR(-ENOMEM);
}

void tmpfs_statistics(struct superblock *sb, struct fs_statistics *st) {
    struct page_stats ps;
    page_stats(&ps);
    *st = (struct fs_statistics){
        .magic = TMPFS_MAGIC,
        .block_size = PAGE_SIZE,
        .blocks = ps.total,
        .blocks_free = ps.free,
        .files = ps.total,
        .files_free = ps.free,
        .name_max = NAME_MAX,
    };
}

static const struct superblock_ops tmpfs_sb_ops = {.statistics = tmpfs_statistics};

struct superblock *tmpfs_superblock(const struct fs_type *type, uint32_t mode) {
    struct superblock *sb = superblock_alloc(&tmpfs_sb_ops, type, SB_COMPLETE | SB_XATTRS | SB_TMPFS);
    if (!sb)
        return ERR_PTR(-ENOMEM);
    struct inode *inode = tmpfs_inode_new(sb, S_IFDIR | mode, 0);
    if (inode && !(sb->root = dentry_alloc_root(sb, inode)))
        inode_unref(inode);
    if (!sb->root) {
        superblock_unref(sb);
        return ERR_PTR(-ENOMEM);
    }
    return sb;
}

// --- memfd_create(2): files of a tmpfs that is mounted nowhere ---

struct file *memfd_open(const char *name, unsigned flags, uint32_t mode) {
    static struct superblock memfd_sb = {.ops = &tmpfs_sb_ops,
                                         .type = &tmpfs_type,
                                         .refs = 1,
                                         .flags = SB_COMPLETE | SB_XATTRS | SB_TMPFS,
                                         .dev = 2,
                                         .next_ino = 1};
    struct inode *inode = tmpfs_inode_new(&memfd_sb, S_IFREG | (mode & 0777), 0);
    if (!inode)
        return ERR_PTR(-ENOMEM);
    inode->nlink = 0;
    tmpfs_of(inode)->seals = mode & S_ISVTX ? 0 : F_SEAL_SEAL; // MFD_ALLOW_SEALING
    char shown[NAME_MAX + 1];
    snprintf(shown, sizeof(shown), "/memfd:%s (deleted)", name);
    struct dentry *d = dentry_alloc_anonymous(inode, shown);
    if (!d) {
        inode_unref(inode);
        return ERR_PTR(-ENOMEM);
    }
    struct path p = {mount_anonymous(), d};
    struct file *f = open_inode(&p, inode, flags);
    path_unref(&p);
    return f;
}
