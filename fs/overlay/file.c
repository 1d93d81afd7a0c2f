// Contents of files that have one below: the pages of the tree are the file's own; a page that is not there is the lower file's while
// its number is below lower_end. A page is copied when it is written to for the first time, a page at a time, and taken out of all
// mappings, so that everybody sees the new one. A hole over lower data is one page of zeroes that all files share; a file that is cut
// short gives up what lies behind for good (lower_end), and copies the page that the end is in.
// Locks: as in tmpfs_file.c. lower_end shrinks under inode.lock and inode.spin, and a page that was copied without inode.lock (by a
// fault) is put into the tree only if it lies before lower_end still.
#include "fs/cache/pagecache.h"
#include "fs/overlay/overlay.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include <linux/fs.h>

static struct page *hole_page; // of zeroes, never written to; made with the first hole

static bool is_hole(const struct page *p) { return p && p == READ_ONCE(hole_page); }

// inode.spin held.
static void recount(struct tmpfs_inode *t) {
    uint64_t below = t->lower_end > t->covered ? t->lower_end - t->covered : 0;
    t->inode.blocks = (t->pages.count - MIN(t->holes, t->pages.count) + below) * (PAGE_SIZE / 512);
}

// --- Pages of our own ---

// Puts a page in its place, unless there is one that is no hole (-EEXIST), or what it was made from (the lower file's page or not) is
// not what it has to be made from now (-EAGAIN). Takes the page's reference over when it returns 0.
static int put_page(struct tmpfs_inode *t, uint64_t index, struct page *page, bool from_lower) {
    struct page *there;
    int err = 0;
    page->flags |= PAGE_CACHE;
    page->owner = t;
    page->index = index;
    spin_lock(&t->inode.spin);
    there = pagetree_get(&t->pages, index);
    if (there && !is_hole(there)) {
        err = -EEXIST;
    } else if (from_lower != (!there && index < t->lower_end)) {
        err = -EAGAIN;
    } else if (there) {
        pagetree_replace(&t->pages, index, page);
        t->holes--;
    } else {
        err = pagetree_insert(&t->pages, index, page);
        if (err == 0 && index < t->lower_end)
            t->covered++;
    }
    if (err == 0) {
        recount(t);
        // Before anybody can write to the page, and so that who maps the file now finds it.
        if (!list_empty(&t->backing.vmas))
            backing_unshow(&t->backing, index, 1);
    }
    spin_unlock(&t->inode.spin);
    if (err < 0)
        return err;
    if (there)
        page_unref(there);
    else
        page_count(PAGE_CACHE, 1);
    overlay_keep(&t->inode);
    return 0;
}

static int fill_from_lower(struct tmpfs_inode *t, uint64_t index, struct page *page) {
    struct uio_vec one;
    struct uio u = uio_one(&one, (uint64_t)(uintptr_t)page_to_virt(page), PAGE_SIZE, false);
    int64_t n = lower_read(t->lower, &u, index << PAGE_SHIFT, PAGE_SIZE, 0);
    return n == PAGE_SIZE ? 0 : n < 0 ? (int)n : -EIO;
}

// The file's own page, copied or made when there is none, with a reference. ERR_PTR(-ENOSPC, -EIO).
static struct page *own_page(struct tmpfs_inode *t, uint64_t index) {
    for (;;) {
        struct page *p = tmpfs_find_page(t, index);
        if (p && !is_hole(p))
            return p;
        bool from_lower = !p && index < READ_ONCE(t->lower_end);
        if (p)
            page_unref(p);
        p = tmpfs_new_page(!from_lower);
        if (!p)
            return ERR_PTR(-ENOSPC);
        int err = from_lower ? fill_from_lower(t, index, p) : 0;
        page_ref(p);
        if (err == 0)
            err = put_page(t, index, p, from_lower);
        if (err == 0)
            return p;
        page_unref(p);
        page_unref(p);
        if (err != -EEXIST && err != -EAGAIN)
            return ERR_PTR(err == -ENOMEM ? -ENOSPC : err);
    }
}

// Takes the pages [first, end) out of the tree. Those before `lower_end` covered the lower file's.
static void drop_own(struct tmpfs_inode *t, uint64_t first, uint64_t end, uint64_t lower_end) {
    uint64_t index = first;
    long dropped = 0;
    for (;;) {
        spin_lock(&t->inode.spin);
        struct page *p = pagetree_next(&t->pages, &index);
        if (p && index < end) {
            pagetree_remove(&t->pages, index);
            t->holes -= is_hole(p);
            t->covered -= t->covered && index < lower_end;
        } else {
            p = NULL;
        }
        recount(t);
        spin_unlock(&t->inode.spin);
        if (!p)
            break;
        page_unref(p);
        dropped++;
        sched_point();
    }
    if (dropped)
        page_count(PAGE_CACHE, -dropped);
}

// Nothing of the lower file shows from page `first` on, and no page of ours from there to `end`.
static void give_up(struct tmpfs_inode *t, uint64_t first, uint64_t end) {
    spin_lock(&t->inode.spin);
    uint64_t lower_end = t->lower_end;
    t->lower_end = MIN(lower_end, first);
    spin_unlock(&t->inode.spin);
    drop_own(t, first, end, lower_end);
}

// --- read, write ---

// How many pages from `index` on are the lower file's.
static uint64_t lower_run(struct tmpfs_inode *t, uint64_t index) {
    uint64_t end = READ_ONCE(t->lower_end), next = index;
    if (index >= end)
        return 0;
    if (!READ_ONCE(t->pages.count))
        return end - index;
    spin_lock(&t->inode.spin);
    if (pagetree_next(&t->pages, &next))
        end = MIN(end, next);
    spin_unlock(&t->inode.spin);
    return end - index;
}

// Bytes of one page, whosever it is. As many as n, fewer after a fault, or -errno.
static inline int64_t read_page(struct tmpfs_inode *t, struct uio *u, uint64_t at, size_t n) {
    uint64_t index = at >> PAGE_SHIFT;
    struct page *p = READ_ONCE(t->pages.count) ? tmpfs_find_page(t, index) : NULL;
    if (!p && index < READ_ONCE(t->lower_end)) {
        if (!t->lower->cache)
            return lower_read(t->lower, u, at, n, 0);
        p = page_cache_get(t->lower->cache, index);
        if (unlikely(IS_ERR(p)))
            return PTR_ERR(p);
    }
    if (!p)
        return (int64_t)uio_put_zero(u, n);
    size_t done = uio_put(u, (char *)page_to_virt(p) + (at & ~PAGE_MASK), n);
    page_unref(p);
    return (int64_t)done;
}

static int64_t overlay_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct tmpfs_inode *t = tmpfs_of(f->inode);
    uint64_t start = *pos, size = READ_ONCE(t->inode.size);
    if (start >= size || !u->left) {
        tmpfs_accessed(f, &t->inode);
        return 0;
    }
    size_t total = MIN(u->left, size - start), left = total;
    int64_t done = 0;
    while (left) {
        size_t offset = *pos & ~PAGE_MASK, n = MIN(PAGE_SIZE - offset, left);
        uint64_t run = n < left ? lower_run(t, *pos >> PAGE_SHIFT) : 0;
        if (run > 1) { // as many pages at once as the lower file has in a row: it reads them at once, too
            n = MIN((run << PAGE_SHIFT) - offset, left);
            done = lower_read(t->lower, u, *pos, n, f->advice);
        } else {
            done = read_page(t, u, *pos, n);
        }
        if (unlikely(done < 0))
            break;
        *pos += (uint64_t)done;
        left -= (size_t)done;
        if (unlikely((size_t)done < n)) {
            done = -EFAULT;
            break;
        }
        sched_point();
    }
    if (left == total)
        return done;
    tmpfs_accessed(f, &t->inode);
    return (int64_t)(total - left);
}

// Pages of our own one by one, as many of the lower file's as there are in a row.
static int64_t overlay_share(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max) {
    struct tmpfs_inode *t = tmpfs_of(f->inode);
    uint64_t size = READ_ONCE(t->inode.size);
    size_t left = pos < size ? MIN(n, size - pos) : 0, done = 0;
    unsigned count = 0;
    int64_t some = 0;
    while (done < left && count < max) {
        uint64_t at = pos + done, index = at >> PAGE_SHIFT, run;
        struct page *p = READ_ONCE(t->pages.count) ? tmpfs_find_page(t, index) : NULL;
        bool below = !p && index < READ_ONCE(t->lower_end);
        if (p || (!below && (p = file_share_hole()))) {
            done += file_share_page(&vec[count++], p, at, left - done);
            continue;
        }
        some = below ? -EOPNOTSUPP : -ENOMEM;
        if (below && t->lower->cache && (run = lower_run(t, index)))
            some = page_cache_share(t->lower->cache, at, MIN((run << PAGE_SHIFT) - (at & ~PAGE_MASK), left - done), vec + count, max - count,
                                    f->advice);
        if (some <= 0)
            break;
        count += (unsigned)DIV_ROUND_UP((at & ~PAGE_MASK) + (uint64_t)some, PAGE_SIZE);
        done += (size_t)some;
    }
    if (!done && left)
        return some;
    tmpfs_accessed(f, &t->inode);
    return (int64_t)done;
}

// A whole page is not read before. What the application's memory could not give of it stays what it was.
static int64_t write_whole(struct tmpfs_inode *t, struct uio *u, uint64_t index) {
    struct page *fresh = tmpfs_new_page(false), *p;
    if (!fresh)
        return -ENOSPC;
    int64_t done = (int64_t)uio_get(u, page_to_virt(fresh), PAGE_SIZE);
    for (int err = -EAGAIN; done == PAGE_SIZE && err == -EAGAIN;) {
        p = tmpfs_find_page(t, index);
        err = put_page(t, index, fresh, !p && index < READ_ONCE(t->lower_end));
        if (p)
            page_unref(p);
        if (err == 0)
            return done;
    }
    p = done ? own_page(t, index) : NULL;
    if (p && !IS_ERR(p)) {
        memcpy(page_to_virt(p), page_to_virt(fresh), (size_t)done);
        page_unref(p);
    } else if (p) {
        done = PTR_ERR(p);
    }
    page_unref(fresh);
    return done;
}

static int64_t write_page(struct tmpfs_inode *t, struct uio *u, uint64_t at, size_t n) {
    uint64_t index = at >> PAGE_SHIFT;
    struct page *p = tmpfs_find_page(t, index);
    if (!p || is_hole(p)) {
        if (p)
            page_unref(p);
        if (n == PAGE_SIZE)
            return write_whole(t, u, index);
        p = own_page(t, index);
        if (IS_ERR(p))
            return PTR_ERR(p);
    }
    size_t done = uio_get(u, (char *)page_to_virt(p) + (at & ~PAGE_MASK), n);
    tmpfs_drop_page(p);
    return (int64_t)done;
}

static int64_t overlay_write(struct file *f, struct uio *u, uint64_t *pos) {
    int64_t n = tmpfs_write_by(f, u, pos, write_page);
    if (n > 0)
        overlay_keep(f->inode);
    return n;
}

// --- truncate, fallocate, seek: inode.lock held ---

// Zeroes in one page, as far as there is anything else.
static int zero_in_page(struct tmpfs_inode *t, uint64_t from, uint64_t to) {
    uint64_t index = from >> PAGE_SHIFT;
    if (from >= to)
        return 0;
    struct page *p = tmpfs_find_page(t, index);
    if (!p && index < t->lower_end) {
        p = own_page(t, index);
        if (IS_ERR(p))
            return PTR_ERR(p);
    }
    if (!p)
        return 0;
    if (!is_hole(p))
        memset((char *)page_to_virt(p) + (from & ~PAGE_MASK), 0, to - from);
    page_unref(p);
    return 0;
}

int overlay_truncate(struct inode *inode, uint64_t size) {
    struct tmpfs_inode *t = tmpfs_of(inode);
    uint64_t old = inode->size;
    if (size < old) {
        // First what may fail.
        int err = zero_in_page(t, size, MIN(ALIGN_UP(size, PAGE_SIZE), old));
        if (err < 0)
            return err;
        uint64_t first = DIV_ROUND_UP(size, PAGE_SIZE), end = DIV_ROUND_UP(old, PAGE_SIZE);
        WRITE_ONCE(inode->size, size);
        give_up(t, first, ~0ul);
        if (end > first)
            backing_unmap(&t->backing, first, end - first);
        // A mapping may have written behind the end meanwhile.
        zero_in_page(t, size, MIN(ALIGN_UP(size, PAGE_SIZE), old));
    } else {
        WRITE_ONCE(inode->size, size);
    }
    overlay_keep(inode);
    return 0;
}

static struct page *get_hole_page(void) {
    struct page *p = READ_ONCE(hole_page), *none = NULL;
    if (p)
        return p;
    p = page_alloc(0, PA_ZERO);
    if (p && !__atomic_compare_exchange_n(&hole_page, &none, p, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        page_unref(p);
    return READ_ONCE(hole_page);
}

// Page `index`, which the lower file has, too, becomes a hole.
static int make_hole(struct tmpfs_inode *t, uint64_t index, struct page *hole) {
    struct page *old = NULL;
    int err = 0;
    bool new = false;
    spin_lock(&t->inode.spin);
    struct page *there = pagetree_get(&t->pages, index);
    if (there && !is_hole(there)) {
        old = pagetree_replace(&t->pages, index, hole);
    } else if (!there) {
        err = pagetree_insert(&t->pages, index, hole);
        new = err == 0;
        t->covered += new;
    }
    if (old || new) {
        page_ref(hole);
        t->holes++;
        recount(t);
    }
    spin_unlock(&t->inode.spin);
    if (old)
        page_unref(old);
    if (new)
        page_count(PAGE_CACHE, 1);
    return err < 0 ? -ENOSPC : 0;
}

static int make_holes(struct tmpfs_inode *t, uint64_t first, uint64_t last) {
    struct page *hole = get_hole_page();
    int err = hole ? 0 : -ENOSPC;
    for (uint64_t i = first; i < last && err == 0; i++) {
        err = make_hole(t, i, hole);
        sched_point();
    }
    return err;
}

static int punch_hole(struct tmpfs_inode *t, uint64_t offset, uint64_t end) {
    uint64_t first = DIV_ROUND_UP(offset, PAGE_SIZE), last = end >> PAGE_SHIFT;
    if (first > last) // inside one page
        return zero_in_page(t, offset, end);
    int err = zero_in_page(t, offset, first << PAGE_SHIFT);
    if (err == 0)
        err = zero_in_page(t, last << PAGE_SHIFT, end);
    if (err < 0 || last == first)
        return err;
    if (last < t->lower_end)
        err = make_holes(t, first, last);
    else
        give_up(t, first, last);
    backing_unmap(&t->backing, first, last - first);
    return err;
}

// What takes the place of a hole is not given back by a failure: it is as full of zeroes.
static int make_page(struct tmpfs_inode *t, uint64_t index) {
    struct page *p = tmpfs_find_page(t, index);
    int new = !p;
    if (p)
        page_unref(p);
    p = own_page(t, index);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    page_unref(p);
    return new;
}

static void drop_page(struct tmpfs_inode *t, uint64_t index) { drop_own(t, index, index + 1, t->lower_end); }

static int overlay_allocate(struct file *f, int mode, uint64_t offset, uint64_t len) {
    static const struct tmpfs_page_ops ops = {.make = make_page, .drop = drop_page, .punch = punch_hole};
    int err = tmpfs_allocate_by(f, mode, offset, len, &ops);
    if (err == 0)
        overlay_keep(f->inode);
    return err;
}

// Does page `index` have data? *next: the first page behind that may be otherwise.
static bool has_data(struct tmpfs_inode *t, uint64_t index, uint64_t *next) {
    uint64_t at = index;
    spin_lock(&t->inode.spin);
    const struct page *p = pagetree_next(&t->pages, &at);
    uint64_t own = p ? at : ~0ul, end = t->lower_end;
    spin_unlock(&t->inode.spin);
    if (own == index) {
        *next = index + 1;
        return !is_hole(p);
    }
    *next = index < end ? MIN(own, end) : own;
    return index < end;
}

static int64_t find_boundary(struct tmpfs_inode *t, uint64_t offset, bool data) {
    uint64_t size = t->inode.size, index = offset >> PAGE_SHIFT, pages = DIV_ROUND_UP(size, PAGE_SIZE), next;
    if (offset >= size)
        return -ENXIO;
    while (index < pages && has_data(t, index, &next) != data) {
        index = next;
        sched_point();
    }
    if (index >= pages)
        return data ? -ENXIO : (int64_t)size;
    return (int64_t)MIN(MAX(offset, index << PAGE_SHIFT), size);
}

static int64_t overlay_seek(struct file *f, int64_t offset, int whence) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return file_seek_sized(f, offset, whence, f->inode->size);
    if (offset < 0)
        return -ENXIO;
    mutex_lock(&f->inode->lock);
    int64_t pos = find_boundary(tmpfs_of(f->inode), (uint64_t)offset, whence == SEEK_DATA);
    mutex_unlock(&f->inode->lock);
    if (pos >= 0)
        f->position = (uint64_t)pos;
    return pos;
}

// --- mmap ---

static struct page *overlay_get_page(struct backing *b, uint64_t index, bool write) {
    struct tmpfs_inode *t = tmpfs_of_backing(b);
    struct page *p;
    if (index >= DIV_ROUND_UP(READ_ONCE(t->inode.size), PAGE_SIZE))
        return ERR_PTR(-EFAULT);
    if (!write && READ_ONCE(t->pages.count) && (p = tmpfs_find_page(t, index)) != NULL)
        return p;
    if (!write && index < READ_ONCE(t->lower_end)) {
        struct backing *below = load_acquire(&t->lower_backing);
        return below->ops->get_page(below, index, false);
    }
    p = own_page(t, index);
    return p == ERR_PTR(-ENOSPC) ? ERR_PTR(-ENOMEM) : p;
}

static void overlay_peek_pages(struct backing *b, uint64_t first, unsigned count, struct page **pages) {
    struct tmpfs_inode *t = tmpfs_of_backing(b);
    struct backing *below = load_acquire(&t->lower_backing);
    uint64_t end = MIN(READ_ONCE(t->lower_end), DIV_ROUND_UP(READ_ONCE(t->inode.size), PAGE_SIZE));
    unsigned n = first < end && below && below->ops->peek_pages ? (unsigned)MIN(count, end - first) : 0;
    if (n)
        below->ops->peek_pages(below, first, n, pages);
    for (unsigned i = n; i < count; i++)
        pages[i] = NULL;
    if (!READ_ONCE(t->pages.count))
        return;
    for (unsigned i = 0; i < count; i++) {
        struct page *own = tmpfs_find_page(t, first + i);
        if (own && pages[i])
            page_unref(pages[i]);
        if (own)
            pages[i] = own;
    }
}

const struct backing_ops overlay_backing_ops = {
    .get_page = overlay_get_page,
    .peek_pages = overlay_peek_pages,
    .ref = tmpfs_backing_ref,
    .unref = tmpfs_backing_unref,
    .describe = tmpfs_backing_describe,
};

// The lower file's pages, which from now on are taken out of the mappings of both. 0 or -errno.
static int show_lower(struct tmpfs_inode *t) {
    struct file f;
    if (load_acquire(&t->lower_backing))
        return 0;
    lower_open(&f, t->lower);
    struct backing *b = f.ops->map ? f.ops->map(&f, PROT_READ, MAP_PRIVATE) : ERR_PTR(-ENODEV);
    lower_close(&f);
    if (IS_ERR(b))
        return PTR_ERR(b);
    spin_lock(&t->inode.spin);
    bool first = !t->lower_backing;
    if (first) {
        spin_lock(&b->lock);
        b->above = &t->backing;
        spin_unlock(&b->lock);
        store_release(&t->lower_backing, b);
    }
    spin_unlock(&t->inode.spin);
    if (!first)
        b->ops->unref(b);
    return 0;
}

static struct backing *overlay_map(struct file *f, unsigned prot, unsigned flags) {
    struct tmpfs_inode *t = tmpfs_of(f->inode);
    int err = READ_ONCE(t->lower_end) ? show_lower(t) : 0;
    if (err < 0)
        return ERR_PTR(err);
    tmpfs_mapped(f);
    inode_pin(f->inode);
    return &t->backing;
}

const struct file_ops overlay_file_ops = {
    .direct = true,
    .read = overlay_read,
    .write = overlay_write,
    .share = overlay_share,
    .seek = overlay_seek,
    .map = overlay_map,
    .fsync = tmpfs_fsync,
    .allocate = overlay_allocate,
};
