// Control messages of UDP, raw and ping sockets: ip(7), ipv6(7), cmsg(3). What a sender says about one message, and what a receiver
// is told beside it.
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "net/inet/datagram.h"
#include <asm/socket.h>
#include <linux/capability.h>
#include <linux/time.h>
#include <linux/errqueue.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#define SOL_IP 0
#define SOL_UDP 17
#define SOL_IPV6 41

struct cmsg { // struct cmsghdr
    uint64_t len;
    int level, type;
};
_Static_assert(sizeof(struct cmsg) == 16, "ABI");
_Static_assert(sizeof(struct in_pktinfo) == 12 && sizeof(struct in6_pktinfo) == 20, "ABI");

// --- Sending ---

static bool get_int(const struct cmsg *c, int *value) {
    if (c->len != sizeof(*c) + sizeof(*value))
        return false;
    memcpy(value, c + 1, sizeof(*value));
    return true;
}

static int socket_control(const struct cmsg *c) {
    int value;
    switch (c->type) {
    case SO_MARK:
        if (!capable(CAP_NET_ADMIN) && !capable(CAP_NET_RAW))
            return -EPERM;
        return get_int(c, &value) ? 0 : -EINVAL;
    case SO_PRIORITY:
        if (!get_int(c, &value))
            return -EINVAL;
        return (value >= 0 && value <= 6) || capable(CAP_NET_ADMIN) || capable(CAP_NET_RAW) ? 0 : -EPERM;
    case SCM_RIGHTS:
    case SCM_CREDENTIALS: return 0;
    }
    return -EINVAL;
}

static int udp_control(const struct cmsg *c, struct inet_send *how) {
    if (c->type != UDP_SEGMENT || c->len != sizeof(*c) + sizeof(uint16_t))
        return -EINVAL;
    memcpy(&how->segment, c + 1, sizeof(uint16_t));
    return 0;
}

static int set_interface(struct inet_send *how, int interface) {
    if (interface)
        how->interface = interface;
    return 0;
}

static int ip_control(const struct datagram_socket *s, const struct cmsg *c, struct inet_send *how) {
    struct in_pktinfo info;
    int value;
    switch (c->type) {
    case IP_PKTINFO:
        if (c->len != sizeof(*c) + sizeof(info))
            return -EINVAL;
        memcpy(&info, c + 1, sizeof(info));
        ip_addr_set_ip4_u32_val(how->source, info.ipi_spec_dst.s_addr);
        return set_interface(how, info.ipi_ifindex);
    case IP_TTL:
        if (!get_int(c, &value) || value < 1 || value > 255)
            return -EINVAL;
        how->ttl = value;
        return 0;
    case IP_TOS:
        if (c->len == sizeof(*c) + 1)
            value = *(const uint8_t *)(c + 1);
        else if (!get_int(c, &value) || value < 0 || value > 255)
            return -EINVAL;
        how->tos = value;
        return 0;
    case IP_PROTOCOL:
        if (!get_int(c, &value) || value < 1 || value > 255)
            return -EINVAL;
        how->protocol = value;
        return 0;
    }
    return -EINVAL;
}

static int ip6_source(struct datagram_socket *s, const struct in6_pktinfo *info, struct inet_send *how) {
    int bound = s->inet.interface;
    if (info->ipi6_ifindex && bound && info->ipi6_ifindex != bound)
        return -EINVAL;
    if (info->ipi6_ifindex && info->ipi6_ifindex < 0)
        return -ENODEV;
    set_interface(how, info->ipi6_ifindex);
    ip_addr_t a = IPADDR6_INIT(0, 0, 0, 0);
    memcpy(ip_2_ip6(&a)->addr, &info->ipi6_addr, 16);
    if (ip6_addr_isany(ip_2_ip6(&a)))
        return 0;
    if (ip6_addr_islinklocal(ip_2_ip6(&a)))
        ip6_addr_set_zone(ip_2_ip6(&a), how->interface);
    net_lock();
    bool ok = s->inet.options.freebind || s->inet.options.transparent || net_address_is_local(&a);
    net_unlock();
    how->source = a;
    return ok ? 0 : -EINVAL;
}

static int ip6_control(struct datagram_socket *s, const struct cmsg *c, bool v6, struct inet_send *how) {
    struct in6_pktinfo info;
    int value;
    switch (c->type) {
    case IPV6_PKTINFO:
    case IPV6_2292PKTINFO:
        if (c->len < sizeof(*c) + sizeof(info))
            return -EINVAL;
        memcpy(&info, c + 1, sizeof(info));
        if (v6)
            return ip6_source(s, &info, how);
        if (c->type == IPV6_2292PKTINFO)
            return 0;
        // For an IPv4-mapped destination the source is mapped too.
        if (info.ipi6_addr.in6_u.u6_addr32[0] || info.ipi6_addr.in6_u.u6_addr32[1] ||
            info.ipi6_addr.in6_u.u6_addr32[2] != PP_HTONL(0xffff))
            return -EINVAL;
        ip_addr_set_ip4_u32_val(how->source, info.ipi6_addr.in6_u.u6_addr32[3]);
        return set_interface(how, info.ipi6_ifindex);
    }
    if (!v6)
        return 0;
    switch (c->type) {
    case IPV6_HOPLIMIT:
    case IPV6_2292HOPLIMIT:
        if (!get_int(c, &value) || value < -1 || value > 255)
            return -EINVAL;
        how->ttl = value;
        return 0;
    case IPV6_TCLASS:
        if (!get_int(c, &value) || value < -1 || value > 255)
            return -EINVAL;
        how->tos = value;
        return 0;
    case IPV6_DONTFRAG:
        if (!get_int(c, &value) || value < 0 || value > 1)
            return -EINVAL;
        how->dont_fragment = value;
        return 0;
    case IPV6_FLOWINFO: return c->len < sizeof(*c) + 4 ? -EINVAL : 0; // no labels are given out: it is sent as 0
    }
    return -EINVAL;
}

int inet_control_in(struct datagram_socket *s, const struct socket_message *m, bool v6, struct inet_send *how) {
    bool udp = s->inet.socket.protocol == IPPROTO_UDP && s->inet.socket.type == SOCK_DGRAM;
    for (size_t at = 0; m->control_len - at >= sizeof(struct cmsg);) {
        const struct cmsg *c = (const struct cmsg *)(m->control + at);
        size_t left = m->control_len - at;
        if (c->len < sizeof(*c) || c->len > left)
            return -EINVAL;
        int err = 0;
        if (c->level == SOL_SOCKET)
            err = socket_control(c);
        else if (udp && c->level == SOL_UDP)
            err = udp_control(c, how);
        else if (c->level == SOL_IP && !v6)
            err = ip_control(s, c, how);
        else if (c->level == SOL_IPV6 && s->inet.socket.family == AF_INET6)
            err = ip6_control(s, c, v6, how);
        if (err < 0)
            return err;
        size_t step = ALIGN_UP(c->len, 8ul);
        if (step > left)
            break;
        at += step;
    }
    return 0;
}

// --- Receiving ---

static inline bool wanted(const struct datagram_socket *s, enum inet_receive bit) {
    return s->inet.options.receive >> bit & 1;
}

static void put_socket_level(const struct datagram_socket *s, const struct datagram *d, struct socket_message *m) {
    const struct socket *so = &s->inet.socket;
    socket_put_timestamp(so, m, d->stamp);
    if (socket_bit(so, SOCKET_RXQ_OVFL) && d->dropped)
        message_put_control(m, SOL_SOCKET, SO_RXQ_OVFL, &d->dropped, sizeof(d->dropped));
}

static void put_address(struct socket_message *m, int level, int type, const ip_addr_t *ip, uint16_t port) {
    if (IP_IS_V6(ip)) {
        struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = lwip_htons(port)};
        memcpy(&a.sin6_addr, ip_2_ip6(ip)->addr, 16);
        if (ip6_addr_islinklocal(ip_2_ip6(ip)))
            a.sin6_scope_id = ip6_addr_zone(ip_2_ip6(ip));
        message_put_control(m, level, type, &a, sizeof(a));
    } else {
        struct sockaddr_in a = {
            .sin_family = AF_INET, .sin_port = lwip_htons(port), .sin_addr.s_addr = ip_2_ip4(ip)->addr};
        message_put_control(m, level, type, &a, sizeof(a));
    }
}

// The address of this machine that an answer would come from.
static uint32_t answer_from(const struct datagram *d) {
    ip_addr_t source;
    struct net_interface *i;
    net_lock();
    if (net_address_is_local(&d->to))
        source = d->to;
    else if (!net_route_find(&d->from, 0, &i, &source))
        ip_addr_set_zero_ip4(&source);
    net_unlock();
    return ip_2_ip4(&source)->addr;
}

static void put_ip(struct datagram_socket *s, const struct datagram *d, struct socket_message *m) {
    if (wanted(s, INET_RECEIVE_PKTINFO)) {
        struct in_pktinfo info = {d->interface, {answer_from(d)}, {ip_2_ip4(&d->to)->addr}};
        message_put_control(m, SOL_IP, IP_PKTINFO, &info, sizeof(info));
    }
    if (wanted(s, INET_RECEIVE_TTL)) {
        int ttl = d->ttl;
        message_put_control(m, SOL_IP, IP_TTL, &ttl, sizeof(ttl));
    }
    if (wanted(s, INET_RECEIVE_TOS))
        message_put_control(m, SOL_IP, IP_TOS, &d->tos, 1);
    if (wanted(s, INET_RECEIVE_ORIGDSTADDR))
        put_address(m, SOL_IP, IP_ORIGDSTADDR, &d->to, d->to_port);
}

static void put_pktinfo6(const struct datagram *d, struct socket_message *m, int type) {
    struct in6_pktinfo info = {.ipi6_ifindex = d->interface};
    if (IP_IS_V6(&d->to)) {
        memcpy(&info.ipi6_addr, ip_2_ip6(&d->to)->addr, 16);
    } else {
        info.ipi6_addr.in6_u.u6_addr32[2] = PP_HTONL(0xffff);
        info.ipi6_addr.in6_u.u6_addr32[3] = ip_2_ip4(&d->to)->addr;
    }
    message_put_control(m, SOL_IPV6, type, &info, sizeof(info));
}

static void put_ip6(struct datagram_socket *s, const struct datagram *d, struct socket_message *m) {
    int hops = d->ttl, class = d->tos;
    if (wanted(s, INET_RECEIVE_HOPLIMIT))
        message_put_control(m, SOL_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
    if (wanted(s, INET_RECEIVE_TCLASS))
        message_put_control(m, SOL_IPV6, IPV6_TCLASS, &class, sizeof(class));
    if (wanted(s, INET_RECEIVE_FLOWINFO) && d->flow)
        message_put_control(m, SOL_IPV6, IPV6_FLOWINFO, &d->flow, sizeof(d->flow));
    if (wanted(s, INET_RECEIVE_PKTINFO6_OLD))
        put_pktinfo6(d, m, IPV6_2292PKTINFO);
    if (wanted(s, INET_RECEIVE_HOPLIMIT_OLD))
        message_put_control(m, SOL_IPV6, IPV6_2292HOPLIMIT, &hops, sizeof(hops));
    if (wanted(s, INET_RECEIVE_ORIGDSTADDR6))
        put_address(m, SOL_IPV6, IPV6_ORIGDSTADDR, &d->to, d->to_port);
}

void inet_control_out(struct datagram_socket *s, const struct datagram *d, struct socket_message *m) {
    const struct socket *so = &s->inet.socket;
    if (so->bits & (1u << SOCKET_TIMESTAMP | 1u << SOCKET_TIMESTAMPNS | 1u << SOCKET_RXQ_OVFL))
        put_socket_level(s, d, m);
    if (likely(!s->inet.options.receive))
        return;
    if (so->family == AF_INET6 && wanted(s, INET_RECEIVE_PKTINFO6))
        put_pktinfo6(d, m, IPV6_PKTINFO);
    if (IP_IS_V6(&d->to))
        put_ip6(s, d, m);
    else
        put_ip(s, d, m);
}

void inet_control_error(struct datagram_socket *s, const struct datagram *d, struct socket_message *m) {
    struct {
        struct sock_extended_err error;
        union {
            struct sockaddr_in in;
            struct sockaddr_in6 in6;
        } offender;
    } report = {.error = {.ee_errno = d->error,
                          .ee_origin = d->source_error,
                          .ee_type = d->error_type,
                          .ee_code = d->error_code,
                          .ee_info = d->error_info}};
    bool six = s->inet.socket.family == AF_INET6;
    socket_put_timestamp(&s->inet.socket, m, d->stamp);
    if (d->source_error != SO_EE_ORIGIN_LOCAL) {
        struct socket_address a;
        inet_address_out(&s->inet, &d->offender, 0, &a);
        memcpy(&report.offender, a.data, MIN(a.len, (unsigned)sizeof(report.offender)));
    }
    message_put_control(m, six ? SOL_IPV6 : SOL_IP, six ? IPV6_RECVERR : IP_RECVERR, &report,
                        sizeof(report.error) + (six ? sizeof(report.offender.in6) : sizeof(report.offender.in)));
}
