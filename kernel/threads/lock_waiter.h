// What mutexes and reader-writer mutexes share: the queue of threads that sleep for one, and when to spin instead.
#ifndef KERNEL_LOCK_WAITER_H
#define KERNEL_LOCK_WAITER_H

#include "kernel/list.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/context.h" // cpu_count

// On the stack of a thread that sleeps for a lock.
struct lock_waiter {
    struct list link;
    struct thread *thread;
    bool writer, woken;
};

// The sections are mostly short and their holders running: going to sleep and being woken costs more than a little patience.
// Pointless on a single CPU.
#define LOCK_SPINS 2000

void lock_wake_first(struct spinlock *lock, struct list *waiters);

#endif
