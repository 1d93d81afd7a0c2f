// mprotect: splitting and joining, the signal and its details on each violation, executable memory.
// build: musl glibc
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#define PAGE 4096UL
static sigjmp_buf escape;
static siginfo_t seen;
static long error_code;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    seen = *info;
    error_code = ((ucontext_t *)context)->uc_mcontext.gregs[19]; // REG_ERR
    siglongjmp(escape, 1);
}

static void report(const char *name, const volatile char *p)
{
    printf("%s: signal %d code %d error %ld%s\n", name, seen.si_signo, seen.si_code, error_code & 0x17,
           seen.si_addr == p ? "" : " WRONG ADDRESS");
}

static void try_read(const char *name, const volatile char *p)
{
    if (!sigsetjmp(escape, 1))
        printf("%s: %d\n", name, *p);
    else
        report(name, p);
}

static void try_write(const char *name, volatile char *p)
{
    if (!sigsetjmp(escape, 1)) {
        *p = 5;
        printf("%s: written\n", name);
    } else
        report(name, p);
}

static void try_run(const char *name, char *p)
{
    if (!sigsetjmp(escape, 1))
        printf("%s: returned %d\n", name, ((int (*)(void))(void *)p)());
    else
        report(name, p);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    const int RW = PROT_READ | PROT_WRITE;
    char *p = mmap(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, 8 * PAGE);

    section("split");
    SHOW(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
    SHOW(mprotect(p + 4 * PAGE, PAGE, PROT_NONE));
    try_write("rw", p + PAGE);
    try_read("r: read", p + 2 * PAGE + 10);
    try_write("r: write", p + 2 * PAGE + 10);
    try_write("rw again", p + 3 * PAGE);
    try_read("none: read", p + 4 * PAGE + 4095);
    try_write("none: write", p + 4 * PAGE);
    try_write("rw last", p + 5 * PAGE);

    section("across the pieces, and back");
    SHOW(mprotect(p + PAGE, 4 * PAGE, PROT_READ));
    try_read("was none", p + 4 * PAGE);
    try_write("was rw", p + PAGE);
    SHOW(mprotect(p, 8 * PAGE, RW));
    long sum = 0;
    for (size_t i = 0; i < 8 * PAGE; i++)
        sum += p[i];
    SHOW(sum);
    try_write("all rw", p + 4 * PAGE);

    section("with a hole");
    SHOW(munmap(p + 3 * PAGE, PAGE));
    SHOW(mprotect(p, 8 * PAGE, PROT_READ)); // changes what comes before the hole
    try_write("before the hole", p + 2 * PAGE);
    try_write("behind the hole", p + 4 * PAGE);
    try_read("hole", p + 3 * PAGE);

    section("errors");
    SHOW(mprotect(p + 1, PAGE, RW));
    SHOW(mprotect(p, 0, RW));
    SHOW(mprotect((void *)-PAGE, PAGE, RW));
    SHOW(mprotect((void *)0xffffffff80000000, PAGE, RW));
    SHOW(mprotect((void *)PAGE, PAGE, RW));
    SHOW(mprotect(p, PAGE, 0x100));
    SHOW(mprotect(p, (size_t)-1, RW));

    section("code");
    static const unsigned char return_7[] = {0xb8, 7, 0, 0, 0, 0xc3};
    char *code = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, return_7, sizeof return_7);
    try_run("rw", code);
    SHOW(mprotect(code, PAGE, PROT_READ | PROT_EXEC));
    try_run("rx", code);
    try_write("rx", code + 100);
    SHOW(mprotect(code, PAGE, RW | PROT_EXEC));
    code[1] = 8;
    try_run("rwx", code);
    SHOW(mprotect(code, PAGE, PROT_EXEC));
    try_run("x", code);
    SHOW(mprotect(code, PAGE, PROT_WRITE)); // write implies read on this processor
    try_read("w", code);
    try_run("w", code);

    section("places that no program has");
    try_read("null", NULL);
    try_write("null", (char *)16);
    try_read("page 1", (char *)4096);
    try_read("kernel image", (char *)0xffffffff80000000);
    try_write("kernel's half", (char *)0xffff800000001000);
    if (!sigsetjmp(escape, 1))
        printf("%d\n", *(volatile char *)0x8000000000000000);
    else
        printf("non-canonical: signal %d code %d addr %p\n", seen.si_signo, seen.si_code, seen.si_addr);
    if (!sigsetjmp(escape, 1))
        ((void (*)(void))0x8000000000000000)();
    else
        printf("jump to non-canonical: signal %d code %d addr %p\n", seen.si_signo, seen.si_code, seen.si_addr);
    try_run("jump to null", NULL);
    try_run("jump to the kernel", (char *)0xffffffff80000000);
    return 0;
}
