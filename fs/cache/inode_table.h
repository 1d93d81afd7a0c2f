// The inodes of one superblock by number, for file systems whose inodes are made from a disk or a server: two lookups of one file must
// find one inode. An inode is in the table from inode_table_add until its last reference goes.
// Locks: one spinlock a bucket group, a leaf.
#ifndef FS_CACHE_INODE_TABLE_H
#define FS_CACHE_INODE_TABLE_H

#include "fs/vfs.h"

int inode_table_create(struct superblock *sb);   // sb->inodes. 0 or -ENOMEM
void inode_table_destroy(struct superblock *sb); // it is empty
// The inode with this number, with a reference, never one that is on its way out; NULL: none.
struct inode *inode_table_find(struct superblock *sb, uint64_t ino);
// Adds one that is ready for use (refs 1, inode->ino its number). When there is one of the number already, that one is returned with
// a reference, and the caller throws his own away; otherwise the argument.
struct inode *inode_table_add(struct inode *inode);
// inode_unref's: the last reference is gone, the inode is about to be released.
void inode_table_remove(struct inode *inode);
// Calls fn for each inode, with a reference, until it returns false. No lock is held: fn may sleep.
void inode_table_each(struct superblock *sb, bool (*fn)(struct inode *inode, void *ctx), void *ctx);

#endif
