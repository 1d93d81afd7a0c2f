// The rarer operations on run queues: real-time threads, and taking threads for another CPU. See runqueue.h.
#include "kernel/threads/runqueue.h"

struct runqueue runqueues[MAX_CPUS];
uint64_t sched_online, sched_idle, sched_realtime_waiting;
int64_t sched_credit, sched_grain;

// From nice -20 to 19: 1024 * 1.25^-nice.
static const uint32_t weights[40] = {
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906,  3121,  2501,  1991,  1586,  1277,  1024,  820,   655,   526,   423,  335,  272,  215,
    172,   137,   110,   87,    70,    56,    45,    36,    29,    23,    18,   15,
};

uint32_t sched_weight(int policy, int priority)
{
    if (priority < PRIORITY_NORMAL)
        return WEIGHT_REALTIME;
    return policy == SCHED_IDLE ? 3 : weights[MIN(priority - PRIORITY_NORMAL, 39)];
}

// Keys of the real-time heap: priority, then a number that counts up at the back and down at the front.
#define KEY_SHIFT 56

void runqueue_add_realtime(struct runqueue *rq, struct thread *t, bool first)
{
    int64_t turn = first ? --rq->front : rq->back++;
    t->run_node.key = ((int64_t)t->priority << KEY_SHIFT) + (1L << (KEY_SHIFT - 1)) + turn;
    rq->realtime = heap_insert(rq->realtime, &t->run_node);
    atomic_or(&sched_realtime_waiting, cpu_bit((unsigned)(rq - runqueues)));
}

void runqueue_remove(struct runqueue *rq, struct thread *t)
{
    if (is_realtime(t)) {
        rq->realtime = heap_remove(rq->realtime, &t->run_node);
        if (!rq->realtime)
            atomic_and(&sched_realtime_waiting, ~cpu_bit((unsigned)(rq - runqueues)));
    } else {
        rq->fair = heap_remove(rq->fair, &t->run_node);
    }
    WRITE_ONCE(rq->ready_count, rq->ready_count - 1);
    rq->weight -= t->weight;
    t->queued = false;
}

struct thread *runqueue_take_realtime(struct runqueue *rq)
{
    struct thread *t = runqueue_thread(rq->realtime);
    runqueue_remove(rq, t);
    return t;
}

static struct thread *find_for(struct heap_node *root, unsigned cpu, uint64_t most)
{
    for (struct heap_node *n = root; n; n = heap_next(n)) {
        struct thread *t = runqueue_thread(n);
        if ((t->affinity & cpu_bit(cpu)) && t->weight <= most)
            return t;
    }
    return NULL;
}

struct thread *runqueue_take_for(struct runqueue *rq, unsigned cpu, uint64_t most)
{
    struct thread *t = find_for(rq->realtime, cpu, most);
    if (!t)
        t = find_for(rq->fair, cpu, most);
    if (!t)
        return NULL;
    runqueue_remove(rq, t);
    t->vruntime -= rq->min_vruntime;
    WRITE_ONCE(t->cpu, (int)cpu); // ready, but in no queue: the caller's alone
    return t;
}
