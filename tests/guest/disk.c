// runner: none
// Block devices: `disk calls DEVICE` prints what the calls answer; `disk random DEVICE THREADS ROUNDS SEED` does direct, cached and
// mapped I/O in several threads, each in pieces of its own, checks what it reads, and prints the checksum of all; `disk bad DEVICE
// OFFSET...` shows which pages can be read and whether fsync tells of writes that failed.
#include "check.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static uint64_t size;
static char *buf; // aligned
static char *volatile nowhere = (char *)4096;

static uint32_t crc(uint32_t c, const void *data, size_t n)
{
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t v = i;
            for (int k = 0; k < 8; k++)
                v = v >> 1 ^ (v & 1 ? 0xedb88320u : 0);
            table[i] = v;
        }
    c = ~c;
    for (const unsigned char *p = data; n--; p++)
        c = c >> 8 ^ table[(c ^ *p) & 255];
    return ~c;
}

static void show_number(const char *name, int fd, unsigned long cmd, int bytes)
{
    uint64_t v = 0;
    int r = ioctl(fd, cmd, &v);
    if (r < 0)
        printf("%s: %s\n", name, errno_name(errno));
    else
        printf("%s: %llu\n", name, (unsigned long long)(bytes == 8 ? v : bytes == 2 ? (uint16_t)v : (uint32_t)v));
}
#define NUMBER(cmd, bytes) show_number(#cmd, fd, cmd, bytes)

static void show_same(const char *what, const void *data, int byte, size_t n)
{
    const unsigned char *p = data;
    size_t i = 0;
    while (i < n && p[i] == byte)
        i++;
    printf("%s: %s\n", what, i == n ? "as expected" : "WRONG");
}

static void numbers(int fd)
{
    NUMBER(BLKGETSIZE64, 8);
    NUMBER(BLKGETSIZE, 8);
    NUMBER(BLKSSZGET, 4);
    NUMBER(BLKPBSZGET, 4);
    NUMBER(BLKBSZGET, 4);
    NUMBER(BLKROGET, 4);
    NUMBER(BLKIOMIN, 4);
    NUMBER(BLKIOOPT, 4);
    NUMBER(BLKALIGNOFF, 4);
    NUMBER(BLKRAGET, 8);
    NUMBER(BLKROTATIONAL, 2);
    NUMBER(BLKDISCARDZEROES, 4);
    SHOW(ioctl(fd, BLKGETSIZE64, NULL));
    SHOW(ioctl(fd, 0x12ff, NULL));
    SHOW(ioctl(fd, 0x5401, buf));
}

static void ends(int fd)
{
    SHOW(lseek(fd, 0, SEEK_END) == (off_t)size);
    SHOW(lseek(fd, size + 5, SEEK_SET) == (off_t)size + 5);
    SHOW(lseek(fd, 10, SEEK_DATA));
    SHOW(lseek(fd, 10, SEEK_HOLE) == (off_t)size);
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(pread(fd, buf, 100, size));
    SHOW(pread(fd, buf, 100, size + 1000));
    SHOW(pread(fd, buf, 100, size - 40));
    SHOW(pwrite(fd, buf, 100, size));
    SHOW(pwrite(fd, buf, 100, size + 1000));
    SHOW(pwrite(fd, buf, 0, size));
    SHOW(pwrite(fd, buf, 100, size - 40));
    SHOW(pwrite(fd, nowhere, 100, 0));
    SHOW(ftruncate(fd, 100));
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents == (POLLIN | POLLOUT));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    // The last page: what is behind the end reads as zeroes.
    uint64_t last = (size - 1) & ~4095ull;
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, last);
    SHOW_OK((long)m);
    if (m != MAP_FAILED && size % 4096)
        show_same("behind the end", m + size % 4096, 0, 4096 - size % 4096);
    munmap(m, 4096);
}

static void ranges(int fd, int read_only_fd)
{
    uint64_t range[2] = {4096, 4096};
    memset(buf, 7, 65536);
    SHOW(pwrite(fd, buf, 65536, 0));
    SHOW(ioctl(read_only_fd, BLKZEROOUT, range));
    SHOW(ioctl(read_only_fd, BLKDISCARD, range));
    SHOW(ioctl(fd, BLKZEROOUT, NULL));
    SHOW(ioctl(fd, BLKZEROOUT, range));
    SHOW(pread(fd, buf, 16384, 0));
    show_same("before", buf, 7, 4096);
    show_same("zeroed", buf + 4096, 0, 4096);
    show_same("behind", buf + 8192, 7, 8192);
    range[0] = 100;
    SHOW(ioctl(fd, BLKZEROOUT, range));
    SHOW(ioctl(fd, BLKDISCARD, range));
    range[0] = size;
    SHOW(ioctl(fd, BLKZEROOUT, range));
    SHOW(ioctl(fd, BLKDISCARD, range));
    range[0] = 0, range[1] = -4096ull;
    SHOW(ioctl(fd, BLKZEROOUT, range));
    range[0] = 32768, range[1] = 8192;
    SHOW(ioctl(fd, BLKDISCARD, range));
    SHOW(pread(fd, buf, 4096, 32768 + 8192));
    show_same("behind what was discarded", buf, 7, 4096);
    SHOW(fallocate(fd, 0, 0, 4096));
    SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
    SHOW(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
    SHOW(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 100, 4096));
    SHOW(fallocate(fd, FALLOC_FL_ZERO_RANGE, size, 4096));
    SHOW(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, size + 4096));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 12288, 4096));
    SHOW(fallocate(read_only_fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
    SHOW(pread(fd, buf, 20480, 0));
    show_same("zero range", buf, 0, 8192);
    show_same("between", buf + 8192, 7, 4096);
    show_same("hole", buf + 12288, 0, 4096);
    SHOW(ioctl(fd, BLKFLSBUF, 0));
    SHOW(pread(fd, buf, 20480, 0));
    show_same("zero range", buf, 0, 8192);
}

static void direct(const char *path, int fd)
{
    int block = 512;
    ioctl(fd, BLKSSZGET, &block);
    int d = open(path, O_RDWR | O_DIRECT);
    SHOW_OK(d);
    SHOW(pread(d, buf, 100, 0));
    SHOW(pread(d, buf, 4096, 100));
    SHOW(pread(d, buf + 1, 4096, 0));
    SHOW(pread(d, buf, block, 0) == block);
    SHOW(pread(d, buf, 4096, size));
    SHOW(pread(d, buf, 4096, size - block) == block);
    SHOW(pwrite(d, buf, 4096, size));
    SHOW(pwrite(d, buf, 4096, size - block) == block);
    SHOW(pwrite(d, nowhere, 4096, 0));
    // What one way wrote, the others see.
    memset(buf, 1, 8192);
    SHOW(pwrite(fd, buf, 8192, 65536));
    SHOW(pread(d, buf + 8192, 8192, 65536));
    show_same("cached, then direct", buf + 8192, 1, 8192);
    memset(buf, 2, 4096);
    SHOW(pwrite(d, buf, 4096, 65536));
    SHOW(pread(fd, buf + 8192, 8192, 65536));
    show_same("direct, then cached", buf + 8192, 2, 4096);
    show_same("the page behind", buf + 12288, 1, 4096);
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 65536);
    memset(m + 4096, 3, 4096);
    SHOW(pread(d, buf, 8192, 65536));
    show_same("mapped, then direct", buf + 4096, 3, 4096);
    memset(buf, 4, 8192);
    SHOW(pwrite(d, buf, 8192, 65536));
    show_same("direct, then mapped", m, 4, 8192);
    SHOW(munmap(m, 8192));
    SHOW(fcntl(d, F_SETFL, 0));
    SHOW(pread(d, buf, 100, 1));
    close(d);
    d = open(path, O_RDWR | O_DSYNC);
    SHOW(pwrite(d, buf, 5000, 70000));
    close(d);
}

static void openings(const char *path, int fd)
{
    struct stat st;
    fstat(fd, &st);
    SHOW(S_ISBLK(st.st_mode));
    SHOW(st.st_size);
    int a = open(path, O_RDONLY | O_EXCL);
    SHOW_OK(a);
    SHOW(open(path, O_RDONLY | O_EXCL));
    SHOW(open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    close(a);
    a = open(path, O_RDWR | O_EXCL | O_TRUNC);
    SHOW_OK(a);
    SHOW(lseek(a, 0, SEEK_END) == (off_t)size);
    close(a);
    SHOW(mknod("/other", S_IFBLK | 0644, st.st_rdev));
    a = open("/other", O_RDONLY);
    SHOW_OK(a);
    memset(buf, 9, 4096);
    SHOW(pwrite(fd, buf, 4096, 4096));
    SHOW(pread(a, buf + 4096, 4096, 4096));
    show_same("through another node", buf + 4096, 9, 4096);
    SHOW(pwrite(a, buf, 4096, 0));
    SHOW_OK((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0));
    int p[2];
    SHOW(pipe(p));
    SHOW(sendfile(p[1], a, NULL, 4096));
    SHOW(read(p[0], buf, 8192));
    off_t at = 0;
    SHOW(copy_file_range(a, &at, fd, NULL, 100, 0));
    close(a);
    SHOW(mknod("/none", S_IFBLK | 0644, makedev(254, 200)));
    SHOW(open("/none", O_RDONLY));
    fflush(stdout);
    if (fork() == 0) {
        setgid(1000);
        setuid(1000);
        SHOW(open(path, O_RDONLY));
        SHOW(open("/other", O_RDWR));
        SHOW(ioctl(fd, BLKFLSBUF, 0));
        exit(0);
    }
    wait(NULL);
    unlink("/other");
    unlink("/none");
}

static void calls(const char *path)
{
    int fd = open(path, O_RDWR), ro = open(path, O_RDONLY);
    ioctl(fd, BLKGETSIZE64, &size);
    numbers(fd);
    openings(path, fd);
    ends(fd);
    ranges(fd, ro);
    direct(path, fd);
    SHOW(fsync(fd));
}

// A device that cannot be written: it opens, and says so later.
static void calls_read_only(const char *path)
{
    int fd = open(path, O_RDWR);
    ioctl(fd, BLKGETSIZE64, &size);
    SHOW_OK(fd);
    NUMBER(BLKROGET, 4);
    SHOW(pread(fd, buf, 4096, 0));
    SHOW(pwrite(fd, buf, 4096, 0));
    SHOW(pwrite(fd, buf, 0, 0));
    SHOW(pwrite(fd, buf, 4096, size));
    uint64_t range[2] = {0, 4096};
    SHOW(ioctl(fd, BLKZEROOUT, range));
    SHOW(fsync(fd));
    int d = open(path, O_RDWR | O_DIRECT);
    SHOW(pwrite(d, buf, 4096, 0));
    SHOW(pread(d, buf, 4096, 0));
}

// --- random I/O ---

static char *model;
static const char *device;
static int rounds, threads;
static unsigned seed;
#define PIECE 65536u // bytes that belong to one thread, in turn

static void *worker(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg, state = seed * 31 + me;
    int fd = open(device, O_RDWR), d = open(device, O_RDWR | O_DIRECT);
    char *mine, *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (posix_memalign((void **)&mine, 4096, PIECE) || map == MAP_FAILED || d < 0) {
        printf("thread %u: no memory\n", me);
        exit(1);
    }
    for (int i = 0; i < rounds; i++) {
        unsigned piece = me + (unsigned)(rand_r(&state) % (size / PIECE / threads)) * threads;
        unsigned kind = rand_r(&state) % 8, at = rand_r(&state) % PIECE, n = 1 + rand_r(&state) % (PIECE - at);
        int block = 4096;
        bool past = kind == 2 || kind == 3; // O_DIRECT
        if (past)
            at &= ~(block - 1), n = (n + block - 1) & ~(block - 1);
        uint64_t pos = (uint64_t)piece * PIECE + at;
        if (kind == 1 || kind == 3 || kind == 5) {
            for (unsigned k = 0; k < n; k++)
                mine[k] = (char)(k * 7 + i + me);
            memcpy(model + pos, mine, n);
        }
        ssize_t r = n;
        switch (kind) {
        case 0: case 6: r = pread(fd, mine, n, pos); break;
        case 1: r = pwrite(fd, mine, n, pos); break;
        case 2: r = pread(d, mine, n, pos); break;
        case 3: r = pwrite(d, mine, n, pos); break;
        case 4: memcpy(mine, map + pos, n); break;
        case 5: memcpy(map + pos, mine, n); break;
        case 7: r = rand_r(&state) % 8 ? 0 : fsync(fd); continue;
        }
        if (r != n || memcmp(mine, model + pos, n)) {
            printf("thread %u, round %d, kind %u, %u bytes at %llu: %s\n", me, i, kind, n, (unsigned long long)pos,
                   r == n ? "not what was written" : errno_name(errno));
            exit(1);
        }
    }
    return NULL;
}

static void random_io(char **argv)
{
    device = argv[2], threads = atoi(argv[3]), rounds = atoi(argv[4]), seed = (unsigned)atoi(argv[5]);
    int fd = open(device, O_RDWR);
    ioctl(fd, BLKGETSIZE64, &size);
    size -= size % (PIECE * threads);
    model = malloc(size);
    if (pread(fd, model, size, 0) != (ssize_t)size)
        printf("cannot be read\n");
    pthread_t t[16];
    for (int i = 0; i < threads; i++)
        pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)i);
    for (int i = 0; i < threads; i++)
        pthread_join(t[i], NULL);
    fsync(fd);
    printf("%08x\n", crc(0, model, size));
}

// --- devices that fail ---

static void bad(char **argv)
{
    int fd = open(argv[2], O_RDWR);
    for (char **a = argv + 3; *a; a++) {
        uint64_t at = strtoull(*a, NULL, 0);
        printf("page at %llu: ", (unsigned long long)at);
        SHOW(pread(fd, buf, 4096, at));
        SHOW(pread(fd, buf, 4096, at - 4096));
        SHOW(pread(fd, buf, 4096, at + 4096));
        SHOW(pread(fd, buf, 8192, at - 4096));
        SHOW(pread(fd, buf, 65536, at - 32768));
        int d = open(argv[2], O_RDWR | O_DIRECT);
        SHOW(pread(d, buf, 4096, at));
        SHOW(pread(d, buf, 4096, at + 4096));
        memset(buf, 1, 4096);
        SHOW(pwrite(fd, buf, 4096, at));
        SHOW(fsync(fd));
        SHOW(fsync(fd)); // told once
        SHOW(pwrite(fd, buf, 4096, at + 4096));
        SHOW(fsync(fd));
        SHOW(pwrite(d, buf, 4096, at));
        SHOW(pwrite(d, buf, 4096, at + 8192));
        SHOW(fsync(fd));
        close(d);
    }
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (posix_memalign((void **)&buf, 4096, 1 << 20) || argc < 3)
        return 2;
    if (strcmp(argv[1], "calls") == 0)
        calls(argv[2]);
    else if (strcmp(argv[1], "readonly") == 0)
        calls_read_only(argv[2]);
    else if (strcmp(argv[1], "random") == 0)
        random_io(argv);
    else
        bad(argv);
    return 0;
}
