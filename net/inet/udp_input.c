// Datagrams that arrive: from a sender of this machine, or from lwIP, which calls udp_input for each UDP packet (in place of its own
// function of that name, which only serves the DHCP client). The receiver is found in the table of ports. All under the core lock.
#include "lwip/icmp6.h"
#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/dhcp.h"
#include "lwip/ip.h"
#include "lwip/prot/iana.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/udp.h"
#include "lwip/stats.h"
#include "lwip/udp.h"
#include "net/inet/udp.h"

void lwip_udp_input(struct pbuf *p, struct netif *inp); // lwIP's

// --- To many ---

struct spread {
    struct datagram *d;
    struct datagram_socket *last; // the datagram itself goes to the last one, to others a copy
};

static bool same(const ip_addr_t *a, const ip_addr_t *b) {
    if (IP_GET_TYPE(a) != IP_GET_TYPE(b))
        return false;
    return IP_IS_V4(a) ? ip_2_ip4(a)->addr == ip_2_ip4(b)->addr : ip6_addr_cmp_zoneless(ip_2_ip6(a), ip_2_ip6(b));
}

static bool takes(const struct inet_socket *s, const struct datagram *d) {
    const ip_addr_t *local = &s->local;
    if (IP_GET_TYPE(local) != IPADDR_TYPE_ANY && IP_GET_TYPE(local) != IP_GET_TYPE(&d->to))
        return false;
    if (!ip_addr_isany(local) && !same(local, &d->to))
        return false;
    if (s->remote_port && (s->remote_port != d->from_port || !same(&s->remote, &d->from)))
        return false;
    if (s->interface && s->interface != d->interface)
        return false;
    return !ip_addr_ismulticast(&d->to) || multicast_wanted(s, &d->to, &d->from, d->interface);
}

static void spread_one(void *ctx, struct inet_socket *is) {
    struct spread *spread = ctx;
    if (!takes(is, spread->d))
        return;
    if (spread->last) {
        struct datagram *copy = datagram_clone(spread->d);
        if (copy)
            datagram_enqueue(spread->last, copy);
    }
    spread->last = container_of(is, struct datagram_socket, inet);
}

// --- To one ---

bool udp_deliver(struct datagram *d, struct net_interface *in, int interface) {
    if (unlikely(ip_addr_ismulticast(&d->to) || (in && ip_addr_isbroadcast(&d->to, &in->netif)) ||
                 (IP_IS_V4_VAL(d->to) && ip_2_ip4(&d->to)->addr == PP_HTONL(0x7fffffff)))) {
        struct spread spread = {.d = d};
        inet_port_each(PORTS_UDP, d->to_port, spread_one, &spread);
        if (spread.last)
            datagram_enqueue(spread.last, d);
        return spread.last;
    }
    struct inet_socket *is = inet_port_find(PORTS_UDP, &d->to, d->to_port, &d->from, d->from_port, interface);
    if (!is)
        return false;
    datagram_enqueue(container_of(is, struct datagram_socket, inet), d);
    socket_unref(&is->socket);
    return true;
}

bool udp_error(const struct datagram *quoted, const struct icmp_error *e) {
    struct inet_socket *is =
        inet_port_find(PORTS_UDP, &quoted->from, quoted->from_port, &quoted->to, quoted->to_port, quoted->interface);
    if (!is)
        return false;
    datagram_error(container_of(is, struct datagram_socket, inet), e, quoted);
    socket_unref(&is->socket);
    return true;
}

// --- From lwIP ---

static bool checksum_good(struct pbuf *p, struct netif *inp, const struct udp_hdr *h) {
    if (!h->chksum) // of IPv6: only to sockets that ask for it
        return true;
    IF__NETIF_CHECKSUM_ENABLED(inp, NETIF_CHECKSUM_CHECK_UDP) {
        return ip_chksum_pseudo(p, IP_PROTO_UDP, p->tot_len, ip_current_src_addr(), ip_current_dest_addr()) == 0;
    }
    return true;
}

static void describe(struct datagram *d, const struct udp_hdr *h, struct net_interface *in) {
    d->from = *ip_current_src_addr();
    d->to = *ip_current_dest_addr();
    d->from_port = lwip_ntohs(h->src);
    d->to_port = lwip_ntohs(h->dest);
    d->interface = in->index;
    if (ip_current_is_v6()) {
        const struct ip6_hdr *ip = ip6_current_header();
        d->ttl = IP6H_HOPLIM(ip);
        d->tos = IP6H_TC(ip);
        d->flow = ip->_v_tc_fl & PP_HTONL(0x0fffffff);
    } else {
        d->ttl = IPH_TTL(ip4_current_header());
        d->tos = IPH_TOS(ip4_current_header());
    }
}

// The sender is told that nobody has this port.
static void refuse(struct pbuf *p, const struct datagram *d, struct netif *inp) {
    MIB2_STATS_INC(mib2.udpnoports);
    if (ip_addr_ismulticast(&d->to) || ip_addr_isbroadcast(&d->to, inp) ||
        (p->flags & (PBUF_FLAG_LLBCAST | PBUF_FLAG_LLMCAST)))
        return;
    pbuf_header_force(p, (s16_t)ip_current_header_tot_len());
    icmp_port_unreach(ip_current_is_v6(), p);
}

void udp_input(struct pbuf *p, struct netif *inp) {
    struct udp_hdr h;
    struct datagram *d = NULL;
    if (pbuf_copy_partial(p, &h, UDP_HEADER, 0) < UDP_HEADER || lwip_ntohs(h.len) < UDP_HEADER ||
        lwip_ntohs(h.len) > p->tot_len)
        goto malformed;
    if (h.dest == PP_HTONS(LWIP_IANA_PORT_DHCP_CLIENT) && netif_dhcp_data(inp) && !ip_current_is_v6()) {
        lwip_udp_input(p, inp);
        return;
    }
    pbuf_realloc(p, lwip_ntohs(h.len)); // what follows is padding
    if (!checksum_good(p, inp, &h))
        goto malformed;
    d = datagram_from_pbuf(p, UDP_HEADER);
    if (d) {
        describe(d, &h, netif_interface(inp));
        if (udp_deliver(d, netif_interface(inp), d->interface)) {
            MIB2_STATS_INC(mib2.udpindatagrams);
        } else {
            refuse(p, d, inp);
            datagram_put_locked(d);
        }
    }
    pbuf_free(p);
    return;
malformed:
    MIB2_STATS_INC(mib2.udpinerrors);
    pbuf_free(p);
}
