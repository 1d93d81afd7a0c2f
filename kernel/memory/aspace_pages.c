// The pages of ranges of an address space: unmapping, protecting, moving them. All loops are cut into
// pieces, between which table_lock is free and other threads may run.
#include "kernel/memory/aspace_pages.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/pagetable.h"

#define PIECE 2048 // entries handled in one hold of table_lock

static uint64_t level_pages(unsigned level) { return level == 2 ? HUGE_PAGE_SIZE / PAGE_SIZE : 1; }

struct walk {
    struct tlb_batch batch;
    uaddr_t next; // where to go on
    unsigned left;
    uaddr_t start, end; // unmapping: the whole range
    unsigned prot;
    bool private;
    uaddr_t to;
    int err;
};

// For the end of each callback: one entry is done; false when the piece is complete.
static inline bool step(struct walk *w, uaddr_t va, unsigned level) {
    w->next = va + level_pages(level) * PAGE_SIZE;
    return --w->left > 0;
}

// Walks [start, end) in pieces, each with a flush at its end.
WALK_INLINE void walk_pieces(struct aspace *as, struct walk *w, uaddr_t start, uaddr_t end, bool atomic, walk_fn fn) {
    bool more;
    do {
        w->left = PIECE;
        tlb_batch_begin(&w->batch, as);
        spin_lock(&as->table_lock);
        more = !user_walk(as, start, end, fn, w);
        tlb_batch_flush(&w->batch);
        spin_unlock(&as->table_lock);
        start = w->next;
        if (more && !atomic)
            sched_point();
    } while (more && !w->err && start < end);
}

// ---- unmapping
// --------------------------------------------------------------------------------------------------------

// A large page that crosses an end of the range after all: with aspace.lock for reading, a fault may have made it since
// the split.
static __attribute__((noinline)) void unmap_part(struct walk *w, pte_t *entry, uaddr_t va) {
    struct aspace *as = w->batch.as;
    struct page *head = phys_to_page(pte_frame(*entry));
    if (!user_entry_split(as, entry))
        return; // it stays, and that is allowed where it can happen: madvise
    block_split(head);
    pte_t *table = phys_to_virt(pte_frame(*entry));
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uaddr_t at = va + i * PAGE_SIZE;
        if (at < w->start || at >= w->end)
            continue;
        pte_exchange(&table[i], 0);
        as->resident_pages--;
        tlb_batch_release(&w->batch, head + i, 1);
    }
    w->batch.flush_count = TLB_FLUSH_SINGLE + 1;
}

static inline bool unmap_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct walk *w = ctx;
    if (level == 2 && unlikely(va < w->start || va + HUGE_PAGE_SIZE > w->end)) {
        unmap_part(w, entry, va);
        return step(w, va, level);
    }
    pte_t e = pte_exchange(entry, 0);
    if (e & PTE_PRESENT)
        tlb_batch_stale(&w->batch, va);
    if (pte_counted(e)) {
        w->batch.as->resident_pages -= level_pages(level);
        tlb_batch_release(&w->batch, phys_to_page(pte_frame(e)), level);
    }
    return step(w, va, level);
}

void pages_unmap(struct aspace *as, uaddr_t start, uaddr_t end) {
    struct walk w;
    w.err = 0;
    w.start = start;
    w.end = end;
    as->peak_resident = MAX(as->peak_resident, as->resident_pages);
    walk_pieces(as, &w, start, end, false, unmap_entry);
}

// Leaves the copies of private mappings.
static inline bool unmap_shown(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    if (level == 2 || (pte_counted(*entry) && (phys_to_page(pte_frame(*entry))->flags & PAGE_ANON)))
        return step(ctx, va, level);
    return unmap_entry(ctx, entry, va, level);
}

void pages_unmap_atomic(struct aspace *as, uaddr_t start, uaddr_t end, bool copies) {
    struct walk w;
    w.err = 0;
    w.start = start;
    w.end = end;
    if (copies)
        walk_pieces(as, &w, start, end, true, unmap_entry);
    else
        walk_pieces(as, &w, start, end, true, unmap_shown);
}

void pages_free_tables(struct aspace *as, uaddr_t start, uaddr_t end, uaddr_t floor, uaddr_t ceiling) {
    struct tlb_batch b;
    if (!user_tables_free_any(start, end, floor, ceiling))
        return;
    tlb_batch_begin(&b, as);
    spin_lock(&as->table_lock);
    user_tables_free(&b, start, end, floor, ceiling);
    tlb_batch_flush(&b);
    spin_unlock(&as->table_lock);
}

void pages_flush_all(struct aspace *as) {
    struct tlb_batch b;
    tlb_batch_begin(&b, as);
    b.flush_count = TLB_FLUSH_SINGLE + 1;
    spin_lock(&as->table_lock);
    tlb_batch_flush(&b);
    spin_unlock(&as->table_lock);
}

// ---- splitting large pages
// --------------------------------------------------------------------------------------------

static int split_at(struct aspace *as, uaddr_t va) {
    int err = 0;
    if (IS_ALIGNED(va, HUGE_PAGE_SIZE))
        return 0;
    spin_lock(&as->table_lock);
    unsigned level;
    pte_t *e = user_entry_find(as, va, &level);
    if (e && level == 2 && pte_used(*e)) {
        struct page *p = phys_to_page(pte_frame(*e));
        if (user_entry_split(as, e)) {
            block_split(p);
            tlb_flush_user(as, va);
        } else {
            err = -ENOMEM;
        }
    }
    spin_unlock(&as->table_lock);
    return err;
}

int pages_split(struct aspace *as, uaddr_t start, uaddr_t end) {
    if (!READ_ONCE(as->large_pages))
        return 0;
    int err = split_at(as, start);
    return err ? err : split_at(as, end);
}

static inline bool split_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct walk *w = ctx;
    if (level == 2) {
        struct page *p = phys_to_page(pte_frame(*entry));
        if (!user_entry_split(w->batch.as, entry)) {
            w->err = -ENOMEM;
            return false;
        }
        block_split(p);
        tlb_batch_stale(&w->batch, va);
        w->left = MIN(w->left, 8); // 512 pages each
    }
    return step(w, va, level);
}

// All large pages of the range.
static int split_all(struct aspace *as, uaddr_t start, uaddr_t end) {
    struct walk w;
    w.err = 0;
    walk_pieces(as, &w, start, end, false, split_entry);
    return w.err;
}

// ---- protecting
// -------------------------------------------------------------------------------------------------------

static inline bool protect_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct walk *w = ctx;
    pte_t old = *entry, e = pte_change(old, w->prot);
    if ((w->prot & PROT_WRITE) && w->private && pte_counted(e)) {
        const struct page *p = phys_to_page(pte_frame(e));
        if ((p->flags & PAGE_ANON) && mapped_page_sole(p, level))
            e |= PTE_WRITE | PTE_DIRTY;
    }
    if (e != old) {
        pte_exchange(entry, e);
        if (pte_less(old, e))
            tlb_batch_stale(&w->batch, va);
    }
    return step(w, va, level);
}

void pages_protect(struct aspace *as, const struct vma *v, uaddr_t start, uaddr_t end, unsigned prot) {
    struct walk w;
    w.err = 0;
    w.prot = prot;
    w.private = !(v->flags & MAP_SHARED);
    walk_pieces(as, &w, start, end, false, protect_entry);
}

// ---- moving
// -----------------------------------------------------------------------------------------------------------

static inline bool prepare_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct walk *w = ctx;
    if (!user_entry_make(w->batch.as, va + w->to, level)) {
        w->err = -ENOMEM;
        return false;
    }
    return step(w, va, level);
}

static inline bool move_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct walk *w = ctx;
    pte_t *to = user_entry_make(w->batch.as, va + w->to, level); // made by prepare_entry
    ASSERT(*to == 0); // an unmapped range has no pages, and no table of its own
    pte_t e = pte_exchange(entry, 0);
    store_release(to, e);
    if (e & PTE_PRESENT)
        tlb_batch_stale(&w->batch, va);
    return step(w, va, level);
}

int pages_move(struct aspace *as, uaddr_t from, uaddr_t to, size_t len) {
    struct walk w;
    w.err = 0;
    w.to = to - from; // modulo 2^64
    int err = IS_ALIGNED(w.to, HUGE_PAGE_SIZE) ? pages_split(as, from, from + len) : split_all(as, from, from + len);
    if (err)
        return err;
    walk_pieces(as, &w, from, from + len, false, prepare_entry);
    if (w.err)
        return w.err;
    walk_pieces(as, &w, from, from + len, false, move_entry);
    return 0;
}
