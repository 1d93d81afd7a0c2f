// Names: lookup, and making, linking, removing and renaming them. Each call is one handle, so a power cut leaves it done or not done.
// Locks: the VFS holds the inode.lock of the directories.
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/string.h"
#include <linux/fs.h>

#define LINKS_MAX 65000

// What a transaction that is not on the disk yet has freed can be had after a commit.
static bool try_again(struct ext4_fs *fs, int err, int *round) {
    return err == -ENOSPC && READ_ONCE(fs->pending) && (*round)++ < 2 && ext4_commit_all(fs) == 0;
}

// Two names of one directory would make a tree without an end.
static bool is_elsewhere(struct inode *inode, const struct dentry *d) {
    bool yes = inode == d->parent->inode || inode == inode->sb->root->inode;
    struct dentry *other;
    spin_lock(&inode->spin);
    list_for_each (other, &inode->aliases, alias_link)
        yes |= other != d && (other->flags & DENTRY_HASHED);
    spin_unlock(&inode->spin);
    return yes;
}

static int lookup(struct inode *dir, struct dentry *d) {
    struct ext4_fs *fs = EXT4_FS(dir->sb);
    struct ext4_dir_place place;
    int err = ext4_dir_find(ext4_i(dir), d->name, d->name_len, &place);
    if (err < 0)
        return err == -ENOENT ? 0 : err;
    uint32_t ino = place.e->inode;
    ext4_buffer_put(fs, place.b);
    if (ino != EXT4_ROOT_INO && ino < fs->first_ino)
        return ext4_corrupt(fs, "directory %lu has a name for inode %u", dir->ino, ino);
    struct inode *inode = ext4_inode_get(dir->sb, ino);
    if (IS_ERR(inode))
        return PTR_ERR(inode) == -ESTALE
                   ? ext4_corrupt(fs, "directory %lu has a name for the free inode %u", dir->ino, ino)
                   : (int)PTR_ERR(inode);
    if (S_ISDIR(inode->mode) && is_elsewhere(inode, d)) {
        inode_unref(inode);
        return ext4_corrupt(fs, "directory %u has two names", ino);
    }
    dentry_attach(d, inode);
    return 0;
}

// --- Link counts. A directory with more entries than can be counted has the count 1. ---

static void count_up(struct ext4_inode *dir) {
    if (dir->vfs.nlink == 1)
        return;
    dir->vfs.nlink++;
    if (dir->vfs.nlink >= LINKS_MAX && ext4_dir_indexed(dir))
        dir->vfs.nlink = 1;
}

static void count_down(struct ext4_inode *dir) {
    if (dir->vfs.nlink > 2)
        dir->vfs.nlink--;
}

static bool too_many(const struct ext4_inode *dir) {
    return dir->vfs.nlink >= LINKS_MAX && !((EXT4_FS(dir->vfs.sb)->ro_compat & RO_DIR_NLINK) && ext4_dir_indexed(dir));
}

static int touch(struct ext4_handle *h, struct inode *dir) {
    dir->mtime = dir->ctime = inode_now();
    return ext4_inode_write(h, ext4_i(dir));
}

static int check_changeable(struct inode *dir, struct inode *victim) {
    if (ext4_i(dir)->flags & EXT4_IMMUTABLE_FL)
        return -EPERM;
    if (victim &&
        ((ext4_i(dir)->flags & EXT4_APPEND_FL) || (ext4_i(victim)->flags & (EXT4_IMMUTABLE_FL | EXT4_APPEND_FL))))
        return -EPERM;
    return 0;
}

// --- Making ---

static int fill_link(struct ext4_handle *h, struct ext4_inode *i, const char *target, size_t len) {
    struct ext4_fs *fs = h->fs;
    i->vfs.size = len;
    if (len < sizeof(i->block)) {
        memset(i->block, 0, sizeof(i->block));
        memcpy(i->block, target, len);
        return ext4_inode_write(h, i);
    }
    if (fs->has_extents)
        ext4_extent_init(i);
    struct ext4_map m;
    rwmutex_write_lock(&i->map);
    int err = ext4_map_allocate(h, i, 0, 1, false, 0, &m);
    rwmutex_write_unlock(&i->map);
    struct ext4_buffer *b = err == 0 ? ext4_buffer_zero(fs, m.block) : ERR_PTR(err);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    err = ext4_change(h, b);
    if (err == 0) {
        memcpy(b->data, target, len);
        err = ext4_inode_write(h, i);
    }
    ext4_buffer_put(fs, b);
    return err;
}

// Something failed after a part of the change was made: a power cut may not leave that part, so nothing is committed any more.
static int half_done(struct inode *dir, int err) {
    return ext4_corrupt(EXT4_FS(dir->sb), "a change in directory %lu failed half way (error %d)", dir->ino, -err);
}

struct creation {
    uint32_t mode;
    uint64_t rdev;
    const char *target; // of a symbolic link
    bool nameless;
};

// The new inode, in the directory; the entry is not attached yet. ERR_PTR.
static struct inode *make(struct ext4_handle *h, struct inode *dir, const struct dentry *d, const struct creation *c) {
    struct inode *inode = ext4_inode_new(h, dir, c->mode, c->rdev);
    if (IS_ERR(inode))
        return inode;
    struct ext4_inode *i = ext4_i(inode);
    int err = 0;
    if (c->target)
        err = fill_link(h, i, c->target, strlen(c->target));
    else if (S_ISDIR(c->mode))
        err = ext4_dir_init(h, i, (uint32_t)dir->ino);
    if (err == 0 && !c->nameless) {
        err = ext4_dir_add(h, ext4_i(dir), d->name, d->name_len, (uint32_t)inode->ino, inode->mode);
        if (err == 0 && S_ISDIR(c->mode))
            count_up(ext4_i(dir));
        if (err == 0 && (err = touch(h, dir)) < 0)
            err = half_done(dir, err);
    }
    if (err < 0 || c->nameless) {
        inode->nlink = 0;
        int orphan = ext4_orphan_add(h, i);
        err = err < 0 ? err : orphan;
    }
    if (err == 0)
        return inode;
    // Its end begins a handle of its own: the caller ends this one first.
    inode->data = ERR_PTR(err);
    return inode;
}

static int create_any(struct inode *dir, struct dentry *d, const struct creation *c) {
    struct ext4_fs *fs = EXT4_FS(dir->sb);
    int err = check_changeable(dir, NULL), round = 0;
    if (err == 0 && S_ISDIR(c->mode) && too_many(ext4_i(dir)))
        err = -EMLINK;
    if (err < 0)
        return err;
    do {
        struct ext4_handle h;
        err = ext4_begin(&h, fs, CREDITS_NEW_INODE + CREDITS_DIR + CREDITS_ORPHAN + 8);
        if (err < 0)
            return err;
        struct inode *inode = make(&h, dir, d, c);
        ext4_end(&h);
        if (!IS_ERR(inode) && inode->data) {
            err = (int)PTR_ERR(inode->data);
            inode->data = NULL;
            inode_unref(inode);
        } else if (IS_ERR(inode)) {
            err = (int)PTR_ERR(inode);
        } else {
            dentry_attach(d, inode);
        }
    } while (try_again(fs, err, &round));
    return err;
}

static int create(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev) {
    struct creation c = {.mode = mode, .rdev = rdev};
    return create_any(dir, d, &c);
}

static int make_directory(struct inode *dir, struct dentry *d, uint32_t mode) {
    struct creation c = {.mode = mode};
    return create_any(dir, d, &c);
}

static int make_link(struct inode *dir, struct dentry *d, const char *target) {
    struct creation c = {.mode = S_IFLNK | 0777, .target = target};
    if (strlen(target) >= EXT4_FS(dir->sb)->block_size)
        return -ENAMETOOLONG;
    return create_any(dir, d, &c);
}

static int make_nameless(struct inode *dir, struct dentry *d, uint32_t mode) {
    struct creation c = {.mode = mode, .nameless = true};
    return create_any(dir, d, &c);
}

static int link_once(struct inode *dir, struct dentry *d, struct inode *target) {
    struct ext4_handle h;
    int err = ext4_begin(&h, EXT4_FS(dir->sb), CREDITS_DIR + CREDITS_ORPHAN + 4);
    if (err < 0)
        return err;
    err = ext4_dir_add(&h, ext4_i(dir), d->name, d->name_len, (uint32_t)target->ino, target->mode);
    if (err == 0) {
        if (target->nlink == 0)
            err = ext4_orphan_remove(&h, ext4_i(target));
        atomic_add(&target->nlink, 1);
        target->linkable = false;
        target->ctime = inode_now();
        int e = ext4_inode_write(&h, ext4_i(target));
        err = err < 0 ? err : e;
        e = touch(&h, dir);
        err = err < 0 ? err : e;
        if (err < 0)
            err = half_done(dir, err);
    }
    ext4_end(&h);
    return err;
}

static int link(struct inode *dir, struct dentry *d, struct inode *target) {
    int err = check_changeable(dir, NULL), round = 0;
    if (err == 0 && target->nlink == 0 && !target->linkable)
        err = -ENOENT;
    if (err == 0 && target->nlink >= LINKS_MAX)
        err = -EMLINK;
    if (err == 0 && (ext4_i(target)->flags & (EXT4_IMMUTABLE_FL | EXT4_APPEND_FL)))
        err = -EPERM;
    if (err < 0)
        return err;
    do
        err = link_once(dir, d, target);
    while (try_again(EXT4_FS(dir->sb), err, &round));
    if (err == 0)
        dentry_attach(d, inode_ref(target));
    return err;
}

// --- Removing ---

// The entry of the name, which must be for this inode.
static int find_entry(struct inode *dir, const struct dentry *d, struct ext4_dir_place *place) {
    struct ext4_fs *fs = EXT4_FS(dir->sb);
    int err = ext4_dir_find(ext4_i(dir), d->name, d->name_len, place);
    if (err == 0 && place->e->inode != d->inode->ino) {
        ext4_buffer_put(fs, place->b);
        err = -ENOENT;
    }
    return err == -ENOENT ? ext4_corrupt(fs, "directory %lu: a name has changed", dir->ino) : err;
}

// One name less; the last one makes it an orphan.
static int drop_name(struct ext4_handle *h, struct inode *inode) {
    if (S_ISDIR(inode->mode))
        inode->nlink = 0;
    else if (inode->nlink)
        atomic_sub(&inode->nlink, 1);
    inode->ctime = inode_now();
    int err = inode->nlink == 0 ? ext4_orphan_add(h, ext4_i(inode)) : 0;
    return err < 0 ? err : ext4_inode_write(h, ext4_i(inode));
}

static int remove_name(struct inode *dir, struct dentry *d) {
    struct ext4_fs *fs = EXT4_FS(dir->sb);
    struct ext4_dir_place place;
    struct ext4_handle h;
    int err = check_changeable(dir, d->inode);
    if (err < 0 || (err = ext4_begin(&h, fs, 4 + CREDITS_ORPHAN)) < 0)
        return err;
    err = find_entry(dir, d, &place);
    if (err == 0) {
        err = ext4_dir_remove(&h, ext4_i(dir), &place);
        ext4_buffer_put(fs, place.b);
    }
    if (err == 0) {
        err = drop_name(&h, d->inode);
        if (S_ISDIR(d->inode->mode))
            count_down(ext4_i(dir));
        if (err < 0 || (err = touch(&h, dir)) < 0)
            err = half_done(dir, err);
    }
    ext4_end(&h);
    return err;
}

static int remove_directory(struct inode *dir, struct dentry *d) {
    int err = ext4_dir_empty(ext4_i(d->inode));
    return err < 0 ? err : remove_name(dir, d);
}

// --- Renaming ---

// The directory has another parent now.
static int set_parent(struct ext4_handle *h, struct inode *moved, struct inode *parent) {
    struct ext4_dir_place place;
    int err = ext4_dir_parent(ext4_i(moved), &place);
    if (err < 0)
        return err;
    err = ext4_dir_set(h, ext4_i(moved), &place, (uint32_t)parent->ino, S_IFDIR);
    ext4_buffer_put(h->fs, place.b);
    return err;
}

static int set_entry(struct ext4_handle *h, struct inode *dir, const struct dentry *d, const struct inode *to) {
    struct ext4_dir_place place;
    int err = find_entry(dir, d, &place);
    if (err < 0)
        return err;
    err = ext4_dir_set(h, ext4_i(dir), &place, (uint32_t)to->ino, to->mode);
    ext4_buffer_put(h->fs, place.b);
    return err;
}

static int finish_rename(struct ext4_handle *h, struct inode *from_dir, struct inode *to_dir, struct inode *moved) {
    moved->ctime = inode_now();
    int err = ext4_inode_write(h, ext4_i(moved));
    if (err == 0)
        err = touch(h, from_dir);
    return err == 0 && to_dir != from_dir ? touch(h, to_dir) : err;
}

static int exchange(struct ext4_handle *h, struct inode *from_dir, struct dentry *from, struct inode *to_dir,
                    struct dentry *to) {
    bool from_is_dir = S_ISDIR(from->inode->mode), to_is_dir = S_ISDIR(to->inode->mode);
    int err = set_entry(h, to_dir, to, from->inode);
    if (err < 0)
        return err;
    err = set_entry(h, from_dir, from, to->inode);
    if (err == 0 && from_dir != to_dir) {
        if (from_is_dir)
            err = set_parent(h, from->inode, to_dir);
        if (err == 0 && to_is_dir)
            err = set_parent(h, to->inode, from_dir);
        if (from_is_dir && !to_is_dir) {
            count_down(ext4_i(from_dir));
            count_up(ext4_i(to_dir));
        } else if (to_is_dir && !from_is_dir) {
            count_up(ext4_i(from_dir));
            count_down(ext4_i(to_dir));
        }
    }
    if (err == 0) {
        to->inode->ctime = inode_now();
        err = ext4_inode_write(h, ext4_i(to->inode));
    }
    if (err == 0)
        err = finish_rename(h, from_dir, to_dir, from->inode);
    return err < 0 ? half_done(to_dir, err) : 0;
}

static int move(struct ext4_handle *h, struct inode *from_dir, struct dentry *from, struct inode *to_dir,
                struct dentry *to) {
    struct ext4_fs *fs = h->fs;
    struct inode *inode = from->inode, *victim = to->inode;
    bool is_dir = S_ISDIR(inode->mode);
    int err = victim ? set_entry(h, to_dir, to, inode)
                     : ext4_dir_add(h, ext4_i(to_dir), to->name, to->name_len, (uint32_t)inode->ino, inode->mode);
    if (err < 0)
        return err;
    // The new name may have moved the old one.
    struct ext4_dir_place place;
    err = find_entry(from_dir, from, &place);
    if (err == 0) {
        err = ext4_dir_remove(h, ext4_i(from_dir), &place);
        ext4_buffer_put(fs, place.b);
    }
    if (err == 0 && victim)
        err = drop_name(h, victim);
    if (err == 0 && is_dir && from_dir != to_dir)
        err = set_parent(h, inode, to_dir);
    if (is_dir) {
        if (!victim)
            count_up(ext4_i(to_dir));
        count_down(ext4_i(from_dir));
    }
    if (err == 0)
        err = finish_rename(h, from_dir, to_dir, inode);
    return err < 0 ? half_done(to_dir, err) : 0;
}

static int rename_once(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to,
                       unsigned flags) {
    struct ext4_handle h;
    int err = ext4_begin(&h, EXT4_FS(from_dir->sb), CREDITS_DIR + CREDITS_ORPHAN + 12);
    if (err < 0)
        return err;
    err = flags & RENAME_EXCHANGE ? exchange(&h, from_dir, from, to_dir, to) : move(&h, from_dir, from, to_dir, to);
    ext4_end(&h);
    return err;
}

static int rename_any(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to,
                      unsigned flags) {
    int round = 0, err = check_changeable(from_dir, from->inode);
    bool replaces = to->inode && !(flags & RENAME_EXCHANGE), directory = replaces && S_ISDIR(to->inode->mode);
    if (err == 0)
        err = check_changeable(to_dir, to->inode);
    if (err == 0 && !to->inode && S_ISDIR(from->inode->mode) && from_dir != to_dir && too_many(ext4_i(to_dir)))
        err = -EMLINK;
    if (err < 0)
        return err;
    if (directory) { // nobody makes a name in it after the look
        lock_nested();
        mutex_lock(&to->inode->lock);
        err = ext4_dir_empty(ext4_i(to->inode));
    }
    if (err == 0) {
        do
            err = rename_once(from_dir, from, to_dir, to, flags);
        while (try_again(EXT4_FS(from_dir->sb), err, &round));
    }
    if (directory)
        mutex_unlock(&to->inode->lock);
    return err;
}

// --- Symbolic links ---

static long read_link(struct inode *inode, char *buf, size_t size) {
    struct ext4_inode *i = ext4_i(inode);
    size_t n = MIN(size, inode->size);
    if (ext4_inode_in_memory(i)) {
        memcpy(buf, i->block, n);
        return (long)n;
    }
    struct ext4_map m;
    int err = ext4_map_find(i, 0, 1, &m);
    if (err < 0)
        return err;
    if (!m.block)
        return ext4_corrupt(EXT4_FS(inode->sb), "symbolic link %lu has no block", inode->ino);
    struct ext4_buffer *b = ext4_buffer_read(EXT4_FS(inode->sb), m.block);
    if (IS_ERR(b))
        return PTR_ERR(b);
    memcpy(buf, b->data, n);
    ext4_buffer_put(EXT4_FS(inode->sb), b);
    return (long)n;
}

#define COMMON                                                                                                         \
    .update = ext4_inode_update, .set_attributes = ext4_set_attributes, .xattr_get = ext4_xattr_get,                   \
    .xattr_set = ext4_xattr_set, .xattr_list = ext4_xattr_list, .release = ext4_inode_release

const struct inode_ops ext4_file_inode_ops = {.truncate = ext4_truncate, COMMON};
const struct inode_ops ext4_link_inode_ops = {.readlink = read_link, COMMON};
const struct inode_ops ext4_special_inode_ops = {COMMON};
const struct inode_ops ext4_dir_inode_ops = {
    .lookup = lookup,
    .create = create,
    .mkdir = make_directory,
    .symlink = make_link,
    .link = link,
    .unlink = remove_name,
    .rmdir = remove_directory,
    .rename = rename_any,
    .tmpfile = make_nameless,
    COMMON,
};
