/*
 * The names of the kernel's functions, for backtraces. The table is made at link time by scripts/ksyms.sh.
 */
#pragma once

#include <stdint.h>

/*
 * The name of the function that holds addr, and in *offset (may be NULL) how far into it addr lies.
 * NULL when addr is below the first function or the kernel was linked without a table; an address behind
 * the last function counts to it. Takes no lock, allocates nothing: usable in a panic.
 */
const char *ksym_lookup(uint64_t addr, uint64_t *offset);
