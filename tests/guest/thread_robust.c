// Robust and priority-less special mutexes: recursive, error-checking, robust ones whose owner dies, timed locks.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <time.h>

static pthread_mutex_t robust, checking, recursive;

static void *die_holding(void *arg)
{
    pthread_mutex_lock(&robust);
    return arg;
}

static void *wait_for_it(void *arg)
{
    int result = pthread_mutex_lock(&robust);
    printf("waiter: %s\n", result ? errno_name(result) : "locked");
    if (result == EOWNERDEAD)
        pthread_mutex_consistent(&robust);
    pthread_mutex_unlock(&robust);
    return arg;
}

static void *die_later_holding(void *arg)
{
    pthread_mutex_lock(&robust);
    *(volatile int *)arg = 1;
    usleep(30000);
    return NULL;
}

static void *unlock_others(void *arg)
{
    printf("unlock of another's: %s\n", errno_name(pthread_mutex_unlock(&checking)));
    printf("trylock: %s\n", errno_name(pthread_mutex_trylock(&checking)));
    return arg;
}

int main(void)
{
    pthread_t t, t2;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);

    pthread_create(&t, NULL, die_holding, NULL);
    pthread_join(t, NULL);
    printf("%s\n", errno_name(pthread_mutex_lock(&robust)));
    SHOW(pthread_mutex_consistent(&robust));
    SHOW(pthread_mutex_unlock(&robust));
    SHOW(pthread_mutex_lock(&robust));
    SHOW(pthread_mutex_unlock(&robust));

    volatile int locked = 0;
    pthread_create(&t, NULL, die_later_holding, (void *)&locked);
    while (!locked)
        usleep(1000);
    pthread_create(&t2, NULL, wait_for_it, NULL);
    pthread_join(t, NULL);
    pthread_join(t2, NULL);
    SHOW(pthread_mutex_lock(&robust));
    SHOW(pthread_mutex_unlock(&robust));

    pthread_create(&t, NULL, die_holding, NULL);
    pthread_join(t, NULL);
    printf("%s\n", errno_name(pthread_mutex_lock(&robust)));
    SHOW(pthread_mutex_unlock(&robust)); // without making it consistent
    printf("%s\n", errno_name(pthread_mutex_lock(&robust)));

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checking, &attr);
    SHOW(pthread_mutex_lock(&checking));
    printf("%s\n", errno_name(pthread_mutex_lock(&checking)));
    pthread_create(&t, NULL, unlock_others, NULL);
    pthread_join(t, NULL);

    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &attr);
    SHOW(pthread_mutex_lock(&recursive));
    SHOW(pthread_mutex_lock(&recursive));
    SHOW(pthread_mutex_unlock(&recursive));
    SHOW(pthread_mutex_unlock(&recursive));
    printf("%s\n", errno_name(pthread_mutex_unlock(&recursive)));

    struct timespec deadline, start, end;
    clock_gettime(CLOCK_REALTIME, &deadline);
    clock_gettime(CLOCK_MONOTONIC, &start);
    deadline.tv_nsec += 40000000;
    if (deadline.tv_nsec >= 1000000000)
        deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&plain);
    printf("%s\n", errno_name(pthread_mutex_timedlock(&plain, &deadline)));
    clock_gettime(CLOCK_MONOTONIC, &end);
    HOLDS((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000 >= 39);
    return 0;
}
