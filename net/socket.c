// Sockets as files; see net/socket.h.
#include "net/socket.h"
#include "net/inet/sysctl.h"
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include <asm/ioctls.h>
#include <asm/sockios.h>

static const struct socket_family *const families[] = {&unix_family, &inet_family, &inet6_family, &netlink_family};

// --- Life ---

struct socket *socket_create(int family, int type, int protocol) {
    if ((unsigned)family >= AF_MAX)
        return ERR_PTR(-EAFNOSUPPORT);
    if ((unsigned)type >= SOCK_TYPE_MAX)
        return ERR_PTR(-EINVAL);
    for (unsigned i = 0; i < ARRAY_SIZE(families); i++)
        if (families[i]->family == family)
            return families[i]->create(type, protocol);
    log_once(LOG_WARN, "socket(2): address family %d is not supported (EAFNOSUPPORT)",
             family);
    return ERR_PTR(-EAFNOSUPPORT);
}

void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type, int protocol) {
    memset(s, 0, sizeof(*s));
    s->ops = ops;
    s->refs = 1;
    s->family = family;
    s->type = type;
    s->protocol = protocol;
    s->send_buffer = READ_ONCE(net_settings.wmem_default);
    s->receive_buffer = READ_ONCE(net_settings.rmem_default);
    s->low_water = 1;
    s->peek_offset = -1;
    s->receive_timeout = s->send_timeout = NSEC_MAX;
    waitq_init(&s->readable);
    waitq_init(&s->writable);
}

void socket_free(struct socket *s) {
    peer_credentials_unref(s->peer);
    s->ops->free(s);
}

struct peer_credentials *peer_credentials_current(void) {
    struct process *p = process_current();
    struct peer_credentials *peer = kmalloc(sizeof(*peer));
    if (peer)
        *peer = (struct peer_credentials){1, p->pid, p->cred.euid, p->cred.egid, process_groups(p)};
    return peer;
}

void peer_credentials_unref(struct peer_credentials *c) {
    if (c && atomic_sub(&c->refs, 1) == 1) {
        group_list_unref(c->groups);
        kfree(c);
    }
}

// --- Errors, waiting, waking ---

int socket_error(struct socket *s) { return likely(!READ_ONCE(s->error)) ? 0 : -atomic_xchg(&s->error, 0); }

void socket_set_error(struct socket *s, int error) { WRITE_ONCE(s->error, error); }

nsec_t socket_deadline(nsec_t timeout, bool nonblock) {
    nsec_t deadline;
    if (nonblock)
        return 0;
    if (likely(timeout == NSEC_MAX))
        return NSEC_MAX;
    return __builtin_add_overflow(time_monotonic(), timeout, &deadline) ? NSEC_MAX : deadline;
}

struct owner {
    int id; // as file.signal_owner; 0: nobody
    bool thread;
};

static void signal_owner(struct owner owner, int sig) {
    struct process *p = NULL;
    struct thread *t = NULL;
    if (owner.id < 0) {
        process_group_signal(-owner.id, sig, NULL);
    } else if (owner.thread && (t = thread_find(owner.id))) {
        signal_send_thread(t, sig, NULL);
        thread_unref(t);
    } else if (!owner.thread && owner.id && (p = process_find(owner.id))) {
        signal_send_process(p, sig, NULL);
        process_unref(p);
    }
}

// Whom F_SETOWN names. `async`: only with O_ASYNC.
static struct owner owner_of(struct socket *s, bool async) {
    struct owner owner = {0};
    spin_lock(&s->lock);
    if (s->file && (!async || (s->file->flags & FASYNC)))
        owner = (struct owner){s->file->signal_owner, s->file->owner_is_thread};
    spin_unlock(&s->lock);
    return owner;
}

static void signal_io(struct socket *s) {
    // A look at a file that may just be going; owner_of looks closely.
    struct file *f = READ_ONCE(s->file);
    if (unlikely(f && (READ_ONCE(f->flags) & FASYNC)))
        signal_owner(owner_of(s, true), SIGIO);
}

void socket_send_sigurg(struct socket *s) { signal_owner(owner_of(s, false), SIGURG); }

void socket_wake_readable(struct socket *s, uint32_t key) {
    if (waitq_active(&s->readable))
        waitq_wake_key(&s->readable, 1, key);
    signal_io(s);
}

void socket_landed(struct socket *s) {
    if (waitq_active(&s->readable))
        waitq_wake_key(&s->readable, 1, POLLIN | POLLRDNORM);
}

void socket_wake_writable(struct socket *s, uint32_t key) {
    if (waitq_active(&s->writable))
        waitq_wake_key(&s->writable, ~0u, key);
    signal_io(s);
}

void socket_wake_state(struct socket *s) {
    waitq_wake_all(&s->readable);
    waitq_wake_all(&s->writable);
    signal_io(s);
}

// --- The file ---

static int call_flags(const struct file *f, int flags) {
    return unlikely(f->flags & O_NONBLOCK) ? flags | MSG_DONTWAIT : flags;
}

int64_t socket_send(struct file *f, struct uio *u, struct socket_message *m, int flags) {
    struct socket *s = f->data;
    return s->ops->send(s, u, m, call_flags(f, flags));
}

int64_t socket_receive(struct file *f, struct uio *u, struct socket_message *m, int flags) {
    struct socket *s = f->data;
    return s->ops->receive(s, u, m, call_flags(f, flags));
}

static int64_t socket_read(struct file *f, struct uio *u, uint64_t *pos) {
    return u->left ? socket_receive(f, u, NULL, 0) : 0;
}

static int64_t socket_write(struct file *f, struct uio *u, uint64_t *pos) { return socket_send(f, u, NULL, u->more ? MSG_MORE : 0); }

static uint32_t socket_poll(struct file *f, struct poll_table *pt) {
    struct socket *s = f->data;
    return s->ops->poll(s, f, pt);
}

static long socket_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    struct socket *s = f->data;
    int value;
    switch (cmd) {
    case FIOSETOWN:
    case SIOCSPGRP:
        if (copy_in_obj(&value, arg) < 0)
            return -EFAULT;
        return file_set_owner_number(f, value);
    case FIOGETOWN:
    case SIOCGPGRP: value = f->signal_owner; return copy_out_obj(arg, &value);
    }
    long result = s->ops->ioctl ? s->ops->ioctl(s, cmd, arg) : -ENOTTY;
    return result == -ENOTTY ? inet_ioctl(s, cmd, arg) : result; // what any socket may ask of the interfaces
}

static void socket_close(struct file *f) {
    struct socket *s = f->data;
    spin_lock(&s->lock);
    s->file = NULL;
    spin_unlock(&s->lock);
    s->ops->release(s);
    socket_unref(s);
}

static const struct file_ops socket_file_ops = {
    .name = "socket",
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .release = socket_close,
};

struct file *socket_file(struct socket *s, unsigned flags) {
    struct inode *inode = inode_anonymous(S_IFSOCK | 0777, 0);
    struct file *f = inode ? file_alloc(&socket_file_ops, inode, O_RDWR | (flags & O_NONBLOCK)) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        s->ops->release(s);
        socket_unref(s);
        return f;
    }
    f->stream = true;
    f->data = s;
    spin_lock(&s->lock);
    s->file = f;
    spin_unlock(&s->lock);
    return f;
}

struct socket *file_socket(struct file *f) {
    return f->ops == &socket_file_ops ? f->data : NULL;
}
