// Raw sockets, see raw(7) and ipv6(7): a sender writes what follows the IP header, or the whole packet (IP_HDRINCL); a receiver gets
// a copy of each packet of its protocol that arrives, over IPv4 with its header. lwIP calls raw_input for each packet (in place of its
// own function of that name), which is also where errors and answers of ICMP come to other sockets.
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/priv/raw_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/uio.h"
#include "kernel/string.h"
#include "net/inet/datagram.h"
#include "net/inet/icmp.h"
#include "net/lwip/stack.h"
#include <linux/icmpv6.h>

#define IN6_LEN_OLD 24

static struct list sockets = LIST_INIT(sockets); // under the core lock

// --- Names ---

static int raw_socket_bind(struct socket *so, const struct socket_address *a) {
    struct datagram_socket *s = datagram_of(so);
    struct inet_socket *is = &s->inet;
    ip_addr_t ip;
    uint16_t port;
    int scope = 0, err;
    if (so->family == AF_INET6 && (a->len < IN6_LEN_OLD || a->family != AF_INET6))
        return -EINVAL;
    struct socket_address named = *a;
    if (so->family == AF_INET) // whatever it says
        named.family = AF_INET;
    err = inet_address_in(is, &named, &ip, &port, &scope);
    if (err < 0)
        return err == -ENETUNREACH ? -EADDRNOTAVAIL : err;
    net_lock();
    uint16_t protocol = is->local_port;
    is->local_port = 0;
    err = s->connected ? -EINVAL : inet_bind_allowed(is, &ip, 0);
    is->local_port = protocol;
    if (!err) {
        is->local = ip;
        is->bound_address = !ip_addr_isany_val(ip);
        if (scope)
            is->interface = scope;
    }
    net_unlock();
    return err;
}

static int raw_socket_connect(struct socket *so, const struct socket_address *a, bool nonblock) {
    if (a->len < sizeof(a->family))
        return -EINVAL;
    if (a->family == AF_UNSPEC) {
        datagram_disconnect(datagram_of(so), NULL);
        return 0;
    }
    return datagram_connect(so, a, nonblock);
}

// --- Sending ---

int message_destination(struct datagram_socket *s, const struct socket_address *name, struct inet_send *how) {
    struct inet_socket *is = &s->inet;
    if (!name || (is->socket.family == AF_INET6 && name->len >= sizeof(name->family) && name->family == AF_UNSPEC)) {
        if (!READ_ONCE(s->connected))
            return -EDESTADDRREQ;
        how->to = is->remote;
        return 0;
    }
    int err = inet_address_in(is, name, &how->to, &how->to_port, &how->interface);
    return err == -ENETUNREACH ? -EINVAL : err;
}

// The header that the application wrote is put right where it left something open.
static int complete_header(struct datagram *d, const struct inet_send *how) {
    struct ip_hdr *h = (struct ip_hdr *)d->data;
    if (d->paged || d->len < IP_HLEN || IPH_HL_BYTES(h) > d->len)
        return -EINVAL;
    if (IPH_HL_BYTES(h) < IP_HLEN)
        return 0; // as it is: it will not get far
    if (!h->src.addr)
        h->src.addr = ip_2_ip4(&how->source)->addr;
    IPH_LEN_SET(h, lwip_htons(d->len));
    IPH_CHKSUM_SET(h, 0);
    IPH_CHKSUM_SET(h, inet_chksum(h, IPH_HL_BYTES(h)));
    return 0;
}

static int store_checksum(struct datagram_socket *s, struct datagram *d, struct pbuf *p, const struct inet_send *how) {
    int offset = s->checksum_offset;
    if (!IP_IS_V6_VAL(how->to) || offset < 0)
        return 0;
    if ((unsigned)offset + 2 > d->len)
        return -EINVAL;
    uint16_t zero = 0, sum;
    pbuf_take_at(p, &zero, 2, offset);
    sum = ip_chksum_pseudo(p, s->inet.socket.protocol, p->tot_len, &how->source, &how->to);
    pbuf_take_at(p, &sum, 2, offset);
    return 0;
}

// Takes d over. Under the core lock.
static int transmit(struct datagram_socket *s, struct datagram *d, struct inet_send *how) {
    struct net_interface *i;
    bool local, whole = s->inet.options.header_included;
    int err = inet_route(s, how, &i, &local);
    struct pbuf *p = NULL;
    if (!err && whole)
        err = d->len > (unsigned)inet_mtu(i, &how->to) ? -EMSGSIZE
              : IP_IS_V4_VAL(how->to)                  ? complete_header(d, how)
                                                       : 0;
    if (!err && !(p = datagram_pbuf(d)))
        err = -ENOBUFS;
    if (!err && !whole)
        err = store_checksum(s, d, p, how);
    if (!err) {
        d->sender = s;
        socket_ref(&s->inet.socket);
        atomic_add(&s->sending, d->charge);
        if (!whole)
            err = inet_output(s, p, how, i, how->protocol ? how->protocol : s->inet.socket.protocol);
        else if (IP_IS_V6_VAL(how->to))
            err = d->len < IP6_HLEN ? -EINVAL
                                    : net_errno(ip6_output_if_src(p, NULL, LWIP_IP_HDRINCL, 0, 0, 0, &i->netif));
        else
            err = net_errno(ip4_output_if_src(p, NULL, LWIP_IP_HDRINCL, 0, 0, 0, &i->netif));
    }
    if (p)
        pbuf_free(p);
    datagram_put_locked(d);
    return err;
}

static int64_t raw_socket_send(struct socket *so, struct uio *u, struct socket_message *m, int flags) {
    struct datagram_socket *s = datagram_of(so);
    struct inet_send how = {.ttl = -1, .tos = -1, .dont_fragment = -1};
    size_t len = u->left;
    int err = len > 0xffff ? -EMSGSIZE : flags & MSG_OOB ? -EOPNOTSUPP : 0;
    if (!err)
        err = message_destination(s, m ? m->name : NULL, &how);
    if (!err && m && m->control_len)
        err = inet_control_in(s, m, IP_IS_V6_VAL(how.to), &how);
    if (!err)
        err = datagram_wait_to_send(s, flags);
    if (err < 0)
        return err;
    struct datagram *d = datagram_read(u, len);
    if (IS_ERR(d))
        return PTR_ERR(d);
    net_lock();
    err = transmit(s, d, &how);
    net_unlock();
    return err < 0 ? err : (int64_t)len;
}

static int64_t raw_socket_receive(struct socket *so, struct uio *u, struct socket_message *m, int flags) {
    return flags & MSG_OOB ? -EOPNOTSUPP : datagram_receive(so, u, m, flags);
}

// --- Receiving. Under the core lock ---

static bool same(const ip_addr_t *a, const ip_addr_t *b) {
    if (IP_GET_TYPE(a) != IP_GET_TYPE(b))
        return false;
    return IP_IS_V4(a) ? ip_2_ip4(a)->addr == ip_2_ip4(b)->addr : ip6_addr_cmp_zoneless(ip_2_ip6(a), ip_2_ip6(b));
}

static bool filtered(const struct datagram_socket *s, const struct pbuf *p, unsigned at) {
    uint8_t type;
    if (s->inet.socket.protocol == IPPROTO_ICMP && s->inet.socket.family == AF_INET)
        return pbuf_copy_partial(p, &type, 1, at) != 1 || (type < 32 && s->icmp_filter >> type & 1);
    if (s->inet.socket.protocol == IPPROTO_ICMPV6 && s->inet.socket.family == AF_INET6)
        return pbuf_copy_partial(p, &type, 1, at) != 1 || (s->icmp6_filter[type / 32] >> type % 32 & 1);
    return false;
}

static bool takes(const struct datagram_socket *s, const ip_addr_t *from, const ip_addr_t *to, int interface,
                  uint8_t protocol) {
    const struct inet_socket *is = &s->inet;
    if (is->socket.protocol != protocol || (is->socket.family == AF_INET6) != IP_IS_V6(to))
        return false;
    if (s->connected && !same(&is->remote, from))
        return false;
    if (!ip_addr_isany_val(is->local) && !same(&is->local, to))
        return false;
    if (is->interface && is->interface != interface)
        return false;
    return !ip_addr_ismulticast(to) || multicast_wanted(is, to, from, interface);
}

static bool deliver(struct pbuf *p, struct net_interface *in, uint8_t protocol, unsigned header) {
    struct inet_socket *is;
    bool any = false, v6 = ip_current_is_v6();
    const ip_addr_t *from = ip_current_src_addr(), *to = ip_current_dest_addr();
    list_for_each (is, &sockets, link) {
        struct datagram_socket *s = container_of(is, struct datagram_socket, inet);
        if (!takes(s, from, to, in->index, protocol))
            continue;
        any = true;
        struct datagram *d = filtered(s, p, header) ? NULL : datagram_copy_pbuf(p, v6 ? header : 0);
        if (d) {
            d->from = *from;
            d->to = *to;
            d->interface = in->index;
            d->ttl = v6 ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
            d->tos = v6 ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
            datagram_enqueue(s, d);
        }
    }
    return any;
}

void raw_error(const struct datagram *quoted, int protocol, const struct icmp_error *e) {
    struct inet_socket *is;
    list_for_each (is, &sockets, link) {
        struct datagram_socket *s = container_of(is, struct datagram_socket, inet);
        if (takes(s, &quoted->to, &quoted->from, quoted->interface, protocol))
            datagram_error(s, e, quoted);
    }
}

// The protocol of an IPv6 packet whose headers are so long altogether.
static uint8_t last_header(const struct pbuf *p, unsigned headers) {
    uint8_t protocol = IP6H_NEXTH((const struct ip6_hdr *)p->payload), ext[2];
    for (unsigned at = IP6_HLEN; at < headers && pbuf_copy_partial(p, ext, 2, at) == 2;) {
        at += protocol == IP6_NEXTH_FRAGMENT ? 8 : (ext[1] + 1) * 8;
        protocol = ext[0];
    }
    return protocol;
}

static bool checksum_good(struct pbuf *p, unsigned header, bool v6) {
    pbuf_remove_header(p, header);
    uint16_t sum = v6 ? ip_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, ip_current_src_addr(), ip_current_dest_addr())
                      : inet_chksum_pbuf(p);
    pbuf_add_header_force(p, header);
    return sum == 0;
}

raw_input_state_t raw_input(struct pbuf *p, struct netif *inp) {
    bool v6 = ip_current_is_v6();
    unsigned header = ip_current_header_tot_len();
    uint8_t protocol = v6 ? last_header(p, header) : IPH_PROTO(ip4_current_header());
    struct net_interface *in = netif_interface(inp);
    if (protocol == (v6 ? IP6_NEXTH_ICMP6 : IP_PROTO_ICMP) && checksum_good(p, header, v6)) {
        if (v6 && net_path_mtu_harmful(p, header, in->mtu)) {
            pbuf_free(p);
            return RAW_INPUT_EATEN;
        }
        ping_input(p, header, v6, in);
        icmp_error_input(p, header, v6, in);
    }
    return likely(list_empty(&sockets)) || !deliver(p, in, protocol, header) ? RAW_INPUT_NONE : RAW_INPUT_DELIVERED;
}

void raw_netif_ip_addr_changed(const ip_addr_t *old, const ip_addr_t *new) {}

// --- Options ---

static int set_checksum(struct datagram_socket *s, const void *value, unsigned len) {
    int offset;
    if (len < sizeof(offset))
        return -EINVAL;
    memcpy(&offset, value, sizeof(offset));
    if (offset > 0 && (offset & 1))
        return -EINVAL;
    s->checksum_offset = MAX(offset, -1);
    return 0;
}

static int raw_socket_set_option(struct socket *so, int level, int name, const void *value, unsigned len) {
    struct datagram_socket *s = datagram_of(so);
    bool v6 = so->family == AF_INET6;
    if (level == SOL_RAW && !v6) {
        if (name != ICMP_FILTER)
            return -ENOPROTOOPT;
        if (so->protocol != IPPROTO_ICMP)
            return -EOPNOTSUPP;
        memcpy(&s->icmp_filter, value, MIN(len, (unsigned)sizeof(s->icmp_filter)));
        return 0;
    }
    if (level == SOL_ICMPV6 && v6) {
        if (so->protocol != IPPROTO_ICMPV6)
            return -EOPNOTSUPP;
        if (name != ICMPV6_FILTER)
            return -ENOPROTOOPT;
        memcpy(s->icmp6_filter, value, MIN(len, (unsigned)sizeof(s->icmp6_filter)));
        return 0;
    }
    if (v6 && (level == SOL_RAW || level == IPPROTO_IPV6) && name == IPV6_CHECKSUM)
        return so->protocol == IPPROTO_ICMPV6 && level == IPPROTO_IPV6 ? -EINVAL : set_checksum(s, value, len);
    if (level == SOL_RAW || (v6 && level == IPPROTO_IP))
        return -ENOPROTOOPT;
    return inet_set_option(so, level, name, value, len);
}

static int put(void *to, unsigned *len, const void *from, unsigned size) {
    *len = MIN(*len, size);
    memcpy(to, from, *len);
    return 0;
}

static int raw_socket_get_option(struct socket *so, int level, int name, void *value, unsigned *len) {
    struct datagram_socket *s = datagram_of(so);
    bool v6 = so->family == AF_INET6;
    if (level == SOL_RAW && !v6) {
        if (name != ICMP_FILTER)
            return -ENOPROTOOPT;
        return so->protocol != IPPROTO_ICMP ? -EOPNOTSUPP : put(value, len, &s->icmp_filter, sizeof(s->icmp_filter));
    }
    if (level == SOL_ICMPV6 && v6) {
        if (so->protocol != IPPROTO_ICMPV6)
            return -EOPNOTSUPP;
        return name != ICMPV6_FILTER ? -ENOPROTOOPT : put(value, len, s->icmp6_filter, sizeof(s->icmp6_filter));
    }
    if (v6 && (level == SOL_RAW || level == IPPROTO_IPV6) && name == IPV6_CHECKSUM)
        return put(value, len, &s->checksum_offset, sizeof(s->checksum_offset));
    if (level == SOL_RAW || (v6 && level == IPPROTO_IP))
        return -ENOPROTOOPT;
    return inet_get_option(so, level, name, value, len);
}

// --- Life ---

static const struct socket_ops raw_socket_ops = {
    .release = datagram_socket_release,
    .free = datagram_socket_free,
    .bind = raw_socket_bind,
    .connect = raw_socket_connect,
    .name = inet_name,
    .shutdown = datagram_shutdown,
    .send = raw_socket_send,
    .receive = raw_socket_receive,
    .poll = datagram_poll,
    .ioctl = datagram_ioctl,
    .set_option = raw_socket_set_option,
    .get_option = raw_socket_get_option,
};

struct socket *raw_create(int family, int protocol) {
    struct datagram_socket *s = datagram_socket_create(&raw_socket_ops, family, SOCK_RAW, protocol);
    if (!s)
        return ERR_PTR(-ENOMEM);
    s->inet.local_port = protocol; // that is what getsockname(2) and /proc/net/raw show
    s->inet.options.header_included = protocol == IPPROTO_RAW;
    s->checksum_offset = family == AF_INET6 && protocol == IPPROTO_ICMPV6 ? 2 : -1;
    datagram_socket_enter(s, &sockets);
    return &s->inet.socket;
}

void raw_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx) {
    struct inet_socket *is;
    list_for_each (is, &sockets, link) {
        struct inet_row row;
        datagram_row(container_of(is, struct datagram_socket, inet), &row);
        if (fn(ctx, &row))
            return;
    }
}
