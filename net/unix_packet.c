// SOCK_DGRAM and SOCK_SEQPACKET of AF_UNIX: packets in the receiver's queue. The sender is charged for a packet until it is read;
// a queue that others than its own peer write to has a limit of its own, as unix(7) has it.
#include "kernel/memory/slab.h"
#include "kernel/memory/uio.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "net/unix.h"

#define SMALL_MAX 2048u // bytes behind the header; more are in pages
#define HEADER_CHARGE                                                                                                  \
    320u // what Linux charges for a packet of its own: the bytes and this, rounded up to the size of a piece of
#define DESCRIPTOR_CHARGE 256u // memory, and a descriptor

static inline uint8_t shut(const struct unix_socket *u) { return READ_ONCE(u->shutdown); }

// --- Packets ---

static uint32_t charge_of(size_t len) {
    size_t size = 512;
    while (size < len + HEADER_CHARGE && size < PAGE_SIZE)
        size *= 2;
    return MAX(size, len + HEADER_CHARGE) + DESCRIPTOR_CHARGE;
}

// Room that has come back to the sender.
static void uncharge(struct unix_socket *u, uint32_t charge) {
    uint64_t before = atomic_sub(&u->charged, charge), limit = u->socket.send_buffer;
    if (unlikely(before * 4 > limit && (before - charge) * 4 <= limit))
        socket_wake_writable(&u->socket, POLLOUT | POLLWRNORM | POLLWRBAND);
}

static void packet_unref(struct unix_packet *p) {
    if (atomic_sub(&p->refs, 1) != 1)
        return;
    unix_files_drop(p->scm.files);
    if (p->large) {
        bytequeue_free(p->large);
        kfree(p->large);
    }
    uncharge(p->from, p->charge);
    unix_unref(p->from);
    kfree(p);
}

// A packet with the bytes of the uio. Takes over scm's files (also on failure). ERR_PTR(-ENOMEM, -EFAULT).
static struct unix_packet *packet_create(struct unix_socket *from, struct uio *u, struct scm *scm) {
    size_t len = u->left;
    bool large = len > SMALL_MAX;
    struct unix_packet *p = kmalloc(sizeof(*p) + (large ? 0 : len));
    struct bytequeue *bytes = p && large ? kmalloc(sizeof(*bytes)) : NULL;
    if (!p || (large && !bytes)) {
        kfree(p);
        unix_files_drop(scm->files);
        return ERR_PTR(-ENOMEM);
    }
    list_init(&p->link);
    p->refs = 1;
    p->from = unix_ref(from);
    p->len = len;
    p->charge = charge_of(len);
    p->scm = *scm;
    p->large = bytes;
    atomic_add(&from->charged, p->charge);
    int err = 0;
    if (large) {
        bytequeue_init(bytes);
        err = bytequeue_put(bytes, u, len);
    } else if (uio_get(u, p->data, len) < len) {
        err = -EFAULT;
    }
    if (err < 0) {
        packet_unref(p);
        return ERR_PTR(err);
    }
    return p;
}

static size_t packet_copy(struct unix_packet *p, struct uio *u, size_t offset, size_t n) {
    return p->large ? bytequeue_peek(p->large, u, offset, n) : uio_put(u, p->data + offset, n);
}

// --- Room in the peer's queue ---

static bool limits(const struct unix_socket *u, const struct unix_socket *to) {
    return to != u && READ_ONCE(to->peer) != u && unix_queue_full(to);
}

static bool on_peer_room(struct waiter *w, uint32_t key) {
    struct unix_socket *u = w->data;
    waitq_wake_key(&u->socket.writable, ~0u, POLLOUT | POLLWRNORM | POLLWRBAND);
    return true;
}

bool unix_packet_room(struct unix_socket *u, struct unix_socket *peer) {
    if (!limits(u, peer))
        return true;
    spin_lock(&u->socket.lock);
    if (u->peer == peer && list_empty(&u->peer_room.link)) {
        u->peer_room.wake = on_peer_room;
        u->peer_room.data = u;
        waitq_add(&peer->room, &u->peer_room);
    }
    spin_unlock(&u->socket.lock);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return !limits(u, peer); // it may just have come
}

void unix_packet_room_forget(struct unix_socket *u) { waitq_remove(&u->peer_room); }

// --- Sending ---

// Waits until u may have another packet under way. 0 or -errno.
static int wait_for_charge(struct unix_socket *u, nsec_t deadline) {
    struct socket *s = &u->socket;
    for (;;) {
        int err = socket_error(s);
        if (err < 0)
            return err;
        if (shut(u) & SHUTDOWN_SEND)
            return -EPIPE;
        if (READ_ONCE(u->charged) < s->send_buffer)
            return 0;
        if (!deadline)
            return -EAGAIN;
        err = wait_event_until(
            &s->writable, READ_ONCE(u->charged) < s->send_buffer || (shut(u) & SHUTDOWN_SEND) || READ_ONCE(s->error),
            deadline, true);
        if (err < 0)
            return socket_interrupted(err, s->send_timeout);
    }
}

// The peer has been closed. Datagrams: then there is no peer any more.
static int peer_has_gone(struct unix_socket *u, struct unix_socket *peer) {
    if (unix_connects(u))
        return -EPIPE;
    spin_lock(&u->socket.lock);
    bool mine = u->peer == peer;
    if (mine) {
        unix_packet_room_forget(u);
        u->peer = NULL;
        u->state = UNIX_CLOSED;
    }
    spin_unlock(&u->socket.lock);
    if (!mine)
        return 0;
    unix_packets_disconnected(u, peer);
    unix_unref(peer);
    return -ECONNREFUSED;
}

enum { SENT = 1, FULL, GONE };

// Puts the packet into the queue of `to`. SENT, FULL, GONE, or -EPERM, -EPIPE.
static int enqueue(struct unix_socket *u, struct unix_socket *to, struct unix_packet *p) {
    int result = SENT;
    if (!p->scm.cred.pid && (socket_bit(&u->socket, SOCKET_PASSCRED) || socket_bit(&to->socket, SOCKET_PASSCRED) ||
                             !READ_ONCE(to->socket.file)))
        p->scm.cred = scm_current();
    spin_lock(&to->socket.lock);
    if (to->peer && to->peer != u && !to->dead)
        result = -EPERM;
    else if (to->dead)
        result = GONE;
    else if (to->shutdown & SHUTDOWN_RECEIVE)
        result = -EPIPE;
    else if (limits(u, to))
        result = FULL;
    if (result == SENT) {
        list_push_back(&to->queue, &p->link);
        to->queue_count++;
    }
    spin_unlock(&to->socket.lock);
    return result;
}

static int deliver(struct unix_socket *u, struct unix_packet *p, const struct socket_address *name, nsec_t deadline) {
    for (;;) {
        struct unix_socket *to = name ? unix_find(name, u->socket.type) : unix_peer_get(u);
        if (IS_ERR(to))
            return PTR_ERR(to);
        if (!to)
            return unix_connects(u) ? -EPIPE : -ECONNRESET;
        int result = enqueue(u, to, p), err = 0;
        if (result == SENT)
            socket_wake_readable(&to->socket, POLLIN | POLLRDNORM);
        else if (result == GONE)
            err = peer_has_gone(u, to);
        else if (result == FULL && deadline)
            err = socket_wait_exclusive(
                &to->room, !limits(u, to) || READ_ONCE(to->dead) || (shut(to) & SHUTDOWN_RECEIVE), deadline);
        else
            err = result == FULL ? -EAGAIN : result;
        unix_unref(to);
        if (result == SENT)
            return 0;
        if (err == -ETIMEDOUT)
            err = deadline = 0; // once more, without waiting
        if (err < 0)
            return socket_interrupted(err, u->socket.send_timeout);
    }
}

static int check_destination(struct unix_socket *u, const struct socket_address *name) {
    if (name)
        return name->len > UNIX_HEADER && name->len <= sizeof(struct sockaddr_un) && name->family == AF_UNIX ? 0
                                                                                                             : -EINVAL;
    return READ_ONCE(u->peer) ? 0 : -ENOTCONN;
}

int64_t unix_packet_send(struct socket *s, struct uio *uio, struct socket_message *m, int flags) {
    struct unix_socket *u = unix_of(s);
    struct scm scm = {NULL, SCM_NOBODY};
    const struct socket_address *name = m ? m->name : NULL;
    size_t len = uio->left;
    int err = 0;
    if (unix_connects(u)) { // where it goes was said by connect(2)
        if ((err = socket_error(s)) < 0)
            return err;
        if (READ_ONCE(u->state) != UNIX_CONNECTED)
            return -ENOTCONN;
        name = NULL;
    }
    if (m && m->control_len)
        err = scm_parse(m, &scm);
    if (!err && (flags & MSG_OOB))
        err = -EOPNOTSUPP;
    if (!err)
        err = check_destination(u, name);
    if (!err && unlikely(socket_bit(s, SOCKET_PASSCRED)))
        err = unix_autobind(u);
    if (!err && len + 32 > s->send_buffer)
        err = -EMSGSIZE;
    nsec_t deadline = socket_deadline(s->send_timeout, flags & MSG_DONTWAIT);
    if (!err)
        err = wait_for_charge(u, deadline);
    if (!err && scm.files)
        err = inflight_attach(scm.files);
    if (err < 0) {
        scm_files_drop(scm.files);
        return err;
    }
    struct unix_packet *p = packet_create(u, uio, &scm);
    if (IS_ERR(p))
        return PTR_ERR(p);
    err = deliver(u, p, name, deadline);
    if (err < 0)
        packet_unref(p);
    return err < 0 ? err : (int64_t)len;
}

// --- Receiving ---

// The first packet (MSG_PEEK: the one at *skip bytes, with a reference more), or NULL. *count: how many there were.
static struct unix_packet *take(struct unix_socket *u, bool peek, size_t *skip, unsigned *count) {
    struct unix_packet *p, *found = NULL;
    spin_lock(&u->socket.lock);
    *count = u->queue_count;
    list_for_each (p, &u->queue, link) {
        if (*skip && *skip >= p->len) {
            *skip -= p->len;
            continue;
        }
        found = p;
        break;
    }
    if (found && peek) {
        atomic_add(&found->refs, 1);
    } else if (found) {
        list_remove(&found->link);
        u->queue_count--;
    }
    spin_unlock(&u->socket.lock);
    return found;
}

static struct unix_packet *wait_for_packet(struct unix_socket *u, int flags, size_t *skip) {
    struct socket *s = &u->socket;
    struct unix_packet *p;
    nsec_t deadline = socket_deadline(s->receive_timeout, flags & MSG_DONTWAIT);
    size_t wanted = *skip;
    for (;;) {
        int err = socket_error(s);
        if (err < 0)
            return ERR_PTR(err);
        *skip = wanted;
        unsigned count; // with SO_PEEK_OFF not only 0: only more packets are news
        if ((p = take(u, flags & MSG_PEEK, skip, &count)))
            return p;
        // The end of a connection is told at once, that of a datagram socket only to those who would wait.
        if (READ_ONCE(u->queue_count) != count)
            continue;
        if (shut(u) & SHUTDOWN_RECEIVE)
            return unix_connects(u) || deadline ? NULL : ERR_PTR(-EAGAIN);
        if (!deadline)
            return ERR_PTR(-EAGAIN);
        err = socket_wait_exclusive(
            &s->readable, READ_ONCE(u->queue_count) != count || (shut(u) & SHUTDOWN_RECEIVE) || READ_ONCE(s->error),
            deadline);
        if (err < 0)
            return ERR_PTR(socket_interrupted(err, s->receive_timeout));
    }
}

static void take_files(struct unix_packet *p, bool peek, struct scm *scm) {
    if (!p->scm.files)
        return;
    if (peek) {
        mutex_lock(&inflight_mutex);
        if (p->scm.files)
            scm->files = scm_files_copy(p->scm.files);
        mutex_unlock(&inflight_mutex);
        return;
    }
    mutex_lock(&inflight_mutex); // somebody may be peeking
    scm->files = p->scm.files;
    p->scm.files = NULL;
    mutex_unlock(&inflight_mutex);
    if (scm->files)
        inflight_detach(scm->files);
}

int64_t unix_packet_receive(struct socket *s, struct uio *uio, struct socket_message *m, int flags) {
    struct unix_socket *u = unix_of(s);
    bool peek = flags & MSG_PEEK, moves = s->peek_offset >= 0;
    if (unix_connects(u) && READ_ONCE(u->state) != UNIX_CONNECTED)
        return -ENOTCONN;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    size_t skip = peek && moves ? s->peek_offset : 0;
    struct unix_packet *p = wait_for_packet(u, flags, &skip);
    if (!p)
        return 0;
    if (IS_ERR(p))
        return PTR_ERR(p);
    if (waitq_active(&u->room))
        waitq_wake_key(&u->room, peek ? 0 : 1, POLLOUT | POLLWRNORM | POLLWRBAND);
    size_t there = p->len - skip, n = MIN(there, uio->left);
    if (m && m->name)
        unix_copy_address(p->from, m->name);
    if (m && n < there)
        m->flags |= MSG_TRUNC;
    int64_t result = flags & MSG_TRUNC ? there : n;
    if (packet_copy(p, uio, skip, n) < n) {
        result = -EFAULT;
    } else {
        struct scm scm = {NULL, p->scm.cred};
        if (unlikely(s->bits & (1u << SOCKET_TIMESTAMP | 1u << SOCKET_TIMESTAMPNS)))
            socket_put_timestamp(s, m, 0);
        take_files(p, peek, &scm);
        scm_deliver(m, &scm, socket_bit(s, SOCKET_PASSCRED), flags);
        if (moves)
            s->peek_offset = peek ? s->peek_offset + (int)n : MAX(s->peek_offset - (int)p->len, 0);
    }
    packet_unref(p);
    return result;
}

// --- The queue ---

void unix_packets_free(struct unix_socket *u) {
    size_t skip = 0;
    unsigned count;
    struct unix_packet *p;
    while ((p = take(u, false, &skip, &count)))
        packet_unref(p);
}

void unix_packets_disconnected(struct unix_socket *u, struct unix_socket *old) {
    bool had = !list_empty(&u->queue);
    if (!had)
        return;
    unix_packets_free(u);
    waitq_wake_all(&u->room);
    spin_lock(&old->socket.lock);
    bool mutual = !old->dead && old->peer == u;
    if (mutual) {
        socket_set_error(&old->socket, ECONNRESET);
        old->state = UNIX_CLOSED;
    }
    spin_unlock(&old->socket.lock);
    if (mutual)
        socket_wake_state(&old->socket);
}
