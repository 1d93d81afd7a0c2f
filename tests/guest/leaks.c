// Does things over and over, and looks whether the machine's free memory comes back: prints what lost memory, then `done`. For
// Knarr only: nobody else takes or gives memory there meanwhile.
// runner: none
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>

static long free_kib(void)
{
    struct sysinfo si;
    sysinfo(&si);
    return (long)((si.freeram + si.bufferram) * si.mem_unit / 1024);
}

static void files(void)
{
    char block[10000] = "x";
    int fd = open("leak", O_RDWR | O_CREAT, 0644);
    for (int i = 0; i < 5; i++)
        write(fd, block, sizeof block);
    ftruncate(fd, 100);
    link("leak", "leak2");
    rename("leak2", "leak3");
    unlink("leak");
    unlink("leak3");
    close(fd);
}

static void directories(void)
{
    mkdir("dir", 0755);
    symlink("target", "dir/link");
    mkfifo("dir/fifo", 0644);
    close(open("dir/file", O_CREAT | O_RDWR, 0644));
    DIR *d = opendir("dir");
    while (readdir(d))
        ;
    closedir(d);
    unlink("dir/link"), unlink("dir/fifo"), unlink("dir/file"), rmdir("dir");
}

static void missing(void)
{
    char name[64];
    static int n;
    struct stat st;
    snprintf(name, sizeof name, "there-is-no-such-file-%d", n++);
    stat(name, &st);
    open(name, O_RDONLY);
}

static void mappings(void)
{
    char *p = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 3 << 20; i += 65536)
        p[i] = 1;
    munmap(p + (1 << 20), 4096);
    mprotect(p, 8192, PROT_READ);
    p = mremap(p + (2 << 20), 1 << 20, 2 << 20, MREMAP_MAYMOVE);
    munmap(p, 2 << 20);
    munmap(p - (2 << 20), 0);
}

static void mappings_all(void)
{
    char *p = mmap((void *)0x100000000, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (int i = 0; i < 3 << 20; i += 4096)
        p[i] = 1;
    munmap(p, 3 << 20);
}

static void file_mappings(void)
{
    int fd = open("mapped", O_RDWR | O_CREAT, 0644);
    ftruncate(fd, 100000);
    char *s = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *p = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    memset(s, 1, 100000);
    memset(p, 2, 50000);
    unlink("mapped");
    close(fd);
    munmap(s, 100000);
    munmap(p, 100000);
}

static void pipes(void)
{
    int p[2];
    char block[30000] = "x";
    pipe(p);
    write(p[1], block, sizeof block);
    struct pollfd f = {p[0], POLLIN, 0};
    poll(&f, 1, 0);
    close(p[1]);
    close(p[0]);
}

static void *nothing(void *arg)
{
    return arg;
}

static void threads(void)
{
    pthread_t t;
    pthread_create(&t, NULL, nothing, NULL);
    pthread_join(t, NULL);
}

static void forks(void)
{
    static char data[200000];
    memset(data, 1, sizeof data);
    pid_t pid = fork();
    if (!pid) {
        memset(data, 2, sizeof data);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void executions(void)
{
    pid_t pid = vfork();
    if (!pid) {
        execl("/proc/self/exe", "leaks", "end", NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

static void executions_failed(void)
{
    execl("/dev/null", "null", NULL);
    execl("missing", "missing", NULL);
    execl("leaks-text", "text", NULL);
}

static void crashes(void)
{
    pid_t pid = fork();
    if (!pid) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    waitpid(pid, NULL, 0);
}

static void signals(void)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 5; i++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){i});
    while (sigtimedwait(&set, NULL, &(struct timespec){0, 0}) > 0)
        ;
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void timers(void)
{
    timer_t t;
    struct sigevent e = {.sigev_notify = SIGEV_NONE};
    if (!timer_create(CLOCK_MONOTONIC, &e, &t))
        timer_delete(t);
    nanosleep(&(struct timespec){0, 1000}, NULL);
}

static void proc(void)
{
    static char text[8192];
    for (const char **name = (const char *[]){"/proc/self/maps", "/proc/self/status", "/proc/meminfo", "/proc/self/fd", NULL}; *name; name++) {
        int fd = open(*name, O_RDONLY);
        read(fd, text, sizeof text);
        close(fd);
    }
    readlink("/proc/self/exe", text, sizeof text);
}

static void system_v(void)
{
    int sem = semget(IPC_PRIVATE, 10, 0600), msg = msgget(IPC_PRIVATE, 0600), shm = shmget(IPC_PRIVATE, 40000, 0600);
    struct { long type; char text[1000]; } m = {1, ""};
    for (int i = 0; i < 5; i++)
        msgsnd(msg, &m, sizeof m.text, 0);
    msgrcv(msg, &m, sizeof m.text, 0, 0);
    memset(shmat(shm, NULL, 0), 1, 40000);
    pid_t pid = fork();
    if (!pid) {
        semop(sem, &(struct sembuf){3, 1, SEM_UNDO}, 1);
        shmat(shm, NULL, 0);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    char *p = shmat(shm, NULL, 0);
    shmctl(shm, IPC_RMID, NULL);
    shmdt(p);
    shmctl(shm, IPC_RMID, NULL);
    pid = fork(); // has the first mapping, too, and lets it go; so does the parent
    if (!pid)
        _exit(0);
    waitpid(pid, NULL, 0);
    for (FILE *f = fopen("/proc/self/maps", "r"); f; f = NULL) {
        char line[300];
        unsigned long start;
        while (fgets(line, sizeof line, f))
            if (strstr(line, "SYSV") && sscanf(line, "%lx", &start) == 1)
                shmdt((void *)start);
        fclose(f);
    }
    semctl(sem, 0, IPC_RMID);
    msgctl(msg, IPC_RMID, NULL);
}

static void mqueues(void)
{
    long attributes[8] = {0, 5, 500};
    char text[500] = "";
    int q = (int)syscall(SYS_mq_open, "leak", O_RDWR | O_CREAT, 0600, attributes);
    for (int i = 0; i < 4; i++)
        syscall(SYS_mq_timedsend, q, text, sizeof text, i, NULL);
    syscall(SYS_mq_notify, q, &(struct sigevent){.sigev_notify = SIGEV_NONE});
    syscall(SYS_mq_unlink, "leak");
    close(q);
}

static void inotifies(void)
{
    int in = inotify_init1(IN_NONBLOCK);
    mkdir("watched", 0755);
    inotify_add_watch(in, "watched", IN_ALL_EVENTS);
    for (int i = 0; i < 5; i++) {
        close(open("watched/file", O_CREAT | O_RDWR, 0644));
        inotify_add_watch(in, "watched/file", IN_ALL_EVENTS | (i & 1 ? IN_ONESHOT : 0));
        unlink("watched/file");
    }
    if (inotify_add_watch(in, ".", IN_DELETE) & 1)
        rmdir("watched");
    close(in);
    rmdir("watched");
}

static void many_processes(void)
{
    pid_t pids[8];
    for (int i = 0; i < 8; i++)
        if (!(pids[i] = fork())) {
            threads();
            pause();
        }
    for (int i = 0; i < 8; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < 8; i++)
        waitpid(pids[i], NULL, 0);
}

static const struct { const char *name; void (*run)(void); int times; } subjects[] = {
    {"files", files, 300}, {"directories", directories, 300}, {"missing files", missing, 3000}, {"mappings", mappings_all, 100},
    {"file mappings", file_mappings, 100}, {"pipes", pipes, 300}, {"threads", threads, 300}, {"forks", forks, 100},
    {"executions", executions, 60}, {"failed executions", executions_failed, 200}, {"crashes", crashes, 100}, {"signals", signals, 300},
    {"System V IPC", system_v, 100}, {"message queues", mqueues, 300}, {"inotify", inotifies, 200},
    {"timers", timers, 300}, {"proc", proc, 100}, {"killed processes with threads", many_processes, 15},
};

int main(int argc, char **argv)
{
    (void)argv, (void)mappings;
    if (argc > 1)
        return 0;
    int fd = open("leaks-text", O_CREAT | O_WRONLY, 0755);
    write(fd, "no program", 10);
    close(fd);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        // Caches fill up at first; what is lost each time is lost in the second half too.
        for (int j = 0; j < subjects[i].times; j++)
            subjects[i].run();
        long before = free_kib();
        for (int j = 0; j < subjects[i].times; j++)
            subjects[i].run();
        long lost = before - free_kib();
        fprintf(stderr, "%s: %ld KiB\n", subjects[i].name, lost);
        if (lost > 200)
            printf("%s: %ld KiB lost in %d times\n", subjects[i].name, lost, subjects[i].times);
    }
    printf("done\n");
    return 0;
}
