// link: fs/blockdev.c kernel/blockdev.c
// flags: -D__KERNEL__
/* Block devices as files: what becomes of pages on their way when requests fail, at once or later; claims; devices in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fs/blockdev.h"
#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/partition.h"
#include "kernel/string.h"

/* Of the C library, whose headers do not go together with the kernel's. */
void *malloc(size_t n);
void *aligned_alloc(size_t align, size_t n);
void free(void *p);
void abort(void) NORETURN;

/* --- The kernel around it --- */
#define PAGES 64
unsigned char *host_ram;
static struct page page_descriptors[PAGES];
struct page *page_array = page_descriptors;
static bool no_memory;
void *kmalloc(size_t size) { return no_memory ? NULL : malloc(size); }
void *kzalloc(size_t size) {
    void *p = kmalloc(size);
    return p ? memset(p, 0, size) : NULL;
}
void kfree(void *p) { free(p); }
struct page *page_alloc(unsigned order, unsigned flags) {
    return NULL;
}
void page_unref(struct page *p) { p->refs--; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { abort(); }
void mutex_lock(struct mutex *m) {}
void mutex_unlock(struct mutex *m) {}
void panic(const char *fmt, ...) { abort(); }
enum log_level log_threshold;
void log_print(enum log_level level, const char *fmt, ...) {}
size_t str_copy(char *dst, const char *src, size_t size) { return (size_t)snprintf(dst, size, "%s", src); }
static struct thread this_thread;
struct thread *thread_current(void) {
    return &this_thread;
}
void thread_prepare_sleep(bool interruptible) {}
void thread_cancel_sleep(void) {}
int thread_sleep_until(nsec_t deadline) { abort(); }
void thread_wake_clear(struct thread *t, void **flag) { *flag = NULL; }
void sched_yield_now(void) {}
void partition_scan(struct block_device *dev, partition_read read) { dev->scanned = true; }
int partition_read_direct(struct block_device *dev, uint64_t offset, void *buf, size_t len) { return -EIO; }
struct mount *mount_root(void) {
    return (struct mount *)1;
} /* only not NULL */
int path_lookup(int at, const char *name, unsigned flags, struct path *out) { return -ENOENT; }
void path_unref(const struct path *p) {}
struct inode *path_inode(const struct path *p) {
    return NULL;
}
struct file *file_alloc(const struct file_ops *ops, struct inode *inode, unsigned flags) {
    return ERR_PTR(-ENFILE);
}
void file_release(struct file *f) {}
void inode_unref(struct inode *inode) { inode->refs--; }
struct inode *inode_anonymous(uint32_t mode, uint64_t rdev) {
    struct inode *i = kzalloc(sizeof(*i));
    if (i) {
        i->mode = mode;
        i->refs = 1;
    }
    return i;
}
size_t uio_put(struct uio *u, const void *src, size_t n) { return 0; }
size_t uio_get(struct uio *u, void *dst, size_t n) { return 0; }
long blockdev_ioctl(struct file *f, unsigned cmd, uint64_t arg) { return -ENOTTY; }
int blockdev_allocate(struct file *f, int mode, uint64_t offset, uint64_t len) { return -EIO; }
int64_t blockdev_direct(struct file *f, enum block_op op, struct uio *u, uint64_t *pos) { return -EIO; }

/* --- The page cache: what it was told --- */
static const struct page_cache_ops *ops;
static int ended[PAGES], results[PAGES];
void page_cache_init(struct page_cache *c, struct inode *host, const struct page_cache_ops *o) {
    c->host = host;
    c->ops = ops = o;
}
static void page_ended(struct page *p, int error) {
    ended[p - page_array]++;
    results[p - page_array] = error;
}
void page_cache_read_done(struct page_cache *c, struct page *p, int error) { page_ended(p, error); }
void page_cache_write_done(struct page_cache *c, struct page *p, int error) { page_ended(p, error); }
int64_t page_cache_read(struct page_cache *c, struct uio *u, uint64_t *pos, unsigned advice) { return -EIO; }
int64_t page_cache_write(struct page_cache *c, struct uio *u, uint64_t *pos, uint64_t end) { return -EIO; }
int page_cache_sync(struct page_cache *c, uint64_t index, uint64_t count) { return 0; }
int page_cache_start_sync(struct page_cache *c, uint64_t index, uint64_t count) { return 0; }
int page_cache_check_error(struct page_cache *c, uint32_t *seen) { return 0; }
uint32_t page_cache_sample_error(struct page_cache *c) { return 0; }

/* --- The device: 40 pages and 3 sectors --- */
#define SECTORS (40 * 8 + 3)
static uint8_t medium[SECTORS * 512];
static uint64_t bad_page;
static bool dead, late;
static struct block_request *queue[PAGES];
static unsigned queued, requests, depth, deepest;

static void perform(struct block_request *r) {
    uint64_t at = r->start * 512;
    int error = dead ? -EIO : 0;
    for (unsigned i = 0; i < r->count; i++) {
        uint32_t n = r->segments[i].len;
        assert_true(at + n <= sizeof(medium));
        if (bad_page * PAGE_SIZE < at + n && (bad_page + 1) * PAGE_SIZE > at)
            error = -EIO;
        if (!error && r->op == BLOCK_READ)
            memcpy(r->segments[i].data, medium + at, n);
        else if (!error)
            memcpy(medium + at, r->segments[i].data, n);
        at += n;
    }
    block_done(r, error);
}
static void submit(struct block_device *dev, struct block_request *r) {
    requests++;
    depth++;
    deepest = MAX(deepest, depth);
    if (late)
        queue[queued++] = r;
    else
        perform(r);
    depth--;
}
static const struct block_ops device_ops = {.submit = submit};
static struct block_device device;
static struct inode *inode;

static int start(void **state) {
    if (!host_ram)
        host_ram = aligned_alloc(PAGE_SIZE, PAGES * PAGE_SIZE);
    for (unsigned i = 0; i < sizeof(medium); i++)
        medium[i] = (uint8_t)(i / 512 * 3 + i);
    memset(host_ram, 0xcc, PAGES * PAGE_SIZE);
    memset(ended, 0, sizeof(ended));
    bad_page = 1000;
    dead = late = no_memory = false;
    requests = queued = deepest = 0;
    device = (struct block_device){
        .ops = &device_ops, .name = "test", .sectors = SECTORS, .block_size = 512, .segments_max = 16};
    inode = blockdev_inode(&device);
    assert_false(IS_ERR(inode));
    assert_int_equal(inode->size, sizeof(medium));
    return 0;
}
static int stop(void **state) {
    free(inode->cache); /* the beginning of what it lies in */
    free(inode);
    return 0;
}

/* Pages of the disk [0, 41) in pages of memory in an order of their own; the last is a part. */
static struct page *pages[41];
static void transfer(enum block_op op) {
    for (unsigned i = 0; i < 41; i++)
        pages[i] = &page_array[i % 5 == 4 ? 45 + i / 5 : i];
    (op == BLOCK_READ ? ops->read : ops->write)(inode->cache, 0, pages, 41);
    while (queued)
        perform(queue[--queued]);
}

static void check(int bad) {
    for (int i = 0; i < 41; i++) {
        unsigned n = (unsigned)(pages[i] - page_array);
        assert_int_equal(ended[n], 1);
        assert_int_equal(results[n], i == bad ? -EIO : 0);
        if (i != bad)
            assert_memory_equal(page_to_virt(pages[i]), medium + (size_t)i * PAGE_SIZE, i == 40 ? 3 * 512 : PAGE_SIZE);
    }
    for (unsigned k = 3 * 512; k < PAGE_SIZE; k++) /* behind the end */
        assert_int_equal(((uint8_t *)page_to_virt(pages[40]))[k], 0);
}

static void pages_come_and_go(void **state) {
    for (int i = 0; i < 2; i++) {
        memset(ended, 0, sizeof(ended));
        late = i;
        transfer(BLOCK_READ);
        check(-1);
    }
    assert_int_equal(requests, 2 * 3); /* of 16 pages each; neighbours are one segment */
    for (unsigned i = 0; i < PAGES * PAGE_SIZE; i++)
        host_ram[i] = (uint8_t)(i / 100);
    memset((char *)page_to_virt(&page_array[40]) + 3 * 512, 0, PAGE_SIZE - 3 * 512);
    memset(ended, 0, sizeof(ended));
    transfer(BLOCK_WRITE);
    check(-1);
}

static void only_the_bad_page_is_missing(void **state) {
    static const uint64_t bad[] = {0, 5, 15, 16, 39, 40};
    for (unsigned i = 0; i < ARRAY_SIZE(bad) * 2; i++) {
        memset(ended, 0, sizeof(ended));
        late = i % 2;
        bad_page = bad[i / 2];
        transfer(BLOCK_READ);
        check((int)bad_page);
    }
}

static void a_dead_device_ends_everything(void **state) {
    for (int i = 0; i < 2; i++) {
        memset(ended, 0, sizeof(ended));
        dead = true;
        late = i;
        deepest = 0;
        transfer(BLOCK_WRITE);
        for (unsigned k = 0; k < 41; k++) {
            assert_int_equal(ended[pages[k] - page_array], 1);
            assert_int_equal(results[pages[k] - page_array], -EIO);
        }
        assert_true(deepest <= 2); /* the stack does not grow with the pages */
    }
}

static void works_without_memory(void **state) {
    no_memory = true;
    transfer(BLOCK_READ);
    check(-1);
    no_memory = false;
}

static void one_holder_at_a_time(void **state) {
    struct block_device part = {.parent = &device, .name = "test1"}, other = {.parent = &device};
    int a = 0, b = 0;
    assert_int_equal(blockdev_claim(&device, &a), 0);
    assert_int_equal(blockdev_claim(&device, &b), -EBUSY);
    assert_int_equal(blockdev_claim(&device, &a), 0);
    assert_int_equal(blockdev_claim(&part, &b), -EBUSY);
    blockdev_release(&device, &a);
    assert_int_equal(blockdev_claim(&device, &b), -EBUSY);
    blockdev_release(&device, &a);
    assert_int_equal(blockdev_claim(&part, &b), 0);
    assert_int_equal(blockdev_claim(&part, &a), -EBUSY);
    assert_int_equal(blockdev_claim(&other, &a), 0);
    assert_int_equal(blockdev_claim(&device, &b), -EBUSY); /* a partition of it is held */
    blockdev_release(&part, &b);
    assert_int_equal(blockdev_claim(&device, &a), -EBUSY);
    blockdev_release(&other, &a);
    assert_int_equal(blockdev_claim(&device, &a), 0);
    blockdev_release(&device, &a);
}

static void memory_is_its_own_cache(void **state) {
    struct block_device *dev = blockdev_register_memory("initrd", host_ram + 8 * PAGE_SIZE, 3 * PAGE_SIZE + 1500);
    assert_non_null(dev);
    assert_null(blockdev_register_memory("initrd", host_ram, PAGE_SIZE));
    assert_int_equal(dev->sectors, 3 * 8 + 2);
    assert_ptr_equal(blockdev_find_name("/dev/initrd"), dev);
    struct inode *i = blockdev_inode(dev);
    for (unsigned k = 0; k < 4; k++)
        assert_ptr_equal(ops->provide(i->cache, k), k < 3 ? &page_array[8 + k] : NULL);
    assert_int_equal(page_array[8].refs, 1);
    assert_null(ops->provide(i->cache, ~0ul >> 12));
    memset(ended, 0, sizeof(ended));
    struct page *p = &page_array[20];
    memcpy(host_ram + 11 * PAGE_SIZE, "the end", 8);
    ops->read(i->cache, 3, &p, 1);
    assert_int_equal(results[20], 0);
    assert_string_equal(page_to_virt(p), "the end");
    assert_int_equal(((uint8_t *)page_to_virt(p))[1024], 0);
    char buf[512];
    assert_int_equal(block_io(dev, BLOCK_WRITE, 0, buf, 512), -EROFS);
    assert_int_equal(block_io(dev, BLOCK_READ, 26, buf, 512), -EINVAL);
    assert_int_equal(block_flush(dev), 0);
    assert_ptr_equal(blockdev_source("initrd"), dev);
    assert_int_equal(PTR_ERR(blockdev_source("vdz")), -ENOENT);
    assert_int_equal(PTR_ERR(blockdev_source("")), -EINVAL);
    list_remove(&dev->link);
    free(i->cache);
    free(i);
    free(dev);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_come_and_go, start, stop),
        cmocka_unit_test_setup_teardown(only_the_bad_page_is_missing, start, stop),
        cmocka_unit_test_setup_teardown(a_dead_device_ends_everything, start, stop),
        cmocka_unit_test_setup_teardown(works_without_memory, start, stop),
        cmocka_unit_test_setup_teardown(one_holder_at_a_time, start, stop),
        cmocka_unit_test_setup_teardown(memory_is_its_own_cache, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
