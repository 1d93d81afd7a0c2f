// Futexes with priority inheritance. The word holds the owner's thread number; the kernel is asked when somebody has to wait. Then
// a struct pi_state says who owns the word and who waits for it, in order of priority, and the owner runs with the best of the
// priorities of those that wait for it, as do those that it waits for in turn.
//
// An unlock gives the word to the first waiter, which finds itself the owner when it wakes. When an owner has ended, it cannot write
// the word (its memory may be gone), so the first waiter does that when it wakes (`died`), and until then the state stays.
//
// Everybody who waits is in the queue of futex.c as well, with an empty bitset: so that operations of the two kinds on one word are
// told that they are mixed up.
//
// Locks: pi_bucket.lock (mutex: the states of its words, held while the word is read and written) > pi_lock (who owns and who
// waits: chains cross all buckets, and only contended words ever come here) > buckets of futex.c, run queues.
#include "kernel/threads/futex_pi.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include <linux/futex.h>

// --- Taking ---

enum { TAKEN = 1, CHANGED = -5000, ENDING = -5001 }; // the last two are no errors: try again

// Does the state fit what the word says? Otherwise the application has written something of its own.
static int check_state(const struct pi_state *s, uint32_t word)
{
    uint32_t tid = word & FUTEX_TID_MASK;
    if ((word & FUTEX_OWNER_DIED) && !tid) // the next owner has not written it yet
        return 0;
    if (list_empty(&s->waiters)) // the same, and the old owner has left nothing
        return 0;
    return tid == (uint32_t)s->owner->tid ? 0 : -EINVAL;
}

static bool plain_waiters(const struct futex_key *k)
{
    struct bucket *b;
    bool found = futex_lock_first(k, &b);
    spin_unlock(&b->lock);
    return found;
}

// Makes the thread with this number the owner of a new state.
static int find_owner(struct pi_bucket *b, uaddr_t addr, uint32_t word, const struct futex_key *k, struct pi_state **out)
{
    struct thread *owner = thread_find((int)(word & FUTEX_TID_MASK));
    bool dead = true;
    int result = 0;
    if (owner && owner->kernel) {
        result = -EPERM;
    } else if (owner) {
        struct pi_state *fresh = pi_state_alloc();
        *out = fresh ? pi_state_add(b, fresh, k, owner) : NULL;
        dead = pi_thread_dead(owner);
        if (!*out)
            pi_state_free(fresh);
        if (!fresh)
            result = -ENOMEM;
    }
    if (owner)
        thread_unref(owner);
    if (result || *out)
        return result;
    if (!dead)
        return ENDING;
    uint32_t now;
    if (user_load32(addr, &now) < 0)
        return -EFAULT;
    return now == word ? -ESRCH : CHANGED;
}

// Tries to make `t` the owner of the word. TAKEN, or 0 and the state to wait for, CHANGED (try again), ENDING (the same, later), or
// -errno. With `contended` the new owner gets a state, for those who are to wait. The bucket's lock is held.
static int take(struct pi_bucket *b, uaddr_t addr, const struct futex_key *k, struct thread *t, bool contended,
                struct pi_state **out)
{
    uint32_t word, seen, mine = (uint32_t)t->tid;
    *out = NULL;
    if (user_load32(addr, &word) < 0)
        return -EFAULT;
    if ((word & FUTEX_TID_MASK) == mine)
        return -EDEADLK;
    struct pi_state *s = pi_state_find(b, k);
    if (s) {
        *out = s;
        return check_state(s, word);
    }
    if (plain_waiters(k))
        return -EINVAL;
    if (word & FUTEX_TID_MASK) {
        if (user_cmpxchg32(addr, word, word | FUTEX_WAITERS, &seen) < 0)
            return -EFAULT;
        return seen == word ? find_owner(b, addr, word | FUTEX_WAITERS, k, out) : CHANGED;
    }
    struct pi_state *fresh = contended ? pi_state_alloc() : NULL;
    if (contended && !fresh)
        return -ENOMEM;
    uint32_t new = (word & FUTEX_OWNER_DIED) | mine | (contended ? FUTEX_WAITERS : 0);
    int err = user_cmpxchg32(addr, word, new, &seen);
    if (!err && seen == word && contended && (*out = pi_state_add(b, fresh, k, t)))
        fresh = NULL;
    pi_state_free(fresh);
    return err ? -EFAULT : seen == word ? TAKEN : CHANGED;
}

// The new owner of a word whose owner has ended says so in the word.
static int adopt(struct pi_bucket *b, struct pi_waiter *w, uaddr_t addr)
{
    uint32_t word, seen, mine = (uint32_t)w->queue.thread->tid | FUTEX_WAITERS | FUTEX_OWNER_DIED;
    mutex_lock(&b->lock);
    int err = user_load32(addr, &word);
    while (!err && (err = user_cmpxchg32(addr, word, mine, &seen)) == 0 && seen != word)
        word = seen;
    struct pi_state *s = w->state;
    s->users--;
    if (err && pi_first_waiter(s))
        pi_hand_over(b, s, true);
    else
        pi_state_drop_unused(b, s);
    mutex_unlock(&b->lock);
    return err;
}

// Sleeps until the waiter owns the word; 0, or -errno and it waits no more.
static long wait_for_grant(struct pi_bucket *b, struct pi_waiter *w, uaddr_t addr, nsec_t deadline, unsigned flags)
{
    long err = 0;
    while (!err) {
        thread_prepare_sleep(true);
        if (!load_acquire(&w->waiting)) {
            thread_cancel_sleep();
            break;
        }
        err = futex_sleep(deadline, flags);
    }
    if (err && load_acquire(&w->waiting)) {
        if (err == -ERESTARTSYS)
            err = -ERESTARTNOINTR;
        mutex_lock(&b->lock); // whoever moves or wakes it has it
        bool waiting = w->waiting;
        if (waiting && w->state)
            pi_unblock(b, w);
        else if (waiting)
            futex_unqueue(&w->queue);
        mutex_unlock(&b->lock);
        if (waiting)
            return err;
    }
    return w->died ? adopt(b, w, addr) : 0;
}

static void waiter_start(struct pi_waiter *w, const struct futex_key *key)
{
    *w = (struct pi_waiter){.queue = {.key = *key, .thread = thread_current()}, .waiting = w, .target = *key};
    list_init(&w->link);
}

static void pause_a_moment(void)
{
    thread_prepare_sleep(false);
    thread_sleep_until(time_monotonic() + 50 * NSEC_PER_USEC);
}

long futex_lock_pi(uaddr_t addr, nsec_t deadline, unsigned flags, bool try)
{
    struct pi_waiter w;
    struct pi_state *s;
    struct futex_key key;
    int got = futex_get_key(addr, flags | FUTEX_KEY_WRITE, &key);
    if (got < 0)
        return got;
    struct pi_bucket *b = pi_bucket_of(&key);
    for (;;) {
        mutex_lock(&b->lock);
        got = take(b, addr, &key, thread_current(), false, &s);
        if (got != CHANGED && got != ENDING)
            break;
        mutex_unlock(&b->lock);
        if (thread_signal_pending())
            return -ERESTARTNOINTR;
        if (got == ENDING)
            pause_a_moment();
    }
    if (got == 0) {
        waiter_start(&w, &key);
        got = try ? -EAGAIN : pi_block(s, &w);
        pi_state_drop_unused(b, s);
    }
    mutex_unlock(&b->lock);
    if (got)
        return got == TAKEN ? 0 : got;
    return wait_for_grant(b, &w, addr, deadline, flags);
}

// --- Giving ---

// CHANGED: a waiter has come meanwhile.
static int give(struct pi_bucket *b, uaddr_t addr, uint32_t word, const struct futex_key *k)
{
    uint32_t seen;
    struct pi_state *s = pi_state_find(b, k);
    struct pi_waiter *w = s ? pi_first_waiter(s) : NULL;
    if (s && s->owner != thread_current())
        return -EINVAL;
    if (!s && plain_waiters(k))
        return -EINVAL;
    uint32_t new = w ? FUTEX_WAITERS | (uint32_t)w->queue.thread->tid : 0;
    if (user_cmpxchg32(addr, word, new, &seen) < 0)
        return -EFAULT;
    if (seen == word) {
        if (w)
            pi_hand_over(b, s, false);
        return 0;
    }
    if (!w)
        return -EAGAIN;
    return (seen & FUTEX_TID_MASK) == word ? CHANGED : -EINVAL;
}

long futex_unlock_pi(uaddr_t addr, unsigned flags)
{
    uint32_t word;
    struct futex_key key;
    int result;
    do {
        if (user_load32(addr, &word) < 0)
            return -EFAULT;
        if ((word & FUTEX_TID_MASK) != (uint32_t)thread_current()->tid)
            return -EPERM;
        result = futex_get_key(addr, flags | FUTEX_KEY_WRITE, &key);
        if (result < 0)
            return result;
        struct pi_bucket *b = pi_bucket_of(&key);
        mutex_lock(&b->lock);
        result = give(b, addr, word, &key);
        mutex_unlock(&b->lock);
    } while (result == CHANGED);
    return result;
}

// --- Condition variables: waiting for one word to own another ---

long futex_wait_requeue_pi(uaddr_t addr, uint32_t value, nsec_t deadline, uaddr_t addr2, unsigned flags)
{
    struct pi_waiter w;
    struct futex_key key, key2;
    uint32_t now;
    if (addr == addr2)
        return -EINVAL;
    long err = futex_get_key(addr2, flags | FUTEX_KEY_WRITE, &key2);
    if (!err)
        err = futex_get_key(addr, flags, &key);
    if (err)
        return err;
    waiter_start(&w, &key2);
    w.queue.key = key;
    struct pi_bucket *b = pi_bucket_of(&key2);
    futex_queue(&w.queue);
    err = user_load32(addr, &now);
    if (!err && now != value)
        err = -EAGAIN;
    if (!err && key_equal(&key, &key2))
        err = -EINVAL;
    if (err) {
        mutex_lock(&b->lock);
        bool moved = !w.waiting || w.state; // meanwhile: the caller gets what it wanted
        if (!moved)
            futex_unqueue(&w.queue);
        mutex_unlock(&b->lock);
        if (!moved)
            return err;
    }
    err = wait_for_grant(b, &w, addr2, deadline, flags);
    // Once moved to the second word, the call cannot be made again: the first word has changed.
    return err == -ERESTARTNOINTR && w.state ? -EAGAIN : err;
}

// Takes the first waiter out of the queue of the first word. NULL: none, or *err says what is wrong with it.
static struct pi_waiter *pick(const struct futex_key *from, const struct futex_key *to, long *err)
{
    struct bucket *queue;
    struct pi_waiter *w = NULL;
    struct futex_waiter *first = futex_lock_first(from, &queue);
    if (first && !first->bitset)
        w = container_of(first, struct pi_waiter, queue);
    if (w && !w->state && key_equal(&w->target, to)) {
        futex_detach(first);
    } else if (first) {
        *err = -EINVAL;
        w = NULL;
    }
    spin_unlock(&queue->lock);
    return w;
}

// How many threads own the second word or wait for it now; or as take().
static long move(struct pi_bucket *b, uaddr_t addr2, const struct futex_key *from, const struct futex_key *to, int requeue)
{
    struct pi_state *s = NULL;
    struct pi_waiter *w;
    long err = 0;
    int count = 0;
    while (count <= requeue && (w = pick(from, to, &err))) {
        int got = s ? 0 : take(b, addr2, to, w->queue.thread, requeue > 0, &s);
        if (got == TAKEN) {
            thread_wake_clear(w->queue.thread, &w->waiting);
        } else {
            if (got == 0)
                got = pi_block(s, w);
            if (got) {
                futex_queue(&w->queue);
                err = got;
                break;
            }
        }
        count++;
    }
    if (s)
        pi_state_drop_unused(b, s);
    return err ? err : count;
}

long futex_requeue_pi(uaddr_t addr, uaddr_t addr2, int wake, int requeue, uint32_t value, unsigned flags)
{
    struct futex_key from, to;
    uint32_t now;
    if (wake != 1 || requeue < 0 || addr == addr2)
        return -EINVAL;
    long result = futex_get_key(addr, flags, &from);
    if (!result)
        result = futex_get_key(addr2, flags | FUTEX_KEY_WRITE, &to);
    if (result)
        return result;
    if (key_equal(&from, &to))
        return -EINVAL;
    struct pi_bucket *b = pi_bucket_of(&to);
    for (;;) {
        result = user_load32(addr, &now);
        if (result || now != value)
            return result ? result : -EAGAIN;
        mutex_lock(&b->lock);
        result = move(b, addr2, &from, &to, requeue);
        mutex_unlock(&b->lock);
        if (result != CHANGED && result != ENDING)
            return result;
        if (thread_signal_pending())
            return -ERESTARTNOINTR;
        if (result == ENDING)
            pause_a_moment();
    }
}
