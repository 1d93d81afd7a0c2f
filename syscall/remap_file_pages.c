// remap_file_pages(2), as Linux has emulated it since 4.0: a mapping of its own for the pages of another place in the same file.
#include "kernel/memory/aspace.h"
#include "kernel/process/process.h"
#include "syscall/syscall.h"

long sys_remap_file_pages(uint64_t start, uint64_t size, uint64_t prot, uint64_t page_offset, uint64_t flags) {
    if (prot)
        return -EINVAL;
    start = ALIGN_DOWN(start, PAGE_SIZE);
    size = ALIGN_DOWN(size, PAGE_SIZE);
    if (start + size <= start || page_offset + (size >> PAGE_SHIFT) < page_offset ||
        page_offset > (uint64_t)INT64_MAX >> PAGE_SHIFT)
        return -EINVAL;
    struct aspace *as = process_current()->aspace;
    struct vma kind = {.backing = NULL};
    rwmutex_read_lock(&as->lock);
    struct vma *v = vma_find(as, start);
    if (v && v->start <= start && (v->flags & MAP_SHARED) && v->backing) {
        struct vma *last = v; // the same object may be shown by several mappings side by side
        while (last->end < start + size && vma_next(last) && vma_next(last)->start == last->end &&
               vma_next(last)->backing == v->backing && vma_next(last)->flags == v->flags)
            last = vma_next(last);
        if (last->end >= start + size) {
            kind = *v;
            kind.backing->ops->ref(kind.backing);
        }
    }
    rwmutex_read_unlock(&as->lock);
    if (!kind.backing)
        return -EINVAL;
    unsigned map = MAP_SHARED | MAP_FIXED | MAP_POPULATE | (flags & MAP_NONBLOCK) | (kind.flags & MAP_LOCKED);
    long at = aspace_map(as, start, size, kind.prot, map, kind.backing, page_offset << PAGE_SHIFT, kind.max_prot,
                         kind.vm_flags);
    kind.backing->ops->unref(kind.backing);
    return at < 0 ? at : 0;
}
