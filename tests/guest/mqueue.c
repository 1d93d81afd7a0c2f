// POSIX message queues by their system calls: names, attributes, priorities, waiting, timeouts, notification, poll.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

struct attr { long flags, maxmsg, msgsize, curmsgs, reserved[4]; };
static char name[32];

static int mq_open_(const char *n, int flags, int mode, struct attr *a)
{
    return (int)syscall(SYS_mq_open, n, flags, mode, a);
}
static long put(int q, const char *text, unsigned priority, const struct timespec *t)
{
    return syscall(SYS_mq_timedsend, q, text, strlen(text), priority, t);
}
static long get(int q, const struct timespec *t)
{
    char buf[64] = "";
    unsigned priority = 99;
    errno = 0;
    long n = syscall(SYS_mq_timedreceive, q, buf, sizeof buf, &priority, t);
    if (n < 0)
        printf("get: %s\n", errno_name(errno));
    else
        printf("get: %ld bytes, priority %u, %s\n", n, priority, buf);
    return n;
}
static void attributes(int q)
{
    struct attr a;
    SHOW(syscall(SYS_mq_getsetattr, q, NULL, &a));
    printf("flags %lo, %ld messages of %ld, now %ld\n", a.flags, a.maxmsg, a.msgsize, a.curmsgs);
}
static struct timespec in_ms(long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += ms * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}
static void until_asleep(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    for (int seen = 0; seen < 3;) {
        FILE *f = fopen(path, "r");
        char *p = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        seen = p && p[2] == 'S' ? seen + 1 : 0;
        if (f)
            fclose(f);
        usleep(2000);
    }
}
static void finish(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        ; // a notification may come in between
    printf("child: %x\n", status);
}

static void names(void)
{
    section("names");
    struct attr a = {.maxmsg = 4, .msgsize = 64};
    SHOW(mq_open_(name, O_RDWR, 0, NULL));
    int q = mq_open_(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
    if (q < 0)
        give_up("mq_open");
    SHOW(mq_open_(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a));
    SHOW(fcntl(q, F_GETFD));
    SHOW(fcntl(q, F_GETFL) & O_ACCMODE);
    attributes(q);
    SHOW(mq_open_("a/b", O_RDWR | O_CREAT, 0600, NULL));
    SHOW(mq_open_("", O_RDWR | O_CREAT, 0600, NULL));
    SHOW(mq_open_("..", O_RDWR, 0600, NULL));
    SHOW(mq_open_((char *)8, O_RDWR, 0600, NULL));
    SHOW(mq_open_(name, O_RDWR | O_CREAT, 0600, (void *)8));
    char longer[300];
    memset(longer, 'x', 256), longer[256] = 0;
    SHOW(mq_open_(longer, O_RDWR | O_CREAT, 0600, NULL));
    a.maxmsg = 0;
    strcpy(longer, name), strcat(longer, "x");
    SHOW(mq_open_(longer, O_RDWR | O_CREAT, 0600, &a));
    a.maxmsg = 1, a.msgsize = -1;
    SHOW(mq_open_(longer, O_RDWR | O_CREAT, 0600, &a));
    a.maxmsg = 1 << 20, a.msgsize = 1;
    SHOW(mq_open_(longer, O_RDWR | O_CREAT, 0600, &a));
    SHOW(mq_open_(longer, O_RDWR, 0600, &a));
    int again = mq_open_(name, O_WRONLY | O_NONBLOCK, 0, NULL);
    HOLDS(again >= 0);
    get(again, NULL);
    attributes(again);
    struct stat st;
    SHOW(fstat(q, &st));
    printf("%o, %ld bytes, %lu\n", st.st_mode, (long)st.st_size, (unsigned long)st.st_nlink);
    SHOW(syscall(SYS_mq_unlink, name));
    SHOW(syscall(SYS_mq_unlink, name));
    SHOW(put(again, "still there", 3, NULL));
    get(q, NULL);
    close(again);
    close(q);
    struct rlimit old, limit = {100, 100};
    getrlimit(RLIMIT_MSGQUEUE, &old);
    limit.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_MSGQUEUE, &limit);
    a.maxmsg = 4, a.msgsize = 64;
    SHOW(mq_open_(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a));
    setrlimit(RLIMIT_MSGQUEUE, &old);
}

static int make(void)
{
    struct attr a = {.maxmsg = 3, .msgsize = 64};
    int q = mq_open_(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
    if (q < 0)
        give_up("mq_open");
    syscall(SYS_mq_unlink, name);
    return q;
}

static void messages(void)
{
    section("messages");
    int q = make();
    char buf[64];
    SHOW(put(q, "low", 1, NULL));
    SHOW(put(q, "high", 7, NULL));
    SHOW(put(q, "low again", 1, NULL));
    attributes(q);
    SHOW(fcntl(q, F_SETFL, O_NONBLOCK));
    SHOW(put(q, "no room", 9, NULL));
    get(q, NULL), get(q, NULL), get(q, NULL), get(q, NULL);
    SHOW(put(q, "", 32767, NULL));
    get(q, NULL);
    SHOW(put(q, "x", 32768, NULL));
    SHOW(syscall(SYS_mq_timedsend, q, buf, 65, 0, NULL));
    SHOW(syscall(SYS_mq_timedsend, q, 8, 5, 0, NULL));
    SHOW(syscall(SYS_mq_timedsend, q, buf, 5, 0, 8));
    SHOW(syscall(SYS_mq_timedsend, 0, buf, 5, 0, NULL));
    SHOW(syscall(SYS_mq_timedsend, 77, buf, 5, 0, NULL));
    SHOW(syscall(SYS_mq_timedreceive, q, buf, 63, NULL, NULL));
    SHOW(syscall(SYS_mq_timedreceive, q, buf, 64, NULL, &(struct timespec){1, -1}));
    SHOW(put(q, "lost", 0, NULL));
    SHOW(syscall(SYS_mq_timedreceive, q, 8, 64, NULL, NULL));
    get(q, NULL);
    struct attr a = {.flags = 1}, old;
    SHOW(syscall(SYS_mq_getsetattr, q, &a, NULL));
    a.flags = 0;
    SHOW(syscall(SYS_mq_getsetattr, q, &a, &old));
    printf("flags were %lo\n", old.flags);
    attributes(q);
    SHOW(syscall(SYS_mq_getsetattr, 0, NULL, &old));
    SHOW(syscall(SYS_mq_getsetattr, q, 8, &old));
    SHOW(poll(&(struct pollfd){.fd = q, .events = POLLIN | POLLOUT}, 1, 0));
    put(q, "1", 0, NULL), put(q, "2", 0, NULL), put(q, "3", 0, NULL);
    struct pollfd p = {.fd = q, .events = POLLIN | POLLOUT};
    SHOW(poll(&p, 1, 0));
    printf("revents %x\n", p.revents);
    char status[100] = "";
    SHOW(pread(q, status, sizeof status, 0));
    printf("%s", status);
    SHOW(write(q, "x", 1));
    close(q);
}

static void nothing(int signal)
{
    (void)signal;
}

static void waiting(void)
{
    section("waiting");
    int q = make();
    pid_t a = fork();
    if (!a) {
        get(q, NULL);
        fflush(stdout);
        _exit(0);
    }
    until_asleep(a);
    long sent = put(q, "awaited", 5, NULL);
    finish(a);
    printf("sent %ld\n", sent);
    put(q, "1", 0, NULL), put(q, "2", 0, NULL), put(q, "3", 0, NULL);
    a = fork();
    if (!a)
        _exit(put(q, "first in line", 4, NULL) ? 1 : 0);
    until_asleep(a);
    get(q, NULL);
    finish(a);
    get(q, NULL), get(q, NULL), get(q, NULL);
    struct timespec t = in_ms(30);
    get(q, &t);
    t = (struct timespec){1, 0};
    get(q, &t);
    put(q, "1", 0, NULL), put(q, "2", 0, NULL), put(q, "3", 0, NULL);
    t = in_ms(30);
    SHOW(put(q, "late", 4, &t));
    struct sigaction sa = {.sa_handler = nothing};
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL);
    SHOW(put(q, "interrupted", 4, NULL));
    sa.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL);
    t = in_ms(200);
    SHOW(put(q, "restarted", 4, &t));
    a = fork();
    if (!a) {
        struct pollfd p = {.fd = q, .events = POLLOUT};
        _exit(poll(&p, 1, -1) == 1 ? p.revents : 99);
    }
    until_asleep(a);
    get(q, NULL);
    finish(a);
    close(q);
}

static volatile sig_atomic_t told, code, value, from;
static void on_message(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    code = info->si_code, value = info->si_value.sival_int, from = info->si_pid;
    told++;
}

static void notification(void)
{
    section("notification");
    int q = make();
    struct sigaction sa = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &sa, NULL);
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
    SHOW(syscall(SYS_mq_notify, q, &ev));
    SHOW(syscall(SYS_mq_notify, q, &ev));
    SHOW(put(q, "x", 0, NULL));
    printf("told %d code %d value %d %s\n", told, code, value, from == getpid() ? "me" : "NOT ME");
    SHOW(put(q, "y", 0, NULL));
    SHOW(syscall(SYS_mq_notify, q, &ev));
    SHOW(put(q, "z", 0, NULL));
    printf("told %d\n", told);
    get(q, NULL), get(q, NULL), get(q, NULL);
    pid_t pid = fork();
    if (!pid)
        _exit(syscall(SYS_mq_notify, q, &ev) == -1 ? errno == EBUSY ? 1 : 2 : 3);
    finish(pid);
    pid = fork();
    if (!pid)
        _exit(put(q, "from the child", 0, NULL) ? 1 : 0);
    finish(pid);
    printf("told %d %s\n", told, from == pid ? "by the child" : "NOT BY THE CHILD");
    get(q, NULL);
    ev.sigev_notify = SIGEV_NONE;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    SHOW(syscall(SYS_mq_notify, q, &ev));
    SHOW(syscall(SYS_mq_notify, q, NULL));
    SHOW(syscall(SYS_mq_notify, q, NULL));
    ev.sigev_notify = 77;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    ev.sigev_notify = SIGEV_SIGNAL, ev.sigev_signo = 65;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    SHOW(syscall(SYS_mq_notify, 0, NULL));
    SHOW(syscall(SYS_mq_notify, q, 8));
    char cookie[32] = "";
    ev.sigev_notify = SIGEV_THREAD, ev.sigev_signo = 77, ev.sigev_value.sival_ptr = cookie;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    ev.sigev_signo = q;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    ev.sigev_value.sival_ptr = (void *)8;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    // The owner's end is the end of it.
    pid = fork();
    if (!pid) {
        struct sigevent none = {.sigev_notify = SIGEV_NONE};
        _exit(syscall(SYS_mq_notify, q, &none) ? 1 : 0);
    }
    finish(pid);
    ev.sigev_notify = SIGEV_NONE;
    SHOW(syscall(SYS_mq_notify, q, &ev));
    close(q);
}

enum { MESSAGES = 4000 };
static int stream_queue;
static void *producer(void *arg)
{
    for (int i = 0; i < MESSAGES; i++)
        if (syscall(SYS_mq_timedsend, stream_queue, &i, sizeof i, (long)arg, NULL))
            give_up("send");
    return NULL;
}

static void stream(void)
{
    section("stream");
    stream_queue = make();
    pthread_t t[2];
    for (long i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, producer, (void *)i);
    int next[2] = {0, 0}, wrong = 0;
    for (int i = 0; i < 2 * MESSAGES; i++) {
        int buf[16];
        unsigned priority;
        wrong += syscall(SYS_mq_timedreceive, stream_queue, buf, sizeof buf, &priority, NULL) != sizeof(int);
        wrong += buf[0] != next[priority]++;
    }
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    printf("%d and %d, %d wrong\n", next[0], next[1], wrong);
    attributes(stream_queue);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(name, sizeof name, "knarr-test-%d", getpid());
    names();
    messages();
    waiting();
    notification();
    stream();
    return 0;
}
