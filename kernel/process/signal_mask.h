// The current thread's signal mask: set inline, for most programs change it often and have nothing pending.
#ifndef KERNEL_SIGNAL_MASK_H
#define KERNEL_SIGNAL_MASK_H

#include "kernel/process/process.h"
#include "kernel/process/signal.h"

// Something is pending: makes the current thread look at it, or others when it has blocked (`newly`) what was meant for it.
void signal_mask_changed(struct thread *t, uint64_t newly);

// Unblockable bits are dropped. No signal_lock held.
static inline void signal_set_mask(uint64_t mask) {
    struct thread *t = thread_current();
    uint64_t newly_blocked = mask & ~t->signal_mask;
    // Ordered before the look at what is pending; a sender changes that first and then looks at masks.
    atomic_xchg(&t->signal_mask, mask & ~SIGMASK_UNBLOCKABLE);
    if (unlikely(READ_ONCE(t->pending.set) | READ_ONCE(t->process->pending.set)))
        signal_mask_changed(t, newly_blocked);
}

#endif
