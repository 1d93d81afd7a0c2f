// Users, groups and capabilities of a process: who may become whom, what becomes of the capabilities, and every way to fail.
// build: musl glibc
// cpus: 1 2
// What the test's own surroundings hold back (a container's bounding set, securebits) is masked: see COMMON.
#include "caps.h"
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void in_child(const char *what, void (*fn)(void))
{
    int status;
    section(what);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status)
        printf("ended with %#x\n", status);
}

static void who(const char *when)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;
    uint64_t caps[3], ambient = 0;
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    get_caps(caps);
    for (int c = 0; c <= 40; c++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
            ambient |= BIT(c);
    printf("%s: users %d %d %d %d, groups %d %d %d %d, caps e=%lx p=%lx i=%lx a=%lx, dumpable %d\n", when, (int)r, (int)e, (int)s,
           setfsuid((uid_t)-1), (int)rg, (int)eg, (int)sg, setfsgid((gid_t)-1), caps[0] & COMMON, caps[1] & COMMON, caps[2] & COMMON,
           ambient & COMMON, prctl(PR_GET_DUMPABLE) == 1);
}

#define DO(call) (SHOW(call), who("  now"))

// --- Users ---

static void setuid_from_root(void)
{
    DO(setuid(1000));
    DO(setuid(0));
    DO(setuid(1001));
    DO(setgid(5));
    SHOW(setuid((uid_t)-1));
    SHOW(setgid((gid_t)-1));
}

static void seteuid_and_back(void)
{
    DO(setresuid((uid_t)-1, 1000, (uid_t)-1));
    DO(setresuid((uid_t)-1, 0, (uid_t)-1));
    DO(setresuid(1000, 1000, 0));
    DO(setresuid((uid_t)-1, 0, (uid_t)-1));
    DO(setresuid(1, 2, 3));
    DO(setresuid(3, 1, 2));
    DO(setresuid(4, (uid_t)-1, (uid_t)-1));
    DO(setresuid((uid_t)-1, (uid_t)-1, 0));
}

static void setreuid_rules(void)
{
    DO(setreuid((uid_t)-1, 1000));
    DO(setreuid((uid_t)-1, 0));
    DO(setreuid(1000, (uid_t)-1));
    DO(setreuid(1000, 0));
    DO(setreuid(0, 1000));
    DO(setreuid(7, 8));
    DO(setreuid(8, 7));
    DO(setreuid((uid_t)-1, 9));
    DO(setreuid(9, (uid_t)-1));
}

static void group_rules(void)
{
    DO(setregid(10, 11));
    DO(setresgid(12, 13, 14));
    DO(setgid(15));
    DO(setresgid(20, 21, 22));
    setuid(1000);
    DO(setgid(22));
    DO(setgid(30));
    DO(setregid(22, 20));
    DO(setregid(20, 22));
    DO(setresgid(20, 20, 20));
    DO(setresgid(22, (gid_t)-1, (gid_t)-1));
    SHOW(setresgid(99, 20, 20));
}

static void file_users(void)
{
    DO(setfsuid(1000));
    DO(setfsuid(0));
    DO(setfsgid(77));
    setresuid(5, 6, 7);
    DO(setfsuid(5));
    DO(setfsuid(7));
    DO(setfsuid(9));
    DO(setfsuid((uid_t)-1));
    DO(setfsgid(78));
    DO(setfsuid(0));
}

// --- Supplementary groups ---

static void supplementary(void)
{
    gid_t some[] = {30, 10, 20, 10}, got[70000];
    static gid_t many[65537];
    SHOW(setgroups(4, some));
    int n = SHOW(getgroups(0, NULL));
    SHOW(getgroups(n - 1, got));
    SHOW(getgroups(-1, got));
    SHOW(getgroups(100, got));
    for (int i = 0; i < n; i++)
        printf(" %d", (int)got[i]);
    printf("\n");
    for (unsigned i = 0; i < 65537; i++)
        many[i] = 200000 - i;
    SHOW(setgroups(65537, many));
    SHOW(setgroups(65536, many));
    SHOW(n = getgroups(70000, got));
    unsigned long sum = 0;
    bool sorted = true;
    for (int i = 0; i < n; i++) {
        sum = sum * 31 + got[i];
        sorted &= !i || got[i - 1] <= got[i];
    }
    printf("sum %lx, sorted %d\n", sum, sorted);
    fflush(stdout);
    if (fork() == 0) { // the child has them too, and its change is its own
        SHOW(getgroups(0, NULL));
        SHOW(setgroups(1, some));
        SHOW(getgroups(0, NULL));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    SHOW(getgroups(0, NULL));
    SHOW(syscall(SYS_setgroups, 2, (void *)8));
    SHOW(syscall(SYS_getgroups, 70000, (void *)8));
    SHOW(setgroups(0, NULL));
    SHOW(getgroups(0, NULL));
    SHOW(syscall(SYS_getgroups, 10, (void *)8));
    setuid(1000);
    SHOW(setgroups(0, NULL));
    SHOW(setgroups(70000, many));
}

// --- Capabilities ---

static void capability_calls(void)
{
    struct cap_header header = {0, 0};
    struct cap_data d[2];
    SHOW(syscall(SYS_capget, NULL, d));
    header.version = 0;
    SHOW(syscall(SYS_capget, &header, NULL));
    HOLDS(header.version == CAPABILITY_VERSION_3);
    header.version = 1;
    SHOW(syscall(SYS_capget, &header, d));
    HOLDS(header.version == CAPABILITY_VERSION_3);
    header.version = 2;
    SHOW(syscall(SYS_capset, &header, d));
    header.pid = -1;
    SHOW(syscall(SYS_capget, &header, d));
    SHOW(syscall(SYS_capget, &header, NULL));
    SHOW(syscall(SYS_capset, &header, d));
    header.pid = 0x3ffffff;
    SHOW(syscall(SYS_capget, &header, d));
    header.pid = getppid();
    SHOW(syscall(SYS_capset, &header, d));
    header.pid = 0;
    SHOW(syscall(SYS_capget, &header, (void *)8));
    SHOW(syscall(SYS_capset, &header, (void *)8));
    for (uint32_t version = 0; version < 3; version++) {
        static const uint32_t versions[] = {CAPABILITY_VERSION_1, CAPABILITY_VERSION_2, CAPABILITY_VERSION_3};
        memset(d, 0xee, sizeof d);
        header.version = versions[version];
        header.pid = 0;
        SHOW(syscall(SYS_capget, &header, d));
        printf("low %x, high %s\n", d[0].permitted & (uint32_t)COMMON, d[1].permitted == 0xeeeeeeee ? "untouched" : "filled");
        header.pid = getpid();
        SHOW(syscall(SYS_capget, &header, d));
    }
}

static void capability_sets(void)
{
    uint64_t all[3];
    get_caps(all);
    DO(set_caps(BIT(CAP_CHOWN), BIT(CAP_CHOWN) | BIT(CAP_SETPCAP) | BIT(CAP_KILL), 0));
    DO(set_caps(BIT(CAP_FOWNER), BIT(CAP_CHOWN), 0));                  // effective beyond permitted
    DO(set_caps(0, BIT(CAP_FOWNER), 0));                               // permitted beyond what it was
    DO(set_caps(0, BIT(CAP_CHOWN) | BIT(CAP_SETPCAP), BIT(CAP_KILL))); // inheritable within permitted
    DO(set_caps(0, BIT(CAP_CHOWN) | BIT(CAP_SETPCAP), BIT(CAP_SETUID)));
    DO(set_caps(BIT(CAP_SETPCAP), BIT(CAP_CHOWN) | BIT(CAP_SETPCAP), BIT(CAP_KILL)));
    DO(set_caps(BIT(CAP_SETPCAP), BIT(CAP_CHOWN) | BIT(CAP_SETPCAP), BIT(CAP_SETUID))); // CAP_SETPCAP: of the bounding set
    DO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0));
    DO(set_caps(BIT(CAP_SETPCAP), BIT(CAP_CHOWN) | BIT(CAP_SETPCAP), BIT(CAP_CHOWN)));
    DO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    DO(set_caps(0, BIT(CAP_SETPCAP), BIT(CAP_CHOWN)));
    DO(set_caps(0, 0, 0));
    DO(set_caps(all[0], all[1], 0));
}

static void ambient_calls(void)
{
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0)); // not inheritable
    uint64_t caps[3];
    get_caps(caps);
    set_caps(caps[0], caps[1], COMMON);
    DO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    DO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
    DO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 99, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, 9, CAP_CHOWN, 0, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 1, 0));
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    DO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0);
    DO(setresuid(1000, 1000, 1000));
    SHOW(prctl(PR_SET_SECUREBITS, 0));
}

static void keep_caps(void)
{
    SHOW(prctl(PR_GET_KEEPCAPS));
    SHOW(prctl(PR_SET_KEEPCAPS, 2));
    SHOW(prctl(PR_SET_KEEPCAPS, 1));
    SHOW(prctl(PR_GET_KEEPCAPS));
    DO(setresuid(1000, 1000, 1000));
    DO(set_caps(BIT(CAP_SETUID), BIT(CAP_SETUID) | BIT(CAP_CHOWN), 0));
    DO(setresuid(1001, 0, 1001));
    DO(setresuid(1001, 1001, 1001));
    SHOW(prctl(PR_SET_KEEPCAPS, 0));
}

static void no_fixup(void)
{
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
    SHOW(prctl(PR_GET_SECUREBITS));
    DO(setresuid(1000, 1000, 1000));
    DO(setfsuid(0));
    DO(setfsuid(1000));
    DO(setresuid(0, 0, 0));
}

static void locks(void)
{
    SHOW(prctl(PR_SET_SECUREBITS, 1 << 12));
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED));
    SHOW(prctl(PR_SET_KEEPCAPS, 1));
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_KEEP_CAPS_LOCKED));
    SHOW(prctl(PR_SET_SECUREBITS, 0));
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED));
    SHOW(prctl(PR_GET_SECUREBITS));
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT_LOCKED));
    SHOW(prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED | SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE));
    uint64_t caps[3];
    get_caps(caps);
    set_caps(caps[0], caps[1], COMMON);
    SHOW(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
}

static void bounding(void)
{
    SHOW(prctl(PR_CAPBSET_READ, CAP_CHOWN));
    SHOW(prctl(PR_CAPBSET_READ, 999));
    SHOW(prctl(PR_CAPBSET_DROP, 999));
    SHOW(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
    SHOW(prctl(PR_CAPBSET_READ, CAP_CHOWN));
    who("still permitted");
    uint64_t caps[3];
    get_caps(caps);
    SHOW(set_caps(caps[0], caps[1], BIT(CAP_CHOWN))); // not in the bounding set
    SHOW(set_caps(caps[0], caps[1], BIT(CAP_KILL)));
    set_caps(caps[0] & ~BIT(CAP_SETPCAP), caps[1], 0);
    SHOW(prctl(PR_CAPBSET_DROP, CAP_KILL));
    SHOW(prctl(PR_CAPBSET_DROP, 999));
    SHOW(prctl(PR_SET_SECUREBITS, 0));
}

static void side_effects(void)
{
    int sig = -1;
    SHOW(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    setresuid((uid_t)-1, 0, (uid_t)-1); // nothing changes
    prctl(PR_GET_PDEATHSIG, &sig);
    printf("death signal %d, dumpable %d\n", sig, prctl(PR_GET_DUMPABLE));
    setresuid((uid_t)-1, 1000, (uid_t)-1);
    prctl(PR_GET_PDEATHSIG, &sig);
    printf("death signal %d, dumpable ", sig);
    printf("%d\n", prctl(PR_GET_DUMPABLE) == 1);
    SHOW(prctl(PR_SET_DUMPABLE, 2));
    SHOW(prctl(PR_SET_DUMPABLE, 1));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

// --- Threads ---

static void *report(void *arg)
{
    pthread_barrier_wait(arg);
    pthread_barrier_wait(arg); // meanwhile the first thread becomes somebody else
    return (void *)(long)(getuid() == 1000 && geteuid() == 1000 && getgid() == 100 && getgroups(0, NULL) == 2);
}

static void threads(void)
{
    pthread_barrier_t b;
    pthread_t t[4];
    gid_t groups[] = {100, 200};
    long good = 0;
    pthread_barrier_init(&b, NULL, 5);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, report, &b);
    pthread_barrier_wait(&b);
    SHOW(setgroups(2, groups));
    SHOW(setgid(100));
    SHOW(setuid(1000));
    pthread_barrier_wait(&b);
    for (int i = 0; i < 4; i++) {
        void *r;
        pthread_join(t[i], &r);
        good += (long)r;
    }
    printf("threads that changed, too: %ld\n", good);
}

static void kill_rules(void)
{
    int fds[2];
    pipe(fds);
    pid_t root = fork();
    if (root == 0) {
        close(fds[1]);
        read(fds[0], &root, 1);
        _exit(0);
    }
    setresuid(1000, 1000, 1000);
    pid_t mine = fork();
    if (mine == 0) {
        close(fds[1]);
        read(fds[0], &mine, 1);
        _exit(0);
    }
    SHOW(kill(root, 0));
    SHOW(kill(root, SIGCONT));
    SHOW(kill(root, SIGTERM));
    SHOW(kill(mine, 0));
    SHOW(kill(mine, SIGTERM));
    close(fds[1]);
    wait(NULL);
    wait(NULL);
}

int main(void)
{
    uint64_t caps[3];
    if (getuid())
        give_up("this test needs root");
    get_caps(caps);
    if ((caps[1] & COMMON) != COMMON)
        give_up("root lacks capabilities that every container has");
    setgroups(0, NULL);
    prctl(PR_SET_SECUREBITS, 0);
    set_caps(caps[1], caps[1], 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1);
    in_child("setuid", setuid_from_root);
    in_child("seteuid", seteuid_and_back);
    in_child("setreuid", setreuid_rules);
    in_child("groups", group_rules);
    in_child("setfsuid", file_users);
    in_child("supplementary groups", supplementary);
    in_child("capget, capset", capability_calls);
    in_child("capability sets", capability_sets);
    in_child("ambient", ambient_calls);
    in_child("keep", keep_caps);
    in_child("no fixup", no_fixup);
    in_child("locks", locks);
    in_child("bounding", bounding);
    in_child("side effects", side_effects);
    in_child("threads", threads);
    in_child("kill", kill_rules);
    return 0;
}
