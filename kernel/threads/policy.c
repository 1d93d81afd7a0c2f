// Scheduling policies and priorities of threads: what sched_setscheduler(2), setpriority(2) and priority-inheriting futexes change,
// and what a new thread inherits. Whether somebody may is asked in syscall/.
// Locks: the lock of the thread's run queue.
#include "kernel/clock_event.h"
#include "kernel/irq.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/futex.h"
#include "kernel/threads/sched.h"
#include "kernel/x86/cpu.h"

static int own_priority(const struct thread *t)
{
    return t->rt_priority ? PRIORITY_NORMAL - 1 - t->rt_priority : PRIORITY_NICE_0 + t->nice;
}

void sched_weigh(struct thread *t)
{
    int priority = MIN(own_priority(t), t->inherited);
    // Who is lent a priority gets the weight that belongs to it.
    t->weight = sched_weight(t->inherited < PRIORITY_NONE ? SCHED_NORMAL : t->policy, priority);
    t->weight_factor = priority < PRIORITY_NORMAL ? 0 : ((uint64_t)WEIGHT_NICE_0 << 32) / CYCLES_PER_UNIT / t->weight;
    WRITE_ONCE(t->priority, (uint8_t)priority);
}

// A new weight or priority, with effect on what runs. The lock is held and gets released.
static void changed(struct runqueue *rq, struct thread *t)
{
    struct thread *current = rq->current;
    bool queued = t->queued, realtime = is_realtime(t), kick = false;
    unsigned cpu = (unsigned)t->cpu;
    if (!current->idle)
        runqueue_charge(current, clock_cycles());
    if (queued)
        runqueue_remove(rq, t);
    sched_weigh(t);
    if (realtime && !is_realtime(t))
        runqueue_place(rq, t);
    if (queued)
        runqueue_add(rq, t);
    if (t == current) {
        rq->priority = t->priority;
        rq->current_weight = t->weight;
    }
    if (!current->idle && rq->ready_count && runqueue_other_first(rq, false))
        kick = runqueue_resched(rq);
    spin_unlock(&rq->lock);
    if (kick)
        cpu_kick(cpu);
}

void thread_inherit_priority(struct thread *t, int key)
{
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    if (t->inherited == key) {
        spin_unlock(&rq->lock);
    } else {
        t->inherited = (uint8_t)key;
        changed(rq, t);
    }
    irq_restore(flags);
}

void thread_set_policy(struct thread *t, const struct sched_policy *s)
{
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    t->policy = (uint8_t)s->policy;
    t->nice = (int8_t)s->nice;
    t->rt_priority = (uint8_t)s->rt_priority;
    t->reset_on_fork = s->reset_on_fork;
    t->slice_start = t->cycles;
    t->turn_over = false;
    changed(rq, t);
    irq_restore(flags);
    futex_priority_changed(t);
}

void thread_get_policy(struct thread *t, struct sched_policy *s)
{
    uint64_t flags = irq_save();
    struct runqueue *rq = runqueue_lock_of(t);
    *s = (struct sched_policy){t->policy, t->nice, t->rt_priority, t->reset_on_fork};
    spin_unlock_irqrestore(&rq->lock, flags);
}

void thread_inherit_policy(struct thread *child, const struct thread *parent)
{
    child->affinity = parent->affinity;
    child->policy = parent->policy;
    child->nice = parent->nice;
    child->rt_priority = parent->rt_priority;
    child->io_priority = parent->io_priority;
    if (parent->reset_on_fork) {
        if (parent->rt_priority) {
            child->policy = SCHED_NORMAL;
            child->rt_priority = 0;
            child->nice = 0;
        }
        child->nice = MAX(child->nice, 0);
    }
    sched_weigh(child);
}
