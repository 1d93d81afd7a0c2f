/*
 * What single operations cost, in guest instructions: run under `-icount shift=0`, where the time stamp counter counts
 * instructions. Each line printed is `NAME COST`. The same static binary runs as /init on Linux (it makes the /dev/null it
 * needs, and powers off at the end) and as the program on Knarr.
 *
 * Method: an operation is done WARM times unmeasured, then ROUNDS batches of N are timed with rdtsc, the cost of the same
 * loop around an empty body is subtracted, and the batch with the least cost counts: a timer interrupt in one batch does
 * not show. No operation's own work is left out of its figure, such as the musl wrapper around a system call, except that
 * `getpid` is the bare instruction.
 *
 *   getpid         the syscall instruction with nothing around it
 *   clock_gettime  CLOCK_MONOTONIC through the vDSO
 *   write          one byte to /dev/null
 *   pread          4 KiB from a file in the root filesystem (a tmpfs)
 *   open_close     that file, opened and closed
 *   stat           that file
 *   mmap           64 KiB anonymous: mapped, its first page touched, unmapped
 *   first_touch    one page of an anonymous mapping touched for the first time (1 MiB mapping, no huge pages)
 *   pthread        create and join
 *   futex          one turn there and back between two threads on one CPU
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum { WARM = 16, ROUNDS = 5 };
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 }; /* musl-gcc has no headers of the kernel */

static int null_fd, file_fd;
static char page[4096];

static void fail(const char *what)
{
    printf("micro: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long raw_syscall0(long number)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number) : "rcx", "r11", "memory");
    return result;
}

static void do_nothing(void)
{
    __asm__ volatile("" ::: "memory");
}

static void do_getpid(void)
{
    raw_syscall0(SYS_getpid);
}

static void do_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
}

static void do_write(void)
{
    if (write(null_fd, page, 1) != 1)
        fail("write");
}

static void do_pread(void)
{
    if (pread(file_fd, page, sizeof page, 0) != sizeof page)
        fail("pread");
}

static void do_open(void)
{
    int fd = open("/bench.dat", O_RDONLY);
    if (fd < 0)
        fail("open");
    close(fd);
}

static void do_stat(void)
{
    struct stat st;
    if (stat("/bench.dat", &st))
        fail("stat");
}

enum { MAP_SIZE = 64 << 10 };

static void do_mmap(void)
{
    char *p = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        fail("mmap");
    *(volatile char *)p = 1;
    munmap(p, MAP_SIZE);
}

static void *thread_nothing(void *arg)
{
    return arg;
}

static void do_pthread(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, thread_nothing, NULL))
        fail("pthread_create");
    pthread_join(t, NULL);
}

/* Two threads take turns: each waits until the word is its number, and hands it to the other. */
static _Atomic int turn;

static void hand_over(int to)
{
    turn = to;
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void wait_for(int mine)
{
    int now;
    while ((now = turn) != mine)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

enum { PING = 1, PONG = 2, STOP = 3 };

static void *pong(void *arg)
{
    for (;;) {
        int now;
        while ((now = turn) == PING)
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        if (now == STOP)
            return arg;
        hand_over(PING);
    }
}

static void do_futex(void)
{
    hand_over(PONG);
    wait_for(PING);
}

static uint64_t timed(void (*op)(void), int n)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < WARM; i++)
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

static void measure(const char *name, void (*op)(void), int n)
{
    uint64_t with = timed(op, n), without = timed(do_nothing, n);
    printf("%s %llu\n", name, (unsigned long long)((with - without + n / 2) / n));
}

static void measure_first_touch(void)
{
    enum { PAGES = 256 };
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            fail("mmap");
        madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
        uint64_t start = __rdtsc();
        for (int i = 0; i < PAGES; i++)
            *(volatile char *)(p + i * 4096) = 1;
        uint64_t took = __rdtsc() - start;
        best = took < best ? took : best;
        munmap(p, PAGES * 4096);
    }
    printf("first_touch %llu\n", (unsigned long long)(best / PAGES));
}

int main(void)
{
    null_fd = open("/dev/null", O_WRONLY);
    if (null_fd < 0) { /* an initramfs without a /dev */
        mkdir("/dev", 0755);
        if (mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)) || (null_fd = open("/dev/null", O_WRONLY)) < 0)
            fail("/dev/null");
    }
    file_fd = open("/bench.dat", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file_fd < 0 || write(file_fd, page, sizeof page) != sizeof page)
        fail("/bench.dat");

    measure("getpid", do_getpid, 200);
    measure("clock_gettime", do_clock, 200);
    measure("write", do_write, 200);
    measure("pread", do_pread, 200);
    measure("open_close", do_open, 100);
    measure("stat", do_stat, 100);
    measure("mmap", do_mmap, 50);
    measure_first_touch();
    measure("pthread", do_pthread, 20);

    pthread_t other;
    turn = PING;
    if (pthread_create(&other, NULL, pong, NULL))
        fail("pthread_create");
    measure("futex", do_futex, 50);
    hand_over(STOP);
    pthread_join(other, NULL);

    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_AUTOBOOT); /* ends QEMU under -no-reboot; Knarr has no reboot and the program ends by itself */
    return 0;
}
