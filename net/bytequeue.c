// See net/bytequeue.h. Byte number p lies in the page number p / PAGE_SIZE of the chain; page.private is the next page.
#include "net/bytequeue.h"
#include "kernel/memory/page.h"

static inline struct page *next_of(const struct page *p) { return (struct page *)(uintptr_t)p->private; }

// The number of the page that write_page or read_page is at this position.
static inline uint64_t page_index(uint64_t at) { return at ? (at - 1) >> PAGE_SHIFT : 0; }

void bytequeue_init(struct bytequeue *q) {
    mutex_init(&q->write_lock);
    mutex_init(&q->read_lock);
    q->head = q->tail = 0;
    q->write_page = q->read_page = NULL;
}

void bytequeue_free(struct bytequeue *q) {
    for (struct page *p = q->read_page, *next; p; p = next) {
        next = next_of(p);
        page_unref(p);
    }
    q->read_page = q->write_page = NULL;
    q->tail = q->head;
}

// The page behind `last`, or the first one. It may be there already: a put that failed left it.
static struct page *page_behind(struct bytequeue *q, struct page *last) {
    struct page *p = last ? next_of(last) : q->read_page;
    if (p)
        return p;
    p = page_alloc(0, 0);
    if (p) {
        p->private = 0;
        if (last)
            last->private = (uintptr_t)p;
        else
            q->read_page = p;
    }
    return p;
}

int bytequeue_put(struct bytequeue *q, struct uio *u, size_t n) {
    uint64_t head = q->head;
    struct page *page = q->write_page;
    while (n) {
        size_t offset = head & ~PAGE_MASK, piece = MIN(PAGE_SIZE - offset, n);
        if (offset == 0) {
            page = page_behind(q, page);
            if (!page)
                return -ENOMEM;
        }
        if (uio_get(u, (char *)page_to_virt(page) + offset, piece) < piece)
            return -EFAULT;
        head += piece;
        n -= piece;
    }
    q->write_page = page;
    store_release(&q->head, head);
    return 0;
}

size_t bytequeue_peek(struct bytequeue *q, struct uio *u, size_t offset, size_t n) {
    uint64_t at = q->tail + offset;
    struct page *page = q->read_page;
    size_t total = 0;
    for (uint64_t i = page_index(q->tail); i < at >> PAGE_SHIFT; i++)
        page = next_of(page);
    while (total < n) {
        size_t start = at & ~PAGE_MASK, piece = MIN(PAGE_SIZE - start, n - total);
        size_t done = uio_put(u, (char *)page_to_virt(page) + start, piece);
        total += done;
        at += done;
        if (done < piece)
            break;
        if ((at & ~PAGE_MASK) == 0 && total < n)
            page = next_of(page);
    }
    return total;
}

void bytequeue_drop(struct bytequeue *q, size_t n) {
    uint64_t tail = q->tail + n;
    for (uint64_t i = page_index(q->tail); i < page_index(tail); i++) {
        struct page *page = q->read_page;
        q->read_page = next_of(page);
        page_unref(page);
    }
    store_release(&q->tail, tail);
}

size_t bytequeue_look(const struct bytequeue *q, struct page **page, uint64_t at, size_t n, const char **data) {
    size_t offset = at & ~PAGE_MASK;
    if (offset == 0)
        *page = *page ? next_of(*page) : q->read_page;
    *data = (char *)page_to_virt(*page) + offset;
    return MIN(PAGE_SIZE - offset, n);
}
