// Numbers of processes and threads: ascending, not soon used again, found with a reference.
// link: kernel/process/pid.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "kernel/process/pid.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"

void *calloc(size_t n, size_t size);
void abort(void) __attribute__((noreturn));
void free(void *p);

void *kzalloc(size_t size) { return calloc(1, size); }
void kfree(void *p) { free(p); }
void process_ref(struct process *p) { p->refs++; }
void thread_ref(struct thread *t) { t->refs++; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { abort(); }

static void ascending_and_found(void **state)
{
    static struct process p;
    static struct thread t;
    assert_int_equal(pid_alloc(), 1);
    assert_int_equal(pid_alloc(), 2);
    assert_int_equal(pid_alloc(), 3);
    pid_free(2);
    assert_int_equal(pid_alloc(), 4); // not 2 again
    assert_null(pid_find_process(3));
    assert_null(pid_find_process(0));
    assert_null(pid_find_process(-5));
    assert_null(pid_find_thread(PID_MAX));
    assert_null(pid_find_thread(20000));
    pid_set_process(3, &p);
    pid_set_thread(4, &t);
    assert_ptr_equal(pid_find_process(3), &p);
    assert_ptr_equal(pid_find_thread(4), &t);
    assert_null(pid_find_thread(3));
    assert_ptr_equal(pid_next_process(-1), &p);
    assert_ptr_equal(pid_next_process(3), &p);
    assert_null(pid_next_process(4));
    assert_int_equal(p.refs, 3);
    assert_int_equal(t.refs, 1);
    pid_free(3);
    assert_null(pid_find_process(3));
    pid_free(1);
    pid_free(4);
}

static void exhausted_and_around(void **state)
{
    int n = 0, pid;
    while ((pid = pid_alloc()) > 0)
        n++;
    assert_int_equal(pid, -EAGAIN);
    assert_int_equal(n, PID_MAX - 5); // the low numbers come only once
    pid_free(1000);
    pid_free(31000);
    assert_int_equal(pid_alloc(), 1000);
    assert_int_equal(pid_alloc(), 31000);
    assert_int_equal(pid_alloc(), -EAGAIN);
}

static void this_one(void **state)
{
    pid_free(1000);
    assert_int_equal(pid_take(0), -EINVAL);
    assert_int_equal(pid_take(PID_MAX), -EINVAL);
    assert_int_equal(pid_take(1001), -EEXIST);
    assert_int_equal(pid_take(1000), 1000);
    assert_int_equal(pid_take(1000), -EEXIST);
    assert_int_equal(pid_alloc(), -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascending_and_found),
        cmocka_unit_test(exhausted_and_around),
        cmocka_unit_test(this_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
