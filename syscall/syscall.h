// The Linux ABI. Everything that knows system call numbers or the layout of the application's structures lives in this folder.
#ifndef SYSCALL_SYSCALL_H
#define SYSCALL_SYSCALL_H

#include "kernel/types.h"

struct trapframe;

typedef long (*syscall_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// How the trace prints an argument. Those named _OUT are filled in by the call and printed after it, when it succeeded.
// clang-format off
enum arg_kind {
    // Plain numbers.
    ARG_NONE, ARG_INT, ARG_UINT, ARG_HEX, ARG_PTR, ARG_FD, ARG_ATFD, ARG_SIZE, ARG_OFF, ARG_MODE, ARG_PID,
    // Memory. ARG_BUF: its length is the next argument. ARG_OUTBUF: the result is its length.
    ARG_STR, ARG_BUF, ARG_OUTBUF, ARG_OUTSTR, ARG_STRV, ARG_ENVV, ARG_IOVEC, ARG_IOVEC_OUT, ARG_INT_OUT, ARG_FDPAIR_OUT,
    // Names and flags.
    ARG_OPEN_FLAGS, ARG_FD_FLAGS, ARG_PROT, ARG_MAP_FLAGS, ARG_MREMAP_FLAGS, ARG_MSYNC_FLAGS, ARG_MADVICE, ARG_SIGNAL, ARG_SIG_HOW,
    ARG_CLONE_FLAGS, ARG_FUTEX_OP, ARG_CLOCK, ARG_TIMER_FLAGS, ARG_WHENCE, ARG_IOCTL, ARG_RESOURCE, ARG_ACCESS, ARG_AT_FLAGS,
    ARG_UNLINK_FLAGS, ARG_RENAME_FLAGS, ARG_WAIT_OPTIONS, ARG_FCNTL, ARG_PRCTL, ARG_ARCH_PRCTL, ARG_ITIMER, ARG_RUSAGE_WHO,
    ARG_EPOLL_OP, ARG_RANDOM_FLAGS, ARG_STATX_MASK,
    // Structures behind a pointer.
    ARG_SIGSET, ARG_SIGSET_OUT, ARG_SIGACTION, ARG_SIGACTION_OUT, ARG_SIGSTACK, ARG_SIGSTACK_OUT,
    ARG_TIMESPEC, ARG_TIMESPEC_OUT, ARG_TIMESPEC2, ARG_TIMEVAL, ARG_TIMEVAL_OUT, ARG_ITIMERVAL, ARG_ITIMERVAL_OUT,
    ARG_ITIMERSPEC, ARG_ITIMERSPEC_OUT, ARG_FUTEX_TIMEOUT, ARG_RLIMIT, ARG_RLIMIT_OUT, ARG_STATUS_OUT, ARG_POLLFDS,
    ARG_STAT_PTR, ARG_STATX_PTR, ARG_CLONE_ARGS,
    // Of sockets: syscall/trace_socket.c. The length of an address is the next argument.
    ARG_SOCKET_FAMILY, ARG_SOCKET_TYPE, ARG_SOCKET_LEVEL, ARG_SOCKET_OPTION, ARG_SHUT_HOW, ARG_MSG_FLAGS,
    ARG_SOCKADDR, ARG_SOCKADDR_OUT, ARG_MSGHDR, ARG_MSGHDR_OUT, ARG_OPTION_OUT,
    ARG_KIND_COUNT
};
// clang-format on

struct syscall_entry {
    const char *name; // NULL: no such call in Linux
    syscall_fn fn;    // NULL: known by name, not supported
    uint8_t arg_count;
    uint8_t flags;   // SC_*
    uint8_t args[6]; // enum arg_kind
};
#define SC_FULL_FRAME 1   // needs the callee-saved registers in the frame: fork, clone, execve, rt_sigreturn
#define SC_HEX_RESULT 2   // the result is an address (mmap, brk)
#define SC_OCTAL_RESULT 4 // the result is a mode (umask)

#define SYSCALL_MAX 462
extern const struct syscall_entry syscall_table[SYSCALL_MAX]; // syscall/table.c, from syscall/table.h
// What entry.S calls: never NULL. Unsupported calls have sys_unsupported there; numbers from SYSCALL_MAX on are for it as well.
extern const syscall_fn syscall_fast[SYSCALL_MAX];

// A structure that grows from version to version: `size` is what the program knows of it, at least `known`. 0, -EFAULT, -E2BIG.
long copy_in_struct(void *to, size_t known, uaddr_t at, uint64_t size);

// From entry.S when thread.work has WORK_ENTRY bits: traces, counts, calls. The result is what goes into RAX.
long syscall_slow(struct trapframe *frame);
// Logs the call that thread.frame shows, once by name, and answers -ENOSYS.
long sys_unsupported(void);
void syscall_print_statistics(void); // at the end, when asked for
void syscall_init(void);             // options of the command line

// long sys_NAME(...) of every SYSCALL line.
#define SYSCALL_PARAMS_0 void
#define SYSCALL_PARAMS_1 uint64_t
#define SYSCALL_PARAMS_2 uint64_t, uint64_t
#define SYSCALL_PARAMS_3 uint64_t, uint64_t, uint64_t
#define SYSCALL_PARAMS_4 uint64_t, uint64_t, uint64_t, uint64_t
#define SYSCALL_PARAMS_5 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t
#define SYSCALL_PARAMS_6 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t
#define SYSCALL(nr, name, argc, flags, ...) long sys_##name(SYSCALL_PARAMS_##argc);
#define NOSYS(nr, name, argc, flags, ...)
#include "syscall/table.h"

#endif
