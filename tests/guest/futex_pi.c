// Futexes with priority inheritance: FUTEX_LOCK_PI and its family by themselves, then the mutexes and condition variables that the
// C library makes of them: robust, shared between processes, with time limits; futex_waitv.
// build: musl glibc
// cpus: 1 2 4
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

// Of <linux/futex.h>, which musl's compiler does not find.
enum {
    FUTEX_WAIT, FUTEX_WAKE, FUTEX_FD, FUTEX_REQUEUE, FUTEX_LOCK_PI = 6, FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI,
    FUTEX_WAIT_REQUEUE_PI = 11, FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI2, P = 128, FUTEX_CLOCK_REALTIME = 256,
};
#define FUTEX_WAITERS 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK 0x3fffffffu
#define FUTEX_32 2
struct futex_waitv {
    uint64_t val, uaddr;
    uint32_t flags, __reserved;
};

static uint32_t word, other;
static volatile int phase, count;

static long futex(uint32_t *at, int op, uint32_t value, void *timeout, uint32_t *at2, uint32_t value3)
{
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}

static int me(void)
{
    return (int)syscall(SYS_gettid);
}

static void wait_for(volatile int *what, int value)
{
    while (*what != value)
        usleep(500);
}

static void settle(void)
{
    usleep(10000);
    settle_threads();
}

static struct timespec later(clockid_t clock, long ms)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

// --- the calls ---

static void *holder(void *arg)
{
    show_result("holder: lock", futex(arg, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    HOLDS((*(uint32_t *)arg & FUTEX_TID_MASK) == (uint32_t)me());
    phase = 1;
    wait_for(&phase, 2);
    HOLDS(*(uint32_t *)arg == ((uint32_t)me() | FUTEX_WAITERS));
    show_result("holder: unlock", futex(arg, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    return NULL;
}

static void test_errors(void)
{
    struct timespec past = {1, 0}, bad = {0, 1000000000};
    section("errors");
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)((char *)&word + 1), FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)8, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)8, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex((uint32_t *)8, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, (void *)8, NULL, 0));
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, &bad, NULL, 0));
    SHOW(futex(&word, FUTEX_LOCK_PI | P | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_WAIT | P | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_FD, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, &past, NULL, 0)); // free: the time does not matter
    HOLDS(word == (uint32_t)me());
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(word);
    word = FUTEX_OWNER_DIED; // a robust one whose owner has ended
    SHOW(futex(&word, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0));
    HOLDS(word == ((uint32_t)me() | FUTEX_OWNER_DIED));
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(word);
    word = 0x3ffffff0; // nobody's number
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    HOLDS(word == (0x3ffffff0 | FUTEX_WAITERS));
    word = 0;
    SHOW(futex(&word, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, &word, 0));
    SHOW(futex(&word, FUTEX_WAIT_REQUEUE_PI | P, 1, NULL, &other, 0));
    SHOW(futex(&word, FUTEX_WAIT_REQUEUE_PI | P, 0, &past, &other, 0));
    SHOW(futex(&word, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, (uint32_t *)9, 0));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE_PI | P, 2, (void *)1, &other, 0));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)-1, &other, 0));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &word, 0));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &other, 5));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &other, 0));
    SHOW(other);
    uint32_t *readonly = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SHOW(futex(readonly, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    SHOW(futex(readonly, FUTEX_WAKE, 1, NULL, NULL, 0));
    munmap(readonly, 4096);
    SHOW(futex(readonly, FUTEX_WAKE, 1, NULL, NULL, 0));
}

static void test_contended(void)
{
    pthread_t t;
    struct timespec past = {1, 0};
    section("contended");
    word = phase = 0;
    pthread_create(&t, NULL, holder, &word);
    wait_for(&phase, 1);
    fflush(stdout);
    SHOW(futex(&word, FUTEX_TRYLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, &past, NULL, 0));
    struct timespec soon = later(CLOCK_REALTIME, 20);
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, &soon, NULL, 0));
    soon = later(CLOCK_MONOTONIC, 20);
    SHOW(futex(&word, FUTEX_LOCK_PI2 | P, 0, &soon, NULL, 0));
    soon = later(CLOCK_REALTIME, 20);
    SHOW(futex(&word, FUTEX_LOCK_PI2 | P | FUTEX_CLOCK_REALTIME, 0, &soon, NULL, 0));
    phase = 2;
    long result = futex(&word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    pthread_join(t, NULL);
    show_result("lock", result);
    HOLDS((word & FUTEX_TID_MASK) == (uint32_t)me());
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(word);
}

// --- order, mixing, deadlock ---

static uint32_t queue_word;
static int order[4];

static void *in_turn(void *arg)
{
    phase++;
    futex(&queue_word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    order[count++] = (int)(long)arg;
    futex(&queue_word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0);
    return NULL;
}

static void *plain_waiter(void *arg)
{
    phase = 1;
    show_result("plain waiter", futex(arg, FUTEX_WAIT | P, 0, NULL, NULL, 0));
    return NULL;
}

static uint32_t chain[3];

static void *chained(void *arg)
{
    long i = (long)arg;
    futex(&chain[i], FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    phase++;
    wait_for(&phase, 2);
    if (futex(&chain[i - 1], FUTEX_LOCK_PI | P, 0, NULL, NULL, 0))
        printf("chained: %s\n", errno_name(errno));
    futex(&chain[i - 1], FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0);
    futex(&chain[i], FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0);
    return NULL;
}

static void test_order(void)
{
    pthread_t t[4];
    section("first come, first served");
    phase = count = 0;
    futex(&queue_word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    for (int i = 0; i < 4; i++) {
        pthread_create(&t[i], NULL, in_turn, (void *)(long)i);
        wait_for(&phase, i + 1);
        settle();
    }
    SHOW(futex(&queue_word, FUTEX_WAKE | P, 1, NULL, NULL, 0)); // not this way
    SHOW(futex(&queue_word, FUTEX_REQUEUE | P, 1, (void *)1, &other, 0));
    SHOW(futex(&queue_word, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &other, queue_word));
    SHOW(futex(&queue_word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 4; i++)
        printf("%d ", order[i]);
    printf("\n");
    SHOW(queue_word & FUTEX_TID_MASK);

    section("a plain waiter in the way");
    word = phase = 0;
    pthread_create(t, NULL, plain_waiter, &word);
    wait_for(&phase, 1);
    settle();
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &other, 0));
    long woken = futex(&word, FUTEX_WAKE | P, 1, NULL, NULL, 0);
    pthread_join(t[0], NULL);
    SHOW(woken);

    section("deadlock");
    phase = 0;
    futex(&chain[0], FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    for (long i = 1; i < 3; i++)
        pthread_create(&t[i], NULL, chained, (void *)i);
    while (!(*(volatile uint32_t *)&chain[0] & *(volatile uint32_t *)&chain[1] & FUTEX_WAITERS))
        usleep(500);
    settle();
    SHOW(futex(&chain[2], FUTEX_LOCK_PI | P, 0, NULL, NULL, 0)); // 2 waits for 1, 1 for us
    SHOW(futex(&chain[0], FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    for (int i = 1; i < 3; i++)
        pthread_join(t[i], NULL);
}

// --- an owner that ends, signals ---

static void *ends_with_it(void *arg)
{
    futex(arg, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    phase = 1;
    wait_for(&phase, 2);
    settle();
    return NULL;
}

static volatile int handled;
static void on_signal(int sig)
{
    handled = sig;
}

static void *locks_and_waits(void *arg)
{
    phase = me();
    show_result("lock", futex(arg, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    show_result("unlock", futex(arg, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    return NULL;
}

static void test_end(void)
{
    pthread_t t;
    section("the owner ends");
    word = phase = 0;
    pthread_create(&t, NULL, ends_with_it, &word);
    wait_for(&phase, 1);
    phase = 2;
    SHOW(futex(&word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    HOLDS((word & ~FUTEX_WAITERS) == ((uint32_t)me() | FUTEX_OWNER_DIED));
    pthread_join(t, NULL);
    SHOW(futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(word);

    section("a signal: it waits on, SA_RESTART or not");
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    phase = 0;
    futex(&word, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0);
    pthread_create(&t, NULL, locks_and_waits, &word);
    while (!phase)
        usleep(500);
    settle();
    pthread_kill(t, SIGUSR1);
    settle();
    SHOW(handled);
    long result = futex(&word, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0);
    pthread_join(t, NULL); // which prints
    SHOW(result);
}

// --- condition variables by hand ---

static uint32_t cond, mutex;

static void *cond_waiter(void *arg)
{
    __atomic_fetch_add(&phase, 1, __ATOMIC_SEQ_CST);
    long result = futex(&cond, FUTEX_WAIT_REQUEUE_PI | P, 0, NULL, &mutex, 0);
    int own = (mutex & FUTEX_TID_MASK) == (uint32_t)me();
    if (result || !own)
        printf("waiter: %ld %s, %s\n", result, errno_name(errno), own ? "owner" : "not the owner");
    count++;
    futex(&mutex, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0);
    return arg;
}

static void test_requeue(void)
{
    pthread_t t[4];
    section("requeue");
    phase = count = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, cond_waiter, NULL);
    wait_for(&phase, 4);
    settle();
    SHOW(futex(&cond, FUTEX_WAKE | P, 1, NULL, NULL, 0));
    SHOW(futex(&cond, FUTEX_REQUEUE | P, 1, (void *)1, &other, 0));
    SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)1, &other, 0));
    SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)0, &mutex, 0)); // it is free
    settle();
    SHOW(count);
    SHOW(futex(&mutex, FUTEX_LOCK_PI | P, 0, NULL, NULL, 0));
    SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI | P, 1, (void *)100, &mutex, 0));
    settle();
    SHOW(count);
    HOLDS(mutex == ((uint32_t)me() | FUTEX_WAITERS));
    SHOW(futex(&mutex, FUTEX_UNLOCK_PI | P, 0, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(count);
    SHOW(mutex & FUTEX_TID_MASK);
}

// --- the C library's ---

static struct shared {
    pthread_mutex_t m;
    pthread_cond_t c;
    pthread_barrier_t b;
    volatile int value, turn;
} *sh;

static void init(bool robust, bool shared)
{
    pthread_mutexattr_t a;
    pthread_condattr_t ca;
    memset((void *)sh, 0, sizeof *sh);
    pthread_mutexattr_init(&a);
    SHOW(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    if (robust)
        SHOW(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    pthread_mutexattr_setpshared(&a, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    SHOW(pthread_mutex_init(&sh->m, &a));
    pthread_condattr_init(&ca);
    pthread_condattr_setpshared(&ca, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    pthread_cond_init(&sh->c, &ca);
}

static void *adder(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&sh->m);
        int v = sh->value;
        if (i % 64 == 0)
            sched_yield();
        sh->value = v + 1;
        pthread_mutex_unlock(&sh->m);
    }
    return arg;
}

static void *turns(void *arg)
{
    int mine = (int)(long)arg;
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&sh->m);
        while (sh->turn != mine)
            pthread_cond_wait(&sh->c, &sh->m);
        sh->turn = (mine + 1) % 3;
        pthread_cond_broadcast(&sh->c);
        pthread_mutex_unlock(&sh->m);
    }
    return arg;
}

static void *dies(void *arg)
{
    pthread_mutex_lock(&sh->m);
    sh->value = 1;
    settle();
    return arg;
}

static void in_child(void *(*fn)(void *), void *arg)
{
    fflush(stdout);
    if (fork() == 0) {
        fn(arg);
        _exit(0);
    }
}

static void test_library(bool shared)
{
    pthread_t t[4];
    int status;
    section(shared ? "mutexes of several processes" : "mutexes of several threads");
    init(false, shared);
    for (int i = 0; i < 4; i++)
        shared ? in_child(adder, NULL) : (void)pthread_create(&t[i], NULL, adder, NULL);
    for (int i = 0; i < 4; i++)
        shared ? (void)wait(&status) : (void)pthread_join(t[i], NULL);
    SHOW(sh->value);
    SHOW(pthread_mutex_lock(&sh->m));
    SHOW(pthread_mutex_lock(&sh->m));
    SHOW(pthread_mutex_unlock(&sh->m));
    SHOW(pthread_mutex_unlock(&sh->m));
    for (long i = 0; i < 3; i++)
        shared ? in_child(turns, (void *)i) : (void)pthread_create(&t[i], NULL, turns, (void *)i);
    for (int i = 0; i < 3; i++)
        shared ? (void)wait(&status) : (void)pthread_join(t[i], NULL);
    SHOW(sh->turn);
    struct timespec soon = later(CLOCK_REALTIME, 20);
    pthread_mutex_lock(&sh->m);
    SHOW(pthread_cond_timedwait(&sh->c, &sh->m, &soon));
    pthread_mutex_unlock(&sh->m);

    section(shared ? "robust, several processes" : "robust, several threads");
    init(true, shared);
    for (int i = 0; i < 2; i++) {
        sh->value = 0;
        shared ? in_child(dies, NULL) : (void)pthread_create(&t[0], NULL, dies, NULL);
        wait_for(&sh->value, 1);
        if (i == 1) { // the owner has ended when we come
            shared ? (void)wait(&status) : (void)pthread_join(t[0], NULL);
        }
        SHOW(pthread_mutex_lock(&sh->m));
        SHOW(pthread_mutex_consistent(&sh->m));
        SHOW(pthread_mutex_unlock(&sh->m));
        if (i == 0)
            shared ? (void)wait(&status) : (void)pthread_join(t[0], NULL);
        SHOW(pthread_mutex_lock(&sh->m));
        SHOW(pthread_mutex_unlock(&sh->m));
    }
}

// --- several words ---

static uint32_t words[4];
static void *waits_for_any(void *arg)
{
    struct futex_waitv v[4];
    for (int i = 0; i < 4; i++)
        v[i] = (struct futex_waitv){.uaddr = (uintptr_t)&words[i], .flags = FUTEX_32 | P};
    phase++;
    show_result("any", syscall(449, v, 4, 0, NULL, 0));
    return arg;
}

static void test_waitv(void)
{
    section("futex_waitv");
    struct futex_waitv v[2] = {{.uaddr = (uintptr_t)&words[0], .flags = FUTEX_32 | P}, {.uaddr = (uintptr_t)&words[1], .flags = FUTEX_32}};
    struct timespec soon = later(CLOCK_MONOTONIC, 20), bad = {0, -1};
    SHOW(syscall(449, v, 0, 0, NULL, 0));
    SHOW(syscall(449, v, 129, 0, NULL, 0));
    SHOW(syscall(449, NULL, 1, 0, NULL, 0));
    SHOW(syscall(449, v, 2, 1, NULL, 0));
    SHOW(syscall(449, 8, 2, 0, NULL, 0));
    SHOW(syscall(449, v, 2, 0, &soon, 77));
    SHOW(syscall(449, v, 2, 0, &bad, CLOCK_MONOTONIC));
    SHOW(syscall(449, v, 2, 0, 8, CLOCK_MONOTONIC));
    v[1].val = 5;
    SHOW(syscall(449, v, 2, 0, NULL, 0));
    v[1].val = 0;
    v[1].__reserved = 1;
    SHOW(syscall(449, v, 2, 0, NULL, 0));
    v[1].__reserved = 0;
    v[1].uaddr = 9;
    SHOW(syscall(449, v, 2, 0, NULL, 0));
    v[1].uaddr = (uintptr_t)&words[1];
    SHOW(syscall(449, v, 2, 0, &soon, CLOCK_MONOTONIC));
    soon = later(CLOCK_REALTIME, 20);
    SHOW(syscall(449, v, 2, 0, &soon, CLOCK_REALTIME));
    pthread_t t;
    for (int i = 0; i < 4; i++) {
        phase = 0;
        pthread_create(&t, NULL, waits_for_any, NULL);
        wait_for(&phase, 1);
        settle();
        long woken = futex(&words[i], FUTEX_WAKE | P, 5, NULL, NULL, 0);
        pthread_join(t, NULL);
        SHOW(woken);
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_errors();
    test_contended();
    test_order();
    test_end();
    test_requeue();
    test_library(false);
    test_library(true);
    test_waitv();
    return 0;
}
