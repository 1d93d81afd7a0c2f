// Signals, the small print: alternate stacks with SS_AUTODISARM and nested handlers, flags that sigaction does not know, what siginfo
// says for each source, the order of what is pending, stop and continue signals that cancel each other, who takes what among
// threads, sigqueue's permissions, faults with their trap numbers.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static char stack[2][65536];
static volatile int count;
static siginfo_t seen;
static long trap, error;
static stack_t in_handler[3];
static volatile int on_stack[3], depth;

static void on_info(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    seen = *info;
    trap = ((ucontext_t *)context)->uc_mcontext.gregs[REG_TRAPNO];
    error = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
    count++;
}

static int handle(int signal, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = fn, .sa_flags = flags | SA_SIGINFO};
    return sigaction(signal, &sa, NULL);
}

static int where(void)
{
    char here;
    for (int i = 0; i < 2; i++)
        if (&here >= stack[i] && &here < stack[i] + sizeof stack[i])
            return i + 1;
    return 0;
}

static void on_nested(int signal, siginfo_t *info, void *context)
{
    int d = depth++;
    (void)info;
    on_stack[d] = where();
    sigaltstack(NULL, &in_handler[d]);
    stack_t uc = ((ucontext_t *)context)->uc_stack;
    printf("depth %d: stack %d, ss_flags %#x, uc_stack flags %#x\n", d, on_stack[d], in_handler[d].ss_flags, uc.ss_flags);
    if (d == 0) {
        stack_t other = {.ss_sp = stack[1], .ss_size = sizeof stack[1]};
        SHOW(sigaltstack(&other, NULL));
        raise(signal);
    }
    depth--;
}

static void alternate_stacks(void)
{
    stack_t ss = {.ss_sp = stack[0], .ss_size = sizeof stack[0]}, old;
    section("alternate stacks");
    SHOW(sigaltstack(NULL, &old));
    printf("%d\n", old.ss_flags);
    SHOW(sigaltstack(&(stack_t){.ss_sp = stack[0], .ss_size = 1024}, NULL));
    SHOW(sigaltstack(&(stack_t){.ss_sp = stack[0], .ss_size = 65536, .ss_flags = 5}, NULL));
    SHOW(sigaltstack(&(stack_t){.ss_sp = stack[0], .ss_size = 65536, .ss_flags = SS_ONSTACK}, NULL));
    for (int mode = 0; mode < 2; mode++) {
        ss.ss_flags = mode ? (int)SS_AUTODISARM : 0;
        printf("%s\n", mode ? "SS_AUTODISARM" : "plain");
        SHOW(sigaltstack(&ss, NULL));
        handle(SIGUSR1, on_nested, SA_ONSTACK | SA_NODEFER);
        raise(SIGUSR1);
        sigaltstack(NULL, &old);
        printf("afterwards: stack %d, flags %#x\n", old.ss_sp == stack[0] ? 1 : old.ss_sp == stack[1] ? 2 : 0, old.ss_flags);
    }
    handle(SIGUSR1, on_nested, SA_NODEFER);
    depth = 1;
    raise(SIGUSR1);
    depth = 0;
    SHOW(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, &old));
    SHOW(sigaltstack(NULL, &old));
    printf("%d\n", old.ss_flags);
}

static void unknown_flags(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
    } in = {.handler = SIG_IGN, .flags = 0x800 | 0x400 | SA_RESTART}, out;
    section("flags that are not known");
    SHOW(syscall(SYS_rt_sigaction, SIGUSR2, &in, NULL, 8L));
    SHOW(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &out, 8L));
    printf("%#lx\n", out.flags);
    signal(SIGUSR2, SIG_DFL);
}

static void show_seen(const char *what)
{
    printf("%s: %d code %d, %s, value %d, count %d\n", what, seen.si_signo, seen.si_code,
           seen.si_pid == getpid() ? "me" : seen.si_pid ? "another" : "nobody", seen.si_value.sival_int, count);
}

static void sources(void)
{
    int fds[2], status;
    section("what siginfo says");
    handle(SIGUSR1, on_info, 0);
    handle(SIGALRM, on_info, 0);
    handle(SIGPIPE, on_info, 0);
    handle(SIGCHLD, on_info, 0);
    handle(SIGVTALRM, on_info, 0);
    count = 0;
    kill(getpid(), SIGUSR1);
    show_seen("kill");
    raise(SIGUSR1);
    show_seen("raise");
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
    show_seen("sigqueue");
    pipe(fds);
    close(fds[0]);
    SHOW(write(fds[1], "x", 1));
    show_seen("SIGPIPE");
    close(fds[1]);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 1000}}, NULL);
    while (count < 5)
        usleep(200);
    seen.si_value.sival_int = 0;
    show_seen("ITIMER_REAL");
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){.it_value = {0, 1000}}, NULL);
    while (count < 6)
        continue;
    seen.si_value.sival_int = 0;
    show_seen("ITIMER_VIRTUAL");
    pid_t p = fork();
    if (!p)
        _exit(3);
    while (count < 7)
        usleep(200);
    printf("SIGCHLD: code %d, the child %d, status %d, user %d\n", seen.si_code, seen.si_pid == p, seen.si_status,
           seen.si_uid == getuid());
    waitpid(p, &status, 0);
    p = fork();
    if (!p)
        raise(SIGKILL);
    while (count < 8)
        usleep(200);
    printf("SIGCHLD: code %d, status %d\n", seen.si_code, seen.si_status);
    waitpid(p, &status, 0);
    signal(SIGCHLD, SIG_DFL);
}

static volatile int order[16], ordered;
static void on_order(int signal, siginfo_t *info, void *context)
{
    (void)context;
    order[ordered++] = signal * 100 + (info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
}

static void sequence(void)
{
    sigset_t set, old, pending;
    section("the order of what is pending");
    sigemptyset(&set);
    const int signals[] = {SIGRTMIN + 2, SIGRTMIN, SIGUSR2, SIGUSR1};
    for (int i = 0; i < 4; i++) {
        struct sigaction sa = {.sa_sigaction = on_order, .sa_flags = SA_SIGINFO};
        sigfillset(&sa.sa_mask); // one after another
        sigaction(signals[i], &sa, NULL);
        sigaddset(&set, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 4; i++)
        for (int k = 1; k <= 2; k++)
            sigqueue(getpid(), signals[i], (union sigval){.sival_int = k});
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2);
    sigpending(&pending);
    for (int i = 0; i < 4; i++)
        printf("%d", sigismember(&pending, signals[i]));
    printf("\n");
    sigprocmask(SIG_SETMASK, &old, NULL);
    // Delivered last is run first, since each handler is entered before the next: the order is of the frames.
    for (int i = 0; i < ordered; i++)
        printf("%d ", order[i]);
    printf("\n");

    section("stop and continue");
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    sigaddset(&set, SIGCONT);
    sigaddset(&set, SIGTTIN);
    sigprocmask(SIG_BLOCK, &set, &old);
    kill(getpid(), SIGTSTP);
    sigpending(&pending);
    printf("%d%d ", sigismember(&pending, SIGTSTP), sigismember(&pending, SIGCONT));
    kill(getpid(), SIGCONT);
    sigpending(&pending);
    printf("%d%d ", sigismember(&pending, SIGTSTP), sigismember(&pending, SIGCONT));
    kill(getpid(), SIGTTIN);
    sigpending(&pending);
    printf("%d%d%d\n", sigismember(&pending, SIGTSTP), sigismember(&pending, SIGCONT), sigismember(&pending, SIGTTIN));
    signal(SIGTTIN, SIG_IGN);
    signal(SIGCONT, SIG_IGN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGTTIN, SIG_DFL);
    signal(SIGCONT, SIG_DFL);
}

static void queue_permission(void)
{
    int status;
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
    section("what may be queued");
    pid_t p = fork();
    if (!p)
        for (;;)
            pause();
    SHOW(syscall(SYS_rt_sigqueueinfo, p, 0, &info));
    info.si_code = -6; // SI_TKILL
    SHOW(syscall(SYS_rt_sigqueueinfo, p, 0, &info));
    info.si_code = SI_QUEUE;
    SHOW(syscall(SYS_rt_sigqueueinfo, p, 0, &info));
    SHOW(syscall(SYS_rt_sigqueueinfo, p, 65, &info));
    SHOW(syscall(SYS_rt_sigqueueinfo, p, 0, 8L));
    SHOW(syscall(SYS_rt_sigqueueinfo, 999999, 0, &info));
    SHOW(syscall(SYS_rt_tgsigqueueinfo, p, p, 0, &info));
    SHOW(syscall(SYS_rt_tgsigqueueinfo, getpid(), p, 0, &info));
    SHOW(syscall(SYS_rt_tgsigqueueinfo, p, 0, 0, &info));
    SHOW(syscall(SYS_tgkill, getpid(), p, 0));
    SHOW(syscall(SYS_tkill, p, 65));
    SHOW(kill(p, 65));
    SHOW(kill(0x80000000, 0));
    kill(p, SIGKILL);
    SHOW(waitpid(p, &status, 0) == p && WTERMSIG(status) == SIGKILL);
}

static volatile int taken_by, helper_ready, stop;
static void on_take(int signal)
{
    (void)signal;
    taken_by = (int)syscall(SYS_gettid);
}
static void *helper(void *arg)
{
    if (arg) {
        sigset_t set;
        sigfillset(&set);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    }
    helper_ready = (int)syscall(SYS_gettid);
    while (!stop)
        usleep(200);
    return NULL;
}
static void threads(void)
{
    pthread_t t;
    sigset_t set;
    section("who takes it");
    signal(SIGUSR1, on_take);
    for (long blocking = 0; blocking < 2; blocking++) {
        helper_ready = stop = 0;
        pthread_create(&t, NULL, helper, (void *)blocking);
        while (!helper_ready)
            usleep(200);
        taken_by = 0;
        kill(getpid(), SIGUSR1);
        while (!taken_by)
            usleep(200);
        printf("the first thread: %d, ", taken_by == getpid());
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        taken_by = 0;
        kill(getpid(), SIGUSR1);
        if (!blocking)
            while (!taken_by)
                usleep(200);
        printf("when it blocks: the other %d, ", taken_by == helper_ready);
        syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
        taken_by = 0;
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        printf("to it alone: %d\n", taken_by == getpid());
        stop = 1;
        pthread_join(t, NULL);
    }
}

static sigset_t restored;
static void on_fault(int signal, siginfo_t *info, void *context)
{
    on_info(signal, info, context);
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_RIP] = uc->uc_mcontext.gregs[REG_R12];
    restored = uc->uc_sigmask;
}
#define FAULT(name, insn, ...)                                                                                                 \
    do {                                                                                                                       \
        memset(&seen, 0, sizeof seen);                                                                                         \
        __asm__ volatile("lea 1f(%%rip), %%r12\n" insn "\n1:" ::__VA_ARGS__ : "r12", "rax", "rdx", "memory", "cc");            \
        printf("%s: %d code %d trap %ld error %ld address %lx\n", name, seen.si_signo, seen.si_code, trap, error,              \
               seen.si_signo == SIGSEGV ? (long)seen.si_addr : 0);                                                             \
    } while (0)

static void faults(void)
{
    section("faults");
    handle(SIGSEGV, on_fault, 0);
    handle(SIGFPE, on_fault, 0);
    handle(SIGILL, on_fault, 0);
    handle(SIGTRAP, on_fault, 0);
    handle(SIGBUS, on_fault, 0);
    static const char constant[4096] __attribute__((aligned(4096))) = "x";
    FAULT("read", "movb (%0), %%al", "r"(0x10L));
    FAULT("write", "movb $1, (%0)", "r"(0x10L));
    FAULT("non-canonical", "movb (%0), %%al", "r"(1L << 62));
    FAULT("division", "xor %%eax, %%eax; cltd; idivl %%eax", "r"(0L));
    FAULT("ud2", "ud2", "r"(0L));
    FAULT("int3", "int3", "r"(0L));
    FAULT("hlt", "hlt", "r"(0L));
    memset(&seen, 0, sizeof seen);
    (void)*(volatile const char *)constant; // from now on the page is there
    __asm__ volatile("lea 1f(%%rip), %%r12\nmovb $1, (%0)\n1:" ::"r"(constant) : "r12", "memory");
    printf("write to constants: code %d error %ld right address %d\n", seen.si_code, error, seen.si_addr == constant);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("SIGSEGV blocked afterwards: %d\n", sigismember(&now, SIGSEGV));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    alternate_stacks();
    unknown_flags();
    sources();
    sequence();
    queue_permission();
    threads();
    faults();
    return 0;
}
