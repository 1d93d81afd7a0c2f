// Timers with the shortest and the longest times: intervals of a nanosecond leave time for the program, and what is set for
// the end of time does not come at once.
// build: musl
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

static volatile int alarms, ticks;

static timer_t id;

// Nobody gets anything else done while such a timer runs, not even on Linux.
static void on_alarm(int signal)
{
    if (++alarms == 20)
        setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}

static void on_tick(int signal)
{
    if (++ticks == 20)
        timer_settime(id, 0, &(struct itimerspec){0}, NULL);
}

static void spin(void)
{
    for (volatile int i = 0; i < 3000000; i++)
        ;
}

static void *read_timer(void *arg)
{
    struct itimerspec left;
    long bad = 0;
    for (int i = 0; i < 2000; i++) {
        bad += timer_gettime(*(timer_t *)arg, &left) != 0;
        bad += timer_getoverrun(*(timer_t *)arg) < 0;
    }
    return (void *)bad;
}

int main(void)
{
    const struct itimerspec shortest = {{0, 1}, {0, 1}}, longest = {{INT64_MAX, 999999999}, {INT64_MAX, 999999999}}, slow = {{0, 2000000}, {0, 1}};
    struct itimerspec left;
    struct itimerval interval = {{0, 1}, {0, 1}};
    uint64_t count = 0;
    signal(SIGALRM, on_alarm);
    signal(SIGUSR1, on_tick);

    section("timerfd of a nanosecond");
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    SHOW(timerfd_settime(fd, 0, &shortest, NULL));
    spin();
    SHOW(read(fd, &count, sizeof count));
    HOLDS(count > 1000);
    SHOW(timerfd_settime(fd, 0, &longest, NULL));
    SHOW(poll(&(struct pollfd){fd, POLLIN, 0}, 1, 10));
    SHOW(timerfd_gettime(fd, &left));
    HOLDS(left.it_value.tv_sec > 1000000000);
    close(fd);

    section("timer_create of a nanosecond");
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &id));
    SHOW(timer_settime(id, 0, &shortest, NULL));
    while (ticks < 20)
        ;
    SHOW(timer_settime(id, 0, &slow, NULL));
    pthread_t thread;
    pthread_create(&thread, NULL, read_timer, &id);
    HOLDS(read_timer(&id) == NULL);
    void *bad;
    pthread_join(thread, &bad);
    HOLDS(bad == NULL);
    ticks = 0;
    while (ticks < 20)
        ;
    ticks = 0;
    SHOW(timer_settime(id, 0, &longest, NULL));
    SHOW(usleep(10000));
    SHOW(timer_settime(id, TIMER_ABSTIME, &longest, NULL));
    SHOW(usleep(10000));
    SHOW(ticks);
    SHOW(timer_delete(id));

    section("a timer whose signal was ignored, or pending already");
    struct itimerspec often = {{0, 10000000}, {0, 10000000}};
    signal(SIGUSR1, SIG_IGN);
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &id));
    SHOW(timer_settime(id, 0, &often, NULL));
    SHOW(usleep(50000));
    ticks = -1000000;
    signal(SIGUSR1, on_tick);
    while (ticks < -999995)
        ;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    SHOW(timer_settime(id, 0, &longest, NULL));
    SHOW(raise(SIGUSR1));
    SHOW(timer_settime(id, 0, &often, NULL));
    usleep(50000);
    ticks = -1000000;
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    while (ticks < -999995)
        ;
    SHOW(timer_delete(id));

    section("setitimer of a microsecond");
    SHOW(setitimer(ITIMER_REAL, &interval, NULL));
    while (alarms < 20)
        ;
    alarms = 0;
    interval.it_value.tv_sec = interval.it_interval.tv_sec = INT64_MAX;
    SHOW(setitimer(ITIMER_REAL, &interval, NULL));
    SHOW(usleep(10000));
    SHOW(alarms);

    section("how many");
    struct rlimit few = {4, 4};
    SHOW(setrlimit(RLIMIT_SIGPENDING, &few));
    int made = 0;
    while (made < 100 && timer_create(CLOCK_MONOTONIC, &event, &id) == 0)
        made++;
    HOLDS(made < 100);

    section("CPU time without a limit in sight");
    struct rlimit far = {10000000000, 10000000001};
    SHOW(setrlimit(RLIMIT_CPU, &far));
    spin();
    return 0;
}
