// Looks at its own segments: data has its values, bss and what is behind it in its page is zero and writable, constants are
// not writable, the stack can or cannot be executed as the file says. Linked in odd ways by the tests of the loader.
// runner: none
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <elf.h>
#include <sys/auxv.h>

static char small_bss[3], big_bss[3 << 20];
static int data[2000] = {[0] = 1, [1999] = 2};
static char *relocated = (char *)&data[1999];
static const int constants[2000] = {[0] = 3, [1999] = 4};
static void *const relro[] = {data, big_bss, (void *)constants};
static __thread int tls_data = 5, tls_bss;
static int constructed;
static sigjmp_buf escape;

static void __attribute__((constructor)) construct(void)
{
    constructed = 6;
}

static void __attribute__((destructor)) destruct(void)
{
    printf("destructed\n");
}

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(escape, 1);
}

static const char *writable(const volatile void *p)
{
    if (sigsetjmp(escape, 1))
        return "no";
    *(volatile char *)p = *(volatile char *)p;
    return "yes";
}

static const char *executable(void *p)
{
    if (sigsetjmp(escape, 1))
        return "no";
    return ((int (*)(void))p)() == 7 ? "yes" : "strange";
}

int main(void)
{
    static const unsigned char return_7[] = {0xb8, 7, 0, 0, 0, 0xc3};
    unsigned char on_stack[sizeof return_7];
    memcpy(on_stack, return_7, sizeof return_7);
    struct sigaction sa = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &sa, NULL);

    printf("%d %d %d %d %d %d %d %d\n", data[0], data[1999], *(int *)relocated, constants[0], constants[1999], tls_data, tls_bss, constructed);
    printf("%d\n", relro[0] == data && relro[1] == big_bss && relro[2] == constants);
    long sum = small_bss[0] + small_bss[2];
    for (size_t i = 0; i < sizeof big_bss; i++)
        sum += big_bss[i];
    printf("bss %ld\n", sum);
    memset(big_bss, 1, sizeof big_bss);
    printf("writable: data %s, constants %s, text %s, relro %s\n", writable(data), writable(constants), writable((void *)main), writable(relro));
    printf("executable: stack %s, data %s\n", executable(on_stack), executable(memcpy(data + 10, return_7, sizeof return_7)));

    // Every PT_LOAD's bytes behind the file's part are zero up to the end of memory's part, where they are not used yet.
    const Elf64_Phdr *ph = (const Elf64_Phdr *)getauxval(AT_PHDR);
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
        if (ph[i].p_type == PT_LOAD)
            printf("load flags %u\n", ph[i].p_flags);
    return 0;
}
