// connect(2) of TCP sockets, in the steps of Linux' inet_stream_connect.
#include "kernel/threads/thread.h"
#include "net/inet/tcp.h"

// Where to: as connect(2) is given it.
static int destination(struct tcp_socket *t, const struct socket_address *a, ip_addr_t *to, uint16_t *port,
                       int *scope) {
    struct inet_socket *i = &t->inet;
    int err = inet_address_in(i, a, to, port, scope);
    if (err < 0)
        return err;
    if (a->family == AF_UNSPEC)
        return -EAFNOSUPPORT;
    if (ip_addr_isany(to)) // this machine
        ip_addr_set_loopback(IP_IS_V6(to), to);
    if (ip_addr_ismulticast(to) || (IP_IS_V4(to) && ip_2_ip4(to)->addr == 0xffffffff))
        return -ENETUNREACH;
    if (IP_IS_V6(to) && ip6_addr_islinklocal(ip_2_ip6(to)) && !*scope)
        return -EINVAL;
    return 0;
}

// The source address, when none is bound. Core lock.
static int source(struct tcp_socket *t, const ip_addr_t *to, int scope, bool local, ip_addr_t *from) {
    struct inet_socket *i = &t->inet;
    struct net_interface *interface;
    if (!ip_addr_isany(&i->local)) {
        *from = i->local;
        if (IP_GET_TYPE(from) != IP_GET_TYPE(to))
            return -ENETUNREACH;
        return ip_addr_isloopback(from) && !local ? -EINVAL : 0;
    }
    if (IP_GET_TYPE(&i->local) == IPADDR_TYPE_V6 && IP_IS_V4(to))
        return -ENETUNREACH;
    if (local) {
        *from = *to;
        if (ip_addr_isloopback(to))
            ip_addr_set_loopback(IP_IS_V6(to), from);
        return 0;
    }
    return net_route_find(to, scope ? scope : i->interface, &interface, from) ? 0 : -ENETUNREACH;
}

static int choose_port(struct tcp_socket *t, const ip_addr_t *from, const ip_addr_t *to, uint16_t port) {
    if (t->inet.bind.port)
        return inet_port_connect(&t->inet, from, to, port);
    return inet_port_claim_for_peer(&t->inet, from, to, port);
}

// The first step: 0: established, or on its way (TCPS_SYN_SENT), or refused, with the error pending. 1: another thread has been at it.
// -errno: nothing was begun.
static int begin(struct tcp_socket *t, const ip_addr_t *to, uint16_t port, int scope) {
    struct tcp_socket *other = tcp_socket_alloc(t->inet.socket.family); // the other end, if it is in this machine
    if (!other)
        return -ENOMEM;
    net_lock();
    bool local = net_address_is_local(to), taken = false;
    ip_addr_t from;
    int err = t->progress == TCP_CONNECTING ? 1 : t->state == TCPS_CLOSE ? source(t, to, scope, local, &from) : -EISCONN;
    if (err == 0)
        err = choose_port(t, &from, to, port);
    if (err == 0) {
        t->shutdown = 0;
        tcp_set_state(t, TCPS_SYN_SENT);
        if (local) {
            int result = local_connect(t, other);
            taken = result == 0;
            if (result < 0)
                tcp_socket_end(t, -result);
        } else {
            err = pcb_connect(t);
            if (err < 0)
                tcp_set_state(t, TCPS_CLOSE);
        }
        if (err == 0)
            WRITE_ONCE(t->progress, TCP_CONNECTING);
    }
    net_unlock();
    if (!taken)
        tcp_unref(other);
    return err;
}

static bool on_its_way(const struct tcp_socket *t) {
    uint8_t state = READ_ONCE(t->state);
    return state == TCPS_SYN_SENT || state == TCPS_SYN_RECV;
}

int tcp_socket_connect(struct socket *s, const struct socket_address *a, bool nonblock) {
    struct tcp_socket *t = tcp_of(s);
    ip_addr_t to;
    uint16_t port;
    int scope, err = -EALREADY;
    if (a->len < sizeof(a->family))
        return -EINVAL;
    if (a->family == AF_UNSPEC) {
        tcp_socket_disconnect(t);
        t->progress = TCP_UNCONNECTED;
        return 0;
    }
    uint8_t progress = READ_ONCE(t->progress);
    if (progress == TCP_CONNECTED)
        return -EISCONN;
    if (progress == TCP_UNCONNECTED) {
        uint8_t state = READ_ONCE(t->state); // on its way: another thread has just begun
        if (state != TCPS_CLOSE && state != TCPS_SYN_SENT)
            return -EISCONN;
        if ((err = destination(t, a, &to, &port, &scope)) < 0 || (err = begin(t, &to, port, scope)) < 0)
            return err;
        err = err == 0 ? -EINPROGRESS : -EALREADY;
        if (nonblock) // Linux has not seen the answer yet either, however near the other end is
            return err;
    }
    if (on_its_way(t)) {
        nsec_t deadline = socket_deadline(s->send_timeout, nonblock);
        if (!deadline)
            return err;
        int waited = wait_event_until(&s->writable, !on_its_way(t), deadline, true);
        if (waited == -ETIMEDOUT)
            return err;
        if (waited < 0)
            return socket_interrupted(waited, s->send_timeout);
    }
    if (READ_ONCE(t->state) == TCPS_CLOSE) {
        err = socket_error(s);
        t->progress = TCP_UNCONNECTED;
        tcp_socket_disconnect(t);
        return err < 0 ? err : -ECONNABORTED;
    }
    t->progress = TCP_CONNECTED;
    return 0;
}
