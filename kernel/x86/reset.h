// Leaving the machine.
#ifndef KERNEL_X86_RESET_H
#define KERNEL_X86_RESET_H

#include "kernel/types.h"

void machine_reset(void) NORETURN; // at once, on any CPU, in any state

#endif
