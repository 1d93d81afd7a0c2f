// EROFS directories. Each block is one sorted piece: entries, then their names; and so are the blocks among each other. A lookup
// halves the blocks by their first names, then the entries of one. Positions of a listing are those of Linux: the entry's
// place in the directory.
#include "fs/erofs/erofs.h"
#include "kernel/string.h"

// A block of a directory that has been looked at.
struct block {
    const uint8_t *data;
    uint64_t start; // of the block in the directory
    uint32_t size, count;
};

static int corrupt(const struct inode *dir, const char *what) {
    return erofs_corrupt(erofs_image_of(dir), EROFS_BAD_DIRECTORY, dir->ino, what);
}

static struct erofs_dirent entry_at(const struct block *b, uint32_t i) {
    return ((const struct erofs_dirent *)b->data)[i];
}

// Read once: root may write to the device meanwhile, and what was checked must be what is used.
static uint32_t offset_at(const struct block *b, uint32_t i) {
    return READ_ONCE(
        *(const uint16_t *)(b->data + i * sizeof(struct erofs_dirent) + offsetof(struct erofs_dirent, name_offset)));
}

// A block lies within one page: blocks are at most that large, and tails do not cross a block's end.
static int load_block(struct inode *dir, struct erofs_view *v, uint64_t number, struct block *b) {
    struct erofs_image *im = erofs_image_of(dir);
    struct erofs_extent x;
    b->start = number << im->block_bits;
    b->size = (uint32_t)MIN(dir->size - b->start, 1u << im->block_bits);
    int err = erofs_map(erofs_of(dir), v, b->start, &x);
    if (err < 0)
        return err;
    if (x.hole || x.len < b->size)
        return corrupt(dir, "a directory with a hole");
    b->data = erofs_view(im, v, x.pos, b->size);
    if (IS_ERR(b->data))
        return (int)PTR_ERR(b->data);
    uint32_t first = b->size >= sizeof(struct erofs_dirent) ? offset_at(b, 0) : 0;
    if (first < sizeof(struct erofs_dirent) || first >= b->size)
        return corrupt(dir, "a block of a directory whose names are outside of it");
    b->count = first / sizeof(struct erofs_dirent);
    return 0;
}

// The name's length, or -errno. The last name of a block may end before it.
static int name_at(struct inode *dir, const struct block *b, uint32_t i, const char **name) {
    bool last = i + 1 == b->count;
    uint32_t start = offset_at(b, i), end = last ? b->size : offset_at(b, i + 1);
    if (start < b->count * sizeof(struct erofs_dirent) || start >= end || end > b->size)
        return corrupt(dir, "a name outside of its directory's block");
    *name = (const char *)b->data + start;
    size_t len = unlikely(last) ? strnlen(*name, end - start) : end - start;
    if (len == 0 || len > EROFS_NAME_MAX)
        return corrupt(dir, "an entry of a directory has no name, or too long a one");
    return (int)len;
}

#define BYTES(c) (0x0101010101010101ul * (c))
// Is one of the eight bytes zero?
static inline bool any_zero(uint64_t w) { return (w - BYTES(1)) & ~w & BYTES(0x80); }

// Without slashes and NULs; eight bytes at a time, the last ones once more. `room`: bytes that may be read from `name` on.
static inline bool name_is_proper(const char *name, int len, uint32_t room) {
    uint64_t w;
    if (len < 8 && likely(room >= 8)) {
        __builtin_memcpy(&w, name, sizeof(w));
        w |= ~0ul << (8 * len);
        return !any_zero(w) && !any_zero(w ^ BYTES('/'));
    }
    if (len < 8) {
        for (int i = 0; i < len; i++)
            if (name[i] == '/' || name[i] == 0)
                return false;
        return true;
    }
    for (int i = 0; i < len; i += 8) {
        __builtin_memcpy(&w, name + MIN(i, len - 8), sizeof(w));
        if (any_zero(w) || any_zero(w ^ BYTES('/')))
            return false;
    }
    return true;
}

// How `name` stands to the one of entry i: < 0 before, 0 the same, > 0 behind.
static int compare(struct inode *dir, const struct block *b, uint32_t i, const struct dentry *d, int *order) {
    const char *name;
    int len = name_at(dir, b, i, &name);
    if (len < 0)
        return len;
    *order = memcmp(d->name, name, MIN((size_t)len, (size_t)d->name_len));
    if (*order == 0)
        *order = (int)d->name_len - len;
    return 0;
}

// The last block whose first name is not behind the one looked for; the name can be nowhere else.
static int find_block(struct inode *dir, struct erofs_view *v, const struct dentry *d, struct block *b) {
    uint64_t low = 0, high = DIV_ROUND_UP(dir->size, 1UL << erofs_image_of(dir)->block_bits); // it is in [low, high)
    uint64_t loaded = ~0UL;
    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = 0, err = load_block(dir, v, middle, b);
        if (err == 0)
            err = compare(dir, b, 0, d, &order);
        if (err < 0)
            return err;
        loaded = middle;
        if (order >= 0)
            low = middle;
        else
            high = middle;
    }
    return loaded == low ? 0 : load_block(dir, v, low, b);
}

// The number of the named inode: 0, -ENOENT, -EFSCORRUPTED, ...
static int find_entry(struct inode *dir, struct erofs_view *v, const struct dentry *d, uint64_t *nid) {
    struct block b;
    if (dir->size == 0)
        return -ENOENT;
    int err = find_block(dir, v, d, &b);
    if (err < 0)
        return err;
    for (uint32_t low = 0, high = b.count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        int order = 0;
        err = compare(dir, &b, middle, d, &order);
        if (err < 0)
            return err;
        if (order == 0) {
            *nid = entry_at(&b, middle).nid;
            return 0;
        }
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -ENOENT;
}

// A directory has one parent: an entry that leads back up, or to a directory that another one names, too, would make a tree without
// an end. Those above are in use while somebody walks below, so it is enough to remember it while the inode is in memory.
static bool claim(struct inode *dir, struct inode *child) {
    uint64_t none = 0, *parent = &erofs_of(child)->parent;
    if (__atomic_compare_exchange_n(parent, &none, dir->ino, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return true;
    return none == dir->ino && child != dir;
}

int erofs_lookup(struct inode *dir, struct dentry *d) {
    struct erofs_view v = {0};
    uint64_t nid;
    int err = d->name_len > EROFS_NAME_MAX ? -ENAMETOOLONG : find_entry(dir, &v, d, &nid);
    erofs_view_end(&v);
    if (err == -ENOENT)
        return 0;
    if (err < 0)
        return err;
    struct inode *inode = erofs_inode_get(dir->sb, nid);
    if (IS_ERR(inode))
        return (int)PTR_ERR(inode);
    if (S_ISDIR(inode->mode) && !claim(dir, inode)) {
        inode_unref(inode);
        return corrupt(dir, "a directory has two parents");
    }
    dentry_attach(d, inode);
    return 0;
}

static unsigned type_of(unsigned type) { // as DT_*
    static const uint8_t types[] = {
        [EROFS_FT_REGULAR] = S_IFREG >> 12, [EROFS_FT_DIRECTORY] = S_IFDIR >> 12, [EROFS_FT_CHARACTER] = S_IFCHR >> 12,
        [EROFS_FT_BLOCK] = S_IFBLK >> 12,   [EROFS_FT_FIFO] = S_IFIFO >> 12,      [EROFS_FT_SOCKET] = S_IFSOCK >> 12,
        [EROFS_FT_SYMLINK] = S_IFLNK >> 12};
    return type < ARRAY_SIZE(types) ? types[type] : 0;
}

// The entries of one block from the position on. 1: the buffer is full.
static int emit_block(struct inode *dir, const struct block *b, struct dir_context *ctx) {
    const uint32_t step = sizeof(struct erofs_dirent), first = b->count * step;
    uint32_t i = (uint32_t)DIV_ROUND_UP((uint64_t)ctx->pos - b->start, step);
    const struct erofs_dirent *e = (const struct erofs_dirent *)b->data + i;
    uint32_t start = i < b->count ? offset_at(b, i) : 0, end;
    for (; i < b->count; i++, e++, start = end) {
        const char *name = (const char *)b->data + start;
        bool last = i + 1 == b->count;
        end = last ? b->size : offset_at(b, i + 1);
        if (unlikely(start < first || start >= end || end > b->size))
            return corrupt(dir, "a name outside of its directory's block");
        uint32_t len = unlikely(last) ? (uint32_t)strnlen(name, end - start) : end - start;
        if (unlikely(len == 0 || len > EROFS_NAME_MAX))
            return corrupt(dir, "an entry of a directory has no name, or too long a one");
        if (unlikely(!name_is_proper(name, (int)len, b->size - start)))
            return corrupt(dir, "a name with a slash or a NUL in it");
        int64_t next = (int64_t)(b->start + (last ? b->size : (i + 1) * step));
        if (!ctx->emit(ctx, name, len, e->nid, type_of(e->type), next))
            return 1;
        ctx->pos = next;
    }
    ctx->pos = (int64_t)(b->start + b->size);
    return 0;
}

static int erofs_iterate(struct file *f, struct dir_context *ctx) {
    struct inode *dir = f->inode;
    struct erofs_view v = {.sequential = true};
    int err = 0;
    if (ctx->pos < 0)
        return -EINVAL;
    while (err == 0 && (uint64_t)ctx->pos < dir->size) {
        struct block b;
        err = load_block(dir, &v, (uint64_t)ctx->pos >> erofs_image_of(dir)->block_bits, &b);
        if (err == 0)
            err = emit_block(dir, &b, ctx);
    }
    erofs_view_end(&v);
    return MIN(err, 0);
}

static int64_t erofs_directory_read(struct file *f, struct uio *u, uint64_t *pos) { return -EISDIR; }

const struct file_ops erofs_directory_ops = {.read = erofs_directory_read, .iterate = erofs_iterate};
