// mremap in all its forms; madvise, mincore, msync, mlock.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096UL
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define MADV_FREE_ 8
static sigjmp_buf escape;

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(escape, 1);
}

static void probe(const char *name, const volatile char *p)
{
    if (!sigsetjmp(escape, 1))
        printf("%s: %d\n", name, *p);
    else
        printf("%s: fault\n", name);
}

static char *anon(size_t pages)
{
    char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        give_up("mmap");
    for (size_t i = 0; i < pages; i++)
        p[i * PAGE] = (char)(i + 1);
    return p;
}

static void resident(char *p, size_t pages)
{
    unsigned char v[32];
    if (mincore(p, pages * PAGE, v)) {
        printf("mincore: %s\n", errno_name(errno));
        return;
    }
    printf("resident:");
    for (size_t i = 0; i < pages; i++)
        printf(" %d", v[i] & 1);
    printf("\n");
}

int main(void)
{
    struct sigaction sa = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);

    section("mremap: shrink, grow in place, move");
    char *area = anon(16);
    munmap(area + 8 * PAGE, 8 * PAGE); // room behind
    HOLDS(mremap(area, 8 * PAGE, 4 * PAGE, 0) == area);
    probe("kept", area + 3 * PAGE);
    probe("cut off", area + 4 * PAGE);
    HOLDS(mremap(area, 4 * PAGE, 6 * PAGE, 0) == area);
    probe("new", area + 4 * PAGE);
    char *wall = mmap(area + 6 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    HOLDS(wall == area + 6 * PAGE);
    SHOW((long)mremap(area, 6 * PAGE, 10 * PAGE, 0));
    char *moved = mremap(area, 6 * PAGE, 10 * PAGE, MREMAP_MAYMOVE);
    HOLDS(moved != MAP_FAILED && moved != area);
    probe("moved first", moved);
    probe("moved fourth", moved + 3 * PAGE);
    probe("moved new", moved + 9 * PAGE);
    probe("old place", area);
    probe("the wall", wall);

    section("mremap: fixed");
    char *target = anon(4);
    HOLDS(mremap(moved, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE) == target + PAGE);
    probe("target 0", target);
    probe("target 1", target + PAGE);
    probe("target 2", target + 2 * PAGE);
    probe("target 3", target + 3 * PAGE);
    probe("source", moved);
    probe("source's rest", moved + 2 * PAGE);
    HOLDS(mremap(target, 2 * PAGE, PAGE, MREMAP_MAYMOVE) == target);

    section("mremap: errors");
    SHOW((long)mremap(target + 1, PAGE, PAGE, 0));
    SHOW((long)mremap(target, PAGE, 0, 0));
    SHOW((long)mremap((void *)PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    SHOW((long)mremap(target, 16 * PAGE, 32 * PAGE, MREMAP_MAYMOVE));
    SHOW((long)mremap(target, PAGE, PAGE, 64));
    SHOW((long)mremap(target, PAGE, PAGE, MREMAP_FIXED, moved));
    SHOW((long)mremap(target, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target));
    SHOW((long)mremap(target, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + 5));

    section("mremap: leaving the old mapping");
    area = anon(4);
    moved = mremap(area, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
    HOLDS(moved != MAP_FAILED);
    probe("new", moved + PAGE);
    probe("old", area + PAGE);

    section("mremap: many pages, growing as realloc does");
    size_t pages = 1;
    area = anon(1);
    for (int i = 0; i < 10; i++, pages *= 2) {
        area = mremap(area, pages * PAGE, pages * 2 * PAGE, MREMAP_MAYMOVE);
        if (area == MAP_FAILED)
            give_up("mremap");
        for (size_t j = pages; j < pages * 2; j++)
            *(uint32_t *)(area + j * PAGE) = (uint32_t)j;
    }
    bool good = area[0] == 1;
    for (size_t j = 1; j < pages; j++)
        good = good && *(uint32_t *)(area + j * PAGE) == j;
    HOLDS(good);
    SHOW(munmap(area, pages * PAGE));

    section("madvise");
    area = anon(8);
    SHOW(madvise(area + 2 * PAGE, 2 * PAGE, MADV_DONTNEED));
    probe("kept", area + PAGE);
    probe("zero again", area + 2 * PAGE);
    probe("kept", area + 4 * PAGE);
    SHOW(madvise(area + 5 * PAGE, PAGE, MADV_FREE_));
    area[5 * PAGE] = 66;
    probe("written after free", area + 5 * PAGE);
    SHOW(madvise(area, PAGE, MADV_WILLNEED));
    SHOW(madvise(area, PAGE, MADV_NORMAL));
    SHOW(madvise(area, PAGE, MADV_RANDOM));
    SHOW(madvise(area, PAGE, 4321));
    SHOW(madvise(area + 1, PAGE, MADV_DONTNEED));
    SHOW(madvise(area, 0, MADV_DONTNEED));
    SHOW(madvise((void *)PAGE, PAGE, MADV_DONTNEED));
    SHOW(madvise(area, (size_t)-PAGE, MADV_DONTNEED));

    section("mincore");
    char *fresh = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(fresh, 4 * PAGE, MADV_NOHUGEPAGE);
    resident(fresh, 4);
    fresh[PAGE] = fresh[3 * PAGE] = 1;
    resident(fresh, 4);
    madvise(fresh, 4 * PAGE, MADV_DONTNEED);
    resident(fresh, 4);
    SHOW(mlock(fresh, 2 * PAGE));
    resident(fresh, 4);
    SHOW(munlock(fresh, 2 * PAGE));
    unsigned char v[4];
    SHOW(mincore(fresh + 1, PAGE, v));
    SHOW(mincore((void *)PAGE, PAGE, v));
    SHOW(mincore(fresh, PAGE, (void *)8));
    SHOW(munmap(fresh + PAGE, PAGE));
    SHOW(mincore(fresh, 3 * PAGE, v));
    SHOW(mlock((void *)PAGE, PAGE));
    SHOW(munlockall());

    section("msync");
    SHOW(msync(area, PAGE, MS_SYNC));
    SHOW(msync(area, PAGE, MS_ASYNC | MS_SYNC));
    SHOW(msync(area + 1, PAGE, MS_SYNC));
    SHOW(msync((void *)PAGE, PAGE, MS_SYNC));
    return 0;
}
