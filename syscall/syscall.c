// System calls off the fast path: traced and counted calls, calls that are not supported, and the options for both. The fast
// path is entry.S alone, which calls through syscall_fast and never comes here.
#include "syscall/syscall.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include "syscall/stats.h"
#include "syscall/trace.h"
#include <asm/unistd.h>

static bool tracing, counting;

long syscall_slow(struct trapframe *frame) {
    uint64_t nr = frame->error_code;
    uint64_t args[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
    // Not syscall_fast: the frame is complete already.
    syscall_fn fn = nr < SYSCALL_MAX ? syscall_table[nr].fn : NULL;
    if (!fn)
        fn = (syscall_fn)(void (*)(void))sys_unsupported;
    struct trace_line *line = tracing ? trace_begin(nr, args) : NULL;
    uint64_t start = counting ? time_cycles() : 0;
    if (counting && (nr == __NR_exit || nr == __NR_exit_group)) // they do not come back
        stats_count(nr, 0, 0);

    long result = fn(args[0], args[1], args[2], args[3], args[4], args[5]);

    if (counting)
        stats_count(nr, result, time_cycles() - start);
    if (line)
        trace_end(line, args, result);
    return result;
}

// Numbers without a name are remembered one by one, as many as fit: a program that tries them all need not fill the log.
static bool first_time_unknown(uint64_t nr) {
    static uint64_t seen[8];
    static uint32_t count;
    uint32_t n = MIN(READ_ONCE(count), (uint32_t)ARRAY_SIZE(seen));
    for (uint32_t i = 0; i < n; i++)
        if (seen[i] == nr)
            return false;
    if (n == ARRAY_SIZE(seen))
        return false;
    uint32_t slot = atomic_add(&count, 1);
    if (slot >= ARRAY_SIZE(seen))
        return false;
    seen[slot] = nr;
    return true;
}

long sys_unsupported(void) {
    static uint64_t seen[DIV_ROUND_UP(SYSCALL_MAX, 64)];
    uint64_t nr = thread_current()->frame->error_code;

    if (nr < SYSCALL_MAX && syscall_table[nr].name) {
        uint64_t bit = 1UL << (nr % 64);
        if (!(atomic_or(&seen[nr / 64], bit) & bit))
            log_warn("%s: system call %s (%lu) is not supported", thread_current()->name, syscall_table[nr].name,
                     (unsigned long)nr);
    } else if (first_time_unknown(nr)) {
        log_warn("%s: there is no system call %lu", thread_current()->name, (unsigned long)nr);
    }
    return -ENOSYS;
}

void syscall_print_statistics(void) {
    if (counting)
        stats_print();
    missing_files_print();
}

void syscall_init(void) {
    const char *trace = cmdline_get("trace");
    if (trace && !strcmp(trace, "syscalls"))
        tracing = true;
    if (cmdline_get("stats"))
        counting = stats_init();
    if (cmdline_get("missing-files"))
        missing_files_init();
    if (tracing || counting CHECKED(|| true))
        thread_initial_work |= WORK_TRACE;
    machine_exit_hook = syscall_print_statistics;
}
