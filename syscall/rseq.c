// rseq(2).
#include "kernel/threads/rseq.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include <linux/rseq.h>

#define AREA_SIZE 32
#define AREA_ALIGN 32

static long unregister(struct thread *t, uint64_t area, uint32_t size, uint32_t flags, uint32_t signature)
{
    if (flags != RSEQ_FLAG_UNREGISTER || !t->rseq || t->rseq != area || size != AREA_SIZE)
        return -EINVAL;
    if (t->rseq_signature != signature)
        return -EPERM;
    const uint32_t cpu[2] = {0, (uint32_t)RSEQ_CPU_ID_UNINITIALIZED};
    if (copy_out_obj(area, &cpu) < 0)
        return -EFAULT;
    t->rseq = 0;
    t->rseq_signature = 0;
    return 0;
}

long sys_rseq(uint64_t area, uint64_t usize, uint64_t uflags, uint64_t usignature)
{
    struct thread *t = thread_current();
    uint32_t size = (uint32_t)usize, flags = (uint32_t)uflags, signature = (uint32_t)usignature;
    if (flags & RSEQ_FLAG_UNREGISTER)
        return unregister(t, area, size, flags, signature);
    if (flags)
        return -EINVAL;
    if (t->rseq) {
        if (t->rseq != area || size != AREA_SIZE)
            return -EINVAL;
        return t->rseq_signature != signature ? -EPERM : -EBUSY;
    }
    if (area % AREA_ALIGN || size != AREA_SIZE)
        return -EINVAL;
    if (!user_range_ok(area, AREA_SIZE))
        return -EFAULT;
    t->rseq = area;
    t->rseq_signature = signature;
    atomic_or(&t->work, WORK_RSEQ); // fills it in
    return 0;
}
