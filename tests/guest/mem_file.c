// Mapped files: shared mappings agree with read and write, private ones copy, SIGBUS behind the end, the mapping outlives
// descriptor and name.
// build: musl glibc
#include "check.h"
#include "probe.h"
#include <fcntl.h>
#include <sys/mman.h>

#define PAGE 4096UL

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    const int RW = PROT_READ | PROT_WRITE;
    static char page[PAGE], back[PAGE];
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    for (int i = 0; i < 4; i++) {
        memset(page, 'a' + i, PAGE);
        SHOW(write(fd, page, PAGE));
    }

    section("shared");
    char *s = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    char *t = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, PAGE);
    HOLDS(s != MAP_FAILED && t != MAP_FAILED);
    probe("first", s);
    probe("second through the other", t);
    memcpy(s + PAGE, "MAPPED", 6);
    printf("%.8s\n", t);
    SHOW(pread(fd, back, 8, PAGE));
    printf("%.8s\n", back);
    SHOW(pwrite(fd, "WRITTEN", 7, 2 * PAGE - 3));
    printf("%.5s %.5s\n", s + 2 * PAGE - 3, t + PAGE);
    SHOW(msync(s, 4 * PAGE, MS_SYNC));

    section("private");
    char *p = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);
    probe("before", p + 3 * PAGE);
    SHOW(pwrite(fd, "XYZ", 3, 3 * PAGE)); // not copied yet: the page is the file's
    memcpy(p + 2 * PAGE, "PRIVATE", 7);
    printf("%.8s %.8s\n", p + 2 * PAGE, s + 2 * PAGE);
    SHOW(pwrite(fd, "FILE", 4, 2 * PAGE));
    printf("%.8s %.8s\n", p + 2 * PAGE, s + 2 * PAGE);
    SHOW(madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED)); // forgets the copy
    printf("%.8s\n", p + 2 * PAGE);

    section("behind the end");
    SHOW(ftruncate(fd, PAGE + 10));
    probe("last bytes", s + PAGE + 9);
    probe("rest of the last page", s + PAGE + 10);
    probe("behind", s + 2 * PAGE);
    probe_write("write behind", s + 3 * PAGE + 17);
    probe("private behind", p + 2 * PAGE);
    SHOW(ftruncate(fd, 4 * PAGE));
    probe("grown again", s + 3 * PAGE);
    probe("private, grown again", p + 2 * PAGE);
    memset(s + PAGE, 'r', PAGE);
    SHOW(pread(fd, back, PAGE, PAGE));
    HOLDS(!memcmp(back, s + PAGE, PAGE));

    section("a file that ends within a page");
    int odd = open("odd", O_RDWR | O_CREAT, 0644);
    SHOW(write(odd, "12345", 5));
    char *o = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, odd, 0);
    memcpy(o, "abcdefgh", 8); // what is written behind the end does not reach the file
    SHOW(pread(odd, back, 100, 0));
    printf("%.5s\n", back);
    probe("zero rest", o + 100);
    probe("next page", o + PAGE);
    SHOW(ftruncate(odd, 20));

    section("what a descriptor allows");
    int ro = open("f", O_RDONLY), wo = open("f", O_WRONLY);
    SHOW((long)mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0));
    HOLDS(mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 0) != MAP_FAILED);
    SHOW((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0));
    char *r = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
    SHOW(mprotect(r, PAGE, RW));
    SHOW((long)mmap(NULL, PAGE, RW, MAP_SHARED, fd, 1));
    SHOW((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0));
    int pipes[2];
    SHOW(pipe(pipes));
    SHOW((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0));

    section("without descriptor and name");
    SHOW(close(fd));
    SHOW(unlink("f"));
    probe("still there", s);
    memcpy(s, "outlives", 8);
    SHOW(pread(ro, back, 8, 0));
    printf("%.8s\n", back);

    section("read into a mapping of the same file, write from it");
    fd = open("self", O_RDWR | O_CREAT, 0644);
    SHOW(ftruncate(fd, 4 * PAGE));
    s = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    strcpy(s, "onto myself");
    SHOW(pwrite(fd, s, 12, 2 * PAGE - 6));
    SHOW(pread(fd, s + 3 * PAGE, 12, 2 * PAGE - 6));
    printf("%s\n", s + 3 * PAGE);
    p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    SHOW(pread(fd, p, 5, 0)); // a read-only page as the buffer

    section("/dev/zero and holes");
    int zero = open("/dev/zero", O_RDWR);
    p = mmap(NULL, PAGE, RW, MAP_PRIVATE, zero, 0);
    probe("zero", p);
    probe_write("zero", p);
    fd = open("sparse", O_RDWR | O_CREAT, 0644);
    SHOW(ftruncate(fd, 1L << 30));
    s = mmap(NULL, 1L << 30, RW, MAP_SHARED, fd, 0);
    probe("hole", s + (1L << 29));
    probe_write("hole", s + (1L << 29) + PAGE);
    SHOW(pread(fd, back, 1, (1L << 29) + PAGE));
    printf("%d\n", back[0]);
    return 0;
}
