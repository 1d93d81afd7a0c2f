// Address spaces: their life, and mapping and unmapping. Protection and advice are in aspace_change.c, mremap in
// aspace_remap.c, faults in fault.c, reports in aspace_info.c; the tree in vma.c, the pages in aspace_pages.c.
//
// Locks: aspace.h. Functions of aspace_ops.h run with aspace.lock held for writing.
#include "kernel/memory/aspace.h"
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/aspace_pages.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/pagetable.h"
#include <linux/capability.h>

#define UNLIMITED (~0UL)
#define DROP_PIECE (8UL << 20)
#define STACK_LIMIT (8UL << 20)
#define STACK_ROOM (128UL << 20)     // between mmap_base and the end of the half, before ASLR
#define LOW_PLACE_START 0x40000000UL // MAP_32BIT
#define LOW_PLACE_END 0x80000000UL

static struct slab_cache aspace_cache = SLAB_CACHE("aspace", sizeof(struct aspace), 64);

struct aspace *aspace_create(void) {
    struct aspace *as = fault_prepare() ? slab_zalloc(&aspace_cache) : NULL;
    if (!as)
        return NULL;
    as->root = user_root_alloc();
    if (!as->root) {
        slab_free(&aspace_cache, as);
        return NULL;
    }
    as->refs = 1;
    as->table_pages = 1;
    rwmutex_init(&as->lock);
    spin_init(&as->table_lock);
    as->mmap_base = ALIGN_DOWN(USER_END - STACK_ROOM, HUGE_PAGE_SIZE);
    as->limit_as = as->limit_data = as->limit_memlock = UNLIMITED;
    as->limit_stack = STACK_LIMIT;
    return as;
}

void aspace_ref(struct aspace *as) { atomic_add(&as->refs, 1); }

// In pieces: there may be millions of pages.
static void drop_mapping(struct aspace *as, uaddr_t start, uaddr_t end, uaddr_t ceiling) {
    uaddr_t used = start;
    while (end - start > DROP_PIECE && user_entry2_next(as, &used, end)) {
        uaddr_t next = MIN(end, ALIGN_DOWN(used, DROP_PIECE) + DROP_PIECE);
        user_range_drop(as, start, next, next < end ? next : ceiling);
        start = used = next;
        sched_point();
    }
    if (start < end)
        user_range_drop(as, start, end, ceiling);
}

void aspace_unref(struct aspace *as) {
    if (!as || atomic_sub(&as->refs, 1) != 1)
        return;
    aspace_deactivate(as);
    // Off the backings' lists first: until then backing_unmap may look into the table.
    for (struct vma *v = as->first; v; v = v->next)
        vma_detach(v);
    for (struct vma *v = as->first, *next; v; v = next) {
        next = v->next;
        drop_mapping(as, v->start, v->end, next ? next->start : 1UL << 47);
        vma_free(v);
    }
    user_root_free(as);
    slab_free(&aspace_cache, as);
}

// ---- accounting
// -------------------------------------------------------------------------------------------------------

static bool is_data(const struct vma *v) {
    return (v->prot & PROT_WRITE) && !(v->flags & (MAP_SHARED | MAP_GROWSDOWN));
}

void account(struct aspace *as, const struct vma *v, long pages) {
    as->mapped_pages += pages;
    if (v->flags & MAP_LOCKED)
        as->locked_pages += pages;
    if (is_data(v))
        as->data_pages += pages;
    if (v->flags & MAP_GROWSDOWN)
        as->stack_pages += pages;
}

int check_limits(const struct aspace *as, const struct vma *kind, uint64_t pages) {
    if (as->mapped_pages + pages > as->limit_as / PAGE_SIZE)
        return -ENOMEM;
    if (is_data(kind) && as->data_pages + pages > as->limit_data / PAGE_SIZE)
        return -ENOMEM;
    return 0;
}

int check_commit(const struct vma *kind, uint64_t pages) {
    if ((kind->flags & (MAP_NORESERVE | MAP_SHARED)) || !(kind->prot & PROT_WRITE))
        return 0;
    return pages > page_total() ? -ENOMEM : 0;
}

int check_locked(const struct aspace *as, uint64_t pages) {
    if (process_current()->cred.cap_effective >> CAP_IPC_LOCK & 1)
        return 0;
    if (!as->limit_memlock)
        return -EPERM;
    return as->locked_pages + pages > as->limit_memlock / PAGE_SIZE ? -ENOMEM : 0;
}

// ---- splitting and joining
// --------------------------------------------------------------------------------------------

// A new mapping in the tree that is like `kind`. NULL: no memory.
static struct vma *vma_add(struct aspace *as, const struct vma *kind) {
    struct vma *v = vma_alloc(as);
    if (!v)
        return NULL;
    v->start = kind->start;
    v->end = kind->end;
    v->prot = kind->prot;
    v->max_prot = kind->max_prot;
    v->flags = kind->flags;
    v->vm_flags = kind->vm_flags;
    v->backing = kind->backing;
    v->offset = kind->offset;
    v->own_pages = kind->own_pages;
    vma_attach(v);
    vma_insert(as, v);
    return v;
}

struct vma *vma_split(struct aspace *as, struct vma *v, uaddr_t addr) {
    struct vma *upper = vma_alloc(as);
    if (!upper)
        return ERR_PTR(-ENOMEM);
    upper->start = addr;
    upper->end = v->end;
    upper->prot = v->prot;
    upper->max_prot = v->max_prot;
    upper->flags = v->flags;
    upper->vm_flags = v->vm_flags;
    upper->backing = v->backing;
    upper->offset = v->offset + (addr - v->start);
    upper->own_pages = v->own_pages;
    vma_attach(upper); // before v shrinks, so that backing_unmap always finds the pages
    vma_set_bounds(v, v->start, addr);
    vma_insert(as, upper);
    return upper;
}

static bool can_join(const struct vma *a, const struct vma *b) {
    return a && b && a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->vm_flags == b->vm_flags &&
           a->max_prot == b->max_prot && a->backing == b->backing &&
           (!a->backing || (a->offset + (a->end - a->start) == b->offset && !a->backing->ops->mapped));
}

static void vma_delete(struct aspace *as, struct vma *v) {
    vma_remove(as, v);
    vma_detach(v);
    vma_free(v);
}

static void join(struct aspace *as, struct vma *a, struct vma *b) {
    uaddr_t end = b->end;
    a->own_pages |= b->own_pages;
    vma_remove(as, b);
    vma_set_bounds(a, a->start, end);
    vma_detach(b);
    vma_free(b);
}

struct vma *vma_merge(struct aspace *as, struct vma *v) {
    struct vma *prev = v->prev;
    if (can_join(prev, v)) {
        join(as, prev, v);
        v = prev;
    }
    if (can_join(v, v->next))
        join(as, v, v->next);
    return v;
}

bool range_mapped(struct aspace *as, uaddr_t start, uaddr_t end) {
    struct vma *v = vma_find(as, start);
    while (v && v->start <= start && v->end < end) {
        start = v->end;
        v = v->next;
    }
    return v && v->start <= start;
}

// ---- unmapping
// --------------------------------------------------------------------------------------------------------

int unmap_range(struct aspace *as, uaddr_t start, uaddr_t end) {
    struct vma *v = vma_find(as, start);
    if (!v || v->start >= end)
        return 0;
    int err = pages_split(as, start, end);
    if (err)
        return err;
    if (v->start < start && v->end > end) {
        struct vma *upper = vma_split(as, v, end);
        if (IS_ERR(upper))
            return PTR_ERR(upper);
    }
    pages_unmap(as, start, end);
    if (v->start < start) {
        account(as, v, -(long)((v->end - start) >> PAGE_SHIFT));
        vma_set_bounds(v, v->start, start);
        v = v->next;
    }
    while (v && v->start < end) {
        struct vma *next = v->next;
        if (v->end <= end) {
            account(as, v, -(long)vma_pages(v));
            vma_delete(as, v);
        } else {
            account(as, v, -(long)((end - v->start) >> PAGE_SHIFT));
            vma_set_bounds(v, end, v->end);
        }
        v = next;
    }
    struct vma *prev = vma_before(as, start);
    struct vma *next = prev ? prev->next : as->first;
    pages_free_tables(as, start, end, prev ? prev->end : 0, next ? next->start : 1UL << 47);
    return 0;
}

static bool bad_range(uaddr_t addr, size_t len) { return addr > USER_END || len > USER_END - addr; }

long aspace_unmap(struct aspace *as, uaddr_t addr, size_t len) {
    if (!IS_ALIGNED(addr, PAGE_SIZE) || len == 0 || bad_range(addr, len))
        return -EINVAL;
    rwmutex_write_lock(&as->lock);
    int err = unmap_range(as, addr, addr + ALIGN_UP(len, PAGE_SIZE));
    rwmutex_write_unlock(&as->lock);
    return err;
}

// ---- mapping
// ----------------------------------------------------------------------------------------------------------

long find_place(struct aspace *as, uaddr_t hint, size_t len, unsigned flags, size_t align) {
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (!IS_ALIGNED(hint, PAGE_SIZE))
            return -EINVAL;
        if (bad_range(hint, len))
            return -ENOMEM;
        if (hint < USER_START)
            return -EPERM;
        if (flags & MAP_FIXED_NOREPLACE) {
            struct vma *v = vma_find(as, hint);
            if (v && v->start < hint + len)
                return -EEXIST;
        }
        return hint;
    }
    if (len > USER_END - USER_START)
        return -ENOMEM;
    hint = ALIGN_DOWN(hint, PAGE_SIZE);
    if (hint) {
        hint = MAX(hint, USER_START);
        if (!bad_range(hint, len) && (!(flags & MAP_32BIT) || hint + len <= LOW_PLACE_END) &&
            vma_range_free(as, hint, hint + len))
            return hint;
    }
    uaddr_t at;
    if (flags & MAP_32BIT)
        at = vma_find_hole(as, len, LOW_PLACE_START, LOW_PLACE_END, PAGE_SIZE);
    else if (!(at = vma_find_hole(as, len, USER_START, as->mmap_base, align)))
        at = vma_find_hole(as, len, USER_START, USER_END, PAGE_SIZE);
    return at ? (long)at : -ENOMEM;
}

// Grows a neighbour over [start, end) when it has all that `kind` has. NULL: there is none like it.
static struct vma *extend_neighbour(struct aspace *as, const struct vma *kind) {
    struct vma *prev = vma_before(as, kind->start);
    struct vma *next = prev ? prev->next : as->first;
    if (can_join(prev, kind)) {
        prev->own_pages |= kind->own_pages;
        vma_set_bounds(prev, prev->start, kind->end);
        if (can_join(prev, next))
            join(as, prev, next);
        return prev;
    }
    if (can_join(kind, next)) {
        next->own_pages |= kind->own_pages;
        vma_set_bounds(next, kind->start, next->end);
        return next;
    }
    return NULL;
}

// `kind` describes the mapping, but for its place.
static long map_locked(struct aspace *as, uaddr_t addr, size_t len, unsigned flags, struct vma *kind) {
    uint64_t pages = len >> PAGE_SHIFT;
    size_t align = !kind->backing && len >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : PAGE_SIZE;
    long at = find_place(as, addr, len, flags, align);
    if (at < 0)
        return at;
    kind->start = at;
    kind->end = at + len;

    // What a fixed mapping replaces does not count against the limits; as Linux does, only when it is worth a look.
    if (check_limits(as, kind, pages)) {
        uint64_t gone = 0;
        if (flags & MAP_FIXED)
            for (struct vma *v = vma_find(as, at); v && v->start < kind->end; v = v->next)
                gone += (MIN(v->end, kind->end) - MAX(v->start, kind->start)) >> PAGE_SHIFT;
        if (check_limits(as, kind, pages - gone))
            return -ENOMEM;
    }
    if (check_commit(kind, pages))
        return -ENOMEM;
    int err = kind->flags & MAP_LOCKED ? check_locked(as, pages) : 0;
    if (err)
        return err == -EPERM && (flags & MAP_LOCKED) ? -EPERM : -EAGAIN;
    if ((flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE)) {
        err = unmap_range(as, kind->start, kind->end);
        if (err)
            return err;
    }
    if (!extend_neighbour(as, kind) && !vma_add(as, kind))
        return -ENOMEM;
    account(as, kind, pages);
    return at;
}

long aspace_map(struct aspace *as, uaddr_t addr, size_t len, unsigned prot, unsigned flags, struct backing *backing,
                uint64_t offset, unsigned max_prot, unsigned vm_flags) {
    if (len == 0)
        return -EINVAL;
    if (len > USER_END)
        return -ENOMEM;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (offset + len < offset || offset > INT64_MAX - len)
        return -EOVERFLOW;
    struct vma kind = {
        .as = as,
        .prot = prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
        .max_prot = max_prot,
        .flags = flags & (MAP_SHARED | MAP_PRIVATE | MAP_GROWSDOWN | MAP_NORESERVE | MAP_LOCKED),
        .vm_flags = vm_flags,
        .backing = backing,
        .offset = offset,
    };
    rwmutex_write_lock(&as->lock);
    if (as->lock_future)
        kind.flags |= MAP_LOCKED;
    bool fill = (flags & MAP_POPULATE) || ((kind.flags & MAP_LOCKED) && as->lock_future != MCL_ONFAULT);
    long at = map_locked(as, addr, len, flags, &kind);
    rwmutex_write_unlock(&as->lock);
    if (at >= 0 && fill && !(flags & MAP_NONBLOCK) && kind.prot)
        (void)populate(as, at, at + len, kind.prot & PROT_WRITE && !(kind.flags & MAP_SHARED), false);
    return at;
}

// ---- brk
// --------------------------------------------------------------------------------------------------------------

static bool brk_grow(struct aspace *as, uaddr_t from, uaddr_t to) {
    struct vma kind = {
        .as = as,
        .start = from,
        .end = to,
        .prot = PROT_READ | PROT_WRITE,
        .max_prot = PROT_READ | PROT_WRITE | PROT_EXEC,
        .flags = MAP_PRIVATE | (as->lock_future ? MAP_LOCKED : 0),
        .vm_flags = VMA_HEAP,
    };
    uint64_t pages = (to - from) >> PAGE_SHIFT;
    if (!vma_range_free(as, from, to + PAGE_SIZE) || check_limits(as, &kind, pages) || check_commit(&kind, pages) ||
        ((kind.flags & MAP_LOCKED) && check_locked(as, pages)))
        return false;
    if (!extend_neighbour(as, &kind) && !vma_add(as, &kind))
        return false;
    account(as, &kind, pages);
    return true;
}

long aspace_brk(struct aspace *as, uaddr_t new_brk) {
    uaddr_t fill_start = 0, fill_end = 0;
    rwmutex_write_lock(&as->lock);
    if (new_brk >= as->brk_start && new_brk < USER_END - PAGE_SIZE && new_brk - as->brk_start <= as->limit_data) {
        uaddr_t from = ALIGN_UP(as->brk, PAGE_SIZE), to = ALIGN_UP(new_brk, PAGE_SIZE);
        if (to == from || (to < from ? !unmap_range(as, to, from) : brk_grow(as, from, to))) {
            as->brk = new_brk;
            if (to > from && as->lock_future) {
                fill_start = from;
                fill_end = to;
            }
        }
    }
    long result = as->brk;
    rwmutex_write_unlock(&as->lock);
    if (fill_end && as->lock_future != MCL_ONFAULT)
        (void)populate(as, fill_start, fill_end, true, false);
    return result;
}
