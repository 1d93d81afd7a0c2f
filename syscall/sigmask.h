// The signal mask that ppoll, pselect6 and epoll_pwait use while they wait. When a signal ends the wait, its handler runs with
// that mask and the old one comes back afterwards (WORK_RESTORE_MASK); otherwise the old one comes back at once.
#ifndef SYSCALL_SIGMASK_H
#define SYSCALL_SIGMASK_H

#include "kernel/process/signal_mask.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"

// `set` 0: the mask stays. 0, -EINVAL, -EFAULT.
static inline long sigmask_begin(uaddr_t set, uint64_t size) {
    struct thread *t = thread_current();
    uint64_t mask;
    if (!set)
        return 0;
    if (size != sizeof(mask))
        return -EINVAL;
    if (copy_in_obj(&mask, set) < 0)
        return -EFAULT;
    t->signal_saved_mask = t->signal_mask;
    signal_set_mask(mask);
    return 0;
}
static inline long sigmask_end(uaddr_t set, long result) {
    struct thread *t = thread_current();
    if (set) {
        if (result == -ERESTARTNOHAND || result == -ERESTARTSYS || result == -EINTR)
            atomic_or(&t->work, WORK_RESTORE_MASK | WORK_SIGNAL);
        else
            signal_set_mask(t->signal_saved_mask);
    }
    return result;
}

#endif
