// The older table of CPUs and interrupt controllers (Intel MultiProcessor Specification 1.4), for machines without ACPI.
#ifndef KERNEL_X86_MPTABLE_H
#define KERNEL_X86_MPTABLE_H

#include "kernel/types.h"

struct machine_topology;

// From the MP table, or the number of CPUs that QEMU's fw_cfg tells. False: neither is there.
bool mptable_find_topology(struct machine_topology *t);

// The pure parts, for tests. The floating pointer in a piece of memory: offset, or -1.
long mptable_find_pointer(const void *memory, size_t len);
bool mptable_parse(const void *table, size_t len, struct machine_topology *t); // false: malformed or no CPU

#endif
