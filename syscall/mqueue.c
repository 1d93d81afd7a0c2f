// mq_open(2), mq_unlink(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2), mq_getsetattr(2).
#include "fs/mqueue.h"
#include "fs/vfs.h"
#include "kernel/ipc/msg.h"
#include "syscall/path.h"
#include "syscall/socket.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include "kernel/process/signal.h"
#include <linux/mqueue.h>

_Static_assert(sizeof(struct mq_attr) == 64 && sizeof(struct sigevent) == 64, "the ABI's");

static struct file *get(uint64_t fd) {
    struct file *f = fd_get((int)fd);
    if (f && mqueue_is(f))
        return f;
    if (f)
        file_unref(f);
    return NULL;
}

long sys_mq_open(uint64_t name, uint64_t flags, uint64_t mode, uint64_t attributes) {
    struct mq_attr attr;
    if (attributes && copy_in_obj(&attr, attributes) < 0)
        return -EFAULT;
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err < 0)
        return err;
    struct mqueue_attributes a = {.max_messages = 0};
    if (attributes)
        a = (struct mqueue_attributes){attr.mq_maxmsg, attr.mq_msgsize, 0};
    struct file *f = mqueue_open(p.name, (unsigned)flags, (uint32_t)mode, attributes ? &a : NULL);
    user_path_put(&p);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, O_CLOEXEC);
}

long sys_mq_unlink(uint64_t name) {
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err < 0)
        return err;
    err = mqueue_unlink(p.name);
    user_path_put(&p);
    return err;
}

static long send(struct file *f, uaddr_t buf, size_t size, unsigned priority, nsec_t deadline) {
    struct mqueue_attributes a;
    if (!f->writable)
        return -EBADF;
    mqueue_get_attributes(f, &a);
    if (size > (uint64_t)a.message_size)
        return -EMSGSIZE;
    struct message *m = message_alloc(priority, size);
    if (!m)
        return -ENOMEM;
    long err = copy_in(m->data, buf, size);
    if (err == 0)
        err = mqueue_send(f, m, deadline);
    if (err < 0)
        message_free(m);
    return err;
}

long sys_mq_timedsend(uint64_t fd, uint64_t buf, uint64_t size, uint64_t priority, uint64_t timeout) {
    nsec_t deadline = NSEC_MAX;
    int err = timeout ? timespec_in(timeout, &deadline) : 0;
    if (err < 0)
        return err;
    if ((unsigned)priority >= MQUEUE_PRIORITIES)
        return -EINVAL;
    struct file *f = get(fd);
    if (!f)
        return -EBADF;
    long result = send(f, buf, size, (unsigned)priority, deadline);
    file_unref(f);
    return result;
}

static long receive(struct file *f, uaddr_t buf, size_t size, uaddr_t priority, nsec_t deadline) {
    struct mqueue_attributes a;
    if (!f->readable)
        return -EBADF;
    mqueue_get_attributes(f, &a);
    if (size < (uint64_t)a.message_size)
        return -EMSGSIZE;
    struct message *m = mqueue_receive(f, deadline);
    if (IS_ERR(m))
        return PTR_ERR(m);
    long result = (long)m->size;
    unsigned value = (unsigned)m->type;
    if ((priority && copy_out_obj(priority, &value) < 0) || copy_out(buf, m->data, m->size) < 0)
        result = -EFAULT; // and the message is lost, as on Linux
    message_free(m);
    return result;
}

long sys_mq_timedreceive(uint64_t fd, uint64_t buf, uint64_t size, uint64_t priority, uint64_t timeout) {
    nsec_t deadline = NSEC_MAX;
    int err = timeout ? timespec_in(timeout, &deadline) : 0;
    if (err < 0)
        return err;
    struct file *f = get(fd);
    if (!f)
        return -EBADF;
    long result = receive(f, buf, size, priority, deadline);
    file_unref(f);
    return result;
}

// SIGEV_THREAD: the library gives a netlink socket, through which the cookie is sent.
static long get_socket(const struct sigevent *ev, struct mqueue_notification *n) {
    struct file *f;
    struct socket *s;
    if (copy_in(n->cookie, (uaddr_t)ev->sigev_value.sival_ptr, sizeof(n->cookie)) < 0)
        return -EFAULT;
    long err = socket_get(ev->sigev_signo, &f, &s);
    if (err < 0)
        return err;
    err = netlink_send_to(s, NULL, 0);
    if (!err)
        n->socket = socket_ref(s);
    file_unref(f);
    return err;
}

long sys_mq_notify(uint64_t fd, uint64_t event) {
    struct sigevent ev;
    struct mqueue_notification n = {0};
    long err = 0;
    if (event) {
        if (copy_in_obj(&ev, event) < 0)
            return -EFAULT;
        if ((ev.sigev_notify != SIGEV_NONE && ev.sigev_notify != SIGEV_SIGNAL && ev.sigev_notify != SIGEV_THREAD) ||
            (ev.sigev_notify == SIGEV_SIGNAL && (unsigned)ev.sigev_signo > SIGNAL_COUNT))
            return -EINVAL;
        n = (struct mqueue_notification){ev.sigev_notify, ev.sigev_signo, (uint64_t)ev.sigev_value.sival_ptr, NULL, {0}};
        if (ev.sigev_notify == SIGEV_THREAD && (err = get_socket(&ev, &n)) < 0)
            return err;
    }
    struct file *f = get(fd);
    err = f ? mqueue_notify(f, event ? &n : NULL) : -EBADF;
    if (f)
        file_unref(f);
    if (err < 0 && n.socket)
        socket_unref(n.socket);
    return err;
}

long sys_mq_getsetattr(uint64_t fd, uint64_t new_attr, uint64_t old_attr) {
    struct mq_attr new;
    if (new_attr) {
        if (copy_in_obj(&new, new_attr) < 0)
            return -EFAULT;
        if (new.mq_flags & ~(long)O_NONBLOCK)
            return -EINVAL;
    }
    struct file *f = get(fd);
    if (!f)
        return -EBADF;
    struct mqueue_attributes a;
    mqueue_get_attributes(f, &a);
    struct mq_attr old = {.mq_flags = f->flags & O_NONBLOCK,
                          .mq_maxmsg = a.max_messages,
                          .mq_msgsize = a.message_size,
                          .mq_curmsgs = a.messages};
    if (new_attr) {
        if (new.mq_flags & O_NONBLOCK)
            atomic_or(&f->flags, O_NONBLOCK);
        else
            atomic_and(&f->flags, ~(uint32_t)O_NONBLOCK);
    }
    file_unref(f);
    return old_attr ? copy_out_obj(old_attr, &old) : 0;
}
