// Sessions and requests: see client.h. A request's memory is one piece: its fields, the reply's fields, and a table of where the
// payload lies. The one who waits reads the reply himself, in his own thread; interrupts do no more than wake him.
#include "fs/9p/client.h"

#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"

#define SIGNAL_POLL                                                                                                    \
    (20 * NSEC_PER_MSEC) // how often a thread with a signal that does not kill it looks for one that does

// --- Tags ---

static int take_tag(struct p9_client *c) {
    int tag = -1;
    uint64_t flags = spin_lock_irqsave(&c->lock);
    for (unsigned i = 0; i < ARRAY_SIZE(c->tags) && tag < 0; i++) {
        if (~c->tags[i]) {
            unsigned bit = (unsigned)__builtin_ctzl(~c->tags[i]);
            c->tags[i] |= 1ul << bit;
            tag = (int)(i * 64 + bit);
        }
    }
    spin_unlock_irqrestore(&c->lock, flags);
    return tag;
}

static bool dying(void) { return READ_ONCE(thread_current()->work) & WORK_EXIT; }

static void submit_clunk(struct p9_fid *f, int tag);

// A fid that waits to be clunked has the first claim.
static void give_tag(struct p9_client *c, uint16_t tag) {
    struct p9_fid *next = NULL;
    uint64_t flags = spin_lock_irqsave(&c->lock);
    if (unlikely(!list_empty(&c->clunks))) {
        next = list_first(&c->clunks, struct p9_fid, link);
        list_remove(&next->link);
    } else {
        c->tags[tag / 64] &= ~(1ul << tag % 64);
    }
    spin_unlock_irqrestore(&c->lock, flags);
    if (unlikely(next))
        submit_clunk(next, tag);
    else if (unlikely(waitq_active(&c->tag_wait)))
        waitq_wake_one(&c->tag_wait);
}

// --- Requests ---

struct p9_request *p9_request_new(struct p9_client *c, enum p9_type type, uint32_t out_size, uint32_t in_size) {
    if (unlikely(READ_ONCE(c->broken)))
        return ERR_PTR(-EIO);
    uint32_t out_room = ALIGN_UP(out_size, 16u);
    struct p9_request *r = kmalloc(sizeof(*r) + out_room + in_size);
    if (unlikely(!r)) {
        if (type != P9_TWRITE || !c->reserve)
            return ERR_PTR(-ENOMEM);
        wait_event(&c->tag_wait, !atomic_xchg(&c->reserve_taken, true));
        r = c->reserve;
    }
    int tag = take_tag(c);
    if (unlikely(tag < 0))
        wait_event(&c->tag_wait, (tag = take_tag(c)) >= 0);
    r->client = c;
    r->waiting = NULL;
    r->type = type;
    r->tag = (uint16_t)tag;
    r->payload_out = r->payload_in = 0;
    r->in_size = in_size;
    r->in = r->out + out_room;
    p9_begin(&r->b, r->out, out_size, type, r->tag);
    return r;
}

void p9_request_free(struct p9_request *r) {
    struct p9_client *c = r->client;
    give_tag(c, r->tag);
    if (likely(r != c->reserve)) {
        kfree(r);
        return;
    }
    store_release(&c->reserve_taken, false);
    waitq_wake_all(&c->tag_wait);
}

// Pieces that lie behind each other are one.
static void add_payload(struct p9_request *r, unsigned count, void *data, uint32_t len) {
    struct p9_segment *s = &r->segments[1 + count]; // the first is for the fields
    if (count && (char *)s[-1].data + s[-1].len == (char *)data) {
        s[-1].len += len;
        return;
    }
    ASSERT(count < P9_PAYLOAD_SEGMENTS);
    *s = (struct p9_segment){data, len};
    if (r->type == P9_TWRITE)
        r->payload_out++;
    else
        r->payload_in++;
}

void p9_payload_out(struct p9_request *r, void *data, uint32_t len) { add_payload(r, r->payload_out, data, len); }

void p9_payload_in(struct p9_request *r, void *data, uint32_t len) { add_payload(r, r->payload_in, data, len); }

static void request_done(struct p9_transfer *t) {
    struct p9_request *r = container_of(t, struct p9_request, transfer);
    thread_wake_clear(r->waiting, (void **)&r->waiting);
}

int p9_submit(struct p9_request *r) {
    uint32_t payload = 0;
    for (unsigned i = 0; i < r->payload_out; i++)
        payload += r->segments[1 + i].len;
    int err = p9_end(&r->b, payload);
    if (err < 0)
        return err;
    // The order of the table: fields, payload to write, the reply's fields, payload to read.
    struct p9_segment *s = r->segments;
    s[0] = (struct p9_segment){r->out, r->b.at};
    if (r->payload_in)
        for (unsigned i = r->payload_in; i > 0; i--)
            s[1 + i] = s[i];
    s[1 + r->payload_out] = (struct p9_segment){r->in, r->in_size};
    r->transfer.segments = s;
    r->transfer.out = (uint16_t)(1 + r->payload_out);
    r->transfer.in = (uint16_t)(1 + r->payload_in);
    r->transfer.error = 0;
    r->transfer.received = 0;
    r->transfer.done = request_done;
    r->waiting = thread_current();
    __atomic_fetch_add(&r->client->round_trips, 1, __ATOMIC_RELAXED);
    r->client->transport->ops->submit(r->client->transport, &r->transfer);
    return 0;
}

// False: the thread is being killed, and the request still on its way.
static bool wait_done(struct p9_request *r, bool killable) {
    while (load_acquire(&r->waiting)) {
        if (killable && dying())
            break;
        bool signalled =
            killable && thread_signal_pending(); // one that does not kill: an interruptible sleep would end at once
        thread_prepare_sleep(killable && !signalled);
        if (load_acquire(&r->waiting))
            thread_sleep_until(signalled ? time_monotonic() + SIGNAL_POLL : NSEC_MAX);
    }
    thread_cancel_sleep();
    return !load_acquire(&r->waiting);
}

// Asks the server to forget the request. Afterwards it is done: with a reply, which counts, or without one.
static void flush(struct p9_request *r) {
    struct p9_request *f = p9_request_new(r->client, P9_TFLUSH, P9_HEADER + 2, 16);
    if (!IS_ERR(f)) {
        p9_put16(&f->b, r->tag);
        if (p9_submit(f) == 0)
            wait_done(f, false);
        p9_request_free(f);
    }
    wait_done(r, false);
}

int p9_finish(struct p9_request *r) {
    struct p9_client *c = r->client;
    // A thread that is ending makes its last requests (files are closed, pages written) like any other.
    bool flushed = !wait_done(r, !dying());
    if (unlikely(flushed))
        flush(r);
    if (unlikely(r->transfer.error))
        return -EIO;
    uint32_t received = r->transfer.received;
    if (unlikely(flushed && received == 0))
        return -EINTR;
    int err = p9_begin_reply(&r->b, r->in, r->in_size, received, r->type, r->tag);
    if (unlikely(err == -EPROTO)) {
        p9_client_broken(c, "a reply that is none to what was asked");
        return -EIO;
    }
    return err;
}

int p9_call(struct p9_request *r) {
    int err = p9_submit(r);
    return err < 0 ? err : p9_finish(r);
}

int p9_fields_end(struct p9_request *r) {
    if (likely(p9_end_reply(&r->b) == 0))
        return 0;
    p9_client_broken(r->client, "a reply that is too short");
    return -EIO;
}

void p9_client_broken(struct p9_client *c, const char *why) {
    if (atomic_xchg(&c->broken, true))
        return;
    c->transport->ops->disable(c->transport, why);
}

// --- Fids ---

static struct slab_cache fid_cache = SLAB_CACHE("9p_fid", sizeof(struct p9_fid), 16);

struct p9_fid *p9_fid_new(struct p9_client *c, uint32_t uid) {
    struct p9_fid *f = slab_zalloc(&fid_cache);
    if (!f)
        return NULL;
    uint32_t *grown = NULL;
    uint32_t room = 0;
    for (;;) {
        uint64_t flags = spin_lock_irqsave(&c->lock);
        if (grown && room > c->free_room) {
            if (c->free_count)
                memcpy(grown, c->free_fids, c->free_count * sizeof(uint32_t));
            uint32_t *old = c->free_fids;
            c->free_fids = grown;
            c->free_room = room;
            grown = old;
        }
        bool found = c->free_count || c->fid_count < c->free_room;
        if (found) {
            f->number = c->free_count ? c->free_fids[--c->free_count] : c->fid_count++;
            c->fids++;
        }
        room = MAX(c->free_room * 2, 64u);
        spin_unlock_irqrestore(&c->lock, flags);
        kfree(grown);
        grown = NULL;
        if (found)
            break;
        grown = kmalloc(room * sizeof(uint32_t));
        if (!grown) {
            slab_free(&fid_cache, f);
            return NULL;
        }
    }
    f->client = c;
    f->refs = 1;
    f->uid = uid;
    list_init(&f->link);
    return f;
}

void p9_fid_abandon(struct p9_fid *f) {
    struct p9_client *c = f->client;
    uint64_t flags = spin_lock_irqsave(&c->lock);
    c->free_fids[c->free_count++] = f->number;
    bool last = --c->fids == 0;
    if (last) // whoever waits may free the client as soon as the lock is his
        waitq_wake_all(&c->fid_wait);
    spin_unlock_irqrestore(&c->lock, flags);
    slab_free(&fid_cache, f);
}

static void clunk_done(struct p9_transfer *t) {
    struct p9_fid *f = container_of(t, struct p9_fid, clunk);
    struct p9_client *c = f->client;
    uint16_t tag = f->clunk_tag;
    // Whatever the server says, the fid is gone. First the tag: the last fid may be what keeps the client.
    give_tag(c, tag);
    p9_fid_abandon(f);
}

static void submit_clunk(struct p9_fid *f, int tag) {
    struct p9_buffer b;
    f->clunk_tag = (uint16_t)tag;
    p9_begin(&b, f->clunk_out, sizeof(f->clunk_out), P9_TCLUNK, f->clunk_tag);
    p9_put32(&b, f->number);
    p9_end(&b, 0);
    f->clunk_segments[0] = (struct p9_segment){f->clunk_out, b.at};
    f->clunk_segments[1] = (struct p9_segment){f->clunk_in, sizeof(f->clunk_in)};
    f->clunk = (struct p9_transfer){.segments = f->clunk_segments, .out = 1, .in = 1, .done = clunk_done};
    f->client->transport->ops->submit(f->client->transport, &f->clunk);
}

void p9_fid_put(struct p9_fid *f) {
    if (!f || atomic_sub(&f->refs, 1) != 1)
        return;
    struct p9_client *c = f->client;
    int tag = take_tag(c);
    if (likely(tag >= 0)) {
        submit_clunk(f, tag);
        return;
    }
    uint64_t flags = spin_lock_irqsave(&c->lock);
    list_push_back(&c->clunks, &f->link);
    spin_unlock_irqrestore(&c->lock, flags);
    tag = take_tag(c); // one may have come back in between
    if (tag >= 0)
        give_tag(c, (uint16_t)tag);
}

// --- Sessions ---

static int negotiate(struct p9_client *c, uint32_t msize) {
    struct p9_request *r = p9_request_new(c, P9_TVERSION, 64, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    uint16_t tag = r->tag, len, notag = P9_NOTAG;
    memcpy(r->out + 5, &notag, sizeof(notag));
    r->tag = P9_NOTAG;
    p9_put32(&r->b, msize);
    p9_put_string(&r->b, P9_VERSION, strlen(P9_VERSION));
    int err = p9_call(r);
    if (err == 0) {
        c->msize = p9_get32(&r->b);
        const char *version = p9_get_string(&r->b, &len);
        err = p9_fields_end(r);
        if (err == 0 && (len != strlen(P9_VERSION) || memcmp(version, P9_VERSION, len) != 0)) {
            log_err("9p %s: the server does not speak " P9_VERSION, c->transport->tag);
            err = -EREMOTEIO;
        } else if (err == 0 && (c->msize < P9_MSIZE_MIN || c->msize > msize)) {
            p9_client_broken(c, "messages of a size that was not asked for");
            err = -EREMOTEIO;
        }
    }
    r->tag = tag;
    p9_request_free(r);
    return err;
}

struct p9_client *p9_client_open(struct p9_transport *tr, uint32_t msize) {
    struct p9_client *c = kzalloc(sizeof(*c));
    if (!c) {
        p9_transport_give_back(tr);
        return ERR_PTR(-ENOMEM);
    }
    c->transport = tr;
    spin_init(&c->lock);
    waitq_init(&c->tag_wait);
    waitq_init(&c->fid_wait);
    list_init(&c->clunks);
    c->reserve = kmalloc(sizeof(*c->reserve) + ALIGN_UP(P9_WRITE_OVERHEAD, 16u) + P9_WRITE_REPLY);
    c->segments_max = MIN(tr->segments_max - 2, (uint32_t)P9_PAYLOAD_SEGMENTS);
    int err = negotiate(c, msize);
    if (err < 0) {
        p9_client_close(c);
        return ERR_PTR(err);
    }
    // Whole pages, so that requests of a large read or write stay aligned.
    c->payload_max = (uint32_t)ALIGN_DOWN(c->msize - P9_WRITE_OVERHEAD - 1, (uint32_t)PAGE_SIZE);
    if (!c->payload_max)
        c->payload_max = c->msize - P9_WRITE_OVERHEAD - 1;
    return c;
}

static bool no_fids(struct p9_client *c) {
    uint64_t flags = spin_lock_irqsave(&c->lock);
    bool none = c->fids == 0;
    spin_unlock_irqrestore(&c->lock, flags);
    return none;
}

void p9_client_close(struct p9_client *c) {
    wait_event(&c->fid_wait, no_fids(c));
    p9_transport_give_back(c->transport);
    kfree(c->free_fids);
    kfree(c->reserve);
    kfree(c);
}
