// semop(2): operations on several semaphores of a set at once. Who must wait is queued on the set with what it wants; whoever changes
// a value then does, in order, all waiting operations that have become possible, and wakes their threads with the result.
// Locks: see sem.h. A waiter lives on its thread's stack and is touched under the set's lock alone.
#include "kernel/ipc/sem.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/threads/lock_waiter.h" // LOCK_SPINS
#include "kernel/x86/cpu.h"             // spin_wait

#define ADJUST_MAX SEM_VALUE_MAX // SEMAEM

struct sem_limits sem_limits = {32000, 1024000000, 500, 32000};
struct ipc_ids sem_ids = IPC_IDS_INIT(sem_ids);
static uint32_t total; // semaphores in all sets

struct sem_waiter {
    struct list link; // sem_set.waiting; on no list: `result` is there
    struct thread *thread;
    const struct sem_operation *ops;
    unsigned count, blocking; // blocking: the operation that could not be done
    struct sem_undo *undo;
    int pid, result;
};

static struct sem_set *set_of(struct ipc_object *o) { return container_of(o, struct sem_set, object); }

// --- Sets ---

unsigned sem_total(void) { return READ_ONCE(total); }

static void release(struct ipc_object *o) {
    struct sem_set *set = set_of(o);
    atomic_sub(&total, set->count);
    kfree(set);
}

static struct ipc_object *make(const struct ipc_request *r) {
    if (!r->size)
        return ERR_PTR(-EINVAL);
    if (sem_total() + r->size > (uint64_t)sem_limits.total)
        return ERR_PTR(-ENOSPC);
    struct sem_set *set = kzalloc(sizeof(*set) + r->size * sizeof(set->semaphores[0]));
    if (!set)
        return ERR_PTR(-ENOMEM);
    ipc_object_init(&set->object, r, release);
    set->count = r->size;
    list_init(&set->waiting);
    list_init(&set->undos);
    atomic_add(&total, set->count);
    return &set->object;
}

static int check(const struct ipc_object *o, const struct ipc_request *r) {
    return r->size > container_of(o, struct sem_set, object)->count ? -EINVAL : 0;
}

long sem_get(int key, int count, unsigned flags) {
    if (count < 0 || count > sem_limits.per_set)
        return -EINVAL;
    struct ipc_request r = {.key = key,
                            .flags = flags,
                            .limit = (unsigned)sem_limits.sets,
                            .make = make,
                            .check = check,
                            .size = (unsigned)count};
    return ipc_get(&sem_ids, &r);
}

// --- Operations ---

static int try_one(struct sem_set *set, const struct sem_operation *op, const struct sem_undo *undo) {
    struct semaphore *s = &set->semaphores[op->number];
    int result = s->value + op->change;
    if (op->change == 0 ? s->value != 0 : result < 0)
        return op->flags & SEM_FLAG_NOWAIT ? -EAGAIN : 1;
    if (result > SEM_VALUE_MAX)
        return -ERANGE;
    if (op->flags & SEM_FLAG_UNDO) {
        int adjust = undo->adjust[op->number] - op->change;
        if (adjust < -ADJUST_MAX - 1 || adjust > ADJUST_MAX)
            return -ERANGE;
    }
    s->value = result;
    return 0;
}

int sem_try(struct sem_set *set, const struct sem_operation *ops, unsigned count, struct sem_undo *undo, int pid,
            unsigned *blocking) {
    unsigned done = 0;
    int err = 0;
    while (done < count) {
        err = try_one(set, &ops[done], undo);
        if (err != 0)
            break;
        // At once, so that a second operation on the same semaphore sees it.
        if (ops[done].flags & SEM_FLAG_UNDO)
            undo->adjust[ops[done].number] -= ops[done].change;
        done++;
    }
    if (err != 0) {
        *blocking = done;
        while (done-- > 0) {
            set->semaphores[ops[done].number].value -= ops[done].change;
            if (ops[done].flags & SEM_FLAG_UNDO)
                undo->adjust[ops[done].number] += ops[done].change;
        }
        return err;
    }
    for (unsigned i = 0; i < count; i++)
        set->semaphores[ops[i].number].pid = pid;
    set->otime = time_realtime();
    return 0;
}

static bool alters(const struct sem_operation *ops, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (ops[i].change)
            return true;
    return false;
}

static void finish(struct sem_waiter *w, int result) {
    list_remove(&w->link);
    w->result = result;
    thread_wake(w->thread);
}

// A value has changed: does what can be done now, from the longest waiting on. The set is locked.
static void update(struct sem_set *set) {
    bool again = true;
    while (again) {
        again = false;
        struct sem_waiter *w, *next;
        list_for_each_safe (w, next, &set->waiting, link) {
            int err = sem_try(set, w->ops, w->count, w->undo, w->pid, &w->blocking);
            if (err > 0)
                continue;
            finish(w, err);
            if (err == 0 && alters(w->ops, w->count)) {
                again = true;
                break;
            }
        }
    }
}

// Whoever holds a semaphore on another CPU mostly lets go of it soon: then neither goes to sleep, nor has a CPU to be woken.
static void spin_for_turn(const struct sem_waiter *w) {
    for (unsigned i = 0; i < LOCK_SPINS && READ_ONCE(w->link.next) != &w->link; i++) {
        if (i % 64 == 0 && !sched_may_spin())
            return;
        spin_wait(i);
    }
}

// Sleeps until somebody has done the operations. Called with the set locked, returns unlocked.
static int wait_for_turn(struct sem_set *set, struct sem_waiter *w, nsec_t deadline) {
    int err = 0;
    list_push_back(&set->waiting, &w->link);
    spin_unlock(&set->object.lock);
    spin_for_turn(w);
    spin_lock(&set->object.lock);
    while (err == 0 && !list_empty(&w->link)) {
        thread_prepare_sleep(true);
        spin_unlock(&set->object.lock);
        err = thread_sleep_until(deadline);
        spin_lock(&set->object.lock);
    }
    if (list_empty(&w->link)) {
        err = w->result;
    } else {
        list_remove(&w->link);
        err = err == -ETIMEDOUT ? -EAGAIN : -EINTR;
    }
    spin_unlock(&set->object.lock);
    return err;
}

static int operate_locked(struct sem_set *set, struct sem_waiter *w, bool *waits) {
    for (unsigned i = 0; i < w->count; i++)
        if (w->ops[i].number >= set->count)
            return -EFBIG;
    if (!ipc_permitted(&set->object, alters(w->ops, w->count) ? IPC_WRITE : IPC_READ))
        return -EACCES;
    int err = sem_try(set, w->ops, w->count, w->undo, w->pid, &w->blocking);
    if (err == 0 && alters(w->ops, w->count) && !list_empty(&set->waiting))
        update(set);
    *waits = err > 0;
    return err;
}

static bool wants_undo(const struct sem_operation *ops, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (ops[i].flags & SEM_FLAG_UNDO)
            return true;
    return false;
}

long sem_operate(int id, const struct sem_operation *ops, unsigned count, nsec_t deadline) {
    struct sem_waiter w = {
        .thread = thread_current(), .ops = ops, .count = count, .pid = process_current()->pid, .undo = NULL};
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *set = set_of(o);
    list_init(&w.link);
    int err = 0;
    if (wants_undo(ops, count)) {
        spin_unlock(&o->lock);
        w.undo = sem_undo_find(set);
        spin_lock(&o->lock);
        if (IS_ERR(w.undo))
            err = PTR_ERR(w.undo);
        else if (o->removed)
            err = -EIDRM;
    }
    bool waits = false;
    if (err == 0)
        err = operate_locked(set, &w, &waits);
    if (waits)
        err = wait_for_turn(set, &w, deadline);
    else
        spin_unlock(&o->lock);
    ipc_unref(o);
    return err;
}

// --- Values ---

static long count_waiting(struct sem_set *set, unsigned number, bool for_zero) {
    long n = 0;
    struct sem_waiter *w;
    list_for_each (w, &set->waiting, link) {
        const struct sem_operation *op = &w->ops[w->blocking];
        n += op->number == number && (for_zero ? op->change == 0 : op->change < 0);
    }
    return n;
}

long sem_query(int id, int number, enum sem_query what) {
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *set = set_of(o);
    long result = -EINVAL;
    if (!ipc_permitted(o, IPC_READ))
        result = -EACCES;
    else if (number >= 0 && (unsigned)number < set->count) {
        switch (what) {
        case SEM_GET_VALUE: result = set->semaphores[number].value; break;
        case SEM_GET_PID: result = set->semaphores[number].pid; break;
        case SEM_GET_WAITING: result = count_waiting(set, (unsigned)number, false); break;
        case SEM_GET_WAITING_ZERO: result = count_waiting(set, (unsigned)number, true); break;
        }
    }
    ipc_unlock(o);
    return result;
}

static void forget_adjustments(struct sem_set *set, unsigned first, unsigned end) {
    struct sem_undo *u;
    list_for_each (u, &set->undos, set_link)
        for (unsigned i = first; i < end; i++)
            u->adjust[i] = 0;
}

long sem_set_value(int id, int number, int value) {
    if (value < 0 || value > SEM_VALUE_MAX)
        return -ERANGE;
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *set = set_of(o);
    long err = 0;
    if (number < 0 || (unsigned)number >= set->count) {
        err = -EINVAL;
    } else if (!ipc_permitted(o, IPC_WRITE)) {
        err = -EACCES;
    } else {
        forget_adjustments(set, (unsigned)number, (unsigned)number + 1);
        set->semaphores[number] = (struct semaphore){value, process_current()->pid};
        o->ctime = time_realtime();
        update(set);
    }
    ipc_unlock(o);
    return err;
}

long sem_count(int id) {
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    long result = ipc_permitted(o, IPC_WRITE) ? (long)set_of(o)->count : -EACCES;
    ipc_unlock(o);
    return result;
}

long sem_set_all(int id, const uint16_t *values, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (values[i] > SEM_VALUE_MAX)
            return -ERANGE;
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return -EIDRM; // it was there when the values were counted
    struct sem_set *set = set_of(o);
    for (unsigned i = 0; i < MIN(count, set->count); i++)
        set->semaphores[i] = (struct semaphore){values[i], process_current()->pid};
    forget_adjustments(set, 0, set->count);
    o->ctime = time_realtime();
    update(set);
    ipc_unlock(o);
    return 0;
}

long sem_get_all(int id, uint16_t **values) {
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *set = set_of(o);
    long result = ipc_permitted(o, IPC_READ) ? (long)set->count : -EACCES;
    if (result > 0 && !(*values = kmalloc(set->count * sizeof(**values))))
        result = -ENOMEM;
    for (long i = 0; i < result; i++)
        (*values)[i] = (uint16_t)set->semaphores[i].value;
    ipc_unlock(o);
    return result;
}

// --- The set as a whole ---

long sem_status(int n, enum ipc_by by, struct sem_status *out) {
    struct ipc_object *o = ipc_lock_to_read(&sem_ids, n, by);
    if (IS_ERR(o))
        return PTR_ERR(o);
    ipc_describe(o, &out->ipc);
    out->otime = set_of(o)->otime;
    out->count = set_of(o)->count;
    ipc_unlock(o);
    return out->ipc.id;
}

long sem_change(int id, const struct ipc_change *c) {
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    long err = ipc_owned(o) ? ipc_set(o, c) : -EPERM;
    ipc_unlock(o);
    return err;
}

long sem_remove(int id) {
    struct ipc_object *o = ipc_lock(&sem_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *set = set_of(o);
    long err = -EPERM;
    if (ipc_owned(o)) {
        struct sem_waiter *w, *next;
        list_for_each_safe (w, next, &set->waiting, link)
            finish(w, -EIDRM);
        // The adjustments stay in their processes' lists, which drop them when they come by.
        while (!list_empty(&set->undos))
            list_remove(set->undos.next);
        ipc_remove(&sem_ids, o);
        err = 0;
    }
    ipc_unlock(o);
    return err;
}

void sem_undo_apply(struct sem_undo *u) {
    struct sem_set *set = u->set;
    int pid = process_current()->pid;
    spin_lock(&set->object.lock);
    if (!set->object.removed) {
        bool changed = false;
        for (unsigned i = 0; i < set->count; i++) {
            if (!u->adjust[i])
                continue;
            struct semaphore *s = &set->semaphores[i];
            s->value = MIN(MAX(s->value + u->adjust[i], 0), SEM_VALUE_MAX);
            s->pid = pid;
            changed = true;
        }
        list_remove(&u->set_link);
        if (changed) {
            set->otime = time_realtime();
            update(set);
        }
    }
    spin_unlock(&set->object.lock);
}
