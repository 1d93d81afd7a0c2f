// Sessions: a program of its own for each, which is nobody's child, with pipes to the host, or a terminal, as standard input, output and error. A
// kernel thread a direction carries the bytes, within the windows that both sides grant; the first of them also starts the program, waits
// for its end, and tells the host. A session exists from its first R frame until its X frame.
// Lock: sessions_lock (interrupt-safe, a leaf but for wait queues): the table, rings, windows and process pointers. The console's input lock
// is held around the functions that it calls.
#include "loader/session.h"

#include "fs/console.h"
#include "fs/file.h"
#include "fs/poll.h"
#include "fs/vfs.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/deferred.h"
#include "loader/copy.h"
#include "loader/program.h"

#define SESSIONS 256
#define RECORDS_MAX (256u << 10)
#define RING_SIZE 16384u

struct session {
    uint8_t number;
    bool overflow, started, input_ended, done;
    bool report; // that it starts
    bool tty;    // one terminal in the place of the pipes: host[0] and host[1] are its master
    uint16_t rows, columns;
    struct tty *terminal;           // while it is in the table
    const char *copy_in, *copy_out; // in the place of a program; among the records
    char *records;
    size_t len;
    struct deferred start;
    struct program program;
    struct process *process;         // referenced
    struct file *guest[3], *host[3]; // ends of its pipes
    uint8_t ring[RING_SIZE];
    uint32_t head, tail, granted;
    uint64_t window; // bytes of output that the host takes
    uint32_t pumps;  // threads that run beside the first
    int failure;     // exit status of Knarr's own, 0: none
    struct waitq wait;
};

static struct session **sessions;
static struct spinlock sessions_lock = SPINLOCK_INIT;

// --- Frames to the host ---

static void send(uint8_t number, uint8_t type, uint8_t *frame, size_t n) {
    wait_event(&console_write_wait, console_send_session(number, type, frame, n) || !n);
}

static void send_message(struct session *s, const char *what, const char *why) {
    uint8_t frame[CONSOLE_FRAME];
    int n = snprintf((char *)frame + FRAME_HEADER_SIZE, sizeof(frame) - FRAME_HEADER_SIZE, "%s: %s", what, why);
    send(s->number, 'M', frame, MIN((size_t)n, sizeof(frame) - FRAME_HEADER_SIZE - 1));
}

static void send_exit(uint8_t number, uint8_t kind, int32_t code) {
    uint8_t frame[FRAME_HEADER_SIZE + 8] = {[FRAME_HEADER_SIZE] = kind};
    memcpy(frame + FRAME_HEADER_SIZE + 4, &code, sizeof(code));
    send(number, 'X', frame, 8);
}

// --- The program ---

static void fail(struct session *s, int status, const char *what, int err) {
    s->failure = status;
    send_message(s, what, program_error_text(err));
    process_exit((uint32_t)status << 8);
}

static void copy_main(struct session *s) {
    char *name = kzalloc(COPY_NAME);
    struct file *stream = fd_get(s->copy_in ? 0 : 1);
    int err = name && stream ? 0 : -ENOMEM;
    if (!err)
        err = s->copy_in ? copy_from_host(stream, s->copy_in, name) : copy_to_host(stream, s->copy_out, name);
    if (stream)
        file_unref(stream);
    if (err)
        send_message(s, name ? name : "copy", program_error_text(err));
    kfree(name);
    s->failure = err ? STATUS_FAILED : 0;
    process_exit(err ? STATUS_FAILED << 8 : 0);
}

static void program_main(void *arg) {
    struct session *s = arg;
    struct program *p = &s->program;
    for (int fd = 0; fd < 3; fd++) {
        struct file *f = s->guest[fd];
        s->guest[fd] = NULL;
        if (fd_install_at(f, fd, 0) < 0)
            fail(s, STATUS_FAILED, "standard input and output", -ENOMEM);
    }
    if (s->copy_in || s->copy_out)
        copy_main(s);
    struct file *terminal = s->tty ? fd_get(0) : NULL;
    if (terminal) {
        (void)tty_acquire(tty_from_file(terminal), false); // nobody else's: it is new
        file_unref(terminal);
    }
    int err = program_enter_directory(p);
    if (err)
        fail(s, STATUS_FAILED, p->cwd, err);
    err = program_own_stdio(p);
    if (err == 0)
        err = program_become_user(p);
    if (err)
        fail(s, STATUS_FAILED, "user", err);
    struct exec_image *image = kmalloc(sizeof(*image));
    err = image ? program_load(p, image) : -ENOMEM;
    if (err) {
        kfree(image);
        fail(s, program_status(err), p->exec, err);
    }
    if (s->report) {
        uint8_t frame[FRAME_HEADER_SIZE + 1] = {0};
        send(s->number, 'P', frame, 1);
    }
    loader_commit(image);
    kfree(image);
    context_enter_user(thread_current()->frame);
}

static void take_winsize(struct session *s, char *value) {
    uint64_t rows, columns;
    char *x = strchr(value, 'x');
    if (!x)
        return;
    *x = '\0';
    if (str_to_u64(value, &rows) && str_to_u64(x + 1, &columns) && rows <= UINT16_MAX && columns <= UINT16_MAX) {
        s->rows = (uint16_t)rows;
        s->columns = (uint16_t)columns;
    }
}

// 0 or -errno. The arrays of argv and envp are one allocation, argv.
static int parse(struct session *s) {
    struct program *p = &s->program;
    size_t most = s->len / sizeof("arg=") + 2;
    if (s->overflow)
        return -E2BIG;
    p->argv = kzalloc(2 * most * sizeof(char *));
    if (!p->argv)
        return -ENOMEM;
    p->envp = p->argv + most;
    for (char *r = s->records, *next; r < s->records + s->len; r = next) {
        next = r + strlen(r) + 1;
        char *value = strchr(r, '=');
        if (!value)
            return -EINVAL;
        *value++ = '\0';
        int taken = program_record(p, r, value);
        bool stream = strncmp(r, "std", 3) == 0;
        s->tty |= stream && strcmp(value, "tty") == 0;
        if (taken == 0 && strcmp(r, "winsize") == 0)
            take_winsize(s, value);
        else if (taken == 0 && strcmp(r, "copy-in") == 0)
            s->copy_in = value;
        else if (taken == 0 && strcmp(r, "copy-out") == 0)
            s->copy_out = value;
        else if (taken == 0 && strcmp(r, "report") == 0)
            s->report = strcmp(value, "start") == 0;
        else if (taken < 0 || (taken == 0 && !stream))
            return taken < 0 ? taken : -EINVAL;
    }
    if (!p->exec)
        p->exec = p->argv[0];
    int ways = (p->exec != NULL) + (s->copy_in != NULL) + (s->copy_out != NULL);
    return ways == 1 && !(s->tty && !p->exec) ? 0 : -EINVAL;
}

static int make_terminal(struct session *s) {
    struct file *master = pty_open_master(O_RDWR), *f;
    if (IS_ERR(master))
        return (int)PTR_ERR(master);
    s->host[0] = master;
    s->host[1] = file_ref(master);
    f = pty_open_peer(master, O_RDWR | O_NOCTTY);
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    s->terminal = tty_from_file(f);
    tty_set_winsize(s->terminal, s->rows, s->columns);
    s->guest[0] = f;
    s->guest[1] = file_ref(f);
    s->guest[2] = file_ref(f);
    return 0;
}

static int make_process(struct session *s) {
    int made = s->tty ? make_terminal(s) : 0;
    if (made)
        return made;
    for (int i = 0; i < 3 && !s->tty; i++) {
        struct file *ends[2];
        int err = pipe_create(0, ends);
        if (err)
            return err;
        s->guest[i] = ends[i != 0];
        s->host[i] = ends[i == 0];
    }
    struct process *p = process_create();
    if (!p)
        return -ENOMEM;
    p->files = file_table_create();
    p->fs = fs_context_create();
    struct thread *t = p->files && p->fs ? thread_create_user(p) : NULL;
    if (!t) {
        process_discard(p);
        return -ENOMEM;
    }
    process_ref(p);
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    s->process = p;
    spin_unlock_irqrestore(&sessions_lock, flags);
    context_begin_in_kernel(t, program_main, s);
    thread_start(t);
    return 0;
}

// --- Bytes ---

static size_t take_window(struct session *s, size_t want) {
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    size_t n = (size_t)MIN((uint64_t)want, s->window);
    s->window -= n;
    spin_unlock_irqrestore(&sessions_lock, flags);
    return n;
}

// From a pipe to the host, until nobody has its other end.
static void pump_output(struct session *s, int fd) {
    uint8_t frame[CONSOLE_FRAME], data[CONSOLE_FRAME - FRAME_HEADER_SIZE];
    int64_t n;
    while ((n = file_read_kernel(s->host[fd], data, sizeof(data), 0)) > 0) {
        for (size_t at = 0, some; at < (size_t)n; at += some) {
            wait_event(&s->wait, (some = take_window(s, (size_t)n - at)) != 0);
            memcpy(frame + FRAME_HEADER_SIZE, data + at, some);
            send(s->number, fd == 2 ? 'E' : 'O', frame, some);
        }
    }
}

// The host may send as much as the ring has room for.
static void grant(struct session *s) {
    uint8_t frame[FRAME_HEADER_SIZE + 4];
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    uint32_t room = RING_SIZE - (s->head - s->tail) - s->granted;
    if (room < RING_SIZE / 4 || s->input_ended)
        room = 0;
    s->granted += room;
    spin_unlock_irqrestore(&sessions_lock, flags);
    memcpy(frame + FRAME_HEADER_SIZE, &room, sizeof(room));
    if (room)
        send(s->number, 'W', frame, sizeof(room));
}

static bool input_due(struct session *s) {
    return READ_ONCE(s->head) != s->tail || READ_ONCE(s->input_ended) || READ_ONCE(s->done);
}

static void pump_input(struct session *s) {
    for (bool broken = false;;) {
        grant(s);
        wait_event(&s->wait, input_due(s));
        uint32_t at = s->tail % RING_SIZE, n = MIN(READ_ONCE(s->head) - s->tail, RING_SIZE - at);
        uint64_t pos = 0;
        if (READ_ONCE(s->done) || n == 0)
            break;
        if (!broken)
            broken = file_write_kernel(s->host[0], s->ring + at, n, &pos) <
                     0; // nobody reads it any more: the rest is dropped
        uint64_t flags = spin_lock_irqsave(&sessions_lock);
        s->tail += n;
        spin_unlock_irqrestore(&sessions_lock, flags);
    }
    file_unref(s->host[0]);
    s->host[0] = NULL;
}

static void pump_ended(struct session *s) {
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    s->pumps--;
    waitq_wake_all(&s->wait); // under the lock: the session goes after the count is seen under it
    spin_unlock_irqrestore(&sessions_lock, flags);
}
static void input_main(void *arg) {
    pump_input(arg);
    pump_ended(arg);
}
static void error_main(void *arg) {
    pump_output(arg, 2);
    pump_ended(arg);
}

// Counted already.
static bool start_pump(struct session *s, void (*fn)(void *)) {
    struct thread *t = thread_create_kernel("session", fn, s);
    if (t)
        thread_start(t);
    else
        pump_ended(s);
    return t != NULL;
}

static uint32_t pumps_left(struct session *s) {
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    uint32_t n = s->pumps;
    spin_unlock_irqrestore(&sessions_lock, flags);
    return n;
}

static void free_session(struct session *s) {
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    sessions[s->number] = NULL;
    spin_unlock_irqrestore(&sessions_lock, flags);
    for (int i = 0; i < 3; i++) {
        if (s->guest[i])
            file_unref(s->guest[i]);
        if (s->host[i])
            file_unref(s->host[i]);
    }
    if (s->process)
        process_unref(s->process);
    group_list_unref(s->program.groups);
    kfree(s->program.argv);
    kfree(s->records);
    kfree(s);
}

static void run(struct session *s, uint8_t *kind, int32_t *code) {
    int err = parse(s);
    *kind = EXIT_KNARR;
    *code = STATUS_FAILED;
    if (!err)
        err = make_process(s);
    if (err) {
        send_message(s, "session", program_error_text(err));
        return;
    }
    s->pumps = s->tty ? 1 : 2;
    if (!start_pump(s, input_main) || (!s->tty && !start_pump(s, error_main)))
        signal_send_process(s->process, SIGKILL, NULL);
    pump_output(s, 1);
    wait_event(&s->process->end_wait, READ_ONCE(s->process->zombie));
    WRITE_ONCE(s->done, true);
    waitq_wake_all(&s->wait);
    wait_event(&s->wait, pumps_left(s) == 0);
    uint32_t status = s->process->exit_status;
    if (s->failure) {
        *code = s->failure;
        return;
    }
    *kind = status & 0x7f ? EXIT_SIGNAL : EXIT_CODE;
    *code = (int32_t)(status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
}

static void session_main(void *arg) {
    struct session *s = arg;
    uint8_t kind, number = s->number;
    int32_t code;
    run(s, &kind, &code);
    free_session(s); // before the host may use the number again
    send_exit(number, kind, code);
}

static void start(struct deferred *d) {
    struct session *s = container_of(d, struct session, start);
    struct thread *t = thread_create_kernel("session", session_main, s);
    if (t)
        thread_start(t);
    else
        log_err("session %u: no memory", s->number);
}

// --- Frames from the host: interrupt context, the console's input lock held ---

// sessions_lock held. Those of the kernel's own doing come with their first R frame.
static struct session *find(uint8_t number, bool make) {
    if (!sessions && make)
        sessions = kzalloc(SESSIONS * sizeof(*sessions));
    if (!sessions)
        return NULL;
    if (!sessions[number] && make) {
        struct session *s = kzalloc(sizeof(*s));
        if (s) {
            s->number = number;
            s->start.fn = start;
            waitq_init(&s->wait);
            sessions[number] = s;
        }
    }
    return sessions[number];
}

static void add_records(struct session *s, const uint8_t *data, size_t n) {
    char *more = s->started || s->len + n > RECORDS_MAX ? NULL : kmalloc(s->len + n + 1);
    if (!more) {
        s->overflow |= !s->started;
        return;
    }
    memcpy(more, s->records, s->len);
    memcpy(more + s->len, data, n);
    s->len += n;
    more[s->len] = '\0';
    kfree(s->records);
    s->records = more;
}

static void add_input(struct session *s, const uint8_t *data, size_t n) {
    n = MIN(n, (size_t)s->granted);
    s->granted -= (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        s->ring[(s->head + i) % RING_SIZE] = data[i];
    WRITE_ONCE(s->head, s->head + (uint32_t)n);
}

static void on_data(uint8_t number, uint8_t type, const uint8_t *data, size_t n) {
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    struct session *s = find(number, type == 'R');
    if (s && type == 'R')
        add_records(s, data, n);
    else if (s)
        add_input(s, data, n);
    if (s)
        waitq_wake_all(&s->wait);
    spin_unlock_irqrestore(&sessions_lock, flags);
}

static void on_control(uint8_t number, uint8_t type, const uint8_t *data, size_t n) {
    struct process *target = NULL;
    struct tty *terminal = NULL;
    uint32_t more;
    uint64_t flags = spin_lock_irqsave(&sessions_lock);
    struct session *s = find(number, type == 'R');
    if (s && type == 'R' && n == 0 && !s->started) {
        s->started = true;
        deferred_raise(&s->start);
    } else if (s && type == 'V' && n >= sizeof(more)) {
        memcpy(&more, data, sizeof(more));
        s->window += more;
    } else if (s && type == 'S' && n >= 4 && s->terminal) {
        terminal = tty_ref(s->terminal);
    } else if (s && type == 'Z') {
        WRITE_ONCE(s->input_ended, true);
    } else if (s && type == 'K' && n >= 1 && data[0] >= 1 && data[0] <= SIGNAL_COUNT && s->process) {
        target = s->process;
        process_ref(target);
    }
    if (s)
        waitq_wake_all(&s->wait);
    spin_unlock_irqrestore(&sessions_lock, flags);
    if (terminal) {
        tty_set_winsize(terminal, data[0] | data[1] << 8, data[2] | data[3] << 8);
        tty_unref(terminal);
    }
    if (target) {
        signal_send_process(target, data[0], NULL);
        process_unref(target);
    }
}

static const struct console_sessions ops = {.data = on_data, .control = on_control};

void session_init(void) { console_set_sessions(&ops); }
