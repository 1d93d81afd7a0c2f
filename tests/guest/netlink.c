// NETLINK_ROUTE: names and options of sockets, dumps of links, addresses and routes, answers, errors, changes and notifications.
// build: glibc
// cpus: 1 2
// options: --net none
#include "own_network.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static int sock;
static char buffer[65536];
static unsigned sequence = 100;

static int open_socket(void)
{
    int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (s == -1)
        give_up("socket");
    return s;
}

struct request {
    struct nlmsghdr header;
    char body[512];
};

static void *begin(struct request *r, int type, int flags, size_t size)
{
    memset(r, 0, sizeof *r);
    r->header = (struct nlmsghdr){NLMSG_LENGTH(size), type, NLM_F_REQUEST | flags, ++sequence, 0};
    return r->body;
}

static void add(struct request *r, int type, const void *data, size_t size)
{
    struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));
    a->rta_type = type;
    a->rta_len = RTA_LENGTH(size);
    memcpy(RTA_DATA(a), data, size);
    r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

static void print_ip(const char *what, int family, const void *data)
{
    char text[64];
    printf(" %s %s", what, inet_ntop(family, data, text, sizeof text));
}

static void print_link(struct nlmsghdr *h)
{
    struct ifinfomsg *m = NLMSG_DATA(h);
    int left = h->nlmsg_len - NLMSG_LENGTH(sizeof *m);
    struct rtattr *found[IFLA_MAX + 1] = {NULL};
    for (struct rtattr *a = IFLA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type <= IFLA_MAX)
            found[a->rta_type] = a;
    printf(" link %d family %d type %d flags %x", m->ifi_index, m->ifi_family, m->ifi_type, m->ifi_flags);
#define NUMBER(what, type, of) printf(" " what " %d", found[type] ? (int)*(of *)RTA_DATA(found[type]) : -1)
    printf(" name %s qdisc %s", (char *)RTA_DATA(found[IFLA_IFNAME]), (char *)RTA_DATA(found[IFLA_QDISC]));
    NUMBER("mtu", IFLA_MTU, unsigned);
    NUMBER("queue", IFLA_TXQLEN, unsigned);
    NUMBER("state", IFLA_OPERSTATE, uint8_t);
    NUMBER("carrier", IFLA_CARRIER, uint8_t);
    NUMBER("mode", IFLA_LINKMODE, uint8_t);
    NUMBER("group", IFLA_GROUP, unsigned);
    NUMBER("promiscuity", IFLA_PROMISCUITY, unsigned);
    printf(" address of %d", found[IFLA_ADDRESS] ? (int)RTA_PAYLOAD(found[IFLA_ADDRESS]) : -1);
    printf("%s%s%s\n", found[IFLA_STATS] ? " stats" : "", found[IFLA_STATS64] ? " stats64" : "", found[IFLA_AF_SPEC] ? " spec" : "");
}

static void print_address(struct nlmsghdr *h)
{
    struct ifaddrmsg *m = NLMSG_DATA(h);
    int left = h->nlmsg_len - NLMSG_LENGTH(sizeof *m);
    printf(" address at %d family %d /%d flags %x scope %d", m->ifa_index, m->ifa_family, m->ifa_prefixlen, m->ifa_flags, m->ifa_scope);
    for (struct rtattr *a = IFA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        struct ifa_cacheinfo *c = RTA_DATA(a);
        switch (a->rta_type) {
        case IFA_ADDRESS: print_ip("is", m->ifa_family, RTA_DATA(a)); break;
        case IFA_LOCAL: print_ip("local", m->ifa_family, RTA_DATA(a)); break;
        case IFA_BROADCAST: print_ip("broadcast", m->ifa_family, RTA_DATA(a)); break;
        case IFA_LABEL: printf(" label %s", (char *)RTA_DATA(a)); break;
        case IFA_FLAGS: printf(" flags %x", *(unsigned *)RTA_DATA(a)); break;
        case IFA_CACHEINFO: printf(" valid %x preferred %x", c->ifa_valid, c->ifa_prefered); break;
        }
    }
}

static void print_route(struct nlmsghdr *h)
{
    struct rtmsg *m = NLMSG_DATA(h);
    int left = h->nlmsg_len - NLMSG_LENGTH(sizeof *m);
    printf(" route family %d /%d table %d protocol %d scope %d type %d flags %x", m->rtm_family, m->rtm_dst_len, m->rtm_table,
           m->rtm_protocol, m->rtm_scope, m->rtm_type, m->rtm_flags);
    for (struct rtattr *a = RTM_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        switch (a->rta_type) {
        case RTA_TABLE: printf(" table %u", *(unsigned *)RTA_DATA(a)); break;
        case RTA_DST: print_ip("to", m->rtm_family, RTA_DATA(a)); break;
        case RTA_PREFSRC: print_ip("from", m->rtm_family, RTA_DATA(a)); break;
        case RTA_GATEWAY: print_ip("gateway", m->rtm_family, RTA_DATA(a)); break;
        case RTA_OIF: printf(" by %u", *(unsigned *)RTA_DATA(a)); break;
        case RTA_UID: printf(" user %u", *(unsigned *)RTA_DATA(a)); break;
        }
    }
}

// Prints one datagram of messages.
static void print_datagram(const char *data, long size)
{
    for (struct nlmsghdr *h = (void *)data; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
        printf("  type %d flags %x sequence %s port %s:", h->nlmsg_type, h->nlmsg_flags, h->nlmsg_seq == sequence ? "ok" : h->nlmsg_seq ? "other" : "0",
               h->nlmsg_pid == (unsigned)getpid() ? "mine" : h->nlmsg_pid ? "other" : "0");
        struct nlmsgerr *e = NLMSG_DATA(h);
        if (h->nlmsg_type == NLMSG_ERROR)
            printf(" error %s, %d bytes, of type %d", e->error ? errno_name(-e->error) : "0", h->nlmsg_len, e->msg.nlmsg_type);
        else if (h->nlmsg_type == NLMSG_DONE)
            printf(" done %d, %d bytes", *(int *)NLMSG_DATA(h), h->nlmsg_len);
        else if (h->nlmsg_type == RTM_NEWLINK) {
            print_link(h);
            continue;
        }
        else if (h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR)
            print_address(h);
        else if (h->nlmsg_type == RTM_NEWROUTE)
            print_route(h);
        printf("\n");
    }
}

// Sends a request and prints what is answered, until nothing more comes.
static void ask(const char *what, struct request *r)
{
    printf("%s\n", what);
    if (send(sock, r, r->header.nlmsg_len, 0) != (long)r->header.nlmsg_len)
        printf("  not sent: %s\n", errno_name(errno));
    for (;;) {
        long n = recv(sock, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n == -1)
            break;
        print_datagram(buffer, n);
    }
}

static int bind_to(int s, unsigned port, unsigned groups)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups};
    return bind(s, (struct sockaddr *)&a, sizeof a);
}

static void print_name(int s, bool peer)
{
    struct sockaddr_nl a;
    socklen_t len = sizeof a;
    memset(&a, 0xff, sizeof a);
    int err = peer ? getpeername(s, (struct sockaddr *)&a, &len) : getsockname(s, (struct sockaddr *)&a, &len);
    printf("%s: %d, %d bytes, family %d, port %s, groups %x\n", peer ? "peer" : "name", err, (int)len, a.nl_family,
           !a.nl_pid ? "0" : a.nl_pid == (unsigned)getpid() ? "mine" : (int)a.nl_pid < 0 ? "negative" : "other", a.nl_groups);
}

static void names(void)
{
    section("names");
    SHOW(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE));
    SHOW(socket(AF_NETLINK, SOCK_SEQPACKET, NETLINK_ROUTE));
    SHOW(socket(AF_NETLINK, SOCK_RAW, 32));
    SHOW(socket(AF_NETLINK, SOCK_RAW, -1));
    int a = open_socket(), b = open_socket(), c = open_socket();
    print_name(a, false);
    struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
    SHOW(bind(a, (struct sockaddr *)&nl, 8));
    nl.nl_family = AF_INET;
    SHOW(bind(a, (struct sockaddr *)&nl, sizeof nl));
    SHOW(bind_to(a, 0, 0));
    print_name(a, false);
    print_name(a, true);
    SHOW(bind_to(a, 77, 0));
    SHOW(bind_to(a, getpid(), 3));
    print_name(a, false);
    SHOW(bind_to(b, 0, 0));
    print_name(b, false);
    SHOW(bind_to(c, getpid(), 0));
    SHOW(bind_to(c, 4242, 1));
    print_name(c, false);
    nl = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_pid = 4242, .nl_groups = 8};
    SHOW(connect(a, (struct sockaddr *)&nl, 1));
    SHOW(connect(a, (struct sockaddr *)&nl, 8));
    SHOW(connect(a, (struct sockaddr *)&nl, sizeof nl));
    print_name(a, true);
    nl.nl_family = AF_UNSPEC;
    SHOW(connect(a, (struct sockaddr *)&nl, sizeof nl));
    print_name(a, true);
    SHOW(listen(a, 1));
    SHOW(accept(a, NULL, NULL));
    SHOW(shutdown(a, SHUT_RDWR));
    close(a);
    close(b);
    close(c);
}

static void option(int s, int name, int value)
{
    int got = -1;
    socklen_t len = sizeof got;
    int err = setsockopt(s, SOL_NETLINK, name, &value, sizeof value);
    printf("option %d = %d: %s", name, value, err ? errno_name(errno) : "ok");
    err = getsockopt(s, SOL_NETLINK, name, &got, &len);
    printf(", reads %s %d in %d\n", err ? errno_name(errno) : "ok", err ? 0 : got, (int)len);
}

static void options(void)
{
    section("options");
    int s = open_socket();
    int list[8] = {0};
    socklen_t len = sizeof list;
    option(s, NETLINK_PKTINFO, 1);
    option(s, NETLINK_CAP_ACK, 1);
    option(s, NETLINK_EXT_ACK, 5);
    option(s, NETLINK_GET_STRICT_CHK, 1);
    option(s, NETLINK_NO_ENOBUFS, 1);
    option(s, NETLINK_BROADCAST_ERROR, 0);
    option(s, 99, 1);
    option(s, NETLINK_ADD_MEMBERSHIP, 0);
    option(s, NETLINK_ADD_MEMBERSHIP, 1000);
    option(s, NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK);
    option(s, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV6_IFADDR);
    option(s, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
    SHOW(getsockopt(s, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, list, &len));
    printf("groups %x %x\n", list[0], list[1]);
    SHOW(setsockopt(s, 6, 1, list, 4));
    int type = 0;
    len = sizeof type;
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, &type, &len));
    HOLDS(type == SOCK_RAW);
    SHOW(getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &type, &len));
    HOLDS(type == NETLINK_ROUTE);
    close(s);
}

static void dumps(void)
{
    section("dumps");
    struct request r;
    struct rtgenmsg *g = begin(&r, RTM_GETLINK, NLM_F_DUMP, sizeof *g);
    ask("links", &r);
    g = begin(&r, RTM_GETADDR, NLM_F_DUMP | NLM_F_ACK, sizeof *g);
    ask("addresses", &r);
    g = begin(&r, RTM_GETADDR, NLM_F_DUMP, sizeof *g);
    g->rtgen_family = AF_INET;
    ask("addresses of IPv4", &r);
    g = begin(&r, RTM_GETADDR, NLM_F_DUMP, sizeof *g);
    g->rtgen_family = AF_INET6;
    ask("addresses of IPv6", &r);
    struct rtmsg *m = begin(&r, RTM_GETROUTE, NLM_F_DUMP, sizeof *m);
    m->rtm_family = AF_INET;
    ask("routes of IPv4", &r);
    m = begin(&r, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));
    ask("neighbours", &r);
    begin(&r, RTM_GETLINK, NLM_F_DUMP, 0);
    ask("no header", &r);
    begin(&r, 15, NLM_F_ACK, 16);
    ask("a control message", &r);
    begin(&r, RTM_MAX + 1, 0, 16);
    ask("no such type", &r);
    begin(&r, 1000, NLM_F_DUMP, 16);
    ask("nor this", &r);
    begin(&r, RTM_NEWROUTE + 3, 0, 16);
    r.header.nlmsg_flags = 0;
    ask("no request", &r);

    printf("a dump that is not read to its end\n");
    g = begin(&r, RTM_GETLINK, NLM_F_DUMP, sizeof *g);
    SHOW(send(sock, &r, r.header.nlmsg_len, 0));
    ask("another one", &r);
}

static void one(void)
{
    section("one");
    struct request r;
    struct ifinfomsg *m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    m->ifi_index = 1;
    ask("link 1", &r);
    m = begin(&r, RTM_GETLINK, NLM_F_ACK, sizeof *m);
    add(&r, IFLA_IFNAME, "lo", 3);
    ask("link lo, acknowledged", &r);
    m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    m->ifi_index = 99;
    ask("link 99", &r);
    m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    add(&r, IFLA_IFNAME, "nothing", 8);
    ask("link nothing", &r);
    m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    ask("no link", &r);
    struct rtmsg *t = begin(&r, RTM_GETROUTE, 0, sizeof *t);
    t->rtm_family = AF_INET;
    t->rtm_dst_len = 32;
    add(&r, RTA_DST, "\177\0\0\5", 4);
    ask("the way to 127.0.0.5", &r);
    t = begin(&r, RTM_GETROUTE, 0, sizeof *t);
    t->rtm_family = AF_INET;
    t->rtm_dst_len = 32;
    add(&r, RTA_DST, "\12\1\2\3", 4);
    ask("the way to 10.1.2.3", &r);
}

static void changes(void)
{
    section("changes");
    struct request r;
    int listener = open_socket();
    SHOW(bind_to(listener, 0, RTMGRP_LINK));
    struct ifinfomsg *m = begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof *m);
    m->ifi_index = 1;
    unsigned mtu = 9000;
    add(&r, IFLA_MTU, &mtu, 4);
    ask("mtu 9000", &r);
    m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    m->ifi_index = 1;
    ask("link 1", &r);
    m = begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof *m);
    m->ifi_index = 1;
    mtu = 65536;
    add(&r, IFLA_MTU, &mtu, 4);
    ask("mtu 65536", &r);
    while (recv(listener, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        ;
    m = begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof *m);
    m->ifi_index = 1;
    m->ifi_change = IFF_UP;
    ask("down", &r);
    struct sockaddr_nl from;
    socklen_t len = sizeof from;
    long n = recvfrom(listener, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    struct nlmsghdr *h = (void *)buffer;
    struct ifinfomsg *i = NLMSG_DATA(h);
    printf("told: %s, type %d, link %d, up %d; from port %u, groups %x\n", n > 0 ? "yes" : "no", h->nlmsg_type, i->ifi_index,
           i->ifi_flags & IFF_UP, from.nl_pid, from.nl_groups);
    m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    m->ifi_index = 1;
    ask("link 1", &r);
    m = begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof *m);
    m->ifi_index = 1;
    m->ifi_change = m->ifi_flags = IFF_UP;
    ask("up", &r);
    m = begin(&r, RTM_NEWLINK, 0, sizeof *m);
    m->ifi_index = 99;
    ask("link 99", &r);
    m = begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
    add(&r, IFLA_IFNAME, "lo", 3);
    ask("lo anew", &r);

    struct ifaddrmsg *a = begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *a);
    *a = (struct ifaddrmsg){AF_INET, 8, 0, 0, 1};
    add(&r, IFA_LOCAL, "\177\0\0\1", 4);
    ask("127.0.0.1 again", &r);
    a = begin(&r, RTM_NEWADDR, 0, sizeof *a);
    *a = (struct ifaddrmsg){AF_INET, 33, 0, 0, 1};
    add(&r, IFA_LOCAL, "\177\0\0\1", 4);
    ask("a prefix of 33 bits", &r);
    a = begin(&r, RTM_NEWADDR, 0, sizeof *a);
    *a = (struct ifaddrmsg){AF_INET, 8, 0, 0, 99};
    add(&r, IFA_LOCAL, "\177\0\0\1", 4);
    ask("at link 99", &r);
    a = begin(&r, RTM_DELADDR, 0, sizeof *a);
    *a = (struct ifaddrmsg){AF_INET, 8, 0, 0, 1};
    add(&r, IFA_LOCAL, "\12\0\0\1", 4);
    ask("away with 10.0.0.1", &r);
    struct rtmsg *t = begin(&r, RTM_DELROUTE, 0, sizeof *t);
    *t = (struct rtmsg){.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_scope = RT_SCOPE_NOWHERE};
    ask("away with the default route", &r);
    t = begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *t);
    *t = (struct rtmsg){.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST};
    add(&r, RTA_GATEWAY, "\12\0\0\1", 4);
    ask("a gateway that is nowhere", &r);
    close(listener);
}

static void datagrams(void)
{
    section("datagrams");
    struct request r;
    struct rtgenmsg *g = begin(&r, RTM_GETADDR, NLM_F_DUMP, sizeof *g);
    g->rtgen_family = AF_INET;
    struct pollfd p = {.fd = sock, .events = POLLIN | POLLOUT};
    poll(&p, 1, 0);
    printf("before: %x\n", p.revents);
    SHOW(send(sock, &r, r.header.nlmsg_len, 0));
    poll(&p, 1, 0);
    printf("after: %x\n", p.revents);
    struct sockaddr_nl from;
    struct iovec v = {buffer, 0};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &v, .msg_iovlen = 1};
    long whole = recvmsg(sock, &m, MSG_PEEK | MSG_TRUNC);
    printf("a look: %s, flags %x, port %u, name of %d\n", whole > 16 ? "long" : "short", m.msg_flags, from.nl_pid, m.msg_namelen);
    v.iov_len = 10;
    SHOW(recvmsg(sock, &m, 0));
    printf("flags %x\n", m.msg_flags);
    SHOW(recv(sock, buffer, sizeof buffer, 0));
    SHOW(recv(sock, buffer, sizeof buffer, MSG_DONTWAIT));
    SHOW(send(sock, &r, 0, 0));
    SHOW(send(sock, &r, 5, 0));
    SHOW(recv(sock, buffer, sizeof buffer, MSG_DONTWAIT));
    SHOW(send(sock, &r, 16, MSG_OOB));
    SHOW(recv(sock, buffer, sizeof buffer, MSG_OOB));
    struct sockaddr_in in = {.sin_family = AF_INET};
    SHOW(sendto(sock, &r, 16, 0, (struct sockaddr *)&in, sizeof in));

    printf("two in one\n");
    struct {
        struct nlmsghdr h;
        struct ifinfomsg m;
    } two[2];
    memset(two, 0, sizeof two);
    for (int k = 0; k < 2; k++) {
        two[k].h = (struct nlmsghdr){sizeof two[k], RTM_GETLINK, NLM_F_REQUEST, ++sequence, 0};
        two[k].m.ifi_index = k ? 1 : 98;
    }
    SHOW(send(sock, two, sizeof two, 0));
    long n;
    while ((n = recv(sock, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
        print_datagram(buffer, n);

    printf("from one to another\n");
    int other = open_socket(), on = 1;
    SHOW(bind_to(other, 5555, 0));
    struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = 5555};
    SHOW(setsockopt(other, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    SHOW(sendto(sock, "hello", 5, 0, (struct sockaddr *)&to, sizeof to));
    char control[64];
    m = (struct msghdr){&from, sizeof from, &v, 1, control, sizeof control, 0};
    v.iov_len = sizeof buffer;
    SHOW(recvmsg(other, &m, MSG_DONTWAIT));
    struct ucred *c = (void *)CMSG_DATA(CMSG_FIRSTHDR(&m));
    printf("%.5s from %s, by %s %d\n", buffer, from.nl_pid == (unsigned)getpid() ? "me" : "another", c->pid == getpid() ? "me" : "another", c->uid);
    to.nl_pid = 6666;
    SHOW(sendto(sock, "hello", 5, 0, (struct sockaddr *)&to, sizeof to));
    close(other);
}

static void acknowledgements(void)
{
    section("acknowledgements");
    struct request r;
    int on = 1;
    struct ifinfomsg *m = begin(&r, RTM_GETLINK, 0, sizeof *m);
    m->ifi_index = 99;
    ask("all of the request", &r);
    SHOW(setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on));
    r.header.nlmsg_seq = ++sequence;
    ask("its header", &r);
    SHOW(setsockopt(sock, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on));
    m = begin(&r, RTM_GETLINK, NLM_F_DUMP, 1);
    ask("a short header", &r);
    m = begin(&r, RTM_GETLINK, NLM_F_DUMP, sizeof *m);
    m->ifi_type = 1;
    ask("a header with values", &r);
    struct ifaddrmsg *a = begin(&r, RTM_GETADDR, NLM_F_DUMP, sizeof *a);
    a->ifa_family = AF_INET;
    a->ifa_index = 1;
    ask("addresses of link 1", &r);
    a = begin(&r, RTM_GETADDR, NLM_F_DUMP, sizeof *a);
    a->ifa_family = AF_INET;
    a->ifa_index = 99;
    ask("addresses of link 99", &r);
}

static void unprivileged(void)
{
    section("without rights");
    fflush(stdout);
    if (fork() == 0) {
        struct request r;
        struct ifinfomsg *m;
        sock = open_socket();
        if (setuid(65534))
            give_up("setuid");
        m = begin(&r, RTM_NEWLINK, 0, sizeof *m);
        m->ifi_index = 1;
        ask("a change", &r);
        m = begin(&r, RTM_GETLINK, 0, sizeof *m);
        m->ifi_index = 1;
        ask("a question", &r);
        struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = 1};
        SHOW(sendto(sock, "hello", 5, 0, (struct sockaddr *)&to, sizeof to));
        SHOW(connect(sock, (struct sockaddr *)&to, sizeof to));
        SHOW(bind_to(sock, getpid(), RTMGRP_LINK));
        fflush(stdout);
        _exit(0);
    }
    int status;
    wait(&status);
    printf("status %x\n", status);
}

// SIGEV_THREAD of mq_notify(2): a cookie comes through the socket, its last byte says why.
static void cookies(void)
{
    section("mq_notify");
    int s = open_socket();
    long size[8] = {0, 4, 16};
    char cookie[32] = "0123456789012345678901234567890";
    struct sigevent e = {.sigev_notify = SIGEV_THREAD, .sigev_signo = s, .sigev_value.sival_ptr = cookie};
    int q = syscall(SYS_mq_open, "netlink-test", O_CREAT | O_RDWR | O_NONBLOCK, 0600, size);
    if (q == -1)
        give_up("mq_open");
    syscall(SYS_mq_unlink, "netlink-test");
    for (int k = 0; k < 2; k++) {
        SHOW(syscall(SYS_mq_notify, q, &e));
        SHOW(syscall(SYS_mq_notify, q, &e));
        SHOW(recv(s, buffer, sizeof buffer, MSG_DONTWAIT));
        SHOW(k ? syscall(SYS_mq_notify, q, NULL) : syscall(SYS_mq_timedsend, q, "x", 1, 0, NULL));
        SHOW(recv(s, buffer, sizeof buffer, MSG_DONTWAIT));
        printf("%.31s %d\n", buffer, buffer[31]);
    }
    SHOW(syscall(SYS_mq_notify, 0, &e));
    close(s);
}

int main(void)
{
    own_network();
    names();
    options();
    sock = open_socket();
    if (bind_to(sock, 0, 0))
        give_up("bind");
    dumps();
    one();
    changes();
    datagrams();
    acknowledgements();
    unprivileged();
    cookies();
    return 0;
}
