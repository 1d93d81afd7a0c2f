// UDP within the machine, over IPv4 and IPv6: bind, connect, sending and receiving, what is refused and why.
// cpus: 1 2
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage room;
};

static socklen_t size_of(int family) { return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6); }

static union address loopback(int family, int port)
{
    union address a;
    memset(&a, 0, sizeof a);
    a.sa.sa_family = family;
    if (family == AF_INET) {
        a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a.in.sin_port = htons(port);
    } else {
        a.in6.sin6_addr = in6addr_loopback;
        a.in6.sin6_port = htons(port);
    }
    return a;
}

static int port_of(int fd)
{
    union address a;
    socklen_t len = sizeof a;
    if (getsockname(fd, &a.sa, &len) < 0)
        give_up("getsockname");
    return ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
}

static const char *show_address(const union address *a, socklen_t len)
{
    static char text[2][80], ip[64];
    static int turn;
    char *t = text[turn ^= 1];
    if (len == 0)
        return "none";
    if (a->sa.sa_family == AF_INET)
        snprintf(t, sizeof text[0], "%s port %s len %d", inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof ip), a->in.sin_port ? "some" : "0", len);
    else if (a->sa.sa_family == AF_INET6)
        snprintf(t, sizeof text[0], "%s port %s len %d scope %u", inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip), a->in6.sin6_port ? "some" : "0", len, a->in6.sin6_scope_id);
    else
        snprintf(t, sizeof text[0], "family %d len %d", a->sa.sa_family, len);
    return t;
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM, 0);
    if (fd < 0)
        give_up("socket");
    struct timeval tv = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static int bound(int family, int *port)
{
    int fd = new_socket(family);
    union address a = loopback(family, 0);
    if (bind(fd, &a.sa, size_of(family)) < 0)
        give_up("bind");
    *port = port_of(fd);
    return fd;
}

static void show_names(int fd)
{
    union address a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    printf("name: %s\n", getsockname(fd, &a.sa, &len) < 0 ? errno_name(errno) : show_address(&a, len));
    len = sizeof a;
    printf("peer: %s\n", getpeername(fd, &a.sa, &len) < 0 ? errno_name(errno) : show_address(&a, len));
}

static void names(int family)
{
    section("names");
    int fd = new_socket(family), port;
    union address a = loopback(family, 0);
    show_names(fd);
    SHOW(bind(fd, &a.sa, 1));
    SHOW(bind(fd, &a.sa, size_of(family) - 5));
    a.sa.sa_family = 77;
    SHOW(bind(fd, &a.sa, size_of(family)));
    a.sa.sa_family = AF_UNSPEC;
    SHOW(bind(fd, &a.sa, size_of(family)));
    a = loopback(family, 0);
    if (family == AF_INET)
        inet_pton(AF_INET, "192.0.2.77", &a.in.sin_addr);
    else
        inet_pton(AF_INET6, "2001:db8::77", &a.in6.sin6_addr);
    SHOW(bind(fd, &a.sa, size_of(family)));
    a = loopback(family, 0);
    SHOW(bind(fd, &a.sa, size_of(family)));
    SHOW(bind(fd, &a.sa, size_of(family)));
    show_names(fd);
    port = port_of(fd);
    int other = new_socket(family);
    a = loopback(family, port);
    SHOW(bind(other, &a.sa, size_of(family)));
    SHOW(connect(other, &a.sa, 1));
    SHOW(connect(other, &a.sa, size_of(family) - 5));
    a.sa.sa_family = 77;
    SHOW(connect(other, &a.sa, size_of(family)));
    a.sa.sa_family = family;
    SHOW(connect(other, &a.sa, size_of(family)));
    show_names(other);
    a.sa.sa_family = AF_UNSPEC;
    SHOW(connect(other, &a.sa, sizeof(sa_family_t)));
    show_names(other);
    SHOW(listen(fd, 5));
    SHOW(accept(fd, NULL, NULL));
    close(fd);
    close(other);

    // To nobody in particular is to this machine.
    fd = new_socket(family);
    memset(&a, 0, sizeof a);
    a.sa.sa_family = family;
    a.in.sin_port = htons(port); // the same place in both
    SHOW(connect(fd, &a.sa, size_of(family)));
    show_names(fd);
    close(fd);
}

static void send_and_receive(int family)
{
    section("send and receive");
    int port, fd = bound(family, &port), sender = new_socket(family);
    union address to = loopback(family, port), from;
    char buf[100];
    socklen_t len;
    SHOW(send(sender, "x", 1, 0));
    SHOW(sendto(sender, "hello", 5, 0, &to.sa, size_of(family)));
    len = sizeof from;
    memset(buf, 0, sizeof buf);
    SHOW(recvfrom(fd, buf, sizeof buf, 0, &from.sa, &len));
    printf("%s from %s\n", buf, show_address(&from, len));
    HOLDS((family == AF_INET ? ntohs(from.in.sin_port) : ntohs(from.in6.sin6_port)) == port_of(sender));
    SHOW(sendto(fd, "answer", 6, 0, &from.sa, len));
    SHOW(recv(sender, buf, sizeof buf, 0));
    SHOW(recv(sender, buf, sizeof buf, MSG_DONTWAIT));

    // Lengths.
    SHOW(sendto(sender, "", 0, 0, &to.sa, size_of(family)));
    SHOW(recv(fd, buf, sizeof buf, 0));
    SHOW(sendto(sender, "0123456789", 10, 0, &to.sa, size_of(family)));
    int n;
    SHOW(ioctl(fd, FIONREAD, &n));
    printf("%d bytes\n", n);
    SHOW(recv(fd, buf, 4, MSG_PEEK));
    SHOW(recv(fd, buf, 4, MSG_PEEK | MSG_TRUNC));
    struct iovec v = {buf, 4};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &v, .msg_iovlen = 1};
    SHOW(recvmsg(fd, &m, 0));
    printf("flags %x, %s, %.4s\n", m.msg_flags, show_address(&from, m.msg_namelen), buf);
    SHOW(recv(fd, buf, 4, MSG_DONTWAIT | MSG_PEEK));
    SHOW(ioctl(fd, FIONREAD, &n));
    printf("%d bytes\n", n);
    SHOW(ioctl(fd, TIOCOUTQ, &n));
    printf("%d bytes on their way\n", n);

    // Addresses that are wrong.
    SHOW(sendto(sender, "x", 1, 0, &to.sa, 1));
    SHOW(sendto(sender, "x", 1, 0, &to.sa, size_of(family) - 6));
    union address wrong = to;
    wrong.sa.sa_family = 77;
    SHOW(sendto(sender, "x", 1, 0, &wrong.sa, size_of(family)));
    wrong = to;
    wrong.in.sin_port = 0;
    SHOW(sendto(sender, "x", 1, 0, &wrong.sa, size_of(family)));
    wrong = to;
    wrong.sa.sa_family = AF_UNSPEC;
    SHOW(sendto(sender, "x", 1, 0, &wrong.sa, size_of(family)));
    SHOW(sendto(sender, "x", 1, MSG_OOB, &to.sa, size_of(family)));
    SHOW(sendto(sender, (void *)1, 1, 0, &to.sa, size_of(family)));
    while (recv(fd, buf, sizeof buf, MSG_DONTWAIT) >= 0)
        ;
    close(fd);
    close(sender);
}

static void large(int family)
{
    section("large ones");
    int port, fd = bound(family, &port), sender = new_socket(family);
    union address to = loopback(family, port);
    static char out[70000], in[70000];
    uint32_t seed = 42;
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = noise(&seed);
    int most = family == AF_INET ? 65507 : 65527, sizes[] = {1, 255, 1472, 1473, 3800, 4000, 4096, 4097, 9000, 40000, 65507, most, most + 1, 65535, 65536, 70000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        errno = 0;
        long n = sendto(sender, out, sizes[i], 0, &to.sa, size_of(family));
        printf("%d: ", sizes[i]);
        if (n < 0) {
            printf("%s\n", errno_name(errno));
            continue;
        }
        memset(in, 0, sizeof in);
        long got = recv(fd, in, sizeof in, 0);
        printf("%ld %ld %s\n", n, got, memcmp(in, out, sizes[i]) ? "differ" : "same");
    }
    close(fd);
    close(sender);
}

static void connected(int family)
{
    section("connected");
    int port, fd = bound(family, &port), peer = bound(family, &(int){0}), stranger = new_socket(family);
    union address to = loopback(family, port), p = loopback(family, port_of(peer));
    char buf[100];
    SHOW(sendto(stranger, "early", 5, 0, &to.sa, size_of(family)));
    SHOW(connect(fd, &p.sa, size_of(family)));
    SHOW(sendto(stranger, "late", 4, 0, &to.sa, size_of(family)));
    SHOW(sendto(peer, "friend", 6, 0, &to.sa, size_of(family)));
    for (int i = 0; i < 3; i++) {
        memset(buf, 0, sizeof buf);
        SHOW(recv(fd, buf, sizeof buf, MSG_DONTWAIT));
        printf("%s\n", buf);
    }
    SHOW(send(fd, "a", 1, 0));
    SHOW(write(fd, "bc", 2));
    SHOW(read(peer, buf, sizeof buf));
    SHOW(read(peer, buf, 0));
    SHOW(read(peer, buf, sizeof buf));
    // Another address for one message.
    union address s = loopback(family, port_of(stranger));
    SHOW(sendto(fd, "x", 1, 0, &s.sa, size_of(family)));
    SHOW(recv(stranger, buf, sizeof buf, 0));
    // Shutdown.
    SHOW(shutdown(stranger, SHUT_RD));
    SHOW(shutdown(fd, 7));
    SHOW(shutdown(fd, SHUT_WR));
    SHOW(send(fd, "x", 1, 0));
    struct pollfd pf = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    poll(&pf, 1, 0);
    printf("events %x\n", pf.revents);
    SHOW(shutdown(fd, SHUT_RD));
    SHOW(recv(fd, buf, sizeof buf, 0));
    SHOW(recv(fd, buf, sizeof buf, MSG_DONTWAIT));
    poll(&pf, 1, 0);
    printf("events %x\n", pf.revents);
    close(fd);
    close(peer);
    close(stranger);
}

static void refused(int family)
{
    section("refused");
    int port, fd = bound(family, &port);
    close(fd); // nobody there, most likely
    union address to = loopback(family, port);
    char buf[10];
    int s = new_socket(family), n;
    socklen_t len = sizeof n;
    SHOW(sendto(s, "x", 1, 0, &to.sa, size_of(family)));
    SHOW(sendto(s, "x", 1, 0, &to.sa, size_of(family)));
    SHOW(connect(s, &to.sa, size_of(family)));
    SHOW(send(s, "x", 1, 0));
    struct pollfd pf = {s, POLLIN | POLLOUT, 0};
    SHOW(poll(&pf, 1, 1000));
    printf("events %x\n", pf.revents);
    SHOW(recv(s, buf, sizeof buf, MSG_DONTWAIT));
    SHOW(recv(s, buf, sizeof buf, MSG_DONTWAIT));
    SHOW(send(s, "x", 1, 0));
    SHOW(getsockopt(s, SOL_SOCKET, SO_ERROR, &n, &len));
    printf("error %s\n", errno_name(n));
    SHOW(send(s, "x", 1, 0));
    SHOW(send(s, "x", 1, 0));
    SHOW(send(s, "x", 1, 0));
    close(s);
}

static void dual(void)
{
    section("both families");
    int s = new_socket(AF_INET6), only = new_socket(AF_INET6), four = new_socket(AF_INET), one = 1;
    union address a = loopback(AF_INET6, 0), from;
    socklen_t len = sizeof from;
    char buf[20];
    a.in6.sin6_addr = in6addr_any;
    SHOW(bind(s, &a.sa, sizeof a.in6));
    int port = port_of(s);
    SHOW(setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    SHOW(setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    union address to = loopback(AF_INET, port);
    SHOW(sendto(four, "four", 4, 0, &to.sa, sizeof to.in));
    SHOW(recvfrom(s, buf, sizeof buf, 0, &from.sa, &len));
    printf("%s\n", show_address(&from, len));
    SHOW(sendto(s, "back", 4, 0, &from.sa, len));
    len = sizeof from;
    SHOW(recvfrom(four, buf, sizeof buf, 0, &from.sa, &len));
    printf("%s\n", show_address(&from, len));
    // A mapped address for a socket that is IPv6 only.
    union address mapped = loopback(AF_INET6, port);
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.in6.sin6_addr);
    SHOW(sendto(only, "x", 1, 0, &mapped.sa, sizeof mapped.in6));
    SHOW(connect(only, &mapped.sa, sizeof mapped.in6));
    mapped.in6.sin6_port = 0;
    SHOW(bind(only, &mapped.sa, sizeof mapped.in6));
    SHOW(sendto(only, "x", 1, 0, &to.sa, sizeof to.in));
    SHOW(sendto(s, "x", 1, 0, &to.sa, sizeof to.in)); // an IPv4 address on an IPv6 socket
    SHOW(recv(s, buf, sizeof buf, 0));
    // The IPv4 port is taken by the socket of both.
    union address b = loopback(AF_INET, port);
    SHOW(bind(four, &b.sa, sizeof b.in));
    int taken = new_socket(AF_INET);
    SHOW(bind(taken, &b.sa, sizeof b.in));
    int v6 = new_socket(AF_INET6);
    SHOW(setsockopt(v6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
    a.in6.sin6_port = htons(port);
    SHOW(bind(v6, &a.sa, sizeof a.in6));
    mapped.in6.sin6_port = htons(port);
    int m = new_socket(AF_INET6);
    SHOW(connect(m, &mapped.sa, sizeof mapped.in6));
    show_names(m);
    SHOW(send(m, "m", 1, 0));
    len = sizeof from;
    SHOW(recvfrom(s, buf, sizeof buf, 0, &from.sa, &len));
    printf("%s\n", show_address(&from, len));
    union address six = loopback(AF_INET6, port);
    SHOW(connect(m, &six.sa, sizeof six.in6));
    close(s);
    close(only);
    close(four);
    close(taken);
    close(v6);
    close(m);
}

static void reuse(int family)
{
    section("ports for several");
    int one = 1, a = new_socket(family), b = new_socket(family), c = new_socket(family), s = new_socket(family);
    union address any = loopback(family, 0);
    char buf[10];
    setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    SHOW(bind(a, &any.sa, size_of(family)));
    union address to = loopback(family, port_of(a));
    SHOW(bind(b, &to.sa, size_of(family)));
    setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    SHOW(bind(b, &to.sa, size_of(family)));
    SHOW(sendto(s, "x", 1, 0, &to.sa, size_of(family)));
    printf("first %s, ", recv(a, buf, sizeof buf, MSG_DONTWAIT) == 1 ? "has it" : "has nothing");
    printf("second %s\n", recv(b, buf, sizeof buf, MSG_DONTWAIT) == 1 ? "has it" : "has nothing");
    setsockopt(c, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    SHOW(bind(c, &to.sa, size_of(family)));
    close(a);
    close(b);
    close(c);

    int group[4], counts[4] = {0};
    for (int i = 0; i < 4; i++) {
        group[i] = new_socket(family);
        setsockopt(group[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        union address at = loopback(family, i ? port_of(group[0]) : 0);
        SHOW(bind(group[i], &at.sa, size_of(family)));
    }
    to = loopback(family, port_of(group[0]));
    for (int i = 0; i < 200; i++) {
        int from = new_socket(family);
        sendto(from, "x", 1, 0, &to.sa, size_of(family));
        close(from);
    }
    int sum = 0, all = 1;
    for (int i = 0; i < 4; i++) {
        while (recv(group[i], buf, sizeof buf, MSG_DONTWAIT) == 1)
            counts[i]++;
        sum += counts[i];
        all &= counts[i] > 10;
        close(group[i]);
    }
    printf("%d in all, to each: %s\n", sum, all ? "some" : "not");

    // The most specific one.
    a = new_socket(family);
    memset(&any, 0, sizeof any);
    any.sa.sa_family = family;
    setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    SHOW(bind(a, &any.sa, size_of(family)));
    b = new_socket(family);
    setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    to = loopback(family, port_of(a));
    SHOW(bind(b, &to.sa, size_of(family)));
    SHOW(sendto(s, "x", 1, 0, &to.sa, size_of(family)));
    printf("any %s, ", recv(a, buf, sizeof buf, MSG_DONTWAIT) == 1 ? "has it" : "has nothing");
    printf("own %s\n", recv(b, buf, sizeof buf, MSG_DONTWAIT) == 1 ? "has it" : "has nothing");
    c = new_socket(family);
    setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    SHOW(bind(c, &to.sa, size_of(family)));
    union address peer = loopback(family, port_of(s));
    SHOW(connect(b, &peer.sa, size_of(family)));
    SHOW(sendto(s, "y", 1, 0, &to.sa, size_of(family)));
    printf("connected %s, ", recv(b, buf, sizeof buf, MSG_DONTWAIT) == 1 ? "has it" : "has nothing");
    printf("other %s\n", recv(c, buf, sizeof buf, MSG_DONTWAIT) == 1 ? "has it" : "has nothing");
    close(a);
    close(b);
    close(c);
    close(s);
}

static void limits(int family)
{
    section("a full queue");
    int port, fd = bound(family, &port), s = new_socket(family), n = 4000;
    union address to = loopback(family, port);
    char buf[1000];
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof n);
    int sent = 0, got = 0;
    for (int i = 0; i < 100; i++)
        sent += sendto(s, buf, sizeof buf, 0, &to.sa, size_of(family)) == sizeof buf;
    while (recv(fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
        got++;
    printf("sent %d, got %s\n", sent, got >= 2 && got < 50 ? "some" : "not some");
    SHOW(sendto(s, buf, 10, 0, &to.sa, size_of(family)));
    SHOW(recv(fd, buf, sizeof buf, MSG_DONTWAIT));
    close(fd);
    close(s);
}

static int wait_fd;
static void *late_sender(void *arg)
{
    settle_threads();
    union address to = *(union address *)arg;
    int s = new_socket(to.sa.sa_family);
    sendto(s, "late", 4, 0, &to.sa, size_of(to.sa.sa_family));
    close(s);
    return NULL;
}

static void on_alarm(int sig) {}

static void waiting(int family)
{
    section("waiting");
    int port, fd = bound(family, &port), ep = epoll_create1(0);
    union address to = loopback(family, port);
    pthread_t t;
    char buf[10];
    wait_fd = fd;
    pthread_create(&t, NULL, late_sender, &to);
    SHOW(recv(fd, buf, sizeof buf, 0));
    pthread_join(t, NULL);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    SHOW(epoll_wait(ep, &e, 1, 0));
    printf("%x\n", e.events);
    SHOW(epoll_wait(ep, &e, 1, 0));
    pthread_create(&t, NULL, late_sender, &to);
    SHOW(epoll_wait(ep, &e, 1, 5000));
    printf("%x\n", e.events);
    pthread_join(t, NULL);
    SHOW(epoll_wait(ep, &e, 1, 0));
    int s = new_socket(family); // news, though there is something already
    SHOW(sendto(s, "x", 1, 0, &to.sa, size_of(family)));
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(recv(fd, buf, sizeof buf, 0));
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(recv(fd, buf, sizeof buf, 0));
    struct timeval tv = {0, 20000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(recv(fd, buf, sizeof buf, 0));
    tv = (struct timeval){0, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    struct sigaction sa = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &sa, NULL);
    struct itimerval it = {{0, 0}, {0, 50000}};
    setitimer(ITIMER_REAL, &it, NULL);
    SHOW(recv(fd, buf, sizeof buf, 0));
    close(ep);
    close(fd);
    close(s);
}

int main(void)
{
    int families[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        printf("== IPv%d\n", i ? 6 : 4);
        names(families[i]);
        send_and_receive(families[i]);
        large(families[i]);
        connected(families[i]);
        refused(families[i]);
        reuse(families[i]);
        limits(families[i]);
        waiting(families[i]);
    }
    dual();
    return 0;
}
