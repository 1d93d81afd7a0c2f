// TCP connections within the machine: two sockets that put bytes into each other's queue. See net/inet/tcp.h. What the application sees is what it
// sees over Linux' loopback, where everything is there and acknowledged at once: the states, what a FIN and a RST do, when there is room.
#include "kernel/memory/landing.h"
#include "kernel/time.h"
#include "net/inet/tcp.h"

#define CHUNK 65536u // bytes that a reader sees at once

// --- Connections ---

// How many bytes may lie in the queue of `t`: what Linux lets lie in its receive buffer and in the peer's send buffer.
static void limit(struct tcp_socket *t, const struct tcp_socket *sender) {
    uint32_t receive = tcp_receive_limit(t), send = tcp_send_limit(sender);
    WRITE_ONCE(t->capacity, t->is_deferred ? 0 : receive + send);
    WRITE_ONCE(t->writable_below, receive + send - send / 3);
}

void local_limits(struct tcp_socket *t) {
    struct tcp_socket *peer = t->peer;
    if (!peer)
        return;
    limit(t, peer);
    limit(peer, t);
    socket_wake_writable(&t->inet.socket, POLLOUT | POLLWRNORM);
    socket_wake_writable(&peer->inet.socket, POLLOUT | POLLWRNORM);
}

static void set_peer(struct tcp_socket *t, struct tcp_socket *peer) {
    tcp_ref(peer);
    spin_lock(&t->inet.socket.lock);
    t->peer = peer;
    spin_unlock(&t->inet.socket.lock);
    WRITE_ONCE(t->local, true);
    limit(t, peer);
    tcp_set_state(t, TCPS_ESTABLISHED);
}

// The listener takes the connection; `other` is the end that it gets.
static void join(struct tcp_socket *t, struct tcp_socket *l, struct tcp_socket *other) {
    struct inet_socket *mine = &t->inet, *theirs = &other->inet;
    theirs->socket.family = l->inet.socket.family;
    theirs->local = mine->remote;
    theirs->local_port = mine->remote_port;
    theirs->remote = mine->local;
    theirs->remote_port = mine->local_port;
    tcp_inherit(other, l);
    t->local = other->local = true;
    other->is_deferred = l->options.defer_accept;
    set_peer(other, t);
    set_peer(t, other);
    tcp_offer(l, other);
    socket_wake_writable(&mine->socket, POLLOUT | POLLWRNORM);
}

int local_connect(struct tcp_socket *t, struct tcp_socket *other) {
    struct inet_socket *i = &t->inet;
    struct tcp_socket *l = tcp_find_listener(&i->remote, i->remote_port, &i->local, i->local_port, 1);
    if (!l && i->remote_port == i->local_port && ip_addr_cmp(&i->remote, &i->local)) {
        set_peer(t, t); // it has met itself
        return 1;
    }
    if (!l)
        return -ECONNREFUSED;
    if (tcp_queue_full(l)) {
        tcp_wait_for_room(t, l);
        return 1;
    }
    join(t, l, other);
    tcp_unref(l);
    return 0;
}

bool local_connect_waiting(struct tcp_socket *t, struct tcp_socket *l) {
    struct tcp_socket *other = tcp_socket_alloc(l->inet.socket.family);
    if (!other)
        return false;
    tcp_wait_end(t);
    join(t, l, other);
    return true;
}

struct tcp_socket *local_peer(struct tcp_socket *t) {
    spin_lock(&t->inet.socket.lock);
    struct tcp_socket *peer = t->peer;
    if (peer)
        tcp_ref(peer);
    spin_unlock(&t->inet.socket.lock);
    return peer;
}

// --- The end ---

// Its FIN was the first: the port stays taken for a while.
static void time_wait(struct tcp_socket *t) { inet_port_linger(&t->inet, time_monotonic() + TCP_TIME_WAIT_TIME); }

static bool is_open(const struct tcp_socket *t) {
    return t->state == TCPS_ESTABLISHED || t->state == TCPS_CLOSE_WAIT || t->state == TCPS_FIN_WAIT2;
}

void local_fin(struct tcp_socket *t) {
    struct tcp_socket *peer = t->peer;
    if (!peer || !is_open(t) || t->state == TCPS_FIN_WAIT2)
        return;
    if (peer == t) {
        t->done = true;
        tcp_socket_end(t, 0);
        return;
    }
    peer->done = true;
    if (unlikely(peer->is_deferred))
        tcp_first_byte(peer);
    if (peer->state == TCPS_FIN_WAIT2 || peer->dead) { // both have
        time_wait(peer);
        tcp_socket_end(peer, 0);
        tcp_socket_end(t, 0);
        return;
    }
    tcp_set_state(t, TCPS_FIN_WAIT2);
    if (peer->state == TCPS_ESTABLISHED) {
        tcp_set_state(peer, TCPS_CLOSE_WAIT);
        WRITE_ONCE(peer->shutdown, peer->shutdown | SHUTDOWN_RECEIVE);
        socket_wake_state(&peer->inet.socket);
    }
}

void local_close(struct tcp_socket *t, bool reset) {
    struct tcp_socket *peer = t->peer;
    if (!peer)
        return;
    if (is_open(t)) {
        if (!reset) {
            local_fin(t);
            if (t->state == TCPS_FIN_WAIT2 && peer->state != TCPS_CLOSE)
                time_wait(t);
        } else if (peer != t && is_open(peer)) {
            tcp_socket_end(peer, tcp_reset_error(peer));
            if (unlikely(peer->is_deferred))
                tcp_drop_deferred(peer);
        }
    }
    spin_lock(&t->inet.socket.lock);
    t->peer = NULL;
    spin_unlock(&t->inet.socket.lock);
    tcp_unref(peer);
}

// What was sent comes to a socket that is no more: the answer is a RST.
static void send_to_nobody(struct tcp_socket *t) {
    net_lock();
    if (t->local && is_open(t))
        tcp_socket_end(t, tcp_reset_error(t));
    net_unlock();
}

// --- Bytes ---

// For TCP_DEFER_ACCEPT. write_lock held.
static int64_t put_first(struct tcp_socket *peer, struct uio *u, size_t n) {
    int err = bytequeue_put(&peer->bytes, u, n);
    if (err < 0)
        return err;
    net_lock();
    tcp_first_byte(peer);
    net_unlock();
    return n;
}

int64_t local_put(struct tcp_socket *t, struct tcp_socket *peer, struct uio *u, size_t n) {
    struct bytequeue *q = &peer->bytes;
    mutex_lock(&q->write_lock);
    size_t used = bytequeue_used(q), capacity = READ_ONCE(peer->capacity);
    int64_t done = 0;
    if (unlikely(used >= capacity)) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST); // see local_consumed
        used = bytequeue_used(q);
    }
    bool gone = peer->dead || READ_ONCE(peer->peer) != t;
    if (unlikely(gone)) {
        done = -EPIPE;
    } else if (used < capacity) {
        size_t piece = MIN(MIN(n, CHUNK), capacity - used);
        if (unlikely(landing_wanted(&peer->landing, piece)) && !used)
            done = (int64_t)landing_fill(&peer->landing, u, piece);
        if (unlikely(done)) {
            WRITE_ONCE(peer->landed, peer->landed + (uint64_t)done);
            mutex_unlock(&q->write_lock);
            socket_landed(&peer->inet.socket);
            return done;
        }
        int err = bytequeue_put(q, u, piece);
        done = err < 0 ? err : (int64_t)piece;
    } else if (unlikely(peer->is_deferred)) {
        done = put_first(peer, u, MIN(n, CHUNK));
    }
    mutex_unlock(&q->write_lock);
    if (likely(done > 0)) {
        socket_wake_readable(&peer->inet.socket, POLLIN | POLLRDNORM);
    } else if (unlikely(gone)) {
        // The first bytes are still taken, as they are on their way before the RST is back.
        bool first = is_open(t) && !(READ_ONCE(t->shutdown) & SHUTDOWN_SEND);
        send_to_nobody(t);
        if (first)
            done = n; // the caller asks for all that is left
    }
    return done;
}

void local_consumed(struct tcp_socket *t, size_t n) {
    // The new tail, and then the look at what is written and at who waits. A writer that finds no room looks again behind its own fence,
    // so either it sees the room, or its bytes are counted here.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    size_t used = bytequeue_used(&t->bytes), below = t->writable_below;
    if (likely(used > below || used + n <= below))
        return;
    struct tcp_socket *peer = local_peer(t);
    if (peer) {
        socket_wake_writable(&peer->inet.socket, POLLOUT | POLLWRNORM);
        tcp_unref(peer);
    }
}
