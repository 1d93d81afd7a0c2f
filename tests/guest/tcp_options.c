// Options of IPPROTO_TCP and what SOL_SOCKET's mean for TCP: defaults, ranges, lengths, errors; SO_LINGER, SO_RCVLOWAT, TCP_CORK, TCP_INFO.
#include "check.h"
#include "sockets.h"
#include "tcp.h"

static char buf[70000];

static void show_option(const char *what, int fd, int level, int name)
{
    int value = -77;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, name, &value, &len))
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: %d, length %u\n", what, value, len);
}

static void try_values(const char *what, int fd, int level, int name)
{
    static const int values[] = {0, 1, 2, 5, 87, 88, 100, 127, 128, 1000, 32767, 32768, 65536, 1000000, -1};
    printf("%s:", what);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        int got = -77;
        socklen_t len = sizeof got;
        int r = setsockopt(fd, level, name, &values[i], sizeof(int));
        if (r)
            printf(" %s", errno_name(errno));
        else if (getsockopt(fd, level, name, &got, &len))
            printf(" then %s", errno_name(errno));
        else
            printf(" %d", got);
    }
    printf("\n");
}

#define OPTION(fd, name) show_option(#name, fd, IPPROTO_TCP, name)
#define VALUES(fd, name) try_values(#name, fd, IPPROTO_TCP, name)

static void defaults(int family)
{
    section(family == AF_INET ? "defaults, IPv4" : "defaults, IPv6");
    int fd = tcp(family);
    OPTION(fd, TCP_NODELAY);
    OPTION(fd, TCP_MAXSEG);
    OPTION(fd, TCP_CORK);
    OPTION(fd, TCP_KEEPIDLE);
    OPTION(fd, TCP_KEEPINTVL);
    OPTION(fd, TCP_KEEPCNT);
    OPTION(fd, TCP_SYNCNT);
    OPTION(fd, TCP_DEFER_ACCEPT);
    OPTION(fd, TCP_WINDOW_CLAMP);
    OPTION(fd, TCP_QUICKACK);
    OPTION(fd, TCP_THIN_LINEAR_TIMEOUTS);
    OPTION(fd, TCP_THIN_DUPACK);
    OPTION(fd, TCP_USER_TIMEOUT);
    OPTION(fd, TCP_SAVE_SYN);
    OPTION(fd, TCP_INQ);
    OPTION(fd, TCP_REPAIR);
    OPTION(fd, 4711);
    show_option("SO_TYPE", fd, SOL_SOCKET, SO_TYPE);
    show_option("SO_DOMAIN", fd, SOL_SOCKET, SO_DOMAIN);
    show_option("SO_PROTOCOL", fd, SOL_SOCKET, SO_PROTOCOL);
    show_option("SO_REUSEADDR", fd, SOL_SOCKET, SO_REUSEADDR);
    show_option("SO_KEEPALIVE", fd, SOL_SOCKET, SO_KEEPALIVE);
    show_option("SO_RCVLOWAT", fd, SOL_SOCKET, SO_RCVLOWAT);
    show_option("SO_SNDLOWAT", fd, SOL_SOCKET, SO_SNDLOWAT);
    show_option("SO_ACCEPTCONN", fd, SOL_SOCKET, SO_ACCEPTCONN);
    show_option("level 4711", fd, 4711, 1);
    close(fd);
}

static void ranges(void)
{
    section("ranges");
    int fd = tcp(AF_INET);
    VALUES(fd, TCP_NODELAY);
    VALUES(fd, TCP_CORK);
    VALUES(fd, TCP_KEEPIDLE);
    VALUES(fd, TCP_KEEPINTVL);
    VALUES(fd, TCP_KEEPCNT);
    VALUES(fd, TCP_SYNCNT);
    VALUES(fd, TCP_USER_TIMEOUT);
    VALUES(fd, TCP_THIN_LINEAR_TIMEOUTS);
    VALUES(fd, TCP_SAVE_SYN);
    VALUES(fd, TCP_INQ);
    VALUES(fd, TCP_MAXSEG);
    int one = 1;
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 3));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 0));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, NULL, 4));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 100));
    SHOW(setsockopt(fd, IPPROTO_TCP, 4711, &one, 4));
    char small[2];
    socklen_t len = 2;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, small, &len));
    printf("length %u\n", len);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    char name[20] = "";
    len = sizeof name;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    printf("%s, length %u\n", name, len);
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "", 0));
    SHOW(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "nonesuch", 8));
    close(fd);
}

static void buffers(void)
{
    section("buffers");
    int fd = tcp(AF_INET);
    for (int v = 1; v <= 100000; v = v * 10 + 7) {
        set_int(fd, SOL_SOCKET, SO_SNDBUF, v);
        set_int(fd, SOL_SOCKET, SO_RCVBUF, v);
        show_option("SO_SNDBUF", fd, SOL_SOCKET, SO_SNDBUF);
        show_option("SO_RCVBUF", fd, SOL_SOCKET, SO_RCVBUF);
    }
    close(fd);
}

static void low_water(void)
{
    section("SO_RCVLOWAT");
    int v[2];
    tcp_pair(AF_INET, v);
    set_int(v[1], SOL_SOCKET, SO_RCVLOWAT, 10);
    SHOW(write(v[0], "1234", 4));
    usleep(10000);
    show_events("four", v[1]);
    SHOW(recv(v[1], buf, 100, MSG_DONTWAIT));
    SHOW(write(v[0], "0123456789", 10));
    settle(v[1], POLLIN);
    show_events("ten", v[1]);
    SHOW(recv(v[1], buf, 100, 0));
    struct timeval tv = {0, 20000};
    setsockopt(v[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(write(v[0], "abc", 3));
    SHOW(recv(v[1], buf, 100, 0));
    SHOW(shutdown(v[0], SHUT_WR));
    settle(v[1], POLLRDHUP);
    show_events("end", v[1]);
    close_pair(v);
}

static void info(void)
{
    section("TCP_INFO");
    int v[2];
    struct tcp_info i;
    socklen_t len = sizeof i;
    tcp_pair(AF_INET, v);
    memset(&i, 0xff, sizeof i);
    SHOW(getsockopt(v[0], IPPROTO_TCP, TCP_INFO, &i, &len));
    printf("length %d, state %d, retransmits %d, mss is there %d, window scale is there %d\n", len > 100, i.tcpi_state, i.tcpi_retransmits,
           i.tcpi_snd_mss > 500, i.tcpi_options >> 2 & 1);
    len = 1;
    SHOW(getsockopt(v[0], IPPROTO_TCP, TCP_INFO, &i, &len));
    printf("length %u\n", len);
    close_pair(v);
}

static void cork_and_linger(void)
{
    section("cork, linger");
    int v[2];
    tcp_pair(AF_INET, v);
    set_int(v[0], IPPROTO_TCP, TCP_CORK, 1);
    SHOW(write(v[0], "a", 1));
    SHOW(write(v[0], "b", 1));
    set_int(v[0], IPPROTO_TCP, TCP_CORK, 0);
    SHOW(send(v[0], "c", 1, MSG_MORE));
    SHOW(send(v[0], "d", 1, 0));
    SHOW(recv(v[1], buf, 4, MSG_WAITALL));
    printf("%.4s\n", buf);
    struct linger l = {1, 5}, got;
    socklen_t len = sizeof got;
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_LINGER, &l, sizeof l));
    SHOW(getsockopt(v[0], SOL_SOCKET, SO_LINGER, &got, &len));
    printf("%d %d\n", got.l_onoff, got.l_linger);
    SHOW(write(v[0], "last", 4));
    SHOW(close(v[0]));
    settle(v[1], POLLRDHUP);
    SHOW(recv(v[1], buf, 10, 0));
    SHOW(recv(v[1], buf, 10, 0));
    close(v[1]);
}

static void late(void)
{
    section("on a connection");
    int v[2], l = listener(AF_INET, 1), one = 1;
    tcp_pair(AF_INET, v);
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    SHOW(setsockopt(v[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    SHOW(setsockopt(v[0], IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one));
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    show_option("SO_PEERCRED", v[0], SOL_SOCKET, SO_PEERCRED);
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    SHOW(getsockopt(v[0], SOL_SOCKET, SO_PEERNAME, &a, &len));
    printf("length %u\n", len);
    SHOW(send(v[0], "u", 1, MSG_OOB) >= 0 || errno == EOPNOTSUPP); // urgent data are refused here
    close_pair(v);
    close(l);
}

static int where(int fd, const char *what)
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("%s: address %08x, %s\n", what, ntohl(a.sin_addr.s_addr), a.sin_port ? "a port" : "no port");
    return ntohs(a.sin_port);
}

static int bound_late(int type, const struct address *a)
{
    int fd = socket(AF_INET, type, 0);
    set_int(fd, IPPROTO_IP, 24, 1); // IP_BIND_ADDRESS_NO_PORT
    SHOW(bind(fd, &a->any, a->len));
    where(fd, "bound");
    return fd;
}

// bind(2) gives an address, the port is chosen when it is needed; and it is chosen from a range.
static void ports(void)
{
    section("ports");
    struct address any = loopback(AF_INET, 0), to;
    int l = listener(AF_INET, 5);
    to.len = sizeof to.v4;
    getsockname(l, &to.any, &to.len);
    any.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 7);
    int fd = bound_late(SOCK_STREAM, &any);
    SHOW(connect(fd, &to.any, to.len));
    where(fd, "connected");
    SHOW(bind(fd, &any.any, any.len));
    close(fd);
    fd = bound_late(SOCK_STREAM, &any);
    SHOW(bind(fd, &any.any, any.len)); // it may still be another one
    SHOW(listen(fd, 1));
    where(fd, "listening");
    close(fd);
    fd = bound_late(SOCK_DGRAM, &any);
    SHOW(connect(fd, &to.any, to.len));
    where(fd, "connected");
    close(fd);
    fd = bound_late(SOCK_DGRAM, &any);
    SHOW(sendto(fd, "x", 1, 0, &to.any, to.len));
    where(fd, "sent");
    close(fd);

    unsigned range = 45099u << 16 | 45000; // IP_LOCAL_PORT_RANGE
    for (int late = 0; late < 2; late++) {
        fd = tcp(AF_INET);
        SHOW(setsockopt(fd, IPPROTO_IP, 51, &range, sizeof range));
        SHOW(late ? 0 : bind(fd, &any.any, any.len));
        SHOW(connect(fd, &to.any, to.len));
        int port = where(fd, "in the range");
        printf("%d\n", port >= 45000 && port <= 45099);
        close(fd);
    }
    close(l);
}

int main(void)
{
    defaults(AF_INET);
    defaults(AF_INET6);
    ranges();
    buffers();
    low_water();
    info();
    cork_and_linger();
    late();
    ports();
    return 0;
}
