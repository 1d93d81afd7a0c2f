// Lists of ranges of physical addresses, sorted and disjoint. Ends are excluded. No locks: the owner's.
#ifndef KERNEL_RANGES_H
#define KERNEL_RANGES_H

#include "kernel/memory/page.h" // struct ram_range

#define MAX_RANGES 64

struct range_list {
    unsigned count;
    struct ram_range r[MAX_RANGES];
};

void ranges_add(struct range_list *l, phys_t start, phys_t end); // joined with neighbours; lost, with a warning, when full
void ranges_remove(struct range_list *l, phys_t start, phys_t end);
uint64_t ranges_pages(const struct range_list *l);

// Is all of it in one of the ranges? Asked often while RAM is opened.
static inline bool ranges_contain(const struct range_list *l, phys_t start, phys_t end) {
    for (unsigned i = 0; i < l->count; i++)
        if (l->r[i].start <= start && end <= l->r[i].end)
            return true;
    return false;
}

#endif
