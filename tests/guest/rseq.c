// Restartable sequences: registration, the number of the CPU, critical sections that a signal or another thread's turn aborts.
// build: musl
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#define SIGNATURE 0x53053053

#define RSEQ_FLAG_UNREGISTER 1

static struct {
    uint32_t cpu_id_start, cpu_id;
    uint64_t rseq_cs;
    uint32_t flags, rest[3];
} area __attribute__((aligned(32)));
static volatile int signals, stop;

static long rseq(void *a, long size, long flags, unsigned signature)
{
    return syscall(SYS_rseq, a, size, flags, signature);
}

static void on_signal(int s) { signals++; }

// Turns in a critical section until it is aborted.
static void section_until_aborted(void)
{
    __asm__ volatile("   leaq 3f(%%rip), %%rax\n"
                     "   movq %%rax, %0\n"
                     "1: pause\n"
                     "   jmp 1b\n"
                     "2:\n"
                     "   .long 0x53053053\n"
                     "4: jmp 5f\n"
                     "   .pushsection .data.rel, \"aw\"\n"
                     "   .balign 32\n"
                     "3: .long 0, 0\n"
                     "   .quad 1b, 2b - 1b, 4b\n"
                     "   .popsection\n"
                     "5:\n"
                     : "=m"(area.rseq_cs)
                     :
                     : "rax", "memory");
}

static void *compete(void *arg)
{
    while (!stop)
        sched_yield();
    return NULL;
}

int main(void)
{
    section("registration");
    area.cpu_id = 77;
    SHOW(rseq(&area, 31, 0, SIGNATURE));
    SHOW(rseq((char *)&area + 8, 32, 0, SIGNATURE));
    SHOW(rseq(&area, 32, 4, SIGNATURE));
    SHOW(rseq(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
    SHOW(rseq((void *)-4096, 32, 0, SIGNATURE));
    SHOW(rseq(&area, 32, 0, SIGNATURE));
    HOLDS(area.cpu_id == area.cpu_id_start && area.cpu_id < 64);
    SHOW(rseq(&area, 32, 0, SIGNATURE));
    SHOW(rseq(&area, 32, 0, SIGNATURE + 1));
    SHOW(rseq(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE + 1));

    section("the CPU");
    cpu_set_t may, one;
    sched_getaffinity(0, sizeof may, &may);
    bool same = true;
    for (int i = 0; i < 64; i++) {
        if (!CPU_ISSET(i, &may))
            continue;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        same &= sched_setaffinity(0, sizeof one, &one) == 0 && area.cpu_id == (unsigned)i && area.cpu_id_start == (unsigned)i;
    }
    HOLDS(same);

    section("aborted by a signal");
    signal(SIGALRM, on_signal);
    for (int i = 0; i < 3; i++) {
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
        section_until_aborted();
        HOLDS(area.rseq_cs == 0);
    }
    HOLDS(signals <= 3); // perhaps another thread's turn came first

    section("aborted by another thread's turn");
    pthread_t other;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    pthread_create(&other, NULL, compete, NULL); // on the same CPU
    for (int i = 0; i < 20; i++)
        section_until_aborted();
    stop = 1;
    pthread_join(other, NULL);
    HOLDS(area.rseq_cs == 0);

    section("children");
    int status;
    if (fork() == 0) { // has it too
        _exit(rseq(&area, 32, 0, SIGNATURE) == -1 && errno == EBUSY ? 7 : 8);
    }
    wait(&status);
    SHOW(WEXITSTATUS(status));

    section("a wrong signature");
    if (fork() == 0) {
        rseq(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE);
        rseq(&area, 32, 0, SIGNATURE + 1);
        signal(SIGALRM, on_signal);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
        section_until_aborted();
        _exit(1);
    }
    wait(&status);
    SHOW(WTERMSIG(status));

    section("unregistration");
    SHOW(rseq(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
    SHOW((int)area.cpu_id);
    SHOW(rseq(&area, 32, RSEQ_FLAG_UNREGISTER, SIGNATURE));
    return 0;
}
