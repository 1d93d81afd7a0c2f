/*
 * Extended attributes of an EROFS image. Each pair of name and value exists once, with the number of its users: what several inodes
 * have lies once in the image's shared area, the rest behind its inode. An inode's attributes are sorted, so the order in
 * which they were found does not matter.
 */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "fs/erofs/format.h"
#include "tools/erofs/tree.h"

static const struct prefix {
    const char *text;
    enum erofs_xattr_index index;
    bool whole; /* not a prefix but the name */
} prefixes[] = {
    {"user.", EROFS_XATTR_USER, false},
    {"trusted.", EROFS_XATTR_TRUSTED, false},
    {"security.", EROFS_XATTR_SECURITY, false},
    {"system.posix_acl_access", EROFS_XATTR_ACL_ACCESS, true},
    {"system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT, true},
};

/* By name, then by value: the order in the image. */
static int compare_names(const struct xattr *a, const struct xattr *b) {
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    size_t least = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(a->bytes, b->bytes, least);
    return order ? order : a->name_size - b->name_size;
}

static int compare(const void *left, const void *right) {
    const struct xattr *a = left, *b = right;
    int order = compare_names(a, b);

    if (order)
        return order;
    if (a->value_size != b->value_size)
        return a->value_size < b->value_size ? -1 : 1;
    return memcmp(a->bytes + a->name_size, b->bytes + b->name_size, a->value_size);
}

static struct xattr *intern(struct erofs_tree *tree, struct xattr *xattr) {
    struct xattr **found = tsearch(xattr, &tree->xattrs, compare);

    if (!found)
        die(STATUS_FAILED, "out of memory");
    if (*found != xattr)
        free(xattr);
    (*found)->users++;
    return *found;
}

static void insert(struct inode *inode, struct xattr *xattr) {
    unsigned at = 0;

    while (at < inode->xattr_count && compare_names(inode->xattrs[at], xattr) < 0)
        at++;
    if (at < inode->xattr_count && compare_names(inode->xattrs[at], xattr) == 0) {
        inode->xattrs[at]->users--;
        inode->xattrs[at] = xattr;
        return;
    }
    inode->xattrs = xrealloc(inode->xattrs, (inode->xattr_count + 1) * sizeof(*inode->xattrs));
    memmove(inode->xattrs + at + 1, inode->xattrs + at, (inode->xattr_count - at) * sizeof(*inode->xattrs));
    inode->xattrs[at] = xattr;
    inode->xattr_count++;
}

void inode_set_xattr(struct erofs_tree *tree, struct inode *inode, const char *path, const char *name,
                     const void *value, size_t size) {
    if (strcmp(name, "security.selinux") == 0) /* the host's label, not the file's */
        return;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        const struct prefix *prefix = &prefixes[i];
        size_t length = strlen(prefix->text);
        if (prefix->whole ? strcmp(name, prefix->text) != 0 : strncmp(name, prefix->text, length) != 0)
            continue;
        size_t rest = strlen(name + length);
        if (rest > UINT8_MAX || size > UINT16_MAX)
            die(STATUS_FAILED, "%s: the extended attribute %.60s is too long for an EROFS image", path, name);
        struct xattr *xattr = xmalloc(sizeof(*xattr) + rest + size);
        *xattr =
            (struct xattr){.index = (uint8_t)prefix->index, .name_size = (uint8_t)rest, .value_size = (uint32_t)size};
        memcpy(xattr->bytes, name + length, rest);
        if (size > 0)
            memcpy(xattr->bytes + rest, value, size);
        insert(inode, intern(tree, xattr));
        return;
    }
}

static bool is_shared(const struct xattr *xattr) { return xattr->users > 1; }

static uint32_t xattr_size(const struct xattr *xattr) {
    uint32_t size = (uint32_t)sizeof(struct erofs_xattr_entry) + xattr->name_size + xattr->value_size;

    return (size + 3) / 4 * 4;
}

static void xattr_put(const struct xattr *xattr, uint8_t *out) {
    struct erofs_xattr_entry entry = {
        .name_len = xattr->name_size, .name_index = xattr->index, .value_size = (uint16_t)xattr->value_size};

    memset(out, 0, xattr_size(xattr));
    memcpy(out, &entry, sizeof(entry));
    memcpy(out + sizeof(entry), xattr->bytes, (size_t)xattr->name_size + xattr->value_size);
}

/* --- The area of shared ones --- */

static void place_shared(const void *visited, VISIT order, void *arg) {
    struct xattr *xattr = *(struct xattr *const *)visited;
    struct erofs_tree *tree = arg;

    if ((order == postorder || order == leaf) && is_shared(xattr)) {
        xattr->number = (uint32_t)((tree->xattr_end - tree->xattr_start / EROFS_BLOCK * EROFS_BLOCK) / 4);
        tree->xattr_end += xattr_size(xattr);
    }
}

void xattrs_place(struct erofs_tree *tree, uint64_t start) {
    tree->xattr_start = tree->xattr_end = start;
    twalk_r(tree->xattrs, place_shared, tree);
}

struct area {
    uint8_t *next;
};

static void put_shared(const void *visited, VISIT order, void *arg) {
    const struct xattr *xattr = *(struct xattr *const *)visited;
    struct area *area = arg;

    if ((order == postorder || order == leaf) && is_shared(xattr)) {
        xattr_put(xattr, area->next);
        area->next += xattr_size(xattr);
    }
}

void xattrs_put(const struct erofs_tree *tree, uint8_t *image) {
    struct area area = {image + tree->xattr_start};

    twalk_r(tree->xattrs, put_shared, &area);
}

/* --- Behind an inode --- */

/* Only so many fit into the header's count. */
static bool is_outside(const struct xattr *xattr, unsigned outside) { return is_shared(xattr) && outside < UINT8_MAX; }

uint32_t inode_xattr_size(const struct inode *inode) {
    uint32_t size = sizeof(struct erofs_xattr_header);
    unsigned outside = 0;

    for (unsigned i = 0; i < inode->xattr_count; i++) {
        bool away = is_outside(inode->xattrs[i], outside);
        size += away ? 4 : xattr_size(inode->xattrs[i]);
        outside += away;
    }
    return inode->xattr_count > 0 ? size : 0;
}

void inode_xattr_put(const struct inode *inode, uint8_t *out) {
    struct erofs_xattr_header header = {0};
    uint8_t *next = out + sizeof(header);

    for (unsigned i = 0; i < inode->xattr_count; i++) {
        if (is_outside(inode->xattrs[i], header.shared_count)) {
            memcpy(next, &inode->xattrs[i]->number, 4);
            next += 4;
            header.shared_count++;
        }
    }
    unsigned outside = 0;
    for (unsigned i = 0; i < inode->xattr_count; i++) {
        if (is_outside(inode->xattrs[i], outside)) {
            outside++;
        } else {
            xattr_put(inode->xattrs[i], next);
            next += xattr_size(inode->xattrs[i]);
        }
    }
    memcpy(out, &header, sizeof(header));
}
