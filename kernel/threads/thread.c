// Threads: their structures, stacks and numbers. A thread has one reference for itself, dropped by whoever runs next when it
// has ended; thread_find and friends give further ones.
#include "kernel/list.h"
#include "kernel/log.h"
#include "kernel/process/pid.h"
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"

static struct slab_cache thread_cache = SLAB_CACHE("thread", sizeof(struct thread), 64);

static struct thread *thread_alloc(struct process *p, const char *name)
{
    struct thread *t = slab_zalloc(&thread_cache);
    if (!t)
        return NULL;
    t->refs = 1;
    t->state = THREAD_SLEEPING;
    t->process = p;
    t->cpu = (int)cpu_this()->id;
    t->affinity = ~0UL;
    t->inherited = PRIORITY_NONE;
    sched_weigh(t);
    t->start_time = time_monotonic();
    list_init(&t->process_link);
    signal_queue_init(&t->pending);
    str_copy(t->name, name, sizeof t->name);
    return t;
}

struct thread *thread_create_idle(unsigned cpu)
{
    struct thread *t = thread_alloc(&kernel_process, "idle");
    if (!t)
        panic("no memory for the idle thread of CPU %u", cpu);
    t->kernel = t->idle = true;
    t->state = THREAD_RUNNING;
    t->cpu = (int)cpu;
    t->affinity = 1UL << cpu;
    t->priority = PRIORITY_NONE;
    t->weight = 0;
    t->weight_factor = 0;
    return t;
}

struct thread *thread_create_kernel(const char *name, void (*fn)(void *), void *arg)
{
    struct thread *t = thread_alloc(&kernel_process, name);
    if (!t)
        return NULL;
    t->kernel = true;
    if (arch_kernel_stack_alloc(t) < 0 || context_init_kernel(t, fn, arg) < 0) {
        thread_unref(t);
        return NULL;
    }
    return t;
}

uint32_t thread_initial_work;

struct thread *thread_create_user(struct process *p)
{
    struct thread *t = thread_alloc(p, "");
    if (!t)
        return NULL;
    process_ref(p);
    t->work = thread_initial_work;
    __atomic_fetch_add(&sched_threads_made, 1, __ATOMIC_RELAXED);
    t->tid = p->leader ? pid_alloc() : p->pid; // the first thread has the process's number
    if (t->tid < 0 || arch_kernel_stack_alloc(t) < 0 || context_init_user(t) < 0) {
        thread_unref(t);
        return NULL;
    }
    return t;
}

void thread_start(struct thread *t)
{
    thread_ref(t); // from when it is known, somebody else may wake it, and it may end
    sched_begin(t);
    if (!t->kernel)
        process_add_thread(t->process, t);
    thread_wake(t);
    thread_unref(t);
}

void thread_ref(struct thread *t)
{
    atomic_add(&t->refs, 1);
}

void thread_unref(struct thread *t)
{
    if (atomic_sub(&t->refs, 1) != 1)
        return;
    CHECKED(check_thread_gone(t);)
    // Only now is it sure that nobody runs on the stack.
    if (t->stack)
        arch_kernel_stack_free(t->stack);
    if (!t->kernel) {
        context_release(t);
        if (t->tid > 0 && t->tid != t->process->pid)
            pid_free(t->tid);
        process_unref(t->process);
    }
    slab_free(&thread_cache, t);
}

struct thread *thread_find(int tid)
{
    return pid_find_thread(tid);
}
