// Descriptors: dup in its three forms, fcntl, close-on-exec, shared offsets, locks, sendfile, copy between files.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

int main(void)
{
    char text[64] = "";
    int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);

    section("dup");
    SHOW(dup(fd));
    SHOW(dup2(fd, 10));
    SHOW(dup2(fd, fd));
    SHOW(dup2(99, 5));
    SHOW(dup2(99, 99));
    SHOW(dup2(fd, -1));
    SHOW(dup2(fd, 2000000));
    SHOW(dup3(fd, 11, O_CLOEXEC));
    SHOW(fcntl(11, F_GETFD));
    SHOW(dup3(fd, fd, 0));
    SHOW(dup3(fd, 12, O_APPEND));
    SHOW(dup(99));
    SHOW(write(fd, "shared offset", 13));
    SHOW(lseek(10, 0, SEEK_CUR));
    SHOW(lseek(10, 7, SEEK_SET));
    SHOW(read(11, text, 6));
    printf("%s\n", text);

    section("fcntl");
    SHOW(fcntl(fd, F_DUPFD, 20));
    SHOW(fcntl(fd, F_DUPFD, 20));
    SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 20));
    SHOW(fcntl(22, F_GETFD));
    SHOW(fcntl(22, F_SETFD, 0));
    SHOW(fcntl(22, F_GETFD));
    SHOW(fcntl(fd, F_DUPFD, -1));
    SHOW(fcntl(fd, F_DUPFD, 1 << 30));
    SHOW(fcntl(fd, F_GETFL) & ~0100000); // O_LARGEFILE
    SHOW(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY | O_CREAT)); // the access mode does not change
    SHOW(fcntl(10, F_GETFL) & ~0100000);
    SHOW(fcntl(fd, F_SETFL, 0));
    SHOW(fcntl(99, F_GETFD));
    SHOW(fcntl(fd, 12345));

    section("close");
    SHOW(close(10));
    SHOW(close(10));
    SHOW(read(10, text, 1));
    SHOW(syscall(SYS_close_range, 20, 21, 0));
    SHOW(fcntl(21, F_GETFD));
    SHOW(fcntl(22, F_GETFD));
    SHOW(syscall(SYS_close_range, 22, 22, 4)); // CLOSE_RANGE_CLOEXEC
    SHOW(fcntl(22, F_GETFD));
    SHOW(syscall(SYS_close_range, 22, 21, 0));
    SHOW(syscall(SYS_close_range, 12, ~0U, 0));

    section("locks");
    SHOW(flock(fd, LOCK_EX));
    SHOW(flock(fd, LOCK_UN));
    SHOW(flock(99, LOCK_EX));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    SHOW(fcntl(fd, F_SETLK, &lock));
    SHOW(fcntl(fd, F_GETLK, &lock));
    SHOW(lock.l_type == F_UNLCK);
    lock.l_type = F_UNLCK;
    SHOW(fcntl(fd, F_SETLK, &lock));

    section("ioctl");
    int n = -7;
    SHOW(ioctl(fd, TCGETS, text));
    SHOW(ioctl(fd, TIOCGWINSZ, text));
    SHOW(ioctl(fd, 0xdead, 0));
    SHOW(ioctl(99, TCGETS, text));
    SHOW(isatty(fd));
    SHOW(lseek(fd, 3, SEEK_SET));
    SHOW(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    SHOW(ioctl(fd, FIOCLEX));
    SHOW(fcntl(fd, F_GETFD));
    SHOW(ioctl(fd, FIONCLEX));
    SHOW(fcntl(fd, F_GETFD));
    n = 1;
    SHOW(ioctl(fd, FIONBIO, &n));
    SHOW(fcntl(fd, F_GETFL) & ~0100000);

    section("sendfile");
    int out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0644);
    off_t at = 7;
    SHOW(sendfile(out, fd, &at, 100));
    SHOW(at);
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(sendfile(out, fd, NULL, 6));
    SHOW(lseek(fd, 0, SEEK_CUR));
    memset(text, 0, sizeof text);
    SHOW(pread(out, text, 64, 0));
    printf("%s\n", text);
    SHOW(sendfile(out, fd, NULL, 0));
    SHOW(sendfile(99, fd, NULL, 1));
    SHOW(sendfile(out, 99, NULL, 1));
    at = -1;
    SHOW(sendfile(out, fd, &at, 1));
    SHOW(sendfile(out, fd, (off_t *)8, 1));
    int p[2];
    SHOW(pipe(p));
    at = 0;
    SHOW(sendfile(p[1], fd, &at, 13));
    SHOW(read(p[0], text, 64));
    printf("%.13s\n", text);
    SHOW(sendfile(out, p[0], NULL, 1));

    section("copy_file_range");
    off_t from = 0, to = 2;
    SHOW(ftruncate(out, 0));
    SHOW(syscall(SYS_copy_file_range, fd, &from, out, &to, 6, 0));
    printf("%ld %ld\n", (long)from, (long)to);
    memset(text, '.', sizeof text);
    SHOW(pread(out, text, 64, 0));
    printf("%.6s\n", text + 2);
    return 0;
}
