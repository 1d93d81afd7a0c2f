// Users, groups and capabilities of the process. credentials(7), capabilities(7).
#include "kernel/process/process.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/securebits.h>

#define UNCHANGED ((uint32_t)-1)

static struct credentials *credentials(void)
{
    return &process_current()->cred;
}

static bool capable(unsigned capability)
{
    return credentials()->cap_effective >> capability & 1;
}

long sys_getuid(void)
{
    return credentials()->uid;
}

long sys_geteuid(void)
{
    return credentials()->euid;
}

long sys_getgid(void)
{
    return credentials()->gid;
}

long sys_getegid(void)
{
    return credentials()->egid;
}

// Capabilities follow the user: lost with the last root ID, effective with an effective one.
static void users_changed(const struct credentials *old)
{
    struct credentials *c = credentials();
    bool had = !old->uid || !old->euid || !old->suid, has = !c->uid || !c->euid || !c->suid;
    if (c->securebits & SECBIT_NO_SETUID_FIXUP)
        return;
    if (had && !has) {
        if (!(c->securebits & SECBIT_KEEP_CAPS))
            c->cap_permitted = 0;
        c->cap_effective = c->cap_ambient = 0;
    }
    if (!old->euid && c->euid)
        c->cap_effective = 0;
    if (old->euid && !c->euid)
        c->cap_effective = c->cap_permitted;
}

long sys_setuid(uint64_t uid)
{
    struct credentials *c = credentials(), old = *c;
    uint32_t id = (uint32_t)uid;
    if (id == UNCHANGED)
        return -EINVAL;
    if (capable(CAP_SETUID))
        c->uid = c->suid = id;
    else if (id != c->uid && id != c->suid)
        return -EPERM;
    c->euid = c->fsuid = id;
    users_changed(&old);
    return 0;
}

long sys_setgid(uint64_t gid)
{
    struct credentials *c = credentials();
    uint32_t id = (uint32_t)gid;
    if (id == UNCHANGED)
        return -EINVAL;
    if (capable(CAP_SETGID))
        c->gid = c->sgid = id;
    else if (id != c->gid && id != c->sgid)
        return -EPERM;
    c->egid = c->fsgid = id;
    return 0;
}

// May an ID become `id`, without privilege: only one that it has.
static bool one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t c)
{
    return id == UNCHANGED || id == a || id == b || id == c;
}

long sys_setreuid(uint64_t ruid, uint64_t euid)
{
    struct credentials *c = credentials(), old = *c;
    uint32_t r = (uint32_t)ruid, e = (uint32_t)euid;
    if (!capable(CAP_SETUID) && (!one_of(r, c->uid, c->euid, c->uid) || !one_of(e, c->uid, c->euid, c->suid)))
        return -EPERM;
    if (r != UNCHANGED)
        c->uid = r;
    if (e != UNCHANGED)
        c->euid = e;
    if (r != UNCHANGED || (e != UNCHANGED && e != old.uid))
        c->suid = c->euid;
    c->fsuid = c->euid;
    users_changed(&old);
    return 0;
}

long sys_setregid(uint64_t rgid, uint64_t egid)
{
    struct credentials *c = credentials(), old = *c;
    uint32_t r = (uint32_t)rgid, e = (uint32_t)egid;
    if (!capable(CAP_SETGID) && (!one_of(r, c->gid, c->egid, c->gid) || !one_of(e, c->gid, c->egid, c->sgid)))
        return -EPERM;
    if (r != UNCHANGED)
        c->gid = r;
    if (e != UNCHANGED)
        c->egid = e;
    if (r != UNCHANGED || (e != UNCHANGED && e != old.gid))
        c->sgid = c->egid;
    c->fsgid = c->egid;
    return 0;
}

long sys_setresuid(uint64_t ruid, uint64_t euid, uint64_t suid)
{
    struct credentials *c = credentials(), old = *c;
    uint32_t r = (uint32_t)ruid, e = (uint32_t)euid, s = (uint32_t)suid;
    if (!capable(CAP_SETUID) && (!one_of(r, c->uid, c->euid, c->suid) || !one_of(e, c->uid, c->euid, c->suid) ||
                                 !one_of(s, c->uid, c->euid, c->suid)))
        return -EPERM;
    if (r != UNCHANGED)
        c->uid = r;
    if (e != UNCHANGED)
        c->euid = e;
    if (s != UNCHANGED)
        c->suid = s;
    c->fsuid = c->euid;
    users_changed(&old);
    return 0;
}

long sys_setresgid(uint64_t rgid, uint64_t egid, uint64_t sgid)
{
    struct credentials *c = credentials();
    uint32_t r = (uint32_t)rgid, e = (uint32_t)egid, s = (uint32_t)sgid;
    if (!capable(CAP_SETGID) && (!one_of(r, c->gid, c->egid, c->sgid) || !one_of(e, c->gid, c->egid, c->sgid) ||
                                 !one_of(s, c->gid, c->egid, c->sgid)))
        return -EPERM;
    if (r != UNCHANGED)
        c->gid = r;
    if (e != UNCHANGED)
        c->egid = e;
    if (s != UNCHANGED)
        c->sgid = s;
    c->fsgid = c->egid;
    return 0;
}

static long three_out(uint64_t a, uint32_t va, uint64_t b, uint32_t vb, uint64_t c, uint32_t vc)
{
    return copy_out_obj(a, &va) < 0 || copy_out_obj(b, &vb) < 0 || copy_out_obj(c, &vc) < 0 ? -EFAULT : 0;
}

long sys_getresuid(uint64_t r, uint64_t e, uint64_t s)
{
    const struct credentials *c = credentials();
    return three_out(r, c->uid, e, c->euid, s, c->suid);
}

long sys_getresgid(uint64_t r, uint64_t e, uint64_t s)
{
    const struct credentials *c = credentials();
    return three_out(r, c->gid, e, c->egid, s, c->sgid);
}

// The result is the ID before, whether it was changed or not: setfsuid(2).
long sys_setfsuid(uint64_t uid)
{
    struct credentials *c = credentials();
    uint32_t old = c->fsuid, id = (uint32_t)uid;
    if (id != UNCHANGED && (capable(CAP_SETUID) || one_of(id, c->uid, c->euid, c->suid) || id == c->fsuid))
        c->fsuid = id;
    return old;
}

long sys_setfsgid(uint64_t gid)
{
    struct credentials *c = credentials();
    uint32_t old = c->fsgid, id = (uint32_t)gid;
    if (id != UNCHANGED && (capable(CAP_SETGID) || one_of(id, c->gid, c->egid, c->sgid) || id == c->fsgid))
        c->fsgid = id;
    return old;
}

long sys_getgroups(uint64_t size, uint64_t list)
{
    const struct credentials *c = credentials();
    int n = (int)size;
    if (n < 0 || (n && (unsigned)n < c->group_count))
        return -EINVAL;
    if (n && copy_out(list, c->groups, c->group_count * sizeof c->groups[0]) < 0)
        return -EFAULT;
    return c->group_count;
}

long sys_setgroups(uint64_t size, uint64_t list)
{
    struct credentials *c = credentials();
    uint32_t groups[NGROUPS];
    if (!capable(CAP_SETGID))
        return -EPERM;
    if ((uint32_t)size > NGROUPS)
        return -EINVAL;
    unsigned n = (unsigned)size;
    if (copy_in(groups, list, n * sizeof groups[0]) < 0)
        return -EFAULT;
    for (unsigned i = 0; i < n; i++)
        c->groups[i] = groups[i];
    c->group_count = n;
    return 0;
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
    if (halves < 0)
        return halves == -EINVAL && !udata ? 0 : halves;
    if (pid < 0)
        return -EINVAL;
    struct process *p = process_find(pid ? pid : process_current()->pid);
    if (!p)
        return -ESRCH;
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(p->cred.cap_effective >> 32 * i);
        data[i].permitted = (uint32_t)(p->cred.cap_permitted >> 32 * i);
        data[i].inheritable = (uint32_t)(p->cred.cap_inheritable >> 32 * i);
    }
    process_unref(p);
    return udata ? copy_out(udata, data, (size_t)halves * sizeof data[0]) : 0;
}

long sys_capset(uint64_t uheader, uint64_t udata)
{
    struct credentials *c = credentials();
    struct __user_cap_data_struct data[2] = {{0}};
    int pid, halves = capability_halves(uheader, &pid);
    if (halves < 0)
        return halves;
    if (pid && pid != process_current()->pid)
        return -EPERM;
    if (copy_in(data, udata, (size_t)halves * sizeof data[0]) < 0)
        return -EFAULT;
    uint64_t effective = data[0].effective | (uint64_t)data[1].effective << 32;
    uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    uint64_t inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    uint64_t addable = c->cap_inheritable | (capable(CAP_SETPCAP) ? c->cap_bounding : 0) | c->cap_permitted;
    if ((permitted & ~c->cap_permitted) || (effective & ~permitted) || (inheritable & ~addable))
        return -EPERM;
    c->cap_effective = effective;
    c->cap_permitted = permitted;
    c->cap_inheritable = inheritable;
    c->cap_ambient &= permitted & inheritable;
    return 0;
}
