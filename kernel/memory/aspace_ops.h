// Between the files of the address space code (aspace.c, aspace_change.c, aspace_remap.c): operations on mappings with
// aspace.lock held for writing.
#ifndef KERNEL_ASPACE_OPS_H
#define KERNEL_ASPACE_OPS_H

#include "kernel/memory/vma.h"

// Mapped sizes, by kind; `pages` may be negative.
void account(struct aspace *as, const struct vma *v, long pages);
// May so many more pages of this kind be mapped? 0 or -ENOMEM (RLIMIT_AS, RLIMIT_DATA).
int check_limits(const struct aspace *as, const struct vma *kind, uint64_t pages);
// Overcommit as Linux' mode 0: one request for more than all RAM is refused, unless it need not be backed
// (MAP_NORESERVE, read-only, files). 0 or -ENOMEM.
int check_commit(const struct vma *kind, uint64_t pages);

// May so many more pages be locked, as far as RLIMIT_MEMLOCK and CAP_IPC_LOCK go? 0; -EPERM: none at all; -ENOMEM.
int check_locked(const struct aspace *as, uint64_t pages);

// Cuts v in two at addr; the new, upper part is returned; ERR_PTR(-ENOMEM).
struct vma *vma_split(struct aspace *as, struct vma *v, uaddr_t addr);
// Joins v with its neighbours where nothing distinguishes them. The mapping that now contains v's range.
struct vma *vma_merge(struct aspace *as, struct vma *v);
// Everything in [start, end) goes. 0 or -ENOMEM (a split was needed).
int unmap_range(struct aspace *as, uaddr_t start, uaddr_t end);
// A place for a new mapping. The address, or -ENOMEM, -EINVAL, -EEXIST, -EPERM.
long find_place(struct aspace *as, uaddr_t hint, size_t len, unsigned flags, size_t align);
// Is every page of the range mapped?
bool range_mapped(struct aspace *as, uaddr_t start, uaddr_t end);
// Faults in what is missing (MAP_POPULATE, MAP_LOCKED, mlock). aspace.lock NOT held. 0, -ENOMEM, -EFAULT, -EAGAIN.
int populate(struct aspace *as, uaddr_t start, uaddr_t end, bool write, bool force);

// kernel/memory/fault.c: before the first fault of an address space. False: no memory.
bool fault_prepare(void);
// The same as aspace_fault, but returns an errno: -EFAULT (no mapping or no right), -EIO (SIGBUS), -ENOMEM. `force`:
// whatever the protection of a private mapping says; a write then makes a page of its own, which stays read-only.
int fault_page(struct aspace *as, uaddr_t addr, enum fault_access access, bool force, bool *accerr);

#endif
