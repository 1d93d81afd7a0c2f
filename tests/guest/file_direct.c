// O_DIRECT: who takes it, what it asks of places and lengths, and that it agrees with cached reads, writes and mappings.
// build: glibc
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000
#define stx_dio_offset_align __spare2
#endif
static char *buf;

static void alignment(const char *name) {
    struct statx st = {0};
    long r = syscall(SYS_statx, AT_FDCWD, name, 0, STATX_DIOALIGN, &st);
    printf("statx %s: %ld, told %d, %u\n", name, r, !!(st.stx_mask & STATX_DIOALIGN), st.stx_dio_offset_align);
}

int main(void) {
    buf = mmap(NULL, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = SHOW(open("f", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644));
    int b = open("f", O_RDWR);
    HOLDS(fcntl(fd, F_GETFL) & O_DIRECT);
    memset(buf, 'a', 65536);
    SHOW(write(fd, buf, 8192));
    SHOW(write(fd, buf, 100));
    SHOW(write(fd, buf + 512, 512));
    SHOW(write(fd, buf + 4, 512));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(pwrite(fd, buf, 512, 100));
    SHOW(pwrite(fd, buf, 4096, 512));
    SHOW(pwrite(fd, buf, 0, 5));
    SHOW(pwrite(fd, buf, 0, 512));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(pread(fd, buf, 4096, 0));
    SHOW(pread(fd, buf, 100, 0));
    SHOW(pread(fd, buf + 3, 512, 0));
    SHOW(pread(fd, buf, 512, 3));
    SHOW(pread(fd, buf, 512, 512));
    SHOW(pread(fd, buf, 65536, 0));
    SHOW(pread(fd, buf, 65536, 1 << 20));
    SHOW(pread(fd, buf, 100, 1 << 20));
    SHOW(pread(fd, buf, 100, (1 << 20) + 1));
    SHOW(pread(fd, (void *)8, 512, 0));
    SHOW(pread(fd, (void *)4096, 512, 0));
    SHOW(pread(fd, buf, 0, 3));
    struct iovec v[2] = {{buf, 512}, {buf + 512, 512}}, x[2] = {{buf, 100}, {buf + 512, 412}};
    SHOW(preadv(fd, v, 2, 0));
    SHOW(preadv(fd, x, 2, 0));
    SHOW(pwrite(b, "hello", 5, 10));
    SHOW(pread(fd, buf, 512, 0));
    printf("%.5s\n", buf + 10);
    memset(buf, 'z', 512);
    SHOW(pwrite(fd, buf, 512, 0));
    char c[4];
    SHOW(pread(b, c, 1, 10));
    printf("%c\n", c[0]);
    char *m = mmap(NULL, 8192, 3, MAP_SHARED, b, 0);
    printf("%c\n", m[10]);
    memset(buf, 'y', 512);
    SHOW(pwrite(fd, buf, 512, 0));
    printf("%c\n", m[10]);
    m[11] = 'm';
    SHOW(pread(fd, buf, 512, 0));
    printf("%c\n", buf[11]);
    SHOW(ftruncate(b, 1000));
    SHOW(pread(fd, buf, 4096, 0));
    SHOW(pread(fd, buf, 512, 512));
    SHOW(pread(fd, buf, 512, 1024));
    SHOW(pread(fd, buf, 512, 1000));
    SHOW(pwrite(fd, buf, 512, 4096));
    struct stat st;
    fstat(fd, &st);
    printf("size %ld\n", (long)st.st_size);
    SHOW(fcntl(b, F_SETFL, O_DIRECT));
    HOLDS(fcntl(b, F_GETFL) & O_DIRECT);
    SHOW(pread(b, c, 1, 1));
    SHOW(fcntl(b, F_SETFL, 0));
    SHOW(pread(b, c, 1, 1));
    SHOW(open(".", O_RDONLY | O_DIRECT));
    SHOW(open("/dev/null", O_RDWR | O_DIRECT));
    SHOW(open("/dev/zero", O_RDWR | O_DIRECT));
    SHOW(open("/proc/self/stat", O_RDONLY | O_DIRECT));
    SHOW(open("/proc/sys/kernel/hostname", O_RDONLY | O_DIRECT));
    symlink("f", "l");
    SHOW_OK(open("l", O_RDONLY | O_DIRECT));
    mkfifo("p", 0600);
    SHOW_OK(open("p", O_RDWR | O_DIRECT));
    SHOW(open("new", O_RDWR | O_CREAT | O_DIRECT | O_EXCL, 0600) >= 0);
    SHOW_OK(open(".", O_RDWR | O_TMPFILE | O_DIRECT, 0600));
    SHOW_OK(open("f", O_PATH | O_DIRECT));
    SHOW(open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0));
    int n = open("/dev/null", O_RDWR), d = open(".", O_RDONLY), pr = open("/proc/self/stat", O_RDONLY);
    SHOW(fcntl(n, F_SETFL, O_DIRECT));
    SHOW(fcntl(d, F_SETFL, O_DIRECT));
    SHOW(fcntl(pr, F_SETFL, O_DIRECT));
    int p[2];
    pipe(p);
    SHOW(fcntl(p[1], F_SETFL, O_DIRECT));
    int s = syscall(SYS_socket, 1, 1, 0);
    SHOW(fcntl(s, F_SETFL, O_DIRECT));
    int ev = syscall(SYS_eventfd2, 0, 0);
    SHOW(fcntl(ev, F_SETFL, O_DIRECT));
    int ep = syscall(SYS_epoll_create1, 0);
    SHOW(fcntl(ep, F_SETFL, O_DIRECT));
    SHOW(fcntl(ep, F_GETFL));
    alignment("f");
    alignment(".");
    alignment("/dev/null");
    alignment("l");
    alignment("p");
    alignment("/proc/self/stat");
    return 0;
}
