// mount(2), umount2(2), pivot_root(2), mount_setattr(2).
#include "kernel/string.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/mount.h>

#define UMOUNT_NOFOLLOW 8

// An optional string of the application; *out is a name buffer or NULL.
static long string_get(uaddr_t addr, char **out) {
    *out = NULL;
    if (!addr)
        return 0;
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    long n = copy_in_str(buf, addr, NAME_BUFFER_SIZE);
    if (n < 0) {
        name_buffer_put(buf);
        return n;
    }
    *out = buf;
    return 0;
}

long sys_mount(uint64_t source, uint64_t target, uint64_t type, uint64_t flags, uint64_t data) {
    char *text[3] = {NULL, NULL, NULL};
    const uaddr_t addr[3] = {source, type, data};
    long err = 0;
    if ((flags & MS_MGC_MSK) == MS_MGC_VAL)
        flags &= ~(uint64_t)MS_MGC_MSK;
    for (int i = 0; i < 3 && err == 0; i++)
        err = string_get(addr[i], &text[i]);
    struct path p;
    if (err == 0)
        err = user_path_lookup(AT_FDCWD, target, LOOKUP_FOLLOW, &p);
    if (err == 0) {
        path_to_top(&p);
        err = vfs_mount(text[0], &p, text[1], flags, text[2]);
        path_unref(&p);
    }
    for (int i = 0; i < 3; i++)
        if (text[i])
            name_buffer_put(text[i]);
    return err;
}

long sys_umount2(uint64_t target, uint64_t flags) {
    struct path p;
    if ((unsigned)flags & ~15u)
        return -EINVAL;
    long err = user_path_lookup(AT_FDCWD, target, flags & UMOUNT_NOFOLLOW ? 0 : LOOKUP_FOLLOW, &p);
    if (err < 0)
        return err;
    path_to_top(&p);
    err = vfs_umount(&p, (int)flags);
    path_unref(&p);
    return err;
}

long sys_pivot_root(uint64_t new_root, uint64_t put_old) {
    struct path new, old;
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    long err = user_path_lookup(AT_FDCWD, new_root, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &new);
    if (err < 0)
        return err;
    err = user_path_lookup(AT_FDCWD, put_old, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &old);
    if (err == 0) {
        path_to_top(&old);
        err = vfs_pivot_root(&new, &old);
        path_unref(&old);
    }
    path_unref(&new);
    return err;
}

// --- mount_setattr(2) ---

#define ATTR_FLAGS                                                                                                     \
    (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME |                \
     MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)

static uint32_t attr_flags(uint64_t attr) {
    static const struct {
        uint32_t attr, flag;
    } pairs[] = {{MOUNT_ATTR_RDONLY, MS_RDONLY},         {MOUNT_ATTR_NOSUID, MS_NOSUID},
                 {MOUNT_ATTR_NODEV, MS_NODEV},           {MOUNT_ATTR_NOEXEC, MS_NOEXEC},
                 {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME}, {MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW}};
    uint32_t flags = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
        flags |= attr & pairs[i].attr ? pairs[i].flag : 0;
    return flags;
}

// The rules for access times are one number, not bits: who sets one clears all.
static long change_of_atime(const struct mount_attr *a, struct mount_change *c) {
    uint64_t set = a->attr_set & MOUNT_ATTR__ATIME, clear = a->attr_clr & MOUNT_ATTR__ATIME;
    if (!clear)
        return set ? -EINVAL : 0;
    if (clear != MOUNT_ATTR__ATIME ||
        (set != MOUNT_ATTR_RELATIME && set != MOUNT_ATTR_NOATIME && set != MOUNT_ATTR_STRICTATIME))
        return -EINVAL;
    c->clear |= MS_RELATIME | MS_NOATIME;
    c->set |= set == MOUNT_ATTR_NOATIME ? MS_NOATIME : set == MOUNT_ATTR_RELATIME ? MS_RELATIME : 0;
    return 0;
}

// There are no user namespaces, so none to map owners by.
static long no_idmap(const struct mount_attr *a) {
    if (!((a->attr_set | a->attr_clr) & MOUNT_ATTR_IDMAP))
        return 0;
    struct file *f = (a->attr_clr & MOUNT_ATTR_IDMAP) || a->userns_fd > INT32_MAX ? NULL : fd_get((int)a->userns_fd);
    if (f)
        file_unref(f);
    return f || (a->attr_clr & MOUNT_ATTR_IDMAP) || a->userns_fd > INT32_MAX ? -EINVAL : -EBADF;
}

static long change_of(const struct mount_attr *a, struct mount_change *c) {
    if ((a->propagation & ~(uint64_t)(MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)) ||
        (a->propagation & (a->propagation - 1)) ||
        ((a->attr_set | a->attr_clr) & ~(uint64_t)(ATTR_FLAGS | MOUNT_ATTR_IDMAP)))
        return -EINVAL;
    c->propagation = (uint32_t)a->propagation;
    c->set = attr_flags(a->attr_set);
    c->clear = attr_flags(a->attr_clr);
    long err = change_of_atime(a, c);
    return err < 0 ? err : no_idmap(a);
}

long sys_mount_setattr(uint64_t at, uint64_t name, uint64_t flags, uint64_t addr, uint64_t size) {
    struct mount_change change = {.recursive = flags & AT_RECURSIVE};
    struct mount_attr attr;
    struct path p;
    if ((unsigned)flags & ~(unsigned)(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
        return -EINVAL;
    if (size > PAGE_SIZE || size < sizeof(attr))
        return size > PAGE_SIZE ? -E2BIG : -EINVAL;
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    long err = copy_in_struct(&attr, sizeof(attr), addr, size);
    if (err < 0 || !(attr.attr_set | attr.attr_clr | attr.propagation))
        return err;
    err = change_of(&attr, &change);
    if (err == 0)
        err = user_path_lookup(
            (int)at, name,
            (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0), &p);
    if (err < 0)
        return err;
    path_to_top(&p);
    err = vfs_mount_change(&p, &change);
    path_unref(&p);
    return err;
}
