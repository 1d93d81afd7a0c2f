// Files of a directory of the host: what must be as on a local file system. Run in a volume and, on Linux, in the directory itself.
// The words are the parts to run; `list N` and `sum FILE` look at what the host has made.
// runner: none
#include "check.h"
#include "probe.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGE 4096L

static char page[PAGE], back[65536];

static void show_file(const char *what, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        printf("%s: %s\n", what, errno_name(errno));
    else
        printf("%s: size %ld, links %ld, mode %o\n", what, (long)st.st_size, (long)st.st_nlink, st.st_mode);
}

static unsigned sum_of(const unsigned char *s, size_t n)
{
    unsigned h = 2166136261u;
    while (n--)
        h = (h ^ *s++) * 16777619u;
    return h;
}

// An open file whose name is gone, or is another file's, is what it was.
static void unlinked(void)
{
    section("unlinked while open");
    int fd = open("u", O_RDWR | O_CREAT, 0640);
    SHOW(write(fd, "0123456789", 10));
    SHOW(unlink("u"));
    show_file("gone", fd);
    SHOW(pwrite(fd, "abc", 3, 8));
    show_file("written", fd);
    SHOW(pread(fd, back, 20, 0));
    printf("%.11s\n", back);
    SHOW(ftruncate(fd, 4));
    show_file("cut", fd);
    SHOW(pread(fd, back, 20, 0));
    SHOW(ftruncate(fd, 12));
    memset(back, 'x', 20);
    SHOW(pread(fd, back, 20, 0));
    HOLDS(!memcmp(back, "0123\0\0\0\0\0\0\0\0", 12));
    SHOW(ftruncate(fd, 2));
    SHOW(pwrite(fd, "Z", 1, 6));
    memset(back, 'x', 20);
    SHOW(pread(fd, back, 20, 0));
    HOLDS(!memcmp(back, "01\0\0\0\0Z", 7));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(fchmod(fd, 0600));
    show_file("mode", fd);
    char *m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    HOLDS(m != MAP_FAILED);
    memcpy(m, "MAP", 3);
    SHOW(msync(m, PAGE, MS_SYNC));
    SHOW(pread(fd, back, 20, 0));
    printf("%.3s\n", back);
    SHOW(close(fd));
    printf("%.3s\n", m);
    SHOW(munmap(m, PAGE));
    SHOW(access("u", F_OK));

    section("replaced while open");
    fd = open("old", O_RDWR | O_CREAT, 0644);
    SHOW(write(fd, "old", 3));
    int other = open("new", O_RDWR | O_CREAT, 0644);
    SHOW(write(other, "newer", 5));
    SHOW(rename("new", "old"));
    show_file("old", fd);
    show_file("new", other);
    SHOW(pread(fd, back, 10, 0));
    printf("%.3s\n", back);
    int again = open("old", O_RDONLY);
    SHOW(pread(again, back, 10, 0));
    printf("%.5s\n", back);
    close(fd), close(other), close(again);
    SHOW(unlink("old"));

    section("two names");
    fd = open("one", O_RDWR | O_CREAT, 0644);
    SHOW(write(fd, "both", 4));
    SHOW(link("one", "two"));
    show_file("linked", fd);
    SHOW(unlink("one"));
    show_file("one name less", fd);
    SHOW(ftruncate(fd, 2));
    SHOW(truncate("two", 3));
    show_file("cut", fd);
    SHOW(unlink("two"));
    show_file("none", fd);
    close(fd);
}

static void appended(void)
{
    section("appended");
    int fd = open("a", O_WRONLY | O_CREAT | O_APPEND, 0644), other = open("a", O_RDWR);
    SHOW(write(fd, "one", 3));
    SHOW(pwrite(other, "two", 3, 3));
    SHOW(write(fd, "three", 5));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(pread(other, back, 20, 0));
    printf("%.11s\n", back);
    struct iovec v[2] = {{"fo", 2}, {"ur", 2}};
    SHOW(lseek(other, 0, SEEK_SET));
    SHOW(syscall(SYS_pwritev2, other, v, 2, -1L, 0L, 0x10)); // RWF_APPEND
    show_file("a", other);
    SHOW(fcntl(fd, F_SETFL, 0));
    SHOW(pwrite(fd, "ONE", 3, 0));
    SHOW(fcntl(other, F_SETFL, O_APPEND));
    SHOW(write(other, "!", 1));
    SHOW(pread(other, back, 20, 0));
    printf("%.16s\n", back);
    SHOW(close(fd));
    fd = open("a", O_WRONLY | O_TRUNC);
    show_file("emptied", other);
    SHOW(open("a", O_WRONLY | O_CREAT | O_EXCL, 0644));
    SHOW(open("a", O_RDWR | O_DIRECTORY));
    close(fd), close(other);
    SHOW(unlink("a"));
}

static void mapped(void)
{
    section("mapped");
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &sa, NULL);
    int fd = open("m", O_RDWR | O_CREAT, 0644);
    for (int i = 0; i < 8; i++) {
        memset(page, 'a' + i, PAGE);
        if (write(fd, page, PAGE) != PAGE)
            give_up("write");
    }
    char *m = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    HOLDS(m != MAP_FAILED);
    unsigned seen = 0;
    for (int i = 0; i < 8; i++)
        seen = seen * 31 + (unsigned char)m[i * PAGE + 17];
    printf("%u\n", seen);
    memcpy(m + 2 * PAGE, "stored", 6);
    SHOW(pread(fd, back, 6, 2 * PAGE));
    printf("%.6s\n", back);
    SHOW(pwrite(fd, "written", 7, 2 * PAGE + 3));
    printf("%.10s\n", m + 2 * PAGE);
    SHOW(pread(fd, back, 10, 2 * PAGE));
    printf("%.10s\n", back);
    SHOW(msync(m, 8 * PAGE, MS_SYNC));
    if (fork() == 0) { // another process' mapping of the same file
        int mine = open("m", O_RDWR);
        char *n = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mine, 0);
        printf("%.10s\n", n + 2 * PAGE);
        memcpy(n + 5 * PAGE, "child", 5);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    printf("%.5s\n", m + 5 * PAGE);
    SHOW(pread(fd, back, 5, 5 * PAGE));
    printf("%.5s\n", back);
    SHOW(ftruncate(fd, 4 * PAGE));
    probe("behind the end", m + 5 * PAGE);
    probe_write("a store there", m + 6 * PAGE);
    SHOW(ftruncate(fd, 8 * PAGE));
    probe("grown", m + 5 * PAGE);
    memcpy(m + 7 * PAGE, "left", 4); // to be seen on the host, nobody has written it explicitly
    SHOW(munmap(m, 8 * PAGE));
    SHOW(close(fd));
    fd = open("m", O_RDONLY);
    ssize_t n = read(fd, back, sizeof back);
    printf("%ld bytes, %08x\n", (long)n, sum_of((unsigned char *)back, (size_t)n));
    close(fd);
}

static void large(void)
{
    section("large");
    const off_t far = (5L << 30) + 5;
    int fd = open("big", O_RDWR | O_CREAT, 0644);
    SHOW(pwrite(fd, "far", 3, far));
    show_file("big", fd);
    SHOW(pread(fd, back, 10, far));
    printf("%.3s\n", back);
    SHOW(pread(fd, back, 10, far - 5));
    HOLDS(!memcmp(back, "\0\0\0\0\0far", 8));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(ftruncate(fd, 6L << 30));
    show_file("larger", fd);
    char *m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5L << 30);
    printf("%.3s\n", m + 5);
    memcpy(m + 10, "mapped", 6);
    SHOW(munmap(m, 2 * PAGE));
    SHOW(pread(fd, back, 6, far + 5));
    printf("%.6s\n", back);
    SHOW(close(fd));
    SHOW(unlink("big"));

    section("a megabyte and a bit, in one call and in odd pieces");
    size_t size = (1 << 20) + 4321;
    unsigned char *data = malloc(size), *copy = calloc(1, size + 100);
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
    fd = open("mb", O_RDWR | O_CREAT, 0644);
    SHOW(write(fd, data, size));
    SHOW(pread(fd, copy, size + 100, 0));
    HOLDS(!memcmp(data, copy, size));
    SHOW(pread(fd, copy, size, 777777));
    HOLDS(!memcmp(data + 777777, copy, size - 777777));
    for (size_t at = 0, step = 1; at < size; at += step, step = step * 3 % 70001)
        if (pwrite(fd, copy, step < size - at ? step : size - at, (off_t)at) < 0)
            give_up("pwrite");
    SHOW(lseek(fd, 0, SEEK_SET));
    unsigned h = 0;
    for (ssize_t n; (n = read(fd, back, 10007)) > 0;)
        h = h * 31 + sum_of((unsigned char *)back, (size_t)n);
    printf("%08x\n", h);
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    close(fd);
}

static void names(void)
{
    section("names");
    char name[256];
    for (int i = 0; i < 255; i++)
        name[i] = (char)(i + 1 == '/' ? '_' : i + 1);
    name[255] = 0;
    SHOW(close(open(name, O_WRONLY | O_CREAT, 0644)));
    SHOW(access(name, F_OK));
    SHOW(mkdir("d", 0755));
    SHOW(rename(name, "d/x"));
    SHOW(mkdir("d/e", 0700));
    SHOW(rmdir("d"));
    SHOW(rename("d", "d/e/f"));
    SHOW(rename("d", "g"));
    SHOW(access("g/x", F_OK));
    SHOW(access("d", F_OK));
    SHOW(symlink("g/x", "s"));
    SHOW(readlink("s", back, sizeof back));
    SHOW(access("s", F_OK));
    SHOW(symlink("/nowhere", "t"));
    SHOW(access("t", F_OK));
    SHOW(chmod("g/x", 0400));
    struct stat st;
    SHOW(stat("s", &st));
    printf("mode %o\n", st.st_mode);
    SHOW(unlink("g"));
    SHOW(rmdir("g/x"));
    SHOW(unlink("g/x"));
    SHOW(rmdir("g/e"));
    SHOW(chdir("g"));
    SHOW(rmdir("../g"));
    SHOW(open("x", O_CREAT | O_WRONLY, 0644));
    SHOW(chdir(".."));
    SHOW(unlink("s"));
    SHOW(unlink("t"));
    SHOW(mkdir("many", 0755));
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "many/file-%03d", i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0 || write(fd, name, strlen(name)) < 0)
            give_up("%s: %s", name, errno_name(errno));
        close(fd);
    }
    DIR *d = opendir("many");
    int count = 0;
    unsigned sum = 0;
    for (struct dirent *e; (e = readdir(d));) {
        count++;
        sum += sum_of((unsigned char *)e->d_name, strlen(e->d_name));
        if (e->d_name[0] == 'f') {
            snprintf(name, sizeof name, "many/%s", e->d_name);
            if (unlink(name) < 0)
                printf("%s: %s\n", name, errno_name(errno));
        }
    }
    closedir(d);
    printf("%d entries, %08x\n", count, sum);
    SHOW(rmdir("many"));
}

// As somebody else than root: what he makes is his, on the host, too.
static void owned(void)
{
    section("owned");
    struct stat st;
    SHOW(chown(".", 1234, 4321));
    if (fork() == 0) {
        SHOW(setgid(4321));
        SHOW(setuid(1234));
        SHOW(close(open("file", O_WRONLY | O_CREAT, 0640)));
        SHOW(mkdir("dir", 0750));
        SHOW(symlink("x", "sym"));
        SHOW(close(open("dir/below", O_WRONLY | O_CREAT, 0600)));
        SHOW(chown("file", 0, 0));
        SHOW(stat("dir/below", &st));
        HOLDS(st.st_uid == 1234 && st.st_gid == 4321);
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    SHOW(chown("dir/below", 77, 88));
    SHOW(lstat("sym", &st));
    HOLDS(st.st_uid == 1234 && st.st_gid == 4321);
}

static volatile int done;

static void *look(void *name)
{
    struct stat st;
    while (!done)
        stat(name, &st);
    return NULL;
}

// A file grows and shrinks below its mapping while others look at it: no answer that comes late changes the size.
static void watched(void)
{
    section("watched");
    pthread_t threads[3];
    int fd = open("watched", O_RDWR | O_CREAT, 0600), wrong = 0;
    unsigned char *m = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), b[4096];
    HOLDS(m != MAP_FAILED);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, look, "watched");
    for (int round = 0; round < 12; round++) {
        ftruncate(fd, 0);
        for (int k = 0; k < 8; k++) {
            wrong += ftruncate(fd, 4096 * (k + 1)) != 0;
            memset(m + 4096 * k, k + 1, 4096);
        }
        if (round % 3 == 0) {
            struct stat st;
            msync(m, 8 * 4096, MS_ASYNC);
            ftruncate(fd, 2 * 4096 + 100);
            fstat(fd, &st);
            wrong += st.st_size != 2 * 4096 + 100;
            ftruncate(fd, 8 * 4096);
        }
        for (int k = 0; k < 8; k++) {
            wrong += pread(fd, b, 4096, 4096 * k) != 4096;
            for (int i = 0; i < 4096; i++)
                wrong += b[i] != (round % 3 || 4096 * k + i < 2 * 4096 + 100 ? k + 1 : 0);
        }
    }
    done = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    HOLDS(wrong == 0);
    munmap(m, 8 * 4096);
    close(fd);
}

static void list(int expected)
{
    DIR *d = opendir(".");
    int count = 0;
    unsigned sum = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (!strncmp(e->d_name, "entry", 5)) {
            count++;
            sum += sum_of((unsigned char *)e->d_name, strlen(e->d_name));
        }
    closedir(d);
    printf("%d of %d, %08x\n", count, expected, sum);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        void (*run)(void);
    } parts[] = {{"unlinked", unlinked}, {"appended", appended}, {"mapped", mapped}, {"large", large}, {"names", names}, {"owned", owned}, {"watched", watched}};
    umask(022);
    for (int i = 1; i < argc; i++) {
        for (unsigned p = 0; p < sizeof parts / sizeof parts[0]; p++)
            if (!strcmp(argv[i], parts[p].word))
                parts[p].run();
        if (!strcmp(argv[i], "list") && i + 1 < argc)
            list(atoi(argv[++i]));
        fflush(stdout);
    }
    return 0;
}
