// Changes to existing mappings: protection, advice, locking in memory, writing back.
//
// Locks: aspace.lock for writing where mappings change, for reading where only pages do.
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/aspace_pages.h"
#include "kernel/memory/page.h"
#include "kernel/threads/thread.h"

static bool bad_range(uaddr_t addr, size_t len) { return addr > USER_END || len > USER_END - addr; }

// Cuts [start, end) out of the mapping v, which overlaps it. The mapping of the part, or ERR_PTR(-ENOMEM).
static struct vma *isolate(struct aspace *as, struct vma *v, uaddr_t start, uaddr_t end) {
    if (v->start < start) {
        v = vma_split(as, v, start);
        if (IS_ERR(v))
            return v;
    }
    if (v->end > end) {
        struct vma *upper = vma_split(as, v, end);
        if (IS_ERR(upper))
            return upper;
    }
    return v;
}

// ---- mprotect
// ---------------------------------------------------------------------------------------------------------

static struct vma *protect_one(struct aspace *as, struct vma *v, uaddr_t start, uaddr_t end, unsigned prot) {
    if (v->prot == prot)
        return v;
    if (prot & ~v->max_prot)
        return ERR_PTR(-EACCES);
    struct vma kind = *v;
    kind.prot = prot;
    uint64_t pages = (MIN(end, v->end) - MAX(start, v->start)) >> PAGE_SHIFT;
    if ((prot & PROT_WRITE) && !(v->prot & PROT_WRITE)) {
        as->mapped_pages -= pages; // they are mapped already
        int err = check_limits(as, &kind, pages);
        as->mapped_pages += pages;
        if (err || check_commit(&kind, pages))
            return ERR_PTR(-ENOMEM);
    }
    v = isolate(as, v, start, end);
    if (IS_ERR(v))
        return v;
    account(as, v, -(long)pages);
    v->prot = prot;
    account(as, v, pages);
    pages_protect(as, v, v->start, v->end, prot);
    return vma_merge(as, v);
}

long aspace_protect(struct aspace *as, uaddr_t addr, size_t len, unsigned prot) {
    unsigned grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if (!IS_ALIGNED(addr, PAGE_SIZE) || grows == (PROT_GROWSDOWN | PROT_GROWSUP) ||
        (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP)))
        return -EINVAL;
    if (len == 0)
        return 0;
    if (bad_range(addr, len))
        return -ENOMEM;
    prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
    uaddr_t start = addr, end = addr + ALIGN_UP(len, PAGE_SIZE), at;
    long err = 0;

    rwmutex_write_lock(&as->lock);
    struct vma *v = vma_find(as, start);
    if (!v || v->start >= end) {
        err = -ENOMEM;
    } else if (grows == PROT_GROWSUP) {
        err = -EINVAL;
    } else if (grows) {
        if (v->flags & MAP_GROWSDOWN)
            start = v->start;
        else
            err = -EINVAL;
    }
    if (!err)
        err = pages_split(as, start, end);
    for (at = start; !err && at < end;) {
        if (!v || v->start > at) {
            err = -ENOMEM;
            break;
        }
        v = protect_one(as, v, at, end, prot);
        if (IS_ERR(v)) {
            err = PTR_ERR(v);
            break;
        }
        at = v->end;
        v = v->next;
    }
    rwmutex_write_unlock(&as->lock);
    return err;
}

// ---- madvise
// ----------------------------------------------------------------------------------------------------------

static long set_vm_flags(struct aspace *as, uaddr_t start, uaddr_t end, unsigned set, unsigned clear) {
    bool hole = false;
    for (struct vma *v = vma_find(as, start); v && v->start < end; v = v->next) {
        if (v->start > start)
            hole = true;
        start = v->end;
        if (((v->vm_flags | set) & ~clear) == v->vm_flags)
            continue;
        v = isolate(as, v, v->start, end);
        if (IS_ERR(v))
            return PTR_ERR(v);
        v->vm_flags = (v->vm_flags | set) & ~clear;
        v = vma_merge(as, v);
        start = v->end;
    }
    return hole || start < end ? -ENOMEM : 0;
}

static long advise_vm_flags(struct aspace *as, uaddr_t start, uaddr_t end, unsigned set, unsigned clear) {
    rwmutex_write_lock(&as->lock);
    // The first mapping may begin in front of the range: cut it there, then all others are whole or end behind it.
    struct vma *v = vma_find(as, start);
    long err = 0;
    if (v && v->start < start && ((v->vm_flags | set) & ~clear) != v->vm_flags) {
        v = vma_split(as, v, start);
        err = IS_ERR(v) ? PTR_ERR(v) : 0;
    }
    if (!err)
        err = set_vm_flags(as, start, end, set, clear);
    rwmutex_write_unlock(&as->lock);
    return err;
}

enum discard { DISCARD_DONTNEED, DISCARD_LOCKED, DISCARD_FREE, DISCARD_REMOVE };

static long discard_one(struct aspace *as, struct vma *v, uaddr_t start, uaddr_t end, enum discard how) {
    if ((v->flags & MAP_LOCKED) && how != DISCARD_LOCKED)
        return -EINVAL;
    if (how == DISCARD_REMOVE) {
        if (!(v->flags & MAP_SHARED) || !v->backing)
            return -EINVAL;
        if (!(v->max_prot & PROT_WRITE))
            return -EACCES;
        if (!v->backing->ops->punch)
            return -EOPNOTSUPP;
        return v->backing->ops->punch(v->backing, (v->offset + (start - v->start)) >> PAGE_SHIFT,
                                      (end - start) >> PAGE_SHIFT);
    }
    // MADV_FREE may free at once: until the next write the old contents or zeroes may be read.
    if (how == DISCARD_FREE && v->backing)
        return -EINVAL;
    int err = pages_split(as, start, end);
    if (!err)
        pages_unmap(as, start, end);
    return err;
}

static long advise_discard(struct aspace *as, uaddr_t start, uaddr_t end, enum discard how) {
    bool hole = false;
    long err = 0;
    rwmutex_read_lock(&as->lock);
    for (struct vma *v = vma_find(as, start); v && v->start < end && !err; v = v->next) {
        if (v->start > start)
            hole = true;
        uaddr_t from = MAX(start, v->start), to = MIN(end, v->end);
        err = discard_one(as, v, from, to, how);
        start = to;
    }
    rwmutex_read_unlock(&as->lock);
    return err ? err : hole || start < end ? -ENOMEM : 0;
}

static long check_mapped(struct aspace *as, uaddr_t start, uaddr_t end) {
    rwmutex_read_lock(&as->lock);
    bool mapped = range_mapped(as, start, end);
    rwmutex_read_unlock(&as->lock);
    return mapped ? 0 : -ENOMEM;
}

static long advise_willneed(struct aspace *as, uaddr_t start, uaddr_t end) {
    rwmutex_read_lock(&as->lock);
    bool mapped = range_mapped(as, start, end);
    for (struct vma *v = mapped ? vma_find(as, start) : NULL; v && v->start < end; v = v->next) {
        uaddr_t from = MAX(start, v->start), to = MIN(end, v->end);
        if (v->backing && v->backing->ops->prefetch)
            v->backing->ops->prefetch(v->backing, (v->offset + (from - v->start)) >> PAGE_SHIFT, (to - from) >> PAGE_SHIFT);
    }
    rwmutex_read_unlock(&as->lock);
    return mapped ? 0 : -ENOMEM;
}

long aspace_advise(struct aspace *as, uaddr_t addr, size_t len, int advice) {
    bool known = advice == MADV_NORMAL || advice == MADV_RANDOM || advice == MADV_SEQUENTIAL ||
                 advice == MADV_WILLNEED || advice == MADV_COLD || advice == MADV_PAGEOUT ||
                 advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE || advice == MADV_DONTNEED ||
                 advice == MADV_FREE || advice == MADV_REMOVE || advice == MADV_DONTNEED_LOCKED ||
                 advice == MADV_DONTFORK || advice == MADV_DOFORK || advice == MADV_WIPEONFORK ||
                 advice == MADV_KEEPONFORK || advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE ||
                 advice == MADV_DONTDUMP || advice == MADV_DODUMP;
    if (!known || !IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    size_t size = ALIGN_UP(len, PAGE_SIZE);
    if (size < len || addr + size < addr)
        return -EINVAL;
    if (size == 0)
        return 0;
    if (bad_range(addr, size))
        return -ENOMEM;
    uaddr_t start = addr, end = addr + size;

    switch (advice) {
    case MADV_DONTNEED: return advise_discard(as, start, end, DISCARD_DONTNEED);
    case MADV_DONTNEED_LOCKED: return advise_discard(as, start, end, DISCARD_LOCKED);
    case MADV_FREE: return advise_discard(as, start, end, DISCARD_FREE);
    case MADV_REMOVE: return advise_discard(as, start, end, DISCARD_REMOVE);
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE: {
        int err = populate(as, start, end, advice == MADV_POPULATE_WRITE, false);
        return err == -EIO ? -EFAULT : err == -EFAULT ? -EINVAL : err;
    }
    case MADV_DONTFORK: return advise_vm_flags(as, start, end, VMA_DONTFORK, 0);
    case MADV_DOFORK: return advise_vm_flags(as, start, end, 0, VMA_DONTFORK);
    case MADV_WIPEONFORK: {
        rwmutex_read_lock(&as->lock);
        bool private = true; // only anonymous private memory
        for (struct vma *v = vma_find(as, start); v && v->start < end; v = v->next)
        private &= !v->backing && !(v->flags & MAP_SHARED);
        rwmutex_read_unlock(&as->lock);
        return private ? advise_vm_flags(as, start, end, VMA_WIPEONFORK, 0) : -EINVAL;
    }
    case MADV_KEEPONFORK: return advise_vm_flags(as, start, end, 0, VMA_WIPEONFORK);
    case MADV_HUGEPAGE: return advise_vm_flags(as, start, end, VMA_HUGE, VMA_NOHUGE);
    case MADV_NOHUGEPAGE: return advise_vm_flags(as, start, end, VMA_NOHUGE, VMA_HUGE);
    case MADV_WILLNEED: return advise_willneed(as, start, end);
    case MADV_DONTDUMP: return advise_vm_flags(as, start, end, VMA_NODUMP, 0);
    case MADV_DODUMP: return advise_vm_flags(as, start, end, 0, VMA_NODUMP);
    default: // hints about access patterns and reclaiming
        return check_mapped(as, start, end);
    }
}

// ---- mlock
// ------------------------------------------------------------------------------------------------------------
// Nothing is ever paged out, so locking is filling in, and the accounting.

static int lock_one(struct aspace *as, struct vma **vp, uaddr_t start, uaddr_t end, bool lock) {
    struct vma *v = *vp;
    if (!(v->flags & MAP_LOCKED) == !lock)
        return 0;
    v = isolate(as, v, start, end);
    if (IS_ERR(v))
        return PTR_ERR(v);
    account(as, v, -(long)vma_pages(v));
    v->flags = lock ? v->flags | MAP_LOCKED : v->flags & ~MAP_LOCKED;
    account(as, v, vma_pages(v));
    *vp = vma_merge(as, v);
    return 0;
}

// Pages of the range that are locked already.
static uint64_t locked_in(struct aspace *as, uaddr_t start, uaddr_t end) {
    uint64_t pages = 0;
    for (struct vma *v = vma_find(as, start); v && v->start < end; v = v->next)
        if (v->flags & MAP_LOCKED)
            pages += (MIN(end, v->end) - MAX(start, v->start)) >> PAGE_SHIFT;
    return pages;
}

long aspace_lock_pages(struct aspace *as, uaddr_t addr, size_t len, enum lock_mode mode) {
    bool lock = mode != LOCK_OFF;
    uaddr_t start = ALIGN_DOWN(addr, PAGE_SIZE);
    size_t size = ALIGN_UP(len + (addr - start), PAGE_SIZE);
    if (size < len || start + size < start)
        return -EINVAL;
    if (size == 0)
        return 0;
    if (bad_range(start, size))
        return -ENOMEM;
    uaddr_t end = start + size, at = start;
    int err = 0;
    rwmutex_write_lock(&as->lock);
    if (lock)
        err = check_locked(as, (size >> PAGE_SHIFT) - locked_in(as, start, end));
    if (!err) {
        struct vma *v = vma_find(as, start);
        while (!err && v && v->start <= at && at < end) {
            err = lock_one(as, &v, at, end, lock);
            at = v->end;
            v = v->next;
        }
        if (!err && at < end)
            err = -ENOMEM;
    }
    rwmutex_write_unlock(&as->lock);
    if (!err && mode == LOCK_ON) {
        err = populate(as, start, end, false, true);
        if (err == -EFAULT || err == -EIO)
            err = -ENOMEM;
    }
    return err;
}

long aspace_lock_all(struct aspace *as, unsigned flags) {
    rwmutex_write_lock(&as->lock);
    int err = flags ? check_locked(as, flags & MCL_CURRENT ? as->mapped_pages - as->locked_pages : 0) : 0;
    if (err == -EPERM || (err && (flags & MCL_CURRENT))) {
        rwmutex_write_unlock(&as->lock);
        return err;
    }
    as->lock_future = flags & MCL_FUTURE ? (flags & MCL_ONFAULT ? MCL_ONFAULT : MCL_FUTURE) : 0;
    if (flags != MCL_FUTURE)
        for (struct vma *v = as->first; v; v = v->next)
            (void)lock_one(as, &v, v->start, v->end, flags & MCL_CURRENT);
    rwmutex_write_unlock(&as->lock);
    if ((flags & MCL_CURRENT) && !(flags & MCL_ONFAULT)) {
        // What cannot be had now is left for a fault, as Linux does.
        for (uaddr_t at = 0;;) {
            rwmutex_read_lock(&as->lock);
            struct vma *v = vma_find(as, at);
            uaddr_t start = v ? MAX(at, v->start) : 0, end = v ? v->end : 0;
            rwmutex_read_unlock(&as->lock);
            if (!v)
                break;
            (void)populate(as, start, end, false, true);
            at = end;
        }
    }
    return 0;
}

// ---- msync
// ------------------------------------------------------------------------------------------------------------

long aspace_sync(struct aspace *as, uaddr_t addr, size_t len, int flags) {
    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || !IS_ALIGNED(addr, PAGE_SIZE) ||
        ((flags & MS_ASYNC) && (flags & MS_SYNC)))
        return -EINVAL;
    size_t size = ALIGN_UP(len, PAGE_SIZE);
    if (addr + size < addr || size < len)
        return -ENOMEM;
    if (size == 0)
        return 0;
    uaddr_t start = addr, end = addr + size;
    long err = 0;
    bool hole = false;
    rwmutex_read_lock(&as->lock);
    for (struct vma *v = vma_find(as, start); v && v->start < end && !err; v = v->next) {
        if (v->start > start)
            hole = true;
        uaddr_t from = MAX(start, v->start), to = MIN(end, v->end);
        if ((flags & MS_INVALIDATE) && (v->flags & MAP_LOCKED))
            err = -EBUSY;
        else if ((flags & MS_SYNC) && (v->flags & MAP_SHARED) && v->backing && v->backing->ops->sync)
            err = v->backing->ops->sync(v->backing, (v->offset + (from - v->start)) >> PAGE_SHIFT,
                                        (to - from) >> PAGE_SHIFT);
        start = to;
    }
    rwmutex_read_unlock(&as->lock);
    return err ? err : hole || start < end ? -ENOMEM : 0;
}
