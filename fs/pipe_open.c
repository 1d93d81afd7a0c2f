// Pipes and FIFOs: making, opening, closing them, and how large they may be.
// Locks: inode.lock (inode.pipe, pipe.users) > pipe.lock; accounts_lock, a leaf.
#include "fs/internal.h"
#include "fs/pipe.h"
#include "fs/poll.h"
#include <linux/limits.h>

#define PIPE_SLOTS 16

uint32_t pipe_max_size = 1u << 20;
uint64_t pipe_user_pages_soft = 16384, pipe_user_pages_hard;

// --- How many pages a user's pipes may have ---

struct pipe_account {
    struct pipe_account *next;
    uint32_t uid;
    uint64_t pages, pipes;
};
static struct pipe_account *accounts; // of users without privileges that have pipes
static struct spinlock accounts_lock;

static bool unprivileged(void) { return !capable(CAP_SYS_RESOURCE) && !capable(CAP_SYS_ADMIN); }

static bool over(uint64_t limit, uint64_t pages) { return limit && pages > limit; }

// The account of the current user with one more pipe in it; NULL: privileged users have none, and without memory nobody does.
static struct pipe_account *account_open(void) {
    if (likely(!unprivileged()))
        return NULL;
    struct pipe_account *fresh = kzalloc(sizeof(*fresh));
    uint32_t uid = current_cred()->uid;
    spin_lock(&accounts_lock);
    struct pipe_account *a = accounts;
    while (a && a->uid != uid)
        a = a->next;
    if (!a && fresh) {
        *fresh = (struct pipe_account){.next = accounts, .uid = uid};
        accounts = a = fresh;
        fresh = NULL;
    }
    if (a)
        a->pipes++;
    spin_unlock(&accounts_lock);
    kfree(fresh);
    return a;
}

static void account_change(struct pipe_account *a, int64_t pages) {
    if (!a)
        return;
    spin_lock(&accounts_lock);
    a->pages += (uint64_t)pages;
    spin_unlock(&accounts_lock);
}

static void account_close(struct pipe_account *a, uint64_t pages) {
    if (!a)
        return;
    spin_lock(&accounts_lock);
    a->pages -= pages;
    bool gone = --a->pipes == 0;
    for (struct pipe_account **at = &accounts; gone && *at; at = &(*at)->next) {
        if (*at == a) {
            *at = a->next;
            break;
        }
    }
    spin_unlock(&accounts_lock);
    if (gone)
        kfree(a);
}

// How many slots a new pipe gets: fewer when its user has many, none when that is forbidden.
static uint32_t first_slots(const struct pipe_account *a) {
    uint32_t slots = PIPE_SLOTS;
    if (slots * PAGE_SIZE > pipe_max_size && !capable(CAP_SYS_RESOURCE))
        slots = pipe_max_size / PAGE_SIZE;
    if (!a)
        return slots;
    uint64_t pages = READ_ONCE(a->pages);
    if (over(pipe_user_pages_soft, pages + slots))
        slots = 2;
    return over(pipe_user_pages_hard, pages + slots) ? 0 : slots;
}

// --- Life ---

static struct pipe *pipe_alloc(bool named) {
    struct pipe *p = kzalloc(sizeof(*p));
    if (!p)
        return ERR_PTR(-ENOMEM);
    p->account = account_open();
    p->slots = first_slots(p->account);
    p->pieces = p->slots ? kmalloc(p->slots * sizeof(*p->pieces)) : NULL;
    if (!p->pieces) {
        long err = p->slots ? -ENOMEM : -ENFILE;
        account_close(p->account, 0);
        kfree(p);
        return ERR_PTR(err);
    }
    account_change(p->account, p->slots);
    p->named = named;
    mutex_init(&p->lock);
    waitq_init(&p->readable);
    waitq_init(&p->writable);
    return p;
}

static void pipe_free(struct pipe *p) {
    for (; p->tail != p->head; p->tail++)
        page_unref(piece_at(p, p->tail)->page);
    if (p->spare)
        page_unref(p->spare);
    account_close(p->account, p->slots);
    kfree(p->pieces);
    kfree(p);
}

static void wake_both(struct pipe *p) {
    waitq_wake_key(&p->readable, ~0u, 0);
    waitq_wake_key(&p->writable, ~0u, 0);
}

static void pipe_detach(struct inode *inode, struct pipe *p, bool reader, bool writer) {
    mutex_lock(&inode->lock);
    mutex_lock(&p->lock);
    p->readers -= reader;
    p->writers -= writer;
    bool alone = !p->readers != !p->writers;
    mutex_unlock(&p->lock);
    bool last = --p->users == 0;
    if (last)
        inode->pipe = NULL;
    else if (alone)
        wake_both(p);
    mutex_unlock(&inode->lock);
    if (last)
        pipe_free(p);
}

void pipe_release(struct file *f) {
    // The file's inode may have been replaced by a node of the tree, which is where the pipe is then.
    pipe_detach(f->inode, f->data, f->readable, f->writable);
}

// A file for the pipe of the inode, counted as reader and writer. inode.lock held.
static struct file *pipe_file(struct inode *inode, unsigned flags) {
    struct pipe *p = inode->pipe;
    struct file *f = file_alloc(&pipe_ops, inode, flags);
    if (IS_ERR(f))
        return f;
    f->stream = true;
    f->data = p;
    f->position = ~0UL;
    p->users++;
    mutex_lock(&p->lock);
    p->readers += f->readable;
    p->writers += f->writable;
    p->reader_opens += f->readable;
    p->writer_opens += f->writable;
    mutex_unlock(&p->lock);
    return f;
}

int pipe_create(unsigned flags, struct file *ends[2]) {
    struct inode *inode = inode_anonymous(S_IFIFO | 0600, 0);
    struct pipe *p = inode ? pipe_alloc(false) : ERR_PTR(-ENOMEM);
    if (IS_ERR(p)) {
        if (inode)
            inode_unref(inode);
        return PTR_ERR(p);
    }
    inode->pipe = p;
    mutex_lock(&inode->lock);
    ends[0] = pipe_file(inode, O_RDONLY | (flags & O_NONBLOCK));
    ends[1] = IS_ERR(ends[0]) ? ends[0] : pipe_file(inode, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT)));
    mutex_unlock(&inode->lock);
    int err = 0;
    if (IS_ERR(ends[0])) {
        pipe_free(p);
        err = -ENOMEM;
    } else if (IS_ERR(ends[1])) {
        file_unref(ends[0]);
        err = -ENOMEM;
    }
    inode_unref(inode);
    return err;
}

// Waits for the other side of a FIFO, which had been opened `seen` times: it may come and be gone again meanwhile.
static int wait_for_partner(struct waitq *wq, const uint32_t *there, const uint32_t *opens, uint32_t seen) {
    return wait_event_interruptible(wq, READ_ONCE(*there) || READ_ONCE(*opens) != seen);
}

struct file *fifo_open(struct inode *inode, unsigned flags) {
    mutex_lock(&inode->lock);
    struct pipe *p = inode->pipe;
    bool fresh = !p;
    if (fresh && IS_ERR(p = inode->pipe = pipe_alloc(true))) {
        inode->pipe = NULL;
        mutex_unlock(&inode->lock);
        return (struct file *)p;
    }
    const bool named = p->named; // not opened through /proc/PID/fd: that waits for nobody
    struct file *f;
    if (named && (flags & O_ACCMODE) == O_WRONLY && (flags & O_NONBLOCK) && !p->readers)
        f = ERR_PTR(-ENXIO);
    else
        f = pipe_file(inode, flags);
    if (IS_ERR(f) && fresh) {
        inode->pipe = NULL;
        pipe_free(p);
    }
    if (IS_ERR(f)) {
        mutex_unlock(&inode->lock);
        return f;
    }
    const uint32_t writer_opens = p->writer_opens, reader_opens = p->reader_opens;
    const bool no_writer = named && f->readable && !p->writers, no_reader = named && f->writable && !p->readers;
    mutex_unlock(&inode->lock);
    wake_both(p);
    int err = 0;
    if (no_writer) {
        if (flags & O_NONBLOCK)
            f->position = writer_opens;
        else
            err = wait_for_partner(&p->readable, &p->writers, &p->writer_opens, writer_opens);
    } else if (no_reader && !(flags & O_NONBLOCK)) {
        err = wait_for_partner(&p->writable, &p->readers, &p->reader_opens, reader_opens);
    }
    if (err < 0) {
        file_unref(f);
        return ERR_PTR(err);
    }
    return f;
}

// --- F_SETPIPE_SZ, F_GETPIPE_SZ ---

long pipe_get_size(struct file *f) {
    struct pipe *p = pipe_of(f);
    return p ? (long)(p->slots * PAGE_SIZE) : -EBADF;
}

uint32_t pipe_round_size(uint64_t size) {
    uint32_t rounded = PAGE_SIZE;
    if (size > 1UL << 31)
        return 0;
    while (rounded < size)
        rounded *= 2;
    return rounded;
}

// pipe.lock held.
static int resize(struct pipe *p, uint32_t slots) {
    uint32_t used = p->head - p->tail;
    if (slots < used + p->reserved)
        return -EBUSY;
    struct pipe_piece *pieces = kmalloc(slots * sizeof(*pieces));
    if (!pieces)
        return -ENOMEM;
    for (uint32_t i = 0; i < used; i++)
        pieces[i] = *piece_at(p, p->tail + i);
    kfree(p->pieces);
    p->pieces = pieces;
    account_change(p->account, (int64_t)slots - p->slots);
    WRITE_ONCE(p->slots, slots);
    p->tail = 0;
    WRITE_ONCE(p->head, used);
    return 0;
}

static bool may_grow(const struct pipe *p, uint64_t slots) {
    const struct pipe_account *a = p->account;
    uint64_t pages = a ? READ_ONCE(a->pages) - p->slots + slots : 0;
    if (slots * PAGE_SIZE > pipe_max_size && !capable(CAP_SYS_RESOURCE))
        return false;
    return !a || !unprivileged() || (!over(pipe_user_pages_soft, pages) && !over(pipe_user_pages_hard, pages));
}

long pipe_set_size(struct file *f, unsigned size) {
    struct pipe *p = pipe_of(f);
    uint32_t slots = pipe_round_size(size) / PAGE_SIZE;
    if (!p)
        return -EBADF;
    if (!slots)
        return -EINVAL;
    mutex_lock(&p->lock);
    int err = slots > p->slots && !may_grow(p, slots) ? -EPERM : slots == p->slots ? 0 : resize(p, slots);
    mutex_unlock(&p->lock);
    if (!err)
        waitq_wake_key(&p->writable, ~0u, POLLOUT | POLLWRNORM);
    return err < 0 ? err : (long)(slots * PAGE_SIZE);
}
