// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/superblock.c fs/path.c
// link: fs/pathname.c fs/names.c fs/rename.c fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/seqbuf.c fs/pagetree.c
// link: fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c fs/epoll.c fs/inotify.c kernel/memory/uio.c kernel/threads/wait.c
// link: fs/overlay/super.c fs/overlay/lower.c fs/overlay/names.c fs/overlay/directory.c fs/overlay/file.c
// flags: -D__KERNEL__
/* The overlay, above a tmpfs: random operations are done to it and to a model that begins with what the lower tree has. Entries and
 * inodes that are only a cache are thrown away at random meanwhile, and in the end the lower tree must be what it was. Then the corners:
 * listing while names come and go, holes over lower data, mapped pages, hard links, memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/cache/pagecache.h"
#include "fs/overlay/overlay.h"
#include "kernel/log.h"
#include "tests/unit/fs_model.h"

/* A tmpfs has no page cache. */
struct page *page_cache_get(struct page_cache *c, uint64_t index) {
    return ERR_PTR(-EIO);
}
int64_t page_cache_share(struct page_cache *c, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max, unsigned advice) {
    return -EIO;
}

static struct superblock *low, *over;

static void mount_on(struct superblock *sb, const char *name) {
    struct path p;
    vfs_mkdir(AT_FDCWD, name, 0755);
    assert_int_equal(path_lookup(AT_FDCWD, name, 0, &p), 0);
    assert_int_equal(mount_attach(sb, "test", &p, 0), 0);
    path_unref(&p);
}

static void umount_from(const char *name) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, name, 0, &p), 0);
    mount_detach_below(p.mount->mountpoint);
    path_unref(&p);
}

static long objects_before;

// A tmpfs on /low, of which the overlay on /m will be made.
static void begin(void) {
    fake_start();
    objects_before = fake_objects;
    low = tmpfs_superblock(&tmpfs_type, 0755);
    assert_false(IS_ERR(low));
    mount_on(low, "/low");
}

static void cover(void) {
    over = overlay_superblock(low);
    assert_false(IS_ERR(over));
    mount_on(over, "/m");
}

// Both go, and must leave nothing behind (but the tables of the root, and the page of zeroes).
static void finish(void) {
    superblock_unref(over);
    umount_from("/m");
    superblock_unref(low);
    umount_from("/low");
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m", true), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/low", true), 0);
    assert_in_range(fake_pages_used, 0, 1);
    assert_in_range(fake_objects - objects_before, 0, 1);
}

// What a shortage of memory may do to the entries: those that nobody uses and that are only a cache go.
static void forget_entries(struct dentry *dir, unsigned one_in) {
    struct dir_node *n, *next;
    if (!dir->children)
        return;
    list_for_each_safe (n, next, &dir->children->list, link) {
        struct dentry *d = container_of(n, struct dentry, node);
        if (!n->cookie)
            continue;
        dentry_ref(d);
        forget_entries(d, one_in);
        if (!(d->flags & DENTRY_PINNED) && d->refs == 2 && fake_random() % one_in == 0)
            dentry_remove(d);
        dentry_unref(d);
    }
}

static void put(const char *name, const char *text) {
    struct file *f = open_node(name, O_CREAT | O_TRUNC | O_WRONLY);
    uint64_t pos = 0;
    assert_int_equal(file_write_kernel(f, text, strlen(text), &pos), strlen(text));
    file_unref(f);
}

static void expect(const char *name, const char *text) {
    char buf[256] = "";
    struct file *f = open_node(name, O_RDONLY);
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf) - 1, 0), strlen(text));
    assert_string_equal(buf, text);
    file_unref(f);
}

static struct vfs_stat stat_of(const char *name) {
    struct path p;
    struct vfs_stat st;
    assert_int_equal(path_lookup(AT_FDCWD, name, 0, &p), 0);
    vfs_stat_path(&p, &st);
    path_unref(&p);
    return st;
}

// --- Against the model ---

// Pages as mappings get them: those that are read are the file's, those that are stored to become its own.
static void use_mapping(void) {
    int dir = random_dir(), a = fake_random() % NAMES, n = nodes[dir].entry[a];
    char name[256];
    if (n < 0 || nodes[n].type != FILE_NODE || !nodes[n].size)
        return;
    node_name(dir, a, name, sizeof(name));
    struct node *m = &nodes[n];
    struct file *f = open_node(name, O_RDWR);
    struct backing *b = f->ops->map(f, 3, 1);
    assert_false(IS_ERR(b));
    uint64_t index = fake_random() % DIV_ROUND_UP(m->size, PAGE_SIZE), at = index * PAGE_SIZE;
    bool write = fake_random() % 2;
    struct page *p = b->ops->get_page(b, index, write);
    assert_false(IS_ERR(p));
    char *data = page_to_virt(p);
    size_t len = MIN(PAGE_SIZE, m->size - at);
    assert_memory_equal(data, m->data + at, len);
    for (size_t i = len; i < PAGE_SIZE; i++)
        assert_int_equal(data[i], 0);
    if (write) {
        size_t i = fake_random() % len;
        data[i] = m->data[at + i] = (char)fake_random();
    }
    page_unref(p);
    struct page *around[8];
    if (b->ops->peek_pages) {
        b->ops->peek_pages(b, 0, 8, around);
        for (unsigned i = 0; i < 8; i++) {
            if (!around[i])
                continue;
            assert_true(i * PAGE_SIZE < m->size);
            assert_memory_equal(page_to_virt(around[i]), m->data + i * PAGE_SIZE,
                                MIN(PAGE_SIZE, m->size - i * PAGE_SIZE));
            page_unref(around[i]);
        }
    }
    assert_true(IS_ERR(b->ops->get_page(b, DIV_ROUND_UP(m->size, PAGE_SIZE), false)));
    b->ops->unref(b);
    file_unref(f);
}

// SEEK_DATA and SEEK_HOLE may take a hole for data, but never data for a hole.
static void check_holes(void) {
    int dir = random_dir(), a = fake_random() % NAMES, n = nodes[dir].entry[a];
    char name[256];
    if (n < 0 || nodes[n].type != FILE_NODE)
        return;
    node_name(dir, a, name, sizeof(name));
    struct file *f = open_node(name, O_RDONLY);
    uint64_t at = 0;
    while (at < nodes[n].size) {
        int64_t data = file_seek(f, (int64_t)at, SEEK_DATA);
        uint64_t end = data < 0 ? nodes[n].size : (uint64_t)data;
        for (; at < end; at++)
            assert_int_equal(nodes[n].data[at], 0);
        if (data < 0)
            break;
        int64_t hole = file_seek(f, data, SEEK_HOLE);
        assert_true(hole > data);
        at = (uint64_t)hole;
    }
    file_unref(f);
}

static void agrees_with_the_model(void **state) {
    for (int round = 0; round < 6; round++) {
        begin();
        nodes = calloc(NODES, sizeof(*nodes));
        assert_int_equal(node_new(DIR_NODE, 0), 0);
        model_root = "/low";
        for (int i = 0; i < 150 + round * 100; i++)
            model_step();
        compare_tree(0, "/low");
        struct node *below = calloc(NODES, sizeof(*nodes)), *above;
        memcpy(below, nodes, NODES * sizeof(*nodes));
        cover();
        model_root = "/m";
        for (int i = 0; i < 4000; i++) {
            switch (fake_random() % 16) {
            case 0: forget_entries(over->root, 1 + fake_random() % 4); break;
            case 1:
            case 2: use_mapping(); break;
            case 3: check_holes(); break;
            default: model_step();
            }
            if (i % 250 == 0)
                compare_tree(0, "/m");
        }
        compare_tree(0, "/m");
        forget_entries(over->root, 1);
        compare_tree(0, "/m");
        above = nodes;
        nodes = below;
        compare_tree(0, "/low");
        nodes = above;
        if (round % 2) {
            remove_tree();
            compare_tree(0, "/m");
        }
        finish();
        free(below);
        free(above);
    }
}

// --- Corners ---

struct listing {
    struct dir_context ctx;
    unsigned left; // entries that fit
    char names[512];
    uint64_t ino_of_b;
};

static bool list_one(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct listing *l = container_of(ctx, struct listing, ctx);
    if (!l->left)
        return false;
    l->left--;
    size_t at = strlen(l->names);
    snprintf(l->names + at, sizeof(l->names) - at, "%.*s ", (int)len, name);
    if (len == 1 && *name == 'b')
        l->ino_of_b = ino;
    return true;
}

static const char *next_entries(struct file *f, unsigned count, struct listing *l) {
    l->left = count;
    l->names[0] = 0;
    assert_int_equal(file_iterate(f, &l->ctx), 0);
    return l->names;
}

static void listings_keep_their_place(void **state) {
    begin();
    for (char c = 'a'; c <= 'h'; c++)
        put((char[]){'/', 'l', 'o', 'w', '/', c, 0}, "x");
    cover();
    put("/m/new1", "1");
    struct listing l = {.ctx = {.emit = list_one}};
    struct file *f = open_node("/m", O_RDONLY | O_DIRECTORY);
    assert_string_equal(next_entries(f, 4, &l), ". .. a b ");
    assert_int_equal(l.ino_of_b, stat_of("/m/b").ino);
    uint64_t place = f->position;
    // Behind and before the place: removed, replaced, moved away, new.
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/a", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/d", false), 0);
    put("/m/tmp", "new e");
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/tmp", AT_FDCWD, "/m/e", 0), 0);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/f", AT_FDCWD, "/m/moved", 0), 0);
    assert_string_equal(next_entries(f, 2, &l), "c e ");
    put("/m/a", "again");
    put("/m/new2", "2");
    assert_string_equal(next_entries(f, 100, &l), "g h new1 moved new2 ");
    assert_string_equal(next_entries(f, 100, &l), "");
    f->position = place;
    assert_string_equal(next_entries(f, 100, &l), "c e g h new1 moved new2 ");
    f->position = 0;
    assert_string_equal(next_entries(f, 100, &l), ". .. a b c e g h new1 moved new2 ");
    // rm -r while reading: whatever was listed goes at once.
    unsigned count = 0;
    f->position = 2;
    while (*next_entries(f, 1, &l)) {
        char name[64];
        snprintf(name, sizeof(name), "/m/%.*s", (int)strlen(l.names) - 1, l.names);
        assert_int_equal(vfs_unlink(AT_FDCWD, name, false), 0);
        count++;
    }
    assert_int_equal(count, 9);
    f->position = 0;
    assert_string_equal(next_entries(f, 100, &l), ". .. ");
    file_unref(f);
    expect("/low/a", "x");
    finish();
}

static void directories_move_with_what_is_below(void **state) {
    begin();
    vfs_mkdir(AT_FDCWD, "/low/d", 0755);
    vfs_mkdir(AT_FDCWD, "/low/d/e", 0755);
    vfs_mkdir(AT_FDCWD, "/low/full", 0755);
    put("/low/d/e/file", "below");
    put("/low/full/x", "x");
    cover();
    uint64_t ino = stat_of("/m/d/e").ino;
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/d", AT_FDCWD, "/m/full/d2", 0), 0);
    forget_entries(over->root, 1);
    expect("/m/full/d2/e/file", "below");
    assert_int_equal(stat_of("/m/full/d2/e").ino, ino);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/m/d", 0700), 0); // a new one shows nothing of the old one
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/d/e", true), -ENOENT);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/d", AT_FDCWD, "/m/full", 0), -ENOTEMPTY);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/full", AT_FDCWD, "/m/d", RENAME_EXCHANGE), 0);
    expect("/m/d/d2/e/file", "below");
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/d/x", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/d", true), -ENOTEMPTY);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/d/d2", AT_FDCWD, "/m/full", 0), 0); // over the empty one
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/d", true), 0);
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/m/d", 0755), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/d", true), 0);
    expect("/m/full/e/file", "below");
    // A directory that is removed while somebody is in it shows nothing.
    struct file *f = open_node("/m/full/e", O_RDONLY | O_DIRECTORY);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/full/e/file", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/full/e", true), 0);
    struct listing l = {.ctx = {.emit = list_one}};
    assert_int_equal(file_iterate(f, &l.ctx), -ENOENT);
    struct dentry *d;
    assert_int_equal(dentry_lookup(f->path.dentry, "file", 4, name_hash("file", 4), false, &d), -ENOENT);
    file_unref(f);
    expect("/low/d/e/file", "below");
    finish();
}

static void renames_may_leave_a_whiteout(void **state) {
    begin();
    put("/low/a", "below");
    put("/low/c", "c");
    cover();
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/a", AT_FDCWD, "/m/b", RENAME_WHITEOUT | RENAME_EXCHANGE), -EINVAL);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/a", AT_FDCWD, "/m/c", RENAME_WHITEOUT | RENAME_NOREPLACE), -EEXIST);
    for (int i = 0; i < 2; i++) { // a name from below, then one of our own
        const char *from = i ? "/m/b" : "/m/a", *to = i ? "/m/d" : "/m/b";
        assert_int_equal(vfs_rename(AT_FDCWD, from, AT_FDCWD, to, RENAME_WHITEOUT), 0);
        struct vfs_stat st = stat_of(from);
        assert_int_equal(st.mode, S_IFCHR);
        assert_int_equal(st.rdev, 0);
        expect(to, "below");
    }
    struct listing l = {.ctx = {.emit = list_one}};
    struct file *f = open_node("/m", O_RDONLY | O_DIRECTORY);
    const char *names = next_entries(f, 100, &l);
    assert_int_equal(strlen(names), strlen(". .. a b c d "));
    file_unref(f);
    forget_entries(over->root, 1);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/a", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/a", false), -ENOENT);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/b", false), 0);
    put("/m/a", "again");
    expect("/m/a", "again");
    expect("/low/a", "below");
    finish();
}

static void names_of_one_file(void **state) {
    begin();
    put("/low/a", "one file");
    assert_int_equal(vfs_link(AT_FDCWD, "/low/a", AT_FDCWD, "/low/b", 0), 0);
    cover();
    struct file *f = open_node("/m/a", O_RDWR);
    put("/m/b", "changed");
    char buf[16] = "";
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf), 0), 7);
    assert_string_equal(buf, "changed");
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/a", false), 0);
    forget_entries(over->root, 1);
    struct vfs_stat st = stat_of("/m/b");
    assert_int_equal(st.nlink, 1);
    assert_int_equal(st.ino, f->inode->ino);
    assert_int_equal(vfs_link(AT_FDCWD, "/m/b", AT_FDCWD, "/m/c", 0), 0);
    assert_int_equal(stat_of("/m/c").nlink, 2);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/b", false), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/c", false), 0);
    assert_int_equal(f->inode->nlink, 0);
    uint64_t pos = 3;
    assert_int_equal(file_write_kernel(f, "CDE", 3, &pos), 3); // without a name, still a file
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf), 0), 7);
    assert_memory_equal(buf, "chaCDEd", 7);
    file_unref(f);
    expect("/low/a", "one file");
    finish();
}

static void attributes_stay(void **state) {
    begin();
    put("/low/a", "x");
    vfs_mkdir(AT_FDCWD, "/low/d", 0755);
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/low/a", 0, &p), 0);
    assert_int_equal(xattr_set(path_inode(&p), "user.below", "1", 1, 0), 0);
    path_unref(&p);
    cover();
    uint64_t ino = stat_of("/m/a").ino;
    assert_int_equal(path_lookup(AT_FDCWD, "/m/a", 0, &p), 0);
    char buf[32];
    assert_int_equal(xattr_get(path_inode(&p), "user.below", buf, sizeof(buf)), 1);
    assert_int_equal(xattr_set(path_inode(&p), "user.above", "22", 2, 0), 0);
    assert_int_equal(xattr_remove(path_inode(&p), "user.below"), 0);
    path_unref(&p);
    forget_entries(over->root, 1);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/a", 0, &p), 0);
    assert_int_equal(xattr_list(path_inode(&p), buf, sizeof(buf)), 11);
    assert_string_equal(buf, "user.above");
    path_unref(&p);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/d", 0, &p), 0);
    assert_int_equal(vfs_chmod(path_inode(&p), 0700), 0);
    path_unref(&p);
    forget_entries(over->root, 1);
    assert_int_equal(stat_of("/m/d").mode, S_IFDIR | 0700);
    assert_int_equal(stat_of("/low/d").mode, S_IFDIR | 0755);
    assert_int_equal(stat_of("/m/a").ino, ino);
    put("/m/new", "x");
    assert_true(stat_of("/m/new").ino > 1ul << 32); // of no inode below
    finish();
}

static void holes_over_lower_data(void **state) {
    begin();
    static char block[20 * PAGE_SIZE];
    memset(block, 'L', sizeof(block));
    struct file *f = open_node("/low/f", O_CREAT | O_RDWR);
    uint64_t pos = 0;
    assert_int_equal(file_write_kernel(f, block, sizeof(block), &pos), sizeof(block));
    file_unref(f);
    unsigned pages = fake_pages_used;
    cover();
    f = open_node("/m/f", O_RDWR);
    assert_int_equal(f->inode->blocks, 160);
    assert_int_equal(f->ops->allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE_SIZE, 10 * PAGE_SIZE), 0);
    assert_in_range(fake_pages_used, pages, pages + 1); // all holes are one page
    assert_int_equal(f->inode->blocks, 80);
    assert_int_equal(file_seek(f, 0, SEEK_HOLE), 2 * PAGE_SIZE);
    assert_int_equal(file_seek(f, 2 * PAGE_SIZE, SEEK_DATA), 12 * PAGE_SIZE);
    assert_int_equal(file_seek(f, 12 * PAGE_SIZE, SEEK_HOLE), 20 * PAGE_SIZE);
    pos = 5 * PAGE_SIZE + 7;
    assert_int_equal(file_write_kernel(f, "x", 1, &pos), 1);
    assert_int_equal(f->inode->blocks, 88);
    static char seen[PAGE_SIZE];
    assert_int_equal(file_read_kernel(f, seen, PAGE_SIZE, 5 * PAGE_SIZE), PAGE_SIZE);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        assert_int_equal(seen[i], i == 7 ? 'x' : 0);
    // Cut short and grown again: zeroes, and nothing of old.
    assert_int_equal(vfs_truncate(f->inode, 15 * PAGE_SIZE + 100), 0);
    assert_int_equal(vfs_truncate(f->inode, 18 * PAGE_SIZE), 0);
    assert_int_equal(file_read_kernel(f, seen, PAGE_SIZE, 15 * PAGE_SIZE), PAGE_SIZE);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        assert_int_equal(seen[i], i < 100 ? 'L' : 0);
    assert_int_equal(f->inode->blocks, 56);
    // O_TRUNC reads nothing.
    file_unref(f);
    pages = fake_pages_used;
    f = open_node("/m/f", O_RDWR | O_TRUNC);
    assert_true(fake_pages_used < pages);
    assert_int_equal(f->inode->blocks, 0);
    assert_int_equal(f->ops->allocate(f, 0, 0, 3 * PAGE_SIZE), 0);
    assert_int_equal(f->inode->blocks, 24);
    file_unref(f);
    finish();
}

static void a_page_is_copied_at_its_first_change(void **state) {
    begin();
    static char block[4 * PAGE_SIZE];
    memset(block, 'L', sizeof(block));
    struct file *f = open_node("/low/f", O_CREAT | O_RDWR);
    uint64_t pos = 0;
    assert_int_equal(file_write_kernel(f, block, sizeof(block), &pos), sizeof(block));
    file_unref(f);
    unsigned pages = fake_pages_used;
    cover();
    f = open_node("/m/f", O_RDWR);
    struct backing *b = f->ops->map(f, 3, 1);
    assert_false(IS_ERR(b));
    struct page *below = b->ops->get_page(b, 1, false);
    assert_int_equal(fake_pages_used, pages); // nothing is copied to be read
    pos = PAGE_SIZE + 1;
    assert_int_equal(file_write_kernel(f, "x", 1, &pos), 1);
    assert_int_equal(fake_pages_used, pages + 1);
    struct page *own = b->ops->get_page(b, 1, false);
    assert_ptr_not_equal(own, below);
    assert_memory_equal(page_to_virt(own), "LxL", 3);
    assert_memory_equal(page_to_virt(below), "LLL", 3);
    struct page *written = b->ops->get_page(b, 1, true);
    assert_ptr_equal(own, written);
    page_unref(below);
    page_unref(own);
    page_unref(written);
    b->ops->unref(b);
    // No memory: what is there stays readable, a change is refused.
    fake_page_limit = fake_pages_used;
    pos = 3 * PAGE_SIZE;
    assert_int_equal(file_write_kernel(f, "y", 1, &pos), -ENOSPC);
    assert_int_equal(vfs_truncate(f->inode, 3 * PAGE_SIZE + 1), -ENOSPC);
    assert_int_equal(f->inode->size, 4 * PAGE_SIZE);
    static char seen[4 * PAGE_SIZE];
    assert_int_equal(file_read_kernel(f, seen, sizeof(seen), 0), sizeof(seen));
    assert_int_equal(seen[3 * PAGE_SIZE], 'L');
    fake_page_limit = FAKE_PAGES;
    file_unref(f);
    finish();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_model),
        cmocka_unit_test(listings_keep_their_place),
        cmocka_unit_test(directories_move_with_what_is_below),
        cmocka_unit_test(renames_may_leave_a_whiteout),
        cmocka_unit_test(names_of_one_file),
        cmocka_unit_test(attributes_stay),
        cmocka_unit_test(holes_over_lower_data),
        cmocka_unit_test(a_page_is_copied_at_its_first_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
