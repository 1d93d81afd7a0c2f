/*
 * Load for servers, from the host:
 *
 *   netload rate HOST PORT REDIS|HTTP CONNECTIONS RATE SECONDS
 *       asks RATE times a second, spread over the connections, whether the answers have come or not, and prints the latencies in microseconds
 *       from the moment that the question was due: what a slow answer delays counts.
 *   netload idle HOST PORT CONNECTIONS
 *       makes connections, prints `ready`, and holds them until the end of standard input.
 *   netload tsc
 *       prints the rate of the time stamp counter in kHz: QEMU gives its guests the same one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum { OUTSTANDING = 4096, ANSWER = 1 << 16 };

struct connection {
    int fd;
    uint64_t due[OUTSTANDING]; /* when the questions that wait were due, a ring */
    unsigned first, count;
    char buffer[ANSWER];
    size_t length;
};

static void fail(const char *what)
{
    fprintf(stderr, "netload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int dial(const char *host, const char *port)
{
    struct addrinfo *info, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    int one = 1;

    if (getaddrinfo(host, port, &hints, &info))
        fail(host);
    int fd = socket(info->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, info->ai_addr, info->ai_addrlen))
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    freeaddrinfo(info);
    return fd;
}

/* The length of the first answer in the buffer, 0 when it is not whole. */
static size_t answer(const struct connection *c, int http)
{
    const char *head = memmem(c->buffer, c->length, http ? "\r\n\r\n" : "\r\n", http ? 4 : 2);
    size_t body = 0;

    if (!head)
        return 0;
    if (http) {
        const char *field = memmem(c->buffer, (size_t)(head - c->buffer), "Content-Length: ", 16);
        if (!field)
            fail("an answer without a length");
        body = 4 + strtoul(field + 16, NULL, 10);
    } else {
        if (*c->buffer != '$' && *c->buffer != '+')
            fail("an answer that is none");
        long length = *c->buffer == '$' ? strtol(c->buffer + 1, NULL, 10) : -1;
        body = 2 + (length >= 0 ? (size_t)length + 2 : 0);
    }
    size_t whole = (size_t)(head - c->buffer) + body;
    return whole <= c->length ? whole : 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int rate(char **argv)
{
    int http = strcmp(argv[2], "HTTP") == 0;
    unsigned connections = (unsigned)atoi(argv[3]);
    double per_second = atof(argv[4]), seconds = atof(argv[5]);
    size_t total = (size_t)(per_second * seconds), asked = 0, answered = 0, dropped = 0;
    struct connection *all = calloc(connections, sizeof(*all));
    uint64_t *latency = calloc(total + 1, sizeof(*latency));
    char question[256];
    int poll = epoll_create1(0);

    if (!all || !latency)
        fail("memory");
    int size = http ? snprintf(question, sizeof(question), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", argv[0])
                    : snprintf(question, sizeof(question), "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    for (unsigned i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = dial(argv[0], argv[1]);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9) + 5000000000;
    while (answered + dropped < total && now() < end) {
        uint64_t due = start + (uint64_t)((double)asked * 1e9 / per_second), at = now();
        while (asked < total && due <= at) {
            struct connection *c = &all[asked % connections];
            if (c->count == OUTSTANDING || write(c->fd, question, (size_t)size) != size)
                dropped++; /* the server is so far behind that the socket is full */
            else
                c->due[(c->first + c->count++) % OUTSTANDING] = due;
            asked++;
            due = start + (uint64_t)((double)asked * 1e9 / per_second);
        }
        struct epoll_event events[64];
        struct timespec wait = {.tv_nsec = asked < total && due > at ? (long)(due - at < 1000000 ? due - at : 1000000) : 1000000};
        int n = epoll_pwait2(poll, events, 64, &wait, NULL);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t got = read(c->fd, c->buffer + c->length, sizeof(c->buffer) - c->length);
            if (got <= 0)
                fail("read");
            c->length += (size_t)got;
            at = now();
            for (size_t whole; (whole = answer(c, http));) {
                if (c->count == 0)
                    fail("an answer to nothing");
                latency[answered++] = at - c->due[c->first];
                c->first = (c->first + 1) % OUTSTANDING;
                c->count--;
                c->length -= whole;
                memmove(c->buffer, c->buffer + whole, c->length);
            }
        }
    }
    qsort(latency, answered, sizeof(*latency), compare);
    printf("asked %zu answered %zu p50 %ju p99 %ju p999 %ju\n", asked, answered, (uintmax_t)latency[answered / 2] / 1000,
           (uintmax_t)latency[answered * 99 / 100] / 1000, (uintmax_t)latency[answered * 999 / 1000] / 1000);
    return answered < total;
}

static int idle(char **argv)
{
    unsigned connections = (unsigned)atoi(argv[2]);
    struct rlimit files = {connections + 64, connections + 64};
    char c;

    setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned i = 0; i < connections; i++)
        dial(argv[0], argv[1]);
    puts("ready");
    fflush(stdout);
    while (read(0, &c, 1) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "rate") == 0)
        return rate(argv + 2);
    if (argc == 5 && strcmp(argv[1], "idle") == 0)
        return idle(argv + 2);
    if (argc == 2 && strcmp(argv[1], "tsc") == 0) {
        uint64_t start = now(), ticks = __rdtsc();
        usleep(300000);
        ticks = __rdtsc() - ticks;
        return printf("%ju\n", (uintmax_t)(ticks * 1000000 / (now() - start))) < 0;
    }
    fprintf(stderr, "usage: see the source\n");
    return 2;
}
