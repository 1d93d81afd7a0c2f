// inotify(7): the descriptor, and adding and removing watches. See inotify.h.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/procfs.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include <asm/ioctls.h>

// --- Reading ---

static size_t size_of(const struct inotify_event_entry *e) {
    return sizeof(struct inotify_event) + (e->name_len ? ALIGN_UP(e->name_len + 1, sizeof(struct inotify_event)) : 0);
}

// The next event if it fits. NULL: there is none; ERR_PTR(-EINVAL): it does not.
static struct inotify_event_entry *take(struct inotify *n, size_t room) {
    struct inotify_event_entry *e = NULL;
    spin_lock(&inotify_lock);
    if (!list_empty(&n->events)) {
        e = list_first(&n->events, struct inotify_event_entry, link);
        if (size_of(e) > room) {
            e = ERR_PTR(-EINVAL);
        } else {
            list_remove(&e->link);
            n->event_count--;
        }
    }
    spin_unlock(&inotify_lock);
    return e;
}

static bool put(struct uio *u, const struct inotify_event_entry *e) {
    static const char zeroes[sizeof(struct inotify_event)];
    size_t padded = size_of(e) - sizeof(struct inotify_event), filled = padded ? e->name_len + 1 : 0;
    struct inotify_event head = {.wd = e->wd, .mask = e->mask, .cookie = e->cookie, .len = (uint32_t)padded};
    return uio_put(u, &head, sizeof(head)) == sizeof(head) && uio_put(u, e->name, filled) == filled &&
           uio_put(u, zeroes, padded - filled) == padded - filled;
}

static int64_t inotify_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct inotify *n = f->data;
    int64_t done = 0;
    for (;;) {
        struct inotify_event_entry *e = take(n, u->left);
        if (IS_ERR(e))
            return done ? done : PTR_ERR(e);
        if (e) {
            size_t size = size_of(e);
            bool ok = put(u, e);
            if (e != &n->overflow)
                kfree(e);
            if (!ok)
                return done ? done : -EFAULT;
            done += size;
            continue;
        }
        if (done)
            return done;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&n->wait, READ_ONCE(n->event_count) > 0);
        if (err < 0)
            return err;
    }
}

static uint32_t inotify_poll(struct file *f, struct poll_table *pt) {
    struct inotify *n = f->data;
    poll_on(pt, f, &n->wait);
    return READ_ONCE(n->event_count) ? POLLIN | POLLRDNORM : 0;
}

static long inotify_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    struct inotify *n = f->data;
    struct inotify_event_entry *e;
    int bytes = 0;
    if (cmd != FIONREAD)
        return -ENOTTY;
    spin_lock(&inotify_lock);
    list_for_each (e, &n->events, link)
        bytes += (int)size_of(e);
    spin_unlock(&inotify_lock);
    return copy_out_obj(arg, &bytes);
}

static void inotify_release(struct file *f) {
    struct inotify *n = f->data;
    struct inotify_mark *dead = NULL;
    spin_lock(&inotify_lock);
    list_remove(&n->link);
    while (!list_empty(&n->watches)) {
        struct inotify_mark *m = list_first(&n->watches, struct inotify_mark, link);
        inotify_mark_remove(m, false);
        m->next = dead;
        dead = m;
    }
    spin_unlock(&inotify_lock);
    while (dead) {
        struct inotify_mark *next = dead->next;
        inotify_mark_free(dead);
        dead = next;
    }
    while (!list_empty(&n->events)) {
        struct inotify_event_entry *e = list_first(&n->events, struct inotify_event_entry, link);
        list_remove(&e->link);
        if (e != &n->overflow)
            kfree(e);
    }
    kfree(n);
}

static const struct file_ops inotify_ops = {
    .name = "inotify",
    .seek = file_seek_nowhere,
    .read = inotify_read,
    .poll = inotify_poll,
    .ioctl = inotify_ioctl,
    .release = inotify_release,
};

bool inotify_is(const struct file *f) { return f->ops == &inotify_ops; }

// The newest first. Without the file handles that Linux adds where a file system has some.
void inotify_show(struct seqbuf *s, const struct file *f) {
    const struct inotify *n = f->data;
    spin_lock(&inotify_lock);
    for (const struct list *at = n->watches.prev; at != &n->watches; at = at->prev) {
        const struct inotify_mark *m = container_of(at, struct inotify_mark, link);
        uint64_t dev = m->inode->sb->dev;
        seq_printf(s, "inotify wd:%x ino:%lx sdev:%lx mask:%x ignored_mask:0 \n", (unsigned)m->wd,
                   (unsigned long)m->inode->ino, (unsigned long)(DEV_MAJOR(dev) << 20 | DEV_MINOR(dev)), m->mask);
    }
    spin_unlock(&inotify_lock);
}

// Those files that are open already and are watched now are to say what is done with them.
static void mark_open_files(void) {
    for (struct process *p = process_next(1), *next; p; p = next) {
        struct file_table *t = process_files_get(p);
        struct file *f;
        for (int fd = 0; t && (fd = fd_next(t, fd, &f)) >= 0; fd++) {
            if (f->inode->watched)
                atomic_or(&f->access, FILE_WATCHED);
            file_unref(f);
        }
        if (t)
            file_table_unref(t);
        next = process_next(p->pid + 1);
        process_unref(p);
    }
}

// Of the current user; inotify_lock held.
static void count_of_user(uint32_t uid, unsigned *instances, unsigned *watches) {
    struct inotify *n;
    *instances = *watches = 0;
    list_for_each (n, &inotify_instances, link) {
        if (n->uid == uid) {
            ++*instances;
            *watches += n->watch_count;
        }
    }
}

struct file *inotify_create(unsigned flags) {
    struct inotify *n = kzalloc(sizeof(*n));
    struct inode *inode = inode_anonymous(0600, 0);
    struct file *f = n && inode ? file_alloc(&inotify_ops, inode, O_RDONLY | (flags & O_NONBLOCK)) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        kfree(n);
        return f;
    }
    inotify_mark_open_files = mark_open_files;
    waitq_init(&n->wait);
    list_init(&n->link);
    list_init(&n->events);
    list_init(&n->watches);
    list_init(&n->overflow.link);
    n->overflow.wd = -1;
    n->overflow.mask = IN_Q_OVERFLOW;
    n->uid = process_current()->cred.uid;
    f->stream = true;
    f->data = n;
    unsigned instances, watches;
    spin_lock(&inotify_lock);
    count_of_user(n->uid, &instances, &watches);
    bool ok = instances < (unsigned)inotify_max_instances;
    if (ok)
        list_push_back(&inotify_instances, &n->link);
    spin_unlock(&inotify_lock);
    if (!ok) {
        file_unref(f);
        return ERR_PTR(-EMFILE);
    }
    return f;
}

// --- Watches ---

// Everything that has a name in this directory is watched from now on. The directory must not be locked.
static void mark_children(struct dentry *dir) {
    struct dir_node *node;
    mutex_lock(&dir->inode->lock);
    if (dir->children) {
        spin_lock(&dir->lock);
        list_for_each (node, &dir->children->list, link) {
            struct dentry *child = container_of(node, struct dentry, node);
            if (node->cookie && child->inode)
                atomic_or(&child->inode->watched, WATCHED_PARENT);
        }
        spin_unlock(&dir->lock);
    }
    mutex_unlock(&dir->inode->lock);
}

static struct inotify_mark *find_mark(struct inotify *n, struct inode *inode) {
    struct inotify_mark *m = inode->watches;
    while (m && m->owner != n)
        m = m->next;
    return m;
}

static long update(struct inotify_mark *m, uint32_t mask) {
    if (mask & IN_MASK_CREATE)
        return -EEXIST;
    uint32_t bits = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
    m->mask = mask & IN_MASK_ADD ? m->mask | bits : bits;
    return m->wd;
}

static long insert(struct inotify *n, struct inotify_mark *m) {
    unsigned instances, watches;
    count_of_user(n->uid, &instances, &watches);
    if (watches >= (unsigned)inotify_max_watches)
        return -ENOSPC;
    m->wd = ++n->last_wd;
    m->next = m->inode->watches;
    m->inode->watches = m;
    atomic_or(&m->inode->watched, WATCHED_SELF);
    list_push_back(&n->watches, &m->link);
    n->watch_count++;
    return m->wd;
}

long inotify_watch(struct file *f, struct dentry *d, uint32_t mask) {
    struct inotify *n = f->data;
    struct inode *inode = d->inode;
    struct inotify_mark *fresh = kzalloc(sizeof(*fresh));
    if (!fresh)
        return -ENOMEM;
    fresh->owner = n;
    fresh->inode = inode_ref(inode);
    fresh->mask = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
    spin_lock(&inotify_lock);
    struct inotify_mark *there = find_mark(n, inode);
    long wd = there ? update(there, mask) : insert(n, fresh);
    spin_unlock(&inotify_lock);
    if (there || wd < 0) {
        inotify_mark_free(fresh);
        return wd;
    }
    if (S_ISDIR(inode->mode))
        mark_children(d);
    mark_open_files();
    return wd;
}

long inotify_unwatch(struct file *f, int wd) {
    struct inotify *n = f->data;
    struct inotify_mark *m, *found = NULL;
    spin_lock(&inotify_lock);
    list_for_each (m, &n->watches, link) {
        if (m->wd == wd) {
            found = m;
            break;
        }
    }
    if (found)
        inotify_mark_remove(found, true);
    spin_unlock(&inotify_lock);
    if (!found)
        return -EINVAL;
    inotify_mark_free(found);
    return 0;
}
