// The page cache's heart: the tree of pages of a file, their states, and how one gets a page to read or to change.
//
// A page is found under host->spin and gets a reference there; so a page with the tree's reference alone is nobody's, and the reclaimer
// may take it. Its bits are changed by atomic operations:
//     LOCKED, not VALID       a read is on its way; ends as VALID or FAILED
//     VALID                   as on the medium
//     VALID DIRTY             newer; set after the change, cleared before the write: what changes meanwhile is written again
//     VALID WRITEBACK [DIRTY] being written [and changed again]
// A request has a reference of the page, and counts in page_cache.reading or .writing.
//
// Mappings: a page that is dirty may be shown writable. Before it is written it is taken out of all mappings, so the next store is
// noticed. Locks: as pagecache.h says.
#include "fs/cache/internal.h"
#include "fs/tmpfs.h"
#include "kernel/log.h"
#include "kernel/string.h"

#define WAITQS 32
#define LOOK_AGAIN (50 * NSEC_PER_MSEC)

struct spinlock cache_lock = SPINLOCK_INIT;
struct list cache_list = LIST_INIT(cache_list), cache_dirty_list = LIST_INIT(cache_dirty_list);
uint64_t cache_pages, cache_dirty, cache_writing, cache_read_ahead, cache_evicted;

static struct waitq waitqs[WAITQS];
static bool waitqs_ready;

struct waitq *cache_waitq(const void *what) {
    return &waitqs[((uintptr_t)what >> 5 ^ (uintptr_t)what >> 11) % WAITQS];
}

void cache_wait_bits(struct page *p, uint64_t bits) { wait_event(cache_waitq(p), !(page_bits(p) & bits)); }

// Killed, and not the one who writes the core dump first.
static bool is_doomed(void) {
    return (READ_ONCE(thread_current()->work) & WORK_EXIT) && process_current()->core_dumper != thread_current();
}

bool cache_wait_killable(struct page *p, uint64_t bits) {
    int err = wait_event_interruptible(cache_waitq(p), !(page_bits(p) & bits));
    // Any other signal does not end the wait; while one is pending nothing tells that it becomes one.
    while (err < 0 && !is_doomed())
        err = wait_event_until(cache_waitq(p), !(page_bits(p) & bits), time_monotonic() + LOOK_AGAIN, false);
    return err == 0;
}

// --- The tree ---

struct page *cache_find(struct page_cache *c, uint64_t index) {
    struct page *p;
    if (c->ops->provide && (p = c->ops->provide(c, index)))
        return p;
    spin_lock(&c->host->spin);
    p = pagetree_get(&c->pages, index);
    if (p)
        page_ref(p);
    spin_unlock(&c->host->spin);
    return p;
}

struct page *cache_page_alloc(void) {
    for (;;) {
        struct page *p = page_alloc(0, 0);
        if (likely(p) || !cache_make_room())
            return p;
    }
}

int cache_insert(struct page_cache *c, uint64_t index, struct page *p, uint64_t bits, bool within) {
    bool first = false;
    p->flags |= PAGE_CACHE;
    p->owner = c;
    p->index = index;
    p->private = bits;
    spin_lock(&c->host->spin);
    // A truncation sets the size first and then drops pages: it sees this one, or is seen here.
    int err =
        within && index >= page_count_of(READ_ONCE(c->host->size)) ? -EFAULT : pagetree_insert(&c->pages, index, p);
    if (err == 0) {
        page_ref(p);
        if (unlikely(!c->listed)) {
            c->listed = first = true;
            spin_lock(&cache_lock);
            list_push_back(&cache_list, &c->link);
            spin_unlock(&cache_lock);
        }
    }
    spin_unlock(&c->host->spin);
    if (err < 0) {
        p->owner = NULL;
        p->flags &= (uint8_t)~PAGE_CACHE;
        return err;
    }
    page_count(PAGE_CACHE, 1);
    atomic_add(&cache_pages, 1);
    if (unlikely(first))
        cache_first_page();
    return 0;
}

static void forget_change(struct page_cache *c, struct page *p) {
    if (atomic_and(&p->private, ~(uint64_t)CACHE_DIRTY) & CACHE_DIRTY) {
        c->dirty--;
        atomic_sub(&cache_dirty, 1);
    }
}

void cache_remove_locked(struct page_cache *c, struct page *p) {
    pagetree_remove(&c->pages, p->index);
    forget_change(c, p);
    p->owner = NULL;
    page_count(PAGE_CACHE, -1);
    atomic_sub(&cache_pages, 1);
}

bool cache_mark_dirty(struct page_cache *c, struct page *p) {
    bool first = false;
    spin_lock(&c->host->spin);
    bool there = p->owner == c;
    if (there && !(atomic_or(&p->private, CACHE_DIRTY) & CACHE_DIRTY)) {
        pagetree_mark(&c->pages, p->index);
        atomic_add(&cache_dirty, 1);
        if (c->dirty++ == 0)
            c->dirty_since = time_monotonic();
        if (!c->held) {
            c->held = first = true;
            inode_ref(c->host);
            spin_lock(&cache_lock);
            c->sync_round = cache_sync_round;
            list_push_back(&cache_dirty_list, &c->dirty_link);
            spin_unlock(&cache_lock);
        }
    }
    spin_unlock(&c->host->spin);
    if (unlikely(first))
        cache_became_dirty();
    return there;
}

static void record_error(struct page_cache *c, int error) {
    WRITE_ONCE(c->error, error);
    atomic_add(&c->failures, 1);
    uint32_t old = READ_ONCE(c->error_count), fresh;
    do {
        fresh = old & 1 || !old ? (old | 1) + 1 : old; // odd: somebody was told
    } while (!__atomic_compare_exchange_n(&c->error_count, &old, fresh, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
}

// Somebody else has the place of a page that was taken out while it was being changed: what is newer wins.
static bool replace_other(struct page_cache *c, struct page *p, uint64_t index) {
    struct page *other = cache_find(c, index);
    if (!other)
        return true;
    cache_wait_bits(other, CACHE_LOCKED);
    memcpy(page_to_virt(other), page_to_virt(p), PAGE_SIZE);
    atomic_or(&other->private, CACHE_VALID);
    bool done = cache_mark_dirty(c, other);
    page_unref(other);
    return !done;
}

void page_cache_dirty(struct page_cache *c, struct page *p) {
    uint64_t index = p->index;
    while (unlikely(!cache_mark_dirty(c, p))) {
        // An invalidation came in between. The change is not to be lost.
        int err = cache_insert(c, index, p, CACHE_VALID, false);
        if (err == -EEXIST && !replace_other(c, p, index))
            return;
        if (err == -ENOMEM && !cache_make_room()) {
            record_error(c, -EIO);
            return;
        }
    }
}

// --- Life ---

void page_cache_init(struct page_cache *c, struct inode *host, const struct page_cache_ops *ops) {
    memset(c, 0, sizeof(*c));
    c->host = host;
    c->ops = ops;
    backing_init(&c->backing, &cache_backing_ops);
    list_init(&c->link);
    list_init(&c->dirty_link);
    if (unlikely(!load_acquire(&waitqs_ready))) {
        spin_lock(&cache_lock);
        if (!waitqs_ready) {
            for (unsigned i = 0; i < WAITQS; i++)
                waitq_init(&waitqs[i]);
            waitq_init(&cache_progress);
            store_release(&waitqs_ready, true);
        }
        spin_unlock(&cache_lock);
    }
}

void page_cache_destroy(struct page_cache *c) {
    spin_lock(&cache_lock);
    if (c->listed)
        list_remove(&c->link);
    c->listed = true; // nobody else comes
    spin_unlock(&cache_lock);
    wait_event(cache_waitq(c), load_acquire(&c->users) == 0);
    if (c->dirty && c->host->nlink)
        (void)page_cache_sync(c, 0, ~0ul);
    wait_event(cache_waitq(c), load_acquire(&c->reading) == 0 && load_acquire(&c->writing) == 0);
    page_cache_drop(c, 0, ~0ul);
    spin_lock(&cache_lock);
    if (c->held) {
        list_remove(&c->dirty_link);
        c->held = false;
        atomic_sub(&c->host->refs, 1); // of an inode that its owner takes away by force
    }
    spin_unlock(&cache_lock);
}

// --- Getting pages ---

struct page *cache_get(struct page_cache *c, uint64_t index, uint64_t pages, unsigned how, bool *slept) {
    bool waited = false;
    for (;;) {
        struct page *p = cache_find(c, index);
        if (!p) {
            int err = cache_read_missing(c, index, pages, how);
            if (err == -ENOMEM && cache_make_room()) // for a node of the tree
                continue;
            if (err < 0)
                return ERR_PTR(err);
            if (!(p = cache_find(c, index)))
                continue; // it is gone again
        }
        if (unlikely(is_provided(p)))
            return p;
        uint64_t bits = page_bits(p);
        if (likely(bits & CACHE_VALID)) {
            cache_used(p, bits);
            if (unlikely(bits & CACHE_READAHEAD))
                cache_read_more(c, p);
            return p;
        }
        if (!(bits & CACHE_LOCKED)) {
            if (waited && (bits & CACHE_FAILED)) {
                page_unref(p);
                return ERR_PTR(-EIO);
            }
            // An earlier read failed: perhaps it works now.
            if (page_try_lock(p)) {
                if (page_bits(p) & CACHE_VALID)
                    cache_unlock(p);
                else
                    cache_read_again(c, p);
            }
        }
        *slept = waited = true;
        if (!(how & READ_KILLABLE)) {
            cache_wait_bits(p, CACHE_LOCKED);
        } else if (!cache_wait_killable(p, CACHE_LOCKED)) {
            page_unref(p);
            return ERR_PTR(-EINTR);
        }
        bits = page_bits(p);
        if (likely(bits & CACHE_VALID)) {
            cache_used(p, bits);
            if (bits & CACHE_READAHEAD)
                cache_read_more(c, p);
            return p;
        }
        page_unref(p);
        if (bits & CACHE_FAILED)
            return ERR_PTR(-EIO);
    }
}

struct page *page_cache_get(struct page_cache *c, uint64_t index) {
    bool slept;
    return cache_get(c, index, 1, 0, &slept);
}

struct page *page_cache_get_alone(struct page_cache *c, uint64_t index) {
    bool slept;
    return cache_get(c, index, 1, READ_RANDOM, &slept);
}

struct page *page_cache_peek(struct page_cache *c, uint64_t index) {
    struct page *p = cache_find(c, index);
    if (p && !is_valid(p)) {
        page_unref(p);
        p = NULL;
    }
    return p;
}

// The lock of a page that is to be filled, waited for; false: it has become valid instead.
static bool lock_to_fill(struct page *p) {
    while (!page_try_lock(p)) {
        cache_wait_bits(p, CACHE_LOCKED);
        if (is_valid(p))
            return false;
    }
    if (!is_valid(p))
        return true;
    cache_unlock(p);
    return false;
}

// The page at `index` for a write(2): valid (*locked false), or locked, and to be filled. ERR_PTR(-ENOMEM).
static struct page *find_to_fill(struct page_cache *c, uint64_t index, bool *locked) {
    for (;;) {
        struct page *p = cache_find(c, index);
        *locked = false;
        if (p) {
            *locked = !is_valid(p) && lock_to_fill(p);
            return p;
        }
        p = cache_page_alloc();
        if (!p)
            return ERR_PTR(-ENOMEM);
        int err = cache_insert(c, index, p, CACHE_LOCKED, false);
        *locked = true;
        if (err == 0)
            return p;
        page_unref(p);
        if (err == -ENOMEM && !cache_make_room())
            return ERR_PTR(err);
    }
}

int cache_prepare(struct page_cache *c, uint64_t index, unsigned from, unsigned to, bool fault, bool *whole) {
    *whole = !fault && ((from == 0 && to == PAGE_SIZE) || index >= page_count_of(READ_ONCE(c->host->size)));
    bool fresh = false;
    int err = c->ops->prepare ? c->ops->prepare(c, index, from, to, fault, &fresh) : 0;
    *whole |= fresh;
    return err;
}

// A page is locked while its place on the medium is made: nobody reads from there what was there before.
static struct page *get_to_write(struct page_cache *c, uint64_t index, unsigned from, unsigned to) {
    bool locked, whole;
    struct page *p = find_to_fill(c, index, &locked);
    if (IS_ERR(p))
        return p;
    int err = cache_prepare(c, index, from, to, false, &whole);
    if (locked && err < 0) {
        cache_unlock(p);
    } else if (locked && whole) {
        memset(page_to_virt(p), 0, PAGE_SIZE);
        atomic_or(&p->private, CACHE_VALID);
        cache_unlock(p);
    } else if (locked) {
        cache_read_again(c, p);
        cache_wait_bits(p, CACHE_LOCKED);
        err = is_valid(p) ? 0 : -EIO;
    }
    if (err < 0) {
        page_unref(p);
        return ERR_PTR(err);
    }
    if (whole) // what is new on the medium has to be written in any case
        page_cache_dirty(c, p);
    return p;
}

struct page *page_cache_get_write(struct page_cache *c, uint64_t index, unsigned from, unsigned to) {
    return c->ops->write ? get_to_write(c, index, from, to) : ERR_PTR(-EROFS);
}

void page_cache_prefetch(struct page_cache *c, uint64_t index, uint64_t count) {
    uint64_t size = page_count_of(READ_ONCE(c->host->size));
    if (index < size)
        (void)cache_read_range(c, index, MIN(count, size - index), ~0ul);
}

// --- The ends of requests ---

void page_cache_read_done(struct page_cache *c, struct page *p, int error) {
    if (unlikely(error))
        atomic_or(&p->private, CACHE_FAILED);
    else
        atomic_or(&p->private, CACHE_VALID);
    cache_unlock(p);
    page_unref(p);
    if (atomic_sub(&c->reading, 1) == 1)
        cache_wake(c); // by its address alone: it may be gone
}

static void write_ended(struct page_cache *c, struct page *p) {
    atomic_and(&p->private, ~(uint64_t)CACHE_WRITEBACK);
    cache_wake(p);
    page_unref(p);
    atomic_sub(&cache_writing, 1);
    if (atomic_sub(&c->writing, 1) == 1)
        cache_wake(c);
    cache_written();
}

void page_cache_write_done(struct page_cache *c, struct page *p, int error) {
    if (unlikely(error))
        record_error(c, error == -ENOSPC || error == -EDQUOT ? error : -EIO);
    write_ended(c, p);
}

void page_cache_write_again(struct page_cache *c, struct page *p) {
    (void)cache_mark_dirty(c, p);
    atomic_add(&c->put_off, 1);
    write_ended(c, p);
}

uint32_t page_cache_sample_error(struct page_cache *c) {
    uint32_t count = READ_ONCE(c->error_count);
    return count & 1 ? count : 0;
}

int page_cache_check_error(struct page_cache *c, uint32_t *seen) {
    uint32_t count = READ_ONCE(c->error_count);
    if (likely(count == *seen))
        return 0;
    count = atomic_or(&c->error_count, 1) | 1;
    if (count == *seen)
        return 0;
    *seen = count;
    return READ_ONCE(c->error);
}

struct page_cache *page_cache_of(struct inode *inode) {
    if (inode->cache || !(inode->sb->flags & SB_TMPFS) || !S_ISREG(inode->mode))
        return inode->cache;
    const struct inode *lower = tmpfs_of(inode)->lower; // of an overlay: what it has not of its own comes from there
    return lower ? lower->cache : NULL;
}
