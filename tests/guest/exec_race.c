// Threads of one process that call execve, exit and clone all at once, while somebody kills the process.
// cpus: 1 2 4
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

enum { ROUNDS = 80 };

extern char **environ;
static char *name;

static void *exec_thread(void *arg)
{
    char *argv[] = {name, (char *)"child", NULL};
    execve("/proc/self/exe", argv, environ);
    return arg;
}

static void *busy_thread(void *arg)
{
    for (;;)
        getppid();
    return arg;
}

static void *sleepy_thread(void *arg)
{
    for (;;)
        usleep(1000);
    return arg;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *breeding_thread(void *arg)
{
    for (;;) {
        pthread_t t;
        if (!pthread_create(&t, NULL, nothing, NULL))
            pthread_join(t, NULL);
    }
    return arg;
}

static void *exit_thread(void *arg)
{
    usleep((useconds_t)(uintptr_t)arg);
    exit(9);
    return arg;
}

static void start(void *(*fn)(void *), int arg)
{
    pthread_t t;
    pthread_create(&t, NULL, fn, (void *)(uintptr_t)arg);
}

static void child(int round)
{
    start(busy_thread, 0);
    start(sleepy_thread, 0);
    start(breeding_thread, 0);
    start(exec_thread, 0);
    start(exec_thread, 0);
    if (round % 3 == 0)
        start(exit_thread, round * 20);
    if (round % 3 == 1)
        exec_thread(NULL);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    int ended = 0;
    name = argv[0];
    if (argc > 1)
        return 7;
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pid = fork();
        if (pid == 0)
            child(round);
        if (round % 5 == 4) {
            usleep((useconds_t)round * 20);
            kill(pid, SIGKILL);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid)
            give_up("waitpid");
        bool good = WIFEXITED(status) ? WEXITSTATUS(status) == 7 || WEXITSTATUS(status) == 9 : WTERMSIG(status) == SIGKILL;
        if (good)
            ended++;
        else
            printf("round %d: status %#x\n", round, status);
    }
    printf("%d of %d ended as they should\n", ended, ROUNDS);
    return 0;
}
