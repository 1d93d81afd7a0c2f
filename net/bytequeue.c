// See net/bytequeue.h. A page of the queue's own has its piece in the words of struct page that are its owner's; a reference has one from
// the heap. A writer's new pieces become part of the chain when all of them are there, so a reader never meets one that is taken back.
#include "net/bytequeue.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"

#define COPY_BELOW 512 // bytes that are not worth a reference: few of them would hold a page

_Static_assert(sizeof(struct bytequeue_piece) == sizeof(struct page) - offsetof(struct page, link), "fits into a page's words");

static struct slab_cache piece_cache = SLAB_CACHE("bytequeue_piece", sizeof(struct bytequeue_piece), 8);

static inline struct bytequeue_piece *own_piece(struct page *p) { return (struct bytequeue_piece *)&p->link; }

static inline struct bytequeue_piece *next_of(const struct bytequeue_piece *p) { return load_acquire(&p->next); }

static void piece_free(struct bytequeue_piece *p, uint64_t end) {
    struct page *page = virt_to_page(p->data);
    if (p == own_piece(page)) {
        page_unref(page);
        return;
    }
    uintptr_t at = (uintptr_t)p->data & PAGE_MASK, behind = (uintptr_t)p->data + (end - p->start);
    for (; at < behind; at += PAGE_SIZE)
        page_unref(virt_to_page((void *)at));
    slab_free(&piece_cache, p);
}

static void chain_free(struct bytequeue_piece *p, uint64_t end) {
    for (struct bytequeue_piece *next; p; p = next) {
        next = p->next;
        piece_free(p, next ? next->start : end);
    }
}

void bytequeue_init(struct bytequeue *q) {
    mutex_init(&q->write_lock);
    mutex_init(&q->read_lock);
    q->head = q->tail = 0;
    q->write_piece = q->read_piece = NULL;
    q->room = 0;
}

void bytequeue_free(struct bytequeue *q) {
    chain_free(q->read_piece, q->head);
    q->read_piece = q->write_piece = NULL;
    q->room = 0;
    q->tail = q->head;
}

// --- Writing ---

struct adding {
    struct bytequeue_piece *first, *last; // not in the queue yet; NULL: none
    uint64_t head;
    size_t room; // behind head in the last piece, which may be the queue's
};

static void add(struct adding *a, struct bytequeue_piece *p, void *data) {
    *p = (struct bytequeue_piece){.start = a->head, .data = data};
    if (a->last)
        a->last->next = p;
    else
        a->first = p;
    a->last = p;
}

static int add_copied(const struct bytequeue *q, struct adding *a, struct uio *u, size_t n) {
    while (n) {
        if (!a->room) {
            struct page *page = page_alloc(0, 0);
            if (!page)
                return -ENOMEM;
            add(a, own_piece(page), page_to_virt(page));
            a->room = PAGE_SIZE;
        }
        const struct bytequeue_piece *last = a->last ? a->last : q->write_piece;
        size_t some = MIN(a->room, n);
        if (uio_get(u, last->data + (a->head - last->start), some) < some)
            return -EFAULT;
        a->head += some;
        a->room -= some;
        n -= some;
    }
    return 0;
}

static int add_reference(struct adding *a, char *data, size_t n) {
    struct bytequeue_piece *last = a->last;
    bool goes_on = last && !a->room && !((uintptr_t)data & ~PAGE_MASK) && last->data + (a->head - last->start) == data &&
                   last != own_piece(virt_to_page(last->data));
    if (!goes_on) {
        struct bytequeue_piece *p = slab_alloc(&piece_cache);
        if (!p)
            return -ENOMEM;
        add(a, p, data);
    }
    page_ref(virt_to_page(data));
    a->head += n;
    a->room = 0;
    return 0;
}

static int add_pages(const struct bytequeue *q, struct adding *a, struct uio *u, size_t n) {
    int err = 0;
    for (size_t some; n && !err; n -= some) {
        if (u->vec_offset == u->vec->len) {
            u->vec++;
            u->vec_offset = some = 0;
            continue;
        }
        some = MIN(u->vec->len - u->vec_offset, n);
        if (some < COPY_BELOW) {
            err = add_copied(q, a, u, some);
            continue;
        }
        err = add_reference(a, (char *)(uintptr_t)u->vec->base + u->vec_offset, some);
        u->vec_offset += some;
        u->left -= some;
    }
    return err;
}

static int put_more(struct bytequeue *q, struct uio *u, size_t n) {
    struct adding a = {.head = q->head, .room = q->room};
    int err = u->pages ? add_pages(q, &a, u, n) : add_copied(q, &a, u, n);
    if (unlikely(err < 0)) {
        chain_free(a.first, a.head);
        return err;
    }
    if (a.first) {
        if (q->write_piece)
            store_release(&q->write_piece->next, a.first);
        else
            q->read_piece = a.first;
        q->write_piece = a.last;
    }
    q->room = a.room;
    store_release(&q->head, a.head);
    return 0;
}

int bytequeue_put(struct bytequeue *q, struct uio *u, size_t n) {
    if (unlikely(n > q->room || u->pages))
        return put_more(q, u, n);
    uint64_t head = q->head;
    if (uio_get(u, q->write_piece->data + (head - q->write_piece->start), n) < n)
        return -EFAULT;
    q->room -= n;
    store_release(&q->head, head + n);
    return 0;
}

// --- Reading ---

// From the piece with the byte before `at` to that with the byte itself, or behind it.
static inline struct bytequeue_piece *go_to(struct bytequeue_piece *p, uint64_t at) {
    for (struct bytequeue_piece *next; (next = next_of(p)) && next->start <= at;)
        p = next;
    return p;
}

// How many of n bytes from `at` on lie in this piece.
static inline size_t in_piece(const struct bytequeue_piece *p, uint64_t at, size_t n) {
    const struct bytequeue_piece *next = next_of(p);
    return next ? MIN(n, next->start - at) : n;
}

size_t bytequeue_peek(struct bytequeue *q, struct uio *u, size_t offset, size_t n) {
    uint64_t at = q->tail + offset;
    struct bytequeue_piece *p = q->read_piece;
    size_t total = 0;
    while (total < n) {
        p = go_to(p, at);
        size_t some = in_piece(p, at, n - total), done = uio_put(u, p->data + (at - p->start), some);
        total += done;
        at += done;
        if (done < some)
            break;
    }
    return total;
}

// Of a reference to several pages those before `tail` are given back. Readers alone look at start and data of a reference.
static void shorten(struct bytequeue_piece *p, uint64_t tail) {
    uintptr_t at = (uintptr_t)p->data & PAGE_MASK, end = ((uintptr_t)p->data + (tail - p->start)) & PAGE_MASK;
    for (; at < end; at += PAGE_SIZE)
        page_unref(virt_to_page((void *)at));
    p->start += end - (uintptr_t)p->data;
    p->data = (char *)end;
}

void bytequeue_drop(struct bytequeue *q, size_t n) {
    uint64_t tail = q->tail + n;
    struct bytequeue_piece *p = q->read_piece;
    for (struct bytequeue_piece *next; p && (next = next_of(p)) && next->start < tail; p = next) {
        q->read_piece = next;
        piece_free(p, next->start);
    }
    if (unlikely(p && tail - p->start > PAGE_SIZE))
        shorten(p, tail);
    store_release(&q->tail, tail);
}

size_t bytequeue_look(const struct bytequeue *q, struct bytequeue_piece **piece, uint64_t at, size_t n, const char **data) {
    struct bytequeue_piece *p = go_to(*piece ? *piece : q->read_piece, at);
    *piece = p;
    *data = p->data + (at - p->start);
    return in_piece(p, at, n);
}
