// TCP connections over the loopback, IPv4 and IPv6: connect blocking and not, names, data, MSG_*, half-close, resets, SIGPIPE, poll, full buffers,
// timeouts, ioctls, disconnecting, a socket that meets itself.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <sys/uio.h>

static int family;
static char buf[70000], out[70000];
static volatile int pipes;

static void on_pipe(int signal)
{
    (void)signal;
    pipes++;
}

static void show_data(const char *what, ssize_t n)
{
    if (n < 0)
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: %zd \"%.*s\"\n", what, n, (int)(n > 40 ? 40 : n), buf);
}

static void show_address(const char *what, int fd, bool peer, int port)
{
    struct address a = {.len = sizeof(struct sockaddr_in6)};
    int r = peer ? getpeername(fd, &a.any, &a.len) : getsockname(fd, &a.any, &a.len);
    struct address same = loopback(family, port), any = anywhere(family, port);
    if (r)
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: family %s, length %u, %s\n", what, a.any.sa_family == AF_INET ? "4" : "6", a.len,
               memcmp(&a, &same, a.len) == 0 ? "as expected" : memcmp(&a, &any, a.len) == 0 ? "any" : "other");
}

static void states(const char *what, int v[2])
{
    printf("%s: states %d %d\n", what, tcp_state(v[0]), tcp_state(v[1]));
    show_events("  first", v[0]);
    show_events("  second", v[1]);
}

static void fresh(void)
{
    section("fresh");
    int fd = tcp(family);
    pipes = 0;
    show_events("fresh", fd);
    show_address("name", fd, false, 0);
    show_address("peer", fd, true, 0);
    show_data("recv", recv(fd, buf, 1, 0));
    SHOW(send(fd, "x", 1, 0));
    printf("SIGPIPE %d\n", pipes);
    SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
    printf("SIGPIPE %d\n", pipes);
    SHOW(shutdown(fd, SHUT_WR));
    show_events("after shutdown", fd);
    SHOW(accept(fd, NULL, NULL));
    int n = 77;
    SHOW(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    printf("state %d\n", tcp_state(fd));
    close(fd);
}

static void refused(void)
{
    section("refused");
    int l = tcp(family), fd = tcp(family);
    struct address a = loopback(family, 0);
    SHOW(bind(l, &a.any, a.len)); // nobody listens there
    SHOW(connect_to(family, fd, l));
    show_error("blocking", fd);
    show_events("blocking", fd);
    SHOW(connect_to(family, fd, l));
    close(fd);
    fd = tcp(family);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SHOW(connect_to(family, fd, l));
    settle(fd, POLLOUT);
    show_events("non-blocking", fd);
    show_error("non-blocking", fd);
    show_error("again", fd);
    SHOW(connect_to(family, fd, l));
    SHOW(connect_to(family, fd, l));
    settle(fd, POLLOUT);
    SHOW(connect_to(family, fd, l));
    SHOW(listen(l, 3));
    SHOW(connect_to(family, fd, l));
    settle(fd, POLLOUT);
    show_error("now", fd);
    show_events("now", fd);
    SHOW(connect_to(family, fd, l));
    SHOW(connect_to(family, fd, l));
    close(fd);
    close(l);
}

static void wrong_addresses(void)
{
    section("wrong addresses");
    int fd = tcp(family);
    struct address a = loopback(family, 9);
    SHOW(connect(fd, &a.any, 1));
    SHOW(connect(fd, &a.any, 15));
    SHOW(connect(fd, &a.any, 0));
    struct address other = loopback(family == AF_INET ? AF_INET6 : AF_INET, 9);
    SHOW(connect(fd, &other.any, other.len));
    SHOW(bind(fd, &a.any, 15));
    SHOW(bind(fd, &other.any, other.len));
    other.any.sa_family = AF_UNIX;
    SHOW(bind(fd, &other.any, sizeof other.v6));
    if (family == AF_INET) {
        a.v4.sin_addr.s_addr = htonl(0xe0000001);
        SHOW(connect(fd, &a.any, a.len));
        a.v4.sin_addr.s_addr = htonl(0xc0000201); // a documentation address is nobody's
        SHOW(bind(fd, &a.any, a.len));
        a.v4.sin_addr.s_addr = htonl(0x7f010203);
        SHOW(bind(fd, &a.any, a.len));
        SHOW(bind(fd, &a.any, a.len));
        a = anywhere(AF_INET, 0);
        a.any.sa_family = AF_UNSPEC;
        int other_fd = tcp(family);
        SHOW(bind(other_fd, &a.any, a.len));
        close(other_fd);
    } else {
        struct address doc = loopback(AF_INET6, 0);
        doc.v6.sin6_addr.s6_addr[0] = 0x20;
        doc.v6.sin6_addr.s6_addr[1] = 1;
        doc.v6.sin6_addr.s6_addr[2] = 0xd;
        doc.v6.sin6_addr.s6_addr[3] = 0xb8;
        SHOW(bind(fd, &doc.any, doc.len));
        struct address multi = loopback(AF_INET6, 0);
        multi.v6.sin6_addr.s6_addr[0] = 0xff;
        multi.v6.sin6_addr.s6_addr[1] = 2;
        SHOW(bind(fd, &multi.any, multi.len));
    }
    SHOW(accept(fd, NULL, NULL));
    SHOW(accept4(fd, NULL, NULL, 0x1234));
    close(fd);
    SHOW(socket(family, SOCK_SEQPACKET, 0));
    SHOW(socket(family, SOCK_STREAM, IPPROTO_UDP));
    SHOW(socket(family, SOCK_STREAM, -1));
    SHOW(socket(family, SOCK_STREAM, 300));
    SHOW(socket(family, SOCK_RDM, 0));
    SHOW(socket(family, SOCK_RAW, 0));
    int v[2];
    SHOW(socketpair(family, SOCK_STREAM, 0, v));
}

static void basics(void)
{
    section("basics");
    int l = listener(family, 5), fd = tcp(family), n = -1;
    show_events("listening", l);
    show_address("listener", l, false, port_of(l));
    show_address("listener's peer", l, true, 0);
    SHOW(connect_to(family, l, l));
    show_data("recv of the listener", recv(l, buf, 1, 0));
    SHOW(send(l, "x", 1, MSG_NOSIGNAL));
    printf("listener's state %d\n", tcp_state(l));
    SHOW(connect_to(family, fd, l));
    SHOW(connect_to(family, fd, l));
    settle(l, POLLIN);
    show_events("waits", l);
    SHOW(send(fd, "early", 5, 0));
    struct address a = {.len = sizeof(struct sockaddr_in6)};
    int c = accept4(l, &a.any, &a.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    printf("accepted %d, length %u, flags %d %#x\n", c >= 0, a.len, fcntl(c, F_GETFD), fcntl(c, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    struct address from = loopback(family, port_of(fd));
    printf("from the connector: %d\n", memcmp(&a, &from, a.len) == 0);
    show_address("connector", fd, false, port_of(fd));
    show_address("connector's peer", fd, true, port_of(l));
    show_address("accepted", c, false, port_of(l));
    show_address("accepted one's peer", c, true, port_of(fd));
    show_events("connected", fd);
    settle(c, POLLIN);
    show_events("accepted", c);
    SHOW(ioctl(c, FIONREAD, &n));
    printf("FIONREAD %d\n", n);
    show_data("peek", recv(c, buf, 3, MSG_PEEK));
    show_data("trunc", recv(c, memcpy(buf, "----", 5), 2, MSG_TRUNC));
    show_data("rest", read(c, buf, 100));
    show_data("none", read(c, buf, 100));
    show_data("of zero", read(c, buf, 0));
    show_data("oob", recv(c, buf, 1, MSG_OOB));
    SHOW(ioctl(c, SIOCATMARK, &n));
    printf("%d\n", n);
    SHOW(write(c, "pong", 4));
    show_data("waitall", recv(fd, buf, 4, MSG_WAITALL));
    SHOW(sendto(fd, "to", 2, 0, &a.any, a.len));
    settle(c, POLLIN);
    struct sockaddr_storage ignored;
    socklen_t ignored_len = sizeof ignored;
    show_data("recvfrom", recvfrom(c, buf, 10, 0, (void *)&ignored, &ignored_len));
    printf("name length %u\n", ignored_len);
    struct iovec v[3] = {{"a", 1}, {"bc", 2}, {"", 0}};
    SHOW(writev(fd, v, 3));
    settle(c, POLLIN);
    struct iovec w[2] = {{buf, 1}, {buf + 1, 10}};
    show_data("readv", readv(c, w, 2));
    SHOW(ioctl(fd, TIOCOUTQ, &n));
    printf("TIOCOUTQ %d\n", n);
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(pread(fd, buf, 1, 0));
    close(c);
    close(fd);
    close(l);
}

static void half_close(void)
{
    section("half-close");
    int v[2];
    tcp_pair(family, v);
    pipes = 0;
    SHOW(write(v[0], "last", 4));
    SHOW(shutdown(v[0], SHUT_WR));
    settle(v[1], POLLRDHUP);
    states("half", v);
    SHOW(write(v[0], "x", 1));
    printf("SIGPIPE %d\n", pipes);
    show_data("read", read(v[1], buf, 10));
    show_data("end", read(v[1], buf, 10));
    SHOW(write(v[1], "answer", 6));
    show_data("answer", recv(v[0], buf, 6, MSG_WAITALL));
    SHOW(shutdown(v[1], SHUT_WR));
    settle(v[0], POLLHUP);
    states("both", v);
    show_data("end", read(v[0], buf, 10));
    SHOW(write(v[1], "x", 1));
    SHOW(shutdown(v[0], SHUT_RDWR));
    close_pair(v);
    tcp_pair(family, v);
    SHOW(shutdown(v[0], SHUT_RD));
    states("reads no more", v);
    show_data("end", read(v[0], buf, 10));
    SHOW(write(v[1], "still", 5));
    usleep(20000);
    show_data("still", recv(v[0], buf, 10, MSG_DONTWAIT));
    show_data("end", read(v[0], buf, 10));
    SHOW(shutdown(v[0], 3));
    SHOW(shutdown(v[0], SHUT_RDWR));
    settle(v[1], POLLRDHUP);
    states("closed by one", v);
    close_pair(v);
}

static void close_and_reset(void)
{
    section("close");
    int v[2];
    tcp_pair(family, v);
    pipes = 0;
    SHOW(write(v[0], "rest", 4));
    close(v[0]);
    settle(v[1], POLLRDHUP);
    printf("state %d\n", tcp_state(v[1]));
    show_events("peer closed", v[1]);
    show_data("read", read(v[1], buf, 10));
    show_data("end", read(v[1], buf, 10));
    SHOW(write(v[1], "one", 3));
    settle(v[1], POLLERR);
    show_events("written", v[1]);
    SHOW(write(v[1], "two", 3));
    printf("SIGPIPE %d\n", pipes);
    show_error("after", v[1]);
    SHOW(write(v[1], "three", 5));
    printf("SIGPIPE %d\n", pipes);
    show_data("read", read(v[1], buf, 10));
    printf("state %d\n", tcp_state(v[1]));
    close(v[1]);

    section("unread data");
    tcp_pair(family, v);
    pipes = 0;
    SHOW(write(v[0], "unread", 6));
    SHOW(write(v[1], "mine", 4));
    settle(v[0], POLLIN);
    settle(v[1], POLLIN);
    close(v[1]);
    settle(v[0], POLLERR);
    show_events("reset", v[0]);
    show_data("what was there", read(v[0], buf, 10));
    show_data("error", read(v[0], buf, 10));
    show_data("end", read(v[0], buf, 10));
    SHOW(write(v[0], "x", 1));
    printf("SIGPIPE %d\n", pipes);
    show_events("later", v[0]);
    show_address("peer", v[0], true, 0);
    close(v[0]);

    section("linger 0");
    tcp_pair(family, v);
    pipes = 0;
    linger_zero(v[0]);
    close(v[0]);
    settle(v[1], POLLERR);
    show_events("reset", v[1]);
    SHOW(write(v[1], "x", 1));
    printf("SIGPIPE %d\n", pipes);
    SHOW(write(v[1], "x", 1));
    printf("SIGPIPE %d\n", pipes);
    show_data("end", read(v[1], buf, 10));
    close(v[1]);

    section("not accepted");
    int l = listener(family, 5), fd = tcp(family);
    SHOW(connect_to(family, fd, l));
    settle(l, POLLIN);
    close(l);
    settle(fd, POLLERR);
    show_events("reset", fd);
    show_data("read", read(fd, buf, 10));
    close(fd);
    l = listener(family, 5);
    fd = tcp(family);
    SHOW(connect_to(family, fd, l));
    SHOW(write(fd, "bye", 3));
    close(fd);
    usleep(20000);
    fd = accept(l, NULL, NULL);
    show_data("from one that is gone", read(fd, buf, 10));
    show_data("end", read(fd, buf, 10));
    show_address("peer", fd, true, 0);
    close(fd);
    SHOW(shutdown(l, SHUT_WR));
    show_events("listener", l);
    SHOW(shutdown(l, SHUT_RD));
    show_events("listener", l);
    SHOW(accept(l, NULL, NULL));
    SHOW(listen(l, 1));
    show_events("listens again", l);
    close(l);
}

static void disconnect(void)
{
    section("disconnect");
    int v[2];
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    tcp_pair(family, v);
    SHOW(connect(v[0], &none, sizeof none));
    settle(v[1], POLLERR);
    show_data("peer", read(v[1], buf, 1));
    show_events("disconnected", v[0]);
    show_error("disconnected", v[0]);
    show_address("peer", v[0], true, 0);
    int l = listener(family, 1);
    SHOW(connect_to(family, v[0], l));
    int c = accept(l, NULL, NULL);
    SHOW(write(v[0], "again", 5));
    show_data("again", recv(c, buf, 5, MSG_WAITALL));
    close(c);
    close(l);
    close_pair(v);
    int fd = tcp(family);
    SHOW(connect(fd, &none, sizeof none));
    close(fd);
}

static void itself(void)
{
    section("itself");
    int fd = tcp(family);
    struct address a = loopback(family, 0);
    SHOW(bind(fd, &a.any, a.len));
    SHOW(connect_to(family, fd, fd));
    SHOW(write(fd, "me", 2));
    show_data("read", read(fd, buf, 10));
    show_address("peer", fd, true, port_of(fd));
    SHOW(shutdown(fd, SHUT_WR));
    settle(fd, POLLHUP);
    show_data("end", read(fd, buf, 10));
    close(fd);
}

static void full(void)
{
    section("full");
    int v[2];
    ssize_t n, sum = 0, got = 0;
    tcp_pair(family, v);
    set_int(v[0], SOL_SOCKET, SO_SNDBUF, 20000);
    set_int(v[1], SOL_SOCKET, SO_RCVBUF, 20000);
    memset(out, 'f', sizeof out);
    for (int i = 0; i < 20; i++) { // Linux may take some more each time as its queues settle
        while ((n = send(v[0], out, sizeof out, MSG_DONTWAIT)) > 0)
            sum += n;
        usleep(2000);
    }
    printf("%s, more than 20000: %d, less than 1000000: %d\n", errno_name(errno), sum > 20000, sum < 1000000);
    struct timeval tv = {0, 30000};
    setsockopt(v[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    while ((n = send(v[0], out, 10, 0)) > 0)
        sum += n;
    show_data("full, and a timeout", n);
    while (got < sum && (n = recv(v[1], buf, sizeof buf, 0)) > 0)
        got += n;
    printf("all is there: %d\n", got == sum);
    settle(v[0], POLLOUT);
    show_events("empty", v[0]);
    setsockopt(v[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    show_data("timeout", recv(v[1], buf, 10, 0));
    SHOW(send(v[0], "abc", 3, 0));
    show_data("waitall and timeout", recv(v[1], buf, 10, MSG_WAITALL));
    close_pair(v);
}

static void large(void)
{
    section("large");
    int v[2];
    tcp_pair(family, v);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(v[1]);
        for (int i = 0; i < 50; i++) {
            for (size_t j = 0; j < sizeof out; j++)
                out[j] = (char)(j * 7 + (size_t)i);
            for (size_t done = 0; done < sizeof out;) {
                ssize_t n = write(v[0], out + done, sizeof out - done);
                if (n <= 0)
                    _exit(1);
                done += (size_t)n;
            }
        }
        _exit(0);
    }
    close(v[0]);
    int bad = 0;
    size_t total = 0;
    ssize_t n;
    while ((n = read(v[1], buf, 1 + total % 60000)) > 0) {
        for (ssize_t k = 0; k < n; k++, total++)
            bad += buf[k] != (char)(total % sizeof out * 7 + total / sizeof out);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("%zu bytes, %d wrong, status %d\n", total, bad, status);
    close(v[1]);
}

static void on_alarm(int signal) { (void)signal; }

static void signals(void)
{
    section("signals");
    int v[2];
    tcp_pair(family, v);
    struct sigaction sa = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &sa, NULL);
    struct itimerval t = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &t, NULL);
    show_data("interrupted", read(v[0], buf, 1));
    sa.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &sa, NULL);
    struct timeval tv = {1, 0};
    setsockopt(v[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setitimer(ITIMER_REAL, &t, NULL);
    show_data("with a timeout", read(v[0], buf, 1));
    int l = listener(family, 1);
    sa.sa_flags = 0;
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
    SHOW(accept(l, NULL, NULL));
    close(l);
    close_pair(v);
}

int main(void)
{
    struct sigaction sa = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &sa, NULL);
    for (int i = 0; i < 2; i++) {
        family = i ? AF_INET6 : AF_INET;
        printf("#### %s\n", i ? "IPv6" : "IPv4");
        fresh();
        refused();
        wrong_addresses();
        basics();
        half_close();
        close_and_reset();
        disconnect();
        itself();
        full();
        large();
        signals();
    }
    return 0;
}
