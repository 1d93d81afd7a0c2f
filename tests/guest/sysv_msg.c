// System V message queues: types, flags, sizes, limits, waiting on both sides, removal under a sleeper.
// cpus: 1 2
#include "check.h"
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static int id;
static struct { long type; char text[9000]; } m;

static int send(long type, const char *text, int flags)
{
    m.type = type;
    strcpy(m.text, text);
    return msgsnd(id, &m, strlen(text), flags);
}

static void receive(size_t size, long type, int flags)
{
    memset(&m, 0, sizeof m);
    errno = 0;
    long n = msgrcv(id, &m, size, type, flags);
    if (n < 0)
        printf("receive(%zu, %ld, %o): %s\n", size, type, flags, errno_name(errno));
    else
        printf("receive(%zu, %ld, %o): type %ld, %ld bytes, %s\n", size, type, flags, m.type, n, m.text);
}

static void show(void)
{
    struct msqid_ds ds;
    SHOW(msgctl(id, IPC_STAT, &ds));
    printf("mode %o, %lu messages, %lu bytes\n", ds.msg_perm.mode, (unsigned long)ds.msg_qnum, (unsigned long)ds.__msg_cbytes);
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

// Until the process sleeps in a system call: its state in /proc is S for a while.
static void until_asleep(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    for (int seen = 0; seen < 3;) {
        FILE *f = fopen(path, "r");
        char *p = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        seen = p && p[2] == 'S' ? seen + 1 : 0;
        if (f)
            fclose(f);
        usleep(2000);
    }
}

static void basics(void)
{
    section("basics");
    key_t key = 0x4b6f0000 | (getpid() & 0xffff);
    SHOW(msgget(key, 0600));
    id = msgget(key, IPC_CREAT | 0600);
    HOLDS(id >= 0 && msgget(key, 0) == id);
    SHOW(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
    show();
    SHOW(send(0, "zero", 0));
    SHOW(send(-1, "minus", 0));
    SHOW(send(3, "three", 0));
    SHOW(send(1, "one", 0));
    SHOW(send(2, "two", 0));
    SHOW(send(3, "again", 0));
    SHOW(send(9, "", 0));
    show();
    receive(100, 2, IPC_NOWAIT);
    receive(100, 2, IPC_NOWAIT);
    receive(4, 3, IPC_NOWAIT);
    receive(4, 3, IPC_NOWAIT | MSG_NOERROR);
    receive(100, -5, IPC_NOWAIT);
    receive(100, 3, IPC_NOWAIT | MSG_EXCEPT);
    receive(100, 0, IPC_NOWAIT);
    receive(100, 0, IPC_NOWAIT);
    receive(100, 0, IPC_NOWAIT);
    send(7, "seven", 0), send(4, "four", 0), send(4, "fore", 0), send(5, "five", 0);
    receive(100, -3, IPC_NOWAIT);
    receive(100, -6, IPC_NOWAIT);
    receive(100, -6, IPC_NOWAIT);
    receive(100, -6, IPC_NOWAIT);
    receive(100, -6, IPC_NOWAIT);
    receive(100, (long)0x8000000000000000, IPC_NOWAIT);
    struct msqid_ds ds;
    msgctl(id, IPC_STAT, &ds);
    HOLDS(ds.msg_lspid == getpid() && ds.msg_lrpid == getpid());
    HOLDS(ds.msg_stime >= ds.msg_ctime && ds.msg_rtime >= ds.msg_ctime);

    section("errors");
    SHOW(syscall(SYS_msgsnd, id, 8, 1, 0));
    SHOW(syscall(SYS_msgsnd, id, &m, -1, 0));
    SHOW(syscall(SYS_msgsnd, -1, &m, 1, 0));
    SHOW(syscall(SYS_msgsnd, id, &m, 1UL << 40, 0));
    SHOW(syscall(SYS_msgrcv, id, &m, -1, 0, IPC_NOWAIT));
    SHOW(syscall(SYS_msgrcv, -1, &m, 10, 0, IPC_NOWAIT));
    SHOW(syscall(SYS_msgrcv, id, &m, 10, 0, IPC_NOWAIT | MSG_EXCEPT | 040000));
    SHOW(syscall(SYS_msgrcv, id, &m, 10, 0, 040000));
    send(1, "lost", 0);
    SHOW(syscall(SYS_msgrcv, id, 8, 10, 0, IPC_NOWAIT));
    receive(10, 0, IPC_NOWAIT);
    SHOW(syscall(SYS_msgctl, id, IPC_STAT, 8));
    SHOW(syscall(SYS_msgctl, id, 99, &ds));
    SHOW(syscall(SYS_msgctl, -1, IPC_STAT, &ds));
    HOLDS(msgctl(id % 32768, MSG_STAT, &ds) == id);

    section("limit");
    msgctl(id, IPC_STAT, &ds);
    ds.msg_qbytes = 100;
    ds.msg_perm.mode = 0622;
    SHOW(msgctl(id, IPC_SET, &ds));
    m.type = 1;
    SHOW(msgsnd(id, &m, 60, IPC_NOWAIT));
    SHOW(msgsnd(id, &m, 41, IPC_NOWAIT));
    SHOW(msgsnd(id, &m, 40, IPC_NOWAIT));
    SHOW(msgsnd(id, &m, 0, IPC_NOWAIT));
    SHOW(msgsnd(id, &m, 1, IPC_NOWAIT));
    show();
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(msgsnd(id, &m, 1, IPC_NOWAIT));
    receive(10, 0, IPC_NOWAIT);
}

static void nothing(int signal)
{
    (void)signal;
}

static void waiting(void)
{
    section("receivers");
    int sent;
    id = msgget(IPC_PRIVATE, 0600);
    pid_t a = fork();
    if (!a) {
        receive(100, 5, 0);
        _exit(1);
    }
    until_asleep(a);
    pid_t b = fork();
    if (!b) {
        receive(100, 0, 0);
        _exit(2);
    }
    until_asleep(b);
    sent = send(4, "for the second", 0);
    finish(b);
    SHOW(sent);
    sent = send(5, "for the first", 0);
    finish(a);
    SHOW(sent);
    show();
    a = fork();
    if (!a) {
        receive(3, 0, 0);
        _exit(3);
    }
    until_asleep(a);
    sent = send(1, "too long", 0);
    finish(a);
    SHOW(sent);
    show();
    receive(100, 0, IPC_NOWAIT);

    section("senders");
    struct msqid_ds ds;
    msgctl(id, IPC_STAT, &ds);
    ds.msg_qbytes = 100;
    msgctl(id, IPC_SET, &ds);
    memset(m.text, 'x', 90);
    m.type = 1;
    SHOW(msgsnd(id, &m, 90, 0));
    a = fork();
    if (!a)
        _exit(send(2, "behind twenty bytes", 0) == 0 ? 4 : 5);
    until_asleep(a);
    b = fork();
    if (!b)
        _exit(send(3, "and behind him.....", 0) == 0 ? 6 : 7);
    until_asleep(b);
    show();
    receive(10, 1, MSG_NOERROR);
    finish(a);
    finish(b);
    receive(100, 2, 0); // which one was faster is not said
    receive(100, 3, 0);

    section("signals");
    struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL);
    receive(100, 0, 0);
    m.type = 1;
    SHOW(msgsnd(id, &m, 100, 0));
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 30000}}, NULL);
    SHOW(msgsnd(id, &m, 100, 0));

    section("removal");
    a = fork();
    if (!a)
        _exit(msgsnd(id, &m, 100, 0) == -1 && errno == EIDRM ? 8 : 9);
    b = fork();
    if (!b)
        _exit(msgrcv(id, &m, 100, 77, 0) == -1 && errno == EIDRM ? 10 : 11);
    until_asleep(a);
    until_asleep(b);
    SHOW(msgctl(id, IPC_RMID, NULL));
    finish(a);
    finish(b);
}

enum { MESSAGES = 3000 };
static void stream(void)
{
    section("stream");
    id = msgget(IPC_PRIVATE, 0600);
    pid_t producers[2];
    for (int p = 0; p < 2; p++) {
        producers[p] = fork();
        if (!producers[p]) {
            for (int i = 0; i < MESSAGES; i++) {
                m.type = p + 1;
                memcpy(m.text, &i, sizeof i);
                if (msgsnd(id, &m, 4 + i % 700, 0))
                    give_up("msgsnd");
            }
            _exit(0);
        }
    }
    int next[2] = {0, 0}, wrong = 0;
    for (int i = 0; i < 2 * MESSAGES; i++) {
        int got;
        long n = msgrcv(id, &m, sizeof m.text, i % 3 ? 0 : -2, 0);
        memcpy(&got, m.text, sizeof got);
        int *expected = &next[m.type - 1];
        wrong += n != 4 + got % 700 || got != *expected;
        ++*expected;
    }
    finish(producers[0]);
    finish(producers[1]);
    printf("%d and %d messages, %d wrong\n", next[0], next[1], wrong);
    show();
    msgctl(id, IPC_RMID, NULL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    basics();
    waiting();
    stream();
    return 0;
}
