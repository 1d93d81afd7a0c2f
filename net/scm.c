// See net/scm.h. Closing a socket may drop messages with more sockets, and so on, as deep as somebody cares to nest them: whoever
// comes here while the same thread is closing leaves the files to that loop.
// Lock: closers_lock (spinlock, a leaf).
#include "net/scm.h"
#include "net/unix.h"
#include "fs/vfs.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include <linux/capability.h>

struct cmsg { // struct cmsghdr
    uint64_t len;
    int level, type;
};
_Static_assert(sizeof(struct cmsg) == 16, "ABI");
#define CMSG_ALIGN(n) ALIGN_UP((n), 8ul)

struct ucred {
    int pid;
    uint32_t uid, gid;
};

// --- Sending ---

struct scm_credentials scm_current(void) {
    const struct process *p = process_current();
    return (struct scm_credentials){p->pid, p->cred.uid, p->cred.gid};
}

static int parse_credentials(const void *data, size_t len, struct scm *out) {
    const struct process *p = process_current();
    const struct credentials *c = &p->cred;
    struct ucred u;
    if (len != sizeof(u))
        return -EINVAL;
    memcpy(&u, data, sizeof(u));
    bool uid_ok = u.uid == c->uid || u.uid == c->euid || u.uid == c->suid || capable(CAP_SETUID);
    bool gid_ok = u.gid == c->gid || u.gid == c->egid || u.gid == c->sgid || capable(CAP_SETGID);
    if ((u.pid != p->pid && !capable(CAP_SYS_ADMIN)) || !uid_ok || !gid_ok)
        return -EPERM;
    if (u.pid != p->pid) {
        struct process *other = process_find(u.pid);
        if (!other)
            return -ESRCH;
        process_unref(other);
    }
    if (u.uid == ~0u || u.gid == ~0u)
        return -EINVAL;
    out->cred = (struct scm_credentials){u.pid, u.uid, u.gid};
    return 0;
}

static int parse_rights(const char *data, size_t len, struct scm *out) {
    unsigned count = len / sizeof(int);
    if (count > SCM_FILES_MAX)
        return -EINVAL;
    if (!count)
        return 0;
    if (!out->files) {
        out->files = kmalloc(sizeof(*out->files) + SCM_FILES_MAX * sizeof(struct file *));
        if (!out->files)
            return -ENOMEM;
        out->files->in_flight = false;
        out->files->count = 0;
    }
    if (out->files->count + count > SCM_FILES_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
        struct file *f = fd < 0 ? NULL : fd_get_path(fd);
        if (!f)
            return -EBADF;
        out->files->files[out->files->count++] = f;
    }
    return 0;
}

int scm_parse(const struct socket_message *m, struct scm *out) {
    out->files = NULL;
    out->cred = SCM_NOBODY;
    int err = 0;
    for (size_t at = 0; !err && at + sizeof(struct cmsg) <= m->control_len;) {
        struct cmsg c;
        memcpy(&c, m->control + at, sizeof(c));
        const char *data = m->control + at + sizeof(c);
        if (c.len < sizeof(c) || c.len > m->control_len - at)
            err = -EINVAL;
        else if (c.level == SOL_SOCKET && c.type == SCM_RIGHTS)
            err = parse_rights(data, c.len - sizeof(c), out);
        else if (c.level == SOL_SOCKET && c.type == SCM_CREDENTIALS)
            err = parse_credentials(data, c.len - sizeof(c), out);
        else if (c.level == SOL_SOCKET)
            err = -EINVAL;
        at += CMSG_ALIGN(c.len);
    }
    if (out->files && (err || !out->files->count)) {
        scm_files_drop(out->files);
        out->files = NULL;
    }
    return err;
}

// --- Receiving ---

void message_put_control(struct socket_message *m, int level, int type, const void *data, size_t len) {
    struct cmsg c = {sizeof(c) + len, level, type};
    size_t room = m->control_max - m->control_len;
    if (room < sizeof(c)) {
        m->flags |= MSG_CTRUNC;
        return;
    }
    if (room < c.len) {
        m->flags |= MSG_CTRUNC;
        c.len = room;
    }
    size_t space = MIN(CMSG_ALIGN(c.len), room);
    char *control = krealloc(m->control, m->control_len + space);
    if (!control) {
        m->flags |= MSG_CTRUNC;
        return;
    }
    m->control = control;
    memset(control + m->control_len, 0, space);
    memcpy(control + m->control_len, &c, sizeof(c));
    memcpy(control + m->control_len + sizeof(c), data, c.len - sizeof(c));
    m->control_len += space;
}

// As many descriptors as fit and can be had. Files that are closed are told so in the flags.
static void deliver_rights(struct socket_message *m, struct scm_files *f, int flags) {
    size_t room = m->control_max - m->control_len;
    unsigned fit = room < sizeof(struct cmsg) ? 0 : (room - sizeof(struct cmsg)) / sizeof(int), done = 0;
    int *fds = fit ? kmalloc(MIN(fit, f->count) * sizeof(int)) : NULL;
    for (; fds && done < MIN(fit, f->count); done++) {
        long fd = fd_install(file_ref(f->files[done]), flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0);
        if (fd < 0)
            break;
        fds[done] = fd;
    }
    if (done)
        message_put_control(m, SOL_SOCKET, SCM_RIGHTS, fds, done * sizeof(int));
    if (done < f->count)
        m->flags |= MSG_CTRUNC;
    kfree(fds);
}

void scm_deliver(struct socket_message *m, struct scm *scm, bool cred, int flags) {
    if (m && cred && m->control_max) {
        // Ids that mean nobody are shown as the overflow id.
        struct ucred u = {scm->cred.pid, scm->cred.uid == ~0u ? 65534 : scm->cred.uid,
                          scm->cred.gid == ~0u ? 65534 : scm->cred.gid};
        message_put_control(m, SOL_SOCKET, SCM_CREDENTIALS, &u, sizeof(u));
    } else if (m && cred) {
        m->flags |= MSG_CTRUNC;
    }
    if (!scm->files)
        return;
    if (m)
        deliver_rights(m, scm->files, flags);
    scm_files_drop(scm->files);
    scm->files = NULL;
}

// --- Files in messages ---

struct scm_files *scm_files_copy(const struct scm_files *from) {
    struct scm_files *f = kmalloc(sizeof(*f) + from->count * sizeof(struct file *));
    if (!f)
        return NULL;
    f->in_flight = false;
    f->count = from->count;
    for (unsigned i = 0; i < f->count; i++)
        f->files[i] = file_ref(from->files[i]);
    return f;
}

struct closer {
    struct list link;
    struct thread *thread;
    // Only the thread itself touches these:
    struct scm_files *todo;
    bool collect; // a socket was closed: unix_collect is to come behind the last file
};
static struct list closers = LIST_INIT(closers);
static struct spinlock closers_lock = SPINLOCK_INIT;

static struct closer *closer_of_current(void) {
    struct closer *c, *found = NULL;
    spin_lock(&closers_lock);
    list_for_each (c, &closers, link) {
        if (c->thread == thread_current())
            found = c;
    }
    spin_unlock(&closers_lock);
    return found;
}

bool scm_files_close(struct scm_files *list) {
    struct closer self = {.thread = thread_current(), .todo = list};
    spin_lock(&closers_lock);
    list_push_back(&closers, &self.link);
    spin_unlock(&closers_lock);
    while (self.todo) {
        struct scm_files *now = self.todo;
        self.todo = now->next;
        for (unsigned i = 0; i < now->count; i++)
            file_unref(now->files[i]);
        kfree(now);
    }
    spin_lock(&closers_lock);
    list_remove(&self.link);
    spin_unlock(&closers_lock);
    return self.collect;
}

bool scm_defer_collect(void) {
    struct closer *c = closer_of_current();
    if (c)
        c->collect = true;
    return c;
}

void scm_files_drop(struct scm_files *f) {
    if (!f)
        return;
    struct closer *outer = closer_of_current();
    if (outer) {
        f->next = outer->todo;
        outer->todo = f;
        return;
    }
    f->next = NULL;
    if (scm_files_close(f))
        unix_collect();
}
