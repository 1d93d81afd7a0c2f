// Names: mkdir, rmdir, link, unlink, rename in all their combinations and errors; files that live on without a name.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

static void touch(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT, 0644));
}

static void links(const char *name)
{
    struct stat st;
    if (lstat(name, &st))
        printf("%s: %s\n", name, errno_name(errno));
    else
        printf("%s: type %o links %lu size %ld\n", name, st.st_mode & S_IFMT, S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_nlink,
               S_ISDIR(st.st_mode) ? 0 : (long)st.st_size);
}

int main(void)
{
    umask(0);
    char long_name[257];
    memset(long_name, 'a', 256);
    long_name[256] = 0;

    section("mkdir, rmdir");
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d/", 0755));
    SHOW(mkdir("e/", 0700));
    SHOW(mkdir("missing/x", 0700));
    SHOW(mkdir(".", 0700));
    SHOW(mkdir("d/..", 0700));
    SHOW(mkdir("", 0700));
    SHOW(mkdir(long_name, 0700));
    SHOW(mkdir(long_name + 1, 0700)); // 255 bytes are allowed
    SHOW(rmdir(long_name + 1));
    touch("f");
    SHOW(mkdir("f", 0700));
    SHOW(mkdir("f/x", 0700));
    SHOW(rmdir("f"));
    SHOW(rmdir("missing"));
    SHOW(rmdir("."));
    SHOW(rmdir("d/."));
    SHOW(rmdir("d/.."));
    SHOW(mkdir("d/sub", 0700));
    SHOW(rmdir("d"));
    SHOW(rmdir("d/sub/"));
    SHOW(rmdir("e"));
    SHOW(unlink("d"));
    SHOW(unlink("d/"));
    SHOW(unlink("f/"));
    SHOW(unlink("missing"));
    SHOW(unlinkat(AT_FDCWD, "d", 0));
    SHOW(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
    SHOW(unlinkat(AT_FDCWD, "f", 0x10000));
    SHOW(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));

    section("link");
    SHOW(link("f", "g"));
    links("f");
    SHOW(link("f", "g"));
    SHOW(link("missing", "h"));
    SHOW(mkdir("d", 0755));
    SHOW(link("d", "h"));
    SHOW(link("f", "d/f"));
    SHOW(link("f", "missing/f"));
    SHOW(link("f", "h/"));
    links("f");
    SHOW(unlink("g"));
    SHOW(unlink("d/f"));
    links("f");
    SHOW(symlink("f", "s"));
    SHOW(link("s", "hard-s")); // the link itself
    links("hard-s");
    SHOW(linkat(AT_FDCWD, "s", AT_FDCWD, "hard-f", AT_SYMLINK_FOLLOW));
    links("hard-f");
    SHOW(unlink("hard-s"));
    SHOW(unlink("hard-f"));

    section("rename");
    SHOW(rename("f", "f2"));
    links("f");
    links("f2");
    SHOW(rename("f2", "f"));
    SHOW(rename("missing", "x"));
    SHOW(rename("f", "missing/x"));
    SHOW(rename("f", "d"));
    SHOW(rename("d", "f"));
    SHOW(rename("d", "d/inside"));
    SHOW(mkdir("d/a", 0755));
    SHOW(mkdir("d/a/b", 0755));
    SHOW(rename("d", "d/a/b/c"));
    SHOW(rename("d/a", "d"));
    SHOW(mkdir("empty", 0755));
    SHOW(rename("d", "empty"));
    links("d");
    links("empty/a");
    SHOW(mkdir("d", 0755));
    SHOW(rename("d", "empty"));
    SHOW(rename("d/", "moved/"));
    SHOW(rename("f", "x/"));
    SHOW(rename("f/", "x"));
    SHOW(rename(".", "x"));
    SHOW(rename("f", ".."));
    SHOW(rename("f", "f"));
    SHOW(link("f", "same"));
    SHOW(rename("f", "same")); // two names of one file: nothing happens
    links("f");
    SHOW(unlink("same"));
    touch("target");
    int fd = open("target", O_RDWR);
    SHOW(write(fd, "replaced", 8));
    SHOW(rename("f", "target"));
    links("target");
    char text[16] = "";
    SHOW(pread(fd, text, 16, 0));
    struct stat st;
    SHOW(fstat(fd, &st));
    printf("%s, links %lu\n", text, (unsigned long)st.st_nlink);
    close(fd);
    touch("one"), touch("two");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "two", 1)); // RENAME_NOREPLACE
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "one", AT_FDCWD, "three", 1));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "three", AT_FDCWD, "empty", 2)); // RENAME_EXCHANGE
    links("three");
    links("empty");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "three", AT_FDCWD, "nowhere", 2));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "three", AT_FDCWD, "empty", 3));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "three", AT_FDCWD, "empty", 64));

    section("without a name");
    fd = open("ghost", O_RDWR | O_CREAT, 0644);
    SHOW(write(fd, "boo", 3));
    SHOW(unlink("ghost"));
    SHOW(open("ghost", O_RDONLY));
    SHOW(fstat(fd, &st));
    printf("links %lu\n", (unsigned long)st.st_nlink);
    SHOW(write(fd, "!", 1));
    memset(text, 0, sizeof text);
    SHOW(pread(fd, text, 16, 0));
    printf("%s\n", text);
    touch("ghost"); // another file by the same name
    SHOW(fstat(fd, &st));
    printf("size %ld\n", (long)st.st_size);
    SHOW(mkdir("gone", 0755));
    SHOW(chdir("gone"));
    SHOW(rmdir("../gone"));
    SHOW(open("x", O_RDWR | O_CREAT, 0644));
    SHOW(mkdir("x", 0755));
    HOLDS(getcwd(text, sizeof text) == NULL && errno == ENOENT);
    SHOW(chdir(".."));
    return 0;
}
