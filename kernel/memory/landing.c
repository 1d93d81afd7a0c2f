// See kernel/memory/landing.h.
#include "kernel/memory/landing.h"
#include "kernel/memory/block.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/pagetable.h"

#define PAGES 17 // 64 KiB that begin anywhere

struct target {
    char *at[PAGES]; // each page's first byte, or in the first page that of the buffer
    struct page *held[PAGES];
    uint32_t large; // bit i: held[i] is the head of a large page
    unsigned pages, holds;
};

// --- The reader ---

bool landing_offer(struct landing **place, struct landing *l, const struct uio *u) {
    if (!u->user || u->left < LANDING_MIN)
        return false;
    size_t room = MIN(u->vec->len - u->vec_offset, u->left);
    uaddr_t base = u->vec->base + u->vec_offset;
    if (room < LANDING_MIN || READ_ONCE(*place) || base >= USER_END)
        return false;
    struct thread *t = thread_current();
    *l = (struct landing){.thread = t, .aspace = t->process->aspace, .base = base, .room = MIN(room, USER_END - base)};
    struct landing *none = NULL;
    return __atomic_compare_exchange_n(place, &none, l, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

size_t landing_end(struct landing **place, struct landing *l, struct uio *u) {
    struct landing *mine = l;
    if (!__atomic_compare_exchange_n(place, &mine, NULL, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        for (unsigned i = 1; !landing_over(l); i++) // a writer on another CPU is copying: it does not sleep
            spin_wait(i);
        u->vec_offset += l->count;
        u->left -= l->count;
    }
    return l->count;
}

// --- The writer ---

// The entry of a page, which it is when a store through it needs no fault and nobody else sees the page. table_lock held.
static const pte_t *find_entry(struct aspace *as, uaddr_t va, unsigned *level) {
    const pte_t *e = user_entry_find(as, va, level);
    return e && pte_allows(*e, true, false) && pte_counted(*e) && (phys_to_page(pte_frame(*e))->flags & PAGE_ANON) ? e : NULL;
}

static void hold(struct target *t, struct page *p, unsigned level) {
    if (level == 1) {
        page_ref(p);
    } else {
        if (t->holds && t->held[t->holds - 1] == p)
            return;
        block_ref(p);
        t->large |= 1u << t->holds;
    }
    t->held[t->holds++] = p;
}

static void release(struct target *t) {
    for (unsigned i = 0; i < t->holds; i++)
        mapped_page_unref(t->held[i], t->large >> i & 1 ? 2 : 1);
}

// All pages of the range, or false. aspace.lock held.
static bool find_pages(struct target *t, struct aspace *as, uaddr_t base, size_t n) {
    uaddr_t va = base;
    t->large = t->pages = t->holds = 0;
    spin_lock(&as->table_lock);
    while (va < base + n) {
        unsigned level;
        const pte_t *e = find_entry(as, va, &level);
        if (!e)
            break;
        // The next ones of the same table lie behind it.
        do {
            uint64_t within = va & ((level == 2 ? HUGE_PAGE_SIZE : PAGE_SIZE) - 1);
            hold(t, phys_to_page(pte_frame(*e)), level);
            t->at[t->pages++] = (char *)phys_to_virt(pte_frame(*e)) + within;
            va = ALIGN_DOWN(va, PAGE_SIZE) + PAGE_SIZE;
            if (level == 1)
                e++;
        } while (va < base + n && (va & (HUGE_PAGE_SIZE - 1)) &&
                 (level == 2 || (pte_allows(*e, true, false) && pte_counted(*e) && (phys_to_page(pte_frame(*e))->flags & PAGE_ANON))));
    }
    spin_unlock(&as->table_lock);
    return va >= base + n;
}

static size_t copy_pages(const struct target *t, struct uio *u, size_t n) {
    struct thread *me = thread_current();
    size_t done = 0;
    me->no_faults = true;
    for (unsigned i = 0; done < n; i++) {
        size_t some = MIN(PAGE_SIZE - ((uintptr_t)t->at[i] & (PAGE_SIZE - 1)), n - done), got = uio_get(u, t->at[i], some);
        done += got;
        if (got < some)
            break;
    }
    me->no_faults = false;
    return done;
}

size_t landing_fill(struct landing **place, struct uio *u, size_t n) {
    struct landing *l = atomic_xchg(place, NULL);
    if (!l)
        return 0;
    struct target t;
    size_t done = 0;
    n = MIN(MIN(n, l->room), (PAGES - 1) * PAGE_SIZE);
    if (rwmutex_read_trylock(&l->aspace->lock)) {
        if (find_pages(&t, l->aspace, l->base, n))
            done = copy_pages(&t, u, n);
        release(&t);
        rwmutex_read_unlock(&l->aspace->lock);
    }
    if (!done) {
        store_release(&l->over, 1); // it goes on waiting for the queue
        return 0;
    }
    struct thread *reader = l->thread;
    thread_ref(reader);
    l->count = done;
    store_release(&l->over, 1); // and the reader may be gone
    thread_wake(reader);
    thread_unref(reader);
    return done;
}
