// Users and groups of the process. credentials(7); what a change of users does to capabilities(7).
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
static void follow_users(struct credentials *new)
{
    const struct credentials *old = credentials();
    bool had = !old->uid || !old->euid || !old->suid, has = !new->uid || !new->euid || !new->suid;
    if (new->securebits & SECBIT_NO_SETUID_FIXUP)
        return;
    if (had && !has) {
        if (!(new->securebits & SECBIT_KEEP_CAPS))
            new->cap_permitted = new->cap_effective = 0;
        new->cap_ambient = 0;
    }
    if (!old->euid && new->euid)
        new->cap_effective = 0;
    if (old->euid && !new->euid)
        new->cap_effective = new->cap_permitted;
}

static long commit_users(struct credentials *new)
{
    new->fsuid = new->euid;
    follow_users(new);
    credentials_commit(new);
    return 0;
}

static long commit_groups(struct credentials *new)
{
    new->fsgid = new->egid;
    credentials_commit(new);
    return 0;
}

long sys_setuid(uint64_t uid)
{
    struct credentials c = *credentials();
    uint32_t id = (uint32_t)uid;
    if (id == UNCHANGED)
        return -EINVAL;
    if (capable(CAP_SETUID))
        c.uid = c.suid = id;
    else if (id != c.uid && id != c.suid)
        return -EPERM;
    c.euid = id;
    return commit_users(&c);
}

long sys_setgid(uint64_t gid)
{
    struct credentials c = *credentials();
    uint32_t id = (uint32_t)gid;
    if (id == UNCHANGED)
        return -EINVAL;
    if (capable(CAP_SETGID))
        c.gid = c.sgid = id;
    else if (id != c.gid && id != c.sgid)
        return -EPERM;
    c.egid = id;
    return commit_groups(&c);
}

// May an ID become `id`, without privilege: only one that it has.
static bool one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t c)
{
    return id == UNCHANGED || id == a || id == b || id == c;
}

long sys_setreuid(uint64_t ruid, uint64_t euid)
{
    struct credentials c = *credentials();
    uint32_t r = (uint32_t)ruid, e = (uint32_t)euid, old = c.uid;
    if (!capable(CAP_SETUID) && (!one_of(r, c.uid, c.euid, c.uid) || !one_of(e, c.uid, c.euid, c.suid)))
        return -EPERM;
    if (r != UNCHANGED)
        c.uid = r;
    if (e != UNCHANGED)
        c.euid = e;
    if (r != UNCHANGED || (e != UNCHANGED && e != old))
        c.suid = c.euid;
    return commit_users(&c);
}

long sys_setregid(uint64_t rgid, uint64_t egid)
{
    struct credentials c = *credentials();
    uint32_t r = (uint32_t)rgid, e = (uint32_t)egid, old = c.gid;
    if (!capable(CAP_SETGID) && (!one_of(r, c.gid, c.egid, c.gid) || !one_of(e, c.gid, c.egid, c.sgid)))
        return -EPERM;
    if (r != UNCHANGED)
        c.gid = r;
    if (e != UNCHANGED)
        c.egid = e;
    if (r != UNCHANGED || (e != UNCHANGED && e != old))
        c.sgid = c.egid;
    return commit_groups(&c);
}

long sys_setresuid(uint64_t ruid, uint64_t euid, uint64_t suid)
{
    struct credentials c = *credentials();
    uint32_t r = (uint32_t)ruid, e = (uint32_t)euid, s = (uint32_t)suid;
    if (!capable(CAP_SETUID) &&
        (!one_of(r, c.uid, c.euid, c.suid) || !one_of(e, c.uid, c.euid, c.suid) || !one_of(s, c.uid, c.euid, c.suid)))
        return -EPERM;
    if (r != UNCHANGED)
        c.uid = r;
    if (e != UNCHANGED)
        c.euid = e;
    if (s != UNCHANGED)
        c.suid = s;
    return commit_users(&c);
}

long sys_setresgid(uint64_t rgid, uint64_t egid, uint64_t sgid)
{
    struct credentials c = *credentials();
    uint32_t r = (uint32_t)rgid, e = (uint32_t)egid, s = (uint32_t)sgid;
    if (!capable(CAP_SETGID) &&
        (!one_of(r, c.gid, c.egid, c.sgid) || !one_of(e, c.gid, c.egid, c.sgid) || !one_of(s, c.gid, c.egid, c.sgid)))
        return -EPERM;
    if (r != UNCHANGED)
        c.gid = r;
    if (e != UNCHANGED)
        c.egid = e;
    if (s != UNCHANGED)
        c.sgid = s;
    return commit_groups(&c);
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

// Of the capabilities, those that are about files follow the file system's user.
#define FILE_CAPABILITIES                                                                                              \
    (1UL << CAP_CHOWN | 1UL << CAP_DAC_OVERRIDE | 1UL << CAP_DAC_READ_SEARCH | 1UL << CAP_FOWNER | 1UL << CAP_FSETID | \
     1UL << CAP_LINUX_IMMUTABLE | 1UL << CAP_MKNOD | 1UL << CAP_MAC_OVERRIDE)

// The result is the ID before, whether it was changed or not: setfsuid(2).
long sys_setfsuid(uint64_t uid)
{
    struct credentials c = *credentials();
    uint32_t old = c.fsuid, id = (uint32_t)uid;
    if (id == UNCHANGED || id == old || (!capable(CAP_SETUID) && !one_of(id, c.uid, c.euid, c.suid)))
        return old;
    c.fsuid = id;
    if (!(c.securebits & SECBIT_NO_SETUID_FIXUP)) {
        if (!old)
            c.cap_effective &= ~FILE_CAPABILITIES;
        else if (!id)
            c.cap_effective |= c.cap_permitted & FILE_CAPABILITIES;
    }
    credentials_commit(&c);
    return old;
}

long sys_setfsgid(uint64_t gid)
{
    struct credentials c = *credentials();
    uint32_t old = c.fsgid, id = (uint32_t)gid;
    if (id == UNCHANGED || id == old || (!capable(CAP_SETGID) && !one_of(id, c.gid, c.egid, c.sgid)))
        return old;
    c.fsgid = id;
    credentials_commit(&c);
    return old;
}

long sys_getgroups(uint64_t size, uint64_t list)
{
    struct group_list *g = process_groups(process_current());
    long count = g ? g->count : 0, result = count;
    int room = (int)size;
    if (room < 0 || (room && room < count))
        result = -EINVAL;
    else if (room && count && copy_out(list, g->gid, (size_t)count * sizeof g->gid[0]) < 0)
        result = -EFAULT;
    group_list_unref(g);
    return result;
}

static void sift_down(uint32_t *a, unsigned at, unsigned n)
{
    for (unsigned child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && a[child + 1] > a[child])
            child++;
        if (a[at] >= a[child])
            return;
        uint32_t t = a[at];
        a[at] = a[child];
        a[child] = t;
    }
}

static void sort(uint32_t *a, unsigned n)
{
    for (unsigned i = n / 2; i-- > 0;)
        sift_down(a, i, n);
    for (unsigned end = n; end-- > 1;) {
        uint32_t t = a[0];
        a[0] = a[end];
        a[end] = t;
        sift_down(a, 0, end);
    }
}

long sys_setgroups(uint64_t size, uint64_t list)
{
    unsigned n = (unsigned)size;
    struct group_list *g = NULL;
    if (!capable(CAP_SETGID))
        return -EPERM;
    if (n > GROUPS_MAX)
        return -EINVAL;
    if (n) {
        g = group_list_alloc(n);
        if (!g)
            return -ENOMEM;
        long err = copy_in(g->gid, list, n * sizeof g->gid[0]);
        for (unsigned i = 0; i < n && !err; i++)
            if (g->gid[i] == UNCHANGED)
                err = -EINVAL;
        if (err) {
            group_list_unref(g);
            return err;
        }
        sort(g->gid, n);
    }
    process_set_groups(g);
    return 0;
}
