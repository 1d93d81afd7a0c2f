// AF_UNIX streams: pairs, partial reads, MSG_PEEK, MSG_WAITALL, MSG_TRUNC, SO_PEEK_OFF, urgent bytes, shutdown, hang-up, reset,
// SIGPIPE, full buffers, ioctls, vectors, sendfile, and a megabyte between two processes.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static char buf[70000], out[70000];
static volatile int pipes;

static void on_pipe(int signal)
{
    (void)signal;
    pipes++;
}

static void show_data(const char *what, ssize_t n)
{
    if (n < 0)
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: %zd \"%.*s\"\n", what, n, (int)(n > 40 ? 40 : n), buf);
}

static void basics(void)
{
    int v[2], n;
    struct stat st;
    pair(SOCK_STREAM | SOCK_CLOEXEC, v);
    section("basics");
    fstat(v[0], &st);
    printf("type %o, size %ld\n", st.st_mode & S_IFMT, (long)st.st_size);
    printf("cloexec %d, flags %#x\n", fcntl(v[0], F_GETFD), fcntl(v[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
    SHOW(write(v[0], "hello ", 6));
    SHOW(send(v[0], "world", 5, 0));
    SHOW(ioctl(v[1], FIONREAD, &n));
    printf("FIONREAD %d\n", n);
    show_data("read 3", read(v[1], buf, 3));
    show_data("peek", recv(v[1], buf, 100, MSG_PEEK));
    show_data("peek", recv(v[1], buf, 4, MSG_PEEK | MSG_TRUNC));
    show_data("read all", read(v[1], buf, 100));
    show_data("dontwait", recv(v[1], buf, 100, MSG_DONTWAIT));
    SHOW(read(v[1], buf, 0));
    SHOW(write(v[1], buf, 0));
    SHOW(send(v[1], buf, 0, 0));
    SHOW(recv(v[1], buf, 0, MSG_DONTWAIT));
    SHOW(lseek(v[0], 0, SEEK_CUR));
    SHOW(pread(v[0], buf, 1, 0));
    SHOW(pwrite(v[0], buf, 1, 0));
    SHOW(ftruncate(v[0], 0));
    SHOW(fsync(v[0]));
    SHOW_OK((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, v[0], 0));
    SHOW(ioctl(v[0], TIOCGWINSZ, buf));
    SHOW(sendto(v[0], "x", 1, 0, (void *)&(struct sockaddr_un){AF_UNIX, "x"}, 10));
    int one = 1;
    SHOW(ioctl(v[0], FIONBIO, &one));
    SHOW(read(v[0], buf, 1));
    SHOW(fcntl(v[0], F_SETFL, 0));
    struct iovec w[3] = {{"ab", 2}, {"", 0}, {"cde", 3}}, r[2] = {{buf, 1}, {buf + 1, 10}};
    SHOW(writev(v[0], w, 3));
    show_data("readv", readv(v[1], r, 2));
    struct sockaddr_un from;
    socklen_t len = sizeof from;
    write(v[0], "x", 1);
    show_data("recvfrom", recvfrom(v[1], buf, 10, 0, (void *)&from, &len));
    printf("address length %u\n", len);
    close(v[0]);
    close(v[1]);
}

static void peeking(void)
{
    int v[2], off = 0;
    pair(SOCK_STREAM, v);
    section("SO_PEEK_OFF");
    SHOW(setsockopt(v[1], SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off));
    write(v[0], "abcdefgh", 8);
    show_data("peek 3", recv(v[1], buf, 3, MSG_PEEK));
    show_data("peek 3", recv(v[1], buf, 3, MSG_PEEK));
    show_data("read 2", recv(v[1], buf, 2, 0));
    show_data("peek 9", recv(v[1], buf, 9, MSG_PEEK));
    show_data("peek at the end", recv(v[1], buf, 9, MSG_PEEK | MSG_DONTWAIT));
    socklen_t len = sizeof off;
    getsockopt(v[1], SOL_SOCKET, SO_PEEK_OFF, &off, &len);
    printf("offset %d\n", off);
    off = -1;
    SHOW(setsockopt(v[1], SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off));
    show_data("peek", recv(v[1], buf, 9, MSG_PEEK));
    close(v[0]);
    close(v[1]);
}

static void urgent(void)
{
    int v[2], mark = -1;
    pair(SOCK_STREAM, v);
    section("urgent bytes");
    SHOW(send(v[0], "", 0, MSG_OOB));
    show_data("none", recv(v[1], buf, 10, MSG_OOB | MSG_DONTWAIT));
    SHOW(send(v[0], "abc", 3, MSG_OOB));
    SHOW(send(v[0], "def", 3, 0));
    show_events("urgent", v[1]);
    show_data("peek", recv(v[1], buf, 10, MSG_OOB | MSG_PEEK));
    show_data("before", recv(v[1], buf, 10, 0));
    SHOW(ioctl(v[1], SIOCATMARK, &mark));
    printf("at mark %d\n", mark);
    show_data("urgent", recv(v[1], buf, 10, MSG_OOB));
    show_data("again", recv(v[1], buf, 10, MSG_OOB));
    show_data("behind", recv(v[1], buf, 10, 0));
    SHOW(send(v[0], "xy", 2, MSG_OOB));
    SHOW(send(v[0], "z", 1, 0));
    show_data("before", recv(v[1], buf, 10, 0));
    show_data("the urgent byte is left out", recv(v[1], buf, 10, 0));
    int one = 1;
    SHOW(setsockopt(v[1], SOL_SOCKET, SO_OOBINLINE, &one, sizeof one));
    SHOW(send(v[0], "12", 2, MSG_OOB));
    SHOW(recv(v[1], buf, 10, MSG_OOB));
    show_data("before", recv(v[1], buf, 10, 0));
    show_data("inline", recv(v[1], buf, 10, 0));
    close(v[0]);
    close(v[1]);
}

static void endings(void)
{
    int v[2];
    section("shutdown");
    pair(SOCK_STREAM, v);
    SHOW(shutdown(v[0], 3));
    SHOW(shutdown(v[0], -1));
    write(v[0], "last", 4);
    SHOW(shutdown(v[0], SHUT_WR));
    show_events("its own side", v[0]);
    show_events("the other side", v[1]);
    SHOW(write(v[0], "x", 1));
    printf("SIGPIPE %d\n", pipes);
    SHOW(send(v[0], "x", 1, MSG_NOSIGNAL));
    printf("SIGPIPE %d\n", pipes);
    show_data("rest", read(v[1], buf, 10));
    show_data("end", read(v[1], buf, 10));
    show_data("end", recv(v[1], buf, 10, MSG_DONTWAIT | MSG_WAITALL));
    SHOW(write(v[1], "back", 4));
    show_data("back", read(v[0], buf, 10));
    SHOW(shutdown(v[1], SHUT_RDWR));
    show_events("its own side", v[1]);
    show_events("the other side", v[0]);
    show_data("end", read(v[0], buf, 10));
    show_data("end", read(v[1], buf, 10));
    SHOW(shutdown(v[1], SHUT_RDWR));
    close(v[0]);
    close(v[1]);
    pair(SOCK_STREAM, v);
    write(v[1], "kept", 4);
    SHOW(shutdown(v[0], SHUT_RD));
    show_data("what is there", read(v[0], buf, 10));
    show_data("end", read(v[0], buf, 10));
    SHOW(write(v[1], "x", 1));
    close(v[0]);
    close(v[1]);

    section("hang-up and reset");
    pipes = 0;
    pair(SOCK_STREAM, v);
    write(v[0], "bye", 3);
    close(v[0]);
    show_events("closed", v[1]);
    show_error("closed", v[1]);
    show_data("rest", read(v[1], buf, 10));
    show_data("end", read(v[1], buf, 10));
    SHOW(write(v[1], "x", 1));
    show_name("peer", v[1], true);
    close(v[1]);
    pair(SOCK_STREAM, v);
    write(v[1], "unread", 6);
    write(v[0], "for you", 7);
    close(v[0]);
    show_events("closed unread", v[1]);
    SHOW(write(v[1], "x", 1));
    show_data("rest", read(v[1], buf, 10));
    show_data("reset", read(v[1], buf, 10));
    show_data("end", read(v[1], buf, 10));
    close(v[1]);
    pair(SOCK_STREAM, v);
    write(v[1], "unread", 6);
    close(v[0]);
    show_error("reset", v[1]);
    show_error("once", v[1]);
    close(v[1]);
    printf("SIGPIPE %d\n", pipes);
}

static void unconnected(void)
{
    section("not connected");
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    show_events("new", s);
    SHOW(read(s, buf, 1));
    SHOW(write(s, buf, 1));
    SHOW(recv(s, buf, 1, MSG_OOB));
    SHOW(shutdown(s, SHUT_RD));
    SHOW(accept(s, NULL, NULL));
    SHOW(sendto(s, "x", 1, 0, (void *)&(struct sockaddr_un){AF_UNIX, "x"}, 10));
    show_name("own", s, false);
    show_name("peer", s, true);
    close(s);
    SHOW(socket(AF_UNIX, SOCK_STREAM, 7));
    SHOW(socket(AF_UNIX, SOCK_RDM, 0));
    SHOW(socket(AF_UNIX, 99, 0));
    SHOW(socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
    SHOW(socket(99, SOCK_STREAM, 0));
    SHOW(socket(-1, SOCK_STREAM, 0));
    SHOW(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 8));
    SHOW(send(0x7fff, "x", 1, 0));
    int null = open("/dev/null", O_RDWR);
    SHOW(send(null, "x", 1, 0));
    SHOW(listen(null, 1));
    close(null);
}

static void full(void)
{
    int v[2];
    long total = 0, got = 0;
    ssize_t n;
    section("full");
    pair(SOCK_STREAM | SOCK_NONBLOCK, v);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 7 + i / 251);
    while ((n = write(v[0], out, 5000)) > 0)
        total += n;
    printf("then %s\n", errno_name(errno));
    HOLDS(total > 50000 && total < 1000000);
    show_events("full", v[0]);
    bool writable_early = false;
    while (got < total - total / 8) {
        n = read(v[1], buf, 1000);
        got += n;
        struct pollfd p = {v[0], POLLOUT, 0};
        if (poll(&p, 1, 0) && got < total / 3)
            writable_early = true;
    }
    HOLDS(!writable_early);
    show_events("nearly empty", v[0]);
    while ((n = read(v[1], buf, sizeof buf)) > 0)
        got += n;
    HOLDS(got == total);
    close(v[0]);
    close(v[1]);
}

enum { MEGABYTE = 1 << 20 };

static uint32_t sum_of(const char *p, size_t n, uint32_t sum)
{
    while (n--)
        sum = sum * 31 + (unsigned char)*p++;
    return sum;
}

static void bulk(void)
{
    static char block[MEGABYTE];
    int v[2], status;
    uint32_t state = 1, sum = 0;
    section("a megabyte");
    for (size_t i = 0; i < sizeof block; i += 4)
        *(uint32_t *)(block + i) = noise(&state);
    pair(SOCK_STREAM, v);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        close(v[0]);
        size_t at = 0;
        for (size_t n = 1; at < sizeof block; n = n * 3 % 100003) {
            size_t piece = n < sizeof block - at ? n : sizeof block - at;
            ssize_t done = write(v[1], block + at, piece);
            if (done != (ssize_t)piece)
                _exit(1);
            at += piece;
        }
        _exit(0);
    }
    close(v[1]);
    size_t total = 0;
    ssize_t n;
    for (size_t want = 5; (n = recv(v[0], buf, want, total % 3 ? 0 : MSG_WAITALL)) > 0; want = want * 7 % 70001) {
        sum = sum_of(buf, (size_t)n, sum);
        total += (size_t)n;
    }
    waitpid(pid, &status, 0);
    printf("%zu bytes, status %d, %s\n", total, status, sum == sum_of(block, sizeof block, 0) ? "the same" : "DIFFERENT");
    close(v[0]);

    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(fd, block, 60000);
    pair(SOCK_STREAM, v);
    off_t at = 10000;
    SHOW(sendfile(v[0], fd, &at, 50000));
    printf("offset %ld\n", (long)at);
    SHOW(recv(v[1], buf, 50000, MSG_WAITALL));
    HOLDS(!memcmp(buf, block + 10000, 50000));
    int p[2];
    pipe(p);
    write(v[0], "through a pipe", 14);
    SHOW(splice(v[1], NULL, p[1], NULL, 100, 0));
    SHOW(splice(p[0], NULL, v[1], NULL, 100, 0));
    show_data("back", read(v[0], buf, 100));
    SHOW(sendfile(v[0], v[1], NULL, 5));
    close(fd);
    unlink("data");
    close(v[0]);
    close(v[1]);
    close(p[0]);
    close(p[1]);
}

static void messages(void)
{
    int v[2];
    pair(SOCK_STREAM, v);
    section("sendmmsg, recvmmsg");
    struct iovec iov[3] = {{"one", 3}, {"two", 3}, {"three", 5}};
    struct mmsghdr m[3] = {{{.msg_iov = &iov[0], .msg_iovlen = 1}, 0}, {{.msg_iov = &iov[1], .msg_iovlen = 2}, 0},
                           {{.msg_iov = &iov[2], .msg_iovlen = 1}, 0}};
    SHOW(sendmmsg(v[0], m, 3, 0));
    printf("lengths %u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
    struct iovec in[3] = {{buf, 4}, {buf + 100, 4}, {buf + 200, 100}};
    struct mmsghdr r[3] = {{{.msg_iov = &in[0], .msg_iovlen = 1}, 0}, {{.msg_iov = &in[1], .msg_iovlen = 1}, 0},
                           {{.msg_iov = &in[2], .msg_iovlen = 1}, 0}};
    SHOW(recvmmsg(v[1], r, 2, 0, NULL));
    printf("lengths %u %u \"%.4s\" \"%.4s\"\n", r[0].msg_len, r[1].msg_len, buf, buf + 100);
    SHOW(recvmmsg(v[1], r, 3, MSG_WAITFORONE, NULL));
    SHOW(recvmmsg(v[1], r, 3, MSG_DONTWAIT, NULL));
    SHOW(recvmmsg(v[1], r, 0, MSG_DONTWAIT, NULL));
    struct timespec bad = {0, 1000000000};
    SHOW(recvmmsg(v[1], r, 3, MSG_DONTWAIT, &bad));
    struct msghdr h = {.msg_iov = iov, .msg_iovlen = 1025};
    SHOW(sendmsg(v[0], &h, 0));
    h.msg_iovlen = 1;
    h.msg_namelen = (socklen_t)-1;
    h.msg_name = buf;
    SHOW(sendmsg(v[0], &h, 0));
    SHOW(syscall(SYS_sendmsg, v[0], 8, 0));
    h = (struct msghdr){.msg_iov = (void *)8, .msg_iovlen = 1};
    SHOW(sendmsg(v[0], &h, 0));
    struct iovec wild = {(void *)8, 10};
    h.msg_iov = &wild;
    SHOW(sendmsg(v[0], &h, 0));
    write(v[0], "abc", 3);
    SHOW(recvmsg(v[1], &h, 0));
    show_data("still there", read(v[1], buf, 10));
    close(v[0]);
    close(v[1]);
}

int main(void)
{
    struct sigaction sa = {.sa_handler = on_pipe};
    sigaction(SIGPIPE, &sa, NULL);
    alarm(60);
    basics();
    peeking();
    urgent();
    endings();
    unconnected();
    full();
    bulk();
    messages();
    return 0;
}
