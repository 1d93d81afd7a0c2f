// Reader-writer mutexes: one atomic word when nobody waits. A release wakes the first sleeper; any running thread may be faster,
// until that one has been woken in vain and reserves the lock. Readers that stand together are let in together.
// One is taken where the lock functions return, and free again when the unlock functions begin: nowhere else.
#include "kernel/log.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/lock_waiter.h"
#include "kernel/x86/cpu.h"

#define RW_WRITER 1u  // a writer has it
#define RW_WAITERS 2u // somebody sleeps: whoever releases the lock wakes the first
#define RW_HANDOFF 4u // the first sleeper was woken in vain: nobody else may take the lock before it
#define RW_READER 8u  // one reader

void rwmutex_init(struct rwmutex *m)
{
    m->word = 0;
    spin_init(&m->lock);
    list_init(&m->waiters);
    CHECKED(m->check = 0;)
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

static bool spin_for(struct rwmutex *m, bool (*try)(struct rwmutex *m))
{
    for (unsigned i = 1; cpu_count > 1 && i < LOCK_SPINS; i++) {
        if (!(READ_ONCE(m->word) & RW_WRITER) && try(m))
            return true;
        spin_wait(i);
    }
    return false;
}

// A reader behind other readers only may take the lock with them.
static bool may_take(struct rwmutex *m, struct lock_waiter *w)
{
    for (struct list *l = w->link.prev; l != &m->waiters; l = l->prev)
        if (w->writer || list_entry(l, struct lock_waiter, link)->writer)
            return false;
    return true;
}

// A sleeper's try, by itself. On success it is out of the queue, and *next is one that may have the lock as well.
static bool take_in_turn(struct rwmutex *m, struct lock_waiter *w, struct thread **next)
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
        if (!w->writer && after != &m->waiters && !list_entry(after, struct lock_waiter, link)->writer) {
            *next = list_entry(after, struct lock_waiter, link)->thread;
            thread_ref(*next);
        }
        list_remove(&w->link);
    }
    spin_unlock(&m->lock);
    return done;
}

static void rwmutex_wait(struct rwmutex *m, bool writer)
{
    struct lock_waiter w = {.thread = thread_current(), .writer = writer};
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

void rwmutex_read_lock(struct rwmutex *m)
{
    CHECKED(check_lock_wanted(m, &m->check, CHECK_READ, CHECK_PLACE);)
    if (unlikely(!try_read(m)) && !spin_for(m, try_read))
        rwmutex_wait(m, false);
    CHECKED(check_lock_taken(m, &m->check, CHECK_READ, CHECK_PLACE);)
}

bool rwmutex_read_trylock(struct rwmutex *m)
{
    bool taken = try_read(m);
    CHECKED(if (taken) check_lock_taken(m, &m->check, CHECK_READ, CHECK_PLACE);)
    return taken;
}

void rwmutex_read_unlock(struct rwmutex *m)
{
    CHECKED(check_lock_released(m, CHECK_PLACE);)
    uint32_t left = __atomic_sub_fetch(&m->word, RW_READER, __ATOMIC_RELEASE);
    if (unlikely(left & RW_WAITERS) && left < RW_READER)
        lock_wake_first(&m->lock, &m->waiters);
}

void rwmutex_write_lock(struct rwmutex *m)
{
    CHECKED(check_lock_wanted(m, &m->check, CHECK_WRITE, CHECK_PLACE);)
    if (unlikely(!try_write(m)) && !spin_for(m, try_write))
        rwmutex_wait(m, true);
    CHECKED(check_lock_taken(m, &m->check, CHECK_WRITE, CHECK_PLACE);)
}

void rwmutex_write_unlock(struct rwmutex *m)
{
    CHECKED(check_lock_released(m, CHECK_PLACE);)
    ASSERT(READ_ONCE(m->word) & RW_WRITER);
    uint32_t left = __atomic_and_fetch(&m->word, ~RW_WRITER, __ATOMIC_RELEASE);
    if (unlikely(left & RW_WAITERS))
        lock_wake_first(&m->lock, &m->waiters);
}
