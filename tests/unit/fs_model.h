/* A file system in a few arrays, for tests of those in memory: random operations are done to both, and must have the same results;
 * compare_tree looks at everything. The tree lies at model_root. */
#ifndef TESTS_UNIT_FS_MODEL_H
#define TESTS_UNIT_FS_MODEL_H

#include "fs/internal.h"
#include "kernel/string.h"
#include "tests/unit/fs_fakes.h"
#include <linux/falloc.h>
#include <linux/fs.h>

void *calloc(size_t n, size_t size);
void free(void *p);

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
static const char *model_root = "/m";

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
        snprintf(out, size, "%s/%c", model_root, 'a' + name);
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

// A step that the model has room for.
static void model_step(void) {
    unsigned used = 0;
    for (int k = 0; k < NODES; k++)
        used += nodes[k].type != NONE;
    if (used <= NODES - 4) {
        random_step();
        return;
    }
    int dir = random_dir(), a = fake_random() % NAMES, n = nodes[dir].entry[a];
    char name[256];
    node_name(dir, a, name, sizeof(name));
    if (n >= 0 && vfs_unlink(AT_FDCWD, name, nodes[n].type == DIR_NODE) == 0)
        drop_entry(dir, a);
}

static void remove_tree(void) {
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
}

#endif
