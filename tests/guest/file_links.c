// Symbolic links: following, loops, lengths, trailing slashes; path lookup in all its corners.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(void)
{
    char text[5000], name[32], target[32];
    struct stat st;
    SHOW(mkdir("d", 0755));
    SHOW(close(open("d/f", O_CREAT | O_WRONLY, 0644)));

    section("symlink, readlink");
    SHOW(symlink("d/f", "s"));
    SHOW(symlink("d/f", "s"));
    SHOW(symlink("", "empty"));
    SHOW(symlink("x", "d/"));
    SHOW(symlink("x", "missing/x"));
    SHOW(readlink("s", text, sizeof text));
    printf("%.3s\n", text);
    SHOW(readlink("s", text, 2));
    SHOW(syscall(SYS_readlink, "s", text, 0));
    SHOW(readlink("d", text, sizeof text));
    SHOW(readlink("missing", text, sizeof text));
    SHOW(syscall(SYS_readlink, "s", 8, 100));
    memset(text, 'l', sizeof text);
    text[4095] = 0;
    SHOW(symlink(text, "longest"));
    SHOW(readlink("longest", text, sizeof text));
    text[4095] = 'l', text[4096] = 0;
    SHOW(symlink(text, "longer"));
    SHOW(open("longest", O_RDONLY));

    section("following");
    SHOW(stat("s", &st));
    printf("%o\n", st.st_mode & S_IFMT);
    SHOW(lstat("s", &st));
    printf("%o\n", st.st_mode & S_IFMT);
    SHOW(symlink("d", "sd"));
    SHOW(stat("sd/f", &st));
    SHOW(lstat("sd/", &st));
    printf("%o\n", st.st_mode & S_IFMT);
    SHOW(stat("sd/../sd/./f", &st));
    SHOW(symlink("../s", "d/back"));
    SHOW(stat("sd/back", &st));
    SHOW(rmdir("sd"));
    SHOW(rmdir("sd/"));
    SHOW(mkdir("sd", 0755));
    SHOW(mkdir("s/x", 0755));
    SHOW(chdir("sd"));
    SHOW(access("../d/f", F_OK));
    SHOW(chdir(".."));
    SHOW(unlink("sd/back"));
    SHOW(rename("s", "renamed"));
    SHOW(readlink("renamed", text, sizeof text));

    section("loops");
    SHOW(symlink("loop", "loop"));
    SHOW(open("loop", O_RDONLY));
    SHOW(open("loop", O_RDWR | O_CREAT, 0644));
    SHOW(stat("loop", &st));
    SHOW(lstat("loop", &st));
    SHOW(access("loop/x", F_OK));
    SHOW(symlink("b", "a"));
    SHOW(symlink("a", "b"));
    SHOW(chdir("a"));
    SHOW(mkdir("a/x", 0755));
    // A chain: 40 links are followed, 41 are not.
    SHOW(close(open("chain0", O_CREAT | O_WRONLY, 0644)));
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof name, "chain%d", i);
        snprintf(target, sizeof target, "chain%d", i - 1);
        if (symlink(target, name))
            give_up("symlink");
    }
    SHOW(stat("chain40", &st));
    SHOW(stat("chain41", &st));
    SHOW(unlink("loop"));

    section("lengths");
    memset(text, 'n', sizeof text);
    text[256] = 0;
    SHOW(stat(text, &st));
    text[255] = 0;
    SHOW(stat(text, &st));
    for (int i = 0; i < 4095; i += 2)
        text[i] = '.', text[i + 1] = '/';
    text[4095] = 0;
    SHOW(stat(text, &st));
    text[4095] = '/', text[4096] = 0;
    SHOW(stat(text, &st));
    // A long way down and back, by relative steps only.
    for (int i = 0; i < 100; i++)
        if (mkdir("a-directory-with-a-rather-long-name-for-its-purpose", 0755) ||
            chdir("a-directory-with-a-rather-long-name-for-its-purpose"))
            give_up("level %d", i);
    SHOW(syscall(SYS_getcwd, text, 4096));
    for (int i = 0; i < 100; i++)
        if (chdir("..") || rmdir("a-directory-with-a-rather-long-name-for-its-purpose"))
            give_up("level %d", i);

    section("slashes and dots");
    SHOW(stat("d//f", &st));
    SHOW(stat(".///./d/./f", &st));
    SHOW(stat("d/f/", &st));
    SHOW(stat("d/f/.", &st));
    SHOW(stat("d/f/..", &st));
    SHOW(stat("d/missing/..", &st));
    SHOW(stat("/", &st));
    SHOW(stat("//", &st));
    SHOW(stat("/..", &st));
    SHOW(stat("/../dev/null", &st));
    SHOW(open("/dev/null/", O_RDONLY));
    SHOW(open("d/.", O_RDONLY | O_DIRECTORY) >= 0);
    SHOW(open("d/..", O_RDONLY | O_DIRECTORY) >= 0);
    return 0;
}
