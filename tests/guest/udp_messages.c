// UDP's control messages, many messages at once, errors in their queue, groups, and datagrams in pieces and in one.
// cpus: 1 2
#include "check.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

struct sock_extended_err {
    uint32_t ee_errno;
    uint8_t ee_origin, ee_type, ee_code, ee_pad;
    uint32_t ee_info, ee_data;
};

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static socklen_t size_of(int family) { return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6); }

static union address at(int family, const char *ip, int port)
{
    union address a;
    memset(&a, 0, sizeof a);
    a.sa.sa_family = family;
    inet_pton(family, ip, family == AF_INET ? (void *)&a.in.sin_addr : (void *)&a.in6.sin6_addr);
    a.in.sin_port = htons(port); // the same place in both
    return a;
}

static const char *lo(int family) { return family == AF_INET ? "127.0.0.1" : "::1"; }

static int port_of(int fd)
{
    union address a;
    socklen_t len = sizeof a;
    getsockname(fd, &a.sa, &len);
    return ntohs(a.in.sin_port);
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM, 0);
    struct timeval tv = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static int bound(int family, const char *ip, union address *self)
{
    int fd = new_socket(family);
    union address a = at(family, ip, 0);
    if (bind(fd, &a.sa, size_of(family)) < 0)
        give_up("bind");
    *self = at(family, lo(family), port_of(fd));
    return fd;
}

static void show_control(struct msghdr *m, int family)
{
    char ip[64];
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        const unsigned char *d = CMSG_DATA(c);
        int value;
        memcpy(&value, d, sizeof value);
        printf("  level %d type %d length %zu: ", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            const struct in_pktinfo *p = (void *)d;
            printf("interface %d to %s", p->ipi_ifindex, inet_ntop(AF_INET, &p->ipi_addr, ip, sizeof ip));
            printf(" spec %s\n", inet_ntop(AF_INET, &p->ipi_spec_dst, ip, sizeof ip));
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            const struct in6_pktinfo *p = (void *)d;
            printf("interface %d to %s\n", p->ipi6_ifindex, inet_ntop(AF_INET6, &p->ipi6_addr, ip, sizeof ip));
        } else if (c->cmsg_level == SOL_SOCKET && (c->cmsg_type == SO_TIMESTAMP || c->cmsg_type == SO_TIMESTAMPNS)) {
            struct timespec now, then;
            clock_gettime(CLOCK_REALTIME, &now);
            memcpy(&then, d, sizeof then);
            printf("%s\n", now.tv_sec - then.tv_sec < 100 && then.tv_sec <= now.tv_sec ? "just now" : "ANOTHER TIME");
        } else if (c->cmsg_type == IP_TOS && c->cmsg_level == IPPROTO_IP) {
            printf("%d\n", d[0]);
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) || (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
            const struct sock_extended_err *e = (void *)d;
            const union address *o = (void *)(e + 1);
            printf("%s origin %d type %d code %d info %u from family %d %s\n", errno_name(e->ee_errno), e->ee_origin, e->ee_type, e->ee_code, e->ee_info,
                   o->sa.sa_family, o->sa.sa_family == AF_INET ? inet_ntop(AF_INET, &o->in.sin_addr, ip, sizeof ip)
                   : o->sa.sa_family == AF_INET6 ? inet_ntop(AF_INET6, &o->in6.sin6_addr, ip, sizeof ip) : "");
        } else if (c->cmsg_type == 20 || c->cmsg_type == 74) {
            const union address *o = (void *)d;
            printf("to %s port %s\n", o->sa.sa_family == AF_INET ? inet_ntop(AF_INET, &o->in.sin_addr, ip, sizeof ip) : inet_ntop(AF_INET6, &o->in6.sin6_addr, ip, sizeof ip),
                   o->in.sin_port ? "some" : "none");
        } else {
            printf("%d\n", value);
        }
    }
}

static void receive(int fd, int family, unsigned room, int flags)
{
    static _Alignas(struct cmsghdr) char control[512];
    char buf[100] = "";
    union address from;
    struct iovec v = {buf, sizeof buf - 1};
    struct msghdr m = {&from, sizeof from, &v, 1, 0, control, room, 0, 0};
    m.msg_iovlen = 1;
    errno = 0;
    ssize_t n = recvmsg(fd, &m, flags);
    if (n < 0) {
        printf("received: %s\n", errno_name(errno));
        return;
    }
    printf("received: %zd '%s' flags %x control %zu name %u\n", n, buf, m.msg_flags, (size_t)m.msg_controllen, m.msg_namelen);
    show_control(&m, family);
}

static void on(int fd, int level, int name, int value)
{
    if (setsockopt(fd, level, name, &value, sizeof value) < 0)
        printf("option %d %d: %s\n", level, name, errno_name(errno));
}

// sendmsg with one control message of n bytes.
static long send_control(int fd, const union address *to, int level, int type, const void *data, size_t n)
{
    static _Alignas(struct cmsghdr) char control[200];
    struct iovec v = {"text", 4};
    struct msghdr m = {.msg_name = (void *)to, .msg_namelen = to ? size_of(to->sa.sa_family) : 0, .msg_iov = &v, .msg_iovlen = 1};
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(n);
    memset(control, 0, sizeof control);
    struct cmsghdr *c = (void *)control;
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), data, n);
    return sendmsg(fd, &m, 0);
}

static void told4(void)
{
    section("what a receiver is told, IPv4");
    union address to;
    int fd = bound(AF_INET, "0.0.0.0", &to), s = new_socket(AF_INET);
    static const int names[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, 20};
    for (int i = 0; i < 4; i++)
        on(fd, IPPROTO_IP, names[i], 1);
    on(s, IPPROTO_IP, IP_TTL, 9);
    on(s, IPPROTO_IP, IP_TOS, 0x28);
    sendto(s, "one", 3, 0, &to.sa, sizeof to.in);
    receive(fd, AF_INET, 512, 0);
    on(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
    to.in.sin_addr.s_addr = htonl(0x7f000105);
    sendto(s, "two", 3, 0, &to.sa, sizeof to.in);
    receive(fd, AF_INET, 512, 0);
    on(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    sendto(s, "three", 5, 0, &to.sa, sizeof to.in);
    receive(fd, AF_INET, 50, 0);
    sendto(s, "four", 4, 0, &to.sa, sizeof to.in);
    receive(fd, AF_INET, 0, 0);

    int ttl = 77, tos = 0x10;
    uint8_t byte = 0x20;
    on(fd, SOL_SOCKET, SO_TIMESTAMPNS, 0);
    on(fd, IPPROTO_IP, 20, 0);
    SHOW(send_control(s, &to, IPPROTO_IP, IP_TTL, &ttl, 4));
    receive(fd, AF_INET, 512, 0);
    SHOW(send_control(s, &to, IPPROTO_IP, IP_TOS, &tos, 4));
    receive(fd, AF_INET, 512, 0);
    SHOW(send_control(s, &to, IPPROTO_IP, IP_TOS, &byte, 1));
    receive(fd, AF_INET, 512, 0);
    ttl = 0;
    SHOW(send_control(s, &to, IPPROTO_IP, IP_TTL, &ttl, 4));
    ttl = 256;
    SHOW(send_control(s, &to, IPPROTO_IP, IP_TTL, &ttl, 4));
    SHOW(send_control(s, &to, IPPROTO_IP, IP_TTL, &ttl, 2));
    SHOW(send_control(s, &to, IPPROTO_IP, 99, &ttl, 4));
    SHOW(send_control(s, &to, SOL_SOCKET, 99, &ttl, 4));
    SHOW(send_control(s, &to, IPPROTO_UDP, 99, &ttl, 4));
    SHOW(send_control(s, &to, 77, 99, &ttl, 4));
    receive(fd, AF_INET, 512, MSG_DONTWAIT);
    // From an address of one's choice.
    struct in_pktinfo p = {.ipi_spec_dst.s_addr = htonl(0x7f000009)};
    on(fd, IPPROTO_IP, IP_RECVTTL, 0);
    SHOW(send_control(s, &to, IPPROTO_IP, IP_PKTINFO, &p, sizeof p));
    char buf[10], ip[64];
    union address from;
    socklen_t len = sizeof from;
    SHOW(recvfrom(fd, buf, sizeof buf, 0, &from.sa, &len));
    printf("from %s\n", inet_ntop(AF_INET, &from.in.sin_addr, ip, sizeof ip));
    p.ipi_spec_dst.s_addr = htonl(0xc0000201);
    SHOW(send_control(s, &to, IPPROTO_IP, IP_PKTINFO, &p, sizeof p));
    SHOW(send_control(s, &to, IPPROTO_IP, IP_PKTINFO, &p, sizeof p - 1));
    close(fd);
    close(s);
}

static void told6(void)
{
    section("what a receiver is told, IPv6");
    union address to;
    int fd = bound(AF_INET6, "::", &to), s = new_socket(AF_INET6), four = new_socket(AF_INET);
    static const int names[] = {IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, 74};
    for (int i = 0; i < 4; i++)
        on(fd, IPPROTO_IPV6, names[i], 1);
    on(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
    on(s, IPPROTO_IPV6, IPV6_TCLASS, 0x28);
    sendto(s, "one", 3, 0, &to.sa, sizeof to.in6);
    receive(fd, AF_INET6, 512, 0);
    union address mapped = at(AF_INET, "127.0.0.1", ntohs(to.in.sin_port));
    sendto(four, "mapped", 6, 0, &mapped.sa, sizeof mapped.in);
    receive(fd, AF_INET6, 512, 0);
    on(fd, IPPROTO_IP, IP_RECVTTL, 1);
    sendto(four, "mapped", 6, 0, &mapped.sa, sizeof mapped.in);
    receive(fd, AF_INET6, 512, 0);
    int hops = 77, bad = 256;
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, 4));
    receive(fd, AF_INET6, 512, 0);
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_TCLASS, &hops, 4));
    receive(fd, AF_INET6, 512, 0);
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &bad, 4));
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_TCLASS, &bad, 4));
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, 3));
    SHOW(send_control(s, &to, IPPROTO_IPV6, 99, &hops, 4));
    struct in6_pktinfo p = {.ipi6_addr = in6addr_loopback, .ipi6_ifindex = 1};
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_PKTINFO, &p, sizeof p));
    receive(fd, AF_INET6, 512, 0);
    inet_pton(AF_INET6, "2001:db8::1", &p.ipi6_addr);
    SHOW(send_control(s, &to, IPPROTO_IPV6, IPV6_PKTINFO, &p, sizeof p));
    receive(fd, AF_INET6, 512, MSG_DONTWAIT);
    close(fd);
    close(s);
    close(four);
}

static void many(int family)
{
    section("many messages at once");
    union address to;
    int fd = bound(family, lo(family), &to), s = new_socket(family);
    struct mmsghdr m[6];
    struct iovec v[6];
    char text[6][20];
    SHOW(connect(s, &to.sa, size_of(family)));
    memset(m, 0, sizeof m);
    for (int i = 0; i < 6; i++) {
        v[i] = (struct iovec){text[i], (size_t)snprintf(text[i], 20, "message %d", i)};
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(sendmmsg(s, m, 6, 0));
    for (int i = 0; i < 6; i++)
        printf("%u ", m[i].msg_len);
    printf("\n");
    memset(text, 0, sizeof text);
    for (int i = 0; i < 6; i++)
        v[i].iov_len = 19;
    SHOW(recvmmsg(fd, m, 2, 0, NULL));
    printf("%s, %s\n", text[0], text[1]);
    SHOW(recvmmsg(fd, m, 6, MSG_WAITFORONE, NULL));
    printf("%s, %s\n", text[0], text[3]);
    SHOW(recvmmsg(fd, m, 6, MSG_DONTWAIT, NULL));
    struct timespec t = {0, 30000000};
    struct timeval tv = {0, 40000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(sendmmsg(s, m, 1, 0));
    SHOW(recvmmsg(fd, m, 6, 0, &t));
    printf("left %ld\n", (long)t.tv_sec);
    t = (struct timespec){-1, 0};
    SHOW(recvmmsg(fd, m, 6, 0, &t));
    t = (struct timespec){0, 1000000000};
    SHOW(recvmmsg(fd, m, 6, 0, &t));
    m[1].msg_hdr.msg_iov = (void *)8;
    SHOW(sendmmsg(s, m, 3, 0));
    SHOW(sendmmsg(s, m + 1, 2, 0));
    SHOW(sendmmsg(s, m, 0, 0));
    SHOW(recvmmsg(fd, m, 0, 0, NULL));
    close(fd);
    close(s);
}

static void errors(int family)
{
    section("the queue of errors");
    union address to;
    int fd = bound(family, lo(family), &to), s = new_socket(family), n;
    close(fd);
    socklen_t len = sizeof n;
    on(s, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, 1);
    receive(s, family, 512, MSG_ERRQUEUE | MSG_DONTWAIT);
    SHOW(sendto(s, "lost", 4, 0, &to.sa, size_of(family)));
    struct pollfd p = {s, POLLIN | POLLOUT, 0};
    SHOW(poll(&p, 1, 1000));
    printf("events %x\n", p.revents);
    receive(s, family, 512, MSG_DONTWAIT);
    receive(s, family, 512, MSG_DONTWAIT);
    SHOW(poll(&p, 1, 0));
    printf("events %x\n", p.revents);
    receive(s, family, 512, MSG_ERRQUEUE);
    SHOW(poll(&p, 1, 0));
    printf("events %x\n", p.revents);
    SHOW(sendto(s, "a", 1, 0, &to.sa, size_of(family)));
    SHOW(sendto(s, "b", 1, 0, &to.sa, size_of(family)));
    SHOW(sendto(s, "c", 1, 0, &to.sa, size_of(family)));
    receive(s, family, 512, MSG_ERRQUEUE);
    SHOW(getsockopt(s, SOL_SOCKET, SO_ERROR, &n, &len));
    printf("error %s\n", n ? errno_name(n) : "none");
    receive(s, family, 20, MSG_ERRQUEUE);
    receive(s, family, 512, MSG_ERRQUEUE);
    close(s);
    // A datagram that is too long is an error of this machine's.
    s = new_socket(family);
    on(s, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, 1);
    static char big[65535];
    SHOW(sendto(s, big, family == AF_INET ? 65508 : 65528, 0, &to.sa, size_of(family)));
    close(s);
}

static void group4(void)
{
    section("groups, IPv4");
    int a = new_socket(AF_INET), b = new_socket(AF_INET), s = new_socket(AF_INET), one = 1, zero = 0;
    union address any = at(AF_INET, "0.0.0.0", 0), to;
    on(a, SOL_SOCKET, SO_REUSEADDR, 1);
    on(b, SOL_SOCKET, SO_REUSEADDR, 1);
    SHOW(bind(a, &any.sa, sizeof any.in));
    any.in.sin_port = htons(port_of(a));
    SHOW(bind(b, &any.sa, sizeof any.in));
    to = at(AF_INET, "239.77.1.2", port_of(a));
    struct ip_mreqn m = {.imr_multiaddr = to.in.sin_addr, .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, 7));
    SHOW(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m));
    SHOW(sendto(s, "group", 5, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    receive(b, AF_INET, 0, MSG_DONTWAIT); // not a member, but IP_MULTICAST_ALL
    SHOW(setsockopt(b, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero));
    SHOW(sendto(s, "members", 7, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    receive(b, AF_INET, 0, MSG_DONTWAIT);
    // Sources.
    struct ip_mreq_source ms = {.imr_multiaddr = to.in.sin_addr, .imr_interface.s_addr = htonl(INADDR_LOOPBACK), .imr_sourceaddr.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(setsockopt(a, IPPROTO_IP, IP_BLOCK_SOURCE, &ms, sizeof ms));
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &ms, sizeof ms));
    SHOW(sendto(s, "blocked", 7, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    SHOW(setsockopt(a, IPPROTO_IP, IP_UNBLOCK_SOURCE, &ms, sizeof ms));
    SHOW(setsockopt(a, IPPROTO_IP, IP_UNBLOCK_SOURCE, &ms, sizeof ms));
    SHOW(setsockopt(b, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &ms, sizeof ms));
    SHOW(setsockopt(b, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &ms, sizeof ms));
    SHOW(sendto(s, "source", 6, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    receive(b, AF_INET, 0, MSG_DONTWAIT);
    SHOW(setsockopt(b, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &ms, sizeof ms));
    SHOW(setsockopt(b, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &ms, sizeof ms));
    SHOW(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    SHOW(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    SHOW(sendto(s, "nobody", 6, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    struct group_req g = {.gr_interface = 1};
    memcpy(&g.gr_group, &to, sizeof to.in);
    SHOW(setsockopt(a, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof g));
    SHOW(setsockopt(s, IPPROTO_IP, IP_MULTICAST_LOOP, &zero, sizeof zero)); // lo gives it back in any case
    SHOW(sendto(s, "joined", 6, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    SHOW(setsockopt(a, IPPROTO_IP, MCAST_LEAVE_GROUP, &g, sizeof g));
    m.imr_multiaddr.s_addr = htonl(0x0a000001);
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m.imr_multiaddr = to.in.sin_addr;
    m.imr_address.s_addr = htonl(0xc0000209);
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m.imr_ifindex = 12345;
    SHOW(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m = (struct ip_mreqn){.imr_address.s_addr = htonl(INADDR_LOOPBACK)};
    int joined = 0;
    for (int i = 0; i < 25; i++) {
        m.imr_multiaddr.s_addr = htonl(0xef4d0200 + i);
        joined += setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m) == 0;
    }
    printf("%d groups, then %s\n", joined, errno_name(errno));
    close(a);
    close(b);

    // Broadcast.
    a = new_socket(AF_INET);
    b = new_socket(AF_INET);
    on(a, SOL_SOCKET, SO_REUSEADDR, 1);
    on(b, SOL_SOCKET, SO_REUSEADDR, 1);
    any.in.sin_port = 0;
    bind(a, &any.sa, sizeof any.in);
    any.in.sin_port = htons(port_of(a));
    bind(b, &any.sa, sizeof any.in);
    to = at(AF_INET, "127.255.255.255", port_of(a));
    SHOW(sendto(s, "all", 3, 0, &to.sa, sizeof to.in));
    SHOW(connect(s, &to.sa, sizeof to.in));
    SHOW(setsockopt(s, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
    SHOW(sendto(s, "all", 3, 0, &to.sa, sizeof to.in));
    receive(a, AF_INET, 0, MSG_DONTWAIT);
    receive(b, AF_INET, 0, MSG_DONTWAIT);
    close(a);
    close(b);
    close(s);
}

static void group6(void)
{
    section("groups, IPv6");
    union address any = at(AF_INET6, "::", 0), to;
    int a = new_socket(AF_INET6), s = new_socket(AF_INET6), index = 1;
    SHOW(bind(a, &any.sa, sizeof any.in6));
    to = at(AF_INET6, "ff02::4d4d", port_of(a));
    struct ipv6_mreq m = {.ipv6mr_multiaddr = to.in6.sin6_addr, .ipv6mr_interface = 1};
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m - 1));
    SHOW(setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index));
    SHOW(sendto(s, "group", 5, 0, &to.sa, sizeof to.in6));
    receive(a, AF_INET6, 0, MSG_DONTWAIT);
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof m));
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof m));
    SHOW(sendto(s, "nobody", 6, 0, &to.sa, sizeof to.in6));
    receive(a, AF_INET6, 0, MSG_DONTWAIT);
    m.ipv6mr_interface = 12345;
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    m.ipv6mr_multiaddr = in6addr_loopback;
    SHOW(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    index = 12345;
    SHOW(setsockopt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index));
    close(a);
    close(s);
}

static void pieces(int family)
{
    section("pieces");
    union address to;
    int fd = bound(family, lo(family), &to), s = new_socket(family);
    static char big[6000], in[7000];
    memset(big, 'b', sizeof big);
    SHOW(sendto(s, "one ", 4, MSG_MORE, &to.sa, size_of(family)));
    SHOW(sendto(s, "two ", 4, MSG_MORE, &to.sa, size_of(family)));
    receive(fd, family, 0, MSG_DONTWAIT);
    SHOW(sendto(s, "three", 5, 0, &to.sa, size_of(family)));
    receive(fd, family, 0, MSG_DONTWAIT);
    on(s, IPPROTO_UDP, UDP_CORK, 1);
    SHOW(sendto(s, "head", 4, 0, &to.sa, size_of(family)));
    SHOW(send(s, big, sizeof big, 0));
    on(s, IPPROTO_UDP, UDP_CORK, 0);
    SHOW(recv(fd, in, sizeof in, MSG_DONTWAIT));
    printf("%s\n", memcmp(in, "head", 4) || memcmp(in + 4, big, sizeof big) ? "differs" : "same");
    on(s, IPPROTO_UDP, 103, 1000); // UDP_SEGMENT
    SHOW(sendto(s, big, 2500, 0, &to.sa, size_of(family)));
    for (int i = 0; i < 3; i++)
        SHOW(recv(fd, in, sizeof in, 0));
    SHOW(recv(fd, in, sizeof in, MSG_DONTWAIT));
    uint16_t size = 700;
    on(s, IPPROTO_UDP, 103, 0);
    SHOW(send_control(s, &to, IPPROTO_UDP, 103, &size, 2));
    SHOW(recv(fd, in, sizeof in, 0));
    size = 3;
    SHOW(send_control(s, &to, IPPROTO_UDP, 103, &size, 2));
    SHOW(recv(fd, in, sizeof in, 0));
    SHOW(recv(fd, in, sizeof in, 0));
    SHOW(send_control(s, &to, IPPROTO_UDP, 103, &size, 1));
    close(fd);
    close(s);
}

static void peeking(int family)
{
    section("SO_PEEK_OFF");
    union address to;
    int fd = bound(family, lo(family), &to), s = new_socket(family);
    char buf[10] = "";
    sendto(s, "abcdef", 6, 0, &to.sa, size_of(family));
    sendto(s, "ghi", 3, 0, &to.sa, size_of(family));
    on(fd, SOL_SOCKET, SO_PEEK_OFF, 2);
    for (int i = 0; i < 4; i++) {
        memset(buf, 0, sizeof buf);
        SHOW(recv(fd, buf, 3, MSG_PEEK | MSG_DONTWAIT));
        printf("%s\n", buf);
    }
    SHOW(recv(fd, buf, 3, 0));
    memset(buf, 0, sizeof buf);
    SHOW(recv(fd, buf, 3, MSG_PEEK | MSG_DONTWAIT));
    printf("%s\n", buf);
    close(fd);
    close(s);
}

int main(void)
{
    told4();
    told6();
    group4();
    group6();
    for (int i = 0; i < 2; i++) {
        int family = i ? AF_INET6 : AF_INET;
        printf("== IPv%d\n", i ? 6 : 4);
        many(family);
        errors(family);
        pieces(family);
        peeking(family);
    }
    return 0;
}
