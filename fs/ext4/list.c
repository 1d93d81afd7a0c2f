// Listing directories. Names of a directory that has an index, or may get one, come in the order of their hash values: the position of a
// name does not change when blocks are split while somebody lists. In others they come in the order of the blocks, where they stay.
// Lock: the directory's inode.lock, held by the caller.
#include "fs/ext4/ext4.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

static const uint8_t shown[8] = {
    0, S_IFREG >> 12, S_IFDIR >> 12, S_IFCHR >> 12, S_IFBLK >> 12, S_IFIFO >> 12, S_IFSOCK >> 12, S_IFLNK >> 12};

static bool emit(struct dir_context *ctx, const struct ext4_dirent *e, int64_t behind) {
    return ctx->emit(ctx, e->name, e->name_len, e->inode, e->file_type < 8 ? shown[e->file_type] : 0, behind);
}

// --- By hash. Positions: 0 is ".", 1 "..", then 2 and 31 bits of the hash and 16 bits that tell names of one hash value apart. ---

#define POSITION(hash, k) (2 + (int64_t)((uint64_t)((hash) >> 1) << 16 | (k)))
#define CONTINUED 0x8000u // names of one hash value that begin a leaf
#define POSITION_END POSITION(~0u, 0xffff)

static bool emit_dots(struct ext4_inode *dir, struct dir_context *ctx) {
    struct ext4_dir_place place;
    if (ctx->pos == 0) {
        if (!ctx->emit(ctx, ".", 1, dir->vfs.ino, S_IFDIR >> 12, 1))
            return false;
        ctx->pos = 1;
    }
    if (ctx->pos == 1 && ext4_dir_parent(dir, &place) == 0) {
        bool more = ctx->emit(ctx, "..", 2, place.e->inode, S_IFDIR >> 12, 2);
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), place.b);
        if (!more)
            return false;
    }
    ctx->pos = MAX(ctx->pos, 2);
    return true;
}

static bool is_dots(const struct ext4_dirent *e) {
    return e->name[0] == '.' && (e->name_len == 1 || (e->name_len == 2 && e->name[1] == '.'));
}

// The names of one leaf, whose hash values begin with `first`. False: the buffer is full.
static bool emit_leaf(struct dir_context *ctx, const uint8_t *data, const struct ext4_name_ref *names, uint32_t count,
                      uint32_t first) {
    uint32_t k = 0;
    for (uint32_t n = 0; n < count; n++) {
        const struct ext4_dirent *e = (const struct ext4_dirent *)(data + names[n].offset);
        k = n && names[n].hash == names[n - 1].hash         ? k + 1
            : (first & 1) && names[n].hash == (first & ~1u) ? CONTINUED
                                                            : 0;
        int64_t at = POSITION(names[n].hash, MIN(k, 0xffffu));
        if (at < ctx->pos || is_dots(e))
            continue;
        if (!emit(ctx, e, at + 1))
            return false;
        ctx->pos = at + 1;
    }
    return true;
}

static int list_by_hash(struct ext4_inode *dir, struct dir_context *ctx) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    if (!emit_dots(dir, ctx) || ctx->pos >= POSITION_END)
        return 0;
    struct ext4_name_ref *names = kmalloc(fs->block_size / 12 * sizeof(*names));
    if (!names)
        return -ENOMEM;
    int err = 0;
    for (uint32_t hash = (uint32_t)((uint64_t)(ctx->pos - 2) >> 16 << 1), next;; hash = next) {
        uint8_t version;
        struct ext4_buffer *b = ext4_htree_leaf(dir, hash, &next, &version);
        err = IS_ERR(b) ? (int)PTR_ERR(b) : 0;
        if (err < 0)
            break;
        bool more = emit_leaf(ctx, b->data, names, ext4_htree_sort(dir, b->data, version, names), hash);
        ext4_buffer_put(fs, b);
        if (!more)
            break;
        if (!next) {
            ctx->pos = POSITION_END;
            break;
        }
        sched_point();
    }
    kfree(names);
    return err;
}

// --- By block ---

// The entries of one block from `offset` on. 1: the buffer is full.
static int emit_block(struct ext4_inode *dir, struct ext4_buffer *b, uint32_t block, uint32_t offset,
                      struct dir_context *ctx) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    uint32_t size = ext4_dir_space_in(dir, b, block);
    for (uint32_t at = 0; at < size;) {
        struct ext4_dirent *e = (struct ext4_dirent *)(b->data + at);
        uint32_t next = at + e->rec_len;
        int64_t behind = ((int64_t)block << fs->block_shift) + (next >= size ? fs->block_size : next);
        if (at >= offset) {
            if (e->inode && !emit(ctx, e, behind))
                return 1;
            ctx->pos = behind;
        }
        at = next;
    }
    return 0;
}

static int list_by_block(struct ext4_inode *dir, struct dir_context *ctx) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    int err = 0;
    while (err == 0 && (uint64_t)ctx->pos < dir->vfs.size) {
        uint32_t block = (uint32_t)(ctx->pos >> fs->block_shift), offset = (uint32_t)ctx->pos & (fs->block_size - 1);
        struct ext4_buffer *b = ext4_dir_block(dir, block);
        if (!IS_ERR(b)) {
            err = emit_block(dir, b, block, offset, ctx);
            ext4_buffer_put(fs, b);
        } else if (PTR_ERR(b) != -ENODATA) {
            return (int)PTR_ERR(b);
        }
        if (err == 0)
            ctx->pos = (int64_t)(block + 1) << fs->block_shift;
        sched_point();
    }
    return 0;
}

static int dir_iterate(struct file *f, struct dir_context *ctx) {
    struct ext4_inode *dir = ext4_i(f->inode);
    struct ext4_fs *fs = EXT4_FS(f->inode->sb);
    if (ctx->pos < 0)
        return -EINVAL;
    bool hashed = ext4_dir_indexed(dir) || ((fs->compat & COMPAT_DIR_INDEX) && f->inode->size == fs->block_size);
    return hashed ? list_by_hash(dir, ctx) : list_by_block(dir, ctx);
}

static int64_t dir_seek(struct file *f, int64_t offset, int whence) {
    if (whence == 1)
        offset += (int64_t)f->position;
    else if (whence == 2)
        offset += (int64_t)f->inode->size;
    else if (whence != 0)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->position = (uint64_t)offset;
    return offset;
}

static int64_t dir_read(struct file *f, struct uio *u, uint64_t *pos) { return -EISDIR; }

static int dir_fsync(struct file *f, bool data_only) { return ext4_inode_sync(ext4_i(f->inode), false); }

const struct file_ops ext4_dir_ops = {
    .read = dir_read,
    .seek = dir_seek,
    .iterate = dir_iterate,
    .ioctl = ext4_ioctl,
    .fsync = dir_fsync,
};
