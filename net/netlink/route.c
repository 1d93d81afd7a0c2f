// NETLINK_ROUTE: which request goes where; see rtnetlink(7).
#include "fs/vfs.h"
#include "kernel/log.h"
#include "net/netlink/netlink.h"
#include <linux/capability.h>
#include <linux/rtnetlink.h>

#define AF_BRIDGE 7

typedef int (*handler)(struct netlink_request *r);
struct entry {
    uint16_t type;
    uint8_t family; // AF_UNSPEC: all that have no entry of their own
    handler one, dump;
};
static const struct entry table[] = {
    {RTM_GETLINK, AF_INET6, NULL, link6_dump},       {RTM_GETLINK, AF_BRIDGE, NULL, empty_dump},
    {RTM_GETLINK, AF_UNSPEC, link_get, link_dump},   {RTM_NEWLINK, AF_UNSPEC, link_change, NULL},
    {RTM_SETLINK, AF_UNSPEC, link_change, NULL},     {RTM_GETADDR, AF_INET6, address_get6, address_dump},
    {RTM_GETADDR, AF_UNSPEC, NULL, address_dump},    {RTM_NEWADDR, AF_INET, address_add, NULL},
    {RTM_NEWADDR, AF_INET6, address_add, NULL},      {RTM_DELADDR, AF_INET, address_delete, NULL},
    {RTM_DELADDR, AF_INET6, address_delete, NULL},   {RTM_GETROUTE, AF_INET, route_get, route_dump},
    {RTM_GETROUTE, AF_INET6, route_get, route_dump}, {RTM_GETROUTE, AF_UNSPEC, NULL, route_dump},
    {RTM_NEWROUTE, AF_INET, route_add, NULL},        {RTM_NEWROUTE, AF_INET6, route_add, NULL},
    {RTM_DELROUTE, AF_INET, route_delete, NULL},     {RTM_DELROUTE, AF_INET6, route_delete, NULL},
    {RTM_GETNEIGH, AF_BRIDGE, NULL, empty_dump},     {RTM_GETNEIGH, AF_UNSPEC, neighbour_get, neighbour_dump},
    {RTM_GETRULE, AF_UNSPEC, NULL, rule_dump},       {RTM_GETQDISC, AF_UNSPEC, NULL, qdisc_dump},
    {RTM_GETNEXTHOP, AF_UNSPEC, NULL, empty_dump},
};

static handler find(unsigned type, unsigned family, bool dump) {
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct entry *e = &table[i];
        handler fn = dump ? e->dump : e->one;
        if (e->type == type && fn && (e->family == AF_UNSPEC || e->family == family))
            return fn;
    }
    return NULL;
}

static bool is_get(unsigned type) { return (type & 3) == 2; }

bool netlink_is_dump(int protocol, const struct nlmsghdr *h) {
    if (protocol == NETLINK_SOCK_DIAG)
        return h->nlmsg_flags & NLM_F_DUMP;
    return h->nlmsg_type <= RTM_MAX && is_get(h->nlmsg_type) && (h->nlmsg_flags & NLM_F_DUMP) &&
           h->nlmsg_len > sizeof(*h);
}

int empty_dump(struct netlink_request *r) { return 0; }

int rtnetlink_request(struct netlink_request *r) {
    unsigned type = r->header->nlmsg_type;
    const struct rtgenmsg *g = request_header(r, sizeof(*g));
    if (type > RTM_MAX)
        return -EOPNOTSUPP;
    if (!g)
        return 0;
    if (!is_get(type) && !capable(CAP_NET_ADMIN))
        return -EPERM;
    handler fn = find(type, g->rtgen_family, r->multi);
    if (!fn) {
        log_once(LOG_INFO, "netlink: a request of type %u for family %u is not supported (EOPNOTSUPP)", type,
                 g->rtgen_family);
        return -EOPNOTSUPP;
    }
    r->dumps = r->multi;
    net_lock();
    int err = fn(r);
    net_unlock();
    return err;
}
