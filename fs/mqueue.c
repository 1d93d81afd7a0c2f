// POSIX message queues: sending, receiving, notification, and the descriptor. A message goes from the sender to a waiting receiver
// directly, and a full queue takes the message of the sender that has waited longest as soon as one was received. Waiters live on
// their threads' stacks. Locks: see mqueue.h.
#include "fs/mqueue.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/ipc/msg.h"
#include "kernel/log.h" // snprintf
#include "kernel/process/process.h"
#include "net/socket.h"

struct mq_waiter {
    struct list link; // on no list: it was served
    struct thread *thread;
    struct message *message;
};

// --- Notification ---

enum { NOTIFY_WOKEN = 1, NOTIFY_REMOVED }; // the cookie's last byte

void mqueue_notification_end(struct mqueue_notification *n, bool woken) {
    if (!n->socket)
        return;
    n->cookie[MQUEUE_COOKIE - 1] = woken ? NOTIFY_WOKEN : NOTIFY_REMOVED;
    (void)netlink_send_to(n->socket, n->cookie, sizeof(n->cookie));
    socket_unref(n->socket);
    n->socket = NULL;
}

static struct process *take_notification(struct mqueue *q) {
    struct process *owner = q->notify_owner;
    q->notify_owner = NULL;
    return owner;
}

// The first message has come into an empty queue, unlocked by now; `owner` was taken with the lock.
static void notify(struct process *owner, struct mqueue_notification *n) {
    mqueue_notification_end(n, true);
    if (n->kind == SIGEV_SIGNAL && n->signal) {
        siginfo_t info = {.si_signo = n->signal, .si_code = SI_MESGQ};
        info.si_pid = process_current()->pid;
        info.si_uid = current_cred()->uid;
        info.si_value.sival_ptr = (void *)n->value;
        signal_send_process(owner, n->signal, &info);
    }
    process_unref(owner);
}

int mqueue_notify(struct file *f, const struct mqueue_notification *n) {
    struct mqueue *q = mqueue_of(f->inode);
    struct process *self = process_current(), *old = NULL;
    struct mqueue_notification had;
    int err = 0;
    spin_lock(&q->lock);
    if (!n) {
        if (q->notify_owner == self) {
            had = q->notification;
            old = take_notification(q);
        }
    } else if (q->notify_owner) {
        err = -EBUSY;
    } else {
        process_ref(self);
        q->notify_owner = self;
        q->notification = *n;
    }
    spin_unlock(&q->lock);
    if (old) {
        mqueue_notification_end(&had, false);
        process_unref(old);
    }
    return err;
}

// --- Sending and receiving ---

static void insert(struct mqueue *q, struct message *m) {
    struct list *at = q->messages.prev;
    while (at != &q->messages && list_entry(at, struct message, link)->type < m->type)
        at = at->prev;
    list_insert_between(&m->link, at, at->next);
    q->count++;
    q->bytes += m->size;
}

// Sleeps until served. Called with the queue locked, returns unlocked. 0, -ETIMEDOUT, -ERESTARTSYS.
static int wait(struct mqueue *q, struct list *waiters, struct mq_waiter *w, nsec_t deadline) {
    int err;
    nsec_t until = NSEC_MAX;
    if (deadline != NSEC_MAX)
        until = MAX(deadline - time_realtime(), 0l) + time_monotonic();
    w->thread = thread_current();
    list_push_back(waiters, &w->link);
    for (;;) {
        thread_prepare_sleep(true);
        spin_unlock(&q->lock);
        err = thread_sleep_until(until);
        spin_lock(&q->lock);
        if (list_empty(&w->link)) {
            err = 0;
            break;
        }
        if (err < 0) {
            list_remove(&w->link);
            break;
        }
    }
    spin_unlock(&q->lock);
    return err;
}

static struct mq_waiter *serve(struct list *waiters) {
    if (list_empty(waiters))
        return NULL;
    struct mq_waiter *w = list_first(waiters, struct mq_waiter, link);
    list_remove(&w->link);
    return w;
}

int mqueue_send(struct file *f, struct message *m, nsec_t deadline) {
    struct mqueue *q = mqueue_of(f->inode);
    struct process *owner = NULL;
    struct mqueue_notification n = {0};
    spin_lock(&q->lock);
    if (q->count == q->max_messages) {
        if (f->flags & O_NONBLOCK) {
            spin_unlock(&q->lock);
            return -EAGAIN;
        }
        struct mq_waiter w = {.message = m};
        return wait(q, &q->senders, &w, deadline);
    }
    struct mq_waiter *receiver = serve(&q->receivers);
    if (receiver) {
        receiver->message = m;
        thread_wake(receiver->thread);
    } else {
        insert(q, m);
        if (q->count == 1) {
            n = q->notification;
            owner = take_notification(q);
        }
    }
    q->inode.atime = q->inode.mtime = q->inode.ctime = inode_now();
    spin_unlock(&q->lock);
    if (!receiver)
        waitq_wake_key(&q->wait, ~0u, POLLIN | POLLRDNORM);
    if (owner)
        notify(owner, &n);
    return 0;
}

struct message *mqueue_receive(struct file *f, nsec_t deadline) {
    struct mqueue *q = mqueue_of(f->inode);
    spin_lock(&q->lock);
    if (q->count == 0) {
        if (f->flags & O_NONBLOCK) {
            spin_unlock(&q->lock);
            return ERR_PTR(-EAGAIN);
        }
        struct mq_waiter w = {.message = NULL};
        int err = wait(q, &q->receivers, &w, deadline);
        return err < 0 ? ERR_PTR(err) : w.message;
    }
    struct message *m = list_first(&q->messages, struct message, link);
    list_remove(&m->link);
    q->count--;
    q->bytes -= m->size;
    struct mq_waiter *sender = serve(&q->senders);
    if (sender) {
        insert(q, sender->message);
        thread_wake(sender->thread);
    }
    q->inode.atime = q->inode.mtime = q->inode.ctime = inode_now();
    spin_unlock(&q->lock);
    if (!sender)
        waitq_wake_key(&q->wait, ~0u, POLLOUT | POLLWRNORM);
    return m;
}

void mqueue_get_attributes(struct file *f, struct mqueue_attributes *out) {
    struct mqueue *q = mqueue_of(f->inode);
    spin_lock(&q->lock);
    *out = (struct mqueue_attributes){q->max_messages, q->message_size, q->count};
    spin_unlock(&q->lock);
}

// --- As a file ---

static int64_t mqueue_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct mqueue *q = mqueue_of(f->inode);
    char text[STATUS_SIZE];
    spin_lock(&q->lock);
    bool on = q->notify_owner;
    size_t len = snprintf(text, sizeof(text), "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
                          (unsigned long)q->bytes, on ? q->notification.kind : 0,
                          on && q->notification.kind == SIGEV_SIGNAL ? q->notification.signal : 0,
                          on ? q->notify_owner->pid : 0);
    spin_unlock(&q->lock);
    if (*pos >= len)
        return 0;
    size_t want = MIN(u->left, len - *pos), done = uio_put(u, text + *pos, want);
    *pos += done;
    return done || !want ? (int64_t)done : -EFAULT;
}

static uint32_t mqueue_poll(struct file *f, struct poll_table *pt) {
    struct mqueue *q = mqueue_of(f->inode);
    poll_on(pt, f, &q->wait);
    int64_t count = READ_ONCE(q->count);
    return (count ? POLLIN | POLLRDNORM : 0) | (count < q->max_messages ? POLLOUT | POLLWRNORM : 0);
}

static void mqueue_flush(struct file *f) { mqueue_notify(f, NULL); }

const struct file_ops mqueue_file_ops = {.read = mqueue_read, .poll = mqueue_poll, .flush = mqueue_flush};

bool mqueue_is(const struct file *f) { return f->ops == &mqueue_file_ops; }
