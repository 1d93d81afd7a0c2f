// Root, working directory and umask of a process, what a process has open as others see it, and what is released when it ends.
// Locks: process.signal_lock protects the process's pointers to its file table, context, address space and executable against
// those who look at another process; the process itself reads them without.
#include "fs/mount.h"
#include "fs/procfs.h"
#include "fs/tty.h"

static struct slab_cache context_cache = SLAB_CACHE("fs_context", sizeof(struct fs_context), 8);

struct fs_context *fs_context_create(void) {
    struct fs_context *fs = slab_alloc(&context_cache);
    if (!fs)
        return NULL;
    fs->refs = 1;
    spin_init(&fs->lock);
    fs->root = (struct path){mount_root(), mount_root()->root};
    fs->cwd = fs->root;
    path_ref(&fs->root);
    path_ref(&fs->cwd);
    fs->umask = 022;
    return fs;
}

struct fs_context *fs_context_copy(struct fs_context *from) {
    struct fs_context *fs = slab_alloc(&context_cache);
    if (!fs)
        return NULL;
    fs->refs = 1;
    spin_init(&fs->lock);
    spin_lock(&from->lock);
    fs->root = from->root;
    fs->cwd = from->cwd;
    fs->umask = from->umask;
    path_ref(&fs->root);
    path_ref(&fs->cwd);
    spin_unlock(&from->lock);
    return fs;
}

void fs_context_unref(struct fs_context *fs) {
    if (atomic_sub(&fs->refs, 1) != 1)
        return;
    path_unref(&fs->root);
    path_unref(&fs->cwd);
    slab_free(&context_cache, fs);
}

static void replace(struct path *place, const struct path *p) {
    struct fs_context *fs = process_current()->fs;
    path_ref(p);
    spin_lock(&fs->lock);
    struct path old = *place;
    *place = *p;
    spin_unlock(&fs->lock);
    path_unref(&old);
}

static int check_directory(const struct path *p) {
    return S_ISDIR(p->dentry->inode->mode) ? vfs_permission(p->dentry->inode, 1) : -ENOTDIR;
}

int fs_set_cwd(const struct path *p) {
    int err = check_directory(p);
    if (err == 0)
        replace(&process_current()->fs->cwd, p);
    return err;
}

int fs_set_root(const struct path *p) {
    int err = check_directory(p);
    if (err == 0 && !capable(CAP_SYS_CHROOT))
        err = -EPERM;
    if (err == 0)
        replace(&process_current()->fs->root, p);
    return err;
}

long fs_context_unshare(void) {
    struct process *p = process_current();
    struct fs_context *old = p->fs;
    if (READ_ONCE(old->refs) == 1)
        return 0;
    struct fs_context *fs = fs_context_copy(old);
    if (!fs)
        return -ENOMEM;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // procfs looks at other processes under it
    p->fs = fs;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    fs_context_unref(old);
    return 0;
}

// The caller holds `from`: dropping one reference of it is never the last.
static void move(struct path *place, const struct path *from, const struct path *to) {
    if (!path_equal(place, from))
        return;
    path_ref(to);
    path_unref(place);
    *place = *to;
}

void fs_context_move_all(const struct path *from, const struct path *to) {
    int pid = 0;
    for (struct process *p; (p = process_next(pid)) != NULL; process_unref(p)) {
        pid = p->pid + 1;
        uint64_t flags = spin_lock_irqsave(&p->signal_lock);
        struct fs_context *fs = p->fs;
        if (fs) {
            spin_lock(&fs->lock);
            move(&fs->root, from, to);
            move(&fs->cwd, from, to);
            spin_unlock(&fs->lock);
        }
        spin_unlock_irqrestore(&p->signal_lock, flags);
    }
}

// --- Looking at other processes ---

struct file_table *process_files_get(struct process *p) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct file_table *t = p->files;
    if (t)
        atomic_add(&t->refs, 1);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return t;
}

unsigned process_umask(struct process *p) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    unsigned mask = p->fs ? p->fs->umask : 0;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return mask;
}

bool process_path_get(struct process *p, bool root, struct path *out) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct fs_context *fs = p->fs;
    if (fs) {
        spin_lock(&fs->lock);
        *out = root ? fs->root : fs->cwd;
        path_ref(out);
        spin_unlock(&fs->lock);
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return fs;
}

bool process_exe_get(struct process *p, struct path *out) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    const struct path *exe = p->exe_path;
    if (exe) {
        *out = *exe;
        path_ref(out);
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return exe;
}

// --- Hooks ---

static void release_files(struct process *p) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct file_table *files = p->files;
    struct fs_context *fs = p->fs;
    struct path *exe = p->exe_path;
    p->files = NULL;
    p->fs = NULL;
    p->exe_path = NULL;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (files)
        file_table_unref(files);
    if (fs)
        fs_context_unref(fs);
    if (exe) {
        inode_allow_write(path_inode(exe));
        path_unref(exe);
        kfree(exe);
    }
}

// fork: the child runs the same program.
static void inherit(struct process *child, struct process *parent) {
    struct path *exe = parent->exe_path ? kmalloc(sizeof(*exe)) : NULL;
    if (exe) {
        *exe = *(struct path *)parent->exe_path;
        path_ref(exe);
        inode_deny_write(path_inode(exe)); // the parent does already: this cannot fail
    }
    child->exe_path = exe;
}

void fs_set_hooks(void) {
    static const struct process_hooks hooks = {
        .release_files = release_files, .stop_tty = tty_process_exit, .inherit = inherit, .end = vfs_sync_last};
    process_set_hooks(&hooks);
}
