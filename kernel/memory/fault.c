// Page faults: what the page at an address is to be, and putting it there.
//
// Anonymous memory: zero-filled on demand; a read is shown the shared zero page. Private pages that several hold
// (fork, a file's cache) are mapped read-only and copied at the first write. Shared mappings show the object's own
// pages, read-only until the first write, so that the object hears of it. A read of a file's page brings its
// neighbours along that are there already. A fault that had to wait for a file's page is a major one.
//
// Locks: aspace.lock for reading keeps the mappings and the tables as they are; table_lock makes the look at an entry
// and its change one step. A file's page is got before table_lock is taken, as that may sleep, also for a disk: so nothing that a
// page waits for (a file system's reads and writes, giving memory back) may want aspace.lock. backing.unmaps tells whether
// the page was taken away in the meantime.
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/huge.h"
#include "kernel/memory/oom.h"
#include "kernel/memory/page.h"
#include "kernel/memory/reclaim.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/pageops.h"
#include "kernel/x86/pagetable.h"

#define AROUND 16 // pages of a file that one read fault maps at most

static phys_t zero_frame; // of the page of zeroes that reads are shown; never freed

bool fault_prepare(void) {
    if (likely(zero_frame))
        return true;
    struct page *p = page_alloc(0, PA_ZERO);
    if (!p)
        return false;
    phys_t none = 0;
    if (!__atomic_compare_exchange_n(&zero_frame, &none, page_to_phys(p), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        page_unref(p);
    return true;
}

static unsigned shown_prot(const struct vma *v, bool write) {
    return write ? v->prot : v->prot & (PROT_READ | PROT_EXEC) ? v->prot & ~PROT_WRITE : PROT_READ;
}

static pte_t zero_entry(const struct vma *v) { return pte_make(zero_frame, shown_prot(v, false)) | PTE_NOREF; }

// Puts a page in the place of another one that was shown. table_lock held.
static void replace_page(struct aspace *as, pte_t *entry, uaddr_t va, struct page *fresh, unsigned prot) {
    pte_t old = pte_exchange(entry, pte_make(page_to_phys(fresh), prot));
    if (old & PTE_PRESENT) {
        struct tlb_batch b;
        tlb_batch_begin(&b, as);
        tlb_batch_stale(&b, va);
        if (pte_counted(old))
            tlb_batch_release(&b, phys_to_page(pte_frame(old)), 1);
        tlb_batch_flush(&b);
    } else if (pte_counted(old)) {
        page_unref(phys_to_page(pte_frame(old)));
    }
    if (!pte_counted(old))
        as->resident_pages++;
}

// A write to a page that is there, in a private mapping. table_lock held. `fresh` is a page to copy to, or NULL. 0,
// or -EAGAIN when one is needed. *used tells whether it was used.
static int write_private(struct aspace *as, const struct vma *v, pte_t *entry, uaddr_t va, struct page *fresh,
                         bool *used) {
    pte_t e = *entry;
    if (pte_allows(e, true, false)) // another thread was faster
        return 0;
    if (pte_counted(e)) {
        const struct page *p = phys_to_page(pte_frame(e));
        if ((p->flags & PAGE_ANON) && load_acquire(&p->refs) == 1) {
            // Nobody else has it any more.
            pte_exchange(entry, pte_change(e, v->prot) | (v->prot & PROT_WRITE ? PTE_WRITE | PTE_DIRTY : 0));
            return 0;
        }
    }
    if (!fresh)
        return -EAGAIN;
    pages_copy(page_to_virt(fresh), phys_to_virt(pte_frame(e)), PAGE_SIZE);
    replace_page(as, entry, va, fresh, v->prot);
    *used = true;
    return 0;
}

// The entry of level 1, made when missing, or that of a large page, for writing only when the page is this address
// space's own: others are split. NULL: no memory. table_lock held.
static __attribute__((noinline)) pte_t *entry_or_large(struct aspace *as, const struct vma *v, uaddr_t va, bool write) {
    pte_t *entry = user_entry_make(as, va, 1);
    if (entry)
        return entry;
    unsigned level;
    entry = user_entry_find(as, va, &level);
    if (!entry || level != 2 || !pte_used(*entry))
        return NULL;
    if (!write || pte_writable(*entry))
        return entry;
    struct page *head = phys_to_page(pte_frame(*entry));
    if (mapped_page_sole(head, 2) || (!head->order && block_join(head))) {
        if (v->prot & PROT_WRITE)
            pte_exchange(entry, pte_change(*entry, v->prot) | PTE_WRITE | PTE_DIRTY);
        return entry;
    }
    if (!user_entry_split(as, entry))
        return NULL;
    block_split(head);
    tlb_flush_user(as, va);
    return user_entry_quick(as, va);
}

static int fault_anonymous(struct aspace *as, const struct vma *v, uaddr_t va, bool write) {
    // The page is got and zeroed before the lock is taken. After a fork a copy is likely wanted instead: then look
    // first.
    bool look_first = as->forked, copy = false, used = false;
    struct page *fresh = NULL;
    int err;
    for (;;) {
        if (write && !look_first && !(fresh = page_alloc(0, copy ? PA_ANON : PA_ZERO | PA_ANON)))
            return -ENOMEM;
        look_first = false;
        err = 0;
        spin_lock(&as->table_lock);
        pte_t *entry = user_entry_quick(as, va);
        if (unlikely(!entry))
            entry = entry_or_large(as, v, va, write);
        if (unlikely(!entry)) {
            err = -ENOMEM;
        } else if (!pte_used(*entry)) {
            if (!write) {
                *entry = zero_entry(v);
            } else if (likely(fresh && !copy)) {
                *entry = pte_make(page_to_phys(fresh), v->prot);
                as->resident_pages++;
                used = true;
            } else {
                err = -EAGAIN;
                copy = false;
            }
        } else if (write && pte_counted(*entry)) {
            err = write_private(as, v, entry, va, fresh, &used);
            copy = true;
        } else if (write) { // the zero page
            if (likely(fresh && !copy)) {
                replace_page(as, entry, va, fresh, v->prot);
                used = true;
            } else {
                err = -EAGAIN;
                copy = false;
            }
        }
        spin_unlock(&as->table_lock);
        if (fresh && !used)
            page_unref(fresh);
        if (likely(err != -EAGAIN))
            return err;
        fresh = NULL;
    }
}

// Maps those neighbours of the page at va that the object has at hand.
static void fault_around(struct aspace *as, const struct vma *v, uaddr_t va, uint32_t unmaps) {
    struct backing *b = v->backing;
    struct page *pages[AROUND];
    uaddr_t start = MAX(ALIGN_DOWN(va, AROUND * PAGE_SIZE), v->start);
    uaddr_t end = MIN(ALIGN_DOWN(va, AROUND * PAGE_SIZE) + AROUND * PAGE_SIZE, v->end);
    unsigned count = (end - start) >> PAGE_SHIFT;
    if (count < 2)
        return;
    b->ops->peek_pages(b, (v->offset + (start - v->start)) >> PAGE_SHIFT, count, pages);
    unsigned prot = shown_prot(v, false);
    spin_lock(&as->table_lock);
    pte_t *entry = load_acquire(&b->unmaps) == unmaps ? user_entry_make(as, start, 1) : NULL;
    for (unsigned i = 0; i < count; i++) {
        if (!pages[i])
            continue;
        if (entry && !pte_used(entry[i])) {
            entry[i] = pte_make(page_to_phys(pages[i]), prot);
            as->resident_pages++;
        } else {
            page_unref(pages[i]);
        }
    }
    spin_unlock(&as->table_lock);
}

// 1: done, but the page had to be waited for.
static __attribute__((noinline)) int fault_backed(struct aspace *as, struct vma *v, uaddr_t va, bool write) {
    struct backing *b = v->backing;
    bool shared = v->flags & MAP_SHARED, used = false;
    struct page *fresh = NULL;
    int err = 0;

    if (write && !shared) {
        // A page of ours, or a copy of the file's page that is shown already?
        fresh = page_alloc(0, PA_ANON);
        if (!fresh)
            return -ENOMEM;
        WRITE_ONCE(v->own_pages, true);
        spin_lock(&as->table_lock);
        unsigned level;
        pte_t *entry = user_entry_find(as, va, &level);
        bool there = entry && pte_used(*entry);
        if (there)
            (void)write_private(as, v, entry, va, fresh, &used);
        spin_unlock(&as->table_lock);
        if (there) {
            if (!used)
                page_unref(fresh);
            return 0;
        }
    }

    uint32_t unmaps = load_acquire(&b->unmaps), waits = thread_current()->page_waits;
    struct page *p = b->ops->get_page(b, (v->offset + (va - v->start)) >> PAGE_SHIFT, write && shared);
    if (IS_ERR(p)) {
        if (fresh)
            page_unref(fresh);
        return PTR_ERR(p) == -ENOMEM || PTR_ERR(p) == -EINTR ? (int)PTR_ERR(p) : -EIO;
    }
    if (fresh) {
        pages_copy(page_to_virt(fresh), page_to_virt(p), PAGE_SIZE);
        page_unref(p);
        p = fresh;
    }
    spin_lock(&as->table_lock);
    pte_t *entry = user_entry_make(as, va, 1);
    if (!entry) {
        err = -ENOMEM;
    } else if (load_acquire(&b->unmaps) == unmaps) {
        if (!pte_used(*entry)) {
            *entry = pte_make(page_to_phys(p), shown_prot(v, write));
            as->resident_pages++;
            used = true;
        } else if (shared && write && pte_frame(*entry) == page_to_phys(p)) {
            pte_exchange(entry, pte_make(page_to_phys(p), v->prot)); // the object has heard of the write
        } else if (shared && pte_frame(*entry) != page_to_phys(p)) {
            replace_page(as, entry, va, p, shown_prot(v, write));
            used = true;
        }
    } // else the page may be gone from the object: the access faults again
    spin_unlock(&as->table_lock);
    if (!used)
        page_unref(p);
    if (used && !write && b->ops->peek_pages)
        fault_around(as, v, va, unmaps);
    return err ? err : thread_current()->page_waits != waits;
}

// aspace.lock held for reading.
static int fault_in(struct aspace *as, struct vma *v, uaddr_t va, bool write) {
    if (v->backing)
        return fault_backed(as, v, va, write);
    if (write && huge_possible(as, v, va) && huge_fault(as, v, va))
        return 0;
    return fault_anonymous(as, v, va, write);
}

// The mapping at v->start grows down to the page of addr, when it may. aspace.lock NOT held.
static bool grow_stack(struct aspace *as, uaddr_t addr) {
    uaddr_t start = ALIGN_DOWN(addr, PAGE_SIZE);
    bool grown = false;
    rwmutex_write_lock(&as->lock);
    struct vma *v = vma_find(as, addr);
    if (v && v->start <= addr) { // another thread has done it
        grown = true;
    } else if (v && (v->flags & MAP_GROWSDOWN) && start >= USER_START && v->end - start <= as->limit_stack) {
        uint64_t pages = (v->start - start) >> PAGE_SHIFT;
        const struct vma *prev = v->prev;
        uint64_t gap = !prev || (prev->flags & MAP_GROWSDOWN) || !prev->prot ? 0 : STACK_GUARD_GAP;
        if ((!prev || start - gap >= prev->end) && !check_limits(as, v, pages)) {
            vma_set_bounds(v, start, v->end);
            account(as, v, pages);
            grown = true;
        }
    }
    rwmutex_write_unlock(&as->lock);
    return grown;
}

static bool access_allowed(const struct vma *v, enum fault_access access) {
    if (access == FAULT_WRITE)
        return v->prot & PROT_WRITE;
    if (access == FAULT_EXEC)
        return v->prot & PROT_EXEC;
    return v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

static inline __attribute__((always_inline)) int do_fault(struct aspace *as, uaddr_t addr, enum fault_access access,
                                                          bool force, bool *accerr) {
    *accerr = false;
    for (;;) {
        rwmutex_read_lock(&as->lock);
        struct vma *v = vma_find(as, addr);
        if (unlikely(!v || addr < v->start)) {
            bool may_grow = v && (v->flags & MAP_GROWSDOWN);
            rwmutex_read_unlock(&as->lock);
            if (may_grow && grow_stack(as, addr))
                continue;
            return -EFAULT;
        }
        int err;
        if (likely(access_allowed(v, access) || (force && !(v->flags & MAP_SHARED)))) {
            err = fault_in(as, v, ALIGN_DOWN(addr, PAGE_SIZE), access == FAULT_WRITE);
        } else {
            *accerr = true;
            err = -EFAULT;
        }
        rwmutex_read_unlock(&as->lock);
        return err;
    }
}

int fault_page(struct aspace *as, uaddr_t addr, enum fault_access access, bool force, bool *accerr) {
    int err = do_fault(as, addr, access, force, accerr);
    return MIN(err, 0);
}

int aspace_fault(struct aspace *as, uaddr_t addr, enum fault_access access, uaddr_t user_sp, int *code) {
    bool accerr;
    for (;;) {
        int err = do_fault(as, addr, access, false, &accerr);
        if (likely(!err)) {
            thread_current()->minor_faults++;
            return 0;
        }
        if (err > 0) {
            thread_current()->major_faults++;
            return 0;
        }
        if (err == -EINTR) // killed while it waited for a file's page
            return err;
        if (err == -EFAULT) {
            *code = accerr ? SEGV_ACCERR : SEGV_MAPERR;
            return SIGSEGV;
        }
        if (err != -ENOMEM) {
            *code = BUS_ADRERR;
            return SIGBUS;
        }
        if (!reclaim_make_room_now() && !oom_handle("a page of the program"))
            return -ENOMEM;
    }
}

int populate(struct aspace *as, uaddr_t start, uaddr_t end, bool write, bool force) {
    for (uaddr_t va = start; va < end;) {
        rwmutex_read_lock(&as->lock);
        struct vma *v = vma_find(as, va);
        int err = v && v->start <= va ? 0 : -ENOMEM;
        bool no_page = false;
        // Some pages in one hold of the lock, but not so many that mmap starves.
        uaddr_t stop = MIN(end, va + 64 * PAGE_SIZE);
        while (!err && va < stop && va < v->end) {
            if (!v->prot || (write && !(v->prot & PROT_WRITE)))
                err = -EFAULT;
            else
                err = fault_in(as, v, va, write || (force && (v->prot & PROT_WRITE) && !(v->flags & MAP_SHARED)));
            no_page = err == -ENOMEM;
            if (err > 0)
                err = 0;
            if (!no_page)
                va += PAGE_SIZE;
        }
        rwmutex_read_unlock(&as->lock);
        if (err && !(no_page && reclaim_make_room_now()))
            return err;
        sched_point();
    }
    return 0;
}
