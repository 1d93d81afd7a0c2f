// 9P2000.L as bytes: see protocol.h. Sources: the 9P2000.L protocol of the diod project, Linux' include/net/9p/9p.h.
#include "fs/9p/protocol.h"

#include "kernel/string.h"

// --- Writing ---

static uint8_t *room(struct p9_buffer *b, size_t n) {
    if (unlikely(b->bad || n > b->size - b->at)) {
        b->bad = true;
        return NULL;
    }
    uint8_t *p = b->data + b->at;
    b->at += (uint32_t)n;
    return p;
}

static void put(struct p9_buffer *b, uint64_t v, unsigned n) {
    uint8_t *p = room(b, n);
    if (p)
        memcpy(p, &v, n);
}

void p9_put8(struct p9_buffer *b, uint8_t v) { put(b, v, 1); }
void p9_put16(struct p9_buffer *b, uint16_t v) { put(b, v, 2); }
void p9_put32(struct p9_buffer *b, uint32_t v) { put(b, v, 4); }
void p9_put64(struct p9_buffer *b, uint64_t v) { put(b, v, 8); }

void p9_put_bytes(struct p9_buffer *b, const void *data, size_t len) {
    uint8_t *p = room(b, len);
    if (p)
        memcpy(p, data, len);
}

void p9_put_string(struct p9_buffer *b, const char *s, size_t len) {
    if (len > UINT16_MAX)
        b->bad = true;
    p9_put16(b, (uint16_t)len);
    p9_put_bytes(b, s, len);
}

void p9_begin(struct p9_buffer *b, void *data, uint32_t size, enum p9_type type, uint16_t tag) {
    *b = (struct p9_buffer){.data = data, .size = size};
    p9_put32(b, 0);
    p9_put8(b, (uint8_t)type);
    p9_put16(b, tag);
}

int p9_end(struct p9_buffer *b, uint32_t payload) {
    uint32_t size = b->at + payload;
    if (b->bad || size < payload)
        return -ENAMETOOLONG;
    memcpy(b->data, &size, sizeof(size));
    return 0;
}

// --- Reading ---

static uint64_t get(struct p9_buffer *b, unsigned n) {
    uint64_t v = 0;
    const uint8_t *p = room(b, n);
    if (p)
        memcpy(&v, p, n);
    return v;
}

uint8_t p9_get8(struct p9_buffer *b) { return (uint8_t)get(b, 1); }
uint16_t p9_get16(struct p9_buffer *b) { return (uint16_t)get(b, 2); }
uint32_t p9_get32(struct p9_buffer *b) { return (uint32_t)get(b, 4); }
uint64_t p9_get64(struct p9_buffer *b) { return get(b, 8); }

const char *p9_get_string(struct p9_buffer *b, uint16_t *len) {
    *len = p9_get16(b);
    const char *s = (const char *)room(b, *len);
    if (!s)
        *len = 0;
    return s;
}

struct p9_qid p9_get_qid(struct p9_buffer *b) {
    struct p9_qid q;
    q.type = p9_get8(b);
    q.version = p9_get32(b);
    q.path = p9_get64(b);
    return q;
}

int p9_error(uint32_t code) {
    // EHWPOISON is the last one. The numbers from 512 on are Linux' own, and mean restarts.
    return code >= 1 && code <= 133 ? -(int)code : -EIO;
}

int p9_begin_reply(struct p9_buffer *b, void *data, uint32_t size, uint32_t received, enum p9_type type, uint16_t tag) {
    *b = (struct p9_buffer){.data = data, .size = MIN(size, received)};
    uint32_t length = p9_get32(b);
    uint8_t got = p9_get8(b);
    uint16_t got_tag = p9_get16(b);
    if (b->bad || length < P9_HEADER || length > received || got_tag != tag)
        return -EPROTO;
    b->size = MIN(b->size, length);
    if (got == (uint8_t)type + 1)
        return 0;
    if (got != P9_RLERROR)
        return -EPROTO;
    int err = p9_error(p9_get32(b));
    return b->bad ? -EPROTO : err;
}

int p9_end_reply(const struct p9_buffer *b) { return b->bad ? -EPROTO : 0; }

// Seconds and nanoseconds as one number. What no clock shows becomes the nearest that can be shown.
static nsec_t get_time(struct p9_buffer *b) {
    int64_t sec = (int64_t)p9_get64(b);
    uint64_t nsec = p9_get64(b);
    if (nsec >= NSEC_PER_SEC)
        nsec = 0;
    const int64_t limit = INT64_MAX / NSEC_PER_SEC - 1;
    sec = MAX(MIN(sec, limit), -limit);
    return sec * NSEC_PER_SEC + (int64_t)nsec;
}

static void put_time(struct p9_buffer *b, nsec_t t) {
    int64_t sec = t / NSEC_PER_SEC, nsec = t % NSEC_PER_SEC;
    if (nsec < 0) {
        nsec += NSEC_PER_SEC;
        sec--;
    }
    p9_put64(b, (uint64_t)sec);
    p9_put64(b, (uint64_t)nsec);
}

void p9_get_attr(struct p9_buffer *b, struct p9_attr *a) {
    a->valid = p9_get64(b);
    a->qid = p9_get_qid(b);
    a->mode = p9_get32(b);
    a->uid = p9_get32(b);
    a->gid = p9_get32(b);
    a->nlink = p9_get64(b);
    a->rdev = p9_get64(b);
    a->size = p9_get64(b);
    a->blksize = p9_get64(b);
    a->blocks = p9_get64(b);
    a->atime = get_time(b);
    a->mtime = get_time(b);
    a->ctime = get_time(b);
    a->btime = get_time(b);
    p9_get64(b); // generation
    p9_get64(b); // data version
}

void p9_put_setattr(struct p9_buffer *b, const struct p9_setattr *a) {
    p9_put32(b, a->valid);
    p9_put32(b, a->mode);
    p9_put32(b, a->uid);
    p9_put32(b, a->gid);
    p9_put64(b, a->size);
    put_time(b, a->atime);
    put_time(b, a->mtime);
}

void p9_get_statfs(struct p9_buffer *b, struct p9_statfs *s) {
    s->type = p9_get32(b);
    s->bsize = p9_get32(b);
    s->blocks = p9_get64(b);
    s->bfree = p9_get64(b);
    s->bavail = p9_get64(b);
    s->files = p9_get64(b);
    s->ffree = p9_get64(b);
    s->fsid = p9_get64(b);
    s->namelen = p9_get32(b);
}

bool p9_get_dirent(struct p9_buffer *b, struct p9_dirent *d) {
    if (b->bad || b->at >= b->size)
        return false;
    d->qid = p9_get_qid(b);
    d->offset = p9_get64(b);
    d->type = p9_get8(b);
    d->name = p9_get_string(b, &d->len);
    return !b->bad;
}
