// Inodes: from the disk, to the disk, attributes, the end of one. What is in memory is written to the inode's buffer whole, under a
// handle; times alone may lie a while in memory (`dirty`), and the inode holds itself until then.
// Locks: ext4_inode.lock while the buffer's bytes are made; ext4_fs.lock for the list of dirty ones.
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/string.h"
#include <linux/fs.h>

static struct slab_cache inode_cache = SLAB_CACHE("ext4_inode", sizeof(struct ext4_inode), 8);

int ext4_inode_locate(struct ext4_fs *fs, uint32_t ino, struct ext4_buffer **b, uint32_t *offset) {
    if (ino == 0 || ino > fs->inodes)
        return ext4_corrupt(fs, "there is no inode %u", ino);
    uint32_t group = (ino - 1) / fs->inodes_per_group, at = (ino - 1) % fs->inodes_per_group;
    struct ext4_group_ref g;
    int err = ext4_group_get(fs, group, &g);
    if (err < 0)
        return err;
    uint64_t byte = (uint64_t)at * fs->inode_size, block = ext4_inode_table(fs, g.desc) + (byte >> fs->block_shift);
    ext4_group_put(fs, &g);
    *b = ext4_buffer_read(fs, block);
    *offset = (uint32_t)(byte & (fs->block_size - 1));
    return IS_ERR(*b) ? (int)PTR_ERR(*b) : 0;
}

// --- Checksum ---

static bool has_field(const struct ext4_fs *fs, const struct ext4_disk_inode *d, uint32_t end) {
    return fs->inode_size > EXT4_GOOD_INODE_SIZE && EXT4_GOOD_INODE_SIZE + (uint32_t)d->extra_isize >= end;
}
#define HAS_FIELD(fs, d, field) has_field(fs, d, offsetof(struct ext4_disk_inode, field) + sizeof((d)->field))

static uint32_t inode_sum(const struct ext4_fs *fs, uint32_t seed, struct ext4_disk_inode *d) {
    uint16_t lo = d->checksum_lo, hi = 0;
    bool wide = HAS_FIELD(fs, d, checksum_hi);
    d->checksum_lo = 0;
    if (wide) {
        hi = d->checksum_hi;
        d->checksum_hi = 0;
    }
    uint32_t sum = ext4_crc32c(seed, d, fs->inode_size);
    d->checksum_lo = lo;
    if (wide)
        d->checksum_hi = hi;
    return wide ? sum : sum & 0xffff;
}

void ext4_inode_seal(struct ext4_fs *fs, struct ext4_inode *i, uint8_t *raw) {
    struct ext4_disk_inode *d = (struct ext4_disk_inode *)raw;
    if (!fs->csum)
        return;
    uint32_t sum = inode_sum(fs, i->seed, d);
    d->checksum_lo = (uint16_t)sum;
    if (HAS_FIELD(fs, d, checksum_hi))
        d->checksum_hi = (uint16_t)(sum >> 16);
}

static void set_seed(struct ext4_inode *i) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    uint32_t ino = (uint32_t)i->vfs.ino;
    i->seed = ext4_crc32c(ext4_crc32c(fs->seed, &ino, 4), &i->generation, 4);
}

// --- Times: 34 bits of seconds and 30 of nanoseconds ---

static nsec_t time_decode(uint32_t seconds, uint32_t extra) {
    int64_t s = (int64_t)(int32_t)seconds + ((int64_t)(extra & 3) << 32);
    uint32_t n = extra >> 2;
    if (s > INT64_MAX / NSEC_PER_SEC - 1) // the year 2262
        s = INT64_MAX / NSEC_PER_SEC - 1;
    return s * NSEC_PER_SEC + (n < NSEC_PER_SEC ? n : 0);
}

static uint32_t time_encode(nsec_t t, bool wide, uint32_t *extra) {
    int64_t s = t / NSEC_PER_SEC, n = t % NSEC_PER_SEC;
    if (n < 0) {
        n += NSEC_PER_SEC;
        s--;
    }
    s = MAX(s, (int64_t)INT32_MIN);
    if (!wide)
        s = MIN(s, (int64_t)INT32_MAX);
    *extra = (uint32_t)((s - (int32_t)s) >> 32 & 3) | (uint32_t)n << 2;
    return (uint32_t)s;
}

#define DECODE(fs, d, name) time_decode((d)->name, HAS_FIELD(fs, d, name##_extra) ? (d)->name##_extra : 0)
#define ENCODE(fs, d, field, t)                                                                                        \
    do {                                                                                                               \
        uint32_t extra_;                                                                                               \
        bool wide_ = HAS_FIELD(fs, d, field##_extra);                                                                  \
        (d)->field = time_encode(t, wide_, &extra_);                                                                   \
        if (wide_)                                                                                                     \
            (d)->field##_extra = extra_;                                                                               \
    } while (0)

// --- From the disk ---

static void set_operations(struct ext4_inode *i) {
    struct inode *inode = &i->vfs;
    if (S_ISREG(inode->mode)) {
        inode->ops = &ext4_file_inode_ops;
        inode->file_ops = &ext4_file_ops;
        page_cache_init(&i->cache, inode, &ext4_cache_ops);
        inode->cache = &i->cache;
    } else if (S_ISDIR(inode->mode)) {
        inode->ops = &ext4_dir_inode_ops;
        inode->file_ops = &ext4_dir_ops;
    } else if (S_ISLNK(inode->mode)) {
        inode->ops = &ext4_link_inode_ops;
    } else {
        inode->ops = &ext4_special_inode_ops;
    }
}

static struct ext4_inode *inode_alloc(struct superblock *sb, uint32_t ino, uint32_t mode) {
    struct ext4_inode *i = slab_zalloc(&inode_cache);
    if (!i)
        return NULL;
    inode_init(&i->vfs, sb, &ext4_special_inode_ops, mode);
    i->vfs.ino = ino;
    list_init(&i->orphan);
    list_init(&i->dirty_link);
    rwmutex_init(&i->map);
    set_operations(i);
    return i;
}

static void inode_discard(struct ext4_inode *i) {
    if (i->vfs.cache)
        page_cache_destroy(&i->cache);
    slab_free(&inode_cache, i);
}

uint64_t ext4_size_max(const struct ext4_fs *fs, bool extents) {
    if (extents)
        return (uint64_t)EXT4_BLOCK_END << fs->block_shift;
    uint64_t per = fs->block_size / 4, blocks = 12 + per + per * per + per * per * per;
    return MIN(blocks, (uint64_t)EXT4_BLOCK_END) << fs->block_shift;
}

static uint64_t rdev_decode(const struct ext4_disk_inode *d) {
    uint32_t old = d->block[0], new = d->block[1];
    return old ? MAKE_DEV(old >> 8 & 0xff, old & 0xff)
               : MAKE_DEV((new & 0xfff00) >> 8, (new & 0xff) | (new >> 12 & 0xfff00));
}

static int check_disk_inode(struct ext4_fs *fs, uint32_t ino, struct ext4_disk_inode *d) {
    if (fs->inode_size > EXT4_GOOD_INODE_SIZE &&
        ((d->extra_isize & 3) || d->extra_isize > fs->inode_size - EXT4_GOOD_INODE_SIZE))
        return ext4_corrupt(fs, "inode %u: bad extra size %u", ino, d->extra_isize);
    if (!fs->csum)
        return 0;
    uint32_t sum = d->checksum_lo | (HAS_FIELD(fs, d, checksum_hi) ? (uint32_t)d->checksum_hi << 16 : 0);
    uint32_t seed = ext4_crc32c(ext4_crc32c(fs->seed, &ino, 4), &d->generation, 4);
    return sum == inode_sum(fs, seed, d) ? 0 : ext4_corrupt(fs, "inode %u: wrong checksum", ino);
}

static int fill(struct ext4_fs *fs, struct ext4_inode *i, struct ext4_disk_inode *d) {
    struct inode *inode = &i->vfs;
    inode->mode = d->mode;
    inode->uid = d->uid_lo | (uint32_t)d->uid_hi << 16;
    inode->gid = d->gid_lo | (uint32_t)d->gid_hi << 16;
    inode->nlink = d->links;
    inode->size = d->size_lo | (S_ISREG(d->mode) ? (uint64_t)d->size_hi << 32 : 0);
    inode->atime = DECODE(fs, d, atime);
    inode->mtime = DECODE(fs, d, mtime);
    inode->ctime = DECODE(fs, d, ctime);
    inode->btime = HAS_FIELD(fs, d, crtime)
                       ? time_decode(d->crtime, HAS_FIELD(fs, d, crtime_extra) ? d->crtime_extra : 0)
                       : inode->ctime;
    i->flags = d->flags;
    i->generation = d->generation;
    i->extra_isize = fs->inode_size > EXT4_GOOD_INODE_SIZE ? d->extra_isize : 0;
    i->xattr_block = d->file_acl_lo | (fs->incompat & INCOMPAT_64BIT ? (uint64_t)d->file_acl_hi << 32 : 0);
    i->disk_size = inode->size;
    i->disk_blocks = d->blocks_lo | (fs->ro_compat & RO_HUGE_FILE ? (uint64_t)d->blocks_hi << 32 : 0);
    if (i->flags & EXT4_HUGE_FILE_FL)
        i->disk_blocks <<= fs->block_shift - 9;
    i->next_orphan = d->dtime;
    memcpy(i->block, d->block, sizeof(i->block));
    set_seed(i);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        inode->rdev = rdev_decode(d);
    uint32_t type = inode->mode & S_IFMT;
    if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK && type != S_IFCHR && type != S_IFBLK &&
        type != S_IFIFO && type != S_IFSOCK)
        return ext4_corrupt(fs, "inode %lu: bad mode %o", inode->ino, inode->mode);
    if (i->flags & (EXT4_INLINE_DATA_FL | EXT4_ENCRYPT_FL | EXT4_EA_INODE_FL))
        return ext4_corrupt(fs, "inode %lu: flags %x without the features", inode->ino, i->flags);
    if ((i->flags & EXT4_EXTENTS_FL) && !(fs->incompat & INCOMPAT_EXTENTS))
        return ext4_corrupt(fs, "inode %lu has extents, the file system has not", inode->ino);
    if (inode->size > MAX(ext4_size_max(fs, i->flags & EXT4_EXTENTS_FL), 60ul) ||
        (S_ISDIR(inode->mode) && inode->size >> 31) || (S_ISDIR(inode->mode) && (inode->size & (fs->block_size - 1))) ||
        (S_ISLNK(inode->mode) && inode->size >= fs->block_size))
        return ext4_corrupt(fs, "inode %lu: bad size %lu", inode->ino, inode->size);
    if (i->xattr_block && !ext4_data_blocks_valid(fs, i->xattr_block, 1))
        return ext4_corrupt(fs, "inode %lu: attributes in block %lu", inode->ino, i->xattr_block);
    return 0;
}

bool ext4_inode_in_memory(const struct ext4_inode *i) {
    return S_ISLNK(i->vfs.mode) && i->vfs.size < sizeof(i->block) && !(i->flags & EXT4_EXTENTS_FL) &&
           i->disk_blocks <= (i->xattr_block ? EXT4_FS(i->vfs.sb)->block_size / 512 : 0);
}

static struct inode *read_inode(struct superblock *sb, uint32_t ino, bool unlinked) {
    struct ext4_fs *fs = EXT4_FS(sb);
    struct ext4_buffer *b;
    uint32_t offset;
    int err = ext4_inode_locate(fs, ino, &b, &offset);
    if (err < 0)
        return ERR_PTR(err);
    // A copy: a neighbour in the buffer may be written meanwhile, and the checksum's fields are cleared for a moment.
    struct ext4_disk_inode *d = kmalloc(fs->inode_size);
    if (d)
        memcpy(d, b->data + offset, fs->inode_size);
    ext4_buffer_put(fs, b);
    if (!d)
        return ERR_PTR(-ENOMEM);
    struct ext4_inode *i = NULL;
    if (d->links == 0 && (d->mode == 0 || !unlinked))
        err = -ESTALE;
    else
        err = check_disk_inode(fs, ino, d);
    if (err == 0 && !(i = inode_alloc(sb, ino, d->mode)))
        err = -ENOMEM;
    if (err == 0)
        err = fill(fs, i, d);
    kfree(d);
    if (err < 0) {
        if (i)
            inode_discard(i);
        return ERR_PTR(err);
    }
    struct inode *there = inode_table_add(&i->vfs);
    if (there != &i->vfs)
        inode_discard(i);
    return there;
}

struct inode *ext4_inode_get(struct superblock *sb, uint32_t ino) {
    struct inode *inode = inode_table_find(sb, ino);
    return inode ? inode : read_inode(sb, ino, false);
}

struct inode *ext4_inode_get_orphan(struct superblock *sb, uint32_t ino) {
    struct inode *inode = inode_table_find(sb, ino);
    return inode ? inode : read_inode(sb, ino, true);
}

// --- To the disk ---

static void put_rdev(struct ext4_disk_inode *d, uint64_t rdev) {
    unsigned major = DEV_MAJOR(rdev), minor = DEV_MINOR(rdev);
    bool old = major < 256 && minor < 256;
    d->block[0] = old ? major << 8 | minor : 0;
    d->block[1] = old ? 0 : (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
    memset(&d->block[2], 0, sizeof(d->block) - 8);
}

static void make_disk_inode(struct ext4_fs *fs, struct ext4_inode *i, struct ext4_disk_inode *d) {
    struct inode *inode = &i->vfs;
    uint64_t size = S_ISREG(inode->mode) ? i->disk_size : inode->size, blocks = i->disk_blocks;
    d->mode = (uint16_t)inode->mode;
    d->uid_lo = (uint16_t)inode->uid;
    d->uid_hi = (uint16_t)(inode->uid >> 16);
    d->gid_lo = (uint16_t)inode->gid;
    d->gid_hi = (uint16_t)(inode->gid >> 16);
    d->links = (uint16_t)inode->nlink;
    d->size_lo = (uint32_t)size;
    d->size_hi = (uint32_t)(size >> 32);
    if (fs->inode_size > EXT4_GOOD_INODE_SIZE)
        d->extra_isize = i->extra_isize;
    ENCODE(fs, d, atime, inode->atime);
    ENCODE(fs, d, mtime, inode->mtime);
    ENCODE(fs, d, ctime, inode->ctime);
    if (HAS_FIELD(fs, d, crtime) && HAS_FIELD(fs, d, crtime_extra))
        ENCODE(fs, d, crtime, inode->btime);
    d->dtime = i->next_orphan;
    bool huge = blocks >> 48 && (fs->ro_compat & RO_HUGE_FILE);
    i->flags = huge ? i->flags | EXT4_HUGE_FILE_FL : i->flags & ~(uint32_t)EXT4_HUGE_FILE_FL;
    if (huge)
        blocks >>= fs->block_shift - 9;
    d->blocks_lo = (uint32_t)blocks;
    d->blocks_hi = (uint16_t)(blocks >> 32);
    d->flags = i->flags;
    d->generation = i->generation;
    d->file_acl_lo = (uint32_t)i->xattr_block;
    d->file_acl_hi = (uint16_t)(i->xattr_block >> 32);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        put_rdev(d, inode->rdev);
    else
        memcpy(d->block, i->block, sizeof(d->block));
    ext4_inode_seal(fs, i, (uint8_t *)d);
}

static int write_inode(struct ext4_handle *h, struct ext4_inode *i, bool new) {
    struct ext4_fs *fs = h->fs;
    struct ext4_buffer *b;
    uint32_t offset;
    int err = ext4_inode_locate(fs, (uint32_t)i->vfs.ino, &b, &offset);
    if (err < 0)
        return err;
    err = ext4_change(h, b);
    if (err == 0) {
        spin_lock(&i->lock);
        if (new)
            memset(b->data + offset, 0, fs->inode_size);
        WRITE_ONCE(i->dirty, false);
        make_disk_inode(fs, i, (struct ext4_disk_inode *)(b->data + offset));
        WRITE_ONCE(i->seq, h->t->seq);
        spin_unlock(&i->lock);
    }
    ext4_buffer_put(fs, b);
    return err;
}

int ext4_inode_write(struct ext4_handle *h, struct ext4_inode *i) { return write_inode(h, i, false); }

// --- Times that lie in memory ---

void ext4_inode_mark(struct ext4_inode *i) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    if (READ_ONCE(i->dirty) || fs->read_only)
        return;
    WRITE_ONCE(i->dirty, true);
    spin_lock(&fs->lock);
    bool first = list_empty(&i->dirty_link);
    if (first) {
        list_push_back(&fs->dirty, &i->dirty_link);
        inode_ref(&i->vfs);
    }
    spin_unlock(&fs->lock);
    if (first)
        ext4_thread_wake(fs);
}

static int write_if_dirty(struct ext4_inode *i) {
    if (!READ_ONCE(i->dirty))
        return 0;
    struct ext4_handle h;
    int err = ext4_begin(&h, EXT4_FS(i->vfs.sb), 2);
    if (err < 0)
        return err;
    err = ext4_inode_write(&h, i);
    ext4_end(&h);
    return err;
}

int ext4_inodes_write(struct ext4_fs *fs) {
    struct list now;
    int err = 0;
    list_init(&now);
    spin_lock(&fs->lock);
    while (!list_empty(&fs->dirty)) {
        struct list *link = fs->dirty.next;
        list_remove(link);
        list_push_back(&now, link);
    }
    spin_unlock(&fs->lock);
    for (;;) {
        struct ext4_inode *i = NULL;
        spin_lock(&fs->lock);
        if (!list_empty(&now)) {
            i = list_first(&now, struct ext4_inode, dirty_link);
            list_remove(&i->dirty_link);
        }
        spin_unlock(&fs->lock);
        if (!i)
            return err;
        int e = write_if_dirty(i);
        err = err ? err : e;
        inode_unref(&i->vfs);
    }
}

int ext4_inode_sync(struct ext4_inode *i, bool data_only) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    int err = data_only ? 0 : write_if_dirty(i);
    uint32_t seq = data_only ? READ_ONCE(i->data_seq) : READ_ONCE(i->seq);
    if (err < 0)
        return err;
    // Written data may be in the device's cache even when no transaction is needed; a commit flushes.
    if (seq && ext4_seq_after(seq, READ_ONCE(fs->journal.committed)))
        return ext4_commit(fs, seq);
    return ext4_flush(fs);
}

// --- Attributes ---

void ext4_inode_update(struct inode *inode) {
    struct ext4_inode *i = ext4_i(inode);
    inode->blocks = i->disk_blocks + (READ_ONCE(i->delayed_count) << (EXT4_FS(inode->sb)->block_shift - 9));
}

int ext4_set_attributes(struct inode *inode, const struct attributes *a) {
    struct ext4_inode *i = ext4_i(inode);
    struct ext4_fs *fs = EXT4_FS(inode->sb);
    if ((i->flags & (EXT4_IMMUTABLE_FL | EXT4_APPEND_FL)) && (a->valid & (ATTR_MODE | ATTR_UID | ATTR_GID)))
        return -EPERM;
    if (!(a->valid & (ATTR_MODE | ATTR_UID | ATTR_GID))) { // times alone may wait
        if (fs->read_only)
            return -EROFS;
        attributes_apply(inode, a);
        ext4_inode_mark(i);
        return READ_ONCE(fs->journal.aborted) ? -EROFS : 0;
    }
    struct attributes old = {a->valid, inode->mode, inode->uid, inode->gid, inode->atime, inode->mtime, inode->ctime};
    struct ext4_handle h;
    int err = ext4_begin(&h, fs, 2);
    if (err < 0)
        return err;
    attributes_apply(inode, a);
    err = ext4_inode_write(&h, i);
    if (err < 0)
        attributes_apply(inode, &old);
    ext4_end(&h);
    return err;
}

// --- New ones, and the end ---

static void inherit_group(struct inode *inode, const struct inode *dir) {
    if (!(dir->mode & S_ISGID))
        return;
    inode->gid = dir->gid;
    if (!S_ISDIR(inode->mode) && (inode->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
        !credentials_in_group(dir->gid) && !capable(CAP_FSETID))
        inode->mode &= ~S_ISGID;
}

struct inode *ext4_inode_new(struct ext4_handle *h, struct inode *dir, uint32_t mode, uint64_t rdev) {
    struct ext4_fs *fs = h->fs;
    struct ext4_inode *i = inode_alloc(dir->sb, 0, mode);
    if (!i)
        return ERR_PTR(-ENOMEM);
    uint32_t ino;
    int err = ext4_inode_number_alloc(h, dir, S_ISDIR(mode), &ino, &i->generation);
    if (err < 0) {
        inode_discard(i);
        return ERR_PTR(err);
    }
    i->vfs.ino = ino;
    i->vfs.rdev = rdev;
    i->vfs.nlink = S_ISDIR(mode) ? 2 : 1;
    inherit_group(&i->vfs, dir);
    i->flags = ext4_i(dir)->flags & EXT4_INHERITED_FLAGS & (S_ISDIR(mode) ? ~0u : ~(uint32_t)EXT4_DIRSYNC_FL);
    if (S_ISLNK(mode) || (!S_ISREG(mode) && !S_ISDIR(mode)))
        i->flags &= EXT4_NODUMP_FL | EXT4_NOATIME_FL;
    i->extra_isize = fs->inode_size > EXT4_GOOD_INODE_SIZE ? (uint16_t)fs->want_extra_isize : 0;
    if (fs->has_extents && (S_ISREG(mode) || S_ISDIR(mode)))
        ext4_extent_init(i);
    set_seed(i);
    i->data_seq = h->t->seq;
    err = write_inode(h, i, true);
    if (err < 0) {
        (void)ext4_inode_number_free(h, ino, S_ISDIR(mode));
        inode_discard(i);
        return ERR_PTR(err);
    }
    struct inode *there = inode_table_add(&i->vfs);
    if (there != &i->vfs) {
        inode_unref(there);
        inode_discard(i);
        return ERR_PTR(ext4_corrupt(fs, "inode %u is free and in use", ino));
    }
    return &i->vfs;
}

// The last name is gone, and the last user: its blocks and its number are free. It stays an orphan until all is done.
static int delete (struct ext4_inode *i) {
    struct ext4_fs *fs = EXT4_FS(i->vfs.sb);
    struct ext4_handle h;
    int err = 0;
    if (!ext4_inode_in_memory(i) && (S_ISREG(i->vfs.mode) || S_ISDIR(i->vfs.mode) || S_ISLNK(i->vfs.mode)))
        err = ext4_map_remove(i, 0, EXT4_BLOCK_END);
    if (err < 0 || (err = ext4_begin(&h, fs, 16)) < 0)
        return err;
    bool part = i->xattr_block;
    if (part && (err = ext4_xattr_free_block(&h, i)) < 0)
        part = false;
    if (err == 0)
        err = ext4_orphan_remove(&h, i);
    if (err == 0) {
        bool directory = S_ISDIR(i->vfs.mode);
        part = true;
        i->next_orphan = (uint32_t)(inode_now() / NSEC_PER_SEC); // the time of deletion
        i->vfs.size = i->disk_size = 0;
        err = ext4_inode_write(&h, i);
        if (err == 0)
            err = ext4_inode_number_free(&h, (uint32_t)i->vfs.ino, directory);
    }
    if (err < 0 && part) // may not be committed: its blocks are free, and it still has them
        err = ext4_corrupt(fs, "inode %lu was freed half (error %d)", i->vfs.ino, -err);
    ext4_end(&h);
    return err;
}

void ext4_inode_release(struct inode *inode) {
    struct ext4_inode *i = ext4_i(inode);
    struct ext4_fs *fs = EXT4_FS(inode->sb);
    if (inode->cache)
        page_cache_destroy(&i->cache);
    ext4_delayed_take(i, 0, ~0ul);
    if (inode->nlink == 0 && !fs->read_only && !fs->journal.aborted) {
        int err = delete (i);
        if (err < 0)
            log_warn("ext4 (%s): deleted inode %lu could not be freed: error %d", fs->dev->name, inode->ino, -err);
    }
    mutex_lock(&fs->orphan_lock);
    list_remove(&i->orphan); // one that could not be freed
    mutex_unlock(&fs->orphan_lock);
    slab_free(&inode_cache, i);
}
