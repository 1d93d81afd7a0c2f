// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c kernel/memory/uio.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* Paths: symbolic links, dots, trailing slashes, lengths, permissions, mounts; and the table of descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"
#include <linux/fs.h>
#include <linux/openat2.h>

static long open_fd(const char *name, unsigned flags, uint32_t mode) {
    struct file *f = vfs_open(AT_FDCWD, name, flags, mode);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, flags);
}

static int touch(const char *name) {
    long fd = open_fd(name, O_CREAT | O_WRONLY, 0644);
    return fd < 0 ? (int)fd : (int)fd_close(fd);
}

static int look(const char *name, unsigned flags) {
    struct path p;
    int err = path_lookup(AT_FDCWD, name, flags, &p);
    if (err == 0)
        path_unref(&p);
    return err;
}

static const char *real(const char *name) {
    static char buf[4096];
    struct path p;
    int err = path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p);
    if (err < 0) {
        snprintf(buf, sizeof(buf), "error %d", err);
        return buf;
    }
    assert_true(path_name(&p, buf, sizeof(buf)) > 0);
    path_unref(&p);
    return buf;
}

static int change_dir(const char *name) {
    struct path p;
    int err = path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);
    if (err == 0) {
        err = fs_set_cwd(&p);
        path_unref(&p);
    }
    return err;
}

static int start(void **state) {
    fake_start();
    return 0;
}

static void walks_names_dots_and_links(void **state) {
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/a", 0755), 0);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/a/b", 0755), 0);
    assert_int_equal(touch("/a/b/f"), 0);
    assert_string_equal(real("/a/b/f"), "/a/b/f");
    assert_string_equal(real("//a///b//../b/./f"), "/a/b/f");
    assert_string_equal(real("/.."), "/");
    assert_string_equal(real("/../../a/.."), "/");
    assert_int_equal(vfs_symlink("b", AT_FDCWD, "/a/l"), 0);
    assert_int_equal(vfs_symlink("/a/l/f", AT_FDCWD, "/abs"), 0);
    assert_string_equal(real("/a/l/f"), "/a/b/f");
    assert_string_equal(real("/abs"), "/a/b/f");
    assert_int_equal(look("/abs/", LOOKUP_FOLLOW), -ENOTDIR);
    assert_int_equal(look("/a/l/", 0), 0);
    assert_int_equal(look("/a/b/f/", 0), -ENOTDIR);
    assert_int_equal(look("/a/b/f/.", 0), -ENOTDIR);
    assert_int_equal(look("/a/b/f/..", 0), -ENOTDIR);
    assert_int_equal(look("/a/x/f", 0), -ENOENT);
    assert_int_equal(look("", 0), -ENOENT);
    assert_int_equal(change_dir("/a/b"), 0);
    assert_string_equal(real("../l/f"), "/a/b/f");
    assert_string_equal(real("."), "/a/b");
    assert_int_equal(change_dir("f"), -ENOTDIR);
    assert_int_equal(change_dir("/"), 0);
}

static void stops_at_loops_and_lengths(void **state) {
    assert_int_equal(vfs_symlink("loop2", AT_FDCWD, "/loop1"), 0);
    assert_int_equal(vfs_symlink("loop1", AT_FDCWD, "/loop2"), 0);
    assert_int_equal(look("/loop1", LOOKUP_FOLLOW), -ELOOP);
    assert_int_equal(look("/loop1", 0), 0);
    assert_int_equal(look("/loop1/x", 0), -ELOOP);
    char name[32], target[32];
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/end", 0755), 0);
    assert_int_equal(vfs_symlink("end", AT_FDCWD, "/s0"), 0);
    for (int i = 1; i <= 40; i++) {
        snprintf(name, sizeof(name), "/s%d", i);
        snprintf(target, sizeof(target), "s%d", i - 1);
        assert_int_equal(vfs_symlink(target, AT_FDCWD, name), 0);
    }
    assert_int_equal(look("/s39", LOOKUP_FOLLOW), 0); // 40 links
    assert_int_equal(look("/s40", LOOKUP_FOLLOW), -ELOOP);

    static char longest[300], link[4095];
    memset(longest, 'n', sizeof(longest));
    longest[0] = '/';
    longest[256] = 0;
    assert_int_equal(touch(longest), 0);
    longest[256] = 'n';
    longest[257] = 0;
    assert_int_equal(touch(longest), -ENAMETOOLONG);
    assert_int_equal(look(longest, 0), -ENAMETOOLONG);
    memset(link, '/', sizeof(link));
    link[sizeof(link) - 1] = 0;
    assert_int_equal(vfs_symlink(link, AT_FDCWD, "/many"), 0);
    assert_int_equal(look("/many", LOOKUP_FOLLOW), 0);
    assert_int_equal(look("/many/end", 0), -ENAMETOOLONG);
}

static void obeys_permissions(void **state) {
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/closed", 0700), 0);
    assert_int_equal(touch("/closed/f"), 0);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/tmp", 0777), 0);
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/tmp", 0, &p), 0);
    assert_int_equal(vfs_chmod(path_inode(&p), 01777), 0);
    path_unref(&p);
    assert_int_equal(touch("/tmp/roots"), 0);
    fake_user(1000, 1000);
    assert_int_equal(look("/closed/f", 0), -EACCES);
    assert_int_equal(look("/closed", 0), 0);
    assert_int_equal(touch("/mine"), -EACCES);
    assert_int_equal(touch("/tmp/mine"), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/tmp/roots", false), -EPERM);
    assert_int_equal(vfs_rename(AT_FDCWD, "/tmp/roots", AT_FDCWD, "/tmp/x", 0), -EPERM);
    assert_int_equal(vfs_rename(AT_FDCWD, "/tmp/mine", AT_FDCWD, "/tmp/roots", 0), -EPERM);
    assert_int_equal(open_fd("/tmp/roots", O_RDWR, 0), -EACCES);
    protected_symlinks = protected_hardlinks = 1;
    fake_user(1001, 1001);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/tmp/mine", false), -EPERM);
    assert_int_equal(vfs_link(AT_FDCWD, "/tmp/roots", AT_FDCWD, "/tmp/kept", 0), -EPERM);
    assert_int_equal(vfs_symlink("mine", AT_FDCWD, "/tmp/trap"), 0);
    assert_int_equal(look("/tmp/trap", LOOKUP_FOLLOW), 0);
    fake_user(1000, 1000);
    assert_int_equal(look("/tmp/trap", LOOKUP_FOLLOW), -EACCES);
    fake_root();
    assert_int_equal(look("/tmp/trap", LOOKUP_FOLLOW), -EACCES);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/tmp/trap", false), 0);
    fake_user(1000, 1000);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/tmp/mine", false), 0);
    assert_int_equal(vfs_mknod(AT_FDCWD, "/tmp/null", S_IFCHR | 0666, MAKE_DEV(1, 3)), -EPERM);
    fake_root();
    assert_int_equal(vfs_mknod(AT_FDCWD, "/tmp/null", S_IFCHR | 0666, MAKE_DEV(1, 3)), 0);
}

static void names_errors_as_linux_does(void **state) {
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/e", 0755), 0);
    assert_int_equal(touch("/e/f"), 0);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/e", 0755), -EEXIST);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/e/.", 0755), -EEXIST);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/e/d/", 0755), 0);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/", 0755), -EEXIST);
    assert_int_equal(vfs_mknod(AT_FDCWD, "/e/n/", S_IFREG, 0), -ENOENT);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e/f/", false), -ENOTDIR);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e/d", false), -EISDIR);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e/f", true), -ENOTDIR);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e", true), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e/.", true), -EINVAL);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e/..", true), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/", true), -EBUSY);
    assert_int_equal(vfs_link(AT_FDCWD, "/e/d", AT_FDCWD, "/e/x", 0), -EPERM);
    assert_int_equal(vfs_link(AT_FDCWD, "/e/f", AT_FDCWD, "/e/d", 0), -EEXIST);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e", AT_FDCWD, "/e/d/x", 0), -EINVAL);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/d", AT_FDCWD, "/e", 0), -ENOTEMPTY);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/f", AT_FDCWD, "/e/d", 0), -EISDIR);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/d", AT_FDCWD, "/e/f", 0), -ENOTDIR);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/f", AT_FDCWD, "/e/g/", 0), -ENOTDIR);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/.", AT_FDCWD, "/e/x", 0), -EBUSY);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/f", AT_FDCWD, "/e/d", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/f", AT_FDCWD, "/e/d", RENAME_EXCHANGE), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/e/d", false), 0);
    assert_int_equal(vfs_rename(AT_FDCWD, "/e/f", AT_FDCWD, "/e/a rather long name that needs memory of its own", 0),
                     0);
    assert_string_equal(real("/e/a rather long name that needs memory of its own"),
                        "/e/a rather long name that needs memory of its own");
    assert_int_equal(open_fd("/e", O_WRONLY, 0), -EISDIR);
    assert_int_equal(open_fd("/e/", O_CREAT | O_RDONLY, 0), -EISDIR);
    assert_int_equal(open_fd("/e/new/", O_CREAT | O_RDONLY, 0), -EISDIR);
    assert_int_equal(open_fd("/e/new", O_DIRECTORY | O_RDONLY, 0), -ENOENT);
    assert_int_equal(vfs_symlink("target", AT_FDCWD, "/e/dangling"), 0);
    assert_int_equal(open_fd("/e/dangling", O_CREAT | O_EXCL | O_RDWR, 0600), -EEXIST);
    assert_int_equal(open_fd("/e/dangling", O_NOFOLLOW, 0), -ELOOP);
    assert_int_equal(touch("/e/dangling"), 0); // makes the target
    assert_string_equal(real("/e/dangling"), "/e/target");
}

static void mounts_hide_and_show(void **state) {
    struct path p;
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/mnt", 0755), 0);
    assert_int_equal(touch("/mnt/below"), 0);
    assert_int_equal(path_lookup(AT_FDCWD, "/mnt", LOOKUP_FOLLOW, &p), 0);
    assert_int_equal(vfs_mount("none", &p, "nosuch", 0, NULL), -ENODEV);
    assert_int_equal(vfs_mount("none", &p, "tmpfs", 0, "mode=0700,uid=5"), 0);
    path_unref(&p);
    assert_int_equal(look("/mnt/below", 0), -ENOENT);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/mnt", true), -EBUSY);
    assert_int_equal(path_lookup(AT_FDCWD, "/mnt", 0, &p), 0);
    assert_int_equal(path_inode(&p)->mode, S_IFDIR | 0700);
    assert_int_equal(path_inode(&p)->uid, 5);
    path_unref(&p);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/mnt/d", 0755), 0);
    assert_string_equal(real("/mnt/d/.."), "/mnt");
    assert_string_equal(real("/mnt/d/../.."), "/");
    assert_int_equal(vfs_rename(AT_FDCWD, "/mnt/d", AT_FDCWD, "/d", 0), -EXDEV);
    long fd = open_fd("/mnt/d", O_RDONLY, 0);
    assert_int_equal(path_lookup(AT_FDCWD, "/mnt", 0, &p), 0);
    assert_int_equal(vfs_umount(&p, 0), -EBUSY);
    fd_close(fd);
    assert_int_equal(vfs_umount(&p, 0), 0);
    path_unref(&p);
    assert_int_equal(look("/mnt/below", 0), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/mnt/below", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/mnt", true), 0);
}

static long open_resolved(const char *name, uint32_t resolve) {
    struct file *f = vfs_open_resolve(AT_FDCWD, name, O_RDONLY, 0, resolve);
    if (IS_ERR(f))
        return PTR_ERR(f);
    file_unref(f);
    return 0;
}

static void resolves_only_what_openat2_allows(void **state) {
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/r", 0755), 0);
    assert_int_equal(vfs_symlink("/e", AT_FDCWD, "/r/out"), 0);
    assert_int_equal(vfs_symlink("in", AT_FDCWD, "/r/l"), 0);
    assert_int_equal(touch("/r/in"), 0);
    assert_int_equal(change_dir("/r"), 0);
    assert_int_equal(open_resolved("l", RESOLVE_BENEATH), 0);
    assert_int_equal(open_resolved("l", RESOLVE_NO_SYMLINKS), -ELOOP);
    assert_int_equal(open_resolved("out", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open_resolved("../r/in", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open_resolved("/r/in", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/r/sub", 0755), 0);
    assert_int_equal(open_resolved("sub/../in", RESOLVE_BENEATH), 0);
    assert_int_equal(open_resolved("sub/../../r/in", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(vfs_symlink("/../in", AT_FDCWD, "/r/sub/abs"), 0);
    assert_int_equal(open_resolved("sub/abs", RESOLVE_IN_ROOT), 0);
    assert_int_equal(open_resolved("sub/abs", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open_resolved("sub/abs", 0), -ENOENT);
    assert_int_equal(open_resolved("/../../in", RESOLVE_IN_ROOT), 0);
    assert_int_equal(open_resolved("/r/in", RESOLVE_IN_ROOT), -ENOENT);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/r/sub/abs", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/r/sub", true), 0);
    assert_int_equal(change_dir("/"), 0);
}

static void deleted_places_keep_working(void **state) {
    char buf[64];
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/gone", 0755), 0);
    assert_int_equal(change_dir("/gone"), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/gone", true), 0);
    assert_int_equal(touch("new"), -ENOENT);
    assert_true(path_deleted(&fake_process.fs->cwd));
    assert_int_equal(path_name_marked(&fake_process.fs->cwd, buf, sizeof(buf)), 15);
    assert_string_equal(buf, "/gone (deleted)");
    assert_string_equal(real(".."), "/");
    assert_int_equal(change_dir("/"), 0);
}

static void descriptors_are_the_lowest(void **state) {
    struct file *f = vfs_open(AT_FDCWD, "/tmp/null", O_RDWR, 0);
    assert_false(IS_ERR(f));
    struct file_table *t = fake_process.files;
    int first = -1;
    for (int i = 0; i < 200; i++) {
        long fd = fd_dup(f, 0, i % 3 == 0 ? O_CLOEXEC : 0);
        if (first < 0)
            first = fd;
        assert_int_equal(fd, first + i);
    }
    assert_int_equal(f->refs, 201);
    assert_int_equal(fd_close(first + 5), 0);
    assert_int_equal(fd_close(first + 5), -EBADF);
    assert_int_equal(fd_close(first + 3), 0);
    assert_int_equal(fd_dup(f, first + 4, 0), first + 5);
    assert_int_equal(fd_dup(f, 0, 0), first + 3);
    assert_int_equal(fd_dup(f, 250, 0), 250);
    assert_int_equal(fd_dup(f, 256, 0), -EINVAL);
    assert_int_equal(fd_dup(f, -1, 0), -EINVAL);
    for (int i = 251; i < 256; i++)
        assert_int_equal(fd_dup(f, 250, 0), i);
    assert_int_equal(fd_dup(f, 250, 0), -EMFILE);
    assert_int_equal(fd_get_flags(first), FD_CLOEXEC);
    assert_int_equal(fd_get_flags(first + 1), 0);
    assert_int_equal(fd_install_at(file_ref(f), 240, O_CLOEXEC), 240);
    assert_int_equal(fd_install_at(file_ref(f), 240, 0), 240);
    assert_int_equal(fd_get_flags(240), 0);
    assert_int_equal(fd_install_at(file_ref(f), 9999, 0), -EBADF);

    struct file_table *copy = file_table_copy(t);
    assert_non_null(copy);
    file_table_close_on_exec(copy);
    struct file *g;
    assert_int_equal(fd_next(copy, first, &g), first + 1);
    file_unref(g);
    file_table_unref(copy);
    assert_int_equal(fd_close_range(0, ~0u, false), 0);
    assert_int_equal(f->refs, 1);
    assert_int_equal(fd_dup(f, 0, 0), 0);
    fd_close(0);
    file_unref(f);
}

static void nothing_is_lost(void **state) {
    static const char *const names[] = {"/many",       "/closed/f", "/tmp/roots", "/tmp/null", "/e/target",
                                        "/e/dangling", "/r/out",    "/r/l",       "/r/in",     "/abs",
                                        "/a/l",        "/a/b/f",    "/loop1",     "/loop2"};
    static const char *const dirs[] = {
        "/e/a rather long name that needs memory of its own", "/closed", "/tmp", "/e", "/r", "/a/b", "/a", "/end"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(vfs_unlink(AT_FDCWD, names[i], false), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++)
        assert_int_equal(vfs_unlink(AT_FDCWD, dirs[i], true), 0);
    char name[300];
    for (int i = 0; i <= 40; i++) {
        snprintf(name, sizeof(name), "/s%d", i);
        assert_int_equal(vfs_unlink(AT_FDCWD, name, false), 0);
    }
    memset(name, 'n', sizeof(name));
    name[0] = '/';
    name[256] = 0;
    assert_int_equal(vfs_unlink(AT_FDCWD, name, false), 0);
    assert_int_equal(fake_pages_used, 0);
    // Root: superblock, inode, entry, its children and their grown table, mount and its name; context, table of files and slots.
    assert_int_equal(fake_objects, 10);
    assert_int_equal(mount_root()->root->refs, 4); // superblock, mount, root, working directory
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_names_dots_and_links),
        cmocka_unit_test(stops_at_loops_and_lengths),
        cmocka_unit_test(obeys_permissions),
        cmocka_unit_test(names_errors_as_linux_does),
        cmocka_unit_test(mounts_hide_and_show),
        cmocka_unit_test(resolves_only_what_openat2_allows),
        cmocka_unit_test(deleted_places_keep_working),
        cmocka_unit_test(descriptors_are_the_lowest),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
