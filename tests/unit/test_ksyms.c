// link: kernel/ksyms.c
/* The search in the table of function names, over a small table written by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/ksyms.h"

__asm__(".section .rodata\n"
        ".balign 8\n"
        ".global ksyms_start\n"
        "ksyms_start:\n"
        ".quad 0xffffffff80100000\n"
        ".long 3, 0, 0x10, 0x100\n"
        ".asciz \"start\"\n"
        ".asciz \"middle\"\n"
        ".asciz \"end\"\n"
        ".text\n");

static void finds_the_function_and_the_offset(void **state) {
    uint64_t offset = 99;
    assert_string_equal(ksym_lookup(0xffffffff80100000, &offset), "start");
    assert_int_equal(offset, 0);
    assert_string_equal(ksym_lookup(0xffffffff8010000f, &offset), "start");
    assert_int_equal(offset, 15);
    assert_string_equal(ksym_lookup(0xffffffff80100010, &offset), "middle");
    assert_int_equal(offset, 0);
    assert_string_equal(ksym_lookup(0xffffffff801000ff, NULL), "middle");
    assert_string_equal(ksym_lookup(0xffffffff80100123, &offset), "end");
    assert_int_equal(offset, 0x23);
}

static void knows_nothing_outside(void **state) {
    assert_null(ksym_lookup(0, NULL));
    assert_null(ksym_lookup(0xffffffff800fffff, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_function_and_the_offset),
        cmocka_unit_test(knows_nothing_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
