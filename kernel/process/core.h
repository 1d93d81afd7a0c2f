// Core dumps: stopping the threads of a process that dies by a core signal, while its image is written. core(5).
// Lock: process.signal_lock.
#ifndef KERNEL_CORE_H
#define KERNEL_CORE_H

#include "kernel/process/signal.h"
#include "kernel/types.h"

struct process;
struct thread;

#define CORE_PATTERN_SIZE 128    // of /proc/sys/kernel/core_pattern, with its NUL
#define CORE_FILTER_DEFAULT 0x33 // /proc/PID/coredump_filter: anonymous memory, ELF headers, huge pages
#define CORE_FILTER_MASK 0x1ff
#define CORE_LIMIT_LEAST 4096 // a smaller RLIMIT_CORE means none

extern uint8_t core_uses_pid; // /proc/sys/kernel/core_uses_pid
void core_pattern_get(char pattern[CORE_PATTERN_SIZE]);
int core_pattern_set(const char *pattern, size_t len); // 0 or -EINVAL: too long

// Writes the file; all other threads of the current process stand still, with their registers saved. True: there is a file.
// NULL: nobody can.
extern bool (*core_write_hook)(int sig, const siginfo_t *info);

// The current process dies by the signal: ends it, with a core dump when its limits and rights allow one.
void core_exit(int sig, const siginfo_t *info) NORETURN;
void core_park(void); // by a thread that is to exit while core_dumper is set: stands still until the dump is made

#endif
