// splice, tee, vmsplice: between pipes, files and memory, with offsets, without blocking, and all their errors; packets; what a
// pipe's slots hold; sizes and limits; many writers; FIFOs.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define N SPLICE_F_NONBLOCK

static int a[2], b[2], file;
static char buf[1 << 17], data[1 << 17];

static void fresh(int flags)
{
    for (int i = 0; i < 2; i++) {
        if (a[i])
            close(a[i]);
        if (b[i])
            close(b[i]);
    }
    if (pipe2(a, flags) || pipe2(b, flags))
        give_up("pipe2");
}

static int used(int fd)
{
    int n = -1;
    ioctl(fd, FIONREAD, &n);
    return n;
}

static long fill(int fd, long piece)
{
    long total = 0, n;
    while ((n = write(fd, data, (size_t)piece)) > 0)
        total += n;
    return total;
}

static unsigned sum(const char *p, long n)
{
    unsigned s = 0;
    while (n-- > 0)
        s = s * 31 + (unsigned char)*p++;
    return s;
}

static void test_pipe_to_pipe(void)
{
    section("pipe to pipe");
    fresh(O_NONBLOCK);
    SHOW(splice(a[0], NULL, b[1], NULL, 10, 0));
    SHOW(write(a[1], "hello world", 11));
    SHOW(splice(a[0], NULL, b[1], NULL, 5, 0));
    SHOW(splice(a[0], NULL, b[1], NULL, 100, 0));
    SHOW(used(a[0]));
    SHOW(read(b[0], buf, 100));
    printf("%.11s\n", buf);
    SHOW(splice(a[0], NULL, a[1], NULL, 1, 0));
    SHOW(splice(a[1], NULL, b[1], NULL, 1, 0));
    SHOW(splice(a[0], NULL, b[0], NULL, 1, 0));
    SHOW(splice(a[0], NULL, -1, NULL, 1, 0));
    SHOW(splice(-1, NULL, -1, NULL, 0, 99));
    SHOW(splice(-1, NULL, -1, NULL, 1, 99));
    long off = 0;
    SHOW(splice(a[0], (void *)&off, b[1], NULL, 1, 0));
    SHOW(splice(a[0], NULL, b[1], (void *)&off, 1, 0));
    SHOW(fill(b[1], 4096));
    SHOW(write(a[1], "x", 1));
    SHOW(splice(a[0], NULL, b[1], NULL, 1, 0));
    SHOW(read(b[0], buf, 1));
    SHOW(splice(a[0], NULL, b[1], NULL, 1, 0)); // no slot is free yet
    SHOW(read(b[0], buf, 4095));
    SHOW(splice(a[0], NULL, b[1], NULL, 1, 0));
    SHOW(used(b[0]));
    close(a[1]);
    a[1] = 0;
    SHOW(splice(a[0], NULL, b[1], NULL, 1, 0)); // the end, but b is full
    while (read(b[0], buf, sizeof buf) > 0)
        ;
    SHOW(splice(a[0], NULL, b[1], NULL, 1, 0));
    fresh(O_NONBLOCK);
    SHOW(write(a[1], "x", 1));
    close(b[0]);
    b[0] = 0;
    SHOW(splice(a[0], NULL, b[1], NULL, 1, 0));
    SHOW(used(a[0]));
}

static void test_tee(void)
{
    section("tee");
    fresh(O_NONBLOCK);
    SHOW(tee(a[0], b[1], 10, 0));
    SHOW(write(a[1], "abcdef", 6));
    SHOW(tee(a[0], b[1], 4, 0));
    SHOW(tee(a[0], b[1], 100, 0));
    SHOW(write(a[1], "gh", 2)); // is seen in the one only
    SHOW(write(b[1], "!", 1));
    SHOW(used(a[0]));
    SHOW(used(b[0]));
    SHOW(read(b[0], buf, 100));
    printf("%.11s\n", buf);
    SHOW(read(a[0], buf, 100));
    printf("%.8s\n", buf);
    SHOW(tee(a[0], a[1], 1, 0));
    SHOW(tee(a[0], file, 1, 0));
    SHOW(tee(a[1], b[1], 1, 0));
    SHOW(tee(a[0], b[1], 0, 0));
    SHOW(tee(a[0], b[1], 1, 16));
    SHOW(tee(a[0], -1, 1, 0));
}

static void test_files(void)
{
    section("file and pipe");
    fresh(O_NONBLOCK);
    SHOW(pwrite(file, data, 20000, 0));
    SHOW(lseek(file, 100, SEEK_SET));
    SHOW(splice(file, NULL, a[1], NULL, 1000, 0));
    SHOW(lseek(file, 0, SEEK_CUR));
    SHOW(read(a[0], buf, sizeof buf));
    HOLDS(!memcmp(buf, data + 100, 1000));
    long off = 5000;
    SHOW(splice(file, (void *)&off, a[1], NULL, 10000, 0));
    SHOW(off);
    SHOW(lseek(file, 0, SEEK_CUR));
    SHOW(used(a[0]));
    off = 30000;
    SHOW(splice(a[0], NULL, file, (void *)&off, 6000, 0));
    SHOW(off);
    SHOW(splice(a[0], NULL, file, NULL, 100000, 0));
    SHOW(lseek(file, 0, SEEK_CUR));
    SHOW(pread(file, buf, 6000, 30000));
    HOLDS(!memcmp(buf, data + 5000, 6000));
    SHOW(pread(file, buf, 4000, 1100));
    HOLDS(!memcmp(buf, data + 11000, 4000));
    SHOW(splice(a[0], NULL, file, NULL, 1, 0));
    off = 36000;
    SHOW(splice(file, (void *)&off, a[1], NULL, 1, 0)); // the end
    off = -1;
    SHOW(splice(file, (void *)&off, a[1], NULL, 1, 0));
    SHOW(splice(file, (void *)8, a[1], NULL, 1, 0));
    SHOW(splice(file, NULL, file, NULL, 1, 0));
    off = 0;
    SHOW(splice(file, (void *)&off, a[1], NULL, 1 << 20, 0)); // as much as there are slots
    SHOW(off);
    SHOW(splice(file, (void *)&off, a[1], NULL, 100000, 0));
    int dir = open("/", O_RDONLY), event = eventfd(1, EFD_NONBLOCK), append = open("splice-file", O_WRONLY | O_APPEND);
    fresh(O_NONBLOCK);
    SHOW(write(a[1], "x", 1));
    SHOW(splice(dir, NULL, a[1], NULL, 1, 0));
    SHOW(splice(event, NULL, a[1], NULL, 8, 0));
    SHOW(splice(a[0], NULL, event, NULL, 8, 0));
    SHOW(splice(a[0], NULL, append, NULL, 1, 0));
    SHOW(splice(append, NULL, a[1], NULL, 1, 0));
    close(dir), close(event), close(append);
    int null = open("/dev/null", O_WRONLY);
    SHOW(splice(a[0], NULL, null, NULL, 1, 0));
    close(null);
    fresh(0);
    SHOW(splice(a[0], NULL, file, NULL, 1, N));
    close(a[1]);
    a[1] = 0;
    SHOW(splice(a[0], NULL, file, NULL, 1, 0));
}

static void test_vmsplice(void)
{
    section("vmsplice");
    fresh(0);
    struct iovec v[3] = {{data, 10}, {data + 4090, 20}, {data + 50000, 30000}};
    SHOW(vmsplice(a[1], v, 2, 0));
    SHOW(used(a[0]));
    SHOW(vmsplice(a[1], v + 2, 1, SPLICE_F_GIFT));
    v[0] = (struct iovec){buf, 20};
    SHOW(vmsplice(a[0], v, 1, 0));
    HOLDS(!memcmp(buf, data, 10) && !memcmp(buf + 10, data + 4090, 10));
    v[0] = (struct iovec){buf, sizeof buf};
    SHOW(vmsplice(a[0], v, 1, N));
    HOLDS(!memcmp(buf + 10, data + 50000, 30000));
    SHOW(vmsplice(a[0], v, 1, N));
    SHOW(vmsplice(a[0], v, 0, N));
    SHOW(vmsplice(file, v, 1, 0));
    SHOW(vmsplice(-1, v, 1, 0));
    SHOW(vmsplice(a[1], v, 1, 64));
    SHOW(vmsplice(a[1], (void *)8, 1, 0));
    SHOW(vmsplice(a[1], v, 2000, 0));
    v[0] = (struct iovec){(void *)8, 5};
    SHOW(vmsplice(a[1], v, 1, 0));
    for (int i = 0; i < 3; i++)
        v[i] = (struct iovec){data, 1};
    long slots = 0, n;
    while ((n = vmsplice(a[1], v, 3, N)) > 0)
        slots += n;
    SHOW(slots); // one each
    close(a[0]);
    a[0] = 0;
    SHOW(vmsplice(a[1], v, 1, 0));
}

static void test_slots(void)
{
    section("slots");
    fresh(O_NONBLOCK);
    struct pollfd p = {a[1], POLLOUT, 0};
    SHOW(fill(a[1], 1));
    SHOW(read(a[0], buf, 4095));
    SHOW(poll(&p, 1, 0));
    SHOW(write(a[1], "x", 1));
    SHOW(read(a[0], buf, 1));
    SHOW(poll(&p, 1, 0));
    SHOW(write(a[1], data, 4096));
    while (read(a[0], buf, sizeof buf) > 0)
        ;
    SHOW(fill(a[1], 3000)); // each has a page
    while (read(a[0], buf, sizeof buf) > 0)
        ;
    SHOW(write(a[1], data, 100000));
    SHOW(read(a[0], buf, 100000));

    section("packets");
    fresh(O_NONBLOCK | O_DIRECT);
    HOLDS(fcntl(a[1], F_GETFL) & O_DIRECT);
    HOLDS(!(fcntl(a[0], F_GETFL) & O_DIRECT));
    SHOW(write(a[1], data, 10));
    SHOW(write(a[1], data, 5000)); // two of them
    SHOW(write(a[1], data, 20));
    SHOW(used(a[0]));
    SHOW(read(a[0], buf, 4));
    SHOW(read(a[0], buf, 100000));
    SHOW(read(a[0], buf, 100000));
    SHOW(read(a[0], buf, 100000));
    SHOW(read(a[0], buf, 100000));
    SHOW(fill(a[1], 1));
    SHOW(fcntl(a[1], F_SETFL, O_NONBLOCK));
    SHOW(read(a[0], buf, 100));
    SHOW(write(a[1], "xy", 2));
    SHOW(read(a[0], buf, 1));
    int p2[2];
    SHOW(syscall(SYS_pipe2, p2, 1 << 20));
    SHOW(syscall(SYS_pipe2, 8, 0));

    section("sizes");
    fresh(O_NONBLOCK);
    SHOW(fcntl(a[0], F_GETPIPE_SZ));
    SHOW(fcntl(a[0], F_SETPIPE_SZ, 5000));
    SHOW(fcntl(a[1], F_GETPIPE_SZ));
    SHOW(fill(a[1], 4096));
    SHOW(fcntl(a[0], F_SETPIPE_SZ, 4096));
    SHOW(fcntl(a[0], F_SETPIPE_SZ, 100000));
    SHOW(fill(a[1], 4096));
    SHOW(fcntl(a[0], F_SETPIPE_SZ, 1 << 20));
    SHOW(read(a[0], buf, sizeof buf));
    SHOW(fcntl(a[0], F_SETPIPE_SZ, 0));
    SHOW(fcntl(a[0], F_GETPIPE_SZ));
    SHOW(fcntl(file, F_GETPIPE_SZ));
    SHOW(fcntl(file, F_SETPIPE_SZ, 4096));
}

static volatile int pipe_signals;
static void on_pipe(int sig)
{
    (void)sig;
    pipe_signals++;
}

static void test_ends(void)
{
    section("ends");
    signal(SIGPIPE, on_pipe);
    fresh(0);
    close(a[0]);
    a[0] = 0;
    SHOW(write(a[1], "x", 1));
    SHOW(write(a[1], "x", 0));
    SHOW(pipe_signals);
    struct pollfd p[2] = {{a[1], POLLOUT | POLLIN, 0}, {b[0], POLLIN, 0}};
    close(b[1]);
    b[1] = 0;
    SHOW(poll(p, 2, 0));
    SHOW(p[0].revents);
    SHOW(p[1].revents);
    SHOW(read(b[0], buf, 1));
    signal(SIGPIPE, SIG_DFL);
    if (fork() == 0) {
        write(a[1], "x", 1);
        _exit(1);
    }
    int status;
    wait(&status);
    SHOW(WIFSIGNALED(status) ? WTERMSIG(status) : -1);
    signal(SIGPIPE, on_pipe);
}

static void *open_other(void *path)
{
    usleep(20000);
    close(open(path, O_WRONLY));
    return NULL;
}

static void *open_close(void *path)
{
    close(open(path, O_WRONLY));
    return NULL;
}

static void test_fifos(void)
{
    const char *path = "splice-fifo";
    pthread_t t;
    section("fifos");
    unlink(path);
    SHOW(mkfifo(path, 0600));
    SHOW(open(path, O_WRONLY | O_NONBLOCK));
    int both = open(path, O_RDWR | O_NONBLOCK);
    HOLDS(both >= 0);
    SHOW(write(both, "self", 4));
    SHOW(read(both, buf, 10));
    SHOW(read(both, buf, 10));
    struct pollfd p = {both, POLLIN | POLLOUT, 0};
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    close(both);
    int r = open(path, O_RDONLY | O_NONBLOCK);
    p = (struct pollfd){r, POLLIN, 0};
    SHOW(poll(&p, 1, 0)); // nobody has been there
    SHOW(read(r, buf, 1));
    int w = open(path, O_WRONLY | O_NONBLOCK);
    SHOW(read(r, buf, 1));
    SHOW(write(w, "bye", 3));
    close(w);
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    SHOW(read(r, buf, 10));
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    close(r);
    pthread_create(&t, NULL, open_other, (void *)path);
    r = open(path, O_RDONLY); // waits
    SHOW(read(r, buf, 10));
    pthread_join(t, NULL);
    close(r);
    for (int i = 0; i < 300; i++) { // who opens and closes at once is not missed
        pthread_create(&t, NULL, open_close, (void *)path);
        close(open(path, O_RDONLY));
        pthread_join(t, NULL);
    }
    unlink(path);
    fresh(O_NONBLOCK); // through /proc a pipe has no other side to wait for
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", a[0]);
    int again = open(name, O_WRONLY | O_NONBLOCK);
    SHOW(write(again, "again", 5));
    SHOW(read(a[0], buf, 10));
    close(again);
}

enum { WRITERS = 4, MESSAGES = 200, SIZE = 1000 };
static void *writes_messages(void *arg)
{
    char message[SIZE];
    memset(message, 'a' + (int)(long)arg, sizeof message);
    for (int i = 0; i < MESSAGES; i++)
        if (write(a[1], message, sizeof message) != sizeof message)
            printf("short\n");
    return NULL;
}

static void test_writers(void)
{
    pthread_t t[WRITERS];
    int counts[WRITERS] = {0}, torn = 0;
    char message[SIZE];
    section("many writers: messages stay whole");
    fresh(0);
    for (long i = 0; i < WRITERS; i++)
        pthread_create(&t[i], NULL, writes_messages, (void *)i);
    for (int i = 0; i < WRITERS * MESSAGES; i++) {
        for (size_t have = 0; have < sizeof message;)
            have += (size_t)read(a[0], message + have, sizeof message - have);
        for (int j = 1; j < SIZE; j++)
            torn += message[j] != message[0];
        counts[message[0] - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(t[i], NULL);
        printf("%d ", counts[i]);
    }
    printf("torn %d\n", torn);
}

static void *pumps(void *arg)
{
    long total = 0, n;
    (void)arg;
    while ((n = splice(a[0], NULL, b[1], NULL, 10000, 0)) > 0)
        total += n;
    close(b[1]);
    b[1] = 0;
    return (void *)total;
}

static void *feeds(void *arg)
{
    for (int i = 0; i < 20; i++)
        write(a[1], data, sizeof data);
    close(a[1]);
    a[1] = 0;
    return arg;
}

static void test_pump(void)
{
    pthread_t t[2];
    void *total;
    long n, count = 0;
    unsigned bad = 0;
    section("through two pipes");
    fresh(0);
    pthread_create(&t[0], NULL, pumps, NULL);
    pthread_create(&t[1], NULL, feeds, NULL);
    while ((n = read(b[0], buf, 7777)) > 0)
        for (long i = 0; i < n; i++, count++)
            bad += buf[i] != data[(unsigned long)count % sizeof data];
    pthread_join(t[0], &total);
    pthread_join(t[1], NULL);
    SHOW((long)total);
    SHOW(count);
    SHOW(bad);
}

static void test_watchers(void)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    int ep = epoll_create1(0);
    section("edges");
    fresh(O_NONBLOCK);
    epoll_ctl(ep, EPOLL_CTL_ADD, a[0], &e);
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(write(a[1], "x", 1));
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(write(a[1], "x", 1)); // there is data in it: an event all the same
    SHOW(epoll_wait(ep, &e, 1, 0));
    e.events = EPOLLOUT | EPOLLET;
    epoll_ctl(ep, EPOLL_CTL_ADD, a[1], &e);
    SHOW(epoll_wait(ep, &e, 1, 0));
    fill(a[1], 4096);
    while (epoll_wait(ep, &e, 1, 0) > 0)
        ;
    SHOW(read(a[0], buf, 100)); // the short first piece and some: a slot is free
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(read(a[0], buf, 10000));
    SHOW(epoll_wait(ep, &e, 1, 0));
    SHOW(e.events);
    SHOW(epoll_wait(ep, &e, 1, 0));
    close(ep);
}

int main(void)
{
    uint32_t state = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)noise(&state);
    file = open("splice-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    signal(SIGPIPE, on_pipe);
    test_pipe_to_pipe();
    test_tee();
    test_files();
    test_vmsplice();
    SHOW(pipe_signals);
    pipe_signals = 0;
    test_slots();
    test_ends();
    test_fifos();
    test_writers();
    test_pump();
    test_watchers();
    SHOW(sum(data, sizeof data));
    unlink("splice-file");
    return 0;
}
