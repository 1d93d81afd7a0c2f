// See fs/cache/dentry_lru.h. A clock: the list is walked from its front; what was looked up since (dentry.used) or is in use goes to the
// back, the rest goes. How many are looked at keeps step with the pages of the cache that are given back. A directory follows its
// entries, which hold it.
//
// An entry whose only reference is its table's is found by others in two ways alone: in the table, under the directory's dentry.lock, and
// as a name of its inode, under inode.spin. Both are held while it is unlinked.
// Locks: dentry.lock of a directory > lru_lock; against that order only with spin_trylock. inode.spin is a leaf.
#include "fs/cache/dentry_lru.h"
#include "fs/cache/internal.h"
#include "kernel/memory/reclaim.h"

#define PIECE 32        // entries looked at in one hold of the lock
#define ENTRY_BYTES 512 // with its inode, about

static struct spinlock lru_lock = SPINLOCK_INIT;
static struct list lru = LIST_INIT(lru);
static uint64_t lru_count;
static uint32_t shrinking; // who takes entries out, and has not yet dropped the references
static struct waitq settled = WAITQ_INIT(settled);

static uint64_t shrink(uint64_t pages, bool wait);
static struct shrinker shrinker = {.name = "names", .reclaim = shrink, .count = dentry_lru_pages};
static bool registered;

void dentry_lru_add(struct dentry *d) {
    d->used = true;
    spin_lock(&lru_lock);
    list_push_back(&lru, &d->lru_link);
    lru_count++;
    spin_unlock(&lru_lock);
}

void dentry_lru_remove(struct dentry *d) {
    spin_lock(&lru_lock);
    if (!list_empty(&d->lru_link)) {
        list_remove(&d->lru_link);
        lru_count--;
    }
    spin_unlock(&lru_lock);
}

uint64_t dentry_lru_pages(void) { return READ_ONCE(lru_count) / (PAGE_SIZE / ENTRY_BYTES); }

// Takes it out of its directory when nobody has it. lru_lock held.
static bool unlink_unused(struct dentry *d) {
    const uint8_t keep = DENTRY_PINNED | DENTRY_COVERS | DENTRY_MOUNTED | DENTRY_LAZY;
    struct dentry *parent = d->parent; // no move: an entry leaves the list first
    struct inode *inode = d->inode;
    if (READ_ONCE(d->refs) != 1 || (d->flags & keep) || (parent->flags & DENTRY_COMPLETE))
        return false;
    if (inode && (inode->watches || inode->watched))
        return false;
    if (!spin_trylock(&parent->lock))
        return false;
    if (inode)
        spin_lock(&inode->spin);
    bool unused = load_acquire(&d->refs) == 1;
    if (unused && inode)
        list_remove(&d->alias_link);
    if (inode)
        spin_unlock(&inode->spin);
    if (unused) {
        list_remove(&d->lru_link);
        lru_count--;
        dentry_unhash(d);
    }
    spin_unlock(&parent->lock);
    return unused;
}

// Looks at some entries; how many went. *looked counts.
static uint64_t shrink_piece(uint64_t *looked, uint64_t most, bool all) {
    struct dentry *gone[PIECE];
    unsigned count = 0;
    atomic_add(&shrinking, 1);
    spin_lock(&lru_lock);
    for (unsigned i = 0; i < PIECE && *looked < most && !list_empty(&lru); i++, ++*looked) {
        struct dentry *d = list_first(&lru, struct dentry, lru_link);
        if ((all || !d->used) && unlink_unused(d)) {
            gone[count++] = d;
            continue;
        }
        d->used = false;
        list_remove(&d->lru_link);
        list_push_back(&lru, &d->lru_link);
    }
    spin_unlock(&lru_lock);
    for (unsigned i = 0; i < count; i++)
        dentry_unref(gone[i]);
    if (atomic_sub(&shrinking, 1) == 1 && waitq_active(&settled))
        waitq_wake_all(&settled);
    return count;
}

void dentry_lru_settle(void) { wait_event(&settled, READ_ONCE(shrinking) == 0); }

uint64_t dentry_lru_drop(uint64_t count) {
    uint64_t gone = 0, round;
    do { // directories once more, when they are empty
        uint64_t looked = 0, most = READ_ONCE(lru_count);
        round = 0;
        while (looked < most && gone + round < count) {
            round += shrink_piece(&looked, most, true);
            sched_point();
        }
        gone += round;
    } while (round && gone < count);
    return gone;
}

// Inodes go with the entries, and a file system may have to do something for that, or to sleep: only where that is allowed.
static uint64_t shrink(uint64_t pages, bool wait) {
    uint64_t all = READ_ONCE(lru_count), looked = 0, gone = 0;
    if (!wait)
        return 0;
    uint64_t most = MIN(pages * all / (READ_ONCE(cache_pages) + 1) + 1, 16 * pages + PIECE);
    // Where all were used lately it goes round once more, rather than win nothing.
    while ((looked < most || (gone == 0 && looked < 2 * all + PIECE)) && !list_empty(&lru)) {
        gone += shrink_piece(&looked, ~0ul, false);
        sched_point();
    }
    return DIV_ROUND_UP(gone * ENTRY_BYTES, PAGE_SIZE);
}

void dentry_lru_start(void) {
    if (unlikely(!READ_ONCE(registered)) && !atomic_xchg(&registered, true))
        reclaim_register(&shrinker);
}
