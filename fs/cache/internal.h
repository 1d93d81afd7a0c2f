// What the files of fs/cache/ share.
#ifndef FS_CACHE_INTERNAL_H
#define FS_CACHE_INTERNAL_H

#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "kernel/threads/thread.h"
#include "kernel/threads/wait.h"

#define WRITE_RUN 256 // pages of one ops->write call

// All caches with pages and those with changes; page_cache.users.
extern struct spinlock cache_lock;
extern struct list cache_list, cache_dirty_list;
extern uint64_t cache_pages, cache_dirty, cache_writing, cache_read_ahead, cache_evicted; // pages; atomic

static inline uint64_t page_bits(const struct page *p) { return load_acquire(&p->private); }
static inline bool page_try_lock(struct page *p) { return !(atomic_or(&p->private, CACHE_LOCKED) & CACHE_LOCKED); }
static inline uint64_t page_count_of(uint64_t size) { return DIV_ROUND_UP(size, PAGE_SIZE); }

// Pages and caches share a few wait queues: whoever waits looks again.
struct waitq *cache_waitq(const void *what);
static inline void cache_wake(const void *what) {
    struct waitq *wq = cache_waitq(what);
    if (waitq_active(wq))
        waitq_wake_all(wq);
}
void cache_wait_bits(struct page *p, uint64_t bits);     // until none of them is set
bool cache_wait_killable(struct page *p, uint64_t bits); // false: the process was killed meanwhile

static inline bool thread_is_killed(void) { return thread_signal_pending() && READ_ONCE(process_current()->exiting); }

static inline void cache_unlock(struct page *p) {
    atomic_and(&p->private, ~(uint64_t)CACHE_LOCKED);
    cache_wake(p);
}

// --- pagecache.c ---
// What is in the tree (or provided), with a reference, in whatever state; NULL.
struct page *cache_find(struct page_cache *c, uint64_t index);
// One that a file system provided has no state of ours: it is always valid.
static inline bool is_provided(const struct page *p) { return p->flags & PAGE_RESERVED; }
static inline bool is_valid(const struct page *p) { return (page_bits(p) & CACHE_VALID) || is_provided(p); }
// A page for the cache, undefined contents, bits 0. May reclaim clean pages and wait for them. NULL.
struct page *cache_page_alloc(void);
// Each use of a page: the second one since the reclaimer looked makes it stay.
static inline void cache_used(struct page *p, uint64_t bits) {
    if (unlikely(!(bits & CACHE_REFERENCED)))
        atomic_or(&p->private, bits & CACHE_TOUCHED ? CACHE_REFERENCED : CACHE_TOUCHED);
}
// Adds a page with these bits; the tree takes a reference of its own. 0, -EEXIST, -ENOMEM, -EFAULT: behind the file's end (only
// with `within`).
int cache_insert(struct page_cache *c, uint64_t index, struct page *p, uint64_t bits, bool within);
// Takes it out of the tree; host->spin held; the tree's reference is the caller's now. A change is forgotten.
void cache_remove_locked(struct page_cache *c, struct page *p);
// The changed page is to be written. False: it is not in the tree any more.
bool cache_mark_dirty(struct page_cache *c, struct page *p);
// Valid, waited for. `pages`: how many the caller is going to want. `how`: READ_*. `slept`: set when it had to wait for the medium.
struct page *cache_get(struct page_cache *c, uint64_t index, uint64_t pages, unsigned how, bool *slept);
#define READ_AROUND 1     // the neighbours on both sides, too: a mapping's fault
#define READ_RANDOM 2     // what is asked for, no more: POSIX_FADV_RANDOM
#define READ_SEQUENTIAL 4 // at once as much as there may be: POSIX_FADV_SEQUENTIAL
#define READ_KILLABLE 8   // of a program: -EINTR when it is killed while it waits
// Asks the file system (page_cache_ops.prepare). *whole: the page need not be read.
int cache_prepare(struct page_cache *c, uint64_t index, unsigned from, unsigned to, bool fault, bool *whole);

// --- map.c ---
extern const struct backing_ops cache_backing_ops;

// --- readahead.c ---
// The page at `index` is missing: starts to read it, and what the access suggests behind it. 0, -ENOMEM, -EFAULT.
int cache_read_missing(struct page_cache *c, uint64_t index, uint64_t pages, unsigned how);
void cache_read_more(struct page_cache *c, struct page *p); // a page with CACHE_READAHEAD is used
// Starts reading those of [index, index + count) that are missing; the page `mark` gets CACHE_READAHEAD. 0 or -ENOMEM for the first.
int cache_read_range(struct page_cache *c, uint64_t index, uint64_t count, uint64_t mark);
void cache_read_again(struct page_cache *c, struct page *p); // locked, and not valid

// --- writeback.c ---
extern uint32_t cache_sync_round; // of page_cache_sync_all: what becomes dirty after its start is not its business
void cache_became_dirty(void);    // a cache has its first change. No spinlock held
void cache_settle(
    struct page_cache *c); // gives the inode's reference back when nothing is left to write; c may be gone then
// Starts writing at most `max` of the dirty pages in [index, end). How many.
uint64_t cache_write_some(struct page_cache *c, uint64_t index, uint64_t end, uint64_t max, bool wait);
uint64_t cache_write_oldest(uint64_t max); // of all caches: for the reclaimer. How many were started
void cache_written(void);                  // some write ended: any context
extern struct waitq cache_progress;        // woken then

// --- reclaim.c ---
void cache_first_page(void); // registers with the kernel's reclaimer
// No page to be had: gives back clean ones, and waits for the reclaimer's thread when there are none. False: no hope.
bool cache_make_room(void);

#endif
