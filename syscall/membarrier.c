// membarrier(2): the interrupt that a call to another CPU is orders everything there.
#include "kernel/irq.h"
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "syscall/syscall.h"
#include <linux/membarrier.h>

static void no_op(void *arg)
{
}

#define MEMBARRIER_OFFERED                                                                                              \
    (MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |              \
     MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |                                    \
     MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)

long sys_membarrier(uint64_t command, uint64_t flags, uint64_t cpu)
{
    if (flags)
        return -EINVAL;
    switch ((int)command) {
    case MEMBARRIER_CMD_QUERY:
        return MEMBARRIER_OFFERED;
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: // nothing to prepare
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        return 0;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        cpu_call(sched_online_cpus(), no_op, NULL);
        return 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        cpu_call(READ_ONCE(process_current()->aspace->cpus), no_op, NULL);
        return 0;
    default:
        return -EINVAL;
    }
}
