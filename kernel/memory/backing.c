// Objects that mappings show: their reverse mapping (backing_unmap), and the zero-filled object behind shared
// anonymous memory.
//
// Locks: backing.lock > aspace.table_lock. A shared object's tree of pages is protected by its own spinlock.
#include "kernel/memory/aspace.h"
#include "kernel/memory/aspace_pages.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

static void unmap(struct backing *b, uint64_t first, uint64_t count, bool copies, bool locked) {
    uint64_t last = count > ~0UL - first ? ~0UL : first + count; // excluded
    spin_lock(&b->lock);
    // First the mark: a fault that has its page already either sees it, or has put the page where the loop finds it.
    atomic_add(&b->unmaps, 1);
    struct vma *v;
    list_for_each (v, &b->vmas, backing_link) {
        uint64_t low = v->offset >> PAGE_SHIFT, high = low + ((v->end - v->start) >> PAGE_SHIFT);
        if (first >= high || last <= low || (!locked && (v->flags & MAP_LOCKED)))
            continue;
        uaddr_t start = v->start + ((MAX(first, low) - low) << PAGE_SHIFT);
        uaddr_t end = v->start + ((MIN(last, high) - low) << PAGE_SHIFT);
        pages_unmap_atomic(v->as, start, end, copies);
    }
    if (unlikely(b->above != NULL)) {
        lock_nested();
        unmap(b->above, first, count, copies, locked);
    }
    spin_unlock(&b->lock);
}

void backing_unmap(struct backing *b, uint64_t first, uint64_t count) { unmap(b, first, count, true, true); }

void backing_unshow(struct backing *b, uint64_t first, uint64_t count) { unmap(b, first, count, false, true); }

void backing_unshow_idle(struct backing *b, uint64_t first, uint64_t count) { unmap(b, first, count, false, false); }

bool backing_mapped_writable(struct backing *b) {
    const struct vma *v;
    bool found = false;
    spin_lock(&b->lock);
    list_for_each (v, &b->vmas, backing_link)
        found |= (v->flags & MAP_SHARED) && (v->max_prot & PROT_WRITE);
    spin_unlock(&b->lock);
    return found;
}

// ---- shared anonymous memory
// ------------------------------------------------------------------------------------------ Pages in a radix tree of
// page-sized nodes with 512 pointers each, as deep as the size asks for.

#define NODE_SHIFT 9
#define NODE_SLOTS (1UL << NODE_SHIFT)

struct shared_memory {
    struct backing backing;
    uint32_t refs;
    struct spinlock lock; // of the tree
    unsigned levels;      // of nodes
    uint64_t pages;       // size
    uint64_t resident;    // pages that exist, under the lock
    void **root;
};

static struct slab_cache shared_cache = SLAB_CACHE("shared_memory", sizeof(struct shared_memory), 8);

static struct shared_memory *to_shared(struct backing *b) { return container_of(b, struct shared_memory, backing); }

static void **node_alloc(void) {
    struct page *p = page_alloc(0, PA_ZERO);
    return p ? page_to_virt(p) : NULL;
}

// The slot of a page; NULL: no memory, or (not `make`) there is none. lock held.
static void **find_slot(struct shared_memory *m, uint64_t index, bool make) {
    void **node = m->root;
    for (unsigned level = m->levels; node && level > 1; level--) {
        void **slot = &node[(index >> (NODE_SHIFT * (level - 1))) & (NODE_SLOTS - 1)];
        if (!*slot && make)
            *slot = node_alloc();
        node = *slot;
    }
    return node ? &node[index & (NODE_SLOTS - 1)] : NULL;
}

static struct page *shared_get_page(struct backing *b, uint64_t index, bool write) {
    struct shared_memory *m = to_shared(b);
    if (index >= m->pages)
        return ERR_PTR(-EFAULT);
    struct page *fresh = NULL, *p = NULL;
    for (;;) {
        spin_lock(&m->lock);
        void **slot = find_slot(m, index, fresh != NULL);
        p = slot ? *slot : NULL;
        if (!p && fresh && slot) {
            *slot = p = fresh;
            fresh = NULL;
            m->resident++;
        }
        if (p)
            page_ref(p);
        spin_unlock(&m->lock);
        if (p || fresh)
            break;
        fresh = page_alloc(0, PA_ZERO);
        if (!fresh)
            break;
        fresh->flags = PAGE_CACHE;
        page_count(PAGE_CACHE, 1);
    }
    if (fresh) { // somebody was faster, or no memory for a node
        page_count(PAGE_CACHE, -1);
        page_unref(fresh);
    }
    return p ? p : ERR_PTR(-ENOMEM);
}

static void shared_peek(struct backing *b, uint64_t first, unsigned count, struct page **pages) {
    struct shared_memory *m = to_shared(b);
    spin_lock(&m->lock);
    for (unsigned i = 0; i < count; i++) {
        void **slot = first + i < m->pages ? find_slot(m, first + i, false) : NULL;
        pages[i] = slot ? *slot : NULL;
        if (pages[i])
            page_ref(pages[i]);
    }
    spin_unlock(&m->lock);
}

static int shared_punch(struct backing *b, uint64_t first, uint64_t count) {
    struct shared_memory *m = to_shared(b);
    for (uint64_t i = first; i < MIN(first + count, m->pages); i++) {
        spin_lock(&m->lock);
        void **slot = find_slot(m, i, false);
        struct page *p = slot ? *slot : NULL;
        if (p) {
            *slot = NULL;
            m->resident--;
        }
        spin_unlock(&m->lock);
        if (p) {
            page_count(PAGE_CACHE, -1);
            page_unref(p);
        }
    }
    backing_unmap(b, first, count);
    return 0;
}

static void shared_ref(struct backing *b) { atomic_add(&to_shared(b)->refs, 1); }

static void free_nodes(void **node, unsigned level) {
    if (!node)
        return;
    for (unsigned i = 0; i < NODE_SLOTS; i++) {
        if (!node[i])
            continue;
        if (level > 1) {
            free_nodes(node[i], level - 1);
        } else {
            page_count(PAGE_CACHE, -1);
            page_unref(node[i]);
        }
    }
    page_unref(virt_to_page(node));
}

static void shared_unref(struct backing *b) {
    struct shared_memory *m = to_shared(b);
    if (atomic_sub(&m->refs, 1) != 1)
        return;
    free_nodes(m->root, m->levels);
    slab_free(&shared_cache, m);
}

static void shared_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    str_copy(name, "/dev/zero (deleted)", size);
    if (dev)
        *dev = 1;
    if (ino)
        *ino = 1;
}

static const struct backing_ops shared_ops = {
    .get_page = shared_get_page,
    .ref = shared_ref,
    .unref = shared_unref,
    .describe = shared_describe,
    .peek_pages = shared_peek,
    .punch = shared_punch,
};

uint64_t shared_memory_resident(struct backing *b) { return READ_ONCE(to_shared(b)->resident); }

struct backing *shared_memory_create(uint64_t size) {
    struct shared_memory *m = slab_zalloc(&shared_cache);
    if (!m)
        return ERR_PTR(-ENOMEM);
    backing_init(&m->backing, &shared_ops);
    m->refs = 1;
    m->pages = DIV_ROUND_UP(size, PAGE_SIZE);
    m->levels = 1;
    while (m->pages > 1UL << (NODE_SHIFT * m->levels))
        m->levels++;
    m->root = node_alloc();
    if (!m->root) {
        slab_free(&shared_cache, m);
        return ERR_PTR(-ENOMEM);
    }
    return &m->backing;
}
