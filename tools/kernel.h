/*
 * The kernel's file, looked at before a machine is started for it.
 */
#pragma once

#include "tools/common.h"

/*
 * Dies when the file is not a kernel that can be booted with PVH, or when a machine with that much memory cannot hold it
 * and the initrd.
 */
void kernel_check(const char *path, uint64_t memory, uint64_t initrd_size);
