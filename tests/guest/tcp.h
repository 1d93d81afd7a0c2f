// What the tests of TCP share: addresses on the loopback of either family, connections, what is told of errors. After check.h and sockets.h.
#pragma once
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

static inline struct address loopback(int family, int port)
{
    struct address a;
    memset(&a, 0, sizeof a);
    if (family == AF_INET) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons((uint16_t)port);
        a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a.len = sizeof a.v4;
    } else {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons((uint16_t)port);
        a.v6.sin6_addr.s6_addr[15] = 1;
        a.len = sizeof a.v6;
    }
    return a;
}

static inline struct address anywhere(int family, int port)
{
    struct address a = loopback(family, port);
    if (family == AF_INET)
        a.v4.sin_addr.s_addr = 0;
    else
        a.v6.sin6_addr.s6_addr[15] = 0;
    return a;
}

static inline int port_of(int fd)
{
    struct address a = {.len = sizeof(struct sockaddr_in6)};
    if (getsockname(fd, &a.any, &a.len))
        return -1;
    return ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
}

static inline int tcp(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        give_up("socket");
    return fd;
}

static inline int listener(int family, int backlog)
{
    int fd = tcp(family);
    struct address a = loopback(family, 0);
    if (bind(fd, &a.any, a.len) || listen(fd, backlog))
        give_up("listen");
    return fd;
}

// To the port where fd listens.
static inline int connect_to(int family, int fd, int listening)
{
    struct address a = loopback(family, port_of(listening));
    return connect(fd, &a.any, a.len);
}

static inline void tcp_pair(int family, int v[2])
{
    int l = listener(family, 5);
    v[0] = tcp(family);
    if (connect_to(family, v[0], l) || (v[1] = accept(l, NULL, NULL)) < 0)
        give_up("connect");
    close(l);
}

static inline void close_pair(int v[2])
{
    close(v[0]);
    close(v[1]);
}

static inline void set_int(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof value))
        give_up("setsockopt");
}

static inline void linger_zero(int fd)
{
    struct linger l = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static inline int tcp_state(int fd)
{
    struct tcp_info i;
    socklen_t len = sizeof i;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len))
        return -1;
    return i.tcpi_state == TCP_FIN_WAIT1 ? TCP_FIN_WAIT2 : i.tcpi_state; // as soon as the FIN is acknowledged
}

// Linux sends a FIN or a RST on its own time: until the state or the readiness is there, at most 2 seconds.
static inline void settle(int fd, short events)
{
    struct pollfd p = {fd, events, 0};
    poll(&p, 1, 2000);
}
