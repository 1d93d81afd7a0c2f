// The transports that the drivers have found, by mount tag. Lock: transports_lock, a leaf.
#include "fs/9p/transport.h"

#include "kernel/string.h"
#include "kernel/threads/lock.h"

static struct list transports = LIST_INIT(transports);
static struct spinlock transports_lock = SPINLOCK_INIT;

void p9_transport_register(struct p9_transport *tr) {
    spin_lock(&transports_lock);
    list_push_back(&transports, &tr->link);
    spin_unlock(&transports_lock);
}

struct p9_transport *p9_transport_take(const char *tag) {
    struct p9_transport *found = ERR_PTR(-ENOENT), *tr;
    spin_lock(&transports_lock);
    list_for_each (tr, &transports, link) {
        if (strcmp(tr->tag, tag) != 0)
            continue;
        found = tr->taken ? ERR_PTR(-EBUSY) : tr;
        if (!tr->taken)
            break;
    }
    if (!IS_ERR(found))
        found->taken = true;
    spin_unlock(&transports_lock);
    return found;
}

void p9_transport_give_back(struct p9_transport *tr) {
    spin_lock(&transports_lock);
    tr->taken = false;
    spin_unlock(&transports_lock);
}
