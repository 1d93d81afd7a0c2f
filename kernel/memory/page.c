// Physical pages: a buddy allocator over all RAM, with a small cache of single pages for each CPU in front.
//
// RAM is opened in chunks of 4 MiB, the largest block, when the free lists run dry: only then are the chunk's page
// descriptors written and the chunk is shown in the direct map. A chunk that is free as a whole is opened by writing
// one descriptor. That is sound because of the allocator's invariant: a descriptor is read only where it heads a
// block (free or allocated), or is the buddy of such a block at the same order, and then the split that made the two
// has written it.
//
// Locks: `lock` (interrupt-safe) protects lists, chunks and the pool; a CPU's cache is its own, with interrupts off.
#include "kernel/memory/page.h"
#include "kernel/memory/ranges.h"
#include "kernel/memory/reclaim.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/pageops.h"
#include "kernel/x86/pagetable.h"

#define CHUNK_SHIFT (PAGE_SHIFT + MAX_ORDER)
#define CHUNK_SIZE (1UL << CHUNK_SHIFT)
#define CHUNK_PAGES (1UL << MAX_ORDER)
#define RAM_LIMIT (512UL << 30) // what the direct map's slot of the top-level table shows
#define POOL_SIZE 8             // opening a chunk needs up to 3 tables for it and 3 for its descriptors

struct cpu_pages {
    struct page *head; // linked through `link.next`
    uint32_t count, clean_count;
    int32_t counters[8]; // by bit number of PAGE_*
    struct page *clean;  // pages of zeroes, linked the same way
};

struct page *page_array;

static struct spinlock lock;
static struct list free_lists[MAX_ORDER + 1];
static struct cpu_pages caches[MAX_CPUS];
static struct range_list ram, reserved, unused; // all RAM; taken at boot; RAM that nobody had at boot. Sorted, disjoint
static uint8_t *chunk_opened;                   // bitmap
static uint64_t chunk_count, next_chunk;
static phys_t descriptors_end;           // of the place that holds the bitmap and page_array
static uint64_t free_pages, total_pages; // free: in lists and not yet opened
static uint64_t keep_pages;              // only for PA_RESERVE
static unsigned clean_limit; // of page_cache.clean
static unsigned cache_order;             // a cache is filled by blocks of this order; it keeps four of them at most
static struct page *pool[POOL_SIZE];
static unsigned pool_count;

bool ram_contains(phys_t start, phys_t end) { return ranges_contain(&ram, start, end); }

// ---- the buddy allocator; `lock` held
// ---------------------------------------------------------------------------------

static void list_insert_free(struct page *p, unsigned order) {
    p->refs = 0;
    p->order = order;
    p->flags = PAGE_FREE;
    list_push_front(&free_lists[order], &p->link);
}

// Puts a block into the lists, joined with its buddies as far as they are free.
static void buddy_insert(struct page *p, unsigned order) {
    uint64_t pfn = p - page_array;
    while (order < MAX_ORDER) {
        struct page *buddy = &page_array[pfn ^ (1UL << order)];
        if (!(buddy->flags & PAGE_FREE) || buddy->order != order)
            break;
        list_remove(&buddy->link);
        buddy->flags = 0;
        page_array[pfn].flags = 0;
        pfn &= ~(1UL << order);
        order++;
    }
    list_insert_free(&page_array[pfn], order);
}

static void insert_range(phys_t start, phys_t end) {
    uint64_t pfn = start >> PAGE_SHIFT, stop = end >> PAGE_SHIFT;
    while (pfn < stop) {
        unsigned order = pfn ? (unsigned)__builtin_ctzll(pfn) : MAX_ORDER;
        if (order > MAX_ORDER)
            order = MAX_ORDER;
        while (pfn + (1UL << order) > stop)
            order--;
        buddy_insert(&page_array[pfn], order);
        pfn += 1UL << order;
    }
}

static void reserve_descriptors(uint64_t pfn, uint64_t stop) {
    for (struct page *p = &page_array[pfn], *last = &page_array[stop]; p < last; p++) {
        p->refs = 1;
        p->flags = PAGE_RESERVED;
    }
}

static bool chunk_is_open(uint64_t chunk) { return load_acquire(&chunk_opened[chunk / 8]) & (1u << (chunk % 8)); }

// A block from the lists with refs 1, or NULL. free_pages is the caller's.
static struct page *list_take(unsigned order) {
    unsigned o = order;
    while (list_empty(&free_lists[o]))
        if (++o > MAX_ORDER)
            return NULL;
    struct page *p = list_first(&free_lists[o], struct page, link);
    list_remove(&p->link);
    while (o > order) {
        o--;
        list_insert_free(p + (1UL << o), o);
    }
    p->refs = 1;
    p->order = order;
    p->flags = 0;
    p->in_use = 0;
    p->private = 0;
    return p;
}

static void pool_fill(void) {
    while (pool_count < POOL_SIZE) {
        struct page *p = list_take(0);
        if (!p)
            return;
        free_pages--;
        pool[pool_count++] = p;
        page_count(PAGE_TABLE, 1);
    }
}

// Writes the chunk's descriptors, shows it in the direct map and puts what is unused of it into the lists.
static bool chunk_fill(uint64_t chunk) {
    phys_t start = chunk << CHUNK_SHIFT, end = start + CHUNK_SIZE;
    struct page *first = &page_array[start >> PAGE_SHIFT];
    phys_t array_start = virt_to_phys(first), array_end = array_start + CHUNK_PAGES * sizeof(struct page);

    if (!direct_map(ALIGN_DOWN(array_start, PAGE_SIZE), ALIGN_UP(array_end, PAGE_SIZE)))
        return false;
    for (unsigned i = 0; i < ram.count; i++) {
        phys_t s = MAX(start, ram.r[i].start), e = MIN(end, ram.r[i].end);
        if (s < e && !direct_map(s, e))
            return false;
    }
    if (ranges_contain(&unused, start, end)) {
        list_insert_free(first, MAX_ORDER);
        pool_fill();
        return true;
    }
    pages_zero(first, CHUNK_PAGES * sizeof(struct page));
    phys_t at = start;
    for (unsigned i = 0; i < unused.count; i++) {
        phys_t s = MAX(start, unused.r[i].start), e = MIN(end, unused.r[i].end);
        if (s >= e)
            continue;
        reserve_descriptors(at >> PAGE_SHIFT, s >> PAGE_SHIFT);
        insert_range(s, e);
        at = e;
    }
    reserve_descriptors(at >> PAGE_SHIFT, end >> PAGE_SHIFT);
    pool_fill(); // before anybody takes the pages
    return true;
}

static bool chunk_open(uint64_t chunk) {
    if (!chunk_fill(chunk))
        return false;
    uint8_t *byte = &chunk_opened[chunk / 8];
    store_release(byte, (uint8_t)(*byte | 1u << (chunk % 8)));
    return true;
}

static bool chunk_open_next(void) {
    while (next_chunk < chunk_count) {
        phys_t start = next_chunk << CHUNK_SHIFT;
        uint64_t chunk = next_chunk++;
        if (chunk_is_open(chunk))
            continue;
        for (unsigned i = 0; i < unused.count; i++)
            if (unused.r[i].start < start + CHUNK_SIZE && unused.r[i].end > start) {
                if (chunk_open(chunk))
                    return true;
                break;
            }
    }
    return false;
}

static struct page *buddy_take(unsigned order) {
    struct page *p;
    while (!(p = list_take(order)) && chunk_open_next())
        ;
    return p;
}

// The same within the limits.
static struct page *buddy_alloc(unsigned order, unsigned flags) {
    if (free_pages < (1UL << order) + (flags & PA_RESERVE ? 0 : keep_pages))
        return NULL;
    struct page *p = buddy_take(order);
    if (p)
        free_pages -= 1UL << order;
    return p;
}

static void buddy_free(struct page *p, unsigned order) {
    free_pages += 1UL << order;
    buddy_insert(p, order);
}

// ---- the CPUs' caches
// -------------------------------------------------------------------------------------------------

static struct cpu_pages *my_cache(void) { return &caches[cpu_this()->id]; }

static struct page *cache_next(const struct page *p) { return (struct page *)p->link.next; }

static void cache_push(struct cpu_pages *c, struct page *p) {
    p->link.next = (struct list *)c->head;
    c->head = p;
    c->count++;
}

// Interrupts off. Fills the empty cache, by a whole block where there is one; returns its first page, taken out, or
// NULL.
static __attribute__((noinline)) struct page *cache_refill(struct cpu_pages *c, unsigned flags) {
    spin_lock(&lock);
    struct page *p = buddy_alloc(cache_order, 0);
    if (p) {
        for (unsigned i = (1U << cache_order) - 1; i > 0; i--) {
            p[i].refs = 0;
            p[i].order = 0;
            p[i].flags = 0;
            cache_push(c, &p[i]);
        }
        p->order = 0;
    } else {
        p = buddy_alloc(0, flags);
    }
    spin_unlock(&lock);
    if (!p && (p = c->clean)) { // the last resort
        c->clean = cache_next(p);
        c->clean_count--;
    }
    return p;
}

static __attribute__((noinline)) void cache_drain(struct cpu_pages *c, unsigned keep) {
    spin_lock(&lock);
    while (c->count > keep) {
        struct page *p = c->head;
        c->head = cache_next(p);
        c->count--;
        buddy_free(p, 0);
    }
    spin_unlock(&lock);
}

void page_count(unsigned flag, long pages) {
    uint64_t irq = irq_save();
    my_cache()->counters[__builtin_ctz(flag)] += pages;
    irq_restore(irq);
}

// refs, order, flags and in_use in one store.
static inline void set_head(struct page *p, unsigned order, unsigned flags) {
    *(uint64_t *)p = 1 | (uint64_t)order << 32 | (uint64_t)flags << 40;
    p->private = 0;
}
_Static_assert(offsetof(struct page, order) == 4 && offsetof(struct page, flags) == 5 &&
                   offsetof(struct page, in_use) == 6,
               "set_head");

static __attribute__((noinline)) struct page *page_alloc_slow(unsigned order, unsigned flags) {
    if (unlikely(READ_ONCE(free_pages) < reclaim_low) && reclaim_is_current())
        flags |= PA_RESERVE;
    uint64_t irq = irq_save();
    struct page *p;
    if (order == 0) {
        p = cache_refill(my_cache(), flags);
    } else {
        spin_lock(&lock);
        p = buddy_alloc(order, flags);
        spin_unlock(&lock);
    }
    if (p) {
        set_head(p, order, flags & PA_ANON ? PAGE_ANON : 0);
        if (flags & PA_ANON)
            my_cache()->counters[__builtin_ctz(PAGE_ANON)] += 1 << order;
    }
    irq_restore(irq);
    if (unlikely(READ_ONCE(free_pages) < reclaim_low))
        reclaim_wake();
    if (unlikely(!p && order))
        reclaim_wake_for(order);
    CHECKED(if (p) check_page_allocated(p, order);)
    if (p && (flags & PA_ZERO))
        pages_zero(page_to_virt(p), PAGE_SIZE << order);
    return p;
}

struct page *page_alloc(unsigned order, unsigned flags) {
    if (unlikely(order))
        return page_alloc_slow(order, flags);
    uint64_t irq = irq_save();
    struct cpu_pages *c = my_cache();
    struct page *p = c->head;
    if (unlikely(!p)) {
        irq_restore(irq);
        return page_alloc_slow(0, flags);
    }
    c->head = cache_next(p);
    c->count--;
    if (flags & PA_ANON) {
        c->counters[__builtin_ctz(PAGE_ANON)]++;
        set_head(p, 0, PAGE_ANON);
    } else {
        set_head(p, 0, 0);
    }
    irq_restore(irq);
    CHECKED(check_page_allocated(p, 0);)
    if (flags & PA_ZERO)
        pages_zero(page_to_virt(p), PAGE_SIZE);
    return p;
}

static void page_free(struct page *p) {
    unsigned order = p->order;
    uint64_t irq = irq_save();
    struct cpu_pages *c = my_cache();
    if (p->flags & PAGE_ANON)
        c->counters[__builtin_ctz(PAGE_ANON)] -= 1 << order;
    p->flags = 0;
    if (likely(order == 0)) {
        cache_push(c, p);
        if (unlikely(c->count > 4U << cache_order))
            cache_drain(c, 2U << cache_order);
    } else {
        spin_lock(&lock);
        buddy_free(p, order);
        spin_unlock(&lock);
    }
    irq_restore(irq);
}

void page_unref(struct page *p) {
    CHECKED(check_page_ref(p);)
    // The only holder needs no atomic operation.
    if (load_acquire(&p->refs) != 1 && atomic_sub(&p->refs, 1) != 1)
        return;
    if (unlikely(p->flags & (PAGE_RESERVED | PAGE_FREE))) {
        if (p->flags & PAGE_FREE)
            panic("page %#llx is freed twice", (unsigned long long)page_to_phys(p));
        p->refs = 1;
        return;
    }
    CHECKED(check_page_freed(p, CHECK_PLACE);)
    p->refs = 0;
    page_free(p);
}

struct page *page_alloc_clean(unsigned flags) {
    uint64_t irq = irq_save();
    struct cpu_pages *c = my_cache();
    struct page *p = c->clean;
    if (likely(p)) {
        c->clean = cache_next(p);
        c->clean_count--;
        set_head(p, 0, 0);
    }
    irq_restore(irq);
    return likely(p) ? p : page_alloc(0, flags | PA_ZERO);
}

void page_free_clean(struct page *p) {
    uint64_t irq = irq_save();
    struct cpu_pages *c = my_cache();
    bool keep = c->clean_count < clean_limit;
    if (likely(keep)) {
        p->refs = 0;
        p->link.next = (struct list *)c->clean;
        c->clean = p;
        c->clean_count++;
    }
    irq_restore(irq);
    if (!keep)
        page_unref(p);
}

void page_split(struct page *p, unsigned order) {
    unsigned flags = p->flags;
    uint32_t refs = p->refs;
    for (uint64_t i = 0; i < 1UL << order; i++) {
        p[i].refs = refs;
        p[i].order = 0;
        p[i].flags = flags;
        p[i].in_use = 0;
        p[i].private = 0;
    }
}

// ---- boot
// -------------------------------------------------------------------------------------------------------------

void page_reserve(phys_t start, phys_t end) {
    ranges_add(&reserved, ALIGN_DOWN(start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE));
}

// A place of `size` bytes in unused RAM at or above `low`; 0: none.
static phys_t find_place(uint64_t size, phys_t low) {
    for (unsigned i = 0; i < unused.count; i++) {
        phys_t start = MAX(unused.r[i].start, low);
        if (start < unused.r[i].end && unused.r[i].end - start >= size)
            return start;
    }
    return 0;
}

void page_init(const struct ram_range *ranges, unsigned count) {
    for (unsigned i = 0; i <= MAX_ORDER; i++)
        list_init(&free_lists[i]);
    for (unsigned i = 0; i < count; i++) // page 0 is nobody's
        ranges_add(&ram, MAX(ALIGN_UP(ranges[i].start, PAGE_SIZE), PAGE_SIZE),
                   MIN(ALIGN_DOWN(ranges[i].end, PAGE_SIZE), RAM_LIMIT));
    if (!ram.count)
        panic("no memory: the boot loader's memory map is empty");
    unused = ram;
    for (unsigned i = 0; i < reserved.count; i++)
        ranges_remove(&unused, reserved.r[i].start, reserved.r[i].end);

    chunk_count = DIV_ROUND_UP(ram.r[ram.count - 1].end, CHUNK_SIZE);
    uint64_t bitmap = ALIGN_UP(DIV_ROUND_UP(chunk_count, 8), 64);
    uint64_t size = ALIGN_UP(bitmap + chunk_count * CHUNK_PAGES * sizeof(struct page), PAGE_SIZE);
    phys_t place = find_place(size, 1UL << 20);
    if (!place) // a machine so small that the image fills it: what lies below is RAM, too
        place = find_place(size, PAGE_SIZE);
    if (!place)
        panic("no memory: no room for %llu KiB of page descriptors", (unsigned long long)size >> 10);
    page_reserve(place, place + size);
    ranges_remove(&unused, place, place + size);
    chunk_opened = phys_to_virt(place);
    descriptors_end = place + size;
    memset(chunk_opened, 0, bitmap);
    page_array = phys_to_virt(place + bitmap);

    total_pages = ranges_pages(&ram);
    free_pages = ranges_pages(&unused);
    keep_pages = MIN(MAX(total_pages / 128, 8), 256);
    clean_limit = total_pages < (32UL << 20) / PAGE_SIZE ? 2 : 16;
    cache_order = total_pages < (32UL << 20) / PAGE_SIZE ? 1 : total_pages < (256UL << 20) / PAGE_SIZE ? 4 : 5;

    uint64_t irq = spin_lock_irqsave(&lock);
    chunk_open_next();
    spin_unlock_irqrestore(&lock, irq);
}

struct page *page_take_for_direct_map(void) {
    if (!pool_count)
        return NULL;
    struct page *p = pool[--pool_count];
    pages_zero(page_to_virt(p), PAGE_SIZE);
    return p;
}

// In pieces, each of which finds enough tables in the pool. Boot, or `lock` held.
static bool map_pieces(phys_t start, phys_t end) {
    while (start < end) {
        phys_t next = MIN(end, ALIGN_DOWN(start, CHUNK_SIZE) + CHUNK_SIZE);
        if (!direct_map(start, next))
            return false;
        pool_fill();
        if (pool_count < POOL_SIZE)
            return false;
        start = next;
    }
    return true;
}

bool page_map_ram(phys_t start, phys_t end) {
    uint64_t irq = spin_lock_irqsave(&lock);
    bool ok = map_pieces(ALIGN_DOWN(start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE));
    spin_unlock_irqrestore(&lock, irq);
    return ok;
}

void page_map_opened(void) {
    uint64_t irq = spin_lock_irqsave(&lock);
    bool ok = true;
    for (uint64_t c = 0; c < next_chunk; c++)
        for (unsigned i = 0; i < ram.count; i++) {
            phys_t s = MAX(c << CHUNK_SHIFT, ram.r[i].start);
            phys_t e = MIN((c + 1) << CHUNK_SHIFT, ram.r[i].end);
            ok &= s >= e || map_pieces(s, e);
        }
    phys_t descriptors = virt_to_phys(chunk_opened), first = virt_to_phys(page_array);
    ok &= map_pieces(descriptors, first + next_chunk * CHUNK_PAGES * sizeof(struct page));
    // The descriptors' place is shown as far as it is used, by chunk_open.
    struct range_list rest = reserved;
    ranges_remove(&rest, descriptors, descriptors_end);
    for (unsigned i = 0; i < rest.count; i++)
        for (unsigned j = 0; j < ram.count; j++)
            ok &= map_pieces(MAX(rest.r[i].start, ram.r[j].start), MIN(rest.r[i].end, ram.r[j].end));
    spin_unlock_irqrestore(&lock, irq);
    if (!ok)
        panic("no memory for the direct map");
}

static bool chunk_need(uint64_t chunk) { return chunk_is_open(chunk) || chunk_open(chunk); }

void page_free_range(phys_t start, phys_t end) {
    start = ALIGN_UP(start, PAGE_SIZE);
    end = ALIGN_DOWN(end, PAGE_SIZE);
    uint64_t irq = spin_lock_irqsave(&lock);
    while (start < end) {
        phys_t next = MIN(end, ALIGN_DOWN(start, CHUNK_SIZE) + CHUNK_SIZE);
        if (chunk_need(start >> CHUNK_SHIFT)) {
            insert_range(start, next);
            free_pages += (next - start) >> PAGE_SHIFT;
        }
        start = next;
    }
    spin_unlock_irqrestore(&lock, irq);
}

struct page *page_adopt(phys_t pa) {
    struct page *p = phys_to_page(pa);
    uint64_t irq = spin_lock_irqsave(&lock);
    bool ok = chunk_need(pa >> CHUNK_SHIFT);
    spin_unlock_irqrestore(&lock, irq);
    if (!ok)
        return NULL;
    *p = (struct page){.refs = 1};
    return p;
}

struct page *page_get_reserved(phys_t pa) {
    struct page *p = phys_to_page(pa);
    if (unlikely(!chunk_is_open(pa >> CHUNK_SHIFT))) {
        uint64_t irq = spin_lock_irqsave(&lock);
        bool ok = chunk_need(pa >> CHUNK_SHIFT);
        spin_unlock_irqrestore(&lock, irq);
        if (!ok)
            return NULL;
    }
    page_ref(p);
    return p;
}

uint64_t page_total(void) { return total_pages; }

bool page_block_free(unsigned order) {
    bool found = READ_ONCE(next_chunk) < chunk_count;
    for (; order <= MAX_ORDER && !found; order++)
        found = READ_ONCE(free_lists[order].next) != &free_lists[order];
    return found;
}

uint64_t page_free_count(void) { return READ_ONCE(free_pages); }

void page_stats(struct page_stats *out) {
    int64_t count[8] = {0};
    *out = (struct page_stats){.total = total_pages, .free = READ_ONCE(free_pages)};
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        out->free += READ_ONCE(caches[i].count) + READ_ONCE(caches[i].clean_count);
        for (unsigned j = 0; j < 8; j++)
            count[j] += READ_ONCE(caches[i].counters[j]);
    }
    out->anon = MAX(count[__builtin_ctz(PAGE_ANON)], 0);
    out->cache = MAX(count[__builtin_ctz(PAGE_CACHE)], 0);
    out->slab = MAX(count[__builtin_ctz(PAGE_SLAB)], 0);
    out->page_tables = MAX(count[__builtin_ctz(PAGE_TABLE)], 0);
}
