/* libFuzzer on ext2, ext3 and ext4: an input is the choice of an image that mke2fs made and the file system itself has filled, and changes
 * to bytes of it that are not zero. It is mounted (its journal replayed), looked at, changed and unmounted: whatever the bytes are, there
 * is an answer. The images have no checksums: damage would not come past them. */
#include "fs/internal.h"
#include "fs/cache/pagecache.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "tests/unit/ext4_case.h"
#include "tests/unit/ext4_host.h"
#include "tests/unit/fs_fakes.h"
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/mount.h>

void *malloc(size_t n);
void free(void *p);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE (4u << 20)
#define UNIT 16
static const char *const kinds[] = {
    "-t ext4 -b 1024 -O ^metadata_csum,^resize_inode -N 128",
    "-t ext2 -b 1024 -I 128 -N 128",
    "-t ext4 -b 4096 -O ^has_journal,^metadata_csum,^resize_inode -N 128",
    "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg,orphan_file,^resize_inode -N 128",
};
static struct image {
    unsigned char *data; /* as after a power cut */
    uint32_t *units;     /* that are not zero */
    uint32_t count;
} images[ARRAY_SIZE(kinds)];

static const char *const names[] = {"/m",   "/m/d",      "/m/d/name-that-is-long-enough-7", "/m/sparse", "/m/link",
                                    "/m/s", "/m/hard",   "/m/d/name-that-is-long-enough-31", "/m/e",     "/m/dev",
                                    "/m/new", "/m/e/sub"};

static void put(const char *name, const void *data, size_t len, uint64_t at) {
    struct file *f = vfs_open(AT_FDCWD, name, O_RDWR | O_CREAT, 0644);
    if (IS_ERR(f))
        return;
    (void)file_write_kernel(f, data, len, &at);
    file_unref(f);
}

static void populate(void) {
    static char value[700];
    char name[80];
    struct path p;
    memset(value, 'v', sizeof(value));
    (void)vfs_mkdir(AT_FDCWD, "/m/d", 0755);
    (void)vfs_mkdir(AT_FDCWD, "/m/e", 0755);
    (void)vfs_mkdir(AT_FDCWD, "/m/e/sub", 0755);
    for (int k = 0; k < 80; k++) {
        snprintf(name, sizeof(name), "/m/d/name-that-is-long-enough-%d", k);
        k ? (void)vfs_link(AT_FDCWD, "/m/d/name-that-is-long-enough-0", AT_FDCWD, name, 0) : put(name, "x", 1, 0);
    }
    for (uint64_t k = 0; k < 12; k++)
        put("/m/sparse", "data", 4, k * 40000);
    (void)vfs_symlink("short", AT_FDCWD, "/m/s");
    memset(name, 'l', 70);
    name[70] = 0;
    (void)vfs_symlink(name, AT_FDCWD, "/m/link");
    put("/m/hard", "abc", 3, 0);
    ASSERT(path_lookup(AT_FDCWD, "/m/hard", 0, &p) == 0);
    (void)xattr_set(path_inode(&p), "user.small", value, 10, 0);
    (void)xattr_set(path_inode(&p), "user.large", value, sizeof(value), 0);
    path_unref(&p);
    struct file *f = vfs_open(AT_FDCWD, "/m/gone", O_RDWR | O_CREAT, 0600);
    ASSERT(!IS_ERR(f));
    (void)vfs_unlink(AT_FDCWD, "/m/e/sub", true);
    (void)vfs_unlink(AT_FDCWD, "/m/gone", false);
    vfs_sync();
    file_unref(f);
}

static void make(struct image *image, const char *options) {
    unsigned char *made = ext4_host_image(SIZE, options);
    ASSERT(made);
    ext4_disk_insert(&ext4_disks[0], made, SIZE, true);
    free(made);
    ASSERT(ext4_case_mount(&ext4_disks[0], "/m", 0) == 0);
    populate();
    image->data = malloc(SIZE);
    memcpy(image->data, ext4_disks[0].durable, SIZE);
    ext4_case_unmount("/m");
    image->units = malloc(SIZE / UNIT * sizeof(*image->units));
    for (uint32_t k = 0; k < SIZE / UNIT; k++) {
        const uint64_t *w = (const uint64_t *)(image->data + (size_t)k * UNIT);
        if ((w[0] || w[1]) && (w[0] != ~0ul || w[1] != ~0ul))
            image->units[image->count++] = k;
    }
}

static unsigned budget; /* of names */
static bool seen(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    ASSERT(len > 0 && len <= 255 && type < 16);
    return budget-- > 1;
}

static void look(const char *name) {
    static unsigned char buf[20000];
    struct path p;
    struct vfs_stat st;
    if (path_lookup(AT_FDCWD, name, 0, &p) < 0)
        return;
    vfs_stat_path(&p, &st);
    (void)xattr_list(path_inode(&p), (char *)buf, sizeof(buf));
    (void)xattr_get(path_inode(&p), "user.large", buf, sizeof(buf));
    if (S_ISLNK(st.mode))
        (void)path_inode(&p)->ops->readlink(path_inode(&p), (char *)buf, 4096);
    struct file *f = S_ISREG(st.mode) || S_ISDIR(st.mode) ? vfs_open_path(&p, O_RDONLY) : ERR_PTR(-EINVAL);
    if (!IS_ERR(f)) {
        struct dir_context ctx = {.emit = seen};
        budget = 400;
        if (S_ISDIR(st.mode))
            (void)file_iterate(f, &ctx);
        else
            for (unsigned k = 0; k < 3; k++)
                (void)file_read_kernel(f, buf, sizeof(buf), k * (st.size / 3));
        file_unref(f);
    }
    path_unref(&p);
}

static void change(const uint8_t *choice, size_t n) {
    static const unsigned char buf[9000];
    for (size_t k = 0; k + 1 < n && k < 24; k += 2) {
        const char *a = names[choice[k] % ARRAY_SIZE(names)], *b = names[choice[k + 1] % ARRAY_SIZE(names)];
        struct path p;
        switch (choice[k] / 16 % 10) {
        case 0: put(a, buf, choice[k + 1] * 35, choice[k + 1] * 1021u); break;
        case 1: (void)vfs_unlink(AT_FDCWD, a, false); break;
        case 2: (void)vfs_unlink(AT_FDCWD, a, true); break;
        case 3: (void)vfs_rename(AT_FDCWD, a, AT_FDCWD, b, choice[k + 1] & 128 ? RENAME_EXCHANGE : 0); break;
        case 4: (void)vfs_link(AT_FDCWD, a, AT_FDCWD, b, 0); break;
        case 5: (void)vfs_mkdir(AT_FDCWD, a, 0755); break;
        case 6: (void)vfs_symlink(b, AT_FDCWD, a); break;
        default:
            if (path_lookup(AT_FDCWD, a, 0, &p) < 0)
                break;
            struct inode *inode = path_inode(&p);
            if (choice[k] / 16 % 10 == 7)
                (void)(choice[k + 1] & 1 ? xattr_set(inode, "user.new", buf, choice[k + 1] * 3u, 0)
                                         : xattr_remove(inode, "user.large"));
            else if (choice[k] / 16 % 10 == 8)
                (void)vfs_truncate(inode, choice[k + 1] * 2000u);
            else if (S_ISREG(inode->mode)) {
                struct file *f = vfs_open_path(&p, O_RDWR);
                if (!IS_ERR(f)) {
                    (void)f->ops->allocate(f, choice[k + 1] & 1 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0,
                                           choice[k + 1] * 999u, 30000);
                    (void)f->ops->fsync(f, false);
                    file_unref(f);
                }
            }
            path_unref(&p);
        }
    }
}

/* Four bytes a change: which unit, where in it and how, a value. */
static void damage(unsigned char *to, const struct image *image, const uint8_t *at, size_t n) {
    for (; n >= 4; at += 4, n -= 4) {
        uint32_t which = (uint32_t)((uint64_t)(at[0] | at[1] << 8) * image->count >> 16);
        unsigned char *p = to + (size_t)image->units[which] * UNIT + at[2] % UNIT;
        switch (at[2] >> 4) {
        case 0 ... 5: *p = at[3]; break;
        case 6 ... 8: *p ^= (unsigned char)(1 << at[3] % 8); break;
        case 9 ... 10: *p = (unsigned char)(*p + (signed char)at[3]); break;
        case 11: memset(to + (size_t)image->units[which] * UNIT + at[2] % 4 * 4, at[3], 4); break;
        case 12: memset(to + (size_t)image->units[which] * UNIT + at[2] % 8 * 2, at[3], 2); break;
        default: /* another unit's contents, or a whole block's */
            memcpy(to + (size_t)image->units[which] * UNIT,
                   to + (size_t)image->units[(which + at[3]) % image->count] * UNIT, UNIT);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned char *work;
    if (!work) {
        ext4_case_start();
        for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
            make(&images[k], kinds[k]);
        ext4_host_remove();
        work = malloc(SIZE);
    }
    if (size < 8)
        return 0;
    const struct image *image = &images[data[0] % ARRAY_SIZE(kinds)];
    size_t choices = MIN((size_t)data[1] % 32, size - 2);
    memcpy(work, image->data, SIZE);
    damage(work, image, data + 2 + choices, size - 2 - choices);
    ext4_disk_insert(&ext4_disks[0], work, SIZE, false);
    fake_log[0] = 0;
    if (data[0] & 64)
        ext4_disks[0].fail_after = data[0] >> 2 & 15;
    if (ext4_case_mount(&ext4_disks[0], "/m", data[0] & 128 ? MS_RDONLY : 0) == 0) {
        for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
            look(names[k]);
        change(data + 2, choices);
        for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
            look(names[k]);
        ext4_case_unmount("/m");
    }
    ext4_disk_eject(&ext4_disks[0]);
    return 0;
}
