// AF_UNIX SOCK_DGRAM and SOCK_SEQPACKET: boundaries, truncation, empty messages, sender's names, peers and who may send, queues that
// are full, closed and shut-down peers, connect to nobody, sizes, recvmmsg.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"

static char buf[300000];

static void show_data(const char *what, ssize_t n)
{
    if (n < 0)
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: %zd \"%.*s\"\n", what, n, (int)(n > 40 ? 40 : n), buf);
}

static int make(int type)
{
    int s = socket(AF_UNIX, type, 0);
    if (s < 0)
        give_up("socket");
    return s;
}

static int bound(int type, struct sockaddr_un *a, socklen_t *len, const char *name)
{
    int s = make(type);
    *len = unix_abstract(a, name);
    if (bind(s, (void *)a, *len))
        give_up("bind");
    return s;
}

static void boundaries(int type)
{
    int v[2], n;
    pair(type, v);
    SHOW(write(v[0], "one", 3));
    SHOW(write(v[0], "two!", 4));
    SHOW(write(v[0], "", 0));
    SHOW(send(v[0], "", 0, 0));
    SHOW(send(v[0], "three", 5, MSG_EOR));
    SHOW(ioctl(v[1], FIONREAD, &n));
    printf("FIONREAD %d\n", n);
    show_events("readable", v[1]);
    show_data("peek", recv(v[1], buf, 100, MSG_PEEK));
    show_data("peek 2", recv(v[1], buf, 2, MSG_PEEK));
    show_data("peek 2, its length", recv(v[1], buf, 2, MSG_PEEK | MSG_TRUNC));
    show_data("first", read(v[1], buf, 100));
    struct received r = receive_with(v[1], buf, 2, 0, 0);
    show_received("cut", r);
    SHOW(read(v[1], buf, 0));
    show_data("empty", read(v[1], buf, 100));
    show_data("empty", recv(v[1], buf, 100, 0));
    r = receive_with(v[1], buf, 2, 0, MSG_TRUNC);
    show_received("cut, its length", r);
    show_data("no more", recv(v[1], buf, 100, MSG_DONTWAIT));
    SHOW(send(v[0], "x", 1, MSG_OOB));
    SHOW(recv(v[1], buf, 1, MSG_OOB));
    int off = 0;
    SHOW(setsockopt(v[1], SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off));
    write(v[0], "abcd", 4);
    write(v[0], "efgh", 4);
    show_data("peek 3", recv(v[1], buf, 3, MSG_PEEK));
    show_data("peek 3", recv(v[1], buf, 3, MSG_PEEK));
    show_data("peek 3", recv(v[1], buf, 3, MSG_PEEK));
    show_data("read", recv(v[1], buf, 10, 0));
    show_data("peek", recv(v[1], buf, 10, MSG_PEEK));
    show_data("peek behind", recv(v[1], buf, 10, MSG_PEEK | MSG_DONTWAIT));
    close(v[0]);
    show_events("closed", v[1]);
    show_data("rest", recv(v[1], buf, 10, MSG_DONTWAIT));
    show_data("then", recv(v[1], buf, 10, MSG_DONTWAIT));
    SHOW(write(v[1], "x", 1));
    SHOW(write(v[1], "x", 1));
    show_name("peer", v[1], true);
    show_events("after", v[1]);
    close(v[1]);
    pair(type, v);
    write(v[1], "unread", 6);
    close(v[0]);
    show_events("closed unread", v[1]);
    show_error("closed unread", v[1]);
    close(v[1]);
}

static void halves(int type)
{
    int v[2];
    pair(type, v);
    write(v[0], "there", 5);
    SHOW(shutdown(v[0], SHUT_WR));
    show_events("its own side", v[0]);
    show_events("the other side", v[1]);
    SHOW(write(v[0], "x", 1));
    show_data("there", recv(v[1], buf, 10, 0));
    show_data("end", recv(v[1], buf, 10, MSG_DONTWAIT));
    SHOW(shutdown(v[1], SHUT_RD));
    show_data("end", recv(v[1], buf, 10, MSG_DONTWAIT));
    show_data("end", recv(v[1], buf, 10, 0));
    close(v[0]);
    close(v[1]);
    pair(type, v);
    SHOW(shutdown(v[1], SHUT_RD));
    SHOW(write(v[0], "x", 1));
    show_events("the writer", v[0]);
    close(v[0]);
    close(v[1]);
}

static void sizes(int type)
{
    int v[2], size;
    socklen_t len = sizeof size;
    pair(type | SOCK_NONBLOCK, v);
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (char)(i ^ i >> 8);
    static const size_t some[] = {1, 2047, 2048, 2049, 4096, 4097, 8192, 65536, 100001};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        static char back[300000];
        SHOW(write(v[0], buf, some[i]));
        ssize_t n = read(v[1], back, sizeof back);
        printf("%zd %s\n", n, n == (ssize_t)some[i] && !memcmp(buf, back, some[i]) ? "the same" : "DIFFERENT");
    }
    size = 4096;
    SHOW(setsockopt(v[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    SHOW(getsockopt(v[0], SOL_SOCKET, SO_SNDBUF, &size, &len));
    printf("SO_SNDBUF %d\n", size);
    SHOW(write(v[0], buf, (size_t)size - 31));
    SHOW(write(v[0], buf, (size_t)size - 32));
    close(v[0]);
    close(v[1]);
    // How many fit is not told by any standard; that it ends, and goes on when there is room, is.
    pair(type | SOCK_NONBLOCK, v);
    int count = 0, got = 0;
    while (write(v[0], "x", 1) == 1)
        count++;
    printf("then %s\n", errno_name(errno));
    HOLDS(count > 20 && count < 10000);
    show_events("full", v[0]);
    while (got < count * 7 / 8 && read(v[1], buf, 10) == 1)
        got++;
    show_events("room", v[0]);
    SHOW(write(v[0], "x", 1));
    close(v[0]);
    close(v[1]);
}

static void addresses(void)
{
    struct sockaddr_un a, b, c, from;
    socklen_t la, lb, lc, len;
    section("who sends to whom");
    int sa = bound(SOCK_DGRAM, &a, &la, "a"), sb = bound(SOCK_DGRAM, &b, &lb, "b"), sc = make(SOCK_DGRAM);
    SHOW(sendto(sa, "to b", 4, 0, (void *)&b, lb));
    len = sizeof from;
    show_data("at b", recvfrom(sb, buf, 100, 0, (void *)&from, &len));
    HOLDS(len == la && !memcmp(&from, &a, la));
    SHOW(sendto(sc, "unnamed", 7, 0, (void *)&b, lb));
    len = sizeof from;
    show_data("at b", recvfrom(sb, buf, 100, 0, (void *)&from, &len));
    printf("address length %u\n", len);
    SHOW(write(sc, "x", 1));
    SHOW(connect(sc, (void *)&b, lb));
    SHOW(write(sc, "connected", 9));
    show_data("at b", read(sb, buf, 100));
    SHOW(sendto(sc, "elsewhere", 9, 0, (void *)&a, la));
    show_data("at a", read(sa, buf, 100));
    SHOW(connect(sb, (void *)&a, la));
    SHOW(write(sc, "x", 1));
    SHOW(sendto(sc, "x", 1, 0, (void *)&b, lb));
    SHOW(connect(sc, (void *)&b, lb));
    SHOW(write(sb, "from b", 6));
    show_data("at a", read(sa, buf, 100));
    from = (struct sockaddr_un){.sun_family = AF_UNSPEC};
    SHOW(connect(sb, (void *)&from, sizeof from));
    show_name("b's peer", sb, true);
    SHOW(write(sb, "x", 1));
    SHOW(write(sc, "again", 5));
    show_data("at b", read(sb, buf, 100));
    lc = unix_abstract(&c, "nobody");
    SHOW(sendto(sa, "x", 1, 0, (void *)&c, lc));
    SHOW(connect(sa, (void *)&c, lc));
    from = unix_path("nowhere");
    SHOW(sendto(sa, "x", 1, 0, (void *)&from, sizeof from));
    SHOW(sendto(sa, "x", 1, 0, (void *)&from, 2));
    SHOW(sendto(sa, "x", 1, 0, (void *)&from, 0));
    SHOW(sendto(sa, "x", 1, 0, (void *)&from, 129));
    SHOW(sendto(sa, "x", 1, 0, (void *)8, 10));
    from.sun_family = AF_INET;
    SHOW(sendto(sa, "x", 1, 0, (void *)&from, sizeof from));
    close(sb);
    SHOW(write(sc, "x", 1));
    SHOW(write(sc, "x", 1));
    SHOW(sendto(sa, "x", 1, 0, (void *)&b, lb));
    int s = make(SOCK_STREAM);
    SHOW(bind(s, (void *)&c, lc));
    SHOW(connect(sa, (void *)&c, lc));
    SHOW(sendto(sa, "itself", 6, 0, (void *)&a, la));
    show_data("itself", read(sa, buf, 10));
    SHOW(connect(sa, (void *)&a, la));
    SHOW(write(sa, "itself", 6));
    show_data("itself", read(sa, buf, 10));
    close(s);
    close(sa);
    close(sc);

    section("a pair is disconnected");
    int v[2];
    pair(SOCK_DGRAM, v);
    write(v[1], "lost", 4);
    from = (struct sockaddr_un){.sun_family = AF_UNSPEC};
    SHOW(connect(v[0], (void *)&from, sizeof from));
    show_data("lost", recv(v[0], buf, 10, MSG_DONTWAIT));
    show_error("the other side", v[1]);
    SHOW(write(v[1], "x", 1));
    close(v[0]);
    close(v[1]);
}

static void crowded(void)
{
    struct sockaddr_un a;
    socklen_t la;
    section("a full queue");
    int s = bound(SOCK_DGRAM, &a, &la, "crowded"), c = make(SOCK_DGRAM | SOCK_NONBLOCK), d = make(SOCK_DGRAM);
    SHOW(connect(c, (void *)&a, la));
    show_events("empty", c);
    int count = 0;
    while (write(c, "x", 1) == 1)
        count++;
    printf("%s\n", errno_name(errno));
    HOLDS(count > 5 && count < 600); // net.unix.max_dgram_qlen is the host's
    show_events("full", c);
    show_events("a stranger", d);
    SHOW(sendto(d, "x", 1, MSG_DONTWAIT, (void *)&a, la));
    read(s, buf, 10);
    show_events("room", c);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) { // waits for room
        connect(d, (void *)&a, la);
        for (int i = 0; i < 50; i++)
            if (write(d, "y", 1) != 1)
                _exit(1);
        _exit(0);
    }
    int left = count - 1 + 50, status;
    while (left && read(s, buf, 10) == 1)
        left--;
    waitpid(pid, &status, 0);
    printf("left %d, status %d\n", left, status);
    while (write(c, "x", 1) == 1)
        ;
    close(s);
    show_events("closed", c);
    SHOW(write(c, "x", 1));
    SHOW(write(c, "x", 1));
    close(c);
    close(d);
}

static void connections(void)
{
    struct sockaddr_un a;
    socklen_t la;
    section("connections of SOCK_SEQPACKET");
    int s = bound(SOCK_SEQPACKET, &a, &la, "seq"), c = make(SOCK_SEQPACKET);
    SHOW(write(c, "x", 1));
    SHOW(read(c, buf, 1));
    show_events("new", c);
    SHOW(connect(c, (void *)&a, la));
    SHOW(listen(s, 1));
    SHOW(connect(c, (void *)&a, la));
    SHOW(connect(c, (void *)&a, la));
    int e = accept(s, NULL, NULL);
    for (int i = 0; i < 12; i++)
        if (write(c, "record", 6) != 6)
            give_up("write");
    SHOW(sendto(c, "last", 4, 0, (void *)&a, la));
    int n = 0;
    while (recv(e, buf, 100, MSG_DONTWAIT) == 6)
        n++;
    printf("%d records, \"%.4s\"\n", n, buf);
    struct sockaddr_un from = {.sun_family = AF_UNSPEC};
    SHOW(connect(c, (void *)&from, sizeof from));
    SHOW(read(s, buf, 1));
    SHOW(write(s, buf, 1));
    close(e);
    show_events("closed", c);
    show_data("end", read(c, buf, 1));
    SHOW(write(c, "x", 1));
    close(c);
    close(s);
}

static void many(void)
{
    int v[2];
    section("recvmmsg");
    pair(SOCK_DGRAM, v);
    write(v[0], "one", 3);
    write(v[0], "second", 6);
    write(v[0], "3", 1);
    char space[4][5];
    struct iovec in[4];
    struct mmsghdr r[4];
    memset(r, 0, sizeof r);
    for (int i = 0; i < 4; i++) {
        in[i] = (struct iovec){space[i], 5};
        r[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    }
    struct timespec t = {10, 0};
    SHOW(recvmmsg(v[1], r, 4, MSG_DONTWAIT, &t));
    for (int i = 0; i < 3; i++)
        printf("%u %#x \"%.*s\"\n", r[i].msg_len, (unsigned)r[i].msg_hdr.msg_flags, (int)r[i].msg_len, space[i]);
    HOLDS(t.tv_sec == 9 && t.tv_nsec > 0);
    struct mmsghdr o[3];
    memset(o, 0, sizeof o);
    for (int i = 0; i < 3; i++)
        o[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    o[2].msg_hdr.msg_iov = (void *)8;
    SHOW(sendmmsg(v[0], o, 3, 0));
    t = (struct timespec){0, 0};
    SHOW(recvmmsg(v[1], r, 4, 0, &t));
    SHOW(recvmmsg(v[1], r, 4, MSG_WAITFORONE, NULL));
    close(v[0]);
    close(v[1]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(60);
    setvbuf(stdout, NULL, _IOLBF, 0);
    section("datagrams");
    boundaries(SOCK_DGRAM);
    section("records");
    boundaries(SOCK_SEQPACKET);
    section("halves of datagram sockets");
    halves(SOCK_DGRAM);
    section("halves of record sockets");
    halves(SOCK_SEQPACKET);
    section("sizes of datagrams");
    sizes(SOCK_DGRAM);
    section("sizes of records");
    sizes(SOCK_SEQPACKET);
    addresses();
    crowded();
    connections();
    many();
    return 0;
}
