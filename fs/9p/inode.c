// Inodes of a 9P server: made from what it says of a name, found again by qid.path, asked about again whenever somebody looks.
// See fs/9p/internal.h for fids and locks.
#include "fs/9p/internal.h"

#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"

#define FRESH (100 * NSEC_PER_USEC) // at most so old is what a call takes from its own walk, without asking again

static struct slab_cache inode_cache = SLAB_CACHE("9p_inode", sizeof(struct p9_inode), 16);

// --- Fids ---

// Swaps a fid of the inode under its lock; the old one is returned.
static struct p9_fid *swap_fid(struct p9_inode *p, struct p9_fid **slot, struct p9_fid *fid) {
    spin_lock(&p->inode.spin);
    struct p9_fid *old = *slot;
    *slot = fid;
    spin_unlock(&p->inode.spin);
    return old;
}

static void set_fid(struct p9_inode *p, struct p9_fid *fid, struct dentry *name) {
    spin_lock(&p->inode.spin);
    struct p9_fid *old = p->fid;
    p->fid = fid;
    p->fid_name = name;
    spin_unlock(&p->inode.spin);
    p9_fid_put(old);
}

static struct p9_fid *get_fid(struct p9_inode *p, struct dentry **name) {
    spin_lock(&p->inode.spin);
    struct p9_fid *fid = p->fid ? p9_fid_ref(p->fid) : NULL;
    if (name)
        *name = p->fid_name;
    spin_unlock(&p->inode.spin);
    return fid;
}

// Any entry of the inode that is still in the tree, referenced. An entry that is being freed has no references any more, but waits
// for the inode's lock before it goes.
static struct dentry *some_name(struct inode *inode) {
    struct dentry *d, *found = NULL;
    spin_lock(&inode->spin);
    list_for_each (d, &inode->aliases, alias_link) {
        if (!(d->flags & DENTRY_HASHED) && d->parent != d)
            continue;
        uint32_t refs = READ_ONCE(d->refs);
        while (refs &&
               !__atomic_compare_exchange_n(&d->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
        if (refs) {
            found = d;
            break;
        }
    }
    spin_unlock(&inode->spin);
    return found;
}

// Walks from the root to an entry, by as many names at a time as there may be.
static struct p9_fid *walk_to(struct p9_mount *m, uint32_t uid, struct dentry *d) {
    struct p9_fid *at = p9_user_root(m, uid);
    if (IS_ERR(at))
        return at;
    if (m->options.file) { // one file, whose entry is the root
        struct p9_name name = {m->options.file, strlen(m->options.file)};
        struct p9_fid *fid = p9_walk(at, &name, 1);
        p9_fid_put(at);
        return fid;
    }
    char *path = name_buffer_get();
    long len = path ? dentry_path(d, path, NAME_BUFFER_SIZE) : -ENOMEM;
    const char *s = path;
    if (len >= 0 && !*s)
        s = "/";
    while (len >= 0 && !IS_ERR(at)) {
        struct p9_name names[P9_WALK_MAX];
        unsigned count = 0;
        while (*s && count < P9_WALK_MAX) {
            while (*s == '/')
                s++;
            const char *start = s;
            while (*s && *s != '/')
                s++;
            if (s > start)
                names[count++] = (struct p9_name){start, (size_t)(s - start)};
        }
        struct p9_fid *next = p9_walk(at, names, count);
        p9_fid_put(at);
        at = next;
        if (!*s)
            break;
    }
    name_buffer_put(path);
    if (len < 0) {
        p9_fid_put(at);
        return ERR_PTR(len);
    }
    return at;
}

static struct p9_fid *walk_to_inode(struct inode *inode, uint32_t uid, struct dentry **name) {
    struct dentry *d = p9_inode_of(inode)->gone ? NULL : some_name(inode);
    if (!d)
        return ERR_PTR(-ENOENT);
    struct p9_fid *fid = walk_to(p9_mount_of(inode->sb), uid, d);
    if (!IS_ERR(fid) && fid->qid.path != inode->ino && !p9_mount_of(inode->sb)->options.file) {
        p9_fid_put(fid);
        fid = ERR_PTR(-ESTALE);
    }
    if (name)
        *name = d; // to compare with
    dentry_unref(d);
    return fid;
}

struct p9_fid *p9_inode_fid(struct inode *inode) {
    struct p9_inode *p = p9_inode_of(inode);
    struct p9_fid *fid = get_fid(p, NULL);
    if (likely(fid))
        return fid;
    struct dentry *name;
    fid = walk_to_inode(inode, p9_mount_of(inode->sb)->options.uid, &name);
    if (!IS_ERR(fid))
        set_fid(p, p9_fid_ref(fid), name);
    return fid;
}

struct p9_fid *p9_inode_fid_as(struct inode *inode, uint32_t uid) {
    struct p9_inode *p = p9_inode_of(inode);
    if (uid == p9_mount_of(inode->sb)->options.uid)
        return p9_inode_fid(inode);
    struct p9_fid *fid = NULL, *f;
    spin_lock(&inode->spin);
    list_for_each (f, &p->others, link) {
        if (f->uid == uid) {
            fid = p9_fid_ref(f);
            break;
        }
    }
    spin_unlock(&inode->spin);
    if (fid)
        return fid;
    fid = walk_to_inode(inode, uid, NULL);
    if (!IS_ERR(fid)) {
        spin_lock(&inode->spin);
        list_push_back(&p->others, &p9_fid_ref(fid)->link);
        spin_unlock(&inode->spin);
    }
    return fid;
}

static void forget_others(struct p9_inode *p) {
    struct p9_fid *f;
    for (;;) {
        spin_lock(&p->inode.spin);
        f = list_empty(&p->others) ? NULL : list_first(&p->others, struct p9_fid, link);
        if (f)
            list_remove(&f->link);
        spin_unlock(&p->inode.spin);
        if (!f)
            return;
        p9_fid_put(f);
    }
}

void p9_inode_forget(struct inode *inode, struct dentry *name) {
    struct p9_inode *p = p9_inode_of(inode);
    struct p9_fid *old = NULL;
    spin_lock(&inode->spin);
    if (!name || p->fid_name == name) {
        old = p->fid;
        p->fid = NULL;
        p->fid_name = NULL;
    }
    spin_unlock(&inode->spin);
    p9_fid_put(old);
    if (!name)
        forget_others(p);
}

struct p9_fid *p9_inode_open(struct inode *inode, unsigned flags) {
    struct p9_fid *place = p9_inode_fid(inode), *fid;
    if (IS_ERR(place))
        return place;
    fid = p9_walk(place, NULL, 0);
    p9_fid_put(place);
    if (IS_ERR(fid))
        return fid;
    int err = p9_lopen(fid, flags);
    // The host may have put another file in its place.
    if (err == 0 && fid->qid.path != inode->ino && !p9_mount_of(inode->sb)->options.file)
        err = -ESTALE;
    if (err < 0) {
        p9_fid_put(fid);
        return ERR_PTR(err);
    }
    return fid;
}

struct p9_fid *p9_inode_open_fid(struct inode *inode, unsigned access) {
    struct p9_inode *p = p9_inode_of(inode);
    struct p9_fid *fid, *f;
    spin_lock(&inode->spin);
    fid = access & 2 ? p->map_write : p->map_read ? p->map_read : p->map_write;
    list_for_each (f, &p->open, link) {
        if (fid)
            break;
        if ((f->access & access) == access && !f->append)
            fid = f;
    }
    if (fid)
        p9_fid_ref(fid);
    spin_unlock(&inode->spin);
    if (fid)
        return fid;
    return p9_inode_open(inode, access & 2 ? O_RDWR : O_RDONLY);
}

// --- Attributes ---

// The size that the server has told, unless it was changed from here since that was asked for (`changes`). When the contents are not
// those that the page cache knows, perhaps by the host's doing, its pages go. This may take long, so the size is taken before it.
static void take_size(struct p9_inode *p, const struct p9_attr *a, uint32_t changes) {
    struct inode *inode = &p->inode;
    spin_lock(&inode->spin);
    bool ours = READ_ONCE(p->changes) != changes;
    uint64_t old = inode->size;
    bool other = !ours && inode->cache && (a->mtime != p->cached_mtime || a->size != p->cached_size);
    if (!ours)
        WRITE_ONCE(inode->size, a->size);
    if (other) {
        p->cached_mtime = a->mtime;
        p->cached_size = a->size;
    }
    spin_unlock(&inode->spin);
    if (likely(!other))
        return;
    if (a->size < old &&
        mutex_trylock(&inode->lock)) { // pages behind the end go, dirty or not, once nobody else is at it
        if (inode->size < old)
            page_cache_truncated(inode->cache, old);
        mutex_unlock(&inode->lock);
    }
    page_cache_invalidate(inode->cache, 0, ~0ul);
}

static int check_attr(const struct p9_attr *a) {
    switch (a->mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: break;
    default: return -EIO;
    }
    return (a->valid & P9_GETATTR_BASIC) == P9_GETATTR_BASIC && a->size <= INT64_MAX ? 0 : -EIO;
}

// `changes`: what p->changes was when the attributes were asked for.
static int take_attr(struct p9_inode *p, const struct p9_attr *a, uint32_t changes) {
    struct inode *inode = &p->inode;
    int err = check_attr(a);
    if (err < 0)
        return err;
    if ((inode->mode ^ a->mode) & S_IFMT)
        return -ESTALE;
    if (a->qid.path != inode->ino) {
        // The one file of a mount is what lies under its name, even when the host has put another one there.
        if (!p9_mount_of(inode->sb)->options.file)
            return -ESTALE;
        inode->ino = a->qid.path;
    }
    inode->mode = a->mode & (S_IFMT | 07777);
    inode->uid = a->uid;
    inode->gid = a->gid;
    inode->nlink = (uint32_t)MIN(a->nlink, (uint64_t)UINT32_MAX);
    inode->rdev = a->rdev;
    inode->blocks = a->blocks;
    inode->atime = a->atime;
    inode->mtime = a->mtime;
    // The server's kernel drops capabilities at a write; so they need only be looked for where they could be used.
    if (inode->ctime != a->ctime)
        inode->maybe_capable = S_ISREG(a->mode) && (a->mode & 0111);
    inode->ctime = a->ctime;
    take_size(p, a, changes);
    return 0;
}

int p9_inode_refresh(struct inode *inode, struct p9_fid *fid) {
    struct p9_inode *p = p9_inode_of(inode);
    struct p9_attr a;
    uint32_t changes = READ_ONCE(p->changes);
    int err = p9_getattr(fid, &a);
    return err < 0 ? err : take_attr(p, &a, changes);
}

// Its last name that we knew is gone: from now on only what has it open knows it.
static void set_gone(struct p9_inode *p) {
    if (p->gone)
        return;
    p->gone = true;
    p9_inode_forget(&p->inode, NULL);
    if (S_ISDIR(p->inode.mode) || p->inode.nlink <= 1)
        p->inode.nlink = 0;
    else
        p->inode.nlink--;
}

void p9_update(struct inode *inode) {
    struct p9_inode *p = p9_inode_of(inode);
    if (p->gone)
        return;
    if (p->fresh_for == thread_current()) {
        p->fresh_for = NULL;
        if (time_monotonic() - p->fresh_at < FRESH)
            return;
    }
    struct p9_fid *fid = p9_inode_fid(inode);
    int err = IS_ERR(fid) ? (int)PTR_ERR(fid) : p9_inode_refresh(inode, fid);
    if (!IS_ERR(fid))
        p9_fid_put(fid);
    if (err == -ENOENT || err == -ESTALE || err == -ENOTDIR) {
        // The name that we had is not it any more; perhaps another one is.
        p9_inode_forget(inode, NULL);
        fid = p9_inode_fid(inode);
        err = IS_ERR(fid) ? (int)PTR_ERR(fid) : p9_inode_refresh(inode, fid);
        if (!IS_ERR(fid))
            p9_fid_put(fid);
        if (err == -ENOENT || err == -ESTALE || err == -ENOTDIR)
            set_gone(p);
    }
}

void p9_size_changed(struct inode *inode, uint64_t size) {
    struct p9_inode *p = p9_inode_of(inode);
    spin_lock(&inode->spin);
    WRITE_ONCE(inode->size, size);
    atomic_add(&p->changes, 1);
    spin_unlock(&inode->spin);
    p->fresh_for = NULL;
}

int p9_set_attributes(struct inode *inode, const struct attributes *a) {
    struct p9_inode *p = p9_inode_of(inode);
    struct p9_setattr s = {.mode = (inode->mode & S_IFMT) |
                                   (a->mode & 07777), // with the kind: QEMU keeps it so where it maps modes
                           .uid = a->uid,
                           .gid = a->gid,
                           .atime = a->atime,
                           .mtime = a->mtime};
    if (p->truncated && a->valid == (ATTR_MTIME | ATTR_CTIME)) {
        p->truncated = false;
        return 0;
    }
    if (a->valid & ATTR_MODE)
        s.valid |= P9_SETATTR_MODE;
    if (a->valid & ATTR_UID)
        s.valid |= P9_SETATTR_UID;
    if (a->valid & ATTR_GID)
        s.valid |= P9_SETATTR_GID;
    // A time that is now is the server's now: its clock has set the other times, too.
    bool now = a->valid & ATTR_CTIME;
    if (a->valid & ATTR_ATIME)
        s.valid |= P9_SETATTR_ATIME | (now && a->atime == a->ctime ? 0 : P9_SETATTR_ATIME_SET);
    if (a->valid & ATTR_MTIME)
        s.valid |= P9_SETATTR_MTIME | (now && a->mtime == a->ctime ? 0 : P9_SETATTR_MTIME_SET);
    if (!s.valid || p->gone)
        return 0;
    p9_update(inode); // an open file whose name is another file's now must not change that one
    if (p->gone)
        return 0;
    struct p9_fid *fid = p9_inode_fid(inode);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    int err = p9_setattr(fid, &s);
    p9_fid_put(fid);
    p->fresh_for = NULL;
    return err;
}

// --- Inodes ---

static struct inode *new_inode(struct superblock *sb, const struct p9_attr *a) {
    struct p9_inode *p = slab_zalloc(&inode_cache);
    if (!p)
        return NULL;
    const struct inode_ops *ops = S_ISDIR(a->mode)   ? &p9_directory_ops
                                  : S_ISLNK(a->mode) ? &p9_symlink_ops
                                                     : &p9_file_inode_ops;
    inode_init(&p->inode, sb, ops, a->mode & (S_IFMT | 07777));
    p->inode.ino = a->qid.path;
    list_init(&p->others);
    list_init(&p->open);
    if (S_ISREG(a->mode))
        p->inode.file_ops = &p9_file_ops;
    else if (S_ISDIR(a->mode))
        p->inode.file_ops = &p9_dir_file_ops;
    take_attr(p, a, 0);
    return &p->inode;
}

static bool has_name(struct inode *inode) {
    spin_lock(&inode->spin);
    bool yes = !list_empty(&inode->aliases);
    spin_unlock(&inode->spin);
    return yes;
}

int p9_inode_get(struct superblock *sb, struct p9_fid *fid, struct dentry *name, struct inode **out) {
    struct p9_attr a;
    struct inode *inode = name ? inode_table_find(sb, fid->qid.path) : NULL;
    uint32_t changes = inode ? READ_ONCE(p9_inode_of(inode)->changes) : 0;
    int err = p9_getattr(fid, &a);
    if (err == 0)
        err = check_attr(&a);
    if (err < 0) {
        if (inode)
            inode_unref(inode);
        return err;
    }
    // A directory has one place in the tree; when it is known at another one, that one is out of date, and an inode of its own keeps
    // the two apart. So does another kind of file with the number of one that is gone.
    if (inode && (inode->ino != a.qid.path || (S_ISDIR(a.mode) && has_name(inode)) ||
                  take_attr(p9_inode_of(inode), &a, changes) < 0)) {
        inode_unref(inode);
        inode = new_inode(sb, &a);
    } else if (!inode) {
        inode = new_inode(sb, &a);
        struct inode *there = inode && name ? inode_table_add(inode) : inode;
        if (there != inode) {
            err = take_attr(p9_inode_of(there), &a, 0); // it is younger than the question
            if (err < 0 || (S_ISDIR(a.mode) && has_name(there))) {
                inode_unref(there);
            } else {
                inode_unref(inode);
                inode = there;
            }
        }
    }
    if (!inode)
        return -ENOMEM;
    struct p9_inode *p = p9_inode_of(inode);
    p->gone = false;
    set_fid(p, fid, name);
    p->fresh_at = time_monotonic();
    p->fresh_for = thread_current();
    *out = inode;
    return 0;
}

void p9_inode_release(struct inode *inode) {
    struct p9_inode *p = p9_inode_of(inode);
    if (inode->cache)
        page_cache_destroy(inode->cache);
    p9_inode_forget(inode, NULL);
    p9_fid_put(p->created);
    p9_fid_put(p->map_read);
    p9_fid_put(p->map_write);
    slab_free(&inode_cache, p);
}

int p9_lookup(struct inode *dir, struct dentry *d) {
    struct p9_fid *place = p9_inode_fid(dir);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    struct p9_name name = {d->name, d->name_len};
    struct p9_fid *fid = p9_walk(place, &name, 1);
    p9_fid_put(place);
    if (IS_ERR(fid) && PTR_ERR(fid) == -ENOENT) {
        struct p9_inode *p = p9_inode_of(dir);
        p->absent = d;
        p->absent_for = thread_current();
        p->absent_at = time_monotonic();
        return 0;
    }
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    struct inode *inode;
    int err = p9_inode_get(dir->sb, fid, d, &inode);
    if (err < 0) {
        p9_fid_put(fid);
        return err == -ENOENT ? 0 : err;
    }
    dentry_attach(d, inode);
    return 0;
}

// Errors that say nothing of the entry: it stays, and with it what is mounted below and who works there.
static bool unanswered(long err) { return err == -EINTR || err == -ENOMEM; }

// Not by the fid that we have, but by name: is it the same file?
static bool revalidate_by_name(struct dentry *d) {
    struct inode *inode = d->inode;
    char copy[NAME_MAX + 1];
    spin_lock(&tree_lock);
    struct p9_name name = {copy, MIN(d->name_len, NAME_MAX)};
    memcpy(copy, d->name, name.len);
    struct dentry *dir = dentry_ref(d->parent);
    spin_unlock(&tree_lock);
    struct p9_fid *place = p9_inode_fid(dir->inode), *fid = place;
    if (!IS_ERR(place)) {
        fid = p9_walk(place, &name, 1);
        p9_fid_put(place);
    }
    dentry_unref(dir);
    if (IS_ERR(fid))
        return unanswered(PTR_ERR(fid));
    int err = fid->qid.path != inode->ino ? -ESTALE : p9_inode_refresh(inode, fid);
    if (err < 0) {
        p9_fid_put(fid);
        return unanswered(err);
    }
    p9_inode_of(inode)->gone = false;
    set_fid(p9_inode_of(inode), fid, d);
    return true;
}

// open(2) that makes a file looks twice, the second time with the directory locked, and the server has the last word.
static bool still_absent(struct dentry *d) {
    struct inode *dir = d->parent->inode; // locked, so it stays the parent
    struct p9_inode *p = p9_inode_of(dir);
    if (!mutex_held(&dir->lock) || p->absent != d || p->absent_for != thread_current())
        return false;
    p->absent = NULL;
    return time_monotonic() - p->absent_at < FRESH;
}

bool p9_revalidate(struct dentry *d) {
    struct inode *inode = d->inode;
    if (d->parent == d)
        return true;
    if (!inode)
        return still_absent(d);
    struct p9_inode *p = p9_inode_of(inode);
    if (unlikely(p->created))
        p9_fid_put(swap_fid(p, &p->created, NULL));
    struct dentry *name;
    struct p9_fid *fid = get_fid(p, &name);
    bool valid;
    if (fid && name == d) {
        int err = p9_inode_refresh(inode, fid);
        valid = err == 0 || unanswered(err);
    } else {
        valid = revalidate_by_name(d);
    }
    p9_fid_put(fid);
    if (valid) {
        p->fresh_at = time_monotonic();
        p->fresh_for = thread_current();
    }
    return valid;
}
