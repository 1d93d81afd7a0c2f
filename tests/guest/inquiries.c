// Small calls that answer questions or are refused: kcmp, ustat, file handles, adjtimex, memory policies, remap_file_pages.
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>

enum { KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND };

static void kcmp_(void)
{
    section("kcmp");
    int me = getpid(), a = open("/dev/null", O_RDONLY), b = dup(a), c = open("/dev/null", O_RDONLY);
    SHOW(syscall(SYS_kcmp, me, me, KCMP_FILE, a, b));
    HOLDS(syscall(SYS_kcmp, me, me, KCMP_FILE, a, c) + syscall(SYS_kcmp, me, me, KCMP_FILE, c, a) == 3);
    SHOW(syscall(SYS_kcmp, me, me, KCMP_FILE, a, 77));
    SHOW(syscall(SYS_kcmp, me, me, KCMP_VM, 0, 0));
    SHOW(syscall(SYS_kcmp, me, me, 99, 0, 0));
    SHOW(syscall(SYS_kcmp, me, 999999, KCMP_VM, 0, 0));
    pid_t pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    SHOW(syscall(SYS_kcmp, me, pid, KCMP_FILE, a, a));
    HOLDS(syscall(SYS_kcmp, me, pid, KCMP_VM, 0, 0) > 0);
    HOLDS(syscall(SYS_kcmp, me, pid, KCMP_FILES, 0, 0) > 0);
    HOLDS(syscall(SYS_kcmp, me, pid, KCMP_FS, 0, 0) > 0);
    HOLDS(syscall(SYS_kcmp, me, pid, KCMP_SIGHAND, 0, 0) > 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static volatile int thread_number, over;
static void *have_number(void *arg)
{
    thread_number = (int)syscall(SYS_gettid);
    while (!over)
        usleep(1000);
    return arg;
}

// Many calls that ask for a process take the number of any of its threads.
static void numbers(void)
{
    section("a thread's number");
    pthread_t t;
    struct rlimit l;
    pthread_create(&t, NULL, have_number, NULL);
    while (!thread_number)
        usleep(1000);
    HOLDS(getpgid(thread_number) == getpgid(0));
    HOLDS(getsid(thread_number) == getsid(0));
    SHOW(setpgid(thread_number, 0));
    SHOW(kill(thread_number, 0));
    SHOW(syscall(SYS_prlimit64, thread_number, RLIMIT_NOFILE, NULL, &l));
    SHOW(waitpid(thread_number, NULL, 0));
    over = 1;
    pthread_join(t, NULL);
}

static void clocks(void)
{
    section("adjtimex");
    struct timex t = {0};
    int state = adjtimex(&t);
    HOLDS(state == TIME_OK || state == TIME_ERROR);
    HOLDS(t.tick == 10000 && t.precision == 1 && t.tolerance == 32768000);
    HOLDS(t.time.tv_sec >= time(NULL) - 2 && t.time.tv_sec <= time(NULL));
    SHOW_OK(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &t));
    memset(&t, 0, sizeof t);
    SHOW(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &t));
    SHOW(syscall(SYS_clock_adjtime, 77, &t));
    SHOW(syscall(SYS_adjtimex, 8));
    SHOW(syscall(SYS_clock_adjtime, CLOCK_REALTIME, 8));
    t.modes = 0x8000;
    SHOW(syscall(SYS_adjtimex, &t));
    pid_t pid = fork();
    if (!pid) {
        if (getuid() == 0 && setuid(12345))
            give_up("setuid");
        t.modes = ADJ_FREQUENCY;
        SHOW(syscall(SYS_adjtimex, &t));
        t.modes = ADJ_SETOFFSET;
        SHOW(syscall(SYS_adjtimex, &t));
        SHOW(syscall(SYS_vhangup));
        SHOW(syscall(SYS_pivot_root, "/", "/"));
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void files(void)
{
    section("ustat, handles");
    struct stat st;
    char buf[64];
    stat("/proc/self", &st);
    SHOW(syscall(SYS_ustat, st.st_dev, buf));
    SHOW(syscall(SYS_ustat, st.st_dev, 8));
    SHOW(syscall(SYS_ustat, 0x7ff7f, buf));
    SHOW(syscall(SYS_name_to_handle_at, AT_FDCWD, "/none", buf, buf + 32, 0));
    SHOW(syscall(SYS_name_to_handle_at, AT_FDCWD, "/", buf, buf + 32, 0x40000000));

    section("remap_file_pages");
    int fd = memfd_create("pages", 0);
    ftruncate(fd, 4 * 4096);
    char *p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int i = 0; i < 4; i++)
        p[i * 4096] = (char)('0' + i);
    SHOW(remap_file_pages(p, 4096, 0, 3, 0));
    SHOW(remap_file_pages(p + 3 * 4096, 4096, 0, 0, 0));
    printf("%c%c%c%c\n", p[0], p[4096], p[2 * 4096], p[3 * 4096]);
    SHOW(remap_file_pages(p, 4096, PROT_READ, 0, 0));
    SHOW(remap_file_pages(p, 0, 0, 0, 0));
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(remap_file_pages(private, 4096, 0, 0, 0));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct timex t = {0};
    struct stat st;
    char buf[64];
    stat("/proc/self", &st);
    NEEDS(syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0));
    NEEDS(syscall(SYS_adjtimex, &t));
    NEEDS(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &t));
    NEEDS(syscall(SYS_ustat, st.st_dev, buf));
    kcmp_();
    numbers();
    clocks();
    files();
    return 0;
}
