// The scheduler's core: threads give up their CPU, sleep, wake, and change places. The order in a run queue is runqueue.h's, which
// CPU a thread goes to is balance.c's, time slices are tick.c's.
//
// A wake-up goes to an idle CPU when there is one, else to where the thread ran last. There it takes the CPU from the current
// thread at once when it has a better real-time priority or has had clearly less of its share, else it waits for its turn.
//
// The lock of a run queue is held across the switch and released by the thread that was switched to (finish_switch), so a
// waker that has the lock finds a sleeping thread either still current, and then just takes back its sleep, or safely saved.
// A thread's `cpu` is stable while it sleeps and changes with the lock of its old run queue held or while nobody else can
// move it (state READY but in no queue, between two run queues).
//
// Locks: runqueue.lock > the timer heap's lock. Two run queues are never locked at once. Interrupts are off while it is held.
#include "kernel/clock_event.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/aspace.h"
#include "kernel/process/process.h"
#include "kernel/threads/loadavg.h"
#include "kernel/threads/rseq.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/sched.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"

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
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    struct thread *t = cpu->current;
    atomic_and(&t->work, ~WORK_RESCHED);
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
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    spin_lock(&rq->lock);
    if (cpu->current->state == THREAD_RUNNING) {
        spin_unlock(&rq->lock);
    } else {
        cpu->current->voluntary_switches++;
        switch_to(cpu, rq, next_thread(cpu, rq));
    }
    irq_restore(flags);
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
    struct runqueue *rq = &runqueues[cpu->id];
    spin_lock(&rq->lock);
    cpu->current->state = THREAD_DEAD;
    cpu->dead = cpu->current;
    switch_to(cpu, rq, next_thread(cpu, rq));
    panic("a dead thread runs");
}

// --- Waking ---

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

static inline __attribute__((always_inline)) void make_ready(struct runqueue *rq, struct thread *t)
{
    struct thread *current = rq->current;
    runqueue_place(rq, t);
    runqueue_add(rq, t);
    if (current->idle) {
        wake_cpu(rq, (unsigned)t->cpu);
        return;
    }
    runqueue_charge(current, clock_cycles());
    if (unlikely(current->vruntime - t->vruntime > sched_grain || is_realtime(t) || !rq->tick_armed))
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
    make_ready(rq, t);
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
        make_ready(rq, t);
    else
        send_somewhere(rq, t);
}

void sched_send(struct thread *t)
{
    struct runqueue *rq = &runqueues[t->cpu];
    spin_lock(&rq->lock);
    t->vruntime += rq->min_vruntime;
    if (likely(t->affinity & cpu_bit((unsigned)t->cpu)))
        make_ready(rq, t);
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
    uint64_t flags = spin_lock_irqsave(&rq->lock);
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

uint64_t sched_online_cpus(void)
{
    return sched_online;
}

// --- Idle ---

void sched_idle_loop(void)
{
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    uint64_t bit = cpu_bit(cpu->id);
    for (;;) {
        irq_disable();
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
