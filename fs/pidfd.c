// pidfd_open(2): a process as a file. It keeps the process's structure, and so its number, from being used again; it is
// readable when the process has ended.
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/procfs.h"

static uint32_t pidfd_poll(struct file *f, struct poll_table *pt) {
    struct process *p = f->data;
    poll_on(pt, f, &p->end_wait);
    return READ_ONCE(p->zombie) ? POLLIN | POLLRDNORM : 0; // for ever, waited for or not
}

static void pidfd_release(struct file *f) { process_unref(f->data); }

static const struct file_ops pidfd_ops = {.name = "[pidfd]", .poll = pidfd_poll, .release = pidfd_release};

struct file *pidfd_create(struct process *p, unsigned flags) {
    struct inode *inode = inode_anonymous(0600, 0);
    struct file *f = inode ? file_alloc(&pidfd_ops, inode, O_RDWR | (flags & O_NONBLOCK)) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f))
        return f;
    process_ref(p);
    f->data = p;
    f->stream = true;
    return f;
}

struct process *pidfd_process(struct file *f) {
    return f->ops == &pidfd_ops ? f->data : NULL;
}

bool pidfd_reaped(struct process *p) {
    struct process *now = process_find(p->pid);
    if (now)
        process_unref(now);
    return now != p;
}

// Who could trace the process may also take its files: ptrace(2), PTRACE_MODE_ATTACH_REALCREDS.
static bool may_take(const struct process *p) {
    const struct credentials *c = &process_current()->cred, *o = &p->cred;
    if (p == process_current() || capable(CAP_SYS_PTRACE))
        return true;
    return p->dumpable && c->uid == o->uid && c->uid == o->euid && c->uid == o->suid && c->gid == o->gid &&
           c->gid == o->egid && c->gid == o->sgid && !(o->cap_permitted & ~c->cap_permitted);
}

struct file *pidfd_get_file(struct process *p, int fd) {
    if (!may_take(p))
        return ERR_PTR(-EPERM);
    struct file_table *t = process_files_get(p);
    if (!t)
        return ERR_PTR(-ESRCH);
    struct file *f = NULL;
    int found = fd < 0 ? -1 : fd_next(t, fd, &f);
    file_table_unref(t);
    if (found == fd && found >= 0)
        return f;
    if (found >= 0)
        file_unref(f);
    return ERR_PTR(-EBADF);
}
