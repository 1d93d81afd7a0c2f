// Giving pages of the cache back: a clock. Caches take turns, each with an eighth of its pages, so that all pages are looked at equally
// often. A page that was used since the last look (CACHE_REFERENCED: more than once, or again) is passed over once; one that is
// shown by mappings is taken out of them first: who still uses it faults, and is noticed so. What nobody holds and is clean goes.
// Locks: page_cache.users keeps a cache while it is looked at; inode.spin for a piece of its tree at a time.
#include "fs/cache/internal.h"
#include "kernel/memory/reclaim.h"

#define PIECE 64      // pages looked at in one hold of the lock
#define TURN_MAX 1024 // pages of a cache a turn
#define ROUNDS 24     // looks at all caches (an eighth each) before it gives up

static uint64_t clean_pages(void) {
    uint64_t kept = READ_ONCE(cache_dirty) + READ_ONCE(cache_writing), all = READ_ONCE(cache_pages);
    return all > kept ? all - kept : 0;
}

static uint64_t unwritten_pages(void) { return READ_ONCE(cache_dirty) + READ_ONCE(cache_writing); }

static struct shrinker shrinker = {
    .name = "files", .reclaim = page_cache_reclaim, .count = clean_pages, .pending = unwritten_pages};

void cache_first_page(void) { reclaim_register(&shrinker); }

bool cache_make_room(void) { return reclaim_make_room(); }

// The next cache's turn. NULL: there is none.
static struct page_cache *next_cache(uint32_t *caches) {
    struct page_cache *c = NULL;
    spin_lock(&cache_lock);
    if (!list_empty(&cache_list)) {
        c = list_first(&cache_list, struct page_cache, link);
        list_remove(&c->link);
        list_push_back(&cache_list, &c->link);
        atomic_add(&c->users, 1);
    }
    if (caches && c) {
        struct page_cache *other;
        list_for_each (other, &cache_list, link)
            ++*caches;
    }
    spin_unlock(&cache_lock);
    return c;
}

static void put_cache(struct page_cache *c) {
    spin_lock(&cache_lock); // page_cache_destroy takes the cache away after this
    bool last = atomic_sub(&c->users, 1) == 1;
    spin_unlock(&cache_lock);
    if (last)
        cache_wake(c);
}

struct piece {
    uint64_t mapped_first, mapped_end; // a run of pages to take out of mappings
    struct page *gone[PIECE];
    unsigned count;
};

// Looks at one page. host->spin held.
static void look_at(struct page_cache *c, struct page *p, struct piece *w) {
    uint64_t bits = page_bits(p);
    if (bits & (CACHE_LOCKED | CACHE_WRITEBACK))
        return;
    if (bits & CACHE_REFERENCED) {
        atomic_and(&p->private, ~(uint64_t)(CACHE_REFERENCED | CACHE_TOUCHED));
        return;
    }
    if (load_acquire(&p->refs) > 1) {
        if (w->mapped_end != p->index) {
            if (w->mapped_end)
                return; // another run: the next look's
            w->mapped_first = p->index;
        }
        w->mapped_end = p->index + 1;
        return;
    }
    if (bits & CACHE_DIRTY)
        return;
    cache_remove_locked(c, p);
    w->gone[w->count++] = p;
}

static uint64_t scan_piece(struct page_cache *c, uint64_t *looked, uint64_t limit) {
    struct piece w;
    struct page *p;
    w.count = 0;
    w.mapped_first = w.mapped_end = 0;
    spin_lock(&c->host->spin);
    for (unsigned i = 0; i < PIECE && *looked < limit; i++, ++*looked) {
        uint64_t at = c->hand;
        p = pagetree_next(&c->pages, &at);
        if (!p) {
            c->hand = 0;
            *looked = limit;
            break;
        }
        c->hand = at + 1;
        look_at(c, p, &w);
    }
    spin_unlock(&c->host->spin);
    if (w.mapped_end)
        backing_unshow_idle(&c->backing, w.mapped_first, w.mapped_end - w.mapped_first);
    for (unsigned i = 0; i < w.count; i++)
        page_unref(w.gone[i]);
    return w.count;
}

static uint64_t scan(struct page_cache *c, uint64_t pages) {
    uint64_t got = 0, looked = 0, limit = MIN(READ_ONCE(c->pages.count) / 8 + 1, TURN_MAX);
    while (looked < limit && got < pages)
        got += scan_piece(c, &looked, limit);
    atomic_add(&cache_evicted, got);
    return got;
}

uint64_t page_cache_reclaim(uint64_t pages, bool wait) {
    uint64_t got = 0;
    uint32_t caches = 0;
    struct page_cache *c = next_cache(&caches);
    for (uint64_t turn = 0; c; turn++) {
        got += scan(c, pages - got);
        put_cache(c);
        if (got >= pages || turn >= (uint64_t)caches * ROUNDS)
            break;
        if (wait && turn % ((uint64_t)caches * 8) == (uint64_t)caches * 8 - 1 && READ_ONCE(cache_dirty)) {
            // A look at all pages was not enough.
            uint64_t started = cache_write_oldest(WRITE_RUN), before = READ_ONCE(cache_writing);
            if (started)
                (void)wait_event_until(&cache_progress, READ_ONCE(cache_writing) < before || !READ_ONCE(cache_writing),
                                       time_monotonic() + 100 * NSEC_PER_MSEC, false);
        }
        if (wait)
            sched_point();
        c = next_cache(NULL);
    }
    return got;
}

void page_cache_drop_clean(void) {
    uint32_t caches = 0;
    struct page_cache *c = next_cache(&caches);
    for (uint32_t i = 1; c; i++) {
        page_cache_invalidate(c, 0, ~0ul);
        put_cache(c);
        c = i < caches ? next_cache(NULL) : NULL;
    }
}
