// overlay_ops: changes of a tree that was there before (tests/system/overlay.py makes it): on Knarr it lies in an image below the
// overlay, on Linux in a plain directory; nobody may see the difference. The tree is the argument.
// runner: none
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CHECK(what) ((what) ? 0 : printf("line %d: not so: %s (errno %s)\n", __LINE__, #what, errno_name(errno)))
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static struct stat at(const char *name) {
    struct stat st = {0};
    if (lstat(name, &st) < 0)
        printf("lstat %s: %s\n", name, strerror(errno));
    return st;
}

// Everything of a file that does not depend on the file system it is on.
static void show(const char *name) {
    struct stat st = at(name);
    if (!st.st_mode)
        return;
    printf("%s: %o", name, st.st_mode);
    if (!S_ISDIR(st.st_mode))
        printf(" links %lu size %ld", (unsigned long)st.st_nlink, (long)st.st_size);
    if (S_ISREG(st.st_mode)) {
        unsigned sum = 0;
        unsigned char buf[777];
        long n;
        int fd = open(name, O_RDONLY);
        while ((n = read(fd, buf, sizeof(buf))) > 0)
            for (long i = 0; i < n; i++)
                sum = sum * 31 + buf[i];
        printf(" sum %08x%s", sum, n < 0 ? " and a failure" : "");
        close(fd);
    }
    if (S_ISLNK(st.st_mode)) {
        char target[256];
        long n = readlink(name, target, sizeof(target));
        printf(" -> %.*s", (int)n, target);
    }
    printf("\n");
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *dir) {
    char *names[512];
    int n = 0, wrong = 0;
    DIR *d = opendir(dir);
    if (!d) {
        printf("%s: %s\n", dir, strerror(errno));
        return;
    }
    for (struct dirent *e; (e = readdir(d)) && n < 512;) {
        struct stat st;
        if (strcmp(e->d_name, "..") != 0 && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            wrong += st.st_ino != e->d_ino || (e->d_type != DT_UNKNOWN && e->d_type != (st.st_mode & S_IFMT) >> 12);
        names[n++] = strdup(e->d_name);
    }
    closedir(d);
    qsort(names, n, sizeof(*names), by_name);
    printf("%s (%d):", dir, n);
    for (int i = 0; i < n; i++) {
        if (i < 20)
            printf(" %s", names[i]);
        free(names[i]);
    }
    printf("%s%s\n", n > 20 ? " ..." : "", wrong ? ", entries that are not what stat says" : "");
}

static void put(const char *name, const char *text, int flags) {
    int fd = open(name, O_WRONLY | flags, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (long)strlen(text))
        printf("%s: %s\n", name, strerror(errno));
    close(fd);
}

static int rename2(const char *a, const char *b, unsigned flags) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void names(void) {
    ino_t ino = at("small").st_ino;
    printf("-- names of one file\n");
    CHECK(at("link2").st_ino == ino && at("dir/link3").st_ino == ino);
    show("small");
    put("link2", "more\n", O_APPEND);
    show("dir/link3");
    SHOW(unlink("small"));
    SHOW(link("link2", "dir/new-link"));
    show("dir/new-link");
    SHOW(rename("link2", "dir/link3")); // the same file: nothing happens
    show("link2");
    SHOW(unlink("link2"));
    SHOW(unlink("dir/link3"));
    SHOW(unlink("dir/link3"));
    show("dir/new-link");
    CHECK(at("dir/new-link").st_ino == ino);
    SHOW(link("dir/new-link", "small"));
    CHECK(at("small").st_ino == ino);
    SHOW(link("dir", "dir2"));
    SHOW(link("symlink", "symlink2"));
    show("symlink2");
    SHOW(unlink("symlink"));
    SHOW(symlink("elsewhere", "symlink"));
    show("symlink");
    put("dangling", "now there\n", O_CREAT);
    show("nowhere");
    list("dir");
}

static void renames(void) {
    printf("-- renames\n");
    ino_t deep = at("dir/sub/deep").st_ino, file = at("moving/in/file").st_ino;
    SHOW(rename("small", "victim"));
    show("victim");
    SHOW(rename("moving", "dir/moved"));
    CHECK(at("dir/moved/in/file").st_ino == file);
    list("dir/moved");
    SHOW(access("moving", F_OK));
    SHOW(mkdir("moving", 0755));
    list("moving");
    SHOW(rename("dir/moved", "moving"));
    show("moving/in/file");
    SHOW(rename("dir", "dir/sub/x"));
    SHOW(rename("dir/sub/deep", "full"));
    SHOW(rename("full", "empty"));
    list("empty");
    SHOW(rename("other", "moving"));
    SHOW(rename("moving", "other"));
    SHOW(rename2("other", "victim", RENAME_NOREPLACE));
    SHOW(rename2("other", "other2", RENAME_NOREPLACE));
    SHOW(rename2("other2", "nothing", RENAME_EXCHANGE));
    SHOW(rename2("other2", "dir/sub", RENAME_EXCHANGE));
    show("dir/sub");
    show("other2/deep/file");
    CHECK(at("other2/deep").st_ino == deep);
    list(".");
    list("dir");
    SHOW(rename2("other2", "dir/sub", RENAME_EXCHANGE));
    list("dir/sub");
    SHOW(rename("dir/sub/file/", "x"));
    SHOW(rename("nothing", "x"));
    SHOW(rename("dir/.", "x"));
}

static void directories(void) {
    printf("-- directories\n");
    SHOW(rmdir("dir/sub"));
    SHOW(rmdir("victim"));
    SHOW(unlink("dir/sub/deep/file"));
    SHOW(rmdir("dir/sub/deep"));
    int fd = open("dir/sub", O_RDONLY | O_DIRECTORY);
    SHOW(unlink("dir/sub/file"));
    SHOW(rmdir("dir/sub"));
    SHOW(openat(fd, "file", O_RDONLY));
    SHOW(openat(fd, "new", O_CREAT | O_WRONLY, 0644));
    close(fd);
    SHOW(mkdir("dir/sub", 0700));
    list("dir/sub");
    put("dir/sub/file", "new\n", O_CREAT | O_EXCL);
    show("dir/sub/file");
    SHOW(mkdir("empty", 0755));
    SHOW(open("full/file", O_CREAT | O_EXCL, 0644));
    fd = open("dir", O_TMPFILE | O_RDWR, 0600);
    if (fd >= 0) {
        char name[64];
        CHECK(write(fd, "temporary", 9) == 9);
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        CHECK(linkat(AT_FDCWD, name, AT_FDCWD, "dir/named", AT_SYMLINK_FOLLOW) == 0);
        close(fd);
    } else {
        put("dir/named", "temporary", O_CREAT);
    }
    show("dir/named");
}

// While a directory is read, entries come and go. What stays is seen once.
static void listing(void) {
    printf("-- listing\n");
    int seen[300] = {0}, other = 0, n = 0;
    DIR *d = opendir("many");
    long place = 0;
    for (int round = 0; round < 2; round++) {
        for (struct dirent *e; (round || n < 100) && (e = readdir(d)); n++) {
            int i;
            if (sscanf(e->d_name, "file%d", &i) == 1)
                seen[i]++;
            else
                other++;
        }
        if (round)
            break;
        place = telldir(d);
        for (int i = 0; i < 300; i += 3) { // a third goes, in different ways
            char name[32], to[32];
            snprintf(name, sizeof(name), "many/file%03d", i);
            snprintf(to, sizeof(to), "dir/%d", i);
            if (i % 2 ? unlink(name) : rename(name, to))
                printf("%s: %s\n", name, strerror(errno));
        }
        for (int i = 1; i < 300; i += 30) { // some are replaced
            char name[32];
            snprintf(name, sizeof(name), "many/file%03d", i);
            put("many/tmp", "replaced\n", O_CREAT | O_EXCL);
            if (rename("many/tmp", name))
                printf("%s: %s\n", name, strerror(errno));
        }
        seekdir(d, place);
    }
    int once = 0;
    for (int i = 0; i < 300; i++)
        once += i % 3 && (i - 1) % 30 && seen[i] == 1;
    printf("%d of 190 that nobody touched were seen once\n", once);
    closedir(d);
    list("many");
    show("many/file031");
    // rm -r while reading
    d = opendir("many");
    n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            n += unlinkat(dirfd(d), e->d_name, 0) == 0;
    printf("%d removed while reading\n", n);
    closedir(d);
    list("many");
    SHOW(rmdir("many"));
}

static void contents(void) {
    printf("-- contents\n");
    ino_t ino = at("pages").st_ino;
    int fd = open("pages", O_RDWR);
    char buf[8192];
    CHECK(pwrite(fd, "in the middle", 13, 3 * 4096 + 5) == 13);
    CHECK(pwrite(fd, "over two pages", 14, 6 * 4096 - 7) == 14);
    memset(buf, '*', sizeof(buf));
    CHECK(pwrite(fd, buf, 4096, 8 * 4096) == 4096);
    CHECK(pwrite(fd, "far behind", 10, 20 * 4096) == 10);
    show("pages");
    CHECK(at("pages").st_ino == ino);
    CHECK(pread(fd, buf, 100, 10 * 4096 + 4) == 100);
    printf("%.4s, then %d\n", buf, buf[4] | buf[50]);
    struct iovec v[3] = {{buf, 10}, {buf + 10, 5000}, {buf + 5010, 100}};
    CHECK(preadv(fd, v, 3, 3 * 4096 - 100) == 5110);
    printf("%c%c %.13s\n", buf[99], buf[100], buf + 105);
    // The application's memory ends in the middle of a page that would be written as a whole.
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    memset(edge, 'e', 4096);
    long n = pwrite(fd, edge + 1000, 4096, 4096);
    printf("%s\n", n == 3096 || (n < 0 && errno == EFAULT) ? "short or EFAULT" : "something else");
    CHECK(pread(fd, buf, 4096, 4096) == 4096);
    printf("%c\n", buf[4000]);
    close(fd);

    SHOW(truncate("cut", 2 * 4096 + 10));
    SHOW(truncate("cut", 5 * 4096));
    show("cut");
    SHOW(truncate("cut", 0));
    SHOW(truncate("cut", 4096));
    show("cut");
    fd = open("sparse-end", O_RDWR | O_TRUNC);
    CHECK(pwrite(fd, "x", 1, 100000) == 1);
    close(fd);
    show("sparse-end");

    fd = open("holes", O_RDWR);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096 + 10, 5 * 4096) < 0) {
        char *zeroes = calloc(5, 4096);
        CHECK(pwrite(fd, zeroes, 5 * 4096, 4096 + 10) == 5 * 4096);
        free(zeroes);
    }
    show("holes");
    CHECK(pwrite(fd, "in a hole", 9, 3 * 4096) == 9);
    show("holes");
    if (fallocate(fd, 0, 8 * 4096, 6 * 4096) < 0)
        CHECK(ftruncate(fd, 14 * 4096) == 0);
    show("holes");
    CHECK(lseek(fd, 0, SEEK_DATA) == 0 && lseek(fd, 0, SEEK_END) == 14 * 4096);
    close(fd);
}

static void mappings(void) {
    printf("-- mappings\n");
    int fd = open("mapped", O_RDWR), ro = open("mapped", O_RDONLY);
    char *shared = mmap(NULL, 10 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *readable = mmap(NULL, 10 * 4096, PROT_READ, MAP_SHARED, ro, 0);
    char *private = mmap(NULL, 10 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0);
    for (int i = 0; i < 10; i++)
        CHECK(shared[i * 4096] == 'A' + i && readable[i * 4096 + 1] == 'A' + i && private[i * 4096 + 2] == 'A' + i);
    private[2 * 4096 + 10] = 'p';
    private[3 * 4096 + 10] = 'p';
    // A write(2) to pages that are mapped three times, one of them copied privately.
    CHECK(pwrite(fd, "W", 1, 2 * 4096 + 20) == 1 && pwrite(fd, "W", 1, 4 * 4096 + 20) == 1);
    printf("%c%c %c%c %c%c %c\n", shared[2 * 4096 + 20], shared[4 * 4096 + 20], readable[2 * 4096 + 20],
           readable[4 * 4096 + 20], private[2 * 4096 + 20], private[4 * 4096 + 20], private[2 * 4096 + 10]);
    // A store.
    shared[3 * 4096 + 30] = 'S';
    shared[5 * 4096 + 30] = 'S';
    char c[2];
    CHECK(pread(ro, c, 1, 3 * 4096 + 30) == 1 && pread(ro, c + 1, 1, 5 * 4096 + 30) == 1);
    printf("%c%c %c%c %c%c %c\n", c[0], c[1], readable[3 * 4096 + 30], readable[5 * 4096 + 30], private[3 * 4096 + 30],
           private[5 * 4096 + 30], private[3 * 4096 + 10]);
    // The child's mappings are the same objects.
    pid_t child = fork();
    if (child == 0) {
        shared[6 * 4096] = 'c';
        private[6 * 4096 + 1] = 'c';
        CHECK(pwrite(fd, "c", 1, 7 * 4096) == 1);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("%c%c%c %c\n", shared[6 * 4096], readable[6 * 4096], readable[7 * 4096], private[6 * 4096 + 1]);
    SHOW(msync(shared, 10 * 4096, MS_SYNC));
    SHOW(truncate("mapped", 4 * 4096 + 100));
    printf("%d %c\n", readable[4 * 4096 + 100], readable[4 * 4096 + 99]);
    SHOW(truncate("mapped", 8 * 4096));
    printf("%d %d\n", readable[5 * 4096], shared[7 * 4096]);
    SHOW(unlink("mapped"));
    shared[0] = 'u';
    printf("%c\n", readable[0]);
    munmap(shared, 10 * 4096);
    munmap(readable, 10 * 4096);
    munmap(private, 10 * 4096);
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    printf("links %lu size %ld\n", (unsigned long)st.st_nlink, (long)st.st_size);
    close(fd);
    close(ro);
}

static void run(const char *program) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, (char *)NULL);
        printf("exec: %s\n", strerror(errno));
        fflush(stdout);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", WEXITSTATUS(status));
}

static void programs(void) {
    printf("-- programs\n");
    run("./program");
    int fd = open("program", O_RDWR);
    run("./program"); // somebody may write to it
    close(fd);
    SHOW(chmod("program", 0644));
    if (geteuid() != 0 || access("program", X_OK))
        run("./program");
    SHOW(chmod("program", 0755));
    run("./program");
    // A copy by each of the ways that copy within the kernel.
    int in = open("program", O_RDONLY);
    struct stat st = at("program");
    off_t from = 0;
    int out = open("by-sendfile", O_CREAT | O_WRONLY | O_EXCL, 0755);
    while (from < st.st_size && sendfile(out, in, &from, (size_t)(st.st_size - from)) > 0)
        ;
    close(out);
    run("./by-sendfile");
    out = open("by-copy", O_CREAT | O_WRONLY | O_EXCL, 0755);
    loff_t a = 0, b = 0;
    while (a < st.st_size && copy_file_range(in, &a, out, &b, (size_t)(st.st_size - a), 0) > 0)
        ;
    close(out);
    printf("%s\n", at("by-copy").st_size == st.st_size ? "the same size" : "another size");
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    a = 4096 - 10;
    long n = splice(in, &a, pipes[1], NULL, 100, 0);
    char x[100], y[100];
    CHECK(n > 0 && read(pipes[0], x, (size_t)n) == n && pread(in, y, (size_t)n, 4096 - 10) == n &&
          memcmp(x, y, (size_t)n) == 0);
    close(in);
}

static void attributes(void) {
    printf("-- attributes\n");
    struct timespec t[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    ino_t ino = at("attributes").st_ino;
    SHOW(utimensat(AT_FDCWD, "attributes", t, 0));
    SHOW(chmod("attributes", 0640));
    SHOW(chown("attributes", geteuid(), getegid()));
    struct stat st = at("attributes");
    printf("%o %ld.%09ld %ld.%09ld\n", st.st_mode, (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec,
           st.st_mtim.tv_nsec);
    CHECK(st.st_ino == ino && st.st_ctim.tv_sec > 1100000000);
    put("attributes", "x", O_APPEND);
    CHECK(at("attributes").st_mtim.tv_sec > 1100000000);
    show("attributes");
    show("setuid");
    SHOW(chmod("dir", 0711));
    show("dir");
    time_t before = at("empty").st_mtim.tv_sec;
    CHECK(before > 0);
    // A FIFO of the image is one.
    int r = open("fifo", O_RDONLY | O_NONBLOCK), w = open("fifo", O_WRONLY);
    char c = 0;
    CHECK(write(w, "f", 1) == 1 && read(r, &c, 1) == 1 && c == 'f');
    close(r);
    close(w);
    int a = open("attributes", O_RDONLY), b = open("attributes", O_RDWR);
    SHOW(flock(a, LOCK_EX));
    SHOW(flock(b, LOCK_EX | LOCK_NB));
    close(a);
    close(b);
}

// A mapped file may be larger than the memory.
static int sum_mapped(const char *name) {
    struct stat st = at(name);
    int fd = open(name, O_RDONLY);
    const unsigned char *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return 1;
    for (int round = 0; round < 2; round++) {
        unsigned long sum = 0;
        for (long i = 0; i < st.st_size; i += 4096)
            sum = sum * 31 + data[i] + data[i + 4095];
        printf("%016lx\n", sum);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--map") == 0)
        return sum_mapped(argv[2]);
    if (argc < 2 || chdir(argv[1]) < 0)
        return 1;
    umask(022);
    list(".");
    names();
    renames();
    directories();
    listing();
    contents();
    mappings();
    programs();
    attributes();
    list(".");
    return 0;
}
