// What netlink sockets send and receive: datagrams of messages. What is sent to port id 0 is answered at once, in the sender's
// context; the answers of a dump are kept with the socket and given out in datagrams as it reads.
#include "fs/poll.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "net/inet/inet.h"
#include "net/netlink/netlink.h"

#define CHARGE 768u      // what a datagram counts besides its bytes, about as on Linux
#define PIECE_MIN 3776u  // the datagrams of a dump: at least; what fits into a page together with Linux' bookkeeping,
#define PIECE_MAX 32448u // and at most
#define SEND_MAX (1u << 20)

struct packet {
    struct list link;
    uint32_t refs, len, port;
    unsigned group;
    struct scm_credentials cred; // of the sender; the kernel is 0
    char data[];
};

// --- Queues ---

static void packet_unref(struct packet *p) {
    if (atomic_sub(&p->refs, 1) == 1)
        kfree(p);
}

static struct packet *packet_create(const void *data, size_t len, uint32_t port, unsigned group) {
    struct packet *p = kmalloc(sizeof(*p) + len);
    if (p) {
        *p = (struct packet){.refs = 1, .len = len, .port = port, .group = group};
        memcpy(p->data, data, len);
    }
    return p;
}

static void overrun(struct netlink_socket *n) { // socket.lock held
    n->drops++;
    if (!n->overrun && !netlink_option(n, NETLINK_NO_ENOBUFS)) {
        n->overrun = true;
        socket_set_error(&n->socket, ENOBUFS);
    }
}

static int enqueue(struct netlink_socket *n, struct packet *p) {
    bool full;
    spin_lock(&n->socket.lock);
    full = n->charged > n->socket.receive_buffer;
    if (full) {
        overrun(n);
    } else {
        n->charged += p->len + CHARGE;
        list_push_back(&n->queue, &p->link);
    }
    spin_unlock(&n->socket.lock);
    socket_wake_readable(&n->socket, full ? POLLERR : POLLIN | POLLRDNORM);
    return full ? -ENOBUFS : 0;
}

static int deliver(struct netlink_socket *n, const void *data, size_t len, uint32_t from, unsigned group,
                   const struct scm_credentials *cred) {
    struct packet *p = packet_create(data, len, from, group);
    if (!p)
        return -ENOMEM;
    if (cred)
        p->cred = *cred;
    int err = enqueue(n, p);
    if (err < 0)
        packet_unref(p);
    return err;
}

int netlink_deliver(struct netlink_socket *n, const void *data, size_t len, uint32_t from, unsigned group) {
    return deliver(n, data, len, from, group, NULL);
}

int netlink_send_to(struct socket *s, const void *data, size_t len) {
    if (s->family != AF_NETLINK)
        return -EINVAL;
    return len ? netlink_deliver(netlink_of(s), data, len, 0, 0) : 0;
}

void netlink_queue_free(struct netlink_socket *n) {
    while (!list_empty(&n->queue)) {
        struct packet *p = list_first(&n->queue, struct packet, link);
        list_remove(&p->link);
        packet_unref(p);
    }
}

// --- Groups ---

static bool listens(const struct netlink_socket *n, int protocol, unsigned group) {
    return n->socket.protocol == protocol && (n->groups >> (group - 1) & 1);
}

bool netlink_has_listeners(int protocol, unsigned group) {
    struct netlink_socket *n;
    bool found = false;
    spin_lock(&netlink_lock);
    list_for_each (n, &netlink_sockets, link) {
        if (listens(n, protocol, group)) {
            found = true;
            break;
        }
    }
    spin_unlock(&netlink_lock);
    return found;
}

static int multicast(int protocol, unsigned group, const void *data, size_t len, uint32_t from,
                     const struct netlink_socket *except, const struct scm_credentials *cred) {
    struct netlink_socket *n;
    int err = -ESRCH;
    spin_lock(&netlink_lock);
    list_for_each (n, &netlink_sockets, link) {
        if (n == except || !listens(n, protocol, group))
            continue;
        err = MAX(err, -ESRCH);
        if (deliver(n, data, len, from, group, cred) == 0)
            err = 0;
    }
    spin_unlock(&netlink_lock);
    return err;
}

void netlink_multicast(int protocol, unsigned group, const void *data, size_t len, uint32_t from,
                       const struct netlink_socket *except) {
    (void)multicast(protocol, group, data, len, from, except, NULL);
}

// --- Dumps ---

// The next piece of a dump into the queue; at its end NLMSG_DONE in a datagram of its own, as old programs expect it.
static struct packet *make_done(const struct netlink_socket *n) {
    struct {
        struct nlmsghdr header;
        int error;
        struct nlattr text;
        char room[128];
    } done = {.header = n->done, .error = n->done_error};
    size_t len = sizeof(done.header) + sizeof(done.error);
    if (n->done_text) {
        size_t k = MIN(strlen(n->done_text), sizeof(done.room) - 1) + 1;
        done.header.nlmsg_flags |= NLM_F_ACK_TLVS;
        done.text = (struct nlattr){(uint16_t)(sizeof(done.text) + k), NLMSGERR_ATTR_MSG};
        memcpy(done.room, n->done_text, k - 1);
        len += sizeof(done.text) + NLMSG_ALIGN(k);
    }
    done.header.nlmsg_len = len;
    return packet_create(&done, len, 0, 0);
}

static void dump_more(struct netlink_socket *n) {
    spin_lock(&n->socket.lock);
    bool running = n->dumping && n->charged <= n->socket.receive_buffer / 2;
    size_t from = n->dumped, to = from, most = MIN(MAX(n->receive_most, PIECE_MIN), PIECE_MAX);
    const char *data = n->dump.data;
    while (running && to < n->dump.len) {
        const struct nlmsghdr *h = (const void *)(data + to);
        if (to > from && to + NLMSG_ALIGN(h->nlmsg_len) - from > most)
            break;
        to += NLMSG_ALIGN(h->nlmsg_len);
    }
    n->dumped = to;
    struct packet *p = NULL;
    if (running)
        p = to > from ? packet_create(data + from, to - from, 0, 0) : make_done(n);
    if (running && (!p || to == from)) { // the end, or out of memory: then it is cut short, and recvmsg(2) says so
        n->dumping = false;
        kfree(n->dump.data);
        n->dump = (struct seqbuf){0};
        if (!p)
            overrun(n);
    }
    if (p) {
        n->charged += p->len + CHARGE;
        list_push_back(&n->queue, &p->link);
    }
    spin_unlock(&n->socket.lock);
    if (p)
        socket_wake_readable(&n->socket, POLLIN | POLLRDNORM);
}

// Takes the messages over. -EBUSY: the socket has not read its last dump to the end.
static int dump_start(struct netlink_request *r, int error, struct seqbuf *messages) {
    struct netlink_socket *n = r->from;
    spin_lock(&n->socket.lock);
    bool busy = n->dumping;
    if (!busy) {
        n->dumping = true;
        n->dump = *messages;
        n->dumped = 0;
        n->done = (struct nlmsghdr){0, NLMSG_DONE, NLM_F_MULTI | (r->filtered ? NLM_F_DUMP_FILTERED : 0),
                                    r->header->nlmsg_seq, r->port};
        n->done_error = error;
        n->done_text = netlink_option(n, NETLINK_EXT_ACK) ? r->error : NULL;
        *messages = (struct seqbuf){0};
    }
    spin_unlock(&n->socket.lock);
    if (busy)
        return -EBUSY;
    dump_more(n);
    return 0;
}

// --- Sending ---

// Answers one message. 0 or -errno.
static int handle(struct netlink_request *r) {
    const struct nlmsghdr *h = r->header;
    if (!(h->nlmsg_flags & NLM_F_REQUEST) || h->nlmsg_type < NLMSG_MIN_TYPE)
        return 0;
    int protocol = r->from->socket.protocol;
    r->multi = netlink_is_dump(protocol, h);
    if (r->multi && READ_ONCE(r->from->dumping))
        return -EBUSY;
    int err = protocol == NETLINK_ROUTE ? rtnetlink_request(r) : diag_request(r);
    if (r->out->failed) { // the last message is not whole
        seq_free(r->out);
        err = err ? err : -ENOBUFS;
    }
    if (r->multi && (!err || r->dumps))
        return dump_start(r, err, r->out);
    return err || !r->out->len ? err : netlink_deliver(r->from, r->out->data, r->out->len, 0, 0);
}

static void to_kernel(struct netlink_socket *n, const char *data, size_t len) {
    while (len >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *h = (const void *)data;
        if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len)
            return;
        struct seqbuf out = {0};
        struct netlink_request r = {.from = n, .port = n->port, .header = h, .out = &out};
        int err = handle(&r);
        seq_free(&out);
        if (err || ((h->nlmsg_flags & NLM_F_ACK) && !r.multi))
            netlink_acknowledge(&r, err);
        sched_point();
        size_t step = MIN(NLMSG_ALIGN(h->nlmsg_len), len);
        data += step;
        len -= step;
    }
}

static int to_user(struct netlink_socket *n, uint32_t port, unsigned group, const void *data, size_t len,
                   const struct scm_credentials *cred) {
    int protocol = n->socket.protocol, err = 0;
    if (group)
        (void)multicast(protocol, group, data, len, n->port, n, cred);
    if (!port)
        return 0;
    struct netlink_socket *to = netlink_find(protocol, port);
    // A connected socket hears from its peer alone.
    if (!to || (to->peer && to->peer != n->port))
        err = -ECONNREFUSED;
    else
        err = deliver(to, data, len, n->port, 0, cred);
    if (to)
        socket_unref(&to->socket);
    return err == -ENOBUFS ? -EAGAIN : err;
}

static int destination(struct netlink_socket *n, const struct socket_message *m, uint32_t *port, unsigned *group) {
    struct sockaddr_nl nl;
    if (!m || !m->name) {
        *port = n->peer;
        *group = n->peer_group;
        return 0;
    }
    if (m->name->len < sizeof(nl) || m->name->family != AF_NETLINK)
        return -EINVAL;
    memcpy(&nl, m->name->data, sizeof(nl));
    *port = nl.nl_pid;
    *group = nl.nl_groups ? (unsigned)__builtin_ctz(nl.nl_groups) + 1 : 0;
    return (*port || *group) && !netlink_allowed(n) ? -EPERM : 0;
}

int64_t netlink_send(struct socket *s, struct uio *u, struct socket_message *m, int flags) {
    struct netlink_socket *n = netlink_of(s);
    struct scm scm = {NULL, SCM_NOBODY};
    uint32_t port;
    unsigned group;
    size_t len = u->left;
    int err = 0;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (!len)
        return -ENODATA;
    if (m && m->control_len)
        err = scm_parse(m, &scm);
    if (scm.files) {
        scm_files_drop(scm.files);
        err = -EINVAL;
    }
    if (!err)
        err = destination(n, m, &port, &group);
    if (!err)
        err = netlink_autobind(n);
    if (!err && (len + 32 > s->send_buffer || len > SEND_MAX))
        err = -EMSGSIZE;
    char *data = err ? NULL : kmalloc(len);
    if (err || !data)
        return err ? err : -ENOBUFS;
    if (uio_get(u, data, len) < len) {
        err = -EFAULT;
    } else {
        if (!scm.cred.pid)
            scm.cred = scm_current();
        if (port || group)
            err = to_user(n, port, group, data, len, &scm.cred);
        if (!port && (!err || err == -ESRCH))
            to_kernel(n, data, len);
    }
    kfree(data);
    return err < 0 ? err : (int64_t)len;
}

// --- Receiving ---

static struct packet *take(struct netlink_socket *n, bool peek) {
    struct packet *p = NULL;
    spin_lock(&n->socket.lock);
    if (!list_empty(&n->queue)) {
        p = list_first(&n->queue, struct packet, link);
        if (peek) {
            atomic_add(&p->refs, 1);
        } else {
            list_remove(&p->link);
            n->charged -= p->len + CHARGE;
            if (list_empty(&n->queue))
                n->overrun = false;
        }
    }
    spin_unlock(&n->socket.lock);
    return p;
}

static struct packet *wait_for_packet(struct netlink_socket *n, int flags) {
    struct socket *s = &n->socket;
    nsec_t deadline = socket_deadline(s->receive_timeout, flags & MSG_DONTWAIT);
    for (;;) {
        int err = socket_error(s);
        if (err < 0)
            return ERR_PTR(err);
        struct packet *p = take(n, flags & MSG_PEEK);
        if (p)
            return p;
        if (!deadline)
            return ERR_PTR(-EAGAIN);
        err = socket_wait_exclusive(&s->readable, !list_empty(&n->queue) || READ_ONCE(s->error), deadline);
        if (err < 0)
            return ERR_PTR(socket_interrupted(err, s->receive_timeout));
    }
}

int64_t netlink_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags) {
    struct netlink_socket *n = netlink_of(s);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    struct packet *p = wait_for_packet(n, flags);
    if (IS_ERR(p))
        return PTR_ERR(p);
    n->receive_most = MAX(n->receive_most, (uint32_t)MIN(u->left, (size_t)PIECE_MAX));
    size_t k = MIN(p->len, u->left);
    int64_t result = flags & MSG_TRUNC ? p->len : k;
    if (uio_put(u, p->data, k) < k)
        result = -EFAULT;
    if (m && m->name) {
        struct sockaddr_nl nl = {.nl_family = AF_NETLINK,
                                 .nl_pid = p->port,
                                 .nl_groups = p->group >= 1 && p->group <= 32 ? 1u << (p->group - 1) : 0};
        m->name->len = sizeof(nl);
        memcpy(m->name->data, &nl, sizeof(nl));
    }
    if (m && k < p->len)
        m->flags |= MSG_TRUNC;
    if (m && netlink_option(n, NETLINK_PKTINFO)) {
        struct nl_pktinfo info = {p->group};
        message_put_control(m, SOL_NETLINK, NETLINK_PKTINFO, &info, sizeof(info));
    }
    struct scm scm = {NULL, p->cred};
    scm_deliver(m, &scm, socket_bit(s, SOCKET_PASSCRED), flags);
    packet_unref(p);
    if (READ_ONCE(n->dumping))
        dump_more(n);
    return result;
}

uint32_t netlink_poll(struct socket *s, struct file *f, struct poll_table *pt) {
    poll_on(pt, f, &s->readable);
    uint32_t mask = POLLOUT | POLLWRNORM | POLLWRBAND;
    if (READ_ONCE(s->error))
        mask |= POLLERR;
    if (!list_empty(&netlink_of(s)->queue))
        mask |= POLLIN | POLLRDNORM;
    return mask;
}

long netlink_ioctl(struct socket *s, unsigned cmd, uaddr_t arg) { return inet_ioctl(s, cmd, arg); }
