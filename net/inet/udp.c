// UDP sockets, see udp(7): what they are, bind, connect, options. Sending is in udp_socket_send.c, receiving in udp_input.c.
// A socket stands in the table of ports (net/inet/ports.c), by which both senders of this machine and lwIP's packets find it.
#include "net/inet/datagram.h"
#include "net/inet/udp.h"
#include "fs/vfs.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include <linux/udp.h>

static struct list sockets = LIST_INIT(sockets); // under the core lock

// --- Names ---

static int udp_socket_bind(struct socket *so, const struct socket_address *a) {
    struct inet_socket *is = inet_of(so);
    ip_addr_t ip;
    uint16_t port;
    int err = inet_bind_address(is, a, &ip, &port);
    if (err < 0)
        return err;
    net_lock();
    err = inet_bind_allowed(is, &ip, port);
    if (!err && !port && is->options.no_port_yet)
        is->local = ip; // udp_autobind chooses the port
    else if (!err)
        err = inet_port_claim(PORTS_UDP, is, &ip, port);
    if (!err) {
        is->bound_address = !ip_addr_isany_val(ip);
        is->bound_port = port;
        if (IP_IS_V6_VAL(ip) && ip6_addr_has_zone(ip_2_ip6(&ip)))
            is->interface = ip6_addr_zone(ip_2_ip6(&ip));
    }
    net_unlock();
    return err;
}

int udp_autobind(struct datagram_socket *s) {
    int err = 0;
    if (likely(READ_ONCE(s->inet.local_port)))
        return 0;
    net_lock();
    if (!s->inet.local_port) {
        ip_addr_t any = s->inet.local;
        err = inet_port_claim(PORTS_UDP, &s->inet, &any, 0);
    }
    net_unlock();
    return err == -EADDRINUSE ? -EAGAIN : err;
}

static void udp_socket_disconnect(struct datagram_socket *s) {
    if (s->inet.bound_port)
        return;
    inet_port_release(&s->inet);
    s->inet.local_port = 0;
}

static int udp_socket_connect(struct socket *so, const struct socket_address *a, bool nonblock) {
    struct datagram_socket *s = datagram_of(so);
    if (a->len < sizeof(a->family))
        return -EINVAL;
    if (a->family == AF_UNSPEC) {
        datagram_disconnect(s, udp_socket_disconnect);
        return 0;
    }
    int err = udp_autobind(s);
    return err < 0 ? err : datagram_connect(so, a, nonblock);
}

// --- Options of IPPROTO_UDP ---

static int set_own(struct datagram_socket *s, int name, int value) {
    switch (name) {
    case UDP_CORK: s->corked = value; return value ? 0 : udp_flush(s);
    case UDP_NO_CHECK6_TX: s->no_check6_send = value; return 0;
    case UDP_NO_CHECK6_RX: s->no_check6_receive = value; return 0;
    case UDP_SEGMENT:
        if (value < 0 || value > UINT16_MAX)
            return -EINVAL;
        s->segment = value;
        return 0;
    case UDP_GRO: s->gro = value; return 0; // datagrams may come joined; here they never do
    }
    return -ENOPROTOOPT;
}

static int udp_socket_set_option(struct socket *so, int level, int name, const void *value, unsigned len) {
    int number;
    if (level != IPPROTO_UDP)
        return inet_set_option(so, level, name, value, len);
    if (len < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    return set_own(datagram_of(so), name, number);
}

static int udp_socket_get_option(struct socket *so, int level, int name, void *value, unsigned *len) {
    struct datagram_socket *s = datagram_of(so);
    int number;
    if (level != IPPROTO_UDP)
        return inet_get_option(so, level, name, value, len);
    switch (name) {
    case UDP_CORK: number = s->corked; break;
    case UDP_ENCAP: number = 0; break;
    case UDP_NO_CHECK6_TX: number = s->no_check6_send; break;
    case UDP_NO_CHECK6_RX: number = s->no_check6_receive; break;
    case UDP_SEGMENT: number = s->segment; break;
    case UDP_GRO: number = s->gro; break;
    default: return -ENOPROTOOPT;
    }
    *len = MIN(*len, (unsigned)sizeof(number));
    memcpy(value, &number, *len);
    return 0;
}

// --- Life ---

static void udp_socket_release(struct socket *so) {
    struct datagram_socket *s = datagram_of(so);
    net_lock();
    inet_port_release(&s->inet);
    list_remove(&s->inet.link);
    inet_options_free(&s->inet);
    net_unlock();
    udp_forget_pending(s);
    datagram_socket_close(s);
}

static const struct socket_ops udp_socket_ops = {
    .release = udp_socket_release,
    .free = datagram_socket_free,
    .bind = udp_socket_bind,
    .connect = udp_socket_connect,
    .name = inet_name,
    .shutdown = datagram_shutdown,
    .send = udp_socket_send,
    .receive = datagram_receive,
    .poll = datagram_poll,
    .ioctl = datagram_ioctl,
    .set_option = udp_socket_set_option,
    .get_option = udp_socket_get_option,
    .peeks_at_offset = true,
};

struct socket *udp_create(int family, int protocol) {
    struct datagram_socket *s = datagram_socket_create(&udp_socket_ops, family, SOCK_DGRAM, protocol);
    if (!s)
        return ERR_PTR(-ENOMEM);
    net_lock();
    list_push_back(&sockets, &s->inet.link);
    net_unlock();
    return &s->inet.socket;
}

// --- Tables ---

void datagram_row(struct datagram_socket *s, struct inet_row *row) {
    struct socket *so = &s->inet.socket;
    *row = (struct inet_row){.socket = &s->inet,
                             .local = s->inet.local,
                             .remote = s->inet.remote,
                             .local_port = s->inet.local_port,
                             .remote_port = s->inet.remote_port,
                             .state = s->connected ? 1 : 7, // TCP_ESTABLISHED, TCP_CLOSE
                             .uid = s->inet.uid,
                             .send_queue = READ_ONCE(s->sending)};
    spin_lock(&so->lock);
    row->receive_queue = s->charged;
    row->drops = s->drops;
    if (so->file)
        row->inode = so->file->inode->ino;
    spin_unlock(&so->lock);
}

void udp_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx) {
    struct inet_socket *is;
    list_for_each (is, &sockets, link) {
        struct inet_row row;
        datagram_row(container_of(is, struct datagram_socket, inet), &row);
        if (is->local_port && fn(ctx, &row))
            return;
    }
}
