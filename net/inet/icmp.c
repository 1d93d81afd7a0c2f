// Errors that ICMP reports: which errno they are, whose datagram they are about, and what its socket is told. Under the core lock.
#include "lwip/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "kernel/string.h"
#include "net/inet/datagram.h"
#include "net/inet/icmp.h"
#include "net/inet/tcp.h"
#include <linux/time.h>
#include <linux/errqueue.h>
#include <linux/icmpv6.h>

#define QUOTED_MAX 576 // of the message that the error is about

// --- Errnos, as Linux has them. hard: also without IP_RECVERR ---

static int errno4(const struct icmp_error *e, bool *hard) {
    static const struct {
        uint8_t error;
        bool hard;
    } unreachable[] = {
        [ICMP_NET_UNREACH] = {ENETUNREACH, false},    [ICMP_HOST_UNREACH] = {EHOSTUNREACH, false},
        [ICMP_PROT_UNREACH] = {ENOPROTOOPT, true},    [ICMP_PORT_UNREACH] = {ECONNREFUSED, true},
        [ICMP_FRAG_NEEDED] = {EMSGSIZE, false},       [ICMP_SR_FAILED] = {EOPNOTSUPP, false},
        [ICMP_NET_UNKNOWN] = {ENETUNREACH, true},     [ICMP_HOST_UNKNOWN] = {EHOSTDOWN, true},
        [ICMP_HOST_ISOLATED] = {ENONET, true},        [ICMP_NET_ANO] = {ENETUNREACH, true},
        [ICMP_HOST_ANO] = {EHOSTUNREACH, true},       [ICMP_NET_UNR_TOS] = {ENETUNREACH, false},
        [ICMP_HOST_UNR_TOS] = {EHOSTUNREACH, false},  [ICMP_PKT_FILTERED] = {EHOSTUNREACH, true},
        [ICMP_PREC_VIOLATION] = {EHOSTUNREACH, true}, [ICMP_PREC_CUTOFF] = {EHOSTUNREACH, true},
    };
    *hard = false;
    switch (e->type) {
    case ICMP_DEST_UNREACH:
        if (e->code >= ARRAY_SIZE(unreachable))
            return EHOSTUNREACH;
        *hard = unreachable[e->code].hard;
        return unreachable[e->code].error;
    case ICMP_PARAMETERPROB: *hard = true; return EPROTO;
    }
    return EHOSTUNREACH; // ICMP_TIME_EXCEEDED
}

static int errno6(const struct icmp_error *e, bool *hard) {
    static const uint8_t unreachable[] = {ENETUNREACH,  EACCES, EHOSTUNREACH, EHOSTUNREACH,
                                          ECONNREFUSED, EACCES, EACCES};
    *hard = false;
    switch (e->type) {
    case ICMPV6_DEST_UNREACH:
        if (e->code >= ARRAY_SIZE(unreachable)) {
            *hard = true;
            return EPROTO;
        }
        *hard = unreachable[e->code] != ENETUNREACH && unreachable[e->code] != EHOSTUNREACH;
        return unreachable[e->code];
    case ICMPV6_PKT_TOOBIG: return EMSGSIZE;
    case ICMPV6_PARAMPROB: *hard = true; return EPROTO;
    }
    return EHOSTUNREACH; // ICMPV6_TIME_EXCEED
}

int icmp_errno(const struct icmp_error *e, bool *hard) { return e->v6 ? errno6(e, hard) : errno4(e, hard); }

// --- To the socket ---

void datagram_error(struct datagram_socket *s, const struct icmp_error *e, const struct datagram *quoted) {
    bool hard;
    int error = icmp_errno(e, &hard);
    const struct inet_options *o = &s->inet.options;
    if (!(e->v6 ? o->recverr6 : o->recverr)) {
        if (!hard || !s->connected)
            return;
    } else {
        struct datagram *d = datagram_clone(quoted);
        if (!d)
            return;
        d->source_error = e->v6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP;
        d->error_type = e->type;
        d->error_code = e->code;
        d->error_info = e->info;
        d->error = error;
        d->offender = e->offender;
        datagram_enqueue_error(s, d);
    }
    socket_set_error(&s->inet.socket, error);
    socket_wake_state(&s->inet.socket);
}

// --- From the network ---

static bool addresses4(const struct pbuf *p, unsigned at, struct datagram *d, uint8_t *protocol, unsigned *header) {
    struct ip_hdr h;
    if (pbuf_copy_partial(p, &h, sizeof(h), at) < sizeof(h) || IPH_V(&h) != 4 || IPH_HL_BYTES(&h) < IP_HLEN ||
        (IPH_OFFSET(&h) & PP_HTONS(IP_OFFMASK)))
        return false;
    ip_addr_set_ip4_u32_val(d->from, h.src.addr);
    ip_addr_set_ip4_u32_val(d->to, h.dest.addr);
    *protocol = IPH_PROTO(&h);
    *header = IPH_HL_BYTES(&h);
    return true;
}

static bool addresses6(const struct pbuf *p, unsigned at, struct netif *in, struct datagram *d, uint8_t *protocol,
                       unsigned *header) {
    struct ip6_hdr h;
    if (pbuf_copy_partial(p, &h, sizeof(h), at) < sizeof(h) || IP6H_V(&h) != 6)
        return false;
    ip_addr_copy_from_ip6_packed(d->from, h.src);
    ip_addr_copy_from_ip6_packed(d->to, h.dest);
    ip6_addr_assign_zone(ip_2_ip6(&d->from), IP6_UNICAST, in);
    ip6_addr_assign_zone(ip_2_ip6(&d->to), IP6_UNKNOWN, in);
    *protocol = IP6H_NEXTH(&h);
    *header = IP6_HLEN;
    for (unsigned n = 0; n < 8 && (*protocol == IP6_NEXTH_HOPBYHOP || *protocol == IP6_NEXTH_DESTOPTS ||
                                   *protocol == IP6_NEXTH_ROUTING || *protocol == IP6_NEXTH_FRAGMENT);
         n++) {
        uint8_t ext[2];
        if (pbuf_copy_partial(p, ext, 2, at + *header) < 2)
            return false;
        *header += *protocol == IP6_NEXTH_FRAGMENT ? 8 : (ext[1] + 1) * 8;
        *protocol = ext[0];
    }
    return true;
}

static bool is_error(bool v6, uint8_t type) {
    if (v6)
        return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
    return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

// The message that was sent, as far as the error quotes it. NULL: no memory, or nothing that can be understood.
static struct datagram *quoted_message(const struct pbuf *p, unsigned at, bool v6, struct net_interface *in,
                                       uint8_t *protocol, uint8_t transport[8]) {
    struct datagram where;
    unsigned header;
    memset(&where, 0, offsetof(struct datagram, out));
    if (!(v6 ? addresses6(p, at, &in->netif, &where, protocol, &header) : addresses4(p, at, &where, protocol, &header)))
        return NULL;
    at += header;
    if (at + 8 > p->tot_len || pbuf_copy_partial(p, transport, 8, at) < 8)
        return NULL;
    unsigned skip = *protocol == IP_PROTO_UDP ? 8 : 0, len = MIN(p->tot_len - at - skip, (unsigned)QUOTED_MAX);
    struct datagram *d = datagram_create(len);
    if (!d)
        return NULL;
    d->from = where.from;
    d->to = where.to;
    d->interface = in->index;
    pbuf_copy_partial(p, d->data, len, at + skip);
    return d;
}

void icmp_error_input(struct pbuf *p, unsigned at, bool v6, struct net_interface *in) {
    struct icmp_error e = {.v6 = v6, .offender = *ip_current_src_addr()};
    uint8_t h[8], transport[8], protocol;
    if (pbuf_copy_partial(p, h, sizeof(h), at) < sizeof(h) || !is_error(v6, h[0]))
        return;
    e.type = h[0];
    e.code = h[1];
    if (v6 ? e.type == ICMPV6_PKT_TOOBIG : e.type == ICMP_DEST_UNREACH && e.code == ICMP_FRAG_NEEDED)
        e.info = v6 ? (uint32_t)h[4] << 24 | h[5] << 16 | h[6] << 8 | h[7] : (uint32_t)(h[6] << 8 | h[7]);
    struct datagram *d = quoted_message(p, at + 8, v6, in, &protocol, transport);
    if (!d)
        return;
    d->from_port = transport[0] << 8 | transport[1];
    d->to_port = transport[2] << 8 | transport[3];
    if (protocol == IP_PROTO_TCP)
        tcp_error(d, (uint32_t)transport[4] << 24 | transport[5] << 16 | transport[6] << 8 | transport[7], &e);
    if (protocol == IP_PROTO_UDP) {
        udp_error(d, &e);
    } else {
        d->from_port = d->to_port = 0;
        if (protocol == (v6 ? IP6_NEXTH_ICMP6 : IP_PROTO_ICMP))
            ping_error(d, transport[4] << 8 | transport[5], &e);
        raw_error(d, protocol, &e);
    }
    datagram_put_locked(d);
}
