// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c kernel/memory/uio.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* Directory entries as a cache of what others change: a file system whose "server" is a table here. Attributes that it is told of, or
   refuses; extended attributes of its own; the end of mounts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/internal.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"
#include <linux/mount.h>

/* --- The server --- */

static struct object {
    uint64_t ino, parent; /* ino 0: free */
    uint32_t mode;
    char name[16];
} objects[32];
static uint64_t next_number = 100;
static int inodes, lookups, refusal, synced;
static char capability[8]; /* the one attribute that a file has */
static struct superblock *server_sb;

static struct object *find_object(uint64_t parent, const char *name) {
    for (unsigned i = 0; i < ARRAY_SIZE(objects); i++)
        if (objects[i].ino && objects[i].parent == parent && strcmp(objects[i].name, name) == 0)
            return &objects[i];
    return NULL;
}

static uint64_t put(uint64_t parent, const char *name, uint32_t mode) {
    for (unsigned i = 0; i < ARRAY_SIZE(objects); i++) {
        if (objects[i].ino)
            continue;
        objects[i] = (struct object){next_number++, parent, mode, ""};
        str_copy(objects[i].name, name, sizeof(objects[i].name));
        return objects[i].ino;
    }
    fail();
    return 0;
}

static void take(uint64_t parent, const char *name) { find_object(parent, name)->ino = 0; }

static const struct inode_ops server_ops;
static const struct file_ops server_file_ops = {.name = NULL};

static struct inode *inode_for(struct superblock *sb, uint64_t ino, uint32_t mode) {
    struct inode *inode = kzalloc(sizeof(*inode));
    inode_init(inode, sb, &server_ops, mode);
    inode->file_ops = &server_file_ops;
    inode->ino = ino;
    inodes++;
    return inode;
}

static int server_lookup(struct inode *dir, struct dentry *d) {
    struct object *o = find_object(dir->ino, d->name);
    lookups++;
    if (o)
        dentry_attach(d, inode_for(dir->sb, o->ino, o->mode));
    return 0;
}

static int server_create(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev) {
    if (find_object(dir->ino, d->name))
        return -EEXIST;
    dentry_attach(d, inode_for(dir->sb, put(dir->ino, d->name, mode), mode));
    return 0;
}

static int server_unlink(struct inode *dir, struct dentry *d) {
    take(dir->ino, d->name);
    return 0;
}

static int server_set(struct inode *inode, const struct attributes *a) { return refusal; }

static long server_xattr_get(struct inode *inode, const char *name, void *buf, size_t size) {
    return strcmp(name, "security.capability") == 0 && capability[0] ? 1 : -ENODATA;
}

static int server_xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    capability[0] = value ? 'x' : 0;
    return 0;
}

static long server_xattr_list(struct inode *inode, char *buf, size_t size) {
    static const char all[] = "user.a\0trusted.b\0security.c"; /* each with its NUL */
    if (buf && size < sizeof(all))
        return -ERANGE;
    if (buf)
        memcpy(buf, all, sizeof(all));
    return sizeof(all);
}

static void server_release(struct inode *inode) {
    inodes--;
    kfree(inode);
}

static const struct inode_ops server_ops = {
    .lookup = server_lookup,
    .create = server_create,
    .unlink = server_unlink,
    .rmdir = server_unlink,
    .set_attributes = server_set,
    .xattr_get = server_xattr_get,
    .xattr_set = server_xattr_set,
    .xattr_list = server_xattr_list,
    .release = server_release,
};

static bool server_revalidate(struct dentry *d) {
    struct object *o = find_object(d->parent->inode->ino, d->name);
    return (o ? o->ino : 0) == (d->inode ? d->inode->ino : 0);
}

static int server_sync(struct superblock *sb) {
    synced++;
    return 0;
}

static void server_gone(struct superblock *sb) { server_sb = NULL; }

static const struct superblock_ops server_sb_ops = {.revalidate = server_revalidate, .sync = server_sync, .release = server_gone};

static struct superblock *server_mount(const struct fs_type *type, const char *source, unsigned long flags, const char *options) {
    server_sb = superblock_alloc(&server_sb_ops, type, SB_REVALIDATE);
    server_sb->root = dentry_alloc_root(server_sb, inode_for(server_sb, 1, S_IFDIR | 0755));
    return server_sb;
}
const struct fs_type p9_type = {.name = "9p", .mount = server_mount};

/* --- Helpers --- */

static int look(const char *name) {
    struct path p;
    int err = path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p);
    if (err == 0)
        path_unref(&p);
    return err;
}

static uint64_t number(const char *name) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p), 0);
    uint64_t ino = path_inode(&p)->ino;
    path_unref(&p);
    return ino;
}

static int mount_on(const char *place, const char *type, unsigned long flags) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, place, LOOKUP_FOLLOW, &p), 0);
    int err = vfs_mount("none", &p, type, flags, NULL);
    path_unref(&p);
    return err;
}

static int unmount(const char *place, int flags) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, place, LOOKUP_FOLLOW, &p), 0);
    int err = vfs_umount(&p, flags);
    path_unref(&p);
    return err;
}

static int open_file(const char *name, unsigned flags) {
    struct file *f = vfs_open(AT_FDCWD, name, flags, 0644);
    return IS_ERR(f) ? (int)PTR_ERR(f) : (int)fd_install(f, flags);
}

static int begin(void **state) {
    memset(objects, 0, sizeof(objects));
    lookups = refusal = synced = 0;
    capability[0] = 0;
    if (look("/s") == -ENOENT)
        assert_int_equal(vfs_mkdir(AT_FDCWD, "/s", 0755), 0);
    return mount_on("/s", "9p", 0);
}

static int end(void **state) {
    if (server_sb)
        assert_int_equal(unmount("/s", 0), 0);
    assert_null(server_sb);
    assert_int_equal(inodes, 0); /* nothing is left over */
    assert_true(synced > 0);
    return 0;
}

/* --- Tests --- */

static void entries_follow_the_server(void **state) {
    uint64_t first = put(1, "a", S_IFREG | 0644);
    assert_int_equal(number("/s/a"), first);
    assert_int_equal(number("/s/a"), first);
    assert_int_equal(lookups, 1);
    take(1, "a");
    assert_int_equal(look("/s/a"), -ENOENT);
    assert_int_equal(look("/s/a"), -ENOENT); /* known to be absent */
    assert_int_equal(lookups, 2);
    uint64_t second = put(1, "a", S_IFREG | 0644);
    assert_int_equal(number("/s/a"), second);
    assert_true(second != first);
}

static void directories_go_with_what_is_below(void **state) {
    uint64_t d = put(1, "d", S_IFDIR | 0755), e = put(d, "e", S_IFDIR | 0755);
    put(e, "f", S_IFREG | 0644);
    assert_int_equal(look("/s/d/e/f"), 0);
    assert_int_equal(look("/s/d/e/none"), -ENOENT);
    assert_int_equal(mount_on("/s/d/e", "tmpfs", 0), 0);
    assert_int_equal(inodes, 4);
    take(1, "d");
    assert_int_equal(look("/s/d"), -ENOENT);
    assert_int_equal(inodes, 1); /* the root; the mount has gone, too */
    put(1, "d", S_IFDIR | 0755);
    assert_int_equal(look("/s/d"), 0);
    assert_int_equal(look("/s/d/e"), -ENOENT);
}

static void users_keep_what_is_gone(void **state) {
    uint64_t d = put(1, "d", S_IFDIR | 0755);
    put(d, "f", S_IFREG | 0644);
    int fd = open_file("/s/d", O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(look("/s/d/f"), 0);
    take(1, "d");
    assert_int_equal(look("/s/d"), -ENOENT);
    struct path p;
    assert_int_equal(path_lookup(fd, "f", 0, &p), 0);
    path_unref(&p);
    assert_int_equal(path_lookup(fd, "none", 0, &p), -ENOENT);
    assert_int_equal(unmount("/s", 0), -EBUSY);
    assert_int_equal(fd_close(fd), 0);
}

static void names_that_others_make_meanwhile(void **state) {
    assert_int_equal(look("/s/new"), -ENOENT);
    int fd = open_file("/s/new", O_CREAT | O_EXCL | O_RDWR);
    assert_true(fd >= 0);
    fd_close(fd);
    assert_int_equal(open_file("/s/new", O_CREAT | O_EXCL | O_RDWR), -EEXIST);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/s/new", false), 0);
    assert_int_equal(look("/s/new"), -ENOENT);
    assert_null(find_object(1, "new"));
}

static void attributes_may_be_refused(void **state) {
    put(1, "f", S_IFREG | 06755);
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/s/f", 0, &p), 0);
    struct inode *inode = path_inode(&p);
    refusal = -EDQUOT;
    assert_int_equal(vfs_chmod(inode, 0600), -EDQUOT);
    assert_int_equal(vfs_chown(inode, 7, 8), -EDQUOT);
    assert_int_equal(vfs_set_times(inode, 1, 2), -EDQUOT);
    assert_int_equal(vfs_touch(inode), -EDQUOT);
    assert_int_equal(inode->mode, S_IFREG | 06755);
    assert_int_equal(inode->uid, 0);
    refusal = 0;
    assert_int_equal(vfs_chown(inode, 7, 8), 0);
    assert_int_equal(inode->mode, S_IFREG | 0755);
    assert_int_equal(inode->uid, 7);
    assert_int_equal(vfs_chmod(inode, 0600), 0);
    assert_int_equal(inode->mode, S_IFREG | 0600);
    path_unref(&p);
}

static void extended_attributes_of_its_own(void **state) {
    put(1, "f", S_IFREG | 0755);
    struct path p;
    char list[64];
    assert_int_equal(path_lookup(AT_FDCWD, "/s/f", 0, &p), 0);
    struct inode *inode = path_inode(&p);
    assert_int_equal(xattr_get(inode, "user.a", NULL, 0), -ENODATA);
    assert_int_equal(xattr_get(inode, "other.a", NULL, 0), -EOPNOTSUPP);
    assert_int_equal(xattr_list(inode, NULL, 0), 7 + 10 + 11);
    assert_int_equal(xattr_list(inode, list, sizeof(list)), 7 + 10 + 11);
    assert_int_equal(xattr_list(inode, list, 10), -ERANGE);
    assert_true(inode->maybe_capable); /* nobody has looked yet */
    capability[0] = 'x';
    mutex_lock(&inode->lock);
    assert_int_equal(inode_drop_privileges(inode), 0);
    mutex_unlock(&inode->lock);
    assert_int_equal(capability[0], 0);
    assert_false(inode->maybe_capable); /* the next write need not ask */
    path_unref(&p);
}

static void read_only(void **state) {
    put(1, "f", S_IFREG | 0644);
    assert_int_equal(mount_on("/s", NULL, MS_REMOUNT | MS_RDONLY), 0);
    assert_int_equal(open_file("/s/f", O_RDWR), -EROFS);
    assert_int_equal(open_file("/s/g", O_RDWR | O_CREAT), -EROFS);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/s/f", false), -EROFS);
    assert_int_equal(mount_on("/s", NULL, MS_REMOUNT), 0);
    int fd = open_file("/s/f", O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(mount_on("/s", NULL, MS_REMOUNT | MS_RDONLY), -EBUSY);
    fd_close(fd);
}

static void lazily_detached(void **state) {
    uint64_t d = put(1, "d", S_IFDIR | 0755);
    put(d, "f", S_IFREG | 0644);
    assert_int_equal(mount_on("/s/d", "tmpfs", 0), 0);
    int fd = open_file("/s/d", O_RDONLY | O_DIRECTORY);
    assert_int_equal(unmount("/s", 0), -EBUSY);
    assert_int_equal(unmount("/s", 2), 0); /* MNT_DETACH, with what is on top */
    assert_null(server_sb);
    fd_close(fd);
}

int main(void) {
    fake_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_follow_the_server, begin, end),
        cmocka_unit_test_setup_teardown(directories_go_with_what_is_below, begin, end),
        cmocka_unit_test_setup_teardown(users_keep_what_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(names_that_others_make_meanwhile, begin, end),
        cmocka_unit_test_setup_teardown(attributes_may_be_refused, begin, end),
        cmocka_unit_test_setup_teardown(extended_attributes_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(read_only, begin, end),
        cmocka_unit_test_setup_teardown(lazily_detached, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
