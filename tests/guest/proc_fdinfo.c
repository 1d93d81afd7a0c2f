// /proc/self/fdinfo: what it says about event, timer, signal and epoll descriptors, about locks; and files of /proc and /sys that
// runtimes read, as far as they are the same everywhere.
// build: musl
#include "check.h"
#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

// The lines without what differs: numbers of mounts, inodes and processes, newer kernels' additions.
static void show(const char *what, int fd)
{
    char name[64], line[256];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(name, "r");
    printf("-- %s\n", what);
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "mnt_id", 6) == 0 || strncmp(line, "ino:", 4) == 0 || strncmp(line, "eventfd-id", 10) == 0 ||
            strncmp(line, "eventfd-semaphore", 17) == 0)
            continue;
        if (strncmp(line, "tfd:", 4) == 0) {
            int tfd;
            unsigned events;
            unsigned long data;
            long pos;
            if (sscanf(line, "tfd: %d events: %x data: %lx pos:%ld ino:%*x sdev:%*x", &tfd, &events, &data, &pos) != 4)
                printf("not understood: %s", line);
            printf("tfd %s events %x data %lx pos %ld\n", tfd == 10 ? "10" : "other", events, data, pos);
            continue;
        }
        if (strncmp(line, "lock:", 5) == 0) {
            char kind[16], way[16], type[16], place[64], start[32], end[32];
            int number, pid;
            if (sscanf(line, "lock:\t%d: %15s %15s %15s %d %63s %31s %31s", &number, kind, way, type, &pid, place, start, end) != 8)
                printf("not understood: %s", line);
            printf("lock %d %s %s %s %s %s %s\n", number, kind, way, type, pid == getpid() ? "own" : pid == -1 ? "-1" : "?", start, end);
            continue;
        }
        if (strncmp(line, "it_value", 8) == 0)
            printf("%s", strcmp(line, "it_value: (0, 0)\n") == 0 ? line : "it_value: armed\n");
        else
            printf("%s", line);
    }
    if (f)
        fclose(f);
}

static void number_in(const char *name, long least, long most)
{
    char text[128];
    int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    char *end = text;
    text[n > 0 ? n : 0] = 0;
    double value = strtod(text, &end);
    printf("%s: %s\n", name, n < 0 ? "missing" : end > text && value >= least && value <= most ? "ok" : text);
    close(fd);
}

static void has(const char *name, const char *word)
{
    static char text[65536];
    int fd = open(name, O_RDONLY);
    ssize_t n = 0, got;
    while (fd >= 0 && n < (ssize_t)sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0)
        n += got;
    text[n] = 0;
    printf("%s: %s %s\n", name, fd < 0 ? "missing" : strstr(text, word) ? "has" : "lacks", word);
    close(fd);
}

int main(void)
{
    int fd = eventfd(300, EFD_NONBLOCK);
    show("eventfd", fd);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    show("timerfd", timer);
    struct itimerspec its = {{5, 6}, {1000, 0}};
    timerfd_settime(timer, 0, &its, NULL);
    show("timerfd, armed", timer);
    its.it_value.tv_sec = 1;
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &its, NULL);
    usleep(1000);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGKILL);
    show("signalfd", signalfd(-1, &set, SFD_NONBLOCK));
    int e = epoll_create1(EPOLL_CLOEXEC);
    show("epoll, empty", e);
    struct epoll_event ev = {EPOLLIN | EPOLLET, {.u64 = 0x123456789abcdef0}};
    dup2(fd, 10);
    epoll_ctl(e, EPOLL_CTL_ADD, 10, &ev);
    show("epoll", e);
    int file = open("locked", O_CREAT | O_RDWR, 0644);
    if (write(file, "0123456789", 10) != 10 || lseek(file, 4, SEEK_SET) != 4)
        give_up("file");
    struct flock l = {.l_type = F_WRLCK, .l_start = 2, .l_len = 3}, rest = {.l_type = F_RDLCK, .l_start = 8};
    fcntl(file, F_SETLK, &l);
    fcntl(file, F_SETLK, &rest);
    show("locked", file);
    int other = open("other", O_RDONLY | O_CREAT | O_APPEND, 0644);
    flock(other, LOCK_SH);
    show("flock", other);
    close(other);
    close(file);

    printf("-- settings\n");
    number_in("/proc/sys/kernel/pid_max", 300, 1 << 22);
    number_in("/proc/sys/kernel/threads-max", 10, 1l << 40);
    number_in("/proc/sys/kernel/ngroups_max", 65536, 65536);
    number_in("/proc/sys/kernel/cap_last_cap", 37, 63);
    number_in("/proc/sys/kernel/shmmax", 1, 0x7fffffffffffffff);
    number_in("/proc/sys/kernel/shmall", 1, 0x7fffffffffffffff);
    number_in("/proc/sys/kernel/shmmni", 4096, 32768);
    number_in("/proc/sys/kernel/randomize_va_space", 0, 2);
    number_in("/proc/sys/kernel/sched_rt_runtime_us", -1, 1000000);
    number_in("/proc/sys/kernel/sched_rt_period_us", 1, 1000000);
    number_in("/proc/sys/kernel/panic", -1, 1000000);
    number_in("/proc/sys/kernel/random/entropy_avail", 1, 4096);
    number_in("/proc/sys/vm/overcommit_memory", 0, 2);
    number_in("/proc/sys/vm/overcommit_ratio", 0, 100);
    number_in("/proc/sys/vm/max_map_count", 1000, 0x7fffffff);
    number_in("/proc/sys/vm/swappiness", 0, 200);
    number_in("/proc/sys/vm/nr_hugepages", 0, 1 << 20);
    number_in("/proc/sys/vm/nr_overcommit_hugepages", 0, 1 << 20);
    number_in("/proc/sys/vm/min_free_kbytes", 0, 1 << 30);
    number_in("/proc/sys/vm/dirty_ratio", 0, 100);
    number_in("/proc/sys/vm/dirty_background_ratio", 0, 100);
    number_in("/proc/sys/vm/dirty_expire_centisecs", 0, 100000);
    number_in("/proc/sys/vm/dirty_writeback_centisecs", 0, 100000);
    number_in("/proc/sys/vm/vfs_cache_pressure", 0, 10000);
    number_in("/proc/sys/vm/panic_on_oom", 0, 2);
    number_in("/proc/sys/fs/file-max", 1000, 0x7fffffffffffffff);
    number_in("/proc/sys/fs/nr_open", 1024, 0x7fffffff);
    number_in("/proc/sys/fs/pipe-max-size", 4096, 1 << 30);
    number_in("/proc/sys/fs/epoll/max_user_watches", 1000, 0x7fffffffffffffff);
    number_in("/proc/sys/fs/inotify/max_user_watches", 1000, 0x7fffffff);
    number_in("/proc/sys/fs/overflowuid", 65534, 65534);
    number_in("/proc/sys/kernel/overflowgid", 65534, 65534);
    number_in("/proc/sys/net/core/somaxconn", 128, 65535);
    number_in("/sys/devices/system/cpu/online", 0, 0);
    number_in("/sys/devices/system/cpu/possible", 0, 0);
    number_in("/sys/devices/system/cpu/cpu0/topology/core_id", 0, 1024);
    number_in("/sys/devices/system/cpu/cpu0/topology/physical_package_id", 0, 64);
    number_in("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", 0, 1 << 20);
    has("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
    has("/proc/filesystems", "nodev\ttmpfs");
    has("/proc/filesystems", "nodev\tsysfs");
    has("/proc/self/mountinfo", " / / ");
    has("/proc/self/mountstats", " with fstype proc");
    has("/proc/self/mounts", " /proc proc ");
    has("/proc/self/cgroup", "0::/");
    has("/proc/self/limits", "Max open files");
    has("/proc/self/status", "Cpus_allowed_list:");
    has("/proc/meminfo", "MemAvailable:");
    has("/proc/vmstat", "pgpgin ");
    has("/proc/stat", "btime ");
    struct stat st;
    SHOW(stat("/sys/devices/system/cpu/online", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 4096);
    SHOW(access("/sys/fs/cgroup", F_OK));
    SHOW(open("/sys/devices/system/cpu/missing", O_RDONLY));
    SHOW(open("/sys/devices/system/cpu/cpu0/topology/core_id/x", O_RDONLY));
    SHOW(mkdir("/sys/x", 0755) == -1 && (errno == EPERM || errno == EROFS || errno == EACCES));
    SHOW(access("/proc/self/attr/x", F_OK));
    return 0;
}
