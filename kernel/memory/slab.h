// Small objects: one cache a type, and kmalloc for what has no type of its own. Never sleep; NULL when there is no memory.
#ifndef KERNEL_SLAB_H
#define KERNEL_SLAB_H

#include "kernel/list.h"
#include "kernel/threads/lock.h"
#include "kernel/types.h"

struct slab_cache {
    const char *name;
    uint32_t size, align; // of an object, in bytes
    // The rest is slab.c's. Initialised by its first use, so that a cache is a static variable and costs nothing unused.
    uint32_t per_slab;
    uint8_t order;
    struct spinlock lock; // interrupt-safe
    uint32_t partial;     // frame number of the first slab with free objects; 0: none
    uint32_t empty;       // slabs of that list without any object handed out
    char *fresh;          // in the newest slab: the first object that was never handed out; NULL: none
    uint64_t objects;     // handed out
    struct slab_cache *next; // all caches in use, for slab_each
    CHECKED(struct check_cache check;)
};
#ifdef KNARR_CHECKED
#define SLAB_SLOT(c) ALIGN_UP((c)->size + check_slab_extra((c)->size), (c)->align)
#else
#define SLAB_SLOT(c) ((c)->size) // from one object to the next
#endif
// static struct slab_cache thread_cache = SLAB_CACHE("thread", sizeof(struct thread), 64);
#define SLAB_CACHE(nm, sz, al) {.name = (nm), .size = (sz), .align = (al)}

void *slab_alloc(struct slab_cache *c);  // contents undefined
void *slab_zalloc(struct slab_cache *c); // zeroed
void slab_free(struct slab_cache *c, void *object); // NULL is allowed

void *kmalloc(size_t size); // aligned to 16; above a page, page-aligned. Up to 4 MiB
void *kzalloc(size_t size);
void *krealloc(void *p, size_t size);
void kfree(void *p); // NULL is allowed

// Calls fn for every cache that was ever used: for the out-of-memory report and /proc/slabinfo.
void slab_each(void (*fn)(void *ctx, const struct slab_cache *c), void *ctx);

#endif
