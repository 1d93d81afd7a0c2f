// System V semaphores: creation, permissions, atomic operations, waiting, timeouts, SEM_UNDO, removal under a sleeper.
// cpus: 1 2
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

union arg { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; };
static int id;

static int op(int number, int change, int flags)
{
    struct sembuf b = {number, change, flags};
    return semop(id, &b, 1);
}

static int value(int number)
{
    return semctl(id, number, GETVAL);
}

static void show_values(void)
{
    unsigned short v[4];
    union arg a = {.array = v};
    SHOW(semctl(id, 0, GETALL, a));
    printf("values %d %d %d %d\n", v[0], v[1], v[2], v[3]);
}

static void wait_for_sleepers(int number, int command, int n)
{
    while (semctl(id, number, command) != n)
        usleep(1000);
}

static void finish(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status))
        printf("child: exit %d\n", WEXITSTATUS(status));
    else
        printf("child: signal %d\n", WTERMSIG(status));
}

static void creation(void)
{
    section("creation");
    key_t key = 0x4b6e0000 | (getpid() & 0xffff);
    SHOW(semget(key, 3, 0600));
    int a = semget(key, 3, IPC_CREAT | 0640);
    HOLDS(a >= 0);
    HOLDS(semget(key, 3, 0600) == a);
    HOLDS(semget(key, 0, 0) == a);
    HOLDS(semget(key, 2, IPC_CREAT | 0600) == a);
    SHOW(semget(key, 4, 0));
    SHOW(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(semget(IPC_PRIVATE, 0, 0600));
    SHOW(semget(IPC_PRIVATE, -1, 0600));
    struct semid_ds ds;
    union arg arg = {.buf = &ds};
    SHOW(semctl(a, 0, IPC_STAT, arg));
    HOLDS(ds.sem_perm.__key == key);
    HOLDS(ds.sem_perm.uid == getuid() && ds.sem_perm.cgid == getgid());
    printf("mode %o nsems %lu otime %ld\n", ds.sem_perm.mode, (unsigned long)ds.sem_nsems, (long)ds.sem_otime);
    HOLDS(ds.sem_ctime <= time(NULL) && ds.sem_ctime > time(NULL) - 20);
    ds.sem_perm.mode = 07600;
    SHOW(semctl(a, 0, IPC_SET, arg));
    SHOW(semctl(a, 0, IPC_STAT, arg));
    printf("mode %o\n", ds.sem_perm.mode);
    ds.sem_perm.uid = -1;
    SHOW(semctl(a, 0, IPC_SET, arg));
    SHOW(syscall(SYS_semctl, a, 0, IPC_STAT, 8));
    SHOW(syscall(SYS_semctl, a, 0, IPC_SET, 8));
    SHOW(syscall(SYS_semctl, a, 0, 77, 0));
    SHOW(syscall(SYS_semctl, -1, 0, IPC_STAT, &ds));
    HOLDS(semctl(a % 32768, 0, SEM_STAT, arg) == a);
    struct seminfo info;
    arg.info = &info;
    HOLDS(semctl(0, 0, SEM_INFO, arg) >= a % 32768);
    HOLDS(info.semusz >= 1 && info.semaem >= 3 && info.semvmx == 32767);
    SHOW(semctl(a, 0, IPC_RMID));
    SHOW(semctl(a, 0, IPC_RMID));
    SHOW(semctl(a, 0, GETVAL));
    int b = semget(IPC_PRIVATE, 1, 0600);
    HOLDS(b != a);
    id = a;
    SHOW(op(0, 1, 0));
    semctl(b, 0, IPC_RMID);
}

static void operations(void)
{
    section("operations");
    struct sembuf ops[3];
    id = semget(IPC_PRIVATE, 4, 0600);
    show_values();
    SHOW(op(0, 3, 0));
    SHOW(op(0, -2, 0));
    SHOW(op(0, -2, IPC_NOWAIT));
    SHOW(op(0, 0, IPC_NOWAIT));
    SHOW(op(1, 0, IPC_NOWAIT));
    SHOW(op(4, 1, 0));
    HOLDS(semctl(id, 0, GETPID) == getpid());
    SHOW(semctl(id, 2, GETPID));
    ops[0] = (struct sembuf){1, 5, 0};
    ops[1] = (struct sembuf){2, 1, 0};
    ops[2] = (struct sembuf){0, -2, IPC_NOWAIT};
    SHOW(semop(id, ops, 3));
    show_values();
    SHOW(semop(id, ops, 2));
    show_values();
    ops[0] = (struct sembuf){3, 2, 0};
    ops[1] = (struct sembuf){3, -1, 0};
    ops[2] = (struct sembuf){3, -1, 0};
    SHOW(semop(id, ops, 3));
    ops[0] = (struct sembuf){3, 0, 0};
    ops[1] = (struct sembuf){3, 1, 0};
    SHOW(semop(id, ops, 2));
    show_values();
    SHOW(op(0, 32767, 0));
    SHOW(op(2, 32766, 0));
    SHOW(semop(id, ops, 0));
    SHOW(syscall(SYS_semop, id, 8, 1));
    SHOW(syscall(SYS_semop, id, ops, 1 << 20));
    SHOW(syscall(SYS_semop, -1, ops, 1));
    union arg a = {.val = 32768};
    SHOW(semctl(id, 0, SETVAL, a));
    a.val = -1;
    SHOW(semctl(id, 0, SETVAL, a));
    a.val = 7;
    SHOW(semctl(id, 0, SETVAL, a));
    SHOW(semctl(id, 4, SETVAL, a));
    SHOW(semctl(id, -1, GETVAL));
    unsigned short v[4] = {9, 8, 40000, 6};
    a.array = v;
    SHOW(semctl(id, 0, SETALL, a));
    v[2] = 7;
    SHOW(semctl(id, 0, SETALL, a));
    show_values();
    SHOW(syscall(SYS_semctl, id, 0, SETALL, 8));
    SHOW(syscall(SYS_semctl, id, 0, GETALL, 8));
    struct semid_ds ds;
    a.buf = &ds;
    semctl(id, 0, IPC_STAT, a);
    HOLDS(ds.sem_otime > 0);
    semctl(id, 0, IPC_RMID);
}

static void nothing(int signal)
{
    (void)signal;
}

static void waiting(void)
{
    section("waiting");
    id = semget(IPC_PRIVATE, 2, 0600);
    pid_t pid = fork();
    if (!pid)
        _exit(op(0, -2, 0) == 0 ? 1 : 2);
    wait_for_sleepers(0, GETNCNT, 1);
    SHOW(semctl(id, 0, GETZCNT));
    SHOW(op(0, 1, 0));
    SHOW(value(0));
    SHOW(op(0, 2, 0));
    finish(pid);
    SHOW(value(0));
    pid = fork();
    if (!pid)
        _exit(op(0, 0, 0) == 0 ? 3 : 4);
    wait_for_sleepers(0, GETZCNT, 1);
    SHOW(semctl(id, 0, GETNCNT));
    SHOW(op(0, -1, 0));
    finish(pid);

    // Both or none: the second semaphore comes later.
    pid = fork();
    if (!pid) {
        struct sembuf ops[2] = {{0, -1, 0}, {1, -1, 0}};
        _exit(semop(id, ops, 2) == 0 ? 5 : 6);
    }
    wait_for_sleepers(0, GETNCNT, 1);
    SHOW(op(0, 1, 0));
    wait_for_sleepers(1, GETNCNT, 1);
    printf("still there: %d\n", value(0));
    SHOW(op(1, 1, 0));
    finish(pid);
    printf("gone: %d %d\n", value(0), value(1));
    HOLDS(semctl(id, 1, GETPID) == pid);

    section("signals and timeouts");
    struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL);
    SHOW(op(0, -1, 0));
    struct sembuf b = {0, -1, 0};
    SHOW(semtimedop(id, &b, 1, &(struct timespec){0, 20000000}));
    SHOW(semtimedop(id, &b, 1, &(struct timespec){0, 0}));
    SHOW(semtimedop(id, &b, 1, &(struct timespec){0, 1000000000}));
    SHOW(semtimedop(id, &b, 1, &(struct timespec){-1, 0}));
    SHOW(syscall(SYS_semtimedop, id, &b, 1, 8));
    SHOW(semctl(id, 0, GETNCNT));
    b.sem_op = 1;
    SHOW(semtimedop(id, &b, 1, &(struct timespec){1, 0}));
    SHOW(op(0, -1, 0));

    section("removal");
    pid = fork();
    if (!pid)
        _exit(op(0, -1, 0) == -1 && errno == EIDRM ? 7 : 8);
    wait_for_sleepers(0, GETNCNT, 1);
    SHOW(semctl(id, 0, IPC_RMID));
    finish(pid);

    section("SETVAL wakes");
    id = semget(IPC_PRIVATE, 1, 0600);
    pid = fork();
    if (!pid)
        _exit(op(0, -4, 0) == 0 ? 9 : 10);
    wait_for_sleepers(0, GETNCNT, 1);
    SHOW(semctl(id, 0, SETVAL, (union arg){.val = 5}));
    finish(pid);
    SHOW(value(0));
    semctl(id, 0, IPC_RMID);
}

static void *undo_in_thread(void *arg)
{
    op(1, 2, SEM_UNDO);
    return arg;
}

static void undo(void)
{
    section("undo");
    id = semget(IPC_PRIVATE, 2, 0600);
    semctl(id, 0, SETVAL, (union arg){.val = 5});
    pid_t pid = fork();
    if (!pid) {
        op(0, -3, SEM_UNDO);
        op(0, 1, SEM_UNDO);
        op(1, 4, SEM_UNDO);
        op(1, -1, 0);
        pthread_t t;
        pthread_create(&t, NULL, undo_in_thread, NULL);
        pthread_join(t, NULL);
        _exit(value(0) * 10 + value(1));
    }
    finish(pid);
    printf("after: %d %d\n", value(0), value(1));
    HOLDS(semctl(id, 1, GETPID) == pid);
    pid = fork();
    if (!pid) {
        op(0, -1, SEM_UNDO);
        pid_t grandchild = fork(); // does not inherit the adjustment
        if (!grandchild)
            _exit(0);
        waitpid(grandchild, NULL, 0);
        printf("grandchild over: %d\n", value(0));
        fflush(stdout);
        kill(getpid(), SIGKILL);
    }
    finish(pid);
    printf("after: %d\n", value(0));
    pid = fork();
    if (!pid) {
        op(0, -1, SEM_UNDO);
        semctl(id, 0, SETVAL, (union arg){.val = 1}); // forgets the adjustment
        _exit(0);
    }
    finish(pid);
    printf("after: %d\n", value(0));
    // An end that wakes a sleeper.
    pid_t sleeper = fork();
    if (!sleeper)
        _exit(op(1, -3, 0) == 0 ? 11 : 12);
    wait_for_sleepers(1, GETNCNT, 1);
    semctl(id, 0, SETVAL, (union arg){.val = 0});
    pid = fork();
    if (!pid) {
        op(1, 2, 0);
        op(1, -1, SEM_UNDO);
        op(1, -1, SEM_UNDO);
        op(1, 1, 0);
        _exit(0);
    }
    finish(pid);
    finish(sleeper);
    SHOW(value(1));
    SHOW(op(0, 32767, SEM_UNDO));
    SHOW(op(0, -32767, 0));
    SHOW(op(0, 2, SEM_UNDO));
    SHOW(value(0));
    semctl(id, 0, IPC_RMID);
    pid = fork(); // the set goes before the process
    if (!pid) {
        id = semget(IPC_PRIVATE, 1, 0600);
        op(0, 1, SEM_UNDO);
        semctl(id, 0, IPC_RMID);
        id = semget(IPC_PRIVATE, 1, 0600);
        op(0, 1, SEM_UNDO);
        semctl(id, 0, IPC_RMID);
        _exit(0);
    }
    finish(pid);
}

enum { ROUNDS = 2000 };
static volatile int counter;
static void *locker(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        op(0, -1, SEM_UNDO);
        counter = counter + 1;
        op(0, 1, SEM_UNDO);
    }
    return arg;
}

static void contention(void)
{
    section("contention");
    id = semget(IPC_PRIVATE, 1, 0600);
    op(0, 1, 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, locker, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("counted %d, value %d\n", counter, value(0));
    semctl(id, 0, IPC_RMID);
}

static void permissions(void)
{
    section("permissions");
    id = semget(IPC_PRIVATE, 1, 0604);
    pid_t pid = fork();
    if (!pid) {
        if (getuid() == 0 && (setgid(12345) || setuid(12345)))
            give_up("setuid");
        if (getuid() == 12345) {
            SHOW(value(0));
            SHOW(op(0, 1, 0));
            SHOW(op(0, 0, 0));
            SHOW(semctl(id, 0, SETVAL, (union arg){.val = 1}));
            SHOW(semctl(id, 0, IPC_RMID));
            struct semid_ds ds = {0};
            SHOW(semctl(id, 0, IPC_SET, (union arg){.buf = &ds}));
        }
        fflush(stdout);
        _exit(0);
    }
    finish(pid);
    semctl(id, 0, IPC_RMID);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    creation();
    operations();
    waiting();
    undo();
    contention();
    permissions();
    return 0;
}
