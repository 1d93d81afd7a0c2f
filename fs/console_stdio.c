// Standard input, output and error as streams: files that look like the ends of pipes and carry bytes to and from the host
// as they are. See fs/console.c.
#include "fs/console.h"
#include "fs/poll.h"
#include "fs/vfs.h"

#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include <asm/ioctls.h>

#define DEVICE_CONSOLE MAKE_DEV(5, 1)

static int64_t stream_read(struct file *f, struct uio *u, uint64_t *pos) {
    int64_t got = 0;
    int err = u->left ? console_input_start() : 0;
    if (err < 0)
        return err;
    while (u->left) {
        uint8_t chunk[CONSOLE_FRAME];
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

// Sends n bytes, all of them, and adds to *done what has gone. 0 or -errno.
static int send_all(struct file *f, uint8_t *frame, size_t n, int64_t *done) {
    uint8_t type = f->data ? 'E' : 'O', *data = frame + FRAME_HEADER_SIZE;
    while (n) {
        size_t some = console_send(type, frame, n);
        if (some == 0) {
            if (f->flags & O_NONBLOCK)
                return -EAGAIN;
            int err = wait_event_interruptible(&console_write_wait, (some = console_send(type, frame, n)) != 0);
            if (err < 0)
                return err;
        }
        *done += (int64_t)some;
        n -= some;
        if (n) // plain mode: only a part was taken
            memmove(data, data + some, n);
    }
    return 0;
}

static int64_t stream_write(struct file *f, struct uio *u, uint64_t *pos) {
    uint8_t small[CONSOLE_FRAME];
    size_t size = sizeof(small);
    // Much output goes in larger frames: each is a notification, which leaves the virtual machine.
    uint8_t *large = u->left > size - FRAME_HEADER_SIZE ? kmalloc(CONSOLE_FRAME_MAX) : NULL, *frame = small;
    if (large) {
        frame = large;
        size = CONSOLE_FRAME_MAX;
    }
    int64_t done = 0;
    int err = 0;
    while (u->left && err == 0) {
        size_t n = uio_get(u, frame + FRAME_HEADER_SIZE, MIN(u->left, size - FRAME_HEADER_SIZE));
        err = n ? send_all(f, frame, n, &done) : -EFAULT;
        sched_point();
    }
    kfree(large);
    return done ? done : err;
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

// A frame of one byte, for one of none would look like one for which there was no room.
void console_report_start(void) {
    uint8_t frame[FRAME_HEADER_SIZE + 1] = {0};
    while (!console_send('P', frame, 1))
        wait_event(&console_write_wait, console_send_ready());
}
