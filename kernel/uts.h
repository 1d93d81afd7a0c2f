// The names of the machine and of the system: uname(2), sethostname(2), /proc/sys/kernel.
#ifndef KERNEL_UTS_H
#define KERNEL_UTS_H

#include "kernel/types.h"
#include <linux/utsname.h> // struct new_utsname

// The Linux whose ABI programs find here: they ask for features by its number.
#define UTS_RELEASE "6.1.0-knarr"
#define UTS_VERSION "#1 SMP PREEMPT_DYNAMIC Knarr " KNARR_VERSION

void uts_get(struct new_utsname *out);
// The first `len` bytes of the name. 0, or -EINVAL when there are more than __NEW_UTS_LEN (64).
int uts_set_nodename(const char *name, size_t len);
int uts_set_domainname(const char *name, size_t len);

#endif
