// Faults to a handler: siginfo and ucontext of SIGSEGV, SIGFPE, SIGILL, SIGTRAP and SIGBUS; going on by changing the context;
// the alternate stack, also when the ordinary one has overflowed.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf escape;
static siginfo_t seen;
static ucontext_t context_seen;
static char alternate[65536];
static volatile int on_alternate;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    char here;
    (void)signal;
    seen = *info;
    context_seen = *(ucontext_t *)context;
    on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
    siglongjmp(escape, 1);
}

static void report(const char *name)
{
    greg_t *g = context_seen.uc_mcontext.gregs;
    printf("%s: signal %d code %d errno %d trap %ld error %ld alternate stack %d\n", name, seen.si_signo, seen.si_code, seen.si_errno,
           (long)g[REG_TRAPNO], (long)g[REG_ERR], on_alternate);
}

#define TRY(name, code) do { if (!sigsetjmp(escape, 1)) { code; printf("%s: no signal\n", name); } else report(name); } while (0)

static long recurse(volatile char *below)
{
    volatile char here[4096];
    here[0] = *below;
    return recurse(here) + here[0];
}

// Skips the faulting instruction, whose length the program knows, and gives it a result in rax.
static void on_skip(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)signal, (void)info;
    uc->uc_mcontext.gregs[REG_RIP] += 3; // mov (%rcx),%rax
    uc->uc_mcontext.gregs[REG_RAX] = 12345;
}

static void on_map(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    char *page = (char *)((uintptr_t)info->si_addr & -4096UL);
    if (mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
        _exit(50);
    memset(page, 9, 4096);
}

int main(void)
{
    volatile int zero = 0, minimum = -2147483647 - 1, minus = -1;
    volatile int sink __attribute__((unused));
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    for (const int *s = (int[]){SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS, 0}; *s; s++)
        sigaction(*s, &sa, NULL);

    section("each kind");
    TRY("null read", sink = *(volatile char *)(uintptr_t)zero);
    printf("addr %p cr2 %lx\n", seen.si_addr, (long)context_seen.uc_mcontext.gregs[REG_CR2]);
    TRY("null write", *(volatile char *)(uintptr_t)(zero + 291) = 1);
    printf("addr %p cr2 %lx\n", seen.si_addr, (long)context_seen.uc_mcontext.gregs[REG_CR2]);
    TRY("non-canonical", sink = *(volatile char *)0x800000000000dead);
    printf("addr %p\n", seen.si_addr);
    TRY("division by zero", __asm__ volatile("idivl %0" ::"r"(zero), "a"(1), "d"(0)));
    HOLDS(seen.si_addr == (void *)context_seen.uc_mcontext.gregs[REG_RIP]);
    TRY("division overflow", sink = minimum / minus);
    TRY("ud2", __asm__ volatile("ud2"));
    HOLDS(seen.si_addr == (void *)context_seen.uc_mcontext.gregs[REG_RIP]);
    TRY("int3", __asm__ volatile("int3"));
    TRY("hlt", __asm__ volatile("hlt"));
    TRY("cli", __asm__ volatile("cli"));
    TRY("in", __asm__ volatile("inb $0x80, %%al" ::: "rax"));
    TRY("rdmsr", __asm__ volatile("rdmsr" ::"c"(0xc0000082) : "rax", "rdx"));
    TRY("mov from cr0", __asm__ volatile("mov %%cr0, %%rax" ::: "rax"));
    TRY("lidt", __asm__ volatile("lidt (%%rsp)" ::: "memory"));
    TRY("bad segment", __asm__ volatile("mov %0, %%ds" ::"r"(0x1000)));
    TRY("single step", __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; nop" ::: "memory", "cc"));
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    char *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    TRY("behind a file's end", sink = *(volatile char *)mapped);
    HOLDS(seen.si_addr == mapped);

    section("alternate stack");
    stack_t alt = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
    SHOW(sigaltstack(&alt, &old));
    SHOW(old.ss_flags);
    SHOW(sigaltstack(NULL, &old));
    HOLDS(old.ss_sp == alternate && old.ss_size == sizeof alternate && old.ss_flags == 0);
    TRY("handler without SA_ONSTACK", sink = *(volatile char *)(uintptr_t)zero);
    sa.sa_flags |= SA_ONSTACK;
    sigaction(SIGSEGV, &sa, NULL);
    TRY("handler with SA_ONSTACK", sink = *(volatile char *)(uintptr_t)zero);
    TRY("stack overflow", recurse("x"));
    TRY("stack overflow again", recurse("x"));
    alt.ss_size = 100;
    SHOW(sigaltstack(&alt, NULL));
    alt.ss_flags = 77;
    SHOW(sigaltstack(&alt, NULL));
    SHOW(syscall(SYS_sigaltstack, 8, NULL));
    SHOW(syscall(SYS_sigaltstack, NULL, 8));
    alt.ss_flags = SS_DISABLE;
    SHOW(sigaltstack(&alt, NULL));
    SHOW(sigaltstack(NULL, &old));
    SHOW(old.ss_flags);

    section("going on");
    sa.sa_sigaction = on_skip;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &sa, NULL);
    long rax, rbx = 777;
    __asm__ volatile(".byte 0x48, 0x8b, 0x01" : "=a"(rax), "+b"(rbx) : "c"(0x10)); // mov (%rcx),%rax
    printf("%ld %ld\n", rax, rbx);
    sa.sa_sigaction = on_map;
    sigaction(SIGSEGV, &sa, NULL);
    char *hole = mmap(NULL, 8 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(hole, 8 * 4096);
    long sum = 0;
    for (int i = 0; i < 8 * 4096; i += 512)
        sum += ((volatile char *)hole)[i];
    printf("%ld\n", sum);

    section("system calls do not signal");
    SHOW(write(1, (void *)16, 5));
    SHOW(pread(fd, (void *)main, 0, 0));
    fflush(stdout);
    sa.sa_handler = SIG_DFL;
    sa.sa_flags = 0;
    sigaction(SIGSEGV, &sa, NULL);
    return 0;
}
