// /proc/PID/mounts and mountinfo.
#include "fs/procfs.h"
#include "kernel/string.h"
#include <linux/mount.h>

static void show_options(struct seqbuf *s, uint32_t flags) {
    seq_printf(s, "%s%s%s%s%s%s%s", flags & MS_RDONLY ? "ro" : "rw", flags & MS_NOSUID ? ",nosuid" : "",
               flags & MS_NODEV ? ",nodev" : "", flags & MS_NOEXEC ? ",noexec" : "",
               flags & MS_NOATIME ? ",noatime" : "", flags & MS_NODIRATIME ? ",nodiratime" : "",
               flags & MS_RELATIME ? ",relatime" : "");
}

static void show_super_options(struct seqbuf *s, struct superblock *sb) {
    if (sb->ops->show_options)
        sb->ops->show_options(sb, s);
}

// The text of a mount's place, in a buffer of the names' size; false when the process cannot see it.
static bool mount_place(struct mount *m, char *buf) {
    struct path p = {m, m->root};
    return path_name(&p, buf, NAME_BUFFER_SIZE) > 0 && *buf == '/';
}

// /sys is mounted when it is first looked for (init.c): a list of mounts is a look.
static void complete(void) {
    struct dentry *root = mount_root()->root;
    if (root->flags & DENTRY_LAZY)
        dentry_populate(root, false);
}

int proc_show_mounts(struct seqbuf *s, struct proc_ref *r) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    complete();
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        if (!mount_place(m, buf))
            continue;
        seq_escaped(s, m->source, " \t\n\\");
        seq_puts(s, " ");
        seq_escaped(s, buf, " \t\n\\");
        seq_printf(s, " %s ", m->sb->type->name);
        show_options(s, m->flags | (m->sb->flags & SB_RDONLY ? MS_RDONLY : 0));
        show_super_options(s, m->sb);
        seq_puts(s, " 0 0\n");
    }
    name_buffer_put(buf);
    return 0;
}

int proc_show_mountstats(struct seqbuf *s, struct proc_ref *r) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    complete();
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        if (!mount_place(m, buf))
            continue;
        seq_puts(s, "device ");
        seq_escaped(s, m->source, " \t\n\\");
        seq_puts(s, " mounted on ");
        seq_escaped(s, buf, " \t\n\\");
        seq_printf(s, " with fstype %s\n", m->sb->type->name);
    }
    name_buffer_put(buf);
    return 0;
}

int proc_show_mountinfo(struct seqbuf *s, struct proc_ref *r) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    complete();
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        if (!mount_place(m, buf))
            continue;
        seq_printf(s, "%d %d %u:%u ", m->id, mount_parent_id(m), DEV_MAJOR(m->sb->dev), DEV_MINOR(m->sb->dev));
        char *root = name_buffer_get();
        seq_escaped(s, root && dentry_path(m->root, root, NAME_BUFFER_SIZE) > 0 ? root : "/", " \t\n\\");
        name_buffer_put(root);
        seq_puts(s, " ");
        seq_escaped(s, buf, " \t\n\\");
        seq_puts(s, " ");
        show_options(s, m->flags);
        if (m->group)
            seq_printf(s, " shared:%d", m->group);
        if (m->master)
            seq_printf(s, " master:%d", m->master);
        if (m->unbindable)
            seq_puts(s, " unbindable");
        seq_printf(s, " - %s ", m->sb->type->name);
        seq_escaped(s, m->source, " \t\n\\");
        seq_puts(s, m->sb->flags & SB_RDONLY ? " ro" : " rw");
        show_super_options(s, m->sb);
        seq_puts(s, "\n");
    }
    name_buffer_put(buf);
    return 0;
}
