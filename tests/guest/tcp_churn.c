// Many short connections within the machine: from several threads, ended in every way, leave no memory, no socket and no port behind.
// With a number as its argument it makes so many, and tells what was there before and after: `tcp_churn 1000000`.
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 4, EACH = 2000 };
static int l, bad, each = EACH;

static void *calls(void *arg)
{
    char buf[100];
    intptr_t me = (intptr_t)arg;
    for (int i = 0; i < each; i++) {
        int fd = tcp(AF_INET);
        if (connect_to(AF_INET, fd, l) || write(fd, "request", 7) != 7)
            __atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
        int how = (i + (int)me) % 4;
        if (how == 0)
            shutdown(fd, SHUT_WR);
        if (how < 2)
            while (read(fd, buf, sizeof buf) > 0)
                ;
        linger_zero(fd); // or Linux has no port left at last
        close(fd);
    }
    return NULL;
}

static void *answers(void *arg)
{
    char buf[100];
    int fd;
    (void)arg;
    while ((fd = accept(l, NULL, NULL)) >= 0) {
        if (read(fd, buf, 7) == 7)
            (void)!send(fd, "answer", 6, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static long number(const char *file, const char *format)
{
    char line[200];
    long n = 0;
    FILE *f = fopen(file, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, format, &n) == 1)
            break;
    if (f)
        fclose(f);
    return n;
}

struct state {
    long free, slab, sockets, pcbs, waiting, pages;
};

static struct state state(void)
{
    static const char mem[] = "/proc/meminfo", sockstat[] = "/proc/net/sockstat";
    return (struct state){number(mem, "MemFree: %ld"), number(mem, "Slab: %ld"), number(sockstat, "sockets: used %ld"),
                          number(sockstat, "TCP: inuse %*d orphan %*d tw %*d alloc %ld"), number(sockstat, "TCP: inuse %*d orphan %*d tw %ld"),
                          number(sockstat, "TCP: inuse %*d orphan %*d tw %*d alloc %*d mem %ld")};
}

static void show(const char *when, struct state s)
{
    printf("%s: %ld kB free, %ld kB in slabs; sockets %ld, TCP %ld, in TIME-WAIT %ld, pages %ld\n", when, s.free, s.slab, s.sockets, s.pcbs,
           s.waiting, s.pages);
}

static void turn(void)
{
    pthread_t a[2], c[THREADS];
    l = listener(AF_INET, 50);
    for (int i = 0; i < 2; i++)
        pthread_create(&a[i], NULL, answers, NULL);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&c[i], NULL, calls, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(c[i], NULL);
    shutdown(l, SHUT_RD);
    for (int i = 0; i < 2; i++)
        pthread_join(a[i], NULL);
    close(l);
}

int main(int argc, char **argv)
{
    turn();
    struct state before = state();
    struct timespec start, end;
    if (argc > 1)
        each = (atoi(argv[1]) + THREADS - 1) / THREADS;
    clock_gettime(CLOCK_MONOTONIC, &start);
    turn();
    clock_gettime(CLOCK_MONOTONIC, &end);
    struct state after = state();
    printf("%d connections, %d failed\n", THREADS * (EACH + each), bad);
    if (argc > 1) {
        double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
        show("before", before);
        show("after", after);
        printf("%.1f s, %.0f a second\n", seconds, THREADS * each / seconds);
    }
    // A page each would be 32 MB. A large machine is the host, with others on it.
    if (number("/proc/meminfo", "MemTotal: %ld") < 1 << 19) {
        if (before.free - after.free > 4096)
            printf("%ld kB are lost\n", before.free - after.free);
        if (after.slab - before.slab > 1024)
            printf("%ld kB more in slabs\n", after.slab - before.slab);
        if (after.pcbs > before.pcbs || after.sockets > before.sockets)
            printf("%ld TCP sockets are left, %ld before\n", after.pcbs, before.pcbs);
    }
    return bad != 0;
}
