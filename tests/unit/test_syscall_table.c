// The table of system calls against the kernel headers' numbers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "syscall/syscall.h"

#define LINE(nr, nm, argc, fl, ...) [nr] = {.name = #nm, .arg_count = argc, .flags = fl, .args = {__VA_ARGS__}},
static const struct syscall_entry table[SYSCALL_MAX] = {
#define SYSCALL LINE
#define NOSYS LINE
#include "syscall/table.h"
};

// Counts how often each number stands in the table: a later line would hide an earlier one.
static const uint16_t numbers[] = {
#define SYSCALL(nr, ...) nr,
#define NOSYS(nr, ...) nr,
#include "syscall/table.h"
};

static const uint8_t kinds_given[] = {
#define COUNT(...) sizeof((uint8_t[]){0, ##__VA_ARGS__}) - 1
#define SYSCALL(nr, nm, argc, fl, ...) COUNT(__VA_ARGS__),
#define NOSYS(nr, nm, argc, fl, ...) COUNT(__VA_ARGS__),
#include "syscall/table.h"
};

static void test_numbers(void **state) {
    FILE *f = fopen("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "r");
    assert_non_null(f);
    char line[256], name[64];
    unsigned nr, seen = 0;
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "#define __NR_%63s %u", name, &nr) != 2)
            continue;
        assert_in_range(nr, 0, SYSCALL_MAX - 1);
        assert_non_null(table[nr].name);
        assert_string_equal(table[nr].name, name);
        seen++;
    }
    fclose(f);
    assert_true(seen > 350);
}

static void test_lines(void **state) {
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (i)
            assert_true(numbers[i] > numbers[i - 1]); // in order, none twice
        const struct syscall_entry *e = &table[numbers[i]];
        if (kinds_given[i] != e->arg_count)
            fail_msg("%s: %u arguments, %u kinds", e->name, e->arg_count, kinds_given[i]);
        for (unsigned k = 0; k < 6; k++)
            assert_true(k < e->arg_count ? e->args[k] != ARG_NONE && e->args[k] < ARG_KIND_COUNT
                                         : e->args[k] == ARG_NONE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
