// System V shared memory: attaching, sharing, nattch across fork, exec, exit and partial unmapping, delayed removal.
// cpus: 1 2
#include "check.h"
#include "probe.h"
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>

#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif
enum { PAGE = 4096 };
static int id;

static void attached(const char *when)
{
    struct shmid_ds ds;
    if (shmctl(id, IPC_STAT, &ds))
        printf("%s: %s\n", when, errno_name(errno));
    else
        printf("%s: %lu attached, mode %o\n", when, (unsigned long)ds.shm_nattch, ds.shm_perm.mode);
}

static void basics(void)
{
    section("basics");
    key_t key = 0x4b700000 | (getpid() & 0xffff);
    SHOW(shmget(key, 100, 0600));
    SHOW(shmget(IPC_PRIVATE, 0, 0600));
    id = shmget(key, 5000, IPC_CREAT | 0640);
    HOLDS(id >= 0 && shmget(key, 0, 0) == id && shmget(key, 5000, IPC_CREAT) == id);
    SHOW(shmget(key, 5001, 0));
    SHOW(shmget(key, 100, IPC_CREAT | IPC_EXCL));
    struct shmid_ds ds;
    SHOW(shmctl(id, IPC_STAT, &ds));
    printf("size %zu, mode %o, atime %ld\n", ds.shm_segsz, ds.shm_perm.mode, (long)ds.shm_atime);
    HOLDS(ds.shm_cpid == getpid() && ds.shm_lpid == 0);
    char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    attached("two");
    strcpy(a + 4000, "across pages");
    printf("%s\n", b + 4000);
    probe("beyond the size, in the page", a + 5001);
    probe_write("read only", b);
    SHOW(mprotect(b, PAGE, PROT_READ | PROT_WRITE));
    SHOW(shmctl(id, IPC_STAT, &ds));
    HOLDS(ds.shm_lpid == getpid() && ds.shm_atime > 0 && ds.shm_dtime == 0);
    SHOW(shmdt(b));
    SHOW(shmdt(b));
    SHOW(shmdt(a + 1));
    SHOW(shmdt(a + PAGE));
    attached("one");
    shmctl(id, IPC_STAT, &ds);
    HOLDS(ds.shm_dtime > 0);
    HOLDS(shmctl(id % 32768, SHM_STAT, &ds) == id);
    ds.shm_perm.mode = 0600;
    SHOW(shmctl(id, IPC_SET, &ds));

    section("addresses");
    char *room = mmap(NULL, 16 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW_OK(shmat(id, room, 0));
    SHOW_OK(shmat(id, room + 100, 0));
    SHOW_OK(shmat(id, NULL, SHM_REMAP));
    HOLDS(shmat(id, room + 4 * PAGE, SHM_REMAP) == room + 4 * PAGE);
    probe("remapped", room + 4 * PAGE + 4000);
    munmap(room + 8 * PAGE, 4 * PAGE);
    HOLDS(shmat(id, room + 8 * PAGE + 77, SHM_RND | SHM_EXEC) == room + 8 * PAGE);
    attached("three");
    SHOW(shmdt(room + 8 * PAGE));
    SHOW(shmdt(room + 4 * PAGE));
    SHOW_OK(shmat(id + 1, NULL, 0));
    SHOW_OK(shmat(-1, NULL, 0));

    section("maps");
    FILE *f = fopen("/proc/self/maps", "r");
    char line[400], wanted[64], inode[32];
    snprintf(wanted, sizeof wanted, "/SYSV%08x (deleted)", (unsigned)key);
    snprintf(inode, sizeof inode, " 00:01 %d ", id);
    while (fgets(line, sizeof line, f))
        if (strstr(line, wanted))
            printf("%.4s %s%s\n", strchr(line, ' ') + 1, wanted + 13, strstr(line, inode) ? " inode" : " NO INODE");
    fclose(f);

    section("delayed removal");
    SHOW(shmctl(id, IPC_RMID, NULL));
    attached("marked");
    SHOW(shmget(key, 0, 0));
    b = shmat(id, NULL, 0);
    HOLDS(b != (void *)-1);
    attached("again");
    printf("%s\n", a + 4000);
    SHOW(shmdt(a));
    printf("%s\n", b + 4000);
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmdt(b));
    attached("gone");
    SHOW_OK(shmat(id, NULL, 0));
    SHOW(shmctl(id, SHM_LOCK, NULL));
}

static void processes(void)
{
    section("fork, exec, exit");
    id = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
    volatile int *p = shmat(id, NULL, 0);
    int fds[2];
    if (pipe(fds))
        return;
    pid_t pid = fork();
    if (!pid) {
        char c;
        attached("in the child");
        p[1024] = 42;
        if (read(fds[0], &c, 1))
            shmdt((void *)p);
        attached("detached in the child");
        shmat(id, NULL, 0);
        char text[16];
        snprintf(text, sizeof text, "%d", id);
        execl("/proc/self/exe", "shm", text, NULL);
        _exit(1);
    }
    while (p[1024] != 42)
        usleep(1000);
    attached("in the parent");
    write(fds[1], "x", 1);
    waitpid(pid, NULL, 0);
    attached("after its end");
    struct shmid_ds ds;
    shmctl(id, IPC_STAT, &ds);
    HOLDS(ds.shm_lpid == pid);

    section("parts");
    char *c = (char *)p;
    SHOW(munmap(c + PAGE, PAGE));
    attached("a hole");
    SHOW(mprotect(c, PAGE, PROT_READ));
    attached("protected");
    SHOW(shmdt(c));
    attached("detached");
    c = shmat(id, NULL, 0);
    SHOW(munmap(c, PAGE));
    attached("without its beginning");
    SHOW(shmdt(c + PAGE));
    SHOW(shmdt(c));
    attached("detached");
    c = shmat(id, NULL, 0);
    char *moved = mremap(c, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, mmap(NULL, 8 * PAGE, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    HOLDS(moved != MAP_FAILED && *(int *)(moved + PAGE) == 42);
    attached("moved");
    SHOW(shmdt(moved));
    attached("detached");
    c = shmat(id, NULL, 0);
    SHOW(mprotect(c + PAGE, PAGE, PROT_READ));
    attached("in three parts");
    SHOW(mprotect(c + PAGE, PAGE, PROT_READ | PROT_WRITE));
    SHOW(shmdt(c));
    attached("detached");

    section("the last one out");
    pid = fork();
    if (!pid) {
        shmat(id, NULL, 0);
        shmctl(id, IPC_RMID, NULL);
        attached("marked");
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    attached("gone");
}

static void permissions(void)
{
    section("permissions");
    id = shmget(IPC_PRIVATE, PAGE, 0604);
    pid_t pid = fork();
    if (!pid) {
        if (getuid() == 0 && (setgid(12345) || setuid(12345)))
            give_up("setuid");
        if (getuid() == 12345) {
            SHOW_OK(shmat(id, NULL, 0));
            SHOW_OK(shmat(id, NULL, SHM_RDONLY));
            SHOW_OK(shmat(id, NULL, SHM_RDONLY | SHM_EXEC));
            SHOW(shmctl(id, IPC_RMID, NULL));
            SHOW(shmctl(id, SHM_LOCK, NULL));
        }
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    SHOW(shmctl(id, SHM_LOCK, NULL));
    attached("locked");
    SHOW(shmctl(id, SHM_UNLOCK, NULL));
    SHOW(shmctl(id, 99, NULL));
    SHOW(shmctl(id, IPC_RMID, NULL));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) {
        id = atoi(argv[1]);
        attached("after exec");
        return 0;
    }
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    basics();
    processes();
    permissions();
    return 0;
}
