// execve(2) with large arguments: a megabyte and more, the exact limits, the longest string, and an empty vector.
// build: musl glibc-pie
// memory: 192M
#include "check.h"
#include <sys/resource.h>
#include <sys/wait.h>

static unsigned long sum_of(char **v, unsigned *count)
{
    unsigned long sum = 0;
    for (*count = 0; v[*count]; ++*count)
        for (const char *s = v[*count]; *s; s++)
            sum = sum * 31 + (unsigned char)*s;
    return sum;
}

// Runs the program "me" with `n` arguments of `size` bytes (with the NUL) and an environment of one string of `env` bytes; a
// stack limit of 0 leaves it alone.
static void run(const char *what, unsigned n, size_t size, size_t env, rlim_t stack)
{
    char *block = malloc(size), *environment = malloc(env ? env : 1), **argv = malloc((n + 1) * sizeof *argv);
    char *envp[] = {env ? environment : NULL, NULL};
    int status;
    memset(block, 'a', size);
    block[size - 1] = 0;
    memset(environment, 'e', env ? env : 1);
    environment[env ? env - 1 : 0] = 0;
    for (unsigned i = 0; i < n; i++)
        argv[i] = block;
    argv[n] = NULL;
    printf("%s: ", what);
    fflush(stdout);
    if (fork() == 0) {
        struct rlimit limit = {stack, stack};
        if (stack && setrlimit(RLIMIT_STACK, &limit))
            give_up("setrlimit");
        execve("me", argv, envp);
        printf("%s\n", errno_name(errno));
        fflush(stdout);
        _exit(9);
    }
    wait(&status);
    if (status != 9 << 8)
        printf("  status %#x\n", status);
    free(argv);
    free(block);
    free(environment);
}

// So many arguments of 100 bytes and one string of environment that everything is exactly `total` bytes: strings, pointers, "me".
static void exactly(const char *what, size_t total, rlim_t stack)
{
    size_t left = total - sizeof "me", n = (left - 1000) / 108;
    run(what, (unsigned)n, 100, left - n * 108 - 8, stack);
}

int main(int argc, char **argv, char **envp)
{
    if (argc == 0 || argv[0][0] == 'a' || argv[0][0] == 0) {
        unsigned n, m;
        unsigned long a = sum_of(argv, &n), e = sum_of(envp, &m);
        printf("%u arguments %lx, %u variables %lx, argc %d\n", n, a, m, e, argc);
        return 0;
    }
    char self[4096] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0 || symlink(self, "me"))
        give_up("readlink");
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = 8 << 20;
    setrlimit(RLIMIT_STACK, &limit);
    run("nothing", 0, 10, 0, 0);
    run("one", 1, 2, 3, 0);
    run("a megabyte of small ones", 10000, 100, 0, 0);
    run("a megabyte of large ones", 9, 131072, 1000, 0);
    run("the longest", 1, 131072, 131072, 0);
    run("too long", 1, 131073, 0, 0);
    run("an environment that is too long", 1, 10, 131073, 0);
    run("many empty ones", 100000, 1, 0, 0);
    run("too many empty ones", 250000, 1, 0, 0);
    exactly("the limit of a stack of 8 MiB", 2 << 20, 8 << 20);
    exactly("one byte more", (2 << 20) + 1, 8 << 20);
    exactly("the limit of a small stack", 131072, 256 << 10);
    exactly("one byte more", 131073, 256 << 10);
    exactly("the limit of a stack of 1 MiB", 256 << 10, 1 << 20);
    exactly("one byte more", (256 << 10) + 1, 1 << 20);
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= 64 << 20) {
        exactly("the limit of a large stack", 6 << 20, 64 << 20);
        exactly("one byte more", (6 << 20) + 1, 64 << 20);
    }
    return 0;
}
