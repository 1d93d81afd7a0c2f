// Mappings of files on a server: the page cache reads and writes their pages with an open fid, which outlives the file that was mapped.
#include "fs/9p/internal.h"

#include "kernel/string.h"

#define IN_FLIGHT 4

static unsigned pages_max(const struct p9_fid *fid) {
    unsigned n = MIN(fid->client->payload_max >> PAGE_SHIFT, fid->client->segments_max);
    return n ? n : 1; // a session with tiny messages: see transfer
}

// A page by requests smaller than it, for sessions with messages of less than a page and its header.
static int transfer_page(struct p9_fid *fid, bool write, uint64_t at, char *data, uint32_t len) {
    uint32_t done = 0;
    while (done < len) {
        uint32_t part = MIN(len - done, fid->client->payload_max);
        long n = write ? p9_write(fid, data + done, part, at + done) : p9_read(fid, data + done, part, at + done);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        done += (uint32_t)n;
    }
    if (write)
        return done < len ? -EIO : 0;
    memset(data + done, 0, PAGE_SIZE - done);
    return 0;
}

// --- Reading ---

static void end_read(struct page_cache *c, uint64_t index, struct page **pages, unsigned count, long bytes) {
    for (unsigned i = 0; i < count; i++) {
        long from = bytes - (long)i * (long)PAGE_SIZE; // what is behind the bytes that came is behind the end
        if (bytes >= 0 && from < (long)PAGE_SIZE) {
            from = MAX(from, 0);
            memset((char *)page_to_virt(pages[i]) + from, 0, PAGE_SIZE - (size_t)from);
        }
        page_cache_read_done(c, pages[i], bytes < 0 ? (int)bytes : 0);
    }
}

static struct p9_request *begin_read(struct p9_fid *fid, uint64_t index, struct page **pages, unsigned count) {
    struct p9_request *r = p9_read_begin(fid, P9_TREAD, count << PAGE_SHIFT, index << PAGE_SHIFT);
    if (IS_ERR(r))
        return r;
    for (unsigned i = 0; i < count; i++)
        p9_payload_in(r, page_to_virt(pages[i]), PAGE_SIZE);
    int err = p9_submit(r);
    if (err < 0) {
        p9_request_free(r);
        return ERR_PTR(err);
    }
    return r;
}

// A server may give less than was asked for before the end: what is missing is asked for again.
static long complete_read(struct p9_fid *fid, struct p9_request *r, uint64_t index, struct page **pages, unsigned count,
                          uint64_t size) {
    long bytes = p9_finish_io(r, count << PAGE_SHIFT);
    while (bytes >= 0 && bytes < (long)count << PAGE_SHIFT && (index << PAGE_SHIFT) + (uint64_t)bytes < size) {
        unsigned i = (unsigned)(bytes >> PAGE_SHIFT);
        uint32_t offset = (uint32_t)bytes & ~PAGE_MASK;
        long n = p9_read(fid, (char *)page_to_virt(pages[i]) + offset,
                         MIN(PAGE_SIZE - offset, fid->client->payload_max), (index << PAGE_SHIFT) + (uint64_t)bytes);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        bytes += n;
    }
    return bytes;
}

// What write(2) sends to the server meanwhile may be missing in what was read, and it changes only pages that are there. So they are read
// again. `before`: p->changes, as it was before they were asked for.
static long finish_read(struct p9_inode *p, struct p9_fid *fid, struct p9_request *r, uint64_t index,
                        struct page **pages, unsigned count, uint32_t before) {
    uint64_t size = READ_ONCE(p->inode.size);
    long bytes = IS_ERR(r) ? PTR_ERR(r) : complete_read(fid, r, index, pages, count, size);
    for (unsigned tries = 0; tries < 16 && bytes >= 0 && (READ_ONCE(p->writers) || READ_ONCE(p->changes) != before);
         tries++) {
        before = READ_ONCE(p->changes);
        r = begin_read(fid, index, pages, count);
        bytes = IS_ERR(r) ? PTR_ERR(r) : complete_read(fid, r, index, pages, count, READ_ONCE(p->inode.size));
    }
    return bytes;
}

static void cache_read(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    struct p9_fid *fid = p9_inode_open_fid(c->host, 4);
    if (IS_ERR(fid)) {
        end_read(c, index, pages, count, PTR_ERR(fid));
        return;
    }
    struct p9_inode *p = p9_inode_of(c->host);
    unsigned step = pages_max(fid);
    if (fid->client->payload_max < PAGE_SIZE) {
        for (unsigned i = 0; i < count; i++) {
            int err = transfer_page(fid, false, (index + i) << PAGE_SHIFT, page_to_virt(pages[i]), PAGE_SIZE);
            page_cache_read_done(c, pages[i], err);
        }
        count = 0;
    }
    while (count) {
        struct p9_request *r[IN_FLIGHT];
        unsigned n = 0, started = 0;
        uint32_t before = READ_ONCE(p->changes);
        for (; n < IN_FLIGHT && started < count; n++) {
            unsigned part = MIN(step, count - started);
            r[n] = begin_read(fid, index + started, pages + started, part);
            started += part;
        }
        for (unsigned i = 0; i < n; i++) {
            unsigned part = MIN(step, count);
            long bytes = finish_read(p, fid, r[i], index, pages, part, before);
            end_read(c, index, pages, part, bytes);
            index += part;
            pages += part;
            count -= part;
        }
    }
    p9_fid_put(fid);
}

// --- Writing ---

// Bytes of these pages that lie within the file: the rest of the last page is nobody's.
static uint32_t bytes_of(struct page_cache *c, uint64_t index, unsigned count) {
    uint64_t size = READ_ONCE(c->host->size), from = index << PAGE_SHIFT;
    return from >= size ? 0 : (uint32_t)MIN(size - from, (uint64_t)count << PAGE_SHIFT);
}

static struct p9_request *begin_write(struct p9_fid *fid, uint64_t index, struct page **pages, uint32_t len) {
    struct p9_request *r = p9_write_begin(fid, len, index << PAGE_SHIFT);
    if (IS_ERR(r))
        return r;
    for (unsigned i = 0; i << PAGE_SHIFT < len; i++)
        p9_payload_out(r, page_to_virt(pages[i]), (uint32_t)MIN(len - (i << PAGE_SHIFT), PAGE_SIZE));
    int err = p9_submit(r);
    if (err < 0) {
        p9_request_free(r);
        return ERR_PTR(err);
    }
    return r;
}

// When a request cannot be made or is done in part, each page goes by itself, through the fid's little memory.
static int write_singly(struct p9_fid *fid, uint64_t index, struct page **pages, uint32_t len) {
    for (unsigned i = 0; i << PAGE_SHIFT < len; i++) {
        uint32_t part = (uint32_t)MIN(len - (i << PAGE_SHIFT), PAGE_SIZE);
        int err = transfer_page(fid, true, (index + i) << PAGE_SHIFT, page_to_virt(pages[i]), part);
        if (err < 0)
            return err;
    }
    return 0;
}

static int write_part(struct page_cache *c, struct p9_fid *fid, uint64_t index, struct page **pages, unsigned count) {
    uint32_t len = bytes_of(c, index, count);
    if (!len)
        return 0;
    if (fid->client->payload_max < PAGE_SIZE)
        return write_singly(fid, index, pages, len);
    struct p9_request *r = begin_write(fid, index, pages, len);
    long n = IS_ERR(r) ? PTR_ERR(r) : p9_finish_io(r, len);
    if (n >= 0 && n < (long)len)
        return write_singly(fid, index, pages, len);
    return n < 0 ? (int)n : 0;
}

// Nobody maps the file any more, and all is written: the server need not keep it open for us. While files are open somebody may be about
// to map it.
void p9_drop_write_fid(struct p9_inode *p) {
    struct p9_fid *fid = NULL;
    if (likely(!READ_ONCE(p->map_write)))
        return;
    spin_lock(&p->inode.spin);
    if (list_empty(&p->open) && list_empty(&p->cache.backing.vmas) && !READ_ONCE(p->cache.dirty) &&
        !READ_ONCE(p->cache.writing)) {
        fid = p->map_write;
        p->map_write = NULL;
    }
    spin_unlock(&p->inode.spin);
    p9_fid_put(fid);
}

static void cache_write(struct page_cache *c, uint64_t index, struct page **pages, unsigned count) {
    struct p9_fid *fid = p9_inode_open_fid(c->host, 6);
    unsigned step = IS_ERR(fid) ? count : pages_max(fid);
    for (unsigned done = 0; done < count;) {
        unsigned part = MIN(step, count - done);
        int err = IS_ERR(fid) ? (int)PTR_ERR(fid) : write_part(c, fid, index + done, pages + done, part);
        for (unsigned i = 0; i < part; i++) {
            if (unlikely(err == -ENOMEM))
                page_cache_write_again(c, pages[done + i]);
            else
                page_cache_write_done(c, pages[done + i], err);
        }
        done += part;
    }
    if (IS_ERR(fid))
        return;
    p9_fid_put(fid);
    p9_inode_of(c->host)->fresh_for = NULL;
    p9_drop_write_fid(p9_inode_of(c->host));
}

const struct page_cache_ops p9_cache_ops = {.read = cache_read, .write = cache_write};

// --- mmap(2) ---

// The open file's fid serves its mappings, too, also when the file is closed and its name gone. One that appends cannot write a page.
static void keep_fid(struct p9_inode *p, struct p9_fid *fid) {
    struct p9_fid **slot = (fid->access & 6) == 6 ? &p->map_write : &p->map_read;
    if (fid->append || !(fid->access & 4))
        return;
    spin_lock(&p->inode.spin);
    if (!*slot)
        *slot = p9_fid_ref(fid);
    spin_unlock(&p->inode.spin);
}

struct backing *p9_map(struct file *f, unsigned prot, unsigned flags) {
    struct inode *inode = f->inode;
    struct p9_inode *p = p9_inode_of(inode);
    mutex_lock(&inode->lock);
    if (!inode->cache) {
        p->cached_mtime = inode->mtime;
        p->cached_size = inode->size;
        page_cache_init(&p->cache, inode, &p9_cache_ops);
        store_release(&inode->cache, &p->cache);
    }
    mutex_unlock(&inode->lock);
    keep_fid(p, f->data);
    return page_cache_map(f, prot, flags);
}
