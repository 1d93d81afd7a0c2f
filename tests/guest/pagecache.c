// runner: none
// Files that are larger than memory, and what is left of memory meanwhile. `pagecache read|map|write|store FILE MIB` goes through a file
// whose pages begin with their number and checks each; `pagecache settings FILE` looks at /proc and at advice; `pagecache killed
// FILE MIB` kills readers of a slow disk; `pagecache walk DIR MIB` looks at all files below, then needs the memory itself.
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096ul

static int file;
static size_t size;

static void wrong(const char *what, size_t at) {
    printf("%s: wrong at %#zx\n", what, at);
    exit(1);
}

static void check_page(const char *what, const void *p, size_t at) {
    if (*(const uint64_t *)p != at / PAGE)
        wrong(what, at);
}

static void read_all(const char *what) {
    static char buf[16 * PAGE];
    for (size_t at = 0; at < size; at += sizeof(buf)) {
        if (pread(file, buf, sizeof(buf), (off_t)at) != sizeof(buf))
            wrong(what, at);
        for (size_t i = 0; i < sizeof(buf); i += PAGE)
            check_page(what, buf + i, at + i);
    }
}

static void write_all(void) {
    static char buf[16 * PAGE];
    for (size_t at = 0; at < size; at += sizeof(buf)) {
        for (size_t i = 0; i < sizeof(buf); i += PAGE)
            *(uint64_t *)(buf + i) = (at + i) / PAGE;
        if (pwrite(file, buf, sizeof(buf), (off_t)at) != sizeof(buf))
            wrong("write", at);
    }
    if (fsync(file) != 0)
        wrong("fsync", size);
}

static void map_all(int store) {
    char *p = mmap(NULL, size, store ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
    if (p == MAP_FAILED)
        wrong("mmap", errno);
    for (size_t at = 0; at < size; at += PAGE) {
        if (store)
            *(volatile uint64_t *)(p + at + 8) = ~at;
        check_page("map", p + at, at);
    }
    if (store && msync(p, size, MS_SYNC) != 0)
        wrong("msync", errno);
    for (size_t at = 0; store && at < size; at += PAGE)
        if (*(volatile uint64_t *)(p + at + 8) != ~at)
            wrong("stored", at);
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("major faults: %s\n", r.ru_majflt > 0 ? "some" : "none");
}

static long number_in(const char *name, const char *key) {
    char line[256];
    long value = -1;
    FILE *f = fopen(name, "r");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtol(line + strlen(key), NULL, 10);
    if (f)
        fclose(f);
    return value;
}

static int put(const char *name, const char *text) {
    int fd = open(name, O_WRONLY);
    int err = fd < 0 || write(fd, text, strlen(text)) < 0 ? errno : 0;
    close(fd);
    return err;
}

static long resident(size_t pages) {
    unsigned char vec[1024];
    long n = 0;
    void *p = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (mincore(p, pages * PAGE, vec) != 0)
        return -1;
    for (size_t i = 0; i < pages; i++)
        n += vec[i] & 1;
    munmap(p, pages * PAGE);
    return n;
}

static void settings(void) {
    const char *ratio = "/proc/sys/vm/dirty_ratio", *bytes = "/proc/sys/vm/dirty_bytes";
    printf("ratio %ld bytes %ld\n", number_in(ratio, ""), number_in(bytes, ""));
    printf("set bytes: %d", put(bytes, "1048576"));
    printf(" ratio %ld bytes %ld\n", number_in(ratio, ""), number_in(bytes, ""));
    printf("too few: %d, 101 percent: %d, drop 9: %d\n", put(bytes, "1"), put(ratio, "101"),
           put("/proc/sys/vm/drop_caches", "9"));
    size = 16 << 20;
    long most = 0;
    char page[PAGE] = "x";
    for (size_t at = 0; at < size; at += PAGE) {
        *(uint64_t *)page = at / PAGE;
        if (pwrite(file, page, PAGE, (off_t)at) != (ssize_t)PAGE)
            wrong("write", at);
        if (at % (64 * PAGE) == 0) {
            long now = number_in("/proc/meminfo", "Dirty:") + number_in("/proc/meminfo", "Writeback:");
            most = now > most ? now : most;
        }
    }
    printf("dirty: %s\n", most <= 0 ? "never" : most <= 1100 ? "within the limit" : "too much");
    put(ratio, "20");
    fsync(file);
    printf("after fsync: %ld kB dirty\n", number_in("/proc/meminfo", "Dirty:"));
    /* What is dirty for long is written by itself. */
    put("/proc/sys/vm/dirty_expire_centisecs", "20");
    pwrite(file, page, PAGE, 0);
    long before = number_in("/proc/vmstat", "nr_dirty ");
    for (int i = 0; i < 100 && number_in("/proc/vmstat", "nr_dirty ") > 0; i++)
        usleep(50000);
    printf("aged: %ld, then %ld\n", before, number_in("/proc/vmstat", "nr_dirty "));
    *(uint64_t *)page = 0;
    pwrite(file, page, PAGE, 0);
    fsync(file);

    printf("resident %ld\n", resident(256));
    printf("drop: %d", put("/proc/sys/vm/drop_caches", "3"));
    printf(", resident %ld, cached %s\n", resident(256),
           number_in("/proc/meminfo", "Cached:") < 4096 ? "little" : "much");
    long in = number_in("/proc/vmstat", "pgpgin ");
    posix_fadvise(file, 0, 256 * PAGE, POSIX_FADV_WILLNEED);
    for (int i = 0; i < 100 && resident(256) < 256; i++)
        usleep(10000);
    printf("wanted: resident %ld, read %s\n", resident(256),
           number_in("/proc/vmstat", "pgpgin ") - in >= 1024 ? "1 MiB" : "too little");
    posix_fadvise(file, 0, 128 * PAGE, POSIX_FADV_DONTNEED);
    printf("not wanted: resident %ld\n", resident(256));
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
    pread(file, page, 1, 0);
    pread(file, page, 1, PAGE);
    printf("random: resident %ld\n", resident(256));
    read_all("read back");
}

static long seen;

static int look(const char *path, const struct stat *s, int type, struct FTW *w) {
    char buf[32];
    if (type == FTW_F && S_ISREG(s->st_mode)) {
        int fd = open(path, O_RDONLY);
        seen += read(fd, buf, sizeof(buf)) >= 0;
        close(fd);
    }
    return 0;
}

static void walk(const char *dir, size_t mib) {
    for (int round = 0; round < 2; round++) {
        seen = 0;
        nftw(dir, look, 20, FTW_PHYS | FTW_MOUNT);
        printf("%ld files\n", seen);
    }
    for (int i = 0; i < 10000; i++) { /* names that do not exist are remembered, too */
        char name[128];
        struct stat s;
        snprintf(name, sizeof(name), "%s/no-%d", dir, i);
        if (stat(name, &s) == 0)
            wrong(name, 0);
    }
    volatile char *p = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t at = 0; at < mib << 20; at += PAGE)
        p[at] = 1;
    puts("memory had");
}

// Children wait for pages, by read and by mappings; they are killed, and gone at once.
static void killed(void) {
    pid_t child[6];
    int wait_here[2];
    if (pipe(wait_here) != 0)
        wrong("pipe", errno);
    for (int i = 0; i < 6; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            off_t at = (off_t)(size / 6 * (size_t)i) & ~(off_t)(PAGE - 1);
            char buf[PAGE];
            const volatile char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
            if (i % 3 == 0)
                (void)p[at];
            else if (i % 3 == 1)
                (void)!pread(file, buf, 1, at);
            else
                (void)!write(wait_here[1], (const void *)(p + at), 1); // in the kernel's copy
            for (off_t next = 0;; next += 16 * (off_t)PAGE) // what is on its way comes, and the rest takes long
                if (pread(file, buf, 1, next % (off_t)size) != 1)
                    exit(1);
        }
    }
    sleep(1);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int status, killed = 0;
    for (int i = 0; i < 6; i++)
        kill(child[i], SIGKILL);
    for (int i = 0; i < 6; i++)
        killed += waitpid(child[i], &status, 0) == child[i] && WIFSIGNALED(status) &&
                  WTERMSIG(status) == SIGKILL;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%d killed, %s\n", killed, end.tv_sec - start.tv_sec < 4 ? "soon" : "late");
}

int main(int argc, char **argv) {
    const char *how = argv[1];
    setvbuf(stdout, NULL, _IONBF, 0);
    size = argc > 3 ? strtoul(argv[3], NULL, 10) << 20 : 0;
    if (strcmp(how, "walk") == 0) {
        walk(argv[2], size >> 20);
        return 0;
    }
    file = open(argv[2], strcmp(how, "read") == 0 || strcmp(how, "map") == 0 ? O_RDONLY : O_RDWR | O_CREAT, 0666);
    if (file < 0)
        wrong(argv[2], errno);
    if (strcmp(how, "read") == 0)
        read_all("read");
    else if (strcmp(how, "write") == 0)
        write_all();
    else if (strcmp(how, "killed") == 0)
        killed();
    else if (strcmp(how, "settings") == 0)
        settings();
    else
        map_all(strcmp(how, "store") == 0);
    puts("done");
    return 0;
}
