// Bringing changes to the medium: sync(2), syncfs(2), the end of a mount and of the machine. File systems in memory have no part in it.
// mount.c lists the superblocks that have a medium; no lock is held while one writes.
#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include <linux/mount.h>

#define LAST_SYNC_MAX (30 * NSEC_PER_SEC) // how long the end of the machine waits for its disks

int superblock_sync(struct superblock *sb) {
    page_cache_sync_all(sb);
    return sb->ops->sync ? sb->ops->sync(sb) : 0;
}

void vfs_sync(void) {
    page_cache_sync_all(NULL);
    for (struct superblock *sb = superblock_next(NULL); sb; sb = superblock_next(sb)) {
        int err = sb->ops->sync(sb);
        if (err < 0)
            log_warn("%s: not everything could be written (error %d)", sb->type->name, -err);
    }
}

static struct waitq last_wait = WAITQ_INIT(last_wait);
static bool last_done;

// What can be made read-only leaves its medium as umount(2) would: nothing is to be recovered from a journal.
static void last_sync(void *unused) {
    vfs_sync();
    for (struct superblock *sb = superblock_next(NULL); sb; sb = superblock_next(sb))
        if (sb->ops->remount && sb->ops->remount(sb, MS_RDONLY, "") < 0)
            log_warn("%s: could not be brought to its end", sb->type->name);
    WRITE_ONCE(last_done, true);
    waitq_wake_all(&last_wait);
}

// In a thread of its own, so that a device that does not answer delays the end, but does not prevent it.
void vfs_sync_last(void) {
    struct cache_statistics cache;
    page_cache_statistics(&cache);
    if (cache.dirty == 0 && cache.writing == 0 && !superblock_any())
        return;
    struct thread *t = thread_create_kernel("sync", last_sync, NULL);
    if (!t) {
        last_sync(NULL);
        return;
    }
    thread_start(t);
    if (wait_event_until(&last_wait, READ_ONCE(last_done), time_monotonic() + LAST_SYNC_MAX, false) < 0)
        log_warn("the disks have not taken all changes within %d seconds", (int)(LAST_SYNC_MAX / NSEC_PER_SEC));
}
