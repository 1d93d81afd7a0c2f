// The tick: while a CPU runs a thread of the application, or others wait for it, a timer looks every 4 ms at whether it is the
// next one's turn, at what it has interrupted (the samples of cputime.h), at the timers on CPU time of its process, and now and
// then at the balance between CPUs. An idle CPU has none: the timer finds nobody and is not set again.
// Locks: runqueue.lock, then none while the process's timers are looked at.
#include "kernel/clock_event.h"
#include "kernel/irq.h"
#include "kernel/process/cpu_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/sched.h"
#include "kernel/x86/cpu.h"

#define TICK (4 * NSEC_PER_MSEC)
#define RR_SLICE (100 * NSEC_PER_MSEC) // Linux's, as sched_rr_get_interval(2) says
#define CREDIT (2 * NSEC_PER_MSEC)
#define GRAIN (1 * NSEC_PER_MSEC)

// On the run queue's own CPU, with its lock.
void sched_tick_arm(struct runqueue *rq)
{
    sched_credit = (int64_t)(time_ns_to_cycles(CREDIT) / CYCLES_PER_UNIT); // the clock learns how fast it is
    sched_grain = (int64_t)(time_ns_to_cycles(GRAIN) / CYCLES_PER_UNIT);
    rq->tick_armed = true;
    timer_add(&rq->tick, time_monotonic() + TICK);
}

static void sample(struct runqueue *rq, struct thread *t)
{
    if (!t->kernel && cpu_this()->irq_user) {
        t->samples.user++;
        rq->samples[t->nice > 0 ? SAMPLE_NICE : SAMPLE_USER]++;
    } else {
        t->samples.system++;
        rq->samples[SAMPLE_SYSTEM]++;
    }
}

// The current thread is real-time: how long has it run without a sleep, and is its slice over?
static void tick_realtime(struct thread *t)
{
    if (t->realtime_slept != t->voluntary_switches) {
        t->realtime_slept = t->voluntary_switches;
        t->realtime_ticks = 0;
        t->slice_start = t->cycles;
    }
    t->realtime_ticks++;
    if (t->policy == SCHED_RR && t->cycles - t->slice_start >= time_ns_to_cycles(RR_SLICE)) {
        t->slice_start = t->cycles;
        t->turn_over = true;
    }
}

void sched_tick(struct timer *timer)
{
    struct runqueue *rq = container_of(timer, struct runqueue, tick);
    struct thread *t, *moved = NULL;
    unsigned here = (unsigned)cpu_this()->id;
    spin_lock(&rq->lock);
    t = rq->current;
    rq->tick_armed = false;
    if (t->idle) {
        spin_unlock(&rq->lock);
        return;
    }
    runqueue_charge(t, clock_cycles());
    runqueue_advance(rq);
    sample(rq, t);
    if (unlikely(is_realtime(t)))
        tick_realtime(t);
    if (rq->ready_count && runqueue_other_first(rq, t->turn_over))
        runqueue_resched(rq);
    moved = sched_balance(rq, here);
    sched_tick_arm(rq);
    if (unlikely(rq->realtime))
        sched_push_realtime(rq, here);
    else
        spin_unlock(&rq->lock);
    if (moved)
        sched_send(moved);
    if (unlikely(READ_ONCE(t->process->cpu_timing) || is_realtime(t)))
        cpu_timers_tick(t);
}
