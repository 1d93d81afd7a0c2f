// Extended attributes. The file systems so far keep none: names of the kinds that Linux's tmpfs has are absent, others are not
// supported, and setting any is refused. All other errors (names, places, sizes) are as on Linux.
#include "kernel/string.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/limits.h>

static long check_name(uaddr_t addr, bool *kept) {
    char name[XATTR_NAME_MAX + 2];
    long n = copy_in_str(name, addr, sizeof(name));
    if (n == 0 || n == -ENAMETOOLONG || n > XATTR_NAME_MAX)
        return -ERANGE;
    *kept = n > 0 && (strncmp(name, "trusted.", 8) == 0 || strncmp(name, "security.", 9) == 0);
    return MIN(n, 0l);
}

// What all calls come to once the file is known. `set`: would change something.
static long answer(uaddr_t name, bool set) {
    bool kept = false;
    long err = check_name(name, &kept);
    return err < 0 ? err : kept && !set ? -ENODATA : -EOPNOTSUPP;
}

static long check_path(uaddr_t path, bool follow) {
    struct path p;
    long err = user_path_lookup(AT_FDCWD, path, follow ? LOOKUP_FOLLOW : 0, &p);
    if (err == 0)
        path_unref(&p);
    return err;
}

static long check_fd(int fd) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    file_unref(f);
    return 0;
}

static long set(uaddr_t name, uint64_t size, uint64_t flags) {
    if (flags & ~3UL)
        return -EINVAL;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    return answer(name, true);
}

long sys_setxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size, uint64_t flags) {
    long err = check_path(path, true);
    return err < 0 ? err : set(name, size, flags);
}

long sys_lsetxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size, uint64_t flags) {
    long err = check_path(path, false);
    return err < 0 ? err : set(name, size, flags);
}

long sys_fsetxattr(uint64_t fd, uint64_t name, uint64_t value, uint64_t size, uint64_t flags) {
    long err = check_fd(fd);
    return err < 0 ? err : set(name, size, flags);
}

long sys_getxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size) {
    long err = check_path(path, true);
    return err < 0 ? err : answer(name, false);
}

long sys_lgetxattr(uint64_t path, uint64_t name, uint64_t value, uint64_t size) {
    long err = check_path(path, false);
    return err < 0 ? err : answer(name, false);
}

long sys_fgetxattr(uint64_t fd, uint64_t name, uint64_t value, uint64_t size) {
    long err = check_fd(fd);
    return err < 0 ? err : answer(name, false);
}

// No attributes: an empty list.
long sys_listxattr(uint64_t path, uint64_t list, uint64_t size) { return check_path(path, true); }

long sys_llistxattr(uint64_t path, uint64_t list, uint64_t size) { return check_path(path, false); }

long sys_flistxattr(uint64_t fd, uint64_t list, uint64_t size) { return check_fd(fd); }

long sys_removexattr(uint64_t path, uint64_t name) {
    long err = check_path(path, true);
    return err < 0 ? err : answer(name, false);
}

long sys_lremovexattr(uint64_t path, uint64_t name) {
    long err = check_path(path, false);
    return err < 0 ? err : answer(name, false);
}

long sys_fremovexattr(uint64_t fd, uint64_t name) {
    long err = check_fd(fd);
    return err < 0 ? err : answer(name, false);
}
