// The slow sides of the locks: spinning, and sleeping on mutexes and reader-writer mutexes. A sleeping lock hands itself over
// to the first waiter when it is released, so that nobody starves and a woken thread has what it waited for.
#include "kernel/lock.h"
#include "kernel/log.h"
#include "kernel/thread.h"
#include "kernel/x86/cpu.h"

void spin_lock_slow(struct spinlock *l, uint16_t ticket)
{
    do
        cpu_pause();
    while (load_acquire(&l->owner) != ticket);
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

// --- rwmutex: all under its spinlock. A new reader queues behind a waiting writer ---

void rwmutex_init(struct rwmutex *m)
{
    m->readers = 0;
    m->writers_waiting = 0;
    spin_init(&m->lock);
    list_init(&m->waiters);
}

static void rwmutex_wait(struct rwmutex *m, bool writer) // releases the spinlock
{
    struct lock_waiter w = {.thread = thread_current(), .writer = writer};
    list_push_back(&m->waiters, &w.link);
    m->writers_waiting += writer;
    spin_unlock(&m->lock);
    wait_until_granted(&w, &m->lock);
}

// Hands the lock to those in front of the queue who can have it now.
static void rwmutex_grant(struct rwmutex *m)
{
    struct lock_waiter *w, *tmp;
    list_for_each_safe(w, tmp, &m->waiters, link) {
        if (w->writer) {
            if (m->readers)
                break;
            m->readers = -1;
            m->writers_waiting--;
            grant(w);
            break;
        }
        if (m->readers < 0)
            break;
        m->readers++;
        grant(w);
    }
}

// The sections are mostly short and their holders running: going to sleep and being woken costs more than a little patience.
// Pointless on a single CPU.
#define SPINS 1000

static bool read_free(const struct rwmutex *m)
{
    return READ_ONCE(m->readers) >= 0 && !READ_ONCE(m->writers_waiting);
}

static bool write_free(const struct rwmutex *m)
{
    return READ_ONCE(m->readers) == 0 && list_empty(&m->waiters);
}

static void rwmutex_spin(struct rwmutex *m, bool (*is_free)(const struct rwmutex *m))
{
    for (unsigned i = 0; cpu_count > 1 && i < SPINS && !is_free(m); i++)
        cpu_pause();
}

void rwmutex_read_lock(struct rwmutex *m)
{
    if (unlikely(!read_free(m)))
        rwmutex_spin(m, read_free);
    spin_lock(&m->lock);
    if (likely(m->readers >= 0 && !m->writers_waiting)) {
        m->readers++;
        spin_unlock(&m->lock);
        return;
    }
    rwmutex_wait(m, false);
}

void rwmutex_read_unlock(struct rwmutex *m)
{
    spin_lock(&m->lock);
    ASSERT(m->readers > 0);
    if (--m->readers == 0 && unlikely(!list_empty(&m->waiters)))
        rwmutex_grant(m);
    spin_unlock(&m->lock);
}

void rwmutex_write_lock(struct rwmutex *m)
{
    if (unlikely(!write_free(m)))
        rwmutex_spin(m, write_free);
    spin_lock(&m->lock);
    if (likely(m->readers == 0 && list_empty(&m->waiters))) {
        m->readers = -1;
        spin_unlock(&m->lock);
        return;
    }
    rwmutex_wait(m, true);
}

void rwmutex_write_unlock(struct rwmutex *m)
{
    spin_lock(&m->lock);
    ASSERT(m->readers == -1);
    m->readers = 0;
    if (unlikely(!list_empty(&m->waiters)))
        rwmutex_grant(m);
    spin_unlock(&m->lock);
}
