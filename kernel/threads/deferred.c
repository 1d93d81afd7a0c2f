// Deferred work: a list a CPU, newest first. cpu.deferred says that there is some, to the scheduler and the idle loop; WORK_DEFERRED says
// it to the current thread's way out of the kernel. A thread that gives up its CPU runs the work first, so the bit need not follow
// the CPU from thread to thread.
// Locks: none. The list is its CPU's, with interrupts off.
#include "kernel/threads/deferred.h"

#include "kernel/irq.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/context.h"

#define ROUNDS 8 // of interrupts that come while their predecessors' work is done

void deferred_mark(void) {
    struct thread *t = cpu_this()->current;
    if (t && !(READ_ONCE(t->work) & WORK_DEFERRED))
        atomic_or(&t->work, WORK_DEFERRED);
}

void deferred_raise(struct deferred *d) {
    // Always the exchange: it orders what the caller has noted before the look at `queued`, which another CPU clears before it reads that.
    if (atomic_xchg(&d->queued, 1))
        return;
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this();
    d->next = cpu->deferred;
    WRITE_ONCE(cpu->deferred, d);
    deferred_mark();
    irq_restore(flags);
}

bool deferred_pending(void) { return READ_ONCE(cpu_this()->deferred); }

// Takes what there is off the CPU, oldest first. Interrupts off.
static struct deferred *take_all(struct cpu *cpu) {
    struct deferred *oldest = NULL, *d = cpu->deferred;
    while (d) {
        struct deferred *next = d->next;
        d->next = oldest;
        oldest = d;
        d = next;
    }
    WRITE_ONCE(cpu->deferred, NULL);
    return oldest;
}

bool deferred_run(void) {
    CHECKED(check_may_sleep(CHECK_PLACE);) // the same rules
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this(); // nothing here sleeps
    if (cpu->deferred_running) {
        irq_restore(flags);
        return true;
    }
    cpu->deferred_running = true;
    for (unsigned round = 0; cpu->deferred && round < ROUNDS; round++) {
        struct deferred *d = take_all(cpu);
        irq_restore(flags);
        while (d) {
            struct deferred *next = d->next;
            atomic_xchg(&d->queued, 0); // before fn looks at what is to be done
            d->fn(d);
            d = next;
        }
        irq_save();
    }
    cpu->deferred_running = false;
    bool all = !cpu->deferred;
    if (all && (READ_ONCE(cpu->current->work) & WORK_DEFERRED))
        atomic_and(&cpu->current->work, ~(uint32_t)WORK_DEFERRED);
    irq_restore(flags);
    return all;
}

void deferred_run_before_switch(void) {
    irq_restore(~0UL);
    deferred_run();
    irq_save();
    const struct cpu *cpu = cpu_this();
    if (cpu->deferred)
        cpu_kick((unsigned)cpu->id);
}
