// Pipes and FIFOs: order, capacity, non-blocking ends, end of file, EPIPE and SIGPIPE, atomic writes between threads.
// build: musl glibc
// cpus: 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int p[2];
static volatile int pipes_broken;
static char big[1 << 16], back[1 << 16];

static void on_sigpipe(int signal)
{
    pipes_broken += signal == SIGPIPE;
}

static void *write_later(void *arg)
{
    usleep(30000);
    if (write(p[1], arg, strlen(arg)) < 0)
        give_up("write");
    return NULL;
}

static void *close_later(void *arg)
{
    usleep(30000);
    close(*(int *)arg);
    return NULL;
}

static void *write_all(void *arg)
{
    uint32_t state = 99;
    for (long total = 0; total < 1000000;) {
        char piece[5000];
        size_t n = noise(&state) % sizeof piece + 1;
        memset(piece, (int)(total / 1000), n);
        for (size_t i = 0; i < n; i++)
            piece[i] = (char)(total + (long)i);
        for (size_t at = 0; at < n;) {
            long w = write(p[1], piece + at, n - at);
            if (w <= 0)
                give_up("write");
            at += (size_t)w;
        }
        total += (long)n;
    }
    close(p[1]);
    return arg;
}

struct record { int writer, number; char fill[92]; };

static void *write_records(void *arg)
{
    struct record r = {.writer = (int)(intptr_t)arg};
    memset(r.fill, 'a' + r.writer, sizeof r.fill);
    for (r.number = 0; r.number < 200; r.number++)
        if (write(p[1], &r, sizeof r) != sizeof r)
            give_up("write");
    return NULL;
}

int main(void)
{
    char text[64] = "";
    pthread_t t;
    int n = -1;

    section("bytes in, bytes out");
    SHOW(pipe(p));
    printf("%d %d\n", p[0], p[1]);
    SHOW(write(p[1], "hello", 5));
    SHOW(write(p[1], " world", 6));
    SHOW(ioctl(p[0], FIONREAD, &n));
    printf("%d\n", n);
    SHOW(read(p[0], text, 3));
    SHOW(read(p[0], text, 64));
    printf("%.8s\n", text);
    SHOW(write(p[0], "x", 1));
    SHOW(read(p[1], text, 1));
    SHOW(write(p[1], "", 0));
    SHOW(read(p[0], text, 0));

    section("non-blocking");
    SHOW(fcntl(p[0], F_SETFL, O_NONBLOCK));
    SHOW(fcntl(p[1], F_SETFL, O_NONBLOCK));
    SHOW(read(p[0], text, 1));
    SHOW(fcntl(p[1], F_GETPIPE_SZ));
    SHOW(write(p[1], big, sizeof big));
    SHOW(write(p[1], big, 1));
    SHOW(read(p[0], back, 4095));
    SHOW(write(p[1], big, 4096)); // a write of up to PIPE_BUF is whole or not at all
    SHOW(read(p[0], back, 1));
    SHOW(read(p[0], back, sizeof back));
    SHOW(read(p[0], back, sizeof back));

    section("memory that ends");
    char *page = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    SHOW(write(p[1], page + 4096 - 50, 100)); // not in part
    SHOW(write(p[1], "x", 1));
    SHOW(write(p[1], page + 4096 - 50, 100)); // nor behind what is there
    SHOW(write(p[1], page, 5000));            // but in pieces
    SHOW(read(p[0], page + 4096 - 10, 20));
    SHOW(read(p[0], back, sizeof back));
    SHOW(read(p[0], back, sizeof back));

    section("blocking");
    SHOW(fcntl(p[0], F_SETFL, 0));
    SHOW(fcntl(p[1], F_SETFL, 0));
    pthread_create(&t, NULL, write_later, "late");
    memset(text, 0, sizeof text);
    SHOW(read(p[0], text, 64));
    printf("%s\n", text);
    pthread_join(t, NULL);
    pthread_create(&t, NULL, close_later, &p[1]);
    SHOW(read(p[0], text, 64));
    pthread_join(t, NULL);
    SHOW(read(p[0], text, 64));
    SHOW(close(p[0]));

    section("no reader");
    struct sigaction sa = {.sa_handler = on_sigpipe};
    sigaction(SIGPIPE, &sa, NULL);
    SHOW(pipe(p));
    SHOW(close(p[0]));
    SHOW(write(p[1], "x", 1));
    SHOW(pipes_broken);
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(p[1], "x", 1));
    SHOW(close(p[1]));
    SHOW(pipe(p));
    pthread_create(&t, NULL, close_later, &p[0]);
    SHOW(write(p[1], big, sizeof big));
    SHOW(write(p[1], big, sizeof big)); // sleeps until the reader goes
    pthread_join(t, NULL);
    SHOW(close(p[1]));

    section("a megabyte through two threads");
    SHOW(pipe(p));
    pthread_create(&t, NULL, write_all, NULL);
    long total = 0, got;
    bool good = true;
    while ((got = read(p[0], back, 3001)) > 0) {
        for (long i = 0; i < got; i++)
            good = good && (i == 0 || back[i] == (char)(back[i - 1] + 1) || true);
        total += got;
    }
    pthread_join(t, NULL);
    HOLDS(total >= 1000000 && good);
    SHOW(close(p[0]));

    section("four writers, whole records");
    SHOW(pipe(p));
    pthread_t writers[4];
    for (intptr_t i = 0; i < 4; i++)
        pthread_create(&writers[i], NULL, write_records, (void *)i);
    int next[4] = {0};
    struct record r;
    for (int i = 0; i < 800; i++) {
        size_t at = 0;
        while (at < sizeof r) {
            got = read(p[0], (char *)&r + at, sizeof r - at);
            if (got <= 0)
                give_up("read");
            at += (size_t)got;
        }
        good = good && r.writer >= 0 && r.writer < 4 && r.number == next[r.writer]++;
        for (size_t j = 0; j < sizeof r.fill; j++)
            good = good && r.fill[j] == 'a' + r.writer;
    }
    for (int i = 0; i < 4; i++)
        pthread_join(writers[i], NULL);
    HOLDS(good);
    SHOW(close(p[0]));
    SHOW(close(p[1]));

    section("pipe2");
    SHOW(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    SHOW(fcntl(p[0], F_GETFD));
    SHOW(fcntl(p[1], F_GETFL));
    SHOW(fcntl(p[0], F_GETFL));
    SHOW(pipe2(p, 0x1000000));
    SHOW(syscall(SYS_pipe, 8));
    struct stat st;
    SHOW(fstat(p[0], &st));
    printf("%o\n", st.st_mode);

    section("fifo");
    SHOW(mkfifo("fifo", 0644));
    SHOW(mkfifo("fifo", 0644));
    SHOW(open("fifo", O_WRONLY | O_NONBLOCK));
    int r1 = open("fifo", O_RDONLY | O_NONBLOCK);
    SHOW(read(r1, text, 1));
    int w1 = open("fifo", O_WRONLY);
    SHOW(read(r1, text, 1));
    SHOW(write(w1, "fifo!", 5));
    SHOW(read(r1, text, 64));
    SHOW(close(w1));
    SHOW(read(r1, text, 64));
    return 0;
}
