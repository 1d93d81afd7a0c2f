// 2 MiB pages for anonymous memory. A program gets one where it has shown by touching small pages that it uses the
// place (or asked with MADV_HUGEPAGE), so that a few touched bytes never cost 2 MiB; and only while plenty of memory
// is free.
#ifndef KERNEL_HUGE_H
#define KERNEL_HUGE_H

#include "kernel/memory/aspace.h"
#include "kernel/memory/page.h"

#define HUGE_MIN_FREE ((64UL << 20) / PAGE_SIZE) // and an eighth of all RAM

// A write fault at va, where huge_possible: true when the page at va is there now, as part of a large one.
// aspace.lock held.
bool huge_fault(struct aspace *as, const struct vma *v, uaddr_t va);

// Could the page at va be a large one, by the bounds of the mapping?
static inline bool huge_possible(struct aspace *as, const struct vma *v, uaddr_t va) {
    uaddr_t base = ALIGN_DOWN(va, HUGE_PAGE_SIZE);
    return v->end - v->start >= HUGE_PAGE_SIZE && base >= v->start && base + HUGE_PAGE_SIZE <= v->end &&
           !(v->vm_flags & VMA_NOHUGE) && !as->no_huge && page_free_count() > HUGE_MIN_FREE + page_total() / 8;
}

#endif
