// The family of processes: who waits for whom and with which options, who inherits orphans, what clone's flags share, groups and
// sessions and what may not be changed, what happens to stopped jobs that nobody looks after, and to children that nobody
// wants to wait for.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef __WCLONE
#define __WCLONE 0x80000000
#define __WALL 0x40000000
#define __WNOTHREAD 0x20000000
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static struct shared {
    volatile int ready, go, value, orphan_parent;
    volatile int signals[64];
} *shared;

static void wait_for(volatile int *flag, int value)
{
    while (*flag != value)
        usleep(300);
}

static pid_t child_exits(int code)
{
    pid_t p = fork();
    if (!p)
        _exit(code);
    return p;
}

static long raw_clone(unsigned long flags)
{
    return syscall(SYS_clone, flags, 0L, 0L, 0L, 0L);
}

static void count_signal(int signal)
{
    shared->signals[signal]++;
}

static void show_status(const char *what, pid_t expected, pid_t got, int status)
{
    printf("%s: %s, ", what, got == expected ? "the child" : got == -1 ? errno_name(errno) : got ? "another" : "none");
    if (got <= 0)
        printf("-\n");
    else if (WIFEXITED(status))
        printf("exited %d\n", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("killed by %d\n", WTERMSIG(status));
    else if (WIFSTOPPED(status))
        printf("stopped by %d\n", WSTOPSIG(status));
    else
        printf("continued\n");
}

#define SHOW_STATUS(what, expected, call)                                                                                       \
    do {                                                                                                                        \
        pid_t got_ = (status = 0, call);                                                                                        \
        show_status(what, expected, got_, status);                                                                              \
    } while (0)

static void wait_options(void)
{
    int status = 0;
    siginfo_t info;
    section("wait4, waitid");
    SHOW(wait4(-1, NULL, 0, NULL));
    SHOW(wait4(-1, NULL, 0x100, NULL));
    SHOW(wait4((pid_t)0x80000000, NULL, 0, NULL));
    SHOW(waitid(P_ALL, 0, &info, 0));
    SHOW(waitid(P_ALL, 0, &info, WEXITED | 0x100));
    SHOW(waitid(P_PID, 0, &info, WEXITED));
    SHOW(waitid(7, 0, &info, WEXITED));
    memset(&info, 0x55, sizeof info);
    SHOW(waitid(P_ALL, 0, &info, WEXITED));
    printf("written all the same: %d %d %d\n", info.si_signo, info.si_code, info.si_errno);

    pid_t p = child_exits(3);
    SHOW(waitid(P_PID, (id_t)p, &info, WEXITED | WNOWAIT));
    printf("%d %d %d %d\n", info.si_signo, info.si_code, info.si_pid == p, info.si_status);
    SHOW_STATUS("after WNOWAIT", p, wait4(p, &status, 0, NULL));
    SHOW_STATUS("again", p, wait4(p, &status, 0, NULL));

    p = fork();
    if (!p)
        for (;;)
            pause();
    SHOW_STATUS("WNOHANG", p, wait4(p, &status, WNOHANG, NULL));
    memset(&info, 0x55, sizeof info);
    SHOW(waitid(P_PID, (id_t)p, &info, WEXITED | WNOHANG));
    printf("nothing: %d %d\n", info.si_signo, info.si_pid);
    kill(p, SIGSTOP);
    SHOW_STATUS("stop", p, wait4(p, &status, WUNTRACED, NULL));
    SHOW_STATUS("once only", p, wait4(p, &status, WUNTRACED | WNOHANG, NULL));
    kill(p, SIGCONT);
    SHOW(waitid(P_PID, (id_t)p, &info, WCONTINUED | WNOWAIT));
    printf("%d %d\n", info.si_code, info.si_status);
    SHOW_STATUS("on", p, wait4(p, &status, WCONTINUED, NULL));
    SHOW_STATUS("once only", p, wait4(p, &status, WCONTINUED | WNOHANG, NULL));
    kill(p, SIGSTOP);
    SHOW(waitid(P_PGID, (id_t)getpgrp(), &info, WSTOPPED));
    printf("%d %d\n", info.si_code, info.si_status);
    kill(p, SIGKILL);
    SHOW(waitid(P_ALL, 0, &info, WEXITED));
    printf("%d %d\n", info.si_code, info.si_status);

    section("children that tell by other signals");
    p = (pid_t)raw_clone(0);
    if (!p)
        _exit(4);
    SHOW(wait4(p, &status, 0, NULL));
    SHOW_STATUS("__WCLONE", p, wait4(p, &status, (int)__WCLONE, NULL));
    p = (pid_t)raw_clone(SIGURG);
    if (!p)
        _exit(5);
    SHOW_STATUS("__WALL", p, wait4(p, &status, __WALL, NULL));
    p = child_exits(6);
    SHOW(wait4(p, &status, (int)__WCLONE, NULL));
    wait4(p, &status, 0, NULL);
}

static void usage(void)
{
    struct rusage u, before, after;
    int status;
    section("what children used");
    getrusage(RUSAGE_CHILDREN, &before);
    pid_t p = fork();
    if (!p) {
        char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        madvise(m, 1 << 20, MADV_NOHUGEPAGE);
        for (int i = 0; i < 1 << 20; i += 4096)
            m[i] = 1;
        clock_t end = clock() + CLOCKS_PER_SEC / 20;
        while (clock() < end)
            continue;
        _exit(0);
    }
    wait4(p, &status, 0, &u);
    getrusage(RUSAGE_CHILDREN, &after);
    HOLDS(u.ru_minflt >= 256);
    HOLDS(u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_sec * 1000000 + u.ru_stime.tv_usec >= 40000);
    HOLDS(u.ru_maxrss >= 1024);
    HOLDS(after.ru_minflt - before.ru_minflt >= u.ru_minflt);
    HOLDS(after.ru_maxrss >= u.ru_maxrss);
}

static void *wait_in_thread(void *arg)
{
    int status;
    SHOW(wait4(*(pid_t *)arg, &status, __WNOTHREAD, NULL));
    return NULL;
}
static void *fork_in_thread(void *arg)
{
    pid_t p = fork();
    if (!p) {
        prctl(PR_SET_PDEATHSIG, SIGUSR1);
        signal(SIGUSR1, count_signal);
        shared->ready = 1;
        while (!shared->signals[SIGUSR1])
            usleep(300);
        _exit(9);
    }
    *(pid_t *)arg = p;
    wait_for(&shared->ready, 1);
    return NULL;
}
static void threads_and_children(void)
{
    int status;
    pthread_t t;
    section("threads and children");
    pid_t p = child_exits(2);
    pthread_create(&t, NULL, wait_in_thread, &p);
    pthread_join(t, NULL);
    SHOW_STATUS("its own", p, wait4(p, &status, __WNOTHREAD, NULL));
    shared->ready = 0;
    memset((void *)shared->signals, 0, sizeof shared->signals);
    pthread_create(&t, NULL, fork_in_thread, &p);
    pthread_join(t, NULL);
    SHOW_STATUS("child of a thread that ended", p, wait4(p, &status, 0, NULL));
}

static void orphans(void)
{
    int value = -1, status;
    section("orphans");
    SHOW(prctl(PR_GET_CHILD_SUBREAPER, &value));
    printf("%d\n", value);
    SHOW(prctl(PR_SET_CHILD_SUBREAPER, 1));
    prctl(PR_GET_CHILD_SUBREAPER, &value);
    printf("%d\n", value);
    memset(shared, 0, sizeof *shared);
    pid_t p = fork();
    if (!p) {
        prctl(PR_GET_CHILD_SUBREAPER, &value);
        shared->value = value;
        if (!fork()) {
            wait_for(&shared->go, 1);
            usleep(1000);
            shared->orphan_parent = getppid();
            _exit(8);
        }
        _exit(0);
    }
    SHOW_STATUS("child", p, wait4(p, &status, 0, NULL));
    printf("inherited: %d\n", shared->value);
    shared->go = 1;
    p = wait4(-1, &status, 0, NULL);
    printf("orphan exited %d, was mine: %d\n", WEXITSTATUS(status), shared->orphan_parent == getpid());
    // A zombie changes hands.
    p = fork();
    if (!p) {
        if (!fork())
            _exit(12);
        usleep(20000);
        _exit(1);
    }
    SHOW_STATUS("child", p, wait4(p, &status, 0, NULL));
    p = wait4(-1, &status, 0, NULL);
    printf("zombie of a child: %d\n", p > 0 ? WEXITSTATUS(status) : -1);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void unwanted(void)
{
    int status;
    section("children that nobody waits for");
    struct sigaction sa = {.sa_handler = SIG_IGN};
    sigaction(SIGCHLD, &sa, NULL);
    pid_t p = fork();
    if (!p) {
        usleep(5000);
        _exit(1);
    }
    SHOW_STATUS("SIGCHLD ignored", p, wait4(-1, &status, 0, NULL));
    memset((void *)shared->signals, 0, sizeof shared->signals);
    sa = (struct sigaction){.sa_handler = count_signal, .sa_flags = SA_NOCLDWAIT | SA_RESTART};
    sigaction(SIGCHLD, &sa, NULL);
    p = child_exits(1);
    SHOW_STATUS("SA_NOCLDWAIT", p, wait4(-1, &status, 0, NULL));
    printf("signals: %d\n", shared->signals[SIGCHLD]);
    sa = (struct sigaction){.sa_handler = count_signal, .sa_flags = SA_NOCLDSTOP | SA_RESTART};
    sigaction(SIGCHLD, &sa, NULL);
    memset((void *)shared->signals, 0, sizeof shared->signals);
    p = fork();
    if (!p)
        for (;;)
            pause();
    kill(p, SIGSTOP);
    SHOW_STATUS("SA_NOCLDSTOP", p, wait4(p, &status, WUNTRACED, NULL));
    printf("signals: %d\n", shared->signals[SIGCHLD]);
    kill(p, SIGKILL);
    SHOW_STATUS("killed", p, wait4(p, &status, 0, NULL));
    printf("signals: %d\n", shared->signals[SIGCHLD]);
    signal(SIGCHLD, SIG_DFL);
}

static siginfo_t told[4];
static volatile int told_count;
static void on_child(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    if (told_count < 4)
        told[told_count] = *info;
    told_count++;
}
static void child_signals(void)
{
    int status;
    section("what SIGCHLD says");
    struct sigaction sa = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGCHLD, &sa, NULL);
    pid_t p = fork();
    if (!p)
        for (;;)
            pause();
    kill(p, SIGSTOP);
    wait_for(&told_count, 1);
    kill(p, SIGCONT);
    wait_for(&told_count, 2);
    kill(p, SIGTERM);
    wait_for(&told_count, 3);
    for (int i = 0; i < 3; i++)
        printf("%d %d %d %d\n", told[i].si_signo, told[i].si_code, told[i].si_pid == p, told[i].si_status);
    SHOW_STATUS("child", p, wait4(p, &status, 0, NULL));
    signal(SIGCHLD, SIG_DFL);
}

// A group with a stopped member whose last connection to the session ends: SIGHUP and SIGCONT.
static void on_hup(int signal)
{
    shared->signals[signal]++;
}
static void stopped_jobs(void)
{
    int status;
    section("stopped jobs that are orphaned");
    memset(shared, 0, sizeof *shared);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t leader = fork();
    if (!leader) {
        setsid();
        pid_t job = fork();
        if (!job) {
            setpgid(0, 0);
            signal(SIGHUP, on_hup);
            signal(SIGCONT, on_hup);
            shared->ready = 1;
            while (!shared->signals[SIGHUP] || !shared->signals[SIGCONT])
                usleep(300);
            shared->go = 1;
            _exit(0);
        }
        wait_for(&shared->ready, 1);
        kill(job, SIGSTOP);
        waitpid(job, &status, WUNTRACED);
        _exit(0);
    }
    SHOW_STATUS("leader", leader, wait4(leader, &status, 0, NULL));
    wait_for(&shared->go, 1);
    printf("SIGHUP %d SIGCONT %d\n", shared->signals[SIGHUP], shared->signals[SIGCONT]);
    wait4(-1, &status, 0, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void groups(void)
{
    int status;
    section("groups and sessions");
    memset(shared, 0, sizeof *shared);
    pid_t p = fork();
    if (!p) {
        SHOW(setpgid(0, -1));
        SHOW(setpgid(0, 0));
        HOLDS(getpgrp() == getpid());
        SHOW(setsid()); // a leader of a group may not
        fflush(stdout);
        pid_t c = fork();
        if (!c) {
            HOLDS(getpgrp() == getppid());
            HOLDS(setsid() == getpid());
            HOLDS(getsid(0) == getpid() && getpgid(0) == getpid());
            SHOW(setpgid(0, 0));
            SHOW(setpgid(getpid(), getppid()));
            fflush(stdout);
            shared->ready = 1;
            wait_for(&shared->go, 1);
            _exit(0);
        }
        wait_for(&shared->ready, 1);
        SHOW(setpgid(c, c));
        SHOW(setpgid(c, getpid()));
        SHOW(setpgid(getppid(), 0));
        SHOW(setpgid(999999, 0));
        SHOW(setpgid(0, 999999));
        SHOW(getsid(999999));
        SHOW(getpgid(999999));
        fflush(stdout);
        shared->go = 1;
        wait4(c, &status, 0, NULL);
        // After exec it is too late.
        int fd[2];
        char byte;
        pipe2(fd, O_CLOEXEC);
        c = fork();
        if (!c) {
            execl("/proc/self/exe", "sleeper", "sleep", (char *)NULL);
            _exit(1);
        }
        close(fd[1]);
        read(fd[0], &byte, 1); // ends with the exec
        SHOW(setpgid(c, c));
        kill(c, SIGKILL);
        wait4(c, &status, 0, NULL);
        // A group of zombies still exists.
        c = fork();
        if (!c) {
            setpgid(0, 0);
            _exit(0);
        }
        siginfo_t info;
        waitid(P_PID, (id_t)c, &info, WEXITED | WNOWAIT);
        SHOW(kill(-c, 0));
        SHOW(kill(-c, SIGTERM));
        wait4(c, &status, 0, NULL);
        SHOW(kill(-c, 0));
        SHOW(kill(-getpid(), 0));
        fflush(stdout);
        _exit(0);
    }
    wait4(p, &status, 0, NULL);
}

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
static long clone3(struct clone3_args a, size_t size)
{
    return syscall(SYS_clone3, &a, size);
}

static void clone_flags(void)
{
    int status, tid = 0;
    section("clone");
    SHOW(raw_clone(CLONE_THREAD | SIGCHLD));
    SHOW(raw_clone(CLONE_SIGHAND | SIGCHLD));
    SHOW(raw_clone(CLONE_THREAD | CLONE_VM | SIGCHLD));
    SHOW(raw_clone(CLONE_NEWNS | CLONE_FS | SIGCHLD));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD}, 56));
    SHOW(clone3((struct clone3_args){.exit_signal = 65}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .flags = CLONE_PARENT}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .flags = 1ul << 40}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .flags = SIGCHLD}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .stack = 4096}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .stack_size = 4096}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .set_tid = (uint64_t)&tid}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .set_tid_size = 1}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .set_tid_size = 33, .set_tid = (uint64_t)&tid}, 88));
    SHOW(clone3((struct clone3_args){.exit_signal = SIGCHLD, .flags = (1ul << 32) | CLONE_SIGHAND | CLONE_VM}, 88));

    // Handlers: copied, or all default.
    signal(SIGUSR1, count_signal);
    signal(SIGUSR2, SIG_IGN);
    for (unsigned long flags = 0; flags <= 1ul << 32; flags += 1ul << 32) {
        pid_t p = (pid_t)clone3((struct clone3_args){.exit_signal = SIGCHLD, .flags = flags}, 88);
        if (!p) {
            struct sigaction a, b;
            sigaction(SIGUSR1, NULL, &a);
            sigaction(SIGUSR2, NULL, &b);
            _exit((a.sa_handler == SIG_DFL) + 2 * (b.sa_handler == SIG_IGN));
        }
        wait4(p, &status, 0, NULL);
        printf("handlers %s: %d\n", flags ? "cleared" : "copied", WEXITSTATUS(status));
    }
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);

    // CLONE_PARENT: a sibling. It is made by a child, since process 1 has no parent.
    memset(shared, 0, sizeof *shared);
    pid_t p = fork();
    if (!p) {
        pid_t s = (pid_t)raw_clone(CLONE_PARENT | SIGUSR1);
        if (!s) {
            shared->value = getppid();
            _exit(21);
        }
        shared->ready = s;
        _exit(s > 0 ? 20 : 22);
    }
    int codes = 0;
    for (int i = 0; i < 2; i++)
        if (wait4(-1, &status, 0, NULL) > 0)
            codes += WEXITSTATUS(status);
    printf("child and sibling: %d, same parent: %d\n", codes, shared->value == getpid());

    // Files and the working directory: shared or copied.
    for (int share = 0; share < 2; share++) {
        int fd = dup(1);
        p = (pid_t)raw_clone((share ? CLONE_FILES | CLONE_FS : 0) | SIGCHLD);
        if (!p) {
            close(fd);
            chdir("/proc");
            umask(share ? 077 : 070);
            _exit(0);
        }
        wait4(p, &status, 0, NULL);
        char cwd[64];
        printf("%s: descriptor %s, in /proc: %d\n", share ? "shared" : "copied", fcntl(fd, F_GETFD) < 0 ? "closed" : "open",
               !strcmp(getcwd(cwd, sizeof cwd), "/proc"));
        close(fd);
    }
    chdir("/");
    printf("umask %03o\n", umask(022));

    // What is shared can be had alone again.
    p = (pid_t)raw_clone(CLONE_FILES | CLONE_FS | SIGCHLD);
    if (!p) {
        int bad = unshare(CLONE_FILES | CLONE_FS) != 0;
        close(0);
        chdir("/proc");
        _exit(bad);
    }
    wait4(p, &status, 0, NULL);
    char cwd[64];
    printf("unshared: %d, descriptor %s, in /: %d\n", WEXITSTATUS(status), fcntl(0, F_GETFD) < 0 ? "closed" : "open",
           !strcmp(getcwd(cwd, sizeof cwd), "/"));
    SHOW(unshare(0));
    SHOW(unshare(CLONE_VM));
    SHOW(unshare(CLONE_SIGHAND | CLONE_THREAD));
    SHOW(unshare(CLONE_SYSVSEM));
    SHOW(unshare(CLONE_PTRACE));
    SHOW(unshare(SIGCHLD));

    // The numbers.
    int parent_tid = 0, child_tid = 0;
    p = (pid_t)syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0L, &parent_tid,
                       &child_tid, 0L);
    if (!p)
        _exit(child_tid == getpid() ? 0 : 1);
    wait4(p, &status, 0, NULL);
    printf("numbers: %d %d %d\n", parent_tid == p, child_tid, WEXITSTATUS(status));
}

static void personal(void)
{
    char name[17] = "";
    int value = -1;
    section("prctl");
    SHOW(prctl(PR_SET_NAME, "a name that is too long"));
    SHOW(prctl(PR_GET_NAME, name));
    printf("%s\n", name);
    SHOW(prctl(PR_SET_PDEATHSIG, 65));
    SHOW(prctl(PR_SET_PDEATHSIG, SIGTERM));
    SHOW(prctl(PR_GET_PDEATHSIG, &value));
    printf("%d\n", value);
    SHOW(prctl(PR_SET_PDEATHSIG, 0));
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_SET_TIMERSLACK, 1234));
    SHOW(prctl(PR_GET_TIMERSLACK));
    int status;
    pid_t p = fork();
    if (!p) {
        printf("child: %d ", prctl(PR_GET_TIMERSLACK));
        prctl(PR_SET_TIMERSLACK, 99);
        printf("%d ", prctl(PR_GET_TIMERSLACK));
        prctl(PR_SET_TIMERSLACK, 0);
        printf("%d\n", prctl(PR_GET_TIMERSLACK));
        fflush(stdout);
        _exit(0);
    }
    wait4(p, &status, 0, NULL);
    SHOW(prctl(PR_SET_TIMERSLACK, 0));
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_TSC, &value));
    printf("%d\n", value);
    SHOW(prctl(PR_GET_TIMING));
    SHOW(prctl(PR_SET_TIMING, 1));
    SHOW(prctl(PR_GET_TID_ADDRESS, NULL));
    SHOW(prctl(PR_SET_CHILD_SUBREAPER, 0));
    SHOW(prctl(9999));
    SHOW(prctl(PR_GET_ENDIAN, &value));
    SHOW(prctl(PR_GET_FPEMU, &value));
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "sleep"))
        for (;;)
            pause();
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    chdir("/");
    void (*const parts[])(void) = {wait_options, usage, threads_and_children, orphans, unwanted, child_signals, stopped_jobs,
                                   groups, clone_flags, personal};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        parts[i]();
        fflush(stdout);
    }
    return 0;
}
