// rename(2) and renameat2(2). Two directories are involved: rename_lock keeps the shape of the tree still while it is decided
// which one is above the other; an ancestor is locked first, unrelated directories in the order of their addresses.
#include "fs/inotify.h"
#include "fs/internal.h"
#include <linux/fs.h> // RENAME_*

static struct mutex rename_lock = MUTEX_INIT(rename_lock);

static void lock_directories(struct dentry *a, struct dentry *b) {
    if (a == b) {
        mutex_lock(&a->inode->lock);
        return;
    }
    mutex_lock(&rename_lock);
    bool a_first = dentry_is_ancestor(a, b) || (!dentry_is_ancestor(b, a) && a < b);
    mutex_lock(a_first ? &a->inode->lock : &b->inode->lock);
    lock_nested();
    mutex_lock(a_first ? &b->inode->lock : &a->inode->lock);
}

static void unlock_directories(struct dentry *a, struct dentry *b) {
    mutex_unlock(&a->inode->lock);
    if (a != b) {
        mutex_unlock(&b->inode->lock);
        mutex_unlock(&rename_lock);
    }
}

// What can be said of the names and their places alone.
static int check_names(struct walk *from, struct walk *to, struct dentry *old, struct dentry *new, unsigned flags) {
    bool old_dir = S_ISDIR(old->inode->mode), exists = new->inode, exchange = flags &RENAME_EXCHANGE;
    if (exists && (flags & RENAME_NOREPLACE))
        return -EEXIST;
    if (!exists && exchange)
        return -ENOENT;
    if (exchange && to->trailing_slash && !S_ISDIR(new->inode->mode))
        return -ENOTDIR;
    if ((from->trailing_slash || (to->trailing_slash && !exchange)) && !old_dir)
        return -ENOTDIR;
    if (old_dir && dentry_is_ancestor(old, to->path.dentry))
        return -EINVAL;
    if (exists && S_ISDIR(new->inode->mode) && dentry_is_ancestor(new, from->path.dentry))
        return exchange ? -EINVAL : -ENOTEMPTY;
    return 0;
}

// A directory that gets another parent is changed itself: its "..".
static int check_moved(struct inode *inode, bool other_parent) {
    return other_parent && S_ISDIR(inode->mode) ? vfs_permission(inode, 2) : 0;
}

static int check_rights(struct inode *from_dir, struct inode *to_dir, struct inode *old, struct inode *new,
                        bool exchange) {
    int err = vfs_permission(from_dir, 3);
    if (err < 0 || (err = permission_sticky(from_dir, old)) < 0)
        return err;
    if (to_dir->nlink == 0)
        return -ENOENT;
    if ((err = vfs_permission(to_dir, 3)) < 0 || (new && (err = permission_sticky(to_dir, new)) < 0))
        return err;
    if (new && !exchange && S_ISDIR(old->mode) != S_ISDIR(new->mode))
        return S_ISDIR(old->mode) ? -ENOTDIR : -EISDIR;
    err = check_moved(old, from_dir != to_dir);
    return err == 0 && exchange ? check_moved(new, from_dir != to_dir) : err;
}

static void report(const struct inotify_move *m, bool exchange) {
    struct inotify_move first = *m;
    if (exchange)
        first.target = NULL;
    inotify_report_move(&first);
    struct inotify_move back = {m->new_dir,  m->old_dir,  m->target,  NULL,
                                m->new_name, m->old_name, m->new_len, m->old_len};
    if (exchange)
        inotify_report_move(&back);
}

static int rename_entries(struct walk *from, struct walk *to, struct dentry *old, struct dentry *new, unsigned flags) {
    struct inode *from_dir = from->path.dentry->inode, *to_dir = to->path.dentry->inode;
    char *long_name = NULL;
    struct inotify_move move = {from_dir,   to_dir,   old->inode,     new->inode,
                                from->last, to->last, from->last_len, to->last_len};
    int err = check_names(from, to, old, new, flags);
    if (err < 0)
        return err;
    if (old->inode == new->inode)
        return 0; // two names of one file: nothing happens
    if ((err = check_rights(from_dir, to_dir, old->inode, new->inode, flags & RENAME_EXCHANGE)) < 0)
        return err;
    if (!from_dir->ops->rename)
        return -EPERM;
    if ((old->flags | new->flags) & DENTRY_MOUNTED)
        return -EBUSY;
    if ((flags & RENAME_WHITEOUT) && !(from_dir->sb->flags & SB_TMPFS))
        return -EINVAL;
    if (!(flags & RENAME_EXCHANGE) && (err = dentry_move_prepare(new, &long_name)) < 0)
        return err;
    err = from_dir->ops->rename(from_dir, old, to_dir, new, flags);
    if (err < 0) {
        kfree(long_name);
        return err;
    }
    if (flags & RENAME_EXCHANGE)
        dentry_exchange(old, new);
    else
        dentry_move(old, new, long_name);
    if (!(flags & RENAME_EXCHANGE) && new->children)
        dentry_drop_children(new, false);
    directory_touch(from_dir);
    if (to_dir != from_dir)
        directory_touch(to_dir);
    if (!old->inode->ops->set_attributes)
        old->inode->ctime = from_dir->ctime;
    if (inotify_move_watched(&move))
        report(&move, flags & RENAME_EXCHANGE);
    return 0;
}

static int rename_locked(struct walk *from, struct walk *to, unsigned flags) {
    struct dentry *old, *new;
    int err = dentry_lookup(from->path.dentry, from->last, from->last_len, from->last_hash, true, &old);
    if (err < 0)
        return err;
    err = dentry_lookup(to->path.dentry, to->last, to->last_len, to->last_hash, true, &new);
    if (err == -ENOENT) {
        new = dentry_find(to->path.dentry, to->last, to->last_len, to->last_hash); // a negative entry
        if (!new)
            new = dentry_alloc(to->path.dentry, to->last, to->last_len, to->last_hash);
        err = new ? 0 : -ENOMEM;
    }
    if (err == 0) {
        err = rename_entries(from, to, old, new, flags);
        dentry_unref(new);
    }
    dentry_unref(old);
    return err;
}

int vfs_rename(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    if ((flags & RENAME_EXCHANGE) && flags != RENAME_EXCHANGE)
        return -EINVAL;
    struct walk a = {.resolve = 0}, b = {.resolve = 0};
    int err = walk_start(&a, from_at, from, LOOKUP_PARENT);
    if (err < 0)
        return err;
    err = walk_start(&b, to_at, to, LOOKUP_PARENT);
    if (err == 0) {
        if (a.path.mount != b.path.mount) {
            err = -EXDEV;
        } else if (a.last_type != LAST_NORMAL || b.last_type != LAST_NORMAL) {
            err = b.last_type != LAST_NORMAL && (flags & RENAME_NOREPLACE) ? -EEXIST : -EBUSY;
        } else if (path_read_only(&a.path)) {
            err = -EROFS;
        } else {
            lock_directories(a.path.dentry, b.path.dentry);
            err = rename_locked(&a, &b, flags);
            unlock_directories(a.path.dentry, b.path.dentry);
        }
        walk_end(&b);
    }
    walk_end(&a);
    return err;
}
