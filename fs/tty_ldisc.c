// The line discipline: what termios(3) says between the bytes of a keyboard and the bytes that read(2) gets, and between
// write(2) and the screen. It behaves as Linux's N_TTY, including what it echoes.
//
// Input lies in a ring with three positions: tail (read up to here), line_head (whole lines up to here), head. Erasing moves
// head back, never before line_head. A bitmap marks the bytes that end a line, since the keys may be changed later.
// All functions: tty.lock held.
#include "fs/tty.h"

#include "kernel/process/signal.h"
#include <asm/ioctls.h>

#define SLOT(pos) ((pos) % TTY_INPUT_SIZE)
#define INPUT_RESERVE 2 // a byte may take two places (PARMRK), and a line's end must always find one

static bool flag_i(const struct tty *t, uint32_t f) { return t->termios.c_iflag & f; }
static bool flag_o(const struct tty *t, uint32_t f) { return t->termios.c_oflag & f; }
static bool flag_l(const struct tty *t, uint32_t f) { return t->termios.c_lflag & f; }
static bool is_key(const struct tty *t, uint8_t c, unsigned which) { return c != 0 && t->termios.c_cc[which] == c; }
static bool is_control(uint8_t c) { return c < 32 || c == 127; }
static bool is_continuation(const struct tty *t, uint8_t c) { return flag_i(t, IUTF8) && (c & 0xc0) == 0x80; }
static bool is_word(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0xc0;
}

static void changed(struct tty *t, unsigned what) {
    if (t->ops->changed)
        t->ops->changed(t, what);
}

// --- Output ---

static uint32_t output_room(const struct tty *t) { return TTY_OUTPUT_SIZE - (t->output_head - t->output_tail); }

static void output_byte(struct tty *t, uint8_t c) { t->output[t->output_head++ % TTY_OUTPUT_SIZE] = c; }

// One character through OPOST. False: no room for what it becomes, nothing happened.
static bool output_char(struct tty *t, uint8_t c) {
    if (output_room(t) < 8) // a tab
        return false;
    if (!flag_o(t, OPOST)) {
        output_byte(t, c);
        return true;
    }
    switch (c) {
    case '\n':
        if (flag_o(t, ONLRET))
            t->column = 0;
        if (flag_o(t, ONLCR)) {
            t->column = 0;
            output_byte(t, '\r');
        }
        t->line_column = t->column;
        break;
    case '\r':
        if (flag_o(t, ONOCR) && t->column == 0)
            return true;
        if (flag_o(t, OCRNL)) {
            c = '\n';
            if (!flag_o(t, ONLRET))
                break;
        }
        t->column = t->line_column = 0;
        break;
    case '\t': {
        unsigned spaces = 8 - (t->column & 7);
        t->column += spaces;
        if ((t->termios.c_oflag & TABDLY) == XTABS) {
            while (spaces--)
                output_byte(t, ' ');
            return true;
        }
        break;
    }
    case '\b':
        if (t->column > 0)
            t->column--;
        break;
    default:
        if (!is_control(c)) {
            if (flag_o(t, OLCUC) && c >= 'a' && c <= 'z')
                c = (uint8_t)(c - 'a' + 'A');
            if (!is_continuation(t, c))
                t->column++;
        }
    }
    output_byte(t, c);
    return true;
}

size_t ldisc_write(struct tty *t, const uint8_t *buf, size_t n) {
    size_t done = 0;
    while (done < n) {
        if (output_room(t) < TTY_ECHO_RESERVE) {
            ldisc_drain(t);
            if (output_room(t) < TTY_ECHO_RESERVE)
                break;
        }
        output_char(t, buf[done++]);
    }
    ldisc_drain(t);
    return done;
}

void ldisc_drain(struct tty *t) {
    while (!t->stopped && t->output_head != t->output_tail) {
        uint32_t at = t->output_tail % TTY_OUTPUT_SIZE;
        uint32_t n = MIN(t->output_head - t->output_tail, TTY_OUTPUT_SIZE - at);
        size_t taken = t->ops->write(t, t->output + at, n);
        if (taken == 0)
            break;
        t->output_tail += (uint32_t)taken;
    }
}

void ldisc_flush_output(struct tty *t) {
    t->output_tail = t->output_head;
    changed(t, TIOCPKT_FLUSHWRITE);
}

void ldisc_set_stopped(struct tty *t, bool stopped) {
    if (t->stopped == stopped)
        return;
    t->stopped = stopped;
    changed(t, stopped ? TIOCPKT_STOP : TIOCPKT_START);
}

// --- Echo. Without room for it, it is lost: a keyboard cannot wait. ---

static void echo_raw(struct tty *t, uint8_t c) { output_char(t, c); }

// As it was typed: control characters as ^X with ECHOCTL.
static void echo_char(struct tty *t, uint8_t c) {
    if (flag_l(t, ECHOCTL) && is_control(c) && c != '\t' && c != '\n') {
        if (output_room(t) < 2)
            return;
        output_byte(t, '^');
        output_byte(t, c ^ 0x40);
        t->column += 2;
        return;
    }
    output_char(t, c);
}

// A character of the line being edited: the first one remembers where the line began.
static void echo_input(struct tty *t, uint8_t c) {
    if (t->head == t->line_head)
        t->line_column = t->column;
    echo_char(t, c);
}

static void finish_erasing(struct tty *t) {
    if (t->erasing)
        echo_raw(t, '/');
    t->erasing = false;
}

static void rub_out(struct tty *t) {
    echo_raw(t, '\b');
    echo_raw(t, ' ');
    echo_raw(t, '\b');
}

// The tab behind the line's present end is erased: go back to the column where the line ends now.
static void rub_out_tab(struct tty *t) {
    uint32_t width = 0;
    bool after_tab = false;
    for (uint32_t pos = t->head; pos != t->line_head && !after_tab;) {
        uint8_t c = t->input[SLOT(--pos)];
        if (c == '\t')
            after_tab = true; // columns before it are a multiple of 8
        else if (is_control(c))
            width += flag_l(t, ECHOCTL) ? 2 : 0;
        else if (!is_continuation(t, c))
            width++;
    }
    if (!after_tab)
        width += t->line_column;
    for (unsigned n = 8 - (width & 7); n; n--)
        echo_raw(t, '\b');
}

// --- Editing ---

static void erase_echo(struct tty *t, uint8_t c, uint32_t old_head, bool one) {
    if (flag_l(t, ECHOPRT)) {
        if (!t->erasing)
            echo_raw(t, '\\');
        t->erasing = true;
        echo_char(t, c);
        for (uint32_t pos = t->head + 1; pos != old_head; pos++)
            echo_raw(t, t->input[SLOT(pos)]);
    } else if (one && !flag_l(t, ECHOE)) {
        echo_char(t, t->termios.c_cc[VERASE]);
    } else if (c == '\t') {
        rub_out_tab(t);
    } else if (is_control(c)) {
        if (flag_l(t, ECHOCTL)) {
            rub_out(t);
            rub_out(t);
        }
    } else {
        rub_out(t);
    }
}

enum erase_what { ERASE_CHAR, ERASE_WORD, ERASE_LINE };

static void erase(struct tty *t, enum erase_what what) {
    bool echo = flag_l(t, ECHO), in_word = false;
    if (t->head == t->line_head)
        return;
    if (what == ERASE_LINE && (!echo || !flag_l(t, ECHOK) || !flag_l(t, ECHOKE) || !flag_l(t, ECHOE))) {
        t->head = t->line_head;
        if (echo) {
            finish_erasing(t);
            echo_char(t, t->termios.c_cc[VKILL]);
            if (flag_l(t, ECHOK))
                echo_raw(t, '\n');
        }
        return;
    }
    while (t->head != t->line_head) {
        uint32_t start = t->head;
        uint8_t c;
        do // a whole character of UTF-8
            c = t->input[SLOT(--start)];
        while (is_continuation(t, c) && start != t->line_head);
        if (is_continuation(t, c))
            break; // its beginning was read by somebody already
        if (what == ERASE_WORD) {
            if (is_word(c))
                in_word = true;
            else if (in_word)
                break;
        }
        uint32_t old_head = t->head;
        t->head = start;
        if (echo)
            erase_echo(t, c, old_head, what == ERASE_CHAR);
        if (what == ERASE_CHAR)
            break;
    }
    if (t->head == t->line_head && echo)
        finish_erasing(t);
}

static void reprint(struct tty *t) {
    finish_erasing(t);
    echo_char(t, t->termios.c_cc[VREPRINT]);
    echo_raw(t, '\n');
    for (uint32_t pos = t->line_head; pos != t->head; pos++)
        echo_char(t, t->input[SLOT(pos)]);
}

// --- Input ---

static void set_bit(uint64_t *map, uint32_t pos, bool on) {
    uint64_t bit = 1UL << (pos % 64);
    map[pos / 64] = on ? map[pos / 64] | bit : map[pos / 64] & ~bit;
}
static bool get_bit(const uint64_t *map, uint32_t pos) { return map[pos / 64] >> (pos % 64) & 1; }

static void store(struct tty *t, uint8_t c, bool line_end, bool eof) {
    uint32_t slot = SLOT(t->head);
    t->input[slot] = c;
    set_bit(t->line_end, slot, line_end);
    set_bit(t->eof_mark, slot, eof);
    WRITE_ONCE(t->head, t->head + 1);
    if (line_end)
        WRITE_ONCE(t->line_head, t->head);
}

// 0377 stands for itself doubled where it may also announce a parity error.
static void store_marked(struct tty *t, uint8_t c, bool line_end) {
    if (c == 0xff && flag_i(t, PARMRK))
        store(t, c, false, false);
    store(t, c, line_end, false);
}

static bool input_full(const struct tty *t) { return t->head - t->tail >= TTY_INPUT_SIZE - INPUT_RESERVE; }

// An ordinary character: echoed and stored. A line that is too long loses its end, so that it can still be ended.
static void receive_plain(struct tty *t, uint8_t c) {
    if (input_full(t)) {
        if (flag_i(t, IMAXBEL))
            echo_raw(t, '\a');
        return;
    }
    if (flag_l(t, ECHO)) {
        finish_erasing(t);
        if (c == '\n')
            echo_raw(t, '\n');
        else
            echo_input(t, c);
    }
    store_marked(t, c, false);
}

static int signal_of_key(const struct tty *t, uint8_t c) {
    if (!flag_l(t, ISIG))
        return 0;
    return is_key(t, c, VINTR) ? SIGINT : is_key(t, c, VQUIT) ? SIGQUIT : is_key(t, c, VSUSP) ? SIGTSTP : 0;
}

// The keys of canonical mode. False: an ordinary character.
static bool receive_editing(struct tty *t, uint8_t c) {
    bool extended = flag_l(t, IEXTEN);
    if (is_key(t, c, VERASE)) {
        erase(t, ERASE_CHAR);
    } else if (is_key(t, c, VKILL)) {
        erase(t, ERASE_LINE);
    } else if (extended && is_key(t, c, VWERASE)) {
        erase(t, ERASE_WORD);
    } else if (extended && is_key(t, c, VLNEXT)) {
        t->literal_next = true;
        if (flag_l(t, ECHO)) {
            finish_erasing(t);
            if (flag_l(t, ECHOCTL)) {
                echo_raw(t, '^');
                echo_raw(t, '\b');
            }
        }
    } else if (extended && flag_l(t, ECHO) && is_key(t, c, VREPRINT)) {
        reprint(t);
    } else if (c == '\n') {
        if (flag_l(t, ECHO | ECHONL)) {
            finish_erasing(t);
            echo_raw(t, '\n');
        }
        store(t, c, true, false);
    } else if (is_key(t, c, VEOF)) {
        store(t, 0, true, true);
    } else if (is_key(t, c, VEOL) || (extended && is_key(t, c, VEOL2))) {
        if (flag_l(t, ECHO))
            echo_input(t, c);
        store_marked(t, c, true);
    } else {
        return false;
    }
    return true;
}

bool ldisc_receive(struct tty *t, uint8_t c, int *signal) {
    *signal = 0;
    // A line that is still being typed may be edited and ended even when the ring is full.
    if (input_full(t) && !(ldisc_canonical(t) && t->line_head == t->tail))
        return false;
    if (flag_i(t, ISTRIP))
        c &= 0x7f;
    if (flag_i(t, IUCLC) && flag_l(t, IEXTEN) && c >= 'A' && c <= 'Z')
        c = (uint8_t)(c - 'A' + 'a');
    if (t->literal_next) {
        t->literal_next = false;
        receive_plain(t, c);
        return true;
    }
    if (flag_i(t, IXON)) {
        if (is_key(t, c, VSTART)) {
            ldisc_set_stopped(t, false);
            return true;
        }
        if (is_key(t, c, VSTOP)) {
            ldisc_set_stopped(t, true);
            return true;
        }
        if (t->stopped && flag_i(t, IXANY))
            ldisc_set_stopped(t, false);
    }
    *signal = signal_of_key(t, c);
    if (*signal) {
        if (!flag_l(t, NOFLSH)) {
            ldisc_flush_output(t);
            ldisc_flush_input(t);
        }
        if (flag_i(t, IXON))
            ldisc_set_stopped(t, false);
        if (flag_l(t, ECHO))
            echo_char(t, c);
        return true;
    }
    if (c == '\r') {
        if (flag_i(t, IGNCR))
            return true;
        if (flag_i(t, ICRNL))
            c = '\n';
    } else if (c == '\n' && flag_i(t, INLCR)) {
        c = '\r';
    }
    if (!ldisc_canonical(t) || !receive_editing(t, c))
        receive_plain(t, c);
    return true;
}

// --- Reading ---

size_t ldisc_read(struct tty *t, void *buf, size_t n, bool *end) {
    uint8_t *out = buf;
    size_t done = 0;
    bool canonical = ldisc_canonical(t);
    uint32_t limit = canonical ? t->line_head : t->head, tail = t->tail;
    *end = false;
    while (tail != limit && done < n && !*end) {
        uint32_t slot = SLOT(tail);
        *end = canonical && get_bit(t->line_end, slot);
        if (!get_bit(t->eof_mark, slot) || !canonical)
            out[done++] = t->input[slot];
        tail++;
    }
    if (!canonical && t->line_head - t->tail < tail - t->tail)
        t->line_head = tail; // keep tail <= line_head
    WRITE_ONCE(t->tail, tail);
    return done;
}

void ldisc_skip_eof(struct tty *t) {
    if (ldisc_canonical(t) && t->tail != t->line_head && get_bit(t->eof_mark, SLOT(t->tail)))
        WRITE_ONCE(t->tail, t->tail + 1);
}

size_t ldisc_available(struct tty *t) {
    if (!ldisc_canonical(t))
        return t->head - t->tail;
    size_t n = 0;
    for (uint32_t pos = t->tail; pos != t->line_head; pos++)
        n += !get_bit(t->eof_mark, SLOT(pos));
    return n;
}

bool ldisc_readable(struct tty *t, size_t minimum) {
    if (ldisc_canonical(t))
        return READ_ONCE(t->line_head) != READ_ONCE(t->tail);
    return READ_ONCE(t->head) - READ_ONCE(t->tail) >= MAX(minimum, (size_t)1);
}

void ldisc_push(struct tty *t) {
    if (t->head != t->line_head) {
        set_bit(t->line_end, SLOT(t->head - 1), true);
        t->line_head = t->head;
    }
}

void ldisc_flush_input(struct tty *t) {
    t->tail = t->line_head = t->head;
    t->literal_next = t->erasing = false;
    changed(t, TIOCPKT_FLUSHREAD);
}

// The usual keys stop and start output: the other side may then do it by itself.
static bool flow_keys(const struct tty *t) {
    return flag_i(t, IXON) && t->termios.c_cc[VSTOP] == 023 && t->termios.c_cc[VSTART] == 021;
}

void ldisc_set_termios(struct tty *t, const struct ktermios *k) {
    bool was_canonical = ldisc_canonical(t), had_flow_keys = flow_keys(t);
    t->termios = *k;
    if (ldisc_canonical(t) && !was_canonical && t->head != t->tail) {
        // What was typed so far becomes a line, as if it had been pushed by EOF.
        for (uint32_t pos = t->tail; pos != t->head; pos++) {
            set_bit(t->line_end, SLOT(pos), false);
            set_bit(t->eof_mark, SLOT(pos), false);
        }
        t->line_head = t->tail;
        ldisc_push(t);
    }
    if (!ldisc_canonical(t))
        t->literal_next = t->erasing = false;
    if (!flag_i(t, IXON))
        ldisc_set_stopped(t, false);
    if (flow_keys(t) != had_flow_keys)
        changed(t, had_flow_keys ? TIOCPKT_NOSTOP : TIOCPKT_DOSTOP);
}
