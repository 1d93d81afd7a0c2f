// Small objects: a slab is a block of pages cut into objects of one cache. The free objects of a slab are a list
// through the objects themselves; its page descriptor holds the list's head and the count. Slabs with free objects
// are on their cache's `partial` list, linked by frame numbers in page.private; full slabs are on no list. The
// objects of a new slab are not put into a list one by one: slab_cache.fresh moves over them as they are wanted. A
// new slab is made only when all others are full, so that at most one of a cache is not used up.
//
// Locks: slab_cache.lock (interrupt-safe) > the page allocator's. `caches_lock` for the list of caches.
#include "kernel/memory/slab.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"

#define MIN_ALIGN 16
#define KEEP_EMPTY 1 // empty slabs that a cache keeps

static struct spinlock caches_lock;
static struct slab_cache *all_caches;

// ---- the list of partial slabs: two frame numbers in page.private
// -----------------------------------------------------

static uint32_t frame_of(const struct page *p) { return p - page_array; }

static uint32_t next_of(const struct page *p) { return p->private; }

static void set_links(struct page *p, uint32_t prev, uint32_t next) { p->private = (uint64_t)prev << 32 | next; }

static void partial_push(struct slab_cache *c, struct page *p) {
    set_links(p, 0, c->partial);
    if (c->partial) {
        struct page *old = &page_array[c->partial];
        set_links(old, frame_of(p), next_of(old));
    }
    c->partial = frame_of(p);
}

static void partial_remove(struct slab_cache *c, struct page *p) {
    uint32_t prev = p->private >> 32, next = next_of(p);
    if (prev)
        set_links(&page_array[prev], page_array[prev].private >> 32, next);
    else
        c->partial = next;
    if (next)
        set_links(&page_array[next], prev, next_of(&page_array[next]));
}

// ---- slabs
// ------------------------------------------------------------------------------------------------------------

// Fixes the layout; called with c->lock held at the first use.
static void cache_setup(struct slab_cache *c) {
    c->align = MAX(c->align, 8);
    c->size = ALIGN_UP(MAX(c->size, 8), c->align);
    // Four objects or more a slab, as far as a block of 32 KiB allows.
    while (c->order < 3 && (PAGE_SIZE << c->order) / SLAB_SLOT(c) < 4)
        c->order++;
    c->per_slab = (PAGE_SIZE << c->order) / SLAB_SLOT(c);
    ASSERT(c->per_slab > 0);
    spin_lock(&caches_lock);
    c->next = all_caches;
    store_release(&all_caches, c);
    spin_unlock(&caches_lock);
}

static bool slab_add(struct slab_cache *c) {
    struct page *p = page_alloc(c->order, 0);
    if (!p)
        return false;
    p->flags = PAGE_SLAB;
    p->slab = c;
    p->in_use = 0;
    for (unsigned i = 1; i < 1U << c->order; i++) {
        p[i].flags = PAGE_TAIL;
        p[i].owner = p;
    }
    p->free_objects = NULL;
    c->fresh = page_to_virt(p);
    partial_push(c, p);
    c->empty++;
    page_count(PAGE_SLAB, 1L << c->order);
    return true;
}

static void slab_drop(struct slab_cache *c, struct page *p) {
    partial_remove(c, p);
    c->empty--;
    if (c->fresh && (uintptr_t)c->fresh - (uintptr_t)page_to_virt(p) <= PAGE_SIZE << c->order)
        c->fresh = NULL;
    for (unsigned i = 1; i < 1U << c->order; i++)
        p[i].flags = 0;
    p->flags = 0;
    p->private = 0;
    page_count(PAGE_SLAB, -(1L << c->order));
    page_unref(p);
}

void *slab_alloc(struct slab_cache *c) {
    uint64_t irq = spin_lock_irqsave(&c->lock);
    void **object = NULL;
    if (unlikely(!c->partial)) {
        if (!c->per_slab)
            cache_setup(c);
        if (!slab_add(c))
            goto out;
    }
    struct page *p = &page_array[c->partial];
    object = p->free_objects;
    if (object) {
        p->free_objects = *object;
    } else { // then it is the new one
        object = (void **)c->fresh;
        c->fresh += SLAB_SLOT(c);
    }
    if (p->in_use++ == 0)
        c->empty--;
    if (p->in_use == c->per_slab)
        partial_remove(c, p);
    c->objects++;
out:
    spin_unlock_irqrestore(&c->lock, irq);
    CHECKED(if (object) check_slab_allocated(c, object, CHECK_PLACE);)
    return object;
}

void *slab_zalloc(struct slab_cache *c) {
    void *object = slab_alloc(c);
    if (object)
        memset(object, 0, c->size);
    return object;
}

static struct page *slab_page(const void *object) {
    struct page *p = virt_to_page(object);
    return p->flags & PAGE_TAIL ? p->owner : p;
}

void slab_free(struct slab_cache *c, void *object) {
    if (!object)
        return;
    struct page *p = slab_page(object);
    if (unlikely(!(p->flags & PAGE_SLAB) || p->slab != c || !p->in_use))
        panic("slab %s: %p is not an object of it", c->name, object);
    CHECKED(if (!(object = check_slab_freed(c, object, CHECK_PLACE))) return; p = slab_page(object);)
    uint64_t irq = spin_lock_irqsave(&c->lock);
    *(void **)object = p->free_objects;
    p->free_objects = object;
    if (p->in_use == c->per_slab)
        partial_push(c, p);
    c->objects--;
    if (--p->in_use == 0) {
        c->empty++;
        if (c->empty > KEEP_EMPTY)
            slab_drop(c, p);
    }
    spin_unlock_irqrestore(&c->lock, irq);
}

void slab_each(void (*fn)(void *ctx, const struct slab_cache *c), void *ctx) {
    for (struct slab_cache *c = load_acquire(&all_caches); c; c = c->next)
        fn(ctx, c);
}

// ---- kmalloc
// ----------------------------------------------------------------------------------------------------------

static struct slab_cache sizes[] = {
    SLAB_CACHE("kmalloc-16", 16, 16),     SLAB_CACHE("kmalloc-32", 32, 16),   SLAB_CACHE("kmalloc-48", 48, 16),
    SLAB_CACHE("kmalloc-64", 64, 16),     SLAB_CACHE("kmalloc-96", 96, 16),   SLAB_CACHE("kmalloc-128", 128, 16),
    SLAB_CACHE("kmalloc-192", 192, 16),   SLAB_CACHE("kmalloc-256", 256, 16), SLAB_CACHE("kmalloc-384", 384, 16),
    SLAB_CACHE("kmalloc-512", 512, 16),   SLAB_CACHE("kmalloc-768", 768, 16), SLAB_CACHE("kmalloc-1024", 1024, 16),
    SLAB_CACHE("kmalloc-2048", 2048, 16),
};
#define LARGEST 2048

static struct slab_cache *size_cache(size_t size) {
    // 16 and 32, then steps of 1 and 1.5 times a power of two.
    if (size <= 32)
        return &sizes[size > 16];
    unsigned log = 63 - __builtin_clzll(size - 1); // 2^log < size <= 2^(log+1), log >= 5
    unsigned half = size <= (3UL << (log - 1));
    unsigned i = 2 * (log - 5) + 2 + !half;
    return log >= 10 ? &sizes[ARRAY_SIZE(sizes) - 1] : &sizes[i];
}

void *kmalloc(size_t size) {
    if (likely(size <= LARGEST)) {
        void *object = slab_alloc(size_cache(size));
        CHECKED(if (object) check_kmalloc(size_cache(size), object, size, CHECK_PLACE);)
        return object;
    }
    unsigned order = 0;
    while (order <= MAX_ORDER && (PAGE_SIZE << order) < size)
        order++;
    struct page *p = order <= MAX_ORDER ? page_alloc(order, 0) : NULL;
    if (!p)
        return NULL;
    p->flags = PAGE_LARGE;
    page_count(PAGE_SLAB, 1L << order);
    return page_to_virt(p);
}

void *kzalloc(size_t size) {
    void *p = kmalloc(size);
    CHECKED(if (p && size <= LARGEST) check_kmalloc(size_cache(size), p, size, CHECK_PLACE);)
    if (p)
        memset(p, 0, size);
    return p;
}

static size_t usable_size(const void *object) {
    struct page *p = slab_page(object);
    return p->flags & PAGE_SLAB ? p->slab->size : PAGE_SIZE << p->order;
}

void *krealloc(void *old, size_t size) {
    if (!old)
        return kmalloc(size);
    size_t have = usable_size(old);
    if (size <= have && size * 4 > have) {
        CHECKED(check_kmalloc(slab_page(old)->flags & PAGE_SLAB ? slab_page(old)->slab : NULL, old, size, 0);)
        return old;
    }
    void *p = kmalloc(size);
    if (!p)
        return size <= have ? old : NULL;
    memcpy(p, old, MIN(size, have));
    kfree(old);
    return p;
}

void kfree(void *object) {
    if (!object)
        return;
    struct page *p = slab_page(object);
    if (p->flags & PAGE_SLAB) {
        slab_free(p->slab, object);
        return;
    }
    if (unlikely(!(p->flags & PAGE_LARGE)))
        panic("kfree: %p was not allocated", object);
    p->flags = 0;
    page_count(PAGE_SLAB, -(1L << p->order));
    page_unref(p);
}
