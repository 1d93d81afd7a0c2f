// A dynamically linked program looks at itself: where it and its linker are, what the auxiliary vector says, dlopen(3), and the
// calls of its libraries. tests/system/dynamic.py links and runs it in several ways.
// runner: none
#include "check.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <math.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/wait.h>

static int show_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char *name = strrchr(info->dlpi_name, '/');
    (void)size;
    if (!strstr(info->dlpi_name, "vdso") && !strstr(info->dlpi_name, "gate"))
        printf("object %d: %s, %s\n", (*(int *)arg)++, name ? name + 1 : info->dlpi_name, info->dlpi_addr ? "moved" : "at its place");
    return 0;
}

static __thread int thread_local = 7;

static void *thread(void *arg)
{
    thread_local += (int)(long)arg;
    return (void *)(long)thread_local;
}

static void auxiliary(void)
{
    const ElfW(Phdr) *ph = (const void *)getauxval(AT_PHDR);
    unsigned long base = 0, count = getauxval(AT_PHNUM), high = 0;
    bool interp = false;
    for (unsigned long i = 0; i < count; i++) {
        if (ph[i].p_type == PT_PHDR)
            base = (unsigned long)ph - ph[i].p_vaddr;
        interp |= ph[i].p_type == PT_INTERP;
    }
    for (unsigned long i = 0; i < count; i++)
        if (ph[i].p_type == PT_LOAD && base + ph[i].p_vaddr + ph[i].p_memsz > high)
            high = base + ph[i].p_vaddr + ph[i].p_memsz;
    HOLDS(interp);
    HOLDS(getauxval(AT_ENTRY) > base && getauxval(AT_ENTRY) < high);
    const ElfW(Ehdr) *linker = (const void *)getauxval(AT_BASE);
    HOLDS(linker && !memcmp(linker->e_ident, ELFMAG, SELFMAG) && linker->e_type == ET_DYN);
    HOLDS((unsigned long)linker > high);
    HOLDS((unsigned long)sbrk(0) >= high && (unsigned long)sbrk(0) < high + (1UL << 32));
    HOLDS(getauxval(AT_PHENT) == sizeof(ElfW(Phdr)));
    printf("secure %lu, name %s\n", getauxval(AT_SECURE), strrchr((char *)getauxval(AT_EXECFN), '/') + 1);
}

int main(int argc, char **argv)
{
    int n = 0, status;
    if (argc > 1 && !strcmp(argv[1], "child")) {
        printf("a child: %s\n", argv[2]);
        return 3;
    }
    auxiliary();
    dl_iterate_phdr(show_object, &n);
    volatile double x = 0.5;
    printf("cos %.6f\n", cos(x));
    pthread_t t;
    void *result;
    pthread_create(&t, NULL, thread, (void *)5L);
    pthread_join(t, &result);
    printf("thread-local %ld and %d\n", (long)result, thread_local);
    const char *name = argc > 1 ? argv[1] : "libdl-test.so";
    void *library = dlopen(name, RTLD_NOW);
    if (library) {
        int (*answer)(int) = (int (*)(int))dlsym(library, "answer");
        printf("dlopen: answer %d\n", answer ? answer(20) : -1);
        dlclose(library);
    } else {
        printf("dlopen: no such library\n");
    }
    const char *preloaded = getenv("PRELOADED");
    printf("preloaded: %s\n", preloaded ? preloaded : "no");
    fflush(stdout);
    if (fork() == 0) {
        execl("/proc/self/exe", "again", "child", "argument", NULL);
        _exit(9);
    }
    wait(&status);
    printf("child: %d\n", WEXITSTATUS(status));
    return 42;
}
