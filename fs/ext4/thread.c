// The thread of a mounted file system: commits what is older than five seconds. It sleeps while nothing has changed.
#include "fs/ext4/ext4.h"
#include "kernel/time.h"

#define COMMIT_INTERVAL (5 * NSEC_PER_SEC)

static bool idle(struct ext4_fs *fs) {
    spin_lock(&fs->lock);
    bool none = !fs->journal.running && list_empty(&fs->dirty);
    spin_unlock(&fs->lock);
    return none;
}

static void commit_old(struct ext4_fs *fs) {
    spin_lock(&fs->lock);
    struct ext4_transaction *t = fs->journal.running;
    uint32_t seq = t ? t->seq : 0;
    bool old = t && time_monotonic() - t->started >= COMMIT_INTERVAL;
    spin_unlock(&fs->lock);
    if (old)
        ext4_commit(fs, seq);
}

static void run(void *arg) {
    struct ext4_fs *fs = arg;
    while (!READ_ONCE(fs->thread_stop)) {
        if (idle(fs) || READ_ONCE(fs->journal.aborted)) {
            wait_event(&fs->thread_wait, READ_ONCE(fs->thread_stop) || (!idle(fs) && !READ_ONCE(fs->journal.aborted)));
            continue;
        }
        wait_event_until(&fs->thread_wait, READ_ONCE(fs->thread_stop), time_monotonic() + COMMIT_INTERVAL, false);
        (void)ext4_inodes_write(fs);
        commit_old(fs);
    }
    uint64_t flags = spin_lock_irqsave(&fs->thread_wait.lock);
    fs->thread_running = false;
    waitq_wake_locked(&fs->thread_wait, ~0u, 0);
    spin_unlock_irqrestore(&fs->thread_wait.lock, flags);
}

int ext4_thread_start(struct ext4_fs *fs) {
    if (fs->thread_running)
        return 0;
    struct thread *t = thread_create_kernel("ext4", run, fs);
    if (!t)
        return -ENOMEM;
    fs->thread_stop = false;
    fs->thread_running = true;
    thread_start(t);
    return 0;
}

void ext4_thread_stop(struct ext4_fs *fs) {
    WRITE_ONCE(fs->thread_stop, true);
    waitq_wake_all(&fs->thread_wait);
    wait_event(&fs->thread_wait, !READ_ONCE(fs->thread_running));
    uint64_t flags = spin_lock_irqsave(&fs->thread_wait.lock); // it may still be in there
    spin_unlock_irqrestore(&fs->thread_wait.lock, flags);
}

void ext4_thread_wake(struct ext4_fs *fs) { waitq_wake_all(&fs->thread_wait); }
