// Contents of files: the page cache's functions. A page that is about to become dirty has room reserved for its holes; when it is written
// it gets its place, under a handle whose transaction then waits for the data: see ext4.h.
// Requests take runs of blocks that follow each other on the disk. A page is done when all its parts are.
#include "fs/ext4/ext4.h"
#include "kernel/memory/reclaim.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

#define SEGMENTS 64

struct data_page {
    struct page *page;
    uint32_t pending; // parts on their way, and one for whoever makes them
    int error;
};
struct data_io {
    struct page_cache *c;
    struct ext4_fs *fs;
    bool write;
    uint32_t refs;        // requests, and one for the maker
    uint64_t index, size; // size: of the file when it began
    struct data_page pages[];
};
struct data_request {
    struct block_request r;
    struct data_io *io;
    struct ext4_transaction *t; // waits for it; NULL: none
    uint64_t next;              // the block behind it
    uint32_t bytes;
    struct block_segment segments[SEGMENTS];
    uint16_t page_of[SEGMENTS];
};
static struct slab_cache request_cache = SLAB_CACHE("ext4_request", sizeof(struct data_request), 8);

// Files end within a block; what the disk has behind the end is not the file's.
static void zero_tail(struct data_io *io, uint32_t k) {
    uint64_t start = (io->index + k) << PAGE_SHIFT, from = io->size > start ? io->size - start : 0;
    if (from < PAGE_SIZE)
        memset((char *)page_to_virt(io->pages[k].page) + from, 0, PAGE_SIZE - from);
}

static void part_done(struct data_io *io, uint32_t k, int error) {
    struct data_page *p = &io->pages[k];
    if (error < 0)
        WRITE_ONCE(p->error, error);
    if (atomic_sub(&p->pending, 1) != 1)
        return;
    if (io->write) {
        page_cache_write_done(io->c, p->page, p->error);
        return;
    }
    zero_tail(io, k);
    page_cache_read_done(io->c, p->page, p->error);
}

static void io_put(struct data_io *io) {
    if (atomic_sub(&io->refs, 1) == 1)
        kfree(io);
}

static void request_done(struct block_request *r) {
    struct data_request *q = container_of(r, struct data_request, r);
    struct data_io *io = q->io;
    struct ext4_fs *fs = io->fs;
    struct ext4_transaction *t = q->t;
    for (unsigned k = 0; k < r->count; k++)
        part_done(io, q->page_of[k], r->error);
    slab_free(&request_cache, q);
    io_put(io);
    if (t)
        ext4_data_end(fs, t);
}

// NULL: it is done otherwise. What cannot be written for want of memory would be lost: few pages at a time, and memory is made for one.
static struct data_io *io_new(struct page_cache *c, uint64_t index, struct page **pages, unsigned count, bool write) {
    size_t bytes = sizeof(struct data_io) + count * sizeof(struct data_page);
    struct data_io *io = count > 1 ? kmalloc(bytes) : reclaim_kmalloc(bytes);
    if (!io && count > 1) {
        void (*rest)(struct page_cache *, uint64_t, struct page **, unsigned) =
            write ? ext4_cache_ops.write : ext4_cache_ops.read;
        rest(c, index, pages, count / 2);
        rest(c, index + count / 2, pages + count / 2, count - count / 2);
        return NULL;
    }
    if (!io) {
        for (unsigned k = 0; k < count; k++) {
            if (write)
                page_cache_write_again(c, pages[k]);
            else
                page_cache_read_done(c, pages[k], -ENOMEM);
        }
        return NULL;
    }
    *io = (struct data_io){.c = c,
                           .fs = EXT4_FS(c->host->sb),
                           .write = write,
                           .refs = 1,
                           .index = index,
                           .size = READ_ONCE(c->host->size)};
    for (unsigned k = 0; k < count; k++)
        io->pages[k] = (struct data_page){pages[k], 1, 0};
    return io;
}

static void submit(struct data_request **q) {
    if (*q) {
        (*q)->r.done = request_done;
        block_submit((*q)->io->fs->dev, &(*q)->r);
    }
    *q = NULL;
}

// No memory for a request: one part at a time.
static void part_now(struct data_io *io, uint32_t k, uint64_t block, void *data, uint32_t len) {
    struct ext4_fs *fs = io->fs;
    int err = block_io(fs->dev, io->write ? BLOCK_WRITE : BLOCK_READ, block << fs->sectors_shift, data, len);
    if (err < 0)
        WRITE_ONCE(io->pages[k].error, err);
}

// `count` blocks of the file from `at` on lie at `block`. Parts are added to *q, which is submitted when it cannot go on.
static void add_parts(struct data_io *io, struct data_request **q, struct ext4_handle *h, uint32_t at, uint64_t block,
                      uint32_t count) {
    struct ext4_fs *fs = io->fs;
    uint32_t per_page = (uint32_t)(PAGE_SIZE >> fs->block_shift);
    uint32_t most = MIN((uint32_t)SEGMENTS, fs->dev->segments_max),
             bytes_max = fs->dev->bytes_max ? fs->dev->bytes_max : ~0u;
    while (count) {
        uint32_t k = (uint32_t)(at / per_page - io->index), inside = at % per_page, n = MIN(per_page - inside, count);
        char *data = (char *)page_to_virt(io->pages[k].page) + ((size_t)inside << fs->block_shift);
        uint32_t len = n << fs->block_shift;
        if (*q && ((*q)->next != block || (*q)->r.count == most || (*q)->bytes + len > bytes_max))
            submit(q);
        if (!*q && (*q = slab_alloc(&request_cache))) {
            (*q)->r = (struct block_request){.op = io->write ? BLOCK_WRITE : BLOCK_READ,
                                             .sector = block << fs->sectors_shift,
                                             .segments = (*q)->segments};
            (*q)->io = io;
            (*q)->bytes = 0;
            (*q)->t = NULL;
            if (h) {
                ext4_data_start(h);
                (*q)->t = h->t;
            }
            atomic_add(&io->refs, 1);
        }
        if (*q) {
            (*q)->segments[(*q)->r.count] = (struct block_segment){data, len};
            (*q)->page_of[(*q)->r.count++] = (uint16_t)k;
            (*q)->bytes += len;
            (*q)->next = block + n;
            atomic_add(&io->pages[k].pending, 1);
        } else {
            part_now(io, k, block, data, len);
        }
        at += n;
        block += n;
        count -= n;
    }
}

static void finish(struct data_io *io, unsigned count) {
    for (unsigned k = 0; k < count; k++)
        part_done(io, k, 0);
    io_put(io);
}

static void fail_from(struct data_io *io, unsigned count, uint32_t at, int error) {
    uint32_t per_page = (uint32_t)(PAGE_SIZE >> io->fs->block_shift);
    for (uint64_t k = at / per_page - io->index; k < count; k++)
        WRITE_ONCE(io->pages[k].error, error);
}

// --- Reading ---

static void zero_parts(struct data_io *io, uint32_t at, uint32_t count) {
    uint32_t shift = io->fs->block_shift, per_page = (uint32_t)(PAGE_SIZE >> shift);
    for (; count; at++, count--)
        memset((char *)page_to_virt(io->pages[at / per_page - io->index].page) + ((size_t)(at % per_page) << shift), 0,
               1ul << shift);
}

static void cache_read(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    struct ext4_inode *i = ext4_i(c->host);
    struct data_io *io = io_new(c, index, pages, count, false);
    if (!io)
        return;
    struct ext4_fs *fs = io->fs;
    uint32_t shift = PAGE_SHIFT - fs->block_shift;
    uint64_t first = index << shift, end = MIN((index + count) << shift, (uint64_t)EXT4_BLOCK_END);
    struct data_request *q = NULL;
    for (uint64_t at = first; at < end;) {
        struct ext4_map m;
        int err = ext4_map_find(i, (uint32_t)at, (uint32_t)(end - at), &m);
        if (err < 0) {
            fail_from(io, count, (uint32_t)at, err);
            break;
        }
        if (m.block && !m.unwritten)
            add_parts(io, &q, NULL, (uint32_t)at, m.block, m.count);
        else
            zero_parts(io, (uint32_t)at, m.count);
        at += m.count;
    }
    submit(&q);
    finish(io, count);
}

// --- Writing ---

// A place for blocks that have none, or that were allocated and never written; the size on the disk grows with them. Submits.
static int place_and_add(struct data_io *io, struct ext4_inode *i, uint32_t at, uint32_t *count) {
    struct ext4_fs *fs = io->fs;
    struct ext4_handle h;
    struct ext4_map m;
    int err = ext4_begin(&h, fs, CREDITS_MAP);
    if (err < 0)
        return err;
    rwmutex_write_lock(&i->map);
    err = ext4_map_allocate(&h, i, at, *count, false, ALLOC_RESERVED, &m);
    if (err == 0) {
        uint64_t end = MIN(READ_ONCE(i->vfs.size), (uint64_t)(at + m.count) << fs->block_shift);
        i->disk_size = MAX(i->disk_size, end);
        err = ext4_inode_write(&h, i);
    }
    rwmutex_write_unlock(&i->map);
    if (err == 0) {
        struct data_request *q = NULL;
        add_parts(io, &q, &h, at, m.block, m.count);
        submit(&q);
        *count = m.count;
    }
    ext4_end(&h);
    return err;
}

static int place(struct data_io *io, struct ext4_inode *i, uint32_t at, uint32_t *count) {
    uint32_t wanted = *count;
    int err = place_and_add(io, i, at, count);
    for (int round = 0; err == -ENOSPC && round < 2 && READ_ONCE(io->fs->pending); round++) {
        // What was freed a moment ago can be had after a commit.
        err = ext4_commit_all(io->fs);
        *count = wanted;
        err = err < 0 ? err : place_and_add(io, i, at, count);
    }
    return err;
}

static void cache_write(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    struct ext4_inode *i = ext4_i(c->host);
    struct data_io *io = io_new(c, index, pages, count, true);
    if (!io)
        return;
    struct ext4_fs *fs = io->fs;
    uint32_t shift = PAGE_SHIFT - fs->block_shift;
    uint64_t size = READ_ONCE(c->host->size), at = index << shift;
    uint64_t end = MIN((index + count) << shift, DIV_ROUND_UP(size, fs->block_size));
    struct data_request *q = NULL;
    int err = READ_ONCE(fs->journal.aborted) ? -EIO : 0;
    while (at < end && err == 0) {
        struct ext4_map m;
        err = ext4_map_find(i, (uint32_t)at, (uint32_t)(end - at), &m);
        if (err < 0)
            break;
        uint32_t done = m.count;
        bool grows = READ_ONCE(i->disk_size) < MIN(size, (at + m.count) << fs->block_shift);
        if (m.block && !m.unwritten && !grows)
            add_parts(io, &q, NULL, (uint32_t)at, m.block, m.count);
        else if ((err = place(io, i, (uint32_t)at, &done)) < 0)
            break;
        at += done;
    }
    submit(&q);
    if (err < 0)
        fail_from(io, count, (uint32_t)at, err == -EROFS ? -EIO : err);
    ext4_delayed_take(i, index, index + count);
    finish(io, count);
}

static int cache_prepare(struct page_cache *c, uint64_t index, unsigned from, unsigned to, bool fault, bool *whole) {
    struct ext4_inode *i = ext4_i(c->host);
    struct ext4_fs *fs = EXT4_FS(c->host->sb);
    uint32_t per_page = (uint32_t)(PAGE_SIZE >> fs->block_shift), holes = 0, written = 0;
    *whole = false;
    if (fs->read_only || READ_ONCE(fs->journal.aborted))
        return -EROFS;
    if ((index << PAGE_SHIFT) + to > ext4_size_max(fs, i->flags & EXT4_EXTENTS_FL))
        return -EFBIG;
    if (ext4_delayed_get(i, index))
        return 0;
    for (uint32_t k = 0; k < per_page;) {
        struct ext4_map m;
        uint64_t at = index * per_page + k;
        if (at >= EXT4_BLOCK_END)
            break;
        int err = ext4_map_find(i, (uint32_t)at, per_page - k, &m);
        if (err < 0)
            return err;
        holes += m.block ? 0 : m.count;
        written += m.block && !m.unwritten ? m.count : 0;
        k += m.count;
    }
    *whole = written == 0;
    return holes ? ext4_delayed_add(i, index, holes) : 0;
}

static void cache_changed(struct page_cache *c, bool lockless) { ext4_inode_mark(ext4_i(c->host)); }

const struct page_cache_ops ext4_cache_ops = {
    .read = cache_read,
    .write = cache_write,
    .prepare = cache_prepare,
    .changed = cache_changed,
    .zero_tails = true, // zero_rest in file.c
};
