// The vDSO: a small shared object that every program finds mapped (AT_SYSINFO_EHDR). It reads the clock without a system
// call, from the page that kernel/time.c keeps up to date. This code runs in the application, in any of its threads and
// signal handlers: no state of its own, no stack to speak of, no other section than .text and .rodata.
#include "kernel/time.h"
#include <asm/unistd.h>
#include <linux/time.h>

// The page before the image; see vdso.lds. Not const: it changes while this code reads it.
extern struct vdso_data vdso_page __attribute__((visibility("hidden")));

struct timezone_pair {
    int minutes_west, dst_time;
};

static inline long system_call2(long nr, long a, long b) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

static inline long system_call3(long nr, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

// LFENCE before RDTSC: the counter must not be read before the loads that come earlier in the program, or a thread that was
// told of an event by another one could see a time before it. LFENCE orders exactly that on Intel and AMD, costs less than
// RDTSCP and needs no feature check. Nothing orders what follows RDTSC: the sequence count is checked again after the loads
// of the page, which x86 keeps in order, and a counter value read a little later is as good.
static inline uint64_t tsc_ordered(void) {
    uint64_t lo, hi; // RDTSC clears the upper halves
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
    return lo | hi << 32;
}

// (cycles * mult) >> shift with 128 bits between; shift is 1 to 63, which the compiler cannot know.
static inline uint64_t scale(uint64_t cycles, uint64_t mult, uint32_t shift) {
    uint64_t lo = cycles, hi;
    __asm__("mulq %2" : "+a"(lo), "=d"(hi) : "r"(mult));
    __asm__("shrdq %%cl, %1, %0" : "+r"(lo) : "r"(hi), "c"(shift));
    return lo;
}

#define barrier() __asm__ volatile("" ::: "memory")

// Nanoseconds of the monotonic clock, or of realtime; false: ask the kernel.
static inline __attribute__((always_inline)) bool read_clock(bool realtime, uint64_t *ns) {
    struct vdso_data *d = &vdso_page;
    for (;;) {
        uint32_t seq = d->seq;
        barrier();
        if (unlikely(!d->mode))
            return false;
        uint64_t now = tsc_ordered();
        uint64_t base = d->tsc_base, time = 0;
        // Counters of different processors may differ by a little: time then stands still, rather than to jump far ahead.
        if (likely(now > base))
            time = scale(now - base, d->mult, d->shift);
        time += (uint64_t)d->mono_base;
        if (realtime)
            time += (uint64_t)d->real_offset;
        barrier();
        if (likely(d->seq == seq && !(seq & 1))) {
            *ns = time;
            return true;
        }
        __asm__ volatile("pause");
    }
}

#define BIT(clock) (1U << (clock))
#define COARSE_RESOLUTION (4 * NSEC_PER_MSEC) // as syscall/time.c says it
static const unsigned real_clocks = BIT(CLOCK_REALTIME) | BIT(CLOCK_REALTIME_COARSE) | BIT(CLOCK_TAI);
static const unsigned mono_clocks =
    BIT(CLOCK_MONOTONIC) | BIT(CLOCK_MONOTONIC_RAW) | BIT(CLOCK_MONOTONIC_COARSE) | BIT(CLOCK_BOOTTIME);

static const unsigned coarse_clocks = BIT(CLOCK_REALTIME_COARSE) | BIT(CLOCK_MONOTONIC_COARSE);

// Public names with the prefix, and weak ones without, as Linux has them. (In unit tests those would hide the C library's.)
#ifdef KNARR_UNIT_TEST
#define EXPORT(name, type, ...) type __vdso_##name(__VA_ARGS__)
#else
#define EXPORT(name, type, ...)                                                                                        \
    type __vdso_##name(__VA_ARGS__) __attribute__((visibility("default")));                                            \
    type name(__VA_ARGS__) __attribute__((weak, alias("__vdso_" #name), visibility("default")))
#endif

EXPORT(clock_gettime, int, int clock, struct timespec *ts);
EXPORT(clock_getres, int, int clock, struct timespec *ts);
EXPORT(gettimeofday, int, struct timeval *tv, struct timezone_pair *tz);
EXPORT(time, long, long *t);
EXPORT(getcpu, long, unsigned *cpu, unsigned *node, void *unused);

static inline __attribute__((always_inline)) bool read_timespec(bool realtime, struct timespec *ts) {
    uint64_t ns;
    if (!read_clock(realtime, &ns))
        return false;
    uint64_t sec = ns / NSEC_PER_SEC;
    ts->tv_sec = (long)sec;
    ts->tv_nsec = (long)(ns - sec * NSEC_PER_SEC);
    return true;
}

// The clocks that are another name of the two, and all that only the kernel knows.
static __attribute__((noinline)) int other_clock(int clock, struct timespec *ts) {
    if ((unsigned)clock < 32) {
        if (BIT(clock) & mono_clocks && read_timespec(false, ts))
            return 0;
        if (BIT(clock) & real_clocks && read_timespec(true, ts)) {
            if (clock == CLOCK_TAI)
                ts->tv_sec += vdso_page.tai;
            return 0;
        }
    }
    return (int)system_call2(__NR_clock_gettime, clock, (long)ts);
}

int __vdso_clock_gettime(int clock, struct timespec *ts) {
    if (likely(clock == CLOCK_MONOTONIC)) {
        if (likely(read_timespec(false, ts)))
            return 0;
    } else if (likely(clock == CLOCK_REALTIME)) {
        if (likely(read_timespec(true, ts)))
            return 0;
    }
    return other_clock(clock, ts);
}

int __vdso_clock_getres(int clock, struct timespec *ts) {
    if (likely((unsigned)clock < 32 && BIT(clock) & (mono_clocks | real_clocks))) {
        if (ts) {
            ts->tv_sec = 0;
            ts->tv_nsec = BIT(clock) & coarse_clocks ? COARSE_RESOLUTION : 1;
        }
        return 0;
    }
    return (int)system_call2(__NR_clock_getres, clock, (long)ts);
}

int __vdso_gettimeofday(struct timeval *tv, struct timezone_pair *tz) {
    uint64_t ns;
    if (tv) {
        if (!read_clock(true, &ns))
            return (int)system_call2(__NR_gettimeofday, (long)tv, (long)tz);
        uint64_t sec = ns / NSEC_PER_SEC;
        tv->tv_sec = (long)sec;
        tv->tv_usec = (long)((ns - sec * NSEC_PER_SEC) / NSEC_PER_USEC);
    }
    if (tz)
        tz->minutes_west = tz->dst_time = 0; // the kernel keeps no time zone
    return 0;
}

long __vdso_time(long *t) {
    uint64_t ns;
    if (!read_clock(true, &ns))
        return system_call2(__NR_time, (long)t, 0);
    long sec = (long)(ns / NSEC_PER_SEC);
    if (t)
        *t = sec;
    return sec;
}

// The kernel writes each processor's number into its TSC_AUX register, where there is one.
long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused) {
    unsigned id;
    if (!vdso_page.cpu_in_tsc_aux)
        return system_call3(__NR_getcpu, (long)cpu, (long)node, 0);
    __asm__ volatile("rdtscp" : "=c"(id)::"rax", "rdx");
    if (cpu)
        *cpu = id;
    if (node)
        *node = 0;
    return 0;
}
