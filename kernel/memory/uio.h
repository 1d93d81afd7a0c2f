// A position in a list of buffers, in user or in kernel memory: what a file's read and write copy to and from.
#ifndef KERNEL_UIO_H
#define KERNEL_UIO_H

#include "kernel/types.h"

struct uio_vec {
    uint64_t base; // a user address, or a kernel pointer
    uint64_t len;
};
_Static_assert(sizeof(struct uio_vec) == 16, "as the ABI's struct iovec");

struct uio {
    const struct uio_vec *vec; // the current buffer
    size_t vec_offset;         // in it
    size_t left;               // bytes in all that is left
    bool user;
    bool append; // written behind the file's end, whatever the position says (RWF_APPEND)
    bool pages;  // each buffer lies in one page of the kernel's that who writes it may keep, with a reference, instead of a copy
    bool more;   // more will follow at once (MSG_MORE)
};

// One buffer. `*one` must live as long as the uio.
static inline struct uio uio_one(struct uio_vec *one, uint64_t base, size_t len, bool user) {
    *one = (struct uio_vec){base, len};
    return (struct uio){.vec = one, .left = len, .user = user};
}
// Copy between a kernel buffer and the uio and advance it. Return the bytes copied: less than MIN(n, left) only on a fault.
size_t uio_put(struct uio *u, const void *src, size_t n); // into the uio (read(2))
size_t uio_get(struct uio *u, void *dst, size_t n);       // out of the uio (write(2))
size_t uio_put_zero(struct uio *u, size_t n);

#endif
