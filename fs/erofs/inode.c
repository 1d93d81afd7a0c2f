// EROFS inodes: made from their slots on the disk, found again by number.
// A regular file has a page cache, all others are only the small part.
#include "fs/erofs/erofs.h"
#include "fs/cache/inode_table.h"
#include "kernel/string.h"

static struct slab_cache inode_cache = SLAB_CACHE("erofs_inode", sizeof(struct erofs_inode), 8);
static struct slab_cache file_cache = SLAB_CACHE("erofs_file", sizeof(struct erofs_file), 8);

static void inode_free(struct inode *inode) {
    if (inode->cache)
        slab_free(&file_cache, container_of(inode, struct erofs_file, e.inode));
    else
        slab_free(&inode_cache, erofs_of(inode));
}

static void erofs_release(struct inode *inode) {
    if (inode->cache)
        page_cache_destroy(inode->cache);
    inode_free(inode);
}

static long erofs_readlink(struct inode *inode, char *buf, size_t size) {
    struct erofs_view v = {0};
    size_t len = MIN(inode->size, size);
    int err = erofs_read_data(erofs_of(inode), &v, 0, buf, len);
    erofs_view_end(&v);
    return err < 0 ? err : (long)len;
}

#define XATTR_OPS .xattr_get = erofs_xattr_get, .xattr_list = erofs_xattr_list
static const struct inode_ops erofs_inode_ops = {.release = erofs_release, XATTR_OPS};
static const struct inode_ops erofs_symlink_ops = {.readlink = erofs_readlink, .release = erofs_release, XATTR_OPS};
static const struct inode_ops erofs_directory_inode_ops = {.lookup = erofs_lookup, .release = erofs_release, XATTR_OPS};

// Both forms, in one.
struct slot {
    struct erofs_inode_extended x;
    bool extended;
};

static int read_slot(struct erofs_image *im, uint64_t nid, struct slot *out) {
    struct erofs_view v = {0};
    struct erofs_inode_compact c;
    if (nid > (im->size - im->meta) >> EROFS_SLOT_BITS) // what follows cannot overflow
        return erofs_corrupt(im, EROFS_BAD_POSITION, nid, "its number is too large");
    uint64_t pos = im->meta + (nid << EROFS_SLOT_BITS);
    int err = erofs_read(im, &v, pos, &c, sizeof(c));
    out->extended = c.format & EROFS_FORMAT_EXTENDED;
    if (err == 0 && out->extended) {
        err = erofs_read(im, &v, pos, &out->x, sizeof(out->x));
    } else if (err == 0) {
        uint64_t seconds = im->build_time + c.mtime;
        out->x = (struct erofs_inode_extended){.format = c.format,
                                               .xattr_count = c.xattr_count,
                                               .mode = c.mode,
                                               .size = c.size,
                                               .u = c.u,
                                               .uid = c.uid,
                                               .gid = c.gid,
                                               .mtime = seconds,
                                               .mtime_nsec = im->build_time_nsec,
                                               .nlink = c.nlink};
    }
    erofs_view_end(&v);
    return err;
}

static int check_slot(struct erofs_image *im, uint64_t nid, const struct erofs_inode_extended *x) {
    unsigned layout = EROFS_FORMAT_LAYOUT(x->format);
    if (layout == EROFS_COMPRESSED || layout == EROFS_COMPRESSED_COMPACT)
        return erofs_trouble(im, EROFS_UNSUPPORTED, -EOPNOTSUPP, nid, "compressed data is not supported");
    if ((x->format & ~EROFS_FORMAT_KNOWN) || layout > EROFS_CHUNKS)
        return erofs_trouble(im, EROFS_UNSUPPORTED, -EOPNOTSUPP, nid, "its format is not known");
    if (layout == EROFS_CHUNKS && (x->u.chunks.format & ~EROFS_CHUNK_KNOWN))
        return erofs_trouble(im, EROFS_UNSUPPORTED, -EOPNOTSUPP, nid, "its format of chunks is not known");
    if (x->size > INT64_MAX - PAGE_SIZE)
        return erofs_corrupt(im, EROFS_BAD_INODE, nid, "its size is too large");
    switch (x->mode & S_IFMT) {
    case S_IFLNK:
        if (x->size == 0 || x->size >= PATH_MAX)
            return erofs_corrupt(im, EROFS_BAD_LINK, nid, "a symbolic link of an impossible length");
        break;
    case S_IFREG:
    case S_IFDIR:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: break;
    default: return erofs_corrupt(im, EROFS_BAD_INODE, nid, "its mode is of no type");
    }
    return 0;
}

static nsec_t time_of(const struct erofs_inode_extended *x) {
    int64_t seconds = (int64_t)x->mtime, most = NSEC_MAX / NSEC_PER_SEC - 1;
    return MAX(MIN(seconds, most), -most) * NSEC_PER_SEC + MIN(x->mtime_nsec, NSEC_PER_SEC - 1);
}

static void set_kind(struct inode *inode, const struct erofs_inode_extended *x) {
    switch (inode->mode & S_IFMT) {
    case S_IFREG: {
        struct page_cache *c = &container_of(inode, struct erofs_file, e.inode)->cache;
        page_cache_init(c, inode, erofs_image_of(inode)->memory ? &erofs_memory_cache_ops : &erofs_cache_ops);
        inode->cache = c;
        inode->file_ops = &erofs_file_ops;
        break;
    }
    case S_IFDIR:
        inode->ops = &erofs_directory_inode_ops;
        inode->file_ops = &erofs_directory_ops;
        break;
    case S_IFLNK: inode->ops = &erofs_symlink_ops; break;
    case S_IFCHR:
    case S_IFBLK:
        inode->rdev = MAKE_DEV(x->u.rdev >> 8 & 0xfff, (x->u.rdev & 0xff) | (x->u.rdev >> 12 & 0xfff00));
        break;
    }
}

static struct inode *make(struct superblock *sb, uint64_t nid, const struct slot *slot) {
    const struct erofs_inode_extended *x = &slot->x;
    struct erofs_image *im = sb->data;
    struct erofs_inode *e;
    if (S_ISREG(x->mode)) {
        struct erofs_file *f = slab_alloc(&file_cache);
        e = f ? &f->e : NULL;
    } else {
        e = slab_alloc(&inode_cache);
    }
    if (!e)
        return ERR_PTR(-ENOMEM);
    struct inode *inode = &e->inode;
    inode_init(inode, sb, &erofs_inode_ops, x->mode);
    e->parent = 0;
    e->u = x->u;
    e->xattr_count = x->xattr_count;
    e->layout = EROFS_FORMAT_LAYOUT(x->format);
    e->extended = slot->extended;
    inode->ino = nid;
    inode->nlink = x->nlink;
    inode->uid = x->uid;
    inode->gid = x->gid;
    inode->size = x->size;
    inode->blocks = ALIGN_UP(x->size, 1UL << im->block_bits) >> SECTOR_SHIFT;
    inode->atime = inode->mtime = inode->ctime = time_of(x);
    inode->btime = 0; // the format has none
    inode->maybe_capable = x->xattr_count != 0;
    set_kind(inode, x);
    return inode;
}

struct inode *erofs_inode_get(struct superblock *sb, uint64_t nid) {
    struct inode *inode = inode_table_find(sb, nid);
    if (inode)
        return inode;
    struct slot slot;
    int err = read_slot(sb->data, nid, &slot);
    if (err == 0)
        err = check_slot(sb->data, nid, &slot.x);
    if (err < 0)
        return ERR_PTR(err);
    struct inode *made = make(sb, nid, &slot);
    if (IS_ERR(made))
        return made;
    inode = inode_table_add(made);
    if (inode != made) { // somebody else was faster
        if (made->cache)
            page_cache_destroy(made->cache);
        inode_free(made);
    }
    return inode;
}
