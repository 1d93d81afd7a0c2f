// signalfd: what is read for signals of every origin, order, masks that change, poll, epoll across fork, threads.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

static void show(const char *what, int fd)
{
    struct signalfd_siginfo s[4];
    ssize_t n = read(fd, s, sizeof s);
    if (n < 0) {
        printf("%s: %s\n", what, errno_name(errno));
        return;
    }
    printf("%s: %zd bytes\n", what, n);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof *s; i++)
        printf("  signal %u code %d errno %d, from %s, uid %u, int %d, ptr %llx, status %d, overrun %u\n", s[i].ssi_signo,
               s[i].ssi_code, s[i].ssi_errno,
               s[i].ssi_pid == 0 ? "nobody" : s[i].ssi_pid == (unsigned)getpid() ? "here" : "elsewhere", s[i].ssi_uid == getuid(),
               s[i].ssi_int, (unsigned long long)s[i].ssi_ptr, s[i].ssi_status, s[i].ssi_overrun);
    fflush(stdout);
}

static int ready(int fd, int timeout)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    return poll(&p, 1, timeout) < 0 ? -1 : p.revents;
}

static int the_fd;
static void *thread(void *arg)
{
    (void)arg;
    printf("thread: ready %d\n", ready(the_fd, 0)); // a signal to another thread is not its own
    raise(SIGUSR2);
    printf("thread: ready %d\n", ready(the_fd, 0));
    show("thread reads", the_fd);
    return NULL;
}

static void *sender(void *arg)
{
    usleep(20000);
    kill(getpid(), *(int *)arg);
    return NULL;
}

int main(void)
{
    sigset_t set, more;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGKILL);
    more = set;
    sigaddset(&more, SIGTERM);
    sigprocmask(SIG_BLOCK, &more, NULL);

    section("errors");
    SHOW(syscall(SYS_signalfd4, -1, &set, 4, 0));
    SHOW(syscall(SYS_signalfd4, -1, &set, 8, 1));
    SHOW(syscall(SYS_signalfd4, -1, 8, 8, 0));
    SHOW(syscall(SYS_signalfd4, 99, &set, 8, 0));
    SHOW(syscall(SYS_signalfd4, 1, &set, 8, 0));
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    HOLDS(fd >= 0);
    HOLDS(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
    char buf[127];
    SHOW(read(fd, buf, sizeof buf));
    SHOW(write(fd, buf, sizeof buf));
    show("nothing", fd);
    SHOW(ready(fd, 0));

    section("kinds");
    raise(SIGUSR1);
    SHOW(ready(fd, 0));
    show("raise", fd);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    show("kill", fd);
    union sigval v = {.sival_ptr = (void *)0x1234567890};
    sigqueue(getpid(), SIGRTMIN, v);
    v.sival_ptr = (void *)5;
    sigqueue(getpid(), SIGRTMIN, v);
    show("queued", fd);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        raise(SIGUSR1); // the child reads its own signals from the same file
        show("child reads", fd);
        fflush(stdout);
        _exit(3);
    }
    SHOW(ready(fd, 2000));
    show("child", fd);
    waitpid(child, NULL, 0);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_int = 77};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &ev, &timer);
    struct itimerspec when = {.it_value.tv_nsec = 1000000};
    timer_settime(timer, 0, &when, NULL);
    SHOW(ready(fd, 2000));
    show("timer", fd);
    timer_delete(timer);

    section("mask");
    raise(SIGTERM);
    SHOW(ready(fd, 0));
    HOLDS(signalfd(fd, &more, 0) == fd);
    SHOW(ready(fd, 0));
    show("now", fd);
    sigset_t pending;
    raise(SIGUSR1);
    sigpending(&pending);
    SHOW(sigismember(&pending, SIGUSR1));
    show("taken", fd);
    sigpending(&pending);
    SHOW(sigismember(&pending, SIGUSR1));

    section("waiting");
    fcntl(fd, F_SETFL, 0);
    pthread_t t;
    int sig = SIGUSR1;
    pthread_create(&t, NULL, sender, &sig);
    show("blocking read", fd);
    pthread_join(t, NULL);
    pthread_create(&t, NULL, sender, &sig);
    SHOW(ready(fd, 5000));
    pthread_join(t, NULL);
    show("after poll", fd);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int e = epoll_create1(0);
    struct epoll_event ee = {.events = EPOLLIN, .data.u32 = 9}, got;
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ee));
    SHOW(epoll_wait(e, &got, 1, 0));
    pthread_create(&t, NULL, sender, &sig);
    SHOW(epoll_wait(e, &got, 1, 5000));
    pthread_join(t, NULL);
    show("after epoll", fd);
    the_fd = fd;
    pthread_kill(pthread_self(), SIGUSR1);
    fflush(stdout);
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    show("main thread", fd);

    section("forks");
    // Children that register the file with an epoll instance that lives on, and end.
    for (int i = 0; i < 20; i++) {
        child = fork();
        if (child == 0) {
            struct epoll_event mine = {.events = EPOLLIN};
            int d = dup(fd);
            epoll_ctl(e, EPOLL_CTL_ADD, d, &mine);
            ready(fd, 0);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    show("children", fd);
    close(fd);
    raise(SIGUSR1);
    epoll_wait(e, &got, 1, 0);
    close(e);
    puts("done");
    return 0;
}
