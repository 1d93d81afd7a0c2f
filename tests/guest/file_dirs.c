// Directories: reading them in small pieces, changing them meanwhile, seekdir, and the working directory.
// build: musl glibc
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct entry { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[]; };

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(const char *path, bool print)
{
    DIR *dir = opendir(path);
    char *names[2000];
    int count = 0;
    struct dirent *d;
    while ((d = readdir(dir)))
        if (asprintf(&names[count++], "%s %d", d->d_name, d->d_type) < 0)
            give_up("memory");
    closedir(dir);
    qsort(names, count, sizeof *names, compare);
    for (int i = 0; i < count; i++) {
        if (print)
            printf("  %s\n", names[i]);
        free(names[i]);
    }
    return count;
}

struct old_entry { unsigned long ino, off; uint16_t reclen; char name[]; };

static void name_of_length(char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        name[i] = (char)('a' + (len * 7 + i * 5 + i / 8) % 26);
    name[len] = 0;
}

// Names of all lengths, by both calls, into a buffer that ends where nothing is mapped.
static void list_lengths(bool old)
{
    static const size_t size = 4096;
    char *buffer = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), want[256];
    int fd = open("lengths", O_RDONLY | O_DIRECTORY), good = 0, wrong = 0;
    munmap(buffer + size, size);
    for (size_t start = 0;; start = (start + 600) % 3000) {
        memset(buffer, 'x', size);
        long n = syscall(old ? SYS_getdents : SYS_getdents64, fd, buffer + start, 2 * size); // as much as fits
        if (n <= 0)
            break;
        for (long at = (long)start; at < (long)start + n;) {
            const struct entry *e = (void *)(buffer + at);
            const struct old_entry *o = (void *)(buffer + at);
            const char *name = old ? o->name : e->name;
            size_t len = strlen(name), reclen = old ? o->reclen : e->reclen;
            int type = old ? (uint8_t)buffer[at + (long)reclen - 1] : e->type;
            name_of_length(want, len);
            bool dots = name[0] == '.';
            if (type == (dots ? DT_DIR : DT_REG) && (dots || !strcmp(name, want)) && reclen == (19 + len + 1 + 7) / 8 * 8 && e->ino)
                good++;
            else
                wrong++;
            at += (long)reclen;
        }
    }
    printf("%d names as they are, %d wrong\n", good, wrong);
    munmap(buffer, size);
    close(fd);
}

int main(void)
{
    char text[PATH_MAX], name[32];
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d/dir", 0755));
    SHOW(close(open("d/file", O_CREAT | O_WRONLY, 0644)));
    SHOW(symlink("file", "d/link"));
    SHOW(mkfifo("d/fifo", 0644));
    list("d", true);

    section("a thousand files, through a small buffer");
    SHOW(mkdir("many", 0755));
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "many/file-%d", i);
        close(open(name, O_CREAT | O_WRONLY, 0644));
    }
    int fd = open("many", O_RDONLY | O_DIRECTORY), count = 0;
    char buffer[128] __attribute__((aligned(8)));
    static bool seen[1000];
    long n;
    bool sane = true;
    while ((n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n;) {
            struct entry *e = (struct entry *)(buffer + at);
            int number;
            sane = sane && e->reclen % 8 == 0 && e->reclen >= 19 + strlen(e->name) + 1 && e->ino;
            if (sscanf(e->name, "file-%d", &number) == 1)
                seen[number] = true;
            count++;
            at += e->reclen;
        }
    printf("end %ld, %d entries, records %s\n", n, count, sane ? "sane" : "WRONG");
    count = 0;
    for (int i = 0; i < 1000; i++)
        count += seen[i];
    printf("%d different files\n", count);
    SHOW(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    SHOW(lseek(fd, 0, SEEK_SET));
    HOLDS(syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0);
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(syscall(SYS_getdents64, fd, buffer, 8));
    SHOW(syscall(SYS_getdents64, fd, (void *)8, 4096));
    SHOW(syscall(SYS_getdents64, 99, buffer, sizeof buffer));
    SHOW(syscall(SYS_getdents64, 1, buffer, sizeof buffer));
    close(fd);

    section("names of all lengths");
    SHOW(mkdir("lengths", 0755));
    for (size_t len = 1; len < 256; len++) {
        strcpy(text, "lengths/");
        name_of_length(text + 8, len);
        close(open(text, O_CREAT | O_WRONLY, 0644));
    }
    list_lengths(false);
    list_lengths(true);

    section("removing what is read");
    DIR *dir = opendir("many");
    struct dirent *d;
    int removed = 0;
    while ((d = readdir(dir)))
        if (d->d_name[0] == 'f' && !unlinkat(dirfd(dir), d->d_name, 0))
            removed++;
    printf("%d removed\n", removed);
    closedir(dir);
    printf("%d left\n", list("many", true));
    SHOW(rmdir("many"));

    section("telldir and seekdir");
    dir = opendir("d");
    readdir(dir);
    readdir(dir);
    long here = telldir(dir);
    d = readdir(dir);
    snprintf(name, sizeof name, "%s", d->d_name);
    readdir(dir);
    seekdir(dir, here);
    d = readdir(dir);
    HOLDS(!strcmp(name, d->d_name));
    rewinddir(dir);
    count = 0;
    while (readdir(dir))
        count++;
    printf("%d entries\n", count);
    closedir(dir);

    section("a removed directory");
    SHOW(mkdir("gone", 0755));
    fd = open("gone", O_RDONLY);
    SHOW(rmdir("gone"));
    SHOW(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    SHOW(openat(fd, "x", O_CREAT | O_RDWR, 0644));
    close(fd);

    section("the working directory");
    char start[PATH_MAX], *at;
    at = getcwd(start, sizeof start);
    HOLDS(at == start);
    size_t skip = strcmp(start, "/") ? strlen(start) : 0;
    SHOW(chdir("d/dir"));
    at = getcwd(text, sizeof text);
    printf("%s\n", at + skip);
    SHOW(chdir("../../d/./dir//..//"));
    at = getcwd(text, sizeof text);
    printf("%s\n", at + skip);
    SHOW(chdir("file"));
    SHOW(chdir("missing"));
    SHOW(chdir(""));
    SHOW(syscall(SYS_getcwd, text, 1));
    SHOW(syscall(SYS_getcwd, (void *)8, 100));
    HOLDS(syscall(SYS_getcwd, text, sizeof text) == (long)strlen(text) + 1);
    fd = open("dir", O_RDONLY);
    SHOW(fchdir(fd));
    SHOW(fchdir(1));
    SHOW(fchdir(99));
    SHOW(rename("../dir", "../renamed"));
    at = getcwd(text, sizeof text);
    printf("%s\n", at + skip);
    SHOW(chdir("/"));
    at = getcwd(text, sizeof text);
    printf("%s\n", at);
    SHOW(chdir("/../../.."));
    at = getcwd(text, sizeof text);
    printf("%s\n", at);
    return 0;
}
