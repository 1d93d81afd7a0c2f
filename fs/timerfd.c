// timerfd_create(2): a timer that is read like a file.
// One that stands for a time of day listens for changes of the clock: it moves, and tells when it was asked to.
// Locks: clock_set_wait.lock > timerfd.wait.lock (interrupt-safe) > the timers' locks; the second protects everything; the timer's
// function takes it in interrupt context. setting_lock (mutex): one change of the setting at a time.
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/seqbuf.h"
#include "kernel/time.h"
#include <linux/time.h>

struct timerfd {
    struct waitq wait;
    struct timer timer;
    int clock;
    nsec_t deadline; // monotonic; 0: not armed
    nsec_t interval; // 0: once
    unsigned how;    // TFD_TIMER_*, as last set
    uint64_t ticks;  // expirations that nobody has read
    struct mutex setting_lock;
    struct waiter clock_set; // queued while `by_day`
    bool by_day;             // the deadline is one of CLOCK_REALTIME
    bool cancel_on_set, canceled; // TFD_TIMER_CANCEL_ON_SET, and it has happened
    nsec_t offset;           // of CLOCK_REALTIME when the deadline was computed
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

static nsec_t realtime_offset(void) {
    nsec_t now = time_monotonic();
    return time_realtime() - now;
}

// clock_set_wait.lock held, interrupts off.
static bool on_clock_set(struct waiter *w, uint32_t key) {
    struct timerfd *t = container_of(w, struct timerfd, clock_set);
    nsec_t offset = realtime_offset();
    spin_lock(&t->wait.lock);
    nsec_t moved = offset - t->offset;
    t->offset = offset;
    if (t->deadline) {
        t->deadline = MAX(t->deadline - moved, 1L);
        timer_add(&t->timer, t->deadline);
    }
    if (t->cancel_on_set) {
        t->canceled = true;
        t->ticks++;
    }
    spin_unlock(&t->wait.lock);
    if (t->cancel_on_set)
        waitq_wake_key(&t->wait, ~0u, POLLIN | POLLRDNORM);
    return true;
}

static bool take_canceled(struct timerfd *t) {
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    bool canceled = t->canceled;
    if (canceled)
        t->ticks = 0;
    t->canceled = false;
    spin_unlock_irqrestore(&t->wait.lock, flags);
    return canceled;
}

static uint64_t take(struct timerfd *t) {
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    catch_up(t, time_monotonic());
    uint64_t ticks = t->canceled ? 0 : t->ticks;
    if (!t->canceled)
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
        if (unlikely(t->cancel_on_set) && take_canceled(t))
            return -ECANCELED;
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

// After this the clock does not matter, the timer is not armed and its function does not run. What was set goes to *old.
static void disarm(struct timerfd *t, struct timer_setting *old) {
    if (t->by_day)
        waitq_remove(&t->clock_set);
    t->by_day = false;
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

static void timerfd_show(struct file *f, struct seqbuf *s) {
    struct timerfd *t = f->data;
    struct timer_setting now;
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    read_setting(t, &now);
    uint64_t ticks = t->ticks;
    spin_unlock_irqrestore(&t->wait.lock, flags);
    seq_printf(s, "clockid: %d\nticks: %lu\nsettime flags: 0%o\nit_value: (%lld, %lld)\nit_interval: (%lld, %lld)\n", t->clock, ticks,
               t->how, now.value / NSEC_PER_SEC, now.value % NSEC_PER_SEC, now.interval / NSEC_PER_SEC,
               now.interval % NSEC_PER_SEC);
}

static const struct file_ops timerfd_ops = {
    .name = "[timerfd]",
    .seek = file_seek_nowhere,
    .read = timerfd_read,
    .poll = timerfd_poll,
    .show = timerfd_show,
    .release = timerfd_release,
};

struct file *timerfd_create(int clock, unsigned flags) {
    if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM) {
        if (!capable(CAP_WAKE_ALARM))
            return ERR_PTR(-EPERM);
    } else if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME) {
        return ERR_PTR(-EINVAL);
    }
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
    mutex_init(&t->setting_lock);
    waiter_init(&t->clock_set);
    t->clock_set.wake = on_clock_set;
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

static nsec_t deadline_of(const struct timerfd *t, nsec_t value, bool absolute) {
    nsec_t deadline, base = !absolute ? time_monotonic() : t->by_day ? -t->offset : 0;
    if (!value)
        return 0;
    if (__builtin_add_overflow(value, base, &deadline))
        return NSEC_MAX;
    return MAX(deadline, 1L);
}

int timerfd_set(struct file *f, const struct timer_setting *new, unsigned how, struct timer_setting *old) {
    if (f->ops != &timerfd_ops)
        return -EINVAL;
    struct timerfd *t = f->data;
    bool absolute = how & TFD_TIMER_ABSTIME;
    mutex_lock(&t->setting_lock);
    t->how = how;
    disarm(t, old);
    t->by_day = absolute && (t->clock == CLOCK_REALTIME || t->clock == CLOCK_REALTIME_ALARM);
    t->cancel_on_set = t->by_day && (how & TFD_TIMER_CANCEL_ON_SET);
    if (t->by_day)
        waitq_add(&clock_set_wait, &t->clock_set); // before the clock is read: no change is missed
    uint64_t flags = spin_lock_irqsave(&t->wait.lock);
    t->offset = realtime_offset();
    bool canceled = t->canceled && t->cancel_on_set;
    t->canceled = false;
    t->deadline = deadline_of(t, new->value, absolute);
    t->interval = new->interval;
    t->ticks = 0;
    if (t->deadline)
        timer_add(&t->timer, t->deadline);
    spin_unlock_irqrestore(&t->wait.lock, flags);
    mutex_unlock(&t->setting_lock);
    return canceled && new->value ? -ECANCELED : 0;
}
