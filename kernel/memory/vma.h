// The set of mappings of an address space: a tree by address with the neighbours linked, searched for addresses and
// for holes. Inside kernel/ for the address space code only. aspace.lock is held for writing by whoever changes, by
// readers for reading.
#ifndef KERNEL_VMA_H
#define KERNEL_VMA_H

#include "kernel/memory/aspace.h"

#define VMA_MAX 65530                 // as Linux' vm.max_map_count
#define STACK_GUARD_GAP (256UL << 12) // kept free below a mapping that grows down

struct vma *vma_alloc(struct aspace *as); // zeroed; NULL: no memory or VMA_MAX reached
void vma_free(struct vma *v);             // neither in the tree nor on its backing's list any more

// A copy of a mapping (of another address space) for the end of the list, behind `last`; NULL: no memory. It is in no
// tree and on no list of its backing. When all are there, vma_build makes the tree.
struct vma *vma_copy(struct aspace *as, const struct vma *v, struct vma *last);
void vma_build(struct aspace *as);

// Into and out of the tree; the caller sees to the backing. `start` and `end` are set and free.
void vma_insert(struct aspace *as, struct vma *v);
void vma_remove(struct aspace *as, struct vma *v);
// Moves the bounds of a mapping in the tree (the offset in the backing follows `start`).
void vma_set_bounds(struct vma *v, uaddr_t start, uaddr_t end);
// Lists and unlists it as a mapping of its backing, with a reference. No effect on anonymous ones.
void vma_attach(struct vma *v);
void vma_detach(struct vma *v);

// The first mapping that ends above addr: vma_find in aspace.h. The last one that ends at or below addr; NULL: none.
struct vma *vma_before(struct aspace *as, uaddr_t addr);
// Is [start, end) free of mappings, and of the guard gap of a mapping above that grows down?
bool vma_range_free(struct aspace *as, uaddr_t start, uaddr_t end);
// The highest address (a multiple of align) where len bytes are free within [low, high). 0: none.
uaddr_t vma_find_hole(struct aspace *as, size_t len, uaddr_t low, uaddr_t high, size_t align);

static inline uint64_t vma_pages(const struct vma *v) { return (v->end - v->start) >> PAGE_SHIFT; }

#endif
