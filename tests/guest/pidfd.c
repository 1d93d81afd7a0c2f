// pidfds: pidfd_open, CLONE_PIDFD with clone and clone3, poll and epoll, waitid(P_PIDFD), pidfd_send_signal, pidfd_getfd.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#undef P_PIDFD // an enumerator in glibc
#define P_PIDFD 3
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

struct clone_arguments { // struct clone_args
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static int pidfd_open_(int pid, unsigned flags) { return syscall(SYS_pidfd_open, pid, flags); }
static int send_(int fd, int sig, siginfo_t *info, unsigned flags)
{
    return syscall(SYS_pidfd_send_signal, fd, sig, info, flags);
}
static int getfd_(int fd, int target, unsigned flags) { return syscall(SYS_pidfd_getfd, fd, target, flags); }

static int ready(int fd, int timeout)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, timeout);
    return n < 0 ? -1 : p.revents & POLLIN;
}

static void show_wait(const char *what, int fd, int options, int pid)
{
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, fd, &info, options))
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: the child %d, code %d, status %d\n", what, info.si_pid == pid, info.si_code, info.si_status);
    fflush(stdout);
}

static int got, got_code, got_value;
static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    got = sig;
    got_code = info->si_code;
    got_value = info->si_int;
}

// A child that waits for a byte, or for a signal.
static pid_t start(int *to_child)
{
    int p[2];
    if (pipe(p))
        give_up("pipe");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char c = 0;
        close(p[1]);
        ssize_t n = read(p[0], &c, 1);
        _exit(n == 1 ? c : 0);
    }
    close(p[0]);
    *to_child = p[1];
    return pid;
}

int main(void)
{
    int pipe_fd, fd, status;
    section("errors");
    SHOW(pidfd_open_(-1, 0));
    SHOW(pidfd_open_(0, 0));
    SHOW(pidfd_open_(getpid(), 1));
    SHOW(pidfd_open_(4000000, 0));
    SHOW(send_(0, 0, NULL, 0));
    SHOW(send_(99, 0, NULL, 0));
    SHOW(getfd_(99, 0, 0));
    show_wait("no pidfd", 0, WEXITED, 0);
    show_wait("closed", 99, WEXITED, 0);
    show_wait("negative", -1, WEXITED, 0);

    section("open");
    pid_t pid = start(&pipe_fd);
    fd = pidfd_open_(pid, 0);
    HOLDS(fd >= 0);
    HOLDS(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    HOLDS(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
    SHOW(ready(fd, 0));
    show_wait("runs", fd, WEXITED | WNOHANG, pid);
    SHOW(send_(fd, 0, NULL, 0));
    SHOW(send_(fd, 65, NULL, 0));
    SHOW(send_(fd, 0, NULL, 64));
    int nb = pidfd_open_(pid, O_NONBLOCK);
    show_wait("non-blocking", nb, WEXITED, pid);
    int e = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 1};
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev));
    SHOW(epoll_wait(e, &ev, 1, 0));
    SHOW(write(pipe_fd, "\7", 1));
    SHOW(epoll_wait(e, &ev, 1, 5000));
    SHOW(ready(fd, 5000));
    show_wait("looked at", fd, WEXITED | WNOWAIT, pid);
    SHOW(send_(fd, SIGTERM, NULL, 0)); // a zombie takes it in silence
    show_wait("ended", fd, WEXITED, pid);
    SHOW(ready(fd, 0));
    show_wait("again", fd, WEXITED, pid);
    SHOW(send_(fd, 0, NULL, 0));
    SHOW(getfd_(fd, 0, 0));
    SHOW(pidfd_open_(pid, 0));
    close(fd);
    close(nb);
    close(pipe_fd);

    section("signals");
    pid = start(&pipe_fd);
    fd = pidfd_open_(pid, 0);
    SHOW(send_(fd, SIGSTOP, NULL, 0));
    show_wait("stopped", fd, WSTOPPED, pid);
    SHOW(send_(fd, SIGCONT, NULL, 0));
    show_wait("continued", fd, WCONTINUED, pid);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
    SHOW(send_(fd, SIGUSR1, &info, 0));
    SHOW(send_(fd, SIGUSR2, &info, 0));
    SHOW(send_(fd, SIGKILL, NULL, 0));
    SHOW(ready(fd, 5000));
    show_wait("killed", fd, WEXITED, pid);
    close(fd);
    close(pipe_fd);
    fd = pidfd_open_(getpid(), 0);
    struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &a, NULL);
    SHOW(send_(fd, SIGUSR1, NULL, 0));
    printf("%d code %d\n", got, got_code);
    info = (siginfo_t){.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    info.si_value.sival_int = 42;
    SHOW(send_(fd, SIGUSR1, &info, 0));
    printf("%d code %d value %d\n", got, got_code, got_value);
    show_wait("itself", fd, WEXITED, 0);
    SHOW(ready(fd, 0));

    section("getfd");
    int p[2];
    if (pipe(p))
        return 1;
    int copy = getfd_(fd, p[1], 0);
    HOLDS(copy >= 0 && fcntl(copy, F_GETFD) == FD_CLOEXEC);
    SHOW(write(copy, "hello", 5));
    char buf[8];
    SHOW(read(p[0], buf, sizeof buf));
    SHOW(getfd_(fd, 99, 0));
    SHOW(getfd_(fd, -1, 0));
    SHOW(getfd_(fd, p[1], 1));
    close(fd);
    close(copy);
    // Of a child: a pipe's end that the parent has closed.
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    close(p[0]);
    fd = pidfd_open_(pid, 0);
    copy = getfd_(fd, p[0], 0);
    HOLDS(copy >= 0);
    SHOW(write(p[1], "abc", 3));
    SHOW(read(copy, buf, sizeof buf));
    SHOW(send_(fd, SIGKILL, NULL, 0));
    show_wait("killed", fd, WEXITED, pid);
    close(fd);

    section("clone");
    fflush(stdout);
    fd = -1;
    int before = dup(0);
    close(before);
    pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0);
    if (pid == 0)
        _exit(fcntl(before, F_GETFD) == -1 ? 11 : 12); // the descriptor is the parent's alone
    HOLDS(pid > 0);
    HOLDS(fd == before && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    SHOW(ready(fd, 5000));
    show_wait("cloned", fd, WEXITED, pid);
    close(fd);
    SHOW(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, 0));
    SHOW(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, 8, NULL, 0));
    int tid = -1;
    struct clone_arguments args = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_VFORK,
                              .exit_signal = SIGCHLD,
                              .pidfd = (uintptr_t)&fd,
                              .parent_tid = (uintptr_t)&tid};
    fd = -1;
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(21);
    HOLDS(pid > 0 && tid == pid && fd == before);
    show_wait("clone3", fd, WEXITED, pid);
    close(fd);
    SHOW(waitpid(-1, &status, WNOHANG));
    return 0;
}
