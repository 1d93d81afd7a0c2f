// See reclaim.h. The marks lie above what page.c keeps for the kernel itself.
#include "kernel/memory/reclaim.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/threads/thread.h"
#include "kernel/threads/wait.h"
#include "kernel/time.h"

#define BATCH 32                    // pages that one who needs one gives back
#define PATIENCE (NSEC_PER_SEC)     // of those who wait for the thread
#define PAUSE (100 * NSEC_PER_MSEC) // of the thread, when there is nothing to be had

uint64_t reclaim_low;
static uint64_t reclaim_high;
static struct spinlock lock = SPINLOCK_INIT;
static struct shrinker *shrinkers;
static struct thread *reclaimer;
static bool made; // the thread, or somebody is at it
static bool wanted;              // the thread is to look
static uint32_t rounds, gained;  // of the thread: finished, and those that gave something
static struct waitq round_wait = WAITQ_INIT(round_wait);
bool reclaim_is_current(void) { return thread_current()->reclaims; }

uint64_t reclaim_pages(uint64_t pages, bool wait) {
    uint64_t got = 0;
    if (reclaim_is_current()) // it is at it already, and its memory ran out
        return 0;
    thread_current()->reclaims = true;
    for (struct shrinker *s = load_acquire(&shrinkers); s && got < pages; s = s->next)
        got += s->reclaim(pages - got, wait);
    thread_current()->reclaims = false;
    return got;
}

void reclaim_wake(void) {
    struct thread *t = load_acquire(&reclaimer);
    if (t && !atomic_xchg(&wanted, true))
        thread_wake(t);
}

static void work(void *arg) {
    for (;;) {
        thread_prepare_sleep(false);
        if (!READ_ONCE(wanted))
            (void)thread_sleep_until(NSEC_MAX);
        else
            thread_cancel_sleep();
        WRITE_ONCE(wanted, false);
        bool more = true;
        while (more && page_free_count() < reclaim_high) {
            more = reclaim_pages(4 * BATCH, false) > 0 || reclaim_pages(4 * BATCH, true) > 0;
            atomic_add(&gained, more);
            atomic_add(&rounds, 1);
            waitq_wake_all(&round_wait);
            sched_point();
        }
        atomic_add(&rounds, 1);
        waitq_wake_all(&round_wait);
        if (!more) { // not again at once
            thread_prepare_sleep(false);
            (void)thread_sleep_until(time_monotonic() + PAUSE);
        }
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
    uint32_t seen = READ_ONCE(rounds), won = READ_ONCE(gained);
    reclaim_wake();
    (void)wait_event_until(&round_wait, READ_ONCE(rounds) - seen >= 2, time_monotonic() + PATIENCE, false);
    return READ_ONCE(gained) != won;
}

bool reclaim_make_room_now(void) {
    if (!load_acquire(&shrinkers) || reclaim_is_current())
        return false;
    return reclaim_pages(BATCH, false) || reclaim_pages(BATCH, true);
}

void reclaim_expect(uint64_t pages) {
    if (unlikely(page_free_count() < READ_ONCE(reclaim_low) + pages) && reclaim_low && !reclaim_is_current())
        (void)reclaim_pages(MAX(pages, BATCH), false);
}
