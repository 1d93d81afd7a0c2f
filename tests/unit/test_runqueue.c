// Run queues: who is next, by priority and by shares; how CPU time is split when it is reported.
// link: kernel/threads/runqueue.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/string.h"
#include "kernel/threads/runqueue.h"

void abort(void) __attribute__((noreturn)); // <stdlib.h> clashes with the kernel's view of signals and time
int rand(void);
void srand(unsigned seed);
void spin_lock_slow(struct spinlock *l) { abort(); }
struct cpu *cpu_this(void) { return NULL; }
struct thread *thread_current(void) { return NULL; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}

#define N 96
#define MSEC 1000000

static struct thread threads[N], idle;
static struct runqueue *rq = &runqueues[1];

static struct thread *set(int i, int policy, int priority)
{
    struct thread *t = &threads[i];
    *t = (struct thread){.tid = i, .affinity = ~0UL, .policy = (uint8_t)policy, .priority = (uint8_t)priority, .cpu = 1};
    t->weight = sched_weight(policy, priority);
    t->weight_factor = priority < PRIORITY_NORMAL ? 0 : ((uint64_t)WEIGHT_NICE_0 << 32) / CYCLES_PER_UNIT / t->weight;
    return t;
}

static int fresh(void **state)
{
    memset(rq, 0, sizeof *rq);
    idle = (struct thread){.idle = true, .priority = PRIORITY_NONE};
    rq->current = &idle;
    sched_realtime_waiting = 0;
    sched_credit = 2 * MSEC / CYCLES_PER_UNIT;
    sched_grain = 1 * MSEC / CYCLES_PER_UNIT;
    return 0;
}

static void weights(void **state)
{
    assert_int_equal(sched_weight(SCHED_NORMAL, PRIORITY_NICE_0), WEIGHT_NICE_0);
    for (int p = PRIORITY_NORMAL; p < PRIORITY_NONE - 1; p++) {
        double step = (double)sched_weight(SCHED_NORMAL, p) / sched_weight(SCHED_NORMAL, p + 1);
        assert_true(step > 1.15 && step < 1.35);
    }
    assert_true(sched_weight(SCHED_IDLE, PRIORITY_NORMAL) < sched_weight(SCHED_NORMAL, PRIORITY_NONE - 1));
    assert_true(sched_weight(SCHED_FIFO, 0) > sched_weight(SCHED_NORMAL, PRIORITY_NORMAL));
}

static void order_of_virtual_time(void **state)
{
    uint64_t weight = 0;
    srand(1);
    for (int i = 0; i < N; i++) {
        set(i, SCHED_NORMAL, PRIORITY_NORMAL + rand() % 40)->vruntime = rand() % 10000 - 5000;
        runqueue_add(rq, &threads[i]);
        weight += threads[i].weight;
    }
    assert_int_equal(rq->ready_count, N);
    assert_int_equal(rq->weight, weight);
    runqueue_remove(rq, &threads[7]);
    assert_false(threads[7].queued);
    int64_t last = INT64_MIN;
    for (int i = 1; i < N; i++) {
        const struct thread *t = runqueue_take_first(rq);
        assert_true(t->vruntime >= last && t != &threads[7]);
        last = t->vruntime;
    }
    assert_int_equal(rq->ready_count, 0);
    assert_int_equal(rq->weight, 0);
    assert_null(rq->fair);
}

static void realtime_first(void **state)
{
    static const int priorities[] = {50, 98, 50, 0, 50};
    runqueue_add(rq, set(10, SCHED_NORMAL, PRIORITY_NORMAL));
    for (int i = 0; i < 5; i++)
        runqueue_add(rq, set(i, SCHED_FIFO, priorities[i]));
    assert_int_equal(sched_realtime_waiting, 2);
    assert_int_equal(runqueue_take_first(rq)->tid, 3);
    assert_int_equal(runqueue_take_first(rq)->tid, 0);
    rq->ready_count++; // thread 0 is preempted: it keeps its turn
    rq->weight += threads[0].weight;
    runqueue_add_realtime(rq, &threads[0], true);
    static const int expected[] = {0, 2, 4, 1, 10};
    for (int i = 0; i < 5; i++)
        assert_int_equal(runqueue_take_first(rq)->tid, expected[i]);
    assert_int_equal(sched_realtime_waiting, 0);
    assert_int_equal(rq->weight, 0);
}

// Ticks of 4 ms, as the scheduler does: the current thread goes back into the queue when another one is first.
static void run(uint64_t *now, int ticks)
{
    while (ticks--) {
        *now += 4 * MSEC;
        runqueue_charge(rq->current, *now);
        runqueue_advance(rq);
        if (runqueue_other_first(rq, false)) {
            runqueue_add(rq, rq->current);
            rq->current = runqueue_take_first(rq);
            rq->current->accounted = *now;
        }
    }
}

static void shares_follow_the_weights(void **state)
{
    uint64_t now = 0, all = 0;
    for (int i = 0; i < 5; i++) {
        runqueue_add(rq, set(i, i == 4 ? SCHED_IDLE : SCHED_NORMAL, PRIORITY_NICE_0 - 5 + 5 * i));
        all += threads[i].weight;
    }
    rq->current = runqueue_take_first(rq);
    run(&now, 100000);
    for (int i = 0; i < 5; i++) {
        double share = (double)threads[i].cycles / (double)now, fair = (double)threads[i].weight / (double)all;
        assert_true(share > fair * 0.95 - 0.001 && share < fair * 1.05 + 0.001);
    }
}

static void sleepers_make_up_for_nothing(void **state)
{
    uint64_t now = 0;
    rq->current = set(0, SCHED_NORMAL, PRIORITY_NICE_0);
    struct thread *sleeper = set(1, SCHED_NORMAL, PRIORITY_NICE_0), *nice = set(2, SCHED_NORMAL, PRIORITY_NONE - 1);
    run(&now, 1000);
    assert_int_equal(rq->min_vruntime, rq->current->vruntime);
    runqueue_place(rq, sleeper);
    runqueue_place(rq, nice);
    assert_int_equal(rq->current->vruntime - sleeper->vruntime, sched_credit);
    assert_true(runqueue_preempts(sleeper, rq->current));
    assert_false(runqueue_preempts(nice, rq->current)); // its own time counts more
    assert_true(runqueue_preempts(set(3, SCHED_FIFO, 98), rq->current));
    int64_t before = sleeper->vruntime;
    runqueue_place(rq, sleeper); // one that has slept for a moment only stays where it was
    assert_int_equal(sleeper->vruntime, before);
    assert_false(runqueue_preempts(sleeper, &threads[3]));
}

static void threads_for_other_cpus(void **state)
{
    set(0, SCHED_NORMAL, PRIORITY_NORMAL)->vruntime = 1; // too heavy
    set(1, SCHED_NORMAL, PRIORITY_NICE_0)->vruntime = 2; // not allowed there
    set(2, SCHED_NORMAL, PRIORITY_NICE_0)->vruntime = 3;
    threads[1].affinity = 2;
    rq->min_vruntime = 1;
    for (int i = 0; i < 3; i++)
        runqueue_add(rq, &threads[i]);
    struct thread *t = runqueue_take_for(rq, 5, WEIGHT_NICE_0);
    assert_ptr_equal(t, &threads[2]);
    assert_int_equal(t->cpu, 5);
    assert_int_equal(t->vruntime, 2); // its distance from the others
    assert_null(runqueue_take_for(rq, 5, WEIGHT_NICE_0));
    assert_ptr_equal(runqueue_take_for(rq, 5, UINT64_MAX), &threads[0]);
    assert_int_equal(rq->ready_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(weights, fresh),
        cmocka_unit_test_setup(order_of_virtual_time, fresh),
        cmocka_unit_test_setup(realtime_first, fresh),
        cmocka_unit_test_setup(shares_follow_the_weights, fresh),
        cmocka_unit_test_setup(sleepers_make_up_for_nothing, fresh),
        cmocka_unit_test_setup(threads_for_other_cpus, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
