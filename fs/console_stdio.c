// Standard input, output and error as streams: files that look like the ends of pipes and carry bytes to and from the host
// as they are. See fs/console.c.
#include "fs/console.h"
#include "fs/poll.h"
#include "fs/vfs.h"

#include "kernel/process.h"
#include "kernel/usercopy.h"
#include <asm/ioctls.h>

#define DEVICE_CONSOLE MAKE_DEV(5, 1)

static int64_t stream_read(struct file *f, struct uio *u, uint64_t *pos) {
    int64_t got = 0;
    int err = u->left ? console_input_start() : 0;
    if (err < 0)
        return err;
    while (u->left) {
        uint8_t chunk[CONSOLE_CHUNK];
        // The end must be seen before the ring is found empty, not after: bytes may come in between.
        bool ended = console_input_ended();
        size_t n = console_input_take(chunk, MIN(u->left, sizeof(chunk)));
        if (n) {
            size_t put = uio_put(u, chunk, n);
            got += (int64_t)put;
            if (put < n)
                return got ? got : -EFAULT;
            sched_point();
            continue;
        }
        if (got || ended)
            return got;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        err = wait_event_interruptible(&console_read_wait, console_input_available() || console_input_ended());
        if (err < 0)
            return err;
    }
    return got;
}

static int64_t stream_write(struct file *f, struct uio *u, uint64_t *pos) {
    uint8_t type = f->data ? 'E' : 'O';
    int64_t done = 0;
    while (u->left) {
        struct console_buffer b;
        size_t n = uio_get(u, b.data, MIN(u->left, sizeof(b.data)));
        if (n == 0)
            return done ? done : -EFAULT;
        for (size_t sent = 0, some = 0; sent < n; sent += some) {
            if (sent) // plain mode: only a part was taken
                __builtin_memmove(b.data, b.data + some, n - sent);
            some = console_send(type, &b, n - sent);
            if (some == 0) {
                if (f->flags & O_NONBLOCK)
                    return done ? done : -EAGAIN;
                int err = wait_event_interruptible(&console_write_wait, (some = console_send(type, &b, n - sent)) != 0);
                if (err < 0)
                    return done ? done : err;
            }
            done += (int64_t)some;
        }
        sched_point();
    }
    return done;
}

static uint32_t stream_poll(struct file *f, struct poll_table *pt) {
    uint32_t ready = 0;
    if (f->readable) {
        poll_on(pt, f, &console_read_wait);
        if (console_input_start() < 0)
            return POLLERR;
        if (console_input_available())
            ready |= POLLIN | POLLRDNORM;
        if (console_input_ended())
            ready |= POLLHUP;
    }
    if (f->writable) {
        poll_on(pt, f, &console_write_wait);
        if (console_send_ready())
            ready |= POLLOUT | POLLWRNORM;
    }
    return ready;
}

static long stream_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    if (cmd != FIONREAD || !f->readable)
        return -ENOTTY;
    int n = (int)console_input_available();
    return copy_out_obj(arg, &n);
}

static const struct file_ops stream_ops = {
    .name = "pipe:[console]",
    .read = stream_read,
    .write = stream_write,
    .poll = stream_poll,
    .ioctl = stream_ioctl,
};

struct file *console_open_stream(int fd, unsigned flags) {
    struct inode *inode =
        fd == 3 ? inode_anonymous(S_IFCHR | 0600, DEVICE_CONSOLE) : inode_anonymous(S_IFIFO | 0600, 0);
    if (!inode)
        return ERR_PTR(-ENOMEM);
    inode->file_ops = &stream_ops;        // so that /dev/stdout and the like can be opened again
    inode->data = fd == 2 ? inode : NULL; // not NULL: standard error
    struct file *f = file_alloc(&stream_ops, inode, flags);
    if (!IS_ERR(f)) {
        f->data = inode->data;
        f->stream = true;
    }
    inode_unref(inode);
    return f;
}
