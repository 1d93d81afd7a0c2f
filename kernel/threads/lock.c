// Spinlocks that are taken, and what the sleeping locks (mutex.c, rwmutex.c) share.
#include "kernel/threads/lock.h"
#include "kernel/threads/lock_waiter.h"
#include "kernel/x86/cpu.h"

void spin_lock_slow(struct spinlock *l)
{
    unsigned i = 1;
    do
        while (READ_ONCE(l->word))
            spin_wait(i++);
    while (!spin_try(l));
}

// Out of the spinlock: waking may send an interrupt to another CPU.
void lock_wake_first(struct spinlock *lock, struct list *waiters)
{
    struct thread *t = NULL;
    spin_lock(lock);
    if (!list_empty(waiters)) {
        t = list_first(waiters, struct lock_waiter, link)->thread;
        thread_ref(t);
    }
    spin_unlock(lock);
    if (t) {
        thread_wake(t);
        thread_unref(t);
    }
}
