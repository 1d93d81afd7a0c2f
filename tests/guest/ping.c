// Ping sockets within the machine: echo requests and their answers, what they are told and what is refused.
// cpus: 1 2
#include "check.h"
#include "icmp.h"

static void ping4(void)
{
    section("ping socket, IPv4");
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), one = 1, n;
    if (fd < 0 && (errno == EACCES || errno == EPERM)) {
        printf("refused: net.ipv4.ping_group_range of this Linux\n");
        exit(77);
    }
    timeout(fd);
    struct sockaddr_in a = to4("127.0.0.1", 0), from;
    struct {
        struct icmphdr h;
        char data[56];
    } p = {.h = {.type = ICMP_ECHO}}, r;
    memset(p.data, 'd', sizeof p.data);
    p.h.un.echo.sequence = htons(1);
    p.h.un.echo.id = htons(4711); // it will be the socket's
    SHOW(sendto(fd, &p, sizeof p, 0, (void *)&a, sizeof a));
    socklen_t len = sizeof from;
    SHOW(recvfrom(fd, &r, sizeof r, 0, (void *)&from, &len));
    printf("type %d code %d sequence %d %s from %s:%d %s\n", r.h.type, r.h.code, ntohs(r.h.un.echo.sequence), memcmp(p.data, r.data, 56) ? "differs" : "same",
           inet_ntoa(from.sin_addr), ntohs(from.sin_port), checksum(&r, sizeof r) ? "BAD" : "good");
    len = sizeof from;
    SHOW(getsockname(fd, (void *)&from, &len));
    HOLDS(from.sin_port == r.h.un.echo.id);
    SHOW(recv(fd, &r, sizeof r, MSG_DONTWAIT));
    // What is told.
    setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one);
    n = 5;
    setsockopt(fd, IPPROTO_IP, IP_TTL, &n, sizeof n);
    SHOW(connect(fd, (void *)&a, sizeof a));
    SHOW(send(fd, &p, 8, 0));
    char control[200];
    struct iovec v = {&r, sizeof r};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SHOW(recvmsg(fd, &m, 0));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        memcpy(&n, CMSG_DATA(c), sizeof n);
        printf("level %d type %d", c->cmsg_level, c->cmsg_type);
        printf(c->cmsg_level == IPPROTO_IP ? " %d\n" : "\n", n);
    }
    // What is refused.
    SHOW(send(fd, &p, 7, 0));
    p.h.type = ICMP_ECHOREPLY;
    SHOW(send(fd, &p, 8, 0));
    p.h.type = ICMP_ECHO;
    p.h.code = 1;
    SHOW(send(fd, &p, 8, 0));
    p.h.code = 0;
    SHOW(send(fd, &p, 8, MSG_OOB));
    SHOW(recv(fd, &p, 8, MSG_OOB));
    static char big[70000];
    big[0] = ICMP_ECHO;
    SHOW(send(fd, big, 65536, 0));
    SHOW(send(fd, big, 65508, 0));
    SHOW(send(fd, big, 3000, 0));
    SHOW(recv(fd, big, sizeof big, 0));
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    SHOW(send(fd, &p, 8, 0));
    a.sin_port = htons(1234);
    SHOW(bind(fd, (void *)&a, sizeof a));
    SHOW(bind(fd, (void *)&a, sizeof a));
    int other = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    SHOW(bind(other, (void *)&a, sizeof a));
    SHOW(shutdown(other, SHUT_RDWR));
    close(other);
    close(fd);
}

static void ping6(void)
{
    section("ping socket, IPv6");
    int fd = socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6), one = 1, n;
    timeout(fd);
    struct sockaddr_in6 a = to6("::1", 0), from;
    struct {
        struct icmp6_hdr h;
        char data[56];
    } p = {.h = {.icmp6_type = ICMP6_ECHO_REQUEST}}, r;
    memset(p.data, 'd', sizeof p.data);
    p.h.icmp6_seq = htons(7);
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof one);
    SHOW(sendto(fd, &p, sizeof p, 0, (void *)&a, sizeof a));
    char control[200], ip[64];
    struct iovec v = {&r, sizeof r};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    m.msg_name = &from;
    m.msg_namelen = sizeof from;
    SHOW(recvmsg(fd, &m, 0));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        memcpy(&n, CMSG_DATA(c), sizeof n);
        printf("level %d type %d %d\n", c->cmsg_level, c->cmsg_type, n);
    }
    printf("type %d sequence %d %s from %s:%d\n", r.h.icmp6_type, ntohs(r.h.icmp6_seq), memcmp(p.data, r.data, 56) ? "differs" : "same",
           inet_ntop(AF_INET6, &from.sin6_addr, ip, sizeof ip), ntohs(from.sin6_port));
    p.h.icmp6_type = 8;
    SHOW(sendto(fd, &p, sizeof p, 0, (void *)&a, sizeof a));
    close(fd);
}

int main(void)
{
    ping4();
    ping6();
    return 0;
}
