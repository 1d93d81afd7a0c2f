// Wild pointers to system calls, one pointer argument after another while the others are good: null, low, unmapped, without
// access, read-only, the kernel's, non-canonical, the last page there can be, and objects that begin well and run into
// nothing. Each answers as Linux does, and the program lives on.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

enum { POINTERS = 14 };
static struct { const char *name; char *at; } wild[POINTERS];
static int wilds;

static void add(const char *name, uintptr_t at)
{
    wild[wilds].name = name;
    wild[wilds++].at = (char *)at;
}

static const char *outcome(long result)
{
    static char number[24];
    if (result == -1)
        return errno_name(errno);
    snprintf(number, sizeof number, "%ld", result);
    return number;
}

// Makes the call with `p` being each of the wild pointers, and prints the outcomes: what most say, then who differs.
#define TRY(what, call)                                                                                                        \
    do {                                                                                                                       \
        printf("%s:", what);                                                                                                   \
        char first[32] = "";                                                                                                   \
        for (int i_ = 0; i_ < wilds; i_++) {                                                                                   \
            char *p = wild[i_].at;                                                                                             \
            errno = 0;                                                                                                         \
            long r_ = (long)(call);                                                                                            \
            const char *o_ = outcome(r_);                                                                                      \
            if (strcmp(o_, first)) {                                                                                           \
                printf(" %s:%s", wild[i_].name, o_);                                                                           \
                snprintf(first, sizeof first, "%s", o_);                                                                       \
            }                                                                                                                  \
        }                                                                                                                      \
        printf("\n");                                                                                                          \
        fflush(stdout);                                                                                                        \
    } while (0)

#define SYS(...) syscall(SYS_##__VA_ARGS__)

int main(void)
{
    char good[4096];
    struct iovec iov[2];
    int pipes[2];
    struct timespec zero = {0, 0};
    sigset_t all;
    sigfillset(&all);
    umask(022);

    char *area = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, '/', 16 * 4096); // a path without end; as numbers: large
    munmap(area + 2 * 4096, 4096);
    mprotect(area + 4 * 4096, 4096, PROT_NONE);
    mprotect(area + 6 * 4096, 4096, PROT_READ);
    munmap(area + 8 * 4096, 4096);
    memset(area + 9 * 4096, 0, 4096);
    memset(area + 7 * 4096, 0, 4096);
    add("null", 0);
    add("low", 8);
    add("unmapped", (uintptr_t)area + 2 * 4096);
    add("no-access", (uintptr_t)area + 4 * 4096 + 16);
    add("last-byte", (uintptr_t)area + 2 * 4096 - 1);
    add("crossing", (uintptr_t)area + 8 * 4096 - 6);
    add("kernel", 0xffffffff80000000);
    add("direct-map", 0xffff888000100000);
    add("upper", 0xffff800000000000);
    add("non-canonical", 0x8000000000000000);
    add("user-end", 0x7ffffffffffe);
    add("beyond-user", 0x800000000000);
    add("minus-1", (uintptr_t)-1);
    add("minus-4096", (uintptr_t)-4096);

    int fd = open("f", O_RDWR | O_CREAT, 0644), dir = open(".", O_RDONLY);
    if (write(fd, good, sizeof good) != sizeof good || pipe(pipes) || dir < 0)
        give_up("preparation");
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    fcntl(pipes[1], F_SETFL, O_NONBLOCK);

    section("bytes");
    TRY("read", SYS(pread64, fd, p, 64, 0));
    TRY("read much", SYS(pread64, fd, p, 4096, 0));
    TRY("write", SYS(write, fd, p, 64));
    ftruncate(fd, 0);
    TRY("write much", SYS(pwrite64, fd, p, 1UL << 28, 0));
    ftruncate(fd, 4096);
    TRY("read none", SYS(pread64, fd, p, 0, 0));
    // How much of what can be read goes into the pipe before the fault is the kernel's choice.
    TRY("pipe write", SYS(write, pipes[1], p, 64) > 0 ? (errno = EFAULT, -1) : -1);
    while (read(pipes[0], good, sizeof good) > 0)
        ;
    write(pipes[1], good, 100);
    TRY("pipe read", SYS(read, pipes[0], p, 64) > 0 ? (errno = EFAULT, -1) : -1);
    while (read(pipes[0], good, sizeof good) > 0)
        ;
    int zero_fd = open("/dev/zero", O_RDWR), null_fd = open("/dev/null", O_RDWR), random_fd = open("/dev/urandom", O_RDONLY);
    TRY("/dev/zero", SYS(read, zero_fd, p, 64));
    TRY("/dev/null", SYS(write, null_fd, p, 64) >= 0); // looks at nothing
    TRY("/dev/urandom", SYS(read, random_fd, p, 64) > 0 ? 64 : -1);
    int proc_fd = open("/proc/self/status", O_RDONLY);
    TRY("/proc", SYS(pread64, proc_fd, p, 64, 0));

    section("vectors");
    TRY("readv list", SYS(readv, fd, p, 2));
    TRY("writev list", SYS(writev, fd, p, 2));
    iov[0] = (struct iovec){good, 4};
    TRY("readv second", (lseek(fd, 0, SEEK_SET), iov[1] = (struct iovec){p, 4096}, SYS(readv, fd, iov, 2) >= 0));
    TRY("writev first", (iov[1] = (struct iovec){p, 64}, SYS(pwritev, fd, iov + 1, 1, 0, 0)));
    TRY("preadv first", (iov[1] = (struct iovec){p, 64}, SYS(preadv, fd, iov + 1, 1, 0, 0)));

    section("paths");
    TRY("open", SYS(open, p, O_RDONLY) == -1 ? -1 : 0);
    TRY("openat", SYS(openat, AT_FDCWD, p, O_RDONLY) == -1 ? -1 : 0);
    TRY("stat", SYS(stat, p, good));
    TRY("lstat", SYS(lstat, p, good));
    TRY("access", SYS(access, p, 0));
    TRY("faccessat", SYS(faccessat, AT_FDCWD, p, 0));
    TRY("mkdir", SYS(mkdir, p, 0755));
    TRY("rmdir", SYS(rmdir, p));
    TRY("unlink", SYS(unlink, p));
    TRY("unlinkat", SYS(unlinkat, AT_FDCWD, p, 0));
    TRY("rename from", SYS(rename, p, "x"));
    TRY("rename to", SYS(rename, "f", p));
    TRY("link from", SYS(link, p, "x"));
    TRY("link to", SYS(link, "f", p));
    TRY("symlink from", SYS(symlink, p, "x"));
    TRY("symlink to", SYS(symlink, "f", p));
    TRY("readlink", SYS(readlink, p, good, 100));
    TRY("chmod", SYS(chmod, p, 0755));
    TRY("chown", SYS(chown, p, -1, -1));
    TRY("truncate", SYS(truncate, p, 0));
    TRY("chdir", SYS(chdir, p) == -1 ? -1 : 0);
    fchdir(dir);
    TRY("statfs", SYS(statfs, p, good));
    TRY("mknod", SYS(mknod, p, S_IFIFO | 0644, 0));
    TRY("statx path", SYS(statx, AT_FDCWD, p, 0, 0x7ff, good));
    TRY("utimensat path", SYS(utimensat, fd, p, NULL, 0));
    TRY("execve", SYS(execve, p, NULL, NULL));

    section("results about files");
    TRY("stat", SYS(stat, "f", p));
    TRY("fstat", SYS(fstat, fd, p));
    TRY("newfstatat", SYS(newfstatat, AT_FDCWD, "f", p, 0));
    TRY("statx", SYS(statx, AT_FDCWD, "f", 0, 0x7ff, p));
    TRY("statfs", SYS(statfs, "f", p));
    TRY("fstatfs", SYS(fstatfs, fd, p));
    TRY("getdents64", (lseek(dir, 0, SEEK_SET), SYS(getdents64, dir, p, 4096)));
    mkdir("a-directory", 0755);
    chdir("a-directory");
    TRY("getcwd", SYS(getcwd, p, 4096));
    fchdir(dir);
    symlink("target", "s");
    TRY("readlink", SYS(readlink, "s", p, 100));
    TRY("utimensat", SYS(utimensat, AT_FDCWD, "f", p, 0));
    TRY("sendfile", SYS(sendfile, fd, fd, p, 0));
    TRY("pipe", SYS(pipe, p));
    TRY("pipe2", SYS(pipe2, p, 0));
    TRY("TCGETS", SYS(ioctl, fd, 0x5401, p));
    TRY("FIONREAD", SYS(ioctl, pipes[0], 0x541b, p));
    TRY("FIONBIO", SYS(ioctl, fd, 0x5421, p));
    TRY("F_SETLK", SYS(fcntl, fd, F_SETLK, p));
    TRY("F_GETLK", SYS(fcntl, fd, F_GETLK, p));

    section("waiting");
    TRY("poll", SYS(poll, p, 2, 0));
    TRY("ppoll list", SYS(ppoll, p, 2, &zero, NULL, 8));
    TRY("ppoll time", p ? SYS(ppoll, NULL, 0, p, NULL, 8) : 0);
    TRY("ppoll mask", SYS(ppoll, NULL, 0, &zero, p, 8));
    TRY("select read", SYS(select, 70, p, NULL, NULL, &zero) >= 0 ? 0 : -1);
    TRY("select write", SYS(select, 70, NULL, p, NULL, &zero) >= 0 ? 0 : -1);
    TRY("select time", p ? SYS(select, 0, NULL, NULL, NULL, p) : 0);
    TRY("pselect6 mask", SYS(pselect6, 0, NULL, NULL, NULL, &zero, p));

    section("memory");
    TRY("munmap", p ? SYS(munmap, (uintptr_t)p & -4096UL, 1UL << 48) : 0);
    TRY("mprotect", (uintptr_t)p >> 47 ? SYS(mprotect, (uintptr_t)p & -4096UL, 4096, PROT_READ) : 0);
    TRY("mremap", SYS(mremap, p, 4096, 8192, 0));
    TRY("madvise", p ? SYS(madvise, p, (size_t)-8192, 4) : 0);
    TRY("mincore vector", SYS(mincore, area, 4096 * 2, p));
    TRY("mincore range", SYS(mincore, p, 1UL << 47, good));
    TRY("msync", SYS(msync, p, 4096, 0));
    TRY("mlock", (uintptr_t)p < (uintptr_t)area || p > area + 65536 ? SYS(mlock, p, 4096) : 0);

    section("signals");
    TRY("rt_sigaction new", SYS(rt_sigaction, SIGUSR1, p, NULL, 8));
    signal(SIGUSR1, SIG_DFL);
    TRY("rt_sigaction old", SYS(rt_sigaction, SIGUSR1, NULL, p, 8));
    TRY("rt_sigprocmask new", SYS(rt_sigprocmask, SIG_UNBLOCK, p, NULL, 8));
    TRY("rt_sigprocmask old", SYS(rt_sigprocmask, SIG_UNBLOCK, NULL, p, 8));
    TRY("rt_sigpending", SYS(rt_sigpending, p, 8));
    TRY("sigaltstack new", SYS(sigaltstack, p, NULL));
    TRY("sigaltstack old", SYS(sigaltstack, NULL, p));
    TRY("rt_sigtimedwait set", SYS(rt_sigtimedwait, p, NULL, &zero, 8));
    TRY("rt_sigqueueinfo", SYS(rt_sigqueueinfo, getpid(), 0, p) == -1 && errno != EPERM ? -1 : 0);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    TRY("rt_sigtimedwait info", (raise(SIGUSR1), SYS(rt_sigtimedwait, &usr1, p, &zero, 8)));
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
    TRY("rt_sigtimedwait time", p ? SYS(rt_sigtimedwait, &usr1, NULL, p, 8) : 0);

    section("time");
    TRY("clock_gettime", SYS(clock_gettime, CLOCK_MONOTONIC, p));
    TRY("clock_getres", SYS(clock_getres, CLOCK_MONOTONIC, p));
    TRY("gettimeofday", SYS(gettimeofday, p, NULL));
    TRY("gettimeofday zone", SYS(gettimeofday, NULL, p));
    TRY("time", SYS(time, p) > 0 ? 0 : -1);
    TRY("times", SYS(times, p) == -1 ? -1 : 0);
    TRY("nanosleep", SYS(nanosleep, p, NULL));
    TRY("clock_nanosleep", SYS(clock_nanosleep, CLOCK_MONOTONIC, 0, p, NULL));
    TRY("nanosleep rest", SYS(nanosleep, &zero, p));
    TRY("getitimer", SYS(getitimer, ITIMER_REAL, p));
    TRY("setitimer", p ? SYS(setitimer, ITIMER_REAL, p, NULL) : 0);
    TRY("setitimer old", SYS(setitimer, ITIMER_REAL, NULL, p));

    section("processes and the system");
    TRY("uname", SYS(uname, p));
    TRY("sysinfo", SYS(sysinfo, p));
    TRY("getrusage", SYS(getrusage, RUSAGE_SELF, p));
    TRY("getrlimit", SYS(getrlimit, RLIMIT_NOFILE, p));
    TRY("setrlimit", SYS(setrlimit, RLIMIT_NOFILE, p) == -1 ? -1 : 0);
    TRY("prlimit64", SYS(prlimit64, 0, RLIMIT_NOFILE, NULL, p));
    TRY("getrandom", SYS(getrandom, p, 64, 0) > 0 ? 64 : -1);
    TRY("sched_getaffinity", SYS(sched_getaffinity, 0, 128, p) > 0 ? 0 : -1);
    TRY("sched_setaffinity", SYS(sched_setaffinity, 0, 128, p) == -1 && errno == EFAULT ? -1 : 0);
    TRY("getcpu", SYS(getcpu, p, NULL, NULL));
    TRY("getresuid", SYS(getresuid, p, good, good));
    TRY("getresuid third", SYS(getresuid, good, good, p));
    TRY("getgroups", SYS(getgroups, 0, p) >= 0 ? 0 : -1);
    area[2 * 4096 - 1] = '/'; // what other calls left there before they failed is their choice
    memset(area + 8 * 4096 - 6, 0, 6);
    TRY("PR_SET_NAME", SYS(prctl, 15, p, 0, 0, 0));
    TRY("PR_GET_NAME", SYS(prctl, 16, p, 0, 0, 0));
    TRY("ARCH_GET_FS", SYS(arch_prctl, 0x1003, p));
    TRY("wait4", SYS(wait4, -1, p, 1, NULL));
    TRY("get_robust_list", SYS(get_robust_list, 0, p, good));
    TRY("get_robust_list size", SYS(get_robust_list, 0, good, p));

    section("futex");
    TRY("wait", SYS(futex, p, 0, 0, &zero, NULL, 0));
    TRY("wait private", SYS(futex, p, 128, 0, &zero, NULL, 0));
    TRY("wait time", p ? SYS(futex, good, 0, 1, p, NULL, 0) : 0);
    TRY("wake private", SYS(futex, p, 129, 1, NULL, NULL, 0));
    TRY("cmp_requeue", SYS(futex, p, 4 | 128, 1, 1, area + 12 * 4096, 0));
    TRY("cmp_requeue to", SYS(futex, area + 12 * 4096, 4 | 128, 1, 1, p, 0x2f2f2f2f));

    section("alive");
    printf("%d\n", getpid() > 0);
    return 0;
}
