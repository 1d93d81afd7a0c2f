// Options of IPPROTO_IP and IPPROTO_IPV6 of all sockets of AF_INET and AF_INET6, see ip(7) and ipv6(7): lengths and errnos in Linux's order.
// What nothing here could do (IP options, flow labels, extension headers, IPsec, multicast routing) is refused.
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/inet/datagram.h"
#include "net/inet/sysctl.h"
#include <linux/capability.h>
#include <linux/ipv6.h>

#define IPV6_MULTICAST_ALL_ 29
#define IPV6_RECVERR_RFC4884_ 31
#define ECN_MASK 3

// --- Bits: what a receiver wants to be told, and plain switches ---

static int receive_bit4(int name) {
    switch (name) {
    case IP_PKTINFO: return INET_RECEIVE_PKTINFO;
    case IP_RECVTTL: return INET_RECEIVE_TTL;
    case IP_RECVTOS: return INET_RECEIVE_TOS;
    case IP_RECVOPTS: return INET_RECEIVE_OPTS;
    case IP_RETOPTS: return INET_RECEIVE_RETOPTS;
    case IP_PASSSEC: return INET_RECEIVE_PASSSEC;
    case IP_RECVORIGDSTADDR: return INET_RECEIVE_ORIGDSTADDR;
    case IP_CHECKSUM: return INET_RECEIVE_CHECKSUM;
    case IP_RECVFRAGSIZE: return INET_RECEIVE_FRAGSIZE;
    }
    return -1;
}

static int receive_bit6(int name) {
    switch (name) {
    case IPV6_RECVPKTINFO: return INET_RECEIVE_PKTINFO6;
    case IPV6_2292PKTINFO: return INET_RECEIVE_PKTINFO6_OLD;
    case IPV6_RECVHOPLIMIT: return INET_RECEIVE_HOPLIMIT;
    case IPV6_2292HOPLIMIT: return INET_RECEIVE_HOPLIMIT_OLD;
    case IPV6_RECVTCLASS: return INET_RECEIVE_TCLASS;
    case IPV6_FLOWINFO: return INET_RECEIVE_FLOWINFO;
    case IPV6_RECVHOPOPTS: return INET_RECEIVE_HOPOPTS;
    case IPV6_2292HOPOPTS: return INET_RECEIVE_HOPOPTS_OLD;
    case IPV6_RECVDSTOPTS: return INET_RECEIVE_DSTOPTS;
    case IPV6_2292DSTOPTS: return INET_RECEIVE_DSTOPTS_OLD;
    case IPV6_RECVRTHDR: return INET_RECEIVE_RTHDR;
    case IPV6_2292RTHDR: return INET_RECEIVE_RTHDR_OLD;
    case IPV6_RECVPATHMTU: return INET_RECEIVE_PATHMTU;
    case IPV6_RECVORIGDSTADDR: return INET_RECEIVE_ORIGDSTADDR6;
    case IPV6_RECVFRAGSIZE: return INET_RECEIVE_FRAGSIZE6;
    }
    return -1;
}

static bool *switch4(struct inet_options *o, int name) {
    switch (name) {
    case IP_RECVERR: return &o->recverr;
    case IP_RECVERR_RFC4884: return &o->recverr_rfc4884;
    case IP_FREEBIND: return &o->freebind;
    case IP_HDRINCL: return &o->header_included;
    case IP_TRANSPARENT: return &o->transparent;
    case IP_NODEFRAG: return &o->no_fragments;
    case IP_BIND_ADDRESS_NO_PORT: return &o->no_port_yet;
    case IP_MULTICAST_LOOP: return &o->multicast_loop;
    case IP_MULTICAST_ALL: return &o->multicast_all;
    }
    return NULL;
}

static bool *switch6(struct inet_options *o, int name) {
    switch (name) {
    case IPV6_RECVERR: return &o->recverr6;
    case IPV6_RECVERR_RFC4884_: return &o->recverr6_rfc4884;
    case IPV6_FREEBIND: return &o->freebind;
    case IPV6_HDRINCL: return &o->header_included;
    case IPV6_TRANSPARENT: return &o->transparent;
    case IPV6_DONTFRAG: return &o->dont_fragment6;
    case IPV6_AUTOFLOWLABEL: return &o->auto_flowlabel;
    case IPV6_FLOWINFO_SEND: return &o->flow_send;
    case IPV6_MULTICAST_LOOP: return &o->multicast_loop6;
    case IPV6_MULTICAST_ALL_: return &o->multicast_all6;
    }
    return NULL;
}

// What nobody would tell a receiver: nothing is known of options, extension headers, checksums and fragments any more when a message is read.
#define NEVER_TOLD                                                                                                     \
    (1u << INET_RECEIVE_OPTS | 1u << INET_RECEIVE_RETOPTS | 1u << INET_RECEIVE_CHECKSUM |                              \
     1u << INET_RECEIVE_FRAGSIZE | 1u << INET_RECEIVE_HOPOPTS | 1u << INET_RECEIVE_HOPOPTS_OLD |                       \
     1u << INET_RECEIVE_DSTOPTS | 1u << INET_RECEIVE_DSTOPTS_OLD | 1u << INET_RECEIVE_RTHDR |                          \
     1u << INET_RECEIVE_RTHDR_OLD | 1u << INET_RECEIVE_PATHMTU | 1u << INET_RECEIVE_FRAGSIZE6)

static int refuse(const char *what) {
    log_once(LOG_WARN, "setsockopt(2): %s is not supported (ENOPROTOOPT)", what);
    return -ENOPROTOOPT;
}

static int set_receive(struct inet_options *o, int bit, bool on) {
    if (on && (NEVER_TOLD >> bit & 1))
        return refuse("a control message beside what is received");
    if (on)
        atomic_or(&o->receive, 1u << bit);
    else
        atomic_and(&o->receive, ~(1u << bit));
    return 0;
}

static bool may_be_transparent(void) { return capable(CAP_NET_RAW) || capable(CAP_NET_ADMIN); }

static bool interface_exists(int index) {
    net_lock();
    bool there = index > 0 && net_interface_find(index);
    net_unlock();
    return there;
}

static int set_unicast_if(struct inet_socket *s, int *place, unsigned len, int value) {
    int index = (int)lwip_htonl((uint32_t)value);
    if (len != sizeof(int))
        return -EINVAL;
    if (index && !interface_exists(index))
        return -EADDRNOTAVAIL;
    if (index && s->interface && s->interface != index)
        return -EINVAL;
    *place = index;
    return 0;
}

static uint8_t keep_ecn(const struct inet_socket *s, int value, uint8_t old) {
    return s->socket.type == SOCK_STREAM ? (value & ~ECN_MASK) | (old & ECN_MASK) : value;
}

// --- IPPROTO_IP ---

static int set_switch4(struct inet_socket *s, int name, bool *place, int value, unsigned len) {
    switch (name) {
    case IP_HDRINCL:
    case IP_NODEFRAG:
        if (s->socket.type != SOCK_RAW)
            return -ENOPROTOOPT;
        break;
    case IP_RECVERR_RFC4884:
        if (value < 0 || value > 1)
            return -EINVAL;
        break;
    case IP_TRANSPARENT:
        if (value && !may_be_transparent())
            return -EPERM;
        if (len < 1)
            return -EINVAL;
        break;
    case IP_MULTICAST_ALL:
        if (len < 1 || (value != 0 && value != 1))
            return -EINVAL;
        break;
    case IP_FREEBIND:
    case IP_MULTICAST_LOOP:
        if (len < 1)
            return -EINVAL;
        break;
    }
    *place = value;
    return 0;
}

static int set_ip(struct inet_socket *s, int name, const void *data, unsigned len) {
    struct inet_options *o = &s->options;
    int value = 0, bit = receive_bit4(name);
    if (len >= sizeof(int))
        memcpy(&value, data, sizeof(int));
    else if (len >= 1)
        value = *(const uint8_t *)data;
    if (bit >= 0) {
        if (name == IP_RECVFRAGSIZE && s->socket.type == SOCK_STREAM)
            return -EINVAL;
        return set_receive(o, bit, value);
    }
    bool *place = switch4(o, name);
    if (place)
        return set_switch4(s, name, place, value, len);
    switch (name) {
    case IP_TOS: o->tos = keep_ecn(s, value, o->tos); return 0;
    case IP_TTL:
        if (len < 1 || (value != -1 && (value < 1 || value > 255)))
            return -EINVAL;
        o->ttl = value;
        return 0;
    case IP_MINTTL:
        if (len < 1 || value < 0 || value > 255)
            return -EINVAL;
        if (value && s->socket.type == SOCK_STREAM) // of others Linux lets everything pass too
            return refuse("IP_MINTTL of TCP");
        o->min_ttl = value;
        return 0;
    case IP_MULTICAST_TTL:
        if (s->socket.type == SOCK_STREAM || len < 1 || value < -1 || value > 255)
            return -EINVAL;
        o->multicast_ttl = value == -1 ? 1 : value;
        return 0;
    case IP_MTU_DISCOVER:
        if (value < IP_PMTUDISC_DONT || value > IP_PMTUDISC_OMIT)
            return -EINVAL;
        o->mtu_discover = value;
        return 0;
    case IP_LOCAL_PORT_RANGE: {
        uint16_t low = value, high = (unsigned)value >> 16;
        if (len != sizeof(uint32_t) || (low && high && low > high))
            return -EINVAL;
        o->port_low = low;
        o->port_high = high;
        return 0;
    }
    case IP_UNICAST_IF: return set_unicast_if(s, &o->unicast_if, len, value);
    case IP_OPTIONS: return len == 0 ? 0 : len > 40 ? -EINVAL : refuse("IP_OPTIONS");
    case IP_ROUTER_ALERT:
        return s->socket.type != SOCK_RAW || s->socket.protocol == IPPROTO_RAW ? -EINVAL : refuse("IP_ROUTER_ALERT");
    case IP_IPSEC_POLICY:
    case IP_XFRM_POLICY: return capable(CAP_NET_ADMIN) ? -ENOPROTOOPT : -EPERM;
    }
    return multicast_set_option(s, IPPROTO_IP, name, data, len);
}

static int put(void *to, unsigned *len, const void *from, unsigned size) {
    *len = MIN(*len, size);
    memcpy(to, from, *len);
    return 0;
}

// IP_MTU, IPV6_MTU: of the way to the peer.
static int mtu_to_peer(struct inet_socket *s) {
    struct net_interface *i;
    ip_addr_t source;
    net_lock();
    int mtu = s->remote_port || !ip_addr_isany_val(s->remote)
                  ? (net_route_find(&s->remote, s->interface, &i, &source) ? inet_mtu(i, &s->remote) : 0)
                  : 0;
    net_unlock();
    return mtu ? mtu : -ENOTCONN;
}

static int get_ip(struct inet_socket *s, int name, void *out, unsigned *len) {
    struct inet_options *o = &s->options;
    int value, bit = receive_bit4(name);
    const bool *place = switch4(o, name);
    if (bit >= 0) {
        value = o->receive >> bit & 1;
    } else if (place) {
        value = *place;
    } else {
        switch (name) {
        case IP_TOS: value = o->tos; break;
        case IP_TTL: value = o->ttl < 0 ? (int)net_settings.default_ttl : o->ttl; break;
        case IP_MINTTL: value = o->min_ttl; break;
        case IP_MULTICAST_TTL: value = o->multicast_ttl; break;
        case IP_MTU_DISCOVER: value = o->mtu_discover; break;
        case IP_LOCAL_PORT_RANGE: value = (int)((unsigned)o->port_high << 16 | o->port_low); break;
        case IP_UNICAST_IF: value = (int)lwip_htonl(o->unicast_if); break;
        case IP_PROTOCOL: value = s->local_port; break; // that is what Linux shows
        case IP_MTU:
            if ((value = mtu_to_peer(s)) < 0)
                return value;
            break;
        case IP_OPTIONS: *len = 0; return 0;
        case IP_PKTOPTIONS:
            if (s->socket.type != SOCK_STREAM)
                return -ENOPROTOOPT;
            *len = 0;
            return 0;
        case IP_MULTICAST_IF: return put(out, len, &ip_2_ip4(&o->multicast_address)->addr, sizeof(uint32_t));
        default: return -ENOPROTOOPT;
        }
    }
    if (*len < sizeof(int) && *len > 0 && value >= 0 && value <= 255)
        *len = 1;
    return put(out, len, &value, sizeof(value));
}

// --- IPPROTO_IPV6 ---

static int set_v6only(struct inet_socket *s, bool on) {
    int err = 0;
    net_lock();
    if (s->local_port)
        err = -EINVAL;
    else if (s->socket.type != SOCK_RAW && s->socket.protocol != IPPROTO_ICMPV6) {
        s->options.v6only = on;
        IP_SET_TYPE_VAL(s->local, on ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
    }
    net_unlock();
    return err;
}

static int set_switch6(struct inet_socket *s, int name, bool *place, int value, unsigned len) {
    if (name == IPV6_HDRINCL && s->socket.type != SOCK_RAW)
        return -EINVAL;
    if (name == IPV6_TRANSPARENT && value && !may_be_transparent())
        return -EPERM;
    bool any_length = name == IPV6_DONTFRAG || name == IPV6_AUTOFLOWLABEL;
    if (len < sizeof(int) && !any_length)
        return -EINVAL;
    if ((name == IPV6_MULTICAST_LOOP || name == IPV6_RECVERR_RFC4884_) && value != 0 && value != 1)
        return -EINVAL;
    *place = value;
    return 0;
}

static int set_preferences(struct inet_options *o, int value) {
    static const struct {
        uint16_t set, clear;
    } pairs[] = {{IPV6_PREFER_SRC_TMP, IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_PUBTMP_DEFAULT},
                 {IPV6_PREFER_SRC_HOME, IPV6_PREFER_SRC_COA},
                 {IPV6_PREFER_SRC_CGA, IPV6_PREFER_SRC_NONCGA}};
    int kinds = value & (IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP | IPV6_PREFER_SRC_PUBTMP_DEFAULT);
    if (kinds & (kinds - 1))
        return -EINVAL;
    for (unsigned i = 1; i < ARRAY_SIZE(pairs); i++)
        if ((value & pairs[i].set) && (value & pairs[i].clear))
            return -EINVAL;
    if (kinds)
        o->address_preferences = (o->address_preferences & ~(IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP)) |
                                 (kinds & (IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP));
    return 0;
}

static int set_ipv6(struct inet_socket *s, int name, const void *data, unsigned len) {
    struct inet_options *o = &s->options;
    int value = 0, bit = receive_bit6(name);
    bool whole = len >= sizeof(int), stream = s->socket.type == SOCK_STREAM;
    if (whole)
        memcpy(&value, data, sizeof(int));
    if (bit >= 0) {
        if (!whole && name != IPV6_RECVFRAGSIZE)
            return -EINVAL;
        return set_receive(o, bit, value);
    }
    bool *place = switch6(o, name);
    if (place)
        return set_switch6(s, name, place, value, len);
    switch (name) {
    case IPV6_V6ONLY: return whole ? set_v6only(s, value) : -EINVAL;
    case IPV6_UNICAST_HOPS:
        if (!whole || value > 255 || value < -1)
            return -EINVAL;
        o->hops = value;
        return 0;
    case IPV6_MULTICAST_HOPS:
        if (stream)
            return -ENOPROTOOPT;
        if (!whole || value > 255 || value < -1)
            return -EINVAL;
        o->multicast_hops = value == -1 ? 1 : value;
        return 0;
    case IPV6_MINHOPCOUNT:
        if (!whole || value < 0 || value > 255)
            return -EINVAL;
        if (value && stream)
            return refuse("IPV6_MINHOPCOUNT of TCP");
        o->min_hops = value;
        return 0;
    case IPV6_TCLASS:
        if (!whole || value < -1 || value > 255)
            return -EINVAL;
        o->traffic_class = keep_ecn(s, value == -1 ? 0 : value, o->traffic_class);
        return 0;
    case IPV6_MTU_DISCOVER:
        if (!whole || value < IPV6_PMTUDISC_DONT || value > IPV6_PMTUDISC_OMIT)
            return -EINVAL;
        o->mtu_discover6 = value;
        return 0;
    case IPV6_MTU: return !whole || (value && value < 1280) ? -EINVAL : value ? refuse("IPV6_MTU") : 0;
    case IPV6_UNICAST_IF: return set_unicast_if(s, &o->unicast_if6, len, value);
    case IPV6_ADDR_PREFERENCES: return whole ? set_preferences(o, value) : -EINVAL;
    case IPV6_PKTINFO: // for all messages: only to be taken back
        return len == 0 ? 0 : len < sizeof(struct in6_pktinfo) ? -EINVAL : refuse("IPV6_PKTINFO as an option");
    case IPV6_HOPOPTS:
    case IPV6_RTHDRDSTOPTS:
    case IPV6_RTHDR:
    case IPV6_DSTOPTS:
        if (name != IPV6_RTHDR && !capable(CAP_NET_RAW))
            return -EPERM;
        return len == 0 ? 0 : refuse("extension headers of IPv6");
    case IPV6_IPSEC_POLICY:
    case IPV6_XFRM_POLICY: return capable(CAP_NET_ADMIN) ? -ENOPROTOOPT : -EPERM;
    }
    return multicast_set_option(s, IPPROTO_IPV6, name, data, len);
}

static int get_preferences(const struct inet_options *o) {
    int kind = o->address_preferences & IPV6_PREFER_SRC_TMP      ? IPV6_PREFER_SRC_TMP
               : o->address_preferences & IPV6_PREFER_SRC_PUBLIC ? IPV6_PREFER_SRC_PUBLIC
                                                                 : IPV6_PREFER_SRC_PUBTMP_DEFAULT;
    return kind | IPV6_PREFER_SRC_HOME;
}

static int get_ipv6(struct inet_socket *s, int name, void *out, unsigned *len) {
    struct inet_options *o = &s->options;
    int value, bit = receive_bit6(name);
    const bool *place = switch6(o, name);
    if (bit >= 0) {
        value = o->receive >> bit & 1;
    } else if (place) {
        value = *place;
    } else {
        switch (name) {
        case IPV6_V6ONLY: value = o->v6only; break;
        case IPV6_UNICAST_HOPS: value = o->hops < 0 ? (int)net_settings.hop_limit : o->hops; break;
        case IPV6_MULTICAST_HOPS: value = o->multicast_hops < 0 ? 1 : o->multicast_hops; break;
        case IPV6_MULTICAST_IF: value = o->multicast_if6; break;
        case IPV6_UNICAST_IF: value = (int)lwip_htonl(o->unicast_if6); break;
        case IPV6_MINHOPCOUNT: value = o->min_hops; break;
        case IPV6_TCLASS: value = o->traffic_class; break;
        case IPV6_MTU_DISCOVER: value = o->mtu_discover6; break;
        case IPV6_ADDR_PREFERENCES: value = get_preferences(o); break;
        case IPV6_ADDRFORM:
            if (s->socket.type == SOCK_RAW)
                return -ENOPROTOOPT;
            if (!s->remote_port)
                return -ENOTCONN;
            value = AF_INET6;
            break;
        case IPV6_MTU:
            if ((value = mtu_to_peer(s)) < 0)
                return value;
            break;
        default: return -ENOPROTOOPT;
        }
    }
    return put(out, len, &value, sizeof(value));
}

// --- Both ---

int inet_set_option(struct socket *so, int level, int name, const void *value, unsigned len) {
    struct inet_socket *s = inet_of(so);
    if (level == IPPROTO_IP)
        return set_ip(s, name, value, len);
    if (level == IPPROTO_IPV6 && so->family == AF_INET6)
        return set_ipv6(s, name, value, len);
    return -ENOPROTOOPT;
}

int inet_get_option(struct socket *so, int level, int name, void *value, unsigned *len) {
    struct inet_socket *s = inet_of(so);
    if (level == IPPROTO_IP)
        return get_ip(s, name, value, len);
    if (level == IPPROTO_IPV6 && so->family == AF_INET6)
        return get_ipv6(s, name, value, len);
    return so->family == AF_INET ? -EOPNOTSUPP : -ENOPROTOOPT;
}
