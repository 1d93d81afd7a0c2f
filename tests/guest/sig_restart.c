// Blocking calls that a signal reaches: which are made again, and which end with EINTR, as signal(7) lists them. Each call blocks in
// a child, four times: a handler with SA_RESTART, one without, a signal that is ignored, a stop and going on. Afterwards the
// call gets what it waits for.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

enum { RESTART, PLAIN, IGNORED, STOPPED, MODES };
static const char *const mode_names[MODES] = {"SA_RESTART", "without", "ignored", "stopped"};

static struct shared {
    volatile int ready, handled, word;
    volatile long result;
    volatile int error;
    volatile int grandchild;
} *shared;

static int mode;
static int fds[2]; // a pipe, or whatever the call works on
static int extra = -1;
static char fifo[64];

static void on_signal(int signal)
{
    (void)signal;
    shared->handled++;
}

static void on_finish(int signal)
{
    (void)signal;
}

static struct timespec soon(void) // an end that is not reached where the call is interrupted
{
    bool interrupted = mode == RESTART || mode == PLAIN;
    return (struct timespec){interrupted ? 20 : 0, interrupted ? 0 : 600000000};
}

// --- The calls. set_up is the parent's, before; call is what the child does; finish is the parent's. ---

static void make_pipe(void)
{
    if (pipe(fds))
        give_up("pipe");
}
static void fill_pipe(void)
{
    char block[4096] = {0};
    make_pipe();
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    while (write(fds[1], block, sizeof block) > 0)
        continue;
    fcntl(fds[1], F_SETFL, 0);
}
static void write_byte(pid_t child)
{
    (void)child;
    if (write(fds[1], "x", 1) != 1)
        give_up("write");
}
static void drain(pid_t child)
{
    char block[4096];
    (void)child;
    if (read(fds[0], block, sizeof block) != sizeof block)
        give_up("read");
}
static void nothing(void) {}
static void no_finish(pid_t child)
{
    (void)child;
}
static void send_usr2(pid_t child)
{
    kill(child, SIGUSR2);
}

static long call_read(void)
{
    char c;
    return read(fds[0], &c, 1);
}
static long call_write(void)
{
    return write(fds[1], "x", 1);
}
static long call_readv(void)
{
    char c[8];
    return syscall(SYS_readv, fds[0], (long[]){(long)c, 1}, 1);
}

static void make_eventfd(void)
{
    fds[0] = fds[1] = eventfd(0, 0);
}
static void post_event(pid_t child)
{
    (void)child;
    eventfd_write(fds[1], 5);
}
static long call_eventfd(void)
{
    uint64_t v = 0;
    return read(fds[0], &v, 8) == 8 ? (long)v : -1;
}
static void make_timerfd(void)
{
    fds[0] = timerfd_create(CLOCK_MONOTONIC, 0);
}
static void fire_timer(pid_t child)
{
    (void)child;
    timerfd_settime(fds[0], 0, &(struct itimerspec){.it_value = {0, 1}}, NULL);
}
static long call_timerfd(void)
{
    uint64_t n = 0;
    return read(fds[0], &n, 8) == 8 ? (long)n : -1;
}
static long call_signalfd(void)
{
    struct signalfd_siginfo info;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return read(signalfd(-1, &set, 0), &info, sizeof info) == sizeof info ? (long)info.ssi_signo : -1;
}

static pid_t start_grandchild(void)
{
    pid_t p = fork();
    if (!p) {
        char c;
        signal(SIGUSR1, SIG_IGN);
        while (read(fds[0], &c, 1) != 1)
            continue;
        _exit(7);
    }
    return p;
}
static long call_wait4(void)
{
    int status = 0;
    start_grandchild();
    shared->ready = 1;
    return wait4(-1, &status, 0, NULL) > 0 ? WEXITSTATUS(status) : -1;
}
static long call_waitid(void)
{
    siginfo_t info = {0};
    pid_t p = start_grandchild();
    shared->ready = 1;
    return waitid(P_PID, (id_t)p, &info, WEXITED) ? -1 : info.si_status;
}

static void hold_flock(void)
{
    extra = memfd_create("lock", 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", extra);
    fds[0] = open(path, O_RDWR);
    fds[1] = -1;
    if (flock(extra, LOCK_EX))
        give_up("flock");
}
static void release_flock(pid_t child)
{
    (void)child;
    flock(extra, LOCK_UN);
}
static long call_flock(void)
{
    return flock(fds[0], LOCK_EX);
}
static void hold_lock(void)
{
    struct flock l = {.l_type = F_WRLCK, .l_len = 10};
    extra = memfd_create("lock", 0);
    fds[0] = fds[1] = -1;
    if (fcntl(extra, F_SETLKW, &l))
        give_up("lock");
}
static void release_lock(pid_t child)
{
    struct flock l = {.l_type = F_UNLCK};
    (void)child;
    fcntl(extra, F_SETLK, &l);
}
static long call_lock(void)
{
    struct flock l = {.l_type = F_RDLCK, .l_len = 1};
    return fcntl(extra, F_SETLKW, &l);
}

static void wake_futex(pid_t child)
{
    siginfo_t info;
    for (;;) {
        info.si_pid = 0;
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
            return;
        syscall(SYS_futex, &shared->word, 1, 1, NULL, NULL, 0); // FUTEX_WAKE
        usleep(1000);
    }
}
static long call_futex(void)
{
    return syscall(SYS_futex, &shared->word, 0, 0, NULL, NULL, 0); // FUTEX_WAIT
}
static long call_futex_timed(void)
{
    struct timespec t = {20, 0};
    return syscall(SYS_futex, &shared->word, 0, 0, &t, NULL, 0);
}

static long call_nanosleep(void)
{
    struct timespec t = soon(), left = {-1, -1};
    long r = syscall(SYS_nanosleep, &t, &left);
    return r == -1 && errno == EINTR && (left.tv_sec < 0 || left.tv_sec > 20) ? -2 : r;
}
static long call_clock_nanosleep(void)
{
    struct timespec now, t = soon();
    clock_gettime(CLOCK_MONOTONIC, &now);
    t.tv_sec += now.tv_sec + (now.tv_nsec + t.tv_nsec) / 1000000000;
    t.tv_nsec = (now.tv_nsec + t.tv_nsec) % 1000000000;
    return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static long call_poll(void)
{
    return poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, -1);
}
static long call_poll_timed(void)
{
    return poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, 20000);
}
static long call_ppoll(void)
{
    sigset_t none;
    sigemptyset(&none);
    return ppoll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, &(struct timespec){20, 0}, &none);
}
static long call_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fds[0], &set);
    return select(fds[0] + 1, &set, NULL, NULL, &(struct timeval){20, 0});
}
static long call_pselect(void)
{
    fd_set set;
    sigset_t none;
    sigemptyset(&none);
    FD_ZERO(&set);
    FD_SET(fds[0], &set);
    return pselect(fds[0] + 1, &set, NULL, NULL, NULL, &none);
}
static long call_epoll(void)
{
    struct epoll_event e = {.events = EPOLLIN};
    int ep = epoll_create1(0);
    epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &e);
    return epoll_wait(ep, &e, 1, -1);
}
static long call_epoll_pwait(void)
{
    struct epoll_event e = {.events = EPOLLIN};
    sigset_t none;
    int ep = epoll_create1(0);
    sigemptyset(&none);
    epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &e);
    return epoll_pwait(ep, &e, 1, 20000, &none);
}

static long call_sigtimedwait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return syscall(SYS_rt_sigtimedwait, &set, NULL, &(struct timespec){20, 0}, 8L);
}
static long call_sigwaitinfo(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8L);
}
static long call_pause(void)
{
    return pause();
}
static long call_sigsuspend(void)
{
    sigset_t none;
    sigemptyset(&none);
    return sigsuspend(&none);
}

static void make_fifo(void)
{
    snprintf(fifo, sizeof fifo, "/tmp/fifo.%d", (int)getpid());
    unlink(fifo);
    fds[0] = fds[1] = -1;
    if (mkfifo(fifo, 0600))
        give_up("mkfifo");
}
static void open_fifo(pid_t child)
{
    (void)child;
    while ((extra = open(fifo, O_WRONLY | O_NONBLOCK)) < 0 && errno == ENXIO) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
            break;
        usleep(1000);
    }
}
static long call_open_fifo(void)
{
    return open(fifo, O_RDONLY) < 0 ? -1 : 0;
}

static void make_pty(void)
{
    struct termios raw;
    if (openpty(&fds[1], &fds[0], NULL, NULL, NULL))
        give_up("openpty");
    tcgetattr(fds[0], &raw);
    cfmakeraw(&raw);
    tcsetattr(fds[0], TCSANOW, &raw);
}

static const struct row {
    const char *name;
    void (*set_up)(void);
    long (*call)(void);
    void (*finish)(pid_t child);
} rows[] = {
    {"read of a pipe", make_pipe, call_read, write_byte},
    {"readv of a pipe", make_pipe, call_readv, write_byte},
    {"write to a full pipe", fill_pipe, call_write, drain},
    {"read of an eventfd", make_eventfd, call_eventfd, post_event},
    {"read of a timerfd", make_timerfd, call_timerfd, fire_timer},
    {"read of a signalfd", nothing, call_signalfd, send_usr2},
    {"read of a terminal", make_pty, call_read, write_byte},
    {"open of a FIFO", make_fifo, call_open_fifo, open_fifo},
    {"wait4", make_pipe, call_wait4, write_byte},
    {"waitid", make_pipe, call_waitid, write_byte},
    {"flock", hold_flock, call_flock, release_flock},
    {"F_SETLKW", hold_lock, call_lock, release_lock},
    {"futex", nothing, call_futex, wake_futex},
    {"futex with a timeout", nothing, call_futex_timed, wake_futex},
    {"nanosleep", nothing, call_nanosleep, no_finish},
    {"clock_nanosleep", nothing, call_clock_nanosleep, no_finish},
    {"poll", make_pipe, call_poll, write_byte},
    {"poll with a timeout", make_pipe, call_poll_timed, write_byte},
    {"ppoll", make_pipe, call_ppoll, write_byte},
    {"select", make_pipe, call_select, write_byte},
    {"pselect", make_pipe, call_pselect, write_byte},
    {"epoll_wait", make_pipe, call_epoll, write_byte},
    {"epoll_pwait", make_pipe, call_epoll_pwait, write_byte},
    {"sigtimedwait", nothing, call_sigtimedwait, send_usr2},
    {"sigwaitinfo", nothing, call_sigwaitinfo, send_usr2},
    {"pause", nothing, call_pause, send_usr2},
    {"sigsuspend", nothing, call_sigsuspend, send_usr2},
};

static void child_main(const struct row *r)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = mode == PLAIN ? 0 : SA_RESTART};
    if (mode == IGNORED)
        sa.sa_handler = SIG_IGN;
    sigaction(SIGUSR1, &sa, NULL);
    sa.sa_handler = on_finish;
    sigaction(SIGUSR2, &sa, NULL);
    if (r->call != call_wait4 && r->call != call_waitid)
        shared->ready = 1;
    errno = 0;
    shared->result = r->call();
    shared->error = errno;
    _exit(0);
}

static char state_of(pid_t p)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)p);
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    const char *at = n > 0 ? strrchr(text, ')') : NULL;
    return at ? at[2] : '?';
}

static void run(const struct row *r)
{
    memset(shared, 0, sizeof *shared);
    fds[0] = fds[1] = extra = -1;
    r->set_up();
    pid_t p = fork();
    if (!p)
        child_main(r);
    while (!shared->ready)
        usleep(500);
    while (!strchr("SZ", state_of(p)))
        usleep(500);
    int status;
    if (mode == STOPPED) {
        for (int times = 0; times < 2 && state_of(p) != 'Z'; times++) { // a call that was continued is so again
            kill(p, SIGSTOP);
            if (waitpid(p, &status, WUNTRACED) != p || !WIFSTOPPED(status))
                printf("not stopped ");
            kill(p, SIGCONT);
            siginfo_t info; // some calls end by that, and with them the child
            waitid(P_PID, (id_t)p, &info, WCONTINUED | WEXITED | WNOWAIT);
            while (!strchr("SZ", state_of(p)))
                usleep(500);
        }
    } else {
        kill(p, SIGUSR1);
        while (mode != IGNORED && !shared->handled && state_of(p) != 'Z')
            usleep(500);
    }
    r->finish(p);
    if (waitpid(p, &status, 0) != p || status)
        printf("status %#x ", status);
    printf("  %s: ", mode_names[mode]);
    if (shared->result == -1)
        printf("%s", errno_name(shared->error));
    else
        printf("%ld", shared->result);
    printf(", handled %d\n", shared->handled);
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (extra >= 0)
        close(extra);
    if (r->set_up == make_fifo)
        unlink(fifo);
    // wait4 that was interrupted leaves a grandchild; it ends by itself.
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mkdir("/tmp", 01777);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("%s\n", rows[i].name);
        fflush(stdout);
        for (mode = 0; mode < MODES; mode++) {
            run(&rows[i]);
            fflush(stdout);
        }
    }
    return 0;
}
