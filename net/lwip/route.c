// Which interface, gateway and source address a packet takes. Routes are what the interfaces imply (their own addresses: by the loopback; their
// networks; their default gateways), and those that were added. The longest prefix wins, then the lower metric, then the one found first.
// lwIP asks through its hooks (net/lwipopts.h) for the interface and then for the gateway.
#include "kernel/list.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "lwip/ip.h"
#include "lwip/ip6.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "net/lwip/hooks.h"
#include "net/lwip/stack.h"

#define ROUTES_MOST 1024 // that were added
#define METRIC6 1024     // of IPv6's routes that nobody gave one, as Linux has it

struct added {
    struct list link;
    struct net_route route;
};
static struct list added = LIST_INIT(added);
static unsigned added_count;

static bool usable(const struct net_interface *i) { return netif_is_up(&i->netif) && netif_is_link_up(&i->netif); }

static bool valid6(const struct net_interface *i, unsigned k) { return ip6_addr_isvalid(netif_ip6_addr_state(&i->netif, k)); }

unsigned net_prefix4(const struct net_interface *i) {
    return net_mask_bits(netif_ip4_netmask(&i->netif)->addr);
}

static unsigned prefix6(const struct net_interface *i, unsigned k) {
    if (i->prefix6[k])
        return i->prefix6[k];
    return i == &net_loopback ? 128 : 64;
}

bool net_prefix_match(const ip_addr_t *a, const ip_addr_t *b, unsigned bits) {
    if (IP_GET_TYPE(a) != IP_GET_TYPE(b))
        return false;
    const u32_t *x = ip_2_ip6(a)->addr, *y = ip_2_ip6(b)->addr;
    for (; bits >= 32; bits -= 32)
        if (*x++ != *y++)
            return false;
    return !bits || !((lwip_ntohl(*x) ^ lwip_ntohl(*y)) >> (32 - bits));
}

// --- Addresses ---
static struct net_interface *owner4(const ip4_addr_t *a) {
    if (ip4_addr_isloopback(a))
        return &net_loopback;
    if (ip4_addr_isany_val(*a))
        return NULL;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        if (ip4_addr_cmp(a, netif_ip4_addr(&i->netif)))
            return i;
    return NULL;
}

static struct net_interface *owner6(const ip6_addr_t *a) {
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        for (unsigned k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++)
            if (valid6(i, k) && ip6_addr_cmp_zoneless(a, netif_ip6_addr(&i->netif, k)) &&
                (!ip6_addr_has_zone(a) || ip6_addr_test_zone(a, &i->netif)))
                return i;
    return NULL;
}

static struct net_interface *owner(const ip_addr_t *a) { return IP_IS_V6(a) ? owner6(ip_2_ip6(a)) : owner4(ip_2_ip4(a)); }

bool net_address_is_local(const ip_addr_t *a) { return owner(a) != NULL; }

// --- All routes ---
static void set4(ip_addr_t *to, const ip4_addr_t *from, const ip4_addr_t *mask) {
    ip_addr_copy_from_ip4(*to, *from);
    if (mask)
        ip_2_ip4(to)->addr &= mask->addr;
}

static void set6(ip_addr_t *to, const ip6_addr_t *from, unsigned prefix) {
    ip_addr_copy_from_ip6(*to, *from);
    for (unsigned w = 0; w < 4; w++) {
        unsigned bits = prefix > w * 32 ? MIN(prefix - w * 32, 32u) : 0;
        ip_2_ip6(to)->addr[w] &= bits ? lwip_htonl(~0u << (32 - bits)) : 0;
    }
}

typedef bool (*route_fn)(void *ctx, const struct net_route *r);

static bool each4(struct net_interface *i, route_fn fn, void *ctx) {
    const struct netif *n = &i->netif;
    struct net_route r = {.interface = i, .prefix = net_prefix4(i)};
    if (i == &net_loopback || !usable(i) || ip4_addr_isany_val(*netif_ip4_addr(n)))
        return false;
    set4(&r.destination, netif_ip4_addr(n), netif_ip4_netmask(n));
    set4(&r.source, netif_ip4_addr(n), NULL);
    if (fn(ctx, &r))
        return true;
    if (ip4_addr_isany_val(*netif_ip4_gw(n)))
        return false;
    r.prefix = 0;
    ip_addr_set_any(false, &r.destination);
    set4(&r.gateway, netif_ip4_gw(n), NULL);
    ip_addr_set_any(false, &r.source);
    return fn(ctx, &r);
}

static bool each6(struct net_interface *i, route_fn fn, void *ctx) {
    struct net_route r = {.interface = i, .metric = 256};
    ip_addr_set_any(true, &r.source);
    ip_addr_set_any(true, &r.gateway);
    if (i == &net_loopback || !usable(i))
        return false;
    for (unsigned k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++) {
        if (!valid6(i, k) || (!ip6_addr_islinklocal(netif_ip6_addr(&i->netif, k)) && !netif_ip6_addr_isstatic(&i->netif, k)))
            continue;
        r.prefix = prefix6(i, k);
        set6(&r.destination, netif_ip6_addr(&i->netif, k), r.prefix);
        if (fn(ctx, &r))
            return true;
    }
    for (unsigned k = 0; k < LWIP_ND6_NUM_PREFIXES; k++) {
        if (prefix_list[k].netif != &i->netif || !prefix_list[k].invalidation_timer)
            continue;
        r.prefix = 64;
        set6(&r.destination, &prefix_list[k].prefix, 64);
        if (fn(ctx, &r))
            return true;
    }
    r.metric = METRIC6;
    r.prefix = 0;
    ip_addr_set_any(true, &r.destination);
    if (!ip6_addr_isany(&i->gateway6)) {
        ip_addr_copy_from_ip6(r.gateway, i->gateway6);
        if (fn(ctx, &r))
            return true;
    }
    for (unsigned k = 0; k < LWIP_ND6_NUM_ROUTERS; k++) {
        const struct nd6_neighbor_cache_entry *e = default_router_list[k].neighbor_entry;
        if (!e || e->netif != &i->netif)
            continue;
        ip_addr_copy_from_ip6(r.gateway, e->next_hop_address);
        if (fn(ctx, &r))
            return true;
    }
    return false;
}

static bool each(bool v6, route_fn fn, void *ctx) {
    struct added *a;
    list_for_each(a, &added, link)
        if (!IP_IS_V6_VAL(a->route.destination) == !v6 && usable(a->route.interface) && fn(ctx, &a->route))
            return true;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        if (v6 ? each6(i, fn, ctx) : each4(i, fn, ctx))
            return true;
    return false;
}

void net_route_each(bool (*fn)(void *ctx, const struct net_route *r), void *ctx) {
    if (!each(false, fn, ctx))
        each(true, fn, ctx);
}

// --- The best of them ---
struct search {
    const ip_addr_t *to;
    int bound; // interface index, 0: any
    struct net_route best;
};

static bool consider(void *ctx, const struct net_route *r) {
    struct search *s = ctx;
    if ((s->bound && r->interface->index != s->bound) || !net_prefix_match(s->to, &r->destination, r->prefix))
        return false;
    const struct net_route *b = &s->best;
    if (!b->interface || r->prefix > b->prefix || (r->prefix == b->prefix && r->metric < b->metric))
        s->best = *r;
    return false;
}

// The interface for multicast and broadcast: that of the default route, or the first one that is no loopback.
static struct net_interface *for_groups(bool v6, int bound) {
    ip_addr_t any;
    ip_addr_set_any(v6, &any);
    struct search s = {.to = &any, .bound = bound};
    each(v6, consider, &s);
    if (s.best.interface)
        return s.best.interface;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        if (i != &net_loopback && usable(i) && (!bound || i->index == bound))
            return i;
    return bound ? net_interface_find(bound) : NULL;
}

// False: none. The gateway is any for a neighbour.
static bool find(const ip_addr_t *to, int bound, struct net_route *r) {
    bool v6 = IP_IS_V6(to);
    memset(r, 0, sizeof(*r));
    ip_addr_set_any(v6, &r->gateway);
    ip_addr_set_any(v6, &r->source);
    const struct net_interface *own = owner(to);
    if (own && (!bound || bound == net_loopback.index || bound == own->index)) {
        r->interface = &net_loopback;
        ip_addr_copy(r->source, *to);
        return true;
    }
    if (v6 && ip6_addr_has_zone(ip_2_ip6(to))) { // only there
        for (struct net_interface *i = net_interface_next(NULL); i && !r->interface; i = net_interface_next(i))
            if (ip6_addr_test_zone(ip_2_ip6(to), &i->netif) && usable(i) && (!bound || i->index == bound))
                r->interface = i;
        return r->interface;
    }
    if (ip_addr_ismulticast(to) || (!v6 && ip_2_ip4(to)->addr == IPADDR_BROADCAST)) {
        r->interface = for_groups(v6, bound);
        return r->interface;
    }
    struct search s = {.to = to, .bound = bound};
    each(v6, consider, &s);
    if (s.best.interface) {
        *r = s.best;
        return true;
    }
    // Linux sends to a neighbour when a socket is bound to an interface without a route.
    r->interface = bound ? net_interface_find(bound) : NULL;
    return r->interface && r->interface != &net_loopback && usable(r->interface);
}

bool net_route_find(const ip_addr_t *to, int bound, struct net_interface **interface, ip_addr_t *source) {
    struct net_route r;
    if (!find(to, bound, &r))
        return false;
    *interface = r.interface;
    if (!ip_addr_isany_val(r.source)) {
        ip_addr_copy(*source, r.source);
        return true;
    }
    const ip_addr_t *a = ip_netif_get_local_ip(&r.interface->netif, to);
    if (!a || ip_addr_isany(a))
        return false;
    ip_addr_copy(*source, *a);
    return true;
}

// --- lwIP's questions ---
// The answers, until anything changes that they depend on: lwIP asks for each packet.
static struct answer {
    u32_t dest;
    unsigned generation;
    struct netif *netif;
} answers[16];
static struct answer6 {
    ip6_addr_t dest;
    unsigned generation;
    struct netif *netif;
} answers6[16];
static unsigned generation; // 0: nobody watches yet
static netif_ext_callback_t watcher;

void net_routes_changed(void) {
    if (!generation || ++generation)
        return;
    memset(answers, 0, sizeof(answers));
    memset(answers6, 0, sizeof(answers6));
    generation = 1;
}

static void netif_changed(struct netif *n, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args) {
    net_routes_changed();
}

static void watch(void) {
    if (generation)
        return;
    netif_add_ext_callback(&watcher, netif_changed);
    generation = 1;
}

struct netif *net_route4(const ip4_addr_t *src, const ip4_addr_t *dest) {
    ip_addr_t to;
    struct net_route r;
    u32_t h = dest->addr ^ dest->addr >> 16;
    struct answer *a = &answers[(h ^ h >> 8) % ARRAY_SIZE(answers)];
    // (The flags since lwIP calls its watchers before it takes an interface down.)
    if (likely(a->dest == dest->addr && a->generation == generation && a->netif && usable(netif_interface(a->netif))))
        return a->netif;
    ip_addr_copy_from_ip4(to, *dest);
    // A group goes out where the source address is.
    struct net_interface *own = src && ip4_addr_ismulticast(dest) ? owner4(src) : NULL;
    if (own && own != &net_loopback)
        return &own->netif;
    if (!find(&to, 0, &r))
        return NULL;
    watch();
    if (!ip4_addr_ismulticast(dest))
        *a = (struct answer){dest->addr, generation, &r.interface->netif};
    return &r.interface->netif;
}

struct netif *net_route6(const ip6_addr_t *src, const ip6_addr_t *dest) {
    ip_addr_t to;
    struct net_route r;
    u32_t h = dest->addr[1] ^ dest->addr[2] ^ dest->addr[3];
    h ^= h >> 16;
    struct answer6 *a = &answers6[(h ^ h >> 8) % ARRAY_SIZE(answers6)];
    if (likely(a->generation == generation && a->netif && ip6_addr_cmp(&a->dest, dest) && usable(netif_interface(a->netif))))
        return a->netif;
    ip_addr_copy_from_ip6(to, *dest);
    if (!find(&to, 0, &r))
        return NULL;
    watch();
    if (!ip6_addr_ismulticast(dest)) {
        ip6_addr_copy(a->dest, *dest);
        a->generation = generation;
        a->netif = &r.interface->netif;
    }
    return &r.interface->netif;
}

const ip4_addr_t *net_gateway4(struct netif *netif, const ip4_addr_t *dest) {
    static ip4_addr_t hop;
    ip_addr_t to;
    struct net_route r;
    if (!added_count) // the common case
        return NULL;
    ip_addr_copy_from_ip4(to, *dest);
    if (!find(&to, netif_interface(netif)->index, &r))
        return NULL;
    ip4_addr_copy(hop, ip_addr_isany_val(r.gateway) ? *dest : *ip_2_ip4(&r.gateway));
    return &hop;
}

const ip6_addr_t *net_gateway6(struct netif *netif, const ip6_addr_t *dest) {
    static ip6_addr_t hop;
    ip_addr_t to;
    struct net_route r;
    ip_addr_copy_from_ip6(to, *dest);
    if (!find(&to, netif_interface(netif)->index, &r))
        return NULL;
    ip6_addr_copy(hop, ip_addr_isany_val(r.gateway) ? *dest : *ip_2_ip6(&r.gateway));
    ip6_addr_assign_zone(&hop, IP6_UNICAST, netif);
    return &hop;
}

// --- Changes ---
static bool same(const struct net_route *a, const struct net_route *b) {
    return a->prefix == b->prefix && a->metric == b->metric && ip_addr_cmp(&a->destination, &b->destination);
}

// Of the default routes that an interface has itself, one is the interface's gateway.
static bool is_plain_default4(const struct net_route *r) {
    return !IP_IS_V6_VAL(r->destination) && !r->prefix && !r->metric && !ip_addr_isany_val(r->gateway) && ip_addr_isany_val(r->source);
}

int net_route_add(const struct net_route *r) {
    struct net_route route = *r;
    bool v6 = IP_IS_V6_VAL(r->destination);
    if (!route.interface && !ip_addr_isany_val(route.gateway)) { // the network that the gateway is in
        struct net_route via;
        if (!find(&route.gateway, 0, &via) || !ip_addr_isany_val(via.gateway) || via.interface == &net_loopback)
            return -ENETUNREACH;
        route.interface = via.interface;
    }
    if (!route.interface)
        return -ENODEV;
    if (v6 && !route.metric)
        route.metric = METRIC6;
    struct added *a;
    list_for_each(a, &added, link)
        if (same(&a->route, &route))
            return -EEXIST;
    struct netif *n = &route.interface->netif;
    if (is_plain_default4(&route)) {
        for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
            if (!ip4_addr_isany_val(*netif_ip4_gw(&i->netif)))
                return -EEXIST;
        netif_set_gw(n, ip_2_ip4(&route.gateway));
        return 0;
    }
    if (added_count >= ROUTES_MOST || !(a = kmalloc(sizeof(*a))))
        return -ENOBUFS;
    a->route = route;
    list_push_back(&added, &a->link);
    added_count++;
    net_routes_changed();
    nd6_clear_destination_cache();
    return 0;
}

static bool matches(const struct net_route *r, const struct net_route *wanted) {
    return r->prefix == wanted->prefix && ip_addr_cmp(&r->destination, &wanted->destination) &&
           (!wanted->metric || r->metric == wanted->metric) && (!wanted->interface || r->interface == wanted->interface) &&
           (ip_addr_isany_val(wanted->gateway) || ip_addr_cmp(&r->gateway, &wanted->gateway));
}

int net_route_remove(const struct net_route *r) {
    struct added *a;
    list_for_each(a, &added, link)
        if (matches(&a->route, r)) {
            list_remove(&a->link);
            kfree(a);
            added_count--;
            net_routes_changed();
            nd6_clear_destination_cache();
            return 0;
        }
    if (r->prefix)
        return -ESRCH;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        struct net_route implied = {.interface = i, .metric = r->metric, .destination = r->destination};
        if (!IP_IS_V6_VAL(r->destination) && !ip4_addr_isany_val(*netif_ip4_gw(&i->netif))) {
            set4(&implied.gateway, netif_ip4_gw(&i->netif), NULL);
            if (matches(&implied, r)) {
                netif_set_gw(&i->netif, IP4_ADDR_ANY4);
                return 0;
            }
        } else if (IP_IS_V6_VAL(r->destination) && !ip6_addr_isany(&i->gateway6)) {
            ip_addr_copy_from_ip6(implied.gateway, i->gateway6);
            if (matches(&implied, r)) {
                ip6_addr_set_zero(&i->gateway6);
                net_routes_changed();
                nd6_clear_destination_cache();
                return 0;
            }
        }
    }
    return -ESRCH;
}

void net_routes_forget(const struct net_interface *i) {
    struct added *a, *next;
    list_for_each_safe(a, next, &added, link)
        if (a->route.interface == i) {
            list_remove(&a->link);
            kfree(a);
            added_count--;
        }
    net_routes_changed();
}
