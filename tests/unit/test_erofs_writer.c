// link: tools/archive.c tools/common.c tools/erofs/directory.c tools/erofs/entries.c tools/erofs/layout.c tools/erofs/reader.c tools/erofs/tar.c tools/erofs/tree.c tools/erofs/write.c tools/erofs/xattr.c
/*
 * The writer of EROFS images: where it puts things, what layers do to each other, that the order in which files are found means
 * nothing; and the host's reader, on good images and on damaged ones.
 */
#include <setjmp.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/erofs/format.h"
#include "tools/erofs/reader.h"
#include "tools/erofs/tree.h"

enum { DIR = S_IFDIR | 0755, FILE_ = S_IFREG | 0644, LINK = S_IFLNK | 0777 };

/* Puts an inode at a path, as the archives' reader does. Files have no bytes here, only a size. */
static struct inode *put(struct erofs_tree *tree, const char *path, uint32_t mode, uint64_t size) {
    const char *name;
    struct node *dir = tree_directory(tree, path, true, &name);
    struct inode *inode = inode_new(mode);

    assert_non_null(dir);
    inode->size = size;
    node_put(tree, dir, name, inode);
    return inode;
}

static void put_link(struct erofs_tree *tree, const char *path, const char *target) {
    put(tree, path, LINK, strlen(target))->link = xstrdup(target);
}

static struct erofs_image packed(struct erofs_tree *tree) {
    struct erofs_image image;
    int fd = memfd_create("image", MFD_CLOEXEC);

    uint64_t size = erofs_layout(tree);
    erofs_write(tree, fd, 0, "image");
    assert_null(erofs_open(&image, fd));
    assert_int_equal(image.size, size);
    return image;
}

static bool exists(struct erofs_tree *tree, const char *path) { return tree_node_find(tree, path) != NULL; }

/* --- Where things lie --- */

static void inodes_are_compact_where_that_is_enough(void **state) {
    struct erofs_tree *tree = erofs_tree_new();
    struct inode *plain = put(tree, "plain", FILE_, 10), *late = put(tree, "late", FILE_, 10);
    struct inode *nano = put(tree, "nano", FILE_, 10), *owner = put(tree, "owner", FILE_, 10);
    struct inode *most = put(tree, "most", FILE_, 10), *large = put(tree, "large", FILE_, 1ull << 32);
    struct inode *below = put(tree, "below", FILE_, (1ull << 32) - 1);

    late->mtime = 5;
    nano->mtime_nsec = 1;
    owner->uid = 65536;
    most->gid = 65535;
    unsetenv("SOURCE_DATE_EPOCH");
    erofs_layout(tree);
    assert_false(plain->extended || most->extended || below->extended);
    assert_true(late->extended && nano->extended && owner->extended && large->extended);
    erofs_tree_free(tree);

    tree = erofs_tree_new();
    plain = put(tree, "plain", FILE_, 10);
    setenv("SOURCE_DATE_EPOCH", "1", 1);
    erofs_layout(tree);
    assert_true(plain->extended);
    unsetenv("SOURCE_DATE_EPOCH");
    erofs_tree_free(tree);
}

static void tails_do_not_cross_blocks_and_data_is_on_pages(void **state) {
    struct erofs_tree *tree = erofs_tree_new();
    uint64_t last = 0;

    for (unsigned i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        put(tree, name, FILE_, i * 7 % 9000);
    }
    erofs_layout(tree);
    for (size_t i = 0; i < tree->inode_count; i++) {
        const struct inode *inode = tree->inodes[i];
        uint64_t start = inode->position, end = start + (inode->extended ? 64 : 32) + inode->tail;
        assert_int_equal(start % 32, 0);
        assert_int_equal(start / EROFS_BLOCK, (end - 1) / EROFS_BLOCK);
        assert_true(end <= tree->meta_blocks * EROFS_BLOCK);
        assert_int_equal(inode->size,
                         inode->tail ? inode->size / EROFS_BLOCK * EROFS_BLOCK + inode->tail : inode->size);
        assert_int_equal(inode->blocks, (inode->size - inode->tail + EROFS_BLOCK - 1) / EROFS_BLOCK);
        if (inode->blocks > 0 && S_ISREG(inode->mode)) {
            assert_true(inode->block >= tree->entry_blocks && inode->block >= last);
            last = inode->block + inode->blocks;
        }
    }
    assert_int_equal(last, tree->blocks);
    assert_true(tree->inodes[0] == tree->root->inode && tree->root->inode->position < 65536 * 32);
    erofs_tree_free(tree);
}

static void holes_take_no_room(void **state) {
    struct erofs_tree *tree = erofs_tree_new();
    struct inode *inode = put(tree, "sparse", FILE_, 5ull << 30);
    struct extent extents[] = {{0, 5}, {1 << 20, 4096}, {(5ull << 30) - 1, 1}};
    struct erofs_file file;
    char byte = 1;

    inode->sparse = true;
    inode->extent_count = 3;
    inode->extents = xmalloc(sizeof(extents));
    memcpy(inode->extents, extents, sizeof(extents));
    struct erofs_image image = packed(tree);
    assert_true(tree->chunked && inode->chunk_count <= 4096 && inode->chunk_count > 2000);
    assert_true(image.size < 8 << 20);
    assert_true(erofs_lookup(&image, "/sparse", &file) && file.size == 5ull << 30);
    assert_int_equal(erofs_read(&image, &file, &byte, 1, 3ull << 30), 1);
    assert_int_equal(byte, 0);
    assert_int_equal(erofs_read(&image, &file, &byte, 2, (5ull << 30) - 1), 1);
    close(image.fd);
    erofs_tree_free(tree);
}

static void attributes_that_several_have_lie_once(void **state) {
    struct erofs_tree *tree = erofs_tree_new();
    struct inode *a = put(tree, "a", FILE_, 0), *b = put(tree, "b", FILE_, 0);

    inode_set_xattr(tree, a, "a", "user.same", "value", 5);
    inode_set_xattr(tree, b, "b", "user.same", "value", 5);
    inode_set_xattr(tree, b, "b", "user.own", "x", 1);
    inode_set_xattr(tree, b, "b", "user.own", "longer", 6); /* replaces */
    inode_set_xattr(tree, b, "b", "unknown.name", "x", 1);
    inode_set_xattr(tree, b, "b", "security.selinux", "x", 1);
    assert_int_equal(b->xattr_count, 2);
    assert_int_equal(inode_xattr_size(a), 12 + 4);
    assert_int_equal(inode_xattr_size(b), 12 + 4 + 4 + 12);
    erofs_layout(tree);
    assert_int_equal(tree->xattr_end - tree->xattr_start, 4 + 12);
    erofs_tree_free(tree);
}

/* --- The same input, the same bytes --- */

static char *bytes_of(const int *order, size_t count, uint64_t *size) {
    struct erofs_tree *tree = erofs_tree_new();

    for (size_t i = 0; i < count; i++) {
        char path[32];
        snprintf(path, sizeof(path), "%c/%d", 'a' + order[i] % 5, order[i]);
        struct inode *inode = put(tree, path, FILE_, (uint64_t)order[i] * 100);
        inode->mtime = order[i] % 3;
        inode_set_xattr(tree, inode, path, "user.x", order[i] % 2 ? "odd" : "even", 3);
        inode_set_xattr(tree, inode, path, order[i] % 2 ? "user.a" : "user.z", "v", 1);
    }
    struct erofs_image image = packed(tree);
    char *bytes = xmalloc(image.size);
    assert_int_equal(pread(image.fd, bytes, image.size, 0), image.size);
    *size = image.size;
    close(image.fd);
    erofs_tree_free(tree);
    return bytes;
}

static void the_order_of_finding_means_nothing(void **state) {
    enum { COUNT = 500 };
    int up[COUNT], mixed[COUNT];
    uint64_t sizes[2];

    for (int i = 0; i < COUNT; i++) {
        up[i] = i;
        mixed[i] = i * 7 % COUNT;
    }
    char *first = bytes_of(up, COUNT, &sizes[0]), *second = bytes_of(mixed, COUNT, &sizes[1]);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(first, second, sizes[0]);
    free(first);
    free(second);
}

/* --- Layers --- */

static void hiding_spares_the_own_layer(void **state) {
    struct erofs_tree *tree = erofs_tree_new();

    tree->layer = 1;
    put(tree, "d/old", FILE_, 0);
    put(tree, "d/s/old", FILE_, 0);
    put(tree, "e/old", FILE_, 0);
    tree->layer = 2;
    put(tree, "d/s/new", FILE_, 0);
    put(tree, "d", DIR, 0);
    node_hide(tree, tree_node_find(tree, "d"), true);
    assert_true(exists(tree, "d") && exists(tree, "d/s/new"));
    assert_false(exists(tree, "d/old") || exists(tree, "d/s/old"));
    node_hide(tree, tree_node_find(tree, "e"), false);
    assert_false(exists(tree, "e"));
    erofs_tree_free(tree);
}

static void links_keep_what_is_hidden(void **state) {
    struct erofs_tree *tree = erofs_tree_new();

    tree->layer = 1;
    struct inode *inode = put(tree, "a", FILE_, 7);
    tree->layer = 2;
    node_put(tree, tree->root, "b", inode);
    assert_int_equal(inode->nlink, 2);
    node_put(tree, tree->root, "b", inode); /* once more */
    assert_int_equal(inode->nlink, 2);
    node_hide(tree, tree_node_find(tree, "a"), false);
    assert_int_equal(inode->nlink, 1);
    struct erofs_image image = packed(tree);
    struct erofs_file file;
    assert_true(erofs_lookup(&image, "b", &file) && file.size == 7);
    assert_false(erofs_lookup(&image, "a", &file));
    close(image.fd);
    erofs_tree_free(tree);
}

static void files_and_directories_take_each_others_place(void **state) {
    struct erofs_tree *tree = erofs_tree_new();
    const char *name;

    tree->layer = 1;
    put(tree, "x/y/z", FILE_, 0);
    put(tree, "f", FILE_, 0);
    assert_null(tree_directory(tree, "f/below", true, &name)); /* of the same layer: a mistake */
    tree->layer = 2;
    put(tree, "x", FILE_, 0);
    assert_false(exists(tree, "x/y"));
    put(tree, "f/below", FILE_, 0);
    assert_true(exists(tree, "f/below"));
    put_link(tree, "loop", "loop");
    assert_null(tree_directory(tree, "loop/a", true, &name));
    put_link(tree, "up", "../../f");
    put(tree, "up/other", FILE_, 0);
    assert_true(exists(tree, "f/other"));
    erofs_tree_free(tree);
}

/* --- Reading --- */

static struct erofs_tree *small_tree(void) {
    struct erofs_tree *tree = erofs_tree_new();

    for (unsigned i = 0; i < 400; i++) {
        char path[300];
        snprintf(path, sizeof(path), "many/%0*u", 1 + (int)(i % 200), i);
        put(tree, path, FILE_, i * 40);
    }
    put(tree, "usr/bin/prog", FILE_ | 0111, 5000)->mtime = 77;
    put_link(tree, "bin", "usr/bin");
    put_link(tree, "usr/abs", "/bin");
    put_link(tree, "loop", "loop");
    put_link(tree, "bad", "nowhere/at/all");
    return tree;
}

static void lookups_go_where_the_guest_goes(void **state) {
    struct erofs_tree *tree = small_tree();
    struct erofs_image image = packed(tree);
    struct erofs_file file;
    static const struct {
        const char *path;
        int error;
    } cases[] = {{"/bin/prog", 0},
                 {"//usr/./abs/../bin//prog", 0},
                 {"/loop", ELOOP},
                 {"/bad", ENOENT},
                 {"/bin/prog/x", ENOTDIR},
                 {"/none/x", ENOENT},
                 {"/", 0},
                 {"/../../bin", 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        errno = 0;
        assert_int_equal(erofs_lookup(&image, cases[i].path, &file), cases[i].error == 0);
        assert_int_equal(errno, cases[i].error);
    }
    for (unsigned i = 0; i < 400; i++) {
        char path[300];
        snprintf(path, sizeof(path), "/many/%0*u", 1 + (int)(i % 200), i);
        assert_true(erofs_lookup(&image, path, &file) && file.size == i * 40);
    }
    close(image.fd);
    erofs_tree_free(tree);
}

static void damaged_images_are_errors(void **state) {
    struct erofs_tree *tree = small_tree();
    struct erofs_image image = packed(tree);
    size_t meta = tree->entry_blocks * EROFS_BLOCK;
    uint64_t random = 1;
    char *bytes = mmap(NULL, meta, PROT_READ | PROT_WRITE, MAP_SHARED, image.fd, 0), data[9000];

    assert_ptr_not_equal(bytes, MAP_FAILED);
    for (int turn = 0; turn < 20000; turn++) {
        size_t at[4];
        char old[4];
        for (int i = 0; i < 4; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            at[i] = i == 0 ? 1024 + (random >> 33) % 3072 : (random >> 33) % meta;
            old[i] = bytes[at[i]];
            bytes[at[i]] = (char)(random >> 25);
        }
        struct erofs_image damaged;
        struct erofs_file file;
        if (!erofs_open(&damaged, image.fd) && erofs_lookup(&damaged, "/usr/abs/prog", &file))
            erofs_read(&damaged, &file, data, sizeof(data), turn % 3 * 1000);
        for (int i = 3; i >= 0; i--)
            bytes[at[i]] = old[i];
    }
    munmap(bytes, meta);
    close(image.fd);
    erofs_tree_free(tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inodes_are_compact_where_that_is_enough),
        cmocka_unit_test(tails_do_not_cross_blocks_and_data_is_on_pages),
        cmocka_unit_test(holes_take_no_room),
        cmocka_unit_test(attributes_that_several_have_lie_once),
        cmocka_unit_test(the_order_of_finding_means_nothing),
        cmocka_unit_test(hiding_spares_the_own_layer),
        cmocka_unit_test(links_keep_what_is_hidden),
        cmocka_unit_test(files_and_directories_take_each_others_place),
        cmocka_unit_test(lookups_go_where_the_guest_goes),
        cmocka_unit_test(damaged_images_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
