// System V shared memory: a segment is a backing whose pages a zero-filled object has (shared_memory_create); mappings of it are
// counted as they come and go, and the last one ends a segment that was removed meanwhile.
// Locks: aspace.lock > the segment's.
#include "kernel/ipc/shm.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include <linux/capability.h>
#include <linux/ipc.h>
#include <linux/shm.h>

#define SHM_DEST 01000   // mode: to be removed with the last mapping
#define SHM_LOCKED 02000 // mode

struct shm_limits shm_limits = {UINT64_MAX - (1UL << 24), UINT64_MAX - (1UL << 24), 4096};
struct ipc_ids shm_ids = IPC_IDS_INIT(shm_ids);
static uint64_t total_pages;

struct segment {
    struct ipc_object object;
    struct backing backing;
    struct backing *memory; // has the pages
    int name_key;           // as its mappings show it, also when it is removed
    nsec_t atime, dtime;
    uint64_t size, attached;
    int creator_pid, last_pid;
};

static struct segment *segment_of(struct ipc_object *o) { return container_of(o, struct segment, object); }
static struct segment *segment_with(struct backing *b) { return container_of(b, struct segment, backing); }
static uint64_t pages_of(const struct segment *s) { return DIV_ROUND_UP(s->size, PAGE_SIZE); }

// --- As a backing ---

static struct page *shm_get_page(struct backing *b, uint64_t index, bool write) {
    struct backing *memory = segment_with(b)->memory;
    return memory->ops->get_page(memory, index, write);
}

static void shm_peek(struct backing *b, uint64_t first, unsigned count, struct page **pages) {
    struct backing *memory = segment_with(b)->memory;
    memory->ops->peek_pages(memory, first, count, pages);
}

static int shm_punch(struct backing *b, uint64_t first, uint64_t count) {
    struct backing *memory = segment_with(b)->memory;
    int err = memory->ops->punch(memory, first, count);
    backing_unmap(b, first, count);
    return err;
}

static void shm_ref(struct backing *b) { ipc_ref(&segment_with(b)->object); }
static void shm_unref(struct backing *b) { ipc_unref(&segment_with(b)->object); }

static void shm_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    struct segment *s = segment_with(b);
    snprintf(name, size, "/SYSV%08x (deleted)", (unsigned)s->name_key);
    if (dev)
        *dev = 1;
    if (ino)
        *ino = (uint64_t)s->object.id;
}

static void shm_mapped(struct backing *b, int change) {
    struct segment *s = segment_with(b);
    spin_lock(&s->object.lock);
    s->attached += change;
    s->last_pid = process_current()->pid;
    *(change > 0 ? &s->atime : &s->dtime) = time_realtime();
    if (s->attached == 0 && (s->object.mode & SHM_DEST) && !s->object.removed)
        ipc_remove(&shm_ids, &s->object); // the mapping that goes still has a reference
    spin_unlock(&s->object.lock);
}

static const struct backing_ops shm_ops = {
    .get_page = shm_get_page,
    .ref = shm_ref,
    .unref = shm_unref,
    .describe = shm_describe,
    .peek_pages = shm_peek,
    .punch = shm_punch,
    .mapped = shm_mapped,
};

// --- Segments ---

static void release(struct ipc_object *o) {
    struct segment *s = segment_of(o);
    atomic_sub(&total_pages, pages_of(s));
    s->memory->ops->unref(s->memory);
    kfree(s);
}

// The sizes that x86-64 has; 0: the default.
static bool huge_size_known(unsigned flags) {
    unsigned shift = flags >> SHM_HUGE_SHIFT & SHM_HUGE_MASK;
    return shift == 0 || shift == HUGE_PAGE_SHIFT || shift == 30;
}

// As with Linux' vm.hugetlb_shm_group=0.
static bool may_have_huge_pages(uint64_t size) {
    return (current_cred()->cap_effective >> CAP_IPC_LOCK & 1) || credentials_in_group(0) ||
           size <= process_current()->limits[RLIMIT_MEMLOCK].rlim_cur;
}

static struct ipc_object *make(const struct ipc_request *r) {
    uint64_t pages = DIV_ROUND_UP(r->size, PAGE_SIZE);
    if (r->size < 1 || r->size > shm_limits.segment)
        return ERR_PTR(-EINVAL);
    if (pages << PAGE_SHIFT < r->size || total_pages + pages < total_pages || total_pages + pages > shm_limits.pages)
        return ERR_PTR(-ENOSPC);
    if (r->flags & SHM_HUGETLB)
        return ERR_PTR(!huge_size_known(r->flags) ? -EINVAL : may_have_huge_pages(r->size) ? -ENOMEM : -EPERM);
    if (pages > page_total() && !(r->flags & SHM_NORESERVE))
        return ERR_PTR(-ENOMEM);
    struct segment *s = kzalloc(sizeof(*s));
    if (!s)
        return ERR_PTR(-ENOMEM);
    s->memory = shared_memory_create(r->size);
    if (IS_ERR(s->memory)) {
        kfree(s);
        return ERR_PTR(-ENOMEM);
    }
    ipc_object_init(&s->object, r, release);
    backing_init(&s->backing, &shm_ops);
    s->name_key = r->key;
    s->size = r->size;
    s->creator_pid = process_current()->pid;
    atomic_add(&total_pages, pages);
    return &s->object;
}

static int check(const struct ipc_object *o, const struct ipc_request *r) {
    return container_of(o, struct segment, object)->size < r->size ? -EINVAL : 0;
}

long shm_get(int key, uint64_t size, unsigned flags) {
    struct ipc_request r = {
        .key = key, .flags = flags, .limit = (unsigned)shm_limits.segments, .make = make, .check = check, .size = size};
    return ipc_get(&shm_ids, &r);
}

// --- Mappings ---

static long attach_segment(struct segment *s, uaddr_t at, unsigned flags) {
    struct aspace *as = process_current()->aspace;
    unsigned prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
    unsigned max_prot = PROT_READ | PROT_EXEC | (prot & PROT_WRITE);
    unsigned map = MAP_SHARED | (!at ? 0 : flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    if (at && !(flags & SHM_REMAP) && at + s->size < at)
        return -EINVAL;
    long result = aspace_map(as, at, s->size, prot, map, &s->backing, 0, max_prot, 0);
    return result == -EEXIST ? -EINVAL : result;
}

long shm_attach(int id, uaddr_t at, unsigned flags) {
    if (id < 0)
        return -EINVAL;
    if (at && (at & (PAGE_SIZE - 1))) {
        if (!(flags & SHM_RND))
            return -EINVAL;
        at = ALIGN_DOWN(at, PAGE_SIZE);
        if (!at && (flags & SHM_REMAP))
            return -EINVAL;
    } else if (!at && (flags & SHM_REMAP)) {
        return -EINVAL;
    }
    unsigned need = 0444 | (flags & SHM_RDONLY ? 0 : 0222) | (flags & SHM_EXEC ? 0111 : 0);
    struct ipc_object *o = ipc_lock(&shm_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct segment *s = segment_of(o);
    if (!ipc_permitted(o, need)) {
        ipc_unlock(o);
        return -EACCES;
    }
    s->attached++; // so that it is not removed before it is mapped
    spin_unlock(&o->lock);
    long result = attach_segment(s, at, flags);
    spin_lock(&o->lock);
    if (--s->attached == 0 && (o->mode & SHM_DEST) && !o->removed)
        ipc_remove(&shm_ids, o);
    ipc_unlock(o);
    return result;
}

// The mapping that begins where the segment attached at `addr` would be, however much of it was unmapped.
static struct vma *find_attached(struct aspace *as, uaddr_t addr) {
    struct vma *v = vma_find(as, addr);
    while (v && !(v->backing && v->backing->ops == &shm_ops && v->start - addr == v->offset))
        v = v->next;
    return v;
}

long shm_detach(uaddr_t addr) {
    struct aspace *as = process_current()->aspace;
    long err = -EINVAL;
    if (addr & (PAGE_SIZE - 1))
        return err;
    rwmutex_write_lock(&as->lock);
    struct vma *v = find_attached(as, addr);
    if (v) {
        struct backing *b = v->backing;
        uaddr_t end = addr + ALIGN_UP(segment_with(b)->size, PAGE_SIZE);
        b->ops->ref(b);
        err = 0;
        while (err == 0 && v && v->end <= end) {
            uaddr_t from = v->start, to = v->end;
            bool ours = v->backing == b && v->start - addr == v->offset;
            err = ours ? unmap_range(as, from, to) : 0;
            v = vma_find(as, to);
        }
        b->ops->unref(b);
    }
    rwmutex_write_unlock(&as->lock);
    return err;
}

// --- The segment as a whole ---

long shm_status(int n, enum ipc_by by, struct shm_status *out) {
    struct ipc_object *o = ipc_lock_to_read(&shm_ids, n, by);
    if (IS_ERR(o))
        return PTR_ERR(o);
    const struct segment *s = segment_of(o);
    ipc_describe(o, &out->ipc);
    out->atime = s->atime;
    out->dtime = s->dtime;
    out->size = s->size;
    out->attached = s->attached;
    out->resident = shared_memory_resident(s->memory);
    out->creator_pid = s->creator_pid;
    out->last_pid = s->last_pid;
    ipc_unlock(o);
    return out->ipc.id;
}

long shm_change(int id, const struct ipc_change *c) {
    struct ipc_object *o = ipc_lock(&shm_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    long err = ipc_owned(o) ? ipc_set(o, c) : -EPERM;
    ipc_unlock(o);
    return err;
}

long shm_remove(int id) {
    struct ipc_object *o = ipc_lock(&shm_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct segment *s = segment_of(o);
    long err = -EPERM;
    if (ipc_owned(o)) {
        err = 0;
        if (s->attached) {
            o->mode |= SHM_DEST;
            ipc_forget_key(&shm_ids, o);
        } else {
            ipc_remove(&shm_ids, o);
        }
    }
    ipc_unlock(o);
    return err;
}

long shm_lock(int id, bool on) {
    struct ipc_object *o = ipc_lock(&shm_ids, id);
    if (IS_ERR(o))
        return PTR_ERR(o);
    const struct process *p = process_current();
    long err = 0;
    if (!(p->cred.cap_effective >> CAP_IPC_LOCK & 1) &&
        ((p->cred.euid != o->uid && p->cred.euid != o->cuid) || (on && !p->limits[RLIMIT_MEMLOCK].rlim_cur)))
        err = -EPERM;
    else // nothing is ever swapped out: only the mode tells
        o->mode = on ? o->mode | SHM_LOCKED : o->mode & ~SHM_LOCKED;
    ipc_unlock(o);
    return err;
}

void shm_totals(uint64_t *pages, uint64_t *resident) {
    *pages = READ_ONCE(total_pages);
    *resident = 0;
    for (int i = 0, last = ipc_highest(&shm_ids); i <= last; i++) {
        struct shm_status st;
        if (shm_status(i, IPC_BY_SLOT_ANY, &st) >= 0)
            *resident += st.resident;
    }
}
