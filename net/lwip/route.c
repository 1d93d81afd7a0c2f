// Which interface and which source address a packet takes. The routes are what the interfaces' addresses and gateways imply.
#include "lwip/ip.h"
#include "lwip/ip6.h"
#include "lwip/nd6.h"
#include "net/lwip/hooks.h"
#include "net/lwip/stack.h"

struct netif *net_route4(const ip4_addr_t *src, const ip4_addr_t *dest) { return NULL; }

struct netif *net_route6(const ip6_addr_t *src, const ip6_addr_t *dest) { return NULL; }

const ip4_addr_t *net_gateway4(struct netif *netif, const ip4_addr_t *dest) { return NULL; }

void net_route_each(bool (*fn)(void *ctx, const struct net_route *r), void *ctx) {}

bool net_address_is_local(const ip_addr_t *a) {
    if (IP_IS_V4(a) && ip4_addr_isloopback(ip_2_ip4(a)))
        return true;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        if (IP_IS_V4(a) && ip4_addr_cmp(ip_2_ip4(a), netif_ip4_addr(&i->netif)))
            return true;
        for (unsigned k = 0; IP_IS_V6(a) && k < LWIP_IPV6_NUM_ADDRESSES; k++)
            if (ip6_addr_isvalid(netif_ip6_addr_state(&i->netif, k)) && ip6_addr_cmp_zoneless(ip_2_ip6(a), netif_ip6_addr(&i->netif, k)))
                return true;
    }
    return false;
}

bool net_route_find(const ip_addr_t *to, int bound, struct net_interface **interface, ip_addr_t *source) {
    struct netif *n = ip_route(IP46_ADDR_ANY(IP_GET_TYPE(to)), to);
    if (!n)
        return false;
    *interface = netif_interface(n);
    const ip_addr_t *a = ip_netif_get_local_ip(n, to);
    if (!a)
        return false;
    *source = *a;
    return true;
}
