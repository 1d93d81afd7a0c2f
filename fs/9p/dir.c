// Listing a server's directory. The entries of one answer are kept with the open file until they are used; where to go on is the
// server's number. Lock: the VFS holds inode.lock.
#include "fs/9p/internal.h"

#include "kernel/string.h"

#define LISTING_SIZE 32768u

struct listing {
    struct p9_fid *fid; // open
    uint8_t *data;      // entries [at, filled) are those behind file position `pos`
    uint32_t room, at, filled;
    uint64_t pos;
    bool end; // the server has no more behind them
};

static int dir_open(struct file *f) {
    struct listing *l = kzalloc(sizeof(*l));
    if (!l)
        return -ENOMEM;
    struct p9_fid *place = p9_inode_fid(f->inode), *fid = place;
    if (!IS_ERR(place)) {
        fid = p9_walk(place, NULL, 0);
        p9_fid_put(place);
    }
    int err = IS_ERR(fid) ? (int)PTR_ERR(fid) : p9_lopen(fid, O_RDONLY | O_DIRECTORY);
    if (err < 0) {
        if (!IS_ERR(fid))
            p9_fid_put(fid);
        kfree(l);
        return err;
    }
    p9_inode_of(f->inode)->fresh_for = NULL;
    l->fid = fid;
    f->data = l;
    return 0;
}

static void dir_release(struct file *f) {
    struct listing *l = f->data;
    if (!l)
        return;
    p9_fid_put(l->fid);
    kfree(l->data);
    kfree(l);
}

static bool good_name(const struct p9_dirent *e) {
    return e->len > 0 && e->len <= NAME_MAX && !memchr(e->name, '/', e->len) && !memchr(e->name, '\0', e->len);
}

static int fill(struct listing *l, uint64_t pos) {
    if (!l->data) {
        l->room = MIN(LISTING_SIZE, l->fid->client->payload_max);
        l->data = kmalloc(l->room);
        if (!l->data)
            return -ENOMEM;
    }
    l->at = l->filled = 0;
    l->pos = pos;
    long n = p9_readdir(l->fid, l->data, l->room, pos);
    if (n < 0)
        return (int)n;
    l->filled = (uint32_t)n;
    l->end = n == 0;
    return 0;
}

static int dir_iterate(struct file *f, struct dir_context *ctx) {
    struct listing *l = f->data;
    if (ctx->pos < 0)
        return -EINVAL;
    if (l->pos != (uint64_t)ctx->pos || !l->data) {
        l->at = l->filled = 0;
        l->pos = (uint64_t)ctx->pos;
        l->end = false;
    }
    for (;;) {
        if (l->at == l->filled) {
            int err = l->end ? 0 : fill(l, l->pos);
            if (err < 0 || l->filled == 0)
                return err;
        }
        struct p9_buffer b = {.data = l->data, .size = l->filled, .at = l->at};
        struct p9_dirent e;
        if (!p9_get_dirent(&b, &e) || !good_name(&e) || e.offset > INT64_MAX) {
            p9_client_broken(l->fid->client, "a directory's entry that is none");
            return -EIO;
        }
        if (!ctx->emit(ctx, e.name, e.len, e.qid.path, e.type, (int64_t)e.offset))
            return 0;
        l->at = b.at;
        l->pos = e.offset;
        ctx->pos = (int64_t)e.offset;
    }
}

static int64_t dir_seek(struct file *f, int64_t offset, int whence) {
    struct listing *l = f->data;
    if (whence == 1)
        offset += f->position;
    else if (whence != 0)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->position = offset;
    l->at = l->filled = 0; // rewinddir(3): as it is now
    l->pos = (uint64_t)offset;
    l->end = false;
    return offset;
}

static int64_t dir_read(struct file *f, struct uio *u, uint64_t *pos) { return -EISDIR; }

static int dir_fsync(struct file *f, bool data_only) {
    const struct listing *l = f->data;
    return p9_fsync(l->fid, data_only);
}

const struct file_ops p9_dir_file_ops = {
    .open = dir_open,
    .read = dir_read,
    .seek = dir_seek,
    .iterate = dir_iterate,
    .release = dir_release,
    .fsync = dir_fsync,
};
