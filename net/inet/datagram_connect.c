// connect(2) of UDP, raw and ping sockets: where messages go, from whom they are taken, and the source address that the route gives.
#include "net/inet/datagram.h"
#include "kernel/string.h"

static int address_in(struct inet_socket *is, const struct socket_address *a, ip_addr_t *ip, uint16_t *port,
                      int *scope) {
    struct sockaddr_in in;
    if (is->socket.family != AF_INET6 || a->family != AF_INET) {
        if (a->family == AF_UNSPEC)
            return -EAFNOSUPPORT;
        return inet_address_in(is, a, ip, port, scope);
    }
    if (is->options.v6only)
        return -EAFNOSUPPORT;
    if (a->len < sizeof(in))
        return -EINVAL;
    memcpy(&in, a->data, sizeof(in));
    ip_addr_set_ip4_u32(ip, in.sin_addr.s_addr);
    *port = lwip_ntohs(in.sin_port);
    return 0;
}

static int connect_locked(struct datagram_socket *s, ip_addr_t *ip, uint16_t port, int scope) {
    struct inet_socket *is = &s->inet;
    struct inet_send how = {.to = *ip, .to_port = port, .interface = scope, .ttl = -1, .tos = -1};
    struct net_interface *i;
    bool local;
    if (IP_IS_V6(ip) && ip_addr_isany(ip) && IP_IS_V4_VAL(is->local))
        ip_addr_set_ip4_u32_val(how.to, PP_HTONL(0x7f000001));
    if (IP_IS_V6(ip) && (ip6_addr_islinklocal(ip_2_ip6(ip)) || ip6_addr_ismulticast_linklocal(ip_2_ip6(ip)))) {
        if (!is->interface)
            is->interface = scope ? scope : ip_addr_ismulticast(ip) ? is->options.multicast_if6 : 0;
        if (!is->interface)
            return -EINVAL;
        ip6_addr_set_zone(ip_2_ip6(&how.to), is->interface);
    }
    int err = inet_route(s, &how, &i, &local);
    if (err < 0)
        return err;
    if (ip_addr_isany_val(is->local))
        is->local = how.source;
    is->remote = how.to;
    is->remote_port = port;
    s->connected = true;
    return 0;
}

int datagram_connect(struct socket *so, const struct socket_address *a, bool nonblock) {
    struct datagram_socket *s = datagram_of(so);
    ip_addr_t ip;
    uint16_t port;
    int scope = 0, err = address_in(&s->inet, a, &ip, &port, &scope);
    if (err < 0)
        return err;
    net_lock();
    err = connect_locked(s, &ip, port, scope);
    net_unlock();
    return err;
}

void datagram_disconnect(struct datagram_socket *s, void (*unbind)(struct datagram_socket *s)) {
    struct inet_socket *is = &s->inet;
    net_lock();
    s->connected = false;
    memset(&is->remote, 0, sizeof(is->remote));
    is->remote_port = 0;
    is->interface = 0;
    if (!is->bound_address) {
        memset(&is->local, 0, sizeof(is->local));
        if (is->socket.family == AF_INET6)
            IP_SET_TYPE_VAL(is->local, is->options.v6only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
    }
    if (unbind)
        unbind(s);
    net_unlock();
}
