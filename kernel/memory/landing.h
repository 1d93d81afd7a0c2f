// Bytes that go from a writer's memory straight into that of a reader who waits for them: one copy instead of two, and no queue between.
// A reader that is about to sleep because there is nothing to read offers its buffer; a writer that finds an offer, and nothing before
// its own bytes, fills it.
//
// Nothing is pinned. The writer has the reader's aspace.lock for reading while it copies, so there is neither a fork that would share the
// pages nor a munmap or mprotect; it writes only to pages of the reader's own that are there and writable, and holds a reference to each
// against MADV_DONTNEED. It never waits: not for that lock, nor for a page of its own memory. What does not work out is no error, the
// bytes go the other way.
// Locks: the place is a word in the object that is read, changed by atomic operations. landing_fill: no spinlock held.
#ifndef KERNEL_LANDING_H
#define KERNEL_LANDING_H

#include "kernel/memory/uio.h"
#include "kernel/types.h"

struct aspace;
struct thread;

#define LANDING_MIN PAGE_SIZE // bytes; for fewer two copies cost less than finding the pages

// On the stack of the reader.
struct landing {
    struct thread *thread;
    struct aspace *aspace;
    uaddr_t base;
    size_t room, count; // bytes: that fit, that came
    uint32_t over;      // the writer has done with it
};

// The reader: offers the buffer where the uio is now, unless it is too small or somebody else offers one. Whoever was offered one
// must call landing_end, also after a signal.
bool landing_offer(struct landing **place, struct landing *l, const struct uio *u);
// For the condition of the reader's wait: somebody was here, perhaps without success.
static inline bool landing_over(const struct landing *l) { return load_acquire(&l->over); }
// The reader: nobody fills it any more. The bytes that came, by which the uio is moved on.
size_t landing_end(struct landing **place, struct landing *l, struct uio *u);

// The writer: up to n bytes of the uio, to the reader, who is woken. Called where nobody else writes and there is nothing to be read before
// these bytes. The bytes, by which the uio is moved on; 0: none, and the reader was not woken. Others who watch the object are the caller's
// to tell: it came, and was read.
size_t landing_fill(struct landing **place, struct uio *u, size_t n);
static inline bool landing_wanted(struct landing *const *place, size_t n) { return n >= LANDING_MIN && READ_ONCE(*place); }

#endif
