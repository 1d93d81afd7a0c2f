// build: musl glibc
// cpus: 1 2
// Files that are not on a disk: epoll, eventfd, timerfd, memfd with its seals, locks, and copies inside the kernel.
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#endif

static void show_events(int ep, int timeout) {
    struct epoll_event ev[8];
    int n = epoll_wait(ep, ev, 8, timeout);
    printf("epoll_wait %d:", n);
    for (int i = 0; i < n; i++)
        printf(" %x/%d", ev[i].events, (int)ev[i].data.u32);
    printf("\n");
}

static int add(int ep, int op, int fd, unsigned events, int data) {
    struct epoll_event ev = {.events = events, .data.u32 = data};
    return epoll_ctl(ep, op, fd, &ev);
}

static void *write_later(void *arg) {
    usleep(20000);
    if (write(*(int *)arg, "late", 4) != 4)
        printf("late write failed\n");
    return NULL;
}

static void epolls(void) {
    int ep = epoll_create1(EPOLL_CLOEXEC), p[2], q[2];
    char buf[64];
    if (ep < 0 || pipe(p) || pipe(q))
        return;
    SHOW(fcntl(ep, F_GETFD));
    SHOW(add(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    SHOW(add(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    SHOW(add(ep, EPOLL_CTL_ADD, q[1], EPOLLOUT | EPOLLET, 2));
    SHOW(add(ep, EPOLL_CTL_MOD, q[0], EPOLLIN, 3));
    SHOW(add(ep, EPOLL_CTL_DEL, q[0], 0, 3));
    SHOW(add(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 4));
    SHOW(add(ep, EPOLL_CTL_ADD, 99, EPOLLIN, 4));
    SHOW(add(p[0], EPOLL_CTL_ADD, q[0], EPOLLIN, 4));
    SHOW(add(ep, 77, p[0], EPOLLIN, 4));
    int dir = open(".", O_RDONLY);
    SHOW(add(ep, EPOLL_CTL_ADD, dir, EPOLLIN, 5));
    SHOW(epoll_wait(ep, NULL, 0, 0));
    SHOW(epoll_create1(12345));
    show_events(ep, 0);
    show_events(ep, 0);
    SHOW(write(p[1], "x", 1));
    show_events(ep, 0);
    show_events(ep, 0);
    SHOW(read(p[0], buf, sizeof buf));
    show_events(ep, 0);
    SHOW(add(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 6));
    pthread_t t;
    pthread_create(&t, NULL, write_later, &p[1]);
    show_events(ep, -1);
    pthread_join(t, NULL);
    show_events(ep, 0);
    close(p[1]);
    show_events(ep, 0);
    SHOW(add(ep, EPOLL_CTL_MOD, p[0], EPOLLIN, 7));
    show_events(ep, 0);
    struct pollfd pf = {ep, POLLIN, 0};
    SHOW(poll(&pf, 1, 0));
    close(p[0]);
    SHOW(poll(&pf, 1, 0));
    show_events(ep, 10);
}

static void counters(void) {
    uint64_t v = 7;
    int e = eventfd(3, EFD_NONBLOCK), s = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    SHOW(write(e, &v, 8));
    SHOW(write(e, &v, 4));
    SHOW(read(e, &v, 8));
    printf("%lu\n", (unsigned long)v);
    SHOW(read(e, &v, 8));
    SHOW(read(s, &v, 8));
    printf("%lu\n", (unsigned long)v);
    SHOW(lseek(e, 0, SEEK_SET));
    SHOW(pread(e, &v, 8, 0));
    v = -1;
    SHOW(write(e, &v, 8));
    struct pollfd pf = {e, POLLIN | POLLOUT, 0};
    SHOW(poll(&pf, 1, 0));
    printf("%x\n", pf.revents);
}

static void timers(void) {
    uint64_t v = 0;
    struct itimerspec set = {{0, 20000000}, {0, 30000000}}, got;
    int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    SHOW(timerfd_create(99, 0));
    SHOW(read(t, &v, 8));
    SHOW(timerfd_gettime(t, &got));
    printf("%ld\n", got.it_value.tv_nsec);
    SHOW(timerfd_settime(t, 0, &set, NULL));
    struct pollfd pf = {t, POLLIN, 0};
    SHOW(poll(&pf, 1, 2000));
    SHOW(read(t, &v, 8));
    HOLDS(v >= 1);
    set.it_value.tv_nsec = 1000000000;
    SHOW(timerfd_settime(t, 0, &set, NULL));
    set.it_value.tv_nsec = 0;
    SHOW(timerfd_settime(t, 0, &set, &got));
    printf("%ld\n", got.it_interval.tv_nsec);
    SHOW(poll(&pf, 1, 50));
}

static void memory_files(void) {
    int m = memfd_create("secret", MFD_ALLOW_SEALING | MFD_CLOEXEC), n = memfd_create("plain", 0);
    char link[64], buf[8];
    SHOW(fcntl(m, F_GET_SEALS));
    SHOW(fcntl(n, F_GET_SEALS));
    SHOW(write(m, "abcdef", 6));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    SHOW(ftruncate(m, 3));
    SHOW(ftruncate(m, 30));
    SHOW(pwrite(m, "XY", 2, 4));
    SHOW(pwrite(m, "XY", 2, 5));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    SHOW(pwrite(m, "XY", 2, 0));
    SHOW(fcntl(m, F_ADD_SEALS, 0));
    SHOW(fcntl(n, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW_OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0));
    SHOW(pread(m, buf, 6, 0));
    printf("%.6s\n", buf);
    snprintf(link, sizeof link, "/proc/self/fd/%d", m);
    int again = open(link, O_RDONLY);
    SHOW(read(again, buf, 3));
    printf("%.3s\n", buf);
    ssize_t len = readlink(link, link, sizeof link);
    printf("%.*s\n", (int)len, link);
    SHOW(memfd_create("x", 0x1000));
}

static void locks(void) {
    int a = open("locked", O_RDWR | O_CREAT, 0644), b = open("locked", O_RDWR);
    SHOW(flock(a, LOCK_SH));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(a, LOCK_EX | LOCK_NB));
    SHOW(flock(b, LOCK_UN));
    SHOW(flock(a, LOCK_EX | LOCK_NB));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(a, 77));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    SHOW(fcntl(a, F_SETLK, &l));
    l.l_start = 15;
    SHOW(fcntl(b, F_GETLK, &l)); // the same process
    printf("type %d\n", l.l_type == F_UNLCK);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        l = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 100};
        SHOW(fcntl(b, F_SETLK, &l));
        SHOW(fcntl(b, F_GETLK, &l));
        printf("%d start %d len %d parent %d\n", l.l_type == F_WRLCK, (int)l.l_start, (int)l.l_len,
               l.l_pid == getppid());
        l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 0};
        SHOW(fcntl(b, F_SETLK, &l));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 0};
    SHOW(fcntl(a, F_SETLK, &l)); // the child's went with it
    l.l_start = -1;
    SHOW(fcntl(a, F_SETLK, &l));
    l.l_type = 99;
    SHOW(fcntl(a, F_SETLK, &l));
}

static void copies(void) {
    int in = open("from", O_RDWR | O_CREAT, 0644), out = open("to", O_RDWR | O_CREAT, 0644), p[2];
    char buf[64] = {0};
    off_t at = 2, to = 5;
    if (write(in, "0123456789", 10) != 10 || pipe(p))
        return;
    SHOW(sendfile(out, in, &at, 4));
    printf("at %d\n", (int)at);
    SHOW(lseek(in, 0, SEEK_CUR));
    SHOW(sendfile(out, in, NULL, 4));
    SHOW(sendfile(out, p[0], NULL, 4));
    at = 0;
    SHOW(copy_file_range(in, &at, out, &to, 100, 0));
    printf("at %d to %d\n", (int)at, (int)to);
    SHOW(copy_file_range(in, &at, p[1], NULL, 100, 0));
    at = 3;
    SHOW(splice(in, &at, p[1], NULL, 100, 0));
    SHOW(splice(p[0], NULL, out, NULL, 3, 0));
    SHOW(splice(in, NULL, out, NULL, 3, 0));
    SHOW(splice(in, &at, p[1], &at, 3, 0));
    SHOW(pread(out, buf, sizeof buf, 0));
    printf("%s\n", buf);
    unlink("from");
    unlink("to");
    unlink("locked");
}

int main(void) {
    epolls();
    counters();
    timers();
    memory_files();
    locks();
    copies();
    SHOW(getxattr("/dev", "user.x", NULL, 0) == -1 ? 0 : 1);
    SHOW(setxattr("nosuch", "user.x", "a", 1, 0));
    SHOW(fgetxattr(99, "user.x", NULL, 0));
    return 0;
}
