// A run queue: the threads that are ready on one CPU, in the order in which they get it. First those under SCHED_FIFO and
// SCHED_RR (and who inherited such a priority), by priority and then as they came; then all others by their virtual run time,
// which is the CPU time that a thread has used divided by its weight, so that who has had least of its share is first.
//
// Virtual run time has a unit of 32 cycles at nice 0 and its own zero on each CPU: what counts is the distance from the run
// queue's `min_vruntime`, which a thread that changes CPUs takes along. A sleeper that comes back is put at most a little in front
// of the others: time in which it wanted nothing is not made up for.
//
// Lock: runqueue.lock, for everything in here and for the scheduling fields of the threads whose `cpu` it is.
#ifndef KERNEL_RUNQUEUE_H
#define KERNEL_RUNQUEUE_H

#include "kernel/heap.h"
#include "kernel/muldiv.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include <linux/sched.h>

enum sample { SAMPLE_USER, SAMPLE_NICE, SAMPLE_SYSTEM, SAMPLE_COUNT };

struct runqueue {
    struct spinlock lock;
    uint32_t ready_count;        // in both heaps
    struct heap_node *fair;      // by vruntime
    struct heap_node *realtime;  // by priority and arrival
    struct thread *current;
    int64_t min_vruntime;        // of the current thread and those in the queue; never goes back
    uint64_t weight;             // of those in the queue
    uint32_t current_weight;     // of the current thread, 0: idle
    uint8_t priority;            // of the current thread
    bool tick_armed;             // `tick` is set
    uint16_t ticks;
    int64_t front, back;         // the next numbers at the ends of the real-time queues
    struct timer tick;
    // What /proc/stat shows of this CPU.
    uint64_t started;               // cycles when it began to schedule
    uint64_t switches;
    uint64_t samples[SAMPLE_COUNT]; // ticks that found a thread in the application, there with nice > 0, in the kernel
    nsec_t shown[SAMPLE_COUNT];     // what was reported last: it must not go back
} ALIGNED(256); // a power of two: found by a shift

extern struct runqueue runqueues[MAX_CPUS];
extern uint64_t sched_online;           // bit per CPU that schedules
extern uint64_t sched_idle;             // bit per CPU that halts or is about to
extern uint64_t sched_realtime_waiting; // bit per CPU in whose queue real-time threads wait
extern int64_t sched_credit;            // how far in front of the others a sleeper may come back, in virtual time
extern int64_t sched_grain;             // who is that far in front (at nice 0) takes the CPU from the current thread at once

#define WEIGHT_NICE_0 1024
#define CYCLES_PER_UNIT 32 // of virtual run time, at nice 0
#define WEIGHT_REALTIME (2 * 88761) // for the balance: more than any other

// The weight of a priority: Linux's table, in which a step of one changes the share of two competitors by 10 percent.
uint32_t sched_weight(int policy, int priority);
static inline bool is_realtime(const struct thread *t) { return t->priority < PRIORITY_NORMAL; }
static inline uint64_t cpu_bit(unsigned cpu) { return 1UL << cpu; }

// A real-time thread, to the end of those of its priority, or (`first`) to their front: one that was preempted keeps its turn.
void runqueue_add_realtime(struct runqueue *rq, struct thread *t, bool first);
void runqueue_remove(struct runqueue *rq, struct thread *t);
struct thread *runqueue_take_realtime(struct runqueue *rq); // the first of them; there is one
// A thread that may run on `cpu` and weighs no more than `most`, taken out of the queue and given to that CPU; NULL: none.
// The order is roughly that of the queue.
struct thread *runqueue_take_for(struct runqueue *rq, unsigned cpu, uint64_t most);

static inline struct thread *runqueue_thread(struct heap_node *n)
{
    return container_of(n, struct thread, run_node);
}

// Adds a thread at the place that its virtual run time, or priority, gives it.
static inline void runqueue_add_fair(struct runqueue *rq, struct thread *t)
{
    t->queued = true;
    WRITE_ONCE(rq->ready_count, rq->ready_count + 1);
    rq->weight += t->weight;
    t->run_node.key = t->vruntime;
    rq->fair = heap_insert(rq->fair, &t->run_node);
}
static inline void runqueue_add(struct runqueue *rq, struct thread *t)
{
    if (likely(!is_realtime(t))) {
        runqueue_add_fair(rq, t);
        return;
    }
    t->queued = true;
    WRITE_ONCE(rq->ready_count, rq->ready_count + 1);
    rq->weight += t->weight;
    runqueue_add_realtime(rq, t, false);
}

// The first one, taken out; there must be one.
static inline __attribute__((always_inline)) struct thread *runqueue_take_first(struct runqueue *rq)
{
    if (unlikely(rq->realtime))
        return runqueue_take_realtime(rq);
    struct thread *t = runqueue_thread(rq->fair);
    if (t->vruntime > rq->min_vruntime)
        rq->min_vruntime = t->vruntime;
    rq->fair = unlikely(t->run_node.child) ? heap_remove(rq->fair, &t->run_node) : NULL;
    WRITE_ONCE(rq->ready_count, rq->ready_count - 1);
    rq->weight -= t->weight;
    t->queued = false;
    return t;
}

// Adds what the thread has used of the CPU since the last time. Another CPU's cycles may be a little behind.
static inline void runqueue_charge(struct thread *t, uint64_t now)
{
    uint64_t used = now - t->accounted;
    if (unlikely((int64_t)used <= 0))
        return;
    t->cycles += used;
    t->vruntime += (int64_t)mul_shift32(used, t->weight_factor);
    t->accounted = now;
}

// min_vruntime follows the current thread (charged) and the first in the queue: at every tick.
static inline void runqueue_advance(struct runqueue *rq)
{
    const struct thread *c = rq->current;
    int64_t least = rq->fair ? rq->fair->key : INT64_MAX;
    if (c->weight_factor && c->vruntime < least) // 0: real-time, or idle
        least = c->vruntime;
    if (least > rq->min_vruntime && least != INT64_MAX)
        rq->min_vruntime = least;
}

// A thread that comes back from sleep, or to the fair ones.
static inline void runqueue_place(struct runqueue *rq, struct thread *t)
{
    int64_t floor = rq->min_vruntime - sched_credit;
    if (t->vruntime < floor)
        t->vruntime = floor;
}

// Does a thread that has become ready take the CPU from the current one (charged, not idle) at once?
static inline bool runqueue_preempts(const struct thread *t, const struct thread *current)
{
    if (unlikely(is_realtime(t) || is_realtime(current)))
        return t->priority < current->priority;
    int64_t ahead = current->vruntime - t->vruntime; // the lighter it is, the more it takes
    return ahead > sched_grain && ahead > (int64_t)mul_shift32((uint64_t)sched_grain * CYCLES_PER_UNIT, t->weight_factor) &&
           t->policy != SCHED_BATCH;
}

// Is it somebody else's turn? The current thread is charged, not idle, and will be a candidate. `turn_over`: it has had its time
// slice under SCHED_RR, or gives it up.
static inline bool runqueue_other_first(const struct runqueue *rq, bool turn_over)
{
    const struct thread *c = rq->current;
    if (unlikely(rq->realtime)) {
        int first = runqueue_thread(rq->realtime)->priority;
        return first < c->priority || (turn_over && first == c->priority);
    }
    return rq->fair && !is_realtime(c) && rq->fair->key < c->vruntime;
}

#endif
