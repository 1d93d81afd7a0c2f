// What waits in TCP: connections until their first byte (TCP_DEFER_ACCEPT), connect(2) at a full queue until its time is over, several threads
// at one socket that connects or is disconnected; TCP_LINGER2, SO_LINGER.
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <pthread.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *between(double begin, double least, double most)
{
    static char text[64];
    double t = now() - begin;
    if (t >= least && t <= most)
        return "in time";
    snprintf(text, sizeof text, "after %.2f s", t);
    return text;
}

static int try_accept(int l, int ms)
{
    struct pollfd p = {l, POLLIN, 0};
    if (poll(&p, 1, ms) <= 0)
        return -1;
    return accept(l, NULL, NULL);
}

static void defer_values(void)
{
    static const int values[] = {-5, 0, 1, 2, 3, 4, 7, 8, 15, 16, 120, 127, 128, 1000, 100000};
    section("TCP_DEFER_ACCEPT and TCP_LINGER2: values");
    int fd = tcp(AF_INET);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        int got = -1, got2 = -1;
        socklen_t len = sizeof got;
        int r = setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &values[i], sizeof values[i]);
        getsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &got, &len);
        int r2 = setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &values[i], sizeof values[i]);
        getsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &got2, &len);
        printf("%d: %d %d, %d %d\n", values[i], r, got, r2, values[i] ? got2 : 0);
    }
    close(fd);
}

static void deferred(int family)
{
    char buf[16];
    section(family == AF_INET ? "deferred, IPv4" : "deferred, IPv6");
    int l = listener(family, 5), c = tcp(family);
    set_int(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3);
    printf("connect %d\n", connect_to(family, c, l));
    printf("state %d\n", tcp_state(c));
    int s = try_accept(l, 200);
    printf("without data: %s\n", s < 0 ? "nothing" : "a connection");
    printf("send %zd\n", send(c, "hello", 5, 0));
    s = try_accept(l, 2000);
    printf("with data: %s\n", s < 0 ? "nothing" : "a connection");
    ssize_t n = recv(s, buf, sizeof buf, MSG_DONTWAIT);
    printf("recv %zd %.*s\n", n, (int)(n > 0 ? n : 0), buf);
    printf("send %zd\n", send(s, "world", 5, 0));
    n = recv(c, buf, sizeof buf, 0);
    printf("recv %zd %.*s\n", n, (int)(n > 0 ? n : 0), buf);
    close(c);
    close(s);

    // The end of its sending counts as data; a reset connection is never seen.
    c = tcp(family);
    connect_to(family, c, l);
    shutdown(c, SHUT_WR);
    s = try_accept(l, 2000);
    printf("with an end: %s\n", s < 0 ? "nothing" : "a connection");
    printf("recv %zd\n", recv(s, buf, sizeof buf, 0));
    close(s);
    close(c);
    c = tcp(family);
    connect_to(family, c, l);
    linger_zero(c);
    close(c);
    s = try_accept(l, 300);
    printf("reset: %s\n", s < 0 ? "nothing" : "a connection");

    // The time is over.
    set_int(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    c = tcp(family);
    double begin = now();
    connect_to(family, c, l);
    s = try_accept(l, 8000);
    printf("nothing is sent: %s %s\n", s < 0 ? "nothing" : "a connection", between(begin, 0.8, 4));
    printf("recv %s\n", recv(s, buf, sizeof buf, MSG_DONTWAIT) < 0 ? errno_name(errno) : "something");
    send(c, "late", 4, 0);
    printf("recv %zd\n", recv(s, buf, sizeof buf, 0));
    close(s);
    // Not the listener's any more: the next is handed out at once.
    set_int(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0);
    int c2 = tcp(family);
    connect_to(family, c2, l);
    s = try_accept(l, 500);
    printf("no longer: %s\n", s < 0 ? "nothing" : "a connection");
    close(s);
    close(c2);
    close(c);
    close(l);
}

// A writer of more than anything holds, into a connection that is deferred.
static void *write_much(void *arg)
{
    static char block[1 << 16];
    int fd = *(int *)arg;
    for (int i = 0; i < 64; i++)
        if (send(fd, block, sizeof block, MSG_NOSIGNAL) != sizeof block)
            return (void *)1;
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void deferred_much(void)
{
    static char buf[1 << 16];
    section("deferred, much");
    int l = listener(AF_INET, 5), c = tcp(AF_INET);
    set_int(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 10);
    connect_to(AF_INET, c, l);
    pthread_t t;
    void *bad;
    pthread_create(&t, NULL, write_much, &c);
    int s = accept(l, NULL, NULL);
    long total = 0;
    for (ssize_t n; (n = recv(s, buf, sizeof buf, 0)) > 0; total += n)
        ;
    pthread_join(t, &bad);
    printf("%ld bytes, %s\n", total, bad ? "send failed" : "all sent");
    close(s);
    close(c);
    // Many at once; the listener goes.
    int many[4];
    for (int i = 0; i < 4; i++)
        connect_to(AF_INET, many[i] = tcp(AF_INET), l);
    close(l);
    for (int i = 0; i < 4; i++)
        close(many[i]);
}

static void full_queue(void)
{
    section("a full queue");
    int l = listener(AF_INET, 0), a = tcp(AF_INET), b = tcp(AF_INET), c = tcp(AF_INET), d = tcp(AF_INET);
    printf("first: %d\n", connect_to(AF_INET, a, l)); // one more than the backlog fits
    fcntl(d, F_SETFL, O_NONBLOCK);
    set_int(d, IPPROTO_TCP, TCP_SYNCNT, 1);
    int r = connect_to(AF_INET, d, l);
    printf("non-blocking: %d %s\n", r, errno_name(errno));
    r = connect_to(AF_INET, d, l);
    printf("and again: %d %s\n", r, errno_name(errno));
    set_int(b, IPPROTO_TCP, TCP_SYNCNT, 1);
    double begin = now();
    r = connect_to(AF_INET, b, l);
    printf("second: %d %s %s\n", r, errno_name(errno), between(begin, 1, 8));
    struct timeval wait = {0, 200000};
    setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    begin = now();
    r = connect_to(AF_INET, c, l);
    printf("SO_SNDTIMEO: %d %s %s\n", r, errno_name(errno), between(begin, 0.19, 1.5));
    r = connect_to(AF_INET, c, l);
    printf("and again: %d %s\n", r, errno_name(errno));
    struct pollfd p = {d, POLLOUT, 0};
    int error = 0;
    socklen_t len = sizeof error;
    r = poll(&p, 1, 8000);
    getsockopt(d, SOL_SOCKET, SO_ERROR, &error, &len);
    printf("poll %d 0x%x, SO_ERROR %s\n", r, p.revents & ~POLLRDHUP, errno_name(error));
    close(a);
    close(b);
    close(c);
    close(d);
    close(l);
}

static struct address target;
static void *connects(void *arg)
{
    int fd = *(int *)arg;
    return (void *)(intptr_t)(connect(fd, &target.any, target.len) ? errno : 0);
}

static int pending[2];
static void *sends(void *arg)
{
    static char block[1 << 20];
    (void)arg;
    ssize_t n;
    while ((n = send(pending[0], block, sizeof block, MSG_NOSIGNAL)) > 0)
        ;
    return (void *)(intptr_t)errno;
}

static void threads(void)
{
    section("several threads");
    // Two connect one socket, which has to wait: the second waits with the first.
    int l = listener(AF_INET, 0), a = tcp(AF_INET), b = tcp(AF_INET);
    connect_to(AF_INET, a, l);
    set_int(b, IPPROTO_TCP, TCP_SYNCNT, 1);
    target = loopback(AF_INET, port_of(l));
    pthread_t t[2];
    void *r[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, connects, &b);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], &r[i]);
    int first = (int)(intptr_t)r[0], second = (int)(intptr_t)r[1];
    printf("connect twice: %s, %s\n", first == ETIMEDOUT || second == ETIMEDOUT ? "ETIMEDOUT" : "none", first && second ? "an error" : "0");
    close(a);
    close(b);
    close(l);
    // Two senders that wait for room, and connect(2) with AF_UNSPEC.
    tcp_pair(AF_INET, pending);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, sends, NULL);
    usleep(200000);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    printf("disconnect %d\n", connect(pending[0], &none, sizeof none));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], &r[i]);
    printf("both senders are back\n");
    close_pair(pending);
}

static void linger2(void)
{
    section("TCP_LINGER2");
    int v[2];
    char c;
    tcp_pair(AF_INET, v);
    set_int(v[0], IPPROTO_TCP, TCP_LINGER2, -1); // no FIN-WAIT-2: a RST behind the FIN
    close(v[0]);
    settle(v[1], 0);
    ssize_t n = recv(v[1], &c, 1, 0);
    printf("recv %zd %s\n", n, n < 0 ? errno_name(errno) : "");
    close(v[1]);
    tcp_pair(AF_INET, v);
    set_int(v[0], IPPROTO_TCP, TCP_LINGER2, 30);
    close(v[0]);
    settle(v[1], POLLIN);
    printf("recv %zd\n", recv(v[1], &c, 1, 0));
    printf("send %zd\n", send(v[1], "x", 1, MSG_NOSIGNAL));
    close(v[1]);
}

static void states(void)
{
    section("states");
    int v[2];
    struct address a = {.len = sizeof a.v6};
    tcp_pair(AF_INET, v);
    shutdown(v[0], SHUT_WR);
    settle(v[1], POLLRDHUP);
    shutdown(v[1], SHUT_WR);
    settle(v[0], 0);
    printf("%d %d\n", tcp_state(v[0]), tcp_state(v[1]));
    for (int i = 0; i < 2; i++)
        printf("getpeername %s\n", getpeername(v[i], &a.any, &a.len) ? errno_name(errno) : "ok");
    close_pair(v);
    tcp_pair(AF_INET, v);
    struct linger on = {1, 5};
    setsockopt(v[0], SOL_SOCKET, SO_LINGER, &on, sizeof on);
    double begin = now();
    send(v[0], "bytes", 5, 0);
    close(v[0]);
    printf("close with SO_LINGER: %s\n", between(begin, 0, 2));
    close(v[1]);
}

static void deferred_v4(void) { deferred(AF_INET); }
static void deferred_v6(void) { deferred(AF_INET6); }

int main(void)
{
    // Those that wait for seconds do it at the same time, each in a process.
    static void (*const slow[])(void) = {deferred_v4, deferred_v6, full_queue, threads};
    enum { SLOW = sizeof slow / sizeof *slow };
    int out[SLOW];
    setvbuf(stdout, NULL, _IOLBF, 0);
    defer_values();
    for (int i = 0; i < SLOW; i++) {
        int v[2];
        if (pipe(v))
            give_up("pipe");
        pid_t child = fork();
        if (child < 0)
            give_up("fork");
        if (!child) {
            dup2(v[1], 1);
            slow[i]();
            _exit(fflush(stdout));
        }
        close(v[1]);
        out[i] = v[0];
    }
    for (int i = 0; i < SLOW; i++) {
        char text[4096];
        for (ssize_t n; (n = read(out[i], text, sizeof text)) > 0;)
            fwrite(text, 1, (size_t)n, stdout);
        int status;
        wait(&status);
        printf("status %d\n", status);
    }
    deferred_much();
    linger2();
    states();
    return 0;
}
