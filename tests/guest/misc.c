// Identity, limits, names and numbers: uname, ids, rlimits, prctl, sysinfo, affinity, getrandom, unknown calls, capabilities
// of the scheduler's interface.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

static bool random_enough(const unsigned char *bytes, size_t n)
{
    int bits = 0, repeats = 0;
    for (size_t i = 0; i < n; i++) {
        bits += __builtin_popcount(bytes[i]);
        repeats += i > 0 && bytes[i] == bytes[i - 1];
    }
    return bits > (int)n * 4 - 400 && bits < (int)n * 4 + 400 && repeats < (int)n / 64;
}

int main(void)
{
    section("uname");
    struct utsname u;
    SHOW(uname(&u));
    int major = 0, minor = 0;
    printf("%s %s\n", u.sysname, u.machine);
    HOLDS(sscanf(u.release, "%d.%d", &major, &minor) == 2 && major >= 4);
    HOLDS(strlen(u.nodename) > 0 && strlen(u.version) > 0);
    SHOW(syscall(SYS_uname, 8));

    section("ids");
    HOLDS(getpid() > 0 && getpid() == syscall(SYS_gettid));
    HOLDS(getppid() >= 0);
    HOLDS(getuid() == geteuid() && getgid() == getegid());
    uid_t r, e, s;
    SHOW(getresuid(&r, &e, &s));
    HOLDS(r == getuid() && e == r && s == r);
    SHOW(setuid(getuid()));
    SHOW(setgid(getgid()));
    SHOW(setresuid(-1, -1, -1));
    HOLDS(getpgrp() > 0 && getpgid(0) == getpgrp());
    HOLDS(getsid(0) >= 0);
    SHOW(getpgid(999999));
    HOLDS(getgroups(0, NULL) >= 0);

    section("limits");
    struct rlimit limit, back;
    SHOW(getrlimit(RLIMIT_NOFILE, &limit));
    HOLDS(limit.rlim_cur >= 1024 && limit.rlim_max >= limit.rlim_cur);
    limit.rlim_cur = 100;
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    SHOW(getrlimit(RLIMIT_NOFILE, &back));
    printf("%lu\n", (unsigned long)back.rlim_cur);
    limit.rlim_cur = limit.rlim_max + 1;
    if (limit.rlim_cur)
        SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    limit = (struct rlimit){10, 5};
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    SHOW(getrlimit(77, &limit));
    SHOW(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &back));
    printf("%lu\n", (unsigned long)back.rlim_cur);
    SHOW(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 8, NULL));
    SHOW(syscall(SYS_prlimit64, 999999, RLIMIT_NOFILE, NULL, &back));
    SHOW(getrlimit(RLIMIT_STACK, &limit));
    HOLDS(limit.rlim_cur >= 1 << 20);
    SHOW(getrlimit(RLIMIT_CORE, &limit));

    section("prctl");
    char name[16] = "";
    SHOW(prctl(PR_SET_NAME, "a name that is too long"));
    SHOW(prctl(PR_GET_NAME, name));
    printf("%s\n", name);
    SHOW(prctl(PR_SET_NAME, 8));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 0));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 7));
    SHOW(prctl(PR_SET_DUMPABLE, 1));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_PDEATHSIG, 9));
    int signal = 0;
    SHOW(prctl(PR_GET_PDEATHSIG, &signal));
    SHOW(signal);
    SHOW(prctl(PR_SET_PDEATHSIG, 99));
    SHOW(prctl(123456, 0, 0, 0, 0));
    unsigned long base = 0;
    SHOW(syscall(SYS_arch_prctl, 0x1003, &base)); // ARCH_GET_FS
    HOLDS(base == *(unsigned long *)__builtin_thread_pointer());
    SHOW(syscall(SYS_arch_prctl, 0x1003, 8));
    SHOW(syscall(SYS_arch_prctl, 0x1002, 0x8000000000000000)); // ARCH_SET_FS: not canonical
    SHOW(syscall(SYS_arch_prctl, 0x9999, 0));

    section("sysinfo");
    struct sysinfo si;
    SHOW(sysinfo(&si));
    HOLDS(si.totalram > si.freeram && si.freeram > 0 && si.mem_unit >= 1 && si.procs >= 1);
    SHOW(syscall(SYS_sysinfo, 8));

    section("affinity and scheduling");
    cpu_set_t set;
    SHOW(sched_getaffinity(0, sizeof set, &set));
    HOLDS(CPU_COUNT(&set) >= 1 && CPU_COUNT(&set) == sysconf(_SC_NPROCESSORS_ONLN));
    int first = 0;
    while (!CPU_ISSET(first, &set))
        first++;
    SHOW(syscall(SYS_sched_getaffinity, 0, 4, &set));
    SHOW(syscall(SYS_sched_getaffinity, 999999, sizeof set, &set));
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    SHOW(sched_setaffinity(0, sizeof set, &set));
    SHOW(sched_getcpu() == first);
    SHOW(sched_getaffinity(0, sizeof set, &set));
    SHOW(CPU_COUNT(&set));
    CPU_ZERO(&set);
    SHOW(sched_setaffinity(0, sizeof set, &set));
    SHOW(sched_yield());
    SHOW(syscall(SYS_sched_getscheduler, 0));
    SHOW(syscall(SYS_sched_get_priority_max, SCHED_FIFO));
    SHOW(syscall(SYS_sched_get_priority_min, SCHED_OTHER));
    SHOW(syscall(SYS_sched_get_priority_max, 77));
    SHOW(getpriority(PRIO_PROCESS, 0));
    unsigned cpu = 99, node = 99;
    SHOW(syscall(SYS_getcpu, &cpu, &node, NULL));
    HOLDS(cpu == (unsigned)first && node == 0);

    section("getrandom");
    static unsigned char bytes[4096], more[4096];
    SHOW(getrandom(bytes, sizeof bytes, 0));
    SHOW(getrandom(more, sizeof more, GRND_NONBLOCK));
    HOLDS(random_enough(bytes, sizeof bytes) && random_enough(more, sizeof more) && memcmp(bytes, more, sizeof bytes));
    SHOW(getrandom(bytes, 5, GRND_RANDOM));
    SHOW(getrandom(bytes, 0, 0));
    SHOW(syscall(SYS_getrandom, 8, 16, 0));
    SHOW(getrandom(bytes, 5, 0x80));

    section("what there is not");
    SHOW(syscall(9999));
    SHOW(syscall(-1));
    SHOW(syscall(180)); // nfsservctl
    SHOW(syscall(214)); // epoll_ctl_old
    SHOW(syscall(500));

    section("memory barriers, personality");
    HOLDS(syscall(SYS_membarrier, 0, 0, 0) >= 0 || errno == ENOSYS);
    SHOW(syscall(SYS_personality, 0xffffffff));
    return 0;
}
