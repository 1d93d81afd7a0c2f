// Edge-triggered epoll on TCP connections: exactly one event for each piece of news, none lost among many connections with readers and
// writers that stop at EAGAIN.
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <pthread.h>

static int epoll;

static void add(int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
        give_up("epoll_ctl");
}

static void show(const char *what, int timeout)
{
    struct epoll_event e[8];
    int n = epoll_wait(epoll, e, 8, timeout);
    printf("%s: %d", what, n);
    for (int i = 0; i < n; i++)
        printf(" %#x", e[i].events);
    printf("\n");
}

static void edges(int family)
{
    char buf[100000];
    section(family == AF_INET ? "edges, IPv4" : "edges, IPv6");
    epoll = epoll_create1(0);
    int v[2];
    tcp_pair(family, v);
    add(v[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    show("added", 1000);
    show("again", 0);
    write(v[0], "1", 1);
    show("a byte", 1000);
    show("again", 10);
    write(v[0], "2", 1);
    show("another byte", 1000);
    printf("%zd\n", read(v[1], buf, 1));
    show("one read of two", 10);
    printf("%zd\n", read(v[1], buf, 10));
    show("all read", 10);
    write(v[0], "3", 1);
    show("a byte", 1000);
    shutdown(v[0], SHUT_WR);
    show("end", 1000);
    show("again", 10);
    close(v[0]);
    show("closed", 10);
    close(v[1]);
    // Room to send: an edge when there was none.
    tcp_pair(family, v);
    set_int(v[0], SOL_SOCKET, SO_SNDBUF, 30000);
    fcntl(v[0], F_SETFL, O_NONBLOCK);
    fcntl(v[1], F_SETFL, O_NONBLOCK);
    add(v[0], EPOLLOUT | EPOLLET);
    show("writable", 1000);
    memset(buf, 'e', sizeof buf);
    struct epoll_event e;
    while (write(v[0], buf, sizeof buf) > 0)
        ;
    int writable = epoll_wait(epoll, &e, 1, 10); // Linux' queues may settle so that there is some room at once
    for (int quiet = 0; quiet < 3;) {
        ssize_t n = read(v[1], buf, sizeof buf);
        if (n <= 0) {
            usleep(5000);
            quiet++;
        }
    }
    writable += epoll_wait(epoll, &e, 1, writable ? 0 : 1000);
    printf("drained, and writable: %d\n", writable > 0);
    show("again", 10);
    close_pair(v);
    // A connection that is refused, one that comes.
    int l = listener(family, 3), fd = tcp(family), port = port_of(l);
    add(l, EPOLLIN | EPOLLET);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    connect_to(family, fd, l);
    show("waits", 1000);
    show("again", 0);
    close(accept(l, NULL, NULL));
    close(l);
    close(fd);
    fd = tcp(family);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct address a = loopback(family, port);
    printf("%s\n", connect(fd, &a.any, a.len) ? errno_name(errno) : "0");
    settle(fd, POLLOUT);
    add(fd, EPOLLIN | EPOLLOUT | EPOLLET);
    show("refused", 1000);
    close(fd);
    close(epoll);
}

enum { PAIRS = 40, BYTES = 300000 };
static int server[PAIRS], client[PAIRS];

// Sends back what comes, with one thread for all, by edges alone.
static void *echoes(void *arg)
{
    static char held[PAIRS][5000];
    static size_t size[PAIRS];
    int open = PAIRS, ep = epoll_create1(0);
    (void)arg;
    for (int i = 0; i < PAIRS; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, server[i], &e);
    }
    while (open) {
        struct epoll_event e[16];
        int n = epoll_wait(ep, e, 16, 20000);
        if (n <= 0)
            give_up("an event is lost, %d connections", open);
        for (int k = 0; k < n; k++) {
            uint32_t i = e[k].data.u32;
            for (;;) {
                while (size[i]) {
                    ssize_t w = write(server[i], held[i], size[i]);
                    if (w < 0)
                        break;
                    memmove(held[i], held[i] + w, size[i] -= (size_t)w);
                }
                if (size[i])
                    break;
                ssize_t r = read(server[i], held[i], sizeof held[i]);
                if (r < 0)
                    break;
                if (r == 0) {
                    close(server[i]);
                    open--;
                    break;
                }
                size[i] = (size_t)r;
            }
        }
    }
    close(ep);
    return NULL;
}

static void *sender(void *arg)
{
    char buf[7000];
    int fd = client[(intptr_t)arg];
    memset(buf, (int)(intptr_t)arg, sizeof buf);
    for (size_t done = 0; done < BYTES;) {
        size_t n = sizeof buf < BYTES - done ? sizeof buf : BYTES - done;
        ssize_t w = write(fd, buf, n);
        if (w < 0)
            give_up("write %s", errno_name(errno));
        done += (size_t)w;
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void *receiver(void *arg)
{
    char buf[9000];
    intptr_t i = (intptr_t)arg;
    size_t total = 0, bad = 0;
    ssize_t n;
    while ((n = read(client[i], buf, sizeof buf)) > 0) {
        for (ssize_t k = 0; k < n; k++)
            bad += buf[k] != (char)i;
        total += (size_t)n;
    }
    return (void *)(total == BYTES && !bad && n == 0 ? 1L : 0L);
}

static void load(void)
{
    section("load");
    pthread_t echo, s[PAIRS], r[PAIRS];
    int good = 0;
    for (int i = 0; i < PAIRS; i++) {
        int v[2];
        tcp_pair(i % 2 ? AF_INET6 : AF_INET, v);
        client[i] = v[0];
        server[i] = v[1];
        set_int(server[i], SOL_SOCKET, SO_SNDBUF, 10000);
        fcntl(server[i], F_SETFL, O_NONBLOCK);
    }
    pthread_create(&echo, NULL, echoes, NULL);
    for (intptr_t i = 0; i < PAIRS; i++) {
        pthread_create(&s[i], NULL, sender, (void *)i);
        pthread_create(&r[i], NULL, receiver, (void *)i);
    }
    for (int i = 0; i < PAIRS; i++) {
        void *result;
        pthread_join(s[i], NULL);
        pthread_join(r[i], &result);
        good += result != NULL;
        close(client[i]);
    }
    pthread_join(echo, NULL);
    printf("%d of %d\n", good, PAIRS);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    edges(AF_INET);
    edges(AF_INET6);
    load();
    return 0;
}
