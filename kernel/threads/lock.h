// Locks: spinlock, mutex, rwmutex. The first busy-waits and is for short sections that never sleep; the others put the thread
// to sleep and are for sections that do. Kernel code is not preempted, so a plain spinlock needs no preemption count; one
// that an interrupt handler takes too must be taken with spin_lock_irqsave.
#ifndef KERNEL_LOCK_H
#define KERNEL_LOCK_H

#include "kernel/list.h"
#include "kernel/types.h"

// Test and set. Not a queue of tickets: a virtual CPU may lose its real one at any moment, and all behind the one whose turn
// it is would wait for it.
struct spinlock {
    uint32_t word; // 1: taken
    CHECKED(uint32_t check;)
};
#define SPINLOCK_INIT {0}

static inline void spin_init(struct spinlock *l) { *l = (struct spinlock)SPINLOCK_INIT; }
void spin_lock_slow(struct spinlock *l); // kernel/threads/lock.c

static inline bool spin_try(struct spinlock *l) { return !__atomic_exchange_n(&l->word, 1, __ATOMIC_ACQUIRE); }
static inline bool spin_trylock(struct spinlock *l) {
    bool taken = spin_try(l);
    CHECKED(if (taken) check_spin_taken(l);)
    return taken;
}
static inline void spin_lock(struct spinlock *l) {
    CHECKED(check_spin_wanted(l);)
    if (unlikely(!spin_try(l)))
        spin_lock_slow(l);
    CHECKED(check_spin_taken(l);)
}
static inline void spin_unlock(struct spinlock *l) {
    CHECKED(check_spin_released(l);)
    store_release(&l->word, 0);
}
static inline bool spin_is_locked(const struct spinlock *l) { return READ_ONCE(l->word); }

// Interrupt state. `flags` is what irq_save returned.
#ifdef KNARR_UNIT_TEST
uint64_t irq_save(void);          // disables interrupts on this CPU, returns the state before
void irq_restore(uint64_t flags); // back to that state
#else
#include "kernel/x86/cpu.h" // both, inline
#endif

static inline uint64_t spin_lock_irqsave(struct spinlock *l) {
    uint64_t flags = irq_save();
    spin_lock(l);
    return flags;
}
static inline void spin_unlock_irqrestore(struct spinlock *l, uint64_t flags) {
    spin_unlock(l);
    irq_restore(flags);
}

struct thread;

// A sleeping lock. Taken by threads only; not recursive. A sleep on it is not interrupted by signals. A running thread may take it
// ahead of those that sleep, until the first of them has been woken in vain. Whoever frees the memory that a mutex lies in knows
// that nobody is still in mutex_unlock.
struct mutex {
    uintptr_t owner;      // the thread, and flags of mutex.c in the lowest bits
    struct spinlock lock; // protects `waiters`
    struct list waiters;
    CHECKED(uint32_t check;)
};
#define MUTEX_INIT(name) {0, SPINLOCK_INIT, LIST_INIT((name).waiters)}
void mutex_init(struct mutex *m);
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_held(const struct mutex *m); // by the current thread

// A sleeping lock with readers: one atomic word when nobody waits. A running thread may take the lock ahead of those that sleep
// (a hand-over to a sleeper would cost a switch at every release), until the first of them has been woken in vain.
struct rwmutex {
    uint32_t word;        // RW_* bits of rwmutex.c, and the number of readers
    struct spinlock lock; // protects `waiters`
    struct list waiters;
    CHECKED(uint32_t check;)
};
void rwmutex_init(struct rwmutex *m);
void rwmutex_read_lock(struct rwmutex *m);
bool rwmutex_read_trylock(struct rwmutex *m);
void rwmutex_read_unlock(struct rwmutex *m);
void rwmutex_write_lock(struct rwmutex *m);
void rwmutex_write_unlock(struct rwmutex *m);

#endif
