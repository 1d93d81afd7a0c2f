// Several threads compute with SSE and x87 registers at once, longer than a time slice: nobody's registers change, neither
// by preemption nor across system calls nor by signals to single threads.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

enum { THREADS = 4 };
static double results[THREADS];
static volatile int handled[THREADS];
static __thread int me;
static int done;

static void on_usr1(int signal)
{
    volatile double x = 1;
    for (int i = 1; i < 50; i++)
        x = x * i / 3.0;
    (void)signal;
    handled[me]++;
}

static double work(int seed, long steps)
{
    double x = seed, y = 1;
    long double z = seed;
    for (long i = 0; i < steps; i++) {
        x = x * 1.0000001 + 0.5;
        y = y / 1.0000003 + x;
        z = z * 0.9999999L + (long double)seed;
        if (x > 1e6)
            x -= 1e6;
        if (i % 50000 == 0)
            sched_yield();
    }
    return x + y + (double)z;
}

static void *compute(void *arg)
{
    me = (int)(long)arg;
    results[me] = work(me + 1, 400000);
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    signal(SIGUSR1, on_usr1);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, compute, (void *)i);
    me = 0;
    int sent = 0;
    while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < THREADS && sent < 40) {
        nanosleep(&(struct timespec){0, 2000000}, NULL);
        pthread_kill(t[sent++ % THREADS], 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_kill(t[i], SIGUSR1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < THREADS; i++)
        printf("%d %.15g\n", i, results[i]);
    for (int i = 0; i < THREADS; i++)
        HOLDS(results[i] == work(i + 1, 400000));
    return 0;
}
