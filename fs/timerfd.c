// timerfd_create(2): a timer that is read like a file.
// Locks: timerfd.wait.lock (interrupt-safe) > the timers' locks; it protects everything; the timer's function takes it in interrupt context.
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/time.h"
#include <linux/time.h>

struct timerfd {
    struct waitq wait;
    struct timer timer;
    int clock;
    nsec_t deadline; // monotonic; 0: not armed
    nsec_t interval; // 0: once
    uint64_t ticks;  // expirations that nobody has read
};

static const struct file_ops timerfd_ops;

// Counts what has expired up to now and moves the deadline on. wait.lock held.
static void catch_up(struct timerfd *t, nsec_t now) {
    if (!t->deadline || now < t->deadline)
        return;
    if (t->interval) {
        nsec_t n = (now - t->deadline) / t->interval + 1;
        t->ticks += n;
        if (__builtin_add_overflow(t->deadline, n * t->interval, &t->deadline))
            t->deadline = NSEC_MAX;
    } else {
        t->ticks++;
        t->deadline = 0;
    }
}

// Does not arm the timer again: until somebody reads there is nothing new to tell, and a reader counts what came meanwhile. So
// an interval of a nanosecond costs no more than its readers ask for.
static void expired(struct timer *timer) {
    struct timerfd *t = container_of(timer, struct timerfd, timer);
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    catch_up(t, time_monotonic());
    spin_unlock_irqrestore(&t->wait.lock, flags);
    waitq_wake_key(&t->wait, ~0u, POLLIN | POLLRDNORM);
}

static uint64_t take(struct timerfd *t) {
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    catch_up(t, time_monotonic());
    uint64_t ticks = t->ticks;
    t->ticks = 0;
    if (ticks && t->deadline)
        timer_add(&t->timer, t->deadline);
    spin_unlock_irqrestore(&t->wait.lock, flags);
    return ticks;
}

static int64_t timerfd_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct timerfd *t = f->data;
    uint64_t ticks;
    if (u->left < sizeof(ticks))
        return -EINVAL;
    while (!(ticks = take(t))) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&t->wait, READ_ONCE(t->ticks) > 0);
        if (err < 0)
            return err;
    }
    return uio_put(u, &ticks, sizeof(ticks)) == sizeof(ticks) ? (int64_t)sizeof(ticks) : -EFAULT;
}

static uint32_t timerfd_poll(struct file *f, struct poll_table *pt) {
    struct timerfd *t = f->data;
    poll_on(pt, f, &t->wait);
    return READ_ONCE(t->ticks) ? POLLIN | POLLRDNORM : 0;
}

// How long until it expires (0: not armed), and the interval. wait.lock held.
static void read_setting(struct timerfd *t, struct timer_setting *s) {
    nsec_t now = time_monotonic();
    catch_up(t, now);
    *s = (struct timer_setting){.value = t->deadline ? MAX(t->deadline - now, 1l) : 0, .interval = t->interval};
}

// After this the timer is not armed and its function does not run. What was set goes to *old.
static void disarm(struct timerfd *t, struct timer_setting *old) {
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    read_setting(t, old);
    t->deadline = 0; // so that no reader arms it again
    spin_unlock_irqrestore(&t->wait.lock, flags);
    timer_cancel_sync(&t->timer);
}

static void timerfd_release(struct file *f) {
    struct timerfd *t = f->data;
    struct timer_setting old;
    disarm(t, &old);
    kfree(t);
}

static const struct file_ops timerfd_ops = {
    .name = "[timerfd]",
    .seek = file_seek_nowhere,
    .read = timerfd_read,
    .poll = timerfd_poll,
    .release = timerfd_release,
};

struct file *timerfd_create(int clock, unsigned flags) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return ERR_PTR(-EINVAL);
    struct timerfd *t = kzalloc(sizeof(*t));
    struct inode *inode = inode_anonymous(0600, 0);
    struct file *f = t && inode ? file_alloc(&timerfd_ops, inode, O_RDWR | (flags & O_NONBLOCK)) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        kfree(t);
        return f;
    }
    waitq_init(&t->wait);
    timer_init(&t->timer, expired);
    t->clock = clock;
    f->stream = true;
    f->data = t;
    return f;
}

int timerfd_get(struct file *f, struct timer_setting *out) {
    if (f->ops != &timerfd_ops)
        return -EINVAL;
    struct timerfd *t = f->data;
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    read_setting(t, out);
    spin_unlock_irqrestore(&t->wait.lock, flags);
    return 0;
}

int timerfd_set(struct file *f, const struct timer_setting *new, bool absolute, struct timer_setting *old) {
    if (f->ops != &timerfd_ops)
        return -EINVAL;
    struct timerfd *t = f->data;
    nsec_t deadline = 0, now = time_monotonic();
    if (new->value) {
        nsec_t base = !absolute ? now : t->clock == CLOCK_REALTIME ? now - time_realtime() : 0;
        if (__builtin_add_overflow(new->value, base, &deadline))
            deadline = NSEC_MAX;
        deadline = MAX(deadline, 1l);
    }
    disarm(t, old);
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    t->deadline = deadline;
    t->interval = new->interval;
    t->ticks = 0;
    if (deadline)
        timer_add(&t->timer, deadline);
    spin_unlock_irqrestore(&t->wait.lock, flags);
    return 0;
}
