// Datagrams and the queues of the sockets that receive them; see net/inet/datagram.h.
#include "net/inet/datagram.h"
#include "fs/poll.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include <asm/ioctls.h>

#define INLINE_MAX (PAGE_SIZE - sizeof(struct datagram))
#define COPY_MAX 512u // of a received frame: more stays where it is
#define MSG_ERRQUEUE 0x2000

// --- Datagrams ---

static unsigned pages_in(const struct datagram *d) { return (d->len + PAGE_SIZE - 1) / PAGE_SIZE; }
static struct page **pages_of(const struct datagram *d) { return (struct page **)d->data; }

// As Linux counts: what a packet of its own takes, with its header.
static uint32_t charge_of(size_t len) {
    size_t size = 512;
    while (size < len + 384 && size < 2 * PAGE_SIZE)
        size *= 2;
    return MAX(size, len + 384) + 256;
}

static struct datagram *allocate(size_t len, size_t room) {
    struct datagram *d = kmalloc(sizeof(*d) + room);
    if (!d)
        return NULL;
    memset(d, 0, offsetof(struct datagram, headroom));
    list_init(&d->link);
    d->refs = 1;
    d->len = len;
    d->charge = charge_of(len);
    return d;
}

struct datagram *datagram_create(size_t len) {
    if (likely(len <= INLINE_MAX))
        return allocate(len, len);
    unsigned count = (len + PAGE_SIZE - 1) / PAGE_SIZE;
    struct datagram *d = allocate(len, count * sizeof(struct page *));
    if (!d)
        return NULL;
    d->paged = true;
    memset(d->data, 0, count * sizeof(struct page *));
    for (unsigned i = 0; i < count; i++)
        if (!(pages_of(d)[i] = page_alloc(0, 0))) {
            datagram_put(d);
            return NULL;
        }
    return d;
}

int datagram_fill(struct datagram *d, struct uio *u) {
    if (likely(!d->paged))
        return uio_get(u, d->data, d->len) < d->len ? -EFAULT : 0;
    for (size_t at = 0; at < d->len; at += PAGE_SIZE) {
        size_t n = MIN(d->len - at, PAGE_SIZE);
        if (uio_get(u, page_to_virt(pages_of(d)[at / PAGE_SIZE]), n) < n)
            return -EFAULT;
    }
    return 0;
}

struct datagram *datagram_read(struct uio *u, size_t len) {
    struct datagram *d = datagram_create(len);
    if (!d)
        return ERR_PTR(-ENOBUFS);
    int err = datagram_fill(d, u);
    if (err < 0) {
        datagram_put(d);
        return ERR_PTR(err);
    }
    return d;
}

// The piece at *offset (behind it: what is left of it): where it is and how long, at most n.
static const char *piece(const struct datagram *d, size_t offset, size_t *n) {
    if (d->paged) {
        *n = MIN(*n, PAGE_SIZE - offset % PAGE_SIZE);
        return (const char *)page_to_virt(pages_of(d)[offset / PAGE_SIZE]) + offset % PAGE_SIZE;
    }
    if (!d->pbuf)
        return d->data + offset;
    const struct pbuf *p = d->pbuf;
    for (offset += d->offset; offset >= p->len; p = p->next)
        offset -= p->len;
    *n = MIN(*n, p->len - offset);
    return (const char *)p->payload + offset;
}

size_t datagram_copy(const struct datagram *d, struct uio *u, size_t offset, size_t n) {
    size_t done = 0;
    while (done < n) {
        size_t part = n - done;
        const char *from = piece(d, offset + done, &part);
        size_t copied = uio_put(u, from, part);
        done += copied;
        if (copied < part)
            break;
    }
    return done;
}

void datagram_copy_flat(const struct datagram *d, void *to, size_t offset, size_t n) {
    while (n) {
        size_t part = n;
        const char *from = piece(d, offset, &part);
        memcpy(to, from, part);
        to = (char *)to + part;
        offset += part;
        n -= part;
    }
}

char *datagram_bytes(struct datagram *d, size_t offset, size_t *n) {
    *n = d->len - offset;
    return (char *)piece(d, offset, n);
}

struct datagram *datagram_clone(const struct datagram *from) {
    size_t room = from->paged ? pages_in(from) * sizeof(struct page *) : from->pbuf ? 0 : from->len;
    struct datagram *d = allocate(from->len, room);
    if (!d)
        return NULL;
    memcpy(d, from, offsetof(struct datagram, out));
    memcpy(d->data, from->data, room);
    list_init(&d->link);
    d->refs = 1;
    d->sender = NULL;
    if (d->pbuf)
        pbuf_ref(d->pbuf);
    for (unsigned i = 0; d->paged && i < pages_in(d); i++)
        page_ref(pages_of(d)[i]);
    return d;
}

static void uncharge(struct datagram_socket *s, uint32_t charge) {
    uint64_t before = atomic_sub(&s->sending, charge), limit = s->inet.socket.send_buffer;
    if (before * 2 > limit && (before - charge) * 2 <= limit)
        socket_wake_writable(&s->inet.socket, POLLOUT | POLLWRNORM | POLLWRBAND);
}

static void destroy(struct datagram *d) {
    for (unsigned i = 0; d->paged && i < pages_in(d); i++)
        if (pages_of(d)[i])
            page_unref(pages_of(d)[i]);
    if (d->sender) {
        uncharge(d->sender, d->charge);
        socket_unref(&d->sender->inet.socket);
    }
    kfree(d);
}

void datagram_put_locked(struct datagram *d) {
    if (atomic_sub(&d->refs, 1) != 1)
        return;
    if (d->pbuf)
        pbuf_free(d->pbuf);
    destroy(d);
}

void datagram_put(struct datagram *d) {
    if (atomic_sub(&d->refs, 1) != 1)
        return;
    if (d->pbuf) {
        net_lock();
        pbuf_free(d->pbuf);
        net_unlock();
    }
    destroy(d);
}

// --- Datagrams and lwIP's packets ---

struct page_pbuf { // a page of a datagram
    struct pbuf_custom pbuf;
    struct datagram *datagram;
};

static void free_whole(struct pbuf *p) {
    datagram_put_locked(container_of((struct pbuf_custom *)p, struct datagram, out));
}

static void free_page(struct pbuf *p) {
    struct page_pbuf *pp = (struct page_pbuf *)p;
    datagram_put_locked(pp->datagram);
    kfree(pp);
}

struct pbuf *datagram_pbuf(struct datagram *d) {
    size_t here = d->paged ? 0 : d->len;
    struct pbuf *p = pbuf_alloced_custom(PBUF_RAW, here, PBUF_RAM, &d->out, d->data, ALIGN_UP(here, 16ul));
    if (!p)
        return NULL;
    d->out.custom_free_function = free_whole;
    atomic_add(&d->refs, 1);
    for (size_t at = 0; d->paged && at < d->len; at += PAGE_SIZE) {
        size_t n = MIN(d->len - at, PAGE_SIZE);
        struct page_pbuf *pp = kmalloc(sizeof(*pp));
        struct pbuf *q = NULL;
        if (pp)
            q = pbuf_alloced_custom(PBUF_RAW, n, PBUF_ROM, &pp->pbuf, page_to_virt(pages_of(d)[at / PAGE_SIZE]),
                                    PAGE_SIZE);
        if (!q) {
            kfree(pp);
            pbuf_free(p);
            return NULL;
        }
        pp->pbuf.custom_free_function = free_page;
        pp->datagram = d;
        atomic_add(&d->refs, 1);
        pbuf_cat(p, q);
    }
    return p;
}

struct datagram *datagram_copy_pbuf(const struct pbuf *p, unsigned offset) {
    unsigned len = p->tot_len - offset;
    struct datagram *d = datagram_create(len);
    for (size_t at = 0, n; d && at < len; at += n) {
        char *to = datagram_bytes(d, at, &n);
        pbuf_copy_partial(p, to, n, offset + at);
    }
    return d;
}

struct datagram *datagram_from_pbuf(struct pbuf *p, unsigned offset) {
    if (p->tot_len - offset <= COPY_MAX)
        return datagram_copy_pbuf(p, offset);
    struct datagram *d = allocate(p->tot_len - offset, 0);
    if (!d)
        return NULL;
    pbuf_ref(p);
    d->pbuf = p;
    d->offset = offset;
    return d;
}

// --- Queues ---

struct datagram_socket *datagram_socket_create(const struct socket_ops *ops, int family, int type, int protocol) {
    struct datagram_socket *s = kzalloc(sizeof(*s));
    if (!s)
        return NULL;
    inet_init_socket(&s->inet, ops, family, type, protocol);
    list_init(&s->queue);
    list_init(&s->errors);
    return s;
}

void datagram_socket_enter(struct datagram_socket *s, struct list *sockets) {
    if (s->inet.socket.family == AF_INET6) {
        s->inet.options.v6only = true;
        IP_SET_TYPE_VAL(s->inet.local, IPADDR_TYPE_V6);
    }
    net_lock();
    list_push_back(sockets, &s->inet.link);
    net_unlock();
}

void datagram_socket_release(struct socket *so) {
    struct datagram_socket *s = datagram_of(so);
    net_lock();
    list_remove(&s->inet.link);
    inet_options_free(&s->inet);
    net_unlock();
    datagram_socket_close(s);
}

void datagram_socket_free(struct socket *so) { kfree(datagram_of(so)); }

static void empty(struct datagram_socket *s, struct list *queue) {
    for (;;) {
        spin_lock(&s->inet.socket.lock);
        struct datagram *d = list_empty(queue) ? NULL : list_first(queue, struct datagram, link);
        if (d) {
            list_remove(&d->link);
            s->charged -= d->charge;
        }
        spin_unlock(&s->inet.socket.lock);
        if (!d)
            return;
        datagram_put(d);
    }
}

void datagram_socket_close(struct datagram_socket *s) {
    empty(s, &s->queue);
    empty(s, &s->errors);
}

bool datagram_enqueue(struct datagram_socket *s, struct datagram *d) {
    struct socket *so = &s->inet.socket;
    if (unlikely(socket_bit(so, SOCKET_TIMESTAMP) || socket_bit(so, SOCKET_TIMESTAMPNS)) && !d->stamp)
        d->stamp = time_realtime();
    spin_lock(&so->lock);
    bool room = !s->charged || s->charged + d->charge <= so->receive_buffer;
    if (likely(room)) {
        d->dropped = s->drops;
        s->charged += d->charge;
        list_push_back(&s->queue, &d->link);
    } else {
        s->drops++;
    }
    spin_unlock(&so->lock);
    if (likely(room))
        socket_wake_readable(so, POLLIN | POLLRDNORM | POLLPRI | POLLRDBAND);
    else
        datagram_put_locked(d);
    return room;
}

void datagram_enqueue_error(struct datagram_socket *s, struct datagram *d) {
    struct socket *so = &s->inet.socket;
    d->stamp = time_realtime();
    spin_lock(&so->lock);
    bool room = s->charged + d->charge < so->receive_buffer;
    if (room) {
        s->charged += d->charge;
        list_push_back(&s->errors, &d->link);
    }
    spin_unlock(&so->lock);
    if (room)
        socket_wake_state(so);
    else
        datagram_put_locked(d);
}

// --- Receiving ---

// The first datagram (MSG_PEEK: the one at *skip bytes, with a reference more), or NULL.
static struct datagram *take(struct datagram_socket *s, bool peek, size_t *skip) {
    struct datagram *d, *found = NULL;
    spin_lock(&s->inet.socket.lock);
    list_for_each (d, &s->queue, link) {
        if (unlikely(*skip) && *skip >= d->len) {
            *skip -= d->len;
            continue;
        }
        found = d;
        break;
    }
    if (found && peek) {
        atomic_add(&found->refs, 1);
    } else if (found) {
        list_remove(&found->link);
        s->charged -= found->charge;
    }
    spin_unlock(&s->inet.socket.lock);
    return found;
}

static struct datagram *wait_for_datagram(struct datagram_socket *s, int flags, size_t *skip) {
    struct socket *so = &s->inet.socket;
    struct datagram *d;
    nsec_t deadline = socket_deadline(so->receive_timeout, flags & MSG_DONTWAIT);
    size_t wanted = *skip;
    for (;;) {
        int err = socket_error(so);
        if (err < 0)
            return ERR_PTR(err);
        if (list_empty(&s->queue))
            net_poll(); // what the device has may be for this socket
        const struct list *last = READ_ONCE(s->queue.prev);
        *skip = wanted;
        if (!list_empty(&s->queue) && (d = take(s, flags & MSG_PEEK, skip)))
            return d;
        if (!deadline)
            return ERR_PTR(-EAGAIN);
        if (READ_ONCE(s->shutdown) & SHUTDOWN_RECEIVE)
            return NULL;
        err = socket_wait_exclusive(&so->readable,
                                    (wanted ? READ_ONCE(s->queue.prev) != last : !list_empty(&s->queue)) ||
                                        (READ_ONCE(s->shutdown) & SHUTDOWN_RECEIVE) || READ_ONCE(so->error),
                                    deadline);
        if (err < 0)
            return ERR_PTR(socket_interrupted(err, so->receive_timeout));
    }
}

static int64_t receive_error(struct datagram_socket *s, struct uio *u, struct socket_message *m) {
    struct socket *so = &s->inet.socket;
    int next = 0;
    spin_lock(&so->lock);
    struct datagram *d = list_empty(&s->errors) ? NULL : list_first(&s->errors, struct datagram, link);
    if (d) {
        list_remove(&d->link);
        s->charged -= d->charge;
        if (!list_empty(&s->errors))
            next = list_first(&s->errors, struct datagram, link)->error;
        WRITE_ONCE(so->error, next); // SO_ERROR is that of the error which is now first
    }
    spin_unlock(&so->lock);
    if (!d)
        return -EAGAIN;
    size_t n = MIN(d->len, u->left);
    int64_t result = n;
    if (datagram_copy(d, u, 0, n) < n) {
        result = -EFAULT;
    } else if (m) {
        if (n < d->len)
            m->flags |= MSG_TRUNC;
        m->flags |= MSG_ERRQUEUE;
        if (m->name)
            inet_address_out(&s->inet, &d->to, d->to_port, m->name);
        inet_control_error(s, d, m);
    }
    datagram_put(d);
    return result;
}

int64_t datagram_receive(struct socket *so, struct uio *u, struct socket_message *m, int flags) {
    struct datagram_socket *s = datagram_of(so);
    bool peek = flags & MSG_PEEK, moves = unlikely(so->peek_offset >= 0);
    if (unlikely(flags & MSG_ERRQUEUE))
        return receive_error(s, u, m);
    size_t skip = peek && moves ? so->peek_offset : 0;
    struct datagram *d = wait_for_datagram(s, flags, &skip);
    if (!d)
        return 0;
    if (IS_ERR(d))
        return PTR_ERR(d);
    size_t there = d->len - skip, n = MIN(there, u->left);
    int64_t result = flags & MSG_TRUNC ? there : n;
    if (unlikely(datagram_copy(d, u, skip, n) < n)) {
        result = -EFAULT;
    } else {
        if (m) {
            if (n < there)
                m->flags |= MSG_TRUNC;
            if (m->name)
                inet_address_out(&s->inet, &d->from, d->from_port, m->name);
            inet_control_out(s, d, m);
        }
        if (moves)
            so->peek_offset = peek ? so->peek_offset + (int)n : MAX(so->peek_offset - (int)d->len, 0);
    }
    datagram_put(d);
    return result;
}

// --- Sending ---

int datagram_wait_to_send(struct datagram_socket *s, int flags) {
    struct socket *so = &s->inet.socket;
    int err = socket_error(so);
    if (err < 0)
        return err;
    if (READ_ONCE(s->shutdown) & SHUTDOWN_SEND)
        return -EPIPE;
    if (likely(READ_ONCE(s->sending) < so->send_buffer))
        return 0;
    nsec_t deadline = socket_deadline(so->send_timeout, flags & MSG_DONTWAIT);
    for (;;) {
        net_poll(); // the device may have sent some
        if (READ_ONCE(s->sending) < so->send_buffer)
            return 0;
        net_sent_wanted();
        if (!deadline)
            return -EAGAIN;
        err = wait_event_until(&so->writable,
                               READ_ONCE(s->sending) < so->send_buffer || (READ_ONCE(s->shutdown) & SHUTDOWN_SEND) ||
                                   READ_ONCE(so->error),
                               deadline, true);
        if (err < 0)
            return socket_interrupted(err, so->send_timeout);
        if ((err = socket_error(so)) < 0)
            return err;
        if (READ_ONCE(s->shutdown) & SHUTDOWN_SEND)
            return -EPIPE;
    }
}

// --- Readiness ---

uint32_t datagram_poll(struct socket *so, struct file *f, struct poll_table *pt) {
    struct datagram_socket *s = datagram_of(so);
    uint8_t shutdown = READ_ONCE(s->shutdown);
    uint32_t mask = 0;
    poll_on(pt, f, &so->readable);
    poll_on(pt, f, &so->writable);
    net_poll();
    if (READ_ONCE(so->error) || !list_empty(&s->errors))
        mask |= POLLERR | (socket_bit(so, SOCKET_SELECT_ERR_QUEUE) ? POLLPRI : 0);
    if (shutdown & SHUTDOWN_RECEIVE)
        mask |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (shutdown == SHUTDOWN_BOTH)
        mask |= POLLHUP;
    if (!list_empty(&s->queue))
        mask |= POLLIN | POLLRDNORM;
    if (READ_ONCE(s->sending) < so->send_buffer / 2)
        mask |= POLLOUT | POLLWRNORM | POLLWRBAND;
    else
        net_sent_wanted();
    return mask;
}

int datagram_shutdown(struct socket *so, int bits) {
    struct datagram_socket *s = datagram_of(so);
    net_lock();
    s->shutdown |= bits; // also of one that is not connected, which others wait for
    int err = s->connected ? 0 : -ENOTCONN;
    net_unlock();
    socket_wake_state(so);
    return err;
}

long datagram_ioctl(struct socket *so, unsigned cmd, uaddr_t arg) {
    struct datagram_socket *s = datagram_of(so);
    int value = 0;
    switch (cmd) {
    case FIONREAD:
        spin_lock(&so->lock);
        if (!list_empty(&s->queue))
            value = list_first(&s->queue, struct datagram, link)->len;
        spin_unlock(&so->lock);
        break;
    case TIOCOUTQ: value = READ_ONCE(s->sending); break;
    default: return inet_ioctl(so, cmd, arg);
    }
    return copy_out_obj(arg, &value);
}
