// Scheduling policies and priorities: what the calls say and refuse, what children inherit, what takes precedence.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifndef SCHED_RESET_ON_FORK
#define SCHED_RESET_ON_FORK 0x40000000
#endif
enum { NORMAL = 0, FIFO = 1, RR = 2, BATCH = 3, IDLE = 5, DEADLINE = 6, NO_PROCESS = 99999999 };

struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t more[6];
};

// musl's own functions refuse to be used.
static long set(long tid, long policy, int priority) { return syscall(SYS_sched_setscheduler, tid, policy, &priority); }
static long get(long tid) { return syscall(SYS_sched_getscheduler, tid); }
static long get_priority(void)
{
    int priority = -1;
    return syscall(SYS_sched_getparam, 0, &priority) ? -1 : priority;
}
static long set_attr(struct attr a) { return syscall(SYS_sched_setattr, 0, &a, 0); }
static struct attr get_attr(void)
{
    struct attr a = {0};
    syscall(SYS_sched_getattr, 0, &a, sizeof a, 0);
    return a;
}

static bool privileged; // CAP_SYS_NICE: containers may lack it
static bool has_sys_nice(void)
{
    char line[256];
    unsigned long caps = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "CapEff: %lx", &caps);
    if (f)
        fclose(f);
    return caps >> 23 & 1;
}
// What only the privileged may do: EPERM for all others.
static const char *as_allowed(long result)
{
    return privileged ? (result == 0 ? "as allowed" : "REFUSED") : result == -1 && errno == EPERM ? "as allowed" : "NOT REFUSED";
}

static void policies(void)
{
    printf("-- policies\n");
    SHOW(get(0));
    SHOW(set(0, BATCH, 0));
    SHOW(get(0));
    SHOW(get_priority());
    SHOW(set(0, NORMAL, 0));
    SHOW(set(0, NORMAL, 1));
    SHOW(set(0, FIFO, 0));
    SHOW(set(0, RR, 100));
    SHOW(set(0, 4, 0));
    SHOW(set(0, 7, 0));
    SHOW(set(0, -1, 0));
    SHOW(set(0, DEADLINE, 0));
    SHOW(set(-1, NORMAL, 0));
    SHOW(set(NO_PROCESS, NORMAL, 0));
    SHOW(set(NO_PROCESS, 77, 0));
    SHOW(syscall(SYS_sched_setscheduler, 0, NORMAL, NULL));
    SHOW(syscall(SYS_sched_setscheduler, 0, NORMAL, 8));
    SHOW(syscall(SYS_sched_getparam, 0, NULL));
    SHOW(get(-1));
    SHOW(get(NO_PROCESS));
    for (int p = -1; p < 7; p++)
        printf("policy %d: priorities %d to %d\n", p, sched_get_priority_min(p), sched_get_priority_max(p));
}

static void attributes(void)
{
    printf("-- attributes\n");
    struct attr a = get_attr();
    printf("size %u policy %u flags %lu nice %d\n", a.size, a.policy, (unsigned long)a.flags, a.nice);
    SHOW(set_attr((struct attr){.size = 48, .policy = BATCH, .nice = 3}));
    a = get_attr();
    printf("policy %u nice %d, getpriority %d\n", a.policy, a.nice, getpriority(PRIO_PROCESS, 0));
    SHOW(set_attr((struct attr){.nice = 4}));
    SHOW(set_attr((struct attr){.size = 47, .nice = 4}));
    SHOW(set_attr((struct attr){.size = 4097, .nice = 4}));
    SHOW(set_attr((struct attr){.size = 64, .nice = 4, .more = {0, 0, 0, 1}}));
    SHOW(set_attr((struct attr){.size = 64, .nice = 5}));
    SHOW(set_attr((struct attr){.size = 48, .policy = 9}));
    SHOW(set_attr((struct attr){.size = 48, .policy = 0x80000000}));
    SHOW(set_attr((struct attr){.size = 48, .flags = 0x8000, .nice = 5}));
    SHOW(set_attr((struct attr){.size = 48, .flags = 0x20, .nice = 5}));
    SHOW(set_attr((struct attr){.size = 48, .policy = DEADLINE}));
    SHOW(set_attr((struct attr){.size = 48, .policy = FIFO}));
    SHOW(set_attr((struct attr){.size = 48, .policy = RR, .flags = 8, .nice = 7})); // the policy is kept
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(get(0));
    SHOW(syscall(SYS_sched_getattr, 0, &a, 47, 0));
    SHOW(syscall(SYS_sched_getattr, 0, &a, 48, 1));
    SHOW(syscall(SYS_sched_getattr, 0, NULL, 48, 0));
    SHOW(syscall(SYS_sched_getattr, NO_PROCESS, &a, 48, 0));
    SHOW(syscall(SYS_sched_setattr, 0, &a, 1));
    SHOW(syscall(SYS_sched_setattr, 0, NULL, 0));
    SHOW(syscall(SYS_sched_setattr, 0, 8, 0));
}

static void child_of_idle(void)
{
    printf("child: policy %ld nice %d\n", get(0), getpriority(PRIO_PROCESS, 0));
}
static void child_of_resetting(void)
{
    printf("child: policy %ld priority %ld\n", get(0), get_priority());
}
static void in_child(void (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void unprivileged(void)
{
    printf("-- without privileges\n");
    struct rlimit none = {0, 0};
    HOLDS(setrlimit(RLIMIT_RTPRIO, &none) == 0 && setrlimit(RLIMIT_NICE, &none) == 0);
    HOLDS(setresuid(65534, 65534, 65534) == 0);
    SHOW(set(0, FIFO, 1));
    SHOW(set(0, RR, 99));
    SHOW(set(0, BATCH, 0));
    SHOW(set_attr((struct attr){.size = 48, .policy = DEADLINE, .runtime = 10000000, .deadline = 30000000}));
    SHOW(set_attr((struct attr){.size = 48, .nice = -1}));
    SHOW(setpriority(PRIO_PROCESS, 0, 19));
    SHOW(setpriority(PRIO_PROCESS, 0, 18));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(set(1, BATCH, 0) == -1 && (errno == EPERM || errno == ESRCH) ? 0 : 1); // in a sandbox it may be ours
    SHOW(set(0, IDLE, 0));
    SHOW(set(0, NORMAL, 0));
    SHOW(set(0, IDLE | SCHED_RESET_ON_FORK, 0));
    SHOW(set(0, IDLE, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4));
    in_child(child_of_idle);
}

static void inheritance(void)
{
    printf("-- inheritance\n");
    SHOW(setpriority(PRIO_PROCESS, 0, 10));
    SHOW(set(0, IDLE, 0));
    in_child(child_of_idle);
    SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    if (privileged) {
        if (set(0, FIFO | SCHED_RESET_ON_FORK, 5) || get(0) != (FIFO | SCHED_RESET_ON_FORK) || get_priority() != 5)
            printf("SCHED_FIFO with SCHED_RESET_ON_FORK: %ld\n", get(0));
        in_child(child_of_resetting);
    } else {
        printf("child: policy 0 priority 0\n");
    }
}

static void io_priorities(void)
{
    printf("-- I/O priorities\n");
    SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 5));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 1));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 4 << 13));
    SHOW(syscall(SYS_ioprio_set, 4, 0, 2 << 13));
    SHOW(syscall(SYS_ioprio_get, 0, 0));
    SHOW(syscall(SYS_ioprio_get, 1, NO_PROCESS));
    SHOW(syscall(SYS_ioprio_set, 1, NO_PROCESS, 2 << 13));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 0));
}

static void nice_calls(void)
{
    printf("-- nice\n");
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 7));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(syscall(SYS_getpriority, PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 100));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(3, 0, 1));
    SHOW(getpriority(-1, 0));
    SHOW(setpriority(PRIO_PROCESS, NO_PROCESS, 1));
    SHOW(getpriority(PRIO_PGRP, NO_PROCESS));
    setpgid(0, 0);
    SHOW(setpriority(PRIO_PGRP, 0, 19));
    SHOW(getpriority(PRIO_PGRP, getpid()));
    printf("setpriority(PRIO_PROCESS, 0, -5): %s\n",
           !privileged ? "as allowed" : setpriority(PRIO_PROCESS, 0, -5) == 0 && getpriority(PRIO_PROCESS, 0) == -5 ? "as allowed" : "NO");
}

// A real-time thread that wakes up takes the CPU at once from one that only computes.
static volatile int computing, finished;
static int pipe_fds[2];
static volatile int found;
static void *waits(void *arg)
{
    char c;
    (void)arg;
    if (privileged)
        set(0, FIFO, 10);
    computing = 1;
    if (read(pipe_fds[0], &c, 1) != 1)
        printf("read failed\n");
    found = !finished;
    return NULL;
}
static void precedence(void)
{
    cpu_set_t one, all;
    pthread_t t;
    printf("-- precedence\n");
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    if (pipe(pipe_fds) || pthread_create(&t, NULL, waits, NULL))
        printf("no thread\n");
    while (!computing)
        sched_yield();
    usleep(20000);
    if (write(pipe_fds[1], "x", 1) != 1)
        printf("write failed\n");
    for (volatile int i = 0; i < 1000000; i++)
        ;
    finished = 1;
    pthread_join(t, NULL);
    printf("a real-time thread comes first: %s\n", !privileged || found ? "yes" : "NO");
    sched_setaffinity(0, sizeof all, &all);
}

int main(void)
{
    privileged = has_sys_nice();
    printf("SCHED_FIFO %s\n", as_allowed(set(0, FIFO, 1)));
    set(0, NORMAL, 0);
    in_child(policies);
    in_child(attributes);
    in_child(io_priorities);
    in_child(nice_calls);
    in_child(inheritance);
    in_child(unprivileged);
    in_child(precedence);
    return 0;
}
