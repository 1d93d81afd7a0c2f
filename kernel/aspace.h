// Address spaces: the application's half of a page table and the mappings (VMAs) that say what belongs there.
// Locks: aspace.lock (readers: page faults; writers: mmap and friends) > the page table's spinlock > the page allocator's.
// A backing object's functions are called with aspace.lock held and may take the object's own (sleeping) lock.
#ifndef KERNEL_ASPACE_H
#define KERNEL_ASPACE_H

#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/types.h"
#include <linux/mman.h> // PROT_*, MAP_*, MADV_*, MREMAP_*

struct page;
struct vma;
struct trapframe;

// What a mapping shows when it is not anonymous: a file (fs/ fills this in), or a special page (vDSO).
struct backing;
struct backing_ops {
    // The page at `index` of the object, with a reference for the caller; may sleep. `write`: for a shared writable mapping.
    // ERR_PTR(-EFAULT) beyond the end (the application gets SIGBUS), ERR_PTR(-ENOMEM), ERR_PTR(-EIO).
    struct page *(*get_page)(struct backing *b, uint64_t index, bool write);
    void (*ref)(struct backing *b);
    void (*unref)(struct backing *b);
    // For /proc/PID/maps: a name, "" for none. Device and inode numbers may be NULL.
    void (*describe)(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino);
    // msync and the end of a shared writable mapping; may be NULL.
    int (*sync)(struct backing *b, uint64_t index, uint64_t count);
};
struct backing {
    const struct backing_ops *ops;
};

struct vma {
    uaddr_t start, end; // page-aligned, end excluded
    uint32_t prot;      // PROT_*
    uint32_t max_prot;  // what mprotect may grant (a file opened read-only: no PROT_WRITE on shared mappings)
    uint32_t flags;     // MAP_SHARED|MAP_PRIVATE, MAP_GROWSDOWN, MAP_STACK, MAP_NORESERVE, MAP_LOCKED, MAP_HUGETLB never
    uint32_t vm_flags;  // VMA_*
    struct backing *backing; // NULL: anonymous
    uint64_t offset;         // in the backing, of `start`, in bytes
    // The tree's, see aspace.c.
    struct vma *left, *right, *parent;
    uint64_t tree;
    uint64_t gap;
};
#define VMA_HEAP 1 // brk
#define VMA_STACK 2
#define VMA_VDSO 4
#define VMA_DONTFORK 8
#define VMA_WIPEONFORK 16
#define VMA_NOHUGE 32
#define VMA_HUGE 64

struct aspace {
    phys_t root; // of the page table
    struct rwmutex lock;
    struct spinlock table_lock;
    struct vma *tree;
    struct vma *last_found; // a hint
    uint32_t refs;          // threads and borrowers
    uint32_t vma_count;
    uaddr_t mmap_base;      // mappings are placed below, top down
    uaddr_t brk_start, brk;
    uint64_t mapped_pages;   // virtual size
    uint64_t resident_pages; // present anonymous and file pages
    uint64_t locked_pages;
    uint64_t limit_as, limit_data, limit_stack; // bytes, from RLIMIT_*
    uint64_t cpus; // bitmap of the CPUs that have it loaded: whom a TLB shootdown must reach
    // What /proc/PID and the core report want to know; set by the loader.
    uaddr_t arg_start, arg_end, env_start, env_end, stack_top, code_start, code_end, data_start, data_end;
    uaddr_t vdso;
    uint64_t auxv[48];
    unsigned auxv_words;
};

struct aspace *aspace_create(void); // refs 1; NULL: no memory
void aspace_ref(struct aspace *as);
void aspace_unref(struct aspace *as); // the last one unmaps and frees everything
void aspace_activate(struct aspace *as); // loads it on this CPU; NULL: the kernel's own table. Interrupts off
struct aspace *aspace_fork(struct aspace *as); // copy on write; ERR_PTR(-ENOMEM)

// mmap(2). `addr` a hint, or the place with MAP_FIXED or MAP_FIXED_NOREPLACE in flags. Takes its own reference of the
// backing. Returns the address or a negative errno (ENOMEM, EINVAL, EEXIST, EOVERFLOW).
long aspace_map(struct aspace *as, uaddr_t addr, size_t len, unsigned prot, unsigned flags, struct backing *backing,
                uint64_t offset, unsigned max_prot, unsigned vm_flags);
long aspace_unmap(struct aspace *as, uaddr_t addr, size_t len);                  // munmap(2)
long aspace_protect(struct aspace *as, uaddr_t addr, size_t len, unsigned prot); // mprotect(2)
long aspace_remap(struct aspace *as, uaddr_t addr, size_t old_len, size_t new_len, unsigned flags, uaddr_t new_addr);
long aspace_advise(struct aspace *as, uaddr_t addr, size_t len, int advice);     // madvise(2)
long aspace_brk(struct aspace *as, uaddr_t new_brk);                             // the break afterwards, as the raw call
long aspace_sync(struct aspace *as, uaddr_t addr, size_t len, int flags);        // msync(2)
// mincore(2): fills one byte a page into `out` (kernel memory) for `count` pages from addr.
long aspace_resident(struct aspace *as, uaddr_t addr, size_t count, uint8_t *out);
long aspace_lock_pages(struct aspace *as, uaddr_t addr, size_t len, bool lock);  // mlock(2), munlock(2)
// Reads or writes another address space (or this one), ignoring protection when `force`. Bytes done, or -EFAULT.
long aspace_access(struct aspace *as, uaddr_t addr, void *buf, size_t len, bool write, bool force);

// A page fault at `addr`: 0 when the access may be tried again; otherwise the signal that the application gets, with its
// si_code in *code (SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR), or -ENOMEM. Called with interrupts on, in thread context.
enum fault_access { FAULT_READ = 0, FAULT_WRITE = 1, FAULT_EXEC = 2 };
int aspace_fault(struct aspace *as, uaddr_t addr, enum fault_access access, uaddr_t user_sp, int *code);

// The mapping that contains addr, or the next one above; NULL: none. aspace.lock held.
struct vma *vma_find(struct aspace *as, uaddr_t addr);
struct vma *vma_next(struct vma *v);

// A file shrank or pages of it went away: unmap the pages [first, first+count) of the backing from every mapping.
void backing_unmap(struct backing *b, uint64_t first, uint64_t count);

// No memory is left: called by whoever cannot allocate for the application. Kills the program (SIGKILL) with a report.
void out_of_memory(const char *what);

#endif
