// Directory entries of file systems on disks and servers are a cache: those that nobody uses, positive or negative, go when memory is
// short, and with them their inodes. Entries that are the directory themselves (SB_COMPLETE, DENTRY_PINNED) are never among them.
// Locks: a spinlock inside, below the directory's dentry.lock.
#ifndef FS_CACHE_DENTRY_LRU_H
#define FS_CACHE_DENTRY_LRU_H

#include "fs/vfs.h"

// For fs/dentry.c: an entry came into its directory's table, or leaves it. The directory's dentry.lock is held.
void dentry_lru_add(struct dentry *d);
void dentry_lru_remove(struct dentry *d);
void dentry_lru_start(void);              // the same, without a spinlock
uint64_t dentry_lru_drop(uint64_t count); // entries, used lately or not. How many went. May sleep
void dentry_lru_settle(void);             // waits until what is out of its directory already is gone, with its inode
uint64_t dentry_lru_pages(void);          // what could be won, about

#endif
