// link: fs/console.c fs/frame.c kernel/chardev.c
// flags: -DS_IFCHR=0020000 -DS_ISUID=0004000 -DS_ISGID=0002000
/* The console: frames whole whatever the device takes, the window of input, signals, messages, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fs/console.h"
#include "fs/vfs.h"
#include "kernel/boot.h"
#include "kernel/chardev.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"

int rand(void);
void srand(unsigned seed);
void *malloc(size_t size);
void free(void *p);

/* --- The device: what went out, what comes in --- */
static uint8_t out[4000000], in[200000];
static size_t out_len, out_room, in_len, in_taken, flushes;
static size_t device_write(const void *data, size_t n) {
    n = MIN(n, out_room - out_len);
    assert_true(out_len + n <= sizeof(out));
    memcpy(out + out_len, data, n);
    out_len += n;
    return n;
}
static size_t device_read(void *data, size_t n) {
    n = MIN(n, in_len - in_taken);
    memcpy(data, in + in_taken, n);
    in_taken += n;
    return n;
}
static void device_flush(void) {
    flushes++;
    out_room = sizeof(out);
}
static const struct chardev_ops device = {device_write, device_read, device_flush};

static void receive(const void *data, size_t n) {
    memcpy(in, data, n);
    in_len = n;
    in_taken = 0;
    chardev_console_readable();
}
static void receive_frame(uint8_t type, const void *data, size_t n) {
    static uint8_t frame[70000];
    frame_put_header(frame, type, (uint16_t)n);
    memcpy(frame + FRAME_HEADER_SIZE, data, n);
    receive(frame, FRAME_HEADER_SIZE + n);
}

/* --- The kernel around it --- */
static uint64_t signals;
static unsigned wakes, warnings;
static const struct machine_hooks *hooks;
static struct process first;
struct process *init_process = &first;
int signal_send_process(struct process *p, int sig, const siginfo_t *info) {
    signals |= SIGMASK(sig);
    return 0;
}
void machine_set_hooks(const struct machine_hooks *h) { hooks = h; }
unsigned waitq_wake_key(struct waitq *wq, unsigned exclusive, uint32_t key) { return wakes++; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { fail(); }
enum log_level log_threshold = LOG_WARN;
void log_print(enum log_level level, const char *fmt, ...) { warnings++; }
void log_report(const char *fmt, ...) {}
void *kmalloc(size_t size) { return malloc(size); }
void kfree(void *p) { free(p); }
/* No terminal here: these are not called. */
struct inode *inode_anonymous(uint32_t mode, uint64_t rdev) {
    return NULL;
}
void inode_unref(struct inode *inode) {}
struct file *tty_open(struct tty *t, struct inode *inode, unsigned flags) {
    return NULL;
}
struct tty *tty_from_file(struct file *f) {
    return NULL;
}
struct file *vfs_open(int at, const char *name, unsigned flags, uint32_t mode) {
    return NULL;
}
struct file *console_open_stream(int fd, unsigned flags) {
    return NULL;
}
void tty_init(struct tty *t, const struct tty_ops *ops, void *data, uint64_t rdev) { fail(); }
size_t tty_receive(struct tty *t, const void *data, size_t len) { return len; }
void tty_output_ready(struct tty *t) {}
bool tty_output_pending(struct tty *t) { return false; }
void tty_input_end(struct tty *t) {}
void tty_set_winsize(struct tty *t, unsigned rows, unsigned columns) {}
void ldisc_drain(struct tty *t) {}

/* --- Tests; the console is one, so their order matters --- */

static uint8_t pattern(size_t i) { return (uint8_t)(i * 11 + i / 251); }

/* Takes the frames apart that went out since the last call: adds what they carry. */
static struct {
    size_t output, errors, frames;
    uint64_t window;
    char message[1100];
    uint8_t exit[8];
    bool exited;
} host;
static size_t parsed;
static void host_reads(void) {
    while (out_len - parsed >= FRAME_HEADER_SIZE) {
        size_t n = out[parsed + 2] | (size_t)out[parsed + 3] << 8;
        uint8_t type = out[parsed], *p = out + parsed + FRAME_HEADER_SIZE;
        assert_int_equal(out[parsed + 1], 0);
        if (out_len - parsed < FRAME_HEADER_SIZE + n)
            break;
        if (type == 'O') {
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], pattern(host.output + i));
            host.output += n;
        } else if (type == 'E') {
            host.errors += n;
        } else if (type == 'W') {
            assert_int_equal(n, 4);
            host.window += p[0] | p[1] << 8 | p[2] << 16;
        } else if (type == 'M') {
            memcpy(host.message, p, n);
            host.message[n] = '\0';
        } else if (type == 'X') {
            assert_int_equal(n, 8);
            memcpy(host.exit, p, 8);
            host.exited = true;
        } else {
            fail();
        }
        host.frames++;
        parsed += FRAME_HEADER_SIZE + n;
    }
}

static int start(void **state) {
    struct stdio_config config = {.kind = {STDIO_STREAM, STDIO_STREAM, STDIO_STREAM}, .framed = true};
    assert_int_equal(console_init(&config), -ENODEV);
    chardev_register_console(&device);
    out_room = sizeof(out);
    assert_int_equal(console_init(&config), 0);
    assert_non_null(hooks);
    assert_int_equal(out_len, 0); /* nothing is sent before anything happens */
    return 0;
}

static void frames_go_out_whole(void **state) {
    size_t sent = 0;
    srand(1);
    out_room = 0;
    uint8_t frame[CONSOLE_FRAME_MAX];
    for (int i = 0; i < 4000; i++) {
        size_t n = 1 + (size_t)rand() % (rand() % 10 ? 200 : CONSOLE_FRAME_MAX - FRAME_HEADER_SIZE);
        for (size_t k = 0; k < n; k++)
            frame[FRAME_HEADER_SIZE + k] = pattern(sent + k);
        size_t taken = console_send('O', frame, n);
        assert_true(taken == 0 || taken == n);
        sent += taken;
        if (rand() % 20 == 0) {
            memset(frame, 0, sizeof(frame));
            console_send('E', frame, 5);
        }
        host_reads();
        out_room = MIN(out_room + (size_t)rand() % 700, sizeof(out));
        if (!console_send_ready()) {
            wakes = 0;
            chardev_console_writable();
            assert_true(wakes > 0 || !console_send_ready());
        }
    }
    out_room = sizeof(out);
    chardev_console_writable();
    assert_true(console_send_ready());
    host_reads();
    assert_int_equal(host.output, sent);
    assert_true(host.output > 50000 && host.errors > 0);
    assert_int_equal(parsed, out_len);
}

static void nothing_is_granted_before_somebody_reads(void **state) {
    static uint8_t data[65535];
    host_reads();
    assert_int_equal(host.window, 0);
    receive_frame('I', data, 10); /* a host that does not wait for the window */
    assert_int_equal(console_input_available(), 0);
    assert_true(warnings > 0);
    assert_int_equal(console_input_start(), 0);
    host_reads();
    assert_in_range(host.window, 1024, 65536);
}

static void input_flows_within_the_window(void **state) {
    static uint8_t data[65535];
    uint8_t buf[5000];
    size_t put = 0, got = 0;
    unsigned before = warnings;
    for (int i = 0; i < 20000; i++) {
        if (rand() % 2) {
            size_t n = (size_t)rand() % 9000;
            n = MIN(n, host.window);
            for (size_t k = 0; k < n; k++)
                data[k] = pattern(put + k);
            put += n;
            host.window -= n;
            wakes = 0;
            receive_frame('I', data, n);
            assert_true(wakes > 0 || console_input_available() == 0);
        } else {
            size_t n = console_input_take(buf, (size_t)rand() % sizeof(buf));
            for (size_t k = 0; k < n; k++)
                assert_int_equal(buf[k], pattern(got + k));
            got += n;
            /* Not always is there room for the frame that grants more. */
            if (rand() % 10 == 0)
                out_room = out_len;
            else if (rand() % 3 == 0) {
                out_room = sizeof(out);
                chardev_console_writable();
            }
            host_reads();
        }
        assert_int_equal(put - got, console_input_available());
    }
    assert_true(got > 1000000);
    assert_int_equal(warnings, before);
    out_room = sizeof(out);
    chardev_console_writable();
    host_reads();
    /* All that is not granted is in use. */
    assert_true(console_input_available() + host.window > 4096);
    size_t used = console_input_available();
    receive_frame('I', data, 60000); /* more than was granted: what has no room is lost, nothing else happens */
    assert_true(console_input_available() - used < 60000);
    assert_false(console_input_ended());
    receive_frame('Z', data, 0);
    assert_true(console_input_ended());
}

static void signals_reach_the_first_process(void **state) {
    receive_frame('K', "\x0f", 1);
    assert_int_equal(signals, SIGMASK(SIGTERM));
    receive_frame('K', "\0", 1);
    receive_frame('K', "\x41", 1);
    receive_frame('K', "", 0);
    receive_frame('S', "\x18\0\x50\0", 4); /* without a terminal: nothing */
    receive_frame('?', "what", 4);
    assert_int_equal(signals, SIGMASK(SIGTERM));
}

static void the_end_is_told_last(void **state) {
    uint8_t frame[CONSOLE_FRAME];
    memset(frame, 0, sizeof(frame));
    hooks->message("it was", 6);
    host_reads();
    assert_string_equal(host.message, "it was");
    for (size_t k = 0; k < 100; k++)
        frame[FRAME_HEADER_SIZE + k] = pattern(host.output + k);
    out_room = out_len + 50; /* half a frame is out */
    assert_int_equal(console_send('O', frame, 100), 100);
    assert_false(console_send_ready());
    hooks->exit(EXIT_SIGNAL, 9);
    size_t before = host.output;
    host_reads();
    assert_int_equal(host.output, before + 100);
    assert_true(host.exited && flushes >= 2);
    assert_memory_equal(host.exit, "\1\0\0\0\x09\0\0\0", 8);
    assert_int_equal(parsed, out_len);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_out_whole),           cmocka_unit_test(nothing_is_granted_before_somebody_reads),
        cmocka_unit_test(input_flows_within_the_window), cmocka_unit_test(signals_reach_the_first_process),
        cmocka_unit_test(the_end_is_told_last),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
