// Timers: a heap of deadlines a CPU (kernel/heap.h), so that arming one cannot fail. The clock's interrupt is set for the earliest deadline when that
// comes before what it is set for; an interrupt that finds nothing due sets it anew. So taking a timer back touches no hardware.
//
// Locks: timers.lock (interrupt-safe, a leaf). While a timer's function runs, `running` names it, without the lock: the
// function may free the timer or add it again, so nothing touches the timer after it.
#include "kernel/clock_event.h"
#include "kernel/heap.h"
#include "kernel/threads/lock.h"
#include "kernel/time.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"

struct timer_queue {
    struct spinlock lock;
    struct heap_node *root;
    struct timer *running;
    nsec_t programmed; // what the interrupt is set for, 0: nothing
} ALIGNED(64);

static struct timer_queue queues[MAX_CPUS];

// timer.cpu of a timer that is in no heap: NOT_ARMED, or the CPU whose interrupt has taken it, encoded.
#define NOT_ARMED (-1)
#define TAKEN_BY(cpu) (-2 - (int)(cpu))

void timer_init(struct timer *t, timer_fn fn)
{
    *t = (struct timer){.fn = fn, .cpu = NOT_ARMED};
}

static inline struct timer *earliest(const struct timer_queue *q)
{
    return q->root ? container_of(q->root, struct timer, node) : NULL;
}

// Sees to it that an interrupt comes for the earliest timer of this CPU.
static void program(struct timer_queue *q, nsec_t now)
{
    const struct timer *first = earliest(q);
    q->programmed = first ? MAX(first->deadline, 1) : 0;
    if (first)
        clock_event_set(first->deadline - now);
}

void timer_add(struct timer *t, nsec_t deadline)
{
    if (t->cpu >= 0)
        timer_cancel(t);
    uint64_t flags = irq_save();
    struct timer_queue *q = &queues[cpu_this()->id];
    spin_lock(&q->lock);
    t->deadline = deadline;
    WRITE_ONCE(t->cpu, (int)cpu_this()->id);
    t->node.key = deadline;
    q->root = heap_insert(q->root, &t->node);
    if (q->root == &t->node && (!q->programmed || deadline < q->programmed))
        program(q, time_monotonic());
    spin_unlock_irqrestore(&q->lock, flags);
}

// Takes the timer out of its heap: that CPU's number, or a negative one when it is in none.
static int take_back(struct timer *t)
{
    for (;;) {
        int cpu = READ_ONCE(t->cpu);
        if (cpu < 0)
            return cpu;
        struct timer_queue *q = &queues[cpu];
        uint64_t flags = spin_lock_irqsave(&q->lock);
        bool here = t->cpu == cpu;
        if (here) {
            q->root = heap_remove(q->root, &t->node);
            WRITE_ONCE(t->cpu, NOT_ARMED);
        }
        spin_unlock_irqrestore(&q->lock, flags);
        if (here)
            return cpu;
    }
}

bool timer_cancel(struct timer *t)
{
    return take_back(t) >= 0;
}

static void wait_for_function(struct timer *t, int cpu)
{
    while (load_acquire(&queues[cpu].running) == t)
        cpu_pause();
}

bool timer_cancel_sync(struct timer *t)
{
    for (;;) {
        int cpu = take_back(t);
        if (cpu >= 0) {
            wait_for_function(t, cpu); // which may have added it again, in its CPU's heap, before it is done with it
            return true;
        }
        if (cpu == NOT_ARMED)
            return false;
        wait_for_function(t, TAKEN_BY(cpu));
        if (READ_ONCE(t->cpu) == cpu)
            return false;
    }
}

// The next timer that is due, taken out of the heap and marked as running; NULL: none, and the interrupt is set again.
static struct timer *take_due(struct timer_queue *q, nsec_t *now)
{
    spin_lock(&q->lock);
    q->running = NULL;
    struct timer *t = earliest(q);
    if (t && t->deadline > *now) // time has passed since the last look
        *now = time_monotonic();
    if (t && t->deadline <= *now) {
        q->root = heap_remove(q->root, &t->node);
        q->running = t;
        WRITE_ONCE(t->cpu, TAKEN_BY(cpu_this()->id));
    } else {
        program(q, *now);
        t = NULL;
    }
    spin_unlock(&q->lock);
    return t;
}

void timer_interrupt(void)
{
    struct timer_queue *q = &queues[cpu_this()->id];
    nsec_t now = time_monotonic();
    struct timer *t;
    while ((t = take_due(q, &now)))
        t->fn(t);
}
