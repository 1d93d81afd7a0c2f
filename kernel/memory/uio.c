// A position in a list of buffers: copies between it and kernel memory, and moves on.
#include "kernel/memory/uio.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"

enum direction { PUT, GET, ZERO };

// One piece of one buffer; the bytes done.
static size_t copy_piece(const struct uio *u, uint64_t at, void *buf, size_t n, enum direction d) {
    if (u->user)
        return d == PUT   ? copy_out_partial(at, buf, n)
               : d == GET ? copy_in_partial(buf, at, n)
                          : clear_out_partial(at, n);
    if (d == PUT)
        memcpy((void *)(uintptr_t)at, buf, n);
    else if (d == GET)
        memcpy(buf, (const void *)(uintptr_t)at, n);
    else
        memset((void *)(uintptr_t)at, 0, n);
    return n;
}

static size_t transfer(struct uio *u, char *buf, size_t n, enum direction d) {
    size_t done = 0;
    n = MIN(n, u->left);
    while (done < n) {
        size_t room = u->vec->len - u->vec_offset;
        if (room == 0) {
            u->vec++;
            u->vec_offset = 0;
            continue;
        }
        size_t piece = MIN(room, n - done);
        size_t got = copy_piece(u, u->vec->base + u->vec_offset, buf ? buf + done : NULL, piece, d);
        u->vec_offset += got;
        u->left -= got;
        done += got;
        if (got < piece)
            break;
    }
    return done;
}

size_t uio_put(struct uio *u, const void *src, size_t n) {
    if (likely(u->user && n <= u->vec->len - u->vec_offset && n <= u->left)) { // one piece, as nearly always
        size_t done = copy_out_partial(u->vec->base + u->vec_offset, src, n);
        u->vec_offset += done;
        u->left -= done;
        return done;
    }
    return transfer(u, (char *)(uintptr_t)src, n, PUT);
}

size_t uio_get(struct uio *u, void *dst, size_t n) {
    if (likely(u->user && n <= u->vec->len - u->vec_offset && n <= u->left)) {
        size_t done = copy_in_partial(dst, u->vec->base + u->vec_offset, n);
        u->vec_offset += done;
        u->left -= done;
        return done;
    }
    return transfer(u, dst, n, GET);
}

size_t uio_put_zero(struct uio *u, size_t n) { return transfer(u, NULL, n, ZERO); }
