// Names from the application: short ones on the stack, others in a buffer.
#ifndef SYSCALL_PATH_H
#define SYSCALL_PATH_H

#include "fs/vfs.h"
#include "kernel/memory/usercopy.h"

struct user_path {
    char *name; // NUL-terminated
    char small[160];
};
long user_path_long(struct user_path *p, uaddr_t addr); // syscall/path.c
// 0, -EFAULT, -ENAMETOOLONG or -ENOMEM (nothing is held then).
static inline long user_path_get(struct user_path *p, uaddr_t addr) {
    long n = copy_in_str(p->small, addr, sizeof(p->small));
    p->name = p->small;
    return likely(n >= 0) ? 0 : n == -ENAMETOOLONG ? user_path_long(p, addr) : n;
}
static inline void user_path_put(struct user_path *p) {
    if (unlikely(p->name != p->small))
        name_buffer_put(p->name);
}

// The place that a *at() call means: `flags` are AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW / AT_SYMLINK_FOLLOW as in `lookup`.
long user_path_lookup(int at, uaddr_t name, unsigned lookup, struct path *out);
// The same, but for files that are not in the tree, too: the inode, to be inode_unpin()ned, and the mount's flags (MS_*).
long user_inode_lookup(int at, uaddr_t name, unsigned lookup, struct inode **out, uint32_t *mount);

#endif
