// splice(2), tee(2), vmsplice(2): between two pipes pages change hands or are shared; from a file with a page cache to a pipe, and from a
// pipe to a socket, they are shared; all other data is copied into and out of pages of the pipe, in pieces as Linux would make them.
// Locks: the pipes' (two of them in the order of their addresses) > those of the file that is written. While a file is read no
// pipe is locked, for that may take long: the slots that its data will fill are reserved.
#include "fs/splice.h"
#include "fs/pipe.h"
#include "fs/vfs.h"
#include "kernel/memory/slab.h"
#include "kernel/threads/thread.h"

bool splice_is_pipe(const struct file *f) { return pipe_of(f); }

// Lets nobody in but those who can be read and written like files: not epoll instances, timers and their like, nor directories.
bool splice_takes(const struct file *f) {
    uint32_t type = f->inode->mode & S_IFMT;
    return type && type != S_IFDIR;
}

bool splice_gives(const struct file *f) { return splice_takes(f) && f->ops->read && !f->ops->never_spliced; }

// Both locked with data as the outcome: 0, also when there will never be any.
static int wait_for_data(struct pipe *p, bool nonblock) {
    int err = 0;
    while (!err && pipe_empty(p) && p->writers)
        err = nonblock ? -EAGAIN : pipe_wait_readable(p);
    return err;
}

static int wait_for_room(struct pipe *p, bool nonblock) {
    int err = 0;
    while (!err) {
        if (!p->readers)
            return pipe_broken();
        if (!pipe_full(p))
            return 0;
        err = nonblock ? -EAGAIN : pipe_wait_writable(p);
    }
    return err;
}

// --- Pipe to pipe ---

// Both locked. `keep`: the data stays where it is, too.
static uint64_t move(struct pipe *in, struct pipe *out, uint64_t len, bool keep) {
    uint64_t done = 0;
    for (uint32_t at = in->tail; at != in->head && done < len && !pipe_full(out); at++) {
        struct pipe_piece *piece = piece_at(in, at);
        size_t n = MIN(piece->len, len - done);
        bool whole = !keep && n == piece->len;
        if (!whole)
            page_ref(piece->page);
        pipe_push(out, piece->page, piece->offset, n, whole ? piece->flags : piece->flags & ~PIECE_MERGE);
        if (whole) {
            WRITE_ONCE(in->tail, in->tail + 1);
        } else if (!keep) {
            piece->offset += n;
            piece->len -= n;
        }
        done += n;
    }
    return done;
}

static void lock_both(struct pipe *a, struct pipe *b) {
    mutex_lock(a < b ? &a->lock : &b->lock);
    mutex_lock(a < b ? &b->lock : &a->lock);
}

static int64_t pipe_to_pipe(struct pipe *in, struct pipe *out, uint64_t len, bool nonblock, bool keep) {
    for (;;) {
        mutex_lock(&in->lock);
        int64_t err = wait_for_data(in, nonblock);
        mutex_unlock(&in->lock);
        if (err)
            return err;
        mutex_lock(&out->lock);
        err = wait_for_room(out, nonblock);
        mutex_unlock(&out->lock);
        if (err)
            return err;
        lock_both(in, out);
        uint64_t n = move(in, out, len, keep);
        bool end = pipe_empty(in) && !in->writers;
        mutex_unlock(&in->lock);
        mutex_unlock(&out->lock);
        if (n) {
            pipe_wake_reader(out);
            if (!keep)
                pipe_wake_writer(in);
        }
        if (n || end)
            return (int64_t)n;
    }
}

// --- File to pipe ---

struct batch {
    unsigned count, used; // pages
    struct page **pages;
    struct uio_vec *vec;
};

static void batch_free(struct batch *b) {
    for (unsigned i = b->used; i < b->count; i++)
        page_unref(b->pages[i]);
    kfree(b->pages);
    kfree(b->vec);
}

// Pages for `len` bytes that begin at this offset in a page; at least one, at most `most`.
static int batch_make(struct batch *b, unsigned most, uint64_t offset, uint64_t len) {
    unsigned want = MIN(DIV_ROUND_UP(offset + len, PAGE_SIZE), (uint64_t)most);
    *b = (struct batch){.pages = kmalloc(want * sizeof(*b->pages)), .vec = kmalloc(want * sizeof(*b->vec))};
    while (b->pages && b->vec && b->count < want && (b->pages[b->count] = page_alloc(0, 0))) {
        size_t n = MIN(PAGE_SIZE - offset, len);
        b->vec[b->count] = (struct uio_vec){(uint64_t)(uintptr_t)page_to_virt(b->pages[b->count]) + offset, n};
        b->count++;
        len -= n;
        offset = 0;
    }
    if (b->count)
        return 0;
    batch_free(b);
    return -ENOMEM;
}

// Instead of pages of its own: references to those where the file's bytes are. The bytes, or -errno as file_share.
static int64_t batch_share(struct batch *b, struct file *in, uint64_t *pos, unsigned most, uint64_t len) {
    uint64_t *at = pos ? pos : &in->position;
    if (in->stream || !in->ops->share)
        return -EOPNOTSUPP;
    unsigned want = MIN(DIV_ROUND_UP((*at & ~PAGE_MASK) + len, PAGE_SIZE), (uint64_t)most);
    *b = (struct batch){.pages = kmalloc(want * sizeof(*b->pages)), .vec = kmalloc(want * sizeof(*b->vec))};
    int64_t n = b->pages && b->vec ? file_share(in, *at, len, b->vec, want) : -ENOMEM;
    for (int64_t left = n; left > 0; left -= (int64_t)b->vec[b->count++].len)
        b->pages[b->count] = virt_to_page((void *)(uintptr_t)b->vec[b->count].base);
    if (n > 0)
        *at += (uint64_t)n;
    return n;
}

static size_t batch_bytes(const struct batch *b) {
    size_t n = 0;
    for (unsigned i = 0; i < b->count; i++)
        n += b->vec[i].len;
    return n;
}

// pipe locked
static void batch_push(struct batch *b, struct pipe *out, size_t n) {
    while (n) {
        unsigned i = b->used++;
        size_t part = MIN(n, b->vec[i].len);
        pipe_push(out, b->pages[i], b->vec[i].base & ~PAGE_MASK, part, 0);
        n -= part;
    }
}

static int64_t read_batch(struct file *in, uint64_t *pos, const struct batch *b) {
    struct uio u = {.vec = b->vec, .left = batch_bytes(b), .user = false};
    if (in->stream)
        return file_read(in, &u, NULL);
    uint64_t at = pos ? *pos : in->position;
    int64_t n = file_read(in, &u, &at);
    if (n > 0)
        *(pos ? pos : &in->position) = at;
    return n;
}

static int64_t file_to_pipe(struct file *in, uint64_t *pos, struct pipe *out, uint64_t len, bool nonblock) {
    uint64_t at = in->stream ? 0 : pos ? *pos : in->position;
    mutex_lock(&out->lock);
    int64_t err = wait_for_room(out, nonblock);
    unsigned room = err ? 0 : out->slots - (out->head - out->tail) - out->reserved;
    out->reserved += room;
    mutex_unlock(&out->lock);
    if (err)
        return err;
    if (S_ISREG(in->inode->mode)) // files of /proc have more than their size says
        len = MIN(len, (uint64_t)MAX((int64_t)(READ_ONCE(in->inode->size) - at), (int64_t)PAGE_SIZE));
    struct batch b = {0};
    int64_t n = -EAGAIN;
    if (!(nonblock && in->stream && !(file_poll(in, NULL) & (POLLIN | POLLHUP | POLLERR)))) {
        n = batch_share(&b, in, pos, room, len);
        if (n == -EOPNOTSUPP) {
            batch_free(&b);
            n = batch_make(&b, room, at & ~PAGE_MASK, len);
            if (!n)
                n = read_batch(in, pos, &b);
        }
    }
    mutex_lock(&out->lock);
    out->reserved -= room;
    if (n > 0)
        batch_push(&b, out, n);
    bool more_room = !pipe_full(out);
    mutex_unlock(&out->lock);
    batch_free(&b);
    if (n > 0)
        pipe_wake_reader(out);
    if (more_room)
        pipe_wake_writer(out);
    return n;
}

// --- Pipe to file ---

#define WRITE_PIECES 16
#define SPLICE_MAX 0x7ffff000ul // bytes of one call

static int64_t pipe_to_file(struct pipe *in, struct file *out, uint64_t *pos, uint64_t len, bool nonblock, bool more) {
    uint64_t *at = out->stream ? NULL : pos ? pos : &out->position;
    uint64_t done = 0;
    mutex_lock(&in->lock);
    int64_t err = wait_for_data(in, nonblock);
    bool was_full = pipe_full(in);
    while (!err && done < len && !pipe_empty(in)) {
        struct uio_vec vec[WRITE_PIECES];
        size_t total = 0, count = 0;
        uint32_t i = in->tail;
        for (; i != in->head && count < WRITE_PIECES && done + total < len; i++) {
            const struct pipe_piece *piece = piece_at(in, i);
            size_t n = MIN(piece->len, len - done - total);
            vec[count++] = (struct uio_vec){(uint64_t)(uintptr_t)page_to_virt(piece->page) + piece->offset, n};
            total += n;
        }
        struct uio u = {.vec = vec, .left = total, .pages = true, .more = more || (i != in->head && done + total < len)};
        int64_t n = file_write(out, &u, at);
        if (n > 0) {
            pipe_consume(in, n);
            done += n;
        }
        if (n < (int64_t)total)
            err = n < 0 ? n : 1; // written in part: no more today
    }
    bool room = was_full && !pipe_full(in);
    mutex_unlock(&in->lock);
    if (room)
        pipe_wake_writer(in);
    return done ? (int64_t)done : MIN(err, 0L);
}

static bool bad_range(const struct file *f, const uint64_t *pos, uint64_t len) {
    return file_check_range(f->stream ? 0 : pos ? *pos : f->position, len) < 0;
}

int64_t splice_files(struct file *in, uint64_t *in_pos, struct file *out, uint64_t *out_pos, uint64_t len, unsigned flags) {
    struct pipe *from = pipe_of(in), *to = pipe_of(out);
    bool nonblock = flags & SPLICE_F_NONBLOCK;
    if (!in->readable || !out->writable)
        return -EBADF;
    if (from && to) {
        if (from == to)
            return -EINVAL;
        return pipe_to_pipe(from, to, len, nonblock || ((in->flags | out->flags) & O_NONBLOCK), false);
    }
    if (from) {
        if ((out_pos && out->stream) || (out->flags & O_APPEND) || bad_range(out, out_pos, len) || !splice_takes(out))
            return -EINVAL;
        len = MIN(len, SPLICE_MAX);
        return pipe_to_file(from, out, out_pos, len, nonblock || (in->flags & O_NONBLOCK), flags & SPLICE_F_MORE);
    }
    if (!to || (in_pos && in->stream) || bad_range(in, in_pos, len) || !splice_gives(in))
        return -EINVAL;
    len = MIN(len, SPLICE_MAX);
    return file_to_pipe(in, in_pos, to, len, nonblock || (out->flags & O_NONBLOCK));
}

int64_t splice_tee(struct file *in, struct file *out, uint64_t len, unsigned flags) {
    struct pipe *from = pipe_of(in), *to = pipe_of(out);
    if (!in->readable || !out->writable)
        return -EBADF;
    if (!from || !to || from == to)
        return -EINVAL;
    bool nonblock = (flags & SPLICE_F_NONBLOCK) || ((in->flags | out->flags) & O_NONBLOCK);
    return pipe_to_pipe(from, to, len, nonblock, true);
}

// --- Memory of the application ---

// As much of it as the pipe has room for, in a slot for each page that it touches. Locked.
static int64_t gather(struct pipe *p, struct uio *u) {
    int64_t done = 0;
    while (u->left && !pipe_full(p)) {
        if (u->vec_offset == u->vec->len) {
            u->vec++;
            u->vec_offset = 0;
            continue;
        }
        unsigned offset = (u->vec->base + u->vec_offset) & ~PAGE_MASK;
        size_t n = MIN(PAGE_SIZE - offset, u->vec->len - u->vec_offset);
        struct page *page = page_alloc(0, 0);
        if (!page)
            return done ? done : -ENOMEM;
        if (uio_get(u, (char *)page_to_virt(page) + offset, n) < n) {
            page_unref(page);
            return done ? done : -EFAULT;
        }
        pipe_push(p, page, offset, n, 0);
        done += n;
    }
    return done;
}

static int64_t scatter(struct pipe *p, struct uio *u) {
    int64_t done = 0;
    while (u->left && !pipe_empty(p)) {
        const struct pipe_piece *piece = piece_at(p, p->tail);
        size_t n = MIN(piece->len, u->left);
        if (uio_put(u, (char *)page_to_virt(piece->page) + piece->offset, n) < n)
            return done ? done : -EFAULT;
        pipe_consume(p, n);
        done += n;
    }
    return done;
}

int64_t splice_user(struct file *f, struct uio *u, unsigned flags) {
    struct pipe *p = pipe_of(f);
    bool nonblock = flags & SPLICE_F_NONBLOCK;
    if (!p)
        return -EBADF;
    mutex_lock(&p->lock);
    int64_t n = f->writable ? wait_for_room(p, nonblock) : wait_for_data(p, nonblock);
    if (!n)
        n = f->writable ? gather(p, u) : scatter(p, u);
    mutex_unlock(&p->lock);
    if (n > 0 && f->writable)
        pipe_wake_reader(p);
    else if (n > 0)
        pipe_wake_writer(p);
    return n;
}
