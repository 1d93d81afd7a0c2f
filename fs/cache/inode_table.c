// See fs/cache/inode_table.h. A superblock's table is eight small hash tables, each with a lock and a growth of its own, so that nothing
// ever moves under two locks. An inode is unlinked by inode_unref once its last reference is gone: until then it may still be seen
// with refs 0, and is passed over.
// Locks: part.lock, a leaf.
#include "fs/cache/inode_table.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"

#define PARTS 8
#define FIRST_SIZE 4

struct part {
    struct spinlock lock;
    uint32_t mask, count;
    uint32_t walkers; // of inode_table_each: the table does not grow meanwhile
    struct inode **table;
    struct inode *first_table[FIRST_SIZE];
};
struct inode_table {
    struct part parts[PARTS];
};

static uint64_t hash(uint64_t ino) { return ino * 0x9e3779b97f4a7c15ul; }

static struct part *part_of(struct superblock *sb, uint64_t h) { return &sb->inodes->parts[h >> 61]; }

static struct inode **bucket(const struct part *p, uint64_t h) { return &p->table[h >> 29 & p->mask]; }

int inode_table_create(struct superblock *sb) {
    struct inode_table *t = kzalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    for (unsigned i = 0; i < PARTS; i++) {
        struct part *p = &t->parts[i];
        spin_init(&p->lock);
        p->table = p->first_table;
        p->mask = FIRST_SIZE - 1;
    }
    sb->inodes = t;
    return 0;
}

void inode_table_destroy(struct superblock *sb) {
    struct inode_table *t = sb->inodes;
    if (!t)
        return;
    for (unsigned i = 0; i < PARTS; i++) {
        if (t->parts[i].count)
            panic("%u inodes are left of a file system that is gone", t->parts[i].count);
        if (t->parts[i].table != t->parts[i].first_table)
            kfree(t->parts[i].table);
    }
    sb->inodes = NULL;
    kfree(t);
}

// A reference of an inode that may be on its way out: false when it is.
static bool ref_living(struct inode *inode) {
    uint32_t refs = READ_ONCE(inode->refs);
    do {
        if (refs == 0)
            return false;
    } while (!__atomic_compare_exchange_n(&inode->refs, &refs, refs + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return true;
}

static struct inode *find(const struct part *p, uint64_t h, uint64_t ino) {
    struct inode *inode = *bucket(p, h);
    while (inode && (inode->ino != ino || !ref_living(inode)))
        inode = inode->table_next;
    return inode;
}

struct inode *inode_table_find(struct superblock *sb, uint64_t ino) {
    uint64_t h = hash(ino);
    struct part *p = part_of(sb, h);
    spin_lock(&p->lock);
    struct inode *inode = find(p, h, ino);
    spin_unlock(&p->lock);
    return inode;
}

// Four times the size; when there is no memory the chains get longer.
static void grow(struct part *p) {
    uint32_t size = (READ_ONCE(p->mask) + 1) * 4;
    struct inode **table = kzalloc(size * sizeof(struct inode *)), **old = NULL;
    if (!table)
        return;
    spin_lock(&p->lock);
    if (p->walkers || (p->mask + 1) * 4 != size) {
        old = table;
    } else {
        for (uint32_t i = 0; i <= p->mask; i++) {
            for (struct inode *inode = p->table[i], *next; inode; inode = next) {
                next = inode->table_next;
                struct inode **to = &table[hash(inode->ino) >> 29 & (size - 1)];
                inode->table_next = *to;
                *to = inode;
            }
        }
        if (p->table != p->first_table)
            old = p->table;
        p->table = table;
        p->mask = size - 1;
    }
    spin_unlock(&p->lock);
    kfree(old);
}

struct inode *inode_table_add(struct inode *inode) {
    uint64_t h = hash(inode->ino);
    struct part *p = part_of(inode->sb, h);
    spin_lock(&p->lock);
    struct inode *there = find(p, h, inode->ino);
    if (!there) {
        struct inode **slot = bucket(p, h);
        inode->table_next = *slot;
        *slot = inode;
        inode->in_table = true;
        p->count++;
    }
    bool crowded = p->count > 2 * p->mask && !p->walkers;
    spin_unlock(&p->lock);
    if (unlikely(crowded))
        grow(p);
    return there ? there : inode;
}

void inode_table_remove(struct inode *inode) {
    uint64_t h = hash(inode->ino);
    struct part *p = part_of(inode->sb, h);
    spin_lock(&p->lock);
    struct inode **slot = bucket(p, h);
    while (*slot != inode)
        slot = &(*slot)->table_next;
    *slot = inode->table_next;
    p->count--;
    inode->in_table = false;
    spin_unlock(&p->lock);
}

// The first living inode behind `after` (NULL: at all) in the chain, with a reference.
static struct inode *next_living(const struct part *p, uint32_t i, const struct inode *after) {
    struct inode *inode = after ? after->table_next : p->table[i];
    while (inode && !ref_living(inode))
        inode = inode->table_next;
    return inode;
}

static bool each_of_part(struct part *p, bool (*fn)(struct inode *inode, void *ctx), void *ctx) {
    bool more = true;
    spin_lock(&p->lock);
    p->walkers++;
    for (uint32_t i = 0; more && i <= p->mask; i++) {
        struct inode *inode = next_living(p, i, NULL);
        while (inode) {
            spin_unlock(&p->lock);
            more = fn(inode, ctx);
            spin_lock(&p->lock);
            // Its reference keeps it in the chain; it goes without the lock, as it may be the last one.
            struct inode *next = more ? next_living(p, i, inode) : NULL;
            spin_unlock(&p->lock);
            inode_unref(inode);
            inode = next;
            spin_lock(&p->lock);
        }
    }
    p->walkers--;
    spin_unlock(&p->lock);
    return more;
}

void inode_table_each(struct superblock *sb, bool (*fn)(struct inode *inode, void *ctx), void *ctx) {
    for (unsigned i = 0; i < PARTS; i++)
        if (!each_of_part(&sb->inodes->parts[i], fn, ctx))
            return;
}
