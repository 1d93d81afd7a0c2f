// System V message queues. A sender gives its message to the receiver that has waited longest for one like it; otherwise it is
// queued, or the sender waits for room. Locks: the queue's; waiters live on their threads' stacks and are touched under it alone.
#include "kernel/ipc/msg.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include <linux/capability.h>
#include <linux/ipc.h>
#include <linux/msg.h>

struct msg_limits msg_limits = {8192, 16384, 32000};
struct ipc_ids msg_ids = IPC_IDS_INIT(msg_ids);
static uint32_t total_messages, total_bytes;

struct msg_queue {
    struct ipc_object object;
    nsec_t stime, rtime;
    uint64_t bytes, count, max_bytes;
    int send_pid, receive_pid;
    struct list messages, receivers, senders;
};

struct receiver {
    struct list link; // msg_queue.receivers; on no list: `result` is there
    struct thread *thread;
    long type;
    enum msg_mode mode;
    size_t size;
    bool cut; // MSG_NOERROR
    struct message *result;
};
struct sender {
    struct list link; // msg_queue.senders; on no list: look again
    struct thread *thread;
    size_t size;
};

static struct msg_queue *queue_of(struct ipc_object *o) { return container_of(o, struct msg_queue, object); }

// --- Messages ---

struct message *message_alloc(long type, size_t size) {
    struct message *m = kmalloc(sizeof(*m) + size);
    if (m) {
        m->type = type;
        m->size = size;
        list_init(&m->link);
    }
    return m;
}

void message_free(struct message *m) { kfree(m); }

enum msg_mode msg_mode(long *type, unsigned flags) {
    if (*type == 0)
        return MSG_WANT_ANY;
    if (*type < 0) {
        *type = *type == INT64_MIN ? INT64_MAX : -*type;
        return MSG_WANT_LOWEST;
    }
    return flags & MSG_EXCEPT ? MSG_WANT_OTHER : MSG_WANT_TYPE;
}

static bool matches(const struct message *m, long type, enum msg_mode mode) {
    switch (mode) {
    case MSG_WANT_ANY: return true;
    case MSG_WANT_TYPE: return m->type == type;
    case MSG_WANT_OTHER: return m->type != type;
    case MSG_WANT_LOWEST: return m->type <= type;
    }
    return false;
}

struct message *msg_select(struct list *messages, long type, enum msg_mode mode) {
    struct message *m, *found = NULL;
    list_for_each (m, messages, link) {
        if (!matches(m, type, mode) || (found && m->type >= found->type))
            continue;
        found = m;
        if (mode != MSG_WANT_LOWEST || m->type == 1)
            break;
    }
    return found;
}

// --- Queues ---

static void release(struct ipc_object *o) { kfree(queue_of(o)); }

static struct ipc_object *make(const struct ipc_request *r) {
    struct msg_queue *q = kzalloc(sizeof(*q));
    if (!q)
        return ERR_PTR(-ENOMEM);
    ipc_object_init(&q->object, r, release);
    q->max_bytes = (unsigned)msg_limits.queue;
    list_init(&q->messages);
    list_init(&q->receivers);
    list_init(&q->senders);
    return &q->object;
}

long msg_get(int key, unsigned flags) {
    struct ipc_request r = {.key = key, .flags = flags, .limit = (unsigned)msg_limits.queues, .make = make};
    return ipc_get(&msg_ids, &r);
}

void msg_totals(unsigned *messages, unsigned *bytes) {
    *messages = READ_ONCE(total_messages);
    *bytes = READ_ONCE(total_bytes);
}

static void account(struct msg_queue *q, long messages, long bytes) {
    q->count += messages;
    q->bytes += bytes;
    atomic_add(&total_messages, (uint32_t)messages);
    atomic_add(&total_bytes, (uint32_t)bytes);
}

static bool fits(const struct msg_queue *q, size_t size) {
    return q->bytes + size <= q->max_bytes && q->count + 1 <= q->max_bytes;
}

// There is room: those who wait for it look again, as many as it may serve.
static void wake_senders(struct msg_queue *q, bool all) {
    struct sender *s, *next;
    uint64_t room = q->max_bytes > q->bytes ? q->max_bytes - q->bytes : 0;
    list_for_each_safe (s, next, &q->senders, link) {
        if (!all && s->size > room)
            break; // in order: a small message does not overtake
        room -= MIN(s->size, room);
        list_remove(&s->link);
        thread_wake(s->thread);
    }
}

static void finish(struct receiver *r, struct message *result) {
    list_remove(&r->link);
    r->result = result;
    thread_wake(r->thread);
}

static void wake_receivers(struct msg_queue *q, int err) {
    struct receiver *r, *next;
    list_for_each_safe (r, next, &q->receivers, link)
        finish(r, ERR_PTR(err));
}

// --- Sending ---

static bool give_to_receiver(struct msg_queue *q, struct message *m) {
    struct receiver *r, *next;
    list_for_each_safe (r, next, &q->receivers, link) {
        if (!matches(m, r->type, r->mode))
            continue;
        if (r->size < m->size && !r->cut) {
            finish(r, ERR_PTR(-E2BIG));
            continue;
        }
        q->receive_pid = r->thread->process->pid;
        q->rtime = time_realtime();
        finish(r, m);
        return true;
    }
    return false;
}

// Sleeps until there may be room. The queue is locked before and after. 0, -EIDRM, -ERESTARTNOHAND.
static int wait_for_room(struct msg_queue *q, size_t size) {
    struct sender s = {.thread = thread_current(), .size = size};
    list_push_back(&q->senders, &s.link);
    thread_prepare_sleep(true);
    spin_unlock(&q->object.lock);
    int err = thread_sleep_until(NSEC_MAX);
    spin_lock(&q->object.lock);
    bool woken = list_empty(&s.link); // then the room is this thread's, signal or not: nobody else was told of it
    list_remove(&s.link);
    if (q->object.removed)
        return -EIDRM;
    return err < 0 && !woken ? -ERESTARTNOHAND : 0;
}

long msg_send(int id, struct message *m, unsigned flags) {
    struct ipc_object *o = ipc_lock(&msg_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct msg_queue *q = queue_of(o);
    int err;
    for (;;) {
        err = ipc_permitted(o, IPC_WRITE) ? 0 : -EACCES;
        if (err < 0 || fits(q, m->size))
            break;
        err = flags & IPC_NOWAIT ? -EAGAIN : wait_for_room(q, m->size);
        if (err < 0)
            break;
    }
    if (err == 0) {
        q->send_pid = process_current()->pid;
        q->stime = time_realtime();
        if (!give_to_receiver(q, m)) {
            list_push_back(&q->messages, &m->link);
            account(q, 1, (long)m->size);
        }
    }
    ipc_unlock(o);
    return err;
}

// --- Receiving ---

static struct message *take(struct msg_queue *q, const struct receiver *r) {
    struct message *m = msg_select(&q->messages, r->type, r->mode);
    if (!m)
        return NULL;
    if (r->size < m->size && !r->cut)
        return ERR_PTR(-E2BIG);
    list_remove(&m->link);
    account(q, -1, -(long)m->size);
    q->rtime = time_realtime();
    q->receive_pid = process_current()->pid;
    wake_senders(q, false);
    return m;
}

// The queue is locked before and after. A message, an error, or ERR_PTR(-EAGAIN): look again.
static struct message *wait_for_message(struct msg_queue *q, struct receiver *r) {
    r->result = NULL;
    list_push_back(&q->receivers, &r->link);
    thread_prepare_sleep(true);
    spin_unlock(&q->object.lock);
    int err = thread_sleep_until(NSEC_MAX);
    spin_lock(&q->object.lock);
    if (r->result)
        return r->result;
    list_remove(&r->link);
    return ERR_PTR(err < 0 ? -ERESTARTNOHAND : -EAGAIN);
}

struct message *msg_receive(int id, long type, size_t size, unsigned flags) {
    struct receiver r = {
        .thread = thread_current(), .type = type, .size = size, .cut = flags & MSG_NOERROR, .result = NULL};
    r.mode = msg_mode(&r.type, flags);
    struct ipc_object *o = ipc_lock(&msg_ids, id);
    if (IS_ERR(o))
        return (void *)o;
    struct msg_queue *q = queue_of(o);
    struct message *m;
    do {
        m = ipc_permitted(o, IPC_READ) ? take(q, &r) : ERR_PTR(-EACCES);
        if (!m)
            m = flags & IPC_NOWAIT ? ERR_PTR(-ENOMSG) : wait_for_message(q, &r);
    } while (m == ERR_PTR(-EAGAIN));
    ipc_unlock(o);
    return m;
}

// --- The queue as a whole ---

long msg_status(int n, enum ipc_by by, struct msg_status *out) {
    struct ipc_object *o = ipc_lock_to_read(&msg_ids, n, by);
    if (IS_ERR(o))
        return PTR_ERR(o);
    const struct msg_queue *q = queue_of(o);
    ipc_describe(o, &out->ipc);
    out->stime = q->stime;
    out->rtime = q->rtime;
    out->bytes = q->bytes;
    out->count = q->count;
    out->max_bytes = q->max_bytes;
    out->send_pid = q->send_pid;
    out->receive_pid = q->receive_pid;
    ipc_unlock(o);
    return out->ipc.id;
}

long msg_change(int id, const struct msg_change *c) {
    struct ipc_object *o = ipc_lock(&msg_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct msg_queue *q = queue_of(o);
    bool may_exceed = current_cred()->cap_effective >> CAP_SYS_RESOURCE & 1;
    long err = -EPERM;
    if (ipc_owned(o) && (c->max_bytes <= (uint64_t)msg_limits.queue || may_exceed)) {
        err = ipc_set(o, &c->ipc);
        if (err == 0) {
            q->max_bytes = c->max_bytes;
            wake_receivers(q, -EAGAIN); // the permissions may have changed
            wake_senders(q, true);
        }
    }
    ipc_unlock(o);
    return err;
}

long msg_remove(int id) {
    struct ipc_object *o = ipc_lock(&msg_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct msg_queue *q = queue_of(o);
    struct list messages = LIST_INIT(messages);
    long err = -EPERM;
    if (ipc_owned(o)) {
        ipc_remove(&msg_ids, o);
        wake_receivers(q, -EIDRM);
        wake_senders(q, true);
        while (!list_empty(&q->messages)) {
            struct list *m = q->messages.next;
            list_remove(m);
            list_push_back(&messages, m);
        }
        account(q, -(long)q->count, -(long)q->bytes);
        err = 0;
    }
    ipc_unlock(o);
    while (!list_empty(&messages)) {
        struct message *m = list_first(&messages, struct message, link);
        list_remove(&m->link);
        message_free(m);
    }
    return err;
}
