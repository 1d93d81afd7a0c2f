// Neighbours on the links, as netlink, /proc/net/arp and ioctl(2) tell them.
#ifndef NET_NETLINK_NEIGHBOUR_H
#define NET_NETLINK_NEIGHBOUR_H

#include "net/lwip/core.h"

struct neighbour {
    struct net_interface *interface;
    ip_addr_t ip;
    uint8_t mac[6]; // when the state is not NUD_INCOMPLETE
    uint16_t state; // NUD_*
    bool router;
};

// Calls fn for each of a family (AF_INET, AF_INET6), true ends it. Under the core lock. True: it was ended.
bool neighbours(int family, bool (*fn)(void *ctx, const struct neighbour *n), void *ctx);

#endif
