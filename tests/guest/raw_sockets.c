// Raw sockets within the machine: echo requests and their answers, filters, packets with a header of one's own.
// cpus: 1 2
#include "check.h"
#include "icmp.h"
#include <netinet/ip.h>
#include <netinet/udp.h>

static void raw4(void)
{
    section("raw socket, IPv4");
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    NEEDS(fd);
    timeout(fd);
    struct sockaddr_in a = to4("127.0.0.1", 0), from;
    socklen_t len = sizeof from;
    SHOW(getsockname(fd, (void *)&from, &len));
    printf("%s %d\n", inet_ntoa(from.sin_addr), ntohs(from.sin_port));
    uint32_t filter = ~(1u << ICMP_ECHOREPLY);
    SHOW(setsockopt(fd, 255, 1, &filter, sizeof filter)); // SOL_RAW, ICMP_FILTER
    filter = 0;
    len = sizeof filter;
    SHOW(getsockopt(fd, 255, 1, &filter, &len));
    printf("%x\n", filter);
    struct icmphdr h = {.type = ICMP_ECHO};
    h.un.echo.id = htons(0x4d4d);
    h.un.echo.sequence = htons(3);
    h.checksum = checksum(&h, sizeof h);
    SHOW(sendto(fd, &h, sizeof h, 0, (void *)&a, sizeof a));
    struct {
        struct iphdr ip;
        struct icmphdr h;
        char more[100];
    } r;
    do { // others on this machine may be pinging
        len = sizeof from;
        memset(&r, 0, sizeof r);
        ssize_t n = recvfrom(fd, &r, sizeof r, 0, (void *)&from, &len);
        if (n < 0)
            give_up("no answer");
        if (r.h.un.echo.id == h.un.echo.id)
            printf("%zd: version %d length %d ttl %d protocol %d total %d type %d sequence %d from %s:%d header %s\n", n, r.ip.version, r.ip.ihl, r.ip.ttl, r.ip.protocol,
                   ntohs(r.ip.tot_len), r.h.type, ntohs(r.h.un.echo.sequence), inet_ntoa(from.sin_addr), ntohs(from.sin_port), checksum(&r.ip, 20) ? "BAD" : "good");
    } while (r.h.un.echo.id != h.un.echo.id);
    SHOW(send(fd, &h, sizeof h, 0));
    SHOW(sendto(fd, &h, sizeof h, 0, (void *)&a, 5));
    SHOW(sendto(fd, &h, sizeof h, MSG_OOB, (void *)&a, sizeof a));
    SHOW(listen(fd, 1));
    SHOW(bind(fd, (void *)&a, sizeof a));
    a = to4("192.0.2.1", 0);
    SHOW(bind(fd, (void *)&a, sizeof a));
    close(fd);

    // A UDP datagram with a header of one's own.
    int udp = socket(AF_INET, SOCK_DGRAM, 0), raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), value;
    timeout(udp);
    a = to4("127.0.0.1", 0);
    bind(udp, (void *)&a, sizeof a);
    len = sizeof a;
    getsockname(udp, (void *)&a, &len);
    len = sizeof value;
    SHOW(getsockopt(raw, IPPROTO_IP, IP_HDRINCL, &value, &len));
    printf("%d\n", value);
    struct {
        struct iphdr ip;
        struct udphdr udp;
        char data[5];
    } p;
    memset(&p, 0, sizeof p);
    p.ip.version = 4;
    p.ip.ihl = 5;
    p.ip.ttl = 9;
    p.ip.protocol = IPPROTO_UDP;
    p.ip.daddr = a.sin_addr.s_addr;
    p.udp.source = htons(999);
    p.udp.dest = a.sin_port;
    p.udp.len = htons(13);
    memcpy(p.data, "hello", 5);
    SHOW(sendto(raw, &p, 33, 0, (void *)&a, sizeof a));
    char buf[10] = "";
    len = sizeof from;
    SHOW(recvfrom(udp, buf, sizeof buf, 0, (void *)&from, &len));
    printf("%s from %s:%d\n", buf, inet_ntoa(from.sin_addr), ntohs(from.sin_port));
    SHOW(sendto(raw, &p, 10, 0, (void *)&a, sizeof a));
    SHOW(recv(raw, buf, sizeof buf, MSG_DONTWAIT));
    close(udp);
    close(raw);
}

static void raw6(void)
{
    section("raw socket, IPv6");
    int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), value = 4;
    socklen_t len = sizeof value;
    timeout(fd);
    struct icmp6_filter f;
    memset(&f, 0xff, sizeof f);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f);
    SHOW(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof f));
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &value, sizeof value));
    SHOW(getsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &value, &len));
    printf("%d\n", value);
    struct sockaddr_in6 a = to6("::1", 0), from;
    struct icmp6_hdr h = {.icmp6_type = ICMP6_ECHO_REQUEST}, r;
    h.icmp6_id = htons(0x4d4d);
    h.icmp6_seq = htons(5);
    SHOW(sendto(fd, &h, sizeof h, 0, (void *)&a, sizeof a));
    do {
        len = sizeof from;
        if (recvfrom(fd, &r, sizeof r, 0, (void *)&from, &len) < 0)
            give_up("no answer");
    } while (r.icmp6_id != h.icmp6_id);
    printf("type %d sequence %d\n", r.icmp6_type, ntohs(r.icmp6_seq));
    a = to6("::ffff:127.0.0.1", 0);
    SHOW(bind(fd, (void *)&a, sizeof a));
    SHOW(setsockopt(fd, IPPROTO_IP, IP_TTL, &value, sizeof value));
    close(fd);
    fd = socket(AF_INET6, SOCK_RAW, 99);
    SHOW(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof f));
    SHOW(getsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &value, &len));
    printf("%d\n", value);
    value = 3;
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &value, sizeof value));
    value = 6;
    SHOW(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &value, sizeof value));
    a = to6("::1", 0);
    SHOW(sendto(fd, "12345678", 8, 0, (void *)&a, sizeof a));
    unsigned char buf[20];
    SHOW(recv(fd, buf, sizeof buf, 0));
    printf("%02x%02x\n", buf[6], buf[7]);
    SHOW(sendto(fd, "1234567", 7, 0, (void *)&a, sizeof a));
    close(fd);
}

int main(void)
{
    raw4();
    raw6();
    return 0;
}
