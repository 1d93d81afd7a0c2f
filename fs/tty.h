// Terminals: termios(3), line editing, signals from keys, job control, window size, and the console of the machine.
// A struct tty is the line discipline with its input and output queues; below it a struct tty_ops takes the output (the
// machine's console, later the master side of a pseudo-terminal), and whoever has input calls tty_receive().
// Locks: tty.lock (interrupt-safe) protects everything in struct tty ; no signal is sent while it is held.
// Order: process_table_lock > tty.lock > what tty_ops take.
#ifndef FS_TTY_H
#define FS_TTY_H

#include "fs/file.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/wait.h"
#include <asm/termbits.h> // struct termios, termios2, ktermios, the flags

#define TTY_INPUT_SIZE 4096  // the longest line, with its newline, as Linux's N_TTY
#define TTY_OUTPUT_SIZE 1024 // processed output that the device has not taken yet
#define TTY_ECHO_RESERVE 256 // of it, kept for echo: writers leave it free

struct tty;
struct process;

struct tty_ops {
    // Takes processed output; returns how many bytes (0: full; the owner calls tty_output_ready when there is room again).
    // Called with tty.lock held, interrupts off.
    size_t (*write)(struct tty *t, const void *data, size_t len);
    // A reader made room for input, or a flush did: tty_accepts() may be true again. tty.lock is not held. May be NULL.
    void (*input_room)(struct tty *t);
    // The state changed in a way that the other side shows (packet mode): TIOCPKT_*. Called with tty.lock held. May be NULL.
    void (*changed)(struct tty *t, unsigned what);
    void (*closed)(struct tty *t);  // the last file on it was closed. May be NULL
    void (*release)(struct tty *t); // the last reference is gone. NULL: the tty is never freed
};

struct tty {
    const struct tty_ops *ops;
    void *data; // the owner's
    uint32_t refs;
    uint32_t files; // open on it
    bool opened;    // at least once
    uint64_t rdev;
    struct spinlock lock;

    struct ktermios termios;
    struct winsize_kernel {
        uint16_t rows, columns, x_pixels, y_pixels;
    } winsize; // as the ABI's struct winsize

    // Input: a ring. tail <= line_head <= head (free-running counters); up to line_head are whole lines (canonical mode).
    uint32_t tail, line_head, head;
    uint32_t line_column; // output column at which the line being edited began
    bool literal_next;    // VLNEXT was typed
    bool erasing;         // inside \...../ of ECHOPRT
    bool input_ended;     // no more input will come: reads drain what is there, then return 0
    bool hung_up;         // the other side is gone: reads return 0, writes -EIO
    bool input_blocked;   // tty_receive refused a byte: ops->input_room is to be called
    bool packet;          // TIOCPKT of a pseudo-terminal's master

    // Output, after OPOST: a ring in front of ops->write.
    uint32_t output_tail, output_head;
    uint32_t column;
    bool stopped; // by the STOP key or TCOOFF

    struct waitq read_wait, write_wait;

    // Under process_table_lock, as process.tty. A session has a reference, its processes' pointers have none of their own.
    int session;    // whose controlling terminal it is; 0: nobody's
    int foreground; // process group; 0: none
    bool exclusive; // TIOCEXCL

    // The rings; the rest above is what tty_init clears.
    uint8_t input[TTY_INPUT_SIZE];
    uint64_t line_end[TTY_INPUT_SIZE / 64]; // bitmap: this byte ends a line (newline, EOL, EOF, pushed data)
    uint64_t eof_mark[TTY_INPUT_SIZE / 64]; // bitmap: this byte stands for an EOF key: it ends a line and is not read
    uint8_t output[TTY_OUTPUT_SIZE];
};

// --- Making terminals (console, pseudo-terminals) ---
void tty_init(struct tty *t, const struct tty_ops *ops, void *data, uint64_t rdev); // sane termios, refs 1
struct tty *tty_ref(struct tty *t);
void tty_unref(struct tty *t);
// Input from the device or from the other side: edits, echoes, sends signals. Returns how many bytes were taken: less
// than len when the reader is behind (ops->input_room tells when to go on). Any context.
size_t tty_receive(struct tty *t, const void *data, size_t len);
bool tty_accepts(struct tty *t);      // tty_receive would take at least one byte
void tty_output_ready(struct tty *t); // the device takes bytes again: drains and wakes writers. Any context
bool tty_output_pending(struct tty *t);
void tty_input_end(struct tty *t); // after what is queued, reads return 0
void tty_hangup(struct tty *t);    // the other side is gone: SIGHUP and SIGCONT to the session's leader and foreground
void tty_set_winsize(struct tty *t, unsigned rows,
                     unsigned columns); // SIGWINCH to the foreground group when it changed
// A file on the terminal, for opening its device. Becomes the controlling terminal of a session leader without one,
// unless O_NOCTTY. Takes references of its own. ERR_PTR(-EIO, -EBUSY, -ENOMEM).
struct file *tty_open(struct tty *t, struct inode *inode, unsigned flags);
extern const struct file_ops tty_file_ops;
struct tty *tty_from_file(struct file *f); // NULL: not a terminal

// --- Line discipline (fs/tty_ldisc.c); tty.lock held, except where said ---
// One byte of input. False: no room, nothing happened. *signal: what the foreground group is to get, or 0.
bool ldisc_receive(struct tty *t, uint8_t c, int *signal);
size_t ldisc_read(struct tty *t, void *buf, size_t n,
                  bool *end);       // canonical: to the line's end at most; *end: read(2) is over
void ldisc_skip_eof(struct tty *t); // the reader's buffer is full: an EOF that follows at once belongs to what it got
size_t ldisc_available(struct tty *t);                           // bytes that a read would get now (FIONREAD)
bool ldisc_readable(struct tty *t, size_t minimum);              // a line or an EOF (canonical), or that many bytes
size_t ldisc_write(struct tty *t, const uint8_t *buf, size_t n); // through OPOST into the output queue; bytes taken
void ldisc_drain(struct tty *t); // gives queued output to the device, as far as it takes it
void ldisc_push(struct tty *t);  // what was typed of a line becomes readable as it is
void ldisc_flush_input(struct tty *t);
void ldisc_flush_output(struct tty *t);
void ldisc_set_termios(struct tty *t, const struct ktermios *k);
void ldisc_set_stopped(struct tty *t, bool stopped);
static inline bool ldisc_canonical(const struct tty *t) { return t->termios.c_lflag & ICANON; }

// --- Controlling terminals and job control (fs/tty_job.c); no lock held ---
int tty_check_read(struct tty *t);   // 0, -EIO, or -ERESTARTSYS after SIGTTIN to a background group
int tty_check_change(struct tty *t); // the same with SIGTTOU, for writes under TOSTOP and for changes
void tty_signal_foreground(struct tty *t, int sig);
int tty_acquire(struct tty *t, bool steal);      // TIOCSCTTY of the current process. 0, -EPERM
int tty_release_session(struct tty *t);          // TIOCNOTTY. 0, -ENOTTY
int tty_set_foreground(struct tty *t, int pgid); // TIOCSPGRP
struct tty *tty_current(void);                   // the current process's controlling terminal, referenced; NULL
long tty_ioctl(struct file *f, unsigned cmd, uint64_t arg);  // fs/tty_ioctl.c
long tty_control(struct tty *t, unsigned cmd, uint64_t arg); // the same, for a master that has no file on the terminal
void tty_forget_session(
    struct tty *t); // nobody has it open any more: its session is without a terminal, and is not told
// For process_hooks.stop_tty: a session's leader that ends takes the terminal from its session, with SIGHUP and SIGCONT to
// the foreground. (Children inherit process.tty by copying the pointer, setsid(2) clears it: the session has the reference.)
void tty_process_exit(struct process *p);

// How standard input, output and error of the first process are to look (docs/boot-protocol.md).
enum stdio_kind { STDIO_TTY, STDIO_STREAM, STDIO_NULL };
struct stdio_config {
    enum stdio_kind kind[3];
    uint16_t rows, columns; // 0: unknown
    bool framed;
    bool report; // the host wants to know when the program starts
};
// Connects the console (kernel/chardev.h) with terminal and streams. After the drivers are up.
int console_init(const struct stdio_config *config);
void console_report_start(void); // the program is about to run: a host that wants to know hears of it
// Opens descriptor 0, 1 or 2 as configured. ERR_PTR.
struct file *console_open_stdio(int fd);
// /dev/console and /dev/tty: called by devfs when they are opened. ERR_PTR(-ENXIO) without a controlling terminal.
struct file *tty_open_console(unsigned flags);
struct file *tty_open_current(unsigned flags);
// Pseudo-terminals (fs/pty.c): opening /dev/ptmx and the nodes of devpts. ERR_PTR.
struct file *pty_open_master(unsigned flags);
struct file *pty_open_peer(struct file *master, unsigned flags); // its slave, unlocked. ERR_PTR
bool pty_is_slave(const struct inode *inode);
struct file *pty_open_slave(struct inode *inode, unsigned flags);
struct tty *tty_console(void);           // NULL: the console is no terminal
int tty_foreground_group(struct tty *t); // process group, for /proc/PID/stat; 0: none
uint64_t tty_device(struct tty *t);      // its device number, for the same

#endif
