// personality(2): the program runs itself again twice without random addresses, and twice with them.
// runner: none
#include "check.h"
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>

static void places(char *out, size_t size)
{
    char local;
    snprintf(out, size, "%p %p %p %p %#lx", (void *)places, (void *)(((uintptr_t)&local | 0xffff) + 1), sbrk(0),
             mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), getauxval(AT_SYSINFO_EHDR));
}

static void run_again(char *const argv[], char out[256])
{
    int p[2], status;
    if (pipe(p))
        give_up("pipe");
    if (!fork()) {
        dup2(p[1], 1);
        execv("/proc/self/exe", (char *[]){argv[0], "places", NULL});
        _exit(9);
    }
    close(p[1]);
    ssize_t n = read(p[0], out, 255);
    out[n > 0 ? n : 0] = 0;
    close(p[0]);
    wait(&status);
}

int main(int argc, char **argv)
{
    char a[256] = "", b[256] = "", line[32] = "";
    if (argc > 1) {
        places(a, sizeof a);
        puts(a);
        return 0;
    }
    SHOW(personality(0xffffffff));
    SHOW(personality(PER_SVR4));
    SHOW(personality(ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC));
    SHOW(personality(ADDR_NO_RANDOMIZE));
    SHOW(personality(0xffffffff));
    FILE *f = fopen("/proc/self/personality", "r");
    if (f && fgets(line, sizeof line, f))
        printf("%s", line);
    run_again(argv, a);
    run_again(argv, b);
    HOLDS(*a && !strcmp(a, b));
    SHOW(personality(0));
    run_again(argv, a);
    HOLDS(*a && strcmp(a, b));
    run_again(argv, b);
    HOLDS(*b && strcmp(a, b));
    return 0;
}
