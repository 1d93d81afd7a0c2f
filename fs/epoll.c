// epoll(7). Each watched file has an item that waits on the file's queues; a wake-up puts the item onto the ready list, and
// epoll_wait asks the files on that list what they have. Level-triggered items go back to the list when they had something.
// Items do not keep their files open: file_release() takes them out (epoll_file_released).
// Locks: epoll_mutex (the chains of items at files) > epoll.lock (mutex: items) > a file's waitq.lock > epoll.ready_lock
// (interrupt-safe; the ready list) ; the wait queue of the instance is woken under the file's waitq.lock.
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/log.h"
#include <linux/eventpoll.h>

#define NESTING_MAX 5

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
    bool ready; // on the ready list
    struct epoll *epoll;
    struct file *file; // not referenced
    int fd;
    struct epoll_request request;
    unsigned waiter_count;
    struct waiter waiters[3];
};

static struct slab_cache item_cache = SLAB_CACHE("epoll_item", sizeof(struct epoll_item), 8);
static struct mutex epoll_mutex = MUTEX_INIT(epoll_mutex);
static const struct file_ops epoll_ops;

#define PRIVATE_BITS ((uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE))

// What the application wants to hear of: nothing once a one-shot item has fired.
static uint32_t wanted(const struct epoll_item *it) {
    uint32_t events = it->request.events & ~PRIVATE_BITS;
    return events ? events | EPOLLERR | EPOLLHUP : 0;
}

static void make_ready(struct epoll_item *it) {
    struct epoll *ep = it->epoll;
    uint64_t flags = spin_lock_irqsave(&ep->ready_lock);
    if (!it->ready) {
        it->ready = true;
        list_push_back(&ep->ready, &it->ready_link);
    }
    spin_unlock_irqrestore(&ep->ready_lock, flags);
}

static bool take_ready(struct epoll_item *it) {
    uint64_t flags = spin_lock_irqsave(&it->epoll->ready_lock);
    bool was = it->ready;
    it->ready = false;
    list_remove(&it->ready_link);
    spin_unlock_irqrestore(&it->epoll->ready_lock, flags);
    return was;
}

static bool on_wake(struct waiter *w, uint32_t key) {
    struct epoll_item *it = w->data;
    uint32_t events = wanted(it);
    if (!events || (key && !(key & events)))
        return false;
    make_ready(it);
    waitq_wake_key(&it->epoll->wait, 1, POLLIN | POLLRDNORM);
    return true;
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

// Both locks held.
static void item_remove(struct epoll_item *it) {
    struct epoll *ep = it->epoll;
    for (unsigned i = 0; i < it->waiter_count; i++)
        waitq_remove(&it->waiters[i]);
    take_ready(it);
    struct epoll_item **at = slot_of(ep, it->file, it->fd);
    while (*at != it)
        at = &(*at)->next;
    *at = it->next;
    at = &it->file->epoll;
    while (*at != it)
        at = &(*at)->next_of_file;
    *at = it->next_of_file;
    ep->count--;
    slab_free(&item_cache, it);
}

static void report_if_ready(struct epoll_item *it, uint32_t now) {
    if (now & wanted(it)) {
        make_ready(it);
        waitq_wake_key(&it->epoll->wait, 1, POLLIN | POLLRDNORM);
    }
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
    it->next_of_file = f->epoll;
    f->epoll = it;
    ep->count++;
    struct registration r = {.table = {.add = add_queue}, .item = it};
    report_if_ready(it, file_poll(f, &r.table));
    return 0;
}

// Does `ep` (or an instance that it watches) watch `target`? And not too deeply nested.
static int check_nesting(struct epoll *ep, struct epoll *target, int depth) {
    if (ep == target || depth > NESTING_MAX)
        return -ELOOP;
    for (uint32_t i = 0; i <= ep->mask; i++) {
        for (struct epoll_item *it = ep->table[i]; it; it = it->next) {
            if (it->file->ops != &epoll_ops)
                continue;
            int err = check_nesting(it->file->data, target, depth + 1);
            if (err < 0)
                return err;
        }
    }
    return 0;
}

int epoll_control(struct file *file, int op, int fd, struct file *target, const struct epoll_request *request) {
    if (file->ops != &epoll_ops || target == file)
        return -EINVAL;
    if (!target->ops->poll)
        return -EPERM; // regular files and directories
    struct epoll *ep = file->data;
    int err = 0;
    mutex_lock(&epoll_mutex);
    if (op == EPOLL_CTL_ADD && target->ops == &epoll_ops)
        err = check_nesting(target->data, ep, 1);
    mutex_lock(&ep->lock);
    struct epoll_item *it = find(ep, target, fd);
    if (err < 0)
        ;
    else if (op == EPOLL_CTL_ADD)
        err = it ? -EEXIST : item_add(ep, fd, target, request);
    else if (op != EPOLL_CTL_DEL && op != EPOLL_CTL_MOD)
        err = -EINVAL;
    else if (!it)
        err = -ENOENT;
    else if (op == EPOLL_CTL_DEL)
        item_remove(it);
    else {
        it->request = *request;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        report_if_ready(it, file_poll(target, NULL));
    }
    mutex_unlock(&ep->lock);
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
static int collect(struct epoll *ep, int max, bool (*emit)(void *, int, const struct epoll_request *), void *arg) {
    struct list todo;
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
        take_ready(it);
        uint32_t events = file_poll(it->file, NULL) & wanted(it);
        if (!events)
            continue;
        struct epoll_request ev = {events, it->request.data};
        if (!emit(arg, count, &ev)) {
            make_ready(it);
            err = -EFAULT;
            break;
        }
        count++;
        if (it->request.events & EPOLLONESHOT)
            it->request.events &= PRIVATE_BITS;
        else if (!(it->request.events & EPOLLET))
            make_ready(it);
    }
    // What is left was ready before whatever came meanwhile.
    flags = spin_lock_irqsave(&ep->ready_lock);
    while (!list_empty(&todo)) {
        struct list *last = todo.prev;
        list_remove(last);
        list_push_front(&ep->ready, last);
    }
    spin_unlock_irqrestore(&ep->ready_lock, flags);
    return count ? count : err;
}

int epoll_wait(struct file *file, int max, nsec_t deadline, bool (*emit)(void *, int, const struct epoll_request *),
               void *arg) {
    if (file->ops != &epoll_ops || max <= 0)
        return -EINVAL;
    struct epoll *ep = file->data;
    for (;;) {
        int n = 0;
        if (any_ready(ep)) {
            mutex_lock(&ep->lock);
            n = collect(ep, max, emit, arg);
            mutex_unlock(&ep->lock);
        }
        if (n)
            return n;
        int err = wait_event_until(&ep->wait, any_ready(ep), deadline, true);
        if (err == -ETIMEDOUT)
            return 0;
        if (err < 0)
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

static const struct file_ops epoll_ops = {
    .name = "[eventpoll]",
    .seek = file_seek_nowhere,
    .poll = epoll_poll,
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
