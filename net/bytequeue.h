// A queue of bytes in a chain of pieces, between writers and readers that do not lock each other out. A piece is a page of the queue's own,
// into which bytes were copied, or a reference to somebody else's (page cache), which may be several that lie side by side.
// Locks: a writer holds write_lock, a reader read_lock (mutexes: user memory is copied under them). The writer makes pieces and then
// publishes the new end, `head`; the reader publishes how far it came, `tail`. The reader gives a piece back only when it goes on to
// the next one, so the writer's last piece is always there.
#ifndef NET_BYTEQUEUE_H
#define NET_BYTEQUEUE_H

#include "kernel/memory/uio.h"
#include "kernel/threads/lock.h"
#include "kernel/types.h"

// Bytes from `start` on, to the start of the next one.
struct bytequeue_piece {
    struct bytequeue_piece *next;
    uint64_t start;
    char *data;
};

struct bytequeue {
    struct mutex write_lock, read_lock;
    uint64_t head, tail;                             // bytes written and read since the beginning
    struct bytequeue_piece *write_piece, *read_piece; // with the byte before head and before tail, or the first piece
    size_t room;                                     // behind head in write_piece. Of the writer
};

void bytequeue_init(struct bytequeue *q);
void bytequeue_free(struct bytequeue *q); // the pieces; nobody uses it any more
// Without a lock a little less than there is now: `tail` may have passed the `head` that was seen.
static inline size_t bytequeue_used(const struct bytequeue *q) {
    uint64_t head = load_acquire(&q->head);
    int64_t used = (int64_t)(head - READ_ONCE(q->tail));
    return MAX(used, 0L);
}

// Appends n bytes (at most u->left) of the uio: all of them, or none and -EFAULT or -ENOMEM. write_lock held. The bytes are seen by
// readers when it returns. Pages of a uio that may be kept (uio.pages) are referred to where they are worth it.
int bytequeue_put(struct bytequeue *q, struct uio *u, size_t n);
// Copies n bytes that are there, from `offset` behind the tail on. Returns the bytes: fewer than n only on a fault. read_lock held.
size_t bytequeue_peek(struct bytequeue *q, struct uio *u, size_t offset, size_t n);
void bytequeue_drop(struct bytequeue *q, size_t n); // n bytes that are there. read_lock held
// For who hands bytes on where they lie. *piece is the one with the byte before `at`, or NULL at the very beginning; `at` is between tail and
// head. Sets *piece to that with the byte at `at`, *data to the byte, and returns how many of at most n lie there in one row. read_lock held.
size_t bytequeue_look(const struct bytequeue *q, struct bytequeue_piece **piece, uint64_t at, size_t n, const char **data);

#endif
