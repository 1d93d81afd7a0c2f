// The doors between application and kernel (entry.S) and what stands behind them.
#ifndef KERNEL_X86_ENTRY_H
#define KERNEL_X86_ENTRY_H

#include "kernel/types.h"

struct trapframe;

// What syscall_fast[] holds for calls marked SC_FULL_FRAME: completes the frame with the callee-saved registers, calls
// syscall_table[number].fn, and returns to the application with every register as the frame has it then.
long syscall_full_frame(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// trap.c, called by entry.S. Interrupts are off.
void trap_page_fault(struct trapframe *f); // the application's; its frame has no callee-saved registers. May return with interrupts on
void trap_from_user(struct trapframe *f);
void trap_from_kernel(struct trapframe *f);
void trap_paranoid(struct trapframe *f); // NMI, #DF, #MC: on a stack of their own, anything may have been interrupted
void exit_to_user(struct trapframe *f);  // with work to do: until there is none
void exit_bad_rip(struct trapframe *f);  // the frame's RIP is not the application's: SIGSEGV

// An interrupt, by its vector; `user`: it hit the application (irq.c).
void irq_dispatch(unsigned vector, bool user);

// ELF-like table in section .ex_table: an instruction that may fault on a user address, and where to go on then.
struct ex_entry {
    uint64_t rip, fixup;
};
uint64_t ex_table_find(uint64_t rip); // 0: none

#endif
