// mmap and munmap of anonymous memory: placement, MAP_FIXED and NOREPLACE, holes, errors, zeroed pages, brk.
// build: musl glibc
// args: x
#include "check.h"
#include "probe.h"
#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE 4096UL

static void *map(void *at, size_t size, int prot, int flags)
{
    return mmap(at, size, prot, flags | MAP_ANONYMOUS, -1, 0);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    const int RW = PROT_READ | PROT_WRITE;

    section("plain");
    char *p = map(NULL, 10 * PAGE, RW, MAP_PRIVATE);
    HOLDS(p != MAP_FAILED && (uintptr_t)p % PAGE == 0);
    long sum = 0;
    for (size_t i = 0; i < 10 * PAGE; i++)
        sum += p[i];
    SHOW(sum);
    memset(p, 1, 10 * PAGE);

    section("partial munmap");
    SHOW(munmap(p + 3 * PAGE, 2 * PAGE));
    probe("before the hole", p + 3 * PAGE - 1);
    probe("hole", p + 3 * PAGE);
    probe("hole's end", p + 5 * PAGE - 1);
    probe("after the hole", p + 5 * PAGE);
    SHOW(munmap(p, 10 * PAGE)); // holes do no harm
    probe("all gone", p);
    SHOW(munmap(p, PAGE));
    SHOW(munmap(p + 1, PAGE));
    SHOW(munmap(p, 0));
    SHOW(munmap((void *)-PAGE, PAGE));
    SHOW(munmap((void *)0x7fffffffe000, 4 * PAGE));

    section("MAP_FIXED");
    p = map(NULL, 10 * PAGE, RW, MAP_PRIVATE);
    memset(p, 2, 10 * PAGE);
    HOLDS(map(p + 4 * PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_FIXED) == p + 4 * PAGE);
    probe("below", p + 4 * PAGE - 1);
    probe("new", p + 4 * PAGE);
    probe("above", p + 6 * PAGE);
    SHOW((long)map(p + 1, PAGE, RW, MAP_PRIVATE | MAP_FIXED));
    SHOW((long)map((void *)-PAGE, PAGE, RW, MAP_PRIVATE | MAP_FIXED));
    SHOW((long)map((void *)0xffff800000000000, PAGE, RW, MAP_PRIVATE | MAP_FIXED));
    SHOW((long)map((void *)0x800000000000, PAGE, RW, MAP_PRIVATE | MAP_FIXED));
    SHOW((long)map((void *)0x7ffffffff000, PAGE, RW, MAP_PRIVATE | MAP_FIXED));
    SHOW((long)map(p + PAGE, PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE));
    SHOW((long)map(p + 9 * PAGE, 5 * PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE));
    SHOW(munmap(p, 10 * PAGE));
    HOLDS(map(p + PAGE, PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE) == p + PAGE);
    HOLDS(map(p + 2 * PAGE + 5, PAGE, RW, MAP_PRIVATE) == p + 2 * PAGE); // a hint that is free is taken, rounded down
    HOLDS(map(p + PAGE, PAGE, RW, MAP_PRIVATE) != p + PAGE);             // one that is not is not

    section("errors");
    SHOW((long)map(NULL, 0, RW, MAP_PRIVATE));
    SHOW((long)map(NULL, LONG_MAX, RW, MAP_PRIVATE));
    SHOW((long)map(NULL, (size_t)-1, RW, MAP_PRIVATE));
    SHOW((long)map(NULL, 1UL << 47, RW, MAP_PRIVATE));
    SHOW((long)map(NULL, PAGE, RW, 0));
    SHOW((long)map(NULL, PAGE, RW, MAP_PRIVATE | MAP_SHARED) == -1);
    SHOW((long)mmap(NULL, PAGE, RW, MAP_PRIVATE, 99, 0));
    SHOW(syscall(SYS_mmap, NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1));
    SHOW((long)mmap(NULL, PAGE, RW, MAP_PRIVATE, 1, 0) == -1);

    section("PROT_NONE and a size that is no multiple");
    p = map(NULL, 3 * PAGE + 1, PROT_NONE, MAP_PRIVATE);
    probe("first", p);
    SHOW(mprotect(p + PAGE, PAGE, PROT_READ));
    probe("readable", p + PAGE);
    probe_write("not writable", p + PAGE);
    SHOW(mprotect(p + 3 * PAGE, 1, RW));
    probe_write("last page's end", p + 4 * PAGE - 1);
    SHOW(munmap(p, 3 * PAGE + 1));

    section("a large reservation");
    p = map(NULL, 1UL << 40, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
    HOLDS(p != MAP_FAILED);
    SHOW(mprotect(p + (1UL << 39), PAGE, RW));
    probe_write("in the middle of it", p + (1UL << 39));
    SHOW(munmap(p, 1UL << 40));

    section("2 MiB pages or not: the same bytes");
    p = map(NULL, 16 << 20, RW, MAP_PRIVATE);
    for (size_t i = 0; i < 16 << 20; i += PAGE)
        *(uint32_t *)(p + i) = (uint32_t)i;
    SHOW(munmap(p + (5 << 20) + PAGE, PAGE));
    SHOW(mprotect(p + (9 << 20), PAGE, PROT_READ));
    bool good = true;
    for (size_t i = 0; i < 16 << 20; i += PAGE)
        if (i != (5 << 20) + PAGE)
            good = good && *(uint32_t *)(p + i) == (uint32_t)i && p[i + 8] == 0;
    HOLDS(good);
    probe("hole in it", p + (5 << 20) + PAGE + 7);
    probe_write("read-only in it", p + (9 << 20) + 7);
    probe_write("beside it", p + (9 << 20) + PAGE);
    SHOW(munmap(p, 16 << 20));

    section("flags that change nothing that is seen");
    p = map(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_POPULATE);
    probe("populated", p);
    p = map(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_NORESERVE | MAP_STACK);
    probe("stack", p);
    p = map(NULL, 4 * PAGE, RW, MAP_SHARED);
    probe_write("shared anonymous", p);
    p = map(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_32BIT);
    HOLDS((uintptr_t)p < 1UL << 31);
    p = map(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_LOCKED);
    HOLDS(p != MAP_FAILED || errno == EAGAIN);

    section("brk");
    char *end = (char *)syscall(SYS_brk, 0);
    HOLDS(end != NULL);
    char *more = (char *)syscall(SYS_brk, end + 5 * PAGE + 123);
    HOLDS(more == end + 5 * PAGE + 123);
    sum = 0;
    for (char *q = end; q < more; q++)
        sum += *q, *q = 1;
    SHOW(sum);
    HOLDS((char *)syscall(SYS_brk, end) == end);
    char *again = (char *)syscall(SYS_brk, end + 5 * PAGE);
    HOLDS(again == end + 5 * PAGE);
    sum = 0;
    for (char *q = (char *)(((uintptr_t)end + PAGE - 1) & -PAGE); q < again; q++)
        sum += *q;
    SHOW(sum);
    HOLDS((char *)syscall(SYS_brk, 1) == again);                     // below the start
    HOLDS((char *)syscall(SYS_brk, 0x7fffffffffffUL) == again);      // into other mappings
    HOLDS((char *)syscall(SYS_brk, end) == end);
    probe("above the break", end + 3 * PAGE);

    section("limit");
    struct rlimit limit = {64 << 20, 64 << 20};
    SHOW(setrlimit(RLIMIT_AS, &limit));
    SHOW((long)map(NULL, 128 << 20, RW, MAP_PRIVATE));
    HOLDS(map(NULL, 1 << 20, RW, MAP_PRIVATE) != MAP_FAILED);
    return 0;
}
