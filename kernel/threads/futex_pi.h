// The end of a thread as futex_pi.c sees it; for futex_robust.c.
#ifndef KERNEL_FUTEX_PI_H
#define KERNEL_FUTEX_PI_H

#include "kernel/types.h"

struct thread;

// From here on nobody else becomes a waiter for what the thread holds; those who try wait for futex_pi_end_exit.
// True: there are waiters, so futex_pi_release is to be called.
bool futex_pi_begin_exit(struct thread *t);
void futex_pi_release(struct thread *t); // hands on what it held
void futex_pi_end_exit(struct thread *t, bool last); // not last: the thread goes on, with another program

#endif
