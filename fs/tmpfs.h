// What tmpfs.c (names and inodes) and tmpfs_file.c (contents) share.
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
    char *target;           // of a symbolic link; short_target when it fits
    char short_target[40];
};
static inline struct tmpfs_inode *tmpfs_of(struct inode *i) { return container_of(i, struct tmpfs_inode, inode); }

extern const struct file_ops tmpfs_file_ops;
extern const struct backing_ops tmpfs_backing_ops;
int tmpfs_truncate(struct inode *inode, uint64_t size);
void tmpfs_drop_pages(struct tmpfs_inode *t, uint64_t first, uint64_t end); // pages [first, end)

#endif
