// UDP with a peer on the network, which tests/system/net_udp.py is: PEER4 PEER6 PORT. At PORT the peer sends everything back; at PORT + 1 it
// does what it is told; at PORT + 2 is nobody. A PEER4 of "-": there is none, only the server at the end is wanted, with other sockets
// beside it to which packets could go.
// runner: none
#include "check.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static socklen_t size_of(int family) { return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6); }

static union address at(const char *ip, int port)
{
    union address a;
    memset(&a, 0, sizeof a);
    a.sa.sa_family = strchr(ip, ':') ? AF_INET6 : AF_INET;
    inet_pton(a.sa.sa_family, ip, a.sa.sa_family == AF_INET ? (void *)&a.in.sin_addr : (void *)&a.in6.sin6_addr);
    a.in.sin_port = htons(port); // the same place in both
    return a;
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM, 0);
    struct timeval tv = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static void echo(const char *ip, int port)
{
    static char out[70000], in[70000];
    static const int sizes[] = {0, 1, 18, 255, 512, 513, 1400, 1452, 1472, 1473, 3000, 9000, 20000, 65487};
    union address to = at(ip, port), from;
    int fd = new_socket(to.sa.sa_family);
    uint32_t seed = 7;
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = noise(&seed);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        socklen_t len = sizeof from;
        ssize_t sent = sendto(fd, out, sizes[i], 0, &to.sa, size_of(to.sa.sa_family)), got = recvfrom(fd, in, sizeof in, 0, &from.sa, &len);
        printf("%d: sent %zd, got %zd, %s, %s\n", sizes[i], sent, got, got == sizes[i] && !memcmp(in, out, sizes[i]) ? "same" : "differs",
               from.in.sin_port == to.in.sin_port ? "from there" : "from elsewhere");
    }
    close(fd);
}

static void many(const char *ip, int port)
{
    union address to = at(ip, port);
    int fd = new_socket(to.sa.sa_family), got = 0, wrong = 0;
    connect(fd, &to.sa, size_of(to.sa.sa_family));
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t answer = 0;
        send(fd, &i, sizeof i, 0);
        got += recv(fd, &answer, sizeof answer, 0) == sizeof answer;
        wrong += answer != i;
    }
    printf("%d turns, %d wrong\n", got, wrong);
    close(fd);
}

static void closed(const char *ip, int port)
{
    union address to = at(ip, port);
    int fd = new_socket(to.sa.sa_family);
    char buf[10];
    SHOW(connect(fd, &to.sa, size_of(to.sa.sa_family)));
    SHOW(send(fd, "x", 1, 0));
    struct pollfd p = {fd, POLLIN, 0};
    SHOW(poll(&p, 1, 5000));
    printf("events %x\n", p.revents);
    SHOW(recv(fd, buf, sizeof buf, 0));
    SHOW(recv(fd, buf, sizeof buf, MSG_DONTWAIT));
    close(fd);
}

static void told(const char *ip, int port)
{
    union address to = at(ip, port);
    int fd = new_socket(to.sa.sa_family), one = 1, value = 0;
    bool v6 = to.sa.sa_family == AF_INET6;
    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &one, sizeof one);
    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, &one, sizeof one);
    sendto(fd, "tell", 4, 0, &to.sa, size_of(to.sa.sa_family));
    char buf[100], control[200], ip_text[64];
    struct iovec v = {buf, sizeof buf};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    printf("%zd bytes\n", recvmsg(fd, &m, 0));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        char name[IF_NAMESIZE] = "?";
        if (c->cmsg_type == IP_PKTINFO && !v6) {
            struct in_pktinfo *p = (void *)CMSG_DATA(c);
            if_indextoname(p->ipi_ifindex, name);
            printf("%s %s\n", name, inet_ntop(AF_INET, &p->ipi_addr, ip_text, sizeof ip_text));
        } else if (c->cmsg_type == IPV6_PKTINFO && v6) {
            struct in6_pktinfo *p = (void *)CMSG_DATA(c);
            if_indextoname(p->ipi6_ifindex, name);
            printf("%s %s\n", name, inet_ntop(AF_INET6, &p->ipi6_addr, ip_text, sizeof ip_text));
        } else {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            printf("hops %d\n", value);
        }
    }
    close(fd);
}

static void whole(const char *ip, int port)
{
    union address to = at(ip, port);
    bool v6 = to.sa.sa_family == AF_INET6;
    int fd = new_socket(to.sa.sa_family), value = IP_PMTUDISC_DO, level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    socklen_t len = sizeof value;
    static char big[2000];
    SHOW(setsockopt(fd, level, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &value, sizeof value));
    SHOW(connect(fd, &to.sa, size_of(to.sa.sa_family)));
    SHOW(getsockopt(fd, level, v6 ? IPV6_MTU : IP_MTU, &value, &len));
    printf("MTU %d\n", value);
    SHOW(send(fd, big, 1473, 0));
    SHOW(send(fd, big, v6 ? 1453 : 1472, 0));
    SHOW(send(fd, big, 1452, 0));
    SHOW(recv(fd, big, sizeof big, 0));
    close(fd);
}

// The peer answers to the group that it is told, and tells what it gets there.
static void group(const char *ip, const char *address, int port, int interface)
{
    union address to = at(ip, port), all = at(address, port + 2);
    bool v6 = to.sa.sa_family == AF_INET6;
    int fd = new_socket(to.sa.sa_family), one = 1, ask = new_socket(to.sa.sa_family);
    char text[100], buf[100] = "";
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    union address any = at(v6 ? "::" : "0.0.0.0", port + 2);
    SHOW(bind(fd, &any.sa, size_of(any.sa.sa_family)));
    struct group_req g = {.gr_interface = interface};
    memcpy(&g.gr_group, &all, size_of(all.sa.sa_family));
    SHOW(setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof g));
    snprintf(text, sizeof text, "group %s %d", address, port + 2);
    SHOW(sendto(ask, text, strlen(text), 0, &to.sa, size_of(to.sa.sa_family)));
    SHOW(recv(fd, buf, sizeof buf, 0));
    printf("%s\n", buf);
    SHOW(setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_LEAVE_GROUP, &g, sizeof g));
    SHOW(sendto(ask, text, strlen(text), 0, &to.sa, size_of(to.sa.sa_family)));
    struct timeval tv = {0, 300000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(recv(fd, buf, sizeof buf, 0));
    // The other way: the peer is a member of the group at the port after that.
    all.in.sin_port = htons(port + 3);
    setsockopt(ask, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MULTICAST_IF : IP_MULTICAST_IF,
               v6 ? (void *)&interface : (void *)&(struct ip_mreqn){.imr_ifindex = interface}, v6 ? sizeof interface : sizeof(struct ip_mreqn));
    SHOW(sendto(ask, "to all", 6, 0, &all.sa, size_of(all.sa.sa_family)));
    memset(buf, 0, sizeof buf);
    SHOW(recv(ask, buf, sizeof buf, 0));
    printf("%s\n", buf);
    close(fd);
    close(ask);
}

static void broadcast(const char *address, int port)
{
    union address to = at(address, port);
    int fd = new_socket(AF_INET), one = 1;
    char buf[10] = "";
    SHOW(sendto(fd, "x", 1, 0, &to.sa, sizeof to.in));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
    SHOW(sendto(fd, "all", 3, 0, &to.sa, sizeof to.in));
    SHOW(recv(fd, buf, sizeof buf, 0));
    printf("%s\n", buf);
    close(fd);
}

int main(int argc, char **argv)
{
    const char *peers[] = {argv[1], argv[2]};
    int port = argc > 3 ? atoi(argv[3]) : 0, interface = if_nametoindex("eth0");
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool alone = !strcmp(argv[1], "-");
    for (int i = 0; i < 2 && alone; i++) {
        socket(i ? AF_INET6 : AF_INET, SOCK_RAW, i ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
        socket(i ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_UDP);
        int fd = socket(i ? AF_INET6 : AF_INET, SOCK_DGRAM, i ? IPPROTO_ICMPV6 : IPPROTO_ICMP), one = 1;
        union address any = at(i ? "::" : "0.0.0.0", 1);
        bind(fd, &any.sa, size_of(any.sa.sa_family));
        setsockopt(fd, i ? IPPROTO_IPV6 : IPPROTO_IP, i ? IPV6_RECVERR : IP_RECVERR, &one, sizeof one);
    }
    for (int i = 0; i < 2 && !alone; i++) {
        section(i ? "IPv6" : "IPv4");
        echo(peers[i], port);
        many(peers[i], port);
        closed(peers[i], port + 9);
        told(peers[i], port);
        whole(peers[i], port);
        group(peers[i], i ? "ff02::7777" : "239.77.77.77", port + 1, interface);
    }
    if (!alone) {
        broadcast("192.168.77.255", port);
        broadcast("255.255.255.255", port);
    }
    // A name of a socket that says who asks: the machine's own address.
    section("server");
    int fd = new_socket(AF_INET6);
    union address any = at("::", port), from;
    struct timeval tv = {30, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(bind(fd, &any.sa, sizeof any.in6));
    printf("ready\n");
    for (;;) {
        static char buf[70000];
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, buf, sizeof buf, 0, &from.sa, &len);
        if (n < 0 || (n == 3 && !memcmp(buf, "end", 3)))
            break;
        sendto(fd, buf, n, 0, &from.sa, len);
    }
    return 0;
}
