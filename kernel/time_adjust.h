// Steering CLOCK_REALTIME, for adjtimex(2): a frequency error, and an offset that is worked off slowly. Nothing runs while there is
// neither. The correction is made ten times a second, so the vDSO needs to know nothing of it.
#ifndef KERNEL_TIME_ADJUST_H
#define KERNEL_TIME_ADJUST_H

#include "kernel/time.h"

#define TIME_TICK_DEFAULT 10000 // microseconds, as with 100 ticks a second

struct time_adjustment {
    nsec_t offset;    // still to be added: ADJ_OFFSET
    nsec_t one_shot;  // the same for adjtime(3)
    int64_t frequency; // parts per million, times 65536
    int64_t tick;      // microseconds
    int status;        // STA_*
    int64_t max_error, estimated_error, constant; // what a daemon notes
    int tai;
};
void time_adjustment_get(struct time_adjustment *out);
void time_adjustment_set(const struct time_adjustment *in);

#endif
