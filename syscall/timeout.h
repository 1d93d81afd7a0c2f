// Timeouts of the calls that wait for files, as absolute monotonic deadlines: NSEC_MAX means for ever, 0 not at all.
#ifndef SYSCALL_TIMEOUT_H
#define SYSCALL_TIMEOUT_H

#include "kernel/types.h"

nsec_t deadline_from_ms(int ms);                             // negative: for ever
long deadline_from_user(uaddr_t timespec, nsec_t *deadline); // 0: for ever. 0, -EFAULT, -EINVAL
long deadline_from_user_timeval(uaddr_t timeval, nsec_t *deadline);
// Linux's select and ppoll write back how much time was left; a call that is made again goes on with that. The call's result.
long deadline_left_to_user(uaddr_t timespec, nsec_t deadline, long result);
long deadline_left_to_user_timeval(uaddr_t timeval, nsec_t deadline, long result);

#endif
