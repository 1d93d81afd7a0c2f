// Futexes. Waiters hang in hashed buckets. A waiter queues itself first and then looks at the word, so that the look may
// fault a page in: a waker changes the word before it takes the bucket's lock, hence either the waiter sees the new value or
// the waker sees the waiter. A waiter that was woken although its value did not match hands the wake-up on.
//
// Locks: bucket.lock (thread context only; two of them in the order of their addresses) > run queues. A woken waiter is out
// of its bucket; its `bucket` pointer, cleared last, tells it so without the lock.
#include "kernel/threads/futex.h"
#include "kernel/memory/aspace.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/memory/usercopy.h"
#include <linux/futex.h>

struct futex_key {
    const void *object; // address space or backing
    uint64_t offset;    // in it
};

struct bucket {
    struct spinlock lock;
    struct list waiters;
} ALIGNED(32);

struct futex_waiter {
    struct list link;
    struct futex_key key;
    struct thread *thread;
    struct bucket *bucket; // NULL: woken
    uint32_t bitset;
};

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

static inline bool key_equal(const struct futex_key *a, const struct futex_key *b)
{
    return a->offset == b->offset && a->object == b->object;
}

// A word in a shared mapping is known by what is mapped, all others by address space and address.
static __attribute__((noinline)) int get_shared_key(uaddr_t addr, struct futex_key *k)
{
    struct aspace *as = process_current()->aspace;
    rwmutex_read_lock(&as->lock);
    struct vma *v = vma_find(as, addr);
    bool mapped = v && addr >= v->start;
    if (mapped && v->backing && (v->flags & MAP_TYPE) != MAP_PRIVATE)
        *k = (struct futex_key){v->backing, addr - v->start + v->offset};
    rwmutex_read_unlock(&as->lock);
    return mapped ? 0 : -EFAULT;
}

static inline int get_key(uaddr_t addr, bool shared, struct futex_key *k)
{
    *k = (struct futex_key){process_current()->aspace, addr};
    if (unlikely(addr & 3))
        return -EINVAL;
    if (unlikely(!user_range_ok(addr, 4)))
        return -EFAULT;
    return unlikely(shared) ? get_shared_key(addr, k) : 0;
}

// bucket.lock held. The waiter may be gone as soon as its bucket is NULL.
static inline void wake_waiter(struct futex_waiter *w)
{
    list_remove(&w->link);
    thread_wake_clear(w->thread, (void **)&w->bucket);
}

static inline __attribute__((always_inline)) int wake_key_inline(const struct futex_key *k, int count, uint32_t bitset)
{
    struct bucket *b = bucket_of(k);
    struct futex_waiter *w, *tmp;
    int woken = 0;
    bucket_lock(b);
    list_for_each_safe(w, tmp, &b->waiters, link) {
        if (!key_equal(&w->key, k) || !(w->bitset & bitset))
            continue;
        wake_waiter(w);
        if (++woken >= count)
            break;
    }
    spin_unlock(&b->lock);
    return woken;
}

static __attribute__((noinline)) int wake_key(const struct futex_key *k, int count, uint32_t bitset)
{
    return wake_key_inline(k, count, bitset);
}

// Takes the waiter out of its bucket, whichever a requeue has put it into. False: it was woken. Either way nobody else
// knows of it afterwards.
static __attribute__((noinline)) bool unqueue(struct futex_waiter *w)
{
    struct bucket *b;
    while ((b = load_acquire(&w->bucket))) {
        spin_lock(&b->lock);
        bool here = READ_ONCE(w->bucket) == b;
        if (here) {
            list_remove(&w->link);
            w->bucket = NULL;
        }
        spin_unlock(&b->lock);
        if (here)
            return true;
    }
    return false;
}

long futex_wait(uaddr_t addr, uint32_t value, nsec_t deadline, uint32_t bitset, bool shared)
{
    struct thread *self = thread_current();
    struct futex_waiter w; // filled in field by field: no need to clear it first
    uint32_t now;
    if (!bitset)
        return -EINVAL;
    int err = get_key(addr, shared, &w.key);
    if (err)
        return err;

    struct bucket *b = bucket_of(&w.key);
    w.thread = self;
    w.bitset = bitset;
    w.bucket = b;
    bucket_lock(b);
    list_push_back(&b->waiters, &w.link);
    spin_unlock(&b->lock);

    err = user_load32(addr, &now);
    if (unlikely(err || now != value)) {
        if (!unqueue(&w))
            wake_key(&w.key, 1, bitset);
        return err ? err : -EAGAIN;
    }
    for (;;) {
        thread_prepare_sleep(true);
        if (!load_acquire(&w.bucket))
            break;
        err = thread_sleep_until(deadline);
        if (likely(!load_acquire(&w.bucket)))
            break;
        if (err)
            return unqueue(&w) ? err : 0;
    }
    thread_cancel_sleep();
    return 0;
}

long futex_wake(uaddr_t addr, int count, uint32_t bitset, bool shared)
{
    struct futex_key k;
    if (!bitset)
        return -EINVAL;
    int err = get_key(addr, shared, &k);
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

long futex_requeue(uaddr_t addr, uaddr_t addr2, int wake, int requeue, bool compare, uint32_t value, bool shared)
{
    struct futex_key from, to;
    int err = get_key(addr, shared, &from);
    if (!err)
        err = get_key(addr2, shared, &to);
    if (err)
        return err;
    if (wake < 0 || requeue < 0)
        return -EINVAL;
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
        if (woken < wake) {
            wake_waiter(w);
            woken++;
        } else if (moved < requeue) {
            moved++;
            w->key = to;
            if (b == b2)
                continue;
            list_remove(&w->link);
            list_push_back(&b2->waiters, &w->link);
            store_release(&w->bucket, b2);
        } else {
            break;
        }
    }
    unlock_both(b, b2);
    return woken + moved;
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

long futex_wake_op(uaddr_t addr, uaddr_t addr2, int wake, int wake2, uint32_t op, bool shared)
{
    struct futex_key k, k2;
    uint32_t old, what = op >> 28 & 7, cmp = op >> 24 & 15, arg = (uint32_t)sign_extend12(op >> 12 & 0xfff);
    int err = get_key(addr, shared, &k);
    if (!err)
        err = get_key(addr2, shared, &k2);
    if (err)
        return err;
    if (cmp > FUTEX_OP_CMP_GE)
        return -ENOSYS;
    if (op & (uint32_t)FUTEX_OP_OPARG_SHIFT << 28)
        arg = 1u << (arg & 31);
    err = apply_op(addr2, what, arg, &old);
    if (err)
        return err;
    long woken = wake_key(&k, wake, ~0u);
    if (compare_op(cmp, (int32_t)old, sign_extend12(op & 0xfff)))
        woken += wake_key(&k2, wake2, ~0u);
    return woken;
}

// --- Robust mutexes: what a thread held when it ended. Linux, Documentation/locking/robust-futex-ABI.rst ---

#define ROBUST_LIMIT 2048

static void owner_died(uaddr_t addr, bool pending)
{
    uint32_t word, seen, tid = (uint32_t)thread_current()->tid;
    if (addr & 3 || user_load32(addr, &word) < 0)
        return;
    // Between unlocking and taking the entry off the list: the wake-up may have been lost with the thread.
    if (pending && !word) {
        futex_wake(addr, 1, ~0u, true);
        return;
    }
    while ((word & FUTEX_TID_MASK) == tid) {
        if (user_cmpxchg32(addr, word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &seen) < 0)
            return;
        if (seen == word) {
            if (word & FUTEX_WAITERS)
                futex_wake(addr, 1, ~0u, true);
            return;
        }
        word = seen;
    }
}

void futex_exit_robust(struct thread *t)
{
    struct robust_list_head head;
    uaddr_t list = t->robust_list;
    t->robust_list = 0;
    if (copy_in_obj(&head, list) < 0)
        return;
    // Bit 0 of an entry marks priority inheritance, which is not offered.
    uaddr_t pending = (uaddr_t)head.list_op_pending & ~1UL, entry = (uaddr_t)head.list.next & ~1UL;
    for (int i = 0; i < ROBUST_LIMIT && entry != list; i++) {
        struct robust_list node;
        bool more = copy_in_obj(&node, entry) == 0; // before the word is given away
        if (entry != pending)
            owner_died(entry + (uaddr_t)head.futex_offset, false);
        if (!more)
            break;
        entry = (uaddr_t)node.next & ~1UL;
        sched_point();
    }
    if (pending)
        owner_died(pending + (uaddr_t)head.futex_offset, true);
}
