// SEM_UNDO: what a process has to take back at its end, one entry a set. The entry is found by the set and is freed at the end, or
// when the process comes by after the set has been removed.
// Locks: the set's > sem_undo_list.lock. process.sem_undo is set under the process's signal_lock and then stays.
#include "kernel/ipc/sem.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"

static void undo_free(struct sem_undo *u) {
    ipc_unref(&u->set->object);
    kfree(u);
}

// The current process's list, made if need be. NULL: no memory.
static struct sem_undo_list *list_get(void) {
    struct process *p = process_current();
    struct sem_undo_list *l = load_acquire(&p->sem_undo);
    if (l)
        return l;
    l = kzalloc(sizeof(*l));
    if (!l)
        return NULL;
    l->refs = 1;
    list_init(&l->entries);
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct sem_undo_list *there = p->sem_undo;
    if (!there)
        store_release(&p->sem_undo, l);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (there)
        kfree(l);
    return there ? there : l;
}

// Looks for the set's entry; entries of removed sets go to `dead`. list->lock held.
static struct sem_undo *find(struct sem_undo_list *l, struct sem_set *set, struct list *dead) {
    struct sem_undo *u, *next, *found = NULL;
    list_for_each_safe (u, next, &l->entries, list_link) {
        if (u->set == set) {
            found = u;
        } else if (READ_ONCE(u->set->object.removed)) {
            list_remove(&u->list_link);
            list_push_back(dead, &u->list_link);
        }
    }
    return found;
}

struct sem_undo *sem_undo_find(struct sem_set *set) {
    struct sem_undo_list *l = list_get();
    if (!l)
        return ERR_PTR(-ENOMEM);
    struct list dead = LIST_INIT(dead);
    spin_lock(&l->lock);
    struct sem_undo *u = find(l, set, &dead), *fresh = NULL;
    spin_unlock(&l->lock);
    if (!u) {
        fresh = kzalloc(sizeof(*fresh) + set->count * sizeof(fresh->adjust[0]));
        if (fresh) {
            fresh->set = set;
            ipc_ref(&set->object);
            list_init(&fresh->set_link);
            spin_lock(&set->object.lock);
            spin_lock(&l->lock);
            u = find(l, set, &dead); // another thread was faster
            if (!u && !set->object.removed) {
                u = fresh;
                fresh = NULL;
                list_push_back(&l->entries, &u->list_link);
                list_push_back(&set->undos, &u->set_link);
            }
            spin_unlock(&l->lock);
            spin_unlock(&set->object.lock);
            if (fresh)
                undo_free(fresh);
        } else {
            u = ERR_PTR(-ENOMEM);
        }
    }
    while (!list_empty(&dead)) {
        struct sem_undo *gone = list_first(&dead, struct sem_undo, list_link);
        list_remove(&gone->list_link);
        undo_free(gone);
    }
    return u ? u : ERR_PTR(-EIDRM);
}

int sem_undo_share(struct process *child) {
    struct sem_undo_list *l = list_get();
    if (!l)
        return -ENOMEM;
    atomic_add(&l->refs, 1);
    child->sem_undo = l;
    return 0;
}

void sem_undo_end(struct process *p) {
    struct sem_undo_list *l = p->sem_undo;
    p->sem_undo = NULL;
    if (atomic_sub(&l->refs, 1) != 1)
        return;
    while (!list_empty(&l->entries)) { // nobody else can reach the list any more
        struct sem_undo *u = list_first(&l->entries, struct sem_undo, list_link);
        list_remove(&u->list_link);
        sem_undo_apply(u);
        undo_free(u);
    }
    kfree(l);
}
