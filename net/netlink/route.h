// The tables of routes, as netlink and /proc/net tell them.
#ifndef NET_NETLINK_ROUTE_H
#define NET_NETLINK_ROUTE_H

#include "net/lwip/core.h"

struct route_row {
    struct net_route route;
    uint8_t table, type, protocol, scope; // RT_TABLE_*, RTN_*, RTPROT_*, RT_SCOPE_*
};

// All routes of a family (AF_INET, AF_INET6), those of the table `local` too. Under the core lock.
void route_rows(int family, void (*fn)(void *ctx, const struct route_row *row), void *ctx);

#endif
