// Advisory locks: flock(2), fcntl(2) record locks and open file description locks. An inode has one list of both kinds, which
// do not see each other. One mutex for all: locks are rare, and whoever waits, waits on one queue and looks again.
#include "fs/internal.h"
#include "fs/poll.h"

static struct mutex locks_mutex = MUTEX_INIT(locks_mutex);
static struct waitq locks_wait = WAITQ_INIT(locks_wait);
static uint32_t generation; // changes whenever a lock goes

static void locks_changed(void) {
    atomic_add(&generation, 1);
    waitq_wake_all(&locks_wait);
}

static bool overlaps(const struct file_lock *l, uint64_t start, uint64_t end) {
    return l->start <= end && start <= l->end;
}

static struct file_lock *find_conflict(struct inode *inode, void *owner, bool flock, bool exclusive, uint64_t start,
                                       uint64_t end) {
    for (struct file_lock *l = inode->locks; l; l = l->next)
        if (l->flock == flock && l->owner != owner && (exclusive || l->exclusive) && overlaps(l, start, end))
            return l;
    return NULL;
}

// Takes the range out of the owner's locks. `spare` is used when a lock is cut in two.
static void cut(struct inode *inode, void *owner, bool flock, uint64_t start, uint64_t end, struct file_lock **spare) {
    for (struct file_lock **at = &inode->locks, *l; (l = *at);) {
        if (l->flock != flock || l->owner != owner || !overlaps(l, start, end)) {
            at = &l->next;
        } else if (l->start < start && l->end > end) {
            struct file_lock *rest = *spare;
            *spare = NULL;
            *rest = *l;
            rest->start = end + 1;
            l->end = start - 1;
            l->next = rest;
            return;
        } else if (l->start < start) {
            l->end = start - 1;
            at = &l->next;
        } else if (l->end > end) {
            l->start = end + 1;
            at = &l->next;
        } else {
            *at = l->next;
            kfree(l);
        }
    }
}

// Neighbours of the same kind become one, so that a file that is locked piece by piece does not collect locks.
static void merge(struct inode *inode, struct file_lock *new) {
    for (struct file_lock **at = &inode->locks, *l; (l = *at);) {
        if (l != new && l->flock == new->flock && l->owner == new->owner && l->exclusive == new->exclusive &&
            ((l->end < new->start && l->end + 1 == new->start) || (new->end < l->start &&new->end + 1 == l->start))) {
            new->start = MIN(new->start, l->start);
            new->end = MAX(new->end, l->end);
            *at = l->next;
            kfree(l);
        } else {
            at = &l->next;
        }
    }
}

int lock_set(struct file *f, void *owner, bool flock, int type, uint64_t start, uint64_t end, bool wait) {
    struct inode *inode = f->inode;
    bool exclusive = type == F_WRLCK;
    struct file_lock *new = kzalloc(sizeof(*new)), *spare = kzalloc(sizeof(*spare));
    int err = new &&spare ? 0 : -ENOMEM;
    mutex_lock(&locks_mutex);
    while (!err && type != F_UNLCK && find_conflict(inode, owner, flock, exclusive, start, end)) {
        // flock(2) converts by giving up the old lock first.
        if (flock) {
            cut(inode, owner, true, 0, ~0UL, &spare);
            locks_changed();
        }
        if (!wait) {
            err = -EAGAIN;
            break;
        }
        uint32_t seen = READ_ONCE(generation);
        mutex_unlock(&locks_mutex);
        err = wait_event_interruptible(&locks_wait, READ_ONCE(generation) != seen);
        mutex_lock(&locks_mutex);
    }
    if (!err) {
        cut(inode, owner, flock, start, end, &spare);
        if (type != F_UNLCK) {
            *new = (struct file_lock){inode->locks, owner, exclusive, flock, start, end, process_current()->pid};
            inode->locks = new;
            merge(inode, new);
            new = NULL;
        }
        locks_changed();
    }
    mutex_unlock(&locks_mutex);
    kfree(new);
    kfree(spare);
    return err;
}

bool lock_test(struct file *f, void *owner, int type, uint64_t start, uint64_t end, struct file_lock *found) {
    mutex_lock(&locks_mutex);
    struct file_lock *l = find_conflict(f->inode, owner, false, type == F_WRLCK, start, end);
    if (l)
        *found = *l;
    mutex_unlock(&locks_mutex);
    return l;
}

void lock_release_owner(struct inode *inode, void *owner, bool flock) {
    struct file_lock *spare = NULL; // the whole range cuts nothing in two
    mutex_lock(&locks_mutex);
    cut(inode, owner, flock, 0, ~0UL, &spare);
    locks_changed();
    mutex_unlock(&locks_mutex);
}
