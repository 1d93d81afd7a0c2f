// inotify: which events, in which order, with which names, for everything that can happen to files and directories.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>

static int in;
static const char *names[40]; // of watches, by number

static int watch(const char *path, uint32_t mask, const char *name)
{
    int wd = inotify_add_watch(in, path, mask);
    if (wd < 0)
        printf("watch %s: %s\n", path, errno_name(errno));
    else
        names[wd] = name;
    return wd;
}

static void print_mask(uint32_t mask)
{
    static const char *const bits[32] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM",
                                         "MOVED_TO", "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF", NULL, "UNMOUNT",
                                         "Q_OVERFLOW", "IGNORED", [30] = "ISDIR", [31] = "ONESHOT"};
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1)
            printf(" %s", bits[i] ? bits[i] : "?");
}

// Prints what is in the queue. Cookies are numbered as they come.
static void events(const char *what)
{
    static uint32_t last_cookie;
    char buf[8192] __attribute__((aligned(8)));
    int pending = 0;
    printf("%s:\n", what);
    ioctl(in, FIONREAD, &pending);
    long n = read(in, buf, sizeof buf);
    if (n < 0 && errno != EAGAIN)
        printf("  %s\n", errno_name(errno));
    if (pending != (n < 0 ? 0 : n))
        printf("  FIONREAD said %d of %ld\n", pending, n);
    for (char *p = buf; n > 0 && p < buf + n;) {
        struct inotify_event *e = (void *)p;
        printf("  %s", e->wd == -1 ? "-1" : names[e->wd]);
        print_mask(e->mask);
        if (e->len)
            printf(" %s (%u)", e->name, e->len);
        if (e->cookie) {
            printf(e->cookie == last_cookie ? " same cookie" : " cookie");
            last_cookie = e->cookie;
        }
        printf("\n");
        p += sizeof *e + e->len;
    }
}

static void make(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        give_up("%s", name);
    close(fd);
}

static void files(void)
{
    section("files in a directory");
    char buf[100];
    mkdir("d", 0755);
    watch("d", IN_ALL_EVENTS, "d");
    int fd = open("d/file", O_RDWR | O_CREAT, 0644);
    events("create");
    SHOW(write(fd, "hello", 5));
    SHOW(write(fd, "hello", 5));
    events("write twice");
    SHOW(pread(fd, buf, 3, 0));
    SHOW(pread(fd, buf, 3, 0));
    SHOW(pread(fd, buf, 3, 100));
    events("read");
    SHOW(ftruncate(fd, 3));
    events("ftruncate");
    SHOW(fchmod(fd, 0600));
    SHOW(fchown(fd, -1, getgid()));
    events("fchmod, fchown");
    SHOW(futimens(fd, NULL));
    events("futimens");
    SHOW(futimens(fd, (struct timespec[]){{1, 0}, {0, UTIME_OMIT}}));
    events("futimens atime");
    SHOW(futimens(fd, (struct timespec[]){{0, UTIME_OMIT}, {1, 0}}));
    events("futimens mtime");
    close(fd);
    events("close");
    fd = open("d/file", O_RDONLY);
    SHOW(read(fd, buf, 100));
    SHOW(read(fd, buf, 100));
    close(fd);
    events("read only");
    close(open("d/file", O_PATH));
    struct stat st;
    stat("d/file", &st);
    access("d/file", R_OK);
    events("stat");
    SHOW(truncate("d/file", 1));
    SHOW(chmod("d/file", 0644));
    events("truncate, chmod");
    SHOW(link("d/file", "d/second"));
    SHOW(symlink("file", "d/link"));
    SHOW(mknod("d/fifo", S_IFIFO | 0600, 0));
    SHOW(mkdir("d/sub", 0700));
    events("link, symlink, mknod, mkdir");
    SHOW(rename("d/file", "d/renamed-to-a-longer-name"));
    SHOW(rename("d/sub", "d/s"));
    events("rename");
    SHOW(rename("d/renamed-to-a-longer-name", "d/link"));
    events("rename over");
    SHOW(unlink("d/link"));
    SHOW(unlink("d/second"));
    SHOW(unlink("d/fifo"));
    SHOW(rmdir("d/s"));
    events("unlink, rmdir");
    SHOW(open("d/none", O_RDONLY));
    SHOW(mkdir("d", 0700));
    SHOW(unlink("d/none"));
    events("failures");
    mkdir("d/sub", 0700);
    make("d/sub/deep", "x");
    chmod("d", 0700);
    events("below, itself");
    unlink("d/sub/deep");
    rmdir("d/sub");
    fd = open("d", O_RDONLY | O_DIRECTORY);
    char entries[400];
    syscall(SYS_getdents64, fd, entries, sizeof entries);
    close(fd);
    events("listing");
    SHOW(rmdir("d"));
    events("its end");
}

static void self(void)
{
    section("a file itself");
    char buf[10];
    mkdir("e", 0755);
    make("e/f", "text");
    watch("e/f", IN_ALL_EVENTS, "f");
    int fd = open("e/f", O_RDWR);
    write(fd, "x", 1);
    pread(fd, buf, 1, 0);
    events("used");
    watch("e", IN_ALL_EVENTS, "e");
    pread(fd, buf, 1, 0);
    events("both");
    rename("e/f", "e/g");
    events("rename");
    link("e/g", "e/h");
    events("link");
    unlink("e/g");
    events("unlink one");
    unlink("e/h");
    events("unlink the other, open");
    pread(fd, buf, 1, 0);
    events("read, unlinked");
    close(fd);
    events("close");
    make("e/i", "x");
    watch("e/i", IN_ALL_EVENTS, "i");
    unlink("e/i");
    events("unlink");
    make("e/a", "x");
    make("e/b", "x");
    watch("e/b", IN_ALL_EVENTS, "b");
    events("made");
    rename("e/a", "e/b");
    events("replaced");
    mkdir("e/dir", 0700);
    watch("e/dir", IN_ALL_EVENTS, "dir");
    events("mkdir");
    rename("e/dir", "e/moved");
    events("rename of a directory");
    rmdir("e/moved");
    events("rmdir");
    unlink("e/b");
    rmdir("e");
    events("over");
}

static void open_before(void)
{
    section("open before it was watched");
    char buf[10];
    mkdir("o", 0755);
    int fd = open("o/f", O_RDWR | O_CREAT, 0600), dup_fd = dup(fd);
    watch("o", IN_ACCESS | IN_MODIFY | IN_CLOSE, "o");
    write(fd, "x", 1);
    pread(dup_fd, buf, 1, 0);
    close(fd);
    events("write, read");
    close(dup_fd);
    events("close");
    mkdir("elsewhere", 0755);
    fd = open("elsewhere/f", O_RDWR | O_CREAT, 0600);
    write(fd, "x", 1);
    events("elsewhere");
    rename("elsewhere/f", "o/moved");
    write(fd, "x", 1);
    events("moved here");
    rename("o/moved", "elsewhere/f");
    write(fd, "x", 1);
    events("moved away");
    close(fd);
    unlink("o/f"), unlink("elsewhere/f"), rmdir("elsewhere");
    rmdir("o");
    events("over");
}

static void masks(void)
{
    section("masks");
    mkdir("m", 0755);
    make("m/f", "x");
    symlink("m", "ln");
    SHOW(inotify_add_watch(in, "m", 0));
    SHOW(inotify_add_watch(in, "m/f", IN_ONLYDIR | IN_OPEN));
    SHOW(inotify_add_watch(in, "absent", IN_OPEN));
    SHOW(inotify_add_watch(in, "m", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
    SHOW(inotify_add_watch(in, (char *)8, IN_OPEN));
    SHOW(inotify_add_watch(0, "m", IN_OPEN));
    SHOW(inotify_add_watch(77, "m", IN_OPEN));
    SHOW(inotify_rm_watch(in, 999));
    SHOW(inotify_rm_watch(77, 1));
    SHOW(inotify_init1(1));
    int wd = watch("m", IN_CREATE, "m");
    HOLDS(watch("m", IN_DELETE, "m") == wd);
    SHOW(inotify_add_watch(in, "m", IN_MASK_CREATE | IN_CREATE));
    make("m/a", "x");
    unlink("m/a");
    events("replaced mask");
    HOLDS(watch("ln", IN_MASK_ADD | IN_CREATE, "m") == wd);
    make("m/a", "x");
    unlink("m/a");
    events("added mask");
    SHOW(inotify_rm_watch(in, wd));
    make("m/a", "x");
    events("removed");
    int link_wd = watch("ln", IN_DONT_FOLLOW | IN_ALL_EVENTS, "ln");
    HOLDS(link_wd != wd);
    unlink("ln");
    events("the link itself");
    watch("m", IN_ONESHOT | IN_OPEN, "m");
    close(open("m/a", O_RDONLY));
    close(open("m/a", O_RDONLY));
    events("oneshot");
    watch("m", IN_EXCL_UNLINK | IN_ALL_EVENTS, "m");
    int fd = open("m/a", O_RDWR);
    unlink("m/a");
    write(fd, "x", 1);
    close(fd);
    events("excluded when unlinked");
    unlink("m/f");
    rmdir("m");
    events("over");
}

static void nothing(int signal)
{
    (void)signal;
}

static void reading(void)
{
    section("reading");
    char buf[64] __attribute__((aligned(8)));
    mkdir("r", 0755);
    watch("r", IN_CREATE, "r");
    SHOW(read(in, buf, sizeof buf));
    SHOW(read(in, buf, 0));
    mkdir("r/abc", 0700);
    SHOW(read(in, buf, 16));
    SHOW(read(in, buf, 31));
    SHOW(poll(&(struct pollfd){.fd = in, .events = POLLIN | POLLOUT}, 1, 0));
    SHOW(write(in, buf, 1));
    SHOW(lseek(in, 0, SEEK_SET));
    SHOW(read(in, buf, 32));
    HOLDS(memcmp(buf + 16, "abc\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
    SHOW(poll(&(struct pollfd){.fd = in, .events = POLLIN | POLLOUT}, 1, 0));
    mkdir("r/b", 0700), mkdir("r/c", 0700), mkdir("r/d", 0700);
    SHOW(read(in, buf, 64));
    SHOW(read(in, buf, 64));
    mkdir("r/e", 0700);
    SHOW(read(in, (char *)8, 64));
    int blocking = inotify_init();
    struct sigaction sa = {.sa_handler = nothing};
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL);
    SHOW(read(blocking, buf, 64));
    SHOW(inotify_add_watch(blocking, "r", IN_DELETE));
    pid_t pid = fork();
    if (!pid) {
        usleep(20000);
        _exit(rmdir("r/b"));
    }
    SHOW(read(blocking, buf, 64));
    close(blocking);
    rmdir("r/abc"), rmdir("r/c"), rmdir("r/d"), rmdir("r/e");
    events("fault");
    rmdir("r");
    events("over");
}

static void exchange(void)
{
    section("two instances, two directories");
    mkdir("x", 0755), mkdir("y", 0755);
    make("x/1", "a"), make("y/2", "b");
    watch("x", IN_MOVE | IN_DELETE | IN_CREATE, "x");
    watch("y", IN_MOVE | IN_DELETE | IN_CREATE, "y");
    watch("x/1", IN_MOVE_SELF, "1");
    rename("x/1", "y/1");
    events("from x to y");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "y/1", AT_FDCWD, "y/2", 2));
    events("exchanged");
    unlink("y/1"), unlink("y/2");
    rmdir("x"), rmdir("y");
    events("over");
}

int main(void)
{
    char directory[] = "/tmp/inotifyXXXXXX";
    mkdir("/tmp", 0777);
    if (!mkdtemp(directory) || chdir(directory))
        give_up("mkdtemp");
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (in < 0)
        give_up("inotify_init1");
    files();
    self();
    open_before();
    masks();
    reading();
    exchange();
    chdir("/");
    rmdir(directory);
    return 0;
}
