// AF_UNIX: life of sockets, pairs, shutdown, poll, ioctl; see net/unix.h and docs/sockets.md.
#include "net/unix.h"
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include <asm/ioctls.h>
#include <asm/sockios.h>

static struct slab_cache unix_cache = SLAB_CACHE("unix_socket", sizeof(struct unix_socket), 64);
static const struct socket_ops stream_ops, packet_ops, datagram_ops;

// --- Life ---

static const struct socket_ops *ops_of(int type) {
    return type == SOCK_STREAM ? &stream_ops : type == SOCK_DGRAM ? &datagram_ops : &packet_ops;
}

struct unix_socket *unix_alloc(int type) {
    struct unix_socket *u = slab_alloc(&unix_cache);
    if (!u)
        return NULL;
    memset(u, 0, sizeof(*u));
    socket_init(&u->socket, ops_of(type), AF_UNIX, type, 0);
    list_init(&u->queue);
    list_init(&u->accept_link);
    list_init(&u->marks);
    list_init(&u->inflight_link);
    u->queue_max = UNIX_QUEUE_DEFAULT;
    u->read_cred = u->write_cred = SCM_NOBODY;
    bytequeue_init(&u->in);
    waitq_init(&u->room);
    waiter_init(&u->peer_room);
    mutex_init(&u->bind_lock);
    unix_name_add(u);
    return u;
}

static struct socket *unix_create(int type, int protocol) {
    if (protocol && protocol != AF_UNIX)
        return ERR_PTR(-EPROTONOSUPPORT);
    if (type == SOCK_RAW)
        type = SOCK_DGRAM;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return ERR_PTR(-ESOCKTNOSUPPORT);
    struct unix_socket *u = unix_alloc(type);
    return u ? &u->socket : ERR_PTR(-ENOMEM);
}

const struct socket_family unix_family = {.family = AF_UNIX, .create = unix_create};

static void unix_free(struct socket *s) {
    struct unix_socket *u = unix_of(s);
    unix_address_unref(u->address);
    slab_free(&unix_cache, u);
}

struct unix_socket *unix_peer_get(struct unix_socket *u) {
    spin_lock(&u->socket.lock);
    struct unix_socket *peer = u->peer;
    if (peer)
        unix_ref(peer);
    spin_unlock(&u->socket.lock);
    return peer;
}

void unix_lock_two(struct unix_socket *a, struct unix_socket *b) {
    spin_lock(&(a < b ? a : b)->socket.lock);
    if (a != b)
        spin_lock(&(a < b ? b : a)->socket.lock);
}

void unix_unlock_two(struct unix_socket *a, struct unix_socket *b) {
    spin_unlock(&a->socket.lock);
    if (a != b)
        spin_unlock(&b->socket.lock);
}

static bool has_unread(struct unix_socket *u) {
    return unix_is_stream(u) ? bytequeue_used(&u->in) != 0 : !list_empty(&u->queue);
}

// The other side of a connection: no more can be read or written. What we did not read is lost, and it is told so.
static void hang_up(struct unix_socket *peer, bool reset) {
    spin_lock(&peer->socket.lock);
    peer->shutdown = SHUTDOWN_BOTH;
    if (reset)
        socket_set_error(&peer->socket, ECONNRESET);
    spin_unlock(&peer->socket.lock);
    socket_wake_state(&peer->socket);
}

static void close_unaccepted(struct unix_socket *u) {
    for (;;) {
        spin_lock(&u->socket.lock);
        struct unix_socket *c = list_empty(&u->queue) ? NULL : list_first(&u->queue, struct unix_socket, accept_link);
        if (c) {
            list_remove(&c->accept_link);
            u->queue_count--;
        }
        spin_unlock(&u->socket.lock);
        if (!c)
            return;
        unix_close(c, true);
        unix_unref(c);
    }
}

void unix_close(struct unix_socket *u, bool unaccepted) {
    unix_name_remove(u);
    spin_lock(&u->socket.lock);
    bool listening = u->state == UNIX_LISTENING;
    struct unix_socket *peer = u->peer;
    u->dead = true;
    u->shutdown = SHUTDOWN_BOTH;
    u->state = UNIX_CLOSED;
    u->peer = NULL;
    spin_unlock(&u->socket.lock);
    waitq_wake_all(&u->room);
    if (peer) {
        if (unix_connects(u))
            hang_up(peer, has_unread(u) || unaccepted);
        unix_packet_room_forget(u);
    }
    if (listening)
        close_unaccepted(u);
    else if (unix_is_stream(u))
        unix_stream_free(u);
    else
        unix_packets_free(u);
    // After the queue: what the peer sent was charged to it.
    if (peer)
        unix_unref(peer);
    if (u->path.dentry) {
        path_unref(&u->path);
        u->path.dentry = NULL;
    }
    unix_collect();
}

static void unix_release(struct socket *s) { unix_close(unix_of(s), false); }

// --- Pairs, shutdown ---

static int unix_pair(struct socket *sa, struct socket *sb) {
    struct unix_socket *a = unix_of(sa), *b = unix_of(sb);
    sa->peer = peer_credentials_current();
    if (!sa->peer)
        return -ENOMEM;
    sa->peer->refs = 2;
    sb->peer = sa->peer;
    a->peer = unix_ref(b);
    b->peer = unix_ref(a);
    a->state = b->state = UNIX_CONNECTED;
    return 0;
}

static int unix_shutdown(struct socket *s, int bits) {
    struct unix_socket *u = unix_of(s);
    spin_lock(&s->lock);
    u->shutdown |= bits;
    struct unix_socket *peer = u->peer;
    if (peer)
        unix_ref(peer);
    spin_unlock(&s->lock);
    socket_wake_state(s);
    waitq_wake_all(&u->room); // those who wait to send or to connect to it
    if (!peer)
        return 0;
    if (unix_connects(u)) {
        int theirs = (bits & SHUTDOWN_RECEIVE ? SHUTDOWN_SEND : 0) | (bits & SHUTDOWN_SEND ? SHUTDOWN_RECEIVE : 0);
        spin_lock(&peer->socket.lock);
        peer->shutdown |= theirs;
        spin_unlock(&peer->socket.lock);
        socket_wake_state(&peer->socket);
    }
    unix_unref(peer);
    return 0;
}

// --- Readiness ---

// As Linux: a quarter of the buffer may be in use.
bool unix_writable(struct unix_socket *u) {
    uint64_t used = READ_ONCE(u->charged);
    if (u->state == UNIX_LISTENING)
        return false;
    if (unix_is_stream(u)) {
        // The peer's reference: under the lock, for it may go as this socket is closed; poll has a file, so it is not.
        struct unix_socket *peer = load_acquire(&u->peer);
        used = peer ? bytequeue_used(&peer->in) : 0;
    }
    return used * 4 <= u->socket.send_buffer;
}

static uint32_t poll_state(struct unix_socket *u) {
    uint32_t mask = 0;
    uint8_t shutdown = READ_ONCE(u->shutdown);
    if (READ_ONCE(u->socket.error))
        mask |= POLLERR;
    if (shutdown == SHUTDOWN_BOTH)
        mask |= POLLHUP;
    if (shutdown & SHUTDOWN_RECEIVE)
        mask |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (unix_connects(u) && READ_ONCE(u->state) == UNIX_CLOSED)
        mask |= POLLHUP;
    return mask;
}

static uint32_t unix_stream_poll(struct socket *s, struct file *f, struct poll_table *pt) {
    struct unix_socket *u = unix_of(s);
    poll_on(pt, f, &s->readable);
    poll_on(pt, f, &s->writable);
    uint32_t mask = poll_state(u);
    if (bytequeue_used(&u->in) || !list_empty(&u->queue))
        mask |= POLLIN | POLLRDNORM;
    if (READ_ONCE(u->urgent))
        mask |= POLLPRI;
    if (unix_writable(u))
        mask |= POLLOUT | POLLWRNORM | POLLWRBAND;
    return mask;
}

static uint32_t unix_packet_poll(struct socket *s, struct file *f, struct poll_table *pt) {
    struct unix_socket *u = unix_of(s);
    poll_on(pt, f, &s->readable);
    poll_on(pt, f, &s->writable);
    uint32_t mask = poll_state(u);
    if (!list_empty(&u->queue))
        mask |= POLLIN | POLLRDNORM;
    if (!unix_writable(u))
        return mask;
    struct unix_socket *peer = unix_peer_get(u);
    if (!peer || unix_packet_room(u, peer))
        mask |= POLLOUT | POLLWRNORM | POLLWRBAND;
    if (peer)
        unix_unref(peer);
    return mask;
}

// --- ioctl ---

static int bytes_waiting(struct unix_socket *u) {
    uint64_t sum = bytequeue_used(&u->in);
    struct unix_packet *p;
    if (u->state == UNIX_LISTENING)
        return -EINVAL;
    if (!unix_is_stream(u)) {
        spin_lock(&u->socket.lock);
        list_for_each (p, &u->queue, link) {
            sum += p->len;
            if (u->socket.type == SOCK_DGRAM)
                break;
        }
        spin_unlock(&u->socket.lock);
    }
    return MIN(sum, (uint64_t)INT32_MAX);
}

static int bytes_sent(struct unix_socket *u) {
    if (!unix_is_stream(u))
        return READ_ONCE(u->charged);
    struct unix_socket *peer = unix_peer_get(u);
    int sum = peer ? bytequeue_used(&peer->in) : 0;
    if (peer)
        unix_unref(peer);
    return sum;
}

static long unix_ioctl(struct socket *s, unsigned cmd, uaddr_t arg) {
    struct unix_socket *u = unix_of(s);
    int value;
    switch (cmd) {
    case FIONREAD: value = bytes_waiting(u); break;
    case TIOCOUTQ: value = bytes_sent(u); break;
    case SIOCATMARK: value = unix_is_stream(u) && unix_stream_at_mark(u); break;
    default: return -ENOTTY;
    }
    return value < 0 ? value : copy_out_obj(arg, &value);
}

static void unix_option_changed(struct socket *s, int name) {
    if (name == SO_PASSCRED || name == SO_SNDBUF)
        socket_wake_writable(s, POLLOUT | POLLWRNORM);
}

static const struct socket_ops stream_ops = {
    .release = unix_release,
    .free = unix_free,
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .pair = unix_pair,
    .name = unix_name,
    .shutdown = unix_shutdown,
    .send = unix_stream_send,
    .receive = unix_stream_receive,
    .poll = unix_stream_poll,
    .ioctl = unix_ioctl,
    .option_changed = unix_option_changed,
    .passes_control = true,
    .peeks_at_offset = true,
};

static const struct socket_ops packet_ops = {
    .release = unix_release,
    .free = unix_free,
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .pair = unix_pair,
    .name = unix_name,
    .shutdown = unix_shutdown,
    .send = unix_packet_send,
    .receive = unix_packet_receive,
    .poll = unix_packet_poll,
    .ioctl = unix_ioctl,
    .option_changed = unix_option_changed,
    .passes_control = true,
    .peeks_at_offset = true,
};

static const struct socket_ops datagram_ops = {
    .release = unix_release,
    .free = unix_free,
    .bind = unix_bind,
    .connect = unix_connect_packets,
    .pair = unix_pair,
    .name = unix_name,
    .shutdown = unix_shutdown,
    .send = unix_packet_send,
    .receive = unix_packet_receive,
    .poll = unix_packet_poll,
    .ioctl = unix_ioctl,
    .option_changed = unix_option_changed,
    .passes_control = true,
    .peeks_at_offset = true,
};
