// Futexes: hashed wait queues keyed by address (private: address space and address; shared: backing and offset).
#ifndef KERNEL_FUTEX_H
#define KERNEL_FUTEX_H

#include "kernel/types.h"

struct thread;

long futex_wait(uaddr_t addr, uint32_t value, nsec_t deadline, uint32_t bitset, bool shared); // deadline: monotonic, absolute
long futex_wake(uaddr_t addr, int count, uint32_t bitset, bool shared);
long futex_requeue(uaddr_t addr, uaddr_t addr2, int wake, int requeue, bool compare, uint32_t value, bool shared);
long futex_wake_op(uaddr_t addr, uaddr_t addr2, int wake, int wake2, uint32_t op, bool shared);
void futex_exit_robust(struct thread *t); // at the end of a thread: FUTEX_OWNER_DIED, wake-ups

#endif
