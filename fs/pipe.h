// Pipes as their files see them: a ring of pieces of pages. Shared by fs/pipe.c (reading and writing), fs/pipe_open.c (making,
// opening, sizes) and fs/splice.c (moving data without the application).
#ifndef FS_PIPE_H
#define FS_PIPE_H

#include "fs/file.h"
#include "kernel/memory/page.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/wait.h"

struct pipe_piece {
    struct page *page; // referenced; may be shared with other pipes (tee)
    uint16_t offset, len;
    uint8_t flags;     // PIECE_*
};
#define PIECE_MERGE 1  // the next small write may be added to it
#define PIECE_PACKET 2 // a read takes it all, or what it has room for, and the rest is lost

struct pipe {
    struct mutex lock;     // everything here but `users`
    struct pipe_piece *pieces;
    uint32_t slots;        // of the ring, a power of two
    uint32_t head, tail;   // pieces put in and taken out since the beginning
    uint32_t reserved;     // slots that fs/splice.c is about to fill
    uint32_t readers, writers;
    struct landing *landing; // of a reader that waits, or NULL
    struct waitq readable, writable;
    struct page *spare;    // the page that was emptied last
    uint32_t reader_opens, writer_opens; // how often each end was opened: a FIFO's open waits for a change
    uint32_t users;        // files; the last one frees the pipe. Under inode.lock
    bool named;            // a FIFO in the tree
    struct pipe_account *account; // whose pages are counted: fs/pipe_open.c
};

extern const struct file_ops pipe_ops;
static inline struct pipe *pipe_of(const struct file *f) { return f->ops == &pipe_ops ? f->data : NULL; }

// Locked.
static inline bool pipe_empty(const struct pipe *p) { return p->head == p->tail; }
static inline bool pipe_full(const struct pipe *p) { return p->head - p->tail + p->reserved >= p->slots; }
static inline struct pipe_piece *piece_at(const struct pipe *p, uint32_t at) { return &p->pieces[at & (p->slots - 1)]; }

// Locked. The last piece of data goes; its page with it.
void pipe_pop(struct pipe *p);
// Locked, not full. Takes over the page's reference.
void pipe_push(struct pipe *p, struct page *page, unsigned offset, unsigned len, unsigned flags);
// Locked. The first n bytes of the data go.
void pipe_consume(struct pipe *p, size_t n);
// Not locked. Wakes somebody who waits for data or room, if anybody does.
void pipe_wake_reader(struct pipe *p);
void pipe_wake_writer(struct pipe *p);
// Locked on entry and return; lets go of the lock and waits until there is data or no writer; until there is room or no reader.
// 0 or -ERESTARTSYS.
int pipe_wait_readable(struct pipe *p);
int pipe_wait_writable(struct pipe *p);
// Nobody reads any more: SIGPIPE, and -EPIPE.
int pipe_broken(void);

void pipe_release(struct file *f); // fs/pipe_open.c

// Of /proc/sys/fs: pipe-max-size (bytes), pipe-user-pages-soft and -hard (0: no limit).
extern uint32_t pipe_max_size;
extern uint64_t pipe_user_pages_soft, pipe_user_pages_hard;
uint32_t pipe_round_size(uint64_t size); // a power of two, at least a page; 0: too much

#endif
