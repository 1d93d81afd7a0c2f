// name_to_handle_at(2), open_by_handle_at(2): no file system here can find a file by a handle, so there are none.
#include "kernel/memory/usercopy.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/capability.h>

#define HANDLE_SIZE_MAX 128
struct handle_header { // of struct file_handle
    uint32_t bytes;
    int32_t type;
};

long sys_name_to_handle_at(uint64_t at, uint64_t name, uint64_t handle, uint64_t mount_id, uint64_t flags) {
    if (flags & ~(uint64_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    struct path p;
    unsigned lookup = (flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
    long err = user_path_lookup((int)at, name, lookup, &p);
    if (err < 0)
        return err;
    path_unref(&p);
    return -EOPNOTSUPP;
}

long sys_open_by_handle_at(uint64_t mount_fd, uint64_t handle, uint64_t flags) {
    struct handle_header h;
    uint8_t rest[HANDLE_SIZE_MAX];
    if (!capable(CAP_DAC_READ_SEARCH))
        return -EPERM;
    if (copy_in_obj(&h, handle) < 0)
        return -EFAULT;
    if (h.bytes > HANDLE_SIZE_MAX || h.bytes == 0)
        return -EINVAL;
    if (copy_in(rest, handle + sizeof(h), h.bytes) < 0)
        return -EFAULT;
    if ((int)mount_fd != AT_FDCWD) {
        struct file *f = fd_get_path((int)mount_fd);
        if (!f)
            return -EBADF;
        file_unref(f);
    }
    return -ESTALE;
}
