// Listing directories of the overlay: first what the lower directory has, in its order and by its positions, but for the names that a
// pinned entry takes the place of (its inode is shown instead, or nothing); then the pinned entries that have nothing below, as tmpfs
// lists its own. So a name that is replaced while the directory is read is seen once, and positions stay what they are.
// Locks: the directory's inode is locked by the caller (file.c), the lower one here.
#include "fs/overlay/overlay.h"
#include "kernel/string.h"

// Positions: 0 and 1 stand before "." and "..", 2 + x for the lower directory's x, OWN + the cookie for our own.
#define LOWER 2
#define OWN (1l << 62)

static bool is_own(const struct dentry *d) { return (d->flags & (DENTRY_PINNED | DENTRY_COVERS)) == DENTRY_PINNED; }

static bool is_dots(const char *name, size_t len) {
    return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

// One pass over the lower directory.
struct merge {
    struct dir_context ctx;  // the lower one's
    struct dir_context *out; // NULL: only whether there is anything at all
    struct dentry *dir;
    bool any, stopped; // an entry was met; no more are wanted
};

static bool merge_entry(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type,
                        int64_t off) {
    struct merge *m = container_of(ctx, struct merge, ctx);
    m->any = true;
    if (is_dots(name, len))
        return true;
    struct dentry *d = dentry_find(m->dir, name, len, name_hash(name, len));
    bool pinned = d && (d->flags & DENTRY_PINNED), shown = !pinned || d->inode;
    if (pinned && shown) {
        ino = d->inode->ino;
        type = (d->inode->mode & S_IFMT) >> 12;
    }
    if (d)
        dentry_unref(d);
    if (shown && (!m->out || !m->out->emit(m->out, name, len, ino, type, off + LOWER)))
        m->stopped = true;
    return !m->stopped;
}

// Until the end or until `stopped`. 0 or -errno.
static int merge_lower(struct merge *m) {
    struct inode *below = tmpfs_of(m->dir->inode)->lower;
    struct file f;
    int err = 0;
    if (!below->file_ops || !below->file_ops->iterate)
        return -EIO;
    lower_open(&f, below);
    lock_nested(); // that of the directory above it
    mutex_lock(&below->lock);
    do {
        m->any = false;
        err = f.ops->iterate(&f, &m->ctx);
    } while (err >= 0 && m->any && !m->stopped);
    mutex_unlock(&below->lock);
    lower_close(&f);
    return err < 0 ? err : 0;
}

static int overlay_iterate(struct file *f, struct dir_context *ctx) {
    struct dentry *dir = f->path.dentry;
    if (ctx->pos < 0)
        return -EINVAL;
    if (!directory_emit_dots(dir, ctx))
        return 0;
    if (ctx->pos < OWN) {
        if (tmpfs_of(dir->inode)->lower) {
            struct merge m = {.ctx = {merge_entry, ctx->pos - LOWER}, .out = ctx, .dir = dir};
            int err = merge_lower(&m);
            ctx->pos = m.ctx.pos + LOWER;
            if (err < 0 || m.stopped)
                return err;
        }
        ctx->pos = OWN;
    }
    return directory_iterate_table(f, ctx, OWN, is_own);
}

int overlay_shows_nothing_below(struct dentry *dir) {
    if (!tmpfs_of(dir->inode)->lower)
        return 1;
    struct merge m = {.ctx = {merge_entry, 0}, .dir = dir};
    int err = merge_lower(&m);
    return err < 0 ? err : !m.stopped;
}

int overlay_is_empty(struct dentry *dir) {
    bool own = false;
    if (dir->children) {
        const struct dir_node *n;
        spin_lock(&dir->lock);
        list_for_each (n, &dir->children->list, link) {
            const struct dentry *d = container_of(n, struct dentry, node);
            if (n->cookie && d->inode && (d->flags & DENTRY_PINNED)) {
                own = true;
                break;
            }
        }
        spin_unlock(&dir->lock);
    }
    return own ? 0 : overlay_shows_nothing_below(dir);
}

const struct file_ops overlay_directory_file_ops = {
    .read = directory_read,
    .seek = directory_seek,
    .iterate = overlay_iterate,
    .release = directory_release,
    .fsync = directory_fsync,
};
