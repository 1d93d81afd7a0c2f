// Names of the overlay. What is in a directory's table as DENTRY_PINNED is a change: an entry that the lower directory does not have
// (or not so), or a negative one for a name that was removed; everything else is asked of the lower directory and cached.
// A change is made as tmpfs makes it; what comes on top is the negative entry that takes the place of a name below, and that the
// inodes keep themselves. All of this under the directories' locks, so it sees the entries as they are.
#include "fs/overlay/overlay.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include <linux/fs.h>

#define EMPTY_SIZE 64 // bytes that an empty directory may have, where directories are as large as what is in them

// A directory has one entry. An image in which two names lead to one directory, or a name to a directory above, must not get further.
static bool has_entry(struct inode *dir) {
    bool found = false;
    const struct dentry *d;
    spin_lock(&dir->spin);
    list_for_each (d, &dir->aliases, alias_link)
        found |= (d->flags & DENTRY_HASHED) || d->parent == d;
    spin_unlock(&dir->spin);
    return found;
}

// Nothing shows of the lower directory (/tmp of an image): all names are in the table, and nobody need ask it again. Those who might
// change it are asked always; the size spares the others a look that is in vain.
static void look_whether_complete(struct dentry *dir, const struct inode *lower) {
    if ((lower->sb->flags & SB_RDONLY) && lower->size <= EMPTY_SIZE && overlay_shows_nothing_below(dir) == 1)
        atomic_or(&dir->flags, DENTRY_COMPLETE);
}

static int overlay_lookup(struct inode *dir, struct dentry *d) {
    struct inode *lower = tmpfs_of(dir)->lower, *below;
    if (!lower)
        return 0;
    int err = lower_lookup(lower, d->name, d->name_len, d->hash, &below);
    if (err < 0)
        return err;
    if (!below) {
        look_whether_complete(d->parent, lower);
        return 0;
    }
    struct inode *inode = overlay_inode(dir->sb, below);
    if (IS_ERR(inode))
        return PTR_ERR(inode);
    if (S_ISDIR(inode->mode) && has_entry(inode)) {
        log_warn("the image below has two names for one directory: %s is left out", d->name);
        inode_unref(inode);
        return -EIO;
    }
    dentry_attach(d, inode);
    return 0;
}

// --- New names ---

static void changed(struct inode *dir) {
    overlay_keep(dir);
    inode_touch_change(dir);
}

// The entry has its inode.
static int added(struct inode *dir, struct dentry *d, int err) {
    if (err == 0) {
        atomic_or(&d->flags, DENTRY_PINNED);
        changed(dir);
    }
    return err;
}

static int overlay_create(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev) {
    return added(dir, d, tmpfs_make_inode(dir, d, mode, rdev, NULL));
}

static int overlay_mkdir(struct inode *dir, struct dentry *d, uint32_t mode) {
    int err = tmpfs_make_inode(dir, d, mode, 0, NULL);
    if (err == 0)
        atomic_or(&d->flags, DENTRY_COMPLETE);
    return added(dir, d, err);
}

static int overlay_symlink(struct inode *dir, struct dentry *d, const char *target) {
    return added(dir, d, tmpfs_make_inode(dir, d, S_IFLNK | 0777, 0, target));
}

static int overlay_link(struct inode *dir, struct dentry *d, struct inode *target) {
    int err = added(dir, d, tmpfs_link(dir, d, target));
    if (err == 0)
        overlay_keep(target);
    return err;
}

// --- Names that go ---

// The entry that says "nothing there, whatever the lower directory has", for the place that `d` is about to leave; *white NULL: there is
// nothing below to hide. 0 or -ENOSPC.
static int whiteout_prepare(struct dentry *d, struct dentry **white) {
    *white = NULL;
    if (!entry_covers(d))
        return 0;
    *white = dentry_alloc(d->parent, d->name, d->name_len, d->hash);
    if (!*white)
        return -ENOSPC;
    (*white)->flags |= DENTRY_PINNED | DENTRY_COVERS;
    return 0;
}

// It stands behind `d` until that one is gone.
static void whiteout_place(struct dentry *white) {
    if (!white)
        return;
    dentry_insert_behind(white);
    dentry_unref(white);
}

static void name_lost(struct inode *inode) {
    inode->ctime = inode_now();
    if (inode->nlink > 0) // what an image says is not to be relied on
        atomic_sub(&inode->nlink, 1);
    if (inode->nlink == 0)
        overlay_forget(inode);
    else
        overlay_keep(inode);
}

static int overlay_unlink(struct inode *dir, struct dentry *d) {
    struct dentry *white;
    int err = whiteout_prepare(d, &white);
    if (err < 0)
        return err;
    whiteout_place(white);
    name_lost(d->inode);
    tmpfs_entry_removed(dir, false);
    changed(dir);
    return 0;
}

// Empties a directory for good: nothing of what lies below shows any more. Its inode is locked.
static void end_directory(struct dentry *d) {
    struct tmpfs_inode *t = tmpfs_of(d->inode);
    struct inode *lower = t->lower;
    t->inode.nlink = 0;
    t->inode.ctime = inode_now();
    atomic_or(&d->flags, DENTRY_COMPLETE);
    overlay_forget(&t->inode);
    t->lower = NULL;
    if (lower)
        inode_unref(lower);
}

static int check_empty(struct dentry *d) {
    int empty = overlay_is_empty(d);
    return empty < 0 ? empty : empty ? 0 : -ENOTEMPTY;
}

static int overlay_rmdir(struct inode *dir, struct dentry *d) {
    struct dentry *white;
    int err = check_empty(d);
    if (err == 0)
        err = whiteout_prepare(d, &white);
    if (err < 0)
        return err;
    whiteout_place(white);
    end_directory(d);
    tmpfs_entry_removed(dir, true);
    changed(dir);
    return 0;
}

// --- rename ---

static void set_place(struct dentry *d, bool covers) {
    atomic_or(&d->flags, DENTRY_PINNED | (covers ? DENTRY_COVERS : 0));
    if (!covers)
        atomic_and(&d->flags, (uint8_t)~DENTRY_COVERS);
}

static void moved(struct inode *inode) {
    inode->ctime = inode_now();
    overlay_keep(inode);
}

static void exchange(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to) {
    bool from_is_dir = S_ISDIR(from->inode->mode), to_is_dir = S_ISDIR(to->inode->mode);
    bool from_covers = entry_covers(from), to_covers = entry_covers(to);
    from_dir->nlink += to_is_dir - from_is_dir;
    to_dir->nlink += from_is_dir - to_is_dir;
    set_place(from, to_covers);
    set_place(to, from_covers);
    moved(to->inode);
}

// What was there under the new name goes.
static int replace(struct inode *dir, struct dentry *to) {
    bool directory = S_ISDIR(to->inode->mode);
    if (!directory) {
        name_lost(to->inode);
    } else {
        lock_nested(); // after its parent's
        mutex_lock(&to->inode->lock);
        int err = check_empty(to);
        if (err == 0)
            end_directory(to);
        mutex_unlock(&to->inode->lock);
        if (err < 0)
            return err;
    }
    tmpfs_entry_removed(dir, directory);
    return 0;
}

static int move(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to, bool device) {
    bool covers = entry_covers(to), directory = S_ISDIR(from->inode->mode);
    struct dentry *white;
    int err = device ? tmpfs_whiteout(from_dir, from, &white) : whiteout_prepare(from, &white);
    if (err < 0)
        return err;
    if (device)
        white->flags |= DENTRY_PINNED | (entry_covers(from) ? DENTRY_COVERS : 0);
    if (to->inode && (err = replace(to_dir, to)) < 0) {
        if (device)
            tmpfs_whiteout_end(from_dir, white, false);
        else if (white)
            dentry_unref(white);
        return err;
    }
    whiteout_place(white);
    tmpfs_entry_removed(from_dir, directory);
    tmpfs_entry_added(to_dir, directory);
    set_place(from, covers);
    return 0;
}

static int overlay_rename(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to,
                          unsigned flags) {
    int err = 0;
    if (flags & RENAME_EXCHANGE)
        exchange(from_dir, from, to_dir, to);
    else
        err = move(from_dir, from, to_dir, to, flags & RENAME_WHITEOUT);
    if (err < 0)
        return err;
    moved(from->inode);
    changed(from_dir);
    if (to_dir != from_dir)
        changed(to_dir);
    return 0;
}

const struct inode_ops overlay_directory_ops = {
    .lookup = overlay_lookup,
    .create = overlay_create,
    .tmpfile = tmpfs_tmpfile,
    .mkdir = overlay_mkdir,
    .symlink = overlay_symlink,
    .link = overlay_link,
    .unlink = overlay_unlink,
    .rmdir = overlay_rmdir,
    .rename = overlay_rename,
    .set_attributes = overlay_set_attributes,
    .release = overlay_release,
};
