// Making and removing names: mkdir, mknod, symlink, link, unlink, rmdir.
// Each walks to the parent, locks its inode, looks the name up again under the lock, checks, and lets the file system act.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/string.h"

// Ready to make a new name: the parent is locked, `d` is an entry for it that is not in the table yet.
struct creation {
    struct walk walk;
    struct inode *dir;
    struct dentry *d;
};

static int creation_check(struct creation *c, bool may_end_in_slash) {
    struct dentry *parent = c->walk.path.dentry, *existing;
    int err = dentry_lookup(parent, c->walk.last, c->walk.last_len, c->walk.last_hash, true, &existing);
    if (err == 0) {
        dentry_unref(existing);
        return -EEXIST;
    }
    if (err != -ENOENT)
        return err;
    if (c->dir->nlink == 0 || (c->walk.trailing_slash && !may_end_in_slash))
        return -ENOENT;
    if (path_read_only(&c->walk.path))
        return -EROFS;
    err = vfs_permission(c->dir, 3);
    if (err < 0)
        return err;
    c->d = dentry_find(parent, c->walk.last, c->walk.last_len, c->walk.last_hash); // a negative entry
    if (!c->d)
        c->d = dentry_alloc(parent, c->walk.last, c->walk.last_len, c->walk.last_hash);
    return c->d ? 0 : -ENOMEM;
}

static int creation_begin(struct creation *c, int at, const char *name, bool may_end_in_slash) {
    c->walk.resolve = 0;
    int err = walk_start(&c->walk, at, name, LOOKUP_PARENT);
    if (err < 0)
        return err;
    if (c->walk.last_type != LAST_NORMAL) {
        walk_end(&c->walk);
        return -EEXIST;
    }
    c->dir = c->walk.path.dentry->inode;
    mutex_lock(&c->dir->lock);
    err = creation_check(c, may_end_in_slash);
    if (err < 0) {
        mutex_unlock(&c->dir->lock);
        walk_end(&c->walk);
    }
    return err;
}

static int creation_end(struct creation *c, int err) {
    if (err == 0) {
        if (!(c->d->flags & DENTRY_HASHED))
            dentry_insert(c->d);
        directory_touch(c->dir);
        inotify_created(c->dir, c->d);
    }
    dentry_unref(c->d);
    mutex_unlock(&c->dir->lock);
    walk_end(&c->walk);
    return err;
}

int vfs_mkdir(int at, const char *name, uint32_t mode) {
    struct creation c;
    int err = creation_begin(&c, at, name, true);
    if (err < 0)
        return err;
    mode = S_IFDIR | (mode & 01777 & ~current_umask()) | (c.dir->mode & S_ISGID);
    return creation_end(&c, c.dir->ops->mkdir ? c.dir->ops->mkdir(c.dir, c.d, mode) : -EPERM);
}

int vfs_mknod(int at, const char *name, uint32_t mode, uint64_t rdev) {
    if (!(mode & S_IFMT))
        mode |= S_IFREG;
    if (S_ISDIR(mode))
        return -EPERM;
    if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
        return -EINVAL;
    struct creation c;
    int err = creation_begin(&c, at, name, false);
    if (err < 0)
        return err;
    if ((S_ISCHR(mode) || S_ISBLK(mode)) && !capable(CAP_MKNOD))
        return creation_end(&c, -EPERM);
    mode = (mode & S_IFMT) | (mode & 07777 & ~current_umask());
    return creation_end(&c, c.dir->ops->create ? c.dir->ops->create(c.dir, c.d, mode, rdev) : -EPERM);
}

int vfs_make_socket(const char *name, uint32_t mode, struct path *made) {
    struct creation c;
    int err = creation_begin(&c, AT_FDCWD, name, false);
    if (err < 0)
        return err;
    mode = S_IFSOCK | (mode & 07777 & ~current_umask());
    err = c.dir->ops->create ? c.dir->ops->create(c.dir, c.d, mode, 0) : -EPERM;
    if (err == 0) {
        *made = (struct path){c.walk.path.mount, c.d};
        path_ref(made);
    }
    return creation_end(&c, err);
}

int vfs_symlink(const char *target, int at, const char *name) {
    if (!*target)
        return -ENOENT;
    struct creation c;
    int err = creation_begin(&c, at, name, false);
    if (err < 0)
        return err;
    return creation_end(&c, c.dir->ops->symlink ? c.dir->ops->symlink(c.dir, c.d, target) : -EPERM);
}

uint8_t protected_hardlinks;

// With protected_hardlinks: what one may not write one may not keep alive by another name.
static bool may_link(struct inode *inode) {
    if (!protected_hardlinks || vfs_owns(inode))
        return true;
    bool special = (inode->mode & S_ISUID) || (inode->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    return S_ISREG(inode->mode) && !special && vfs_permission(inode, 6) == 0;
}

int vfs_link(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    struct path old;
    int err = path_lookup(from_at, from, flags, &old);
    if (err < 0)
        return err;
    struct creation c;
    err = creation_begin(&c, to_at, to, false);
    if (err == 0) {
        struct inode *inode = old.dentry->inode;
        if (old.mount != c.walk.path.mount)
            err = -EXDEV;
        else if (S_ISDIR(inode->mode) || !c.dir->ops->link || !may_link(inode))
            err = -EPERM;
        else
            err = c.dir->ops->link(c.dir, c.d, inode);
        if (err == 0)
            inotify_linked(inode);
        err = creation_end(&c, err);
    }
    path_unref(&old);
    return err;
}

static int unlink_locked(struct walk *w, struct inode *dir, bool directory) {
    struct dentry *d;
    int err = dentry_lookup(w->path.dentry, w->last, w->last_len, w->last_hash, true, &d);
    if (err < 0)
        return err;
    struct inode *inode = d->inode;
    bool is_dir = S_ISDIR(inode->mode);
    int (*op)(struct inode *, struct dentry *) = directory ? dir->ops->rmdir : dir->ops->unlink;
    if ((err = vfs_permission(dir, 3)) < 0 || (err = permission_sticky(dir, inode)) < 0)
        ;
    else if (directory != is_dir || (w->trailing_slash && !is_dir))
        err = is_dir ? -EISDIR : -ENOTDIR;
    else if (!op)
        err = -EPERM;
    else {
        if (directory) {
            lock_nested(); // after its parent's
            mutex_lock(&inode->lock);
        }
        err = d->flags & DENTRY_MOUNTED ? -EBUSY : op(dir, d);
        if (err == 0) {
            dentry_remove(d);
            if (d->children)
                dentry_drop_children(d, true); // what is known to be absent from it
            directory_touch(dir);
            inotify_removed(dir, d, directory);
        }
        if (directory)
            mutex_unlock(&inode->lock);
    }
    dentry_unref(d);
    return err;
}

int vfs_unlink(int at, const char *name, bool directory) {
    struct walk w = {.resolve = 0};
    int err = walk_start(&w, at, name, LOOKUP_PARENT);
    if (err < 0)
        return err;
    if (w.last_type == LAST_NORMAL && path_read_only(&w.path)) {
        err = -EROFS; // whether there is such a name or not
    } else if (w.last_type == LAST_NORMAL) {
        struct inode *dir = w.path.dentry->inode;
        mutex_lock(&dir->lock);
        err = unlink_locked(&w, dir, directory);
        mutex_unlock(&dir->lock);
    } else if (!directory) {
        err = -EISDIR;
    } else {
        err = w.last_type == LAST_DOT ? -EINVAL : w.last_type == LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
    }
    walk_end(&w);
    return err;
}

long vfs_readlink(int at, const char *name, char *buf, size_t size) {
    struct path p;
    int err = path_lookup(at, name, *name ? 0 : LOOKUP_EMPTY, &p);
    if (err < 0)
        return err;
    struct inode *inode = p.dentry->inode;
    long n = *name ? -EINVAL : -ENOENT;
    if (S_ISLNK(inode->mode) && inode->ops->readlink)
        n = inode->ops->readlink(inode, buf, size);
    if (n > 0)
        link_accessed(inode, &p);
    path_unref(&p);
    return n;
}
