// Sending of UDP: where a datagram goes, what is held back and cut (UDP_CORK, UDP_SEGMENT), and its two ways: into the queue of a
// receiver on this machine, or with a UDP header to lwIP.
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/udp.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/bytequeue.h"
#include "net/inet/icmp.h"
#include "net/inet/udp.h"
#include <linux/time.h>
#include <linux/errqueue.h>
#include <linux/icmpv6.h>

#define IN6_LEN_OLD 24    // without sin6_scope_id
#define SEGMENTS_MAX 128u // UDP_MAX_SEGMENTS
#define MSG_MORE 0x8000
#define MOST4 (65535 - 20 - UDP_HEADER)
#define MOST6 (65535 - UDP_HEADER)

struct udp_pending { // what MSG_MORE and UDP_CORK hold back; under `bytes.write_lock`
    struct bytequeue bytes;
    struct inet_send how;
    bool full; // it has its first piece
};

// --- Where to ---

static int to_peer(const struct datagram_socket *s, struct inet_send *how) {
    if (!READ_ONCE(s->connected))
        return -EDESTADDRREQ;
    how->to = s->inet.remote;
    how->to_port = s->inet.remote_port;
    return 0;
}

static int to_address4(const struct socket_address *name, struct inet_send *how) {
    struct sockaddr_in in;
    if (name->len < sizeof(in))
        return -EINVAL;
    memcpy(&in, name->data, sizeof(in));
    if (in.sin_family != AF_INET && in.sin_family != AF_UNSPEC)
        return -EAFNOSUPPORT;
    if (!in.sin_port)
        return -EINVAL;
    ip_addr_set_ip4_u32_val(how->to, in.sin_addr.s_addr);
    how->to_port = lwip_ntohs(in.sin_port);
    return 0;
}

static int to_address6(struct datagram_socket *s, const struct socket_address *name, struct inet_send *how) {
    struct inet_socket *is = &s->inet;
    if (name->len < sizeof(name->family))
        return -EINVAL;
    if (name->family == AF_UNSPEC)
        return to_peer(s, how);
    if (name->family == AF_INET)
        return is->options.v6only ? -ENETUNREACH : to_address4(name, how);
    if (name->family != AF_INET6 || name->len < IN6_LEN_OLD)
        return -EINVAL;
    int err = inet_address_in(is, name, &how->to, &how->to_port, &how->interface);
    if (err < 0)
        return err;
    if (!how->to_port)
        return -EINVAL;
    if (IP_IS_V6_VAL(how->to) && ip_addr_isany_val(how->to) && IP_IS_V4_VAL(is->local))
        ip_addr_set_ip4_u32_val(how->to, PP_HTONL(0x7f000001));
    return 0;
}

static int destination(struct datagram_socket *s, const struct socket_message *m, size_t len, int flags,
                       struct inet_send *how) {
    const struct socket_address *name = m ? m->name : NULL;
    int err;
    if (s->inet.socket.family == AF_INET) {
        if (len > 0xffff)
            return -EMSGSIZE;
        if (flags & MSG_OOB)
            return -EOPNOTSUPP;
        err = name ? to_address4(name, how) : to_peer(s, how);
    } else {
        err = name ? to_address6(s, name, how) : to_peer(s, how);
        if (!err && IP_IS_V4_VAL(how->to)) {
            if (s->inet.options.v6only)
                return -ENETUNREACH;
            if (len > 0xffff)
                return -EMSGSIZE;
            if (flags & MSG_OOB)
                return -EOPNOTSUPP;
        }
    }
    return err;
}

// --- One datagram. Under the core lock ---

// Its receiver on this machine has no such port.
static void refused_here(struct datagram *d) {
    bool v6 = IP_IS_V6_VAL(d->to);
    struct icmp_error e = {.v6 = v6,
                           .type = v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH,
                           .code = v6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH,
                           .offender = d->to};
    udp_error(d, &e);
    datagram_put_locked(d);
}

static int too_long(struct datagram_socket *s, const struct datagram *d, int mtu) {
    const struct inet_socket *is = &s->inet;
    bool v6 = IP_IS_V6_VAL(d->to);
    if (v6 ? is->options.recverr6 : is->options.recverr) {
        struct datagram *error = datagram_create(0);
        if (error) {
            error->source_error = SO_EE_ORIGIN_LOCAL;
            error->error = EMSGSIZE;
            error->error_info = mtu;
            error->to = d->to;
            error->to_port = d->to_port;
            datagram_enqueue_error(s, error);
        }
    }
    return -EMSGSIZE;
}

static bool may_be_fragmented(const struct inet_socket *is, bool v6, const struct inet_send *how) {
    int discover = v6 ? is->options.mtu_discover6 : is->options.mtu_discover;
    if (discover == IP_PMTUDISC_DO || discover == IP_PMTUDISC_PROBE || discover == IP_PMTUDISC_INTERFACE)
        return false;
    return !(how->dont_fragment > 0 || (how->dont_fragment < 0 && v6 && is->options.dont_fragment6));
}

static void add_checksum(struct datagram_socket *s, struct pbuf *p, const struct inet_send *how,
                         struct net_interface *i) {
    struct udp_hdr *h = p->payload;
    bool v6 = IP_IS_V6_VAL(how->to);
    if (v6 ? s->no_check6_send : socket_bit(&s->inet.socket, SOCKET_NO_CHECK))
        return;
    if (i->device && i->device->checksum && p->tot_len + (v6 ? IP6_HLEN : IP_HLEN) <= inet_mtu(i, &how->to)) {
        p->flags |= NET_PBUF_CHECKSUM; // by the device
        return;
    }
    uint16_t sum = ip_chksum_pseudo(p, IP_PROTO_UDP, p->tot_len, &how->source, &how->to);
    h->chksum = sum ? sum : 0xffff;
}

static int send_out(struct datagram_socket *s, struct datagram *d, const struct inet_send *how,
                    struct net_interface *i) {
    struct pbuf *p = datagram_pbuf(d);
    if (!p)
        return -ENOBUFS;
    pbuf_add_header(p, UDP_HEADER); // there is room
    struct udp_hdr *h = p->payload;
    *h = (struct udp_hdr){lwip_htons(d->from_port), lwip_htons(d->to_port), lwip_htons(p->tot_len), 0};
    add_checksum(s, p, how, i);
    d->sender = s;
    socket_ref(&s->inet.socket);
    atomic_add(&s->sending, d->charge);
    int err = inet_output(s, p, how, i, IP_PROTO_UDP);
    pbuf_free(p);
    return err == -ENOBUFS || err == -ENOMEM ? (s->inet.options.recverr ? -ENOBUFS : 0) : err; // lost, as on the way
}

// Groups and the broadcast address: also to the sockets of this machine.
static void copy_here(struct datagram_socket *s, const struct datagram *d, struct net_interface *i) {
    const struct inet_options *o = &s->inet.options;
    bool multicast = ip_addr_ismulticast(&d->to), v6 = IP_IS_V6_VAL(d->to);
    // What goes to lo comes back from there in any case.
    if (multicast &&
        ((i->index != 1 && !(v6 ? o->multicast_loop6 : o->multicast_loop)) || !multicast_member(&d->to, i->index)))
        return;
    struct datagram *copy = datagram_clone(d);
    if (!copy)
        return;
    copy->interface = i->index;
    if (!udp_deliver(copy, i, i->index))
        datagram_put_locked(copy);
}

// Takes d over.
static int transmit(struct datagram_socket *s, struct datagram *d, const struct inet_send *how, struct net_interface *i,
                    bool local) {
    const struct inet_socket *is = &s->inet;
    bool v6 = IP_IS_V6_VAL(how->to);
    int err = 0, mtu = inet_mtu(i, &how->to);
    d->from = how->source;
    d->from_port = is->local_port;
    d->to = how->to;
    d->to_port = how->to_port;
    d->ttl = inet_ttl(is, how);
    d->tos = inet_tos(is, how);
    d->interface = i->index;
    if (unlikely(d->len > (v6 ? MOST6 : MOST4)))
        err = too_long(s, d, mtu);
    else if (unlikely(d->len + UDP_HEADER + (v6 ? 40u : 20u) > (unsigned)mtu) && !may_be_fragmented(is, v6, how))
        err = too_long(s, d, mtu);
    if (!err && local) {
        if (unlikely(!udp_deliver(d, i, i->index)))
            refused_here(d);
        return 0;
    }
    if (!err && (ip_addr_ismulticast(&d->to) || ip_addr_isbroadcast(&d->to, &i->netif) || i->index == 1))
        copy_here(s, d, i);
    // lo has nobody else; a group with TTL 0 does not leave the machine.
    if (!err && i->index != 1 && !(d->ttl == 0 && ip_addr_ismulticast(&d->to)))
        err = send_out(s, d, how, i);
    datagram_put_locked(d);
    return err;
}

// --- Segments ---

// A piece of d of its own. NULL: no memory.
static struct datagram *cut(const struct datagram *d, size_t offset, size_t n) {
    struct datagram *part = datagram_create(n);
    if (!part)
        return NULL;
    if (part->paged) { // longer than a page: rare, for segments fit a frame
        datagram_put_locked(part);
        return NULL;
    }
    datagram_copy_flat(d, part->data, offset, n);
    return part;
}

// Takes d over.
static int transmit_segments(struct datagram_socket *s, struct datagram *d, const struct inet_send *how,
                             struct net_interface *i, bool local) {
    unsigned header = UDP_HEADER + (IP_IS_V6_VAL(how->to) ? 40 : 20);
    int err = 0;
    if (d->len > (IP_IS_V6_VAL(how->to) ? MOST6 : MOST4) || header + how->segment > (unsigned)inet_mtu(i, &how->to))
        err = -EMSGSIZE;
    else if (d->len > how->segment * SEGMENTS_MAX || socket_bit(&s->inet.socket, SOCKET_NO_CHECK))
        err = -EINVAL;
    for (size_t at = 0; !err && at < d->len; at += how->segment) {
        struct datagram *part = cut(d, at, MIN(d->len - at, how->segment));
        err = part ? transmit(s, part, how, i, local) : -ENOBUFS;
    }
    datagram_put_locked(d);
    return err;
}

// Takes d over.
static int route_and_send(struct datagram_socket *s, struct datagram *d, struct inet_send *how) {
    struct net_interface *i;
    bool local;
    int err = inet_route(s, how, &i, &local);
    if (unlikely(err < 0))
        datagram_put_locked(d);
    else if (unlikely(how->segment && d->len > how->segment))
        err = transmit_segments(s, d, how, i, local);
    else
        err = transmit(s, d, how, i, local);
    return err;
}

// --- sendmsg(2) ---

static int64_t send_bytes(struct datagram_socket *s, struct uio *u, int flags, struct inet_send *how) {
    size_t len = u->left;
    int err = len > 0xffff ? -EMSGSIZE : datagram_wait_to_send(s, flags);
    if (err < 0)
        return err;
    struct datagram *d = datagram_read(u, len);
    if (IS_ERR(d))
        return PTR_ERR(d);
    net_lock();
    err = route_and_send(s, d, how);
    net_unlock();
    return err < 0 ? err : (int64_t)len;
}

static struct udp_pending *pending_get(struct datagram_socket *s) {
    struct udp_pending *p = load_acquire(&s->pending);
    if (p)
        return p;
    p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    bytequeue_init(&p->bytes);
    net_lock();
    struct udp_pending *other = s->pending;
    if (!other)
        store_release(&s->pending, p);
    net_unlock();
    if (other)
        kfree(p);
    return other ? other : p;
}

static int flush(struct datagram_socket *s, struct udp_pending *p) {
    size_t len = bytequeue_used(&p->bytes), at = 0;
    struct datagram *d = datagram_create(len);
    int err = d ? 0 : -ENOBUFS;
    // Into the datagram piece by piece, where its bytes are.
    while (d && at < len) {
        struct uio_vec one;
        size_t n;
        char *to = datagram_bytes(d, at, &n);
        struct uio u = uio_one(&one, (uint64_t)to, MIN(n, len - at), false);
        at += bytequeue_peek(&p->bytes, &u, at, u.left);
    }
    bytequeue_drop(&p->bytes, len);
    p->full = false;
    if (d) {
        net_lock();
        err = route_and_send(s, d, &p->how);
        net_unlock();
    }
    return err;
}

static int64_t send_pending(struct datagram_socket *s, struct udp_pending *p, struct uio *u, int flags) {
    size_t len = u->left;
    bool v6 = IP_IS_V6_VAL(p->how.to);
    int err = datagram_wait_to_send(s, flags);
    if (!err && bytequeue_used(&p->bytes) + len > (v6 ? MOST6 : MOST4))
        err = -EMSGSIZE;
    if (!err)
        err = bytequeue_put(&p->bytes, u, len);
    if (err < 0) { // and what was held back is lost, as on Linux
        bytequeue_drop(&p->bytes, bytequeue_used(&p->bytes));
        p->full = false;
        return err;
    }
    p->full = true;
    if (!s->corked && !(flags & MSG_MORE))
        err = flush(s, p);
    return err < 0 ? err : (int64_t)len;
}

int64_t udp_socket_send(struct socket *so, struct uio *u, struct socket_message *m, int flags) {
    struct datagram_socket *s = datagram_of(so);
    struct inet_send how = {.ttl = -1, .tos = -1, .dont_fragment = -1, .segment = s->segment};
    struct udp_pending *p = NULL;
    int64_t n = udp_autobind(s);
    if (n < 0)
        return n;
    if (unlikely(s->corked || (flags & MSG_MORE) || load_acquire(&s->pending))) {
        if (!(p = pending_get(s)))
            return -ENOBUFS;
        mutex_lock(&p->bytes.write_lock);
        if (p->full) {
            n = u->left > 0xffff ? -EMSGSIZE : send_pending(s, p, u, flags);
            mutex_unlock(&p->bytes.write_lock);
            return n;
        }
    }
    n = destination(s, m, u->left, flags, &how);
    if (!n && m && m->control_len)
        n = inet_control_in(s, m, IP_IS_V6_VAL(how.to), &how);
    if (n < 0) {
    } else if (unlikely(p && (s->corked || (flags & MSG_MORE)))) {
        p->how = how;
        n = send_pending(s, p, u, flags);
    } else {
        n = send_bytes(s, u, flags, &how);
    }
    if (p)
        mutex_unlock(&p->bytes.write_lock);
    return n;
}

int udp_flush(struct datagram_socket *s) {
    struct udp_pending *p = load_acquire(&s->pending);
    int err = 0;
    if (!p)
        return 0;
    mutex_lock(&p->bytes.write_lock);
    if (p->full)
        err = flush(s, p);
    mutex_unlock(&p->bytes.write_lock);
    return err;
}

void udp_forget_pending(struct datagram_socket *s) {
    if (!s->pending)
        return;
    bytequeue_free(&s->pending->bytes);
    kfree(s->pending);
    s->pending = NULL;
}
