// link: kernel/printf.c
// flags: -Dsnprintf=k_snprintf -Dvsnprintf=k_vsnprintf -Wno-format
// The kernel's snprintf, renamed, must print what the C library's prints.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/log.h"

int host_snprintf(char *buf, size_t size, const char *fmt, ...) __asm__("snprintf");

#define CHECK(size, ...)                                                                                                \
    do {                                                                                                                \
        char ours[200], theirs[200];                                                                                    \
        memset(ours, '#', sizeof(ours));                                                                                \
        memset(theirs, '#', sizeof(theirs));                                                                            \
        int n = snprintf(ours, size, __VA_ARGS__), m = host_snprintf(theirs, size, __VA_ARGS__);                        \
        assert_memory_equal(ours, theirs, sizeof(ours));                                                                \
        assert_int_equal(n, m);                                                                                         \
    } while (0)
#define SAME(...) CHECK(200, __VA_ARGS__)

static void integers(void **state) {
    static const long values[] = {0, 1, -1, 7, 10, 255, 12345, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN};
    static const char *const formats[] = {
        "%ld", "%li", "%lu", "%lx", "%lX", "%lo", "%#lx", "%#lX", "%#lo", "%+ld", "% ld", "%5ld", "%-5ld|", "%05ld", "%+08ld",
        "%.3ld", "%8.3ld", "%-8.3ld|", "%08.3ld", "%.0ld", "%#10lx", "%#010lx", "%-#10lx|", "%.0lx", "%#.0lo", "%20ld", "%020lx",
    };
    for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
        for (size_t f = 0; f < sizeof(formats) / sizeof(formats[0]); f++)
            SAME(formats[f], values[v]);
    SAME("%d %i %u %x %hd %hhd %hu %hhu %hhx", -5, -6, 7u, 255u, 70000, 300, 70000, 300, 0x1ff);
    SAME("%zd %zu %jd %td %lld %llx", (ptrdiff_t)-1, (size_t)5, (intmax_t)-7, (ptrdiff_t)9, -1LL, 1ULL << 60);
    SAME("%*d|%-*d|%.*d", 6, 42, 6, 42, 4, 42);
    SAME("%*d|%.*d", -6, 42, -1, 42);
}

static void text(void **state) {
    SAME("plain");
    SAME("%s|%10s|%-10s|%.2s|%10.2s|%.0s|", "abc", "abc", "abc", "abc", "abc", "abc");
    SAME("%c%5c%-5c|", 'a', 'b', 'c');
    SAME("100%%");
    SAME("%s", "");
    char unterminated[3] = {'x', 'y', 'z'};
    SAME("%.3s", unterminated);
    SAME("%p", (void *)0x1234abcd);
    SAME("%20p|%-20p|", (void *)0x1234abcd, (void *)0x1234abcd);
    char buf[20];
    snprintf(buf, sizeof(buf), "%s", (const char *)NULL);
    assert_string_equal(buf, "(null)");
    snprintf(buf, sizeof(buf), "%p", NULL);
    assert_string_equal(buf, "0x0");
}

static void truncation(void **state) {
    for (size_t size = 0; size < 20; size++) {
        CHECK(size, "%s-%d-%x", "hello", 12345, 0xabcdu);
        CHECK(size, "%10d%-10s|", 5, "x");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(text),
        cmocka_unit_test(truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
