// link: fs/cache/pagecache.c fs/cache/map.c fs/cache/drop.c fs/cache/file.c fs/cache/readahead.c fs/cache/writeback.c fs/cache/reclaim.c fs/pagetree.c
// link: kernel/memory/uio.c kernel/threads/wait.c tests/unit/cache_fakes.c
// flags: -D__KERNEL__
/* The page cache over a file system of memory whose requests end late, in any order, or fail. Random operations are done to the cache
 * and to a plain model: reads, writes, cuts, stores through mappings, write-back, reclaim. In the end the disk is what the model is.
 * Then the corners: errors, read-ahead, limits of dirty pages, deleted files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/cache/internal.h"
#include "fs/cache/settings.h"
#include "kernel/string.h"
#include "tests/unit/cache_fakes.h"
#include <linux/fadvise.h>

#define FILES 3
#define PAGES 40
#define BYTES (PAGES * PAGE_SIZE)
#define REQUESTS 512

struct request {
    struct disk_file *file;
    struct page *page;
    uint64_t index;
    bool write, early; /* early: the data is taken when it is submitted */
    uint8_t data[PAGE_SIZE];
};
struct disk_file {
    struct inode inode;
    struct page_cache cache;
    struct file file;
    bool open;
    uint8_t disk[BYTES], model[BYTES];
    bool block[PAGES];
    struct page *mapped[PAGES]; /* what a mapping shows */
    bool writable[PAGES];
    bool released;
};
static struct disk_file *files;
static struct request *requests;
static unsigned request_count, reads_started, writes_started, read_calls, write_calls, biggest_write;
static bool immediate, fail_reads, fail_writes, disk_full;
static unsigned blocks_used, no_memory; /* no_memory: so many pages are not written for want of it */

/* --- The file system --- */

static struct disk_file *disk_of(struct page_cache *c) { return container_of(c, struct disk_file, cache); }

static void finish(unsigned i) {
    struct request r = requests[i];
    requests[i] = requests[--request_count];
    struct disk_file *f = r.file;
    uint8_t *data = page_to_virt(r.page), *disk = f->disk + r.index * PAGE_SIZE;
    int err = (r.write ? fail_writes : fail_reads) ? -EIO : 0;
    if (r.write) {
        assert_true(r.page->private & CACHE_WRITEBACK);
        if (!err && f->block[r.index])
            memcpy(disk, r.early ? r.data : data, PAGE_SIZE);
        page_cache_write_done(&f->cache, r.page, err);
        return;
    }
    assert_int_equal(r.page->private & (CACHE_LOCKED | CACHE_VALID), CACHE_LOCKED);
    if (!err && r.index < PAGES && f->block[r.index])
        memcpy(data, disk, PAGE_SIZE);
    else
        memset(data, err ? 0xee : 0, PAGE_SIZE);
    uint64_t start = r.index * PAGE_SIZE;
    if (f->inode.size < start + PAGE_SIZE)
        memset(data + (f->inode.size > start ? f->inode.size - start : 0), 0,
               PAGE_SIZE - (f->inode.size > start ? f->inode.size - start : 0));
    page_cache_read_done(&f->cache, r.page, err);
}

static void submit(struct page_cache *c, uint64_t index, struct page **pages, unsigned count, bool write) {
    for (unsigned i = 0; i < count; i++) {
        assert_true(request_count < REQUESTS && index + i < PAGES);
        assert_ptr_equal(pages[i]->owner, c);
        if (write && no_memory) {
            no_memory--;
            page_cache_write_again(c, pages[i]);
            continue;
        }
        for (unsigned j = 0; j < request_count; j++)
            assert_false(requests[j].page == pages[i]);
        struct request *r = &requests[request_count++];
        r->file = disk_of(c), r->page = pages[i], r->index = index + i, r->write = write;
        r->early = fake_random() % 2;
        if (write) {
            assert_null(r->file->writable[index + i] ? pages[i] : NULL); /* no store goes unnoticed from now on */
            memcpy(r->data, page_to_virt(pages[i]), PAGE_SIZE);
        }
        if (immediate)
            finish(request_count - 1);
    }
}

static void disk_read(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    reads_started += count;
    read_calls++;
    submit(c, index, pages, count, false);
}

static void disk_write(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    writes_started += count;
    write_calls++;
    biggest_write = MAX(biggest_write, count);
    submit(c, index, pages, count, true);
}

static int disk_prepare(struct page_cache *c, uint64_t index, unsigned from, unsigned to, bool fault, bool *whole) {
    struct disk_file *f = disk_of(c);
    assert_true(index < PAGES && from < to && to <= PAGE_SIZE);
    if (f->block[index])
        return 0;
    if (disk_full)
        return -ENOSPC;
    f->block[index] = true;
    blocks_used++;
    memset(f->disk + index * PAGE_SIZE, 0xdd, PAGE_SIZE); /* what was there before is nobody's business */
    *whole = true;
    return 0;
}

static const struct page_cache_ops disk_ops = {.read = disk_read, .write = disk_write, .prepare = disk_prepare};

static int disk_fsync(struct file *f, bool data_only) { return page_cache_fsync(f, data_only); }
static const struct file_ops disk_file_ops = {
    .read = page_cache_read_file, .write = page_cache_write_file, .fsync = disk_fsync};

static void disk_truncate(struct disk_file *f, uint64_t size) {
    mutex_lock(&f->inode.lock);
    uint64_t old = f->inode.size;
    f->inode.size = size;
    page_cache_truncated(&f->cache, old);
    for (uint64_t i = page_count_of(size); i < PAGES; i++) {
        for (unsigned j = 0; j < request_count; j++) /* whoever gets the block next would be overwritten */
            assert_false(requests[j].file == f && requests[j].index == i && requests[j].write);
        f->block[i] = false;
        memset(f->disk + i * PAGE_SIZE, 0xcc, PAGE_SIZE);
    }
    mutex_unlock(&f->inode.lock);
}

/* --- Mappings --- */

static struct disk_file *mapped_file(struct backing *b) { return container_of(b, struct disk_file, cache.backing); }

static void unmap_page(struct disk_file *f, uint64_t i) {
    if (f->mapped[i])
        page_unref(f->mapped[i]);
    f->mapped[i] = NULL;
    f->writable[i] = false;
}

void backing_unshow(struct backing *b, uint64_t first, uint64_t count) {
    struct disk_file *f = mapped_file(b);
    b->unmaps++;
    for (uint64_t i = first; i < PAGES && i - first < count; i++)
        unmap_page(f, i);
}

void backing_unshow_idle(struct backing *b, uint64_t first, uint64_t count) { backing_unshow(b, first, count); }
void backing_unmap(struct backing *b, uint64_t first, uint64_t count) { backing_unshow(b, first, count); }

/* As kernel/memory/fault.c does it. */
static struct page *access_mapping(struct disk_file *f, uint64_t i, bool write) {
    for (;;) {
        if (f->mapped[i] && (!write || f->writable[i]))
            return f->mapped[i];
        uint32_t unmaps = f->cache.backing.unmaps;
        struct page *p = f->cache.backing.ops->get_page(&f->cache.backing, i, write);
        if (IS_ERR(p))
            return p;
        if (unmaps != f->cache.backing.unmaps) {
            page_unref(p);
            continue;
        }
        if (f->mapped[i])
            assert_ptr_equal(f->mapped[i], p);
        unmap_page(f, i);
        f->mapped[i] = p;
        f->writable[i] = write;
    }
}

/* --- The world --- */

static bool deliver_some(void) {
    if (!request_count)
        return false;
    for (unsigned n = 1 + fake_random() % 4; n > 0 && request_count; n--)
        finish(fake_random() % request_count);
    return true;
}

void inode_unref(struct inode *inode) {
    struct disk_file *f = container_of(inode, struct disk_file, inode);
    if (inode->nlink == 0 && inode->refs == 2)
        page_cache_abandon(inode);
    if (--inode->refs == 0) {
        page_cache_destroy(&f->cache);
        f->released = true;
    }
}

struct inode *inode_pin(struct inode *inode) { return inode_ref(inode); }
void inode_unpin(struct inode *inode) { inode_unref(inode); }

static void make_file(struct disk_file *f) {
    memset(f, 0, sizeof(*f));
    f->inode.refs = 1;
    f->inode.nlink = 1;
    f->inode.sb = &fake_superblock;
    mutex_init(&f->inode.lock);
    page_cache_init(&f->cache, &f->inode, &disk_ops);
    f->inode.cache = &f->cache;
    f->file = (struct file){.ops = &disk_file_ops, .refs = 1, .inode = &f->inode, .flags = O_RDWR | O_NOATIME};
}

static int start(void **state) {
    if (!files) {
        files = zeroed_memory(FILES, sizeof(*files));
        requests = zeroed_memory(REQUESTS, sizeof(*requests));
    }
    fake_cache_start(deliver_some);
    request_count = 0;
    immediate = fail_reads = fail_writes = disk_full = false;
    no_memory = 0;
    dirty_settings = (struct dirty_settings){.background_ratio = 10, .ratio = 20, .expire = 500, .interval = 500};
    for (int i = 0; i < FILES; i++)
        make_file(&files[i]);
    return 0;
}

static int stop(void **state) {
    while (deliver_some())
        ;
    for (int i = 0; i < FILES; i++) {
        struct disk_file *f = &files[i];
        for (unsigned j = 0; j < PAGES; j++)
            unmap_page(f, j);
        if (!f->released) {
            page_cache_sync(&f->cache, 0, ~0ul);
            assert_int_equal(f->inode.refs, 1);
            inode_unref(&f->inode);
        }
        assert_true(f->released);
    }
    assert_int_equal(cache_pages, 0);
    assert_int_equal(cache_dirty, 0);
    assert_int_equal(cache_writing, 0);
    assert_true(list_empty(&cache_list) && list_empty(&cache_dirty_list));
    assert_int_equal(fake_pages_used, 0);
    return 0;
}

/* --- Random operations --- */

static int64_t do_write(struct disk_file *f, const void *data, size_t n, uint64_t at) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)data, n, fake_random() % 2);
    return page_cache_write_file(&f->file, &u, &at);
}

static int64_t do_read(struct disk_file *f, void *data, size_t n, uint64_t at) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)data, n, fake_random() % 2);
    return page_cache_read_file(&f->file, &u, &at);
}

static void check_bytes(const uint8_t *a, const uint8_t *b, size_t n, uint64_t at, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            fail_msg("%s: byte %#zx is %02x, not %02x", what, (size_t)at + i, a[i], b[i]);
}

static uint8_t buffer[BYTES];

static void random_write(struct disk_file *f) {
    uint64_t at = fake_random() % BYTES, n = 1 + fake_random() % (fake_random() % 3 ? 3000 : 6 * PAGE_SIZE);
    if (fake_random() % 3 == 0)
        at &= PAGE_MASK;
    n = MIN(n, BYTES - at);
    if (fake_random() % 4 == 0)
        n = MAX(n & PAGE_MASK, 1);
    for (uint64_t i = 0; i < n; i++)
        buffer[i] = fake_random();
    fake_fault_after = fake_random() % 16 == 0 ? (long)(fake_random() % (n + 1)) : -1;
    int64_t done = do_write(f, buffer, n, at);
    bool faulted = fake_fault_after == 0;
    fake_fault_after = -1;
    if (done < 0) {
        assert_int_equal(done, disk_full ? -ENOSPC : -EFAULT);
        return;
    }
    assert_true(done > 0 && (done == (int64_t)n || faulted || disk_full));
    memcpy(f->model + at, buffer, done);
    assert_true(f->inode.size >= at + done);
}

static void random_read(struct disk_file *f) {
    uint64_t at = fake_random() % BYTES, n = 1 + fake_random() % (8 * PAGE_SIZE), size = f->inode.size;
    int64_t done = do_read(f, buffer, n, at);
    assert_int_equal(done, at >= size ? 0 : MIN(n, size - at));
    check_bytes(buffer, f->model + at, done, at, "read");
}

static void random_truncate(struct disk_file *f) {
    uint64_t size = fake_random() % (BYTES + 1);
    if (fake_random() % 4 == 0)
        size &= PAGE_MASK;
    if (size < f->inode.size)
        memset(f->model + size, 0, BYTES - size);
    disk_truncate(f, size);
}

static void random_mapping(struct disk_file *f) {
    uint64_t i = fake_random() % PAGES;
    bool write = fake_random() % 2;
    struct page *p = access_mapping(f, i, write);
    if (i >= page_count_of(f->inode.size)) {
        assert_int_equal(PTR_ERR(p), -EFAULT);
        return;
    }
    if (IS_ERR(p)) {
        assert_int_equal(PTR_ERR(p), -ENOSPC);
        assert_true(disk_full && write);
        return;
    }
    uint8_t *data = page_to_virt(p);
    uint64_t valid = MIN(f->inode.size - i * PAGE_SIZE, PAGE_SIZE);
    check_bytes(data, f->model + i * PAGE_SIZE, valid, i * PAGE_SIZE, "mapping");
    if (write) {
        unsigned at = fake_random() % PAGE_SIZE; /* perhaps behind the end of the file: then nobody may ever see it */
        data[at] = fake_random();
        if (at < valid)
            f->model[i * PAGE_SIZE + at] = data[at];
    } else if (fake_random() % 4 == 0) {
        unmap_page(f, i);
    }
}

static void check_disk(void) {
    page_cache_sync_all(NULL);
    for (unsigned i = 0; i < request_count; i++)
        assert_false(requests[i].write);
    assert_int_equal(cache_dirty, 0);
    for (int k = 0; k < FILES; k++) {
        struct disk_file *f = &files[k];
        assert_int_equal(f->inode.refs, 1);
        for (uint64_t i = 0; i < page_count_of(f->inode.size); i++) {
            uint64_t n = MIN(f->inode.size - i * PAGE_SIZE, PAGE_SIZE);
            if (f->block[i])
                check_bytes(f->disk + i * PAGE_SIZE, f->model + i * PAGE_SIZE, n, i * PAGE_SIZE, "disk");
            else
                for (uint64_t j = 0; j < n; j++)
                    assert_int_equal(f->model[i * PAGE_SIZE + j], 0);
        }
    }
}

static void operate(unsigned steps) {
    for (unsigned step = 0; step < steps; step++) {
        struct disk_file *f = &files[fake_random() % FILES];
        switch (fake_random() % 16) {
        case 0:
        case 1:
        case 2: random_write(f); break;
        case 3:
        case 4:
        case 5: random_read(f); break;
        case 6: random_truncate(f); break;
        case 7:
        case 8:
        case 9: random_mapping(f); break;
        case 10: page_cache_reclaim(1 + fake_random() % 20, fake_random() % 2); break;
        case 11:
            if (fake_random() % 2)
                page_cache_start_sync(&f->cache, fake_random() % PAGES, fake_random() % PAGES);
            else
                assert_int_equal(page_cache_sync(&f->cache, fake_random() % PAGES, fake_random() % PAGES), 0);
            break;
        case 12: page_cache_invalidate(&f->cache, fake_random() % PAGES, fake_random() % PAGES); break;
        case 13: page_cache_prefetch(&f->cache, fake_random() % PAGES, fake_random() % 8); break;
        case 14:
            fake_now += fake_random() % (3 * NSEC_PER_SEC);
            fake_run_writer();
            break;
        default: deliver_some();
        }
    }
}

static void test_model(void **state) {
    for (int round = 0; round < 40; round++) {
        immediate = round % 8 == 7;
        fake_page_limit = round % 4 == 3 ? 48 : FAKE_CACHE_PAGES; /* fewer than the files have */
        operate(1500);
        check_disk();
    }
    fake_page_limit = FAKE_CACHE_PAGES;
}

static void test_full_disk(void **state) {
    operate(500);
    disk_full = true;
    operate(3000);
    disk_full = false;
    operate(500);
    check_disk();
}

/* --- Corners --- */

static void fill(struct disk_file *f, uint64_t pages, uint8_t with) {
    f->inode.size = pages * PAGE_SIZE;
    for (uint64_t i = 0; i < pages; i++)
        f->block[i] = true;
    memset(f->disk, with, pages * PAGE_SIZE);
}

static void test_read_errors(void **state) {
    struct disk_file *f = &files[0];
    fill(f, 8, 7);
    fail_reads = true;
    assert_int_equal(do_read(f, buffer, 100, 0), -EIO);
    assert_int_equal(PTR_ERR(page_cache_get(&f->cache, 3)), -EIO);
    assert_int_equal(PTR_ERR(access_mapping(f, 4, false)), -EIO);
    assert_int_equal(do_write(f, "x", 1, 5 * PAGE_SIZE + 1), -EIO); /* the rest of the page is needed */
    memset(buffer, 9, PAGE_SIZE);
    assert_int_equal(do_write(f, buffer, PAGE_SIZE, 5 * PAGE_SIZE), PAGE_SIZE); /* and here it is not */
    fail_reads = false;
    assert_int_equal(do_read(f, buffer, 8 * PAGE_SIZE, 0), 8 * PAGE_SIZE);
    for (unsigned i = 0; i < 8 * PAGE_SIZE; i++)
        assert_int_equal(buffer[i], i / PAGE_SIZE == 5 ? 9 : 7);
    /* An error in the midst of a read is told by the next one. */
    page_cache_sync(&f->cache, 0, ~0ul);
    page_cache_invalidate(&f->cache, 3, ~0ul);
    fail_reads = true;
    assert_int_equal(do_read(f, buffer, 8 * PAGE_SIZE, 0), 3 * PAGE_SIZE);
    assert_int_equal(do_read(f, buffer, PAGE_SIZE, 3 * PAGE_SIZE), -EIO);
    fail_reads = false;
}

static void test_write_errors(void **state) {
    struct disk_file *f = &files[0];
    struct file other = f->file, late;
    assert_int_equal(do_write(f, "abc", 3, 0), 3);
    fail_writes = true;
    page_cache_sync_all(NULL);
    fail_writes = false;
    late = (struct file){.inode = &f->inode, .write_errors = page_cache_sample_error(&f->cache)};
    assert_int_equal(page_cache_fsync(&f->file, false), -EIO);
    assert_int_equal(page_cache_fsync(&f->file, false), 0);  /* once */
    assert_int_equal(page_cache_fsync(&other, false), -EIO); /* to each */
    assert_int_equal(page_cache_fsync(&other, false), 0);
    assert_int_equal(page_cache_fsync(&late, false), -EIO); /* it was not told to anybody when this one was opened */
    late.write_errors = page_cache_sample_error(&f->cache);
    assert_int_equal(page_cache_fsync(&late, false), 0);
    assert_int_equal(do_write(f, "abc", 3, 0), 3);
    fail_writes = true;
    assert_int_equal(page_cache_sync(&f->cache, 0, ~0ul), -EIO);
    assert_int_equal(page_cache_fsync(&f->file, false), -EIO);
    fail_writes = false;
}

/* What cannot be written for want of memory stays changed, and is tried again. */
static void test_no_memory(void **state) {
    struct disk_file *f = &files[0];
    fill(&files[1], 8, 3);
    assert_int_equal(do_read(&files[1], buffer, 8 * PAGE_SIZE, 0), 8 * PAGE_SIZE); /* clean pages to give back */
    memset(buffer, 7, 4 * PAGE_SIZE);
    assert_int_equal(do_write(f, buffer, 4 * PAGE_SIZE, 0), 4 * PAGE_SIZE);
    no_memory = 1000;
    assert_int_equal(page_cache_fsync(&f->file, false), -ENOMEM);
    assert_int_equal(cache_dirty, 4);
    assert_int_equal(cache_writing, 0);
    no_memory = 6; /* in the second round there is enough for two */
    fill(&files[1], 16, 3);
    assert_int_equal(do_read(&files[1], buffer, 16 * PAGE_SIZE, 0), 16 * PAGE_SIZE);
    assert_int_equal(page_cache_fsync(&f->file, false), 0);
    assert_int_equal(cache_dirty, 0);
    for (unsigned i = 0; i < 4 * PAGE_SIZE; i++)
        assert_int_equal(f->disk[i], 7);
}

static void test_limits(void **state) {
    struct disk_file *f = &files[0];
    fake_process.limits[RLIMIT_FSIZE].rlim_cur = 5000;
    memset(buffer, 1, 8000);
    assert_int_equal(do_write(f, buffer, 8000, 0), 5000);
    assert_int_equal(fake_signal, 0);
    assert_int_equal(do_write(f, buffer, 1, 5000), -EFBIG);
    assert_int_equal(fake_signal, SIGXFSZ);
    fake_process.limits[RLIMIT_FSIZE].rlim_cur = ~0ul;
    f->file.flags |= O_APPEND;
    assert_int_equal(do_write(f, buffer, 10, 17), 10);
    assert_int_equal(f->inode.size, 5010);
    f->file.flags &= ~O_APPEND;
}

/* What a sequential reader waits for gets less and less; a random one reads what it asks for. */
static void test_readahead(void **state) {
    struct disk_file *f = &files[0];
    fill(f, PAGES, 3);
    reads_started = read_calls = 0;
    for (unsigned i = 0; i < PAGES * 4; i++)
        assert_int_equal(do_read(f, buffer, 1024, i * 1024), 1024);
    assert_int_equal(reads_started, PAGES);
    assert_in_range(read_calls, 2, 6);
    page_cache_invalidate(&f->cache, 0, ~0ul);
    reads_started = read_calls = 0;
    do_read(f, buffer, 100, 20 * PAGE_SIZE);
    assert_int_equal(reads_started, 1);
    do_read(f, buffer, 3 * PAGE_SIZE, 30 * PAGE_SIZE + 5);
    assert_int_equal(reads_started, 5);
    assert_int_equal(read_calls, 2);
    access_mapping(f, 10, false); /* with its neighbours */
    assert_int_equal(reads_started, 5 + 16);
    page_cache_invalidate(&f->cache, 0, ~0ul);
    f->file.advice = POSIX_FADV_RANDOM;
    reads_started = 0;
    for (unsigned i = 0; i < 5; i++)
        do_read(f, buffer, PAGE_SIZE, i * PAGE_SIZE);
    assert_int_equal(reads_started, 5);
    /* The page with the mark is left out by who only looks: so that the reader of a mapping meets it. */
    page_cache_invalidate(&f->cache, 0, ~0ul);
    f->file.advice = POSIX_FADV_NORMAL;
    do_read(f, buffer, 1, 0);
    while (deliver_some())
        ;
    struct page *near[4];
    f->cache.backing.ops->peek_pages(&f->cache.backing, 0, 4, near);
    assert_non_null(near[0]);
    assert_null(near[1]);
    assert_non_null(near[2]);
    for (int i = 0; i < 4; i++)
        if (near[i])
            page_unref(near[i]);
}

static void test_reclaim(void **state) {
    struct disk_file *f = &files[0];
    fill(f, 32, 3);
    do_read(f, buffer, 32 * PAGE_SIZE, 0);
    while (deliver_some())
        ;
    do_read(f, buffer, PAGE_SIZE, 5 * PAGE_SIZE); /* used again: it survives the others */
    assert_int_equal(page_cache_reclaim(31, false), 31);
    struct page *p = page_cache_peek(&f->cache, 5);
    assert_non_null(p);
    page_unref(p);
    do_read(f, buffer, 32 * PAGE_SIZE, 0);
    access_mapping(f, 7, false);
    assert_int_equal(page_cache_reclaim(1000, false), 32);
    assert_null(f->mapped[7]);
    assert_int_equal(cache_pages, 0);
    /* Dirty ones go when there is time to write them. */
    fake_page_limit = FAKE_CACHE_PAGES;
    do_write(f, buffer, 8 * PAGE_SIZE, 0);
    assert_int_equal(page_cache_reclaim(8, false), 0);
    assert_in_range(page_cache_reclaim(8, true), 1, 8);
}

/* Writers wait while too much is dirty; the thread writes what is old. */
static void test_writeback(void **state) {
    struct disk_file *f = &files[0];
    dirty_settings.background_bytes = 8 * PAGE_SIZE;
    dirty_settings.bytes = 16 * PAGE_SIZE;
    for (unsigned i = 0; i < PAGES; i++) {
        assert_int_equal(do_write(f, buffer, PAGE_SIZE, i * PAGE_SIZE), PAGE_SIZE);
        assert_true(cache_dirty + cache_writing <= 17);
    }
    assert_true(biggest_write >= 8);
    page_cache_sync_all(&fake_superblock);
    assert_int_equal(cache_dirty, 0);
    dirty_settings = (struct dirty_settings){.background_ratio = 50, .ratio = 60, .expire = 500, .interval = 500};
    do_write(f, "x", 1, 0);
    assert_int_equal(f->inode.refs, 2);
    fake_run_writer();
    assert_int_equal(cache_dirty, 1);
    fake_now += 6 * NSEC_PER_SEC;
    fake_run_writer();
    assert_int_equal(cache_dirty, 0);
    assert_int_equal(f->inode.refs, 1);
    assert_int_equal(f->disk[0], 'x');
}

static void test_deleted(void **state) {
    struct disk_file *f = &files[0];
    memset(buffer, 5, 4 * PAGE_SIZE);
    do_write(f, buffer, 4 * PAGE_SIZE, 0);
    writes_started = 0;
    f->inode.nlink = 0;
    assert_int_equal(f->inode.refs, 2);
    inode_unref(&f->inode);
    assert_true(f->released);
    assert_int_equal(writes_started, 0);
    assert_int_equal(cache_pages, 0);
    /* One with a name is written first. */
    f = &files[1];
    do_write(f, buffer, 4 * PAGE_SIZE, 0);
    inode_unref(&f->inode);
    assert_false(f->released);
    fake_now += 10 * NSEC_PER_SEC;
    fake_run_writer();
    assert_true(f->released);
    assert_int_equal(f->disk[3 * PAGE_SIZE], 5);
}

/* A change that an invalidation overtakes is not lost. */
static void test_invalidated_while_changed(void **state) {
    struct disk_file *f = &files[0];
    fill(f, 4, 1);
    struct page *p = page_cache_get_write(&f->cache, 2, 10, 12), *other;
    assert_false(IS_ERR(p));
    page_cache_invalidate(&f->cache, 0, ~0ul);
    memset((char *)page_to_virt(p) + 10, 6, 2);
    page_cache_dirty(&f->cache, p);
    page_unref(p);
    p = page_cache_get_write(&f->cache, 3, 10, 12);
    page_cache_invalidate(&f->cache, 0, ~0ul);
    other = page_cache_get(&f->cache, 3);
    memset((char *)page_to_virt(p) + 10, 6, 2);
    page_cache_dirty(&f->cache, p);
    page_unref(p);
    page_unref(other);
    assert_int_equal(page_cache_sync(&f->cache, 0, ~0ul), 0);
    assert_int_equal(f->disk[2 * PAGE_SIZE + 10], 6);
    assert_int_equal(f->disk[2 * PAGE_SIZE + 12], 1);
    assert_int_equal(f->disk[3 * PAGE_SIZE + 11], 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_errors, start, stop),
        cmocka_unit_test_setup_teardown(test_write_errors, start, stop),
        cmocka_unit_test_setup_teardown(test_no_memory, start, stop),
        cmocka_unit_test_setup_teardown(test_limits, start, stop),
        cmocka_unit_test_setup_teardown(test_readahead, start, stop),
        cmocka_unit_test_setup_teardown(test_reclaim, start, stop),
        cmocka_unit_test_setup_teardown(test_writeback, start, stop),
        cmocka_unit_test_setup_teardown(test_deleted, start, stop),
        cmocka_unit_test_setup_teardown(test_invalidated_while_changed, start, stop),
        cmocka_unit_test_setup_teardown(test_model, start, stop),
        cmocka_unit_test_setup_teardown(test_full_disk, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
