// Extended attributes: kept with the inode, in memory, sorted by name. xattr(7).
// user.* follows the file's permissions, trusted.* is root's, security.* may be read by all. POSIX ACLs are not supported.
// Lock: inode.lock.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "kernel/string.h"
#include <linux/capability.h>
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
    if (!tmpfs_owns(inode))
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

static long read_value(struct inode *inode, const char *name, void *buf, size_t size) {
    bool found;
    mutex_lock(&inode->lock);
    struct xattr *x = *find(inode, name, &found);
    long n = found ? (long)x->size : -ENODATA;
    if (n > 0 && buf) {
        if ((size_t)n > size)
            n = -ERANGE;
        else
            memcpy(buf, value_of(x), (size_t)n);
    }
    mutex_unlock(&inode->lock);
    return n;
}

long xattr_get(struct inode *inode, const char *name, void *buf, size_t size) {
    int err = check_permission(inode, name, false);
    if (err == 0)
        err = check_kind(inode, name);
    return err < 0 ? err : read_value(inode, name, buf, size);
}

long xattr_list(struct inode *inode, char *buf, size_t size) {
    bool all = capable(CAP_SYS_ADMIN);
    size_t n = 0;
    long err = 0;
    mutex_lock(&inode->lock);
    for (struct xattr *x = inode->xattrs; x; x = x->next) {
        if (!all && has_prefix(x->name, "trusted."))
            continue;
        if (buf && x->name_size > size - n) {
            err = -ERANGE;
            break;
        }
        if (buf)
            memcpy(buf + n, x->name, x->name_size);
        n += x->name_size;
    }
    mutex_unlock(&inode->lock);
    return err < 0 ? err : (long)n;
}

int xattr_file_capabilities(struct inode *inode, struct file_capabilities *out) {
    struct vfs_ns_cap_data v;
    if (likely(!READ_ONCE(inode->xattrs)))
        return -ENODATA;
    long n = read_value(inode, CAPABILITIES, &v, sizeof(v));
    if (n < 0)
        return n == -ENODATA ? -ENODATA : -EINVAL;
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

static int set_locked(struct inode *inode, struct xattr *new, int flags) {
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

int xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    int err = check_security(name, value, size, true);
    if (err == 0)
        err = check_permission(inode, name, true);
    if (err == 0)
        err = check_kind(inode, name);
    if (err < 0)
        return err;
    size_t name_size = strlen(name) + 1;
    struct xattr *new = kmalloc(sizeof(*new) + name_size + size);
    if (!new)
        return -ENOMEM;
    new->size = size;
    new->name_size = (uint32_t)name_size;
    memcpy(new->name, name, name_size);
    memcpy(value_of(new), value, size);
    mutex_lock(&inode->lock);
    err = set_locked(inode, new, flags);
    if (err == 0)
        inode->ctime = inode_now();
    mutex_unlock(&inode->lock);
    if (err < 0)
        kfree(new);
    else
        inotify_changed(inode, IN_ATTRIB);
    return err;
}

static int remove_locked(struct inode *inode, const char *name) {
    bool found;
    struct xattr **at = find(inode, name, &found), *old = *at;
    if (!found)
        return -ENODATA;
    *at = old->next;
    kfree(old);
    inode->ctime = inode_now();
    return 0;
}

int xattr_remove(struct inode *inode, const char *name) {
    int err = check_permission(inode, name, true);
    if (err == 0)
        err = check_security(name, NULL, 0, false);
    if (err == 0)
        err = check_kind(inode, name);
    if (err < 0)
        return err;
    mutex_lock(&inode->lock);
    err = remove_locked(inode, name);
    mutex_unlock(&inode->lock);
    if (err == 0)
        inotify_changed(inode, IN_ATTRIB);
    return err;
}

void xattr_drop_capabilities(struct inode *inode) { remove_locked(inode, CAPABILITIES); }
