// Memory that was freed keeps a pattern until it is handed out again: a changed byte is a use after free, and the report says
// where the memory was freed. Objects of slab caches are followed by a trailer, which is their red zone and remembers where they
// were allocated and freed; the bytes that kmalloc gives beyond what was asked for are a red zone as well. The objects that a
// cache's users freed last are not used again at once.
//
// A freed page says so itself in its first and last words; their loss on one side is damage, too.
// No locks: what is freed or just allocated is nobody else's; the quarantine is exchanged word by word.
#include "kernel/debug/lock_class.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

#define PAGE_POISON 0x5a5a5a5a5a5a5a5aUL
#define PAGE_FREED 0xf4eed9a6e0000000UL // xor the physical address
#define FRESH_BYTE 0xa5                 // of memory that nobody has written yet
#define FREED_BYTE 0x6b
#define RED_BYTE 0xbb
#define OBJECT_USED 0x0b1ec7005edUL // xor the address
#define OBJECT_FREE 0x0b1ec7f4eeUL

static const char *place_name(uint32_t place) {
    static char text[80];
    return lock_place_name(place, text, sizeof(text));
}

static void dump(const void *at) {
    const uint64_t *w = (const uint64_t *)ALIGN_DOWN((uintptr_t)at, 32);
    if (!check_begin_report())
        return;
    for (unsigned i = 0; i < 2; i++)
        log_err("  %p: %016lx %016lx %016lx %016lx", (const void *)(w + 4 * i), w[4 * i], w[4 * i + 1], w[4 * i + 2],
                w[4 * i + 3]);
}

// ---- pages

struct freed_page {
    uint64_t mark, place, poison[PAGE_SIZE / 8 - 3], end_mark;
};

void check_page_freed(struct page *p, uintptr_t place) {
    struct freed_page *f = page_to_virt(p);
    check_memory_goes(f, PAGE_SIZE << p->order, "a page");
    for (uint64_t i = 0; i < 1UL << p->order; i++, f++) {
        uint64_t mark = PAGE_FREED ^ page_to_phys(p + i);
        for (unsigned j = 0; j < ARRAY_SIZE(f->poison); j++)
            f->poison[j] = PAGE_POISON;
        f->mark = f->end_mark = mark;
        f->place = place;
    }
}

static void check_freed_page(struct freed_page *f, uint64_t mark) {
    if (f->mark != mark && f->end_mark != mark)
        return; // was never freed
    const uint64_t *bad = f->mark != mark ? &f->mark : f->end_mark != mark ? &f->end_mark : NULL;
    for (unsigned j = 0; !bad && j < ARRAY_SIZE(f->poison); j++)
        if (unlikely(f->poison[j] != PAGE_POISON))
            bad = &f->poison[j];
    if (unlikely(bad)) {
        dump(bad);
        check_failed("a free page was written to at %p; it was freed by %s", (const void *)bad,
                     place_name((uint32_t)f->place));
    }
    f->mark = f->end_mark = PAGE_POISON;
}

void check_page_allocated(struct page *p, unsigned order) {
    struct freed_page *f = page_to_virt(p);
    for (uint64_t i = 0; i < 1UL << order; i++)
        check_freed_page(f + i, PAGE_FREED ^ page_to_phys(p + i));
}

// ---- objects

struct trailer {
    uint64_t state;
    uint32_t alloc_place, free_place;
    uint64_t asked; // bytes, of kmalloc; otherwise the object's size
    uint64_t red;
};

uint32_t check_slab_extra(uint32_t size) { return ALIGN_UP(size, 8) - size + (uint32_t)sizeof(struct trailer); }

static struct trailer *trailer_of(const struct slab_cache *c, const void *object) {
    return (struct trailer *)((uintptr_t)object + ALIGN_UP(c->size, 8));
}

uint32_t check_slab_place(const struct slab_cache *c, const void *object) { return trailer_of(c, object)->alloc_place; }

static void object_failed(const struct slab_cache *c, const char *object, const struct trailer *t, const void *at,
                          const char *what) {
    char a[80], b[80];
    dump(at);
    check_failed("%s: object %s %p, byte %ld of %lu; allocated by %s, freed by %s", what, c->name, object,
                 (long)((const char *)at - object), t->asked, lock_place_name(t->alloc_place, a, sizeof(a)),
                 lock_place_name(t->free_place, b, sizeof(b)));
}

static void check_bytes(const struct slab_cache *c, const char *object, const struct trailer *t, size_t from, size_t to,
                        uint8_t byte, const char *what) {
    for (size_t i = from; i < to; i++)
        if (unlikely((uint8_t)object[i] != byte))
            object_failed(c, object, t, object + i, what);
}

// The first word links free objects; slab.c's.
static void check_freed_object(const struct slab_cache *c, const char *object, const struct trailer *t) {
    check_bytes(c, object, t, 8, c->size, FREED_BYTE, "use after free");
    if (unlikely(t->red != (uint64_t)t))
        object_failed(c, object, t, &t->red, "use after free");
}

void check_slab_allocated(struct slab_cache *c, void *object, uintptr_t place) {
    struct trailer *t = trailer_of(c, object);
    if (t->state == (OBJECT_FREE ^ (uint64_t)object))
        check_freed_object(c, object, t);
    *t = (struct trailer){OBJECT_USED ^ (uint64_t)object, (uint32_t)place, 0, c->size, (uint64_t)t};
    memset(object, FRESH_BYTE, c->size);
}

void check_kmalloc(struct slab_cache *c, void *object, size_t size, uintptr_t place) {
    if (!c)
        return;
    struct trailer *t = trailer_of(c, object);
    t->asked = size;
    if (place)
        t->alloc_place = (uint32_t)place;
    memset((char *)object + size, RED_BYTE, c->size - size);
}

void *check_slab_freed(struct slab_cache *c, void *object, uintptr_t place) {
    struct trailer *t = trailer_of(c, object);
    if (place - (uintptr_t)kfree < 512) { // who called that is the place: frames of slab_free and of kfree
        uint64_t **frame = __builtin_frame_address(0);
        place = frame[0][0] ? ((uint64_t *)frame[0][0])[1] : place;
    }
    uintptr_t first = (uintptr_t)page_to_virt(virt_to_page(object)->flags & PAGE_TAIL ? virt_to_page(object)->owner
                                                                                      : virt_to_page(object));
    if (((uintptr_t)object - first) % SLAB_SLOT(c))
        check_failed("%s frees %p, which is not the start of an object %s", place_name((uint32_t)place), object,
                     c->name);
    if (t->state == (OBJECT_FREE ^ (uint64_t)object))
        object_failed(c, object, t, object, "freed twice");
    if (t->state != (OBJECT_USED ^ (uint64_t)object) || t->red != (uint64_t)t)
        object_failed(c, object, t, &t->state, "overrun, the trailer is damaged");
    check_bytes(c, object, t, t->asked, c->size, RED_BYTE, "overrun");
    check_memory_goes(object, c->size, c->name);
    t->state = OBJECT_FREE ^ (uint64_t)object;
    t->free_place = (uint32_t)place;
    memset(object, FREED_BYTE, c->size);
    char *other = atomic_xchg(&c->check.quarantine[atomic_add(&c->check.next, 1) % CHECK_QUARANTINE], object);
    if (other) {
        t = trailer_of(c, other);
        check_bytes(c, other, t, 0, 8, FREED_BYTE, "use after free");
        check_freed_object(c, other, t);
    }
    return other;
}
