// What the files of futex_pi*.c share: who owns a word with priority inheritance and who waits for it; and the end of a thread as
// futex_robust.c sees it.
#ifndef KERNEL_FUTEX_PI_H
#define KERNEL_FUTEX_PI_H

#include "kernel/threads/futex_queue.h"

struct pi_state {
    struct pi_state *next; // of its bucket
    struct futex_key key;
    struct list waiters;   // the first one is the next owner
    struct thread *owner;  // referenced
    struct pi_state *next_held; // of the owner
    unsigned users;        // waiters, and new owners that still have to write the word
};

struct pi_waiter {
    struct futex_waiter queue;
    struct list link;       // state.waiters
    struct pi_state *state; // NULL: still waits for the first word of FUTEX_WAIT_REQUEUE_PI
    struct futex_key target; // which word it wants to own
    void *waiting;          // not NULL until it is the owner
    int priority;           // its place in state.waiters
    bool died;              // the owner before it has ended: it is to write the word
};

struct pi_bucket {
    struct mutex lock;
    struct pi_state *states;
};

// The waiter that is the next owner; NULL: nobody waits.
static inline struct pi_waiter *pi_first_waiter(const struct pi_state *s)
{
    return list_empty(&s->waiters) ? NULL : list_first(&s->waiters, struct pi_waiter, link);
}

struct pi_bucket *pi_bucket_of(const struct futex_key *k);
// All that follows with the bucket's lock held.
struct pi_state *pi_state_find(const struct pi_bucket *b, const struct futex_key *k);
struct pi_state *pi_state_alloc(void); // NULL: no memory
void pi_state_free(struct pi_state *s); // one that was not added; NULL is allowed
// NULL: the owner is ending, and the state is still the caller's.
struct pi_state *pi_state_add(struct pi_bucket *b, struct pi_state *s, const struct futex_key *k, struct thread *owner);
void pi_state_drop_unused(struct pi_bucket *b, struct pi_state *s); // frees it when nobody waits
int pi_block(struct pi_state *s, struct pi_waiter *w);              // the waiter joins the others. 0 or -EDEADLK
void pi_unblock(struct pi_bucket *b, struct pi_waiter *w);          // it gives up
void pi_hand_over(struct pi_bucket *b, struct pi_state *s, bool died); // the first waiter is the owner from now on
bool pi_thread_dead(const struct thread *t);                        // it has given away all that it owned

// From here on nobody else becomes a waiter for what the thread holds; those who try wait for futex_pi_end_exit.
// True: there are waiters, so futex_pi_release is to be called.
bool futex_pi_begin_exit(struct thread *t);
void futex_pi_release(struct thread *t); // hands on what it held
void futex_pi_end_exit(struct thread *t, bool last); // not last: the thread goes on, with another program

#endif
