// Serves and calls peers on a network, for tests/system/net_tcp.py: PORT answers each connection by what its first line asks for.
//   echo          everything back, by edge-triggered epoll
//   sink          reads all, then answers "BYTES SUM\n" and closes
//   slow          the same, but begins to read after half a second, and in small pieces
//   source N      N bytes of a pattern, then the end
//   file FROM N HOW  N bytes from there on of a file with that pattern, by sendfile(2); HOW "corked" between a head and a tail under TCP_CORK
//   stats         "STATE ...\n": what a look at this machine shows
//   wait PORT SECONDS BACKLOG MS   listens, with TCP_DEFER_ACCEPT, accepts MS later and tells of the connections it gets for 2.5 seconds
//   info N        N bytes, and when they are acknowledged what TCP_INFO says
//   call HOST PORT WHAT   a connection from here: its errors, as text
// runner: none
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <time.h>

enum { MOST = 20000 };
static int epoll;
static char *held[MOST]; // what an echo could not write yet
static size_t held_size[MOST];
static unsigned connections, ended, errors_seen[140];

static void finish(int fd)
{
    free(held[fd]);
    held[fd] = NULL;
    held_size[fd] = 0;
    close(fd);
    ended++;
}

// Everything that is there is sent back; what does not fit waits for EPOLLOUT, and nothing more is read until then.
static void echo(int fd)
{
    static char buf[100000];
    for (;;) {
        if (held[fd]) {
            ssize_t n = send(fd, held[fd], held_size[fd], MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN)
                return;
            if (n < 0) {
                errors_seen[errno]++;
                finish(fd);
                return;
            }
            memmove(held[fd], held[fd] + n, held_size[fd] -= (size_t)n);
            if (held_size[fd])
                continue;
            free(held[fd]);
            held[fd] = NULL;
        }
        ssize_t n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (n < 0)
                errors_seen[errno]++;
            finish(fd);
            return;
        }
        held[fd] = malloc((size_t)n);
        memcpy(held[fd], buf, held_size[fd] = (size_t)n);
    }
}

struct job {
    int fd;
    char line[200];
};

static void answer(int fd, const char *format, ...)
{
    char text[2000];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (write(fd, text, (size_t)n) != n)
        errors_seen[errno]++;
}

static void sink(int fd, bool slow)
{
    char buf[65536];
    unsigned long bytes = 0, sum = 0;
    ssize_t n;
    if (slow)
        usleep(500000);
    while ((n = read(fd, buf, slow ? 3000 : sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + (unsigned char)buf[i];
        bytes += (unsigned long)n;
    }
    answer(fd, "%lu %lu %s\n", bytes, sum & 0xffffffff, n ? errno_name(errno) : "end");
}

static void source(int fd, unsigned long n)
{
    static char pattern[251 * 400];
    if (!pattern[1])
        for (size_t i = 0; i < sizeof pattern; i++)
            pattern[i] = (char)(i % 251);
    for (unsigned long done = 0; done < n;) {
        size_t piece = sizeof pattern - done % 251 < n - done ? sizeof pattern - done % 251 : n - done;
        ssize_t k = send(fd, pattern + done % 251, piece, MSG_NOSIGNAL);
        if (k < 0) {
            errors_seen[errno]++;
            return;
        }
        done += (unsigned long)k;
    }
}

static void file(int fd, const char *words)
{
    static char pattern[251 * 400];
    char name[] = "/tmp/tcp_peer.XXXXXX", how[20] = "";
    unsigned long from, n;
    off_t at;
    int f = mkstemp(name), on = 1, off = 0;
    unlink(name);
    if (f < 0 || sscanf(words, "%lu %lu %19s", &from, &n, how) < 2)
        return;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(i % 251);
    for (unsigned long done = 0; done < from + n; done += sizeof pattern)
        if (write(f, pattern, sizeof pattern) != sizeof pattern)
            return;
    bool corked = strcmp(how, "corked") == 0;
    if (corked) {
        setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
        send(fd, "head", 4, MSG_NOSIGNAL);
    }
    for (at = (off_t)from; at < (off_t)(from + n);)
        if (sendfile(fd, f, &at, from + n - (unsigned long)at) <= 0)
            break;
    if (corked) {
        send(fd, "tail", 4, MSG_NOSIGNAL);
        setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
    }
    close(f);
}

static void call(int fd, char *words)
{
    char host[100], what[20];
    int port, peer;
    if (sscanf(words, "%99s %d %19s", host, &port, what) != 3)
        return;
    struct address a = {0};
    if (strchr(host, ':')) {
        a = loopback(AF_INET6, port);
        inet_pton(AF_INET6, host, &a.v6.sin6_addr);
    } else {
        a = loopback(AF_INET, port);
        inet_pton(AF_INET, host, &a.v4.sin_addr);
    }
    peer = tcp(a.any.sa_family);
    bool nonblock = strcmp(what, "nonblock") == 0;
    if (nonblock)
        fcntl(peer, F_SETFL, O_NONBLOCK);
    if (strcmp(what, "timeout") == 0) {
        struct timeval tv = {0, 300000};
        setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    }
    int r = connect(peer, &a.any, a.len), e = errno;
    answer(fd, "connect %s\n", r ? errno_name(e) : "0");
    if (nonblock) {
        struct pollfd p = {peer, POLLOUT, 0};
        int n = poll(&p, 1, 3000), error = 0;
        socklen_t len = sizeof error;
        getsockopt(peer, SOL_SOCKET, SO_ERROR, &error, &len);
        answer(fd, "poll %d %#x, SO_ERROR %s\n", n, p.revents & (POLLOUT | POLLERR | POLLHUP), errno_name(error));
        r = error;
        fcntl(peer, F_SETFL, 0);
    }
    if (r == 0) {
        char buf[1000];
        ssize_t n = write(peer, "hello\n", 6), total = 0;
        shutdown(peer, SHUT_WR);
        while ((n = read(peer, buf + total, sizeof buf - (size_t)total - 1)) > 0)
            total += n;
        buf[total] = 0;
        answer(fd, "got %s then %s\n", buf, n ? errno_name(errno) : "end");
    }
    close(peer);
}

static void source(int fd, unsigned long n);
static void info(int fd, unsigned long bytes)
{
    struct tcp_info i;
    socklen_t len = sizeof i;
    int left = 1;
    source(fd, bytes);
    for (int n = 0; n < 2000 && left; n++) {
        usleep(5000);
        ioctl(fd, TIOCOUTQ, &left);
    }
    memset(&i, 0, sizeof i);
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len);
    answer(fd, "rtt %u least %u variation %u mss %u cwnd %u lost %u bytes %llu acked %llu received %llu out %u in %u data %u unacked %u\n", i.tcpi_rtt,
           i.tcpi_min_rtt, i.tcpi_rttvar, i.tcpi_snd_mss, i.tcpi_snd_cwnd, i.tcpi_total_retrans, (unsigned long long)i.tcpi_bytes_sent - i.tcpi_bytes_retrans,
           (unsigned long long)i.tcpi_bytes_acked, (unsigned long long)i.tcpi_bytes_received, i.tcpi_segs_out, i.tcpi_segs_in, i.tcpi_data_segs_out,
           i.tcpi_unacked);
}

static long ms_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_for_calls(int fd, const char *words)
{
    int port, seconds, backlog, ms, l = tcp(AF_INET6), taken[64], n = 0;
    if (sscanf(words, "%d %d %d %d", &port, &seconds, &backlog, &ms) != 4)
        return;
    struct address a = anywhere(AF_INET6, port);
    set_int(l, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds);
    if (bind(l, &a.any, a.len) || listen(l, backlog))
        give_up("listen");
    answer(fd, "listening\n");
    long begin = ms_now();
    usleep((useconds_t)ms * 1000);
    struct tcp_info info;
    socklen_t len = sizeof info;
    getsockopt(l, IPPROTO_TCP, TCP_INFO, &info, &len);
    answer(fd, "%u wait\n", info.tcpi_unacked);
    struct pollfd p = {l, POLLIN, 0};
    while (n < 64 && ms_now() - begin < 2500 + ms && poll(&p, 1, 2500) > 0) {
        int bytes = 0;
        taken[n] = accept(l, NULL, NULL);
        ioctl(taken[n++], FIONREAD, &bytes);
        answer(fd, "after %ld ms with %d bytes\n", ms_now() - begin, bytes);
    }
    while (n)
        close(taken[--n]);
    close(l);
}

static void stats(int fd)
{
    answer(fd, "%u connections, %u ended, reset %u, timeout %u\n", connections, ended, errors_seen[ECONNRESET], errors_seen[ETIMEDOUT]);
    FILE *f = fopen("/proc/meminfo", "r");
    char line[300];
    while (f && fgets(line, sizeof line, f))
        if (strstr(line, "MemFree"))
            answer(fd, "%s", line);
    if (f)
        fclose(f);
}

static void *serve(void *arg)
{
    struct job *j = arg;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = j->fd};
    size_t n = 0;
    while (n < sizeof j->line - 1 && read(j->fd, j->line + n, 1) == 1 && j->line[n] != '\n')
        n++;
    j->line[n] = 0;
    if (strcmp(j->line, "echo") == 0) {
        fcntl(j->fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(epoll, EPOLL_CTL_ADD, j->fd, &e);
        free(j);
        return NULL;
    }
    if (strcmp(j->line, "sink") == 0 || strcmp(j->line, "slow") == 0)
        sink(j->fd, j->line[1] == 'l');
    else if (strncmp(j->line, "source ", 7) == 0)
        source(j->fd, strtoul(j->line + 7, NULL, 10));
    else if (strncmp(j->line, "file ", 5) == 0)
        file(j->fd, j->line + 5);
    else if (strncmp(j->line, "call ", 5) == 0)
        call(j->fd, j->line + 5);
    else if (strncmp(j->line, "info ", 5) == 0)
        info(j->fd, strtoul(j->line + 5, NULL, 10));
    else if (strncmp(j->line, "wait ", 5) == 0)
        wait_for_calls(j->fd, j->line + 5);
    else if (strcmp(j->line, "stats") == 0)
        stats(j->fd);
    finish(j->fd);
    free(j);
    return NULL;
}

static __attribute__((noreturn)) void *echoes(void *arg)
{
    struct epoll_event e[64];
    (void)arg;
    for (;;) {
        int n = epoll_wait(epoll, e, 64, -1);
        for (int i = 0; i < n; i++)
            echo(e[i].data.fd);
    }
}

int main(int argc, char **argv)
{
    int l = tcp(AF_INET6), c;
    struct address a = anywhere(AF_INET6, argc > 1 ? atoi(argv[1]) : 7);
    pthread_t t;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    signal(SIGPIPE, SIG_IGN);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){MOST, MOST});
    set_int(l, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(l, &a.any, a.len) || listen(l, 1000))
        give_up("listen");
    epoll = epoll_create1(0);
    pthread_create(&t, &attr, echoes, NULL);
    printf("ready\n");
    fflush(stdout);
    while ((c = accept(l, NULL, NULL)) >= 0 && c < MOST) {
        struct job *j = calloc(1, sizeof *j);
        j->fd = c;
        connections++;
        if (pthread_create(&t, &attr, serve, j)) {
            close(c);
            free(j);
        }
    }
    give_up("accept");
}
