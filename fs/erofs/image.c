// Bytes of an EROFS image: in memory, or through the page cache of its block device. Every position is checked here.
#include "fs/erofs/erofs.h"
#include "kernel/log.h"
#include "kernel/string.h"

#define CLUSTER                                                                                                        \
    4 // pages that are read together: neighbours are often wanted soon, and a request costs more than they do

int erofs_trouble(struct erofs_image *im, enum erofs_trouble kind, int err, uint64_t nid, const char *what) {
    if (!(atomic_or(&im->told, 1u << kind) & 1u << kind))
        log_err("erofs %s: inode %llu: %s", im->dev->name, (unsigned long long)nid, what);
    return err;
}

const void *erofs_view(struct erofs_image *im, struct erofs_view *v, uint64_t pos, size_t len) {
    if (unlikely(len > im->size || pos > im->size - len))
        return ERR_PTR(
            erofs_corrupt(im, EROFS_BAD_POSITION, pos >> EROFS_SLOT_BITS, "a position outside of the image"));
    if (im->memory)
        return im->memory + pos;
    uint64_t index = pos >> PAGE_SHIFT;
    if (!v->page || v->index != index) {
        struct page_cache *c = im->dev_inode->cache;
        struct page *p = v->sequential ? page_cache_get(c, index) : page_cache_peek(c, index);
        if (!p) {
            page_cache_prefetch(c, ALIGN_DOWN(index, CLUSTER), CLUSTER);
            p = page_cache_get_alone(c, index);
        }
        if (IS_ERR(p))
            return p;
        erofs_view_end(v);
        v->page = p;
        v->index = index;
    }
    return (const uint8_t *)page_to_virt(v->page) + (pos & (PAGE_SIZE - 1));
}

int erofs_read(struct erofs_image *im, struct erofs_view *v, uint64_t pos, void *buf, size_t len) {
    for (size_t n; len; len -= n, pos += n, buf = (uint8_t *)buf + n) {
        n = MIN(len, PAGE_SIZE - (pos & (PAGE_SIZE - 1)));
        const void *from = erofs_view(im, v, pos, n);
        if (IS_ERR(from))
            return (int)PTR_ERR(from);
        memcpy(buf, from, n);
    }
    return 0;
}
