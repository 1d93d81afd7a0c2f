// socket(2) of AF_INET and AF_INET6: which protocol a type and a number name, and what all their sockets begin with.
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/inet/inet.h"
#include "net/inet/sysctl.h"
#include <linux/capability.h>

#define PROTOCOL_MAX 263 // IPPROTO_MAX of Linux 6.1, with IPPROTO_MPTCP

void inet_init_socket(struct inet_socket *s, const struct socket_ops *ops, int family, int type, int protocol) {
    memset(s, 0, sizeof(*s));
    socket_init(&s->socket, ops, family, type, protocol);
    s->socket.send_buffer = net_settings.wmem_default;
    s->socket.receive_buffer = net_settings.rmem_default;
    s->uid = current_cred()->fsuid;
    struct inet_options *o = &s->options;
    o->ttl = o->hops = o->multicast_hops = -1;
    o->multicast_ttl = 1;
    o->multicast_loop = o->multicast_loop6 = o->multicast_all6 = true;
    o->multicast_all = family == AF_INET;
    o->mtu_discover = IP_PMTUDISC_WANT;
    o->mtu_discover6 = IPV6_PMTUDISC_WANT;
    o->auto_flowlabel = family == AF_INET6;
    o->v6only = family == AF_INET6 && net_settings.bindv6only;
    if (family == AF_INET6)
        IP_SET_TYPE_VAL(s->local, o->v6only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
    list_init(&s->link);
    list_init(&s->bind.link);
}

static struct socket *create(int family, int type, int protocol) {
    if (protocol < 0 || protocol >= PROTOCOL_MAX)
        return ERR_PTR(-EINVAL);
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_RAW)
        return ERR_PTR(-ESOCKTNOSUPPORT);
    int icmp = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    bool tcp = type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP);
    bool udp = type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP);
    bool ping = type == SOCK_DGRAM && protocol == icmp;
    bool raw = type == SOCK_RAW && protocol != 0;
    if (!tcp && !udp && !ping && !raw)
        return ERR_PTR(-EPROTONOSUPPORT);
    if (raw && !capable(CAP_NET_RAW))
        return ERR_PTR(-EPERM);
    int err = net_start();
    if (err < 0)
        return ERR_PTR(err);
    if (tcp)
        return tcp_create(family);
    if (udp)
        return udp_create(family, IPPROTO_UDP);
    return ping ? ping_create(family) : raw_create(family, protocol);
}

static struct socket *create4(int type, int protocol) { return create(AF_INET, type, protocol); }
static struct socket *create6(int type, int protocol) { return create(AF_INET6, type, protocol); }

const struct socket_family inet_family = {.family = AF_INET, .create = create4};
const struct socket_family inet6_family = {.family = AF_INET6, .create = create6};
