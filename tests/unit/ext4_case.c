/* See ext4_case.h. Requests end late: when somebody sleeps, the last one first. */
#include "tests/unit/ext4_case.h"

#include "fs/cache/internal.h"
#include "fs/ext4/ext4.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"
#include <linux/mount.h>

void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void free(void *p);

struct written {
    struct written *next;
    uint64_t at;
    size_t len;
    unsigned char data[];
};

struct ext4_disk ext4_disks[2] = {{.fail_after = -1}, {.fail_after = -1}};
static struct list pending = LIST_INIT(pending);
static struct ext4_disk *disk_of(struct block_device *dev) { return container_of(dev, struct ext4_disk, dev); }

static void forget(struct ext4_disk *disk, bool apply) {
    for (struct written *w = disk->first, *next; w; w = next) {
        next = w->next;
        if (apply)
            memcpy(disk->durable + w->at, w->data, w->len);
        free(w);
    }
    disk->first = disk->last = NULL;
}

static void note(struct ext4_disk *disk, uint64_t at, const void *data, size_t len) {
    struct written *w = malloc(sizeof(*w) + len);
    *w = (struct written){.at = at, .len = len};
    memcpy(w->data, data, len);
    if (disk->last)
        disk->last->next = w;
    else
        disk->first = w;
    disk->last = w;
}

static int transfer(struct ext4_disk *disk, struct block_request *r) {
    uint64_t at = r->sector << SECTOR_SHIFT;
    if (r->op == BLOCK_FLUSH) {
        disk->flushes++;
        if (disk->fail_after >= 0 && disk->writes >= (unsigned long)disk->fail_after)
            return -EIO;
        if (disk->durable)
            forget(disk, true);
        return 0;
    }
    if (r->op == BLOCK_WRITE) {
        if (disk->fail_after >= 0 && disk->writes >= (unsigned long)disk->fail_after)
            return -EIO;
        disk->writes++;
        if (disk->on_write)
            disk->on_write(disk);
    } else if (disk->fail_reads) {
        return -EIO;
    }
    for (unsigned k = 0; k < r->count; k++) {
        const struct block_segment *s = &r->segments[k];
        ASSERT(s->len && s->len % SECTOR_SIZE == 0 && at + s->len <= disk->size);
        if (r->op == BLOCK_READ) {
            memcpy(s->data, disk->data + at, s->len);
        } else {
            memcpy(disk->data + at, s->data, s->len);
            if (disk->durable)
                note(disk, at, s->data, s->len);
        }
        at += s->len;
    }
    return 0;
}

static void end_all(void) {
    while (!list_empty(&pending)) {
        struct block_request *r = list_entry(pending.prev, struct block_request, link);
        list_remove(&r->link);
        struct ext4_disk *disk = r->at ? &ext4_disks[1] : &ext4_disks[0];
        block_done(r, transfer(disk, r));
    }
}

static void submit(struct block_device *dev, struct block_request *r) {
    disk_of(dev)->requests++;
    r->at = disk_of(dev) == &ext4_disks[1];
    // A flush is for what ended before it.
    list_push_back(&pending, &r->link);
    fake_on_sleep = end_all;
}
static const struct block_ops ops = {.submit = submit};

void ext4_disk_insert(struct ext4_disk *disk, const unsigned char *data, size_t size, bool keep) {
    ext4_disk_eject(disk);
    disk->data = malloc(size);
    memcpy(disk->data, data, size);
    disk->size = size;
    if (keep) {
        disk->durable = malloc(size);
        memcpy(disk->durable, data, size);
    }
    disk->dev.sectors = size >> SECTOR_SHIFT;
    disk->fail_after = -1;
    disk->fail_reads = false;
    disk->on_write = NULL;
    disk->writes = disk->requests = disk->flushes = 0;
    if (disk->dev.inode) {
        page_cache_invalidate(disk->dev.inode->cache, 0, ~0ul);
        disk->dev.inode->size = size;
    }
}

void ext4_disk_eject(struct ext4_disk *disk) {
    end_all();
    forget(disk, false);
    free(disk->data);
    free(disk->durable);
    disk->data = disk->durable = NULL;
}

unsigned char *ext4_disk_cut(struct ext4_disk *disk, uint64_t (*random)(void)) {
    unsigned char *image = malloc(disk->size);
    memcpy(image, disk->durable, disk->size);
    uint64_t kind = random() % 4; // everything, nothing, by the request, by the sector
    for (struct written *w = disk->first; w; w = w->next) {
        bool there = kind == 0 || (kind >= 2 && random() % 2);
        for (size_t at = 0; at < w->len; at += SECTOR_SIZE)
            if (kind == 3 ? random() % 2 : there)
                memcpy(image + w->at + at, w->data + at, SECTOR_SIZE);
    }
    return image;
}

void ext4_case_start(void) {
    fake_start();
    for (unsigned k = 0; k < 2; k++) {
        struct block_device *dev = &ext4_disks[k].dev;
        if (dev->ops)
            continue;
        dev->ops = &ops;
        dev->block_size = SECTOR_SIZE;
        dev->segments_max = k ? 16 : 64;
        dev->bytes_max = k ? 16384 : 0;
        dev->flushes = true;
        dev->sectors = 1;
        ASSERT(blockdev_register(dev) == 0);
    }
}

int ext4_case_mount(struct ext4_disk *disk, const char *at, unsigned long flags) {
    struct path p;
    if (path_lookup(AT_FDCWD, at, LOOKUP_FOLLOW, &p) < 0) {
        ASSERT(vfs_mkdir(AT_FDCWD, at, 0755) == 0);
        ASSERT(path_lookup(AT_FDCWD, at, LOOKUP_FOLLOW, &p) == 0);
    }
    int err = vfs_mount(disk->dev.name, &p, "ext4", flags, NULL);
    path_unref(&p);
    return err;
}

void ext4_case_unmount(const char *at) {
    struct path p;
    ASSERT(path_lookup(AT_FDCWD, at, LOOKUP_FOLLOW, &p) == 0);
    int err = vfs_umount(&p, 0);
    if (err)
        panic("umount %s: %d", at, err);
    path_unref(&p);
    end_all();
}

/* --- What the file system wants of the machine --- */

#define WEAK __attribute__((weak))
WEAK uint64_t page_total(void) { return FAKE_PAGES; }
WEAK uint64_t page_free_count(void) { return FAKE_PAGES - fake_pages_used; }
WEAK bool page_block_free(unsigned order) { return true; }
WEAK struct thread *thread_create_kernel(const char *name, void (*fn)(void *), void *arg) { return NULL; }
WEAK void thread_start(struct thread *t) {}
WEAK bool thread_signal_pending_slow(void) { return false; }
WEAK void thread_wake_clear(struct thread *t, void **word) { *word = NULL; }
WEAK void rwmutex_init(struct rwmutex *m) { m->word = 0; }
WEAK void rwmutex_read_lock(struct rwmutex *m) {
    ASSERT(m->word < 1000);
    m->word++;
}
WEAK void rwmutex_read_unlock(struct rwmutex *m) {
    ASSERT(m->word && m->word < 1000);
    m->word--;
}
WEAK void rwmutex_write_lock(struct rwmutex *m) {
    ASSERT(m->word == 0);
    m->word = 1000;
}
WEAK void rwmutex_write_unlock(struct rwmutex *m) {
    ASSERT(m->word == 1000);
    m->word = 0;
}
WEAK uint64_t random_u64(void) { return fake_random(); }
WEAK void backing_unshow_idle(struct backing *b, uint64_t first, uint64_t count) {}
WEAK int ext4_thread_start(struct ext4_fs *fs) { return 0; }
WEAK void ext4_thread_stop(struct ext4_fs *fs) {}
WEAK void ext4_thread_wake(struct ext4_fs *fs) {}
