// What one process may see and do with another: process_vm_readv and process_vm_writev, prlimit, kill, the guarded files of /proc;
// and limits that bite: descriptors, file size, processes, queued signals, stack.
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef RLIMIT_NICE
#define RLIMIT_NICE 13
#endif

static struct shared {
    volatile int ready, go;
    char text[32];
} *shared;
static char local[64], remote[64] = "what the child has";

static long vm_read(pid_t p, void *l, size_t ln, void *r, size_t rn)
{
    struct iovec li = {l, ln}, ri = {r, rn};
    return syscall(SYS_process_vm_readv, p, &li, 1L, &ri, 1L, 0L);
}
static long vm_write(pid_t p, void *l, size_t ln, void *r, size_t rn)
{
    struct iovec li = {l, ln}, ri = {r, rn};
    return syscall(SYS_process_vm_writev, p, &li, 1L, &ri, 1L, 0L);
}

static pid_t start(uid_t uid)
{
    shared->ready = shared->go = 0;
    pid_t p = fork();
    if (p)
        while (!shared->ready)
            usleep(300);
    if (p)
        return p;
    strcpy(remote, "of the child");
    if (uid) {
        setgroups(0, NULL);
        if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1);
    }
    shared->ready = 1;
    while (!shared->go)
        usleep(300);
    memcpy(shared->text, remote, sizeof shared->text);
    _exit(0);
}

static void end(pid_t p)
{
    int status;
    shared->go = 1;
    waitpid(p, &status, 0);
}

static void other_memory(void)
{
    section("process_vm_readv, process_vm_writev");
    pid_t p = start(0);
    SHOW(vm_read(p, local, 12, remote, 12));
    printf("%.12s\n", local);
    SHOW(vm_write(p, "written by me", 14, remote, 14));
    SHOW(vm_read(getpid(), local, 8, remote, 8));
    printf("%.8s\n", local);
    struct iovec li[3] = {{local, 3}, {local + 3, 0}, {local + 3, 20}}, ri[3] = {{remote, 2}, {remote + 4, 4}, {remote + 2, 2}};
    SHOW(syscall(SYS_process_vm_readv, p, li, 3L, ri, 3L, 0L));
    printf("%.8s\n", local);
    SHOW(syscall(SYS_process_vm_readv, p, li, 3L, ri, 3L, 1L));
    SHOW(syscall(SYS_process_vm_readv, p, li, 0L, ri, 3L, 0L));
    SHOW(syscall(SYS_process_vm_readv, p, li, 3L, ri, 0L, 0L));
    SHOW(syscall(SYS_process_vm_readv, p, li, 1025L, ri, 1L, 0L));
    SHOW(syscall(SYS_process_vm_readv, p, li, 1L, ri, 1025L, 0L));
    SHOW(syscall(SYS_process_vm_readv, p, 8L, 1L, ri, 1L, 0L));
    SHOW(syscall(SYS_process_vm_readv, p, li, 1L, 8L, 1L, 0L));
    SHOW(vm_read(999999, local, 4, remote, 4));
    SHOW(vm_read(999999, local, 0, remote, 4));
    SHOW(vm_read(p, local, 4, (void *)16, 4));
    SHOW(vm_read(p, (void *)16, 4, remote, 4));
    SHOW(vm_read(p, local, 4, (void *)-16, 4));
    // Up to the first page that is not there.
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static char buffer[8192];
    munmap(two + 4096, 4096);
    SHOW(vm_read(getpid(), buffer, 200, two + 4096 - 100, 200));
    SHOW(vm_write(getpid(), buffer, 200, two + 4096 - 100, 200));
    mprotect(two, 4096, PROT_READ);
    SHOW(vm_write(getpid(), buffer, 100, two, 100));
    SHOW(vm_read(getpid(), buffer, 100, two, 100));
    mprotect(two, 4096, PROT_NONE);
    SHOW(vm_read(getpid(), buffer, 100, two, 100));
    end(p);
    printf("%s\n", shared->text);
}

static void try_open(const char *format, pid_t p)
{
    char path[64], c;
    snprintf(path, sizeof path, format, (int)p);
    int fd = open(path, O_RDONLY);
    long n = fd < 0 ? -1 : read(fd, &c, 1);
    int e = errno;
    *strchr(format, '%') = 0;
    printf("%s: %s\n", strrchr(path, '/') + 1, n < 0 ? errno_name(e) : "read");
    if (fd >= 0)
        close(fd);
}
static void try_link(const char *format, pid_t p)
{
    char path[64], target[64];
    snprintf(path, sizeof path, format, (int)p);
    long n = readlink(path, target, sizeof target);
    printf("%s: %s\n", strrchr(path, '/') + 1, n < 0 ? errno_name(errno) : "read");
}

static void look_at(pid_t p)
{
    char open_names[][32] = {"/proc/%d/environ", "/proc/%d/auxv", "/proc/%d/maps", "/proc/%d/stat", "/proc/%d/status",
                             "/proc/%d/cmdline", "/proc/%d/limits"};
    for (size_t i = 0; i < sizeof open_names / sizeof open_names[0]; i++) {
        char name[32];
        strcpy(name, open_names[i]);
        try_open(name, p);
    }
    try_link("/proc/%d/cwd", p);
    try_link("/proc/%d/exe", p);
    try_link("/proc/%d/root", p);
    try_link("/proc/%d/fd/1", p);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)p);
    DIR *d = opendir(path);
    printf("fd: %s\n", d ? "opened" : errno_name(errno));
    if (d)
        closedir(d);
    struct rlimit l;
    SHOW(vm_read(p, local, 4, remote, 4));
    SHOW(syscall(SYS_prlimit64, p, RLIMIT_NOFILE, NULL, &l));
    SHOW(kill(p, 0));
    SHOW(kill(p, SIGCONT));
}

static void as_user(uid_t uid, void (*fn)(pid_t), pid_t arg)
{
    int status;
    fflush(stdout);
    pid_t p = fork();
    if (!p) {
        setgroups(0, NULL);
        if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
            give_up("setresuid");
        prctl(PR_SET_DUMPABLE, 1);
        fn(arg);
        fflush(stdout);
        _exit(0);
    }
    waitpid(p, &status, 0);
    if (status)
        printf("status %#x\n", status);
}

static void other_users(void)
{
    section("a process of another user");
    pid_t p = start(1001);
    as_user(1000, look_at, p);
    section("a process of the same user");
    as_user(1001, look_at, p);
    end(p);
    section("root's process");
    p = start(0);
    as_user(1000, look_at, p);
    end(p);
}

static void limit(int resource, rlim_t soft, rlim_t hard)
{
    struct rlimit l = {soft, hard};
    if (setrlimit(resource, &l))
        printf("setrlimit %d: %s\n", resource, errno_name(errno));
}

static volatile int signals;
static siginfo_t last;
static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    last = *info;
    signals++;
}

static void descriptors(pid_t unused)
{
    (void)unused;
    int fds[2];
    limit(RLIMIT_NOFILE, 20, 30);
    SHOW(dup2(1, 20));
    SHOW(dup2(1, 19));
    SHOW(fcntl(1, F_DUPFD, 20));
    SHOW(fcntl(1, F_DUPFD, 19));
    while (dup(1) >= 0)
        continue;
    SHOW(dup(1));
    SHOW(open("/", O_RDONLY));
    SHOW(pipe(fds));
    struct pollfd many[32] = {{.fd = -1}};
    for (int i = 0; i < 32; i++)
        many[i].fd = -1;
    SHOW(poll(many, 20, 0));
    SHOW(poll(many, 21, 0));
    struct rlimit l = {31, 31};
    SHOW(setrlimit(RLIMIT_NOFILE, &l));
    l = (struct rlimit){21, 20};
    SHOW(setrlimit(RLIMIT_NOFILE, &l));
    SHOW(syscall(SYS_prlimit64, 0, 16, NULL, &l));
    SHOW(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 8L, NULL));
    SHOW(syscall(SYS_prlimit64, 999999, RLIMIT_NOFILE, NULL, NULL));
}

static void file_size(pid_t unused)
{
    (void)unused;
    char data[100] = {0};
    int fd = memfd_create("limited", 0);
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGXFSZ, &sa, NULL);
    limit(RLIMIT_FSIZE, 150, RLIM_INFINITY);
    char lines[8][80];
    int n = 0;
#define NOTE(call) (errno = 0, sprintf(lines[n++], "%s = %ld %s", #call, (long)(call), errno ? errno_name(errno) : ""))
    NOTE(write(fd, data, 100));
    NOTE(write(fd, data, 100));
    NOTE(write(fd, data, 100));
    NOTE(signals);
    NOTE(last.si_code);
    NOTE(ftruncate(fd, 151));
    NOTE(ftruncate(fd, 150));
    limit(RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY); // standard output may be a file
    for (int i = 0; i < n; i++)
        printf("%s\n", lines[i]);
    printf("signals %d, mine %d\n", signals, last.si_pid == getpid());
}

static void processes(pid_t unused)
{
    (void)unused;
    int status, n = 0;
    pid_t children[10], p;
    limit(RLIMIT_NPROC, 3, 3);
    for (; n < 10; n++) {
        children[n] = fork();
        if (!children[n])
            for (;;)
                pause();
        if (children[n] < 0)
            break;
    }
    printf("children: %d, then %s\n", n, errno_name(errno));
    kill(children[0], SIGKILL);
    waitid(P_PID, (id_t)children[0], &(siginfo_t){0}, WEXITED | WNOWAIT);
    p = fork();
    if (!p)
        _exit(0);
    printf("a zombie counts: %s\n", p < 0 ? errno_name(errno) : "no");
    waitpid(children[0], &status, 0);
    p = fork();
    if (!p)
        _exit(0);
    SHOW_OK(p);
    for (int i = 1; i < n; i++)
        kill(children[i], SIGKILL);
    while (wait(&status) > 0)
        continue;
}

static void queued(pid_t unused)
{
    (void)unused;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    limit(RLIMIT_SIGPENDING, 0, 5);
    SHOW(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1}));
    SHOW(kill(getpid(), SIGRTMIN));
    SHOW(kill(getpid(), SIGUSR1));
    SHOW(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 2}));
    siginfo_t info;
    for (int i = 0; i < 3; i++) {
        memset(&info, 0x55, sizeof info);
        int s = (int)syscall(SYS_rt_sigtimedwait, &all, &info, &(struct timespec){0, 0}, 8L);
        printf("%d code %d from %s\n", s, info.si_code, info.si_pid == getpid() ? "me" : info.si_pid ? "?" : "nobody");
    }
}

static void stack(pid_t unused)
{
    (void)unused;
    int status;
    fflush(stdout);
    pid_t p = fork();
    if (!p) {
        limit(RLIMIT_CORE, 0, 0);
        limit(RLIMIT_STACK, 256 << 10, 256 << 10);
        volatile char *here = (volatile char *)__builtin_frame_address(0);
        for (long i = 0; i < 8 << 20; i += 4096)
            here[-i] = 1;
        _exit(0);
    }
    waitpid(p, &status, 0);
    printf("signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void memory(pid_t unused)
{
    (void)unused;
    limit(RLIMIT_AS, 64 << 20, 64 << 20);
    void *m = mmap(NULL, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("address space: %s\n", m == MAP_FAILED ? errno_name(errno) : "ok");
    limit(RLIMIT_DATA, 1 << 20, 1 << 20);
    m = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("data: %s\n", m == MAP_FAILED ? errno_name(errno) : "ok");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    other_memory();
    other_users();
    section("limits: descriptors");
    as_user(1234, descriptors, 0);
    section("limits: size of files");
    as_user(1234, file_size, 0);
    section("limits: processes");
    as_user(50000 + (uid_t)getpid() % 10000, processes, 0); // a user of this run alone
    section("limits: queued signals");
    as_user(50000 + (uid_t)getpid() % 10000, queued, 0);
    section("limits: stack, memory");
    as_user(1234, stack, 0);
    as_user(1234, memory, 0);
    return 0;
}
