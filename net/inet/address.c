// Addresses of AF_INET and AF_INET6 as applications write them (sockaddr_in, sockaddr_in6) and as lwIP does, and what bind(2) asks of them.
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/inet/inet.h"
#include "net/inet/sysctl.h"
#include <linux/capability.h>

#define IN6_LEN_OLD 24 // SIN6_LEN_RFC2133: without the scope

// --- In ---
static int in4(const struct socket_address *a, ip_addr_t *ip, uint16_t *port) {
    struct sockaddr_in in;
    if (a->len < sizeof(in))
        return -EINVAL;
    memcpy(&in, a->data, sizeof(in));
    if (in.sin_family != AF_INET && in.sin_family != AF_UNSPEC) // the latter is what sendto(2) allows; bind looks again
        return -EAFNOSUPPORT;
    ip_addr_set_ip4_u32(ip, in.sin_addr.s_addr);
    *port = lwip_ntohs(in.sin_port);
    return 0;
}

static bool is_mapped(const ip6_addr_t *a) {
    return a->addr[0] == 0 && a->addr[1] == 0 && a->addr[2] == PP_HTONL(0xffff);
}

static int in6(struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, uint16_t *port, int *scope) {
    struct sockaddr_in6 in;
    if (a->len < IN6_LEN_OLD)
        return -EINVAL;
    memset(&in, 0, sizeof(in));
    memcpy(&in, a->data, MIN(a->len, (unsigned)sizeof(in)));
    if (in.sin6_family != AF_INET6)
        return -EAFNOSUPPORT;
    *port = lwip_ntohs(in.sin6_port);
    ip6_addr_t *ip6 = ip_2_ip6(ip);
    memcpy(ip6->addr, &in.sin6_addr, sizeof(ip6->addr));
    ip6_addr_clear_zone(ip6);
    if (is_mapped(ip6)) {
        if (s->options.v6only)
            return -ENETUNREACH;
        ip_addr_set_ip4_u32(ip, ip6->addr[3]);
        return 0;
    }
    IP_SET_TYPE_VAL(*ip, IPADDR_TYPE_V6);
    if (ip6_addr_islinklocal(ip6) || ip6_addr_ismulticast_linklocal(ip6)) {
        if (in.sin6_scope_id && s->interface && in.sin6_scope_id != (unsigned)s->interface)
            return -EINVAL;
        *scope = in.sin6_scope_id ? (int)in.sin6_scope_id : s->interface;
        if (*scope < 0 || *scope > 255)
            return -ENODEV;
        ip6_addr_set_zone(ip6, *scope);
    }
    return 0;
}

int inet_address_in(struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, uint16_t *port, int *scope) {
    *scope = 0;
    memset(ip, 0, sizeof(*ip));
    return s->socket.family == AF_INET ? in4(a, ip, port) : in6(s, a, ip, port, scope);
}

// --- Out ---
void inet_address_out(const struct inet_socket *s, const ip_addr_t *ip, uint16_t port, struct socket_address *a) {
    if (s->socket.family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = lwip_htons(port)};
        in.sin_addr.s_addr = IP_IS_V4(ip) ? ip_2_ip4(ip)->addr : 0;
        memcpy(a->data, &in, a->len = sizeof(in));
        return;
    }
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = lwip_htons(port)};
    if (IP_IS_V4(ip)) {
        uint32_t mapped[4] = {0, 0, PP_HTONL(0xffff), ip_2_ip4(ip)->addr};
        memcpy(&in.sin6_addr, mapped, sizeof(mapped));
    } else if (IP_IS_V6(ip)) {
        memcpy(&in.sin6_addr, ip_2_ip6(ip)->addr, sizeof(in.sin6_addr));
        in.sin6_scope_id = ip6_addr_zone(ip_2_ip6(ip));
    }
    memcpy(a->data, &in, a->len = sizeof(in));
}

int inet_name(struct socket *s, struct socket_address *a, bool peer) {
    struct inet_socket *i = inet_of(s);
    net_lock();
    ip_addr_t ip = peer ? i->remote : i->local;
    uint16_t port = peer ? i->remote_port : i->local_port;
    net_unlock();
    if (peer && !port)
        return -ENOTCONN;
    inet_address_out(i, &ip, port, a);
    return 0;
}

// --- bind(2) ---
static bool may_have(const struct inet_socket *s, const ip_addr_t *ip) {
    if (ip_addr_isany(ip) || s->options.freebind || s->options.transparent || net_address_is_local(ip))
        return true;
    if (IP_IS_V6(ip))
        return ip_addr_ismulticast(ip) || net_settings.nonlocal_bind6;
    if (ip_addr_ismulticast(ip) || ip_2_ip4(ip)->addr == 0xffffffff || net_settings.nonlocal_bind)
        return true;
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        if (ip_addr_isbroadcast(ip, &i->netif))
            return true;
    return false;
}

int inet_bind_allowed(struct inet_socket *s, const ip_addr_t *ip, uint16_t port) {
    bool privileged = port && port < net_settings.unprivileged_port_start && !capable(CAP_NET_BIND_SERVICE);
    if (s->socket.family == AF_INET6) { // in Linux' order, which is another one for each family
        if (s->socket.type == SOCK_STREAM && IP_IS_V6(ip) && ip_addr_ismulticast(ip))
            return -EINVAL;
        if (privileged)
            return -EACCES;
        if (s->local_port)
            return -EINVAL;
        return may_have(s, ip) ? 0 : -EADDRNOTAVAIL;
    }
    if (!may_have(s, ip))
        return -EADDRNOTAVAIL;
    return privileged ? -EACCES : s->local_port ? -EINVAL : 0;
}

int inet_bind_address(struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, uint16_t *port) {
    int scope, err = inet_address_in(s, a, ip, port, &scope);
    if (err < 0)
        return err == -ENETUNREACH ? -EINVAL : err;
    if (a->family == AF_UNSPEC && !ip_addr_isany(ip))
        return -EAFNOSUPPORT;
    if (IP_IS_V6(ip) && ip6_addr_islinklocal(ip_2_ip6(ip)) && !scope)
        return -EINVAL; // whose?
    if (IP_IS_V6(ip) && ip_addr_isany(ip) && !s->options.v6only)
        IP_SET_TYPE_VAL(*ip, IPADDR_TYPE_ANY);
    return 0;
}
