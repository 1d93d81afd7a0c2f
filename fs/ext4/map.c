// Which block of a file lies where: extents or the older indirect blocks, with a memory of the extent that was found last. And the
// pages that have room reserved but no place yet (`delayed`): one entry a page, with the number of blocks reserved for it.
// Locks: ext4_inode.map for the tree; ext4_inode.lock for `found` and `delayed`.
#include "fs/ext4/ext4.h"

static void forget(struct ext4_inode *i) {
    spin_lock(&i->lock);
    i->found.start = 0;
    spin_unlock(&i->lock);
}

int ext4_map_find_locked(struct ext4_inode *i, uint32_t at, uint32_t max, struct ext4_map *out) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    spin_lock(&i->lock);
    bool known = i->found.start && at - i->found.block < i->found.count;
    if (known)
        *out = (struct ext4_map){i->found.start + (at - i->found.block), i->found.count - (at - i->found.block), false};
    spin_unlock(&i->lock);
    if (!known) {
        int err = i->flags & EXT4_EXTENTS_FL ? ext4_extent_find(i, at, out) : ext4_indirect_find(i, at, out);
        if (err < 0)
            return err;
        if (out->block && !ext4_data_blocks_valid(fs, out->block, out->count))
            return ext4_corrupt(fs, "inode %lu: block %u lies at %lu", i->vfs.ino, at, out->block);
        if (out->block && !out->unwritten) {
            spin_lock(&i->lock);
            i->found.block = at;
            i->found.count = out->count;
            i->found.start = out->block;
            spin_unlock(&i->lock);
        }
    }
    out->count = MIN(out->count, max);
    return 0;
}

int ext4_map_find(struct ext4_inode *i, uint32_t at, uint32_t max, struct ext4_map *out) {
    rwmutex_read_lock(&i->map);
    int err = ext4_map_find_locked(i, at, max, out);
    rwmutex_read_unlock(&i->map);
    return err;
}

// Behind the block before; else in the group of the inode.
uint64_t ext4_goal(struct ext4_inode *i) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    if (i->goal)
        return i->goal;
    return ext4_group_start(fs, (uint32_t)((i->vfs.ino - 1) / fs->inodes_per_group));
}

static uint64_t goal_for(struct ext4_inode *i, uint32_t at) {
    struct ext4_map m;
    if (at && ext4_map_find_locked(i, at - 1, 1, &m) == 0 && m.block)
        return m.block + 1;
    return ext4_goal(i);
}

static int allocate(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, bool unwritten,
                    unsigned flags, struct ext4_map *out) {
    struct ext4_map m;
    int err = ext4_map_find_locked(i, at, count, &m);
    if (err < 0)
        return err;
    forget(i);
    WRITE_ONCE(i->data_seq, h->t->seq);
    if (m.block) {
        *out = (struct ext4_map){m.block, m.count, unwritten && m.unwritten};
        return m.unwritten && !unwritten ? ext4_extent_convert(h, i, at, m.count) : 0;
    }
    if (!(i->flags & EXT4_EXTENTS_FL))
        return ext4_indirect_allocate(h, i, at, m.count, flags, out);
    uint32_t given = MIN(m.count, unwritten ? EXT4_EXTENT_MAX - 1u : (uint32_t)EXT4_EXTENT_MAX);
    uint64_t block;
    err = ext4_blocks_alloc(h, goal_for(i, at), &given, flags, &block);
    if (err < 0)
        return err;
    err = ext4_extent_insert(h, i, at, given, block, unwritten);
    if (err < 0) { // nothing points to them
        (void)ext4_blocks_free(h, block, given, false);
        return err;
    }
    i->goal = block + given;
    i->disk_blocks += (uint64_t)given << (EXT4_FS(i->vfs.sb)->block_shift - 9);
    *out = (struct ext4_map){block, given, unwritten};
    return 0;
}

int ext4_map_allocate(struct ext4_handle *h, struct ext4_inode *i, uint32_t at, uint32_t count, bool unwritten,
                      unsigned flags, struct ext4_map *out) {
    int err = allocate(h, i, at, count, unwritten, flags, out);
    if (err < 0) // the tree may have grown before: what it grew by belongs to the inode
        (void)ext4_inode_write(h, i);
    return err;
}

int ext4_map_remove(struct ext4_inode *i, uint32_t first, uint32_t end) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    for (;;) {
        struct ext4_handle h;
        int err = ext4_begin(&h, fs, CREDITS_MAP);
        if (err < 0)
            return err;
        rwmutex_write_lock(&i->map);
        forget(i);
        int more = i->flags & EXT4_EXTENTS_FL ? ext4_extent_remove(&h, i, first, end)
                                              : ext4_indirect_remove(&h, i, first, end);
        WRITE_ONCE(i->data_seq, h.t->seq);
        err = ext4_inode_write(&h, i);
        rwmutex_write_unlock(&i->map);
        ext4_end(&h);
        if (more < 0 || err < 0)
            return more < 0 ? more : err;
        if (!more)
            return 0;
        sched_point();
    }
}

// --- Delayed blocks ---

static uint32_t delayed_count(const struct page *entry) { return (uint32_t)((uintptr_t)entry >> 1); }

uint32_t ext4_delayed_get(struct ext4_inode *i, uint64_t page) {
    spin_lock(&i->lock);
    struct page *entry = pagetree_get(&i->delayed, page);
    spin_unlock(&i->lock);
    return delayed_count(entry);
}

int ext4_delayed_add(struct ext4_inode *i, uint64_t page, uint32_t count) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    int err = ext4_reserve(fs, count);
    if (err < 0)
        return err;
    spin_lock(&i->lock);
    err = pagetree_insert(&i->delayed, page, (struct page *)(uintptr_t)(count << 1 | 1));
    if (err == 0)
        i->delayed_count += count;
    spin_unlock(&i->lock);
    if (err < 0)
        ext4_unreserve(fs, count);
    return err == -EEXIST ? 0 : err;
}

void ext4_delayed_take(struct ext4_inode *i, uint64_t first, uint64_t end) {
    uint32_t taken = 0;
    uint64_t at = first;
    spin_lock(&i->lock);
    for (struct page *entry; i->delayed.count && (entry = pagetree_next(&i->delayed, &at)) && at < end;) {
        pagetree_remove(&i->delayed, at);
        taken += delayed_count(entry);
    }
    i->delayed_count -= taken;
    spin_unlock(&i->lock);
    if (taken)
        ext4_unreserve(EXT4_FS(i->vfs.sb), taken);
}
