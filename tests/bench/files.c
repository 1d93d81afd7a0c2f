/*
 * What files cost: on a disk with an EROFS image (/dev/vda), on one with ext4 (/dev/vdb), and in memory. The same static binary
 * runs as /init on Linux and on Knarr; Linux gets the modules for this from /m/0.ko, /m/1.ko, ... Each operation is done ROUNDS
 * times; for each round it prints `NAME PARTS TICKS`, and passes MARK(1) and MARK(2): marks.c counts the instructions between,
 * which leaves out what is waited for. `cold`: nothing of the files is in memory.
 */
#define _GNU_SOURCE
#include "measure.h"
#include <dirent.h>
#include <sys/mman.h>

enum { PAGE = 4096, FILE_SIZE = 64 << 20, PART = 16 << 20, NAMES = 1000 };
static char buf[64 << 10] __attribute__((aligned(4096)));
static unsigned seed;

static void no_setup(void)
{
}

static void drop_caches(void)
{
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
    if (fd < 0 || write(fd, "3", 1) != 1)
        fail("drop_caches");
    close(fd);
}

static void row(const char *name, void (*setup)(void), void (*op)(void), unsigned parts)
{
    for (int round = 0; round < ROUNDS; round++) {
        setup();
        seed = 12345u + (unsigned)round;
        uint64_t start = __rdtsc();
        MARK(1);
        op();
        MARK(2);
        uint64_t ticks = __rdtsc() - start;
        printf("%s %u %llu\n", name, parts, (unsigned long long)ticks);
        fflush(stdout);
    }
}

static int must_open(const char *name, int flags)
{
    int fd = open(name, flags, 0644);
    if (fd < 0)
        fail(name);
    return fd;
}

/* --- data --- */

static void read_all(void)
{
    int fd = must_open("/img/data", O_RDONLY);
    for (int i = 0; i < PART; i += (int)sizeof(buf))
        if (read(fd, buf, sizeof(buf)) != sizeof(buf))
            fail("read");
    close(fd);
}

static void read_random(void)
{
    int fd = must_open("/img/data", O_RDONLY);
    for (int i = 0; i < 512; i++) {
        seed = seed * 1103515245 + 12345;
        if (pread(fd, buf, PAGE, (off_t)((seed >> 8) % (PART / PAGE)) * PAGE) != PAGE)
            fail("pread");
    }
    close(fd);
}

static void read_random_far(void)
{
    int fd = must_open("/img/data", O_RDONLY);
    for (int i = 0; i < 512; i++) {
        seed = seed * 1103515245 + 12345;
        if (pread(fd, buf, PAGE, (off_t)((seed >> 8) % (FILE_SIZE / PAGE)) * PAGE) != PAGE)
            fail("pread");
    }
    close(fd);
}

static void read_mapped(void)
{
    int fd = must_open("/img/data", O_RDONLY);
    volatile char *m = mmap(NULL, PART, PROT_READ, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        fail("mmap");
    for (int i = 0; i < PART; i += PAGE)
        (void)m[i];
    munmap((void *)m, PART);
    close(fd);
}

static void read_direct(void)
{
    int fd = must_open("/dev/vda", O_RDONLY | O_DIRECT);
    for (int i = 0; i < 64; i++)
        if (pread(fd, buf, sizeof(buf), (off_t)i * (off_t)sizeof(buf)) != sizeof(buf))
            fail("O_DIRECT");
    close(fd);
}

static void write_all(void)
{
    int fd = must_open("/disk/big", O_RDWR | O_CREAT | O_TRUNC);
    for (int i = 0; i < PART; i += (int)sizeof(buf))
        if (write(fd, buf, sizeof(buf)) != sizeof(buf))
            fail("write");
    if (fsync(fd))
        fail("fsync");
    close(fd);
}

static void write_synced(void)
{
    int fd = must_open("/disk/log", O_RDWR | O_CREAT | O_TRUNC);
    for (int i = 0; i < 32; i++)
        if (write(fd, buf, PAGE) != PAGE || fsync(fd))
            fail("fsync");
    close(fd);
}

/* --- names --- */

static void name_of(char *name, const char *directory, int i)
{
    sprintf(name, "%s/file%d", directory, i);
}

static void create_in(const char *directory)
{
    char name[64];
    for (int i = 0; i < NAMES; i++) {
        name_of(name, directory, i);
        close(must_open(name, O_WRONLY | O_CREAT | O_EXCL));
    }
    for (int i = 0; i < NAMES; i++) {
        name_of(name, directory, i);
        if (unlink(name))
            fail("unlink");
    }
}

static void create_memory(void)
{
    create_in("/mem");
}

static void create_disk(void)
{
    create_in("/disk");
}

static void stat_many(void)
{
    char name[64];
    struct stat st;
    for (int i = 0; i < NAMES; i++) {
        name_of(name, "/img/many", i);
        if (stat(name, &st))
            fail("stat");
    }
}

#define DEEP "/img/deep/a/b/c/d/e/f/g/h/file"
static void stat_deep(void)
{
    struct stat st;
    for (int i = 0; i < 1000; i++)
        if (stat(DEEP, &st))
            fail("stat");
}

static void open_deep(void)
{
    for (int i = 0; i < 1000; i++)
        close(must_open(DEEP, O_RDONLY));
}

static void list(void)
{
    DIR *d = opendir("/img/many");
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    if (n != NAMES + 2)
        fail("readdir");
}

/* --- the machine --- */

static void prepare(void)
{
    load_modules();
    mount("none", "/proc", "proc", 0, NULL);
    mount_disk("/dev/vda", "/img", "erofs", MS_RDONLY);
    mount_disk("/dev/vdb", "/disk", "ext4", 0);
    mkdir("/mem", 0755);
    if (mount("none", "/mem", "tmpfs", 0, NULL))
        fail("tmpfs");
}

int main(void)
{
    prepare();
    row("seq_cold", drop_caches, read_all, PART / PAGE);
    row("seq_warm", no_setup, read_all, PART / PAGE);
    row("random_warm", no_setup, read_random, 512);
    row("mmap_warm", no_setup, read_mapped, PART / PAGE);
    row("random_cold", drop_caches, read_random_far, 512);
    row("mmap_cold", drop_caches, read_mapped, PART / PAGE);
    row("direct", no_setup, read_direct, 64);
    row("stat_cold", drop_caches, stat_many, NAMES);
    row("stat_warm", no_setup, stat_many, NAMES);
    row("stat_deep", no_setup, stat_deep, 1000);
    row("open_deep", no_setup, open_deep, 1000);
    row("list_cold", drop_caches, list, NAMES);
    row("list_warm", no_setup, list, NAMES);
    row("create_memory", no_setup, create_memory, NAMES);
    row("create_disk", no_setup, create_disk, NAMES);
    row("write", no_setup, write_all, PART / PAGE);
    row("write_fsync", no_setup, write_synced, 32);
    report_rate();
    return finish();
}
