// Path walks: from a string to a place in the tree, through mounts and symbolic links.
// A walk holds a reference on where it is, and takes one lock per component for a few instructions (dentry.c). The expanded
// text of symbolic links is put together in one buffer: what the link says, then what was left of the name.
#include "fs/internal.h"
#include "kernel/string.h"

void (*vfs_missing_hook)(const char *name);

void path_ref(const struct path *p) {
    if (p->dentry) {
        mount_ref(p->mount);
        dentry_ref(p->dentry);
    }
}

void path_unref(const struct path *p) {
    if (p->dentry) {
        dentry_unref(p->dentry);
        mount_unref(p->mount);
    }
}

void path_to_top(struct path *p) {
    while ((p->dentry->flags & DENTRY_MOUNTED) && mount_cross(p))
        ;
}

struct inode *path_inode(const struct path *p) {
    return p->dentry->inode;
}

bool path_equal(const struct path *a, const struct path *b) { return a->dentry == b->dentry && a->mount == b->mount; }

bool path_read_only(const struct path *p) {
    return (p->mount->flags & 1) || (p->mount->sb->flags & SB_RDONLY); // MS_RDONLY
}

uint32_t path_mount_flags(const struct path *p) { return p->dentry ? p->mount->flags | path_read_only(p) : 0; }

static void first_root(struct path *out) {
    out->mount = mount_root();
    out->dentry = out->mount->root;
    path_ref(out);
}

// One of the places of the current process; the first mount's root for a thread that has none.
static void get_place(struct path *out, bool cwd) {
    struct fs_context *fs = process_current()->fs;
    if (unlikely(!fs)) {
        first_root(out);
        return;
    }
    spin_lock(&fs->lock);
    *out = cwd ? fs->cwd : fs->root;
    path_ref(out);
    spin_unlock(&fs->lock);
}

void path_get_cwd(struct path *out) { get_place(out, true); }

void path_get_root(struct path *out) { get_place(out, false); }

static bool at_root(const struct path *p) {
    struct fs_context *fs = process_current()->fs;
    if (unlikely(!fs))
        return p->mount == mount_root() && p->dentry == p->mount->root;
    return READ_ONCE(fs->root.dentry) == p->dentry && READ_ONCE(fs->root.mount) == p->mount;
}

static int walk_up(struct walk *w) {
    for (;;) {
        if (WALK_JAILED(w) && path_equal(&w->path, &w->jail))
            return w->resolve & RESOLVE_BENEATH ? -EXDEV : 0;
        if (at_root(&w->path)) {
            while (unlikely(w->path.dentry->flags & DENTRY_MOUNTED) && mount_cross(&w->path))
                ;
            return 0;
        }
        if (w->path.dentry != w->path.mount->root)
            break;
        if (!mount_climb(&w->path))
            return 0;
        if (w->resolve & RESOLVE_NO_XDEV)
            return -EXDEV;
    }
    struct dentry *parent = dentry_parent(w->path.dentry);
    dentry_unref(w->path.dentry);
    w->path.dentry = parent;
    while (unlikely(w->path.dentry->flags & DENTRY_MOUNTED) && mount_cross(&w->path))
        ;
    return 0;
}

uint8_t protected_symlinks;

// With protected_symlinks: somebody else's link in a directory like /tmp may be a trap.
static bool may_follow(struct inode *dir, struct inode *link) {
    return !protected_symlinks || (dir->mode & (S_ISVTX | 002)) != (S_ISVTX | 002) ||
           link->uid == current_cred()->fsuid || link->uid == dir->uid;
}

// Goes to where the symbolic link points; *rest is what is still to be walked from there. `slash`: the link's name ended in one.
static int follow_link(struct walk *w, struct dentry *link, bool slash, const char **rest) {
    struct inode *inode = link->inode;
    if (++w->links > SYMLINKS_MAX || (w->resolve & RESOLVE_NO_SYMLINKS) || (w->path.mount->flags & MS_NOSYMFOLLOW))
        return -ELOOP;
    if ((w->resolve & RESOLVE_CACHED) && !(inode->sb->flags & SB_COMPLETE)) // its text may be elsewhere
        return -EAGAIN;
    if (inode->ops->follow) {
        struct path target;
        if (w->resolve & (RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT))
            return w->resolve & RESOLVE_NO_MAGICLINKS ? -ELOOP : -EXDEV;
        int err = inode->ops->follow(inode, &target);
        if (err < 0)
            return err;
        if ((w->resolve & RESOLVE_NO_XDEV) && target.mount != w->path.mount) {
            path_unref(&target);
            return -EXDEV;
        }
        path_unref(&w->path);
        w->path = target;
        return 0;
    }
    if (!may_follow(w->path.dentry->inode, inode))
        return -EACCES;
    link_accessed(inode, &w->path);
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    long n = inode->ops->readlink ? inode->ops->readlink(inode, buf, PATH_MAX) : -EINVAL;
    size_t left = strlen(*rest);
    if (n == 0)
        n = -ENOENT;
    if (n > 0 && n + left + 2 > PATH_MAX)
        n = -ENAMETOOLONG;
    if (n < 0) {
        name_buffer_put(buf);
        return n;
    }
    if (left || slash)
        buf[n++] = '/';
    memcpy(buf + n, *rest, left + 1);
    name_buffer_put(w->buffer);
    w->buffer = buf;
    *rest = buf;
    if (*buf == '/') {
        if (w->resolve & RESOLVE_BENEATH)
            return -EXDEV;
        struct path from = w->path;
        if (w->resolve & RESOLVE_IN_ROOT) {
            w->path = w->jail;
            path_ref(&w->path);
        } else {
            path_get_root(&w->path);
        }
        bool crossed = w->path.mount != from.mount;
        path_unref(&from);
        if (crossed && (w->resolve & RESOLVE_NO_XDEV))
            return -EXDEV;
    }
    return 0;
}

// dentry_lookup without waiting for anybody. -EAGAIN: it would have to.
static int lookup_cached(struct dentry *dir, const char *name, size_t len, uint32_t hash, bool locked,
                         struct dentry **out) {
    struct dentry *d = dentry_find(dir, name, len, hash);
    if (!d)
        return -EAGAIN;
    *out = d;
    int err = d->flags & DENTRY_REVALIDATE ? -EAGAIN : load_acquire(&d->inode) ? 0 : -ENOENT;
    if (err)
        dentry_unref(d);
    return err;
}

typedef int lookup_fn(struct dentry *dir, const char *name, size_t len, uint32_t hash, bool locked,
                      struct dentry **out);

// Walks `name` from w->path. On errors the caller ends the walk.
static inline __attribute__((always_inline)) int walk_by(struct walk *w, const char *name, unsigned flags,
                                                         lookup_fn *lookup) {
    w->last_type = LAST_NONE;
    w->trailing_slash = false;
    for (;;) {
        while (*name == '/')
            name++;
        struct dentry *dir = w->path.dentry;
        if (!*name)
            return (flags & LOOKUP_DIRECTORY) && !S_ISDIR(dir->inode->mode) ? -ENOTDIR : 0;
        const char *s = name;
        uint32_t hash = NAME_HASH_START;
        for (unsigned char c; (c = *s) && c != '/'; s++)
            hash = name_hash_step(hash, c);
        size_t len = s - name;
        const char *rest = s;
        while (*rest == '/')
            rest++;
        bool last = !*rest, slash = last && rest != s;

        if (unlikely(!S_ISDIR(dir->inode->mode)))
            return -ENOTDIR;
        int err = search_permission(dir->inode);
        if (unlikely(err < 0))
            return err;
        if (unlikely(len > NAME_MAX))
            return -ENAMETOOLONG;
        bool dot = name[0] == '.' && len == 1, dotdot = name[0] == '.' && len == 2 && name[1] == '.';
        if (last && (flags & LOOKUP_PARENT)) {
            w->last = name;
            w->last_len = len;
            w->last_hash = hash;
            w->last_type = dot ? LAST_DOT : dotdot ? LAST_DOTDOT : LAST_NORMAL;
            w->trailing_slash = slash;
            return 0;
        }
        name = rest;
        if (unlikely(dot))
            continue;
        if (unlikely(dotdot)) {
            err = walk_up(w);
            if (err < 0)
                return err;
            continue;
        }
        struct dentry *child;
        err = lookup(dir, s - len, len, hash, false, &child);
        if (unlikely(err < 0))
            return err;
        if (unlikely(S_ISLNK(child->inode->mode)) && (!last || slash || (flags & LOOKUP_FOLLOW))) {
            err = follow_link(w, child, slash, &name);
            dentry_unref(child);
            if (err < 0)
                return err;
            continue;
        }
        w->path.dentry = child;
        dentry_unref(dir);
        if (unlikely(child->flags & DENTRY_MOUNTED)) {
            struct mount *before = w->path.mount;
            while ((w->path.dentry->flags & DENTRY_MOUNTED) && mount_cross(&w->path))
                ;
            if ((w->resolve & RESOLVE_NO_XDEV) && w->path.mount != before)
                return -EXDEV;
        }
        if (last)
            return (slash || (flags & LOOKUP_DIRECTORY)) && !S_ISDIR(w->path.dentry->inode->mode) ? -ENOTDIR : 0;
    }
}

static int walk_names(struct walk *w, const char *name, unsigned flags) {
    return walk_by(w, name, flags, dentry_lookup);
}

static __attribute__((noinline, cold)) int walk_cached(struct walk *w, const char *name, unsigned flags) {
    int err = walk_by(w, name, flags, lookup_cached);
    return err == -EXDEV ? -EAGAIN : err; // as Linux, which asks again in earnest
}

static __attribute__((noinline, cold)) int walk_restricted(struct walk *w, const char *name, unsigned flags) {
    if (WALK_JAILED(w)) {
        w->jail = w->path;
        path_ref(&w->jail);
    }
    return w->resolve & RESOLVE_CACHED ? walk_cached(w, name, flags) : walk_names(w, name, flags);
}

void walk_end(struct walk *w) {
    path_unref(&w->path);
    w->path.dentry = NULL;
    if (unlikely(w->buffer != NULL))
        name_buffer_put(w->buffer);
    w->buffer = NULL;
    if (WALK_JAILED(w)) {
        path_unref(&w->jail);
        w->jail.dentry = NULL;
    }
}

static int walk_from(struct walk *w, int at, const char *name, unsigned flags) {
    if (*name == '/' && !(w->resolve & RESOLVE_IN_ROOT)) {
        if (w->resolve & RESOLVE_BENEATH)
            return -EXDEV;
        path_get_root(&w->path);
        return 0;
    }
    if (!*name && !(flags & LOOKUP_EMPTY))
        return -ENOENT;
    if (at == AT_FDCWD) {
        path_get_cwd(&w->path);
        return 0;
    }
    struct file *f = fd_get_path(at);
    if (!f)
        return -EBADF;
    if (!f->path.dentry) {
        file_unref(f);
        return *name ? -ENOTDIR : -EINVAL;
    }
    w->path = f->path;
    path_ref(&w->path);
    file_unref(f);
    return 0;
}

int walk_start(struct walk *w, int at, const char *name, unsigned flags) {
    w->links = 0;
    w->buffer = NULL;
    int err = walk_from(w, at, name, flags);
    if (unlikely(err < 0))
        return err;
    err = unlikely(w->resolve) ? walk_restricted(w, name, flags) : walk_names(w, name, flags);
    if (unlikely(err < 0))
        walk_end(w);
    if (unlikely(err == -ENOENT && vfs_missing_hook))
        vfs_missing_hook(name);
    return err;
}

int walk_follow(struct walk *w, struct dentry *link) {
    const char *rest = "";
    int err = follow_link(w, link, w->trailing_slash, &rest);
    if (err == 0)
        err = walk_names(w, rest, LOOKUP_PARENT);
    return err;
}

int path_lookup(int at, const char *name, unsigned flags, struct path *out) {
    struct walk w; // not cleared: this is a hot path, and walk_start sets what is read
    w.resolve = 0;
    int err = walk_start(&w, at, name, flags);
    if (unlikely(err < 0))
        return err;
    *out = w.path;
    if (unlikely(w.buffer != NULL))
        name_buffer_put(w.buffer);
    return 0;
}
