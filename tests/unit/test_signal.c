// Signals: queues and their limits, order, who is chosen to take one, what is ignored or forgotten.
// link: kernel/process/signal.c kernel/process/signal_send.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "kernel/process/signal_mask.h"
#include "kernel/memory/slab.h"

void *calloc(size_t n, size_t size);
void free(void *p);
void abort(void) __attribute__((noreturn));

static struct thread *current;
static int no_memory;
struct process kernel_process;

struct thread *thread_current(void) { return current; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { abort(); }
void *slab_alloc(struct slab_cache *c) { return no_memory ? NULL : calloc(1, c->size); }
void *slab_zalloc(struct slab_cache *c) { return calloc(1, c->size); }
void slab_free(struct slab_cache *c, void *object) { free(object); }
unsigned waitq_wake_key(struct waitq *wq, unsigned exclusive, uint32_t key) { return 0; }
void posix_timer_delivered(struct process *p, siginfo_t *info) { info->si_overrun = 7; }
static int woken;
void thread_wake(struct thread *t) { woken++; }
void thread_add_work(struct thread *t, uint32_t work) { t->work |= work; }
void process_begin_exit(struct process *p, uint32_t status)
{
    p->exiting = true;
    p->exit_status = status;
}

static struct process p;
static struct thread t[3];

static int setup(void **state)
{
    memset(&p, 0, sizeof p);
    memset(t, 0, sizeof t);
    p.handlers = signal_handlers_create();
    signal_queue_init(&p.pending);
    list_init(&p.threads);
    list_init(&p.signal_wait.waiters);
    p.limits[RLIMIT_SIGPENDING].rlim_cur = 5;
    for (int i = 0; i < 3; i++) {
        t[i].process = &p;
        signal_queue_init(&t[i].pending);
        list_push_back(&p.threads, &t[i].process_link);
    }
    p.leader = current = &t[0];
    p.thread_count = 3;
    no_memory = woken = 0;
    return 0;
}
static int teardown(void **state)
{
    signal_queue_flush(&p.pending);
    for (int i = 0; i < 3; i++)
        signal_queue_flush(&t[i].pending);
    signal_forget_spare(&p);
    signal_handlers_unref(p.handlers);
    return 0;
}

static void handle(int sig)
{
    struct signal_action a = {.handler = 0x1000};
    assert_int_equal(signal_set_action(sig, &a, NULL), 0);
}

static void order(void **state)
{
    siginfo_t info;
    p.limits[RLIMIT_SIGPENDING].rlim_cur = 10;
    for (int sig = 1; sig <= 64; sig++)
        if (!(SIGMASK(sig) & SIGMASK_UNBLOCKABLE))
            handle(sig);
    signal_send_process(&p, SIGTERM, NULL);
    signal_send_process(&p, SIGHUP, NULL);
    signal_send_process(&p, SIGSEGV, NULL);
    signal_send_process(&p, SIGHUP, NULL); // standard signals are not counted
    signal_send_thread(&t[0], SIGRTMIN + 1, &(siginfo_t){.si_code = SI_QUEUE, .si_int = 1});
    signal_send_thread(&t[0], SIGRTMIN + 1, &(siginfo_t){.si_code = SI_QUEUE, .si_int = 2});
    signal_send_thread(&t[0], SIGRTMIN, &(siginfo_t){.si_code = SI_QUEUE, .si_int = 3});
    uint64_t all = ~0UL;
    static const int expected[] = {SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 1, SIGSEGV, SIGHUP, SIGTERM, 0};
    static const int values[] = {3, 1, 2};
    for (int i = 0; i < 7; i++) { // the thread's own first, then the process's
        assert_int_equal(signal_take(all, &info), expected[i]);
        if (i < 3)
            assert_int_equal(info.si_int, values[i]);
        else if (expected[i])
            assert_int_equal(info.si_code, SI_KERNEL);
    }
    assert_int_equal(p.queued_signals, 0);
}

static void limits(void **state)
{
    siginfo_t info = {.si_code = SI_QUEUE};
    handle(SIGRTMIN);
    for (int i = 0; i < 5; i++)
        assert_int_equal(signal_send_process(&p, SIGRTMIN, &info), 0);
    assert_int_equal(signal_send_process(&p, SIGRTMIN, &info), -EAGAIN);
    handle(SIGUSR1);
    assert_int_equal(signal_send_process(&p, SIGUSR1, NULL), 0); // standard ones always get through
    for (int i = 0; i < 5; i++)
        assert_int_equal(signal_take(SIGMASK(SIGRTMIN), &info), SIGRTMIN);
    assert_int_equal(signal_take(SIGMASK(SIGRTMIN), &info), 0);
    signal_forget_spare(&p);
    no_memory = 1;
    handle(SIGUSR2);
    assert_int_equal(signal_send_process(&p, SIGUSR2, NULL), 0); // also without memory, but saying less
    assert_int_equal(signal_take(SIGMASK(SIGUSR2), &info), SIGUSR2);
    assert_int_equal(info.si_code, SI_USER);
    assert_int_equal(signal_send_process(&p, 0, NULL), -EINVAL);
    assert_int_equal(signal_send_process(&p, 65, NULL), -EINVAL);
    assert_int_equal(signal_send_process(&kernel_process, SIGTERM, NULL), -EPERM);
}

static void choice_of_thread(void **state)
{
    handle(SIGUSR1);
    handle(SIGUSR2);
    signal_send_process(&p, SIGUSR1, NULL);
    assert_true(t[0].work & WORK_SIGNAL);
    assert_false((t[1].work | t[2].work) & WORK_SIGNAL);
    t[0].signal_mask = t[1].signal_mask = SIGMASK(SIGUSR2);
    signal_send_process(&p, SIGUSR2, NULL); // only the third wants it
    assert_true(t[2].work & WORK_SIGNAL);
    assert_false(t[1].work & WORK_SIGNAL);
    t[2].work = 0;
    // It blocks it too: it goes back to waiting for anyone; then the second takes it.
    current = &t[2];
    signal_set_mask(SIGMASK(SIGUSR2) | SIGMASK(SIGKILL));
    assert_int_equal(t[2].signal_mask, SIGMASK(SIGUSR2));
    assert_int_equal(signal_pending_set(), SIGMASK(SIGUSR2));
    assert_false(thread_signal_pending() && (p.pending.set & ~t[2].signal_mask & SIGMASK(SIGUSR2)));
    current = &t[1];
    signal_set_mask(0);
    assert_true(t[1].work & WORK_SIGNAL);
    assert_true(thread_signal_pending());
    siginfo_t info;
    assert_int_equal(signal_take(SIGMASK(SIGUSR2), &info), SIGUSR2);
    assert_int_equal(signal_take(SIGMASK(SIGUSR1), &info), SIGUSR1);
    assert_false(thread_signal_pending()); // and the bit is gone
    assert_false(t[1].work & WORK_SIGNAL);
}

static void ignored(void **state)
{
    siginfo_t info;
    signal_send_process(&p, SIGCHLD, NULL); // by default
    signal_send_process(&p, SIGWINCH, NULL);
    assert_int_equal(p.pending.set, 0);
    t[0].signal_mask = SIGMASK(SIGCHLD); // blocked: kept, a handler may come
    signal_send_process(&p, SIGCHLD, NULL);
    assert_int_equal(p.pending.set, SIGMASK(SIGCHLD));
    struct signal_action ign = {.handler = (uaddr_t)SIG_IGN};
    signal_set_action(SIGCHLD, &ign, NULL); // and forgotten by this
    assert_int_equal(p.pending.set, 0);
    assert_int_equal(signal_take(~0UL, &info), 0);
    assert_int_equal(signal_set_action(SIGKILL, &ign, NULL), -EINVAL);
    assert_int_equal(signal_set_action(SIGSTOP, &ign, NULL), -EINVAL);
    assert_int_equal(signal_set_action(65, NULL, NULL), -EINVAL);
    assert_int_equal(signal_set_action(SIGKILL, NULL, &ign), 0);
}

static void stop_and_continue(void **state)
{
    signal_send_process(&p, SIGTSTP, NULL);
    assert_int_equal(p.pending.set, SIGMASK(SIGTSTP));
    signal_send_process(&p, SIGCONT, NULL); // takes the stop back
    assert_int_equal(p.pending.set, 0);
    p.stopped = p.stop_unreported = true;
    t[1].work = WORK_STOP;
    signal_send_process(&p, SIGCONT, NULL);
    assert_false(p.stopped || p.stop_unreported || (t[1].work & WORK_STOP));
    assert_true(p.continue_untold && p.continue_unreported); // which one of the threads tells
    assert_true(p.continue_unreported);
    assert_int_equal(woken, 3);
    signal_send_process(&p, SIGKILL, NULL);
    assert_true(p.exiting);
    assert_int_equal(p.exit_status, SIGKILL);
    handle(SIGUSR1);
    assert_int_equal(signal_send_process(&p, SIGUSR1, NULL), 0); // too late
    assert_int_equal(p.pending.set, 0);
}

static void faults_cannot_be_put_off(void **state)
{
    siginfo_t info;
    handle(SIGSEGV);
    t[0].signal_mask = SIGMASK(SIGSEGV);
    signal_fault(SIGSEGV, SEGV_MAPERR, 0x1234, 14, 6);
    assert_int_equal(p.handlers->action[SIGSEGV - 1].handler, SIG_DFL);
    assert_int_equal(t[0].signal_mask, 0);
    assert_true(t[0].work & WORK_SIGNAL);
    assert_int_equal(signal_take(~0UL, &info), SIGSEGV);
    assert_ptr_equal(info.si_addr, (void *)0x1234);
    handle(SIGFPE);
    signal_fault(SIGFPE, FPE_INTDIV, 0x10, 0, 0);
    assert_int_equal(p.handlers->action[SIGFPE - 1].handler, 0x1000);
}

static void exec_resets(void **state)
{
    struct signal_action ign = {.handler = (uaddr_t)SIG_IGN, .flags = SA_RESTART};
    handle(SIGUSR1);
    signal_set_action(SIGHUP, &ign, NULL);
    struct signal_handlers *shared = p.handlers;
    shared->refs++;
    signal_reset_handlers(&p);
    assert_ptr_not_equal(p.handlers, shared);
    assert_int_equal(shared->action[SIGUSR1 - 1].handler, 0x1000);
    assert_int_equal(p.handlers->action[SIGUSR1 - 1].handler, SIG_DFL);
    assert_int_equal(p.handlers->action[SIGHUP - 1].handler, SIG_IGN);
    signal_handlers_unref(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(order, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(choice_of_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_and_continue, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_cannot_be_put_off, setup, teardown),
        cmocka_unit_test_setup_teardown(exec_resets, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
