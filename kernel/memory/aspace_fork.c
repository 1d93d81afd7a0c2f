// fork(2)'s part of an address space: a copy of the mappings, and of the page table, whose pages both hold until one
// of them writes. What the child can have again by a fault is left out where that saves work.
//
// Locks: aspace.lock of the parent for writing; both table_locks while entries are copied. Only backing_unmap takes
// the child's table_lock as well, and only one at a time, so there is no order to keep.
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/aspace_pages.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/pagetable.h"

#define PIECE (16 * HUGE_PAGE_SIZE)     // copied in one hold of the locks
#define CHEAP_TO_COPY (2 * HUGE_PAGE_SIZE) // of a file; of larger mappings a child rarely needs much

struct fork {
    struct aspace *parent, *child;
    bool changed; // rights were taken away: stale translations must go
};

// table_lock of the entry held that is copied: where that is the only holder, nobody else can come to be one now.
static inline void share(struct page *p) {
    if (READ_ONCE(p->refs) == 1)
        WRITE_ONCE(p->refs, 2);
    else
        page_ref(p);
}

// The entry for both sides.
static inline pte_t protect(struct fork *f, pte_t *entry) {
    pte_t e = *entry;
    if (pte_writable(e)) {
        e = pte_shared(e);
        WRITE_ONCE(*entry, e); // accessed and dirty are set from the start: the processor writes to no entry
        f->changed = true;
    }
    return e;
}

static bool copy_large(struct fork *f, pte_t *entry, uaddr_t va) {
    pte_t *to = user_entry_make(f->child, va, 2);
    if (!to)
        return false;
    block_ref(phys_to_page(pte_frame(*entry)));
    *to = protect(f, entry);
    f->child->large_pages = true;
    f->child->resident_pages += HUGE_PAGE_SIZE / PAGE_SIZE;
    return true;
}

// [start, end) lies in one table.
static bool copy_table(struct fork *f, pte_t *from, uaddr_t start, uaddr_t end) {
    unsigned i = level_index(start, 1), last = i + ((end - start) >> PAGE_SHIFT);
    pte_t *to = NULL;
    uint64_t resident = 0;
    for (; i < last; i++) {
        if (i % 8 == 0 && i + 8 <= last && eight_empty(&from[i])) {
            i += 7;
            continue;
        }
        if (!pte_used(from[i]))
            continue;
        if (!to) {
            to = user_entry_make(f->child, ALIGN_DOWN(start, HUGE_PAGE_SIZE), 1);
            if (!to)
                return false;
        }
        pte_t e = protect(f, &from[i]);
        if (pte_counted(e)) {
            share(phys_to_page(pte_frame(e)));
            resident++;
        }
        to[i] = e;
    }
    f->child->resident_pages += resident;
    return true;
}

static int copy_pages(struct fork *f, uaddr_t start, uaddr_t end) {
    bool ok = true;
    while (ok && start < end) {
        uaddr_t stop = MIN(end, ALIGN_DOWN(start, PIECE) + PIECE), va = start;
        pte_t *entry2;
        spin_lock(&f->parent->table_lock);
        lock_nested(); // nobody else knows the child
        spin_lock(&f->child->table_lock);
        while (ok && (entry2 = user_entry2_next(f->parent, &va, stop))) {
            uaddr_t next = ALIGN_DOWN(va, HUGE_PAGE_SIZE) + HUGE_PAGE_SIZE;
            ok = *entry2 & PTE_LARGE ? copy_large(f, entry2, va)
                                     : copy_table(f, phys_to_virt(pte_frame(*entry2)), va, MIN(next, stop));
            va = next;
        }
        // On to the next place that is in use.
        start = stop;
        if (start < end && !user_entry2_next(f->parent, &start, end))
            start = end;
        spin_unlock(&f->child->table_lock);
        spin_unlock(&f->parent->table_lock);
        if (start < end)
            sched_point();
    }
    return ok ? 0 : -ENOMEM;
}

// Shared pages can be had again by a fault, and a file's; of private mappings the anonymous copies cannot.
static bool worth_copying(const struct vma *v) {
    if ((v->flags & MAP_SHARED) || (v->vm_flags & VMA_WIPEONFORK))
        return false;
    return !v->backing || v->own_pages || v->end - v->start <= CHEAP_TO_COPY;
}

static int copy_mappings(struct fork *f) {
    struct vma *last = NULL;
    int err = 0;
    for (struct vma *v = f->parent->first; v && !err; v = v->next) {
        if (v->vm_flags & VMA_DONTFORK)
            continue;
        last = vma_copy(f->child, v, last);
        if (!last)
            return -ENOMEM;
        last->flags &= ~MAP_LOCKED; // mlock(2): not inherited
        // Listed behind the parent's mapping of the same object: backing_unmap, which may run at any time, then comes
        // to the child's pages after those that they are copied from.
        vma_attach(last);
        account(f->child, last, vma_pages(last));
        if (worth_copying(v))
            err = copy_pages(f, v->start, v->end);
    }
    return err;
}

static void copy_description(struct aspace *child, const struct aspace *as) {
    child->mmap_base = as->mmap_base;
    child->brk_start = as->brk_start;
    child->brk = as->brk;
    child->limit_as = as->limit_as;
    child->limit_data = as->limit_data;
    child->limit_stack = as->limit_stack;
    child->limit_memlock = as->limit_memlock;
    child->arg_start = as->arg_start;
    child->arg_end = as->arg_end;
    child->env_start = as->env_start;
    child->env_end = as->env_end;
    child->stack_top = as->stack_top;
    child->code_start = as->code_start;
    child->code_end = as->code_end;
    child->data_start = as->data_start;
    child->data_end = as->data_end;
    child->vdso = as->vdso;
    memcpy(child->auxv, as->auxv, as->auxv_words * sizeof(as->auxv[0]));
    child->auxv_words = as->auxv_words;
}

struct aspace *aspace_fork(struct aspace *as) {
    struct fork f = {.parent = as, .child = aspace_create()};
    if (!f.child)
        return ERR_PTR(-ENOMEM);
    rwmutex_write_lock(&as->lock);
    copy_description(f.child, as);
    f.child->forked = as->forked = true;
    int err = copy_mappings(&f);
    if (f.changed)
        pages_flush_all(as);
    rwmutex_write_unlock(&as->lock);
    if (err) {
        aspace_unref(f.child);
        return ERR_PTR(err);
    }
    vma_build(f.child);
    return f.child;
}
