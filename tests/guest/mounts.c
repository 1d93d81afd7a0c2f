// mount(2) in all its forms, umount2(2), pivot_root(2), chroot(2), and what mounts forbid. On Linux in a mount namespace of its own.
// build: musl
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

static char base[256];

static int make(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? -1 : 0;
}

// The lines of mountinfo below the test's directory: place, flags, propagation, type, source, the file system's ro or rw.
static void show_mounts(const char *what)
{
    char line[1024], place[256], root[256], flags[128], rest[256];
    FILE *f = fopen("/proc/self/mountinfo", "r");
    printf("-- %s\n", what);
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*d %*d %*s %255s %255s %127s %255[^\n]", root, place, flags, rest) != 4)
            continue;
        if (strncmp(place, base, strlen(base)) != 0)
            continue;
        char *dash = strstr(rest, "- ");
        bool shared = strstr(rest, "shared:"), master = strstr(rest, "master:"), unbindable = strstr(rest, "unbindable");
        char type[64] = "", source[64] = "", super[128] = "";
        if (dash)
            sscanf(dash, "- %63s %63s %127s", type, source, super);
        super[2] = 0;
        printf("  %s root %s %s%s%s%s %s %s %s\n", place + strlen(base), strcmp(root, "/") == 0 || !strstr(root, "/t/") ? root : "...",
               flags, shared ? " shared" : "", master ? " master" : "", unbindable ? " unbindable" : "", type, source, super);
    }
    if (f)
        fclose(f);
}

static void flags_of(const char *place)
{
    struct statfs s;
    if (statfs(place, &s) == 0)
        printf("statfs %s: type %#lx flags %#lx namelen %ld\n", place, (long)s.f_type, (long)s.f_flags & ~0x20L, (long)s.f_namelen);
}

static void bind_mounts(void)
{
    SHOW(mkdir("a", 0755));
    SHOW(mkdir("b", 0755));
    SHOW(mount("src", "a", "tmpfs", 0, NULL));
    SHOW(mkdir("a/inner", 0755));
    SHOW(make("a/file"));
    SHOW(mount("in", "a/inner", "tmpfs", MS_NOSUID | MS_NODEV, NULL));
    SHOW(make("a/inner/deep"));
    SHOW(mount("a", "b", NULL, MS_BIND, NULL));
    SHOW(access("b/file", F_OK));
    SHOW(access("b/inner/deep", F_OK));
    SHOW(umount("b"));
    SHOW(mount("a", "b", NULL, MS_BIND | MS_REC, NULL));
    SHOW(access("b/inner/deep", F_OK));
    show_mounts("bound with what is on it");
    SHOW(umount("b"));
    SHOW(umount2("b", MNT_DETACH));
    SHOW(access("b/inner", F_OK));
    show_mounts("detached");
    // a file on a file; what does not fit
    SHOW(make("plain"));
    SHOW(mount("a/file", "plain", NULL, MS_BIND, NULL));
    SHOW(mount("a/file", "b", NULL, MS_BIND, NULL));
    SHOW(mount("b", "plain", NULL, MS_BIND, NULL));
    SHOW(mount("", "b", NULL, MS_BIND, NULL));
    SHOW(mount("missing", "b", NULL, MS_BIND, NULL));
    SHOW(mount(NULL, "b", NULL, MS_BIND, NULL));
    SHOW(unlink("plain"));
    SHOW(rmdir("a/inner"));
    SHOW(rename("a", "c"));
    SHOW(umount("plain"));
    SHOW(unlink("plain"));
    // inside itself
    SHOW(mount("a", "a/inner", NULL, MS_BIND, NULL));
    SHOW(access("a/inner/file", F_OK));
    SHOW(umount("a/inner"));
    SHOW(umount("a/inner"));
    SHOW(umount("a/inner"));
}

static void moves(void)
{
    SHOW(mkdir("m", 0755));
    SHOW(mount("moved", "m", "tmpfs", 0, NULL));
    SHOW(mkdir("m/x", 0755));
    SHOW(mount("m", "b", NULL, MS_MOVE, NULL));
    SHOW(access("b/x", F_OK));
    SHOW(access("m/x", F_OK));
    SHOW(mount("b", "b/x", NULL, MS_MOVE, NULL));
    SHOW(mount("m", "a", NULL, MS_MOVE, NULL));
    SHOW(mount("", "a", NULL, MS_MOVE, NULL));
    SHOW(make("plain"));
    SHOW(mount("b", "plain", NULL, MS_MOVE, NULL));
    show_mounts("moved");
    SHOW(umount("b"));
}

static void remounts(void)
{
    SHOW(mount("a", "b", NULL, MS_BIND, NULL));
    SHOW(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    SHOW(make("b/new"));
    SHOW(make("a/new"));
    SHOW(unlink("b/new"));
    SHOW(mkdir("b/dir", 0755));
    SHOW(chmod("b/new", 0600));
    SHOW(truncate("b/new", 0));
    SHOW(rename("b/new", "b/old"));
    SHOW(link("b/new", "b/old"));
    SHOW(symlink("x", "b/link"));
    SHOW(access("b/new", W_OK));
    SHOW(open("b/new", O_RDWR));
    SHOW(open("b/missing", O_RDWR | O_CREAT, 0644));
    SHOW(rename("b/new", "a/other"));
    SHOW(link("b/new", "a/other"));
    show_mounts("one is read-only");
    SHOW(umount("b"));
    int fd = open("a/new", O_RDWR);
    HOLDS(fd >= 0);
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    SHOW(close(fd));
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    SHOW(make("a/more"));
    show_mounts("all of it is read-only");
    SHOW(mount("a", "b", NULL, MS_BIND, NULL));
    SHOW(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND, NULL));
    SHOW(make("b/more"));
    SHOW(umount("b"));
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT, NULL));
    SHOW(make("a/more"));
    SHOW(mount(NULL, "a/inner", NULL, MS_REMOUNT, NULL));
    SHOW(mount(NULL, "missing", NULL, MS_REMOUNT, NULL));
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_NOATIME | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
    show_mounts("with flags");
    flags_of("a");
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NODIRATIME, NULL));
    flags_of("a");
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_STRICTATIME, NULL));
    show_mounts("strictatime");
    SHOW(mount(NULL, "a", NULL, MS_REMOUNT | MS_RELATIME, NULL));
}

static void forbidden(void)
{
    SHOW(mkdir("f", 0755));
    SHOW(mount("f", "f", "tmpfs", MS_NODEV | MS_NOEXEC, NULL));
    SHOW(mknod("f/null", S_IFCHR | 0666, 0x103));
    SHOW(open("f/null", O_RDWR));
    int fd = open("f/null", O_PATH);
    HOLDS(fd >= 0);
    close(fd);
    fd = open("f/code", O_CREAT | O_RDWR, 0755);
    SHOW(write(fd, "#!/bin/true\n", 12));
    SHOW(access("f/code", X_OK));
    errno = 0;
    HOLDS(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EPERM);
    char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    SHOW(mprotect(p, 4096, PROT_READ | PROT_EXEC));
    close(fd);
    SHOW(execl("f/code", "code", NULL));
    SHOW(umount("f")); // still mapped
    SHOW(munmap(p, 4096));
    SHOW(umount("f"));
    // times
    struct stat before, after;
    SHOW(mount("f", "f", "tmpfs", MS_NOATIME, NULL));
    SHOW(mkdir("f/d", 0755));
    SHOW(make("f/d/x"));
    stat("f/d", &before);
    DIR *dir = opendir("f/d");
    while (dir && readdir(dir))
        ;
    closedir(dir);
    stat("f/d", &after);
    HOLDS(before.st_atim.tv_sec == after.st_atim.tv_sec && before.st_atim.tv_nsec == after.st_atim.tv_nsec);
    SHOW(umount("f"));
}

static void unmounting(void)
{
    SHOW(umount("missing"));
    SHOW(umount("f"));
    SHOW(umount2("f", 64));
    SHOW(umount2("a/inner", MNT_EXPIRE | MNT_DETACH));
    SHOW(mount("e", "f", "tmpfs", 0, NULL));
    SHOW(umount2("f", MNT_EXPIRE));
    SHOW(access("f/x", F_OK));
    SHOW(umount2("f", MNT_EXPIRE));
    SHOW(umount2("f", MNT_EXPIRE));
    SHOW(umount2("f", MNT_EXPIRE));
    SHOW(symlink("f", "to-f"));
    SHOW(mount("e", "to-f", "tmpfs", 0, NULL));
    SHOW(umount2("to-f", UMOUNT_NOFOLLOW));
    int fd = open("f", O_RDONLY | O_DIRECTORY);
    HOLDS(fd >= 0);
    SHOW(umount("f"));
    SHOW(umount2("f", MNT_DETACH));
    SHOW(umount("f"));
    SHOW(mkdirat(fd, "late", 0755)); // it lives as long as it is used
    SHOW(faccessat(fd, "late", F_OK, 0));
    SHOW(faccessat(fd, "../b", F_OK, 0)); // and has nothing above it
    char name[256];
    SHOW(fchdir(fd));
    long n = syscall(SYS_getcwd, name, sizeof name);
    printf("getcwd: %ld %s\n", n, n > 0 ? name : errno_name(errno));
    SHOW(chdir(base));
    SHOW(close(fd));
    // a stack
    SHOW(mount("one", "f", "tmpfs", 0, NULL));
    SHOW(make("f/1"));
    SHOW(mount("two", "f", "tmpfs", 0, NULL));
    SHOW(make("f/2"));
    SHOW(access("f/1", F_OK));
    show_mounts("a stack");
    SHOW(umount("f"));
    SHOW(access("f/1", F_OK));
    SHOW(umount("f"));
}

static void propagation(void)
{
    SHOW(mount("p", "f", "tmpfs", 0, NULL));
    SHOW(mount(NULL, "f", NULL, MS_SHARED, NULL));
    show_mounts("shared");
    SHOW(mkdir("f/x", 0755));
    SHOW(mount("q", "f/x", "tmpfs", 0, NULL));
    show_mounts("below a shared one");
    SHOW(mount("f/x", "b", NULL, MS_MOVE, NULL));
    SHOW(mount(NULL, "f", NULL, MS_SHARED | MS_PRIVATE, NULL));
    SHOW(mount(NULL, "f", NULL, MS_SHARED | MS_NOSUID, NULL));
    SHOW(mount(NULL, "b", NULL, MS_PRIVATE, NULL));
    SHOW(mount(NULL, "f", NULL, MS_PRIVATE | MS_REC, NULL));
    show_mounts("private");
    SHOW(mount(NULL, "f", NULL, MS_SLAVE, NULL));
    SHOW(mount(NULL, "f", NULL, MS_UNBINDABLE, NULL));
    show_mounts("unbindable");
    SHOW(mount("f", "b", NULL, MS_BIND, NULL));
    SHOW(mount("f/x", "b", NULL, MS_BIND, NULL));
    SHOW(umount("b"));
    SHOW(umount2("f", MNT_DETACH));
}

static void wrong(void)
{
    SHOW(mount("x", "b", "nosuchfs", 0, NULL));
    SHOW(mount("x", "b", NULL, 0, NULL));
    SHOW(mount("x", "missing", "tmpfs", 0, NULL));
    SHOW(mount("x", "plain", "tmpfs", 0, NULL));
    SHOW(mount("x", NULL, "tmpfs", 0, NULL));
    SHOW(mount("x", "b", "tmpfs", 1ul << 31, NULL));
    SHOW(mount("x", "plain", "nosuchfs", 0, NULL));
    pid_t pid = fork();
    if (pid == 0) {
        SHOW(setuid(1000));
        SHOW(mount("x", "b", "tmpfs", 0, NULL));
        SHOW(mount("x", "missing", "tmpfs", 0, NULL));
        SHOW(umount("a"));
        SHOW(umount("b"));
        SHOW(umount("missing"));
        SHOW(syscall(SYS_pivot_root, "a", "a"));
        SHOW(syscall(SYS_pivot_root, "missing", "a"));
        SHOW(chroot("a"));
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void mount_root(const char *name, int flags)
{
    struct {
        uint64_t mask, attributes, rest[5], attributes_mask, more[24];
    } st = {0}; // struct statx, which not every C library has
    int err = (int)syscall(SYS_statx, AT_FDCWD, name, flags, 0x7ff, &st);
    printf("statx %s: %d, root of a mount: %d %d\n", name, err, !!(st.attributes_mask & 0x2000), !!(st.attributes & 0x2000));
}

static void fill(const char *name, long size)
{
    char *block = calloc(1, 4096);
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    long n, total = 0;
    while ((n = write(fd, block, 4096)) > 0)
        total += n;
    printf("%s: %ld bytes, then %s\n", name, total, errno_name(errno));
    SHOW(ftruncate(fd, size));
    close(fd);
    free(block);
}

static void limits(void)
{
    struct statfs s;
    struct stat st;
    char name[32];
    SHOW(mount("l", "f", "tmpfs", 0, "size=65536,nr_inodes=10,mode=700,uid=5,gid=6"));
    stat("f", &st);
    printf("mode %o uid %u gid %u\n", st.st_mode & 07777, st.st_uid, st.st_gid);
    mount_root("f", 0);
    mount_root("f/.", 0);
    mount_root("b", 0);
    mount_root("/", 0);
    statfs("f", &s);
    printf("%ld of %ld blocks free, %ld of %ld inodes\n", (long)s.f_bfree, (long)s.f_blocks, (long)s.f_ffree, (long)s.f_files);
    fill("f/big", 8192);
    statfs("f", &s);
    printf("%ld of %ld blocks free\n", (long)s.f_bfree, (long)s.f_blocks);
    fill("f/more", 0);
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "f/n%d", i);
        if (make(name) < 0) {
            printf("%s: %s\n", name, errno_name(errno));
            break;
        }
    }
    SHOW(mkdir("f/d", 0755));
    SHOW(symlink("x", "f/s"));
    SHOW(unlink("f/n0"));
    SHOW(mkdir("f/d", 0755));
    SHOW(mount(NULL, "f", NULL, MS_REMOUNT, "size=4096"));
    SHOW(mount(NULL, "f", NULL, MS_REMOUNT, "size=128k"));
    SHOW(mount(NULL, "f", NULL, MS_REMOUNT, "nr_inodes=2"));
    fill("f/big", 0);
    int fd = open("f/big", O_RDWR);
    SHOW(fallocate(fd, 0, 0, 1 << 20));
    SHOW(ftruncate(fd, 1 << 20));
    close(fd);
    SHOW(umount("f"));
    SHOW(mount("l", "f", "tmpfs", 0, "size=12x"));
    SHOW(mount("l", "f", "tmpfs", 0, "mode=9"));
    SHOW(mount("l", "f", "tmpfs", 0, "nonsense=1"));
    SHOW(mount("l", "f", "tmpfs", 0, "size=1m,nr_inodes=1k,mode=1777"));
    statfs("f", &s);
    printf("%ld blocks, %ld inodes\n", (long)s.f_blocks, (long)s.f_files);
    SHOW(umount("f"));
}

static void roots(void)
{
    char name[256];
    SHOW(mkdir("r", 0755));
    SHOW(mount("r", "r", "tmpfs", 0, NULL));
    SHOW(mkdir("r/old", 0755));
    SHOW(mkdir("r/sub", 0755));
    SHOW(make("r/here"));
    SHOW(syscall(SYS_pivot_root, "r/sub", "r/sub"));
    SHOW(syscall(SYS_pivot_root, "r", "b"));
    SHOW(syscall(SYS_pivot_root, "r", "missing"));
    SHOW(syscall(SYS_pivot_root, "r/here", "r"));
    SHOW(syscall(SYS_pivot_root, "/", "/"));
    pid_t pid = fork();
    if (pid == 0) { // chroot alone, and out of it again
        int out = open(".", O_RDONLY | O_DIRECTORY);
        SHOW(chroot("r"));
        SHOW(access("/here", F_OK));
        SHOW(access("here", F_OK));
        SHOW(access("/../here", F_OK));
        SHOW(access("r/here", F_OK)); // the working directory is still outside
        long n = syscall(SYS_getcwd, name, sizeof name);
        printf("getcwd: %s\n", n > 0 && strncmp(name, "(unreachable)", 13) == 0 ? "unreachable" : "?");
        SHOW(chdir("/"));
        SHOW(access("../../here", F_OK));
        SHOW(chroot("here"));
        SHOW(chroot("missing"));
        SHOW(syscall(SYS_pivot_root, "/sub", "/sub"));
        SHOW(fchdir(out));
        SHOW(chroot("r/sub"));
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    SHOW(chdir("r"));
    SHOW(syscall(SYS_pivot_root, ".", "old"));
    SHOW(access("/here", F_OK));
    SHOW(access("here", F_OK));
    SHOW(access("/old/proc", F_OK));
    HOLDS(getcwd(name, sizeof name) && strcmp(name, "/") == 0);
    SHOW(access("/..", F_OK));
    SHOW(access("/../here", F_OK));
    char place[512];
    snprintf(place, sizeof place, "/old%s/plain", base);
    SHOW_OK(access(place, F_OK));
    SHOW(umount("/old"));
    SHOW(mkdir("/new", 0755));
    SHOW(mount("n", "/new", "tmpfs", 0, NULL));
    SHOW(make("/new/there"));
    SHOW(chdir("/new"));
    SHOW(syscall(SYS_pivot_root, ".", "."));
    SHOW(umount2(".", MNT_DETACH)); // the old root, which stands on the new one
    SHOW(access("/there", F_OK));
    SHOW(access("/here", F_OK));
    SHOW(access("/old", F_OK));
    SHOW(umount2("/", 0));
    SHOW(make("/more"));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (access("/proc/self/ns", F_OK) == 0) // else there are no namespaces: the mounts are nobody else's
        NEEDS(unshare(CLONE_NEWNS));
    NEEDS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    mkdir("t", 0755);
    NEEDS(mount("test", "t", "tmpfs", 0, NULL));
    if (chdir("t") != 0 || !getcwd(base, sizeof base))
        give_up("no directory");
    umask(022);
    bind_mounts();
    moves();
    remounts();
    forbidden();
    unmounting();
    propagation();
    wrong();
    limits();
    roots();
    return 0;
}
