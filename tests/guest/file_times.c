// Time stamps: utimensat and what sets which of atime, mtime and ctime.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <utime.h>

static struct stat before;

// Prints which of the three stamps moved since the last call. The clock of file times may be coarse: wait first.
static void moved(const char *what, const char *name)
{
    struct stat st;
    nanosleep(&(struct timespec){0, 12000000}, NULL);
    if (stat(name, &st))
        give_up("%s", name);
#define MOVED(f) (st.f.tv_sec != before.f.tv_sec || st.f.tv_nsec != before.f.tv_nsec)
    printf("%s:%s%s\n", what, MOVED(st_mtim) ? " mtime" : "", MOVED(st_ctim) ? " ctime" : "");
    before = st;
}

static void show_times(const char *name)
{
    struct stat st;
    lstat(name, &st);
    printf("%s: atime %ld.%09ld mtime %ld.%09ld\n", name, (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
}

int main(void)
{
    struct timespec ts[2] = {{1000000000, 123456789}, {-5, 1}};
    struct stat st;
    time_t now = time(NULL);
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    fstat(fd, &st);
    HOLDS(st.st_mtim.tv_sec >= now - 1 && st.st_mtim.tv_sec <= now + 5);
    HOLDS(now > 1577836799); // not before 2020

    SHOW(utimensat(AT_FDCWD, "f", ts, 0));
    show_times("f");
    ts[0].tv_nsec = UTIME_OMIT;
    ts[1] = (struct timespec){77, 7};
    SHOW(futimens(fd, ts));
    show_times("f");
    ts[0].tv_nsec = UTIME_NOW;
    ts[1].tv_nsec = UTIME_OMIT;
    SHOW(utimensat(AT_FDCWD, "f", ts, 0));
    fstat(fd, &st);
    HOLDS(st.st_atim.tv_sec >= now - 1 && st.st_mtim.tv_sec == 77);
    ts[0].tv_nsec = 1000000000;
    SHOW(utimensat(AT_FDCWD, "f", ts, 0));
    ts[0].tv_nsec = ts[1].tv_nsec = UTIME_OMIT;
    SHOW(utimensat(AT_FDCWD, "f", ts, 0));
    SHOW(utimensat(AT_FDCWD, "missing", NULL, 0));
    SHOW(utimensat(AT_FDCWD, "f", NULL, 0x80000));
    SHOW(syscall(SYS_utimensat, fd, NULL, NULL, 0));
    SHOW(syscall(SYS_utimensat, AT_FDCWD, "f", 8, 0));
    SHOW(symlink("f", "s"));
    ts[0] = (struct timespec){5, 5}, ts[1] = (struct timespec){6, 6};
    SHOW(utimensat(AT_FDCWD, "s", ts, AT_SYMLINK_NOFOLLOW));
    show_times("s");
    SHOW(utimes("f", (struct timeval[]){{11, 22}, {33, 44}}));
    show_times("f");
    SHOW(utime("f", &(struct utimbuf){111, 222}));
    show_times("f");

    section("what moves which");
    moved("start", "f");
    SHOW(write(fd, "x", 1));
    moved("write", "f");
    SHOW(ftruncate(fd, 100));
    moved("ftruncate", "f");
    SHOW(fchmod(fd, 0600));
    moved("chmod", "f");
    SHOW(link("f", "g"));
    moved("link", "f");
    SHOW(rename("g", "h"));
    moved("rename", "f");
    SHOW(unlink("h"));
    moved("unlink", "f");
    char c;
    SHOW(pread(fd, &c, 1, 0));
    moved("read", "f");
    SHOW(lseek(fd, 0, SEEK_END));
    moved("lseek", "f");

    section("directories");
    SHOW(mkdir("d", 0755));
    stat("d", &before);
    moved("start", "d");
    SHOW(close(open("d/f", O_CREAT | O_WRONLY, 0644)));
    moved("create", "d");
    SHOW(rename("d/f", "d/g"));
    moved("rename", "d");
    SHOW(chmod("d/g", 0600));
    moved("chmod of an entry", "d");
    SHOW(unlink("d/g"));
    moved("unlink", "d");
    SHOW(mkdir("d/d", 0755));
    moved("mkdir", "d");
    SHOW(rmdir("d/d"));
    moved("rmdir", "d");
    return 0;
}
