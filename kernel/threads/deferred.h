// Work that an interrupt leaves for later: run soon on the same CPU with interrupts on, by whoever is there, when it holds no spinlock: on
// the way out to the application, before a thread gives up the CPU, in the idle loop. It may take spinlocks that interrupt handlers do not
// take, and wake threads; it may not sleep. (Linux calls this softirq; here no thread is needed for it.)
//
// Work that keeps coming back does not keep the application from running: after some rounds it waits for the next way out
// of the kernel (the next system call, or the tick), or for the thread that runs next.
#ifndef KERNEL_DEFERRED_H
#define KERNEL_DEFERRED_H

#include "kernel/types.h"

struct deferred {
    void (*fn)(struct deferred *d);
    struct deferred *next; // in its CPU's list
    uint32_t queued;       // it is in a list. Cleared before fn is called: raised meanwhile, it runs again, perhaps on another CPU
};

// Any context, any CPU, any lock but a run queue's; nothing happens when it is queued already. It runs on this CPU.
void deferred_raise(struct deferred *d);
// Runs what is queued on this CPU. Thread context, interrupts on, no spinlock held; not recursive (does nothing inside itself). False:
// it came back faster than it could be run, and some is left.
bool deferred_run(void);
bool deferred_pending(void); // on this CPU

// For the scheduler, where a thread is about to leave its CPU for another thread. Interrupts off; they are on meanwhile. What is left
// is given to whoever runs next, by an interrupt that calls deferred_mark.
void deferred_run_before_switch(void) __attribute__((cold));
void deferred_mark(void); // interrupts off: the current thread is to run what is queued

#endif
