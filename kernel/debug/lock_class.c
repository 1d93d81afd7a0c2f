// Classes of locks, found from a lock's address: a static lock is its variable (the names of data are in the table of symbols of
// a checked kernel), one in an object from a slab cache is the cache and the offset, one in memory from kmalloc the place of
// the allocation and the offset. Any other is the place where it was first used.
// Locks: `word`, a bare word, with interrupts off by all callers.
#include "kernel/debug/lock_class.h"
#include "kernel/ksyms.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"

#define MARK 0x10c40000u // in the upper half of a lock's `check` when the lower is its class

extern const char kernel_start[], kernel_end[];

enum { BY_VARIABLE, BY_CACHE, BY_ALLOCATION, BY_LARGE, BY_PLACE };

struct lock_class {
    uint64_t key;
    uint32_t offset;
    uint8_t by, kind;
    uint16_t subclass;               // lock_subclass()
    uint32_t irq_place, plain_place; // first uses in interrupt handlers, and with interrupts on
    uint32_t off_place, call_place;  // with interrupts off; held during a call of other CPUs
};

static struct lock_class classes[LOCK_CLASSES_MOST]; // the first is no class
static uint32_t class_count = 1;
static uint32_t word;

// The block above the slab's sizes that the page belongs to, up to 8 pages (whose descriptors lie together); NULL: to none.
static const struct page *large_head(const struct page *p) {
    for (unsigned order = 0; order <= 3; order++) {
        const struct page *head = page_array + ((size_t)(p - page_array) & ~((1UL << order) - 1));
        if (head->flags & PAGE_LARGE && head->order >= order)
            return head;
    }
    return NULL;
}

static struct lock_class describe(const void *lock, unsigned kind, uint32_t place) {
    struct lock_class c = {.kind = (uint8_t)kind};
    uintptr_t a = (uintptr_t)lock;
    if (a >= (uintptr_t)kernel_start && a < (uintptr_t)kernel_end) {
        uint64_t offset = 0;
        c.by = BY_VARIABLE;
        ksym_lookup(a, &offset);
        c.key = a - offset;
        c.offset = offset < 256 ? (uint32_t)offset : 0; // an array's elements are one class
        return c;
    }
    const struct page *p = a >= DIRECT_MAP_BASE && a < DIRECT_MAP_BASE + (1UL << 46) ? virt_to_page(lock) : NULL;
    if (p && p->flags & PAGE_TAIL)
        p = p->owner;
    if (p && p->flags & PAGE_SLAB) {
        const struct slab_cache *cache = p->slab;
        uint32_t slot = SLAB_SLOT(cache);
        c.offset = (uint32_t)((a - (uintptr_t)page_to_virt(p)) % slot);
        bool sized = strncmp(cache->name, "kmalloc", 7) == 0;
        c.by = sized ? BY_ALLOCATION : BY_CACHE;
        c.key = sized ? check_slab_place(cache, (const char *)lock - c.offset) : (uint64_t)cache;
        return c;
    }
    const struct page *large = p ? large_head(p) : NULL;
    if (large) {
        c.by = BY_LARGE;
        c.key = large->order;
        c.offset = (uint32_t)(a - (uintptr_t)page_to_virt(large));
        return c;
    }
    c.by = BY_PLACE;
    c.key = place;
    return c;
}

uint16_t lock_class_of(const void *lock, uint32_t *check, unsigned kind, uint32_t place) {
    uint32_t known = READ_ONCE(*check);
    if (likely((known & 0xffff0000) == MARK))
        return (uint16_t)known;
    uint16_t subclass = (known & 0xffff0000) == CHECK_SUBCLASS ? (uint16_t)known : 0;
    if (known && (known & 0xffff0000) != CHECK_SUBCLASS)
        check_failed("the lock at %p was not initialised, or is overwritten: its check word is %#x", lock, known);
    struct lock_class c = describe(lock, kind, place);
    c.subclass = subclass;
    while (__atomic_exchange_n(&word, 1, __ATOMIC_ACQUIRE))
        cpu_pause();
    uint32_t i = 1;
    while (i < class_count && !(classes[i].key == c.key && classes[i].offset == c.offset && classes[i].by == c.by &&
                                classes[i].subclass == subclass))
        i++;
    if (i == class_count && i < LOCK_CLASSES_MOST) {
        classes[i] = c;
        class_count++;
    }
    store_release(&word, 0);
    if (i == LOCK_CLASSES_MOST)
        check_failed("more than %u classes of locks", LOCK_CLASSES_MOST);
    WRITE_ONCE(*check, MARK | i);
    return (uint16_t)i;
}

bool lock_class_use(uint16_t class, uint32_t place, bool in_irq, bool enabled, uint32_t *irq, uint32_t *plain) {
    struct lock_class *c = &classes[class];
    if (in_irq && !c->irq_place)
        c->irq_place = place;
    else if (!in_irq && enabled && !c->plain_place)
        c->plain_place = place;
    *irq = c->irq_place;
    *plain = c->plain_place;
    return *irq && *plain;
}

bool lock_class_off(uint16_t class, uint32_t place, bool call, uint32_t *off_place, uint32_t *call_place) {
    struct lock_class *c = &classes[class];
    uint32_t *first = call ? &c->call_place : &c->off_place;
    if (!*first)
        *first = place;
    *off_place = c->off_place;
    *call_place = c->call_place;
    return *off_place && *call_place;
}

const char *lock_place_name(uint32_t place, char *buf, size_t size) {
    uint64_t offset = 0;
    const char *name = ksym_lookup(KERNEL_IMAGE_BASE | place, &offset);
    snprintf(buf, size, "%s+%#lx", name ? name : "?", offset);
    return buf;
}

const char *lock_class_name(uint16_t class, char *buf, size_t size) {
    const struct lock_class *c = &classes[class];
    const char *kind = c->kind == CHECK_SPIN ? "spinlock" : c->kind == CHECK_MUTEX ? "mutex" : "rwmutex";
    char place[60];
    switch (c->by) {
    case BY_VARIABLE: {
        const char *name = ksym_lookup(c->key, NULL);
        snprintf(buf, size, "%s %s+%u", kind, name ? name : "?", c->offset);
        break;
    }
    case BY_CACHE:
        snprintf(buf, size, "%s %s+%u", kind, ((const struct slab_cache *)c->key)->name, c->offset);
        if (c->subclass)
            snprintf(buf + strlen(buf), size - strlen(buf), " of kind %#x", c->subclass);
        break;
    case BY_ALLOCATION:
        snprintf(buf, size, "%s +%u of what %s allocates", kind, c->offset,
                 lock_place_name((uint32_t)c->key, place, sizeof(place)));
        break;
    case BY_LARGE: snprintf(buf, size, "%s +%u of a block of %lu pages", kind, c->offset, 1UL << c->key); break;
    default: snprintf(buf, size, "%s first used in %s", kind, lock_place_name((uint32_t)c->key, place, sizeof(place)));
    }
    return buf;
}
