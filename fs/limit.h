// RLIMIT_FSIZE: how far the current process may write into a file.
#ifndef FS_LIMIT_H
#define FS_LIMIT_H

#include "fs/vfs.h"
#include "kernel/process/process.h"

int file_limit_reached(
    uint64_t limit); // -EFBIG, with SIGXFSZ when it is the process's limit and not the largest offset

// How many of n bytes may be written at `at`: 1 to n (n is not 0), or -EFBIG with the signal. Not for the kernel's own writing.
static inline int64_t file_write_limit(uint64_t at, size_t n) {
    const struct process *p = process_current();
    uint64_t limit = p == &kernel_process ? ~0ul : p->limits[RLIMIT_FSIZE].rlim_cur;
    limit = MIN(limit, (uint64_t)INT64_MAX);
    if (unlikely(at >= limit))
        return file_limit_reached(limit);
    return (int64_t)MIN(n, limit - at);
}

// May the file become this long? 0, or -EFBIG with the signal.
static inline int file_size_limit(const struct inode *inode, uint64_t size) {
    const struct process *p = process_current();
    uint64_t limit = p == &kernel_process ? ~0ul : p->limits[RLIMIT_FSIZE].rlim_cur;
    return size > inode->size && size > limit ? file_limit_reached(limit) : 0;
}

#endif
