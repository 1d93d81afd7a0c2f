// link: kernel/string.c
// flags: -fno-builtin -Dmemcpy=k_memcpy -Dmemmove=k_memmove -Dmemset=k_memset -Dmemcmp=k_memcmp -Dmemchr=k_memchr -Dstrlen=k_strlen -Dstrnlen=k_strnlen -Dstrcmp=k_strcmp -Dstrncmp=k_strncmp -Dstrchr=k_strchr -Dstrrchr=k_strrchr -Dstrstr=k_strstr
// The kernel's memory and string functions, renamed, at every length and alignment that takes another way through them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/memory/slab.h"
#include "kernel/string.h"

void *kmalloc(size_t size) { return malloc(size); }

static uint8_t pattern(size_t i) { return (uint8_t)(i * 37 + 11); }

static void copies_any_length_and_alignment(void **state) {
    uint8_t src[400], dst[400];
    for (size_t n = 0; n < 300; n += n < 80 ? 1 : 13)
        for (size_t from = 0; from < 9; from++)
            for (size_t to = 0; to < 9; to++) {
                for (size_t i = 0; i < sizeof(src); i++) {
                    src[i] = pattern(i);
                    dst[i] = 0xee;
                }
                assert_ptr_equal(memcpy(dst + to, src + from, n), dst + to);
                for (size_t i = 0; i < sizeof(dst); i++)
                    assert_int_equal(dst[i], i >= to && i < to + n ? src[i - to + from] : 0xee);
            }
}

static void moves_overlapping_memory(void **state) {
    uint8_t buf[300];
    for (size_t n = 0; n < 150; n++)
        for (size_t from = 50; from < 70; from += 3)
            for (size_t to = 40; to < 90; to++) {
                for (size_t i = 0; i < sizeof(buf); i++)
                    buf[i] = pattern(i);
                memmove(buf + to, buf + from, n);
                for (size_t i = 0; i < sizeof(buf); i++)
                    assert_int_equal(buf[i], pattern(i >= to && i < to + n ? i - to + from : i));
            }
}

static void fills(void **state) {
    uint8_t buf[200];
    for (size_t n = 0; n < 180; n++)
        for (size_t at = 0; at < 9; at++) {
            memset(buf, 1, sizeof(buf));
            memset(buf + at, 0xa5, n);
            for (size_t i = 0; i < sizeof(buf); i++)
                assert_int_equal(buf[i], i >= at && i < at + n ? 0xa5 : 1);
        }
}

static void compares(void **state) {
    uint8_t a[64], b[64];
    for (size_t i = 0; i < 64; i++)
        a[i] = b[i] = pattern(i);
    assert_int_equal(memcmp(a, b, 64), 0);
    for (size_t i = 0; i < 64; i++) {
        b[i] = 0xff;
        a[i] = 0x01;
        assert_true(memcmp(a, b, 64) < 0);
        assert_true(memcmp(b, a, 64) > 0);
        assert_int_equal(memcmp(a, b, i), 0);
        a[i] = b[i] = pattern(i);
    }
    assert_true(strcmp("a", "b") < 0);
    assert_true(strcmp("\xff", "a") > 0);
    assert_int_equal(strcmp("same", "same"), 0);
    assert_true(strcmp("sam", "same") < 0);
    assert_int_equal(strncmp("same", "sand", 2), 0);
    assert_true(strncmp("same", "sand", 3) < 0);
    assert_int_equal(strncmp("a", "a", 100), 0);
}

static void searches(void **state) {
    const char *s = "a/b/c";
    assert_ptr_equal(strchr(s, '/'), s + 1);
    assert_ptr_equal(strrchr(s, '/'), s + 3);
    assert_ptr_equal(strchr(s, '\0'), s + 5);
    assert_ptr_equal(strrchr(s, '\0'), s + 5);
    assert_null(strchr(s, 'x'));
    assert_null(strrchr(s, 'x'));
    assert_ptr_equal(strstr(s, "b/"), s + 2);
    assert_ptr_equal(strstr(s, ""), s);
    assert_null(strstr(s, "b/d"));
    assert_ptr_equal(memchr(s, 'c', 5), s + 4);
    assert_null(memchr(s, 'c', 4));
    assert_int_equal(strlen(s), 5);
    assert_int_equal(strnlen(s, 3), 3);
    assert_int_equal(strnlen(s, 30), 5);
}

static void copies_strings_with_truncation(void **state) {
    char buf[4];
    assert_int_equal(str_copy(buf, "abcdef", sizeof(buf)), 6);
    assert_string_equal(buf, "abc");
    assert_int_equal(str_copy(buf, "", sizeof(buf)), 0);
    assert_string_equal(buf, "");
    char *copy = str_ndup("abcdef", 3);
    assert_string_equal(copy, "abc");
    free(copy);
    copy = str_dup("abc");
    assert_string_equal(copy, "abc");
    free(copy);
}

static void parses_numbers(void **state) {
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0}, {"42", true, 42}, {"0x1F", true, 31}, {"512K", true, 512 << 10}, {"3m", true, 3 << 20},
        {"2G", true, 2UL << 30}, {"0x10k", true, 16 << 10}, {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0}, {"0xffffffffffffffff", true, UINT64_MAX}, {"17179869184G", false, 0},
        {"", false, 0}, {"0x", false, 0}, {"K", false, 0}, {"12a", false, 0}, {"1KK", false, 0}, {"-1", false, 0},
        {" 1", false, 0}, {"1 ", false, 0}, {"fe", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t v = 0;
        assert_int_equal(str_to_u64(cases[i].text, &v), cases[i].ok);
        if (cases[i].ok)
            assert_int_equal(v, cases[i].value);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_any_length_and_alignment),
        cmocka_unit_test(moves_overlapping_memory),
        cmocka_unit_test(fills),
        cmocka_unit_test(compares),
        cmocka_unit_test(searches),
        cmocka_unit_test(copies_strings_with_truncation),
        cmocka_unit_test(parses_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
