// futex_waitv(2): waiting for one of several words. Each has a waiter of its own in the queues of futex.c, all of one thread.
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/threads/futex_queue.h"
#include <linux/futex.h>

// The last of those that were woken, or -1; none is queued afterwards.
static int unqueue_all(struct futex_waiter *w, unsigned count)
{
    int woken = -1;
    for (unsigned i = 0; i < count; i++)
        if (!futex_unqueue(&w[i]))
            woken = (int)i;
    return woken;
}

static bool any_woken(const struct futex_waiter *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!load_acquire(&w[i].bucket))
            return true;
    return false;
}

// Queues them all and looks at the words. 0, or -errno when one of them has another value.
static int queue_all(struct futex_waiter *w, const struct futex_wait_spec *specs, unsigned count, unsigned *queued)
{
    int err = 0;
    for (unsigned i = 0; !err && i < count; i++) {
        err = futex_get_key(specs[i].addr, specs[i].flags, &w[i].key);
        w[i].thread = thread_current();
        w[i].bitset = FUTEX_BITSET_MATCH_ANY;
    }
    *queued = 0;
    for (unsigned i = 0; !err && i < count; i++) {
        uint32_t now;
        futex_queue(&w[i]);
        *queued = i + 1;
        err = user_load32(specs[i].addr, &now);
        if (!err && now != specs[i].value)
            err = -EAGAIN;
    }
    return err;
}

long futex_wait_any(const struct futex_wait_spec *specs, unsigned count, nsec_t deadline, unsigned flags)
{
    unsigned queued;
    struct futex_waiter *w = kmalloc(count * sizeof(*w));
    if (!w)
        return -ENOMEM;
    long err = queue_all(w, specs, count, &queued);
    while (!err) {
        thread_prepare_sleep(true);
        if (any_woken(w, count)) {
            thread_cancel_sleep();
            break;
        }
        err = futex_sleep(deadline, flags);
    }
    int woken = unqueue_all(w, queued);
    kfree(w);
    return woken >= 0 ? woken : err;
}
