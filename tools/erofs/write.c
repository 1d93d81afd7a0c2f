/*
 * Writes the EROFS image that layout.c planned. The metadata is filled in through a mapping of the file, the data is written as it
 * comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/erofs/format.h"
#include "tools/erofs/tree.h"

struct output {
    struct sink sink;
    struct erofs_tree *tree;
    int fd;
    uint64_t at;
    const char *name;
    uint8_t *meta; /* the first blocks */
    uint64_t meta_size;
};

NORETURN static void fail(const struct output *output) { die(STATUS_FAILED, "%s: %s", output->name, strerror(errno)); }

static uint64_t inode_head(const struct inode *inode) {
    return (inode->extended ? sizeof(struct erofs_inode_extended) : sizeof(struct erofs_inode_compact)) +
           inode->xattr_size;
}

/* Where a byte of a file lies in the image; *length is cut to those that follow it there. False: in a hole. */
static bool inode_map(const struct inode *inode, uint64_t offset, uint64_t *length, uint64_t *place) {
    uint64_t whole = inode->size - inode->tail;

    if (inode->chunks) {
        uint64_t size = (uint64_t)EROFS_BLOCK << inode->chunk_bits, inside = offset % size;
        uint32_t block = inode->chunks[offset / size];
        if (*length > size - inside)
            *length = size - inside;
        *place = (uint64_t)block * EROFS_BLOCK + inside;
        return block != EROFS_NO_BLOCK;
    }
    if (offset >= whole) {
        *place = inode->position + inode_head(inode) + (offset - whole);
    } else {
        if (*length > whole - offset)
            *length = whole - offset;
        *place = (uint64_t)inode->block * EROFS_BLOCK + offset;
    }
    return true;
}

static void put_data(struct sink *sink, const struct inode *inode, uint64_t offset, const void *data, size_t size) {
    struct output *output = (struct output *)sink;
    const char *next = data;

    while (size > 0) {
        uint64_t length = size, place;
        bool exists = inode_map(inode, offset, &length, &place);
        ssize_t done = (ssize_t)length;
        if (exists && place < output->meta_size) {
            memcpy(output->meta + place, next, length);
        } else if (exists) {
            done = pwrite(output->fd, next, length, (off_t)(output->at + place));
            if (done < 0 && errno != EINTR)
                fail(output);
            done = done < 0 ? 0 : done;
        }
        next += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
}

struct entries_to {
    struct output *output;
    const struct inode *dir;
};

static void put_entries(void *arg, uint64_t offset, const uint8_t *block, size_t size) {
    struct entries_to *to = arg;

    put_data(&to->output->sink, to->dir, offset, block, size);
}

static void write_directories(struct output *output, const struct node *node) {
    struct entries_to to = {output, node->inode};

    entries_write(node, put_entries, &to);
    for (size_t i = 0; i < node->inode->entry_count; i++) {
        if (S_ISDIR(node->inode->entries[i]->inode->mode))
            write_directories(output, node->inode->entries[i]);
    }
}

static union erofs_inode_data inode_data(const struct inode *inode) {
    union erofs_inode_data data = {.block = EROFS_NO_BLOCK};

    if (inode->chunks) {
        data.chunks.format = inode->chunk_bits;
        data.chunks.reserved = 0;
    } else if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
        data.rdev = inode->rdev;
    } else if (inode->blocks > 0) {
        data.block = inode->block;
    } else if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode) && !S_ISLNK(inode->mode)) {
        data.rdev = 0;
    }
    return data;
}

static void write_inode(struct output *output, const struct inode *inode, uint32_t number) {
    unsigned layout = inode->chunks ? EROFS_CHUNKS : inode->tail ? EROFS_INLINE : EROFS_PLAIN;
    uint16_t format = EROFS_FORMAT(layout, inode->extended);
    uint32_t nlink = S_ISDIR(inode->mode) ? 2 + inode->subdirs : inode->nlink;
    uint16_t xattrs =
        inode->xattr_size ? (uint16_t)((inode->xattr_size - sizeof(struct erofs_xattr_header)) / 4 + 1) : 0;
    uint8_t *out = output->meta + inode->position;

    if (inode->extended) {
        struct erofs_inode_extended extended = {.format = format,
                                                .xattr_count = xattrs,
                                                .mode = (uint16_t)inode->mode,
                                                .size = inode->size,
                                                .u = inode_data(inode),
                                                .ino = number,
                                                .uid = inode->uid,
                                                .gid = inode->gid,
                                                .mtime = (uint64_t)inode->mtime,
                                                .mtime_nsec = inode->mtime_nsec,
                                                .nlink = nlink};
        memcpy(out, &extended, sizeof(extended));
    } else {
        struct erofs_inode_compact compact = {.format = format,
                                              .xattr_count = xattrs,
                                              .mode = (uint16_t)inode->mode,
                                              .nlink = (uint16_t)nlink,
                                              .size = (uint32_t)inode->size,
                                              .u = inode_data(inode),
                                              .ino = number,
                                              .uid = (uint16_t)inode->uid,
                                              .gid = (uint16_t)inode->gid};
        memcpy(out, &compact, sizeof(compact));
    }
    out += inode_head(inode);
    if (inode->xattr_size)
        inode_xattr_put(inode, out - inode->xattr_size);
    if (inode->chunks)
        memcpy(out, inode->chunks, inode->chunk_count * sizeof(uint32_t));
    if (inode->link)
        put_data(&output->sink, inode, 0, inode->link, inode->size);
}

static uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return crc;
}

/* Last: its checksum is over what else lies in its block. */
static void write_super(struct output *output) {
    const struct erofs_tree *tree = output->tree;
    struct erofs_super super = {
        .magic = EROFS_MAGIC,
        .compatible = EROFS_COMPAT_CHECKSUM | EROFS_COMPAT_MTIME,
        .block_bits = 12,
        .root_nid = (uint16_t)(tree->root->inode->position >> EROFS_SLOT_BITS),
        .inodes = tree->inode_count,
        .build_time = (uint64_t)tree->build_time,
        .build_time_nsec = tree->build_nsec,
        .blocks = (uint32_t)tree->blocks,
        .xattr_block = (uint32_t)(tree->xattr_start / EROFS_BLOCK),
        .incompatible = tree->chunked ? EROFS_INCOMPAT_CHUNKS : 0,
    };
    uint8_t *start = output->meta + EROFS_SUPER_OFFSET;

    memcpy(start, &super, sizeof(super));
    super.checksum = crc32c(~0u, start, EROFS_BLOCK - EROFS_SUPER_OFFSET);
    memcpy(start, &super, sizeof(super));
}

void erofs_write(struct erofs_tree *tree, int fd, uint64_t at, const char *name) {
    struct output output = {.sink = {put_data},
                            .tree = tree,
                            .fd = fd,
                            .at = at,
                            .name = name,
                            .meta_size = tree->entry_blocks * EROFS_BLOCK};

    /* Room for the metadata now: a mapping has no way to say later that there is none. */
    if (ftruncate(fd, (off_t)(at + tree->blocks * EROFS_BLOCK)) != 0 ||
        (errno = posix_fallocate(fd, (off_t)at, (off_t)output.meta_size)) != 0)
        fail(&output);
    output.meta = mmap(NULL, output.meta_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)at);
    if (output.meta == MAP_FAILED)
        fail(&output);

    for (size_t i = 0; i < tree->inode_count; i++)
        write_inode(&output, tree->inodes[i], (uint32_t)i + 1);
    xattrs_put(tree, output.meta);
    write_directories(&output, tree->root);
    if (tree->host >= 0)
        directory_read(tree, &output.sink);
    for (struct source *source = tree->sources; source; source = source->next)
        tar_read(tree, source, &output.sink);
    write_super(&output);
    if (munmap(output.meta, output.meta_size) != 0)
        fail(&output);
}
