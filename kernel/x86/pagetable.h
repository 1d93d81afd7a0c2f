// Page tables: the kernel's own (upper half: direct map of RAM, kernel image, stacks, device memory) and the
// mechanics of the application's (lower half), whose policy is kernel/aspace*.c's.
// Locks: kernel_table_lock inside for the upper half; aspace.table_lock for a lower half.
#ifndef KERNEL_X86_PAGETABLE_H
#define KERNEL_X86_PAGETABLE_H

#include "kernel/memory/aspace.h"
#include "kernel/memory/block.h"
#include "kernel/memory/page.h"
#include "kernel/types.h"
#include "kernel/x86/context.h"
#include "kernel/x86/pte.h"

// --- The kernel's half ---
// The entries of the top-level table that all tables share.
#define KERNEL_SLOT_DIRECT 256 // all RAM
#define KERNEL_SLOT_AREA 384   // kernel stacks and device memory
#define KERNEL_SLOT_IMAGE 511
#define KERNEL_AREA_BASE 0xffffc00000000000UL

extern phys_t kernel_root; // the kernel's own table, with an empty lower half; every CPU starts on it after boot.S

// Builds the final kernel table (W^X) and loads it. After page_init; needs boot.S's map of the first GiB.
void pagetable_init(void);
void pagetable_init_cpu(void); // every other CPU: loads it
// Shows the RAM between start and end in the direct map, writable and not executable. False: no memory for tables.
// Called by page.c when it opens a piece of RAM.
bool direct_map(phys_t start, phys_t end);
// Direct-maps what firmware left in RAM or beside it (ACPI and MP tables) for reading. NULL: no memory.
const void *direct_map_firmware(phys_t pa, size_t len);
// Device memory: uncached, not executable, for good. The same page asked for again gives the same address. NULL: no
// memory.
void *mmio_map(phys_t pa, size_t len);
// A kernel stack (KERNEL_STACK_SIZE bytes) with an unmapped guard area below it: its lowest address. NULL: no memory.
// Freed stacks are kept mapped, for the next thread.
void *kernel_stack_alloc(void);
void kernel_stack_free(void *stack);
// Is it in the guard area below a kernel stack? For the report of an overflow.
bool kernel_stack_guard(uint64_t va);

// --- An application's half. table_lock held unless said otherwise. ---
phys_t user_root_alloc(void);     // an empty one that shares the kernel's half; 0: no memory. No lock
void user_root_free(struct aspace *as); // after user_range_drop of all mappings. No lock

// The entry for the page at va, with the tables above it made when they are missing; NULL: no memory, or (level 1) the
// entry above is large. as->table_pages counts.
pte_t *user_entry_make(struct aspace *as, uaddr_t va, unsigned level);
// The same at level 1 where nothing is missing: NULL sends the caller to the other functions.
static inline pte_t *user_entry_quick(const struct aspace *as, uaddr_t va) {
    const pte_t *table = phys_to_virt(as->root);
    pte_t e = table[level_index(va, 4)];
    if (unlikely(!e))
        return NULL;
    table = phys_to_virt(pte_frame(e));
    e = table[level_index(va, 3)];
    if (unlikely(!e))
        return NULL;
    table = phys_to_virt(pte_frame(e));
    e = table[level_index(va, 2)];
    if (unlikely(!e || (e & PTE_LARGE)))
        return NULL;
    return (pte_t *)phys_to_virt(pte_frame(e)) + level_index(va, 1);
}
// The entry that maps va and its level (1, or 2 when it is large), or the level 2 entry (level 2, not used) when
// there is no table below; NULL when not even that exists.
pte_t *user_entry_find(struct aspace *as, uaddr_t va, unsigned *level);
// Turns a large entry into a table of 512 small ones with the same rights. The caller has split the page block
// (page_split) and flushes. False: no memory.
bool user_entry_split(struct aspace *as, pte_t *entry);

// Calls fn for every used entry of level 1 or large entry of level 2 in [start, end), in order. A large entry is
// passed as a whole even when the range covers a part of it: `va` is its own start. fn returns false to stop the
// walk. Inlined, so that fn is too.
#define WALK_INLINE static inline __attribute__((always_inline))
typedef bool (*walk_fn)(void *ctx, pte_t *entry, uaddr_t va, unsigned level);
// The entry of level 2 at or above *va and below `end` that is in use (a table or a large page); *va moves there.
// NULL: there is none.
pte_t *user_entry2_next(const struct aspace *as, uaddr_t *va, uaddr_t end);
// Tables are nearly empty: eight entries are looked at at once.
static inline bool eight_empty(const pte_t *e) { return !(e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]); }

WALK_INLINE bool user_walk(struct aspace *as, uaddr_t start, uaddr_t end, walk_fn fn, void *ctx) {
    uaddr_t va = start;
    pte_t *entry2;
    while ((entry2 = user_entry2_next(as, &va, end))) {
        uaddr_t next = ALIGN_DOWN(va, HUGE_PAGE_SIZE) + HUGE_PAGE_SIZE;
        if (*entry2 & PTE_LARGE) {
            if (!fn(ctx, entry2, ALIGN_DOWN(va, HUGE_PAGE_SIZE), 2))
                return false;
            va = next;
            continue;
        }
        pte_t *table = phys_to_virt(pte_frame(*entry2));
        unsigned i = level_index(va, 1), last = i + ((MIN(end, next) - va) >> PAGE_SHIFT);
        for (; i < last; i++) {
            if (i % 8 == 0 && i + 8 <= last && eight_empty(&table[i])) {
                i += 7;
                continue;
            }
            if (pte_used(table[i]) && !fn(ctx, &table[i], next - HUGE_PAGE_SIZE + i * PAGE_SIZE, 1))
                return false;
        }
        va = next;
    }
    return true;
}

// Frees the tables that lie wholly between floor and ceiling and serve only [start, end), which is empty by now. They
// go to the batch, which frees them after its flush.
struct tlb_batch;
void user_tables_free(struct tlb_batch *b, uaddr_t start, uaddr_t end, uaddr_t floor, uaddr_t ceiling);
// Can there be any? Not for the common small range inside a table that others use, too.
static inline bool user_tables_free_any(uaddr_t start, uaddr_t end, uaddr_t floor, uaddr_t ceiling) {
    uaddr_t first = ALIGN_DOWN(start, HUGE_PAGE_SIZE), last = ALIGN_UP(end, HUGE_PAGE_SIZE);
    return first + (first < floor ? HUGE_PAGE_SIZE : 0) < last - (last > ceiling ? HUGE_PAGE_SIZE : 0);
}
// The end of a table that no CPU has loaded and nobody else knows: drops the pages of [start, end), and the tables
// that no mapping from `ceiling` on needs. Ranges come in ascending order. No lock.
void user_range_drop(struct aspace *as, uaddr_t start, uaddr_t end, uaddr_t ceiling);

// --- TLB. Collects what a change of entries makes stale, and the pages that may be freed only after the flush. ---
#define TLB_BATCH_PAGES 64
#define TLB_FLUSH_SINGLE 32 // more pages than this: the whole TLB
struct tlb_batch {
    struct aspace *as;
    unsigned flush_count; // pages to flush, those of `flush`; above TLB_FLUSH_SINGLE: everything
    unsigned page_count;
    struct page *tables; // page table pages, linked through page.private
    struct page *anon;   // pages whose only holder the entry was, linked the same way
    uint64_t large;      // bit i: pages[i] is of a large entry
    uaddr_t flush[TLB_FLUSH_SINGLE];
    struct page *pages[TLB_BATCH_PAGES];
};
_Static_assert(TLB_BATCH_PAGES == 64, "tlb_batch.large");
static inline void tlb_batch_begin(struct tlb_batch *b, struct aspace *as) {
    b->as = as;
    b->flush_count = b->page_count = 0;
    b->large = 0;
    b->tables = b->anon = NULL;
}
// Flushes on every CPU that has the address space loaded, then frees. Under the table_lock that covered the changes.
void tlb_batch_flush(struct tlb_batch *b);

// Clears or changes a present entry; `old` is what it was. A CPU that loads the table from here on sees the new
// value, which is why the order of this exchange and the look at aspace.cpus matters.
static inline pte_t pte_exchange(pte_t *entry, pte_t value) { return atomic_xchg(entry, value); }

static inline void tlb_batch_stale(struct tlb_batch *b, uaddr_t va) {
    if (b->flush_count < TLB_FLUSH_SINGLE)
        b->flush[b->flush_count] = va;
    b->flush_count++;
}

// Drops the reference that a cleared entry held: at once when only this CPU can know the entry (it will not touch the
// address before the flush), else after the flush.
static inline void tlb_batch_release(struct tlb_batch *b, struct page *p, unsigned level) {
    if (!(READ_ONCE(b->as->cpus) & ~(1UL << cpu_this()->id))) {
        mapped_page_unref(p, level);
        return;
    }
    if (level == 1 && (p->flags & PAGE_ANON) && mapped_page_sole(p, 1)) { // so that one flush does for many
        p->private = (uint64_t)(uintptr_t)b->anon;
        b->anon = p;
        return;
    }
    if (b->page_count == TLB_BATCH_PAGES)
        tlb_batch_flush(b);
    b->large |= (uint64_t)(level > 1) << b->page_count;
    b->pages[b->page_count++] = p;
}
void aspace_deactivate(struct aspace *as);          // no CPU has it loaded afterwards: before its end. Interrupts on
void tlb_flush_user(struct aspace *as, uaddr_t va); // one page, on every CPU that has it loaded

#endif
