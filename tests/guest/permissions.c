// Who may do what with files: by user, group, supplementary groups and capabilities; what a change does to set-ID bits; access(2)
// by the real IDs; extended attributes.
// build: musl glibc
#include "caps.h"
#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static void make_file(const char *name, mode_t mode, uid_t uid, gid_t gid)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, "text", 4) != 4 || fchown(fd, uid, gid) || fchmod(fd, mode))
        give_up("making %s", name);
    close(fd);
}

static void in_child(const char *what, void (*fn)(void))
{
    int status;
    section(what);
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status)
        printf("ended with %#x\n", status);
}

static void become(uid_t uid, gid_t gid, int count, const gid_t *groups)
{
    if (setgroups(count, groups) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
        give_up("becoming %d", (int)uid);
}

static void show_mode(const char *name)
{
    struct stat st;
    if (lstat(name, &st))
        printf("  %s: %s\n", name, errno_name(errno));
    else
        printf("  %s: %06o %d:%d links %d\n", name, st.st_mode, (int)st.st_uid, (int)st.st_gid, (int)st.st_nlink);
}

static long try_open(const char *name, int flags)
{
    int fd = open(name, flags, 0666), e = errno;
    if (fd >= 0)
        close(fd);
    errno = e;
    return fd < 0 ? -1 : 0;
}

// --- Mode bits: each of the classes alone ---

static void matrix_of(const char *who)
{
    static const mode_t modes[] = {0000, 0400, 0200, 0100, 0040, 0020, 0010, 0004, 0002, 0001, 0077, 0707, 0770, 0644, 0755};
    printf("%s:", who);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "m%04o", modes[i]);
        printf(" %04o=%c%c%c", modes[i], try_open(name, O_RDONLY) ? '-' : 'r', try_open(name, O_WRONLY) ? '-' : 'w',
               access(name, X_OK) ? '-' : 'x');
        snprintf(name, sizeof name, "d%04o/f", modes[i]);
        struct stat st;
        printf("/%c", stat(name, &st) ? '-' : 's');
    }
    printf("\n");
}

static void make_matrix(void)
{
    static const mode_t modes[] = {0000, 0400, 0200, 0100, 0040, 0020, 0010, 0004, 0002, 0001, 0077, 0707, 0770, 0644, 0755};
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "m%04o", modes[i]);
        make_file(name, modes[i], 1000, 100);
        snprintf(name, sizeof name, "d%04o", modes[i]);
        mkdir(name, 0700);
        snprintf(name, sizeof name, "d%04o/f", modes[i]);
        make_file(name, 0644, 0, 0);
        snprintf(name, sizeof name, "d%04o", modes[i]);
        chown(name, 1000, 100);
        chmod(name, modes[i]);
    }
}

static void as_owner(void) { become(1000, 5, 0, NULL); matrix_of("owner"); }
static void as_group(void) { become(1001, 100, 0, NULL); matrix_of("group"); }
static void as_other(void) { become(1001, 5, 0, NULL); matrix_of("other"); }
static void as_supplementary(void)
{
    const gid_t g[] = {7, 300, 100, 8};
    become(1001, 5, 4, g);
    matrix_of("supplementary group");
}
static void as_fsuid(void)
{
    setfsuid(1000);
    matrix_of("file system user");
    setfsuid(0);
    setfsgid(100);
    setfsuid(1001);
    matrix_of("file system group");
}
static void as_root(void) { matrix_of("root"); }
static void with_caps(const char *who, uint64_t set)
{
    prctl(PR_SET_KEEPCAPS, 1);
    become(1001, 5, 0, NULL);
    set_caps(set, set, 0);
    matrix_of(who);
}
static void as_override(void) { with_caps("CAP_DAC_OVERRIDE", BIT(CAP_DAC_OVERRIDE)); }

static void root_without(void)
{
    uint64_t caps[3];
    get_caps(caps);
    set_caps(0, caps[1], 0);
    matrix_of("root without capabilities");
}

// --- access(2): the real IDs ---

static void access_real(void)
{
    make_file("mine", 0600, 1000, 5);
    make_file("roots", 0600, 0, 0);
    make_file("run", 0711, 0, 0);
    setresuid(1000, 0, 0);
    SHOW(access("mine", R_OK));
    SHOW(access("roots", R_OK));
    SHOW(faccessat(AT_FDCWD, "roots", R_OK, AT_EACCESS));
    SHOW(access("run", X_OK));
    SHOW(access("run", R_OK));
    SHOW(access("d0770/f", F_OK));
    SHOW(access("d0077/f", F_OK));
    SHOW(faccessat(AT_FDCWD, "d0077/f", F_OK, AT_EACCESS));
    SHOW(access("mine", 8));
    SHOW(access("none", F_OK));
    setresuid(0, 1000, 0);
    SHOW(access("roots", R_OK | W_OK));
    SHOW(faccessat(AT_FDCWD, "roots", R_OK, AT_EACCESS));
    SHOW(access("roots", X_OK));
    SHOW(syscall(439, AT_FDCWD, "roots", R_OK, 0x8000));
}

// --- chmod, chown ---

static void change_as_user(void)
{
    const gid_t g[] = {200, 201};
    make_file("a", 0644, 1000, 100);
    make_file("b", 0644, 0, 0);
    become(1000, 100, 2, g);
    SHOW(chmod("a", 06755)); show_mode("a");
    SHOW(chmod("b", 0777));
    SHOW(chown("a", 1000, 200)); show_mode("a");
    SHOW(chmod("a", 02755)); show_mode("a");
    SHOW(chown("a", -1, 999));
    SHOW(chown("a", 0, -1));
    SHOW(chown("a", 1001, -1));
    SHOW(chown("a", -1, -1)); show_mode("a");
    SHOW(chown("b", -1, -1));
    SHOW(chown("b", -1, 100));
    SHOW(chmod("a", 01644)); show_mode("a");
    SHOW(mkdir("dir", 0777)); show_mode("dir");
    SHOW(chmod("dir", 07777)); show_mode("dir");
    SHOW(chown("dir", -1, 201)); show_mode("dir");
    SHOW(symlink("a", "link"));
    SHOW(lchown("link", -1, 201)); show_mode("link");
    SHOW(lchown("link", 1001, -1));
}

static void set_gid_of_others(void)
{
    make_file("c", 0644, 1000, 300); // a group that its owner is not in
    become(1000, 100, 0, NULL);
    SHOW(chmod("c", 02755)); show_mode("c");
    SHOW(chmod("c", 02644)); show_mode("c");
    SHOW(chown("c", -1, 100)); show_mode("c");
    SHOW(chmod("c", 02755)); show_mode("c");
}

static void change_as_root(void)
{
    make_file("r", 06755, 1000, 100);
    SHOW(chown("r", 1001, -1)); show_mode("r");
    chmod("r", 06755);
    SHOW(chown("r", -1, -1)); show_mode("r");
    chmod("r", 06645);
    SHOW(chown("r", 0, 0)); show_mode("r");
    SHOW(chmod("r", 06777)); show_mode("r");
    int fd = open("r", O_WRONLY);
    SHOW(write(fd, "x", 1)); show_mode("r");
    SHOW(ftruncate(fd, 0)); show_mode("r");
    close(fd);
}

static void write_clears(void)
{
    make_file("w", 0666, 1000, 100);
    chmod("w", 06777);
    become(1001, 100, 0, NULL);
    int fd = open("w", O_WRONLY);
    show_mode("w");
    SHOW(write(fd, "", 0)); show_mode("w");
    SHOW(write(fd, "x", 1)); show_mode("w");
    close(fd);
}

static void truncate_clears(void)
{
    make_file("t", 0666, 1000, 100);
    chmod("t", 06777);
    become(1001, 5, 0, NULL);
    SHOW(truncate("t", 1)); show_mode("t");
    SHOW(chmod("t", 0));
}

// --- Directories ---

static void sticky(void)
{
    mkdir("tmp", 0700);
    chmod("tmp", 01777);
    make_file("tmp/roots", 0666, 0, 0);
    make_file("tmp/mine", 0666, 1000, 100);
    make_file("tmp/others", 0666, 1001, 100);
    mkdir("tmp/dir", 0777);
    become(1000, 100, 0, NULL);
    SHOW(unlink("tmp/roots"));
    SHOW(unlink("tmp/others"));
    SHOW(rmdir("tmp/dir"));
    SHOW(rename("tmp/others", "tmp/x"));
    SHOW(rename("tmp/mine", "tmp/others"));
    SHOW(rename("tmp/mine", "tmp/still"));
    SHOW(unlink("tmp/still"));
    SHOW(mkdir("tmp/new", 0755));
    SHOW(rmdir("tmp/new"));
    SHOW(unlink("tmp/none"));
}

static void set_gid_directory(void)
{
    mkdir("shared", 0777);
    chown("shared", 0, 300);
    chmod("shared", 02777);
    become(1000, 100, 0, NULL);
    umask(022);
    make_file("shared/own", 0644, 1000, 300);
    close(open("shared/file", O_CREAT | O_WRONLY, 0666)); show_mode("shared/file");
    close(open("shared/setgid", O_CREAT | O_WRONLY, 02775)); show_mode("shared/setgid");
    close(open("shared/setgid2", O_CREAT | O_WRONLY, 06644)); show_mode("shared/setgid2");
    mkdir("shared/dir", 0777); show_mode("shared/dir");
    mkfifo("shared/fifo", 0666); show_mode("shared/fifo");
    symlink("x", "shared/link"); show_mode("shared/link");
    umask(0);
    close(open("shared/wide", O_CREAT | O_WRONLY, 0666)); show_mode("shared/wide");
    umask(0777);
    close(open("shared/none", O_CREAT | O_WRONLY, 0666)); show_mode("shared/none");
}

static void create_rules(void)
{
    mkdir("locked", 0755);
    make_file("locked/there", 0644, 0, 0);
    make_file("locked/mine", 0644, 1000, 100);
    become(1000, 100, 0, NULL);
    SHOW(try_open("locked/new", O_CREAT | O_WRONLY));
    SHOW(try_open("locked/there", O_CREAT | O_RDONLY));
    SHOW(try_open("locked/there", O_CREAT | O_EXCL | O_RDONLY));
    SHOW(try_open("locked/there", O_WRONLY | O_TRUNC));
    SHOW(try_open("locked/there", O_RDONLY | O_NOATIME));
    SHOW(mkdir("locked/new", 0755));
    SHOW(mkdir("locked/there", 0755));
    SHOW(unlink("locked/there"));
    SHOW(unlink("locked/none"));
    SHOW(rename("locked/there", "locked/x"));
    SHOW(link("locked/mine", "locked/x"));
    SHOW(symlink("x", "locked/x"));
    SHOW(symlink("x", "locked/there"));
    SHOW(mknod("locked/there", S_IFCHR | 0666, makedev(1, 3)));
    SHOW(mknod("locked/null", S_IFCHR | 0666, makedev(1, 3)));
    SHOW(mknod("tmp/null", S_IFCHR | 0666, makedev(1, 3)));
    SHOW(mknod("tmp/fifo", S_IFIFO | 0666, 0));
    SHOW(mknod("tmp/dir2", S_IFDIR | 0666, 0));
    SHOW(mknod("tmp/odd", 0150000, 0));
    SHOW(chroot("tmp"));
    SHOW(chroot("none"));
    SHOW(chroot("d0700"));
}

static void times(void)
{
    struct timespec explicit[2] = {{1, 0}, {2, 0}}, now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, one[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}},
                    none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    make_file("writable", 0666, 0, 0);
    make_file("readable", 0644, 0, 0);
    make_file("owned", 0400, 1000, 100);
    become(1000, 100, 0, NULL);
    static const char *const names[] = {"writable", "readable", "owned"};
    for (int i = 0; i < 3; i++) {
        printf("%s\n", names[i]);
        SHOW(utimensat(AT_FDCWD, names[i], NULL, 0));
        SHOW(utimensat(AT_FDCWD, names[i], now, 0));
        SHOW(utimensat(AT_FDCWD, names[i], one, 0));
        SHOW(utimensat(AT_FDCWD, names[i], none, 0));
        SHOW(utimensat(AT_FDCWD, names[i], explicit, 0));
        SHOW(try_open(names[i], O_RDONLY | O_NOATIME));
    }
}

// --- A file that runs is not written to, and the other way round ---

static void busy(void)
{
    char self[4096] = "", child[] = "child";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    (void)n;
    int in = open(self, O_RDONLY), out = open("copy", O_WRONLY | O_CREAT, 0755);
    char buf[65536];
    for (ssize_t got; (got = read(in, buf, sizeof buf)) > 0;)
        write(out, buf, (size_t)got);
    close(in);
    char *argv[] = {child, child, NULL}, *envp[] = {NULL};
    SHOW(execve("copy", argv, envp)); // open for writing
    close(out);
    int ready[2], done[2];
    pipe2(ready, O_CLOEXEC);
    pipe2(done, O_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ready[1], 100);
        dup2(done[0], 101);
        close(done[1]);
        execve("copy", argv, envp);
        _exit(9);
    }
    close(ready[1]);
    close(done[0]);
    read(ready[0], buf, 1);
    SHOW(try_open("copy", O_WRONLY));
    SHOW(try_open("copy", O_RDWR));
    SHOW(try_open("copy", O_RDONLY));
    SHOW(try_open("copy", O_RDONLY | O_TRUNC));
    SHOW(try_open("copy", O_WRONLY | O_CREAT));
    SHOW(truncate("copy", 0));
    SHOW(rename("copy", "moved"));
    SHOW(try_open("moved", O_WRONLY));
    SHOW(chmod("moved", 0700));
    SHOW(unlink("moved"));
    close(done[1]);
    int status;
    waitpid(pid, &status, 0);
    printf("child %#x\n", status);
    make_file("script", 0755, 0, 0);
    int fd = open("script", O_RDWR);
    SHOW(execve("script", argv, envp));
    write(fd, "#!/no/interpreter\n", 18);
    close(fd);
    SHOW(execve("script", argv, envp));
}

static int busy_child(void)
{
    char c;
    close(100); // says that it runs
    int status = fork();
    if (status == 0)
        _exit(read(101, &c, 1) == 0 ? 0 : 1);
    waitpid(status, &status, 0);
    return status ? 1 : 0;
}

// --- Extended attributes ---

static void list_of(const char *name)
{
    char buf[1024];
    ssize_t n = listxattr(name, buf, sizeof buf);
    char *names[16];
    int count = 0;
    printf("  list %zd:", n < 0 ? -1 : n);
    for (ssize_t at = 0; at < n && count < 16; at += (ssize_t)strlen(buf + at) + 1)
        names[count++] = buf + at;
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++)
            if (strcmp(names[j], names[i]) < 0) {
                char *t = names[i];
                names[i] = names[j];
                names[j] = t;
            }
    for (int i = 0; i < count; i++)
        printf(" %s", names[i]);
    printf("\n");
}

static void attributes(void)
{
    char buf[256];
    static char big[65537], name[300];
    make_file("x", 0644, 1000, 100);
    SHOW(setxattr("x", "user.one", "value", 5, 0));
    SHOW(setxattr("x", "user.one", "other", 5, XATTR_CREATE));
    SHOW(setxattr("x", "user.one", "longer value", 12, XATTR_REPLACE));
    SHOW(setxattr("x", "user.two", "", 0, XATTR_REPLACE));
    SHOW(setxattr("x", "user.two", "", 0, XATTR_CREATE));
    SHOW(setxattr("x", "user.two", "", 0, 4));
    SHOW(getxattr("x", "user.one", NULL, 0));
    SHOW(getxattr("x", "user.one", buf, 3));
    SHOW(getxattr("x", "user.one", buf, sizeof buf));
    printf("  %.12s\n", buf);
    SHOW(getxattr("x", "user.two", buf, sizeof buf));
    SHOW(getxattr("x", "user.three", buf, sizeof buf));
    SHOW(getxattr("x", "user.one", (void *)8, 100));
    SHOW(setxattr("x", "user.one", (void *)8, 100, 0));
    SHOW(setxattr("x", (char *)8, "v", 1, 0));
    list_of("x");
    SHOW(listxattr("x", NULL, 0));
    SHOW(listxattr("x", buf, 3));
    SHOW(setxattr("x", "", "v", 1, 0));
    SHOW(setxattr("x", "user.", "v", 1, 0));
    SHOW(setxattr("x", "user", "v", 1, 0));
    SHOW(setxattr("x", "nothing.known", "v", 1, 0));
    SHOW(getxattr("x", "nothing.known", buf, 10));
    memset(name, 'n', sizeof name - 1);
    memcpy(name, "user.", 5);
    SHOW(setxattr("x", name, "v", 1, 0));
    name[255] = 0;
    SHOW(setxattr("x", name, "v", 1, 0));
    SHOW(removexattr("x", name));
    SHOW(setxattr("x", "user.big", big, sizeof big, 0));
    SHOW(removexattr("x", "user.none"));
    SHOW(removexattr("x", "user.two"));
    SHOW(lsetxattr("none", "user.one", "v", 1, 0));
    symlink("x", "xlink");
    SHOW(lsetxattr("xlink", "user.one", "v", 1, 0));
    SHOW(lgetxattr("xlink", "user.one", buf, 10));
    SHOW(getxattr("xlink", "user.one", NULL, 0));
    mkfifo("xfifo", 0666);
    SHOW(setxattr("xfifo", "user.one", "v", 1, 0));
    SHOW(getxattr("xfifo", "user.one", buf, 10));
    int fd = open("x", O_RDONLY), place = open("x", O_PATH);
    SHOW(fsetxattr(fd, "user.fd", "v", 1, 0));
    SHOW(fgetxattr(fd, "user.fd", buf, 10));
    SHOW(fsetxattr(place, "user.fd", "v", 1, 0));
    SHOW(flistxattr(-1, buf, 10));
    SHOW(fremovexattr(fd, "user.fd"));
    SHOW(rename("x", "y"));
    list_of("y");
    SHOW(unlink("y"));
}

static void attribute_rights(void)
{
    char buf[64];
    make_file("v", 0640, 1000, 100);
    SHOW(setxattr("v", "user.a", "1", 1, 0));
    mkdir("vsticky", 0777);
    chmod("vsticky", 01777);
    become(1001, 100, 0, NULL);
    SHOW(getxattr("v", "user.a", buf, 10)); // the group may read
    SHOW(setxattr("v", "user.a", "2", 1, 0));
    SHOW(removexattr("v", "user.a"));
    SHOW(setxattr("vsticky", "user.a", "2", 1, 0));
    SHOW(setxattr("v", "trusted.a", "2", 1, 0));
    SHOW(getxattr("v", "trusted.a", buf, 10));
    SHOW(setxattr("v", "security.capability", "\1\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
    SHOW(removexattr("v", "security.capability"));
    list_of("v");
}

static void capability_attribute(void)
{
    char buf[64];
    make_file("p", 0755, 0, 0);
    SHOW(setxattr("p", "security.capability", "\1\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 19, 0));
    SHOW(setxattr("p", "security.capability", "\1\0\0\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
    SHOW(setxattr("p", "security.capability", "\1\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
    SHOW(getxattr("p", "security.capability", buf, sizeof buf));
    list_of("p");
    int fd = open("p", O_WRONLY);
    write(fd, "y", 1); // even root's write takes them away
    close(fd);
    SHOW(getxattr("p", "security.capability", buf, sizeof buf));
    SHOW(setxattr("p", "security.capability", "\1\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
    SHOW(chown("p", 1000, 1000));
    SHOW(getxattr("p", "security.capability", buf, sizeof buf));
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return busy_child();
    if (getuid())
        give_up("this test needs root");
    umask(0);
    chmod(".", 0777);
    setgroups(0, NULL);
    prctl(PR_SET_SECUREBITS, 0);
    section("mode bits");
    make_matrix();
    in_child("owner", as_owner);
    in_child("group", as_group);
    in_child("other", as_other);
    in_child("supplementary", as_supplementary);
    in_child("fsuid", as_fsuid);
    in_child("root", as_root);
    in_child("override", as_override);
    in_child("root without", root_without);
    in_child("access", access_real);
    in_child("changes by a user", change_as_user);
    in_child("set-group-ID of others", set_gid_of_others);
    in_child("changes by root", change_as_root);
    in_child("writing", write_clears);
    in_child("truncation", truncate_clears);
    in_child("sticky", sticky);
    in_child("set-group-ID directory", set_gid_directory);
    in_child("creation", create_rules);
    in_child("times", times);
    in_child("busy", busy);
    in_child("attributes", attributes);
    in_child("attribute rights", attribute_rights);
    in_child("capability attribute", capability_attribute);
    return 0;
}
