// trace=syscalls: one line a call in the form of strace(1), to the log.
#ifndef SYSCALL_TRACE_H
#define SYSCALL_TRACE_H

#include "kernel/types.h"

struct trace_line; // the text of one call that is under way

// Before the call: prints what is known by now (the arguments before the first that the call fills in) into a line. Calls
// that do not return are logged at once. NULL: nothing more to do (also when there is no memory).
struct trace_line *trace_begin(uint64_t nr, const uint64_t args[6]);
// After it: the rest of the arguments and the result; logs and frees the line.
void trace_end(struct trace_line *line, const uint64_t args[6], long result);

// --- The parts, for trace.c and its tests ---

// Text that grows up to the size of its buffer; what does not fit is dropped, and the text then ends with "...".
struct text {
    char *buf;
    size_t size, len;
};
void text_add(struct text *t, const char *fmt, ...) PRINTF(2, 3);
// A bit mask by names: "A|B|0x400" ("0" when empty and `zero` is NULL, else `zero`).
struct name_value {
    const char *name;
    uint64_t value;
};
void text_flags(struct text *t, uint64_t value, const struct name_value *names, const char *zero);
void text_name(struct text *t, uint64_t value, const struct name_value *names, const char *prefix);

// How one kind of argument is printed. `i` is the argument's index; `result` the call's when `after` (the call is done).
bool trace_arg_is_output(unsigned kind); // filled in by the call
void trace_arg(struct text *t, unsigned kind, const uint64_t args[6], unsigned i, bool after, long result);
void trace_buffer(struct text *t, uint64_t addr, uint64_t len);                   // bytes as a string
void trace_iovec(struct text *t, uint64_t addr, uint64_t count, uint64_t shown); // `shown`: bytes that hold something
void trace_socket_arg(struct text *t, unsigned kind, const uint64_t args[6], unsigned i, long result); // trace_socket.c
void trace_result(struct text *t, unsigned flags, long result);
const char *trace_errno_name(int err);       // "ENOENT", or NULL
const char *trace_errno_text(int err);       // "No such file or directory"
const char *trace_signal_name(uint64_t sig); // "SIGINT", or NULL

// Flag tables (trace_names.c), ended by a NULL name.
#define TRACE_NAMES(T)                                                                                                 \
    T(open_flags)                                                                                                      \
    T(prot)                                                                                                            \
    T(map_flags) T(mremap_flags) T(msync_flags) T(madvice) T(sig_how) T(clone_flags) T(futex_op) T(clock)              \
        T(timer_flags) T(whence) T(ioctl) T(resource) T(access) T(at_flags) T(unlink_flags) T(rename_flags)            \
            T(wait_options) T(fcntl) T(prctl) T(arch_prctl) T(itimer) T(rusage_who) T(epoll_op) T(random_flags)        \
                T(statx_mask) T(sa_flags) T(ss_flags) T(poll_events) T(file_type)
#define DECLARE_NAMES(name) extern const struct name_value names_##name[];
TRACE_NAMES(DECLARE_NAMES)
#undef DECLARE_NAMES

#endif
