// link: tests/unit/fs_fakes.c tests/unit/erofs_case.c tests/unit/erofs_host.c fs/erofs/data.c fs/erofs/dir.c fs/erofs/image.c fs/erofs/inode.c
// link: fs/erofs/map.c fs/erofs/super.c fs/erofs/xattr.c fs/cache/pagecache.c fs/cache/map.c fs/cache/drop.c fs/cache/file.c fs/cache/readahead.c fs/cache/writeback.c
// link: fs/cache/reclaim.c fs/cache/inode_table.c fs/blockdev.c fs/blockdev_direct.c fs/blockdev_ioctl.c kernel/blockdev.c kernel/partition.c
// link: fs/dentry.c fs/directory.c fs/inode.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c fs/seqbuf.c kernel/crc32c.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c kernel/memory/uio.c kernel/memory/reclaim.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* EROFS: whole trees of images that mkfs.erofs makes of a directory are compared with it, on a disk and in memory; what is read for a
 * lookup and for a file; images and disks that are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/cache/pagecache.h"
#include "fs/erofs/format.h"
#include "fs/internal.h"
#include "kernel/crc32c.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "tests/unit/erofs_case.h"
#include "tests/unit/erofs_host.h"
#include "tests/unit/fs_fakes.h"
#include <linux/fs.h> // SEEK_SET

#define FIXED_TIME 1234567890

static int start(void **state) {
    fake_start();
    vfs_mkdir(AT_FDCWD, "/m", 0755);
    return 0;
}

static int finish(void **state) {
    host_remove();
    return 0;
}

// --- What the reader shows, as host_list writes it ---

struct names {
    struct dir_context ctx;
    char names[1500][256];
    int64_t at[1500];
    unsigned count, directories, most;
};

static bool add_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct names *n = container_of(ctx, struct names, ctx);
    if (n->most && n->count == n->most)
        return false;
    n->directories += type == S_IFDIR >> 12;
    assert_true(n->count < ARRAY_SIZE(n->names) && len < sizeof(n->names[0]));
    memcpy(n->names[n->count], name, len);
    n->names[n->count][len] = 0;
    n->at[n->count++] = off;
    return true;
}

static struct names *list_directory(const char *path) {
    struct names *n = kzalloc(sizeof(*n));
    n->ctx.emit = add_name;
    struct file *f = vfs_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    assert_false(IS_ERR(f));
    assert_int_equal(file_iterate(f, &n->ctx), 0);
    file_unref(f);
    return n;
}

static void list_attributes(struct text *t, struct inode *inode) {
    char names[4096];
    static char value[65536];
    const char *sorted[64];
    unsigned count = 0;
    long n = xattr_list(inode, names, sizeof(names));
    assert_true(n >= 0);
    for (const char *at = names; at < names + n; at += strlen(at) + 1) {
        unsigned i = count++;
        for (; i && strcmp(sorted[i - 1], at) > 0; i--)
            sorted[i] = sorted[i - 1];
        sorted[i] = at;
    }
    for (unsigned i = 0; i < count; i++) {
        long size = xattr_get(inode, sorted[i], value, sizeof(value));
        assert_int_equal(xattr_get(inode, sorted[i], NULL, 0), size);
        assert_int_equal(size > 0 ? xattr_get(inode, sorted[i], value + 60000, 0) : -ERANGE, -ERANGE);
        text_add(t, " %s=%ld:%lx", sorted[i], size, text_hash(0, value, (size_t)size));
    }
}

static void list_content(struct text *t, const char *path, struct inode *inode) {
    static char buf[65536];
    if (S_ISLNK(inode->mode)) {
        long n = inode->ops->readlink(inode, buf, sizeof(buf));
        text_add(t, " -> %lx", text_hash(0, buf, (size_t)n));
    }
    if (S_ISREG(inode->mode)) {
        unsigned long h = 0;
        int64_t n;
        uint64_t pos = 0;
        struct file *f = vfs_open(AT_FDCWD, path, O_RDONLY, 0);
        assert_false(IS_ERR(f));
        while ((n = file_read_kernel(f, buf, sizeof(buf), pos)) > 0) {
            h = text_hash(h, buf, (size_t)n);
            pos += (uint64_t)n;
        }
        assert_int_equal(n, 0);
        file_unref(f);
        text_add(t, " %lx", h);
    }
}

static void list_one(struct text *t, const char *name) {
    struct path p;
    struct vfs_stat st;
    char path[4096];
    snprintf(path, sizeof(path), "/m%s", name);
    assert_int_equal(path_lookup(AT_FDCWD, path, 0, &p), 0);
    vfs_stat_path(&p, &st);
    struct names *below = S_ISDIR(st.mode) ? list_directory(path) : NULL;
    int64_t seconds = st.mtime / NSEC_PER_SEC - (st.mtime % NSEC_PER_SEC < 0);
    text_add(t, "%s mode %o links %u owner %u:%u time %ld.%09ld", *name ? name : "/", st.mode,
             below ? below->directories : st.nlink, st.uid, st.gid, (long)seconds,
             (long)(st.mtime - seconds * NSEC_PER_SEC));
    if (S_ISREG(st.mode) || S_ISLNK(st.mode)) {
        text_add(t, " size %ld", st.size);
        assert_int_equal(st.blocks, ALIGN_UP(st.size, PAGE_SIZE) / 512);
    }
    if (S_ISCHR(st.mode) || S_ISBLK(st.mode))
        text_add(t, " device %u:%u", DEV_MAJOR(st.rdev), DEV_MINOR(st.rdev));
    if (below)
        assert_int_equal(st.nlink, below->directories);
    assert_int_equal(st.dev, MAKE_DEV(254, 0));
    list_content(t, path, path_inode(&p));
    list_attributes(t, path_inode(&p));
    text_add(t, "\n");
    for (unsigned i = 0; below && i < below->count; i++) {
        char next[4096];
        if (strcmp(below->names[i], ".") == 0 || strcmp(below->names[i], "..") == 0)
            continue;
        snprintf(next, sizeof(next), "%s/%s", name, below->names[i]);
        list_one(t, next);
    }
    kfree(below);
    path_unref(&p);
}

static void compare_trees(const char *what, long time) {
    struct text want = {0}, got = {0};
    host_list(&want, host_tree(), time);
    assert_int_equal(erofs_case_attach("/m"), 0);
    list_one(&got, "");
    erofs_case_detach("/m");
    const char *difference = first_difference(&want, &got);
    if (difference)
        fail_msg("%s: on the host, and here:\n%s", what, difference);
    host_free(want.data);
    host_free(got.data);
}

static unsigned char *image;
static size_t image_size;

static void use_image(const char *directory, const char *options) {
    host_free(image);
    image = host_image(directory, options, &image_size);
    if (!image)
        fail_msg("mkfs.erofs %s fails", options);
    erofs_disk_set(image, image_size, false);
}

static void test_trees(void **state) {
    static const struct {
        const char *options;
        long time;
    } images[] = {
        {"-Eforce-inode-extended", -1},
        {"--preserve-mtime", -1},
        {"-T1234567890", FIXED_TIME},
        {"-T1234567890 -Enoinline_data -x1", FIXED_TIME},
        {"--preserve-mtime --chunksize=4096", -1},
        {"-T1234567890 --chunksize=16384", FIXED_TIME},
        {"--preserve-mtime --chunksize=8192 -Eforce-chunk-indexes", -1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        use_image(host_tree(), images[i].options);
        for (int in_memory = 0; in_memory < 2; in_memory++) {
            erofs_disk_set(image, image_size, in_memory);
            erofs_disk.later = i % 2;
            erofs_disk.block_size = i == 2 ? 4096 : 512;
            if (i == 3)
                erofs_disk.segments_max = 1;
            compare_trees(images[i].options, images[i].time);
        }
    }
}

// --- What is read ---

static void test_lookup_cost(void **state) {
    static char path[64];
    struct path p;
    use_image(host_large_directory(5000), "-T1");
    assert_int_equal(erofs_case_attach("/m"), 0);
    unsigned long worst = 0, most = 0;
    for (unsigned i = 0; i < 5000; i += 61) {
        erofs_case_detach("/m"); // nothing of it is in memory any more
        assert_int_equal(erofs_case_attach("/m"), 0);
        unsigned long before = erofs_disk.requests, bytes = erofs_disk.bytes;
        snprintf(path, sizeof(path), "/m/entry-%05u", i);
        assert_int_equal(path_lookup(AT_FDCWD, path, 0, &p), 0);
        path_unref(&p);
        worst = MAX(worst, erofs_disk.requests - before);
        most = MAX(most, erofs_disk.bytes - bytes);
    }
    assert_true(worst <= 7); // of some 37 blocks: log2, the inode
    assert_true(most <= worst * 4 * PAGE_SIZE); // neighbours come along, no more
    assert_int_equal(path_lookup(AT_FDCWD, "/m/entry-04999x", 0, &p), -ENOENT);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/ ", 0, &p), -ENOENT);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/~", 0, &p), -ENOENT);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/entry-02500", 0, &p), 0);
    path_unref(&p);
    erofs_case_detach("/m");
}

// A listing in pieces, from positions that were seen before, and from nowhere.
static void test_positions(void **state) {
    use_image(host_tree(), "-T1");
    assert_int_equal(erofs_case_attach("/m"), 0);
    struct names *all = list_directory("/m/many"), *some = kzalloc(sizeof(*some));
    struct file *f = vfs_open(AT_FDCWD, "/m/many", O_RDONLY | O_DIRECTORY, 0);
    assert_int_equal(all->count, 1203);
    some->ctx.emit = add_name;
    some->most = 7;
    for (unsigned i = 0; i < all->count; i += some->count) {
        some->count = 0;
        assert_int_equal(file_iterate(f, &some->ctx), 0);
        assert_true(some->count == MIN(7u, all->count - i));
        for (unsigned j = 0; j < some->count; j++)
            assert_string_equal(some->names[j], all->names[i + j]);
    }
    for (unsigned i = 0; i + 1 < all->count; i += 97) {
        some->count = 0;
        assert_int_equal(file_seek(f, all->at[i], SEEK_SET), all->at[i]);
        assert_int_equal(file_iterate(f, &some->ctx), 0);
        assert_string_equal(some->names[0], all->names[i + 1]);
    }
    for (int64_t pos = 0; pos < 80000; pos += 1001) { // in the middle of names
        some->count = 0;
        assert_int_equal(file_seek(f, pos, SEEK_SET), pos);
        assert_int_equal(file_iterate(f, &some->ctx), 0);
    }
    assert_int_equal(some->count, 0);
    assert_int_equal(file_read_kernel(f, some->names, 10, 0), -EISDIR);
    file_unref(f);
    kfree(all);
    kfree(some);
    erofs_case_detach("/m");
}

static void test_failing_disk(void **state) {
    struct path p;
    char buf[100];
    use_image(host_tree(), "-T1");
    erofs_disk.fail_after = 0;
    assert_int_equal(erofs_case_attach("/m"), -EIO);
    erofs_disk.fail_after = -1;
    assert_int_equal(erofs_case_attach("/m"), 0);
    struct file *f = vfs_open(AT_FDCWD, "/m/sizes/1000003", O_RDONLY, 0);
    assert_false(IS_ERR(f));
    erofs_disk.fail_after = 0;
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf), 500000), -EIO);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/many/a1", 0, &p), -EIO);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/many/nnn", 0, &p), -EIO);
    erofs_disk.fail_after = -1; // and it is well again
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf), 500000), sizeof(buf));
    assert_int_equal(path_lookup(AT_FDCWD, "/m/many/nnn", 0, &p), -ENOENT);
    file_unref(f);
    erofs_case_detach("/m");
}

// --- Images that are not mounted ---

static struct erofs_super *super(void) { return (struct erofs_super *)(image + EROFS_SUPER_OFFSET); }

static void checksum(void) {
    super()->checksum = 0;
    super()->checksum = crc32c(~0u, image + EROFS_SUPER_OFFSET, PAGE_SIZE - EROFS_SUPER_OFFSET);
}

static void refused(int err, const char *message) {
    fake_log[0] = 0;
    struct superblock *sb = erofs_case_mount(NULL);
    assert_true(IS_ERR(sb));
    assert_int_equal(PTR_ERR(sb), err);
    assert_non_null(strstr(fake_log, message));
}

static void test_refused(void **state) {
    static const struct {
        uint32_t bit;
        const char *message;
    } features[] = {{EROFS_INCOMPAT_COMPRESSION, "compressed"},    {EROFS_INCOMPAT_DEVICES, "device table"},
                    {EROFS_INCOMPAT_TAIL_PACKING, "packed tails"}, {EROFS_INCOMPAT_FRAGMENTS, "fragments"},
                    {EROFS_INCOMPAT_XATTR_PREFIXES, "prefixes"},   {EROFS_INCOMPAT_48BIT, "48 bits"},
                    {EROFS_INCOMPAT_METABOX, "metabox"},           {0x80000000, "not known"}};
    use_image(host_tree(), "-T1");
    struct erofs_super good = *super();
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        super()->incompatible |= features[i].bit;
        checksum();
        refused(-EINVAL, features[i].message);
        *super() = good;
    }
    image[EROFS_SUPER_OFFSET + 1000] ^= 1;
    refused(-EBADMSG, "checksum");
    super()->compatible &= ~EROFS_COMPAT_CHECKSUM; // then nobody looks
    assert_int_equal(erofs_case_attach("/m"), 0);
    erofs_case_detach("/m");
    image[EROFS_SUPER_OFFSET + 1000] ^= 1;

    *super() = good;
    super()->magic++;
    refused(-EINVAL, "no EROFS image");
    *super() = good;
    super()->block_bits = 16;
    refused(-EINVAL, "blocks");
    *super() = good;
    super()->dir_block_bits = 1;
    checksum();
    refused(-EINVAL, "large blocks");
    *super() = good;
    super()->meta_block = 1 << 24;
    checksum();
    refused(-EINVAL, "outside");
    *super() = good;
    super()->root_nid++;
    checksum();
    assert_true(IS_ERR(erofs_case_mount(NULL)));
    *super() = good;
    erofs_disk.size = 512;
    assert_true(IS_ERR(erofs_case_mount(NULL)));
    erofs_disk.size = image_size;
    assert_int_equal(PTR_ERR(erofs_case_mount("user_xattr,nonsense")), -EINVAL);
    struct superblock *sb = erofs_case_mount("user_xattr,,acl");
    assert_false(IS_ERR(sb));
    superblock_unref(sb);
    use_image(host_tree(), "-T1 -zlz4");
    refused(-EINVAL, "compressed");
}

// Random damage of everything but the superblock: whatever is asked, there is an answer, and nothing is left behind.
static void test_damage(void **state) {
    use_image(host_tree(), "-T1");
    unsigned char *good = kmalloc(image_size);
    memcpy(good, image, image_size);
    super()->compatible &= ~EROFS_COMPAT_CHECKSUM;
    for (unsigned round = 0; round < 150; round++) {
        size_t dense = EROFS_SUPER_OFFSET + sizeof(struct erofs_super); // metadata begin here
        for (unsigned i = 0; i < 1 + round; i++)
            image[dense + fake_random() % (round % 2 ? image_size - dense : 60000)] ^= 1u << fake_random() % 8;
        erofs_disk.in_memory = round % 3 == 0;
        if (erofs_case_attach("/m") == 0) {
            erofs_case_wander("/m");
            erofs_case_detach("/m");
        }
        memcpy(image + dense, good + dense, image_size - dense);
    }
    kfree(good);
}

// What the fuzzer found worth keeping (tests/fuzz).
static void test_corpus(void **state) {
    unsigned count = 0;
    size_t size;
    for (unsigned char *data; (data = host_file("tests/fuzz/corpus/erofs", count, &size)); count++) {
        erofs_case_fuzz(data, size);
        host_free(data);
    }
    assert_true(count > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_trees, start),     cmocka_unit_test_setup(test_lookup_cost, start),
        cmocka_unit_test_setup(test_positions, start), cmocka_unit_test_setup(test_failing_disk, start),
        cmocka_unit_test_setup(test_refused, start),   cmocka_unit_test_setup(test_damage, start),
        cmocka_unit_test_setup(test_corpus, start),
    };
    return cmocka_run_group_tests(tests, NULL, finish);
}
