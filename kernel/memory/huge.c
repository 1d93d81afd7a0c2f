// Large pages for anonymous memory: made at a write fault, either at once (MADV_HUGEPAGE) or by collecting the small
// pages of a 2 MiB place of which enough have been touched. They are private to one address space: fork, partial
// unmapping and the like split them again first.
//
// Locks: aspace.lock held for reading; the exchange is made under table_lock.
#include "kernel/memory/huge.h"
#include "kernel/x86/pageops.h"
#include "kernel/x86/pagetable.h"

#define DENSE 60   // of 512 small pages present: the place is in use
#define LOOK_AT 64 // only the fault at every so manieth page looks whether it is

// How many of the 512 small pages are there, when all of them could be collected; 0 otherwise.
static unsigned count_collectable(const pte_t *table) {
    unsigned n = 0;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        pte_t e = table[i];
        if (!pte_used(e) || !pte_counted(e))
            continue;
        const struct page *p = phys_to_page(pte_frame(e));
        if (!(e & PTE_PRESENT) || !(p->flags & PAGE_ANON) || load_acquire(&p->refs) != 1)
            return 0;
        n++;
    }
    return n;
}

// The level 2 entry of va, when it is a table; NULL otherwise. table_lock held.
static pte_t *find_table(struct aspace *as, uaddr_t va, pte_t **entry2) {
    unsigned level;
    pte_t *e = user_entry_find(as, va, &level);
    if (!e || level != 1)
        return NULL;
    *entry2 = user_entry_make(as, va, 2); // exists: no allocation
    return phys_to_virt(pte_frame(**entry2));
}

// table_lock held. `large` is zeroed.
static bool collect(struct aspace *as, const struct vma *v, uaddr_t base, struct page *large) {
    pte_t *entry2, *table = find_table(as, base, &entry2);
    unsigned n = table ? count_collectable(table) : 0;
    if (n < DENSE)
        return false;
    struct tlb_batch b;
    tlb_batch_begin(&b, as);
    b.flush_count = TLB_FLUSH_SINGLE + 1;
    pte_exchange(entry2, 0);
    tlb_batch_flush(&b); // from here on no CPU writes to the small pages
    char *to = page_to_virt(large);
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        pte_t e = table[i];
        if (!pte_used(e) || !pte_counted(e))
            continue;
        pages_copy(to + i * PAGE_SIZE, phys_to_virt(pte_frame(e)), PAGE_SIZE);
        page_unref(phys_to_page(pte_frame(e)));
    }
    WRITE_ONCE(as->large_pages, true);
    store_release(entry2, pte_make(page_to_phys(large), v->prot) | PTE_LARGE);
    page_unref(virt_to_page(table));
    page_count(PAGE_TABLE, -1);
    as->table_pages--;
    as->resident_pages += TABLE_ENTRIES - n;
    return true;
}

static bool place_empty(struct aspace *as, const struct vma *v, uaddr_t base, struct page *large) {
    pte_t *e = user_entry_make(as, base, 2);
    if (!e || *e)
        return false;
    WRITE_ONCE(as->large_pages, true);
    *e = pte_make(page_to_phys(large), v->prot) | PTE_LARGE;
    as->resident_pages += TABLE_ENTRIES;
    return true;
}

bool huge_fault(struct aspace *as, const struct vma *v, uaddr_t va) {
    uaddr_t base = ALIGN_DOWN(va, HUGE_PAGE_SIZE);
    bool asked = v->vm_flags & VMA_HUGE;
    if (!asked && ((va >> PAGE_SHIFT) % LOOK_AT || va == base))
        return false;
    spin_lock(&as->table_lock);
    unsigned level;
    pte_t *entry2, *table = find_table(as, base, &entry2), *e = user_entry_find(as, base, &level);
    bool empty = !e || (level == 2 && !*e);
    bool wanted = empty ? asked : table && count_collectable(table) >= DENSE;
    spin_unlock(&as->table_lock);
    if (!wanted)
        return false;
    struct page *large = page_alloc(HUGE_ORDER, PA_ZERO | PA_ANON);
    if (!large)
        return false;
    spin_lock(&as->table_lock);
    bool done = empty ? place_empty(as, v, base, large) : collect(as, v, base, large);
    spin_unlock(&as->table_lock);
    if (!done)
        page_unref(large);
    return done;
}
