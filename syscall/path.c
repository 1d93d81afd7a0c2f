// See syscall/path.h.
#include "syscall/path.h"

long user_path_long(struct user_path *p, uaddr_t addr) {
    p->name = name_buffer_get();
    if (!p->name)
        return -ENOMEM;
    long n = copy_in_str(p->name, addr, NAME_BUFFER_SIZE);
    if (n < 0) {
        name_buffer_put(p->name);
        return n;
    }
    return 0;
}

long user_path_lookup(int at, uaddr_t name, unsigned lookup, struct path *out) {
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err == 0) {
        err = path_lookup(at, p.name, lookup, out);
        user_path_put(&p);
    }
    return err;
}

long user_inode_lookup(int at, uaddr_t name, unsigned lookup, struct inode **out, uint32_t *mount) {
    struct user_path p;
    long err = user_path_get(&p, name);
    if (err < 0)
        return err;
    *mount = 0;
    if (!*p.name && (lookup & LOOKUP_EMPTY) && at != AT_FDCWD) {
        struct file *f = fd_get_path(at);
        err = f ? 0 : -EBADF;
        if (f) {
            *out = inode_pin(f->inode);
            *mount = path_mount_flags(&f->path);
            file_unref(f);
        }
    } else {
        struct path place;
        err = path_lookup(at, p.name, lookup, &place);
        if (err == 0) {
            *out = inode_pin(path_inode(&place));
            *mount = path_mount_flags(&place);
            path_unref(&place);
        }
    }
    user_path_put(&p);
    return err;
}
