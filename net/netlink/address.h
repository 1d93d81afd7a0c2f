// The addresses of interfaces, as netlink and /proc/net tell them.
#ifndef NET_NETLINK_ADDRESS_H
#define NET_NETLINK_ADDRESS_H

#include "net/netlink/netlink.h"

struct interface_address {
    struct net_interface *interface;
    ip_addr_t ip;
    unsigned prefix;
    uint32_t flags;            // IFA_F_*
    uint8_t scope;             // RT_SCOPE_*
    bool has_broadcast;        // IPv4
    uint32_t broadcast;        // in network order
    uint32_t valid, preferred; // seconds; ~0: for ever
};

// All addresses of a family (AF_INET, AF_INET6), of one interface or (0) of all. Under the core lock.
void interface_addresses(int family, int index, void (*fn)(void *ctx, const struct interface_address *a), void *ctx);
void address_message(const struct netlink_request *r, int type, const struct interface_address *a);

#endif
