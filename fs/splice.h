// Moving data between files inside the kernel: splice(2), tee(2), vmsplice(2).
#ifndef FS_SPLICE_H
#define FS_SPLICE_H

#include "fs/file.h"

#define SPLICE_F_MOVE 1
#define SPLICE_F_NONBLOCK 2 // of the pipes
#define SPLICE_F_MORE 4
#define SPLICE_F_GIFT 8     // a hint: pages of vmsplice(2) are copied anyway
#define SPLICE_F_ALL 15

// All return the bytes moved, 0 at the end of the data, or -errno (-EAGAIN, -EPIPE with SIGPIPE, -ERESTARTSYS, ...).
// `in_pos`, `out_pos`: where in a file that is no pipe; NULL: at its own position.
int64_t splice_files(struct file *in, uint64_t *in_pos, struct file *out, uint64_t *out_pos, uint64_t len, unsigned flags);
int64_t splice_tee(struct file *in, struct file *out, uint64_t len, unsigned flags);
int64_t splice_user(struct file *f, struct uio *u, unsigned flags); // into or out of a pipe, as it was opened
bool splice_is_pipe(const struct file *f);
bool splice_takes(const struct file *f); // it can be the end of what is copied inside the kernel,
bool splice_gives(const struct file *f); // and the beginning

#endif
