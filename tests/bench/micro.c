/*
 * What single system calls and touches of memory cost: see measure.h. The same static binary runs as /init on Linux (it makes
 * the /dev/null it needs) and as the program on Knarr. No operation's own work is left out of its figure, such as the musl
 * wrapper around a system call, except that `getpid` is the bare instruction.
 *
 *   getpid         the syscall instruction with nothing around it
 *   clock_gettime  CLOCK_MONOTONIC through the vDSO
 *   read, write    one byte of /dev/zero, to /dev/null
 *   pread          4 KiB from a file in the root filesystem (a tmpfs)
 *   sendfile       64 KiB of that file to a TCP socket of this machine, read from the other end
 *   open_close     that file, opened and closed
 *   stat           that file
 *   mmap           64 KiB anonymous: mapped, its first page touched, unmapped
 *   first_touch    one page of an anonymous mapping touched for the first time (1 MiB mapping, no huge pages)
 */
#define _GNU_SOURCE
#include "measure.h"
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static int null_fd, zero_fd, file_fd;
static char page[4096];

static long raw_syscall0(long number)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number) : "rcx", "r11", "memory");
    return result;
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

static void do_read(void)
{
    if (read(zero_fd, page, 1) != 1)
        fail("read");
}

static void do_pread(void)
{
    if (pread(file_fd, page, sizeof page, 0) != sizeof page)
        fail("pread");
}

static int ends[2];

static void do_sendfile(void)
{
    static char block[65536];
    off_t at = 0;
    if (sendfile(ends[0], file_fd, &at, sizeof block) != sizeof block ||
        recv(ends[1], block, sizeof block, MSG_WAITALL) != sizeof block)
        fail("sendfile");
}

static void measure_sendfile(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    ioctl(ends[0], SIOCSIFFLAGS, &lo); /* a bare Linux has it down */
    if (ftruncate(file_fd, 0))
        fail("/bench.dat");
    for (int i = 0; i < 16; i++)
        if (pwrite(file_fd, page, sizeof page, i * 4096) != sizeof page)
            fail("/bench.dat");
    if (bind(listener, (struct sockaddr *)&name, sizeof name) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&name, &length) || connect(ends[0], (struct sockaddr *)&name, length) ||
        (ends[1] = accept(listener, NULL, NULL)) < 0)
        fail("tcp");
    measure("sendfile", do_sendfile, 50);
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
    report("first_touch", best / PAGES);
}

static int open_device(const char *path, int minor, int flags)
{
    int fd = open(path, flags);
    if (fd < 0) { /* an initramfs without a /dev */
        mkdir("/dev", 0755);
        if (mknod(path, S_IFCHR | 0666, makedev(1, minor)) || (fd = open(path, flags)) < 0)
            fail(path);
    }
    return fd;
}

int main(void)
{
    null_fd = open_device("/dev/null", 3, O_WRONLY);
    zero_fd = open_device("/dev/zero", 5, O_RDONLY);
    file_fd = open("/bench.dat", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file_fd < 0 || write(file_fd, page, sizeof page) != sizeof page)
        fail("/bench.dat");

    report_rate();
    measure("getpid", do_getpid, 200);
    measure("clock_gettime", do_clock, 200);
    measure("read", do_read, 200);
    measure("write", do_write, 200);
    measure("pread", do_pread, 200);
    measure("open_close", do_open, 100);
    measure("stat", do_stat, 100);
    measure("mmap", do_mmap, 50);
    measure_first_touch();
    measure_sendfile();
    return finish();
}
