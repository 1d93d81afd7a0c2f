// The first tree of names: tmpfs on /, devtmpfs on /dev, devpts on /dev/pts, procfs on /proc.
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"

// On a new directory in the root of a mount. *made is the new mount, which stays.
static int mount_in(struct mount *parent, const char *name, const struct fs_type *type, struct mount **made) {
    struct superblock *sb = type->mount(type, NULL, 0, "");
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    struct dentry *d = tmpfs_make(parent->root, name, strlen(name), S_IFDIR | 0755, 0, NULL);
    int err = IS_ERR(d) ? PTR_ERR(d) : 0;
    if (!err) {
        struct path p = {parent, d};
        err = mount_attach(sb, type->name, &p, 0);
        dentry_unref(d);
    }
    if (!err) {
        *made = mount_of(sb);
        mount_unref(*made); // the tree holds it
    }
    superblock_unref(sb);
    return err;
}

int vfs_init(void) {
    struct mount *dev = NULL, *m;
    fs_set_hooks();
    struct superblock *sb = tmpfs_superblock(&tmpfs_type, 0755);
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    int err = mount_create_root(sb);
    superblock_unref(sb);
    if (!err)
        err = mount_in(mount_root(), "dev", &devfs_type, &dev);
    if (!err)
        err = mount_in(dev, "pts", &devpts_type, &m);
    if (!err)
        err = mount_in(mount_root(), "proc", &proc_type, &m);
    return err;
}
