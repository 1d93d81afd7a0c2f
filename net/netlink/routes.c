// RTM_GETROUTE, RTM_NEWROUTE, RTM_DELROUTE. The table `main` is what net/lwip/route.c knows; `local` follows from the addresses.
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/inet/interface.h"
#include "net/netlink/address.h"
#include "net/netlink/route.h"
#include <linux/rtnetlink.h>

#define RTCF_LOCAL 0x80000000u
#define RTCF_BROADCAST 0x10000000u
#define RTCF_MULTICAST 0x20000000u

// --- The tables ---

struct walk {
    void (*fn)(void *ctx, const struct route_row *row);
    void *ctx;
    int family;
    struct net_route *all; // to be sorted; NULL: there was no memory
    unsigned count, room;
};

static void main_row(struct walk *w, const struct net_route *route) {
    bool v4 = IP_IS_V4(&route->destination), gateway = !ip_addr_isany(&route->gateway);
    struct route_row row = {.route = *route, .table = RT_TABLE_MAIN, .type = RTN_UNICAST};
    row.protocol = gateway ? RTPROT_BOOT : RTPROT_KERNEL;
    row.scope = v4 && !gateway ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    if (!v4 && !row.route.metric)
        row.route.metric = gateway ? 1024 : 256;
    w->fn(w->ctx, &row);
}

// Linux' order: by address, IPv4's default routes first, IPv6's last.
static int compare(const struct net_route *a, const struct net_route *b) {
    bool v4 = IP_IS_V4(&a->destination);
    if (!a->prefix != !b->prefix)
        return !a->prefix == v4 ? -1 : 1;
    int order = memcmp(ip_2_ip6(&a->destination)->addr, ip_2_ip6(&b->destination)->addr, v4 ? 4 : 16);
    if (order || a->prefix != b->prefix)
        return order ? order : (int)b->prefix - (int)a->prefix;
    return a->metric < b->metric ? -1 : a->metric > b->metric;
}

static bool count_row(void *ctx, const struct net_route *route) {
    struct walk *w = ctx;
    w->count += (w->family == AF_INET) == IP_IS_V4(&route->destination);
    return false;
}

static bool take_row(void *ctx, const struct net_route *route) {
    struct walk *w = ctx;
    if ((w->family == AF_INET) != IP_IS_V4(&route->destination))
        return false;
    if (!w->all) {
        main_row(w, route);
        return false;
    }
    if (w->count == w->room)
        return true;
    unsigned at = w->count++;
    for (; at && compare(route, &w->all[at - 1]) < 0; at--)
        w->all[at] = w->all[at - 1];
    w->all[at] = *route;
    return false;
}

static void main_rows(struct walk *w) {
    net_route_each(count_row, w);
    w->room = w->count;
    w->all = w->room ? kmalloc(w->room * sizeof(*w->all)) : NULL;
    w->count = 0;
    net_route_each(take_row, w);
    for (unsigned k = 0; w->all && k < w->count; k++)
        main_row(w, &w->all[k]);
    kfree(w->all);
}

static void local_row(struct walk *w, struct net_interface *i, const ip_addr_t *to, unsigned prefix,
                      const ip_addr_t *source, int type) {
    struct route_row row = {.table = RT_TABLE_LOCAL, .type = (uint8_t)type, .protocol = RTPROT_KERNEL};
    bool v4 = IP_IS_V4(to);
    row.route = (struct net_route){.destination = *to, .prefix = prefix, .interface = i};
    IP_SET_TYPE(&row.route.gateway, IP_GET_TYPE(to));
    IP_SET_TYPE(&row.route.source, IP_GET_TYPE(to));
    if (source)
        row.route.source = *source;
    row.scope = !v4 ? RT_SCOPE_UNIVERSE : type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
    if (type == RTN_MULTICAST)
        row.route.metric = 256;
    w->fn(w->ctx, &row);
}

static void local_rows4(void *ctx, const struct interface_address *a) {
    struct walk *w = ctx;
    ip_addr_t net = a->ip, broadcast = a->ip;
    uint32_t mask = a->prefix ? lwip_htonl(~0u << (32 - a->prefix)) : 0;
    ip_2_ip4(&net)->addr &= mask;
    ip_2_ip4(&broadcast)->addr |= ~mask;
    if (!a->interface->up)
        return;
    if (a->scope == RT_SCOPE_HOST)
        local_row(w, a->interface, &net, a->prefix, &a->ip, RTN_LOCAL);
    local_row(w, a->interface, &a->ip, 32, &a->ip, RTN_LOCAL);
    if (a->prefix < 31)
        local_row(w, a->interface, &broadcast, 32, &a->ip, RTN_BROADCAST);
}

static void local_rows6(void *ctx, const struct interface_address *a) {
    if (a->interface->up && !(a->flags & IFA_F_TENTATIVE))
        local_row(ctx, a->interface, &a->ip, 128, NULL, RTN_LOCAL);
}

void route_rows(int family, void (*fn)(void *ctx, const struct route_row *row), void *ctx) {
    struct walk w = {.fn = fn, .ctx = ctx, .family = family};
    main_rows(&w);
    interface_addresses(family, 0, family == AF_INET ? local_rows4 : local_rows6, &w);
    ip_addr_t groups = IPADDR6_INIT(PP_HTONL(0xff000000), 0, 0, 0);
    for (struct net_interface *i = net_interface_next(NULL); family == AF_INET6 && i; i = net_interface_next(i))
        if (i->device && i->up)
            local_row(&w, i, &groups, 8, NULL, RTN_MULTICAST);
}

// --- Messages ---

static void route_message(const struct netlink_request *r, int type, const struct route_row *row, unsigned flags) {
    const struct net_route *route = &row->route;
    bool v4 = IP_IS_V4(&route->destination);
    struct rtmsg h = {.rtm_family = v4 ? AF_INET : AF_INET6,
                      .rtm_dst_len = (uint8_t)route->prefix,
                      .rtm_table = row->table,
                      .rtm_protocol = row->protocol,
                      .rtm_scope = row->scope,
                      .rtm_type = row->type,
                      .rtm_flags = flags};
    struct message m = message_begin(r, type, &h, sizeof(h));
    message_put_u32(&m, RTA_TABLE, row->table);
    if (route->prefix)
        message_put_ip(&m, RTA_DST, &route->destination);
    if (route->metric || !v4)
        message_put_u32(&m, RTA_PRIORITY, route->metric);
    if (route->interface && (flags & RTM_F_CLONED)) // Linux' orders
        message_put_u32(&m, RTA_OIF, (uint32_t)route->interface->index);
    if (!ip_addr_isany(&route->source))
        message_put_ip(&m, RTA_PREFSRC, &route->source);
    if (!ip_addr_isany(&route->gateway))
        message_put_ip(&m, RTA_GATEWAY, &route->gateway);
    if (route->interface && !(flags & RTM_F_CLONED))
        message_put_u32(&m, RTA_OIF, (uint32_t)route->interface->index);
    if (!v4) {
        struct rta_cacheinfo cache = {0};
        message_put(&m, RTA_CACHEINFO, &cache, sizeof(cache));
        message_put_u8(&m, RTA_PREF, 0);
    }
    message_end(&m);
}

struct filter {
    struct netlink_request *r;
    uint32_t table, interface;
    uint8_t type, protocol;
};

static void put_row(void *ctx, const struct route_row *row) {
    struct filter *f = ctx;
    if ((f->table && f->table != row->table) || (f->type && f->type != row->type) ||
        (f->protocol && f->protocol != row->protocol) ||
        (f->interface && (!row->route.interface || f->interface != (uint32_t)row->route.interface->index)))
        return;
    route_message(f->r, RTM_NEWROUTE, row, 0);
}

int route_dump(struct netlink_request *r) {
    const struct nlattr *at[RTA_MAX + 1];
    const struct rtmsg *h = request_header(r, sizeof(*h));
    const struct rtgenmsg *g = request_header(r, sizeof(*g));
    struct filter f = {.r = r};
    if (netlink_option(r->from, NETLINK_GET_STRICT_CHK)) {
        if (!h)
            return request_fail(r, -EINVAL, NULL, "Invalid header for FIB dump request");
        if (h->rtm_dst_len || h->rtm_src_len || h->rtm_tos || h->rtm_scope)
            return request_fail(r, -EINVAL, NULL, "Invalid values in header for FIB dump request");
        int err = request_attributes(r, sizeof(*h), at, RTA_MAX, true);
        if (err < 0)
            return err;
        f = (struct filter){r, h->rtm_table, 0, h->rtm_type, h->rtm_protocol};
        if (at[RTA_TABLE] && attribute_u32(at[RTA_TABLE], &f.table) < 0)
            return -EINVAL;
        if (at[RTA_OIF] && attribute_u32(at[RTA_OIF], &f.interface) < 0)
            return -EINVAL;
        r->filtered = f.table || f.interface || f.type || f.protocol;
        if (f.interface && !net_interface_find((int)f.interface))
            return -ENODEV;
        if (f.table && f.table != RT_TABLE_MAIN && f.table != RT_TABLE_LOCAL && f.table != RT_TABLE_DEFAULT)
            return request_fail(r, -ENOENT, NULL,
                                g->rtgen_family == AF_INET6 ? "FIB table does not exist"
                                                            : "ipv4: FIB table does not exist");
    }
    if (g->rtgen_family != AF_INET6)
        route_rows(AF_INET, put_row, &f);
    if (g->rtgen_family != AF_INET)
        route_rows(AF_INET6, put_row, &f);
    return 0;
}

// --- ip route get ---

static bool gateway_of(void *ctx,
                       const struct net_route *route) { // the best route that goes through a gateway, or directly
    struct net_route *best = ctx;
    const ip_addr_t *to = &best->destination;
    if (IP_GET_TYPE(to) != IP_GET_TYPE(&route->destination) || route->interface != best->interface)
        return false;
    const uint8_t *a = (const void *)ip_2_ip6(to)->addr, *b = (const void *)ip_2_ip6(&route->destination)->addr;
    for (unsigned bit = 0; bit < route->prefix; bit++)
        if ((a[bit / 8] ^ b[bit / 8]) & (0x80 >> bit % 8))
            return false;
    if (best->metric == ~0u || route->prefix >= best->prefix) {
        best->prefix = route->prefix;
        best->gateway = route->gateway;
        best->metric = route->metric;
    }
    return false;
}

int route_get(struct netlink_request *r) {
    const struct nlattr *at[RTA_MAX + 1];
    const struct rtmsg *h = request_header(r, sizeof(*h));
    uint32_t bound = 0;
    struct route_row row = {.table = RT_TABLE_MAIN, .type = RTN_UNICAST};
    struct net_route *route = &row.route;
    int err = request_attributes(r, sizeof(*h), at, RTA_MAX, false);
    if (err < 0)
        return err;
    bool v4 = h->rtm_family == AF_INET;
    IP_SET_TYPE(&route->destination, v4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    if (at[RTA_DST] && attribute_ip(at[RTA_DST], h->rtm_family, &route->destination) < 0)
        return -EINVAL;
    if (at[RTA_OIF] && attribute_u32(at[RTA_OIF], &bound) < 0)
        return -EINVAL;
    if (bound && !net_interface_find((int)bound))
        return -ENODEV;
    if (at[RTA_IIF])
        return -EOPNOTSUPP; // nothing is forwarded
    if (!net_route_find(&route->destination, (int)bound, &route->interface, &route->source))
        return -ENETUNREACH;
    unsigned flags = v4 ? RTM_F_CLONED : 0;
    if (net_address_is_local(&route->destination)) {
        row.type = RTN_LOCAL;
        flags |= v4 ? RTCF_LOCAL : 0;
        route->interface = net_interface_find(1);
        if (!v4 || !ip4_addr_isloopback(ip_2_ip4(&route->destination)))
            route->source = route->destination;
        else if (route->interface)
            route->source = *netif_ip_addr4(&route->interface->netif);
        IP_SET_TYPE(&route->gateway, IP_GET_TYPE(&route->destination));
    } else {
        route->metric = ~0u;
        IP_SET_TYPE(&route->gateway, IP_GET_TYPE(&route->destination));
        net_route_each(gateway_of, route);
        if (route->metric == ~0u)
            route->metric = 0;
        if (ip_addr_ismulticast(&route->destination)) {
            row.type = RTN_MULTICAST;
            flags |= v4 ? RTCF_MULTICAST : 0;
            memset(&route->gateway.u_addr, 0, sizeof(route->gateway.u_addr));
        }
    }
    route->prefix = v4 ? 32 : 128;
    if (v4) {
        route->metric = 0;
    } else {
        row.table = row.type == RTN_LOCAL ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
        row.protocol = ip_addr_isany(&route->gateway) ? RTPROT_KERNEL : RTPROT_BOOT;
    }
    size_t from = r->out->len;
    route_message(r, RTM_NEWROUTE, &row, flags);
    struct message m = {r->out, from};
    struct rta_cacheinfo cache = {0};
    if (v4) { // who asks, and what the kernel would keep of it
        message_put_u32(&m, RTA_UID, current_cred()->euid);
        message_put(&m, RTA_CACHEINFO, &cache, sizeof(cache));
    } else {
        message_put_ip(&m, RTA_SRC, IP6_ADDR_ANY); // from anywhere
        if (!m.s->failed)
            ((struct rtmsg *)(m.s->data + from + sizeof(struct nlmsghdr)))->rtm_src_len = 128;
    }
    message_end(&m);
    return 0;
}

// --- Changing ---

static int route_of(struct netlink_request *r, struct net_route *route) {
    const struct nlattr *at[RTA_MAX + 1];
    const struct rtmsg *h = request_header(r, sizeof(*h));
    uint32_t number;
    int err = request_attributes(r, sizeof(*h), at, RTA_MAX, false);
    if (err < 0)
        return err;
    bool v4 = h->rtm_family == AF_INET, adds = r->header->nlmsg_type == RTM_NEWROUTE;
    memset(route, 0, sizeof(*route));
    IP_SET_TYPE(&route->destination, v4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    IP_SET_TYPE(&route->gateway, v4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    IP_SET_TYPE(&route->source, v4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    route->prefix = h->rtm_dst_len;
    if (route->prefix > (v4 ? 32 : 128))
        return request_fail(r, -EINVAL, NULL, "Invalid prefix length");
    if ((at[RTA_DST] && attribute_ip(at[RTA_DST], h->rtm_family, &route->destination) < 0) ||
        (at[RTA_GATEWAY] && attribute_ip(at[RTA_GATEWAY], h->rtm_family, &route->gateway) < 0) ||
        (at[RTA_PREFSRC] && attribute_ip(at[RTA_PREFSRC], h->rtm_family, &route->source) < 0) ||
        (at[RTA_PRIORITY] && attribute_u32(at[RTA_PRIORITY], &route->metric) < 0))
        return -EINVAL;
    if (at[RTA_OIF]) {
        if (attribute_u32(at[RTA_OIF], &number) < 0)
            return -EINVAL;
        route->interface = net_interface_find((int)number);
        if (!route->interface)
            return -ENODEV;
    }
    number = h->rtm_table;
    if (at[RTA_TABLE] && attribute_u32(at[RTA_TABLE], &number) < 0)
        return -EINVAL;
    if (number != RT_TABLE_MAIN && number != RT_TABLE_UNSPEC)
        return adds ? request_fail(r, -EOPNOTSUPP, at[RTA_TABLE], "There are no tables but main") : -ESRCH;
    if (h->rtm_type != RTN_UNICAST && (adds || h->rtm_type))
        return adds ? request_fail(r, -EOPNOTSUPP, NULL, "Only unicast routes are supported") : -ESRCH;
    if (at[RTA_MULTIPATH] || at[RTA_VIA] || at[RTA_ENCAP] || at[RTA_NH_ID] || at[RTA_METRICS])
        return request_fail(r, -EOPNOTSUPP, NULL,
                            "Of routes only destination, gateway, device, source and metric are supported");
    // Bits behind the prefix.
    const uint8_t *a =
        v4 ? (const void *)&ip_2_ip4(&route->destination)->addr : (const void *)ip_2_ip6(&route->destination)->addr;
    for (unsigned bit = route->prefix; bit < (v4 ? 32 : 128); bit++)
        if (a[bit / 8] & (0x80 >> bit % 8))
            return request_fail(r, -EINVAL, NULL, "Invalid prefix for given prefix length");
    if (adds && !route->interface && ip_addr_isany(&route->gateway))
        return request_fail(r, -ENODEV, NULL, "No nexthop device"); // nothing says where it goes
    return 0;
}

int route_add(struct netlink_request *r) {
    struct net_route route;
    unsigned flags = r->header->nlmsg_flags;
    int err = route_of(r, &route);
    if (err < 0)
        return err;
    if (!(flags & NLM_F_CREATE) && !(flags & NLM_F_REPLACE))
        return -ENOENT;
    err = net_route_add(&route);
    if (err == -EEXIST && (flags & NLM_F_REPLACE)) {
        struct net_route old = {.destination = route.destination, .prefix = route.prefix, .metric = route.metric};
        IP_SET_TYPE(&old.gateway, IP_GET_TYPE(&route.destination));
        err = net_route_remove(&old);
        if (!err)
            err = net_route_add(&route);
    }
    if (err == -ENETUNREACH)
        return request_fail(r, err, NULL, "Nexthop has invalid gateway");
    return err;
}

int route_delete(struct netlink_request *r) {
    struct net_route route;
    int err = route_of(r, &route);
    return err < 0 ? err : net_route_remove(&route);
}
