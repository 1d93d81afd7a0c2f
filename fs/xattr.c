// Extended attributes: kept with the inode, in memory, sorted by name; or by the file system (inode_ops.xattr_get). xattr(7).
// user.* follows the file's permissions, trusted.* is root's, security.* may be read by all. POSIX ACLs are not supported.
// Lock: inode.lock.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/string.h"
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/xattr.h>

#define CAPABILITIES "security.capability"
#define TOTAL_MAX 131072 // bytes of names and values of one inode

struct xattr {
    struct xattr *next;
    size_t size;        // of the value, which stands behind the name's NUL
    uint32_t name_size; // with the NUL
    char name[];
};

static void *value_of(struct xattr *x) { return x->name + x->name_size; }

void xattrs_free(struct inode *inode) {
    for (struct xattr *x = inode->xattrs, *next; x; x = next) {
        next = x->next;
        kfree(x);
    }
    inode->xattrs = NULL;
}

// Where the attribute is linked, or would be.
static struct xattr **find(struct inode *inode, const char *name, bool *found) {
    struct xattr **at = &inode->xattrs;
    int order = 1;
    while (*at && (order = strcmp((*at)->name, name)) < 0)
        at = &(*at)->next;
    *found = *at && order == 0;
    return at;
}

static bool has_prefix(const char *name, const char *prefix) { return strncmp(name, prefix, strlen(prefix)) == 0; }

static int check_permission(struct inode *inode, const char *name, bool write) {
    if (has_prefix(name, "security.") || has_prefix(name, "system."))
        return 0;
    if (has_prefix(name, "trusted."))
        return capable(CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
    if (has_prefix(name, "user.")) {
        if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
            return write ? -EPERM : -ENODATA;
        if (S_ISDIR(inode->mode) && (inode->mode & S_ISVTX) && write && !vfs_owns(inode))
            return -EPERM;
    }
    return vfs_permission(inode, write ? 2 : 4);
}

// Are attributes of this name kept?
static int check_kind(struct inode *inode, const char *name) {
    static const char *const prefixes[] = {"user.", "trusted.", "security."};
    if (!inode->ops->xattr_get && !(inode->sb->flags & SB_XATTRS))
        return -EOPNOTSUPP;
    for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (has_prefix(name, prefixes[i]))
            return name[strlen(prefixes[i])] ? 0 : -EINVAL;
    return -EOPNOTSUPP;
}

static uint32_t revision(const void *value, size_t size) {
    const struct vfs_ns_cap_data *v = value;
    uint32_t r = size >= sizeof(v->magic_etc) ? v->magic_etc & VFS_CAP_REVISION_MASK : 0;
    return (r == VFS_CAP_REVISION_2 && size == XATTR_CAPS_SZ_2) || (r == VFS_CAP_REVISION_3 && size == XATTR_CAPS_SZ_3)
               ? r
               : 0;
}

static int check_security(const char *name, const void *value, size_t size, bool set) {
    if (!has_prefix(name, "security."))
        return 0;
    if (strcmp(name, CAPABILITIES) != 0)
        return capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
    if (set && !revision(value, size))
        return -EINVAL;
    return capable(CAP_SETFCAP) ? 0 : -EPERM;
}

// --- Reading ---

static long read_memory(struct inode *inode, const char *name, void *buf, size_t size) {
    bool found;
    struct xattr *x = *find(inode, name, &found);
    long n = found ? (long)x->size : -ENODATA;
    if (n > 0 && buf) {
        if ((size_t)n > size)
            n = -ERANGE;
        else
            memcpy(buf, value_of(x), (size_t)n);
    }
    return n;
}

static long read_value(struct inode *inode, const char *name, void *buf, size_t size) {
    mutex_lock(&inode->lock);
    long n =
        inode->ops->xattr_get ? inode->ops->xattr_get(inode, name, buf, size) : read_memory(inode, name, buf, size);
    mutex_unlock(&inode->lock);
    return n;
}

long xattr_get(struct inode *inode, const char *name, void *buf, size_t size) {
    int err = check_permission(inode, name, false);
    if (err == 0)
        err = check_kind(inode, name);
    return err < 0 ? err : read_value(inode, name, buf, size);
}

static long list_memory(struct inode *inode, bool all, char *buf, size_t size) {
    size_t n = 0;
    for (struct xattr *x = inode->xattrs; x; x = x->next) {
        if (!all && has_prefix(x->name, "trusted."))
            continue;
        if (buf && x->name_size > size - n)
            return -ERANGE;
        if (buf)
            memcpy(buf + n, x->name, x->name_size);
        n += x->name_size;
    }
    return (long)n;
}

// Takes the names out that the caller may not see. `raw` need not be what it should: it may come from a server.
static long filter(const char *raw, size_t len, bool all, char *buf, size_t size) {
    size_t n = 0;
    for (size_t at = 0, next; at < len; at = next) {
        next = at + strnlen(raw + at, len - at) + 1;
        if (next > len || next == at + 1 || (!all && has_prefix(raw + at, "trusted.")))
            continue;
        if (buf && next - at > size - n)
            return -ERANGE;
        if (buf)
            memcpy(buf + n, raw + at, next - at);
        n += next - at;
    }
    return (long)n;
}

static long list_file_system(struct inode *inode, bool all, char *buf, size_t size) {
    long n = inode->ops->xattr_list(inode, NULL, 0);
    if (n <= 0)
        return n;
    if (n > XATTR_LIST_MAX)
        return -E2BIG;
    char *raw = kmalloc((size_t)n);
    if (!raw)
        return -ENOMEM;
    n = inode->ops->xattr_list(inode, raw, (size_t)n);
    if (n > 0)
        n = filter(raw, (size_t)n, all, buf, size);
    kfree(raw);
    return n;
}

long xattr_list(struct inode *inode, char *buf, size_t size) {
    bool all = capable(CAP_SYS_ADMIN);
    mutex_lock(&inode->lock);
    long n = inode->ops->xattr_list ? list_file_system(inode, all, buf, size) : list_memory(inode, all, buf, size);
    mutex_unlock(&inode->lock);
    return n;
}

int xattr_file_capabilities(struct inode *inode, struct file_capabilities *out) {
    struct vfs_ns_cap_data v;
    if (likely(!READ_ONCE(inode->maybe_capable)))
        return -ENODATA;
    long n = read_value(inode, CAPABILITIES, &v, sizeof(v));
    if (n < 0)
        return n == -ENODATA || n == -EOPNOTSUPP ? -ENODATA : n == -ERANGE ? -EINVAL : (int)n;
    uint32_t r = revision(&v, (size_t)n);
    if (!r)
        return -EINVAL;
    if (r == VFS_CAP_REVISION_3 && v.rootid != 0)
        return -ENODATA; // of another user namespace
    const uint64_t all = (2UL << CAP_LAST_CAP) - 1;
    out->permitted = (v.data[0].permitted | (uint64_t)v.data[1].permitted << 32) & all;
    out->inheritable = (v.data[0].inheritable | (uint64_t)v.data[1].inheritable << 32) & all;
    out->effective = v.magic_etc & VFS_CAP_FLAGS_EFFECTIVE;
    return 0;
}

// --- Changing ---

static size_t total_size(const struct inode *inode) {
    size_t n = 0;
    for (const struct xattr *x = inode->xattrs; x; x = x->next)
        n += x->name_size + x->size;
    return n;
}

static int insert(struct inode *inode, struct xattr *new, int flags) {
    bool found;
    struct xattr **at = find(inode, new->name, &found), *old = found ? *at : NULL;
    if (found && (flags & XATTR_CREATE))
        return -EEXIST;
    if (!found && (flags & XATTR_REPLACE))
        return -ENODATA;
    if (total_size(inode) - (old ? old->name_size + old->size : 0) + new->name_size + new->size > TOTAL_MAX)
        return -ENOSPC;
    new->next = old ? old->next : *at;
    *at = new;
    kfree(old);
    return 0;
}

static int set_memory(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    size_t name_size = strlen(name) + 1;
    struct xattr *new = kmalloc(sizeof(*new) + name_size + size);
    if (!new)
        return -ENOMEM;
    new->size = size;
    new->name_size = (uint32_t)name_size;
    memcpy(new->name, name, name_size);
    memcpy(value_of(new), value, size);
    int err = insert(inode, new, flags);
    if (err < 0)
        kfree(new);
    return err;
}

static int remove_memory(struct inode *inode, const char *name) {
    bool found;
    struct xattr **at = find(inode, name, &found), *old = *at;
    if (!found)
        return -ENODATA;
    *at = old->next;
    kfree(old);
    return 0;
}

// Attributes of `from` that `to`, which is being made, does not keep from the beginning.
static int copy_one(struct inode *to, struct inode *from, const char *name, char *buf) {
    long n = from->ops->xattr_get(from, name, buf, XATTR_SIZE_MAX);
    if (n < 0)
        return n == -ENODATA ? 0 : (int)n;
    if (strcmp(name, CAPABILITIES) == 0)
        to->maybe_capable = true;
    return set_memory(to, name, buf, (size_t)n, 0);
}

static int copy_names(struct inode *to, struct inode *from, const char *names, size_t len) {
    char *buf = kmalloc(XATTR_SIZE_MAX);
    int err = buf ? 0 : -ENOMEM;
    for (size_t at = 0, n; at < len && !err; at += n + 1) {
        n = strnlen(names + at, len - at);
        if (at + n < len && n > 0)
            err = copy_one(to, from, names + at, buf);
    }
    kfree(buf);
    return err;
}

int xattrs_copy(struct inode *to, struct inode *from) {
    int err = 0;
    if (!from->ops->xattr_list) {
        for (struct xattr *x = from->xattrs; x && !err; x = x->next)
            err = set_memory(to, x->name, value_of(x), x->size, 0);
        to->maybe_capable = from->maybe_capable;
        return err;
    }
    long n = from->ops->xattr_list(from, NULL, 0);
    if (n <= 0)
        return n == -EOPNOTSUPP ? 0 : (int)n;
    char *names = n > XATTR_LIST_MAX ? NULL : kmalloc((size_t)n);
    if (!names)
        return -ENOMEM;
    n = from->ops->xattr_list(from, names, (size_t)n);
    err = n > 0 ? copy_names(to, from, names, (size_t)n) : (int)n;
    kfree(names);
    return err;
}

// value NULL removes. A file system with attributes of its own keeps the time of the change itself, too.
static int change(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    int err;
    mutex_lock(&inode->lock);
    if (inode->ops->xattr_get) {
        err = inode->ops->xattr_set ? inode->ops->xattr_set(inode, name, value, size, flags) : -EOPNOTSUPP;
    } else {
        struct attributes a = {.valid = ATTR_CTIME, .ctime = inode_now()};
        err = value ? set_memory(inode, name, value, size, flags) : remove_memory(inode, name);
        if (err == 0)
            err = inode_set_attributes(inode, &a);
    }
    if (err == 0 && value && strcmp(name, CAPABILITIES) == 0)
        WRITE_ONCE(inode->maybe_capable, true);
    mutex_unlock(&inode->lock);
    if (err == 0)
        inotify_changed(inode, IN_ATTRIB);
    return err;
}

int xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    int err = check_security(name, value, size, true);
    if (err == 0)
        err = check_permission(inode, name, true);
    if (err == 0)
        err = check_kind(inode, name);
    return err < 0 ? err : change(inode, name, value ? value : "", size, flags);
}

int xattr_remove(struct inode *inode, const char *name) {
    int err = check_permission(inode, name, true);
    if (err == 0)
        err = check_security(name, NULL, 0, false);
    if (err == 0)
        err = check_kind(inode, name);
    return err < 0 ? err : change(inode, name, NULL, 0, XATTR_REPLACE);
}

// The answer holds for the next writes, too: an attribute that is not there is not looked for again.
int xattr_drop_capabilities(struct inode *inode) {
    int err = -ENODATA;
    if (!inode->ops->xattr_get)
        err = remove_memory(inode, CAPABILITIES);
    else if (inode->ops->xattr_get(inode, CAPABILITIES, NULL, 0) >= 0)
        err = inode->ops->xattr_set ? inode->ops->xattr_set(inode, CAPABILITIES, NULL, 0, XATTR_REPLACE) : -EOPNOTSUPP;
    if (err < 0 && err != -ENODATA)
        return err;
    WRITE_ONCE(inode->maybe_capable, false);
    return 0;
}
