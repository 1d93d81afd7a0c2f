// signalfd(2): the signals of whoever reads, taken from their queues instead of being delivered.
// A signalfd has no queue of its own: it is readable when the process that asks has one of its signals pending. So what an epoll
// instance registers with is part of a process, which may end before the epoll instance does; the signalfd keeps it.
// Locks: signalfd.lock protects the list of watchers.
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/seqbuf.h"
#include "kernel/string.h"
#include <linux/signalfd.h>

_Static_assert(sizeof(struct signalfd_siginfo) == 128, "ABI");

// A process that has polled it: referenced, for something may be in the queue of its signals.
struct watcher {
    struct watcher *next;
    struct process *process;
};

struct signalfd {
    uint64_t mask; // signals to take
    struct mutex lock;
    struct watcher *watchers;
};

static const struct file_ops signalfd_ops;

// Which of siginfo_t's members mean something, as Linux's siginfo_layout().
static void convert(const siginfo_t *i, struct signalfd_siginfo *out) {
    *out =
        (struct signalfd_siginfo){.ssi_signo = (uint32_t)i->si_signo, .ssi_errno = i->si_errno, .ssi_code = i->si_code};
    int sig = i->si_signo, code = i->si_code;
    if (code > SI_USER && code < SI_KERNEL) {
        if (SIGMASK(sig) & SIGMASK_SYNCHRONOUS) {
            out->ssi_addr = (uint64_t)i->si_addr;
            return;
        }
        if (sig != SIGCHLD) {
            out->ssi_band = (uint32_t)i->si_band;
            out->ssi_fd = i->si_fd;
            return;
        }
        out->ssi_status = i->si_status;
        out->ssi_utime = (uint64_t)i->si_utime;
        out->ssi_stime = (uint64_t)i->si_stime;
    } else if (code == SI_TIMER) {
        out->ssi_tid = (uint32_t)i->si_tid;
        out->ssi_overrun = (uint32_t)i->si_overrun;
        out->ssi_ptr = (uint64_t)i->si_ptr;
        out->ssi_int = i->si_int;
        return;
    } else if (code < 0) {
        out->ssi_ptr = (uint64_t)i->si_ptr;
        out->ssi_int = i->si_int;
    }
    out->ssi_pid = (uint32_t)i->si_pid;
    out->ssi_uid = i->si_uid;
}

static int64_t signalfd_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct signalfd *s = f->data;
    struct signalfd_siginfo out;
    siginfo_t info;
    int64_t done = 0;
    if (u->left < sizeof(out))
        return -EINVAL;
    while (u->left >= sizeof(out)) {
        int sig = signal_take(READ_ONCE(s->mask), &info);
        if (!sig) {
            if (done)
                break;
            if (f->flags & O_NONBLOCK)
                return -EAGAIN;
            int err = wait_event_interruptible(&process_current()->signal_wait,
                                               (sig = signal_take(READ_ONCE(s->mask), &info)) != 0);
            if (err < 0)
                return err;
        }
        convert(&info, &out);
        if (uio_put(u, &out, sizeof(out)) < sizeof(out))
            return done ? done : -EFAULT;
        done += (int64_t)sizeof(out);
    }
    return done;
}

// Lock held. Lets go of processes that have ended and whose queue nothing is left in: only they themselves could add to it.
static void prune(struct signalfd *s) {
    for (struct watcher **at = &s->watchers, *w; (w = *at);) {
        if (READ_ONCE(w->process->thread_count) || waitq_active(&w->process->signal_wait)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        process_unref(w->process);
        kfree(w);
    }
}

static bool watch(struct signalfd *s, struct process *p) {
    mutex_lock(&s->lock);
    struct watcher *w = s->watchers;
    while (w && w->process != p)
        w = w->next;
    if (!w) {
        prune(s);
        w = kmalloc(sizeof(*w));
        if (w) {
            process_ref(p);
            *w = (struct watcher){s->watchers, p};
            s->watchers = w;
        }
    }
    mutex_unlock(&s->lock);
    return w;
}

static uint32_t signalfd_poll(struct file *f, struct poll_table *pt) {
    struct signalfd *s = f->data;
    struct thread *t = thread_current();
    if (pt) {
        if (!watch(s, t->process))
            return POLLERR;
        poll_on(pt, f, &t->process->signal_wait);
    }
    uint64_t pending = READ_ONCE(t->pending.set) | READ_ONCE(t->process->pending.set);
    return pending & READ_ONCE(s->mask) ? POLLIN : 0;
}

static void signalfd_release(struct file *f) {
    struct signalfd *s = f->data;
    for (struct watcher *w = s->watchers, *next; w; w = next) {
        next = w->next;
        process_unref(w->process);
        kfree(w);
    }
    kfree(s);
}

static void signalfd_show(struct file *f, struct seqbuf *s) {
    const struct signalfd *sig = f->data;
    seq_printf(s, "sigmask:\t%016lx\n", READ_ONCE(sig->mask));
}

static const struct file_ops signalfd_ops = {
    .name = "[signalfd]",
    .seek = file_seek_nowhere,
    .read = signalfd_read,
    .poll = signalfd_poll,
    .show = signalfd_show,
    .release = signalfd_release,
};

struct file *signalfd_create(uint64_t mask, unsigned flags) {
    struct signalfd *s = kzalloc(sizeof(*s));
    struct inode *inode = inode_anonymous(0600, 0);
    struct file *f = s && inode ? file_alloc(&signalfd_ops, inode, O_RDWR | (flags & O_NONBLOCK)) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        kfree(s);
        return f;
    }
    mutex_init(&s->lock);
    s->mask = mask & ~SIGMASK_UNBLOCKABLE;
    f->stream = true;
    f->data = s;
    return f;
}

int signalfd_set(struct file *f, uint64_t mask) {
    if (f->ops != &signalfd_ops)
        return -EINVAL;
    struct signalfd *s = f->data;
    WRITE_ONCE(s->mask, mask & ~SIGMASK_UNBLOCKABLE);
    waitq_wake_all(&process_current()->signal_wait);
    return 0;
}
