// TCP sockets: life, bind, shutdown, close, poll, ioctl; see net/inet/tcp.h.
#include "net/inet/tcp.h"
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include <asm/ioctls.h>
#include <asm/socket.h>
#include <linux/sockios.h>

// What a send buffer is that nobody has set. It does not grow on a long path: a window that overruns a router's queue loses many segments at
// once, and without SACK lwIP repairs one of them in a round trip.
#define SEND_MOST (256u << 10)
#define RECEIVE_USUAL (256u << 10) // a receive buffer; on a long path it grows to the most of tcp_rmem
#define LEAST (16u << 10)          // what they have when there are many

static struct slab_cache tcp_cache = SLAB_CACHE("tcp_socket", sizeof(struct tcp_socket), 64);
static struct list all = LIST_INIT(all); // that are not closed, by inet.link
static const struct socket_ops tcp_ops;

// --- Life ---
struct tcp_socket *tcp_socket_alloc(int family) {
    struct tcp_socket *t = slab_alloc(&tcp_cache);
    if (!t)
        return NULL;
    memset(t, 0, sizeof(*t));
    inet_init_socket(&t->inet, &tcp_ops, family, SOCK_STREAM, IPPROTO_TCP);
    t->inet.socket.send_buffer = net_settings.tcp_wmem[1];
    t->inet.socket.receive_buffer = net_settings.tcp_rmem[1];
    t->state = TCPS_CLOSE;
    list_init(&t->queue);
    list_init(&t->waiting);
    list_init(&t->deferred);
    list_init(&t->patience_link);
    list_init(&t->accept_link);
    bytequeue_init(&t->bytes);
    t->input_end = &t->input;
    t->options.quickack = true;
    return t;
}

struct socket *tcp_create(int family) {
    struct tcp_socket *t = tcp_socket_alloc(family);
    return t ? &t->inet.socket : ERR_PTR(-ENOMEM);
}

// By the last reference: a file's, or lwIP's connection's, then under the core lock.
static void tcp_free_socket(struct socket *s) {
    struct tcp_socket *t = tcp_of(s);
    list_remove(&t->inet.link); // it is in the list only when lwIP's connection was the last to hold it
    inet_port_release(&t->inet);
    bytequeue_free(&t->bytes);
    slab_free(&tcp_cache, t);
}

struct tcp_socket *tcp_next(struct tcp_socket *t) {
    struct list *next = t ? t->inet.link.next : all.next;
    return next == &all ? NULL : tcp_of_inet(list_entry(next, struct inet_socket, link));
}

void tcp_set_state(struct tcp_socket *t, enum tcps state) {
    WRITE_ONCE(t->state, state);
    if (state == TCPS_CLOSE)
        list_remove(&t->inet.link);
    else if (list_empty(&t->inet.link))
        list_push_back(&all, &t->inet.link);
}

int tcp_reset_error(const struct tcp_socket *t) {
    return t->state == TCPS_SYN_SENT ? ECONNREFUSED : t->state == TCPS_CLOSE_WAIT ? EPIPE : ECONNRESET;
}

void tcp_socket_end(struct tcp_socket *t, int error) {
    if (t->state == TCPS_CLOSE)
        return;
    if (error)
        socket_set_error(&t->inet.socket, error);
    WRITE_ONCE(t->shutdown, SHUTDOWN_BOTH);
    tcp_set_state(t, TCPS_CLOSE);
    socket_wake_state(&t->inet.socket);
}

// --- Limits ---
// Connections through lwIP share a sixteenth of the memory for each direction.
static uint32_t fair(const struct tcp_socket *t, uint32_t most) {
    uint64_t count = READ_ONCE(tcp_pcb_count), share = page_total() * PAGE_SIZE / 16;
    if (t->local || likely(count * most <= share))
        return most;
    return MAX(share / count, LEAST);
}

uint32_t tcp_send_limit(const struct tcp_socket *t) {
    return socket_bit(&t->inet.socket, SOCKET_SNDBUF_LOCKED) ? READ_ONCE(t->inet.socket.send_buffer)
                                                             : fair(t, SEND_MOST);
}

uint32_t tcp_receive_limit(const struct tcp_socket *t) {
    return socket_bit(&t->inet.socket, SOCKET_RCVBUF_LOCKED) ? READ_ONCE(t->inet.socket.receive_buffer)
                                                             : fair(t, MAX(t->receive_grown, RECEIVE_USUAL));
}

bool tcp_socket_writable(struct tcp_socket *t) {
    if (READ_ONCE(t->local)) {
        struct tcp_socket *peer = local_peer(t);
        bool writable = !peer || bytequeue_used(&peer->bytes) <= READ_ONCE(peer->writable_below);
        if (peer)
            tcp_unref(peer);
        return writable;
    }
    uint32_t limit = tcp_send_limit(t), used = bytequeue_used(&t->bytes);
    if (t->options.notsent && t->bytes.head - READ_ONCE(t->written) >= t->options.notsent)
        return false;
    return used <= limit - limit / 3;
}

// --- bind, names ---
static int tcp_socket_bind(struct socket *s, const struct socket_address *a) {
    struct tcp_socket *t = tcp_of(s);
    ip_addr_t ip;
    uint16_t port;
    int err = inet_bind_address(&t->inet, a, &ip, &port);
    if (err < 0)
        return err;
    net_lock();
    err = inet_bind_allowed(&t->inet, &ip, port);
    if (err == 0 && t->state != TCPS_CLOSE)
        err = -EINVAL;
    if (err == 0 && !port && t->inet.options.no_port_yet)
        t->inet.local = ip; // connect(2) or listen(2) chooses the port
    else if (err == 0)
        err = inet_port_claim(PORTS_TCP, &t->inet, &ip, port);
    if (err == 0) {
        t->inet.bound_address = !ip_addr_isany(&ip);
        t->inet.bound_port = port != 0;
    }
    net_unlock();
    return err;
}

static int tcp_name(struct socket *s, struct socket_address *a, bool peer) {
    uint8_t state = READ_ONCE(tcp_of(s)->state);
    if (peer && (state == TCPS_CLOSE || state == TCPS_SYN_SENT || state == TCPS_LISTEN))
        return -ENOTCONN;
    return inet_name(s, a, peer);
}

// --- shutdown, close ---
static void forget_connection(struct tcp_socket *t) { // core lock
    if (t->listener)
        tcp_wait_end(t);
    if (t->local)
        local_close(t, true);
    else if (t->pcb)
        pcb_abort(t);
}

static int tcp_socket_shutdown(struct socket *s, int bits) {
    struct tcp_socket *t = tcp_of(s);
    net_lock();
    uint8_t state = t->state;
    int err = state == TCPS_CLOSE ? -ENOTCONN : 0; // and yet, as in Linux, poll shows it
    if (state != TCPS_LISTEN && state != TCPS_SYN_SENT) {
        bool fin = state != TCPS_CLOSE && (bits & SHUTDOWN_SEND) && !(t->shutdown & SHUTDOWN_SEND);
        WRITE_ONCE(t->shutdown, t->shutdown | bits);
        if (fin && t->local)
            local_fin(t);
        else if (fin)
            pcb_fin(t);
    }
    net_unlock();
    if (state == TCPS_SYN_SENT || (state == TCPS_LISTEN && (bits & SHUTDOWN_RECEIVE))) {
        tcp_socket_disconnect(t);
        t->progress = TCP_UNCONNECTED;
    }
    socket_wake_state(s);
    return err;
}

void tcp_socket_disconnect(struct tcp_socket *t) {
    struct socket *s = &t->inet.socket;
    if (READ_ONCE(t->state) == TCPS_LISTEN)
        tcp_stop_listening(t);
    mutex_lock(&t->bytes.read_lock);
    mutex_lock(&t->bytes.write_lock);
    net_lock();
    bool was = t->state != TCPS_CLOSE && t->state != TCPS_LISTEN;
    forget_connection(t);
    if (was)
        socket_set_error(s, ECONNRESET);
    tcp_set_state(t, TCPS_CLOSE);
    t->shutdown = 0;
    t->done = t->local = t->fin_wanted = t->more = false;
    pcb_free_input(t);
    t->received = t->consumed = t->written = 0;
    t->written_piece = NULL;
    t->inet.remote_port = 0;
    ip_addr_set_zero(&t->inet.remote);
    if (!t->inet.bound_address)
        ip_addr_set_any(false, &t->inet.local);
    if (!t->inet.bound_address && s->family == AF_INET6)
        IP_SET_TYPE_VAL(t->inet.local, t->inet.options.v6only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY);
    if (!t->inet.bound_port) {
        inet_port_release(&t->inet);
        t->inet.local_port = 0;
    }
    net_unlock();
    bytequeue_free(&t->bytes);
    t->bytes.head = t->bytes.tail = t->landed = 0;
    mutex_unlock(&t->bytes.write_lock);
    mutex_unlock(&t->bytes.read_lock);
    socket_wake_state(s);
}

// close(2) waits until everything is acknowledged, when the application has asked for it.
static void linger(struct tcp_socket *t) {
    struct socket *s = &t->inet.socket;
    nsec_t deadline = time_monotonic() + MIN((nsec_t)s->linger, 1000000) * NSEC_PER_SEC;
    wait_event_until(&s->writable, !bytequeue_used(&t->bytes) || !READ_ONCE(t->pcb), deadline, true);
}

static void tcp_release(struct socket *s) {
    struct tcp_socket *t = tcp_of(s);
    bool abort = socket_bit(s, SOCKET_LINGER) && s->linger == 0;
    if (t->state == TCPS_LISTEN)
        tcp_stop_listening(t);
    net_lock();
    WRITE_ONCE(t->dead, true);
    WRITE_ONCE(t->shutdown, SHUTDOWN_BOTH);
    if (t->listener)
        tcp_wait_end(t);
    bool unread = tcp_available(t) > 0;
    bool wait = false;
    if (t->local) {
        local_close(t, unread || abort);
    } else if (t->pcb && (unread || abort || t->state == TCPS_SYN_SENT)) {
        pcb_abort(t);
    } else if (t->pcb) {
        wait = socket_bit(s, SOCKET_LINGER) && bytequeue_used(&t->bytes);
        pcb_close(t);
    }
    bool through_lwip = t->pcb != NULL; // its port and its bytes go with it
    if (!through_lwip) {
        tcp_set_state(t, TCPS_CLOSE);
        inet_port_release(&t->inet);
    }
    net_unlock();
    if (wait)
        linger(t);
    mutex_lock(&t->bytes.read_lock);
    net_lock();
    pcb_free_input(t);
    net_unlock();
    mutex_unlock(&t->bytes.read_lock);
    if (!through_lwip) {
        mutex_lock(&t->bytes.write_lock); // a sender may just be at it; later ones see that we are dead
        bytequeue_free(&t->bytes);
        mutex_unlock(&t->bytes.write_lock);
    }
    inet_options_free(&t->inet);
}

// --- poll ---
static uint32_t tcp_poll_socket(struct socket *s, struct file *f, struct poll_table *pt) {
    struct tcp_socket *t = tcp_of(s);
    poll_on(pt, f, &s->readable);
    poll_on(pt, f, &s->writable);
    net_poll();
    uint8_t state = load_acquire(&t->state), shutdown = READ_ONCE(t->shutdown);
    uint32_t mask = 0;
    if (state == TCPS_LISTEN)
        return list_empty(&t->queue) ? 0 : POLLIN | POLLRDNORM;
    if (shutdown == SHUTDOWN_BOTH || state == TCPS_CLOSE)
        mask |= POLLHUP;
    if (shutdown & SHUTDOWN_RECEIVE)
        mask |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (state != TCPS_SYN_SENT) {
        if (tcp_available(t) >= (size_t)MIN((unsigned)s->low_water, tcp_receive_limit(t)))
            mask |= POLLIN | POLLRDNORM;
        if ((shutdown & SHUTDOWN_SEND) || tcp_socket_writable(t) || (tcp_no_space(t) && tcp_socket_writable(t)))
            mask |= POLLOUT | POLLWRNORM;
    }
    if (READ_ONCE(s->error))
        mask |= POLLERR;
    return mask;
}

// --- ioctl ---
static long tcp_ioctl(struct socket *s, unsigned cmd, uaddr_t arg) {
    struct tcp_socket *t = tcp_of(s);
    int value;
    switch (cmd) {
    case SIOCINQ:
        if (t->state == TCPS_LISTEN)
            return -EINVAL;
        value = tcp_available(t);
        break;
    case SIOCATMARK: value = 0; break; // there is no urgent data
    case SIOCOUTQ:
    case SIOCOUTQNSD:
        if (t->state == TCPS_LISTEN)
            return -EINVAL;
        value = t->state == TCPS_SYN_SENT ? 0 : (int)tcp_unsent(t);
        break;
    default: return inet_ioctl(s, cmd, arg);
    }
    return copy_out_obj(arg, &value);
}

static const struct socket_ops tcp_ops = {
    .release = tcp_release,
    .free = tcp_free_socket,
    .bind = tcp_socket_bind,
    .connect = tcp_socket_connect,
    .listen = tcp_socket_listen,
    .accept = tcp_socket_accept,
    .name = tcp_name,
    .shutdown = tcp_socket_shutdown,
    .send = tcp_socket_send,
    .receive = tcp_socket_receive,
    .poll = tcp_poll_socket,
    .ioctl = tcp_ioctl,
    .set_option = tcp_set_option,
    .get_option = tcp_get_option,
    .option_changed = tcp_option_changed,
};
