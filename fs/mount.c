// Mounts: file systems put together to one tree, and the table of file system types.
// mount_lock (spinlock) protects the list, the tree of mounts and DENTRY_MOUNTED; a mount leaves the tree under tree_lock, too
// (mount_lock > tree_lock). A mount in the tree holds one reference of itself; a path that leads into it holds another.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include <linux/mount.h>

#define MNT_FORCE 1
#define MNT_DETACH 2
#define MNT_EXPIRE 4
#define UMOUNT_NOFOLLOW 8

static struct spinlock mount_lock = SPINLOCK_INIT;
static struct list mounts = LIST_INIT(mounts);
static struct list superblocks = LIST_INIT(superblocks); // with a medium, under mount_lock
static struct mount *root_mount;
static uint32_t next_dev = 16;
static int next_mount_id = 20;

static const struct fs_type *const types[] = {&tmpfs_type, &proc_type, &devfs_type, &devpts_type, &mqueue_type};

const struct fs_type *fs_type_at(unsigned index) { return index < ARRAY_SIZE(types) ? types[index] : NULL; }

const struct fs_type *fs_type_find(const char *name) {
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

struct superblock *superblock_alloc(const struct superblock_ops *ops, const struct fs_type *type, unsigned flags) {
    struct superblock *sb = kzalloc(sizeof(*sb));
    if (sb) {
        sb->ops = ops;
        sb->type = type;
        sb->refs = 1;
        sb->flags = flags;
        sb->dev = atomic_add(&next_dev, 1);
        sb->next_ino = 1;
        list_init(&sb->link);
    }
    if (sb && ops->sync) {
        spin_lock(&mount_lock);
        list_push_back(&superblocks, &sb->link);
        spin_unlock(&mount_lock);
    }
    return sb;
}

bool superblock_any(void) { return !list_empty(&superblocks); }

struct superblock *superblock_next(struct superblock *sb) {
    struct superblock *found = NULL;
    spin_lock(&mount_lock);
    for (struct list *at = sb ? sb->link.next : superblocks.next; at != &superblocks && !found; at = at->next) {
        struct superblock *s = list_entry(at, struct superblock, link);
        uint32_t refs = READ_ONCE(s->refs); // none: it is on its way out, and waits for our lock
        while (refs && !__atomic_compare_exchange_n(&s->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
        if (refs)
            found = s;
    }
    spin_unlock(&mount_lock);
    if (sb)
        superblock_unref(sb);
    return found;
}

void superblock_unref(struct superblock *sb) {
    // The last one writes what is not written yet, while the file system is whole.
    if (unlikely(sb->ops->sync && READ_ONCE(sb->refs) == 1) && sb->root)
        superblock_sync(sb);
    if (atomic_sub(&sb->refs, 1) != 1)
        return;
    spin_lock(&mount_lock);
    list_remove(&sb->link);
    spin_unlock(&mount_lock);
    if (sb->root) {
        inotify_unmounted(sb);
        dentry_drop_children(sb->root, false);
        dentry_unref(sb->root);
    }
    if (sb->ops->release)
        sb->ops->release(sb);
    kfree(sb);
}

void mount_ref(struct mount *m) { atomic_add(&m->refs, 1); }

void mount_unref(struct mount *m) {
    if (atomic_sub(&m->refs, 1) != 1)
        return;
    dentry_unref(m->root);
    superblock_unref(m->sb);
    kfree((void *)m->source);
    kfree(m);
}

static struct mount *mount_alloc(struct superblock *sb, struct dentry *root, const char *source, uint32_t flags) {
    struct mount *m = kzalloc(sizeof(*m));
    if (!m)
        return NULL;
    m->source = str_dup(source ? source : "none");
    if (!m->source) {
        kfree(m);
        return NULL;
    }
    m->refs = 1;
    m->id = atomic_add(&next_mount_id, 1);
    m->flags = flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME);
    m->sb = sb;
    atomic_add(&sb->refs, 1);
    m->root = dentry_ref(root);
    return m;
}

int mount_create_root(struct superblock *sb) {
    struct mount *m = mount_alloc(sb, sb->root, "tmpfs", 0);
    if (!m)
        return -ENOMEM;
    m->parent = m;
    root_mount = m;
    list_push_back(&mounts, &m->link);
    return 0;
}

struct mount *mount_root(void) {
    return root_mount;
}

// Puts a mount onto the topmost file system at the target. Takes over the reference.
static void attach(struct mount *m, const struct path *target) {
    spin_lock(&mount_lock);
    m->parent = target->mount;
    m->mountpoint = target->dentry;
    path_ref(target);
    atomic_or(&target->dentry->flags, DENTRY_MOUNTED);
    list_push_back(&mounts, &m->link);
    spin_unlock(&mount_lock);
}

int mount_attach(struct superblock *sb, const char *source, const struct path *target, uint32_t flags) {
    struct mount *m = mount_alloc(sb, sb->root, source, flags);
    if (!m)
        return -ENOMEM;
    attach(m, target);
    return 0;
}

bool mount_cross(struct path *p) {
    struct mount *found = NULL, *m;
    spin_lock(&mount_lock);
    list_for_each (m, &mounts, link) {
        if (m->parent == p->mount && m->mountpoint == p->dentry && m != p->mount) {
            found = m;
            mount_ref(m);
            break;
        }
    }
    spin_unlock(&mount_lock);
    if (!found)
        return false;
    dentry_ref(found->root);
    path_unref(p);
    p->mount = found;
    p->dentry = found->root;
    return true;
}

bool mount_climb(struct path *p) {
    struct path up = {NULL, NULL};
    spin_lock(&mount_lock);
    if (p->mount->parent && p->mount->parent != p->mount) {
        up = (struct path){p->mount->parent, p->mount->mountpoint};
        path_ref(&up);
    }
    spin_unlock(&mount_lock);
    if (!up.mount)
        return false;
    path_unref(p);
    *p = up;
    return true;
}

struct mount *mount_next(struct mount *m) {
    struct mount *next = NULL;
    spin_lock(&mount_lock);
    struct list *at = m ? m->link.next : mounts.next;
    if (at != &mounts && at != (m ? &m->link : NULL)) {
        next = list_entry(at, struct mount, link);
        mount_ref(next);
    }
    spin_unlock(&mount_lock);
    if (m)
        mount_unref(m);
    return next;
}

int mount_parent_id(struct mount *m) {
    spin_lock(&mount_lock);
    int id = m->parent && m->parent != m ? m->parent->id : 1;
    spin_unlock(&mount_lock);
    return id;
}

struct mount *mount_of(struct superblock *sb) {
    struct mount *found = NULL, *m;
    spin_lock(&mount_lock);
    list_for_each (m, &mounts, link) {
        if (m->sb == sb) {
            found = m;
            mount_ref(m);
            break;
        }
    }
    spin_unlock(&mount_lock);
    return found;
}

// The flags are those of the original: others come with a second call (MS_REMOUNT), as on Linux.
static int bind(const char *source, const struct path *target) {
    struct path from;
    int err = path_lookup(AT_FDCWD, source, LOOKUP_FOLLOW, &from);
    if (err < 0)
        return err;
    struct mount *m = NULL;
    if (S_ISDIR(from.dentry->inode->mode) != S_ISDIR(target->dentry->inode->mode))
        err = -ENOTDIR;
    else if (!(m = mount_alloc(from.mount->sb, from.dentry, from.mount->source, from.mount->flags)))
        err = -ENOMEM;
    else
        attach(m, target);
    path_unref(&from);
    return err;
}

int vfs_mount(const char *source, const struct path *target, const char *type, unsigned long flags,
              const char *options) {
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (flags & (MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE))
        return 0; // there is one mount namespace: propagation has nothing to propagate to
    if (flags & MS_REMOUNT) {
        if (target->dentry != target->mount->root)
            return -EINVAL;
        target->mount->flags = flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_RELATIME);
        return 0;
    }
    if (flags & MS_BIND)
        return source && *source ? bind(source, target) : -EINVAL;
    if (flags & MS_MOVE)
        return -EINVAL;
    if (!type)
        return -EINVAL;
    const struct fs_type *t = fs_type_find(type);
    if (!t || !t->mount)
        return -ENODEV;
    if (!S_ISDIR(target->dentry->inode->mode))
        return -ENOTDIR;
    struct superblock *sb = t->mount(t, source, flags, options ? options : "");
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    int err = mount_attach(sb, source, target, flags);
    superblock_unref(sb);
    return err;
}

// Takes a mount out of the tree: what it stood on is returned, for the caller to drop (and the tree's reference of the mount).
// mount_lock held.
static struct path detach(struct mount *m) {
    struct path was = {m->parent, m->mountpoint};
    struct mount *other;
    list_remove(&m->link);
    spin_lock(&tree_lock); // who walks up holds it
    m->parent = NULL;
    m->mountpoint = NULL;
    spin_unlock(&tree_lock);
    bool still = false;
    list_for_each (other, &mounts, link)
        still |= other->mountpoint == was.dentry;
    if (!still)
        atomic_and(&was.dentry->flags, (uint8_t)~DENTRY_MOUNTED);
    return was;
}

void mount_detach_below(struct dentry *d) {
    for (;;) {
        struct mount *m, *found = NULL;
        struct path was;
        spin_lock(&mount_lock);
        list_for_each (m, &mounts, link) {
            if (m->mountpoint && m->mountpoint->sb == d->sb && dentry_is_ancestor(d, m->mountpoint)) {
                found = m;
                was = detach(m);
                break;
            }
        }
        spin_unlock(&mount_lock);
        if (!found)
            return;
        path_unref(&was);
        mount_unref(found);
    }
}

// Does anybody use what leaves with this mount? The caller's path holds one reference and the tree the other; anything mounted inside
// holds one more. With its last mount a file system goes, and a mapping of one of its files holds it. mount_lock held.
static bool busy(const struct mount *m) {
    uint32_t same = 0;
    struct mount *other;
    list_for_each (other, &mounts, link)
        same += other->sb == m->sb;
    return READ_ONCE(m->refs) > 2 || (same == 1 && READ_ONCE(m->sb->refs) > 1);
}

int vfs_umount(const struct path *target, int flags) {
    struct mount *m = target->mount;
    if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
        return -EINVAL;
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (target->dentry != m->root || m == root_mount)
        return -EINVAL;
    int err = 0;
    struct path was = {NULL, NULL};
    spin_lock(&mount_lock);
    // The caller's path holds one reference and the tree the other; anything mounted inside holds one more.
    if (!m->parent)
        err = -EINVAL;
    else if (!(flags & MNT_DETACH) && busy(m))
        err = -EBUSY;
    else
        was = detach(m);
    spin_unlock(&mount_lock);
    if (err == 0) {
        path_unref(&was);
        mount_unref(m);
    }
    return err;
}
