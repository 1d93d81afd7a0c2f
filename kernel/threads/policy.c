// Scheduling policies and priorities of threads: what sched_setscheduler(2), setpriority(2) and priority-inheriting futexes change.
// Locks: the lock of the thread's run queue.
#include "kernel/threads/sched.h"
#include "kernel/threads/thread.h"

static int own_priority(const struct thread *t)
{
    return t->rt_priority ? PRIORITY_NORMAL - 1 - t->rt_priority : PRIORITY_NICE_0 + t->nice;
}

static void priority_changed(struct thread *t)
{
    WRITE_ONCE(t->priority, (uint8_t)MIN(own_priority(t), t->inherited));
}

void thread_inherit_priority(struct thread *t, int key)
{
    WRITE_ONCE(t->inherited, (uint8_t)key);
    priority_changed(t);
}

void thread_inherit_policy(struct thread *child, const struct thread *parent)
{
    child->affinity = parent->affinity;
    child->nice = parent->nice;
    priority_changed(child);
}
