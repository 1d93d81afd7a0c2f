// Listening TCP sockets: who may have which port (SO_REUSEADDR, SO_REUSEPORT, V6ONLY and both families, TIME-WAIT), the backlog, blocking and
// non-blocking accept, ports that the system chooses, balancing, users, inherited options.
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include "tcp.h"

enum { REUSE = 1, PORT = 2, LISTENING = 4, ONLY = 8, ANY = 16, SIX = 32, OTHER = 64, BOTH = 128 };

static int one_socket(int what)
{
    int fd = tcp(what & SIX ? AF_INET6 : AF_INET);
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, !!(what & REUSE));
    set_int(fd, SOL_SOCKET, SO_REUSEPORT, !!(what & PORT));
    if (what & SIX)
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !!(what & ONLY));
    return fd;
}

static int bind_to(int fd, int what, int port)
{
    int family = what & SIX ? AF_INET6 : AF_INET;
    struct address a = what & ANY ? anywhere(family, port) : loopback(family, port);
    if (what & OTHER)
        a.v4.sin_addr.s_addr = htonl(0x7f000002);
    return bind(fd, &a.any, a.len);
}

static const char *describe(int what)
{
    static char text[2][80];
    static int turn;
    char *t = text[turn ^= 1];
    snprintf(t, sizeof text[0], "%s%s%s%s%s%s", what & SIX ? "6" : "4", what & ANY ? "any" : what & OTHER ? "other" : "lo", what & ONLY ? "only" : "",
             what & REUSE ? " reuse" : "", what & PORT ? " port" : "", what & LISTENING ? " listens" : "");
    return t;
}

// The second of two at the same port.
static void conflict(int first, int second)
{
    int a = one_socket(first), b = one_socket(second);
    if (bind_to(a, first, 0) || (first & LISTENING && listen(a, 1)))
        give_up("bind");
    printf("%s, then %s: ", describe(first), describe(second));
    if (bind_to(b, second, port_of(a)))
        printf("bind %s\n", errno_name(errno));
    else if (second & LISTENING && listen(b, 1))
        printf("listen %s\n", errno_name(errno));
    else
        printf("ok\n");
    close(a);
    close(b);
}

static void conflicts(void)
{
    static const int kinds[] = {0, LISTENING, REUSE, REUSE | LISTENING, PORT, PORT | LISTENING, REUSE | PORT | LISTENING};
    section("conflicts");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            conflict(kinds[i], kinds[k]);
    section("addresses");
    static const int places[] = {0, OTHER, ANY, SIX, SIX | ANY, SIX | ANY | ONLY};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t k = 0; k < sizeof places / sizeof *places; k++)
            conflict(places[i] | LISTENING, places[k] | LISTENING);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t k = 0; k < sizeof places / sizeof *places; k++)
            conflict(places[i] | REUSE | LISTENING, places[k] | REUSE | LISTENING);
}

static void time_wait(void)
{
    section("TIME-WAIT");
    for (int reuse = 0; reuse < 2; reuse++) {
        int l = one_socket(reuse ? REUSE : 0), fd = tcp(AF_INET);
        bind_to(l, 0, 0);
        listen(l, 1);
        int port = port_of(l);
        connect_to(AF_INET, fd, l);
        int c = accept(l, NULL, NULL);
        close(l);
        int again = one_socket(0), same = one_socket(REUSE);
        printf("%s: a connection stands there: ", reuse ? "reuse" : "plain");
        SHOW(bind_to(again, 0, port));
        SHOW(bind_to(same, 0, port));
        close(same);
        shutdown(c, SHUT_WR); // this end is the first
        settle(fd, POLLRDHUP);
        close(fd);
        settle(c, POLLHUP);
        close(c);
        usleep(10000);
        SHOW(bind_to(again, 0, port));
        same = one_socket(REUSE);
        SHOW(bind_to(same, 0, port));
        close(again);
        close(same);
    }
}

static void backlog(void)
{
    section("backlog");
    int l = listener(AF_INET, 1), fds[4];
    for (int i = 0; i < 2; i++) {
        fds[i] = tcp(AF_INET);
        printf("%d: %d\n", i, connect_to(AF_INET, fds[i], l));
    }
    fds[2] = tcp(AF_INET);
    fcntl(fds[2], F_SETFL, O_NONBLOCK);
    SHOW(connect_to(AF_INET, fds[2], l));
    usleep(20000);
    show_events("the third", fds[2]);
    SHOW(connect_to(AF_INET, fds[2], l));
    show_error("the third", fds[2]);
    for (int i = 0; i < 3; i++) {
        int c = accept(l, NULL, NULL); // the third comes when Linux has tried again
        printf("accepted %d\n", c >= 0);
        close(c);
    }
    settle(fds[2], POLLOUT);
    SHOW(connect_to(AF_INET, fds[2], l));
    fcntl(l, F_SETFL, O_NONBLOCK);
    SHOW(accept(l, NULL, NULL));
    struct timeval tv = {0, 20000};
    fcntl(l, F_SETFL, 0);
    setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(accept(l, NULL, NULL));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    struct tcp_info info;
    socklen_t len = sizeof info;
    SHOW(listen(l, 7));
    getsockopt(l, IPPROTO_TCP, TCP_INFO, &info, &len);
    printf("state %d, waiting %u of %u\n", info.tcpi_state, info.tcpi_unacked, info.tcpi_sacked);
    close(l);
}

static void chosen(void)
{
    section("chosen ports");
    enum { COUNT = 200 };
    static int fds[COUNT], ports[COUNT];
    int same = 0, outside = 0, ascending = 0;
    for (int i = 0; i < COUNT; i++) {
        fds[i] = tcp(AF_INET);
        bind_to(fds[i], 0, 0);
        ports[i] = port_of(fds[i]);
        outside += ports[i] < 1024;
        ascending += i && (ports[i] - ports[i - 1] == 1 || ports[i] - ports[i - 1] == 2);
        for (int k = 0; k < i; k++)
            same += ports[k] == ports[i];
    }
    printf("the same %d, outside %d, in a row: %s\n", same, outside, ascending > COUNT / 2 ? "yes" : "no");
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    int l = listener(AF_INET, 300), fd = tcp(AF_INET);
    struct address a = loopback(AF_INET, 0);
    SHOW(listen(fd, 1)); // without bind
    printf("has a port: %d\n", port_of(fd) > 0);
    close(fd);
    fd = tcp(AF_INET);
    bind(fd, &a.any, a.len);
    int port = port_of(fd), other = tcp(AF_INET);
    SHOW(connect_to(AF_INET, fd, l));
    set_int(other, SOL_SOCKET, SO_REUSEADDR, 1);
    a = loopback(AF_INET, port);
    SHOW(bind(other, &a.any, a.len));
    close(fd);
    close(other);
    close(l);
}

static void balanced(void)
{
    section("balanced");
    enum { LISTENERS = 4, COUNT = 200 };
    int l[LISTENERS], got[LISTENERS] = {0}, fds[COUNT];
    for (int i = 0; i < LISTENERS; i++) {
        l[i] = one_socket(PORT);
        if (bind_to(l[i], 0, i ? port_of(l[0]) : 0) || listen(l[i], COUNT))
            give_up("listen");
        fcntl(l[i], F_SETFL, O_NONBLOCK);
    }
    for (int i = 0; i < COUNT; i++) {
        fds[i] = tcp(AF_INET);
        if (connect_to(AF_INET, fds[i], l[0]))
            give_up("connect");
    }
    usleep(20000);
    int sum = 0, few = 0;
    for (int i = 0; i < LISTENERS; i++) {
        for (int c; (c = accept(l[i], NULL, NULL)) >= 0; got[i]++)
            close(c);
        sum += got[i];
        few += got[i] < COUNT / LISTENERS / 4;
    }
    printf("%d, listeners with few: %d\n", sum, few);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (setuid(4711))
            _exit(1);
        int fd = one_socket(PORT);
        SHOW(bind_to(fd, 0, port_of(l[0])));
        exit(0);
    }
    waitpid(pid, NULL, 0);
    for (int i = 0; i < LISTENERS; i++)
        close(l[i]);
}

static void both_families(void)
{
    section("both families");
    int l = one_socket(SIX);
    bind_to(l, SIX | ANY, 0);
    listen(l, 3);
    int fd = tcp(AF_INET);
    SHOW(connect_to(AF_INET, fd, l));
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    int c = accept(l, (void *)&a, &len);
    printf("family %s, length %u, mapped %d, %d.%d.%d.%d\n", a.sin6_family == AF_INET6 ? "6" : "4", len, IN6_IS_ADDR_V4MAPPED(&a.sin6_addr),
           a.sin6_addr.s6_addr[12], a.sin6_addr.s6_addr[13], a.sin6_addr.s6_addr[14], a.sin6_addr.s6_addr[15]);
    len = sizeof a;
    getsockname(c, (void *)&a, &len);
    printf("own name mapped: %d\n", IN6_IS_ADDR_V4MAPPED(&a.sin6_addr));
    close(c);
    close(fd);
    fd = tcp(AF_INET6);
    SHOW(connect_to(AF_INET6, fd, l));
    close(fd);
    // A mapped address from an IPv6 socket.
    fd = tcp(AF_INET6);
    memset(&a, 0, sizeof a);
    a.sin6_family = AF_INET6;
    a.sin6_port = htons((uint16_t)port_of(l));
    memset(&a.sin6_addr.s6_addr[10], 0xff, 2);
    a.sin6_addr.s6_addr[12] = 127;
    a.sin6_addr.s6_addr[15] = 1;
    SHOW(connect(fd, (void *)&a, sizeof a));
    len = sizeof a;
    getsockname(fd, (void *)&a, &len);
    printf("own name mapped: %d, length %u\n", IN6_IS_ADDR_V4MAPPED(&a.sin6_addr), len);
    close(fd);
    fd = one_socket(SIX | ONLY);
    a.sin6_port = htons((uint16_t)port_of(l));
    SHOW(connect(fd, (void *)&a, sizeof a));
    SHOW(bind(fd, (void *)&a, sizeof a));
    close(fd);
    close(l);
    l = one_socket(SIX | ONLY);
    bind_to(l, SIX | ANY | ONLY, 0);
    listen(l, 3);
    fd = tcp(AF_INET);
    SHOW(connect_to(AF_INET, fd, l));
    close(fd);
    close(l);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) ? -errno : value;
}

static void inherited(void)
{
    section("inherited");
    int l = listener(AF_INET, 3), fd = tcp(AF_INET);
    set_int(l, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(l, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(l, IPPROTO_TCP, TCP_KEEPIDLE, 33);
    set_int(l, IPPROTO_TCP, TCP_KEEPINTVL, 44);
    set_int(l, IPPROTO_TCP, TCP_KEEPCNT, 5);
    set_int(l, IPPROTO_TCP, TCP_USER_TIMEOUT, 6000);
    set_int(l, SOL_SOCKET, SO_RCVBUF, 30000);
    set_int(l, SOL_SOCKET, SO_SNDBUF, 31000);
    set_int(l, IPPROTO_IP, IP_TOS, 0x10);
    fcntl(l, F_SETFL, O_NONBLOCK);
    connect_to(AF_INET, fd, l);
    settle(l, POLLIN);
    int c = accept(l, NULL, NULL);
    printf("%d %d %d %d %d %d %d %d, tos %#x, reuse %d, flags %#x\n", option(c, IPPROTO_TCP, TCP_NODELAY), option(c, SOL_SOCKET, SO_KEEPALIVE),
           option(c, IPPROTO_TCP, TCP_KEEPIDLE), option(c, IPPROTO_TCP, TCP_KEEPINTVL), option(c, IPPROTO_TCP, TCP_KEEPCNT),
           option(c, IPPROTO_TCP, TCP_USER_TIMEOUT), option(c, SOL_SOCKET, SO_RCVBUF), option(c, SOL_SOCKET, SO_SNDBUF),
           option(c, IPPROTO_IP, IP_TOS), option(c, SOL_SOCKET, SO_REUSEADDR), fcntl(c, F_GETFL) & O_NONBLOCK);
    printf("listening: %d %d\n", option(l, SOL_SOCKET, SO_ACCEPTCONN), option(c, SOL_SOCKET, SO_ACCEPTCONN));
    SHOW(listen(c, 1));
    close(c);
    close(fd);
    close(l);
}

int main(void)
{
    conflicts();
    time_wait();
    backlog();
    chosen();
    balanced();
    both_families();
    inherited();
    return 0;
}
