/* See erofs_case.h. The disk is one block device, "vda", whose contents change from case to case. */
#include "tests/unit/erofs_case.h"

#include "fs/blockdev.h"
#include "fs/cache/pagecache.h"
#include "fs/erofs/format.h"
#include "fs/internal.h"
#include "kernel/blockdev.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"

struct erofs_disk erofs_disk;
static struct block_device disk = {.name = "vda", .rdev = MAKE_DEV(254, 0)};
static struct list pending = LIST_INIT(pending);

static void copy(struct block_request *r) {
    uint64_t at = r->start << SECTOR_SHIFT;
    ASSERT(r->op == BLOCK_READ);
    for (unsigned i = 0; i < r->count; i++) {
        const struct block_segment *s = &r->segments[i];
        ASSERT(s->len && s->len % disk.block_size == 0 && at % disk.block_size == 0);
        ASSERT(at + s->len <= disk.sectors << SECTOR_SHIFT);
        size_t there = at < erofs_disk.size ? MIN(erofs_disk.size - at, s->len) : 0;
        memcpy(s->data, erofs_disk.data + at, there);
        memset((char *)s->data + there, 0, s->len - there);
        at += s->len;
        erofs_disk.bytes += s->len;
    }
}

static void end(struct block_request *r) {
    bool fails = erofs_disk.fail_after >= 0 && erofs_disk.requests > (unsigned long)erofs_disk.fail_after;
    if (!fails)
        copy(r);
    block_done(r, fails ? -EIO : 0);
}

static void end_all(void) {
    erofs_disk.waits++;
    while (!list_empty(&pending)) {
        struct block_request *r = list_entry(pending.prev, struct block_request, link);
        list_remove(&r->link);
        end(r);
    }
}

static void submit(struct block_device *dev, struct block_request *r) {
    erofs_disk.requests++;
    erofs_disk.segments += r->count;
    if (!erofs_disk.later) {
        end(r);
        return;
    }
    list_push_back(&pending, &r->link);
    fake_on_sleep = end_all;
}

static const struct block_ops ops = {.submit = submit};

void erofs_disk_set(const void *data, size_t size, bool in_memory) {
    erofs_disk = (struct erofs_disk){.data = data,
                                     .size = size,
                                     .in_memory = in_memory,
                                     .block_size = SECTOR_SIZE,
                                     .fail_after = -1,
                                     .segments_max = 128};
}

/* The image as it now is: pages in memory stay as they are until the next one. */
static void insert_disk(void) {
    end_all(); /* of what was read ahead, and nobody waited for */
    fake_on_sleep = NULL;
    if (!disk.ops) {
        disk.ops = &ops;
        ASSERT(blockdev_register(&disk) == 0);
    }
    if (disk.inode)
        page_cache_invalidate(disk.inode->cache, 0, ~0UL);
    disk.block_size = erofs_disk.block_size;
    disk.segments_max = erofs_disk.segments_max;
    disk.sectors = ALIGN_UP(erofs_disk.size, MAX(erofs_disk.block_size, SECTOR_SIZE)) >> SECTOR_SHIFT;
    if (disk.inode)
        disk.inode->size = disk.sectors << SECTOR_SHIFT;
    disk.memory = NULL;
    fake_reset_reserved();
    if (erofs_disk.in_memory) {
        char *at = phys_to_virt(fake_reserve(DIV_ROUND_UP(disk.sectors << SECTOR_SHIFT, PAGE_SIZE)));
        memcpy(at, erofs_disk.data, erofs_disk.size);
        memset(at + erofs_disk.size, 0, (disk.sectors << SECTOR_SHIFT) - erofs_disk.size);
        disk.memory = at;
    }
}

struct superblock *erofs_case_mount(const char *options) {
    insert_disk();
    return erofs_type.mount(&erofs_type, "vda", 0, options);
}

int erofs_case_attach(const char *at) {
    struct path p;
    insert_disk();
    int err = path_lookup(AT_FDCWD, at, LOOKUP_FOLLOW, &p);
    if (err < 0)
        return err;
    err = vfs_mount("vda", &p, "erofs", 0, NULL);
    path_unref(&p);
    return err;
}

void erofs_case_detach(const char *at) {
    struct path p;
    ASSERT(path_lookup(AT_FDCWD, at, LOOKUP_FOLLOW, &p) == 0);
    ASSERT(vfs_umount(&p, 0) == 0);
    path_unref(&p);
}

/* --- A visitor of trees that may be broken --- */

#define NAMES 48 /* of a directory that are looked at */
#define STEPS 400

struct visit {
    struct dir_context ctx;
    unsigned seen, count;
    char names[NAMES][NAME_MAX + 1];
};
static unsigned steps; /* left */

static bool visit_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type,
                       int64_t off) {
    struct visit *v = container_of(ctx, struct visit, ctx);
    ASSERT(len > 0 && len <= NAME_MAX && off > ctx->pos && type < 16);
    if (v->seen++ % 8 < 5 && v->count < NAMES) { /* of many some */
        memcpy(v->names[v->count], name, len);
        v->names[v->count++][len] = 0;
    }
    return v->seen < 2000;
}

static void read_all(struct file *f) {
    static char buf[8192];
    uint64_t size = f->inode->size, at[] = {0, 8192, 40000, size / 2, size - MIN(size, 5000), size - 1, size};
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        int64_t n = file_read_kernel(f, buf, sizeof(buf), at[i]);
        ASSERT(n <= (int64_t)sizeof(buf) && (n <= 0 || at[i] + (uint64_t)n <= size));
    }
}

static void attributes(struct inode *inode) {
    static char names[8192], value[65536];
    long n = xattr_list(inode, names, sizeof(names));
    ASSERT(n <= (long)sizeof(names));
    for (const char *at = names; n > 0 && at < names + n; at += strlen(at) + 1) {
        xattr_get(inode, at, NULL, 0);
        xattr_get(inode, at, value, 10);
        ASSERT(xattr_get(inode, at, value, sizeof(value)) <= (long)sizeof(value));
    }
    struct file_capabilities c;
    xattr_file_capabilities(inode, &c);
}

static void wander(const char *name) {
    static char target[PATH_MAX];
    struct path p;
    struct vfs_stat st;
    if (!steps || path_lookup(AT_FDCWD, name, 0, &p) < 0)
        return;
    steps--;
    vfs_stat_path(&p, &st);
    attributes(path_inode(&p));
    if (S_ISLNK(st.mode))
        ASSERT(path_inode(&p)->ops->readlink(path_inode(&p), target, sizeof(target)) < PATH_MAX);
    struct file *f = S_ISREG(st.mode) || S_ISDIR(st.mode) ? vfs_open_path(&p, O_RDONLY) : ERR_PTR(-EINVAL);
    if (!IS_ERR(f) && S_ISREG(st.mode))
        read_all(f);
    struct visit *v = !IS_ERR(f) && S_ISDIR(st.mode) ? kzalloc(sizeof(*v)) : NULL;
    if (v) {
        v->ctx.emit = visit_name;
        file_iterate(f, &v->ctx);
        file_seek(f, 5, 0); /* what comes from a place that is none is not kept */
        v->seen = 2000;
        file_iterate(f, &v->ctx);
    }
    for (unsigned i = 0; v && i < v->count; i++) {
        char *below = kmalloc(PATH_MAX);
        if (strcmp(v->names[i], ".") != 0 && strcmp(v->names[i], "..") != 0 &&
            snprintf(below, PATH_MAX, "%s/%s", name, v->names[i]) < PATH_MAX)
            wander(below);
        kfree(below);
    }
    kfree(v);
    if (!IS_ERR(f))
        file_unref(f);
    path_unref(&p);
}

void erofs_case_wander(const char *dir) {
    steps = STEPS;
    wander(dir);
}

/* --- The fuzzer's --- */

enum { IN_MEMORY = 1, LATER = 2, LARGE_BLOCKS = 4, FAILING = 8, AS_IT_IS = 16 };

/* Most of the time is better spent behind the superblock. */
static void mend(struct erofs_super *s) {
    s->magic = EROFS_MAGIC;
    s->compatible &= ~EROFS_COMPAT_CHECKSUM;
    s->incompatible &= EROFS_INCOMPAT_CHUNKS | EROFS_INCOMPAT_ZERO_PADDING;
    s->compression = s->dir_block_bits = 0;
    s->block_bits = s->block_bits < 9 || s->block_bits > 12 ? 9 + s->block_bits % 4 : s->block_bits;
}

void erofs_case_fuzz(const unsigned char *data, size_t size) {
    struct path p;
    fake_start();
    fake_log[0] = 0;
    if (size < EROFS_SUPER_OFFSET + sizeof(struct erofs_super) || size > 1 << 20)
        return;
    if (path_lookup(AT_FDCWD, "/m", 0, &p) == 0)
        path_unref(&p);
    else
        ASSERT(vfs_mkdir(AT_FDCWD, "/m", 0755) == 0);

    uint8_t *image = kmalloc(size), flags = data[0];
    memcpy(image, data, size);
    if (!(flags & AS_IT_IS))
        mend((struct erofs_super *)(image + EROFS_SUPER_OFFSET));
    erofs_disk_set(image, size, flags & IN_MEMORY);
    erofs_disk.later = flags & LATER;
    erofs_disk.block_size = flags & LARGE_BLOCKS ? 4096 : SECTOR_SIZE;
    erofs_disk.segments_max = data[2] ? data[2] : 128;
    if (flags & FAILING)
        erofs_disk.fail_after = data[1];
    int err = erofs_case_attach("/m");
    if (err == 0) {
        erofs_case_wander("/m");
        erofs_case_detach("/m");
    } else {
        ASSERT(err == -EIO || err == -ENOMEM || err == -EOPNOTSUPP || fake_log[0] || size < PAGE_SIZE);
    }
    kfree(image);
}

/* --- What the cache and the disks want of the machine --- */

#define WEAK __attribute__((weak))
WEAK uint64_t page_total(void) { return FAKE_PAGES; }
WEAK uint64_t page_free_count(void) { return FAKE_PAGES - fake_pages_used; }
WEAK bool page_block_free(unsigned order) { return true; }
WEAK struct thread *thread_create_kernel(const char *name, void (*fn)(void *), void *arg) { return NULL; }
WEAK void thread_start(struct thread *t) {}
WEAK bool thread_signal_pending_slow(void) { return false; }
WEAK void thread_wake_clear(struct thread *t, void **word) { *word = NULL; }
WEAK int superblock_sync(struct superblock *sb) { return 0; }
WEAK void vfs_sync_last(void) {}
