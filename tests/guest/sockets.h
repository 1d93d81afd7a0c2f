// What the tests of sockets share: addresses, messages with descriptors and credentials, readiness. After check.h.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#define HEADER offsetof(struct sockaddr_un, sun_path)

static inline struct sockaddr_un unix_path(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    return a;
}

// An abstract name that nobody else on this machine has.
static inline socklen_t unix_abstract(struct sockaddr_un *a, const char *name)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    int n = snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "knarr-%s-%d", name, (int)getpid());
    return HEADER + 1 + (socklen_t)n;
}

static inline void show_name(const char *what, int fd, bool peer)
{
    struct sockaddr_un a;
    socklen_t len = sizeof a;
    memset(&a, 'x', sizeof a);
    int r = peer ? getpeername(fd, (void *)&a, &len) : getsockname(fd, (void *)&a, &len);
    if (r)
        printf("%s: %s\n", what, errno_name(errno));
    else if (len <= HEADER)
        printf("%s: family %d, length %u, no name\n", what, a.sun_family, len);
    else
        printf("%s: family %d, length %u, %s%.*s\n", what, a.sun_family, len, a.sun_path[0] ? "" : "abstract ",
               a.sun_path[0] ? (int)(len - HEADER) : 0, a.sun_path);
}

static inline void pair(int type, int v[2])
{
    if (socketpair(AF_UNIX, type, 0, v))
        give_up("socketpair");
}

static inline void show_events(const char *what, int fd)
{
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND, 0};
    int n = poll(&p, 1, 0);
    printf("%s: poll %d", what, n);
    static const struct { short bit; const char *name; } bits[] = {
        {POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"},
        {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"}};
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (p.revents & bits[i].bit)
            printf(" %s", bits[i].name);
    printf("\n");
}

static inline void show_error(const char *what, int fd)
{
    int e = -1;
    socklen_t len = sizeof e;
    int r = getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
    printf("%s: SO_ERROR %d, %s\n", what, r, e ? errno_name(e) : "none");
}

// sendmsg with `count` descriptors (and credentials, when not NULL).
static inline ssize_t send_with(int fd, const void *data, size_t n, const int *fds, int count, const struct ucred *cred, int flags)
{
    static _Alignas(struct cmsghdr) char control[4096];
    struct iovec v = {(void *)data, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    memset(control, 0, sizeof control);
    struct cmsghdr *c = (struct cmsghdr *)control;
    size_t used = 0;
    if (count) {
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)count);
        used += CMSG_SPACE(sizeof(int) * (size_t)count);
    }
    if (cred) {
        c = (struct cmsghdr *)(control + used);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof *cred), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS};
        memcpy(CMSG_DATA(c), cred, sizeof *cred);
        used += CMSG_SPACE(sizeof *cred);
    }
    m.msg_control = used ? control : NULL;
    m.msg_controllen = used;
    return sendmsg(fd, &m, flags);
}

struct received {
    ssize_t n;
    int count, fds[256], flags;
    bool has_cred;
    struct ucred cred;
    size_t control_len;
};

static inline struct received receive_with(int fd, void *data, size_t n, size_t room, int flags)
{
    static _Alignas(struct cmsghdr) char control[4096];
    struct iovec v = {data, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room ? control : NULL, .msg_controllen = room};
    struct received r = {0};
    memset(control, 0, sizeof control);
    r.n = recvmsg(fd, &m, flags);
    if (r.n < 0)
        return r;
    r.flags = m.msg_flags;
    r.control_len = m.msg_controllen;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_type == SCM_RIGHTS) {
            r.count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(r.fds, CMSG_DATA(c), sizeof(int) * (size_t)r.count);
        } else if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof r.cred)) {
            r.has_cred = true;
            memcpy(&r.cred, CMSG_DATA(c), sizeof r.cred);
        }
    }
    return r;
}

static inline void show_received(const char *what, struct received r)
{
    if (r.n < 0) {
        printf("%s: %s\n", what, errno_name(errno));
        return;
    }
    printf("%s: %zd bytes, %d descriptors, flags %#x, control %zu", what, r.n, r.count, (unsigned)r.flags, r.control_len);
    if (r.has_cred)
        printf(", from %s uid %d gid %d", r.cred.pid == getpid() ? "itself" : r.cred.pid ? "another" : "nobody", (int)r.cred.uid,
               (int)r.cred.gid);
    printf("\n");
}

static inline void close_received(const struct received *r)
{
    for (int i = 0; i < r->count; i++)
        close(r->fds[i]);
}
