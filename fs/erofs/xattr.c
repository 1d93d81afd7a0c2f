// Extended attributes of EROFS: the inode's own behind it, and shared ones in an area of their own.
// POSIX ACLs are not supported, as in no file system here: they are not listed.
#include "fs/erofs/erofs.h"
#include "kernel/string.h"

static const struct prefix {
    char text[10];
    uint8_t len, index;
} prefixes[] = {
    {"user.", 5, EROFS_XATTR_USER}, {"trusted.", 8, EROFS_XATTR_TRUSTED}, {"security.", 9, EROFS_XATTR_SECURITY}};

static const struct prefix *prefix_of(unsigned index) {
    for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (prefixes[i].index == index)
            return &prefixes[i];
    return NULL;
}

// What to do with each attribute of an inode: positive ends the walk, and so does -errno.
struct walk_attributes {
    struct erofs_inode *e;
    struct erofs_view v;
    // The attribute at `pos`; `x` is its header.
    long (*each)(struct walk_attributes *w, uint64_t pos, const struct erofs_xattr_entry *x);
    const char *name; // get: without the prefix,
    size_t name_len;
    uint8_t index;
    char *buf; // NULL: the length alone
    size_t size, at;
};

static int bad(const struct erofs_inode *e, const char *what) {
    return erofs_corrupt(erofs_image_of(&e->inode), EROFS_BAD_XATTR, e->inode.ino, what);
}

static long visit(struct walk_attributes *w, uint64_t pos, uint64_t left, uint32_t *len) {
    struct erofs_xattr_entry x;
    int err = left < sizeof(x) ? bad(w->e, "an attribute behind the end of the attributes")
                               : erofs_read(erofs_image_of(&w->e->inode), &w->v, pos, &x, sizeof(x));
    if (err < 0)
        return err;
    *len = ALIGN_UP((uint32_t)sizeof(x) + x.name_len + x.value_size, 4);
    if (*len > left)
        return bad(w->e, "an attribute behind the end of the attributes");
    return w->each(w, pos, &x);
}

// 0: all were visited.
static long walk_all(struct walk_attributes *w) {
    struct erofs_image *im = erofs_image_of(&w->e->inode);
    struct erofs_xattr_header h;
    uint64_t pos = erofs_xattr_pos(w->e), end = pos + erofs_xattr_size(w->e);
    if (pos == end)
        return 0;
    long r = erofs_read(im, &w->v, pos, &h, sizeof(h));
    if (r < 0)
        return r;
    pos += sizeof(h);
    if (h.shared_count * 4u > end - pos)
        return bad(w->e, "more shared attributes than there is room for");
    uint32_t len, id;
    uint64_t own = pos + h.shared_count * 4u;
    for (uint64_t at = own; r == 0 && at < end; at += len)
        r = visit(w, at, end - at, &len);
    for (; r == 0 && pos < own; pos += 4) {
        r = erofs_read(im, &w->v, pos, &id, sizeof(id));
        uint64_t at = im->xattrs + id * 4UL;
        if (r == 0)
            r = at < im->size ? visit(w, at, im->size - at, &len)
                              : bad(w->e, "a shared attribute outside of the image");
    }
    return r;
}

static long walk(struct inode *inode, struct walk_attributes *w) {
    w->e = erofs_of(inode);
    long r = walk_all(w);
    erofs_view_end(&w->v);
    return r;
}

static long get_one(struct walk_attributes *w, uint64_t pos, const struct erofs_xattr_entry *x) {
    struct erofs_image *im = erofs_image_of(&w->e->inode);
    char name[EROFS_NAME_MAX];
    if (x->name_index != w->index || x->name_len != w->name_len)
        return 0;
    int err = erofs_read(im, &w->v, pos + sizeof(*x), name, x->name_len);
    if (err < 0 || memcmp(name, w->name, x->name_len) != 0)
        return err;
    w->at = x->value_size;
    if (w->buf && x->value_size > w->size)
        return -ERANGE;
    if (w->buf)
        err = erofs_read(im, &w->v, pos + sizeof(*x) + x->name_len, w->buf, x->value_size);
    return err < 0 ? err : 1;
}

long erofs_xattr_get(struct inode *inode, const char *name, void *buf, size_t size) {
    if (!erofs_of(inode)->xattr_count)
        return -ENODATA;
    for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++) {
        if (strncmp(name, prefixes[i].text, prefixes[i].len) != 0)
            continue;
        struct walk_attributes w = {.each = get_one,
                                    .name = name + prefixes[i].len,
                                    .index = prefixes[i].index,
                                    .name_len = strlen(name + prefixes[i].len),
                                    .buf = buf,
                                    .size = size};
        long r = walk(inode, &w);
        return r < 0 ? r : r == 0 ? -ENODATA : (long)w.at;
    }
    return -EOPNOTSUPP;
}

static long list_one(struct walk_attributes *w, uint64_t pos, const struct erofs_xattr_entry *x) {
    const struct prefix *p = prefix_of(x->name_index);
    if (!p)
        return 0;
    if (x->name_len == 0)
        return bad(w->e, "an attribute without a name");
    size_t n = p->len + x->name_len + 1u;
    if (w->buf) {
        if (n > w->size - w->at)
            return -ERANGE;
        char *to = w->buf + w->at;
        memcpy(to, p->text, p->len);
        int err = erofs_read(erofs_image_of(&w->e->inode), &w->v, pos + sizeof(*x), to + p->len, x->name_len);
        if (err < 0)
            return err;
        if (memchr(to + p->len, 0, x->name_len))
            return bad(w->e, "a NUL in the name of an attribute");
        to[n - 1] = 0;
    }
    w->at += n;
    return 0;
}

long erofs_xattr_list(struct inode *inode, char *buf, size_t size) {
    struct walk_attributes w = {.each = list_one, .buf = buf, .size = size};
    long r = walk(inode, &w);
    return r < 0 ? r : (long)w.at;
}
