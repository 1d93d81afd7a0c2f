// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c fs/eventfd.c kernel/memory/uio.c kernel/threads/wait.c
// flags: -D__KERNEL__
/* Pipes, FIFOs, eventfds, and those who wait for them: poll and epoll. "Another thread" acts through fake_on_sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "tests/unit/fs_fakes.h"
#include <linux/eventpoll.h>

static struct file *ends[2];
static char block[1 << 20], back[1 << 20];

static int start(void **state) {
    fake_start();
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = fake_random();
    return 0;
}

static int64_t put(struct file *f, const void *data, size_t n) { return file_write_kernel(f, data, n, NULL); }

static int64_t get(struct file *f, void *data, size_t n) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)data, n, false);
    return file_read(f, &u, NULL);
}

static void make(unsigned flags) { assert_int_equal(pipe_create(flags, ends), 0); }

static void drop(void) {
    file_unref(ends[0]);
    file_unref(ends[1]);
    assert_int_equal(fake_pages_used, 0);
}

static void carries_bytes_in_order(void **state) {
    make(O_NONBLOCK);
    size_t in = 0, out = 0;
    while (out < sizeof(block)) {
        size_t n = MIN(fake_random() % 20000 + 1, sizeof(block) - in);
        int64_t done = n ? put(ends[1], block + in, n) : 0;
        if (done == -EAGAIN)
            done = 0;
        assert_true(done >= 0 && (done == (int64_t)n || n > 4096 || done == 0));
        in += done;
        n = fake_random() % 20000 + 1;
        done = get(ends[0], back + out, MIN(n, sizeof(back) - out));
        if (in == out)
            assert_int_equal(done, -EAGAIN);
        else
            assert_int_equal(done, MIN(n, in - out));
        out += MAX(done, 0);
        assert_true(fake_pages_used <= 17);
    }
    assert_memory_equal(block, back, sizeof(block));
    drop();
}

static void holds_64_kib_and_is_atomic(void **state) {
    make(O_NONBLOCK);
    for (int i = 0; i < 65536; i++)
        assert_int_equal(put(ends[1], block + i, 1), 1);
    assert_int_equal(put(ends[1], block, 1), -EAGAIN);
    assert_int_equal(file_poll(ends[1], NULL), 0);
    assert_int_equal(get(ends[0], back, 4095), 4095);
    assert_int_equal(put(ends[1], block, 4096), -EAGAIN); // all or nothing
    assert_int_equal(file_poll(ends[1], NULL), 0);
    assert_int_equal(get(ends[0], back, 1), 1);
    assert_int_equal(file_poll(ends[1], NULL), POLLOUT | POLLWRNORM);
    assert_int_equal(put(ends[1], block, 5000), 4096); // more than PIPE_BUF may be cut
    assert_int_equal(pipe_set_size(ends[0], 4096), -EBUSY);
    assert_int_equal(get(ends[0], back, 65536), 65536);
    assert_memory_equal(back, block + 4096, 61440);
    assert_memory_equal(back + 61440, block, 4096);
    assert_int_equal(pipe_get_size(ends[0]), 65536);
    drop();
}

static void changes_its_size(void **state) {
    make(O_NONBLOCK);
    assert_int_equal(put(ends[1], block, 10000), 10000);
    assert_int_equal(get(ends[0], back, 5000), 5000);
    assert_int_equal(pipe_set_size(ends[0], 5001), 8192);
    assert_int_equal(put(ends[1], block + 10000, 4500), 404); // what the last page had room for
    assert_int_equal(pipe_set_size(ends[1], 1 << 20), 1 << 20);
    assert_int_equal(put(ends[1], block + 10404, 900000), 900000);
    assert_int_equal(get(ends[0], back, sizeof(back)), 905404);
    assert_memory_equal(back, block + 5000, 905404);
    fake_user(1, 1);
    assert_int_equal(pipe_set_size(ends[1], 2 << 20), -EPERM);
    fake_root();
    drop();
}

static void knows_when_the_other_end_has_gone(void **state) {
    make(0);
    assert_int_equal(put(ends[1], "abc", 3), 3);
    file_unref(ends[1]);
    assert_int_equal(file_poll(ends[0], NULL), POLLIN | POLLRDNORM | POLLHUP);
    assert_int_equal(get(ends[0], back, 10), 3);
    assert_int_equal(get(ends[0], back, 10), 0);
    assert_int_equal(file_poll(ends[0], NULL), POLLHUP);
    file_unref(ends[0]);

    make(0);
    file_unref(ends[0]);
    fake_last_signal = 0;
    assert_int_equal(put(ends[1], "abc", 3), -EPIPE);
    assert_int_equal(fake_last_signal, SIGPIPE);
    assert_int_equal(file_poll(ends[1], NULL), POLLOUT | POLLWRNORM | POLLERR);
    assert_int_equal(get(ends[1], back, 1), -EBADF);
    file_unref(ends[1]);
    assert_int_equal(fake_pages_used, 0);
}

static void write_later(void) { assert_int_equal(put(ends[1], "later", 5), 5); }

static void read_later(void) { assert_int_equal(get(ends[0], back, 65536), 65536); }

static void close_later(void) { file_unref(ends[0]); }

static void blocks_until_it_can(void **state) {
    make(0);
    assert_int_equal(get(ends[0], back, 10), -ERESTARTSYS); // a signal comes first
    fake_on_sleep = write_later;
    assert_int_equal(get(ends[0], back, 10), 5);
    fake_on_sleep = read_later;
    assert_int_equal(put(ends[1], block, 100000), 100000);
    assert_int_equal(put(ends[1], block, 65536), 7 * 4096); // the free slots, before the signal
    assert_int_equal(put(ends[1], block, 1), -ERESTARTSYS);
    fake_on_sleep = close_later;
    assert_int_equal(put(ends[1], block, 1), -EPIPE);
    file_unref(ends[1]);
    assert_int_equal(fake_pages_used, 0);
}

static struct file *later;

static void open_writer_later(void) { later = vfs_open(AT_FDCWD, "/fifo", O_WRONLY, 0); }

static void fifos_wait_for_the_other_side(void **state) {
    assert_int_equal(vfs_mknod(AT_FDCWD, "/fifo", S_IFIFO | 0666, 0), 0);
    assert_int_equal(PTR_ERR(vfs_open(AT_FDCWD, "/fifo", O_WRONLY | O_NONBLOCK, 0)), -ENXIO);
    assert_int_equal(PTR_ERR(vfs_open(AT_FDCWD, "/fifo", O_RDONLY, 0)), -ERESTARTSYS);
    struct file *r = vfs_open(AT_FDCWD, "/fifo", O_RDONLY | O_NONBLOCK, 0);
    assert_false(IS_ERR(r));
    assert_int_equal(file_poll(r, NULL), 0); // nobody has written yet: no hang-up
    assert_int_equal(get(r, back, 1), 0);
    struct file *w = vfs_open(AT_FDCWD, "/fifo", O_WRONLY, 0);
    assert_false(IS_ERR(w));
    assert_int_equal(put(w, "x", 1), 1);
    file_unref(w);
    assert_int_equal(file_poll(r, NULL), POLLIN | POLLRDNORM | POLLHUP);
    file_unref(r);
    fake_on_sleep = open_writer_later;
    r = vfs_open(AT_FDCWD, "/fifo", O_RDONLY, 0);
    assert_false(IS_ERR(r) || IS_ERR(later));
    assert_int_equal(get(r, back, 1), -ERESTARTSYS); // the byte of before went with the last user
    file_unref(later);
    file_unref(r);
    r = vfs_open(AT_FDCWD, "/fifo", O_RDWR, 0);
    assert_false(IS_ERR(r));
    file_unref(r);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/fifo", false), 0);
    assert_int_equal(fake_pages_used, 0);
}

static void polls_one_of_many(void **state) {
    struct file *many[40][2];
    for (int i = 0; i < 40; i++)
        assert_int_equal(pipe_create(0, many[i]), 0);
    ends[1] = many[33][1];
    struct poller p;
    poller_init(&p);
    fake_on_sleep = write_later;
    int found = -1, err = 0;
    for (int round = 0; found < 0 && err == 0; round++) {
        for (int i = 0; i < 40; i++)
            if (file_poll(many[i][0], poller_table(&p)) & POLLIN)
                found = i;
        if (found < 0)
            err = poller_wait(&p, NSEC_MAX);
    }
    assert_int_equal(found, 33);
    assert_int_equal(poller_wait(&p, NSEC_MAX), -ERESTARTNOHAND);
    assert_int_equal(poller_wait(&p, 1), -ETIMEDOUT);
    poller_done(&p);
    for (int i = 0; i < 40; i++) {
        assert_true(many[i][0]->refs == 1);
        file_unref(many[i][0]);
        file_unref(many[i][1]);
    }
}

static void eventfds_count(void **state) {
    struct file *e = eventfd_create(3, O_NONBLOCK);
    uint64_t v = 5;
    assert_int_equal(put(e, &v, 8), 8);
    assert_int_equal(put(e, &v, 7), -EINVAL);
    assert_int_equal(get(e, &v, 8), 8);
    assert_int_equal(v, 8);
    assert_int_equal(get(e, &v, 8), -EAGAIN);
    v = ~0UL;
    assert_int_equal(put(e, &v, 8), -EINVAL);
    v = ~0UL - 1;
    assert_int_equal(put(e, &v, 8), 8);
    assert_int_equal(file_poll(e, NULL), POLLIN | POLLRDNORM);
    v = 1;
    assert_int_equal(put(e, &v, 8), -EAGAIN);
    file_unref(e);
    e = eventfd_create(2, 1 | O_NONBLOCK); // a semaphore
    assert_int_equal(get(e, &v, 8), 8);
    assert_int_equal(v, 1);
    assert_int_equal(get(e, &v, 100), 8);
    assert_int_equal(get(e, &v, 8), -EAGAIN);
    file_unref(e);
}

// --- epoll ---

struct events {
    int count, room;
    struct epoll_request ev[64];
};

static bool emit(void *arg, int i, const struct epoll_request *ev) {
    struct events *e = arg;
    if (i >= e->room)
        return false;
    e->ev[i] = *ev;
    e->count = i + 1;
    return true;
}

static int wait_now(struct file *ep, struct events *e) {
    *e = (struct events){.room = 64};
    return epoll_wait(ep, 64, 0, emit, e);
}

static void epoll_levels_edges_and_shots(void **state) {
    struct events e;
    struct file *ep = epoll_create(0);
    make(O_NONBLOCK);
    struct epoll_request r = {EPOLLIN, 77};
    assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 3, ends[0], &r), 0);
    assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 3, ends[0], &r), -EEXIST);
    assert_int_equal(epoll_control(ep, EPOLL_CTL_DEL, 4, ends[0], NULL), -ENOENT);
    assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 5, ep, &r), -EINVAL);
    assert_int_equal(wait_now(ep, &e), 0);
    put(ends[1], "ab", 2);
    for (int i = 0; i < 3; i++) { // level: again and again
        assert_int_equal(wait_now(ep, &e), 1);
        assert_int_equal(e.ev[0].events, EPOLLIN);
        assert_int_equal(e.ev[0].data, 77);
    }
    assert_int_equal(file_poll(ep, NULL), POLLIN | POLLRDNORM);
    get(ends[0], back, 10);
    assert_int_equal(file_poll(ep, NULL), 0);
    assert_int_equal(wait_now(ep, &e), 0);

    r.events = EPOLLIN | EPOLLET;
    assert_int_equal(epoll_control(ep, EPOLL_CTL_MOD, 3, ends[0], &r), 0);
    put(ends[1], "ab", 2);
    assert_int_equal(wait_now(ep, &e), 1);
    assert_int_equal(wait_now(ep, &e), 0); // edge: once
    put(ends[1], "c", 1);
    assert_int_equal(wait_now(ep, &e), 1); // and at each news

    r.events = EPOLLIN | EPOLLONESHOT;
    assert_int_equal(epoll_control(ep, EPOLL_CTL_MOD, 3, ends[0], &r), 0); // there is data: fires
    assert_int_equal(wait_now(ep, &e), 1);
    put(ends[1], "d", 1);
    assert_int_equal(wait_now(ep, &e), 0);
    file_unref(ends[1]);
    assert_int_equal(wait_now(ep, &e), 0); // not even the hang-up
    r.events = 0 | EPOLLOUT;
    assert_int_equal(epoll_control(ep, EPOLL_CTL_MOD, 3, ends[0], &r), 0);
    assert_int_equal(wait_now(ep, &e), 1); // hang-ups come unasked
    assert_int_equal(e.ev[0].events, EPOLLHUP);
    file_unref(ends[0]); // takes its item out
    assert_int_equal(wait_now(ep, &e), 0);
    file_unref(ep);
}

static void epoll_many_fairly(void **state) {
    struct file *ep = epoll_create(0), *fd[50];
    struct events e;
    for (int i = 0; i < 50; i++) {
        fd[i] = eventfd_create(1, 0);
        struct epoll_request r = {EPOLLIN, i};
        assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, i, fd[i], &r), 0);
    }
    uint64_t seen = 0;
    for (int round = 0; round < 10; round++) {
        e = (struct events){.room = 64};
        assert_int_equal(epoll_wait(ep, 5, 0, emit, &e), 5);
        for (int i = 0; i < 5; i++)
            seen |= 1UL << e.ev[i].data;
    }
    assert_int_equal(seen, (1UL << 50) - 1); // nobody starves
    e = (struct events){.room = 2};          // the application's memory ends
    assert_int_equal(epoll_wait(ep, 64, 0, emit, &e), 2);
    e = (struct events){.room = 0};
    assert_int_equal(epoll_wait(ep, 64, 0, emit, &e), -EFAULT);
    assert_int_equal(wait_now(ep, &e), 50);

    // An instance in an instance, and no circles.
    struct file *outer = epoll_create(0);
    struct epoll_request r = {EPOLLIN, 1};
    assert_int_equal(epoll_control(outer, EPOLL_CTL_ADD, 1, ep, &r), 0);
    assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 1, outer, &r), -ELOOP);
    assert_int_equal(wait_now(outer, &e), 1);
    for (int i = 0; i < 50; i++) {
        uint64_t v;
        get(fd[i], &v, 8);
    }
    assert_int_equal(wait_now(outer, &e), 0);
    uint64_t one = 1;
    put(fd[17], &one, 8);
    assert_int_equal(wait_now(outer, &e), 1);
    file_unref(ep);
    for (int i = 0; i < 50; i++)
        file_unref(fd[i]);
    assert_int_equal(wait_now(outer, &e), 0);
    file_unref(outer);
}

static void locks_exclude(void **state) {
    struct file *f = vfs_open(AT_FDCWD, "/locked", O_CREAT | O_RDWR, 0644);
    struct file *g = vfs_open(AT_FDCWD, "/locked", O_RDWR, 0);
    struct file_lock found;
    int me, you;
    assert_int_equal(lock_set(f, &me, false, F_WRLCK, 10, 19, false), 0);
    assert_int_equal(lock_set(f, &you, false, F_RDLCK, 0, 10, false), -EAGAIN);
    assert_int_equal(lock_set(f, &you, false, F_RDLCK, 0, 9, false), 0);
    assert_int_equal(lock_set(f, &me, false, F_UNLCK, 13, 15, false), 0); // in two
    assert_int_equal(lock_set(f, &you, false, F_WRLCK, 13, 15, false), 0);
    assert_true(lock_test(f, &you, F_RDLCK, 0, 100, &found));
    assert_true(found.start == 10 || found.start == 16);
    assert_true(lock_test(f, &you, F_RDLCK, 12, 12, &found));
    assert_int_equal(found.start, 10);
    assert_int_equal(found.end, 12);
    assert_false(lock_test(f, &you, F_WRLCK, 20, 100, &found));
    lock_release_owner(f->inode, &you, false);
    assert_int_equal(lock_set(f, &me, false, F_WRLCK, 13, 15, false), 0);
    assert_true(lock_test(f, &you, F_RDLCK, 0, 100, &found)); // one again
    assert_int_equal(found.start, 10);
    assert_int_equal(found.end, 19);
    lock_release_owner(f->inode, &me, false);

    f->has_lock = g->has_lock = true;
    assert_int_equal(lock_set(f, f, true, F_RDLCK, 0, INT64_MAX, false), 0);
    assert_int_equal(lock_set(g, g, true, F_RDLCK, 0, INT64_MAX, false), 0);
    assert_int_equal(lock_set(g, g, true, F_WRLCK, 0, INT64_MAX, false), -EAGAIN);
    assert_int_equal(lock_set(f, &me, false, F_WRLCK, 0, INT64_MAX, false), 0); // the other kind
    lock_release_owner(f->inode, &me, false);
    file_unref(f);
    assert_int_equal(lock_set(g, g, true, F_WRLCK, 0, INT64_MAX, false), 0);
    struct inode *inode = inode_ref(g->inode);
    file_unref(g);
    assert_null(inode->locks);
    inode_unref(inode);
    assert_int_equal(vfs_unlink(AT_FDCWD, "/locked", false), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_bytes_in_order),
        cmocka_unit_test(holds_64_kib_and_is_atomic),
        cmocka_unit_test(changes_its_size),
        cmocka_unit_test(knows_when_the_other_end_has_gone),
        cmocka_unit_test(blocks_until_it_can),
        cmocka_unit_test(fifos_wait_for_the_other_side),
        cmocka_unit_test(polls_one_of_many),
        cmocka_unit_test(eventfds_count),
        cmocka_unit_test(epoll_levels_edges_and_shots),
        cmocka_unit_test(epoll_many_fairly),
        cmocka_unit_test(locks_exclude),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
