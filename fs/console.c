// The console: one channel of bytes to the host (kernel/chardev.h) that carries standard input, output and error, the
// terminal, signals, the window's size and the exit status, as frames (docs/boot-protocol.md) or, in plain mode, as the
// bytes of a terminal and nothing else.
//
// Output: a frame goes out whole or not at all. What the device did not take at once waits in console.rest and leaves before
// anything else; a writer that finds something there sleeps. So the host's pace reaches the program's write(2).
// Input: the interrupt reads the device and takes the frames apart. Bytes go to a ring; from there to the terminal at once,
// or to the readers of the stream. The window (frame W) never grants more than the ring has room for.
//
// Locks, both interrupt-safe: input_lock > process_table_lock > tty.lock > output_lock > the driver's.
#include "fs/console.h"
#include "fs/vfs.h"

#include "kernel/boot.h"
#include "kernel/chardev.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"

#define RING_SIZE_STREAM 16384
#define RING_SIZE_TTY 4096
#define MESSAGES_SIZE 1024
#define DEVICE_CONSOLE MAKE_DEV(5, 1)

static struct {
    const struct chardev_ops *dev;
    struct stdio_config config;
    struct tty *tty; // NULL: no terminal, streams only

    struct spinlock output_lock;
    uint8_t rest[CONSOLE_FRAME_MAX]; // of a frame of which a part has left
    uint32_t rest_at, rest_end;
    bool full;  // the device took less than it was offered: it calls on_writable
    bool alone; // the end of the machine: no other CPU runs, locks are not taken

    struct spinlock input_lock;
    struct frame_reader reader;
    uint8_t *ring;
    uint32_t ring_size, ring_head, ring_tail; // head and tail free-running
    uint32_t window;                          // bytes that the host may still send
    bool grant_due;                           // a W frame found no room
    bool ended;                               // frame Z

    char messages[MESSAGES_SIZE]; // lines that could not be sent at once, each with its NUL
    uint32_t messages_len;
} console = {.output_lock = SPINLOCK_INIT, .input_lock = SPINLOCK_INIT};

struct waitq console_write_wait = WAITQ_INIT(console_write_wait);
struct waitq console_read_wait = WAITQ_INIT(console_read_wait);

// --- Output ---

static uint64_t output_lock(void) { return console.alone ? irq_save() : spin_lock_irqsave(&console.output_lock); }
static void output_unlock(uint64_t flags) {
    if (!console.alone)
        spin_unlock(&console.output_lock);
    irq_restore(flags);
}

// Lock held.
static size_t device_write(const uint8_t *data, size_t n) {
    size_t taken = console.dev->write(data, n);
    WRITE_ONCE(console.full, taken < n);
    return taken;
}

// Lock held. True: nothing is left over from earlier frames.
static bool send_rest(void) {
    if (console.rest_at < console.rest_end)
        console.rest_at += (uint32_t)device_write(console.rest + console.rest_at, console.rest_end - console.rest_at);
    return console.rest_at == console.rest_end;
}

size_t console_send(uint8_t type, uint8_t *frame, size_t n) { return console_send_session(0, type, frame, n); }

size_t console_send_session(uint8_t session, uint8_t type, uint8_t *frame, size_t n) {
    uint64_t flags = output_lock();
    size_t sent = 0;
    if (likely(send_rest())) {
        if (console.config.framed) {
            frame_put_header(frame, type, (uint16_t)n);
            frame[1] = session;
            size_t size = FRAME_HEADER_SIZE + n, taken = device_write(frame, size);
            if (taken) {
                console.rest_at = 0;
                console.rest_end = (uint32_t)(size - taken);
                memcpy(console.rest, frame + taken, size - taken);
                sent = n;
            }
        } else {
            sent = device_write(frame + FRAME_HEADER_SIZE, n);
        }
    }
    output_unlock(flags);
    return sent;
}

bool console_send_ready(void) { return !READ_ONCE(console.full); }

// --- Input ---

static uint32_t ring_used(void) { return console.ring_head - console.ring_tail; }

// Lock held. Tells the host how much more it may send, in steps of a quarter of the ring.
static void grant(void) {
    if (!console.config.framed || !console.ring || console.ended)
        return;
    uint32_t room = console.ring_size - ring_used() - console.window;
    console.grant_due = false;
    if (room < console.ring_size / 4)
        return;
    uint8_t frame[FRAME_HEADER_SIZE + sizeof(room)];
    memcpy(frame + FRAME_HEADER_SIZE, &room, sizeof(room)); // little endian, as x86 is
    if (console_send('W', frame, sizeof(room)))
        console.window += room;
    else
        console.grant_due = true;
}

static void ring_put(const uint8_t *data, size_t n) {
    while (n) {
        uint32_t at = console.ring_head % console.ring_size;
        uint32_t some = (uint32_t)MIN(n, (size_t)(console.ring_size - at));
        memcpy(console.ring + at, data, some);
        WRITE_ONCE(console.ring_head, console.ring_head + some);
        data += some;
        n -= some;
    }
}

static const struct console_sessions *sessions;
void console_set_sessions(const struct console_sessions *ops) { WRITE_ONCE(sessions, ops); }

static void input_bytes(void *arg, uint8_t session, uint8_t type, const uint8_t *data, size_t n) {
    if (session || type != 'I') {
        if (session && sessions)
            sessions->data(session, type, data, n);
        return;
    }
    size_t room = console.ring ? console.ring_size - ring_used() : 0;
    if (n > room || (console.config.framed && n > console.window)) {
        log_once(LOG_WARN, "console: the host sends more input than it was granted; the excess is lost");
        n = MIN(n, room);
    }
    console.window -= MIN(console.window, (uint32_t)n);
    if (n)
        ring_put(data, n);
}

static void input_control(void *arg, uint8_t session, uint8_t type, const uint8_t *data, size_t n) {
    if (session) {
        if (sessions)
            sessions->control(session, type, data, n);
        return;
    }
    if (type == 'Z') {
        WRITE_ONCE(console.ended, true);
    } else if (type == 'S' && n >= 4) {
        if (console.tty)
            tty_set_winsize(console.tty, data[0] | data[1] << 8, data[2] | data[3] << 8);
    } else if (type == 'K' && n >= 1 && data[0] >= 1 && data[0] <= SIGNAL_COUNT) {
        if (init_process) // it is there before the console is
            signal_send_process(init_process, data[0], NULL);
    } else {
        log_once(LOG_WARN, "console: a frame of type %x and length %zu from the host is not known", type, n);
    }
}

static const struct frame_sink input_sink = {.input = input_bytes, .control = input_control};

// Lock held. From the ring to the terminal, as far as that takes it.
static void feed_tty(void) {
    while (ring_used()) {
        uint32_t at = console.ring_tail % console.ring_size, n = MIN(ring_used(), console.ring_size - at);
        size_t taken = tty_receive(console.tty, console.ring + at, n);
        console.ring_tail += (uint32_t)taken;
        if (taken < n)
            return;
    }
    if (console.ended && !console.tty->input_ended)
        tty_input_end(console.tty);
}

// Reads what the device has. Any context.
static void pump(void) {
    uint8_t buf[512];
    uint64_t flags = spin_lock_irqsave(&console.input_lock);
    for (;;) {
        // Frames are read in any case, for the host keeps to the window; plain bytes wait in the device.
        size_t room = console.config.framed ? sizeof(buf) : console.ring ? console.ring_size - ring_used() : 0;
        size_t n = room ? console.dev->read(buf, MIN(room, sizeof(buf))) : 0;
        if (n == 0)
            break;
        if (!console.config.framed)
            ring_put(buf, n);
        else if (!frame_read(&console.reader, buf, n, &input_sink, NULL))
            log_err("console: the host does not speak in frames; its input is ignored");
        if (console.tty)
            feed_tty();
    }
    if (console.tty)
        feed_tty();
    grant();
    bool wake = !console.tty && (ring_used() || console.ended);
    spin_unlock_irqrestore(&console.input_lock, flags);
    if (wake)
        waitq_wake_all(&console_read_wait);
}

static void on_writable(void) {
    uint64_t flags = output_lock();
    bool ready = send_rest();
    if (ready)
        WRITE_ONCE(console.full, false);
    output_unlock(flags);
    if (!ready)
        return;
    waitq_wake_all(&console_write_wait);
    if (console.tty)
        tty_output_ready(console.tty);
    if (READ_ONCE(console.grant_due))
        pump();
}

static const struct chardev_events events = {.on_readable = pump, .on_writable = on_writable};

static int ring_start(uint32_t size) {
    uint8_t *ring = kmalloc(size);
    if (!ring)
        return -ENOMEM;
    uint64_t flags = spin_lock_irqsave(&console.input_lock);
    if (!console.ring) {
        console.ring_size = size;
        console.ring = ring;
        ring = NULL;
    }
    spin_unlock_irqrestore(&console.input_lock, flags);
    kfree(ring);
    pump();
    return 0;
}

int console_input_start(void) { return console.ring ? 0 : ring_start(RING_SIZE_STREAM); }

size_t console_input_take(void *buf, size_t n) {
    size_t done = 0;
    uint64_t flags = spin_lock_irqsave(&console.input_lock);
    while (done < n && ring_used()) {
        uint32_t at = console.ring_tail % console.ring_size;
        uint32_t some = (uint32_t)MIN(n - done, (size_t)MIN(ring_used(), console.ring_size - at));
        memcpy((uint8_t *)buf + done, console.ring + at, some);
        WRITE_ONCE(console.ring_tail, console.ring_tail + some);
        done += some;
    }
    grant();
    spin_unlock_irqrestore(&console.input_lock, flags);
    if (done && !console.config.framed)
        pump(); // there is room again for what waits in the device
    return done;
}

size_t console_input_available(void) { return READ_ONCE(console.ring_head) - READ_ONCE(console.ring_tail); }
bool console_input_ended(void) { return READ_ONCE(console.ended); }

// --- The terminal on the console ---

static size_t console_tty_write(struct tty *t, const void *data, size_t len) {
    uint8_t frame[CONSOLE_FRAME];
    size_t done = 0, some = 1;
    while (done < len && some) {
        size_t n = MIN(len - done, sizeof(frame) - FRAME_HEADER_SIZE);
        memcpy(frame + FRAME_HEADER_SIZE, (const uint8_t *)data + done, n);
        some = console_send('O', frame, n);
        done += some;
    }
    return done;
}

static void console_input_room(struct tty *t) { pump(); }

static const struct tty_ops console_tty_ops = {.write = console_tty_write, .input_room = console_input_room};

struct tty *tty_console(void) {
    return console.tty;
}

static struct file *open_tty(unsigned flags) {
    struct inode *inode = inode_anonymous(S_IFCHR | 0620, DEVICE_CONSOLE); // devfs puts the node's own in its place
    if (!inode)
        return ERR_PTR(-ENOMEM);
    struct file *f = tty_open(console.tty, inode, flags);
    inode_unref(inode);
    return f;
}

struct file *tty_open_console(unsigned flags) {
    if (!console.dev)
        return ERR_PTR(-ENXIO);
    return console.tty ? open_tty(flags) : console_open_stream(3, flags);
}

struct file *console_open_stdio(int fd) {
    switch (console.config.kind[fd]) {
    case STDIO_TTY: {
        // By its name, so that ttyname(3) finds it; a root without /dev gets the terminal nevertheless.
        struct file *f = vfs_open(AT_FDCWD, "/dev/console", O_RDWR, 0);
        return IS_ERR(f) || tty_from_file(f) ? f : ERR_PTR(-EIO);
    }
    case STDIO_STREAM: return console_open_stream(fd, fd == 0 ? O_RDONLY : O_WRONLY);
    default: return vfs_open(AT_FDCWD, "/dev/null", O_RDWR, 0);
    }
}

// --- The end of the machine ---

static void send_at_any_cost(uint8_t type, uint8_t *frame, size_t n) {
    while (console_send(type, frame, n) == 0 && n)
        cpu_relax(); // the driver looks at the device each time
}

static void send_message(const char *text, size_t len) {
    if (!console.config.framed) {
        log_report("%.*s", (int)len, text);
        return;
    }
    uint8_t frame[CONSOLE_FRAME];
    len = MIN(len, sizeof(frame) - FRAME_HEADER_SIZE);
    memcpy(frame + FRAME_HEADER_SIZE, text, len);
    send_at_any_cost('M', frame, len);
}

static void message(const char *text, size_t len) {
    // With interrupts on, this CPU holds no lock of the console or its driver. Otherwise the line waits for the end.
    if (irq_enabled() || console.alone) {
        send_message(text, len);
        return;
    }
    len = MIN(len, (size_t)(MESSAGES_SIZE - 1 - console.messages_len));
    memcpy(console.messages + console.messages_len, text, len);
    console.messages_len += (uint32_t)len;
    if (console.messages_len < MESSAGES_SIZE - 1)
        console.messages[console.messages_len++] = '\0';
}

// The other CPUs have stopped, perhaps with locks held, which are not taken any more: first the driver is told (flush).
static void finish(enum exit_kind kind, int code) {
    console.dev->flush();
    console.alone = true;
    while (!send_rest())
        cpu_relax();
    struct tty *t = console.tty;
    if (t) {
        t->stopped = false; // nobody is left to type the START key
        while (tty_output_pending(t))
            ldisc_drain(t);
    }
    for (uint32_t at = 0; at < console.messages_len;) {
        size_t len = strnlen(console.messages + at, console.messages_len - at);
        send_message(console.messages + at, len);
        at += (uint32_t)len + 1;
    }
    if (console.config.framed) {
        uint8_t frame[FRAME_HEADER_SIZE + 8] = {[FRAME_HEADER_SIZE] = (uint8_t)kind};
        int32_t value = code;
        memcpy(frame + FRAME_HEADER_SIZE + 4, &value, sizeof(value));
        send_at_any_cost('X', frame, 8);
    } else if (kind != EXIT_KNARR) {
        log_report("the program ended %s %d", kind == EXIT_SIGNAL ? "by signal" : "with status", code);
    }
    console.dev->flush();
}

static const struct machine_hooks hooks = {.message = message, .exit = finish};

// --- Start ---

int console_init(const struct stdio_config *config) {
    console.config = *config;
    console.dev = chardev_console();
    if (!console.dev)
        return -ENODEV;
    machine_set_hooks(&hooks);
    bool wants_tty = false;
    for (int fd = 0; fd < 3; fd++)
        wants_tty |= config->kind[fd] == STDIO_TTY;
    if (wants_tty) {
        struct tty *t = kmalloc(sizeof(*t));
        if (!t)
            return -ENOMEM;
        tty_init(t, &console_tty_ops, NULL, DEVICE_CONSOLE);
        tty_set_winsize(t, config->rows, config->columns);
        console.tty = t;
    }
    chardev_set_console_events(&events);
    // A terminal listens from the beginning (Ctrl-C); this also takes what the host has sent already.
    if (wants_tty)
        return ring_start(RING_SIZE_TTY);
    if (config->framed)
        pump();
    return 0;
}
