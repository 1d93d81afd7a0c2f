// When changes are written: /proc/sys/vm/dirty_*. Read without a lock, at each decision.
#ifndef FS_CACHE_SETTINGS_H
#define FS_CACHE_SETTINGS_H

#include "kernel/types.h"

struct dirty_settings {
    uint32_t background_ratio,
        ratio; // percent of free memory and cache: the thread starts to write, writers have to wait
    uint64_t background_bytes, bytes; // the same; not 0: instead of the ratio
    uint32_t expire;                  // hundredths of a second: changes of this age are written
    uint32_t interval;                // not 0: the thread looks for such changes
};
extern struct dirty_settings dirty_settings;
void cache_wake_writer(void); // they were changed

#endif
