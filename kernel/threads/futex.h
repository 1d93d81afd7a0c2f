// Futexes: hashed wait queues keyed by address (private: address space and address; shared: backing and offset). See futex(2).
#ifndef KERNEL_FUTEX_H
#define KERNEL_FUTEX_H

#include "kernel/types.h"

struct thread;

// The last argument of all calls.
#define FUTEX_SHARED 1   // the word is known by what is mapped there
#define FUTEX_REALTIME 2 // the deadline is one of CLOCK_REALTIME, otherwise of CLOCK_MONOTONIC. NSEC_MAX: for ever

long futex_wait(uaddr_t addr, uint32_t value, nsec_t deadline, uint32_t bitset, unsigned flags);
long futex_wake(uaddr_t addr, int count, uint32_t bitset, unsigned flags);
long futex_requeue(uaddr_t addr, uaddr_t addr2, int wake, int requeue, bool compare, uint32_t value, unsigned flags);
long futex_wake_op(uaddr_t addr, uaddr_t addr2, int wake, int wake2, uint32_t op, unsigned flags);

// Mutexes with priority inheritance (futex_pi.c). Never -ERESTARTSYS but -ERESTARTNOINTR: the deadline is absolute.
long futex_lock_pi(uaddr_t addr, nsec_t deadline, unsigned flags, bool try);
long futex_unlock_pi(uaddr_t addr, unsigned flags);
long futex_wait_requeue_pi(uaddr_t addr, uint32_t value, nsec_t deadline, uaddr_t addr2, unsigned flags);
long futex_requeue_pi(uaddr_t addr, uaddr_t addr2, int wake, int requeue, uint32_t value, unsigned flags);
void futex_priority_changed(struct thread *t); // its own priority: what it lends to others changes too

// futex_waitv(2): the index of the one that was woken. `flags` of each may differ.
struct futex_wait_spec {
    uaddr_t addr;
    uint32_t value;
    unsigned flags; // FUTEX_SHARED
};
long futex_wait_any(const struct futex_wait_spec *specs, unsigned count, nsec_t deadline, unsigned flags);

// The end of the current thread (`last`), or of its program: FUTEX_OWNER_DIED for what it holds, and wake-ups.
void futex_exit(struct thread *t, bool last);

#endif
