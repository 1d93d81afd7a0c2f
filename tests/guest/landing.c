// Large pieces to a reader that already waits, over TCP, AF_UNIX and pipes: whatever its buffer looks like, and whatever happens to it
// meanwhile (fork, signals, munmap, other threads), the bytes come once, in order, and nowhere else.
// cpus: 1 2 4
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>

enum { KINDS = 3, SIZE = 96 << 10 };
static const char *const names[KINDS] = {"TCP", "AF_UNIX", "pipe"};

// v[0] is read, v[1] written.
static void make(int kind, int v[2])
{
    if (kind == 0)
        tcp_pair(AF_INET, v);
    else if (kind == 1 ? socketpair(AF_UNIX, SOCK_STREAM, 0, v) : pipe(v))
        give_up("pair");
}

static unsigned char value(size_t at) { return (unsigned char)(at * 7 + (at >> 8) * 13 + (at >> 16)); }

static void fill(unsigned char *p, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = value(at + i);
}

static size_t wrong(const unsigned char *p, size_t at, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += p[i] != value(at + i);
    return bad;
}

static void *memory(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        give_up("mmap");
    return p;
}

static bool write_all(int fd, const unsigned char *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t some = write(fd, p + done, n - done);
        if (some <= 0)
            return false;
        done += (size_t)some;
    }
    return true;
}

// Sends `total` bytes in pieces after the reader has had time to wait.
struct sender {
    int fd;
    size_t total, piece;
    int pause; // microseconds before each piece
};

static void *sends(void *arg)
{
    const struct sender *s = arg;
    unsigned char *p = memory(s->piece);
    for (size_t at = 0; at < s->total; at += s->piece) {
        size_t n = s->total - at < s->piece ? s->total - at : s->piece;
        fill(p, at, n);
        usleep((useconds_t)s->pause);
        if (!write_all(s->fd, p, n))
            break;
    }
    munmap(p, s->piece);
    return NULL;
}

// --- Every kind of buffer ---

static size_t read_all(int fd, unsigned char *p, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t some = read(fd, p + done, n - done);
        if (some <= 0)
            break;
        done += (size_t)some;
    }
    return done;
}

static void buffers(int kind)
{
    static const char *const what[] = {"fresh", "touched", "odd", "zero page", "shared", "after fork", "file", "large pages", "half touched"};
    for (int how = 0; how < 9; how++) {
        int v[2];
        make(kind, v);
        size_t room = how == 7 ? 4 << 20 : SIZE + 8192;
        unsigned char *p = memory(room), *at = p;
        pid_t child = 0;
        if (how == 1 || how == 2 || how == 5 || how == 7)
            memset(p, 1, room);
        if (how == 2)
            at = p + 4093;
        if (how == 3) {
            volatile unsigned char sum = 0;
            for (size_t i = 0; i < room; i += 4096)
                sum += p[i];
        }
        if (how == 4)
            p = at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (how == 5 && !(child = fork())) { // sees nothing of what comes
            usleep(100000);
            size_t bad = 0;
            for (size_t i = 0; i < room; i++)
                bad += p[i] != 1;
            _exit(bad ? 1 : 0);
        }
        if (how == 6) {
            FILE *f = tmpfile();
            if (!f || ftruncate(fileno(f), (off_t)room))
                give_up("tmpfile");
            p = at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(f), 0);
        }
        if (how == 7)
            at = p + (2 << 20) - 5000;
        if (how == 8)
            memset(p, 1, 20000);
        struct sender s = {v[1], SIZE, 24000, 500};
        pthread_t t;
        pthread_create(&t, NULL, sends, &s);
        size_t n = read_all(v[0], at, SIZE);
        pthread_join(t, NULL);
        int status = 0;
        if (child)
            waitpid(child, &status, 0);
        printf("%s, %s buffer: %zu bytes, %zu wrong, child %d\n", names[kind], what[how], n, wrong(at, 0, n), status);
        close(v[0]);
        close(v[1]);
        munmap(p, room);
    }
}

// --- Faults in the writer's memory, in the middle ---

static void bad_source(int kind)
{
    int v[2];
    make(kind, v);
    unsigned char *p = memory(32768), *in = memory(65536);
    memset(in, 1, 65536);
    fill(p, 0, 32768);
    mprotect(p + 16384, 16384, PROT_NONE);
    pid_t child = fork();
    if (!child) {
        usleep(50000);
        ssize_t n = write(v[1], p, 32768);
        close(v[0]);
        shutdown(v[1], SHUT_RDWR);
        _exit(n == 16384 || (n == -1 && errno == EFAULT) ? 0 : 1); // sockets send all of a piece or nothing
    }
    close(v[1]);
    size_t n = read_all(v[0], in, 65536);
    int status;
    waitpid(child, &status, 0);
    printf("%s, a source that ends: status %d, %zu wrong\n", names[kind], status, wrong(in, 0, n));
    close(v[0]);
    munmap(p, 32768);
    munmap(in, 65536);
}

// --- Waits that are cut short ---

static void on_signal(int s) { (void)s; }

static void *annoys(void *arg)
{
    for (int i = 0; i < 100; i++) {
        usleep(300);
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
    }
    return NULL;
}

static void interrupted(int kind)
{
    enum { TOTAL = 3 << 19 };
    int v[2];
    make(kind, v);
    struct sigaction sa = {.sa_handler = on_signal}; // no SA_RESTART
    sigaction(SIGUSR1, &sa, NULL);
    unsigned char *p = memory(65536);
    memset(p, 1, 65536);
    pthread_t t, signals, me = pthread_self();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct sender s = {v[1], TOTAL, 30000, 100};
    pthread_create(&t, NULL, sends, &s);
    pthread_create(&signals, NULL, annoys, &me);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    size_t at = 0, bad = 0, errors = 0;
    while (at < TOTAL) {
        ssize_t n = read(v[0], p, 65536);
        if (n > 0) {
            bad += wrong(p, at, (size_t)n);
            at += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            errors++;
            break;
        }
    }
    pthread_join(t, NULL);
    pthread_join(signals, NULL);
    printf("%s, signals: %zu bytes, %zu wrong, %zu errors\n", names[kind], at, bad, errors);
    close(v[0]);
    close(v[1]);
    munmap(p, 65536);
}

static void timeouts(int kind)
{
    enum { TOTAL = 1 << 20 };
    int v[2];
    make(kind, v);
    struct timeval tv = {.tv_usec = 1000};
    setsockopt(v[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    unsigned char *p = memory(65536);
    memset(p, 1, 65536);
    struct sender s = {v[1], TOTAL, 30000, 900};
    pthread_t t;
    pthread_create(&t, NULL, sends, &s);
    size_t at = 0, bad = 0;
    while (at < TOTAL) {
        ssize_t n = recv(v[0], p, 65536, at & 1 ? MSG_WAITALL : 0);
        if (n > 0) {
            bad += wrong(p, at, (size_t)n);
            at += (size_t)n;
        } else if (n == 0 || errno != EAGAIN) {
            break;
        }
    }
    pthread_join(t, NULL);
    printf("%s, timeouts: %zu bytes, %zu wrong\n", names[kind], at, bad);
    close(v[0]);
    close(v[1]);
    munmap(p, 65536);
}

// --- MSG_WAITALL, SO_RCVLOWAT, MSG_PEEK, several buffers ---

static void flags(int kind)
{
    int v[2], low = 20000;
    make(kind, v);
    unsigned char *p = memory(SIZE);
    memset(p, 1, SIZE);
    struct sender s = {v[1], SIZE, 8192, 2000};
    pthread_t t;
    pthread_create(&t, NULL, sends, &s);
    ssize_t n = recv(v[0], p, SIZE, MSG_WAITALL);
    printf("%s, MSG_WAITALL: %zd bytes, %zu wrong\n", names[kind], n, wrong(p, 0, SIZE));
    pthread_join(t, NULL);
    memset(p, 1, SIZE);
    setsockopt(v[0], SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
    pthread_create(&t, NULL, sends, &s);
    n = recv(v[0], p, 65536, MSG_PEEK);
    printf("%s, MSG_PEEK: wrong %zu\n", names[kind], n > 0 ? wrong(p, 0, (size_t)n) : 1);
    size_t at = 0;
    while (at < SIZE) {
        struct iovec iov[3] = {{p + at, 100}, {p + at + 100, 9000}, {p + at + 9100, 30000}};
        if (SIZE - at < 39100)
            iov[0].iov_len = SIZE - at;
        n = readv(v[0], iov, SIZE - at < 39100 ? 1 : 3);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    pthread_join(t, NULL);
    printf("%s, readv: %zu bytes, %zu wrong\n", names[kind], at, wrong(p, 0, SIZE));
    close(v[0]);
    close(v[1]);
    munmap(p, SIZE);
}

// --- A buffer that other threads pull away, and forks ---

static int stop;
static unsigned char *pulled;

static void *pulls(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        size_t at = (i * 7 % 16) * 4096;
        if (i % 4 == 0)
            madvise(pulled + at, 4096, MADV_DONTNEED);
        else if (i % 4 == 1)
            mprotect(pulled + at, 4096, PROT_READ), mprotect(pulled + at, 4096, PROT_READ | PROT_WRITE);
        else if (i % 4 == 2)
            mmap(pulled + at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        else
            ((volatile unsigned char *)pulled)[at] = 1;
        usleep(50);
    }
    return NULL;
}

static void pulled_away(int kind)
{
    enum { TOTAL = 2 << 20 };
    int v[2];
    make(kind, v);
    pulled = memory(65536);
    stop = 0;
    struct sender s = {v[1], TOTAL, 65536, 0};
    pthread_t t, other;
    pthread_create(&t, NULL, sends, &s);
    pthread_create(&other, NULL, pulls, NULL);
    size_t at = 0, faults = 0;
    while (at < TOTAL) {
        ssize_t n = read(v[0], pulled, 65536);
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno == EFAULT && faults < 1000000)
            faults++; // the page was read-only just then
        else
            break;
    }
    stop = 1;
    pthread_join(t, NULL);
    pthread_join(other, NULL);
    printf("%s, a buffer that is pulled away: %s\n", names[kind], at == TOTAL ? "all bytes" : "bytes are missing");
    close(v[0]);
    close(v[1]);
    munmap(pulled, 65536);
}

static void *reads(void *arg)
{
    int fd = *(int *)arg;
    while (read(fd, pulled, 65536) > 0)
        ;
    return NULL;
}

// A child's memory does not change after fork(2), although a reader in the parent is being served.
static void forks(int kind)
{
    int v[2], bad = 0;
    make(kind, v);
    pulled = memory(65536);
    memset(pulled, 1, 65536);
    struct sender s = {v[1], 12 << 20, 65536, 0};
    pthread_t t, reader;
    pthread_create(&reader, NULL, reads, &v[0]);
    pthread_create(&t, NULL, sends, &s);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (!child) {
            unsigned char *copy = memory(65536);
            memcpy(copy, pulled, 65536);
            usleep(1000);
            _exit(memcmp(copy, pulled, 65536) != 0);
        }
        int status;
        waitpid(child, &status, 0);
        bad += status != 0;
    }
    pthread_join(t, NULL);
    shutdown(v[1], SHUT_WR);
    close(v[1]);
    pthread_join(reader, NULL);
    printf("%s, forks: %d children saw their memory change\n", names[kind], bad);
    close(v[0]);
    munmap(pulled, 65536);
}

// --- Several readers and writers: each piece is as a whole where its length is a pipe's atom ---

static long sum;
static int many[2];

static void *drains(void *arg)
{
    unsigned char *p = memory(65536);
    (void)arg;
    memset(p, 0, 65536);
    for (ssize_t n; (n = read(many[0], p, 65536)) > 0;)
        __atomic_fetch_add(&sum, n, __ATOMIC_RELAXED);
    return NULL;
}

static void several(int kind)
{
    pthread_t r[3], w[2];
    make(kind, many);
    sum = 0;
    struct sender s = {many[1], 2 << 20, 40000, 50};
    for (int i = 0; i < 3; i++)
        pthread_create(&r[i], NULL, drains, NULL);
    for (int i = 0; i < 2; i++)
        pthread_create(&w[i], NULL, sends, &s);
    for (int i = 0; i < 2; i++)
        pthread_join(w[i], NULL);
    shutdown(many[1], SHUT_WR);
    close(many[1]);
    for (int i = 0; i < 3; i++)
        pthread_join(r[i], NULL);
    printf("%s, several readers: %ld bytes\n", names[kind], sum);
    close(many[0]);
}

// A reader that is killed while it is served.
static void killed(int kind)
{
    int statuses = 0;
    for (int i = 0; i < 10; i++) {
        int v[2];
        make(kind, v);
        pid_t child = fork();
        if (!child) {
            unsigned char *p = memory(65536);
            memset(p, 1, 65536);
            close(v[1]);
            while (read(v[0], p, 65536) > 0)
                ;
            _exit(0);
        }
        close(v[0]);
        unsigned char *p = memory(65536);
        pid_t killer = fork();
        if (!killer) {
            usleep((useconds_t)(500 + i * 200));
            kill(child, SIGKILL);
            _exit(0);
        }
        while (write_all(v[1], p, 65536))
            ;
        int status = 0;
        waitpid(child, &status, 0);
        waitpid(killer, NULL, 0);
        statuses += status == SIGKILL;
        close(v[1]);
        munmap(p, 65536);
    }
    printf("%s, killed readers: %d\n", names[kind], statuses);
}

// --- Others who watch ---

static void *reads_once(void *arg)
{
    return (void *)(intptr_t)read(*(int *)arg, pulled, 65536);
}

// What comes is an event for an edge-triggered epoll, although a reader has taken it already.
static void watched(int kind)
{
    int v[2], e = epoll_create1(0), events = 0, bytes = 0;
    unsigned char piece[8192] = {0};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    make(kind, v);
    pulled = memory(65536);
    memset(pulled, 1, 65536);
    epoll_ctl(e, EPOLL_CTL_ADD, v[0], &ev);
    epoll_wait(e, &ev, 1, 0);
    for (int i = 0; i < 4; i++) {
        pthread_t t;
        void *n;
        pthread_create(&t, NULL, reads_once, &v[0]);
        usleep(20000);
        if (!write_all(v[1], piece, sizeof piece))
            break;
        pthread_join(t, &n);
        bytes += (int)(intptr_t)n;
        events += epoll_wait(e, &ev, 1, 0) == 1 && ev.events == EPOLLOUT;
    }
    printf("%s, watched: %d bytes, %d events\n", names[kind], bytes, events);
    if (kind == 0) {
        unsigned long long info[17] = {0}; // to tcpi_bytes_received, which this libc does not know
        socklen_t len = sizeof info;
        getsockopt(v[0], IPPROTO_TCP, TCP_INFO, info, &len);
        printf("TCP_INFO: %llu bytes\n", info[16]);
    }
    close_pair(v);
    close(e);
    munmap(pulled, 65536);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int kind = 0; kind < KINDS; kind++) {
        buffers(kind);
        bad_source(kind);
        interrupted(kind);
        if (kind < 2) {
            timeouts(kind);
            flags(kind);
            watched(kind);
        }
        pulled_away(kind);
        forks(kind);
        several(kind);
        killed(kind);
    }
    return 0;
}
