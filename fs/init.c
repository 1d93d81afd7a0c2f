// The first tree of names: tmpfs on /, devtmpfs on /dev, procfs on /proc.
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"

static int mount_at(const char *name, const struct fs_type *type) {
    struct superblock *sb = type->mount(type, NULL, "");
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    struct dentry *d = tmpfs_make(mount_root()->root, name, strlen(name), S_IFDIR | 0755, 0, NULL);
    int err = IS_ERR(d) ? PTR_ERR(d) : 0;
    if (!err) {
        struct path p = {mount_root(), d};
        err = mount_attach(sb, type->name, &p, 0);
        dentry_unref(d);
    }
    superblock_unref(sb);
    return err;
}

int vfs_init(void) {
    fs_set_hooks();
    struct superblock *sb = tmpfs_superblock(&tmpfs_type, 0755);
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    int err = mount_create_root(sb);
    superblock_unref(sb);
    if (!err)
        err = mount_at("dev", &devfs_type);
    if (!err)
        err = mount_at("proc", &proc_type);
    return err;
}
