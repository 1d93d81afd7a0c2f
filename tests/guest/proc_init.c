// What only process 1 sees: run by tests/system/processes.py.
// runner: none
#include "check.h"
#include <sched.h>
#include <signal.h>

int main(void)
{
    long p = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0L, 0L, 0L, 0L);
    if (!p)
        _exit(0);
    printf("clone: %s\n", p < 0 ? errno_name(errno) : "a child");
    printf("parent %d, session %d, group %d\n", getppid(), getsid(0), getpgrp());
    return 0;
}
