// What /proc/cpuinfo says about the processors, in Linux's words.
#ifndef KERNEL_X86_CPUINFO_H
#define KERNEL_X86_CPUINFO_H

#include "kernel/types.h"

struct cpu_identity {
    unsigned family, model, stepping, phys_bits, virt_bits, cache_kb;
    char vendor[13], brand[49];
};
void cpu_identity(struct cpu_identity *out);
// The name of the i-th flag that the processor has, counting from *i; advances *i behind it. NULL: no more.
const char *cpu_flag_next(unsigned *i);

#endif
