// /proc. Entries come from tables (fs/procfs.h) and are looked up afresh each time, so nothing has to be thrown away when a process
// ends. A file's contents are made by one call when reading starts at the beginning and kept with the open file, so that a text
// of any length is read consistently.
// Locks: inode.lock of an open file protects its text.
#include "fs/poll.h"
#include "fs/procfs.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include <linux/magic.h>

static struct slab_cache item_cache = SLAB_CACHE("proc_item", sizeof(struct proc_item), 8);
static const struct inode_ops proc_inode_ops, proc_dir_ops, proc_link_ops, proc_magic_ops;
static const struct file_ops proc_file_ops, proc_directory_ops;

static const struct proc_entry root_entry = {
    .name = "/", .mode = S_IFDIR | 0555, .children = proc_root_entries, .numbers = &proc_processes};

#define MEMBER_NAME_MAX 32

static struct proc_item *item_of(struct inode *i) { return container_of(i, struct proc_item, inode); }

// --- The process behind an item ---

static int ref_get(struct proc_item *item, struct proc_ref *r) {
    *r = (struct proc_ref){.item = item};
    if (!item->pid)
        return 0;
    r->process = process_find(item->pid);
    if (!r->process)
        return -ESRCH;
    if (item->born && r->process->start_time != item->born) {
        process_unref(r->process);
        return -ESRCH;
    }
    r->thread = item->tid ? thread_find(item->tid) : process_next_thread(r->process, 0);
    if (item->tid && (!r->thread || r->thread->process != r->process)) {
        if (r->thread)
            thread_unref(r->thread);
        process_unref(r->process);
        return -ESRCH;
    }
    return 0;
}

static void ref_put(struct proc_ref *r) {
    if (r->thread)
        thread_unref(r->thread);
    if (r->process)
        process_unref(r->process);
}

static bool item_alive(struct proc_item *item) {
    struct proc_ref r;
    if (ref_get(item, &r) < 0)
        return false;
    ref_put(&r);
    return true;
}

static bool forbidden(const struct proc_ref *r) {
    return unlikely(r->item->entry->guarded && !process_may_trace(r->process, false));
}

// --- Inodes ---

static uint64_t item_number(const struct proc_entry *e, int pid, int tid, int fd) {
    // Stable while the item exists, and unlike all others: the table's place and what the item is about.
    uint64_t h = ((uintptr_t)e & 0xffffff) * 0x9e3779b97f4a7c15UL;
    h ^= ((uint64_t)pid << 40) ^ ((uint64_t)tid << 20) ^ (uint64_t)(fd + 1);
    h *= 0xd6e8feb86659fd93UL;
    return (h >> 32 | 1) & 0x7fffffff;
}

static struct inode *item_new(struct superblock *sb, const struct proc_entry *e, int pid, int tid, int fd) {
    struct proc_item *it = slab_alloc(&item_cache);
    if (!it)
        return NULL;
    const struct inode_ops *ops = S_ISDIR(e->mode)    ? &proc_dir_ops
                                  : !S_ISLNK(e->mode) ? &proc_inode_ops
                                  : e->follow         ? &proc_magic_ops
                                                      : &proc_link_ops;
    inode_init(&it->inode, sb, ops, e->mode);
    it->inode.uid = it->inode.gid = 0;
    it->inode.ino = item_number(e, pid, tid, fd);
    if (sb->type == &sysfs_type && S_ISREG(e->mode))
        it->inode.size = PAGE_SIZE;
    it->inode.file_ops = S_ISDIR(e->mode) ? &proc_directory_ops : S_ISREG(e->mode) ? &proc_file_ops : NULL;
    if (S_ISDIR(e->mode))
        it->inode.nlink = 2;
    it->entry = e;
    it->pid = pid;
    it->tid = tid;
    it->fd = fd;
    it->born = 0;
    struct proc_ref r;
    if (pid && ref_get(it, &r) == 0) {
        it->born = r.process->start_time;
        if (r.process->dumpable == 1 || e->mode == (S_IFDIR | 0555)) { // otherwise root's
            it->inode.uid = r.process->cred.euid;
            it->inode.gid = r.process->cred.egid;
        }
        if (e->link_mode)
            it->inode.mode = S_IFLNK | e->link_mode(&r);
        ref_put(&r);
    }
    return &it->inode;
}

struct process *procfs_process(struct file *f) {
    if (f->ops != &proc_directory_ops || item_of(f->inode)->entry != proc_processes.member)
        return NULL;
    struct proc_ref r;
    if (ref_get(item_of(f->inode), &r) < 0)
        return ERR_PTR(-ESRCH);
    if (r.thread)
        thread_unref(r.thread);
    return r.process;
}

static void proc_release(struct inode *inode) { slab_free(&item_cache, item_of(inode)); }

// --- Directories ---

static int parse_number(const char *name) {
    int64_t n = 0;
    if (*name == '0' && name[1])
        return -1;
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || (n = n * 10 + (*name - '0')) > INT32_MAX)
            return -1;
    }
    return n;
}

// What member n of a directory is about.
struct about {
    int pid, tid, fd;
};
static struct about member(const struct proc_item *dir, int n) {
    struct about a = {dir->pid, dir->tid, dir->fd};
    switch (dir->entry->numbers->kind) {
    case NUMBER_PID: a.pid = n; break;
    case NUMBER_TID: a.tid = n; break;
    case NUMBER_FD: a.fd = n; break;
    case NUMBER_INNER: a.fd = dir->fd + (n + 1) * 0x10000; break;
    }
    return a;
}

static size_t print_member(const struct proc_numbers *numbers, int n, char *name, size_t size) {
    if (numbers->print) {
        numbers->print(n, name, size);
        return strlen(name);
    }
    return (size_t)snprintf(name, size, "%s%d", numbers->prefix ? numbers->prefix : "", n);
}

// The number that a name stands for; -1: none.
static int member_number(const struct proc_numbers *numbers, struct proc_ref *r, const char *name) {
    char text[MEMBER_NAME_MAX];
    if (!numbers->prefix)
        return *name ? parse_number(name) : -1;
    int n = numbers->next(r, 0);
    for (; n >= 0; n = numbers->next(r, n + 1)) {
        print_member(numbers, n, text, sizeof(text));
        if (strcmp(text, name) == 0)
            break;
    }
    return n;
}

static int lookup_number(struct proc_item *dir, struct dentry *d) {
    const struct proc_numbers *numbers = dir->entry->numbers;
    struct proc_ref r;
    int err = ref_get(dir, &r);
    if (err < 0)
        return err == -ESRCH ? -ENOENT : err;
    int n = member_number(numbers, &r, d->name);
    bool exists = n >= 0 && numbers->next(&r, n) == n;
    ref_put(&r);
    if (!exists)
        return 0;
    struct about a = member(dir, n);
    struct inode *inode = item_new(dir->inode.sb, numbers->member, a.pid, a.tid, a.fd);
    if (!inode)
        return -ENOMEM;
    if (dir->born)
        item_of(inode)->born = dir->born;
    dentry_attach(d, inode);
    return 0;
}

static int proc_lookup(struct inode *dir, struct dentry *d) {
    struct proc_item *item = item_of(dir);
    if (!item_alive(
            item)) // Linux finds out about a process when it asks whether one may search it, and of the rest here
        return item->entry == proc_processes.member ? -ESRCH : -ENOENT;
    for (const struct proc_entry *e = item->entry->children; e && e->name; e++) {
        if (strcmp(e->name, d->name) == 0) {
            struct inode *inode = item_new(dir->sb, e, item->pid, item->tid, item->fd);
            if (!inode)
                return -ENOMEM;
            item_of(inode)->born = item->born;
            dentry_attach(d, inode);
            return 0;
        }
    }
    return item->entry->numbers ? lookup_number(item, d) : 0;
}

#define NUMBERS_START 0x10000 // positions from here on are numbers + 1

static int iterate_entries(struct proc_item *dir, struct dentry *d, struct dir_context *ctx) {
    if (ctx->pos < 0)
        return -EINVAL;
    if (ctx->pos == 0) {
        if (!ctx->emit(ctx, ".", 1, dir->inode.ino, S_IFDIR >> 12, 1))
            return 1;
        ctx->pos = 1;
    }
    if (ctx->pos == 1) {
        struct dentry *parent = dentry_parent(d);
        bool ok = ctx->emit(ctx, "..", 2, parent->inode->ino, S_IFDIR >> 12, 2);
        dentry_unref(parent);
        if (!ok)
            return 1;
        ctx->pos = 2;
    }
    int64_t i = 2;
    for (const struct proc_entry *e = dir->entry->children; e && e->name; e++, i++) {
        if (ctx->pos > i)
            continue;
        uint64_t ino = item_number(e, dir->pid, dir->tid, dir->fd);
        if (!ctx->emit(ctx, e->name, strlen(e->name), ino, (e->mode & S_IFMT) >> 12, i + 1))
            return 1;
        ctx->pos = i + 1;
    }
    return 0;
}

static int proc_iterate(struct file *f, struct dir_context *ctx) {
    struct proc_item *dir = item_of(f->inode);
    const struct proc_numbers *numbers = dir->entry->numbers;
    int err = item_alive(dir) ? iterate_entries(dir, f->path.dentry, ctx) : -ENOENT;
    if (err || !numbers)
        return MIN(err, 0);
    struct proc_ref r;
    err = ref_get(dir, &r);
    if (err < 0)
        return err == -ESRCH ? -ENOENT : err;
    int from = ctx->pos < NUMBERS_START ? 0 : (int)(ctx->pos - NUMBERS_START);
    for (int n; (n = numbers->next(&r, from)) >= 0; from = n + 1) {
        char name[MEMBER_NAME_MAX];
        size_t len = print_member(numbers, n, name, sizeof(name));
        struct about a = member(dir, n);
        uint64_t ino = item_number(numbers->member, a.pid, a.tid, a.fd);
        if (!ctx->emit(ctx, name, len, ino, (numbers->member->mode & S_IFMT) >> 12, NUMBERS_START + n + 1L))
            break;
        ctx->pos = NUMBERS_START + n + 1L;
    }
    ref_put(&r);
    return 0;
}

// --- Links ---

static long proc_readlink(struct inode *inode, char *buf, size_t size) {
    struct proc_item *item = item_of(inode);
    struct proc_ref r;
    long n = ref_get(item, &r);
    if (n < 0)
        return -ENOENT;
    if (forbidden(&r)) {
        ref_put(&r);
        return -EACCES;
    }
    char *text = name_buffer_get();
    n = text ? item->entry->readlink(&r, text, NAME_BUFFER_SIZE) : -ENOMEM;
    if (n > 0) {
        n = MIN(n, (long)size);
        memcpy(buf, text, n);
    }
    name_buffer_put(text);
    ref_put(&r);
    return n;
}

static int proc_follow(struct inode *inode, struct path *target) {
    struct proc_item *item = item_of(inode);
    struct proc_ref r;
    int err = ref_get(item, &r);
    if (err < 0)
        return -ENOENT;
    err = forbidden(&r) ? -EACCES : item->entry->follow(&r, target);
    ref_put(&r);
    return err;
}

// --- Files ---

static int generate(struct file *f) {
    struct proc_item *item = item_of(f->inode);
    struct seqbuf *s = f->data;
    if (!s) {
        s = kzalloc(sizeof(*s));
        if (!s)
            return -ENOMEM;
        f->data = s;
    }
    s->len = 0;
    s->failed = false;
    struct proc_ref r;
    int err = ref_get(item, &r);
    if (err < 0)
        return err;
    err = forbidden(&r) ? -EACCES : item->entry->show(s, &r);
    ref_put(&r);
    return err < 0 ? err : s->failed ? -ENOMEM : 0;
}

static int64_t proc_read(struct file *f, struct uio *u, uint64_t *pos) {
    if (!item_of(f->inode)->entry->show)
        return -EINVAL;
    mutex_lock(&f->inode->lock);
    struct seqbuf *s = f->data;
    int64_t n = !s || *pos == 0 ? generate(f) : 0;
    s = f->data;
    if (n == 0 && *pos < s->len) {
        size_t want = MIN(u->left, s->len - *pos);
        n = uio_put(u, s->data + *pos, want);
        if (n == 0 && want)
            n = -EFAULT;
        else
            *pos += n;
    }
    mutex_unlock(&f->inode->lock);
    return n;
}

int proc_parse_number(const char *text, size_t len, uint64_t *value) {
    char digits[24];
    const char *end = memchr(text, '\n', len);
    size_t n = end ? (size_t)(end - text) : len;
    if (n >= sizeof(digits))
        return -EINVAL;
    memcpy(digits, text, n);
    digits[n] = 0;
    return str_to_u64(digits, value) ? 0 : -EINVAL;
}

static int64_t proc_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct proc_item *item = item_of(f->inode);
    if (!item->entry->store)
        return -EIO;
    char text[256];
    size_t n = u->left;
    if (n >= sizeof(text))
        return -EINVAL;
    if (uio_get(u, text, n) < n)
        return -EFAULT;
    text[n] = 0;
    struct proc_ref r;
    int err = ref_get(item, &r);
    if (err < 0)
        return err;
    long result = item->entry->store(&r, text, n);
    ref_put(&r);
    return result < 0 ? result : (int64_t)n;
}

static int64_t proc_seek(struct file *f, int64_t offset, int whence) {
    return whence > 1 ? -EINVAL : file_seek_sized(f, offset, whence, 0);
}

static void proc_file_release(struct file *f) {
    if (f->data) {
        seq_free(f->data);
        kfree(f->data);
    }
}

static int64_t proc_directory_read(struct file *f, struct uio *u, uint64_t *pos) { return -EISDIR; }

static const struct file_ops proc_file_ops = {
    .read = proc_read, .write = proc_write, .seek = proc_seek, .release = proc_file_release};
static const struct file_ops proc_directory_ops = {
    .read = proc_directory_read, .seek = proc_seek, .iterate = proc_iterate};
// As on Linux: what is read is made at that moment, whatever size was asked for.
static int proc_truncate(struct inode *inode, uint64_t size) { return 0; }

static const struct inode_ops proc_inode_ops = {.truncate = proc_truncate, .release = proc_release};
static const struct inode_ops proc_dir_ops = {.lookup = proc_lookup, .release = proc_release};
static const struct inode_ops proc_link_ops = {.readlink = proc_readlink, .release = proc_release};
static const struct inode_ops proc_magic_ops = {
    .readlink = proc_readlink, .follow = proc_follow, .release = proc_release};

// --- The file system ---

static void proc_statistics(struct superblock *sb, struct fs_statistics *st) {
    *st = (struct fs_statistics){.magic = sb->type == &sysfs_type ? SYSFS_MAGIC : PROC_SUPER_MAGIC,
                                 .block_size = PAGE_SIZE,
                                 .name_max = NAME_MAX};
}
static const struct superblock_ops proc_sb_ops = {.statistics = proc_statistics};

struct superblock *procfs_superblock(const struct fs_type *type, const struct proc_entry *root) {
    struct superblock *sb = superblock_alloc(&proc_sb_ops, type, SB_UNCACHED);
    if (!sb)
        return ERR_PTR(-ENOMEM);
    struct inode *inode = item_new(sb, root, 0, 0, -1);
    if (inode && !(sb->root = dentry_alloc_root(sb, inode)))
        inode_unref(inode);
    if (!sb->root) {
        superblock_unref(sb);
        return ERR_PTR(-ENOMEM);
    }
    inode->ino = 1;
    return sb;
}

static struct superblock *proc_mount(const struct fs_type *type, const char *source, unsigned long flags,
                                     const char *options) {
    return procfs_superblock(type, &root_entry);
}

const struct fs_type proc_type = {.name = "proc", .nodev = true, .mount = proc_mount};
