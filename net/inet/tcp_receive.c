// Receiving on TCP sockets, in the steps of Linux' tcp_recvmsg: out of the socket's own queue (local.c), or out of what lwIP has left
// for it (tcp_pcb.c).
#include "kernel/memory/landing.h"
#include "kernel/threads/thread.h"
#include "net/inet/tcp.h"

#define LANDED 2 // what a wait returns: bytes came past the queue

struct receiving {
    struct tcp_socket *t;
    struct uio *uio;
    int flags;
    size_t skip;   // MSG_PEEK: bytes behind the first that were looked at
    size_t landed; // with LANDED
};

size_t tcp_available(const struct tcp_socket *t) {
    if (READ_ONCE(t->local))
        return bytequeue_used(&t->bytes);
    uint64_t consumed = load_acquire(&t->consumed), received = load_acquire(&t->received); // both may grow meanwhile
    return received > consumed ? received - consumed : 0;                                  // and fall to 0
}

static bool may_read(const struct receiving *r) { return tcp_available(r->t) > r->skip; }

// The end of what is received, or an error, for who finds nothing. 1: the end; 0: neither.
static int end_of(struct tcp_socket *t) {
    struct socket *s = &t->inet.socket;
    if (READ_ONCE(t->done))
        return 1;
    int err = socket_error(s);
    if (err < 0)
        return err;
    if (READ_ONCE(t->shutdown) & SHUTDOWN_RECEIVE)
        return 1;
    return READ_ONCE(t->state) == TCPS_CLOSE ? -ENOTCONN : 0;
}

static inline __attribute__((always_inline)) bool news(const struct receiving *r) {
    const struct tcp_socket *t = r->t;
    return may_read(r) || READ_ONCE(t->done) || READ_ONCE(t->inet.socket.error) ||
           (READ_ONCE(t->shutdown) & SHUTDOWN_RECEIVE) || READ_ONCE(t->state) == TCPS_CLOSE;
}

// The same wait, with a place for bytes that come past the queue.
static __attribute__((noinline)) int wait_for_landing(struct receiving *r, nsec_t deadline) {
    struct tcp_socket *t = r->t;
    struct landing l;
    bool offered = landing_offer(&t->landing, &l, r->uio);
    mutex_unlock(&t->bytes.read_lock);
    int err = wait_event_until(&t->inet.socket.readable, news(r) || (offered && landing_over(&l)), deadline, true);
    mutex_lock(&t->bytes.read_lock);
    if (offered && (r->landed = landing_end(&t->landing, &l, r->uio)))
        return LANDED;
    return socket_interrupted(err, t->inet.socket.receive_timeout);
}

// 0: look again; 1: the end; LANDED; -errno. read_lock held, and dropped while it sleeps.
static int wait_for_data(struct receiving *r, nsec_t deadline) {
    struct tcp_socket *t = r->t;
    int err = end_of(t);
    if (err)
        return may_read(r) ? 0 : err; // it may have come just before the end
    if (!deadline)
        return -EAGAIN;
    if (r->uio->left >= LANDING_MIN && t->local && !(r->flags & (MSG_PEEK | MSG_TRUNC)))
        return wait_for_landing(r, deadline);
    mutex_unlock(&t->bytes.read_lock);
    err = wait_event_until(&t->inet.socket.readable, news(r), deadline, true);
    mutex_lock(&t->bytes.read_lock);
    return socket_interrupted(err, t->inet.socket.receive_timeout);
}

static int64_t receive_piece(struct receiving *r) {
    struct tcp_socket *t = r->t;
    bool local = t->local;
    size_t n = MIN(tcp_available(t) - r->skip, r->uio->left);
    if (!local)
        pcb_take(t);                    // at least these
    if (unlikely(r->flags & MSG_TRUNC)) // bytes are thrown away
        r->uio->left -= n;
    else if ((local ? bytequeue_peek(&t->bytes, r->uio, r->skip, n) : pcb_copy(t, r->uio, r->skip, n)) < n)
        return -EFAULT;
    if (unlikely(r->flags & MSG_PEEK)) {
        r->skip += n;
    } else if (likely(local)) {
        bytequeue_drop(&t->bytes, n);
        local_consumed(t, n);
    } else {
        pcb_drop(t, n);
    }
    return n;
}

int64_t tcp_socket_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags) {
    struct tcp_socket *t = tcp_of(s);
    if (unlikely(READ_ONCE(t->state) == TCPS_LISTEN))
        return -ENOTCONN;
    if (unlikely(flags & MSG_OOB))
        return -EINVAL; // there is none
    struct receiving r = {.t = t, .uio = u, .flags = flags};
    size_t target = flags & MSG_WAITALL ? u->left : MIN((size_t)s->low_water, u->left), copied = 0;
    target = MAX(target, 1ul);
    nsec_t deadline = socket_deadline(s->receive_timeout, flags & MSG_DONTWAIT);
    int64_t err = 0;
    if (m && m->name)
        m->name->len = 0;
    net_poll();
    mutex_lock(&t->bytes.read_lock);
    while (u->left > 0) {
        if (!may_read(&r)) {
            if (copied >= target || (copied && READ_ONCE(s->error)) || ((err = wait_for_data(&r, deadline)) && err != LANDED))
                break;
            if (unlikely(err)) {
                copied += r.landed;
                err = 0;
            }
            continue;
        }
        int64_t n = receive_piece(&r);
        if (n < 0) {
            err = n;
            break;
        }
        copied += n;
        sched_point();
    }
    mutex_unlock(&t->bytes.read_lock);
    return copied ? (int64_t)copied : MIN(err, 0l);
}
