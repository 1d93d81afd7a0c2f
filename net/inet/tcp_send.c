// Sending on TCP sockets: pieces into the other end's queue (local.c) or into the own one (tcp_pcb.c) while there is room.
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "net/inet/tcp.h"

#define MSG_MORE 0x8000
#define MSG_FASTOPEN 0x20000000
#define MSG_ZEROCOPY 0x4000000

static uint8_t shut(const struct tcp_socket *t) { return READ_ONCE(t->shutdown); }

// Something is wrong with the connection for who sends.
static bool broken(struct tcp_socket *t) { return READ_ONCE(t->inet.socket.error) || (shut(t) & SHUTDOWN_SEND); }

// Another thread has ended it (connect(2) with AF_UNSPEC), or another sender has taken the error.
static bool gone(const struct tcp_socket *t) { return READ_ONCE(t->state) == TCPS_CLOSE; }

static int wait_error(struct tcp_socket *t, int err) { return socket_interrupted(err, t->inet.socket.send_timeout); }

// A connection that is on its way is waited for. -EPIPE: there is none.
static int wait_for_connection(struct tcp_socket *t, nsec_t deadline) {
    struct socket *s = &t->inet.socket;
    for (;;) {
        uint8_t state = READ_ONCE(t->state);
        if (state == TCPS_ESTABLISHED || state == TCPS_CLOSE_WAIT)
            return 0;
        int err = socket_error(s);
        if (err < 0)
            return err;
        if (state != TCPS_SYN_SENT && state != TCPS_SYN_RECV)
            return -EPIPE;
        if (!deadline)
            return -EAGAIN;
        err = wait_event_until(&s->writable, READ_ONCE(t->state) != state || READ_ONCE(s->error), deadline, true);
        if (err < 0)
            return wait_error(t, err);
    }
}

static bool has_room(struct tcp_socket *t, struct tcp_socket *peer) {
    if (peer)
        return bytequeue_used(&peer->bytes) < READ_ONCE(peer->capacity) || peer->dead;
    return bytequeue_used(&t->bytes) < tcp_send_limit(t);
}

static int wait_for_room(struct tcp_socket *t, struct tcp_socket *peer, nsec_t deadline) {
    if (!deadline)
        return -EAGAIN;
    int err = wait_event_until(&t->inet.socket.writable, has_room(t, peer) || broken(t) || gone(t), deadline, true);
    return err == 0 && gone(t) ? -EPIPE : wait_error(t, err);
}

static int send_all(struct tcp_socket *t, struct tcp_socket *peer, struct uio *u, nsec_t deadline, int64_t *sent) {
    while (u->left > 0) {
        if (unlikely(broken(t)))
            return -EPIPE;
        size_t left = u->left;
        int64_t n = likely(peer != NULL) ? local_put(t, peer, u, left) : pcb_put(t, u, left);
        if (n < 0)
            return n;
        *sent += n;
        if ((size_t)n == left)
            return 0;
        int err = n ? 0 : wait_for_room(t, peer, deadline);
        if (err < 0)
            return err;
        sched_point();
    }
    return 0;
}

int64_t tcp_socket_send(struct socket *s, struct uio *u, struct socket_message *m, int flags) {
    struct tcp_socket *t = tcp_of(s);
    int64_t sent = 0;
    int err = 0;
    if (unlikely(flags & (MSG_OOB | MSG_FASTOPEN)))
        return -EOPNOTSUPP; // docs/network.md
    nsec_t deadline = socket_deadline(s->send_timeout, flags & MSG_DONTWAIT);
    uint8_t state = READ_ONCE(t->state);
    if (unlikely(state != TCPS_ESTABLISHED && state != TCPS_CLOSE_WAIT))
        err = wait_for_connection(t, deadline);
    if (likely(err == 0)) {
        struct tcp_socket *peer = READ_ONCE(t->local) ? local_peer(t) : NULL;
        if (unlikely(broken(t) || (t->local && !peer))) {
            err = -EPIPE;
        } else {
            if (!peer)
                t->more = flags & MSG_MORE;
            err = send_all(t, peer, u, deadline, &sent);
        }
        if (peer)
            tcp_unref(peer);
    }
    if (likely(sent))
        return sent;
    int pending = err == -EPIPE ? socket_error(s) : 0;
    err = pending < 0 ? pending : err;
    if (err == -EPIPE && !(flags & MSG_NOSIGNAL))
        signal_send_thread(thread_current(), SIGPIPE, NULL);
    return err;
}

size_t tcp_unsent(struct tcp_socket *t) {
    if (!READ_ONCE(t->local))
        return bytequeue_used(&t->bytes);
    struct tcp_socket *peer = local_peer(t);
    if (!peer)
        return 0;
    size_t used = bytequeue_used(&peer->bytes), received = tcp_receive_limit(peer);
    tcp_unref(peer);
    return used > received ? used - received : 0; // what Linux has not got into the receiver's buffer
}
