// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c fs/initrd.c kernel/memory/uio.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* The initrd: what archives may hold, what is refused, and that every page of it is taken over or given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"

static char image[1 << 20];
static size_t at;

static int start(void **state) {
    fake_start();
    return 0;
}

static void align(size_t n) {
    while (at % n)
        image[at++] = 0;
}

struct member {
    const char *name;
    uint32_t mode;
    const char *data;
    size_t size, name_pad;
    uint32_t ino, nlink, rdev_minor;
};

static void add(const struct member *m) {
    size_t name = strlen(m->name) + 1 + m->name_pad;
    snprintf(image + at, 111, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", m->ino, m->mode, 7, 8,
             m->nlink ? m->nlink : 1, 1000, (unsigned)m->size, 0, 0, 1, m->rdev_minor, (unsigned)name, 0);
    at += 110;
    memset(image + at, 0, name);
    memcpy(image + at, m->name, strlen(m->name));
    at += name;
    align(4);
    memcpy(image + at, m->data, m->size);
    at += m->size;
    align(4);
}

static void add_file(const char *name, const char *data, size_t size) {
    add(&(struct member){.name = name, .mode = S_IFREG | 0751, .data = data, .size = size});
}

static void end(void) { add(&(struct member){.name = "TRAILER!!!", .data = ""}); }

static struct initrd_config config;

static int unpack(size_t size) {
    unsigned pages = DIV_ROUND_UP(size, PAGE_SIZE) + 1;
    phys_t pa = fake_reserve(pages);
    memcpy(phys_to_virt(pa), image, size);
    config = (struct initrd_config){NULL, 0};
    fake_log[0] = 0;
    initrd_find_config(pa, pa + size, &config);
    if (config.data)
        config.data = memcpy(kmalloc(config.size), config.data, config.size);
    int err = initrd_unpack(pa, pa + size);
    fake_reset_reserved();
    return err;
}

static void remove_all(struct dentry *dir) {
    while (dentry_has_children(dir)) {
        struct dir_node *n = list_first(&dir->children->list, struct dir_node, link);
        struct dentry *d = dentry_ref(container_of(n, struct dentry, node));
        if (S_ISDIR(d->inode->mode))
            remove_all(d);
        assert_int_equal(tmpfs_remove(d), 0);
        dentry_unref(d);
    }
}

static int clean(void **state) {
    remove_all(mount_root()->root);
    kfree((void *)config.data);
    config.data = NULL;
    at = 0;
    memset(image, 0, sizeof(image));
    return fake_pages_used == 0 ? 0 : -1;
}

static void expect_file(const char *name, const char *data, size_t size) {
    static char buf[1 << 17];
    struct file *f = vfs_open(AT_FDCWD, name, O_RDONLY, 0);
    assert_false(IS_ERR(f));
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf), 0), size);
    assert_memory_equal(buf, data, size);
    file_unref(f);
}

static struct vfs_stat stat_of(const char *name) {
    struct path p;
    struct vfs_stat st = {0};
    if (path_lookup(AT_FDCWD, name, 0, &p) == 0) {
        vfs_stat_path(&p, &st);
        path_unref(&p);
    }
    return st;
}

static void unpacks_all_kinds(void **state) {
    static char big[5 * PAGE_SIZE + 100];
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = fake_random();
    add(&(struct member){.name = ".", .mode = S_IFDIR | 0711, .data = ""});
    add(&(struct member){.name = "./bin/", .mode = S_IFDIR | 0750, .data = ""});
    add_file("/bin/small", "hello", 5);
    // Its data begins a page.
    size_t pad = -(at + 110 + strlen("bin/big") + 1) % PAGE_SIZE;
    add(&(struct member){.name = "bin/big", .mode = S_IFREG | 0644, .data = big, .size = sizeof(big), .name_pad = pad});
    add_file("bin/unaligned", big, sizeof(big));
    add(&(struct member){.name = "lib", .mode = S_IFLNK | 0777, .data = "bin", .size = 3});
    add_file("lib/through", "link", 4);
    add_file("a/b/c/parents", "made", 4);
    add(&(struct member){.name = "null", .mode = S_IFCHR | 0666, .data = "", .rdev_minor = 3});
    add(&(struct member){.name = "one", .mode = S_IFREG | 0600, .data = "", .ino = 5, .nlink = 2});
    add(&(struct member){.name = "two", .mode = S_IFREG | 0600, .data = "twice", .size = 5, .ino = 5, .nlink = 2});
    end();
    image[at + 511] = 0;
    at += 512; // NULs, then another archive
    add_file("bin/small", "replaced", 8);
    add_file(".knarr/config", "arg=x\0exec=/y\0", 14);
    add(&(struct member){
        .name = "three", .mode = S_IFREG | 0600, .data = "", .ino = 5, .nlink = 2}); // another archive's 5
    end();
    assert_int_equal(unpack(at), 0);
    assert_int_equal(fake_pages_used, 6 + 6 + 4); // the images of big, and the four small ones with contents
    expect_file("/bin/small", "replaced", 8);
    expect_file("/bin/big", big, sizeof(big));
    expect_file("/bin/unaligned", big, sizeof(big));
    expect_file("/bin/through", "link", 4);
    expect_file("/a/b/c/parents", "made", 4);
    expect_file("/one", "twice", 5);
    assert_int_equal(stat_of("/one").ino, stat_of("/two").ino);
    assert_int_equal(stat_of("/two").nlink, 2);
    assert_int_equal(stat_of("/three").nlink, 1);
    assert_int_equal(stat_of("/three").size, 0);
    struct vfs_stat st = stat_of("/null");
    assert_int_equal(st.rdev, MAKE_DEV(1, 3));
    st = stat_of("/bin");
    assert_int_equal(st.mode, S_IFDIR | 0750);
    assert_int_equal(st.uid, 7);
    assert_int_equal(st.gid, 8);
    assert_int_equal(st.mtime, 1000 * NSEC_PER_SEC);
    assert_int_equal(stat_of("/").mode, S_IFDIR | 0711);
    assert_int_equal(stat_of("/.knarr").mode, 0);
    assert_int_equal(config.size, 14);
    assert_memory_equal(config.data, "arg=x\0exec=/y\0", 14);
}

static void refuses(const char *reason) {
    assert_int_equal(unpack(at), -EINVAL);
    if (!strstr(fake_log, reason))
        fail_msg("the log says \"%s\", not \"%s\"", fake_log, reason);
    clean(NULL);
}

static void refuses_damaged_archives(void **state) {
    str_copy(image,
             "this is not an archive at all, but it is longer than a header of an archive would have to be, "
             "so that nothing is truncated",
             sizeof(image));
    at = strlen(image);
    refuses("not a newc");
    memcpy(image, "\x1f\x8b\x08", 3);
    at = 200;
    refuses("compressed");
    add_file("x", "data", 4);
    at = 50;
    refuses("truncated");
    add_file("x", "data", 4);
    image[20] = 'g';
    refuses("hexadecimal");
    add_file("x", "data", 4);
    image[54 + 3] = '7';
    refuses("beyond the end");
    add_file("x", "data", 4);
    memset(image + 94, '0', 8);
    refuses("name's length");
    add_file("x", "data", 4);
    memset(image + 94, 'f', 8);
    refuses("name's length");
    add_file("xyz", "data", 4);
    image[101] = '3'; // without its NUL
    refuses("no end");
    add_file("../escape", "data", 4);
    refuses("\"..\"");
    add_file("a/../../escape", "data", 4);
    refuses("\"..\"");
    add(&(struct member){.name = "x", .mode = 0130000 | 0644, .data = ""});
    refuses("unknown type");
    add(&(struct member){.name = "x", .mode = S_IFLNK | 0644, .data = ""});
    refuses("without a usable target");
    add(&(struct member){.name = "d/e", .mode = S_IFDIR | 0755, .data = ""});
    add_file("d", "data", 4);
    refuses("not empty");
    add_file("f", "data", 4);
    add_file("f/g", "data", 4);
    refuses("directory cannot be used");
    add(&(struct member){.name = "l", .mode = S_IFLNK | 0777, .data = "l", .size = 1});
    add_file("l/g", "data", 4);
    refuses("directory cannot be used");
    static char name[300];
    memset(name, 'n', 256);
    add_file(name, "data", 4);
    refuses("too long");
    add_file("x", "data", 5);
    at -= 1; // the padding of the last member may be missing, its data may not
    end();
    refuses("");
}

static void every_truncation_is_refused_or_complete(void **state) {
    add_file("first", "12345", 5);
    add_file("second", "678", 3);
    end();
    size_t whole = at;
    for (size_t n = 0; n <= whole; n++) {
        int err = unpack(n);
        assert_true(err == 0 || err == -EINVAL);
        assert_true(n < whole || err == 0);
        if (err)
            assert_true(fake_log[0]);
        remove_all(mount_root()->root);
        assert_int_equal(fake_pages_used, 0);
    }
}

static void says_when_memory_is_short(void **state) {
    static char data[40 * PAGE_SIZE];
    add_file("big", data, sizeof(data));
    end();
    fake_page_limit = 20;
    assert_int_equal(unpack(at), -ENOMEM);
    assert_non_null(strstr(fake_log, "no memory"));
    fake_page_limit = FAKE_PAGES;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(unpacks_all_kinds, clean),
        cmocka_unit_test_teardown(refuses_damaged_archives, clean),
        cmocka_unit_test_teardown(every_truncation_is_refused_or_complete, clean),
        cmocka_unit_test_teardown(says_when_memory_is_short, clean),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
