// System V semaphores and message queues: all or nothing of semop, the order of waiters, undoing, which message is selected.
// link: kernel/ipc/ids.c kernel/ipc/sem.c kernel/ipc/sem_undo.c kernel/ipc/msg.c kernel/threads/lock.c kernel/threads/mutex.c
// link: kernel/threads/wait.c tests/unit/fake_host.c
// libs: -lpthread
// flags: -include tests/unit/fake_pause.h
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/ipc/msg.h"
#include "kernel/ipc/sem.h"
#include "kernel/memory/slab.h"
#include "tests/unit/fake_threads.h"
#include <linux/ipc.h>
#include <linux/msg.h>

void panic(const char *fmt, ...) { abort(); }
unsigned cpu_count = 2;
bool sched_may_spin(void) { return true; }
bool credentials_in_group(uint32_t gid) { return gid == 0; }
nsec_t time_realtime(void) { return time_monotonic(); }
void *slab_alloc(struct slab_cache *c) { return calloc(1, c->size); }
void slab_free(struct slab_cache *c, void *object) { free(object); }

static int allocations_left = -1; // -1: as many as one likes
static int live;
void *kzalloc(size_t size) {
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    atomic_add(&live, 1);
    return calloc(1, size);
}
void *kmalloc(size_t size) { return kzalloc(size); }
void kfree(void *p) {
    if (p)
        atomic_sub(&live, 1);
    free(p);
}

static int id;
static long operate(int n, const int (*ops)[3]) {
    struct sem_operation list[8];
    for (int i = 0; i < n; i++)
        list[i] = (struct sem_operation){(uint16_t)ops[i][0], (int16_t)ops[i][1], (int16_t)ops[i][2]};
    return sem_operate(id, list, (unsigned)n, NSEC_MAX);
}
#define OPS(...) operate(sizeof((int[][3]){__VA_ARGS__}) / sizeof(int[3]), (const int[][3]){__VA_ARGS__})
#define NOWAIT SEM_FLAG_NOWAIT
#define UNDO SEM_FLAG_UNDO
static long value(int n) { return sem_query(id, n, SEM_GET_VALUE); }

static void test_all_or_nothing(void **state) {
    id = (int)sem_get(IPC_PRIVATE, 3, 0600);
    assert_true(id >= 0);
    assert_int_equal(OPS({0, 2, 0}, {1, 1, 0}), 0);
    // The last operation cannot be done: the others leave no trace, nor does their undoing.
    assert_int_equal(OPS({0, -2, UNDO}, {1, 5, UNDO}, {2, -1, NOWAIT}), -EAGAIN);
    assert_int_equal(value(0), 2);
    assert_int_equal(value(1), 1);
    assert_int_equal(OPS({0, -1, 0}, {1, 32767, 0}), -ERANGE);
    assert_int_equal(value(0), 2);
    // One semaphore several times: each sees what the one before did.
    assert_int_equal(OPS({2, 0, 0}, {2, 3, 0}, {2, -3, 0}, {2, 0, 0}, {2, 1, 0}), 0);
    assert_int_equal(value(2), 1);
    assert_int_equal(OPS({2, -1, NOWAIT}, {2, -1, NOWAIT}), -EAGAIN);
    assert_int_equal(value(2), 1);
    assert_int_equal(OPS({3, 1, 0}), -EFBIG);
    sem_undo_end(&host_process);
    assert_int_equal(value(0), 2); // nothing was left to undo
    assert_int_equal(sem_remove(id), 0);
    assert_int_equal(OPS({0, 1, 0}), -EINVAL);
    assert_int_equal(sem_total(), 0);
}

static void test_undo(void **state) {
    id = (int)sem_get(IPC_PRIVATE, 2, 0600);
    assert_int_equal(OPS({0, 5, 0}), 0);
    assert_int_equal(OPS({0, -3, UNDO}, {1, 4, UNDO}), 0);
    assert_int_equal(OPS({1, -1, 0}), 0);
    sem_undo_end(&host_process);
    assert_int_equal(value(0), 5);
    assert_int_equal(value(1), 0); // 3 - 4 is cut off at nothing
    assert_int_equal(OPS({0, -1, UNDO}), 0);
    assert_int_equal(sem_set_value(id, 0, 9), 0); // forgets
    sem_undo_end(&host_process);
    assert_int_equal(value(0), 9);
    assert_int_equal(OPS({0, -1, UNDO}), 0);
    assert_int_equal(sem_remove(id), 0);
    id = (int)sem_get(IPC_PRIVATE, 1, 0600);
    int before = live;
    assert_int_equal(OPS({0, 1, UNDO}), 0); // drops the entry of the removed set
    assert_int_equal(live, before - 1);     // the set and its entry go, the new entry comes
    sem_undo_end(&host_process);
    assert_int_equal(value(0), 0);
    sem_remove(id);
}

static void test_no_memory(void **state) {
    allocations_left = 0;
    assert_int_equal(sem_get(IPC_PRIVATE, 1, 0600), -ENOMEM);
    allocations_left = -1;
    id = (int)sem_get(IPC_PRIVATE, 1, 0600);
    assert_true(id >= 0);
    for (int n = 0; n < 2; n++) {
        allocations_left = n;
        assert_int_equal(OPS({0, 1, UNDO}), -ENOMEM);
        assert_int_equal(value(0), 0);
    }
    allocations_left = -1;
    assert_int_equal(OPS({0, 1, UNDO}), 0);
    sem_undo_end(&host_process);
    sem_remove(id);
}

#define MANY 3000
static void test_keys(void **state) {
    static int ids[MANY];
    for (int i = 0; i < MANY; i++) {
        ids[i] = (int)sem_get(i * 0x10001 + 1, 1, IPC_CREAT | 0600);
        assert_true(ids[i] >= 0);
    }
    assert_int_equal(ipc_highest(&sem_ids), MANY - 1);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(sem_get(i * 0x10001 + 1, 1, IPC_CREAT | 0600), ids[i]);
    for (int i = 0; i < MANY; i += 2)
        assert_int_equal(sem_remove(ids[i]), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(sem_get(i * 0x10001 + 1, 1, 0600), i % 2 ? ids[i] : -ENOENT);
    // The lowest free slot is taken, with another identifier than before.
    int again = (int)sem_get(1, 1, IPC_CREAT | 0600);
    assert_int_equal(again % IPC_SLOTS, ids[0] % IPC_SLOTS);
    assert_int_not_equal(again, ids[0]);
    struct ipc_object *o = ipc_lock(&sem_ids, again);
    ipc_forget_key(&sem_ids, o);
    ipc_unlock(o);
    assert_int_equal(sem_get(1, 1, 0600), -ENOENT);
    assert_int_equal(sem_remove(again), 0);
    for (int i = 1; i < MANY; i += 2)
        assert_int_equal(sem_remove(ids[i]), 0);
    assert_int_equal(ipc_highest(&sem_ids), -1);
}

// --- Waiters, in threads of their own ---

static int finished[8], finish_count;
struct task {
    int number, change, second;
    long result;
};
static void *run_task(void *arg) {
    struct task *t = arg;
    host_thread_enter();
    t->result = t->second ? OPS({0, t->change, 0}, {1, t->second, 0}) : OPS({0, t->change, 0});
    finished[atomic_add(&finish_count, 1)] = t->number;
    host_thread_leave();
    return NULL;
}
static void until_waiting(int semaphore, long n) {
    while (sem_query(id, semaphore, SEM_GET_WAITING) != n)
        host_yield();
}

static void test_waiters(void **state) {
    id = (int)sem_get(IPC_PRIVATE, 2, 0600);
    struct task a = {1, -3, 0, 7}, b = {2, -1, 0, 7}, c = {3, -1, -1, 7};
    unsigned long ta = host_start(run_task, &a);
    until_waiting(0, 1);
    unsigned long tb = host_start(run_task, &b);
    until_waiting(0, 2);
    unsigned long tc = host_start(run_task, &c);
    until_waiting(0, 3);
    assert_int_equal(OPS({0, 1, 0}), 0); // enough for the second only
    host_join(tb);
    assert_int_equal(b.result, 0);
    assert_int_equal(value(0), 0);
    assert_int_equal(OPS({0, 2, 0}), 0); // the third needs more than that: now of the other semaphore
    assert_int_equal(value(0), 2);
    until_waiting(1, 1);
    assert_int_equal(OPS({1, 1, 0}), 0);
    host_join(tc);
    assert_int_equal(value(0), 1);
    assert_int_equal(OPS({0, 2, 0}), 0);
    host_join(ta);
    assert_int_equal(value(0), 0);
    struct task d = {4, -1, 0, 7};
    unsigned long td = host_start(run_task, &d);
    until_waiting(0, 1);
    assert_int_equal(sem_remove(id), 0);
    host_join(td);
    assert_int_equal(d.result, -EIDRM);
}

enum { ROUNDS = 3000, THREADS = 4 };
static int inside, together;
static void *hammer(void *arg) {
    host_thread_enter();
    for (int i = 0; i < ROUNDS; i++) {
        // Two forks at once, as the philosophers should take them.
        int left = (int)(intptr_t)arg, right = (left + 1) % THREADS;
        OPS({left, -1, 0}, {right, -1, 0});
        if (atomic_add(&inside, 1) >= THREADS / 2)
            together++;
        atomic_sub(&inside, 1);
        OPS({left, 1, 0}, {right, 1, 0});
    }
    host_thread_leave();
    return NULL;
}

static void test_philosophers(void **state) {
    id = (int)sem_get(IPC_PRIVATE, THREADS, 0600);
    for (int i = 0; i < THREADS; i++)
        sem_set_value(id, i, 1);
    unsigned long t[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        t[i] = host_start(hammer, (void *)i);
    for (int i = 0; i < THREADS; i++)
        host_join(t[i]);
    assert_int_equal(together, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(value(i), 1);
    sem_remove(id);
}

// --- Keys and identifiers ---

static void test_identifiers(void **state) {
    long a = sem_get(5, 1, IPC_CREAT | 0600);
    assert_int_equal(sem_get(5, 1, 0), a);
    assert_int_equal(sem_get(5, 2, 0), -EINVAL);
    assert_int_equal(sem_get(5, 1, IPC_CREAT | IPC_EXCL), -EEXIST);
    assert_int_equal(sem_get(6, 1, 0), -ENOENT);
    int slot = (int)a % IPC_SLOTS;
    assert_int_equal(sem_remove((int)a), 0);
    long b = sem_get(7, 1, IPC_CREAT | 0600);
    assert_int_equal(b % IPC_SLOTS, slot); // the slot comes again, the identifier does not
    assert_true(b != a);
    assert_int_equal(sem_query((int)a, 0, SEM_GET_VALUE), -EINVAL);
    long more[40];
    for (int i = 0; i < 40; i++)
        assert_true((more[i] = sem_get(IPC_PRIVATE, 1, 0600)) >= 0);
    assert_int_equal(ipc_highest(&sem_ids), more[39] % IPC_SLOTS);
    for (int i = 0; i < 40; i++)
        assert_int_equal(sem_remove((int)more[i]), 0);
    sem_remove((int)b);
    assert_int_equal(ipc_highest(&sem_ids), -1);
    struct sem_limits old = sem_limits;
    sem_limits.sets = 1;
    a = sem_get(IPC_PRIVATE, 1, 0600);
    assert_int_equal(sem_get(IPC_PRIVATE, 1, 0600), -ENOSPC);
    sem_remove((int)a);
    sem_limits.sets = 9;
    sem_limits.total = 10;
    a = sem_get(IPC_PRIVATE, 8, 0600);
    assert_int_equal(sem_get(IPC_PRIVATE, 3, 0600), -ENOSPC);
    sem_remove((int)a);
    sem_limits = old;
}

// --- Messages ---

static void test_selection(void **state) {
    struct list messages = LIST_INIT(messages);
    const long types[] = {5, 3, 7, 3, 1, 5};
    struct message *m[6];
    for (int i = 0; i < 6; i++) {
        m[i] = message_alloc(types[i], 0);
        list_push_back(&messages, &m[i]->link);
    }
    const struct {
        long type;
        unsigned flags;
        int expected; // -1: none
    } cases[] = {{0, 0, 0},  {5, 0, 0},  {3, 0, 1},  {7, 0, 2},          {4, 0, -1},          {5, MSG_EXCEPT, 1}, {3, MSG_EXCEPT, 0},
                 {-1, 0, 4}, {-4, 0, 4}, {-9, 0, 4}, {0, MSG_EXCEPT, 0}, {INT64_MIN, 0, 4}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        long type = cases[i].type;
        enum msg_mode mode = msg_mode(&type, cases[i].flags);
        struct message *found = msg_select(&messages, type, mode);
        assert_ptr_equal(found, cases[i].expected < 0 ? NULL : m[cases[i].expected]);
    }
    list_remove(&m[4]->link); // without the 1: the first one of the lowest type
    long type = -6;
    enum msg_mode mode = msg_mode(&type, 0);
    assert_ptr_equal(msg_select(&messages, type, mode), m[1]);
    type = -2;
    mode = msg_mode(&type, 0);
    assert_null(msg_select(&messages, type, mode));
    for (int i = 0; i < 6; i++)
        message_free(m[i]);
}

static int queue;
static void *receive_one(void *arg) {
    host_thread_enter();
    struct message *m = msg_receive(queue, (long)(intptr_t)arg, 100, 0);
    void *result = IS_ERR(m) ? m : (void *)m->type;
    if (!IS_ERR(m))
        message_free(m);
    host_thread_leave();
    return result;
}

static void test_hand_over(void **state) {
    queue = (int)msg_get(IPC_PRIVATE, 0600);
    unsigned long five = host_start(receive_one, (void *)5), removed = host_start(receive_one, (void *)77);
    host_usleep(30000);
    assert_int_equal(msg_send(queue, message_alloc(4, 10), 0), 0);
    assert_int_equal(msg_send(queue, message_alloc(5, 10), 0), 0);
    host_join(five);
    struct msg_status st;
    assert_int_equal(msg_status(queue, IPC_BY_ID, &st), queue);
    assert_int_equal(st.count, 1);
    assert_int_equal(st.bytes, 10);
    struct message *m = message_alloc(1, 20000);
    assert_int_equal(msg_send(queue, m, IPC_NOWAIT), -EAGAIN); // more than the queue holds
    message_free(m);
    assert_int_equal(PTR_ERR(msg_receive(queue, 0, 5, IPC_NOWAIT)), -E2BIG);
    assert_int_equal(PTR_ERR(msg_receive(queue, 9, 50, IPC_NOWAIT)), -ENOMSG);
    assert_int_equal(msg_remove(queue), 0);
    host_join(removed);
    unsigned messages, bytes;
    msg_totals(&messages, &bytes);
    assert_int_equal(messages, 0);
    assert_int_equal(bytes, 0);
}

static int setup(void **state) {
    host_thread_enter();
    host_process.pid = 42;
    host_process.cred.cap_effective = ~0UL;
    return 0;
}

static int teardown(void **state) {
    host_thread_leave();
    return live != 2; // the two tables of identifiers stay
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_or_nothing), cmocka_unit_test(test_undo),      cmocka_unit_test(test_keys),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_waiters),   cmocka_unit_test(test_philosophers),
        cmocka_unit_test(test_identifiers),    cmocka_unit_test(test_selection), cmocka_unit_test(test_hand_over),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
