// The stat family: every field that does not depend on the machine, statx, statfs, access and permissions.
// build: musl glibc
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

struct statx_time { int64_t sec; uint32_t nsec; int32_t pad; };
struct statx_data { // as the ABI has it; musl of Debian 12 lacks it
    uint32_t mask, blksize; uint64_t attributes; uint32_t nlink, uid, gid; uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    struct statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id, spare[13];
};
_Static_assert(sizeof(struct statx_data) == 256, "struct statx");

static void show_stat(const char *name)
{
    struct stat st;
    if (lstat(name, &st)) {
        printf("%s: %s\n", name, errno_name(errno));
        return;
    }
    printf("%s: mode %o size %ld rdev %u:%u", name, st.st_mode, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, major(st.st_rdev),
           minor(st.st_rdev));
    if (!S_ISDIR(st.st_mode))
        printf(" links %lu", (unsigned long)st.st_nlink);
    if (S_ISREG(st.st_mode))
        printf(" blocks %ld blksize %ld", (long)st.st_blocks, (long)st.st_blksize);
    printf(" owner %s\n", st.st_uid == geteuid() && st.st_gid == getegid() ? "me" : st.st_uid == 0 ? "root" : "another");
}

int main(void)
{
    struct stat st, st2;
    umask(027);
    int fd = open("f", O_RDWR | O_CREAT, 0666);
    SHOW(write(fd, "x", 1));
    show_stat("f");
    SHOW(ftruncate(fd, 4097));
    SHOW(pwrite(fd, "x", 1, 4096));
    show_stat("f");
    SHOW(mkdir("d", 0777));
    show_stat("d");
    SHOW(symlink("somewhere/else", "s"));
    show_stat("s");
    SHOW(mkfifo("p", 0666));
    show_stat("p");
    show_stat("/dev/null");
    show_stat("/dev/zero");
    show_stat("/dev/full");
    show_stat("/dev/random");
    show_stat("/dev/urandom");
    show_stat("/dev/tty");

    section("identity");
    SHOW(fstat(fd, &st));
    SHOW(link("f", "g"));
    SHOW(stat("g", &st2));
    HOLDS(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev && st2.st_nlink == 2);
    SHOW(stat("d", &st2));
    HOLDS(st.st_ino != st2.st_ino && st.st_dev == st2.st_dev);

    section("errors");
    SHOW(stat("missing", &st));
    SHOW(stat("f/x", &st));
    SHOW(stat("f/", &st));
    SHOW(stat("f/.", &st));
    SHOW(stat("", &st));
    SHOW(stat("s", &st));
    SHOW(lstat("s/", &st));
    SHOW(fstat(99, &st));
    SHOW(syscall(SYS_stat, "f", 8));
    SHOW(syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH));
    SHOW(syscall(SYS_newfstatat, fd, "", &st, 0));
    SHOW(syscall(SYS_newfstatat, fd, "f", &st, 0));
    SHOW(syscall(SYS_newfstatat, AT_FDCWD, "f", &st, 0x80000));

    section("statx");
    struct statx_data x;
    memset(&x, 0xff, sizeof x);
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, &x));
    HOLDS((x.mask & 0x7ff) == 0x7ff || (x.mask & 0x7ff) == 0xfff);
    printf("mode %o size %lu nlink %u blocks %lu\n", x.mode, (unsigned long)x.size, x.nlink, (unsigned long)x.blocks);
    HOLDS(x.ino == (fstat(fd, &st), st.st_ino) && makedev(x.dev_major, x.dev_minor) == st.st_dev);
    HOLDS(x.mtime.sec == st.st_mtim.tv_sec && x.mtime.nsec == st.st_mtim.tv_nsec);
    HOLDS(x.ctime.sec == st.st_ctim.tv_sec && x.ctime.nsec == st.st_ctim.tv_nsec);
    SHOW(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0x7ff, &x));
    SHOW(syscall(SYS_statx, AT_FDCWD, "s", AT_SYMLINK_NOFOLLOW, 0x7ff, &x));
    printf("mode %o size %lu\n", x.mode, (unsigned long)x.size);
    SHOW(syscall(SYS_statx, AT_FDCWD, "missing", 0, 0x7ff, &x));
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0x80000, 0x7ff, &x));
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000, &x));
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0x6000, 0x7ff, &x));
    SHOW(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, (void *)8));

    section("chmod, chown, umask");
    SHOW(chmod("f", 0));
    show_stat("f");
    SHOW(chmod("f", 07777));
    show_stat("f");
    SHOW(fchmod(fd, 0100644));
    show_stat("f");
    SHOW(chmod("missing", 0644));
    SHOW(fchmod(99, 0644));
    SHOW(chown("f", geteuid(), getegid()));
    SHOW(chown("f", -1, -1));
    SHOW(lchown("s", geteuid(), getegid()));
    SHOW(fchown(fd, geteuid(), -1));
    SHOW(chown("missing", -1, -1));
    SHOW(fchown(99, -1, -1));
    SHOW(fchmodat(AT_FDCWD, "d", 0700, 0));
    show_stat("d");
    SHOW(umask(0777));
    SHOW(umask(01777));
    SHOW(umask(022));

    section("access");
    SHOW(access("f", F_OK));
    SHOW(access("f", R_OK | W_OK));
    SHOW(access("f", X_OK));
    SHOW(chmod("f", 0755));
    SHOW(access("f", X_OK));
    SHOW(access("d", R_OK | W_OK | X_OK));
    SHOW(access("missing", F_OK));
    SHOW(access("f/x", F_OK));
    SHOW(access("f", 8));
    SHOW(access("s", F_OK));
    SHOW(faccessat(AT_FDCWD, "s", F_OK, AT_SYMLINK_NOFOLLOW));
    SHOW(access((char *)8, F_OK));

    section("statfs");
    struct statfs fs;
    SHOW(statfs("f", &fs));
    HOLDS(fs.f_bsize == 4096 && fs.f_namelen == 255);
    HOLDS(fs.f_bfree <= fs.f_blocks && fs.f_bavail <= fs.f_bfree);
    SHOW(fstatfs(fd, &fs));
    SHOW(statfs("missing", &fs));
    SHOW(fstatfs(99, &fs));
    SHOW(statfs("/proc", &fs));
    printf("type %lx\n", (long)fs.f_type);
    return 0;
}
