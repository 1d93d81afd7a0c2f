// Large pages that several address spaces hold after a fork. An entry of level 2 holds one reference of the whole
// block; when one of the holders has to split it, the block falls apart into single pages for all of them, and from
// then on a large entry that still shows them holds one reference of each.
// Locks: one spinlock inside, taken after aspace.table_lock. Where only one holder is left it is not needed.
#ifndef KERNEL_BLOCK_H
#define KERNEL_BLOCK_H

#include "kernel/memory/page.h"

void block_ref(struct page *head); // for another large entry
void block_unref(struct page *head);
void block_split(struct page *head); // an entry becomes 512 small ones
// A large entry shows a block that has fallen apart: when nobody else holds any page any more it is one block again.
bool block_join(struct page *head);

// Drops the reference that an entry of this level held.
static inline void mapped_page_unref(struct page *p, unsigned level) {
    if (likely(level == 1))
        page_unref(p);
    else
        block_unref(p);
}

// Is the entry of this level that shows the page the only holder? Its table_lock held: then it stays so.
static inline bool mapped_page_sole(const struct page *p, unsigned level) {
    // In this order: a split comes before the others' letting go of the pages.
    return load_acquire(&p->refs) == 1 && (level == 1 || p->order == HUGE_ORDER);
}

#endif
