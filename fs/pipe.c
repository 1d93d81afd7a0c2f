// Pipes and FIFOs: reading, writing, polling. A pipe is a ring of pieces of pages, as with Linux, whose details programs can see:
// a small write is added to the last piece when it fits there as a whole and otherwise takes a page of its own, so writes of up to
// PIPE_BUF bytes are atomic; a pipe has room when a slot of the ring is free.
// Locks: pipe.lock (mutex), which may be held during a page fault. inode.lock is taken first.
#include "fs/pipe.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/memory/landing.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/signal.h"
#include <asm/ioctls.h>

// --- Pieces ---

// One page is kept for the next write: a pipe that carries small messages does not go to the allocator for each.
static inline void page_put(struct pipe *p, struct page *page) {
    if (!p->spare && READ_ONCE(page->refs) == 1)
        p->spare = page;
    else
        page_unref(page);
}

static inline struct page *page_get(struct pipe *p) {
    struct page *page = p->spare;
    if (likely(page != NULL))
        p->spare = NULL;
    else
        page = page_alloc(0, 0);
    return page;
}

static inline void pop(struct pipe *p, struct pipe_piece *piece) {
    page_put(p, piece->page);
    WRITE_ONCE(p->tail, p->tail + 1);
}

void pipe_pop(struct pipe *p) { pop(p, piece_at(p, p->tail)); }

void pipe_consume(struct pipe *p, size_t n) {
    while (n) {
        struct pipe_piece *piece = piece_at(p, p->tail);
        size_t part = MIN(n, piece->len);
        piece->offset += part;
        piece->len -= part;
        n -= part;
        if (!piece->len)
            pop(p, piece);
    }
}

static inline void push(struct pipe *p, struct page *page, unsigned offset, unsigned len, unsigned flags) {
    *piece_at(p, p->head) = (struct pipe_piece){page, (uint16_t)offset, (uint16_t)len, (uint8_t)flags};
    WRITE_ONCE(p->head, p->head + 1);
}

void pipe_push(struct pipe *p, struct page *page, unsigned offset, unsigned len, unsigned flags) {
    push(p, page, offset, len, flags);
}

// --- Waiting ---

void pipe_wake_reader(struct pipe *p) {
    if (waitq_active(&p->readable))
        waitq_wake_key(&p->readable, 1, POLLIN | POLLRDNORM);
}

void pipe_wake_writer(struct pipe *p) {
    if (waitq_active(&p->writable))
        waitq_wake_key(&p->writable, 1, POLLOUT | POLLWRNORM);
}

// Not locked.
static inline bool has_data(const struct pipe *p) { return READ_ONCE(p->head) != READ_ONCE(p->tail); }
static inline bool has_room(const struct pipe *p) {
    uint32_t head = READ_ONCE(p->head);
    int32_t used = (int32_t)(head - READ_ONCE(p->tail)); // less than 0 when the tail has passed the head that was seen
    return used + (int32_t)READ_ONCE(p->reserved) < (int32_t)READ_ONCE(p->slots);
}
static inline bool can_read(const struct pipe *p) { return has_data(p) || !READ_ONCE(p->writers); }
static inline bool can_write(const struct pipe *p) { return has_room(p) || !READ_ONCE(p->readers); }

// One of those that wait is woken at a time; whoever has got something and leaves more wakes the next one.
static inline __attribute__((always_inline)) int wait_for(struct pipe *p, struct waitq *wq, bool (*done)(const struct pipe *),
                                                          const struct landing *l) {
    struct waiter w = {.thread = thread_current(), .exclusive = true};
    int err = 0;
    list_init(&w.link);
    mutex_unlock(&p->lock);
    if (wq == &p->writable)
        pipe_wake_reader(p); // what is in it may be of the one who waits now
    for (;;) {
        waitq_prepare(wq, &w, true);
        if (done(p) || (l && landing_over(l)))
            break;
        err = thread_sleep_until(NSEC_MAX);
        if (likely(done(p) || (l && landing_over(l))))
            err = 0;
        else if (!err)
            continue;
        break;
    }
    waitq_finish(&w);
    mutex_lock(&p->lock);
    return err;
}

NO_CANARY int pipe_wait_readable(struct pipe *p) { return wait_for(p, &p->readable, can_read, NULL); }
NO_CANARY int pipe_wait_writable(struct pipe *p) { return wait_for(p, &p->writable, can_write, NULL); }

int pipe_broken(void) {
    if (!thread_current()->kernel) // a session's input
        signal_send_self(SIGPIPE);
    return -EPIPE;
}

// --- Reading ---

// Where there is nothing to read: waits with the place for a landing. The bytes that came past the ring, 0: none, or -errno.
static __attribute__((noinline)) int64_t wait_for_landing(const struct file *f, struct pipe *p, struct uio *u, bool *waited) {
    struct landing l;
    int64_t n = 0;
    mutex_lock(&p->lock);
    if (pipe_empty(p) && p->writers && !(f->flags & O_NONBLOCK) && landing_offer(&p->landing, &l, u)) {
        int err = wait_for(p, &p->readable, can_read, &l);
        *waited = true;
        n = (int64_t)landing_end(&p->landing, &l, u);
        n = n ? n : err;
    }
    bool more = n && !pipe_empty(p);
    mutex_unlock(&p->lock);
    if (unlikely(more)) // what it was woken for may be another one's
        pipe_wake_reader(p);
    return n;
}

// Takes what there is, up to u->left bytes. -EFAULT when not one could be copied.
static int64_t take(struct pipe *p, struct uio *u) {
    int64_t total = 0;
    while (!pipe_empty(p)) {
        struct pipe_piece *piece = piece_at(p, p->tail);
        size_t n = MIN(piece->len, u->left);
        if (uio_put(u, (char *)page_to_virt(piece->page) + piece->offset, n) < n)
            return total ? total : -EFAULT;
        total += n;
        piece->offset += n;
        piece->len -= n;
        bool packet = piece->flags & PIECE_PACKET;
        if (!piece->len || packet)
            pop(p, piece);
        if (!u->left || packet)
            break;
    }
    return total;
}

static int64_t pipe_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct pipe *p = f->data;
    if (unlikely(!u->left))
        return 0;
    bool waited = false;
    if (unlikely(u->left >= LANDING_MIN)) {
        int64_t landed = wait_for_landing(f, p, u, &waited);
        if (landed)
            return landed;
    }
    mutex_lock(&p->lock);
    while (unlikely(pipe_empty(p))) {
        int err = 0;
        waited = true;
        if (p->writers)
            err = f->flags & O_NONBLOCK ? -EAGAIN : pipe_wait_readable(p);
        if (err || (pipe_empty(p) && !p->writers)) {
            mutex_unlock(&p->lock);
            return err;
        }
    }
    bool full = pipe_full(p);
    int64_t n = take(p, u);
    bool more = !pipe_empty(p);
    full = full && !pipe_full(p);
    mutex_unlock(&p->lock);
    if (unlikely(full)) // no more
        pipe_wake_writer(p);
    if (unlikely(more) && waited)
        pipe_wake_reader(p);
    return n;
}

// --- Writing ---

// The odd bytes of a write, so that its rest starts on a page, go behind the last piece when they fit there. 0, or -EFAULT.
static int64_t merge(struct pipe *p, struct uio *u) {
    size_t n = u->left % PAGE_SIZE;
    if (!n || pipe_empty(p))
        return 0;
    struct pipe_piece *last = piece_at(p, p->head - 1);
    size_t at = last->offset + last->len;
    if (!(last->flags & PIECE_MERGE) || at + n > PAGE_SIZE)
        return 0;
    if (uio_get(u, (char *)page_to_virt(last->page) + at, n) < n)
        return -EFAULT;
    last->len += n;
    return n;
}

// Past the ring, to a reader that waits. The bytes.
static __attribute__((noinline)) int64_t put_past(const struct file *f, struct pipe *p, struct uio *u) {
    return pipe_empty(p) && !(f->flags & O_DIRECT) ? (int64_t)landing_fill(&p->landing, u, u->left) : 0;
}

// A page's worth into a slot of its own.
static int64_t put(struct pipe *p, struct uio *u, bool packet) {
    struct page *page = page_get(p);
    if (!page)
        return -ENOMEM;
    size_t n = MIN(u->left, PAGE_SIZE);
    if (unlikely(uio_get(u, page_to_virt(page), n) < n)) {
        page_put(p, page);
        return -EFAULT;
    }
    push(p, page, 0, n, packet ? PIECE_PACKET : PIECE_MERGE);
    return (int64_t)n;
}

static int64_t pipe_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct pipe *p = f->data;
    int64_t err = 0, done = 0; // of u->left pieces that could not be copied as a whole are missing too
    bool waited = false;
    if (unlikely(!u->left))
        return 0;
    mutex_lock(&p->lock);
    if (likely(p->readers))
        done = err = unlikely(landing_wanted(&p->landing, u->left)) ? put_past(f, p, u) : merge(p, u);
    while (u->left && err >= 0) {
        if (unlikely(!p->readers))
            err = -EPIPE;
        else if (likely(!pipe_full(p))) {
            err = put(p, u, f->flags & O_DIRECT);
            done += MAX(err, 0L);
        } else if (f->flags & O_NONBLOCK)
            err = -EAGAIN;
        else {
            waited = true;
            err = pipe_wait_writable(p);
        }
    }
    bool more_room = waited && !pipe_full(p);
    mutex_unlock(&p->lock);
    // A write to a pipe with data in it is an event too for edge-triggered epoll instances.
    if (likely(done > 0))
        pipe_wake_reader(p);
    if (unlikely(more_room))
        pipe_wake_writer(p);
    if (unlikely(err == -EPIPE))
        pipe_broken();
    return done > 0 ? done : err;
}

// --- The rest ---

static uint32_t pipe_poll(struct file *f, struct poll_table *pt) {
    struct pipe *p = f->data;
    uint32_t mask = 0;
    if (f->readable) {
        poll_on(pt, f, &p->readable);
        if (has_data(p))
            mask |= POLLIN | POLLRDNORM;
        // A FIFO that no writer has opened since is quiet, not hung up.
        if (!READ_ONCE(p->writers) && f->position != READ_ONCE(p->writer_opens))
            mask |= POLLHUP;
    }
    if (f->writable) {
        poll_on(pt, f, &p->writable);
        if (has_room(p))
            mask |= POLLOUT | POLLWRNORM;
        if (!READ_ONCE(p->readers))
            mask |= POLLERR;
    }
    return mask;
}

static long pipe_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    struct pipe *p = f->data;
    if (cmd != FIONREAD)
        return -ENOTTY;
    int used = 0;
    mutex_lock(&p->lock);
    for (uint32_t i = p->tail; i != p->head; i++)
        used += piece_at(p, i)->len;
    mutex_unlock(&p->lock);
    return copy_out_obj(arg, &used);
}

const struct file_ops pipe_ops = {
    .name = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};
