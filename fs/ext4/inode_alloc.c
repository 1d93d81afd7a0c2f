// Numbers of inodes: a file's near its directory, directories of the root spread over the disk.
// Lock: ext4_fs.alloc_lock.
#include "fs/ext4/ext4.h"
#include "kernel/random.h"
#include "kernel/string.h"

static uint32_t choose_group(struct ext4_fs *fs, struct inode *parent, bool directory) {
    uint32_t home = (uint32_t)((parent->ino - 1) / fs->inodes_per_group);
    if (!directory || parent->ino != EXT4_ROOT_INO)
        return home;
    uint32_t start = fs->spread++ % fs->groups, best = home, best_free = 0;
    for (uint32_t k = 0; k < MIN(fs->groups, 16u); k++) {
        struct ext4_group_ref g;
        uint32_t group = (start + k) % fs->groups;
        if (ext4_group_get(fs, group, &g) < 0)
            break;
        uint32_t free = ext4_group_free_blocks(fs, g.desc);
        if (ext4_group_free_inodes(fs, g.desc) && free > best_free) {
            best = group;
            best_free = free;
        }
        ext4_group_put(fs, &g);
    }
    return best;
}

static uint32_t find_zero(const uint8_t *map, uint32_t from, uint32_t bits) {
    while (from < bits && bit_get(map, from))
        from++;
    return from;
}

// The group's block bitmap must exist once it has inodes.
static int init_blocks(struct ext4_handle *h, struct ext4_group_ref *g) {
    struct ext4_fs *fs = h->fs;
    if (!(g->desc->flags & GROUP_BLOCK_UNINIT) || !(fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM)))
        return 0;
    struct ext4_buffer *bitmap = ext4_load_block_bitmap(fs, g);
    if (IS_ERR(bitmap))
        return (int)PTR_ERR(bitmap);
    int err = ext4_change(h, bitmap);
    if (err == 0)
        err = ext4_change(h, g->b);
    if (err == 0)
        ext4_block_bitmap_changed(fs, g, bitmap);
    ext4_buffer_put(fs, bitmap);
    return err;
}

// 1: nothing free there.
static int try_group(struct ext4_handle *h, uint32_t group, bool directory, uint32_t *ino) {
    struct ext4_fs *fs = h->fs;
    struct ext4_group_ref g;
    int err = ext4_group_get(fs, group, &g);
    if (err < 0)
        return err;
    struct ext4_buffer *bitmap = NULL;
    uint32_t free = ext4_group_free_inodes(fs, g.desc), at = 0;
    err = free ? 0 : 1;
    if (err == 0) {
        bitmap = ext4_load_inode_bitmap(fs, &g);
        err = IS_ERR(bitmap) ? (int)PTR_ERR(bitmap) : 0;
    }
    if (err == 0) {
        at = find_zero(bitmap->data, group == 0 ? fs->first_ino - 1 : 0, fs->inodes_per_group);
        err = at < fs->inodes_per_group ? init_blocks(h, &g) : 1;
    }
    if (err == 0)
        err = ext4_change(h, bitmap);
    if (err == 0)
        err = ext4_change(h, g.b);
    if (err == 0) {
        bit_set(bitmap->data, at);
        uint32_t used = fs->inodes_per_group - ext4_group_unused(fs, g.desc);
        if (g.desc->flags & GROUP_INODE_UNINIT)
            used = 0;
        if ((fs->ro_compat & (RO_GDT_CSUM | RO_METADATA_CSUM)) && at + 1 > used)
            ext4_group_set_unused(fs, g.desc, fs->inodes_per_group - at - 1);
        ext4_group_set_free_inodes(fs, g.desc, free - 1);
        if (directory)
            ext4_group_set_dirs(fs, g.desc, ext4_group_dirs(fs, g.desc) + 1);
        ext4_inode_bitmap_changed(fs, &g, bitmap);
        ext4_group_changed(fs, &g);
        fs->free_inodes -= fs->free_inodes > 0;
        *ino = group * fs->inodes_per_group + at + 1;
    }
    ext4_buffer_put(fs, bitmap);
    ext4_group_put(fs, &g);
    return err;
}

int ext4_inode_number_alloc(struct ext4_handle *h, struct inode *parent, bool directory, uint32_t *ino,
                            uint32_t *generation) {
    struct ext4_fs *fs = h->fs;
    mutex_lock(&fs->alloc_lock);
    uint32_t first = choose_group(fs, parent, directory);
    int err = 1;
    for (uint32_t k = 0; k < fs->groups && err == 1; k++)
        err = try_group(h, (first + k) % fs->groups, directory, ino);
    *generation = fs->next_generation++;
    mutex_unlock(&fs->alloc_lock);
    return err == 1 ? -ENOSPC : err;
}

int ext4_inode_number_free(struct ext4_handle *h, uint32_t ino, bool directory) {
    struct ext4_fs *fs = h->fs;
    uint32_t group = (ino - 1) / fs->inodes_per_group, at = (ino - 1) % fs->inodes_per_group;
    struct ext4_group_ref g;
    mutex_lock(&fs->alloc_lock);
    int err = ext4_group_get(fs, group, &g);
    if (err < 0) {
        mutex_unlock(&fs->alloc_lock);
        return err;
    }
    struct ext4_buffer *bitmap = ext4_load_inode_bitmap(fs, &g);
    err = IS_ERR(bitmap) ? (int)PTR_ERR(bitmap) : 0;
    if (err == 0 && !bit_get(bitmap->data, at))
        err = ext4_corrupt(fs, "inode %u is freed twice", ino);
    if (err == 0)
        err = ext4_change(h, bitmap);
    if (err == 0)
        err = ext4_change(h, g.b);
    if (err == 0) {
        bit_clear(bitmap->data, at);
        ext4_group_set_free_inodes(fs, g.desc, ext4_group_free_inodes(fs, g.desc) + 1);
        uint32_t dirs = ext4_group_dirs(fs, g.desc);
        if (directory && dirs)
            ext4_group_set_dirs(fs, g.desc, dirs - 1);
        ext4_inode_bitmap_changed(fs, &g, bitmap);
        ext4_group_changed(fs, &g);
        fs->free_inodes++;
    }
    ext4_buffer_put(fs, bitmap);
    ext4_group_put(fs, &g);
    mutex_unlock(&fs->alloc_lock);
    return err;
}
