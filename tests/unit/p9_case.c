/* What is done with a mounted tree whose server lies, and what the file system wants of the machine: see p9_server.h. */
#include "tests/unit/p9_server.h"

#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "tests/unit/fs_fakes.h"


static bool visit_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    ASSERT(len > 0 && len <= NAME_MAX && !memchr(name, '/', len) && !memchr(name, 0, len) && off >= 0);
    return ++ctx->pos < 2000;
}

static void use_file(struct file *f) {
    static char buf[40000];
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uint64_t)(uintptr_t)buf, sizeof(buf), false);
    uint64_t pos = 3;
    ASSERT(file_read_kernel(f, buf, sizeof(buf), 0) <= (int64_t)sizeof(buf));
    file_read_kernel(f, buf, 10, 5000);
    if (f->writable) {
        file_write(f, &u, &pos);
        vfs_truncate(f->inode, 7000);
    }
    file_seek(f, 0, 2);
    struct backing *b = f->ops->map ? f->ops->map(f, 3, 1) : ERR_PTR(-ENODEV);
    if (!IS_ERR(b)) {
        for (uint64_t i = 0; i < 3; i++) {
            struct page *p = b->ops->get_page(b, i, i == 1 && f->writable);
            if (!IS_ERR(p))
                page_unref(p);
        }
        b->ops->unref(b);
    }
    if (f->ops->fsync)
        f->ops->fsync(f, false);
    struct file_lock found;
    lock_test(f, f, F_WRLCK, 0, 10, &found);
}

static void use_name(const char *name) {
    static char buf[70000];
    struct path p;
    struct vfs_stat st;
    if (path_lookup(AT_FDCWD, name, 0, &p) < 0)
        return;
    vfs_stat_path(&p, &st);
    xattr_list(path_inode(&p), buf, sizeof(buf));
    xattr_get(path_inode(&p), "user.x", buf, sizeof(buf));
    xattr_set(path_inode(&p), "user.x", buf, 100, 0);
    vfs_chmod(path_inode(&p), 0700);
    path_unref(&p);
    vfs_readlink(AT_FDCWD, name, buf, 4096);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR, 0);
    if (IS_ERR(f))
        f = vfs_open(AT_FDCWD, name, O_RDONLY, 0);
    if (IS_ERR(f))
        return;
    struct dir_context ctx = {.emit = visit_name};
    if (S_ISDIR(f->inode->mode) && f->ops->iterate) {
        file_iterate(f, &ctx);
        file_seek(f, 0, 0);
    } else if (S_ISREG(f->inode->mode)) {
        use_file(f);
    }
    file_unref(f);
}

static void use_tree(void) {
    static const char *const names[] = {"/m", "/m/file", "/m/dir", "/m/dir/x", "/m/link", "/m/new", "/m/file", "/m/none"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (i == 5) {
            struct file *f = vfs_open(AT_FDCWD, "/m/new", O_RDWR | O_CREAT, 0644);
            if (!IS_ERR(f))
                file_unref(f);
            vfs_mkdir(AT_FDCWD, "/m/made", 0755);
            vfs_symlink("target", AT_FDCWD, "/m/dir/sym");
            vfs_mknod(AT_FDCWD, "/m/fifo", S_IFIFO | 0644, 0);
            vfs_link(AT_FDCWD, "/m/file", AT_FDCWD, "/m/second", 0);
            vfs_rename(AT_FDCWD, "/m/new", AT_FDCWD, "/m/dir/x", 0);
            vfs_unlink(AT_FDCWD, "/m/dir/sym", false);
            vfs_unlink(AT_FDCWD, "/m/made", true);
        }
        use_name(names[i]);
    }
}

void p9_case_fuzz(const unsigned char *data, size_t size) {
    struct path p;
    fake_start();
    p9_server_start();
    if (size < 4 || size > 65536)
        return;
    if (path_lookup(AT_FDCWD, "/m", 0, &p) < 0) {
        ASSERT(vfs_mkdir(AT_FDCWD, "/m", 0755) == 0);
        ASSERT(path_lookup(AT_FDCWD, "/m", 0, &p) == 0);
    }
    static uint8_t contents[20000];
    memset(contents, 'c', sizeof(contents));
    p9_server_add(0, "file", S_IFREG | 0644, contents, sizeof(contents));
    p9_server_add(p9_server_add(0, "dir", S_IFDIR | 0755, NULL, 0), "x", S_IFREG | 0600, contents, 100);
    p9_server_add(0, "link", S_IFLNK | 0777, "dir/x", 5);
    p9_server.immediately = data[0] & 1;
    p9_server.msize_limit = data[0] & 2 ? 4096u + data[1] : 0;
    p9_server.fuzz = data + 2;
    p9_server.fuzz_left = size - 2;
    if (vfs_mount("vol0", &p, "9p", 0, data[0] & 4 ? "file=file" : "") == 0) {
        path_unref(&p);
        use_tree();
        ASSERT(path_lookup(AT_FDCWD, "/m", 0, &p) == 0);
        ASSERT(vfs_umount(&p, 0) == 0);
    }
    path_unref(&p);
    ASSERT(p9_server.in_flight == 0 && fake_pages_used == 0);
    struct p9_transport *tr = p9_transport_take("vol0"); /* the session has ended */
    ASSERT(!IS_ERR(tr));
    p9_transport_give_back(tr);
}

/* --- What the cache wants of the machine --- */

#define WEAK __attribute__((weak))
WEAK uint64_t page_total(void) { return FAKE_PAGES; }
WEAK uint64_t page_free_count(void) { return FAKE_PAGES - fake_pages_used; }
WEAK bool page_block_free(unsigned order) { return true; }
WEAK struct thread *thread_create_kernel(const char *name, void (*fn)(void *), void *arg) { return NULL; }
WEAK void thread_start(struct thread *t) {}
WEAK bool thread_signal_pending_slow(void) { return true; }
WEAK void thread_wake_clear(struct thread *t, void **word) { *word = NULL; }
WEAK bool mutex_trylock(struct mutex *m) {
    if (m->owner)
        return false;
    mutex_lock(m);
    return true;
}
WEAK bool str_to_u64(const char *s, uint64_t *value) {
    for (*value = 0; *s >= '0' && *s <= '9'; s++)
        *value = *value * 10 + (uint64_t)(*s - '0');
    return !*s;
}
WEAK bool mutex_held(const struct mutex *m) { return m->owner; }
