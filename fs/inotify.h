// inotify(7): what the file system code tells of, and the watches that listen. A hook costs a test of inode.watched (or of a bit of
// file.access that reading and writing test anyway) while nobody listens.
// Locks: inotify_lock, a spinlock of inotify.c's, comes after a directory's inode.lock and before tree_lock and wait queues.
#ifndef FS_INOTIFY_H
#define FS_INOTIFY_H

#include "fs/vfs.h"
#include <linux/inotify.h> // IN_*

// inode.watched. Bits are set when a watch is added and may outlive it: then the slow path finds nothing to do.
#define WATCHED_SELF 1   // there is a watch on it
#define WATCHED_PARENT 2 // there is one on a directory that has a name of it

// --- Hooks: each does nothing where nothing is watched ---
void inotify_report_file(struct file *f, uint32_t mask);
void inotify_report_changed(struct inode *inode, uint32_t mask);
void inotify_report_self(struct inode *inode, uint32_t mask);
void inotify_report_entry(struct inode *dir, struct inode *inode, uint32_t mask, uint32_t cookie, const char *name, size_t len);
void inotify_report_unlink(struct inode *dir, struct dentry *d, bool directory);
void inotify_report_gone(struct inode *inode);

// An open file: IN_OPEN, IN_ACCESS... to its own watches and to those of the directory that it was opened in.
static inline void inotify_opened(struct file *f) {
    if (unlikely(f->inode->watched)) {
        f->access |= FILE_WATCHED;
        inotify_report_file(f, IN_OPEN);
    }
}
static inline void inotify_used(struct file *f, uint32_t mask) {
    if (unlikely(f->access & FILE_WATCHED))
        inotify_report_file(f, mask);
}
// Attributes or the size changed, by whatever name: to its own watches and to those of all directories that have it.
static inline void inotify_changed(struct inode *inode, uint32_t mask) {
    if (unlikely(inode->watched))
        inotify_report_changed(inode, mask);
}
// The number of its names changed.
static inline void inotify_linked(struct inode *inode) {
    if (unlikely(inode->watched))
        inotify_report_self(inode, IN_ATTRIB);
}
// A new entry in a directory, which is locked.
static inline void inotify_created(struct inode *dir, struct dentry *d) {
    if (unlikely(dir->watched))
        inotify_report_entry(dir, d->inode, IN_CREATE, 0, d->name, d->name_len);
}
// An entry was removed: out of the directory's table, but d is still referenced by the caller. The directory is locked.
static inline void inotify_removed(struct inode *dir, struct dentry *d, bool directory) {
    if (unlikely(dir->watched | d->inode->watched))
        inotify_report_unlink(dir, d, directory);
}
// The inode's last name and last user are gone.
static inline void inotify_gone(struct inode *inode) {
    if (unlikely(inode->watched) && inode->nlink == 0)
        inotify_report_gone(inode);
}
// An entry comes to a directory, by creation or lookup.
static inline void inotify_attached(struct inode *dir, struct inode *inode) {
    if (unlikely(dir && (dir->watched & WATCHED_SELF)))
        atomic_or(&inode->watched, WATCHED_PARENT);
}
// rename(2): `moved` left old_dir for new_dir, where it replaced `target` (or NULL). Directories locked.
struct inotify_move {
    struct inode *old_dir, *new_dir, *moved, *target;
    const char *old_name, *new_name; // not NUL-terminated
    size_t old_len, new_len;
};
void inotify_report_move(const struct inotify_move *m);
static inline bool inotify_move_watched(const struct inotify_move *m) {
    return unlikely(m->old_dir->watched | m->new_dir->watched | m->moved->watched | (m->target ? m->target->watched : 0));
}
void inotify_unmounted(struct superblock *sb); // before its tree goes

// --- The descriptors' side: inotify_file.c ---
struct file *inotify_create(unsigned flags); // O_NONBLOCK. ERR_PTR(-EMFILE, -ENOMEM)
bool inotify_is(const struct file *f);
struct seqbuf;
void inotify_show(struct seqbuf *s, const struct file *f); // its watches, for fdinfo: proc(5)
// inotify_add_watch(2): mask IN_*. The watch's number, or -EEXIST, -ENOSPC, -ENOMEM.
long inotify_watch(struct file *f, struct dentry *d, uint32_t mask);
long inotify_unwatch(struct file *f, int wd); // 0 or -EINVAL

extern int inotify_max_events, inotify_max_instances, inotify_max_watches; // /proc/sys/fs/inotify

// --- Between inotify.c and inotify_file.c ---
struct inotify_event_entry {
    struct list link; // inotify.events; the overflow event is on no list while it is not queued
    int wd;
    uint32_t mask, cookie;
    size_t name_len;
    char name[];
};
struct inotify {
    struct waitq wait;
    struct list link;    // of all instances
    struct list events;  // struct inotify_event_entry
    struct list watches; // struct inotify_mark
    unsigned event_count, watch_count;
    int last_wd;
    uint32_t uid;
    struct inotify_event_entry overflow;
};
struct inotify_mark {
    struct list link;          // inotify.watches
    struct inotify_mark *next; // inode.watches
    struct inotify *owner;
    struct inode *inode; // referenced
    int wd;
    uint32_t mask; // IN_ALL_EVENTS, IN_ONESHOT, IN_EXCL_UNLINK
};
extern struct spinlock inotify_lock; // of all of these, and of inode.watches
extern struct list inotify_instances;
// FILE_WATCHED in all open files whose inodes are watched; NULL as long as there is no instance.
extern void (*inotify_mark_open_files)(void);
// Takes a mark off its inode and its owner; the caller frees it, without the lock, by inotify_mark_free. Lock held.
void inotify_mark_remove(struct inotify_mark *m, bool tell);
void inotify_mark_free(struct inotify_mark *m);

#endif
