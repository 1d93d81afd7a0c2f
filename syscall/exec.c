// execve(2), execveat(2): the arguments come in, the loader does the rest.
#include "fs/file.h"
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/memory/reclaim.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include "loader/loader.h"
#include "loader/stack.h"
#include "syscall/syscall.h"
#include <linux/limits.h> // PATH_MAX

// Everything that a call needs, in one piece: far too large for the kernel stack.
struct exec_request {
    char path[PATH_MAX];
    struct exec_args args;
    struct exec_image image;
};

// Strings are copied into blocks, each filled from its start; a string never spans two.
struct string_store {
    struct exec_args *args;
    size_t size, used; // of the newest block
    uint64_t left;     // bytes that the limits still allow
};

static const size_t block_sizes[] = {PAGE_SIZE, 16 * PAGE_SIZE, STACK_MAX_STRING + PAGE_SIZE};

// A copy of the application's string; ERR_PTR(-EFAULT, -E2BIG, -ENOMEM).
static char *store_string(struct string_store *s, uaddr_t src) {
    unsigned attempt = 0;
    for (;;) {
        size_t room = s->size - s->used;
        if (room) {
            char *dst = s->args->blocks->data + s->used;
            long n = copy_in_str(dst, src, MIN(room, STACK_MAX_STRING));
            if (n >= 0) {
                uint64_t cost = (uint64_t)n + 1 + sizeof(uaddr_t);
                if (cost > s->left)
                    return ERR_PTR(-E2BIG);
                s->left -= cost;
                s->used += (size_t)n + 1;
                return dst;
            }
            if (n != -ENAMETOOLONG)
                return ERR_PTR(n);
        }
        if (attempt == ARRAY_SIZE(block_sizes) || room >= STACK_MAX_STRING)
            return ERR_PTR(-E2BIG);
        size_t size = block_sizes[attempt++];
        struct exec_block *block = reclaim_kmalloc(size);
        if (!block)
            return ERR_PTR(-ENOMEM);
        block->next = s->args->blocks;
        s->args->blocks = block;
        s->size = size - sizeof(*block);
        s->used = 0;
    }
}

// A NULL-terminated array of strings; a NULL array is an empty one. 0, -EFAULT, -E2BIG, -ENOMEM.
static int store_vector(struct string_store *s, uaddr_t src, char ***vector, unsigned *count) {
    unsigned n = 0, capacity = 16;
    char **v = reclaim_kmalloc(capacity * sizeof(*v));

    if (!v)
        return -ENOMEM;
    *vector = v;
    for (; src; n++) {
        uaddr_t string;
        if (copy_in_obj(&string, src + n * sizeof(string)))
            return -EFAULT;
        if (!string)
            break;
        if (n + 1 == capacity) {
            char **more = reclaim_kmalloc(2 * capacity * sizeof(*v));
            if (!more)
                return -ENOMEM;
            memcpy(more, v, capacity * sizeof(*v));
            kfree(v);
            *vector = v = more;
            capacity *= 2;
        }
        v[n] = store_string(s, string);
        if (IS_ERR(v[n]))
            return (int)PTR_ERR(v[n]);
        sched_point();
    }
    v[n] = NULL;
    *count = n;
    return 0;
}

static int store_args(struct exec_args *args, uaddr_t argv, uaddr_t envp) {
    uint64_t stack = process_current()->limits[RLIMIT_STACK].rlim_cur;
    struct string_store s = {.args = args, .left = stack_argument_limit(stack)};
    int err = store_vector(&s, argv, &args->argv, &args->argc);
    return err ? err : store_vector(&s, envp, &args->envp, &args->envc);
}

// An image that failed is undone: with more memory it may work.
static int load(struct exec_request *r, int at, unsigned lookup_flags) {
    unsigned tries = 0;
    int err;
    do
        err = loader_load(at, r->path, lookup_flags, &r->args, &r->image);
    while (unlikely(err == -ENOMEM) && reclaim_again(&tries));
    return err;
}

static long exec(int at, uaddr_t path, uaddr_t argv, uaddr_t envp, unsigned lookup_flags) {
    struct exec_request *r = reclaim_kmalloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->args = (struct exec_args){0};
    long err = copy_in_str(r->path, path, sizeof(r->path));
    struct process *p = process_current();
    if (unlikely(p->limit_exceeded) && err >= 0) {
        p->limit_exceeded = process_limit_reached(p, 0);
        err = p->limit_exceeded ? -EAGAIN : err;
    }
    if (err >= 0)
        err = err == 0 && !(lookup_flags & LOOKUP_EMPTY) ? -ENOENT : store_args(&r->args, argv, envp);
    if (!err)
        err = load(r, at, lookup_flags);
    if (!err) {
        // The other threads go first: none may see the files or the memory of the new program.
        if (!process_kill_others()) {
            err = -EINTR; // nobody will see it
        } else {
            err = p->files ? fd_unshare() : 0; // other processes may share the table (CLONE_FILES)
            if (err)
                signal_kill_process(p, SIGKILL); // the threads are gone: there is no way back
        }
        if (err)
            loader_image_release(&r->image);
        else
            loader_commit(&r->image);
    }
    exec_args_free(&r->args);
    kfree(r);
    return err;
}

long sys_execve(uint64_t path, uint64_t argv, uint64_t envp) { return exec(AT_FDCWD, path, argv, envp, LOOKUP_FOLLOW); }

long sys_execveat(uint64_t fd, uint64_t path, uint64_t argv, uint64_t envp, uint64_t flags) {
    if (flags & ~(uint64_t)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    return exec((int)fd, path, argv, envp,
                (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0));
}
