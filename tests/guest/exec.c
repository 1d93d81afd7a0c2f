// execve(2), execveat(2): what a new program inherits, what it does not, scripts, and every way to fail.
// build: musl glibc-pie
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define SELF "/proc/self/exe"

static char self[4096];

static void make_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        give_up("writing %s", name);
    fchmod(fd, mode);
    close(fd);
}

// Runs fn in a child and prints how that ended.
static void in_child(const char *what, void (*fn)(void))
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        fflush(stdout);
        _exit(99);
    }
    if (waitpid(pid, &status, 0) != pid)
        give_up("waitpid");
    if (WIFEXITED(status))
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
    else
        printf("%s: killed by signal %d\n", what, WTERMSIG(status));
}

static void exec_self(const char *mode)
{
    char *argv[] = {(char *)"me", (char *)mode, NULL}, *envp[] = {(char *)"ONLY=this", NULL};
    execve(self, argv, envp);
    printf("exec failed: %s\n", errno_name(errno));
}

// --- What the programs that are started do ---

static int count_fds(void)
{
    int n = 0;
    for (int fd = 3; fd < 100; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int report(int argc, char **argv, char **envp)
{
    printf("argc %d:", argc);
    for (int i = 0; i < argc; i++)
        printf(" [%s]", strrchr(argv[i], '/') && strstr(argv[i], "exec-") ? "program" : argv[i]);
    printf("\nenvironment:");
    for (; *envp; envp++)
        if (strncmp(*envp, "HOSTNAME=", 9) && strncmp(*envp, "HOME=", 5) && strncmp(*envp, "PATH=", 5))
            printf(" [%s]", *envp);
    printf("\ndescriptors %d\n", count_fds());
    struct sigaction a;
    for (int sig = SIGUSR1; sig <= SIGUSR2; sig += SIGUSR2 - SIGUSR1) {
        sigaction(sig, NULL, &a);
        printf("signal %d: %s\n", sig, a.sa_handler == SIG_DFL ? "default" : a.sa_handler == SIG_IGN ? "ignored" : "handled");
    }
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("blocked: HUP %d TERM %d\n", sigismember(&set, SIGHUP), sigismember(&set, SIGTERM));
    sigpending(&set);
    printf("pending: HUP %d TERM %d\n", sigismember(&set, SIGHUP), sigismember(&set, SIGTERM));
    stack_t ss;
    sigaltstack(NULL, &ss);
    printf("alternate stack: %s\n", ss.ss_flags & SS_DISABLE ? "none" : "some");
    char name[16];
    prctl(PR_GET_NAME, name);
    printf("name as long as expected: %d\n", strlen(name) > 0 && strlen(name) < 16);
    HOLDS(getpid() == gettid());
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    printf("descriptors allowed: %lu\n", (unsigned long)limit.rlim_cur);
    printf("umask %03o\n", umask(0));
    unsigned mxcsr = __builtin_ia32_stmxcsr();
    printf("mxcsr %#x\n", mxcsr);
    return 42;
}

// --- What it inherits ---

static void handler(int sig)
{
    (void)sig;
}

static void change_everything_and_exec(void)
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &a, NULL);
    signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGHUP);
    stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&ss, NULL);
    dup2(0, 10);
    dup2(0, 11);
    fcntl(11, F_SETFD, FD_CLOEXEC);
    open("/", O_RDONLY | O_CLOEXEC);
    struct rlimit limit = {64, 64};
    setrlimit(RLIMIT_NOFILE, &limit);
    umask(027);
    prctl(PR_SET_NAME, "changed");
    __builtin_ia32_ldmxcsr(0x1f00);
    exec_self("report");
}

static void *exec_from_thread(void *arg)
{
    exec_self("report");
    return arg;
}

static void *sleep_in_thread(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void *spin_in_thread(void *arg)
{
    for (volatile unsigned i = 0;; i++)
        ;
    return arg;
}

static void threads_and_exec(void)
{
    pthread_t t;
    pthread_create(&t, NULL, sleep_in_thread, NULL);
    pthread_create(&t, NULL, spin_in_thread, NULL);
    pthread_create(&t, NULL, exec_from_thread, NULL);
    for (;;)
        pause();
}

static void exec_by_descriptor(void)
{
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    char *argv[] = {(char *)"by descriptor", (char *)"exit7", NULL}, *envp[] = {NULL};
    syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
    printf("execveat failed: %s\n", errno_name(errno));
}

static void exec_without_arguments(void)
{
    char *none[] = {NULL};
    execve(self, none, none);
    printf("exec failed: %s\n", errno_name(errno));
}

static void exec_many_arguments(void)
{
    enum { COUNT = 2000 };
    static char *argv[COUNT + 3], strings[COUNT][32];
    argv[0] = (char *)"me";
    argv[1] = (char *)"sum";
    for (int i = 0; i < COUNT; i++) {
        snprintf(strings[i], sizeof strings[i], "argument number %d", i);
        argv[i + 2] = strings[i];
    }
    static char big[120000];
    memset(big, 'x', sizeof big - 1);
    char *envp[] = {big, NULL};
    execve(self, argv, envp);
    printf("exec failed: %s\n", errno_name(errno));
}

static int sum(int argc, char **argv, char **envp)
{
    unsigned long total = 0;
    for (int i = 0; i < argc; i++)
        for (const char *s = argv[i]; *s; s++)
            total = total * 31 + (unsigned char)*s;
    printf("%d arguments, sum %lx, environment of %zu bytes\n", argc, total, strlen(envp[0]));
    return 0;
}

static void run_script(void)
{
    execl("./script", "zero", "a", "b c", NULL);
    printf("exec failed: %s\n", errno_name(errno));
}

// A name below a descriptor that execve will close cannot be given to the script's interpreter.
static void exec_scripts_by_descriptor(void)
{
    char *argv[] = {(char *)"by descriptor", (char *)"x", NULL}, *envp[] = {NULL};
    int fd = open("script", O_RDONLY | O_CLOEXEC), dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SHOW(syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH));
    SHOW(syscall(SYS_execveat, dir, "script", argv, envp, 0));
    SHOW(syscall(SYS_execveat, dir, "missing", argv, envp, 0));
    int kept = open("script", O_RDONLY);
    fflush(stdout);
    if (fork() == 0) {
        dup2(kept, 77);
        syscall(SYS_execveat, 77, "", argv, envp, AT_EMPTY_PATH);
        _exit(98);
    }
    int status;
    wait(&status);
    printf("one that stays open: %#x\n", status);
    _exit(0);
}

// Five scripts, each the interpreter of the next, are allowed.
static void run_chain(void)
{
    char name[16], text[32];
    for (int i = 1; i <= 7; i++) {
        snprintf(name, sizeof name, "chain%d", i);
        snprintf(text, sizeof text, i == 1 ? "#!./interpreter script argument\n" : "#!./chain%d\n", i - 1);
        make_file(name, text, 0755);
    }
    SHOW(execl("./chain6", "chain", NULL));
    SHOW(execl("./chain7", "chain", NULL));
    execl("./chain5", "chain", "last", NULL);
    printf("exec failed: %s\n", errno_name(errno));
}

static void alarm_handler(int sig)
{
    (void)sig;
}

// Timers of timer_create go, those of setitimer stay; the exit signal becomes SIGCHLD.
static void timers_and_exec(void)
{
    timer_t t;
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec soon = {.it_value = {0, 100000}};
    struct itimerval late = {.it_value = {1000, 0}};
    signal(SIGALRM, alarm_handler);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    setitimer(ITIMER_REAL, &late, NULL);
    timer_create(CLOCK_MONOTONIC, &e, &t);
    soon.it_value.tv_sec = 1000;
    timer_settime(t, 0, &soon, NULL);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    exec_self("timers");
}

static int timers_after(void)
{
    struct itimerval left;
    struct itimerspec none;
    int sig;
    getitimer(ITIMER_REAL, &left);
    printf("interval timer: %s\n", left.it_value.tv_sec > 900 ? "runs" : "gone");
    SHOW(syscall(SYS_timer_gettime, 0, &none));
    prctl(PR_GET_PDEATHSIG, &sig);
    printf("death signal %d\n", sig);
    return 0;
}

static int clone_child(void *arg)
{
    (void)arg;
    exec_self("exit7");
    return 1;
}

static void exit_signal(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    pid_t pid = clone(clone_child, stack + sizeof stack, SIGUSR1, NULL);
    signal(SIGUSR1, SIG_IGN);
    int status = 0;
    usleep(1000);
    printf("%d\n", waitpid(pid, &status, __WALL) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    fflush(stdout);
    _exit(0);
}

static void exec_in_vfork(void)
{
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t pid = vfork();
        if (pid == 0) {
            execl(self, "me", "exit7", NULL);
            _exit(1);
        }
        waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
            printf("round %d: status %#x\n", i, status);
    }
    _exit(5);
}

// --- How it fails ---

static void failures(void)
{
    char *argv[] = {(char *)"x", NULL}, *envp[] = {NULL};
    char *wild[] = {(char *)"x", (char *)8, NULL};
    static char too_long[131073], *long_argv[] = {too_long, NULL}, *many[200];
    static char path[5000];

    section("failures");
    make_file("text", "just text\n", 0755);
    make_file("empty", "", 0755);
    make_file("closed", "#!/bin/sh\n", 0644);
    make_file("lost", "#!/no/such/interpreter\n", 0755);
    make_file("nobody", "#!   \n", 0755);
    make_file("bits", "\177ELF\1\1\1", 0755);
    make_file("cut", "\177ELF\2\1\1", 0755);
    mkdir("dir", 0755);
    symlink("loop", "loop");
    symlink(self, "link");
    make_file("s1", "#!./s2\n", 0755);
    make_file("s2", "#!./s1\n", 0755);
    mkfifo("fifo", 0755);
    SHOW(execve("missing", argv, envp));
    SHOW(execve("", argv, envp));
    SHOW(execve("text", argv, envp));
    SHOW(execve("empty", argv, envp));
    SHOW(execve("closed", argv, envp));
    SHOW(execve("lost", argv, envp));
    SHOW(execve("nobody", argv, envp));
    SHOW(execve("bits", argv, envp));
    SHOW(execve("cut", argv, envp));
    SHOW(execve("dir", argv, envp));
    SHOW(execve("fifo", argv, envp));
    SHOW(execve("loop", argv, envp));
    SHOW(execve("text/x", argv, envp));
    SHOW(execve("s1", argv, envp));
    SHOW(execve("/dev/null", argv, envp));
    memset(path, 'p', sizeof path - 1);
    SHOW(execve(path, argv, envp));
    SHOW(execve(NULL, argv, envp));
    SHOW(execve((char *)8, argv, envp));
    SHOW(execve(self, (char **)8, envp));
    SHOW(execve(self, argv, (char **)8));
    SHOW(execve(self, wild, envp));
    SHOW(execve(self, argv, wild));
    SHOW(execve(self, (char **)-8, envp));
    memset(too_long, 'x', sizeof too_long - 1);
    SHOW(execve(self, long_argv, envp));
    SHOW(execve(self, argv, long_argv));
    too_long[131071] = 0; // the longest that is allowed, but too many of them
    for (int i = 0; i < 199; i++)
        many[i] = too_long;
    SHOW(execve(self, many, envp));
    SHOW(syscall(SYS_execveat, -1, "x", argv, envp, 0));
    SHOW(syscall(SYS_execveat, AT_FDCWD, "link", argv, envp, AT_SYMLINK_NOFOLLOW));
    SHOW(syscall(SYS_execveat, AT_FDCWD, "", argv, envp, 0));
    SHOW(syscall(SYS_execveat, AT_FDCWD, "x", argv, envp, 0x40000000));
    int dir = open("dir", O_RDONLY | O_DIRECTORY);
    SHOW(syscall(SYS_execveat, dir, "x", argv, envp, 0));
    SHOW(syscall(SYS_execveat, dir, "", argv, envp, AT_EMPTY_PATH));
    close(dir);
}

int main(int argc, char **argv, char **envp)
{
    ssize_t n = readlink(SELF, self, sizeof self - 1);
    if (n <= 0)
        give_up("readlink");
    if (argc >= 2 && !strcmp(argv[1], "report"))
        return report(argc, argv, envp);
    if (argc >= 2 && !strcmp(argv[1], "timers"))
        return timers_after();
    if (argc >= 2 && !strcmp(argv[1], "exit7"))
        return 7;
    if (argc >= 2 && !strcmp(argv[1], "sum"))
        return sum(argc, argv, envp);
    if (argc >= 2 && !strcmp(argv[1], "script argument"))
        return report(argc, argv, (char *[]){NULL});
    if (argc == 1 && argv[0][0] == '\0') {
        printf("a name that is empty\n");
        return 3;
    }

    section("inherited");
    fflush(stdout);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){500, 500}); // whatever it was
    in_child("all changed", change_everything_and_exec);
    in_child("from a thread", threads_and_exec);
    in_child("by descriptor", exec_by_descriptor);
    in_child("no arguments", exec_without_arguments);
    in_child("many arguments", exec_many_arguments);
    in_child("vfork", exec_in_vfork);
    in_child("timers", timers_and_exec);
    in_child("exit signal", exit_signal);

    section("scripts");
    symlink(self, "interpreter");
    make_file("script", "#! ./interpreter \t script argument\t\nrest\n", 0755);
    in_child("script", run_script);
    make_file("inner", "#!./interpreter script argument\n", 0755);
    make_file("script", "#!./inner\n", 0755);
    in_child("script of a script", run_script);
    in_child("chain of scripts", run_chain);
    in_child("scripts by descriptor", exec_scripts_by_descriptor);

    failures();
    return 0;
}
