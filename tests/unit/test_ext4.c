// link: tests/unit/fs_fakes.c tests/unit/ext4_case.c tests/unit/ext4_host.c fs/ext4/block_alloc.c fs/ext4/buffer.c fs/ext4/checkpoint.c
// link: fs/ext4/commit.c fs/ext4/crc.c fs/ext4/data.c fs/ext4/dir.c fs/ext4/extent.c fs/ext4/fallocate.c fs/ext4/file.c fs/ext4/group.c
// link: fs/ext4/htree.c fs/ext4/indirect.c fs/ext4/inode.c fs/ext4/inode_alloc.c fs/ext4/io.c fs/ext4/ioctl.c fs/ext4/journal.c fs/ext4/list.c fs/ext4/map.c
// link: fs/ext4/namei.c fs/ext4/options.c fs/ext4/orphan.c fs/ext4/recovery.c fs/ext4/super.c fs/ext4/xattr.c fs/cache/pagecache.c fs/cache/map.c fs/cache/drop.c fs/cache/file.c
// link: fs/cache/readahead.c fs/cache/writeback.c fs/cache/reclaim.c fs/cache/inode_table.c fs/blockdev.c fs/blockdev_direct.c fs/blockdev_ioctl.c kernel/blockdev.c kernel/partition.c
// link: fs/dentry.c fs/directory.c fs/inode.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/sync.c fs/path.c fs/pathname.c fs/names.c fs/rename.c fs/seqbuf.c kernel/crc32c.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c kernel/memory/uio.c kernel/memory/reclaim.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* ext4, in memory: random operations against a model on images of all kinds, each then found clean by e2fsck; what a power cut leaves at
 * any moment, replayed here and there; corners of the formats. EXT4_ROUNDS, EXT4_CUTS, EXT4_SEED make it longer or another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/cache/pagecache.h"
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "tests/unit/ext4_case.h"
#include "tests/unit/ext4_host.h"
#include "tests/unit/fs_fakes.h"
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/mount.h>

void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void free(void *p);
int printf(const char *format, ...);

static struct ext4_disk *const vda = &ext4_disks[0], *const vdb = &ext4_disks[1];

static uint64_t seed = 1;
static uint64_t rnd(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}
static unsigned below(unsigned n) { return (unsigned)(rnd() >> 16) % n; }

static const char *const kinds[] = {
    "-t ext4 -b 1024",
    "-t ext4 -b 4096",
    "-t ext2 -b 1024",
    "-t ext3 -b 4096 -J size=4",
    "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg,^64bit",
    "-t ext4 -b 1024 -I 128 -O ^has_journal",
    "-t ext4 -b 2048 -O orphan_file,metadata_csum_seed",
    "-t ext4 -b 1024 -O ^dir_index,^flex_bg -g 1024",
};
#define SIZE (16u << 20)

/* --- The model: files with their contents --- */

#define FILES 24
#define FILE_MAX 300000
#define DIRS 4

struct entry {
    bool exists;
    int target; /* the contents: links share them */
};
struct contents {
    unsigned char *data;
    size_t size;
    int names;
    bool durable; /* as it is it was synced, names and all */
};
static struct entry names[DIRS][FILES];
static struct contents contents[DIRS * FILES];
static const char *base = "/m";

static const char *name_of(const char *at, int dir, int file) {
    static char buffers[4][128];
    static unsigned next;
    char *b = buffers[next++ % 4];
    int n = dir ? snprintf(b, 128, "%s/dir%d/", at, dir) : snprintf(b, 128, "%s/", at);
    snprintf(b + n, 128 - (size_t)n, file % 5 == 4 ? "file%d-with-a-much-longer-name-than-the-others-have" : "file%d",
             file);
    return b;
}

static int new_contents(void) {
    for (int k = 0; k < DIRS * FILES; k++)
        if (contents[k].names == 0) {
            contents[k].size = 0;
            contents[k].durable = false;
            memset(contents[k].data, 0, FILE_MAX);
            return k;
        }
    panic("no contents are left");
}

static void compare_file(const char *name, const struct contents *c) {
    static unsigned char buf[FILE_MAX];
    struct file *f = vfs_open(AT_FDCWD, name, O_RDONLY, 0);
    if (IS_ERR(f))
        fail_msg("%s: open: %ld", name, PTR_ERR(f));
    if (f->inode->size != c->size)
        fail_msg("%s: size %lu instead of %lu", name, (unsigned long)f->inode->size, (unsigned long)c->size);
    int64_t n = file_read_kernel(f, buf, sizeof(buf), 0);
    file_unref(f);
    if (n != (int64_t)c->size)
        fail_msg("%s: read %ld of %lu", name, (long)n, (unsigned long)c->size);
    for (size_t k = 0; k < c->size; k++)
        if (buf[k] != c->data[k])
            fail_msg("%s: byte %lu of %lu is %02x instead of %02x", name, (unsigned long)k, (unsigned long)c->size,
                     buf[k], c->data[k]);
}

static void compare_all(const char *at) {
    for (int d = 0; d < DIRS; d++)
        for (int k = 0; k < FILES; k++)
            if (names[d][k].exists)
                compare_file(name_of(at, d, k), &contents[names[d][k].target]);
}

static bool full; /* ENOSPC is an answer */
static void check(int64_t r, const char *what, const char *name) {
    if (r < 0 && !(full && r == -ENOSPC))
        fail_msg("%s %s: %ld (%s)", what, name, (long)r, fake_log);
}

static void op_create(int d, int k) {
    const char *name = name_of(base, d, k);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL, 0644);
    if (names[d][k].exists) {
        assert_int_equal(PTR_ERR(f), -EEXIST);
        return;
    }
    check(IS_ERR(f) ? PTR_ERR(f) : 0, "create", name);
    if (IS_ERR(f))
        return;
    file_unref(f);
    names[d][k] = (struct entry){true, new_contents()};
    contents[names[d][k].target].names = 1;
}

static void op_write(int d, int k) {
    static unsigned char buf[70000];
    struct contents *c = &contents[names[d][k].target];
    const char *name = name_of(base, d, k);
    size_t len = below(4) ? below(3000) + 1 : below(sizeof(buf)) + 1;
    uint64_t at = below(3) ? c->size : below(FILE_MAX - 1);
    at = MIN(at, (uint64_t)FILE_MAX - 1);
    len = MIN(len, FILE_MAX - at);
    for (size_t n = 0; n < len; n++)
        buf[n] = (unsigned char)(rnd() >> 24);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR, 0);
    check(IS_ERR(f) ? PTR_ERR(f) : 0, "open", name);
    c->durable = false;
    uint64_t pos = at;
    int64_t n = file_write_kernel(f, buf, len, &pos);
    check(n, "write", name);
    if (n > 0) {
        memcpy(c->data + at, buf, (size_t)n);
        c->size = MAX(c->size, at + (uint64_t)n);
    }
    file_unref(f);
}

static void op_truncate(int d, int k) {
    struct contents *c = &contents[names[d][k].target];
    const char *name = name_of(base, d, k);
    size_t size = below(3) ? below((unsigned)c->size + 1) : below(FILE_MAX);
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, name, 0, &p), 0);
    c->durable = false;
    check(vfs_truncate(path_inode(&p), size), "truncate", name);
    path_unref(&p);
    if (size < c->size)
        memset(c->data + size, 0, c->size - size);
    c->size = size;
}

static void op_allocate(int d, int k) {
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE};
    struct contents *c = &contents[names[d][k].target];
    const char *name = name_of(base, d, k);
    int mode = modes[below(4)];
    uint64_t at = below(FILE_MAX - 1), wanted = 1 + below(60000), len = MIN(wanted, FILE_MAX - at);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR, 0);
    c->durable = false;
    int err = f->ops->allocate(f, mode, at, len);
    file_unref(f);
    if (err == -EOPNOTSUPP)
        return;
    check(err, "fallocate", name);
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && at < c->size)
        memset(c->data + at, 0, MIN(len, c->size - at));
    if (err == 0 && !(mode & FALLOC_FL_KEEP_SIZE))
        c->size = MAX(c->size, at + len);
}

static void op_unlink(int d, int k) {
    check(vfs_unlink(AT_FDCWD, name_of(base, d, k), false), "unlink", name_of(base, d, k));
    struct contents *c = &contents[names[d][k].target];
    names[d][k].exists = false;
    c->names--;
    c->durable = false;
}

static void op_rename(int d, int k, int e, int l) {
    struct contents *from = &contents[names[d][k].target],
                    *to = names[e][l].exists ? &contents[names[e][l].target] : NULL;
    unsigned flags = to && below(3) == 0 ? RENAME_EXCHANGE : 0;
    int err = vfs_rename(AT_FDCWD, name_of(base, d, k), AT_FDCWD, name_of(base, e, l), flags);
    check(err, "rename", name_of(base, d, k));
    if (err < 0)
        return;
    from->durable = false;
    if (to)
        to->durable = false;
    if (from == to)
        return;
    struct entry moved = names[d][k];
    if (flags) {
        names[d][k] = names[e][l];
    } else {
        names[d][k].exists = false;
        if (to)
            to->names--;
    }
    names[e][l] = moved;
}

static void op_link(int d, int k, int e, int l) {
    int err = vfs_link(AT_FDCWD, name_of(base, d, k), AT_FDCWD, name_of(base, e, l), 0);
    if (names[e][l].exists) {
        assert_int_equal(err, -EEXIST);
        return;
    }
    check(err, "link", name_of(base, e, l));
    if (err < 0)
        return;
    names[e][l] = names[d][k];
    contents[names[d][k].target].names++;
    contents[names[d][k].target].durable = false;
}

static void op_sync(int d, int k) {
    struct contents *c = &contents[names[d][k].target];
    const char *name = name_of(base, d, k);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR, 0);
    bool data_only = below(2); /* which says nothing about names */
    check(f->ops->fsync(f, data_only), "fsync", name);
    file_unref(f);
    c->durable |= !data_only;
}

static void op_sync_all(void) {
    vfs_sync();
    for (int k = 0; k < DIRS * FILES; k++)
        contents[k].durable = contents[k].names > 0;
}

static void op_temporary(int d) {
    char name[64];
    snprintf(name, sizeof(name), d ? "%s/dir%d" : "%s", base, d);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR | O_TMPFILE, 0600);
    check(IS_ERR(f) ? PTR_ERR(f) : 0, "tmpfile", name);
    if (IS_ERR(f))
        return;
    uint64_t pos = 0;
    (void)file_write_kernel(f, "temporary", 9, &pos);
    file_unref(f);
}

static void op_attributes(int d, int k) {
    struct path p;
    static char value[900];
    char name[64];
    assert_int_equal(path_lookup(AT_FDCWD, name_of(base, d, k), 0, &p), 0);
    struct inode *inode = path_inode(&p);
    snprintf(name, sizeof(name), "user.attribute%u", below(3));
    memset(value, 'a' + (int)below(26), sizeof(value));
    int err = below(3) ? xattr_set(inode, name, value, below(2) ? below(100) : below(sizeof(value)), 0)
                       : xattr_remove(inode, name);
    if (err != -ENOSPC && err != -ENODATA)
        check(err, "xattr", name);
    check(vfs_chmod(inode, 0600 + below(64)), "chmod", name);
    check(vfs_chown(inode, below(100000), below(10)), "chown", name);
    path_unref(&p);
}

static void op_start_writing(int d, int k) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, name_of(base, d, k), 0, &p), 0);
    page_cache_start_sync(path_inode(&p)->cache, 0, ~0ul);
    path_unref(&p);
}

static void op_make_and_remove(int d) {
    char name[80];
    snprintf(name, sizeof(name), d ? "%s/dir%d/sub" : "%s/sub%d", base, d);
    int err = vfs_mkdir(AT_FDCWD, name, 0755);
    check(err, "mkdir", name);
    if (err < 0)
        return;
    char link[100];
    snprintf(link, sizeof(link), "%s/link", name);
    err = vfs_symlink(
        below(2) ? "short" : "a/target/that/is/much/longer/than/what/fits/into/the/inode/itself/and/so/needs/a/block",
        AT_FDCWD, link);
    check(err, "symlink", link);
    if (err == 0)
        check(vfs_unlink(AT_FDCWD, link, false), "unlink", link);
    check(vfs_unlink(AT_FDCWD, name, true), "rmdir", name);
}

static void one_operation(void) {
    int d = (int)below(DIRS), k = (int)below(FILES), e = (int)below(DIRS), l = (int)below(FILES);
    if (!names[d][k].exists) {
        op_create(d, k);
        return;
    }
    switch (below(20)) {
    case 0: op_create(d, k); break;
    case 1 ... 6: op_write(d, k); break;
    case 7: op_truncate(d, k); break;
    case 8: op_allocate(d, k); break;
    case 9 ... 10: op_unlink(d, k); break;
    case 11: op_rename(d, k, e, l); break;
    case 12: op_link(d, k, e, l); break;
    case 13 ... 14: op_sync(d, k); break;
    case 15:
        if (below(4) == 0)
            op_sync_all();
        break;
    case 16: op_temporary(d); break;
    case 17: op_attributes(d, k); break;
    case 18: op_start_writing(d, k); break;
    case 19: op_make_and_remove(d); break;
    }
}

static void model_start(const char *options, bool keep) {
    unsigned char *image = ext4_host_image(SIZE, options);
    if (!image)
        fail_msg("mkfs %s", options);
    ext4_disk_insert(vda, image, SIZE, keep);
    free(image);
    memset(names, 0, sizeof(names));
    for (int k = 0; k < DIRS * FILES; k++) {
        if (!contents[k].data)
            contents[k].data = malloc(FILE_MAX);
        contents[k].names = 0;
    }
    full = false;
    int err = ext4_case_mount(vda, "/m", 0);
    if (err)
        fail_msg("mount %s: %d (%s)", options, err, fake_log);
    for (int d = 1; d < DIRS; d++) {
        char name[32];
        snprintf(name, sizeof(name), "/m/dir%d", d);
        assert_int_equal(vfs_mkdir(AT_FDCWD, name, 0755), 0);
    }
}

static void check_clean(struct ext4_disk *disk, const char *what) {
    if (ext4_host_check(disk->data, disk->size)) {
        ext4_host_save("/tmp/ext4-test-failed.img", disk->data, disk->size);
        fail_msg("e2fsck finds something: %s (/tmp/ext4-test-failed.img)", what);
    }
}

static void random_operations(void **state) {
    unsigned rounds = ext4_host_number("EXT4_ROUNDS", 1), count = ext4_host_number("EXT4_OPERATIONS", 250);
    seed = ext4_host_number("EXT4_SEED", 1) * 0x9e3779b97f4a7c15 | 1;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
            model_start(kinds[kind], false);
            for (unsigned part = 0; part < 2; part++) {
                for (unsigned k = 0; k < count; k++)
                    one_operation();
                compare_all("/m");
                ext4_case_unmount("/m");
                check_clean(vda, kinds[kind]);
                assert_int_equal(ext4_case_mount(vda, "/m", part ? MS_RDONLY : 0), 0);
                compare_all("/m");
            }
            ext4_case_unmount("/m");
        }
    }
}

/* --- Power cuts --- */

static unsigned cuts_made;
static const char *cut_kind;
static unsigned char *cut_image; /* taken in the midst of an operation */
static unsigned long cut_number;
static unsigned writes_to_cut;
static struct entry names_before[DIRS][FILES];
static bool durable_before[DIRS * FILES];

static void maybe_cut(struct ext4_disk *disk) {
    if (cut_image || --writes_to_cut)
        return;
    cut_number = disk->writes;
    cut_image = ext4_disk_cut(disk, rnd);
}

/* What was durable before the operation and is untouched by it. */
static bool must_be_there(int d, int k) {
    const struct entry *before = &names_before[d][k], *now = &names[d][k];
    return before->exists && now->exists && before->target == now->target && durable_before[now->target] &&
           contents[now->target].durable;
}

static void check_cut(unsigned char *image, unsigned long number) {
    ext4_disk_insert(vdb, image, SIZE, false);
    fake_log[0] = 0;
    int err = ext4_case_mount(vdb, "/c", 0);
    if (err) {
        ext4_host_save("/tmp/ext4-test-cut.img", image, SIZE);
        fail_msg("%s: after a cut at write %lu: mount: %d (%s)", cut_kind, number, err, fake_log);
    }
    for (int d = 0; d < DIRS; d++)
        for (int k = 0; k < FILES; k++)
            if (must_be_there(d, k))
                compare_file(name_of("/c", d, k), &contents[names[d][k].target]);
    ext4_case_unmount("/c");
    if (ext4_host_check(vdb->data, SIZE)) {
        ext4_host_save("/tmp/ext4-test-cut.img", image, SIZE);
        fail_msg("%s: after a cut at write %lu e2fsck finds something (/tmp/ext4-test-cut.img)", cut_kind, number);
    }
    if (cuts_made++ % 16 == 0 && ext4_host_check_replayed(image, SIZE))
        fail_msg("%s: after a cut at write %lu e2fsck -p leaves something", cut_kind, number);
    ext4_disk_eject(vdb);
    free(image);
}

static void power_cuts(void **state) {
    static const unsigned which[] = {0, 1, 3, 6, 4};
    unsigned cuts = ext4_host_number("EXT4_CUTS", 14);
    seed = ext4_host_number("EXT4_SEED", 7) * 0x9e3779b97f4a7c15 | 1;
    for (unsigned w = 0; w < ARRAY_SIZE(which); w++) {
        cut_kind = kinds[which[w]];
        model_start(cut_kind, true);
        for (unsigned n = 0; n < cuts;) {
            memcpy(names_before, names, sizeof(names));
            for (int k = 0; k < DIRS * FILES; k++)
                durable_before[k] = contents[k].durable;
            writes_to_cut = 1 + below(200);
            vda->on_write = below(6) ? NULL : maybe_cut;
            one_operation();
            vda->on_write = NULL;
            if (!cut_image && below(8) == 0) { /* between two */
                cut_number = vda->writes;
                cut_image = ext4_disk_cut(vda, rnd);
            }
            unsigned char *image = cut_image;
            cut_image = NULL;
            if (image) {
                n++;
                check_cut(image, cut_number);
            }
        }
        ext4_case_unmount("/m");
        check_clean(vda, cut_kind);
    }
}

/* --- Damaged images: whatever the disk has, there is an answer --- */

static bool seen_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    return true;
}

static void look_at(const char *name) {
    static unsigned char buf[40000];
    static char target[4096];
    struct path p;
    struct vfs_stat st;
    if (path_lookup(AT_FDCWD, name, 0, &p) < 0)
        return;
    vfs_stat_path(&p, &st);
    (void)xattr_list(path_inode(&p), target, sizeof(target));
    (void)xattr_get(path_inode(&p), "user.attribute1", target, sizeof(target));
    if (S_ISLNK(st.mode))
        (void)path_inode(&p)->ops->readlink(path_inode(&p), target, sizeof(target));
    struct file *f = S_ISREG(st.mode) || S_ISDIR(st.mode) ? vfs_open_path(&p, O_RDONLY) : ERR_PTR(-EINVAL);
    if (!IS_ERR(f)) {
        struct dir_context ctx = {.emit = seen_name};
        if (S_ISDIR(st.mode))
            (void)file_iterate(f, &ctx);
        else
            for (unsigned k = 0; k < 4; k++)
                (void)file_read_kernel(f, buf, sizeof(buf), k * st.size / 4);
        file_unref(f);
    }
    path_unref(&p);
}

static void look_and_change(void) {
    char name[100];
    for (int d = 0; d < DIRS; d++) {
        snprintf(name, sizeof(name), d ? "/m/dir%d" : "/m", d);
        look_at(name);
        for (int k = 0; k < FILES; k++)
            look_at(name_of("/m", d, k));
    }
    for (int n = 0; n < 40; n++) {
        static unsigned char buf[20000];
        const char *a = name_of("/m", (int)below(DIRS), (int)below(FILES)),
                   *b = name_of("/m", (int)below(DIRS), (int)below(FILES));
        struct file *f = vfs_open(AT_FDCWD, a, O_RDWR | O_CREAT, 0644);
        if (!IS_ERR(f)) {
            uint64_t pos = below(100000);
            (void)file_write_kernel(f, buf, below(sizeof(buf)), &pos);
            if (below(2))
                (void)vfs_truncate(f->inode, below(50000));
            if (below(4) == 0)
                (void)f->ops->fsync(f, false);
            file_unref(f);
        }
        struct path p;
        if (below(3) == 0 && path_lookup(AT_FDCWD, a, 0, &p) == 0) {
            (void)xattr_set(path_inode(&p), "user.attribute2", buf, below(2000), 0);
            path_unref(&p);
        }
        if (below(3) == 0)
            (void)vfs_rename(AT_FDCWD, a, AT_FDCWD, b, 0);
        if (below(4) == 0)
            (void)vfs_unlink(AT_FDCWD, b, false);
        if (below(8) == 0) {
            snprintf(name, sizeof(name), "/m/dir%u", below(DIRS));
            (void)vfs_unlink(AT_FDCWD, name, true);
        }
    }
}

static void damaged(void **state) {
    static const unsigned which[] = {2, 4, 5, 7, 0};
    unsigned count = ext4_host_number("EXT4_DAMAGES", 25), mounted = 0;
    seed = ext4_host_number("EXT4_SEED", 5) * 0x9e3779b97f4a7c15 | 1;
    for (unsigned w = 0; w < ARRAY_SIZE(which); w++) {
        model_start(kinds[which[w]], true);
        for (unsigned k = 0; k < 300; k++)
            one_operation();
        op_sync_all();
        unsigned char *live = malloc(SIZE), *good = malloc(SIZE), *bad = malloc(SIZE);
        memcpy(live, vda->durable, SIZE); /* with something in the journal */
        ext4_case_unmount("/m");
        memcpy(good, vda->data, SIZE);
        for (unsigned n = 0; n < count; n++) {
            memcpy(bad, n % 4 ? good : live, SIZE);
            for (unsigned hits = 1 + below(12); hits;) {
                size_t at = below(4) ? below(SIZE / 16) : below(SIZE);
                if (bad[at] == 0 && below(20))
                    continue;
                bad[at] = below(2) ? (unsigned char)rnd() : bad[at] ^ (unsigned char)(1 << below(8));
                hits--;
            }
            ext4_disk_insert(vda, bad, SIZE, false);
            if (ext4_host_number("EXT4_SAVE", 0))
                ext4_host_save("/tmp/ext4-test-bad.img", bad, SIZE);
            if (ext4_case_mount(vda, "/m", 0) < 0)
                continue;
            mounted++;
            look_and_change();
            ext4_case_unmount("/m");
        }
        free(live);
        free(good);
        free(bad);
    }
    assert_true(mounted > count);
}

/* --- A disk that fails --- */

static void failing(void **state) {
    seed = 11;
    for (unsigned n = 0; n < 24; n++) {
        model_start(kinds[n % ARRAY_SIZE(kinds)], false);
        for (unsigned k = 0; k < 60; k++)
            one_operation();
        vda->fail_after = (long)(vda->writes + below(60));
        look_and_change();
        struct file *f = vfs_open(AT_FDCWD, "/m/dir1", O_RDONLY, 0);
        if (!IS_ERR(f)) {
            vfs_sync();
            file_unref(f);
        }
        ext4_case_unmount("/m");
    }
}

/* --- A directory that grows while it is listed: each name that was there comes once --- */

#define MANY 1500
static unsigned char times_seen[2 * MANY];
static unsigned room;
static bool count_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type,
                       int64_t off) {
    unsigned n = 0;
    if (name[0] != 'n')
        return true;
    if (room == 0)
        return false;
    room--;
    for (size_t k = 1; k < len && name[k] >= '0' && name[k] <= '9'; k++)
        n = n * 10 + (unsigned)(name[k] - '0');
    assert_true(n < 2 * MANY);
    times_seen[n]++;
    return true;
}

static void make_name(unsigned n) {
    char name[64];
    snprintf(name, sizeof(name), "/m/dir1/n%u-and-more-of-it", n);
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR | O_CREAT | O_EXCL, 0644);
    assert_false(IS_ERR(f));
    file_unref(f);
}

static void listing(void **state) {
    for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind += kind ? 2 : 1) {
        model_start(kinds[kind], false);
        unsigned start = kind % 2 ? 8 : MANY / 2, made = start;
        for (unsigned n = 0; n < start; n++)
            make_name(n);
        memset(times_seen, 0, sizeof(times_seen));
        struct file *f = vfs_open(AT_FDCWD, "/m/dir1", O_RDONLY, 0);
        struct dir_context ctx = {.emit = count_name};
        for (unsigned round = 0; round < 2000; round++) {
            int64_t before = ctx.pos;
            room = 5;
            assert_int_equal(f->ops->iterate(f, &ctx), 0);
            if (room == 5 && ctx.pos == before)
                break;
            for (unsigned k = 0; k < 6 && made < start + 600; k++)
                make_name(made++);
        }
        file_unref(f);
        for (unsigned n = 0; n < made; n++) {
            char name[64];
            if (times_seen[n] > 1 || (n < start && times_seen[n] == 0))
                fail_msg("%s: name %u of %u (%u at first) was listed %u times", kinds[kind], n, made, start,
                         times_seen[n]);
            snprintf(name, sizeof(name), "/m/dir1/n%u-and-more-of-it", n);
            assert_int_equal(vfs_unlink(AT_FDCWD, name, false), 0);
        }
        ext4_case_unmount("/m");
        check_clean(vda, kinds[kind]);
    }
}

static int start(void **state) {
    ext4_case_start();
    return 0;
}
static int stop(void **state) {
    ext4_disk_eject(vda);
    ext4_disk_eject(vdb);
    ext4_host_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations), cmocka_unit_test(power_cuts), cmocka_unit_test(damaged),
        cmocka_unit_test(failing),           cmocka_unit_test(listing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
