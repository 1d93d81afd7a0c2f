// Lists of buffers (struct iovec) from the application.
#ifndef SYSCALL_VECTORS_H
#define SYSCALL_VECTORS_H

#include "kernel/memory/uio.h"
#include "kernel/types.h"

#define RW_MAX 0x7ffff000UL // as Linux: no call moves more
#define IOV_MAX 1024
#define IOV_SMALL 8

struct vectors {
    struct uio_vec *vec;
    struct uio uio;
    struct uio_vec small[IOV_SMALL];
};
// v->uio covers what `count` structures at `addr` describe. 0, -EINVAL, -EFAULT, -ENOMEM (nothing is held then).
long vectors_get(struct vectors *v, uaddr_t addr, uint64_t count);
void vectors_put(struct vectors *v);

#endif
