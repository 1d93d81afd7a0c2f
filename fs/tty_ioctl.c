// ioctl(2) on terminals: tty_ioctl(4), termios(3).
// Locks: tty.lock for the change itself; nothing is held while TCSETSW waits for the output to leave.
#include "fs/tty.h"

#include "kernel/process/process.h"
#include "kernel/process/signal.h"
#include "kernel/memory/usercopy.h"
#include <asm/ioctls.h>

_Static_assert(sizeof(struct termios) == 36 && sizeof(struct termios2) == 44 && sizeof(struct ktermios) == 44,
               "the ABI's");
_Static_assert(sizeof(struct winsize_kernel) == 8, "the ABI's struct winsize");

// Bits per second of the old speed codes; BOTHER (termios2) gives the number itself.
static uint32_t speed_of(uint32_t code, uint32_t other) {
    static const uint32_t low[16] = {0,   50,   75,   110,  134,  150,  200,   300,
                                     600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
    static const uint32_t high[16] = {0,       57600,   115200,  230400,  460800,  500000,  576000,  921600,
                                      1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000};
    code &= CBAUD;
    return code == BOTHER ? other : code & CBAUDEX ? high[code & 15] : low[code & 15];
}

static int wait_output(struct tty *t) {
    return wait_event_interruptible(&t->write_wait, !tty_output_pending(t) || READ_ONCE(t->hung_up));
}

static void after_change(struct tty *t) {
    waitq_wake_all(&t->read_wait); // what counts as readable may have changed
    waitq_wake_all(&t->write_wait);
    if (tty_accepts(t) && t->ops->input_room)
        t->ops->input_room(t);
}

// TCSETS, TCSETSW (after the output), TCSETSF (and without unread input), each with either structure.
static long set_termios(struct tty *t, uint64_t arg, bool two, bool drain, bool flush) {
    struct ktermios k = t->termios;
    int err = copy_in(&k, arg, two ? sizeof(struct termios2) : sizeof(struct termios));
    if (err < 0)
        return err;
    err = tty_check_change(t);
    if (err < 0)
        return err;
    if (!two || (k.c_cflag & CBAUD) != BOTHER)
        k.c_ospeed = speed_of(k.c_cflag, k.c_ospeed);
    uint32_t in = k.c_cflag >> IBSHIFT & CBAUD;
    if (in != BOTHER)
        k.c_ispeed = in == B0 ? k.c_ospeed : speed_of(in, k.c_ispeed);
    // There is no line: eight bits without parity, always.
    k.c_cflag = (k.c_cflag & ~(CSIZE | PARENB)) | CS8 | CREAD;
    k.c_line = 0;
    if (drain && (err = wait_output(t)) < 0)
        return err;
    uint64_t flags = spin_lock_irqsave(&t->lock);
    if (flush)
        ldisc_flush_input(t);
    ldisc_set_termios(t, &k);
    ldisc_drain(t);
    spin_unlock_irqrestore(&t->lock, flags);
    after_change(t);
    return 0;
}

static long flush_queues(struct tty *t, uint64_t which) {
    if (which != TCIFLUSH && which != TCOFLUSH && which != TCIOFLUSH)
        return -EINVAL;
    int err = tty_check_change(t);
    if (err < 0)
        return err;
    uint64_t flags = spin_lock_irqsave(&t->lock);
    if (which != TCOFLUSH)
        ldisc_flush_input(t);
    if (which != TCIFLUSH)
        ldisc_flush_output(t);
    spin_unlock_irqrestore(&t->lock, flags);
    after_change(t);
    return 0;
}

static long flow(struct tty *t, uint64_t action) {
    int err = tty_check_change(t);
    if (err < 0)
        return err;
    uint64_t flags = spin_lock_irqsave(&t->lock);
    switch (action) {
    case TCOOFF:
    case TCOON: ldisc_set_stopped(t, action == TCOOFF); break;
    case TCIOFF:
    case TCION: { // asks the other side to stop and to go on
        uint8_t c = t->termios.c_cc[action == TCIOFF ? VSTOP : VSTART];
        if (c)
            t->ops->write(t, &c, 1);
        break;
    }
    default: err = -EINVAL;
    }
    ldisc_drain(t);
    spin_unlock_irqrestore(&t->lock, flags);
    after_change(t);
    return err;
}

static long set_winsize(struct tty *t, uint64_t arg) {
    struct winsize_kernel w;
    int err = copy_in_obj(&w, arg);
    if (err < 0)
        return err;
    uint64_t flags = spin_lock_irqsave(&t->lock);
    t->winsize.x_pixels = w.x_pixels;
    t->winsize.y_pixels = w.y_pixels;
    spin_unlock_irqrestore(&t->lock, flags);
    tty_set_winsize(t, w.rows, w.columns);
    return 0;
}

static bool is_controlling(struct tty *t) { return READ_ONCE(process_current()->tty) == t; }

static long put_int(uint64_t arg, int value) { return copy_out_obj(arg, &value); }

static long job_ioctl(struct tty *t, unsigned cmd, uint64_t arg) {
    int value, err;
    switch (cmd) {
    case TIOCGPGRP: return is_controlling(t) ? put_int(arg, t->foreground) : -ENOTTY;
    case TIOCGSID: return is_controlling(t) && t->session ? put_int(arg, t->session) : -ENOTTY;
    case TIOCSPGRP:
        err = tty_check_change(t);
        if (err == -EIO) // of an orphaned group
            err = -ENOTTY;
        if (err == 0)
            err = copy_in_obj(&value, arg);
        return err < 0 ? err : tty_set_foreground(t, value);
    case TIOCSCTTY: return tty_acquire(t, arg == 1);
    case TIOCNOTTY: return tty_release_session(t);
    default: return -ENOTTY;
    }
}

long tty_ioctl(struct file *f, unsigned cmd, uint64_t arg) { return tty_control(f->data, cmd, arg); }

long tty_control(struct tty *t, unsigned cmd, uint64_t arg) {
    if (t->hung_up)
        return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
    switch (cmd) {
    case TCGETS: return copy_out(arg, &t->termios, sizeof(struct termios));
    case TCGETS2: return copy_out(arg, &t->termios, sizeof(struct termios2));
    case TCSETS:
    case TCSETSW:
    case TCSETSF: return set_termios(t, arg, false, cmd != TCSETS, cmd == TCSETSF);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2: return set_termios(t, arg, true, cmd != TCSETS2, cmd == TCSETSF2);
    case TIOCGWINSZ: return copy_out_obj(arg, &t->winsize);
    case TIOCSWINSZ: return set_winsize(t, arg);
    case FIONREAD: {
        uint64_t flags = spin_lock_irqsave(&t->lock);
        int n = (int)ldisc_available(t);
        spin_unlock_irqrestore(&t->lock, flags);
        return put_int(arg, n);
    }
    case TIOCOUTQ: return put_int(arg, (int)(t->output_head - t->output_tail));
    case TCFLSH: return flush_queues(t, arg);
    case TCXONC: return flow(t, arg);
    case TCSBRK: // tcdrain; a break has no meaning without a line
    case TCSBRKP: {
        int err = tty_check_change(t);
        return err < 0 ? err : wait_output(t);
    }
    case TIOCEXCL:
    case TIOCNXCL: t->exclusive = cmd == TIOCEXCL; return 0;
    case TIOCGEXCL: return put_int(arg, t->exclusive);
    case TIOCGDEV: return put_int(arg, (int)t->rdev);
    case TIOCGETD: return put_int(arg, 0); // N_TTY
    case TIOCSTI:                          // typing for somebody else: as Linux since 6.2 by default
        return -EIO;
    default: return job_ioctl(t, cmd, arg);
    }
}
