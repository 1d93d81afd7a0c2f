// A signal between two instructions leaves every register as it was: general ones, flags, x87, SSE, and AVX where the
// processor has it. The handler fills them all with something else. The signal comes from a timer, at any instruction.
// build: musl glibc
#include "check.h"
#include <cpuid.h>
#include <signal.h>
#include <sys/time.h>

static volatile int fired;
static bool avx;

static void __attribute__((target("avx"))) trash_avx(void)
{
    uint64_t junk[4] = {0xbad, 0xbad, 0xbad, 0xbad};
#define YMM(n) __asm__ volatile("vmovdqu %0, %%ymm" #n ::"m"(junk) : "xmm" #n);
    YMM(0) YMM(1) YMM(2) YMM(3) YMM(4) YMM(5) YMM(6) YMM(7) YMM(8) YMM(9) YMM(10) YMM(11) YMM(12) YMM(13) YMM(14) YMM(15)
}

static void on_alarm(int signal)
{
    (void)signal;
    fired++;
    if (avx)
        trash_avx();
    else
        __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7; pcmpeqd %%xmm15, %%xmm15" ::: "xmm0", "xmm7", "xmm15");
    __asm__ volatile("fninit; fldpi; fldpi; fldpi" ::: "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
    __asm__ volatile("mov $0xbad, %%rbx; mov %%rbx, %%r12; mov %%rbx, %%r13; mov %%rbx, %%r14; mov %%rbx, %%r15; mov %%rbx, %%r8;"
                     "mov %%rbx, %%r9; mov %%rbx, %%r10; mov %%rbx, %%r11; mov %%rbx, %%rsi; mov %%rbx, %%rdi; stc; std; cld"
                     ::: "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rsi", "rdi", "cc");
}

// Loads patterns, spins until a signal came, and stores what the registers hold: the red zone too.
static long spin_general(volatile int *flag, uint64_t out[16])
{
    long flags;
    __asm__ volatile(
        "mov $0x1001, %%rbx; mov $0x1002, %%rdx; mov $0x1004, %%r8; mov $0x1005, %%r9; mov $0x1006, %%r10\n"
        "mov $0x1007, %%r11; mov $0x1008, %%r12; mov $0x1009, %%r13; mov $0x100a, %%r14; mov $0x100b, %%r15\n"
        "movq $0x100c, -128(%%rsp); movq $0x100d, -8(%%rsp)\n"
        "std; stc\n"
        "1: mov (%[flag]), %%eax; lea (%%rax), %%rax; jrcxz 2f\n"
        "2: bt $0, %%eax; jnc 1b\n" // CF is from bt: only DF is kept to be looked at
        "pushfq; pop %[flags]; cld\n"
        : [flags] "=a"(flags)
        : [flag] "D"(flag), "S"(out)
        : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    return flags;
}

static void spin_registers(volatile int *flag, uint64_t *out)
{
    __asm__ volatile(
        "push %%rbp\n"
        "mov $0x1001, %%rbx; mov $0x1002, %%rdx; mov $0x1003, %%rcx; mov $0x1004, %%r8; mov $0x1005, %%r9; mov $0x1006, %%r10\n"
        "mov $0x1007, %%r11; mov $0x1008, %%r12; mov $0x1009, %%r13; mov $0x100a, %%r14; mov $0x100b, %%r15; mov $0x100c, %%rbp\n"
        "movq $0x100d, -128(%%rsp); movq $0x100e, -8(%%rsp)\n"
        "1: cmpl $0, (%%rdi); je 1b\n"
        "mov %%rbx, (%%rsi); mov %%rdx, 8(%%rsi); mov %%rcx, 16(%%rsi); mov %%r8, 24(%%rsi); mov %%r9, 32(%%rsi)\n"
        "mov %%r10, 40(%%rsi); mov %%r11, 48(%%rsi); mov %%r12, 56(%%rsi); mov %%r13, 64(%%rsi); mov %%r14, 72(%%rsi)\n"
        "mov %%r15, 80(%%rsi); mov %%rbp, 88(%%rsi); mov -128(%%rsp), %%rax; mov %%rax, 96(%%rsi); mov -8(%%rsp), %%rax\n"
        "mov %%rax, 104(%%rsi)\n"
        "pop %%rbp\n"
        ::"D"(flag), "S"(out)
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

static void spin_sse(volatile int *flag, uint64_t out[32])
{
    uint64_t in[32];
    for (int i = 0; i < 32; i++)
        in[i] = 0x1111111111111111UL * (unsigned)(i % 15) + (unsigned)i;
    __asm__ volatile(
        "movdqu (%0), %%xmm0; movdqu 16(%0), %%xmm1; movdqu 32(%0), %%xmm2; movdqu 48(%0), %%xmm3; movdqu 64(%0), %%xmm4\n"
        "movdqu 80(%0), %%xmm5; movdqu 96(%0), %%xmm6; movdqu 112(%0), %%xmm7; movdqu 128(%0), %%xmm8; movdqu 144(%0), %%xmm9\n"
        "movdqu 160(%0), %%xmm10; movdqu 176(%0), %%xmm11; movdqu 192(%0), %%xmm12; movdqu 208(%0), %%xmm13\n"
        "movdqu 224(%0), %%xmm14; movdqu 240(%0), %%xmm15\n"
        "1: cmpl $0, (%1); je 1b\n"
        "movdqu %%xmm0, (%2); movdqu %%xmm1, 16(%2); movdqu %%xmm2, 32(%2); movdqu %%xmm3, 48(%2); movdqu %%xmm4, 64(%2)\n"
        "movdqu %%xmm5, 80(%2); movdqu %%xmm6, 96(%2); movdqu %%xmm7, 112(%2); movdqu %%xmm8, 128(%2); movdqu %%xmm9, 144(%2)\n"
        "movdqu %%xmm10, 160(%2); movdqu %%xmm11, 176(%2); movdqu %%xmm12, 192(%2); movdqu %%xmm13, 208(%2)\n"
        "movdqu %%xmm14, 224(%2); movdqu %%xmm15, 240(%2)\n"
        ::"r"(in), "r"(flag), "r"(out)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
          "xmm14", "xmm15", "memory", "cc");
    HOLDS(!memcmp(in, out, sizeof in));
}

static void __attribute__((target("avx"))) spin_avx(volatile int *flag)
{
    uint64_t in[16], out[16];
    for (int i = 0; i < 16; i++)
        in[i] = 0x0101010101010101UL * (unsigned)i;
    __asm__ volatile(
        "vmovdqu (%0), %%ymm0; vmovdqu 32(%0), %%ymm5; vmovdqu 64(%0), %%ymm10; vmovdqu 96(%0), %%ymm15\n"
        "1: cmpl $0, (%1); je 1b\n"
        "vmovdqu %%ymm0, (%2); vmovdqu %%ymm5, 32(%2); vmovdqu %%ymm10, 64(%2); vmovdqu %%ymm15, 96(%2); vzeroupper\n"
        ::"r"(in), "r"(flag), "r"(out) : "xmm0", "xmm5", "xmm10", "xmm15", "memory", "cc");
    if (memcmp(in, out, sizeof in))
        printf("AVX registers CHANGED\n");
}

static void spin_x87(volatile int *flag)
{
    double a = 0, b = 0;
    unsigned short control = 0x27f, control_after = 0; // double precision
    __asm__ volatile(
        "fninit; fldcw %4; fld1; fldl2e\n"
        "1: cmpl $0, (%3); je 1b\n"
        "fstpl %0; fstpl %1; fnstcw %2; fninit\n"
        : "=m"(a), "=m"(b), "=m"(control_after) : "r"(flag), "m"(control) : "memory", "cc", "st", "st(1)");
    printf("x87 %.10f %.10f control %#x\n", a, b, control_after);
}

static void arm(void)
{
    struct itimerval soon = {{0, 0}, {0, 15000}};
    fired = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
}

int main(void)
{
    unsigned a, b, c, d;
    avx = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AVX) && (c & bit_OSXSAVE);
    struct sigaction sa = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &sa, NULL);

    static uint64_t out[32];
    arm();
    spin_registers(&fired, out);
    for (int i = 0; i < 14; i++)
        printf("%lx ", (long)out[i]);
    printf("\n");

    arm();
    printf("direction flag %ld\n", spin_general(&fired, out) >> 10 & 1);

    arm();
    spin_sse(&fired, out);

    arm();
    if (avx)
        spin_avx(&fired);

    arm();
    spin_x87(&fired);

    unsigned csr = 0x7f80, after = 0; // round to zero
    __asm__ volatile("ldmxcsr %0" ::"m"(csr));
    arm();
    while (!fired)
        ;
    __asm__ volatile("stmxcsr %0" : "=m"(after));
    printf("mxcsr %#x\n", after & 0xffc0);

    // A handler starts with clean flags and an aligned stack; raised synchronously many times nothing is lost.
    csr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(csr));
    fired = 0;
    double x = 1.5;
    for (int i = 0; i < 1000; i++) {
        raise(SIGALRM);
        x = x * 1.0000001 + 0.1;
    }
    printf("%d %.6f\n", fired, x);
    return 0;
}
