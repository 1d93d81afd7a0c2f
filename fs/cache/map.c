// Mappings of files with a page cache: they show its pages. A page that a store may change is dirty from the fault on; before it is written
// it is taken out of all mappings (writeback.c), so the next store faults again.
// Locks: called with aspace.lock held for reading, so nothing here, nor in the file system's functions, may want it; no inode.lock either.
#include "fs/cache/internal.h"

#define PREFETCH_MAX 2048 // pages of one madvise(2)

// The page for a store through a mapping. It is valid before, so that a new place's old contents are never looked at; and
// dirty afterwards, as the store tells nobody.
static struct page *get_for_store(struct page_cache *c, uint64_t index, unsigned to, bool *slept) {
    if (!c->ops->write)
        return ERR_PTR(-EROFS);
    for (;;) {
        bool whole;
        struct page *p = cache_get(c, index, 1, READ_AROUND | READ_KILLABLE, slept);
        if (IS_ERR(p))
            return p;
        int err = cache_prepare(c, index, 0, to, true, &whole);
        if (to < PAGE_SIZE)
            c->tail_stored = true;
        if (err == 0 && cache_mark_dirty(c, p))
            return p;
        page_unref(p);
        if (err < 0)
            return ERR_PTR(err);
    }
}

static struct page_cache *backing_cache(struct backing *b) { return container_of(b, struct page_cache, backing); }

static struct page *backing_get_page(struct backing *b, uint64_t index, bool write) {
    struct page_cache *c = backing_cache(b);
    uint64_t size = READ_ONCE(c->host->size);
    bool slept = false;
    struct page *p;
    if (index >= page_count_of(size))
        return ERR_PTR(-EFAULT);
    if (write) {
        uint64_t rest = size - (index << PAGE_SHIFT);
        page_cache_balance(
            NULL); // not afterwards, nor this file first: it would write this page, and the fault would begin again
        p = get_for_store(c, index, MIN(rest, PAGE_SIZE), &slept);
        if (!IS_ERR(p)) {
            inode_touch_change(c->host);
            if (c->ops->changed)
                c->ops->changed(c, true);
        }
    } else {
        p = cache_get(c, index, 1, READ_AROUND | READ_KILLABLE, &slept);
    }
    if (slept)
        thread_current()->page_waits++;
    return p;
}

// Leaves out the page with the mark: the fault on it reads on.
static void backing_peek(struct backing *b, uint64_t first, unsigned count, struct page **pages) {
    struct page_cache *c = backing_cache(b);
    uint64_t size = page_count_of(READ_ONCE(c->host->size));
    if (c->ops->provide) {
        for (unsigned i = 0; i < count; i++)
            pages[i] = first + i < size ? page_cache_peek(c, first + i) : NULL;
        return;
    }
    spin_lock(&c->host->spin);
    for (unsigned i = 0; i < count; i++) {
        struct page *p = first + i < size ? pagetree_get(&c->pages, first + i) : NULL;
        if (p && (page_bits(p) & (CACHE_VALID | CACHE_READAHEAD)) != CACHE_VALID)
            p = NULL;
        if (p)
            page_ref(p);
        pages[i] = p;
    }
    spin_unlock(&c->host->spin);
}

static void backing_ref(struct backing *b) { inode_pin(backing_cache(b)->host); }

static void backing_unref(struct backing *b) { inode_unpin(backing_cache(b)->host); }

static void backing_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    inode_describe(backing_cache(b)->host, name, size, dev, ino);
}

static int backing_sync(struct backing *b, uint64_t index, uint64_t count) {
    return page_cache_sync(backing_cache(b), index, count);
}

static void backing_prefetch(struct backing *b, uint64_t first, uint64_t count) {
    page_cache_prefetch(backing_cache(b), first, MIN(count, PREFETCH_MAX));
}

const struct backing_ops cache_backing_ops = {
    .prefetch = backing_prefetch,
    .get_page = backing_get_page,
    .ref = backing_ref,
    .unref = backing_unref,
    .describe = backing_describe,
    .sync = backing_sync,
    .peek_pages = backing_peek,
};
