// Deferred work runs once for each time it was raised after its last start, oldest first, and never keeps its CPU for itself.
// link: kernel/threads/deferred.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/irq.h"
#include "kernel/threads/deferred.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"

static struct cpu two[2], *here = two;
static struct thread current[2];
static bool interrupts = true;
static unsigned kicked;
static void (*pending_interrupt)(void); // comes as soon as interrupts are on

struct cpu *cpu_this(void) {
    return here;
}
struct thread *thread_current(void) {
    return here->current;
}
void cpu_kick(unsigned cpu) {
    assert_int_equal(cpu, here->id);
    kicked++;
}
uint64_t irq_save(void) {
    uint64_t before = interrupts ? RFLAGS_IF : 0;
    interrupts = false;
    return before;
}
void irq_restore(uint64_t flags) {
    if (!(flags & RFLAGS_IF))
        return;
    interrupts = true;
    if (pending_interrupt) {
        void (*fn)(void) = pending_interrupt;
        pending_interrupt = NULL;
        interrupts = false;
        fn();
        interrupts = true;
    }
}

static struct deferred work[3];
static unsigned order[64], runs;
static void note(struct deferred *d) {
    assert_true(interrupts);
    assert_int_equal(d->queued, 0);
    order[runs++] = (unsigned)(d - work);
}
static void note_and_run(struct deferred *d) {
    deferred_raise(&work[1]);
    note(d);
    assert_true(deferred_run()); // nothing happens
    assert_int_equal(order[runs - 1], d - work);
}
static unsigned again;
static void note_and_raise(struct deferred *d) {
    note(d);
    if (again && again--)
        deferred_raise(d);
}
static void raise_0(void) { deferred_raise(&work[0]); }
static void note_and_interrupt(struct deferred *d) {
    note(d);
    pending_interrupt = raise_0;
    irq_restore(irq_save());
}

static int fresh(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        current[i] = (struct thread){0};
        two[i] = (struct cpu){.id = i, .current = &current[i]};
    }
    for (unsigned i = 0; i < 3; i++)
        work[i] = (struct deferred){.fn = note};
    here = two;
    runs = kicked = again = 0;
    return 0;
}

static void once_and_in_order(void **state) {
    assert_false(deferred_pending());
    for (unsigned i = 0; i < 3; i++)
        deferred_raise(&work[i]);
    deferred_raise(&work[0]);
    assert_true(deferred_pending());
    assert_int_equal(current[0].work, WORK_DEFERRED);
    assert_true(deferred_run());
    assert_int_equal(runs, 3);
    assert_int_equal(order[0] * 100 + order[1] * 10 + order[2], 12);
    assert_int_equal(current[0].work, 0);
    assert_false(deferred_pending());
    assert_true(deferred_run());
    assert_int_equal(runs, 3);
}

static void raised_while_it_runs(void **state) {
    work[0].fn = note_and_run;
    deferred_raise(&work[0]);
    assert_true(deferred_run());
    assert_int_equal(runs, 2);
    assert_int_equal(order[1], 1);
    work[1].fn = note_and_interrupt;
    work[0].fn = note;
    deferred_raise(&work[1]);
    assert_true(deferred_run());
    assert_int_equal(runs, 4);
    assert_int_equal(order[3], 0);
    assert_int_equal(current[0].work, 0);
}

static void endless_work_gives_way(void **state) {
    work[0].fn = note_and_raise;
    again = 20;
    deferred_raise(&work[0]);
    assert_false(deferred_run());
    assert_true(runs > 1 && runs < 20);
    assert_true(deferred_pending());
    assert_int_equal(current[0].work, WORK_DEFERRED); // the next way out goes on
    irq_save();
    deferred_run_before_switch();
    assert_false(interrupts);
    assert_int_equal(kicked, 1); // and the next thread
    here->current = &current[1];
    deferred_mark();
    assert_int_equal(current[1].work, WORK_DEFERRED);
    deferred_run_before_switch();
    assert_false(interrupts);
    irq_restore(RFLAGS_IF);
    assert_int_equal(runs, 21);
    assert_int_equal(kicked, 1);
    assert_int_equal(current[1].work, 0);
}

static void each_cpu_its_own(void **state) {
    deferred_raise(&work[0]);
    here = &two[1];
    assert_false(deferred_pending());
    deferred_raise(&work[0]); // runs over there
    assert_false(deferred_pending());
    deferred_raise(&work[1]);
    assert_true(deferred_run());
    assert_int_equal(runs, 1);
    assert_int_equal(order[0], 1);
    here = two;
    assert_true(deferred_run());
    assert_int_equal(runs, 2);
    assert_int_equal(order[1], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(once_and_in_order, fresh),
        cmocka_unit_test_setup(raised_while_it_runs, fresh),
        cmocka_unit_test_setup(endless_work_gives_way, fresh),
        cmocka_unit_test_setup(each_cpu_its_own, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
