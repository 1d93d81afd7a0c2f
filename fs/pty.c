// Pseudo-terminals, pty(7): /dev/ptmx makes a pair of a master, which is a file of this one's, and a terminal (fs/tty.h) whose
// device is what the master writes and reads. The slaves' names are the entries of one devpts, whatever the number of its mounts.
// Locks: pty_lock (mutex): the list of pairs. tty.lock of the slave: the rest of struct pty. Order: pty_lock > the directory's
// inode.lock; a slave's tty.lock > pty.read_wait's.
#include "fs/internal.h"
#include "fs/poll.h"
#include "fs/tty.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include <asm/ioctls.h>

#define RING_SIZE 4096 // output of the slave that the master has not read: as much as Linux's N_TTY keeps
#define CHUNK 256
#define PTY_MAX 4096
#define SLAVE_MAJOR 136
#define SLAVE_GROUP 5 // Debian's tty, which owns terminals in containers too
#define DEVPTS_MAGIC 0x1cd1

struct pty {
    struct tty tty; // the slave
    struct list link;
    unsigned index;
    bool locked; // TIOCSPTLCK: the slave cannot be opened yet
    struct dentry *name;
    struct waitq read_wait, write_wait; // the master's
    uint8_t status;                     // TIOCPKT_*: what packet mode has to report
    uint32_t tail, head;
    uint8_t ring[RING_SIZE];
};

static struct mutex pty_lock = MUTEX_INIT(pty_lock);
static struct list ptys = LIST_INIT(ptys); // by index
static struct superblock *devpts;          // made by the first mount, and kept

static struct pty *pty_of(struct tty *t) { return container_of(t, struct pty, tty); }
// The slave was closed by its last user. One that nobody has opened yet may still come.
static bool slave_closed(struct pty *p) { return p->tty.opened && READ_ONCE(p->tty.files) == 0; }
static bool has_output(struct pty *p) { return READ_ONCE(p->head) != READ_ONCE(p->tail); }
static bool has_status(struct pty *p) { return p->tty.packet && READ_ONCE(p->status); }
static bool readable(struct pty *p) { return has_output(p) || has_status(p); }

// --- What the slave's line discipline calls; tty.lock held for the first two ---

static size_t pty_output(struct tty *t, const void *data, size_t len) {
    struct pty *p = pty_of(t);
    uint32_t at = p->head % RING_SIZE, room = RING_SIZE - (p->head - p->tail);
    size_t n = MIN(len, (size_t)MIN(room, RING_SIZE - at));
    if (n == 0)
        return 0;
    memcpy(p->ring + at, data, n);
    WRITE_ONCE(p->head, p->head + (uint32_t)n);
    if (waitq_active(&p->read_wait))
        waitq_wake_key(&p->read_wait, ~0u, POLLIN | POLLRDNORM);
    return n;
}

static void pty_changed(struct tty *t, unsigned what) {
    struct pty *p = pty_of(t);
    if (!t->packet)
        return;
    if (what & (TIOCPKT_STOP | TIOCPKT_START))
        p->status &= ~(TIOCPKT_STOP | TIOCPKT_START);
    if (what & (TIOCPKT_NOSTOP | TIOCPKT_DOSTOP))
        p->status &= ~(TIOCPKT_NOSTOP | TIOCPKT_DOSTOP);
    p->status |= what;
    waitq_wake_all(&p->read_wait);
}

static void pty_input_room(struct tty *t) { waitq_wake_key(&pty_of(t)->write_wait, ~0u, POLLOUT | POLLWRNORM); }

static void pty_closed(struct tty *t) {
    tty_forget_session(t);
    waitq_wake_all(&pty_of(t)->read_wait);
    waitq_wake_all(&pty_of(t)->write_wait);
}

static void pty_release(struct tty *t) { kfree(pty_of(t)); }

static const struct tty_ops slave_ops = {
    .write = pty_output,
    .input_room = pty_input_room,
    .changed = pty_changed,
    .closed = pty_closed,
    .release = pty_release,
};

// --- The master ---

static size_t take(struct pty *p, uint8_t *buf, size_t n) {
    uint64_t flags = spin_lock_irqsave(&p->tty.lock);
    uint32_t at = p->tail % RING_SIZE;
    n = MIN(n, (size_t)MIN(p->head - p->tail, RING_SIZE - at));
    memcpy(buf, p->ring + at, n);
    WRITE_ONCE(p->tail, p->tail + (uint32_t)n);
    spin_unlock_irqrestore(&p->tty.lock, flags);
    return n;
}

// Packet mode: the first byte of each read says what follows: TIOCPKT_DATA, or nothing but these changes.
static uint8_t take_status(struct pty *p) {
    uint64_t flags = spin_lock_irqsave(&p->tty.lock);
    uint8_t status = p->status;
    p->status = 0;
    spin_unlock_irqrestore(&p->tty.lock, flags);
    return status;
}

static int wait_readable(struct file *f, struct pty *p) {
    while (!readable(p)) {
        if (slave_closed(p))
            return -EIO;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&p->read_wait, readable(p) || slave_closed(p));
        if (err < 0)
            return err;
    }
    return 0;
}

static int64_t read_output(struct pty *p, struct uio *u) {
    int64_t got = 0;
    while (u->left) {
        uint8_t chunk[CHUNK];
        size_t n = take(p, chunk, MIN(u->left, sizeof(chunk)));
        if (n == 0)
            break;
        size_t put = uio_put(u, chunk, n);
        got += (int64_t)put;
        if (put < n) {
            got = got ? got : -EFAULT;
            break;
        }
    }
    tty_output_ready(&p->tty);
    return got;
}

static int64_t read_packet(struct pty *p, struct uio *u) {
    uint8_t status = take_status(p);
    if (uio_put(u, &status, 1) != 1)
        return -EFAULT;
    int64_t got = status == TIOCPKT_DATA && u->left ? read_output(p, u) : 0;
    return 1 + MAX(got, 0l);
}

static int64_t master_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct pty *p = f->data;
    int64_t got = 0;
    if (u->left == 0)
        return 0;
    while (!got) { // another reader may have been faster
        int err = wait_readable(f, p);
        if (err < 0)
            return err;
        got = p->tty.packet ? read_packet(p, u) : read_output(p, u);
    }
    return got;
}

static int64_t master_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct pty *p = f->data;
    int64_t done = 0;
    while (u->left) {
        uint8_t chunk[CHUNK];
        size_t n = uio_get(u, chunk, MIN(u->left, sizeof(chunk))), taken = 0;
        if (n == 0)
            return done ? done : -EFAULT;
        for (;;) {
            size_t some = tty_receive(&p->tty, chunk + taken, n - taken);
            taken += some;
            done += (int64_t)some;
            if (taken == n)
                break;
            if (f->flags & O_NONBLOCK)
                return done ? done : -EAGAIN;
            int err = wait_event_interruptible(&p->write_wait, tty_accepts(&p->tty));
            if (err < 0)
                return done ? done : err;
        }
        sched_point();
    }
    return done;
}

static uint32_t master_poll(struct file *f, struct poll_table *pt) {
    struct pty *p = f->data;
    uint32_t ready = 0;
    poll_on(pt, f, &p->read_wait);
    poll_on(pt, f, &p->write_wait);
    if (readable(p))
        ready |= POLLIN | POLLRDNORM;
    if (has_status(p))
        ready |= POLLPRI;
    if (tty_accepts(&p->tty))
        ready |= POLLOUT | POLLWRNORM;
    if (slave_closed(p))
        ready |= POLLHUP;
    return ready;
}

// The master is gone: its terminal hangs up, and the name disappears first, so that nobody comes anew.
static void master_release(struct file *f) {
    struct pty *p = f->data;
    struct inode *dir = devpts->root->inode;
    mutex_lock(&pty_lock);
    mutex_lock(&dir->lock);
    tmpfs_remove(p->name);
    mutex_unlock(&dir->lock);
    list_remove(&p->link);
    mutex_unlock(&pty_lock);
    dentry_unref(p->name);
    tty_hangup(&p->tty);
    tty_unref(&p->tty);
}

static long put_int(uint64_t arg, int value) { return copy_out_obj(arg, &value); }

static struct file *open_slave(struct pty *p, struct inode *inode, unsigned flags) {
    return p->locked ? ERR_PTR(-EIO) : tty_open(&p->tty, inode, flags);
}

static struct file *peer(struct pty *p, unsigned flags) {
    struct file *f = open_slave(p, p->name->inode, flags);
    if (IS_ERR(f))
        return f;
    struct mount *m = mount_of(devpts);
    if (!m)
        m = mount_anonymous();
    f->path = (struct path){m, dentry_ref(p->name)};
    return f;
}

// TIOCGPTPEER: the slave, even where its name cannot be reached.
static long open_peer(struct pty *p, unsigned flags) {
    struct file *f = peer(p, flags);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
}

struct file *pty_open_peer(struct file *master, unsigned flags) {
    struct pty *p = master->data;
    p->locked = false;
    return peer(p, flags);
}

static long set_flag(struct pty *p, bool *flag, uint64_t arg) {
    int value;
    int err = copy_in_obj(&value, arg);
    if (err < 0)
        return err;
    uint64_t flags = spin_lock_irqsave(&p->tty.lock);
    if (flag == &p->tty.packet && value && !*flag)
        p->status = 0;
    *flag = value != 0;
    spin_unlock_irqrestore(&p->tty.lock, flags);
    return 0;
}

static long flush(struct pty *p, uint64_t which) {
    if (which != TCIFLUSH && which != TCOFLUSH && which != TCIOFLUSH)
        return -EINVAL;
    uint64_t flags = spin_lock_irqsave(&p->tty.lock);
    if (which != TCOFLUSH)
        WRITE_ONCE(p->tail, p->head);
    if (which != TCIFLUSH)
        ldisc_flush_input(&p->tty);
    spin_unlock_irqrestore(&p->tty.lock, flags);
    tty_output_ready(&p->tty);
    pty_input_room(&p->tty);
    return 0;
}

static long master_ioctl(struct file *f, unsigned cmd, uint64_t arg) {
    struct pty *p = f->data;
    struct tty *t = &p->tty;
    switch (cmd) {
    case TIOCGPTN: return put_int(arg, (int)p->index);
    case TIOCSPTLCK: return set_flag(p, &p->locked, arg);
    case TIOCGPTLCK: return put_int(arg, p->locked);
    case TIOCPKT: return set_flag(p, &t->packet, arg);
    case TIOCGPKT: return put_int(arg, t->packet);
    case TIOCGPTPEER: return open_peer(p, (unsigned)arg);
    case TIOCSIG:
        if (arg < 1 || arg > SIGNAL_COUNT)
            return -EINVAL;
        tty_signal_foreground(t, (int)arg);
        return 0;
    case FIONREAD: return put_int(arg, (int)(READ_ONCE(p->head) - READ_ONCE(p->tail)));
    case TIOCOUTQ: return put_int(arg, 0);
    case TCFLSH: return flush(p, arg);
    case TCXONC:
        return -ENOTTY; // a master has no flow of its own to control
    // The master may look at the terminal's session, whoever asks.
    case TIOCGPGRP: return put_int(arg, READ_ONCE(t->foreground));
    case TIOCGSID: return READ_ONCE(t->session) ? put_int(arg, t->session) : -ENOTTY;
    case TIOCGDEV: return put_int(arg, (int)t->rdev);
    default: return tty_control(t, cmd, arg);
    }
}

static const struct file_ops master_ops = {
    .read = master_read,
    .write = master_write,
    .ioctl = master_ioctl,
    .poll = master_poll,
    .release = master_release,
};

// --- Making and finding pairs ---

// pty_lock held. The list, up to where the lowest free number belongs.
static struct list *free_place(unsigned *index) {
    struct pty *p;
    *index = 0;
    list_for_each (p, &ptys, link) {
        if (p->index != *index)
            return &p->link;
        ++*index;
    }
    return &ptys;
}

// pty_lock held. Number and name; 0 or -errno.
static int enter(struct pty *p) {
    char name[12];
    struct list *before = free_place(&p->index);
    if (p->index >= PTY_MAX)
        return -ENOSPC;
    struct inode *dir = devpts->root->inode;
    p->tty.rdev = MAKE_DEV(SLAVE_MAJOR, p->index);
    size_t len = (size_t)snprintf(name, sizeof(name), "%u", p->index);
    mutex_lock(&dir->lock);
    struct dentry *d = tmpfs_make(devpts->root, name, len, S_IFCHR | 0620, p->tty.rdev, NULL);
    if (!IS_ERR(d)) {
        d->inode->gid = SLAVE_GROUP;
        d->inode->ino = p->index + 3;
    }
    mutex_unlock(&dir->lock);
    if (IS_ERR(d))
        return PTR_ERR(d);
    p->name = d;
    list_push_back(before, &p->link); // before this one
    return 0;
}

struct file *pty_open_master(unsigned flags) {
    if (!devpts)
        return ERR_PTR(-ENODEV);
    struct pty *p = kmalloc(sizeof(*p));
    struct inode *inode = inode_anonymous(S_IFCHR | 0666, MAKE_DEV(5, 2)); // devfs puts the node's own in its place
    struct file *f = p && inode ? file_alloc(&master_ops, inode, flags) : ERR_PTR(-ENOMEM);
    if (inode)
        inode_unref(inode);
    if (IS_ERR(f)) {
        kfree(p);
        return f;
    }
    memset(p, 0, offsetof(struct pty, ring));
    tty_init(&p->tty, &slave_ops, NULL, 0);
    p->tty.termios.c_iflag &= ~IUTF8; // who makes the pair knows what its terminal speaks
    p->tty.termios.c_cflag &= ~HUPCL;
    waitq_init(&p->read_wait);
    waitq_init(&p->write_wait);
    p->locked = true;
    mutex_lock(&pty_lock);
    int err = enter(p);
    mutex_unlock(&pty_lock);
    if (err < 0) {
        static const struct file_ops nothing;
        f->ops = &nothing; // there is no pair to release
        file_unref(f);
        kfree(p);
        return ERR_PTR(err);
    }
    f->data = p;
    f->stream = true;
    return f;
}

bool pty_is_slave(const struct inode *inode) { return S_ISCHR(inode->mode) && DEV_MAJOR(inode->rdev) == SLAVE_MAJOR; }

struct file *pty_open_slave(struct inode *inode, unsigned flags) {
    struct pty *p, *found = NULL;
    mutex_lock(&pty_lock);
    list_for_each (p, &ptys, link) {
        if (p->name->inode == inode) {
            found = p;
            tty_ref(&p->tty);
            break;
        }
    }
    mutex_unlock(&pty_lock);
    if (!found)
        return ERR_PTR(-EIO);
    struct file *f = open_slave(found, inode, flags);
    tty_unref(&found->tty);
    return f;
}

// --- devpts: a tmpfs directory that only this file changes ---

static void devpts_statistics(struct superblock *sb, struct fs_statistics *st) {
    *st = (struct fs_statistics){.magic = DEVPTS_MAGIC, .block_size = PAGE_SIZE, .name_max = NAME_MAX};
}

static const struct superblock_ops devpts_sb_ops = {.statistics = devpts_statistics};

// Its root is never released, so the directory needs no function of the tmpfs it is made from.
static const struct inode_ops devpts_directory_ops = {.lookup = NULL};

// Options (ptmxmode=, gid=, mode=, newinstance) are accepted: there is one instance, with what containers ask for.
static struct superblock *devpts_mount(const struct fs_type *type, const char *source, unsigned long flags, const char *options) {
    if (!devpts) {
        struct superblock *sb = tmpfs_superblock(type, 0755);
        if (IS_ERR(sb))
            return sb;
        sb->ops = &devpts_sb_ops;
        struct dentry *d = tmpfs_make(sb->root, "ptmx", 4, S_IFCHR | 0666, MAKE_DEV(5, 2), NULL);
        if (IS_ERR(d)) {
            superblock_unref(sb);
            return (struct superblock *)d;
        }
        dentry_unref(d);
        sb->root->inode->ops = &devpts_directory_ops;
        devpts = sb; // mounted first while the machine boots: nobody else is here
    }
    atomic_add(&devpts->refs, 1);
    return devpts;
}

const struct fs_type devpts_type = {.name = "devpts", .nodev = true, .mount = devpts_mount};
