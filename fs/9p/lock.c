// Locks of files on a server: the VFS has settled who of this machine may; Tlock asks for the others. QEMU's server grants everything and
// tells nobody else, so there locks hold within this machine alone.
#include "fs/9p/internal.h"

#include "fs/poll.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"

#define RETRY_FIRST (10 * NSEC_PER_MSEC) // a server that cannot wait is asked again
#define RETRY_MAX (1000 * NSEC_PER_MSEC)

static struct p9_lock wire_lock(int type, uint64_t start, uint64_t end) {
    return (struct p9_lock){
        .type = type == F_RDLCK   ? P9_LOCK_TYPE_RDLCK
                : type == F_WRLCK ? P9_LOCK_TYPE_WRLCK
                                  : P9_LOCK_TYPE_UNLCK,
        .start = start,
        .length = end == INT64_MAX ? 0 : end - start + 1,
        .pid = (uint32_t)process_current()->pid,
    };
}

static int pause(nsec_t time) {
    thread_prepare_sleep(true);
    int err = thread_sleep_until(time_monotonic() + time);
    thread_cancel_sleep();
    return err == -ERESTARTSYS ? err : 0;
}

int p9_file_lock(struct file *f, void *owner, int type, uint64_t start, uint64_t end, bool wait) {
    struct p9_fid *fid = f->data;
    struct p9_lock l = wire_lock(type, start, end);
    if (wait && type != F_UNLCK)
        l.flags = P9_LOCK_FLAGS_BLOCK;
    for (nsec_t time = RETRY_FIRST;; time = MIN(time * 2, RETRY_MAX)) {
        uint8_t status;
        int err = p9_lock(fid, &l, &status);
        if (err < 0)
            return err;
        if (status == P9_LOCK_SUCCESS) {
            if (type != F_UNLCK)
                WRITE_ONCE(fid->locker, owner);
            return 0;
        }
        if (status != P9_LOCK_BLOCKED && status != P9_LOCK_GRACE)
            return -ENOLCK;
        if (!wait)
            return -EAGAIN;
        err = pause(time);
        if (err < 0)
            return err;
    }
}

bool p9_file_lock_test(struct file *f, int type, struct file_lock *found) {
    struct p9_lock l = wire_lock(type, found->start, found->end);
    if (p9_getlock(f->data, &l) < 0 || l.type > P9_LOCK_TYPE_WRLCK || l.start > INT64_MAX)
        return false; // nobody, as far as anybody knows
    found->exclusive = l.type == P9_LOCK_TYPE_WRLCK;
    found->start = l.start;
    found->end = l.length == 0 || l.length > INT64_MAX - l.start ? INT64_MAX : l.start + l.length - 1;
    found->pid = (int)l.pid;
    return true;
}

// The process's locks on the file, by whichever open file they were set. A server ends those of a fid with it; the others are told.
void p9_locks_closed(struct file *f) {
    struct p9_inode *p = p9_inode_of(f->inode);
    const void *owner = process_current()->files;
    if (!owner)
        return;
    for (;;) {
        struct p9_fid *fid = NULL, *i;
        spin_lock(&f->inode->spin);
        list_for_each (i, &p->open, link) {
            if (i->locker == owner) {
                fid = p9_fid_ref(i);
                fid->locker = NULL;
                break;
            }
        }
        spin_unlock(&f->inode->spin);
        if (!fid)
            return;
        struct p9_lock l = wire_lock(F_UNLCK, 0, INT64_MAX);
        uint8_t status;
        p9_lock(fid, &l, &status);
        p9_fid_put(fid);
    }
}
