// What happens to the pages of a range of an address space, whatever mappings lie there. For kernel/aspace*.c and
// fault.c.
// Locks: each function takes table_lock itself. Unless said otherwise aspace.lock is held (for writing, or for
// reading when only entries change).
#ifndef KERNEL_ASPACE_PAGES_H
#define KERNEL_ASPACE_PAGES_H

#include "kernel/memory/aspace.h"

// Removes the pages; flushes. Large pages that cross an end must have been split.
void pages_unmap(struct aspace *as, uaddr_t start, uaddr_t end);
// The same without ever letting another thread run: for who holds a spinlock.
void pages_unmap_atomic(struct aspace *as, uaddr_t start, uaddr_t end, bool copies); // else copies of private mappings stay
// Frees the tables of the empty range that no mapping needs: floor and ceiling are the ends of the neighbouring
// mappings. aspace.lock for writing.
void pages_free_tables(struct aspace *as, uaddr_t start, uaddr_t end, uaddr_t floor, uaddr_t ceiling);
// Splits the large pages that cross start or end into small ones. 0 or -ENOMEM.
int pages_split(struct aspace *as, uaddr_t start, uaddr_t end);
// Gives the pages of a mapping (or a part of it) the rights `prot`; what is shared stays read-only until a fault
// copies it.
void pages_protect(struct aspace *as, const struct vma *v, uaddr_t start, uaddr_t end, unsigned prot);
// Moves the pages from one range to another, empty one. 0 or -ENOMEM, and then nothing was moved. aspace.lock for
// writing.
int pages_move(struct aspace *as, uaddr_t from, uaddr_t to, size_t len);
void pages_flush_all(struct aspace *as);

#endif
