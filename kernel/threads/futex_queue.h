// What the files of futex*.c share with each other: how a word is known, and the hashed queues of those that wait for one.
#ifndef KERNEL_FUTEX_QUEUE_H
#define KERNEL_FUTEX_QUEUE_H

#include "kernel/list.h"
#include "kernel/threads/futex.h"
#include "kernel/threads/thread.h"

struct futex_key {
    const void *object; // address space or backing
    uint64_t offset;    // in it
};

struct bucket {
    struct spinlock lock;
    struct list waiters; // real-time threads first, by priority; the others as they came
} ALIGNED(32);

struct futex_waiter {
    struct list link;
    struct futex_key key;
    struct thread *thread;
    struct bucket *bucket; // NULL: woken
    uint32_t bitset;       // 0: part of a struct pi_waiter, which futex_wake must leave alone
};

static inline bool key_equal(const struct futex_key *a, const struct futex_key *b)
{
    return a->offset == b->offset && a->object == b->object;
}

// The key of a word. 0, -EINVAL (not aligned), -EFAULT (shared only: nothing is mapped there that can be read, or with
// FUTEX_KEY_WRITE, written).
int futex_get_key(uaddr_t addr, unsigned flags, struct futex_key *k);
#define FUTEX_KEY_WRITE 0x100 // among the flags of futex.h

// Queues a waiter whose key, thread and bitset are set.
void futex_queue(struct futex_waiter *w);
// Takes the waiter out of its bucket, whichever a requeue has put it into. False: it was woken, or taken out by another. Either
// way nobody else knows of it afterwards.
bool futex_unqueue(struct futex_waiter *w);
int futex_wake_key(const struct futex_key *k, int count, uint32_t bitset);
// The first waiter for a key may be looked at while its bucket is locked. NULL: there is none.
struct futex_waiter *futex_lock_first(const struct futex_key *k, struct bucket **b);
// Bucket locked: takes it out without waking it.
void futex_detach(struct futex_waiter *w);
// Sleeps as thread_sleep_until does; with FUTEX_REALTIME the deadline is one of CLOCK_REALTIME and moves when that is set.
int futex_sleep(nsec_t deadline, unsigned flags);

#endif
