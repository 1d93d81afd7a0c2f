/*
 * Reads EROFS images on the host; see the header. What it takes is what fs/erofs/ in the kernel takes.
 */
#include "tools/erofs/reader.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/erofs/format.h"

enum { LINKS_MOST = 40 };

static bool read_exactly(const struct erofs_image *image, void *data, size_t size, uint64_t at) {
    ssize_t got =
        at <= image->size && size <= image->size - at ? pread(image->fd, data, size, (off_t)(image->start + at)) : 0;

    if (got != (ssize_t)size)
        errno = EIO;
    return got == (ssize_t)size;
}

bool erofs_is_image(int fd) {
    uint32_t magic;

    return pread(fd, &magic, sizeof(magic), EROFS_SUPER_OFFSET) == sizeof(magic) && magic == EROFS_MAGIC;
}

const char *erofs_open(struct erofs_image *image, int fd) {
    off_t size = lseek(fd, 0, SEEK_END);

    return erofs_open_at(image, fd, 0, size < 0 ? 0 : (uint64_t)size);
}

const char *erofs_open_at(struct erofs_image *image, int fd, uint64_t start, uint64_t size) {
    struct erofs_super super;

    *image = (struct erofs_image){.fd = fd, .start = start, .size = size};
    if (!read_exactly(image, &super, sizeof(super), EROFS_SUPER_OFFSET) || super.magic != EROFS_MAGIC)
        return "not an EROFS image";
    if (super.incompatible & (EROFS_INCOMPAT_ZERO_PADDING | EROFS_INCOMPAT_COMPRESSION))
        return "a compressed EROFS image; Knarr reads uncompressed ones";
    if (super.incompatible & ~EROFS_INCOMPAT_CHUNKS)
        return "an EROFS image with features that Knarr does not have";
    if (super.block_bits < EROFS_BLOCK_BITS_MIN || super.block_bits > EROFS_BLOCK_BITS_MAX)
        return "an EROFS image with blocks of a size that Knarr does not have";
    image->block_bits = super.block_bits;
    if ((uint64_t)super.blocks << super.block_bits > image->size)
        return "a truncated EROFS image";
    image->meta = (uint64_t)super.meta_block << super.block_bits;
    image->root = super.root_nid;
    return NULL;
}

static bool read_inode(const struct erofs_image *image, uint64_t nid, struct erofs_file *file) {
    uint64_t at = image->meta + (nid << EROFS_SLOT_BITS);
    struct erofs_inode_compact compact;
    struct erofs_inode_extended extended;
    union erofs_inode_data data;
    uint16_t xattrs;

    if (nid > image->size >> EROFS_SLOT_BITS || !read_exactly(image, &compact, sizeof(compact), at))
        return errno = EIO, false;
    *file = (struct erofs_file){.nid = nid, .mode = compact.mode, .layout = EROFS_FORMAT_LAYOUT(compact.format)};
    xattrs = compact.xattr_count;
    if (compact.format & EROFS_FORMAT_EXTENDED) {
        if (!read_exactly(image, &extended, sizeof(extended), at))
            return false;
        file->size = extended.size;
        data = extended.u;
        at += sizeof(extended);
    } else {
        file->size = compact.size;
        data = compact.u;
        at += sizeof(compact);
    }
    file->tail = at + (xattrs ? sizeof(struct erofs_xattr_header) + 4u * (xattrs - 1u) : 0);
    file->data = (uint64_t)data.block << image->block_bits;
    file->chunk_format = data.chunks.format;
    if (file->layout == EROFS_CHUNKS && file->chunk_format & EROFS_CHUNK_INDEXES)
        file->tail = (file->tail + 7) / 8 * 8;
    if (file->layout != EROFS_PLAIN && file->layout != EROFS_INLINE && file->layout != EROFS_CHUNKS)
        return errno = EIO, false;
    return true;
}

/* Where a byte of a file lies; *length is cut to those that follow it there. *place is UINT64_MAX in a hole. */
static bool map(const struct erofs_image *image, const struct erofs_file *file, uint64_t offset, size_t *length,
                uint64_t *place) {
    uint64_t block = (uint64_t)1 << image->block_bits, whole = file->size;

    if (file->layout == EROFS_CHUNKS) {
        unsigned bits = image->block_bits + (file->chunk_format & EROFS_CHUNK_BITS);
        uint64_t chunk = offset >> bits, inside = offset & (((uint64_t)1 << bits) - 1);
        struct erofs_chunk index = {0};
        bool found = file->chunk_format & EROFS_CHUNK_INDEXES
                         ? read_exactly(image, &index, sizeof(index), file->tail + chunk * sizeof(index))
                         : read_exactly(image, &index.block, sizeof(index.block), file->tail + chunk * 4);
        if (*length > ((uint64_t)1 << bits) - inside)
            *length = ((uint64_t)1 << bits) - inside;
        *place = index.block == EROFS_NO_BLOCK ? UINT64_MAX : ((uint64_t)index.block << image->block_bits) + inside;
        return found;
    }
    if (file->layout == EROFS_INLINE)
        whole -= whole % block;
    if (offset >= whole) {
        *place = file->tail + (offset - whole);
    } else {
        if (*length > whole - offset)
            *length = whole - offset;
        *place = file->data + offset;
    }
    return true;
}

ssize_t erofs_read(const struct erofs_image *image, const struct erofs_file *file, void *data, size_t size,
                   uint64_t offset) {
    char *out = data;

    if (offset >= file->size)
        return 0;
    if (size > file->size - offset)
        size = file->size - offset;
    for (size_t done = 0; done < size;) {
        size_t length = size - done;
        uint64_t place;
        if (!map(image, file, offset + done, &length, &place))
            return -1;
        if (place == UINT64_MAX)
            memset(out + done, 0, length);
        else if (!read_exactly(image, out + done, length, place))
            return -1;
        done += length;
    }
    return (ssize_t)size;
}

/* How many entries a block of a directory has; 0: it is damaged. */
static size_t count_entries(const char *block, size_t size) {
    struct erofs_dirent entry;

    if (size < sizeof(entry))
        return 0;
    memcpy(&entry, block, sizeof(entry));
    return entry.name_offset % sizeof(entry) || entry.name_offset > size ? 0 : entry.name_offset / sizeof(entry);
}

/* The name of an entry of `count`, which is not ended by a NUL, its length and its inode; NULL: the block is damaged. */
static const char *entry_at(const char *block, size_t size, size_t i, size_t count, size_t *length, uint64_t *nid) {
    struct erofs_dirent entry, next = {.name_offset = (uint16_t)size};

    memcpy(&entry, block + i * sizeof(entry), sizeof(entry));
    if (i + 1 < count)
        memcpy(&next, block + (i + 1) * sizeof(next), sizeof(next));
    if (entry.name_offset > next.name_offset || next.name_offset > size)
        return NULL;
    *length = strnlen(block + entry.name_offset, next.name_offset - entry.name_offset);
    *nid = entry.nid;
    return block + entry.name_offset;
}

/* The name's inode in one block of a directory: 1 with *nid, 0 when it is not in it, -1 when the block is damaged. */
static int search_block(const char *block, size_t size, const char *name, size_t length, uint64_t *nid) {
    size_t count = count_entries(block, size), own;

    for (size_t i = 0; i < count; i++) {
        const char *text = entry_at(block, size, i, count, &own, nid);
        if (!text)
            return -1;
        if (own == length && memcmp(text, name, length) == 0)
            return 1;
    }
    return count ? 0 : -1;
}

static bool find(const struct erofs_image *image, const struct erofs_file *dir, const char *name, size_t length,
                 struct erofs_file *file) {
    char block[1 << EROFS_BLOCK_BITS_MAX];
    uint64_t nid;
    ssize_t got;

    for (uint64_t offset = 0; (got = erofs_read(image, dir, block, (size_t)1 << image->block_bits, offset)) > 0;
         offset += (uint64_t)got) {
        int found = search_block(block, (size_t)got, name, length, &nid);
        if (found < 0)
            return errno = EIO, false;
        if (found > 0)
            return read_inode(image, nid, file);
    }
    if (got == 0)
        errno = ENOENT;
    return false;
}

/* The names of one block; 1: go on, 0: the caller has enough, -1: damaged. */
static int list_block(const struct erofs_image *image, const char *block, size_t size,
                      bool (*each)(void *context, const char *name, const struct erofs_file *file), void *context) {
    size_t count = count_entries(block, size), length;
    struct erofs_file file;
    char name[256];
    uint64_t nid;

    for (size_t i = 0; i < count; i++) {
        const char *text = entry_at(block, size, i, count, &length, &nid);
        if (!text || length == 0 || length >= sizeof(name) || !read_inode(image, nid, &file))
            return -1;
        memcpy(name, text, length);
        name[length] = '\0';
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !each(context, name, &file))
            return 0;
    }
    return count ? 1 : -1;
}

bool erofs_list(const struct erofs_image *image, const struct erofs_file *dir,
                bool (*each)(void *context, const char *name, const struct erofs_file *file), void *context) {
    char block[1 << EROFS_BLOCK_BITS_MAX];
    ssize_t got;

    for (uint64_t offset = 0; (got = erofs_read(image, dir, block, (size_t)1 << image->block_bits, offset)) > 0;
         offset += (uint64_t)got) {
        int more = list_block(image, block, (size_t)got, each, context);
        if (more < 0)
            return errno = EIO, false;
        if (more == 0)
            return true;
    }
    return got == 0;
}

/* Puts a link's target before what is left of a path; false when that grows too long. */
static bool prepend(const struct erofs_image *image, const struct erofs_file *link, char *rest) {
    size_t old = strlen(rest);

    if (link->size == 0 || link->size + old + 1 > PATH_MAX)
        return errno = ENAMETOOLONG, false;
    memmove(rest + link->size, rest, old + 1);
    return erofs_read(image, link, rest, link->size, 0) == (ssize_t)link->size;
}

bool erofs_lookup(const struct erofs_image *image, const char *path, struct erofs_file *file) {
    char rest[PATH_MAX];
    int links = 0;

    if (strlen(path) >= sizeof(rest))
        return errno = ENAMETOOLONG, false;
    strcpy(rest, path);
    if (!read_inode(image, image->root, file))
        return false;
    for (struct erofs_file dir = *file;;) {
        char *name = rest + strspn(rest, "/");
        size_t length = strcspn(name, "/");
        if (length == 0)
            return *file = dir, true;
        if (!S_ISDIR(dir.mode))
            return errno = ENOTDIR, false;
        if (!find(image, &dir, name, length, file))
            return false;
        memmove(rest, name + length, strlen(name + length) + 1);
        if (!S_ISLNK(file->mode)) {
            dir = *file;
            continue;
        }
        if (++links > LINKS_MOST)
            return errno = ELOOP, false;
        if (!prepend(image, file, rest))
            return false;
        if (*rest == '/' && !read_inode(image, image->root, &dir))
            return false;
    }
}

char *erofs_read_file(const struct erofs_image *image, const char *path, size_t most) {
    struct erofs_file file;

    if (!erofs_lookup(image, path, &file) || !S_ISREG(file.mode) || file.size > most)
        return NULL;
    char *text = xmalloc(file.size + 1);
    if (erofs_read(image, &file, text, file.size, 0) != (ssize_t)file.size) {
        free(text);
        return NULL;
    }
    text[file.size] = '\0';
    return text;
}
