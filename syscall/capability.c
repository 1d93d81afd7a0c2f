// Capabilities of the process: capget(2), capset(2), and prctl(2) as far as it is about credentials. capabilities(7).
#include "syscall/credentials.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

static bool capable(unsigned capability)
{
    return process_current()->cred.cap_effective >> capability & 1;
}

// --- Capabilities: two 32-bit halves of each set, in the versions 2 and 3 of the interface; version 1 has the lower only ---

static int capability_halves(uint64_t uheader, int *pid)
{
    struct __user_cap_header_struct h;
    if (copy_in_obj(&h, uheader) < 0)
        return -EFAULT;
    *pid = h.pid;
    if (h.version == _LINUX_CAPABILITY_VERSION_1)
        return 1;
    if (h.version == _LINUX_CAPABILITY_VERSION_2 || h.version == _LINUX_CAPABILITY_VERSION_3)
        return 2;
    h.version = _LINUX_CAPABILITY_VERSION_3;
    return copy_out_obj(uheader, &h) < 0 ? -EFAULT : -EINVAL;
}

long sys_capget(uint64_t uheader, uint64_t udata)
{
    struct __user_cap_data_struct data[2];
    int pid, halves = capability_halves(uheader, &pid);
    if (halves < 0 || !udata)
        return halves < 0 && (halves != -EINVAL || udata) ? halves : 0;
    if (pid < 0)
        return -EINVAL;
    struct process *p = process_find_task(pid ? pid : process_current()->pid);
    if (!p)
        return -ESRCH;
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(p->cred.cap_effective >> 32 * i);
        data[i].permitted = (uint32_t)(p->cred.cap_permitted >> 32 * i);
        data[i].inheritable = (uint32_t)(p->cred.cap_inheritable >> 32 * i);
    }
    process_unref(p);
    return copy_out(udata, data, (size_t)halves * sizeof data[0]);
}

long sys_capset(uint64_t uheader, uint64_t udata)
{
    struct credentials c = process_current()->cred;
    struct __user_cap_data_struct data[2] = {{0}};
    int pid, halves = capability_halves(uheader, &pid);
    if (halves < 0)
        return halves;
    if (pid && pid != thread_current()->tid)
        return -EPERM;
    if (copy_in(data, udata, (size_t)halves * sizeof data[0]) < 0)
        return -EFAULT;
    const uint64_t all = (2UL << CAP_LAST_CAP) - 1; // what else is asked for is ignored
    uint64_t effective = (data[0].effective | (uint64_t)data[1].effective << 32) & all;
    uint64_t permitted = (data[0].permitted | (uint64_t)data[1].permitted << 32) & all;
    uint64_t inheritable = (data[0].inheritable | (uint64_t)data[1].inheritable << 32) & all;
    if (!capable(CAP_SETPCAP) && (inheritable & ~(c.cap_inheritable | c.cap_permitted)))
        return -EPERM;
    if ((inheritable & ~(c.cap_inheritable | c.cap_bounding)) || (permitted & ~c.cap_permitted) || (effective & ~permitted))
        return -EPERM;
    c.cap_effective = effective;
    c.cap_permitted = permitted;
    c.cap_inheritable = inheritable;
    c.cap_ambient &= permitted & inheritable;
    credentials_commit(&c);
    return 0;
}

// --- prctl(2) ---

static long set_securebits(struct credentials *c, uint64_t bits)
{
    uint32_t locked = (c->securebits & SECURE_ALL_LOCKS) >> 1;
    if ((locked & (c->securebits ^ bits)) || (c->securebits & SECURE_ALL_LOCKS & ~bits) ||
        (bits & ~(uint64_t)(SECURE_ALL_LOCKS | SECURE_ALL_BITS)) || !capable(CAP_SETPCAP))
        return -EPERM;
    c->securebits = (uint32_t)bits;
    return 0;
}

static long set_keep_caps(struct credentials *c, uint64_t keep)
{
    if (keep > 1)
        return -EINVAL;
    if (c->securebits & SECBIT_KEEP_CAPS_LOCKED)
        return -EPERM;
    c->securebits = (c->securebits & ~(uint32_t)SECBIT_KEEP_CAPS) | (keep ? SECBIT_KEEP_CAPS : 0);
    return 0;
}

static long drop_bounding(struct credentials *c, uint64_t capability)
{
    if (!capable(CAP_SETPCAP))
        return -EPERM;
    if (capability > CAP_LAST_CAP)
        return -EINVAL;
    c->cap_bounding &= ~(1UL << capability);
    return 0;
}

static long set_ambient(struct credentials *c, uint64_t op, uint64_t capability, bool others)
{
    if (op == PR_CAP_AMBIENT_CLEAR_ALL) {
        if (capability || others)
            return -EINVAL;
        c->cap_ambient = 0;
        return 0;
    }
    if (capability > CAP_LAST_CAP || others)
        return -EINVAL;
    uint64_t bit = 1UL << capability;
    switch (op) {
    case PR_CAP_AMBIENT_IS_SET:
        return (c->cap_ambient & bit) != 0;
    case PR_CAP_AMBIENT_LOWER:
        c->cap_ambient &= ~bit;
        return 0;
    case PR_CAP_AMBIENT_RAISE:
        if (!(c->cap_permitted & c->cap_inheritable & bit) || (c->securebits & SECBIT_NO_CAP_AMBIENT_RAISE))
            return -EPERM;
        c->cap_ambient |= bit;
        return 0;
    default:
        return -EINVAL;
    }
}

long prctl_credentials(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct process *p = process_current();
    struct credentials new = p->cred;
    long result;
    switch (option) {
    case PR_GET_DUMPABLE:
        return p->dumpable;
    case PR_SET_DUMPABLE:
        if (a > 1)
            return -EINVAL;
        p->dumpable = (uint8_t)a;
        return 0;
    case PR_GET_NO_NEW_PRIVS:
        return a || b || c || d ? -EINVAL : new.no_new_privs;
    case PR_SET_NO_NEW_PRIVS:
        result = a != 1 || b || c || d ? -EINVAL : 0;
        new.no_new_privs = true;
        break;
    case PR_GET_KEEPCAPS:
        return (new.securebits & SECBIT_KEEP_CAPS) != 0;
    case PR_SET_KEEPCAPS:
        result = set_keep_caps(&new, a);
        break;
    case PR_GET_SECUREBITS:
        return new.securebits;
    case PR_SET_SECUREBITS:
        result = set_securebits(&new, a);
        break;
    case PR_CAPBSET_READ:
        return a > CAP_LAST_CAP ? -EINVAL : (long)(new.cap_bounding >> a & 1);
    case PR_CAPBSET_DROP:
        result = drop_bounding(&new, a);
        break;
    case PR_CAP_AMBIENT:
        result = set_ambient(&new, a, b, c || d);
        break;
    default:
        return -EINVAL;
    }
    if (result == 0)
        credentials_commit(&new);
    return result;
}
