// Directories as rows of entries in blocks: looking through them, adding, removing. Where there is an index (htree.c) it says in which
// block; its own blocks look like blocks without entries here.
// Lock: the directory's inode.lock.
#include "fs/ext4/ext4.h"
#include "kernel/string.h"

uint32_t ext4_dir_space(const struct ext4_fs *fs) {
    return fs->block_size - (fs->csum ? (uint32_t)sizeof(struct ext4_dir_tail) : 0);
}

uint8_t ext4_dir_type(const struct ext4_fs *fs, uint32_t mode) {
    static const uint8_t types[16] = {[S_IFREG >> 12] = 1, [S_IFDIR >> 12] = 2, [S_IFCHR >> 12] = 3,
                                      [S_IFBLK >> 12] = 4, [S_IFIFO >> 12] = 5, [S_IFSOCK >> 12] = 6,
                                      [S_IFLNK >> 12] = 7};
    return fs->has_filetype ? types[mode >> 12 & 15] : 0;
}

static struct ext4_dir_tail *tail_of(const struct ext4_fs *fs, const uint8_t *data) {
    return (struct ext4_dir_tail *)(data + fs->block_size - sizeof(struct ext4_dir_tail));
}

void ext4_dir_seal(struct ext4_inode *dir, struct ext4_buffer *b) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    if (!fs->csum)
        return;
    *tail_of(fs, b->data) = (struct ext4_dir_tail){.rec_len = sizeof(struct ext4_dir_tail),
                                                   .file_type = EXT4_DIR_TAIL_TYPE,
                                                   .checksum = ext4_crc32c(dir->seed, b->data, ext4_dir_space(fs))};
}

static bool tail_good(struct ext4_inode *dir, const uint8_t *data) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    const struct ext4_dir_tail *t = tail_of(fs, data);
    return !fs->csum ||
           (t->zero == 0 && t->rec_len == sizeof(*t) && t->zero2 == 0 && t->file_type == EXT4_DIR_TAIL_TYPE &&
            t->checksum == ext4_crc32c(dir->seed, data, ext4_dir_space(fs)));
}

// The entries fill `size` bytes.
static bool entries_good(const struct ext4_fs *fs, const uint8_t *data, uint32_t size) {
    uint32_t at = 0;
    while (at < size) {
        const struct ext4_dirent *e = (const struct ext4_dirent *)(data + at);
        if (size - at < 8 || e->rec_len < 8 || (e->rec_len & 3) || e->rec_len > size - at || e->inode > fs->inodes ||
            (e->inode && (e->name_len == 0 || EXT4_DIRENT_SIZE(e->name_len) > e->rec_len)))
            return false;
        at += e->rec_len;
    }
    return true;
}

struct ext4_buffer *ext4_dir_block_any(struct ext4_inode *dir, uint32_t block, bool *index) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    struct ext4_map m;
    int err = ext4_map_find(dir, block, 1, &m);
    if (err < 0)
        return ERR_PTR(err);
    if (!m.block || m.unwritten)
        return ERR_PTR(-ENODATA);
    struct ext4_buffer *b = ext4_buffer_read(fs, m.block);
    if (IS_ERR(b))
        return b;
    *index = ext4_htree_is_index(dir, b->data, block);
    uint8_t kind = *index ? EXT4_IS_INDEX : EXT4_IS_DIR;
    if (likely(b->checked == kind))
        return b;
    bool good = *index ? ext4_htree_index_valid(dir, b->data, block)
                       : tail_good(dir, b->data) && entries_good(fs, b->data, ext4_dir_space(fs));
    if (!good) {
        ext4_buffer_put(fs, b);
        return ERR_PTR(ext4_corrupt(fs, "directory %lu: block %u is damaged", dir->vfs.ino, block));
    }
    b->checked = kind;
    return b;
}

struct ext4_buffer *ext4_dir_block(struct ext4_inode *dir, uint32_t block) {
    bool index;
    return ext4_dir_block_any(dir, block, &index);
}

// The entries "." and ".." of an index's root are ordinary ones; the rest of an index has none.
uint32_t ext4_dir_space_in(struct ext4_inode *dir, const struct ext4_buffer *b, uint32_t block) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    return ext4_htree_is_index(dir, b->data, block) ? fs->block_size : ext4_dir_space(fs);
}

int ext4_dir_search(struct ext4_inode *dir, struct ext4_buffer *b, uint32_t block, const char *name, size_t len,
                    struct ext4_dir_place *out) {
    uint32_t size = ext4_dir_space_in(dir, b, block);
    struct ext4_dirent *previous = NULL;
    for (uint32_t at = 0; at < size;) {
        struct ext4_dirent *e = (struct ext4_dirent *)(b->data + at);
        if (e->inode && e->name_len == len && memcmp(e->name, name, len) == 0) {
            *out = (struct ext4_dir_place){b, e, previous, block};
            return 0;
        }
        previous = e;
        at += e->rec_len;
    }
    return -ENOENT;
}

static uint32_t block_count(const struct ext4_inode *dir) {
    return (uint32_t)(dir->vfs.size >> EXT4_FS(dir->vfs.sb)->block_shift);
}

int ext4_dir_find(struct ext4_inode *dir, const char *name, size_t len, struct ext4_dir_place *out) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    if (len > 255)
        return -ENAMETOOLONG;
    if (ext4_dir_indexed(dir) && !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))))
        return ext4_htree_find(dir, name, len, out);
    for (uint32_t block = 0; block < block_count(dir); block++) {
        struct ext4_buffer *b = ext4_dir_block(dir, block);
        if (IS_ERR(b)) {
            if (PTR_ERR(b) == -ENODATA)
                continue;
            return (int)PTR_ERR(b);
        }
        int err = ext4_dir_search(dir, b, block, name, len, out);
        if (err == 0)
            return 0; // with the reference
        ext4_buffer_put(fs, b);
        sched_point();
    }
    return -ENOENT;
}

int ext4_dir_parent(struct ext4_inode *dir, struct ext4_dir_place *out) {
    struct ext4_buffer *b = ext4_dir_block(dir, 0);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    int err = ext4_dir_search(dir, b, 0, "..", 2, out);
    if (err < 0) {
        ext4_buffer_put(EXT4_FS(dir->vfs.sb), b);
        return ext4_corrupt(EXT4_FS(dir->vfs.sb), "directory %lu has no \"..\"", dir->vfs.ino);
    }
    return 0;
}

int ext4_dir_empty(struct ext4_inode *dir) {
    struct ext4_fs *fs = EXT4_FS(dir->vfs.sb);
    int err = 0;
    for (uint32_t block = 0; block < block_count(dir) && err == 0; block++) {
        struct ext4_buffer *b = ext4_dir_block(dir, block);
        if (IS_ERR(b)) {
            err = PTR_ERR(b) == -ENODATA ? 0 : (int)PTR_ERR(b);
            continue;
        }
        uint32_t size = ext4_dir_space_in(dir, b, block);
        for (uint32_t at = 0; at < size && err == 0;) {
            struct ext4_dirent *e = (struct ext4_dirent *)(b->data + at);
            bool dots =
                block == 0 && e->name[0] == '.' && (e->name_len == 1 || (e->name_len == 2 && e->name[1] == '.'));
            if (e->inode && !dots)
                err = -ENOTEMPTY;
            at += e->rec_len;
        }
        ext4_buffer_put(fs, b);
    }
    return err;
}

// --- Changing ---

// Puts an entry behind another in its spare room, or into an empty one. False: there is no room in this block. The caller seals it.
bool ext4_dir_insert(struct ext4_inode *dir, struct ext4_buffer *b, const char *name, size_t len, uint32_t ino,
                     uint8_t type) {
    uint32_t size = ext4_dir_space(EXT4_FS(dir->vfs.sb)), need = EXT4_DIRENT_SIZE((uint32_t)len);
    for (uint32_t at = 0; at < size;) {
        struct ext4_dirent *e = (struct ext4_dirent *)(b->data + at);
        uint32_t used = e->inode ? EXT4_DIRENT_SIZE(e->name_len) : 0;
        if (e->rec_len - used < need) {
            at += e->rec_len;
            continue;
        }
        if (used) {
            struct ext4_dirent *new = (struct ext4_dirent *)(b->data + at + used);
            new->rec_len = (uint16_t)(e->rec_len - used);
            e->rec_len = (uint16_t)used;
            e = new;
        }
        e->inode = ino;
        e->name_len = (uint8_t)len;
        e->file_type = type;
        memcpy(e->name, name, len);
        return true;
    }
    return false;
}

static bool has_room(struct ext4_inode *dir, const struct ext4_buffer *b, size_t len) {
    uint32_t size = ext4_dir_space(EXT4_FS(dir->vfs.sb)), need = EXT4_DIRENT_SIZE((uint32_t)len);
    for (uint32_t at = 0; at < size;) {
        const struct ext4_dirent *e = (const struct ext4_dirent *)(b->data + at);
        if (e->rec_len - (e->inode ? EXT4_DIRENT_SIZE(e->name_len) : 0) >= need)
            return true;
        at += e->rec_len;
    }
    return false;
}

struct ext4_buffer *ext4_dir_append(struct ext4_handle *h, struct ext4_inode *dir, uint32_t *block) {
    struct ext4_fs *fs = h->fs;
    struct ext4_map m;
    if (dir->vfs.size >> 30)
        return ERR_PTR(-ENOSPC);
    *block = block_count(dir);
    rwmutex_write_lock(&dir->map);
    int err = ext4_map_allocate(h, dir, *block, 1, false, 0, &m);
    rwmutex_write_unlock(&dir->map);
    if (err < 0)
        return ERR_PTR(err);
    struct ext4_buffer *b = ext4_buffer_zero(fs, m.block);
    err = IS_ERR(b) ? (int)PTR_ERR(b) : ext4_change(h, b);
    if (err < 0) {
        ext4_buffer_put(fs, b);
        return ERR_PTR(err); // a block behind the end: the next try finds it
    }
    ((struct ext4_dirent *)b->data)->rec_len = (uint16_t)ext4_dir_space(fs);
    ext4_dir_seal(dir, b);
    b->checked = EXT4_IS_DIR;
    dir->vfs.size += fs->block_size;
    err = ext4_inode_write(h, dir);
    if (err < 0) {
        ext4_buffer_put(fs, b);
        return ERR_PTR(err);
    }
    return b;
}

static int insert_sealed(struct ext4_handle *h, struct ext4_inode *dir, struct ext4_buffer *b, const char *name,
                         size_t len, uint32_t ino, uint8_t type) {
    int err = ext4_change(h, b);
    if (err < 0)
        return err;
    ext4_dir_insert(dir, b, name, len, ino, type);
    ext4_dir_seal(dir, b);
    return 0;
}

int ext4_dir_add(struct ext4_handle *h, struct ext4_inode *dir, const char *name, size_t len, uint32_t ino,
                 uint32_t mode) {
    struct ext4_fs *fs = h->fs;
    uint8_t type = ext4_dir_type(fs, mode);
    if (len > 255)
        return -ENAMETOOLONG;
    if (ext4_dir_indexed(dir))
        return ext4_htree_add(h, dir, name, len, ino, type);
    for (uint32_t block = dir->dir_free; block < block_count(dir); block++) {
        struct ext4_buffer *b = ext4_dir_block(dir, block);
        if (IS_ERR(b)) {
            if (PTR_ERR(b) == -ENODATA)
                continue;
            return (int)PTR_ERR(b);
        }
        bool room = has_room(dir, b, len);
        int err = room ? insert_sealed(h, dir, b, name, len, ino, type) : 0;
        ext4_buffer_put(fs, b);
        if (room)
            return err;
        if (block == dir->dir_free && len < 16)
            dir->dir_free++; // not even a short name fits
    }
    if (block_count(dir) == 1 && (fs->compat & COMPAT_DIR_INDEX)) {
        int err = ext4_htree_make(h, dir);
        return err < 0 ? err : ext4_htree_add(h, dir, name, len, ino, type);
    }
    uint32_t block;
    struct ext4_buffer *b = ext4_dir_append(h, dir, &block);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    int err = insert_sealed(h, dir, b, name, len, ino, type);
    ext4_buffer_put(fs, b);
    return err;
}

// The checksum of an index's root is another one than that of a block of entries.
static void seal_place(struct ext4_inode *dir, struct ext4_dir_place *place) {
    if (ext4_htree_is_index(dir, place->b->data, place->block))
        ext4_htree_seal(dir, place->b, place->block);
    else
        ext4_dir_seal(dir, place->b);
}

int ext4_dir_remove(struct ext4_handle *h, struct ext4_inode *dir, struct ext4_dir_place *place) {
    int err = ext4_change(h, place->b);
    if (err < 0)
        return err;
    if (place->previous)
        place->previous->rec_len = (uint16_t)(place->previous->rec_len + place->e->rec_len);
    else
        place->e->inode = 0;
    seal_place(dir, place);
    dir->dir_free = MIN(dir->dir_free, place->block);
    return 0;
}

int ext4_dir_set(struct ext4_handle *h, struct ext4_inode *dir, struct ext4_dir_place *place, uint32_t ino,
                 uint32_t mode) {
    int err = ext4_change(h, place->b);
    if (err < 0)
        return err;
    place->e->inode = ino;
    place->e->file_type = ext4_dir_type(h->fs, mode);
    seal_place(dir, place);
    return 0;
}

static struct ext4_dirent *put_entry(uint8_t *at, uint32_t ino, const char *name, uint32_t len, uint32_t rec_len,
                                     uint8_t type) {
    struct ext4_dirent *e = (struct ext4_dirent *)at;
    e->inode = ino;
    e->rec_len = (uint16_t)rec_len;
    e->name_len = (uint8_t)len;
    e->file_type = type;
    memcpy(e->name, name, len);
    return e;
}

int ext4_dir_init(struct ext4_handle *h, struct ext4_inode *dir, uint32_t parent) {
    struct ext4_fs *fs = h->fs;
    uint32_t block;
    uint8_t type = ext4_dir_type(fs, S_IFDIR);
    struct ext4_buffer *b = ext4_dir_append(h, dir, &block);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    put_entry(b->data, (uint32_t)dir->vfs.ino, ".", 1, 12, type);
    put_entry(b->data + 12, parent, "..", 2, ext4_dir_space(fs) - 12, type);
    ext4_dir_seal(dir, b);
    ext4_buffer_put(fs, b);
    return 0;
}
