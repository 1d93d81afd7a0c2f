// RTM_GETADDR, RTM_NEWADDR, RTM_DELADDR: the interfaces' addresses.
#include "kernel/string.h"
#include "lwip/dhcp.h"
#include "net/netlink/address.h"
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#define FOREVER 0xffffffffu
#define LEASE_UNIT 60u // seconds: dhcp.lease_used

// --- What an interface has ---

// How long an address of DHCP stays; FOREVER: as long as the machine.
static uint32_t lease_left(struct net_interface *i) {
    const struct dhcp *d = netif_dhcp_data(&i->netif);
    if (i->how != NET_DHCP || !d || !d->offered_t0_lease || d->offered_t0_lease == FOREVER)
        return FOREVER;
    uint64_t used = (uint64_t)d->lease_used * LEASE_UNIT;
    return used < d->offered_t0_lease ? (uint32_t)(d->offered_t0_lease - used) : 0;
}

static bool describe4(struct net_interface *i, struct interface_address *a) {
    if (ip4_addr_isany_val(*netif_ip4_addr(&i->netif)))
        return false;
    *a = (struct interface_address){.interface = i, .ip = *netif_ip_addr4(&i->netif)};
    a->prefix = net_address_prefix(i, &a->ip);
    a->valid = a->preferred = lease_left(i);
    a->flags = a->valid == FOREVER ? IFA_F_PERMANENT : 0;
    a->scope = ip4_addr_isloopback(ip_2_ip4(&a->ip)) ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    a->has_broadcast = i->device && a->prefix < 31;
    a->broadcast = ip_2_ip4(&a->ip)->addr | ~netif_ip4_netmask(&i->netif)->addr;
    return true;
}

static bool describe6(struct net_interface *i, unsigned k, struct interface_address *a) {
    uint8_t state = netif_ip6_addr_state(&i->netif, k);
    const ip6_addr_t *ip = netif_ip6_addr(&i->netif, k);
    if (ip6_addr_isinvalid(state))
        return false;
    *a = (struct interface_address){
        .interface = i, .valid = FOREVER, .preferred = FOREVER, .ip = *netif_ip_addr6(&i->netif, k)};
    a->prefix = net_address_prefix(i, &a->ip);
    if (netif_ip6_addr_isstatic(&i->netif, k)) {
        a->flags = IFA_F_PERMANENT;
    } else {
        a->valid = netif_ip6_addr_valid_life(&i->netif, k);
        a->preferred = netif_ip6_addr_pref_life(&i->netif, k);
        a->flags = IFA_F_MANAGETEMPADDR;
    }
    if (ip6_addr_istentative(state))
        a->flags |= IFA_F_TENTATIVE;
    else if (ip6_addr_isduplicated(state))
        a->flags |= IFA_F_TENTATIVE | IFA_F_DADFAILED;
    else if (!ip6_addr_ispreferred(state))
        a->flags |= IFA_F_DEPRECATED;
    a->scope = ip6_addr_isloopback(ip)    ? RT_SCOPE_HOST
               : ip6_addr_islinklocal(ip) ? RT_SCOPE_LINK
               : ip6_addr_issitelocal(ip) ? RT_SCOPE_SITE
                                          : RT_SCOPE_UNIVERSE;
    return true;
}

void interface_addresses(int family, int index, void (*fn)(void *ctx, const struct interface_address *a), void *ctx) {
    struct interface_address a;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        if (index && i->index != index)
            continue;
        if (family == AF_INET && describe4(i, &a))
            fn(ctx, &a);
        for (unsigned k = 0; family == AF_INET6 && k < LWIP_IPV6_NUM_ADDRESSES; k++)
            if (describe6(i, k, &a))
                fn(ctx, &a);
    }
}

// --- Messages ---

void address_message(const struct netlink_request *r, int type, const struct interface_address *a) {
    bool v4 = IP_IS_V4(&a->ip);
    struct ifaddrmsg h = {.ifa_family = v4 ? AF_INET : AF_INET6,
                          .ifa_prefixlen = (uint8_t)a->prefix,
                          .ifa_flags = (uint8_t)a->flags,
                          .ifa_scope = a->scope,
                          .ifa_index = (uint32_t)a->interface->index};
    struct ifa_cacheinfo life = {.ifa_prefered = a->preferred, .ifa_valid = a->valid};
    struct message m = message_begin(r, type, &h, sizeof(h));
    message_put_ip(&m, IFA_ADDRESS, &a->ip);
    if (v4) {
        message_put_ip(&m, IFA_LOCAL, &a->ip);
        if (a->has_broadcast)
            message_put(&m, IFA_BROADCAST, &a->broadcast, 4);
        message_put_text(&m, IFA_LABEL, a->interface->name);
        message_put_u32(&m, IFA_FLAGS, a->flags);
        message_put(&m, IFA_CACHEINFO, &life, sizeof(life));
    } else {
        message_put(&m, IFA_CACHEINFO, &life, sizeof(life));
        message_put_u32(&m, IFA_FLAGS, a->flags);
    }
    message_end(&m);
}

static void put_one(void *ctx, const struct interface_address *a) { address_message(ctx, RTM_NEWADDR, a); }

int address_dump(struct netlink_request *r) {
    const struct nlattr *at[IFA_MAX + 1];
    const struct ifaddrmsg *h = request_header(r, sizeof(*h));
    const struct rtgenmsg *g = request_header(r, sizeof(*g));
    int index = 0;
    if (netlink_option(r->from, NETLINK_GET_STRICT_CHK)) {
        bool v6 = g->rtgen_family == AF_INET6;
        if (!h)
            return request_fail(r, -EINVAL, NULL,
                                v6 ? "Invalid header for address dump request"
                                   : "ipv4: Invalid header for address dump request");
        if (h->ifa_prefixlen || h->ifa_flags || h->ifa_scope)
            return request_fail(r, -EINVAL, NULL,
                                v6 ? "Invalid values in header for address dump request"
                                   : "ipv4: Invalid values in header for address dump request");
        int err = request_attributes(r, sizeof(*h), at, IFA_MAX, true);
        if (err < 0)
            return err;
        index = (int)h->ifa_index;
        r->filtered = index != 0;
        if (index && !net_interface_find(index))
            return -ENODEV;
    }
    if (g->rtgen_family != AF_INET6)
        interface_addresses(AF_INET, index, put_one, r);
    if (g->rtgen_family != AF_INET)
        interface_addresses(AF_INET6, index, put_one, r);
    return 0;
}

// --- One address ---

// The header and the address that a request names. 0 or -errno.
static int named(struct netlink_request *r, const struct nlattr **at, const struct ifaddrmsg **h, ip_addr_t *ip) {
    *h = request_header(r, sizeof(**h));
    int err = request_attributes(r, sizeof(**h), at, IFA_MAX, false);
    const struct nlattr *a = err < 0 ? NULL : at[IFA_LOCAL] ? at[IFA_LOCAL] : at[IFA_ADDRESS];
    if (err < 0)
        return err;
    return a ? attribute_ip(a, (*h)->ifa_family, ip) : -EINVAL;
}

struct wanted {
    const ip_addr_t *ip;
    struct netlink_request *r;
    bool found;
};

static void put_if_wanted(void *ctx, const struct interface_address *a) {
    struct wanted *w = ctx;
    if (!w->found && ip_addr_cmp_zoneless(&a->ip, w->ip)) {
        w->found = true;
        address_message(w->r, RTM_NEWADDR, a);
    }
}

int address_get6(struct netlink_request *r) {
    const struct nlattr *at[IFA_MAX + 1];
    const struct ifaddrmsg *h;
    struct wanted w = {.r = r};
    ip_addr_t ip;
    int err = named(r, at, &h, &ip);
    if (err < 0)
        return err;
    w.ip = &ip;
    interface_addresses(AF_INET6, (int)h->ifa_index, put_if_wanted, &w);
    return w.found ? 0 : -EADDRNOTAVAIL;
}

int address_add(struct netlink_request *r) {
    const struct nlattr *at[IFA_MAX + 1];
    const struct ifaddrmsg *h;
    ip_addr_t ip, other;
    int err = named(r, at, &h, &ip);
    if (err < 0)
        return err;
    bool v4 = h->ifa_family == AF_INET;
    if (h->ifa_prefixlen > (v4 ? 32 : 128))
        return request_fail(r, -EINVAL, NULL, v4 ? "ipv4: Invalid prefix length" : "Invalid prefix length");
    struct net_interface *i = net_interface_find((int)h->ifa_index);
    if (!i)
        return request_fail(r, -ENODEV, NULL, v4 ? "ipv4: Device not found" : "Unable to find the interface");
    if (at[IFA_LOCAL] && at[IFA_ADDRESS] && attribute_ip(at[IFA_ADDRESS], h->ifa_family, &other) == 0 &&
        !ip_addr_cmp_zoneless(&ip, &other))
        return request_fail(r, -EOPNOTSUPP, at[IFA_ADDRESS], "Addresses of peers are not supported");
    err = net_address_add(i, &ip, h->ifa_prefixlen);
    if (err == -EEXIST && (r->header->nlmsg_flags & NLM_F_REPLACE) && !(r->header->nlmsg_flags & NLM_F_EXCL))
        return 0; // there are no lifetimes to change
    if (err == -EEXIST)
        return request_fail(r, err, NULL, v4 ? "ipv4: Address already assigned" : "address already assigned");
    if (err == -ENOBUFS)
        return request_fail(r, err, NULL, "There is no room for another address at this interface");
    return err;
}

int address_delete(struct netlink_request *r) {
    const struct nlattr *at[IFA_MAX + 1];
    const struct ifaddrmsg *h;
    ip_addr_t ip;
    int err = named(r, at, &h, &ip);
    if (err < 0)
        return err;
    bool v4 = h->ifa_family == AF_INET;
    struct net_interface *i = net_interface_find((int)h->ifa_index);
    if (!i)
        return request_fail(r, -ENODEV, NULL, v4 ? "ipv4: Device not found" : "Unable to find the interface");
    err = net_address_remove(i, &ip, h->ifa_prefixlen);
    return err < 0 ? request_fail(r, err, NULL, v4 ? "ipv4: Address not found" : "address not found") : 0;
}
