// Sockets in flight: those whose files lie in messages that nobody has received yet. A socket is counted once for each message that
// carries it. When all references to a socket's file are messages, and the same holds for every socket in whose queue these lie,
// nobody can ever receive them: the collector finds these and empties their queues, which closes them.
// Lock: inflight_mutex. While it is held no file leaves a message or is looked at in one (MSG_PEEK), so a socket that is only in
// flight stays so. A message that was taken off its queue and is not yet counted off makes its sockets look reachable.
#include "fs/vfs.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "net/unix.h"
#include <linux/capability.h>

#define MANY 16000 // sockets in flight, at which senders collect too

struct mutex inflight_mutex = MUTEX_INIT(inflight_mutex);
static struct list inflight = LIST_INIT(inflight); // unix_socket.inflight_link
static unsigned socket_count;                      // messages that carry a socket, one for each

// Files in flight of each user, against RLIMIT_NOFILE. Few users have any.
struct user_files {
    struct user_files *next;
    uint32_t uid;
    unsigned count;
};
static struct user_files *users;

static struct unix_socket *unix_socket_of(struct file *f) {
    struct socket *s = file_socket(f);
    return s && s->family == AF_UNIX ? unix_of(s) : NULL;
}

static int charge_user(struct scm_files *f) {
    struct process *p = process_current();
    struct user_files *u = users;
    while (u && u->uid != p->cred.uid)
        u = u->next;
    if (u && u->count > p->limits[RLIMIT_NOFILE].rlim_cur && !capable(CAP_SYS_RESOURCE) && !capable(CAP_SYS_ADMIN))
        return -ETOOMANYREFS;
    if (!u) {
        u = kzalloc(sizeof(*u));
        if (!u)
            return -ENOMEM;
        u->uid = p->cred.uid;
        u->next = users;
        users = u;
    }
    u->count += f->count;
    f->uid = u->uid;
    return 0;
}

static void uncharge_user(struct scm_files *f) {
    struct user_files **at = &users;
    while ((*at)->uid != f->uid)
        at = &(*at)->next;
    struct user_files *u = *at;
    u->count -= f->count;
    if (!u->count) {
        *at = u->next;
        kfree(u);
    }
}

int inflight_attach(struct scm_files *f) {
    unix_collect_if_many();
    mutex_lock(&inflight_mutex);
    int err = charge_user(f);
    for (unsigned i = 0; !err && i < f->count; i++) {
        struct unix_socket *u = unix_socket_of(f->files[i]);
        if (!u)
            continue;
        if (u->inflight++ == 0)
            list_push_back(&inflight, &u->inflight_link);
        socket_count++;
    }
    f->in_flight = !err;
    mutex_unlock(&inflight_mutex);
    return err;
}

void inflight_detach(struct scm_files *f) {
    if (!f->in_flight)
        return;
    mutex_lock(&inflight_mutex);
    uncharge_user(f);
    for (unsigned i = 0; i < f->count; i++) {
        struct unix_socket *u = unix_socket_of(f->files[i]);
        if (!u)
            continue;
        if (--u->inflight == 0)
            list_remove(&u->inflight_link);
        socket_count--;
    }
    f->in_flight = false;
    mutex_unlock(&inflight_mutex);
}

// --- The collector ---

struct scan {
    void (*file)(struct scan *s, struct unix_socket *child);
    struct list *reachable;     // for make_reachable
    struct scm_files **garbage; // take the files out and chain them here; file is not used
};

static void scan_files(struct scan *s, struct scm_files **files) {
    if (!*files)
        return;
    if (s->garbage) {
        (*files)->next = *s->garbage;
        *s->garbage = *files;
        *files = NULL;
        return;
    }
    for (unsigned i = 0; i < (*files)->count; i++) {
        struct unix_socket *child = unix_socket_of((*files)->files[i]);
        if (child && child->candidate)
            s->file(s, child);
    }
}

// All files in the socket's queue, and in those of connections that it has not handed out.
static void scan_queue(struct scan *s, struct unix_socket *u) {
    struct unix_mark *m;
    struct unix_packet *p;
    struct unix_socket *c;
    spin_lock(&u->socket.lock);
    list_for_each (m, &u->marks, link)
        scan_files(s, &m->scm.files);
    if (u->state == UNIX_LISTENING) {
        list_for_each (c, &u->queue, accept_link) {
            lock_nested();    // a listener before those that it has not handed out
            scan_queue(s, c); // these listen to nobody: no deeper than this
        }
    } else {
        list_for_each (p, &u->queue, link)
            scan_files(s, &p->scm.files);
    }
    spin_unlock(&u->socket.lock);
}

static void take_off(struct scan *s, struct unix_socket *child) { child->outside--; }

static void make_reachable(struct scan *s, struct unix_socket *child) {
    child->candidate = false;
    list_remove(&child->inflight_link);
    list_push_back(s->reachable, &child->inflight_link);
}

static void splice_back(struct list *from, struct list *to) {
    while (!list_empty(from)) {
        struct list *link = from->next;
        list_remove(link);
        list_push_back(to, link);
    }
}

// The files of the garbage's queues. inflight_mutex held.
static struct scm_files *find_garbage(void) {
    struct list candidates, reachable, done;
    struct unix_socket *u, *tmp;
    struct scm_files *garbage = NULL;
    list_init(&candidates);
    list_init(&reachable);
    list_init(&done);
    // Only messages refer to these, as far as the count of references tells.
    list_for_each_safe (u, tmp, &inflight, inflight_link) {
        if (u->socket.file && READ_ONCE(u->socket.file->refs) == u->inflight) {
            u->candidate = true;
            u->outside = u->inflight;
            list_remove(&u->inflight_link);
            list_push_back(&candidates, &u->inflight_link);
        }
    }
    // Without the messages that lie with candidates themselves...
    struct scan scan = {.file = take_off};
    list_for_each (u, &candidates, inflight_link)
        scan_queue(&scan, u);
    // ... some are still referred to; what these hold can be received, and so on.
    scan = (struct scan){.file = make_reachable, .reachable = &reachable};
    list_for_each_safe (u, tmp, &candidates, inflight_link) {
        if (u->outside)
            make_reachable(&scan, u);
    }
    while (!list_empty(&reachable)) {
        u = list_first(&reachable, struct unix_socket, inflight_link);
        list_remove(&u->inflight_link);
        list_push_back(&done, &u->inflight_link);
        scan_queue(&scan, u);
    }
    scan = (struct scan){.garbage = &garbage};
    list_for_each (u, &candidates, inflight_link) {
        u->candidate = false;
        scan_queue(&scan, u);
    }
    splice_back(&candidates, &inflight);
    splice_back(&done, &inflight);
    return garbage;
}

void unix_collect(void) {
    if (likely(!READ_ONCE(socket_count)) || scm_defer_collect())
        return;
    struct scm_files *garbage;
    do {
        mutex_lock(&inflight_mutex);
        garbage = find_garbage();
        mutex_unlock(&inflight_mutex);
        for (struct scm_files *f = garbage; f; f = f->next)
            inflight_detach(f);
    } while (garbage && scm_files_close(garbage));
}

void unix_collect_if_many(void) {
    if (READ_ONCE(socket_count) > MANY)
        unix_collect();
}
