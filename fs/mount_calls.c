// mount(2) with its forms (new, bind, move; what changes a mount: mount_flags.c), umount2(2), pivot_root(2).
// There is one mount namespace. Shared mounts are remembered and shown, but nothing is propagated between the members of a group.
// Locks: mount.c. A place gets a mount under its inode's lock, so that it is not removed meanwhile.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/mount.h"
#include "kernel/log.h"
#include "kernel/string.h"

#define MNT_FORCE 1
#define MNT_DETACH 2
#define MNT_EXPIRE 4
#define UMOUNT_NOFOLLOW 8
#define NOUSER (1UL << 31) // MS_NOUSER, which is no constant in C

// --- Putting a tree of new mounts somewhere ---

struct copy {
    struct mount *from, *made; // referenced; `made` is handed over to the tree
    struct dentry *point;      // where it stands in its parent, referenced; NULL for the first
    unsigned parent;           // its parent's place in the array
};

static void drop_copies(struct copy *copies, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (copies[i].from)
            mount_unref(copies[i].from);
        if (copies[i].point)
            dentry_unref(copies[i].point);
    }
    kfree(copies);
}

// Under a shared mount everything is shared. mount_lock held.
static void inherit_sharing(struct mount *m) {
    if (m->parent->group && !m->group)
        m->group = mount_next_group();
}

// 0, -ENOENT: the place is gone, -EINVAL: not in the tree.
static int graft(struct copy *copies, unsigned n, const struct path *target) {
    struct inode *inode = target->dentry->inode;
    int err = 0;
    mutex_lock(&inode->lock);
    if (path_deleted(target))
        err = -ENOENT;
    spin_lock(&mount_lock);
    if (err == 0 && !mount_in_tree(target->mount))
        err = -EINVAL;
    for (unsigned i = 0; i < n && err == 0; i++) {
        struct path inner = {copies[copies[i].parent].made, copies[i].point};
        mount_attach_locked(copies[i].made, i ? &inner : target);
        inherit_sharing(copies[i].made);
    }
    spin_unlock(&mount_lock);
    mutex_unlock(&inode->lock);
    return err;
}

// --- Bind ---

// The mounts on top of what is to be bound, parents first. mount_lock held. Returns their number, at most `room`.
static unsigned collect(const struct path *from, struct copy *copies, unsigned room) {
    unsigned n = 1;
    struct mount *m;
    for (unsigned i = 0; i < n; i++) {
        list_for_each (m, &mounts, link) {
            if (m->parent != copies[i].from || m->parent == m || m->unbindable)
                continue;
            if (i == 0 && !dentry_is_ancestor(from->dentry, m->mountpoint))
                continue;
            if (n == room)
                return n;
            mount_ref(m);
            copies[n++] = (struct copy){m, NULL, dentry_ref(m->mountpoint), i};
        }
    }
    return n;
}

static unsigned count_mounts(void) {
    unsigned n = 0;
    struct mount *m;
    spin_lock(&mount_lock);
    list_for_each (m, &mounts, link)
        n++;
    spin_unlock(&mount_lock);
    return n;
}

static int clone(struct copy *c, struct dentry *root) {
    c->made = mount_alloc(c->from->sb, root, c->from->source, c->from->flags);
    if (!c->made)
        return -ENOMEM;
    c->made->group = c->from->group;
    c->made->master = c->from->master;
    return 0;
}

// The flags are those of the original: others come with a second call (MS_REMOUNT), as on Linux.
static int bind_path(const struct path *from, const struct path *target, bool recursive) {
    if (from->mount->unbindable || !mount_in_tree(from->mount))
        return -EINVAL;
    if (S_ISDIR(from->dentry->inode->mode) != S_ISDIR(target->dentry->inode->mode))
        return -ENOTDIR;
    unsigned room = recursive ? count_mounts() + 1 : 1, n = 1;
    struct copy *copies = kzalloc(room * sizeof(*copies));
    if (!copies)
        return -ENOMEM;
    mount_ref(from->mount);
    copies[0].from = from->mount;
    if (recursive) {
        spin_lock(&mount_lock);
        n = collect(from, copies, room);
        spin_unlock(&mount_lock);
    }
    int err = 0;
    for (unsigned i = 0; i < n && err == 0; i++)
        err = clone(&copies[i], i ? copies[i].from->root : from->dentry);
    if (err == 0)
        err = graft(copies, n, target);
    for (unsigned i = 0; i < n && err < 0; i++)
        if (copies[i].made)
            mount_unref(copies[i].made);
    drop_copies(copies, n);
    return err;
}

static int bind(const char *source, const struct path *target, bool recursive) {
    struct path from;
    if (!source || !*source)
        return -EINVAL;
    int err = path_lookup(AT_FDCWD, source, LOOKUP_FOLLOW, &from);
    if (err < 0)
        return err;
    err = bind_path(&from, target, recursive);
    path_unref(&from);
    return err;
}

// --- Move ---

static int move_locked(const struct path *from, const struct path *target, struct path *was) {
    struct mount *m = from->mount;
    if (!mount_in_tree(target->mount) || !mount_in_tree(m) || !path_is_mount(from) || m->parent == m)
        return -EINVAL;
    if (S_ISDIR(from->dentry->inode->mode) != S_ISDIR(target->dentry->inode->mode) || m->parent->group)
        return -EINVAL;
    if (mount_is_below(target->mount, m))
        return -ELOOP;
    *was = mount_detach_locked(m);
    mount_attach_locked(m, target);
    inherit_sharing(m);
    return 0;
}

static int move(const char *source, const struct path *target) {
    struct path from, was = {NULL, NULL};
    if (!source || !*source)
        return -EINVAL;
    int err = path_lookup(AT_FDCWD, source, LOOKUP_FOLLOW, &from);
    if (err < 0)
        return err;
    mutex_lock(&target->dentry->inode->lock);
    err = path_deleted(target) ? -ENOENT : 0;
    spin_lock(&mount_lock);
    if (err == 0)
        err = move_locked(&from, target, &was);
    spin_unlock(&mount_lock);
    mutex_unlock(&target->dentry->inode->lock);
    path_unref(&was);
    path_unref(&from);
    return err;
}

// --- New ones ---

static int mount_new(const char *source, const struct path *target, const char *type, unsigned long flags,
                     const char *options) {
    const struct fs_type *t = type ? fs_type_find(type) : NULL;
    if (!type)
        return -EINVAL;
    if (!t || !t->mount)
        return -ENODEV;
    struct superblock *sb = t->mount(t, source, flags, options);
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    int err = -ENOTDIR;
    struct copy copy = {.made = NULL};
    if (S_ISDIR(target->dentry->inode->mode) == S_ISDIR(sb->root->inode->mode)) { // a 9P volume may be one file
        struct mount *other = mount_of(sb); // one that is there already keeps its own ways
        if (!other && (flags & MS_RDONLY))
            sb->flags |= SB_RDONLY;
        if (!other && (flags & MS_LAZYTIME))
            sb->flags |= SB_LAZYTIME;
        if (other)
            mount_unref(other);
        copy.made = mount_alloc(sb, sb->root, source, mount_flags_of(flags));
        err = copy.made ? graft(&copy, 1, target) : -ENOMEM;
        if (err < 0 && copy.made)
            mount_unref(copy.made);
    }
    superblock_unref(sb);
    return err;
}

int vfs_mount(const char *source, const struct path *target, const char *type, unsigned long flags,
              const char *options) {
    if (flags & NOUSER)
        return -EINVAL;
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (!options)
        options = "";
    if (flags & MS_REMOUNT)
        return mount_remount(target, flags, options);
    if (flags & MS_BIND)
        return bind(source, target, flags & MS_REC);
    if (flags & MOUNT_PROPAGATION)
        return mount_change_propagation(target, flags);
    if (flags & MS_MOVE)
        return move(source, target);
    return mount_new(source, target, type, flags, options);
}

// --- umount ---

// Does anybody use what leaves with this mount? The caller's path holds one reference and the tree the other; anything mounted inside
// holds one more. With its last mount a file system goes, and a mapping of one of its files holds it. mount_lock held.
static bool busy(const struct mount *m) {
    uint32_t same = 0;
    struct mount *other;
    list_for_each (other, &mounts, link)
        same += other->sb == m->sb;
    // One below an overlay stays for that: mappings of its files (programs that run from the overlay) are no reason.
    bool last = same == 1 && !(m->sb->flags & SB_BELOW);
    return READ_ONCE(m->refs) > 2 || (last && READ_ONCE(m->sb->refs) > 1);
}

static bool is_own_root(const struct mount *m) {
    struct path root;
    path_get_root(&root);
    bool yes = root.mount == m;
    path_unref(&root);
    return yes;
}

int vfs_umount(const struct path *target, int flags) {
    struct mount *m = target->mount;
    if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
        return -EINVAL;
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (!path_is_mount(target) || !mount_in_tree(m))
        return -EINVAL;
    bool own = is_own_root(m);
    if ((flags & MNT_EXPIRE) && (own || (flags & (MNT_FORCE | MNT_DETACH))))
        return -EINVAL;
    if (own && !(flags & MNT_DETACH)) // the root cannot go, but it can rest
        return m->sb->flags & SB_RDONLY ? 0 : superblock_remount(m->sb, MS_RDONLY, "");
    if (m->parent == m)
        return -EINVAL;
    if (flags & MNT_DETACH) {
        mount_detach_tree(m);
        return 0;
    }
    int err = 0;
    struct path was = {NULL, NULL};
    spin_lock(&mount_lock);
    if (!mount_in_tree(m)) {
        err = -EINVAL;
    } else if (busy(m)) {
        err = -EBUSY;
    } else if ((flags & MNT_EXPIRE) && m->expiring != 1) {
        m->expiring = 2; // the caller's own way here is one
        err = -EAGAIN;
    } else {
        was = mount_detach_locked(m);
        list_remove(&m->link);
    }
    spin_unlock(&mount_lock);
    if (err == 0) {
        path_unref(&was);
        mount_unref(m);
    }
    return err;
}

// --- pivot_root ---

// Is the place inside what stands on `top`? mount_lock held.
static bool reachable(const struct path *p, const struct path *top) {
    struct mount *m = p->mount;
    struct dentry *d = p->dentry;
    for (; m != top->mount && m->parent && m->parent != m; m = m->parent)
        d = m->mountpoint;
    return m == top->mount && dentry_is_ancestor(top->dentry, d);
}

static int pivot_locked(const struct path *root, const struct path *new, const struct path *old, struct path was[2]) {
    struct mount *root_mnt = root->mount, *new_mnt = new->mount;
    if (!mount_in_tree(root_mnt) || !mount_in_tree(new_mnt) || !mount_in_tree(old->mount))
        return -EINVAL;
    if (old->mount->group || new_mnt->parent->group || root_mnt->parent->group)
        return -EINVAL;
    if (new_mnt == root_mnt || old->mount == root_mnt)
        return -EBUSY;
    if (!path_is_mount(root) || !path_is_mount(new) || new_mnt->parent == new_mnt)
        return -EINVAL;
    if (!reachable(old, new) || !reachable(new, root))
        return -EINVAL;
    was[0] = mount_detach_locked(new_mnt);
    if (root_mnt->parent == root_mnt) {
        mount_set_root(new_mnt);
    } else {
        was[1] = mount_detach_locked(root_mnt);
        mount_attach_locked(new_mnt, &was[1]);
    }
    mount_attach_locked(root_mnt, old);
    return 0;
}

int vfs_pivot_root(const struct path *new, const struct path *old) {
    struct path root, was[2] = {{NULL, NULL}, {NULL, NULL}};
    if (path_deleted(new) || path_deleted(old))
        return -ENOENT;
    path_get_root(&root);
    spin_lock(&mount_lock);
    int err = pivot_locked(&root, new, old, was);
    spin_unlock(&mount_lock);
    if (err == 0)
        fs_context_move_all(&root, new);
    path_unref(&was[0]);
    path_unref(&was[1]);
    path_unref(&root);
    return err;
}
