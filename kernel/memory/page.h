// Physical pages: a buddy allocator over all RAM, opened piece by piece so that the boot costs the same at 16 MiB and 64 GiB.
// Locks: one spinlock inside (interrupt-safe), with a small per-CPU cache of single pages in front.
#ifndef KERNEL_PAGE_H
#define KERNEL_PAGE_H

#include "kernel/list.h"
#include "kernel/types.h"

struct slab_cache;

// One for every page frame of RAM, in one array indexed by frame number.
struct page {
    uint32_t refs;   // 0 when free; the head page of a block of 2^order pages counts for all of it
    uint8_t order;   // of the block that this page heads
    uint8_t flags;   // PAGE_*
    uint16_t in_use; // slab: objects handed out
    union {
        struct list link; // free lists, or any list of the page's owner
        struct {
            struct slab_cache *slab; // slab: the cache that it belongs to
            void *free_objects;
        };
        struct {
            void *owner;    // page cache: the object; see the owner
            uint64_t index; // page cache: page number in the object
        };
    };
    uint64_t private; // the owner's
};
_Static_assert(sizeof(struct page) == 32, "a page's descriptor is 32 bytes");

#define PAGE_FREE 0x01     // heads a free block
#define PAGE_SLAB 0x02     // belongs to a slab cache
#define PAGE_CACHE 0x04    // belongs to a file (tmpfs, page cache)
#define PAGE_ANON 0x08     // anonymous memory of the application
#define PAGE_RESERVED 0x10 // never freed (kernel image, firmware)
#define PAGE_LARGE 0x20    // heads a kmalloc'ed block above the slab sizes
#define PAGE_TABLE 0x40    // a page table (only for page_count)
#define PAGE_TAIL 0x80     // not the head of a slab of several pages: `owner` is the head

#ifdef KNARR_UNIT_TEST // "physical" memory is a piece of the test's
extern unsigned char *host_ram;
#define DIRECT_MAP_BASE ((uintptr_t)host_ram)
#else
#define DIRECT_MAP_BASE 0xffff800000000000UL
#endif
#define KERNEL_IMAGE_BASE 0xffffffff80000000UL // and physical address 0
#define MAX_ORDER 10 // largest block: 4 MiB
#define HUGE_ORDER 9

extern struct page *page_array; // index: physical address >> PAGE_SHIFT

static inline void *phys_to_virt(phys_t pa) { return (void *)(pa + DIRECT_MAP_BASE); }
// Of the direct map or of the kernel's image.
static inline phys_t virt_to_phys(const void *va) {
    uintptr_t a = (uintptr_t)va;
    return a >= KERNEL_IMAGE_BASE ? a - KERNEL_IMAGE_BASE : a - DIRECT_MAP_BASE;
}
static inline struct page *phys_to_page(phys_t pa) { return &page_array[pa >> PAGE_SHIFT]; }
static inline phys_t page_to_phys(const struct page *p) { return (phys_t)(p - page_array) << PAGE_SHIFT; }
static inline void *page_to_virt(const struct page *p) { return phys_to_virt(page_to_phys(p)); }
static inline struct page *virt_to_page(const void *va) { return phys_to_page(virt_to_phys(va)); }

enum page_alloc_flags {
    PA_ZERO = 1,   // filled with zeroes
    PA_RESERVE = 2, // may use the last pages, kept for the kernel's own way out (reports, exit)
    PA_ANON = 4     // a single page of the application's: PAGE_ANON, counted until it is freed
};
// A block of 2^order pages, refs 1, physically contiguous and naturally aligned; NULL when there is none. Never sleeps.
struct page *page_alloc(unsigned order, unsigned flags);
static inline void page_ref(struct page *p) {
    CHECKED(check_page_ref(p);)
    atomic_add(&p->refs, 1);
}
// Drops one reference; the last one frees the block (of p->order). Reserved pages stay.
void page_unref(struct page *p);
// The same for page tables, which are full of zeroes again when they go: some are kept for the next ones.
struct page *page_alloc_clean(unsigned flags); // as page_alloc(0, flags | PA_ZERO)
void page_free_clean(struct page *p);          // refs 1, all zeroes
// Splits a block into single pages, each with as many references as the block had.
void page_split(struct page *p, unsigned order);

// Called by the boot, in this order, before any other function here.
// page_init: RAM ranges from the boot's memory map. `page_reserve` before it: ranges not to be given out (kernel, initrd).
struct ram_range {
    phys_t start, end;
};
void page_reserve(phys_t start, phys_t end);
void page_init(const struct ram_range *ranges, unsigned count);
// Gives a formerly reserved range to the allocator (initrd pages that nobody took over, boot-time memory).
void page_free_range(phys_t start, phys_t end);
// Makes a reserved page (of the initrd) an ordinary one with refs 1, to be freed by page_unref.
struct page *page_adopt(phys_t pa);
// A reserved page for good (of an image in the initrd), with one more reference, as page_ref. NULL: no memory for its descriptor.
struct page *page_get_reserved(phys_t pa);

// Is all of it RAM by the boot's map?
bool ram_contains(phys_t start, phys_t end);

struct page_stats {
    uint64_t total, free; // pages; those not yet opened count as free
    uint64_t anon, cache, slab, page_tables;
};
void page_stats(struct page_stats *out);
uint64_t page_total(void); // RAM of the machine in pages
uint64_t page_free_count(void); // roughly: without what the CPUs' caches hold
bool page_block_free(unsigned order); // is there a block of 2^order pages at this moment?
void page_count(unsigned flag, long pages); // an owner reports pages of kind PAGE_CACHE taken or given back (PAGE_ANON: PA_ANON)

// For kernel/x86/pagetable.c: pages for the tables of the direct map, set aside because they are needed while RAM is being
// opened. Zeroed; NULL when there are no more.
struct page *page_take_for_direct_map(void);
bool page_map_ram(phys_t start, phys_t end); // shows reserved RAM in the direct map. False: no memory for tables
void page_map_opened(void);                  // shows all that the boot has opened or reserved so far

#endif
