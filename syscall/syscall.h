// The Linux ABI. Everything that knows system call numbers or the layout of the application's structures lives in this folder.
#ifndef SYSCALL_SYSCALL_H
#define SYSCALL_SYSCALL_H

#include "kernel/types.h"

struct trapframe;

typedef long (*syscall_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// How the trace prints an argument.
enum arg_kind {
    ARG_NONE, ARG_INT, ARG_UINT, ARG_HEX, ARG_PTR, ARG_STR /* path or other C string */, ARG_BUF /* its length is the next
    argument, or the result for reads */, ARG_OUTBUF, ARG_FD, ARG_ATFD, ARG_SIZE, ARG_OFF, ARG_MODE, ARG_OPEN_FLAGS, ARG_PROT, ARG_MAP_FLAGS,
    ARG_SIGNAL, ARG_SIGSET, ARG_TIMESPEC, ARG_STAT_PTR, ARG_STRV /* argv */, ARG_CLONE_FLAGS, ARG_FUTEX_OP, ARG_CLOCK, ARG_WHENCE,
    ARG_IOCTL, ARG_RESOURCE, ARG_PID,
};

struct syscall_entry {
    const char *name;
    syscall_fn fn;     // NULL: known by name, not supported
    uint8_t arg_count;
    uint8_t flags;     // SC_*
    uint8_t args[6];   // enum arg_kind
};
#define SC_FULL_FRAME 1 // needs the callee-saved registers in the frame: fork, clone, execve, rt_sigreturn
#define SC_HEX_RESULT 2 // the result is an address (mmap, brk)

#define SYSCALL_MAX 462
extern const struct syscall_entry syscall_table[SYSCALL_MAX]; // syscall/table.c, from syscall/table.h
extern const syscall_fn syscall_fast[SYSCALL_MAX];            // what entry.S calls: never NULL (unsupported ones log and -ENOSYS)

// From entry.S when thread.work has WORK_ENTRY bits: traces, counts, calls. The result is what goes into RAX.
long syscall_slow(struct trapframe *frame);
void syscall_print_statistics(void); // at the end, when asked for
void syscall_init(void);             // options of the command line

#endif
