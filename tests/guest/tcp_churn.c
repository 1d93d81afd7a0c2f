// Many short connections within the machine: from several threads, ended in every way, leave no memory and no port behind.
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include "tcp.h"
#include <pthread.h>

enum { THREADS = 4, EACH = 2000 };
static int l, bad;

static void *calls(void *arg)
{
    char buf[100];
    intptr_t me = (intptr_t)arg;
    for (int i = 0; i < EACH; i++) {
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

static long memory(const char *format)
{
    char line[200];
    long n = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, format, &n) == 1)
            break;
    if (f)
        fclose(f);
    return n;
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

int main(void)
{
    turn();
    long before = memory("MemFree: %ld");
    turn();
    long lost = before - memory("MemFree: %ld");
    printf("%d connections, %d failed\n", 2 * THREADS * EACH, bad);
    // A page each would be 32 MB. A large machine is the host, with others on it.
    if (lost > 4096 && memory("MemTotal: %ld") < 1 << 19)
        printf("%ld kB are lost\n", lost);
    return 0;
}
