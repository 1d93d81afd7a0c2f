// Personal settings of threads and processes: prctl(2), arch_prctl(2), personality(2).
#include "fs/vfs.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
#include "syscall/credentials.h"
#include "syscall/syscall.h"
#include <asm/prctl.h>
#include <linux/capability.h>
#include <linux/personality.h>
#include <linux/prctl.h>

static long set_name(uint64_t name)
{
    char buf[16] = {0};
    size_t n = copy_in_partial(buf, name, sizeof buf - 1); // what comes behind is not looked at
    if (n < sizeof buf - 1 && strnlen(buf, n) == n)
        return -EFAULT;
    size_t len = strnlen(buf, n);
    memset(buf + len, 0, sizeof buf - len);
    memcpy(thread_current()->name, buf, sizeof buf);
    return 0;
}

static long out_int(uint64_t to, int value)
{
    return copy_out_obj(to, &value);
}

// How late sleeps of the thread may end. They end as soon as they can all the same, so this is a number to be kept.
#define TIMER_SLACK_DEFAULT 50000

static long timer_slack(struct thread *t, bool set, uint64_t value)
{
    if (!set)
        return (long)(t->timer_slack ? t->timer_slack : TIMER_SLACK_DEFAULT);
    t->timer_slack = (int64_t)value > 0 ? value : t->timer_slack_default;
    return 0;
}

// Speculation: as on a processor that needs no mitigation, and so offers no control.
static long speculation(bool set, uint64_t which)
{
    if (which > PR_SPEC_L1D_FLUSH)
        return -ENODEV;
    if (!set)
        return PR_SPEC_NOT_AFFECTED;
    return which == PR_SPEC_L1D_FLUSH ? -EPERM : -ENXIO;
}

static long huge_pages(struct process *p, bool set, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    if (b || c || d || (!set && a))
        return -EINVAL;
    if (!set)
        return p->aspace->no_huge;
    p->aspace->no_huge = a;
    return 0;
}

long sys_prctl(uint64_t uoption, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    int option = (int)uoption; // the rest does not count
    switch (option) {
    case PR_SET_NAME:
        return set_name(a);
    case PR_GET_NAME:
        return copy_out(a, t->name, sizeof t->name);
    case PR_SET_PDEATHSIG:
        if (a > SIGNAL_COUNT)
            return -EINVAL;
        t->parent_death_signal = (int)a;
        return 0;
    case PR_GET_PDEATHSIG:
        return out_int(a, t->parent_death_signal);
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_GET_NO_NEW_PRIVS:
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_CAP_AMBIENT:
        return prctl_credentials(option, a, b, c, d);
    case PR_GET_TIMING:
        return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
        return a == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
    case PR_GET_TSC:
        return out_int(a, PR_TSC_ENABLE);
    case PR_SET_TSC:
        return a == PR_TSC_ENABLE ? 0 : -EINVAL;
    case PR_SET_CHILD_SUBREAPER:
        p->subreaper = a;
        return 0;
    case PR_GET_CHILD_SUBREAPER:
        return out_int(a, p->subreaper);
    case PR_GET_TID_ADDRESS:
        return copy_out_obj(a, &t->clear_tid);
    case PR_GET_TIMERSLACK:
    case PR_SET_TIMERSLACK:
        return timer_slack(t, option == PR_SET_TIMERSLACK, a);
    case PR_GET_THP_DISABLE:
    case PR_SET_THP_DISABLE:
        return huge_pages(p, option == PR_SET_THP_DISABLE, a, b, c, d);
    case PR_GET_SPECULATION_CTRL:
        return b || c || d ? -EINVAL : speculation(false, a);
    case PR_SET_SPECULATION_CTRL:
        return c || d ? -EINVAL : speculation(true, a);
    case PR_SET_MM:
        return capable(CAP_SYS_RESOURCE) ? -EINVAL : -EPERM;
    default: // seccomp among them: as a kernel without it
        return -EINVAL;
    }
}

long sys_arch_prctl(uint64_t option, uint64_t addr)
{
    uint64_t base;
    switch ((int)option) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
        if (addr >= USER_END)
            return -EPERM;
        if ((int)option == ARCH_SET_FS)
            arch_set_fs_base(addr);
        else
            arch_set_gs_base(addr);
        return 0;
    case ARCH_GET_FS:
        base = arch_get_fs_base();
        return copy_out_obj(addr, &base);
    case ARCH_GET_GS:
        base = arch_get_gs_base();
        return copy_out_obj(addr, &base);
    case ARCH_GET_CPUID:
        return 1; // it does not fault
    case ARCH_SET_CPUID:
        return -ENODEV;
    default:
        return -EINVAL;
    }
}

long sys_personality(uint64_t persona)
{
    struct process *p = process_current();
    uint32_t old = p->personality, new = (uint32_t)persona;
    if (new == 0xffffffff)
        return old;
    if (new & ~(uint32_t)ADDR_NO_RANDOMIZE) // other systems' ways, and those of 32-bit programs
        return -EINVAL;
    p->personality = new;
    return old;
}
