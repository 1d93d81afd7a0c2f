// SOCK_STREAM of AF_UNIX: bytes in the receiver's queue (net/bytequeue.h), with marks beside them where files, credentials or urgent
// bytes are. A read ends behind bytes that came with files and does not glue together bytes of different credentials when these
// are asked for, as unix(7) has it.
#include "kernel/memory/landing.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/uio.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "net/unix.h"

#define CHUNK 16384u // bytes that readers see at once

static struct slab_cache mark_cache = SLAB_CACHE("unix_mark", sizeof(struct unix_mark), 8);

static inline uint8_t shut(const struct unix_socket *u) { return READ_ONCE(u->shutdown); }

// --- Sending ---

// What one send has to put beside its first bytes.
struct sending {
    struct unix_socket *peer;
    struct scm scm;
    bool urgent; // the last byte is (MSG_OOB)
};

static bool wants_credentials(const struct unix_socket *u, const struct unix_socket *peer) {
    return socket_bit(&u->socket, SOCKET_PASSCRED) || socket_bit(&peer->socket, SOCKET_PASSCRED) || !peer->socket.file;
}

// Bytes of `cred`, perhaps with files, are about to be put: marks them unless they are as those before. peer->in.write_lock held.
static int mark(struct unix_socket *peer, size_t n, struct scm *scm, const struct scm_credentials *cred, bool urgent) {
    if (likely(!scm->files && !urgent && scm_same(cred, &peer->write_cred)))
        return 0;
    struct unix_mark *m = slab_zalloc(&mark_cache);
    if (!m)
        return -ENOMEM;
    m->at = peer->in.head;
    m->end = m->at + n;
    m->kind = urgent ? MARK_URGENT : MARK_PLAIN;
    m->scm.cred = *cred;
    m->scm.files = scm->files;
    scm->files = NULL;
    spin_lock(&peer->socket.lock);
    list_push_back(&peer->marks, &m->link);
    if (urgent)
        peer->urgent = m;
    spin_unlock(&peer->socket.lock);
    peer->write_cred = *cred;
    return 0;
}

// The bytes could not be put: the mark at the end is taken back, with its files.
static void unmark(struct unix_socket *peer, struct scm *scm) {
    struct unix_mark *m = NULL;
    spin_lock(&peer->socket.lock);
    if (!list_empty(&peer->marks)) {
        m = list_entry(peer->marks.prev, struct unix_mark, link);
        if (m->at == peer->in.head) {
            list_remove(&m->link);
            if (peer->urgent == m)
                peer->urgent = NULL;
        } else {
            m = NULL;
        }
    }
    spin_unlock(&peer->socket.lock);
    if (m) {
        scm->files = m->scm.files;
        peer->write_cred = (struct scm_credentials){-1, 0, 0}; // none: the next bytes are marked
        slab_free(&mark_cache, m);
    }
}

// Bytes with nothing beside them, as those before. peer->in.write_lock held.
static bool is_plain(const struct unix_socket *u, const struct unix_socket *peer, const struct scm *scm, bool urgent) {
    return !urgent && !scm->files && list_empty(&peer->marks) && scm_same(&scm->cred, &peer->write_cred) &&
           (scm->cred.pid || !wants_credentials(u, peer));
}

// Puts up to n bytes. The bytes, 0: there is no room just now, or -errno; -EPIPE: the peer reads no more.
static int64_t put(struct unix_socket *u, struct sending *out, struct uio *uio, size_t n, bool urgent) {
    struct unix_socket *peer = out->peer;
    mutex_lock(&peer->in.write_lock);
    int64_t err = 0;
    size_t used = bytequeue_used(&peer->in), limit = u->socket.send_buffer;
    if (unlikely(used >= limit)) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST); // see wake_writer
        used = bytequeue_used(&peer->in);
    }
    if (unlikely(peer->dead || (shut(peer) & SHUTDOWN_RECEIVE))) {
        err = -EPIPE;
    } else if (unlikely(landing_wanted(&peer->landing, n)) && !used && is_plain(u, peer, &out->scm, urgent) &&
               (err = (int64_t)landing_fill(&peer->landing, uio, n))) {
        mutex_unlock(&peer->in.write_lock);
        socket_landed(&peer->socket);
        return err;
    } else if (used < limit) {
        n = MIN(MIN(n, CHUNK), limit - used);
        struct scm_credentials cred = out->scm.cred;
        if (unlikely(!cred.pid && wants_credentials(u, peer)))
            cred = scm_current();
        err = mark(peer, n, &out->scm, &cred, urgent);
        if (!err)
            err = bytequeue_put(&peer->in, uio, n);
        if (unlikely(err < 0))
            unmark(peer, &out->scm);
        else
            err = n;
    }
    mutex_unlock(&peer->in.write_lock);
    if (err > 0)
        socket_wake_readable(&peer->socket, POLLIN | POLLRDNORM | (urgent ? POLLPRI : 0));
    return err;
}

static int wait_for_room(struct unix_socket *u, struct unix_socket *peer, nsec_t deadline) {
    struct socket *s = &u->socket;
    if (!deadline)
        return -EAGAIN;
    int err = wait_event_until(&s->writable,
                               bytequeue_used(&peer->in) < s->send_buffer || shut(u) || READ_ONCE(s->error) ||
                                   READ_ONCE(peer->dead),
                               deadline, true);
    return socket_interrupted(err, s->send_timeout);
}

// Sends n bytes; *sent counts.
static int send_bytes(struct unix_socket *u, struct sending *out, struct uio *uio, size_t n, nsec_t deadline,
                      bool urgent, int64_t *sent) {
    while (n) {
        int err = socket_error(&u->socket);
        if (err < 0)
            return err;
        int64_t done = put(u, out, uio, n, urgent);
        if (done < 0)
            return done;
        n -= done;
        *sent += done;
        if (done == 0 && (err = wait_for_room(u, out->peer, deadline)) < 0)
            return err;
        if (unlikely(done == 0 && (shut(u) & SHUTDOWN_SEND)))
            return (err = socket_error(&u->socket)) < 0 ? err : -EPIPE;
        sched_point();
    }
    return 0;
}

static int prepare(struct unix_socket *u, struct sending *out, struct socket_message *m, int flags, size_t n) {
    int err = 0;
    out->scm.files = NULL;
    out->scm.cred = SCM_NOBODY;
    out->urgent = false;
    if (unlikely(m != NULL)) {
        if (m->control_len && (err = scm_parse(m, &out->scm)) < 0)
            return err;
        if (flags & MSG_OOB) {
            if (!n)
                return -EOPNOTSUPP;
            out->urgent = true;
        }
        if (m->name)
            return READ_ONCE(u->state) == UNIX_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    }
    out->peer = load_acquire(&u->peer);
    if (!out->peer)
        return -ENOTCONN;
    if (unlikely(shut(u) & SHUTDOWN_SEND))
        return -EPIPE;
    if (unlikely(out->scm.files != NULL))
        err = inflight_attach(out->scm.files);
    return err;
}

int64_t unix_stream_send(struct socket *s, struct uio *uio, struct socket_message *m, int flags) {
    struct unix_socket *u = unix_of(s);
    struct sending out;
    int64_t sent = 0;
    size_t n = uio->left;
    int err = prepare(u, &out, m, flags, n);
    if (likely(err == 0)) {
        nsec_t deadline = socket_deadline(s->send_timeout, flags & MSG_DONTWAIT);
        err = send_bytes(u, &out, uio, n - out.urgent, deadline, false, &sent);
        if (unlikely(err == 0 && out.urgent)) {
            err = send_bytes(u, &out, uio, 1, deadline, true, &sent);
            if (err == 0)
                socket_send_sigurg(&out.peer->socket);
        }
    }
    if (unlikely(out.scm.files != NULL))
        unix_files_drop(out.scm.files);
    if (likely(sent))
        return sent;
    if (err == -EPIPE && !(flags & MSG_NOSIGNAL))
        signal_send_thread(thread_current(), SIGPIPE, NULL);
    return err;
}

// --- Receiving ---

#define LANDED 2 // what a wait returns: bytes came past the queue

struct receiving {
    struct unix_socket *u;
    struct uio *uio;
    int flags;
    bool want_cred, have_cred; // SO_PASSCRED; scm.cred is that of bytes already read
    bool stop;                 // the read ends here
    struct scm scm;
    struct scm_files *lost; // a list: of urgent bytes, which bring no files with them. Closed without locks
    size_t skip;            // MSG_PEEK: bytes behind the tail that were looked at
    size_t landed;          // with LANDED
};

static struct unix_mark *mark_behind(struct unix_socket *u, struct unix_mark *m) {
    struct list *next = m ? m->link.next : u->marks.next;
    return next == &u->marks ? NULL : list_entry(next, struct unix_mark, link);
}

// What holds for the bytes from `pos` on: the mark that stands there or NULL, whose they are, and how many of `used` belong together.
static struct unix_mark *look(struct unix_socket *u, uint64_t pos, size_t *used, struct scm_credentials *cred) {
    struct unix_mark *here = NULL, *m = NULL;
    *cred = u->read_cred;
    spin_lock(&u->socket.lock);
    while ((m = mark_behind(u, m)) && m->at <= pos) {
        *cred = m->scm.cred;
        if (m->at == pos)
            here = m;
    }
    if (m)
        *used = MIN(*used, m->at - pos);
    if (here && (here->scm.files || here->kind != MARK_PLAIN))
        *used = MIN(*used, here->end - pos);
    spin_unlock(&u->socket.lock);
    return here; // only readers take marks away, and they hold in.read_lock
}

// The tail has come to the mark and goes on. Returns the files that came with it, or NULL.
static struct scm_files *remove_mark(struct unix_socket *u, struct unix_mark *m) {
    spin_lock(&u->socket.lock);
    list_remove(&m->link);
    if (u->urgent == m)
        u->urgent = NULL;
    struct scm_files *files = m->scm.files;
    spin_unlock(&u->socket.lock);
    u->read_cred = m->scm.cred;
    if (files)
        inflight_detach(files);
    slab_free(&mark_cache, m);
    return files;
}

static void take_mark(struct receiving *r, struct unix_mark *m) {
    struct scm_files *files = remove_mark(r->u, m);
    if (files) {
        r->scm.files = files;
        r->stop = true;
    }
}

static int peek_files(struct receiving *r, struct unix_mark *m) {
    mutex_lock(&inflight_mutex);
    if (m->scm.files && !r->scm.files) {
        r->scm.files = scm_files_copy(m->scm.files);
        r->stop = true;
    }
    mutex_unlock(&inflight_mutex);
    return r->stop && !r->scm.files ? -ENOMEM : 0;
}

static void wake_writer(struct unix_socket *u, size_t n) {
    struct unix_socket *peer = load_acquire(&u->peer);
    if (!peer)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // the new tail, and then the look at the head: a writer without room has it the other way round
    uint64_t limit = READ_ONCE(peer->socket.send_buffer), used = bytequeue_used(&u->in);
    if (unlikely((used + n) * 4 > limit && used * 4 <= limit))
        socket_wake_writable(&peer->socket, POLLOUT | POLLWRNORM | POLLWRBAND);
}

static void drop(struct unix_socket *u, size_t n) {
    bytequeue_drop(&u->in, n);
    wake_writer(u, n);
}

// An urgent byte at the tail that no read will get.
static void discard_urgent(struct receiving *r, struct unix_mark *m) {
    struct scm_files *files = remove_mark(r->u, m);
    drop(r->u, 1);
    if (files) {
        files->next = r->lost;
        r->lost = files;
    }
}

// A byte that was sent as urgent: it is skipped when it was received as such, and ends a read before it. True: go on behind it.
static bool pass_urgent(struct receiving *r, struct unix_mark *m, size_t copied) {
    struct unix_socket *u = r->u;
    bool is_inline = socket_bit(&u->socket, SOCKET_OOBINLINE);
    if (m->kind == MARK_URGENT && copied) {
        r->stop = true;
        return false;
    }
    if (m->kind == MARK_URGENT && (is_inline || u->urgent != m))
        return false; // an ordinary byte
    if (r->flags & MSG_PEEK) {
        r->skip++;
    } else {
        discard_urgent(r, m);
    }
    return true;
}

// One piece that belongs together. The bytes, 0: nothing (r->stop: and no more), -errno.
static int64_t receive_piece(struct receiving *r, size_t copied) {
    struct unix_socket *u = r->u;
    struct scm_credentials cred;
    size_t used = bytequeue_used(&u->in) - r->skip;
    struct unix_mark *here = NULL;
    if (likely(list_empty(&u->marks)))
        cred = u->read_cred;
    else
        here = look(u, u->in.tail + r->skip, &used, &cred);
    if (unlikely(here && here->kind != MARK_PLAIN)) {
        if (pass_urgent(r, here, copied) || r->stop)
            return 0;
    }
    if (unlikely(r->want_cred)) {
        if (r->have_cred && !scm_same(&cred, &r->scm.cred)) {
            r->stop = true;
            return 0;
        }
        r->scm.cred = cred;
        r->have_cred = true;
    }
    size_t n = MIN(used, r->uio->left);
    if (bytequeue_peek(&u->in, r->uio, r->skip, n) < n)
        return -EFAULT;
    if (unlikely(r->flags & MSG_PEEK)) {
        r->skip += n;
        int err = here && here->scm.files ? peek_files(r, here) : 0;
        return err < 0 ? err : (int64_t)n;
    }
    if (unlikely(here != NULL) && n)
        take_mark(r, here);
    drop(u, n);
    return n;
}

static inline bool has_news(const struct receiving *r) {
    const struct unix_socket *u = r->u;
    return bytequeue_used(&u->in) > r->skip || (shut(u) & SHUTDOWN_RECEIVE) || READ_ONCE(u->socket.error);
}

// The wait with a place for bytes that come past the queue.
static __attribute__((noinline)) int wait_for_landing(struct receiving *r, nsec_t deadline) {
    struct unix_socket *u = r->u;
    struct landing l;
    bool offered = landing_offer(&u->landing, &l, r->uio);
    mutex_unlock(&u->in.read_lock);
    int err = wait_event_until(&u->socket.readable, has_news(r) || (offered && landing_over(&l)), deadline, true);
    mutex_lock(&u->in.read_lock);
    if (offered && (r->landed = landing_end(&u->landing, &l, r->uio)))
        return LANDED;
    return socket_interrupted(err, u->socket.receive_timeout);
}

// Waits for the next byte. 0: look again; 1: the end of the stream; LANDED; -errno. in.read_lock held, and dropped while it sleeps.
static int wait_for_data(struct receiving *r, nsec_t deadline) {
    struct unix_socket *u = r->u;
    struct socket *s = &u->socket;
    int err = socket_error(s);
    if (err < 0)
        return err;
    if (shut(u) & SHUTDOWN_RECEIVE)
        return bytequeue_used(&u->in) > r->skip ? 0 : 1; // what was sent before is read first
    if (!deadline)
        return -EAGAIN;
    if (r->uio->left >= LANDING_MIN && !r->want_cred && !(r->flags & MSG_PEEK))
        return wait_for_landing(r, deadline);
    mutex_unlock(&u->in.read_lock);
    err = wait_event_until(&s->readable, has_news(r), deadline, true);
    mutex_lock(&u->in.read_lock);
    return socket_interrupted(err, s->receive_timeout);
}

static int64_t receive_urgent(struct unix_socket *u, struct uio *uio, struct socket_message *m, int flags) {
    char byte;
    struct uio_vec vec;
    struct uio one = uio_one(&vec, (uint64_t)(uintptr_t)&byte, 1, false);
    mutex_lock(&u->in.read_lock);
    spin_lock(&u->socket.lock);
    struct unix_mark *urgent = u->urgent;
    bool there =
        urgent && !socket_bit(&u->socket, SOCKET_OOBINLINE) && bytequeue_used(&u->in) > urgent->at - u->in.tail;
    if (there && !(flags & MSG_PEEK)) {
        urgent->kind = MARK_TAKEN;
        u->urgent = NULL;
    }
    spin_unlock(&u->socket.lock);
    if (there)
        bytequeue_peek(&u->in, &one, urgent->at - u->in.tail, 1);
    mutex_unlock(&u->in.read_lock);
    if (!there)
        return -EINVAL;
    if (m)
        m->flags |= MSG_OOB;
    size_t room = MIN(uio->left, 1ul);
    return uio_put(uio, &byte, 1) == room ? 1 : -EFAULT;
}

// A taken byte at the tail is no data any more.
static void skip_taken(struct receiving *r) {
    struct unix_socket *u = r->u;
    for (;;) {
        spin_lock(&u->socket.lock); // a mark whose bytes are not there yet may be taken back by its writer
        struct unix_mark *m = mark_behind(u, NULL);
        bool taken = m && m->at == u->in.tail && m->kind == MARK_TAKEN;
        spin_unlock(&u->socket.lock);
        if (!taken)
            return;
        discard_urgent(r, m);
    }
}

int64_t unix_stream_receive(struct socket *s, struct uio *uio, struct socket_message *m, int flags) {
    struct unix_socket *u = unix_of(s);
    if (unlikely(READ_ONCE(u->state) != UNIX_CONNECTED))
        return -EINVAL;
    if (unlikely(flags & MSG_OOB))
        return receive_urgent(u, uio, m, flags);
    struct receiving r = {.u = u, .uio = uio, .flags = flags, .want_cred = socket_bit(s, SOCKET_PASSCRED)};
    bool peek_moves = unlikely((flags & MSG_PEEK) && s->peek_offset >= 0);
    if (peek_moves)
        r.skip = s->peek_offset;
    size_t target = flags & MSG_WAITALL ? uio->left : MIN((size_t)s->low_water, uio->left), copied = 0;
    target = MAX(target, 1ul);
    nsec_t deadline = socket_deadline(s->receive_timeout, flags & MSG_DONTWAIT);
    int64_t err = 0;
    mutex_lock(&u->in.read_lock);
    while (!r.stop) {
        if (bytequeue_used(&u->in) <= r.skip) {
            if (copied >= target || ((err = wait_for_data(&r, deadline)) && err != LANDED))
                break;
            if (unlikely(err)) {
                copied += r.landed;
                err = 0;
                if (!uio->left)
                    break;
            }
            continue;
        }
        int64_t n = receive_piece(&r, copied);
        if (n < 0) {
            err = n;
            break;
        }
        copied += n;
        if (!uio->left)
            break;
        sched_point();
    }
    if (unlikely(!list_empty(&u->marks) && !(flags & MSG_PEEK)))
        skip_taken(&r);
    if (unlikely(s->peek_offset >= 0))
        s->peek_offset = peek_moves           ? (int)r.skip
                         : (flags & MSG_PEEK) ? s->peek_offset
                                              : MAX(s->peek_offset - (int)copied, 0);
    mutex_unlock(&u->in.read_lock);
    while (unlikely(r.lost != NULL)) {
        struct scm_files *files = r.lost;
        r.lost = files->next;
        scm_files_drop(files);
    }
    if (unlikely(m && m->name && copied)) {
        struct unix_socket *peer = unix_peer_get(u);
        if (peer) {
            unix_copy_address(peer, m->name);
            unix_unref(peer);
        }
    }
    if (unlikely(r.scm.files || (m && r.want_cred)) && (copied || err >= 0))
        scm_deliver(m, &r.scm, r.want_cred, flags);
    else if (unlikely(r.scm.files != NULL))
        scm_files_drop(r.scm.files);
    return copied ? (int64_t)copied : MIN(err, 0l);
}

bool unix_stream_at_mark(struct unix_socket *u) {
    spin_lock(&u->socket.lock);
    bool at = u->urgent && u->urgent->at == READ_ONCE(u->in.tail);
    spin_unlock(&u->socket.lock);
    return at;
}

void unix_stream_free(struct unix_socket *u) {
    struct list marks;
    list_init(&marks);
    mutex_lock(&u->in.write_lock); // a writer may just be at it; later ones see that we are dead
    bytequeue_free(&u->in);
    spin_lock(&u->socket.lock);
    u->urgent = NULL;
    while (!list_empty(&u->marks)) {
        struct list *m = u->marks.next;
        list_remove(m);
        list_push_back(&marks, m);
    }
    spin_unlock(&u->socket.lock);
    mutex_unlock(&u->in.write_lock);
    while (!list_empty(&marks)) {
        struct unix_mark *m = list_first(&marks, struct unix_mark, link);
        list_remove(&m->link);
        unix_files_drop(m->scm.files);
        slab_free(&mark_cache, m);
    }
}
