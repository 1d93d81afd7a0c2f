// What execve(2) makes of users, groups and capabilities: set-ID bits, file capabilities, ambient ones, no_new_privs, securebits.
// runner: none
#include "caps.h"
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static const char *program; // what the cases start

static void report(void)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;
    uint64_t caps[3], ambient = 0;
    int sig = 0;
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    get_caps(caps);
    prctl(PR_GET_PDEATHSIG, &sig);
    for (int c = 0; c <= 40; c++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1)
            ambient |= BIT(c);
    printf("  users %d %d %d %d, groups %d %d %d %d, secure %lu, caps e=%lx p=%lx i=%lx a=%lx, bits %x, dumpable %d, death %d, nnp %d\n",
           (int)r, (int)e, (int)s, setfsuid((uid_t)-1), (int)rg, (int)eg, (int)sg, setfsgid((gid_t)-1), getauxval(AT_SECURE),
           caps[0] & COMMON, caps[1] & COMMON, caps[2] & COMMON, ambient & COMMON, (unsigned)prctl(PR_GET_SECUREBITS),
           prctl(PR_GET_DUMPABLE) == 1, sig, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void copy_self(const char *name, mode_t mode, uid_t uid, gid_t gid, const char *caps)
{
    char buf[65536];
    int in = open("/proc/self/exe", O_RDONLY), out = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    for (ssize_t n; (n = read(in, buf, sizeof buf)) > 0;)
        if (write(out, buf, (size_t)n) != n)
            give_up("copying");
    if (fchown(out, uid, gid) || fchmod(out, mode) || (caps && fsetxattr(out, "security.capability", caps, 20, 0)))
        give_up("making %s", name);
    close(in);
    close(out);
}

static void in_child(const char *what, void (*fn)(void))
{
    static const char *const programs[] = {"plain", "suid-user", "suid-root", "sgid", "sgid-noexec", "suid-sgid", "caps-effective",
                                           "caps-permitted", "caps-inherit", "caps-root", "unreadable", "script"};
    section(what);
    for (unsigned i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        int status;
        program = programs[i];
        printf("%s\n", program);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            fn();
            execl(program, "run", "report", NULL);
            printf("  %s\n", errno_name(errno));
            fflush(stdout);
            _exit(0);
        }
        waitpid(pid, &status, 0);
        if (status)
            printf("  status %#x\n", status);
    }
}

static void become(uid_t uid, gid_t gid)
{
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
        give_up("becoming");
}

static void as_root(void) {}
static void as_user(void)
{
    become(1000, 100);
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
}
static void as_other(void) { become(1001, 101); }
static void no_new_privs(void)
{
    become(1000, 100);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
static void root_no_new_privs(void) { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static void real_root(void)
{
    if (strstr(program, "-root")) // AT_SECURE: kernels differ
        _exit(0);
    setresuid(0, 1000, 1000);
}
static void effective_root(void) { setresuid(1000, 0, 0); }
static void saved_root(void) { setresuid(1000, 1000, 0); }
static void no_root(void) { prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_KEEP_CAPS); }
static void fewer_bounding(void) { prctl(PR_CAPBSET_DROP, CAP_CHOWN); }
static void fewer_bounding_user(void)
{
    prctl(PR_CAPBSET_DROP, CAP_CHOWN);
    become(1000, 100);
}
static void inheritable(void)
{
    uint64_t caps[3];
    get_caps(caps);
    set_caps(caps[0], caps[1], BIT(CAP_KILL) | BIT(CAP_CHOWN));
    become(1000, 100);
}
static void ambient(void)
{
    uint64_t set = BIT(CAP_KILL) | BIT(CAP_NET_BIND_SERVICE);
    prctl(PR_SET_KEEPCAPS, 1);
    become(1000, 100);
    set_caps(set, set, set);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
}
static void kept(void)
{
    prctl(PR_SET_KEEPCAPS, 1);
    become(1000, 100);
    set_caps(BIT(CAP_KILL), BIT(CAP_KILL) | BIT(CAP_SETUID), 0);
}

// A process that shares root and directory with another one is not raised.
static int run_shared(void *arg)
{
    (void)arg;
    execl(program, "run", "report", NULL);
    _exit(9);
}

static void shared_directory(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    become(1000, 100);
    int status;
    pid_t pid = clone(run_shared, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL);
    waitpid(pid, &status, 0);
    fflush(stdout);
    _exit(status >> 8);
}

// Who becomes a user with too many processes may not start programs.
static void too_many(void)
{
    struct rlimit limit = {1, 1};
    int ready[2], end[2], status;
    char c;
    section("too many processes");
    fflush(stdout);
    pipe2(ready, O_CLOEXEC);
    pipe2(end, O_CLOEXEC);
    if (fork() == 0) {
        become(54321, 54321);
        fork(); // two: those that he has already are more than one
        write(ready[1], "r", 1);
        close(end[1]);
        read(end[0], &c, 1);
        _exit(0);
    }
    read(ready[0], &c, 1);
    read(ready[0], &c, 1);
    if (fork() == 0) {
        setrlimit(RLIMIT_NPROC, &limit);
        become(54321, 54321);
        SHOW(execl("plain", "run", "report", NULL));
        fflush(stdout);
        write(ready[1], "r", 1);
        _exit(0);
    }
    read(ready[0], &c, 1);
    close(end[1]);
    wait(&status);
    wait(&status);
    printf("status %#x\n", status);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[argc - 1], "report")) {
        report();
        return 0;
    }
    if (getuid())
        give_up("this test needs root");
    umask(022);
    chmod(".", 0777);
    setgroups(0, NULL);
    // Little-endian: revision 2 with or without the effective bit; permitted and inheritable, twice.
    copy_self("plain", 0755, 0, 0, NULL);
    copy_self("suid-user", 04755, 1001, 101, NULL);
    copy_self("suid-root", 04755, 0, 0, NULL);
    copy_self("sgid", 02755, 0, 300, NULL);
    copy_self("sgid-noexec", 02745, 0, 300, NULL);
    copy_self("suid-sgid", 06755, 1001, 300, NULL);
    copy_self("caps-effective", 0755, 0, 0, "\1\0\0\2\41\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"); // CAP_CHOWN, CAP_KILL
    copy_self("caps-permitted", 0755, 0, 0, "\0\0\0\2\41\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    copy_self("caps-inherit", 0755, 0, 0, "\1\0\0\2\0\0\0\0\41\0\0\0\0\0\0\0\0\0\0\0");
    copy_self("caps-root", 04755, 0, 0, "\1\0\0\2\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"); // and set-user-ID
    copy_self("unreadable", 0711, 0, 0, NULL);
    int fd = open("script", O_WRONLY | O_CREAT, 0700);
    write(fd, "#!./plain script\n", 17);
    fchmod(fd, 06755);
    close(fd);
    in_child("root", as_root);
    in_child("user", as_user);
    in_child("another user", as_other);
    in_child("no new privileges", no_new_privs);
    in_child("root without new privileges", root_no_new_privs);
    in_child("real root", real_root);
    in_child("effective root", effective_root);
    in_child("saved root", saved_root);
    in_child("no root", no_root);
    in_child("fewer bounding", fewer_bounding);
    in_child("fewer bounding, user", fewer_bounding_user);
    in_child("inheritable", inheritable);
    in_child("ambient", ambient);
    in_child("kept", kept);
    in_child("shared directory", shared_directory);
    too_many();
    return 0;
}
