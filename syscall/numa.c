// Memory policies, as a machine with one node of memory answers: set_mempolicy(2), get_mempolicy(2), mbind(2), migrate_pages(2),
// move_pages(2). A thread's policy is checked and kept; there is no second node that a page could go to.
#include "kernel/memory/aspace.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/mempolicy.h>

#define NODES_MAX 1024 // bits of a mask that Linux knows (CONFIG_NODES_SHIFT 10)
#define BITS 64
#define MODE_FLAGS (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES)
#define HAS_NODE 0x100 // of thread.memory_policy: the mask had node 0

static bool may(unsigned capability) { return current_cred()->cap_effective >> capability & 1; }

// Which nodes a mask of the application has: 0 none, 1 node 0, 2 others too. Or -EINVAL, -EFAULT.
static int get_nodes(uaddr_t mask, uint64_t max) {
    int found = 0;
    max--;
    if (max == 0 || !mask)
        return 0;
    if (max > PAGE_SIZE * 8)
        return -EINVAL;
    for (uint64_t at = 0; at < max; at += BITS) {
        uint64_t word;
        if (copy_in_obj(&word, mask + at / 8) < 0)
            return -EFAULT;
        if (max - at < BITS)
            word &= (1UL << (max - at)) - 1;
        if (word && at >= NODES_MAX)
            return -EINVAL;
        if (at == 0 && (word & 1))
            found |= 1;
        if (at == 0 ? word & ~1UL : word)
            found |= 2;
    }
    return found;
}

// The mode with its flags and HAS_NODE, or -EINVAL.
static int check_policy(unsigned mode, int nodes) {
    unsigned flags = mode & MODE_FLAGS;
    mode &= ~MODE_FLAGS;
    if (mode >= MPOL_MAX || flags == MODE_FLAGS)
        return -EINVAL;
    if (mode == MPOL_DEFAULT)
        return nodes || flags ? -EINVAL : MPOL_DEFAULT;
    if (mode == MPOL_LOCAL || (mode == MPOL_PREFERRED && !nodes))
        return nodes || flags ? -EINVAL : MPOL_LOCAL;
    if (!(nodes & 1) && !(flags & MPOL_F_RELATIVE_NODES && nodes))
        return -EINVAL; // none that exists
    return (int)(mode | flags | HAS_NODE);
}

long sys_set_mempolicy(uint64_t mode, uint64_t mask, uint64_t max) {
    if (((unsigned)mode & ~MODE_FLAGS) >= MPOL_MAX || ((unsigned)mode & MODE_FLAGS) == MODE_FLAGS)
        return -EINVAL;
    int nodes = get_nodes(mask, max);
    if (nodes < 0)
        return nodes;
    int policy = check_policy((unsigned)mode, nodes);
    if (policy < 0)
        return policy;
    thread_current()->memory_policy = (uint16_t)policy;
    return 0;
}

static long put_nodes(uaddr_t mask, uint64_t max, uint64_t nodes) {
    if (!mask)
        return 0;
    uint64_t bytes = ALIGN_UP(max - 1, BITS) / 8, first = MIN(bytes, sizeof(nodes));
    if (bytes > PAGE_SIZE)
        return -EINVAL;
    if (copy_out(mask, &nodes, first) < 0 || (bytes > first && clear_out(mask + first, bytes - first) < 0))
        return -EFAULT;
    return 0;
}

static bool mapped(uaddr_t addr) {
    struct aspace *as = process_current()->aspace;
    rwmutex_read_lock(&as->lock);
    struct vma *v = vma_find(as, addr);
    bool yes = v && v->start <= addr;
    rwmutex_read_unlock(&as->lock);
    return yes;
}

long sys_get_mempolicy(uint64_t policy, uint64_t mask, uint64_t max, uint64_t addr, uint64_t flags) {
    unsigned current = thread_current()->memory_policy;
    int value = (int)(current & ~HAS_NODE);
    uint64_t nodes = current & HAS_NODE ? 1 : 0;
    if (mask && max < 1)
        return -EINVAL;
    if (flags & ~(uint64_t)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
        return -EINVAL;
    if (flags & MPOL_F_MEMS_ALLOWED) {
        if (flags & (MPOL_F_NODE | MPOL_F_ADDR))
            return -EINVAL;
        value = 0;
        nodes = 1;
    } else if (flags & MPOL_F_ADDR) {
        if (!mapped(addr))
            return -EFAULT;
        value = MPOL_DEFAULT; // or, with MPOL_F_NODE, the node of its page
        nodes = 0;
    } else if (addr) {
        return -EINVAL;
    } else if (flags & MPOL_F_NODE) {
        if ((value & ~MODE_FLAGS) != MPOL_INTERLEAVE)
            return -EINVAL;
        value = 0;
    }
    if (policy && copy_out_obj(policy, &value) < 0)
        return -EFAULT;
    return put_nodes(mask, max, nodes);
}

long sys_mbind(uint64_t start, uint64_t len, uint64_t mode, uint64_t mask, uint64_t max, uint64_t flags) {
    if (((unsigned)mode & ~MODE_FLAGS) >= MPOL_MAX || ((unsigned)mode & MODE_FLAGS) == MODE_FLAGS)
        return -EINVAL;
    int nodes = get_nodes(mask, max);
    if (nodes < 0)
        return nodes;
    if (flags & ~(uint64_t)MPOL_MF_VALID)
        return -EINVAL;
    if ((flags & MPOL_MF_MOVE_ALL) && !may(CAP_SYS_NICE))
        return -EPERM;
    if (start & (PAGE_SIZE - 1))
        return -EINVAL;
    uint64_t end = start + ALIGN_UP(len, PAGE_SIZE);
    if (end < start)
        return -EINVAL;
    if (end == start)
        return 0;
    int policy = check_policy((unsigned)mode, nodes);
    if (policy < 0)
        return policy;
    struct aspace *as = process_current()->aspace;
    rwmutex_read_lock(&as->lock);
    struct vma *v = vma_find(as, start);
    while (v && v->start <= start && v->end < end) {
        start = v->end;
        v = vma_next(v);
    }
    bool whole = v && v->start <= start;
    rwmutex_read_unlock(&as->lock);
    return whole ? 0 : -EFAULT;
}

// The address space of a process that may be looked into; 0: this one. ERR_PTR(-ESRCH, -EPERM).
static struct aspace *aspace_of(int pid) {
    if (!pid)
        return process_aspace_ref(process_current());
    struct thread *t = thread_find(pid);
    if (!t)
        return ERR_PTR(-ESRCH);
    struct aspace *as = process_may_trace(t->process, true) ? process_aspace_ref(t->process) : ERR_PTR(-EPERM);
    thread_unref(t);
    return as ? as : ERR_PTR(-EINVAL);
}

long sys_migrate_pages(uint64_t pid, uint64_t max, uint64_t from, uint64_t to) {
    int old = get_nodes(from, max), new = old < 0 ? old : get_nodes(to, max);
    if (new < 0)
        return new;
    struct aspace *as = aspace_of((int)pid);
    if (IS_ERR(as))
        return PTR_ERR(as);
    aspace_unref(as);
    return (new & 2) && !may(CAP_SYS_NICE) ? -EPERM : 0; // all pages are where they may be
}

static int page_status(struct aspace *as, uaddr_t addr) {
    uint8_t present = 0;
    if (aspace_resident(as, ALIGN_DOWN(addr, PAGE_SIZE), 1, &present) < 0)
        return -EFAULT;
    return present ? 0 : -ENOENT;
}

static long move_each(struct aspace *as, uint64_t count, uaddr_t pages, uaddr_t nodes, uaddr_t status) {
    for (uint64_t i = 0; i < count; i++) {
        uaddr_t page;
        int node = 0;
        if (copy_in_obj(&page, pages + i * sizeof(page)) < 0)
            return -EFAULT;
        if (nodes && copy_in_obj(&node, nodes + i * sizeof(node)) < 0)
            return -EFAULT;
        if (node != 0)
            return -ENODEV;
        int result = page_status(as, page);
        if (copy_out_obj(status + i * sizeof(result), &result) < 0)
            return -EFAULT;
        sched_point();
    }
    return 0;
}

long sys_move_pages(uint64_t pid, uint64_t count, uint64_t pages, uint64_t nodes, uint64_t status, uint64_t flags) {
    if (flags & ~(uint64_t)(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
        return -EINVAL;
    if ((flags & MPOL_MF_MOVE_ALL) && !may(CAP_SYS_NICE))
        return -EPERM;
    struct aspace *as = aspace_of((int)pid);
    if (IS_ERR(as))
        return PTR_ERR(as);
    long result = move_each(as, count, pages, nodes, status);
    aspace_unref(as);
    return result;
}
