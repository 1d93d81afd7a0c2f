// The scheduler: per-CPU run queues, round robin with a time slice that is only timed while somebody waits for the CPU, and
// idle CPUs that steal and then halt. A wake-up goes to an idle CPU when there is one, else to where the thread ran last.
//
// The lock of a run queue is held across the switch and released by the thread that was switched to (finish_switch), so a
// waker that has the lock finds a sleeping thread either still current, and then just takes back its sleep, or safely saved.
// A thread's `cpu` is stable while it sleeps and changes with the lock of its old run queue held or while nobody else can
// move it (state READY but in no queue, between two run queues).
//
// Locks: runqueue.lock > the timer heap's lock. Two run queues are never locked at once. Interrupts are off while it is held.
#include "kernel/aspace.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/x86/cpu.h"

#define SLICE (4 * NSEC_PER_MSEC)

struct runqueue {
    struct spinlock lock;
    uint32_t ready_count;
    struct list ready;
    struct thread *current;
    uint64_t slice_end;  // cycles: when the current thread has had its share
    bool slice_armed;    // slice_timer is set
    struct timer slice_timer;
} ALIGNED(64);

static struct runqueue runqueues[MAX_CPUS];
static uint64_t online_cpus; // bit per CPU that schedules
static uint64_t idle_cpus;   // bit per CPU that halts or is about to
static uint64_t slice_cycles;

static inline uint64_t cpu_bit(unsigned cpu)
{
    return 1UL << cpu;
}

static inline struct runqueue *runqueue_here(void)
{
    return &runqueues[cpu_this()->id];
}

// Times the slice, from now or for what is left of it. On the run queue's own CPU, with its lock.
static void slice_arm(struct runqueue *rq, nsec_t length)
{
    slice_cycles = time_ns_to_cycles(SLICE);
    rq->slice_armed = true;
    timer_add(&rq->slice_timer, time_monotonic() + length);
}

static void slice_expired(struct timer *timer)
{
    struct runqueue *rq = container_of(timer, struct runqueue, slice_timer);
    spin_lock(&rq->lock);
    rq->slice_armed = false;
    if (rq->ready_count) {
        int64_t left = (int64_t)(rq->slice_end - time_cycles());
        if (left > 0) { // the thread came on only lately
            slice_arm(rq, time_cycles_to_ns(left) + 1);
        } else {
            atomic_or(&rq->current->work, WORK_RESCHED);
            slice_arm(rq, SLICE);
        }
    }
    spin_unlock(&rq->lock);
}

static void enqueue(struct runqueue *rq, struct thread *t)
{
    list_push_back(&rq->ready, &t->run_link);
    WRITE_ONCE(rq->ready_count, rq->ready_count + 1);
}

static struct thread *dequeue_first(struct runqueue *rq)
{
    struct thread *t = list_first(&rq->ready, struct thread, run_link);
    list_remove(&t->run_link);
    WRITE_ONCE(rq->ready_count, rq->ready_count - 1);
    return t;
}

// What is left to do for the thread that ran before, on the stack of the one that runs now. Interrupts are off.
static void finish_switch(void)
{
    struct cpu *cpu = cpu_this();
    struct thread *prev = cpu->dead;
    cpu->dead = NULL;
    spin_unlock(&runqueues[cpu->id].lock);
    if (likely(!prev))
        return;
    if (prev->state == THREAD_DEAD)
        thread_unref(prev);
    else
        thread_wake(prev); // it had to leave this CPU: a wake-up chooses another one
}

void sched_first_run(void)
{
    finish_switch();
}

// Gives the CPU to `next`. Lock held on entry, released on return; the state of the current thread says where it belongs.
static void switch_to(struct cpu *cpu, struct runqueue *rq, struct thread *next)
{
    struct thread *prev = cpu->current;
    uint64_t now = time_cycles();
    prev->user_cycles += now - prev->accounted;
    next->accounted = now;
    next->state = THREAD_RUNNING;
    rq->slice_end = now + slice_cycles;
    if (unlikely(rq->ready_count && !rq->slice_armed))
        slice_arm(rq, SLICE);
    if (unlikely(next == prev)) {
        spin_unlock(&rq->lock);
        return;
    }
    rq->current = next;
    cpu->current = next;
    if (!prev->kernel && prev->state != THREAD_DEAD)
        context_save(prev);
    if (!next->kernel) {
        struct aspace *as = next->process->aspace;
        if (as != cpu->aspace)
            aspace_activate(as);
        context_load(next);
    }
    context_switch(&prev->context, &next->context);
    finish_switch();
}

// --- The current thread gives up its CPU ---

// Puts the current thread behind the others. Interrupts off.
static void yield_locked(struct cpu *cpu, struct runqueue *rq)
{
    struct thread *t = cpu->current;
    t->state = THREAD_READY;
    enqueue(rq, t);
    struct thread *next = dequeue_first(rq);
    switch_to(cpu, rq, next);
}

// The current thread must not stay on this CPU. Another one may have it only after its registers are saved, so it goes
// through the sleeping state and finish_switch wakes it.
static void migrate_away(struct cpu *cpu, struct runqueue *rq)
{
    struct thread *t = cpu->current;
    t->state = THREAD_SLEEPING;
    cpu->dead = t;
    switch_to(cpu, rq, rq->ready_count ? dequeue_first(rq) : cpu->idle);
}

void sched_yield_now(void)
{
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    struct thread *t = cpu->current;
    atomic_and(&t->work, ~WORK_RESCHED);
    spin_lock(&rq->lock);
    if (unlikely(!(t->affinity & cpu_bit(cpu->id)))) {
        migrate_away(cpu, rq);
    } else if (rq->ready_count) {
        t->involuntary_switches++;
        yield_locked(cpu, rq);
    } else {
        spin_unlock(&rq->lock);
    }
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
    spin_lock(&rq->lock);
    cpu->current->voluntary_switches++;
    if (rq->ready_count)
        yield_locked(cpu, rq);
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
        struct thread *next = rq->ready_count ? dequeue_first(rq) : cpu->idle;
        switch_to(cpu, rq, next);
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
    irq_save();
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    spin_lock(&rq->lock);
    cpu->current->state = THREAD_DEAD;
    cpu->dead = cpu->current;
    switch_to(cpu, rq, rq->ready_count ? dequeue_first(rq) : cpu->idle);
    panic("a dead thread runs");
}

// --- Waking ---

// Locks the run queue of the CPU that the thread belongs to. Interrupts off.
static struct runqueue *runqueue_lock_of(struct thread *t)
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

static unsigned choose_cpu(struct thread *t)
{
    uint64_t idle = READ_ONCE(idle_cpus) & t->affinity, last = cpu_bit(t->cpu);
    if (idle)
        return idle & last ? (unsigned)t->cpu : (unsigned)__builtin_ctzl(idle);
    if (likely(t->affinity & last))
        return t->cpu;
    return __builtin_ctzl(t->affinity & online_cpus);
}

// Queues a ready thread that is in no queue on the CPU of its `cpu`, whose lock is held and gets released.
static inline void make_ready(struct runqueue *rq, struct thread *t)
{
    unsigned cpu = t->cpu;
    bool here = cpu == cpu_this()->id;
    enqueue(rq, t);
    bool unarmed = !rq->slice_armed && !rq->current->idle;
    if (here && unarmed)
        slice_arm(rq, SLICE);
    spin_unlock(&rq->lock);
    if (unlikely(READ_ONCE(idle_cpus) & cpu_bit(cpu))) {
        // Whoever clears the bit sends the interrupt; this CPU's own idle loop looks at its queue when it comes back.
        if ((atomic_and(&idle_cpus, ~cpu_bit(cpu)) & cpu_bit(cpu)) && !here)
            cpu_kick(cpu);
    } else if (!here && unarmed) {
        cpu_kick(cpu); // to time its slice from now on
    }
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
    unsigned cpu = choose_cpu(t);
    if (cpu != (unsigned)t->cpu) {
        WRITE_ONCE(t->cpu, (int)cpu);
        spin_unlock(&rq->lock);
        rq = &runqueues[cpu];
        spin_lock(&rq->lock);
    }
    make_ready(rq, t);
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
        unsigned cpu = t->cpu;
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
    struct runqueue *rq = runqueue_here();
    uint64_t flags = spin_lock_irqsave(&rq->lock);
    if (rq->ready_count && !rq->slice_armed && !rq->current->idle)
        slice_arm(rq, SLICE);
    spin_unlock_irqrestore(&rq->lock, flags);
}

// --- Affinity ---

int thread_set_affinity(struct thread *t, uint64_t cpus_allowed)
{
    cpus_allowed &= online_cpus;
    if (!cpus_allowed)
        return -EINVAL;
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    t->affinity = cpus_allowed;
    bool misplaced = !(cpus_allowed & cpu_bit(t->cpu)), kick = false;
    if (misplaced && t->state == THREAD_READY && !list_empty(&t->run_link)) {
        list_remove(&t->run_link);
        WRITE_ONCE(rq->ready_count, rq->ready_count - 1);
        wake_locked(rq, t);
    } else {
        if (misplaced && rq->current == t) {
            atomic_or(&t->work, WORK_RESCHED);
            kick = t != thread_current();
        }
        unsigned cpu = t->cpu;
        spin_unlock(&rq->lock);
        if (kick)
            cpu_kick(cpu);
    }
    irq_restore(flags);
    if (t == thread_current())
        sched_point();
    return 0;
}

uint64_t sched_online_cpus(void)
{
    return online_cpus;
}

// --- Idle ---

// Moves a ready thread of another CPU here. True when there is something to run now. Interrupts off.
static bool steal(unsigned here)
{
    uint64_t others = READ_ONCE(online_cpus) & ~cpu_bit(here);
    for (; others; others &= others - 1) {
        struct runqueue *rq = &runqueues[__builtin_ctzl(others)];
        if (!READ_ONCE(rq->ready_count))
            continue;
        spin_lock(&rq->lock);
        struct thread *t;
        bool found = false;
        list_for_each(t, &rq->ready, run_link) {
            if (t->affinity & cpu_bit(here)) {
                list_remove(&t->run_link);
                WRITE_ONCE(rq->ready_count, rq->ready_count - 1);
                WRITE_ONCE(t->cpu, (int)here);
                found = true;
                break;
            }
        }
        spin_unlock(&rq->lock);
        if (found) {
            rq = &runqueues[here];
            spin_lock(&rq->lock);
            enqueue(rq, t);
            spin_unlock(&rq->lock);
            return true;
        }
    }
    return false;
}

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
                switch_to(cpu, rq, dequeue_first(rq));
            else
                spin_unlock(&rq->lock);
            continue;
        }
        // From here on wakers see this CPU as idle; whoever queued something before that is found by the look afterwards.
        atomic_or(&idle_cpus, bit);
        if (!READ_ONCE(rq->ready_count) && !steal(cpu->id)) {
            // Halted, it must not be called for changes of the address space that it happens to have loaded.
            if (cpu->aspace && (READ_ONCE(online_cpus) & ~bit))
                aspace_activate(NULL);
            cpu_halt_enabled();
        }
        atomic_and(&idle_cpus, ~bit);
        irq_enable();
    }
}

// The code that calls this becomes the CPU's idle thread, which is where sched_idle_loop must run in the end.
void sched_init_cpu(void)
{
    struct cpu *cpu = cpu_this();
    struct runqueue *rq = &runqueues[cpu->id];
    list_init(&rq->ready);
    timer_init(&rq->slice_timer, slice_expired);
    struct thread *idle = thread_create_idle(cpu->id);
    rq->current = cpu->current = cpu->idle = idle;
    idle->accounted = time_cycles();
    atomic_or(&online_cpus, cpu_bit(cpu->id));
}

void sched_init(void)
{
    slice_cycles = time_ns_to_cycles(SLICE);
    sched_init_cpu();
}

// --- Reports ---

uint64_t sched_load(void)
{
    uint64_t n = 0;
    for (uint64_t c = READ_ONCE(online_cpus); c; c &= c - 1) {
        struct runqueue *rq = &runqueues[__builtin_ctzl(c)];
        n += READ_ONCE(rq->ready_count) + !READ_ONCE(rq->current)->idle;
    }
    return n;
}

void thread_cycles(struct thread *t, uint64_t *user, uint64_t *system)
{
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    uint64_t used = t->user_cycles;
    if (rq->current == t)
        used += time_cycles() - t->accounted;
    spin_unlock(&rq->lock);
    irq_restore(flags);
    if (t->kernel) {
        *user = 0;
        *system = used;
    } else {
        *user = used - MIN(used, t->system_cycles);
        *system = MIN(used, t->system_cycles);
    }
}

void thread_times(struct thread *t, nsec_t *user, nsec_t *system)
{
    uint64_t u, s;
    thread_cycles(t, &u, &s);
    *user = time_cycles_to_ns(u);
    *system = time_cycles_to_ns(s);
}
