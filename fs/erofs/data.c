// Data of regular files of EROFS, for their page caches. Pages whose blocks lie in a row go in as few requests as the device takes,
// straight into the pages. What is no run of whole blocks (tails behind inodes, the ends of small blocks) is copied through
// the metadata's cache. Of an image in memory whole pages are shown in place, the rest is copied.
#include "fs/erofs/erofs.h"
#include "kernel/string.h"

// A request on its way. Its pages are locked: they, and with them the inode, stay until page_cache_read_done.
struct transfer {
    struct block_request request;
    struct page_cache *cache;
    uint32_t file_end; // in the last page: the file ends here, 0: behind it
    struct block_segment segments[];
};

// Pages of a file that lie in a row on the device.
struct run {
    struct page_cache *cache;
    struct page **pages;
    unsigned count;
    uint64_t pos, len; // len: whole blocks; all pages but the last are full
};

// Any context.
static void page_done(struct page_cache *c, struct page *p, uint32_t file_end, int error) {
    if (file_end && !error)
        memset((char *)page_to_virt(p) + file_end, 0, PAGE_SIZE - file_end);
    page_cache_read_done(c, p, error);
}

static void transfer_done(struct block_request *r) {
    struct transfer *t = container_of(r, struct transfer, request);
    if (r->error)
        erofs_trouble(erofs_image_of(t->cache->host), EROFS_READ_ERROR, 0, t->cache->host->ino,
                      "its data cannot be read");
    for (unsigned i = 0; i < r->count; i++) {
        const struct block_segment *s = &r->segments[i];
        for (uint32_t at = 0; at < s->len; at += PAGE_SIZE) {
            bool last = i + 1 == r->count && at + PAGE_SIZE >= s->len;
            page_done(t->cache, virt_to_page((char *)s->data + at), last ? t->file_end : 0, r->error ? -EIO : 0);
        }
    }
    kfree(t);
}

// Where the file ends in its last page, when that is among these.
static uint32_t end_in_page(const struct page_cache *c, const struct run *r, uint64_t first_index) {
    return (first_index + r->count) << PAGE_SHIFT > c->host->size ? c->host->size & (PAGE_SIZE - 1) : 0;
}

// The first part of the run, as much as one request takes. Pages side by side in memory share a segment. The pages sent.
static unsigned send_some(struct run *r, uint32_t file_end) {
    struct block_device *dev = erofs_image_of(r->cache->host)->dev;
    unsigned most = MIN(r->count, dev->segments_max), n = 0;
    uint64_t bytes = dev->bytes_max ? MAX(ALIGN_DOWN(dev->bytes_max, PAGE_SIZE), PAGE_SIZE) : ~0UL;
    struct transfer *t = kmalloc(sizeof(*t) + most * sizeof(t->segments[0]));
    if (!t)
        return 0;
    struct block_segment *s = NULL;
    unsigned count = 0;
    for (; n < r->count && bytes >= PAGE_SIZE; n++, bytes -= PAGE_SIZE) {
        void *data = page_to_virt(r->pages[n]);
        uint32_t len = (uint32_t)MIN(r->len - n * PAGE_SIZE, PAGE_SIZE);
        if (s && (char *)s->data + s->len == data) {
            s->len += len;
            continue;
        }
        if (count == most)
            break;
        s = &t->segments[count++];
        *s = (struct block_segment){data, len};
    }
    t->cache = r->cache;
    t->file_end = n == r->count ? file_end : 0;
    t->request = (struct block_request){.op = BLOCK_READ,
                                        .sector = r->pos >> SECTOR_SHIFT,
                                        .segments = t->segments,
                                        .count = count,
                                        .done = transfer_done};
    block_submit(dev, &t->request);
    return n;
}

// Without memory for a request: one page at a time, waiting.
static unsigned send_one(struct run *r, uint32_t file_end) {
    struct block_device *dev = erofs_image_of(r->cache->host)->dev;
    struct page *p = r->pages[0];
    int err = block_io(dev, BLOCK_READ, r->pos >> SECTOR_SHIFT, page_to_virt(p), MIN(r->len, PAGE_SIZE));
    page_done(r->cache, p, r->count == 1 ? file_end : 0, err ? -EIO : 0);
    return 1;
}

static void send(struct run *r, uint64_t next_index) {
    if (!r->count)
        return;
    uint32_t file_end = end_in_page(r->cache, r, next_index - r->count);
    while (r->count) {
        unsigned n = send_some(r, file_end);
        if (!n)
            n = send_one(r, file_end);
        r->pages += n;
        r->count -= n;
        r->pos += n * PAGE_SIZE;
        r->len -= MIN(n * PAGE_SIZE, r->len);
    }
}

static int copy_page(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, struct page *p) {
    size_t len = MIN(e->inode.size - offset, PAGE_SIZE);
    char *data = page_to_virt(p);
    int err = erofs_read_data(e, v, offset, data, len);
    memset(data + len, 0, PAGE_SIZE - len);
    return err;
}

// How many of the pages from `offset` on lie in a row of whole blocks of the device. 0: the first one must be copied.
static unsigned pages_in_row(struct erofs_inode *e, const struct erofs_extent *x, uint64_t offset, unsigned most) {
    struct erofs_image *im = erofs_image_of(&e->inode);
    uint32_t unit = im->dev->block_size - 1;
    if (x->hole || x->packed || im->memory || (x->pos & unit))
        return 0;
    uint64_t len = MIN(x->len, (uint64_t)most << PAGE_SHIFT), pages = len >> PAGE_SHIFT;
    bool to_end = offset + x->len >= e->inode.size; // then a part of a page will do
    if (len & (PAGE_SIZE - 1) && to_end && !(len & unit))
        pages++;
    return (unsigned)pages;
}

// One page for itself. 0 or -errno.
static int read_alone(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, const struct erofs_extent *x,
                      struct page *p) {
    struct erofs_image *im = erofs_image_of(&e->inode);
    if (!x->hole && (x->pos > im->size || MIN(x->len, PAGE_SIZE) > im->size - x->pos))
        return erofs_trouble(im, EROFS_BAD_POSITION, -EIO, e->inode.ino, "its data lies outside of the image");
    return copy_page(e, v, offset, p);
}

// Takes the pages of the front, at least one, into the run or on their way. How many.
static unsigned read_some(struct run *r, struct erofs_view *v, uint64_t index, struct page **pages, unsigned count) {
    struct erofs_inode *e = erofs_of(r->cache->host);
    struct erofs_image *im = erofs_image_of(r->cache->host);
    uint64_t offset = index << PAGE_SHIFT;
    struct erofs_extent x = {.hole = true};
    int err = offset < e->inode.size ? erofs_map(e, v, offset, &x) : 0;
    unsigned n = err ? 0 : pages_in_row(e, &x, offset, count);
    uint64_t len = MIN(x.len, (uint64_t)n << PAGE_SHIFT);
    if (n > 1 && (x.pos > im->size || len > im->size - x.pos)) // the image ends among them
        return read_some(r, v, index, pages, 1);
    bool row = n && x.pos <= im->size && len <= im->size - x.pos;
    if (!row || r->pos + r->len != x.pos || r->len & (PAGE_SIZE - 1))
        send(r, index); // before somebody waits
    if (!row) {
        if (offset >= e->inode.size)
            memset(page_to_virt(pages[0]), 0, PAGE_SIZE);
        else if (err == 0)
            err = read_alone(e, v, offset, &x, pages[0]);
        page_cache_read_done(r->cache, pages[0], err);
        return 1;
    }
    if (!r->count)
        *r = (struct run){r->cache, pages, 0, x.pos, 0};
    r->count += n;
    r->len += len;
    return n;
}

static void erofs_read_pages(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    struct erofs_view v = {0};
    struct run r = {.cache = c};
    for (unsigned i = 0; i < count;)
        i += read_some(&r, &v, index + i, pages + i, count - i);
    send(&r, index + count);
    erofs_view_end(&v);
}

// Of an image in memory: the page itself, when it holds a whole page of the file. On the way of each fault.
static struct page *erofs_provide(struct page_cache *c, uint64_t index) {
    struct erofs_inode *e = erofs_of(c->host);
    struct erofs_image *im = erofs_image_of(c->host);
    uint64_t offset = index << PAGE_SHIFT, size = e->inode.size;
    if (size < PAGE_SIZE || offset > size - PAGE_SIZE)
        return NULL;
    // Unless the layout is more than whole blocks in a row:
    uint64_t pos = ((uint64_t)e->u.block << im->block_bits) + offset;
    if (e->layout != EROFS_PLAIN && (e->layout != EROFS_INLINE || offset + PAGE_SIZE >= size)) {
        struct erofs_view v = {0};
        struct erofs_extent x;
        if (erofs_map(e, &v, offset, &x) < 0 || x.hole || x.len < PAGE_SIZE)
            return NULL;
        pos = x.pos;
    }
    if (pos & (PAGE_SIZE - 1) || pos > im->size || im->size - pos < PAGE_SIZE)
        return NULL;
    return page_get_reserved(virt_to_phys(im->memory + pos));
}

const struct page_cache_ops erofs_cache_ops = {.read = erofs_read_pages};
const struct page_cache_ops erofs_memory_cache_ops = {.read = erofs_read_pages, .provide = erofs_provide};
const struct file_ops erofs_file_ops = {.direct = true, .read = page_cache_read_file, .share = page_cache_share_file, .map = page_cache_map};
