// epoll(7). Each watched file has an item that waits on the file's queues; a wake-up puts the item onto the ready list, and
// epoll_wait asks the files on that list what they have. Level-triggered items go back to the list when they had something.
// Of the threads in epoll_wait one is woken at a time; who leaves something on the list wakes the next one.
// Items do not keep their files open: file_release() takes them out (epoll_file_released).
// Locks: epoll_mutex (how instances are nested; the end of files and instances) > epoll.lock (mutex: items; an instance's before
// those that it watches) > chains_lock (the chains of items at files), a file's waitq.lock > epoll.ready_lock (interrupt-safe; the
// ready list); the wait queue of the instance is woken under the file's waitq.lock.
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/seqbuf.h"
#include "kernel/log.h"
#include <linux/eventpoll.h>

#define NESTING_MAX 4 // Linux' EP_MAX_NESTS

struct epoll {
    struct mutex lock;
    struct epoll_item **table; // by file and descriptor; a power of two
    uint32_t mask, count;
    struct spinlock ready_lock;
    struct list ready;
    struct waitq wait;
    struct epoll_item *first_table[16];
};

struct epoll_item {
    struct epoll_item *next;         // in the table
    struct epoll_item *next_of_file; // file.epoll
    struct list ready_link;
    bool ready; // on the ready list, or on the way to be asked
    struct epoll_item *next_again; // of those that go back to the list, while they are asked
    struct epoll *epoll;
    struct file *file; // not referenced
    int fd;
    struct epoll_request request;
    unsigned waiter_count;
    struct waiter waiters[3];
};

static struct slab_cache item_cache = SLAB_CACHE("epoll_item", sizeof(struct epoll_item), 8);
static struct mutex epoll_mutex = MUTEX_INIT(epoll_mutex);
static struct spinlock chains_lock;
static const struct file_ops epoll_ops;

#define PRIVATE_BITS ((uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE))

#define EXCLUSIVE_OK ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE))

// What the application wants to hear of: nothing once a one-shot item has fired.
static inline uint32_t wanted(const struct epoll_item *it) { return READ_ONCE(it->request.events) & ~PRIVATE_BITS; }

// ready_lock held
static inline void list_ready(struct epoll_item *it) {
    if (!it->ready) {
        it->ready = true;
        list_push_back(&it->epoll->ready, &it->ready_link);
    }
}

static inline bool wake_waiter(struct epoll *ep) {
    bool any = waitq_active(&ep->wait);
    if (any)
        waitq_wake_key(&ep->wait, 1, POLLIN | POLLRDNORM);
    return any;
}

static void make_ready(struct epoll_item *it) {
    uint64_t flags = spin_lock_irqsave(&it->epoll->ready_lock);
    list_ready(it);
    spin_unlock_irqrestore(&it->epoll->ready_lock, flags);
    wake_waiter(it->epoll);
}

// An exclusive item has used up a wake-up when it had somebody to pass it on to, and only for what it waits for.
static bool used_up(const struct epoll_item *it, uint32_t key, bool any) {
    uint32_t events = READ_ONCE(it->request.events), way = key & (EPOLLIN | EPOLLOUT);
    if (!(events & EPOLLEXCLUSIVE))
        return true;
    return any && (!way || (way != (EPOLLIN | EPOLLOUT) && (way & events)));
}

// Interrupts are off.
static bool on_wake(struct waiter *w, uint32_t key) {
    struct epoll_item *it = w->data;
    uint32_t events = wanted(it);
    if (!events || (key && !(key & events)))
        return false;
    // What is on the list will be asked after this: whoever takes it off does so before the question (the other half of the fence).
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!READ_ONCE(it->ready)) {
        spin_lock(&it->epoll->ready_lock);
        list_ready(it);
        spin_unlock(&it->epoll->ready_lock);
    }
    return used_up(it, key, wake_waiter(it->epoll));
}

// --- Items ---

struct registration {
    struct poll_table table;
    struct epoll_item *item;
};

static void add_queue(struct poll_table *pt, struct file *f, struct waitq *wq) {
    struct epoll_item *it = container_of(pt, struct registration, table)->item;
    ASSERT(it->waiter_count < ARRAY_SIZE(it->waiters));
    struct waiter *w = &it->waiters[it->waiter_count++];
    waiter_init(w);
    w->wake = on_wake;
    w->data = it;
    w->exclusive = it->request.events & EPOLLEXCLUSIVE;
    waitq_add(wq, w);
}

static struct epoll_item **slot_of(struct epoll *ep, struct file *f, int fd) {
    return &ep->table[(((uintptr_t)f >> 6) ^ fd) & ep->mask];
}

static struct epoll_item *find(struct epoll *ep, struct file *f, int fd) {
    struct epoll_item *it = *slot_of(ep, f, fd);
    while (it && (it->file != f || it->fd != fd))
        it = it->next;
    return it;
}

static void grow(struct epoll *ep) {
    uint32_t size = (ep->mask + 1) * 4, old_size = ep->mask + 1;
    struct epoll_item **table = kzalloc(size * sizeof(*table)), **old = ep->table;
    if (!table)
        return;
    ep->table = table;
    ep->mask = size - 1;
    for (uint32_t i = 0; i < old_size; i++) {
        for (struct epoll_item *it = old[i], *next; it; it = next) {
            next = it->next;
            struct epoll_item **slot = slot_of(ep, it->file, it->fd);
            it->next = *slot;
            *slot = it;
        }
    }
    if (old != ep->first_table)
        kfree(old);
}

static void chain_add(struct epoll_item *it) {
    spin_lock(&chains_lock);
    it->next_of_file = it->file->epoll;
    it->file->epoll = it;
    spin_unlock(&chains_lock);
}

static void chain_remove(struct epoll_item *it) {
    spin_lock(&chains_lock);
    struct epoll_item **at = &it->file->epoll;
    while (*at != it)
        at = &(*at)->next_of_file;
    *at = it->next_of_file;
    spin_unlock(&chains_lock);
}

// epoll.lock held.
static void item_remove(struct epoll_item *it) {
    struct epoll *ep = it->epoll;
    for (unsigned i = 0; i < it->waiter_count; i++)
        waitq_remove(&it->waiters[i]);
    uint64_t flags = spin_lock_irqsave(&ep->ready_lock);
    list_remove(&it->ready_link);
    spin_unlock_irqrestore(&ep->ready_lock, flags);
    struct epoll_item **at = slot_of(ep, it->file, it->fd);
    while (*at != it)
        at = &(*at)->next;
    *at = it->next;
    chain_remove(it);
    ep->count--;
    slab_free(&item_cache, it);
}

static void report_if_ready(struct epoll_item *it, uint32_t now) {
    if (now & wanted(it))
        make_ready(it);
}

static int item_add(struct epoll *ep, int fd, struct file *f, const struct epoll_request *request) {
    struct epoll_item *it = slab_zalloc(&item_cache);
    if (!it)
        return -ENOMEM;
    if (ep->count > 2 * ep->mask)
        grow(ep);
    it->epoll = ep;
    it->file = f;
    it->fd = fd;
    it->request = *request;
    list_init(&it->ready_link);
    struct epoll_item **slot = slot_of(ep, f, fd);
    it->next = *slot;
    *slot = it;
    chain_add(it);
    ep->count++;
    struct registration r = {.table = {.add = add_queue}, .item = it};
    report_if_ready(it, file_poll(f, &r.table));
    return 0;
}

// Does `ep` (or an instance that it watches) watch `target`? And not too deeply nested. epoll_mutex held.
static int check_nesting(struct epoll *ep, struct epoll *target, int depth) {
    int err = 0;
    lock_nested(); // an instance before those that it watches
    mutex_lock(&ep->lock);
    for (uint32_t i = 0; i <= ep->mask && !err; i++) {
        for (struct epoll_item *it = ep->table[i]; it && !err; it = it->next) {
            if (it->file->ops != &epoll_ops)
                continue;
            struct epoll *inner = it->file->data;
            err = inner == target || depth > NESTING_MAX ? -ELOOP : check_nesting(inner, target, depth + 1);
        }
    }
    mutex_unlock(&ep->lock);
    return err;
}

static int change(struct epoll *ep, int op, int fd, struct file *target, const struct epoll_request *request) {
    struct epoll_item *it = find(ep, target, fd);
    switch (op) {
    case EPOLL_CTL_ADD: return it ? -EEXIST : item_add(ep, fd, target, request);
    case EPOLL_CTL_DEL:
        if (it)
            item_remove(it);
        return it ? 0 : -ENOENT;
    case EPOLL_CTL_MOD:
        if (!it)
            return -ENOENT;
        if (it->request.events & EPOLLEXCLUSIVE)
            return -EINVAL;
        it->request = *request;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        report_if_ready(it, file_poll(target, NULL));
        return 0;
    }
    return -EINVAL;
}

int epoll_control(struct file *file, int op, int fd, struct file *target, const struct epoll_request *request) {
    struct epoll_request wish = request ? *request : (struct epoll_request){0}; // EPOLL_CTL_DEL needs none
    if (!target->ops->poll)
        return -EPERM; // regular files and directories
    bool nested = target->ops == &epoll_ops, exclusive = op != EPOLL_CTL_DEL && (wish.events & EPOLLEXCLUSIVE);
    if (file->ops != &epoll_ops || target == file)
        return -EINVAL;
    if (exclusive && (op == EPOLL_CTL_MOD || nested || (wish.events & ~EXCLUSIVE_OK)))
        return -EINVAL;
    if (!capable(CAP_BLOCK_SUSPEND))
        wish.events &= ~(uint32_t)EPOLLWAKEUP; // the machine does not suspend anyway
    wish.events |= EPOLLERR | EPOLLHUP;
    struct epoll *ep = file->data;
    int err = 0;
    nested = nested && op == EPOLL_CTL_ADD;
    if (unlikely(nested)) {
        mutex_lock(&epoll_mutex);
        err = check_nesting(target->data, ep, 0);
    }
    if (!err) {
        mutex_lock(&ep->lock);
        err = change(ep, op, fd, target, &wish);
        mutex_unlock(&ep->lock);
    }
    if (unlikely(nested))
        mutex_unlock(&epoll_mutex);
    return err;
}

void epoll_file_released(struct file *f) {
    mutex_lock(&epoll_mutex);
    while (f->epoll) {
        struct epoll *ep = f->epoll->epoll;
        mutex_lock(&ep->lock);
        item_remove(f->epoll);
        mutex_unlock(&ep->lock);
    }
    mutex_unlock(&epoll_mutex);
}

// --- Waiting ---

static bool any_ready(struct epoll *ep) { return !list_empty(&ep->ready); }

// Asks the files on the ready list. epoll.lock held.
static __attribute__((noinline)) int collect(struct epoll *ep, int max, bool (*emit)(void *, int, const struct epoll_request *),
                                             void *arg) {
    struct list todo;
    struct epoll_item *again = NULL, **last = &again;
    int count = 0, err = 0;
    list_init(&todo);
    uint64_t flags = spin_lock_irqsave(&ep->ready_lock);
    if (!list_empty(&ep->ready)) {
        todo = ep->ready;
        todo.next->prev = todo.prev->next = &todo;
        list_init(&ep->ready);
    }
    spin_unlock_irqrestore(&ep->ready_lock, flags);
    while (!list_empty(&todo) && count < max && !err) {
        struct epoll_item *it = list_first(&todo, struct epoll_item, ready_link);
        // Off the list before the question, so that news that comes in between puts it on again.
        list_remove(&it->ready_link);
        (void)atomic_xchg(&it->ready, false);
        struct epoll_request ev = {file_poll(it->file, NULL) & wanted(it), it->request.data};
        if (!ev.events)
            continue;
        if (unlikely(!emit(arg, count, &ev)))
            err = -EFAULT;
        else
            count++;
        if ((it->request.events & EPOLLONESHOT) && !err) {
            it->request.events &= PRIVATE_BITS;
        } else if (!(it->request.events & EPOLLET) || err) {
            *last = it;
            last = &it->next_again;
        }
    }
    *last = NULL;
    if (!again && list_empty(&todo))
        return count;
    // Behind what came meanwhile goes what was asked; what is left was ready before all that.
    flags = spin_lock_irqsave(&ep->ready_lock);
    for (; again; again = again->next_again)
        list_ready(again);
    while (!list_empty(&todo)) {
        struct list *end = todo.prev;
        list_remove(end);
        list_push_front(&ep->ready, end);
    }
    spin_unlock_irqrestore(&ep->ready_lock, flags);
    if (likely(!err))
        wake_waiter(ep);
    return count ? count : err;
}

// The most frequent case: a single file, level-triggered. Its item stays where it is. 0: none of that, or nothing to tell.
// epoll.lock held.
static inline __attribute__((always_inline)) int collect_one(struct epoll *ep, bool (*emit)(void *, int, const struct epoll_request *),
                                                             void *arg) {
    struct list *first = READ_ONCE(ep->ready.next);
    if (first != READ_ONCE(ep->ready.prev) || first == &ep->ready)
        return 0;
    struct epoll_item *it = list_entry(first, struct epoll_item, ready_link);
    if (it->request.events & (EPOLLET | EPOLLONESHOT))
        return 0;
    struct epoll_request ev = {file_poll(it->file, NULL) & it->request.events & ~PRIVATE_BITS, it->request.data};
    if (unlikely(!ev.events)) {
        uint64_t flags = spin_lock_irqsave(&ep->ready_lock);
        list_remove(&it->ready_link);
        (void)atomic_xchg(&it->ready, false); // before the second question
        spin_unlock_irqrestore(&ep->ready_lock, flags);
        if (file_poll(it->file, NULL) & wanted(it))
            make_ready(it);
        return 0;
    }
    if (!emit(arg, 0, &ev))
        return -EFAULT;
    if (unlikely(READ_ONCE(ep->wait.waiters.next) != &ep->wait.waiters))
        wake_waiter(ep);
    return 1;
}

// One of those that wait is woken at a time: it must not go away with a signal and leave what it was woken for.
static int wait_for_events(struct epoll *ep, nsec_t deadline) {
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    w.exclusive = true;
    waitq_prepare(&ep->wait, &w, true);
    if (!any_ready(ep))
        err = thread_sleep_until(deadline);
    waitq_finish(&w);
    return err == -ERESTARTSYS && any_ready(ep) ? 0 : err;
}

NO_CANARY int epoll_wait(struct file *file, int max, nsec_t deadline, bool (*emit)(void *, int, const struct epoll_request *),
               void *arg) {
    if (file->ops != &epoll_ops || max <= 0)
        return -EINVAL;
    struct epoll *ep = file->data;
    for (;;) {
        if (any_ready(ep)) {
            mutex_lock(&ep->lock);
            int n = collect_one(ep, emit, arg);
            if (unlikely(!n) && any_ready(ep))
                n = collect(ep, max, emit, arg);
            mutex_unlock(&ep->lock);
            if (likely(n))
                return n;
        }
        if (deadline == 0)
            return 0;
        int err = wait_for_events(ep, deadline);
        if (err == -ETIMEDOUT)
            deadline = 0; // a last look
        else if (err < 0)
            return err == -ERESTARTSYS ? -ERESTARTNOHAND : err;
    }
}

// --- The instance as a file ---

static bool emit_nothing(void *arg, int i, const struct epoll_request *ev) { return false; }

static uint32_t epoll_poll(struct file *f, struct poll_table *pt) {
    struct epoll *ep = f->data;
    poll_on(pt, f, &ep->wait);
    if (!any_ready(ep))
        return 0;
    // Level-triggered items stay on the list after the last look: see whether one still has something.
    lock_nested(); // behind those of instances that watch this one
    mutex_lock(&ep->lock);
    int n = collect(ep, 1, emit_nothing, NULL);
    mutex_unlock(&ep->lock);
    return n == -EFAULT ? POLLIN | POLLRDNORM : 0;
}

static void epoll_release(struct file *f) {
    struct epoll *ep = f->data;
    mutex_lock(&epoll_mutex);
    mutex_lock(&ep->lock);
    for (uint32_t i = 0; i <= ep->mask; i++)
        while (ep->table[i])
            item_remove(ep->table[i]);
    mutex_unlock(&ep->lock);
    mutex_unlock(&epoll_mutex);
    if (ep->table != ep->first_table)
        kfree(ep->table);
    kfree(ep);
}

static void epoll_show(struct file *f, struct seqbuf *s) {
    struct epoll *ep = f->data;
    mutex_lock(&ep->lock);
    for (uint32_t i = 0; i <= ep->mask; i++)
        for (const struct epoll_item *it = ep->table[i]; it; it = it->next)
            seq_printf(s, "tfd: %8d events: %8x data: %16lx  pos:%lu ino:%lx sdev:%x\n", it->fd, it->request.events, it->request.data,
                       it->file->stream ? 0 : it->file->position, it->file->inode->ino,
                       DEV_MAJOR(it->file->inode->sb->dev) << 20 | DEV_MINOR(it->file->inode->sb->dev));
    mutex_unlock(&ep->lock);
}

static const struct file_ops epoll_ops = {
    .name = "[eventpoll]",
    .seek = file_seek_nowhere,
    .poll = epoll_poll,
    .show = epoll_show,
    .release = epoll_release,
};

struct file *epoll_create(unsigned flags) {
    struct epoll *ep = kzalloc(sizeof(*ep));
    struct inode *inode = inode_anonymous(0600, 0);
    struct file *f = ep && inode ? file_alloc(&epoll_ops, inode, O_RDWR) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        kfree(ep);
        return f;
    }
    mutex_init(&ep->lock);
    ep->table = ep->first_table;
    ep->mask = ARRAY_SIZE(ep->first_table) - 1;
    list_init(&ep->ready);
    waitq_init(&ep->wait);
    f->stream = true;
    f->data = ep;
    return f;
}
