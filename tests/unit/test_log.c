// link: tools/log.c tools/common.c
/* The log that is kept for the case of a failure: the last lines, however much came before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "tools/log.h"

static char printed[1 << 16];

/* Feeds text in portions of a size and collects what is printed: at the end of a failure, or, with show, line by line. */
static struct log *collect(const char *text, size_t size, size_t portion, bool show) {
    static struct log log;
    int source[2], saved = dup(2);
    FILE *out = tmpfile();

    log = (struct log){.show = show, .failed = !show};
    assert_int_equal(pipe2(source, O_NONBLOCK), 0);
    dup2(fileno(out), 2);
    for (size_t at = 0; at < size; at += portion) {
        size_t count = size - at < portion ? size - at : portion;
        assert_int_equal(write(source[1], text + at, count), count);
        assert_true(log_read(&log, source[0]));
        if (show) { /* what has been printed so far ends with a line's end */
            char last = '\n';
            off_t end = lseek(fileno(out), 0, SEEK_CUR);
            assert_true(end == 0 || pread(fileno(out), &last, 1, end - 1) == 1);
            assert_int_equal(last, '\n');
        }
    }
    close(source[1]);
    assert_false(log_read(&log, source[0]));
    close(source[0]);

    log_finish(&log);
    dup2(saved, 2);
    close(saved);
    rewind(out);
    printed[fread(printed, 1, sizeof(printed) - 1, out)] = '\0';
    fclose(out);
    return &log;
}

static struct log *feed(const char *text, size_t size, size_t portion) {
    return collect(text, size, portion, false);
}

static void shows_whole_lines(void **state) {
    for (size_t portion = 1; portion < 12; portion++) {
        collect("one\ntwo two\nthree", 17, portion, true);
        assert_string_equal(printed, "one\ntwo two\nthree\n");
    }
    collect("", 0, 1, true);
    assert_string_equal(printed, "");
}

static void keeps_a_short_log_whole(void **state) {
    feed("one\ntwo\n", 8, 3);
    assert_string_equal(printed, "one\ntwo\n");
    feed("no end of line", 14, 14);
    assert_string_equal(printed, "no end of line\n");
    feed("", 0, 1);
    assert_string_equal(printed, "");
}

static void prints_the_last_lines_of_a_long_one(void **state) {
    static const size_t portions[] = {1, 7, 100, 4096, 60000};
    static char text[60000];
    size_t size = 0;

    for (int i = 0; size < sizeof(text) - 100; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "line %d of the kernel\n", i);
    for (size_t i = 0; i < sizeof(portions) / sizeof(portions[0]); i++) {
        feed(text, size, portions[i]);
        assert_true(strlen(printed) > 40 * 20);
        assert_string_equal(printed, text + size - strlen(printed));
        assert_int_equal(text[size - strlen(printed) - 1], '\n');
        assert_int_equal(strncmp(printed, "line ", 5), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_whole_lines),
        cmocka_unit_test(keeps_a_short_log_whole),
        cmocka_unit_test(prints_the_last_lines_of_a_long_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
