// Pseudo-terminals: names, locks, both directions through the line discipline, packet mode, hangups, controlling terminals and
// job control from a master.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static void show_bytes(const char *what, const char *buf, ssize_t n)
{
    if (n < 0) {
        printf("%s: %s\n", what, errno_name(errno));
        return;
    }
    printf("%s: %zd \"", what, n);
    for (ssize_t i = 0; i < n; i++) {
        unsigned char c = buf[i];
        if (c < 32 || c > 126)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    printf("\"\n");
    fflush(stdout);
}

// What there is, once something is.
static ssize_t get(const char *what, int fd)
{
    char buf[512];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, 2000);
    ssize_t n = read(fd, buf, sizeof buf);
    show_bytes(what, buf, n);
    return n;
}

// Lets others go on for so many milliseconds.
static void get_nothing(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, ms);
}

// Exactly n bytes, in however many pieces they come.
static void get_all(const char *what, int fd, size_t n)
{
    char buf[512];
    size_t done = 0;
    while (done < n) {
        ssize_t some = read(fd, buf + done, n - done);
        if (some <= 0)
            break;
        done += some;
    }
    show_bytes(what, buf, done);
}

static void show_poll(const char *what, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
    int n = poll(&p, 1, 50);
    printf("%s: %d%s%s%s%s%s\n", what, n, p.revents & POLLIN ? " IN" : "", p.revents & POLLOUT ? " OUT" : "",
           p.revents & POLLPRI ? " PRI" : "", p.revents & POLLHUP ? " HUP" : "", p.revents & POLLERR ? " ERR" : "");
}

static int new_master(char *name, size_t size)
{
    int m = open("/dev/ptmx", O_RDWR | O_NOCTTY), zero = 0, n;
    if (m < 0 || ioctl(m, TIOCGPTN, &n) || ioctl(m, TIOCSPTLCK, &zero))
        give_up("ptmx");
    snprintf(name, size, "/dev/pts/%d", n);
    return m;
}

static void names(void)
{
    section("names");
    int m = open("/dev/ptmx", O_RDWR | O_NOCTTY), n = -1, value;
    HOLDS(m >= 0);
    SHOW(ioctl(m, TIOCGPTN, &n));
    char name[40];
    snprintf(name, sizeof name, "/dev/pts/%d", n);
    SHOW(ioctl(m, TIOCGPTLCK, &value));
    HOLDS(value == 1);
    SHOW(open(name, O_RDWR | O_NOCTTY));
    SHOW(ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    value = 0;
    SHOW(ioctl(m, TIOCSPTLCK, &value));
    int s = open(name, O_RDWR | O_NOCTTY);
    HOLDS(s >= 0);
    struct stat st, st2;
    SHOW(fstat(s, &st));
    printf("mode %o major %u, minor as the name %d, owner %d\n", st.st_mode & ~0020u, (unsigned)(st.st_rdev >> 8 & 0xfff),
           (st.st_rdev & 0xff) == (unsigned)(n & 0xff), st.st_uid == getuid());
    SHOW(fstat(m, &st2));
    printf("master: character device %d, %u:%u\n", S_ISCHR(st2.st_mode), (unsigned)(st2.st_rdev >> 8 & 0xfff),
           (unsigned)(st2.st_rdev & 0xff));
    int peer = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    HOLDS(peer >= 0);
    char link[64], target[64] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", peer);
    ssize_t len = readlink(link, target, sizeof target - 1);
    HOLDS(len > 0 && strcmp(target, name) == 0);
    HOLDS(fcntl(peer, F_GETFD) == FD_CLOEXEC);
    struct statfs fs;
    SHOW(statfs("/dev/pts", &fs));
    printf("file system %lx\n", (unsigned long)fs.f_type);
    SHOW(access("/dev/pts/ptmx", F_OK));
    SHOW(isatty(m));
    SHOW(isatty(s));
    SHOW(ioctl(s, TIOCGPTN, &n));
    SHOW(unlink(name));
    SHOW(mkdir("/dev/pts/x", 0700));
    SHOW(lseek(m, 0, SEEK_CUR));
    close(m);
    SHOW(open(name, O_RDWR | O_NOCTTY));
    close(s);
    close(peer);
    struct winsize w = {.ws_row = 24, .ws_col = 80}, w2;
    int m2, s2;
    SHOW(openpty(&m2, &s2, NULL, NULL, &w));
    SHOW(ioctl(m2, TIOCGWINSZ, &w2));
    printf("%d x %d\n", w2.ws_row, w2.ws_col);
    w.ws_row = 50;
    SHOW(ioctl(m2, TIOCSWINSZ, &w));
    SHOW(ioctl(s2, TIOCGWINSZ, &w2));
    printf("%d x %d\n", w2.ws_row, w2.ws_col);
    struct termios t;
    SHOW(tcgetattr(m2, &t));
    printf("%x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag & ~CBAUD, t.c_lflag);
    close(m2);
    close(s2);
}

static void data(void)
{
    section("data");
    char name[40], buf[64];
    int m = new_master(name, sizeof name), n;
    show_poll("fresh master", m);
    int s = open(name, O_RDWR | O_NOCTTY);
    show_poll("slave", s);
    SHOW(write(m, "abx\177c\r", 6));
    get("slave reads", s);
    get("echo", m);
    SHOW(write(s, "one\ntwo\n", 8));
    SHOW(ioctl(m, FIONREAD, &n));
    show_poll("master", m);
    get_all("master reads", m, 10);
    fcntl(m, F_SETFL, O_NONBLOCK);
    SHOW(read(m, buf, sizeof buf));
    fcntl(m, F_SETFL, 0);
    struct termios t;
    tcgetattr(s, &t);
    cfmakeraw(&t);
    SHOW(tcsetattr(m, TCSANOW, &t)); // the master's settings are the slave's
    SHOW(write(m, "\003\r\n", 3));
    get("raw", s);
    show_poll("no echo", m);
    SHOW(write(m, "lost", 4));
    SHOW(tcflush(s, TCIFLUSH));
    show_poll("flushed", s);
    SHOW(ioctl(m, TIOCPKT, &(int){1}));
    SHOW(write(s, "pkt", 3));
    get("packet", m);
    SHOW(tcflush(s, TCIFLUSH));
    show_poll("status", m);
    get("packet", m);
    t.c_iflag |= IXON;
    SHOW(tcsetattr(s, TCSANOW, &t));
    get("packet", m);
    SHOW(tcflow(s, TCOOFF));
    get("packet", m);
    SHOW(tcflow(s, TCOON));
    get("packet", m);
    SHOW(ioctl(m, TIOCPKT, &(int){0}));
    // Much data, with a reader that waits.
    pid_t child = fork();
    if (child == 0) {
        char block[1000];
        memset(block, 'x', sizeof block);
        close(m);
        for (int i = 0; i < 200; i++)
            if (write(s, block, sizeof block) != sizeof block)
                _exit(1);
        _exit(0);
    }
    close(s);
    size_t total = 0;
    static char big[3000];
    for (;;) {
        ssize_t some = read(m, big, sizeof big);
        if (some <= 0) {
            show_bytes("the end", big, some);
            break;
        }
        total += some;
    }
    printf("%zu bytes\n", total);
    int status;
    waitpid(child, &status, 0);
    printf("status %x\n", status);
    show_poll("slave closed", m);
    SHOW(write(m, "kept\n", 5));
    s = open(name, O_RDWR | O_NOCTTY);
    HOLDS(s >= 0);
    show_poll("slave is back", m);
    get("slave reads", s);
    close(m);
    show_poll("master closed", s);
    SHOW(read(s, buf, sizeof buf));
    SHOW(write(s, "x", 1));
    SHOW(tcgetattr(s, &t));
    close(s);
}

static int report = -1;
static void on_signal(int sig)
{
    char c = (char)sig;
    if (write(report, &c, 1) != 1)
        _exit(9);
}

static void expect_signal(const char *what, int fd)
{
    char c = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, 2000);
    ssize_t n = read(fd, &c, 1);
    printf("%s: %zd signal %d\n", what, n, c);
    fflush(stdout);
}

static void job_control(void)
{
    section("job control");
    char name[40], c;
    int m = new_master(name, sizeof name), pipes[2], n;
    if (pipe(pipes))
        give_up("pipe");
    SHOW(tcgetpgrp(m));
    SHOW(ioctl(m, TIOCGSID, &n));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(m);
        close(pipes[0]);
        report = pipes[1];
        setsid();
        int s = open(name, O_RDWR);
        int t = open("/dev/tty", O_RDWR);
        bool right = s >= 0 && t >= 0 && tcgetpgrp(s) == getpid() && tcgetsid(t) == getpid();
        signal(SIGINT, on_signal);
        signal(SIGWINCH, on_signal);
        signal(SIGCONT, on_signal);
        signal(SIGHUP, on_signal);
        signal(SIGTSTP, on_signal);
        on_signal(right ? 100 : 101);
        for (;;) {
            char buf[16];
            ssize_t k = read(s, buf, sizeof buf);
            if (k > 0)
                on_signal(102);
            if (k == 0 || (k < 0 && errno != EINTR))
                break;
        }
        char buf[8];
        ssize_t k = read(s, buf, sizeof buf);
        int again = open("/dev/tty", O_RDWR);
        on_signal(k == 0 && again < 0 && errno == ENXIO ? 103 : 104);
        _exit(7);
    }
    close(pipes[1]);
    expect_signal("set up", pipes[0]);
    HOLDS(tcgetpgrp(m) == child);
    SHOW(ioctl(m, TIOCGSID, &n));
    HOLDS(n == child);
    SHOW(write(m, "\003", 1));
    expect_signal("interrupt key", pipes[0]);
    get("its echo", m);
    SHOW(write(m, "\032", 1));
    expect_signal("suspend key", pipes[0]);
    struct winsize w = {.ws_row = 10, .ws_col = 20};
    SHOW(ioctl(m, TIOCSWINSZ, &w));
    expect_signal("size", pipes[0]);
    SHOW(ioctl(m, TIOCSIG, SIGINT));
    expect_signal("TIOCSIG", pipes[0]);
    SHOW(write(m, "line\n", 5));
    expect_signal("a line", pipes[0]);
    close(m);
    int seen[128] = {0};
    while (read(pipes[0], &c, 1) == 1)
        seen[(int)c]++;
    printf("hung up: HUP %d CONT %d end %d %d\n", seen[SIGHUP] > 0, seen[SIGCONT] > 0, seen[103], seen[104]);
    int status;
    waitpid(child, &status, 0);
    printf("status %x\n", status);
    close(pipes[0]);

    // Without handlers the hangup kills; a background group that reads is stopped.
    m = new_master(name, sizeof name);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        setsid();
        int s = open(name, O_RDWR);
        close(m);
        pid_t job = fork();
        if (job == 0) {
            setpgid(0, 0);
            _exit(read(s, &c, 1) == 1 ? 5 : 6);
        }
        waitpid(job, &status, WUNTRACED);
        bool stopped = WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN;
        signal(SIGTTOU, SIG_IGN);
        tcsetpgrp(s, job);
        kill(job, SIGCONT);
        if (write(s, stopped ? "stopped" : "running", 7) != 7)
            _exit(1);
        waitpid(job, &status, 0);
        dprintf(s, " then %x", status);
        tcsetpgrp(s, getpid());
        for (;;)
            pause();
    }
    get_all("background", m, 7);
    SHOW(write(m, "y\n", 2));
    get_all("foreground", m, 3 + 9);
    int kept = open(name, O_RDWR | O_NOCTTY); // while it is open the number is nobody else's
    close(m);
    waitpid(child, &status, 0);
    printf("killed by %d\n", WTERMSIG(status));
    SHOW(open(name, O_RDWR));
    close(kept);
}

// A master that fills the terminal's input without ever being refused learns from poll(2) when there is room again.
static void room(void)
{
    section("room");
    char name[40], buf[4096];
    int m = new_master(name, sizeof name), s = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
    struct termios t;
    tcgetattr(s, &t);
    cfmakeraw(&t);
    SHOW(tcsetattr(s, TCSANOW, &t));
    struct pollfd p = {.fd = m, .events = POLLOUT};
    while (poll(&p, 1, 10) == 1)
        if (write(m, "x", 1) != 1)
            give_up("write");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        usleep(100000);
        struct pollfd in = {.fd = s, .events = POLLIN};
        while (poll(&in, 1, 100) == 1 && read(s, buf, sizeof buf) > 0)
            ;
        _exit(0);
    }
    SHOW(poll(&p, 1, 10000));
    int status;
    waitpid(child, &status, 0);
    close(m);
    close(s);
}

// The terminal hangs up while the session's leader ends and its children come and go.
static void hang_ups(void)
{
    section("hang-ups");
    int ended = 0;
    for (int i = 0; i < 60; i++) {
        char name[40];
        int m = new_master(name, sizeof name), status;
        pid_t child = fork();
        if (child == 0) {
            signal(SIGHUP, SIG_IGN);
            setsid();
            open(name, O_RDWR);
            close(m);
            pid_t forked = fork();
            if (forked == 0) {
                close(open("/dev/tty", O_RDWR));
                _exit(0);
            }
            for (volatile int k = 0; k < i * 2000; k++)
                ;
            _exit(3);
        }
        get_nothing(m, i % 4);
        close(m);
        ended += waitpid(child, &status, 0) == child && status == 3 << 8;
    }
    printf("%d have ended\n", ended);
}

int main(void)
{
    names();
    data();
    room();
    hang_ups();
    job_control();
    return 0;
}
