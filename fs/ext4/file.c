// Regular files: opening, writing, truncation, fsync, and where data and holes lie.
// Lock: inode.lock for truncate; see ext4.h.
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/string.h"
#include <linux/fs.h>

static int file_open(struct file *f) {
    struct ext4_inode *i = ext4_i(f->inode);
    if ((i->flags & EXT4_IMMUTABLE_FL) && f->writable)
        return -EPERM;
    if ((i->flags & EXT4_APPEND_FL) && ((f->writable && !(f->flags & O_APPEND)) || (f->flags & O_TRUNC)))
        return -EPERM;
    return 0;
}

// O_DIRECT goes through the cache as well, but asks of its user what a disk would: places and pieces are whole sectors.
static bool aligned(const struct file *f, const struct uio *u, uint64_t pos) {
    uint64_t bits = pos | u->left, mask = f->inode->sb->direct_align - 1;
    const struct uio_vec *v = u->vec;
    for (size_t left = u->left, n; left; left -= n, v++) {
        n = MIN(v->len, left);
        bits |= n;
    }
    return !(bits & mask);
}

static int64_t file_read_data(struct file *f, struct uio *u, uint64_t *pos) {
    if (unlikely(f->flags & O_DIRECT) && u->left && *pos < READ_ONCE(f->inode->size) && !aligned(f, u, *pos))
        return -EINVAL;
    return page_cache_read_file(f, u, pos);
}

static int64_t file_write_data(struct file *f, struct uio *u, uint64_t *pos) {
    struct ext4_inode *i = ext4_i(f->inode);
    if (unlikely(i->flags & EXT4_IMMUTABLE_FL))
        return -EPERM;
    uint64_t most = ext4_size_max(EXT4_FS(f->inode->sb), i->flags & EXT4_EXTENTS_FL);
    if (unlikely(*pos >= most && u->left && !(f->flags & O_APPEND)))
        return -EFBIG;
    if (unlikely(f->flags & O_DIRECT) && u->left && !aligned(f, u, f->flags & O_APPEND ? f->inode->size : *pos))
        return -EINVAL;
    return page_cache_write_file(f, u, pos);
}

static int file_fsync(struct file *f, bool data_only) {
    int err = page_cache_fsync(f, data_only);
    int meta = ext4_inode_sync(ext4_i(f->inode), data_only);
    return err < 0 ? err : meta;
}

// --- truncate(2) ---

// What lies behind the new end in its block becomes zero on the disk, too: others rely on it.
static int zero_rest(struct inode *inode, uint64_t size) {
    struct ext4_fs *fs = EXT4_FS(inode->sb);
    struct ext4_map m;
    uint32_t inside = (uint32_t)(size & (fs->block_size - 1));
    if (!inside || ext4_map_find(ext4_i(inode), (uint32_t)(size >> fs->block_shift), 1, &m) < 0 || !m.block ||
        m.unwritten)
        return 0;
    unsigned from = size & ~PAGE_MASK, to = from - inside + fs->block_size;
    struct page *p = page_cache_get_write(inode->cache, size >> PAGE_SHIFT, from, to);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    memset((char *)page_to_virt(p) + from, 0, to - from);
    page_cache_dirty(inode->cache, p);
    page_unref(p);
    return 0;
}

static int set_size(struct ext4_inode *i, uint64_t size, bool orphan) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    struct ext4_handle h;
    int err = ext4_begin(&h, fs, 2 + CREDITS_ORPHAN);
    if (err < 0)
        return err;
    if (orphan)
        err = ext4_orphan_add(&h, i);
    if (err == 0) {
        uint64_t old = i->vfs.size, old_disk = i->disk_size;
        rwmutex_write_lock(&i->map);
        WRITE_ONCE(i->vfs.size, size);
        i->disk_size = size;
        WRITE_ONCE(i->data_seq, h.t->seq);
        i->vfs.mtime = i->vfs.ctime = inode_now();
        err = ext4_inode_write(&h, i);
        if (err < 0) {
            WRITE_ONCE(i->vfs.size, old);
            i->disk_size = old_disk;
        }
        rwmutex_write_unlock(&i->map);
    }
    ext4_end(&h);
    return err;
}

static int orphan_done(struct ext4_inode *i) {
    struct ext4_handle h;
    int err = i->linked_orphan && i->vfs.nlink ? ext4_begin(&h, EXT4_FS(i->vfs.sb), CREDITS_ORPHAN) : 1;
    if (err)
        return MIN(err, 0);
    err = ext4_orphan_remove(&h, i);
    ext4_end(&h);
    return err;
}

int ext4_truncate(struct inode *inode, uint64_t size) {
    struct ext4_inode *i = ext4_i(inode);
    struct ext4_fs *fs = EXT4_FS(inode->sb);
    uint64_t old = inode->size;
    if (i->flags & (EXT4_IMMUTABLE_FL | EXT4_APPEND_FL))
        return -EPERM;
    if (size > ext4_size_max(fs, i->flags & EXT4_EXTENTS_FL))
        return -EFBIG;
    if (size >= old) {
        int err = page_cache_zero_tail(&i->cache, old, size);
        return err < 0 ? err : set_size(i, size, false);
    }
    uint32_t first = (uint32_t)DIV_ROUND_UP(size, fs->block_size);
    struct ext4_map m;
    int err = ext4_map_find(i, first, EXT4_BLOCK_END - first, &m);
    if (err == 0)
        err = zero_rest(inode, size);
    if (err == 0)
        err = set_size(i, size, true);
    if (err < 0)
        return err;
    page_cache_truncated(&i->cache, old);
    ext4_delayed_take(i, DIV_ROUND_UP(size, PAGE_SIZE), ~0ul);
    err = ext4_map_remove(i, first, EXT4_BLOCK_END);
    return err < 0 ? err : orphan_done(i);
}

// --- SEEK_DATA, SEEK_HOLE ---

// What is still in memory alone gets its place first; then the map knows.
static int64_t find_boundary(struct ext4_inode *i, uint64_t offset, bool data) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    uint64_t size = i->vfs.size;
    if (offset >= size)
        return -ENXIO;
    if (READ_ONCE(i->cache.dirty) || READ_ONCE(i->cache.writing)) {
        int err = page_cache_sync(&i->cache, 0, ~0ul);
        if (err < 0)
            return err;
    }
    for (uint64_t at = offset >> fs->block_shift; at << fs->block_shift < size;) {
        struct ext4_map m;
        int err = ext4_map_find(i, (uint32_t)at, EXT4_BLOCK_END - (uint32_t)at, &m);
        if (err < 0)
            return err;
        if ((m.block && !m.unwritten) == data)
            return (int64_t)MAX(offset, at << fs->block_shift);
        at += m.count;
        sched_point();
    }
    return data ? -ENXIO : (int64_t)size;
}

int64_t ext4_seek(struct file *f, int64_t offset, int whence) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return file_seek_limited(f, offset, whence, f->inode->size,
                                 ext4_size_max(EXT4_FS(f->inode->sb), ext4_i(f->inode)->flags & EXT4_EXTENTS_FL));
    if (offset < 0)
        return -ENXIO;
    mutex_lock(&f->inode->lock);
    int64_t at = find_boundary(ext4_i(f->inode), (uint64_t)offset, whence == SEEK_DATA);
    mutex_unlock(&f->inode->lock);
    if (at >= 0)
        f->position = (uint64_t)at;
    return at;
}

const struct file_ops ext4_file_ops = {
    .direct = true,
    .open = file_open,
    .read = file_read_data,
    .write = file_write_data,
    .share = page_cache_share_file,
    .seek = ext4_seek,
    .map = page_cache_map,
    .ioctl = ext4_ioctl,
    .allocate = ext4_allocate,
    .fsync = file_fsync,
};
