// Programs that die with a core dump. tests/system/cores.py looks at the files with gdb.
// runner: none
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static volatile int marker = 12345;
static char memory[1 << 20];
static char *volatile forgotten;
static volatile int there; // threads that are where gdb is to find them

__attribute__((noinline)) static void third(int *p)
{
    *p = marker;
}
__attribute__((noinline)) static void second(long n)
{
    volatile double d = (double)n * 1.5;
    third((int *)(n - 7));
    d += 1;
}
__attribute__((noinline)) static void first(void)
{
    second(7);
    marker++;
}

__attribute__((noinline)) static void wait_here(void)
{
    __atomic_add_fetch(&there, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static void *waiter(void *arg)
{
    wait_here();
    return arg;
}

static void *spinner(void *arg)
{
    __atomic_add_fetch(&there, 1, __ATOMIC_SEQ_CST);
    for (;;)
        marker = marker;
    return arg;
}

static void crash_with_threads(void)
{
    pthread_t t;
    strcpy(memory + 500000, "a text in memory");
    forgotten = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(forgotten, "a secret");
    madvise(forgotten, 1 << 16, MADV_DONTDUMP);
    pthread_create(&t, NULL, waiter, NULL);
    pthread_create(&t, NULL, waiter, NULL);
    pthread_create(&t, NULL, spinner, NULL);
    while (there < 3)
        usleep(1000);
    first();
}

// --- When there is one, and how it is called ---

static void set(const char *file, const char *value)
{
    int fd = open(file, O_WRONLY);
    if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
        printf("%s: %s\n", file, errno_name(errno));
    close(fd);
}

static void limit(rlim_t n)
{
    struct rlimit r = {n, RLIM_INFINITY};
    setrlimit(RLIMIT_CORE, &r);
}

static void nothing(void) {}
static void no_limit(void) { limit(0); }
static void too_small(void) { limit(4095); }
static void small(void) { limit(16384); }
static void not_dumpable(void) { prctl(PR_SET_DUMPABLE, 0); }
static void other_user(void) { setresuid(1000, 1000, 1000); }
static void other_user_again(void)
{
    setresuid(1000, 1000, 1000);
    prctl(PR_SET_DUMPABLE, 1);
}
static void read_only_directory(void)
{
    mkdir("/closed", 0555);
    chdir("/closed");
    other_user_again();
}
static void pattern_name(void) { set("/proc/sys/kernel/core_pattern", "c.%e.%s.%u.%%.%Q%"); }
static void pattern_place(void) { set("/proc/sys/kernel/core_pattern", "/tmp/named-%E"); }
static void pattern_pid(void)
{
    set("/proc/sys/kernel/core_pattern", "withpid");
    set("/proc/sys/kernel/core_uses_pid", "1");
}
static void pattern_pipe(void) { set("/proc/sys/kernel/core_pattern", "|/bin/true"); }
static void is_link(void) { symlink("elsewhere", "core"); }
static void has_links(void)
{
    close(open("core", O_CREAT | O_WRONLY, 0600));
    link("core", "another");
}
static void is_wide(void)
{
    close(open("core", O_CREAT | O_WRONLY, 0600));
    chmod("core", 0644);
}
static void is_there(void)
{
    int fd = open("core", O_CREAT | O_WRONLY, 0600);
    ftruncate(fd, 100 << 20);
    close(fd);
}
static void only_headers(void) { set("/proc/self/coredump_filter", "0x10"); }
static void safe(void)
{
    set("/proc/sys/fs/suid_dumpable", "2");
    set("/proc/sys/kernel/core_pattern", "/tmp/safe");
    other_user();
}
static void unsafe(void)
{
    set("/proc/sys/fs/suid_dumpable", "2");
    other_user();
}

static void show_files(const char *place)
{
    DIR *d = opendir(place);
    struct dirent *e;
    char names[64][256];
    int n = 0;
    while (d && (e = readdir(d)) && n < 64)
        if (e->d_name[0] != '.')
            strcpy(names[n++], e->d_name);
    closedir(d);
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++)
            if (strcmp(names[j], names[i]) < 0) {
                char t[256];
                strcpy(t, names[i]);
                strcpy(names[i], names[j]);
                strcpy(names[j], t);
            }
    for (int i = 0; i < n; i++) {
        char path[600];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", place, names[i]);
        lstat(path, &st);
        printf(" [%s mode %o user %d %s]", names[i], st.st_mode & 07777, (int)st.st_uid,
               S_ISLNK(st.st_mode) ? "link" : st.st_size == 0 ? "empty" : st.st_size < 65536 ? "small" : st.st_size < 8 << 20 ? "full" : "huge");
        unlink(path);
    }
}

static void one(const char *name, void (*prepare)(void), int sig)
{
    int status;
    set("/proc/sys/kernel/core_pattern", "core");
    set("/proc/sys/kernel/core_uses_pid", "0");
    set("/proc/sys/fs/suid_dumpable", "0");
    mkdir("/work", 0777);
    chmod("/work", 0777);
    chdir("/work");
    fflush(stdout);
    if (fork() == 0) {
        memset(memory, 'x', sizeof memory);
        limit(RLIM_INFINITY);
        prepare();
        if (sig)
            kill(getpid(), sig);
        else
            first();
        _exit(1);
    }
    wait(&status);
    printf("%s: signal %d core %d:", name, WTERMSIG(status), !!WCOREDUMP(status));
    show_files("/work");
    printf(" |");
    show_files("/tmp");
    printf("\n");
}

static void table(void)
{
    umask(0);
    one("plain", nothing, 0);
    one("SIGQUIT", nothing, SIGQUIT);
    one("SIGABRT", nothing, SIGABRT);
    one("SIGTERM", nothing, SIGTERM);
    one("SIGKILL", nothing, SIGKILL);
    one("limit 0", no_limit, 0);
    one("limit 4095", too_small, 0);
    one("limit 16384", small, 0);
    one("not dumpable", not_dumpable, 0);
    one("other user", other_user, 0);
    one("other user, dumpable", other_user_again, 0);
    one("no permission", read_only_directory, 0);
    one("pattern", pattern_name, SIGABRT);
    one("place", pattern_place, 0);
    one("pid", pattern_pid, 0);
    one("pipe", pattern_pipe, 0);
    one("symbolic link", is_link, 0);
    one("hard links", has_links, 0);
    one("readable by others", is_wide, 0);
    one("an old one", is_there, 0);
    one("only headers", only_headers, 0);
    one("safe", safe, 0);
    one("not safe", unsafe, 0);
}

// --- Threads that come, go, start programs and die while one crashes ---

static void *idle(void *arg)
{
    return arg;
}

static void *makes_threads(void *arg)
{
    pthread_t t;
    for (;;)
        if (pthread_create(&t, NULL, idle, NULL) == 0)
            pthread_join(t, NULL);
    return arg;
}

static void *makes_processes(void *arg)
{
    for (;;) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
    return arg;
}

static void *crashes(void *arg)
{
    usleep((useconds_t)(long)arg);
    first();
    return arg;
}

static void *starts_program(void *arg)
{
    usleep((useconds_t)(long)arg);
    execl("/bin/busybox", "busybox", "true", NULL);
    return arg;
}

static void *ends(void *arg)
{
    usleep((useconds_t)(long)arg);
    exit(7);
}

static void *leaves(void *arg)
{
    usleep((useconds_t)(long)arg);
    pthread_exit(NULL);
}

static void race(void)
{
    static void *(*const kinds[])(void *) = {makes_threads, makes_processes, spinner, crashes, crashes, starts_program, ends, leaves, leaves};
    uint32_t state = 12345;
    for (int round = 0; round < 60; round++) {
        pid_t pid = fork();
        int status;
        if (pid == 0) {
            pthread_t t;
            for (int i = 0; i < 6; i++)
                pthread_create(&t, NULL, kinds[noise(&state) % 9], (void *)(long)(noise(&state) % 3000));
            pthread_create(&t, NULL, crashes, (void *)3000L);
            pause();
            _exit(1);
        }
        for (int i = 0; i < 3; i++)
            noise(&state);
        if (round % 5 == 4) {
            usleep(noise(&state) % 4000);
            kill(pid, SIGKILL);
        }
        if (waitpid(pid, &status, 0) != pid)
            give_up("waitpid");
        bool known = WIFEXITED(status) ? WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7 : WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGKILL;
        if (!known)
            printf("round %d: status %#x\n", round, status);
    }
    printf("no round was lost\n");
}

int main(int argc, char **argv)
{
    int status;
    if (argc > 1 && !strcmp(argv[1], "table")) {
        table();
        return 0;
    }
    limit(RLIM_INFINITY);
    if (argc > 1 && !strcmp(argv[1], "race")) {
        race();
        return 0;
    }
    if (fork() == 0)
        crash_with_threads();
    wait(&status);
    printf("signal %d core %d\n", WTERMSIG(status), !!WCOREDUMP(status));
    fflush(stdout);
    execl("/bin/busybox", "busybox", "base64", "core", NULL);
    return 1;
}
