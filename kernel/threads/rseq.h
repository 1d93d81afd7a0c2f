// Restartable sequences, rseq(2): a thread's number of the CPU, kept up to date in its memory, and critical sections that are
// aborted when the thread is preempted, moved to another CPU or gets a signal. Linux, include/uapi/linux/rseq.h.
//
// A switch costs what it did: WORK_RSEQ is set only for a thread that was not in a system call (in which no critical section may
// be) or that comes to another CPU than the one it was told of.
#ifndef KERNEL_RSEQ_H
#define KERNEL_RSEQ_H

#include "kernel/threads/thread.h"

// On the way to the application, its frame complete: with WORK_RSEQ, and before a signal's frame is made. False: the area or the
// section's description cannot be read or makes no sense, and SIGSEGV has been sent.
bool rseq_return_to_user(void);

// By the scheduler, with the run queue's lock.
static inline void rseq_switch_out(struct thread *t)
{
    if (t->rseq && t->frame->vector != ~0UL)
        atomic_or(&t->work, WORK_RSEQ);
}

static inline void rseq_switch_in(struct thread *t, uint32_t cpu)
{
    if (unlikely(t->rseq_cpu != cpu) && t->rseq)
        atomic_or(&t->work, WORK_RSEQ);
}

#endif
