// Taking pages out of the cache, or their contents: a file that shrank, a hole, a source that changed. What grows again has zeroes where
// the file's end was: behind it, in its last page, may lie what mappings stored and what the medium has.
// Locks: inode.lock held by the caller where pagecache.h says so; inode.spin for a piece of the tree at a time.
#include "fs/cache/internal.h"
#include "kernel/string.h"

// Takes one page of [*index, end) out that is not dirty (or any, with `all`), after what is on its way. False: there is none.
static bool drop_next(struct page_cache *c, uint64_t *index, uint64_t end, bool all, uint64_t *dropped) {
    struct page *batch[16], *p;
    unsigned count = 0, looked = 0;
    bool more = false;
    spin_lock(&c->host->spin);
    while ((p = pagetree_next(&c->pages, index)) && *index < end) {
        if (count == ARRAY_SIZE(batch) || looked++ == 256) {
            more = true;
            break;
        }
        if (all || !(page_bits(p) & (CACHE_DIRTY | CACHE_WRITEBACK))) {
            cache_remove_locked(c, p);
            batch[count++] = p;
        }
        ++*index;
    }
    spin_unlock(&c->host->spin);
    for (unsigned i = 0; i < count; i++) {
        p = batch[i];
        if (all)
            cache_wait_bits(p, CACHE_WRITEBACK); // its place on the medium may soon be another's
        else
            backing_unshow(&c->backing, p->index, 1);
        page_unref(p);
    }
    *dropped += count;
    return more;
}

void page_cache_drop(struct page_cache *c, uint64_t index, uint64_t count) {
    uint64_t end = count > ~0ul - index ? ~0ul : index + count, at = index, dropped = 0;
    while (drop_next(c, &at, end, true, &dropped))
        sched_point();
    backing_unmap(&c->backing, index, end - index);
}

uint64_t page_cache_invalidate(struct page_cache *c, uint64_t index, uint64_t count) {
    uint64_t end = count > ~0ul - index ? ~0ul : index + count, dropped = 0;
    while (drop_next(c, &index, end, false, &dropped))
        sched_point();
    return dropped;
}

int page_cache_zero_tail(struct page_cache *c, uint64_t size, uint64_t to) {
    unsigned from = size & ~PAGE_MASK;
    if (!from || to <= size || (c->ops->zero_tails && !c->tail_stored))
        return 0;
    struct page *p = page_cache_get(c, size >> PAGE_SHIFT);
    if (IS_ERR(p))
        return PTR_ERR(p);
    // Whatever is shown there (stores through a mapping), and whatever the medium has there.
    memset((char *)page_to_virt(p) + from, 0, MIN(PAGE_SIZE - from, to - size));
    page_cache_dirty(c, p);
    page_unref(p);
    return 0;
}

void page_cache_zero(struct page_cache *c, uint64_t from, uint64_t to) {
    while (from < to) {
        size_t n = MIN(PAGE_SIZE - (from & ~PAGE_MASK), to - from);
        struct page *p = cache_find(c, from >> PAGE_SHIFT);
        if (p) {
            cache_wait_bits(p, CACHE_LOCKED);
            if (page_bits(p) & CACHE_VALID) {
                memset((char *)page_to_virt(p) + (from & ~PAGE_MASK), 0, n);
                page_cache_dirty(c, p);
            }
            page_unref(p);
        }
        from += n;
        sched_point();
    }
}

void page_cache_truncated(struct page_cache *c, uint64_t old_size) {
    uint64_t size = c->host->size;
    if (size > old_size) {
        (void)page_cache_zero_tail(c, old_size, size);
        return;
    }
    if (size == old_size)
        return;
    page_cache_drop(c, page_count_of(size), ~0ul);
    struct page *p = size & ~PAGE_MASK ? cache_find(c, size >> PAGE_SHIFT) : NULL;
    if (p) {
        // On the medium the rest may stay as it is: whoever makes the file longer makes it zero.
        cache_wait_bits(p, CACHE_LOCKED);
        memset((char *)page_to_virt(p) + (size & ~PAGE_MASK), 0, PAGE_SIZE - (size & ~PAGE_MASK));
        page_unref(p);
    }
    cache_settle(c);
}
