// Orphans: inodes without a name that are still open, and files that are being cut. The superblock points to the newest, each inode's
// field of the time of deletion to the next. After a power cut the mount frees or cuts them.
// Lock: ext4_fs.orphan_lock.
#include "fs/ext4/ext4.h"
#include "kernel/string.h"

int ext4_orphan_add(struct ext4_handle *h, struct ext4_inode *i) {
    struct ext4_fs *fs = h->fs;
    mutex_lock(&fs->orphan_lock);
    if (i->linked_orphan) {
        mutex_unlock(&fs->orphan_lock);
        return 0;
    }
    int err = ext4_super_change(h);
    uint32_t old = i->next_orphan;
    if (err == 0) {
        i->next_orphan = fs->super->last_orphan;
        err = ext4_inode_write(h, i);
    }
    if (err == 0) {
        fs->super->last_orphan = (uint32_t)i->vfs.ino;
        ext4_super_changed(fs);
        i->linked_orphan = true;
        list_push_front(&fs->orphans, &i->orphan);
    } else {
        i->next_orphan = old;
    }
    mutex_unlock(&fs->orphan_lock);
    return err;
}

int ext4_orphan_remove(struct ext4_handle *h, struct ext4_inode *i) {
    struct ext4_fs *fs = h->fs;
    int err = 0;
    mutex_lock(&fs->orphan_lock);
    if (i->linked_orphan) {
        if (i->orphan.prev == &fs->orphans) {
            err = ext4_super_change(h);
            if (err == 0) {
                fs->super->last_orphan = i->next_orphan;
                ext4_super_changed(fs);
            }
        } else {
            struct ext4_inode *previous = list_entry(i->orphan.prev, struct ext4_inode, orphan);
            uint32_t old = previous->next_orphan;
            previous->next_orphan = i->next_orphan;
            err = ext4_inode_write(h, previous);
            if (err < 0)
                previous->next_orphan = old;
        }
        if (err == 0) {
            list_remove(&i->orphan);
            i->linked_orphan = false;
            i->next_orphan = 0;
            err = ext4_inode_write(h, i);
        }
    }
    mutex_unlock(&fs->orphan_lock);
    return err;
}

// One that a power cut left: without links it goes with its last reference, otherwise what lies behind its size is cut.
static int clean(struct ext4_fs *fs, struct ext4_inode *i) {
    int err = 0;
    if (i->vfs.nlink && S_ISREG(i->vfs.mode)) {
        uint32_t first = (uint32_t)MIN(DIV_ROUND_UP(i->disk_size, fs->block_size), (uint64_t)EXT4_BLOCK_END);
        err = ext4_map_remove(i, first, EXT4_BLOCK_END);
    }
    struct ext4_handle h;
    if (err == 0 && i->vfs.nlink && (err = ext4_begin(&h, fs, CREDITS_ORPHAN)) == 0) {
        err = ext4_orphan_remove(&h, i);
        ext4_end(&h);
    }
    inode_unref(&i->vfs);
    return err;
}

// The newer way: a file with numbers of orphans. What is in it is moved into the list's treatment.
static int clean_file(struct ext4_fs *fs, unsigned *count) {
    struct inode *inode = ext4_inode_get(fs->sb, fs->super->orphan_file_inum);
    if (IS_ERR(inode))
        return (int)PTR_ERR(inode);
    struct ext4_inode *file = ext4_i(inode);
    uint32_t blocks = (uint32_t)MIN(inode->size >> fs->block_shift, 1ul << 20), slots = (fs->block_size - 8) / 4;
    int err = 0;
    for (uint32_t at = 0; at < blocks && err == 0; at++) {
        struct ext4_map m;
        err = ext4_map_find(file, at, 1, &m);
        if (err < 0 || !m.block)
            continue;
        struct ext4_buffer *b = ext4_buffer_read(fs, m.block);
        if (IS_ERR(b)) {
            err = (int)PTR_ERR(b);
            break;
        }
        uint32_t *entry = (uint32_t *)b->data, *tail = entry + slots;
        if (tail[0] != EXT4_ORPHAN_FILE_MAGIC)
            err = ext4_corrupt(fs, "the file of orphans is damaged");
        for (uint32_t k = 0; k < slots && err == 0; k++) {
            if (!entry[k])
                continue;
            struct inode *orphan = ext4_inode_get_orphan(fs->sb, entry[k]);
            if (!IS_ERR(orphan)) {
                err = clean(fs, ext4_i(orphan));
                ++*count;
            }
            struct ext4_handle h;
            if (err == 0 && (err = ext4_begin(&h, fs, 1)) == 0) {
                err = ext4_change(&h, b);
                if (err == 0)
                    entry[k] = 0;
                uint32_t sum = ext4_crc32c(file->seed, &b->block, 8);
                tail[1] = ext4_crc32c(sum, b->data, slots * 4);
                ext4_end(&h);
            }
        }
        ext4_buffer_put(fs, b);
    }
    inode_unref(inode);
    return err;
}

int ext4_orphans_clean(struct ext4_fs *fs) {
    unsigned count = 0;
    int err = 0;
    if ((fs->compat & COMPAT_ORPHAN_FILE) && (fs->ro_compat & RO_ORPHAN_PRESENT)) {
        err = clean_file(fs, &count);
        struct ext4_handle h;
        if (err == 0 && (err = ext4_begin(&h, fs, 1)) == 0) {
            err = ext4_super_change(&h);
            if (err == 0) {
                fs->super->feature_ro_compat &= ~(uint32_t)RO_ORPHAN_PRESENT;
                ext4_super_changed(fs);
            }
            ext4_end(&h);
        }
    }
    while (err == 0 && fs->super->last_orphan) {
        uint32_t ino = fs->super->last_orphan;
        struct inode *inode =
            ino >= fs->first_ino && ino <= fs->inodes ? ext4_inode_get_orphan(fs->sb, ino) : ERR_PTR(-EUCLEAN);
        if (IS_ERR(inode))
            return ext4_corrupt(fs, "the list of orphans has inode %u", ino);
        struct ext4_inode *i = ext4_i(inode);
        mutex_lock(&fs->orphan_lock);
        bool again = i->linked_orphan || count++ > fs->inodes;
        if (!again) {
            i->linked_orphan = true;
            list_push_front(&fs->orphans, &i->orphan);
        }
        mutex_unlock(&fs->orphan_lock);
        if (again) {
            inode_unref(inode);
            return ext4_corrupt(fs, "the list of orphans is a circle");
        }
        err = clean(fs, i);
        if (err == 0 && fs->super->last_orphan == ino)
            return ext4_corrupt(fs, "orphan %u cannot be freed", ino);
    }
    if (count)
        log_info("ext4 (%s): %u orphans cleaned up", fs->dev->name, count);
    return err;
}
