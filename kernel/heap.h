// A pairing heap: what is queued by a number, the least first. Adding is constant time, removing logarithmic (amortised), and the
// links are in the objects themselves, so that adding cannot fail. Timers and run queues use it; their locks protect it.
//
// Children of a node are a list: `child` is the first, `next` the following sibling, `prev` the sibling before or, for the first
// child, the parent. The root has neither next nor prev; NULL is the empty heap.
#ifndef KERNEL_HEAP_H
#define KERNEL_HEAP_H

#include "kernel/types.h"

struct heap_node {
    int64_t key;
    struct heap_node *child, *next, *prev;
};

// Makes the root with the greater key the first child of the other. With equal keys `a` stays in front.
static inline struct heap_node *heap_meld(struct heap_node *a, struct heap_node *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->key < a->key) {
        struct heap_node *least = b;
        b = a;
        a = least;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

// The heap with a node whose key is set.
static inline struct heap_node *heap_insert(struct heap_node *root, struct heap_node *n)
{
    n->child = n->next = n->prev = NULL;
    return heap_meld(root, n);
}

// One heap out of a list of siblings: pairs from the left, then all pairs from the right.
static inline struct heap_node *heap_merge_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL, *root = NULL;
    while (first) {
        struct heap_node *a = first, *b = first->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = heap_meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct heap_node *rest = pairs->next;
        pairs->next = NULL;
        root = heap_meld(root, pairs);
        pairs = rest;
    }
    return root;
}

// The heap without n, which is in it.
static inline struct heap_node *heap_remove(struct heap_node *root, struct heap_node *n)
{
    struct heap_node *below = n->child ? heap_merge_siblings(n->child) : NULL;
    n->child = NULL;
    if (n == root)
        return below;
    if (n->prev->child == n)
        n->prev->child = n->next;
    else
        n->prev->next = n->next;
    if (n->next)
        n->next->prev = n->prev;
    n->next = n->prev = NULL;
    return heap_meld(root, below);
}

// All nodes, a parent before its children: the one after n, or NULL. Nothing may be added or removed meanwhile.
static inline struct heap_node *heap_next(struct heap_node *n)
{
    if (n->child)
        return n->child;
    while (!n->next) {
        while (n->prev && n->prev->child != n) // to the first sibling, whose prev is the parent
            n = n->prev;
        if (!n->prev)
            return NULL;
        n = n->prev;
    }
    return n->next;
}

#endif
