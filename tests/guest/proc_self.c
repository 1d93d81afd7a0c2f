// /proc, /dev: what can be read of oneself and of the system, in terms that are the same on every machine.
// build: musl glibc
// args: first "second word"
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static char text[65536];

static long slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, errno_name(errno));
        return -1;
    }
    long total = 0, n;
    while ((n = read(fd, text + total, sizeof text - 1 - (size_t)total)) > 0)
        total += n;
    text[total] = 0;
    close(fd);
    return total;
}

static void has(const char *path, const char *const *words)
{
    if (slurp(path) < 0)
        return;
    printf("%s:", path);
    for (; *words; words++)
        printf(" %s%s", *words, strstr(text, *words) ? "" : "(MISSING)");
    printf("\n");
}
#define HAS(path, ...) has(path, (const char *const[]){__VA_ARGS__, NULL})

int main(int argc, char **argv)
{
    struct stat st, st2;
    (void)argc;

    section("self");
    char link[4096] = "";
    long n = readlink("/proc/self/exe", link, sizeof link - 1);
    HOLDS(n > 0 && link[0] == '/');
    HOLDS(stat("/proc/self/exe", &st) == 0 && stat(link, &st2) == 0 && st.st_ino == st2.st_ino && st.st_size == st2.st_size);
    int fd = open("/proc/self/exe", O_RDONLY);
    HOLDS(read(fd, text, 4) == 4 && !memcmp(text, "\177ELF", 4));
    close(fd);
    n = slurp("/proc/self/cmdline");
    size_t at = strlen(text) + 1;
    HOLDS(!strcmp(text, argv[0]));
    printf("%s, %s, %d\n", text + at, text + at + 6, (long)(at + 6 + strlen(text + at + 6) + 1) == n);
    HAS("/proc/self/status", "Name:\tproc_self", "Pid:", "PPid:", "Uid:", "Threads:\t1", "VmSize:", "VmRSS:", "SigCgt:");
    slurp("/proc/self/stat");
    int pid;
    char name[64], state;
    HOLDS(sscanf(text, "%d (%63[^)]) %c", &pid, name, &state) == 3 && pid == getpid() && state == 'R');
    int fields = 1;
    for (char *p = strrchr(text, ')'); *p; p++)
        fields += *p == ' ';
    HOLDS(fields >= 50);
    HAS("/proc/self/maps", "[stack]", "[vdso]", "r-xp");
    slurp("/proc/self/comm");
    printf("comm %s", text);
    slurp("/proc/self/statm");
    unsigned long size, resident;
    HOLDS(sscanf(text, "%lu %lu", &size, &resident) == 2 && size >= resident && resident > 0);
    snprintf(link, sizeof link, "/proc/%d/stat", getpid());
    HOLDS(stat(link, &st) == 0);
    HOLDS(readlink("/proc/self", link, sizeof link) > 0 && atoi(link) == getpid());
    HOLDS(stat("/proc/999999", &st) == -1 && errno == ENOENT);
    HOLDS(stat("/proc/thread-self/comm", &st) == 0 || errno == ENOENT);
    HOLDS(readlink("/proc/self/cwd", link, sizeof link) > 0 && link[0] == '/');
    HOLDS(readlink("/proc/self/root", link, sizeof link) == 1 && link[0] == '/');

    section("fd");
    fd = open("f", O_RDWR | O_CREAT, 0644);
    SHOW(write(fd, "through proc", 12));
    snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    n = readlink(text, link, sizeof link - 1);
    HOLDS(n >= 2 && !memcmp(link + n - 2, "/f", 2));
    int again = open(text, O_RDONLY);
    SHOW(read(again, link, 7));
    printf("%.7s\n", link);
    unlink("f");
    n = readlink(text, link, sizeof link - 1);
    link[n] = 0;
    HOLDS(strstr(link, "/f (deleted)") != NULL);
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *d;
    int count = 0;
    while ((d = readdir(dir)))
        count += d->d_name[0] != '.';
    closedir(dir);
    printf("%d descriptors\n", count);
    SHOW(open("/proc/self/fd/77", O_RDONLY));
    HOLDS(access("/dev/fd/0", F_OK) == 0 && access("/dev/stdin", F_OK) == 0);

    section("system");
    HAS("/proc/cpuinfo", "processor\t: 0", "vendor_id", "model name", "flags", "fpu", "sse2");
    HAS("/proc/meminfo", "MemTotal:", "MemFree:", "MemAvailable:", "Buffers:", "Cached:", "SwapTotal:", " kB\n");
    HAS("/proc/version", "Linux version ");
    HAS("/proc/mounts", " / ", " /proc ", " /dev ");
    HAS("/proc/filesystems", "tmpfs", "proc");
    HAS("/proc/stat", "cpu ", "cpu0 ", "btime ", "processes ");
    slurp("/proc/uptime");
    double up, idle;
    HOLDS(sscanf(text, "%lf %lf", &up, &idle) == 2 && up > 0);
    slurp("/proc/loadavg");
    double load;
    HOLDS(sscanf(text, "%lf", &load) == 1);
    slurp("/proc/sys/kernel/ostype");
    printf("%s", text);
    slurp("/proc/sys/kernel/pid_max");
    HOLDS(atoi(text) >= 32768);
    HOLDS(slurp("/proc/sys/kernel/osrelease") > 3 && slurp("/proc/sys/kernel/hostname") > 0);
    HOLDS(slurp("/proc/sys/kernel/random/uuid") == 37 && text[8] == '-' && text[14] == '4');
    slurp("/proc/sys/vm/overcommit_memory");
    HOLDS(text[0] >= '0' && text[0] <= '2');

    section("in pieces");
    slurp("/proc/self/status");
    char *whole = strdup(text);
    fd = open("/proc/self/status", O_RDONLY);
    char *end = strstr(whole, "Pid:");
    size_t upto = (size_t)(end - whole);
    for (size_t i = 0; i < upto; i++)
        if (read(fd, text + i, 1) != 1)
            give_up("read");
    HOLDS(!memcmp(text, whole, upto));
    SHOW(lseek(fd, 0, SEEK_SET));
    HOLDS(read(fd, text, 5) == 5 && !memcmp(text, "Name:", 5));

    section("writing is refused, removing too");
    HOLDS(open("/proc/newfile", O_WRONLY | O_CREAT, 0644) == -1);
    HOLDS(mkdir("/proc/newdir", 0755) == -1);
    HOLDS(unlink("/proc/self/status") == -1);

    section("devices");
    fd = open("/dev/null", O_RDWR);
    SHOW(read(fd, text, 10));
    SHOW(write(fd, text, 10));
    SHOW(lseek(fd, 5, SEEK_SET) >= 0);
    fd = open("/dev/zero", O_RDWR);
    memset(text, 1, 10000);
    SHOW(read(fd, text, 10000));
    n = 0;
    for (int i = 0; i < 10000; i++)
        n += text[i];
    SHOW(n);
    SHOW(write(fd, text, 10));
    fd = open("/dev/full", O_RDWR);
    SHOW(read(fd, text, 10));
    SHOW(write(fd, text, 10));
    fd = open("/dev/urandom", O_RDONLY);
    static char one[64], two[64];
    SHOW(read(fd, one, 64));
    fd = open("/dev/random", O_RDONLY);
    SHOW(read(fd, two, 64));
    HOLDS(memcmp(one, two, 64));
    return 0;
}
