// Who owns a futex with priority inheritance and who waits for it: the states of contended words, the priorities that waiters lend
// along chains, and what becomes of it all when a thread ends. What the calls do with it is in futex_pi.c, which tells the locks.
#include "kernel/threads/futex_pi.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"

#define CHAIN_MAX 1024 // as Linux' max_lock_depth

#define BUCKET_BITS 6
static struct pi_bucket buckets[1 << BUCKET_BITS];
static struct spinlock pi_lock;
static struct slab_cache state_cache = SLAB_CACHE("pi_state", sizeof(struct pi_state), 8);

struct pi_bucket *pi_bucket_of(const struct futex_key *k)
{
    static uint32_t ready;
    if (!load_acquire(&ready)) {
        spin_lock(&pi_lock);
        for (unsigned i = 0; !ready && i < ARRAY_SIZE(buckets); i++)
            mutex_init(&buckets[i].lock);
        store_release(&ready, 1);
        spin_unlock(&pi_lock);
    }
    uint64_t h = (k->offset ^ (uint64_t)k->object) * 0x9e3779b97f4a7c15UL;
    return &buckets[h >> (64 - BUCKET_BITS)];
}

// --- What a thread owns: thread.pi_held, under pi_lock but for the change from nothing to CLOSED ---

#define CLOSED 1UL // the thread is ending: it gets nothing any more
#define DEAD 2UL   // and has given all away

static struct pi_state *held(const struct thread *t)
{
    return (struct pi_state *)((uintptr_t)READ_ONCE(t->pi_held) & ~(CLOSED | DEAD));
}

static uintptr_t held_flags(const struct thread *t)
{
    return (uintptr_t)READ_ONCE(t->pi_held) & (CLOSED | DEAD);
}

// False: the thread is ending.
static bool held_add(struct thread *t, struct pi_state *s)
{
    if (held_flags(t))
        return false;
    struct pi_state *first = s->next_held = held(t);
    return __atomic_compare_exchange_n(&t->pi_held, &first, s, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void held_remove(struct thread *t, struct pi_state *s)
{
    if (held(t) == s) {
        WRITE_ONCE(t->pi_held, (struct pi_state *)((uintptr_t)s->next_held | held_flags(t)));
        return;
    }
    struct pi_state *at = held(t);
    while (at->next_held != s)
        at = at->next_held;
    at->next_held = s->next_held;
}

// --- Priorities; pi_lock held ---

// Only real-time threads have a better place than those who came before them.
static void place(struct pi_waiter *w)
{
    struct pi_waiter *at;
    list_remove(&w->link);
    w->priority = MIN(thread_priority(w->queue.thread), PRIORITY_NORMAL);
    list_for_each(at, &w->state->waiters, link) {
        if (at->priority > w->priority)
            break;
    }
    list_push_back(&at->link, &w->link);
}

// The thread gets the best priority of those that wait for it; whoever it waits for itself may get another one by that.
static void lend(struct thread *t)
{
    for (int depth = 0; depth < CHAIN_MAX; depth++) {
        int best = PRIORITY_NONE, before = thread_priority(t);
        for (struct pi_state *s = held(t); s; s = s->next_held) {
            const struct pi_waiter *w = pi_first_waiter(s);
            if (w)
                best = MIN(best, thread_priority(w->queue.thread));
        }
        if (best != READ_ONCE(t->inherited))
            thread_inherit_priority(t, best);
        struct pi_waiter *w = t->pi_blocked;
        if (!w || thread_priority(t) == before)
            return;
        place(w);
        t = w->state->owner;
    }
}

void futex_priority_changed(struct thread *t)
{
    if (!READ_ONCE(t->pi_blocked))
        return;
    spin_lock(&pi_lock);
    struct pi_waiter *w = t->pi_blocked;
    if (w) {
        place(w);
        lend(w->state->owner);
    }
    spin_unlock(&pi_lock);
}

// Would the thread wait for itself, by way of others?
static bool would_deadlock(const struct thread *t, const struct pi_state *s)
{
    for (int depth = 0; depth < CHAIN_MAX; depth++) {
        if (s->owner == t)
            return true;
        if (!s->owner->pi_blocked)
            return false;
        s = s->owner->pi_blocked->state;
    }
    return true;
}

// --- States; the bucket's lock held ---

struct pi_state *pi_state_find(const struct pi_bucket *b, const struct futex_key *k)
{
    struct pi_state *s = b->states;
    while (s && !key_equal(&s->key, k))
        s = s->next;
    return s;
}

struct pi_state *pi_state_alloc(void)
{
    return slab_alloc(&state_cache);
}

void pi_state_free(struct pi_state *s)
{
    slab_free(&state_cache, s);
}

struct pi_state *pi_state_add(struct pi_bucket *b, struct pi_state *s, const struct futex_key *k, struct thread *owner)
{
    s->key = *k;
    s->owner = owner;
    s->users = 0;
    list_init(&s->waiters);
    spin_lock(&pi_lock);
    bool ok = held_add(owner, s);
    spin_unlock(&pi_lock);
    if (!ok)
        return NULL;
    thread_ref(owner);
    s->next = b->states;
    b->states = s;
    return s;
}

void pi_state_drop_unused(struct pi_bucket *b, struct pi_state *s)
{
    if (s->users)
        return;
    spin_lock(&pi_lock);
    held_remove(s->owner, s);
    spin_unlock(&pi_lock);
    struct pi_state **at = &b->states;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    thread_unref(s->owner);
    slab_free(&state_cache, s);
}

// The waiter joins the others. 0 or -EDEADLK.
int pi_block(struct pi_state *s, struct pi_waiter *w)
{
    spin_lock(&pi_lock);
    bool deadlock = would_deadlock(w->queue.thread, s);
    if (!deadlock) {
        w->state = s;
        w->queue.thread->pi_blocked = w;
        place(w);
        lend(s->owner);
    }
    spin_unlock(&pi_lock);
    if (deadlock)
        return -EDEADLK;
    s->users++;
    w->queue.key = w->target;
    futex_queue(&w->queue);
    return 0;
}

void pi_unblock(struct pi_bucket *b, struct pi_waiter *w)
{
    struct pi_state *s = w->state;
    spin_lock(&pi_lock);
    list_remove(&w->link);
    w->queue.thread->pi_blocked = NULL;
    lend(s->owner);
    spin_unlock(&pi_lock);
    futex_unqueue(&w->queue);
    s->users--;
    pi_state_drop_unused(b, s);
}

// The first waiter is the owner from now on.
void pi_hand_over(struct pi_bucket *b, struct pi_state *s, bool died)
{
    struct pi_waiter *w = pi_first_waiter(s);
    struct thread *old = s->owner, *new = w->queue.thread;
    w->died = died;
    s->users -= !died;
    thread_ref(new);
    spin_lock(&pi_lock);
    held_remove(old, s);
    list_remove(&w->link);
    new->pi_blocked = NULL;
    s->owner = new;
    held_add(new, s); // it sleeps in here, so it does not end
    lend(old);
    lend(new);
    spin_unlock(&pi_lock);
    thread_unref(old);
    futex_unqueue(&w->queue);
    thread_wake_clear(new, &w->waiting);
    pi_state_drop_unused(b, s);
}

// --- The end of a thread ---

bool pi_thread_dead(const struct thread *t)
{
    return held_flags(t) & DEAD;
}

bool futex_pi_begin_exit(struct thread *t)
{
    struct pi_state *none = NULL;
    if (likely(__atomic_compare_exchange_n(&t->pi_held, &none, (struct pi_state *)CLOSED, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST)))
        return false;
    spin_lock(&pi_lock);
    WRITE_ONCE(t->pi_held, (struct pi_state *)((uintptr_t)t->pi_held | CLOSED));
    spin_unlock(&pi_lock);
    return held(t);
}

void futex_pi_release(struct thread *t)
{
    struct futex_key key = {0};
    for (;;) {
        spin_lock(&pi_lock);
        struct pi_state *s = held(t);
        if (s)
            key = s->key;
        spin_unlock(&pi_lock);
        if (!s)
            return;
        struct pi_bucket *b = pi_bucket_of(&key);
        mutex_lock(&b->lock);
        s = pi_state_find(b, &key);
        if (s && s->owner == t && pi_first_waiter(s))
            pi_hand_over(b, s, true);
        mutex_unlock(&b->lock);
    }
}

void futex_pi_end_exit(struct thread *t, bool last)
{
    store_release(&t->pi_held, (struct pi_state *)(last ? CLOSED | DEAD : 0));
}
