// See reclaim.h. The marks lie above what page.c keeps for the kernel itself.
#include "kernel/memory/reclaim.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "kernel/threads/wait.h"
#include "kernel/time.h"

#define BATCH 32                    // pages that one who needs one gives back
#define PATIENCE (NSEC_PER_SEC)     // of those who wait for the thread
#define PAUSE (100 * NSEC_PER_MSEC) // of the thread, when there is nothing to be had
#define HOPELESS 8                  // looks without any progress: there is no hope
#define LOOK_AGAIN (20 * NSEC_PER_MSEC)
#define BLOCK_ORDER 5      // of blocks that the thread sees to: a slab's, the arguments of a program
#define SHORT_ORDER 3      // the largest of fork's
#define BLOCK_ROUNDS 16    // in vain, before it gives up
#define TRIES 8

uint64_t reclaim_low;
static uint64_t reclaim_high;
static struct spinlock lock = SPINLOCK_INIT;
static struct shrinker *shrinkers;
static struct thread *reclaimer;
static bool made;                        // the thread, or somebody is at it
static bool wanted;                      // the thread is to look
static bool asked;                       // somebody waits for a round, however much is free
static bool resting;                     // there is nothing to be had: page_alloc() does not wake the thread
static uint32_t begun, finished, gained; // rounds of the thread; those that gave something
static struct waitq round_wait = WAITQ_INIT(round_wait);
static unsigned block_wanted; // somebody found no block of this order

bool reclaim_is_current(void) { return thread_current()->reclaims; }

uint64_t reclaim_pages(uint64_t pages, bool wait) {
    uint64_t got = 0;
    if (reclaim_is_current()) // it is at it already, and its memory ran out
        return 0;
    thread_current()->reclaims = true;
    for (struct shrinker *s = load_acquire(&shrinkers); s; s = s->next)
        got += s->reclaim(pages, wait);
    thread_current()->reclaims = false;
    return got;
}

// What must be written before it can go.
static uint64_t pending(void) {
    uint64_t pages = 0;
    for (const struct shrinker *s = load_acquire(&shrinkers); s; s = s->next)
        pages += s->pending ? s->pending() : 0;
    return pages;
}

static void wake(void) {
    struct thread *t = load_acquire(&reclaimer);
    if (t && !atomic_xchg(&wanted, true))
        thread_wake(t);
}

void reclaim_wake(void) {
    if (READ_ONCE(resting))
        return;
    wake();
    struct thread *t = thread_current();
    if (!t->kernel && !t->reclaims)
        atomic_or(&t->work, WORK_RECLAIM);
}

void reclaim_wake_for(unsigned order) {
    if (order > BLOCK_ORDER || reclaim_is_current())
        return;
    WRITE_ONCE(block_wanted, MAX(READ_ONCE(block_wanted), order));
    reclaim_wake();
}

// The thread may come late: who allocates gives as much back, so that a system call finds enough that cannot wait in its middle.
void reclaim_on_exit(void) {
    atomic_and(&thread_current()->work, ~(uint32_t)WORK_RECLAIM);
    if (page_free_count() < reclaim_low && !READ_ONCE(resting))
        (void)reclaim_pages(BATCH, false);
}

// One round. Did it give something?
static bool round_of_work(void) {
    atomic_add(&begun, 1);
    bool won = reclaim_pages(4 * BATCH, true) > 0;
    if (won)
        atomic_add(&gained, 1);
    store_release(&finished, begun);
    waitq_wake_all(&round_wait);
    return won;
}

static void work(void *arg) {
    bool more = true;
    for (;;) {
        WRITE_ONCE(resting, !more);
        thread_prepare_sleep(false);
        if (!READ_ONCE(wanted))
            (void)thread_sleep_until(more ? NSEC_MAX : time_monotonic() + PAUSE);
        else
            thread_cancel_sleep();
        WRITE_ONCE(wanted, false);
        more = true;
        while (more && (atomic_xchg(&asked, false) || page_free_count() < reclaim_high)) {
            more = round_of_work();
            sched_point();
        }
        // Pages that lie side by side in a file mostly do so in memory: some rounds make blocks, too.
        for (unsigned i = 0, order = READ_ONCE(block_wanted); more && order && i < BLOCK_ROUNDS; i++) {
            if (page_block_free(order))
                break;
            more = round_of_work();
            sched_point();
        }
        WRITE_ONCE(block_wanted, 0);
    }
}

static void start_thread(void) {
    struct thread *t = thread_create_kernel("reclaim", work, NULL);
    if (!t) { // the next one who registers tries again
        log_warn("no memory for the thread that gives memory back");
        WRITE_ONCE(made, false);
        return;
    }
    uint64_t keep = MIN(MAX(page_total() / 128, 8), 256), room = MIN(MAX(page_total() / 64, 16), 8192);
    reclaim_high = keep + 2 * room;
    store_release(&reclaimer, t);
    store_release(&reclaim_low, keep + room);
    thread_start(t);
}

void reclaim_register(struct shrinker *s) {
    spin_lock(&lock);
    struct shrinker **at = &shrinkers;
    while (*at && *at != s)
        at = &(*at)->next;
    if (!*at)
        store_release(at, s);
    spin_unlock(&lock);
    if (!atomic_xchg(&made, true))
        start_thread();
}

bool reclaim_make_room(void) {
    if (!load_acquire(&reclaimer) || reclaim_is_current())
        return false;
    if (reclaim_pages(BATCH, false))
        return true;
    // What is left must be written first, perhaps with a lock that the caller holds: the thread does it, and is not waited for too long.
    for (uint64_t left = ~0ul, now; (now = pending()) < left || left == ~0ul; left = now) {
        uint32_t round = READ_ONCE(begun) + 1, won = READ_ONCE(gained);
        WRITE_ONCE(asked, true);
        wake();
        (void)wait_event_until(&round_wait, (int32_t)(load_acquire(&finished) - round) >= 0,
                               time_monotonic() + PATIENCE, false);
        if (READ_ONCE(gained) != won)
            return true;
    }
    return false;
}

bool reclaim_make_room_now(void) {
    if (!load_acquire(&shrinkers) || reclaim_is_current())
        return false;
    uint64_t free = page_free_count(), left = pending();
    for (unsigned looks = 0; looks < HOPELESS; looks++) {
        if (reclaim_pages(BATCH, false) || reclaim_pages(BATCH, true))
            return true;
        // What is being read or written at this moment, or looked at by others, cannot go; a slow disk is no reason to kill somebody.
        if ((!pending() && !reclaim_count()) || READ_ONCE(process_current()->exiting))
            break;
        thread_prepare_sleep(false);
        (void)thread_sleep_until(time_monotonic() + LOOK_AGAIN);
        if (page_free_count() >= free + BATCH) // by somebody else
            return true;
        uint64_t now = pending();
        if (now < left)
            looks = 0;
        left = now;
    }
    return false;
}

void *reclaim_kmalloc(size_t size) {
    void *p = kmalloc(size);
    for (unsigned tries = 0; unlikely(!p) && tries < 2 * TRIES && reclaim_make_room(); tries++)
        p = kmalloc(size);
    return p;
}

bool reclaim_is_short(void) {
    return page_free_count() < READ_ONCE(reclaim_high) || !page_block_free(SHORT_ORDER);
}

bool reclaim_again(unsigned *tries) {
    if (*tries >= TRIES || !load_acquire(&shrinkers))
        return false;
    return reclaim_pages((uint64_t)BATCH << (*tries)++, false) || reclaim_make_room_now();
}

bool reclaim_until(uint64_t free) {
    while (page_free_count() < free)
        if (!reclaim_make_room())
            return false;
    return true;
}

uint64_t reclaim_count(void) {
    uint64_t pages = 0;
    for (const struct shrinker *s = load_acquire(&shrinkers); s; s = s->next)
        pages += s->count ? s->count() : 0;
    return MIN(pages, page_total() - MIN(page_free_count(), page_total()));
}

void reclaim_expect(uint64_t pages) {
    if (unlikely(page_free_count() < READ_ONCE(reclaim_low) + pages) && reclaim_low && !reclaim_is_current())
        (void)reclaim_pages(MAX(pages, BATCH), false);
}
