// The names of the machine and of the system. Locks: one spinlock, a leaf.
#include "kernel/uts.h"
#include "kernel/threads/lock.h"
#include "kernel/string.h"

static struct spinlock lock = SPINLOCK_INIT;
static struct new_utsname names = {
    .sysname = "Linux",
    .nodename = "knarr",
    .release = UTS_RELEASE,
    .version = UTS_VERSION,
    .machine = "x86_64",
    .domainname = "(none)",
};

void uts_get(struct new_utsname *out) {
    spin_lock(&lock);
    *out = names;
    spin_unlock(&lock);
}

static int set(char field[__NEW_UTS_LEN + 1], const char *name, size_t len) {
    if (len > __NEW_UTS_LEN)
        return -EINVAL;
    spin_lock(&lock);
    memcpy(field, name, len);
    memset(field + len, 0, __NEW_UTS_LEN + 1 - len);
    spin_unlock(&lock);
    return 0;
}

int uts_set_nodename(const char *name, size_t len) { return set(names.nodename, name, len); }

int uts_set_domainname(const char *name, size_t len) { return set(names.domainname, name, len); }
