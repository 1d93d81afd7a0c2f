// mount(2), umount2(2), pivot_root(2).
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
