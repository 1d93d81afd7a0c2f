// openat2(2): the structure's size, flags that do not go together, and how far a walk may go; O_CREAT, O_TMPFILE and link(2) at
// their edges; rename(2) between names of one file; directories of /proc whose process has ended.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

// As <linux/openat2.h>, which not every C library finds.
struct open_how {
    uint64_t flags, mode, resolve;
};
enum { RESOLVE_NO_XDEV = 1, RESOLVE_NO_MAGICLINKS = 2, RESOLVE_NO_SYMLINKS = 4, RESOLVE_BENEATH = 8, RESOLVE_IN_ROOT = 16 };

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif

static long open2(int at, const char *name, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .resolve = resolve};
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
        how.mode = 0600;
    long fd = syscall(SYS_openat2, at, name, &how, sizeof how);
    if (fd >= 0)
        close((int)fd);
    return fd < 0 ? -1 : 0;
}

static void structure(void)
{
    section("openat2");
    struct {
        struct open_how how;
        char rest[5000];
    } big = {.how = {.flags = O_RDONLY}};
    SHOW(syscall(SYS_openat2, AT_FDCWD, "f", &big, sizeof big.how - 1));
    SHOW(close((int)syscall(SYS_openat2, AT_FDCWD, "f", &big, sizeof big.how + 8)));
    SHOW(close((int)syscall(SYS_openat2, AT_FDCWD, "f", &big, 200)));
    SHOW(close((int)syscall(SYS_openat2, AT_FDCWD, "f", &big, 4096)));
    SHOW(syscall(SYS_openat2, AT_FDCWD, "f", &big, 4097));
    big.rest[100] = 1;
    SHOW(syscall(SYS_openat2, AT_FDCWD, "f", &big, 200));
    SHOW(close((int)syscall(SYS_openat2, AT_FDCWD, "f", &big, 100)));
    SHOW(open2(AT_FDCWD, "f", O_PATH | O_RDWR, 0));
    SHOW(open2(AT_FDCWD, "f", O_PATH | O_CLOEXEC | O_NOFOLLOW, 0));
    SHOW(open2(AT_FDCWD, "f", 1UL << 40, 0));
    SHOW(open2(AT_FDCWD, "f", O_RDONLY, 1 << 20));
    SHOW(open2(AT_FDCWD, "f", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
}

static void walks(void)
{
    section("walks");
    int d = open("d", O_RDONLY | O_DIRECTORY);
    SHOW(open2(d, "inner", O_RDONLY, RESOLVE_BENEATH));
    SHOW(open2(d, "../f", O_RDONLY, RESOLVE_BENEATH));
    SHOW(open2(d, "up", O_RDONLY, RESOLVE_BENEATH));
    SHOW(open2(d, "/f", O_RDONLY, RESOLVE_BENEATH));
    SHOW(open2(d, "..", O_TMPFILE | O_RDWR, RESOLVE_BENEATH));
    SHOW(open2(d, "../new", O_CREAT | O_RDWR, RESOLVE_BENEATH));
    SHOW(open2(d, "/../inner", O_RDONLY, RESOLVE_IN_ROOT));
    SHOW(open2(d, "up", O_RDONLY, RESOLVE_NO_SYMLINKS));
    SHOW(open2(d, "up", O_RDONLY, RESOLVE_NO_XDEV));
    SHOW(open2(AT_FDCWD, "/proc/self/status", O_RDONLY, RESOLVE_NO_XDEV));
    int proc = open("/proc", O_RDONLY | O_DIRECTORY);
    SHOW(open2(proc, "self/status", O_RDONLY, RESOLVE_NO_XDEV));
    SHOW(open2(proc, "..", O_RDONLY, RESOLVE_NO_XDEV));
    SHOW(open2(proc, "self/cwd", O_RDONLY, RESOLVE_NO_XDEV));
    SHOW(open2(proc, "self/cwd", O_RDONLY, RESOLVE_NO_MAGICLINKS));
    close(proc);
    close(d);
}

static void creation(void)
{
    section("creation");
    SHOW(open("f/", O_RDWR | O_CREAT, 0600));
    SHOW(open("link/", O_RDWR | O_CREAT, 0600));
    SHOW(open("nothing/", O_RDWR | O_CREAT, 0600));
    SHOW(open("/proc/self/cwd", O_RDONLY | O_CREAT, 0600));
    SHOW(open(".", O_TMPFILE | O_RDONLY, 0600));
    SHOW(open(".", O_TMPFILE | O_RDWR | O_CREAT, 0600));
    SHOW(open("missing", O_TMPFILE | O_RDONLY, 0600));
    SHOW(open("link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
}

static bool link_open(int fd, const char *name)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
}

static void links(void)
{
    section("links");
    struct stat st;
    int fd = open("deleted", O_RDWR | O_CREAT, 0600);
    unlink("deleted");
    SHOW(link_open(fd, "again") ? 0 : -1);
    SHOW(fstat(fd, &st));
    printf("links %lu\n", (unsigned long)st.st_nlink);
    close(fd);
    // Not every file system knows O_TMPFILE.
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    bool none = fd < 0 && errno == EOPNOTSUPP;
    HOLDS(none || link_open(fd, "named"));
    HOLDS(none || link_open(fd, "named twice"));
    HOLDS(none || (unlink("named") == 0 && unlink("named twice") == 0));
    HOLDS(none || (!link_open(fd, "third") && errno == ENOENT));
    close(fd);
    fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    HOLDS(none || (fd >= 0 && !link_open(fd, "never") && errno == ENOENT));
    close(fd);

    section("rename");
    SHOW(mkdir("from", 0700));
    SHOW(mkdir("to", 0700));
    SHOW(close(open("from/a", O_RDWR | O_CREAT, 0600)));
    SHOW(link("from/a", "to/b"));
    SHOW(chmod("to", 0500));
    SHOW(rename("from/a", "to/b")); // one file: whatever the rights
    SHOW(access("from/a", F_OK));
    SHOW(chmod("to", 0700));
    SHOW(rename("f", "to"));
    SHOW(rename("to", "f"));
    SHOW(rename("from", "to"));
    SHOW(rename("to/b", "to"));
    SHOW(rename("missing/", "f"));
    char name[300] = "long-";
    memset(name + 5, 'n', 200);
    SHOW(rename("to/b", name));
    SHOW(rename(name, "to/b"));
}

static void *append(void *arg)
{
    int fd = open("log", O_WRONLY);
    struct iovec v = {"0123456789", 10};
    for (int i = 0; i < 300; i++)
        if (syscall(SYS_pwritev2, fd, &v, 1, 0, 0, RWF_APPEND) != 10)
            give_up("pwritev2");
    close(fd);
    return arg;
}

static void times_and_sizes(void)
{
    section("RWF_APPEND");
    close(open("log", O_RDWR | O_CREAT, 0600));
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, append, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    struct stat st;
    SHOW(stat("log", &st));
    printf("size %ld\n", (long)st.st_size);

    section("order of errors");
    struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    SHOW(utimensat(AT_FDCWD, "missing", omit, 0));
    SHOW(syscall(SYS_utimes, NULL, NULL));
    SHOW(syscall(SYS_fallocate, 77, 0, -1L, 0L));
    char small[4] = "";
    SHOW(syscall(SYS_readlink, "link", small, (1UL << 32) + 2));
    printf("%s\n", small);
}

static void ended(void)
{
    section("a process that has ended");
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    char name[40];
    snprintf(name, sizeof name, "/proc/%d", child);
    int dir = open(name, O_RDONLY | O_DIRECTORY), file = openat(dir, "status", O_RDONLY);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    SHOW(openat(dir, "status", O_RDONLY));
    SHOW(openat(dir, "fd", O_RDONLY));
    SHOW(read(file, name, sizeof name));
    char buf[1024];
    SHOW(syscall(SYS_getdents64, dir, buf, sizeof buf));
}

int main(void)
{
    umask(022);
    SHOW(mkdir("d", 0755));
    SHOW(close(open("f", O_RDWR | O_CREAT, 0644)));
    SHOW(close(open("d/inner", O_RDWR | O_CREAT, 0644)));
    SHOW(symlink("../f", "d/up"));
    SHOW(symlink("f", "link"));
    structure();
    walks();
    creation();
    links();
    times_and_sizes();
    ended();
    return 0;
}
