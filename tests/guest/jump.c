// Wild jumps, reads and writes: the signal that each gets, and that the program goes on afterwards.
// build: musl glibc
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static sigjmp_buf back;
static volatile int got_signal, got_code;
static void *volatile got_address;

static void handler(int sig, siginfo_t *info, void *context)
{
    (void)context;
    got_signal = sig;
    got_code = info->si_code;
    got_address = info->si_addr;
    siglongjmp(back, 1);
}

enum kind { JUMP, READ, WRITE };

static void attempt(const char *name, uintptr_t address, enum kind kind)
{
    static const char *const kinds[] = {"jump", "read", "write"};
    got_signal = 0;
    if (!sigsetjmp(back, 1)) {
        if (kind == JUMP)
            ((void (*)(void))address)();
        else if (kind == READ)
            (void)*(volatile char *)address;
        else
            *(volatile char *)address = 1;
    }
    printf("%s %s: signal %d code %d address %s\n", name, kinds[kind], got_signal, got_code,
           got_address == (void *)address ? "as given" : got_address ? "another" : "none");
}

static void attempt_all(const char *name, uintptr_t address)
{
    attempt(name, address, JUMP);
    attempt(name, address, READ);
    attempt(name, address, WRITE);
}

int main(void)
{
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &a, NULL);
    sigaction(SIGBUS, &a, NULL);
    attempt_all("null", 0);
    attempt_all("low", 0x1234);
    attempt_all("end of the lower half", 0x7ffffffff000);
    attempt_all("direct map", 0xffff888000100000);
    attempt_all("kernel image", 0xffffffff81000000);
    attempt_all("kernel image", 0xffffffff80100000);
    attempt_all("last byte", ~0ul);
    // Reads and writes alone: which instruction a jump to such an address fails at depends on the processor.
    attempt("non-canonical", 0x8000000000000000, READ);
    attempt("non-canonical", 0x0000800000000000, WRITE);

    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    attempt("data", (uintptr_t)page, JUMP);
    mprotect(page, 4096, PROT_READ);
    attempt("read-only", (uintptr_t)page, WRITE);
    mprotect(page, 4096, PROT_NONE);
    attempt_all("no access", (uintptr_t)page);
    munmap(page, 4096);
    attempt_all("unmapped", (uintptr_t)page);
    attempt("code", (uintptr_t)main, WRITE);
    puts("still here");
    return 0;
}
