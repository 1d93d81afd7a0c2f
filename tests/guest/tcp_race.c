// Reading from a connection while the other end writes on another CPU: what comes between two looks at the queue is neither lost nor
// an error, whether the buffer is just filled or not.
// cpus: 1 2 4
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <pthread.h>
#include <time.h>

enum { TENTHS = 5 }; // of a second
static int stop;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// Bytes that count, in small pieces.
static void *writes(void *arg)
{
    int fd = *(int *)arg;
    unsigned char count = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        unsigned char piece[3] = {count, (unsigned char)(count + 1), (unsigned char)(count + 2)};
        ssize_t n = write(fd, piece, sizeof piece);
        if (n < 0)
            break;
        count += (unsigned char)n;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void race(const char *name, int v[2])
{
    static unsigned char buf[1 << 20];
    unsigned char want = 0;
    int there = 0, short_reads = 0, wrong = 0, errors = 0, last = 0;
    pthread_t t;
    double end = now() + TENTHS / 10.0;
    stop = 0;
    pthread_create(&t, NULL, writes, &v[0]);
    for (int i = 0;; i++) {
        if (now() > end)
            __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
        struct pollfd p = {v[1], POLLIN, 0};
        poll(&p, 1, 1000);
        ioctl(v[1], FIONREAD, &there);
        ssize_t n = recv(v[1], buf, (size_t)there + 1 + (size_t)(i % 3), i % 2 ? MSG_DONTWAIT : 0);
        if (n == 0)
            break;
        if (n < 0) {
            errors++;
            last = errno;
            if (errors > 100)
                break;
            continue;
        }
        short_reads += n < there;
        for (ssize_t k = 0; k < n; k++)
            wrong += buf[k] != want++;
    }
    stop = 1;
    close(v[1]);
    pthread_join(t, NULL);
    close(v[0]);
    printf("%s: errors %d%s%s, short reads %d, wrong bytes %d\n", name, errors, errors ? " " : "", errors ? errno_name(last) : "",
           short_reads, wrong);
}

int main(void)
{
    int v[2];
    signal(SIGPIPE, SIG_IGN);
    tcp_pair(AF_INET, v);
    race("TCP", v);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, v))
        give_up("socketpair");
    race("AF_UNIX", v);
    return 0;
}
