// link: fs/tty_ldisc.c
/* The line discipline: what is typed, what appears on the screen, what read(2) gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fs/tty.h"
#include "kernel/process/signal.h"

/* Not <stdlib.h>: it declares types of the C library that the kernel's headers have in Linux' own form. */
int rand(void);
void srand(unsigned seed);

static struct tty tty;
static char screen[8192];
static size_t screen_len, screen_limit;
static uint64_t signals;

static size_t screen_write(struct tty *t, const void *data, size_t len) {
    size_t n = MIN(len, screen_limit - screen_len);
    memcpy(screen + screen_len, data, n);
    screen_len += n;
    return n;
}
static const struct tty_ops ops = {.write = screen_write};

static void start(void) {
    memset(&tty, 0, sizeof(tty));
    tty.ops = &ops;
    tty.termios = (struct ktermios){
        .c_iflag = ICRNL | IXON | IUTF8,
        .c_oflag = OPOST | ONLCR,
        .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        .c_cc = {[VINTR] = 3,
                 [VQUIT] = 034,
                 [VERASE] = 0177,
                 [VKILL] = 025,
                 [VEOF] = 4,
                 [VMIN] = 1,
                 [VSTART] = 021,
                 [VSTOP] = 023,
                 [VSUSP] = 032,
                 [VREPRINT] = 022,
                 [VDISCARD] = 017,
                 [VWERASE] = 027,
                 [VLNEXT] = 026},
    };
    screen_len = 0;
    screen_limit = sizeof(screen) - 1;
    signals = 0;
}

/* Types; returns how many bytes were taken. */
static size_t type_bytes(const char *s, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        int sig;
        if (!ldisc_receive(&tty, (uint8_t)s[i], &sig))
            break;
        if (sig)
            signals |= SIGMASK(sig);
        ldisc_drain(&tty);
    }
    return i;
}
static void type(const char *s) { assert_int_equal(type_bytes(s, strlen(s)), strlen(s)); }

static void shows_(const char *expected, const char *file, int line) {
    screen[screen_len] = '\0';
    _assert_string_equal(screen, expected, file, line);
    screen_len = 0;
}
#define shows(s) shows_(s, __FILE__, __LINE__)

/* One read(2) with a buffer of this size, as fs/tty.c makes it; NULL: it would wait. */
static void reads_(size_t size, const char *expected, const char *file, int line) {
    char buf[8192];
    bool end = false;
    if (!ldisc_readable(&tty, 1)) {
        _assert_true(!expected, "it would wait", file, line);
        return;
    }
    size_t n = ldisc_read(&tty, buf, size, &end);
    if (n == size)
        ldisc_skip_eof(&tty);
    buf[n] = '\0';
    _assert_true(expected != NULL, "it should wait", file, line);
    _assert_string_equal(buf, expected, file, line);
}
#define reads(s) reads_(4096, s, __FILE__, __LINE__)
#define reads_some(n, s) reads_(n, s, __FILE__, __LINE__)

static void lines(void **state) {
    start();
    type("hello");
    reads(NULL);
    type("\r");
    shows("hello\r\n");
    type("two\nthree");
    reads("hello\n");
    reads_some(2, "tw");
    assert_int_equal(ldisc_available(&tty), 2);
    reads("o\n");
    reads(NULL);
    assert_int_equal(ldisc_available(&tty), 0);
    type("\n");
    reads("three\n");
    reads(NULL);
}

static void erasing(void **state) {
    start();
    type("abc\177d\n");
    shows("abc\b \bd\r\n");
    reads("abd\n");
    type("a\177\177\177b\n"); /* nothing before the line's beginning */
    shows("a\b \bb\r\n");
    reads("b\n");
    type("x\001\177y\n"); /* ^A takes two columns */
    shows("x^A\b \b\b \by\r\n");
    reads("xy\n");
    type("h\303\244\177i\n"); /* a character of two bytes */
    shows("h\303\244\b \bi\r\n");
    reads("hi\n");
    type("one two  \027three\n"); /* a word and the blanks behind it */
    shows("one two  \b \b\b \b\b \b\b \b\b \bthree\r\n");
    reads("one three\n");
    type("wrong\025right\n");
    shows("wrong\b \b\b \b\b \b\b \b\b \bright\r\n");
    reads("right\n");
    tty.termios.c_lflag &= ~(uint32_t)ECHOKE;
    type("wrong\025right\n");
    shows("wrong^U\r\nright\r\n");
    reads("right\n");
    tty.termios.c_lflag &= ~(uint32_t)ECHOE;
    type("ab\177\n");
    shows("ab^?\r\n");
    reads("a\n");
    tty.termios.c_lflag |= ECHOPRT | ECHOE;
    type("abc\177\177d\n");
    shows("abc\\cb/d\r\n");
    reads("ad\n");
    tty.termios.c_lflag &= ~(uint32_t)ECHO;
    type("secret\177\n");
    shows("");
    reads("secre\n");
}

static void erasing_a_tab_goes_back_to_where_it_began(void **state) {
    start();
    ldisc_write(&tty, (const uint8_t *)"$ ", 2);
    type("ab\t\177c\n");
    shows("$ ab\t\b\b\b\bc\r\n");
    reads("abc\n");
    type("a\tb\t\177\177\177\n"); /* the second tab was 7 wide, the first 7 */
    shows("a\tb\t\b\b\b\b\b\b\b\b \b\b\b\b\b\b\b\b\r\n");
    reads("a\n");
}

static void end_of_file(void **state) {
    start();
    type("\004");
    assert_true(ldisc_readable(&tty, 1));
    reads("");
    reads(NULL);
    type("abc\004");
    reads("abc"); /* pushed, no end of file */
    reads(NULL);
    type("abc\004");
    reads_some(3, "abc"); /* exactly as much as asked for: the EOF goes with it */
    reads(NULL);
    type("abc\004\004");
    reads_some(2, "ab");
    reads("c");
    reads("");
    shows("abcabcabc");
    type("\026\004x\n"); /* quoted */
    shows("^\b^Dx\r\n");
    reads("\004x\n");
}

static void other_line_ends(void **state) {
    start();
    tty.termios.c_cc[VEOL] = ';';
    tty.termios.c_cc[VEOL2] = '!';
    type("a;b!c\n");
    reads("a;");
    reads("b!");
    reads("c\n");
    shows("a;b!c\r\n");
    tty.termios.c_lflag &= ~(uint32_t)IEXTEN;
    type("a!b\n");
    reads("a!b\n");
}

static void reprint(void **state) {
    start();
    type("ab\001c\022d\n");
    shows("ab^Ac^R\r\nab^Acd\r\n");
    reads("ab\001cd\n");
}

static void quoting(void **state) {
    start();
    type("a\026\003\026\177\026\nb\n");
    assert_int_equal(signals, 0);
    shows("a^\b^C^\b^?^\b\r\nb\r\n");
    reads("a\003\177\nb\n");
}

static void signal_keys(void **state) {
    start();
    type("half a line\003");
    assert_int_equal(signals, SIGMASK(SIGINT));
    shows("half a line^C");
    type("x\n");
    reads("x\n"); /* what was typed before is gone */
    type("\034\032");
    assert_int_equal(signals, SIGMASK(SIGINT) | SIGMASK(SIGQUIT) | SIGMASK(SIGTSTP));
    start();
    tty.termios.c_lflag |= NOFLSH;
    type("kept\003 here\n");
    reads("kept here\n");
    start();
    tty.termios.c_lflag &= ~(uint32_t)ISIG;
    type("\003\n");
    assert_int_equal(signals, 0);
    reads("\003\n");
    start();
    tty.termios.c_cc[VINTR] = 0; /* disabled */
    type_bytes("\0\003\n", 3);
    assert_int_equal(signals, 0);
    assert_int_equal(ldisc_available(&tty), 3);
}

static void carriage_returns(void **state) {
    start();
    tty.termios.c_iflag |= IGNCR;
    type("a\rb\n");
    reads("ab\n");
    tty.termios.c_iflag = INLCR;
    tty.termios.c_lflag &= ~(uint32_t)ICANON;
    type("a\nb\r");
    reads("a\rb\r");
    start();
    tty.termios.c_iflag |= ISTRIP;
    type("\341\n");
    reads("a\n");
    tty.termios.c_iflag |= IUCLC;
    type("ABC\n");
    reads("abc\n");
    start();
    tty.termios.c_iflag |= PARMRK;
    type("\377\n");
    reads("\377\377\n");
}

static void stop_and_start(void **state) {
    start();
    type("\023"); /* ^S */
    ldisc_write(&tty, (const uint8_t *)"hidden\n", 7);
    shows("");
    type("a");
    shows("");
    type("\021");
    shows("hidden\r\na");
    type("\n");
    reads("a\n"); /* the keys are not read */
    tty.termios.c_iflag |= IXANY;
    type("\023");
    ldisc_write(&tty, (const uint8_t *)"more", 4);
    type("x");
    shows("\r\nmorex");
    tty.termios.c_iflag &= ~(uint32_t)IXON;
    type("\023\n");
    reads("x\023\n");
}

static void raw(void **state) {
    start();
    struct ktermios k = tty.termios;
    k.c_lflag = 0;
    k.c_iflag = 0;
    k.c_oflag = 0;
    k.c_cc[VMIN] = 1;
    ldisc_set_termios(&tty, &k);
    type_bytes("a\003\004\r\n\177\0x", 8);
    shows("");
    assert_int_equal(signals, 0);
    assert_int_equal(ldisc_available(&tty), 8);
    assert_true(ldisc_readable(&tty, 8));
    assert_false(ldisc_readable(&tty, 9));
    reads_some(5, "a\003\004\r\n");
    reads_some(1, "\177");
    assert_int_equal(ldisc_available(&tty), 2);
    ldisc_write(&tty, (const uint8_t *)"a\nb\t", 4);
    shows("a\nb\t");
}

static void changes_of_mode(void **state) {
    start();
    type("half");
    reads(NULL);
    struct ktermios k = tty.termios;
    k.c_lflag &= ~(uint32_t)ICANON;
    ldisc_set_termios(&tty, &k);
    reads_some(2, "ha"); /* what was typed can be read at once */
    k.c_lflag |= ICANON;
    ldisc_set_termios(&tty, &k);
    reads("lf"); /* as a line of its own */
    reads(NULL);
    type("ok\n");
    reads("ok\n");
    type("one\ntwo\004thr");
    k.c_lflag &= ~(uint32_t)ICANON;
    ldisc_set_termios(&tty, &k);
    assert_int_equal(ldisc_available(&tty), 11);
    k.c_lflag |= ICANON;
    ldisc_set_termios(&tty, &k);
    assert_int_equal(ldisc_available(&tty), 11);
    type("ee\n");
    char buf[20];
    bool end;
    assert_int_equal(ldisc_read(&tty, buf, sizeof(buf), &end), 11);
    assert_memory_equal(buf, "one\ntwo\0thr", 11);
}

static void output_processing(void **state) {
    start();
    ldisc_write(&tty, (const uint8_t *)"a\tb\n", 4);
    shows("a\tb\r\n");
    tty.termios.c_oflag |= XTABS;
    ldisc_write(&tty, (const uint8_t *)"abc\td\r\te\n", 9);
    shows("abc     d\r        e\r\n");
    tty.termios.c_oflag = OPOST | OCRNL;
    ldisc_write(&tty, (const uint8_t *)"a\rb\n", 4);
    shows("a\nb\n");
    tty.termios.c_oflag = OPOST | ONOCR | OLCUC;
    ldisc_write(&tty, (const uint8_t *)"\ra\r\rb\r", 6);
    tty.column = 0;
    screen[screen_len] = '\0';
    assert_non_null(strchr(screen, 'A'));
    screen_len = 0;
    tty.termios.c_oflag = ONLCR; /* without OPOST nothing is done */
    ldisc_write(&tty, (const uint8_t *)"a\n", 2);
    shows("a\n");
}

static void a_slow_screen_holds_the_writer(void **state) {
    start();
    static char text[4000], expected[8192];
    size_t done = 0, len = 0;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = i % 10 == 9 ? '\n' : (char)('a' + i % 10);
        if (text[i] == '\n')
            expected[len++] = '\r';
        expected[len++] = text[i];
    }
    expected[len] = '\0';
    screen_limit = 0;
    while (done < sizeof(text)) {
        size_t n = ldisc_write(&tty, (const uint8_t *)text + done, sizeof(text) - done);
        done += n;
        assert_true(tty.output_head - tty.output_tail <= TTY_OUTPUT_SIZE - TTY_ECHO_RESERVE + 8);
        screen_limit += 37;
        ldisc_drain(&tty);
    }
    screen_limit = sizeof(screen) - 1;
    ldisc_drain(&tty);
    shows(expected);
    /* Echo has room of its own, and is lost when that is full too. */
    screen_limit = 0;
    for (int i = 0; i < 3000; i++)
        type("e");
    assert_true(tty.output_head - tty.output_tail <= TTY_OUTPUT_SIZE);
}

static void a_line_that_is_too_long_can_be_ended(void **state) {
    start();
    tty.termios.c_lflag &= ~(uint32_t)ECHO;
    static char a[6000];
    memset(a, 'a', sizeof(a));
    assert_int_equal(type_bytes(a, sizeof(a)), sizeof(a)); /* the excess is lost */
    type("\n");
    assert_int_equal(ldisc_available(&tty), TTY_INPUT_SIZE - 1);
    assert_int_equal(type_bytes("b", 1), 0); /* no room: the sender has to wait */
    char buf[5000];
    bool end;
    assert_int_equal(ldisc_read(&tty, buf, sizeof(buf), &end), TTY_INPUT_SIZE - 1);
    assert_true(end);
    type("b\n");
    reads("b\n");
    /* Many lines fill it too, and nothing is lost. */
    size_t sent = 0, got = 0;
    for (int i = 0; i < 3000; i++) {
        sent += type_bytes("123456\n" + sent % 7, 1);
        if (rand() % 3 == 0)
            got += ldisc_read(&tty, buf, (size_t)rand() % 10, &end);
    }
    while (ldisc_readable(&tty, 1))
        got += ldisc_read(&tty, buf, 100, &end);
    type_bytes("123456\n" + sent % 7, 7 - sent % 7);
    while (ldisc_readable(&tty, 1))
        got += ldisc_read(&tty, buf, 100, &end);
    assert_int_equal(got, sent + (7 - sent % 7));
}

/* Random keys in random modes: the positions stay in order and nothing is touched that should not be. */
static void any_keys_in_any_mode(void **state) {
    srand(3);
    for (int round = 0; round < 200; round++) {
        start();
        screen_limit = 0;
        for (int i = 0; i < 1500; i++) {
            struct ktermios k = tty.termios;
            char buf[300], key = (char)(rand() % 4 ? 32 + rand() % 224 : rand() % 32);
            bool end;
            switch (rand() % 12) {
            case 0: ldisc_read(&tty, buf, (size_t)rand() % sizeof(buf), &end); break;
            case 1:
                screen_len = 0;
                screen_limit = (size_t)rand() % sizeof(screen);
                ldisc_drain(&tty);
                break;
            case 2:
                if (rand() % 10 == 0) {
                    k.c_lflag = (uint32_t)rand();
                    k.c_iflag = (uint32_t)rand();
                    k.c_oflag = (uint32_t)rand();
                    k.c_cc[rand() % 17] = (uint8_t)rand();
                    ldisc_set_termios(&tty, &k);
                }
                break;
            case 3:
                if (rand() % 50 == 0)
                    ldisc_flush_input(&tty);
                break;
            default:
                for (int n = rand() % 20; n >= 0; n--)
                    type_bytes(&key, 1);
            }
            uint32_t used = tty.head - tty.tail;
            assert_true(used <= TTY_INPUT_SIZE);
            if (ldisc_canonical(&tty))
                assert_true(tty.line_head - tty.tail <= used);
            assert_true(tty.output_head - tty.output_tail <= TTY_OUTPUT_SIZE);
            assert_true(ldisc_available(&tty) <= used);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(erasing),
        cmocka_unit_test(erasing_a_tab_goes_back_to_where_it_began),
        cmocka_unit_test(end_of_file),
        cmocka_unit_test(other_line_ends),
        cmocka_unit_test(reprint),
        cmocka_unit_test(quoting),
        cmocka_unit_test(signal_keys),
        cmocka_unit_test(carriage_returns),
        cmocka_unit_test(stop_and_start),
        cmocka_unit_test(raw),
        cmocka_unit_test(changes_of_mode),
        cmocka_unit_test(output_processing),
        cmocka_unit_test(a_slow_screen_holds_the_writer),
        cmocka_unit_test(a_line_that_is_too_long_can_be_ended),
        cmocka_unit_test(any_keys_in_any_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
