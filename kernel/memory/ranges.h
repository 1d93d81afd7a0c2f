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
bool ranges_contain(const struct range_list *l, phys_t start, phys_t end); // all of it
uint64_t ranges_pages(const struct range_list *l);

#endif
