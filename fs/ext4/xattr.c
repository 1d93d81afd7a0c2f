// Extended attributes: in the rest of the inode, and in one block of their own. A change takes all of them out and lays them out anew:
// into the inode what fits, the others into the block. A block that inodes share (Linux makes such) is never changed.
// Locks: inode.lock is held; ext4_fs.xattr_lock for the count of a shared block.
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/string.h"
#include <linux/xattr.h>

static const struct {
    uint8_t index;
    const char *prefix;
} prefixes[] = {{1, "user."}, {4, "trusted."}, {6, "security."}};

struct attribute {
    uint8_t index, name_len;
    const char *name;
    const uint8_t *value;
    uint32_t size;
};
#define ATTRIBUTES_MAX 256 // a block of 4 KiB has no more than 204
struct attributes_of {
    uint8_t *inode_copy, *block_copy;
    uint32_t count;
    struct attribute list[ATTRIBUTES_MAX];
};

// The index of a name, whose rest goes to *rest. 0: not one that is kept.
static uint8_t split_name(const char *name, const char **rest) {
    for (unsigned k = 0; k < ARRAY_SIZE(prefixes); k++) {
        size_t n = strlen(prefixes[k].prefix);
        if (strncmp(name, prefixes[k].prefix, n) == 0) {
            *rest = name + n;
            return prefixes[k].index;
        }
    }
    return 0;
}

static const char *prefix_of(uint8_t index) {
    for (unsigned k = 0; k < ARRAY_SIZE(prefixes); k++)
        if (prefixes[k].index == index)
            return prefixes[k].prefix;
    return NULL;
}

static uint32_t area_offset(const struct ext4_inode *i) { return EXT4_GOOD_INODE_SIZE + i->extra_isize; }

// Room in the inode behind its fields; 0: none.
static uint32_t area_size(const struct ext4_inode *i) {
    const struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    return fs->inode_size > area_offset(i) + 8 && i->extra_isize ? fs->inode_size - area_offset(i) : 0;
}

// Reads entries from `first` on; their values are given from `base`, up to `end`.
static bool parse(struct attributes_of *all, const uint8_t *first, const uint8_t *base, const uint8_t *end) {
    const uint8_t *at = first;
    while (at + 4 <= end && *(const uint32_t *)at) {
        const struct ext4_xattr_entry *e = (const struct ext4_xattr_entry *)at;
        if (at + sizeof(*e) > end || at + EXT4_XATTR_ENTRY_SIZE(e->name_len) > end || e->value_inum)
            return false;
        uint64_t room = (uint64_t)(end - base);
        if (e->value_size > room || (e->value_size && e->value_offs > room - e->value_size) ||
            all->count == ATTRIBUTES_MAX)
            return false;
        all->list[all->count++] =
            (struct attribute){e->name_index, e->name_len, e->name, base + e->value_offs, e->value_size};
        at += EXT4_XATTR_ENTRY_SIZE(e->name_len);
    }
    return at + 4 <= end || at == end;
}

static uint32_t block_sum(const struct ext4_fs *fs, const struct ext4_buffer *b) {
    const uint32_t zero = 0, at = offsetof(struct ext4_xattr_header, checksum);
    uint32_t sum = ext4_crc32c(fs->seed, &b->block, 8);
    sum = ext4_crc32c(ext4_crc32c(sum, b->data, at), &zero, 4);
    return ext4_crc32c(sum, b->data + at + 4, fs->block_size - at - 4);
}

static struct ext4_buffer *read_block(struct ext4_inode *i) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    struct ext4_buffer *b = ext4_buffer_read(fs, i->xattr_block);
    if (IS_ERR(b))
        return b;
    const struct ext4_xattr_header *h = (const struct ext4_xattr_header *)b->data;
    mutex_lock(&fs->xattr_lock); // another inode may just give it up
    bool good = h->magic == EXT4_XATTR_MAGIC && h->blocks == 1 && h->refcount != 0 &&
                (!fs->csum || h->checksum == block_sum(fs, b));
    mutex_unlock(&fs->xattr_lock);
    if (!good) {
        ext4_buffer_put(fs, b);
        return ERR_PTR(ext4_corrupt(fs, "inode %lu: its block of attributes is damaged", i->vfs.ino));
    }
    return b;
}

static void attributes_free(struct attributes_of *all) {
    if (!all)
        return;
    kfree(all->inode_copy);
    kfree(all->block_copy);
    kfree(all);
}

// A copy of all attributes. ERR_PTR.
static struct attributes_of *attributes_read(struct ext4_inode *i) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    struct attributes_of *all = kzalloc(sizeof(*all));
    uint32_t size = area_size(i), offset;
    struct ext4_buffer *b = NULL;
    int err = all ? 0 : -ENOMEM;
    bool good = true;
    if (err == 0 && size) {
        err = ext4_inode_locate(fs, (uint32_t)i->vfs.ino, &b, &offset);
        if (err == 0 && !(all->inode_copy = kmalloc(size)))
            err = -ENOMEM;
        if (err == 0) {
            memcpy(all->inode_copy, b->data + offset + area_offset(i), size);
            if (*(uint32_t *)all->inode_copy == EXT4_XATTR_MAGIC)
                good = parse(all, all->inode_copy + 4, all->inode_copy + 4, all->inode_copy + size);
        }
        ext4_buffer_put(fs, IS_ERR(b) ? NULL : b);
    }
    if (err == 0 && i->xattr_block) {
        b = read_block(i);
        err = IS_ERR(b) ? (int)PTR_ERR(b) : 0;
        if (err == 0 && !(all->block_copy = kmalloc(fs->block_size)))
            err = -ENOMEM;
        if (err == 0) {
            memcpy(all->block_copy, b->data, fs->block_size);
            good = good && parse(all, all->block_copy + sizeof(struct ext4_xattr_header), all->block_copy,
                                 all->block_copy + fs->block_size);
        }
        ext4_buffer_put(fs, b);
    }
    if (err == 0 && !good)
        err = ext4_corrupt(fs, "inode %lu: its attributes are damaged", i->vfs.ino);
    if (err < 0) {
        attributes_free(all);
        return ERR_PTR(err);
    }
    return all;
}

static struct attribute *find(struct attributes_of *all, uint8_t index, const char *name) {
    size_t len = strlen(name);
    for (uint32_t k = 0; k < all->count; k++)
        if (all->list[k].index == index && all->list[k].name_len == len && memcmp(all->list[k].name, name, len) == 0)
            return &all->list[k];
    return NULL;
}

// Most inodes have none at all.
static bool surely_none(struct ext4_inode *i) { return !i->xattr_block && !area_size(i); }

long ext4_xattr_get(struct inode *inode, const char *name, void *buf, size_t size) {
    const char *rest;
    uint8_t index = split_name(name, &rest);
    if (!index)
        return -EOPNOTSUPP;
    if (surely_none(ext4_i(inode)))
        return -ENODATA;
    struct attributes_of *all = attributes_read(ext4_i(inode));
    if (IS_ERR(all))
        return PTR_ERR(all);
    const struct attribute *a = find(all, index, rest);
    long n = a ? (long)a->size : -ENODATA;
    if (a && buf) {
        if (a->size > size)
            n = -ERANGE;
        else
            memcpy(buf, a->value, a->size);
    }
    attributes_free(all);
    return n;
}

long ext4_xattr_list(struct inode *inode, char *buf, size_t size) {
    if (surely_none(ext4_i(inode)))
        return 0;
    struct attributes_of *all = attributes_read(ext4_i(inode));
    if (IS_ERR(all))
        return PTR_ERR(all);
    size_t n = 0;
    long err = 0;
    for (uint32_t k = 0; k < all->count && err == 0; k++) {
        const struct attribute *a = &all->list[k];
        const char *prefix = prefix_of(a->index);
        if (!prefix)
            continue;
        size_t p = strlen(prefix), need = p + a->name_len + 1u;
        if (buf && need > size - n) {
            err = -ERANGE;
            break;
        }
        if (buf) {
            memcpy(buf + n, prefix, p);
            memcpy(buf + n + p, a->name, a->name_len);
            buf[n + need - 1] = 0;
        }
        n += need;
    }
    attributes_free(all);
    return err < 0 ? err : (long)n;
}

// --- Changing ---

static uint32_t padded(uint32_t size) { return (size + 3) & ~3u; }

static uint32_t entry_hash(const struct ext4_xattr_entry *e, const uint8_t *value) {
    uint32_t hash = 0;
    for (unsigned k = 0; k < e->name_len; k++)
        hash = hash << 5 ^ hash >> 27 ^ (uint8_t)e->name[k];
    for (uint32_t k = 0; k < padded(e->value_size); k += 4)
        hash = hash << 16 ^ hash >> 16 ^ *(const uint32_t *)(value + k);
    return hash;
}

// Lays out the marked attributes: entries from `first` on, values from `end` downwards; offsets count from `base`.
static void lay_out(const struct attributes_of *all, const bool *here, uint8_t *first, uint8_t *base, uint8_t *end,
                    bool hashes) {
    uint8_t *at = first, *value = end;
    for (uint32_t k = 0; k < all->count; k++) {
        const struct attribute *a = &all->list[k];
        if (!here[k])
            continue;
        value -= padded(a->size);
        memcpy(value, a->value, a->size);
        struct ext4_xattr_entry *e = (struct ext4_xattr_entry *)at;
        *e = (struct ext4_xattr_entry){.name_len = a->name_len,
                                       .name_index = a->index,
                                       .value_offs = a->size ? (uint16_t)(value - base) : 0,
                                       .value_size = a->size};
        memcpy(e->name, a->name, a->name_len);
        e->hash = hashes ? entry_hash(e, value) : 0;
        at += EXT4_XATTR_ENTRY_SIZE(a->name_len);
    }
}

// In a block the entries are in order.
static bool before(const struct attribute *a, const struct attribute *b) {
    if (a->index != b->index)
        return a->index < b->index;
    if (a->name_len != b->name_len)
        return a->name_len < b->name_len;
    return memcmp(a->name, b->name, a->name_len) < 0;
}

static void sort(struct attributes_of *all) {
    for (uint32_t k = 1; k < all->count; k++) {
        struct attribute a = all->list[k];
        uint32_t at = k;
        for (; at > 0 && before(&a, &all->list[at - 1]); at--)
            all->list[at] = all->list[at - 1];
        all->list[at] = a;
    }
}

// Which go into the inode, which into the block. -ENOSPC.
static int distribute(struct ext4_inode *i, const struct attributes_of *all, bool *in_inode, bool *in_block,
                      bool *any_block) {
    const struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    uint32_t inode_room = area_size(i), block_room = fs->block_size - sizeof(struct ext4_xattr_header) - 4;
    inode_room = inode_room > 8 ? inode_room - 8 : 0;
    *any_block = false;
    for (uint32_t k = 0; k < all->count; k++) {
        uint32_t need = EXT4_XATTR_ENTRY_SIZE(all->list[k].name_len) + padded(all->list[k].size);
        in_inode[k] = need <= inode_room;
        in_block[k] = !in_inode[k];
        if (in_inode[k])
            inode_room -= need;
        else if (need <= block_room)
            block_room -= need;
        else
            return -ENOSPC;
        *any_block |= in_block[k];
    }
    return 0;
}

static int drop_block(struct ext4_handle *h, struct ext4_inode *i) {
    struct ext4_fs *fs = h->fs;
    struct ext4_buffer *b = read_block(i);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    mutex_lock(&fs->xattr_lock);
    struct ext4_xattr_header *header = (struct ext4_xattr_header *)b->data;
    bool last = header->refcount == 1;
    int err = last ? 0 : ext4_change(h, b);
    if (err == 0 && !last) {
        header->refcount--;
        if (fs->csum)
            header->checksum = block_sum(fs, b);
    }
    mutex_unlock(&fs->xattr_lock);
    ext4_buffer_put(fs, b);
    if (err == 0 && last)
        err = ext4_blocks_free(h, i->xattr_block, 1, true);
    if (err == 0) {
        i->xattr_block = 0;
        i->disk_blocks -= MIN(i->disk_blocks, (uint64_t)fs->block_size / 512);
    }
    return err;
}

int ext4_xattr_free_block(struct ext4_handle *h, struct ext4_inode *i) { return drop_block(h, i); }

// The block to write to: the inode's own one, or a new one.
static struct ext4_buffer *own_block(struct ext4_handle *h, struct ext4_inode *i) {
    struct ext4_fs *fs = h->fs;
    struct ext4_buffer *b = NULL;
    if (i->xattr_block) {
        b = read_block(i);
        if (IS_ERR(b) || ((struct ext4_xattr_header *)b->data)->refcount == 1)
            return b;
        ext4_buffer_put(fs, b);
    }
    uint32_t one = 1;
    uint64_t block;
    int err = ext4_blocks_alloc(h, ext4_goal(i), &one, 0, &block);
    if (err == 0 && i->xattr_block)
        err = drop_block(h, i);
    if (err < 0)
        return ERR_PTR(err);
    b = ext4_buffer_zero(fs, block);
    if (!IS_ERR(b)) {
        i->xattr_block = block;
        i->disk_blocks += fs->block_size / 512;
    }
    return b;
}

static int write_block(struct ext4_handle *h, struct ext4_inode *i, const struct attributes_of *all, const bool *here) {
    struct ext4_fs *fs = h->fs;
    struct ext4_buffer *b = own_block(h, i);
    int err = IS_ERR(b) ? (int)PTR_ERR(b) : ext4_change(h, b);
    if (err == 0) {
        struct ext4_xattr_header *header = (struct ext4_xattr_header *)b->data;
        uint8_t *first = b->data + sizeof(*header);
        memset(b->data, 0, fs->block_size);
        *header = (struct ext4_xattr_header){.magic = EXT4_XATTR_MAGIC, .refcount = 1, .blocks = 1};
        lay_out(all, here, first, b->data, b->data + fs->block_size, true);
        for (struct ext4_xattr_entry *e = (struct ext4_xattr_entry *)first; *(uint32_t *)e;
             e = (struct ext4_xattr_entry *)((uint8_t *)e + EXT4_XATTR_ENTRY_SIZE(e->name_len)))
            header->hash = header->hash << 16 ^ header->hash >> 16 ^ e->hash;
        if (fs->csum)
            header->checksum = block_sum(fs, b);
    }
    ext4_buffer_put(fs, b);
    return err;
}

static int write_area(struct ext4_handle *h, struct ext4_inode *i, const struct attributes_of *all, const bool *here) {
    struct ext4_fs *fs = h->fs;
    struct ext4_buffer *b;
    uint32_t offset, size = area_size(i);
    if (!size)
        return 0;
    int err = ext4_inode_locate(fs, (uint32_t)i->vfs.ino, &b, &offset);
    if (err < 0)
        return err;
    err = ext4_change(h, b);
    if (err == 0) {
        uint8_t *area = b->data + offset + area_offset(i);
        memset(area, 0, size);
        *(uint32_t *)area = EXT4_XATTR_MAGIC;
        lay_out(all, here, area + 4, area + 4, area + size, false);
    }
    ext4_buffer_put(fs, b);
    return err;
}

static int write_all(struct ext4_inode *i, struct attributes_of *all) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    bool in_inode[ATTRIBUTES_MAX], in_block[ATTRIBUTES_MAX], any_block;
    sort(all);
    int err = distribute(i, all, in_inode, in_block, &any_block);
    struct ext4_handle h;
    if (err < 0 || (err = ext4_begin(&h, fs, 10)) < 0)
        return err;
    if (any_block)
        err = write_block(&h, i, all, in_block);
    else if (i->xattr_block)
        err = drop_block(&h, i);
    if (err == 0)
        err = write_area(&h, i, all, in_inode);
    if (err == 0) {
        i->vfs.ctime = inode_now();
        err = ext4_inode_write(&h, i);
    }
    ext4_end(&h);
    return err;
}

int ext4_xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    struct ext4_inode *i = ext4_i(inode);
    const char *rest;
    uint8_t index = split_name(name, &rest);
    if (!index)
        return -EOPNOTSUPP;
    if (strlen(rest) > 255)
        return -ERANGE;
    if (i->flags & (EXT4_IMMUTABLE_FL | EXT4_APPEND_FL))
        return -EPERM;
    if (size > EXT4_FS(inode->sb)->block_size)
        return -ENOSPC;
    struct attributes_of *all = attributes_read(i);
    if (IS_ERR(all))
        return (int)PTR_ERR(all);
    struct attribute *a = find(all, index, rest);
    int err = 0;
    if (a ? flags & XATTR_CREATE : !value || (flags & XATTR_REPLACE))
        err = a ? -EEXIST : -ENODATA;
    else if (!a && all->count == ATTRIBUTES_MAX)
        err = -ENOSPC;
    else if (!value)
        *a = all->list[--all->count];
    else
        *(a ? a : &all->list[all->count++]) =
            (struct attribute){index, (uint8_t)strlen(rest), rest, value, (uint32_t)size};
    if (err == 0)
        err = write_all(i, all);
    if (err == -ENOSPC && READ_ONCE(EXT4_FS(inode->sb)->pending) && ext4_commit_all(EXT4_FS(inode->sb)) == 0)
        err = write_all(i, all);
    attributes_free(all);
    return err;
}
