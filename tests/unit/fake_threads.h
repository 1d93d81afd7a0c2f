// Threads of the host under the kernel's interface for sleeping and waking, so that what is built on it (futexes, wait
// queues, mutexes) runs here with real concurrency. Include once, in the test.
#ifndef TESTS_UNIT_FAKE_THREADS_H
#define TESTS_UNIT_FAKE_THREADS_H

#include <stddef.h>

void *calloc(size_t n, size_t size); // <stdlib.h> clashes with the kernel's view of signals and time
void free(void *p);
void abort(void) __attribute__((noreturn));

#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "tests/unit/fake_host.h"

struct host_thread {
    struct thread thread;
    struct host_park *park;
};
static struct process host_process;
static __thread struct host_thread *host_self;

static void host_thread_enter(void)
{
    host_self = calloc(1, sizeof *host_self);
    host_self->thread.process = &host_process;
    host_self->thread.tid = 1;
    host_self->thread.refs = 1;
    host_self->park = host_park_new();
}
void thread_ref(struct thread *t) { atomic_add(&t->refs, 1); }
void thread_unref(struct thread *t)
{
    struct host_thread *h = container_of(t, struct host_thread, thread);
    if (atomic_sub(&t->refs, 1) != 1)
        return;
    host_park_free(h->park); // as the kernel's thread takes its run queue's lock, which a waker may have
    free(h);
}
static void host_thread_leave(void)
{
    thread_unref(&host_self->thread);
    host_self = NULL;
}

struct thread *thread_current(void) { return &host_self->thread; }
void thread_prepare_sleep(bool interruptible)
{
    atomic_xchg(&host_self->thread.state, interruptible ? THREAD_SLEEPING_INTERRUPTIBLE : THREAD_SLEEPING);
}
void thread_cancel_sleep(void) { WRITE_ONCE(host_self->thread.state, THREAD_RUNNING); }
nsec_t time_monotonic(void) { return host_now(); }
int thread_sleep_until(nsec_t deadline)
{
    struct host_thread *h = host_self;
    bool in_time = true;
    host_park_lock(h->park);
    while (READ_ONCE(h->thread.state) != THREAD_RUNNING && in_time)
        in_time = host_park_wait(h->park, deadline);
    WRITE_ONCE(h->thread.state, THREAD_RUNNING);
    host_park_unlock(h->park);
    return in_time ? 0 : -ETIMEDOUT;
}
void thread_wake_clear(struct thread *t, void **flag)
{
    struct host_thread *h = container_of(t, struct host_thread, thread);
    host_park_lock(h->park);
    if (flag)
        store_release(flag, NULL);
    WRITE_ONCE(h->thread.state, THREAD_RUNNING);
    host_park_signal(h->park);
    host_park_unlock(h->park);
}
void thread_wake(struct thread *t) { thread_wake_clear(t, NULL); }
bool thread_on_cpu(const struct thread *t) { return true; }
bool thread_signal_pending_slow(void) { return false; }
void sched_yield_now(void) { host_yield(); }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}

#endif
