// Every call that the kernel's own table names, with a wild pointer in each place of a pointer in turn, the other arguments
// being harmless; `noise SEED`: random calls with random arguments. For Knarr only: what counts is that the kernel lives.
// runner: none
#include "check.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

enum kind { NUMBER, FD, POINTER };
// Of the table's kinds of arguments only this is needed here: descriptor, pointer, or any number.
static enum kind kind_of(const char *name)
{
    static const char *const numbers[] = {"ARG_INT", "ARG_UINT", "ARG_HEX", "ARG_SIZE", "ARG_OFF", "ARG_MODE", "ARG_PROT",
                                          "ARG_MAP_FLAGS", "ARG_OPEN_FLAGS", "ARG_WHENCE", "ARG_SIGNAL", "ARG_SIG_HOW", "ARG_ITIMER",
                                          "ARG_PID", "ARG_ACCESS", "ARG_CLOCK", "ARG_FCNTL", "ARG_IOCTL", "ARG_MADVICE",
                                          "ARG_MREMAP_FLAGS", "ARG_MSYNC_FLAGS", "ARG_CLONE_FLAGS", "ARG_AT_FLAGS", "ARG_FUTEX_OP",
                                          "ARG_WAIT_OPTIONS", "ARG_RESOURCE", "ARG_PRCTL", "ARG_TIMER_FLAGS", "ARG_UNLINK_FLAGS",
                                          "ARG_RENAME_FLAGS", "ARG_ARCH_PRCTL", "ARG_RUSAGE_WHO", "ARG_EPOLL_OP",
                                          "ARG_RANDOM_FLAGS", "ARG_STATX_MASK", "ARG_SOCKET_FAMILY", "ARG_SOCKET_TYPE",
                                          "ARG_SOCKET_LEVEL", "ARG_SOCKET_OPTION", "ARG_SHUT_HOW", "ARG_MSG_FLAGS", NULL};
    if (!strcmp(name, "ARG_FD") || !strcmp(name, "ARG_ATFD"))
        return FD;
    for (const char *const *n = numbers; *n; n++)
        if (!strcmp(*n, name))
            return NUMBER;
    return POINTER;
}

struct call { int number, count; const char *name, *kinds[6]; bool present; };
#define KINDS_(a, b, c, d, e, f, ...) {#a, #b, #c, #d, #e, #f}
#define KINDS(...) KINDS_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define SYSCALL(number, name, count, flags, ...) {number, count, #name, KINDS(__VA_ARGS__), true},
#define NOSYS(number, name, count, flags, ...) {number, count, #name, KINDS(__VA_ARGS__), false},
static const struct call calls[] = {
#include "syscall/table.h"
};
enum { CALLS = sizeof calls / sizeof *calls };

// Calls that end or stop the program, or take away what the test stands on.
static bool excluded(const char *name)
{
    static const char *const list[] = {"exit", "exit_group", "pause", "rt_sigreturn", "rt_sigsuspend", "fork", "vfork", "clone", "clone3",
                                       "kill", "tkill", "tgkill", "reboot", "execve", "execveat", "close_range", "arch_prctl", "brk",
                                       "munmap", "set_tid_address", "set_robust_list", "setpgid", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
                                       "seccomp", "vhangup", "alarm", "setitimer", "setrlimit", "prlimit64", "rt_sigprocmask",
                                       "rt_sigaction", "sched_setscheduler", NULL};
    for (const char *const *n = list; *n; n++)
        if (!strcmp(*n, name))
            return true;
    return false;
}

static int noise_calls(uint32_t state)
{
    char *area = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 8000; i++) {
        const struct call *c = &calls[noise(&state) % CALLS];
        if (excluded(c->name))
            continue;
        uint64_t a[6];
        for (int j = 0; j < 6; j++) {
            uint32_t n = noise(&state);
            switch (noise(&state) % 10) {
            case 0: a[j] = n % 8; break;
            case 1: a[j] = n; break;
            case 2: a[j] = (uint64_t)n << 32 | noise(&state); break;
            case 3: a[j] = 1ULL << n % 64; break;
            case 4: a[j] = -(1ULL << n % 64); break;
            case 5: a[j] = 0; break;
            default: a[j] = (uintptr_t)area + n % 65536; break;
            }
        }
        // Sleeping without end is no crash: an alarm ends every wait.
        alarm(1);
        syscall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return 0;
}

// IPC: with objects that exist, so that the pointers are looked at.
static void ipc_calls(const uint64_t *wild, int count)
{
    int sem = semget(IPC_PRIVATE, 4, 0600), msg = msgget(IPC_PRIVATE, 0600), shm = shmget(IPC_PRIVATE, 8192, 0600);
    long attributes[8] = {0, 4, 64};
    int mq = (int)syscall(SYS_mq_open, "wild", O_RDWR | O_CREAT | O_NONBLOCK, 0600, attributes);
    int in = inotify_init1(IN_NONBLOCK);
    for (int w = 0; w < count; w++) {
        uint64_t p = wild[w];
        alarm(1);
        for (int cmd = 0; cmd < 21; cmd++) {
            if (cmd == IPC_RMID)
                continue;
            syscall(SYS_semctl, sem, 1, cmd, p);
            syscall(SYS_msgctl, msg, cmd, p);
            syscall(SYS_shmctl, shm, cmd, p);
        }
        for (int n = 1; n < 400; n += 57) {
            syscall(SYS_semop, sem, p, n);
            syscall(SYS_semtimedop, sem, p, n, p);
        }
        syscall(SYS_msgsnd, msg, p, 100, IPC_NOWAIT);
        long message[16] = {3};
        syscall(SYS_msgsnd, msg, message, 100, IPC_NOWAIT);
        syscall(SYS_msgrcv, msg, p, 100, 0, IPC_NOWAIT);
        long at = syscall(SYS_shmat, shm, p, SHM_RND);
        if (at != -1)
            shmdt((void *)at);
        syscall(SYS_shmdt, p);
        syscall(SYS_mq_open, p, O_RDWR, 0, NULL);
        syscall(SYS_mq_open, "wild2", O_RDWR | O_CREAT, 0600, p);
        syscall(SYS_mq_unlink, p);
        syscall(SYS_mq_timedsend, mq, p, 20, 1, NULL);
        syscall(SYS_mq_timedsend, mq, message, 20, 1, p);
        syscall(SYS_mq_timedreceive, mq, p, 64, p, NULL);
        syscall(SYS_mq_timedreceive, mq, message, 64, NULL, p);
        syscall(SYS_mq_notify, mq, p);
        syscall(SYS_mq_getsetattr, mq, p, p);
        syscall(SYS_mq_getsetattr, mq, NULL, p);
        syscall(SYS_inotify_add_watch, in, p, IN_ALL_EVENTS);
        inotify_add_watch(in, "/", IN_ALL_EVENTS);
        syscall(SYS_read, in, p, 4096);
        syscall(SYS_ioctl, in, FIONREAD, p);
    }
    semctl(sem, 0, IPC_RMID);
    msgctl(msg, IPC_RMID, NULL);
    shmctl(shm, IPC_RMID, NULL);
    close(mq);
    close(in);
}

static void nothing(int signal)
{
    (void)signal;
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = nothing};
    sigaction(SIGALRM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 2)
        return noise_calls((uint32_t)atoi(argv[2]) * 2654435761U + 1);

    char *area = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(area + 2 * 4096, 4096);
    mprotect(area + 3 * 4096, 4096, PROT_NONE);
    const uint64_t wild[] = {0, 8, (uintptr_t)area + 2 * 4096, (uintptr_t)area + 3 * 4096, (uintptr_t)area + 2 * 4096 - 3,
                             0xffffffff80000000, 0xffffffff80100000, 0xffff800000000000, 0xffff800000100000, 0x8000000000000000,
                             0x7fffffffffff, 0x7ffffffff000, 0x800000000000, -1ULL, -4096ULL, 0x7fffffffffffffff};
    int fd = open("f", O_RDWR | O_CREAT, 0644), done = 0, implemented = 0, errors = 0;
    for (int i = 0; i < CALLS; i++) {
        const struct call *c = &calls[i];
        implemented += c->present;
        if (excluded(c->name))
            continue;
        for (int at = 0; at < c->count; at++) {
            if (kind_of(c->kinds[at]) != POINTER)
                continue;
            for (size_t w = 0; w < sizeof wild / sizeof *wild; w++) {
                uint64_t a[6] = {0};
                for (int j = 0; j < c->count; j++)
                    a[j] = kind_of(c->kinds[j]) == FD ? (uint64_t)fd : kind_of(c->kinds[j]) == POINTER ? (uintptr_t)area : 8;
                a[at] = wild[w];
                alarm(1);
                long result = syscall(c->number, a[0], a[1], a[2], a[3], a[4], a[5]);
                errors += result == -1;
                done++;
            }
        }
        // What the calls may have closed, covered or moved is put back.
        if (fcntl(fd, F_GETFD) < 0)
            fd = open("f", O_RDWR | O_CREAT, 0644);
        if (mmap(area, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != area)
            give_up("area");
        chdir("/");
    }
    ipc_calls(wild, sizeof wild / sizeof *wild);
    alarm(0);
    fprintf(stderr, "%d calls of %d in the table, %d tries, %d errors\n", implemented, CALLS, done, errors);
    printf("alive\n");
    return 0;
}
