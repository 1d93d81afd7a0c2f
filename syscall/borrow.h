// A file of the current process without a reference of one's own.
#ifndef SYSCALL_BORROW_H
#define SYSCALL_BORROW_H

#include "fs/file.h"
#include "kernel/process/process.h"

// The file, for the common case: a process of one thread whose table is its own. No reference is needed then, because nobody else
// can close it before the call is over. NULL: the slow path decides.
static inline struct file *fd_borrow(int fd) {
    struct process *p = process_current();
    struct file_table *t = p->files;
    if (likely(t->refs == 1 && p->thread_count == 1 && (unsigned)fd < t->capacity))
        return t->files[fd];
    return NULL;
}

#endif
