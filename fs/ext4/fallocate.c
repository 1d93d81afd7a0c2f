// fallocate(2): room that reads as zeroes (unwritten extents), holes, and zeroing.
// Lock: inode.lock is taken here.
#include "fs/ext4/ext4.h"
#include "fs/limit.h"
#include "fs/internal.h"
#include "kernel/process/signal.h"
#include "kernel/string.h"
#include <linux/falloc.h>

// Does the page read as zeroes, without a copy in memory?
static bool is_hole(struct inode *inode, uint64_t index) {
    uint32_t shift = PAGE_SHIFT - EXT4_FS(inode->sb)->block_shift;
    struct page *p = page_cache_peek(inode->cache, index);
    struct ext4_map m;
    if (p)
        page_unref(p);
    return !p && ext4_map_find(ext4_i(inode), (uint32_t)(index << shift), 1u << shift, &m) == 0 &&
           (!m.block || m.unwritten) && m.count >= 1u << shift;
}

// Bytes within one page.
static int zero_bytes(struct inode *inode, uint64_t from, uint64_t to) {
    if (from >= to || is_hole(inode, from >> PAGE_SHIFT))
        return 0;
    struct page *p =
        page_cache_get_write(inode->cache, from >> PAGE_SHIFT, from & ~PAGE_MASK, ((to - 1) & ~PAGE_MASK) + 1);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    memset((char *)page_to_virt(p) + (from & ~PAGE_MASK), 0, to - from);
    page_cache_dirty(inode->cache, p);
    page_unref(p);
    return 0;
}

// Pages at the end that are dropped are never written: the size on the disk would not grow with them.
static int update_disk_size(struct ext4_inode *i) {
    struct ext4_handle h;
    int err = i->disk_size < i->vfs.size ? ext4_begin(&h, EXT4_FS(i->vfs.sb), 2) : 1;
    if (err)
        return MIN(err, 0);
    rwmutex_write_lock(&i->map);
    i->disk_size = i->vfs.size;
    WRITE_ONCE(i->data_seq, h.t->seq);
    err = ext4_inode_write(&h, i);
    rwmutex_write_unlock(&i->map);
    ext4_end(&h);
    return err;
}

static int punch_hole(struct inode *inode, uint64_t offset, uint64_t end) {
    struct ext4_inode *i = ext4_i(inode);
    struct ext4_fs *fs = EXT4_FS(inode->sb);
    uint64_t size = inode->size;
    if (offset >= size)
        return 0;
    if (end >= size) // what lies behind the end goes, too
        end = ALIGN_UP(size, PAGE_SIZE);
    uint64_t first = DIV_ROUND_UP(offset, PAGE_SIZE), last = end >> PAGE_SHIFT;
    if (first > last)
        return zero_bytes(inode, offset, MIN(end, size));
    int err = zero_bytes(inode, offset, MIN(first << PAGE_SHIFT, MIN(end, size)));
    if (err == 0)
        err = zero_bytes(inode, last << PAGE_SHIFT, MIN(end, size));
    if (err == 0 && first < last)
        err = update_disk_size(i);
    if (err < 0 || first >= last)
        return err;
    uint32_t shift = PAGE_SHIFT - fs->block_shift;
    page_cache_drop(&i->cache, first, last - first);
    ext4_delayed_take(i, first, last);
    err = ext4_map_remove(i, (uint32_t)(first << shift), (uint32_t)MIN(last << shift, (uint64_t)EXT4_BLOCK_END));
    page_cache_drop(&i->cache, first, last - first); // whoever read meanwhile
    return err;
}

static int allocate_piece(struct ext4_inode *i, uint32_t at, uint32_t *count, uint64_t size) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    struct ext4_handle h;
    struct ext4_map m;
    int err = ext4_begin(&h, fs, CREDITS_MAP);
    if (err < 0)
        return err;
    rwmutex_write_lock(&i->map);
    err = ext4_map_allocate(&h, i, at, *count, true, 0, &m);
    if (err == 0) {
        *count = m.count;
        uint64_t end = MIN(size, (uint64_t)(at + m.count) << fs->block_shift);
        if (end > i->vfs.size) {
            WRITE_ONCE(i->vfs.size, end);
            i->disk_size = MAX(i->disk_size, end);
        }
        err = ext4_inode_write(&h, i);
    }
    rwmutex_write_unlock(&i->map);
    ext4_end(&h);
    return err;
}

// `size`: what the file grows to, 0 to leave it.
static int allocate_range(struct ext4_inode *i, uint64_t offset, uint64_t end, uint64_t size) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    uint64_t last = DIV_ROUND_UP(end, fs->block_size);
    for (uint64_t at = offset >> fs->block_shift; at < last;) {
        uint32_t count = (uint32_t)MIN(last - at, 1ul << 30), wanted = count;
        int err = allocate_piece(i, (uint32_t)at, &count, size);
        if (err == -ENOSPC && READ_ONCE(fs->pending)) {
            count = wanted;
            err = ext4_commit_all(fs);
            err = err < 0 ? err : allocate_piece(i, (uint32_t)at, &count, size);
        }
        if (err < 0)
            return err;
        at += count;
        if (thread_signal_pending())
            return -EINTR;
        sched_point();
    }
    return 0;
}

static int allocate_locked(struct ext4_inode *i, int mode, uint64_t offset, uint64_t end) {
    struct inode *inode = &i->vfs;
    int err = 0;
    if (i->flags & (EXT4_IMMUTABLE_FL | (mode & ~FALLOC_FL_KEEP_SIZE ? EXT4_APPEND_FL : 0)))
        return -EPERM;
    uint64_t old = inode->size, size = mode & FALLOC_FL_KEEP_SIZE ? 0 : MAX(end, old);
    if (mode & FALLOC_FL_PUNCH_HOLE)
        return punch_hole(inode, offset, end);
    if (!(i->flags & EXT4_EXTENTS_FL))
        return -EOPNOTSUPP;
    if (size > old && (err = file_size_limit(inode, size)) < 0)
        return err;
    if (mode & FALLOC_FL_ZERO_RANGE)
        err = punch_hole(inode, offset, end);
    // The rest of the old last block becomes visible.
    if (err == 0 && size > old && (old & ~PAGE_MASK))
        err = zero_bytes(inode, old, MIN(size, ALIGN_UP(old, PAGE_SIZE)));
    return err < 0 ? err : allocate_range(i, offset, end, size);
}

int ext4_allocate(struct file *f, int mode, uint64_t offset, uint64_t len) {
    struct ext4_inode *i = ext4_i(f->inode);
    struct ext4_fs *fs = EXT4_FS(f->inode->sb);
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        return -EOPNOTSUPP;
    if ((mode & FALLOC_FL_PUNCH_HOLE) && (mode & FALLOC_FL_ZERO_RANGE || !(mode & FALLOC_FL_KEEP_SIZE)))
        return -EOPNOTSUPP;
    bool punch = mode & FALLOC_FL_PUNCH_HOLE; // of a file whose own map is shorter, what all files may have counts
    if (offset + len > (punch ? superblock_size_max(f->inode->sb) : ext4_size_max(fs, i->flags & EXT4_EXTENTS_FL)))
        return -EFBIG;
    mutex_lock(&f->inode->lock);
    int err = allocate_locked(i, mode, offset, offset + len);
    if (err == 0) {
        f->inode->mtime = f->inode->ctime = inode_now();
        (void)inode_drop_privileges(f->inode);
        ext4_inode_mark(i);
    }
    mutex_unlock(&f->inode->lock);
    return err;
}
