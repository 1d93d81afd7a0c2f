// open(2), close(2) and their family; memfd_create(2).
#include "kernel/string.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/close_range.h>
#include <linux/memfd.h>
#include <linux/openat2.h>

#define OPEN_FLAGS                                                                                                     \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | FASYNC | O_DIRECT |         \
     O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_SYNC | O_PATH | O_TMPFILE)

static long open_user(int at, uaddr_t name, unsigned flags, uint32_t mode, uint32_t resolve) {
    if ((flags & O_PATH) == 0 && (flags & O_TMPFILE & ~O_DIRECTORY) && (flags & O_TMPFILE) != O_TMPFILE)
        return -EINVAL;
    struct user_path p;
    long err = user_path_get(&p, name);
    if (unlikely(err < 0))
        return err;
    if (unlikely(flags & (O_CREAT | O_TRUNC)))
        err = fd_room(); // nothing is made or cut for a call that fails
    struct file *f = err < 0 ? ERR_PTR(err) : vfs_open_resolve(at, p.name, flags, mode, resolve);
    user_path_put(&p);
    if (IS_ERR(f))
        return PTR_ERR(f);
    return fd_install(f, flags);
}

long sys_open(uint64_t name, uint64_t flags, uint64_t mode) {
    return open_user(AT_FDCWD, name, (flags & OPEN_FLAGS) | O_LARGEFILE, mode, 0);
}

long sys_openat(uint64_t at, uint64_t name, uint64_t flags, uint64_t mode) {
    return open_user(at, name, (flags & OPEN_FLAGS) | O_LARGEFILE, mode, 0);
}

long sys_creat(uint64_t name, uint64_t mode) {
    return open_user(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode, 0);
}

// What a newer program says behind the structure that is known here must be nothing.
long copy_in_struct(void *to, size_t known, uaddr_t at, uint64_t size) {
    uint8_t rest[64];
    long err = copy_in(to, at, known);
    at += known;
    size -= known;
    for (size_t n; err == 0 && size; at += n, size -= n) {
        n = MIN(size, sizeof(rest));
        err = copy_in(rest, at, n);
        for (size_t i = 0; i < n && err == 0; i++)
            if (rest[i])
                err = -E2BIG;
    }
    return err;
}

long sys_openat2(uint64_t at, uint64_t name, uint64_t how_addr, uint64_t size) {
    struct open_how how;
    if (size < sizeof(how))
        return -EINVAL;
    long err = size > PAGE_SIZE ? -E2BIG : copy_in_struct(&how, sizeof(how), how_addr, size);
    if (err < 0)
        return err;
    if ((how.flags & ~(uint64_t)OPEN_FLAGS) || (how.mode & ~07777UL))
        return -EINVAL;
    if (how.mode && !(how.flags & O_CREAT) && (how.flags & O_TMPFILE) != O_TMPFILE)
        return -EINVAL;
    if ((how.flags & O_PATH) && (how.flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
        return -EINVAL;
    if (how.resolve & ~(uint64_t)(RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH |
                                  RESOLVE_IN_ROOT | RESOLVE_CACHED))
        return -EINVAL;
    if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT))
        return -EINVAL;
    if ((how.resolve & RESOLVE_CACHED) && (how.flags & (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))))
        return -EAGAIN; // these wait for a disk, as a rule
    return open_user(at, name, how.flags | O_LARGEFILE, how.mode, how.resolve);
}

long sys_close(uint64_t fd) { return fd_close(fd); }

long sys_close_range(uint64_t first, uint64_t last, uint64_t flags) {
    if ((flags & ~(uint64_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || (unsigned)first > (unsigned)last)
        return -EINVAL;
    if (flags & CLOSE_RANGE_UNSHARE) {
        long err = fd_unshare();
        if (err < 0)
            return err;
    }
    return fd_close_range(first, last, flags & CLOSE_RANGE_CLOEXEC);
}

long sys_memfd_create(uint64_t name_addr, uint64_t flags) {
    char name[250];
    if (flags & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING))
        return -EINVAL;
    long n = copy_in_str(name, name_addr, sizeof(name));
    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    uint32_t mode = 0777 | (flags & MFD_ALLOW_SEALING ? S_ISVTX : 0);
    struct file *f = memfd_open(name, O_RDWR | O_LARGEFILE, mode);
    if (IS_ERR(f))
        return PTR_ERR(f);
    return fd_install(f, flags & MFD_CLOEXEC ? O_CLOEXEC : 0);
}
