// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c kernel/memory/uio.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* tmpfs against a model: random operations are done to both, results and errors must be the same, and at times the whole tree is
 * compared: names, link counts, sizes, contents. Then the corners: memory, holes, listing while names come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/pagetree.h"
#include "fs/tmpfs.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"
#include "tests/unit/fs_model.h"

static int start(void **state) {
    fake_start();
    return 0;
}

static void agrees_with_the_model(void **state) {
    long before = fake_objects;
    nodes = calloc(NODES, sizeof(*nodes));
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/m", 0755), 0);
    assert_int_equal(node_new(DIR_NODE, 0), 0);
    for (int i = 0; i < 20000; i++) {
        model_step();
        if (i % 500 == 0)
            compare_tree(0, "/m");
    }
    compare_tree(0, "/m");
    // Take everything away: nothing may be left.
    remove_tree();
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m", true), 0);
    assert_int_equal(fake_pages_used, 0);
    assert_true(fake_objects <= before + 1); // the root's table of children
    free(nodes);
}

// --- Corners ---

static void holes_are_found(void **state) {
    struct file *f = open_node("/holes", O_CREAT | O_RDWR);
    assert_int_equal(vfs_truncate(f->inode, 1 << 20), 0);
    assert_int_equal(f->inode->blocks, 0);
    uint64_t pos = 100 * PAGE_SIZE + 5;
    assert_int_equal(file_write_kernel(f, "x", 1, &pos), 1);
    assert_int_equal(f->inode->blocks, 8);
    assert_int_equal(file_seek(f, 0, SEEK_DATA), 100 * PAGE_SIZE);
    assert_int_equal(file_seek(f, 100 * PAGE_SIZE + 7, SEEK_DATA), 100 * PAGE_SIZE + 7);
    assert_int_equal(file_seek(f, 0, SEEK_HOLE), 0);
    assert_int_equal(file_seek(f, 100 * PAGE_SIZE, SEEK_HOLE), 101 * PAGE_SIZE);
    assert_int_equal(file_seek(f, 101 * PAGE_SIZE, SEEK_DATA), -ENXIO);
    assert_int_equal(file_seek(f, 1 << 20, SEEK_HOLE), -ENXIO);
    pos = 1UL << 45; // as far as that
    assert_int_equal(file_write_kernel(f, "y", 1, &pos), 1);
    char c = 0;
    assert_int_equal(file_read_kernel(f, &c, 1, 1UL << 45), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(file_seek(f, 101 * PAGE_SIZE, SEEK_DATA), 1UL << 45);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/holes", false), 0);
    assert_int_equal(fake_pages_used, 2);
    file_unref(f);
    assert_int_equal(fake_pages_used, 0);
}

static void a_full_memory_is_no_space(void **state) {
    struct file *f = open_node("/full", O_CREAT | O_RDWR);
    static char block[PAGE_SIZE * 4];
    uint64_t pos = 0;
    int64_t n;
    while ((n = file_write_kernel(f, block, sizeof(block), &pos)) > 0)
        ;
    assert_int_equal(n, -ENOSPC);
    assert_true(fake_pages_used < FAKE_PAGES - FAKE_PAGES / 40); // some is left for others
    assert_int_equal(f->ops->allocate(f, 0, 0, 1UL << 40), -ENOSPC);
    assert_int_equal(vfs_truncate(f->inode, 0), 0);
    pos = 0;
    assert_int_equal(file_write_kernel(f, block, sizeof(block), &pos), sizeof(block));
    file_unref(f);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/full", false), 0);
    assert_int_equal(fake_pages_used, 0);
}

static void limits_and_seals(void **state) {
    struct file *f = memfd_open("secret", O_RDWR, 0777 | S_ISVTX);
    assert_false(IS_ERR(f));
    char name[64];
    assert_int_equal(path_name(&f->path, name, sizeof(name)), 23);
    assert_string_equal(name, "/memfd:secret (deleted)");
    uint64_t pos = 0;
    assert_int_equal(file_write_kernel(f, "abc", 3, &pos), 3);
    assert_int_equal(file_add_seals(f, F_SEAL_GROW), 0);
    assert_int_equal(file_write_kernel(f, "d", 1, &pos), -EPERM);
    assert_int_equal(file_add_seals(f, F_SEAL_SHRINK | F_SEAL_SEAL), 0);
    assert_int_equal(vfs_truncate(f->inode, 0), -EPERM);
    assert_int_equal(file_add_seals(f, F_SEAL_WRITE), -EPERM);
    assert_int_equal(file_get_seals(f), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    file_unref(f);

    f = open_node("/limited", O_CREAT | O_RDWR);
    fake_process.limits[RLIMIT_FSIZE].rlim_cur = 10;
    pos = 4;
    assert_int_equal(file_write_kernel(f, "0123456789", 10, &pos), 6);
    fake_last_signal = 0;
    assert_int_equal(file_write_kernel(f, "x", 1, &pos), -EFBIG);
    assert_int_equal(fake_last_signal, SIGXFSZ);
    assert_int_equal(vfs_truncate(f->inode, 11), -EFBIG);
    fake_process.limits[RLIMIT_FSIZE].rlim_cur = ~0UL;
    f->flags |= O_APPEND;
    pos = 0;
    assert_int_equal(file_write_kernel(f, "end", 3, &pos), 3);
    assert_int_equal(pos, 13);
    assert_int_equal(file_seek(f, INT64_MAX, SEEK_SET), INT64_MAX);
    assert_int_equal(file_seek(f, 1, SEEK_CUR), -EINVAL);
    file_unref(f);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/limited", false), 0);
}

static void temporary_files_can_be_named(void **state) {
    struct file *f = vfs_open(AT_FDCWD, "/", O_TMPFILE | O_RDWR, 0600);
    assert_false(IS_ERR(f));
    assert_int_equal(f->inode->nlink, 0);
    long fd = fd_install(f, 0);
    assert_true(fd >= 0);
    assert_int_equal(vfs_link(fd, "", AT_FDCWD, "/named", LOOKUP_EMPTY), 0);
    assert_int_equal(f->inode->nlink, 1);
    fd_close(fd);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/named", false), 0);
    assert_true(IS_ERR(vfs_open(AT_FDCWD, "/", O_TMPFILE | O_RDONLY, 0600)));
}

// Takes `left` entries, then stops.
struct some {
    struct dir_context ctx;
    int left;
    char names[64][8];
    int count;
};

static bool take(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct some *s = container_of(ctx, struct some, ctx);
    if (s->left == 0)
        return false;
    s->left--;
    str_copy(s->names[s->count++], name, 8);
    return true;
}

static void listings_survive_changes(void **state) {
    char name[32];
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/list", 0755), 0);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "/list/%d", i);
        file_unref(open_node(name, O_CREAT | O_RDWR));
    }
    struct file *f = open_node("/list", O_RDONLY);
    struct some s = {.ctx = {.emit = take}};
    // Remove what was listed, as rm -r does, and an entry that is yet to come; add one.
    while (s.count < 12) {
        s.left = 5;
        int before = s.count;
        assert_int_equal(file_iterate(f, &s.ctx), 0);
        for (int i = before; i < s.count; i++) {
            snprintf(name, sizeof(name), "/list/%s", s.names[i]);
            if (s.names[i][0] != '.')
                assert_int_equal(vfs_unlink(AT_FDCWD, name, false), 0);
        }
    }
    assert_int_equal(vfs_unlink(AT_FDCWD, "/list/15", false), 0);
    file_unref(open_node("/list/new", O_CREAT | O_RDWR));
    s.left = 64;
    assert_int_equal(file_iterate(f, &s.ctx), 0);
    assert_int_equal(s.count, 2 + 20 - 1 + 1);
    assert_string_equal(s.names[s.count - 1], "new");
    for (int i = 0; i < s.count; i++)
        assert_string_not_equal(s.names[i], "15");
    // Back to a position in the middle: what is left there.
    assert_int_equal(file_seek(f, 0, SEEK_SET), 0);
    s.count = 0;
    s.left = 64;
    assert_int_equal(file_iterate(f, &s.ctx), 0);
    int all = s.count;
    assert_int_equal(file_seek(f, 2, SEEK_SET), 2);
    s.count = 0;
    s.left = 64;
    assert_int_equal(file_iterate(f, &s.ctx), 0);
    assert_int_equal(s.count, all - 2);
    for (int i = 0; i < s.count; i++) {
        snprintf(name, sizeof(name), "/list/%s", s.names[i]);
        assert_int_equal(vfs_unlink(AT_FDCWD, name, false), 0);
    }
    assert_int_equal(vfs_unlink(AT_FDCWD, "/list", true), 0);
    s.left = 1;
    assert_int_equal(file_iterate(f, &s.ctx), -ENOENT);
    file_unref(f);
}

static void page_trees_hold_any_index(void **state) {
    struct pagetree t = {0};
    static uint64_t index[500];
    for (int i = 0; i < 500; i++) {
        index[i] = fake_random() >> (fake_random() % 64);
        int err = pagetree_insert(&t, index[i], (struct page *)(uintptr_t)(i * 16 + 16));
        if (err == -EEXIST)
            index[i--] = 0;
    }
    for (int i = 0; i < 500; i++)
        assert_ptr_equal(pagetree_get(&t, index[i]), (void *)(uintptr_t)(i * 16 + 16));
    uint64_t at = 0;
    for (int n = 0; n < 500; n++) {
        uint64_t least = ~0UL;
        for (int i = 0; i < 500; i++)
            if (index[i] >= at)
                least = MIN(least, index[i]);
        assert_non_null(pagetree_next(&t, &at));
        assert_int_equal(at, least);
        at++;
    }
    for (int i = 0; i < 500; i++)
        assert_non_null(pagetree_remove(&t, index[i]));
    assert_null(t.root);
    assert_int_equal(t.count, 0);
    assert_null(pagetree_remove(&t, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_model),        cmocka_unit_test(holes_are_found),
        cmocka_unit_test(a_full_memory_is_no_space),    cmocka_unit_test(limits_and_seals),
        cmocka_unit_test(temporary_files_can_be_named), cmocka_unit_test(listings_survive_changes),
        cmocka_unit_test(page_trees_hold_any_index),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
