// inotify(7): from what happens to a file to the events in the queues of those who watch. See inotify.h.
// Events of an open file and of its attributes go to the watches of the directory first, with the name, then to its own, as on Linux.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/string.h"

struct spinlock inotify_lock = SPINLOCK_INIT;
struct list inotify_instances = LIST_INIT(inotify_instances);
void (*inotify_mark_open_files)(void);
int inotify_max_events = 16384, inotify_max_instances = 128, inotify_max_watches = 65536;

// --- Queues; inotify_lock held ---

static void queue(struct inotify *n, struct inotify_event_entry *e) {
    list_push_back(&n->events, &e->link);
    n->event_count++;
    waitq_wake_key(&n->wait, ~0u, POLLIN | POLLRDNORM);
}

static bool same_as_last(struct inotify *n, int wd, uint32_t mask, const char *name, size_t len) {
    if (list_empty(&n->events))
        return false;
    const struct inotify_event_entry *e = list_entry(n->events.prev, struct inotify_event_entry, link);
    return e->wd == wd && e->mask == mask && !(mask & IN_IGNORED) && e->name_len == len &&
           memcmp(e->name, name, len) == 0;
}

static void add_event(struct inotify *n, int wd, uint32_t mask, uint32_t cookie, const char *name, size_t len) {
    if (same_as_last(n, wd, mask, name, len))
        return;
    struct inotify_event_entry *e = NULL;
    if (n->event_count < (unsigned)inotify_max_events)
        e = kmalloc(sizeof(*e) + len + 1);
    if (!e) {
        if (list_empty(&n->overflow.link))
            queue(n, &n->overflow);
        return;
    }
    *e = (struct inotify_event_entry){.wd = wd, .mask = mask, .cookie = cookie, .name_len = len};
    memcpy(e->name, name, len);
    e->name[len] = 0;
    queue(n, e);
}

void inotify_mark_remove(struct inotify_mark *m, bool tell) {
    struct inotify_mark **at = &m->inode->watches;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    if (!m->inode->watches)
        atomic_and(&m->inode->watched, (uint8_t)~WATCHED_SELF);
    list_remove(&m->link);
    m->owner->watch_count--;
    if (tell)
        add_event(m->owner, m->wd, IN_IGNORED, 0, "", 0);
}

void inotify_mark_free(struct inotify_mark *m) {
    inode_unref(m->inode);
    kfree(m);
}

static void free_all(struct inotify_mark *dead) {
    while (dead) {
        struct inotify_mark *next = dead->next;
        inotify_mark_free(dead);
        dead = next;
    }
}

struct happening {
    uint32_t mask, cookie;
    const char *name; // NULL: none
    size_t len;
    bool unlinked;             // the name is gone: IN_EXCL_UNLINK
    struct inotify_mark *dead; // watches that are over: to be freed without the lock
};

// To all watches of an inode that want it.
static void deliver(struct inode *inode, struct happening *h) {
    for (struct inotify_mark *m = inode->watches, *next; m; m = next) {
        next = m->next;
        if (!(m->mask & h->mask & IN_ALL_EVENTS) || (h->unlinked && (m->mask & IN_EXCL_UNLINK)))
            continue;
        add_event(m->owner, m->wd, h->mask, h->cookie, h->name ? h->name : "", h->name ? h->len : 0);
        if (m->mask & IN_ONESHOT) {
            inotify_mark_remove(m, true);
            m->next = h->dead;
            h->dead = m;
        }
    }
}

// --- Files and their directories ---

static uint32_t kind(const struct inode *inode) { return S_ISDIR(inode->mode) ? IN_ISDIR : 0; }

// To the directory that has this entry.
static void deliver_to_parent(struct dentry *d, struct happening *h) {
    char name[NAME_MAX + 1];
    spin_lock(&tree_lock);
    struct dentry *parent = d->parent != d ? dentry_ref(d->parent) : NULL;
    memcpy(name, d->name, d->name_len);
    h->len = d->name_len;
    spin_unlock(&tree_lock);
    if (!parent)
        return;
    h->name = name;
    h->unlinked = !(d->flags & DENTRY_HASHED) && !(d->sb->flags & SB_UNCACHED);
    if (parent->inode && parent->inode->watched) {
        spin_lock(&inotify_lock);
        deliver(parent->inode, h);
        spin_unlock(&inotify_lock);
    }
    h->name = NULL;
    h->unlinked = false;
    dentry_unref(parent);
}

static void deliver_to_self(struct inode *inode, struct happening *h) {
    spin_lock(&inotify_lock);
    deliver(inode, h);
    spin_unlock(&inotify_lock);
}

void inotify_report_file(struct file *f, uint32_t mask) {
    struct happening h = {.mask = mask | kind(f->inode)};
    if (f->path_only)
        return;
    if (f->path.dentry)
        deliver_to_parent(f->path.dentry, &h);
    deliver_to_self(f->inode, &h);
    free_all(h.dead);
}

// A reference of an entry that may be on its way out.
static bool try_ref(struct dentry *d) {
    uint32_t refs = READ_ONCE(d->refs);
    while (refs && !__atomic_compare_exchange_n(&d->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    return refs;
}

#define ALIASES_MAX 8 // of more names than these of one file the last ones are not told about

void inotify_report_changed(struct inode *inode, uint32_t mask) {
    struct happening h = {.mask = mask | kind(inode)};
    struct dentry *names[ALIASES_MAX], *d;
    unsigned count = 0;
    spin_lock(&inode->spin);
    list_for_each (d, &inode->aliases, alias_link)
        if (count < ALIASES_MAX && try_ref(d))
            names[count++] = d;
    spin_unlock(&inode->spin);
    for (unsigned i = 0; i < count; i++) {
        deliver_to_parent(names[i], &h);
        dentry_unref(names[i]);
    }
    deliver_to_self(inode, &h);
    free_all(h.dead);
}

void inotify_report_self(struct inode *inode, uint32_t mask) {
    // Of a directory's own end and move Linux does not say that it is one.
    struct happening h = {.mask = mask & (IN_DELETE_SELF | IN_MOVE_SELF) ? mask : mask | kind(inode)};
    deliver_to_self(inode, &h);
    free_all(h.dead);
}

// All watches of an inode end, having heard of `mask`, whatever they asked for when `all`.
static void end_watches(struct inode *inode, uint32_t mask, bool all) {
    struct inotify_mark *dead = NULL, *m;
    spin_lock(&inotify_lock);
    while ((m = inode->watches)) {
        if (all || (m->mask & mask))
            add_event(m->owner, m->wd, mask, 0, "", 0);
        inotify_mark_remove(m, true);
        m->next = dead;
        dead = m;
    }
    spin_unlock(&inotify_lock);
    free_all(dead);
}

void inotify_report_gone(struct inode *inode) { end_watches(inode, IN_DELETE_SELF, false); }

// --- Directories ---

void inotify_report_entry(struct inode *dir, struct inode *inode, uint32_t mask, uint32_t cookie, const char *name,
                          size_t len) {
    struct happening h = {.mask = mask | kind(inode), .cookie = cookie, .name = name, .len = len};
    deliver_to_self(dir, &h);
    free_all(h.dead);
}

void inotify_report_unlink(struct inode *dir, struct dentry *d, bool directory) {
    struct inode *inode = d->inode;
    if (!directory)
        inotify_linked(inode);
    if (READ_ONCE(d->refs) == 1) // nobody has it open: it is gone before its directory hears of it
        inotify_gone(inode);
    inotify_report_entry(dir, inode, IN_DELETE, 0, d->name, d->name_len);
}

void inotify_report_move(const struct inotify_move *m) {
    static uint32_t last_cookie;
    uint32_t cookie = atomic_add(&last_cookie, 1) + 1;
    if ((m->new_dir->watched & WATCHED_SELF) && !(m->moved->watched & WATCHED_PARENT)) {
        atomic_or(&m->moved->watched, WATCHED_PARENT);
        if (inotify_mark_open_files)
            inotify_mark_open_files();
    }
    inotify_report_entry(m->old_dir, m->moved, IN_MOVED_FROM, cookie, m->old_name, m->old_len);
    inotify_report_entry(m->new_dir, m->moved, IN_MOVED_TO, cookie, m->new_name, m->new_len);
    if (m->target)
        inotify_linked(m->target);
    inotify_report_self(m->moved, IN_MOVE_SELF);
}

void inotify_unmounted(struct superblock *sb) {
    for (;;) {
        struct inode *found = NULL;
        struct inotify *n;
        spin_lock(&inotify_lock);
        list_for_each (n, &inotify_instances, link) {
            struct inotify_mark *m;
            list_for_each (m, &n->watches, link)
                if (m->inode->sb == sb)
                    found = m->inode;
        }
        if (found)
            inode_ref(found);
        spin_unlock(&inotify_lock);
        if (!found)
            return;
        end_watches(found, IN_UNMOUNT | kind(found), true);
        inode_unref(found);
    }
}
