// What a hostile program does to the processor itself: privileged instructions, gates and segments that are not for it, flags
// that the kernel must not inherit, contexts that no handler was given, floating point state that would fault in the kernel.
// Each ends in the signal that Linux sends, and the program lives on.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf escape;
static siginfo_t seen;
static greg_t trap, error;
static bool with_error = true;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)signal;
    __asm__ volatile("pushfq; andq $~0x44100, (%%rsp); popfq" ::: "cc", "memory"); // TF, NT, AC
    seen = *info;
    trap = uc->uc_mcontext.gregs[REG_TRAPNO];
    error = uc->uc_mcontext.gregs[REG_ERR];
    siglongjmp(escape, 1);
}

#define TRY(name, code)                                                                                                        \
    do {                                                                                                                       \
        if (!sigsetjmp(escape, 1)) {                                                                                           \
            code;                                                                                                              \
            printf("%s: no signal\n", name);                                                                                   \
        } else {                                                                                                               \
            printf("%s: signal %d code %d trap %ld", name, seen.si_signo, seen.si_code, (long)trap);                           \
            printf(with_error ? " error %#lx\n" : "\n", (long)error);                                                         \
        }                                                                                                                      \
        fflush(stdout);                                                                                                        \
    } while (0)
#define TRY_ASM(text) TRY(text, __asm__ volatile(text ::: "rax", "rcx", "rdx", "memory", "cc"))

// Returns from a signal with a context changed by `change`.
static void (*change)(ucontext_t *uc);
static void on_change(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    change(context);
}

__asm__(".text; illegal: ud2");
extern const char illegal[];
static void rip_non_canonical(ucontext_t *uc) { uc->uc_mcontext.gregs[REG_RIP] = 0x800000000000; }
static void rip_far_non_canonical(ucontext_t *uc) { uc->uc_mcontext.gregs[REG_RIP] = 0x1234567812345678; }
static void rsp_non_canonical(ucontext_t *uc)
{
    uc->uc_mcontext.gregs[REG_RSP] = (greg_t)0x8000000000001000;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)illegal;
}
static void flags_all(ucontext_t *uc) { uc->uc_mcontext.gregs[REG_EFL] = (greg_t)0xffffffffffffffff & ~0x40500; } // no TF, DF, AC
static void flags_none(ucontext_t *uc) { uc->uc_mcontext.gregs[REG_EFL] = 0; }

static unsigned char *fpu(ucontext_t *uc) { return (unsigned char *)uc->uc_mcontext.fpregs; }
static void mxcsr_reserved(ucontext_t *uc) { memset(fpu(uc) + 24, 0xff, 4), memset(fpu(uc) + 24, 0x80, 1), fpu(uc)[25] = 0x1f; }
static void mask_lie(ucontext_t *uc) { memset(fpu(uc) + 28, 0xff, 4); }
static void header_ones(ucontext_t *uc) { memset(fpu(uc) + 512, 0xff, 64); }
static void header_reserved(ucontext_t *uc) { memset(fpu(uc) + 528, 0xff, 48); }
static void header_compacted(ucontext_t *uc) { fpu(uc)[527] |= 0x80; }
static void size_lie(ucontext_t *uc) { memset(fpu(uc) + 464 + 16, 0xff, 4); }
static void size_small(ucontext_t *uc) { memset(fpu(uc) + 464 + 16, 0, 4); }
static void features_lie(ucontext_t *uc) { memset(fpu(uc) + 464 + 8, 0xff, 8); }
static void magic_lie(ucontext_t *uc) { memset(fpu(uc) + 464, 0x55, 4); }
static void fpu_null(ucontext_t *uc) { uc->uc_mcontext.fpregs = NULL; }

static void lives_on(const char *name, void (*fn)(ucontext_t *))
{
    change = fn;
    raise(SIGUSR1);
    sched_yield();
    printf("%s: lives\n", name);
    fflush(stdout);
}

int main(void)
{
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (const int *s = (int[]){SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS, 0}; *s; s++)
        sigaction(*s, &sa, NULL);
    struct sigaction changing = {.sa_sigaction = on_change, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &changing, NULL);

    section("privileged instructions");
    TRY_ASM("hlt");
    TRY_ASM("cli");
    TRY_ASM("sti");
    TRY_ASM("inb $0x80, %%al");
    TRY_ASM("outb %%al, $0x80");
    TRY_ASM("movw $0x3f8, %%dx; inl %%dx, %%eax");
    TRY_ASM("movq %%cr0, %%rax");
    TRY_ASM("movq %%rax, %%cr3");
    TRY_ASM("movq %%rax, %%dr7");
    TRY_ASM("rdmsr");
    TRY_ASM("wrmsr");
    TRY_ASM("swapgs");
    TRY_ASM("invd");
    TRY_ASM("invlpg (%%rsp)");
    TRY_ASM("clts");
    TRY_ASM("xorl %%eax, %%eax; lldt %%ax");
    TRY_ASM("xorl %%eax, %%eax; ltr %%ax");
    TRY_ASM("lgdt -128(%%rsp)");
    TRY_ASM("lidt -128(%%rsp)");
    TRY_ASM("sysretq");

    section("gates");
    with_error = false; // QEMU's emulation (7.2) gives the vector at another place in it
    TRY_ASM("int $0");
    TRY_ASM("int $2");
    TRY_ASM("int $8");
    TRY_ASM("int $13");
    TRY_ASM("int $14");
    TRY_ASM("int $18");
    TRY_ASM("int $32");
    TRY_ASM("int $0xef");
    TRY_ASM("int $0xfc");
    TRY_ASM("int $0xff");
    TRY_ASM("int3");

    with_error = true;

    section("segments");
    TRY_ASM("movl $0x08, %%eax; movl %%eax, %%ss");
    TRY_ASM("movl $0x18, %%eax; movl %%eax, %%ss");
    TRY_ASM("movl $0xfff8, %%eax; movl %%eax, %%ds");
    TRY_ASM("movl $0x0c, %%eax; movl %%eax, %%es"); // in the LDT
    // No far returns: QEMU's emulation (7.2) reads their stack as the kernel, which SMAP forbids.

    section("jumps");
    TRY("into the kernel's half", ((void (*)(void))0xffffffff80000000)());
    TRY("into the direct map", ((void (*)(void))0xffff888000000000)());

    section("flags");
    TRY("single step into a system call", __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; syscall" ::"a"(SYS_getpid) : "rcx", "r11", "memory"));
    TRY("nested task", __asm__ volatile("pushfq; orq $0x4000, (%%rsp); popfq; syscall; pushfq; andq $~0x4000, (%%rsp); popfq" ::"a"(SYS_sched_yield) : "rcx", "r11", "memory"));
    TRY("direction", __asm__ volatile("std; syscall; cld" ::"a"(SYS_sched_yield) : "rcx", "r11", "memory"));
    change = flags_all, raise(SIGUSR1), printf("all flags: lives\n");
    change = flags_none, raise(SIGUSR1), printf("no flags: lives\n");

    section("contexts");
    change = rip_non_canonical;
    TRY("RIP behind the lower half", raise(SIGUSR1));
    change = rip_far_non_canonical;
    TRY("RIP far out", raise(SIGUSR1));
    change = rsp_non_canonical;
    TRY("RSP far out", raise(SIGUSR1));

    section("floating point state");
    lives_on("MXCSR mask", mask_lie);
    lives_on("none", fpu_null);
    lives_on("no magic number", magic_lie);
    lives_on("features", features_lie);
    lives_on("size too large", size_lie);
    lives_on("size too small", size_small);
    TRY("header of ones", lives_on("header of ones", header_ones));
    TRY("reserved in the header", lives_on("reserved in the header", header_reserved));
    TRY("compacted", lives_on("compacted", header_compacted));
    TRY("MXCSR", lives_on("MXCSR", mxcsr_reserved));

    section("numbers of system calls");
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(0x100000000L + SYS_getpid) : "rcx", "r11", "memory");
    printf("the upper half does not count: %d\n", r == getpid());
    __asm__ volatile("syscall" : "=a"(r) : "a"(0x40000000L + SYS_getpid) : "rcx", "r11", "memory");
    printf("x32's getpid: %d\n", r == -ENOSYS);
    __asm__ volatile("syscall" : "=a"(r) : "a"(-1L) : "rcx", "r11", "memory");
    printf("-1: %ld\n", r);
    __asm__ volatile("syscall" : "=a"(r) : "a"(0x80000000L) : "rcx", "r11", "memory");
    printf("0x80000000: %ld\n", r);
    return 0;
}
