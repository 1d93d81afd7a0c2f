// open(2) and friends: flags, the lowest free descriptor, and an errno for each thing that can be wrong.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char name_too_long[300], path_too_long[5000];

int main(void)
{
    umask(022);
    memset(name_too_long, 'n', sizeof name_too_long - 1);
    for (size_t i = 0; i < sizeof path_too_long - 1; i++)
        path_too_long[i] = i % 2 ? '/' : '.';

    section("errors");
    SHOW(open("missing", O_RDONLY));
    SHOW(open("", O_RDONLY));
    SHOW(open("missing/file", O_RDWR | O_CREAT, 0644));
    SHOW(open(name_too_long, O_RDONLY));
    SHOW(open(path_too_long, O_RDONLY));
    SHOW(open((char *)1, O_RDONLY));
    SHOW(mkdir("dir", 0755));
    SHOW(open("dir", O_RDWR));
    SHOW(open("dir", O_WRONLY | O_CREAT, 0644));
    SHOW(open("dir/", O_WRONLY | O_CREAT, 0644));
    SHOW(open("new/", O_WRONLY | O_CREAT, 0644));
    SHOW(open("dir", O_RDONLY | O_CREAT | O_EXCL, 0644));
    SHOW(open("dir", O_RDONLY | O_TRUNC));

    section("creation");
    SHOW(open("file", O_RDWR | O_CREAT | O_EXCL, 0666));
    SHOW(open("file", O_RDWR | O_CREAT | O_EXCL, 0666));
    SHOW(open("file/", O_RDONLY));
    SHOW(open("file/x", O_RDONLY));
    SHOW(open("file/..", O_RDONLY));
    SHOW(open("file", O_RDONLY | O_DIRECTORY));
    SHOW(open("dir", O_RDONLY | O_DIRECTORY));
    SHOW(close(4));
    SHOW(write(3, "hello world", 11));
    SHOW(open("file", O_RDONLY));
    char text[32] = "";
    SHOW(read(4, text, 5));
    printf("%s\n", text);
    SHOW(write(4, "x", 1));
    SHOW(close(4));
    SHOW(open("file", O_WRONLY));
    SHOW(read(4, text, 5));
    SHOW(close(4));
    SHOW(open("file", O_RDWR | O_TRUNC));
    struct stat st;
    SHOW(fstat(4, &st));
    printf("size %ld mode %o\n", (long)st.st_size, st.st_mode);
    SHOW(close(4));
    SHOW(close(4));
    SHOW(close(-1));
    SHOW(close(1000000));

    section("lowest free descriptor");
    SHOW(open("file", O_RDONLY));
    SHOW(open("file", O_RDONLY));
    SHOW(open("file", O_RDONLY));
    SHOW(close(5));
    SHOW(close(4));
    SHOW(open("file", O_RDONLY));
    SHOW(open("file", O_RDONLY));

    section("append");
    SHOW(open("log", O_WRONLY | O_CREAT | O_APPEND, 0600));
    SHOW(open("log", O_RDWR));
    SHOW(write(7, "one", 3));
    SHOW(lseek(7, 0, SEEK_SET));
    SHOW(write(7, "two", 3));
    SHOW(pwrite(7, "TRE", 3, 0)); // O_APPEND wins over the offset
    SHOW(lseek(7, 0, SEEK_CUR));
    SHOW(read(8, text, sizeof text));
    printf("%.9s\n", text);
    SHOW(fcntl(7, F_GETFL) & (O_ACCMODE | O_APPEND));
    SHOW(fcntl(7, F_SETFL, 0));
    SHOW(pwrite(7, "ONE", 3, 0));
    memset(text, 0, sizeof text);
    SHOW(pread(8, text, sizeof text, 0));
    printf("%s\n", text);

    section("openat");
    int dir = open("dir", O_RDONLY | O_DIRECTORY);
    SHOW(dir);
    SHOW(openat(dir, "inner", O_RDWR | O_CREAT, 0640));
    SHOW(openat(dir, "../file", O_RDONLY));
    SHOW(openat(AT_FDCWD, "dir/inner", O_RDONLY));
    SHOW(openat(3, "inner", O_RDONLY));
    SHOW(openat(-5, "inner", O_RDONLY));
    SHOW(openat(77, "inner", O_RDONLY));
    SHOW(stat("dir/inner", &st));
    printf("mode %o\n", st.st_mode);

    section("O_NOFOLLOW, O_PATH, O_CLOEXEC");
    SHOW(symlink("file", "link"));
    SHOW(open("link", O_RDONLY | O_NOFOLLOW));
    int path = open("link", O_PATH | O_NOFOLLOW);
    SHOW(path >= 0);
    SHOW(fstat(path, &st));
    printf("type %o\n", st.st_mode & S_IFMT);
    SHOW(read(path, text, 1));
    SHOW(fchmod(path, 0600));
    close(path);
    path = open("file", O_RDONLY | O_CLOEXEC);
    SHOW(fcntl(path, F_GETFD));
    close(path);
    SHOW(open("dangling-target", O_RDONLY));
    SHOW(symlink("made-through-link", "dangling"));
    SHOW(close(open("dangling", O_RDWR | O_CREAT, 0644)));
    SHOW(access("made-through-link", F_OK));
    SHOW(symlink("nothing", "dangling2"));
    SHOW(open("dangling2", O_RDWR | O_CREAT | O_EXCL, 0644));

    section("too many");
    struct rlimit limit = {16, 16};
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    int fd, last = -1;
    while ((fd = open("file", O_RDONLY)) >= 0)
        last = fd;
    printf("last %d then %s\n", last, errno_name(errno));
    SHOW(dup(3));
    SHOW(dup2(3, 15));
    SHOW(dup2(3, 16));
    int p[2];
    SHOW(pipe(p));
    SHOW(open("one-too-many", O_RDWR | O_CREAT, 0644));
    SHOW(access("one-too-many", F_OK));
    SHOW(truncate("file", 10));
    SHOW(open("file", O_RDWR | O_TRUNC));
    struct stat one;
    SHOW(stat("file", &one));
    printf("%ld bytes\n", (long)one.st_size);
    return 0;
}
