// ioctl(2) of sockets about interfaces, routes and neighbours (netdevice(7)), as old tools and C libraries ask. Which commands there are
// depends on the socket's family as on Linux: what IPv4 knows asks for a socket of AF_INET, what an interface knows for any.
// User memory is copied before and after, never under the core lock.
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "kernel/uts.h"
#include "lwip/etharp.h"
#include "net/inet/inet.h"
#include "net/inet/interface.h"
#include "net/netlink/address.h"
#include "net/netlink/neighbour.h"
#include <linux/capability.h>
#include <linux/ipv6_route.h>
#include <linux/neighbour.h>
#include <linux/sockios.h>

#define ATF_COM 0x02
#define ETHTOOL_GDRVINFO 0x3u
#define ETHTOOL_GLINK 0xau
#define RTF_GATEWAY 0x2
#define RTF_HOST 0x4
#define RTF_REJECT 0x200

struct ifconf {
    int32_t len, pad;
    uaddr_t buffer;
};
struct sockaddr_ip { // struct sockaddr_in
    uint16_t family, port;
    uint32_t ip;
    char zero[8];
};
struct rtentry {
    uint64_t pad1;
    struct sockaddr_ip destination, gateway, mask;
    uint16_t flags;
    int16_t pad2;
    uint64_t pad3, pad4;
    int16_t metric;
    uaddr_t device;
    uint64_t mtu, window;
    uint16_t irtt;
};
_Static_assert(sizeof(struct rtentry) == 120, "ABI");
_Static_assert(sizeof(struct in6_rtmsg) == 80, "ABI");
struct arpreq {
    struct sockaddr_ip protocol;
    struct {
        uint16_t family;
        uint8_t data[14];
    } hardware;
    int32_t flags;
    struct sockaddr_ip mask;
    char device[16];
};
_Static_assert(sizeof(struct arpreq) == 68, "ABI");
struct in6_ifreq {
    uint8_t ip[16];
    uint32_t prefix;
    int32_t index;
};

static bool may_change(void) { return capable(CAP_NET_ADMIN); }

// --- SIOCGIFCONF ---

struct list_of {
    struct ifreq *to;
    size_t count, room;
};

static void list_one(void *ctx, const struct interface_address *a) {
    struct list_of *l = ctx;
    if (l->to && l->count < l->room) {
        struct ifreq *r = &l->to[l->count];
        memset(r, 0, sizeof(*r));
        str_copy(r->name, a->interface->name, sizeof(r->name));
        r->inet.family = AF_INET;
        r->inet.ip = ip_2_ip4(&a->ip)->addr;
    }
    if (!l->to || l->count < l->room)
        l->count++;
}

static long get_list(uaddr_t arg) {
    struct ifconf c;
    if (copy_in_obj(&c, arg) < 0)
        return -EFAULT;
    struct list_of l = {0};
    net_lock();
    interface_addresses(AF_INET, 0, list_one, &l); // how many
    net_unlock();
    if (c.buffer && l.count) {
        l.room = c.len < 0 ? 0 : MIN(l.count, (size_t)c.len / sizeof(struct ifreq));
        l.count = 0;
        l.to = kmalloc((l.room + 1) * sizeof(struct ifreq));
        if (!l.to)
            return -ENOMEM;
        net_lock();
        interface_addresses(AF_INET, 0, list_one, &l);
        net_unlock();
    }
    long err = c.buffer && l.count ? copy_out(c.buffer, l.to, l.count * sizeof(struct ifreq)) : 0;
    kfree(l.to);
    c.len = (int32_t)(l.count * sizeof(struct ifreq));
    return err < 0 ? -EFAULT : copy_out_obj(arg, &c);
}

// --- ethtool ---

static long ethtool(struct net_interface *i, uaddr_t data) { // without a lock: interfaces stay
    uint32_t cmd;
    if (copy_in_obj(&cmd, data) < 0)
        return -EFAULT;
    if (cmd == ETHTOOL_GLINK) {
        uint32_t answer[2] = {cmd, !i->device || i->device->link};
        return copy_out_obj(data, &answer);
    }
    if (cmd == ETHTOOL_GDRVINFO && i->device) {
        struct {
            uint32_t cmd;
            char driver[32], version[32], firmware[32], bus[32], rom[32], spare[12];
            uint32_t counts[5];
        } answer = {.cmd = cmd, .driver = "virtio_net", .version = UTS_RELEASE};
        _Static_assert(sizeof(answer) == 196, "ABI");
        return copy_out_obj(data, &answer);
    }
    return -EOPNOTSUPP;
}

// --- One interface ---

// What there is to know and to change of the interface itself. Under the core lock.
static long of_interface(struct net_interface *i, unsigned cmd, struct ifreq *r) {
    switch (cmd) {
    case SIOCGIFFLAGS: r->flags = (int16_t)link_flags(i); return 0;
    case SIOCGIFMETRIC: r->value = 0; return 0;
    case SIOCGIFMTU: r->value = (int32_t)i->mtu; return 0;
    case SIOCGIFINDEX: r->value = i->index; return 0;
    case SIOCGIFTXQLEN: r->value = 1000; return 0;
    case SIOCGIFSLAVE: return -EINVAL;
    case SIOCGIFMAP: memset(&r->map, 0, sizeof(r->map)); return 0;
    case SIOCGIFHWADDR:
        memset(&r->address, 0, sizeof(r->address));
        r->address.family = i->device ? ARPHRD_ETHER : ARPHRD_LOOPBACK;
        if (i->device)
            memcpy(r->address.data, i->device->mac, 6);
        return 0;
    case SIOCSIFFLAGS: return net_interface_set_up(i, r->flags & IFF_UP);
    case SIOCSIFMTU: return r->value < 0 ? -EINVAL : net_interface_set_mtu(i, (uint32_t)r->value);
    }
    return -EOPNOTSUPP; // the others that change something
}

static long find_address(struct net_interface *i, struct interface_address *a);

static bool bad_mask(uint32_t mask) {
    uint32_t host = ~lwip_ntohl(mask);
    return host & (host + 1);
}

// The prefix of an address's class, as SIOCSIFADDR has it. -1: none.
static int class_prefix(uint32_t ip) {
    uint32_t host = lwip_ntohl(ip);
    if (!host)
        return 0;
    return !(host >> 31) ? 8 : host >> 30 == 2 ? 16 : host >> 29 == 6 ? 24 : -1;
}

static long replace_address(struct net_interface *i, const struct interface_address *old, uint32_t ip,
                            unsigned prefix) {
    ip_addr_t new = IPADDR4_INIT(ip);
    if (old) {
        int err = net_address_remove(i, &old->ip, old->prefix);
        if (err < 0)
            return err;
    }
    return ip ? net_address_add(i, &new, prefix) : 0;
}

// What IPv4 knows of the interface. Under the core lock.
static long of_address(struct net_interface *i, unsigned cmd, struct ifreq *r) {
    struct interface_address a;
    bool has = find_address(i, &a) == 0;
    if (!has && cmd != SIOCSIFADDR)
        return -EADDRNOTAVAIL;
    uint32_t ip = r->inet.ip, mask = netif_ip4_netmask(&i->netif)->addr;
    switch (cmd) {
    case SIOCSIFADDR:
        if (class_prefix(ip) < 0)
            return -EINVAL;
        if (has && ip_2_ip4(&a.ip)->addr == ip)
            return 0;
        return replace_address(i, has ? &a : NULL, ip, (unsigned)class_prefix(ip));
    case SIOCSIFNETMASK:
        if (bad_mask(ip))
            return -EINVAL;
        return ip == mask ? 0 : replace_address(i, &a, ip_2_ip4(&a.ip)->addr, net_mask_bits(ip));
    case SIOCSIFBRDADDR: return a.has_broadcast && ip == a.broadcast ? 0 : -EOPNOTSUPP; // it follows from the mask
    case SIOCSIFDSTADDR: return ip == ip_2_ip4(&a.ip)->addr ? 0 : -EOPNOTSUPP;
    }
    memset(&r->inet, 0, sizeof(r->inet));
    r->inet.family = AF_INET;
    r->inet.ip = cmd == SIOCGIFNETMASK   ? mask
                 : cmd == SIOCGIFBRDADDR ? (a.has_broadcast ? a.broadcast : 0)
                                         : ip_2_ip4(&a.ip)->addr;
    return 0;
}

static void take_first(void *ctx, const struct interface_address *a) {
    struct interface_address *to = ctx;
    if (!to->interface)
        *to = *a;
}

static long find_address(struct net_interface *i, struct interface_address *a) {
    a->interface = NULL;
    interface_addresses(AF_INET, i->index, take_first, a);
    return a->interface ? 0 : -EADDRNOTAVAIL;
}

static bool asks_address(unsigned cmd) {
    return cmd == SIOCGIFADDR || cmd == SIOCGIFBRDADDR || cmd == SIOCGIFNETMASK || cmd == SIOCGIFDSTADDR;
}
static bool sets_address(unsigned cmd) {
    return cmd == SIOCSIFADDR || cmd == SIOCSIFBRDADDR || cmd == SIOCSIFNETMASK || cmd == SIOCSIFDSTADDR;
}
static bool asks_interface(unsigned cmd) {
    switch (cmd) {
    case SIOCGIFFLAGS:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFINDEX:
    case SIOCGIFTXQLEN:
    case SIOCGIFSLAVE:
    case SIOCGIFMAP:
    case SIOCGIFHWADDR: return true;
    }
    return false;
}
static bool sets_interface(unsigned cmd) {
    switch (cmd) {
    case SIOCSIFFLAGS:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCSIFHWBROADCAST:
    case SIOCSIFSLAVE:
    case SIOCSIFMAP:
    case SIOCSIFTXQLEN:
    case SIOCSIFNAME:
    case SIOCADDMULTI:
    case SIOCDELMULTI: return true;
    }
    return false;
}

static long one_interface(unsigned cmd, uaddr_t arg) {
    struct ifreq r;
    char name[IFNAMSIZ];
    if (copy_in_obj(&r, arg) < 0)
        return -EFAULT;
    if ((sets_interface(cmd) || sets_address(cmd)) && !may_change())
        return -EPERM;
    if (sets_address(cmd) && r.inet.family != AF_INET)
        return -EINVAL;
    r.name[IFNAMSIZ - 1] = '\0';
    memcpy(name, r.name, sizeof(name));
    char *alias = strchr(name, ':');
    if (alias)
        *alias = '\0';
    net_lock();
    struct net_interface *i = net_interface_find_name(name);
    long err = !i                                       ? -ENODEV
               : cmd == SIOCETHTOOL                     ? 0
               : asks_address(cmd) || sets_address(cmd) ? of_address(i, cmd, &r)
                                                        : of_interface(i, cmd, &r);
    net_unlock();
    if (err < 0)
        return err;
    if (cmd == SIOCETHTOOL)
        return ethtool(i, r.data);
    return asks_address(cmd) || asks_interface(cmd) ? copy_out_obj(arg, &r) : 0;
}

static long get_name(uaddr_t arg) {
    struct ifreq r;
    if (copy_in_obj(&r, arg) < 0)
        return -EFAULT;
    net_lock();
    struct net_interface *i = net_interface_find(r.value);
    if (i)
        str_copy(r.name, i->name, sizeof(r.name));
    net_unlock();
    return i ? copy_out_obj(arg, &r) : -ENODEV;
}

// --- Routes ---

static long change_route(struct net_route *r, unsigned cmd, const char *device, int index, bool reject) {
    if (reject)
        return cmd == SIOCADDRT ? -EOPNOTSUPP : -ESRCH;
    net_lock();
    long err = 0;
    if (device)
        r->interface = net_interface_find_name(device);
    else if (index)
        r->interface = net_interface_find(index);
    if ((device || index) && !r->interface)
        err = -ENODEV;
    else if (cmd == SIOCADDRT && !r->interface && ip_addr_isany(&r->gateway))
        err = -ENODEV;
    else
        err = cmd == SIOCADDRT ? net_route_add(r) : net_route_remove(r);
    net_unlock();
    return err;
}

static long route4(unsigned cmd, uaddr_t arg) {
    struct rtentry e;
    struct net_route r = {0};
    char device[IFNAMSIZ];
    if (!may_change())
        return -EPERM;
    if (copy_in_obj(&e, arg) < 0)
        return -EFAULT;
    if (e.destination.family != AF_INET)
        return -EAFNOSUPPORT;
    uint32_t mask = e.mask.ip;
    if (e.flags & RTF_HOST)
        mask = ~0u;
    else if (e.mask.family != AF_INET && (mask || e.mask.family))
        return -EAFNOSUPPORT;
    else if (bad_mask(mask) || (e.destination.ip & ~mask))
        return -EINVAL;
    ip_addr_set_ip4_u32_val(r.destination, e.destination.ip);
    ip_addr_set_ip4_u32_val(r.gateway, e.gateway.family == AF_INET ? e.gateway.ip : 0);
    IP_SET_TYPE(&r.source, IPADDR_TYPE_V4);
    r.prefix = net_mask_bits(mask);
    r.metric = e.metric ? (unsigned)(uint16_t)(e.metric - 1) : 0;
    if (e.device) {
        long n = copy_in_str(device, e.device, sizeof(device));
        if (n < 0)
            return n == -EFAULT ? n : -ENODEV;
    }
    if (cmd == SIOCADDRT && (e.flags & RTF_GATEWAY) && ip_addr_isany(&r.gateway))
        return -EINVAL;
    return change_route(&r, cmd, e.device ? device : NULL, 0, e.flags & RTF_REJECT);
}

static long route6(unsigned cmd, uaddr_t arg) {
    struct in6_rtmsg e;
    struct net_route r = {0};
    if (!may_change())
        return -EPERM;
    if (copy_in_obj(&e, arg) < 0)
        return -EFAULT;
    if (e.rtmsg_dst_len > 128 || e.rtmsg_src_len)
        return -EINVAL;
    IP_SET_TYPE(&r.destination, IPADDR_TYPE_V6);
    IP_SET_TYPE(&r.gateway, IPADDR_TYPE_V6);
    IP_SET_TYPE(&r.source, IPADDR_TYPE_V6);
    memcpy(ip_2_ip6(&r.destination)->addr, &e.rtmsg_dst, 16);
    memcpy(ip_2_ip6(&r.gateway)->addr, &e.rtmsg_gateway, 16);
    r.prefix = e.rtmsg_dst_len;
    r.metric = e.rtmsg_metric;
    return change_route(&r, cmd, NULL, e.rtmsg_ifindex, e.rtmsg_flags & RTF_REJECT);
}

static long address6(unsigned cmd, uaddr_t arg) {
    struct in6_ifreq q;
    ip_addr_t ip = IPADDR6_INIT(0, 0, 0, 0);
    if (!may_change())
        return -EPERM;
    if (copy_in_obj(&q, arg) < 0)
        return -EFAULT;
    if (q.prefix > 128)
        return -EINVAL;
    memcpy(ip_2_ip6(&ip)->addr, q.ip, 16);
    net_lock();
    struct net_interface *i = net_interface_find(q.index);
    long err = !i                   ? -ENODEV
               : cmd == SIOCSIFADDR ? net_address_add(i, &ip, q.prefix)
                                    : net_address_remove(i, &ip, q.prefix);
    net_unlock();
    return err;
}

// --- Neighbours ---

struct search {
    uint32_t ip;
    const struct net_interface *interface; // NULL: any
    struct neighbour found;
};

static bool same(void *ctx, const struct neighbour *n) {
    struct search *s = ctx;
    if (ip_2_ip4(&n->ip)->addr != s->ip || (s->interface && n->interface != s->interface))
        return false;
    s->found = *n;
    return true;
}

static long arp(unsigned cmd, uaddr_t arg) {
    struct arpreq q;
    if (cmd != SIOCGARP && !may_change())
        return -EPERM;
    if (copy_in_obj(&q, arg) < 0)
        return -EFAULT;
    if (q.protocol.family != AF_INET)
        return -EPFNOSUPPORT;
    q.device[sizeof(q.device) - 1] = '\0';
    struct search s = {.ip = q.protocol.ip};
    long err = 0;
    net_lock();
    if (q.device[0] && !(s.interface = net_interface_find_name(q.device))) {
        err = -ENODEV;
    } else if (cmd == SIOCSARP) {
        ip4_addr_t ip = {s.ip};
        struct eth_addr mac;
        memcpy(mac.addr, q.hardware.data, sizeof(mac.addr));
        err = q.hardware.family != ARPHRD_ETHER ? -EINVAL : net_errno(etharp_add_static_entry(&ip, &mac));
    } else if (!neighbours(AF_INET, same, &s)) {
        err = -ENXIO;
    } else if (cmd == SIOCDARP) {
        ip4_addr_t ip = {s.ip};
        err = etharp_remove_static_entry(&ip) == ERR_OK ? 0 : -EOPNOTSUPP; // what was learnt stays as long as it does
    } else {
        memset(&q.hardware, 0, sizeof(q.hardware));
        q.hardware.family = ARPHRD_ETHER;
        memcpy(q.hardware.data, s.found.mac, sizeof(s.found.mac));
        q.flags = ATF_COM;
        str_copy(q.device, s.found.interface->name, sizeof(q.device));
    }
    net_unlock();
    return err < 0 || cmd != SIOCGARP ? err : copy_out_obj(arg, &q);
}

// --- All of them ---

static long of_ipv4(unsigned cmd, uaddr_t arg) {
    switch (cmd) {
    case SIOCADDRT:
    case SIOCDELRT: return route4(cmd, arg);
    case SIOCGARP:
    case SIOCSARP:
    case SIOCDARP: return arp(cmd, arg);
    case SIOCRTMSG: return -EINVAL;
    }
    return asks_address(cmd) || sets_address(cmd) ? one_interface(cmd, arg) : -ENOTTY;
}

static long of_ipv6(unsigned cmd, uaddr_t arg) {
    switch (cmd) {
    case SIOCADDRT:
    case SIOCDELRT: return route6(cmd, arg);
    case SIOCSIFADDR:
    case SIOCDIFADDR: return address6(cmd, arg);
    }
    return -ENOTTY;
}

long inet_ioctl(struct socket *s, unsigned cmd, uaddr_t arg) {
    if (cmd >> 8 != 0x89)
        return -ENOTTY;
    long err = net_start();
    if (err < 0)
        return err;
    err = s->family == AF_INET ? of_ipv4(cmd, arg) : s->family == AF_INET6 ? of_ipv6(cmd, arg) : -ENOTTY;
    if (err != -ENOTTY)
        return err;
    if (cmd == SIOCGIFCONF)
        return get_list(arg);
    if (cmd == SIOCGIFNAME)
        return get_name(arg);
    bool private = cmd >= SIOCDEVPRIVATE && cmd < SIOCDEVPRIVATE + 16; // a driver's own
    if (asks_interface(cmd) || sets_interface(cmd) || cmd == SIOCETHTOOL || private)
        return one_interface(cmd, arg);
    return -ENOTTY;
}
