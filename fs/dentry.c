// Directory entries: a hash table and an ordered list of children for each directory.
// A lookup takes the directory's spinlock for the few instructions of one hash chain, so there is no global lock. Changes hold
// the directory's inode lock and take the spinlock on top. tree_lock guards `parent` and `name` against walks upwards.
#include "fs/cache/dentry_lru.h"
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"

static struct slab_cache dentry_cache = SLAB_CACHE("dentry", sizeof(struct dentry), 8);
static struct slab_cache children_cache = SLAB_CACHE("dentry_children", sizeof(struct dentry_children), 8);
static struct slab_cache name_cache = SLAB_CACHE("path", PATH_MAX, 8);

struct spinlock tree_lock = SPINLOCK_INIT;

char *name_buffer_get(void) { return slab_alloc(&name_cache); }

void name_buffer_put(char *buf) {
    if (buf)
        slab_free(&name_cache, buf);
}

static bool set_name(struct dentry *d, const char *name, size_t len) {
    d->name = d->short_name;
    if (len >= sizeof(d->short_name)) {
        d->name = kmalloc(len + 1);
        if (!d->name)
            return false;
    }
    memcpy(d->name, name, len);
    d->name[len] = 0;
    d->name_len = len;
    return true;
}

static struct dentry *dentry_new(struct superblock *sb, const char *name, size_t len) {
    struct dentry *d = slab_alloc(&dentry_cache);
    if (!d)
        return NULL;
    if (!set_name(d, name, len)) {
        slab_free(&dentry_cache, d);
        return NULL;
    }
    d->hash_next = NULL;
    d->hash = 0;
    d->refs = 1;
    d->flags = sb->flags & SB_REVALIDATE ? DENTRY_REVALIDATE : 0;
    spin_init(&d->lock);
    d->parent = d;
    d->inode = NULL;
    d->sb = sb;
    d->children = NULL;
    d->node.cookie = 0;
    list_init(&d->node.link);
    list_init(&d->alias_link);
    list_init(&d->lru_link);
    return d;
}

static bool ensure_children(struct dentry *dir) {
    if (likely(dir->children))
        return true;
    struct dentry_children *c = slab_zalloc(&children_cache);
    if (!c)
        return false;
    c->table = c->first_table;
    c->mask = ARRAY_SIZE(c->first_table) - 1;
    list_init(&c->list);
    c->next_cookie = 3; // 1 and 2 stand behind "." and ".."
    spin_lock(&dir->lock);
    if (!dir->children) {
        store_release(&dir->children, c);
        c = NULL;
    }
    spin_unlock(&dir->lock);
    slab_free(&children_cache, c);
    return true;
}

struct dentry *dentry_alloc(struct dentry *parent, const char *name, size_t len, uint32_t hash) {
    if (!(parent->sb->flags & SB_UNCACHED) && !ensure_children(parent))
        return NULL;
    struct dentry *d = dentry_new(parent->sb, name, len);
    if (d) {
        d->hash = hash;
        d->parent = dentry_ref(parent);
    }
    return d;
}

struct dentry *dentry_alloc_root(struct superblock *sb, struct inode *inode) {
    struct dentry *d = dentry_new(sb, "/", 1);
    if (d)
        dentry_attach(d, inode);
    return d;
}

struct dentry *dentry_alloc_anonymous(struct inode *inode, const char *name) {
    struct dentry *d = dentry_new(inode->sb, name, MIN(strlen(name), NAME_MAX));
    if (d) {
        d->flags = DENTRY_ANON;
        dentry_attach(d, inode);
    }
    return d;
}

void dentry_attach(struct dentry *d, struct inode *inode) {
    spin_lock(&inode->spin);
    list_push_back(&inode->aliases, &d->alias_link);
    spin_unlock(&inode->spin);
    inotify_attached(d->parent->inode, inode);
    store_release(&d->inode, inode);
}

// A chain of parents may lose its last reference at once, hence the loop.
void dentry_release(struct dentry *d) {
    for (;;) {
        struct dentry *parent = d->parent;
        if (d->inode) {
            inotify_gone(d->inode);
            spin_lock(&d->inode->spin);
            list_remove(&d->alias_link);
            spin_unlock(&d->inode->spin);
            inode_unref(d->inode);
        }
        if (d->children) {
            if (d->children->table != d->children->first_table)
                kfree(d->children->table);
            slab_free(&children_cache, d->children);
        }
        if (d->name != d->short_name)
            kfree(d->name);
        bool root = parent == d;
        slab_free(&dentry_cache, d);
        if (root || atomic_sub(&parent->refs, 1) != 1)
            return;
        d = parent;
    }
}

static inline __attribute__((always_inline)) struct dentry *find(struct dentry *dir, const char *name, size_t len,
                                                                 uint32_t hash) {
    struct dentry_children *c = load_acquire(&dir->children);
    if (!c)
        return NULL;
    spin_lock(&dir->lock);
    struct dentry *d = c->table[hash & c->mask];
    while (d && (d->hash != hash || d->name_len != len || memcmp(d->name, name, len) != 0))
        d = d->hash_next;
    if (d) {
        dentry_ref(d);
        d->used = true;
    }
    spin_unlock(&dir->lock);
    return d;
}

struct dentry *dentry_find(struct dentry *dir, const char *name, size_t len, uint32_t hash) {
    return find(dir, name, len, hash);
}

void dentry_populate(struct dentry *dir, bool locked) {
    if (!locked)
        mutex_lock(&dir->inode->lock);
    if (dir->flags & DENTRY_LAZY) {
        int err = dir->sb->ops->populate(dir);
        if (err < 0)
            log_warn("no memory for the entries of %s", dir->name);
        else
            atomic_and(&dir->flags, (uint8_t)~DENTRY_LAZY);
    }
    if (!locked)
        mutex_unlock(&dir->inode->lock);
}

// The entry is not in the table: asks the file system. The directory's inode is locked. What is no longer in the tree itself keeps
// no entries: they would keep each other alive.
static int lookup_in_file_system(struct dentry *dir, const char *name, size_t len, uint32_t hash, struct dentry **out) {
    bool cached = !(dir->sb->flags & SB_UNCACHED) && ((dir->flags & DENTRY_HASHED) || dir->parent == dir);
    struct dentry *d = cached ? dentry_find(dir, name, len, hash) : NULL;
    if (!d) {
        d = dentry_alloc(dir, name, len, hash);
        if (!d)
            return -ENOMEM;
        int err = dir->inode->ops->lookup(dir->inode, d);
        if (err < 0) {
            dentry_unref(d);
            return err;
        }
        if (cached)
            dentry_insert(d);
    }
    if (!d->inode) {
        dentry_unref(d);
        return -ENOENT;
    }
    *out = d;
    return 0;
}

static struct dentry *any_child(struct dentry *dir) {
    struct dentry_children *c = load_acquire(&dir->children);
    struct dentry *child = NULL;
    if (!c)
        return NULL;
    spin_lock(&dir->lock);
    struct dir_node *n;
    list_for_each (n, &c->list, link) {
        if (n->cookie) {
            child = dentry_ref(container_of(n, struct dentry, node));
            break;
        }
    }
    spin_unlock(&dir->lock);
    return child;
}

// From the top for each entry: others may move them about meanwhile. `try`: what is locked, perhaps by the caller, stays with all that is
// above it; it goes when memory is short.
static void drop_children(struct dentry *dir, bool locked, bool try) {
    struct dentry *child, *below;
    bool stuck = false;
    while (!stuck && (child = any_child(dir)) != NULL) {
        struct dentry *parent = dentry_ref(dir);
        while ((below = any_child(child)) != NULL) {
            dentry_unref(parent);
            parent = child;
            child = below;
        }
        bool lock = !locked || parent != dir;
        if (lock && try) {
            stuck = !mutex_trylock(&parent->inode->lock);
        } else if (lock) {
            lock_nested(); // those above it may be locked
            mutex_lock(&parent->inode->lock);
        }
        if (!stuck && (child->flags & DENTRY_HASHED) && child->parent == parent)
            dentry_remove(child);
        if (lock && !stuck)
            mutex_unlock(&parent->inode->lock);
        dentry_unref(child);
        dentry_unref(parent);
        sched_point();
    }
}

void dentry_drop_children(struct dentry *dir, bool locked) { drop_children(dir, locked, false); }

// An entry that others may have made untrue: NULL when it was, and has been taken out of the table with all that is below.
static struct dentry *revalidate(struct dentry *dir, struct dentry *d, bool locked) {
    if (dir->sb->ops->revalidate(d))
        return d;
    if (!locked)
        mutex_lock(&dir->inode->lock);
    if ((d->flags & DENTRY_HASHED) && d->parent == dir)
        dentry_remove(d);
    if (!locked)
        mutex_unlock(&dir->inode->lock);
    mount_detach_below(d);
    // A rename has two directories locked: the other one may lie below this entry.
    drop_children(d, false, locked);
    dentry_unref(d);
    return NULL;
}

int dentry_lookup(struct dentry *dir, const char *name, size_t len, uint32_t hash, bool locked, struct dentry **out) {
    struct dentry *d = find(dir, name, len, hash);
    if (unlikely(!d && (dir->flags & DENTRY_LAZY))) { // what somebody has made already does not need all the others
        dentry_populate(dir, locked);
        d = dentry_find(dir, name, len, hash);
    }
    if (likely(d) && unlikely(d->flags & DENTRY_REVALIDATE))
        d = revalidate(dir, d, locked);
    if (likely(d)) {
        if (likely(load_acquire(&d->inode))) {
            *out = d;
            return 0;
        }
        dentry_unref(d);
        return -ENOENT;
    }
    if ((dir->sb->flags & SB_COMPLETE) || (dir->flags & DENTRY_COMPLETE))
        return -ENOENT;
    if (!dir->inode->ops->lookup)
        return -ENOTDIR;
    if (!locked)
        mutex_lock(&dir->inode->lock);
    int err = lookup_in_file_system(dir, name, len, hash, out);
    if (!locked)
        mutex_unlock(&dir->inode->lock);
    return err;
}

// Doubles the table; when there is no memory the chains get longer. dir->lock held.
static void table_grow(struct dentry_children *c) {
    uint32_t size = (c->mask + 1) * 4;
    struct dentry **table = kzalloc(size * sizeof(*table));
    if (!table)
        return;
    for (uint32_t i = 0; i <= c->mask; i++) {
        for (struct dentry *d = c->table[i], *next; d; d = next) {
            next = d->hash_next;
            d->hash_next = table[d->hash & (size - 1)];
            table[d->hash & (size - 1)] = d;
        }
    }
    if (c->table != c->first_table)
        kfree(c->table);
    c->table = table;
    c->mask = size - 1;
}

static void table_add(struct dentry *d) {
    struct dentry_children *c = d->parent->children;
    if (c->count > 2 * c->mask)
        table_grow(c);
    struct dentry **slot = &c->table[d->hash & c->mask];
    d->hash_next = *slot;
    *slot = d;
    c->count++;
    d->node.cookie = c->next_cookie++;
    list_push_back(&c->list, &d->node.link);
    if (!(d->sb->flags & SB_COMPLETE))
        dentry_lru_add(d);
    atomic_or(&d->flags, DENTRY_HASHED); // each bit has a lock of its own
}

void dentry_unhash(struct dentry *d) {
    struct dentry_children *c = d->parent->children;
    struct dentry **slot = &c->table[d->hash & c->mask];
    while (*slot != d)
        slot = &(*slot)->hash_next;
    *slot = d->hash_next;
    c->count--;
    list_remove(&d->node.link);
    if (!list_empty(&d->lru_link))
        dentry_lru_remove(d);
    atomic_and(&d->flags, (uint8_t)~DENTRY_HASHED);
}

void dentry_insert(struct dentry *d) {
    dentry_ref(d);
    spin_lock(&d->parent->lock);
    table_add(d);
    spin_unlock(&d->parent->lock);
    if (!(d->sb->flags & SB_COMPLETE))
        dentry_lru_start();
}

void dentry_insert_behind(struct dentry *d) {
    dentry_ref(d);
    spin_lock(&d->parent->lock);
    table_add(d);
    struct dentry **slot = &d->parent->children->table[d->hash & d->parent->children->mask];
    *slot = d->hash_next;
    while (*slot)
        slot = &(*slot)->hash_next;
    *slot = d;
    d->hash_next = NULL;
    spin_unlock(&d->parent->lock);
}

void dentry_remove(struct dentry *d) {
    spin_lock(&d->parent->lock);
    dentry_unhash(d);
    spin_unlock(&d->parent->lock);
    dentry_unref(d);
}

static void lock_two(struct dentry *a, struct dentry *b) {
    if (a == b) {
        spin_lock(&a->lock);
        return;
    }
    spin_lock(a < b ? &a->lock : &b->lock);
    spin_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_two(struct dentry *a, struct dentry *b) {
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

int dentry_move_prepare(const struct dentry *to, char **long_name) {
    *long_name = NULL;
    if (to->name_len >= sizeof(to->short_name) && !(*long_name = kmalloc(to->name_len + 1u)))
        return -ENOMEM;
    return 0;
}

void dentry_move(struct dentry *from, struct dentry *to, char *long_name) {
    struct dentry *old_parent = from->parent, *new_parent = to->parent;
    char *old_name = from->name != from->short_name ? from->name : NULL;
    bool replaced = to->flags & DENTRY_HASHED;

    lock_two(old_parent, new_parent);
    dentry_unhash(from);
    if (replaced)
        dentry_unhash(to);
    spin_lock(&tree_lock);
    from->name = long_name ? long_name : from->short_name;
    memcpy(from->name, to->name, to->name_len + 1u);
    from->name_len = to->name_len;
    from->hash = to->hash;
    from->parent = dentry_ref(new_parent);
    spin_unlock(&tree_lock);
    table_add(from);
    unlock_two(old_parent, new_parent);

    kfree(old_name);
    if (replaced)
        dentry_unref(to);
    dentry_unref(old_parent);
}

void dentry_exchange(struct dentry *a, struct dentry *b) {
    struct dentry *a_parent = a->parent, *b_parent = b->parent;
    lock_two(a_parent, b_parent);
    dentry_unhash(a);
    dentry_unhash(b);
    spin_lock(&tree_lock);
    bool a_short = a->name == a->short_name, b_short = b->name == b->short_name;
    char short_name[sizeof(a->short_name)];
    memcpy(short_name, a->short_name, sizeof(short_name));
    memcpy(a->short_name, b->short_name, sizeof(short_name));
    memcpy(b->short_name, short_name, sizeof(short_name));
    char *a_name = a->name;
    a->name = b_short ? a->short_name : b->name;
    b->name = a_short ? b->short_name : a_name;
    uint16_t len = a->name_len;
    a->name_len = b->name_len;
    b->name_len = len;
    uint32_t hash = a->hash;
    a->hash = b->hash;
    b->hash = hash;
    a->parent = b_parent;
    b->parent = a_parent;
    spin_unlock(&tree_lock);
    table_add(a);
    table_add(b);
    unlock_two(a_parent, b_parent);
}

bool dentry_has_children(struct dentry *d) {
    if (d->flags & DENTRY_LAZY)
        return true;
    struct dentry_children *c = d->children;
    bool any = false;
    if (c) {
        spin_lock(&d->lock);
        struct dir_node *n;
        list_for_each (n, &c->list, link) {
            if (n->cookie && container_of(n, struct dentry, node)->inode) {
                any = true;
                break;
            }
        }
        spin_unlock(&d->lock);
    }
    return any;
}

struct dentry *dentry_parent(struct dentry *d) {
    spin_lock(&tree_lock);
    struct dentry *parent = dentry_ref(d->parent);
    spin_unlock(&tree_lock);
    return parent;
}

bool dentry_is_ancestor(struct dentry *ancestor, struct dentry *d) {
    bool yes = false;
    spin_lock(&tree_lock);
    for (;; d = d->parent) {
        if (d == ancestor) {
            yes = true;
            break;
        }
        if (d->parent == d)
            break;
    }
    spin_unlock(&tree_lock);
    return yes;
}
