/*
 * How the programs of the benchmark measure. An operation is done WARM times unmeasured, then ROUNDS batches of N are timed
 * with rdtsc, the cost of the same loop around an empty body is subtracted, and the batch with the least cost counts: a timer
 * interrupt in one batch does not show. Each line printed is `NAME COST`, in ticks of the time stamp counter: guest instructions
 * under `-icount shift=0`, otherwise time, for which `tsc_khz` is printed too.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum { WARM = 16, ROUNDS = 5 };

static inline void fail(const char *what)
{
    printf("bench: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_AUTOBOOT);
    exit(1);
}

static inline void do_nothing(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline uint64_t timed(void (*op)(void), int n)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < WARM && i < n; i++)
        op();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = __rdtsc();
        for (int i = 0; i < n; i++)
            op();
        uint64_t took = __rdtsc() - start;
        best = took < best ? took : best;
    }
    return best;
}

static inline void report(const char *name, uint64_t cost)
{
    printf("%s %llu\n", name, (unsigned long long)cost);
    fflush(stdout);
}

/* `parts`: how many of what is reported one op() does. */
static inline void measure_parts(const char *name, void (*op)(void), int n, int parts)
{
    uint64_t with = timed(op, n), without = timed(do_nothing, n), all = (uint64_t)n * parts;
    report(name, ((with > without ? with - without : 0) + all / 2) / all);
}

static inline void measure(const char *name, void (*op)(void), int n)
{
    measure_parts(name, op, n, 1);
}

/* The rate of the time stamp counter, by the system's clock. */
static inline void report_rate(void)
{
    struct timespec a, b;
    uint64_t start, ticks;
    clock_gettime(CLOCK_MONOTONIC, &a);
    start = __rdtsc();
    do {
        clock_gettime(CLOCK_MONOTONIC, &b);
        ticks = __rdtsc() - start;
    } while ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec < 20000000);
    report("tsc_khz", ticks * 1000000 / ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec));
}

/* A place that marks.c sees pass: an instruction that does nothing. */
#define MARK(n) __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .word %c0, 0x524b" ::"i"(n) : "memory")

/* On Linux: what the kernel needs for the disks lies in /m/0.ko, /m/1.ko, ..., in this order. */
static inline void load_modules(void)
{
    char name[32];
    for (int i = 0;; i++) {
        sprintf(name, "/m/%d.ko", i);
        int fd = open(name, O_RDONLY);
        if (fd < 0)
            break;
        if (syscall(SYS_finit_module, fd, "", 0))
            fail(name);
        close(fd);
    }
    mount("none", "/dev", "devtmpfs", 0, NULL);
}

/* Devices come when they come. */
static inline void mount_disk(const char *device, const char *directory, const char *type, unsigned long flags)
{
    for (int i = 0; access(device, F_OK) && i < 500; i++)
        usleep(10000);
    mkdir(directory, 0755);
    if (mount(device, directory, type, flags, NULL))
        fail(device);
}

/* The end of the machine: Knarr stops with its program, Linux needs to be told (and -no-reboot ends QEMU). */
static inline int finish(void)
{
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_AUTOBOOT);
    return 0;
}

#endif
