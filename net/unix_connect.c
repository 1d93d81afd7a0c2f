// listen(2), accept(2) and connect(2) of AF_UNIX. A connection's other end is made by connect and waits, complete, in the listening
// socket's queue; data may be sent before it is accepted.
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "net/unix.h"

int unix_listen(struct socket *s, int backlog) {
    struct unix_socket *u = unix_of(s);
    if (!u->address)
        return -EINVAL;
    struct peer_credentials *c = peer_credentials_current(), *old = NULL;
    if (!c)
        return -ENOMEM;
    spin_lock(&s->lock);
    int err = u->state == UNIX_CONNECTED ? -EINVAL : 0;
    if (err == 0) {
        u->queue_max = backlog;
        u->state = UNIX_LISTENING;
        s->listening = true;
        old = s->peer;
        s->peer = c;
    } else {
        old = c;
    }
    spin_unlock(&s->lock);
    peer_credentials_unref(old);
    if (err == 0)
        waitq_wake_all(&u->room); // the queue may be longer now
    return err;
}

static struct unix_socket *take_connection(struct unix_socket *u) {
    struct unix_socket *c = NULL;
    spin_lock(&u->socket.lock);
    if (!list_empty(&u->queue)) {
        c = list_first(&u->queue, struct unix_socket, accept_link);
        list_remove(&c->accept_link);
        u->queue_count--;
    }
    spin_unlock(&u->socket.lock);
    return c;
}

struct socket *unix_accept(struct socket *s, bool nonblock) {
    struct unix_socket *u = unix_of(s), *c;
    if (READ_ONCE(u->state) != UNIX_LISTENING)
        return ERR_PTR(-EINVAL);
    nsec_t deadline = socket_deadline(s->receive_timeout, nonblock);
    while (!(c = take_connection(u))) {
        int err = socket_error(s);
        if (err < 0)
            return ERR_PTR(err);
        if (READ_ONCE(u->shutdown) & SHUTDOWN_RECEIVE)
            return ERR_PTR(-EINVAL);
        if (!deadline)
            return ERR_PTR(-EAGAIN);
        err = socket_wait_exclusive(
            &s->readable, !list_empty(&u->queue) || (READ_ONCE(u->shutdown) & SHUTDOWN_RECEIVE) || READ_ONCE(s->error),
            deadline);
        if (err < 0)
            return ERR_PTR(socket_interrupted(err, s->receive_timeout));
    }
    waitq_wake_all(&u->room);
    return &c->socket;
}

// --- Connections ---

// Both locks held. 0; -EAGAIN: the queue is full.
static int may_connect(struct unix_socket *u, struct unix_socket *listener) {
    if (listener->state != UNIX_LISTENING || (listener->shutdown & SHUTDOWN_RECEIVE))
        return -ECONNREFUSED;
    if (unix_queue_full(listener))
        return -EAGAIN;
    return u->state == UNIX_CLOSED ? 0 : u->state == UNIX_CONNECTED ? -EISCONN : -EINVAL;
}

// `other` becomes the peer of u, and the listener gets it. Both locks held.
static void join(struct unix_socket *u, struct unix_socket *listener, struct unix_socket *other,
                 struct peer_credentials *mine) {
    other->peer = unix_ref(u);
    other->state = UNIX_CONNECTED;
    other->socket.peer = mine;
    other->address = load_acquire(&listener->address); // of the listener, by whose name it is known
    atomic_add(&other->address->refs, 1);
    if (u->socket.peer)
        peer_credentials_unref(u->socket.peer);
    u->socket.peer = listener->socket.peer;
    atomic_add(&u->socket.peer->refs, 1);
    u->state = UNIX_CONNECTED;
    store_release(&u->peer, unix_ref(other));
    list_push_back(&listener->queue, &other->accept_link);
    listener->queue_count++;
}

// One try. -EAGAIN: there is no room; *listener (referenced) is where to wait for it.
static int connect_once(struct unix_socket *u, const struct socket_address *a, struct unix_socket *other,
                        struct peer_credentials *mine, struct unix_socket **listener) {
    for (;;) {
        struct unix_socket *l = unix_find(a, u->socket.type);
        if (IS_ERR(l))
            return PTR_ERR(l);
        unix_lock_two(u, l);
        bool gone = l->dead;
        int err = gone ? 0 : may_connect(u, l);
        if (!gone && err == 0)
            join(u, l, other, mine);
        unix_unlock_two(u, l);
        if (!gone && err == 0)
            socket_wake_readable(&l->socket, POLLIN | POLLRDNORM);
        if (err == -EAGAIN) {
            *listener = l;
            return err;
        }
        unix_unref(l);
        if (!gone)
            return err;
    }
}

static bool may_try_again(struct unix_socket *l) {
    return !unix_queue_full(l) || READ_ONCE(l->dead) || (READ_ONCE(l->shutdown) & SHUTDOWN_RECEIVE);
}

int unix_connect(struct socket *s, const struct socket_address *a, bool nonblock) {
    struct unix_socket *u = unix_of(s), *listener = NULL;
    int err = 0;
    if (a->len <= UNIX_HEADER || a->family != AF_UNIX)
        return -EINVAL;
    if (socket_bit(s, SOCKET_PASSCRED) && (err = unix_autobind(u)) < 0)
        return err;
    nsec_t deadline = socket_deadline(s->send_timeout, nonblock);
    struct unix_socket *other = unix_alloc(s->type);
    struct peer_credentials *mine = other ? peer_credentials_current() : NULL;
    if (!mine)
        err = -ENOMEM;
    while (!err && (err = connect_once(u, a, other, mine, &listener)) == -EAGAIN) {
        if (deadline) {
            err = socket_wait_exclusive(&listener->room, may_try_again(listener), deadline);
            if (err == -ETIMEDOUT)
                err = deadline = 0; // once more, without waiting
            else
                err = socket_interrupted(err, s->send_timeout);
            unix_unref(listener);
            continue;
        }
        unix_unref(listener);
        break;
    }
    if (err < 0) {
        peer_credentials_unref(mine);
        if (other) {
            unix_close(other, false);
            unix_unref(other);
        }
    }
    return err;
}

// --- Datagrams ---

static void set_peer(struct unix_socket *u, struct unix_socket *other, struct unix_socket **old) {
    *old = u->peer;
    unix_packet_room_forget(u); // under the lock: poll may find the new peer's queue full at once
    u->peer = other ? unix_ref(other) : NULL;
    u->state = other ? UNIX_CONNECTED : UNIX_CLOSED;
}

int unix_connect_packets(struct socket *s, const struct socket_address *a, bool nonblock) {
    struct unix_socket *u = unix_of(s), *other = NULL, *old = NULL;
    int err = 0;
    if (a->len < UNIX_HEADER)
        return -EINVAL;
    while (a->family != AF_UNSPEC) {
        if (a->len <= UNIX_HEADER || a->family != AF_UNIX)
            return -EINVAL;
        if (socket_bit(s, SOCKET_PASSCRED) && (err = unix_autobind(u)) < 0)
            return err;
        other = unix_find(a, s->type);
        if (IS_ERR(other))
            return PTR_ERR(other);
        unix_lock_two(u, other);
        bool gone = other->dead;
        if (!gone) {
            err = other->peer && other->peer != u ? -EPERM : 0;
            if (err == 0) {
                other->state = UNIX_CONNECTED;
                set_peer(u, other, &old);
            }
        }
        unix_unlock_two(u, other);
        if (!gone)
            break;
        unix_unref(other);
    }
    if (!other) {
        spin_lock(&s->lock);
        set_peer(u, NULL, &old);
        spin_unlock(&s->lock);
    }
    if (old) {
        if (old != other)
            unix_packets_disconnected(u, old);
        unix_unref(old);
    }
    if (other)
        unix_unref(other);
    return err;
}
