// From a place in the tree back to its name, for getcwd(2), /proc links and reports.
#include "fs/internal.h"
#include "kernel/string.h"

bool path_deleted(const struct path *p) {
    struct dentry *d = p->dentry;
    return d && !(d->flags & (DENTRY_HASHED | DENTRY_ANON)) && d->parent != d && !(d->sb->flags & SB_UNCACHED);
}

long dentry_path(struct dentry *d, char *buf, size_t size) {
    size_t at = size - 1;
    buf[at] = 0;
    spin_lock(&tree_lock);
    while (d->parent != d && at > d->name_len) {
        at -= d->name_len;
        memcpy(buf + at, d->name, d->name_len);
        buf[--at] = '/';
        d = d->parent;
    }
    bool whole = d->parent == d;
    spin_unlock(&tree_lock);
    if (!whole || at == 0)
        return -ENAMETOOLONG;
    if (!buf[at])
        buf[--at] = '/';
    memmove(buf, buf + at, size - at);
    return size - 1 - at;
}

long path_name(const struct path *p, char *buf, size_t size) {
    if (p->dentry->flags & DENTRY_ANON) {
        size_t len = str_copy(buf, p->dentry->name, size);
        return len < size ? (long)len : -ENAMETOOLONG;
    }
    struct path root;
    path_get_root(&root);
    struct mount *m = p->mount;
    struct dentry *d = p->dentry;
    size_t at = size - 1;
    long err = 0;
    bool reached = false;
    buf[at] = 0;
    spin_lock(&tree_lock);
    for (;;) {
        if (d == root.dentry && m == root.mount) {
            reached = true;
            break;
        }
        if (d == m->root) {
            // A mount leaves the tree under tree_lock, so what it stands on lives as long as this walk.
            struct mount *up = m->parent;
            if (!up || up == m) {
                reached = !m->id; // of a file system's own mount, which is in no tree: the name in there
                break;
            }
            d = m->mountpoint;
            m = up;
            continue;
        }
        if (d->parent == d)
            break;
        if (at < (size_t)d->name_len + 1) {
            err = -ENAMETOOLONG;
            break;
        }
        at -= d->name_len;
        memcpy(buf + at, d->name, d->name_len);
        buf[--at] = '/';
        d = d->parent;
    }
    spin_unlock(&tree_lock);
    // Above the process's root, but on the first mount's: the name is right, only not reachable.
    path_unref(&root);
    if (err < 0)
        return err;
    if (!buf[at]) {
        if (at == 0)
            return -ENAMETOOLONG;
        buf[--at] = '/';
    }
    const char *prefix = reached ? "" : "(unreachable)";
    size_t len = size - 1 - at, prefix_len = strlen(prefix);
    if (prefix_len + len + 1 > size)
        return -ENAMETOOLONG;
    memmove(buf + prefix_len, buf + at, len + 1);
    memcpy(buf, prefix, prefix_len);
    return prefix_len + len;
}

long path_name_marked(const struct path *p, char *buf, size_t size) {
    long n = path_name(p, buf, size);
    if (n > 0 && path_deleted(p) && (size_t)n + 11 <= size) {
        memcpy(buf + n, " (deleted)", 11);
        n += 10;
    }
    return n;
}

void inode_describe(struct inode *inode, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    if (dev)
        *dev = inode->sb->dev;
    if (ino)
        *ino = inode->ino;
    if (size == 0)
        return;
    name[0] = 0;
    struct dentry *d = NULL;
    spin_lock(&inode->spin);
    if (!list_empty(&inode->aliases)) {
        d = list_first(&inode->aliases, struct dentry, alias_link);
        // An entry that is being freed has no references any more, but waits for this lock before it goes.
        uint32_t refs = READ_ONCE(d->refs);
        while (refs &&
               !__atomic_compare_exchange_n(&d->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ;
        if (!refs)
            d = NULL;
    }
    spin_unlock(&inode->spin);
    if (!d)
        return;
    struct mount *m = mount_of(inode->sb);
    struct path p = {m ? m : mount_anonymous(), d};
    if (path_name_marked(&p, name, size) < 0)
        name[0] = 0;
    path_unref(&p);
}
