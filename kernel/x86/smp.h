// Starting the other CPUs, and what passes between them.
#ifndef KERNEL_X86_SMP_H
#define KERNEL_X86_SMP_H

#include "kernel/types.h"

void smp_reserve(void); // very early: a page below 1 MiB where CPUs can begin
void smp_start(void);   // boot CPU: has the others started; does not wait for them
void smp_call_interrupt(void); // VECTOR_CALL
bool cpu_is_stopping(void);

#endif
