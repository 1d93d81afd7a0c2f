// Open files of a server: each has a fid of its own, so that the server sees who opens what how, and an open file outlives its name.
#include "fs/9p/internal.h"

#include "fs/poll.h"
#include "kernel/string.h"
#include <linux/fs.h>

// The flags that mean something to the server; the VFS has done the others.
#define SERVER_FLAGS (O_ACCMODE | O_APPEND | O_DSYNC | O_SYNC)

// What Tlcreate has opened, for the open(2) that it was for.
static struct p9_fid *take_created(struct p9_inode *p, unsigned flags) {
    if (likely(!READ_ONCE(p->created)))
        return NULL;
    spin_lock(&p->inode.spin);
    struct p9_fid *fid = p->created;
    p->created = NULL;
    spin_unlock(&p->inode.spin);
    if (fid && (flags & SERVER_FLAGS & ~O_ACCMODE)) {
        p9_fid_put(fid);
        return NULL;
    }
    return fid;
}

int p9_file_open(struct file *f) {
    struct p9_inode *p = p9_inode_of(f->inode);
    struct p9_fid *fid = take_created(p, f->flags);
    if (!fid)
        fid = p9_inode_open(f->inode, f->flags & SERVER_FLAGS);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    p->fresh_for = NULL;
    f->data = fid;
    spin_lock(&f->inode->spin);
    list_push_back(&p->open, &fid->link);
    spin_unlock(&f->inode->spin);
    return 0;
}

void p9_file_release(struct file *f) {
    struct p9_fid *fid = f->data;
    if (!fid)
        return;
    spin_lock(&f->inode->spin);
    list_remove(&fid->link);
    spin_unlock(&f->inode->spin);
    p9_fid_put(fid);
    p9_drop_write_fid(p9_inode_of(f->inode));
}

// Each close starts writing what mappings have changed.
static void file_flush(struct file *f) {
    struct page_cache *c = f->inode->cache;
    if (c && READ_ONCE(c->dirty))
        page_cache_start_sync(c, 0, ~0ul);
    p9_locks_closed(f);
}

static int file_fsync(struct file *f, bool data_only) {
    int err = 0;
    if (f->inode->cache)
        err = page_cache_fsync(f, data_only);
    int remote = p9_fsync(f->data, data_only);
    return err < 0 ? err : remote;
}

static int64_t file_seek_op(struct file *f, int64_t offset, int whence) {
    if (whence == SEEK_END || whence == SEEK_DATA || whence == SEEK_HOLE)
        p9_update(f->inode);
    return file_seek_sized(f, offset, whence, READ_ONCE(f->inode->size));
}

const struct file_ops p9_file_ops = {
    .direct = true,
    .open = p9_file_open,
    .read = p9_file_read,
    .write = p9_file_write,
    .seek = file_seek_op,
    .map = p9_map,
    .fsync = file_fsync,
    .lock = p9_file_lock,
    .lock_test = p9_file_lock_test,
    .flush = file_flush,
    .release = p9_file_release,
};
