// process_vm_readv(2), process_vm_writev(2): copies between this process's memory and another's.
#include "kernel/memory/aspace.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "kernel/threads/thread.h"
#include "syscall/syscall.h"
#include <linux/uio.h>

#define VECTORS_MAX 1024
#define BYTES_MAX 0x7ffff000UL // as Linux: no call moves more

// A list of ranges, and how far it has been gone through.
struct ranges {
    struct iovec *vec;
    size_t count, at, done; // `done` bytes of vec[at]
};

static int ranges_get(struct ranges *r, uaddr_t from, uint64_t count)
{
    *r = (struct ranges){.count = count};
    if (count > VECTORS_MAX)
        return -EINVAL;
    if (!count)
        return 0;
    r->vec = kmalloc(count * sizeof *r->vec);
    if (!r->vec)
        return -ENOMEM;
    if (copy_in(r->vec, from, count * sizeof *r->vec) < 0)
        return -EFAULT;
    for (size_t i = 0; i < count; i++)
        if ((int64_t)r->vec[i].iov_len < 0)
            return -EINVAL;
    return 0;
}

// How many bytes the current range has still, empty ones skipped; 0: all is done.
static size_t ranges_left(struct ranges *r)
{
    while (r->at < r->count && r->done == r->vec[r->at].iov_len) {
        r->at++;
        r->done = 0;
    }
    return r->at < r->count ? r->vec[r->at].iov_len - r->done : 0;
}

static uaddr_t ranges_address(const struct ranges *r)
{
    return (uaddr_t)r->vec[r->at].iov_base + r->done;
}

// As much as both lists have a piece of, within a page of the other process. The bytes, or -EFAULT.
static long move_piece(struct aspace *as, struct ranges *local, struct ranges *remote, size_t n, uint8_t *page, bool write)
{
    uaddr_t here = ranges_address(local), there = ranges_address(remote);
    long done;
    n = MIN(n, PAGE_SIZE - there % PAGE_SIZE);
    if (!user_range_ok(there, n))
        return -EFAULT;
    if (write) {
        size_t got = copy_in_partial(page, here, n);
        done = got ? aspace_access(as, there, page, got, true, false) : -EFAULT;
    } else {
        done = aspace_access(as, there, page, n, false, false);
        if (done > 0) {
            size_t put = copy_out_partial(here, page, (size_t)done);
            done = put ? (long)put : -EFAULT;
        }
    }
    if (done > 0) {
        local->done += (size_t)done;
        remote->done += (size_t)done;
    }
    return done;
}

// What was moved before a fault counts; -EFAULT when that was nothing.
static long move(struct aspace *as, struct ranges *local, struct ranges *remote, bool write)
{
    uint8_t *page = kmalloc(PAGE_SIZE);
    size_t total = 0, here, there;
    long n = 0;
    if (!page)
        return -ENOMEM;
    while (total < BYTES_MAX && (here = ranges_left(local)) && (there = ranges_left(remote))) {
        size_t want = MIN(MIN(MIN(here, there), PAGE_SIZE), BYTES_MAX - total);
        n = move_piece(as, local, remote, want, page, write);
        if (n <= 0 || (READ_ONCE(thread_current()->work) & WORK_EXIT))
            break;
        total += (size_t)n;
        n = 0;
        sched_point();
    }
    if (n > 0)
        total += (size_t)n;
    kfree(page);
    return total ? (long)total : MIN(n, 0);
}

static long move_with(int pid, struct ranges *local, struct ranges *remote, bool write)
{
    if (!ranges_left(local) || !ranges_left(remote))
        return 0;
    struct thread *t = thread_find(pid);
    if (!t)
        return -ESRCH;
    long result = process_may_trace(t->process, true) ? 0 : -EPERM;
    struct aspace *as = result ? NULL : process_aspace_ref(t->process);
    if (!result)
        result = as ? move(as, local, remote, write) : -ESRCH;
    if (as)
        aspace_unref(as);
    thread_unref(t);
    return result;
}

static long process_vm(uint64_t pid, uint64_t ulocal, uint64_t local_count, uint64_t uremote, uint64_t remote_count,
                       uint64_t flags, bool write)
{
    struct ranges local = {0}, remote = {0};
    if (flags)
        return -EINVAL;
    long result = ranges_get(&local, ulocal, local_count);
    if (!result && ranges_left(&local)) {
        local.at = local.done = 0;
        result = ranges_get(&remote, uremote, remote_count);
        if (!result)
            result = move_with((int)pid, &local, &remote, write);
    }
    kfree(local.vec);
    kfree(remote.vec);
    return result;
}

long sys_process_vm_readv(uint64_t pid, uint64_t local, uint64_t local_count, uint64_t remote, uint64_t remote_count, uint64_t flags)
{
    return process_vm(pid, local, local_count, remote, remote_count, flags, false);
}

long sys_process_vm_writev(uint64_t pid, uint64_t local, uint64_t local_count, uint64_t remote, uint64_t remote_count, uint64_t flags)
{
    return process_vm(pid, local, local_count, remote, remote_count, flags, true);
}
