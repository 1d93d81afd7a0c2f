// listen(2) and accept(2) of TCP sockets. A connection waits, established, in the listening socket's queue.
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include "net/inet/tcp.h"

struct tcp_socket *tcp_find_listener(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
                                     uint16_t remote_port, int interface) {
    struct inet_socket *i = inet_port_find(PORTS_TCP, local, local_port, remote, remote_port, interface);
    return i ? tcp_of_inet(i) : NULL;
}

// --- listen ---
static int start_listening(struct tcp_socket *t) { // core lock
    struct socket *s = &t->inet.socket;
    int err = 0;
    bool had_port = t->inet.bind.port;
    if (!had_port) {
        ip_addr_t local = t->inet.local;
        err = inet_port_claim(PORTS_TCP, &t->inet, &local, 0);
    }
    if (err < 0)
        return err;
    WRITE_ONCE(s->listening, true);
    err = inet_port_recheck(PORTS_TCP, &t->inet);
    if (err == 0)
        err = pcb_listen(t);
    if (err < 0) {
        WRITE_ONCE(s->listening, false);
        if (!had_port) {
            inet_port_release(&t->inet);
            t->inet.local_port = 0;
        }
        return err;
    }
    t->shutdown = 0;
    tcp_set_state(t, TCPS_LISTEN);
    return 0;
}

int tcp_socket_listen(struct socket *s, int backlog) {
    struct tcp_socket *t = tcp_of(s);
    int err = 0;
    net_lock();
    if (t->progress != TCP_UNCONNECTED || (t->state != TCPS_CLOSE && t->state != TCPS_LISTEN))
        err = -EINVAL;
    else if (t->state == TCPS_CLOSE)
        err = start_listening(t);
    if (err == 0) {
        t->queue_max = MIN((unsigned)backlog, net_settings.somaxconn);
        tcp_room(t);
    }
    net_unlock();
    return err;
}

void tcp_inherit(struct tcp_socket *t, const struct tcp_socket *l) {
    const struct socket *from = &l->inet.socket;
    struct socket *to = &t->inet.socket;
    to->bits = from->bits;
    to->send_buffer = from->send_buffer;
    to->receive_buffer = from->receive_buffer;
    to->low_water = from->low_water;
    to->priority = from->priority;
    to->mark = from->mark;
    to->linger = from->linger;
    to->receive_timeout = from->receive_timeout;
    to->send_timeout = from->send_timeout;
    t->options = l->options;
    t->inet.options = l->inet.options;
    t->inet.options.memberships = NULL;
    t->inet.interface = l->inet.interface;
    t->inet.uid = l->inet.uid;
    t->progress = TCP_CONNECTED;
    inet_port_share((struct inet_socket *)&l->inet, &t->inet);
}

void tcp_enqueue(struct tcp_socket *l, struct tcp_socket *t) {
    list_push_back(&l->queue, &t->accept_link);
    l->queue_count++;
    socket_wake_readable(&l->inet.socket, POLLIN | POLLRDNORM);
}

// --- Connections of this machine that have to wait: for room in the queue, for their first byte ---
static void wait_at(struct tcp_socket *l, struct tcp_socket *t, struct list *where, unsigned retries) {
    list_push_back(where, &t->accept_link);
    t->listener = l;
    tcp_patience_begin(t, time_monotonic() + tcp_retries_seconds(retries) * NSEC_PER_SEC);
}

void tcp_wait_for_room(struct tcp_socket *t, struct tcp_socket *l) {
    wait_at(l, t, &l->waiting, t->options.syn_count ? t->options.syn_count : net_settings.tcp_syn_retries);
}

void tcp_wait_end(struct tcp_socket *t) {
    struct tcp_socket *l = t->listener;
    t->listener = NULL;
    t->is_deferred = false;
    list_remove(&t->accept_link);
    tcp_patience_end(t);
    tcp_unref(l);
}

void tcp_offer(struct tcp_socket *l, struct tcp_socket *t) {
    if (likely(!t->is_deferred)) {
        tcp_enqueue(l, t);
        return;
    }
    tcp_ref(l);
    wait_at(l, t, &l->deferred, l->options.defer_accept - 1);
}

void tcp_first_byte(struct tcp_socket *t) {
    struct tcp_socket *l = t->listener;
    if (!t->is_deferred)
        return;
    t->is_deferred = false;
    tcp_patience_end(t);
    local_limits(t);
    list_remove(&t->accept_link);
    list_push_back(&l->waiting, &t->accept_link);
    tcp_room(l);
}

void tcp_drop_deferred(struct tcp_socket *t) { tcp_patience_begin(t, time_monotonic()); }

void tcp_room(struct tcp_socket *l) {
    while (!list_empty(&l->waiting) && !tcp_queue_full(l)) {
        struct tcp_socket *t = list_first(&l->waiting, struct tcp_socket, accept_link);
        if (t->state == TCPS_SYN_SENT) {
            if (!local_connect_waiting(t, l))
                return; // the next accept tries again
        } else {
            tcp_wait_end(t);
            tcp_enqueue(l, t);
        }
    }
}

// --- accept ---
static struct tcp_socket *take(struct tcp_socket *l) {
    struct tcp_socket *t = NULL;
    if (list_empty(&l->queue))
        return NULL;
    net_lock();
    if (!list_empty(&l->queue)) {
        t = list_first(&l->queue, struct tcp_socket, accept_link);
        list_remove(&t->accept_link);
        l->queue_count--;
        if (unlikely(!list_empty(&l->waiting)))
            tcp_room(l);
    }
    net_unlock();
    return t;
}

struct socket *tcp_socket_accept(struct socket *s, bool nonblock) {
    struct tcp_socket *l = tcp_of(s), *t;
    nsec_t deadline = socket_deadline(s->receive_timeout, nonblock);
    for (;;) {
        if (READ_ONCE(l->state) != TCPS_LISTEN)
            return ERR_PTR(-EINVAL);
        net_poll();
        if ((t = take(l)))
            return &t->inet.socket;
        if (!deadline)
            return ERR_PTR(-EAGAIN);
        int err =
            socket_wait_exclusive(&s->readable, !list_empty(&l->queue) || READ_ONCE(l->state) != TCPS_LISTEN, deadline);
        if (err < 0)
            return ERR_PTR(socket_interrupted(err, s->receive_timeout));
    }
}

// --- The end ---
void tcp_drop(struct tcp_socket *t) {
    struct socket *s = &t->inet.socket;
    s->linger = 0;
    atomic_or(&s->bits, 1u << SOCKET_LINGER);
    s->ops->release(s);
    tcp_unref(t);
}

void tcp_stop_listening(struct tcp_socket *t) {
    struct list waiting;
    list_init(&waiting);
    net_lock();
    if (t->state != TCPS_LISTEN) {
        net_unlock();
        return;
    }
    WRITE_ONCE(t->inet.socket.listening, false);
    tcp_set_state(t, TCPS_CLOSE);
    pcb_unlisten(t);
    while (!list_empty(&t->queue)) {
        struct list *c = t->queue.next;
        list_remove(c);
        list_push_back(&waiting, c);
    }
    t->queue_count = 0;
    while (!list_empty(&t->waiting) || !list_empty(&t->deferred)) {
        struct list *from = list_empty(&t->waiting) ? &t->deferred : &t->waiting;
        struct tcp_socket *c = list_first(from, struct tcp_socket, accept_link);
        tcp_wait_end(c);
        if (c->state == TCPS_SYN_SENT)
            tcp_socket_end(c, ECONNREFUSED);
        else
            list_push_back(&waiting, &c->accept_link);
    }
    net_unlock();
    while (!list_empty(&waiting)) {
        struct tcp_socket *c = list_first(&waiting, struct tcp_socket, accept_link);
        list_remove(&c->accept_link);
        tcp_drop(c);
    }
    socket_wake_state(&t->inet.socket);
}
