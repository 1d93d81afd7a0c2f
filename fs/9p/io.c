// read(2), write(2), truncate(2) of files on a server. They go there, large ones in several requests at once; what mappings have changed
// goes there first, and what is written is put into mapped pages, too, so that all in this machine see the same.
// Memory for requests lies in physically contiguous pieces of up to 128 KiB, or smaller ones when there are none.
#include "fs/9p/internal.h"

#include "fs/limit.h"
#include "kernel/string.h"

#define IN_FLIGHT 4
#define PIECE_ORDER 5 // 128 KiB

struct piece {
    struct p9_request *request; // NULL: it failed before it was on its way, with `error`
    struct page *page;
    uint32_t len;
    int error;
};

static inline char *piece_data(const struct piece *p) { return page_to_virt(p->page); }

// A piece of memory for up to `len` bytes; *room: how many. NULL: not even a page.
static struct page *piece_alloc(size_t len, uint32_t max, uint32_t *room) {
    unsigned order = 0;
    while (order < PIECE_ORDER && (PAGE_SIZE << order) < MIN(len, max))
        order++;
    struct page *page;
    while (!(page = page_alloc(order, 0)) && order)
        order--;
    *room = (uint32_t)MIN(MIN(len, max), PAGE_SIZE << order);
    return page;
}

static void piece_submit(struct piece *p) {
    int err = IS_ERR(p->request) ? (int)PTR_ERR(p->request) : p9_submit(p->request);
    p->error = err;
    if (err < 0) {
        if (!IS_ERR(p->request))
            p9_request_free(p->request);
        p->request = NULL;
    }
}

static long piece_finish(struct piece *p) { return p->request ? p9_finish_io(p->request, p->len) : p->error; }

// Something that mappings have stored is not on the server yet.
static bool on_its_way(const struct page_cache *c) { return READ_ONCE(c->dirty) || READ_ONCE(c->writing); }

// --- Reading ---

static void begin_read(struct p9_fid *fid, struct piece *p, uint64_t at) {
    p->request = p9_read_begin(fid, P9_TREAD, p->len, at);
    if (!IS_ERR(p->request))
        p9_payload_in(p->request, piece_data(p), p->len);
    piece_submit(p);
}

// Several pieces from *pos on, of which those behind `known`, where the file is thought to end, are not asked for ahead.
// The bytes that went into the uio; *end: no more follow.
static int64_t read_some(struct p9_fid *fid, struct uio *u, uint64_t *pos, uint64_t known, bool *end) {
    struct piece pieces[IN_FLIGHT];
    unsigned count = 0;
    uint64_t at = *pos;
    size_t left = u->left;
    while (count < IN_FLIGHT && left && (count == 0 || at < known)) {
        struct piece *p = &pieces[count];
        p->page = piece_alloc(left, fid->client->payload_max, &p->len);
        if (!p->page)
            break;
        begin_read(fid, p, at);
        at += p->len;
        left -= p->len;
        count++;
    }
    if (!count)
        return -ENOMEM;
    int64_t total = 0, err = 0;
    *end = left == 0;
    for (unsigned i = 0; i < count; i++) {
        struct piece *p = &pieces[i];
        long n = piece_finish(p);
        if (err == 0 && n < 0) {
            err = n;
        } else if (err == 0) {
            size_t put = uio_put(u, piece_data(p), (size_t)n);
            total += (int64_t)put;
            if (put < (size_t)n)
                err = -EFAULT;
            else if ((size_t)n < p->len)
                err = 1; // the end of the file
        }
        page_unref(p->page);
    }
    *pos += (uint64_t)total;
    if (err)
        *end = true;
    return total || err >= 0 ? total : err;
}

// A file without a name that was cut off here: behind its size are stale bytes of the server. If it was not, the server knows best where
// it ends: the host may have moved it away and write to it still, as a log.
static int64_t clip(const struct p9_inode *p, uint64_t pos, size_t len) {
    if (likely(!p->gone || !p->stale_end))
        return (int64_t)MIN(len, (size_t)INT64_MAX);
    return pos >= p->inode.size ? 0 : (int64_t)MIN(len, p->inode.size - pos);
}

int64_t p9_file_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct p9_inode *p = p9_inode_of(f->inode);
    struct page_cache *c = f->inode->cache;
    uint64_t start = *pos;
    size_t len = u->left, behind = 0;
    if (!len || start > INT64_MAX)
        return 0;
    if (unlikely(c && on_its_way(c))) {
        int err = page_cache_sync(c, start >> PAGE_SHIFT,
                                  (start + MIN(len, 1ul << 40) - 1) / PAGE_SIZE - (start >> PAGE_SHIFT) + 1);
        if (err < 0)
            return err;
    }
    size_t wanted = (size_t)clip(p, start, len);
    behind = len - wanted;
    u->left = wanted;
    int64_t total = 0;
    bool end = wanted == 0;
    while (!end) {
        int64_t n = read_some(f->data, u, pos, READ_ONCE(f->inode->size), &end);
        if (n < 0) {
            u->left += behind;
            return total ? total : n;
        }
        total += n;
        sched_point();
    }
    if (unlikely(p->gone && u->left && *pos < p->inode.size)) { // it grew here: zeroes that the server does not have
        size_t zero = uio_put_zero(u, MIN(u->left, p->inode.size - *pos));
        total += (int64_t)zero;
        *pos += zero;
    }
    u->left += behind;
    return total;
}

// --- Writing ---

static void begin_write(struct p9_fid *fid, struct piece *p, uint64_t at) {
    p->request = p9_write_begin(fid, p->len, at);
    if (!IS_ERR(p->request))
        p9_payload_out(p->request, piece_data(p), p->len);
    piece_submit(p);
}

// Pages that are mapped show at once what is written; where they are dirty they go to the server with it later.
static void update_pages(struct page_cache *c, const char *data, uint64_t at, size_t len) {
    while (len) {
        size_t offset = at & ~PAGE_MASK, n = MIN(PAGE_SIZE - offset, len);
        struct page *page = page_cache_peek(c, at >> PAGE_SHIFT);
        if (page) {
            memcpy((char *)page_to_virt(page) + offset, data, n);
            page_unref(page);
        }
        data += n;
        at += n;
        len -= n;
    }
}

// The server has put what was appended where it sees the end: is that where we thought? Otherwise somebody else has appended, too, and
// pages have to come from the server again.
static bool landed_at(struct inode *inode, uint64_t at, size_t len) {
    struct p9_inode *p = p9_inode_of(inode);
    p->fresh_for = NULL;
    p9_update(inode);
    if (p->gone || inode->size == at + len)
        return true;
    page_cache_invalidate(inode->cache, at >> PAGE_SHIFT, ~0ul);
    return false;
}

// A mapping may have stored behind the end in its page; the file grows, and has zeroes there.
static void zero_tail(struct page_cache *c, uint64_t size, uint64_t to) {
    struct page *page = size & ~PAGE_MASK ? page_cache_peek(c, size >> PAGE_SHIFT) : NULL;
    if (!page)
        return;
    size_t from = size & ~PAGE_MASK;
    memset((char *)page_to_virt(page) + from, 0, MIN(to - size, PAGE_SIZE - from));
    page_unref(page);
}

// Several pieces at *pos. The bytes written; *end: no more.
static int64_t write_some(struct p9_fid *fid, struct inode *inode, struct uio *u, uint64_t *pos, size_t len,
                          unsigned in_flight, bool *end) {
    struct piece pieces[IN_FLIGHT];
    unsigned count = 0;
    uint64_t at = *pos;
    int64_t err = 0, total = 0;
    size_t left = len;
    while (count < in_flight && left && err == 0) {
        struct piece *p = &pieces[count];
        uint32_t room;
        p->page = piece_alloc(left, fid->client->payload_max, &room);
        if (!p->page)
            break;
        p->len = (uint32_t)uio_get(u, piece_data(p), room);
        if (p->len < room)
            err = -EFAULT;
        if (p->len == 0) {
            page_unref(p->page);
            break;
        }
        begin_write(fid, p, at);
        at += p->len;
        left -= p->len;
        count++;
    }
    if (!count)
        return err ? err : -ENOMEM;
    bool ok = true;
    for (unsigned i = 0; i < count; i++) {
        struct piece *p = &pieces[i];
        long n = piece_finish(p);
        if (ok && n < 0) {
            err = n;
            ok = false;
        } else if (ok) {
            if (unlikely(inode->cache) && n && (!fid->append || landed_at(inode, *pos, (size_t)n)))
                update_pages(inode->cache, piece_data(p), *pos, (size_t)n);
            *pos += (uint64_t)n;
            total += n;
            ok = n == p->len;
        }
        page_unref(p->page);
    }
    *end = err || !ok || left == 0;
    return total || err == 0 ? total : err;
}

static int64_t write_locked(struct file *f, struct p9_fid *fid, struct uio *u, uint64_t *pos) {
    struct inode *inode = f->inode;
    struct p9_inode *p = p9_inode_of(inode);
    bool append = u->append || (f->flags & O_APPEND);
    if (append && !p->gone && !fid->append)
        p9_update(inode); // RWF_APPEND, or O_APPEND since fcntl(2): the end as it is now
    uint64_t at = append ? inode->size : *pos, start = at;
    int64_t allowed = file_write_limit(at, u->left);
    if (allowed < 0)
        return allowed;
    int64_t err = inode_drop_privileges(inode);
    if (err == 0 && unlikely(p->gone && at > inode->size && p->stale_end > inode->size))
        err = p9_zero_range(inode, inode->size, MIN(at, p->stale_end));
    if (err < 0)
        return err;
    if (unlikely(inode->cache && at > inode->size))
        zero_tail(inode->cache, inode->size, at);
    size_t rest = u->left - (size_t)allowed;
    bool end = false;
    while (!end) {
        // The server puts each appended piece at the end that it sees: one after the other.
        atomic_add(&p->writers, 1); // a page that is being read meanwhile may miss it: cache.c
        int64_t n = write_some(fid, inode, u, &at, u->left - rest, fid->append ? 1 : IN_FLIGHT, &end);
        p9_size_changed(inode, n > 0 ? MAX(at, inode->size) : inode->size);
        atomic_sub(&p->writers, 1);
        if (n < 0) {
            err = n;
            break;
        }
        sched_point();
    }
    p->fresh_for = NULL;
    if (at == start)
        return err;
    *pos = at;
    return (int64_t)(at - start);
}

int64_t p9_file_write(struct file *f, struct uio *u, uint64_t *pos) {
    if (!u->left)
        return 0;
    struct p9_fid *fid = p9_fid_ref(f->data);
    if (unlikely(fid->append && !(f->flags & O_APPEND) && !u->append)) { // fcntl(2) has taken O_APPEND back
        p9_fid_put(fid);
        fid = p9_inode_open_fid(f->inode, 6);
        if (IS_ERR(fid))
            return PTR_ERR(fid);
    }
    mutex_lock(&f->inode->lock);
    int64_t n = write_locked(f, fid, u, pos);
    mutex_unlock(&f->inode->lock);
    p9_fid_put(fid);
    return n;
}

// --- Sizes ---

int p9_zero_range(struct inode *inode, uint64_t from, uint64_t to) {
    struct p9_fid *fid = p9_inode_open_fid(inode, 6);
    if (IS_ERR(fid))
        fid = p9_inode_open_fid(inode, 2);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    struct page *zeroes = page_alloc(0, PA_ZERO);
    long n = zeroes ? 0 : -ENOMEM;
    while (n >= 0 && from < to) {
        n = p9_write(fid, page_to_virt(zeroes), (uint32_t)MIN(to - from, PAGE_SIZE), from);
        if (n == 0)
            n = -EIO;
        if (n > 0)
            from += (uint64_t)n;
        sched_point();
    }
    if (zeroes)
        page_unref(zeroes);
    p9_fid_put(fid);
    return n < 0 ? (int)n : 0;
}

// No name leads to the file any more, and servers that go by names cannot change its size: what is cut off stays there unseen, and is
// zeroed when the file grows over it again.
static int truncate_gone(struct p9_inode *p, uint64_t size) {
    struct inode *inode = &p->inode;
    if (size > inode->size && p->stale_end > inode->size) {
        int err = p9_zero_range(inode, inode->size, MIN(size, p->stale_end));
        if (err < 0)
            return err;
    }
    if (size < inode->size)
        p->stale_end = MAX(p->stale_end, inode->size);
    return 0;
}

static int set_size(struct inode *inode, uint64_t size) {
    struct p9_fid *fid = p9_inode_fid(inode);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    struct p9_setattr s = {.valid = P9_SETATTR_SIZE | P9_SETATTR_MTIME, .size = size};
    int err = p9_setattr(fid, &s);
    p9_fid_put(fid);
    p9_inode_of(inode)->truncated = err == 0;
    return err;
}

// inode.lock held.
int p9_truncate(struct inode *inode, uint64_t size) {
    struct p9_inode *p = p9_inode_of(inode);
    struct page_cache *c = inode->cache;
    p9_update(inode); // an open file whose name is another file's now must not cut that one off
    uint64_t old = inode->size;
    bool busy = c && on_its_way(c);
    int err = p->gone ? truncate_gone(p, size) : set_size(inode, size);
    if (err < 0)
        return err;
    busy |= c && on_its_way(c);
    p9_size_changed(inode, size);
    if (c)
        page_cache_truncated(c, old);
    // Pages that were on their way may have come behind the end, and made the file long again.
    if (unlikely(busy && !p->gone && size < old)) {
        err = page_cache_sync(c, size >> PAGE_SHIFT, 1);
        if (err == 0)
            err = set_size(inode, size);
    }
    return err;
}
