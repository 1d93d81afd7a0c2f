// Clocks: the vDSO and the system call agree, nothing goes backwards, sleeping takes as long as it should, per-thread and
// per-process processor time, resolutions, errors.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

static int64_t ns(const struct timespec *t)
{
    return t->tv_sec * 1000000000LL + t->tv_nsec;
}

static int64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return ns(&t);
}

static int64_t raw(clockid_t clock)
{
    struct timespec t;
    syscall(SYS_clock_gettime, clock, &t);
    return ns(&t);
}

static void agree(const char *name, clockid_t clock, int64_t slack)
{
    bool good = true;
    for (int i = 0; i < 200; i++) {
        int64_t a = now(clock), b = raw(clock), c = now(clock);
        good = good && a - slack <= b && b - slack <= c;
    }
    printf("%s: %s\n", name, good ? "agree" : "DIFFER");
}

static void *watch(void *arg)
{
    int64_t last = now(CLOCK_MONOTONIC);
    for (int i = 0; i < 20000; i++) {
        int64_t t = now(CLOCK_MONOTONIC);
        if (t < last)
            *(int *)arg = 1;
        last = t;
    }
    return NULL;
}

static void slept(const char *name, int64_t start, int64_t wanted)
{
    int64_t took = now(CLOCK_MONOTONIC) - start;
    printf("%s: %s\n", name, took < wanted ? "TOO SHORT" : took > wanted + 3000000000LL ? "TOO LONG" : "long enough");
}

int main(void)
{
    agree("realtime", CLOCK_REALTIME, 0);
    agree("monotonic", CLOCK_MONOTONIC, 0);
    agree("raw", CLOCK_MONOTONIC_RAW, 0);
    agree("boottime", CLOCK_BOOTTIME, 0);
    agree("realtime coarse", CLOCK_REALTIME_COARSE, 0);
    agree("monotonic coarse", CLOCK_MONOTONIC_COARSE, 0);
    agree("process", CLOCK_PROCESS_CPUTIME_ID, 0);
    agree("thread", CLOCK_THREAD_CPUTIME_ID, 0);

    struct timeval tv;
    gettimeofday(&tv, NULL);
    int64_t real = now(CLOCK_REALTIME);
    HOLDS(real - (tv.tv_sec * 1000000000LL + tv.tv_usec * 1000) < 1000000000);
    HOLDS(real - (tv.tv_sec * 1000000000LL + tv.tv_usec * 1000) >= 0);
    HOLDS(time(NULL) - real / 1000000000 <= 1);
    HOLDS(real / 1000000000 > 1577836800 && real / 1000000000 < 4102444800);
    HOLDS(now(CLOCK_MONOTONIC) > 0);

    section("never backwards, on any CPU");
    pthread_t t[4];
    int backwards = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, watch, &backwards);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(backwards);

    section("sleeping");
    int64_t start = now(CLOCK_MONOTONIC);
    SHOW(nanosleep(&(struct timespec){0, 50000000}, NULL));
    slept("nanosleep", start, 50000000);
    start = now(CLOCK_MONOTONIC);
    SHOW(clock_nanosleep(CLOCK_REALTIME, 0, &(struct timespec){0, 20000000}, NULL));
    slept("clock_nanosleep", start, 20000000);
    start = now(CLOCK_MONOTONIC);
    struct timespec at = {(start + 30000000) / 1000000000, (start + 30000000) % 1000000000};
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL));
    slept("absolute", start, 30000000);
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL)); // past
    start = now(CLOCK_MONOTONIC);
    for (int i = 0; i < 20; i++)
        nanosleep(&(struct timespec){0, 1000}, NULL);
    slept("twenty short ones", start, 20000);
    SHOW(clock_nanosleep(77, 0, &at, NULL));
    SHOW(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &at, NULL));

    section("processor time");
    int64_t process = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID);
    start = now(CLOCK_MONOTONIC);
    volatile double x = 1;
    while (now(CLOCK_MONOTONIC) - start < 60000000)
        x = x * 1.01 + 1;
    int64_t spent = now(CLOCK_PROCESS_CPUTIME_ID) - process, spent_thread = now(CLOCK_THREAD_CPUTIME_ID) - thread;
    HOLDS(spent > 2000000 && spent_thread > 2000000);
    HOLDS(spent_thread <= spent + 1000000);
    process = now(CLOCK_PROCESS_CPUTIME_ID);
    nanosleep(&(struct timespec){0, 60000000}, NULL);
    HOLDS(now(CLOCK_PROCESS_CPUTIME_ID) - process < 50000000); // sleep does not count
    struct rusage usage;
    SHOW(getrusage(RUSAGE_SELF, &usage));
    HOLDS(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec > 2000);
    HOLDS(usage.ru_maxrss > 0 && usage.ru_minflt > 0);
    SHOW(getrusage(RUSAGE_THREAD, &usage));
    SHOW(getrusage(RUSAGE_CHILDREN, &usage));
    printf("children %ld\n", (long)usage.ru_maxrss);
    SHOW(getrusage(77, &usage));
    SHOW(syscall(SYS_getrusage, 0, 8));
    struct tms tms;
    HOLDS(times(&tms) != -1);
    printf("children %ld %ld\n", (long)tms.tms_cutime, (long)tms.tms_cstime);

    section("resolutions");
    struct timespec res;
    SHOW(clock_getres(CLOCK_REALTIME, &res));
    printf("%ld\n", ns(&res));
    SHOW(clock_getres(CLOCK_MONOTONIC, &res));
    printf("%ld\n", ns(&res));
    SHOW(clock_getres(CLOCK_PROCESS_CPUTIME_ID, &res));
    SHOW(clock_getres(CLOCK_MONOTONIC_COARSE, &res));
    HOLDS(ns(&res) >= 1000000 && ns(&res) <= 10000000);
    SHOW(clock_getres(99, &res));
    SHOW(clock_gettime(99, &res));
    SHOW(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8));
    SHOW(syscall(SYS_clock_getres, CLOCK_MONOTONIC, 0));
    SHOW(syscall(SYS_gettimeofday, 8, 0));
    SHOW(syscall(SYS_time, 8));
    return 0;
}
