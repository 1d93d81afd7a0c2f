// mremap(2): growing, shrinking and moving mappings.
//
// Locks: aspace.lock for writing throughout.
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/aspace_pages.h"

#define KNOWN_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

struct remap {
    struct aspace *as;
    uaddr_t addr, new_addr;
    size_t old_len, new_len;
    unsigned flags;
};

static int check_growth(struct aspace *as, const struct vma *v, uint64_t pages) {
    if (check_limits(as, v, pages) || check_commit(v, pages))
        return -ENOMEM;
    if ((v->flags & MAP_LOCKED) && check_locked(as, pages))
        return -EAGAIN;
    return 0;
}

// The old range becomes a mapping at `to` of new_len bytes, with its pages.
static long move(struct remap *r, struct vma *v, uaddr_t to) {
    struct aspace *as = r->as;
    bool keep = r->flags & MREMAP_DONTUNMAP;
    struct vma *moved = vma_alloc(as);
    if (!moved)
        return -ENOMEM;
    moved->start = to;
    moved->end = to + r->new_len;
    moved->prot = v->prot;
    moved->max_prot = v->max_prot;
    moved->flags = v->flags;
    moved->vm_flags = v->vm_flags & ~VMA_HEAP;
    moved->own_pages = v->own_pages;
    moved->backing = v->backing;
    moved->offset = v->backing ? v->offset + (r->addr - v->start) : 0;
    vma_attach(moved); // behind the old one: backing_unmap meets the pages here if it missed them there
    vma_insert(as, moved);
    account(as, moved, vma_pages(moved));
    // old_len 0: a second mapping of shared pages, which come by faults.
    size_t len = MIN(r->old_len, r->new_len);
    int err = len ? pages_move(as, r->addr, to, len) : 0;
    if (err) {
        (void)unmap_range(as, to, to + r->new_len);
        return err;
    }
    if (r->old_len && !keep) {
        err = unmap_range(as, r->addr, r->addr + r->old_len);
        if (err) { // the old mapping stays, empty: it could not be cut
            vma_merge(as, moved);
            return to;
        }
    }
    vma_merge(as, moved);
    return to;
}

static long remap_locked(struct remap *r) {
    struct aspace *as = r->as;
    bool fixed = r->flags & MREMAP_FIXED;
    uaddr_t old_end = r->addr + r->old_len;

    struct vma *v = vma_find(as, r->addr);
    if (!v || v->start > r->addr)
        return -EFAULT;
    if (r->old_len == 0 && (!(v->flags & MAP_SHARED) || !(r->flags & MREMAP_MAYMOVE)))
        return -EINVAL;
    if (fixed) {
        int err = unmap_range(as, r->new_addr, r->new_addr + r->new_len);
        if (err)
            return err;
    }
    if (r->new_len < r->old_len) {
        int err = unmap_range(as, r->addr + r->new_len, old_end);
        if (err)
            return err;
        r->old_len = r->new_len;
        old_end = r->addr + r->old_len;
    }
    v = vma_find(as, r->addr); // the unmapping may have cut it
    if (r->new_len == r->old_len && !fixed && !(r->flags & MREMAP_DONTUNMAP))
        return r->addr;
    if (v->end < old_end)
        return -EFAULT;
    if (v->backing && v->offset + (r->addr - v->start) + r->new_len < r->new_len)
        return -EINVAL;

    uint64_t more = (r->new_len - r->old_len) >> PAGE_SHIFT;
    if (r->flags & MREMAP_DONTUNMAP)
        more = r->new_len >> PAGE_SHIFT;
    int err = more ? check_growth(as, v, more) : 0;
    if (err)
        return err;
    if (!fixed && r->old_len && v->end == old_end && r->new_len > r->old_len && r->addr + r->new_len <= USER_END &&
        vma_range_free(as, old_end, r->addr + r->new_len)) {
        vma_set_bounds(v, v->start, r->addr + r->new_len);
        account(as, v, more);
        vma_merge(as, v);
        return r->addr;
    }
    if (!(r->flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    long to = r->new_addr;
    if (!fixed) {
        size_t align = !v->backing && r->new_len >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : PAGE_SIZE;
        to = find_place(as, r->flags & MREMAP_DONTUNMAP ? r->new_addr : 0, r->new_len, 0, align);
        if (to < 0)
            return to;
    }
    return move(r, v, to);
}

long aspace_remap(struct aspace *as, uaddr_t addr, size_t old_len, size_t new_len, unsigned flags, uaddr_t new_addr) {
    struct remap r = {as, addr, new_addr, ALIGN_UP(old_len, PAGE_SIZE), ALIGN_UP(new_len, PAGE_SIZE), flags};
    if ((flags & ~KNOWN_FLAGS) || !IS_ALIGNED(addr, PAGE_SIZE) || r.new_len == 0 || r.old_len < old_len ||
        ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) ||
        ((flags & MREMAP_DONTUNMAP) && r.old_len != r.new_len))
        return -EINVAL;
    if (addr >= USER_END || r.old_len > USER_END - addr)
        return -EFAULT;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        if (!IS_ALIGNED(new_addr, PAGE_SIZE) || r.new_len > USER_END || new_addr > USER_END - r.new_len)
            return -EINVAL;
        if (flags & MREMAP_FIXED) {
            if (new_addr < USER_START)
                return -EPERM;
            if (addr + r.old_len > new_addr && new_addr + r.new_len > addr)
                return -EINVAL;
        }
    }
    if (r.new_len > USER_END)
        return -ENOMEM;
    uaddr_t fill_start = 0, fill_end = 0;
    rwmutex_write_lock(&as->lock);
    long at = remap_locked(&r);
    if (at >= 0 && new_len > old_len) {
        struct vma *v = vma_find(as, at);
        if (v && v->start <= (uaddr_t)at && (v->flags & MAP_LOCKED)) {
            fill_start = at + ALIGN_UP(old_len, PAGE_SIZE);
            fill_end = at + r.new_len;
        }
    }
    rwmutex_write_unlock(&as->lock);
    if (fill_start < fill_end)
        (void)populate(as, fill_start, fill_end, false, true);
    return at;
}
