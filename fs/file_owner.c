// Whom an open file signals (O_ASYNC): fcntl(2) F_SETOWN, F_SETOWN_EX, ioctl FIOSETOWN.
#include "fs/file.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include <linux/fcntl.h>

long file_set_owner(struct file *f, int type, int id) {
    if (id) {
        struct process *p = type == F_OWNER_PID ? process_find(id) : NULL;
        struct thread *t = type == F_OWNER_TID ? thread_find(id) : NULL;
        if (type == F_OWNER_PGRP ? process_group_signal(id, 0, NULL) == -ESRCH : !p && !t)
            return -ESRCH;
        if (p)
            process_unref(p);
        if (t)
            thread_unref(t);
    }
    f->owner_is_thread = type == F_OWNER_TID;
    f->signal_owner = type == F_OWNER_PGRP ? -id : id;
    return 0;
}

long file_set_owner_number(struct file *f, int owner) {
    if (owner == INT32_MIN)
        return -EINVAL;
    return owner < 0 ? file_set_owner(f, F_OWNER_PGRP, -owner) : file_set_owner(f, F_OWNER_PID, owner);
}
