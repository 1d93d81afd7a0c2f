// Advisory locks: flock(2), fcntl(2) record locks and open file description locks. An inode has one list of both kinds, which
// do not see each other. One mutex for all: locks are rare, and whoever waits, waits on one queue and looks again.
#include "fs/internal.h"
#include "fs/poll.h"

static struct mutex locks_mutex = MUTEX_INIT(locks_mutex);
static struct waitq locks_wait = WAITQ_INIT(locks_wait);
static uint32_t generation; // changes whenever a lock goes
static struct list all_locks = LIST_INIT(all_locks);

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

static void lock_free(struct file_lock *l) {
    list_remove(&l->all);
    kfree(l);
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
            list_push_back(&l->all, &rest->all);
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
            lock_free(l);
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
            lock_free(l);
        } else {
            at = &l->next;
        }
    }
}

// --- Waiting ---

// Who waits for a lock, on the stack of the waiting thread; under locks_mutex.
struct lock_wait {
    struct file_lock wish;
    void *holder; // the owner of what is in the way
};
static struct list waits = LIST_INIT(waits);

#define CHAIN_MAX 64

static struct lock_wait *wait_of(void *owner) {
    struct file_lock *l;
    list_for_each(l, &waits, all) {
        if (l->owner == owner)
            return container_of(l, struct lock_wait, wish);
    }
    return NULL;
}

// Would the owner wait for itself, by way of others? Only the locks of processes know who would have to let them go.
static bool would_deadlock(const struct lock_wait *w) {
    void *holder = w->holder;
    for (int depth = 0; depth < CHAIN_MAX && !w->wish.flock && !w->wish.ofd; depth++) {
        if (holder == w->wish.owner)
            return true;
        const struct lock_wait *next = wait_of(holder);
        if (!next)
            return false;
        holder = next->holder;
    }
    return false;
}

// Until some lock has gone. locks_mutex held, and let go of meanwhile.
static int wait_for_change(struct lock_wait *w, const struct file_lock *in_the_way) {
    w->holder = in_the_way->owner;
    if (would_deadlock(w))
        return -EDEADLK;
    uint32_t seen = READ_ONCE(generation);
    list_push_back(&waits, &w->wish.all);
    mutex_unlock(&locks_mutex);
    int err = wait_event_interruptible(&locks_wait, READ_ONCE(generation) != seen);
    mutex_lock(&locks_mutex);
    list_remove(&w->wish.all);
    return err;
}

static int set_here(struct file *f, void *owner, bool flock, int type, uint64_t start, uint64_t end, bool wait) {
    struct inode *inode = f->inode;
    bool ofd = !flock && owner == f;
    struct file_lock *new = kzalloc(sizeof(*new)), *spare = kzalloc(sizeof(*spare)), *in_the_way;
    int err = new &&spare ? 0 : -ENOLCK;
    struct lock_wait w = {.wish = {.inode = inode, .owner = owner, .exclusive = type == F_WRLCK, .flock = flock, .ofd = ofd,
                                   .start = start, .end = end, .pid = ofd ? -1 : process_current()->pid}};
    mutex_lock(&locks_mutex);
    while (!err && type != F_UNLCK &&
           (in_the_way = find_conflict(inode, owner, flock, w.wish.exclusive, start, end))) {
        // flock(2) converts by giving up the old lock first.
        if (flock) {
            cut(inode, owner, true, 0, ~0UL, &spare);
            locks_changed();
        }
        err = wait ? wait_for_change(&w, in_the_way) : -EAGAIN;
    }
    if (!err) {
        cut(inode, owner, flock, start, end, &spare);
        if (type != F_UNLCK) {
            *new = w.wish;
            new->next = inode->locks;
            inode->locks = new;
            list_push_back(&all_locks, &new->all);
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

// First here, then on the server of the file, when it has one.
int lock_set(struct file *f, void *owner, bool flock, int type, uint64_t start, uint64_t end, bool wait) {
    int err = set_here(f, owner, flock, type, start, end, wait);
    if (likely(err < 0 || !f->ops->lock))
        return err;
    err = f->ops->lock(f, owner, type, start, end, wait);
    if (err < 0 && type != F_UNLCK)
        set_here(f, owner, flock, F_UNLCK, start, end, false);
    return err;
}

void lock_each(void (*fn)(void *ctx, const struct file_lock *l, bool waits, int number), void *ctx) {
    struct file_lock *l, *w;
    int number = 0;
    mutex_lock(&locks_mutex);
    list_for_each(l, &all_locks, all) {
        fn(ctx, l, false, ++number);
        list_for_each(w, &waits, all) {
            if (w->inode == l->inode && w->flock == l->flock && w->owner != l->owner && overlaps(w, l->start, l->end))
                fn(ctx, w, true, number);
        }
    }
    mutex_unlock(&locks_mutex);
}

bool lock_test(struct file *f, void *owner, int type, uint64_t start, uint64_t end, struct file_lock *found) {
    mutex_lock(&locks_mutex);
    struct file_lock *l = find_conflict(f->inode, owner, false, type == F_WRLCK, start, end);
    if (l)
        *found = *l;
    mutex_unlock(&locks_mutex);
    if (!l && unlikely(f->ops->lock_test != NULL)) {
        *found = (struct file_lock){.start = start, .end = end};
        return f->ops->lock_test(f, type, found);
    }
    return l;
}

void lock_release_owner(struct inode *inode, void *owner, bool flock) {
    struct file_lock *spare = NULL; // the whole range cuts nothing in two
    mutex_lock(&locks_mutex);
    cut(inode, owner, flock, 0, ~0UL, &spare);
    locks_changed();
    mutex_unlock(&locks_mutex);
}
