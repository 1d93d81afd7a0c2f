// runner: none
// Files on a disk that loses its power: `ext4 storm DIR THREADS SEED` writes, syncs, renames and removes files for ever, and says on
// standard output before each change "change NAME" and after fsync "durable NAME SIZE CRC" or "gone NAME". `ext4 fill DIR` fills the
// disk to its end, and frees it again. `ext4 calls DIR` prints what less usual calls answer.
#include "check.h"
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static uint32_t crc(const unsigned char *p, size_t n) {
    uint32_t c = ~0u;
    for (; n; n--) {
        c ^= *p++;
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
    }
    return ~c;
}

static void say(const char *format, ...) {
    char line[200];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (write(1, line, (size_t)n) != n)
        _exit(9);
}

static unsigned long seed;
static const char *base;
#define SIZE_MAX_ 60000

static void sync_directory(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    if (fd < 0 || fsync(fd))
        say("fsync of a directory: %m\n");
    close(fd);
}

static void *storm(void *arg) {
    long t = (long)arg;
    unsigned long x = seed * 1000 + (unsigned long)t + 0x9e3779b97f4a7c15;
    static __thread unsigned char buf[SIZE_MAX_];
    char dir[80];
    snprintf(dir, sizeof dir, "%s/t%ld", base, t);
    mkdir(dir, 0755);
    for (unsigned long round = 0;; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        char name[100], other[100];
        snprintf(name, sizeof name, "%s/f%lu", dir, x % 12);
        snprintf(other, sizeof other, "%s/f%lu", dir, x / 12 % 12);
        unsigned what = x >> 20 & 7;
        if (what == 0) {
            say("change %s\n", name);
            if (unlink(name) == 0) {
                sync_directory(dir);
                say("gone %s\n", name);
            }
        } else if (what == 1 && strcmp(name, other)) {
            say("change %s\nchange %s\n", name, other);
            rename(name, other);
        } else {
            size_t n = x >> 24 & 3 ? (x >> 30) % 3000 : (x >> 30) % SIZE_MAX_;
            for (size_t k = 0; k < n; k++)
                buf[k] = (unsigned char)(x >> (k % 40) ^ k * 7 ^ round);
            say("change %s\n", name);
            int fd = open(name, O_RDWR | O_CREAT | (what & 1 ? O_TRUNC : 0), 0644);
            if (fd < 0 || pwrite(fd, buf, n, 0) != (ssize_t)n || ftruncate(fd, (off_t)n) || fsync(fd))
                say("write %s: %m\n", name);
            else
                say("durable %s %zu %08x\n", name, n, crc(buf, n));
            close(fd);
        }
    }
    return NULL;
}

// Until nothing goes, in files of their own; then all of it must go away again.
static int fill(void) {
    static char buf[100000];
    char name[100];
    struct statvfs before, full, after;
    statvfs(base, &before);
    int files = 0, err = 0;
    unsigned long bytes = 0;
    memset(buf, 'x', sizeof buf);
    for (; !err && files < 10000; files++) {
        snprintf(name, sizeof name, "%s/fill%d", base, files);
        int fd = open(name, O_RDWR | O_CREAT, 0644);
        if (fd < 0) {
            err = errno;
            break;
        }
        for (int k = 0; k < 50 && !err; k++) {
            ssize_t n = write(fd, buf, sizeof buf);
            if (n < 0)
                err = errno;
            else
                bytes += (unsigned long)n;
        }
        if (fsync(fd) && !err)
            err = errno;
        close(fd);
    }
    statvfs(base, &full);
    printf("%s, nothing left: %d, most of it used: %d\n", err == ENOSPC ? "ENOSPC" : strerror(err),
           full.f_bfree * 20 < full.f_blocks, bytes > before.f_bavail * before.f_bsize / 10 * 9);
    int missing = 0;
    for (int k = 0; k <= files; k++) {
        snprintf(name, sizeof name, "%s/fill%d", base, k);
        struct stat st;
        if (stat(name, &st) == 0 && unlink(name))
            missing++;
    }
    sync();
    statvfs(base, &after);
    printf("not removed: %d, free again: %d\n", missing, after.f_bfree >= before.f_bfree - 8);
    return 0;
}

static void answer(const char *what, long r) { printf("%s: %s\n", what, r < 0 ? strerrorname_np(errno) : "ok"); }

static int calls(void) {
    char buf[5000] = "", target[5000];
    struct stat st;
    if (chdir(base))
        return 1;
    int fd = open("a", O_RDWR | O_CREAT, 0644);
    answer("fallocate", fallocate(fd, 0, 0, 100000));
    fstat(fd, &st);
    printf("size %ld, blocks %d\n", (long)st.st_size, st.st_blocks * 512 >= 100000);
    answer("keep", fallocate(fd, FALLOC_FL_KEEP_SIZE, 200000, 4096));
    pwrite(fd, "data", 4, 50000);
    printf("hole %ld, data %ld\n", (long)lseek(fd, 0, SEEK_HOLE), (long)lseek(fd, 0, SEEK_DATA) / 4096);
    answer("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 100000));
    pread(fd, buf, 4, 50000);
    printf("%d\n", buf[0]);
    answer("collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 1));
    answer("past the end", ftruncate(fd, 1l << 50));
    answer("xattr", fsetxattr(fd, "user.a", "value", 5, 0));
    answer("create again", fsetxattr(fd, "user.a", "v", 1, XATTR_CREATE));
    printf("%ld\n", (long)fgetxattr(fd, "user.a", buf, sizeof buf));
    answer("none", fgetxattr(fd, "user.b", buf, sizeof buf));
    answer("remove", fremovexattr(fd, "user.a"));
    memset(target, 'x', sizeof target);
    target[4000] = 0;
    answer("long link", symlink(target, "l"));
    printf("%ld\n", (long)readlink("l", buf, sizeof buf));
    target[4000] = 'x', target[4097] = 0;
    answer("longer link", symlink(target, "m"));
    target[256] = 0;
    answer("long name", mkdir(target, 0755));
    answer("link", link("a", "b"));
    answer("exchange", renameat2(AT_FDCWD, "a", AT_FDCWD, "l", RENAME_EXCHANGE));
    answer("no replace", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    int tmp = open(".", O_TMPFILE | O_RDWR, 0600);
    answer("nameless", tmp);
    write(tmp, "nameless", 8);
    snprintf(buf, sizeof buf, "/proc/self/fd/%d", tmp);
    answer("named", linkat(AT_FDCWD, buf, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    answer("directory", mkdir("d", 0755));
    answer("file in it", close(open("d/f", O_CREAT | O_WRONLY, 0644)));
    answer("not empty", rmdir("d"));
    answer("unlink", unlink("d/f"));
    answer("empty", rmdir("d"));
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, tmp, 0);
    ftruncate(tmp, 8192);
    p[4096] = 'm';
    answer("msync", msync(p, 8192, MS_SYNC));
    pread(tmp, buf, 1, 4096);
    printf("%c\n", buf[0]);
    struct timespec ts[2] = {{.tv_sec = 4000000000, .tv_nsec = 123456789}, {.tv_sec = -5, .tv_nsec = 1}};
    answer("times", futimens(fd, ts));
    fstat(fd, &st);
    printf("%ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
    answer("fsync", fsync(fd));
    return 0;
}

int main(int argc, char **argv) {
    base = argv[2];
    if (argc > 2 && !strcmp(argv[1], "fill"))
        return fill();
    if (argc > 2 && !strcmp(argv[1], "calls"))
        return calls();
    seed = argc > 4 ? strtoul(argv[4], NULL, 0) : 1;
    pthread_t threads[16];
    long count = argc > 3 ? atol(argv[3]) : 1;
    for (long t = 0; t < count; t++)
        pthread_create(&threads[t], NULL, storm, (void *)t);
    pthread_join(threads[0], NULL);
    return 0;
}
