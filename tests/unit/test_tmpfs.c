// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
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
#include <linux/falloc.h>
#include <linux/fs.h>

void *calloc(size_t n, size_t size);
void free(void *p);

static int start(void **state) {
    fake_start();
    return 0;
}

// --- The model ---

enum { NONE, FILE_NODE, DIR_NODE };
#define NODES 64
#define NAMES 6
#define FILE_MAX 40960

struct node {
    int type, nlink, parent;
    uint64_t size;
    uint8_t data[FILE_MAX];
    int entry[NAMES]; // of a directory: node or -1
};
static struct node *nodes;

static int node_new(int type, int parent) {
    for (int i = 0; i < NODES; i++) {
        if (nodes[i].type == NONE) {
            memset(&nodes[i], 0, sizeof(nodes[i]));
            nodes[i].type = type;
            nodes[i].nlink = type == DIR_NODE ? 2 : 1;
            nodes[i].parent = parent;
            memset(nodes[i].entry, -1, sizeof(nodes[i].entry));
            return i;
        }
    }
    return -1;
}

static void node_name(int dir, int name, char *out, size_t size) {
    if (dir == 0) {
        snprintf(out, size, "/m/%c", 'a' + name);
        return;
    }
    int parent = nodes[dir].parent, at = 0;
    while (nodes[parent].entry[at] != dir)
        at++;
    char above[256];
    node_name(parent, at, above, sizeof(above));
    snprintf(out, size, "%s/%c", above, 'a' + name);
}

static bool above(int dir, int below) {
    for (;; below = nodes[below].parent) {
        if (below == dir)
            return true;
        if (below == 0)
            return false;
    }
}

static int depth(int dir) {
    int n = 0;
    for (; dir; dir = nodes[dir].parent)
        n++;
    return n;
}

static int random_dir(void) {
    for (;;) {
        int i = fake_random() % NODES;
        if (nodes[i].type == DIR_NODE && depth(i) < 6)
            return i;
    }
}

static bool empty(int dir) {
    for (int i = 0; i < NAMES; i++)
        if (nodes[dir].entry[i] >= 0)
            return false;
    return true;
}

static void drop_entry(int dir, int name) {
    int n = nodes[dir].entry[name];
    nodes[dir].entry[name] = -1;
    if (nodes[n].type == DIR_NODE) {
        nodes[dir].nlink--;
        nodes[n].type = NONE;
    } else if (--nodes[n].nlink == 0) {
        nodes[n].type = NONE;
    }
}

static void set_entry(int dir, int name, int n) {
    nodes[dir].entry[name] = n;
    if (nodes[n].type == DIR_NODE) {
        nodes[dir].nlink++;
        nodes[n].parent = dir;
    }
}

static int model_rename(int from, int a, int to, int b, unsigned flags) {
    int old = nodes[from].entry[a], new = nodes[to].entry[b];
    if (old < 0)
        return -ENOENT;
    if (new >= 0 && (flags & RENAME_NOREPLACE))
        return -EEXIST;
    if (new < 0 && (flags & RENAME_EXCHANGE))
        return -ENOENT;
    bool old_dir = nodes[old].type == DIR_NODE, new_dir = new >= 0 && nodes[new].type == DIR_NODE;
    if (old_dir && above(old, to))
        return -EINVAL;
    if (new_dir && above(new, from))
        return flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
    if (new == old)
        return 0;
    if (flags & RENAME_EXCHANGE) {
        nodes[from].nlink -= old_dir;
        nodes[to].nlink -= new_dir;
        set_entry(to, b, old);
        set_entry(from, a, new);
        return 0;
    }
    if (new >= 0) {
        if (old_dir != new_dir)
            return old_dir ? -ENOTDIR : -EISDIR;
        if (old_dir && !empty(new))
            return -ENOTEMPTY;
        drop_entry(to, b);
    }
    nodes[from].entry[a] = -1;
    nodes[from].nlink -= old_dir;
    set_entry(to, b, old);
    return 0;
}

// --- Comparing ---

static struct file *open_node(const char *name, unsigned flags) {
    struct file *f = vfs_open(AT_FDCWD, name, flags, 0644);
    assert_false(IS_ERR(f));
    return f;
}

static void compare_file(const char *name, const struct node *n) {
    static uint8_t buf[FILE_MAX + 1];
    struct file *f = open_node(name, O_RDONLY);
    struct vfs_stat st;
    vfs_stat_file(f, &st);
    assert_int_equal(st.size, n->size);
    assert_int_equal(st.nlink, n->nlink);
    assert_int_equal(file_read_kernel(f, buf, sizeof(buf), 0), n->size);
    assert_memory_equal(buf, n->data, n->size);
    file_unref(f);
}

struct seen {
    struct dir_context ctx;
    unsigned count, dots;
    uint32_t names;
};

static bool note(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct seen *s = container_of(ctx, struct seen, ctx);
    if (name[0] == '.')
        s->dots++;
    else
        s->names |= 1u << (name[0] - 'a');
    s->count++;
    return true;
}

static void compare_tree(int dir, const char *path) {
    struct seen seen = {.ctx = {.emit = note}};
    struct file *f = open_node(path, O_RDONLY);
    struct vfs_stat st;
    vfs_stat_file(f, &st);
    assert_int_equal(st.nlink, nodes[dir].nlink);
    assert_int_equal(file_iterate(f, &seen.ctx), 0);
    file_unref(f);
    unsigned count = 0;
    for (int i = 0; i < NAMES; i++) {
        int n = nodes[dir].entry[i];
        assert_int_equal(seen.names >> i & 1, n >= 0);
        if (n < 0)
            continue;
        count++;
        char name[256];
        snprintf(name, sizeof(name), "%s/%c", path, 'a' + i);
        if (nodes[n].type == DIR_NODE)
            compare_tree(n, name);
        else
            compare_file(name, &nodes[n]);
    }
    assert_int_equal(seen.dots, 2);
    assert_int_equal(seen.count, count + 2);
    assert_int_equal(st.size, count * 20);
}

// --- Random operations ---

static void change_contents(int n, const char *name) {
    struct file *f = open_node(name, O_RDWR);
    struct node *m = &nodes[n];
    uint64_t at = fake_random() % FILE_MAX, len = fake_random() % (FILE_MAX - at) + 1;
    static uint8_t buf[FILE_MAX];
    switch (fake_random() % 5) {
    case 0: at &= PAGE_MASK; // fall through
    case 1:
        for (uint64_t i = 0; i < len; i++)
            buf[i] = fake_random();
        uint64_t pos = at;
        assert_int_equal(file_write_kernel(f, buf, len, &pos), len);
        assert_int_equal(pos, at + len);
        memcpy(m->data + at, buf, len);
        m->size = MAX(m->size, at + len);
        break;
    case 2:
        assert_int_equal(vfs_truncate(f->inode, at), 0);
        if (at < m->size)
            memset(m->data + at, 0, m->size - at);
        m->size = at;
        break;
    case 3:
        assert_int_equal(f->ops->allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len), 0);
        memset(m->data + at, 0, len);
        break;
    case 4:
        assert_int_equal(f->ops->allocate(f, 0, at, len), 0);
        m->size = MAX(m->size, at + len);
        break;
    }
    file_unref(f);
}

static void random_step(void) {
    int dir = random_dir(), a = fake_random() % NAMES, n = nodes[dir].entry[a];
    char name[256], other[256];
    node_name(dir, a, name, sizeof(name));
    switch (fake_random() % 10) {
    case 0:
    case 1: {
        int err = vfs_mkdir(AT_FDCWD, name, 0755);
        assert_int_equal(err, n >= 0 ? -EEXIST : 0);
        if (err == 0)
            set_entry(dir, a, node_new(DIR_NODE, dir));
        break;
    }
    case 2:
    case 3: {
        struct file *f = vfs_open(AT_FDCWD, name, O_CREAT | O_EXCL | O_RDWR, 0644);
        assert_int_equal(IS_ERR(f) ? PTR_ERR(f) : 0, n >= 0 ? -EEXIST : 0);
        if (!IS_ERR(f)) {
            file_unref(f);
            set_entry(dir, a, node_new(FILE_NODE, dir));
        }
        break;
    }
    case 4: {
        int err = vfs_unlink(AT_FDCWD, name, false);
        assert_int_equal(err, n < 0 ? -ENOENT : nodes[n].type == DIR_NODE ? -EISDIR : 0);
        if (err == 0)
            drop_entry(dir, a);
        break;
    }
    case 5: {
        int err = vfs_unlink(AT_FDCWD, name, true);
        assert_int_equal(err, n < 0 ? -ENOENT : nodes[n].type != DIR_NODE ? -ENOTDIR : empty(n) ? 0 : -ENOTEMPTY);
        if (err == 0)
            drop_entry(dir, a);
        break;
    }
    case 6: {
        int to = random_dir(), b = fake_random() % NAMES, there = nodes[to].entry[b];
        node_name(to, b, other, sizeof(other));
        int err = vfs_link(AT_FDCWD, name, AT_FDCWD, other, 0);
        assert_int_equal(err, n < 0 ? -ENOENT : there >= 0 ? -EEXIST : nodes[n].type == DIR_NODE ? -EPERM : 0);
        if (err == 0) {
            nodes[n].nlink++;
            set_entry(to, b, n);
        }
        break;
    }
    case 7: {
        static const unsigned flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
        int to = random_dir(), b = fake_random() % NAMES;
        unsigned flag = flags[fake_random() % ARRAY_SIZE(flags)];
        node_name(to, b, other, sizeof(other));
        int err = vfs_rename(AT_FDCWD, name, AT_FDCWD, other, flag);
        assert_int_equal(err, model_rename(dir, a, to, b, flag));
        break;
    }
    default:
        if (n >= 0 && nodes[n].type == FILE_NODE)
            change_contents(n, name);
    }
}

static void agrees_with_the_model(void **state) {
    long before = fake_objects;
    nodes = calloc(NODES, sizeof(*nodes));
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/m", 0755), 0);
    assert_int_equal(node_new(DIR_NODE, 0), 0);
    unsigned used = 0;
    for (int i = 0; i < 20000; i++) {
        used = 0;
        for (int k = 0; k < NODES; k++)
            used += nodes[k].type != NONE;
        if (used > NODES - 4) { // not more than the model can hold
            int dir = random_dir(), a = fake_random() % NAMES, n = nodes[dir].entry[a];
            char name[256];
            node_name(dir, a, name, sizeof(name));
            if (n >= 0 && vfs_unlink(AT_FDCWD, name, nodes[n].type == DIR_NODE) == 0)
                drop_entry(dir, a);
            continue;
        }
        random_step();
        if (i % 500 == 0)
            compare_tree(0, "/m");
    }
    compare_tree(0, "/m");
    // Take everything away: nothing may be left.
    for (int round = 0; round < 10; round++) {
        for (int dir = 0; dir < NODES; dir++) {
            for (int a = 0; a < NAMES && nodes[dir].type == DIR_NODE; a++) {
                int n = nodes[dir].entry[a];
                char name[256];
                if (n < 0)
                    continue;
                node_name(dir, a, name, sizeof(name));
                if (vfs_unlink(AT_FDCWD, name, nodes[n].type == DIR_NODE) == 0)
                    drop_entry(dir, a);
            }
        }
    }
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
