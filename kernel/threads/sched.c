// The scheduler: per-CPU run queues, round robin with a time slice that is only timed while somebody waits for the CPU, and
// idle CPUs that steal and then halt. A wake-up goes to an idle CPU when there is one, else to where the thread ran last.
//
// Everyone may use a slice of CPU time before it is the next one's turn. Who sleeps with some of it left gets in front of
// those who have used theirs up when it wakes, and takes the CPU from them after at most a tick: so what waits for events
// answers fast, and yet nobody gets more than his share.
//
// The lock of a run queue is held across the switch and released by the thread that was switched to (finish_switch), so a
// waker that has the lock finds a sleeping thread either still current, and then just takes back its sleep, or safely saved.
// A thread's `cpu` is stable while it sleeps and changes with the lock of its old run queue held or while nobody else can
// move it (state READY but in no queue, between two run queues).
//
// Locks: runqueue.lock > the timer heap's lock. Two run queues are never locked at once. Interrupts are off while it is held.
#include "kernel/memory/aspace.h"
#include "kernel/irq.h"
#include "kernel/threads/loadavg.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/threads/rseq.h"
#include "kernel/threads/sched.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"

#define SLICE (4 * NSEC_PER_MSEC)
#define TICK (1 * NSEC_PER_MSEC) // how often a CPU that others wait for is looked after
#define BALANCE_TICKS 16

struct runqueue {
    struct spinlock lock;
    uint32_t ready_count; // in both lists
    struct list woken;    // who has something left of a slice: first come, first served
    struct list ready;    // all others
    struct thread *current;
    uint64_t slice_end; // cycles: when the current thread has had its share
    bool tick_armed;    // `tick` is set
    uint8_t ticks;
    struct timer tick;
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

// On the run queue's own CPU, with its lock.
static void tick_arm(struct runqueue *rq)
{
    slice_cycles = time_ns_to_cycles(SLICE); // the clock learns how fast it is
    rq->tick_armed = true;
    timer_add(&rq->tick, time_monotonic() + TICK);
}

// A thread with some of its slice left goes to the end of the first list, one that has used it up to that of the second, where
// it gets a new one.
static inline void enqueue(struct runqueue *rq, struct thread *t)
{
    if (t->slice_used < slice_cycles) {
        list_push_back(&rq->woken, &t->run_link);
    } else {
        t->slice_used = 0;
        list_push_back(&rq->ready, &t->run_link);
    }
    WRITE_ONCE(rq->ready_count, rq->ready_count + 1);
}

static inline void dequeue(struct runqueue *rq, struct thread *t)
{
    list_remove(&t->run_link);
    WRITE_ONCE(rq->ready_count, rq->ready_count - 1);
}

// The next one; there must be one.
static inline struct thread *dequeue_first(struct runqueue *rq)
{
    struct list *from = list_empty(&rq->woken) ? &rq->ready : &rq->woken;
    struct thread *t = list_first(from, struct thread, run_link);
    dequeue(rq, t);
    return t;
}

static inline struct thread *next_thread(struct cpu *cpu, struct runqueue *rq)
{
    return rq->ready_count ? dequeue_first(rq) : cpu->idle;
}

// What is left to do for the thread that ran before, on the stack of the one that runs now. Interrupts are off.
static void finish_switch(void)
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

// Adds what the thread has used of the CPU since the last time.
static inline void charge(struct thread *t, uint64_t now)
{
    uint64_t used = now - t->accounted;
    t->user_cycles += used;
    t->slice_used += used;
    t->accounted = now;
}

static uint64_t load_due_cycles; // when the next look at the load is due, roughly

// The load is what there was up to this switch, of which `next` was a part when it was in the queue.
static __attribute__((noinline)) void load_period_over(struct runqueue *rq, struct thread *next, uint64_t now)
{
    bool leaves = next != rq->current && rq->current->state != THREAD_READY && !rq->current->idle && !next->idle;
    load_update(sched_load() + leaves, time_monotonic());
    WRITE_ONCE(load_due_cycles, now + time_ns_to_cycles(MAX(load_due - time_monotonic(), NSEC_PER_MSEC)));
}

// Gives the CPU to `next`. Lock held on entry, released on return; the state of the current thread says where it belongs.
static void switch_to(struct cpu *cpu, struct runqueue *rq, struct thread *next)
{
    struct thread *prev = cpu->current;
    uint64_t now = time_cycles();
    charge(prev, now);
    if (unlikely((int64_t)(now - READ_ONCE(load_due_cycles)) >= 0))
        load_period_over(rq, next, now);
    next->accounted = now;
    next->state = THREAD_RUNNING;
    rq->slice_end = now + slice_cycles - next->slice_used;
    if (unlikely(rq->ready_count && !rq->tick_armed))
        tick_arm(rq);
    if (unlikely(next == prev)) {
        spin_unlock(&rq->lock);
        return;
    }
    rq->current = next;
    cpu->current = next;
    if (!prev->kernel && prev->state != THREAD_DEAD) {
        context_save(prev);
        rseq_switch_out(prev);
    }
    if (!next->kernel) {
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

// Puts the current thread behind the others, with a new slice, when it gives up its own or has used it up; otherwise only
// behind those with time left. Interrupts off.
static void yield_locked(struct cpu *cpu, struct runqueue *rq, bool give_up)
{
    struct thread *t = cpu->current;
    charge(t, time_cycles());
    t->state = THREAD_READY;
    if (give_up || t->slice_used >= slice_cycles) {
        t->slice_used = 0;
        list_push_back(&rq->ready, &t->run_link);
    } else {
        list_push_front(&rq->ready, &t->run_link);
    }
    WRITE_ONCE(rq->ready_count, rq->ready_count + 1);
    switch_to(cpu, rq, dequeue_first(rq));
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
    if (unlikely(!(t->affinity & cpu_bit(cpu->id)))) {
        migrate_away(cpu, rq);
    } else if (rq->ready_count) {
        t->involuntary_switches++;
        yield_locked(cpu, rq, false);
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
        yield_locked(cpu, rq, true);
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
    bool unarmed = !rq->tick_armed && !rq->current->idle;
    if (here && unarmed)
        tick_arm(rq);
    spin_unlock(&rq->lock);
    if (unlikely(READ_ONCE(idle_cpus) & cpu_bit(cpu))) {
        // Whoever clears the bit sends the interrupt; this CPU's own idle loop looks at its queue when it comes back.
        if ((atomic_and(&idle_cpus, ~cpu_bit(cpu)) & cpu_bit(cpu)) && !here)
            cpu_kick(cpu);
    } else if (!here && unarmed) {
        cpu_kick(cpu); // to look after its slices from now on
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
    if (rq->ready_count && !rq->tick_armed && !rq->current->idle)
        tick_arm(rq);
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
        dequeue(rq, t);
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

// Takes a thread that may run on `cpu` out of the queue: the last of those that wait longest. NULL: there is none.
static struct thread *take_for(struct runqueue *rq, unsigned cpu)
{
    struct list *lists[] = {&rq->ready, &rq->woken};
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++)
        for (struct list *l = lists[i]->prev; l != lists[i]; l = l->prev) {
            struct thread *t = list_entry(l, struct thread, run_link);
            if (t->affinity & cpu_bit(cpu)) {
                dequeue(rq, t);
                WRITE_ONCE(t->cpu, (int)cpu); // ready, but in no queue: ours alone
                return t;
            }
        }
    return NULL;
}

// Moves a ready thread of another CPU here. True when there is something to run now. Interrupts off.
static bool steal(unsigned here)
{
    uint64_t others = READ_ONCE(online_cpus) & ~cpu_bit(here);
    for (; others; others &= others - 1) {
        struct runqueue *rq = &runqueues[__builtin_ctzl(others)];
        if (!READ_ONCE(rq->ready_count))
            continue;
        spin_lock(&rq->lock);
        struct thread *t = take_for(rq, here);
        spin_unlock(&rq->lock);
        if (t) {
            rq = &runqueues[here];
            spin_lock(&rq->lock);
            enqueue(rq, t);
            spin_unlock(&rq->lock);
            return true;
        }
    }
    return false;
}

// A thread for the CPU with the fewest in its queue, if that is shorter than this one: with three busy threads on two CPUs, each
// has its turn of being alone. NULL: none is to move. The lock is held.
static struct thread *choose_to_move(struct runqueue *rq, unsigned here)
{
    uint32_t fewest = rq->ready_count;
    unsigned to = here;
    for (uint64_t c = READ_ONCE(online_cpus) & ~cpu_bit(here); c; c &= c - 1) {
        unsigned cpu = (unsigned)__builtin_ctzl(c);
        uint32_t n = READ_ONCE(runqueues[cpu].ready_count);
        if (n < fewest) {
            fewest = n;
            to = cpu;
        }
    }
    return to == here ? NULL : take_for(rq, to);
}

// A CPU on which threads wait is looked after: is it the next one's turn?
static void tick(struct timer *timer)
{
    struct runqueue *rq = container_of(timer, struct runqueue, tick);
    struct thread *moved = NULL;
    spin_lock(&rq->lock);
    rq->tick_armed = false;
    if (rq->ready_count && ++rq->ticks % BALANCE_TICKS == 0)
        moved = choose_to_move(rq, (unsigned)cpu_this()->id);
    if (rq->ready_count) {
        if (!list_empty(&rq->woken) || (int64_t)(rq->slice_end - time_cycles()) <= 0)
            atomic_or(&rq->current->work, WORK_RESCHED);
        tick_arm(rq);
    }
    spin_unlock(&rq->lock);
    if (moved) {
        rq = &runqueues[moved->cpu];
        spin_lock(&rq->lock);
        make_ready(rq, moved);
    }
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
    list_init(&rq->woken);
    list_init(&rq->ready);
    timer_init(&rq->tick, tick);
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
