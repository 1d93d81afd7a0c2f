// Waiting on AF_UNIX sockets: poll, epoll level and edge, half-closed and closed peers, time limits (SO_RCVTIMEO, SO_SNDTIMEO) of every
// call that waits, signals with and without SA_RESTART, SO_RCVLOWAT, wake-ups of writers, SIGIO and SIGURG.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include <sys/epoll.h>
#include <time.h>

static char buf[100000];
static volatile int alarms, ios, urgents;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void on_io(int signal)
{
    (void)signal;
    ios++;
}

static void on_urgent(int signal)
{
    (void)signal;
    urgents++;
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void limit(int fd, int option, long ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    if (setsockopt(fd, SOL_SOCKET, option, &tv, sizeof tv))
        give_up("time limit");
}

static pid_t later(void (*body)(int), int fd)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        usleep(50000);
        body(fd);
        _exit(0);
    }
    return pid;
}

static void writes(int fd) { write(fd, "news", 4); }
static void reads_all(int fd)
{
    while (recv(fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
        ;
}
static void shuts(int fd) { shutdown(fd, SHUT_WR); }
static void in_two_parts(int fd)
{
    write(fd, "12", 2);
    usleep(50000);
    write(fd, "345", 3);
}

static void show_epoll(const char *what, int ep)
{
    struct epoll_event e[4];
    int n = epoll_wait(ep, e, 4, 0);
    printf("%s: %d", what, n);
    for (int i = 0; i < n; i++)
        printf(" %d:%#x", e[i].data.fd, e[i].events);
    printf("\n");
}

static void epolls(void)
{
    int v[2];
    section("epoll");
    pair(SOCK_STREAM | SOCK_NONBLOCK, v);
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.fd = 1};
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, v[0], &e));
    show_epoll("level", ep);
    write(v[1], "x", 1);
    show_epoll("level, data", ep);
    show_epoll("level, again", ep);
    e.events |= EPOLLET;
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, v[0], &e));
    show_epoll("edge", ep);
    show_epoll("edge, again", ep);
    write(v[1], "y", 1);
    show_epoll("edge, more data", ep);
    read(v[0], buf, 1);
    show_epoll("edge, partly read", ep);
    read(v[0], buf, 10);
    while (write(v[0], buf, 5000) > 0)
        ;
    show_epoll("full", ep);
    reads_all(v[1]);
    show_epoll("room", ep);
    show_epoll("room, again", ep);
    shutdown(v[1], SHUT_WR);
    show_epoll("half closed", ep);
    show_epoll("half closed, again", ep);
    close(v[1]);
    show_epoll("closed", ep);
    show_epoll("closed, again", ep);
    close(v[0]);
    struct sockaddr_un a;
    socklen_t la = unix_abstract(&a, "epoll");
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), f;
    bind(s, (void *)&a, la);
    listen(s, 5);
    e.events = EPOLLIN | EPOLLET;
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, s, &e));
    show_epoll("listening", ep);
    connect(c, (void *)&a, la);
    show_epoll("a connection", ep);
    show_epoll("a connection, again", ep);
    f = accept(s, NULL, NULL);
    close(f);
    close(c);
    close(s);
    e.events = EPOLLOUT | EPOLLET;
    pair(SOCK_DGRAM | SOCK_NONBLOCK, v);
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, v[0], &e));
    show_epoll("datagrams", ep);
    while (write(v[0], buf, 100) > 0)
        ;
    show_epoll("full", ep);
    reads_all(v[1]);
    show_epoll("room", ep);
    close(v[0]);
    close(v[1]);
    close(ep);
}

static void timed(const char *what, long result, int e, long start, long least)
{
    long took = now_ms() - start;
    printf("%s: %s%s\n", what, result < 0 ? errno_name(e) : "ok", took >= least - 1 && took < least + 5000 ? "" : ", at the WRONG TIME");
}
#define TIMED(least, call)                                                                                              \
    do {                                                                                                                \
        long start_ = now_ms(), r_ = (call);                                                                            \
        timed(#call, r_, errno, start_, least);                                                                         \
    } while (0)

static void limits(void)
{
    int v[2];
    struct timeval tv;
    socklen_t len = sizeof tv;
    section("time limits");
    pair(SOCK_STREAM, v);
    limit(v[0], SO_RCVTIMEO, 100);
    limit(v[0], SO_SNDTIMEO, 80);
    SHOW(getsockopt(v[0], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
    printf("%ld %ld length %u\n", (long)tv.tv_sec, (long)tv.tv_usec, len);
    TIMED(100, read(v[0], buf, 1));
    TIMED(100, recv(v[0], buf, 1, MSG_PEEK));
    TIMED(0, recv(v[0], buf, 1, MSG_DONTWAIT));
    write(v[1], "ab", 2);
    TIMED(100, recv(v[0], buf, 5, MSG_WAITALL)); // what there is
    while (send(v[0], buf, 4000, MSG_DONTWAIT) > 0)
        ;
    TIMED(80, write(v[0], buf, 4000));
    tv = (struct timeval){1, 1000000};
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    tv = (struct timeval){-1, 0};
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    TIMED(0, read(v[0], buf, 1));
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_RCVTIMEO, &tv, 8));
    close(v[0]);
    close(v[1]);
    pair(SOCK_DGRAM, v);
    limit(v[0], SO_RCVTIMEO, 60);
    TIMED(60, recv(v[0], buf, 1, 0));
    close(v[0]);
    close(v[1]);
    struct sockaddr_un a;
    socklen_t la = unix_abstract(&a, "limits");
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), d = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(s, (void *)&a, la);
    listen(s, 0);
    limit(s, SO_RCVTIMEO, 60);
    TIMED(60, accept(s, NULL, NULL));
    connect(c, (void *)&a, la);
    limit(d, SO_SNDTIMEO, 70);
    TIMED(70, connect(d, (void *)&a, la));
    close(c);
    close(d);
    close(s);
}

static void after_alarm(bool restart, int ms)
{
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = restart ? SA_RESTART : 0};
    struct itimerval it = {.it_value = {0, ms * 1000}};
    alarms = 0;
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &it, NULL);
}

static void signals(void)
{
    int v[2];
    section("signals");
    pair(SOCK_STREAM, v);
    after_alarm(false, 30);
    SHOW(read(v[0], buf, 1));
    after_alarm(true, 20);
    pid_t pid = later(writes, v[1]);
    SHOW(recv(v[0], buf, 10, 0));
    printf("alarms %d\n", alarms);
    waitpid(pid, NULL, 0);
    limit(v[0], SO_RCVTIMEO, 5000);
    after_alarm(true, 30);
    SHOW(read(v[0], buf, 1)); // a time limit: not made again
    write(v[1], "ab", 2);
    after_alarm(false, 30);
    SHOW(recv(v[0], buf, 5, MSG_WAITALL)); // what there is
    while (send(v[0], buf, 4000, MSG_DONTWAIT) > 0)
        ;
    after_alarm(false, 30);
    SHOW(write(v[0], buf, 4000));
    after_alarm(true, 20);
    pid = later(reads_all, v[1]);
    SHOW(write(v[0], buf, 4000));
    printf("alarms %d\n", alarms);
    waitpid(pid, NULL, 0);
    reads_all(v[1]);
    after_alarm(false, 30);
    ssize_t n = write(v[0], buf, sizeof buf);
    n += write(v[0], buf, sizeof buf);
    n += write(v[0], buf, sizeof buf);
    HOLDS(n > 0 && n < 3 * (ssize_t)sizeof buf); // cut short, but not lost
    struct itimerval off = {0};
    setitimer(ITIMER_REAL, &off, NULL);
    close(v[0]);
    close(v[1]);
    struct sockaddr_un a;
    socklen_t la = unix_abstract(&a, "signals");
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), d = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(s, (void *)&a, la);
    listen(s, 0);
    after_alarm(false, 30);
    SHOW(accept(s, NULL, NULL));
    connect(c, (void *)&a, la);
    after_alarm(false, 30);
    SHOW(connect(d, (void *)&a, la));
    close(c);
    close(d);
    close(s);
    pair(SOCK_SEQPACKET, v);
    after_alarm(false, 30);
    SHOW(read(v[0], buf, 1));
    close(v[0]);
    close(v[1]);
}

static void low_water(void)
{
    int v[2], low = 5;
    section("SO_RCVLOWAT");
    pair(SOCK_STREAM, v);
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low));
    pid_t pid = later(in_two_parts, v[1]);
    SHOW(read(v[0], buf, 100));
    waitpid(pid, NULL, 0);
    write(v[1], "12", 2);
    SHOW(recv(v[0], buf, 100, MSG_DONTWAIT));
    pid = later(in_two_parts, v[1]);
    SHOW(read(v[0], buf, 2));
    SHOW(recv(v[0], buf, 3, MSG_WAITALL));
    waitpid(pid, NULL, 0);
    pid = later(shuts, v[1]);
    SHOW(recv(v[0], buf, 10, MSG_WAITALL));
    waitpid(pid, NULL, 0);
    close(v[0]);
    close(v[1]);
}

static void wait_for(volatile int *count)
{
    for (int i = 0; i < 200 && !*count; i++)
        usleep(1000);
}

static void notices(void)
{
    int v[2];
    section("SIGIO and SIGURG");
    struct sigaction sa = {.sa_handler = on_io, .sa_flags = SA_RESTART};
    sigaction(SIGIO, &sa, NULL);
    sa.sa_handler = on_urgent;
    sigaction(SIGURG, &sa, NULL);
    pair(SOCK_STREAM, v);
    write(v[1], "x", 1);
    printf("%d\n", ios);
    SHOW(fcntl(v[0], F_SETOWN, getpid()));
    HOLDS(fcntl(v[0], F_GETOWN) == getpid());
    struct { int type, pid; } who = {-1, -1};
    SHOW(fcntl(v[0], F_GETOWN_EX, &who));
    HOLDS(who.type == 1 && who.pid == getpid());
    who.type = 3;
    SHOW(fcntl(v[0], F_SETOWN_EX, &who));
    who.type = 0;
    who.pid = (int)syscall(SYS_gettid);
    SHOW(fcntl(v[0], F_SETOWN_EX, &who));
    SHOW(fcntl(v[0], F_SETOWN, 0x7ffffff));
    int id = 0x7ffffff;
    SHOW(ioctl(v[0], FIOSETOWN, &id));
    id = INT32_MIN;
    SHOW(ioctl(v[0], FIOSETOWN, &id));
    id = getpid();
    SHOW(ioctl(v[0], FIOSETOWN, &id));
    fcntl(v[0], F_GETOWN_EX, &who);
    printf("type %d\n", (int)who.type);
    SHOW(fcntl(v[0], F_SETFL, O_ASYNC));
    write(v[1], "x", 1);
    wait_for(&ios);
    HOLDS(ios > 0);
    int zero = 0;
    SHOW(ioctl(v[0], FIOASYNC, &zero));
    ios = 0;
    write(v[1], "x", 1);
    printf("%d\n", ios);
    send(v[1], "!", 1, MSG_OOB);
    wait_for(&urgents);
    HOLDS(urgents == 1);
    close(v[0]);
    close(v[1]);
}

static void blocked_pollers(void)
{
    int v[2];
    section("poll that waits");
    pair(SOCK_STREAM, v);
    struct pollfd p = {v[0], POLLIN, 0};
    pid_t pid = later(writes, v[1]);
    SHOW(poll(&p, 1, 5000));
    printf("%#x\n", (unsigned)p.revents);
    waitpid(pid, NULL, 0);
    read(v[0], buf, 10);
    p.events = POLLRDHUP;
    pid = later(shuts, v[1]);
    SHOW(poll(&p, 1, 5000));
    printf("%#x\n", (unsigned)p.revents);
    waitpid(pid, NULL, 0);
    while (send(v[0], buf, 1000, MSG_DONTWAIT) > 0)
        ;
    p.events = POLLOUT;
    pid = later(reads_all, v[1]);
    SHOW(poll(&p, 1, 5000));
    printf("%#x\n", (unsigned)p.revents);
    waitpid(pid, NULL, 0);
    close(v[0]);
    close(v[1]);
    // A writer to a full queue of somebody else's.
    struct sockaddr_un a;
    socklen_t la = unix_abstract(&a, "poll");
    int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    bind(s, (void *)&a, la);
    connect(c, (void *)&a, la);
    while (write(c, "x", 1) == 1)
        ;
    p = (struct pollfd){c, POLLOUT, 0};
    SHOW(poll(&p, 1, 20));
    pid = later(reads_all, s);
    SHOW(poll(&p, 1, 5000));
    printf("%#x\n", (unsigned)p.revents);
    waitpid(pid, NULL, 0);
    close(c);
    close(s);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    epolls();
    limits();
    signals();
    low_water();
    notices();
    blocked_pollers();
    return 0;
}
