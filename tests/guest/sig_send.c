// Sending signals: kill, raise, tgkill, sigqueue; what the siginfo says; masks, pending signals, order; the default actions;
// handlers that nest, reset, defer; sigsuspend, sigtimedwait.
// build: musl glibc
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile int count, depth, deepest, nested;
static siginfo_t seen;
static sigset_t mask_in_handler;

static void on_count(int signal)
{
    count++;
    (void)signal;
}

static void on_info(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen = *info;
    count++;
    pthread_sigmask(SIG_BLOCK, NULL, &mask_in_handler);
}

static void on_nest(int signal)
{
    if (++depth > deepest)
        deepest = depth;
    if (++nested < 5)
        raise(signal);
    depth--;
}

static int order[8], ordered;

static void on_order(int signal)
{
    order[ordered++] = signal;
}

static void show_set(const char *name, const sigset_t *set)
{
    printf("%s:", name);
    for (int s = 1; s < 32; s++)
        if (sigismember(set, s))
            printf(" %d", s);
    printf("\n");
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = flags};
    if (sigaction(signal, &sa, NULL))
        give_up("sigaction");
}

int main(void)
{
    struct sigaction sa = {.sa_handler = on_count}, old;
    sigset_t set, other;

    section("sigaction");
    SHOW(sigaction(SIGUSR1, &sa, &old));
    HOLDS(old.sa_handler == SIG_DFL);
    SHOW(sigaction(SIGUSR1, NULL, &old));
    HOLDS(old.sa_handler == on_count);
    SHOW(sigaction(SIGKILL, &sa, NULL));
    SHOW(sigaction(SIGSTOP, &sa, NULL));
    SHOW(sigaction(SIGKILL, NULL, &old));
    SHOW(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
    SHOW(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8));
    SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 16));
    SHOW(syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8));

    section("sending");
    handle(SIGUSR1, on_info, SA_SIGINFO);
    SHOW(kill(getpid(), SIGUSR1));
    printf("signo %d code %d, pid %d uid %d\n", seen.si_signo, seen.si_code, seen.si_pid == getpid(), seen.si_uid == getuid());
    SHOW(raise(SIGUSR1));
    printf("code %d, pid %d\n", seen.si_code, seen.si_pid == getpid());
    SHOW(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
    SHOW(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1));
    SHOW(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 4711}));
    printf("code %d value %d\n", seen.si_code, seen.si_value.sival_int);
    SHOW(count);
    SHOW(kill(getpid(), 0));
    SHOW(kill(getpid(), 65));
    SHOW(kill(getpid(), -1));
    SHOW(kill(999999, 0));
    SHOW(syscall(SYS_tgkill, getpid(), 999999, 0));
    SHOW(syscall(SYS_tgkill, -1, 1, 0));
    SHOW(syscall(SYS_tkill, 0, 0));

    section("blocked and pending");
    count = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGKILL), sigaddset(&set, SIGSTOP);
    SHOW(sigprocmask(SIG_BLOCK, &set, NULL));
    sigprocmask(SIG_BLOCK, NULL, &other);
    show_set("blocked", &other); // KILL and STOP cannot be
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    raise(SIGUSR1);
    SHOW(count);
    sigpending(&other);
    show_set("pending", &other);
    SHOW(sigprocmask(SIG_UNBLOCK, &set, NULL));
    HOLDS(count == 1 || count == 2); // one for the process, one for the thread
    sigpending(&other);
    show_set("pending", &other);
    SHOW(sigprocmask(77, &set, NULL));
    SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, 8));
    SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4));
    // A blocked signal is kept although it is ignored, until ignoring it is asked for again.
    signal(SIGUSR2, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR2);
    sigpending(&other);
    show_set("pending", &other);
    signal(SIGUSR2, SIG_IGN);
    sigpending(&other);
    show_set("pending", &other);
    signal(SIGUSR2, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    printf("survived\n");

    section("real-time signals queue, lowest first");
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN), sigaddset(&set, SIGRTMIN + 1), sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sa.sa_handler = on_order;
    sigfillset(&sa.sa_mask);
    sigaction(SIGRTMIN, &sa, NULL), sigaction(SIGRTMIN + 1, &sa, NULL), sigaction(SIGUSR1, &sa, NULL);
    kill(getpid(), SIGRTMIN + 1), kill(getpid(), SIGRTMIN), kill(getpid(), SIGRTMIN + 1), kill(getpid(), SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    for (int i = 0; i < ordered; i++)
        printf(" %s%d", order[i] >= SIGRTMIN ? "min+" : "", order[i] >= SIGRTMIN ? order[i] - SIGRTMIN : order[i]);
    printf("\n");

    section("the mask in a handler");
    sigemptyset(&sa.sa_mask);
    sigaddset(&sa.sa_mask, SIGHUP);
    sa.sa_sigaction = on_info;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    show_set("in it", &mask_in_handler);
    sigprocmask(SIG_BLOCK, NULL, &other);
    show_set("after it", &other);
    sa.sa_flags |= SA_NODEFER;
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    show_set("with SA_NODEFER", &mask_in_handler);
    sa.sa_flags = SA_SIGINFO | SA_RESETHAND;
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &old);
    HOLDS(old.sa_handler == SIG_DFL);
    struct sigaction nest = {.sa_handler = on_nest, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &nest, NULL);
    raise(SIGUSR1);
    printf("deepest %d depth %d\n", deepest, depth);
    nest.sa_flags = 0;
    deepest = nested = 0;
    sigaction(SIGUSR1, &nest, NULL);
    raise(SIGUSR1);
    printf("deepest %d depth %d\n", deepest, depth);

    section("sigsuspend, sigwait");
    count = 0;
    signal(SIGUSR1, on_count);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    SHOW(count);
    sigemptyset(&other);
    SHOW(sigsuspend(&other));
    SHOW(count);
    sigprocmask(SIG_BLOCK, NULL, &other);
    show_set("mask", &other);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5});
    SHOW(sigwaitinfo(&set, &seen));
    printf("signo %d code %d value %d\n", seen.si_signo, seen.si_code, seen.si_value.sival_int);
    struct timespec soon = {0, 20000000};
    SHOW(sigtimedwait(&set, &seen, &soon));
    raise(SIGUSR1);
    int got = 0;
    SHOW(sigwait(&set, &got));
    SHOW(got);
    soon.tv_nsec = -1;
    SHOW(sigtimedwait(&set, &seen, &soon));
    SHOW(count);

    section("ignored by default");
    raise(SIGCHLD);
    raise(SIGURG);
    raise(SIGWINCH);
    raise(SIGCONT);
    printf("survived\n");
    return 0;
}
