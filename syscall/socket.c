// socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), getsockname(2), getpeername(2), shutdown(2) and options.
// What is sent and received: syscall/socket_message.c.
#include "syscall/socket.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "net/inet/sysctl.h"
#include "syscall/syscall.h"
#include <asm/socket.h>

#define LARGE_OPTION_MAX (1u << 18) // SO_PEERGROUPS of the longest list of groups

// --- What the calls share ---

long socket_get(int fd, struct file **f, struct socket **s) {
    *f = fd_get(fd);
    if (!*f)
        return -EBADF;
    *s = file_socket(*f);
    if (!*s) {
        file_unref(*f);
        return -ENOTSOCK;
    }
    return 0;
}

long address_in(struct socket_address *a, uaddr_t addr, int len) {
    if (len < 0 || len > SOCKET_ADDRESS_MAX)
        return -EINVAL;
    a->len = len;
    a->family = AF_UNSPEC;
    return len && copy_in(a->data, addr, len) < 0 ? -EFAULT : 0;
}

long address_out(const struct socket_address *a, uaddr_t addr, uaddr_t len_addr) {
    int room, len = a->len;
    if (copy_in_obj(&room, len_addr) < 0)
        return -EFAULT;
    room = MIN(room, len);
    if (room < 0)
        return -EINVAL;
    if (room && copy_out(addr, a->data, room) < 0)
        return -EFAULT;
    return copy_out_obj(len_addr, &len);
}

// --- New sockets ---

long sys_socket(uint64_t family, uint64_t type, uint64_t protocol) {
    unsigned flags = (unsigned)type & ~SOCK_TYPE_MASK;
    if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    struct socket *s = socket_create(family, type & SOCK_TYPE_MASK, protocol);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct file *f = socket_file(s, flags);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
}

static long make_pair(struct file *ends[2], int family, int type, int protocol, unsigned flags) {
    struct socket *s[2];
    for (int i = 0; i < 2; i++) {
        s[i] = socket_create(family, type, protocol);
        ends[i] = IS_ERR(s[i]) ? (struct file *)s[i] : socket_file(s[i], flags);
        if (IS_ERR(ends[i])) {
            if (i)
                file_unref(ends[0]);
            return PTR_ERR(ends[i]);
        }
    }
    int err = s[0]->ops->pair ? s[0]->ops->pair(s[0], s[1]) : -EOPNOTSUPP;
    if (err < 0) {
        file_unref(ends[0]);
        file_unref(ends[1]);
    }
    return err;
}

long sys_socketpair(uint64_t family, uint64_t type, uint64_t protocol, uint64_t out) {
    unsigned flags = (unsigned)type & ~SOCK_TYPE_MASK;
    struct file *ends[2];
    int fds[2] = {-1, -1};
    if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    if (copy_out_obj(out, &fds) < 0) // before anything is made, as Linux does
        return -EFAULT;
    long err = make_pair(ends, family, type & SOCK_TYPE_MASK, protocol, flags);
    if (err < 0)
        return err;
    fds[0] = fd_install(ends[0], flags);
    fds[1] = fds[0] < 0 ? fds[0] : (int)fd_install(ends[1], flags);
    if (fds[0] < 0)
        file_unref(ends[1]);
    else if (fds[1] < 0)
        fd_close(fds[0]);
    if (fds[1] < 0)
        return fds[1];
    if (copy_out_obj(out, &fds) < 0) {
        fd_close(fds[0]);
        fd_close(fds[1]);
        return -EFAULT;
    }
    return 0;
}

// --- Names and connections ---

static long bind_file(struct file *f, struct socket *s, const struct socket_address *a) {
    return s->ops->bind ? s->ops->bind(s, a) : -EOPNOTSUPP;
}

static long connect_file(struct file *f, struct socket *s, const struct socket_address *a) {
    return s->ops->connect ? s->ops->connect(s, a, f->flags & O_NONBLOCK) : -EOPNOTSUPP;
}

static long with_address(int fd, uaddr_t addr, int len,
                         long (*call)(struct file *f, struct socket *s, const struct socket_address *a)) {
    struct file *f;
    struct socket *s;
    struct socket_address a;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    err = address_in(&a, addr, len);
    if (err == 0)
        err = call(f, s, &a);
    file_unref(f);
    return err;
}

long sys_bind(uint64_t fd, uint64_t addr, uint64_t len) { return with_address(fd, addr, len, bind_file); }

long sys_connect(uint64_t fd, uint64_t addr, uint64_t len) { return with_address(fd, addr, len, connect_file); }

long sys_listen(uint64_t fd, uint64_t backlog) {
    struct file *f;
    struct socket *s;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    err = s->ops->listen ? s->ops->listen(s, MIN((uint32_t)backlog, READ_ONCE(net_settings.somaxconn))) : -EOPNOTSUPP;
    file_unref(f);
    return err;
}

static long accept_from(struct file *f, struct socket *s, uaddr_t addr, uaddr_t len_addr, unsigned flags) {
    if (!s->ops->accept)
        return -EOPNOTSUPP;
    struct socket *new = s->ops->accept(s, f->flags & O_NONBLOCK);
    if (IS_ERR(new))
        return PTR_ERR(new);
    struct file *file = socket_file(new, flags);
    if (IS_ERR(file))
        return PTR_ERR(file);
    struct socket_address a;
    long err = 0;
    if (addr) {
        err = new->ops->name(new, &a, true) < 0 ? -ECONNABORTED : address_out(&a, addr, len_addr);
        if (err < 0) {
            file_unref(file);
            return err;
        }
    }
    return fd_install(file, flags);
}

long sys_accept4(uint64_t fd, uint64_t addr, uint64_t len_addr, uint64_t flags) {
    struct file *f;
    struct socket *s;
    f = fd_get(fd);
    if (!f)
        return -EBADF;
    long err =
        (unsigned)flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK) ? -EINVAL : fd_room(); // the connection must not be lost
    if (!err) {
        s = file_socket(f);
        err = s ? accept_from(f, s, addr, len_addr, flags) : -ENOTSOCK;
    }
    file_unref(f);
    return err;
}

long sys_accept(uint64_t fd, uint64_t addr, uint64_t len_addr) { return sys_accept4(fd, addr, len_addr, 0); }

static long get_name(int fd, uaddr_t addr, uaddr_t len_addr, bool peer) {
    struct file *f;
    struct socket *s;
    struct socket_address a;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    err = s->ops->name ? s->ops->name(s, &a, peer) : -EOPNOTSUPP;
    if (err >= 0)
        err = address_out(&a, addr, len_addr);
    file_unref(f);
    return err;
}

long sys_getsockname(uint64_t fd, uint64_t addr, uint64_t len_addr) { return get_name(fd, addr, len_addr, false); }

long sys_getpeername(uint64_t fd, uint64_t addr, uint64_t len_addr) { return get_name(fd, addr, len_addr, true); }

long sys_shutdown(uint64_t fd, uint64_t how) {
    struct file *f;
    struct socket *s;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    if ((unsigned)how > 2)
        err = -EINVAL;
    else
        err = s->ops->shutdown ? s->ops->shutdown(s, (int)how + 1) : -EOPNOTSUPP;
    file_unref(f);
    return err;
}

// --- Options ---

static long set_option(struct socket *s, int level, int name, uaddr_t value, unsigned len) {
    char buf[SOCKET_OPTION_MAX];
    if (level != SOL_SOCKET && !s->ops->set_option)
        return -EOPNOTSUPP;
    len = MIN(len, (unsigned)sizeof(buf));
    if ((level != SOL_SOCKET || name == SO_BINDTODEVICE || len >= sizeof(int)) && copy_in(buf, value, len) < 0)
        return -EFAULT;
    return socket_set_option(s, level, name, buf, len);
}

long sys_setsockopt(uint64_t fd, uint64_t level, uint64_t name, uint64_t value, uint64_t len) {
    struct file *f;
    struct socket *s;
    if ((int)len < 0)
        return -EINVAL;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    err = set_option(s, level, name, value, len);
    file_unref(f);
    return err;
}

static long get_option(struct socket *s, int level, int name, uaddr_t value, uaddr_t len_addr) {
    char small[SOCKET_OPTION_MAX], *buf = small;
    int len;
    if (level != SOL_SOCKET && !s->ops->get_option)
        return -EOPNOTSUPP;
    if (copy_in_obj(&len, len_addr) < 0)
        return -EFAULT;
    if (len < 0)
        return -EINVAL;
    unsigned room = MIN((unsigned)len, LARGE_OPTION_MAX);
    if (room > sizeof(small) && !(buf = kmalloc(room)))
        return -ENOMEM;
    long err = socket_get_option(s, level, name, buf, &room);
    if (err == 0 && room && copy_out(value, buf, room) < 0)
        err = -EFAULT;
    if ((err == 0 || err == -ERANGE) && copy_out_obj(len_addr, &room) < 0)
        err = -EFAULT;
    if (buf != small)
        kfree(buf);
    return err;
}

long sys_getsockopt(uint64_t fd, uint64_t level, uint64_t name, uint64_t value, uint64_t len_addr) {
    struct file *f;
    struct socket *s;
    long err = socket_get(fd, &f, &s);
    if (err < 0)
        return err;
    err = get_option(s, level, name, value, len_addr);
    file_unref(f);
    return err;
}
