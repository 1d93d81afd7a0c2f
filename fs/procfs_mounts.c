// /proc/PID/mounts and mountinfo.
#include "fs/procfs.h"
#include "kernel/string.h"
#include <linux/mount.h>

static void show_options(struct seqbuf *s, uint32_t flags) {
    static const struct {
        uint32_t flag;
        const char *text;
    } names[] = {{MS_NOSUID, ",nosuid"},          {MS_NODEV, ",nodev"},           {MS_NOEXEC, ",noexec"},
                 {MS_NOATIME, ",noatime"},        {MS_NODIRATIME, ",nodiratime"}, {MS_RELATIME, ",relatime"},
                 {MS_NOSYMFOLLOW, ",nosymfollow"}};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (flags & names[i].flag)
            seq_puts(s, names[i].text);
}

static void show_read_only(struct seqbuf *s, bool read_only, const struct superblock *lazy) {
    seq_puts(s, read_only ? " ro" : " rw");
    if (lazy && (lazy->flags & SB_LAZYTIME))
        seq_puts(s, ",lazytime");
}

static void show_super_options(struct seqbuf *s, struct superblock *sb) {
    if (sb->ops->show_options)
        sb->ops->show_options(sb, s);
}

static void show_name(struct seqbuf *s, const char *text) { seq_escaped(s, text, " \t\n\\"); }

// Calls `show` for each mount with its place, if the process can see that.
static int each_mount(struct seqbuf *s, void (*show)(struct seqbuf *s, struct mount *m, const char *place)) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    struct dentry *root = mount_root()->root;
    if (root->flags & DENTRY_LAZY) // /sys is mounted when it is first looked for (init.c): a list of mounts is a look
        dentry_populate(root, false);
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        struct path p = {m, m->root};
        if (path_name(&p, buf, NAME_BUFFER_SIZE) > 0 && *buf == '/')
            show(s, m, buf);
    }
    name_buffer_put(buf);
    return 0;
}

static void mounts_line(struct seqbuf *s, struct mount *m, const char *place) {
    show_name(s, m->source);
    seq_puts(s, " ");
    show_name(s, place);
    seq_printf(s, " %s", m->sb->type->name);
    show_read_only(s, (m->flags & MS_RDONLY) || (m->sb->flags & SB_RDONLY), m->sb);
    show_options(s, m->flags);
    show_super_options(s, m->sb);
    seq_puts(s, " 0 0\n");
}

static void mountstats_line(struct seqbuf *s, struct mount *m, const char *place) {
    seq_puts(s, "device ");
    show_name(s, m->source);
    seq_puts(s, " mounted on ");
    show_name(s, place);
    seq_printf(s, " with fstype %s\n", m->sb->type->name);
}

static void mountinfo_line(struct seqbuf *s, struct mount *m, const char *place) {
    seq_printf(s, "%d %d %u:%u ", m->id, mount_parent_id(m), DEV_MAJOR(m->sb->dev), DEV_MINOR(m->sb->dev));
    char *root = name_buffer_get();
    show_name(s, root && dentry_path(m->root, root, NAME_BUFFER_SIZE) > 0 ? root : "/");
    name_buffer_put(root);
    seq_puts(s, " ");
    show_name(s, place);
    show_read_only(s, m->flags & MS_RDONLY, NULL);
    show_options(s, m->flags);
    if (m->group)
        seq_printf(s, " shared:%d", m->group);
    if (m->master)
        seq_printf(s, " master:%d", m->master);
    if (m->unbindable)
        seq_puts(s, " unbindable");
    seq_printf(s, " - %s ", m->sb->type->name);
    show_name(s, m->source);
    show_read_only(s, m->sb->flags & SB_RDONLY, m->sb);
    show_super_options(s, m->sb);
    seq_puts(s, "\n");
}

int proc_show_mounts(struct seqbuf *s, struct proc_ref *r) { return each_mount(s, mounts_line); }

int proc_show_mountstats(struct seqbuf *s, struct proc_ref *r) { return each_mount(s, mountstats_line); }

int proc_show_mountinfo(struct seqbuf *s, struct proc_ref *r) { return each_mount(s, mountinfo_line); }
