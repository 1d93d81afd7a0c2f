// Futexes, wait queues and sleeping locks, with threads of the host: no wake-up is lost, none goes to the wrong one.
// link: kernel/threads/futex.c kernel/threads/futex_pi.c kernel/threads/futex_pi_state.c kernel/threads/futex_robust.c kernel/threads/wait.c kernel/threads/lock.c kernel/threads/mutex.c kernel/threads/rwmutex.c tests/unit/fake_host.c
// libs: -lpthread
// flags: -include tests/unit/fake_pause.h
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/threads/futex.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "tests/unit/fake_threads.h"
#include <linux/futex.h>

#define ALL FUTEX_BITSET_MATCH_ANY

static struct aspace the_aspace;
struct vma *vma_find(struct aspace *as, uaddr_t addr)
{
    static struct vma everything = {.start = 0, .end = USER_END, .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE};
    return &everything;
}
int user_load32(uaddr_t addr, uint32_t *value)
{
    if (addr < 4096)
        return -EFAULT;
    *value = __atomic_load_n((uint32_t *)addr, __ATOMIC_SEQ_CST);
    return 0;
}
int user_cmpxchg32(uaddr_t addr, uint32_t expected, uint32_t desired, uint32_t *old)
{
    *old = expected;
    __atomic_compare_exchange_n((uint32_t *)addr, old, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return 0;
}
int copy_in(void *dst, uaddr_t src, size_t n)
{
    memcpy(dst, (void *)src, n);
    return 0;
}
void panic(const char *fmt, ...) { abort(); }
unsigned cpu_count = 2;

nsec_t time_realtime(void) { return time_monotonic() + 1000 * NSEC_PER_SEC; }
void *slab_alloc(struct slab_cache *c) { return calloc(1, c->size); }
void slab_free(struct slab_cache *c, void *object) { free(object); }
void *kmalloc(size_t size) { return calloc(1, size); }
void kfree(void *p) { free(p); }

static struct thread *by_tid[8];
struct thread *thread_find(int tid)
{
    struct thread *t = tid < 8 ? READ_ONCE(by_tid[tid]) : NULL;
    if (t)
        thread_ref(t);
    return t;
}
void thread_inherit_priority(struct thread *t, int key)
{
    int own = t->rt_priority ? PRIORITY_NORMAL - 1 - t->rt_priority : PRIORITY_NICE_0;
    t->inherited = (uint8_t)key;
    WRITE_ONCE(t->priority, (uint8_t)MIN(own, key));
}

static void *run(void *arg);
struct job {
    void (*fn)(void *);
    void *arg;
    unsigned long thread;
};
static void *run(void *arg)
{
    struct job *j = arg;
    host_thread_enter();
    j->fn(j->arg);
    host_thread_leave();
    return NULL;
}
static void start(struct job *j, void (*fn)(void *), void *arg)
{
    *j = (struct job){.fn = fn, .arg = arg};
    j->thread = host_start(run, j);
}
static void join(struct job *j, int n)
{
    while (n--)
        host_join(j[n].thread);
}

static int setup(void **state)
{
    host_process.aspace = &the_aspace;
    rwmutex_init(&the_aspace.lock);
    host_thread_enter();
    return 0;
}

static uint32_t word, word2;
#define ADDR(w) ((uaddr_t) & (w))

static void arguments(void **state)
{
    word = 5;
    assert_int_equal(futex_wait(ADDR(word), 4, NSEC_MAX, ALL, false), -EAGAIN);
    assert_int_equal(futex_wait(ADDR(word) + 1, 5, NSEC_MAX, ALL, false), -EINVAL);
    assert_int_equal(futex_wait(ADDR(word), 5, NSEC_MAX, 0, false), -EINVAL);
    assert_int_equal(futex_wait(USER_END, 5, NSEC_MAX, ALL, false), -EFAULT);
    assert_int_equal(futex_wait(8, 5, NSEC_MAX, ALL, false), -EFAULT);
    assert_int_equal(futex_wait(ADDR(word), 5, time_monotonic() + 1000000, ALL, false), -ETIMEDOUT);
    assert_int_equal(futex_wake(ADDR(word), 1, ALL, false), 0);
    assert_int_equal(futex_requeue(ADDR(word), ADDR(word2), 1, 1, true, 4, false), -EAGAIN);
    assert_int_equal(futex_requeue(ADDR(word), ADDR(word2), -1, 1, false, 0, false), -EINVAL);
}

// A mutex of the classic kind: 0 free, 1 taken, 2 taken and waited for.
static void take(uint32_t *m)
{
    uint32_t zero = 0;
    if (__atomic_compare_exchange_n(m, &zero, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    while (__atomic_exchange_n(m, 2, __ATOMIC_SEQ_CST))
        futex_wait((uaddr_t)m, 2, NSEC_MAX, ALL, false);
}
static void give(uint32_t *m)
{
    if (__atomic_exchange_n(m, 0, __ATOMIC_SEQ_CST) == 2)
        futex_wake((uaddr_t)m, 1, ALL, false);
}
static long counter;
static void count(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        take(&word);
        counter++;
        give(&word);
    }
}
static void mutex_of_futexes(void **state)
{
    struct job j[6];
    word = 0;
    counter = 0;
    for (int i = 0; i < 6; i++)
        start(&j[i], count, NULL);
    join(j, 6);
    assert_int_equal(counter, 30000);
}

// Short lives: a thread may end at once after it has seen its wake-up.
static void one_wait(void *arg)
{
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
        futex_wait(ADDR(word), 0, NSEC_MAX, ALL, false);
}
static void short_lives(void **state)
{
    for (int i = 0; i < 500; i++) {
        struct job j[2];
        word = 0;
        start(&j[0], one_wait, NULL);
        start(&j[1], one_wait, NULL);
        if (i % 3 == 0)
            host_usleep(50);
        __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
        futex_wake(ADDR(word), 2, ALL, false);
        join(j, 2);
    }
}

static unsigned waiting, awake;
static void wait_with_bits(void *arg)
{
    atomic_add(&waiting, 1);
    assert_int_equal(futex_wait(ADDR(word), 0, NSEC_MAX, (uint32_t)(uintptr_t)arg, false), 0);
    atomic_add(&awake, 1);
}
static void until_waiting(unsigned n) // and asleep, most probably
{
    while (READ_ONCE(waiting) != n)
        host_yield();
    host_usleep(20000);
}
static void bitsets(void **state)
{
    struct job j[4];
    word = waiting = awake = 0;
    for (uintptr_t i = 0; i < 4; i++)
        start(&j[i], wait_with_bits, (void *)(1UL << i));
    until_waiting(4);
    assert_int_equal(futex_wake(ADDR(word), 10, 0x10, false), 0);
    assert_int_equal(futex_wake(ADDR(word), 10, 0x5, false), 2);
    assert_int_equal(futex_wake(ADDR(word), 10, ALL, true), 2); // shared is the same here: private memory
    join(j, 4);
}

static void requeue(void **state)
{
    struct job j[6];
    word = waiting = awake = 0;
    for (int i = 0; i < 6; i++)
        start(&j[i], wait_with_bits, (void *)~0UL);
    until_waiting(6);
    assert_int_equal(futex_requeue(ADDR(word), ADDR(word2), 1, 3, true, 0, false), 4);
    assert_int_equal(futex_wake(ADDR(word2), 1, ALL, false), 1);
    assert_int_equal(futex_wake(ADDR(word2), 10, ALL, false), 2);
    assert_int_equal(futex_wake(ADDR(word), 10, ALL, false), 2);
    join(j, 6);
}

static void wake_op(void **state)
{
    struct job j[2];
    word = waiting = 0;
    word2 = 0;
    for (int i = 0; i < 2; i++)
        start(&j[i], wait_with_bits, (void *)~0UL);
    until_waiting(2);
    uint32_t op = (uint32_t)FUTEX_OP_ADD << 28 | FUTEX_OP_CMP_GT << 24 | 3 << 12 | 0;
    assert_int_equal(futex_wake_op(ADDR(word2), ADDR(word), 1, 1, op, false), 0); // 0 > 0 does not hold
    assert_int_equal(word, 3);
    assert_int_equal(futex_wake_op(ADDR(word2), ADDR(word), 1, 1, op, false), 1);
    assert_int_equal(word, 6);
    op = (uint32_t)(FUTEX_OP_OPARG_SHIFT | FUTEX_OP_OR) << 28 | FUTEX_OP_CMP_EQ << 24 | 4 << 12 | 6;
    assert_int_equal(futex_wake_op(ADDR(word), ADDR(word), 1, 1, op, false), 1);
    assert_int_equal(word, 0x16);
    join(j, 2);
}

static void robust(void **state)
{
    struct robust_list_head head;
    struct {
        struct robust_list node;
        uint32_t lock;
    } a, b, pending;
    head.list.next = &a.node;
    a.node.next = &b.node;
    b.node.next = &head.list;
    head.futex_offset = offsetof(__typeof__(a), lock);
    head.list_op_pending = &pending.node;
    a.lock = 1;                 // ours (tid 1)
    b.lock = 77;                // somebody else's
    pending.lock = 1 | FUTEX_WAITERS;
    thread_current()->robust_list = (uaddr_t)&head;
    futex_exit(thread_current(), false);
    assert_int_equal(a.lock, FUTEX_OWNER_DIED);
    assert_int_equal(b.lock, 77);
    assert_int_equal(pending.lock, FUTEX_OWNER_DIED | FUTEX_WAITERS);
    a.node.next = &a.node; // a circle: the walk ends
    thread_current()->robust_list = (uaddr_t)&head;
    futex_exit(thread_current(), false);
}

// --- Priority inheritance ---

static uint32_t locks[3];
static int served[4], served_count;

static void enter_as(int tid, int rt_priority)
{
    struct thread *t = thread_current();
    t->tid = tid;
    t->rt_priority = (uint8_t)rt_priority;
    thread_inherit_priority(t, PRIORITY_NONE);
    WRITE_ONCE(by_tid[tid], t);
}
static void until_blocked(int tid)
{
    while (!READ_ONCE(by_tid[tid]) || !READ_ONCE(by_tid[tid]->pi_blocked))
        host_yield();
}
static void until_priority(int tid, int priority)
{
    for (int i = 0; i < 1000000 && thread_priority(by_tid[tid]) != priority; i++)
        host_yield();
    assert_int_equal(thread_priority(by_tid[tid]), priority);
}
// Owns one word and waits for the one before it.
static void link_of_chain(void *arg)
{
    int i = (int)(uintptr_t)arg;
    enter_as(1 + i, 30 * i);
    assert_int_equal(futex_lock_pi(ADDR(locks[i]), NSEC_MAX, 0, false), 0);
    assert_int_equal(futex_lock_pi(ADDR(locks[i - 1]), NSEC_MAX, 0, false), 0);
    assert_int_equal(futex_unlock_pi(ADDR(locks[i - 1]), 0), 0);
    assert_int_equal(futex_unlock_pi(ADDR(locks[i]), 0), 0);
    assert_int_equal(thread_priority(thread_current()), PRIORITY_NORMAL - 1 - thread_current()->rt_priority);
}
static void priority_chain(void **state)
{
    struct job j[2];
    enter_as(1, 0);
    assert_int_equal(futex_lock_pi(ADDR(locks[0]), NSEC_MAX, 0, false), 0);
    start(&j[0], link_of_chain, (void *)1);
    until_blocked(2);
    until_priority(1, 69);
    start(&j[1], link_of_chain, (void *)2);
    until_blocked(3);
    until_priority(2, 39); // lent,
    until_priority(1, 39); // and passed on
    by_tid[3]->rt_priority = 80;
    thread_inherit_priority(by_tid[3], PRIORITY_NONE);
    futex_priority_changed(by_tid[3]);
    assert_int_equal(thread_priority(thread_current()), 19);
    by_tid[3]->rt_priority = 60;
    thread_inherit_priority(by_tid[3], PRIORITY_NONE);
    futex_priority_changed(by_tid[3]);
    assert_int_equal(thread_priority(thread_current()), 39);
    assert_int_equal(futex_lock_pi(ADDR(locks[2]), NSEC_MAX, 0, false), -EDEADLK);
    assert_int_equal(futex_unlock_pi(ADDR(locks[0]), 0), 0);
    assert_int_equal(thread_priority(thread_current()), PRIORITY_NICE_0);
    join(j, 2);
    assert_int_equal(locks[0] & FUTEX_TID_MASK, 0);
}

static void be_served(void *arg)
{
    int tid = (int)(uintptr_t)arg;
    enter_as(tid, tid == 4 ? 10 : tid == 5 ? 50 : 0);
    assert_int_equal(futex_lock_pi(ADDR(word), NSEC_MAX, 0, false), 0);
    served[served_count++] = tid;
    assert_int_equal(futex_unlock_pi(ADDR(word), 0), 0);
}
static void priority_order(void **state)
{
    struct job j[4];
    word = 0;
    enter_as(1, 0);
    assert_int_equal(futex_lock_pi(ADDR(word), NSEC_MAX, 0, false), 0);
    for (uintptr_t tid = 2; tid <= 5; tid++) {
        by_tid[tid] = NULL;
        start(&j[tid - 2], be_served, (void *)tid);
        until_blocked((int)tid);
    }
    assert_int_equal(futex_lock_pi(ADDR(word), 1, 0, false), -EDEADLK);
    assert_int_equal(futex_unlock_pi(ADDR(word), 0), 0);
    join(j, 4);
    const int expected[] = {5, 4, 2, 3};
    assert_memory_equal(served, expected, sizeof expected);
}

// An owner that ends: the next one is told. One that gives up takes back what it has lent.
static void end_as_owner(void *arg)
{
    enter_as(6, 0);
    assert_int_equal(futex_lock_pi(ADDR(word), NSEC_MAX, 0, false), 0);
    while (!READ_ONCE(by_tid[1]->pi_blocked))
        host_yield();
    assert_int_equal(futex_wake(ADDR(word), 1, ALL, 0), -EINVAL);
    futex_exit(thread_current(), true);
}
static void owner_ends(void **state)
{
    struct job j[1];
    word = 0;
    enter_as(1, 0);
    start(j, end_as_owner, NULL);
    while (!(READ_ONCE(word) & FUTEX_TID_MASK))
        host_yield();
    assert_int_equal(futex_lock_pi(ADDR(word), time_realtime() + NSEC_PER_SEC, FUTEX_REALTIME, false), 0);
    assert_int_equal(word, 1 | FUTEX_WAITERS | FUTEX_OWNER_DIED);
    join(j, 1);
    by_tid[6] = NULL;
    assert_int_equal(futex_unlock_pi(ADDR(word), 0), 0);
    assert_int_equal(word, 0);
    word = 6;
    assert_int_equal(futex_lock_pi(ADDR(word), NSEC_MAX, 0, false), -ESRCH);
}

// --- Wait queues ---

static struct waitq queue = WAITQ_INIT(queue);
static unsigned tokens;
static bool take_token(void)
{
    unsigned n = READ_ONCE(tokens);
    while (n)
        if (__atomic_compare_exchange_n(&tokens, &n, n - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return true;
    return false;
}
static void eat_tokens(void *arg)
{
    for (int i = 0; i < 2000; i++)
        wait_event(&queue, take_token());
}
static void wait_queues(void **state)
{
    struct job j[4];
    for (int i = 0; i < 4; i++)
        start(&j[i], eat_tokens, NULL);
    for (int i = 0; i < 8000; i++) {
        atomic_add(&tokens, 1);
        waitq_wake_all(&queue);
        if (i % 64 == 0)
            host_yield();
    }
    join(j, 4);
    assert_int_equal(tokens, 0);
    assert_false(waitq_active(&queue));
    assert_int_equal(wait_event_until(&queue, false, time_monotonic() + 1000000, true), -ETIMEDOUT);
}

static void exclusive_wait(void *arg)
{
    struct waiter w;
    waiter_init(&w);
    w.exclusive = arg != NULL;
    atomic_add(&waiting, 1);
    waitq_prepare(&queue, &w, false);
    thread_sleep_until(NSEC_MAX);
    waitq_finish(&w);
}
static void exclusive_waiters(void **state)
{
    struct job j[5];
    waiting = 0;
    for (uintptr_t i = 0; i < 5; i++)
        start(&j[i], exclusive_wait, (void *)(i % 2)); // 3 for all, 2 exclusive
    until_waiting(5);
    assert_int_equal(waitq_wake_key(&queue, 1, 0), 4);
    assert_int_equal(waitq_wake_one(&queue), 1);
    assert_int_equal(waitq_wake_one(&queue), 0);
    join(j, 5);
}

// --- Sleeping locks ---

static struct mutex mutex = MUTEX_INIT(mutex);
static struct rwmutex rwmutex;
static long in_a, in_b;
static void lock_and_count(void *arg)
{
    for (int i = 0; i < 3000; i++) {
        mutex_lock(&mutex);
        assert_true(mutex_held(&mutex));
        counter++;
        mutex_unlock(&mutex);
        if (i % 4 == 0) {
            rwmutex_write_lock(&rwmutex);
            in_a++;
            in_b++;
            rwmutex_write_unlock(&rwmutex);
        } else {
            rwmutex_read_lock(&rwmutex);
            assert_int_equal(READ_ONCE(in_a), READ_ONCE(in_b));
            rwmutex_read_unlock(&rwmutex);
        }
    }
}
static void sleeping_locks(void **state)
{
    struct job j[5];
    counter = 0;
    rwmutex_init(&rwmutex);
    for (int i = 0; i < 5; i++)
        start(&j[i], lock_and_count, NULL);
    join(j, 5);
    assert_int_equal(counter, 15000);
    assert_int_equal(in_a, 5 * 750);
    assert_true(mutex_trylock(&mutex));
    assert_false(mutex_trylock(&mutex));
    mutex_unlock(&mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments),   cmocka_unit_test(mutex_of_futexes),  cmocka_unit_test(short_lives),
        cmocka_unit_test(bitsets),     cmocka_unit_test(requeue),           cmocka_unit_test(wake_op),
        cmocka_unit_test(robust),      cmocka_unit_test(wait_queues),       cmocka_unit_test(exclusive_waiters),
        cmocka_unit_test(sleeping_locks), cmocka_unit_test(priority_chain),    cmocka_unit_test(priority_order),
        cmocka_unit_test(owner_ends),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
