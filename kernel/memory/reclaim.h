// Giving memory back that can be had again: caches above (files' pages, names) register a function. A thread, made when the first one
// registers, is woken when free pages fall below the low mark, and works until the high mark is reached; whoever finds no page at all,
// in a context that may sleep, works himself. page_alloc() itself never sleeps; it only wakes the thread.
// Locks: a spinlock inside, never held while the functions run.
#ifndef KERNEL_RECLAIM_H
#define KERNEL_RECLAIM_H

#include "kernel/types.h"

struct shrinker {
    const char *name;
    // Gives back about `pages` pages. `wait`: may sleep, and write what must be written first. How many it gave back; 0: it has none.
    uint64_t (*reclaim)(uint64_t pages, bool wait);
    uint64_t (*count)(void); // pages that it could give back soon, about; for /proc/meminfo. May be NULL
    uint64_t (*pending)(void); // pages that must be written first: as long as they get fewer there is hope. May be NULL
    struct shrinker *next;
};
// For good. The first one makes the thread, so thread context, no spinlock held. Again for the same one: nothing happens.
void reclaim_register(struct shrinker *s);
// Asks all of them, in the caller's context. `wait` only without any lock that writing a file may need. Pages given back.
uint64_t reclaim_pages(uint64_t pages, bool wait);
// No page was to be had: gives back a batch of what can go without waiting; when there is none lets the thread work, which may write,
// and waits for it. False: nothing was won, there is no hope. May sleep; locks that a file system's writing needs may be held.
bool reclaim_make_room(void);
// The same for those who hold no such lock: they do the work.
bool reclaim_make_room_now(void);
// What is made of many allocations, or of one of several pages, failed (fork, exec), and was undone: gives back more at each try. No lock
// held. False: no use trying again.
bool reclaim_again(unsigned *tries);
// kmalloc for what must not fail while there is something to give back: with reclaim_make_room. NULL: no hope.
void *reclaim_kmalloc(size_t size);
bool reclaim_is_short(void); // little is free, or no block of some pages
// The same until so many pages are free. False: that many cannot be had.
bool reclaim_until(uint64_t free);
uint64_t reclaim_count(void); // pages that could be given back
// So many pages are about to be allocated for a cache: when few are free, as many go first. Does not sleep.
void reclaim_expect(uint64_t pages);

// For kernel/memory/page.c, at the end of its slow path: any context.
extern uint64_t reclaim_low; // free pages below which the thread is woken; 0: there is nobody to ask
void reclaim_wake(void);     // and the current thread of the application helps on its way out of the kernel
void reclaim_wake_for(unsigned order); // there was no block of 2^order pages
void reclaim_on_exit(void);            // WORK_RECLAIM, on the way to the application
// The current thread gives memory back: what it needs for that may come from the last pages.
bool reclaim_is_current(void);

#endif
