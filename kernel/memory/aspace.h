// Address spaces: the application's half of a page table and the mappings (VMAs) that say what belongs there.
// Locks: aspace.lock (readers: page faults; writers: mmap and friends) > backing.lock > aspace.table_lock > the page
// allocator's. A backing object's functions are called with aspace.lock held and may take the object's own (sleeping)
// lock; so that lock must never be held while user memory is touched, or a fault in a mapping of the same object
// would wait for itself.
#ifndef KERNEL_ASPACE_H
#define KERNEL_ASPACE_H

#include "kernel/list.h"
#include "kernel/threads/lock.h"
#include "kernel/types.h"
#include <linux/mman.h> // PROT_*, MAP_*, MADV_*, MREMAP_*

struct page;
struct vma;
struct trapframe;

// What a mapping shows when it is not anonymous: a file (fs/ fills this in), or a special page (vDSO).
struct backing;
struct backing_ops {
    // The page at `index` of the object, with a reference for the caller; may sleep. `write`: for a shared writable
    // mapping. ERR_PTR(-EFAULT) beyond the end (the application gets SIGBUS), ERR_PTR(-ENOMEM), ERR_PTR(-EIO),
    // ERR_PTR(-EINTR): the process was killed meanwhile.
    struct page *(*get_page)(struct backing *b, uint64_t index, bool write);
    void (*ref)(struct backing *b);
    void (*unref)(struct backing *b);
    // For /proc/PID/maps: a name, "" for none. Device and inode numbers may be NULL.
    void (*describe)(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino);
    // msync and the end of a shared writable mapping; may be NULL.
    int (*sync)(struct backing *b, uint64_t index, uint64_t count);
    // Fault-around: fills in those of the `count` pages from `first` on that are present, each with a reference, and
    // NULL for the others (and beyond the end). Must be cheap: no I/O, no allocation. May be NULL.
    void (*peek_pages)(struct backing *b, uint64_t first, unsigned count, struct page **pages);
    // A mapping more (1) or less (-1) shows it; those of one backing are not joined then. Spinlocks only. May be NULL.
    void (*mapped)(struct backing *b, int change);
    // MADV_REMOVE: makes the pages a hole that reads as zeroes. May be NULL (-EOPNOTSUPP).
    int (*punch)(struct backing *b, uint64_t first, uint64_t count);
    // MADV_WILLNEED: starts to get the pages, without waiting for them. May be NULL.
    void (*prefetch)(struct backing *b, uint64_t first, uint64_t count);
};
// The owner embeds it and calls backing_init. Reverse mapping: every VMA that shows the object is on its list.
struct backing {
    const struct backing_ops *ops;
    struct spinlock lock; // protects `vmas`, and the bounds of the VMAs on it
    struct list vmas;     // vma.backing_link
    uint32_t unmaps;      // bumped by backing_unmap: a fault that got its page before that starts again
    struct backing *above; // shows pages of this one as its own (fs/overlay): unmapped together with it. Under `lock`
};
static inline void backing_init(struct backing *b, const struct backing_ops *ops) {
    b->ops = ops;
    spin_init(&b->lock);
    list_init(&b->vmas);
    b->unmaps = 0;
    b->above = NULL;
}

struct vma {
    uaddr_t start, end; // page-aligned, end excluded
    uint32_t prot;      // PROT_*
    uint32_t max_prot;  // what mprotect may grant (a file opened read-only: no PROT_WRITE on shared mappings)
    uint32_t flags;     // MAP_SHARED|MAP_PRIVATE, MAP_GROWSDOWN, MAP_STACK, MAP_NORESERVE, MAP_LOCKED, MAP_HUGETLB never
    uint32_t vm_flags;  // VMA_*
    struct backing *backing; // NULL: anonymous
    uint64_t offset;         // in the backing, of `start`, in bytes
    struct aspace *as;
    struct list backing_link; // backing.vmas
    // The tree's, see vma.c: a balanced (AVL) tree by address, and the neighbours.
    struct vma *left, *right, *parent;
    struct vma *prev, *next;
    uint32_t height;
    bool own_pages; // of a private mapping of an object: some page may be a copy
    uint64_t gap; // the largest hole directly below any VMA of this subtree, in bytes
};
#define VMA_HEAP 1 // brk
#define VMA_STACK 2
#define VMA_VDSO 4
#define VMA_DONTFORK 8
#define VMA_WIPEONFORK 16
#define VMA_NOHUGE 32
#define VMA_HUGE 64
#define VMA_NODUMP 128

struct aspace {
    phys_t root; // of the page table
    struct rwmutex lock;
    struct spinlock table_lock;
    struct vma *tree;
    struct vma *first;      // lowest
    struct vma *last_found; // a hint
    uint32_t refs;          // threads and borrowers
    uint32_t vma_count;
    uaddr_t mmap_base;      // mappings are placed below, top down
    uaddr_t brk_start, brk;
    uint64_t mapped_pages;   // virtual size
    uint64_t resident_pages; // present anonymous and file pages
    uint64_t peak_resident;  // its highest value so far: aspace_peak_resident()
    uint64_t locked_pages, data_pages, stack_pages; // mapped, not resident
    uint64_t table_pages;    // page table pages
    uint64_t limit_as, limit_data, limit_stack, limit_memlock; // bytes, from RLIMIT_*
    unsigned lock_future;    // mlockall(MCL_FUTURE): MAP_LOCKED for every new mapping
    bool no_huge;            // PR_SET_THP_DISABLE
    bool large_pages;        // there has been one
    bool forked;             // pages may be shared with another address space
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
enum lock_mode { LOCK_OFF, LOCK_ON, LOCK_ON_FAULT };
long aspace_lock_pages(struct aspace *as, uaddr_t addr, size_t len, enum lock_mode mode); // munlock(2), mlock(2), mlock2(2)
// Reads or writes another address space (or this one), ignoring protection when `force`. Bytes done, or -EFAULT.
// buf NULL with `write`: zeroes.
long aspace_access(struct aspace *as, uaddr_t addr, void *buf, size_t len, bool write, bool force);

// A page fault at `addr`: 0 when the access may be tried again; otherwise the signal that the application gets, with
// its si_code in *code (SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR), or -ENOMEM, -EINTR: it is being killed. Called with interrupts on, in thread
// context.
enum fault_access { FAULT_READ = 0, FAULT_WRITE = 1, FAULT_EXEC = 2 };
int aspace_fault(struct aspace *as, uaddr_t addr, enum fault_access access, uaddr_t user_sp, int *code);

// The file of /proc/PID/maps: calls fn for each mapping in order, until it returns false. fn runs with aspace.lock
// held for reading and must not touch user memory.
struct vma_info {
    uaddr_t start, end;
    unsigned prot, flags, vm_flags; // as in struct vma
    uint64_t offset, dev, ino;
    char name[256]; // path, "[heap]", "[stack]", "[vdso]" or ""
};
void aspace_each(struct aspace *as, bool (*fn)(void *ctx, const struct vma_info *info), void *ctx);
// Pages of a range, for smaps: aspace.lock held or called from aspace_each's fn (which may not know the aspace
// otherwise).
struct aspace_usage {
    uint64_t resident, anonymous, file, shared, huge; // pages; shared: mapped or held more than once
};
void aspace_usage(struct aspace *as, uaddr_t start, uaddr_t end, struct aspace_usage *out);
uint64_t aspace_peak_resident(struct aspace *as); // pages (ru_maxrss, VmHWM)
// The key of a shared futex: the backing (with the mapping's type) and offset that `addr` shows; for private memory the
// address space itself and the address. 0 or -EFAULT.
int aspace_futex_key(struct aspace *as, uaddr_t addr, void **object, uint64_t *offset);

// The mapping that contains addr, or the next one above; NULL: none. aspace.lock held.
struct vma *vma_find(struct aspace *as, uaddr_t addr);
struct vma *vma_next(struct vma *v);

// mlockall(2) (flags MCL_*), munlockall(2) (flags 0). 0 or -ENOMEM.
long aspace_lock_all(struct aspace *as, unsigned flags);
// A new zero-filled object for MAP_SHARED|MAP_ANONYMOUS and shared mappings of /dev/zero, with a reference;
// ERR_PTR(-ENOMEM).
struct backing *shared_memory_create(uint64_t size);
uint64_t shared_memory_resident(struct backing *b); // its pages that exist

// A file shrank or pages of it went away: unmap the pages [first, first+count) of the backing from every mapping.
void backing_unmap(struct backing *b, uint64_t first, uint64_t count);
// The object has other pages in their place, or will get them again: what private mappings have copied stays.
void backing_unshow(struct backing *b, uint64_t first, uint64_t count);
void backing_unshow_idle(struct backing *b, uint64_t first, uint64_t count); // not from mappings that are locked in memory
// Is there a shared mapping that is writable, or may become so by mprotect?
bool backing_mapped_writable(struct backing *b);

// No memory is left: called by whoever cannot allocate for the application. Kills the program (SIGKILL) with a report.
void out_of_memory(const char *what);

#endif
