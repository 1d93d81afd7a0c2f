// Waking threads, and moving those whose allowed CPUs are changed. A wake-up goes to an idle CPU when there is one, else to where
// the thread ran last. There it takes the CPU from the current thread at once when it has a better real-time priority or has had
// clearly less of its share, else it waits for its turn.
// Locks: as in sched.c. A thread's `cpu` is stable while it sleeps and changes with the lock of its old run queue held or while
// nobody else can move it (state READY but in no queue, between two run queues).
#include "kernel/clock_event.h"
#include "kernel/irq.h"
#include "kernel/threads/deferred.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/sched.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"

static inline struct runqueue *runqueue_here(void)
{
    return &runqueues[cpu_this()->id];
}

void sched_begin(struct thread *t)
{
    uint64_t flags = irq_save();
    const struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    spin_lock(&rq->lock);
    runqueue_charge(cpu->current, clock_cycles());
    t->cpu = (int)cpu->id;
    t->vruntime = MAX(cpu->current->vruntime, rq->min_vruntime);
    spin_unlock_irqrestore(&rq->lock, flags);
}

struct runqueue *runqueue_lock_of(struct thread *t)
{
    for (;;) {
        int cpu = READ_ONCE(t->cpu);
        struct runqueue *rq = &runqueues[cpu];
        spin_lock(&rq->lock);
        if (likely(READ_ONCE(t->cpu) == cpu))
            return rq;
        spin_unlock(&rq->lock);
    }
}

bool runqueue_resched(struct runqueue *rq)
{
    if (READ_ONCE(rq->current->work) & WORK_RESCHED)
        return false;
    atomic_or(&rq->current->work, WORK_RESCHED);
    return rq != runqueue_here();
}

// Its CPU is idle. Whoever clears the bit sends the interrupt; this CPU's own idle loop looks at its queue when it comes back.
static void wake_cpu(struct runqueue *rq, unsigned cpu)
{
    spin_unlock(&rq->lock);
    if (!(READ_ONCE(sched_idle) & cpu_bit(cpu)) || !(atomic_and(&sched_idle, ~cpu_bit(cpu)) & cpu_bit(cpu)))
        return;
    if (cpu != cpu_this()->id)
        cpu_kick(cpu);
}

// Perhaps it takes the CPU from the current thread; or that is one of the kernel, and nobody looks after its time yet.
static __attribute__((noinline)) void press(struct runqueue *rq, struct thread *t)
{
    unsigned cpu = (unsigned)t->cpu;
    bool kick = false;
    if (runqueue_preempts(t, rq->current))
        kick = runqueue_resched(rq);
    if (!rq->tick_armed) {
        if (cpu == cpu_this()->id)
            sched_tick_arm(rq);
        else
            kick = true;
    }
    spin_unlock(&rq->lock);
    if (kick)
        cpu_kick(cpu);
}

// `fair`: it is known to be no real-time thread.
static inline __attribute__((always_inline)) void make_ready(struct runqueue *rq, struct thread *t, bool fair)
{
    struct thread *current = rq->current;
    runqueue_place(rq, t);
    if (fair)
        runqueue_add_fair(rq, t);
    else
        runqueue_add(rq, t);
    if (current->idle) {
        wake_cpu(rq, (unsigned)t->cpu);
        return;
    }
    runqueue_charge(current, clock_cycles());
    if (unlikely(current->vruntime - t->vruntime > sched_grain || (!fair && is_realtime(t)) || !rq->tick_armed))
        press(rq, t);
    else
        spin_unlock(&rq->lock);
}

// To another CPU than that of this run queue, whose lock is held and gets released. With a sleeper's distance from the others.
static __attribute__((noinline)) struct runqueue *move_to(struct runqueue *rq, struct thread *t, unsigned cpu)
{
    t->vruntime -= rq->min_vruntime;
    WRITE_ONCE(t->cpu, (int)cpu);
    spin_unlock(&rq->lock);
    rq = &runqueues[cpu];
    spin_lock(&rq->lock);
    t->vruntime += rq->min_vruntime;
    return rq;
}

// A ready thread that is in no queue goes to where it may run. The lock is held and gets released.
static __attribute__((noinline)) void send_somewhere(struct runqueue *rq, struct thread *t)
{
    unsigned cpu = sched_choose_cpu(t);
    while (cpu != (unsigned)t->cpu) {
        rq = move_to(rq, t, cpu);
        if (likely(t->affinity & cpu_bit(cpu)))
            break;
        cpu = sched_choose_cpu(t); // it was changed meanwhile
    }
    make_ready(rq, t, false);
}

// Ends a sleep. The lock is held and gets released.
static inline __attribute__((always_inline)) void wake_locked(struct runqueue *rq, struct thread *t)
{
    if (rq->current == t) { // has not left its CPU yet
        t->state = THREAD_RUNNING;
        spin_unlock(&rq->lock);
        return;
    }
    t->state = THREAD_READY;
    // The common case of what sched_choose_cpu says.
    if (likely(!READ_ONCE(sched_idle) && !is_realtime(t) && (t->affinity & cpu_bit((unsigned)t->cpu))))
        make_ready(rq, t, true);
    else
        send_somewhere(rq, t);
}

void sched_send(struct thread *t)
{
    struct runqueue *rq = &runqueues[t->cpu];
    spin_lock(&rq->lock);
    t->vruntime += rq->min_vruntime;
    if (likely(t->affinity & cpu_bit((unsigned)t->cpu)))
        make_ready(rq, t, false);
    else
        send_somewhere(rq, t);
}

// Both kinds of wake-up.
static inline __attribute__((always_inline)) void wake(struct thread *t, void **flag)
{
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    // A thread that sees this may run on, but not to its end: leaving its CPU takes the lock that is held here.
    if (flag)
        store_release(flag, NULL);
    if (t->state == THREAD_SLEEPING || t->state == THREAD_SLEEPING_INTERRUPTIBLE)
        wake_locked(rq, t);
    else
        spin_unlock(&rq->lock);
    irq_restore(flags);
}

void thread_wake(struct thread *t)
{
    wake(t, NULL);
}

void thread_wake_clear(struct thread *t, void **flag)
{
    wake(t, flag);
}

void thread_interrupt(struct thread *t)
{
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    if (t->state == THREAD_SLEEPING_INTERRUPTIBLE) {
        wake_locked(rq, t);
    } else {
        unsigned cpu = (unsigned)t->cpu;
        bool running = rq->current == t;
        spin_unlock(&rq->lock);
        if (running && cpu != cpu_this()->id)
            cpu_kick(cpu);
    }
    irq_restore(flags);
}

void thread_add_work(struct thread *t, uint32_t work)
{
    atomic_or(&t->work, work);
    if (t != thread_current())
        thread_interrupt(t);
}

void sched_kicked(void)
{
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    uint64_t flags = irq_save();
    if (unlikely(cpu->deferred))
        deferred_mark();
    spin_lock(&rq->lock);
    if (rq->ready_count && !rq->tick_armed && !rq->current->idle)
        sched_tick_arm(rq);
    if (unlikely(rq->realtime))
        sched_push_realtime(rq, (unsigned)cpu->id);
    else
        spin_unlock(&rq->lock);
    irq_restore(flags);
}

// --- Affinity ---

// Waits until a thread that runs on a CPU that it may not use any more has left it, which the kick sees to: it does so on its way
// to the application at the latest, but may be busy in the kernel for long, and so the wait has an end.
static void wait_until_moved(struct thread *t)
{
    nsec_t end = time_monotonic() + 10 * NSEC_PER_MSEC;
    for (unsigned i = 1;; i++) {
        uint64_t flags = irq_save();
        struct runqueue *rq = runqueue_lock_of(t);
        bool there = rq->current == t && !(t->affinity & cpu_bit((unsigned)t->cpu));
        spin_unlock(&rq->lock);
        irq_restore(flags);
        if (!there || (i % 64 == 0 && time_monotonic() >= end))
            return;
        sched_point();
        cpu_pause();
    }
}

int thread_set_affinity(struct thread *t, uint64_t cpus_allowed)
{
    cpus_allowed &= sched_online;
    if (!cpus_allowed)
        return -EINVAL;
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    t->affinity = cpus_allowed;
    bool misplaced = !(cpus_allowed & cpu_bit((unsigned)t->cpu)), running = misplaced && rq->current == t;
    if (misplaced && t->queued) {
        runqueue_remove(rq, t);
        send_somewhere(rq, t);
    } else {
        unsigned cpu = (unsigned)t->cpu;
        bool kick = running && runqueue_resched(rq);
        spin_unlock(&rq->lock);
        if (kick)
            cpu_kick(cpu);
    }
    irq_restore(flags);
    if (t == thread_current())
        sched_point();
    else if (running)
        wait_until_moved(t);
    return 0;
}
