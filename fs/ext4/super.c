// Mounting, unmounting, what goes wrong. The superblock is checked before anything else is believed; features that are not understood
// are named in the log. Mounting for writing marks the file system as in use (its journal is to be replayed), unmounting as clean.
// Lock: mount_lock for the list of mounted file systems.
#include "fs/ext4/ext4.h"
#include "fs/blockdev.h"
#include "fs/ext4/super.h"
#include "fs/internal.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include <linux/magic.h>
#include <linux/mount.h>

static struct mutex mount_lock = MUTEX_INIT(mount_lock);
static struct list mounted = LIST_INIT(mounted);

// --- Errors ---

// Whoever mounts it next, or fsck, is to know. The buffer may have what is not committed: so from the disk and back.
static void mark_error(struct ext4_fs *fs) {
    uint64_t block = EXT4_SUPER_OFFSET >> fs->block_shift;
    uint8_t *data = kmalloc(fs->block_size);
    if (data && ext4_io_block(fs, BLOCK_READ, block, data, 1) == 0) {
        struct ext4_disk_super *s = (struct ext4_disk_super *)(data + EXT4_SUPER_OFFSET % fs->block_size);
        if (s->magic == EXT4_MAGIC && !(s->state & EXT4_STATE_ERROR)) {
            s->state |= EXT4_STATE_ERROR;
            s->error_count++;
            s->checksum = fs->csum ? ext4_crc32c(~0u, s, offsetof(struct ext4_disk_super, checksum)) : s->checksum;
            (void)ext4_io_block(fs, BLOCK_WRITE, block, data, 1);
        }
    }
    kfree(data);
}

int ext4_corrupt(struct ext4_fs *fs, const char *fmt, ...) {
    char text[120];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_err("ext4 (%s): %s", fs->dev->name, text);
    bool first = !fs->journal.aborted;
    bool writable = !fs->read_only;
    ext4_abort(fs, -EUCLEAN);
    if (first && writable)
        mark_error(fs);
    return -EUCLEAN;
}

// --- The superblock in its buffer ---

void ext4_super_changed(struct ext4_fs *fs) {
    if (fs->csum)
        fs->super->checksum = ext4_crc32c(~0u, fs->super, offsetof(struct ext4_disk_super, checksum));
}

int ext4_super_change(struct ext4_handle *h) { return ext4_change(h, h->fs->super_buffer); }

void ext4_super_counts(struct ext4_fs *fs) {
    struct ext4_disk_super *s = fs->super;
    mutex_lock(&fs->alloc_lock);
    s->free_blocks_count_lo = (uint32_t)fs->free_blocks;
    if (fs->incompat & INCOMPAT_64BIT)
        s->free_blocks_count_hi = (uint32_t)(fs->free_blocks >> 32);
    s->free_inodes_count = fs->free_inodes;
    mutex_unlock(&fs->alloc_lock);
    s->wtime = (uint32_t)(inode_now() / NSEC_PER_SEC);
    ext4_super_changed(fs);
}

// At once: no transaction has it.
static int write_super(struct ext4_fs *fs) {
    ext4_super_changed(fs);
    int err = ext4_io_block(fs, BLOCK_WRITE, fs->super_buffer->block, fs->super_buffer->data, 1);
    return err < 0 ? err : ext4_flush(fs);
}

// --- Writing begins and ends ---

static int start_writing(struct ext4_fs *fs) {
    struct ext4_disk_super *s = fs->super;
    int err = ext4_journal_start(fs);
    if (err < 0)
        return err;
    if (fs->journal.present)
        s->feature_incompat |= INCOMPAT_RECOVER;
    else
        s->state &= (uint16_t)~EXT4_STATE_VALID;
    s->mtime = (uint32_t)(inode_now() / NSEC_PER_SEC);
    s->mnt_count++;
    err = write_super(fs);
    if (err < 0)
        return err;
    fs->read_only = false;
    err = ext4_thread_start(fs);
    return err < 0 ? err : ext4_orphans_clean(fs);
}

static int stop_writing(struct ext4_fs *fs) {
    if (fs->read_only)
        return 0;
    int err = ext4_inodes_write(fs);
    ext4_thread_stop(fs);
    int e = ext4_journal_stop(fs);
    err = err < 0 ? err : e;
    fs->read_only = true;
    if (e < 0 || fs->journal.aborted)
        return err;
    fs->super->feature_incompat &= ~(uint32_t)INCOMPAT_RECOVER;
    if (!fs->was_error)
        fs->super->state |= EXT4_STATE_VALID;
    ext4_super_counts(fs);
    e = write_super(fs);
    return err < 0 ? err : e;
}

// --- Reading the superblock ---

static const struct {
    uint32_t bit;
    const char *name;
} incompat_names[] = {{1, "compression"},      {8, "journal_dev"},   {0x100, "mmp"},
                      {0x400, "ea_inode"},     {0x1000, "dirdata"},  {0x4000, "large_dir"},
                      {0x8000, "inline_data"}, {0x10000, "encrypt"}, {0x20000, "casefold"}},
  ro_names[] = {{4, "btree_dir"},     {0x100, "quota"},    {0x200, "bigalloc"},
                {0x1000, "readonly"}, {0x2000, "project"}, {0x8000, "verity"}};

#define INCOMPAT_KNOWN                                                                                                 \
    (INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG |  \
     INCOMPAT_CSUM_SEED)
#define RO_KNOWN                                                                                                       \
    (RO_SPARSE_SUPER | RO_LARGE_FILE | RO_HUGE_FILE | RO_GDT_CSUM | RO_DIR_NLINK | RO_EXTRA_ISIZE | RO_METADATA_CSUM | \
     RO_ORPHAN_PRESENT)

static int check_features(struct ext4_fs *fs, bool writable) {
    uint32_t incompat = fs->incompat & ~(uint32_t)INCOMPAT_KNOWN, ro = fs->ro_compat & ~(uint32_t)RO_KNOWN;
    for (unsigned k = 0; k < ARRAY_SIZE(incompat_names); k++)
        if (incompat & incompat_names[k].bit)
            log_warn("ext4 (%s): feature %s is not supported", fs->dev->name, incompat_names[k].name);
    for (unsigned k = 0; k < ARRAY_SIZE(ro_names); k++)
        if (ro & ro_names[k].bit)
            log_warn("ext4 (%s): feature %s is supported for reading alone", fs->dev->name, ro_names[k].name);
    if (incompat || (ro && writable) || (ro & 0x200)) { // bigalloc: bitmaps mean something else
        log_warn("ext4 (%s): cannot be mounted%s: features %x, %x", fs->dev->name, incompat ? "" : " for writing",
                 incompat, ro);
        return -EINVAL;
    }
    return 0;
}

static int bad_super(struct ext4_fs *fs, const char *what) {
    log_warn("ext4 (%s): bad superblock: %s", fs->dev->name, what);
    return -EINVAL;
}

static int check_geometry(struct ext4_fs *fs, const struct ext4_disk_super *s) {
    uint32_t bits = fs->block_size * 8;
    if (fs->first_block != (fs->block_size == 1024))
        return bad_super(fs, "first block");
    if (!fs->blocks_per_group || fs->blocks_per_group > bits || (fs->blocks_per_group & 7))
        return bad_super(fs, "blocks per group");
    if (!fs->inodes_per_group || fs->inodes_per_group > bits ||
        (fs->inodes_per_group * fs->inode_size & (fs->block_size - 1)))
        return bad_super(fs, "inodes per group");
    if (fs->inode_size < EXT4_GOOD_INODE_SIZE || fs->inode_size > fs->block_size ||
        (fs->inode_size & (fs->inode_size - 1)))
        return bad_super(fs, "inode size");
    if (fs->desc_size > fs->block_size || (fs->desc_size & (fs->desc_size - 1)) ||
        ((fs->incompat & INCOMPAT_64BIT) && fs->desc_size < 64))
        return bad_super(fs, "size of group descriptors");
    if (fs->blocks <= fs->first_block || fs->blocks >> 48 || fs->blocks > fs->dev->sectors >> fs->sectors_shift)
        return bad_super(fs, "more blocks than the device has");
    uint64_t groups = DIV_ROUND_UP(fs->blocks - fs->first_block, fs->blocks_per_group);
    if (groups * fs->inodes_per_group != fs->inodes || groups * sizeof(struct ext4_group) > 4u << 20)
        return bad_super(fs, "count of inodes");
    fs->groups = (uint32_t)groups;
    if (fs->first_ino < 11 || fs->first_ino > fs->inodes_per_group)
        return bad_super(fs, "first inode");
    // The superblock and the descriptors fit into the first group.
    if (DIV_ROUND_UP(fs->groups, fs->desc_per_block) + s->reserved_gdt_blocks + 1u >= fs->blocks_per_group &&
        !(fs->incompat & INCOMPAT_META_BG))
        return bad_super(fs, "descriptors");
    if ((fs->incompat & INCOMPAT_META_BG) &&
        (s->first_meta_bg > DIV_ROUND_UP(fs->groups, fs->desc_per_block) ||
         s->first_meta_bg + s->reserved_gdt_blocks + 1u >= fs->blocks_per_group))
        return bad_super(fs, "first meta group");
    return 0;
}

static int parse_super(struct ext4_fs *fs, bool writable) {
    const struct ext4_disk_super *s = fs->super;
    bool old = s->rev_level == 0;
    fs->compat = old ? 0 : s->feature_compat;
    fs->incompat = old ? 0 : s->feature_incompat;
    fs->ro_compat = old ? 0 : s->feature_ro_compat;
    int err = check_features(fs, writable);
    if (err < 0)
        return err;
    fs->csum = fs->ro_compat & RO_METADATA_CSUM;
    if (fs->csum &&
        (s->checksum_type != 1 || s->checksum != ext4_crc32c(~0u, s, offsetof(struct ext4_disk_super, checksum))))
        return bad_super(fs, "checksum");
    fs->seed = fs->incompat & INCOMPAT_CSUM_SEED ? s->checksum_seed : ext4_crc32c(~0u, s->uuid, sizeof(s->uuid));
    bool wide = fs->incompat & INCOMPAT_64BIT;
    fs->blocks = s->blocks_count_lo | (wide ? (uint64_t)s->blocks_count_hi << 32 : 0);
    fs->reserved_blocks = s->r_blocks_count_lo | (wide ? (uint64_t)s->r_blocks_count_hi << 32 : 0);
    fs->free_blocks = s->free_blocks_count_lo | (wide ? (uint64_t)s->free_blocks_count_hi << 32 : 0);
    fs->free_inodes = s->free_inodes_count;
    fs->first_block = s->first_data_block;
    fs->blocks_per_group = s->blocks_per_group;
    fs->inodes_per_group = s->inodes_per_group;
    fs->inodes = s->inodes_count;
    fs->desc_size = wide ? s->desc_size : 32;
    fs->desc_per_block = fs->desc_size ? fs->block_size / fs->desc_size : 1;
    fs->inode_size = old ? EXT4_GOOD_INODE_SIZE : s->inode_size;
    fs->first_ino = old ? 11 : s->first_ino;
    fs->has_filetype = fs->incompat & INCOMPAT_FILETYPE;
    fs->has_extents = fs->incompat & INCOMPAT_EXTENTS;
    fs->sb->size_max = ext4_size_max(fs, true);
    fs->sb->direct_align = fs->dev->block_size;
    fs->want_extra_isize = sizeof(struct ext4_disk_inode) - EXT4_GOOD_INODE_SIZE;
    memcpy(fs->hash_seed, s->hash_seed, sizeof(fs->hash_seed));
    fs->hash_version =
        (uint8_t)((s->def_hash_version < 3 ? s->def_hash_version : 1) + (s->flags & EXT4_FLAG_UNSIGNED_HASH ? 3 : 0));
    fs->reserved_uid = s->def_resuid;
    fs->reserved_gid = s->def_resgid;
    fs->was_error = s->state & EXT4_STATE_ERROR;
    if (fs->inode_size > EXT4_GOOD_INODE_SIZE && fs->want_extra_isize > fs->inode_size - EXT4_GOOD_INODE_SIZE)
        fs->want_extra_isize = 0;
    return fs->desc_size ? check_geometry(fs, s) : bad_super(fs, "size of group descriptors");
}

// The first look, to know the size of a block.
static int probe(struct ext4_fs *fs) {
    uint8_t *data = kmalloc(4096);
    if (!data)
        return -ENOMEM;
    int err = fs->dev->sectors >= 8 ? block_io(fs->dev, BLOCK_READ, 0, data, 4096) : -EINVAL;
    const struct ext4_disk_super *s = (const struct ext4_disk_super *)(data + EXT4_SUPER_OFFSET);
    if (err == 0 && s->magic != EXT4_MAGIC)
        err = bad_super(fs, "this is no ext2, ext3 or ext4");
    if (err == 0 && (s->log_block_size > 2 || s->rev_level > 1))
        err = bad_super(fs, "size of blocks");
    if (err == 0) {
        fs->block_shift = 10 + s->log_block_size;
        fs->block_size = 1u << fs->block_shift;
        fs->sectors_shift = fs->block_shift - SECTOR_SHIFT;
        fs->blocks = fs->dev->sectors >> fs->sectors_shift;
        if (fs->block_size < fs->dev->block_size)
            err = bad_super(fs, "blocks smaller than the device's");
    }
    kfree(data);
    return err;
}

static int read_super(struct ext4_fs *fs, bool writable) {
    int err = ext4_buffers_create(fs);
    if (err < 0)
        return err;
    fs->super_buffer = ext4_buffer_read(fs, EXT4_SUPER_OFFSET >> fs->block_shift);
    if (IS_ERR(fs->super_buffer))
        return (int)PTR_ERR(fs->super_buffer);
    fs->super = (struct ext4_disk_super *)(fs->super_buffer->data + EXT4_SUPER_OFFSET % fs->block_size);
    return parse_super(fs, writable);
}

static int open_root(struct ext4_fs *fs) {
    struct inode *root = ext4_inode_get(fs->sb, EXT4_ROOT_INO);
    if (IS_ERR(root))
        return (int)PTR_ERR(root);
    if (!S_ISDIR(root->mode) || root->size == 0) {
        inode_unref(root);
        return ext4_corrupt(fs, "the root is no directory");
    }
    fs->sb->root = dentry_alloc_root(fs->sb, root);
    if (!fs->sb->root)
        inode_unref(root);
    return fs->sb->root ? 0 : -ENOMEM;
}

// What a power cut left is put right before anything is looked at.
static int fill(struct ext4_fs *fs, bool writable) {
    int err = probe(fs);
    if (err == 0)
        err = read_super(fs, writable);
    if (err == 0 && !(fs->group = kzalloc(fs->groups * sizeof(*fs->group))))
        err = -ENOMEM;
    if (err == 0)
        err = ext4_journal_create(fs);
    if (err == 0 && fs->recovered) { // what was read before is old
        uint32_t next_seq = fs->journal.next_seq;
        ext4_buffer_put(fs, fs->super_buffer);
        ext4_buffers_destroy(fs);
        fs->super_buffer = NULL;
        fs->buffer_count = 0;
        err = read_super(fs, writable);
        if (err == 0) {
            fs->journal.next_seq = next_seq;
            fs->super->feature_incompat &= ~(uint32_t)INCOMPAT_RECOVER;
            err = ext4_count_free(fs);
        }
        if (err == 0)
            ext4_super_counts(fs);
        if (err == 0)
            err = write_super(fs);
    } else if (err == 0 && !(fs->super->state & EXT4_STATE_VALID)) {
        log_warn("ext4 (%s): was not unmounted well and has no journal: run e2fsck", fs->dev->name);
        err = ext4_count_free(fs);
    }
    if (err == 0 && fs->was_error)
        log_warn("ext4 (%s): has errors: run e2fsck", fs->dev->name);
    fs->pool = MIN(fs->blocks / 50, 4096ul);
    if (err == 0)
        err = open_root(fs);
    if (err == 0 && writable)
        err = start_writing(fs);
    return err < 0 ? err : READ_ONCE(fs->journal.aborted);
}

// --- The superblock's functions ---

static void statistics(struct superblock *sb, struct fs_statistics *st) {
    struct ext4_fs *fs = EXT4_FS(sb);
    uint64_t overhead = fs->super->overhead_clusters;
    if (!overhead)
        overhead =
            (uint64_t)fs->groups * (2 + (fs->inodes_per_group * fs->inode_size >> fs->block_shift)) + fs->journal.end;
    uint64_t free = ext4_free_for(fs, true), usable = ext4_free_for(fs, false);
    *st = (struct fs_statistics){.magic = EXT4_SUPER_MAGIC,
                                 .block_size = fs->block_size,
                                 .blocks = fs->blocks - MIN(overhead, fs->blocks),
                                 .blocks_free = free,
                                 .blocks_kept = free - usable,
                                 .files = fs->inodes,
                                 .files_free = fs->free_inodes,
                                 .name_max = 255};
}

static int sync(struct superblock *sb) {
    struct ext4_fs *fs = EXT4_FS(sb);
    if (fs->read_only)
        return 0;
    int err = ext4_inodes_write(fs), e = ext4_commit_all(fs);
    return err < 0 ? err : e;
}

static int remount(struct superblock *sb, unsigned long flags, const char *options) {
    struct ext4_fs *fs = EXT4_FS(sb);
    bool writable = !(flags & MS_RDONLY);
    if (!ext4_options_known(options))
        return -EINVAL;
    if (writable == !fs->read_only)
        return 0;
    if (!writable)
        return stop_writing(fs);
    if (fs->dev->read_only)
        return -EACCES;
    if (fs->journal.aborted)
        return -EROFS;
    int err = check_features(fs, true);
    return err < 0 ? err : start_writing(fs);
}

static void release(struct superblock *sb) {
    struct ext4_fs *fs = EXT4_FS(sb);
    (void)stop_writing(fs);
    mutex_lock(&mount_lock);
    list_remove(&fs->link);
    mutex_unlock(&mount_lock);
    ext4_journal_destroy(fs);
    ext4_buffers_destroy(fs);
    inode_table_destroy(sb);
    for (uint32_t k = 0; fs->group && k < fs->groups; k++)
        kfree(fs->group[k].pending);
    kfree(fs->group);
    if (fs->dev->inode) // what its node showed before is old
        (void)page_cache_invalidate(fs->dev->inode->cache, 0, ~0ul);
    blockdev_release(fs->dev, sb);
    kfree(fs);
}

static const struct superblock_ops superblock_ops = {
    .statistics = statistics,
    .sync = sync,
    .remount = remount,
    .release = release,
};

// The device is mounted already: the same superblock, with a reference. NULL: it is not.
static struct superblock *find_mounted(struct block_device *dev) {
    struct superblock *found = NULL;
    struct ext4_fs *fs;
    list_for_each (fs, &mounted, link) {
        uint32_t refs = READ_ONCE(fs->sb->refs);
        if (fs->dev != dev)
            continue;
        while (refs &&
               !__atomic_compare_exchange_n(&fs->sb->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
        if (refs)
            found = fs->sb;
    }
    return found;
}

static struct ext4_fs *fs_alloc(struct superblock *sb, struct block_device *dev) {
    struct ext4_fs *fs = kzalloc(sizeof(*fs));
    if (!fs)
        return NULL;
    fs->sb = sb;
    fs->dev = dev;
    fs->read_only = true;
    list_init(&fs->link);
    list_init(&fs->lru);
    list_init(&fs->orphans);
    list_init(&fs->dirty);
    list_init(&fs->journal.checkpoints);
    mutex_init(&fs->alloc_lock);
    mutex_init(&fs->xattr_lock);
    mutex_init(&fs->orphan_lock);
    mutex_init(&fs->journal.commit_lock);
    waitq_init(&fs->journal.wait);
    waitq_init(&fs->thread_wait);
    fs->next_generation = (uint32_t)random_u64();
    fs->spread = (uint32_t)random_u64();
    return fs;
}

static struct superblock *mount_device(const struct fs_type *type, struct block_device *dev, bool writable) {
    struct superblock *sb = superblock_alloc(&superblock_ops, type, 0);
    if (!sb)
        return ERR_PTR(-ENOMEM);
    int err = blockdev_claim(dev, sb);
    struct ext4_fs *fs = err == 0 ? fs_alloc(sb, dev) : NULL;
    if (!fs) {
        static const struct superblock_ops none = {.statistics = statistics};
        if (err == 0)
            blockdev_release(dev, sb);
        sb->ops = &none;
        superblock_unref(sb);
        return ERR_PTR(err < 0 ? err : -ENOMEM);
    }
    sb->data = fs;
    sb->dev = dev->rdev;
    err = inode_table_create(sb);
    if (err == 0 && dev->inode) // what was written to its node
        err = page_cache_sync(dev->inode->cache, 0, ~0ul);
    if (err == 0)
        err = fill(fs, writable);
    if (err < 0) {
        mutex_unlock(&mount_lock);
        superblock_unref(sb);
        mutex_lock(&mount_lock);
        return ERR_PTR(err);
    }
    list_push_back(&mounted, &fs->link);
    return sb;
}

static struct superblock *ext4_mount(const struct fs_type *type, const char *source, unsigned long flags,
                                     const char *options) {
    bool writable = !(flags & MS_RDONLY);
    if (!ext4_options_known(options))
        return ERR_PTR(-EINVAL);
    struct block_device *dev = blockdev_source(source);
    if (IS_ERR(dev))
        return (struct superblock *)dev;
    if (writable && dev->read_only)
        return ERR_PTR(-EACCES);
    mutex_lock(&mount_lock);
    struct superblock *sb = find_mounted(dev);
    bool again = sb != NULL;
    if (!again)
        sb = mount_device(type, dev, writable);
    mutex_unlock(&mount_lock);
    if (again && writable == EXT4_FS(sb)->read_only) { // once for reading and once for writing: no
        superblock_unref(sb);
        return ERR_PTR(-EBUSY);
    }
    return sb;
}

const struct fs_type ext4_type = {.name = "ext4", .mount = ext4_mount};
const struct fs_type ext3_type = {.name = "ext3", .mount = ext4_mount};
const struct fs_type ext2_type = {.name = "ext2", .mount = ext4_mount};
