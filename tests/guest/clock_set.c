// What Linux lets only the administrator do, so it is run on Knarr alone: waits until a time of day when the clock is set, and
// a mutex that lends its waiter's real-time priority to its owner.
// runner: none
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>

static uint32_t word;

static void move_clock(long seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += seconds;
    SHOW(clock_settime(CLOCK_REALTIME, &t));
}

static void *later(void *seconds)
{
    usleep(50000);
    move_clock((long)seconds);
    return NULL;
}

static void *shift_later(void *arg)
{
    usleep(50000);
    struct timex x = {.modes = ADJ_SETOFFSET, .time = {600, 0}};
    SHOW(adjtimex(&x) >= 0);
    return arg;
}

static void in_a_while(pthread_t *t, long seconds)
{
    pthread_create(t, NULL, later, (void *)seconds);
}

static void test_clock(void)
{
    uint64_t ticks = 0;
    pthread_t t;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct itimerspec in_1000 = {.it_value = {now.tv_sec + 1000, 0}}, past = {.it_value = {1, 0}};
    int told = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK), plain = timerfd_create(CLOCK_REALTIME, 0);
    SHOW(timerfd_settime(told, TFD_TIMER_ABSTIME | 2, &in_1000, NULL)); // TFD_TIMER_CANCEL_ON_SET
    SHOW(timerfd_settime(plain, TFD_TIMER_ABSTIME, &in_1000, NULL));
    in_a_while(&t, 2000);
    long n = read(plain, &ticks, 8);
    pthread_join(t, NULL);
    SHOW(n);
    SHOW(ticks);
    struct pollfd p = {told, POLLIN, 0};
    SHOW(poll(&p, 1, 0));
    SHOW(read(told, &ticks, 8));
    SHOW(read(told, &ticks, 8));
    move_clock(-10);
    SHOW(timerfd_settime(told, TFD_TIMER_ABSTIME | 2, &past, NULL));
    SHOW(read(told, &ticks, 8));
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += 500;
    in_a_while(&t, 600);
    n = syscall(SYS_futex, &word, 9 | 128 | 256, 0, &now, NULL, ~0U);
    int e = errno;
    pthread_join(t, NULL);
    printf("futex: %ld %s\n", n, errno_name(e));
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += 500;
    in_a_while(&t, 600);
    e = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &now, NULL);
    pthread_join(t, NULL);
    printf("clock_nanosleep = %d\n", e);
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += 500;
    pthread_create(&t, NULL, shift_later, NULL);
    e = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &now, NULL);
    pthread_join(t, NULL);
    printf("clock_nanosleep = %d\n", e);
    struct timex x = {.modes = ADJ_TAI, .constant = 37};
    struct timespec tai;
    SHOW(adjtimex(&x) >= 0);
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_TAI, &tai);
    SHOW(tai.tv_sec - now.tv_sec >= 37 && tai.tv_sec - now.tv_sec <= 40);
    SHOW(clock_settime(CLOCK_REALTIME, &(struct timespec){0, 1})); // before the boot was at 0
    SHOW(clock_settime(CLOCK_REALTIME, &(struct timespec){INT64_MAX, 0}));
}

// --- Three threads on one processor: the owner at 10, one that never sleeps at 20, the waiter at 30 ---

static pthread_mutex_t m;
static volatile int held, spinning, done;

static void become(int priority)
{
    struct sched_param s = {.sched_priority = priority};
    SHOW(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &s));
}

static void *owner(void *arg)
{
    become(10);
    pthread_mutex_lock(&m);
    held = 1;
    while (!spinning)
        usleep(1000);
    for (volatile int i = 0; i < 1000000; i++) // only somebody's priority gets us here
        ;
    pthread_mutex_unlock(&m);
    return arg;
}

static void *spinner(void *arg)
{
    become(20);
    spinning = 1;
    while (!done)
        ;
    return arg;
}

static void *waiter(void *arg)
{
    become(30);
    pthread_mutex_lock(&m);
    done = 1;
    pthread_mutex_unlock(&m);
    return arg;
}

static void test_inheritance(void)
{
    pthread_t t[3];
    pthread_mutexattr_t a;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    SHOW(sched_setaffinity(0, sizeof one, &one));
    pthread_mutexattr_init(&a);
    SHOW(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
    pthread_mutex_init(&m, &a);
    become(40); // until all are there
    pthread_create(&t[0], NULL, owner, NULL);
    while (!held)
        usleep(1000);
    pthread_create(&t[2], NULL, waiter, NULL);
    usleep(10000); // it waits
    pthread_create(&t[1], NULL, spinner, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    SHOW(done);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_clock();
    test_inheritance();
    return 0;
}
