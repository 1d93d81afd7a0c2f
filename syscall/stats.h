// --stats and --missing-files: what a program asked of the kernel, printed at its end.
#ifndef SYSCALL_STATS_H
#define SYSCALL_STATS_H

#include "kernel/types.h"

bool stats_init(void); // false: no memory
void stats_count(uint64_t nr, long result, uint64_t cycles);
void stats_print(void);

void missing_files_init(void);  // from now on every path that is looked for in vain is remembered once
void missing_files_print(void); // nothing when missing_files_init was not called

#endif
