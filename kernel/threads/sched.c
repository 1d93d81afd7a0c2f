// The scheduler's core: threads give up their CPU, sleep, and change places; the idle loop. The order in a run queue is
// runqueue.h's, waking is wakeup.c's, which CPU a thread goes to is balance.c's, time slices are tick.c's. See docs/scheduler.md.
//
// The lock of a run queue is held across the switch and released by the thread that was switched to (finish_switch), so a
// waker that has the lock finds a sleeping thread either still current, and then just takes back its sleep, or safely saved.
//
// Locks: runqueue.lock > the timer heap's lock. Two run queues are never locked at once. Interrupts are off while it is held.
#include "kernel/clock_event.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/aspace.h"
#include "kernel/process/process.h"
#include "kernel/threads/deferred.h"
#include "kernel/threads/loadavg.h"
#include "kernel/threads/rseq.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/sched.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/switch.h"

static inline struct runqueue *runqueue_here(void)
{
    return &runqueues[cpu_this()->id];
}

static inline struct thread *next_thread(struct cpu *cpu, struct runqueue *rq)
{
    return rq->ready_count ? runqueue_take_first(rq) : cpu->idle;
}

// What is left to do for the thread that ran before, on the stack of the one that runs now. Interrupts are off.
static inline void finish_switch(void)
{
    struct cpu *cpu = cpu_this();
    struct thread *prev = cpu->dead;
    cpu->dead = NULL;
    // One that had to leave this CPU may be woken by others as soon as the lock is free, run, and end.
    bool leaving = unlikely(prev) && prev->state != THREAD_DEAD;
    spin_unlock(&runqueues[cpu->id].lock);
    if (likely(!prev))
        return;
    if (leaving)
        thread_wake(prev); // which chooses another CPU
    thread_unref(prev);
}

void sched_first_run(void)
{
    finish_switch();
}

static uint64_t load_due_cycles; // when the next look at the load is due, roughly

// The load is what there was up to this switch, of which `next` was a part when it was in the queue.
static __attribute__((noinline)) void load_period_over(struct runqueue *rq, struct thread *next, uint64_t now)
{
    bool leaves = next != rq->current && rq->current->state != THREAD_READY && !rq->current->idle && !next->idle;
    load_update(sched_load() + leaves, time_monotonic());
    WRITE_ONCE(load_due_cycles, now + time_ns_to_cycles(MAX(load_due - time_monotonic(), NSEC_PER_MSEC)));
}

// Other CPUs in whose queues real-time threads wait may send one here.
static __attribute__((noinline)) void call_for_realtime(const struct cpu *cpu)
{
    for (uint64_t c = READ_ONCE(sched_realtime_waiting) & ~cpu_bit(cpu->id); c; c &= c - 1)
        cpu_kick((unsigned)__builtin_ctzl(c));
}

// Gives the CPU to `next`. Lock held on entry, released on return; the state of the current thread says where it belongs.
static void switch_to(struct cpu *cpu, struct runqueue *rq, struct thread *next)
{
    struct thread *prev = cpu->current;
    uint64_t now = clock_cycles();
    runqueue_charge(prev, now);
    if (unlikely((int64_t)(now - READ_ONCE(load_due_cycles)) >= 0))
        load_period_over(rq, next, now);
    next->accounted = now;
    next->state = THREAD_RUNNING;
    if (unlikely(next == prev)) {
        spin_unlock(&rq->lock);
        return;
    }
    if (unlikely(is_realtime(prev)) && next->priority > prev->priority)
        call_for_realtime(cpu);
    rq->current = next;
    rq->priority = next->priority;
    rq->current_weight = next->weight;
    rq->switches++;
    cpu->current = next;
    if (!prev->kernel && prev->state != THREAD_DEAD) {
        context_save(prev);
        rseq_switch_out(prev);
    }
    if (!next->kernel) {
        if (unlikely(!rq->tick_armed))
            sched_tick_arm(rq);
        rseq_switch_in(next, (uint32_t)cpu->id);
        struct aspace *as = next->process->aspace;
        if (as != cpu->aspace)
            aspace_activate(as);
        context_load(next);
    }
    context_switch(&prev->context, &next->context);
    finish_switch();
}

// --- The current thread gives up its CPU ---

// Puts the current thread into the queue, and gives the CPU to the first there. The lock is held, the thread charged.
static void requeue(struct cpu *cpu, struct runqueue *rq, bool turn_over)
{
    struct thread *t = cpu->current;
    t->involuntary_switches++;
    t->state = THREAD_READY;
    if (unlikely(is_realtime(t) && !turn_over)) {
        t->queued = true;
        WRITE_ONCE(rq->ready_count, rq->ready_count + 1);
        rq->weight += t->weight;
        runqueue_add_realtime(rq, t, true);
    } else {
        runqueue_add(rq, t);
    }
    t->turn_over = false;
    switch_to(cpu, rq, runqueue_take_first(rq));
}

// The current thread must not stay on this CPU. Another one may have it only after its registers are saved, so it goes
// through the sleeping state and finish_switch wakes it.
static void migrate_away(struct cpu *cpu, struct runqueue *rq)
{
    struct thread *t = cpu->current;
    t->state = THREAD_SLEEPING;
    thread_ref(t);
    cpu->dead = t;
    switch_to(cpu, rq, next_thread(cpu, rq));
}

void sched_yield_now(void)
{
    CHECKED(check_may_sleep(CHECK_PLACE);)
    uint64_t flags = irq_save();
    if (unlikely(cpu_this()->deferred))
        deferred_run_before_switch();
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    struct thread *t = cpu->current;
    atomic_and(&t->work, ~(uint32_t)(WORK_RESCHED | WORK_DEFERRED));
    spin_lock(&rq->lock);
    runqueue_charge(t, clock_cycles());
    if (unlikely(!(t->affinity & cpu_bit(cpu->id))))
        migrate_away(cpu, rq);
    else if (rq->ready_count && runqueue_other_first(rq, t->turn_over))
        requeue(cpu, rq, t->turn_over);
    else
        spin_unlock(&rq->lock);
    irq_restore(flags);
}

void sched_exit_to_user(void)
{
    sched_yield_now();
}

void thread_yield(void)
{
    if (!READ_ONCE(runqueue_here()->ready_count))
        return;
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this();
    if (unlikely(cpu->deferred))
        deferred_run_before_switch();
    struct runqueue *rq = &runqueues[cpu->id];
    struct thread *t = cpu->current;
    spin_lock(&rq->lock);
    runqueue_charge(t, clock_cycles());
    // Behind the one whose turn it would be, whatever its share.
    if (rq->fair && !is_realtime(t) && t->vruntime <= rq->fair->key)
        t->vruntime = rq->fair->key + 1;
    if (rq->ready_count && runqueue_other_first(rq, true))
        requeue(cpu, rq, true);
    else
        spin_unlock(&rq->lock);
    irq_restore(flags);
}

void thread_prepare_sleep(bool interruptible)
{
    // The exchange orders this store before the caller's look at its condition.
    atomic_xchg(&thread_current()->state, interruptible ? THREAD_SLEEPING_INTERRUPTIBLE : THREAD_SLEEPING);
}

void thread_cancel_sleep(void)
{
    WRITE_ONCE(thread_current()->state, THREAD_RUNNING);
}

// Sleeps, unless a wake-up has come since thread_prepare_sleep.
static inline __attribute__((always_inline)) void sleep_now(void)
{
    irq_disable(); // they are on: who sleeps with them off would not be woken
    struct cpu *cpu = cpu_this();
    if (unlikely(cpu->deferred))
        deferred_run_before_switch(); // and be woken, perhaps
    struct runqueue *rq = &runqueues[cpu->id];
    spin_lock(&rq->lock);
    if (cpu->current->state == THREAD_RUNNING) {
        spin_unlock(&rq->lock);
    } else {
        cpu->current->voluntary_switches++;
        switch_to(cpu, rq, next_thread(cpu, rq));
    }
    irq_enable();
}

struct sleep_timer {
    struct timer timer;
    struct thread *thread;
    bool expired;
};

static void sleep_expired(struct timer *timer)
{
    struct sleep_timer *s = container_of(timer, struct sleep_timer, timer);
    s->expired = true;
    thread_wake(s->thread); // which waits in timer_cancel_sync until we are done with its stack
}

static __attribute__((noinline)) int sleep_with_timer(nsec_t deadline)
{
    struct sleep_timer s = {.thread = thread_current(), .expired = false};
    if (deadline <= time_monotonic()) {
        thread_cancel_sleep();
        return -ETIMEDOUT;
    }
    timer_init(&s.timer, sleep_expired);
    timer_add(&s.timer, deadline);
    sleep_now();
    timer_cancel_sync(&s.timer);
    return s.expired ? -ETIMEDOUT : 0;
}

int thread_sleep_until(nsec_t deadline)
{
    struct thread *t = thread_current();
    CHECKED(check_may_sleep(CHECK_PLACE);)
    bool interruptible = t->state == THREAD_SLEEPING_INTERRUPTIBLE;
    int result = 0;
    if (interruptible && thread_signal_pending()) {
        thread_cancel_sleep();
        return -ERESTARTSYS;
    }
    if (likely(deadline == NSEC_MAX))
        sleep_now();
    else
        result = sleep_with_timer(deadline);
    if (interruptible && thread_signal_pending())
        return -ERESTARTSYS;
    return result;
}

void thread_exit_current(void)
{
    CHECKED(check_no_locks("at the end of a thread");)
    irq_save();
    struct cpu *cpu = cpu_this();
    if (cpu->deferred)
        deferred_run_before_switch();
    struct runqueue *rq = &runqueues[cpu->id];
    spin_lock(&rq->lock);
    cpu->current->state = THREAD_DEAD;
    cpu->dead = cpu->current;
    switch_to(cpu, rq, next_thread(cpu, rq));
    panic("a dead thread runs");
}

// --- Idle ---

void sched_idle_loop(void)
{
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    uint64_t bit = cpu_bit(cpu->id);
    for (;;) {
        irq_disable();
        if (unlikely(cpu->deferred))
            deferred_run_before_switch();
        if (READ_ONCE(rq->ready_count)) {
            spin_lock(&rq->lock);
            if (rq->ready_count)
                switch_to(cpu, rq, runqueue_take_first(rq));
            else
                spin_unlock(&rq->lock);
            continue;
        }
        // From here on wakers see this CPU as idle; whoever queued something before that is found by the look afterwards.
        atomic_or(&sched_idle, bit);
        if (!READ_ONCE(rq->ready_count) && !sched_steal((unsigned)cpu->id)) {
            // Halted, it must not be called for changes of the address space that it happens to have loaded.
            if (cpu->aspace && (READ_ONCE(sched_online) & ~bit))
                aspace_activate(NULL);
            cpu_halt_enabled();
        }
        atomic_and(&sched_idle, ~bit);
        irq_enable();
    }
}

// The code that calls this becomes the CPU's idle thread, which is where sched_idle_loop must run in the end.
void sched_init_cpu(void)
{
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    timer_init(&rq->tick, sched_tick);
    struct thread *idle = thread_create_idle((unsigned)cpu->id);
    rq->current = cpu->current = cpu->idle = idle;
    rq->priority = idle->priority;
    idle->accounted = rq->started = clock_cycles();
    atomic_or(&sched_online, cpu_bit((unsigned)cpu->id));
}

void sched_init(void)
{
    sched_init_cpu();
}

uint64_t sched_load(void)
{
    uint64_t n = 0;
    for (uint64_t c = READ_ONCE(sched_online); c; c &= c - 1) {
        struct runqueue *rq = &runqueues[__builtin_ctzl(c)];
        n += READ_ONCE(rq->ready_count) + !READ_ONCE(rq->current)->idle;
    }
    return n;
}

bool sched_may_spin(void)
{
    uint64_t flags = irq_save(); // stays on this CPU
    const struct cpu *cpu = cpu_this();
    uint64_t busy = READ_ONCE(sched_online) & ~READ_ONCE(sched_idle) & ~cpu_bit(cpu->id);
    bool free = !READ_ONCE(runqueues[cpu->id].ready_count) && !READ_ONCE(cpu->current->work);
    irq_restore(flags);
    return busy && free;
}

uint64_t sched_online_cpus(void)
{
    return sched_online;
}
