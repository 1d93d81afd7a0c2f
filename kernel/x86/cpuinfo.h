// What /proc/cpuinfo says about the processors, in Linux's words.
#ifndef KERNEL_X86_CPUINFO_H
#define KERNEL_X86_CPUINFO_H

#include "kernel/types.h"

struct cpu_identity {
    unsigned family, model, stepping, phys_bits, virt_bits, cache_kb;
    char vendor[13], brand[49];
};
void cpu_identity(struct cpu_identity *out);
struct cpu_cache {
    unsigned level, type, size, line, sets, ways; // type 1: data, 2: instructions, 3: both; bytes
};
bool cpu_cache(unsigned i, struct cpu_cache *out); // the i-th cache of a processor; false: there are no more
// The name of the i-th flag that the processor has, counting from *i; advances *i behind it. NULL: no more.
const char *cpu_flag_next(unsigned *i);

#endif
