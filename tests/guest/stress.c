// Memory under several threads at once: mappings come and go, change their protection and move while others use theirs; each
// page must be what its owner wrote, and what was unmapped must fault on every CPU at once.
// build: musl
// cpus: 1 2 4
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { THREADS = 6, ROUNDS = 300, PAGES = 16 };
static _Thread_local sigjmp_buf escape;
static _Thread_local volatile int may_fault;
static int errors;
static char *volatile victim;
static volatile int stop;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    if (!may_fault) {
        char line[100];
        int n = snprintf(line, sizeof line, "signal %d at %p, instruction %#llx\n", signal, info->si_addr,
                         (long long)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
        write(2, line, (size_t)n);
        _exit(signal);
    }
    siglongjmp(escape, 1);
}

static void error(void)
{
    __atomic_fetch_add(&errors, 1, __ATOMIC_RELAXED);
}

static void *churn(void *arg)
{
    uint32_t state = (uint32_t)(uintptr_t)arg * 2654435761U + 1;
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t mark = noise(&state);
        char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            give_up("mmap");
        for (int i = 0; i < PAGES; i++) {
            if (*(uint32_t *)(p + i * 4096))
                error(); // another's page
            *(uint32_t *)(p + i * 4096) = mark + (uint32_t)i;
        }
        int hole = (int)(noise(&state) % (PAGES - 2)) + 1; // not at an end, where another mapping could grow into it
        munmap(p + hole * 4096, 4096);
        mprotect(p, PAGES * 2048, PROT_READ);
        for (int i = 0; i < PAGES; i++) {
            may_fault = i == hole;
            if (!sigsetjmp(escape, 0)) {
                if (*(volatile uint32_t *)(p + i * 4096) != mark + (uint32_t)i)
                    error();
            }
            may_fault = 0;
        }
        if (round % 3 == 0)
            madvise(p, PAGES * 2048, MADV_DONTNEED);
        munmap(p, PAGES * 4096);
    }
    return NULL;
}

// Reads a page that the main thread protects and frees again and again: the value or a fault, nothing else.
static void *watch(void *arg)
{
    while (!stop) {
        volatile char *p = victim;
        may_fault = 1;
        if (!sigsetjmp(escape, 0)) {
            char c = *p;
            if (c != 0 && c != 'v')
                error();
        }
        may_fault = 0;
    }
    return arg;
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    pthread_t t[THREADS], watcher;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, churn, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    printf("errors %d\n", errors);

    victim = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_create(&watcher, NULL, watch, NULL);
    char *base = victim;
    for (int i = 0; i < 300; i++) {
        base[0] = 'v';
        mprotect(base, 4096, PROT_NONE);
        mprotect(base, 4096, PROT_READ | PROT_WRITE);
        madvise(base, 4096, MADV_DONTNEED);
        munmap(base, 4096);
        // The frame goes to somebody else, who writes into it.
        char *other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        memset(other, 'X', 4096);
        if (other != base) {
            if (mmap(base, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != base)
                give_up("mmap");
            munmap(other, 4096);
        } else
            memset(other, 0, 4096);
    }
    stop = 1;
    pthread_join(watcher, NULL);
    printf("done\n");
    return 0;
}
