// Wait queues. Non-exclusive waiters stand in front, exclusive ones behind. The default wake-up takes the waiter off its queue,
// so that the next wake-up goes to the next one; the waiter's own memory is not touched after that (it is a stack frame that
// may be gone): the removal's last store, to link.next, is what waitq_finish looks at without the lock.
#include "kernel/threads/wait.h"
#include "kernel/threads/thread.h"

struct waitq clock_set_wait = WAITQ_INIT(clock_set_wait);

void waitq_init(struct waitq *wq)
{
    spin_init(&wq->lock);
    list_init(&wq->waiters);
}

static void unlink_carefully(struct waiter *w)
{
    struct list *node = &w->link;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node;
    store_release(&node->next, node);
}

static bool wake_default(struct waiter *w, uint32_t key)
{
    thread_wake(w->thread);
    unlink_carefully(w);
    return true;
}

void waiter_init(struct waiter *w)
{
    list_init(&w->link);
    w->wq = NULL;
    w->wake = wake_default;
    w->thread = thread_current();
    w->data = NULL;
    w->exclusive = false;
}

static inline __attribute__((always_inline)) unsigned wake_locked(struct waitq *wq, unsigned exclusive, uint32_t key)
{
    unsigned woken = 0;
    struct waiter *w, *tmp;
    list_for_each_safe(w, tmp, &wq->waiters, link) {
        bool limited = w->exclusive; // w may be gone after the call
        if (limited && !exclusive)
            break;
        if (!w->wake(w, key))
            continue;
        woken++;
        exclusive -= limited;
    }
    return woken;
}

unsigned waitq_wake_locked(struct waitq *wq, unsigned exclusive, uint32_t key)
{
    return wake_locked(wq, exclusive, key);
}

unsigned waitq_wake_key(struct waitq *wq, unsigned exclusive, uint32_t key)
{
    uint64_t flags = spin_lock_irqsave(&wq->lock);
    unsigned woken = wake_locked(wq, exclusive, key);
    spin_unlock_irqrestore(&wq->lock, flags);
    return woken;
}

// Unless it is there already. To know that takes the lock: a waker may be about to take it off.
void waitq_add(struct waitq *wq, struct waiter *w)
{
    if (!w->wake)
        w->wake = wake_default;
    w->wq = wq;
    uint64_t flags = spin_lock_irqsave(&wq->lock);
    if (list_empty(&w->link)) {
        if (w->exclusive)
            list_push_back(&wq->waiters, &w->link);
        else
            list_push_front(&wq->waiters, &w->link);
    }
    spin_unlock_irqrestore(&wq->lock, flags);
}

void waitq_remove(struct waiter *w)
{
    if (load_acquire(&w->link.next) == &w->link)
        return;
    uint64_t flags = spin_lock_irqsave(&w->wq->lock);
    unlink_carefully(w); // harmless when a waker was first
    spin_unlock_irqrestore(&w->wq->lock, flags);
}

void waitq_prepare(struct waitq *wq, struct waiter *w, bool interruptible)
{
    struct thread *t = thread_current();
    t->sleeping_on = wq;
    // In this order: a waker that finds the waiter takes it off the queue, and must then find a thread that sleeps, or it would
    // go to sleep in no queue. The fence orders both before the caller's look at its condition (waitq_active).
    WRITE_ONCE(t->state, interruptible ? THREAD_SLEEPING_INTERRUPTIBLE : THREAD_SLEEPING);
    waitq_add(wq, w);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void waitq_finish(struct waiter *w)
{
    thread_cancel_sleep();
    thread_current()->sleeping_on = NULL;
    waitq_remove(w);
}
