// See fs/pagetree.h.
#include "fs/pagetree.h"
#include "kernel/memory/slab.h"

static struct slab_cache node_cache = SLAB_CACHE("pagetree_node", sizeof(struct pagetree_node), 8);

static inline unsigned slot_of(uint64_t index, uint32_t level) {
    return index >> (level * PAGETREE_SHIFT) & (PAGETREE_FANOUT - 1);
}

static bool fits(const struct pagetree *t, uint64_t index) {
    uint32_t shift = t->height * PAGETREE_SHIFT;
    return shift >= 64 || !(index >> shift);
}

static int grow(struct pagetree *t) {
    if (t->root) {
        struct pagetree_node *n = slab_zalloc(&node_cache);
        if (!n)
            return -ENOMEM;
        n->slot[0] = t->root;
        n->used = 1;
        n->marked = t->marked;
        t->root = n;
    }
    t->height++;
    return 0;
}

int pagetree_insert(struct pagetree *t, uint64_t index, struct page *page) {
    while (!fits(t, index)) {
        int err = grow(t);
        if (err < 0)
            return err;
    }
    void **at = &t->root;
    struct pagetree_node *parent = NULL;
    for (uint32_t level = t->height; level-- > 0;) {
        if (!*at) {
            // An empty node that stays behind when a later allocation fails is found and used by the next insertion.
            *at = slab_zalloc(&node_cache);
            if (!*at)
                return -ENOMEM;
            if (parent)
                parent->used++;
        }
        parent = *at;
        at = &parent->slot[slot_of(index, level)];
    }
    if (*at)
        return -EEXIST;
    *at = page;
    if (parent)
        parent->used++;
    t->count++;
    return 0;
}

struct page *pagetree_replace(struct pagetree *t, uint64_t index, struct page *page) {
    void **at = &t->root;
    for (uint32_t level = t->height; level-- > 0;)
        at = &((struct pagetree_node *)*at)->slot[slot_of(index, level)];
    struct page *old = *at;
    *at = page;
    return old;
}

struct page *pagetree_remove(struct pagetree *t, uint64_t index) {
    void **way[12];
    uint32_t depth = 0;
    if (!fits(t, index))
        return NULL;
    void **at = &t->root;
    for (uint32_t level = t->height; level-- > 0;) {
        if (!*at)
            return NULL;
        way[depth++] = at;
        at = &((struct pagetree_node *)*at)->slot[slot_of(index, level)];
    }
    struct page *page = *at;
    if (!page)
        return NULL;
    if (t->marked)
        pagetree_unmark(t, index);
    *at = NULL;
    t->count--;
    while (depth-- > 0) {
        struct pagetree_node *n = *way[depth];
        if (--n->used > 0)
            break;
        *way[depth] = NULL;
        slab_free(&node_cache, n);
    }
    if (!t->root)
        t->height = 0;
    return page;
}

struct page *pagetree_next(const struct pagetree *t, uint64_t *index) {
    uint64_t i = *index;
    while (t->root && fits(t, i)) {
        void *at = t->root;
        uint32_t level = t->height;
        while (at && level > 0)
            at = ((struct pagetree_node *)at)->slot[slot_of(i, --level)];
        if (at) {
            *index = i;
            return at;
        }
        // The subtree below `level` is empty: on to the next one.
        uint32_t shift = level * PAGETREE_SHIFT;
        uint64_t next = shift >= 64 ? 0 : ((i >> shift) + 1) << shift;
        if (next <= i)
            return NULL;
        i = next;
    }
    return NULL;
}

void pagetree_mark(struct pagetree *t, uint64_t index) {
    struct pagetree_node *n = t->root;
    t->marked = true;
    for (uint32_t level = t->height; level-- > 0; n = n->slot[slot_of(index, level)])
        n->marked |= 1ul << slot_of(index, level);
}

void pagetree_unmark(struct pagetree *t, uint64_t index) {
    struct pagetree_node *way[12], *n = t->root;
    if (!t->marked)
        return;
    for (uint32_t level = t->height; level-- > 0; n = n->slot[slot_of(index, level)]) {
        if (!(n->marked & 1ul << slot_of(index, level)))
            return;
        way[level] = n;
    }
    for (uint32_t level = 0; level < t->height; level++) {
        way[level]->marked &= ~(1ul << slot_of(index, level));
        if (way[level]->marked)
            return;
    }
    t->marked = false;
}

struct page *pagetree_next_marked(const struct pagetree *t, uint64_t *index) {
    uint64_t i = *index;
    while (t->marked && fits(t, i)) {
        void *at = t->root;
        uint32_t level = t->height;
        uint64_t rest = 1;
        while (level > 0) {
            const struct pagetree_node *n = at;
            level--;
            // The marked slots from this one on; where it is not the first of them, the way down goes by the lowest numbers.
            rest = n->marked >> slot_of(i, level);
            if (!rest)
                break;
            unsigned skip = __builtin_ctzl(rest);
            if (skip) {
                uint32_t shift = level * PAGETREE_SHIFT;
                i = ((i >> shift) + skip) << shift;
            }
            at = n->slot[slot_of(i, level)];
        }
        if (rest) {
            *index = i;
            return at;
        }
        // Nothing more in this node: on behind it.
        uint32_t shift = (level + 1) * PAGETREE_SHIFT;
        uint64_t next = shift >= 64 ? 0 : ((i >> shift) + 1) << shift;
        if (next <= i)
            return NULL;
        i = next;
    }
    return NULL;
}
