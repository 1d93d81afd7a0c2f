// Where things are in the address space (they move from run to run); `time`: whether the processor's counter and the clock
// agree that it runs at 1 GHz; `tsc`: the counter now.
// runner: none
#include "check.h"
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "tsc")) {
        printf("%lld\n", (long long)__rdtsc());
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "time")) {
        struct timespec a, b;
        unsigned long long start = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC, &a);
        nanosleep(&(struct timespec){0, 200000000}, NULL);
        unsigned long long end = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC, &b);
        double clock = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec), counter = (double)(end - start);
        if (clock >= 200e6 && clock < 400e6 && clock / counter > 0.98 && clock / counter < 1.02)
            printf("right\n");
        else
            printf("clock %.0f ns, counter %.0f\n", clock, counter);
        return 0;
    }
    int local;
    printf("%p %p %p %p %#lx\n", (void *)main, (void *)&local, sbrk(0),
           mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), getauxval(AT_SYSINFO_EHDR));
    return 0;
}
