// Partitions: GPT (UEFI specification 2.10, chapter 5) and the older MBR. Tables are read only, and trusted in nothing.
#ifndef KERNEL_PARTITION_H
#define KERNEL_PARTITION_H

#include "kernel/blockdev.h"

// Reads bytes of a device; 0 or -errno. offset and len are multiples of 512.
typedef int (*partition_read)(struct block_device *dev, uint64_t offset, void *buf, size_t len);
// Looks for a table on the device, once (a partition has none), and registers what it finds. May sleep.
void partition_scan(struct block_device *dev, partition_read read);
int partition_read_direct(struct block_device *dev, uint64_t offset, void *buf, size_t len); // by requests; small pieces

#endif
