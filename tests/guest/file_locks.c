// Locks of files: ranges that are cut and joined, F_GETLK, F_SETLKW with deadlocks and signals, open file description locks,
// flock(2) and its conversions, what closing a descriptor lets go of, /proc/locks.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

#define PATH "locks"
static int fd;
static volatile int *step; // shared with the children

static int lock(int f, int cmd, int type, long start, long len)
{
    struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(f, cmd, &l);
}

// What another process would meet in the range.
static void probe(long start, long len)
{
    fflush(stdout);
    if (fork() == 0) {
        struct flock l = {.l_type = F_WRLCK, .l_start = start, .l_len = len};
        int r = fcntl(fd, F_GETLK, &l);
        if (r)
            printf("probe %ld+%ld: %s\n", start, len, errno_name(errno));
        else if (l.l_type == F_UNLCK)
            printf("probe %ld+%ld: free\n", start, len);
        else
            printf("probe %ld+%ld: %s %ld+%ld by %s\n", start, len, l.l_type == F_RDLCK ? "read" : "write", (long)l.l_start,
                   (long)l.l_len, l.l_pid == getppid() ? "the parent" : l.l_pid == -1 ? "-1" : "somebody");
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static void await(int value)
{
    while (*step < value)
        usleep(500);
}

static pid_t child(void (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

static void test_ranges(void)
{
    section("ranges");
    SHOW(lock(fd, F_SETLK, F_WRLCK, 10, 90));
    SHOW(lock(fd, F_SETLK, F_UNLCK, 40, 20)); // cut in two
    probe(0, 10), probe(0, 40), probe(40, 20), probe(50, 0);
    SHOW(lock(fd, F_SETLK, F_RDLCK, 60, 20)); // a part of another kind
    probe(50, 20), probe(80, 1);
    SHOW(lock(fd, F_SETLK, F_WRLCK, 40, 20)); // joined with what is before
    probe(0, 0), probe(60, 0);
    SHOW(lock(fd, F_SETLK, F_WRLCK, 60, 20)); // all one
    probe(0, 0);
    SHOW(lock(fd, F_SETLK, F_WRLCK, 1000, 0));
    probe(500, 0);
    SHOW(lock(fd, F_SETLK, F_RDLCK, 200, -50));
    probe(150, 1), probe(200, 1);
    SHOW(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    probe(0, 0);

    section("errors");
    struct flock l = {.l_type = 77};
    SHOW(fcntl(fd, F_SETLK, &l));
    l = (struct flock){.l_type = F_WRLCK, .l_whence = 9};
    SHOW(fcntl(fd, F_SETLK, &l));
    SHOW(fcntl(fd, F_SETLK, (void *)8));
    SHOW(lock(fd, F_SETLK, F_WRLCK, -1, 1));
    SHOW(lock(fd, F_SETLK, F_WRLCK, 5, -10));
    SHOW(lock(fd, F_SETLK, F_WRLCK, 0x7fffffffffffffff, 2));
    SHOW(lock(fd, F_GETLK, F_UNLCK, 0, 1));
    int r = open(PATH, O_RDONLY), w = open(PATH, O_WRONLY);
    SHOW(lock(r, F_SETLK, F_WRLCK, 0, 1));
    SHOW(lock(w, F_SETLK, F_RDLCK, 0, 1));
    SHOW(lock(-1, F_SETLK, F_RDLCK, 0, 1));
    SHOW(flock(fd, 0));
    SHOW(flock(-1, LOCK_SH));
    l = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
    SHOW(fcntl(fd, F_OFD_SETLK, &l));
    close(r), close(w);
}

static void test_close(void)
{
    section("closing");
    lock(fd, F_SETLK, F_WRLCK, 0, 10);
    probe(0, 0);
    close(open(PATH, O_RDONLY)); // any descriptor of the file
    probe(0, 0);
    lock(fd, F_SETLK, F_WRLCK, 0, 10);
    close(dup(fd));
    probe(0, 0);
    int other = open(PATH, O_RDWR);
    lock(other, F_OFD_SETLK, F_WRLCK, 0, 10);
    probe(0, 0);
    SHOW(lock(fd, F_SETLK, F_RDLCK, 5, 1));
    close(dup(other));
    probe(0, 0);
    close(other);
    probe(0, 0);
}

static void first_of_two(void)
{
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    *step = 1;
    await(2);
    show_result("first: wait for 1", lock(fd, F_SETLKW, F_WRLCK, 1, 1));
}

static void waits_for_0(void)
{
    *step += 1;
    show_result("waiter", lock(fd, F_SETLKW, F_WRLCK, 0, 1));
}

static void on_signal(int sig)
{
    (void)sig;
}

static void waits_with_handler(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    waits_for_0();
    sa.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &sa, NULL);
    waits_for_0();
}

static void test_wait(void)
{
    section("waiting");
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    SHOW(lock(fd, F_SETLKW, F_WRLCK, 0, 1)); // one's own
    *step = 0;
    child(waits_for_0);
    await(1);
    usleep(20000);
    lock(fd, F_SETLK, F_UNLCK, 0, 1);
    wait(NULL);

    section("deadlock");
    *step = 0;
    child(first_of_two);
    await(1);
    lock(fd, F_SETLK, F_WRLCK, 1, 1);
    *step = 2;
    usleep(200000); // from there into the wait
    SHOW(lock(fd, F_SETLKW, F_WRLCK, 0, 1));
    lock(fd, F_SETLK, F_UNLCK, 0, 0);
    wait(NULL);

    section("signals");
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    *step = 0;
    pid_t pid = child(waits_with_handler);
    await(1);
    usleep(20000);
    kill(pid, SIGUSR1);
    await(2);
    usleep(20000);
    kill(pid, SIGUSR1);
    usleep(20000);
    lock(fd, F_SETLK, F_UNLCK, 0, 0);
    wait(NULL);
}

static int ofd;
static void *ofd_waiter(void *arg)
{
    int mine = open(PATH, O_RDWR);
    *step = 1;
    show_result("another file", lock(mine, F_OFD_SETLKW, F_WRLCK, 0, 1));
    close(mine);
    return arg;
}

static void test_ofd(void)
{
    pthread_t t;
    section("open file descriptions");
    ofd = open(PATH, O_RDWR);
    int second = open(PATH, O_RDWR);
    SHOW(lock(ofd, F_OFD_SETLK, F_WRLCK, 0, 10));
    SHOW(lock(second, F_OFD_SETLK, F_RDLCK, 5, 1));
    struct flock l = {.l_type = F_WRLCK};
    SHOW(fcntl(second, F_OFD_GETLK, &l));
    printf("%d %ld %ld %d\n", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid);
    l = (struct flock){.l_type = F_WRLCK};
    SHOW(fcntl(fd, F_GETLK, &l));
    printf("%d %ld %ld %d\n", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid);
    *step = 0;
    pthread_create(&t, NULL, ofd_waiter, NULL);
    await(1);
    usleep(20000);
    close(second);
    lock(ofd, F_OFD_SETLK, F_UNLCK, 0, 0);
    pthread_join(t, NULL);
    close(ofd);
}

static void test_flock(void)
{
    section("flock");
    int a = open(PATH, O_RDONLY), b = open(PATH, O_RDONLY), c = dup(a);
    SHOW(flock(a, LOCK_SH));
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(flock(a, LOCK_EX | LOCK_NB)); // and a has lost its own by that
    SHOW(flock(b, LOCK_EX | LOCK_NB));
    SHOW(flock(a, LOCK_SH | LOCK_NB));
    SHOW(flock(b, LOCK_SH));
    SHOW(flock(c, LOCK_SH | LOCK_NB));
    SHOW(flock(b, LOCK_UN));
    SHOW(flock(c, LOCK_EX | LOCK_NB)); // the same open file
    SHOW(flock(a, LOCK_EX | LOCK_NB));
    close(a);
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    SHOW(lock(fd, F_SETLK, F_WRLCK, 0, 0)); // does not see the others
    close(c);
    SHOW(flock(b, LOCK_SH | LOCK_NB));
    close(b);
    lock(fd, F_SETLK, F_UNLCK, 0, 0);
}

// Our lines of /proc/locks, by the inode's number, without what differs.
static void test_proc(void)
{
    char line[256], number[32];
    struct flock l = {.l_type = F_WRLCK, .l_start = 5, .l_len = 10};
    int a = open(PATH, O_RDWR);
    section("/proc/locks");
    fcntl(fd, F_SETLK, &l);
    flock(a, LOCK_SH);
    l = (struct flock){.l_type = F_RDLCK, .l_start = 100};
    fcntl(a, F_OFD_SETLK, &l);
    snprintf(number, sizeof number, ":%lu ", (unsigned long)lseek(fd, 0, SEEK_END));
    FILE *f = fopen("/proc/locks", "r");
    int seen[3] = {0};
    while (f && fgets(line, sizeof line, f)) {
        seen[0] += strstr(line, ": POSIX  ADVISORY  WRITE ") && strstr(line, " 5 14\n");
        seen[1] += strstr(line, ": FLOCK  ADVISORY  READ ") && strstr(line, " 0 EOF\n");
        seen[2] += strstr(line, ": OFDLCK ADVISORY  READ -1 ") && strstr(line, " 100 EOF\n");
    }
    if (f)
        fclose(f);
    HOLDS(seen[0] > 0);
    HOLDS(seen[1] > 0);
    HOLDS(seen[2] > 0);
    close(a);
}

static int closed;

static void *waits_for_closed(void *arg)
{
    SHOW(lock(closed, F_SETLKW, F_WRLCK, 0, 10));
    return arg;
}

static void holder(void)
{
    lock(fd, F_SETLK, F_WRLCK, 0, 10);
    *step = 1;
    await(2);
    usleep(20000);
}

// A descriptor is closed while a thread waits for a lock on it: nothing stays behind.
static void test_closed(void)
{
    section("closed while waiting");
    pthread_t t;
    *step = 0;
    closed = open(PATH, O_RDWR);
    pid_t pid = child(holder);
    await(1);
    pthread_create(&t, NULL, waits_for_closed, NULL);
    usleep(50000);
    close(closed);
    *step = 2;
    waitpid(pid, NULL, 0);
    pthread_join(t, NULL);
    probe(0, 0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    unlink(PATH);
    fd = open(PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);
    step = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    test_ranges();
    test_close();
    test_wait();
    test_ofd();
    test_flock();
    test_proc();
    test_closed();
    unlink(PATH);
    return 0;
}
