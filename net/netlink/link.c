// RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK: interfaces. The attributes are those of Linux as far as they say something here.
#include "kernel/string.h"
#include "net/inet/interface.h"
#include "net/inet/sysctl.h"
#include "net/netlink/netlink.h"
#include <linux/ip.h>
#include <linux/rtnetlink.h>

#define RTEXT_SKIP_STATS 8u
#define GSO_MAX 65536u
#define INET6_READY 0x80000000u // IF_READY

unsigned link_flags(const struct net_interface *i) {
    unsigned flags = i->device ? IFF_BROADCAST | IFF_MULTICAST : IFF_LOOPBACK;
    if (!i->up)
        return flags;
    return flags | IFF_UP | (!i->device || i->device->link ? IFF_RUNNING | IFF_LOWER_UP : 0);
}

unsigned link_operstate(const struct net_interface *i) {
    return !i->up || (i->device && !i->device->link) ? IF_OPER_DOWN : i->device ? IF_OPER_UP : IF_OPER_UNKNOWN;
}

static void put_statistics(const struct message *m, const struct net_interface *i) {
    const struct net_statistics *st = net_interface_statistics(i);
    struct rtnl_link_stats64 all = {
        .rx_packets = st->rx_packets,
        .tx_packets = st->tx_packets,
        .rx_bytes = st->rx_bytes,
        .tx_bytes = st->tx_bytes,
        .rx_errors = st->rx_errors,
        .tx_errors = st->tx_errors,
        .rx_dropped = st->rx_dropped,
        .tx_dropped = st->tx_dropped,
        .multicast = st->multicast,
    };
    struct rtnl_link_stats few;
    message_put(m, IFLA_STATS64, &all, sizeof(all));
    uint32_t *to = (uint32_t *)&few;
    const uint64_t *from = (const uint64_t *)&all;
    for (unsigned k = 0; k < sizeof(few) / sizeof(*to); k++) // the same fields, in the same order
        to[k] = (uint32_t)from[k];
    message_put(m, IFLA_STATS, &few, sizeof(few));
}

static void put_protocols(const struct message *m, const struct net_interface *i) {
    uint32_t conf[IPV4_DEVCONF_MAX] = {0};
    struct ifla_cacheinfo cache = {.max_reasm_len = 65535, .reachable_time = 30000, .retrans_time = 1000};
    conf[IPV4_DEVCONF_MC_FORWARDING - 1] = 0;
    conf[IPV4_DEVCONF_ACCEPT_REDIRECTS - 1] = conf[IPV4_DEVCONF_SEND_REDIRECTS - 1] =
        conf[IPV4_DEVCONF_SHARED_MEDIA - 1] = 1;
    size_t spec = message_nest(m, IFLA_AF_SPEC), inet = message_nest(m, AF_INET);
    message_put(m, IFLA_INET_CONF, conf, sizeof(conf));
    message_nest_end(m, inet);
    size_t inet6 = message_nest(m, AF_INET6);
    message_put_u32(m, IFLA_INET6_FLAGS, i->up ? INET6_READY : 0);
    message_put(m, IFLA_INET6_CACHEINFO, &cache, sizeof(cache));
    message_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_EUI64);
    message_nest_end(m, inet6);
    message_nest_end(m, spec);
}

static void link_body(const struct message *m, const struct net_interface *i, bool statistics) {
    static const uint8_t zero[6], broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct net_device *dev = i->device;
    uint32_t segments = 65535, changes = dev ? 1 : 0;
    message_put_text(m, IFLA_IFNAME, i->name);
    message_put_u32(m, IFLA_TXQLEN, 1000);
    message_put_u8(m, IFLA_OPERSTATE, link_operstate(i));
    message_put_u8(m, IFLA_LINKMODE, 0);
    message_put_u32(m, IFLA_MTU, i->mtu);
    message_put_u32(m, IFLA_MIN_MTU, dev ? INTERFACE_MTU_MIN : 0);
    message_put_u32(m, IFLA_MAX_MTU, dev ? INTERFACE_MTU_MAX : 0);
    message_put_u32(m, IFLA_GROUP, 0);
    message_put_u32(m, IFLA_PROMISCUITY, 0);
    message_put_u32(m, IFLA_ALLMULTI, 0);
    message_put_u32(m, IFLA_NUM_TX_QUEUES, 1);
    message_put_u32(m, IFLA_GSO_MAX_SEGS, segments);
    message_put_u32(m, IFLA_GSO_MAX_SIZE, GSO_MAX);
    message_put_u32(m, IFLA_GRO_MAX_SIZE, GSO_MAX);
    message_put_u32(m, IFLA_TSO_MAX_SIZE, GSO_MAX);
    message_put_u32(m, IFLA_TSO_MAX_SEGS, segments);
    message_put_u32(m, IFLA_NUM_RX_QUEUES, 1);
    message_put_u8(m, IFLA_CARRIER, !dev || dev->link);
    message_put_text(m, IFLA_QDISC, "noqueue");
    message_put_u32(m, IFLA_CARRIER_CHANGES, changes);
    message_put_u32(m, IFLA_CARRIER_UP_COUNT, changes);
    message_put_u32(m, IFLA_CARRIER_DOWN_COUNT, 0);
    message_put_u8(m, IFLA_PROTO_DOWN, 0);
    struct rtnl_link_ifmap map = {0};
    message_put(m, IFLA_MAP, &map, sizeof(map));
    message_put(m, IFLA_ADDRESS, dev ? dev->mac : zero, 6);
    message_put(m, IFLA_BROADCAST, dev ? broadcast : zero, 6);
    if (statistics)
        put_statistics(m, i);
    size_t xdp = message_nest(m, IFLA_XDP);
    message_put_u8(m, IFLA_XDP_ATTACHED, 0);
    message_nest_end(m, xdp);
    put_protocols(m, i);
}

static struct ifinfomsg header_of(const struct net_interface *i, unsigned family, unsigned changed) {
    return (struct ifinfomsg){.ifi_family = (uint8_t)family,
                              .ifi_type = i->device ? ARPHRD_ETHER : ARPHRD_LOOPBACK,
                              .ifi_index = i->index,
                              .ifi_flags = link_flags(i),
                              .ifi_change = changed};
}

static void put_link(const struct netlink_request *r, int type, struct net_interface *i, unsigned changed,
                     bool statistics) {
    struct ifinfomsg h = header_of(i, AF_UNSPEC, changed);
    struct message m = message_begin(r, type, &h, sizeof(h));
    link_body(&m, i, statistics);
    message_end(&m);
}

void link_message(const struct netlink_request *r, int type, struct net_interface *i, unsigned flags_changed) {
    put_link(r, type, i, flags_changed, true);
}

// --- Asking ---

static bool wants_statistics(const struct nlattr *mask) {
    uint32_t v;
    return !mask || attribute_u32(mask, &v) < 0 || !(v & RTEXT_SKIP_STATS);
}

int link_dump(struct netlink_request *r) {
    const struct nlattr *at[IFLA_MAX + 1] = {NULL};
    const struct ifinfomsg *h = request_header(r, sizeof(*h));
    bool strict = netlink_option(r->from, NETLINK_GET_STRICT_CHK);
    if (strict && !h)
        return request_fail(r, -EINVAL, NULL, "Invalid header for link dump");
    if (strict && (h->ifi_type || h->ifi_flags || h->ifi_change))
        return request_fail(r, -EINVAL, NULL, "Invalid values in header for link dump request");
    if (strict && h->ifi_index)
        return request_fail(r, -EINVAL, NULL, "Filter by device index not supported for link dumps");
    int err = h ? request_attributes(r, sizeof(*h), at, IFLA_MAX, strict) : 0;
    if (err < 0)
        return err;
    r->filtered = at[IFLA_MASTER] || at[IFLA_LINKINFO];
    if (r->filtered) // no interface is a part of another, nor of a special kind
        return 0;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        put_link(r, RTM_NEWLINK, i, 0, wants_statistics(at[IFLA_EXT_MASK]));
    return 0;
}

// What IPv6 says of them.
int link6_dump(struct netlink_request *r) {
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        struct ifinfomsg h = header_of(i, AF_INET6, 0);
        struct message m = message_begin(r, RTM_NEWLINK, &h, sizeof(h));
        static const uint8_t zero[6];
        message_put_text(&m, IFLA_IFNAME, i->name);
        message_put(&m, IFLA_ADDRESS, i->device ? i->device->mac : zero, 6);
        message_put_u32(&m, IFLA_MTU, i->mtu);
        message_put_u8(&m, IFLA_OPERSTATE, link_operstate(i));
        size_t info = message_nest(&m, IFLA_PROTINFO | NLA_F_NESTED);
        message_put_u32(&m, IFLA_INET6_FLAGS, i->up ? INET6_READY : 0);
        message_nest_end(&m, info);
        message_end(&m);
    }
    return 0;
}

// The interface that a request names. ERR_PTR.
static struct net_interface *named(struct netlink_request *r, const struct ifinfomsg *h, const struct nlattr **at) {
    char name[16];
    const struct nlattr *a = at[IFLA_IFNAME] ? at[IFLA_IFNAME] : at[IFLA_ALT_IFNAME];
    struct net_interface *i = NULL;
    if (h->ifi_index < 0)
        return ERR_PTR(request_fail(r, -EINVAL, NULL, "ifindex can't be negative"));
    if (h->ifi_index)
        i = net_interface_find(h->ifi_index);
    else if (!a)
        return ERR_PTR(-EINVAL);
    else if (attribute_name(a, name) < 0)
        return ERR_PTR(request_fail(r, -ERANGE, a, "Attribute failed policy validation"));
    else
        i = net_interface_find_name(name);
    return i ? i : ERR_PTR(-ENODEV);
}

int link_get(struct netlink_request *r) {
    const struct nlattr *at[IFLA_MAX + 1];
    const struct ifinfomsg *h = request_header(r, sizeof(*h));
    int err = request_attributes(r, sizeof(*h), at, IFLA_MAX, netlink_option(r->from, NETLINK_GET_STRICT_CHK));
    struct net_interface *i = err < 0 ? ERR_PTR(err) : named(r, h, at);
    if (IS_ERR(i))
        return PTR_ERR(i);
    put_link(r, RTM_NEWLINK, i, 0, wants_statistics(at[IFLA_EXT_MASK]));
    return 0;
}

// --- Changing ---

int link_change(struct netlink_request *r) {
    const struct nlattr *at[IFLA_MAX + 1];
    const struct ifinfomsg *h = request_header(r, sizeof(*h));
    int err = request_attributes(r, sizeof(*h), at, IFLA_MAX, false);
    struct net_interface *i = err < 0 ? ERR_PTR(err) : named(r, h, at);
    bool anonymous = !err && !h->ifi_index && !at[IFLA_IFNAME] && !at[IFLA_ALT_IFNAME];
    if (r->header->nlmsg_type == RTM_NEWLINK &&
        (i == ERR_PTR(-ENODEV) || anonymous)) // a new one, of a kind that is not there
        return r->header->nlmsg_flags & NLM_F_CREATE ? request_fail(r, -EOPNOTSUPP, NULL, "Unknown device type")
                                                     : -ENODEV;
    if (IS_ERR(i))
        return PTR_ERR(i);
    if (r->header->nlmsg_type == RTM_NEWLINK && (r->header->nlmsg_flags & NLM_F_EXCL))
        return -EEXIST;
    static const uint8_t refused[] = {IFLA_ADDRESS,    IFLA_BROADCAST,   IFLA_MASTER, IFLA_LINKINFO,
                                      IFLA_NET_NS_PID, IFLA_NET_NS_FD,   IFLA_MAP,    IFLA_PROTO_DOWN,
                                      IFLA_XDP,        IFLA_VFINFO_LIST, IFLA_IFALIAS};
    for (unsigned k = 0; k < sizeof(refused); k++)
        if (at[refused[k]])
            return -EOPNOTSUPP;
    if (h->ifi_index && at[IFLA_IFNAME] && strcmp(attribute_data(at[IFLA_IFNAME]), i->name) != 0)
        return -EOPNOTSUPP; // renaming
    uint32_t mtu;
    if (at[IFLA_MTU]) {
        err = attribute_u32(at[IFLA_MTU], &mtu);
        if (!err && i->device && mtu < INTERFACE_MTU_MIN)
            err = request_fail(r, -EINVAL, NULL, "mtu less than device minimum");
        if (!err && i->device && mtu > INTERFACE_MTU_MAX)
            err = request_fail(r, -EINVAL, NULL, "mtu greater than device maximum");
        if (!err)
            err = net_interface_set_mtu(i, mtu);
        if (err < 0)
            return err;
    }
    unsigned change = h->ifi_change ? h->ifi_change : ~0u;
    if ((h->ifi_flags || h->ifi_change) && (change & IFF_UP))
        err = net_interface_set_up(i, h->ifi_flags & IFF_UP);
    return err;
}
