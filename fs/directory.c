// Listing directories whose entries are all in memory. An open directory keeps its place with a node of its own in the list of
// children, so that a listing costs the same per entry however many there are, and is right while entries come and go.
// Locks: the caller (file.c) holds the directory's inode lock during `iterate`; the list is under the entry's spinlock.
#include "fs/internal.h"
#include "kernel/string.h"

struct dir_cursor {
    struct dir_node node; // cookie 0
    struct dentry *dir;
    int64_t pos; // the file position that this place stands for
};
static struct slab_cache cursor_cache = SLAB_CACHE("dir_cursor", sizeof(struct dir_cursor), 8);

static struct dir_cursor *cursor_get(struct file *f) {
    struct dir_cursor *c = f->data;
    if (!c) {
        c = slab_alloc(&cursor_cache);
        if (!c)
            return NULL;
        c->node.cookie = 0;
        list_init(&c->node.link);
        c->dir = f->path.dentry;
        c->pos = -1;
        f->data = c;
    }
    return c;
}

bool directory_emit_dots(struct dentry *dir, struct dir_context *ctx) {
    if (ctx->pos == 0) {
        if (!ctx->emit(ctx, ".", 1, dir->inode->ino, S_IFDIR >> 12, 1))
            return false;
        ctx->pos = 1;
    }
    if (ctx->pos == 1) {
        struct dentry *parent = dentry_parent(dir);
        bool ok = ctx->emit(ctx, "..", 2, parent->inode->ino, S_IFDIR >> 12, 2);
        dentry_unref(parent);
        if (!ok)
            return false;
        ctx->pos = 2;
    }
    return true;
}

int directory_iterate_table(struct file *f, struct dir_context *ctx, int64_t base,
                            bool (*wanted)(const struct dentry *d)) {
    struct dentry *dir = f->path.dentry;
    if (!dir->children)
        return 0;
    struct dir_cursor *cursor = cursor_get(f);
    if (!cursor)
        return -ENOMEM;

    struct list *head = &dir->children->list, *at;
    spin_lock(&dir->lock);
    if (cursor->pos == ctx->pos) {
        at = cursor->node.link.next;
    } else {
        at = head->next;
        while (at != head && list_entry(at, struct dir_node, link)->cookie <= (uint64_t)(ctx->pos - base))
            at = at->next;
    }
    while (at != head) {
        struct dir_node *n = list_entry(at, struct dir_node, link);
        struct dentry *d = container_of(n, struct dentry, node);
        if (n->cookie && d->inode && (!wanted || wanted(d))) {
            // The inode lock keeps the entry in the list while the spinlock is dropped to copy.
            spin_unlock(&dir->lock);
            bool ok = ctx->emit(ctx, d->name, d->name_len, d->inode->ino, (d->inode->mode & S_IFMT) >> 12,
                                base + (int64_t)n->cookie);
            spin_lock(&dir->lock);
            if (!ok)
                break;
            ctx->pos = base + (int64_t)n->cookie;
        }
        at = at->next;
    }
    list_remove(&cursor->node.link);
    list_push_back(at, &cursor->node.link); // before `at`
    cursor->pos = ctx->pos;
    spin_unlock(&dir->lock);
    return 0;
}

static int directory_iterate(struct file *f, struct dir_context *ctx) {
    struct dentry *dir = f->path.dentry;
    if (ctx->pos < 0)
        return -EINVAL;
    if (dir->flags & DENTRY_LAZY)
        dentry_populate(dir, true);
    return directory_emit_dots(dir, ctx) ? directory_iterate_table(f, ctx, 0, NULL) : 0;
}

void directory_release(struct file *f) {
    struct dir_cursor *c = f->data;
    if (!c)
        return;
    spin_lock(&c->dir->lock);
    list_remove(&c->node.link);
    spin_unlock(&c->dir->lock);
    slab_free(&cursor_cache, c);
}

int64_t directory_seek(struct file *f, int64_t offset, int whence) {
    if (whence == 1)
        offset += f->position;
    else if (whence != 0)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->position = offset;
    return offset;
}

int64_t directory_read(struct file *f, struct uio *u, uint64_t *pos) { return -EISDIR; }

int directory_fsync(struct file *f, bool data_only) { return 0; }

const struct file_ops directory_ops = {
    .read = directory_read,
    .seek = directory_seek,
    .iterate = directory_iterate,
    .release = directory_release,
    .fsync = directory_fsync,
};
