// Mounting an EROFS image: the superblock, what of the format is not supported, and the file system's own operations.
// A device that is mounted again shows the same superblock, as on Linux. Lock: images_lock, a leaf.
#include "fs/blockdev.h"
#include "fs/cache/inode_table.h"
#include "fs/erofs/erofs.h"
#include "fs/seqbuf.h"
#include "kernel/crc32c.h"
#include "kernel/log.h"
#include "kernel/string.h"

static struct spinlock images_lock = SPINLOCK_INIT;
static struct list images = LIST_INIT(images); // mounted

static void erofs_statistics(struct superblock *sb, struct fs_statistics *st) {
    struct erofs_image *im = sb->data;
    *st = (struct fs_statistics){.magic = EROFS_MAGIC,
                                 .block_size = 1u << im->block_bits,
                                 .blocks = im->blocks,
                                 .files = ~0UL,
                                 .files_free = ~0UL - im->inodes,
                                 .name_max = EROFS_NAME_MAX};
}

static void erofs_show_options(struct superblock *sb, struct seqbuf *s) { seq_puts(s, ",user_xattr"); }

static void erofs_release_sb(struct superblock *sb) {
    struct erofs_image *im = sb->data;
    spin_lock(&images_lock);
    list_remove(&im->link);
    spin_unlock(&images_lock);
    if (sb->inodes)
        inode_table_destroy(sb);
    if (im->dev_inode)
        inode_unref(im->dev_inode);
    if (im->claimed)
        blockdev_release(im->dev, im);
    kfree(im);
}

static const struct superblock_ops erofs_superblock_ops = {
    .statistics = erofs_statistics, .show_options = erofs_show_options, .release = erofs_release_sb};

static int refuse(const struct erofs_image *im, const char *why) {
    log_err("erofs %s: not mounted: %s", im->dev->name, why);
    return -EINVAL;
}

static int check_features(const struct erofs_image *im, const struct erofs_super *s) {
    static const struct {
        uint32_t bit;
        const char *text;
    } features[] = {
        {EROFS_INCOMPAT_COMPRESSION, "it is compressed"},
        {EROFS_INCOMPAT_DEVICES, "it has data on other devices (a device table)"},
        {EROFS_INCOMPAT_TAIL_PACKING, "it is compressed (with packed tails)"},
        {EROFS_INCOMPAT_FRAGMENTS, "it is compressed (fragments, deduplication)"},
        {EROFS_INCOMPAT_XATTR_PREFIXES, "it has long prefixes of extended attributes"},
        {EROFS_INCOMPAT_48BIT, "it has block numbers of 48 bits"},
        {EROFS_INCOMPAT_METABOX, "its metadata lie in an inode (metabox)"},
    };
    uint32_t known = EROFS_INCOMPAT_ZERO_PADDING | EROFS_INCOMPAT_CHUNKS;
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
        if (s->incompatible & features[i].bit)
            return refuse(im, features[i].text);
    if (s->incompatible & ~known)
        return refuse(im, "it has features that are not known");
    // Without the feature this is the window of LZ4, which writers set for compressed images alone.
    return s->compression ? refuse(im, "it is compressed") : 0;
}

// The superblock's block, with the checksum itself as zero.
static int check_sum(struct erofs_image *im, struct erofs_view *v, struct erofs_super s) {
    uint32_t block_size = 1u << im->block_bits, want = s.checksum;
    uint32_t end = block_size > EROFS_SUPER_OFFSET ? block_size : EROFS_SUPER_OFFSET + block_size;
    s.checksum = 0;
    uint32_t crc = crc32c(~0u, &s, sizeof(s));
    const uint8_t *page = erofs_view(im, v, 0, end);
    if (IS_ERR(page))
        return (int)PTR_ERR(page);
    crc = crc32c(crc, page + EROFS_SUPER_OFFSET + sizeof(s), end - EROFS_SUPER_OFFSET - sizeof(s));
    if (crc == want)
        return 0;
    refuse(im, "the checksum of its superblock is wrong");
    return -EBADMSG; // as on Linux
}

static int read_super(struct erofs_image *im, uint64_t *root) {
    struct erofs_view v = {0};
    struct erofs_super s;
    int err =
        im->size < EROFS_SUPER_OFFSET + sizeof(s) ? -EINVAL : erofs_read(im, &v, EROFS_SUPER_OFFSET, &s, sizeof(s));
    if (err == 0 && s.magic != EROFS_MAGIC)
        err = refuse(im, "no EROFS image");
    if (err == 0 && (s.block_bits < EROFS_BLOCK_BITS_MIN || s.block_bits > EROFS_BLOCK_BITS_MAX))
        err = refuse(im, "its blocks are not of 512 to 4096 bytes");
    im->block_bits = s.block_bits;
    if (err == 0 && (s.compatible & EROFS_COMPAT_CHECKSUM))
        err = check_sum(im, &v, s);
    erofs_view_end(&v);
    if (err == 0)
        err = check_features(im, &s);
    if (err == 0 && s.dir_block_bits)
        err = refuse(im, "its directories have large blocks");
    if (err < 0)
        return err;
    im->meta = (uint64_t)s.meta_block << s.block_bits;
    im->xattrs = (uint64_t)s.xattr_block << s.block_bits;
    if (im->meta >= im->size)
        return refuse(im, "its inodes lie outside of it");
    im->build_time = s.build_time;
    im->build_time_nsec = s.build_time_nsec;
    im->blocks = s.blocks;
    im->inodes = s.inodes;
    *root = s.root_nid;
    return 0;
}

static int make_root(struct superblock *sb, uint64_t nid) {
    struct inode *inode = erofs_inode_get(sb, nid);
    if (IS_ERR(inode))
        return (int)PTR_ERR(inode);
    if (!S_ISDIR(inode->mode)) {
        inode_unref(inode);
        return refuse(sb->data, "its root is no directory");
    }
    erofs_of(inode)->parent = ~0UL; // nobody's child
    sb->root = dentry_alloc_root(sb, inode);
    if (sb->root)
        return 0;
    inode_unref(inode);
    return -ENOMEM;
}

static int fill(struct superblock *sb, struct erofs_image *im) {
    uint64_t root = 0;
    int err = blockdev_claim(im->dev, im);
    if (err < 0)
        return err;
    im->claimed = true;
    im->memory = im->dev->memory;
    im->size = im->dev->sectors << SECTOR_SHIFT;
    if (!im->memory) {
        struct inode *inode = blockdev_inode(im->dev);
        if (IS_ERR(inode))
            return (int)PTR_ERR(inode);
        im->dev_inode = inode;
    }
    err = read_super(im, &root);
    if (err == 0)
        err = inode_table_create(sb);
    return err < 0 ? err : make_root(sb, root);
}

// The superblock of a device that is mounted already, with a reference; NULL.
static struct superblock *find_mounted(const struct block_device *dev) {
    struct superblock *found = NULL;
    struct erofs_image *im;
    spin_lock(&images_lock);
    list_for_each (im, &images, link) {
        uint32_t refs = READ_ONCE(im->sb->refs); // 0: on its way out, and waits for our lock
        while (im->dev == dev && refs && !found)
            if (__atomic_compare_exchange_n(&im->sb->refs, &refs, refs + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
                found = im->sb;
    }
    spin_unlock(&images_lock);
    return found;
}

static bool known_options(const char *options) {
    static const char *const known[] = {"user_xattr",
                                        "nouser_xattr",
                                        "acl",
                                        "noacl",
                                        "cache_strategy=disabled",
                                        "cache_strategy=readahead",
                                        "cache_strategy=readaround"};
    for (size_t len; *options; options += len + (options[len] == ',')) {
        const char *comma = strchr(options, ',');
        len = comma ? (size_t)(comma - options) : strlen(options);
        bool found = len == 0;
        for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
            found |= len == strlen(known[i]) && strncmp(options, known[i], len) == 0;
        if (!found)
            return false;
    }
    return true;
}

static struct superblock *erofs_mount(const struct fs_type *type, const char *source, unsigned long flags,
                                      const char *options) {
    if (options && !known_options(options))
        return ERR_PTR(-EINVAL);
    struct block_device *dev = blockdev_source(source);
    if (IS_ERR(dev))
        return (struct superblock *)dev;
    struct superblock *sb = find_mounted(dev);
    if (sb)
        return sb;
    struct erofs_image *im = kzalloc(sizeof(*im));
    sb = im ? superblock_alloc(&erofs_superblock_ops, type, SB_RDONLY) : NULL;
    if (!sb) {
        kfree(im);
        return ERR_PTR(-ENOMEM);
    }
    sb->data = im;
    sb->dev = dev->rdev;
    im->sb = sb;
    im->dev = dev;
    list_init(&im->link);
    int err = fill(sb, im);
    if (err < 0) {
        superblock_unref(sb);
        return ERR_PTR(err);
    }
    spin_lock(&images_lock);
    list_push_back(&images, &im->link);
    spin_unlock(&images_lock);
    return sb;
}

const struct fs_type erofs_type = {.name = "erofs", .mount = erofs_mount};
