// What tmpfs.c (names and inodes) and tmpfs_file.c (contents) share, with each other and with fs/overlay/, whose inodes are those of
// tmpfs with something below.
#ifndef FS_TMPFS_H
#define FS_TMPFS_H

#include "fs/internal.h"
#include "fs/pagetree.h"
#include "kernel/memory/page.h"

struct tmpfs_inode {
    struct inode inode;
    struct backing backing; // what mmap shows: the same pages
    struct pagetree pages;  // under inode.spin
    uint32_t seals;         // F_SEAL_* of a memfd
    uint8_t kept;           // fs/overlay/: KEPT_*
    struct inode *lower;    // fs/overlay/: what lies below; referenced. NULL in a plain tmpfs
    char *target;           // of a symbolic link; short_target when it fits
    union {
        char short_target[40];
        struct {                           // of a file with something below
            struct backing *lower_backing; // its pages, for mappings: got when it is mapped first; referenced
            uint64_t lower_end; // pages [0, lower_end) that are not in `pages` are those of `lower`. Under inode.spin
            uint64_t covered,
                holes; // entries of `pages` below lower_end, and those of them that are holes. Under inode.spin
        };
    };
};
static inline struct tmpfs_inode *tmpfs_of(struct inode *i) { return container_of(i, struct tmpfs_inode, inode); }
static inline struct tmpfs_inode *tmpfs_of_backing(struct backing *b) { return container_of(b, struct tmpfs_inode, backing); }

// How directories of a superblock behave that are not plain tmpfs (superblock.data).
struct tmpfs_kind {
    const struct inode_ops *directory_ops;
    const struct file_ops *directory_file_ops;
};

// What a mounted tmpfs may take (superblock.limits); 0: no limit. The root, and others that the kernel makes for itself, have none.
struct tmpfs_limits {
    uint64_t pages, pages_used, inodes, inodes_used;
    uint32_t mode, uid, gid; // as the mount's options said
};

// --- tmpfs_mount.c: one page, one inode more. False: there may be no more. ---
bool tmpfs_take_page(struct tmpfs_limits *l);
bool tmpfs_take_inode(struct tmpfs_limits *l);
bool tmpfs_full(const struct tmpfs_limits *l);

// --- tmpfs.c ---
struct tmpfs_inode *tmpfs_inode_alloc(struct superblock *sb, const struct inode_ops *ops,
                                      uint32_t mode); // refs 1. NULL: no memory
void tmpfs_inode_free(struct inode *inode);
// Makes an inode in a directory, attaches it, and counts the entry in the directory. 0 or -ENOSPC.
int tmpfs_make_inode(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev, const char *target);
int tmpfs_link(struct inode *dir, struct dentry *d, struct inode *target);
int tmpfs_tmpfile(struct inode *dir, struct dentry *d, uint32_t mode);
// RENAME_WHITEOUT: the entry of a device 0:0 for the place that `from` will leave, made before anything that may fail.
// 0, -ENOMEM, -ENOSPC.
int tmpfs_whiteout(struct inode *dir, const struct dentry *from, struct dentry **white);
void tmpfs_whiteout_end(struct inode *dir, struct dentry *white,
                        bool place); // puts it behind `from`, or throws it away
// An entry more or less in a directory: its size and link count.
void tmpfs_entry_added(struct inode *dir, bool directory);
void tmpfs_entry_removed(struct inode *dir, bool directory);

// --- tmpfs_file.c ---
extern const struct file_ops tmpfs_file_ops;
extern const struct backing_ops tmpfs_backing_ops;
int tmpfs_truncate(struct inode *inode, uint64_t size);
struct page *tmpfs_new_page(bool zero); // while there is memory for files. Or NULL
int tmpfs_fsync(struct file *f, bool data_only);
// write(2), page by page with `write_page`: n bytes at `at`, all in one page. The bytes done (fewer after a fault), or -errno.
typedef int64_t tmpfs_write_fn(struct tmpfs_inode *t, struct uio *u, uint64_t at, size_t n);
int64_t tmpfs_write_by(struct file *f, struct uio *u, uint64_t *pos, tmpfs_write_fn *write_page);
// fallocate(2), page by page; inode.lock is held.
struct tmpfs_page_ops {
    int (*make)(struct tmpfs_inode *t, uint64_t index);  // the file has a page of its own there: 1: it is new, 0, or -errno
    void (*drop)(struct tmpfs_inode *t, uint64_t index); // takes one away that is new
    int (*punch)(struct tmpfs_inode *t, uint64_t offset, uint64_t end); // zeroes there. 0 or -errno
};
int tmpfs_allocate_by(struct file *f, int mode, uint64_t offset, uint64_t len, const struct tmpfs_page_ops *ops);
// Of backing_ops.
void tmpfs_backing_ref(struct backing *b);
void tmpfs_backing_unref(struct backing *b);
void tmpfs_backing_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino);
void tmpfs_drop_pages(struct tmpfs_inode *t, uint64_t first, uint64_t end); // pages [first, end)

// The page that the file has at this number, with a reference. NULL: none.
static inline struct page *tmpfs_find_page(struct tmpfs_inode *t, uint64_t index) {
    spin_lock(&t->inode.spin);
    struct page *p = pagetree_get(&t->pages, index);
    if (p)
        page_ref(p);
    spin_unlock(&t->inode.spin);
    return p;
}

// page_unref for a page that most likely has other references: the tree's.
static inline void tmpfs_drop_page(struct page *p) {
    if (unlikely(atomic_sub(&p->refs, 1) == 1)) {
        p->refs = 1; // it was the last one after all, so nobody else looks at it
        page_unref(p);
    }
}

// As relatime: once after each change.
static inline void tmpfs_accessed(struct file *f, struct inode *inode) {
    if (unlikely(inode->atime <= inode->mtime || inode->atime <= inode->ctime))
        file_accessed(f);
}

static inline void tmpfs_mapped(struct file *f) {
    if (unlikely(path_accessed_always(&f->path)))
        file_accessed(f);
    else
        tmpfs_accessed(f, f->inode);
}

#endif
