// Calls on files at their edges: what an O_PATH descriptor may be given to, copying inside the kernel, fallocate, flags of single reads
// and writes, ranges to be written, offsets near the end of the world, names that end in "/", "." and "..", sticky directories.
// In /dev/shm, which is a tmpfs everywhere.
// build: musl
#include "check.h"
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <utime.h>

#ifndef FALLOC_FL_COLLAPSE_RANGE
#define FALLOC_FL_COLLAPSE_RANGE 8
#define FALLOC_FL_ZERO_RANGE 16
#define FALLOC_FL_INSERT_RANGE 32
#define FALLOC_FL_UNSHARE_RANGE 64
#endif
#ifndef RWF_HIPRI
#define RWF_HIPRI 1
#define RWF_DSYNC 2
#define RWF_SYNC 4
#define RWF_NOWAIT 8
#define RWF_APPEND 16
#endif

static char buf[4096];

static long preadv2_(int fd, const struct iovec *v, int n, long at, int flags) { return syscall(SYS_preadv2, fd, v, n, at, 0, flags); }
static long pwritev2_(int fd, const struct iovec *v, int n, long at, int flags) { return syscall(SYS_pwritev2, fd, v, n, at, 0, flags); }
#define preadv2 preadv2_ // not every C library has them
#define pwritev2 pwritev2_

static int make(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        give_up("cannot make %s", name);
    return fd;
}

static void show_file(const char *name)
{
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
    printf("  %s: ", name);
    for (ssize_t i = 0; i < n; i++)
        putchar(buf[i] ? buf[i] : '.');
    printf(" (%zd)\n", n);
    close(fd);
}

static void path_descriptors(void)
{
    printf("-- O_PATH\n");
    int fd = open("f", O_PATH), d = open("d", O_PATH), other = open("g", O_RDWR);
    struct stat st;
    struct statfs fs;
    struct iovec v = {buf, 4};
    struct flock l = {.l_type = F_RDLCK};
    struct timespec times[2] = {{1, 0}, {2, 0}};
    struct timeval tv[2] = {{1, 0}, {2, 0}};
    SHOW(read(fd, buf, 1));
    SHOW(write(fd, buf, 1));
    SHOW(pread(fd, buf, 1, 0));
    SHOW(readv(fd, &v, 1));
    SHOW(writev(fd, &v, 1));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(ftruncate(fd, 0));
    SHOW(fallocate(fd, 0, 0, 1));
    SHOW(fchmod(fd, 0600));
    SHOW(fchown(fd, 0, 0));
    SHOW(fsetxattr(fd, "user.a", "b", 1, 0));
    SHOW(fgetxattr(fd, "user.a", buf, 1));
    SHOW(flistxattr(fd, buf, 1));
    SHOW(fremovexattr(fd, "user.a"));
    SHOW(ioctl(fd, FIONBIO, buf));
    SHOW(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED);
    SHOW(flock(fd, LOCK_SH));
    SHOW(fcntl(fd, F_SETLK, &l));
    SHOW(fcntl(fd, F_GETLK, &l));
    SHOW(fcntl(fd, F_SETFL, O_APPEND));
    SHOW(fcntl(fd, F_GETFL) & (O_PATH | O_ACCMODE));
    SHOW(fcntl(fd, F_SETOWN, getpid()));
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_GETLEASE));
    SHOW(fcntl(fd, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(fd, F_NOTIFY, 1));
    SHOW(fcntl(fd, F_GETPIPE_SZ));
    SHOW(fcntl(fd, F_GET_SEALS));
    SHOW(fcntl(fd, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(fd, F_GETFD));
    int copy = dup(fd);
    HOLDS(copy >= 0);
    SHOW(dup2(fd, copy) == copy);
    close(copy);
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    SHOW(syncfs(fd));
    SHOW(sync_file_range(fd, 0, 0, 0));
    SHOW(posix_fadvise(fd, 0, 0, 0));
    SHOW(readahead(fd, 0, 1));
    SHOW(fstat(fd, &st));
    SHOW(fstatfs(fd, &fs));
    SHOW(futimens(fd, times));
    SHOW(utimensat(fd, "", times, AT_EMPTY_PATH));
    SHOW(futimesat(fd, NULL, tv));
    SHOW(fchownat(fd, "", 0, 0, AT_EMPTY_PATH));
    SHOW(fchownat(fd, "", -1, -1, 0));
    SHOW(faccessat(fd, "", R_OK, AT_EMPTY_PATH));
    SHOW(linkat(fd, "", AT_FDCWD, "linked", AT_EMPTY_PATH));
    SHOW(unlink("linked"));
    SHOW(sendfile(other, fd, NULL, 1));
    SHOW(sendfile(fd, other, NULL, 1));
    SHOW(syscall(SYS_copy_file_range, fd, NULL, other, NULL, 1, 0));
    SHOW(syscall(SYS_copy_file_range, other, NULL, fd, NULL, 1, 0));
    SHOW(splice(fd, NULL, other, NULL, 1, 0));
    SHOW(syscall(SYS_getdents64, d, buf, sizeof buf));
    SHOW(fchdir(d));
    SHOW(chdir(".."));
    SHOW(fchdir(fd));
    SHOW(mkdirat(d, "x", 0755));
    SHOW(unlinkat(d, "x", AT_REMOVEDIR));
    SHOW(mkdirat(fd, "x", 0755));
    struct pollfd p = {fd, POLLIN, 0};
    SHOW(poll(&p, 1, 0));
    printf("revents %#x\n", p.revents);
    int e = epoll_create1(0);
    struct epoll_event ev = {EPOLLIN};
    SHOW(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev));
    close(e);
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int again = open(self, O_RDONLY);
    SHOW(read(again, buf, 1));
    close(again);
    SHOW(open(self, O_RDONLY | O_NOFOLLOW));
    SHOW(close(fd));
    SHOW(symlink("f", "link"));
    fd = open("link", O_PATH | O_NOFOLLOW);
    SHOW(readlinkat(fd, "", buf, sizeof buf));
    SHOW(fstat(fd, &st) == 0 && S_ISLNK(st.st_mode));
    SHOW(fchmodat(fd, "", 0600, 0));
    SHOW(openat(fd, "", O_RDONLY));
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    SHOW(open(self, O_RDONLY));
    SHOW(chmod(self, 0600));
    SHOW(close(fd));
    SHOW(open("link", O_RDONLY | O_NOFOLLOW));
    SHOW(open("d", O_PATH | O_CREAT | O_EXCL, 0644) >= 0);
    SHOW(open("f", O_PATH | O_DIRECTORY));
    close(d);
    close(other);
}

static void copying(void)
{
    printf("-- copy_file_range\n");
    int a = make("a", "0123456789abcdef"), b = make("b", ""), ro = open("a", O_RDONLY), wo = open("b", O_WRONLY), d = open("d", O_RDONLY);
    int append = open("b", O_WRONLY | O_APPEND), pipes[2];
    off_t in = 0, out = 0;
    if (pipe(pipes) != 0)
        give_up("pipe");
#define COPY(...) SHOW(syscall(SYS_copy_file_range, __VA_ARGS__))
    COPY(ro, &in, wo, &out, 4, 0);
    printf("offsets %ld %ld\n", (long)in, (long)out);
    COPY(ro, NULL, wo, NULL, 3, 0);
    SHOW(lseek(ro, 0, SEEK_CUR));
    SHOW(lseek(wo, 0, SEEK_CUR));
    show_file("b");
    in = 16;
    COPY(ro, &in, wo, NULL, 4, 0);
    in = 100;
    COPY(ro, &in, wo, NULL, 4, 0);
    in = 10;
    COPY(ro, &in, wo, NULL, 400, 0);
    COPY(ro, NULL, wo, NULL, 0, 0);
    in = -1;
    COPY(ro, &in, wo, NULL, 1, 0);
    in = 0;
    out = -1;
    COPY(ro, &in, wo, &out, 1, 0);
    COPY(ro, (void *)1, wo, NULL, 1, 0);
    COPY(ro, NULL, wo, NULL, 1, 1);
    COPY(ro, NULL, ro, NULL, 1, 0);
    COPY(wo, NULL, wo, NULL, 1, 0);
    COPY(ro, NULL, append, NULL, 1, 0);
    COPY(d, NULL, wo, NULL, 1, 0);
    COPY(ro, NULL, d, NULL, 1, 0);
    COPY(pipes[0], NULL, wo, NULL, 1, 0);
    COPY(ro, NULL, pipes[1], NULL, 1, 0);
    in = out = 0;
    COPY(a, &in, a, &out, 4, 0); // overlapping
    in = 0, out = 2;
    COPY(a, &in, a, &out, 4, 0);
    in = 4, out = 2;
    COPY(a, &in, a, &out, 4, 0);
    in = 0, out = 8;
    COPY(a, &in, a, &out, 8, 0);
    in = 8, out = 16;
    COPY(a, &in, a, &out, 100, 0);
    show_file("a");
    out = 0x7fffffffffffffff;
    in = 0;
    COPY(ro, &in, wo, &out, 1, 0);
    out = 0x7ffffffffffffffe;
    COPY(ro, &in, wo, &out, 4, 0);
    COPY(-1, NULL, wo, NULL, 1, 0);
    COPY(ro, NULL, 999, NULL, 1, 0);

    printf("-- sendfile\n");
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) != 0)
        give_up("socketpair");
    in = 2;
    SHOW(sendfile(pipes[1], ro, &in, 3));
    printf("offset %ld\n", (long)in);
    SHOW(read(pipes[0], buf, 10));
    SHOW(sendfile(sv[0], ro, &in, 3));
    SHOW(read(sv[1], buf, 10));
    SHOW(lseek(ro, 0, SEEK_SET));
    SHOW(sendfile(wo, ro, NULL, 5));
    SHOW(lseek(ro, 0, SEEK_CUR));
    SHOW(sendfile(append, ro, NULL, 5));
    SHOW(sendfile(wo, pipes[0], NULL, 5));
    SHOW(sendfile(wo, sv[0], NULL, 5));
    SHOW(sendfile(wo, d, NULL, 5));
    SHOW(sendfile(d, ro, NULL, 5));
    SHOW(sendfile(ro, ro, NULL, 5));
    SHOW(sendfile(wo, wo, NULL, 5));
    in = -1;
    SHOW(sendfile(wo, ro, &in, 5));
    in = 0;
    SHOW(sendfile(wo, ro, &in, 0));
    SHOW(sendfile(wo, ro, (off_t *)1, 5));
    in = 1000;
    SHOW(sendfile(wo, ro, &in, 5));
    in = 0x7fffffffffffffff;
    SHOW(sendfile(wo, ro, &in, 5));
    int null = open("/dev/null", O_RDWR);
    in = 0;
    SHOW(sendfile(null, ro, &in, 5));
    close(null), close(pipes[0]), close(pipes[1]), close(sv[0]), close(sv[1]);
    close(a), close(b), close(ro), close(wo), close(append), close(d);
}

static void room(void)
{
    printf("-- fallocate\n");
    struct stat st;
    int fd = make("room", "0123456789"), ro = open("room", O_RDONLY), d = open("d", O_RDONLY), pipes[2];
    if (pipe(pipes) != 0)
        give_up("pipe");
#define ROOM(mode, at, len)                                                                                                             \
    do {                                                                                                                                \
        SHOW(fallocate(fd, mode, at, len));                                                                                             \
        fstat(fd, &st);                                                                                                                 \
        printf("  size %ld blocks %ld\n", (long)st.st_size, (long)st.st_blocks);                                                        \
    } while (0)
    ROOM(0, 0, 5);
    ROOM(0, 0, 5000);
    ROOM(FALLOC_FL_KEEP_SIZE, 8192, 4096);
    ROOM(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3);
    show_file("room");
    ROOM(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 100000);
    ROOM(FALLOC_FL_PUNCH_HOLE, 0, 1);
    ROOM(FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
    ROOM(FALLOC_FL_INSERT_RANGE, 0, 4096);
    ROOM(FALLOC_FL_ZERO_RANGE, 0, 4096);
    ROOM(FALLOC_FL_UNSHARE_RANGE, 0, 4096);
    ROOM(0x1000, 0, 1);
    ROOM(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 1);
    ROOM(0, 0, 0);
    ROOM(0, -1, 1);
    ROOM(0, 0, -1);
    ROOM(0, 0x7fffffffffffffff, 1);
    ROOM(0, 0x7ffffffffffff000, 0x1000);
    SHOW(fallocate(ro, 0, 0, 1));
    SHOW(fallocate(d, 0, 0, 1));
    SHOW(fallocate(pipes[1], 0, 0, 1));
    SHOW(fallocate(-1, 0, 0, 1));
    SHOW(fallocate(ro, 0, 0, 0));
    int append = open("room", O_WRONLY | O_APPEND);
    SHOW(fallocate(append, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1));
    close(append), close(fd), close(ro), close(d), close(pipes[0]), close(pipes[1]);
}

static void single_flags(void)
{
    printf("-- preadv2, pwritev2\n");
    int fd = make("rw", "0123456789"), ro = open("rw", O_RDONLY);
    struct iovec v = {buf, 4}, w = {"XY", 2};
    SHOW(preadv2(fd, &v, 1, 0, RWF_HIPRI));
    SHOW(preadv2(fd, &v, 1, 0, RWF_DSYNC | RWF_SYNC));
    SHOW(preadv2(fd, &v, 1, 0, 0x40000000));
    SHOW(lseek(fd, 3, SEEK_SET));
    SHOW(preadv2(fd, &v, 1, -1, 0));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(preadv2(fd, &v, 1, -2, 0));
    SHOW(pwritev2(fd, &w, 1, 0, RWF_DSYNC));
    SHOW(pwritev2(fd, &w, 1, 2, RWF_SYNC));
    SHOW(pwritev2(fd, &w, 1, 0, RWF_APPEND));
    SHOW(pwritev2(fd, &w, 1, -1, RWF_APPEND));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(pwritev2(fd, &w, 1, 0, 0x40000000));
    SHOW(pwritev2(ro, &w, 1, 0, 0));
    SHOW(preadv2(fd, &v, 1025, 0, 0));
    SHOW(preadv2(fd, NULL, 0, 0, 0));
    SHOW(preadv2(-1, &v, 1, 0, 0x40000000));
    show_file("rw");
    printf("-- ranges\n");
    SHOW(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
    SHOW(sync_file_range(fd, 0, 4, 8));
    SHOW(sync_file_range(fd, -1, 4, 0));
    SHOW(sync_file_range(fd, 0, -1, 0));
    SHOW(sync_file_range(fd, 0x7fffffffffffffff, 1, 0));
    SHOW(sync_file_range(-1, 0, 4, 0));
    int pipes[2];
    if (pipe(pipes) != 0)
        give_up("pipe");
    SHOW(sync_file_range(pipes[0], 0, 4, 0));
    SHOW(fsync(pipes[0]));
    SHOW(fdatasync(-1));
    SHOW(syncfs(pipes[0]));
    SHOW(syncfs(-1));
    int d = open("d", O_RDONLY);
    SHOW(fsync(d));
    SHOW(fdatasync(d));
    SHOW(sync_file_range(d, 0, 4, 0));
    close(d);
    int sync = open("rw", O_RDWR | O_SYNC), dsync = open("rw", O_RDWR | O_DSYNC);
    SHOW(fcntl(sync, F_GETFL) & (O_SYNC | O_DSYNC));
    SHOW(fcntl(dsync, F_GETFL) & (O_SYNC | O_DSYNC));
    SHOW(fcntl(dsync, F_SETFL, 0));
    SHOW(fcntl(dsync, F_GETFL) & (O_SYNC | O_DSYNC));
    SHOW(write(sync, "ab", 2));
    SHOW(pwrite(dsync, "cd", 2, 2));
    show_file("rw");
    close(sync), close(dsync), close(fd), close(ro), close(pipes[0]), close(pipes[1]);
}

static void far_away(void)
{
    printf("-- far away\n");
    int fd = open("far", O_CREAT | O_RDWR, 0644);
    struct stat st;
    SHOW(lseek(fd, 0x7fffffffffffffff, SEEK_SET));
    SHOW(lseek(fd, 1, SEEK_CUR));
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(lseek(fd, 0, 5));
    SHOW(lseek(fd, -1, SEEK_END));
    SHOW(pwrite(fd, "x", 1, 5ul << 30));
    SHOW(pread(fd, buf, 4, (5ul << 30) - 2));
    fstat(fd, &st);
    printf("size %ld, few blocks: %s\n", (long)st.st_size, st.st_blocks <= 16 ? "yes" : "NO");
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(lseek(fd, 0, SEEK_HOLE));
    SHOW(lseek(fd, 5ul << 30, SEEK_HOLE));
    SHOW(lseek(fd, (5ul << 30) + 1, SEEK_DATA));
    SHOW(lseek(fd, -1, SEEK_DATA));
    const off_t most = 0x7fffffffffffffff;
    struct iovec v = {buf, 10};
    SHOW(pread(fd, buf, 1, most));
    SHOW(pread(fd, buf, 10, most - 5));
    SHOW(pwrite(fd, buf, 10, most - 5));
    SHOW(preadv(fd, &v, 1, most - 5));
    SHOW(pwritev(fd, &v, 1, most - 5));
    SHOW(ftruncate(fd, 0x7ffffffffffff000));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(lseek(fd, 0x1000, SEEK_END));
    SHOW(ftruncate(fd, -1));
    SHOW(truncate("far", -1));
    SHOW(ftruncate(fd, 0));
    close(fd);
}

static void names(void)
{
    printf("-- names\n");
    char name[5000];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    SHOW(mkdir(name, 0755));
    SHOW(rmdir(name));
    name[255] = 'n';
    name[256] = 0;
    SHOW(mkdir(name, 0755));
    SHOW(unlink(name));
    SHOW(access(name, F_OK));
    SHOW(symlink("x", name));
    SHOW(rename("f", name));
    for (int i = 0; i < 4999; i++)
        name[i] = i % 2 ? '/' : '.';
    name[4095] = 0;
    SHOW(access(name, F_OK));
    name[4095] = '/';
    name[4096] = 0;
    SHOW(access(name, F_OK));
    memset(name, 'l', sizeof name);
    name[4095] = 0;
    SHOW(symlink(name, "long"));
    SHOW(readlink("long", buf, sizeof buf));
    SHOW(access("long", F_OK));
    name[4095] = 'l';
    name[4096] = 0;
    SHOW(symlink(name, "longer"));
    SHOW(symlink("loop", "loop"));
    SHOW(access("loop", F_OK));
    SHOW(open("loop", O_RDONLY | O_CREAT, 0644));
    SHOW(open("loop", O_RDONLY | O_CREAT | O_EXCL, 0644));
    SHOW(mkdir("loop/x", 0755));

    SHOW(mkdir("new/", 0755));
    SHOW(mkdir("new/.", 0755));
    SHOW(mkdir("new/..", 0755));
    SHOW(mkdir("missing/.", 0755));
    SHOW(mkdir("/", 0755));
    SHOW(mkdir("", 0755));
    SHOW(rmdir("new/."));
    SHOW(rmdir("new/.."));
    SHOW(rmdir("/"));
    SHOW(rmdir("f/"));
    SHOW(rmdir("f/."));
    SHOW(unlink("f/"));
    SHOW(unlink("new/"));
    SHOW(unlink("new/."));
    SHOW(unlink("new"));
    SHOW(unlink("/"));
    SHOW(unlink("missing/"));
    SHOW(open("f/", O_RDONLY));
    SHOW(open("nothing/", O_CREAT | O_RDWR, 0644));
    SHOW(open("new/", O_CREAT | O_RDWR, 0644));
    SHOW(open("new/.", O_CREAT | O_RDWR, 0644));
    SHOW(open("new/..", O_CREAT | O_RDONLY | O_EXCL, 0644));
    SHOW(open("new", O_RDWR));
    SHOW(open("new", O_RDONLY | O_CREAT, 0644));
    SHOW(creat("new", 0644));
    SHOW(open("new", O_RDONLY | O_TRUNC));
    SHOW(open("f", O_RDONLY | O_DIRECTORY));
    SHOW(open("f", O_CREAT | O_DIRECTORY, 0644));
    SHOW(mknod("node/", S_IFREG | 0644, 0));
    SHOW(mknod("node/", S_IFIFO | 0644, 0));
    SHOW(mknod("node", S_IFDIR | 0644, 0));
    SHOW(mknod("f", S_IFREG | 0644, 0));
    SHOW(mknod("new/.", S_IFREG | 0644, 0));
    SHOW(symlink("x", "sym/"));
    SHOW(symlink("x", "new/"));
    SHOW(symlink("x", "new/."));
    SHOW(symlink("", "sym"));
    SHOW(link("f", "new/"));
    SHOW(link("f", "other/"));
    SHOW(link("f/", "other"));
    SHOW(link("new", "other"));
    SHOW(link("new/.", "other"));
    SHOW(link("f", "new/."));
    SHOW(rename("f", "other/"));
    SHOW(rename("f/", "other"));
    SHOW(rename("f", "new/"));
    SHOW(rename("f", "new"));
    SHOW(rename("new", "f"));
    SHOW(rename("new/", "newer"));
    SHOW(rename("newer", "new/"));
    SHOW(rename("new/.", "other"));
    SHOW(rename("new", "other/."));
    SHOW(rename("new", "new/.."));
    SHOW(rename("new", "new/inside"));
    SHOW(rename("/", "other"));
    SHOW(rename("new", "/"));
    SHOW(rename("missing", "new/."));
    SHOW(rename("missing", "nowhere/x"));
    SHOW(rename("f", "f"));
    SHOW(rename("new", "new"));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", 1));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "missing", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "new", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "new", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "new", AT_FDCWD, "new/x", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", 3));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "g", 8));
    SHOW(chdir("f/"));
    SHOW(chdir("new/."));
    SHOW(chdir(".."));
    SHOW(truncate("f/", 0));
    SHOW(truncate("new", 0));
    SHOW(chmod("f/", 0644));
    SHOW(chmod("new/", 0755));
    SHOW(readlink("loop/", buf, 10));
    SHOW(readlink("new", buf, 10));
    SHOW(readlink("f/", buf, 10));
    SHOW(readlink("loop", buf, 0));
    SHOW(symlink("new", "to-new"));
    SHOW(symlink("nowhere", "dangling"));
    SHOW(unlink("to-new/"));
    SHOW(rmdir("to-new"));
    SHOW(rmdir("to-new/"));
    SHOW(mkdir("dangling", 0755));
    SHOW(mkdir("dangling/", 0755));
    SHOW(rename("to-new/", "x"));
    SHOW(open("dangling", O_CREAT | O_EXCL | O_RDWR, 0644));
    SHOW(close(open("dangling", O_CREAT | O_RDWR, 0644)));
    SHOW(access("nowhere", F_OK));
    struct stat st;
    SHOW(lstat("to-new/", &st) == 0 && S_ISDIR(st.st_mode));
    SHOW(lstat("to-new", &st) == 0 && S_ISLNK(st.st_mode));
}

static void sticky(void)
{
    printf("-- sticky\n");
    SHOW(mkdir("sticky", 01777));
    SHOW(chmod("sticky", 01777));
    SHOW(close(make("sticky/roots", "x")));
    SHOW(mkdir("sticky/dir", 0777));
    SHOW(chmod("sticky/dir", 0777));
    SHOW(mkdir("open", 0777));
    SHOW(chmod("open", 0777));
    SHOW(chmod(".", 0755));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(1000) || setuid(1000))
            give_up("setuid");
        SHOW(unlink("sticky/roots"));
        SHOW(rename("sticky/roots", "sticky/mine"));
        SHOW(rename("sticky/roots", "open/x"));
        SHOW(rmdir("sticky/dir"));
        SHOW(close(make("sticky/own", "y")));
        SHOW(rename("sticky/own", "sticky/roots"));
        SHOW(rename("sticky/own", "sticky/dir"));
        SHOW(unlink("sticky/own"));
        SHOW(link("sticky/roots", "open/link") == 0 || errno == EPERM);
        SHOW(utimes("sticky/roots", NULL));
        SHOW(chmod("sticky/roots", 0666));
        SHOW(chown("sticky/roots", 1000, 1000));
        SHOW(truncate("sticky/roots", 0));
        SHOW(open("sticky/roots", O_RDWR));
        SHOW(mkdir("x", 0755));
        SHOW(unlink("f"));
        SHOW(unlink("missing"));
        SHOW(setxattr("sticky/roots", "trusted.a", "x", 1, 0));
        SHOW(syscall(SYS_name_to_handle_at, AT_FDCWD, "missing", buf, buf, 0));
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void absent(void)
{
    printf("-- not there\n");
    int fd = open("f", O_RDONLY);
    SHOW(fcntl(fd, F_SETLEASE, 77));
    SHOW(fcntl(-1, F_GETLEASE));
    SHOW(fcntl(fd, 12345));
    SHOW(dup3(fd, fd, 0));
    SHOW(dup3(fd, 999999999, 0));
    SHOW(dup3(fd, -1, 0));
    SHOW(dup3(fd, 100, 1));
    SHOW(dup3(fd, 100, O_CLOEXEC));
    SHOW(fcntl(100, F_GETFD));
    SHOW(syscall(SYS_close_range, 100, 100, 0));
    SHOW(fcntl(100, F_GETFD));
    SHOW(syscall(SYS_close_range, 101, 100, 0));
    SHOW(syscall(SYS_close_range, 100, 101, 8));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "f", 8, 0));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, 1));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS));
    SHOW(syscall(SYS_faccessat2, AT_FDCWD, "loop", F_OK, AT_SYMLINK_NOFOLLOW));
    SHOW(syscall(SYS_faccessat2, fd, "", F_OK, 0x1000));
    SHOW(syscall(SYS_faccessat2, -1, "f", F_OK, 0));
    SHOW(syscall(SYS_faccessat2, fd, "f", F_OK, 0));
    close(fd);
}

static int gone(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    umask(022);
    char here[] = "/dev/shm/callsXXXXXX";
    if (!mkdtemp(here) || chdir(here) != 0)
        give_up("no directory in /dev/shm");
    close(make("f", "file"));
    close(make("g", "other"));
    mkdir("d", 0755);
    path_descriptors();
    copying();
    room();
    single_flags();
    far_away();
    names();
    sticky();
    absent();
    SHOW(chdir("/"));
    SHOW(nftw(here, gone, 10, FTW_DEPTH | FTW_PHYS));
    return 0;
}
