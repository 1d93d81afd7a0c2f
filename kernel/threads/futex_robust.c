// The end of a thread: mutexes that it held are marked and handed on. The list of them is the application's: Linux,
// Documentation/locking/robust-futex-ABI.rst.
#include "kernel/memory/usercopy.h"
#include "kernel/threads/futex.h"
#include "kernel/threads/futex_pi.h"
#include "kernel/threads/thread.h"
#include <linux/futex.h>

#define ROBUST_LIMIT 2048
#define INHERITS 1UL // bit 0 of an entry: a mutex with priority inheritance

// False: the list is not to be trusted any further.
static bool owner_died(uaddr_t addr, bool inherits, bool pending)
{
    uint32_t word, seen, tid = (uint32_t)thread_current()->tid;
    if (addr & 3 || user_load32(addr, &word) < 0)
        return false;
    // Between unlocking and taking the entry off the list: the wake-up may have been lost with the thread.
    if (pending && !inherits && !(word & FUTEX_TID_MASK)) {
        futex_wake(addr, 1, ~0u, FUTEX_SHARED);
        return true;
    }
    while ((word & FUTEX_TID_MASK) == tid) {
        if (user_cmpxchg32(addr, word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &seen) < 0)
            return false;
        if (seen == word) {
            if (!inherits && (word & FUTEX_WAITERS)) // the others are woken when all is done: futex_pi_release
                futex_wake(addr, 1, ~0u, FUTEX_SHARED);
            break;
        }
        word = seen;
    }
    return true;
}

static void walk_list(uaddr_t list)
{
    struct robust_list_head head;
    if (copy_in_obj(&head, list) < 0)
        return;
    uaddr_t pending = (uaddr_t)head.list_op_pending, entry = (uaddr_t)head.list.next;
    uaddr_t pending_at = pending & ~INHERITS;
    for (int i = 0; i < ROBUST_LIMIT && (entry & ~INHERITS) != list; i++) {
        struct robust_list node;
        uaddr_t at = entry & ~INHERITS;
        bool more = copy_in_obj(&node, at) == 0; // before the word is given away
        if (at != pending_at && !owner_died(at + (uaddr_t)head.futex_offset, entry & INHERITS, false))
            return;
        if (!more)
            return;
        entry = (uaddr_t)node.next;
        sched_point();
    }
    if (pending_at)
        owner_died(pending_at + (uaddr_t)head.futex_offset, pending & INHERITS, true);
}

void futex_exit(struct thread *t, bool last)
{
    uaddr_t list = t->robust_list;
    bool held = futex_pi_begin_exit(t);
    if (list) {
        t->robust_list = 0;
        walk_list(list);
    }
    if (held)
        futex_pi_release(t);
    futex_pi_end_exit(t, last);
}
