// Pipes and FIFOs: a ring of bytes in pages that are allocated when data comes and given back when it has gone.
// Locks: pipe.lock (mutex) protects everything in a pipe, and may be held during a page fault; inode.lock protects inode.pipe
// and is taken first. Writes of up to PIPE_BUF bytes are atomic: they wait until the whole fits.
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/memory/page.h"
#include "kernel/process/signal.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include <asm/ioctls.h>
#include <linux/limits.h>

#define PIPE_PAGES 16
#define PIPE_MAX (1u << 20)

struct pipe {
    struct mutex lock;
    struct waitq readable, writable;
    struct page **pages; // capacity / PAGE_SIZE slots, NULL where no data is
    uint32_t capacity;   // bytes, a power of two
    uint64_t head, tail; // bytes written and read since the beginning
    uint32_t readers, writers;
    uint32_t reader_opens, writer_opens; // how often each end was opened: a FIFO's open waits for a change
    uint32_t users;                      // files; the last one frees the pipe. Under inode.lock
};

static const struct file_ops pipe_ops;

static inline uint32_t pipe_used(const struct pipe *p) { return READ_ONCE(p->head) - READ_ONCE(p->tail); }

static inline uint32_t pipe_room(const struct pipe *p) { return p->capacity - pipe_used(p); }

static struct pipe *pipe_alloc(void) {
    struct pipe *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->pages = kzalloc(PIPE_PAGES * sizeof(*p->pages));
    if (!p->pages) {
        kfree(p);
        return NULL;
    }
    mutex_init(&p->lock);
    waitq_init(&p->readable);
    waitq_init(&p->writable);
    p->capacity = PIPE_PAGES * PAGE_SIZE;
    return p;
}

static void pipe_free(struct pipe *p) {
    for (unsigned i = 0; i < p->capacity / PAGE_SIZE; i++)
        if (p->pages[i])
            page_unref(p->pages[i]);
    kfree(p->pages);
    kfree(p);
}

static struct page **slot_of(struct pipe *p, uint64_t at) { return &p->pages[(at & (p->capacity - 1)) >> PAGE_SHIFT]; }

// --- Reading ---

// Moves up to u->left bytes out. Returns the bytes, or -EFAULT when not one could be copied.
static int64_t take(struct pipe *p, struct uio *u) {
    int64_t total = 0;
    while (u->left && p->head != p->tail) {
        size_t offset = p->tail & ~PAGE_MASK, n = MIN(PAGE_SIZE - offset, p->head - p->tail);
        n = MIN(n, u->left);
        struct page **slot = slot_of(p, p->tail);
        size_t done = uio_put(u, (char *)page_to_virt(*slot) + offset, n);
        WRITE_ONCE(p->tail, p->tail + done);
        total += done;
        // The page is free when reading has left it, unless writing has already come round to it.
        if ((p->tail & ~PAGE_MASK) == 0 && done && p->head - p->tail <= p->capacity - PAGE_SIZE) {
            page_unref(*slot);
            *slot = NULL;
        }
        if (done < n)
            return total ? total : -EFAULT;
    }
    return total;
}

static int64_t pipe_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct pipe *p = f->data;
    if (!u->left)
        return 0;
    mutex_lock(&p->lock);
    while (p->head == p->tail) {
        bool writers = p->writers;
        mutex_unlock(&p->lock);
        if (!writers)
            return 0;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&p->readable, pipe_used(p) || !READ_ONCE(p->writers));
        if (err < 0)
            return err;
        mutex_lock(&p->lock);
    }
    int64_t n = take(p, u);
    mutex_unlock(&p->lock);
    if (n > 0)
        waitq_wake_key(&p->writable, ~0u, POLLOUT | POLLWRNORM);
    return n;
}

// --- Writing ---

static int64_t put(struct pipe *p, struct uio *u, size_t limit) {
    int64_t total = 0;
    limit = MIN(limit, u->left);
    while (limit) {
        size_t offset = p->head & ~PAGE_MASK, n = MIN(PAGE_SIZE - offset, limit);
        struct page **slot = slot_of(p, p->head);
        if (!*slot) {
            *slot = page_alloc(0, 0);
            if (!*slot)
                return total ? total : -ENOMEM;
        }
        size_t done = uio_get(u, (char *)page_to_virt(*slot) + offset, n);
        WRITE_ONCE(p->head, p->head + done);
        total += done;
        limit -= done;
        if (done < n)
            return total ? total : -EFAULT;
    }
    return total;
}

static int64_t pipe_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct pipe *p = f->data;
    int64_t total = 0, err = 0;
    if (!u->left)
        return 0;
    size_t needed = u->left <= PIPE_BUF ? u->left : 1;
    mutex_lock(&p->lock);
    for (;;) {
        if (!p->readers) {
            err = -EPIPE;
            break;
        }
        uint32_t room = pipe_room(p);
        if (room >= needed) {
            int64_t n = put(p, u, room);
            if (n < 0) {
                err = n;
                break;
            }
            total += n;
            mutex_unlock(&p->lock);
            waitq_wake_key(&p->readable, ~0u, POLLIN | POLLRDNORM);
            mutex_lock(&p->lock);
            needed = 1;
            if (!u->left)
                break;
            if (pipe_room(p) && READ_ONCE(p->readers) && n < (int64_t)room) { // a fault in the middle
                err = -EFAULT;
                break;
            }
            continue;
        }
        if (f->flags & O_NONBLOCK) {
            err = -EAGAIN;
            break;
        }
        mutex_unlock(&p->lock);
        err = wait_event_interruptible(&p->writable, pipe_room(p) >= needed || !READ_ONCE(p->readers));
        mutex_lock(&p->lock);
        if (err < 0)
            break;
    }
    mutex_unlock(&p->lock);
    if (err == -EPIPE)
        signal_send_self(SIGPIPE);
    return total ? total : err;
}

static uint32_t pipe_poll(struct file *f, struct poll_table *pt) {
    struct pipe *p = f->data;
    uint32_t mask = 0;
    if (f->readable) {
        poll_on(pt, f, &p->readable);
        if (pipe_used(p))
            mask |= POLLIN | POLLRDNORM;
        // A FIFO that no writer has opened since is quiet, not hung up.
        if (!READ_ONCE(p->writers) && f->position != READ_ONCE(p->writer_opens))
            mask |= POLLHUP;
    }
    if (f->writable) {
        poll_on(pt, f, &p->writable);
        if (pipe_room(p) >= PIPE_BUF)
            mask |= POLLOUT | POLLWRNORM;
        if (!READ_ONCE(p->readers))
            mask |= POLLERR;
    }
    return mask;
}

static long pipe_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    if (cmd != FIONREAD)
        return -ENOTTY;
    int used = pipe_used(f->data);
    return copy_out_obj(arg, &used);
}

// --- Opening and closing ---

static void wake_both(struct pipe *p) {
    waitq_wake_key(&p->readable, ~0u, 0);
    waitq_wake_key(&p->writable, ~0u, 0);
}

static void pipe_detach(struct inode *inode, struct pipe *p, bool reader, bool writer) {
    mutex_lock(&inode->lock);
    mutex_lock(&p->lock);
    p->readers -= reader;
    p->writers -= writer;
    mutex_unlock(&p->lock);
    bool last = --p->users == 0;
    if (last)
        inode->pipe = NULL;
    else
        wake_both(p);
    mutex_unlock(&inode->lock);
    if (last)
        pipe_free(p);
}

static void pipe_release(struct file *f) {
    // The file's inode may have been replaced by a node of the tree, which is where the pipe is then.
    pipe_detach(f->inode, f->data, f->readable, f->writable);
}

static const struct file_ops pipe_ops = {
    .name = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .release = pipe_release,
};

// A file for the pipe of the inode, counted as reader and writer. inode.lock held.
static struct file *pipe_file(struct inode *inode, unsigned flags) {
    struct pipe *p = inode->pipe;
    struct file *f = file_alloc(&pipe_ops, inode, flags);
    if (IS_ERR(f))
        return f;
    f->stream = true;
    f->data = p;
    f->position = ~0UL;
    p->users++;
    mutex_lock(&p->lock);
    p->readers += f->readable;
    p->writers += f->writable;
    p->reader_opens += f->readable;
    p->writer_opens += f->writable;
    mutex_unlock(&p->lock);
    return f;
}

int pipe_create(unsigned flags, struct file *ends[2]) {
    struct inode *inode = inode_anonymous(S_IFIFO | 0600, 0);
    struct pipe *p = inode ? pipe_alloc() : NULL;
    if (!p) {
        if (inode)
            inode_unref(inode);
        return -ENOMEM;
    }
    inode->pipe = p;
    mutex_lock(&inode->lock);
    ends[0] = pipe_file(inode, O_RDONLY | (flags & O_NONBLOCK));
    ends[1] = IS_ERR(ends[0]) ? ends[0] : pipe_file(inode, O_WRONLY | (flags & O_NONBLOCK));
    mutex_unlock(&inode->lock);
    int err = 0;
    if (IS_ERR(ends[0])) {
        pipe_free(p);
        err = -ENOMEM;
    } else if (IS_ERR(ends[1])) {
        file_unref(ends[0]);
        err = -ENOMEM;
    }
    inode_unref(inode);
    return err;
}

struct file *fifo_open(struct inode *inode, unsigned flags) {
    mutex_lock(&inode->lock);
    bool fresh = !inode->pipe;
    if (fresh && !(inode->pipe = pipe_alloc())) {
        mutex_unlock(&inode->lock);
        return ERR_PTR(-ENOMEM);
    }
    struct pipe *p = inode->pipe;
    struct file *f;
    if ((flags & O_ACCMODE) == O_WRONLY && (flags & O_NONBLOCK) && !p->readers)
        f = ERR_PTR(-ENXIO);
    else
        f = pipe_file(inode, flags);
    if (IS_ERR(f) && fresh) {
        inode->pipe = NULL;
        pipe_free(p);
    }
    mutex_unlock(&inode->lock);
    if (IS_ERR(f))
        return f;
    wake_both(p);
    int err = 0;
    if (f->readable && !f->writable && !READ_ONCE(p->writers)) {
        uint32_t opens = READ_ONCE(p->writer_opens);
        if (flags & O_NONBLOCK)
            f->position = opens;
        else
            err = wait_event_interruptible(&p->readable, READ_ONCE(p->writers) || READ_ONCE(p->writer_opens) != opens);
    } else if (f->writable && !f->readable && !READ_ONCE(p->readers)) {
        uint32_t opens = READ_ONCE(p->reader_opens);
        err = wait_event_interruptible(&p->writable, READ_ONCE(p->readers) || READ_ONCE(p->reader_opens) != opens);
    }
    if (err < 0) {
        file_unref(f);
        return ERR_PTR(err);
    }
    return f;
}

// --- F_SETPIPE_SZ, F_GETPIPE_SZ ---

long pipe_get_size(struct file *f) { return f->ops == &pipe_ops ? (long)((struct pipe *)f->data)->capacity : -EBADF; }

// Copies what is in the pipe to new pages from offset 0 on. pipe.lock held.
static int resize(struct pipe *p, uint32_t capacity) {
    uint32_t used = pipe_used(p);
    if (used > capacity)
        return -EBUSY;
    struct page **pages = kzalloc(capacity / PAGE_SIZE * sizeof(*pages));
    if (!pages)
        return -ENOMEM;
    for (uint32_t at = 0; at < used; at += PAGE_SIZE) {
        struct page *page = page_alloc(0, 0);
        if (!page) {
            while (at > 0)
                page_unref(pages[(at -= PAGE_SIZE) / PAGE_SIZE]);
            kfree(pages);
            return -ENOMEM;
        }
        pages[at / PAGE_SIZE] = page;
        for (uint32_t i = 0, n; i < PAGE_SIZE && at + i < used; i += n) {
            uint64_t from = p->tail + at + i;
            n = MIN(MIN(PAGE_SIZE - (from & ~PAGE_MASK), PAGE_SIZE - i), used - at - i);
            memcpy((char *)page_to_virt(page) + i, (char *)page_to_virt(*slot_of(p, from)) + (from & ~PAGE_MASK), n);
        }
    }
    for (unsigned i = 0; i < p->capacity / PAGE_SIZE; i++)
        if (p->pages[i])
            page_unref(p->pages[i]);
    kfree(p->pages);
    p->pages = pages;
    p->capacity = capacity;
    p->tail = 0;
    p->head = used;
    return 0;
}

long pipe_set_size(struct file *f, unsigned size) {
    if (f->ops != &pipe_ops)
        return -EBADF;
    uint32_t capacity = PAGE_SIZE;
    while (capacity < size && capacity < (1u << 30))
        capacity *= 2;
    if (size == 0 || size > (1u << 30))
        return -EINVAL;
    if (capacity > PIPE_MAX && !capable(CAP_SYS_RESOURCE))
        return -EPERM;
    struct pipe *p = f->data;
    mutex_lock(&p->lock);
    int err = capacity == p->capacity ? 0 : resize(p, capacity);
    mutex_unlock(&p->lock);
    if (err == 0)
        waitq_wake_key(&p->writable, ~0u, POLLOUT | POLLWRNORM);
    return err < 0 ? err : (long)capacity;
}
