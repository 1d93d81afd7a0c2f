// Waiting. A wait queue holds the threads that wait for one condition; poll, futex, mutexes and all blocking I/O use them.
// Pattern of the waiter:            waitq_prepare(&wq, &w); if (condition) ...; thread_sleep(); waitq_finish(&w)
// which wait_event() wraps. The waker changes the condition first and then calls waitq_wake.
// Locks: waitq.lock (interrupt-safe) > the run queue's. Waking is allowed in interrupt context.
#ifndef KERNEL_WAIT_H
#define KERNEL_WAIT_H

#include "kernel/list.h"
#include "kernel/threads/lock.h"
#include "kernel/types.h"

struct thread;
struct waiter;

struct waitq {
    struct spinlock lock;
    struct list waiters;
};
#define WAITQ_INIT(name) {SPINLOCK_INIT, LIST_INIT((name).waiters)}

// What waitq_wake does with an entry; called with waitq.lock held, interrupts off. `key` is the poll mask or 0 for "all".
// Returns true when this wake-up counts against the limit.
typedef bool (*wake_fn)(struct waiter *w, uint32_t key);

struct waiter {
    struct list link;
    struct waitq *wq;
    wake_fn wake;
    struct thread *thread;
    void *data;      // the owner's
    bool exclusive;  // counts against waitq_wake's limit; queued behind the others
};

extern struct waitq clock_set_wait; // woken when CLOCK_REALTIME is set: sleepers until a time of day sleep anew

void waitq_init(struct waitq *wq);
// Wakes all non-exclusive waiters and up to `exclusive` exclusive ones. Returns how many were woken.
unsigned waitq_wake_key(struct waitq *wq, unsigned exclusive, uint32_t key);
unsigned waitq_wake_locked(struct waitq *wq, unsigned exclusive, uint32_t key); // the same with wq.lock held, interrupts off
static inline unsigned waitq_wake_all(struct waitq *wq) { return waitq_wake_key(wq, ~0u, 0); }
static inline unsigned waitq_wake_one(struct waitq *wq) { return waitq_wake_key(wq, 1, 0); }
// Does anybody wait? For wakers that want to spare themselves the lock: their change of the condition is ordered before this look,
// as a waiter's entry in the queue is before its look at the condition.
static inline bool waitq_active(const struct waitq *wq) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return READ_ONCE(wq->waiters.next) != &wq->waiters;
}

// Queue the current thread (w->wake NULL: the default, wake w->thread) and mark it as about to sleep.
void waiter_init(struct waiter *w);
void waitq_add(struct waitq *wq, struct waiter *w); // poll: many queues, one thread; does not touch the thread's state
void waitq_remove(struct waiter *w);
void waitq_prepare(struct waitq *wq, struct waiter *w, bool interruptible);
void waitq_finish(struct waiter *w); // dequeues if needed and marks the thread as running

// Waits until `cond` is true. 0, or -ERESTARTSYS when a signal is pending (interruptible only), or -ETIMEDOUT at `deadline`
// (absolute, monotonic ns; NSEC_MAX: none).
#define wait_event_until(wqp, cond, deadline, interruptible)                                                            \
    ({                                                                                                                  \
        int wait_result_ = 0;                                                                                           \
        if (!(cond)) {                                                                                                  \
            struct waiter wait_entry_;                                                                                  \
            waiter_init(&wait_entry_);                                                                                  \
            for (;;) {                                                                                                  \
                waitq_prepare((wqp), &wait_entry_, (interruptible));                                                    \
                if (cond)                                                                                               \
                    break;                                                                                              \
                wait_result_ = thread_sleep_until(deadline);                                                            \
                if (cond) {                                                                                             \
                    wait_result_ = 0;                                                                                   \
                    break;                                                                                              \
                }                                                                                                       \
                if (wait_result_ < 0)                                                                                   \
                    break;                                                                                              \
            }                                                                                                           \
            waitq_finish(&wait_entry_);                                                                                 \
        }                                                                                                               \
        wait_result_;                                                                                                   \
    })
#define wait_event(wqp, cond) ((void)wait_event_until(wqp, cond, NSEC_MAX, false))
#define wait_event_interruptible(wqp, cond) wait_event_until(wqp, cond, NSEC_MAX, true)

// Sleeps until woken (thread_wake or a wait queue); the state was set by waitq_prepare (or thread_prepare_sleep).
// 0 when woken, -ERESTARTSYS when a signal is pending and the sleep is interruptible, -ETIMEDOUT. See kernel/threads/thread.h.
int thread_sleep_until(nsec_t deadline);

#endif
