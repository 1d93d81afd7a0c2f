// Where the kernel was: stack frames through the chain of frame pointers, with the names of functions.
#ifndef KERNEL_X86_BACKTRACE_H
#define KERNEL_X86_BACKTRACE_H

#include "kernel/types.h"

struct trapframe;

void backtrace_print(uint64_t rip, uint64_t rbp); // to the log
void backtrace_print_registers(const struct trapframe *f);
void backtrace_print_caller(const struct trapframe *f); // when RIP is nowhere: who called it, as the stack's top tells
// panic() for a place that is not its caller's.
void panic_at(uint64_t rip, uint64_t rbp, const char *fmt, ...) PRINTF(3, 4) NORETURN;

#endif
