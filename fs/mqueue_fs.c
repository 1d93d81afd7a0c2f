// POSIX message queues: the file system "mqueue", its names and limits. It is made by the first mq_open(2) or mount(2) and then stays;
// a queue is an inode of it and lives as long as it has a name or a descriptor. Locks: see mqueue.h.
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/mqueue.h"
#include "kernel/ipc/msg.h"
#include "kernel/log.h"
#include "kernel/string.h"

#define MESSAGES_MAX 65536 // for those with CAP_SYS_RESOURCE
#define MESSAGE_SIZE_MAX (16 << 20)
#define MESSAGE_COST 48 // Linux's bookkeeping for one message, and for one priority, counts against RLIMIT_MSGQUEUE

struct mqueue_limits mqueue_limits = {256, 10, 8192, 10, 8192};

static struct slab_cache mqueue_cache = SLAB_CACHE("mqueue", sizeof(struct mqueue), 8);
static struct spinlock all_lock = SPINLOCK_INIT;
static struct list all_queues = LIST_INIT(all_queues);
static unsigned queue_count;

// --- Queues ---

static void mqueue_release(struct inode *inode) {
    struct mqueue *q = mqueue_of(inode);
    while (!list_empty(&q->messages)) {
        struct message *m = list_first(&q->messages, struct message, link);
        list_remove(&m->link);
        message_free(m);
    }
    if (q->notify_owner) {
        mqueue_notification_end(&q->notification, false);
        process_unref(q->notify_owner);
    }
    spin_lock(&all_lock);
    list_remove(&q->all_link);
    queue_count--;
    spin_unlock(&all_lock);
    slab_free(&mqueue_cache, q);
}

static int check_attributes(const struct mqueue_attributes *a) {
    bool may = capable(CAP_SYS_RESOURCE);
    if (a->max_messages <= 0 || a->message_size <= 0 ||
        a->max_messages > (may ? MESSAGES_MAX : mqueue_limits.messages) ||
        a->message_size > (may ? MESSAGE_SIZE_MAX : mqueue_limits.message_size))
        return -EINVAL;
    return 0;
}

// Counts the queue against the limits of its maker. all_lock held.
static int charge(struct mqueue *q) {
    struct mqueue *other;
    uint64_t used = 0;
    if (queue_count >= (unsigned)mqueue_limits.queues && !capable(CAP_SYS_RESOURCE))
        return -ENOSPC;
    list_for_each (other, &all_queues, all_link)
        if (other->inode.uid == q->inode.uid)
            used += other->cost;
    if (used + q->cost > process_current()->limits[RLIMIT_MSGQUEUE].rlim_cur)
        return -EMFILE;
    list_push_back(&all_queues, &q->all_link);
    queue_count++;
    return 0;
}

static const struct inode_ops mqueue_inode_ops = {.release = mqueue_release};

// A new queue for the entry; the root is locked.
static int make_queue(struct inode *dir, struct dentry *d, uint32_t mode, const struct mqueue_attributes *wanted) {
    struct mqueue_attributes a = {MIN(mqueue_limits.messages, mqueue_limits.messages_default),
                                  MIN(mqueue_limits.message_size, mqueue_limits.message_size_default), 0};
    if (wanted) {
        int err = check_attributes(wanted);
        if (err < 0)
            return err;
        a = *wanted;
    }
    struct mqueue *q = slab_zalloc(&mqueue_cache);
    if (!q)
        return -ENOMEM;
    inode_init(&q->inode, dir->sb, &mqueue_inode_ops, mode);
    q->inode.file_ops = &mqueue_file_ops;
    q->inode.size = STATUS_SIZE;
    spin_init(&q->lock);
    list_init(&q->messages);
    list_init(&q->receivers);
    list_init(&q->senders);
    waitq_init(&q->wait);
    q->max_messages = a.max_messages;
    q->message_size = a.message_size;
    q->cost = (uint64_t)a.max_messages * (MESSAGE_COST + (uint64_t)a.message_size) +
              (uint64_t)MIN(a.max_messages, MQUEUE_PRIORITIES) * MESSAGE_COST;
    spin_lock(&all_lock);
    int err = charge(q);
    spin_unlock(&all_lock);
    if (err < 0) {
        slab_free(&mqueue_cache, q);
        return err;
    }
    dentry_attach(d, &q->inode);
    return 0;
}

static int mqueue_create(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev) {
    return S_ISREG(mode) ? make_queue(dir, d, mode, NULL) : -EPERM;
}

static int mqueue_remove(struct inode *dir, struct dentry *d) {
    d->inode->nlink--;
    d->inode->ctime = inode_now();
    return 0;
}

static struct slab_cache root_cache = SLAB_CACHE("mqueue_root", sizeof(struct inode), 8);
static void root_release(struct inode *inode) { slab_free(&root_cache, inode); }
static const struct inode_ops root_ops = {.create = mqueue_create, .unlink = mqueue_remove, .release = root_release};

static void statistics(struct superblock *sb, struct fs_statistics *st) {
    *st = (struct fs_statistics){.magic = 0x19800202, .block_size = PAGE_SIZE, .name_max = NAME_MAX};
}
static const struct superblock_ops superblock_ops = {.statistics = statistics};

static struct mutex instance_lock = MUTEX_INIT(instance_lock);
static struct superblock *instance; // once made it stays
static struct mount internal_mount = {.refs = 1, .source = "mqueue"};

static struct superblock *make_instance(void) {
    struct superblock *sb = superblock_alloc(&superblock_ops, &mqueue_type, SB_COMPLETE);
    struct inode *root = sb ? slab_alloc(&root_cache) : NULL;
    if (root) {
        inode_init(root, sb, &root_ops, S_IFDIR | 01777);
        root->uid = root->gid = 0;
        root->nlink = 2;
        root->file_ops = &directory_ops;
        sb->root = dentry_alloc_root(sb, root);
        if (!sb->root)
            inode_unref(root);
    }
    if (!sb || !sb->root) {
        if (sb)
            superblock_unref(sb);
        return ERR_PTR(-ENOMEM);
    }
    internal_mount.sb = sb;
    internal_mount.root = sb->root;
    return sb;
}

// As every system has it: on /dev/mqueue, from the first use on.
static void mount_instance(struct superblock *sb) {
    struct path p;
    if (path_lookup(AT_FDCWD, "/dev/mqueue", LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p) < 0)
        return;
    if (p.dentry != p.mount->root && mount_attach(sb, "mqueue", &p, 0) < 0)
        log_warn("no memory to mount /dev/mqueue");
    path_unref(&p);
}

static struct superblock *get_instance(bool mount) {
    mutex_lock(&instance_lock);
    struct superblock *sb = instance;
    if (!sb) {
        sb = make_instance();
        if (!IS_ERR(sb)) {
            instance = sb;
            if (mount)
                mount_instance(sb);
        }
    }
    mutex_unlock(&instance_lock);
    return sb;
}

static struct superblock *mqueue_mount(const struct fs_type *type, const char *source, unsigned long flags, const char *options) {
    struct superblock *sb = get_instance(false);
    if (!IS_ERR(sb))
        atomic_add(&sb->refs, 1);
    return sb;
}

const struct fs_type mqueue_type = {.name = "mqueue", .nodev = true, .mount = mqueue_mount};

// --- By name ---

// The entry of this name, referenced; negative when it is not there (and then in no table). The root is locked. ERR_PTR.
static struct dentry *lookup(struct dentry *root, const char *name) {
    size_t len = strlen(name);
    if (!len)
        return ERR_PTR(-ENOENT);
    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return ERR_PTR(-EACCES);
    if (len > NAME_MAX)
        return ERR_PTR(-ENAMETOOLONG);
    struct dentry *d;
    uint32_t hash = name_hash(name, len);
    int err = dentry_lookup(root, name, len, hash, true, &d);
    if (err == 0)
        return d;
    d = err == -ENOENT ? dentry_alloc(root, name, len, hash) : NULL;
    return d ? d : ERR_PTR(err == -ENOENT ? -ENOMEM : err);
}

static int prepare(struct dentry *root, struct dentry *d, unsigned flags, uint32_t mode,
                   const struct mqueue_attributes *a) {
    static const uint8_t needs[] = {[O_RDONLY] = 4, [O_WRONLY] = 2, [O_RDWR] = 6};
    if (!d->inode) {
        if (!(flags & O_CREAT))
            return -ENOENT;
        int err = vfs_permission(root->inode, 3);
        if (err == 0)
            err = make_queue(root->inode, d, S_IFREG | (mode & 0777 & ~current_umask()), a);
        if (err == 0) {
            dentry_insert(d);
            inode_touch_change(root->inode);
            inotify_created(root->inode, d);
        }
        return err;
    }
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    return vfs_permission(d->inode, needs[flags & O_ACCMODE]);
}

struct file *mqueue_open(const char *name, unsigned flags, uint32_t mode, const struct mqueue_attributes *attributes) {
    struct superblock *sb = get_instance(true);
    if (IS_ERR(sb))
        return (void *)sb;
    struct dentry *root = sb->root;
    mutex_lock(&root->inode->lock);
    struct dentry *d = lookup(root, name);
    int err = IS_ERR(d) ? PTR_ERR(d) : prepare(root, d, flags, mode, attributes);
    struct file *f = ERR_PTR(err);
    if (err == 0)
        f = open_inode(&(struct path){&internal_mount, d}, d->inode, flags & (O_ACCMODE | O_NONBLOCK));
    if (!IS_ERR(d))
        dentry_unref(d);
    mutex_unlock(&root->inode->lock);
    return f;
}

int mqueue_unlink(const char *name) {
    struct superblock *sb = get_instance(true);
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    struct inode *root = sb->root->inode;
    mutex_lock(&root->lock);
    struct dentry *d = lookup(sb->root, name);
    int err = IS_ERR(d) ? PTR_ERR(d) : d->inode ? vfs_permission(root, 3) : -ENOENT;
    if (err == 0)
        err = permission_sticky(root, d->inode);
    if (err == 0) {
        mqueue_remove(root, d);
        dentry_remove(d);
        inode_touch_change(root);
        inotify_removed(root, d, false);
    }
    if (!IS_ERR(d))
        dentry_unref(d);
    mutex_unlock(&root->lock);
    return err;
}
