// What an administrator changes by netlink or ioctl(2): addresses, up and down, MTU. An interface has one address of IPv4, since
// lwIP has no place for more.
#include "kernel/string.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/nd6.h"
#include "net/lwip/stack.h"

#define MTU_MIN 68u
#define MTU_MAX 65535u

int net_interface_set_up(struct net_interface *i, bool up) {
    if (i->up == up)
        return 0;
    i->up = up;
    if (up) {
        netif_set_up(&i->netif);
    } else {
        netif_set_down(&i->netif);
        net_routes_forget(i);
    }
    net_timers_check();
    return 0;
}

int net_interface_set_mtu(struct net_interface *i, uint32_t mtu) {
    if (i->device && (mtu < MTU_MIN || mtu > MTU_MAX))
        return -EINVAL;
    if (mtu > INT32_MAX)
        return -EINVAL;
    i->mtu = mtu;
    // lwIP cuts into pieces of what is left behind the headers.
    i->netif.mtu = i->netif.mtu6 = (u16_t)MIN(MAX(mtu, MTU_MIN), MTU_MAX);
    return 0;
}

// --- Addresses ---

static int find6(const struct net_interface *i, const ip_addr_t *a) {
    for (int k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++)
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(&i->netif, k)) &&
            ip6_addr_cmp_zoneless(ip_2_ip6(a), netif_ip6_addr(&i->netif, k)))
            return k;
    return -1;
}

unsigned net_address_prefix(const struct net_interface *i, const ip_addr_t *a) {
    if (IP_IS_V4(a))
        return net_mask_bits(netif_ip4_netmask(&i->netif)->addr);
    int k = find6(i, a);
    if (k >= 0 && i->prefix6[k])
        return i->prefix6[k];
    return ip6_addr_isloopback(ip_2_ip6(a)) ? 128 : 64;
}

static void stop_dhcp(struct net_interface *i) {
    if (i->how == NET_DHCP && netif_dhcp_data(&i->netif))
        dhcp_stop(&i->netif);
    i->how = NET_STATIC;
}

static int add4(struct net_interface *i, const ip4_addr_t *a, unsigned prefix) {
    const ip4_addr_t *has = netif_ip4_addr(&i->netif);
    ip4_addr_t mask = {prefix ? lwip_htonl(~0u << (32 - prefix)) : 0};
    if (ip4_addr_cmp(has, a))
        return -EEXIST;
    if (!ip4_addr_isany(has))
        return -ENOBUFS;
    if (ip4_addr_isany(a) || ip4_addr_ismulticast(a))
        return -EINVAL;
    stop_dhcp(i);
    netif_set_addr(&i->netif, a, &mask, netif_ip4_gw(&i->netif));
    return 0;
}

static int add6(struct net_interface *i, const ip_addr_t *a, unsigned prefix) {
    ip6_addr_t ip = *ip_2_ip6(a);
    s8_t k = -1;
    if (find6(i, a) >= 0)
        return -EEXIST;
    if (ip6_addr_isany(&ip) || ip6_addr_ismulticast(&ip) || ip6_addr_isipv4mappedipv6(&ip))
        return -EADDRNOTAVAIL;
    ip6_addr_assign_zone(&ip, IP6_UNICAST, &i->netif);
    if (netif_add_ip6_address(&i->netif, &ip, &k) != ERR_OK || k < 0)
        return -ENOBUFS;
    i->prefix6[k] = (uint8_t)prefix;
    netif_ip6_addr_set_valid_life(&i->netif, k, IP6_ADDR_LIFE_STATIC);
    netif_ip6_addr_set_pref_life(&i->netif, k, IP6_ADDR_LIFE_STATIC);
    if (!i->device) // nobody else can have it
        netif_ip6_addr_set_state(&i->netif, k, IP6_ADDR_PREFERRED);
    return 0;
}

int net_address_add(struct net_interface *i, const ip_addr_t *a, unsigned prefix) {
    int err = IP_IS_V4(a) ? add4(i, ip_2_ip4(a), prefix) : add6(i, a, prefix);
    net_timers_check();
    return err;
}

int net_address_remove(struct net_interface *i, const ip_addr_t *a, unsigned prefix) {
    if (IP_IS_V4(a)) {
        if (!ip4_addr_cmp(netif_ip4_addr(&i->netif), ip_2_ip4(a)) || ip4_addr_isany(ip_2_ip4(a)) ||
            prefix != net_address_prefix(i, a))
            return -EADDRNOTAVAIL;
        stop_dhcp(i);
        netif_set_addr(&i->netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
        return 0;
    }
    int k = find6(i, a);
    if (k < 0 || prefix != net_address_prefix(i, a))
        return -EADDRNOTAVAIL;
    netif_ip6_addr_set_state(&i->netif, (s8_t)k, IP6_ADDR_INVALID);
    i->prefix6[k] = 0;
    return 0;
}
