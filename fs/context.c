// Root, working directory and umask of a process, and what is released when a process ends.
#include "fs/internal.h"

static struct slab_cache context_cache = SLAB_CACHE("fs_context", sizeof(struct fs_context), 8);

struct fs_context *fs_context_create(void)
{
    struct fs_context *fs = slab_alloc(&context_cache);
    if (!fs)
        return NULL;
    fs->refs = 1;
    spin_init(&fs->lock);
    fs->root = (struct path){mount_root(), mount_root()->root};
    fs->cwd = fs->root;
    path_ref(&fs->root);
    path_ref(&fs->cwd);
    fs->umask = 022;
    return fs;
}

struct fs_context *fs_context_copy(struct fs_context *from)
{
    struct fs_context *fs = slab_alloc(&context_cache);
    if (!fs)
        return NULL;
    fs->refs = 1;
    spin_init(&fs->lock);
    spin_lock(&from->lock);
    fs->root = from->root;
    fs->cwd = from->cwd;
    fs->umask = from->umask;
    path_ref(&fs->root);
    path_ref(&fs->cwd);
    spin_unlock(&from->lock);
    return fs;
}

void fs_context_unref(struct fs_context *fs)
{
    if (atomic_sub(&fs->refs, 1) != 1)
        return;
    path_unref(&fs->root);
    path_unref(&fs->cwd);
    slab_free(&context_cache, fs);
}

static void replace(struct path *place, const struct path *p)
{
    struct fs_context *fs = process_current()->fs;
    path_ref(p);
    spin_lock(&fs->lock);
    struct path old = *place;
    *place = *p;
    spin_unlock(&fs->lock);
    path_unref(&old);
}

static int check_directory(const struct path *p)
{
    return S_ISDIR(p->dentry->inode->mode) ? vfs_permission(p->dentry->inode, 1) : -ENOTDIR;
}

int fs_set_cwd(const struct path *p)
{
    int err = check_directory(p);
    if (err == 0)
        replace(&process_current()->fs->cwd, p);
    return err;
}

int fs_set_root(const struct path *p)
{
    int err = check_directory(p);
    if (err == 0 && !capable(CAP_SYS_CHROOT))
        err = -EPERM;
    if (err == 0)
        replace(&process_current()->fs->root, p);
    return err;
}
