// Sending and receiving on sockets: sendto(2), sendmsg(2), sendmmsg(2), recvfrom(2), recvmsg(2), recvmmsg(2). Names and control
// messages are copied to kernel memory here, and back; what they mean is the family's business.
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/threads/thread.h"
#include "net/inet/sysctl.h"
#include "syscall/socket.h"
#include "syscall/syscall.h"
#include "syscall/timeout.h"
#include "syscall/vectors.h"

#define MSG_CMSG_COMPAT 0x80000000u
#define MSG_ERRQUEUE 0x2000

struct user_msghdr {
    uaddr_t name;
    int name_len, pad1;
    uaddr_t vec;
    uint64_t vec_count;
    uaddr_t control;
    uint64_t control_len;
    int flags, pad2;
};
_Static_assert(sizeof(struct user_msghdr) == 56, "ABI");

struct user_mmsghdr {
    struct user_msghdr header;
    unsigned len, pad;
};
_Static_assert(sizeof(struct user_mmsghdr) == 64, "ABI");

// --- One buffer ---

static bool range_ok(uaddr_t buf, uint64_t len) { return buf <= USER_END && (int64_t)len >= 0; }

long sys_sendto(uint64_t fd, uint64_t buf, uint64_t len, uint64_t flags, uint64_t addr, uint64_t addr_len) {
    struct file *f;
    struct socket *s;
    struct socket_address name;
    if (!range_ok(buf, len))
        return -EFAULT;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    struct socket_message m = {0};
    if (addr) {
        err = address_in(&name, addr, addr_len);
        m.name = name.len ? &name : NULL;
    }
    if (err == 0) {
        struct uio_vec vec;
        struct uio u = uio_one(&vec, buf, MIN(len, RW_MAX), true);
        err = socket_send(f, &u, &m, flags);
    }
    file_unref(f);
    return err;
}

long sys_recvfrom(uint64_t fd, uint64_t buf, uint64_t len, uint64_t flags, uint64_t addr, uint64_t len_addr) {
    struct file *f;
    struct socket *s;
    struct socket_address name;
    if (!range_ok(buf, len))
        return -EFAULT;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    name.len = 0;
    struct socket_message m = {.name = addr ? &name : NULL};
    struct uio_vec vec;
    struct uio u = uio_one(&vec, buf, MIN(len, RW_MAX), true);
    long n = socket_receive(f, &u, &m, flags);
    if (n >= 0 && addr && (err = address_out(&name, addr, len_addr)) < 0)
        n = err;
    kfree(m.control);
    file_unref(f);
    return n;
}

// --- Messages ---

// The name's and the vectors' side of a msghdr. *name is used for sending only.
static long header_in(uaddr_t addr, struct user_msghdr *h, struct vectors *v, struct socket_address *name) {
    if (copy_in_obj(h, addr) < 0)
        return -EFAULT;
    if (!h->name)
        h->name_len = 0;
    if (h->name_len < 0)
        return -EINVAL;
    h->name_len = MIN(h->name_len, SOCKET_ADDRESS_MAX);
    if (name) {
        long err = address_in(name, h->name, h->name_len);
        if (err < 0)
            return err;
    }
    return h->vec_count > IOV_MAX ? -EMSGSIZE : vectors_get(v, h->vec, h->vec_count);
}

static long send_one(struct file *f, uaddr_t addr, int flags) {
    struct user_msghdr h;
    struct vectors v;
    struct socket_address name;
    long n = header_in(addr, &h, &v, &name);
    if (n < 0)
        return n;
    struct socket_message m = {.name = name.len ? &name : NULL};
    if (h.control_len > READ_ONCE(net_settings.optmem_max)) {
        n = -ENOBUFS;
    } else if (h.control_len) {
        m.control_len = h.control_len;
        m.control = kmalloc(h.control_len);
        n = !m.control ? -ENOBUFS : copy_in(m.control, h.control, h.control_len);
    }
    if (n == 0)
        n = socket_send(f, &v.uio, &m, flags);
    kfree(m.control);
    vectors_put(&v);
    return n;
}

// What is told beside the bytes. 0 or -EFAULT, -EINVAL.
static long header_out(uaddr_t addr, const struct user_msghdr *h, const struct socket_message *m) {
    if (h->name) {
        long err = address_out(m->name, h->name, addr + offsetof(struct user_msghdr, name_len));
        if (err < 0)
            return err;
    }
    if (copy_out_obj(addr + offsetof(struct user_msghdr, flags), &m->flags) < 0)
        return -EFAULT;
    // As on Linux a room for control messages that cannot be written is no error: they are lost.
    uint64_t len = m->control_len;
    if (len && copy_out(h->control, m->control, len) < 0)
        len = 0;
    return copy_out_obj(addr + offsetof(struct user_msghdr, control_len), &len);
}

static long receive_one(struct file *f, uaddr_t addr, int flags) {
    struct user_msghdr h;
    struct vectors v;
    struct socket_address name;
    long n = header_in(addr, &h, &v, NULL);
    if (n < 0)
        return n;
    name.len = 0;
    struct socket_message m = {
        .name = h.name ? &name : NULL, .control_max = h.control ? h.control_len : 0, .flags = flags & MSG_CMSG_CLOEXEC};
    n = socket_receive(f, &v.uio, &m, flags);
    if (n >= 0) {
        long err = header_out(addr, &h, &m);
        n = err < 0 ? err : n;
    }
    kfree(m.control);
    vectors_put(&v);
    return n;
}

static long one_message(int fd, uaddr_t msg, unsigned flags, long (*call)(struct file *f, uaddr_t addr, int flags)) {
    struct file *f;
    struct socket *s;
    if (flags & MSG_CMSG_COMPAT)
        return -EINVAL;
    long n = socket_get(fd, &f, &s);
    if (n < 0)
        return n;
    n = call(f, msg, flags);
    file_unref(f);
    return n;
}

long sys_sendmsg(uint64_t fd, uint64_t msg, uint64_t flags) { return one_message(fd, msg, flags, send_one); }

long sys_recvmsg(uint64_t fd, uint64_t msg, uint64_t flags) { return one_message(fd, msg, flags, receive_one); }

// --- Many messages ---

static long length_out(uaddr_t addr, long n) {
    unsigned len = n;
    return copy_out_obj(addr + offsetof(struct user_mmsghdr, len), &len);
}

// The number of messages that were sent or received; the error only when there was none. `err` of later ones is the socket's (SO_ERROR).
long sys_sendmmsg(uint64_t fd, uint64_t vec, uint64_t count, uint64_t flags) {
    struct file *f;
    struct socket *s;
    if ((unsigned)flags & MSG_CMSG_COMPAT)
        return -EINVAL;
    long n = socket_get(fd, &f, &s);
    if (n < 0)
        return n;
    unsigned done = 0;
    count = MIN((unsigned)count, IOV_MAX);
    while (done < count) {
        uaddr_t at = vec + done * sizeof(struct user_mmsghdr);
        n = send_one(f, at, flags);
        if (n >= 0)
            n = length_out(at, n);
        if (n < 0)
            break;
        done++;
        sched_point();
    }
    file_unref(f);
    return done ? (long)done : n;
}

static long receive_many(struct file *f, struct socket *s, uaddr_t vec, unsigned count, unsigned flags,
                         nsec_t deadline) {
    unsigned done = 0;
    long n = flags & MSG_ERRQUEUE ? 0 : socket_error(s);
    while (n >= 0 && done < count) {
        uaddr_t at = vec + done * sizeof(struct user_mmsghdr);
        int out_flags;
        n = receive_one(f, at, flags & ~MSG_WAITFORONE);
        if (n >= 0)
            n = length_out(at, n);
        if (n < 0)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (deadline != NSEC_MAX && deadline <= time_monotonic()) // it is looked at between messages only
            break;
        if (copy_in_obj(&out_flags, at + offsetof(struct user_msghdr, flags)) < 0 || (out_flags & MSG_OOB))
            break;
        sched_point();
    }
    if (n < 0 && done && n != -EAGAIN)
        socket_set_error(s, n <= -ERESTARTSYS ? EINTR : -n);
    return done ? (long)done : n;
}

long sys_recvmmsg(uint64_t fd, uint64_t vec, uint64_t count, uint64_t flags, uint64_t timeout) {
    struct file *f;
    struct socket *s;
    nsec_t deadline;
    if ((unsigned)flags & MSG_CMSG_COMPAT)
        return -EINVAL;
    long n = deadline_from_user(timeout, &deadline);
    if (n < 0)
        return n;
    n = socket_get(fd, &f, &s);
    if (n < 0)
        return n;
    n = receive_many(f, s, vec, count, flags, deadline);
    file_unref(f);
    return n > 0 ? deadline_left_to_user(timeout, deadline, n) : n;
}
