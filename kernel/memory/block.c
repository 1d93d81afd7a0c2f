// Large pages with several holders: see block.h.
#include "kernel/memory/block.h"
#include "kernel/threads/lock.h"

static struct spinlock block_lock;

void block_ref(struct page *head) {
    spin_lock(&block_lock);
    unsigned count = head->order == HUGE_ORDER ? 1 : 1U << HUGE_ORDER;
    for (unsigned i = 0; i < count; i++)
        page_ref(head + i);
    spin_unlock(&block_lock);
}

void block_unref(struct page *head) {
    if (mapped_page_sole(head, 2)) {
        page_unref(head);
        return;
    }
    spin_lock(&block_lock);
    if (head->order == HUGE_ORDER) {
        page_unref(head);
        spin_unlock(&block_lock);
        return;
    }
    spin_unlock(&block_lock); // what has fallen apart stays so
    for (unsigned i = 0; i < 1U << HUGE_ORDER; i++)
        page_unref(head + i);
}

bool block_join(struct page *head) {
    bool sole = true;
    spin_lock(&block_lock);
    for (unsigned i = 0; i < 1U << HUGE_ORDER && sole; i++)
        sole = load_acquire(&head[i].refs) == 1;
    if (sole) {
        for (unsigned i = 1; i < 1U << HUGE_ORDER; i++)
            head[i].refs = head[i].flags = 0;
        head->order = HUGE_ORDER;
    }
    spin_unlock(&block_lock);
    return sole;
}

void block_split(struct page *head) {
    spin_lock(&block_lock);
    if (head->order == HUGE_ORDER)
        page_split(head, HUGE_ORDER);
    spin_unlock(&block_lock);
}
