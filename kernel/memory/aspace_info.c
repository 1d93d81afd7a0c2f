// What others want to know of an address space: its mappings (/proc/PID/maps), pages (smaps, mincore), the identity
// of a futex word, and its contents (ptrace-like access, core reports).
//
// Locks: aspace.lock for reading, and table_lock for the looks at entries.
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/page.h"
#include "kernel/memory/reclaim.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/pagetable.h"

static void describe(const struct vma *v, struct vma_info *out) {
    out->start = v->start;
    out->end = v->end;
    out->prot = v->prot;
    out->flags = v->flags;
    out->vm_flags = v->vm_flags;
    out->offset = v->backing ? v->offset : 0;
    out->dev = out->ino = 0;
    out->name[0] = 0;
    if (v->backing && v->backing->ops->describe)
        v->backing->ops->describe(v->backing, out->name, sizeof(out->name), &out->dev, &out->ino);
    else if (v->vm_flags & VMA_VDSO)
        str_copy(out->name, "[vdso]", sizeof(out->name));
    else if (v->vm_flags & VMA_HEAP)
        str_copy(out->name, "[heap]", sizeof(out->name));
    else if (v->vm_flags & VMA_STACK)
        str_copy(out->name, "[stack]", sizeof(out->name));
}

void aspace_each(struct aspace *as, bool (*fn)(void *ctx, const struct vma_info *info), void *ctx) {
    struct vma_info info;
    rwmutex_read_lock(&as->lock);
    for (struct vma *v = as->first; v; v = v->next) {
        describe(v, &info);
        if (!fn(ctx, &info))
            break;
    }
    rwmutex_read_unlock(&as->lock);
}

static inline bool use_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct aspace_usage *out = ctx;
    uint64_t pages = level == 2 ? HUGE_PAGE_SIZE / PAGE_SIZE : 1;
    if (!pte_counted(*entry))
        return true;
    const struct page *p = phys_to_page(pte_frame(*entry));
    out->resident += pages;
    if (level == 2)
        out->huge += pages;
    if (p->flags & PAGE_ANON)
        out->anonymous += pages;
    else
        out->file += pages;
    if (READ_ONCE(p->refs) > 1)
        out->shared += pages;
    return true;
}

void aspace_usage(struct aspace *as, uaddr_t start, uaddr_t end, struct aspace_usage *out) {
    *out = (struct aspace_usage){0};
    spin_lock(&as->table_lock);
    user_walk(as, start, end, use_entry, out);
    spin_unlock(&as->table_lock);
}

uint64_t aspace_peak_resident(struct aspace *as) {
    return MAX(READ_ONCE(as->peak_resident), READ_ONCE(as->resident_pages));
}

struct residence {
    uaddr_t start;
    uint8_t *out;
    size_t count;
};

static inline bool note_entry(void *ctx, pte_t *entry, uaddr_t va, unsigned level) {
    struct residence *r = ctx;
    size_t first = va < r->start ? 0 : (va - r->start) >> PAGE_SHIFT;
    size_t last = level == 2 ? (va + HUGE_PAGE_SIZE - r->start) >> PAGE_SHIFT : first + 1;
    for (; first < MIN(last, r->count); first++)
        r->out[first] = 1;
    return true;
}

// Pages of the object count when it has them, mapped or not.
static void note_object(const struct vma *v, uaddr_t start, uaddr_t end, uint8_t *out) {
    struct backing *b = v->backing;
    struct page *pages[16];
    for (uaddr_t at = start; b && b->ops->peek_pages && at < end;) {
        unsigned n = MIN(ARRAY_SIZE(pages), (end - at) >> PAGE_SHIFT);
        b->ops->peek_pages(b, (v->offset + (at - v->start)) >> PAGE_SHIFT, n, pages);
        for (unsigned i = 0; i < n; i++)
            if (pages[i]) {
                out[i] = 1;
                page_unref(pages[i]);
            }
        at += n * PAGE_SIZE;
        out += n;
    }
}

long aspace_resident(struct aspace *as, uaddr_t addr, size_t count, uint8_t *out) {
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (addr > USER_END || count > (USER_END - addr) >> PAGE_SHIFT)
        return -ENOMEM;
    uaddr_t end = addr + count * PAGE_SIZE;
    long err = 0;
    memset(out, 0, count);
    rwmutex_read_lock(&as->lock);
    if (count && !range_mapped(as, addr, end)) {
        err = -ENOMEM;
    } else if (count) {
        for (struct vma *v = vma_find(as, addr); v && v->start < end; v = v->next) {
            uaddr_t from = MAX(addr, v->start);
            note_object(v, from, MIN(end, v->end), out + ((from - addr) >> PAGE_SHIFT));
        }
        struct residence r = {addr, out, count};
        spin_lock(&as->table_lock);
        user_walk(as, addr, end, note_entry, &r);
        spin_unlock(&as->table_lock);
    }
    rwmutex_read_unlock(&as->lock);
    return err;
}

int aspace_futex_key(struct aspace *as, uaddr_t addr, void **object, uint64_t *offset) {
    rwmutex_read_lock(&as->lock);
    const struct vma *v = vma_find(as, addr);
    int err = v && v->start <= addr ? 0 : -EFAULT;
    if (!err && v->backing && (v->flags & MAP_SHARED)) {
        *object = v->backing;
        *offset = v->offset + (addr - v->start);
    } else {
        *object = as;
        *offset = addr;
    }
    rwmutex_read_unlock(&as->lock);
    return err;
}

static bool may_access(pte_t e, unsigned level, bool write, bool force) {
    if (!pte_used(e))
        return false;
    if (!write)
        return force || (e & PTE_PRESENT);
    if (pte_writable(e) || !force || !pte_counted(e))
        return pte_writable(e);
    const struct page *p = phys_to_page(pte_frame(e)); // a page of its own
    return (p->flags & PAGE_ANON) && mapped_page_sole(p, level);
}

// One page's worth, under table_lock: the page cannot go away, and kernel memory does not fault. 0 or -EAGAIN (not
// there, or not with the right that is needed).
static int access_page(struct aspace *as, uaddr_t addr, void *buf, size_t len, bool write, bool force) {
    int err = -EAGAIN;
    spin_lock(&as->table_lock);
    unsigned level;
    const pte_t *e = user_entry_find(as, addr, &level);
    if (e && may_access(*e, level, write, force)) {
        uint64_t within = addr & ((level == 2 ? HUGE_PAGE_SIZE : PAGE_SIZE) - 1);
        char *at = (char *)phys_to_virt(pte_frame(*e)) + within;
        if (write && !buf)
            memset(at, 0, len);
        else if (write)
            memcpy(at, buf, len);
        else
            memcpy(buf, at, len);
        err = 0;
    }
    spin_unlock(&as->table_lock);
    return err;
}

long aspace_access(struct aspace *as, uaddr_t addr, void *buf, size_t len, bool write, bool force) {
    size_t done = 0;
    while (done < len) {
        uaddr_t at = addr + done;
        size_t n = MIN(len - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
        char *part = buf ? (char *)buf + done : NULL;
        int err = at < USER_END ? access_page(as, at, part, n, write, force) : -EFAULT;
        for (int tries = 0; err == -EAGAIN && tries < 16; tries++) {
            bool accerr;
            err = fault_page(as, at, write ? FAULT_WRITE : FAULT_READ, force, &accerr);
            if (err == -ENOMEM && reclaim_make_room_now())
                err = -EAGAIN;
            if (err == 0)
                err = access_page(as, at, part, n, write, force);
        }
        if (err)
            break;
        done += n;
        sched_point();
    }
    return done || !len ? (long)done : -EFAULT;
}
