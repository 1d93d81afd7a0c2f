// open(2): the walk, creation, permission checks, and what kind of file an inode becomes.
#include "fs/blockdev.h"
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/tty.h"
#include "kernel/log.h"
#include "kernel/string.h"

// A device's or a FIFO's file, with the node's inode and path in place of what the driver used.
static struct file *open_special(struct inode *inode, unsigned flags) {
    if (inode->file_ops) { // outside the tree: inode_anonymous()
        struct file *f = file_alloc(inode->file_ops, inode, flags);
        if (!IS_ERR(f)) {
            f->data = inode->data;
            f->stream = true;
        }
        return f;
    }
    if (S_ISFIFO(inode->mode))
        return fifo_open(inode, flags);
    if (pty_is_slave(inode))
        return pty_open_slave(inode, flags);
    if (S_ISBLK(inode->mode))
        return blockdev_open(inode, flags);
    const struct device *dev = S_ISCHR(inode->mode) ? device_find(inode->rdev) : NULL;
    if (!dev)
        return ERR_PTR(-ENXIO);
    if (!dev->open)
        return file_alloc(dev->ops, inode, flags);
    struct file *f = dev->open(flags);
    if (!IS_ERR(f) && f->inode != inode) {
        struct inode *old = f->inode;
        f->inode = inode_ref(inode);
        if (old)
            inode_unref(old);
    }
    return f;
}

// A regular file that is open for writing counts as such: a program that runs is none.
// And a mount with one does not become read-only: it is counted there first, and then looked at again.
static struct file *alloc_writable(const struct path *p, struct inode *inode, unsigned flags) {
    int err = inode_get_write(inode);
    if (err < 0)
        return ERR_PTR(err);
    atomic_add(&p->mount->writers, 1);
    struct file *f = unlikely(path_read_only(p)) ? ERR_PTR(-EROFS) : file_alloc(inode->file_ops, inode, flags);
    if (IS_ERR(f)) {
        atomic_sub(&p->mount->writers, 1);
        inode_put_write(inode);
    } else {
        f->counts_write = true;
    }
    return f;
}

struct file *open_inode(const struct path *p, struct inode *inode, unsigned flags) {
    struct file *f;
    if (likely(S_ISREG(inode->mode) || S_ISDIR(inode->mode))) {
        if (unlikely(!inode->file_ops))
            return ERR_PTR(-ENXIO);
        if ((flags & O_ACCMODE) == O_RDONLY || S_ISDIR(inode->mode))
            f = file_alloc(inode->file_ops, inode, flags);
        else
            f = alloc_writable(p, inode, flags);
        if (!IS_ERR(f))
            f->lock_position = true;
        if (unlikely(!(p->mount->flags & (MS_RELATIME | MS_NOATIME))) && !IS_ERR(f))
            f->watched = true; // path_accessed_always(): each read asks what else there is to do
    } else {
        f = open_special(inode, flags);
    }
    if (IS_ERR(f))
        return f;
    if (!f->path.dentry) {
        f->path = *p;
        path_ref(p);
    }
    if (unlikely(f->ops->open != NULL || (flags & O_DIRECT))) {
        int err = f->ops->open ? f->ops->open(f) : 0;
        if (err == 0 && (flags & O_DIRECT) && !f->ops->direct)
            err = -EINVAL;
        if (err < 0) {
            file_unref(f);
            return ERR_PTR(err);
        }
    }
    inotify_opened(f);
    return f;
}

static int check_open(const struct path *p, struct inode *inode, unsigned flags) {
    unsigned access = flags & O_ACCMODE;
    bool write = access != O_RDONLY || (flags & O_TRUNC);
    if (S_ISLNK(inode->mode))
        return -ELOOP;
    if (S_ISDIR(inode->mode)) {
        if (write)
            return -EISDIR;
    } else if (flags & O_DIRECTORY) {
        return -ENOTDIR;
    }
    if (write && path_read_only(p) && (S_ISREG(inode->mode) || S_ISDIR(inode->mode)))
        return -EROFS;
    if ((S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) && (p->mount->flags & 4)) // MS_NODEV
        return -EACCES;
    unsigned mask = (access != O_WRONLY ? 4 : 0) | (write ? 2 : 0);
    int err = vfs_permission(inode, mask);
    if (err == 0 && (flags & O_NOATIME) && !vfs_owns(inode))
        err = -EPERM;
    return err;
}

static struct file *open_place(const struct path *p, unsigned flags) {
    static const struct file_ops path_ops = {.name = NULL};
    struct file *f = file_alloc(&path_ops, p->dentry->inode, flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (!IS_ERR(f)) {
        f->path_only = true;
        f->readable = f->writable = false;
        f->path = *p;
        path_ref(p);
    }
    return f;
}

struct file *vfs_open_path(const struct path *p, unsigned flags) {
    struct inode *inode = p->dentry->inode;
    if (flags & O_PATH)
        return (flags & O_DIRECTORY) && !S_ISDIR(inode->mode) ? ERR_PTR(-ENOTDIR) : open_place(p, flags);
    int err = check_open(p, inode, flags);
    if (err < 0)
        return ERR_PTR(err);
    if ((flags & O_TRUNC) && S_ISREG(inode->mode) && inode->ops->truncate) {
        err = inode_get_write(inode);
        if (err == 0) {
            err = vfs_truncate(inode, 0);
            inode_put_write(inode);
        }
        if (err < 0)
            return ERR_PTR(err);
    }
    return open_inode(p, inode, flags);
}

static struct file *open_created(struct walk *w, struct dentry *d, unsigned flags) {
    struct path p = {w->path.mount, d};
    return open_inode(&p, d->inode, flags);
}

// Makes the last component: the parent is locked and the name is known to be absent.
static struct file *create_locked(struct walk *w, struct inode *dir, unsigned flags, uint32_t mode) {
    struct dentry *parent = w->path.dentry, *d;
    if (dir->nlink == 0)
        return ERR_PTR(-ENOENT);
    if (path_read_only(&w->path))
        return ERR_PTR(-EROFS);
    int err = vfs_permission(dir, 3);
    if (err < 0)
        return ERR_PTR(err);
    if (!dir->ops->create)
        return ERR_PTR(-EACCES);
    d = dentry_find(parent, w->last, w->last_len, w->last_hash); // a negative entry
    if (!d)
        d = dentry_alloc(parent, w->last, w->last_len, w->last_hash);
    if (!d)
        return ERR_PTR(-ENOMEM);
    err = dir->ops->create(dir, d, S_IFREG | (mode & 07777 & ~current_umask()), 0);
    struct file *f = ERR_PTR(err);
    if (err == 0) {
        if (!(d->flags & DENTRY_HASHED))
            dentry_insert(d);
        directory_touch(dir);
        inotify_created(dir, d);
        f = open_created(w, d, flags); // whatever the new file's mode says
    }
    dentry_unref(d);
    return f;
}

// Somebody else has made the name on the server meanwhile: what was known of it goes. The parent is locked.
static int look_again(struct walk *w, struct dentry **out) {
    struct dentry *d = dentry_find(w->path.dentry, w->last, w->last_len, w->last_hash);
    if (d) {
        if (!d->inode)
            dentry_remove(d);
        dentry_unref(d);
    }
    return dentry_lookup(w->path.dentry, w->last, w->last_len, w->last_hash, true, out);
}

uint8_t protected_fifos, protected_regular;

// Somebody else's file in a shared directory, where the caller meant to make one of his own: proc(5), protected_fifos.
static bool is_bait(const struct inode *dir, const struct inode *inode) {
    uint8_t level = S_ISFIFO(inode->mode) ? protected_fifos : S_ISREG(inode->mode) ? protected_regular : 0;
    return level && (dir->mode & S_ISVTX) && inode->uid != dir->uid && inode->uid != current_cred()->fsuid &&
           ((dir->mode & 002) || ((dir->mode & 020) && level >= 2));
}

// After the walk to the parent: opens or creates the last component. Returns NULL when it was a symbolic link that the walk
// has now followed to another last component.
static struct file *open_last(struct walk *w, unsigned flags, uint32_t mode) {
    if (w->last_type != LAST_NORMAL) // "/", ".", "..", or the target of a magic link
        return (flags & O_EXCL) && w->last_type != LAST_NONE ? ERR_PTR(-EEXIST) : ERR_PTR(-EISDIR);
    if (w->trailing_slash)
        return ERR_PTR(-EISDIR);
    struct inode *dir = w->path.dentry->inode;
    struct dentry *d;
    int err = dentry_lookup(w->path.dentry, w->last, w->last_len, w->last_hash, false, &d);
    if (err == -ENOENT) {
        mutex_lock(&dir->lock);
        err = dentry_lookup(w->path.dentry, w->last, w->last_len, w->last_hash, true, &d);
        struct file *f = err == -ENOENT ? create_locked(w, dir, flags, mode) : NULL;
        bool late = f == ERR_PTR(-EEXIST) && !(flags & O_EXCL);
        if (late)
            err = look_again(w, &d);
        mutex_unlock(&dir->lock);
        if (f && !late)
            return f;
    }
    if (err < 0)
        return ERR_PTR(err);
    struct path p = {w->path.mount, d};
    struct file *f;
    if (flags & O_EXCL) {
        f = ERR_PTR(-EEXIST);
    } else if (S_ISLNK(d->inode->mode)) {
        f = ERR_PTR(-ELOOP);
        if (!(flags & O_NOFOLLOW)) {
            err = walk_follow(w, d);
            dentry_unref(d);
            return err < 0 ? ERR_PTR(err) : NULL;
        }
    } else {
        mount_ref(p.mount);
        while ((p.dentry->flags & DENTRY_MOUNTED) && mount_cross(&p))
            ;
        if ((w->resolve & RESOLVE_NO_XDEV) && p.mount != w->path.mount) {
            f = ERR_PTR(-EXDEV);
        } else if (S_ISDIR(p.dentry->inode->mode)) {
            f = ERR_PTR(-EISDIR);
        } else if (is_bait(dir, p.dentry->inode)) {
            f = ERR_PTR(-EACCES);
        } else {
            f = vfs_open_path(&p, flags);
        }
        path_unref(&p);
        return f;
    }
    dentry_unref(d);
    return f;
}

static struct file *open_create(int at, const char *name, unsigned flags, uint32_t mode, uint32_t resolve) {
    struct walk w;
    w.resolve = resolve;
    int err = walk_start(&w, at, name, LOOKUP_PARENT);
    if (err < 0)
        return ERR_PTR(err);
    struct file *f;
    for (;;) {
        f = open_last(&w, flags, mode);
        if (f)
            break;
        if (w.last_type == LAST_NONE) { // a magic link: the file itself
            f = S_ISDIR(w.path.dentry->inode->mode) ? ERR_PTR(-EISDIR) : vfs_open_path(&w.path, flags);
            break;
        }
    }
    walk_end(&w);
    return f;
}

static struct file *open_temporary(int at, const char *name, unsigned flags, uint32_t mode, uint32_t resolve) {
    if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_CREAT))
        return ERR_PTR(-EINVAL);
    struct walk w;
    w.resolve = resolve;
    int err = walk_start(&w, at, name, (flags & O_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | LOOKUP_DIRECTORY);
    if (err < 0)
        return ERR_PTR(err);
    struct file *f;
    struct dentry *d = NULL;
    struct inode *inode = w.path.dentry->inode;
    if (!inode->ops->tmpfile)
        f = ERR_PTR(-EOPNOTSUPP);
    else if (path_read_only(&w.path))
        f = ERR_PTR(-EROFS);
    else if ((err = vfs_permission(inode, 3)) < 0)
        f = ERR_PTR(err);
    else if (!(d = dentry_alloc(w.path.dentry, "#", 1, 0)))
        f = ERR_PTR(-ENOMEM);
    else {
        mutex_lock(&inode->lock);
        err = inode->ops->tmpfile(inode, d, S_IFREG | (mode & 07777 & ~current_umask()));
        mutex_unlock(&inode->lock);
        f = ERR_PTR(err);
    }
    if (err == 0 && d) {
        d->name_len = (uint16_t)snprintf(d->name, sizeof(d->short_name), "#%lu", d->inode->ino);
        d->inode->linkable = !(flags & O_EXCL);
        d->inode->watched = 0;
        struct path p = {w.path.mount, d};
        f = open_inode(&p, d->inode, flags & ~O_TMPFILE);
    }
    if (d)
        dentry_unref(d);
    walk_end(&w);
    return f;
}

// A server's file may be replaced between the walk to it and its opening: -ESTALE, and the name leads to the new one.
#define STALE_TRIES 5

struct file *vfs_open_resolve(int at, const char *name, unsigned flags, uint32_t mode, uint32_t resolve) {
    unsigned tries = 0;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return open_temporary(at, name, flags, mode, resolve);
    if (flags & O_CREAT) {
        if (flags & O_DIRECTORY)
            return ERR_PTR(-EINVAL);
        struct file *f;
        do
            f = open_create(at, name, flags, mode, resolve);
        while (unlikely(f == ERR_PTR(-ESTALE)) && ++tries < STALE_TRIES);
        return f;
    }
    struct walk w; // not cleared, as in path_lookup
again:
    w.resolve = resolve;
    unsigned lookup = (flags & O_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & O_DIRECTORY ? LOOKUP_DIRECTORY : 0);
    int err = walk_start(&w, at, name, lookup);
    if (err < 0)
        return ERR_PTR(err);
    struct file *f = vfs_open_path(&w.path, flags);
    walk_end(&w);
    if (unlikely(f == ERR_PTR(-ESTALE)) && ++tries < STALE_TRIES)
        goto again;
    return f;
}

struct file *vfs_open(int at, const char *name, unsigned flags, uint32_t mode) {
    return vfs_open_resolve(at, name, flags, mode, 0);
}

static struct file *open_exec(int at, const char *name, unsigned lookup_flags) {
    struct path p;
    int err = path_lookup(at, name, lookup_flags, &p);
    if (err < 0)
        return ERR_PTR(err);
    struct inode *inode = p.dentry->inode;
    struct file *f;
    if (S_ISLNK(inode->mode))
        f = ERR_PTR(-ELOOP);
    else if (!S_ISREG(inode->mode) || (p.mount->flags & 8)) // MS_NOEXEC
        f = ERR_PTR(-EACCES);
    else if ((err = vfs_permission(inode, 1)) < 0)
        f = ERR_PTR(err);
    else if (READ_ONCE(inode->write_count) > 0)
        f = ERR_PTR(-ETXTBSY);
    else
        f = open_inode(&p, inode, O_RDONLY);
    path_unref(&p);
    return f;
}

struct file *vfs_open_exec(int at, const char *name, unsigned lookup_flags) {
    unsigned tries = 0;
    struct file *f;
    do
        f = open_exec(at, name, lookup_flags);
    while (unlikely(f == ERR_PTR(-ESTALE)) && ++tries < STALE_TRIES);
    return f;
}
