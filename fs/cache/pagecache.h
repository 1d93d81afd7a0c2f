// The page cache: pages of files whose data lies elsewhere (a block device, a 9P server). A file system embeds a struct page_cache
// in its inode, and gets read, write, mmap, read-ahead, write-back and eviction for it. Memory file systems do without (fs/tmpfs.h).
//
// A page in the cache has one reference of the tree; whoever got it holds another. Its state is in page->private (CACHE_*).
// Locks: inode.lock (write, truncate; never taken by page faults) > the page's lock bit (held while it is filled) >
// inode.spin (the tree) > cache_lock (the lists of caches; a leaf). Nothing here is held while a request is on its way but the page's
// lock bit. What ends a request (page_cache_read_done, page_cache_write_done) takes no lock at all but a wait queue's.
#ifndef FS_CACHE_PAGECACHE_H
#define FS_CACHE_PAGECACHE_H

#include "fs/pagetree.h"
#include "fs/vfs.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/page.h"

struct page_cache;

#define CACHE_VALID 1       // the contents are there
#define CACHE_LOCKED 2      // being filled
#define CACHE_DIRTY 4       // newer than what it came from
#define CACHE_WRITEBACK 8   // being written; stays readable and writable
#define CACHE_REFERENCED 16 // used since the reclaimer last looked
#define CACHE_FAILED 32     // the last read failed
#define CACHE_READAHEAD 64  // whoever uses it starts the next read-ahead
#define CACHE_TOUCHED 128   // used once

struct page_cache_ops {
    // Starts reading the pages [index, index + count), which are locked and not valid. page_cache_read_done() is called for each,
    // now or later, in any order. What lies behind the file's end within a page is zeroed by it. May sleep; must not take inode.lock.
    void (*read)(struct page_cache *c, uint64_t index, struct page **pages, unsigned count);
    // Starts writing the pages [index, index + count), CACHE_WRITEBACK and no longer dirty. page_cache_write_done() for each.
    // Where the medium has no place and `prepare` was not called there are zeroes (behind the old end of a file that grew): they need
    // none. May sleep; must not take inode.lock. NULL: nothing is ever dirty.
    void (*write)(struct page_cache *c, uint64_t index, struct page **pages, unsigned count);
    // Bytes [from, to) of the page `index` are about to change, by write(2) (inode.lock held, inode.size still the old one) or by
    // the first store through a shared mapping (`fault`: inode.lock not held): makes sure that the change can be written later.
    // *whole: the page need not be read first (it lies in a hole or behind the end: it is zeroed). 0, -ENOSPC, -EIO, -EDQUOT, -EROFS.
    // NULL: always possible.
    int (*prepare)(struct page_cache *c, uint64_t index, unsigned from, unsigned to, bool fault, bool *whole);
    // Page `index` can be had without reading: with a reference, valid, never written to (of an image in memory; PAGE_RESERVED).
    // NULL: it must be read. The function may be NULL.
    struct page *(*provide)(struct page_cache *c, uint64_t index);
    // The inode's size or times changed by a write (inode.lock held) or by a store through a mapping or a read's atime (`lockless`):
    // they are to be written some day. NULL: nobody keeps them.
    void (*changed)(struct page_cache *c, bool lockless);
    bool zero_tails; // the file system makes sure that the medium has zeroes behind a file's end, in its last page
};

struct page_cache {
    struct inode *host;
    const struct page_cache_ops *ops;
    struct backing backing; // what mmap shows: the same pages
    struct pagetree pages;  // under host->spin
    struct list link;       // of all caches with pages: cache_list, under cache_lock
    struct list
        dirty_link;       // of those with changes, oldest first, under cache_lock; each holds a reference of the inode
    bool listed, held;    // in these lists
    bool tail_stored;     // a mapping's store may have gone behind the file's end
    uint32_t dirty;       // pages
    uint32_t reading;     // pages on their way
    uint32_t writing;     // pages on their way
    uint32_t users;       // the reclaimer looks at it: page_cache_destroy waits
    uint32_t sync_round;  // page_cache_sync_all has seen it
    uint64_t hand;        // where the reclaimer goes on
    int error;            // of a failed write-back that nobody was told yet (fsync, close reports it once)
    uint32_t error_count; // grows with the first one that nobody was told; odd: somebody was
    uint32_t failures;    // grows with each
    uint32_t put_off;     // page_cache_write_again was called so often
    nsec_t dirty_since;   // of the oldest change; 0: clean
};

// `host` may still be under construction; its size is read at each call.
void page_cache_init(struct page_cache *c, struct inode *host, const struct page_cache_ops *ops);
// The last reference to the inode is gone: waits for what is on its way, drops all pages. What is dirty is written first when
// the inode still has links, else thrown away.
void page_cache_destroy(struct page_cache *c);

// --- Pages ---
// Each returns a page with a reference for the caller: page_unref() it.
// Valid, read when needed (with read-ahead), waited for. ERR_PTR(-EIO, -ENOMEM).
struct page *page_cache_get(struct page_cache *c, uint64_t index);
struct page *page_cache_get_alone(struct page_cache *c,
                                  uint64_t index); // the same without read-ahead: of what is read here and there
// If it is there and valid; NULL otherwise. No I/O, no sleep.
struct page *page_cache_peek(struct page_cache *c, uint64_t index);
// To be changed at [from, to): ops->prepare was called and the rest is valid. ERR_PTR. Then change it and call page_cache_dirty.
struct page *page_cache_get_write(struct page_cache *c, uint64_t index, unsigned from, unsigned to);
void page_cache_dirty(struct page_cache *c, struct page *p);
// Starts reading, without waiting. A hint.
void page_cache_prefetch(struct page_cache *c, uint64_t index, uint64_t count);

// --- For page_cache_ops: the end of what `read` and `write` started. Any context. ---
void page_cache_read_done(struct page_cache *c, struct page *p, int error);
void page_cache_write_done(struct page_cache *c, struct page *p, int error);
// Instead of the second, by ops->write itself before it returns: there was no memory to begin with. The page stays changed.
void page_cache_write_again(struct page_cache *c, struct page *p);

// --- Ranges of pages; `count` ~0UL: to the end ---
// Writes what is dirty and waits for it, and for what was on its way. 0 or -EIO, -ENOSPC (of these pages), -ENOMEM: some are still dirty.
int page_cache_sync(struct page_cache *c, uint64_t index, uint64_t count);
int page_cache_start_sync(struct page_cache *c, uint64_t index, uint64_t count); // without waiting
// The error of an earlier write-back that this open file has not been told: 0 or -errno. *seen: file.write_errors.
int page_cache_check_error(struct page_cache *c, uint32_t *seen);
// What a newly opened file begins with: an error that nobody was told yet is still its, too.
uint32_t page_cache_sample_error(struct page_cache *c);
// The file shrank or a hole was made: pages in [index, ...) are unmapped and dropped, dirty or not, and none of them is on its way any
// more. inode.lock held. Readers and faults may bring pages back from the disk at once: who makes a hole calls it before and after.
void page_cache_drop(struct page_cache *c, uint64_t index, uint64_t count);
// The file is about to grow from `size` to `to` at least: what mappings stored behind its end, in its last page, becomes zero. inode.lock
// held. 0 or -errno: then it must not grow.
int page_cache_zero_tail(struct page_cache *c, uint64_t size, uint64_t to);
// The new size is in inode.size: drops what is behind, zeroes the rest of the last page. inode.lock held.
void page_cache_truncated(struct page_cache *c, uint64_t old_size);
// Bytes become zero in pages that are cached, and these dirty (ops->prepare is the caller's business). inode.lock held.
void page_cache_zero(struct page_cache *c, uint64_t from, uint64_t to);
// The source changed behind our back: clean pages go (mapped ones, too); dirty ones stay. How many went.
uint64_t page_cache_invalidate(struct page_cache *c, uint64_t index, uint64_t count);

// --- For struct file_ops and inode_ops of such files ---
// inode_unref's: the inode's last link is gone, and nobody but write-back holds it besides the caller: what is dirty is dropped.
void page_cache_abandon(struct inode *inode);
struct page_cache *
page_cache_of(struct inode *inode); // inode->cache, or that of the file below an overlay's; NULL for others
int64_t page_cache_read_file(struct file *f, struct uio *u, uint64_t *pos);
int64_t page_cache_write_file(struct file *f, struct uio *u,
                              uint64_t *pos); // takes inode.lock, O_APPEND, limits, times, set-ID bits
// The parts of the two without a file: bytes, or -errno when there are none. The first reads up to host->size (`advice`: POSIX_FADV_*), the
// second writes up to `end`, with inode.lock held, and grows host->size; limits and times are the caller's business.
int64_t page_cache_read(struct page_cache *c, struct uio *u, uint64_t *pos, unsigned advice);
int64_t page_cache_write(struct page_cache *c, struct uio *u, uint64_t *pos, uint64_t end);
// file_share of such files, and its part without a file.
int64_t page_cache_share_file(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max);
int64_t page_cache_share(struct page_cache *c, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max, unsigned advice);
struct backing *page_cache_map(struct file *f, unsigned prot, unsigned flags);
int page_cache_fsync(struct file *f, bool data_only); // the data alone: the file system adds its own part

// Whoever makes pages dirty at the wish of a program calls it now and then: when there are too many it writes some, and waits.
// inode.lock may be held, and nothing that ops->write takes. `c`: preferably its pages; NULL: any.
void page_cache_balance(struct page_cache *c);

// --- The whole cache ---
// Gives back clean pages, least recently used first, at least `pages` when it can. May sleep when `wait` (then dirty pages are
// written, too). How many went. Called by whoever finds no memory in a context that may sleep, and by the reclaimer's thread.
uint64_t page_cache_reclaim(uint64_t pages, bool wait);
void page_cache_drop_clean(void);                // all clean pages: /proc/sys/vm/drop_caches
void page_cache_leave(struct superblock *sb); // after the last sync of a file system that has no users: write-back lets go of its inodes
void page_cache_sync_all(struct superblock *sb); // sync(2), syncfs(2): starts and waits. NULL: all
struct cache_statistics {
    uint64_t pages, dirty, writing, read_ahead, evicted; // for /proc/meminfo and /proc/vmstat
};
void page_cache_statistics(struct cache_statistics *out);

#endif
