// Who a process is: users, groups and capabilities. credentials(7), capabilities(7).
// They belong to the process, and all its threads have them. A thread may borrow others for a while (access(2)).
// Locks: process.signal_lock protects the pointer to the supplementary groups, whose list never changes, and makes changes of
// several members one for those who look at another process.
#ifndef KERNEL_CREDENTIALS_H
#define KERNEL_CREDENTIALS_H

#include "kernel/types.h"

struct process;

#define GROUPS_MAX 65536 // supplementary groups of a process (NGROUPS_MAX)

struct group_list {
    uint32_t refs, count;
    uint32_t gid[]; // ascending
};

struct credentials {
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    struct group_list *groups; // NULL: none
    uint64_t cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
    uint32_t securebits;
    bool no_new_privs;
};

extern uint8_t suid_dumpable; // /proc/sys/fs/suid_dumpable: what a process that changes its rights gets as `dumpable`

// All but the groups becomes the current process's. As on Linux, who gets other rights is no longer dumpable (suid_dumpable) and
// not signalled when its parent dies.
void credentials_commit(const struct credentials *new);
// fork: the child has no groups yet.
void credentials_inherit(struct process *child, struct process *parent);
void credentials_release(struct process *p); // the process's structure goes

// Supplementary groups. A list with room for `count` and refs 1, uninitialised; NULL: no memory.
struct group_list *group_list_alloc(unsigned count);
void group_list_unref(struct group_list *g);          // NULL is allowed
struct group_list *process_groups(struct process *p); // referenced; NULL: none
void process_set_groups(struct group_list *g);        // of the current process; takes over the reference
bool credentials_in_group(uint32_t gid);              // the current thread's file system group, or a supplementary one

// access(2): the current thread acts with its real IDs, and with the capabilities that those would have, until the end.
// False: it does so anyway, and nothing is to be ended. `space` must live until then.
bool credentials_use_real(struct credentials *space);
void credentials_use_own(void);

#endif
