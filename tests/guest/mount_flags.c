// What flags of mounts do to access times and symbolic links, how they are shown and remounted; names that are cached (RESOLVE_CACHED).
// On Linux in a mount namespace of its own.
// build: musl
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif

static char text[8192];

// --- Access times ---

static void read_some(const char *name) {
    int fd = open(name, O_RDONLY);
    read(fd, text, 5);
    close(fd);
}
static void read_end(const char *name) {
    int fd = open(name, O_RDONLY);
    pread(fd, text, 5, 100000);
    close(fd);
}
static void read_quietly(const char *name) {
    int fd = open(name, O_RDONLY | O_NOATIME);
    read(fd, text, 5);
    close(fd);
}
static void map(const char *name) {
    int fd = open(name, O_RDONLY);
    munmap(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), 4096);
    close(fd);
}
static void send(const char *name) {
    int fd = open(name, O_RDONLY), p[2];
    off_t at = 0;
    pipe(p);
    sendfile(p[1], fd, &at, 5);
    close(fd);
    close(p[0]);
    close(p[1]);
}
static void only_open(const char *name) { close(open(name, O_RDONLY)); }
static void list(const char *name) {
    DIR *d = opendir(name);
    while (readdir(d))
        ;
    closedir(d);
}
static void look(const char *name) {
    struct stat st;
    stat(name, &st);
}
static void read_link(const char *name) { readlink(name, text, 100); }

// Which of several times is replaced: one before the last change, one behind it, one in the future.
static void times_after(const char *what, const char *name, void (*use)(const char *)) {
    long times[][2] = {{1000, 2000}, {2000, 1000}, {time(NULL) + 1000, 2000}};
    printf("%s:", what);
    for (int i = 0; i < 3; i++) {
        struct timespec t[2] = {{times[i][0], 0}, {times[i][1], 0}};
        struct stat st;
        utimensat(AT_FDCWD, name, t, AT_SYMLINK_NOFOLLOW);
        use(name);
        lstat(name, &st);
        printf(" %s", st.st_atime == times[i][0] ? "kept" : "new");
    }
    printf("\n");
}

static void access_times(void) {
    times_after("read", "f", read_some);
    times_after("read at the end", "f", read_end);
    times_after("read nothing", "empty", read_some);
    times_after("O_NOATIME", "f", read_quietly);
    times_after("mmap", "f", map);
    times_after("sendfile", "f", send);
    times_after("open", "f", only_open);
    times_after("list", "dir", list);
    times_after("stat", "dir", look);
    times_after("readlink", "link", read_link);
    times_after("follow", "link", look);
}

// --- What is shown ---

static void show(void) {
    char line[1024], place[256], flags[128], rest[512];
    struct statfs s;
    FILE *f = fopen("/proc/self/mountinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *name;
        if (sscanf(line, "%*d %*d %*s %*s %255s %127s %511[^\n]", place, flags, rest) != 3)
            continue;
        if ((name = strrchr(place, '/')) && strcmp(name, "/flagged") == 0)
            printf("%s %s\n", flags, strstr(rest, "- "));
    }
    fclose(f);
    f = fopen("/proc/self/mounts", "r");
    while (f && fgets(line, sizeof line, f))
        if (strstr(line, "/flagged "))
            printf("mounts: %s", strstr(line, " tmpfs "));
    fclose(f);
    if (statfs("flagged", &s) == 0)
        printf("statfs: %#lx\n", (long)s.f_flags & 0xfffdf);
}

static void remounts(void) {
    static const unsigned long flags[] = {0,
                                          MS_STRICTATIME,
                                          MS_BIND | MS_NOSUID,
                                          MS_LAZYTIME,
                                          MS_BIND | MS_NOATIME | MS_NOSYMFOLLOW,
                                          MS_BIND | MS_LAZYTIME,
                                          MS_RDONLY};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        printf("remount %#lx\n", flags[i]);
        SHOW(mount("", "flagged", "", MS_REMOUNT | flags[i], ""));
        show();
    }
}

// --- Links ---

static void links(void) {
    SHOW(access("flagged/link", F_OK));
    SHOW(open("flagged/link", O_RDONLY));
    SHOW(open("flagged/dirlink/x", O_CREAT | O_RDWR, 0600));
    SHOW(open("flagged/link", O_CREAT | O_WRONLY, 0600));
    SHOW(open("flagged/link", O_RDONLY | O_NOFOLLOW));
    SHOW_OK(open("flagged/link", O_PATH | O_NOFOLLOW));
    SHOW(readlink("flagged/link", text, 9));
    SHOW(chdir("flagged/dirlink"));
    SHOW(rename("flagged/link", "flagged/link2"));
    SHOW(rename("flagged/link2", "flagged/link"));
    SHOW(symlink("flagged/f", "out"));
    SHOW(access("out", F_OK));
    SHOW(unlink("out"));
}

// --- RESOLVE_CACHED ---

static long open_cached(const char *name, unsigned long flags, unsigned long resolve) {
    struct {
        unsigned long flags, mode, resolve;
    } how = {flags, 0, resolve | 0x20};
    long fd = syscall(437, AT_FDCWD, name, &how, sizeof how);
    if (fd >= 0)
        close((int)fd);
    return fd < 0 ? fd : 0;
}

static void cached(void) {
    struct stat st;
    stat("dir/x", &st);
    stat("link", &st);
    SHOW(open_cached("f", O_RDONLY, 0));
    SHOW(open_cached("dir/x", O_RDWR, 0));
    SHOW(open_cached("dir/../f", O_RDONLY, 0));
    SHOW(open_cached("dir", O_RDONLY | O_DIRECTORY, 0));
    SHOW(open_cached("link", O_RDONLY, 0));
    SHOW(open_cached("link", O_RDONLY | O_NOFOLLOW, 0));
    SHOW(open_cached("f/", O_RDONLY, 0));
    SHOW(open_cached("dir", O_RDWR, 0));
    SHOW(open_cached("nobody-has-looked", O_RDONLY, 0));
    SHOW(open_cached("f", O_RDWR | O_CREAT, 0));
    SHOW(open_cached("f", O_RDWR | O_TRUNC, 0));
    SHOW(open_cached(".", O_RDWR | O_TMPFILE, 0));
    SHOW(open_cached("dir/x", O_RDONLY, 8)); // RESOLVE_BENEATH
    SHOW(open_cached("../f", O_RDONLY, 8));
    SHOW(open_cached("link", O_RDONLY, 4));     // RESOLVE_NO_SYMLINKS
    SHOW(open_cached("f", O_RDONLY, 8 | 0x10)); // and RESOLVE_IN_ROOT
    SHOW(open_cached("f", O_RDONLY, 0x40));
    SHOW(open_cached("f", O_PATH, 0));
}

// --- mount_setattr(2) ---

static long setattr(const char *name, unsigned flags, unsigned long set, unsigned long clear,
                    unsigned long propagation) {
    unsigned long attr[4] = {set, clear, propagation, 0};
    return syscall(442, AT_FDCWD, name, flags, attr, sizeof attr);
}

static void attributes(void) {
    unsigned long attr[5] = {1, 0, 0, 0, 0};
    mkdir("flagged/inner", 0755);
    SHOW(mount("inner", "flagged/inner", "tmpfs", 0, ""));
    SHOW(setattr("flagged", 0, 0x2 | 0x4 | 0x8 | 0x200000, 0, 0)); // nosuid, nodev, noexec, nosymfollow
    show();
    SHOW(setattr("flagged", 0, 0x80, 0x8 | 0x200000, 0)); // nodiratime
    show();
    SHOW(setattr("flagged", 0, 0x10, 0x70, 0)); // noatime
    show();
    SHOW(setattr("flagged", 0, 0x20, 0x70, 0)); // strictatime
    show();
    SHOW(setattr("flagged", 0, 0, 0x70 | 0x80 | 0x2 | 0x4, 0)); // relatime
    show();
    SHOW(setattr("flagged", 0, 0x10, 0, 0));
    SHOW(setattr("flagged", 0, 0x10, 0x10, 0));
    SHOW(setattr("flagged", 0, 0x30, 0x70, 0));
    SHOW(setattr("flagged", 0, 0x100, 0, 0));
    SHOW(setattr("flagged", 0, 0x100000, 0, 0)); // MOUNT_ATTR_IDMAP of a descriptor that is no namespace
    SHOW(setattr("flagged", 0, 0, 0x100000, 0));
    SHOW(setattr("flagged", 0, 0, 0, MS_SHARED | MS_PRIVATE));
    SHOW(setattr("flagged", 0, 0, 0, MS_REC));
    SHOW(setattr("flagged", 0, 0, 0, MS_PRIVATE));
    SHOW(setattr("flagged", 0x4, 1, 0, 0));
    SHOW(setattr("flagged/dir", 0, 1, 0, 0));
    SHOW(setattr("flagged/none", 0, 1, 0, 0));
    SHOW(setattr("flagged/none", 0, 0, 0, 0));
    SHOW(setattr("", 0, 1, 0, 0));
    SHOW(syscall(442, AT_FDCWD, "flagged", 0, attr, 31));
    SHOW(syscall(442, AT_FDCWD, "flagged", 0, attr, 4097));
    SHOW(syscall(442, AT_FDCWD, "flagged", 0, (void *)8, 32));
    attr[4] = 1;
    SHOW(syscall(442, AT_FDCWD, "flagged", 0, attr, 40));
    int fd = open("flagged/inner/f", O_CREAT | O_RDWR, 0600), dir = open("flagged", O_PATH);
    SHOW(setattr("flagged", 0x8000, 1, 0, 0)); // AT_RECURSIVE: the inner one is written to
    SHOW(access("flagged", W_OK));
    close(fd);
    attr[4] = 0;
    SHOW(syscall(442, dir, "", AT_EMPTY_PATH | 0x8000, attr, 40));
    SHOW(open("flagged/inner/f", O_WRONLY));
    SHOW(access("flagged", W_OK));
    show();
    SHOW(setattr("flagged/inner", 0, 0, 1, 0));
    SHOW_OK(open("flagged/inner/f", O_WRONLY));
    close(dir);
}

static void make_files(void) {
    int fd = open("f", O_CREAT | O_RDWR, 0644);
    write(fd, "hello world", 11);
    close(fd);
    mkdir("dir", 0755);
    close(open("dir/x", O_CREAT | O_RDWR, 0600));
    close(open("empty", O_CREAT | O_RDWR, 0600));
    symlink("f", "link");
    symlink("dir", "dirlink");
}

int main(void) {
    static const unsigned long flags[] = {0,
                                          MS_STRICTATIME,
                                          MS_NOATIME,
                                          MS_NODIRATIME,
                                          MS_STRICTATIME | MS_NODIRATIME,
                                          MS_RELATIME,
                                          MS_LAZYTIME,
                                          MS_NOSYMFOLLOW,
                                          MS_LAZYTIME | MS_STRICTATIME | MS_NOSYMFOLLOW};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (access("/proc/self/ns", F_OK) == 0) // else there are no namespaces: the mounts are nobody else's
        NEEDS(unshare(CLONE_NEWNS));
    NEEDS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    mkdir("flagged", 0755);
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        printf("-- %#lx\n", flags[i]);
        NEEDS(mount("source", "flagged", "tmpfs", flags[i], "size=1m"));
        show();
        chdir("flagged");
        make_files();
        access_times();
        if (i == 0)
            cached();
        chdir("..");
        if (flags[i] == MS_NOSYMFOLLOW)
            links();
        if (flags[i] & MS_LAZYTIME)
            remounts();
        if (i == 0)
            attributes();
        umount2("flagged", MNT_DETACH);
    }
    return 0;
}
