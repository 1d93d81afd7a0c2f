// link: tests/unit/fs_fakes.c fs/dentry.c fs/directory.c fs/inode.c fs/cache/inode_table.c fs/xattr.c fs/mount.c fs/mount_calls.c fs/mount_flags.c fs/superblock.c fs/path.c fs/pathname.c fs/names.c fs/rename.c
// link: fs/open.c fs/file.c fs/fdtable.c fs/context.c fs/tmpfs.c fs/tmpfs_file.c fs/tmpfs_mount.c fs/pagetree.c fs/pipe.c fs/pipe_open.c fs/lock.c fs/poll.c
// link: fs/epoll.c fs/inotify.c fs/eventfd.c fs/seqbuf.c kernel/memory/uio.c kernel/threads/wait.c net/socket.c net/option.c net/scm.c fs/file_owner.c
// link: net/bytequeue.c net/unix.c net/unix_name.c net/unix_connect.c net/unix_stream.c net/unix_packet.c net/unix_gc.c net/inet/sysctl.c
// flags: -D__KERNEL__
/* The queue of bytes against a plain array, also when memory runs out; sockets in flight: whatever is sent within whatever, nothing
 * that can be received is lost, and nothing is left when all descriptors are closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/internal.h"
#include "kernel/string.h"
#include "net/bytequeue.h"
#include "net/unix.h"
#include "tests/unit/fs_fakes.h"

// There is no other family.
const struct socket_family inet_family = {.family = -1}, inet6_family = {.family = -1}, netlink_family = {.family = -1};
long inet_ioctl(struct socket *s, unsigned cmd, uaddr_t arg) { return -ENOTTY; }
int socket_set_interface(struct socket *s, int index) { return -ENOPROTOOPT; }
int socket_set_interface_name(struct socket *s, const void *value, unsigned len) { return -ENOPROTOOPT; }
int socket_get_interface_name(struct socket *s, void *value, unsigned *len) { return -ENOPROTOOPT; }
int socket_get_interface(struct socket *s) { return -ENOPROTOOPT; }

struct group_list *process_groups(struct process *p) {
    return NULL;
}
void group_list_unref(struct group_list *g) {}
int signal_send_process(struct process *p, int sig, const siginfo_t *info) { return 0; }
int signal_send_thread(struct thread *t, int sig, const siginfo_t *info) { return 0; }
uint64_t random_u64(void) { return fake_random(); }

static int start(void **state) {
    fake_start();
    return 0;
}

static unsigned random_below(unsigned n) { return fake_random() % n; }

// --- The queue of bytes ---

static char block[200000], back[200000];

static int put(struct bytequeue *q, const char *data, size_t n) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)data, n, false);
    return bytequeue_put(q, &u, n);
}

static void peek(struct bytequeue *q, size_t offset, size_t n) {
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)back, n, false);
    assert_int_equal(bytequeue_peek(q, &u, offset, n), n);
}

static void queue_is_like_an_array(void **state) {
    struct bytequeue q;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = fake_random();
    for (int round = 0; round < 20; round++) {
        bytequeue_init(&q);
        size_t in = 0, out = 0;
        while (out < sizeof(block)) {
            size_t most = round % 3 == 0 ? 10 : round % 3 == 1 ? 4096 : 30000;
            size_t n = random_below(4) ? random_below(most) : 4096;
            n = MIN(n, sizeof(block) - in);
            if (round < 3) // as ping-pong does: empty after each
                n = MIN(n, 1ul);
            if (round < 3 && out > 20000)
                break;
            assert_int_equal(put(&q, block + in, n), 0);
            in += n;
            assert_int_equal(bytequeue_used(&q), in - out);
            size_t used = in - out, offset = used ? random_below(used) : 0,
                   some = used ? random_below(used - offset) : 0;
            peek(&q, offset, some);
            assert_memory_equal(back, block + out + offset, some);
            n = round < 3 || in == sizeof(block) ? used : random_below(used + 1);
            peek(&q, 0, n);
            assert_memory_equal(back, block + out, n);
            bytequeue_drop(&q, n);
            out += n;
            assert_true(fake_pages_used <= (in - out) / PAGE_SIZE + 3);
        }
        bytequeue_free(&q);
        assert_int_equal(fake_pages_used, 0);
    }
}

static void queue_without_memory_takes_all_or_nothing(void **state) {
    struct bytequeue q;
    bytequeue_init(&q);
    unsigned limit = fake_page_limit;
    size_t in = 0, out = 0;
    for (int i = 0; i < 2000; i++) {
        fake_page_limit = random_below(12);
        size_t n = random_below(20000);
        if (put(&q, block + in % 100000, n) == 0) {
            // What came after a failure must not be mixed with what was left of it.
            assert_int_equal(bytequeue_used(&q), in + n - out);
            peek(&q, in - out, n);
            assert_memory_equal(back, block + in % 100000, n);
            in += n;
        }
        assert_int_equal(bytequeue_used(&q), in - out);
        n = random_below(in - out + 1);
        if (i % 3 == 0)
            n = in - out;
        bytequeue_drop(&q, n);
        out += n;
    }
    fake_page_limit = limit;
    bytequeue_free(&q);
    assert_int_equal(fake_pages_used, 0);
}

// Copied bytes and references in turn, against a plain array; where memory runs out, all or nothing.
static void queue_with_references(void **state) {
    struct bytequeue q;
    enum { PAGES = 12 };
    struct page *pages[PAGES];
    char *data[PAGES];
    for (int i = 0; i < PAGES; i++) {
        pages[i] = page_alloc(0, 0);
        data[i] = page_to_virt(pages[i]);
        for (unsigned k = 0; k < PAGE_SIZE; k++)
            data[i][k] = fake_random();
    }
    bytequeue_init(&q);
    unsigned limit = fake_page_limit;
    size_t in = 0, out = 0;
    for (int round = 0; round < 4000; round++) {
        static char model[200000];
        if (out > 100000) {
            memmove(model, model + out, in - out);
            in -= out;
            out = 0;
        }
        struct uio_vec vec[PAGES];
        size_t n = 0, first = random_below(PAGES), count = 1 + random_below(PAGES - first), wanted;
        for (size_t i = 0; i < count; i++) {
            size_t from = random_below(4) ? 0 : random_below(PAGE_SIZE), len = random_below(4) ? PAGE_SIZE - from : random_below(PAGE_SIZE - from + 1);
            vec[i] = (struct uio_vec){(uintptr_t)data[first + i] + from, len};
            n += len;
        }
        struct uio u = {.vec = vec, .left = n, .pages = random_below(3) > 0};
        fake_page_limit = random_below(8) ? limit : fake_pages_used + random_below(3);
        wanted = random_below(3) ? n : random_below(n + 1);
        if (in - out + wanted < 90000 && in + wanted < sizeof(model) && bytequeue_put(&q, &u, wanted) == 0) {
            assert_int_equal(u.left, n - wanted);
            for (size_t i = 0, left = wanted; left; i++) {
                size_t some = MIN(left, vec[i].len);
                memcpy(model + in, (void *)(uintptr_t)vec[i].base, some);
                in += some;
                left -= some;
            }
        }
        fake_page_limit = limit;
        size_t used = in - out, offset = used ? random_below(used) : 0, some = used ? random_below(used - offset + 1) : 0;
        assert_int_equal(bytequeue_used(&q), used);
        peek(&q, offset, some);
        assert_memory_equal(back, model + out + offset, some);
        struct bytequeue_piece *piece = NULL; // as TCP hands them on
        for (uint64_t at = q.tail; at < q.head;) {
            const char *there;
            size_t k = bytequeue_look(&q, &piece, at, q.head - at, &there);
            assert_true(k > 0 && k <= q.head - at);
            assert_memory_equal(there, model + out + (at - q.tail), k);
            at += k;
        }
        some = random_below(3) ? random_below(used + 1) : used;
        bytequeue_drop(&q, some);
        out += some;
        for (int i = 0; in == out && i < PAGES; i++) // one piece of a page may stay, as the last page of the queue's own does
            assert_true(pages[i]->refs <= 2);
    }
    bytequeue_free(&q);
    for (int i = 0; i < PAGES; i++) {
        assert_int_equal(pages[i]->refs, 1);
        page_unref(pages[i]);
    }
    assert_int_equal(fake_pages_used, 0);
}

// --- Sockets in flight ---

enum { OPEN_MAX = 40 };
static int fds[OPEN_MAX];
static unsigned open_count;

static void make_pair(int type) {
    struct socket *s[2];
    for (int i = 0; i < 2; i++) {
        s[i] = socket_create(AF_UNIX, type, 0);
        assert_false(IS_ERR(s[i]));
        struct file *f = socket_file(s[i], O_NONBLOCK);
        assert_false(IS_ERR(f));
        fds[open_count++] = fd_install(f, 0);
    }
    assert_int_equal(s[0]->ops->pair(s[0], s[1]), 0);
}

static void drop(unsigned i) {
    assert_int_equal(fd_close(fds[i]), 0);
    fds[i] = fds[--open_count];
}

// One byte, the number of descriptors that come with it.
static void send_some(int to) {
    unsigned count = 1 + random_below(3);
    _Alignas(8) char control[64] = {0};
    uint64_t len = 16 + count * sizeof(int);
    int words[2] = {SOL_SOCKET, SCM_RIGHTS};
    memcpy(control, &len, 8);
    memcpy(control + 8, words, 8);
    for (unsigned i = 0; i < count; i++)
        memcpy(control + 16 + i * sizeof(int), &fds[random_below(open_count)], sizeof(int));
    char byte = count;
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)&byte, 1, false);
    struct socket_message m = {.control = control, .control_len = ALIGN_UP(len, 8ul)};
    struct file *f = fd_get(to);
    int64_t n = socket_send(f, &u, &m, MSG_NOSIGNAL);
    assert_true(n == 1 || n == -EPIPE || n == -EAGAIN || n == -ECONNREFUSED || n == -ENOTCONN || n == -ECONNRESET);
    file_unref(f);
}

// True when there was a message. All descriptors that were sent with it must come.
static bool receive_some(int from, int flags) {
    char byte = 0;
    struct uio_vec vec;
    struct uio u = uio_one(&vec, (uintptr_t)&byte, 1, false);
    struct socket_message m = {.control_max = 64};
    struct file *f = fd_get(from);
    int64_t n = socket_receive(f, &u, &m, flags);
    file_unref(f);
    if (n == 1) {
        uint64_t len = 0;
        assert_true(m.control_len >= 16);
        memcpy(&len, m.control, 8);
        assert_int_equal(len, 16 + byte * sizeof(int));
        assert_int_equal(m.flags & MSG_CTRUNC, 0);
        for (int i = 0; i < byte; i++) {
            int fd;
            memcpy(&fd, m.control + 16 + i * sizeof(int), sizeof(int));
            if (open_count < OPEN_MAX)
                fds[open_count++] = fd;
            else
                fd_close(fd);
        }
    }
    kfree(m.control);
    return n == 1;
}

static void no_socket_is_lost_or_left(void **state) {
    static const int types[] = {SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    fake_process.limits[RLIMIT_NOFILE].rlim_cur = 1024;
    make_pair(SOCK_STREAM); // what is allocated once, and stays
    while (open_count)
        drop(0);
    long objects = fake_objects;
    uint64_t received = 0;
    for (int round = 0; round < 300; round++) {
        for (int step = 0; step < 120; step++) {
            unsigned what = random_below(10);
            if (open_count < 2 || (what == 0 && open_count + 2 <= OPEN_MAX))
                make_pair(types[random_below(ARRAY_SIZE(types))]);
            else if (what < 5)
                send_some(fds[random_below(open_count)]);
            else if (what < 8)
                drop(random_below(open_count));
            else
                received +=
                    receive_some(fds[random_below(open_count)], what == 8 && open_count < OPEN_MAX - 3 ? MSG_PEEK : 0);
        }
        // Half of the rounds end with everything received, half with everything closed as it is.
        for (unsigned i = 0; round % 2 && i < open_count; i++)
            while (receive_some(fds[i], 0))
                received++;
        while (open_count)
            drop(random_below(open_count));
        make_pair(SOCK_DGRAM); // the collector comes when a socket is closed, not when it is left in a cycle
        drop(0);
        drop(0);
        assert_int_equal(fake_objects, objects);
        assert_int_equal(fake_pages_used, 0);
    }
    assert_true(received > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(queue_is_like_an_array, start),
        cmocka_unit_test_setup(queue_with_references, start),
        cmocka_unit_test_setup(queue_without_memory_takes_all_or_nothing, start),
        cmocka_unit_test_setup(no_socket_is_lost_or_left, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
