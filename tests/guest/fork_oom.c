// fork when memory runs out on the way: ENOMEM, nothing is lost, the parent goes on. For Knarr only, with 48 MiB: the tables of
// a sparse mapping are as large as its pages, so there are not enough left for a second set.
// runner: none
#include "check.h"
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#define SPAN (2UL << 20)

static long free_pages(void)
{
    struct sysinfo si;
    sysinfo(&si);
    return (long)(si.freeram * si.mem_unit / 4096);
}

int main(void)
{
    // Until less is free than the tables take so far.
    size_t room = 8192 * SPAN, count = 0;
    char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    while (count < 8192 && free_pages() > (long)count + 100)
        p[count++ * SPAN] = 7;
    // Whatever is kept for the next time is kept after some rounds; what is lost would be lost in each.
    long lost = 1;
    int tried = 0, failed = 0;
    for (int round = 0; round < 6 && lost; round++) {
        long before = free_pages();
        for (int i = 0; i < 150; i++, tried++) {
            pid_t pid = fork();
            if (!pid)
                _exit(0);
            failed += pid == -1 && errno == ENOMEM;
            if (pid > 0)
                waitpid(pid, NULL, 0);
        }
        lost = before - free_pages();
    }
    SHOW(tried - failed);
    SHOW(lost);
    int wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += p[i * SPAN]++ != 7;
    SHOW(wrong);
    munmap(p, room / 2);
    pid_t pid = fork();
    if (!pid)
        _exit(p[room / 2 + SPAN] == (count > 4097 ? 8 : 0) ? 3 : 4);
    int status = -1;
    waitpid(pid, &status, 0);
    SHOW(status >> 8);
    return 0;
}
