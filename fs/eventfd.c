// eventfd(2): a counter that can be waited for.
// Locks: eventfd.wait.lock protects the counter too, so that a wake-up may come from anywhere.
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/seqbuf.h"
#include "kernel/memory/usercopy.h"

#define EFD_SEMAPHORE 1 // of <sys/eventfd.h>; linux-libc-dev has no header for it

struct eventfd {
    struct waitq wait; // readers and writers
    uint64_t count;
    bool semaphore;
};
#define COUNT_MAX (~0UL - 1)

// wait.lock held
static inline void tell(struct eventfd *e, uint32_t events) {
    if (!list_empty(&e->wait.waiters))
        waitq_wake_locked(&e->wait, 1, events);
}

static inline bool take(struct eventfd *e, uint64_t *value) {
    uint64_t flags = spin_lock_irqsave(&e->wait.lock);
    bool ok = e->count > 0;
    if (ok) {
        *value = e->semaphore ? 1 : e->count;
        WRITE_ONCE(e->count, e->count - *value);
        tell(e, POLLOUT | POLLWRNORM);
    }
    spin_unlock_irqrestore(&e->wait.lock, flags);
    return ok;
}

static inline bool put(struct eventfd *e, uint64_t value) {
    uint64_t flags = spin_lock_irqsave(&e->wait.lock);
    bool ok = value <= COUNT_MAX - e->count;
    if (ok) {
        WRITE_ONCE(e->count, e->count + value);
        tell(e, POLLIN | POLLRDNORM);
    }
    spin_unlock_irqrestore(&e->wait.lock, flags);
    return ok;
}

// The whole counter lies in one buffer, as it does with read(2) and write(2).
static inline bool simple(const struct uio *u) { return u->user && !u->vec_offset && u->vec->len >= sizeof(uint64_t); }

NO_CANARY static int64_t eventfd_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct eventfd *e = f->data;
    uint64_t value;
    if (u->left < sizeof(value))
        return -EINVAL;
    while (!take(e, &value)) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&e->wait, READ_ONCE(e->count) > 0);
        if (err < 0)
            return err;
    }
    if (likely(simple(u)))
        return user_store64(u->vec->base, value) < 0 ? -EFAULT : (int64_t)sizeof(value);
    return uio_put(u, &value, sizeof(value)) == sizeof(value) ? (int64_t)sizeof(value) : -EFAULT;
}

NO_CANARY static int64_t eventfd_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct eventfd *e = f->data;
    uint64_t value;
    if (u->left < sizeof(value))
        return -EINVAL;
    if (likely(simple(u)) ? user_load64(u->vec->base, &value) < 0 : uio_get(u, &value, sizeof(value)) != sizeof(value))
        return -EFAULT;
    if (value == ~0UL)
        return -EINVAL;
    while (!put(e, value)) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&e->wait, value <= COUNT_MAX - READ_ONCE(e->count));
        if (err < 0)
            return err;
    }
    return sizeof(value);
}

static uint32_t eventfd_poll(struct file *f, struct poll_table *pt) {
    struct eventfd *e = f->data;
    poll_on(pt, f, &e->wait);
    uint64_t count = READ_ONCE(e->count);
    return (count > 0 ? POLLIN | POLLRDNORM : 0) | (count < COUNT_MAX ? POLLOUT | POLLWRNORM : 0);
}

static void eventfd_show(struct file *f, struct seqbuf *s) {
    const struct eventfd *e = f->data;
    seq_printf(s, "eventfd-count: %16lx\neventfd-id: %lu\n", READ_ONCE(e->count), f->inode->ino);
}

static void eventfd_release(struct file *f) { kfree(f->data); }

static const struct file_ops eventfd_ops = {
    .name = "[eventfd]",
    .seek = file_seek_nowhere,
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .show = eventfd_show,
    .release = eventfd_release,
};

struct file *eventfd_create(uint32_t count, unsigned flags) {
    struct eventfd *e = kzalloc(sizeof(*e));
    struct inode *inode = inode_anonymous(0600, 0);
    struct file *f = e && inode ? file_alloc(&eventfd_ops, inode, O_RDWR | (flags & O_NONBLOCK)) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        kfree(e);
        return f;
    }
    waitq_init(&e->wait);
    e->count = count;
    e->semaphore = flags & EFD_SEMAPHORE;
    f->stream = true;
    f->data = e;
    return f;
}
