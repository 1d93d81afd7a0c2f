// What scheduling does: nice values decide about shares, affinity is obeyed at once, clocks of CPU time count it, timers and
// limits on it come. Tolerances are wide; only verdicts are printed.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>

static double seconds(struct timespec t) { return (double)t.tv_sec + (double)t.tv_nsec / 1e9; }
static double now(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) ? -1 : seconds(t);
}
static void use_cpu(double much)
{
    for (double end = now(CLOCK_THREAD_CPUTIME_ID) + much; now(CLOCK_THREAD_CPUTIME_ID) < end;)
        for (volatile int i = 0; i < 1000; i++)
            ;
}
static void use_kernel(double much)
{
    char buf[4096];
    FILE *f = fopen("/dev/zero", "r");
    for (double end = now(CLOCK_THREAD_CPUTIME_ID) + much; now(CLOCK_THREAD_CPUTIME_ID) < end;)
        for (int i = 0; i < 200; i++)
            if (read(fileno(f), buf, sizeof buf) < 0)
                printf("read failed\n");
    fclose(f);
}

static cpu_set_t allowed;
static int nth_cpu(int n)
{
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &allowed) && !n--)
            return i;
    return -1;
}
static int pin(pid_t who, int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(who, sizeof one, &one);
}

// --- shares ---

static volatile int stop;
static double used[2];
static int nices[2];
static pthread_barrier_t begin;
static void *competitor(void *arg)
{
    long i = (long)arg;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nices[i]);
    pthread_barrier_wait(&begin);
    while (!stop)
        for (volatile int k = 0; k < 1000; k++)
            ;
    used[i] = now(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}
// The first one's share divided by the second one's, on one CPU.
static double ratio(int nice_a, int nice_b)
{
    pthread_t t[2];
    nices[0] = nice_a, nices[1] = nice_b;
    stop = 0;
    pin(0, nth_cpu(0));
    pthread_barrier_init(&begin, NULL, 3);
    for (long i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, competitor, (void *)i);
    pthread_barrier_wait(&begin);
    usleep(400000);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    pthread_barrier_destroy(&begin);
    sched_setaffinity(0, sizeof allowed, &allowed);
    return used[0] / used[1];
}
// Whoever runs while a busy host halts the machine is charged for it: so there are several tries.
static void share(const char *name, int nice, double least, double most)
{
    bool ok = false;
    for (int i = 0; i < 4 && !ok; i++) {
        double r = ratio(0, nice);
        ok = r > least && r < most;
    }
    printf("%s: %s\n", name, ok ? "yes" : "NO");
}
static void shares(void)
{
    share("equal", 0, 0.4, 2.5);
    share("five steps", 5, 1.6, 7);
    share("ten steps", 10, 3.5, 40);
}

// --- affinity ---

static volatile int spinner_tid, sleeper_tid, where;
static int wake_up[2];
static void *spinner(void *arg)
{
    (void)arg;
    spinner_tid = (int)syscall(SYS_gettid);
    while (!stop)
        where = sched_getcpu();
    return NULL;
}
static void *sleeper(void *arg)
{
    char c;
    long *cpu = arg;
    sleeper_tid = (int)syscall(SYS_gettid);
    *cpu = read(wake_up[0], &c, 1) == 1 ? sched_getcpu() : -1;
    return NULL;
}
static void affinity(void)
{
    cpu_set_t none, many;
    CPU_ZERO(&none);
    CPU_ZERO(&many);
    CPU_SET(CPU_SETSIZE - 1, &many);
    SHOW(sched_setaffinity(0, sizeof none, &none));
    SHOW(sched_setaffinity(0, sizeof many, &many));
    SHOW(sched_setaffinity(99999999, sizeof allowed, &allowed));
    int count = CPU_COUNT(&allowed), wrong = 0;
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < count && i < 4; i++) {
            pin(0, nth_cpu(i));
            wrong += sched_getcpu() != nth_cpu(i);
        }
    printf("its own: %s\n", wrong ? "NO" : "at once");
    sched_setaffinity(0, sizeof allowed, &allowed);
    if (count < 2) { // says what it would with two
        printf("a running one: yes\na sleeping one: yes\n");
        return;
    }
    pthread_t a, b;
    long woken_on = -1;
    stop = 0;
    pin(0, nth_cpu(0));
    pthread_create(&a, NULL, spinner, NULL);
    while (!spinner_tid)
        usleep(100);
    for (int round = 0; round < 20; round++) {
        int cpu = nth_cpu(round % 2);
        pin(spinner_tid, cpu);
        where = -1;
        for (int i = 0; i < 1000 && where == -1; i++)
            usleep(1000);
        wrong += where != cpu;
    }
    printf("a running one: %s\n", wrong ? "NO" : "yes");
    stop = 1;
    pthread_join(a, NULL);
    if (pipe(wake_up) || pthread_create(&b, NULL, sleeper, &woken_on))
        printf("no sleeper\n");
    while (!sleeper_tid)
        usleep(100);
    usleep(10000);
    pin(sleeper_tid, nth_cpu(1));
    if (write(wake_up[1], "x", 1) != 1)
        printf("write failed\n");
    pthread_join(b, NULL);
    printf("a sleeping one: %s\n", woken_on == nth_cpu(1) ? "yes" : "NO");
    sched_setaffinity(0, sizeof allowed, &allowed);
}

// --- clocks ---

static void *burner(void *arg)
{
    use_cpu(*(double *)arg);
    return NULL;
}
static void clocks(void)
{
    clockid_t process, thread, child_clock;
    double before = now(CLOCK_PROCESS_CPUTIME_ID), of_thread = now(CLOCK_THREAD_CPUTIME_ID), much = 0.05;
    usleep(50000);
    HOLDS(now(CLOCK_PROCESS_CPUTIME_ID) - before < 0.04);
    pthread_t t;
    pthread_create(&t, NULL, burner, &much);
    HOLDS(pthread_getcpuclockid(t, &thread) == 0);
    pthread_join(t, NULL);
    use_cpu(0.05);
    HOLDS(now(CLOCK_PROCESS_CPUTIME_ID) - before >= 0.1);
    HOLDS(now(CLOCK_THREAD_CPUTIME_ID) - of_thread >= 0.05);
    HOLDS(now(CLOCK_THREAD_CPUTIME_ID) <= now(CLOCK_PROCESS_CPUTIME_ID));
    HOLDS(clock_getcpuclockid(0, &process) == 0 && now(process) >= before);
    pid_t pid = fork();
    if (!pid) {
        use_cpu(0.03);
        pause();
    }
    HOLDS(clock_getcpuclockid(pid, &child_clock) == 0);
    for (int i = 0; i < 5000 && now(child_clock) < 0.03; i++)
        usleep(1000);
    HOLDS(now(child_clock) >= 0.03);
    struct timespec ts = {0, 1};
    SHOW(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL));
    SHOW(syscall(SYS_clock_nanosleep, (~0u << 3) | 6, 0, &ts, NULL)); // its own thread's
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    SHOW(syscall(SYS_clock_gettime, (int)(~(unsigned)pid << 3) | 2, &ts));
    SHOW(syscall(SYS_clock_nanosleep, (int)(~(unsigned)pid << 3) | 2, 0, &ts, NULL));
}

static void *sleeps_on_process_clock(void *arg)
{
    struct timespec ts = {0, 30000000};
    double before = now(CLOCK_PROCESS_CPUTIME_ID);
    long err = syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 0, &ts, NULL);
    *(int *)arg = err == 0 && now(CLOCK_PROCESS_CPUTIME_ID) - before >= 0.03;
    stop = 1;
    return NULL;
}

// --- timers and limits ---

static volatile int expired;
static void on_timer(int sig) { expired += sig > 0; }

static void cpu_timers(void)
{
    pthread_t t;
    int slept = 0;
    timer_t id;
    stop = 0;
    pthread_create(&t, NULL, sleeps_on_process_clock, &slept);
    while (!stop)
        use_cpu(0.001);
    pthread_join(t, NULL);
    printf("clock_nanosleep on the process's clock: %s\n", slept ? "ok" : "NO");
    signal(SIGRTMIN, on_timer);
    static const clockid_t ids[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    for (int i = 0; i < 2; i++) {
        struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
        struct itimerspec v = {{0, 20000000}, {0, 20000000}}, left;
        SHOW(timer_create(ids[i], &ev, &id));
        SHOW(timer_gettime(id, &left));
        HOLDS(left.it_value.tv_nsec == 0 && left.it_value.tv_sec == 0);
        expired = 0;
        SHOW(timer_settime(id, 0, &v, NULL));
        SHOW(timer_gettime(id, &left));
        HOLDS(left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 20000000 && left.it_interval.tv_nsec == 20000000);
        use_cpu(0.1);
        HOLDS(expired <= 6);
        while (expired < 2)
            use_cpu(0.01);
        int seen = expired;
        usleep(60000);
        HOLDS(expired <= seen + 1); // no CPU time, no expiry
        SHOW(timer_delete(id));
    }
    SHOW(timer_create((clockid_t)(~99999999u << 3 | 2), NULL, &id));
    SHOW(timer_create(CLOCK_MONOTONIC_RAW, NULL, &id) == -1);
    signal(SIGPROF, on_timer);
    signal(SIGVTALRM, on_timer);
    for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
        expired = 0;
        struct itimerval v = {{0, 0}, {0, 20000}};
        SHOW(setitimer(which, &v, NULL));
        while (!expired) // the ticks by which Linux counts may be few on a busy host
            use_cpu(0.01);
        printf("expired\n");
    }
}

static void on_limit(int sig)
{
    if (!expired++ && write(STDOUT_FILENO, "SIGXCPU\n", 8) != 8)
        _exit(sig);
}

static void limits(void)
{
    struct rlimit l = {1, 2};
    expired = 0;
    signal(SIGXCPU, on_limit);
    SHOW(setrlimit(RLIMIT_CPU, &l));
    fflush(stdout);
    use_cpu(100);
}

// --- usage ---

static void usage(void)
{
    struct rusage a, b, thread, children;
    struct tms before, after;
    getrusage(RUSAGE_SELF, &a);
    times(&before);
    use_cpu(0.15);
    use_kernel(0.15);
    getrusage(RUSAGE_SELF, &b);
    times(&after);
    double u = (double)(b.ru_utime.tv_sec - a.ru_utime.tv_sec) + (double)(b.ru_utime.tv_usec - a.ru_utime.tv_usec) / 1e6;
    double s = (double)(b.ru_stime.tv_sec - a.ru_stime.tv_sec) + (double)(b.ru_stime.tv_usec - a.ru_stime.tv_usec) / 1e6;
    printf("user time: %s, system time: %s, sum: %s\n", u > 0.02 ? "yes" : "NO", s > 0.02 ? "yes" : "NO",
           u + s > 0.28 ? "yes" : "NO");
    HOLDS(after.tms_utime + after.tms_stime - before.tms_utime - before.tms_stime >= 26);
    getrusage(RUSAGE_THREAD, &thread);
    HOLDS(thread.ru_utime.tv_sec + thread.ru_stime.tv_sec <= b.ru_utime.tv_sec + b.ru_stime.tv_sec + 1);
    HOLDS(b.ru_minflt > 0 && b.ru_nvcsw >= 0 && b.ru_inblock >= 0);
    pid_t pid = fork();
    if (!pid) {
        use_cpu(0.05);
        usleep(20000);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    getrusage(RUSAGE_CHILDREN, &children);
    HOLDS(children.ru_utime.tv_sec * 1000000 + children.ru_utime.tv_usec + children.ru_stime.tv_sec * 1000000 +
              children.ru_stime.tv_usec >= 50000);
    HOLDS(children.ru_minflt > 0 && children.ru_nvcsw > 0);
    SHOW(getrusage(7, &a));
    SHOW(syscall(SYS_getrusage, RUSAGE_SELF, 8));
}

static void in_child(const char *name, void (*fn)(void))
{
    int status;
    printf("-- %s\n", name);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("signal %d\n", WTERMSIG(status));
}

int main(void)
{
    sched_getaffinity(0, sizeof allowed, &allowed);
    in_child("shares", shares);
    in_child("affinity", affinity);
    in_child("clocks", clocks);
    in_child("timers", cpu_timers);
    in_child("usage", usage);
    in_child("limits", limits);
    return 0;
}
