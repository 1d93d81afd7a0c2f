// Reading and writing: offsets, holes, vectors, truncation, and what each refuses.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void show_file(int fd)
{
    struct stat st;
    char text[64] = "";
    fstat(fd, &st);
    long n = pread(fd, text, sizeof text - 1, 0);
    printf("size %ld: ", (long)st.st_size);
    for (long i = 0; i < n; i++)
        printf(text[i] >= 32 ? "%c" : "\\%o", (unsigned char)text[i]);
    printf("\n");
}

int main(void)
{
    char buffer[64];
    struct stat st;
    int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0644);

    section("offsets");
    SHOW(write(fd, "0123456789", 10));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(read(fd, buffer, 1));
    SHOW(lseek(fd, -3, SEEK_END));
    SHOW(read(fd, buffer, 64));
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(lseek(fd, -100, SEEK_END));
    SHOW(lseek(fd, 0, 99));
    SHOW(lseek(99, 0, SEEK_SET));
    SHOW(lseek(fd, LONG_MAX, SEEK_CUR));
    SHOW(lseek(fd, 20, SEEK_SET));
    SHOW(write(fd, "end", 3));
    show_file(fd);
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(lseek(fd, 0, SEEK_HOLE));
    SHOW(lseek(fd, 30, SEEK_DATA));

    section("pread, pwrite");
    SHOW(pwrite(fd, "AB", 2, 4));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(pread(fd, buffer, 4, 2));
    printf("%.4s\n", buffer);
    SHOW(pread(fd, buffer, 4, -1));
    SHOW(pwrite(fd, buffer, 4, -1));
    SHOW(pread(fd, buffer, 4, 1000));
    SHOW(pread(fd, buffer, 0, 0));

    section("vectors");
    char a[3] = {0}, b[4] = {0}, c[5] = {0};
    struct iovec v[3] = {{a, 2}, {b, 3}, {c, 4}};
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(readv(fd, v, 3));
    printf("%s %s %s\n", a, b, c);
    SHOW(preadv(fd, v, 3, 1));
    printf("%s %s %s\n", a, b, c);
    SHOW(pwritev(fd, v, 2, 30));
    SHOW(writev(fd, v, 3));
    SHOW(writev(fd, v, 0));
    SHOW(writev(fd, v, -1));
    SHOW(writev(fd, v, IOV_MAX + 1));
    v[1].iov_len = (size_t)-1;
    SHOW(writev(fd, v, 3));
    v[1].iov_len = 3;
    v[1].iov_base = (void *)8;
    SHOW(writev(fd, v, 3)); // what comes before the bad piece is written
    SHOW(readv(fd, (struct iovec *)8, 3));
    show_file(fd);

    section("truncate");
    SHOW(ftruncate(fd, 5));
    show_file(fd);
    SHOW(ftruncate(fd, 12));
    show_file(fd);
    SHOW(ftruncate(fd, -1));
    SHOW(truncate("f", 3));
    show_file(fd);
    SHOW(truncate("missing", 3));
    SHOW(truncate(".", 3));
    int ro = open("f", O_RDONLY);
    SHOW(ftruncate(ro, 1));
    SHOW(ftruncate(99, 1));
    int p[2];
    SHOW(pipe(p));
    SHOW(ftruncate(p[1], 1));
    SHOW(lseek(p[0], 0, SEEK_SET));
    SHOW(pread(p[0], buffer, 1, 0));
    SHOW(pwrite(p[1], buffer, 1, 0));

    section("large and sparse");
    SHOW(ftruncate(fd, 0));
    SHOW(ftruncate(fd, 1L << 40));
    SHOW(pwrite(fd, "far", 3, (1L << 39) + 4094));
    memset(buffer, 'x', sizeof buffer);
    SHOW(pread(fd, buffer, 8, (1L << 39) + 4092));
    for (int i = 0; i < 8; i++)
        printf("%02x ", (unsigned char)buffer[i]);
    printf("\n");
    fstat(fd, &st);
    HOLDS(st.st_size == 1L << 40 && st.st_blocks < 1000);
    SHOW(ftruncate(fd, 0));

    section("a page's rest is zero after shrinking and growing");
    memset(buffer, 'y', sizeof buffer);
    SHOW(write(fd, buffer, 0));
    for (int i = 0; i < 100; i++)
        pwrite(fd, buffer, 64, i * 64);
    SHOW(ftruncate(fd, 100));
    SHOW(ftruncate(fd, 6400));
    SHOW(pread(fd, buffer, 64, 96));
    int zeros = 0, ys = 0;
    for (int i = 0; i < 64; i++)
        zeros += !buffer[i], ys += buffer[i] == 'y';
    printf("%d zeros, %d others\n", zeros, ys);

    section("errors");
    SHOW(read(99, buffer, 1));
    SHOW(write(99, buffer, 1));
    SHOW(read(fd, (void *)8, 1));
    SHOW(pwrite(fd, (void *)8, 1, 0));
    int dir = open(".", O_RDONLY);
    SHOW(read(dir, buffer, 1));
    SHOW(pread(dir, buffer, 1, 0));
    SHOW(write(dir, buffer, 1));
    SHOW(fallocate(fd, 0, 0, 5000));
    fstat(fd, &st);
    printf("size %ld\n", (long)st.st_size);
    SHOW(fallocate(fd, 0, -1, 10));
    SHOW(fallocate(fd, 0, 0, 0));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    SHOW(fsync(99));
    SHOW(fsync(p[0]));

    section("64 KiB of noise, written in odd pieces");
    uint32_t state = 7, sum = 0;
    static unsigned char big[65536], back[65536];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = noise(&state);
    SHOW(ftruncate(fd, 0));
    SHOW(lseek(fd, 0, SEEK_SET));
    for (size_t at = 0, n = 1; at < sizeof big; at += n, n = n * 3 % 4099 + 1) {
        if (n > sizeof big - at)
            n = sizeof big - at;
        if (write(fd, big + at, n) != (long)n)
            give_up("write at %zu", at);
    }
    SHOW(pread(fd, back, sizeof back, 0));
    HOLDS(!memcmp(big, back, sizeof big));
    for (size_t i = 0; i < sizeof back; i++)
        sum = sum * 31 + back[i];
    printf("sum %08x\n", sum);
    return 0;
}
