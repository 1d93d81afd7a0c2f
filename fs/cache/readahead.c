// Reading ahead. There is no state: what is in the cache tells what a reader does. A missing page whose predecessor is there (or the
// first one) is read sequentially: a window is read behind it, twice as long as what is there already, and the window's first
// page is marked. Who uses a marked page starts the next window, which is on its way while this one is used. Readers of several places
// of one file do not disturb each other so. Any other missing page is a random access, and is read alone, as far as is asked for; a
// mapping's fault takes the neighbours.
// Locks: none held.
#include "fs/cache/internal.h"
#include "kernel/memory/reclaim.h"

#define FIRST_WINDOW 8 // pages
#define LAST_WINDOW 64
#define AROUND 16
#define READ_RUN 64     // pages of one ops->read call
#define REQUEST_MAX 256 // pages that one missing page brings at most

// Not more than a part of what is free or could be.
static uint64_t window_max(void) {
    uint64_t room = (page_free_count() + READ_ONCE(cache_pages)) / 32;
    return MAX(MIN(room, LAST_WINDOW), 4);
}

static bool is_there(struct page_cache *c, uint64_t index) {
    struct page *p = c->ops->provide ? c->ops->provide(c, index) : NULL;
    if (p) {
        page_unref(p);
        return true;
    }
    spin_lock(&c->host->spin);
    bool yes = pagetree_get(&c->pages, index) != NULL;
    spin_unlock(&c->host->spin);
    return yes;
}

// How many pages lie in the cache without a hole, from `index` on upwards or downwards.
static uint64_t count_there(struct page_cache *c, uint64_t index, bool down, uint64_t max) {
    uint64_t n = 0;
    spin_lock(&c->host->spin);
    while (n < max && pagetree_get(&c->pages, down ? index - n : index + n)) {
        n++;
        if (down && n > index)
            break;
    }
    spin_unlock(&c->host->spin);
    return n;
}

static void submit(struct page_cache *c, uint64_t first, struct page **run, unsigned count) {
    if (!count)
        return;
    atomic_add(&c->reading, count);
    c->ops->read(c, first, run, count);
}

void cache_read_again(struct page_cache *c, struct page *p) {
    page_ref(p);
    atomic_and(&p->private, ~(uint64_t)CACHE_FAILED);
    submit(c, p->index, &p, 1);
}

int cache_read_range(struct page_cache *c, uint64_t index, uint64_t count, uint64_t mark) {
    struct page *run[READ_RUN], *spare = NULL;
    unsigned length = 0;
    int err = 0;
    reclaim_expect(count);
    for (uint64_t i = index; i < index + count; i++) {
        bool there = is_there(c, i);
        if (!there && !spare && !(spare = i == index ? cache_page_alloc() : page_alloc(0, 0))) {
            err = -ENOMEM;
        } else if (!there) {
            err = cache_insert(c, i, spare, CACHE_LOCKED | (i == mark ? CACHE_READAHEAD : 0), true);
            there = err == -EEXIST;
        }
        if (!there && !err) {
            run[length++] = spare;
            spare = NULL;
        } else {
            submit(c, i - length, run, length);
            length = 0;
            if (!there)
                break;
            err = 0;
        }
        if (length == READ_RUN) {
            submit(c, i + 1 - length, run, length);
            length = 0;
        }
        if (i != index)
            atomic_add(&cache_read_ahead, 1);
    }
    if (!err)
        submit(c, index + count - length, run, length);
    if (spare)
        page_unref(spare);
    return err < 0 && !is_there(c, index) ? err : 0;
}

int cache_read_missing(struct page_cache *c, uint64_t index, uint64_t pages, unsigned how) {
    uint64_t size = page_count_of(READ_ONCE(c->host->size)), mark = ~0ul, count = MIN(pages, REQUEST_MAX);
    if (index >= size)
        return -EFAULT;
    if (how & READ_RANDOM) {
        // as it is
    } else if (index == 0 || is_there(c, index - 1) || (how & READ_SEQUENTIAL)) {
        uint64_t max = window_max(), before = index ? count_there(c, index - 1, true, max) : 0;
        mark = index + count;
        count += how & READ_SEQUENTIAL ? max : MIN(MAX(MAX(2 * before, count), FIRST_WINDOW), max);
    } else if (how & READ_AROUND) {
        uint64_t first = ALIGN_DOWN(index, AROUND);
        // The wanted page first: it is the one that must be had.
        int err = cache_read_range(c, index, MIN(first + AROUND, size) - index, ~0ul);
        if (err == 0 && first < index)
            (void)cache_read_range(c, first, index - first, ~0ul);
        return err;
    }
    return cache_read_range(c, index, MIN(count, size - index), mark);
}

void cache_read_more(struct page_cache *c, struct page *p) {
    if (!(atomic_and(&p->private, ~(uint64_t)CACHE_READAHEAD) & CACHE_READAHEAD))
        return;
    uint64_t size = page_count_of(READ_ONCE(c->host->size)), max = window_max();
    uint64_t ahead = count_there(c, p->index, false, 2 * max), next = p->index + ahead;
    if (next >= size || ahead >= 2 * max)
        return;
    (void)cache_read_range(c, next, MIN(MIN(MAX(2 * ahead, FIRST_WINDOW), max), size - next), next);
}
