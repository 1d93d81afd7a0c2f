// The tree of mappings. An AVL tree by address; each node also knows the largest hole directly below any mapping of
// its subtree, so that the search for a place takes one way down. Why AVL: the tree is small and searched far more
// often than changed, and a change must walk up to the root for the holes anyway.
//
// Locks: aspace.lock, as vma.h says. The hint `last_found` is written by readers, too: any mapping of the tree will
// do.
#include "kernel/memory/vma.h"
#include "kernel/memory/slab.h"

static struct slab_cache vma_cache = SLAB_CACHE("vma", sizeof(struct vma), 8);

struct vma *vma_alloc(struct aspace *as) {
    if (as->vma_count >= VMA_MAX)
        return NULL;
    struct vma *v = slab_zalloc(&vma_cache);
    if (v) {
        v->as = as;
        list_init(&v->backing_link);
    }
    return v;
}

void vma_free(struct vma *v) { slab_free(&vma_cache, v); }

// ---- balance and holes
// ------------------------------------------------------------------------------------------------

static uint32_t height(const struct vma *v) { return v ? v->height : 0; }

// The hole below v ends here: a mapping that grows down keeps a guard gap.
static uaddr_t hole_end(const struct vma *v) {
    if (!(v->flags & MAP_GROWSDOWN))
        return v->start;
    return v->start > STACK_GUARD_GAP ? v->start - STACK_GUARD_GAP : 0;
}

static uaddr_t hole_start(const struct vma *v) { return v->prev ? v->prev->end : 0; }

static uint64_t own_gap(const struct vma *v) {
    uaddr_t start = hole_start(v), end = hole_end(v);
    return end > start ? end - start : 0;
}

static uint64_t subtree_gap(const struct vma *v) {
    uint64_t gap = own_gap(v);
    if (v->left)
        gap = MAX(gap, v->left->gap);
    if (v->right)
        gap = MAX(gap, v->right->gap);
    return gap;
}

static void update(struct vma *v) {
    v->height = 1 + MAX(height(v->left), height(v->right));
    v->gap = subtree_gap(v);
}

static void replace_child(struct aspace *as, struct vma *parent, struct vma *old, struct vma *child) {
    if (!parent)
        as->tree = child;
    else if (parent->left == old)
        parent->left = child;
    else
        parent->right = child;
    if (child)
        child->parent = parent;
}

static struct vma *rotate_left(struct aspace *as, struct vma *v) {
    struct vma *r = v->right;
    replace_child(as, v->parent, v, r);
    v->right = r->left;
    if (v->right)
        v->right->parent = v;
    r->left = v;
    v->parent = r;
    update(v);
    update(r);
    return r;
}

static struct vma *rotate_right(struct aspace *as, struct vma *v) {
    struct vma *l = v->left;
    replace_child(as, v->parent, v, l);
    v->left = l->right;
    if (v->left)
        v->left->parent = v;
    l->right = v;
    v->parent = l;
    update(v);
    update(l);
    return l;
}

static void rebalance_up(struct aspace *as, struct vma *v) {
    while (v) {
        update(v);
        int balance = (int)height(v->left) - (int)height(v->right);
        if (balance > 1) {
            if (height(v->left->left) < height(v->left->right))
                rotate_left(as, v->left);
            v = rotate_right(as, v);
        } else if (balance < -1) {
            if (height(v->right->right) < height(v->right->left))
                rotate_right(as, v->right);
            v = rotate_left(as, v);
        }
        v = v->parent;
    }
}

// After a change of a mapping's own hole.
static void update_gap_up(struct vma *v) {
    while (v) {
        uint64_t gap = subtree_gap(v);
        if (gap == v->gap)
            return;
        v->gap = gap;
        v = v->parent;
    }
}

// ---- changes
// ----------------------------------------------------------------------------------------------------------

void vma_insert(struct aspace *as, struct vma *v) {
    struct vma *prev = vma_before(as, v->start);
    struct vma *next = prev ? prev->next : as->first;
    v->prev = prev;
    v->next = next;
    if (prev)
        prev->next = v;
    else
        as->first = v;
    if (next)
        next->prev = v;

    // One of the two neighbours has its link towards v free; `next` is then above v in either case.
    v->left = v->right = v->parent = NULL;
    if (prev && !prev->right) {
        prev->right = v;
        v->parent = prev;
    } else if (next) {
        next->left = v;
        v->parent = next;
    } else {
        as->tree = v;
    }
    as->vma_count++;
    rebalance_up(as, v);
}

void vma_remove(struct aspace *as, struct vma *v) {
    struct vma *prev = v->prev, *next = v->next, *from;
    if (prev)
        prev->next = next;
    else
        as->first = next;
    if (next)
        next->prev = prev;

    if (v->left && v->right) {
        // `next` is the leftmost of the right subtree: it takes v's place.
        from = next->parent == v ? next : next->parent;
        if (next->parent != v) {
            replace_child(as, next->parent, next, next->right);
            next->right = v->right;
            next->right->parent = next;
        }
        next->left = v->left;
        next->left->parent = next;
        replace_child(as, v->parent, v, next);
    } else {
        from = v->parent;
        replace_child(as, v->parent, v, v->left ? v->left : v->right);
    }
    as->vma_count--;
    if (as->last_found == v)
        as->last_found = NULL;
    rebalance_up(as, from);
    update_gap_up(next);
}

void vma_set_bounds(struct vma *v, uaddr_t start, uaddr_t end) {
    if (v->backing) {
        spin_lock(&v->backing->lock);
        v->offset += start - v->start;
        v->start = start;
        v->end = end;
        spin_unlock(&v->backing->lock);
    } else {
        v->offset += start - v->start;
        v->start = start;
        v->end = end;
    }
    update_gap_up(v);
    update_gap_up(v->next);
}

struct vma *vma_copy(struct aspace *as, const struct vma *v, struct vma *last) {
    struct vma *copy = slab_alloc(&vma_cache);
    if (!copy)
        return NULL;
    *copy = *v;
    copy->as = as;
    list_init(&copy->backing_link);
    copy->left = copy->right = copy->parent = copy->next = NULL;
    copy->prev = last;
    if (last)
        last->next = copy;
    else
        as->first = copy;
    as->vma_count++;
    return copy;
}

// A balanced tree of the next `count` mappings of the list.
static struct vma *build(struct vma **next, uint32_t count, struct vma *parent) {
    if (!count)
        return NULL;
    struct vma *left = build(next, count / 2, NULL), *v = *next;
    *next = v->next;
    v->parent = parent;
    v->left = left;
    if (left)
        left->parent = v;
    v->right = build(next, count - count / 2 - 1, v);
    update(v);
    return v;
}

void vma_build(struct aspace *as) {
    struct vma *next = as->first;
    as->tree = build(&next, as->vma_count, NULL);
}

void vma_attach(struct vma *v) {
    struct backing *b = v->backing;
    if (!b)
        return;
    b->ops->ref(b);
    spin_lock(&b->lock);
    list_push_back(&b->vmas, &v->backing_link); // fork relies on it: the child's behind the parent's
    spin_unlock(&b->lock);
    if (unlikely(b->ops->mapped != NULL))
        b->ops->mapped(b, 1);
}

void vma_detach(struct vma *v) {
    struct backing *b = v->backing;
    if (!b)
        return;
    spin_lock(&b->lock);
    list_remove(&v->backing_link);
    spin_unlock(&b->lock);
    v->backing = NULL;
    if (unlikely(b->ops->mapped != NULL))
        b->ops->mapped(b, -1);
    b->ops->unref(b);
}

// ---- searches
// ---------------------------------------------------------------------------------------------------------

struct vma *vma_find(struct aspace *as, uaddr_t addr) {
    struct vma *v = READ_ONCE(as->last_found), *found = NULL;
    if (v && v->start <= addr && addr < v->end)
        return v;
    for (v = as->tree; v;) {
        if (v->end > addr) {
            found = v;
            if (v->start <= addr)
                break;
            v = v->left;
        } else {
            v = v->right;
        }
    }
    if (found)
        WRITE_ONCE(as->last_found, found);
    return found;
}

struct vma *vma_next(struct vma *v) {
    return v->next;
}

struct vma *vma_before(struct aspace *as, uaddr_t addr) {
    struct vma *found = NULL;
    for (struct vma *v = as->tree; v;) {
        if (v->end <= addr) {
            found = v;
            v = v->right;
        } else {
            v = v->left;
        }
    }
    return found;
}

bool vma_range_free(struct aspace *as, uaddr_t start, uaddr_t end) {
    struct vma *before = vma_before(as, start);
    struct vma *next = before ? before->next : as->first;
    return !next || end <= hole_end(next);
}

// The place at the top of the hole [start, end), or 0.
static uaddr_t place_in(uaddr_t start, uaddr_t end, uaddr_t low, uaddr_t high, size_t len, size_t align) {
    start = MAX(start, low);
    end = MIN(end, high);
    if (end < start || end - start < len)
        return 0;
    uaddr_t at = ALIGN_DOWN(end - len, align);
    return at >= start ? at : 0;
}

static uaddr_t find_below(const struct vma *v, size_t len, uaddr_t low, uaddr_t high, size_t align) {
    while (v && v->gap >= len) {
        if (v->right && v->end < high) {
            uaddr_t at = find_below(v->right, len, low, high, align);
            if (at)
                return at;
        }
        uaddr_t at = place_in(hole_start(v), hole_end(v), low, high, len, align);
        if (at || v->start <= low)
            return at;
        v = v->left;
    }
    return 0;
}

uaddr_t vma_find_hole(struct aspace *as, size_t len, uaddr_t low, uaddr_t high, size_t align) {
    struct vma *last = vma_before(as, ~0UL);
    uaddr_t at = place_in(last ? last->end : 0, high, low, high, len, align);
    return at ? at : find_below(as->tree, len, low, high, align);
}
