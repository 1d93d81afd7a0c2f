// Processes: fork and what the child has of its own, wait in its forms, exit statuses, orphans, process groups, vfork, copy on
// write in both directions, shared mappings and descriptors, many children.
// build: musl glibc musl-pie
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static volatile int children;

static void on_child(int signal)
{
    (void)signal;
    children++;
}

static void show_status(const char *what, int status)
{
    if (WIFEXITED(status))
        printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: signal %d\n", what, WTERMSIG(status));
    else if (WIFSTOPPED(status))
        printf("%s: stopped %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
    fflush(stdout);
}

static pid_t spawn(int (*body)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (!pid)
        _exit(body());
    return pid;
}

static int global = 1;
static char *shared, *private;
static int exit_3(void) { return 3; }
static int exit_big(void) { return 0x1ff; }
static int sleep_long(void) { return (int)sleep(1000); }
static int crash(void) { raise(SIGSEGV); return 0; }
static int killed(void) { raise(SIGKILL); return 0; }

static int change(void)
{
    global = 2;
    memset(private, 'c', 3 << 20);
    shared[0] = 'c';
    return private[0] == 'c' && private[(3 << 20) - 1] == 'c' ? 0 : 1;
}

static int look(void)
{
    usleep(30000); // the parent writes meanwhile
    for (int i = 0; i < 3 << 20; i += 4096)
        if (private[i] != 'p')
            return 1;
    return 0;
}

static int grandchild(void)
{
    if (fork() == 0) {
        usleep(20000);
        shared[1] = getppid() != 0 ? 'g' : '0'; // an orphan has some parent
        _exit(0);
    }
    return 0;
}

int main(void)
{
    int status;
    siginfo_t info;
    struct rusage usage;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    private = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    section("statuses");
    pid_t pid = spawn(exit_3);
    HOLDS(waitpid(pid, &status, 0) == pid);
    show_status("exit", status);
    HOLDS(waitpid(spawn(exit_big), &status, 0) > 0);
    show_status("exit 511", status);
    HOLDS(waitpid(spawn(crash), &status, 0) > 0);
    show_status("crash", status);
    HOLDS(waitpid(spawn(killed), &status, 0) > 0);
    show_status("killed", status);
    pid = spawn(sleep_long);
    SHOW(waitpid(pid, &status, WNOHANG));
    SHOW(kill(pid, SIGSTOP));
    HOLDS(waitpid(pid, &status, WUNTRACED) == pid);
    show_status("stopped", status);
    SHOW(kill(pid, SIGCONT));
    HOLDS(waitpid(pid, &status, WCONTINUED) == pid);
    show_status("continued", status);
    SHOW(kill(pid, SIGTERM));
    HOLDS(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
    printf("code %d status %d\n", info.si_code, info.si_status);
    HOLDS(wait4(pid, &status, 0, &usage) == pid);
    show_status("terminated", status);
    SHOW(waitpid(pid, &status, 0));
    SHOW(wait(&status));
    SHOW(kill(pid, 0));
    SHOW(waitpid(-1, &status, 0x1000));

    section("copy on write");
    memset(private, 'p', 3 << 20);
    shared[0] = 'p';
    HOLDS(waitpid(spawn(change), &status, 0) > 0);
    show_status("child's view", status);
    printf("%d %c %c %c\n", global, private[0], private[(3 << 20) - 1], shared[0]);
    pid = spawn(look);
    memset(private, 'q', 3 << 20);
    HOLDS(waitpid(pid, &status, 0) == pid);
    show_status("parent writes first", status);

    section("descriptors");
    int fd = open("f", O_RDWR | O_CREAT, 0644), p[2];
    SHOW(write(fd, "0123456789", 10));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(pipe(p));
    fflush(stdout);
    if (!fork()) {
        char c[4];
        if (read(fd, c, 4) != 4 || write(p[1], c, 4) != 4)
            _exit(1);
        close(fd);
        _exit(0);
    }
    char c[4] = "";
    SHOW(read(p[0], c, 4));
    wait(&status);
    show_status("reader", status);
    SHOW(lseek(fd, 0, SEEK_CUR)); // the offset is shared
    SHOW(close(p[1]));
    SHOW(read(p[0], c, 4)); // no writer is left

    section("SIGCHLD");
    signal(SIGCHLD, on_child);
    pid = spawn(exit_3);
    while (!children)
        usleep(1000);
    HOLDS(waitpid(pid, &status, 0) == pid);
    signal(SIGCHLD, SIG_IGN); // children leave nothing behind
    spawn(exit_3);
    SHOW(wait(&status));
    signal(SIGCHLD, SIG_DFL);

    section("orphans and groups");
    HOLDS(waitpid(spawn(grandchild), &status, 0) > 0);
    while (!((volatile char *)shared)[1])
        usleep(1000);
    printf("%c\n", shared[1]);
    pid = spawn(sleep_long);
    SHOW(setpgid(pid, 0));
    HOLDS(getpgid(pid) == pid);
    SHOW(kill(-pid, SIGTERM));
    HOLDS(waitpid(-pid, &status, 0) == pid);
    show_status("group", status);
    SHOW(kill(-pid, 0));

    section("vfork");
    static volatile int ran;
    pid = vfork();
    if (!pid) {
        ran = 1;
        _exit(4);
    }
    printf("ran %d\n", ran); // the memory is the same, and the parent has waited
    waitpid(pid, &status, 0);
    show_status("vfork", status);

    section("many");
    long sum = 0;
    for (int round = 0; round < 10; round++) {
        pid_t pids[10];
        for (int i = 0; i < 10; i++) {
            fflush(stdout);
            if (!(pids[i] = fork())) {
                private[i * 4096] = (char)i;
                _exit(private[i * 4096]);
            }
        }
        for (int i = 0; i < 10; i++) {
            if (waitpid(pids[i], &status, 0) < 0) // by name: an orphan may have come to the first process
                give_up("wait");
            sum += WEXITSTATUS(status);
        }
    }
    printf("%ld %c\n", sum, private[4096]);
    return 0;
}
