// Writing back. A cache with changes is in cache_dirty_list, and holds a reference of its inode until all is written. A thread, made for
// the first change ever, writes what is old enough, and everything while more than the background limit is dirty; above the limit
// writers write themselves (page_cache_balance). An inode that was deleted and that only write-back holds is not written but dropped.
// What runs of pages are written together: neighbours, up to WRITE_RUN.
// Whoever looks after an inode that is only write-back's is counted in superblock.write_back, and the end of a file system waits for him.
// Locks: none is held while ops->write runs. sync_lock: one page_cache_sync_all at a time.
#include "fs/cache/internal.h"
#include "fs/cache/settings.h"
#include "kernel/log.h"
#include "kernel/time.h"

#define BATCH 16                         // inodes that are written at a time
#define CENTISECOND (10 * NSEC_PER_MSEC) // what the settings count in
#define LEAST_LIMIT 8                    // pages
#define LEAST_PAUSE (10 * NSEC_PER_MSEC)
#define WITHOUT_MEMORY 8 // tries of fsync

struct dirty_settings dirty_settings = {.background_ratio = 10, .ratio = 20, .expire = 500, .interval = 500};
struct waitq cache_progress;

static struct thread *writer;
static bool writer_made, writer_idle, writer_wanted;
static struct mutex sync_lock = MUTEX_INIT(sync_lock);
uint32_t cache_sync_round;

void cache_written(void) {
    if (waitq_active(&cache_progress))
        waitq_wake_all(&cache_progress);
}

// A reference of an inode that is in the list. cache_lock held: it, and so its file system, is there.
static struct inode *hold(struct page_cache *c) {
    atomic_add(&c->host->sb->write_back, 1);
    return inode_ref(c->host);
}

static void let_go(struct inode *inode) {
    struct superblock *sb = inode->sb;
    inode_unref(inode);
    atomic_sub(&sb->write_back, 1); // it may be gone after this
    cache_written();
}

void page_cache_leave(struct superblock *sb) { wait_event(&cache_progress, READ_ONCE(sb->write_back) == 0); }

// --- Limits ---

static uint64_t limit_pages(uint64_t bytes, uint32_t ratio) {
    if (bytes)
        return DIV_ROUND_UP(bytes, PAGE_SIZE);
    return MAX((page_free_count() + READ_ONCE(cache_pages)) * ratio / 100, LEAST_LIMIT);
}

static uint64_t limit(void) { return limit_pages(dirty_settings.bytes, dirty_settings.ratio); }

static uint64_t background(void) {
    uint64_t pages = limit_pages(dirty_settings.background_bytes, dirty_settings.background_ratio);
    return MIN(pages, limit() / 2);
}

static bool above_limit(void) { return READ_ONCE(cache_dirty) + READ_ONCE(cache_writing) > limit(); }

// --- One cache ---

// The next run of dirty pages from *index on: from now on being written. *busy: instead, a page that is written already, with a
// reference.
static unsigned collect(struct page_cache *c, uint64_t *index, uint64_t end, struct page **run, unsigned max,
                        struct page **busy) {
    unsigned n = 0;
    *busy = NULL;
    spin_lock(&c->host->spin);
    struct page *p = pagetree_next_marked(&c->pages, index);
    if (p && *index < end && (page_bits(p) & CACHE_WRITEBACK)) {
        page_ref(p);
        *busy = p;
        p = NULL;
    }
    for (uint64_t i = *index; p && i < end && n < max; p = pagetree_get(&c->pages, ++i)) {
        if ((page_bits(p) & (CACHE_DIRTY | CACHE_WRITEBACK)) != CACHE_DIRTY)
            break;
        __atomic_fetch_xor(&p->private, CACHE_DIRTY | CACHE_WRITEBACK, __ATOMIC_SEQ_CST);
        pagetree_unmark(&c->pages, i);
        page_ref(p);
        run[n++] = p;
    }
    c->dirty -= n;
    atomic_add(&c->writing, n);
    spin_unlock(&c->host->spin);
    atomic_sub(&cache_dirty, n);
    atomic_add(&cache_writing, n);
    return n;
}

uint64_t cache_write_some(struct page_cache *c, uint64_t index, uint64_t end, uint64_t max, bool wait) {
    struct page *few[16] = {NULL}, *busy;
    uint64_t started = 0;
    if (!READ_ONCE(c->dirty))
        return 0;
    struct page **run = kmalloc(WRITE_RUN * sizeof(struct page *));
    while (started < max) {
        unsigned n =
            collect(c, &index, end, run ? run : few, MIN(run ? WRITE_RUN : ARRAY_SIZE(few), max - started), &busy);
        if (busy) {
            if (wait)
                cache_wait_bits(busy, CACHE_WRITEBACK);
            else
                index++;
            page_unref(busy);
            continue;
        }
        if (n == 0)
            break;
        // From here on a store through a mapping faults, and makes the page dirty again.
        backing_unshow(&c->backing, index, n);
        c->ops->write(c, index, run ? run : few, n);
        index += n;
        started += n;
        sched_point();
    }
    kfree(run);
    return started;
}

void cache_settle(struct page_cache *c) {
    if (!READ_ONCE(c->held) || READ_ONCE(c->dirty) || READ_ONCE(c->writing))
        return;
    struct inode *inode = c->host;
    atomic_add(&inode->sb->write_back, 1);
    spin_lock(&inode->spin);
    bool drop = c->held && !c->dirty && !load_acquire(&c->writing);
    if (drop) {
        c->held = false;
        spin_lock(&cache_lock);
        list_remove(&c->dirty_link);
        spin_unlock(&cache_lock);
    }
    spin_unlock(&inode->spin);
    struct superblock *sb = inode->sb;
    if (drop)
        inode_unref(inode);
    atomic_sub(&sb->write_back, 1);
    cache_written();
}

// What is dirty in the range by now. Whoever makes the file longer meanwhile does not keep us here.
static void write_range(struct page_cache *c, uint64_t index, uint64_t end, bool wait) {
    uint64_t last = MAX(MIN(page_count_of(READ_ONCE(c->host->size)), end), index);
    cache_write_some(c, index, last, ~0ul, wait);
    if (last < end) // of a write that failed, or has just begun
        cache_write_some(c, last, end, READ_ONCE(c->dirty), wait);
}

int page_cache_start_sync(struct page_cache *c, uint64_t index, uint64_t count) {
    write_range(c, index, count > ~0ul - index ? ~0ul : index + count, false);
    return 0;
}

// The pages of a range that are being written.
static void wait_for_pages(struct page_cache *c, uint64_t index, uint64_t end) {
    for (;;) {
        struct page *p;
        unsigned looked = 0;
        spin_lock(&c->host->spin);
        while ((p = pagetree_next(&c->pages, &index)) && index < end && !(page_bits(p) & CACHE_WRITEBACK)) {
            index++;
            if (++looked % 256 == 0) {
                spin_unlock(&c->host->spin);
                sched_point();
                spin_lock(&c->host->spin);
            }
        }
        if (!p || index >= end)
            break;
        page_ref(p);
        spin_unlock(&c->host->spin);
        cache_wait_bits(p, CACHE_WRITEBACK);
        page_unref(p);
        index++;
    }
    spin_unlock(&c->host->spin);
}

int page_cache_sync(struct page_cache *c, uint64_t index, uint64_t count) {
    uint64_t end = count > ~0ul - index ? ~0ul : index + count;
    uint32_t failures = READ_ONCE(c->failures);
    if (!READ_ONCE(c->dirty) && !READ_ONCE(c->writing)) {
        cache_settle(c);
        return 0;
    }
    int err = -EAGAIN;
    for (unsigned tries = 0; err == -EAGAIN; tries++) {
        uint32_t put_off = READ_ONCE(c->put_off);
        write_range(c, index, end, true);
        // Mostly that was all. When others keep writing, the pages of the range are looked up one by one.
        if (wait_event_until(cache_waitq(c), load_acquire(&c->writing) == 0, time_monotonic() + 50 * NSEC_PER_MSEC,
                             false) < 0)
            wait_for_pages(c, index, end);
        if (READ_ONCE(c->failures) != failures)
            err = READ_ONCE(c->error);
        else if (READ_ONCE(c->put_off) == put_off)
            err = 0;
        else if (tries >= WITHOUT_MEMORY || !cache_make_room())
            err = -ENOMEM;
    }
    cache_settle(c);
    return err;
}

// --- All of them ---

// An inode whose cache has changes since before `until`, or (`round`) was not seen in this round; with a reference. NULL: none.
// *next: of those that are younger, when the oldest changed.
static struct inode *take(nsec_t until, uint32_t round, const struct superblock *sb, nsec_t *next) {
    struct page_cache *c;
    struct inode *inode = NULL;
    *next = NSEC_MAX;
    spin_lock(&cache_lock);
    list_for_each (c, &cache_dirty_list, dirty_link) {
        if (round ? c->sync_round == round || (sb && c->host->sb != sb)
                  : !READ_ONCE(c->dirty) && READ_ONCE(c->writing)) {
            *next = 1; // soon there is something to do for it
            continue;
        }
        if (round || !READ_ONCE(c->dirty) || c->dirty_since <= until) {
            if (round)
                c->sync_round = round;
            inode = hold(c);
            break;
        }
        *next = MIN(*next, c->dirty_since);
    }
    spin_unlock(&cache_lock);
    return inode;
}

void page_cache_abandon(struct inode *inode) {
    struct page_cache *c = inode->cache;
    if (!READ_ONCE(c->held))
        return;
    page_cache_drop(c, 0, ~0ul);
    cache_settle(c);
}

uint64_t cache_write_oldest(uint64_t max) {
    uint64_t started = 0;
    struct page_cache *c;
    struct inode *inode = NULL;
    spin_lock(&cache_lock);
    list_for_each (c, &cache_dirty_list, dirty_link) {
        if (READ_ONCE(c->dirty)) {
            inode = hold(c);
            break;
        }
    }
    spin_unlock(&cache_lock);
    if (inode) {
        started = cache_write_some(inode->cache, 0, ~0ul, max, false);
        spin_lock(&cache_lock); // the next one's turn
        if (inode->cache->held) {
            list_remove(&inode->cache->dirty_link);
            list_push_back(&cache_dirty_list, &inode->cache->dirty_link);
        }
        spin_unlock(&cache_lock);
        let_go(inode);
    }
    return started;
}

static void finish_batch(struct inode *const *batch, unsigned count, bool sync) {
    for (unsigned i = 0; i < count; i++) {
        struct page_cache *c = batch[i]->cache;
        if (sync)
            (void)page_cache_sync(c, 0, ~0ul);
        else // who writes all the time is no reason to let the others wait for ever
            (void)wait_event_until(cache_waitq(c), load_acquire(&c->writing) == 0, time_monotonic() + NSEC_PER_SEC,
                                   false);
        spin_lock(&c->host->spin);
        if (c->dirty && !sync)
            c->dirty_since = time_monotonic(); // what was changed again while it was written
        spin_unlock(&c->host->spin);
        cache_settle(c);
        let_go(batch[i]);
    }
}

void page_cache_sync_all(struct superblock *sb) {
    struct inode *batch[BATCH] = {NULL}, *inode;
    nsec_t next;
    if (!load_acquire(&writer_made))
        return; // nothing was ever dirty
    mutex_lock(&sync_lock);
    if (++cache_sync_round == 0)
        cache_sync_round = 1;
    unsigned count;
    do {
        count = 0;
        while (count < BATCH && (inode = take(0, cache_sync_round, sb, &next))) {
            write_range(inode->cache, 0, ~0ul, false);
            batch[count++] = inode;
        }
        finish_batch(batch, count, true);
    } while (count);
    mutex_unlock(&sync_lock);
}

// Returns when the oldest change that was left was made.
static nsec_t write_batch(nsec_t until) {
    struct inode *batch[BATCH] = {NULL}, *inode;
    nsec_t next = NSEC_MAX;
    unsigned count = 0;
    while (count < BATCH && (inode = take(until, 0, NULL, &next))) {
        if (inode->nlink == 0 && READ_ONCE(inode->refs) == 2) // its own, and ours
            page_cache_drop(inode->cache, 0, ~0ul);
        else
            write_range(inode->cache, 0, ~0ul, false);
        batch[count++] = inode;
        if (!READ_ONCE(inode->cache->dirty) && !READ_ONCE(inode->cache->writing))
            break; // it would be taken again
    }
    finish_batch(batch, count, false);
    return count ? 0 : next;
}

static void write_loop(void *arg) {
    for (;;) {
        nsec_t expire = dirty_settings.expire * CENTISECOND, now = time_monotonic(), oldest;
        bool all = READ_ONCE(cache_dirty) > background();
        do {
            oldest = write_batch(all ? NSEC_MAX : dirty_settings.interval ? now - expire : -1);
            all = all && READ_ONCE(cache_dirty) > background();
        } while (oldest == 0);
        nsec_t deadline = NSEC_MAX;
        if (oldest != NSEC_MAX && dirty_settings.interval)
            deadline = MAX(oldest + expire, now + LEAST_PAUSE);
        thread_prepare_sleep(false);
        WRITE_ONCE(writer_idle, deadline == NSEC_MAX);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (READ_ONCE(writer_wanted) ||
            (deadline == NSEC_MAX && !list_empty(&cache_dirty_list) && dirty_settings.interval))
            thread_cancel_sleep();
        else
            (void)thread_sleep_until(deadline);
        WRITE_ONCE(writer_wanted, false);
    }
}

void cache_wake_writer(void) {
    struct thread *t = load_acquire(&writer);
    if (t && !atomic_xchg(&writer_wanted, true))
        thread_wake(t);
}

void cache_became_dirty(void) {
    if (likely(load_acquire(&writer_made))) {
        if (READ_ONCE(writer_idle))
            cache_wake_writer();
        return;
    }
    if (atomic_xchg(&writer_made, true))
        return;
    struct thread *t = thread_create_kernel("writeback", write_loop, NULL);
    if (!t) { // the next one tries again; fsync and writers above the limit do without
        log_warn("no memory for the thread that writes files");
        return;
    }
    store_release(&writer, t);
    thread_start(t);
}

static void balance_slow(struct page_cache *c) {
    cache_wake_writer();
    while (above_limit() && !thread_is_killed()) {
        if (!(c && cache_write_some(c, 0, ~0ul, WRITE_RUN, false)) && !cache_write_oldest(WRITE_RUN) &&
            !READ_ONCE(cache_writing))
            return;
        (void)wait_event_until(&cache_progress, !above_limit(), time_monotonic() + 20 * NSEC_PER_MSEC, false);
    }
}

void page_cache_balance(struct page_cache *c) {
    if (unlikely(READ_ONCE(cache_dirty) + READ_ONCE(cache_writing) > background()))
        balance_slow(c);
}

void page_cache_statistics(struct cache_statistics *out) {
    *out = (struct cache_statistics){.pages = READ_ONCE(cache_pages),
                                     .dirty = READ_ONCE(cache_dirty),
                                     .writing = READ_ONCE(cache_writing),
                                     .read_ahead = READ_ONCE(cache_read_ahead),
                                     .evicted = READ_ONCE(cache_evicted)};
}
