// futex(2) itself: wait and wake, bitsets, requeue, wake_op, time limits relative and absolute, errors; set_tid_address and
// what the kernel does to the word when a thread ends; the robust list.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

enum { WAIT = 0, WAKE = 1, REQUEUE = 3, CMP_REQUEUE = 4, WAKE_OP = 5, WAIT_BITSET = 9, WAKE_BITSET = 10, PRIVATE = 128, REALTIME = 256 };

static uint32_t word, other;
static volatile int waiting, woken;
static uint32_t *private_and_shared;

static long futex(uint32_t *at, int op, uint32_t value, void *timeout, uint32_t *at2, uint32_t value3)
{
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}

static void *waiter(void *arg)
{
    __atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
    long result;
    if (arg)
        result = futex(&word, WAIT_BITSET | PRIVATE, 0, NULL, NULL, (uint32_t)(long)arg);
    else
        result = futex(&word, WAIT | PRIVATE, 0, NULL, NULL, 0);
    if (result)
        printf("waiter: %s\n", errno_name(errno));
    __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void start_waiters(pthread_t *t, int n, long bits)
{
    waiting = woken = 0;
    for (int i = 0; i < n; i++)
        pthread_create(&t[i], NULL, waiter, (void *)bits);
    while (waiting < n)
        usleep(1000);
    settle_threads(); // from there into the kernel
}

static void settle(void)
{
    usleep(10000);
    settle_threads();
}

static void *shared_waiter(void *arg)
{
    waiting = 1;
    futex(private_and_shared, WAIT, 0, NULL, NULL, 0);
    woken = 1;
    return arg;
}

static int raw_thread(void *arg)
{
    *(volatile int *)arg = 1;
    return 0;
}

int main(void)
{
    pthread_t t[8];
    struct timespec limit = {0, 30000000}, start, end;

    section("errors and time limits");
    SHOW(futex(&word, WAIT | PRIVATE, 1, NULL, NULL, 0));
    SHOW(futex(&word, WAKE | PRIVATE, 1, NULL, NULL, 0));
    SHOW(futex((uint32_t *)((char *)&word + 1), WAIT, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)8, WAIT, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)8, WAIT | PRIVATE, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)9, WAKE, 1, NULL, NULL, 0));
    SHOW(futex(&word, 99, 0, NULL, NULL, 0));
    SHOW(futex(&word, WAIT_BITSET, 0, NULL, NULL, 0));
    SHOW(futex(&word, WAKE_BITSET, 1, NULL, NULL, 0));
    SHOW(futex(&word, WAIT, 0, (void *)8, NULL, 0));
    SHOW(futex(&word, WAIT, 0, &(struct timespec){0, 1000000000}, NULL, 0));
    clock_gettime(CLOCK_MONOTONIC, &start);
    SHOW(futex(&word, WAIT | PRIVATE, 0, &limit, NULL, 0));
    clock_gettime(CLOCK_MONOTONIC, &end);
    HOLDS((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec >= 30000000);
    start = end;
    end.tv_nsec += 30000000;
    if (end.tv_nsec >= 1000000000)
        end.tv_sec++, end.tv_nsec -= 1000000000;
    SHOW(futex(&word, WAIT_BITSET | PRIVATE, 0, &end, NULL, ~0U)); // absolute
    clock_gettime(CLOCK_MONOTONIC, &end);
    HOLDS((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec >= 30000000);
    SHOW(futex(&word, WAIT_BITSET | PRIVATE, 0, &start, NULL, ~0U)); // in the past
    clock_gettime(CLOCK_REALTIME, &end);
    SHOW(futex(&word, WAIT_BITSET | PRIVATE | REALTIME, 0, &end, NULL, ~0U));

    section("wake");
    start_waiters(t, 5, 0);
    SHOW(futex(&word, WAKE | PRIVATE, 2, NULL, NULL, 0));
    settle();
    SHOW(woken);
    SHOW(futex(&word, WAKE | PRIVATE, 100, NULL, NULL, 0));
    for (int i = 0; i < 5; i++)
        pthread_join(t[i], NULL);
    SHOW(woken);
    SHOW(futex(&word, WAKE | PRIVATE, 100, NULL, NULL, 0));

    section("bitsets");
    start_waiters(t, 2, 0x0f);
    SHOW(futex(&word, WAKE_BITSET | PRIVATE, 100, NULL, NULL, 0xf0));
    SHOW(futex(&word, WAKE_BITSET | PRIVATE, 1, NULL, NULL, 0x18));
    SHOW(futex(&word, WAKE | PRIVATE, 100, NULL, NULL, 0));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);

    section("requeue");
    start_waiters(t, 4, 0);
    SHOW(futex(&word, CMP_REQUEUE | PRIVATE, 1, (void *)2, &other, 77));
    SHOW(futex(&word, CMP_REQUEUE | PRIVATE, 1, (void *)2, &other, 0));
    settle();
    SHOW(woken);
    SHOW(futex(&word, WAKE | PRIVATE, 100, NULL, NULL, 0));
    settle();
    SHOW(woken);
    SHOW(futex(&other, WAKE | PRIVATE, 100, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(woken);
    start_waiters(t, 3, 0);
    SHOW(futex(&word, REQUEUE | PRIVATE, 0, (void *)100, &other, 0));
    SHOW(futex(&other, WAKE | PRIVATE, 100, NULL, NULL, 0));
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);

    section("wake_op");
    start_waiters(t, 2, 0);
    other = 5;
    // other += 3; wake one at word; and, if other was 5, one at other.
    SHOW(futex(&word, WAKE_OP | PRIVATE, 1, (void *)1, &other, 1U << 28 | 0U << 24 | 3 << 12 | 5));
    SHOW(other);
    SHOW(futex(&word, WAKE | PRIVATE, 100, NULL, NULL, 0));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    other = 0;

    section("shared mapping");
    private_and_shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    waiting = woken = 0;
    pthread_create(t, NULL, shared_waiter, NULL);
    while (!waiting)
        usleep(1000);
    settle();
    SHOW(futex(private_and_shared, WAKE, 1, NULL, NULL, 0));
    pthread_join(t[0], NULL);
    SHOW(woken);

    section("a thread's end");
    static char stack[65536] __attribute__((aligned(16)));
    static volatile int tid_word = -1, parent_tid, ran;
    int tid = clone(raw_thread, stack + sizeof stack,
                    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |
                        CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID,
                    (void *)&ran, &parent_tid, NULL, &tid_word);
    HOLDS(tid > 0);
    HOLDS(parent_tid == tid);
    int now;
    while ((now = tid_word) != 0)
        futex((uint32_t *)&tid_word, WAIT, (uint32_t)now, NULL, NULL, 0); // the kernel wakes without PRIVATE
    SHOW(ran);
    SHOW(tid_word);
    HOLDS(syscall(SYS_set_tid_address, &tid_word) == syscall(SYS_gettid));

    section("robust list, errors of clone");
    void *head;
    size_t size;
    SHOW(syscall(SYS_get_robust_list, 0, &head, &size));
    SHOW(size);
    SHOW(syscall(SYS_set_robust_list, head, 23));
    SHOW(syscall(SYS_get_robust_list, 0, 8, 8));
    SHOW(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
    SHOW(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    return 0;
}
