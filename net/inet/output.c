// From datagram sockets to IP: interface and source address, the IP header, lwIP's output. See net/inet/datagram.h.
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/nd6.h"
#include "lwip/prot/ip4.h"
#include "kernel/random.h"
#include "net/inet/datagram.h"
#include "net/inet/sysctl.h"
#include <linux/in6.h>

#define LOOPBACK 1 // its interface's index

int inet_ttl(const struct inet_socket *s, const struct inet_send *how) {
    const struct inet_options *o = &s->options;
    bool multicast = ip_addr_ismulticast(&how->to);
    if (how->ttl >= 0)
        return how->ttl;
    if (IP_IS_V6(&how->to))
        return multicast ? (o->multicast_hops < 0 ? 1 : o->multicast_hops)
                         : (o->hops < 0 ? (int)READ_ONCE(net_settings.hop_limit) : o->hops);
    return multicast ? o->multicast_ttl : o->ttl < 0 ? (int)READ_ONCE(net_settings.default_ttl) : o->ttl;
}

int inet_tos(const struct inet_socket *s, const struct inet_send *how) {
    return how->tos >= 0 ? how->tos : IP_IS_V6(&how->to) ? s->options.traffic_class : s->options.tos;
}

int inet_mtu(struct net_interface *i, const ip_addr_t *to) {
    if (!IP_IS_V6(to) || i->index == LOOPBACK || ip_addr_ismulticast(to))
        return (int)i->mtu;
    return MIN((int)i->mtu, (int)nd6_get_destination_mtu(ip_2_ip6(to), &i->netif)); // as routers have told
}

static bool is_broadcast(const ip_addr_t *a, const struct net_interface *i) {
    if (!IP_IS_V4(a))
        return false;
    if (ip4_addr_isloopback(ip_2_ip4(a)))
        return ip_2_ip4(a)->addr == PP_HTONL(0x7fffffff);
    return ip4_addr_isbroadcast_u32(ip_2_ip4(a)->addr, &i->netif);
}

// The socket's own address, where it is one that may be a source.
static bool own_source(const struct inet_socket *s, struct inet_send *how) {
    const ip_addr_t *own = &s->local;
    if (IP_GET_TYPE(own) != IP_GET_TYPE(&how->to) || ip_addr_isany(own) || ip_addr_ismulticast(own))
        return false;
    how->source = *own;
    return true;
}

static void route_within(const struct inet_socket *s, struct inet_send *how) {
    if (!ip_addr_isany_val(how->source) || own_source(s, how))
        return;
    struct net_interface *i;
    if (IP_IS_V4(&how->to) && ip4_addr_isloopback(ip_2_ip4(&how->to)))
        ip_addr_set_ip4_u32_val(how->source, PP_HTONL(0x7f000001));
    else if (!net_route_find(&how->to, 0, &i, &how->source))
        how->source = how->to;
}

int inet_route(struct datagram_socket *s, struct inet_send *how, struct net_interface **interface, bool *local) {
    struct inet_socket *is = &s->inet;
    const struct inet_options *o = &is->options;
    bool v6 = IP_IS_V6(&how->to), multicast = ip_addr_ismulticast(&how->to);
    if (v6 && IP_IS_V4_VAL(is->local) && ip_addr_isany_val(how->source)) // bound to an IPv4-mapped address
        return -EAFNOSUPPORT;
    if (ip_addr_isany_val(how->to)) // this host
        ip_addr_set_loopback_val(v6, how->to);
    if (IP_GET_TYPE(&how->source) != IP_GET_TYPE(&how->to))
        ip_addr_set_any_val(v6, how->source);
    if (!how->interface)
        how->interface = is->interface;
    if (v6 && ip6_addr_has_zone(ip_2_ip6(&how->to)) && !how->interface)
        how->interface = ip6_addr_zone(ip_2_ip6(&how->to));
    if (!ip_addr_isany_val(how->source) && !v6 && !o->freebind && !o->transparent &&
        !net_address_is_local(&how->source))
        return -ENETUNREACH;
    *local = !multicast && net_address_is_local(&how->to) && !is_broadcast(&how->to, net_interface_find(LOOPBACK));
    if (likely(*local)) {
        *interface = net_interface_find(LOOPBACK);
        route_within(is, how);
        return *interface ? 0 : -ENETUNREACH;
    }
    if (!how->interface)
        how->interface = multicast ? (v6 ? o->multicast_if6 : o->multicast_if) : (v6 ? o->unicast_if6 : o->unicast_if);
    if (multicast && ip_addr_isany_val(how->source) && !v6 && IP_IS_V4_VAL(o->multicast_address))
        how->source = o->multicast_address;
    ip_addr_t source = how->source;
    if (!net_route_find(&how->to, how->interface, interface, &source)) {
        // To a group or the broadcast address out of an interface that was named there is always a way.
        *interface = how->interface ? net_interface_find(how->interface) : NULL;
        if (!*interface || !(*interface)->up || (!multicast && !is_broadcast(&how->to, *interface)))
            return -ENETUNREACH;
        if (v6 && ip_addr_isany_val(source))
            source = *IP6_ADDR_ANY;
        else if (ip_addr_isany_val(source))
            source = *netif_ip_addr4(&(*interface)->netif);
    }
    if (v6 && multicast && (*interface)->index == LOOPBACK) // as on Linux groups of IPv6 are not on lo
        return -ENETUNREACH;
    if (ip_addr_isany_val(how->source) && !own_source(is, how))
        how->source = source;
    if (is_broadcast(&how->to, *interface) && !socket_bit(&is->socket, SOCKET_BROADCAST))
        return -EACCES;
    return 0;
}

// --- IPv4's header; lwIP's own would never say "don't fragment" ---

static uint16_t next_id(void) {
    static uint32_t id;
    if (!id)
        random_bytes(&id, sizeof(id));
    return id++;
}

static int add_header4(struct datagram_socket *s, struct pbuf *p, const struct inet_send *how, int mtu, int protocol) {
    int discover = s->inet.options.mtu_discover;
    if (pbuf_add_header(p, IP_HLEN))
        return -ENOBUFS;
    bool whole = discover == IP_PMTUDISC_DO || discover == IP_PMTUDISC_PROBE ||
                 (discover == IP_PMTUDISC_WANT && p->tot_len <= mtu);
    struct ip_hdr *h = p->payload;
    IPH_VHL_SET(h, 4, IP_HLEN / 4);
    IPH_TOS_SET(h, inet_tos(&s->inet, how));
    IPH_LEN_SET(h, lwip_htons(p->tot_len));
    IPH_ID_SET(h, lwip_htons(next_id()));
    IPH_OFFSET_SET(h, whole ? PP_HTONS(IP_DF) : 0);
    IPH_TTL_SET(h, inet_ttl(&s->inet, how));
    IPH_PROTO_SET(h, protocol);
    IPH_CHKSUM_SET(h, 0);
    h->src.addr = ip_2_ip4(&how->source)->addr;
    h->dest.addr = ip_2_ip4(&how->to)->addr;
    IPH_CHKSUM_SET(h, inet_chksum(h, IP_HLEN));
    return 0;
}

int inet_output(struct datagram_socket *s, struct pbuf *p, const struct inet_send *how, struct net_interface *i,
                int protocol) {
    struct netif *netif = &i->netif;
    // lwIP counts a packet with its header in 16 bits; Linux could send 40 bytes more over IPv6.
    if (p->tot_len + (IP_IS_V6(&how->to) ? IP6_HLEN : IP_HLEN) > 0xffff)
        return -EMSGSIZE;
    if (IP_IS_V6(&how->to))
        return net_errno(ip6_output_if_src(p, ip_2_ip6(&how->source), ip_2_ip6(&how->to), inet_ttl(&s->inet, how),
                                           inet_tos(&s->inet, how), protocol, netif));
    int err = add_header4(s, p, how, (int)i->mtu, protocol);
    return err ? err : net_errno(ip4_output_if_src(p, NULL, LWIP_IP_HDRINCL, 0, 0, 0, netif));
}
