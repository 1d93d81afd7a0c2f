// Ten thousand processes come and go: plain ones, ones that execute a program, ones that are forked beside threads or have
// threads, talk through pipes, share memory, write to what they have got, or are killed. Prints for each kind whether the
// machine has as much free memory as before, to the page, then `done`. For Knarr only: nobody else takes or gives memory there.
// runner: none
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>

#define HUGE_PAGE (2UL << 20)

static char *small_pages, *large_page, *file_pages, *shared_pages;

static long free_pages(void)
{
    struct sysinfo si;
    sysinfo(&si);
    return (long)(si.freeram * si.mem_unit / 4096);
}

static void reap(pid_t pid)
{
    if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
        printf("fork: %s\n", strerror(errno));
        exit(1);
    }
}

static void plain(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    reap(pid);
}

static void executing(void)
{
    pid_t pid = fork();
    if (!pid) {
        execl("/proc/self/exe", "fork_pages", "end", NULL);
        _exit(1);
    }
    reap(pid);
}

static void vfork_executing(void)
{
    pid_t pid = vfork();
    if (!pid) {
        execl("/proc/self/exe", "fork_pages", "end", NULL);
        _exit(1);
    }
    reap(pid);
}

static void writing(void)
{
    pid_t pid = fork();
    if (!pid) {
        for (int i = 0; i < 64; i++)
            small_pages[i * 4096] = 2;
        for (int i = 0; i < 4; i++)
            large_page[i * 100000] = 2, file_pages[i * 4096] = 2, shared_pages[i * 4096] = 2;
        _exit(0);
    }
    small_pages[0] = 3;
    reap(pid);
}

// The parent writes to a large page that a child holds: it falls apart, and its pages go with the parent's mapping.
static void large(void)
{
    char *p = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, 2 * HUGE_PAGE, MADV_HUGEPAGE);
    p[0] = p[2 * HUGE_PAGE - 1] = 1;
    int go[2];
    pipe(go);
    pid_t pid = fork();
    if (!pid) {
        char c;
        close(go[1]);
        read(go[0], &c, 1);
        p[HUGE_PAGE] = 2;
        munmap(p, 4096 * 5);
        _exit(0);
    }
    close(go[0]);
    p[1] = 5;
    mprotect(p + 8192, 4096, PROT_READ);
    munmap(p + HUGE_PAGE, HUGE_PAGE);
    close(go[1]);
    reap(pid);
    munmap(p, 2 * HUGE_PAGE);
}

static void pipes(void)
{
    int p[2];
    char block[9000] = "x";
    pipe(p);
    pid_t pid = fork();
    if (!pid) {
        write(p[1], block, sizeof block);
        _exit(0);
    }
    close(p[1]);
    read(p[0], block, 100); // the rest is lost with the pipe
    reap(pid);
    close(p[0]);
}

static void killed(void)
{
    pid_t pid = fork();
    if (!pid)
        for (;;)
            pause();
    kill(pid, SIGKILL);
    reap(pid);
}

static void *wait_for_end(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void with_threads(void)
{
    pid_t pid = fork();
    if (!pid) {
        pthread_t t;
        for (int i = 0; i < 3; i++)
            pthread_create(&t, NULL, wait_for_end, NULL);
        _exit(0);
    }
    reap(pid);
}

static _Atomic bool stop;

static void *touch(void *arg)
{
    while (!stop) {
        char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < 65536; i += 4096)
            p[i] = 1;
        mprotect(p, 16384, PROT_READ);
        munmap(p, 65536);
    }
    return arg;
}

static void many_beside_a_thread(void)
{
    pthread_t t;
    stop = false;
    pthread_create(&t, NULL, touch, NULL);
    for (int i = 0; i < 10; i++)
        plain();
    stop = true;
    pthread_join(t, NULL);
}

static void tree(void)
{
    pid_t pid = fork();
    if (!pid) {
        for (int i = 0; i < 3; i++)
            if (!fork())
                _exit(0); // init, this program's parent, reaps it
        _exit(0);
    }
    reap(pid);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

// The last thread of a process may still be on its way out when its parent hears of the end: what is free when that has been
// the same for a while, and is `expected` unless a second passes.
static long settled(long expected)
{
    const struct timespec pause = {0, 10000000};
    long pages = 0;
    for (int same = 0, i = 0; i < 100 && (same < 5 || (expected && pages != expected)); i++) {
        long now = free_pages();
        same = now == pages ? same + 1 : 0;
        pages = now;
        nanosleep(&pause, NULL);
    }
    return pages;
}

// More of everything at once than there is later: the kernel keeps some stacks and structures for the next time, and from now
// on always as many.
static void crowd(void)
{
    enum { COUNT = 80 }; // and more than the numbers of one page
    pthread_t t[COUNT];
    pid_t pid[COUNT];
    int p[2];
    char c;
    stop = false;
    for (int i = 0; i < COUNT; i++)
        pthread_create(&t[i], NULL, touch, NULL);
    stop = true;
    for (int i = 0; i < COUNT; i++)
        pthread_join(t[i], NULL);
    pipe(p);
    for (int i = 0; i < COUNT; i++) {
        pid[i] = fork();
        if (!pid[i]) {
            close(p[1]);
            read(p[0], &c, 1);
            _exit(0);
        }
    }
    close(p[1]);
    close(p[0]);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL); // so that one signal is really queued
    for (int i = 0; i < COUNT; i++)
        reap(pid[i]);
    sigprocmask(SIG_UNBLOCK, &child, NULL);
}

static void check(const char *name, void (*fn)(void), int times)
{
    for (int i = 0; i < 20; i++)
        fn();
    long before = settled(0);
    for (int i = 0; i < times; i++)
        fn();
    long after = settled(before);
    if (before != after)
        printf("%s: %ld pages are lost\n", name, before - after);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return 0;
    int fd = open("/fork_pages.dat", O_RDWR | O_CREAT, 0644);
    ftruncate(fd, 65536);
    small_pages = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(small_pages, 1, 64 * 4096);
    large_page = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    large_page = (char *)(((uintptr_t)large_page + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
    madvise(large_page, HUGE_PAGE, MADV_HUGEPAGE);
    large_page[0] = 1;
    file_pages = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    shared_pages = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(file_pages, 1, 16384);
    memset(shared_pages, 1, 65536);

    crowd();
    check("fork", plain, 3000);
    check("fork and exec", executing, 1500);
    check("vfork and exec", vfork_executing, 1500);
    check("fork and write", writing, 1000);
    check("large pages", large, 500);
    check("pipes", pipes, 1000);
    check("killed", killed, 500);
    check("threads", with_threads, 500);
    check("beside a thread", many_beside_a_thread, 50);
    check("tree", tree, 100);
    puts("done");
    return 0;
}
