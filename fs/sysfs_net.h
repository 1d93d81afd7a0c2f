// Network interfaces in /sys: fs/sysfs.c has the tree.
#ifndef FS_SYSFS_NET_H
#define FS_SYSFS_NET_H

#include "fs/procfs.h"

extern const struct proc_numbers sysfs_net_links; // of /sys/class/net
extern const struct proc_entry sysfs_virtual_entries[],
    sysfs_platform_entries[]; // of /sys/devices/virtual and platform

#endif
