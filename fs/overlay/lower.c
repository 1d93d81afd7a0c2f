// What lies below an overlay, through the functions that every file system has: names by inode_ops.lookup, or out of the table of
// entries when the file system lives in memory; contents and listings by file_ops, with a struct file that no descriptor has.
// Locks: takes the lower inode's, as these functions want it.
#include "fs/overlay/overlay.h"
#include "kernel/string.h"

// Some entry of the inode; directories have one. Of file systems in memory, whose entries stay. NULL: it was removed.
static struct dentry *alias_of(struct inode *below) {
    struct dentry *d = NULL;
    spin_lock(&below->spin);
    if (!list_empty(&below->aliases))
        d = dentry_ref(list_first(&below->aliases, struct dentry, alias_link));
    spin_unlock(&below->spin);
    return d;
}

static int lookup_in_table(struct inode *dir, const char *name, size_t len, uint32_t hash, struct inode **out) {
    struct dentry *parent = alias_of(dir), *d;
    if (!parent)
        return -ENOENT;
    int err = dentry_lookup(parent, name, len, hash, false, &d);
    if (err == 0) {
        *out = inode_ref(d->inode);
        dentry_unref(d);
    }
    dentry_unref(parent);
    return err;
}

// The entry exists for this one question: it is in no table.
static int ask(struct inode *dir, const char *name, size_t len, uint32_t hash, struct inode **out) {
    struct dentry *d = dentry_alloc(dir->sb->root, name, len, hash);
    if (!d)
        return -ENOMEM;
    lock_nested(); // the directory above it is locked
    mutex_lock(&dir->lock);
    int err = dir->ops->lookup(dir, d);
    mutex_unlock(&dir->lock);
    if (err == 0 && d->inode)
        *out = inode_ref(d->inode);
    dentry_unref(d);
    return err;
}

int lower_lookup(struct inode *dir, const char *name, size_t len, uint32_t hash, struct inode **out) {
    *out = NULL;
    int err = dir->ops->lookup ? ask(dir, name, len, hash, out) : lookup_in_table(dir, name, len, hash, out);
    return err == -ENOENT ? 0 : err;
}

void lower_open(struct file *f, struct inode *below) {
    *f = (struct file){
        .ops = below->file_ops, .refs = 1, .flags = O_RDONLY | O_NOATIME, .readable = true, .inode = below};
    if (S_ISDIR(below->mode))
        f->path.dentry = alias_of(below);
}

void lower_close(struct file *f) {
    if (f->data && f->ops->release)
        f->ops->release(f);
    if (f->path.dentry)
        dentry_unref(f->path.dentry);
}

int64_t lower_read(struct inode *below, struct uio *u, uint64_t at, size_t n, unsigned advice) {
    struct file f;
    size_t before = u->left, total = 0;
    int64_t done = 0;
    lower_open(&f, below);
    f.advice = advice;
    while (total < n) {
        uint64_t pos = at + total;
        u->left = n - total;
        done = f.ops->read(&f, u, &pos);
        if (done <= 0)
            break;
        total += (size_t)done;
    }
    lower_close(&f);
    if (done == 0 && total < n)
        total += uio_put_zero(u, n - total);
    u->left = before - total;
    return total || done >= 0 ? (int64_t)total : done;
}
