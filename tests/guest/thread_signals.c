// Signals and threads: tgkill reaches the one that is meant, process signals go to a thread that does not block them, a
// fault belongs to its thread, each thread has its own mask and alternate stack, sigwait in a thread of its own.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <time.h>

static __thread int me;
static volatile int hits[8], ready, stop, faults[8];
static __thread sigjmp_buf escape;

static void on_usr1(int signal)
{
    (void)signal;
    hits[me]++;
}

static void on_segv(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    if ((uintptr_t)info->si_addr == 0x1000 * (uintptr_t)me)
        faults[me]++;
    siglongjmp(escape, 1);
}

static void wait_until(volatile int *what, int value)
{
    while (__atomic_load_n(what, __ATOMIC_SEQ_CST) < value)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void *sleeper(void *arg)
{
    me = (int)(long)arg;
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    wait_until(&hits[me], 3);
    return NULL;
}

static void *spinner(void *arg)
{
    me = (int)(long)arg;
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    while (hits[me] < 3)
        ;
    return NULL;
}

static void *blocking(void *arg)
{
    me = (int)(long)arg;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    wait_until(&stop, 1);
    return NULL;
}

static void *faulter(void *arg)
{
    me = (int)(long)arg;
    char *stack = malloc(65536);
    stack_t alt = {.ss_sp = stack, .ss_size = 65536};
    sigaltstack(&alt, NULL);
    for (int i = 0; i < 100; i++)
        if (!sigsetjmp(escape, 1))
            *(volatile char *)(0x1000 * (uintptr_t)me) = 1;
    return NULL;
}

static void *wait_for_signal(void *arg)
{
    sigset_t set;
    int signal = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    __atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
    if (!sigwait(&set, &signal))
        printf("waited for %d\n", signal);
    return arg;
}

int main(void)
{
    pthread_t t[8];
    signal(SIGUSR1, on_usr1);
    signal(SIGUSR2, on_usr1);

    section("to one thread");
    for (long i = 1; i <= 3; i++)
        pthread_create(&t[i], NULL, i == 2 ? spinner : sleeper, (void *)i);
    wait_until(&ready, 3);
    for (int round = 0; round < 3; round++)
        for (int i = 1; i <= 3; i++) {
            pthread_kill(t[i], SIGUSR1);
            wait_until(&hits[i], round + 1);
        }
    for (int i = 1; i <= 3; i++)
        pthread_join(t[i], NULL);
    printf("%d %d %d %d\n", hits[0], hits[1], hits[2], hits[3]);

    section("to the process, where only one lets it in");
    memset((void *)hits, 0, sizeof hits);
    ready = 0;
    pthread_create(&t[1], NULL, blocking, (void *)1);
    pthread_create(&t[2], NULL, blocking, (void *)2);
    wait_until(&ready, 2);
    for (int i = 0; i < 5; i++) {
        kill(getpid(), SIGUSR2);
        wait_until(&hits[0], i + 1);
    }
    stop = 1;
    pthread_join(t[1], NULL);
    pthread_join(t[2], NULL);
    printf("%d %d %d\n", hits[0], hits[1], hits[2]);

    section("faults");
    struct sigaction sa = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &sa, NULL);
    for (long i = 1; i <= 4; i++)
        pthread_create(&t[i], NULL, faulter, (void *)i);
    for (int i = 1; i <= 4; i++)
        pthread_join(t[i], NULL);
    printf("%d %d %d %d\n", faults[1], faults[2], faults[3], faults[4]);

    section("a thread that waits for signals");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    ready = 0;
    pthread_create(&t[1], NULL, wait_for_signal, NULL);
    wait_until(&ready, 1);
    kill(getpid(), SIGTERM);
    pthread_join(t[1], NULL);
    return 0;
}
