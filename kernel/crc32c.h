// CRC-32C (Castagnoli), which file systems check their structures with. No state, no lock.
#ifndef KERNEL_CRC32C_H
#define KERNEL_CRC32C_H

#include "kernel/types.h"

// Goes on from `crc` with n bytes. Neither the start (usually ~0) nor the end is inverted here.
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

#endif
