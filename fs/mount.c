// The tree of mounts: file systems put together. mount_calls.c has what the application may do with it.
// A mount in the tree holds one reference of itself and a path to where it stands; a path that leads into it holds another.
// Locks: mount_lock (spinlock) protects the list, the tree and DENTRY_MOUNTED; a mount leaves or moves under tree_lock, too
// (mount_lock > tree_lock). Who only crosses takes the lock of one hash bucket (mount_lock > bucket).
#include "fs/internal.h"
#include "fs/mount.h"
#include "kernel/string.h"

#define BUCKETS 32

static struct bucket {
    struct spinlock lock;
    struct mount *first; // mount.hash_next
} buckets[BUCKETS];
struct spinlock mount_lock = SPINLOCK_INIT;
struct list mounts = LIST_INIT(mounts);
static struct mount *root_mount;
static int next_mount_id = 20;

void mount_ref(struct mount *m) { atomic_add(&m->refs, 1); }

void mount_unref(struct mount *m) {
    if (atomic_sub(&m->refs, 1) != 1)
        return;
    dentry_unref(m->root);
    superblock_unref(m->sb);
    kfree((void *)m->source);
    kfree(m);
}

struct mount *mount_alloc(struct superblock *sb, struct dentry *root, const char *source, uint32_t flags) {
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
    m->flags = flags & MOUNT_FLAGS;
    m->sb = sb;
    list_init(&m->link);
    atomic_add(&sb->refs, 1);
    m->root = dentry_ref(root);
    return m;
}

// --- The hash of mountpoints ---

static struct bucket *bucket_of(const struct mount *parent, const struct dentry *point) {
    uint64_t x = (uint64_t)(uintptr_t)parent / 64 + (uint64_t)(uintptr_t)point / 64;
    return &buckets[(x ^ x >> 7) % BUCKETS];
}

static struct mount *find(const struct bucket *b, const struct mount *parent, const struct dentry *point) {
    struct mount *m = b->first;
    while (m && (m->parent != parent || m->mountpoint != point))
        m = m->hash_next;
    return m;
}

static struct mount *mounted_on(const struct mount *parent, const struct dentry *point) {
    struct bucket *b = bucket_of(parent, point);
    spin_lock(&b->lock);
    struct mount *m = find(b, parent, point);
    spin_unlock(&b->lock);
    return m;
}

bool mount_cross(struct path *p) {
    struct bucket *b = bucket_of(p->mount, p->dentry);
    spin_lock(&b->lock);
    struct mount *found = find(b, p->mount, p->dentry);
    if (found) {
        mount_ref(found);
        if (unlikely(found->expiring))
            found->expiring--;
    }
    spin_unlock(&b->lock);
    if (!found)
        return false;
    dentry_ref(found->root);
    path_unref(p);
    p->mount = found;
    p->dentry = found->root;
    return true;
}

// --- The tree ---

void mount_attach_locked(struct mount *m, const struct path *target) {
    struct path on = *target;
    for (struct mount *above; (above = mounted_on(on.mount, on.dentry)) != NULL;) // somebody was faster
        on = (struct path){above, above->root};
    path_ref(&on);
    struct bucket *b = bucket_of(on.mount, on.dentry);
    spin_lock(&tree_lock);
    spin_lock(&b->lock);
    m->parent = on.mount;
    m->mountpoint = on.dentry;
    m->hash_next = b->first;
    b->first = m;
    spin_unlock(&b->lock);
    spin_unlock(&tree_lock);
    atomic_or(&on.dentry->flags, DENTRY_MOUNTED);
    if (list_empty(&m->link))
        list_push_back(&mounts, &m->link);
}

struct path mount_detach_locked(struct mount *m) {
    struct path was = {m->parent, m->mountpoint};
    struct bucket *b = bucket_of(was.mount, was.dentry);
    struct mount *other, **at = &b->first;
    spin_lock(&tree_lock); // who walks up holds it
    spin_lock(&b->lock);
    while (*at != m)
        at = &(*at)->hash_next;
    *at = m->hash_next;
    m->parent = NULL;
    m->mountpoint = NULL;
    spin_unlock(&b->lock);
    spin_unlock(&tree_lock);
    bool still = false;
    list_for_each (other, &mounts, link)
        still |= other->mountpoint == was.dentry;
    if (!still)
        atomic_and(&was.dentry->flags, (uint8_t)~DENTRY_MOUNTED);
    return was;
}

bool mount_is_below(const struct mount *m, const struct mount *top) {
    for (;; m = m->parent) {
        if (m == top)
            return true;
        if (!m->parent || m->parent == m)
            return false;
    }
}

// Takes one mount that is below `top` (itself, too), a leaf first. NULL: there are no more.
static struct mount *take_leaf(struct mount *top, struct path *was) {
    struct mount *m, *other, *found = NULL;
    spin_lock(&mount_lock);
    list_for_each (m, &mounts, link) {
        if (m == root_mount || !mount_is_below(m, top))
            continue;
        bool leaf = true;
        list_for_each (other, &mounts, link)
            leaf &= other->parent != m;
        if (leaf) {
            found = m;
            break;
        }
    }
    if (found) {
        *was = mount_detach_locked(found);
        list_remove(&found->link);
    }
    spin_unlock(&mount_lock);
    return found;
}

void mount_detach_tree(struct mount *top) {
    struct mount *m;
    struct path was;
    while ((m = take_leaf(top, &was)) != NULL) {
        bool last = m == top;
        path_unref(&was);
        mount_unref(m);
        if (last)
            break;
    }
}

void mount_detach_below(struct dentry *d) {
    for (;;) {
        struct mount *m, *found = NULL;
        spin_lock(&mount_lock);
        list_for_each (m, &mounts, link) {
            if (m->mountpoint && m->mountpoint->sb == d->sb && dentry_is_ancestor(d, m->mountpoint)) {
                found = m;
                mount_ref(m);
                break;
            }
        }
        spin_unlock(&mount_lock);
        if (!found)
            return;
        mount_detach_tree(found);
        mount_unref(found);
    }
}

int mount_create_root(struct superblock *sb) {
    struct mount *m = mount_alloc(sb, sb->root, sb->type->name, MS_RELATIME);
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

void mount_set_root(struct mount *m) {
    m->parent = m;
    root_mount = m;
}

int mount_attach(struct superblock *sb, const char *source, const struct path *target, uint32_t flags) {
    struct mount *m = mount_alloc(sb, sb->root, source, flags & MS_NOATIME ? flags : flags | MS_RELATIME);
    if (!m)
        return -ENOMEM;
    spin_lock(&mount_lock);
    mount_attach_locked(m, target);
    spin_unlock(&mount_lock);
    return 0;
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

// --- Who looks at mounts ---

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
