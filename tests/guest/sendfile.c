// sendfile(2) to sockets, and splice(2) from a file through a pipe to one: what arrives byte by byte, with odd offsets and lengths, holes, ends of
// files, buffers that are full, readers that are slow, files that are cut while they are on their way, MSG_MORE, signals, broken connections.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#define SIZE 1500001
#define ARRAY_LENGTH(a) ((int)(sizeof(a) / sizeof(*(a))))

static char expected[SIZE], got[SIZE + 65536];
static int file, s[2];
static bool tcp;

static void pair(void) {
    for (int i = 0; i < 2; i++)
        if (s[i] > 0)
            close(s[i]);
    if (!tcp) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
            give_up("socketpair");
        return;
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int l = socket(AF_INET, SOCK_STREAM, 0);
    s[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 5) || getsockname(l, (struct sockaddr *)&a, &len) ||
        connect(s[0], (struct sockaddr *)&a, sizeof(a)) || (s[1] = accept(l, NULL, NULL)) < 0)
        give_up("connection");
    close(l);
}

// --- A reader in a thread of its own ---
static size_t received;
static unsigned pause_us;

static void *reader(void *arg) {
    for (;;) {
        long n = read(s[1], got + received, sizeof(got) - received > 30011 ? 30011 : sizeof(got) - received);
        if (n <= 0)
            return NULL;
        received += (size_t)n;
        if (pause_us)
            usleep(pause_us);
    }
}

// Sends [offset, offset + count) and looks at what comes out.
static void round_trip(long offset, size_t count, bool through_pipe) {
    pthread_t t;
    off_t at = offset;
    size_t done = 0, there = offset < SIZE ? SIZE - (size_t)offset : 0;
    int p[2];
    pair();
    received = 0;
    if (pthread_create(&t, NULL, reader, NULL) || pipe(p))
        give_up("thread, pipe");
    while (done < count) {
        long n;
        if (through_pipe) {
            n = splice(file, &at, p[1], NULL, count - done, 0);
            for (long left = n, m; left > 0; left -= m)
                if ((m = splice(p[0], NULL, s[0], NULL, (size_t)left, SPLICE_F_MORE)) <= 0)
                    give_up("splice");
        } else {
            n = sendfile(s[0], file, &at, count - done);
        }
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    shutdown(s[0], SHUT_WR);
    pthread_join(t, NULL);
    size_t want = count < there ? count : there;
    printf("%s%ld+%zu: %zu sent, offset %ld, %zu received, %s\n", through_pipe ? "pipe " : "", offset, count, done, (long)at, received,
           received == want && !memcmp(got, expected + offset, want) ? "as in the file" : "different");
    close(p[0]);
    close(p[1]);
}

static void test_contents(void) {
    static const struct { long offset; size_t count; } cases[] = {
        {0, SIZE}, {1, 1}, {4095, 2}, {4096, 4096}, {4097, 100000}, {100, 511}, {100, 512}, {3584, 1025}, {777777, SIZE},
        {SIZE - 1, 10}, {SIZE, 10}, {SIZE + 5, 10}, {65535, 65537}, {12287, 262145}, {0, 0},
    };
    section(tcp ? "contents, TCP" : "contents, AF_UNIX");
    for (int i = 0; i < ARRAY_LENGTH(cases); i++) {
        round_trip(cases[i].offset, cases[i].count, false);
        round_trip(cases[i].offset, cases[i].count, true);
    }
    pause_us = 300;
    round_trip(4001, 900000, false);
    pause_us = 0;
}

// Small writes, files and headers in turn, each of them once more in the same stream.
static void test_mixed(void) {
    section("between other bytes");
    pthread_t t;
    size_t sum = 0;
    pair();
    received = 0;
    pthread_create(&t, NULL, reader, NULL);
    bool same = true;
    static char want[SIZE];
    for (unsigned i = 1; sum < 600000; i++) {
        unsigned n = i * 7919 % 9001, h = i * 31 % 777;
        off_t at = i * 4093 % 800000;
        memset(want + sum, 'a' + i % 26, h);
        if (send(s[0], want + sum, h, MSG_MORE) != (long)h)
            give_up("send");
        sum += h;
        memcpy(want + sum, expected + at, n);
        for (unsigned left = n; left;) {
            long m = sendfile(s[0], file, &at, left);
            if (m <= 0)
                give_up("sendfile");
            left -= (unsigned)m;
        }
        sum += n;
    }
    shutdown(s[0], SHUT_WR);
    pthread_join(t, NULL);
    same = received == sum && !memcmp(got, want, sum);
    printf("%s\n", same ? "in order" : "different");
}

static void test_full(void) {
    section("a full buffer");
    pair();
    fcntl(s[0], F_SETFL, O_NONBLOCK);
    off_t at = 3;
    long n = 1, total = 0;
    while (total < SIZE - 3 && (n = sendfile(s[0], file, &at, SIZE)) > 0)
        total += n;
    // There may be room for all of it.
    printf("%s, offset %s\n", n > 0 ? "EAGAIN" : errno == EAGAIN ? "EAGAIN" : strerror(errno), at == total + 3 ? "of what was sent" : "wrong");
    received = 0;
    fcntl(s[1], F_SETFL, O_NONBLOCK);
    while (total < SIZE - 3 || received < (size_t)total) {
        struct pollfd p[2] = {{s[0], total < SIZE - 3 ? POLLOUT : 0, 0}, {s[1], POLLIN, 0}};
        if (poll(p, 2, 5000) <= 0)
            break;
        if ((n = read(s[1], got + received, 7777)) > 0)
            received += (size_t)n;
        if (p[0].revents & POLLOUT && (n = sendfile(s[0], file, &at, SIZE)) > 0)
            total += n;
    }
    printf("%zu received, %s, offset %ld\n", received, memcmp(got, expected + 3, SIZE - 3) ? "different" : "as in the file", (long)at);
    // The file's own position
    pair();
    fcntl(s[0], F_SETFL, O_NONBLOCK);
    lseek(file, 10, SEEK_SET);
    SHOW(sendfile(s[0], file, NULL, 1000));
    SHOW(lseek(file, 0, SEEK_CUR));
    SHOW(read(s[1], got, 2000));
    SHOW(memcmp(got, expected + 10, 1000));
}

// What was sent is still sent when the file has gone.
static void test_cut(void) {
    section("a file that is cut");
    char name[] = "sendfile.XXXXXX";
    int f = mkstemp(name);
    if (f < 0 || write(f, expected, 100000) != 100000)
        give_up("a file");
    pair();
    off_t at = 0;
    SHOW(sendfile(s[0], f, &at, 65536));
    SHOW(ftruncate(f, 0));
    SHOW(sendfile(s[0], f, &at, 100));
    close(f);
    unlink(name);
    size_t sum = 0;
    while (sum < 65536) {
        long n = read(s[1], got + sum, 65536 - sum);
        if (n <= 0)
            break;
        sum += (size_t)n;
    }
    printf("%zu, %s\n", sum, memcmp(got, expected, 65536) ? "different" : "as before");
}

static void test_holes(void) {
    section("holes");
    char name[] = "sendfile.XXXXXX";
    int f = mkstemp(name);
    if (f < 0 || pwrite(f, "begin", 5, 0) != 5 || pwrite(f, "middle", 6, 50000) != 6 || ftruncate(f, 99999))
        give_up("a file");
    pthread_t t;
    pair();
    received = 0;
    pthread_create(&t, NULL, reader, NULL);
    off_t at = 1;
    long total = 0, n;
    while ((n = sendfile(s[0], f, &at, 200000)) > 0)
        total += n;
    shutdown(s[0], SHUT_WR);
    pthread_join(t, NULL);
    size_t zeroes = 0;
    for (size_t i = 0; i < received; i++)
        zeroes += !got[i];
    printf("%ld, %zu, %zu zeroes, %d %d\n", total, received, zeroes, !memcmp(got, "egin", 4), !memcmp(got + 49999, "middle", 6));
    close(f);
    unlink(name);
}

static volatile int pipes;
static void on_pipe(int sig) { pipes++; }
static void on_alarm(int sig) {}

static void test_ends(void) {
    section("ends");
    off_t at = 5;
    signal(SIGPIPE, on_pipe);
    pair();
    close(s[1]);
    s[1] = 0;
    if (tcp) // the first bytes are answered with a RST
        write(s[0], "x", 1);
    SHOW(sendfile(s[0], file, &at, 100000));
    SHOW(pipes);
    printf("offset %ld\n", (long)at);
    pair();
    SHOW(shutdown(s[0], SHUT_WR));
    SHOW(sendfile(s[0], file, &at, 10));
    SHOW(pipes);
    SHOW(sendfile(s[0], file, &at, 0));
    SHOW(sendfile(s[1], s[0], NULL, 10));
    // A signal ends a call that waits, with what was sent until then.
    struct sigaction a = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &a, NULL);
    pair();
    int small = 30000;
    setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    struct itimerval tv = {{0, 0}, {0, 150000}};
    at = 0;
    long total = 0, n;
    setitimer(ITIMER_REAL, &tv, NULL);
    do {
        lseek(file, 0, SEEK_SET);
        n = sendfile(s[0], file, NULL, SIZE);
        total += n > 0 ? n : 0;
    } while (n == SIZE && total < 20l * SIZE);
    printf("%s, %s\n", n > 0 && n < SIZE ? "part of it" : n < 0 && errno == EINTR ? "part of it" : "?", n <= 0 || lseek(file, 0, SEEK_CUR) == n ? "position follows" : "position is elsewhere");
    signal(SIGPIPE, SIG_DFL);
}

// A file that is written to and cut while it is sent: nothing is to be seen but bytes that it had at some time.
static volatile bool stop;
static int changing;

static void *changer(void *arg) {
    static char all[40000];
    for (unsigned i = 0; !stop; i++) {
        memset(all, 'A' + i % 26, sizeof(all));
        if (pwrite(changing, all, sizeof(all), i * 13 % 40000) < 0 || (i % 5 == 0 && ftruncate(changing, 20000 + i * 7 % 30000)))
            break;
    }
    return NULL;
}

static void test_changes(void) {
    section("a file that changes");
    char name[] = "sendfile.XXXXXX";
    pthread_t t, r;
    changing = mkstemp(name);
    memset(got, 'z', 80000);
    if (changing < 0 || write(changing, got, 80000) != 80000)
        give_up("a file");
    pair();
    received = 0;
    stop = false;
    pthread_create(&r, NULL, reader, NULL);
    pthread_create(&t, NULL, changer, NULL);
    size_t total = 0;
    for (int i = 0; i < 60 && total < SIZE - 80000; i++) {
        off_t at = i * 101;
        long n = sendfile(s[0], changing, &at, 20000);
        if (n < 0)
            break;
        total += (size_t)n;
    }
    stop = true;
    pthread_join(t, NULL);
    shutdown(s[0], SHUT_WR);
    pthread_join(r, NULL);
    size_t bad = 0;
    for (size_t i = 0; i < received; i++)
        bad += got[i] && got[i] != 'z' && (got[i] < 'A' || got[i] > 'Z');
    printf("%s, %zu wrong\n", received == total ? "all of it" : "not all", bad);
    close(changing);
    unlink(name);
}

int main(void) {
    char name[] = "sendfile.XXXXXX";
    if (chdir("/tmp"))
        give_up("chdir");
    unsigned x = 12345;
    for (int i = 0; i < SIZE; i++)
        expected[i] = (char)((x = x * 1103515245 + 12345) >> 16);
    file = mkstemp(name);
    if (file < 0 || write(file, expected, SIZE) != SIZE)
        give_up("a file");
    for (int i = 0; i < 2; i++) {
        tcp = i;
        test_contents();
        test_mixed();
        test_full();
        test_cut();
        test_holes();
        test_ends();
        test_changes();
    }
    unlink(name);
    return 0;
}
