// Options of UDP, raw and TCP sockets of IPv4 and IPv6: their first values, what may be set, and what is refused with which errno.
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

struct option {
    int level, name;
    const char *text;
};
#define IP(x) {IPPROTO_IP, x, #x}
#define IP6(x) {IPPROTO_IPV6, x, #x}
#define SO(x) {SOL_SOCKET, x, #x}

static const struct option options4[] = {
    IP(IP_TOS), IP(IP_TTL), IP(IP_HDRINCL), IP(IP_PKTINFO), IP(IP_MTU_DISCOVER),
    IP(IP_RECVERR), IP(IP_RECVTTL), IP(IP_RECVTOS), IP(IP_MTU), IP(IP_FREEBIND), IP(IP_TRANSPARENT), {IPPROTO_IP, 20, "IP_RECVORIGDSTADDR"},
    {IPPROTO_IP, 21, "IP_MINTTL"}, {IPPROTO_IP, 22, "IP_NODEFRAG"},
    {IPPROTO_IP, 24, "IP_BIND_ADDRESS_NO_PORT"}, {IPPROTO_IP, 26, "IP_RECVERR_RFC4884"},
    IP(IP_MULTICAST_IF), IP(IP_MULTICAST_TTL), IP(IP_MULTICAST_LOOP), {IPPROTO_IP, 49, "IP_MULTICAST_ALL"}, {IPPROTO_IP, 50, "IP_UNICAST_IF"},
    {IPPROTO_IP, 51, "IP_LOCAL_PORT_RANGE"}, {IPPROTO_IP, 52, "IP_PROTOCOL"}, {IPPROTO_IP, 18, "IP_PASSSEC"}, {IPPROTO_IP, 150, "nothing"},
};
static const struct option options6[] = {
    IP6(IPV6_V6ONLY), IP6(IPV6_UNICAST_HOPS), IP6(IPV6_MULTICAST_IF), IP6(IPV6_MULTICAST_HOPS), IP6(IPV6_MULTICAST_LOOP),
    IP6(IPV6_MTU_DISCOVER), IP6(IPV6_RECVERR), IP6(IPV6_RECVPKTINFO), IP6(IPV6_RECVHOPLIMIT), IP6(IPV6_RECVTCLASS), IP6(IPV6_TCLASS),
    IP6(IPV6_DONTFRAG), {IPPROTO_IPV6, 11, "IPV6_FLOWINFO"}, {IPPROTO_IPV6, 33, "IPV6_FLOWINFO_SEND"},
    {IPPROTO_IPV6, 2, "IPV6_2292PKTINFO"}, {IPPROTO_IPV6, 8, "IPV6_2292HOPLIMIT"}, {IPPROTO_IPV6, 29, "IPV6_MULTICAST_ALL"},
    {IPPROTO_IPV6, 31, "IPV6_RECVERR_RFC4884"}, {IPPROTO_IPV6, 70, "IPV6_AUTOFLOWLABEL"}, {IPPROTO_IPV6, 72, "IPV6_ADDR_PREFERENCES"},
    {IPPROTO_IPV6, 73, "IPV6_MINHOPCOUNT"}, {IPPROTO_IPV6, 74, "IPV6_RECVORIGDSTADDR"}, {IPPROTO_IPV6, 75, "IPV6_TRANSPARENT"},
    {IPPROTO_IPV6, 76, "IPV6_UNICAST_IF"}, {IPPROTO_IPV6, 78, "IPV6_FREEBIND"},
    {IPPROTO_IPV6, 150, "nothing"},
};
static const struct option socket_options[] = { // without those of which some Linuxes know less
    SO(SO_TYPE), SO(SO_DOMAIN), SO(SO_PROTOCOL), SO(SO_ERROR), SO(SO_REUSEADDR), SO(SO_REUSEPORT), SO(SO_KEEPALIVE), SO(SO_BROADCAST),
    SO(SO_OOBINLINE), SO(SO_LINGER), SO(SO_RCVLOWAT), SO(SO_SNDLOWAT), SO(SO_TIMESTAMP), SO(SO_TIMESTAMPNS), {SOL_SOCKET, 63, "SO_TIMESTAMP_NEW"},
    {SOL_SOCKET, 64, "SO_TIMESTAMPNS_NEW"}, SO(SO_ACCEPTCONN), SO(SO_PRIORITY), SO(SO_MARK), SO(SO_NO_CHECK), SO(SO_RXQ_OVFL),
    {SOL_SOCKET, 62, "SO_BINDTOIFINDEX"}, SO(SO_BINDTODEVICE), SO(SO_LOCK_FILTER), SO(SO_DETACH_FILTER), {SOL_SOCKET, 71, "SO_NETNS_COOKIE"},
    SO(SO_INCOMING_NAPI_ID), SO(SO_PEERCRED), SO(SO_PEERNAME), {SOL_SOCKET, 999, "nothing"},
};

static void get(int fd, const struct option *o, unsigned room)
{
    unsigned char value[64];
    socklen_t len = room;
    memset(value, 0xee, sizeof value);
    errno = 0;
    int r = getsockopt(fd, o->level, o->name, value, &len);
    printf(" get/%u ", room);
    if (r < 0) {
        printf("%s", errno_name(errno));
        return;
    }
    printf("%u:", len);
    bool differs = o->level == SOL_SOCKET && o->name == 71; // a number of the machine's
    for (unsigned i = 0; i < len && i < 16 && !differs; i++)
        printf("%02x", value[i]);
}

static void set(int fd, const struct option *o, int value, unsigned len)
{
    errno = 0;
    int r = setsockopt(fd, o->level, o->name, &value, len);
    printf(" %d/%u %s", value, len, r < 0 ? errno_name(errno) : "ok");
}

static bool is_switch(const struct option *o) { return !(o->level == SOL_SOCKET && (o->name == SO_DETACH_FILTER || o->name == SO_LOCK_FILTER)); }

static void all(int family, int type, int protocol, const struct option *o, unsigned count)
{
    static const int values[] = {0, 1, 2, -1, 255, 256, 100000};
    for (unsigned i = 0; i < count; i++, o++) {
        if (type == SOCK_STREAM && ((o->level == IPPROTO_IP && o->name == 21) || (o->level == IPPROTO_IPV6 && o->name == 73)))
            continue; // the least TTL: Knarr's TCP cannot look at it, and says so
        int fd = socket(family, type, protocol);
        if (fd < 0) {
            printf("no socket: %s\n", errno_name(errno));
            return;
        }
        printf("%s:", o->text);
        get(fd, o, 4);
        get(fd, o, 1);
        get(fd, o, 16);
        for (unsigned k = 0; k < sizeof values / sizeof *values && is_switch(o); k++)
            set(fd, o, values[k], 4);
        set(fd, o, 1, 4);
        set(fd, o, 1, 1);
        set(fd, o, 0, 0);
        set(fd, o, 1, 3);
        get(fd, o, 4);
        printf("\n");
        close(fd);
    }
}
#define ALL(family, type, protocol, options) \
    section(#family " " #type " " #options), all(family, type, protocol, options, sizeof options / sizeof *options)

static void levels(int family, int type)
{
    int fd = socket(family, type, 0), value = 0;
    socklen_t len = sizeof value;
    static const int numbers[] = {-1, 2, 5, IPPROTO_TCP, IPPROTO_UDP, 58, 255, 1000, IPPROTO_IPV6};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        printf("level %d:", numbers[i]);
        printf(" set %s", setsockopt(fd, numbers[i], 77, &value, sizeof value) < 0 ? errno_name(errno) : "ok");
        len = sizeof value;
        printf(" get %s\n", getsockopt(fd, numbers[i], 77, &value, &len) < 0 ? errno_name(errno) : "ok");
    }
    SHOW(setsockopt(fd, IPPROTO_IP, IP_TTL, NULL, 4));
    SHOW(setsockopt(fd, IPPROTO_IP, IP_TTL, &value, -1));
    SHOW(getsockopt(fd, IPPROTO_IP, IP_TTL, &value, NULL));
    len = -1;
    SHOW(getsockopt(fd, IPPROTO_IP, IP_TTL, &value, &len));
    len = 4;
    SHOW(getsockopt(fd, IPPROTO_IP, IP_TTL, NULL, &len));
    close(fd);
}

static void udp_level(void)
{
    static const struct option options[] = {{IPPROTO_UDP, 1, "UDP_CORK"}, {IPPROTO_UDP, 101, "UDP_NO_CHECK6_TX"}, {IPPROTO_UDP, 102, "UDP_NO_CHECK6_RX"},
                                            {IPPROTO_UDP, 103, "UDP_SEGMENT"}, {IPPROTO_UDP, 104, "UDP_GRO"}, {IPPROTO_UDP, 77, "nothing"}};
    ALL(AF_INET, SOCK_DGRAM, 0, options);
}

static void devices(void)
{
    section("devices");
    int fd = socket(AF_INET, SOCK_DGRAM, 0), index = 1;
    char name[32] = "";
    socklen_t len = sizeof name;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    printf("%u\n", len);
    SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
    len = sizeof name;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    printf("%u %s\n", len, name);
    len = 4;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    len = 4;
    SHOW(getsockopt(fd, SOL_SOCKET, 62, &index, &len));
    printf("index %d\n", index);
    SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nothing0", 8));
    SHOW(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
    len = sizeof name;
    SHOW(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    printf("%u\n", len);
    index = 1;
    SHOW(setsockopt(fd, SOL_SOCKET, 62, &index, sizeof index));
    index = 12345;
    SHOW(setsockopt(fd, SOL_SOCKET, 62, &index, sizeof index));
    index = -1;
    SHOW(setsockopt(fd, SOL_SOCKET, 62, &index, sizeof index));
    index = 0;
    SHOW(setsockopt(fd, SOL_SOCKET, 62, &index, sizeof index));
    struct ip_mreqn m = {.imr_address.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m));
    struct in_addr a;
    len = sizeof a;
    SHOW(getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, &len));
    printf("%s\n", inet_ntoa(a));
    inet_pton(AF_INET, "192.0.2.1", &a);
    SHOW(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, sizeof a));
    SHOW(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, 3));
    a.s_addr = 0;
    SHOW(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, sizeof a));
    close(fd);
}

static void families(void)
{
    section("families and protocols");
    static const struct { int family, type, protocol; } kinds[] = {
        {AF_INET, SOCK_STREAM, IPPROTO_UDP}, {AF_INET, SOCK_DGRAM, IPPROTO_TCP}, {AF_INET, SOCK_RAW, 0}, {AF_INET, SOCK_SEQPACKET, 0},
        {AF_INET, SOCK_DGRAM, 300}, {AF_INET, SOCK_DGRAM, -1}, {AF_INET, 4, 0}, {AF_INET, 0, 0}, {AF_INET, 11, 0}, {AF_INET, SOCK_DGRAM, 200},
        {AF_INET6, SOCK_DGRAM, IPPROTO_ICMP}, {AF_INET6, SOCK_STREAM, IPPROTO_TCP}, {AF_INET6, SOCK_DGRAM, IPPROTO_UDP}, {46, SOCK_DGRAM, 0}, {-1, SOCK_DGRAM, 0}};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int fd = socket(kinds[i].family, kinds[i].type, kinds[i].protocol);
        printf("%d %d %d: %s\n", kinds[i].family, kinds[i].type, kinds[i].protocol, fd < 0 ? errno_name(errno) : "ok");
        if (fd >= 0)
            close(fd);
    }
    int v[2];
    SHOW(socketpair(AF_INET, SOCK_DGRAM, 0, v));
    SHOW(socketpair(AF_INET, SOCK_STREAM, 0, v));
}

int main(void)
{
    families();
    ALL(AF_INET, SOCK_DGRAM, 0, options4);
    ALL(AF_INET, SOCK_STREAM, 0, options4);
    ALL(AF_INET6, SOCK_DGRAM, 0, options6);
    ALL(AF_INET6, SOCK_STREAM, 0, options6);
    ALL(AF_INET6, SOCK_DGRAM, 0, options4);
    ALL(AF_INET, SOCK_DGRAM, 0, options6);
    ALL(AF_INET, SOCK_DGRAM, 0, socket_options);
    ALL(AF_INET6, SOCK_STREAM, 0, socket_options);
    udp_level();
    section("levels");
    levels(AF_INET, SOCK_DGRAM);
    levels(AF_INET6, SOCK_DGRAM);
    devices();
    return 0;
}
