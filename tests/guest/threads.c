// POSIX threads: create and join, mutexes under contention, conditions, barriers, read-write locks, semaphores, once, TLS,
// cancellation, detached threads, many in turn, and stacks of different size.
// build: musl glibc musl-pie
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

enum { THREADS = 8, ROUNDS = 20000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t semaphore;
static long counter, atomic_counter, once_count, barrier_serial, stage_errors;
static int stage[THREADS], turn;
static __thread long tls_counter = 7;
static __thread char tls_array[1000];
static pthread_key_t key;
static int destroyed;

static void *count(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
        __atomic_fetch_add(&atomic_counter, 1, __ATOMIC_RELAXED);
        tls_counter++;
        if (i % 5000 == 0)
            sched_yield();
    }
    tls_array[999] = 1;
    return (void *)(tls_counter + (long)arg);
}

static void *meet(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < 200; i++) {
        stage[me] = i;
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_fetch_add(&barrier_serial, 1, __ATOMIC_RELAXED);
        for (int j = 0; j < THREADS; j++)
            if (stage[j] != i)
                __atomic_fetch_add(&stage_errors, 1, __ATOMIC_RELAXED);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void *take_turns(void *arg)
{
    int me = (int)(long)arg;
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != me)
            pthread_cond_wait(&cond, &mutex);
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void count_once(void)
{
    once_count++;
}

static void destroy(void *value)
{
    __atomic_fetch_add(&destroyed, (int)(long)value, __ATOMIC_RELAXED);
}

static void *mixed(void *arg)
{
    pthread_once(&once, count_once);
    pthread_setspecific(key, arg);
    for (int i = 0; i < 500; i++) {
        if (i % 4) {
            pthread_rwlock_rdlock(&rwlock);
            if (counter % 2)
                __atomic_fetch_add(&stage_errors, 1, __ATOMIC_RELAXED);
        } else {
            pthread_rwlock_wrlock(&rwlock);
            counter++;
            counter++;
        }
        pthread_rwlock_unlock(&rwlock);
        sem_wait(&semaphore);
        sem_post(&semaphore);
    }
    return NULL;
}

static void *sleep_forever(void *arg)
{
    struct timespec hour = {3600, 0};
    nanosleep(&hour, NULL);
    return arg;
}

static void *use_stack(void *arg)
{
    volatile char big[200000];
    for (size_t i = 0; i < sizeof big; i += 1000)
        big[i] = (char)i;
    return (void *)((long)arg + big[1000]);
}

static void *detached(void *arg)
{
    pthread_mutex_lock(&mutex);
    ++*(int *)arg;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void all(const char *name, void *(*body)(void *))
{
    pthread_t t[THREADS];
    long sum = 0;
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, body, (void *)i))
            give_up("pthread_create");
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(t[i], &result);
        sum += (long)result;
    }
    printf("%s: results %ld\n", name, sum);
    fflush(stdout);
}

int main(void)
{
    pthread_t t;
    void *result;

    all("contention", count);
    printf("counter %ld %ld tls here %ld %d\n", counter, atomic_counter, tls_counter, tls_array[999]);
    pthread_barrier_init(&barrier, NULL, THREADS);
    all("barrier", meet);
    printf("serial %ld errors %ld\n", barrier_serial, stage_errors);
    all("condition", take_turns);
    printf("turn %d\n", turn);
    sem_init(&semaphore, 0, 3);
    pthread_key_create(&key, destroy);
    counter = 0;
    all("mixed", mixed);
    printf("once %ld counter %ld errors %ld destroyed %d\n", once_count, counter, stage_errors, destroyed);

    for (int i = 0; i < 300; i++) {
        if (pthread_create(&t, NULL, detached, &turn) || pthread_join(t, NULL))
            give_up("thread %d", i);
    }
    printf("one after another: %d\n", turn);

    pthread_create(&t, NULL, sleep_forever, NULL);
    usleep(10000);
    SHOW(pthread_cancel(t));
    SHOW(pthread_join(t, &result));
    HOLDS(result == PTHREAD_CANCELED);

    pthread_attr_t attr;
    pthread_attr_init(&attr);
    SHOW(pthread_attr_setstacksize(&attr, 1 << 20));
    pthread_create(&t, &attr, use_stack, (void *)100);
    pthread_join(t, &result);
    printf("%ld\n", (long)result);

    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int done = 0;
    for (int i = 0; i < 20; i++)
        if (pthread_create(&t, &attr, detached, &done))
            give_up("detached %d", i);
    pthread_mutex_lock(&mutex);
    while (done < 20)
        pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    printf("detached %d\n", done);

    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += 30000000;
    if (deadline.tv_nsec >= 1000000000)
        deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    HOLDS(pthread_cond_timedwait(&cond, &mutex, &deadline) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    return 0;
}
