// RTM_GETNEIGH: lwIP's tables of neighbours (ARP, ND).
#include "kernel/string.h"
#include "lwip/etharp.h"
#include "net/netlink/neighbour.h"
#include "net/netlink/netlink.h"
#include "lwip/priv/nd6_priv.h"
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

bool neighbours(int family, bool (*fn)(void *ctx, const struct neighbour *n), void *ctx) {
    for (unsigned k = 0; family == AF_INET && k < ARP_TABLE_SIZE; k++) {
        ip4_addr_t *ip;
        struct netif *netif;
        struct eth_addr *mac;
        if (!etharp_get_entry(k, &ip, &netif, &mac))
            continue;
        struct neighbour n = {.interface = netif_interface(netif), .state = NUD_REACHABLE};
        ip_addr_copy_from_ip4(n.ip, *ip);
        memcpy(n.mac, mac->addr, sizeof(n.mac));
        if (fn(ctx, &n))
            return true;
    }
    static const uint8_t states[] = {[ND6_INCOMPLETE] = NUD_INCOMPLETE,
                                     [ND6_REACHABLE] = NUD_REACHABLE,
                                     [ND6_STALE] = NUD_STALE,
                                     [ND6_DELAY] = NUD_DELAY,
                                     [ND6_PROBE] = NUD_PROBE};
    for (unsigned k = 0; family == AF_INET6 && k < LWIP_ND6_NUM_NEIGHBORS; k++) {
        const struct nd6_neighbor_cache_entry *e = &neighbor_cache[k];
        if (e->state == ND6_NO_ENTRY || e->state >= sizeof(states) || !e->netif)
            continue;
        struct neighbour n = {.interface = netif_interface(e->netif), .state = states[e->state], .router = e->isrouter};
        ip_addr_copy_from_ip6(n.ip, e->next_hop_address);
        memcpy(n.mac, e->lladdr, sizeof(n.mac));
        if (fn(ctx, &n))
            return true;
    }
    return false;
}

static void message(const struct netlink_request *r, const struct neighbour *n) {
    struct ndmsg h = {.ndm_family = IP_IS_V4(&n->ip) ? AF_INET : AF_INET6,
                      .ndm_ifindex = n->interface->index,
                      .ndm_state = n->state,
                      .ndm_flags = n->router ? NTF_ROUTER : 0,
                      .ndm_type = RTN_UNICAST};
    struct nda_cacheinfo cache = {0};
    struct message m = message_begin(r, RTM_NEWNEIGH, &h, sizeof(h));
    message_put_ip(&m, NDA_DST, &n->ip);
    if (n->state != NUD_INCOMPLETE)
        message_put(&m, NDA_LLADDR, n->mac, sizeof(n->mac));
    message_put_u32(&m, NDA_PROBES, 0);
    message_put(&m, NDA_CACHEINFO, &cache, sizeof(cache));
    message_end(&m);
}

struct filter {
    struct netlink_request *r;
    uint32_t interface;
    const ip_addr_t *ip; // one only
    bool found;
};

static bool put(void *ctx, const struct neighbour *n) {
    struct filter *f = ctx;
    if ((f->interface && f->interface != (uint32_t)n->interface->index) ||
        (f->ip && !ip_addr_cmp_zoneless(f->ip, &n->ip)))
        return false;
    f->found = true;
    message(f->r, n);
    return f->ip != NULL;
}

int neighbour_dump(struct netlink_request *r) {
    const struct nlattr *at[NDA_MAX + 1] = {NULL};
    const struct ndmsg *h = request_header(r, sizeof(*h));
    const struct rtgenmsg *g = request_header(r, sizeof(*g));
    struct filter f = {.r = r};
    bool strict = netlink_option(r->from, NETLINK_GET_STRICT_CHK);
    if (strict && !h)
        return request_fail(r, -EINVAL, NULL, "Invalid header for neighbor dump request");
    if (strict && (h->ndm_ifindex || h->ndm_state || h->ndm_type))
        return request_fail(r, -EINVAL, NULL, "Invalid values in header for neighbor dump request");
    int err = h ? request_attributes(r, sizeof(*h), at, NDA_MAX, strict) : 0;
    if (!err && at[NDA_IFINDEX])
        err = attribute_u32(at[NDA_IFINDEX], &f.interface);
    if (err < 0)
        return err;
    r->filtered = at[NDA_MASTER] || f.interface;
    if (at[NDA_MASTER] || (h && (h->ndm_flags & NTF_PROXY)))
        return 0;
    if (g->rtgen_family != AF_INET6)
        neighbours(AF_INET, put, &f);
    if (g->rtgen_family != AF_INET)
        neighbours(AF_INET6, put, &f);
    return 0;
}

int neighbour_get(struct netlink_request *r) {
    const struct nlattr *at[NDA_MAX + 1];
    const struct ndmsg *h = request_header(r, sizeof(*h));
    ip_addr_t ip;
    int err = request_attributes(r, sizeof(*h), at, NDA_MAX, false);
    if (err < 0)
        return err;
    if (!at[NDA_DST])
        return request_fail(r, -EINVAL, NULL, "Network address not specified");
    if (h->ndm_family != AF_INET && h->ndm_family != AF_INET6)
        return request_fail(r, -EOPNOTSUPP, NULL, "Unsupported family in header for neighbor get request");
    if (attribute_ip(at[NDA_DST], h->ndm_family, &ip) < 0)
        return request_fail(r, -EINVAL, at[NDA_DST], "Invalid network address in neighbor get request");
    if (!h->ndm_ifindex)
        return request_fail(r, -EINVAL, NULL, "No device specified");
    if (!net_interface_find(h->ndm_ifindex))
        return request_fail(r, -ENODEV, NULL, "Unknown device ifindex");
    struct filter f = {.r = r, .interface = (uint32_t)h->ndm_ifindex, .ip = &ip};
    neighbours(h->ndm_family, put, &f);
    return f.found ? 0 : request_fail(r, -ENOENT, NULL, "Neighbour entry not found");
}
