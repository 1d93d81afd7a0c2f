// One argument of a system call as text, by its kind (enum arg_kind). Structures are read from the application's memory; what
// cannot be read is printed as its address.
#include "kernel/string.h"
#include "kernel/memory/uio.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include "syscall/trace.h"
#include <asm/signal.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/poll.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/time.h>
// After <asm/signal.h>: struct stat with its ABI's layout.
#include <asm/stat.h>

#define UTIME_NOW 0x3fffffff // utimensat(2)
#define UTIME_OMIT 0x3ffffffe
#define STRING_MAX 32  // bytes shown of a buffer, as strace
#define PATH_SHOWN 256 // and of a path
#define ITEMS_MAX 4    // of an array; argv: ARGV_MAX
#define ARGV_MAX 16

// --- Strings ---

static void quote(struct text *t, const uint8_t *s, size_t n, bool more) {
    text_add(t, "\"");
    for (size_t i = 0; i < n; i++) {
        static const char escapes[] = "\"\"\\\\\nn\tt\rr\vv\ff"; // pairs: the character, how it is shown
        const char *e = escapes;
        while (*e && *e != (char)s[i])
            e += 2;
        bool digit_follows = i + 1 < n && s[i + 1] >= '0' && s[i + 1] <= '9';
        if (*e)
            text_add(t, "\\%c", e[1]);
        else if (s[i] >= ' ' && s[i] < 0x7f)
            text_add(t, "%c", s[i]);
        else
            text_add(t, digit_follows ? "\\%03o" : "\\%o", s[i]);
    }
    text_add(t, more ? "\"..." : "\"");
}

static void print_pointer(struct text *t, uint64_t p) {
    if (p)
        text_add(t, "0x%lx", (unsigned long)p);
    else
        text_add(t, "NULL");
}

static void print_string(struct text *t, uint64_t addr, size_t max) {
    uint8_t buf[PATH_SHOWN + 1];
    if (!addr) {
        text_add(t, "NULL");
        return;
    }
    long n = copy_in_str((char *)buf, addr, max + 1);
    if (n == -ENAMETOOLONG) {
        size_t have = copy_in_partial(buf, addr, max);
        quote(t, buf, have, true);
    } else if (n < 0) {
        print_pointer(t, addr);
    } else {
        quote(t, buf, (size_t)n, false);
    }
}

void trace_buffer(struct text *t, uint64_t addr, uint64_t len) {
    uint8_t buf[STRING_MAX];
    size_t n = MIN(len, sizeof(buf));
    if (!addr)
        text_add(t, "NULL");
    else if (n && copy_in(buf, addr, n))
        print_pointer(t, addr);
    else
        quote(t, buf, n, len > n);
}

static void print_argv(struct text *t, uint64_t addr) {
    if (!addr) {
        text_add(t, "NULL");
        return;
    }
    text_add(t, "[");
    for (unsigned i = 0;; i++) {
        uint64_t p;
        if (copy_in_obj(&p, addr + i * 8)) {
            text_add(t, "%s???", i ? ", " : "");
            break;
        }
        if (!p)
            break;
        text_add(t, i ? ", " : "");
        if (i == ARGV_MAX) {
            text_add(t, "...");
            break;
        }
        print_string(t, p, STRING_MAX);
    }
    text_add(t, "]");
}

static void print_envp(struct text *t, uint64_t addr) {
    unsigned n = 0;
    uint64_t p;
    print_pointer(t, addr);
    while (addr && n < 1000 && !copy_in_obj(&p, addr + n * 8ul) && p)
        n++;
    if (addr)
        text_add(t, " /* %u var%s */", n, n == 1 ? "" : "s");
}

// `shown`: how many bytes of all buffers together hold something.
void trace_iovec(struct text *t, uint64_t addr, uint64_t count, uint64_t shown) {
    if (!addr) {
        text_add(t, "NULL");
        return;
    }
    text_add(t, "[");
    for (uint64_t i = 0; i < count; i++) {
        struct uio_vec v;
        text_add(t, i ? ", " : "");
        if (i == ITEMS_MAX || copy_in_obj(&v, addr + i * sizeof(v))) {
            text_add(t, "...");
            break;
        }
        uint64_t n = MIN(v.len, shown);
        text_add(t, "{iov_base=");
        trace_buffer(t, v.base, n);
        text_add(t, ", iov_len=%lu}", (unsigned long)v.len);
        shown -= n;
    }
    text_add(t, "]");
}

// --- Numbers with a meaning ---

static void print_at(struct text *t, int fd) {
    if (fd == AT_FDCWD)
        text_add(t, "AT_FDCWD");
    else
        text_add(t, "%d", fd);
}

static void print_open_flags(struct text *t, uint64_t v) {
    static const char *const access[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
    text_add(t, "%s", access[v & O_ACCMODE]);
    if (v & ~(uint64_t)O_ACCMODE & 0xffffffff) {
        text_add(t, "|");
        text_flags(t, v & ~(uint64_t)O_ACCMODE & 0xffffffff, names_open_flags, NULL);
    }
}

static void print_signal(struct text *t, uint64_t sig) {
    const char *name = trace_signal_name(sig);
    if (name)
        text_add(t, "%s", name);
    else if (sig > 32 && sig <= 64)
        text_add(t, "SIGRT_%u", (unsigned)sig - 32);
    else
        text_add(t, "%d", (int)sig);
}

static unsigned count_bits(uint64_t set) {
    unsigned n = 0;
    for (; set; set &= set - 1)
        n++;
    return n;
}

static void print_sigset_value(struct text *t, uint64_t set) {
    bool invert = count_bits(set) > 32;
    const char *separator = "";
    text_add(t, invert ? "~[" : "[");
    for (unsigned sig = 1; sig <= 64; sig++) {
        if ((set >> (sig - 1) & 1) == invert)
            continue;
        const char *name = trace_signal_name(sig);
        if (name)
            text_add(t, "%s%s", separator, name + 3);
        else
            text_add(t, "%sRT_%u", separator, sig - 32);
        separator = " ";
    }
    text_add(t, "]");
}

static void print_clone_flags(struct text *t, uint64_t v, bool with_signal) {
    uint64_t signal = with_signal ? v & CSIGNAL : 0;
    if (v & ~signal)
        text_flags(t, v & ~signal, names_clone_flags, "0");
    if (signal) {
        text_add(t, v & ~signal ? "|" : "");
        print_signal(t, signal);
    } else if (!v) {
        text_add(t, "0");
    }
}

static void print_futex_op(struct text *t, uint64_t op) {
    text_name(t, op & FUTEX_CMD_MASK & 0xffffffff, names_futex_op, "FUTEX_");
    if (op & FUTEX_PRIVATE_FLAG)
        text_add(t, "_PRIVATE");
    if (op & FUTEX_CLOCK_REALTIME)
        text_add(t, "|FUTEX_CLOCK_REALTIME");
}

static void print_mode(struct text *t, uint64_t mode) {
    if (mode & S_IFMT) {
        text_name(t, mode & S_IFMT, names_file_type, "S_IF");
        text_add(t, "|");
    }
    text_add(t, "%#03o", (unsigned)mode & 07777);
}

static void print_limit(struct text *t, uint64_t v) {
    if (v == ~0ul)
        text_add(t, "RLIM64_INFINITY");
    else if (v > 1024 && v % 1024 == 0)
        text_add(t, "%lu*1024", (unsigned long)v / 1024);
    else
        text_add(t, "%lu", (unsigned long)v);
}

static void print_wait_status(struct text *t, int s) {
    unsigned sig = s & 0x7f;
    if (sig == 0) {
        text_add(t, "{WIFEXITED(s) && WEXITSTATUS(s) == %d}", s >> 8 & 0xff);
    } else if (sig == 0x7f) {
        text_add(t, "{WIFSTOPPED(s) && WSTOPSIG(s) == ");
        print_signal(t, s >> 8 & 0xff);
        text_add(t, "}");
    } else {
        text_add(t, "{WIFSIGNALED(s) && WTERMSIG(s) == ");
        print_signal(t, sig);
        text_add(t, s & 0x80 ? " && WCOREDUMP(s)}" : "}");
    }
}

// --- Structures ---

struct pair { // timespec, timeval, rlimit
    uint64_t a, b;
};

static void print_time(struct text *t, const struct pair *p, const char *fraction) {
    if (p->b == UTIME_NOW && fraction[0] == 'n')
        text_add(t, "UTIME_NOW");
    else if (p->b == UTIME_OMIT && fraction[0] == 'n')
        text_add(t, "UTIME_OMIT");
    else
        text_add(t, "{tv_sec=%ld, tv_%s=%ld}", (long)p->a, fraction, (long)p->b);
}

static void print_interval(struct text *t, const struct pair p[2], const char *fraction) {
    text_add(t, "{it_interval=");
    print_time(t, &p[0], fraction);
    text_add(t, ", it_value=");
    print_time(t, &p[1], fraction);
    text_add(t, "}");
}

// The kernel's struct sigaction, which is not the C library's.
struct kernel_sigaction {
    uint64_t handler, flags, restorer, mask;
};

static void print_sigaction(struct text *t, const struct kernel_sigaction *a) {
    text_add(t, "{sa_handler=");
    if (a->handler <= 1)
        text_add(t, a->handler ? "SIG_IGN" : "SIG_DFL");
    else
        print_pointer(t, a->handler);
    text_add(t, ", sa_mask=");
    print_sigset_value(t, a->mask);
    text_add(t, ", sa_flags=");
    text_flags(t, a->flags, names_sa_flags, "0");
    if (a->flags & SA_RESTORER)
        text_add(t, ", sa_restorer=0x%lx", (unsigned long)a->restorer);
    text_add(t, "}");
}

static void print_pollfds(struct text *t, uint64_t addr, uint64_t count) {
    text_add(t, "[");
    for (uint64_t i = 0; i < count; i++) {
        struct pollfd p;
        text_add(t, i ? ", " : "");
        if (i == ITEMS_MAX || copy_in_obj(&p, addr + i * sizeof(p))) {
            text_add(t, "...");
            break;
        }
        text_add(t, "{fd=%d, events=", p.fd);
        text_flags(t, (uint16_t)p.events, names_poll_events, "0");
        text_add(t, "}");
    }
    text_add(t, "]");
}

static void print_stat(struct text *t, const struct stat *s) {
    text_add(t, "{st_mode=");
    print_mode(t, s->st_mode);
    unsigned type = s->st_mode & S_IFMT;
    if (type == S_IFCHR || type == S_IFBLK)
        text_add(t, ", st_rdev=makedev(0x%lx, 0x%lx), ...}", (unsigned long)(s->st_rdev >> 8 & 0xfff),
                 (unsigned long)((s->st_rdev & 0xff) | (s->st_rdev >> 12 & 0xfff00)));
    else
        text_add(t, ", st_size=%ld, ...}", (long)s->st_size);
}

static void print_statx(struct text *t, const struct statx *s) {
    text_add(t, "{stx_mask=");
    text_flags(t, s->stx_mask, names_statx_mask, "0");
    text_add(t, ", stx_mode=");
    print_mode(t, s->stx_mode);
    text_add(t, ", stx_size=%lu, ...}", (unsigned long)s->stx_size);
}

static void print_clone_args(struct text *t, const struct clone_args *c) {
    text_add(t, "{flags=");
    print_clone_flags(t, c->flags, false);
    text_add(t, ", child_tid=0x%lx, parent_tid=0x%lx, exit_signal=", (unsigned long)c->child_tid,
             (unsigned long)c->parent_tid);
    print_signal(t, c->exit_signal);
    text_add(t, ", stack=0x%lx, stack_size=0x%lx, tls=0x%lx}", (unsigned long)c->stack, (unsigned long)c->stack_size,
             (unsigned long)c->tls);
}

static void print_sigstack(struct text *t, const stack_t *s) {
    text_add(t, "{ss_sp=");
    print_pointer(t, (uint64_t)s->ss_sp);
    text_add(t, ", ss_flags=");
    text_flags(t, (uint64_t)s->ss_flags, names_ss_flags, "0");
    text_add(t, ", ss_size=%lu}", (unsigned long)s->ss_size);
}

// What stands behind a pointer, in the largest of the structures that are printed.
union object {
    struct pair pair[2];
    int ints[2];
    uint64_t sigset;
    struct kernel_sigaction action;
    stack_t stack;
    struct stat stat;
    struct statx statx;
    struct clone_args clone;
};

static size_t object_size(unsigned kind) {
    switch (kind) {
    case ARG_SIGSET:
    case ARG_SIGSET_OUT:
    case ARG_FDPAIR_OUT: return 8;
    case ARG_INT_OUT:
    case ARG_STATUS_OUT: return sizeof(int);
    case ARG_TIMESPEC:
    case ARG_TIMESPEC_OUT:
    case ARG_FUTEX_TIMEOUT:
    case ARG_TIMEVAL:
    case ARG_TIMEVAL_OUT:
    case ARG_RLIMIT:
    case ARG_RLIMIT_OUT: return sizeof(struct pair);
    case ARG_TIMESPEC2:
    case ARG_ITIMERVAL:
    case ARG_ITIMERVAL_OUT:
    case ARG_ITIMERSPEC:
    case ARG_ITIMERSPEC_OUT: return 2 * sizeof(struct pair);
    case ARG_SIGACTION:
    case ARG_SIGACTION_OUT: return sizeof(struct kernel_sigaction);
    case ARG_SIGSTACK:
    case ARG_SIGSTACK_OUT: return sizeof(stack_t);
    case ARG_STAT_PTR: return sizeof(struct stat);
    case ARG_STATX_PTR: return sizeof(struct statx);
    case ARG_CLONE_ARGS: return CLONE_ARGS_SIZE_VER0;
    default: return 0;
    }
}

static void print_object(struct text *t, unsigned kind, uint64_t addr) {
    union object o = {0};
    if (!addr || copy_in(&o, addr, object_size(kind))) {
        print_pointer(t, addr);
        return;
    }
    switch (kind) {
    case ARG_SIGSET:
    case ARG_SIGSET_OUT: print_sigset_value(t, o.sigset); break;
    case ARG_FDPAIR_OUT: text_add(t, "[%d, %d]", o.ints[0], o.ints[1]); break;
    case ARG_INT_OUT: text_add(t, "[%d]", o.ints[0]); break;
    case ARG_STATUS_OUT:
        text_add(t, "[");
        print_wait_status(t, o.ints[0]);
        text_add(t, "]");
        break;
    case ARG_TIMESPEC:
    case ARG_TIMESPEC_OUT:
    case ARG_FUTEX_TIMEOUT: print_time(t, &o.pair[0], "nsec"); break;
    case ARG_TIMEVAL:
    case ARG_TIMEVAL_OUT: print_time(t, &o.pair[0], "usec"); break;
    case ARG_RLIMIT:
    case ARG_RLIMIT_OUT:
        text_add(t, "{rlim_cur=");
        print_limit(t, o.pair[0].a);
        text_add(t, ", rlim_max=");
        print_limit(t, o.pair[0].b);
        text_add(t, "}");
        break;
    case ARG_TIMESPEC2:
        text_add(t, "[");
        print_time(t, &o.pair[0], "nsec");
        text_add(t, ", ");
        print_time(t, &o.pair[1], "nsec");
        text_add(t, "]");
        break;
    case ARG_ITIMERVAL:
    case ARG_ITIMERVAL_OUT: print_interval(t, o.pair, "usec"); break;
    case ARG_ITIMERSPEC:
    case ARG_ITIMERSPEC_OUT: print_interval(t, o.pair, "nsec"); break;
    case ARG_SIGACTION:
    case ARG_SIGACTION_OUT: print_sigaction(t, &o.action); break;
    case ARG_SIGSTACK:
    case ARG_SIGSTACK_OUT: print_sigstack(t, &o.stack); break;
    case ARG_STAT_PTR: print_stat(t, &o.stat); break;
    case ARG_STATX_PTR: print_statx(t, &o.statx); break;
    case ARG_CLONE_ARGS: print_clone_args(t, &o.clone); break;
    default: print_pointer(t, addr);
    }
}

// --- All kinds ---

// Kinds that are nothing but names. A prefix: one name of a set; NULL: a mask of flags.
static const struct {
    const struct name_value *names;
    const char *prefix, *zero;
} named[ARG_KIND_COUNT] = {
    [ARG_FD_FLAGS] = {names_open_flags, NULL, "0"},
    [ARG_PROT] = {names_prot, NULL, "PROT_NONE"},
    [ARG_MAP_FLAGS] = {names_map_flags, NULL, "0"},
    [ARG_MREMAP_FLAGS] = {names_mremap_flags, NULL, "0"},
    [ARG_MSYNC_FLAGS] = {names_msync_flags, NULL, "0"},
    [ARG_MADVICE] = {names_madvice, "MADV_", NULL},
    [ARG_SIG_HOW] = {names_sig_how, "SIG_", NULL},
    [ARG_CLOCK] = {names_clock, "CLOCK_", NULL},
    [ARG_TIMER_FLAGS] = {names_timer_flags, NULL, "0"},
    [ARG_WHENCE] = {names_whence, "SEEK_", NULL},
    [ARG_IOCTL] = {names_ioctl, "", NULL},
    [ARG_RESOURCE] = {names_resource, "RLIMIT_", NULL},
    [ARG_ACCESS] = {names_access, NULL, "F_OK"},
    [ARG_AT_FLAGS] = {names_at_flags, NULL, "0"},
    [ARG_UNLINK_FLAGS] = {names_unlink_flags, NULL, "0"},
    [ARG_RENAME_FLAGS] = {names_rename_flags, NULL, "0"},
    [ARG_WAIT_OPTIONS] = {names_wait_options, NULL, "0"},
    [ARG_FCNTL] = {names_fcntl, "F_", NULL},
    [ARG_PRCTL] = {names_prctl, "PR_", NULL},
    [ARG_ARCH_PRCTL] = {names_arch_prctl, "ARCH_", NULL},
    [ARG_ITIMER] = {names_itimer, "ITIMER_", NULL},
    [ARG_RUSAGE_WHO] = {names_rusage_who, "RUSAGE_", NULL},
    [ARG_EPOLL_OP] = {names_epoll_op, "EPOLL_CTL_", NULL},
    [ARG_RANDOM_FLAGS] = {names_random_flags, NULL, "0"},
    [ARG_STATX_MASK] = {names_statx_mask, NULL, "0"},
};

bool trace_arg_is_output(unsigned kind) {
    switch (kind) {
    case ARG_OUTBUF:
    case ARG_OUTSTR:
    case ARG_IOVEC_OUT:
    case ARG_INT_OUT:
    case ARG_FDPAIR_OUT:
    case ARG_SIGSET_OUT:
    case ARG_SIGACTION_OUT:
    case ARG_SIGSTACK_OUT:
    case ARG_TIMESPEC_OUT:
    case ARG_TIMEVAL_OUT:
    case ARG_ITIMERVAL_OUT:
    case ARG_ITIMERSPEC_OUT:
    case ARG_RLIMIT_OUT:
    case ARG_STATUS_OUT:
    case ARG_STAT_PTR:
    case ARG_STATX_PTR:
    case ARG_SOCKADDR_OUT:
    case ARG_MSGHDR_OUT:
    case ARG_OPTION_OUT: return true;
    default: return false;
    }
}

void trace_arg(struct text *t, unsigned kind, const uint64_t args[6], unsigned i, bool after, long result) {
    uint64_t v = args[i], next = i < 5 ? args[i + 1] : 0;

    // What a failed call was to fill in is whatever was there before.
    if (trace_arg_is_output(kind) && (!after || result < 0)) {
        print_pointer(t, v);
        return;
    }
    if (named[kind].names) {
        if (named[kind].prefix)
            text_name(t, v & 0xffffffff, named[kind].names, named[kind].prefix);
        else
            text_flags(t, v & 0xffffffff, named[kind].names, named[kind].zero);
        return;
    }
    switch (kind) {
    case ARG_INT:
    case ARG_FD:
    case ARG_PID: text_add(t, "%d", (int)v); break;
    case ARG_UINT: text_add(t, "%u", (unsigned)v); break;
    case ARG_HEX: text_add(t, v ? "%#lx" : "0", (unsigned long)v); break;
    case ARG_ATFD: print_at(t, (int)v); break;
    case ARG_SIZE: text_add(t, "%lu", (unsigned long)v); break;
    case ARG_OFF: text_add(t, "%ld", (long)v); break;
    case ARG_MODE: print_mode(t, v & 0xffff); break;
    case ARG_STR: print_string(t, v, PATH_SHOWN); break;
    case ARG_OUTSTR: print_string(t, v, PATH_SHOWN); break;
    case ARG_BUF: trace_buffer(t, v, next); break;
    case ARG_OUTBUF: trace_buffer(t, v, (uint64_t)result); break;
    case ARG_STRV: print_argv(t, v); break;
    case ARG_ENVV: print_envp(t, v); break;
    case ARG_IOVEC: trace_iovec(t, v, next, ~0ul); break;
    case ARG_IOVEC_OUT: trace_iovec(t, v, next, (uint64_t)result); break;
    case ARG_POLLFDS: print_pollfds(t, v, next); break;
    case ARG_OPEN_FLAGS: print_open_flags(t, v); break;
    case ARG_SIGNAL: print_signal(t, v); break;
    case ARG_CLONE_FLAGS: print_clone_flags(t, v, true); break;
    case ARG_FUTEX_OP: print_futex_op(t, v); break;
    case ARG_SOCKET_FAMILY:
    case ARG_SOCKET_TYPE:
    case ARG_SOCKET_LEVEL:
    case ARG_SOCKET_OPTION:
    case ARG_SHUT_HOW:
    case ARG_MSG_FLAGS:
    case ARG_SOCKADDR:
    case ARG_SOCKADDR_OUT:
    case ARG_MSGHDR:
    case ARG_MSGHDR_OUT:
    case ARG_OPTION_OUT: trace_socket_arg(t, kind, args, i, result); break;
    default: print_object(t, kind, v); break;
    }
}
