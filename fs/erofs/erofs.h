// What the files of fs/erofs/ share: the mounted image, its inodes, and how bytes of the image are reached.
// Nothing in an image is trusted: every position goes through erofs_view or erofs_read, which check it, and what does not add up
// is reported by erofs_corrupt and answered with EUCLEAN, as on Linux. Images do not change: no locks but those of the caches.
#ifndef FS_EROFS_EROFS_H
#define FS_EROFS_EROFS_H

#include "fs/cache/pagecache.h"
#include "fs/erofs/format.h"
#include "fs/internal.h"
#include "kernel/blockdev.h"

#define EFSCORRUPTED EUCLEAN // errno(3): "Structure needs cleaning"

struct erofs_image {
    struct superblock *sb;
    struct block_device *dev;
    struct inode *dev_inode; // whose page cache holds the metadata; NULL: `memory` is the image
    const uint8_t *memory;
    uint64_t size;         // bytes of the device
    uint64_t meta, xattrs; // positions of the first inode slot and of the shared attributes
    uint64_t build_time;   // of the compact inodes: seconds,
    uint32_t build_time_nsec;
    uint32_t blocks;
    uint64_t inodes;
    uint8_t block_bits;
    bool claimed;     // the device is ours
    struct list link; // of all mounted ones
    uint32_t told;    // what has been logged: a bit for each enum erofs_trouble
};

struct erofs_inode {
    struct inode inode;
    uint64_t parent; // of directories: the number of the only one that may name it, 0 until it is known
    union erofs_inode_data u;
    uint16_t xattr_count;
    uint8_t layout; // enum erofs_layout
    bool extended;
};
struct erofs_file { // a regular one
    struct erofs_inode e;
    struct page_cache cache;
};

static inline struct erofs_inode *erofs_of(struct inode *i) { return container_of(i, struct erofs_inode, inode); }
static inline struct erofs_image *erofs_image_of(const struct inode *i) { return i->sb->data; }

// --- image.c ---
enum erofs_trouble { // each is logged once for an image
    EROFS_BAD_POSITION,
    EROFS_BAD_INODE,
    EROFS_BAD_LAYOUT,
    EROFS_BAD_DIRECTORY,
    EROFS_BAD_XATTR,
    EROFS_BAD_LINK,
    EROFS_UNSUPPORTED,
    EROFS_READ_ERROR,
};
// Logs the first trouble of a kind. Returns `err`, so that it can be returned. Any context.
int erofs_trouble(struct erofs_image *im, enum erofs_trouble kind, int err, uint64_t nid, const char *what);
static inline int erofs_corrupt(struct erofs_image *im, enum erofs_trouble kind, uint64_t nid, const char *what) {
    return erofs_trouble(im, kind, -EFSCORRUPTED, nid, what);
}

// A place to look at the image through: it keeps the page that it looked at last. {0} at first; erofs_view_end at last.
struct erofs_view {
    struct page *page;
    uint64_t index;
    bool sequential; // what lies behind is going to be looked at, too
};
// `len` bytes (1 to PAGE_SIZE) at `pos`, which must not cross a page's end; valid until the view is used again.
// May sleep. ERR_PTR(-EFSCORRUPTED) outside of the image, -EIO, -ENOMEM.
const void *erofs_view(struct erofs_image *im, struct erofs_view *v, uint64_t pos, size_t len);
static inline void erofs_view_end(struct erofs_view *v) {
    if (v->page)
        page_unref(v->page);
}
// Copies from anywhere. 0 or -errno as above.
int erofs_read(struct erofs_image *im, struct erofs_view *v, uint64_t pos, void *buf, size_t len);

// --- inode.c ---
struct inode *erofs_inode_get(struct superblock *sb, uint64_t nid); // with a reference; ERR_PTR
static inline uint64_t erofs_inode_pos(const struct erofs_inode *e) {
    return erofs_image_of(&e->inode)->meta + (e->inode.ino << EROFS_SLOT_BITS);
}
static inline uint64_t erofs_xattr_pos(const struct erofs_inode *e) {
    return erofs_inode_pos(e) +
           (e->extended ? sizeof(struct erofs_inode_extended) : sizeof(struct erofs_inode_compact));
}
static inline uint32_t erofs_xattr_size(const struct erofs_inode *e) {
    return e->xattr_count ? sizeof(struct erofs_xattr_header) + (e->xattr_count - 1u) * 4 : 0;
}

// --- map.c ---
struct erofs_extent {
    uint64_t pos; // in the image; not checked
    uint64_t len; // contiguous from there on; whole blocks up to the end of the file's last one, unless it is `packed`
    bool hole;    // there is nothing: zeroes
    bool packed;  // the tail of the file behind its inode: it ends where the file ends
};
// Where the bytes from `offset` (below the size) on lie. 0, -EFSCORRUPTED, -EIO, -ENOMEM. May sleep unless the image is in memory.
int erofs_map(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, struct erofs_extent *out);
// Copies bytes of a file, [offset, offset + len) below its size rounded up to blocks, through the metadata's cache: for tails
// and other small pieces. 0 or -errno.
int erofs_read_data(struct erofs_inode *e, struct erofs_view *v, uint64_t offset, void *buf, size_t len);

// --- data.c, dir.c, xattr.c ---
extern const struct page_cache_ops erofs_cache_ops, erofs_memory_cache_ops;
extern const struct file_ops erofs_file_ops, erofs_directory_ops;
int erofs_lookup(struct inode *dir, struct dentry *d);
long erofs_xattr_get(struct inode *inode, const char *name, void *buf, size_t size);
long erofs_xattr_list(struct inode *inode, char *buf, size_t size);

#endif
