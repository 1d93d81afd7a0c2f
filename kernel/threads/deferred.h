// Work that an interrupt leaves for later: run soon on the same CPU with interrupts on, by whoever is there, when it holds no lock: on
// the way out to the application, before a thread sleeps, in the idle loop. It may take spinlocks that interrupt handlers do not
// take, and wake threads; it may not sleep. (Linux calls this softirq; here no thread is needed for it.)
#ifndef KERNEL_DEFERRED_H
#define KERNEL_DEFERRED_H

#include "kernel/types.h"

struct deferred {
    void (*fn)(struct deferred *d);
    struct deferred *next; // in its CPU's list
    uint32_t queued;       // it is in a list. Cleared before fn is called: raised meanwhile, it runs again
};

// Any context, any CPU; nothing happens when it is queued already. It runs on this CPU.
void deferred_raise(struct deferred *d);
// Runs what is queued on this CPU. Thread context, interrupts on, no spinlock held; not recursive (does nothing inside itself).
void deferred_run(void);
bool deferred_pending(void); // on this CPU

#endif
