// The slow sides of the locks: spinning, and sleeping on mutexes and reader-writer mutexes. A mutex hands itself over to the
// first waiter when it is released; a reader-writer mutex wakes the first, and is handed over only to one that was woken in vain.
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"

void spin_lock_slow(struct spinlock *l)
{
    unsigned i = 1;
    do
        while (READ_ONCE(l->word))
            spin_wait(i++);
    while (!spin_trylock(l));
}

// On the stack of a thread that waits for a sleeping lock. `granted` is set, under the lock's spinlock, by whoever hands it over.
struct lock_waiter {
    struct list link;
    struct thread *thread;
    bool granted, writer;
};

// Taking the spinlock once at the end waits for the one who handed the lock over to be done with the waiter and the lock.
static void wait_until_granted(struct lock_waiter *w, struct spinlock *lock)
{
    for (;;) {
        thread_prepare_sleep(false);
        if (load_acquire(&w->granted))
            break;
        thread_sleep_until(NSEC_MAX);
    }
    thread_cancel_sleep();
    spin_lock(lock);
    spin_unlock(lock);
}

static void grant(struct lock_waiter *w) // the spinlock is held
{
    list_remove(&w->link);
    store_release(&w->granted, true);
    thread_wake(w->thread);
}

// --- mutex: `owner` is the thread, its low bit set while `waiters` is not empty ---

#define HAS_WAITERS 1UL

void mutex_init(struct mutex *m)
{
    m->owner = NULL;
    spin_init(&m->lock);
    list_init(&m->waiters);
}

bool mutex_trylock(struct mutex *m)
{
    struct thread *none = NULL;
    return __atomic_compare_exchange_n(&m->owner, &none, thread_current(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

bool mutex_held(const struct mutex *m)
{
    return ((uintptr_t)READ_ONCE(m->owner) & ~HAS_WAITERS) == (uintptr_t)thread_current();
}

static void mutex_lock_slow(struct mutex *m)
{
    struct lock_waiter w = {.thread = thread_current()};
    spin_lock(&m->lock);
    // Either take it, or leave the mark that makes the owner look for us: nothing may come between.
    uintptr_t old = (uintptr_t)__atomic_load_n(&m->owner, __ATOMIC_RELAXED);
    struct thread *new;
    do
        new = old ? (struct thread *)(old | HAS_WAITERS) : w.thread;
    while (!__atomic_compare_exchange_n(&m->owner, (struct thread **)&old, new, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    if (!old) {
        spin_unlock(&m->lock);
        return;
    }
    ASSERT((old & ~HAS_WAITERS) != (uintptr_t)w.thread);
    list_push_back(&m->waiters, &w.link);
    spin_unlock(&m->lock);
    wait_until_granted(&w, &m->lock);
}

void mutex_lock(struct mutex *m)
{
    if (unlikely(!mutex_trylock(m)))
        mutex_lock_slow(m);
}

static void mutex_unlock_slow(struct mutex *m)
{
    spin_lock(&m->lock);
    ASSERT(mutex_held(m) && !list_empty(&m->waiters));
    struct lock_waiter *w = list_first(&m->waiters, struct lock_waiter, link);
    bool more = w->link.next != &m->waiters;
    store_release(&m->owner, (struct thread *)((uintptr_t)w->thread | (more ? HAS_WAITERS : 0)));
    grant(w);
    spin_unlock(&m->lock);
}

void mutex_unlock(struct mutex *m)
{
    struct thread *self = thread_current();
    if (unlikely(!__atomic_compare_exchange_n(&m->owner, &self, NULL, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)))
        mutex_unlock_slow(m);
}

// --- rwmutex ---

#define RW_WRITER 1u  // a writer has it
#define RW_WAITERS 2u // somebody sleeps: whoever releases the lock wakes the first
#define RW_HANDOFF 4u // the first sleeper was woken in vain: nobody else may take the lock before it
#define RW_READER 8u  // one reader

struct rw_waiter {
    struct list link;
    struct thread *thread;
    bool writer, woken;
};

void rwmutex_init(struct rwmutex *m)
{
    m->word = 0;
    spin_init(&m->lock);
    list_init(&m->waiters);
}

static inline bool try_read(struct rwmutex *m)
{
    uint32_t old = __atomic_load_n(&m->word, __ATOMIC_RELAXED);
    while (!(old & (RW_WRITER | RW_HANDOFF)))
        if (__atomic_compare_exchange_n(&m->word, &old, old + RW_READER, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
    return false;
}

static inline bool try_write(struct rwmutex *m)
{
    uint32_t old = __atomic_load_n(&m->word, __ATOMIC_RELAXED);
    while (!(old & ~RW_WAITERS))
        if (__atomic_compare_exchange_n(&m->word, &old, old | RW_WRITER, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
    return false;
}

// The sections are mostly short and their holders running: going to sleep and being woken costs more than a little patience.
// Pointless on a single CPU.
#define SPINS 2000

static bool spin_for(struct rwmutex *m, bool (*try)(struct rwmutex *m))
{
    for (unsigned i = 1; cpu_count > 1 && i < SPINS; i++) {
        if (!(READ_ONCE(m->word) & RW_WRITER) && try(m))
            return true;
        spin_wait(i);
    }
    return false;
}

// A reader behind other readers only may take the lock with them.
static bool may_take(struct rwmutex *m, struct rw_waiter *w)
{
    for (struct list *l = w->link.prev; l != &m->waiters; l = l->prev)
        if (w->writer || list_entry(l, struct rw_waiter, link)->writer)
            return false;
    return true;
}

// A sleeper's try, by itself. On success it is out of the queue, and *next is one that may have the lock as well.
static bool take_in_turn(struct rwmutex *m, struct rw_waiter *w, struct thread **next)
{
    uint32_t busy = w->writer ? ~(RW_WAITERS | RW_HANDOFF) : RW_WRITER;
    bool done = false;
    spin_lock(&m->lock);
    if (may_take(m, w)) {
        bool first = m->waiters.next == &w->link, last = first && m->waiters.prev == &w->link;
        uint32_t old = __atomic_load_n(&m->word, __ATOMIC_RELAXED), new;
        do {
            done = !(old & busy);
            if (done)
                new = (old + (w->writer ? RW_WRITER : RW_READER)) & ~(first ? RW_HANDOFF : 0) & ~(last ? RW_WAITERS : 0);
            else
                new = old | (w->woken && first ? RW_HANDOFF : 0);
        } while (!__atomic_compare_exchange_n(&m->word, &old, new, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    }
    if (done) {
        struct list *after = w->link.next;
        if (!w->writer && after != &m->waiters && !list_entry(after, struct rw_waiter, link)->writer) {
            *next = list_entry(after, struct rw_waiter, link)->thread;
            thread_ref(*next);
        }
        list_remove(&w->link);
    }
    spin_unlock(&m->lock);
    return done;
}

static void rwmutex_wait(struct rwmutex *m, bool writer)
{
    struct rw_waiter w = {.thread = thread_current(), .writer = writer};
    struct thread *next = NULL;
    spin_lock(&m->lock);
    list_push_back(&m->waiters, &w.link);
    atomic_or(&m->word, RW_WAITERS);
    spin_unlock(&m->lock);
    for (;;) {
        thread_prepare_sleep(false);
        if (take_in_turn(m, &w, &next))
            break;
        thread_sleep_until(NSEC_MAX);
        w.woken = true;
    }
    thread_cancel_sleep();
    if (next) {
        thread_wake(next);
        thread_unref(next);
    }
}

// Out of the spinlock: waking may send an interrupt to another CPU.
static void wake_first(struct rwmutex *m)
{
    struct thread *t = NULL;
    spin_lock(&m->lock);
    if (!list_empty(&m->waiters)) {
        t = list_first(&m->waiters, struct rw_waiter, link)->thread;
        thread_ref(t);
    }
    spin_unlock(&m->lock);
    if (t) {
        thread_wake(t);
        thread_unref(t);
    }
}

void rwmutex_read_lock(struct rwmutex *m)
{
    if (unlikely(!try_read(m)) && !spin_for(m, try_read))
        rwmutex_wait(m, false);
}

void rwmutex_read_unlock(struct rwmutex *m)
{
    uint32_t left = __atomic_sub_fetch(&m->word, RW_READER, __ATOMIC_RELEASE);
    if (unlikely(left & RW_WAITERS) && left < RW_READER)
        wake_first(m);
}

void rwmutex_write_lock(struct rwmutex *m)
{
    if (unlikely(!try_write(m)) && !spin_for(m, try_write))
        rwmutex_wait(m, true);
}

void rwmutex_write_unlock(struct rwmutex *m)
{
    ASSERT(READ_ONCE(m->word) & RW_WRITER);
    uint32_t left = __atomic_and_fetch(&m->word, ~RW_WRITER, __ATOMIC_RELEASE);
    if (unlikely(left & RW_WAITERS))
        wake_first(m);
}
