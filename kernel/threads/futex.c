// Futexes. Waiters hang in hashed buckets. A waiter queues itself first and then looks at the word, so that the look may
// fault a page in: a waker changes the word before it takes the bucket's lock, hence either the waiter sees the new value or
// the waker sees the waiter. A waiter that was woken although its value did not match hands the wake-up on.
//
// Locks: bucket.lock (thread context only; two of them in the order of their addresses) > run queues. A woken waiter is out
// of its bucket; its `bucket` pointer, cleared last, tells it so without the lock.
#include "kernel/threads/futex.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "kernel/threads/futex_queue.h"
#include "kernel/threads/thread.h"
#include <linux/futex.h>

#define BUCKET_BITS 8
static struct bucket buckets[1 << BUCKET_BITS];

static inline struct bucket *bucket_of(const struct futex_key *k)
{
    uint64_t h = (k->offset ^ (uint64_t)k->object) * 0x9e3779b97f4a7c15UL;
    return &buckets[h >> (64 - BUCKET_BITS)];
}

// A bucket of zeroes is an empty one that was never used.
static inline void bucket_lock(struct bucket *b)
{
    spin_lock(&b->lock);
    if (unlikely(!b->waiters.next))
        list_init(&b->waiters);
}

// A word in a shared mapping is known by what is mapped, all others by address space and address.
static __attribute__((noinline)) int get_shared_key(uaddr_t addr, unsigned flags, struct futex_key *k)
{
    struct aspace *as = process_current()->aspace;
    rwmutex_read_lock(&as->lock);
    struct vma *v = vma_find(as, addr);
    bool usable = v && addr >= v->start && (v->prot & (flags & FUTEX_KEY_WRITE ? PROT_WRITE : PROT_READ | PROT_WRITE));
    if (usable && v->backing && (v->flags & MAP_TYPE) != MAP_PRIVATE)
        *k = (struct futex_key){v->backing, addr - v->start + v->offset};
    rwmutex_read_unlock(&as->lock);
    return usable ? 0 : -EFAULT;
}

static inline int get_key(uaddr_t addr, unsigned flags, struct futex_key *k)
{
    *k = (struct futex_key){process_current()->aspace, addr};
    if (unlikely(addr & 3))
        return -EINVAL;
    if (unlikely(!user_range_ok(addr, 4)))
        return -EFAULT;
    return unlikely(flags & FUTEX_SHARED) ? get_shared_key(addr, flags, k) : 0;
}

int futex_get_key(uaddr_t addr, unsigned flags, struct futex_key *k)
{
    return get_key(addr, flags, k);
}

// A real-time thread goes in front of those with a lower priority, as with Linux.
static __attribute__((noinline)) void insert_by_priority(struct bucket *b, struct futex_waiter *w, int priority)
{
    struct futex_waiter *at;
    list_for_each(at, &b->waiters, link) {
        if (thread_priority(at->thread) > priority)
            break;
    }
    list_push_back(&at->link, &w->link);
}

static inline void insert(struct bucket *b, struct futex_waiter *w)
{
    int priority = thread_priority(w->thread);
    if (likely(priority >= PRIORITY_NORMAL))
        list_push_back(&b->waiters, &w->link);
    else
        insert_by_priority(b, w, priority);
}

static inline void queue(struct bucket *b, struct futex_waiter *w)
{
    w->bucket = b;
    bucket_lock(b);
    insert(b, w);
    spin_unlock(&b->lock);
}

void futex_queue(struct futex_waiter *w)
{
    queue(bucket_of(&w->key), w);
}

// bucket.lock held. The waiter may be gone as soon as its bucket is NULL.
static inline void wake_waiter(struct futex_waiter *w)
{
    list_remove(&w->link);
    thread_wake_clear(w->thread, (void **)&w->bucket);
}

// -EINVAL: who waits there wants a mutex with priority inheritance.
static inline __attribute__((always_inline)) int wake_key_inline(const struct futex_key *k, int count, uint32_t bitset)
{
    struct bucket *b = bucket_of(k);
    struct futex_waiter *w, *tmp;
    int woken = 0;
    bucket_lock(b);
    list_for_each_safe(w, tmp, &b->waiters, link) {
        if (!key_equal(&w->key, k))
            continue;
        if (!(w->bitset & bitset)) {
            if (likely(w->bitset))
                continue;
            woken = -EINVAL;
            break;
        }
        wake_waiter(w);
        if (++woken >= count)
            break;
    }
    spin_unlock(&b->lock);
    return woken;
}

__attribute__((noinline)) int futex_wake_key(const struct futex_key *k, int count, uint32_t bitset)
{
    return wake_key_inline(k, count, bitset);
}

__attribute__((noinline)) bool futex_unqueue(struct futex_waiter *w)
{
    struct bucket *b;
    while ((b = load_acquire(&w->bucket))) {
        spin_lock(&b->lock);
        bool here = READ_ONCE(w->bucket) == b;
        if (here)
            futex_detach(w);
        spin_unlock(&b->lock);
        if (here)
            return true;
    }
    return false;
}

void futex_detach(struct futex_waiter *w)
{
    list_remove(&w->link);
    w->bucket = NULL;
}

struct futex_waiter *futex_lock_first(const struct futex_key *k, struct bucket **bucket)
{
    struct bucket *b = *bucket = bucket_of(k);
    struct futex_waiter *w;
    bucket_lock(b);
    list_for_each(w, &b->waiters, link) {
        if (key_equal(&w->key, k))
            return w;
    }
    return NULL;
}

static __attribute__((noinline)) int sleep_realtime(nsec_t deadline)
{
    struct waiter w;
    waiter_init(&w);
    waitq_add(&clock_set_wait, &w); // before the clock is read, so that no change is missed
    int err = thread_sleep_until(deadline - (time_realtime() - time_monotonic()));
    waitq_remove(&w);
    return err == -ETIMEDOUT && time_realtime() < deadline ? 0 : err; // set back at the last moment
}

int futex_sleep(nsec_t deadline, unsigned flags)
{
    return unlikely((flags & FUTEX_REALTIME) && deadline != NSEC_MAX) ? sleep_realtime(deadline) : thread_sleep_until(deadline);
}

long futex_wait(uaddr_t addr, uint32_t value, nsec_t deadline, uint32_t bitset, unsigned flags)
{
    struct thread *self = thread_current();
    struct futex_waiter w; // filled in field by field: no need to clear it first
    uint32_t now;
    if (!bitset)
        return -EINVAL;
    int err = get_key(addr, flags, &w.key);
    if (err)
        return err;

    w.thread = self;
    w.bitset = bitset;
    queue(bucket_of(&w.key), &w);

    err = user_load32(addr, &now);
    if (unlikely(err || now != value)) {
        if (!futex_unqueue(&w))
            futex_wake_key(&w.key, 1, bitset);
        return err ? err : -EAGAIN;
    }
    for (;;) {
        thread_prepare_sleep(true);
        if (!load_acquire(&w.bucket))
            break;
        err = futex_sleep(deadline, flags);
        if (likely(!load_acquire(&w.bucket)))
            break;
        if (err)
            return futex_unqueue(&w) ? err : 0;
    }
    thread_cancel_sleep();
    return 0;
}

long futex_wake(uaddr_t addr, int count, uint32_t bitset, unsigned flags)
{
    struct futex_key k;
    if (!bitset)
        return -EINVAL;
    int err = get_key(addr, flags, &k);
    return unlikely(err) ? err : wake_key_inline(&k, count, bitset);
}

static void lock_both(struct bucket *a, struct bucket *b)
{
    bucket_lock(a < b ? a : b);
    if (a != b)
        bucket_lock(a < b ? b : a);
}

static void unlock_both(struct bucket *a, struct bucket *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

long futex_requeue(uaddr_t addr, uaddr_t addr2, int wake, int requeue, bool compare, uint32_t value, unsigned flags)
{
    struct futex_key from, to;
    if (wake < 0 || requeue < 0)
        return -EINVAL;
    int err = get_key(addr, flags, &from);
    if (!err)
        err = get_key(addr2, flags, &to);
    if (err)
        return err;
    // Who queues between this look and the locks is moved along: it wakes up from the other word, for no reason at worst.
    uint32_t now;
    if (compare) {
        err = user_load32(addr, &now);
        if (err || now != value)
            return err ? err : -EAGAIN;
    }
    struct bucket *b = bucket_of(&from), *b2 = bucket_of(&to);
    struct futex_waiter *w, *tmp;
    int woken = 0, moved = 0;
    lock_both(b, b2);
    list_for_each_safe(w, tmp, &b->waiters, link) {
        if (!key_equal(&w->key, &from))
            continue;
        if (unlikely(!w->bitset)) { // it wants a mutex with priority inheritance
            err = -EINVAL;
            break;
        }
        if (woken < wake) {
            wake_waiter(w);
            woken++;
        } else if (moved < requeue) {
            moved++;
            w->key = to;
            if (b == b2)
                continue;
            list_remove(&w->link);
            insert(b2, w);
            store_release(&w->bucket, b2);
        } else {
            break;
        }
    }
    unlock_both(b, b2);
    return err ? err : woken + moved;
}

// Applies FUTEX_OP_* to the word and says in *old what was there.
static int apply_op(uaddr_t addr, uint32_t op, uint32_t arg, uint32_t *old)
{
    uint32_t seen, new;
    int err = user_load32(addr, old);
    if (err)
        return err;
    for (;;) {
        switch (op) {
        case FUTEX_OP_SET:
            new = arg;
            break;
        case FUTEX_OP_ADD:
            new = *old + arg;
            break;
        case FUTEX_OP_OR:
            new = *old | arg;
            break;
        case FUTEX_OP_ANDN:
            new = *old & ~arg;
            break;
        case FUTEX_OP_XOR:
            new = *old ^ arg;
            break;
        default:
            return -ENOSYS;
        }
        err = user_cmpxchg32(addr, *old, new, &seen);
        if (err || seen == *old)
            return err;
        *old = seen;
        sched_point();
    }
}

static bool compare_op(uint32_t cmp, int32_t old, int32_t arg)
{
    switch (cmp) {
    case FUTEX_OP_CMP_EQ:
        return old == arg;
    case FUTEX_OP_CMP_NE:
        return old != arg;
    case FUTEX_OP_CMP_LT:
        return old < arg;
    case FUTEX_OP_CMP_LE:
        return old <= arg;
    case FUTEX_OP_CMP_GT:
        return old > arg;
    default:
        return old >= arg;
    }
}

static int32_t sign_extend12(uint32_t v)
{
    return (int32_t)(v << 20) >> 20;
}

long futex_wake_op(uaddr_t addr, uaddr_t addr2, int wake, int wake2, uint32_t op, unsigned flags)
{
    struct futex_key k, k2;
    uint32_t old, what = op >> 28 & 7, cmp = op >> 24 & 15, arg = (uint32_t)sign_extend12(op >> 12 & 0xfff);
    int err = get_key(addr, flags, &k);
    if (!err)
        err = get_key(addr2, flags | FUTEX_KEY_WRITE, &k2);
    if (err)
        return err;
    if (cmp > FUTEX_OP_CMP_GE)
        return -ENOSYS;
    if (op & (uint32_t)FUTEX_OP_OPARG_SHIFT << 28)
        arg = 1u << (arg & 31);
    err = apply_op(addr2, what, arg, &old);
    if (err)
        return err;
    long woken = futex_wake_key(&k, wake, ~0u);
    if (woken >= 0 && compare_op(cmp, (int32_t)old, sign_extend12(op & 0xfff))) {
        long more = futex_wake_key(&k2, wake2, ~0u);
        woken = more < 0 ? more : woken + more;
    }
    return woken;
}
