// The first tree of names: tmpfs on /, devtmpfs on /dev, procfs on /proc; and the hooks with which a process's files go.
#include "fs/internal.h"
#include "fs/tty.h"
#include "kernel/log.h"
#include "kernel/string.h"

static void release_files(struct process *p)
{
    if (p->files)
        file_table_unref(p->files);
    if (p->fs)
        fs_context_unref(p->fs);
    if (p->exe_path) {
        path_unref(p->exe_path);
        kfree(p->exe_path);
    }
    p->files = NULL;
    p->fs = NULL;
    p->exe_path = NULL;
}

// fork: the child runs the same program.
static void inherit(struct process *child, struct process *parent)
{
    struct path *exe = parent->exe_path ? kmalloc(sizeof(*exe)) : NULL;
    if (exe) {
        *exe = *(struct path *)parent->exe_path;
        path_ref(exe);
    }
    child->exe_path = exe;
}

static int mount_at(const char *name, const struct fs_type *type)
{
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

int vfs_init(void)
{
    static const struct process_hooks hooks = {
        .release_files = release_files, .stop_tty = tty_process_exit, .inherit = inherit};
    process_set_hooks(&hooks);
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
