// The first line of scripts, case by case as Linux reads it.
// link: loader/script.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "loader/script.h"

// Parses `text` and compares; `interpreter` NULL: refused.
static void expect(const char *text, const char *interpreter, const char *argument) {
    char line[SCRIPT_LINE_MAX] = {0}, *name = NULL, *arg = NULL;
    memcpy(line, text, strlen(text) < sizeof(line) ? strlen(text) : sizeof(line));
    bool good = script_parse(line, &name, &arg);
    if (!interpreter) {
        assert_false(good);
        return;
    }
    assert_true(good);
    assert_string_equal(name, interpreter);
    if (argument)
        assert_string_equal(arg, argument);
    else
        assert_null(arg);
}

static void test_lines(void **state) {
    expect("#!/bin/sh\n", "/bin/sh", NULL);
    expect("#! /bin/sh\necho", "/bin/sh", NULL);
    expect("#!\t/bin/sh  \t\n", "/bin/sh", NULL);
    expect("#!/bin/sh -e\n", "/bin/sh", "-e");
    expect("#!/usr/bin/env  python3 -u \n", "/usr/bin/env", "python3 -u"); // everything behind it is one argument
    expect("#!/bin/sh", "/bin/sh", NULL);                                  // the file ends without a newline
    expect("#!/bin/sh -x", "/bin/sh", "-x");
    expect("#!sh\n", "sh", NULL);
}

static void test_refused(void **state) {
    expect("", NULL, NULL);
    expect("#", NULL, NULL);
    expect("# !/bin/sh\n", NULL, NULL);
    expect("#!\n", NULL, NULL);
    expect("#! \t \n/bin/sh", NULL, NULL);
}

static void test_limits(void **state) {
    char text[300] = "#!/bin/sh ";
    memset(text + 10, 'a', 280);
    char cut[300] = {0};
    memset(cut, 'a', 255 - 10);
    expect(text, "/bin/sh", cut); // the argument is cut at 255 bytes of the line

    memset(text + 2, '/', 280);
    expect(text, NULL, NULL); // a name must not be cut

    memset(text + 2, ' ', 280);
    expect(text, NULL, NULL);

    // A name that ends exactly at the last byte that counts.
    memset(text + 2, 'b', 280);
    text[255] = '\n';
    char name[300] = {0};
    memset(name, 'b', 253);
    expect(text, name, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
