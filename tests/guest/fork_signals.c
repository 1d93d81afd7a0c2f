// Signals to a process group whose members fork at that moment reach all of them; SIGKILL ends a parent that waits in vfork.
// cpus: 1 2
#include "check.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

static void nothing(int signal) {}

static void sleep_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

// Each process makes another and ends, so that the group is always about to have a new member.
static void chain(void)
{
    for (;;) {
        pid_t pid = (pid_t)syscall(SYS_fork); // the library's blocks signals meanwhile
        if (pid > 0)
            _exit(0);
        if (pid < 0)
            sleep_ms(1);
    }
}

// True: nobody of the group is left.
static bool all_end(pid_t group)
{
    for (int i = 0; i < 20000; i++) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return true;
        if (!pid)
            sleep_ms(1);
    }
    while (kill(-group, SIGKILL) == 0 || errno != ESRCH)
        waitpid(-1, NULL, WNOHANG);
    return false;
}

static void test_group(int sig, int rounds)
{
    int survived = 0;
    for (int i = 0; i < rounds && !survived; i++) {
        pid_t pid = fork();
        if (!pid) {
            setpgid(0, 0);
            chain();
        }
        setpgid(pid, pid);
        struct timespec start, now;
        clock_gettime(CLOCK_MONOTONIC, &start);
        do
            clock_gettime(CLOCK_MONOTONIC, &now);
        while ((now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec < 3000000 + i * 37000);
        while (kill(-pid, sig))
            ;
        survived += !all_end(pid);
    }
    SHOW(survived);
}

static void test_vfork(void)
{
    int p[2], status;
    pid_t child;
    SHOW(pipe(p));
    pid_t pid = fork();
    if (!pid) {
        signal(SIGUSR1, nothing);
        if (!vfork()) {
            child = getpid();
            if (write(p[1], &child, sizeof child) != sizeof child)
                _exit(1);
            for (;;)
                pause();
        }
        _exit(2);
    }
    SHOW(read(p[0], &child, sizeof child));
    SHOW(kill(pid, SIGUSR1)); // it waits on
    sleep_ms(30);
    SHOW(waitpid(pid, &status, WNOHANG));
    SHOW(kill(pid, SIGKILL));
    HOLDS(waitpid(pid, &status, 0) == pid);
    HOLDS(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    SHOW(kill(child, SIGTERM)); // it lives
    HOLDS(waitpid(child, &status, 0) == child);
    HOLDS(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int main(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    section("a group that grows");
    test_group(SIGKILL, 20);
    test_group(SIGTERM, 20);
    section("vfork");
    test_vfork();
    return 0;
}
