// The application's half of page tables: makes, finds, splits and frees tables. No policy, and no privileged
// instruction, so that the unit tests run it as it is.
// Locks: aspace.table_lock, as pagetable.h says.
#include "kernel/x86/pagetable.h"

static void table_free(struct page *p) {
    page_count(PAGE_TABLE, -1);
    page_free_clean(p);
}

static struct page *table_alloc(unsigned flags) {
    struct page *p = flags & PA_ZERO ? page_alloc_clean(flags) : page_alloc(0, flags);
    if (p)
        page_count(PAGE_TABLE, 1);
    return p;
}

phys_t user_root_alloc(void) {
    struct page *p = table_alloc(PA_ZERO);
    if (!p)
        return 0;
    if (kernel_root) {
        pte_t *root = page_to_virt(p);
        const pte_t *kernel = phys_to_virt(kernel_root);
        root[KERNEL_SLOT_DIRECT] = kernel[KERNEL_SLOT_DIRECT];
        root[KERNEL_SLOT_AREA] = kernel[KERNEL_SLOT_AREA];
        root[KERNEL_SLOT_IMAGE] = kernel[KERNEL_SLOT_IMAGE];
    }
    return page_to_phys(p);
}

static __attribute__((noinline)) void free_below(pte_t *table, unsigned level, unsigned entries) {
    for (unsigned i = 0; i < entries; i++) {
        pte_t e = table[i];
        if (!(e & PTE_PRESENT) || (e & PTE_LARGE))
            continue;
        if (level > 2)
            free_below(phys_to_virt(pte_frame(e)), level - 1, TABLE_ENTRIES);
        page_count(PAGE_TABLE, -1);
        page_unref(phys_to_page(pte_frame(e)));
        table[i] = 0;
    }
}

void user_root_free(struct aspace *as) {
    pte_t *root = phys_to_virt(as->root);
    if (as->table_pages > 1) // beside all mappings: what was left when there was no memory for something
        free_below(root, 4, TABLE_ENTRIES / 2);
    root[KERNEL_SLOT_DIRECT] = root[KERNEL_SLOT_AREA] = root[KERNEL_SLOT_IMAGE] = 0;
    table_free(phys_to_page(as->root));
}

pte_t *user_entry_make(struct aspace *as, uaddr_t va, unsigned level) {
    pte_t *table = phys_to_virt(as->root);
    for (unsigned l = 4; l > level; l--) {
        pte_t *e = &table[level_index(va, l)];
        if (unlikely(!*e)) {
            struct page *p = table_alloc(PA_ZERO);
            if (!p)
                return NULL;
            as->table_pages++;
            store_release(e, page_to_phys(p) | PTE_TABLE);
        } else if (unlikely(*e & PTE_LARGE)) {
            return NULL;
        }
        table = phys_to_virt(pte_frame(*e));
    }
    return &table[level_index(va, level)];
}

pte_t *user_entry_find(struct aspace *as, uaddr_t va, unsigned *level) {
    pte_t *table = phys_to_virt(as->root);
    for (unsigned l = 4; l > 2; l--) {
        pte_t e = table[level_index(va, l)];
        if (!e)
            return NULL;
        table = phys_to_virt(pte_frame(e));
    }
    pte_t *e = &table[level_index(va, 2)];
    *level = 2;
    if (!*e || (*e & PTE_LARGE))
        return e;
    *level = 1;
    table = phys_to_virt(pte_frame(*e));
    return &table[level_index(va, 1)];
}

pte_t *user_entry2_next(const struct aspace *as, uaddr_t *at, uaddr_t end) {
    uaddr_t va = *at;
    while (va < end) {
        pte_t *table = phys_to_virt(as->root);
        unsigned level = 4;
        for (; level > 2; level--) {
            pte_t e = table[level_index(va, level)];
            if (!e)
                break;
            table = phys_to_virt(pte_frame(e));
        }
        if (level == 2) {
            for (pte_t *e = &table[level_index(va, 2)]; !*e;) {
                va = ALIGN_DOWN(va, HUGE_PAGE_SIZE) + HUGE_PAGE_SIZE;
                if (va >= end)
                    return NULL;
                if (!level_index(va, 2)) // the table's end
                    goto next;
                e++;
            }
            *at = va;
            return &table[level_index(va, 2)];
        }
        va = (va | ((1UL << level_shift(level)) - 1)) + 1;
    next:;
    }
    return NULL;
}

bool user_entry_split(struct aspace *as, pte_t *entry) {
    struct page *p = table_alloc(PA_RESERVE); // unmapping a part of a large page frees memory in the end
    if (!p)
        return false;
    as->table_pages++;
    pte_t *table = page_to_virt(p), e = *entry & ~PTE_LARGE;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        table[i] = e + i * PAGE_SIZE;
    pte_exchange(entry, page_to_phys(p) | PTE_TABLE);
    return true;
}

static void free_range(struct tlb_batch *b, pte_t *table, unsigned level, uaddr_t start, uaddr_t end, uaddr_t floor,
                       uaddr_t ceiling) {
    uaddr_t span = 1UL << level_shift(level), next;
    for (uaddr_t va = start; va < end; va = next) {
        uaddr_t base = ALIGN_DOWN(va, span);
        pte_t *e = &table[level_index(va, level)];
        next = base + span;
        if (!*e || (*e & PTE_LARGE))
            continue;
        struct page *p = phys_to_page(pte_frame(*e));
        if (level > 2)
            free_range(b, page_to_virt(p), level - 1, va, MIN(end, next), floor, ceiling);
        if (base < floor || next > ceiling)
            continue;
        pte_exchange(e, 0);
        b->as->table_pages--;
        p->private = (uint64_t)(uintptr_t)b->tables;
        b->tables = p;
    }
}

void user_tables_free(struct tlb_batch *b, uaddr_t start, uaddr_t end, uaddr_t floor, uaddr_t ceiling) {
    free_range(b, phys_to_virt(b->as->root), 4, start, end, floor, ceiling);
}

static void drop_pages(pte_t *table, unsigned first, unsigned last) {
    for (unsigned i = first; i < last; i++) {
        if (i % 8 == 0 && i + 8 <= last && eight_empty(&table[i])) {
            i += 7;
            continue;
        }
        pte_t e = table[i];
        if (pte_used(e) && pte_counted(e))
            page_unref(phys_to_page(pte_frame(e)));
        table[i] = 0; // the table is used again
    }
}

static void drop_range(struct aspace *as, pte_t *table, unsigned level, uaddr_t start, uaddr_t end, uaddr_t ceiling) {
    uaddr_t span = 1UL << level_shift(level), next;
    for (uaddr_t va = start; va < end; va = next) {
        pte_t e = table[level_index(va, level)];
        next = ALIGN_DOWN(va, span) + span;
        if (!e)
            continue;
        uaddr_t stop = MIN(end, next);
        struct page *p = phys_to_page(pte_frame(e));
        if (e & PTE_LARGE) {
            block_unref(p);
            table[level_index(va, level)] = 0;
            continue;
        }
        if (level > 2)
            drop_range(as, page_to_virt(p), level - 1, va, stop, ceiling);
        else
            drop_pages(page_to_virt(p), level_index(va, 1), level_index(va, 1) + ((stop - va) >> PAGE_SHIFT));
        if (next <= ceiling) {
            table[level_index(va, level)] = 0;
            as->table_pages--;
            table_free(p);
        }
    }
}

void user_range_drop(struct aspace *as, uaddr_t start, uaddr_t end, uaddr_t ceiling) {
    drop_range(as, phys_to_virt(as->root), 4, start, end, ceiling);
}
