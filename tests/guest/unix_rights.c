// Descriptors and credentials in messages: SCM_RIGHTS with files of all kinds, cut off, peeked at, lost, sockets within sockets,
// cycles that only a collector can close; SCM_CREDENTIALS, SO_PASSCRED, SO_PEERCRED, and what one may not claim to be.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char buf[100000];

static int count_open(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static bool same_file(int a, int b)
{
    struct stat s, t;
    return !fstat(a, &s) && !fstat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static void rights(int type, const char *title)
{
    int v[2], p[2], before = count_open();
    struct received r;
    section(title);
    pair(type, v);
    pipe(p);
    int fds[] = {p[1], 1, v[0]};
    SHOW(send_with(v[0], "three", 5, fds, 3, NULL, 0));
    SHOW(send_with(v[0], "plain", 5, NULL, 0, NULL, 0));
    r = receive_with(v[1], buf, 100, 1000, MSG_CMSG_CLOEXEC);
    show_received("with three", r);
    HOLDS(r.count == 3 && same_file(r.fds[0], p[1]) && same_file(r.fds[1], 1) && same_file(r.fds[2], v[0]));
    HOLDS(r.count == 3 && fcntl(r.fds[0], F_GETFD) == FD_CLOEXEC);
    write(r.fds[0], "through", 7);
    SHOW(read(p[0], buf, 100));
    close_received(&r);
    r = receive_with(v[1], buf, 100, 1000, 0);
    show_received("plain", r);
    // A read ends behind the bytes that came with descriptors.
    write(v[0], "before ", 7);
    send_with(v[0], "with", 4, fds, 1, NULL, 0);
    write(v[0], "behind", 6);
    r = receive_with(v[1], buf, 100, 1000, 0);
    show_received("first", r);
    close_received(&r);
    r = receive_with(v[1], buf, 100, 1000, 0);
    show_received("second", r);
    close_received(&r);
    r = receive_with(v[1], buf, 100, 1000, MSG_DONTWAIT);
    show_received("third", r);
    close_received(&r);
    // Partly read: the first part has them.
    send_with(v[0], "partly", 6, fds, 2, NULL, 0);
    r = receive_with(v[1], buf, 2, 1000, 0);
    show_received("part", r);
    close_received(&r);
    r = receive_with(v[1], buf, 100, 1000, MSG_DONTWAIT);
    show_received("the rest", r);
    // Peeked at: once more with each look.
    send_with(v[0], "peek", 4, fds, 2, NULL, 0);
    r = receive_with(v[1], buf, 100, 1000, MSG_PEEK);
    show_received("peeked", r);
    HOLDS(r.count == 2 && same_file(r.fds[0], p[1]));
    close_received(&r);
    r = receive_with(v[1], buf, 100, 1000, 0);
    show_received("taken", r);
    close_received(&r);
    // No room, little room.
    send_with(v[0], "1", 1, fds, 3, NULL, 0);
    r = receive_with(v[1], buf, 100, 0, 0);
    show_received("no room", r);
    send_with(v[0], "2", 1, fds, 3, NULL, 0);
    r = receive_with(v[1], buf, 100, CMSG_LEN(2 * sizeof(int)), 0);
    show_received("room for two", r);
    close_received(&r);
    send_with(v[0], "3", 1, fds, 3, NULL, 0);
    r = receive_with(v[1], buf, 100, 10, 0);
    show_received("10 bytes", r);
    send_with(v[0], "4", 1, fds, 3, NULL, 0);
    SHOW(read(v[1], buf, 100));
    send_with(v[0], "5", 1, fds, 3, NULL, 0);
    SHOW(recv(v[1], buf, 100, MSG_PEEK));
    SHOW(recv(v[1], buf, 100, 0));
    // What is wrong.
    int bad[] = {p[0], 999};
    SHOW(send_with(v[0], "x", 1, bad, 2, NULL, 0));
    bad[1] = -1;
    SHOW(send_with(v[0], "x", 1, bad, 2, NULL, 0));
    int lots[260];
    for (int i = 0; i < 260; i++)
        lots[i] = p[0];
    SHOW(send_with(v[0], "x", 1, lots, 254, NULL, 0));
    SHOW(send_with(v[0], "x", 1, lots, 253, NULL, 0));
    r = receive_with(v[1], buf, 100, 2000, MSG_DONTWAIT);
    show_received("253", r);
    close_received(&r);
    SHOW(send_with(v[0], "", 0, fds, 1, NULL, 0));
    r = receive_with(v[1], buf, 100, 2000, MSG_DONTWAIT);
    show_received("empty", r);
    close_received(&r);
    // A descriptor that is closed while it is under way, and one that is alone there.
    int q[2];
    pipe(q);
    send_with(v[0], "y", 1, &q[1], 1, NULL, 0);
    close(q[1]);
    fcntl(q[0], F_SETFL, O_NONBLOCK);
    SHOW(read(q[0], buf, 1));
    r = receive_with(v[1], buf, 100, 2000, 0);
    SHOW(write(r.fds[0], "z", 1));
    close_received(&r);
    SHOW(read(q[0], buf, 1));
    SHOW(read(q[0], buf, 1));
    close(q[0]);
    pipe(q);
    send_with(v[0], "y", 1, &q[1], 1, NULL, 0);
    close(q[1]);
    close(v[0]);
    close(v[1]); // never received
    SHOW(read(q[0], buf, 1));
    close(q[0]);
    // No more descriptors to be had.
    pair(type, v);
    struct rlimit old, few;
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){(rlim_t)dup(0) + 2, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    send_with(v[0], "many", 4, lots, 10, NULL, 0);
    r = receive_with(v[1], buf, 100, 2000, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    show_received("two can be had", r);
    close_received(&r);
    close((int)few.rlim_cur - 2);
    close(v[0]);
    close(v[1]);
    close(p[0]);
    close(p[1]);
    HOLDS(count_open() == before);
}

static void control_errors(void)
{
    int v[2];
    section("control messages");
    pair(SOCK_STREAM, v);
    struct iovec iov = {"x", 1};
    _Alignas(struct cmsghdr) char control[100] = {0};
    struct cmsghdr *c = (struct cmsghdr *)control;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(4)};
    *c = (struct cmsghdr){.cmsg_len = 8, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    SHOW(sendmsg(v[0], &m, 0));
    c->cmsg_len = 50;
    SHOW(sendmsg(v[0], &m, 0));
    c->cmsg_len = CMSG_LEN(4);
    c->cmsg_type = 77;
    SHOW(sendmsg(v[0], &m, 0));
    c->cmsg_level = 77;
    SHOW(sendmsg(v[0], &m, 0)); // of another level: not its business
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2);
    SHOW(sendmsg(v[0], &m, 0)); // not one whole descriptor
    m.msg_controllen = 10;
    SHOW(sendmsg(v[0], &m, 0)); // not one whole header
    m.msg_control = (void *)8;
    m.msg_controllen = 32;
    SHOW(syscall(SYS_sendmsg, v[0], &m, 0));
    struct received r = receive_with(v[1], buf, 100, 100, 0);
    show_received("what came", r);
    send_with(v[0], "x", 1, &v[0], 1, NULL, 0);
    m = (struct msghdr){.msg_iov = &(struct iovec){buf, 10}, .msg_iovlen = 1, .msg_control = (void *)8, .msg_controllen = 0};
    SHOW(syscall(SYS_recvmsg, v[1], &m, 0));
    printf("flags %#x\n", (unsigned)m.msg_flags);
    close(v[0]);
    close(v[1]);
}

static void show_peer(const char *what, int fd)
{
    struct ucred u;
    socklen_t len = sizeof u;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len))
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: %s uid %d gid %d\n", what, u.pid == getpid() ? "itself" : u.pid == 0 ? "nobody" : "another", (int)u.uid, (int)u.gid);
}

static void credentials(void)
{
    int v[2], one = 1, zero = 0;
    struct received r;
    section("credentials");
    pair(SOCK_STREAM, v);
    show_peer("a pair", v[0]);
    r = receive_with(v[1], buf, 1, 100, MSG_DONTWAIT);
    write(v[0], "not asked", 9);
    SHOW(setsockopt(v[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    write(v[0], "asked", 5);
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("written before", r);
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("written after", r);
    struct ucred u = {getpid(), getuid(), getgid()};
    SHOW(send_with(v[0], "mine", 4, &one, 1, &u, 0));
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("mine and a descriptor", r);
    close_received(&r);
    write(v[0], "abc", 3);
    r = receive_with(v[1], buf, 100, 20, 0);
    show_received("little room", r);
    write(v[0], "abc", 3);
    r = receive_with(v[1], buf, 100, 0, 0);
    show_received("no room", r);
    SHOW(setsockopt(v[1], SOL_SOCKET, SO_PASSCRED, &zero, sizeof zero));
    send_with(v[0], "mine", 4, NULL, 0, &u, 0);
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("not wanted", r);
    // From two processes: not glued together.
    setsockopt(v[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    write(v[0], "parent", 6);
    pid_t pid = fork();
    if (!pid) {
        write(v[0], "child", 5);
        write(v[0], "child", 5);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    write(v[0], "parent", 6);
    for (int i = 0; i < 3; i++) {
        r = receive_with(v[1], buf, 100, 100, 0);
        show_received("one writer's", r);
    }
    close(v[0]);
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("end", r);
    close(v[1]);

    pair(SOCK_DGRAM, v);
    setsockopt(v[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
    write(v[0], "datagram", 8);
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("datagram", r);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        if (getuid() == 0 && (setgid(4242) || setuid(4242)))
            _exit(9);
        u = (struct ucred){getpid(), 0, getgid()};
        SHOW(send_with(v[0], "x", 1, NULL, 0, &u, 0));
        u = (struct ucred){getpid(), getuid(), 0};
        SHOW(send_with(v[0], "x", 1, NULL, 0, &u, 0));
        u = (struct ucred){getppid(), getuid(), getgid()};
        SHOW(send_with(v[0], "x", 1, NULL, 0, &u, 0));
        u.pid = getpid();
        SHOW(send_with(v[0], "me", 2, NULL, 0, &u, 0));
        // As many in flight as one may have open.
        struct rlimit few = {50, 50};
        setrlimit(RLIMIT_NOFILE, &few);
        int fds[30];
        for (int i = 0; i < 30; i++)
            fds[i] = 1;
        SHOW(send_with(v[0], "30", 2, fds, 30, NULL, 0));
        SHOW(send_with(v[0], "60", 2, fds, 30, NULL, 0));
        SHOW(send_with(v[0], "too many", 8, fds, 1, NULL, 0));
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("status %d\n", status);
    r = receive_with(v[1], buf, 100, 100, 0);
    show_received("the child's", r);
    u = (struct ucred){1 << 30, 0, 0};
    SHOW(send_with(v[0], "x", 1, NULL, 0, &u, 0));
    close(v[0]);
    close(v[1]);

    struct sockaddr_un a;
    socklen_t la = unix_abstract(&a, "cred");
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    show_peer("new", c);
    gid_t groups[100];
    socklen_t len = sizeof groups;
    SHOW(getsockopt(c, SOL_SOCKET, SO_PEERGROUPS, groups, &len));
    bind(s, (void *)&a, la);
    listen(s, 5);
    show_peer("listening", s);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        connect(c, (void *)&a, la);
        show_peer("the listener", c);
        fflush(stdout);
        _exit(0);
    }
    int e = accept(s, NULL, NULL);
    waitpid(pid, &status, 0);
    show_peer("the client", e);
    len = sizeof groups;
    SHOW_OK(getsockopt(e, SOL_SOCKET, SO_PEERGROUPS, groups, &len));
    HOLDS((int)(len / sizeof(gid_t)) == getgroups(0, NULL));
    SHOW(getsockopt(e, SOL_SOCKET, SO_PEERSEC, groups, &len));
    close(e);
    close(s);
    close(c);
}

// Is the other end of this pipe still held by anybody?
static const char *held(int fd)
{
    char c;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return read(fd, &c, 1) == 0 ? "closed" : "held";
}

static void cycles(void)
{
    int v[2], w[2], p[2];
    section("cycles");
    // Each end of a pair in the other's queue, with a pipe.
    pair(SOCK_STREAM, v);
    pipe(p);
    send_with(v[0], "a", 1, (int[]){v[0], p[1]}, 2, NULL, 0);
    send_with(v[1], "b", 1, (int[]){v[1]}, 1, NULL, 0);
    close(p[1]);
    close(v[0]);
    printf("one end open: %s\n", held(p[0]));
    close(v[1]);
    close(socket(AF_UNIX, SOCK_STREAM, 0)); // on some kernels the collector runs later
    for (int i = 0; i < 500 && !strcmp(held(p[0]), "held"); i++)
        usleep(10000);
    printf("both closed: %s\n", held(p[0]));
    close(p[0]);
    // A socket in its own queue.
    int d = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un a;
    socklen_t la = unix_abstract(&a, "own");
    bind(d, (void *)&a, la);
    connect(d, (void *)&a, la);
    pipe(p);
    send_with(d, "me", 2, (int[]){d, p[1]}, 2, NULL, 0);
    close(p[1]);
    close(d);
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    for (int i = 0; i < 500 && !strcmp(held(p[0]), "held"); i++)
        usleep(10000);
    printf("in its own queue: %s\n", held(p[0]));
    close(p[0]);
    // In flight, but to be had: the collector leaves it alone.
    pair(SOCK_STREAM, v);
    pair(SOCK_STREAM, w);
    pipe(p);
    send_with(w[0], "inner", 5, &p[1], 1, NULL, 0);
    send_with(v[0], "outer", 5, (int[]){w[0], w[1]}, 2, NULL, 0);
    close(p[1]);
    close(w[0]);
    close(w[1]);
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    usleep(20000);
    printf("nested: %s\n", held(p[0]));
    struct received r = receive_with(v[1], buf, 100, 100, 0);
    show_received("outer", r);
    struct received i = receive_with(r.fds[1], buf, 100, 100, 0);
    show_received("inner", i);
    close_received(&i);
    close_received(&r);
    printf("after all: %s\n", held(p[0]));
    close(p[0]);
    // In a connection that nobody accepts, of a listener that is in it.
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    la = unix_abstract(&a, "listener");
    bind(s, (void *)&a, la);
    listen(s, 5);
    connect(c, (void *)&a, la);
    pipe(p);
    send_with(c, "x", 1, (int[]){s, c, p[1]}, 3, NULL, 0);
    close(p[1]);
    close(c);
    printf("the listener open: %s\n", held(p[0]));
    close(s);
    close(socket(AF_UNIX, SOCK_STREAM, 0));
    for (int k = 0; k < 500 && !strcmp(held(p[0]), "held"); k++)
        usleep(10000);
    printf("the listener closed: %s\n", held(p[0]));
    close(p[0]);
    // A long chain, each in the queue of the next: closed without recursion.
    pipe(p);
    pair(SOCK_STREAM, v);
    send_with(v[0], "end", 3, &p[1], 1, NULL, 0);
    close(p[1]);
    for (int k = 0; k < 2000; k++) {
        pair(SOCK_STREAM, w);
        send_with(w[0], "link", 4, v, 2, NULL, 0);
        close(v[0]);
        close(v[1]);
        v[0] = w[0];
        v[1] = w[1];
    }
    printf("a chain: %s\n", held(p[0]));
    close(v[0]);
    close(v[1]);
    for (int k = 0; k < 500 && !strcmp(held(p[0]), "held"); k++)
        usleep(10000);
    printf("a chain let go: %s\n", held(p[0]));
    close(p[0]);
}

// An urgent byte brings no descriptors with it; those that were sent with it are closed.
static void urgent(void)
{
    int v[2], p[2];
    section("descriptors with an urgent byte");
    for (int received = 0; received < 2; received++) {
        pair(SOCK_STREAM, v);
        pipe2(p, O_NONBLOCK);
        SHOW(send_with(v[0], "!", 1, &p[1], 1, NULL, MSG_OOB));
        close(p[1]);
        SHOW(read(p[0], buf, 1));
        if (received)
            SHOW(recv(v[1], buf, 1, MSG_OOB));
        SHOW(write(v[0], "behind", 6));
        SHOW(read(v[1], buf, 100));
        SHOW(read(p[0], buf, 1));
        close(v[0]);
        close(v[1]);
        close(p[0]);
    }
}

// No descriptor for a connection: it is accepted later.
static void full_table(void)
{
    struct sockaddr_un a;
    socklen_t len = unix_abstract(&a, "full");
    struct rlimit old, few;
    section("accept without a descriptor to be had");
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(l, (void *)&a, len));
    SHOW(listen(l, 5));
    SHOW(connect(c, (void *)&a, len));
    SHOW(write(c, "hello", 5));
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){(rlim_t)dup(0) + 1, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    SHOW(accept(l, NULL, NULL));
    SHOW(accept(c, NULL, NULL));
    SHOW(accept(1, NULL, NULL));
    SHOW(accept(999, NULL, NULL));
    setrlimit(RLIMIT_NOFILE, &old);
    fcntl(l, F_SETFL, O_NONBLOCK);
    int s = accept(l, NULL, NULL);
    SHOW(read(s, buf, 100));
    SHOW(accept(l, NULL, NULL));
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(100);
    setvbuf(stdout, NULL, _IOLBF, 0);
    rights(SOCK_STREAM, "descriptors through a stream");
    rights(SOCK_DGRAM, "descriptors through datagrams");
    rights(SOCK_SEQPACKET, "descriptors through records");
    control_errors();
    credentials();
    cycles();
    urgent();
    full_table();
    return 0;
}
