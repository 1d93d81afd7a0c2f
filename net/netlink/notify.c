// Groups of NETLINK_ROUTE: who has joined one is told of changes of links and addresses. lwIP calls under the core lock.
#include "kernel/string.h"
#include "net/inet/interface.h"
#include "net/netlink/address.h"
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

static void send(unsigned group, struct seqbuf *out) {
    if (!out->failed && out->len)
        netlink_multicast(NETLINK_ROUTE, group, out->data, out->len, 0, NULL);
    seq_free(out);
}

static void tell_link(struct net_interface *i, unsigned changed) {
    struct seqbuf out = {0};
    struct netlink_request r = {.out = &out};
    if (!netlink_has_listeners(NETLINK_ROUTE, RTNLGRP_LINK))
        return;
    link_message(&r, RTM_NEWLINK, i, changed);
    send(RTNLGRP_LINK, &out);
}

static void take_if_same(void *ctx, const struct interface_address *a) {
    struct interface_address *to = ctx;
    if (ip_addr_cmp_zoneless(&a->ip, &to->ip))
        *to = *a;
}

// An address that is there, or that was, with what is known of it then.
static void tell_address(struct net_interface *i, const ip_addr_t *ip, unsigned prefix, bool gone) {
    unsigned group = IP_IS_V4(ip) ? RTNLGRP_IPV4_IFADDR : RTNLGRP_IPV6_IFADDR;
    struct seqbuf out = {0};
    struct netlink_request r = {.out = &out};
    if (!netlink_has_listeners(NETLINK_ROUTE, group) || ip_addr_isany(ip))
        return;
    struct interface_address a = {
        .interface = i, .ip = *ip, .prefix = prefix, .valid = ~0u, .preferred = ~0u, .flags = IFA_F_PERMANENT};
    if (!gone) {
        interface_addresses(IP_IS_V4(ip) ? AF_INET : AF_INET6, i->index, take_if_same, &a);
    } else if (IP_IS_V4(ip)) {
        a.has_broadcast = i->device && prefix < 31;
        a.broadcast = ip_2_ip4(ip)->addr | (prefix ? lwip_htonl(prefix < 32 ? ~0u >> prefix : 0) : ~0u);
    } else if (ip6_addr_islinklocal(ip_2_ip6(ip))) {
        a.scope = RT_SCOPE_LINK;
    }
    address_message(&r, gone ? RTM_DELADDR : RTM_NEWADDR, &a);
    send(group, &out);
}

static unsigned mask_bits(const ip_addr_t *mask) { return net_mask_bits(ip_2_ip4(mask)->addr); }

static void changed4(struct net_interface *i, const struct ipv4_changed_s *c) {
    ip_addr_t now = i->netif.ip_addr;
    if (ip_addr_cmp(c->old_address, &now) && ip_addr_cmp(c->old_netmask, &i->netif.netmask))
        return;
    tell_address(i, c->old_address, mask_bits(c->old_netmask), true);
    tell_address(i, &now, mask_bits(&i->netif.netmask), false);
}

static void changed(struct netif *netif, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args) {
    struct net_interface *i = netif_interface(netif);
    if (reason & LWIP_NSC_STATUS_CHANGED)
        tell_link(i, IFF_UP);
    if (reason & LWIP_NSC_LINK_CHANGED)
        tell_link(i, 0);
    if (reason & LWIP_NSC_IPV4_SETTINGS_CHANGED)
        changed4(i, &args->ipv4_changed);
    if (reason & LWIP_NSC_IPV6_SET) {
        tell_address(i, args->ipv6_set.old_address, 64, true);
        tell_address(i, &netif->ip6_addr[args->ipv6_set.addr_index],
                     net_address_prefix(i, &netif->ip6_addr[args->ipv6_set.addr_index]), false);
    }
    if (reason & LWIP_NSC_IPV6_ADDR_STATE_CHANGED) {
        unsigned k = (unsigned)args->ipv6_addr_state_changed.addr_index;
        bool gone = ip6_addr_isinvalid(netif_ip6_addr_state(netif, k));
        // A new address is told of when it is known to be nobody else's, as Linux does.
        if (gone || ip6_addr_isvalid(netif_ip6_addr_state(netif, k)) !=
                        ip6_addr_isvalid(args->ipv6_addr_state_changed.old_state))
            tell_address(i, &netif->ip6_addr[k], net_address_prefix(i, &netif->ip6_addr[k]), gone);
    }
}

void netlink_notify_start(void) {
    NETIF_DECLARE_EXT_CALLBACK(callback)
    static bool started;
    net_lock();
    if (!started)
        netif_add_ext_callback(&callback, changed);
    started = true;
    net_unlock();
}
