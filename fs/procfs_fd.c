// /proc/PID/fd and fdinfo: what a process has open.
#include "fs/inotify.h"
#include "fs/poll.h"
#include "fs/procfs.h"
#include "kernel/log.h"
#include "kernel/string.h"

static struct file *item_file(struct proc_ref *r) {
    struct file_table *t = process_files_get(r->process);
    struct file *f = NULL;
    if (t) {
        int fd = fd_next(t, r->item->fd, &f);
        if (fd >= 0 && fd != r->item->fd) {
            file_unref(f);
            f = NULL;
        }
        file_table_unref(t);
    }
    return f;
}

static int next_fd(struct proc_ref *dir, int from) {
    struct file_table *t = process_files_get(dir->process);
    if (!t)
        return -1;
    struct file *f;
    int fd = fd_next(t, from, &f);
    if (fd >= 0)
        file_unref(f);
    file_table_unref(t);
    return fd;
}

static size_t anonymous_name(struct file *f, char *buf, size_t size) {
    if (S_ISFIFO(f->inode->mode))
        return snprintf(buf, size, "pipe:[%lu]", (unsigned long)f->inode->ino);
    if (S_ISSOCK(f->inode->mode))
        return snprintf(buf, size, "socket:[%lu]", (unsigned long)f->inode->ino);
    return snprintf(buf, size, "anon_inode:%s", f->ops->name ? f->ops->name : "[file]");
}

static long fd_readlink(struct proc_ref *r, char *buf, size_t size) {
    struct file *f = item_file(r);
    if (!f)
        return -ENOENT;
    long n = f->path.dentry ? path_name_marked(&f->path, buf, size) : (long)anonymous_name(f, buf, size);
    file_unref(f);
    return n;
}

static int fd_follow(struct proc_ref *r, struct path *out) {
    struct file *f = item_file(r);
    if (!f)
        return -ENOENT;
    int err = 0;
    if (f->path.dentry) {
        *out = f->path;
        path_ref(out);
    } else {
        char name[64];
        anonymous_name(f, name, sizeof(name));
        struct dentry *d = dentry_alloc_anonymous(inode_ref(f->inode), name);
        if (d) {
            *out = (struct path){mount_anonymous(), d};
        } else {
            inode_unref(f->inode);
            err = -ENOMEM;
        }
    }
    file_unref(f);
    return err;
}

static uint32_t fd_link_mode(struct proc_ref *r) {
    struct file *f = item_file(r);
    if (!f)
        return 0700;
    uint32_t mode = 0100 | (f->readable ? 0400 : 0) | (f->writable ? 0200 : 0);
    file_unref(f);
    return mode;
}

// The locks that a process has by this file.
struct lock_owner {
    struct seqbuf *s;
    const struct file *file;
    struct file_table *table;
    const struct inode *inode;
    int number;
};

static void show_lock(void *ctx, const struct file_lock *l, bool waits, int number) {
    struct lock_owner *o = ctx;
    if (waits || l->inode != o->inode || (l->owner != o->file && l->owner != o->table))
        return;
    seq_puts(o->s, "lock:\t");
    proc_show_lock(o->s, l, false, ++o->number);
}

static int show_fdinfo(struct seqbuf *s, struct proc_ref *r) {
    struct file *f = item_file(r);
    if (!f)
        return -ENOENT;
    struct lock_owner owner = {.s = s, .file = f, .table = process_files_get(r->process), .inode = f->inode};
    unsigned flags = f->flags | (owner.table && fd_closes_on_exec(owner.table, r->item->fd) ? O_CLOEXEC : 0);
    seq_printf(s, "pos:\t%lu\nflags:\t0%o\nmnt_id:\t%d\nino:\t%lu\n", f->stream ? 0UL : (unsigned long)f->position,
               flags, f->path.mount ? f->path.mount->id : 0, (unsigned long)f->inode->ino);
    struct process *p = pidfd_process(f);
    if (p) {
        int pid = pidfd_reaped(p) ? -1 : p->pid;
        seq_printf(s, "Pid:\t%d\nNSpid:\t%d\n", pid, pid);
    }
    if (inotify_is(f))
        inotify_show(s, f);
    if (f->inode->locks)
        lock_each(show_lock, &owner);
    if (owner.table)
        file_table_unref(owner.table);
    if (f->ops->show)
        f->ops->show(f, s);
    file_unref(f);
    return 0;
}

static const struct proc_entry fd_entry = {.name = "fd",
                                           .mode = S_IFLNK | 0700,
                                           .guarded = true,
                                           .readlink = fd_readlink,
                                           .follow = fd_follow,
                                           .link_mode = fd_link_mode};
static const struct proc_entry fdinfo_entry = PROC_SECRET("fdinfo", show_fdinfo);

const struct proc_numbers proc_fds = {.next = next_fd, .member = &fd_entry, .kind = NUMBER_FD};
const struct proc_numbers proc_fdinfos = {.next = next_fd, .member = &fdinfo_entry, .kind = NUMBER_FD};
