// Interval timers and interrupted calls: SIGALRM once and repeatedly, alarm, getitimer, EINTR, SA_RESTART, remaining times.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static volatile int alarms;
static int p[2];

static void on_alarm(int signal)
{
    alarms += signal == SIGALRM;
}

static void on_alarm_write(int signal)
{
    alarms += signal == SIGALRM;
    if (alarms == 2 && write(p[1], "x", 1) != 1)
        _exit(51);
}

static void handle(void (*handler)(int), int flags)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &sa, NULL);
}

static void arm(long microseconds, long interval)
{
    struct itimerval t = {{0, interval}, {0, microseconds}};
    if (setitimer(ITIMER_REAL, &t, NULL))
        give_up("setitimer");
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(void)
{
    struct itimerval t;
    struct timespec left, second = {1, 0};
    char c;
    SHOW(pipe(p));

    section("once");
    handle(on_alarm, 0);
    long start = now_ms();
    arm(30000, 0);
    SHOW(pause());
    HOLDS(now_ms() - start >= 30);
    SHOW(alarms);
    SHOW(getitimer(ITIMER_REAL, &t));
    HOLDS(t.it_value.tv_sec == 0 && t.it_value.tv_usec == 0);

    section("repeatedly");
    alarms = 0;
    start = now_ms();
    arm(10000, 10000);
    while (alarms < 5)
        ;
    HOLDS(now_ms() - start >= 50);
    SHOW(getitimer(ITIMER_REAL, &t));
    HOLDS(t.it_interval.tv_usec == 10000 && t.it_value.tv_usec <= 10000);
    arm(0, 0);
    int before = alarms;
    nanosleep(&(struct timespec){0, 30000000}, NULL);
    HOLDS(alarms == before);

    section("EINTR");
    arm(30000, 0);
    SHOW(read(p[0], &c, 1));
    arm(30000, 0);
    SHOW(nanosleep(&second, &left));
    HOLDS(left.tv_sec == 0 && left.tv_nsec > 0);
    arm(30000, 0);
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, 0, &second, &left) == EINTR);
    HOLDS(left.tv_sec == 0 && left.tv_nsec > 0);
    arm(30000, 0);
    int word = 0;
    SHOW(syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0));

    section("SA_RESTART");
    alarms = 0;
    handle(on_alarm_write, SA_RESTART);
    arm(20000, 20000);
    SHOW(read(p[0], &c, 1)); // the second signal's handler writes what is read
    SHOW(alarms >= 2);
    arm(0, 0);
    alarms = 0;
    arm(20000, 0);
    SHOW(nanosleep(&second, &left)); // not restarted by the flag
    arm(20000, 0);
    SHOW(pause());

    section("alarm");
    handle(on_alarm, 0);
    SHOW(alarm(100));
    SHOW(alarm(0));
    SHOW(alarm(1));
    SHOW(pause());

    section("errors");
    SHOW(setitimer(77, &t, NULL));
    SHOW(getitimer(77, &t));
    t.it_value.tv_usec = 1000000;
    SHOW(setitimer(ITIMER_REAL, &t, NULL));
    SHOW(syscall(SYS_setitimer, ITIMER_REAL, 8, NULL));
    SHOW(syscall(SYS_getitimer, ITIMER_REAL, 8));
    SHOW(nanosleep(&(struct timespec){0, 1000000000}, NULL));
    SHOW(nanosleep(&(struct timespec){-1, 0}, NULL));
    SHOW(syscall(SYS_nanosleep, 8, NULL));

    section("virtual and profiling timers");
    struct sigaction sa = {.sa_handler = on_alarm};
    sigaction(SIGVTALRM, &sa, NULL);
    t = (struct itimerval){{0, 0}, {0, 30000}};
    SHOW(setitimer(ITIMER_VIRTUAL, &t, NULL));
    SHOW(getitimer(ITIMER_VIRTUAL, &t));
    t = (struct itimerval){{0, 0}, {0, 0}};
    SHOW(setitimer(ITIMER_VIRTUAL, &t, NULL));
    return 0;
}
