// Everything at once, for a kernel that checks itself: processes with threads each map, change, move and free memory, fork, exec,
// pass bytes through pipes, wait on futexes, epoll, timers and signals, and change their affinity. What a worker wrote must be what
// it reads. storm [SECONDS [SEED [PROCESSES [THREADS]]]]; prints only what is wrong, and at the end one line.
// build: musl
// runner: none
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

enum { FUTEX_WAIT, FUTEX_WAKE };
enum { PROCESSES_MOST = 16, THREADS_MOST = 16, PAGE = 4096 };

struct shared { // by all processes
    volatile int stop;
    volatile uint32_t errors, words[8];
    volatile uint64_t done[16];
};
static struct shared *shared;
static const char *program;
static int cpus;
static uint32_t seed;
static volatile uint32_t ticks;
static int pipe_ends[2], event; // of this process: all its threads use them

struct worker {
    uint32_t state, number;
};

static void wrong(const char *what, long got, long want)
{
    if (__atomic_fetch_add(&shared->errors, 1, __ATOMIC_RELAXED) < 20) {
        char line[160];
        int n = snprintf(line, sizeof line, "wrong: %s: %ld, expected %ld, %s\n", what, got, want, errno_name(errno));
        write(1, line, (size_t)n);
    }
}

// What may be refused when there is no room, and is then left out.
static bool refused(long result)
{
    return result == -1 && (errno == EAGAIN || errno == ENOMEM);
}

static void check_words(const char *what, const uint32_t *p, int pages, uint32_t mark)
{
    for (int i = 0; i < pages; i++)
        if (p[i * PAGE / 4] != mark + (uint32_t)i)
            wrong(what, p[i * PAGE / 4], mark + (uint32_t)i);
}

static uint32_t *marked(struct worker *w, int pages, int flags, uint32_t *mark)
{
    uint32_t *p = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        if (errno != ENOMEM)
            wrong("mmap", -1, 0);
        return NULL;
    }
    *mark = noise(&w->state);
    for (int i = 0; i < pages; i++) {
        if (p[i * PAGE / 4])
            wrong("a new page", p[i * PAGE / 4], 0);
        p[i * PAGE / 4] = *mark + (uint32_t)i;
    }
    return p;
}

static void do_map(struct worker *w)
{
    int pages = 2 + (int)(noise(&w->state) % 60);
    uint32_t mark, *p = marked(w, pages, MAP_PRIVATE, &mark);
    if (!p)
        return;
    mprotect(p, (size_t)(pages / 2) * PAGE, PROT_READ);
    check_words("after mprotect", p, pages, mark);
    mprotect(p, (size_t)(pages / 2) * PAGE, PROT_READ | PROT_WRITE);
    madvise((char *)p + (pages - 1) * PAGE, PAGE, MADV_DONTNEED);
    if (p[(pages - 1) * PAGE / 4])
        wrong("a page given back", p[(pages - 1) * PAGE / 4], 0);
    check_words("after madvise", p, pages - 1, mark);
    munmap(p, (size_t)pages * PAGE);
}

static void do_remap(struct worker *w)
{
    int pages = 4 + (int)(noise(&w->state) % 30);
    uint32_t mark, *p = marked(w, pages, MAP_PRIVATE, &mark);
    if (!p)
        return;
    uint32_t *q = mremap(p, (size_t)pages * PAGE, (size_t)pages * 2 * PAGE, MREMAP_MAYMOVE);
    if (q == MAP_FAILED) {
        if (errno != ENOMEM)
            wrong("mremap", -1, 0);
        q = p;
    }
    check_words("after mremap", q, pages, mark);
    q = mremap(q, (size_t)pages * (q == p ? 1 : 2) * PAGE, PAGE, MREMAP_MAYMOVE);
    check_words("after shrinking", q, 1, mark);
    munmap(q, PAGE);
}

// A big piece, so that large pages come and are broken up.
static void do_large(struct worker *w)
{
    size_t size = 4 << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return;
    uint32_t mark = noise(&w->state);
    for (size_t at = 0; at < size; at += 8 * PAGE)
        *(uint32_t *)(p + at) = mark ^ (uint32_t)at;
    munmap(p + size / 2 + PAGE, PAGE);
    for (size_t at = 0; at < size; at += 8 * PAGE)
        if (*(uint32_t *)(p + at) != (mark ^ (uint32_t)at))
            wrong("large", *(uint32_t *)(p + at), (long)(mark ^ (uint32_t)at));
    munmap(p, size);
}

static void do_file(struct worker *w)
{
    char name[40], data[3000], back[3000];
    int fd, n = snprintf(name, sizeof name, "/tmp/storm-%d-%u", getpid(), w->number);
    (void)n;
    if ((fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0) {
        wrong("open", -1, 0);
        return;
    }
    uint32_t fill = noise(&w->state);
    memset(data, (int)fill, sizeof data);
    for (int i = 0; i < 4; i++)
        if (write(fd, data, sizeof data) != sizeof data)
            wrong("write", -1, sizeof data);
    char *p = mmap(NULL, 4 * sizeof data, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) {
        if (memcmp(p + 3000, data, sizeof data))
            wrong("mapped file", p[3000], data[0]);
        memset(p, 'm', 100);
        // From one page of the mapping into another, by way of the kernel.
        if (pwrite(fd, p, 100, 5000) != 100 || memcmp(p + 5000, p, 100))
            wrong("write from the mapping", p[5000], 'm');
        munmap(p, 4 * sizeof data);
    }
    if (pread(fd, back, sizeof back, 9000) != sizeof back || memcmp(back, data, sizeof back))
        wrong("pread", back[0], data[0]);
    ftruncate(fd, 10);
    close(fd);
    char other[48];
    snprintf(other, sizeof other, "%s-2", name);
    if (rename(name, other) || unlink(other))
        wrong("rename, unlink", -1, 0);
}

static void reap(pid_t pid, int want)
{
    int status;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    if (got != pid || !WIFEXITED(status) || WEXITSTATUS(status) != want)
        wrong("child's status", got == pid ? status : -1, want << 8);
}

static void do_fork(struct worker *w)
{
    uint32_t mark, *p = marked(w, 6, MAP_PRIVATE, &mark);
    if (!p)
        return;
    pid_t pid = fork();
    if (!pid) {
        check_words("in the child", p, 6, mark);
        p[0] = 1;
        _exit(p[PAGE / 4] == mark + 1 ? 7 : 8);
    }
    if (pid > 0)
        reap(pid, 7);
    else if (!refused(pid))
        wrong("fork", -1, 0);
    check_words("in the parent", p, 6, mark);
    munmap(p, 6 * PAGE);
}

static void do_exec(struct worker *w)
{
    char argument[16];
    snprintf(argument, sizeof argument, "%u", noise(&w->state) % 100);
    char *argv[] = {(char *)program, "--exit", argument, NULL};
    pid_t pid = vfork();
    if (!pid) {
        execv(program, argv);
        _exit(127);
    }
    if (pid > 0)
        reap(pid, atoi(argument));
    else if (!refused(pid))
        wrong("vfork", -1, 0);
}

static void *short_thread(void *arg)
{
    return (char *)arg + 1;
}

static void do_thread(struct worker *w)
{
    pthread_t t;
    void *result = NULL;
    void *arg = (void *)(uintptr_t)noise(&w->state);
    if (pthread_create(&t, NULL, short_thread, arg))
        return;
    pthread_join(t, &result);
    if (result != (char *)arg + 1)
        wrong("thread", (long)result, (long)arg + 1);
}

static void do_pipe(struct worker *w)
{
    int p[2];
    char out[900], in[900];
    if (pipe(p))
        return;
    memset(out, (int)noise(&w->state), sizeof out);
    if (write(p[1], out, sizeof out) != sizeof out || read(p[0], in, sizeof in) != sizeof in || memcmp(in, out, sizeof in))
        wrong("pipe", in[0], out[0]);
    close(p[0]);
    close(p[1]);
    // A byte through the pipe of all: as many come out as went in, whoever gets them.
    char c = 'b';
    while (write(pipe_ends[1], &c, 1) < 0 && errno == EINTR)
        ;
    while (read(pipe_ends[0], &c, 1) < 0 && errno == EINTR)
        ;
    if (c != 'b')
        wrong("common pipe", c, 'b');
}

static long futex(volatile uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static void do_futex(struct worker *w)
{
    volatile uint32_t *word = &shared->words[noise(&w->state) % 8];
    struct timespec timeout = {0, 200000};
    uint32_t value = __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
    futex(word, FUTEX_WAKE, 2, NULL);
    if (futex(word, FUTEX_WAIT, value, &timeout) < 0 && errno != ETIMEDOUT && errno != EAGAIN && errno != EINTR)
        wrong("futex", -1, 0);
}

static void do_epoll(struct worker *w)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), mine = eventfd(0, EFD_NONBLOCK);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = 1}, got[4];
    epoll_ctl(ep, EPOLL_CTL_ADD, mine, &e);
    e.data.u32 = 2;
    epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e);
    e.data.u32 = 3;
    e.events = EPOLLIN | EPOLLET;
    epoll_ctl(ep, EPOLL_CTL_ADD, event, &e);
    struct itimerspec when = {.it_value = {0, 1 + noise(&w->state) % 300000}};
    timerfd_settime(timer, 0, &when, NULL);
    uint64_t one = 1, value = 0;
    write(event, &one, 8);
    bool expired = false;
    for (time_t end = time(NULL) + 30; !expired && time(NULL) < end;) { // other threads' events and signals come between
        int n = epoll_wait(ep, got, 4, 1000);
        for (int j = 0; j < n; j++)
            expired |= got[j].data.u32 == 2;
        if (n < 0 && errno != EINTR)
            wrong("epoll_wait", n, 1);
    }
    if (!expired || read(timer, &value, 8) != 8 || value != 1)
        wrong("timerfd", (long)value, 1);
    read(event, &value, 8);
    // Watched files and their epoll go in either order, ready or not. A number is not used once closed: another thread may have it.
    bool first = noise(&w->state) & 1;
    if (noise(&w->state) & 1)
        write(mine, &one, 8);
    if (first)
        close(mine);
    close(ep);
    close(timer);
    if (!first)
        close(mine);
}

static void on_signal(int signal)
{
    (void)signal;
    __atomic_fetch_add(&ticks, 1, __ATOMIC_RELAXED);
}

static void do_signal(struct worker *w)
{
    uint32_t before = ticks;
    if (noise(&w->state) & 1) {
        raise(SIGUSR1);
    } else {
        union sigval v = {.sival_int = (int)w->number};
        if (sigqueue(getpid(), SIGRTMIN + 2, v) && errno != EAGAIN)
            wrong("sigqueue", -1, 0);
        return;
    }
    if (ticks == before)
        wrong("raise", 0, 1);
}

static void do_sleep(struct worker *w)
{
    struct timespec t = {0, noise(&w->state) % 200000}, rest;
    if (nanosleep(&t, &rest) && errno != EINTR)
        wrong("nanosleep", -1, 0);
}

static void do_timer(struct worker *w)
{
    timer_t t;
    struct sigevent to = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    if (timer_create(CLOCK_MONOTONIC, &to, &t)) {
        if (errno != EAGAIN)
            wrong("timer_create", -1, 0);
        return;
    }
    struct itimerspec when = {.it_value = {0, 50000}, .it_interval = {0, 100000 + noise(&w->state) % 100000}};
    timer_settime(t, 0, &when, NULL);
    do_sleep(w);
    timer_delete(t);
}

static void do_affinity(struct worker *w)
{
    cpu_set_t set;
    int cpu = (int)(noise(&w->state) % (uint32_t)cpus);
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        wrong("sched_setaffinity", -1, 0);
    if (sched_getcpu() != cpu)
        wrong("sched_getcpu", sched_getcpu(), cpu);
    CPU_ZERO(&set);
    for (int i = 0; i < cpus; i++)
        CPU_SET(i, &set);
    sched_setaffinity(0, sizeof set, &set);
    sched_yield();
}

static void *work(void *arg)
{
    static void (*const tasks[])(struct worker *) = {do_map,   do_remap, do_large,  do_file,  do_fork, do_exec,  do_thread,
                                                     do_pipe,  do_futex, do_epoll,  do_signal, do_sleep, do_timer, do_affinity};
    struct worker *w = arg;
    while (!shared->stop) {
        uint32_t which = noise(&w->state) % (sizeof tasks / sizeof tasks[0]);
        tasks[which](w);
        __atomic_fetch_add(&shared->done[which], 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static int process(int number, int threads)
{
    pthread_t t[THREADS_MOST];
    static struct worker workers[THREADS_MOST];
    int started = 0;
    if (pipe(pipe_ends) || (event = eventfd(0, EFD_NONBLOCK)) < 0)
        return 1;
    for (; started < threads; started++) {
        workers[started] = (struct worker){(seed + (uint32_t)(number * THREADS_MOST + started)) * 2654435761U | 1, (uint32_t)started};
        if (pthread_create(&t[started], NULL, work, &workers[started]))
            break;
    }
    for (int i = 0; i < started; i++)
        pthread_join(t[i], NULL);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "--exit"))
        return atoi(argv[2]);
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    seed = argc > 2 ? (uint32_t)atoi(argv[2]) : 1;
    int processes = argc > 3 ? atoi(argv[3]) : 3, threads = argc > 4 ? atoi(argv[4]) : 4;
    if (processes > PROCESSES_MOST || threads > THREADS_MOST)
        give_up("too many");
    program = "/proc/self/exe";
    cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    int signals[] = {SIGUSR1, SIGUSR2, SIGRTMIN + 2};
    for (int i = 0; i < 3; i++)
        sigaction(signals[i], &sa, NULL);
    setvbuf(stdout, NULL, _IONBF, 0);
    pid_t pids[PROCESSES_MOST];
    for (int i = 0; i < processes; i++) {
        if ((pids[i] = fork()) == 0)
            _exit(process(i, threads));
        if (pids[i] < 0)
            give_up("fork");
    }
    struct timespec duration = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&duration, NULL);
    shared->stop = 1;
    for (int i = 0; i < processes; i++)
        reap(pids[i], 0);
    uint64_t least = ~0ULL;
    for (int i = 0; i < 14; i++)
        least = shared->done[i] < least ? shared->done[i] : least;
    fprintf(stderr, "each kind at least %llu times\n", (unsigned long long)least);
    printf("%u errors, %s\n", shared->errors, least ? "every kind of work was done" : "too slow");
    return shared->errors != 0;
}
