// The calls of mmap(2)'s family: arguments and file descriptors here, the work in kernel/aspace*.c.
#include "fs/file.h"
#include "fs/vfs.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/page.h"
#include "kernel/process/process.h"
#include "kernel/memory/usercopy.h"
#include "syscall/syscall.h"
#include <linux/mount.h>

#define PROT_BITS (PROT_READ | PROT_WRITE | PROT_EXEC)
// What MAP_SHARED_VALIDATE lets through, beside the type.
#define KNOWN_FLAGS                                                                                                    \
    (MAP_FIXED | MAP_ANONYMOUS | MAP_32BIT | MAP_GROWSDOWN | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_LOCKED |             \
     MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_FIXED_NOREPLACE | MAP_UNINITIALIZED)
#define MAP_UNINITIALIZED 0x4000000
#define HUGETLB_SIZE_BITS (0x3fU << MAP_HUGE_SHIFT)

static struct aspace *aspace_current(void) { return process_current()->aspace; }

// A mapping of /dev/zero is anonymous memory.
static bool is_zero_device(const struct file *f) {
    return f->inode && S_ISCHR(f->inode->mode) && f->inode->rdev == MAKE_DEV(1, 5);
}

// The checks that depend on the file, and its backing in *out (NULL: plain zero-filled memory). 0 or -errno.
static long map_file(struct file *f, unsigned prot, unsigned flags, unsigned *max_prot, struct backing **out) {
    if (!f->readable)
        return -EACCES;
    if ((flags & MAP_SHARED) && !f->writable) {
        if (prot & PROT_WRITE)
            return -EACCES;
        *max_prot &= ~PROT_WRITE;
    }
    if (f->path.mount && (f->path.mount->flags & MS_NOEXEC)) {
        if (prot & PROT_EXEC)
            return -EPERM;
        *max_prot &= ~PROT_EXEC;
    }
    if (is_zero_device(f))
        return 0;
    if (!f->ops->map)
        return -ENODEV;
    if (flags & (MAP_GROWSDOWN | MAP_HUGETLB))
        return -EINVAL;
    struct backing *b = f->ops->map(f, prot, flags);
    if (IS_ERR(b))
        return PTR_ERR(b);
    *out = b;
    return 0;
}

long sys_mmap(uint64_t addr, uint64_t len, uint64_t prot_arg, uint64_t flags_arg, uint64_t fd, uint64_t offset) {
    unsigned prot = prot_arg & PROT_BITS, flags = flags_arg, max_prot = PROT_BITS, type = flags & MAP_TYPE;
    struct file *f = NULL;
    struct backing *backing = NULL;
    if (!IS_ALIGNED(offset, PAGE_SIZE))
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS) && !(f = fd_get((int)fd)))
        return -EBADF;
    long r = 0;
    if (len == 0 || (type != MAP_SHARED && type != MAP_PRIVATE && (type != MAP_SHARED_VALIDATE || !f)))
        r = -EINVAL;
    else if (type == MAP_SHARED_VALIDATE && (flags & ~(KNOWN_FLAGS | MAP_TYPE | HUGETLB_SIZE_BITS)))
        r = -EOPNOTSUPP;
    if (type == MAP_SHARED_VALIDATE)
        flags = (flags & ~MAP_TYPE) | MAP_SHARED;
    if (!r && f)
        r = map_file(f, prot, flags, &max_prot, &backing);
    if (!r && !backing) {
        offset = 0;
        if ((flags & MAP_SHARED) && (flags & MAP_GROWSDOWN))
            r = -EINVAL;
        else if (flags & MAP_HUGETLB) // as Linux with an empty pool of huge pages
            r = -ENOMEM;
        else if (flags & MAP_SHARED) // more than all RAM: as with private memory
            backing = len > USER_END || (!(flags & MAP_NORESERVE) && len / PAGE_SIZE > page_total())
                          ? ERR_PTR(-ENOMEM)
                          : shared_memory_create(len);
        if (!r && IS_ERR(backing))
            r = PTR_ERR(backing);
    }
    if (!r) {
        r = aspace_map(aspace_current(), addr, len, prot, flags, backing, offset, max_prot, 0);
        if (backing)
            backing->ops->unref(backing);
    }
    if (f)
        file_unref(f);
    return r;
}

long sys_munmap(uint64_t addr, uint64_t len) { return aspace_unmap(aspace_current(), addr, len); }

long sys_mprotect(uint64_t addr, uint64_t len, uint64_t prot) {
    return aspace_protect(aspace_current(), addr, len, (unsigned)prot);
}

// Without protection keys in the processor there is none but the default one.
long sys_pkey_mprotect(uint64_t addr, uint64_t len, uint64_t prot, uint64_t pkey) {
    return (int)pkey == -1 ? aspace_protect(aspace_current(), addr, len, (unsigned)prot) : -EINVAL;
}

long sys_pkey_alloc(uint64_t flags, uint64_t rights) { return flags || (rights & ~3UL) ? -EINVAL : -ENOSPC; }

long sys_pkey_free(uint64_t pkey) { return -EINVAL; }

long sys_brk(uint64_t addr) { return aspace_brk(aspace_current(), addr); }

long sys_mremap(uint64_t addr, uint64_t old_len, uint64_t new_len, uint64_t flags, uint64_t new_addr) {
    return aspace_remap(aspace_current(), addr, old_len, new_len, (unsigned)flags, new_addr);
}

long sys_madvise(uint64_t addr, uint64_t len, uint64_t advice) {
    return aspace_advise(aspace_current(), addr, len, (int)advice);
}

long sys_msync(uint64_t addr, uint64_t len, uint64_t flags) {
    return aspace_sync(aspace_current(), addr, len, (int)flags);
}

long sys_mincore(uint64_t addr, uint64_t len, uint64_t vec) {
    uint8_t bytes[256];
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (!user_range_ok(addr, len))
        return -ENOMEM;
    uint64_t pages = DIV_ROUND_UP(len, PAGE_SIZE);
    if (!user_range_ok(vec, pages))
        return -EFAULT;
    for (uint64_t done = 0; done < pages;) {
        size_t n = MIN(sizeof(bytes), pages - done);
        long r = aspace_resident(aspace_current(), addr + done * PAGE_SIZE, n, bytes);
        if (r < 0)
            return r;
        if (copy_out(vec + done, bytes, n))
            return -EFAULT;
        done += n;
        sched_point();
    }
    return 0;
}

long sys_mlock(uint64_t addr, uint64_t len) { return aspace_lock_pages(aspace_current(), addr, len, LOCK_ON); }

long sys_mlock2(uint64_t addr, uint64_t len, uint64_t flags) {
    if (flags & ~1UL) // MLOCK_ONFAULT
        return -EINVAL;
    return aspace_lock_pages(aspace_current(), addr, len, flags ? LOCK_ON_FAULT : LOCK_ON);
}

long sys_munlock(uint64_t addr, uint64_t len) { return aspace_lock_pages(aspace_current(), addr, len, LOCK_OFF); }

long sys_mlockall(uint64_t flags) {
    if (!flags || (flags & ~(uint64_t)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
        return -EINVAL;
    return aspace_lock_all(aspace_current(), (unsigned)flags);
}

long sys_munlockall(void) { return aspace_lock_all(aspace_current(), 0); }
