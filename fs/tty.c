// Terminals as files: reading with the rules of termios(3), writing with backpressure, readiness, and their life. The
// characters are handled in tty_ldisc.c, ioctl(2) in tty_ioctl.c, sessions and process groups in tty_job.c.
#include "fs/tty.h"
#include "fs/poll.h"
#include "fs/vfs.h"

#include "kernel/process/process.h"
#include "kernel/string.h"
#include <linux/capability.h>

#define CHUNK 256 // bytes copied at a time between the queues and the application, on the stack

// What Linux gives to a new terminal, and IUTF8, since the terminals of today are.
static const struct ktermios sane = {
    .c_iflag = ICRNL | IXON | IUTF8,
    .c_oflag = OPOST | ONLCR,
    .c_cflag = B38400 | CS8 | CREAD | HUPCL,
    .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    .c_cc = {[VINTR] = 3,
             [VQUIT] = 034,
             [VERASE] = 0177,
             [VKILL] = 025,
             [VEOF] = 4,
             [VMIN] = 1,
             [VSTART] = 021,
             [VSTOP] = 023,
             [VSUSP] = 032,
             [VREPRINT] = 022,
             [VDISCARD] = 017,
             [VWERASE] = 027,
             [VLNEXT] = 026},
    .c_ispeed = 38400,
    .c_ospeed = 38400,
};

void tty_init(struct tty *t, const struct tty_ops *ops, void *data, uint64_t rdev) {
    memset(t, 0, offsetof(struct tty, input));
    t->ops = ops;
    t->data = data;
    t->refs = 1;
    t->rdev = rdev;
    spin_init(&t->lock);
    t->termios = sane;
    waitq_init(&t->read_wait);
    waitq_init(&t->write_wait);
}

struct tty *tty_ref(struct tty *t) {
    atomic_add(&t->refs, 1);
    return t;
}

void tty_unref(struct tty *t) {
    if (atomic_sub(&t->refs, 1) == 1 && t->ops->release)
        t->ops->release(t);
}

// --- The side of the device ---

size_t tty_receive(struct tty *t, const void *data, size_t len) {
    const uint8_t *p = data;
    size_t done = 0;
    bool wake = false;
    while (done < len) {
        int sig = 0;
        uint64_t flags = spin_lock_irqsave(&t->lock);
        bool was_stopped = t->stopped;
        while (done < len && !sig && (t->hung_up || ldisc_receive(t, p[done], &sig)))
            done++;
        bool blocked = done < len && !sig;
        t->input_blocked = blocked;
        ldisc_drain(t); // the echo
        wake |= ldisc_readable(t, 1);
        bool started = was_stopped && !t->stopped;
        spin_unlock_irqrestore(&t->lock, flags);
        if (started || sig)
            waitq_wake_all(&t->write_wait);
        if (sig) // between the bytes before and behind the key
            tty_signal_foreground(t, sig);
        if (blocked)
            break;
    }
    if (wake)
        waitq_wake_all(&t->read_wait);
    return done;
}

bool tty_accepts(struct tty *t) {
    return t->hung_up || READ_ONCE(t->head) - READ_ONCE(t->tail) < TTY_INPUT_SIZE - 2 ||
           (ldisc_canonical(t) && READ_ONCE(t->line_head) == READ_ONCE(t->tail));
}

static bool writable(struct tty *t) {
    return t->hung_up || (!READ_ONCE(t->stopped) &&
                          READ_ONCE(t->output_head) - READ_ONCE(t->output_tail) <= TTY_OUTPUT_SIZE - TTY_ECHO_RESERVE);
}

bool tty_output_pending(struct tty *t) { return READ_ONCE(t->output_head) != READ_ONCE(t->output_tail); }

void tty_output_ready(struct tty *t) {
    uint64_t flags = spin_lock_irqsave(&t->lock);
    ldisc_drain(t);
    spin_unlock_irqrestore(&t->lock, flags);
    if (writable(t) && waitq_active(&t->write_wait))
        waitq_wake_key(&t->write_wait, ~0u, POLLOUT | POLLWRNORM);
}

void tty_input_end(struct tty *t) {
    uint64_t flags = spin_lock_irqsave(&t->lock);
    ldisc_push(t);
    t->input_ended = true;
    spin_unlock_irqrestore(&t->lock, flags);
    waitq_wake_all(&t->read_wait);
}

void tty_set_winsize(struct tty *t, unsigned rows, unsigned columns) {
    uint64_t flags = spin_lock_irqsave(&t->lock);
    bool changed = t->winsize.rows != rows || t->winsize.columns != columns;
    t->winsize.rows = (uint16_t)rows;
    t->winsize.columns = (uint16_t)columns;
    spin_unlock_irqrestore(&t->lock, flags);
    if (changed)
        tty_signal_foreground(t, SIGWINCH);
}

// --- The side of the application ---

struct tty *tty_from_file(struct file *f) {
    return f->ops == &tty_file_ops ? f->data : NULL;
}

// Takes what is there, up to the end of the line or of the reader's buffer. Bytes, or -EFAULT. *end: the line is over.
static int64_t take(struct tty *t, struct uio *u, bool *end) {
    int64_t total = 0;
    *end = false;
    while (u->left && !*end) {
        uint8_t chunk[CHUNK];
        uint64_t flags = spin_lock_irqsave(&t->lock);
        bool full = t->input_blocked || !tty_accepts(t); // somebody may wait for room without having tried
        size_t n = ldisc_read(t, chunk, MIN(u->left, sizeof(chunk)), end);
        if (n == u->left)
            ldisc_skip_eof(t);
        bool room = full && tty_accepts(t);
        spin_unlock_irqrestore(&t->lock, flags);
        if (room && t->ops->input_room)
            t->ops->input_room(t);
        if (n == 0)
            break;
        size_t put = uio_put(u, chunk, n);
        total += (int64_t)put;
        if (put < n)
            return total ? total : -EFAULT;
    }
    return total;
}

// How long a read without ICANON waits, termios(3): VMIN and VTIME. Canonical mode is like VMIN 1 with the line as its unit.
static nsec_t read_deadline(struct tty *t, int64_t got) {
    if (ldisc_canonical(t))
        return NSEC_MAX;
    unsigned min = t->termios.c_cc[VMIN];
    nsec_t pause = t->termios.c_cc[VTIME] * (NSEC_PER_SEC / 10);
    if (min == 0)
        return pause ? time_monotonic() + pause : 0;           // 0: do not wait
    return pause && got ? time_monotonic() + pause : NSEC_MAX; // between two bytes
}

static int64_t tty_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct tty *t = f->data;
    int64_t got = 0;
    nsec_t deadline = 0;
    bool waited = false;
    if (u->left == 0)
        return 0;
    for (;;) {
        int err = tty_check_read(t);
        if (err < 0)
            return got ? got : err;
        bool end;
        int64_t n = take(t, u, &end);
        if (n < 0)
            return got ? got : n;
        got += n;
        if (t->hung_up && waited && !got)
            return -EIO; // who was waiting is told; later reads find the end
        if (end || u->left == 0 || t->hung_up)
            return got;
        bool canonical = ldisc_canonical(t);
        if ((canonical && got) || (!canonical && got && got >= t->termios.c_cc[VMIN]))
            return got;
        if (READ_ONCE(t->input_ended) && !ldisc_readable(t, 1))
            return got;
        if (n || !waited)
            deadline = read_deadline(t, got);
        waited = true;
        if (deadline == 0)
            return got;
        if (f->flags & O_NONBLOCK)
            return got ? got : -EAGAIN;
        err = wait_event_until(
            &t->read_wait, ldisc_readable(t, 1) || READ_ONCE(t->input_ended) || READ_ONCE(t->hung_up), deadline, true);
        if (err == -ETIMEDOUT)
            return got;
        if (err < 0)
            return got ? got : err;
    }
}

static int64_t tty_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct tty *t = f->data;
    int64_t done = 0;
    if (t->termios.c_lflag & TOSTOP) {
        int err = tty_check_change(t);
        if (err < 0)
            return err;
    }
    while (u->left) {
        uint8_t chunk[CHUNK];
        size_t n = uio_get(u, chunk, MIN(u->left, sizeof(chunk))), taken = 0;
        if (n == 0)
            return done ? done : -EFAULT;
        while (taken < n) {
            if (t->hung_up)
                return done ? done : -EIO;
            uint64_t flags = spin_lock_irqsave(&t->lock);
            size_t some = ldisc_write(t, chunk + taken, n - taken);
            spin_unlock_irqrestore(&t->lock, flags);
            taken += some;
            done += (int64_t)some;
            if (taken == n)
                break;
            if (f->flags & O_NONBLOCK)
                return done ? done : -EAGAIN;
            int err = wait_event_interruptible(&t->write_wait, writable(t));
            if (err < 0)
                return done ? done : err;
        }
        sched_point();
    }
    return done;
}

static uint32_t tty_poll(struct file *f, struct poll_table *pt) {
    struct tty *t = f->data;
    poll_on(pt, f, &t->read_wait);
    poll_on(pt, f, &t->write_wait);
    unsigned min = t->termios.c_cc[VTIME] ? 1 : t->termios.c_cc[VMIN];
    uint32_t ready = 0;
    if (ldisc_readable(t, min) || t->input_ended)
        ready |= POLLIN | POLLRDNORM;
    if (writable(t))
        ready |= POLLOUT | POLLWRNORM;
    if (t->hung_up)
        ready |= POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLERR;
    return ready;
}

static void tty_file_release(struct file *f) {
    struct tty *t = f->data;
    if (atomic_sub(&t->files, 1) == 1) {
        t->exclusive = false; // TIOCEXCL ends with who has asked for it
        if (t->ops->closed)
            t->ops->closed(t);
    }
    tty_unref(t);
}

const struct file_ops tty_file_ops = {
    .read = tty_read,
    .write = tty_write,
    .ioctl = tty_ioctl,
    .poll = tty_poll,
    .release = tty_file_release,
};

struct file *tty_open(struct tty *t, struct inode *inode, unsigned flags) {
    if (t->exclusive && !capable(CAP_SYS_ADMIN))
        return ERR_PTR(-EBUSY);
    if (t->hung_up)
        return ERR_PTR(-EIO);
    struct file *f = file_alloc(&tty_file_ops, inode, flags);
    if (IS_ERR(f))
        return f;
    f->data = tty_ref(t);
    f->stream = true;
    atomic_add(&t->files, 1);
    WRITE_ONCE(t->opened, true);
    if (!(flags & O_NOCTTY) && f->readable && READ_ONCE(t->session) == 0)
        tty_acquire(t, false); // only a session's leader without a terminal gets it; it is no error for others
    return f;
}

struct file *tty_open_current(unsigned flags) {
    struct tty *t = tty_current();
    if (!t)
        return ERR_PTR(-ENXIO);
    struct inode *inode = inode_anonymous(0020666, t->rdev); // devfs puts the node's own in its place
    struct file *f = inode ? tty_open(t, inode, flags | O_NOCTTY) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    tty_unref(t);
    return f;
}

int tty_foreground_group(struct tty *t) { return READ_ONCE(t->foreground); }

uint64_t tty_device(struct tty *t) { return t->rdev; }
