// The overlay: a tmpfs whose inodes may have an inode of another file system below them (docs/files.md). This header is for the files of
// fs/overlay/; all others need overlay_superblock of fs/internal.h only.
//
// An inode with something below is in the superblock's inode table by the lower inode's number, so that one lower file is one inode
// here. It and the entries that lead to it are a cache until something is changed: then the inode keeps itself (overlay_keep) until
// its last name goes, and a changed name is an entry that is DENTRY_PINNED.
//
// Locks: an inode's lock here > that of the inode below. inode.spin here > backing.lock of the inode below > backing.lock here.
#ifndef FS_OVERLAY_H
#define FS_OVERLAY_H

#include "fs/tmpfs.h"

struct overlay {
    struct tmpfs_kind kind;   // first: superblock.data of a tmpfs
    struct superblock *lower; // referenced
};

// tmpfs_inode.kept
#define KEPT_NO 0   // as it is below, or has nothing below: whoever uses it keeps it
#define KEPT_YES 1  // differs: holds a reference of itself
#define KEPT_GONE 2 // has no name any more

// --- super.c ---
// The inode for one below, whose reference it takes over. ERR_PTR.
struct inode *overlay_inode(struct superblock *sb, struct inode *below);
void overlay_keep(
    struct inode *inode); // it differs now from what is below; the caller has a reference, and maybe no lock
void overlay_release(struct inode *inode); // inode_ops.release
void overlay_forget(struct inode *inode);  // its last name is gone

// --- lower.c: what lies below, through the functions that any file system has ---
// The inode that a name leads to, with a reference; *out NULL: no such name. 0 or -errno.
int lower_lookup(struct inode *dir, const char *name, size_t len, uint32_t hash, struct inode **out);
// An open file of an inode below: for the calls of its file_ops that read. lower_close ends it.
void lower_open(struct file *f, struct inode *below);
void lower_close(struct file *f);
// Bytes of a file; zeroes behind its end. As many as n, fewer after a fault, -errno when there are none.
// `advice`: as file.advice.
int64_t lower_read(struct inode *below, struct uio *u, uint64_t at, size_t n, unsigned advice);

// --- names.c, directory.c, file.c ---
extern const struct inode_ops overlay_directory_ops, overlay_inode_ops;
extern const struct file_ops overlay_directory_file_ops, overlay_file_ops;
extern const struct backing_ops overlay_backing_ops;
int overlay_is_empty(struct dentry *dir); // the directory's inode is locked. 1, 0, or -errno
int overlay_shows_nothing_below(struct dentry *dir); // the same without the entries of our own
int overlay_truncate(struct inode *inode, uint64_t size);
int overlay_set_attributes(struct inode *inode, const struct attributes *a);

// Is there a name below in the place of this entry?
static inline bool entry_covers(const struct dentry *d) {
    return d->flags & DENTRY_PINNED ? d->flags & DENTRY_COVERS : d->inode != NULL;
}

#endif
