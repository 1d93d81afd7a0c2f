// Memory across fork: shared and private, advice, locks, large pages that fall apart on either side, the kernel's own writes to
// shared pages, seals against writable mappings, limits of mlock; and races: a snapshot taken while threads write, unmap and
// protect.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PAGE 4096UL
#define LARGE (2UL << 20)
#define RW (PROT_READ | PROT_WRITE)

static char *map(size_t size, int flags)
{
    char *p = mmap(NULL, size, RW, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        perror("mmap"), exit(1);
    return p;
}

// Runs fn in a child and prints how it ended.
static void in_child(const char *name, void (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", name, WTERMSIG(status));
    else
        printf("%s: exit %d\n", name, WEXITSTATUS(status));
}

static char *shared, *private, *file_shared, *file_private;
static int fd;

static void child_writes(void)
{
    HOLDS(shared[0] == 1 && private[0] == 1 && file_shared[0] == 1 && file_private[0] == 1);
    HOLDS(file_private[PAGE] == 0);
    shared[0] = private[0] = file_shared[0] = file_private[0] = 2;
    shared[5 * PAGE] = private[5 * PAGE] = 3;
    HOLDS(private[0] == 2 && file_private[0] == 2);
}

static void kinds(void)
{
    section("shared and private");
    shared = map(8 * PAGE, MAP_SHARED);
    private = map(8 * PAGE, MAP_PRIVATE);
    fd = memfd_create("fork", MFD_ALLOW_SEALING);
    SHOW(ftruncate(fd, 4 * PAGE));
    file_shared = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
    file_private = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);
    file_private[0] = shared[0] = private[0] = file_shared[0] = 1;
    in_child("writer", child_writes);
    HOLDS(shared[0] == 2 && shared[5 * PAGE] == 3 && file_shared[0] == 2);
    HOLDS(private[0] == 1 && private[5 * PAGE] == 0 && file_private[0] == 1);
    // What was never written follows the file, on both sides.
    file_shared[PAGE] = 7;
    HOLDS(file_private[PAGE] == 7);
}

static char *gone, *wiped;

static void child_touches_gone(void)
{
    gone[0] = 1;
}

static void child_looks_at_wiped(void)
{
    HOLDS(wiped[0] == 0 && wiped[PAGE] == 0 && wiped[2 * PAGE] == 1);
    wiped[0] = 5;
}

static void advice(void)
{
    section("advice");
    gone = map(PAGE, MAP_PRIVATE);
    wiped = map(3 * PAGE, MAP_PRIVATE);
    gone[0] = wiped[0] = wiped[PAGE] = wiped[2 * PAGE] = 1;
    SHOW(madvise(gone, PAGE, MADV_DONTFORK));
    SHOW(madvise(wiped, 2 * PAGE, MADV_WIPEONFORK));
    SHOW(madvise(shared, PAGE, MADV_WIPEONFORK));
    in_child("not there", child_touches_gone);
    in_child("wiped", child_looks_at_wiped);
    HOLDS(gone[0] == 1 && wiped[0] == 1);
    SHOW(madvise(gone, PAGE, MADV_DOFORK));
    SHOW(madvise(wiped, 2 * PAGE, MADV_KEEPONFORK));
    in_child("there", child_touches_gone);
}

static long locked_kib(void)
{
    char text[4096];
    int status = open("/proc/self/status", O_RDONLY);
    long n = read(status, text, sizeof text - 1);
    close(status);
    text[n > 0 ? n : 0] = 0;
    const char *line = strstr(text, "VmLck:");
    return line ? atol(line + 6) : -1;
}

static void child_locks(void)
{
    SHOW(locked_kib());
    struct rlimit limit = {PAGE, PAGE};
    SHOW(setrlimit(RLIMIT_MEMLOCK, &limit));
    SHOW(setresuid(65534, 65534, 65534));
    SHOW(mlock(private, 2 * PAGE));
    SHOW(mlock(private, PAGE));
    SHOW(mlock(private + PAGE, PAGE));
    SHOW(munlock(private, PAGE));
    SHOW(mlock(private + PAGE, PAGE));
    SHOW(locked_kib());
    limit = (struct rlimit){0, 0};
    SHOW(setrlimit(RLIMIT_MEMLOCK, &limit));
    SHOW(mlock(private, PAGE));
}

static void locks(void)
{
    section("locked pages");
    SHOW(mlock(private, 2 * PAGE));
    SHOW(locked_kib());
    in_child("locks", child_locks);
    SHOW(locked_kib());
    SHOW(munlock(private, 2 * PAGE));
}

// --- Large pages ---

#define SPAN (4 * LARGE)
static char *large;

static void stamp(char *at, unsigned seed, unsigned step)
{
    for (size_t i = 0; i < SPAN; i += step)
        at[i] = (char)(seed + i / step);
}

static unsigned sum(const char *at, size_t size)
{
    unsigned s = 0;
    for (size_t i = 0; i < size; i += 64)
        s = s * 31 + (unsigned char)at[i];
    return s;
}

static void child_changes_large(void)
{
    pid_t grandchild = fork();
    if (!grandchild) {
        large[LARGE + 1] = 9;
        large[64] = 9;
        _exit(sum(large, SPAN) & 0x7f);
    }
    int status;
    stamp(large, 3, 70000);
    waitpid(grandchild, &status, 0);
    printf("grandchild: %#x\n", WEXITSTATUS(status));
    printf("child: %#x\n", sum(large, SPAN));
    munmap(large + LARGE, 5 * PAGE);
    mprotect(large + 10 * PAGE, PAGE, PROT_READ);
    char *moved = mremap(large + 2 * LARGE, LARGE, LARGE, MREMAP_MAYMOVE | MREMAP_FIXED, large + 8 * LARGE);
    HOLDS(moved == large + 8 * LARGE);
    printf("moved: %#x\n", sum(moved, LARGE));
    moved[100] = 1;
    printf("rest: %#x\n", sum(large + LARGE + 5 * PAGE, LARGE - 5 * PAGE));
    madvise(large, 3 * PAGE, MADV_DONTNEED);
    printf("first: %#x\n", sum(large, LARGE));
}

static void child_protects_large(void)
{
    mprotect(large, SPAN, PROT_READ);
    mprotect(large, SPAN, RW);
    stamp(large, 11, 50000);
    printf("child: %#x\n", sum(large, SPAN));
}

static void large_pages(void)
{
    section("large pages");
    // Room for the move, too.
    char *room = mmap(NULL, 12 * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    large = (char *)(((uintptr_t)room + LARGE - 1) & ~(LARGE - 1));
    mmap(large, SPAN, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    madvise(large, SPAN, MADV_HUGEPAGE);
    stamp(large, 1, 64);
    unsigned before = sum(large, SPAN);
    printf("parent: %#x\n", before);
    in_child("changes", child_changes_large);
    HOLDS(sum(large, SPAN) == before);
    in_child("protects", child_protects_large);
    HOLDS(sum(large, SPAN) == before);
    // The parent is the one that writes while children hold the pages.
    int go[2];
    pipe(go);
    pid_t pid[3];
    fflush(stdout);
    for (int i = 0; i < 3; i++) {
        pid[i] = fork();
        if (!pid[i]) {
            char c;
            close(go[1]);
            read(go[0], &c, 1);
            _exit(sum(large, SPAN) == before ? 0 : 1);
        }
        large[i * LARGE + 12345] ^= 0x55; // the next child is to see it
        before = sum(large, SPAN);
        // the children so far must not: they compare with their own copy of `before`
    }
    munmap(large + LARGE, LARGE);
    close(go[1]);
    for (int i = 0; i < 3; i++) {
        int status;
        waitpid(pid[i], &status, 0);
        printf("child %d: %d\n", i, status);
    }
    close(go[0]);
    printf("parent: %#x\n", sum(large, LARGE));
    large[0] = 1; // all others are gone
    munmap(room, 12 * LARGE);
}

// --- The kernel writes to pages that are shared since a fork ---

static int link_fds[2];

static void child_reads_into(void)
{
    struct stat st;
    write(link_fds[1], "hello", 5);
    SHOW(read(link_fds[0], private + PAGE - 2, 5)); // across two pages
    HOLDS(!memcmp(private + PAGE - 2, "hello", 5));
    SHOW(fstat(fd, (struct stat *)(private + 2 * PAGE)));
    memcpy(&st, private + 2 * PAGE, sizeof st);
    HOLDS(st.st_size == (off_t)(4 * PAGE));
}

static void kernel_writes(void)
{
    section("kernel writes");
    pipe(link_fds);
    memset(private, 4, 8 * PAGE);
    in_child("reader", child_reads_into);
    bool same = true;
    for (size_t i = 0; i < 8 * PAGE; i++)
        same &= private[i] == 4;
    HOLDS(same);
}

// --- Seals ---

static void seals(void)
{
    section("seals");
    SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)); // a shared writable mapping is there
    SHOW(munmap(file_shared + PAGE, PAGE));
    SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)); // parts of it
    fflush(stdout);
    int go[2];
    pipe(go);
    pid_t pid = fork();
    if (!pid) {
        char c;
        close(go[1]);
        read(go[0], &c, 1);
        _exit(0);
    }
    munmap(file_shared, 4 * PAGE);
    SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)); // the child's
    close(go[1]);
    close(go[0]);
    waitpid(pid, NULL, 0);
    char *reader = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    SHOW(mprotect(reader, PAGE, RW));
    SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)); // again
    SHOW(munmap(reader, PAGE));
    SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)); // the private mapping does not count
    file_private[0] = 9;
    SHOW_OK((long)mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
}

// --- Races ---

static volatile long *first, *second; // on pages of their own: *second follows *first
static _Atomic bool stop;

static void *counting(void *arg)
{
    while (!stop) {
        ++*first;
        ++*second;
    }
    return arg;
}

static void *mapping(void *arg)
{
    for (unsigned n = 0; !stop; n++) {
        char *p = (char *)arg + (n % 4) * 16 * PAGE;
        mprotect(p, 8 * PAGE, PROT_READ);
        munmap(p + 8 * PAGE, 8 * PAGE);
        mmap(p + 8 * PAGE, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        mprotect(p, 8 * PAGE, RW);
        for (int i = 0; i < 16; i++)
            p[i * PAGE] = (char)n;
    }
    return arg;
}

static void races(void)
{
    section("races");
    first = (long *)map(PAGE, MAP_PRIVATE);
    map(PAGE, MAP_SHARED); // so that they do not become one mapping
    second = (long *)map(PAGE, MAP_PRIVATE);
    char *restless = map(128 * PAGE, MAP_PRIVATE);
    pthread_t t[3];
    pthread_create(&t[0], NULL, counting, NULL);
    pthread_create(&t[1], NULL, mapping, restless);
    pthread_create(&t[2], NULL, mapping, restless + 64 * PAGE);
    int bad = 0;
    for (int i = 0; i < 300; i++) {
        pid_t pid = fork();
        if (!pid) {
            long a = *first, b = *second;
            *first = *second = -1;
            for (int n = 0; n < 4; n++)
                if (*first != -1 || *second != -1)
                    _exit(2);
            _exit(a == b || a == b + 1 ? 0 : 1);
        }
        int status;
        waitpid(pid, &status, 0);
        bad += status != 0;
    }
    stop = true;
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    HOLDS(*first == *second);
    SHOW(bad);
}

int main(void)
{
    kinds();
    advice();
    locks();
    kernel_writes();
    large_pages();
    seals();
    races();
    return 0;
}
