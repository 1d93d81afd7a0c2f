// Where the data of an EROFS inode lies: whole blocks in a row, a tail behind the inode, or chunks.
#include "fs/erofs/erofs.h"
#include "kernel/string.h"

// Behind the inode and its attributes.
static uint64_t behind_inode(const struct erofs_inode *e) { return erofs_xattr_pos(e) + erofs_xattr_size(e); }

static int map_packed(struct erofs_inode *e, uint64_t tail, uint64_t offset, struct erofs_extent *out) {
    struct erofs_image *im = erofs_image_of(&e->inode);
    uint64_t pos = behind_inode(e), block_size = 1u << im->block_bits, len = e->inode.size - tail;
    if ((pos & (block_size - 1)) + len > block_size)
        return erofs_corrupt(im, EROFS_BAD_LAYOUT, e->inode.ino, "its tail crosses the end of a block");
    *out = (struct erofs_extent){.pos = pos + (offset - tail), .len = e->inode.size - offset, .packed = true};
    return 0;
}

static int map_chunk(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, uint64_t end,
                     struct erofs_extent *out) {
    struct erofs_image *im = erofs_image_of(&e->inode);
    unsigned bits = im->block_bits + (e->u.chunks.format & EROFS_CHUNK_BITS);
    uint64_t number = offset >> bits, inside = offset & ((1UL << bits) - 1);
    struct erofs_chunk chunk = {0};
    int err;
    if (e->u.chunks.format & EROFS_CHUNK_INDEXES)
        err = erofs_read(im, v, ALIGN_UP(behind_inode(e), 8) + number * 8, &chunk, sizeof(chunk));
    else
        err = erofs_read(im, v, ALIGN_UP(behind_inode(e), 4) + number * 4, &chunk.block, sizeof(chunk.block));
    if (err < 0)
        return err;
    if (chunk.device)
        return erofs_corrupt(im, EROFS_BAD_LAYOUT, e->inode.ino, "a chunk on a device that the image does not have");
    *out = (struct erofs_extent){.pos = ((uint64_t)chunk.block << im->block_bits) + inside,
                                 .len = MIN((1UL << bits) - inside, end - offset),
                                 .hole = chunk.block == EROFS_NO_BLOCK};
    return 0;
}

int erofs_map(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, struct erofs_extent *out) {
    struct erofs_image *im = erofs_image_of(&e->inode);
    uint64_t block_size = 1u << im->block_bits, size = e->inode.size, end = ALIGN_UP(size, block_size);
    if (e->layout == EROFS_CHUNKS)
        return map_chunk(e, v, offset, end, out);
    if (e->layout == EROFS_INLINE) {
        end = ALIGN_DOWN(size - 1, block_size);
        if (offset >= end)
            return map_packed(e, end, offset, out);
    }
    *out = (struct erofs_extent){.pos = ((uint64_t)e->u.block << im->block_bits) + offset, .len = end - offset};
    return 0;
}

int erofs_read_data(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, void *buf, size_t len) {
    struct erofs_extent x;
    for (size_t n; len; len -= n, offset += n, buf = (uint8_t *)buf + n) {
        if (offset >= e->inode.size) { // the rest of the last block
            memset(buf, 0, len);
            return 0;
        }
        int err = erofs_map(e, v, offset, &x);
        if (err < 0)
            return err;
        n = MIN(len, x.len);
        if (x.hole)
            memset(buf, 0, n);
        else if ((err = erofs_read(erofs_image_of(&e->inode), v, x.pos, buf, n)) < 0)
            return err;
    }
    return 0;
}
