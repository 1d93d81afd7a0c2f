// Groups: which sockets are members, with their filters of sources, and which groups lwIP reports to the routers (IGMPv2, MLDv1, so
// without sources: what others send is dropped here). See ip(7) and RFC 3678. Under the core lock.
#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "net/inet/datagram.h"
#include "net/inet/sysctl.h"

#define SOURCES_MAX 10 // net.ipv4.igmp_max_msf

struct inet_membership {
    struct inet_membership *next; // of the socket's
    struct list all;              // of all sockets'
    ip_addr_t group;
    uint32_t address; // IPv4: the interface's, as the application named it
    int interface;
    bool include; // only the sources; otherwise all but them
    unsigned count;
    ip_addr_t sources[SOURCES_MAX];
};

static struct list memberships = LIST_INIT(memberships);

static bool same(const ip_addr_t *a, const ip_addr_t *b) { // groups and sources: the interface is compared apart
    if (IP_GET_TYPE(a) != IP_GET_TYPE(b))
        return false;
    return IP_IS_V4(a) ? ip_2_ip4(a)->addr == ip_2_ip4(b)->addr : ip6_addr_cmp_zoneless(ip_2_ip6(a), ip_2_ip6(b));
}

// --- Who wants what ---

static bool always_member(const ip_addr_t *group) {
    if (IP_IS_V4(group))
        return ip_2_ip4(group)->addr == PP_HTONL(0xe0000001); // 224.0.0.1
    return ip6_addr_isallnodes_iflocal(ip_2_ip6(group)) || ip6_addr_isallnodes_linklocal(ip_2_ip6(group));
}

bool multicast_member(const ip_addr_t *group, int interface) {
    struct inet_membership *m;
    if (always_member(group))
        return true;
    list_for_each (m, &memberships, all)
        if (m->interface == interface && same(&m->group, group))
            return true;
    return false;
}

bool multicast_wanted(const struct inet_socket *s, const ip_addr_t *group, const ip_addr_t *source, int interface) {
    const struct inet_options *o = &s->options;
    const struct inet_membership *m = o->memberships;
    while (m && !(same(&m->group, group) && (IP_IS_V6(group) || m->interface == interface)))
        m = m->next;
    if (!m)
        return IP_IS_V6(group) ? o->multicast_all6 : o->multicast_all;
    for (unsigned i = 0; i < m->count; i++)
        if (same(&m->sources[i], source))
            return m->include;
    return !m->include;
}

// --- Joining and leaving ---

static void tell_lwip(const struct inet_membership *m, bool join) {
    struct net_interface *i = net_interface_find(m->interface);
    if (!i)
        return;
    if (IP_IS_V4_VAL(m->group)) {
        if (i->netif.flags & NETIF_FLAG_IGMP)
            (join ? igmp_joingroup_netif : igmp_leavegroup_netif)(&i->netif, ip_2_ip4(&m->group));
    } else if (i->netif.flags & NETIF_FLAG_MLD6) {
        ip6_addr_t group = *ip_2_ip6(&m->group);
        ip6_addr_assign_zone(&group, IP6_UNKNOWN, &i->netif);
        (join ? mld6_joingroup_netif : mld6_leavegroup_netif)(&i->netif, &group);
    }
}

static struct inet_membership *find(const struct inet_socket *s, const ip_addr_t *group, int interface) {
    struct inet_membership *m = s->options.memberships;
    while (m && !(same(&m->group, group) && (!interface || m->interface == interface)))
        m = m->next;
    return m;
}

static int join(struct inet_socket *s, const ip_addr_t *group, uint32_t address, int interface, bool include) {
    unsigned count = 0;
    if (find(s, group, interface))
        return -EADDRINUSE;
    for (struct inet_membership *m = s->options.memberships; m; m = m->next)
        count += IP_IS_V4_VAL(m->group);
    if (IP_IS_V4(group) && count >= READ_ONCE(net_settings.igmp_max_memberships))
        return -ENOBUFS;
    struct inet_membership *m = kzalloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->group = *group;
    m->address = address;
    m->interface = interface;
    m->include = include;
    m->next = s->options.memberships;
    s->options.memberships = m;
    list_push_back(&memberships, &m->all);
    tell_lwip(m, true);
    return 0;
}

static void leave(struct inet_socket *s, struct inet_membership *m) {
    struct inet_membership **at = &s->options.memberships;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    list_remove(&m->all);
    tell_lwip(m, false);
    kfree(m);
}

void inet_options_free(struct inet_socket *s) {
    while (s->options.memberships)
        leave(s, s->options.memberships);
}

// --- Filters of sources ---

static int change_source(struct inet_socket *s, struct inet_membership *m, const ip_addr_t *source, bool include,
                         bool add) {
    if (!m || (m->count && m->include != include))
        return -EINVAL;
    m->include = include; // of an empty list the meaning may change
    unsigned i = 0;
    while (i < m->count && !same(&m->sources[i], source))
        i++;
    if (add) {
        if (m->count >= SOURCES_MAX)
            return -ENOBUFS;
        if (i < m->count)
            return -EADDRNOTAVAIL;
        m->sources[m->count++] = *source;
        return 0;
    }
    if (i == m->count)
        return -EADDRNOTAVAIL;
    if (m->count == 1 && include)
        leave(s, m);
    else
        m->sources[i] = m->sources[--m->count];
    return 0;
}

// --- The interface that an option means ---

static int interface_of_address(uint32_t address) {
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        if (netif_ip4_addr(&i->netif)->addr == address)
            return i->index;
    return 0;
}

static int interface_for(const ip_addr_t *group, uint32_t address, int index) { // 0: none
    struct net_interface *i;
    ip_addr_t source;
    if (index)
        return index > 0 && net_interface_find(index) ? index : 0;
    if (address)
        return interface_of_address(address);
    return net_route_find(group, 0, &i, &source) ? i->index : 0;
}

// --- Options ---

struct request { // of any of them
    ip_addr_t group, source;
    uint32_t address;
    int interface;
};

static int change_group(struct inet_socket *s, const struct request *r, bool add) {
    if (!ip_addr_ismulticast(&r->group))
        return -EINVAL;
    int interface = interface_for(&r->group, r->address, r->interface);
    bool v6 = IP_IS_V6_VAL(r->group);
    if (add)
        return interface ? join(s, &r->group, r->address, interface, false) : -ENODEV;
    if (!v6 && !r->interface && !r->address && !interface)
        return -ENODEV;
    struct inet_membership *m = s->options.memberships;
    while (m && !(same(&m->group, &r->group) &&
                  (r->interface ? m->interface == r->interface : !r->address || m->address == r->address)))
        m = m->next;
    if (!m)
        return -EADDRNOTAVAIL;
    leave(s, m);
    return 0;
}

static int change_group_source(struct inet_socket *s, const struct request *r, bool include, bool add) {
    if (!ip_addr_ismulticast(&r->group))
        return -EINVAL;
    int interface = interface_for(&r->group, r->address, r->interface);
    if (!interface)
        return -ENODEV;
    if (include && add) {
        int err = join(s, &r->group, r->address, interface, true);
        if (err < 0 && err != -EADDRINUSE)
            return err;
    }
    return change_source(s, find(s, &r->group, interface), &r->source, include, add);
}

static int set_interface4(struct inet_socket *s, const void *value, unsigned len) {
    struct ip_mreqn r = {0};
    if (len >= sizeof(r))
        memcpy(&r, value, sizeof(r));
    else if (len >= sizeof(struct ip_mreq))
        memcpy(&r, value, sizeof(struct ip_mreq));
    else if (len >= sizeof(r.imr_address))
        memcpy(&r.imr_address, value, sizeof(r.imr_address));
    else
        return -EINVAL;
    int interface = r.imr_ifindex          ? (net_interface_find(r.imr_ifindex) ? r.imr_ifindex : 0)
                    : r.imr_address.s_addr ? interface_of_address(r.imr_address.s_addr)
                                           : 0;
    if (!interface && (r.imr_ifindex || r.imr_address.s_addr))
        return -EADDRNOTAVAIL;
    if (interface && s->interface && s->interface != interface)
        return -EINVAL;
    s->options.multicast_if = interface;
    memset(&s->options.multicast_address, 0, sizeof(s->options.multicast_address));
    s->options.multicast_address.u_addr.ip4.addr = r.imr_address.s_addr;
    return 0;
}

static int set_interface6(struct inet_socket *s, const void *value, unsigned len) {
    int index;
    if (len < sizeof(index))
        return -EINVAL;
    memcpy(&index, value, sizeof(index));
    if (index && !net_interface_find(index))
        return -ENODEV;
    if (index && s->interface && s->interface != index)
        return -EINVAL;
    s->options.multicast_if6 = index;
    return 0;
}

// A sockaddr_storage in an option. False: of another family.
static bool address_of(const struct __kernel_sockaddr_storage *a, bool v6, ip_addr_t *out) {
    if (a->ss_family != (v6 ? AF_INET6 : AF_INET))
        return false;
    memset(out, 0, sizeof(*out));
    if (v6) {
        memcpy(ip_2_ip6(out)->addr, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
        IP_SET_TYPE_VAL(*out, IPADDR_TYPE_V6);
    } else {
        ip_addr_set_ip4_u32(out, ((const struct sockaddr_in *)a)->sin_addr.s_addr);
    }
    return true;
}

static int get_request(int name, bool v6, const void *value, unsigned len, struct request *r) {
    memset(r, 0, sizeof(*r));
    if (name >= MCAST_JOIN_GROUP && name <= MCAST_LEAVE_SOURCE_GROUP) {
        struct group_source_req g;
        unsigned size = name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP ? sizeof(struct group_req) : sizeof(g);
        if (len < size)
            return -EINVAL;
        memcpy(&g, value, size);
        r->interface = g.gsr_interface;
        if (!address_of(&g.gsr_group, v6, &r->group))
            return size == sizeof(g) ? -EADDRNOTAVAIL : -EINVAL;
        return size == sizeof(g) && !address_of(&g.gsr_source, v6, &r->source) ? -EADDRNOTAVAIL : 0;
    }
    if (v6) {
        struct ipv6_mreq g;
        if (len < sizeof(g))
            return -EINVAL;
        memcpy(&g, value, sizeof(g));
        memcpy(ip_2_ip6(&r->group)->addr, &g.ipv6mr_multiaddr, 16);
        IP_SET_TYPE_VAL(r->group, IPADDR_TYPE_V6);
        r->interface = g.ipv6mr_ifindex;
        return 0;
    }
    if (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP) {
        struct ip_mreqn g = {0};
        if (len < sizeof(struct ip_mreq))
            return -EINVAL;
        memcpy(&g, value, len >= sizeof(g) ? sizeof(g) : sizeof(struct ip_mreq));
        ip_addr_set_ip4_u32_val(r->group, g.imr_multiaddr.s_addr);
        r->address = g.imr_address.s_addr;
        r->interface = g.imr_ifindex;
        return 0;
    }
    struct ip_mreq_source g;
    if (len != sizeof(g))
        return -EINVAL;
    memcpy(&g, value, sizeof(g));
    ip_addr_set_ip4_u32_val(r->group, g.imr_multiaddr);
    ip_addr_set_ip4_u32_val(r->source, g.imr_sourceaddr);
    r->address = g.imr_interface;
    return 0;
}

static int change(struct inet_socket *s, int name, bool v6, const void *value, unsigned len) {
    struct request r;
    int err = get_request(name, v6, value, len, &r);
    if (err < 0)
        return err;
    switch (name) {
    case IP_ADD_SOURCE_MEMBERSHIP:
    case MCAST_JOIN_SOURCE_GROUP: return change_group_source(s, &r, true, true);
    case IP_DROP_SOURCE_MEMBERSHIP:
    case MCAST_LEAVE_SOURCE_GROUP: return change_group_source(s, &r, true, false);
    case IP_BLOCK_SOURCE:
    case MCAST_BLOCK_SOURCE: return change_group_source(s, &r, false, true);
    case IP_UNBLOCK_SOURCE:
    case MCAST_UNBLOCK_SOURCE: return change_group_source(s, &r, false, false);
    case MCAST_LEAVE_GROUP: return change_group(s, &r, false);
    case MCAST_JOIN_GROUP: return change_group(s, &r, true);
    }
    return change_group(s, &r, name == (v6 ? IPV6_ADD_MEMBERSHIP : IP_ADD_MEMBERSHIP));
}

int multicast_set_option(struct inet_socket *s, int level, int name, const void *value, unsigned len) {
    bool v6 = level == IPPROTO_IPV6, stream = s->socket.type == SOCK_STREAM,
         group = name >= MCAST_JOIN_GROUP && name <= MCAST_LEAVE_SOURCE_GROUP;
    if (v6)
        group |= name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP;
    else
        group |= (name >= IP_ADD_MEMBERSHIP && name <= IP_DROP_SOURCE_MEMBERSHIP);
    if (!group && name != (v6 ? IPV6_MULTICAST_IF : IP_MULTICAST_IF))
        return -ENOPROTOOPT;
    if (!group && stream)
        return v6 ? -ENOPROTOOPT : -EINVAL;
    if (group && stream)
        return -EPROTO;
    net_lock();
    int err = group ? change(s, name, v6, value, len)
              : v6  ? set_interface6(s, value, len)
                    : set_interface4(s, value, len);
    net_unlock();
    return err;
}
