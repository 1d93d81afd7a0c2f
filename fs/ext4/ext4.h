// ext4 (and ext2, ext3): what the files of this folder share. docs/disks.md says what is supported.
//
//   super.c group.c        mount, options, the superblock; descriptors and bitmaps of groups
//   buffer.c               cached blocks of metadata
//   journal.c commit.c checkpoint.c recovery.c   transactions; writing them to the log, home, and again after a power cut
//   block_alloc.c inode_alloc.c    finding room
//   inode.c orphan.c       inodes; those that are still to be cut or freed
//   map.c extent.c indirect.c     which block of a file lies where
//   dir.c htree.c namei.c  directories and names
//   data.c file.c fallocate.c     contents: the page cache's functions, struct file_ops
//   xattr.c ioctl.c
//
// Room for data is reserved when a page becomes dirty and allocated when it is written: the data is on its way before the transaction
// that points to it can commit, and the commit waits for it. So a block never shows what was in it before (data=ordered), and the
// commit never waits for the page cache.
//
// Locks, in this order:
//   inode.lock (VFS; directories' contents, sizes) > a page's lock > a handle (ext4_begin .. ext4_end) > ext4_inode.map >
//   ext4_fs.xattr_lock > ext4_fs.orphan_lock > ext4_fs.alloc_lock > buffer.lock > ext4_fs.lock (spin)
// A handle is a reader's lock on the running transaction: who has one does not begin another, does not wait for a page or for
// inode.lock, and touches no user memory; the committer waits until all handles are gone. commit_lock is taken without a handle.
#ifndef FS_EXT4_EXT4_H
#define FS_EXT4_EXT4_H

#include "fs/cache/inode_table.h"
#include "fs/cache/pagecache.h"
#include "fs/ext4/format.h"
#include "fs/vfs.h"
#include "kernel/blockdev.h"
#include "kernel/crc32c.h"
#include "kernel/log.h"
#include "kernel/threads/thread.h"

struct ext4_fs;
struct ext4_transaction;

// --- buffer.c: blocks of metadata. One with references, in a transaction or not yet home stays; others go, oldest first. ---
struct ext4_item;
struct ext4_buffer {
    struct ext4_buffer *hash_next;
    uint64_t block;
    uint32_t refs;   // under ext4_fs.lock, as all below but `lock`
    bool valid;      // read, or made anew
    uint8_t checked; // EXT4_IS_*: it was found to be a good one of that kind
    bool forgotten;  // no longer in the table: the block was freed
    uint8_t *data;
    struct list lru;                  // while nobody needs it
    struct mutex lock;                // being read
    struct ext4_transaction *running; // the transaction that changes it, and where it is in its items
    uint32_t running_at;
    struct ext4_item *committing;        // in the transaction that is being written
    struct ext4_transaction *checkpoint; // committed in that one, not yet home
    struct list checkpoint_link;
};
enum {
    EXT4_IS_GROUPS = 1,
    EXT4_IS_BLOCK_BITMAP,
    EXT4_IS_INODE_BITMAP,
    EXT4_IS_EXTENTS,
    EXT4_IS_DIR,
    EXT4_IS_INDEX,
    EXT4_IS_XATTR
};
#define EXT4_HASH_SIZE 1024
int ext4_buffers_create(struct ext4_fs *fs);
void ext4_buffers_destroy(struct ext4_fs *fs); // nothing is dirty any more, or it is lost
// With a reference: ext4_buffer_put. ERR_PTR(-EIO, -ENOMEM, -EUCLEAN: no such block).
struct ext4_buffer *ext4_buffer_read(struct ext4_fs *fs, uint64_t block);
struct ext4_buffer *ext4_buffer_find(struct ext4_fs *fs, uint64_t block); // NULL: not cached
struct ext4_buffer *ext4_buffer_zero(struct ext4_fs *fs, uint64_t block); // not read: contents are to be made. Zeroes
void ext4_buffer_put(struct ext4_fs *fs, struct ext4_buffer *b);          // NULL and ERR_PTR are allowed
void ext4_buffer_drop_locked(struct ext4_fs *fs, struct ext4_buffer *b); // ext4_fs.lock held: takes it out of the table
void ext4_buffer_idle_locked(struct ext4_fs *fs,
                             struct ext4_buffer *b); // it left a transaction: may be thrown away when unused
void ext4_buffers_trim(struct ext4_fs *fs);          // throws away what is too much

// --- io.c: several requests at once ---
struct ext4_io {
    uint32_t pending;
    int error;
    struct waitq wait;
};
void ext4_io_init(struct ext4_io *io);
// Starts one; waits by itself when there is no memory. `data` is contiguous and stays until ext4_io_wait.
void ext4_io_start(struct ext4_fs *fs, struct ext4_io *io, enum block_op op, uint64_t block, void *data,
                   uint32_t blocks);
int ext4_io_wait(struct ext4_io *io); // 0 or the first error
int ext4_io_block(struct ext4_fs *fs, enum block_op op, uint64_t block, void *data, uint32_t blocks);
int ext4_flush(struct ext4_fs *fs);

// --- journal.c ---
struct ext4_item {
    struct ext4_buffer *b;
    uint8_t *frozen; // the contents to be written to the log, when the buffer itself was changed again
    bool copied;     // is in the log's memory: may be changed
    bool forgotten;  // its block is freed by this transaction: nothing to write
};
struct ext4_freed {
    uint64_t block;
    uint32_t count;
};
struct ext4_transaction {
    uint32_t seq, handles, credits; // credits: of open handles
    bool locked;
    struct ext4_item *items;
    uint32_t count, capacity;
    uint64_t *revokes;
    uint32_t revoke_count, revoke_capacity;
    struct ext4_freed *freed; // not to be given out again before this is on the disk
    uint32_t freed_count, freed_capacity;
    uint32_t data_io; // requests for data on their way
    nsec_t started;
    uint32_t log_end;       // the first block of the log behind it
    struct list checkpoint; // its buffers that are not home
    struct list link;       // journal.checkpoints
};
struct ext4_run {
    uint32_t first, count;
    uint64_t block;
};
struct ext4_journal {
    bool present;          // otherwise a "commit" writes the buffers home
    struct ext4_run *runs; // where the log lies
    uint32_t run_count;
    uint32_t first, end; // its blocks
    uint32_t head, tail, tail_seq;
    uint32_t seed, features;
    uint32_t max; // blocks of a transaction
    struct journal_super *super;
    struct ext4_transaction *running, *committing; // under ext4_fs.lock, as all below
    struct list checkpoints;                       // transactions that are not home, oldest first
    uint32_t next_seq, committed;
    uint32_t pinned; // buffers that are not home
    struct mutex commit_lock;
    struct waitq wait; // handles gone, transactions done, data written
    int aborted;       // -errno: nothing is written any more
    void *bounce;      // EXT4_BOUNCE bytes: what is on its way to the log or home. commit_lock
};
#define EXT4_BOUNCE (128u << 10)
struct ext4_handle {
    struct ext4_fs *fs;
    struct ext4_transaction *t;
    uint32_t credits;
};
// A change that reaches the disk as a whole or not at all. `credits`: how many blocks it may change. May wait for a commit.
// 0, -EROFS (also after an error), -ENOMEM.
int ext4_begin(struct ext4_handle *h, struct ext4_fs *fs, uint32_t credits);
void ext4_end(struct ext4_handle *h);
// The buffer is about to be changed (and its checksum set) under this handle. 0, -ENOMEM.
int ext4_change(struct ext4_handle *h, struct ext4_buffer *b) MUST_CHECK;
int ext4_revoke(struct ext4_handle *h, uint64_t block) MUST_CHECK; // a block of metadata is being freed
int ext4_note_freed(struct ext4_handle *h, uint64_t block, uint32_t count) MUST_CHECK;
// Data under this transaction: its commit waits until as many `end`s were called. `end` in any context.
void ext4_data_start(struct ext4_handle *h);
void ext4_data_end(struct ext4_fs *fs, struct ext4_transaction *t);
int ext4_journal_create(struct ext4_fs *fs); // reads it, replays it when needed; the log is then empty
int ext4_journal_start(struct ext4_fs *fs);  // for writing: marks the log as in use
int ext4_journal_stop(struct ext4_fs *fs);   // all is home: the log is empty
void ext4_journal_destroy(struct ext4_fs *fs);
int ext4_journal_map(struct ext4_fs *fs, uint32_t log_block,
                     uint64_t *block); // contiguous blocks from there on, or -EUCLEAN
int ext4_journal_write_super(struct ext4_fs *fs, uint32_t start, uint32_t seq);
uint32_t ext4_journal_next(const struct ext4_journal *j, uint32_t log_block);
void ext4_transaction_free(struct ext4_transaction *t);
void ext4_abort(struct ext4_fs *fs, int error); // nothing is written any more
static inline bool ext4_seq_after(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }
// commit.c
int ext4_commit(struct ext4_fs *fs, uint32_t seq); // everything up to that transaction is on the disk. No handle held
int ext4_commit_all(struct ext4_fs *fs);
// checkpoint.c. commit_lock held.
int ext4_checkpoint(
    struct ext4_fs *fs); // what is committed and not being changed is written home; the log's tail moves
// recovery.c
int ext4_recover(struct ext4_fs *fs);
uint32_t ext4_tag_size(const struct ext4_journal *j);
// thread.c: commits what is older than five seconds
int ext4_thread_start(struct ext4_fs *fs);
void ext4_thread_stop(struct ext4_fs *fs);
void ext4_thread_wake(struct ext4_fs *fs);

// --- The file system ---
struct ext4_group {
    uint8_t *pending; // bitmap of blocks freed by a transaction that is not on the disk yet
    uint32_t pending_count;
    uint32_t hint; // no free block before it
};
struct ext4_fs {
    struct superblock *sb;
    struct list link; // super.c
    struct block_device *dev;
    uint32_t block_size, block_shift, sectors_shift;
    uint64_t blocks;
    uint32_t first_block, groups, blocks_per_group, inodes_per_group, inodes, desc_size, desc_per_block;
    uint32_t inode_size, first_ino, want_extra_isize;
    uint32_t compat, incompat, ro_compat;
    uint32_t seed, hash_seed[4];
    uint8_t hash_version;
    bool csum, read_only, has_filetype, has_extents, was_error, recovered;
    uint32_t log_flex;
    struct ext4_buffer *super_buffer;
    struct ext4_disk_super *super; // in super_buffer
    struct ext4_group *group;
    uint64_t free_blocks, reserved_blocks, pool; // blocks; free_blocks counts those that are pending, too. alloc_lock
    uint64_t delayed;                            // reserved for dirty pages; alloc_lock
    uint64_t pending;                            // freed, not yet to be given out; alloc_lock
    uint32_t free_inodes;                        // alloc_lock
    uint32_t reserved_uid, reserved_gid;
    struct mutex alloc_lock, xattr_lock, orphan_lock;
    struct list orphans;              // ext4_inode.orphan, newest first
    struct list dirty;                // ext4_inode.dirty_link; ext4_fs.lock
    uint32_t next_generation, spread; // of new inodes; where the next directory goes
    // buffers
    struct spinlock lock;
    struct ext4_buffer **hash;
    struct list lru;
    uint32_t buffer_count, buffer_max;
    struct ext4_journal journal;
    struct waitq thread_wait;
    bool thread_stop, thread_running, thread_woken;
};
#define EXT4_FS(sb_) ((struct ext4_fs *)(sb_)->data)

// Something on the disk is wrong: says so, marks the file system, and makes it read-only. Returns -EUCLEAN.
int ext4_corrupt(struct ext4_fs *fs, const char *fmt, ...) PRINTF(2, 3);
static inline uint32_t ext4_crc32c(uint32_t crc, const void *data, size_t n) { return crc32c(crc, data, n); }
uint16_t ext4_crc16(uint16_t crc, const void *data, size_t n);
// The superblock in its buffer is about to be changed; ext4_super_changed sets its checksum.
int ext4_super_change(struct ext4_handle *h) MUST_CHECK;
void ext4_super_changed(struct ext4_fs *fs);
void ext4_super_counts(struct ext4_fs *fs); // free blocks and inodes, into the buffer

// --- group.c. alloc_lock held where a bitmap or a descriptor is changed. ---
struct ext4_group_ref {
    struct ext4_buffer *b;
    struct ext4_disk_group *desc;
    uint32_t group;
};
int ext4_group_get(struct ext4_fs *fs, uint32_t group, struct ext4_group_ref *out); // 0 or -errno; ext4_group_put
void ext4_group_put(struct ext4_fs *fs, struct ext4_group_ref *g);
void ext4_group_changed(struct ext4_fs *fs, struct ext4_group_ref *g); // sets its checksum
uint64_t ext4_block_bitmap(struct ext4_fs *fs, const struct ext4_disk_group *d);
uint64_t ext4_inode_bitmap(struct ext4_fs *fs, const struct ext4_disk_group *d);
uint64_t ext4_inode_table(struct ext4_fs *fs, const struct ext4_disk_group *d);
uint32_t ext4_group_free_blocks(struct ext4_fs *fs, const struct ext4_disk_group *d);
void ext4_group_set_free_blocks(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n);
uint32_t ext4_group_free_inodes(struct ext4_fs *fs, const struct ext4_disk_group *d);
void ext4_group_set_free_inodes(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n);
uint32_t ext4_group_dirs(struct ext4_fs *fs, const struct ext4_disk_group *d);
void ext4_group_set_dirs(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n);
uint32_t ext4_group_unused(struct ext4_fs *fs, const struct ext4_disk_group *d);
void ext4_group_set_unused(struct ext4_fs *fs, struct ext4_disk_group *d, uint32_t n);
uint32_t ext4_group_blocks(const struct ext4_fs *fs, uint32_t group); // the last one is shorter
uint64_t ext4_group_start(const struct ext4_fs *fs, uint32_t group);
struct ext4_buffer *ext4_load_block_bitmap(struct ext4_fs *fs, struct ext4_group_ref *g); // ERR_PTR
struct ext4_buffer *ext4_load_inode_bitmap(struct ext4_fs *fs, struct ext4_group_ref *g); // ERR_PTR
void ext4_block_bitmap_changed(struct ext4_fs *fs, struct ext4_group_ref *g, struct ext4_buffer *bitmap);
void ext4_inode_bitmap_changed(struct ext4_fs *fs, struct ext4_group_ref *g, struct ext4_buffer *bitmap);
bool ext4_group_has_super(const struct ext4_fs *fs, uint32_t group);
int ext4_count_free(struct ext4_fs *fs); // from the descriptors
// Does a file or a directory block lie where it may? (Not in the groups' own tables; cheap checks only.)
bool ext4_data_blocks_valid(const struct ext4_fs *fs, uint64_t block, uint64_t count);
static inline bool bit_get(const uint8_t *map, uint32_t n) { return map[n >> 3] >> (n & 7) & 1; }
static inline void bit_set(uint8_t *map, uint32_t n) { map[n >> 3] |= (uint8_t)(1 << (n & 7)); }
static inline void bit_clear(uint8_t *map, uint32_t n) { map[n >> 3] &= (uint8_t) ~(1 << (n & 7)); }

// --- block_alloc.c ---
#define ALLOC_RESERVED 1 // room was reserved when the page became dirty
#define ALLOC_POOL 2     // metadata for such data: may use what is kept for it
// Credits of one allocation or of freeing one run: the bitmap and the descriptor of each group that it touches.
#define CREDITS_ALLOC 2
#define CREDITS_SUPER 1
// Up to *count blocks in one run near `goal`; *count becomes how many. 0, -ENOSPC, -EIO, ...
int ext4_blocks_alloc(struct ext4_handle *h, uint64_t goal, uint32_t *count, unsigned flags, uint64_t *block);
int ext4_blocks_free(struct ext4_handle *h, uint64_t block, uint32_t count, bool metadata);
int ext4_reserve(struct ext4_fs *fs, uint32_t blocks); // for dirty pages. 0 or -ENOSPC
void ext4_unreserve(struct ext4_fs *fs, uint32_t blocks);
void ext4_freed_done(struct ext4_fs *fs, struct ext4_transaction *t); // they may be given out
uint64_t ext4_free_for(struct ext4_fs *fs, bool privileged);          // what statfs shows
// --- inode_alloc.c ---
int ext4_inode_number_alloc(struct ext4_handle *h, struct inode *parent, bool directory, uint32_t *ino,
                            uint32_t *generation);
int ext4_inode_number_free(struct ext4_handle *h, uint32_t ino, bool directory);

// --- inode.c ---
struct ext4_inode {
    struct inode vfs;
    struct page_cache cache;
    uint32_t block[15]; // the map's root, or a short symbolic link
    uint32_t flags, generation, seed;
    uint16_t extra_isize;
    bool linked_orphan;     // in the list of orphans
    bool dirty;             // times and size are newer than on the disk
    struct list dirty_link; // ext4_fs.dirty: holds a reference
    uint64_t xattr_block;
    uint64_t disk_size;   // i_size as the disk has it: never covers what was not written
    uint64_t disk_blocks; // in units of 512 bytes
    uint32_t next_orphan; // on the disk
    struct list orphan;
    struct rwmutex map;      // `block`, the tree below it, disk_size, the inode on the disk
    struct spinlock lock;    // `delayed`, `found`, the bytes for the disk
    struct pagetree delayed; // by page: 1 + twice the number of blocks that have room reserved but no place
    uint64_t delayed_count;  // blocks
    struct {
        uint32_t block, count;
        uint64_t start;     // 0: nothing
    } found;                // the extent that was found last
    uint32_t seq, data_seq; // the last transaction that changed it; that fdatasync needs
    uint64_t goal;          // behind the last allocation; 0: none yet
    uint32_t dir_free;      // of a directory: no room in the blocks before
};
static inline struct ext4_inode *ext4_i(struct inode *inode) { return (struct ext4_inode *)inode; }
struct inode *ext4_inode_get(struct superblock *sb, uint32_t ino); // ERR_PTR(-ESTALE: free, -EUCLEAN, -EIO, -ENOMEM)
struct inode *ext4_inode_get_orphan(struct superblock *sb, uint32_t ino); // also one without links
// A new one on the disk, not yet in a directory; in the table. refs 1. ERR_PTR
struct inode *ext4_inode_new(struct ext4_handle *h, struct inode *dir, uint32_t mode, uint64_t rdev);
#define CREDITS_NEW_INODE 5
// Writes the inode's fields into its buffer. i->map need not be held.
int ext4_inode_write(struct ext4_handle *h, struct ext4_inode *i);
int ext4_inode_locate(struct ext4_fs *fs, uint32_t ino, struct ext4_buffer **b, uint32_t *offset);
void ext4_inode_seal(struct ext4_fs *fs, struct ext4_inode *i, uint8_t *raw); // its checksum
uint64_t ext4_size_max(const struct ext4_fs *fs, bool extents);               // of a file
void ext4_inode_update(struct inode *inode);                                  // inode_ops.update
int ext4_set_attributes(struct inode *inode, const struct attributes *a);
void ext4_inode_release(struct inode *inode);
void ext4_inode_mark(struct ext4_inode *i);                // its times or its size are to be written some day
int ext4_inodes_write(struct ext4_fs *fs);                 // all of those
int ext4_inode_sync(struct ext4_inode *i, bool data_only); // metadata on the disk
bool ext4_inode_in_memory(const struct ext4_inode *i);     // a symbolic link in the inode itself
extern const struct inode_ops ext4_file_inode_ops, ext4_dir_inode_ops, ext4_link_inode_ops, ext4_special_inode_ops;
extern const struct file_ops ext4_file_ops, ext4_dir_ops;
extern const struct page_cache_ops ext4_cache_ops;
// --- orphan.c ---
#define CREDITS_ORPHAN 3
int ext4_orphan_add(struct ext4_handle *h, struct ext4_inode *i);
int ext4_orphan_remove(struct ext4_handle *h, struct ext4_inode *i);
int ext4_orphans_clean(struct ext4_fs *fs); // after a power cut

// --- map.c: logical blocks ---
struct ext4_map {
    uint64_t block; // 0: a hole
    uint32_t count; // blocks that go on like this, at least 1
    bool unwritten; // reads as zeroes
};
int ext4_map_find(struct ext4_inode *i, uint32_t at, uint32_t max, struct ext4_map *out); // takes i->map
int ext4_map_find_locked(struct ext4_inode *i, uint32_t at, uint32_t max, struct ext4_map *out);
// A place for blocks of a hole, or for unwritten ones (which become written): i->map held for writing. The inode must be written after.
int ext4_map_allocate(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, bool unwritten,
                      unsigned flags, struct ext4_map *out);
#define CREDITS_MAP 32
// Frees [first, end), piece by piece in handles of its own. No handle, no i->map held.
int ext4_map_remove(struct ext4_inode *i, uint32_t first, uint32_t end);
#define EXT4_BLOCK_END 0xffffffffu
// Delayed blocks: so many are reserved for the holes in a page that is to become dirty.
int ext4_delayed_add(struct ext4_inode *i, uint64_t page,
                     uint32_t count); // 0 (also when there is an entry), -ENOSPC, -ENOMEM
uint32_t ext4_delayed_get(struct ext4_inode *i, uint64_t page);
void ext4_delayed_take(struct ext4_inode *i, uint64_t first,
                       uint64_t end); // pages: their blocks have a place, or are gone
// extent.c; i->map held
int ext4_extent_find(struct ext4_inode *i, uint32_t at, struct ext4_map *out);
int ext4_extent_insert(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, uint64_t block,
                       bool unwritten);
int ext4_extent_convert(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count);
int ext4_extent_remove(struct ext4_handle *h, struct ext4_inode *i, uint32_t first, uint32_t end); // 1: there is more
void ext4_extent_init(struct ext4_inode *i);
// indirect.c; i->map held
int ext4_indirect_find(struct ext4_inode *i, uint32_t at, struct ext4_map *out);
int ext4_indirect_allocate(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, unsigned flags,
                           struct ext4_map *out);
int ext4_indirect_remove(struct ext4_handle *h, struct ext4_inode *i, uint32_t first, uint32_t end); // 1: there is more
uint64_t ext4_goal(struct ext4_inode *i);

// --- dir.c: the directory's inode.lock is held ---
struct ext4_dir_place {
    struct ext4_buffer *b;
    struct ext4_dirent *e, *previous; // previous: in the same block, or NULL
    uint32_t block;
};
struct ext4_buffer *ext4_dir_block(struct ext4_inode *dir, uint32_t block); // checked. ERR_PTR; -ENODATA: a hole
struct ext4_buffer *ext4_dir_block_any(struct ext4_inode *dir, uint32_t block,
                                       bool *index); // may be a block of the index
int ext4_dir_find(struct ext4_inode *dir, const char *name, size_t len, struct ext4_dir_place *out); // 0, -ENOENT
int ext4_dir_search(struct ext4_inode *dir, struct ext4_buffer *b, uint32_t block, const char *name, size_t len,
                    struct ext4_dir_place *out);
#define CREDITS_DIR 40 // a new block in an index, and its splits
int ext4_dir_add(struct ext4_handle *h, struct ext4_inode *dir, const char *name, size_t len, uint32_t ino,
                 uint32_t mode);
bool ext4_dir_insert(struct ext4_inode *dir, struct ext4_buffer *b, const char *name, size_t len, uint32_t ino,
                     uint8_t type);
int ext4_dir_remove(struct ext4_handle *h, struct ext4_inode *dir, struct ext4_dir_place *place);
int ext4_dir_set(struct ext4_handle *h, struct ext4_inode *dir, struct ext4_dir_place *place, uint32_t ino,
                 uint32_t mode);
int ext4_dir_init(struct ext4_handle *h, struct ext4_inode *dir, uint32_t parent);                   // "." and ".."
int ext4_dir_parent(struct ext4_inode *dir, struct ext4_dir_place *out);                             // the entry ".."
int ext4_dir_empty(struct ext4_inode *dir);                                                          // 0, -ENOTEMPTY
struct ext4_buffer *ext4_dir_append(struct ext4_handle *h, struct ext4_inode *dir, uint32_t *block); // an empty block
void ext4_dir_seal(struct ext4_inode *dir, struct ext4_buffer *b); // the block's checksum
uint32_t ext4_dir_space(const struct ext4_fs *fs);                 // of a block, for entries
uint8_t ext4_dir_type(const struct ext4_fs *fs, uint32_t mode);
uint32_t ext4_dir_space_in(struct ext4_inode *dir, const struct ext4_buffer *b, uint32_t block); // of this block
// htree.c
struct ext4_name_ref { // a name in a leaf
    uint32_t hash;
    uint16_t offset, size;
};
// The leaf for a hash value, with a reference, and the value that the next leaf begins with (0: there is none). A directory of one
// block without an index is a leaf. ERR_PTR.
struct ext4_buffer *ext4_htree_leaf(struct ext4_inode *dir, uint32_t hash, uint32_t *next, uint8_t *version);
// The names of a leaf, by hash; room for a twelfth of the block's bytes. How many.
uint32_t ext4_htree_sort(struct ext4_inode *dir, const uint8_t *data, uint8_t version, struct ext4_name_ref *names);
uint32_t ext4_hash(const struct ext4_fs *fs, uint8_t version, const char *name, size_t len);
bool ext4_dir_indexed(const struct ext4_inode *dir);
int ext4_htree_find(struct ext4_inode *dir, const char *name, size_t len, struct ext4_dir_place *out);
int ext4_htree_add(struct ext4_handle *h, struct ext4_inode *dir, const char *name, size_t len, uint32_t ino,
                   uint8_t type);
int ext4_htree_make(struct ext4_handle *h, struct ext4_inode *dir); // the only block is full: it gets an index
void ext4_htree_seal(struct ext4_inode *dir, struct ext4_buffer *b, uint32_t block);
bool ext4_htree_is_index(const struct ext4_inode *dir, const uint8_t *data, uint32_t block);
bool ext4_htree_index_valid(const struct ext4_inode *dir, const uint8_t *data, uint32_t block);

// --- data.c, file.c, xattr.c, ioctl.c ---
int ext4_truncate(struct inode *inode, uint64_t size);
int ext4_allocate(struct file *f, int mode, uint64_t offset, uint64_t len);
int64_t ext4_seek(struct file *f, int64_t offset, int whence);
long ext4_ioctl(struct file *f, unsigned cmd, uint64_t arg);
long ext4_xattr_get(struct inode *inode, const char *name, void *buf, size_t size);
int ext4_xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags);
long ext4_xattr_list(struct inode *inode, char *buf, size_t size);
int ext4_xattr_free_block(struct ext4_handle *h, struct ext4_inode *i); // the inode goes

#endif
