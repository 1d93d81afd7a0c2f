// epoll by itself: the order of its errors, levels, edges and shots, one waiter for one event, exclusive items, files that are
// closed inside, duplicates, nesting with loops, fairness, many threads; time limits and signals of all calls that wait.
// build: musl glibc
// cpus: 1 2 4
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

#ifndef EPOLLEXCLUSIVE
#define EPOLLEXCLUSIVE (1u << 28)
#endif
#ifndef EPOLLWAKEUP
#define EPOLLWAKEUP (1u << 29)
#endif

static int ep, ev, p[2];

static int ctl(int e, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(e, op, fd, &event);
}

// The events that come without waiting.
static void events(const char *what, int e, int max)
{
    struct epoll_event list[16];
    int n = epoll_wait(e, list, max, 0);
    printf("%s: %d", what, n);
    for (int i = 0; i < n; i++)
        printf(" [%d %#x]", (int)list[i].data.u64, list[i].events);
    printf("\n");
}

static void drain(int fd)
{
    char buf[4096];
    while (read(fd, buf, sizeof buf) > 0)
        ;
}

static void test_errors(void)
{
    struct epoll_event e;
    int file = open("/proc/self/exe", O_RDONLY), dir = open("/", O_RDONLY), other = epoll_create1(0);
    section("errors, and which of two");
    SHOW(epoll_create1(1));
    SHOW(syscall(SYS_epoll_create, 0));
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ev, NULL));
    SHOW(epoll_ctl(-1, EPOLL_CTL_ADD, ev, NULL));
    SHOW(epoll_ctl(-1, EPOLL_CTL_DEL, ev, NULL));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, ev, NULL));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, -1, NULL));
    SHOW(ctl(ep, EPOLL_CTL_ADD, -1, 0, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, file, EPOLLIN, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, dir, EPOLLIN, 0));
    SHOW(ctl(ev, EPOLL_CTL_ADD, file, EPOLLIN, 0));
    SHOW(ctl(file, EPOLL_CTL_ADD, ev, EPOLLIN, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 0));
    SHOW(ctl(ep, 77, ev, EPOLLIN, 0));
    SHOW(ctl(ep, EPOLL_CTL_MOD, ev, EPOLLIN, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLWAKEUP, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN, 0));
    SHOW(ctl(ep, EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLEXCLUSIVE, 0));
    SHOW(ctl(ep, EPOLL_CTL_DEL, ev, 0, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE, 0));
    SHOW(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, 0));
    SHOW(ctl(ep, EPOLL_CTL_MOD, ev, EPOLLIN, 0));
    SHOW(ctl(ep, EPOLL_CTL_DEL, ev, 0, 0));
    SHOW(epoll_wait(ep, &e, 0, 0));
    SHOW(epoll_wait(-1, &e, 1, 0));
    SHOW(epoll_wait(ev, &e, 1, 0));
    SHOW(epoll_wait(ep, (void *)-4096L, 1, 0));
    SHOW(syscall(SYS_epoll_pwait, ep, &e, 1, 0, &e, 7));
    struct timespec bad = {0, -1}, none = {0, 0};
    SHOW(syscall(441, ep, &e, 1, &bad, NULL, 8));
    SHOW(syscall(441, ep, &e, 1, 8, NULL, 8));
    SHOW(syscall(441, ep, &e, 1, &none, NULL, 8));
    close(file), close(dir), close(other);
}

static void test_modes(void)
{
    uint64_t one = 1;
    section("level, edge, one shot");
    ctl(ep, EPOLL_CTL_ADD, p[0], 0, 1); // nothing but what always comes
    write(p[1], "x", 1);
    events("nothing wanted", ep, 16);
    ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 2);
    events("level", ep, 16);
    events("level", ep, 16);
    ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 3);
    events("edge, by the change", ep, 16);
    events("edge", ep, 16);
    write(p[1], "x", 1);
    events("edge, more", ep, 16);
    read(p[0], &one, 1);
    events("edge, less", ep, 16);
    ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 4);
    events("shot", ep, 16);
    write(p[1], "x", 1);
    events("spent", ep, 16);
    ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 5);
    events("again", ep, 16);
    drain(p[0]);
    ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLOUT | EPOLLPRI, 6);
    events("the reading end", ep, 16);
    ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0);
    ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLOUT | EPOLLET, 7);
    events("eventfd", ep, 16);
    events("eventfd", ep, 16);
    one = 1;
    write(ev, &one, 8);
    events("written", ep, 16);
    read(ev, &one, 8);
    events("read", ep, 16);
    ctl(ep, EPOLL_CTL_DEL, ev, 0, 0);
}

static void test_closing(void)
{
    int q[2], copy;
    section("closing and duplicates");
    pipe2(q, O_NONBLOCK);
    ctl(ep, EPOLL_CTL_ADD, q[0], EPOLLIN, 1);
    copy = dup(q[0]);
    SHOW(ctl(ep, EPOLL_CTL_ADD, copy, EPOLLIN, 2));
    write(q[1], "x", 1);
    events("both", ep, 16);
    close(copy); // but the file is open
    events("both still", ep, 16);
    SHOW(ctl(ep, EPOLL_CTL_DEL, copy, 0, 0));
    SHOW(dup2(q[0], copy) == copy);
    SHOW(ctl(ep, EPOLL_CTL_DEL, copy, 0, 0)); // the same file under the same number
    events("one", ep, 16);
    close(copy);
    close(q[0]);
    events("none", ep, 16);
    close(q[1]);
    pipe2(q, O_NONBLOCK);
    ctl(ep, EPOLL_CTL_ADD, q[0], EPOLLIN | EPOLLRDHUP, 3);
    ctl(ep, EPOLL_CTL_ADD, q[1], EPOLLOUT, 4);
    close(q[1]);
    events("hung up", ep, 16);
    close(q[0]);
    events("none", ep, 16);
}

static void test_nesting(void)
{
    int e[8];
    uint64_t one = 1;
    section("nesting");
    for (int i = 0; i < 8; i++)
        e[i] = epoll_create1(0);
    ctl(e[0], EPOLL_CTL_ADD, ev, EPOLLIN, 1);
    SHOW(ctl(e[1], EPOLL_CTL_ADD, e[0], EPOLLIN, 2));
    SHOW(ctl(e[2], EPOLL_CTL_ADD, e[1], EPOLLIN | EPOLLET, 3));
    SHOW(ctl(e[0], EPOLL_CTL_ADD, e[1], EPOLLIN, 9));
    SHOW(ctl(e[0], EPOLL_CTL_ADD, e[2], EPOLLIN, 9));
    events("quiet", e[2], 16);
    write(ev, &one, 8);
    events("outer", e[2], 16);
    events("outer, an edge", e[2], 16);
    events("middle", e[1], 16);
    events("inner", e[0], 16);
    struct pollfd pf = {e[1], POLLIN, 0};
    SHOW(poll(&pf, 1, 0));
    read(ev, &one, 8);
    SHOW(poll(&pf, 1, 0));
    events("middle", e[1], 16);
    int deep = 0;
    for (int i = 3; i < 8 && !deep; i++)
        deep = ctl(e[i], EPOLL_CTL_ADD, e[i - 1], EPOLLIN, 0) ? errno : 0;
    for (int i = 0; i < 8; i++)
        close(e[i]);
}

static void test_fairness(void)
{
    int q[6][2];
    section("fairness");
    for (int i = 0; i < 6; i++) {
        pipe2(q[i], O_NONBLOCK);
        ctl(ep, EPOLL_CTL_ADD, q[i][0], EPOLLIN, (uint64_t)i);
        write(q[i][1], "x", 1);
    }
    for (int i = 0; i < 4; i++)
        events("four of six", ep, 4);
    for (int i = 0; i < 6; i++)
        close(q[i][0]), close(q[i][1]);
    events("none", ep, 16);
}

// --- threads ---

static volatile int waiting, got, stop;

static int four[4];
static void *one_event(void *arg) // the number of an instance, or ~ the place of one in `four`
{
    struct epoll_event e;
    if ((long)arg < 0)
        arg = (void *)(long)four[~(long)arg];
    __atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
    if (epoll_wait((int)(long)arg, &e, 1, 10000) == 1)
        __atomic_fetch_add(&got, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *takes_events(void *arg)
{
    struct epoll_event e;
    (void)arg;
    while (!stop) {
        if (epoll_wait(ep, &e, 1, 20) != 1)
            continue;
        if (e.data.u64 == 1) {
            char c;
            while (read(p[0], &c, 1) == 1)
                __atomic_fetch_add(&got, 1, __ATOMIC_SEQ_CST);
            ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 1);
        }
    }
    return NULL;
}

static void start(pthread_t *t, int n, void *(*fn)(void *), long arg, int each)
{
    waiting = got = 0;
    for (int i = 0; i < n; i++)
        pthread_create(&t[i], NULL, fn, (void *)(arg + i * each));
    while (waiting < n)
        usleep(500);
    usleep(30000);
}

static void test_threads(void)
{
    pthread_t t[4];
    uint64_t one = 1;
    section("one edge wakes one thread");
    ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLET, 1);
    start(t, 4, one_event, ep, 0);
    for (int i = 1; i <= 4; i++) {
        write(ev, &one, 8);
        for (int j = 0; j < 2000 && got < i; j++)
            usleep(500);
        usleep(20000);
        SHOW(got);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    read(ev, &one, 8);
    ctl(ep, EPOLL_CTL_DEL, ev, 0, 0);

    section("a level wakes all, one after another");
    ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN, 1);
    start(t, 4, one_event, ep, 0);
    write(ev, &one, 8);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(got);
    read(ev, &one, 8);
    ctl(ep, EPOLL_CTL_DEL, ev, 0, 0);

    section("exclusive: one instance of four");
    for (int i = 0; i < 4; i++) {
        four[i] = epoll_create1(0);
        ctl(four[i], EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, 1);
    }
    start(t, 4, one_event, ~0, -1);
    for (int i = 1; i <= 4; i++) {
        write(p[1], "x", 1);
        for (int j = 0; j < 2000 && got < i; j++)
            usleep(500);
        usleep(20000);
        SHOW(got);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        close(four[i]);
    }
    drain(p[0]);

    section("one shot, many threads: nothing is lost, nothing taken twice");
    ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLONESHOT, 1);
    got = stop = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, takes_events, NULL);
    for (int i = 0; i < 2000; i++) {
        while (write(p[1], "x", 1) != 1)
            usleep(100);
        if (i % 50 == 0)
            usleep(200);
    }
    for (int j = 0; j < 10000 && got < 2000; j++)
        usleep(500);
    stop = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    SHOW(got);
    ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0);
}

// --- time limits and signals ---

static volatile int alarms;
static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

static void alarm_soon(void)
{
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 20000}}, NULL);
}

static void test_signals(void)
{
    struct epoll_event e;
    struct pollfd pf = {ev, POLLIN, 0};
    struct timespec ts = {5, 0};
    struct timeval tv = {5, 0};
    fd_set set;
    sigset_t all, none;
    section("signals: never restarted");
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    alarm_soon();
    SHOW(epoll_wait(ep, &e, 1, -1));
    alarm_soon();
    SHOW(poll(&pf, 1, -1));
    alarm_soon();
    SHOW(ppoll(&pf, 1, &ts, NULL));
    SHOW(ts.tv_sec); // not changed: the library's copy was
    FD_ZERO(&set);
    FD_SET(ev, &set);
    alarm_soon();
    SHOW(select(ev + 1, &set, NULL, NULL, &tv));
    HOLDS(tv.tv_sec == 4);
    alarm_soon();
    SHOW(pselect(ev + 1, &set, NULL, NULL, &ts, NULL));
    SHOW(ts.tv_sec);
    ts = (struct timespec){5, 0};
    alarm_soon();
    SHOW(syscall(SYS_ppoll, &pf, 1, &ts, NULL, 8));
    HOLDS(ts.tv_sec == 4); // the call itself tells
    SHOW(alarms);

    section("a mask for the wait");
    sigfillset(&all);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &all, NULL);
    raise(SIGALRM);
    SHOW(epoll_pwait(ep, &e, 1, 0, &none)); // does not wait: the signal comes after it
    SHOW(alarms);
    raise(SIGALRM);
    SHOW(epoll_pwait(ep, &e, 1, 10, &none));
    SHOW(alarms);
    raise(SIGALRM);
    SHOW(epoll_pwait(ep, &e, 1, 10, &all));
    SHOW(alarms);
    SHOW(ppoll(&pf, 1, NULL, &none));
    SHOW(alarms);
    sigprocmask(SIG_SETMASK, &none, NULL);

    section("time limits");
    struct timespec a, b;
    ts = (struct timespec){0, 20000000};
    clock_gettime(CLOCK_MONOTONIC, &a);
    SHOW(epoll_wait(ep, &e, 1, 20));
    SHOW(syscall(441, ep, &e, 1, &ts, NULL, 8));
    SHOW(poll(NULL, 0, 20));
    SHOW(select(0, NULL, NULL, NULL, &(struct timeval){0, 20000}));
    clock_gettime(CLOCK_MONOTONIC, &b);
    HOLDS((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 >= 79);
    SHOW(select(-1, NULL, NULL, NULL, NULL));
    SHOW(select(0, NULL, NULL, NULL, &(struct timeval){-1, 0}));
    SHOW(syscall(SYS_ppoll, NULL, 0, &(struct timespec){0, 1000000000}, NULL, 8));
    SHOW(syscall(SYS_ppoll, NULL, 0, NULL, &none, 7));
    SHOW(syscall(SYS_poll, 8, 1, 0));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    ep = epoll_create1(EPOLL_CLOEXEC);
    ev = eventfd(0, EFD_NONBLOCK);
    pipe2(p, O_NONBLOCK);
    test_errors();
    test_modes();
    test_closing();
    test_nesting();
    test_fairness();
    test_threads();
    test_signals();
    return 0;
}
