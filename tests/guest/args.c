// What a program finds on its stack: arguments, environment and the auxiliary vector, in terms that do not depend on addresses.
// build: musl musl-pie glibc glibc-pie
// args: one "two words" "" "$x*" last
// env: FIRST=1 SECOND= THIRD=a=b
#include "check.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

extern char **environ;
extern char etext[], end[];
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static int initialized = 42;
static char zeroed[100000];

int main(int argc, char **argv)
{
    printf("argc %d\n", argc);
    for (int i = 1; i <= argc; i++)
        printf("argv[%d] %s\n", i, argv[i] ? argv[i] : "(null)");
    for (const char **name = (const char *[]){"FIRST", "SECOND", "THIRD", "FOURTH", NULL}; *name; name++)
        printf("%s=%s\n", *name, getenv(*name) ? getenv(*name) : "(unset)");

    // The vectors follow each other: argc, argv, NULL, envp, NULL, auxv.
    HOLDS((long)((uintptr_t *)argv)[-1] == argc);
    HOLDS(environ == argv + argc + 1);
    HOLDS((uintptr_t)(argv - 1) % 16 == 0);
    char **e = environ;
    while (*e)
        e++;
    Elf64_auxv_t *aux = (Elf64_auxv_t *)(e + 1);
    bool seen[64] = {false};
    int count = 0;
    for (; aux->a_type != AT_NULL && count < 64; aux++, count++)
        if (aux->a_type < 64)
            seen[aux->a_type] = true;
    HOLDS(aux->a_type == AT_NULL);
    HOLDS(seen[AT_PHDR] && seen[AT_PHENT] && seen[AT_PHNUM] && seen[AT_ENTRY] && seen[AT_BASE] && seen[AT_FLAGS]);
    HOLDS(seen[AT_UID] && seen[AT_EUID] && seen[AT_GID] && seen[AT_EGID] && seen[AT_SECURE]);
    HOLDS(seen[AT_PAGESZ] && seen[AT_CLKTCK] && seen[AT_HWCAP] && seen[AT_HWCAP2] && seen[AT_PLATFORM]);
    HOLDS(seen[AT_RANDOM] && seen[AT_EXECFN] && seen[AT_SYSINFO_EHDR]);

    printf("AT_PAGESZ %lu AT_CLKTCK %lu AT_PHENT %lu AT_SECURE %lu AT_FLAGS %lu AT_BASE %lu\n", getauxval(AT_PAGESZ),
           getauxval(AT_CLKTCK), getauxval(AT_PHENT), getauxval(AT_SECURE), getauxval(AT_FLAGS), getauxval(AT_BASE));
    printf("AT_PLATFORM %s\n", (char *)getauxval(AT_PLATFORM));
    HOLDS(getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid());
    HOLDS(getauxval(AT_GID) == getgid() && getauxval(AT_EGID) == getegid());

    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)__ehdr_start;
    HOLDS(getauxval(AT_PHDR) == (uintptr_t)__ehdr_start + ehdr->e_phoff);
    HOLDS(getauxval(AT_PHNUM) == ehdr->e_phnum);
    HOLDS(getauxval(AT_ENTRY) >= (uintptr_t)__ehdr_start && getauxval(AT_ENTRY) < (uintptr_t)etext);

    unsigned char *random = (unsigned char *)getauxval(AT_RANDOM), any = 0;
    for (int i = 0; i < 16; i++)
        any |= random[i];
    HOLDS(any != 0);
    const char *name = (const char *)getauxval(AT_EXECFN);
    HOLDS(name && *name && !strcmp(strrchr(name, '/') ? strrchr(name, '/') : name, strrchr(argv[0], '/') ? strrchr(argv[0], '/') : argv[0]));

    // The vDSO is a shared object that can be read.
    const Elf64_Ehdr *vdso = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
    HOLDS(!memcmp(vdso->e_ident, ELFMAG, SELFMAG) && vdso->e_type == ET_DYN && vdso->e_machine == EM_X86_64);

    HOLDS(initialized == 42);
    long sum = 0;
    for (size_t i = 0; i < sizeof zeroed; i++)
        sum += zeroed[i];
    HOLDS(sum == 0);
    // What lies behind the end of bss in its last page is zero too.
    sum = 0;
    for (char *p = end; (uintptr_t)p % 4096; p++)
        sum += *p;
    HOLDS(sum == 0);
    return 0;
}
