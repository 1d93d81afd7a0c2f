// poll, ppoll, select and pselect on pipes and files: what is ready, time limits, errors and interruption.
// build: musl glibc
// cpus: 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

static int p[2], q[2];
static volatile int alarms;

static void show_poll(const char *what, struct pollfd *fds, int n, int timeout)
{
    errno = 0;
    int result = poll(fds, (nfds_t)n, timeout);
    printf("%s: %d%s%s:", what, result, result < 0 ? " " : "", result < 0 ? errno_name(errno) : "");
    for (int i = 0; i < n; i++)
        printf(" %#x", fds[i].revents);
    printf("\n");
}

static long elapsed_ms(struct timespec *since)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

static void *write_later(void *arg)
{
    usleep(30000);
    if (write(*(int *)arg, "x", 1) != 1)
        give_up("write");
    return NULL;
}

static void *close_later(void *arg)
{
    usleep(30000);
    close(*(int *)arg);
    return NULL;
}

static void on_alarm(int signal)
{
    alarms += signal == SIGALRM;
}

int main(void)
{
    pthread_t t;
    char text[16];
    struct timespec start;
    int file = open("f", O_RDWR | O_CREAT, 0644);
    SHOW(pipe(p));
    SHOW(pipe(q));

    section("poll");
    struct pollfd fds[4] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {file, POLLIN | POLLOUT, 0}, {-1, POLLIN, 9}};
    show_poll("empty pipe", fds, 4, 0);
    SHOW(write(p[1], "x", 1));
    show_poll("a byte", fds, 4, -1);
    fds[3] = (struct pollfd){99, POLLIN, 0};
    show_poll("bad descriptor", fds, 4, -1);
    show_poll("only reader", fds, 1, 1000);
    SHOW(read(p[0], text, 16));
    clock_gettime(CLOCK_MONOTONIC, &start);
    show_poll("times out", fds, 1, 50);
    HOLDS(elapsed_ms(&start) >= 50 && elapsed_ms(&start) < 5000);
    pthread_create(&t, NULL, write_later, &p[1]);
    show_poll("woken by a write", fds, 1, -1);
    pthread_join(t, NULL);
    SHOW(read(p[0], text, 16));
    pthread_create(&t, NULL, close_later, &p[1]);
    show_poll("woken by the last writer's end", fds, 1, -1);
    pthread_join(t, NULL);
    fds[0] = (struct pollfd){q[1], POLLOUT, 0};
    SHOW(close(q[0]));
    show_poll("no reader", fds, 1, 0);
    SHOW(poll(NULL, 0, 10));
    SHOW(syscall(SYS_poll, 8, 1, 0));
    SHOW(syscall(SYS_poll, fds, 1 << 30, 0));
    fds[0] = (struct pollfd){p[0], 0, 0};
    show_poll("hang-up is always told", fds, 1, 0);

    section("ppoll");
    SHOW(ppoll(NULL, 0, &(struct timespec){0, 1000000}, NULL));
    SHOW(ppoll(NULL, 0, &(struct timespec){0, 1000000000}, NULL));
    SHOW(ppoll(NULL, 0, &(struct timespec){-1, 0}, NULL));

    section("select");
    SHOW(close(p[0]));
    SHOW(pipe(p));
    fd_set in, out;
    struct timeval tv = {0, 0};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(p[0], &in), FD_SET(p[1], &out);
    SHOW(select(p[1] + 1, &in, &out, NULL, &tv));
    SHOW(FD_ISSET(p[0], &in) != 0);
    SHOW(FD_ISSET(p[1], &out) != 0);
    SHOW(write(p[1], "x", 1));
    FD_SET(p[0], &in);
    SHOW(select(p[1] + 1, &in, &out, NULL, NULL));
    SHOW(FD_ISSET(p[0], &in) != 0);
    // Linux passes over descriptors above the size of its table; opening this one makes the table that large.
    SHOW(dup2(p[0], 99));
    SHOW(close(99));
    FD_SET(99, &in);
    SHOW(select(100, &in, NULL, NULL, NULL));
    SHOW(select(-1, &in, NULL, NULL, &tv));
    tv.tv_usec = -1;
    SHOW(select(0, NULL, NULL, NULL, &tv));
    tv = (struct timeval){0, 30000};
    clock_gettime(CLOCK_MONOTONIC, &start);
    SHOW(select(0, NULL, NULL, NULL, &tv));
    HOLDS(elapsed_ms(&start) >= 30);

    section("interrupted");
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}; // poll is not restarted even so
    sigaction(SIGALRM, &sa, NULL);
    // Again after a while, for a machine so slow that the first one comes before the call.
    struct itimerval in_30ms = {{0, 500000}, {0, 30000}}, never = {{0, 0}, {0, 0}};
    SHOW(read(p[0], text, 16));
    fds[0] = (struct pollfd){p[0], POLLIN, 0};
    setitimer(ITIMER_REAL, &in_30ms, NULL);
    show_poll("a signal", fds, 1, -1);
    setitimer(ITIMER_REAL, &in_30ms, NULL);
    FD_ZERO(&in);
    FD_SET(p[0], &in);
    SHOW(select(p[0] + 1, &in, NULL, NULL, NULL));
    tv = (struct timeval){100, 0};
    setitimer(ITIMER_REAL, &in_30ms, NULL);
    SHOW(select(p[0] + 1, &in, NULL, NULL, &tv));
    setitimer(ITIMER_REAL, &never, NULL);
    HOLDS(tv.tv_sec == 99 && tv.tv_usec <= 970000); // how much was left is said all the same
    HOLDS(alarms >= 3);
    alarms = 3;
    // ppoll's mask lets through what is blocked outside of it.
    sigset_t set, none;
    sigemptyset(&set), sigemptyset(&none);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGALRM);
    SHOW(alarms);
    SHOW(ppoll(fds, 1, NULL, &none));
    SHOW(alarms);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    SHOW(sigismember(&now, SIGALRM));
    raise(SIGALRM);
    SHOW(pselect(p[0] + 1, &in, NULL, NULL, NULL, &none));
    SHOW(alarms);
    return 0;
}
