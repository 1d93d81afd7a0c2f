// Waiting for one of many files; see fs/poll.h. The first entries live in the poller, on the waiting thread's stack, more of them
// in blocks of memory. A wake-up of any file's queue wakes the poller's own queue.
#include "fs/poll.h"
#include "kernel/memory/slab.h"

static struct slab_cache block_cache = SLAB_CACHE("poll_block", sizeof(struct poll_block), 8);

static bool on_wake(struct waiter *w, uint32_t key) {
    struct poller *p = w->data;
    WRITE_ONCE(p->triggered, 1);
    waitq_wake_all(&p->wait);
    return true;
}

static struct poll_entry *entry_get(struct poller *p) {
    if (p->count < ARRAY_SIZE(p->entries))
        return &p->entries[p->count++];
    struct poll_block *b = p->more;
    if (!b || b->count == ARRAY_SIZE(b->entries)) {
        b = slab_alloc(&block_cache);
        if (!b)
            return NULL;
        b->count = 0;
        b->next = p->more;
        p->more = b;
    }
    return &b->entries[b->count++];
}

static void add(struct poll_table *pt, struct file *f, struct waitq *wq) {
    struct poller *p = container_of(pt, struct poller, table);
    struct poll_entry *e = entry_get(p);
    if (!e) {
        p->error = -ENOMEM;
        return;
    }
    e->file = file_ref(f);
    waiter_init(&e->waiter);
    e->waiter.wake = on_wake;
    e->waiter.data = p;
    waitq_add(wq, &e->waiter);
}

void poller_init(struct poller *p) {
    p->table.add = add;
    waitq_init(&p->wait);
    p->triggered = 0;
    p->registered = false;
    p->error = 0;
    p->count = 0;
    p->more = NULL;
}

int poller_wait(struct poller *p, nsec_t deadline) {
    if (p->error)
        return p->error;
    p->registered = true;
    int err = wait_event_until(&p->wait, READ_ONCE(p->triggered), deadline, true);
    // What happens from here on is seen by the next round, or wakes again.
    WRITE_ONCE(p->triggered, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return err == -ERESTARTSYS ? -ERESTARTNOHAND : err;
}

static void entries_drop(struct poll_entry *entries, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        waitq_remove(&entries[i].waiter);
        file_unref(entries[i].file);
    }
}

void poller_done(struct poller *p) {
    entries_drop(p->entries, p->count);
    for (struct poll_block *b = p->more, *next; b; b = next) {
        next = b->next;
        entries_drop(b->entries, b->count);
        slab_free(&block_cache, b);
    }
}
