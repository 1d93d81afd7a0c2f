// Timers: the pairing heap against a sorted model, and arming, taking back and expiry on one CPU.
// link: kernel/timer.c
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "kernel/clock_event.h"
#include "kernel/heap.h"
#include "kernel/threads/lock.h"
#include "kernel/time.h"
#include "kernel/x86/context.h"

static struct cpu this_cpu;
static nsec_t now, event_at;
static unsigned events_set;

struct cpu *cpu_this(void) { return &this_cpu; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { abort(); }
uint64_t clock_cycles(void) { return (uint64_t)now; }
nsec_t time_monotonic(void) { return now; }
void clock_event_set(nsec_t delta)
{
    event_at = now + (delta > 0 ? delta : 0);
    events_set++;
}

#define N 300

static void heap_follows_a_model(void **state)
{
    static struct heap_node nodes[N];
    bool in[N] = {false};
    struct heap_node *root = NULL;
    srand(1);
    for (int step = 0; step < 200000; step++) {
        int i = rand() % N;
        if (!in[i]) {
            nodes[i].key = rand() % 1000 - 500;
            root = heap_insert(root, &nodes[i]);
            in[i] = true;
        } else if (rand() % 2) {
            root = heap_remove(root, &nodes[i]);
            in[i] = false;
        } else {
            int64_t least = INT64_MAX;
            int members = 0, seen = 0;
            for (int k = 0; k < N; k++) {
                members += in[k];
                if (in[k] && nodes[k].key < least)
                    least = nodes[k].key;
            }
            assert_int_equal(root->key, least);
            for (struct heap_node *n = step % 16 ? NULL : root; n; n = heap_next(n), seen++)
                assert_true(in[n - nodes]);
            assert_int_equal(seen, step % 16 ? 0 : members);
            in[root - nodes] = false;
            root = heap_remove(root, root);
        }
    }
    for (int64_t last = INT64_MIN; root; root = heap_remove(root, root)) {
        assert_true(root->key >= last);
        last = root->key;
    }
}

static int fired[4];
static struct timer t[4];
static void on_fire(struct timer *timer) { fired[timer - t]++; }
static void on_fire_again(struct timer *timer)
{
    fired[timer - t]++;
    timer_add(timer, timer->deadline + 100);
}

static void run_until(nsec_t end)
{
    while (event_at && event_at <= end) {
        now = event_at;
        event_at = 0;
        timer_interrupt();
    }
    now = end;
}

static void expire_in_order_and_once(void **state)
{
    for (int i = 0; i < 4; i++)
        timer_init(&t[i], i == 3 ? on_fire_again : on_fire);
    now = 1000;
    timer_add(&t[0], 1300);
    timer_add(&t[1], 1200);
    timer_add(&t[2], 1250);
    assert_true(timer_cancel(&t[2]));
    assert_false(timer_cancel(&t[2]));
    run_until(1199);
    assert_int_equal(fired[1], 0);
    run_until(1200);
    assert_int_equal(fired[1], 1);
    assert_int_equal(fired[0], 0);
    timer_add(&t[0], 1500); // moved
    run_until(1400);
    assert_int_equal(fired[0], 0);
    run_until(2000);
    assert_int_equal(fired[0], 1);
    assert_int_equal(fired[2], 0);
    assert_false(timer_cancel_sync(&t[0]));
    timer_add(&t[3], 2100);
    run_until(2499);
    assert_int_equal(fired[3], 4);
    assert_true(timer_cancel_sync(&t[3]));
    run_until(4000);
    assert_int_equal(fired[3], 4);
    assert_int_equal(event_at, 0); // nothing is armed, so nothing interrupts
}

static void later_timers_touch_no_hardware(void **state)
{
    now = 5000;
    timer_add(&t[0], 6000);
    unsigned before = events_set;
    timer_add(&t[1], 7000);
    timer_cancel(&t[1]);
    timer_cancel(&t[0]);
    timer_add(&t[0], 6500); // the interrupt at 6000 comes all the same, and is set anew
    assert_int_equal(events_set, before);
    fired[0] = 0;
    run_until(6499);
    assert_int_equal(fired[0], 0);
    run_until(6500);
    assert_int_equal(fired[0], 1);
}

// A function that adds its timer again and goes on: who takes the timer back on another CPU waits for the function's end.
static struct timer again;
static volatile int in_function, function_over, over_at_return;

static void adds_again(struct timer *t)
{
    timer_add(t, now + 1000);
    in_function = 1;
    usleep(20000);
    function_over = 1;
}

static void *take_back(void *arg)
{
    while (!in_function)
        usleep(100);
    assert_true(timer_cancel_sync(&again));
    over_at_return = function_over;
    return arg;
}

static void cancel_waits_for_a_function_that_adds_again(void **state)
{
    pthread_t other;
    now = 10000000;
    timer_init(&again, adds_again);
    timer_add(&again, now);
    assert_int_equal(pthread_create(&other, NULL, take_back, NULL), 0);
    timer_interrupt();
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_true(over_at_return);
    assert_false(timer_cancel(&again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heap_follows_a_model),
        cmocka_unit_test(expire_in_order_and_once),
        cmocka_unit_test(later_timers_touch_no_hardware),
        cmocka_unit_test(cancel_waits_for_a_function_that_adds_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
