// link: tests/unit/fs_fakes.c tests/unit/p9_server.c tests/unit/p9_case.c fs/9p/cache.c fs/9p/calls.c fs/9p/client.c fs/9p/dir.c fs/9p/file.c fs/9p/inode.c fs/9p/io.c
// link: fs/9p/lock.c fs/9p/names.c fs/9p/protocol.c fs/9p/super.c fs/9p/transport.c fs/9p/xattr.c fs/cache/pagecache.c fs/cache/map.c fs/cache/drop.c fs/cache/file.c
// link: fs/cache/readahead.c fs/cache/writeback.c fs/cache/reclaim.c fs/cache/inode_table.c kernel/memory/reclaim.c kernel/threads/wait.c
// link: fs/dentry.c fs/cache/dentry_lru.c fs/directory.c fs/inode.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c
// link: fs/rename.c fs/seqbuf.c fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c
// link: fs/pipe_open.c fs/lock.c fs/poll.c fs/epoll.c fs/inotify.c kernel/memory/uio.c
// flags: -D__KERNEL__
/* A 9P session and the file system on it, against a server that answers in another order, changes its tree by itself, and lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/9p/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "tests/unit/fs_fakes.h"
#include "tests/unit/p9_server.h"

static uint8_t contents[SERVER_FILE_MAX], buffer[SERVER_FILE_MAX + 1000];
static bool refused;

static void mount_volume(const char *options) {
    struct path p;
    fake_start();
    if (path_lookup(AT_FDCWD, "/m", 0, &p) < 0) {
        assert_int_equal(vfs_mkdir(AT_FDCWD, "/m", 0755), 0);
        assert_int_equal(path_lookup(AT_FDCWD, "/m", 0, &p), 0);
    }
    refused = false;
    for (unsigned i = 0; i < sizeof(contents); i++)
        contents[i] = (uint8_t)(i * 7 + i / 253);
    p9_server_start();
    p9_server_add(0, "file", S_IFREG | 0644, contents, sizeof(contents));
    p9_server_add(p9_server_add(0, "dir", S_IFDIR | 0755, NULL, 0), "x", S_IFREG | 0600, contents, 100);
    p9_server_add(0, "link", S_IFLNK | 0777, "dir/x", 5);
    assert_int_equal(vfs_mount("vol0", &p, "9p", 0, options), 0);
    path_unref(&p);
}

/* Nothing is left: no request on its way, no fid on the server's side, no memory. */
static void unmount_volume(void) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/m", 0, &p), 0);
    assert_int_equal(vfs_umount(&p, 0), 0);
    path_unref(&p);
    assert_int_equal(p9_server.in_flight, 0);
    if (!p9_server.disabled && !refused) /* after a walk that was said to have failed the server has one more */
        assert_int_equal(p9_server.fids, 0);
    assert_int_equal(fake_pages_used, 0);
}

static struct p9_client *client(void) {
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/m", 0, &p), 0);
    struct p9_client *c = p9_mount_of(path_inode(&p)->sb)->client;
    path_unref(&p);
    return c;
}

static struct file *open_file(const char *name, unsigned flags) {
    struct file *f = vfs_open(AT_FDCWD, name, flags, 0644);
    assert_false(IS_ERR(f));
    return f;
}

static void files(void **state) {
    mount_volume("");
    struct vfs_stat st;
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/m/link", LOOKUP_FOLLOW, &p), 0);
    vfs_stat_path(&p, &st);
    assert_int_equal(st.size, 100);
    assert_int_equal(st.mode, S_IFREG | 0600);
    path_unref(&p);
    struct file *f = open_file("/m/file", O_RDWR);
    p9_server.most_in_flight = 0;
    assert_int_equal(file_read_kernel(f, buffer, sizeof(buffer), 0), sizeof(contents));
    assert_memory_equal(buffer, contents, sizeof(contents));
    assert_true(p9_server.most_in_flight > 1); /* and they came back in another order */
    assert_int_equal(file_read_kernel(f, buffer, 10, sizeof(contents) - 5), 5);
    assert_int_equal(file_read_kernel(f, buffer, 10, sizeof(contents)), 0);
    uint64_t pos = 1000;
    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = (uint8_t)(i * 3);
    assert_int_equal(file_write_kernel(f, buffer, 150000, &pos), 150000);
    assert_int_equal(pos, 151000);
    int node = p9_server_find(0, "file");
    assert_memory_equal(p9_server.nodes[node].data + 1000, buffer, 150000);
    assert_memory_equal(p9_server.nodes[node].data + 151000, contents + 151000, sizeof(contents) - 151000);
    pos = SERVER_FILE_MAX - 10;
    assert_int_equal(file_write_kernel(f, buffer, 20, &pos), -ENOSPC);
    assert_int_equal(vfs_truncate(f->inode, 50), 0);
    assert_int_equal(p9_server.nodes[node].size, 50);
    assert_int_equal(file_seek(f, 0, 2), 50);
    p9_server.nodes[node].size = 70; /* the host's doing */
    assert_int_equal(file_seek(f, 0, 2), 70);
    file_unref(f);
    unmount_volume();
}

static void names(void **state) {
    mount_volume("");
    struct file *f = open_file("/m/new", O_RDWR | O_CREAT | O_EXCL);
    assert_true(p9_server_find(0, "new") > 0);
    file_unref(f);
    p9_server.by_type[P9_TLOPEN] = 0;
    assert_ptr_equal(vfs_open(AT_FDCWD, "/m/new", O_CREAT | O_EXCL | O_WRONLY, 0600), ERR_PTR(-EEXIST));
    assert_int_equal(vfs_mkdir(AT_FDCWD, "/m/made", 0750), 0);
    assert_int_equal(p9_server.nodes[p9_server_find(0, "made")].mode, S_IFDIR | 0750);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/new", AT_FDCWD, "/m/made/moved", 0), 0);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/made", true), -ENOTEMPTY);
    f = open_file("/m/made/moved", O_RDWR);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/made/moved", false), 0);
    uint64_t pos = 0;
    assert_int_equal(file_write_kernel(f, "text", 4, &pos), 4); /* it goes on without a name */
    struct vfs_stat st;
    vfs_stat_file(f, &st);
    assert_int_equal(st.nlink, 0);
    assert_int_equal(st.size, 4);
    assert_int_equal(vfs_truncate(f->inode, 2), 0);
    assert_int_equal(vfs_truncate(f->inode, 6), 0);
    assert_int_equal(file_read_kernel(f, buffer, 100, 0), 6);
    assert_memory_equal(buffer, "te\0\0\0\0", 6);
    file_unref(f);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/made", true), 0);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/file", AT_FDCWD, "/m/link", 1), -EEXIST);
    assert_int_equal(vfs_rename(AT_FDCWD, "/m/file", AT_FDCWD, "/m/link", 2), -EINVAL);
    unmount_volume();
}

static void host_changes(void **state) {
    mount_volume("");
    struct path p;
    struct vfs_stat st;
    assert_int_equal(path_lookup(AT_FDCWD, "/m/later", 0, &p), -ENOENT);
    int node = p9_server_add(0, "later", S_IFREG | 0644, "abc", 3);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/later", 0, &p), 0);
    uint64_t ino = path_inode(&p)->ino;
    path_unref(&p);
    p9_server.nodes[node].mode = S_IFREG | 0400;
    assert_int_equal(path_lookup(AT_FDCWD, "/m/later", 0, &p), 0);
    assert_int_equal(path_inode(&p)->mode, S_IFREG | 0400);
    path_unref(&p);
    /* A server that remembers files, not paths: the name is another one's now, and the file itself lives on. */
    struct file *f = open_file("/m/later", O_RDONLY);
    str_copy(p9_server.nodes[node].name, "elsewhere", 100);
    assert_int_equal(p9_server_find(0, "elsewhere"), node);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/elsewhere", 0, &p), 0);
    assert_ptr_equal(path_inode(&p), f->inode);
    path_unref(&p);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/later", 0, &p), -ENOENT);
    vfs_stat_file(f, &st);
    assert_int_equal(st.ino, ino);
    file_unref(f);
    /* A directory where a file was. */
    int other = p9_server_add(0, "dir2", S_IFREG | 0644, NULL, 0);
    assert_int_equal(path_lookup(AT_FDCWD, "/m/dir2", 0, &p), 0);
    path_unref(&p);
    p9_server.nodes[other].mode = S_IFDIR | 0755;
    assert_int_equal(path_lookup(AT_FDCWD, "/m/dir2", 0, &p), 0);
    assert_true(S_ISDIR(path_inode(&p)->mode));
    path_unref(&p);
    /* Somebody else makes the name between the look and the creation. */
    unmount_volume();
}

static bool count_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    buffer[0]++;
    return buffer[0] != buffer[1];
}

static void listings(void **state) {
    mount_volume("msize=4096");
    for (unsigned i = 0; i < 40; i++) {
        char name[200];
        memset(name, 'n', sizeof(name));
        snprintf(name + 180, 20, "%u", i);
        p9_server_add(0, name, S_IFREG, NULL, 0);
    }
    struct file *f = open_file("/m", O_RDONLY | O_DIRECTORY);
    struct dir_context ctx = {.emit = count_name};
    buffer[0] = buffer[1] = 0;
    assert_int_equal(file_iterate(f, &ctx), 0);
    assert_int_equal(buffer[0], 43);
    assert_true(p9_server.by_type[P9_TREADDIR] >= 3);
    file_seek(f, 0, 0);
    unsigned total = 0;
    for (unsigned round = 0; round < 100; round++) { /* a few at a time: the last one comes again */
        buffer[0] = 0;
        buffer[1] = 4;
        file_iterate(f, &ctx);
        total += buffer[0] == 4 ? 3 : buffer[0];
        if (buffer[0] < 4)
            break;
    }
    assert_int_equal(total, 43);
    file_unref(f);
    unmount_volume();
}

static void mappings(void **state) {
    mount_volume("");
    struct file *f = open_file("/m/file", O_RDWR);
    struct backing *b = f->ops->map(f, 3, MAP_SHARED);
    assert_false(IS_ERR(b));
    struct vma vma = {.backing = b};
    list_push_back(&b->vmas, &vma.backing_link);
    struct page *page = b->ops->get_page(b, 3, true);
    assert_false(IS_ERR(page));
    assert_memory_equal(page_to_virt(page), contents + 3 * PAGE_SIZE, PAGE_SIZE);
    memcpy(page_to_virt(page), "stored", 6);
    assert_int_equal(file_read_kernel(f, buffer, 6, 3 * PAGE_SIZE), 6); /* read(2) sees it, and so does the server */
    assert_memory_equal(buffer, "stored", 6);
    int node = p9_server_find(0, "file");
    assert_memory_equal(p9_server.nodes[node].data + 3 * PAGE_SIZE, "stored", 6);
    uint64_t pos = 3 * PAGE_SIZE + 3;
    assert_int_equal(file_write_kernel(f, "written", 7, &pos), 7); /* and the mapping what is written */
    assert_memory_equal(page_to_virt(page), "stowritten", 10);
    page_unref(page);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/m/file", false), 0);
    file_unref(f);
    page = b->ops->get_page(b, 70, false); /* after close and unlink */
    assert_false(IS_ERR(page));
    assert_memory_equal(page_to_virt(page), contents + 70 * PAGE_SIZE, PAGE_SIZE);
    page_unref(page);
    list_remove(&vma.backing_link);
    b->ops->unref(b);
    unmount_volume();
}

static void attributes(void **state) {
    mount_volume("");
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/m/file", 0, &p), 0);
    assert_int_equal(xattr_get(path_inode(&p), "user.x", buffer, 100), 5);
    assert_memory_equal(buffer, "value", 5);
    assert_int_equal(xattr_get(path_inode(&p), "user.x", buffer, 4), -ERANGE);
    assert_int_equal(xattr_get(path_inode(&p), "user.y", buffer, 100), -ENODATA);
    assert_int_equal(xattr_set(path_inode(&p), "user.y", "v", 1, 0), 0);
    assert_int_equal(vfs_chmod(path_inode(&p), 0640), 0);
    assert_int_equal(p9_server.nodes[p9_server_find(0, "file")].mode, S_IFREG | 0640);
    path_unref(&p);
    unmount_volume();
}

static void killed(void **state) {
    for (int answered = 0; answered < 2; answered++) {
        mount_volume("");
        struct file *f = open_file("/m/file", O_RDWR);
        p9_server.hold_type = P9_TREAD;
        p9_server.answer_flushed = answered;
        p9_kill_sleeper = true;
        int64_t n = file_read_kernel(f, buffer, 100, 0);
        assert_int_equal(n, answered ? 100 : -EINTR);
        assert_int_equal(p9_server.by_type[P9_TFLUSH], 1);
        assert_int_equal(p9_server.in_flight, 0);
        p9_server.hold_type = 0;
        assert_int_equal(file_read_kernel(f, buffer, 100, 0), 100); /* one that ends does its last things undisturbed */
        thread_current()->work &= ~WORK_EXIT;
        file_unref(f);
        unmount_volume();
    }
}

/* Each lie about each message ends in an error; what is no lie but an error is passed on. */
static void lies(void **state) {
    static const uint8_t types[] = {P9_TWALK, P9_TGETATTR, P9_TLOPEN, P9_TREAD, P9_TWRITE, P9_TREADDIR, P9_TLCREATE, P9_TREADLINK,
                                    P9_TSETATTR, P9_TXATTRWALK, P9_TSTATFS, P9_TMKDIR, P9_TUNLINKAT, P9_TFSYNC};
    static const bool fields[] = {true, true, true, true, true, true, true, true, false, true, true, true, false, false};
    for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
        for (int how = LIE_SHORT; how < LIES; how++) {
            mount_volume("");
            p9_server.lie_type = types[t];
            p9_server.lie = (enum server_lie)how;
            struct path p;
            struct fs_statistics st;
            struct file *f = vfs_open(AT_FDCWD, "/m/file", O_RDWR, 0);
            long err = IS_ERR(f) ? PTR_ERR(f) : file_read_kernel(f, buffer, 1000, 0);
            uint64_t pos = 0;
            if (err >= 0)
                err = file_write_kernel(f, "x", 1, &pos);
            if (err >= 0)
                err = f->ops->fsync(f, false);
            if (err >= 0)
                err = vfs_chmod(f->inode, 0600);
            if (err >= 0)
                err = xattr_get(f->inode, "user.x", buffer, 100);
            if (!IS_ERR(f))
                file_unref(f);
            if (err >= 0) {
                f = open_file("/m", O_RDONLY | O_DIRECTORY);
                struct dir_context ctx = {.emit = count_name};
                err = file_iterate(f, &ctx);
                file_unref(f);
            }
            if (err >= 0)
                err = vfs_readlink(AT_FDCWD, "/m/link", (char *)buffer, 100);
            if (err >= 0) {
                f = vfs_open(AT_FDCWD, "/m/created", O_CREAT | O_RDWR, 0644);
                err = IS_ERR(f) ? PTR_ERR(f) : 0;
                if (!err)
                    file_unref(f);
            }
            if (err >= 0)
                err = vfs_mkdir(AT_FDCWD, "/m/sub", 0755);
            if (err >= 0)
                err = vfs_unlink(AT_FDCWD, "/m/sub", true);
            assert_int_equal(path_lookup(AT_FDCWD, "/m", 0, &p), 0);
            path_inode(&p)->sb->ops->statistics(path_inode(&p)->sb, &st);
            path_unref(&p);
            bool harmless = how == LIE_FAIL || how == LIE_ERROR || (how == LIE_SHORT && !fields[t]) || how == LIE_COUNT || how == LIE_GARBAGE;
            if (how == LIE_FAIL && types[t] != P9_TSTATFS)
                assert_int_equal(err, -EACCES);
            if (!harmless) {
                assert_true(err < 0 || types[t] == P9_TSTATFS);
                assert_int_equal(p9_server.disabled, 1);
                assert_true(client()->broken);
                assert_int_equal(path_lookup(AT_FDCWD, "/m/file", 0, &p), -EIO);
            }
            if ((how == LIE_COUNT || how == LIE_GARBAGE) && (types[t] == P9_TREAD || types[t] == P9_TWRITE || types[t] == P9_TREADDIR))
                assert_int_equal(p9_server.disabled, 1);
            refused = how == LIE_FAIL || how == LIE_ERROR;
            p9_server.lie = LIE_NONE;
            unmount_volume();
        }
    }
}

static void sessions(void **state) {
    mount_volume("msize=100000");
    assert_int_equal(client()->msize, 100000);
    struct path p;
    assert_int_equal(path_lookup(AT_FDCWD, "/m", 0, &p), 0);
    assert_int_equal(vfs_mount("vol0", &p, "9p", 0, ""), -EBUSY);
    assert_int_equal(vfs_mount("vol1", &p, "9p", 0, ""), -ENOENT);
    assert_int_equal(vfs_mount("vol1", &p, "9p", 0, "msize=4095"), -EINVAL);
    assert_int_equal(vfs_mount("vol1", &p, "9p", 0, "version=9p2000"), -EINVAL);
    assert_int_equal(vfs_mount("vol1", &p, "9p", 0, "file=a/b"), -EINVAL);
    path_unref(&p);
    /* More fids than there are tags, all at once. */
    struct file *f[200];
    for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
        f[i] = open_file("/m/dir/x", O_RDONLY);
    for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
        file_unref(f[i]);
    unmount_volume();
    /* A server with small messages. */
    for (unsigned size = 4096; size < 4200; size += 35) {
        mount_volume("");
        unmount_volume();
        p9_server.msize_limit = size;
        assert_int_equal(path_lookup(AT_FDCWD, "/m", 0, &p), 0);
        assert_int_equal(vfs_mount("vol0", &p, "9p", 0, ""), 0);
        path_unref(&p);
        struct file *g = open_file("/m/file", O_RDWR);
        assert_int_equal(file_read_kernel(g, buffer, sizeof(buffer), 0), sizeof(contents));
        assert_memory_equal(buffer, contents, sizeof(contents));
        struct backing *b = g->ops->map(g, 3, MAP_SHARED);
        struct page *page = b->ops->get_page(b, 1, true);
        assert_memory_equal(page_to_virt(page), contents + PAGE_SIZE, PAGE_SIZE);
        memset(page_to_virt(page), 'w', PAGE_SIZE);
        page_unref(page);
        assert_int_equal(g->ops->fsync(g, false), 0);
        assert_int_equal(p9_server.nodes[p9_server_find(0, "file")].data[2 * PAGE_SIZE - 1], 'w');
        b->ops->unref(b);
        file_unref(g);
        unmount_volume();
    }
}

static void random_lies(void **state) {
    static uint8_t data[600];
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = 0; i < sizeof(data); i++)
            data[i] = fake_random() % 8 ? (uint8_t)(fake_random() % 0x80) : (uint8_t)fake_random();
        p9_case_fuzz(data, sizeof(data));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),    cmocka_unit_test(names),      cmocka_unit_test(host_changes), cmocka_unit_test(listings),
        cmocka_unit_test(mappings), cmocka_unit_test(attributes), cmocka_unit_test(killed),       cmocka_unit_test(lies),
        cmocka_unit_test(sessions), cmocka_unit_test(random_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
