// Ping sockets, see icmp(7): SOCK_DGRAM of IPPROTO_ICMP and IPPROTO_ICMPV6, which send echo requests and get the answers to their
// own, told by the identifier that stands for a port. For groups within net.ipv4.ping_group_range.
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "kernel/memory/slab.h"
#include "kernel/process/credentials.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/inet/datagram.h"
#include "net/inet/icmp.h"
#include "net/inet/sysctl.h"
#include <linux/icmpv6.h>

#define ICMP_HEADER 8

static struct list sockets = LIST_INIT(sockets); // under the core lock

static inline struct datagram_socket *entry(struct inet_socket *is) {
    return container_of(is, struct datagram_socket, inet);
}

// --- Identifiers. Under the core lock ---

static bool taken(const struct datagram_socket *s, uint16_t id) {
    struct inet_socket *is;
    list_for_each (is, &sockets, link)
        if (entry(is) != s && is->local_port == id && is->socket.family == s->inet.socket.family &&
            !(socket_bit(&is->socket, SOCKET_REUSEADDR) && socket_bit(&s->inet.socket, SOCKET_REUSEADDR)))
            return true;
    return false;
}

static int claim(struct datagram_socket *s, uint16_t id) {
    static uint16_t last;
    for (unsigned tries = 0; !id && tries < 0xffff; tries++)
        if (++last && !taken(s, last))
            id = last;
    if (!id || taken(s, id))
        return -EADDRINUSE;
    s->inet.local_port = id;
    return 0;
}

static int autobind(struct datagram_socket *s) {
    net_lock();
    int err = s->inet.local_port ? 0 : claim(s, 0);
    net_unlock();
    return err < 0 ? -EAGAIN : 0;
}

// --- Names ---

static int ping_bind(struct socket *so, const struct socket_address *a) {
    struct datagram_socket *s = datagram_of(so);
    struct inet_socket *is = &s->inet;
    ip_addr_t ip;
    uint16_t id;
    int err = inet_bind_address(is, a, &ip, &id);
    if (err < 0)
        return err;
    if (so->family == AF_INET6 && !IP_IS_V6_VAL(ip))
        return -EADDRNOTAVAIL;
    net_lock();
    err = inet_bind_allowed(is, &ip, 0);
    if (!err && ip_addr_ismulticast(&ip))
        err = -EADDRNOTAVAIL;
    if (!err)
        err = claim(s, id);
    if (!err) {
        is->local = ip;
        is->bound_address = !ip_addr_isany_val(ip);
        is->bound_port = id;
        if (IP_IS_V6_VAL(ip) && ip6_addr_has_zone(ip_2_ip6(&ip)))
            is->interface = ip6_addr_zone(ip_2_ip6(&ip));
    }
    net_unlock();
    return err;
}

static void unbind(struct datagram_socket *s) {
    if (!s->inet.bound_port)
        s->inet.local_port = 0;
}

static int ping_connect(struct socket *so, const struct socket_address *a, bool nonblock) {
    struct datagram_socket *s = datagram_of(so);
    if (a->len < sizeof(a->family))
        return -EINVAL;
    if (a->family == AF_UNSPEC) {
        datagram_disconnect(s, unbind);
        return 0;
    }
    int err = autobind(s);
    return err < 0 ? err : datagram_connect(so, a, nonblock);
}

// --- Sending ---

// Takes d over. Under the core lock.
static int transmit(struct datagram_socket *s, struct datagram *d, struct inet_send *how) {
    struct net_interface *i;
    bool local, v6 = IP_IS_V6_VAL(how->to);
    int err = inet_route(s, how, &i, &local);
    struct pbuf *p = err ? NULL : datagram_pbuf(d);
    if (p) {
        uint16_t field[2] = {0, lwip_htons(s->inet.local_port)};
        pbuf_take_at(p, field, 4, 2); // checksum and identifier
        uint16_t sum =
            v6 ? ip_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, &how->source, &how->to) : inet_chksum_pbuf(p);
        pbuf_take_at(p, &sum, 2, 2);
        d->sender = s;
        socket_ref(&s->inet.socket);
        atomic_add(&s->sending, d->charge);
        err = inet_output(s, p, how, i, v6 ? IP6_NEXTH_ICMP6 : IP_PROTO_ICMP);
        pbuf_free(p);
    } else if (!err) {
        err = -ENOBUFS;
    }
    datagram_put_locked(d);
    return err;
}

static int check_request(const struct datagram *d, bool v6) {
    uint8_t h[2];
    datagram_copy_flat(d, h, 0, 2);
    return h[0] == (v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO) && h[1] == 0 ? 0 : -EINVAL;
}

static int64_t ping_send(struct socket *so, struct uio *u, struct socket_message *m, int flags) {
    struct datagram_socket *s = datagram_of(so);
    struct inet_send how = {.ttl = -1, .tos = -1, .dont_fragment = -1};
    bool v6 = so->family == AF_INET6;
    size_t len = u->left;
    int err = autobind(s);
    if (!err)
        err = len > 0xffff ? -EMSGSIZE : len < ICMP_HEADER ? -EINVAL : flags & MSG_OOB ? -EOPNOTSUPP : 0;
    if (err < 0)
        return err;
    struct datagram *d = datagram_read(u, len);
    if (IS_ERR(d))
        return PTR_ERR(d);
    err = check_request(d, v6);
    if (!err)
        err = message_destination(s, m ? m->name : NULL, &how);
    if (!err && v6 && !IP_IS_V6_VAL(how.to))
        err = -EINVAL;
    if (!err && m && m->control_len)
        err = inet_control_in(s, m, v6, &how);
    if (!err)
        err = datagram_wait_to_send(s, flags);
    if (err < 0) {
        datagram_put(d);
        return err;
    }
    net_lock();
    err = transmit(s, d, &how);
    net_unlock();
    return err < 0 ? err : (int64_t)len;
}

static int64_t ping_receive(struct socket *so, struct uio *u, struct socket_message *m, int flags) {
    return flags & MSG_OOB ? -EOPNOTSUPP : datagram_receive(so, u, m, flags);
}

// --- Answers and errors. Under the core lock ---

static struct datagram_socket *find(bool v6, uint16_t id, const ip_addr_t *local, int interface) {
    struct inet_socket *is;
    list_for_each (is, &sockets, link)
        if (is->local_port == id && (is->socket.family == AF_INET6) == v6 &&
            (ip_addr_isany_val(is->local) || ip_addr_cmp_zoneless(&is->local, local)) &&
            (!is->interface || is->interface == interface))
            return entry(is);
    return NULL;
}

void ping_input(struct pbuf *p, unsigned at, bool v6, struct net_interface *in) {
    uint8_t h[ICMP_HEADER];
    if (list_empty(&sockets) || pbuf_copy_partial(p, h, sizeof(h), at) < sizeof(h) ||
        h[0] != (v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY))
        return;
    struct datagram_socket *s = find(v6, h[4] << 8 | h[5], ip_current_dest_addr(), in->index);
    struct datagram *d = s ? datagram_copy_pbuf(p, at) : NULL;
    if (!d)
        return;
    d->from = *ip_current_src_addr();
    d->to = *ip_current_dest_addr();
    d->interface = in->index;
    d->ttl = v6 ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
    d->tos = v6 ? IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
    datagram_enqueue(s, d);
}

void ping_error(const struct datagram *quoted, uint16_t id, const struct icmp_error *e) {
    struct datagram_socket *s = find(e->v6, id, &quoted->from, quoted->interface);
    if (s)
        datagram_error(s, e, quoted);
}

// --- Life ---

static const struct socket_ops ping_ops = {
    .release = datagram_socket_release,
    .free = datagram_socket_free,
    .bind = ping_bind,
    .connect = ping_connect,
    .name = inet_name,
    .shutdown = datagram_shutdown,
    .send = ping_send,
    .receive = ping_receive,
    .poll = datagram_poll,
    .ioctl = inet_ioctl,
    .set_option = inet_set_option,
    .get_option = inet_get_option,
    .peeks_at_offset = true,
};

static bool allowed(void) {
    uint32_t first = READ_ONCE(net_settings.ping_group_first), last = READ_ONCE(net_settings.ping_group_last);
    const struct credentials *c = current_cred();
    if (c->egid >= first && c->egid <= last)
        return true;
    struct group_list *groups = process_groups(process_current());
    bool found = false;
    for (unsigned i = 0; groups && i < groups->count; i++)
        found |= groups->gid[i] >= first && groups->gid[i] <= last;
    group_list_unref(groups);
    return found;
}

struct socket *ping_create(int family) {
    if (!allowed())
        return ERR_PTR(-EACCES);
    struct datagram_socket *s = datagram_socket_create(&ping_ops, family, SOCK_DGRAM, family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    if (!s)
        return ERR_PTR(-ENOMEM);
    datagram_socket_enter(s, &sockets);
    return &s->inet.socket;
}

void ping_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx) {
    struct inet_socket *is;
    list_for_each (is, &sockets, link) {
        struct inet_row row;
        datagram_row(entry(is), &row);
        if (is->local_port && fn(ctx, &row))
            return;
    }
}
