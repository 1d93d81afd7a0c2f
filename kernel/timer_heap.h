// The pairing heap under kernel/timer.c. Children of a node are a list: `child` is the first, `next` the following sibling,
// `prev` the sibling before or, for the first child, the parent. The root has neither next nor prev.
#ifndef KERNEL_TIMER_HEAP_H
#define KERNEL_TIMER_HEAP_H

#include "kernel/time.h"

// Makes the later one of two roots the first child of the earlier.
static inline struct timer *timer_heap_meld(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->deadline < a->deadline) {
        struct timer *earlier = b;
        b = a;
        a = earlier;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

static inline struct timer *timer_heap_insert(struct timer *root, struct timer *t)
{
    t->child = t->next = t->prev = NULL;
    return timer_heap_meld(root, t);
}

// One heap out of a list of siblings: pairs from the left, then all pairs from the right.
static inline struct timer *timer_heap_merge_siblings(struct timer *first)
{
    struct timer *pairs = NULL, *root = NULL;
    while (first) {
        struct timer *a = first, *b = first->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = timer_heap_meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct timer *rest = pairs->next;
        pairs->next = NULL;
        root = timer_heap_meld(root, pairs);
        pairs = rest;
    }
    return root;
}

// The heap without t, which is in it.
static inline struct timer *timer_heap_remove(struct timer *root, struct timer *t)
{
    struct timer *below = timer_heap_merge_siblings(t->child);
    t->child = NULL;
    if (t == root)
        return below;
    if (t->prev->child == t)
        t->prev->child = t->next;
    else
        t->prev->next = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->next = t->prev = NULL;
    return timer_heap_meld(root, below);
}

#endif
