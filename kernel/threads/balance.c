// Which CPU a thread runs on: where a wake-up sends it, what an idle CPU takes from others, and the balance between busy ones.
// Locks: none is held but where said; two run queues are never locked at once, so what is read of others is a guess.
#include "kernel/irq.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/sched.h"
#include "kernel/x86/cpu.h"

#define BALANCE_TICKS 16 // 64 ms

// The CPU that does the least important thing: an idle one is found before.
static unsigned choose_realtime(const struct thread *t)
{
    unsigned best = (unsigned)t->cpu;
    int worst = t->affinity & cpu_bit(best) ? READ_ONCE(runqueues[best].priority) : -1;
    for (uint64_t c = t->affinity & READ_ONCE(sched_online); c && worst <= t->priority; c &= c - 1) {
        unsigned cpu = (unsigned)__builtin_ctzl(c);
        int priority = READ_ONCE(runqueues[cpu].priority);
        if (priority > worst) {
            worst = priority;
            best = cpu;
        }
    }
    return best;
}

static unsigned choose_allowed(const struct thread *t)
{
    unsigned best = (unsigned)__builtin_ctzl(t->affinity & sched_online);
    for (uint64_t c = t->affinity & sched_online; c; c &= c - 1) {
        unsigned cpu = (unsigned)__builtin_ctzl(c);
        if (READ_ONCE(runqueues[cpu].weight) < READ_ONCE(runqueues[best].weight))
            best = cpu;
    }
    return best;
}

// An idle CPU, its last one if it can be; when there is none, its last one. The lock of its run queue is held.
unsigned sched_choose_cpu(struct thread *t)
{
    uint64_t idle = READ_ONCE(sched_idle) & t->affinity, last = cpu_bit((unsigned)t->cpu);
    if (idle)
        return idle & last ? (unsigned)t->cpu : (unsigned)__builtin_ctzl(idle);
    if (unlikely(is_realtime(t)))
        return choose_realtime(t);
    if (likely(t->affinity & last))
        return (unsigned)t->cpu;
    return choose_allowed(t);
}

// A real-time thread waits here for one of its own kind: another CPU may have less important things to do. Called with the lock
// held, which gets released; interrupts are off.
void sched_push_realtime(struct runqueue *rq, unsigned here)
{
    struct thread *t = runqueue_thread(rq->realtime);
    unsigned cpu = t->priority < rq->priority ? here : sched_choose_cpu(t);
    bool better = cpu != here && (t->affinity & cpu_bit(cpu)) &&
                  ((READ_ONCE(sched_idle) & cpu_bit(cpu)) || READ_ONCE(runqueues[cpu].priority) > t->priority);
    if (better)
        t = runqueue_take_for(rq, cpu, UINT64_MAX);
    spin_unlock(&rq->lock);
    if (better && t)
        sched_send(t);
}

// Moves a ready thread of another CPU to this one, which is idle. True when there is something to run now. Interrupts off.
bool sched_steal(unsigned here)
{
    for (uint64_t others = READ_ONCE(sched_online) & ~cpu_bit(here); others; others &= others - 1) {
        struct runqueue *rq = &runqueues[__builtin_ctzl(others)];
        if (!READ_ONCE(rq->ready_count))
            continue;
        spin_lock(&rq->lock);
        struct thread *t = runqueue_take_for(rq, here, UINT64_MAX);
        spin_unlock(&rq->lock);
        if (t) {
            sched_send(t);
            return true;
        }
    }
    return false;
}

static uint64_t load_of(const struct runqueue *rq)
{
    return READ_ONCE(rq->weight) + READ_ONCE(rq->current_weight);
}

// Now and then, a thread for the CPU that has the least to do, when that makes the two more equal, or changes who is alone: with
// three busy threads on two CPUs, each has its turn. NULL: none is to move. The lock is held.
struct thread *sched_balance(struct runqueue *rq, unsigned here)
{
    if (!rq->ready_count || ++rq->ticks % BALANCE_TICKS)
        return NULL;
    uint64_t load = load_of(rq), least = load;
    unsigned to = here;
    for (uint64_t c = READ_ONCE(sched_online) & ~cpu_bit(here); c; c &= c - 1) {
        unsigned cpu = (unsigned)__builtin_ctzl(c);
        uint64_t other = load_of(&runqueues[cpu]);
        if (other < least) {
            least = other;
            to = cpu;
        }
    }
    return to == here ? NULL : runqueue_take_for(rq, to, load - least);
}
