// What the calls of System V IPC share.
#ifndef SYSCALL_IPC_H
#define SYSCALL_IPC_H

#include "kernel/ipc/ids.h"
#include "kernel/memory/usercopy.h"
#include <linux/ipc.h>

static inline void ipc_perm_out(struct ipc64_perm *to, const struct ipc_info *from) {
    to->key = from->key;
    to->uid = from->uid;
    to->gid = from->gid;
    to->cuid = from->cuid;
    to->cgid = from->cgid;
    to->mode = (__kernel_mode_t)from->mode;
    to->seq = from->seq;
}

#endif
