// The pages of a file by number: a radix tree of 64-way nodes, as high as the largest number needs. A file of one page needs no
// node at all. Pages may be marked (those with changes to be written, say), and the marked ones are found without a walk over the
// others. No lock of its own: the owner has one. Does not count references; a page is any pointer but NULL.
#ifndef FS_PAGETREE_H
#define FS_PAGETREE_H

#include "kernel/types.h"

struct page;

struct pagetree {
    void *root;      // height 0: the page 0 itself; otherwise a node
    uint32_t height; // levels of nodes
    bool marked;     // some page is
    uint64_t count;  // pages in it
};
#define PAGETREE_SHIFT 6
#define PAGETREE_FANOUT 64
struct pagetree_node {
    void *slot[PAGETREE_FANOUT];
    uint32_t used;
    uint64_t marked; // bitmap: slots with a marked page in or below them
};

static inline struct page *pagetree_get(const struct pagetree *t, uint64_t index) {
    void *at = t->root;
    uint32_t shift = t->height * PAGETREE_SHIFT;
    if (shift < 64 && index >> shift)
        return NULL;
    while (at && shift) {
        shift -= PAGETREE_SHIFT;
        at = ((struct pagetree_node *)at)->slot[index >> shift & (PAGETREE_FANOUT - 1)];
    }
    return at;
}
// The places of the page `index` and of those behind it, as far as they lie in one node: *count of them. NULL: there is no such node.
static inline struct page *const *pagetree_run(const struct pagetree *t, uint64_t index, unsigned *count) {
    void *const *at = &t->root;
    uint32_t shift = t->height * PAGETREE_SHIFT;
    *count = 1;
    if (shift < 64 && index >> shift)
        return NULL;
    while (shift) {
        if (!*at)
            return NULL;
        shift -= PAGETREE_SHIFT;
        *count = PAGETREE_FANOUT - (index >> shift & (PAGETREE_FANOUT - 1));
        at = &((struct pagetree_node *)*at)->slot[index >> shift & (PAGETREE_FANOUT - 1)];
    }
    return (struct page *const *)at;
}
int pagetree_insert(struct pagetree *t, uint64_t index, struct page *page); // 0, -ENOMEM, -EEXIST
// Puts a page in the place of the one that is there, which it returns.
struct page *pagetree_replace(struct pagetree *t, uint64_t index, struct page *page);
struct page *pagetree_remove(struct pagetree *t, uint64_t index); // NULL: there was none
// The first page at or behind *index, whose number goes to *index. NULL: none.
struct page *pagetree_next(const struct pagetree *t, uint64_t *index);

void pagetree_mark(struct pagetree *t, uint64_t index);   // a page that is there
void pagetree_unmark(struct pagetree *t, uint64_t index); // pagetree_remove does it, too
struct page *pagetree_next_marked(const struct pagetree *t, uint64_t *index);

#endif
