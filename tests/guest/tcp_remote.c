// What the interface shows of connections with another machine: tests/system/net_tcp.py runs it on Linux and on Knarr, with a peer (tcp_remote.py
// HOST PORT) that does what a connection's first line says.
// runner: none
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <arpa/inet.h>
#include <time.h>

static struct address peer;
static char buf[100000];
static volatile int pipes;

static void on_pipe(int signal)
{
    (void)signal;
    pipes++;
}

static int call(const char *what)
{
    int fd = tcp(peer.any.sa_family);
    char line[100];
    if (connect(fd, &peer.any, peer.len))
        give_up("connect %s", errno_name(errno));
    int n = snprintf(line, sizeof line, "%s\n", what);
    if (write(fd, line, (size_t)n) != n)
        give_up("write");
    return fd;
}

static void show_data(const char *what, ssize_t n)
{
    if (n < 0)
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: %zd \"%.*s\"\n", what, n, (int)(n > 40 ? 40 : n), buf);
}

// What the peer saw of the connection before.
static void report(const char *what)
{
    int fd = call("report");
    ssize_t n, total = 0;
    while ((n = read(fd, buf + total, 1000)) > 0)
        total += n;
    printf("%s: the peer says %.*s", what, (int)total, buf);
    close(fd);
}

static long milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void ends(void)
{
    section("the peer closes");
    int fd = call("fin");
    settle(fd, POLLRDHUP);
    show_events("its end", fd);
    printf("state %d\n", tcp_state(fd));
    show_data("read", recv(fd, buf, 3, MSG_WAITALL));
    show_data("end", read(fd, buf, 10));
    pipes = 0;
    SHOW(write(fd, "one", 3));
    settle(fd, POLLERR);
    show_events("its answer", fd);
    SHOW(write(fd, "two", 3));
    printf("SIGPIPE %d\n", pipes);
    show_data("read", read(fd, buf, 10));
    close(fd);

    section("the peer resets");
    fd = call("rst");
    settle(fd, POLLERR);
    show_events("reset", fd);
    show_data("read", read(fd, buf, 10));
    show_data("again", read(fd, buf, 10));
    pipes = 0;
    SHOW(write(fd, "x", 1));
    printf("SIGPIPE %d, state %d\n", pipes, tcp_state(fd));
    SHOW(shutdown(fd, SHUT_RDWR));
    close(fd);

    fd = call("data and rst");
    settle(fd, POLLERR);
    show_error("data and reset", fd);
    show_data("read", read(fd, buf, 10));
    show_data("end", read(fd, buf, 10));
    close(fd);

    section("half-close");
    fd = call("echo");
    SHOW(write(fd, "hello", 5));
    SHOW(shutdown(fd, SHUT_WR));
    show_data("answer", recv(fd, buf, 5, MSG_WAITALL));
    settle(fd, POLLHUP);
    show_events("both", fd);
    show_data("end", read(fd, buf, 10));
    pipes = 0;
    SHOW(write(fd, "x", 1));
    printf("SIGPIPE %d\n", pipes);
    close(fd);
    report("half-close");
    fd = call("echo");
    SHOW(shutdown(fd, SHUT_RD));
    SHOW(write(fd, "still", 5));
    usleep(100000);
    show_data("still", recv(fd, buf, 10, MSG_DONTWAIT));
    show_data("end", read(fd, buf, 10));
    close(fd);
    report("shut for reading");
}

static void our_ends(void)
{
    section("our ends");
    int fd = call("sink");
    write(fd, "abc", 3);
    close(fd);
    report("close");
    fd = call("sink");
    write(fd, "abc", 3);
    usleep(50000);
    linger_zero(fd);
    close(fd);
    report("linger 0");
    fd = call("fin");
    settle(fd, POLLIN);
    close(fd);
    fd = call("greet");
    settle(fd, POLLIN);
    close(fd);
    report("unread data");
    fd = call("sink");
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    usleep(50000);
    SHOW(connect(fd, &none, sizeof none));
    show_events("disconnected", fd);
    close(fd);
    report("disconnect");
    fd = call("slow");
    memset(buf, 's', sizeof buf);
    for (int i = 0; i < 20; i++)
        if (write(fd, buf, sizeof buf) != sizeof buf)
            printf("write: %s\n", errno_name(errno));
    close(fd); // with most of it still to be sent
    report("close at once");
    fd = call("slow");
    struct linger l = {1, 20};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    for (int i = 0; i < 10; i++)
        if (write(fd, buf, sizeof buf) != sizeof buf)
            printf("write: %s\n", errno_name(errno));
    SHOW(close(fd));
    report("lingering");
}

static void buffers(void)
{
    section("buffers");
    int fd = call("slow");
    ssize_t n, sum = 0;
    memset(buf, 's', sizeof buf);
    set_int(fd, SOL_SOCKET, SO_SNDBUF, 30000);
    while ((n = send(fd, buf, sizeof buf, MSG_DONTWAIT)) > 0)
        sum += n;
    printf("%s, some %d\n", errno_name(errno), sum > 10000);
    int unsent = -1;
    SHOW(ioctl(fd, TIOCOUTQ, &unsent));
    settle(fd, POLLOUT);
    show_events("room again", fd);
    while (unsent > 0 && ioctl(fd, TIOCOUTQ, &unsent) == 0)
        usleep(10000);
    printf("unsent %d\n", unsent);
    close(fd);
    // A reader that does not read holds the sender up.
    fd = tcp(peer.any.sa_family);
    set_int(fd, SOL_SOCKET, SO_RCVBUF, 20000);
    if (connect(fd, &peer.any, peer.len) || write(fd, "source\n", 7) != 7)
        give_up("connect");
    usleep(400000);
    int there = -1;
    SHOW(ioctl(fd, FIONREAD, &there));
    printf("held up: %d\n", there > 1000 && there < 100000);
    for (sum = 0; (n = read(fd, buf, sizeof buf)) > 0;)
        sum += n;
    printf("%zd bytes\n", sum);
    close(fd);
    struct timeval tv = {0, 50000};
    fd = call("sink");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    long start = milliseconds();
    show_data("timeout", read(fd, buf, 10));
    printf("after %s\n", milliseconds() - start >= 45 ? "a while" : "no time");
    close(fd);
}

static void cork(void)
{
    section("cork");
    int fd = call("pieces"); // what comes within 150 ms
    set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
    write(fd, "a", 1);
    write(fd, "b", 1);
    usleep(60000);
    write(fd, "c", 1);
    set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
    show_data("corked", recv(fd, buf, 4, MSG_WAITALL));
    close(fd);
    fd = call("pieces");
    send(fd, "a", 1, MSG_MORE);
    usleep(60000);
    send(fd, "bc", 2, 0);
    show_data("more", recv(fd, buf, 4, MSG_WAITALL));
    close(fd);
}

static void connecting(int refusing)
{
    section("connecting");
    struct address a = peer;
    a.v4.sin_port = htons((uint16_t)refusing); // at the same place in both families
    int fd = tcp(peer.any.sa_family);
    SHOW(connect(fd, &a.any, a.len));
    SHOW(connect(fd, &peer.any, peer.len)); // the same socket, once more
    SHOW(connect(fd, &peer.any, peer.len));
    close(fd);
    fd = tcp(peer.any.sa_family);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SHOW(connect(fd, &a.any, a.len));
    settle(fd, POLLOUT);
    show_events("refused", fd);
    show_error("refused", fd);
    close(fd);
    fd = tcp(peer.any.sa_family);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SHOW(connect(fd, &peer.any, peer.len));
    settle(fd, POLLOUT);
    show_events("connected", fd);
    SHOW(connect(fd, &peer.any, peer.len));
    SHOW(connect(fd, &peer.any, peer.len));
    struct address name = {.len = sizeof(struct sockaddr_in6)};
    SHOW(getpeername(fd, &name.any, &name.len));
    printf("the peer's name: %d\n", memcmp(&name, &peer, 8) == 0);
    close(fd);
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &sa, NULL);
    if (argc < 4)
        return 1;
    peer = loopback(strchr(argv[1], ':') ? AF_INET6 : AF_INET, atoi(argv[2]));
    inet_pton(peer.any.sa_family, argv[1], peer.any.sa_family == AF_INET ? (void *)&peer.v4.sin_addr : (void *)&peer.v6.sin6_addr);
    connecting(atoi(argv[3]));
    ends();
    our_ends();
    buffers();
    cork();
    return 0;
}
