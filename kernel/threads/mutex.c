// Mutexes. One word says who has it, whether anybody sleeps for it, and whether it is reserved for the first sleeper. A release
// wakes the first one but leaves the mutex free: a running thread may take it before the sleeper is there, since a hand-over at
// every release would cost two switches each time. A sleeper that was woken in vain reserves it, so none waits for ever. While
// the owner runs on another CPU, a thread that wants the mutex spins for a while before it sleeps.
// A mutex is taken where mutex_lock and mutex_trylock return, and free again when mutex_unlock begins: nowhere else.
#include "kernel/log.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/lock_waiter.h"
#include "kernel/x86/cpu.h"

#define HAS_WAITERS 1UL // somebody sleeps: whoever releases it wakes the first
#define RESERVED 2UL    // nobody but the first sleeper may take it
#define FLAGS (HAS_WAITERS | RESERVED)

void mutex_init(struct mutex *m)
{
    m->owner = 0;
    spin_init(&m->lock);
    list_init(&m->waiters);
    CHECKED(m->check = 0;)
}

static inline struct thread *owner_of(uintptr_t word)
{
    return (struct thread *)(word & ~FLAGS);
}

// Takes it when it is free, leaving the sleepers where they are.
static inline bool try_take(struct mutex *m)
{
    uintptr_t self = (uintptr_t)thread_current(), old = __atomic_load_n(&m->owner, __ATOMIC_RELAXED);
    while (!(old & ~HAS_WAITERS))
        if (__atomic_compare_exchange_n(&m->owner, &old, self | old, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
    return false;
}

bool mutex_trylock(struct mutex *m)
{
    bool taken = try_take(m);
    CHECKED(if (taken) check_lock_taken(m, &m->check, CHECK_MUTEX, CHECK_PLACE);)
    return taken;
}

bool mutex_held(const struct mutex *m)
{
    return owner_of(READ_ONCE(m->owner)) == thread_current();
}

static bool spin_for(struct mutex *m)
{
    for (unsigned i = 1; i < LOCK_SPINS; i++) {
        uintptr_t word = READ_ONCE(m->owner);
        const struct thread *owner = owner_of(word);
        if (!(word & ~HAS_WAITERS)) {
            if (try_take(m))
                return true;
        } else if (cpu_count == 1 || !owner || !thread_on_cpu(owner)) {
            return false;
        }
        spin_wait(i);
    }
    return false;
}

// The first sleeper's try. On success it is out of the queue.
static bool take_in_turn(struct mutex *m, struct lock_waiter *w)
{
    bool done = false;
    spin_lock(&m->lock);
    if (m->waiters.next == &w->link) {
        uintptr_t rest = m->waiters.prev == &w->link ? 0 : HAS_WAITERS;
        uintptr_t old = __atomic_load_n(&m->owner, __ATOMIC_RELAXED), new;
        do {
            done = !owner_of(old);
            new = done ? (uintptr_t)w->thread | rest : old | (w->woken ? RESERVED : 0);
        } while (!__atomic_compare_exchange_n(&m->owner, &old, new, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
        if (done)
            list_remove(&w->link);
    }
    spin_unlock(&m->lock);
    return done;
}

static __attribute__((noinline)) void mutex_lock_slow(struct mutex *m)
{
    struct lock_waiter w = {.thread = thread_current()};
    ASSERT(!mutex_held(m));
    if (spin_for(m))
        return;
    spin_lock(&m->lock);
    list_push_back(&m->waiters, &w.link);
    atomic_or(&m->owner, HAS_WAITERS);
    spin_unlock(&m->lock);
    for (;;) {
        thread_prepare_sleep(false);
        if (take_in_turn(m, &w))
            break;
        thread_sleep_until(NSEC_MAX);
        w.woken = true;
    }
    thread_cancel_sleep();
}

void mutex_lock(struct mutex *m)
{
    uintptr_t none = 0;
    CHECKED(check_lock_wanted(m, &m->check, CHECK_MUTEX, CHECK_PLACE);)
    if (unlikely(!__atomic_compare_exchange_n(&m->owner, &none, (uintptr_t)thread_current(), false, __ATOMIC_ACQUIRE,
                                              __ATOMIC_RELAXED)))
        mutex_lock_slow(m);
    CHECKED(check_lock_taken(m, &m->check, CHECK_MUTEX, CHECK_PLACE);)
}

static __attribute__((noinline)) void mutex_unlock_slow(struct mutex *m)
{
    ASSERT(mutex_held(m));
    __atomic_fetch_and(&m->owner, FLAGS, __ATOMIC_RELEASE);
    lock_wake_first(&m->lock, &m->waiters);
}

void mutex_unlock(struct mutex *m)
{
    uintptr_t self = (uintptr_t)thread_current();
    CHECKED(check_lock_released(m, CHECK_PLACE);)
    if (unlikely(!__atomic_compare_exchange_n(&m->owner, &self, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)))
        mutex_unlock_slow(m);
}
